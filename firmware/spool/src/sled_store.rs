//! The store on sled: the only file that knows it.
//!
//! sled is pinned to 0.34.7, whose `flush` does not sync (measured; see the crate's head).
//! Two rules follow: every sync ends in `fdatasync` on the file, through a descriptor of
//! our own, and what sled writes in one piece stays below the size from which it puts it
//! into files that it never syncs at all. That piece is a leaf of up to 17 records, the size
//! a quarter of a segment: hence the length of a record and of a segment.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::entry::RECORD_BYTES_MAX;
use crate::store::{Change, Seq, Store, StoreError};

/// Memory that sled may use for its pages, in bytes.
const CACHE_BYTES: u64 = 1024 * 1024;
/// Length of a segment of sled's log, in bytes.
const SEGMENT_BYTES: usize = 2 * 1024 * 1024;
const _: () = assert!(17 * (RECORD_BYTES_MAX + 1_024) < SEGMENT_BYTES / 4, "a leaf would become a blob");
/// sled's file of pages and log.
pub(crate) const FILE: &str = "db";

/// A flush that takes longer may wait for ever.
const FLUSH_SLOW: Duration = Duration::from_secs(2);
/// What the thread that watches over flushes may be behind.
const TOLD_MAX: usize = 16;

/// Records in a sled tree, by number.
pub struct SledStore {
    /// Goes first: it holds the database open, too.
    watch: FlushWatch,
    db: sled::Db,
    /// The same file, to be synced.
    file: File,
    path: PathBuf,
}

impl SledStore {
    /// Opens the folder, or makes it. What has just been made is synced with its name
    /// (S3), and what a snapshot interrupted half-way left behind is removed (S4), since
    /// sled would take it for its own.
    ///
    /// # Errors
    /// [`StoreError`]. sled may also panic on a damaged file: see
    /// [`open`](crate::open()).
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let is_new = !folder.join(FILE).exists();
        for path in half_snapshots(folder)? {
            std::fs::remove_file(path)?;
        }
        // The spool syncs; a second thread that does would only wear the card.
        let db = sled::Config::new()
            .path(folder)
            .cache_capacity(CACHE_BYTES)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None)
            .open()
            .map_err(ours)?;
        let path = folder.join(FILE);
        let file = File::open(&path)?;
        if is_new {
            db.flush().map_err(ours)?;
            file.sync_all()?;
            let conf = folder.join("conf");
            if conf.exists() {
                File::open(conf)?.sync_all()?;
            }
            File::open(folder)?.sync_all()?;
            if let Some(parent) = folder.parent() {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(Self { watch: FlushWatch::start(&db)?, db, file, path })
    }
}

/// Frees a flush that waits for ever.
///
/// When a write fails on one of sled's own threads, sled notes the error and does not wake
/// whoever waits in `flush` (0.34.7, `exit_reservation`). A second flush sees the error, and
/// wakes the first on its way out.
struct FlushWatch {
    told: Option<SyncSender<Flush>>,
    is_flushing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a flush is doing.
enum Flush {
    Begun,
    Done,
}

impl FlushWatch {
    fn start(db: &sled::Db) -> io::Result<Self> {
        let (told, hears) = sync_channel(TOLD_MAX);
        let is_flushing = Arc::new(AtomicBool::new(false));
        let (db, flag) = (db.clone(), Arc::clone(&is_flushing));
        let thread = std::thread::Builder::new().name("spool-flush".to_owned()).spawn(move || {
            while let Ok(begun) = hears.recv() {
                let mut waits = matches!(begun, Flush::Begun);
                while waits {
                    match hears.recv_timeout(FLUSH_SLOW) {
                        Ok(Flush::Begun) => {}
                        Ok(Flush::Done) | Err(RecvTimeoutError::Disconnected) => waits = false,
                        Err(RecvTimeoutError::Timeout) => {
                            flag.store(true, Ordering::Release);
                            // The first flush reports what is wrong. sled may panic here, too.
                            let _ = catch_unwind(AssertUnwindSafe(|| drop(db.flush())));
                            flag.store(false, Ordering::Release);
                        }
                    }
                }
            }
        })?;
        Ok(Self { told: Some(told), is_flushing, thread: Some(thread) })
    }

    fn tell(&self, flush: Flush) {
        // One that is behind is in a flush of its own already.
        let _ = self.told.as_ref().map(|told| told.try_send(flush));
    }
}

impl Drop for FlushWatch {
    fn drop(&mut self) {
        self.told = None;
        // One that is in a flush ends when that does; who drops the store is not to wait.
        if let Some(thread) = self.thread.take().filter(|_| !self.is_flushing.load(Ordering::Acquire)) {
            // A panic there was caught there.
            let _ = thread.join();
        }
    }
}

/// Snapshots that were being written when something ended the process.
fn half_snapshots(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn ours(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(error) => StoreError::Io(error),
        sled::Error::CollectionNotFound(_)
        | sled::Error::Unsupported(_)
        | sled::Error::ReportableBug(_)
        | sled::Error::Corruption { .. } => StoreError::Damaged,
    }
}

impl Store for SledStore {
    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for change in changes {
            match change {
                Change::Put(Seq(seq), record) => batch.insert(&seq.to_be_bytes(), record),
                Change::Remove(Seq(seq)) => batch.remove(&seq.to_be_bytes()),
            }
        }
        self.db.apply_batch(batch).map_err(ours)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.watch.tell(Flush::Begun);
        let flushed = catch_unwind(AssertUnwindSafe(|| self.db.flush()));
        self.watch.tell(Flush::Done);
        flushed.map_err(|_| StoreError::Damaged)?.map_err(ours)?;
        // Left out only by `cargo xtask powercut --twin`, which must notice.
        if !cfg!(tipring_without_fdatasync) {
            self.file.sync_data()?;
        }
        self.look()
    }

    /// Somebody may have removed the folder: what is written then is gone with this process.
    fn look(&self) -> Result<(), StoreError> {
        let (open, there) = (self.file.metadata()?, std::fs::metadata(&self.path)?);
        if (open.dev(), open.ino()) == (there.dev(), there.ino()) {
            return Ok(());
        }
        Err(StoreError::Io(io::ErrorKind::NotFound.into()))
    }

    fn get(&self, seq: Seq) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.db.get(seq.0.to_be_bytes()).map_err(ours)?.map(|record| record.to_vec()))
    }

    fn each(&self, see: &mut dyn FnMut(Seq, &[u8])) -> Result<(), StoreError> {
        for pair in self.db.iter() {
            let (key, record) = pair.map_err(ours)?;
            let key: [u8; 8] = key.as_ref().try_into().map_err(|_| StoreError::Damaged)?;
            see(Seq(u64::from_be_bytes(key)), &record);
        }
        Ok(())
    }
}
