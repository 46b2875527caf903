//! What flows and far ends say by signalling, with lines that do what each test says.

use std::time::Duration;

use crate::stage::{Stage, caller, placed, targets};
use tipring_calls::CallInput;
use tipring_model::flow::{
    Action, ActionFailure, Dial, DialOrder, LegEvent, Outcome, Place, Referred, Target,
};
use tipring_model::line::{LineCommand, LineEvent, Offer, PlaceExtras, ReferReply, Referral, TransferStage};
use tipring_model::signal::{FarSignal, LegSignal, Remark, RemarkKind, SignalExtras, Takes};
use tipring_model::{CallerId, Cause, LegId, LineId, Number};
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

#[test]
fn somebody_calls_a_session_that_runs() {
    let mut stage = Stage::session();
    let leg = LegId::offered(LineId(9), 1);
    let offer = |leg| Offer {
        leg,
        from: CallerId::of("201"),
        to: Number::new("room"),
        origin: Box::default(),
        codec: "L16",
    };
    stage.said();
    stage.give(CallInput::Line(LineEvent::Offered(offer(leg))));
    assert!(stage.events.contains(&(leg, LegEvent::Offered(Box::new(offer(leg))))));
    assert_eq!(stage.said(), [format!("{:?}", LineCommand::Alert { leg, early_media: false })]);
    stage.start(1, leg, Action::Answer);
    stage.answer(leg);
    assert_eq!(stage.outcome_of(1), Some(Outcome::Done));
    stage.start(2, leg, Action::Bridge(caller()));
    stage.said();
    stage.released(leg, Cause::NormalClearing);
    assert!(stage.events.contains(&(leg, LegEvent::Released(Cause::NormalClearing))));
    assert_eq!(stage.outcome_of(2), Some(Outcome::Done));
    for seq in 2..=20 {
        stage.give(CallInput::Line(LineEvent::Offered(offer(LegId::offered(LineId(9), seq)))));
    }
    assert_eq!(
        stage.said().iter().filter(|line| line.starts_with("release")).count(),
        4,
        "16 legs at a time"
    );
}

#[test]
fn a_text_needs_an_answered_leg() {
    let mut stage = Stage::offered(1, Clock::new());
    let (media_type, body, headers) = ("text/plain".to_owned(), b"hello".to_vec(), Vec::new());
    let remark = LegSignal::Remark(Remark { kind: RemarkKind::Message, media_type, body, headers });
    stage.said();
    stage.start(1, caller(), says(remark.clone()));
    assert_eq!(stage.outcome_of(1), Some(Outcome::Failed(ActionFailure::LegState)));
    stage.answer(caller());
    stage.said();
    stage.start(2, caller(), says(remark.clone()));
    assert_eq!((stage.said(), stage.outcome_of(2)), (vec![said(caller(), remark)], Some(Outcome::Done)));
}

fn asks(stage: &mut Stage, replaces: Option<LegId>) {
    stage.events.clear();
    let (to, address, by) =
        (Number::new("203"), "sip:203@box.test".to_owned(), "sip:201@box.test".to_owned());
    let referral = Box::new(Referral { to, address, replaces, by });
    stage.give(CallInput::Line(LineEvent::Refer { leg: caller(), referral }));
}

fn ended(status: u16) -> String {
    format!("{:?}", LineCommand::EndTransfer { leg: caller(), status })
}

#[test]
fn a_flow_is_asked_for_a_transfer_in_place_of_the_box() {
    let takes = LegSignal::Takes(Takes { remarks: false, referrals: true });
    let mut stage = Stage::answered(says(takes));
    let answer =
        |stage: &mut Stage, id, status| stage.start(id, caller(), says(LegSignal::AnswerReferral(status)));
    answer(&mut stage, 2, 200);
    stage.said();
    asks(&mut stage, None);
    let asked = LegEvent::Signalled(Box::new(FarSignal::Referral("sip:203@box.test".to_owned())));
    assert!(stage.events.contains(&(caller(), asked)));
    assert_eq!(stage.said(), [ended(100)], "it is under way");
    answer(&mut stage, 3, 486);
    answer(&mut stage, 4, 200);
    assert_eq!(stage.said(), [ended(486)], "it is answered once");
    // The line gives up, and what is asked next goes to the flow again.
    asks(&mut stage, None);
    stage.said();
    let stage_failed = TransferStage::Failed(480);
    stage.give(CallInput::Line(LineEvent::Transferring { leg: caller(), stage: stage_failed }));
    answer(&mut stage, 5, 200);
    assert_eq!(stage.said(), [""; 0], "it is too late");
    asks(&mut stage, None);
    assert_eq!(stage.said(), [ended(100)]);
    answer(&mut stage, 6, 200);
    stage.said();
    asks(&mut stage, Some(placed(9)));
    assert!(
        stage.said().iter().any(|line| line.starts_with("Transfer")),
        "to a call of his own: the box does it"
    );
}

#[test]
fn a_far_end_is_asked_to_take_another_leg_over() {
    let mut stage = Stage::answered(place());
    let refer = LegSignal::Refer(placed(1));
    stage.said();
    stage.start(2, caller(), says(refer.clone()));
    assert_eq!(stage.outcome_of(2), Some(Outcome::Failed(ActionFailure::LegState)), "it only rings");
    stage.answer(placed(1));
    stage.said();
    stage.start(3, caller(), says(refer.clone()));
    assert_eq!(stage.said(), [said(caller(), refer)]);
    for reply in [ReferReply::Answered(202), ReferReply::Ended(Some(200))] {
        stage.give(CallInput::Line(LineEvent::Referred { leg: caller(), reply }));
    }
    let referred = Referred { response: 202, call: Some(200) };
    assert_eq!(stage.outcome_of(3), Some(Outcome::Referred(referred)));
    stage.start(4, caller(), says(LegSignal::Refer(caller())));
    assert_eq!(stage.outcome_of(4), Some(Outcome::Failed(ActionFailure::LegState)), "itself");
}
