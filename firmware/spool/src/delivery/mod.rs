//! Who is sent when: lanes, order, patience.
//!
//! A lane is one server and one subject. In a lane one webhook is on its way at a time,
//! so what is said about a call arrives in the order it was said; a server that refuses
//! one call's webhooks holds up that call's alone.
//!
//! A server that gives no answer at all is away: all its lanes wait, they take turns in
//! asking after it every minute, and none loses patience meanwhile. So a box whose
//! Internet connection was away for a day is a minute late, not six hours. Where it is not
//! the server but one webhook that it chokes on, the next lane finds that out at once, and
//! the bad one waits on its own account.
//!
//! What has gathered meanwhile is told at a measured pace, calls that still run first, so
//! that a fleet of boxes that comes back does not bring its server down again. `server.rs`
//! knows one server, `presence.rs` whether the box itself is online.

mod presence;
mod server;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::class::Class;
use crate::entry::Why;
use crate::store::Seq;
use presence::Presence;
pub use server::{Alarm, Mood};
use server::{PROBES, Server};

/// Webhooks on their way to all servers, beside urgent ones.
const NORMAL_MAX: usize = 16;
/// Urgent webhooks on their way to all servers.
const URGENT_MAX: usize = 4;
/// Webhooks on their way together: no more than have a thread, since their time runs while
/// they wait for one.
pub const ON_THEIR_WAY_MAX: usize = NORMAL_MAX + URGENT_MAX;
/// How long to wait after each answer that was no success; the last goes on for ever.
const WAITS: [Duration; 10] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(3_600),
    Duration::from_secs(2 * 3_600),
    Duration::from_secs(4 * 3_600),
    Duration::from_secs(6 * 3_600),
];
/// How often a webhook that the server calls wrong is sent again.
const REFUSALS_MAX: u32 = 2;
/// The longest wait that a server may ask for.
const TOLD_MAX: Duration = Duration::from_secs(3_600);
/// A state on the way that is older is not worth telling once the end of its call waits.
const PROGRESS_STALE_S: i32 = 10 * 60;
/// A lane that got a webhook so lately is that of a call that runs.
const LIVE: Duration = Duration::from_secs(2 * 60);
/// What was found at the start is given so long at least: the clock by which it aged may
/// have run while the box was offline.
const FOUND_GRACE: Duration = Duration::from_secs(6 * 3_600);
/// Servers in trouble that are remembered while nothing waits for them.
const TROUBLED_MAX: usize = 256;

/// One server and one subject.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Lane {
    /// Scheme, host and port.
    pub server: Rc<str>,
    /// What it is about, for example a call.
    pub subject: Rc<str>,
}

/// How fast a server is told what it missed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Requests a second, at least 1.
    pub drain_per_s: u32,
    /// The first comes at a random moment in this time.
    pub drain_spread: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { drain_per_s: 5, drain_spread: Duration::from_secs(120) }
    }
}

/// A webhook that is to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item {
    /// Its number.
    pub seq: Seq,
    /// What it tells.
    pub class: Class,
    /// How long it has waited already, where it was found at the start.
    pub found: Option<Duration>,
}

/// What became of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The server answered.
    Answered(Reply),
    /// There was no answer.
    Silence,
    /// It cannot be sent as it is: its address is wrong or forbidden.
    Unsendable,
    /// It could not be sent now, for reasons of our own.
    NotSent,
    /// It is not there any more.
    Gone,
}

/// What a server answered, as far as it decides anything.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// How long it wants to be left alone (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// It wants this webhook never again (`webhook-delivery: abort-message`).
    pub aborts: bool,
}

/// What follows from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It was taken, or is not there any more.
    Taken,
    /// It is tried again, after this time at the earliest. `first` says that it went wrong
    /// for the first time: a webhook that was refused, or a server that is away.
    Again {
        /// How long.
        after: Duration,
        /// Whether this is news.
        first: bool,
    },
    /// It is set apart, and the lane goes on.
    Parked(Why),
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Send this one now.
    Send(Seq),
    /// Remove this one: it is too old, or a later state says more.
    Drop(Seq, Class),
    /// Nothing before this instant.
    At(Instant),
    /// Nothing until something is added or comes back.
    Idle,
}

/// How one webhook stands.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Standing {
    /// How often it was sent.
    pub attempts: u32,
    /// The status of the last answer, if there was one.
    pub status: Option<u16>,
    /// It is on its way.
    pub on_its_way: bool,
    /// When it is tried again, if that is known.
    pub next: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    seq: Seq,
    class: Class,
    /// Since when it waits, in seconds since the delivery began. There may be a hundred
    /// thousand of these.
    born_s: i32,
    /// When it is too old, by the clock that stands still while the box is offline.
    expires_s: Option<u32>,
}

/// Where a lane is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Ready,
    Later(Instant),
    OnItsWay,
}

#[derive(Debug)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Those among them that end what they are about.
    finals: usize,
    place: Place,
    /// Has its turn after lanes with a lower number.
    turn: u64,
    last_added: Instant,
    attempts: u32,
    failures: u32,
    refusals: u32,
    status: Option<u16>,
}

/// All lanes.
#[derive(Debug)]
pub struct Delivery {
    epoch: Instant,
    pace: Pace,
    presence: Presence,
    lanes: BTreeMap<Lane, Queue>,
    servers: BTreeMap<Rc<str>, Server>,
    /// Lanes that wait, by when they are over.
    later: BTreeSet<(Instant, Lane)>,
    on_their_way: BTreeMap<Seq, Lane>,
    urgent_on_their_way: usize,
    /// The server that had its turn last.
    last: Option<Rc<str>>,
}

impl Delivery {
    /// Nothing to send yet.
    #[must_use]
    pub fn new(now: Instant, pace: Pace) -> Self {
        Self {
            epoch: now,
            pace,
            presence: Presence::new(now),
            lanes: BTreeMap::new(),
            servers: BTreeMap::new(),
            later: BTreeSet::new(),
            on_their_way: BTreeMap::new(),
            urgent_on_their_way: 0,
            last: None,
        }
    }

    /// A new webhook at the end of its lane.
    pub fn add(&mut self, now: Instant, mut lane: Lane, item: Item) {
        if let Some((known, _)) = self.servers.get_key_value(&lane.server) {
            // One name for all lanes of a server.
            lane.server = Rc::clone(known);
        }
        let Item { seq, class, found } = item;
        let age = found.unwrap_or_default();
        let left = class.age_max().map(|most| {
            let least = if found.is_some() { FOUND_GRACE.min(most) } else { Duration::ZERO };
            most.saturating_sub(age).max(least)
        });
        let waiting = Waiting {
            seq,
            class,
            born_s: self.seconds(now).saturating_sub(i32::try_from(age.as_secs()).unwrap_or(i32::MAX)),
            expires_s: left.map(|left| seconds(self.presence.passed(now) + left)),
        };
        self.server(&lane.server).waiting += 1;
        let is_new = !self.lanes.contains_key(&lane);
        if !is_new {
            self.unready(&lane);
        }
        let queue = self.lanes.entry(lane.clone()).or_insert_with(|| Queue::new(now));
        queue.waiting.push_back(waiting);
        queue.finals += usize::from(class == Class::Final);
        if found.is_none() {
            queue.last_added = now;
        } else if is_new {
            queue.last_added = self.epoch;
        }
        self.settle(lane);
    }

    /// All that was found at the start is added: where it is much, it is a backlog.
    pub fn begin(&mut self, now: Instant, random: u32) {
        for server in self.servers.values_mut() {
            server.drain(now, &self.pace, random);
        }
    }

    /// Takes a webhook out, because somebody said so. One that is on its way stays: what
    /// becomes of it is told.
    pub fn forget(&mut self, lane: &Lane, seq: Seq) {
        if self.on_their_way.contains_key(&seq) {
            return;
        }
        self.unready(lane);
        let Some(queue) = self.lanes.get_mut(lane) else { return };
        if let Some(at) = queue.waiting.iter().position(|one| one.seq == seq) {
            if at == 0 {
                queue.place = Place::Ready;
            }
            queue.took(at);
            self.server(&lane.server).has_less();
        }
        self.settle(lane.clone());
    }

    /// Lets a webhook that waits be tried at once, and those before it in its lane.
    pub fn hurry(&mut self, lane: &Lane) {
        self.later_no_more(lane);
        if let Some(server) = self.servers.get_mut(&lane.server) {
            server.hurry();
        }
    }

    /// How a webhook of a lane stands.
    #[must_use]
    pub fn standing(&self, now: Instant, lane: &Lane, seq: Seq) -> Standing {
        let Some(queue) = self.lanes.get(lane) else { return Standing::default() };
        if queue.waiting.front().is_none_or(|head| head.seq != seq) {
            return Standing::default();
        }
        let opens = self.servers.get(&lane.server).and_then(|server| server.opens(now));
        let next = match queue.place {
            Place::Later(at) => Some(at),
            Place::Ready => opens,
            Place::OnItsWay => None,
        };
        Standing {
            attempts: queue.attempts,
            status: queue.status,
            on_its_way: queue.place == Place::OnItsWay,
            next,
        }
    }

    /// Webhooks that wait for a server or are on their way to it.
    #[must_use]
    pub fn backlog(&self, server: &str) -> usize {
        self.servers.get(server).map_or(0, |server| server.waiting)
    }

    /// Every server that something waits for or that is in trouble, how many webhooks wait
    /// for it, and how it stands.
    pub fn servers(&self) -> impl Iterator<Item = (&str, usize, Mood)> {
        self.servers.iter().map(|(name, server)| (&**name, server.waiting, server.mood()))
    }

    /// Whether the box gets no answer from anybody.
    #[must_use]
    pub const fn is_offline(&self) -> bool {
        self.presence.is_offline()
    }

    /// What to do at `now`. To be asked again after each `Send` and `Drop`.
    pub fn next(&mut self, now: Instant) -> Next {
        while let Some((at, lane)) = self.later.first().cloned()
            && at <= now
        {
            self.later_no_more(&lane);
        }
        if self.urgent_on_their_way < URGENT_MAX
            && let Some(server) = self.servers.values_mut().find(|server| server.has_urgent())
            && let Some((_, lane)) = server.urgent.pop_first()
        {
            return self.head(now, lane);
        }
        if self.on_their_way.len() - self.urgent_on_their_way >= NORMAL_MAX {
            return Next::Idle;
        }
        if let Some(lane) = self.turn(now) {
            return self.head(now, lane);
        }
        let opens = self.servers.values().filter_map(|server| server.opens(now)).min();
        match [opens, self.later.first().map(|(at, _)| *at)].into_iter().flatten().min() {
            Some(at) => Next::At(at),
            None => Next::Idle,
        }
    }

    /// Takes a lane out of those that are ready: of the next server after the last.
    fn turn(&mut self, now: Instant) -> Option<Lane> {
        let open = |(_, server): &(&Rc<str>, &Server)| server.opens(now).is_some_and(|at| at <= now);
        let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.servers.range::<Rc<str>, _>((after, Bound::Unbounded)).find(open);
        let (_, server) = later.or_else(|| self.servers.iter().find(open))?;
        let is_live = |lane: &&Lane| {
            self.lanes.get(lane).is_some_and(|queue| now.saturating_duration_since(queue.last_added) < LIVE)
        };
        let newest = server.newest.last().map(|(_, lane)| lane);
        let live = newest.filter(|_| server.draining.is_some()).filter(is_live);
        let lane = live.or_else(|| server.ready.first().map(|(_, _, lane)| lane))?.clone();
        self.unready(&lane);
        Some(lane)
    }

    /// Sends or drops the first of a lane that has just been taken out.
    fn head(&mut self, now: Instant, lane: Lane) -> Next {
        let (passed_s, now_s) = (seconds(self.presence.passed(now)), self.seconds(now));
        let Some(queue) = self.lanes.get_mut(&lane) else { return Next::At(now) };
        let Some(head) = queue.waiting.front().copied() else { return Next::At(now) };
        let age_s = now_s.saturating_sub(head.born_s);
        let is_stale = head.class == Class::Progress && queue.finals > 0 && age_s > PROGRESS_STALE_S;
        if is_stale || head.expires_s.is_some_and(|expires_s| passed_s >= expires_s) {
            queue.took(0);
            self.server(&lane.server).has_less();
            self.settle(lane);
            return Next::Drop(head.seq, head.class);
        }
        queue.place = Place::OnItsWay;
        queue.attempts += 1;
        if head.class == Class::Emergency {
            self.urgent_on_their_way += 1;
            self.server(&lane.server).sending_urgent += 1;
        } else {
            self.server(&lane.server).sent(now);
            self.last = Some(Rc::clone(&lane.server));
        }
        self.on_their_way.insert(head.seq, lane);
        Next::Send(head.seq)
    }

    /// An attempt has ended. `random` spreads the waits of many boxes by a fifth to
    /// either side. People are to be told of the alarm, if there is one.
    pub fn ended(
        &mut self,
        now: Instant,
        seq: Seq,
        outcome: Outcome,
        random: u32,
    ) -> (Verdict, Option<Alarm>) {
        let Some(lane) = self.on_their_way.remove(&seq) else { return (Verdict::Taken, None) };
        let is_urgent = self
            .lanes
            .get(&lane)
            .and_then(|queue| queue.waiting.front())
            .is_some_and(|head| head.class == Class::Emergency);
        let server = self.server(&lane.server);
        if is_urgent {
            server.sending_urgent = server.sending_urgent.saturating_sub(1);
            self.urgent_on_their_way = self.urgent_on_their_way.saturating_sub(1);
        } else {
            server.sending = server.sending.saturating_sub(1);
        }
        let (verdict, alarm) = match outcome {
            Outcome::NotSent => {
                self.server(&lane.server).hold(now);
                self.put_off(lane, now + PROBES[0]);
                return (Verdict::Again { after: PROBES[0], first: false }, None);
            }
            Outcome::Silence => {
                self.presence.silent(now);
                let server = self.server(&lane.server);
                let was_there = server.silences == 0;
                let turn = u64::from(server.silences) + 1;
                let (wait, alarm) = server.was_silent(now, random);
                if let Some(queue) = self.lanes.get_mut(&lane) {
                    queue.turn = turn;
                }
                if !was_there && !is_urgent {
                    self.ready_again(now, lane);
                    return (Verdict::Again { after: wait, first: false }, alarm);
                }
                // It may be this webhook: the others are not to wait for it.
                (self.answered(&lane, 503, None, random), alarm)
            }
            Outcome::Gone => (Verdict::Taken, None),
            Outcome::Unsendable => match self.answered(&lane, 400, None, random) {
                Verdict::Parked(_) => (Verdict::Parked(Why::Unsendable), None),
                other @ (Verdict::Taken | Verdict::Again { .. }) => (other, None),
            },
            Outcome::Answered(reply) => {
                if self.presence.answered(now) {
                    // The box is back: nobody waits for the end of a long pause.
                    self.servers.values_mut().filter(|server| server.silences > 0).for_each(|server| {
                        server.after = None;
                    });
                }
                self.heard(now, &lane, reply, random)
            }
        };
        match verdict {
            Verdict::Again { after, .. } => self.put_off(lane, now + after),
            Verdict::Taken | Verdict::Parked(_) => self.done(lane),
        }
        (verdict, alarm)
    }

    /// What follows from an answer.
    fn heard(&mut self, now: Instant, lane: &Lane, reply: Reply, random: u32) -> (Verdict, Option<Alarm>) {
        let Reply { status, retry_after, aborts } = reply;
        let pace = self.pace;
        if let Some(queue) = self.lanes.get_mut(lane) {
            queue.status = Some(status);
        }
        if (200..=299).contains(&status) {
            self.level(&lane.server);
            return (Verdict::Taken, self.server(&lane.server).took(now, &pace, random));
        }
        if aborts {
            let alarm = self.server(&lane.server).refused(now, None, false, &pace, random);
            return (Verdict::Parked(Why::Aborted), alarm);
        }
        if status == 410 {
            let (after, alarm) = self.server(&lane.server).pause(now, random);
            return (Verdict::Again { after, first: false }, alarm);
        }
        let told = retry_after.filter(|_| matches!(status, 429 | 503)).map(|wait| wait.min(TOLD_MAX));
        let is_call_wrong = is_call_wrong(status);
        let alarm = self.server(&lane.server).refused(now, told, !is_call_wrong, &pace, random);
        (self.answered(lane, status, told, random), alarm)
    }

    fn answered(&mut self, lane: &Lane, status: u16, told: Option<Duration>, random: u32) -> Verdict {
        self.lanes.get_mut(lane).map_or(Verdict::Taken, |queue| queue.answered(status, told, random))
    }

    /// The head of a lane is over.
    fn done(&mut self, lane: Lane) {
        if let Some(queue) = self.lanes.get_mut(&lane) {
            queue.took(0);
            self.server(&lane.server).has_less();
        }
        self.settle(lane);
    }

    // --- Where a lane is.

    /// A lane that is in no set: gone if it is empty, ready or waiting otherwise.
    fn settle(&mut self, lane: Lane) {
        match self.lanes.get(&lane).map(|queue| (queue.waiting.is_empty(), queue.place)) {
            Some((true, _)) => {
                self.lanes.remove(&lane);
                self.tidy(&lane.server);
            }
            Some((false, Place::Later(at))) => drop(self.later.insert((at, lane))),
            Some((false, Place::Ready)) => self.ready(lane),
            Some((false, Place::OnItsWay)) | None => {}
        }
    }

    /// Forgets a server that nothing leads to.
    fn tidy(&mut self, server: &Rc<str>) {
        let is_idle = self.servers.get(server).is_some_and(Server::is_idle);
        let is_troubled = self.servers.get(server).is_some_and(Server::is_troubled);
        if is_idle && (!is_troubled || self.servers.len() > TROUBLED_MAX) {
            self.servers.remove(server);
        }
    }

    /// The server is there: lanes that asked in vain have lost nothing by it.
    fn level(&mut self, server: &Rc<str>) {
        while let Some((1.., _, lane)) =
            self.servers.get(server).and_then(|server| server.ready.last()).cloned()
        {
            self.unready(&lane);
            if let Some(queue) = self.lanes.get_mut(&lane) {
                queue.turn = 0;
            }
            self.ready(lane);
        }
    }

    /// Into the sets of its server.
    fn ready(&mut self, lane: Lane) {
        let Some(queue) = self.lanes.get_mut(&lane) else { return };
        queue.place = Place::Ready;
        let (Some(head), Some(tail)) = (queue.waiting.front(), queue.waiting.back()) else { return };
        let (turn, head, tail) = (queue.turn, *head, *tail);
        let server = self.server(&lane.server);
        if head.class == Class::Emergency {
            server.urgent.insert((head.seq, lane));
        } else {
            server.newest.insert((tail.seq, lane.clone()));
            server.ready.insert((turn, head.seq, lane));
        }
    }

    /// Out of the set in which it is; its place stays.
    fn unready(&mut self, lane: &Lane) {
        let Some(queue) = self.lanes.get(lane) else { return };
        match queue.place {
            Place::Ready => {
                let (Some(head), Some(tail)) = (queue.waiting.front(), queue.waiting.back()) else { return };
                let (turn, head, tail) = (queue.turn, head.seq, tail.seq);
                let server = self.server(&lane.server);
                server.urgent.remove(&(head, lane.clone()));
                server.newest.remove(&(tail, lane.clone()));
                server.ready.remove(&(turn, head, lane.clone()));
            }
            Place::Later(at) => drop(self.later.remove(&(at, lane.clone()))),
            Place::OnItsWay => {}
        }
    }

    /// A lane that was on its way waits until `at`.
    fn put_off(&mut self, lane: Lane, at: Instant) {
        if let Some(queue) = self.lanes.get_mut(&lane) {
            queue.place = Place::Later(at);
            self.later.insert((at, lane));
        }
    }

    /// A lane that was on its way has its turn again.
    fn ready_again(&mut self, now: Instant, lane: Lane) {
        self.put_off(lane.clone(), now);
        self.later_no_more(&lane);
    }

    /// A lane that waits does so no more.
    fn later_no_more(&mut self, lane: &Lane) {
        let Some(Place::Later(at)) = self.lanes.get(lane).map(|queue| queue.place) else { return };
        self.later.remove(&(at, lane.clone()));
        self.ready(lane.clone());
    }

    fn server(&mut self, server: &Rc<str>) -> &mut Server {
        self.servers.entry(Rc::clone(server)).or_default()
    }

    fn seconds(&self, now: Instant) -> i32 {
        i32::try_from(now.saturating_duration_since(self.epoch).as_secs()).unwrap_or(i32::MAX)
    }
}

impl Queue {
    const fn new(now: Instant) -> Self {
        Self {
            waiting: VecDeque::new(),
            finals: 0,
            place: Place::Ready,
            turn: 0,
            last_added: now,
            attempts: 0,
            failures: 0,
            refusals: 0,
            status: None,
        }
    }

    /// The webhook at this place of the lane is over.
    fn took(&mut self, at: usize) {
        if let Some(one) = self.waiting.remove(at) {
            self.finals -= usize::from(one.class == Class::Final);
        }
        if at == 0 {
            (self.turn, self.attempts, self.failures, self.refusals, self.status) = (0, 0, 0, 0, None);
            if self.place == Place::OnItsWay {
                self.place = Place::Ready;
            }
        }
    }

    fn answered(&mut self, status: u16, told: Option<Duration>, random: u32) -> Verdict {
        if is_call_wrong(status) {
            self.refusals += 1;
            if self.refusals > REFUSALS_MAX {
                return Verdict::Parked(Why::Refused);
            }
        }
        let wait = WAITS[(self.failures as usize).min(WAITS.len() - 1)];
        self.failures += 1;
        let after = told.map_or_else(|| spread(wait, random), |told| told.max(WAITS[0]));
        Verdict::Again { after, first: self.failures == 1 }
    }
}

/// Whether a status says that the webhook is wrong, and not that the server is in trouble.
const fn is_call_wrong(status: u16) -> bool {
    !matches!(status, 300..=399 | 408 | 425 | 429 | 500..)
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// 80 to 120 % of `wait`.
fn spread(wait: Duration, random: u32) -> Duration {
    wait.mul_f64(0.8 + 0.4 * f64::from(random) / f64::from(u32::MAX))
}
