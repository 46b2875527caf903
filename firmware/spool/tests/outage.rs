//! Three days without the Internet, in virtual time: every webhook arrives or is counted.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod webhook;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tipring_spool::{
    Class, Delivery, Entry, Item, Lane, MemoryStore, Next, Outcome, Pace, Reply, Seq, Spool, Verdict,
};
use webhook::webhook;

const MINUTE: Duration = Duration::from_secs(60);
const HOURS: u32 = 72;
const EVENTS_PER_MINUTE: u64 = 60;
const EVENTS: u64 = 259_200;

/// The box and its server.
struct World {
    spool: Spool,
    delivery: Delivery,
    now: Instant,
    /// Of each event: its call and its place in it.
    events: BTreeMap<Seq, (u64, u64)>,
    delivered: Vec<(Instant, Seq)>,
    is_online: bool,
}

impl World {
    fn put_minute(&mut self, first: u64) {
        let put: Vec<_> = (first..first + EVENTS_PER_MINUTE)
            .map(|n| {
                let class = if n % 3 == 2 { Class::Final } else { Class::Progress };
                let entry = Entry { subject: format!("call-{}", n / 3), ..webhook(n, class, 300) };
                (n, class, self.spool.put(&entry), entry)
            })
            .collect();
        for (n, class, answer, entry) in put {
            // What has no room is counted by the spool.
            let Ok(seq) = answer.blocking_recv().unwrap() else { continue };
            let lane = Lane { server: entry.server().into(), subject: entry.ordered_by().into() };
            self.delivery.add(self.now, lane, Item { seq, class, found: None });
            self.events.insert(seq, (n / 3, n % 3));
        }
    }

    /// Does what is due until `end`, or until nothing is left.
    fn run_until(&mut self, end: Instant) {
        while self.now < end {
            match self.delivery.next(self.now) {
                Next::Send(seq) => self.send(seq),
                Next::Drop(seq, class) => self.spool.expire(seq, class),
                Next::At(at) => self.now = at.min(end),
                Next::Idle => return,
            }
        }
    }

    fn send(&mut self, seq: Seq) {
        let outcome = if self.spool.get(seq).blocking_recv().unwrap().unwrap().is_none() {
            Outcome::Gone
        } else if self.is_online {
            self.delivered.push((self.now, seq));
            Outcome::Answered(Reply { status: 200, ..Reply::default() })
        } else {
            Outcome::Silence
        };
        if self.delivery.ended(self.now, seq, outcome, u32::MAX / 2).0 == Verdict::Taken {
            self.spool.remove(seq);
        }
    }
}

#[test]
fn three_days_offline_cost_nothing_that_is_not_counted_and_are_told_at_the_set_pace() {
    let (spool, _) = Spool::start(Box::new(MemoryStore::default()), None, Box::new(|| None)).unwrap();
    let start = Instant::now();
    let pace = Pace { drain_per_s: 5, drain_spread: Duration::from_secs(120) };
    let mut world = World {
        spool,
        delivery: Delivery::new(start, pace),
        now: start,
        events: BTreeMap::new(),
        delivered: Vec::new(),
        is_online: false,
    };
    for minute in 0..HOURS * 60 {
        world.put_minute(u64::from(minute) * EVENTS_PER_MINUTE);
        world.run_until(start + (minute + 1) * MINUTE);
        world.now = start + (minute + 1) * MINUTE;
    }
    let counters = world.spool.counters();
    assert!(counters.bytes <= 64 * 1024 * 1024);
    assert!(world.delivery.is_offline());
    assert_eq!(counters.dropped.of(Class::Final), 0, "nothing is too old while the box is offline");

    let back = world.now;
    world.is_online = true;
    world.run_until(back + HOURS * 60 * MINUTE);

    // Every event is accounted for, by class.
    world.spool.put(&webhook(0, Class::Final, 10)).blocking_recv().unwrap().unwrap();
    let dropped = world.spool.counters().dropped;
    assert_eq!(world.delivered.len() as u64 + dropped.total(), EVENTS, "{dropped:?}");
    let finals = world.delivered.iter().filter(|(_, seq)| world.events[seq].1 == 2).count() as u64;
    assert_eq!(finals + dropped.of(Class::Final), EVENTS / 3);
    assert_eq!(dropped.of(Class::Final), 0, "progress makes room first");
    assert!(dropped.of(Class::Progress) > EVENTS / 3, "the test has no quota to test");
    assert_eq!(world.spool.counters().waiting, 1, "nothing is left behind");

    // In order within each call.
    let mut last = BTreeMap::new();
    for (_, seq) in &world.delivered {
        let (call, place) = world.events[seq];
        assert!(last.insert(call, place).is_none_or(|before| before < place), "call {call} out of order");
    }

    // At the set pace, after a start within the spread.
    let first = world.delivered[1].0;
    assert!(first - back <= MINUTE + Duration::from_secs(75), "{:?}", first - back);
    let mut in_second = BTreeMap::new();
    for (at, _) in &world.delivered {
        *in_second.entry((*at - back).as_secs()).or_insert(0_u32) += 1;
    }
    assert!(in_second.values().all(|count| *count <= 6), "{:?}", in_second.values().max());
    let took = world.delivered[world.delivered.len() - 1].0 - first;
    let least = Duration::from_secs(world.delivered.len() as u64 / 5 - 10);
    assert!(took >= least && took < least * 11 / 10, "{took:?}");
}
