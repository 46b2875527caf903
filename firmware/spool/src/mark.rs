//! A number beside the store, by which a store that has forgotten its end is found out
//! (S6): sled takes a damaged tail for one that was never written, and says nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Numbers after which the mark is written even though the spool is never at rest: it
/// costs two syncs.
const EVERY: u64 = 100;
const FILE: &str = "mark";

/// The highest number that is known to have been on the disk.
#[derive(Debug)]
pub struct Mark {
    folder: PathBuf,
    value: u64,
}

impl Mark {
    /// Reads the mark of a spool's folder; 0 if there is none or it makes no sense.
    #[must_use]
    pub fn read(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join(FILE)).unwrap_or_default();
        Self { folder: folder.to_owned(), value: text.trim().parse().unwrap_or(0) }
    }

    /// The number: every one below it was used.
    #[must_use]
    pub const fn value(&self) -> u64 {
        self.value
    }

    /// True if so many numbers below `next` were used since the mark was written that it
    /// is time to write it.
    pub(crate) const fn is_far_behind(&self, next: u64) -> bool {
        next >= self.value + EVERY
    }

    /// Writes the mark: to a new file, which then takes the place of the old one.
    pub(crate) fn write(&mut self, value: u64) -> io::Result<()> {
        let new = self.folder.join("mark.new");
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&new)?;
        writeln!(file, "{value}")?;
        file.sync_all()?;
        std::fs::rename(&new, self.folder.join(FILE))?;
        File::open(&self.folder)?.sync_all()?;
        self.value = value;
        Ok(())
    }
}
