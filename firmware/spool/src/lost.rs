//! Folders beside the spool's own in which webhooks may be that it does not know: the copy
//! made before an opening, and what was set aside. Each is searched to its end, at a later
//! start if need be; searching twice is harmless.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::mark::Mark;
use crate::reserve::free_bytes;
use crate::salvage::has_records;
use crate::sled_store::FILE;

/// Folders set aside that are kept; the oldest that was searched goes for a new one.
const ASIDE_MAX: usize = 3;
/// Copies that starts which did not end may leave behind: no more are made.
const COPIES_MAX: usize = 3;
/// A longer file is not copied before it is opened, in bytes.
const COPY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Lies in a folder set aside that was searched.
const SEARCHED: &str = "searched";

/// A copy of the store's file as it was before it was opened. It is removed with this, but
/// not by a process that is killed.
#[derive(Debug)]
pub struct Before(PathBuf);

impl Before {
    /// The folder that [`salvage`](crate::salvage()) can search.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Keeps the copy until it has been searched.
    #[must_use]
    pub fn keep(mut self) -> Lost {
        Lost { folder: std::mem::take(&mut self.0), is_copy: true }
    }

    /// Whether there is a whole record in it.
    pub(crate) fn has_records(&self) -> bool {
        has_records(&self.0).unwrap_or(false)
    }

    /// Makes the copy, if there is anything to copy and room for it.
    pub(crate) fn copy(folder: &Path) -> Option<Self> {
        let file = folder.join(FILE);
        let length = std::fs::metadata(&file).ok()?.len();
        if length > COPY_BYTES_MAX || free_bytes(folder).ok()? < length.saturating_mul(2) {
            return None;
        }
        let free = (1..=COPIES_MAX).map(|n| copy_name(folder, n)).find(|path| !path.exists())?;
        let before = Self(free);
        make_folder(&before.0).ok()?;
        std::fs::copy(&file, before.0.join(FILE)).ok()?;
        Some(before)
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            // What stays is searched the next time.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// A folder that is to be searched. It stays so until [`searched`](Self::searched).
#[derive(Debug)]
pub struct Lost {
    folder: PathBuf,
    is_copy: bool,
}

impl Lost {
    /// The folder that [`salvage`](crate::salvage()) can search.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Notes that it was searched to its end, and all that was found is on the disk: a copy is
    /// removed, what was set aside stays for whoever wants to look.
    ///
    /// # Errors
    /// What the system says; it is then searched again at the next start.
    pub fn searched(self) -> io::Result<()> {
        if self.is_copy {
            return std::fs::remove_dir_all(&self.folder);
        }
        OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(self.folder.join(SEARCHED))
            .map(drop)
    }

    /// The mark that was set aside with it.
    pub(crate) fn mark(&self) -> Mark {
        Mark::read(&self.folder)
    }
}

/// The folders beside the spool in `folder` that no start has searched to the end.
#[must_use]
pub fn unsearched(folder: &Path) -> Vec<Lost> {
    let copies = (1..=COPIES_MAX).map(|n| Lost { folder: copy_name(folder, n), is_copy: true });
    let aside = (1..=ASIDE_MAX).map(|n| Lost { folder: aside_name(folder, n), is_copy: false });
    copies
        .chain(aside)
        .filter(|lost| lost.folder.join(FILE).exists() && (lost.is_copy || !is_searched(&lost.folder)))
        .collect()
}

/// Moves the folder out of the way: `webhooks.unreadable-1`, `-2`, ...
pub(crate) fn set_aside(folder: &Path) -> io::Result<PathBuf> {
    let name = |n: usize| aside_name(folder, n);
    let aside = match (1..=ASIDE_MAX).map(name).find(|path| !path.exists()) {
        Some(free) => free,
        None => {
            let goes = (1..=ASIDE_MAX).find(|n| is_searched(&name(*n))).unwrap_or(1);
            std::fs::remove_dir_all(name(goes))?;
            for n in goes..ASIDE_MAX {
                std::fs::rename(name(n + 1), name(n))?;
            }
            name(ASIDE_MAX)
        }
    };
    std::fs::rename(folder, &aside)?;
    Ok(aside)
}

fn is_searched(aside: &Path) -> bool {
    aside.join(SEARCHED).exists()
}

fn aside_name(folder: &Path, n: usize) -> PathBuf {
    beside(folder, &format!(".unreadable-{n}"))
}

fn copy_name(folder: &Path, n: usize) -> PathBuf {
    if n == 1 { beside(folder, ".before") } else { beside(folder, &format!(".before-{n}")) }
}

/// A path with the folder's name and more.
pub(crate) fn beside(folder: &Path, more: &str) -> PathBuf {
    let mut name = folder.components().as_path().as_os_str().to_owned();
    name.push(more);
    PathBuf::from(name)
}

/// Makes a folder that only its owner can look into, whatever the umask.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    std::fs::set_permissions(folder, Permissions::from_mode(0o700))
}

/// Keeps others from the files of a folder: they hold callers' numbers, and secrets of
/// servers.
pub(crate) fn close_to_others(folder: &Path) -> io::Result<()> {
    for found in std::fs::read_dir(folder)? {
        let found = found?;
        if found.file_type()?.is_file() {
            std::fs::set_permissions(found.path(), Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}
