//! Calls that come to the telephone.

use tipring_model::line::PlaceExtras;
use tipring_model::settings::RawValue;
use tipring_model::{CallerId, Cause};

use super::{telephone, text, wire};
use crate::analog::contract::Input;
use crate::analog::country::{CallerIdMoment, CountryPlan};
use crate::port::Cadence;

#[test]
fn the_caller_is_told_between_the_first_and_the_second_ring() {
    let mut t = telephone(&[]);
    let leg = t.place("5550100");
    t.says(&["signal ring 2000-4000", "alerting p1.1"]);
    t.wait_ms(2_499);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["signal on-hook-audio", "sound caller 5550100"]);
    t.give(Input::SoundEnded);
    t.wait_ms(60_000);
    t.says(&[]);
    t.lift();
    t.says(&["signal ring-off", "join p1.1", "answered p1.1 Signalled"]);
    t.release(leg, Cause::NormalClearing);
    t.says(&["part p1.1", "released p1.1 normal-clearing", "sound busy"]);
    t.end();
}

#[test]
fn a_double_ring_leaves_the_number_its_long_silence() {
    let plan = CountryPlan { ring: Cadence::parse("400-200-400-2000").unwrap(), ..CountryPlan::default() };
    let mut t = wire(plan, &[]);
    t.place("5550100");
    t.said();
    t.wait_ms(1_499);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["signal on-hook-audio", "sound caller 5550100"]);
    t.put_down();
    t.end();
}

#[test]
fn the_caller_is_told_before_the_first_ring_where_the_country_has_it_so() {
    let moment = CallerIdMoment::BeforeFirstRing { reversal: true };
    let plan = CountryPlan { caller_id_moment: moment, ..CountryPlan::default() };
    let mut t = wire(plan.clone(), &[]);
    t.place("5550100");
    t.says(&["signal on-hook-audio", "sound caller 5550100", "alerting p1.1", "signal reverse true"]);
    t.wait_ms(1_000);
    t.give(Input::SoundEnded);
    t.wait_ms(299);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["signal ring 2000-4000", "signal reverse false"]);
    t.end();
    // A number that does not end does not hold up the ring.
    let mut t = wire(plan, &[]);
    t.place("5550100");
    t.said();
    t.wait_ms(4_000);
    t.says(&["sound quiet", "signal ring 2000-4000", "signal reverse false"]);
    t.end();
}

#[test]
fn lifted_while_the_caller_is_told_it_is_answered() {
    for moment in [CallerIdMoment::BeforeFirstRing { reversal: false }, CallerIdMoment::AfterFirstRing] {
        let mut t = wire(CountryPlan { caller_id_moment: moment, ..CountryPlan::default() }, &[]);
        let leg = t.place("5550100");
        t.wait_ms(2_600);
        t.said();
        t.lift();
        assert!(t.answered(leg));
        assert!(t.said().contains(&"sound quiet".to_owned()));
        t.end();
    }
}

#[test]
fn a_telephone_that_is_to_be_told_nothing_rings_at_once() {
    for more in [[("caller_id", RawValue::Toggle(false))], [("ring", text("1000-1000"))]] {
        let mut t = telephone(&more);
        t.place("5550100");
        assert!(t.said().iter().any(|said| said.starts_with("signal ring ")));
        t.wait_ms(60_000);
        t.says(&[]);
        t.end();
    }
}

#[test]
fn a_call_may_ask_for_another_ring() {
    let mut t = telephone(&[]);
    let headers = vec![("Alert-Info".to_owned(), "<http://127.0.0.1/Bellcore-dr3>".to_owned())];
    t.place_to("201", CallerId::of("5"), PlaceExtras { headers, ..PlaceExtras::default() });
    t.says(&["signal ring 400-200-400-200-800-4000", "alerting p1.1"]);
    t.end();
}

#[test]
fn a_caller_who_gives_up_leaves_the_telephone_at_rest() {
    let mut t = telephone(&[]);
    let leg = t.place("5550100");
    t.wait_ms(2_600);
    t.said();
    t.release(leg, Cause::Cancelled);
    t.says(&["released p1.1 cancelled", "signal ring-off", "sound quiet"]);
    assert_eq!(t.machine.poll_timeout(), None);
    t.end();
}

#[test]
fn whoever_finds_it_in_use_is_told_so() {
    let mut t = telephone(&[("call_waiting", RawValue::Toggle(false))]);
    t.lift();
    let leg = t.place("1");
    assert!(!t.legs().contains(&leg), "while it dials");
    t.put_down();
    t.said();
    t.place("1");
    t.place("2");
    assert!(t.said().contains(&"released p1.3 busy".to_owned()), "while it rings");
    t.lift();
    t.said();
    t.place("3");
    t.says(&["released p1.4 busy"]);
    t.end();
    t.lift();
    t.wait_ms(16_000);
    t.said();
    t.place("4");
    t.says(&["released p1.5 busy"]);
    t.end();
}

#[test]
fn without_its_device_it_cannot_be_reached_and_is_back_at_once() {
    let mut t = telephone(&[]);
    let leg = t.place("5550100");
    t.said();
    t.give(Input::Gone);
    t.says(&["released p1.1 temporary-failure", "down NoDevice"]);
    assert!(!t.legs().contains(&leg) && t.machine.poll_timeout().is_none());
    t.place("5550100");
    t.says(&["released p1.2 destination-out-of-order"]);
    t.lift();
    t.says(&[]);
    t.give(Input::Present);
    t.lift();
    t.says(&["up", "sound dial", "listen digits"]);
    t.end();
}
