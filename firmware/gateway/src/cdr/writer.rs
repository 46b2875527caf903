//! The thread that writes records.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use serde::Serialize;

use super::sealed;
use super::segments::Segment;

/// Records that wait for a disk that is slow or fails; more are counted and lost.
const WAITING_MAX: usize = 65_536;
/// How long records are gathered for one write and one sync.
const GATHER: Duration = Duration::from_millis(50);
/// How often a disk that failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// How often it is looked whether something is too old.
const FORGET_EVERY: Duration = Duration::from_secs(6 * 3_600);

/// What has become of the records of this run.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct RecordCounters {
    /// On the disk and synced.
    pub written: u64,
    /// Waiting for the disk.
    pub waiting: u64,
    /// Lost: there was no room left, not even in memory.
    pub lost: u64,
}

#[derive(Default)]
struct Shared {
    put: AtomicU64,
    written: AtomicU64,
    lost: AtomicU64,
}

/// Writes records; dropping it writes what is left.
pub(crate) struct RecordWriter {
    lines: Option<SyncSender<String>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl RecordWriter {
    /// Starts the thread. A folder that cannot be used now may be so later: the records
    /// wait. Those that are older than `days` are removed.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(folder: PathBuf, days: u16) -> io::Result<Self> {
        let (lines, waiting) = sync_channel(WAITING_MAX);
        let shared = Arc::<Shared>::default();
        let counters = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("records".to_owned())
            .spawn(move || run(&folder, days, &waiting, &counters))?;
        Ok(Self { lines: Some(lines), thread: Some(thread), shared })
    }

    /// Writes a record.
    pub(crate) fn write(&self, record: &impl Serialize) {
        let line = serde_json::to_string(record).ok().and_then(|object| sealed(&object));
        let Some(line) = line else { return };
        self.shared.put.fetch_add(1, Ordering::Relaxed);
        let taken = self.lines.as_ref().is_some_and(|lines| lines.try_send(line).is_ok());
        if !taken {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            tracing::error!(code = "TR-CDR-LOST", "a call record is lost: the disk does not keep up");
        }
    }

    /// What has become of them.
    #[must_use]
    pub(crate) fn counters(&self) -> RecordCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (written, lost) = (read(&self.shared.written), read(&self.shared.lost));
        let waiting = read(&self.shared.put).saturating_sub(written + lost);
        RecordCounters { written, waiting, lost }
    }
}

impl Drop for RecordWriter {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}

fn run(folder: &Path, days: u16, incoming: &Receiver<String>, shared: &Shared) {
    let mut segment = open(folder);
    let mut pending: VecDeque<String> = VecDeque::new();
    forget(segment.as_mut().ok(), days);
    let mut failed = false;
    loop {
        let wait = if pending.is_empty() { FORGET_EVERY } else { AGAIN };
        match incoming.recv_timeout(wait) {
            Ok(line) => {
                pending.push_back(line);
                std::thread::park_timeout(GATHER);
            }
            Err(RecvTimeoutError::Timeout) if pending.is_empty() => forget(segment.as_mut().ok(), days),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if pending.is_empty() => return,
            Err(RecvTimeoutError::Disconnected) => {
                // The last attempt; there is nobody left to wait.
                if let Err(error) = open(folder).and_then(|mut last| write(&mut last, &pending)) {
                    let lost = pending.len();
                    tracing::error!(code = "TR-CDR-LOST", %error, lost, "call records are lost");
                }
                return;
            }
        }
        pending.extend(incoming.try_iter());
        while pending.len() > WAITING_MAX {
            pending.pop_front();
            shared.lost.fetch_add(1, Ordering::Relaxed);
        }
        let written = match &mut segment {
            Ok(open) => write(open, &pending),
            Err(_) => open(folder).and_then(|mut fresh| {
                write(&mut fresh, &pending)?;
                segment = Ok(fresh);
                Ok(())
            }),
        };
        match written {
            Ok(()) => {
                shared.written.fetch_add(pending.len() as u64, Ordering::Relaxed);
                pending.clear();
                if std::mem::take(&mut failed) {
                    tracing::info!("call records are written again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    let waiting = pending.len();
                    tracing::error!(code = "TR-CDR-WRITE", %error, waiting, "call records cannot be written");
                }
                // What a failed sync has left behind is not to be relied upon.
                segment = Err(error);
            }
        }
    }
}

fn open(folder: &Path) -> io::Result<Segment> {
    Segment::open(folder)
}

fn write(segment: &mut Segment, lines: &VecDeque<String>) -> io::Result<()> {
    for line in lines {
        segment.append(line)?;
    }
    segment.sync()
}

fn forget(segment: Option<&mut Segment>, days: u16) {
    let oldest = Timestamp::now().checked_sub((i64::from(days) * 24).hours());
    if let (Some(segment), Ok(oldest)) = (segment, oldest)
        && let Err(error) = segment.forget(&oldest.to_string())
    {
        tracing::warn!(code = "TR-CDR-WRITE", %error, "old call records cannot be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdr::read;

    #[derive(Serialize)]
    struct Record {
        id: String,
    }

    #[test]
    fn what_was_written_is_read_and_a_folder_that_comes_later_loses_nothing() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("cdr");
        let writer = RecordWriter::start(folder.clone(), 180).unwrap();
        (0..100).for_each(|id| writer.write(&Record { id: id.to_string() }));
        drop(writer);
        let found = read(&folder, 1_000, |_| true).unwrap();
        assert_eq!((found.records.len(), found.damaged), (100, 0));

        // A file where the folder should be.
        let late = root.path().join("late");
        std::fs::write(&late, "").unwrap();
        let writer = RecordWriter::start(late.clone(), 180).unwrap();
        writer.write(&Record { id: "7".to_owned() });
        while writer.counters().waiting == 0 {
            std::thread::yield_now();
        }
        std::fs::remove_file(&late).unwrap();
        drop(writer);
        let text = std::fs::read_to_string(late.join("000001.jsonl")).unwrap();
        assert!(text.starts_with("{\"id\":\"7\""), "{text}");
    }
}
