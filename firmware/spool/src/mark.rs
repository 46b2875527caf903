//! A line beside the store, by which a store that has forgotten its end is found out
//! (S6): sled takes a damaged tail for one that was never written, and says nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Numbers after which the mark is written even though the spool is never at rest: it
/// costs two syncs.
const EVERY: u64 = 100;
const FILE: &str = "mark";

/// The highest number that is known to have been on the disk, and how many waited then.
#[derive(Debug)]
pub struct Mark {
    folder: PathBuf,
    value: u64,
    /// Webhooks that waited or were parked when the mark was written.
    count: u64,
    /// Webhooks of a store that was lost whole before this one was begun.
    pub(crate) lost: u64,
}

impl Mark {
    /// Reads the mark of a spool's folder; 0 if there is none or it makes no sense.
    #[must_use]
    pub fn read(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join(FILE)).unwrap_or_default();
        let (value, count) = parsed(&text).unwrap_or_default();
        Self { folder: folder.to_owned(), value, count, lost: 0 }
    }

    /// Where it lies.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The number: every one below it was used.
    #[must_use]
    pub const fn value(&self) -> u64 {
        self.value
    }

    /// How many webhooks are missing where the whole store is: as many as waited when the
    /// mark was written. At least one unless none was ever put, since whoever loses all of a
    /// store is to hear of it.
    #[must_use]
    pub fn lost_with_all(&self) -> u64 {
        if self.value == 1 { 0 } else { self.count.max(1) }
    }

    /// True if so many numbers below `next` were used since the mark was written that it
    /// is time to write it.
    pub(crate) const fn is_far_behind(&self, next: u64) -> bool {
        next >= self.value.saturating_add(EVERY)
    }

    /// Writes the mark: to a new file, which then takes the place of the old one.
    pub(crate) fn write(&mut self, value: u64, count: u64) -> io::Result<()> {
        let new = self.folder.join("mark.new");
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
        writeln!(file, "{value} {count} {:08x}", checksum(value, count))?;
        // Left out only by `cargo xtask powercut --twin`: it would sync the spool's file, too.
        let syncs = !cfg!(tipring_without_fdatasync);
        if syncs {
            file.sync_all()?;
        }
        std::fs::rename(&new, self.folder.join(FILE))?;
        if syncs {
            File::open(&self.folder)?.sync_all()?;
        }
        (self.value, self.count) = (value, count);
        Ok(())
    }
}

fn parsed(text: &str) -> Option<(u64, u64)> {
    let mut words = text.split_whitespace();
    let (value, count) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let is_whole = u32::from_str_radix(words.next()?, 16).ok()? == checksum(value, count);
    (is_whole && words.next().is_none()).then_some((value, count))
}

/// CRC-32C of both numbers.
fn checksum(value: u64, count: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&value.to_be_bytes()), &count.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_gives_back_its_numbers_and_a_changed_one_counts_as_none() {
        let root = tempfile::tempdir().unwrap();
        let read = || Mark::read(root.path());
        assert_eq!((read().value(), read().lost_with_all()), (0, 1));
        read().write(1, 0).unwrap();
        assert_eq!((read().value(), read().lost_with_all()), (1, 0));
        read().write(1_234, 56).unwrap();
        assert_eq!((read().value(), read().lost_with_all()), (1_234, 56));
        let text = std::fs::read(root.path().join(FILE)).unwrap();
        for at in 0..text.len() - 1 {
            let mut changed = text.clone();
            changed[at] ^= 1;
            std::fs::write(root.path().join(FILE), changed).unwrap();
            assert_eq!(read().value(), 0, "byte {at}");
            std::fs::write(root.path().join(FILE), &text[..at]).unwrap();
            assert_eq!(read().value(), 0, "cut at {at}");
        }
    }
}
