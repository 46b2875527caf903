//! The folder of the records: numbered files, the newest of which is written to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// Where a new file is begun, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// All files together, in bytes; beyond, the oldest goes.
const FOLDER_BYTES_MAX: u64 = 256 << 20;

/// Every file, oldest first, with its number.
pub(super) fn files(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(".jsonl"))
            .and_then(|name| name.parse().ok());
        files.extend(number.map(|number| (number, path)));
    }
    files.sort();
    Ok(files)
}

/// The file that is written to.
pub(super) struct Segment {
    folder: PathBuf,
    number: u64,
    file: File,
    length: u64,
}

impl Segment {
    /// Opens the newest file, or begins the first. After a power cut in the middle of a
    /// line the next one begins on a line of its own.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let newest = files(folder)?.last().map_or(1, |(number, _)| *number);
        let mut segment = Self::begin(folder, newest)?;
        if segment.length > 0 {
            let mut last = [0];
            segment.file.seek(SeekFrom::End(-1))?;
            segment.file.read_exact(&mut last)?;
            if last != *b"\n" {
                segment.append("\n")?;
            }
        }
        Ok(segment)
    }

    fn begin(folder: &Path, number: u64) -> io::Result<Self> {
        let path = folder.join(format!("{number:06}.jsonl"));
        let file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let length = file.metadata()?.len();
        // A file without a name in its folder is lost with the power.
        File::open(folder)?.sync_all()?;
        Ok(Self { folder: folder.to_owned(), number, file, length })
    }

    /// Appends whole lines; they count once [`sync`](Self::sync) has succeeded.
    pub(super) fn append(&mut self, lines: &str) -> io::Result<()> {
        if self.length >= FILE_BYTES_MAX {
            self.file.sync_data()?;
            *self = Self::begin(&self.folder, self.number + 1)?;
            self.make_room(FOLDER_BYTES_MAX)?;
        }
        self.file.write_all(lines.as_bytes())?;
        self.length += lines.len() as u64;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Removes the oldest files until the folder is no longer than this. The newest stays.
    fn make_room(&self, bytes_max: u64) -> io::Result<()> {
        let mut sizes = Vec::new();
        for (number, path) in files(&self.folder)? {
            sizes.push((number, fs::metadata(&path)?.len(), path));
        }
        let mut sum: u64 = sizes.iter().map(|(_, length, _)| length).sum();
        for (number, length, path) in sizes {
            if sum <= bytes_max || number == self.number {
                break;
            }
            fs::remove_file(path)?;
            sum -= length;
        }
        Ok(())
    }

    /// Removes files that hold nothing as new as `oldest` (RFC 3339, which sorts as it
    /// reads). A record of a time when the clock was not set says nothing.
    pub(super) fn forget(&mut self, oldest: &str) -> io::Result<()> {
        let files = files(&self.folder)?;
        let is_old = |(_, path): &&(u64, PathBuf)| {
            let newest = super::reader::newest_start(path).ok().flatten();
            newest.is_some_and(|newest| newest.as_str() < oldest)
        };
        // What stands before an old one is older still, whatever its clock said.
        let Some(last) = files.iter().rev().find(is_old).map(|(number, _)| *number) else { return Ok(()) };
        if last >= self.number {
            *self = Self::begin(&self.folder, self.number + 1)?;
        }
        for (_, path) in files.into_iter().filter(|(number, _)| *number <= last) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_numbered_begun_anew_and_the_oldest_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut segment = Segment::open(folder.path()).unwrap();
        let megabyte = format!("{}\n", "x".repeat((1 << 20) - 1));
        for _ in 0..10 {
            segment.append(&megabyte).unwrap();
        }
        let numbers = || files(folder.path()).unwrap().into_iter().map(|(n, _)| n).collect::<Vec<_>>();
        assert_eq!(numbers(), [1, 2, 3]);
        segment.make_room(6 << 20).unwrap();
        assert_eq!(numbers(), [2, 3]);
        segment.make_room(0).unwrap();
        assert_eq!(numbers(), [3]);
        drop(segment);
        fs::write(folder.path().join("notes.txt"), "not ours").unwrap();
        Segment::open(folder.path()).unwrap().append("y\n").unwrap();
        assert_eq!(numbers(), [3]);
    }

    #[test]
    fn a_torn_line_does_not_swallow_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let mut segment = Segment::open(folder.path()).unwrap();
        segment.append("whole\nto").unwrap();
        drop(segment);
        Segment::open(folder.path()).unwrap().append("next\n").unwrap();
        let text = fs::read_to_string(folder.path().join("000001.jsonl")).unwrap();
        assert_eq!(text, "whole\nto\nnext\n");
    }

    #[test]
    fn what_is_too_old_is_forgotten_and_a_clock_that_was_not_set_forgets_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let line = |started: &str| super::super::sealed(&format!("{{\"started\":\"{started}\"}}")).unwrap();
        for (number, started) in
            [(1, "2026-01-01T00:00:00Z"), (2, "1970-01-01T00:00:00Z"), (3, "2026-02-01T00:00:00Z"), (4, "")]
        {
            fs::write(folder.path().join(format!("{number:06}.jsonl")), line(started)).unwrap();
        }
        let mut segment = Segment::open(folder.path()).unwrap();
        let numbers = || files(folder.path()).unwrap().into_iter().map(|(n, _)| n).collect::<Vec<_>>();
        segment.forget("1970-06-01T00:00:00Z").unwrap();
        assert_eq!(numbers(), [1, 2, 3, 4]);
        segment.forget("2026-01-15T00:00:00Z").unwrap();
        assert_eq!(numbers(), [2, 3, 4], "number two says nothing of its time");
        segment.forget("2026-03-01T00:00:00Z").unwrap();
        assert_eq!(numbers(), [4], "what stands before an old one is older still");
        segment.append(&line("2026-03-02T00:00:00Z")).unwrap();
        segment.forget("2026-04-01T00:00:00Z").unwrap();
        assert_eq!(numbers(), [5], "even the newest, on a box that takes few calls");
    }
}
