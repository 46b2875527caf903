//! Room that is kept for the worst hour: a file on the spool's partition that is given up
//! when the disk is full, since sled needs room even to be opened (S8).

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

const MIB: u64 = 1024 * 1024;
/// Length of the file, in bytes.
const BYTES: u64 = 16 * MIB;
/// A partition that is smaller has no room to spare.
const PARTITION_MIN: u64 = 16 * BYTES;
/// The file is made where so much is free.
const FREE_MIN: u64 = 3 * BYTES;
/// The disk counts as full where less is free.
const FREE_FULL: u64 = 4 * MIB;

/// What is to be done about the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Make,
    GiveUp,
    Leave,
}

const fn step(partition: u64, free: u64, is_there: bool) -> Step {
    if is_there {
        if free < FREE_FULL { Step::GiveUp } else { Step::Leave }
    } else if partition >= PARTITION_MIN && free >= FREE_MIN {
        Step::Make
    } else {
        Step::Leave
    }
}

/// Makes the reserve of the spool in `folder` where there is room for it, and gives it up
/// where there is none left. To be called now and then.
///
/// # Errors
/// What the system says; nothing is lost by it but the reserve.
pub fn tend_reserve(folder: &Path) -> io::Result<()> {
    match next(folder)? {
        Step::Make => make(&path(folder)),
        Step::GiveUp => std::fs::remove_file(path(folder)),
        Step::Leave => Ok(()),
    }
}

/// Gives the reserve up where the disk is full.
pub(crate) fn give_up_reserve(folder: &Path) -> io::Result<()> {
    match next(folder)? {
        Step::GiveUp => std::fs::remove_file(path(folder)),
        Step::Make | Step::Leave => Ok(()),
    }
}

/// Free room on the partition of a folder, in bytes.
pub(crate) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let partition = statvfs(folder)?;
    Ok(partition.f_bavail.saturating_mul(partition.f_frsize))
}

fn next(folder: &Path) -> io::Result<Step> {
    let partition = statvfs(folder)?;
    let length = partition.f_blocks.saturating_mul(partition.f_frsize);
    let is_there = std::fs::metadata(path(folder)).is_ok_and(|file| file.len() >= BYTES);
    Ok(step(length, free_bytes(folder)?, is_there))
}

fn make(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().create(true).write(true).truncate(true).open(path)?;
    let made = fallocate(&file, FallocateFlags::empty(), 0, BYTES).map_err(io::Error::from);
    if let Err(error) = made.and_then(|()| File::sync_all(&file)) {
        std::fs::remove_file(path)?;
        return Err(error);
    }
    Ok(())
}

fn path(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".reserve");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_made_where_there_is_room_and_given_up_where_there_is_none() {
        for (partition, free, is_there, expected) in [
            (1_024 * MIB, 512 * MIB, false, Step::Make),
            (1_024 * MIB, 512 * MIB, true, Step::Leave),
            (1_024 * MIB, 47 * MIB, false, Step::Leave),
            (255 * MIB, 200 * MIB, false, Step::Leave),
            (1_024 * MIB, 4 * MIB, true, Step::Leave),
            (1_024 * MIB, 4 * MIB - 1, true, Step::GiveUp),
            (1_024 * MIB, 0, false, Step::Leave),
        ] {
            assert_eq!(step(partition, free, is_there), expected, "{partition} {free} {is_there}");
        }
    }

    #[test]
    fn the_reserve_takes_real_room() {
        use std::os::unix::fs::MetadataExt as _;
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("webhooks");
        make(&path(&folder)).unwrap();
        let file = std::fs::metadata(root.path().join("webhooks.reserve")).unwrap();
        assert!(file.len() == BYTES && file.blocks() * 512 >= BYTES, "{} blocks", file.blocks());
    }
}
