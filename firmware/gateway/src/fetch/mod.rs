//! The one HTTP client for everything that flows can set off.
//!
//! Requests run on a few threads that block, since a thread that waits costs little
//! and every wait in it has an end. The number of threads and of waiting requests is
//! bounded; beyond, a request fails at once.
//!
//! - `guard.rs` says which addresses may be talked to, `resolve.rs` asks it about each
//!   address that is connected to.
//! - `connect.rs` holds the settings of the client, `http.rs` one request with its
//!   redirects.
//! - `breaker.rs` knows which servers are away, `ladder.rs` what is tried instead,
//!   `copies.rs` the documents of an earlier day; `documents.rs` does the climbing.

mod breaker;
mod connect;
pub(crate) mod copies;
pub(crate) mod documents;
mod guard;
mod http;
pub(crate) mod ladder;
mod resolve;
#[cfg(test)]
pub(crate) mod test_server;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use tipring_model::fetch::{FetchError, HttpRequest, HttpResponse};
use tokio::sync::{oneshot, watch};
use ureq::Agent;

use breaker::{Behaviour, Breakers};
pub(crate) use breaker::{Change, origin};
pub(crate) use guard::AllowList;
pub(crate) use http::{Answer, DeliveryFields, Keeping};
use resolve::{GuardedResolver, Lookup};

/// How long a thread without work is kept.
const IDLE: Duration = Duration::from_secs(30);
/// Stack of a worker, in bytes: TLS and decompression need some.
const WORKER_STACK_BYTES: usize = 512 * 1024;
/// A server that was given less time than this is not away because it did not use it.
const FAIR_WAIT: Duration = Duration::from_secs(2);
/// The end of a wait that is too long for the clock to say.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Settings of a [`Fetcher`].
#[derive(Clone, Debug)]
pub(crate) struct FetchSettings {
    /// What flows may talk to beyond the public internet.
    pub allow: AllowList,
    /// What is the box's own; see [`AllowList::set_own`].
    pub own: Vec<SocketAddr>,
    /// Most requests at a time, at least 1.
    pub threads_max: usize,
    /// Most requests to one server at a time: one that hangs leaves room for the others.
    pub per_server_max: usize,
    /// Most requests that wait for a thread.
    pub queue_max: usize,
    /// Longest wait for a connection, with its TLS.
    pub connect_max: Duration,
    /// When the internet is to be taken for broken.
    pub outage: Outage,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            allow: AllowList::default(),
            own: Vec::new(),
            threads_max: 32,
            per_server_max: 12,
            queue_max: 256,
            connect_max: Duration::from_secs(10),
            outage: Outage::default(),
        }
    }
}

/// An outage of the internet that is only pretended, so that the owner can see what his
/// callers would get. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outage(Arc<Mutex<Option<Instant>>>);

impl Outage {
    /// From now until then nothing is reached; `None` ends it.
    pub(crate) fn set(&self, until: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// How long it still goes on.
    #[must_use]
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        let until = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }
}

/// The client. Clones share threads, connections and limits. When the last is gone,
/// waiting requests are dropped and running ones end by their timeouts.
#[derive(Clone)]
pub(crate) struct Fetcher {
    owner: Arc<Owner>,
}

/// Closes the queue when the last [`Fetcher`] goes; the threads hold only what is
/// inside.
struct Owner(Arc<Shared>);

struct Shared {
    agent: Agent,
    resolver: GuardedResolver,
    allow: Arc<RwLock<AllowList>>,
    threads_max: usize,
    queue_max: usize,
    outage: Outage,
    breakers: Mutex<Breakers>,
    /// What has changed about a server last, and how many changes there were.
    changes: watch::Sender<(u64, Option<(String, Change)>)>,
    state: Mutex<State>,
    /// There is work, or the queue is closed.
    ready: Condvar,
    /// A request waits that perhaps expires before the others, or the queue is closed.
    expiry: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    /// Workers that exist.
    threads: usize,
    /// Workers that wait for work.
    idle: usize,
    /// Requests that run.
    active: usize,
    /// How many of them may run to one server.
    per_server_max: usize,
    /// When those that run began, by server.
    running: HashMap<String, Vec<Instant>>,
    /// A thread answers requests that expire in the queue.
    watched: bool,
    closed: bool,
}

struct Job {
    request: HttpRequest,
    reply: Reply,
    since: Instant,
}

enum Reply {
    Plain(oneshot::Sender<Result<HttpResponse, FetchError>>),
    Kept(oneshot::Sender<Result<Answer, FetchError>>),
}

impl Fetcher {
    /// A client that resolves names as the system does. Reads the system's
    /// certificates; opens nothing and starts no thread yet.
    #[must_use]
    pub(crate) fn new(settings: FetchSettings) -> Self {
        Self::with_lookup(settings, resolve::system_lookup())
    }

    /// A client that resolves names by `lookup`.
    pub(crate) fn with_lookup(settings: FetchSettings, lookup: Arc<Lookup>) -> Self {
        let mut allow = settings.allow;
        allow.set_own(settings.own);
        let allow = Arc::new(RwLock::new(allow));
        let resolver = GuardedResolver::new(Arc::clone(&allow), lookup);
        let shared = Shared {
            agent: connect::agent(resolver.clone(), settings.connect_max),
            resolver,
            allow,
            outage: settings.outage,
            breakers: Mutex::default(),
            changes: watch::channel((0, None)).0,
            threads_max: settings.threads_max.max(1),
            queue_max: settings.queue_max,
            state: Mutex::new(State { per_server_max: settings.per_server_max.max(1), ..State::default() }),
            ready: Condvar::new(),
            expiry: Condvar::new(),
        };
        Self { owner: Arc::new(Owner(Arc::new(shared))) }
    }

    /// Sends `request` as soon as a thread is free, and answers through the receiver.
    /// The request's timeout includes the wait for a thread. It is sent all the same if
    /// the receiver is dropped: that is how a notice is sent.
    ///
    /// The receiver fails only if the client is dropped meanwhile. [`FetchError`]
    /// comes as the answer; `Overload` at once.
    pub(crate) fn fetch(&self, request: HttpRequest) -> oneshot::Receiver<Result<HttpResponse, FetchError>> {
        let (reply, answer) = oneshot::channel();
        self.submit(request, Reply::Plain(reply));
        answer
    }

    /// As [`fetch`](Self::fetch), with what the answer says about keeping it. What still waits
    /// for a thread when the receiver is dropped is not sent.
    pub(crate) fn fetch_kept(&self, request: HttpRequest) -> oneshot::Receiver<Result<Answer, FetchError>> {
        let (reply, answer) = oneshot::channel();
        self.submit(request, Reply::Kept(reply));
        answer
    }

    /// The addresses of a server that flows may talk to by other means than HTTP. With
    /// `in_office` only those that are not of the public internet.
    ///
    /// # Errors
    /// `NameNotFound`, `AddressRefused`, `Overload`.
    pub(crate) async fn addresses(
        &self,
        host: &str,
        port: u16,
        in_office: bool,
    ) -> Result<Vec<SocketAddr>, FetchError> {
        const WAIT: Duration = Duration::from_secs(5);
        let (resolver, host) = (self.owner.0.resolver.clone(), host.to_owned());
        let (reply, answer) = oneshot::channel();
        std::thread::Builder::new()
            .name("stream-lookup".to_owned())
            // Whoever asked may have given up.
            .spawn(move || drop(reply.send(resolver.addresses(&host, port, WAIT, in_office))))
            .map_err(|_| FetchError::Overload)?;
        answer.await.unwrap_or(Err(FetchError::Overload))
    }

    /// True while the server of `url` counts as away: whoever has a caller waiting takes
    /// something else.
    #[must_use]
    pub(crate) fn is_away(&self, url: &str) -> bool {
        self.owner.0.breakers().is_away(origin(url)) || self.owner.0.state().is_clogged(origin(url))
    }

    /// Servers that count as away, with how long they have.
    #[must_use]
    pub(crate) fn away(&self) -> Vec<(String, Duration)> {
        let breakers = self.owner.0.breakers();
        breakers.away(Instant::now()).map(|(origin, since)| (origin.to_owned(), since)).collect()
    }

    /// Tells of each server that goes away or comes back.
    #[must_use]
    pub(crate) fn changes(&self) -> watch::Receiver<(u64, Option<(String, Change)>)> {
        self.owner.0.changes.subscribe()
    }

    /// A server whose probe is due, or when the next one will be.
    pub(crate) fn probe(&self) -> Result<String, Option<Instant>> {
        let mut breakers = self.owner.0.breakers();
        breakers.probe(Instant::now(), random()).ok_or_else(|| breakers.next_probe())
    }

    /// Requests that run.
    #[must_use]
    pub(crate) fn active(&self) -> usize {
        self.owner.0.state().active
    }

    /// Requests that wait for a thread.
    #[must_use]
    pub(crate) fn queued(&self) -> usize {
        self.owner.0.state().queue.len()
    }

    /// Replaces the owner's list. What is the box's own stays as it was set.
    #[cfg(test)]
    pub(crate) fn set_allow(&self, mut allow: AllowList) {
        let mut current = self.owner.0.allow.write().unwrap_or_else(PoisonError::into_inner);
        allow.set_own(current.own().to_vec());
        *current = allow;
    }

    /// Sets what is the box's own; see [`AllowList::set_own`].
    pub(crate) fn set_own(&self, own: Vec<SocketAddr>) {
        self.owner.0.allow.write().unwrap_or_else(PoisonError::into_inner).set_own(own);
    }

    fn submit(&self, request: HttpRequest, reply: Reply) {
        let shared = &self.owner.0;
        let job = Job { request, reply, since: Instant::now() };
        let mut state = shared.state();
        let room = shared.threads_max.saturating_add(shared.queue_max);
        if state.active + state.queue.len() >= room {
            drop(state);
            job.reply.send(Err(FetchError::Overload));
            return;
        }
        let has_room = state.has_room(origin(&job.request.url));
        state.queue.push_back(job);
        if !has_room {
            // It has its turn when another of the same server is over, or expires.
            if state.watched {
                shared.expiry.notify_one();
            } else {
                state.watched = Shared::start_watch(shared);
            }
        } else if state.can_run() <= state.idle {
            shared.ready.notify_one();
        } else if state.threads < shared.threads_max && Shared::start_worker(shared) {
            state.threads += 1;
        } else if state.threads == 0 {
            // Not even one thread could be started.
            let refused = state.queue.pop_back();
            drop(state);
            if let Some(job) = refused {
                job.reply.send(Err(FetchError::Overload));
            }
        } else if state.watched {
            shared.expiry.notify_one();
        } else {
            state.watched = Shared::start_watch(shared);
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let dropped = {
            let mut state = self.0.state();
            state.closed = true;
            std::mem::take(&mut state.queue)
        };
        drop(dropped);
        self.0.ready.notify_all();
        self.0.expiry.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Counters stay right: nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_worker(shared: &Arc<Self>) -> bool {
        let shared = Arc::clone(shared);
        thread::Builder::new()
            .name("fetch".to_owned())
            .stack_size(WORKER_STACK_BYTES)
            .spawn(move || shared.work())
            .is_ok()
    }

    fn start_watch(shared: &Arc<Self>) -> bool {
        let shared = Arc::clone(shared);
        thread::Builder::new().name("fetch-expiry".to_owned()).spawn(move || shared.watch()).is_ok()
    }

    /// A worker's life.
    fn work(&self) {
        while let Some(job) = self.next_job() {
            let began = Instant::now();
            let result = self.attempt(&job);
            self.note(&job.request.url, behaviour(&result, began.elapsed()));
            // Whoever hears the answer finds the request no longer running.
            self.state().over(origin(&job.request.url));
            job.reply.send(result);
        }
    }

    fn breakers(&self) -> MutexGuard<'_, Breakers> {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns how a server behaved.
    fn note(&self, url: &str, behaviour: Behaviour) {
        let origin = origin(url);
        let change = self.breakers().note(Instant::now(), origin, behaviour, random());
        if let Some(change) = change {
            self.changes.send_modify(|(count, last)| {
                *count += 1;
                *last = Some((origin.to_owned(), change));
            });
        }
    }

    /// Sends a request in what is left of its time.
    fn attempt(&self, job: &Job) -> Result<Answer, FetchError> {
        if self.outage.left(Instant::now()).is_some() {
            return Err(FetchError::Unreachable);
        }
        match job.request.timeout.checked_sub(job.since.elapsed()) {
            Some(left) if !left.is_zero() => {
                // A fault in the client costs one request, not a thread.
                catch_unwind(AssertUnwindSafe(|| http::run(&self.agent, &job.request, left)))
                    .unwrap_or(Err(FetchError::Protocol))
            }
            Some(_) | None => Err(FetchError::Timeout),
        }
    }

    /// Waits for work; none when the thread is no longer needed.
    fn next_job(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if let Some(job) = state.take() {
                // There may be room for one that had none when it came.
                if state.idle > 0 && state.can_run() > 0 {
                    self.ready.notify_one();
                }
                return Some(job);
            }
            if state.closed {
                state.threads -= 1;
                return None;
            }
            state.idle += 1;
            let (woken, wait) = self.ready.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if wait.timed_out() && state.can_run() == 0 {
                state.threads -= 1;
                return None;
            }
        }
    }

    /// Answers requests that expire while all threads are busy; ends when none waits.
    fn watch(&self) {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            let (expired, waiting): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(&mut state.queue).into_iter().partition(|job: &Job| job.expires() <= now);
            state.queue = waiting;
            let Some(next) = state.queue.iter().map(Job::expires).min() else {
                state.watched = false;
                drop(state);
                expire(expired);
                return;
            };
            if expired.is_empty() {
                (state, _) = self
                    .expiry
                    .wait_timeout(state, next.saturating_duration_since(now))
                    .unwrap_or_else(PoisonError::into_inner);
            } else {
                drop(state);
                expire(expired);
                state = self.state();
            }
        }
    }
}

impl State {
    /// Whether one more request may run to a server.
    fn has_room(&self, origin: &str) -> bool {
        self.running.get(origin).is_none_or(|running| running.len() < self.per_server_max)
    }

    /// Requests that wait, and whose servers have room for one more.
    fn can_run(&self) -> usize {
        self.queue.iter().filter(|job| self.has_room(origin(&job.request.url))).count()
    }

    /// Whether all that may run to a server have done so for longer than is usual.
    fn is_clogged(&self, origin: &str) -> bool {
        let running = self.running.get(origin);
        running.is_some_and(|all| {
            all.len() >= self.per_server_max && all.iter().all(|began| began.elapsed() >= FAIR_WAIT)
        })
    }

    /// The next request that may run. Those that nobody waits for any more are dropped.
    fn take(&mut self) -> Option<Job> {
        self.queue.retain(|job| !job.reply.is_abandoned());
        let at = self.queue.iter().position(|job| self.has_room(origin(&job.request.url)))?;
        let job = self.queue.remove(at)?;
        self.active += 1;
        self.running.entry(origin(&job.request.url).to_owned()).or_default().push(Instant::now());
        Some(job)
    }

    /// A request to a server is over: which of them does not matter.
    fn over(&mut self, origin: &str) {
        self.active -= 1;
        if let Some(running) = self.running.get_mut(origin) {
            // The oldest stays, so that a server is not taken for clogged too early.
            running.pop();
            if running.is_empty() {
                self.running.remove(origin);
            }
        }
    }
}

impl Job {
    fn expires(&self) -> Instant {
        self.since + self.request.timeout.min(FAR)
    }
}

impl Reply {
    /// True if the answer is wanted and nobody waits for it. A notice is sent all the same.
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Kept(reply) => reply.is_closed(),
        }
    }

    fn send(self, result: Result<Answer, FetchError>) {
        // Who dropped the receiver does not want the answer.
        match self {
            Self::Plain(reply) => {
                let _ = reply.send(result.map(|answer| answer.response));
            }
            Self::Kept(reply) => {
                let _ = reply.send(result);
            }
        }
    }
}

/// What an attempt says about its server.
fn behaviour(result: &Result<Answer, FetchError>, waited: Duration) -> Behaviour {
    match result {
        Ok(answer) => match answer.response.status {
            // A script that breaks (500) says nothing about the others of its server.
            408 | 425 | 429 | 502..=504 => Behaviour::Away,
            _ => Behaviour::There,
        },
        Err(FetchError::Unreachable | FetchError::Cut | FetchError::NameNotFound | FetchError::Tls) => {
            Behaviour::Away
        }
        Err(FetchError::Timeout) if waited >= FAIR_WAIT => Behaviour::Away,
        Err(FetchError::Protocol | FetchError::TooLarge | FetchError::TooManyRedirects) => Behaviour::There,
        Err(FetchError::Timeout | FetchError::BadUrl | FetchError::AddressRefused | FetchError::Overload) => {
            Behaviour::Unknown
        }
    }
}

/// Spreads what a fleet would otherwise do at the same moment.
pub(crate) fn random() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness the boxes of a fleet only come back together.
    let _ = getrandom::fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

fn expire(jobs: VecDeque<Job>) {
    for job in jobs {
        job.reply.send(Err(FetchError::Timeout));
    }
}

#[cfg(test)]
mod tests;
