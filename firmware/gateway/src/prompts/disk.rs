//! Sounds kept on disk: spoken text, so that it need not be spoken again after a restart,
//! and fetched files, for the time when their server is away.
//!
//! One file an entry, written aside and renamed; the oldest go when there are too many
//! bytes. A file that is lost or broken costs one more speaking or fetching, so nothing is
//! synced.
//! All of it blocks.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// A folder of files with a limit on their sum.
pub(super) struct DiskCache {
    folder: PathBuf,
    bytes_max: u64,
    /// How many files were written; one writer at a time.
    written: Mutex<u64>,
}

impl DiskCache {
    /// Touches nothing yet.
    pub(super) const fn new(folder: PathBuf, bytes_max: u64) -> Self {
        Self { folder, bytes_max, written: Mutex::new(0) }
    }

    /// The bytes kept under `name`, which then count as used.
    pub(super) fn read(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.path(name);
        // A pipe must not make us wait for its other end.
        fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
        let bytes = fs::read(&path).ok()?;
        // Only the order of removal depends on it.
        let _ =
            File::options().append(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(bytes)
    }

    /// Keeps `bytes` under `name`.
    ///
    /// # Errors
    /// Any of the file system; nothing is kept then.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let size = bytes.len() as u64;
        if size > self.bytes_max {
            return Ok(());
        }
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        fs::create_dir_all(&self.folder)?;
        self.make_room(size, *written == 0)?;
        *written += 1;
        let aside = self.folder.join(format!("{name}.part"));
        let result = fs::write(&aside, bytes).and_then(|()| fs::rename(&aside, self.path(name)));
        if result.is_err() {
            let _ = fs::remove_file(&aside);
        }
        result
    }

    /// Forgets `name`.
    pub(super) fn remove(&self, name: &str) {
        let _ = fs::remove_file(self.path(name));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.wav"))
    }

    /// Removes the oldest until `size` more bytes fit, and at first what an earlier run
    /// left half written.
    fn make_room(&self, size: u64, first: bool) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if first && has_extension(&path, "part") {
                fs::remove_file(&path)?;
            }
            if has_extension(&path, "wav") {
                let meta = fs::symlink_metadata(&path)?;
                files.push((meta.modified()?, meta.len(), path));
            }
        }
        let mut sum: u64 = files.iter().map(|(_, length, _)| length).sum();
        files.sort();
        for (_, length, path) in files {
            if sum + size <= self.bytes_max {
                break;
            }
            fs::remove_file(path)?;
            sum -= length;
        }
        Ok(())
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    /// A folder that is removed with its owner.
    pub(crate) struct Folder(pub(crate) PathBuf);

    impl Folder {
        pub(crate) fn new() -> Self {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let name = format!("tipring-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_oldest_files_make_room() {
        let folder = Folder::new();
        fs::write(folder.0.join("left.part"), b"half").unwrap();
        fs::write(folder.0.join("other.txt"), b"not ours").unwrap();
        let disk = DiskCache::new(folder.0.clone(), 100);
        for (name, age_s) in [("a", 30), ("b", 20), ("c", 10)] {
            disk.write(name, &[1; 30]).unwrap();
            let file = File::options().append(true).open(disk.path(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age_s)).unwrap();
        }
        assert!(!folder.0.join("left.part").exists());
        // Reading makes it the youngest.
        assert_eq!(disk.read("a"), Some(vec![1; 30]));
        disk.write("d", &[2; 50]).unwrap();
        let kept = ["a", "b", "c", "d"].map(|name| disk.read(name).is_some());
        assert_eq!(kept, [true, false, false, true]);
        disk.write("big", &[3; 101]).unwrap();
        assert_eq!(disk.read("big"), None);
        disk.remove("a");
        assert_eq!(disk.read("a"), None);
        assert!(folder.0.join("other.txt").exists());
    }

    #[test]
    fn a_folder_that_cannot_be_is_an_error() {
        let folder = Folder::new();
        let file = folder.0.join("file");
        fs::write(&file, b"").unwrap();
        assert!(DiskCache::new(file.join("under"), 100).write("a", b"a").is_err());
    }
}
