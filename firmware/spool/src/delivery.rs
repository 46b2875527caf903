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

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::store::Seq;

/// Webhooks on their way to one server at a time.
const PER_SERVER_MAX: usize = 4;
/// Webhooks on their way to all servers: no more than have a thread, since their time runs
/// while they wait for one.
pub const ON_THEIR_WAY_MAX: usize = 16;
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
/// How long to wait before a server that gave no answer is asked again; the last goes on
/// for ever.
const PROBES: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(40),
    Duration::from_secs(60),
];
/// How often a webhook that the server calls wrong is sent again.
const REFUSALS_MAX: u32 = 2;

/// One server and one subject.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Lane {
    /// Scheme, host and port.
    pub server: Rc<str>,
    /// What it is about, for example a call.
    pub subject: Rc<str>,
}

/// What became of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The server answered with this status.
    Status(u16),
    /// There was no answer.
    Silence,
    /// It cannot be sent as it is: its address is wrong or forbidden.
    Unsendable,
    /// It could not be sent now, for reasons of our own.
    NotSent,
    /// It is not there any more.
    Gone,
}

/// What follows from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It was taken, and can be removed.
    Taken,
    /// It is tried again, after this time at the earliest. `first` says that it went wrong
    /// for the first time: a webhook that was refused, or a server that is away.
    Again {
        /// How long.
        after: Duration,
        /// Whether this is news.
        first: bool,
    },
    /// The server has called it wrong too often: it is set apart, and the lane goes on.
    Parked,
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Send this one now.
    Send(Seq),
    /// Nothing before this instant.
    At(Instant),
    /// Nothing until something is added or comes back.
    Idle,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Seq>,
    failures: u32,
    refusals: u32,
}

#[derive(Debug, Default)]
struct Server {
    /// Lanes whose head may be sent.
    ready: VecDeque<Lane>,
    sending: usize,
    /// Times in a row that it gave no answer.
    silences: u32,
    /// Not to be asked before.
    after: Option<Instant>,
}

impl Server {
    /// When a lane of it may be sent; none if nothing is ready or enough is on its way.
    fn opens(&self, now: Instant) -> Option<Instant> {
        // One that is away is asked by one at a time.
        let most = if self.silences > 0 { 1 } else { PER_SERVER_MAX };
        (!self.ready.is_empty() && self.sending < most).then(|| self.after.unwrap_or(now).max(now))
    }
}

/// All lanes.
#[derive(Debug, Default)]
pub struct Delivery {
    lanes: BTreeMap<Lane, Queue>,
    servers: BTreeMap<Rc<str>, Server>,
    /// Lanes that wait, by when they are over.
    later: BTreeSet<(Instant, Lane)>,
    on_their_way: BTreeMap<Seq, Lane>,
    /// The server that had its turn last.
    last: Option<Rc<str>>,
}

impl Delivery {
    /// A new webhook at the end of its lane.
    pub fn add(&mut self, lane: Lane, seq: Seq) {
        let queue = self.lanes.entry(lane.clone()).or_default();
        queue.waiting.push_back(seq);
        if queue.waiting.len() == 1 {
            self.server(&lane).ready.push_back(lane);
        }
    }

    fn server(&mut self, lane: &Lane) -> &mut Server {
        self.servers.entry(Rc::clone(&lane.server)).or_default()
    }

    /// What to do at `now`. To be asked again after each `Send`.
    pub fn next(&mut self, now: Instant) -> Next {
        while let Some((at, lane)) = self.later.first().cloned()
            && at <= now
        {
            self.later.pop_first();
            self.server(&lane).ready.push_back(lane);
        }
        if self.on_their_way.len() >= ON_THEIR_WAY_MAX {
            return Next::Idle;
        }
        if let Some(lane) = self.turn(now)
            && let Some(seq) = self.lanes.get(&lane).and_then(|queue| queue.waiting.front().copied())
        {
            self.server(&lane).sending += 1;
            self.last = Some(Rc::clone(&lane.server));
            self.on_their_way.insert(seq, lane);
            return Next::Send(seq);
        }
        let opens = self.servers.values().filter_map(|server| server.opens(now)).min();
        match [opens, self.later.first().map(|(at, _)| *at)].into_iter().flatten().min() {
            Some(at) => Next::At(at),
            None => Next::Idle,
        }
    }

    /// Takes a lane out of those that are ready: of the next server after the last.
    fn turn(&mut self, now: Instant) -> Option<Lane> {
        let open = |(_, server): &(&Rc<str>, &mut Server)| server.opens(now).is_some_and(|at| at <= now);
        let last = self.last.clone();
        let after = last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        if let Some((_, server)) = self.servers.range_mut::<Rc<str>, _>((after, Bound::Unbounded)).find(open)
        {
            return server.ready.pop_front();
        }
        self.servers.iter_mut().find(open)?.1.ready.pop_front()
    }

    /// An attempt has ended. `random` spreads the waits of many boxes by a fifth to
    /// either side.
    pub fn ended(&mut self, now: Instant, seq: Seq, outcome: Outcome, random: u32) -> Verdict {
        let Some(lane) = self.on_their_way.remove(&seq) else {
            return Verdict::Taken;
        };
        let server = self.server(&lane);
        server.sending = server.sending.saturating_sub(1);
        let verdict = match outcome {
            Outcome::NotSent => {
                server.ready.push_front(lane.clone());
                let after = server.after.insert(now + PROBES[0]).saturating_duration_since(now);
                return Verdict::Again { after, first: false };
            }
            Outcome::Silence => {
                let wait = spread(PROBES[(server.silences as usize).min(PROBES.len() - 1)], random);
                let was_there = server.silences == 0;
                server.silences += 1;
                server.after = Some(now + wait);
                if !was_there {
                    server.ready.push_back(lane);
                    return Verdict::Again { after: wait, first: false };
                }
                // It may be this webhook: the others are not to wait for it.
                self.lanes.get_mut(&lane).map_or(Verdict::Taken, |queue| queue.answered(503, random))
            }
            Outcome::Gone => Verdict::Taken,
            Outcome::Unsendable => {
                self.lanes.get_mut(&lane).map_or(Verdict::Taken, |queue| queue.answered(400, random))
            }
            Outcome::Status(status) => {
                (server.silences, server.after) = (0, None);
                self.lanes.get_mut(&lane).map_or(Verdict::Taken, |queue| queue.answered(status, random))
            }
        };
        match verdict {
            Verdict::Again { after, .. } => {
                self.later.insert((now + after, lane));
            }
            Verdict::Taken | Verdict::Parked => self.done(lane),
        }
        verdict
    }

    /// The head of a lane is over.
    fn done(&mut self, lane: Lane) {
        let Some(queue) = self.lanes.get_mut(&lane) else { return };
        queue.waiting.pop_front();
        (queue.failures, queue.refusals) = (0, 0);
        if queue.waiting.is_empty() {
            self.lanes.remove(&lane);
            if let Some(server) = self.servers.get(&lane.server)
                && server.ready.is_empty()
                && server.sending == 0
                && !self.later.iter().any(|(_, other)| other.server == lane.server)
            {
                self.servers.remove(&lane.server);
            }
        } else {
            self.server(&lane).ready.push_back(lane);
        }
    }
}

impl Queue {
    fn answered(&mut self, status: u16, random: u32) -> Verdict {
        match status {
            200..=299 => return Verdict::Taken,
            300..=399 | 408 | 425 | 429 | 500.. => {}
            _ => {
                self.refusals += 1;
                if self.refusals > REFUSALS_MAX {
                    return Verdict::Parked;
                }
            }
        }
        let wait = WAITS[(self.failures as usize).min(WAITS.len() - 1)];
        self.failures += 1;
        Verdict::Again { after: spread(wait, random), first: self.failures == 1 }
    }
}

/// 80 to 120 % of `wait`.
fn spread(wait: Duration, random: u32) -> Duration {
    wait.mul_f64(0.8 + 0.4 * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: u32 = u32::MAX / 2;

    /// Webhooks that wait or are on their way.
    fn left(delivery: &Delivery) -> usize {
        delivery.lanes.values().map(|queue| queue.waiting.len()).sum()
    }

    fn lane(server: &str, subject: &str) -> Lane {
        Lane { server: server.into(), subject: subject.into() }
    }

    fn sent(delivery: &mut Delivery, now: Instant) -> Vec<u64> {
        let mut seqs = Vec::new();
        while let Next::Send(Seq(seq)) = delivery.next(now) {
            seqs.push(seq);
        }
        seqs
    }

    fn ended(delivery: &mut Delivery, now: Instant, seq: u64, outcome: Outcome) -> Verdict {
        delivery.ended(now, Seq(seq), outcome, MIDDLE)
    }

    #[test]
    fn a_lane_keeps_its_order_and_holds_up_no_other() {
        let now = Instant::now();
        let mut delivery = Delivery::default();
        for seq in 0..6 {
            delivery.add(lane("a", if seq % 2 == 0 { "even" } else { "odd" }), Seq(seq));
        }
        assert_eq!(sent(&mut delivery, now), [0, 1]);
        let refused = ended(&mut delivery, now, 0, Outcome::Status(503));
        assert!(matches!(refused, Verdict::Again { first: true, .. }));
        assert_eq!(ended(&mut delivery, now, 1, Outcome::Status(204)), Verdict::Taken);
        assert_eq!(sent(&mut delivery, now), [3]);
        let later = now + Duration::from_secs(6);
        assert_eq!(sent(&mut delivery, later), [0]);
        assert_eq!(ended(&mut delivery, later, 0, Outcome::Status(200)), Verdict::Taken);
        assert_eq!(sent(&mut delivery, later), [2]);
        assert_eq!(left(&delivery), 4);
    }

    #[test]
    fn waits_grow_are_spread_and_never_end() {
        let mut now = Instant::now();
        let mut delivery = Delivery::default();
        delivery.add(lane("a", "x"), Seq(1));
        for failure in 0..40 {
            assert_eq!(delivery.next(now), Next::Send(Seq(1)));
            let random = [0, MIDDLE, u32::MAX][failure % 3];
            let status = [408, 429, 500, 503][failure % 4];
            let Verdict::Again { after, first } =
                delivery.ended(now, Seq(1), Outcome::Status(status), random)
            else {
                panic!("given up after {failure} failures");
            };
            assert_eq!(first, failure == 0);
            let share = after.as_secs_f64() / WAITS[failure.min(WAITS.len() - 1)].as_secs_f64();
            assert!((share - [0.8, 1.0, 1.2][failure % 3]).abs() < 0.001, "{share}");
            assert_eq!(delivery.next(now), Next::At(now + after));
            now += after;
        }
    }

    #[test]
    fn a_server_that_is_away_for_a_day_is_asked_by_one_and_told_all_within_minutes() {
        let mut now = Instant::now();
        let day = now + Duration::from_secs(86_400);
        let mut delivery = Delivery::default();
        for seq in 0..300 {
            delivery.add(lane("away", &(seq / 3).to_string()), Seq(seq));
        }
        delivery.add(lane("there", "x"), Seq(999));
        let mut attempts = 0;
        while now < day {
            match delivery.next(now) {
                Next::Send(Seq(999)) => {
                    ended(&mut delivery, now, 999, Outcome::Status(200));
                }
                Next::Send(Seq(seq)) => {
                    attempts += 1;
                    ended(&mut delivery, now, seq, Outcome::Silence);
                }
                Next::At(at) => now = at,
                Next::Idle => panic!("300 webhooks wait"),
            }
        }
        assert_eq!(left(&delivery), 300);
        assert!((1_300..1_500).contains(&attempts), "{attempts}");
        let back = now;
        let mut order = Vec::new();
        while left(&delivery) > 0 {
            match delivery.next(now) {
                Next::Send(seq) => {
                    order.push(seq.0);
                    ended(&mut delivery, now, seq.0, Outcome::Status(200));
                }
                Next::At(at) => now = at,
                Next::Idle => panic!("something waits"),
            }
        }
        assert!(now - back <= Duration::from_secs(72), "{:?}", now - back);
        for call in 0..100 {
            let of_call: Vec<_> = order.iter().filter(|seq| *seq / 3 == call).collect();
            assert_eq!(of_call, [&(call * 3), &(call * 3 + 1), &(call * 3 + 2)]);
        }
        assert!(delivery.servers.is_empty() && delivery.lanes.is_empty());
    }

    #[test]
    fn a_webhook_that_the_server_chokes_on_holds_up_its_own_call_alone() {
        let start = Instant::now();
        let mut now = start;
        let mut delivery = Delivery::default();
        for seq in 0..600 {
            delivery.add(lane("a", &(seq / 3).to_string()), Seq(seq));
        }
        let mut bad = 0;
        while left(&delivery) > 3 {
            match delivery.next(now) {
                Next::Send(Seq(0)) => {
                    bad += 1;
                    ended(&mut delivery, now, 0, Outcome::Silence);
                }
                Next::Send(Seq(seq)) => {
                    ended(&mut delivery, now, seq, Outcome::Status(200));
                }
                Next::At(at) => now = at,
                Next::Idle => panic!("something waits"),
            }
        }
        assert!(now - start <= Duration::from_secs(10), "{:?}", now - start);
        assert!(bad <= 2, "{bad}");
    }

    #[test]
    fn what_the_server_calls_wrong_is_set_apart_after_the_third_time() {
        let mut now = Instant::now();
        let mut delivery = Delivery::default();
        delivery.add(lane("a", "x"), Seq(1));
        delivery.add(lane("a", "x"), Seq(2));
        for _ in 0..2 {
            assert_eq!(sent(&mut delivery, now), [1]);
            let verdict = ended(&mut delivery, now, 1, Outcome::Status(422));
            assert!(matches!(verdict, Verdict::Again { .. }));
            now += Duration::from_secs(3_600);
        }
        assert_eq!(sent(&mut delivery, now), [1]);
        assert_eq!(ended(&mut delivery, now, 1, Outcome::Unsendable), Verdict::Parked);
        assert_eq!(sent(&mut delivery, now), [2]);
        assert_eq!(ended(&mut delivery, now, 2, Outcome::Status(200)), Verdict::Taken);
        assert_eq!(delivery.next(now), Next::Idle);
        assert_eq!(left(&delivery), 0);
    }

    #[test]
    fn no_server_takes_more_than_its_share() {
        let now = Instant::now();
        let mut delivery = Delivery::default();
        for seq in 0..40 {
            delivery.add(lane("slow", &seq.to_string()), Seq(seq));
        }
        for (server, first) in [("a", 100), ("b", 200), ("c", 300), ("d", 400)] {
            for seq in first..first + 20 {
                delivery.add(lane(server, &seq.to_string()), Seq(seq));
            }
        }
        let first = sent(&mut delivery, now);
        assert_eq!(first.len(), ON_THEIR_WAY_MAX);
        for hundred in 0..5 {
            let count = first.iter().filter(|seq| *seq / 100 == hundred).count();
            assert!((3..=PER_SERVER_MAX).contains(&count), "{hundred}: {count}");
        }
        ended(&mut delivery, now, first[0], Outcome::Status(200));
        assert_eq!(sent(&mut delivery, now).len(), 1);
    }
}
