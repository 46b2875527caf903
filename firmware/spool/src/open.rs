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
//! after: so soon that it hardly ever reaches the disk. One that a killed start left behind
//! is searched by the next.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::contents::Note;
use crate::lost::{Before, Lost, beside, close_to_others, make_folder, set_aside, unsearched};
use crate::mark::Mark;
use crate::reserve::give_up_reserve;
use crate::sled_store::{FILE, SledStore};
use crate::store::{NOTE, Store, StoreError};

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
    /// What is to be searched in any case: the folder just set aside, and what earlier starts
    /// did not search to the end.
    pub unsearched: Vec<Lost>,
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
    /// There is no room for the copy that is read.
    #[error("there is no room for a copy to read: {needed_bytes} bytes are needed, {free_bytes} are free")]
    NoRoom {
        /// Length of the copy.
        needed_bytes: u64,
        /// Room on the partition.
        free_bytes: u64,
    },
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
    make_folder(folder)?;
    close_to_others(folder)?;
    // A full disk shows itself in what follows.
    let _ = give_up_reserve(folder);
    let marker = beside(folder, ".opening");
    let former = unsearched(folder);
    let before = Before::copy(folder);
    let is_trusted = !marker.exists() || probe(folder) == Probe::Opens;
    // On a disk that cannot be written the opening itself will say so.
    let _ = std::fs::write(&marker, []);
    let opened = open_marked(folder, is_trusted, before, former);
    let _ = std::fs::remove_file(&marker);
    let opened = opened?;
    // What sled has made it made as the umask says.
    close_to_others(folder)?;
    Ok(opened)
}

fn open_marked(
    folder: &Path,
    is_trusted: bool,
    before: Option<Before>,
    former: Vec<Lost>,
) -> Result<Opened, OpenError> {
    let mark = Mark::read(folder);
    let attempt = if is_trusted { guarded(folder, &mark, before.as_ref()) } else { Err(Refused::Unreadable) };
    match attempt {
        Ok(store) => {
            let (store, mark) = go_on(store, mark, &former)?;
            return Ok(Opened { store, mark, set_aside: None, before, unsearched: former });
        }
        Err(Refused::Locked) => return Err(OpenError::Locked),
        Err(Refused::System(error)) => {
            // It may have been changed before that: the next start searches the copy.
            drop(before.map(Before::keep));
            return Err(OpenError::Io(error));
        }
        Err(Refused::Unreadable) => {}
    }
    let aside = set_aside(folder)?;
    if let Some(before) = before {
        // Where it cannot be moved, what sled has left is all there is.
        let _ = std::fs::rename(before.folder().join(FILE), aside.join(FILE));
    }
    make_folder(folder)?;
    let store = SledStore::open(folder).map_err(OpenError::Fresh)?;
    // The mark went with the folder.
    let (store, mark) = begin(store, folder, &mark)?;
    let unsearched = unsearched(folder);
    Ok(Opened { store, mark, set_aside: Some(aside), before: None, unsearched })
}

/// Lets a store that is new go on where one ended that was set aside, if the start that did
/// so never came to this.
fn go_on(store: SledStore, mark: Mark, former: &[Lost]) -> Result<(SledStore, Mark), OpenError> {
    let ended = former.iter().map(Lost::mark).max_by_key(Mark::value);
    match ended {
        Some(ended)
            if mark.value() == 0
                && ended.value() > 1
                && store.get(NOTE).map_err(OpenError::Fresh)?.is_none() =>
        {
            begin(store, mark.folder(), &ended)
        }
        Some(_) | None => Ok((store, mark)),
    }
}

/// Begins a fresh store after one that is lost: no number is used twice, whatever became of
/// those who had it, and what is missing is known.
fn begin(mut store: SledStore, folder: &Path, ended: &Mark) -> Result<(SledStore, Mark), OpenError> {
    let used = ended.value();
    let note = Note { next: used.max(1), count: 0 };
    store.apply(vec![note.change()]).and_then(|()| store.sync()).map_err(OpenError::Fresh)?;
    let mut mark = Mark::read(folder);
    mark.write(used, 0)?;
    mark.lost = ended.lost_with_all();
    Ok((store, mark))
}

/// Opens the store anew after it failed while in use: never sets anything aside, since what
/// waits in it is still counted on. Where its file is gone, it begins a fresh one.
#[must_use]
pub fn reopen(folder: &Path) -> Option<(SledStore, Mark)> {
    // A full disk is the likeliest reason for the failure.
    let _ = give_up_reserve(folder);
    let mark = Mark::read(folder);
    make_folder(folder).ok()?;
    if !folder.join(FILE).exists() {
        // Somebody has removed it: there is nothing to be read any more.
        let store = SledStore::open(folder).ok()?;
        close_to_others(folder).ok()?;
        return begin(store, folder, &mark).ok();
    }
    guarded(folder, &mark, None).ok().map(|store| (store, mark))
}

/// Why a folder was not opened.
pub(crate) enum Refused {
    /// Another process has it.
    Locked,
    /// The system does not let us.
    System(io::Error),
    /// It makes no sense.
    Unreadable,
}

pub(crate) fn guarded(folder: &Path, mark: &Mark, before: Option<&Before>) -> Result<SledStore, Refused> {
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
