//! The telephone in virtual time.

mod calls;
mod dialling;
mod recall;
mod ringing;
mod simulation;
mod transfer;

use std::time::Instant;

use tipring_model::line::LineCommand;
use tipring_model::settings::{RawSettings, RawValue, Settings};
use tipring_model::{Cause, Digit, LegId, Number};

use super::{Fxs, FxsSettings};
use crate::analog::contract::{Heard, Input, Output};
use crate::analog::country::CountryPlan;
use crate::analog::wire::{LINE, Machine, Wire};
use crate::port::{Capabilities, PortKind, RxSignal};

impl Machine for Fxs {
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
        PortKind::Phone
    }

    fn is_off_hook(&self) -> bool {
        self.is_off_hook()
    }
}

const EVERYTHING: Capabilities = Capabilities {
    kind: PortKind::Phone,
    reversal: true,
    loop_break: true,
    on_hook_audio: true,
    battery: false,
    meter: false,
    lamp: true,
};

fn text(text: &str) -> RawValue {
    RawValue::Text(text.to_owned())
}

/// Telephone 201 with further settings.
fn settings(more: &[(&str, RawValue)]) -> FxsSettings {
    let mut raw = RawSettings::new();
    raw.set("port", text("card1/1"));
    raw.set("number", text("201"));
    for (key, value) in more {
        raw.set(key, value.clone());
    }
    FxsSettings::parse(&raw).unwrap()
}

fn wire(plan: CountryPlan, more: &[(&str, RawValue)]) -> Wire<Fxs> {
    let numbers = ["202", "203", "2030"].map(Number::new);
    let mut wire = Wire::new(Fxs::new(LINE, settings(more), plan, &numbers, EVERYTHING));
    wire.give(Input::Present);
    wire.says(&["up"]);
    wire
}

/// An American telephone at rest.
fn telephone(more: &[(&str, RawValue)]) -> Wire<Fxs> {
    wire(CountryPlan::default(), more)
}

impl Wire<Fxs> {
    fn lift(&mut self) {
        self.signal(RxSignal::OffHook);
    }

    fn put_down(&mut self) {
        self.signal(RxSignal::OnHook);
    }

    fn flash(&mut self) {
        self.signal(RxSignal::Flash { ms: 500 });
    }

    fn press(&mut self, keys: &str) {
        for key in keys.chars() {
            self.give(Input::Heard(Heard::Digit(Digit::from_char(key).unwrap())));
        }
    }

    fn alert(&mut self, leg: LegId, early_media: bool) {
        self.give(Input::Command(LineCommand::Alert { leg, early_media }));
    }

    /// Calls 202, which answers.
    fn talk(&mut self) -> LegId {
        self.lift();
        self.press("202");
        let leg = *self.offered.last().unwrap();
        self.answer(leg);
        self.said();
        leg
    }

    /// Everybody hangs up.
    fn end(&mut self) {
        for leg in self.legs() {
            self.release(leg, Cause::NormalClearing);
        }
        self.put_down();
        self.wait_ms(5_000);
        assert!(self.legs().is_empty() && self.machine.legs_now() == 0);
        self.said();
    }
}
