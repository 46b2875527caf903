//! Waiting messages: the lamp of a telephone.
//!
//! A lamp by voltage is told at once. One by FSK is told when the telephone is at rest, and
//! again after each loss of the device.

use std::time::{Duration, Instant};

use super::machine::{Fxs, Stage, Timer};
use crate::analog::contract::Sound;
use crate::port::TxSignal;

/// The telephone is at rest for so long before its lamp is told.
const REST_BEFORE: Duration = Duration::from_secs(1);
/// The wire carries sound for so long.
const AUDIO_MS: u16 = 3_000;

/// What the telephone knows of waiting messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lamp {
    waiting: bool,
    /// What it was told by FSK last; `None` when that is not certain.
    told: Option<bool>,
    /// What it is being told.
    telling: Option<bool>,
    lit: bool,
}

impl Lamp {
    /// No messages, and a lamp that is dark.
    pub(super) const fn new() -> Self {
        Self { waiting: false, told: Some(false), telling: None, lit: false }
    }

    pub(super) const fn is_waiting(self) -> bool {
        self.waiting
    }

    /// The telling is over.
    pub(super) const fn told(&mut self) {
        if let Some(told) = self.telling.take() {
            self.told = Some(told);
        }
    }

    /// The device is gone, and with it the lamp.
    pub(super) const fn forget(&mut self) {
        self.told = Some(false);
        self.telling = None;
        self.lit = false;
    }
}

impl Fxs {
    pub(super) fn messages_waiting(&mut self, now: Instant, waiting: bool) {
        self.lamp.waiting = waiting;
        if self.is_present && matches!(self.stage, Stage::Rest) {
            self.plan_lamp(now);
        }
        self.light();
    }

    fn light(&mut self) {
        let can = self.is_present && self.settings.messages.lamp && self.capabilities.lamp;
        if can && self.lamp.lit != self.lamp.waiting {
            self.lamp.lit = self.lamp.waiting;
            self.signal_out(TxSignal::Lamp(self.lamp.waiting));
        }
    }

    /// The telephone has come to rest, or the messages have changed.
    pub(super) fn plan_lamp(&mut self, now: Instant) {
        self.light();
        if self.lamp.telling.take().is_some() {
            self.lamp.told = None; // Broken off.
        }
        let by_fsk = self.settings.messages.fsk && self.capabilities.on_hook_audio;
        if by_fsk && self.lamp.told != Some(self.lamp.waiting) {
            self.timers.set(Timer::Lamp, now + REST_BEFORE);
        } else {
            self.timers.stop(Timer::Lamp);
        }
    }

    pub(super) fn tell_lamp(&mut self) {
        self.lamp.telling = Some(self.lamp.waiting);
        self.signal_out(TxSignal::OnHookAudio { ms: AUDIO_MS });
        self.play(Sound::MessageLamp(self.lamp.waiting));
    }
}
