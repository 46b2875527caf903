//! Calls that are taken from where they ring, and telephones that are spoken to all at once.

use std::time::Duration;

use crate::stage::{Stage, meet, placed, targets};
use tipring_calls::exchange::Exchange;
use tipring_model::flow::{
    Action, ActionFailure, Dial, DialEnd, DialOrder, DialTarget, Dialed, Outcome, Page, PickUp, Record, Sides,
};
use tipring_model::{Cause, Digit, DigitSet, LegId};
use tipring_testkit::Clock;

const S: Duration = Duration::from_secs(1);

fn calls(count: u32) -> Vec<Stage> {
    let clock = Clock::new();
    (1..=count).map(|number| Stage::new(number, clock)).collect()
}

/// Rings 200 and so on.
fn rings(count: usize) -> Dial {
    Dial::new(targets(count), DialOrder::AllAtOnce, 30 * S)
}

fn dial(stage: &mut Stage, dial: Dial) {
    let leg = stage.first();
    stage.start(1, leg, Action::Dial(dial));
}

fn pick_up(stage: &mut Stage, id: u32, at: &str, answered: bool) {
    let leg = stage.first();
    stage.start(id, leg, Action::PickUp(PickUp { at: vec![at.to_owned()], answered }));
}

fn dialed(stage: &Stage, id: u32) -> Option<Dialed> {
    let outcome = stage.outcome_of(id)?;
    let Outcome::Dialed(dialed) = outcome else { panic!("{outcome:?}") };
    Some(dialed)
}

#[test]
fn a_call_that_was_withdrawn_is_not_to_be_taken() {
    let (mut exchange, mut calls) = (Exchange::default(), calls(3));
    dial(&mut calls[0], rings(2));
    dial(&mut calls[1], rings(1));
    meet(&mut exchange, &mut calls);
    exchange.withdraw(1);
    pick_up(&mut calls[2], 1, "201", true);
    assert_eq!(meet(&mut exchange, &mut calls), [""; 0], "it goes on ringing");
    pick_up(&mut calls[2], 2, "200", true);
    assert_eq!(meet(&mut exchange, &mut calls), ["o0.2>o0.3", "o0.3>o0.2"], "the other can be taken");
}

#[test]
fn a_call_that_rings_is_taken_by_another() {
    let (mut exchange, mut calls) = (Exchange::default(), calls(3));
    let record = Record::new("talk".to_owned(), Sides::Both, 60 * S);
    dial(&mut calls[0], Dial { record: Some(record), hang_up: DigitSet::of("*"), ..rings(2) });
    calls[0].alerting(placed(1));
    meet(&mut exchange, &mut calls);
    calls[0].said();
    pick_up(&mut calls[1], 1, "201", false);
    assert_eq!(meet(&mut exchange, &mut calls), ["o0.1>o0.2", "o0.2>o0.1"]);
    let said = calls[0].said();
    assert!(said.contains(&"release p1.1 answered-elsewhere".to_owned()), "{said:?}");
    assert!(said.contains(&"release p1.2 answered-elsewhere".to_owned()), "{said:?}");
    assert!(said.contains(&"record o0.1 1".to_owned()), "{said:?}");
    assert_eq!(calls[0].steps, ["picked-up ok at 201 by 15550100"]);
    assert_eq!(calls[1].steps, ["pick-up ok 15550100 from 201"]);
    // Telephones that stop ringing change nothing; a second comes too late.
    calls[0].released(placed(1), Cause::AnsweredElsewhere);
    calls[0].released(placed(2), Cause::AnsweredElsewhere);
    pick_up(&mut calls[2], 1, "200", true);
    meet(&mut exchange, &mut calls);
    assert_eq!(dialed(&calls[2], 1), Some(Dialed::nobody(Cause::Unallocated)));
    calls.iter_mut().for_each(|call| call.wait(5 * S));
    let leg = calls[0].first();
    calls[0].digit(leg, Digit::Star);
    assert_eq!(meet(&mut exchange, &mut calls), ["o0.1|o0.2", "o0.2|o0.1"]);
    let of_caller = dialed(&calls[0], 1).unwrap();
    assert_eq!((of_caller.answered, of_caller.talked), (Some(1), 5 * S));
    assert_eq!((of_caller.by, of_caller.leg), (DialEnd::Key(Digit::Star), Some(calls[1].first())));
    let of_taker = dialed(&calls[1], 1).unwrap();
    assert_eq!((of_taker.by, of_taker.talked), (DialEnd::Target, 5 * S));
}

#[test]
fn a_caller_who_is_not_answered_is_answered_first() {
    let (mut exchange, clock) = (Exchange::default(), Clock::new());
    let mut calls = vec![Stage::offered(1, clock), Stage::new(2, clock)];
    dial(&mut calls[0], rings(1));
    meet(&mut exchange, &mut calls);
    calls[0].said();
    pick_up(&mut calls[1], 1, "200", false);
    assert!(meet(&mut exchange, &mut calls).is_empty(), "not connected before the answer");
    let leg = calls[0].first();
    let answer = format!("{:?}", tipring_model::line::LineCommand::Answer { leg });
    assert!(calls[0].said().contains(&answer));
    calls[0].answer(leg);
    assert_eq!(meet(&mut exchange, &mut calls), ["o0.1>o0.2", "o0.2>o0.1"]);
    // Whoever has taken it hangs up: the flow of the caller goes on.
    let taker = calls[1].first();
    calls[1].released(taker, Cause::NormalClearing);
    assert_eq!(meet(&mut exchange, &mut calls).len(), 2);
    assert_eq!(dialed(&calls[0], 1).map(|dialed| dialed.by), Some(DialEnd::Target));
}

#[test]
fn what_has_rung_longest_is_taken_first_and_an_answered_call_by_those_who_ask_for_it() {
    let (mut exchange, mut calls) = (Exchange::default(), calls(5));
    for call in calls.iter_mut().take(2) {
        dial(call, rings(1));
        call.alerting(LegId::placed(1, 1));
    }
    meet(&mut exchange, &mut calls);
    // The first is answered: the second rings longest now.
    calls[0].answer(placed(1));
    meet(&mut exchange, &mut calls);
    calls[0].said();
    pick_up(&mut calls[2], 1, "200", true);
    assert_eq!(meet(&mut exchange, &mut calls), ["o0.2>o0.3", "o0.3>o0.2"]);
    pick_up(&mut calls[3], 1, "200", false);
    meet(&mut exchange, &mut calls);
    assert_eq!(dialed(&calls[3], 1), Some(Dialed::nobody(Cause::Unallocated)));
    calls[0].wait(7 * S);
    pick_up(&mut calls[4], 1, "200", true);
    assert_eq!(meet(&mut exchange, &mut calls), ["o0.1>o0.5", "o0.5>o0.1"]);
    let said = calls[0].said();
    assert!(said.contains(&"disconnect p1.1 o0.1".to_owned()), "{said:?}");
    assert!(said.contains(&"release p1.1 answered-elsewhere".to_owned()), "{said:?}");
    calls[0].released(placed(1), Cause::AnsweredElsewhere);
    calls[0].wait(3 * S);
    let leg = calls[0].first();
    calls[0].released(leg, Cause::NormalClearing);
    assert_eq!(meet(&mut exchange, &mut calls).len(), 2);
    assert!(dialed(&calls[4], 1).is_some());
}

#[test]
fn nobody_takes_his_own_call_or_one_that_rings_no_more() {
    let (mut exchange, mut calls) = (Exchange::default(), calls(2));
    dial(&mut calls[0], rings(1));
    let leg = calls[0].first();
    calls[0].start(2, leg, Action::PickUp(PickUp { at: vec!["200".to_owned()], answered: true }));
    meet(&mut exchange, &mut calls);
    assert_eq!(calls[0].outcome_of(2), Some(Outcome::Failed(ActionFailure::LegState)), "it dials already");
    for gone in [false, true] {
        if gone {
            calls[0].wait(30 * S);
            calls[0].released(placed(1), Cause::NoAnswer);
            meet(&mut exchange, &mut calls);
        }
        pick_up(&mut calls[1], 1 + u32::from(gone), if gone { "200" } else { "207" }, true);
        meet(&mut exchange, &mut calls);
        assert_eq!(dialed(&calls[1], 1 + u32::from(gone)), Some(Dialed::nobody(Cause::Unallocated)));
    }
}

#[test]
fn who_takes_a_call_and_hangs_up_before_it_is_ready_leaves_nobody_hanging() {
    let (mut exchange, clock) = (Exchange::default(), Clock::new());
    let mut calls = vec![Stage::offered(1, clock), Stage::new(2, clock)];
    dial(&mut calls[0], rings(1));
    meet(&mut exchange, &mut calls);
    pick_up(&mut calls[1], 1, "200", false);
    meet(&mut exchange, &mut calls);
    let taker = calls[1].first();
    calls[1].released(taker, Cause::NormalClearing);
    meet(&mut exchange, &mut calls);
    assert_eq!(dialed(&calls[0], 1).map(|dialed| dialed.talked), Some(Duration::ZERO));
    // The answer that was on its way finds nobody who waits for it.
    let leg = calls[0].first();
    calls[0].answer(leg);
    assert!(meet(&mut exchange, &mut calls).is_empty());
}

fn page(count: usize, two_way: bool) -> Action {
    let targets = targets(count).into_iter().map(DialTarget::new).collect();
    Action::Page(Page { targets, two_way, ring_max: 5 * S, length_max: 60 * S, caller_id: None })
}

#[test]
fn those_who_are_paged_hear_the_speaker_alone() {
    let mut stage = Stage::answered(page(4, false));
    assert_eq!(stage.said().len(), 4, "all ring");
    stage.answer(placed(1));
    stage.wait(S);
    stage.answer(placed(2));
    stage.released(placed(3), Cause::Busy);
    assert_eq!(stage.said(), ["connect o0.1 p1.1", "connect o0.1 p1.2"]);
    stage.wait(5 * S);
    assert_eq!(stage.said(), ["release p1.4 no-answer"]);
    stage.released(placed(4), Cause::NoAnswer);
    stage.released(placed(1), Cause::NormalClearing);
    assert_eq!(stage.said(), ["disconnect o0.1 p1.1"]);
    assert_eq!(stage.outcome(), None, "the other still listens");
    stage.released(placed(2), Cause::NormalClearing);
    let Some(Outcome::Dialed(dialed)) = stage.outcome() else { panic!() };
    assert_eq!((dialed.answered, dialed.talked, dialed.by), (Some(0), 6 * S, DialEnd::Target));
}

#[test]
fn a_page_both_ways_is_a_room() {
    let mut stage = Stage::answered(page(2, true));
    stage.said();
    stage.answer(placed(1));
    stage.answer(placed(2));
    let said = stage.said();
    assert_eq!(said.len(), 6);
    assert!(said.contains(&"connect p1.1 p1.2".to_owned()) && said.contains(&"connect p1.2 o0.1".to_owned()));
    // The speaker hangs up: everybody is let go.
    let leg = stage.first();
    stage.released(leg, Cause::NormalClearing);
    let said = stage.said();
    assert_eq!(said.iter().filter(|line| line.starts_with("disconnect")).count(), 6, "{said:?}");
    assert_eq!(said.iter().filter(|line| line.starts_with("release")).count(), 2);
    assert_eq!(stage.outcome(), Some(Outcome::LegGone));
}

#[test]
fn a_page_has_an_end_and_nobody_is_told_apart() {
    let mut stage = Stage::answered(page(1, false));
    stage.answer(placed(1));
    stage.wait(60 * S);
    let Some(Outcome::Dialed(dialed)) = stage.outcome() else { panic!() };
    assert_eq!((dialed.by, dialed.talked), (DialEnd::Limit, 60 * S));
    let mut stage = Stage::answered(page(1, false));
    stage.wait(5 * S);
    stage.released(placed(1), Cause::NoAnswer);
    assert_eq!(stage.outcome(), Some(Outcome::Dialed(Dialed::nobody(Cause::NoAnswer))));
    // More telephones than a call may have legs: those who fit are reached.
    let mut stage = Stage::answered(page(20, false));
    assert_eq!(stage.said().iter().filter(|line| line.starts_with("place")).count(), 15);
}
