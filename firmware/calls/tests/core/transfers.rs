//! Transfers, with lines that do what each test says.

use std::time::Duration;

use crate::stage::{Stage, caller, placed, targets};
use tipring_calls::CallInput;
use tipring_model::flow::{
    Action, ActionFailure, Dial, DialEnd, DialOrder, Dialed, Outcome, Referred, Target,
};
use tipring_model::line::{LineEvent, ReferReply, Referral, TransferStage};
use tipring_model::{CallerId, Cause, LegId, Number};

const S: Duration = Duration::from_secs(1);

fn referral(to: &str) -> Box<Referral> {
    let address = format!("sip:{to}@office");
    Box::new(Referral { to: Number::new(to), address, replaces: None, by: "<sip:200@office>".to_owned() })
}

/// A caller who talks with 200.
fn talking(dial: Dial) -> Stage {
    let mut stage = Stage::answered(Action::Dial(dial));
    stage.alerting(placed(1));
    stage.answer(placed(1));
    stage.said();
    stage
}

fn dial() -> Dial {
    Dial::new(targets(1), DialOrder::AllAtOnce, 20 * S)
}

fn refer(stage: &mut Stage, leg: LegId) -> Vec<String> {
    stage.give(CallInput::Line(LineEvent::Refer { leg, referral: referral("203") }));
    stage.said()
}

fn goes(stage: &mut Stage, leg: LegId, at: TransferStage) -> Vec<String> {
    stage.give(CallInput::Line(LineEvent::Transferring { leg, stage: at }));
    stage.said()
}

fn dialed(stage: &Stage) -> Option<Dialed> {
    match stage.outcome() {
        Some(Outcome::Dialed(dialed)) => Some(dialed),
        _ => None,
    }
}

#[test]
fn the_dial_goes_on_with_the_new_party() {
    let mut stage = talking(dial());
    let said = refer(&mut stage, placed(1));
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("Transfer") && said[0].contains("15550100"), "{said:?}");
    stage.wait(5 * S);
    assert_eq!(goes(&mut stage, placed(1), TransferStage::Ringing), ["play o0.1 Tone(Ringback)"]);
    assert_eq!(goes(&mut stage, placed(1), TransferStage::Ringing), [""; 0], "it rings once");
    assert_eq!(goes(&mut stage, placed(1), TransferStage::Done), ["stop o0.1 2"]);
    assert_eq!(stage.steps, ["Transfer 200 to 203 ok"]);
    assert_eq!(dialed(&stage), None);
    stage.wait(10 * S);
    stage.released(placed(1), Cause::NormalClearing);
    let end = dialed(&stage).unwrap();
    assert_eq!((end.talked, end.by, end.refer_to), (15 * S, DialEnd::Target, None));
}

#[test]
fn a_transfer_that_fails_leaves_the_two_as_they_were() {
    let mut stage = talking(dial());
    refer(&mut stage, placed(1));
    goes(&mut stage, placed(1), TransferStage::Ringing);
    let said = goes(&mut stage, placed(1), TransferStage::Failed(486));
    assert_eq!(said, ["stop o0.1 2"]);
    assert_eq!(stage.steps, ["Transfer 200 to 203 failed 486"]);
    assert_eq!(dialed(&stage), None);
    // And again, the other way round: the caller hands over the one he called.
    let said = refer(&mut stage, caller());
    assert!(said[0].contains("200"), "{said:?}");
    assert_eq!(goes(&mut stage, caller(), TransferStage::Ringing), ["play p1.1 Tone(Ringback)"]);
    stage.released(placed(1), Cause::NormalClearing);
    stage.said();
    assert_eq!(goes(&mut stage, caller(), TransferStage::Failed(487)), [""; 0]);
    assert_eq!(stage.steps.last().map(String::as_str), Some("Transfer 15550100 to 203 failed 487"));
}

#[test]
fn a_leg_that_goes_takes_its_transfer_with_it() {
    let mut stage = talking(dial());
    refer(&mut stage, placed(1));
    goes(&mut stage, placed(1), TransferStage::Ringing);
    stage.released(placed(1), Cause::NormalClearing);
    assert!(stage.said().contains(&"stop o0.1 2".to_owned()));
    assert_eq!(goes(&mut stage, placed(1), TransferStage::Done), [""; 0]);
}

#[test]
fn not_everybody_can_be_transferred() {
    let refused = |leg: LegId| [format!("EndTransfer {{ leg: {leg:?}, status: 603 }}")];
    let mut stage = Stage::answered(Action::Dial(dial()));
    stage.said();
    assert_eq!(refer(&mut stage, placed(1)), refused(placed(1)), "it only rings");
    let mut stage = talking(dial());
    refer(&mut stage, placed(1));
    assert_eq!(refer(&mut stage, placed(1)), refused(placed(1)), "one at a time");
    stage.end();
    stage.said();
    assert_eq!(refer(&mut stage, caller()), refused(caller()), "the call is ending");
}

#[test]
fn a_dial_that_wants_to_be_told_ends() {
    let mut stage = talking(Dial { takes_refer: true, ..dial() });
    stage.wait(7 * S);
    let said = refer(&mut stage, placed(1));
    assert_eq!(
        said,
        [
            format!("EndTransfer {{ leg: {:?}, status: 200 }}", placed(1)),
            "disconnect o0.1 p1.1".to_owned(),
            "disconnect p1.1 o0.1".to_owned(),
            "release p1.1 normal-clearing".to_owned(),
        ]
    );
    let end = dialed(&stage).unwrap();
    assert_eq!((end.talked, end.answered, end.refer_to.as_deref()), (7 * S, Some(0), Some("sip:203@office")));
    // The caller's own wish is nothing that a dial decides.
    let mut stage = talking(Dial { takes_refer: true, ..dial() });
    assert!(refer(&mut stage, caller())[0].contains("Transfer {"));
}

#[test]
fn another_telephone_is_written_down() {
    let mut stage = talking(dial());
    stage.give(CallInput::Line(LineEvent::Replaced { leg: placed(1), by: CallerId::of("203") }));
    assert_eq!(stage.steps, ["Replace 200 by 203 ok"]);
}

fn asks() -> Stage {
    let mut stage = Stage::answered(Action::Refer(Target::Sip("other@pbx.test".to_owned())));
    assert!(stage.said()[0].contains("Refer { leg"));
    stage
}

fn replies(stage: &mut Stage, reply: ReferReply) {
    stage.give(CallInput::Line(LineEvent::Referred { leg: caller(), reply }));
}

#[test]
fn the_far_end_says_what_became_of_our_refer() {
    for (call, released) in [(Some(200), true), (Some(486), false), (None, false)] {
        let mut stage = asks();
        replies(&mut stage, ReferReply::Answered(202));
        assert_eq!(stage.outcome(), None);
        replies(&mut stage, ReferReply::Ended(call));
        assert_eq!(stage.outcome(), Some(Outcome::Referred(Referred { response: 202, call })));
        stage.wait(4 * S);
        assert_eq!(stage.said(), [""; 0], "the flow has time to hear of it");
        stage.wait(2 * S);
        let said = stage.said();
        assert_eq!(said, if released { vec!["release o0.1 normal-clearing"] } else { vec![] }, "{call:?}");
    }
    // The report may overtake the answer.
    let mut stage = asks();
    replies(&mut stage, ReferReply::Ended(Some(200)));
    replies(&mut stage, ReferReply::Answered(202));
    assert_eq!(stage.outcome(), Some(Outcome::Referred(Referred { response: 202, call: Some(200) })));
}

#[test]
fn a_far_end_that_refuses_or_says_nothing() {
    let mut stage = asks();
    replies(&mut stage, ReferReply::Answered(405));
    assert_eq!(stage.outcome(), Some(Outcome::Referred(Referred { response: 405, call: None })));
    for (answered, response) in [(None, 408), (Some(202), 202)] {
        let mut stage = asks();
        if let Some(status) = answered {
            replies(&mut stage, ReferReply::Answered(status));
        }
        stage.wait(61 * S);
        assert_eq!(stage.outcome(), Some(Outcome::Referred(Referred { response, call: None })));
    }
    let mut stage = asks();
    stage.start(2, caller(), Action::Refer(Target::Number("203".to_owned())));
    assert_eq!(stage.outcome_of(2), Some(Outcome::Failed(ActionFailure::LegState)), "one at a time");
    stage.released(caller(), Cause::NormalClearing);
    assert_eq!(stage.outcome(), Some(Outcome::LegGone));
}
