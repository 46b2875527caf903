//! Who is sent when: lanes, order, patience.
//!
//! A lane is one server and one subject. In a lane one webhook is on its way at a time,
//! so what is said about a call arrives in the order it was said; a server that refuses
//! one call's webhooks holds up that call's alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::store::Seq;

/// Webhooks on their way to one server at a time.
const PER_SERVER_MAX: usize = 8;
/// Webhooks on their way to all servers.
const ON_THEIR_WAY_MAX: usize = 32;
/// How long to wait after each failure; the last goes on for ever.
const WAITS: [Duration; 11] = [
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
    Duration::from_secs(6 * 3_600),
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
    Failed,
}

/// What follows from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It was taken, and can be removed.
    Taken,
    /// It is tried again after this time.
    Again(Duration),
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
    /// The head is on its way.
    sending: bool,
    failures: u32,
    refusals: u32,
    /// Not before.
    after: Option<Instant>,
}

/// All lanes.
#[derive(Debug, Default)]
pub struct Delivery {
    lanes: BTreeMap<Lane, Queue>,
    /// Lanes whose head may be sent now, in the order they became ready.
    ready: VecDeque<Lane>,
    /// Lanes that wait, by when they are over.
    later: BTreeSet<(Instant, Lane)>,
    /// On their way, by server.
    sending: BTreeMap<Rc<str>, usize>,
    on_their_way: BTreeMap<Seq, Lane>,
    waiting: usize,
}

impl Delivery {
    /// A new webhook at the end of its lane.
    pub fn add(&mut self, lane: Lane, seq: Seq) {
        let queue = self.lanes.entry(lane.clone()).or_default();
        queue.waiting.push_back(seq);
        self.waiting += 1;
        if queue.waiting.len() == 1 {
            self.ready.push_back(lane);
        }
    }

    /// Webhooks that wait or are on their way.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.waiting
    }

    /// True if nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// What to do at `now`. To be asked again after each `Send`.
    pub fn next(&mut self, now: Instant) -> Next {
        while let Some((at, lane)) = self.later.first().cloned()
            && at <= now
        {
            self.later.pop_first();
            self.ready.push_back(lane);
        }
        let busy = |sending: &BTreeMap<Rc<str>, usize>, lane: &Lane| {
            sending.get(&lane.server).is_some_and(|count| *count >= PER_SERVER_MAX)
        };
        if self.on_their_way.len() >= ON_THEIR_WAY_MAX {
            return Next::Idle;
        }
        let free = self.ready.iter().position(|lane| !busy(&self.sending, lane));
        if let Some(lane) = free.and_then(|at| self.ready.remove(at))
            && let Some(queue) = self.lanes.get_mut(&lane)
            && let Some(seq) = queue.waiting.front().copied()
        {
            queue.sending = true;
            queue.after = None;
            *self.sending.entry(Rc::clone(&lane.server)).or_default() += 1;
            self.on_their_way.insert(seq, lane);
            return Next::Send(seq);
        }
        match self.later.first() {
            Some((at, _)) => Next::At(*at),
            None => Next::Idle,
        }
    }

    /// An attempt has ended. `random` spreads the waits of many boxes by a fifth to
    /// either side.
    pub fn ended(&mut self, now: Instant, seq: Seq, outcome: Outcome, random: u32) -> Verdict {
        let Some(lane) = self.on_their_way.remove(&seq) else {
            return Verdict::Taken;
        };
        if let Some(count) = self.sending.get_mut(&lane.server) {
            *count -= 1;
            if *count == 0 {
                self.sending.remove(&lane.server);
            }
        }
        let Some(queue) = self.lanes.get_mut(&lane) else {
            return Verdict::Taken;
        };
        queue.sending = false;
        let verdict = match outcome {
            Outcome::Status(200..=299) => Verdict::Taken,
            Outcome::Status(408 | 425 | 429 | 500..) | Outcome::Failed => queue.again(random),
            Outcome::Status(_) => {
                queue.refusals += 1;
                if queue.refusals > REFUSALS_MAX { Verdict::Parked } else { queue.again(random) }
            }
        };
        match verdict {
            Verdict::Again(wait) => {
                let at = now + wait;
                queue.after = Some(at);
                self.later.insert((at, lane));
            }
            Verdict::Taken | Verdict::Parked => {
                queue.waiting.pop_front();
                (queue.failures, queue.refusals) = (0, 0);
                self.waiting -= 1;
                if queue.waiting.is_empty() {
                    self.lanes.remove(&lane);
                } else {
                    self.ready.push_back(lane);
                }
            }
        }
        verdict
    }
}

impl Queue {
    fn again(&mut self, random: u32) -> Verdict {
        let at = (self.failures as usize).min(WAITS.len() - 1);
        self.failures += 1;
        // 80 to 120 %.
        let share = 0.8 + 0.4 * f64::from(random) / f64::from(u32::MAX);
        Verdict::Again(WAITS[at].mul_f64(share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: u32 = u32::MAX / 2;

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

    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_lane_keeps_its_order_and_holds_up_no_other() {
        let now = start();
        let mut delivery = Delivery::default();
        for seq in 0..6 {
            delivery.add(lane("a", if seq % 2 == 0 { "even" } else { "odd" }), Seq(seq));
        }
        assert_eq!(sent(&mut delivery, now), [0, 1]);
        assert!(matches!(delivery.ended(now, Seq(0), Outcome::Failed, MIDDLE), Verdict::Again(_)));
        assert_eq!(delivery.ended(now, Seq(1), Outcome::Status(204), MIDDLE), Verdict::Taken);
        assert_eq!(sent(&mut delivery, now), [3]);
        let later = now + Duration::from_secs(6);
        assert_eq!(sent(&mut delivery, later), [0]);
        assert_eq!(delivery.ended(later, Seq(0), Outcome::Status(200), MIDDLE), Verdict::Taken);
        assert_eq!(sent(&mut delivery, later), [2]);
        assert_eq!(delivery.len(), 4);
    }

    #[test]
    fn waits_grow_are_spread_and_never_end() {
        let mut now = start();
        let mut delivery = Delivery::default();
        delivery.add(lane("a", "x"), Seq(1));
        for failure in 0..40 {
            assert_eq!(delivery.next(now), Next::Send(Seq(1)));
            let outcome = if failure % 2 == 0 { Outcome::Failed } else { Outcome::Status(503) };
            let random = [0, MIDDLE, u32::MAX][failure % 3];
            let Verdict::Again(wait) = delivery.ended(now, Seq(1), outcome, random) else {
                panic!("given up after {failure} failures");
            };
            let share = wait.as_secs_f64() / WAITS[failure.min(WAITS.len() - 1)].as_secs_f64();
            assert!((share - [0.8, 1.0, 1.2][failure % 3]).abs() < 0.001, "{share}");
            assert_eq!(delivery.next(now), Next::At(now + wait));
            now += wait;
        }
    }

    #[test]
    fn what_the_server_calls_wrong_is_set_apart_after_the_third_time() {
        let mut now = start();
        let mut delivery = Delivery::default();
        delivery.add(lane("a", "x"), Seq(1));
        delivery.add(lane("a", "x"), Seq(2));
        for _ in 0..2 {
            assert_eq!(delivery.next(now), Next::Send(Seq(1)));
            assert!(matches!(delivery.ended(now, Seq(1), Outcome::Status(422), MIDDLE), Verdict::Again(_)));
            now += Duration::from_secs(3_600);
        }
        assert_eq!(delivery.next(now), Next::Send(Seq(1)));
        assert_eq!(delivery.ended(now, Seq(1), Outcome::Status(422), MIDDLE), Verdict::Parked);
        assert_eq!(delivery.next(now), Next::Send(Seq(2)));
        assert_eq!(delivery.ended(now, Seq(2), Outcome::Status(200), MIDDLE), Verdict::Taken);
        assert_eq!(delivery.next(now), Next::Idle);
        assert!(delivery.is_empty());
    }

    #[test]
    fn one_server_has_a_bounded_number_on_their_way() {
        let now = start();
        let mut delivery = Delivery::default();
        for seq in 0..20 {
            delivery.add(lane("slow", &seq.to_string()), Seq(seq));
        }
        delivery.add(lane("other", "x"), Seq(99));
        let first = sent(&mut delivery, now);
        assert_eq!(first.len(), PER_SERVER_MAX + 1);
        assert!(first.contains(&99));
        delivery.ended(now, Seq(0), Outcome::Status(200), MIDDLE);
        assert_eq!(sent(&mut delivery, now).len(), 1);
    }
}
