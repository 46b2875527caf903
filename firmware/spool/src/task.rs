//! The spool's thread: numbers what comes, writes it, syncs once for all that waits,
//! and answers.
//!
//! **Architecture invariant:** only this thread touches the disk, and nobody waits for it
//! but who asked to.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::entry::{Class, Entry, EntryError};
use crate::mark::Mark;
use crate::store::{Change, NOTE, Seq, Store, StoreError};

/// Requests that wait for the thread.
const REQUESTS_MAX: usize = 4_096;
/// Requests done with one sync.
const BATCH_MAX: usize = 128;
/// What all records together may take, in bytes (S8).
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// From here on progress makes room for what is dearer, oldest first.
const BYTES_CROWDED: u64 = BYTES_MAX / 5 * 4;
/// From here on progress is not taken any more.
const BYTES_FINAL_ONLY: u64 = BYTES_MAX / 20 * 19;
/// How often a store that failed is opened anew.
const REOPEN_EVERY: Duration = Duration::from_secs(5);
/// How long the spool is at rest before its mark is written.
const REST: Duration = Duration::from_secs(1);

/// Why a webhook is not in the spool, or cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PutError {
    /// It is too long.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The spool has no room for its class.
    #[error("the spool is full")]
    Full,
    /// The disk does not keep up.
    #[error("the spool does not keep up")]
    Busy,
    /// The store failed, or is being opened anew.
    #[error("the spool cannot be written")]
    Broken,
}

/// A webhook that was in the spool when it was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its number.
    pub seq: Seq,
    /// Scheme, host and port that it goes to.
    pub server: String,
    /// What it is about.
    pub subject: String,
}

/// What the spool has been through since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SpoolCounters {
    /// Webhooks in it.
    pub waiting: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// Webhooks put.
    pub put: u64,
    /// Webhooks removed, because they were taken or parked.
    pub removed: u64,
    /// Webhooks dropped for want of room, by class: progress, final.
    pub dropped: [u64; 2],
    /// Records that could not be read when the spool was opened.
    pub damaged: u64,
    /// Times the store failed.
    pub failures: u64,
    /// Webhooks that the store should hold and does not know.
    pub forgotten: u64,
}

#[derive(Default)]
struct Shared {
    waiting: AtomicU64,
    bytes: AtomicU64,
    put: AtomicU64,
    removed: AtomicU64,
    dropped: [AtomicU64; 2],
    damaged: AtomicU64,
    failures: AtomicU64,
    forgotten: AtomicU64,
    last_failure: RwLock<Option<String>>,
}

type Answer = oneshot::Sender<Result<Seq, PutError>>;

enum Request {
    Put { record: Vec<u8>, class: Class, answer: Answer },
    Remove(Seq),
    Get(Seq, oneshot::Sender<Result<Option<Entry>, PutError>>),
}

/// Opens the store anew after a failure.
pub type Reopen = Box<dyn FnMut() -> Option<(Box<dyn Store>, Option<Mark>)> + Send>;

/// The spool. Dropping it syncs what is left to sync and ends the thread.
pub struct Spool {
    requests: Option<SyncSender<Request>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl Spool {
    /// Reads what the store holds and starts the thread. Blocks meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read or the thread not be started.
    pub fn start(
        store: Box<dyn Store>,
        mark: Option<Mark>,
        reopen: Reopen,
    ) -> Result<(Self, Vec<Found>), StoreError> {
        let shared = Arc::new(Shared::default());
        let mut found = Vec::new();
        let contents = Contents::over(store, mark, Arc::clone(&shared), |seq, entry| {
            found.push(Found { seq, server: entry.server().to_owned(), subject: entry.subject.clone() });
        })?;
        let (requests, waiting) = sync_channel(REQUESTS_MAX);
        let thread = std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || run(contents, reopen, &waiting))
            .map_err(StoreError::Io)?;
        Ok((Self { requests: Some(requests), thread: Some(thread), shared }, found))
    }

    /// Puts a webhook into the spool. The answer comes once it would survive the loss
    /// of power, and not before; [`PutError::Broken`] also if the thread is gone.
    pub fn put(&self, entry: &Entry) -> oneshot::Receiver<Result<Seq, PutError>> {
        let (answer, answered) = oneshot::channel();
        match entry.to_record() {
            Ok(record) => self.ask(Request::Put { record, class: entry.class, answer }),
            Err(why) => {
                // Whoever does not wait does not want to know.
                let _ = answer.send(Err(why.into()));
            }
        }
        answered
    }

    /// Removes a webhook that was taken. A loss of power may undo it: the webhook is then
    /// sent again, under the same id.
    pub fn remove(&self, seq: Seq) {
        self.ask(Request::Remove(seq));
    }

    /// Reads a webhook; none if it is not there any more or cannot be read, and
    /// [`PutError::Broken`] while the store is not open.
    pub fn get(&self, seq: Seq) -> oneshot::Receiver<Result<Option<Entry>, PutError>> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Get(seq, answer));
        answered
    }

    fn ask(&self, request: Request) {
        let sent = self.requests.as_ref().map(|requests| requests.try_send(request));
        if let Some(Err(TrySendError::Full(Request::Put { answer, class, .. }))) = sent {
            self.shared.dropped(class);
            let _ = answer.send(Err(PutError::Busy));
        }
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> SpoolCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let shared = &self.shared;
        SpoolCounters {
            waiting: read(&shared.waiting),
            bytes: read(&shared.bytes),
            put: read(&shared.put),
            removed: read(&shared.removed),
            dropped: [read(&shared.dropped[0]), read(&shared.dropped[1])],
            damaged: read(&shared.damaged),
            failures: read(&shared.failures),
            forgotten: read(&shared.forgotten),
        }
    }

    /// What the system said when the store failed last.
    #[must_use]
    pub fn last_failure(&self) -> Option<String> {
        self.shared.last_failure.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn dropped(&self, class: Class) {
        self.dropped[class as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn failed(&self, error: &StoreError) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let text = match error {
            StoreError::Io(error) => error.to_string(),
            StoreError::Damaged => error.to_string(),
        };
        *self.last_failure.write().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }
}

/// What the spool knows of its store and keeps in it: written in one piece with each
/// change, so that it is right whenever the store is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Note {
    /// The number that comes next.
    pub(crate) next: u64,
    /// Webhooks in the store.
    pub(crate) count: u64,
}

impl Note {
    pub(crate) fn change(self) -> Change {
        let mut record = self.next.to_be_bytes().to_vec();
        record.extend(self.count.to_be_bytes());
        Change::Put(NOTE, record)
    }

    fn read(record: &[u8]) -> Option<Self> {
        let (next, count) = record.split_first_chunk()?;
        let count = count.try_into().ok()?;
        Some(Self { next: u64::from_be_bytes(*next), count: u64::from_be_bytes(count) })
    }
}

/// A store with what is known of its records.
struct Contents {
    store: Box<dyn Store>,
    mark: Option<Mark>,
    next: u64,
    /// Length and class of each record.
    index: BTreeMap<Seq, (u64, Class)>,
    /// Those that make room.
    progress: BTreeSet<Seq>,
    bytes: u64,
    /// What is to be done to the store.
    changes: Vec<Change>,
    /// Something was done and not synced.
    unsynced: bool,
    shared: Arc<Shared>,
}

impl Contents {
    fn over(
        store: Box<dyn Store>,
        mark: Option<Mark>,
        shared: Arc<Shared>,
        mut see: impl FnMut(Seq, &Entry),
    ) -> Result<Self, StoreError> {
        let (mut index, mut progress) = (BTreeMap::new(), BTreeSet::new());
        let (mut bytes, mut next, mut damaged, mut noted) = (0, 1, 0, 0);
        store.each(&mut |seq, record| {
            if seq == NOTE {
                if let Some(note) = Note::read(record) {
                    (next, noted) = (next.max(note.next), note.count);
                }
                return;
            }
            next = next.max(seq.0 + 1);
            match Entry::from_record(record) {
                Ok(entry) => {
                    let length = record.len() as u64;
                    bytes += length;
                    index.insert(seq, (length, entry.class));
                    if entry.class == Class::Progress {
                        progress.insert(seq);
                    }
                    see(seq, &entry);
                }
                Err(_) => damaged += 1,
            }
        })?;
        shared.damaged.fetch_add(damaged, Ordering::Relaxed);
        // The count tells what is missing in the middle, the mark what is missing at the end.
        let used = mark.as_ref().map_or(0, Mark::value);
        let missing = noted.saturating_sub(index.len() as u64 + damaged);
        let forgotten = missing.max(used.saturating_sub(next));
        shared.forgotten.fetch_add(forgotten, Ordering::Relaxed);
        let next = next.max(used);
        let contents =
            Self { store, mark, next, index, progress, bytes, changes: Vec::new(), unsynced: false, shared };
        contents.publish();
        Ok(contents)
    }

    fn publish(&self) {
        self.shared.waiting.store(self.index.len() as u64, Ordering::Relaxed);
        self.shared.bytes.store(self.bytes, Ordering::Relaxed);
    }

    /// Plans to write a record.
    fn put(&mut self, record: Vec<u8>, class: Class) -> Result<Seq, PutError> {
        let length = record.len() as u64;
        while self.bytes + length > BYTES_CROWDED
            && let Some(oldest) = self.progress.first().copied()
        {
            self.remove(oldest);
            self.shared.dropped(Class::Progress);
        }
        let most = match class {
            Class::Progress => BYTES_FINAL_ONLY,
            Class::Final => BYTES_MAX,
        };
        if self.bytes + length > most {
            self.shared.dropped(class);
            return Err(PutError::Full);
        }
        let seq = Seq(self.next);
        self.next += 1;
        self.index.insert(seq, (length, class));
        if class == Class::Progress {
            self.progress.insert(seq);
        }
        self.bytes += length;
        self.changes.push(Change::Put(seq, record));
        Ok(seq)
    }

    /// Plans to remove a record.
    fn remove(&mut self, seq: Seq) {
        if let Some((length, _)) = self.index.remove(&seq) {
            self.progress.remove(&seq);
            self.bytes -= length;
            self.changes.push(Change::Remove(seq));
        }
    }

    /// Does what was planned; with `synced`, so that it survives.
    fn commit(&mut self, synced: bool) -> Result<(), StoreError> {
        if !self.changes.is_empty() {
            let mut changes = std::mem::take(&mut self.changes);
            changes.push(Note { next: self.next, count: self.index.len() as u64 }.change());
            self.store.apply(changes)?;
            self.unsynced = true;
        }
        if synced {
            self.store.sync()?;
            self.unsynced = false;
            if self.mark.as_ref().is_some_and(|mark| mark.is_far_behind(self.next)) {
                self.write_mark()?;
            }
        }
        Ok(())
    }

    /// Whether anything is left to be done once there is time.
    fn has_chores(&self) -> bool {
        self.unsynced || self.mark.as_ref().is_some_and(|mark| mark.value() < self.next)
    }

    /// Syncs what was removed, and brings the mark to where the numbers are.
    fn do_chores(&mut self) -> Result<(), StoreError> {
        self.commit(true)?;
        self.write_mark()
    }

    /// Writes down how far the numbers have come, all of which are synced.
    fn write_mark(&mut self) -> Result<(), StoreError> {
        match &mut self.mark {
            Some(mark) if mark.value() < self.next => Ok(mark.write(self.next)?),
            Some(_) | None => Ok(()),
        }
    }
}

fn run(contents: Contents, mut reopen: Reopen, waiting: &Receiver<Request>) {
    let shared = Arc::clone(&contents.shared);
    let mut contents = Some(contents);
    let mut failed_at = now();
    loop {
        let rests = contents.as_ref().is_none_or(|open| !open.has_chores());
        let first = match if rests { waiting.recv().map_err(Into::into) } else { waiting.recv_timeout(REST) }
        {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if contents.is_none() && failed_at.elapsed() >= REOPEN_EVERY {
            failed_at = now();
            let again = || {
                let (store, mark) = reopen()?;
                Contents::over(store, mark, Arc::clone(&shared), |_, _| ()).ok()
            };
            contents = guarded(again).flatten();
        }
        let done = guarded(|| match (&mut contents, first) {
            (Some(open), Some(first)) => {
                serve(open, std::iter::once(first).chain(waiting.try_iter().take(BATCH_MAX - 1)))
            }
            (Some(open), None) => open.do_chores(),
            (None, Some(first)) => {
                std::iter::once(first).chain(waiting.try_iter()).for_each(refuse);
                Ok(())
            }
            (None, None) => Ok(()),
        });
        if let Err(error) = done.unwrap_or(Err(StoreError::Damaged)) {
            shared.failed(&error);
            // Nothing of it is believed any more, not even that it is still as it was.
            let failed = contents.take();
            guarded(|| drop(failed));
            failed_at = now();
        }
    }
    if let Some(mut open) = contents {
        // What could not be removed for good is sent once more.
        guarded(|| open.do_chores());
        guarded(|| drop(open));
    }
}

/// What comes of `work`; nothing if it panics, as sled does on damage and, where a sync
/// fails, even when it is closed.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// The thread's clock, for the pause between two openings.
fn now() -> Instant {
    Instant::now()
}

/// Does all of a batch, with one sync, and answers.
fn serve(open: &mut Contents, batch: impl Iterator<Item = Request>) -> Result<(), StoreError> {
    let mut put = Vec::new();
    let mut removed = 0;
    for request in batch {
        match request {
            Request::Put { record, class, answer } => match open.put(record, class) {
                Ok(seq) => put.push((seq, answer)),
                Err(why) => {
                    // Whoever does not wait does not want to know.
                    let _ = answer.send(Err(why));
                }
            },
            Request::Remove(seq) => {
                open.remove(seq);
                removed += 1;
            }
            Request::Get(seq, answer) => {
                let record = open.store.get(seq);
                let entry = match &record {
                    Ok(record) => Ok(record.as_ref().and_then(|record| Entry::from_record(record).ok())),
                    Err(_) => Err(PutError::Broken),
                };
                let _ = answer.send(entry);
                if let Err(error) = record {
                    put.into_iter().for_each(|(_, answer): (Seq, Answer)| {
                        let _ = answer.send(Err(PutError::Broken));
                    });
                    return Err(error);
                }
            }
        }
    }
    let committed = open.commit(!put.is_empty());
    open.publish();
    if committed.is_ok() {
        open.shared.put.fetch_add(put.len() as u64, Ordering::Relaxed);
        open.shared.removed.fetch_add(removed, Ordering::Relaxed);
    }
    for (seq, answer) in put {
        let _ = answer.send(if committed.is_ok() { Ok(seq) } else { Err(PutError::Broken) });
    }
    committed
}

fn refuse(request: Request) {
    match request {
        Request::Put { answer, .. } => {
            let _ = answer.send(Err(PutError::Broken));
        }
        Request::Get(_, answer) => {
            let _ = answer.send(Err(PutError::Broken));
        }
        Request::Remove(_) => {}
    }
}
