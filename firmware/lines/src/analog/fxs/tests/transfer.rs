//! Two parties are joined by hanging up.

use tipring_model::line::{LineCommand, Referral};
use tipring_model::settings::RawValue;
use tipring_model::{CallerId, Cause, LegId, Number};

use super::recall::two_parties;
use super::{Fxs, telephone};
use crate::analog::contract::Input;
use crate::analog::wire::Wire;

impl Wire<Fxs> {
    /// The calls let them be joined.
    fn transfer(&mut self, first: LegId, second: LegId) {
        let referral = Referral {
            to: Number::new("203"),
            address: String::new(),
            replaces: Some(second),
            by: String::new(),
        };
        let from = CallerId::default();
        let referral = Box::new(referral);
        self.give(Input::Command(LineCommand::Transfer { leg: first, from, referral }));
    }

    fn end_transfer(&mut self, leg: LegId, status: u16) {
        self.give(Input::Command(LineCommand::EndTransfer { leg, status }));
    }
}

/// 202 is held, 203 is talked to, and the receiver is put down.
fn handed_over(t: &mut Wire<Fxs>) -> (LegId, LegId) {
    let (first, second) = two_parties(t);
    t.wait_ms(10_000);
    t.put_down();
    t.says(&[&format!("part {second}"), &format!("refer {first} to 203 replaces {second}")]);
    (first, second)
}

#[test]
fn whoever_hangs_up_between_two_joins_them_and_is_free() {
    let mut t = telephone(&[]);
    let (first, second) = handed_over(&mut t);
    // Nobody else gets in between.
    t.place("5550100");
    t.says(&["released p1.1 busy"]);
    t.transfer(first, second);
    t.says(&["taken o3.1", "patch o3.1 o3.2", "transferring o3.1 Done"]);
    assert_eq!(t.machine.patched(second), Some(first));
    // The telephone rings for others, and makes calls.
    let other = t.place("5550100");
    t.says(&["signal ring 2000-4000", "alerting p1.2"]);
    t.lift();
    t.says(&["signal ring-off", "join p1.2", "answered p1.2 Signalled"]);
    // One of the two hangs up, and the other goes with him.
    t.release(second, Cause::NormalClearing);
    t.says(&["released o3.2 normal-clearing", "released o3.1 normal-clearing"]);
    assert_eq!((t.machine.patched(first), t.machine.legs_now()), (None, 1));
    t.release(other, Cause::NormalClearing);
    t.end();
}

#[test]
fn in_a_three_way_call_the_two_go_on() {
    let mut t = telephone(&[]);
    let (first, second) = two_parties(&mut t);
    t.flash();
    t.said();
    // Right after the flash, too.
    t.put_down();
    t.says(&["part o3.1", "held o3.1", "part o3.2", "refer o3.1 to 203 replaces o3.2"]);
    t.transfer(first, second);
    t.says(&["taken o3.1", "patch o3.1 o3.2", "transferring o3.1 Done"]);
    // The device goes: they do not need it.
    t.give(Input::Gone);
    t.says(&["down NoDevice"]);
    t.release(first, Cause::NormalClearing);
    t.says(&["released o3.1 normal-clearing", "released o3.2 normal-clearing"]);
}

#[test]
fn if_they_may_not_be_joined_the_telephone_rings_for_the_first() {
    let mut t = telephone(&[]);
    let (first, _) = handed_over(&mut t);
    t.end_transfer(first, 603);
    t.says(&["transferring o3.1 Failed(603)", "released o3.2 normal-clearing", "signal ring 2000-4000"]);
    t.lift();
    t.says(&["signal ring-off", "join o3.1", "taken o3.1"]);
    t.end();
    // Nobody says anything.
    handed_over(&mut t);
    t.wait_ms(4_999);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["transferring o3.3 Failed(408)", "released o3.4 normal-clearing", "signal ring 2000-4000"]);
    // A word that comes too late changes nothing.
    t.transfer(LegId::offered(super::LINE, 3), LegId::offered(super::LINE, 4));
    t.end_transfer(LegId::offered(super::LINE, 3), 200);
    t.says(&[]);
    t.end();
}

#[test]
fn a_receiver_that_is_lifted_meanwhile_waits_for_what_comes_of_it() {
    let mut t = telephone(&[]);
    let (first, second) = handed_over(&mut t);
    t.lift();
    t.says(&[]);
    t.transfer(first, second);
    t.says(&["taken o3.1", "patch o3.1 o3.2", "transferring o3.1 Done", "sound dial", "listen digits"]);
    t.release(first, Cause::NormalClearing);
    t.put_down();
    t.said();
    let (first, _) = handed_over(&mut t);
    t.lift();
    t.end_transfer(first, 486);
    t.says(&["transferring o3.3 Failed(486)", "released o3.4 normal-clearing", "join o3.3", "taken o3.3"]);
    t.end();
}

#[test]
fn a_flow_that_does_something_else_instead_lets_the_telephone_go() {
    let mut t = telephone(&[]);
    let (first, _) = handed_over(&mut t);
    t.end_transfer(first, 200);
    t.says(&["transferring o3.1 Done", "released o3.1 normal-clearing", "released o3.2 normal-clearing"]);
}

#[test]
fn one_of_the_two_may_hang_up_while_they_wait() {
    let mut t = telephone(&[]);
    let (_, second) = handed_over(&mut t);
    t.release(second, Cause::NormalClearing);
    t.says(&["released o3.2 normal-clearing", "transferring o3.1 Failed(481)", "signal ring 2000-4000"]);
    t.end();
    let (first, _) = handed_over(&mut t);
    t.release(first, Cause::NormalClearing);
    t.says(&["released o3.3 normal-clearing", "released o3.4 normal-clearing"]);
    t.wait_ms(10_000);
    assert!(t.legs().is_empty());
}

#[test]
fn a_caller_who_waited_is_not_handed_on_and_nobody_is_where_it_is_off() {
    let mut t = telephone(&[]);
    t.talk();
    t.place("5550100");
    t.flash();
    t.said();
    t.wait_ms(10_000);
    t.put_down();
    t.says(&["part p1.1", "released p1.1 normal-clearing", "signal ring 2000-4000"]);
    t.end();
    let mut t = telephone(&[("transfer", RawValue::Toggle(false))]);
    two_parties(&mut t);
    t.wait_ms(10_000);
    t.put_down();
    t.says(&["part o3.2", "released o3.2 normal-clearing", "signal ring 2000-4000"]);
    t.end();
    // Nor one who has not answered.
    let mut t = telephone(&[]);
    t.talk();
    t.flash();
    t.press("203#");
    t.said();
    t.wait_ms(10_000);
    t.put_down();
    t.says(&["released o3.2 cancelled", "signal ring 2000-4000"]);
    t.end();
}

#[test]
fn no_more_than_sixteen_pairs_are_joined() {
    let mut t = telephone(&[]);
    for pair in 0..16 {
        // Not more calls than a telephone may make in a minute.
        t.wait_ms(60_000);
        t.lift();
        t.press("202");
        let first = *t.offered.last().unwrap();
        t.answer(first);
        t.flash();
        t.press("203#");
        let second = *t.offered.last().unwrap();
        t.answer(second);
        t.put_down();
        t.transfer(first, second);
        assert_eq!(t.machine.patched(first), Some(second), "{pair}");
        t.said();
    }
    t.wait_ms(60_000);
    two_parties(&mut t);
    t.wait_ms(10_000);
    t.put_down();
    assert!(t.said().contains(&"signal ring 2000-4000".to_owned()));
    t.end();
}
