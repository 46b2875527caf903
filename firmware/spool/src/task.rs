//! The spool's thread: numbers what comes, writes it, syncs once for all that waits,
//! and answers.
//!
//! **Architecture invariant:** only this thread touches the disk, and nobody waits for it
//! but who asked to.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::class::{ByClass, Class};
use crate::contents::{Contents, Filed, ImportError, Shelf};
use crate::entry::{Entry, EntryError};
use crate::mark::Mark;
use crate::overflow::Overflow;
use crate::store::{Seq, Store, StoreError};

/// Requests that wait for the thread.
const REQUESTS_MAX: usize = 4_096;
/// Requests done with one sync.
const BATCH_MAX: usize = 128;
/// How often a store that failed is opened anew.
const REOPEN_EVERY: Duration = Duration::from_secs(5);
/// How long the spool is at rest before its mark is written.
const REST: Duration = Duration::from_secs(1);
/// How often a spool at rest sees whether its store is still there.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Records that made the store fail when they were read.
const SUSPECTS_MAX: usize = 1_000;

/// Why a webhook is not in the spool, or cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PutError {
    /// It is too long, or its record is damaged and was removed.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The spool has no room for its class.
    #[error("the spool is full")]
    Full,
    /// The disk does not keep up.
    #[error("the spool does not keep up")]
    Busy,
    /// The store failed: the webhook has a number and its place in the order, but is only
    /// in memory until the store is open again.
    #[error("the spool holds it in memory")]
    Held(Seq),
    /// The store failed, or is being opened anew.
    #[error("the spool cannot be written")]
    Broken,
}

/// A webhook that waited in the spool when it was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its number.
    pub seq: Seq,
    /// Scheme, host and port that it goes to.
    pub server: String,
    /// What it shares its order with.
    pub subject: String,
    /// What it tells.
    pub class: Class,
    /// Wall clock when it was put, in milliseconds since 1970 UTC.
    pub put_unix_ms: i64,
}

/// What the spool has been through since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SpoolCounters {
    /// Webhooks that wait.
    pub waiting: u64,
    /// Webhooks that are set apart.
    pub parked: u64,
    /// Webhooks that were sent and are kept for a while.
    pub sent: u64,
    /// Bytes of the records that wait or are parked.
    pub bytes: u64,
    /// Bytes of those that were sent.
    pub history_bytes: u64,
    /// Webhooks that are only in memory, because the store failed.
    pub held: u64,
    /// Webhooks put.
    pub put: u64,
    /// Webhooks removed.
    pub removed: u64,
    /// Webhooks dropped for want of room.
    pub dropped: ByClass,
    /// Records that could not be read; they were removed.
    pub damaged: u64,
    /// Times the store failed.
    pub failures: u64,
    /// Webhooks that the store should hold and does not know.
    pub forgotten: u64,
}

#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) waiting: AtomicU64,
    pub(crate) parked: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) history_bytes: AtomicU64,
    held: AtomicU64,
    put: AtomicU64,
    removed: AtomicU64,
    dropped: [AtomicU64; Class::ALL.len()],
    pub(crate) damaged: AtomicU64,
    failures: AtomicU64,
    pub(crate) forgotten: AtomicU64,
    last_failure: RwLock<Option<String>>,
}

/// The number of each webhook that came from elsewhere; none where its id was known.
type Imported = Vec<Option<Seq>>;
type Answer<T> = oneshot::Sender<Result<T, PutError>>;
/// Where an answer of the spool arrives.
pub type Answered<T> = oneshot::Receiver<Result<T, PutError>>;

enum Request {
    Put(Filed, Answer<Seq>),
    Settle(Seq, Filed),
    Remove(Seq),
    Expire(Seq, Class),
    Get(Seq, Answer<Option<Entry>>),
    Find(String, Answer<Option<(Seq, Entry)>>),
    Page(Seq, Option<Shelf>, usize, Answer<Vec<(Seq, Entry)>>),
    Import(Vec<(Entry, Filed)>, Answer<Imported>),
    TrimSent(i64),
    Retry,
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
            found.push(Found {
                seq,
                server: entry.server(),
                subject: entry.ordered_by().to_owned(),
                class: entry.class,
                put_unix_ms: entry.put_unix_ms,
            });
        })?;
        let (requests, waiting) = sync_channel(REQUESTS_MAX);
        let worker = Worker::new(contents, reopen, Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || worker.run(&waiting))
            .map_err(StoreError::Io)?;
        Ok((Self { requests: Some(requests), thread: Some(thread), shared }, found))
    }

    /// Puts a webhook into the spool. The answer comes once it would survive the loss
    /// of power, and not before; [`PutError::Held`] if it would not, but is in its place
    /// all the same.
    pub fn put(&self, entry: &Entry) -> Answered<Seq> {
        self.filed(entry, Request::Put)
    }

    /// Writes how a webhook stands now. A loss of power may undo it, and then it is sent
    /// again under the same id.
    pub fn settle(&self, seq: Seq, entry: &Entry) {
        // An answer of the server that makes it too long must not keep it from being settled.
        match Filed::new(entry).or_else(|_| Filed::new(&entry.without_reply())) {
            Ok(filed) => self.ask(Request::Settle(seq, filed)),
            Err(_) => self.ask(Request::Remove(seq)),
        }
    }

    /// Removes a webhook. A loss of power may undo it.
    pub fn remove(&self, seq: Seq) {
        self.ask(Request::Remove(seq));
    }

    /// Removes a webhook that is not worth sending any more, and counts it as dropped,
    /// unless it has made room before.
    pub fn expire(&self, seq: Seq, class: Class) {
        self.ask(Request::Expire(seq, class));
    }

    /// Reads a webhook; none if it is not there any more, and [`PutError::Broken`] while
    /// the store is not open.
    pub fn get(&self, seq: Seq) -> Answered<Option<Entry>> {
        self.answered(|answer| Request::Get(seq, answer))
    }

    /// The webhook with this id.
    pub fn find(&self, id: &str) -> Answered<Option<(Seq, Entry)>> {
        self.answered(|answer| Request::Find(id.to_owned(), answer))
    }

    /// At most `most` webhooks with numbers above `after`, the lowest first.
    pub fn page(&self, after: Seq, shelf: Option<Shelf>, most: usize) -> Answered<Vec<(Seq, Entry)>> {
        self.answered(|answer| Request::Page(after, shelf, most.min(BATCH_MAX), answer))
    }

    /// Takes webhooks from elsewhere: all of them or, where there is no room, none. The
    /// answer has the new number of each, or none where its id was known.
    pub fn import(&self, entries: Vec<Entry>) -> Answered<Vec<Option<Seq>>> {
        let filed: Result<Vec<_>, PutError> =
            entries.into_iter().map(|entry| Filed::new(&entry).map(|filed| (entry, filed))).collect();
        match filed {
            Ok(entries) => self.answered(|answer| Request::Import(entries, answer)),
            Err(why) => refused(why),
        }
    }

    /// Forgets those that were sent before this moment, in milliseconds since 1970 UTC.
    pub fn trim_sent(&self, before_unix_ms: i64) {
        self.ask(Request::TrimSent(before_unix_ms));
    }

    /// Counts so many of those that were forgotten as found again.
    pub fn found_again(&self, count: u64) {
        let less = |forgotten: u64| Some(forgotten.saturating_sub(count));
        // It never refuses.
        let _ = self.shared.forgotten.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Tries at once to open a store that failed, instead of after its pause.
    pub fn retry(&self) {
        self.ask(Request::Retry);
    }

    fn filed<T>(&self, entry: &Entry, request: impl FnOnce(Filed, Answer<T>) -> Request) -> Answered<T> {
        match Filed::new(entry) {
            Ok(filed) => self.answered(|answer| request(filed, answer)),
            Err(why) => refused(why),
        }
    }

    fn answered<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Answered<T> {
        let (answer, answered) = oneshot::channel();
        self.ask(request(answer));
        answered
    }

    fn ask(&self, request: Request) {
        let sent = self.requests.as_ref().map(|requests| requests.try_send(request));
        if let Some(Err(TrySendError::Full(Request::Put(filed, answer)))) = sent {
            self.shared.dropped(filed.row.class);
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
            parked: read(&shared.parked),
            sent: read(&shared.sent),
            bytes: read(&shared.bytes),
            history_bytes: read(&shared.history_bytes),
            held: read(&shared.held),
            put: read(&shared.put),
            removed: read(&shared.removed),
            dropped: ByClass(std::array::from_fn(|at| read(&shared.dropped[at]))),
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

fn refused<T>(why: PutError) -> Answered<T> {
    let (answer, answered) = oneshot::channel();
    reply(answer, Err(why));
    answered
}

/// Whoever does not wait does not want to know.
fn reply<T>(answer: Answer<T>, result: Result<T, PutError>) {
    let _ = answer.send(result);
}

impl Shared {
    pub(crate) fn dropped(&self, class: Class) {
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

/// The thread's own.
struct Worker {
    contents: Option<Contents>,
    reopen: Reopen,
    failed_at: Instant,
    /// The number that comes next, and the first that the store has never seen, while it
    /// is not open.
    next: u64,
    unseen: u64,
    overflow: Overflow,
    /// Those that waited in the store when it failed.
    known: Vec<Seq>,
    /// How often a record made the store fail.
    suspects: BTreeMap<Seq, u32>,
    shared: Arc<Shared>,
}

impl Worker {
    fn new(contents: Contents, reopen: Reopen, shared: Arc<Shared>) -> Self {
        Self {
            contents: Some(contents),
            reopen,
            failed_at: now(),
            next: 0,
            unseen: 0,
            overflow: Overflow::default(),
            known: Vec::new(),
            suspects: BTreeMap::new(),
            shared,
        }
    }

    fn run(mut self, waiting: &Receiver<Request>) {
        loop {
            let pause = match &self.contents {
                Some(open) if !open.has_chores() => LOOK_EVERY,
                Some(_) => REST,
                None => REOPEN_EVERY,
            };
            let first = match waiting.recv_timeout(pause) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if self.contents.is_none() && self.failed_at.elapsed() >= REOPEN_EVERY {
                self.open_again();
            }
            match first {
                Some(first) => {
                    let more = waiting.try_iter().take(BATCH_MAX - 1);
                    self.serve(std::iter::once(first).chain(more));
                }
                None => {
                    let done =
                        self.with_open(|open| if open.has_chores() { open.do_chores() } else { open.look() });
                    self.judge(done);
                }
            }
        }
        if self.contents.is_none() && !self.overflow.is_empty() {
            self.open_again();
        }
        let done = self.with_open(Contents::do_chores);
        self.judge(done);
        // What could not be removed for good is sent once more.
        let contents = self.contents.take();
        guarded(|| drop(contents));
    }

    /// Does something to the store, if it is open.
    fn with_open<T>(
        &mut self,
        work: impl FnOnce(&mut Contents) -> Result<T, StoreError>,
    ) -> Option<Result<T, StoreError>> {
        let open = self.contents.as_mut()?;
        Some(guarded(|| work(open)).unwrap_or(Err(StoreError::Damaged)))
    }

    /// Gives the store up if it failed.
    fn judge<T>(&mut self, done: Option<Result<T, StoreError>>) {
        if let Some(Err(error)) = done {
            self.shared.failed(&error);
            // Nothing of it is believed any more, not even that it is still as it was.
            let failed = self.contents.take();
            self.known = failed.as_ref().map_or_else(Vec::new, Contents::waiting_seqs);
            self.next = self.next.max(failed.as_ref().map_or(0, |failed| failed.next));
            self.unseen = self.next;
            guarded(|| drop(failed));
            self.failed_at = now();
        }
    }

    fn open_again(&mut self) {
        self.failed_at = now();
        let shared = Arc::clone(&self.shared);
        let forgotten = shared.forgotten.load(Ordering::Relaxed);
        let again = || {
            let (store, mark) = (self.reopen)()?;
            Contents::over(store, mark, shared, |_, _| ()).ok()
        };
        self.contents = guarded(again).flatten();
        let (next, overflow) = (self.next, &self.overflow);
        let Some(open) = self.contents.as_mut() else { return };
        open.next = open.next.max(next);
        // What was known to wait, and is neither there nor held, says more than the mark.
        let gone = self.known.iter().filter(|seq| !open.has(**seq) && overflow.get(**seq).is_none());
        let gone = forgotten.saturating_add(gone.count() as u64);
        self.shared.forgotten.store(gone, Ordering::Relaxed);
        self.known = Vec::new();
        overflow.plan(open);
        let changes = open.take_changes();
        let done = guarded(|| open.commit(changes, true)).unwrap_or(Err(StoreError::Damaged));
        open.publish();
        if done.is_ok() {
            self.overflow = Overflow::default();
            self.shared.held.store(0, Ordering::Relaxed);
        }
        self.judge(Some(done));
    }

    /// Does all of a batch, with one sync, and answers.
    fn serve(&mut self, batch: impl Iterator<Item = Request>) {
        let mut put = Vec::new();
        let (mut removed, mut is_dear) = (0, false);
        let mut imported = Vec::new();
        for request in batch {
            if matches!(request, Request::Retry) && self.contents.is_none() {
                self.open_again();
                continue;
            }
            let Some(open) = self.contents.as_mut() else {
                self.serve_without(request);
                continue;
            };
            match request {
                Request::Put(filed, answer) => match open.put(filed) {
                    Ok(seq) => put.push((seq, answer)),
                    Err(why) => reply(answer, Err(why)),
                },
                Request::Settle(seq, filed) => {
                    // One that was sent and is forgotten comes again; one that is parked
                    // would begin anew.
                    is_dear |= filed.row.shelf != Shelf::Sent;
                    open.settle(seq, filed);
                }
                Request::Remove(seq) => {
                    open.remove(seq);
                    removed += 1;
                }
                Request::Expire(seq, _) => open.drop_webhook(seq),
                Request::TrimSent(before) => open.trim_history(before),
                Request::Retry => {}
                Request::Get(seq, answer) => {
                    let found = self.read(seq);
                    self.answer(answer, found);
                }
                Request::Find(id, answer) => {
                    let found = self.with_open(|open| open.find(&id));
                    self.answer(answer, found.map(|found| found.map(Ok)));
                }
                Request::Page(after, shelf, most, answer) => {
                    let page = self.with_open(|open| open.page(after, shelf, most));
                    self.answer(answer, page.map(|page| page.map(Ok)));
                }
                Request::Import(entries, answer) => {
                    let planned = self.with_open(|open| match open.import(entries) {
                        Ok(seqs) => Ok(Ok(seqs)),
                        Err(ImportError::Full) => Ok(Err(PutError::Full)),
                        Err(ImportError::Store(error)) => Err(error),
                    });
                    match planned {
                        Some(Ok(Ok(seqs))) => imported.push((seqs, answer)),
                        other => self.answer(answer, other),
                    }
                }
            }
        }
        self.conclude(put, imported, removed, is_dear);
    }

    /// Commits what a batch has planned, and answers those that wait for it.
    fn conclude(
        &mut self,
        put: Vec<(Seq, Answer<Seq>)>,
        imported: Vec<(Imported, Answer<Imported>)>,
        removed: u64,
        is_dear: bool,
    ) {
        // None if it failed while something was read.
        if let Some(open) = self.contents.as_mut() {
            let changes = open.take_changes();
            let synced = is_dear || !put.is_empty() || !imported.is_empty();
            let planned = changes.clone();
            let done = guarded(|| open.commit(changes, synced)).unwrap_or(Err(StoreError::Damaged));
            open.publish();
            let is_done = done.is_ok();
            self.judge(Some(done));
            if is_done {
                self.shared.put.fetch_add(put.len() as u64, Ordering::Relaxed);
                self.shared.removed.fetch_add(removed, Ordering::Relaxed);
                put.into_iter().for_each(|(seq, answer)| reply(answer, Ok(seq)));
                imported.into_iter().for_each(|(seqs, answer)| reply(answer, Ok(seqs)));
                return;
            }
            self.overflow.hold(planned);
            self.count_held();
        }
        for (seq, answer) in put {
            let is_held = matches!(self.overflow.get(seq), Some(Some(_)));
            reply(answer, Err(if is_held { PutError::Held(seq) } else { PutError::Full }));
        }
        imported.into_iter().for_each(|(_, answer)| reply(answer, Err(PutError::Broken)));
    }

    /// Does a request while the store is not open.
    fn serve_without(&mut self, request: Request) {
        match request {
            Request::Put(filed, answer) => {
                let (seq, class) = (Seq(self.next), filed.row.class);
                if let Some(next) = seq.0.checked_add(1)
                    && self.overflow.put(seq, filed)
                {
                    self.next = next;
                    self.count_held();
                    reply(answer, Err(PutError::Held(seq)));
                } else {
                    self.shared.dropped(class);
                    reply(answer, Err(PutError::Full));
                }
            }
            Request::Settle(seq, filed) => {
                self.overflow.put(seq, filed);
            }
            Request::Remove(seq) => self.overflow.remove(seq, seq.0 >= self.unseen),
            Request::Expire(seq, class) => {
                if !matches!(self.overflow.get(seq), Some(None)) {
                    self.shared.dropped(class);
                }
                self.overflow.remove(seq, seq.0 >= self.unseen);
            }
            Request::Get(seq, answer) => {
                let held = self.overflow.get(seq);
                reply(
                    answer,
                    held.map_or(Err(PutError::Broken), |record| {
                        Ok(record.and_then(|record| Entry::from_record(record).ok()))
                    }),
                );
            }
            Request::Find(_, answer) => reply(answer, Err(PutError::Broken)),
            Request::Page(.., answer) => reply(answer, Err(PutError::Broken)),
            Request::Import(_, answer) => reply(answer, Err(PutError::Broken)),
            Request::TrimSent(_) | Request::Retry => {}
        }
        self.count_held();
    }

    fn count_held(&self) {
        self.shared.held.store(self.overflow.records() as u64, Ordering::Relaxed);
    }

    /// Reads a record. One that is damaged is removed; one that makes the store fail a
    /// second time is not touched again.
    fn read(&mut self, seq: Seq) -> Option<Result<Result<Option<Entry>, PutError>, StoreError>> {
        if self.suspects.get(&seq).is_some_and(|times| *times > 1) {
            return Some(Ok(Err(PutError::Entry(EntryError::Damaged))));
        }
        let record = self.with_open(|open| open.get(seq))?;
        Some(match record {
            Ok(None) => Ok(Ok(None)),
            Ok(Some(record)) => Ok(match Entry::from_record(&record) {
                Ok(entry) => Ok(Some(entry)),
                Err(damage) => {
                    self.shared.damaged.fetch_add(1, Ordering::Relaxed);
                    if let Some(open) = self.contents.as_mut() {
                        open.remove(seq);
                    }
                    Err(damage.into())
                }
            }),
            Err(error) => {
                if self.suspects.len() < SUSPECTS_MAX {
                    let times = self.suspects.entry(seq).or_default();
                    *times += 1;
                    self.shared.damaged.fetch_add(u64::from(*times == 2), Ordering::Relaxed);
                }
                Err(error)
            }
        })
    }

    /// Answers with what was read, and gives the store up if that failed.
    fn answer<T>(&mut self, answer: Answer<T>, read: Option<Result<Result<T, PutError>, StoreError>>) {
        match read {
            Some(Ok(result)) => reply(answer, result),
            Some(Err(error)) => {
                reply(answer, Err(PutError::Broken));
                // What was planned before goes with it, but not out of the world.
                if let Some(open) = self.contents.as_mut() {
                    let planned = open.take_changes();
                    self.overflow.hold(planned);
                    self.count_held();
                }
                self.judge::<()>(Some(Err(error)));
            }
            None => reply(answer, Err(PutError::Broken)),
        }
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
