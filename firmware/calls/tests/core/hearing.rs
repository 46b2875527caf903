//! One leg hears another, with lines that do what each test says.

use std::time::Duration;

use crate::stage::{Stage, caller, placed};
use tipring_calls::{CallInput, MediaEvent};
use tipring_model::flow::{Action, ActionFailure, Conference, Hear, LegEvent, Outcome, Pause, Place, Target};
use tipring_model::line::{LineEvent, PlaceExtras};
use tipring_model::prompt::{Prompt, PromptSource};
use tipring_model::{CallerId, Cause, DigitSet, LegId};
use tipring_testkit::Clock;

const HEAR_1: &str = "connect p1.1 o0.1";

fn place() -> Action {
    Action::Place(Place {
        target: Target::Number("200".to_owned()),
        caller_id: CallerId::default(),
        ring_max: Duration::from_secs(20),
        extras: PlaceExtras { headers: vec![("X-A".to_owned(), "1".to_owned())], ..PlaceExtras::default() },
    })
}

fn hear(from: LegId) -> Action {
    Action::Hear(Hear { from, keys: false })
}

/// A caller who is answered, and 200 and 201, which ring.
fn two_placed() -> Stage {
    let mut stage = Stage::answered(place());
    stage.start(2, caller(), place());
    stage.said();
    stage
}

#[test]
fn sound_begins_when_both_have_it_and_ends_with_either() {
    let mut stage = two_placed();
    stage.start(3, caller(), hear(placed(1)));
    assert_eq!(stage.said(), [""; 0], "200 only rings");
    stage.answer(placed(1));
    assert_eq!(stage.said(), [HEAR_1]);
    stage.released(placed(1), Cause::NormalClearing);
    assert_eq!(stage.said(), ["disconnect p1.1 o0.1"]);
    assert_eq!(stage.outcome_of(3), Some(Outcome::Done));
}

#[test]
fn a_placed_leg_is_heard_before_it_answers() {
    let mut stage = two_placed();
    stage.start(3, caller(), hear(placed(1)));
    stage.give(CallInput::Line(LineEvent::Alerting { leg: placed(1), early_media: true }));
    assert_eq!(stage.said(), [HEAR_1]);
    let early = stage.events.iter().filter(|event| **event == (placed(1), LegEvent::EarlyMedia)).count();
    stage.give(CallInput::Line(LineEvent::Alerting { leg: placed(1), early_media: true }));
    assert_eq!((early, stage.said()), (1, vec![]), "it is told once");
    // Over another line it is another sound.
    stage.give(CallInput::TriedAgain(placed(1)));
    stage.give(CallInput::Line(LineEvent::Alerting { leg: placed(1), early_media: true }));
    assert_eq!(stage.said(), ["connect p1.1 o0.1"]);
}

#[test]
fn each_hears_one_and_a_new_one_takes_the_place_of_the_old() {
    let mut stage = two_placed();
    stage.answer(placed(1));
    stage.answer(placed(2));
    stage.start(3, caller(), hear(placed(1)));
    stage.start(4, placed(2), hear(placed(1)));
    assert_eq!(stage.said(), [HEAR_1, "connect p1.1 p1.2"]);
    stage.start(5, caller(), hear(placed(2)));
    assert_eq!(stage.said(), ["disconnect p1.1 o0.1", "connect p1.2 o0.1"]);
    assert_eq!(stage.outcome_of(3), Some(Outcome::Cancelled));
    // Who is in a bridge hears that one.
    stage.start(6, placed(1), Action::Bridge(caller()));
    assert_eq!(stage.outcome_of(6), None);
    stage.start(7, placed(1), hear(placed(2)));
    assert_eq!(stage.outcome_of(7), Some(Outcome::Failed(ActionFailure::LegState)));
}

fn room(deaf: bool) -> Action {
    Action::Conference(Conference {
        room: "r".to_owned(),
        name: String::new(),
        muted: false,
        deaf,
        begins: true,
        ends: false,
        tone_in: false,
        tone_out: false,
        wait: None,
        members_max: 40,
        leave: DigitSet::NONE,
        coaches: None,
        records: false,
    })
}

#[test]
fn who_enters_a_room_hears_it_and_nobody_else_unless_he_is_deaf_there() {
    let mut stage = two_placed();
    stage.answer(placed(1));
    stage.start(3, caller(), hear(placed(1)));
    stage.said();
    stage.start(4, caller(), room(true));
    assert_eq!((stage.outcome_of(3), stage.outcome_of(4)), (None, None), "his ears are free");
    stage.start(5, caller(), hear(placed(1)));
    assert_eq!((stage.outcome_of(3), stage.outcome_of(5)), (Some(Outcome::Cancelled), None));
    stage.start(6, placed(1), hear(caller()));
    stage.said();
    stage.start(7, placed(1), room(false));
    assert_eq!(stage.outcome_of(7), Some(Outcome::Failed(ActionFailure::LegState)), "they talk");
    let mut stage = two_placed();
    stage.answer(placed(1));
    stage.start(3, caller(), hear(placed(1)));
    stage.said();
    stage.start(4, caller(), room(false));
    assert_eq!((stage.outcome_of(3), stage.outcome_of(4)), (Some(Outcome::Cancelled), None));
    assert!(stage.said().contains(&"disconnect p1.1 o0.1".to_owned()));
    stage.start(5, caller(), hear(placed(1)));
    assert_eq!(stage.outcome_of(5), Some(Outcome::Failed(ActionFailure::LegState)), "he hears the room");
}

#[test]
fn nobody_hears_himself_or_who_is_not_there() {
    let mut stage = two_placed();
    for (id, from) in [(3, caller()), (4, placed(9))] {
        stage.start(id, caller(), hear(from));
        assert_eq!(stage.outcome_of(id), Some(Outcome::Failed(ActionFailure::LegState)), "{id}");
    }
}

#[test]
fn an_offered_leg_hears_what_is_played_once_there_is_early_media() {
    let mut stage = Stage::offered(1, Clock::new());
    let leg = stage.first();
    stage.said();
    let prompt = || Action::Prompt(Prompt::once(PromptSource::Music));
    stage.start(1, leg, prompt());
    assert_eq!(stage.outcome_of(1), Some(Outcome::Failed(ActionFailure::LegState)));
    stage.start(2, leg, Action::EarlyMedia);
    stage.start(3, leg, prompt());
    let said = stage.said();
    assert!(said[0].contains("early_media: true"), "{said:?}");
    assert_eq!(said[1..], ["play o0.1 Music"]);
    assert_eq!((stage.outcome_of(2), stage.outcome_of(3)), (Some(Outcome::Done), None));
    // A second time nothing more is said.
    stage.start(4, leg, Action::EarlyMedia);
    assert_eq!((stage.outcome_of(4), stage.said()), (Some(Outcome::Done), vec![]));
}

#[test]
fn who_wants_to_know_hears_that_nothing_comes_and_that_something_does() {
    let silent = |silent| CallInput::Media(caller(), MediaEvent::Silent(silent));
    let mut stage = Stage::answered(Action::Pause(pause()));
    stage.give(silent(true));
    assert_eq!(stage.events, [], "nobody has asked");
    stage.start(2, caller(), Action::Watch(Duration::from_secs(7)));
    assert_eq!(stage.said(), ["watch o0.1 7s"]);
    for is_silent in [true, false] {
        stage.give(silent(is_silent));
        assert_eq!(stage.events.pop(), Some((caller(), LegEvent::Silent(is_silent))));
    }
    stage.released(caller(), Cause::NormalClearing);
    assert_eq!(stage.outcome_of(2), Some(Outcome::LegGone));
}

fn pause() -> Pause {
    Pause { length: Duration::from_secs(60), finish: DigitSet::NONE, keeps_key: false }
}
