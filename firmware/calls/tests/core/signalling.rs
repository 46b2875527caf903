//! What flows and far ends say by signalling, with lines that do what each test says.

use std::time::Duration;

use crate::stage::{Stage, caller, placed, targets};
use tipring_calls::CallInput;
use tipring_model::flow::{Action, Dial, DialOrder, LegEvent, Outcome, Place, Target};
use tipring_model::line::{LineCommand, LineEvent, PlaceExtras};
use tipring_model::signal::{FarSignal, LegSignal, SignalExtras};
use tipring_model::{CallerId, Cause, LegId};
use tipring_testkit::Clock;

fn says(signal: LegSignal) -> Action {
    Action::Signal(Box::new(signal))
}

fn said(leg: LegId, signal: LegSignal) -> String {
    format!("{:?}", LineCommand::Signal { leg, signal: Box::new(signal) })
}

fn heard(stage: &mut Stage, leg: LegId, signal: FarSignal) -> bool {
    stage.events.clear();
    stage.give(CallInput::Line(LineEvent::Signalled { leg, signal: Box::new(signal.clone()) }));
    stage.events.contains(&(leg, LegEvent::Signalled(Box::new(signal))))
}

fn place() -> Action {
    Action::Place(Place {
        target: Target::Number("200".to_owned()),
        caller_id: CallerId::default(),
        ring_max: Duration::from_secs(20),
        extras: PlaceExtras::default(),
    })
}

#[test]
fn what_a_flow_says_goes_to_the_line_before_what_it_belongs_to() {
    let mut stage = Stage::offered(1, Clock::new());
    stage.said();
    let extras = SignalExtras { status: Some(433), ..SignalExtras::default() };
    stage.start(1, caller(), says(LegSignal::Extras(extras.clone())));
    stage.start(2, caller(), Action::Reject(Cause::Rejected));
    assert_eq!(stage.said(), [said(caller(), LegSignal::Extras(extras)), "release o0.1 rejected".to_owned()]);
    assert_eq!(stage.outcome_of(1), Some(Outcome::Done));
    stage.start(3, caller(), says(LegSignal::Ringing));
    assert_eq!((stage.said(), stage.outcome_of(3)), (vec![], Some(Outcome::LegGone)));
}

#[test]
fn a_flow_hears_the_first_leg_and_those_that_it_has_placed_itself() {
    let mut stage = Stage::answered(place());
    let headers = FarSignal::Headers(vec![("X-A".to_owned(), "1".to_owned())]);
    assert!(heard(&mut stage, caller(), headers.clone()));
    assert!(heard(&mut stage, placed(1), FarSignal::Forwarding));
    let ring = Duration::from_secs(20);
    stage.start(2, caller(), Action::Dial(Dial::new(targets(1), DialOrder::AllAtOnce, ring)));
    assert!(!heard(&mut stage, placed(2), headers.clone()), "it is the dial's");
    stage.released(placed(1), Cause::Busy);
    assert!(!heard(&mut stage, placed(1), headers), "it is gone");
}
