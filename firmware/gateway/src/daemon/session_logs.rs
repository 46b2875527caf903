//! What sessions have logged: of those that run and of the latest that are over in memory, of all that
//! are over on the disk.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tipring_model::CallId;

/// Logs that are kept of sessions that are over.
const LOGS_MAX: usize = 512;
/// Their bytes all together.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Lines of one log; its flow bounds the bytes.
const LINES_MAX: usize = 10_000;
/// Logs that wait for a slow disk; more are lost. So many are in memory as well, and their bytes: what
/// has just ended need not have reached the disk.
const WAITING_MAX: usize = 16;
const LATEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Which session: by the id of its call, or by its number in the history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SessionName {
    /// A UUID.
    Call(CallId),
    /// `call_session_history_id`
    History(u64),
}

impl SessionName {
    /// A UUID, or digits.
    #[must_use]
    pub(super) fn parse(text: &str) -> Option<Self> {
        text.parse().map(Self::History).ok().or_else(|| CallId::parse(text).map(Self::Call))
    }
}

/// Logs of sessions.
pub(super) struct SessionLogs {
    running: RefCell<HashMap<u32, Vec<String>>>,
    latest: RefCell<VecDeque<(u64, CallId, Vec<String>)>>,
    shelf: Shelf,
}

impl SessionLogs {
    /// With a folder for those of sessions that are over. It is made when it is needed.
    ///
    /// # Errors
    /// When the thread that writes them cannot be started.
    pub(super) fn start(folder: PathBuf) -> io::Result<Self> {
        Ok(Self { running: RefCell::default(), latest: RefCell::default(), shelf: Shelf::start(folder)? })
    }

    /// A line of a session that runs, by its number.
    pub(super) fn note(&self, number: u32, line: String) {
        let mut running = self.running.borrow_mut();
        let log = running.entry(number).or_default();
        if log.len() < LINES_MAX {
            log.push(line);
        }
    }

    /// What a session that runs has logged.
    #[must_use]
    pub(super) fn so_far(&self, number: u32) -> Vec<String> {
        self.running.borrow().get(&number).cloned().unwrap_or_default()
    }

    /// A session is over. Without an id in the history its log is not kept.
    pub(super) fn over(&self, number: u32, id: Option<(u64, CallId)>) {
        let log = self.running.borrow_mut().remove(&number);
        if let Some((log, (history_id, call))) = log.zip(id) {
            let mut latest = self.latest.borrow_mut();
            latest.push_back((history_id, call, log.clone()));
            let bytes = |log: &[String]| log.iter().map(String::len).sum::<usize>();
            while latest.len() > WAITING_MAX
                || latest.iter().map(|(_, _, log)| bytes(log)).sum::<usize>() > LATEST_BYTES_MAX
            {
                latest.pop_front();
            }
            self.shelf.put(file_name(history_id, call), log);
        }
    }

    /// The log of one of the latest sessions that are over.
    #[must_use]
    pub(super) fn latest(&self, name: SessionName) -> Option<Vec<String>> {
        let latest = self.latest.borrow();
        let found = latest.iter().find(|(id, call, _)| match name {
            SessionName::Call(named) => named == *call,
            SessionName::History(named) => named == *id,
        });
        found.map(|(_, _, log)| log.clone())
    }

    /// Where the logs of sessions that are over lie.
    #[must_use]
    pub(super) fn folder(&self) -> PathBuf {
        self.shelf.folder.clone()
    }
}

/// The log of a session that is over; `None` if there is none (any more).
///
/// # Errors
/// Any of the file system, but for a folder that is not there.
pub(super) fn read(folder: &Path, name: SessionName) -> io::Result<Option<Vec<String>>> {
    let fits = |file: &LogFile| match name {
        SessionName::Call(call) => file.call == call,
        SessionName::History(id) => file.history_id == id,
    };
    let Some(file) = files(folder)?.into_iter().find(fits) else { return Ok(None) };
    match fs::read_to_string(&file.path) {
        Ok(text) => Ok(serde_json::from_str(&text).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn file_name(history_id: u64, call: CallId) -> String {
    format!("{history_id}_{call}.json")
}

struct LogFile {
    history_id: u64,
    call: CallId,
    path: PathBuf,
}

/// Every log, the oldest first.
fn files(folder: &Path) -> io::Result<Vec<LogFile>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let parts = name.and_then(|name| name.strip_suffix(".json")?.split_once('_'));
        let parsed = parts.and_then(|(id, call)| Some((id.parse().ok()?, CallId::parse(call)?)));
        if let Some((history_id, call)) = parsed {
            files.push(LogFile { history_id, call, path });
        }
    }
    files.sort_by_key(|file| file.history_id);
    Ok(files)
}

/// A thread that writes logs; dropping it writes what is left.
struct Shelf {
    folder: PathBuf,
    logs: Option<SyncSender<(String, Vec<String>)>>,
    thread: Option<JoinHandle<()>>,
}

impl Shelf {
    fn start(folder: PathBuf) -> io::Result<Self> {
        let (logs, waiting) = sync_channel(WAITING_MAX);
        let into = folder.clone();
        let thread = std::thread::Builder::new()
            .name("session-logs".to_owned())
            .spawn(move || write_all(&into, &waiting))?;
        Ok(Self { folder, logs: Some(logs), thread: Some(thread) })
    }

    fn put(&self, name: String, log: Vec<String>) {
        let taken = self.logs.as_ref().is_some_and(|logs| logs.try_send((name, log)).is_ok());
        if !taken {
            tracing::warn!(code = "TR-SCRIPT-LOG", "the log of a session is lost: the disk does not keep up");
        }
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.logs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}

fn write_all(folder: &Path, waiting: &Receiver<(String, Vec<String>)>) {
    while let Ok((name, log)) = waiting.recv() {
        if let Err(error) = write(folder, &name, &log) {
            tracing::warn!(code = "TR-SCRIPT-LOG", %error, "the log of a session is not kept");
        }
    }
}

/// Writes a log beside its place and moves it there: a torn one is never read.
fn write(folder: &Path, name: &str, log: &[String]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    make_room(folder, LOGS_MAX - 1, LOG_BYTES_MAX)?;
    let beside = folder.join("next");
    fs::write(&beside, serde_json::to_vec(log)?)?;
    fs::rename(&beside, folder.join(name))
}

/// Removes the oldest until no more than so many, of so many bytes, are left.
fn make_room(folder: &Path, logs_max: usize, bytes_max: u64) -> io::Result<()> {
    let files = files(folder)?;
    let (mut count, mut bytes) = (0, 0);
    for file in files.iter().rev() {
        count += 1;
        bytes += fs::metadata(&file.path)?.len();
        if count > logs_max || bytes > bytes_max {
            fs::remove_file(&file.path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_found_by_either_name_after_the_end_and_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("logs");
        let call = CallId::from_random(7);
        let logs = SessionLogs::start(at.clone()).unwrap();
        logs.note(1, "two\nlines".to_owned());
        logs.note(2, "of another".to_owned());
        assert_eq!(logs.so_far(1), ["two\nlines"]);
        logs.over(1, Some((1_001, call)));
        logs.over(2, None);
        assert!(logs.so_far(1).is_empty());
        assert_eq!(logs.latest(SessionName::Call(call)).unwrap(), ["two\nlines"]);
        assert_eq!(logs.latest(SessionName::History(1_002)), None);
        drop(logs);
        for name in [SessionName::Call(call), SessionName::History(1_001)] {
            assert_eq!(read(&at, name).unwrap().unwrap(), ["two\nlines"]);
        }
        assert_eq!(read(&at, SessionName::History(1_002)).unwrap(), None);
        assert_eq!(read(folder.path(), SessionName::Call(call)).unwrap(), None);
        assert_eq!(read(&folder.path().join("none"), SessionName::Call(call)).unwrap(), None);
        assert_eq!(SessionName::parse("1001"), Some(SessionName::History(1_001)));
        assert_eq!(SessionName::parse(&call.to_string()), Some(SessionName::Call(call)));
        assert_eq!(SessionName::parse("../etc"), None);
    }

    #[test]
    fn the_oldest_make_room_and_files_of_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        fs::write(at.join("notes.json"), "not ours").unwrap();
        for id in 8..12 {
            write(at, &file_name(id, CallId::from_random(u128::from(id))), &["x".repeat(96)]).unwrap();
        }
        let ids = || files(at).unwrap().iter().map(|file| file.history_id).collect::<Vec<_>>();
        assert_eq!(ids(), [8, 9, 10, 11]);
        make_room(at, 3, u64::MAX).unwrap();
        assert_eq!(ids(), [9, 10, 11]);
        make_room(at, 3, 250).unwrap();
        assert_eq!(ids(), [10, 11]);
        assert!(at.join("notes.json").exists());
    }
}
