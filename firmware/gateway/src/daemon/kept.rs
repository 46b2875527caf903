//! What flows keep on the box across calls: settings that callers change by telephone, such
//! as where calls are forwarded. One small file, written anew at each change.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use tipring_model::call::KeptValues;

/// Values of all flows together.
const VALUES_MAX: usize = 10_000;
/// Longest name and longest value, in bytes.
const NAME_BYTES_MAX: usize = 512;
const VALUE_BYTES_MAX: usize = 4_096;
/// Names and values of all flows together, in bytes.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Values by the name of the dialect and their own.
type Values = BTreeMap<String, KeptValues>;

/// The values, and the thread that writes them.
pub(crate) struct Kept {
    values: RefCell<Values>,
    newest: Arc<Newest>,
    thread: Option<JoinHandle<()>>,
}

/// What is to be written: the newest alone, since it holds everything.
#[derive(Default)]
struct Newest {
    text: Mutex<(Option<Vec<u8>>, Ending)>,
    changed: Condvar,
}

/// True once nothing more comes.
type Ending = bool;

impl Newest {
    fn put(&self, change: impl FnOnce(&mut (Option<Vec<u8>>, Ending))) {
        change(&mut self.text.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// Waits for the next; none once nothing more comes.
    fn take(&self) -> Option<Vec<u8>> {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |text: &mut (Option<Vec<u8>>, Ending)| text.0.is_none() && !text.1;
        let mut text = self.changed.wait_while(text, waits).unwrap_or_else(PoisonError::into_inner);
        text.0.take()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.newest.put(|text| text.1 = true);
        // A panic there was reported there.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Kept {
    /// Reads what there is in `folder`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("kept.json");
        let values = match read(&path) {
            Ok(values) => values,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Values::new(),
            Err(error) => {
                // It is set aside, so that nothing is lost for good.
                tracing::error!(code = "TR-DAEMON-KEPT", file = %path.display(), %error, "what flows have kept cannot be read");
                let _ = std::fs::rename(&path, path.with_extension("unreadable"));
                Values::new()
            }
        };
        let newest = Arc::new(Newest::default());
        let of_thread = Arc::clone(&newest);
        let thread = std::thread::Builder::new().name("kept".to_owned()).spawn(move || {
            while let Some(text) = of_thread.take() {
                if let Err(error) = write(&path, &text) {
                    tracing::error!(code = "TR-DAEMON-KEPT", file = %path.display(), %error, "what flows keep cannot be written");
                }
            }
        })?;
        Ok(Self { values: RefCell::new(values), newest, thread: Some(thread) })
    }

    /// What flows of a dialect have kept.
    pub(crate) fn of(&self, dialect: &str) -> KeptValues {
        Rc::clone(self.values.borrow_mut().entry(dialect.to_owned()).or_default())
    }

    /// What flows of any dialect have kept under names that begin so, without that beginning.
    pub(crate) fn beginning_with(&self, start: &str) -> Vec<(String, String)> {
        let values = self.values.borrow();
        let mut found = Vec::new();
        for own in values.values() {
            let own = own.borrow();
            let named = own.iter().filter_map(|(name, value)| Some((name.strip_prefix(start)?, value)));
            found.extend(named.map(|(name, value)| (name.to_owned(), value.clone())));
        }
        found
    }

    /// Keeps a value, or forgets it.
    pub(crate) fn keep(&self, dialect: &str, name: String, value: Option<String>) {
        let mut values = self.values.borrow_mut();
        let (mut count, mut bytes) = (0, 0);
        for own in values.values() {
            let own = own.borrow();
            count += own.len();
            bytes += own.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        }
        let more = value.as_ref().map_or(0, |value| name.len() + value.len());
        let is_heavy = bytes + more > BYTES_MAX;
        let full = count >= VALUES_MAX;
        let too_long =
            name.len() > NAME_BYTES_MAX || value.as_ref().is_some_and(|v| v.len() > VALUE_BYTES_MAX);
        let own = Rc::clone(values.entry(dialect.to_owned()).or_default());
        if too_long || (value.is_some() && (is_heavy || (full && !own.borrow().contains_key(&name)))) {
            tracing::warn!(
                code = "TR-DAEMON-KEPT",
                dialect,
                "a value of a flow is not kept: too long or too many"
            );
            return;
        }
        match value {
            Some(value) => drop(own.borrow_mut().insert(name, value)),
            None => drop(own.borrow_mut().remove(&name)),
        }
        let held: Vec<_> = values.iter().map(|(dialect, own)| (dialect, own.borrow())).collect();
        let text = serde_json::to_vec(&held.iter().map(|(k, v)| (*k, &**v)).collect::<BTreeMap<_, _>>());
        if let Ok(text) = text {
            self.newest.put(|newest| newest.0 = Some(text));
        }
    }
}

fn read(path: &Path) -> io::Result<Values> {
    let file = File::open(path)?;
    if file.metadata()?.len() > FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let values: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_reader(io::BufReader::new(file))?;
    Ok(values.into_iter().map(|(dialect, own)| (dialect, Rc::new(RefCell::new(own)))).collect())
}

/// Writes a file whole or not at all.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let part: PathBuf = path.with_extension("part");
    let mut file = File::create(&part)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_there_at_the_next_start_and_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::open(folder.path()).unwrap();
        kept.keep("kazoo", "dnd/u-ann".to_owned(), Some("on".to_owned()));
        kept.keep("kazoo", "long".to_owned(), Some("x".repeat(VALUE_BYTES_MAX + 1)));
        kept.keep("twiml", "a".to_owned(), Some("1".to_owned()));
        kept.keep("twiml", "a".to_owned(), None);
        let seen = kept.of("kazoo");
        assert_eq!(seen.borrow().len(), 1);
        assert!(kept.of("twiml").borrow().is_empty());
        kept.keep("kazoo", "later".to_owned(), Some("1".to_owned()));
        assert!(seen.borrow().contains_key("later"), "who has asked before sees it");
        kept.keep("kazoo", "later".to_owned(), None);
        drop(kept);
        let path = folder.path().join("kept.json");
        let again = Kept::open(folder.path()).unwrap();
        assert_eq!(again.of("kazoo").borrow().get("dnd/u-ann").map(String::as_str), Some("on"));
        std::fs::write(&path, b"{").unwrap();
        assert!(Kept::open(folder.path()).unwrap().of("kazoo").borrow().is_empty());
        assert!(path.with_extension("unreadable").exists());
    }
}
