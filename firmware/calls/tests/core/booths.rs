//! Booths: legs without a party, what they mix, and what plays in them.

use std::time::Duration;

use crate::stage::{Stage, caller, placed};
use tipring_calls::exchange::ExchangeRequest;
use tipring_calls::{CallInput, Limits, MediaEvent};
use tipring_model::flow::{
    Action, ActionFailure, Booth, Conference, FlowOutput, LegEvent, MIX_MAX, Outcome, Record, Sides,
};
use tipring_model::prompt::{Prompt, PromptSource};
use tipring_model::{ActionId, Cause, DigitSet, LegId, PlayId};

const NARROW: Action = Action::Booth(Booth { wide: false });

/// An answered caller, and a booth: `p1.1`, of action #1.
fn with_a_booth() -> Stage {
    let mut stage = Stage::answered(NARROW);
    assert_eq!(stage.said(), ["booth p1.1"]);
    let placed_by = LegEvent::Placed { by: ActionId(1), target: 0 };
    assert_eq!(stage.events, [(placed(1), placed_by)]);
    stage
}

fn music() -> Action {
    Action::Prompt(Prompt::once(PromptSource::Music))
}

#[test]
fn a_mix_changes_without_a_gap_for_those_who_stay() {
    let mut stage = with_a_booth();
    stage.start(2, caller(), NARROW);
    stage.start(3, placed(1), Action::Mix(vec![caller()]));
    assert_eq!(stage.said(), ["booth p1.2", "connect o0.1 p1.1"]);
    stage.start(4, placed(1), Action::Mix(vec![placed(2), caller(), caller(), placed(1), placed(9)]));
    assert_eq!(stage.said(), ["connect p1.2 p1.1"]);
    assert_eq!(stage.outcome_of(3), Some(Outcome::Cancelled));
    stage.start(5, placed(1), Action::Mix(vec![placed(2)]));
    assert_eq!(stage.said(), ["disconnect o0.1 p1.1"]);
    stage.start(6, placed(1), Action::Mix(Vec::new()));
    assert_eq!(stage.said(), ["disconnect p1.2 p1.1"]);
    stage.start(8, caller(), Action::Mix(vec![placed(1)]));
    assert_eq!(stage.outcome_of(8), Some(Outcome::Failed(ActionFailure::LegState)), "no booth");
    let many = (0..=MIX_MAX as u32).map(|seq| LegId::placed(2, seq)).collect();
    stage.start(7, placed(1), Action::Mix(many));
    assert_eq!(stage.outcome_of(7), Some(Outcome::Failed(ActionFailure::Limit)));
}

#[test]
fn who_is_gone_is_mixed_no_more_and_the_recording_goes_on() {
    let mut stage = with_a_booth();
    let record = Record::new("r".to_owned(), Sides::Played, Duration::from_secs(60));
    stage.start(2, placed(1), Action::Record(record));
    stage.start(3, placed(1), Action::Mix(vec![caller()]));
    stage.said();
    stage.released(caller(), Cause::NormalClearing);
    assert_eq!(stage.said(), ["disconnect o0.1 p1.1"]);
    assert_eq!((stage.outcome_of(2), stage.outcome_of(3)), (None, None));
    // It ends with the call, and the call waits for it.
    stage.end();
    assert_eq!(stage.said(), ["release p1.1 normal-clearing"]);
    stage.released(placed(1), Cause::NormalClearing);
    assert_eq!(stage.said(), [""; 0]);
    stage.recorded(1, Some("r.wav"));
    assert_eq!(stage.said(), ["over normal-clearing by caller"]);
}

#[test]
fn what_plays_in_a_booth_begins_stands_still_and_goes_on() {
    let mut stage = with_a_booth();
    stage.start(2, placed(1), music());
    assert_eq!(stage.said(), ["play p1.1 Music"]);
    let length = Some(Duration::from_millis(1_500));
    stage.give(CallInput::Media(placed(1), MediaEvent::PlayBegan(PlayId(1), length)));
    assert_eq!(stage.events.last(), Some(&(placed(1), LegEvent::Playing(ActionId(2), length))));
    stage.ask(FlowOutput::Suspend(ActionId(2), true));
    stage.ask(FlowOutput::Suspend(ActionId(2), false));
    stage.ask(FlowOutput::Suspend(ActionId(7), true));
    assert_eq!(stage.said(), ["stand-still p1.1 1", "go-on p1.1 1"]);
    // What is on its way out stands no more.
    stage.ask(FlowOutput::Cancel(ActionId(2)));
    stage.ask(FlowOutput::Suspend(ActionId(2), true));
    assert_eq!(stage.said(), ["stop p1.1 1"]);
}

#[test]
fn a_booth_that_is_closed_leaves_its_room_and_ends_what_plays_in_it() {
    let mut stage = with_a_booth();
    stage.start(2, placed(1), Action::Conference(room()));
    stage.start(3, placed(1), music());
    stage.start(4, placed(1), Action::Mix(vec![caller()]));
    assert_eq!(stage.outcome_of(4), Some(Outcome::Failed(ActionFailure::LegState)));
    stage.ask(FlowOutput::Cancel(ActionId(1)));
    stage.said();
    assert_eq!(stage.outcome_of(1), None);
    stage.released(placed(1), Cause::NormalClearing);
    for id in [2, 3] {
        assert_eq!(stage.outcome_of(id), Some(Outcome::LegGone), "{id}");
    }
    assert_eq!(stage.outcome_of(1), Some(Outcome::Cancelled));
    assert!(matches!(stage.asked.last(), Some((_, ExchangeRequest::Leave))));
}

#[test]
fn there_are_so_many_booths_and_no_more() {
    let mut stage = with_a_booth();
    let most = Limits::default().booths_max as u32;
    for id in 2..=most + 1 {
        stage.start(id, caller(), NARROW);
    }
    assert_eq!(stage.outcome_of(most + 1), Some(Outcome::Failed(ActionFailure::Limit)));
    // One that the engine has no room for has not been there; another may come in its place.
    stage.released(placed(3), Cause::NoCircuit);
    assert_eq!(stage.outcome_of(3), Some(Outcome::Failed(ActionFailure::Limit)));
    stage.start(most + 2, caller(), NARROW);
    assert_eq!(stage.outcome_of(most + 2), None);
}

#[test]
fn records_of_calls_do_not_name_booths() {
    let mut stage = Stage::without_a_leg();
    stage.ask(FlowOutput::Start { id: ActionId(1), on: None, action: NARROW });
    stage.end();
    stage.released(placed(1), Cause::NormalClearing);
    assert_eq!(stage.said().last().map(String::as_str), Some("over normal-clearing by flow"));
    assert_eq!(stage.legs_of_record(), Some(0));
}

fn room() -> Conference {
    Conference {
        room: "r".to_owned(),
        name: String::new(),
        muted: false,
        deaf: true,
        begins: true,
        ends: false,
        tone_in: false,
        tone_out: false,
        wait: None,
        members_max: 40,
        leave: DigitSet::NONE,
        coaches: None,
        records: false,
    }
}
