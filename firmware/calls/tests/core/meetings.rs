//! Rooms, queues and car parks, in which legs of several calls meet.

use std::time::Duration;

use crate::stage::{Stage, meet};
use tipring_calls::CallInput;
use tipring_calls::exchange::Exchange;
use tipring_model::fetch::Method;
use tipring_model::flow::{
    Action, Announcement, Conference, Dial, DialEnd, DialOrder, Enqueue, LeftBy, LegEvent, Outcome, Places,
    QueueEnd, QueueEvent, RoomEvent, Target,
};
use tipring_model::line::LineEvent;
use tipring_model::prompt::{Prompt, PromptSource};
use tipring_model::{Cause, Digit, DigitSet};
use tipring_testkit::Clock;

const S: Duration = Duration::from_secs(1);

fn room(name: &str) -> Conference {
    Conference {
        room: name.to_owned(),
        muted: false,
        deaf: false,
        begins: true,
        ends: false,
        tone_in: true,
        tone_out: false,
        wait: Some(PromptSource::Music),
        members_max: 3,
        leave: DigitSet::of("#"),
        name: String::new(),
        coaches: None,
        records: false,
    }
}

/// So many calls, each answered.
fn calls(count: u32) -> Vec<Stage> {
    let clock = Clock::new();
    (1..=count).map(|number| Stage::new(number, clock)).collect()
}

fn enter(stage: &mut Stage, room: Conference) {
    let leg = stage.first();
    stage.start(1, leg, Action::Conference(room));
}

fn left(stage: &Stage) -> Option<LeftBy> {
    let outcome = stage.outcome()?;
    let Outcome::Left(left) = outcome else { panic!("{outcome:?}") };
    Some(left.by)
}

#[test]
fn everybody_in_a_room_hears_everybody() {
    let (mut exchange, mut calls) = (Exchange::default(), calls(4));
    for call in calls.iter_mut().take(3) {
        enter(call, room("a"));
    }
    let wires = meet(&mut exchange, &mut calls);
    assert_eq!(wires, ["o0.1>o0.2", "o0.2>o0.1", "o0.1>o0.3", "o0.3>o0.1", "o0.2>o0.3", "o0.3>o0.2"]);
    assert!(calls[0].said().iter().any(|line| line.contains("Tones")), "a tone for those who are there");
    // The fourth finds no room, and the others hear nothing of it.
    enter(&mut calls[3], room("a"));
    assert!(meet(&mut exchange, &mut calls).is_empty());
    assert_eq!(left(&calls[3]), Some(LeftBy::Full));
    // One leaves by his key, one hangs up.
    let leg = calls[1].first();
    calls[1].digit(leg, Digit::D1);
    calls[1].digit(leg, Digit::Hash);
    assert_eq!(meet(&mut exchange, &mut calls), ["o0.2|o0.1", "o0.1|o0.2", "o0.2|o0.3", "o0.3|o0.2"]);
    assert_eq!(left(&calls[1]), Some(LeftBy::Key(Digit::Hash)));
    let leg = calls[2].first();
    calls[2].released(leg, Cause::NormalClearing);
    assert_eq!(meet(&mut exchange, &mut calls), ["o0.3|o0.1", "o0.1|o0.3"]);
    let told = calls[0].events.iter().map(|(_, event)| event.clone()).collect::<Vec<_>>();
    assert_eq!(
        told,
        [
            LegEvent::Room(RoomEvent::Entered { members: 1, began: true, coached: true }),
            LegEvent::Room(RoomEvent::Joined { members: 2 }),
            LegEvent::Room(RoomEvent::Joined { members: 3 }),
            LegEvent::Room(RoomEvent::Parted { members: 2 }),
            LegEvent::Room(RoomEvent::Parted { members: 1 }),
        ]
    );
}

#[test]
fn a_room_begins_and_ends_with_its_moderator() {
    let (mut exchange, mut calls) = (Exchange::default(), calls(3));
    for call in calls.iter_mut().take(2) {
        enter(call, Conference { begins: false, ..room("a") });
    }
    assert!(meet(&mut exchange, &mut calls).is_empty(), "nobody hears anybody yet");
    assert_eq!(calls[0].said(), ["play o0.1 Music"]);
    enter(&mut calls[2], Conference { ends: true, ..room("a") });
    assert_eq!(meet(&mut exchange, &mut calls).len(), 6);
    assert!(calls[0].said().contains(&"stop o0.1 1".to_owned()));
    calls[0].wait(60 * S);
    let leg = calls[2].first();
    calls[2].released(leg, Cause::NormalClearing);
    assert_eq!(meet(&mut exchange, &mut calls).len(), 6, "all are parted");
    assert_eq!((left(&calls[0]), left(&calls[1])), (Some(LeftBy::RoomEnded), Some(LeftBy::RoomEnded)));
    assert_eq!(exchange.rooms().count(), 0);
}

#[test]
fn who_is_muted_is_not_heard_and_who_coaches_is_heard_by_one() {
    let (mut exchange, mut calls) = (Exchange::default(), calls(3));
    enter(&mut calls[0], Conference { name: "agent".to_owned(), ..room("a") });
    enter(&mut calls[1], Conference { muted: true, ..room("a") });
    enter(&mut calls[2], coach("agent"));
    let wires = meet(&mut exchange, &mut calls);
    assert_eq!(wires, ["o0.1>o0.2", "o0.1>o0.3", "o0.3>o0.1"]);
}

fn coach(of: &str) -> Conference {
    Conference { coaches: Some(of.to_owned()), ..room("a") }
}

#[test]
fn a_coach_who_is_there_first_is_heard_by_nobody_else() {
    let (mut exchange, mut calls) = (Exchange::default(), calls(3));
    enter(&mut calls[0], room("a"));
    enter(&mut calls[1], coach("agent"));
    assert_eq!(meet(&mut exchange, &mut calls), ["o0.1>o0.2"]);
    let uncoached = LegEvent::Room(RoomEvent::Entered { members: 2, began: true, coached: false });
    assert_eq!(calls[1].events[0].1, uncoached);
    enter(&mut calls[2], Conference { name: "agent".to_owned(), ..room("a") });
    let wires = meet(&mut exchange, &mut calls);
    assert_eq!(wires, ["o0.1>o0.3", "o0.3>o0.1", "o0.2>o0.3", "o0.3>o0.2"]);
}

#[test]
fn who_is_on_hold_is_not_heard_meanwhile() {
    let (mut exchange, mut calls) = (Exchange::default(), calls(3));
    for call in calls.iter_mut().take(2) {
        enter(call, room("a"));
    }
    meet(&mut exchange, &mut calls);
    let held = |call: &mut Stage, held| {
        let leg = call.first();
        call.give(CallInput::Line(LineEvent::Held { leg, held }));
    };
    held(&mut calls[0], true);
    held(&mut calls[0], true);
    assert_eq!(meet(&mut exchange, &mut calls), ["o0.1|o0.2"]);
    // Whoever comes meanwhile does not hear him either.
    enter(&mut calls[2], room("a"));
    assert!(!meet(&mut exchange, &mut calls).contains(&"o0.1>o0.3".to_owned()));
    held(&mut calls[0], false);
    assert_eq!(meet(&mut exchange, &mut calls), ["o0.1>o0.2", "o0.1>o0.3"]);
    let told: Vec<&LegEvent> = calls[0].events.iter().map(|(_, event)| event).collect();
    assert!(told.contains(&&LegEvent::Held(true)) && told.contains(&&LegEvent::Held(false)));
}

#[test]
fn a_room_is_recorded_while_anybody_is_there_who_wants_that() {
    let (mut exchange, mut calls) = (Exchange::default(), calls(4));
    enter(&mut calls[0], room("a"));
    for call in calls.iter_mut().skip(1) {
        enter(call, Conference { records: true, members_max: 4, ..room("a") });
    }
    meet(&mut exchange, &mut calls);
    let records = |calls: &[Stage]| -> Vec<bool> {
        let told = LegEvent::Room(RoomEvent::Records);
        calls.iter().map(|call| call.events.iter().any(|(_, event)| *event == told)).collect()
    };
    assert_eq!(records(&calls), [false, true, false, false]);
    for (gone, expected) in [(2, [false, true, false, false]), (1, [false, true, false, true])] {
        let leg = calls[gone].first();
        calls[gone].released(leg, Cause::NormalClearing);
        meet(&mut exchange, &mut calls);
        assert_eq!(records(&calls), expected);
    }
}

fn wait_in(queue: &str, places: Option<Places>) -> Action {
    Action::Enqueue(Enqueue { queue: queue.to_owned(), waiting_max: 2, places })
}

fn take_from(queue: &str, announce: Option<&str>) -> Dial {
    let announce = announce.map(|url| Announcement { url: url.to_owned(), method: Method::Post });
    Dial::new(vec![Target::Queue { name: queue.to_owned(), announce }], DialOrder::AllAtOnce, 30 * S)
}

#[test]
fn who_has_waited_longest_is_taken_first() {
    let (mut exchange, mut calls) = (Exchange::default(), calls(4));
    for call in calls.iter_mut().take(3) {
        let leg = call.first();
        call.start(1, leg, wait_in("help", None));
        call.start(2, leg, Action::Prompt(Prompt::once(PromptSource::Music)));
    }
    meet(&mut exchange, &mut calls);
    assert!(matches!(calls[2].outcome(), Some(Outcome::Queued(queued)) if queued.end == QueueEnd::Full));
    calls.iter_mut().for_each(|call| call.wait(10 * S));
    let agent = calls[3].first();
    let mut dial = take_from("help", None);
    dial.hang_up = DigitSet::of("*");
    calls[3].start(1, agent, Action::Dial(dial));
    assert_eq!(meet(&mut exchange, &mut calls), ["o0.1>o0.4", "o0.4>o0.1"]);
    assert!(calls[0].said().contains(&"stop o0.1 1".to_owned()), "the music ends");
    let positions: Vec<&QueueEvent> = calls[1]
        .events
        .iter()
        .filter_map(|(_, event)| if let LegEvent::Queue(event) = event { Some(event) } else { None })
        .collect();
    assert!(matches!(
        positions.as_slice(),
        [
            QueueEvent::Position { position: 2, waiting: 2, .. },
            QueueEvent::Position { position: 1, waiting: 1, average, .. }
        ] if *average == 10 * S
    ));
    calls.iter_mut().for_each(|call| call.wait(5 * S));
    calls[3].digit(agent, Digit::Star);
    assert_eq!(meet(&mut exchange, &mut calls), ["o0.1|o0.4", "o0.4|o0.1"]);
    let Some(Outcome::Queued(queued)) = calls[0].outcome() else { panic!() };
    assert_eq!((queued.end, queued.waited, queued.talked), (QueueEnd::Talked, 10 * S, 5 * S));
    let Some(Outcome::Dialed(dialed)) = calls[3].outcome() else { panic!() };
    assert_eq!((dialed.by, dialed.talked, dialed.answered), (DialEnd::Key(Digit::Star), 5 * S, Some(0)));
}

#[test]
fn an_empty_queue_is_waited_at_for_a_while() {
    let (mut exchange, mut calls) = (Exchange::default(), calls(2));
    let agent = calls[0].first();
    calls[0].start(1, agent, Action::Dial(take_from("help", None)));
    meet(&mut exchange, &mut calls);
    calls[0].wait(30 * S);
    meet(&mut exchange, &mut calls);
    assert!(matches!(calls[0].outcome(), Some(Outcome::Dialed(dialed)) if dialed.cause == Cause::NoAnswer));
    // Who comes later is not given to one who has gone.
    let leg = calls[1].first();
    calls[1].start(1, leg, wait_in("help", None));
    assert!(meet(&mut exchange, &mut calls).is_empty());
}

#[test]
fn who_is_called_out_may_hear_something_before() {
    let (mut exchange, mut calls) = (Exchange::default(), calls(2));
    let leg = calls[0].first();
    calls[0].start(1, leg, wait_in("help", None));
    let agent = calls[1].first();
    calls[1].start(1, agent, Action::Dial(take_from("help", Some("http://a.test/next"))));
    assert!(meet(&mut exchange, &mut calls).is_empty(), "not connected yet");
    let called = calls[0].events.iter().any(|(_, event)| {
        matches!(event, LegEvent::Queue(QueueEvent::Called { announce: Some(told), .. }) if told.url == "http://a.test/next")
    });
    assert!(called);
    calls[0].start(2, leg, Action::Accept);
    assert_eq!(meet(&mut exchange, &mut calls), ["o0.1>o0.2", "o0.2>o0.1"]);
    calls[0].released(leg, Cause::NormalClearing);
    meet(&mut exchange, &mut calls);
    assert!(matches!(calls[1].outcome(), Some(Outcome::Dialed(dialed)) if dialed.by == DialEnd::Target));
}

#[test]
fn a_parked_call_is_fetched_from_its_place() {
    let (mut exchange, mut calls) = (Exchange::default(), calls(4));
    let park = |first, last| wait_in("lot", Some(Places { first, last }));
    for call in calls.iter_mut().take(2) {
        let leg = call.first();
        call.start(1, leg, park(71, 72));
    }
    meet(&mut exchange, &mut calls);
    let place = |call: &Stage| {
        call.events.iter().find_map(|(_, event)| {
            let LegEvent::Queue(QueueEvent::Position { place, .. }) = event else { return None };
            *place
        })
    };
    assert_eq!((place(&calls[0]), place(&calls[1])), (Some(71), Some(72)));
    let leg = calls[2].first();
    calls[2].start(1, leg, Action::Dial(take_from("lot.72", None)));
    assert_eq!(meet(&mut exchange, &mut calls), ["o0.2>o0.3", "o0.3>o0.2"]);
    // The place is free again; a taken one is not given twice.
    let leg = calls[3].first();
    calls[3].start(1, leg, park(71, 71));
    meet(&mut exchange, &mut calls);
    assert!(matches!(calls[3].outcome(), Some(Outcome::Queued(queued)) if queued.end == QueueEnd::Full));
}

#[test]
fn a_call_that_breaks_leaves_nobody_behind() {
    let (mut exchange, mut calls) = (Exchange::default(), calls(3));
    enter(&mut calls[0], room("a"));
    enter(&mut calls[1], room("a"));
    let leg = calls[2].first();
    calls[2].start(1, leg, wait_in("help", None));
    meet(&mut exchange, &mut calls);
    for call in 1..=3 {
        exchange.call_gone(calls[0].now(), call);
    }
    assert_eq!(exchange.rooms().count(), 0);
    assert_eq!(exchange.queues().map(|(_, waiting)| waiting).sum::<usize>(), 0);
}
