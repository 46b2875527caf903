//! Opening the spool's folder, whatever state it is in.
//!
//! sled panics on some damage, so it is opened under guard (S5). A folder that cannot be
//! read is set aside, never deleted, and a fresh one begun: a spool that is lost costs
//! its webhooks, one that keeps the daemon from starting costs the telephone.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::mark::Mark;
use crate::sled_store::SledStore;
use crate::store::{Store, StoreError};
use crate::task::Note;

/// Folders set aside that are kept; the oldest goes for a new one.
const ASIDE_MAX: usize = 3;

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

/// Opens the store in `folder`. Blocks: every record is read once.
///
/// # Errors
/// [`OpenError`]; never for a folder that is merely damaged.
pub fn open(folder: &Path) -> Result<Opened, OpenError> {
    std::fs::create_dir_all(folder)?;
    let mark = Mark::read(folder);
    match guarded(folder, &mark) {
        Ok(store) => return Ok(Opened { store, mark, set_aside: None }),
        Err(Refused::Locked) => return Err(OpenError::Locked),
        Err(Refused::System(error)) => return Err(OpenError::Io(error)),
        Err(Refused::Unreadable) => {}
    }
    let aside = set_aside(folder)?;
    std::fs::create_dir_all(folder)?;
    let mut store = SledStore::open(folder).map_err(OpenError::Fresh)?;
    // No number is used twice, whatever became of those who had it.
    let used = mark.value();
    let mut mark = Mark::read(folder);
    let note = Note { next: used.max(1), count: 0 };
    store.apply(vec![note.change()]).and_then(|()| store.sync()).map_err(OpenError::Fresh)?;
    mark.write(used)?;
    Ok(Opened { store, mark, set_aside: Some(aside) })
}

/// Opens the store anew after it failed while in use: never sets anything aside, since what
/// waits in it is still counted on.
#[must_use]
pub fn reopen(folder: &Path) -> Option<(SledStore, Mark)> {
    let mark = Mark::read(folder);
    guarded(folder, &mark).ok().map(|store| (store, mark))
}

enum Refused {
    /// Another process has it.
    Locked,
    /// The system does not let us.
    System(io::Error),
    /// It makes no sense.
    Unreadable,
}

fn guarded(folder: &Path, mark: &Mark) -> Result<SledStore, Refused> {
    let attempt = || {
        let store = SledStore::open(folder)?;
        let mut is_empty = true;
        store.each(&mut |_, _| is_empty = false)?;
        // The spool's own record is never removed: a store without it has lost all.
        if is_empty && mark.value() > 1 {
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
    let name = |n: usize| {
        let mut name = folder.as_os_str().to_owned();
        name.push(format!(".unreadable-{n}"));
        PathBuf::from(name)
    };
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
