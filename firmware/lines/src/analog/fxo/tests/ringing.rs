//! The exchange rings.

use tipring_model::Cause;
use tipring_model::settings::RawValue;

use super::{line, wire};
use crate::analog::contract::{CallerIdStandard, Heard};
use crate::analog::country::CountryPlan;
use crate::port::{Cadence, RxSignal};

fn rings(count: i64) -> (&'static str, RawValue) {
    ("caller_id_rings", RawValue::Number(count))
}

#[test]
fn the_call_is_offered_as_soon_as_the_caller_is_known() {
    for standard in
        [CallerIdStandard::Bellcore, CallerIdStandard::Etsi, CallerIdStandard::Ntt, CallerIdStandard::Dtmf]
    {
        let mut t = line(&[]);
        t.ring("2000-1500");
        t.says(&[]);
        t.caller(standard, "5550100");
        t.says(&["offered o3.1 from 5550100 to 5550199", &format!("note o3.1 CallerId({standard:?})")]);
        t.wait_ms(2_500);
        t.answer(t.offered[0]);
        t.says(&["signal off-hook", "join o3.1", "answered o3.1 Signalled", "listen tones+caller-id+voice"]);
        t.wait_ms(1_000);
        t.says(&["listen tones+voice"]);
        t.release(t.offered[0], Cause::NormalClearing);
        t.says(&[
            "note o3.1 End(OwnRelease)",
            "part o3.1",
            "signal on-hook",
            "released o3.1 normal-clearing",
            "listen caller-id",
        ]);
    }
}

#[test]
fn without_a_caller_it_is_offered_after_the_rings_that_were_to_be_waited_for() {
    // How many; when, in ms after the first ring began (2 s on, 4 s off).
    for (count, after_ms) in [(0, 64), (1, 3_000), (2, 8_100), (3, 14_100)] {
        let mut t = line(&[rings(count)]);
        let mut waited = 0;
        for _ in 0..3 {
            for (signal, ms) in [(RxSignal::RingOn, 2_000), (RxSignal::RingOff, 4_000)] {
                t.signal(signal);
                for _ in 0..ms {
                    t.wait_ms(1);
                    waited += 1;
                    if !t.said().is_empty() {
                        assert_eq!(waited, after_ms, "{count} rings");
                    }
                }
            }
        }
        assert_eq!(t.offered.len(), 1, "{count} rings");
    }
}

#[test]
fn a_caller_told_before_the_first_ring_is_kept_for_it_but_not_for_ever() {
    let mut t = line(&[]);
    t.caller(CallerIdStandard::Etsi, "5550100");
    t.caller(CallerIdStandard::Dtmf, "5550111");
    t.wait_ms(500);
    t.says(&[]);
    t.signal(RxSignal::RingOn);
    t.wait_ms(64);
    t.says(&["offered o3.1 from 5550100 to 5550199", "note o3.1 CallerId(Etsi)"]);
    let mut t = line(&[]);
    t.caller(CallerIdStandard::Etsi, "5550100");
    t.wait_ms(10_000);
    t.ring("2000-4000");
    t.says(&[]);
    t.ring("2000-200");
    t.says(&[
        "offered o3.1 from anonymous to 5550199",
        "note o3.1 Ring(Cadence { steps_ms: [2000, 4000, 0, 0, 0, 0, 0, 0], len: 2 })",
    ]);
}

#[test]
fn a_caller_told_too_late_is_noted() {
    let mut t = line(&[rings(0)]);
    t.ring("2000-1000");
    t.hear(Heard::CallerIdGarbled(CallerIdStandard::Bellcore));
    t.said();
    t.caller(CallerIdStandard::Bellcore, "5550100");
    t.says(&["note o3.1 CallerId(Bellcore)"]);
    t.caller(CallerIdStandard::Dtmf, "5550100");
    t.says(&[]);
}

#[test]
fn the_ring_says_which_number_was_dialled() {
    let other = RawValue::List(vec!["400-200-400-4400=5550101".to_owned(), "1000-5000=5550102".to_owned()]);
    for (cadence, to) in [("400-200-400-4400", "5550101"), ("1100-4900", "5550102"), ("2000-4000", "5550199")]
    {
        let mut t = line(&[("distinctive", other.clone())]);
        // The caller is told before the ring is known to its end.
        t.signal(RxSignal::RingOn);
        t.wait_ms(100);
        t.caller(CallerIdStandard::Bellcore, "5550100");
        t.says(&[]);
        let first: u64 = cadence.split('-').next().unwrap().parse().unwrap();
        t.wait_ms(first - 100);
        for (at, ms) in cadence.split('-').skip(1).enumerate() {
            t.signal(if at % 2 == 0 { RxSignal::RingOff } else { RxSignal::RingOn });
            t.wait_ms(ms.parse().unwrap());
        }
        assert_eq!(t.said().first(), Some(&format!("offered o3.1 from 5550100 to {to}")), "{cadence}");
    }
}

#[test]
fn a_caller_has_given_up_when_it_no_longer_rings() {
    for (plan, gap_ms) in [("2000-4000", 8_000), ("1000-6000", 9_000), ("400-200-400-2000", 8_000)] {
        let ring = Cadence::parse(plan).unwrap();
        let mut t = wire(CountryPlan { ring, ..CountryPlan::default() }, &[rings(0)]);
        t.ring("2000-100");
        t.said();
        t.wait_ms(gap_ms - 1);
        t.says(&[]);
        t.wait_ms(1);
        t.says(&["released o3.1 cancelled"]);
        assert_eq!(t.machine.poll_timeout(), None);
    }
    // A line that rings more slowly than its country is waited for.
    let mut t = line(&[rings(0)]);
    t.ring("2000-7500");
    t.ring("2000-100");
    t.said();
    t.wait_ms(11_249);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["released o3.1 cancelled"]);
}

#[test]
fn a_scratch_on_the_wire_is_no_call() {
    let mut t = line(&[rings(0)]);
    t.signal(RxSignal::RingOn);
    t.wait_ms(30);
    t.signal(RxSignal::RingOff);
    t.wait_ms(60_000);
    t.says(&[]);
    assert_eq!(t.machine.poll_timeout(), None);
}

#[test]
fn voltage_that_stays_ends_the_call() {
    let mut t = line(&[rings(0)]);
    t.signal(RxSignal::RingOn);
    t.wait_ms(64);
    t.said();
    t.wait_ms(10_000);
    t.says(&["released o3.1 cancelled"]);
}

#[test]
fn a_call_that_is_refused_rings_out_and_is_not_offered_again() {
    let mut t = line(&[rings(0)]);
    t.ring("2000-4000");
    t.said();
    t.release(t.offered[0], Cause::Busy);
    t.says(&["released o3.1 busy"]);
    t.ring("2000-4000");
    t.caller(CallerIdStandard::Bellcore, "5550100");
    t.ring("2000-4000");
    t.says(&[]);
    let leg = t.dial("5");
    assert!(!t.legs().contains(&leg), "the line is not free");
    t.said();
    t.wait_ms(8_000);
    t.ring("2000-4000");
    t.says(&["offered o3.2 from anonymous to 5550199"]);
}

#[test]
fn answered_at_a_telephone_beside_the_box_the_call_is_over() {
    let mut t = line(&[rings(0)]);
    t.ring("2000-1000");
    t.said();
    t.signal(RxSignal::InUse(true));
    t.wait_ms(1_000);
    t.says(&["released o3.1 answered-elsewhere", "down InUse"]);
    t.signal(RxSignal::InUse(false));
    t.wait_ms(1_000);
    t.says(&["up"]);
}
