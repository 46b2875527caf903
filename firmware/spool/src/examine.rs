//! Reading a folder without changing it. sled clears what it takes for damaged as it opens,
//! so a copy is opened, and the daemon can still save what is in the folder itself.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::contents::Note;
use crate::entry::Entry;
use crate::lost::{beside, make_folder};
use crate::mark::Mark;
use crate::open::{OpenError, Refused, guarded};
use crate::reserve::free_bytes;
use crate::sled_store::FILE;
use crate::store::{NOTE, Seq, Store, StoreError};

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
/// [`OpenError`]; [`OpenError::Fresh`] where the folder is damaged,
/// [`OpenError::NoRoom`] where it cannot be copied.
pub fn examine(folder: &Path) -> Result<Examined, OpenError> {
    examine_each(folder, |_, _| ())
}

/// As [`examine`], and shows every webhook that can be read, by rising number.
///
/// # Errors
/// As [`examine`]; what was seen until then is good.
pub fn examine_each(folder: &Path, mut see: impl FnMut(Seq, Entry)) -> Result<Examined, OpenError> {
    let mark = Mark::read(folder);
    if !folder.join(FILE).exists() {
        if mark.value() == 0 {
            return Err(OpenError::Io(io::ErrorKind::NotFound.into()));
        }
        return Ok(Examined { missing: mark.lost_with_all(), ..Examined::default() });
    }
    let copy = Copy::of(folder)?;
    let store = guarded(&copy.folder, &mark, None).map_err(|refused| match refused {
        Refused::Locked => OpenError::Locked,
        Refused::System(error) => OpenError::Io(error),
        Refused::Unreadable => OpenError::Fresh(StoreError::Damaged),
    })?;
    let mut examined = Examined::default();
    let (mut next, mut count, mut waiting) = (1, 0, 0_u64);
    let read = store.each(&mut |seq, record| {
        if seq == NOTE {
            if let Some(note) = Note::read(record) {
                (next, count) = (note.next, note.count);
            }
        } else if let Ok(entry) = Entry::from_record(record) {
            examined.whole += 1;
            waiting += u64::from(entry.waits());
            see(seq, entry);
        } else {
            examined.damaged += 1;
        }
    });
    read.map_err(OpenError::Fresh)?;
    let missing = count.saturating_sub(waiting + examined.damaged);
    examined.missing = missing.max(mark.value().saturating_sub(next));
    Ok(examined)
}

/// A copy of a folder, which is removed with this.
struct Copy {
    folder: PathBuf,
    /// Keeps the daemon, and others who would copy it, from the folder meanwhile.
    _lock: File,
}

impl Copy {
    fn of(folder: &Path) -> Result<Self, OpenError> {
        let lock = File::open(folder.join(FILE))?;
        // sled locks the same file in the same way.
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(OpenError::Locked),
            Err(error) => return Err(OpenError::Io(error.into())),
        }
        let mut files = Vec::new();
        let mut needed_bytes = 0_u64;
        for found in std::fs::read_dir(folder)? {
            let found = found?;
            let about = found.metadata()?;
            if about.is_file() {
                needed_bytes = needed_bytes.saturating_add(about.len());
                files.push((found.path(), found.file_name()));
            }
        }
        let free_bytes = free_bytes(folder)?;
        if free_bytes < needed_bytes {
            return Err(OpenError::NoRoom { needed_bytes, free_bytes });
        }
        let copy = Self { folder: beside(folder, ".examined"), _lock: lock };
        // One that was killed may have left its copy.
        if copy.folder.exists() {
            std::fs::remove_dir_all(&copy.folder)?;
        }
        make_folder(&copy.folder)?;
        for (path, name) in files {
            let to = copy.folder.join(name);
            std::fs::copy(path, &to)?;
            std::fs::set_permissions(to, Permissions::from_mode(0o600))?;
        }
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // What stays is removed the next time.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
