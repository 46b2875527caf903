//! What a Dial can be told, with lines that do what each test says.

use std::time::Duration;

use crate::stage::{Stage, caller, placed, targets};
use tipring_calls::CallInput;
use tipring_model::flow::{Action, Dial, DialEnd, DialOrder, Dialed, LegEvent, Outcome, Ringback};
use tipring_model::line::LineEvent;
use tipring_model::prompt::PromptSource;
use tipring_model::{Cause, Digit, DigitSet};

const S: Duration = Duration::from_secs(1);

fn all(count: usize, ring_max: Duration) -> Dial {
    Dial::new(targets(count), DialOrder::AllAtOnce, ring_max)
}

fn dialed(stage: &Stage) -> Dialed {
    match stage.outcome() {
        Some(Outcome::Dialed(dialed)) => dialed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn targets_ring_after_their_own_delay_and_for_their_own_time() {
    let mut dial = all(3, 20 * S);
    dial.targets[1].delay = 5 * S;
    dial.targets[1].ring_max = Some(4 * S);
    dial.targets[2].delay = 30 * S;
    let mut stage = Stage::answered(Action::Dial(dial));
    assert_eq!(stage.said(), ["place p1.1 200"]);
    stage.wait(5 * S);
    assert_eq!(stage.said(), ["place p1.2 201"]);
    stage.wait(4 * S);
    assert_eq!(stage.said(), ["release p1.2 no-answer"]);
    stage.released(placed(2), Cause::NoAnswer);
    // The round is over before the third would ring.
    stage.wait(11 * S);
    assert_eq!(stage.said(), ["release p1.1 no-answer"]);
    assert_eq!(dialed(&stage).cause, Cause::NoAnswer);
}

#[test]
fn rounds_come_again_but_not_faster_than_one_a_second() {
    let mut dial = Dial::new(targets(2), DialOrder::InOrder, 10 * S);
    dial.rounds = 2;
    let mut stage = Stage::answered(Action::Dial(dial));
    for leg in [1, 2] {
        assert_eq!(stage.said(), [format!("place p1.{leg} {}", 199 + leg)]);
        stage.released(placed(leg), Cause::Busy);
    }
    assert_eq!(stage.said(), [""; 0], "the second round waits");
    stage.wait(S);
    assert_eq!(stage.said(), ["place p1.3 200"]);
    stage.wait(10 * S);
    assert_eq!(stage.said(), ["release p1.3 no-answer", "place p1.4 201"]);
    stage.released(placed(4), Cause::Unallocated);
    assert_eq!(dialed(&stage).cause, Cause::Busy, "the most telling refusal");
}

#[test]
fn a_round_is_bounded_whoever_rings() {
    let mut dial = Dial::new(targets(3), DialOrder::InOrder, 10 * S);
    dial.round_max = Some(12 * S);
    let mut stage = Stage::answered(Action::Dial(dial));
    stage.wait(10 * S);
    stage.wait(2 * S);
    let said = stage.said();
    assert_eq!(
        said,
        ["place p1.1 200", "release p1.1 no-answer", "place p1.2 201", "release p1.2 no-answer"]
    );
    assert!(stage.outcome().is_some(), "the third is not rung");
}

#[test]
fn one_refusal_can_end_it_all() {
    for (cause, ends) in [(Cause::Busy, true), (Cause::Rejected, true), (Cause::Unallocated, false)] {
        let mut dial = all(2, 20 * S);
        dial.stops_at_refusal = true;
        let mut stage = Stage::answered(Action::Dial(dial));
        stage.released_with(placed(1), cause, Some(486));
        assert_eq!(stage.outcome().is_some(), ends, "{cause}");
        if ends {
            assert_eq!((dialed(&stage).cause, dialed(&stage).status), (cause, Some(486)));
            assert!(stage.said().contains(&"release p1.2 cancelled".to_owned()));
        }
    }
}

#[test]
fn the_caller_ends_the_talk_by_a_key_and_stays() {
    let mut dial = all(1, 20 * S);
    dial.hang_up = DigitSet::of("*");
    let mut stage = Stage::answered(Action::Dial(dial));
    stage.digit(caller(), Digit::Star);
    stage.answer(placed(1));
    stage.said();
    stage.digit(caller(), Digit::D1);
    assert!(stage.outcome().is_none());
    stage.wait(7 * S);
    stage.digit(caller(), Digit::Star);
    let said = stage.said();
    assert_eq!(said, ["disconnect o0.1 p1.1", "disconnect p1.1 o0.1", "release p1.1 normal-clearing"]);
    let dialed = dialed(&stage);
    assert_eq!((dialed.by, dialed.talked, dialed.answered), (DialEnd::Key(Digit::Star), 7 * S, Some(0)));
}

#[test]
fn a_talk_has_its_longest_time() {
    let mut dial = all(1, 20 * S);
    dial.talk_max = Some(60 * S);
    let mut stage = Stage::answered(Action::Dial(dial));
    stage.answer(placed(1));
    stage.wait(59 * S);
    assert!(stage.outcome().is_none());
    stage.wait(S);
    assert_eq!((dialed(&stage).by, dialed(&stage).talked), (DialEnd::Limit, 60 * S));
    assert!(stage.said().contains(&"release p1.1 normal-clearing".to_owned()));
}

#[test]
fn a_target_that_is_held_is_connected_when_the_flow_accepts_it() {
    let mut dial = all(2, 20 * S);
    dial.reports = true;
    dial.targets[0].held = true;
    let mut stage = Stage::answered(Action::Dial(dial));
    stage.alerting(placed(1));
    stage.said();
    stage.answer(placed(1));
    // The other is let go; the caller hears the ringing go on.
    assert_eq!(stage.said(), ["release p1.2 answered-elsewhere"]);
    stage.start(9, placed(1), Action::Accept);
    assert_eq!(stage.said(), ["stop o0.1 1", "connect o0.1 p1.1", "connect p1.1 o0.1"]);
    assert_eq!(stage.outcome_of(9), Some(Outcome::Done));
    stage.released(placed(1), Cause::NormalClearing);
    assert_eq!((dialed(&stage).by, dialed(&stage).leg), (DialEnd::Target, Some(placed(1))));
    let told: Vec<&LegEvent> =
        stage.events.iter().filter(|(leg, _)| *leg == placed(1)).map(|(_, e)| e).collect();
    assert!(matches!(
        told.as_slice(),
        [
            LegEvent::Placed { target: 0, .. },
            LegEvent::Alerting,
            LegEvent::Answered(_),
            LegEvent::Released(_)
        ]
    ));
}

#[test]
fn a_target_that_is_held_and_goes_counts_as_no_answer() {
    let mut dial = all(1, 20 * S);
    dial.reports = true;
    dial.targets[0].held = true;
    let mut stage = Stage::answered(Action::Dial(dial));
    stage.answer(placed(1));
    stage.wait(60 * S);
    assert!(stage.outcome().is_none(), "a flow may take its time");
    stage.released(placed(1), Cause::NormalClearing);
    assert_eq!((dialed(&stage).answered, dialed(&stage).cause), (None, Cause::NoAnswer));
}

#[test]
fn nothing_else_can_be_accepted() {
    let mut stage = Stage::answered(Action::Dial(all(1, 20 * S)));
    stage.answer(placed(1));
    stage.start(9, placed(1), Action::Accept);
    assert!(matches!(stage.outcome_of(9), Some(Outcome::Failed(_))));
}

#[test]
fn ringback_is_what_the_flow_wants() {
    for (ringback, expected) in [
        (Ringback::Tone, "play o0.1 Tone(Ringback)"),
        (Ringback::ToneOf("gb".to_owned()), "play o0.1 ToneOf(\"gb\", Ringback)"),
        (Ringback::Prompt(PromptSource::Music), "play o0.1 Music"),
        (Ringback::Silence, ""),
    ] {
        let mut dial = all(1, 20 * S);
        dial.ringback = ringback;
        let mut stage = Stage::answered(Action::Dial(dial));
        stage.alerting(placed(1));
        let said = stage.said();
        let plays: Vec<&String> = said.iter().filter(|line| line.starts_with("play")).collect();
        assert_eq!(plays.first().map_or("", |line| line.as_str()), expected);
        stage.answer(placed(1));
        assert_eq!(stage.said().iter().any(|line| line.starts_with("stop")), !expected.is_empty());
    }
}

#[test]
fn what_a_line_lets_hear_that_fails_gives_way_to_the_next_one() {
    let mut dial = all(1, 20 * S);
    dial.early_media = true;
    let mut stage = Stage::answered(Action::Dial(dial));
    let early = |stage: &mut Stage| {
        stage.give(CallInput::Line(LineEvent::Alerting { leg: placed(1), early_media: true }));
    };
    early(&mut stage);
    assert_eq!(stage.said(), ["place p1.1 200", "connect p1.1 o0.1"]);
    // Once it is tried over another line, its sound is another one.
    stage.give(CallInput::TriedAgain(placed(1)));
    assert_eq!(stage.said(), ["disconnect p1.1 o0.1"]);
    early(&mut stage);
    assert_eq!(stage.said(), ["connect p1.1 o0.1"]);
    stage.answer(placed(1));
    assert_eq!(stage.said(), ["connect o0.1 p1.1", "connect p1.1 o0.1"]);
    // Of one that is answered there is no other line.
    stage.give(CallInput::TriedAgain(placed(1)));
    assert_eq!(stage.said(), [""; 0]);
}
