use super::server::{DRAIN_FROM, FAILING_MAX};
use super::*;

/// No waits but those that the test is about.
const AT_ONCE: Pace = Pace { drain_per_s: 1_000, drain_spread: Duration::ZERO };

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
    delivery.ended(now, Seq(seq), outcome, MIDDLE).0
}

fn status(status: u16) -> Outcome {
    Outcome::Answered(Reply { status, ..Reply::default() })
}

fn add(delivery: &mut Delivery, now: Instant, lane: Lane, seq: u64) {
    add_class(delivery, now, lane, seq, Class::Final);
}

fn add_class(delivery: &mut Delivery, now: Instant, lane: Lane, seq: u64, class: Class) {
    delivery.add(now, lane, Item { seq: Seq(seq), class, found: None });
}

#[test]
fn a_lane_keeps_its_order_and_holds_up_no_other() {
    let now = Instant::now();
    let mut delivery = Delivery::new(now, AT_ONCE);
    for seq in 0..6 {
        add(&mut delivery, now, lane("a", if seq % 2 == 0 { "even" } else { "odd" }), seq);
    }
    assert_eq!(sent(&mut delivery, now), [0, 1]);
    let refused = ended(&mut delivery, now, 0, status(503));
    assert!(matches!(refused, Verdict::Again { first: true, .. }));
    assert_eq!(ended(&mut delivery, now, 1, status(204)), Verdict::Taken);
    assert_eq!(sent(&mut delivery, now), [3]);
    let later = now + Duration::from_secs(6);
    assert_eq!(sent(&mut delivery, later), [0]);
    assert_eq!(ended(&mut delivery, later, 0, status(200)), Verdict::Taken);
    assert_eq!(sent(&mut delivery, later), [2]);
    assert_eq!(left(&delivery), 4);
}

#[test]
fn waits_grow_are_spread_and_never_end() {
    let mut now = Instant::now();
    let mut delivery = Delivery::new(now, AT_ONCE);
    add_class(&mut delivery, now, lane("a", "x"), 1, Class::Record);
    for failure in 0..40 {
        assert_eq!(delivery.next(now), Next::Send(Seq(1)));
        let random = [0, MIDDLE, u32::MAX][failure % 3];
        let answer = status([408, 429, 500, 503][failure % 4]);
        let (Verdict::Again { after, first }, _) = delivery.ended(now, Seq(1), answer, random) else {
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
    let mut delivery = Delivery::new(now, AT_ONCE);
    for seq in 0..300 {
        add(&mut delivery, now, lane("away", &(seq / 3).to_string()), seq);
    }
    add(&mut delivery, now, lane("there", "x"), 999);
    let mut attempts = 0;
    while now < day {
        match delivery.next(now) {
            Next::Send(Seq(999)) => {
                ended(&mut delivery, now, 999, status(200));
            }
            Next::Send(Seq(seq)) => {
                attempts += 1;
                ended(&mut delivery, now, seq, Outcome::Silence);
            }
            Next::At(at) => now = at,
            other @ (Next::Drop(..) | Next::Idle) => panic!("{other:?}"),
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
                ended(&mut delivery, now, seq.0, status(200));
            }
            Next::At(at) => now = at,
            other @ (Next::Drop(..) | Next::Idle) => panic!("{other:?}"),
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
    let mut delivery = Delivery::new(now, AT_ONCE);
    for seq in 0..600 {
        add(&mut delivery, now, lane("a", &(seq / 3).to_string()), seq);
    }
    let mut bad = 0;
    while left(&delivery) > 3 {
        match delivery.next(now) {
            Next::Send(Seq(0)) => {
                bad += 1;
                ended(&mut delivery, now, 0, Outcome::Silence);
            }
            Next::Send(Seq(seq)) => {
                ended(&mut delivery, now, seq, status(200));
            }
            Next::At(at) => now = at,
            other @ (Next::Drop(..) | Next::Idle) => panic!("{other:?}"),
        }
    }
    assert!(now - start <= Duration::from_secs(10), "{:?}", now - start);
    assert!(bad <= 2, "{bad}");
}

#[test]
fn what_the_server_calls_wrong_is_set_apart_after_the_third_time() {
    let mut now = Instant::now();
    let mut delivery = Delivery::new(now, AT_ONCE);
    add(&mut delivery, now, lane("a", "x"), 1);
    add(&mut delivery, now, lane("a", "x"), 2);
    for _ in 0..2 {
        assert_eq!(sent(&mut delivery, now), [1]);
        let verdict = ended(&mut delivery, now, 1, status(422));
        assert!(matches!(verdict, Verdict::Again { .. }));
        now += Duration::from_secs(3_600);
    }
    assert_eq!(sent(&mut delivery, now), [1]);
    assert_eq!(ended(&mut delivery, now, 1, Outcome::Unsendable), Verdict::Parked(Why::Unsendable));
    assert_eq!(sent(&mut delivery, now), [2]);
    assert_eq!(ended(&mut delivery, now, 2, status(200)), Verdict::Taken);
    assert_eq!(delivery.next(now), Next::Idle);
    assert_eq!(left(&delivery), 0);
}

#[test]
fn no_server_takes_more_than_its_share() {
    let now = Instant::now();
    let mut delivery = Delivery::new(now, AT_ONCE);
    for seq in 0..40 {
        add(&mut delivery, now, lane("slow", &seq.to_string()), seq);
    }
    for (server, first) in [("a", 100), ("b", 200), ("c", 300), ("d", 400)] {
        for seq in first..first + 20 {
            add(&mut delivery, now, lane(server, &seq.to_string()), seq);
        }
    }
    let first = sent(&mut delivery, now);
    assert_eq!(first.len(), NORMAL_MAX);
    for hundred in 0..5 {
        let count = first.iter().filter(|seq| *seq / 100 == hundred).count();
        assert!((3..=4).contains(&count), "{hundred}: {count}");
    }
    ended(&mut delivery, now, first[0], status(200));
    assert_eq!(sent(&mut delivery, now).len(), 1);
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

fn told(status: u16, retry_after: Duration) -> Outcome {
    Outcome::Answered(Reply { status, retry_after: Some(retry_after), aborts: false })
}

/// The next moment at which something may be done.
fn at(delivery: &mut Delivery, now: Instant) -> Instant {
    match delivery.next(now) {
        Next::At(at) => at,
        other @ (Next::Send(_) | Next::Drop(..) | Next::Idle) => panic!("{other:?}"),
    }
}

#[test]
fn a_server_is_left_alone_for_as_long_as_it_asks_but_no_longer_than_an_hour() {
    for (answer, asked, waits) in [
        (429, 90 * SECOND, 90 * SECOND),
        (503, 90 * SECOND, 90 * SECOND),
        (429, 1_000 * DAY, HOUR),
        (503, Duration::ZERO, 5 * SECOND),
        (500, 90 * SECOND, 5 * SECOND),
    ] {
        let now = Instant::now();
        let mut delivery = Delivery::new(now, AT_ONCE);
        add(&mut delivery, now, lane("a", "x"), 1);
        assert_eq!(sent(&mut delivery, now), [1]);
        add(&mut delivery, now, lane("a", "y"), 2);
        ended(&mut delivery, now, 1, told(answer, asked));
        if asked > Duration::ZERO && answer != 500 {
            assert_eq!(at(&mut delivery, now), now + waits, "the whole server is left alone");
        } else {
            assert_eq!(sent(&mut delivery, now), [2]);
        }
        let again = (now + waits * 4 / 5, now + waits * 6 / 5);
        assert!(!sent(&mut delivery, again.0 - SECOND).contains(&1), "{answer} {asked:?}");
        assert!(sent(&mut delivery, again.1 + SECOND).contains(&1), "{answer} {asked:?}");
    }
}

#[test]
fn what_was_on_its_way_does_not_cut_short_what_a_server_asked_for() {
    let now = Instant::now();
    let mut delivery = Delivery::new(now, AT_ONCE);
    for seq in 1..5 {
        add(&mut delivery, now, lane("a", &seq.to_string()), seq);
    }
    assert_eq!(sent(&mut delivery, now), [1, 2, 3, 4]);
    add(&mut delivery, now, lane("a", "5"), 5);
    ended(&mut delivery, now, 1, told(429, HOUR));
    ended(&mut delivery, now, 2, status(200));
    ended(&mut delivery, now, 3, told(429, SECOND));
    ended(&mut delivery, now, 4, status(500));
    assert_eq!(sent(&mut delivery, now + 59 * SECOND * 60), [0; 0]);
    delivery.hurry(&lane("a", "5"));
    assert!(sent(&mut delivery, now).contains(&5));
}

#[test]
fn a_server_that_wants_no_more_is_asked_once_an_hour_and_loses_nothing() {
    let mut now = Instant::now();
    let mut delivery = Delivery::new(now, AT_ONCE);
    for seq in 0..10 {
        add_class(&mut delivery, now, lane("a", &seq.to_string()), seq, Class::Record);
    }
    let mut alarms = Vec::new();
    for seq in sent(&mut delivery, now) {
        alarms.extend(delivery.ended(now, Seq(seq), status(410), MIDDLE).1);
    }
    let (mut probes, end) = (0, now + 10 * DAY);
    while now < end {
        match delivery.next(now) {
            Next::Send(Seq(seq)) => {
                probes += 1;
                add_class(&mut delivery, now, lane("a", "more"), 1_000 + probes, Class::Record);
                alarms.extend(delivery.ended(now, Seq(seq), status(410), MIDDLE).1);
            }
            Next::At(at) => now = at,
            other @ (Next::Drop(..) | Next::Idle) => panic!("{other:?}"),
        }
    }
    assert_eq!(alarms, [Alarm::Paused]);
    assert_eq!(delivery.servers().collect::<Vec<_>>(), [("a", left(&delivery), Mood::Paused)]);
    assert!((235..=245).contains(&probes), "{probes} probes in 240 hours");
    assert_eq!(left(&delivery) as u64, 10 + probes);
    let probe = sent(&mut delivery, now);
    assert_eq!(probe.len(), 1, "asked by one");
    let back = delivery.ended(now, Seq(probe[0]), status(200), MIDDLE);
    assert_eq!(back, (Verdict::Taken, Some(Alarm::Recovered)));
    assert!(!sent(&mut delivery, now + SECOND).is_empty());
}

#[test]
fn a_webhook_that_the_server_never_wants_again_is_set_apart_at_once() {
    let now = Instant::now();
    let mut delivery = Delivery::new(now, AT_ONCE);
    add(&mut delivery, now, lane("a", "x"), 1);
    add(&mut delivery, now, lane("a", "x"), 2);
    assert_eq!(sent(&mut delivery, now), [1]);
    let abort = Outcome::Answered(Reply { status: 500, retry_after: None, aborts: true });
    assert_eq!(ended(&mut delivery, now, 1, abort), Verdict::Parked(Why::Aborted));
    assert_eq!(sent(&mut delivery, now), [2]);
}

#[test]
fn after_five_days_of_failure_a_server_is_asked_once_an_hour_and_people_are_told_once() {
    for answer in [Outcome::Silence, status(500)] {
        let start = Instant::now();
        let mut now = start;
        let mut delivery = Delivery::new(now, AT_ONCE);
        for seq in 0..40 {
            add_class(&mut delivery, now, lane("a", &seq.to_string()), seq, Class::Record);
        }
        let (mut alarms, mut late) = (Vec::new(), 0);
        while now < start + 8 * DAY {
            match delivery.next(now) {
                Next::Send(seq) => {
                    late += usize::from(now > start + 6 * DAY);
                    if let Some(alarm) = delivery.ended(now, seq, answer, MIDDLE).1 {
                        alarms.push((alarm, now - start));
                    }
                }
                Next::At(at) => now = at,
                other @ (Next::Drop(..) | Next::Idle) => panic!("{other:?}"),
            }
        }
        assert_eq!(alarms.len(), 1, "{alarms:?}");
        let (alarm, after) = alarms[0];
        assert_eq!(alarm, Alarm::Failing);
        assert!(after >= FAILING_MAX && after < FAILING_MAX + 7 * HOUR, "{after:?}");
        assert!((40..=52).contains(&late), "{late} attempts in two days");
        assert_eq!(left(&delivery), 40);
    }
}

/// What is sent, dropped and left after `days` with one webhook of each class to a server
/// that fails as told.
fn aged(days: u32, answer: Outcome, found: Option<Duration>, other_answers: bool) -> Vec<Class> {
    let start = Instant::now();
    let mut now = start;
    let mut delivery = Delivery::new(now, AT_ONCE);
    for (class, seq) in Class::ALL.into_iter().zip(0..) {
        delivery.add(now, lane("a", &seq.to_string()), Item { seq: Seq(seq), class, found });
    }
    let mut dropped = Vec::new();
    let mut asked = 100;
    while now < start + days * DAY {
        if other_answers && now > start + (asked - 99) * SECOND * 60 {
            asked += 1;
            add(&mut delivery, now, lane("other", "x"), u64::from(asked));
        }
        match delivery.next(now) {
            Next::Send(Seq(seq)) if seq >= 100 => {
                ended(&mut delivery, now, seq, status(200));
            }
            Next::Send(Seq(seq)) => {
                ended(&mut delivery, now, seq, answer);
            }
            Next::Drop(_, class) => dropped.push(class),
            Next::At(at) if other_answers => now = at.min(now + 60 * SECOND),
            Next::At(at) => now = at,
            Next::Idle => now += 60 * SECOND,
        }
    }
    dropped.sort_unstable();
    dropped
}

#[test]
fn webhooks_grow_too_old_by_class_and_records_never() {
    let failing = status(500);
    assert_eq!(aged(1, failing, None, false), []);
    assert_eq!(aged(2, failing, None, false), [Class::Emergency]);
    assert_eq!(aged(6, failing, None, false), [Class::Emergency]);
    assert_eq!(aged(8, failing, None, false), [Class::Progress, Class::Final, Class::Emergency]);
    assert_eq!(aged(29, failing, None, false), [Class::Progress, Class::Final, Class::Emergency]);
    assert_eq!(aged(400, failing, None, false), Class::ALL[..4]);
}

#[test]
fn nothing_grows_too_old_while_the_box_itself_is_offline() {
    assert_eq!(aged(60, Outcome::Silence, None, false), []);
    let while_others_answer = aged(9, Outcome::Silence, None, true);
    assert_eq!(while_others_answer, [Class::Progress, Class::Final, Class::Emergency]);
}

#[test]
fn what_is_found_at_the_start_has_its_age_and_a_last_chance() {
    let failing = status(500);
    assert_eq!(aged(2, failing, Some(6 * DAY), false), [Class::Progress, Class::Final, Class::Emergency]);
    let start = Instant::now();
    let mut delivery = Delivery::new(start, AT_ONCE);
    let old = Item { seq: Seq(1), class: Class::Final, found: Some(100 * DAY) };
    delivery.add(start, lane("a", "x"), old);
    assert_eq!(sent(&mut delivery, start), [1]);
    ended(&mut delivery, start, 1, status(500));
    assert_eq!(delivery.next(start + 7 * HOUR), Next::Drop(Seq(1), Class::Final));
    assert_eq!(delivery.next(start + 7 * HOUR), Next::Idle);
}

#[test]
fn a_state_on_the_way_is_dropped_once_it_is_old_and_the_end_of_its_call_waits() {
    let start = Instant::now();
    let mut delivery = Delivery::new(start, AT_ONCE);
    for (seq, call, class) in [
        (1, "ended", Class::Progress),
        (2, "ended", Class::Progress),
        (3, "ended", Class::Final),
        (4, "runs", Class::Progress),
    ] {
        add_class(&mut delivery, start, lane("a", call), seq, class);
    }
    assert_eq!(sent(&mut delivery, start), [1, 4]);
    for seq in [1, 4] {
        ended(&mut delivery, start, seq, Outcome::NotSent);
    }
    let early = start + 600 * SECOND;
    assert_eq!(sent(&mut delivery, early), [1, 4]);
    for seq in [1, 4] {
        ended(&mut delivery, early, seq, Outcome::NotSent);
    }
    let late = early + 6 * SECOND;
    assert_eq!(delivery.next(late), Next::Drop(Seq(1), Class::Progress));
    assert_eq!(delivery.next(late), Next::Drop(Seq(2), Class::Progress));
    assert_eq!(sent(&mut delivery, late), [3, 4]);
}

#[test]
fn a_backlog_begins_at_random_and_goes_at_its_pace_live_calls_first_then_the_oldest() {
    let mut now = Instant::now();
    let pace = Pace { drain_per_s: 4, drain_spread: 100 * SECOND };
    let mut delivery = Delivery::new(now, pace);
    add(&mut delivery, now, lane("a", "first"), 0);
    assert_eq!(sent(&mut delivery, now), [0]);
    ended(&mut delivery, now, 0, Outcome::Silence);
    for seq in 1..60 {
        add(&mut delivery, now, lane("a", &seq.to_string()), seq);
    }
    now += 5 * SECOND;
    assert_eq!(sent(&mut delivery, now), [1]);
    ended(&mut delivery, now, 1, Outcome::Silence);
    now += HOUR;
    assert_eq!(sent(&mut delivery, now), [2], "asked by one that has not asked yet");
    delivery.ended(now, Seq(2), status(200), u32::MAX / 4);
    let begins = at(&mut delivery, now);
    assert_eq!((begins - now).as_secs(), 24, "a quarter of the spread");
    now = begins;
    add(&mut delivery, now, lane("a", "live"), 100);
    add(&mut delivery, now, lane("a", "live"), 101);
    add(&mut delivery, now, lane("a", "newer"), 102);
    let mut order = Vec::new();
    let mut moments = Vec::new();
    while left(&delivery) > 10 {
        match delivery.next(now) {
            Next::Send(seq) => {
                order.push(seq.0);
                moments.push(now);
                ended(&mut delivery, now, seq.0, status(200));
            }
            Next::At(at) => now = at,
            other @ (Next::Drop(..) | Next::Idle) => panic!("{other:?}"),
        }
    }
    assert_eq!(order[..5], [102, 100, 101, 0, 1]);
    assert!(order[3..].is_sorted());
    assert!(moments.windows(2).all(|pair| pair[1] - pair[0] >= SECOND / 4));
    // Two at a time at most, however slow the server is.
    let mut on_their_way = Vec::new();
    for _ in 0..100 {
        match delivery.next(now) {
            Next::Send(seq) => on_their_way.push(seq),
            Next::At(at) => now = at.max(now + SECOND),
            Next::Drop(..) | Next::Idle => now += SECOND,
        }
    }
    assert_eq!(on_their_way.len(), 2);
    // The rest is no backlog, and has no pace.
    while left(&delivery) > 4 {
        ended(&mut delivery, now, on_their_way.remove(0).0, status(200));
        while on_their_way.len() < 2 {
            match delivery.next(now) {
                Next::Send(seq) => on_their_way.push(seq),
                Next::At(at) => now = at,
                other @ (Next::Drop(..) | Next::Idle) => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(sent(&mut delivery, now).len(), 2);
}

#[test]
fn a_backlog_that_grows_while_it_is_told_is_told_faster() {
    let start = Instant::now();
    let mut now = start;
    let mut delivery = Delivery::new(now, Pace { drain_per_s: 5, drain_spread: Duration::ZERO });
    let (mut put, mut most) = (0, 0);
    while now < start + HOUR {
        // Twenty a second come, and the server is away for the first ten minutes.
        while start + put * SECOND / 20 <= now {
            add(&mut delivery, now, lane("a", &put.to_string()), u64::from(put));
            put += 1;
        }
        most = most.max(delivery.backlog("a"));
        match delivery.next(now) {
            Next::Send(seq) if now < start + HOUR / 6 => {
                ended(&mut delivery, now, seq.0, Outcome::Silence);
            }
            Next::Send(seq) => {
                ended(&mut delivery, now, seq.0, status(200));
            }
            Next::At(at) => now = at.min(now + SECOND / 20),
            Next::Idle => now += SECOND / 20,
            Next::Drop(..) => {}
        }
    }
    assert!(most < 30_000, "{most} were waiting");
    assert!(left(&delivery) < 10, "{} of {most} are left", left(&delivery));
}

#[test]
fn one_refusal_of_a_busy_server_is_no_outage() {
    let now = Instant::now();
    let mut delivery = Delivery::new(now, Pace::default());
    for seq in 0..100 {
        add(&mut delivery, now, lane("a", &seq.to_string()), seq);
    }
    for seq in sent(&mut delivery, now) {
        ended(&mut delivery, now, seq, status(if seq == 0 { 503 } else { 200 }));
    }
    assert_eq!(sent(&mut delivery, now).len(), 4);
}

#[test]
fn a_store_that_cannot_be_read_is_not_asked_for_every_webhook_at_once() {
    let start = Instant::now();
    let mut now = start;
    let mut delivery = Delivery::new(now, AT_ONCE);
    for seq in 0..10_000 {
        add(&mut delivery, now, lane("a", &seq.to_string()), seq);
    }
    let mut asked = 0;
    while now < start + 60 * SECOND {
        match delivery.next(now) {
            Next::Send(seq) => {
                asked += 1;
                let verdict = ended(&mut delivery, now, seq.0, Outcome::NotSent);
                assert!(matches!(verdict, Verdict::Again { first: false, .. }));
            }
            Next::At(at) => now = at,
            other @ (Next::Drop(..) | Next::Idle) => panic!("{other:?}"),
        }
    }
    assert!(asked < 60 * 4 * 4, "{asked} times in a minute");
    assert_eq!(left(&delivery), 10_000);
}

#[test]
fn a_handful_is_no_backlog() {
    let now = Instant::now();
    for (count, waits) in [(DRAIN_FROM as u64, false), (DRAIN_FROM as u64 + 1, true)] {
        let mut delivery = Delivery::new(now, Pace::default());
        for seq in 0..count {
            let item = Item { seq: Seq(seq), class: Class::Final, found: Some(HOUR) };
            delivery.add(now, lane("a", &seq.to_string()), item);
        }
        delivery.begin(now, MIDDLE);
        assert_eq!(sent(&mut delivery, now).is_empty(), waits, "{count}");
    }
}

#[test]
fn an_emergency_waits_for_nobody() {
    let mut now = Instant::now();
    let mut delivery = Delivery::new(now, Pace::default());
    for seq in 0..500 {
        add(&mut delivery, now, lane(["a", "b", "c", "d", "e"][seq as usize % 5], &seq.to_string()), seq);
    }
    for seq in sent(&mut delivery, now) {
        ended(&mut delivery, now, seq, Outcome::Silence);
    }
    assert_eq!(sent(&mut delivery, now), [0; 0]);
    for seq in [1_000, 1_001, 1_002] {
        add_class(&mut delivery, now, lane("a", &seq.to_string()), seq, Class::Emergency);
    }
    assert_eq!(sent(&mut delivery, now), [1_000, 1_001], "two at a time");
    ended(&mut delivery, now, 1_000, status(429));
    assert_eq!(sent(&mut delivery, now)[0], 1_002, "it answers: others go, too");
    ended(&mut delivery, now, 1_001, status(200));
    now += 6 * SECOND;
    assert!(sent(&mut delivery, now).contains(&1_000));
    for seq in [1_000, 1_002] {
        ended(&mut delivery, now, seq, status(200));
    }
    assert_eq!((delivery.urgent_on_their_way, left(&delivery)), (0, 500));
}

#[test]
fn the_box_that_is_back_online_asks_every_server_at_once() {
    let mut now = Instant::now();
    let mut delivery = Delivery::new(now, AT_ONCE);
    for server in ["a", "b"] {
        add_class(&mut delivery, now, lane(server, "x"), u64::from(server == "b"), Class::Record);
    }
    let start = now;
    while now < start + 6 * DAY {
        match delivery.next(now) {
            Next::Send(seq) => {
                // The waits of the two differ.
                let random = if seq.0 == 0 { 0 } else { u32::MAX };
                delivery.ended(now, seq, Outcome::Silence, random);
            }
            Next::At(at) => now = at,
            other @ (Next::Drop(..) | Next::Idle) => panic!("{other:?}"),
        }
    }
    assert!(delivery.is_offline());
    let first = loop {
        match delivery.next(now) {
            Next::Send(seq) => break seq.0,
            Next::At(at) => now = at,
            other @ (Next::Drop(..) | Next::Idle) => panic!("{other:?}"),
        }
    };
    assert_eq!(sent(&mut delivery, now), [0; 0], "the other one has its time");
    ended(&mut delivery, now, first, status(200));
    assert!(!delivery.is_offline());
    assert_eq!(sent(&mut delivery, now), [1 - first]);
}

#[test]
fn what_somebody_drops_or_hurries_is_out_of_the_way_at_once() {
    let now = Instant::now();
    let mut delivery = Delivery::new(now, AT_ONCE);
    for seq in 1..5 {
        add(&mut delivery, now, lane("a", "x"), seq);
    }
    assert_eq!(sent(&mut delivery, now), [1]);
    delivery.forget(&lane("a", "x"), Seq(1));
    assert!(delivery.standing(now, &lane("a", "x"), Seq(1)).on_its_way, "too late");
    ended(&mut delivery, now, 1, status(500));
    let standing = delivery.standing(now, &lane("a", "x"), Seq(1));
    assert_eq!((standing.attempts, standing.status, standing.next.is_some()), (1, Some(500), true));
    assert_eq!(sent(&mut delivery, now), [0; 0]);
    delivery.forget(&lane("a", "x"), Seq(3));
    delivery.forget(&lane("a", "x"), Seq(1));
    assert_eq!(sent(&mut delivery, now), [2]);
    ended(&mut delivery, now, 2, status(500));
    assert_eq!(sent(&mut delivery, now), [0; 0]);
    delivery.hurry(&lane("a", "x"));
    assert_eq!(sent(&mut delivery, now), [2]);
    ended(&mut delivery, now, 2, status(200));
    assert_eq!(sent(&mut delivery, now), [4]);
    ended(&mut delivery, now, 4, status(200));
    assert!(delivery.lanes.is_empty() && delivery.servers.is_empty() && delivery.later.is_empty());
}

/// What must hold after every step, whatever the steps were.
fn check(delivery: &Delivery) {
    let mut ready = 0;
    for (lane, queue) in &delivery.lanes {
        assert!(!queue.waiting.is_empty(), "an empty lane is kept");
        let head = queue.waiting[0];
        let finals = queue.waiting.iter().filter(|one| one.class == Class::Final).count();
        assert_eq!(queue.finals, finals);
        match queue.place {
            Place::OnItsWay => assert_eq!(delivery.on_their_way.get(&head.seq), Some(lane)),
            Place::Later(at) => assert!(delivery.later.contains(&(at, lane.clone()))),
            Place::Ready => {
                ready += 1;
                let server = &delivery.servers[&lane.server];
                let is_there = server.ready.contains(&(queue.turn, head.seq, lane.clone()))
                    || server.urgent.contains(&(head.seq, lane.clone()));
                assert!(is_there, "a lane that is ready is in no set");
            }
        }
    }
    let sets = delivery.servers.values().map(|server| server.ready.len() + server.urgent.len());
    assert_eq!(sets.sum::<usize>(), ready, "a set has a lane that is elsewhere");
    let places = delivery.later.len() + delivery.on_their_way.len() + ready;
    assert_eq!(places, delivery.lanes.len(), "a lane is in two places");
    for (name, server) in &delivery.servers {
        let lanes = delivery.lanes.iter().filter(|(lane, _)| lane.server == *name);
        assert_eq!(server.waiting, lanes.map(|(_, queue)| queue.waiting.len()).sum::<usize>());
        let sending = delivery.on_their_way.values().filter(|lane| lane.server == *name).count();
        assert_eq!(server.sending + server.sending_urgent, sending);
        assert!(server.newest.len() == server.ready.len() && sending <= 6);
    }
    assert!(delivery.on_their_way.len() <= ON_THEIR_WAY_MAX);
}

/// Everything that can happen, in any order: what is taken, is taken once and in order, and
/// nothing is lost.
#[test]
fn whatever_happens_nothing_is_lost_doubled_or_out_of_order() {
    for seed in 1..=64_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 16) % below
        };
        let mut now = Instant::now();
        let pace = Pace { drain_per_s: 20, drain_spread: 30 * SECOND };
        let mut delivery = Delivery::new(now, pace);
        let mut on_their_way = Vec::new();
        let mut lanes = BTreeMap::new();
        let (mut put, mut over, mut last) = (0, BTreeSet::new(), BTreeMap::new());
        for step in 0..3_000 {
            match random(10) {
                0..3 => {
                    let class = Class::ALL[random(5) as usize];
                    let server = ["a", "b", "c"][random(3) as usize];
                    let subject = if class == Class::Emergency { put } else { random(8) };
                    let of = lane(server, &subject.to_string());
                    lanes.insert(put, of.clone());
                    let found = (random(9) == 0).then(|| random(10) as u32 * DAY);
                    delivery.add(now, of, Item { seq: Seq(put), class, found });
                    put += 1;
                }
                3..6 => match delivery.next(now) {
                    Next::Send(seq) => on_their_way.push(seq),
                    Next::Drop(seq, _) => assert!(over.insert(seq), "seed {seed}: {seq:?} twice"),
                    Next::At(at) => now = now.max(at),
                    Next::Idle => now += SECOND,
                },
                6..9 if !on_their_way.is_empty() => {
                    let seq = on_their_way.swap_remove(random(on_their_way.len() as u64) as usize);
                    let outcome = match random(12) {
                        0..2 => Outcome::Silence,
                        2 => Outcome::NotSent,
                        3 => Outcome::Gone,
                        4 => Outcome::Unsendable,
                        5 => status(410),
                        6 => told(503, 100 * SECOND),
                        7 => status(404),
                        8 => status(500),
                        _ => status(200),
                    };
                    let (verdict, _) = delivery.ended(now, seq, outcome, random(1 << 32) as u32);
                    if !matches!(verdict, Verdict::Again { .. }) {
                        assert!(over.insert(seq), "seed {seed}: {seq:?} twice");
                        let before = last.insert(lanes[&seq.0].clone(), seq);
                        assert!(before.is_none_or(|before| before < seq), "seed {seed}: out of order");
                    }
                }
                _ if put > 0 => {
                    let seq = random(put);
                    if random(2) == 0 {
                        delivery.hurry(&lanes[&seq]);
                    } else if !over.contains(&Seq(seq)) && !on_their_way.contains(&Seq(seq)) {
                        delivery.forget(&lanes[&seq], Seq(seq));
                        over.insert(Seq(seq));
                    }
                }
                _ => {}
            }
            if step % 7 == 0 {
                check(&delivery);
            }
        }
        // Everybody is well again, and all that is left is taken.
        while left(&delivery) > 0 {
            for seq in on_their_way.drain(..) {
                delivery.ended(now, seq, status(200), 0);
                over.insert(seq);
            }
            match delivery.next(now) {
                Next::Send(seq) => on_their_way.push(seq),
                Next::Drop(seq, _) => drop(over.insert(seq)),
                Next::At(at) => now = at,
                Next::Idle => assert_eq!(left(&delivery), 0, "seed {seed}: something waits for ever"),
            }
        }
        check(&delivery);
        assert_eq!(over.len() as u64, put, "seed {seed}");
    }
}
