//! The four transaction machines of RFC 3261 §17 with the corrections of RFC 6026.
//!
//! ```text
//! INVITE client     Trying -> Proceeding -> Completed (3xx-6xx, ACK sent) -> gone
//!                                        -> Accepted  (2xx, all passed up) -> gone
//! other client      Trying -> Proceeding -> Completed -> gone
//! INVITE server     Proceeding -> Completed (3xx-6xx) -> Confirmed (ACK) -> gone
//!                              -> Accepted  (2xx)     -> gone
//! other server      Trying -> Proceeding -> Completed -> gone
//! ```
//!
//! What the letters of the RFC became: [`Timer::Retransmit`] is A, E and G; [`Timer::Expire`] is
//! B, F and H (the peer is silent) and D, I, J, K, L, M (nothing more will come). Each
//! transaction has at most one of each.
//!
//! Deliberately absent: the ACK for a 2xx and the retransmission of a 2xx, which belong to the
//! user agent (RFC 3261 §13).

mod client;
mod server;

pub use server::Arrival;

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::hop::Hop;
use crate::message::{Message, Writer};
use crate::method::Method;
use crate::timer_queue::TimerQueue;

/// RFC 3261 §8.1.1.7.
pub(crate) const BRANCH_COOKIE: &[u8] = b"z9hG4bK";

/// The base timers of RFC 3261 §17.1.1.1, table 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Estimated round trip; 500 ms.
    pub t1: Duration,
    /// Longest interval between retransmissions; 4 s.
    pub t2: Duration,
    /// How long a message stays in the network; 5 s.
    pub t4: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

impl Timing {
    /// 64 times T1: when a silent peer is given up.
    #[must_use]
    pub fn give_up(&self) -> Duration {
        self.t1 * 64
    }
}

/// One transaction. Never reused while anybody could still hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId {
    index: u32,
    generation: u32,
}

/// The timers of a transaction; see the module's description for the RFC's letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Send again: A, E, G.
    Retransmit,
    /// End: B, F, H, and D, I, J, K, L, M.
    Expire,
}

/// What the layer wants done.
#[derive(Clone, Debug)]
pub enum TransactionOutput<O> {
    /// Bytes to send.
    Send {
        /// Where.
        hop: Hop,
        /// What.
        bytes: Arc<[u8]>,
    },
    /// The peer stayed silent: B or F for a client, H (no ACK) for a server. The transaction is
    /// gone.
    TimedOut(O),
    /// A transaction that had accepted (2xx) is gone: its Accepted time is over.
    AcceptedOver(O),
}

/// The table of transactions is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionsFull;

impl std::fmt::Display for TransactionsFull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("too many transactions")
    }
}

impl std::error::Error for TransactionsFull {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    InviteClient,
    Client,
    InviteServer,
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Trying,
    Proceeding,
    Completed,
    Accepted,
    Confirmed,
}

#[derive(Debug)]
enum Key {
    Client(u64, Method),
    Server { key: Box<[u8]>, merged: u64 },
}

#[derive(Debug)]
struct Transaction<O> {
    kind: Kind,
    state: State,
    hop: Hop,
    owner: O,
    key: Key,
    /// Client: the request, once completed the ACK. Server: the last response.
    bytes: Option<Arc<[u8]>>,
    interval: Duration,
    retransmit_at: Option<Instant>,
    expire_at: Option<Instant>,
}

#[derive(Debug)]
struct Slot<O> {
    generation: u32,
    transaction: Option<Transaction<O>>,
}

/// Keyed hashing, so that nobody outside can choose colliding branches.
#[derive(Clone, Debug)]
pub(crate) struct Seeded(pub(crate) u64);

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

/// All transactions of one user agent. `O` tells the user agent whose a transaction is.
#[derive(Debug)]
pub struct TransactionLayer<O> {
    timing: Timing,
    count_max: usize,
    slots: Vec<Slot<O>>,
    free: Vec<u32>,
    clients: HashMap<(u64, Method), TransactionId, Seeded>,
    servers: HashMap<Box<[u8]>, TransactionId, Seeded>,
    /// From tag, Call-ID and CSeq of requests being served, for RFC 3261 §8.2.2.2.
    merged: HashMap<u64, TransactionId, Seeded>,
    timers: TimerQueue<(TransactionId, Timer)>,
    outputs: VecDeque<TransactionOutput<O>>,
    writer: Writer,
    scratch: Vec<u8>,
    seed: Seeded,
}

impl<O: Copy> TransactionLayer<O> {
    /// A layer for at most `count_max` transactions at a time; `seed` keys the hash tables.
    #[must_use]
    pub fn new(timing: Timing, count_max: usize, seed: u64) -> TransactionLayer<O> {
        let seed = Seeded(seed);
        TransactionLayer {
            timing,
            count_max,
            slots: Vec::new(),
            free: Vec::new(),
            clients: HashMap::with_hasher(seed.clone()),
            servers: HashMap::with_hasher(seed.clone()),
            merged: HashMap::with_hasher(seed.clone()),
            timers: TimerQueue::new(),
            outputs: VecDeque::new(),
            writer: Writer::new(),
            scratch: Vec::new(),
            seed,
        }
    }

    /// Transactions alive.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// True when nothing is alive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Timers running.
    #[must_use]
    pub fn timers(&self) -> usize {
        self.timers.len()
    }

    /// The next output; drain to `None` after every other call.
    pub fn poll(&mut self) -> Option<TransactionOutput<O>> {
        self.outputs.pop_front()
    }

    /// When [`TransactionLayer::handle_timeout`] is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Runs every timer that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((id, timer)) = self.timers.pop_due(now) {
            match timer {
                Timer::Retransmit => self.retransmit(now, id),
                Timer::Expire => self.expire(id),
            }
        }
    }

    /// The way to the peer of a transaction is gone: every client waiting on it times out at
    /// once (RFC 3261 §8.1.3.1).
    pub fn transport_failed(&mut self, hop: &Hop) {
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index) else { continue };
            let id = TransactionId { index: index as u32, generation: slot.generation };
            let waiting = slot.transaction.as_ref().is_some_and(|t| {
                t.hop.socket == hop.socket
                    && t.hop.transport == hop.transport
                    && t.hop.remote == hop.remote
                    && match t.kind {
                        Kind::InviteClient | Kind::Client => {
                            t.state == State::Trying || t.state == State::Proceeding
                        }
                        Kind::InviteServer | Kind::Server => false,
                    }
            });
            if waiting {
                self.expire(id);
            }
        }
    }

    fn get(&mut self, id: TransactionId) -> Option<&mut Transaction<O>> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        slot.transaction.as_mut()
    }

    fn insert(&mut self, transaction: Transaction<O>) -> Result<TransactionId, TransactionsFull> {
        if self.len() >= self.count_max {
            return Err(TransactionsFull);
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push(Slot { generation: 0, transaction: None });
                (self.slots.len() - 1) as u32
            }
        };
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return Err(TransactionsFull);
        };
        slot.generation = slot.generation.wrapping_add(1);
        let id = TransactionId { index, generation: slot.generation };
        match &transaction.key {
            Key::Client(branch, method) => {
                self.clients.insert((*branch, *method), id);
            }
            Key::Server { key, merged } => {
                self.servers.insert(key.clone(), id);
                self.merged.entry(*merged).or_insert(id);
            }
        }
        slot.transaction = Some(transaction);
        Ok(id)
    }

    fn remove(&mut self, id: TransactionId) -> Option<Transaction<O>> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let mut transaction = slot.transaction.take()?;
        self.free.push(id.index);
        match &transaction.key {
            Key::Client(branch, method) => {
                self.clients.remove(&(*branch, *method));
            }
            Key::Server { key, merged } => {
                self.servers.remove(key);
                if self.merged.get(merged) == Some(&id) {
                    self.merged.remove(merged);
                }
            }
        }
        self.timers.set(&mut transaction.retransmit_at, (id, Timer::Retransmit), None);
        self.timers.set(&mut transaction.expire_at, (id, Timer::Expire), None);
        Some(transaction)
    }

    fn set_timer(&mut self, id: TransactionId, timer: Timer, at: Option<Instant>) {
        let Some(slot) = self.slots.get_mut(id.index as usize) else { return };
        let Some(transaction) = slot.transaction.as_mut() else { return };
        let place = match timer {
            Timer::Retransmit => &mut transaction.retransmit_at,
            Timer::Expire => &mut transaction.expire_at,
        };
        self.timers.set(place, (id, timer), at);
    }

    fn send(&mut self, hop: Hop, bytes: Arc<[u8]>) {
        self.outputs.push_back(TransactionOutput::Send { hop, bytes });
    }

    fn retransmit(&mut self, now: Instant, id: TransactionId) {
        let t2 = self.timing.t2;
        let Some(t) = self.get(id) else { return };
        t.retransmit_at = None;
        let again = match (t.kind, t.state) {
            // Timer A doubles without a ceiling; B ends it.
            (Kind::InviteClient, State::Trying) => {
                t.interval *= 2;
                true
            }
            (Kind::Client, State::Trying) | (Kind::InviteServer, State::Completed) => {
                t.interval = (t.interval * 2).min(t2);
                true
            }
            (Kind::Client, State::Proceeding) => {
                t.interval = t2;
                true
            }
            (Kind::InviteClient | Kind::Client | Kind::InviteServer | Kind::Server, _) => false,
        };
        if !again {
            return;
        }
        let next = now + t.interval;
        let hop = t.hop;
        if let Some(bytes) = t.bytes.clone() {
            self.send(hop, bytes);
        }
        self.set_timer(id, Timer::Retransmit, Some(next));
    }

    fn expire(&mut self, id: TransactionId) {
        let Some(t) = self.remove(id) else { return };
        match (t.kind, t.state) {
            (Kind::InviteClient | Kind::Client, State::Trying | State::Proceeding)
            | (Kind::InviteServer, State::Completed) => {
                self.outputs.push_back(TransactionOutput::TimedOut(t.owner));
            }
            (Kind::InviteClient | Kind::InviteServer, State::Accepted) => {
                self.outputs.push_back(TransactionOutput::AcceptedOver(t.owner));
            }
            (Kind::InviteClient | Kind::Client | Kind::InviteServer | Kind::Server, _) => {}
        }
    }

    /// Forgets a transaction without a word, as after an abandoned CANCEL (RFC 3261 §9.1).
    pub fn forget(&mut self, id: TransactionId) {
        self.remove(id);
    }

    fn merged_key(&self, request: &Message) -> u64 {
        let mut hasher = self.seed.build_hasher();
        hasher.write(request.from_tag());
        hasher.write_u8(0xff);
        hasher.write(request.call_id());
        hasher.write_u8(0xff);
        hasher.write_u32(request.cseq());
        hasher.write(request.method_text());
        hasher.finish()
    }
}
