//! Opening the spool's folder, whatever state it is in.
//!
//! sled panics on some damage, so it is opened under guard (S5). A folder that cannot be
//! read is set aside, never deleted, and a fresh one begun: a spool that is lost costs
//! its webhooks, one that keeps the daemon from starting costs the telephone.
//!
//! While a folder is being opened a marker lies beside it. One that is found there says
//! that the last opening never ended: then the folder is first tried elsewhere, in a
//! process that may hang or crash.
//!
//! sled clears what it takes for a torn end as it opens, and with it what might have been
//! saved. So a copy of its file is made before, which is thrown away if nothing is missing
//! after: so soon that it hardly ever reaches the disk.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::contents::Note;
use crate::entry::Entry;
use crate::mark::Mark;
use crate::reserve::{free_bytes, give_up_reserve};
use crate::salvage::has_records;
use crate::sled_store::{FILE, SledStore};
use crate::store::{NOTE, Store, StoreError};

/// Folders set aside that are kept; the oldest goes for a new one.
const ASIDE_MAX: usize = 3;

/// A longer file is not copied before it is opened, in bytes.
const COPY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What Linux says where the disk itself fails (errno.h).
const EIO: i32 = 5;

/// An open store, and what became of the one before.
pub struct Opened {
    /// The store.
    pub store: SledStore,
    /// What must be in it at least.
    pub mark: Mark,
    /// Where the folder is that could not be read, if that happened.
    pub set_aside: Option<PathBuf>,
    /// The file as it was before it was opened, unless it is the one set aside.
    pub before: Option<Before>,
}

/// A copy of the store's file, which is removed with this.
#[derive(Debug)]
pub struct Before(PathBuf);

impl Before {
    /// The folder that [`salvage`](crate::salvage()) can search.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Whether there is a whole record in it.
    fn has_records(&self) -> bool {
        has_records(&self.0).unwrap_or(false)
    }

    /// Makes the copy, if there is anything to copy and room for it.
    fn copy(folder: &Path) -> Option<Self> {
        let file = folder.join(FILE);
        let length = std::fs::metadata(&file).ok()?.len();
        if length > COPY_BYTES_MAX || free_bytes(folder).ok()? < length.saturating_mul(2) {
            return None;
        }
        let before = Self(beside(folder, ".before"));
        std::fs::create_dir_all(&before.0).ok()?;
        std::fs::copy(&file, before.0.join(FILE)).ok()?;
        Some(before)
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        // What stays is overwritten the next time.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Why there is no spool.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("another process has the spool open")]
    Locked,
    /// The system refused.
    #[error("the spool's folder cannot be used")]
    Io(#[from] io::Error),
    /// Not even a fresh folder could be opened.
    #[error("a fresh spool cannot be opened")]
    Fresh(#[source] StoreError),
}

/// What came of trying a folder elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Probe {
    /// It can be opened, or it cannot for reasons that are no fault of its own.
    Opens,
    /// Opening it fails, crashes or does not end.
    Fails,
}

/// Opens the store in `folder`. Blocks: every record is read once.
///
/// # Errors
/// [`OpenError`]; never for a folder that is merely damaged.
pub fn open(folder: &Path) -> Result<Opened, OpenError> {
    open_probed(folder, |_| Probe::Opens)
}

/// As [`open`], with a `probe` that tries the folder elsewhere, in a limited time. It is
/// asked only where the last opening did not end.
///
/// # Errors
/// As [`open`].
pub fn open_probed(folder: &Path, probe: impl FnOnce(&Path) -> Probe) -> Result<Opened, OpenError> {
    std::fs::create_dir_all(folder)?;
    // A full disk shows itself in what follows.
    let _ = give_up_reserve(folder);
    let marker = beside(folder, ".opening");
    let before = Before::copy(folder);
    let is_trusted = !marker.exists() || probe(folder) == Probe::Opens;
    // On a disk that cannot be written the opening itself will say so.
    let _ = std::fs::write(&marker, []);
    let opened = open_marked(folder, is_trusted, before);
    let _ = std::fs::remove_file(&marker);
    opened
}

fn open_marked(folder: &Path, is_trusted: bool, before: Option<Before>) -> Result<Opened, OpenError> {
    let mark = Mark::read(folder);
    let attempt = if is_trusted { guarded(folder, &mark, before.as_ref()) } else { Err(Refused::Unreadable) };
    match attempt {
        Ok(store) => return Ok(Opened { store, mark, set_aside: None, before }),
        Err(Refused::Locked) => return Err(OpenError::Locked),
        Err(Refused::System(error)) => return Err(OpenError::Io(error)),
        Err(Refused::Unreadable) => {}
    }
    let aside = set_aside(folder)?;
    if let Some(before) = before {
        // Where it cannot be moved, what sled has left is all there is.
        let _ = std::fs::rename(before.0.join(FILE), aside.join(FILE));
    }
    std::fs::create_dir_all(folder)?;
    let mut store = SledStore::open(folder).map_err(OpenError::Fresh)?;
    // No number is used twice, whatever became of those who had it.
    let used = mark.value();
    let mut mark = Mark::read(folder);
    let note = Note { next: used.max(1), count: 0 };
    store.apply(vec![note.change()]).and_then(|()| store.sync()).map_err(OpenError::Fresh)?;
    mark.write(used)?;
    Ok(Opened { store, mark, set_aside: Some(aside), before: None })
}

/// Opens the store anew after it failed while in use: never sets anything aside, since what
/// waits in it is still counted on.
#[must_use]
pub fn reopen(folder: &Path) -> Option<(SledStore, Mark)> {
    // A full disk is the likeliest reason for the failure.
    let _ = give_up_reserve(folder);
    let mark = Mark::read(folder);
    guarded(folder, &mark, None).ok().map(|store| (store, mark))
}

/// What is in a folder.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Examined {
    /// Webhooks that can be read.
    pub whole: u64,
    /// Records that cannot.
    pub damaged: u64,
    /// Webhooks that should be there and are not.
    pub missing: u64,
}

/// Reads every record of a folder, and changes none. Nothing is set aside.
///
/// # Errors
/// [`OpenError`]; [`OpenError::Fresh`] where the folder is damaged.
pub fn examine(folder: &Path) -> Result<Examined, OpenError> {
    if !folder.join(FILE).exists() {
        return Err(OpenError::Io(io::ErrorKind::NotFound.into()));
    }
    let mark = Mark::read(folder);
    let mut examined = Examined::default();
    let (mut next, mut count) = (1, 0);
    let store = guarded(folder, &mark, None).map_err(|refused| match refused {
        Refused::Locked => OpenError::Locked,
        Refused::System(error) => OpenError::Io(error),
        Refused::Unreadable => OpenError::Fresh(StoreError::Damaged),
    })?;
    let read = store.each(&mut |seq, record| {
        if seq == NOTE {
            if let Some(note) = Note::read(record) {
                (next, count) = (note.next, note.count);
            }
        } else if Entry::from_record(record).is_ok() {
            examined.whole += 1;
        } else {
            examined.damaged += 1;
        }
    });
    read.map_err(OpenError::Fresh)?;
    let missing = u64::saturating_sub(count, examined.whole + examined.damaged);
    examined.missing = missing.max(mark.value().saturating_sub(next));
    Ok(examined)
}

enum Refused {
    /// Another process has it.
    Locked,
    /// The system does not let us.
    System(io::Error),
    /// It makes no sense.
    Unreadable,
}

fn guarded(folder: &Path, mark: &Mark, before: Option<&Before>) -> Result<SledStore, Refused> {
    let attempt = || {
        let store = SledStore::open(folder)?;
        let mut is_empty = true;
        store.each(&mut |_, _| is_empty = false)?;
        // The spool's own record is never removed: a store without it has lost all, or has
        // never had any.
        if is_empty && (mark.value() > 1 || before.is_some_and(Before::has_records)) {
            return Err(StoreError::Damaged);
        }
        Ok(store)
    };
    match catch_unwind(AssertUnwindSafe(attempt)) {
        Ok(Ok(store)) => Ok(store),
        // sled tells a lock that is held as an error of its own making.
        Ok(Err(StoreError::Io(error))) if error.to_string().contains("could not acquire lock") => {
            Err(Refused::Locked)
        }
        // What the system refuses is no fault of the folder, unless it cannot be read.
        Ok(Err(StoreError::Io(error))) if error.raw_os_error().is_some_and(|code| code != EIO) => {
            Err(Refused::System(error))
        }
        Ok(Err(StoreError::Io(_))) => Err(Refused::Unreadable),
        Ok(Err(StoreError::Damaged)) | Err(_) => Err(Refused::Unreadable),
    }
}

/// Moves the folder out of the way: `webhooks.unreadable-1`, `-2`, ...
fn set_aside(folder: &Path) -> io::Result<PathBuf> {
    let name = |n: usize| beside(folder, &format!(".unreadable-{n}"));
    let aside = match (1..=ASIDE_MAX).map(name).find(|path| !path.exists()) {
        Some(free) => free,
        None => {
            std::fs::remove_dir_all(name(1))?;
            for n in 1..ASIDE_MAX {
                std::fs::rename(name(n + 1), name(n))?;
            }
            name(ASIDE_MAX)
        }
    };
    std::fs::rename(folder, &aside)?;
    Ok(aside)
}

/// A path with the folder's name and more.
fn beside(folder: &Path, more: &str) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(more);
    PathBuf::from(name)
}
