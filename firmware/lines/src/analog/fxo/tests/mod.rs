//! The exchange line in virtual time.

mod device;
mod outgoing;
mod ringing;
mod simulation;
mod supervision;

use std::time::Instant;

use tipring_model::line::PlaceExtras;
use tipring_model::settings::{RawSettings, RawValue, Settings};
use tipring_model::{CallerId, LegId};

use super::{Fxo, FxoSettings};
use crate::analog::contract::{CallerIdStandard, Heard, HeardCaller, HeardTone, Input, Output};
use crate::analog::country::CountryPlan;
use crate::analog::wire::{LINE, Machine, Wire};
use crate::port::{Cadence, PortKind, RxSignal};

impl Machine for Fxo {
    fn handle(&mut self, now: Instant, input: Input) {
        self.handle(now, input);
    }

    fn poll(&mut self) -> Option<Output> {
        self.poll()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.poll_timeout()
    }

    fn kind(&self) -> PortKind {
        PortKind::Line
    }

    fn is_off_hook(&self) -> bool {
        self.is_off_hook()
    }
}

/// Something that happens to a line.
type Deed = fn(&mut Wire<Fxo>);

fn text(text: &str) -> RawValue {
    RawValue::Text(text.to_owned())
}

fn wire(plan: CountryPlan, more: &[(&str, RawValue)]) -> Wire<Fxo> {
    let mut raw = RawSettings::new();
    raw.set("port", text("card1/1"));
    raw.set("number", text("5550199"));
    for (key, value) in more {
        raw.set(key, value.clone());
    }
    let mut wire = Wire::new(Fxo::new(LINE, FxoSettings::parse(&raw).unwrap(), plan));
    wire.give(Input::Present);
    wire.says(&["up", "listen caller-id"]);
    wire
}

/// An American line at rest.
fn line(more: &[(&str, RawValue)]) -> Wire<Fxo> {
    wire(CountryPlan::default(), more)
}

impl Wire<Fxo> {
    /// The exchange rings once in this cadence.
    fn ring(&mut self, cadence: &str) {
        let cadence = Cadence::parse(cadence).unwrap();
        for (at, ms) in cadence.steps_ms().iter().enumerate() {
            self.signal(if at % 2 == 0 { RxSignal::RingOn } else { RxSignal::RingOff });
            self.wait_ms(u64::from(*ms));
        }
    }

    fn caller(&mut self, standard: CallerIdStandard, number: &str) {
        let caller = CallerId::of(number);
        self.give(Input::Heard(Heard::CallerId(HeardCaller { standard, caller })));
    }

    fn tone(&mut self, tone: HeardTone) {
        self.give(Input::Heard(Heard::Tone(tone)));
    }

    fn hear(&mut self, heard: Heard) {
        self.give(Input::Heard(heard));
    }

    fn dial(&mut self, to: &str) -> LegId {
        self.place_to(to, CallerId::of("201"), PlaceExtras::default())
    }

    /// 5550100 is dialled, and the answer awaited.
    fn dialled(&mut self) -> LegId {
        let leg = self.dial("5550100");
        self.wait_ms(300);
        self.tone(HeardTone::Dial);
        self.wait_ms(800);
        self.give(Input::SoundEnded);
        self.said();
        leg
    }

    /// A call that came is talked on.
    fn talk(&mut self) -> LegId {
        self.ring("2000-4000");
        self.caller(CallerIdStandard::Bellcore, "5550100");
        let leg = *self.offered.last().unwrap();
        self.answer(leg);
        self.wait_ms(2_000);
        self.said();
        leg
    }
}
