//! How calls end that their flow does not end.

use std::time::Duration;

use tipring_calls::{CallInput, Request};
use tipring_model::call::EndedBy;
use tipring_model::flow::{Action, LegEvent, Outcome, Pause, Record, Sides};
use tipring_model::{Cause, DigitSet};

use crate::stage::{Stage, caller};

const S: Duration = Duration::from_secs(1);

fn hang_up(stage: &mut Stage) {
    stage.give(CallInput::Request(Request::HangUp(EndedBy::Operator)));
}

fn pause() -> Action {
    Action::Pause(Pause { length: 60 * S, finish: DigitSet::NONE, keeps_key: false })
}

#[test]
fn a_flow_hears_at_once_that_the_operator_ends_its_call_and_may_still_tell_of_it() {
    let mut stage = Stage::answered(pause());
    let record = Action::Record(Record::new("r".to_owned(), Sides::Both, 60 * S));
    stage.start(2, caller(), record);
    stage.said();
    hang_up(&mut stage);
    assert_eq!(stage.said(), ["release o0.1 normal-clearing"]);
    let released = [(caller(), LegEvent::Released(Cause::NormalClearing))];
    assert_eq!(stage.events, released);
    assert_eq!((stage.outcome(), stage.outcome_of(2)), (Some(Outcome::LegGone), None));
    // Nothing new is begun, and nobody is asked; what is only told goes out.
    stage.start(3, caller(), pause());
    assert_eq!(stage.outcome_of(3), Some(Outcome::LegGone));
    stage.fetch(1);
    stage.notify("told");
    assert_eq!(stage.said(), ["notify told"]);
    assert_eq!(stage.not_fetched(), [1]);
    // The line comes later and says nothing new; the recording is told of as ever.
    stage.released(caller(), Cause::NormalClearing);
    assert_eq!(stage.events, released);
    stage.recorded(1, Some("r.wav"));
    assert!(matches!(stage.outcome_of(2), Some(Outcome::Recorded(_))));
    assert_eq!(stage.said(), ["over normal-clearing by operator"]);
}

#[test]
fn a_flow_that_says_that_it_is_over_is_told_nothing_more_and_does_not_change_who_ended_the_call() {
    let mut stage = Stage::answered(pause());
    hang_up(&mut stage);
    stage.end();
    stage.notify("too late");
    stage.released(caller(), Cause::NormalClearing);
    assert_eq!(stage.said(), ["release o0.1 normal-clearing", "over normal-clearing by operator"]);
}

#[test]
fn a_flow_that_began_with_no_leg_hears_that_the_box_ends_it_and_has_a_second_for_its_own_end() {
    let mut stage = Stage::without_a_leg();
    hang_up(&mut stage);
    hang_up(&mut stage);
    assert_eq!((stage.stopped(), stage.said()), (1, Vec::new()));
    stage.notify("told");
    stage.end();
    assert_eq!(stage.said(), ["notify told", "over normal-clearing by operator"]);
    // One that does not end is ended.
    let mut stage = Stage::without_a_leg();
    hang_up(&mut stage);
    stage.wait(S - Duration::from_millis(1));
    assert_eq!(stage.said(), Vec::<String>::new());
    stage.wait(Duration::from_millis(1));
    assert_eq!((stage.stopped(), stage.said()), (1, vec!["over normal-clearing by operator".to_owned()]));
    // One that has ended is told nothing.
    let mut stage = Stage::without_a_leg();
    stage.end();
    hang_up(&mut stage);
    assert_eq!((stage.stopped(), stage.said()), (0, vec!["over normal-clearing by flow".to_owned()]));
    // A session that began with a leg hears that this is gone, and then of its own end.
    let mut stage = Stage::session();
    hang_up(&mut stage);
    assert_eq!((stage.stopped(), stage.events.len()), (1, 1));
    stage.said();
    stage.released(caller(), Cause::NormalClearing);
    stage.notify("told");
    stage.end();
    assert_eq!(stage.said(), ["notify told", "over normal-clearing by operator"]);
    // One that began with a leg hears that this is gone, and no more.
    let mut stage = Stage::answered(pause());
    hang_up(&mut stage);
    assert_eq!((stage.stopped(), stage.events.len()), (0, 1));
}

#[test]
fn a_call_of_a_day_ends_in_the_same_way_and_its_timer_does_not_ring_again() {
    let mut stage = Stage::answered(Action::Echo(200 * 3_600 * S));
    stage.said();
    stage.wait(24 * 3_600 * S);
    assert_eq!(stage.said(), ["release o0.1 recovery-on-timer", "echo o0.1 false"]);
    assert_eq!(stage.events, [(caller(), LegEvent::Released(Cause::RecoveryOnTimer))]);
    stage.wait(3_600 * S);
    stage.released(caller(), Cause::NormalClearing);
    assert_eq!(stage.said(), ["over recovery-on-timer by limit"]);
}

#[test]
fn a_caller_who_was_let_go_before_the_flow_said_so_has_not_hung_up() {
    let mut stage = Stage::answered(Action::Release(Cause::NormalClearing));
    stage.released(caller(), Cause::NormalClearing);
    stage.end();
    assert_eq!(stage.said(), ["release o0.1 normal-clearing", "over normal-clearing by flow"]);
    let mut stage = Stage::answered(pause());
    stage.released(caller(), Cause::NormalClearing);
    stage.end();
    assert_eq!(stage.said(), ["over normal-clearing by caller"]);
}
