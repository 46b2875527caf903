//! What a modem tells, as the machine of its line takes it.
//!
//! A modem takes some tenths of a second to take its line. Calls hear of an answer only when
//! there is sound: what is played at once would else be lost.

use std::time::Instant;

use super::contract::{Heard, HeardCaller, HeardTone, Input};
use super::switchboard::Switchboard;
use crate::port::RxSignal;
use crate::port::v253::{ChipTone, ModemEvent};

/// A modem has one port.
const PORT: usize = 0;

impl Switchboard {
    pub(super) fn modem_event(&mut self, now: Instant, device: usize, event: ModemEvent) {
        match event {
            ModemEvent::Present(info) => {
                if let Some(link) = self.cards.get_mut(device) {
                    (link.is_present, link.fault) = (true, None);
                    link.ports = vec![info.capabilities];
                    tracing::info!(
                        modem = link.name,
                        model = info.model,
                        firmware = info.firmware,
                        chip = info.chip.as_str(),
                        samples = ?info.format,
                        "modem is there"
                    );
                    if info.country_is_set == Some(false) {
                        tracing::warn!(modem = link.name, "the modem does not know the country");
                    }
                    if !info.tells_callers {
                        tracing::warn!(modem = link.name, "the modem does not tell who calls");
                    }
                }
                self.present(now, device, &[info.capabilities]);
            }
            ModemEvent::Gone(fault) => {
                if let Some(link) = self.cards.get_mut(device) {
                    (link.is_present, link.fault) = (false, Some(fault.into()));
                    tracing::warn!(modem = link.name, code = fault.code(), %fault, "modem is not there");
                }
                self.gone(now, device);
            }
            ModemEvent::Signal(signal) => {
                if let (RxSignal::NotSeized, Some(link)) = (signal, self.cards.get(device)) {
                    tracing::warn!(modem = link.name, code = "TR-LINE-INUSE", "the line was not taken");
                }
                self.tell_line(now, device, Input::Signal(signal));
            }
            ModemEvent::Caller(caller) => {
                // The chip does not say how it was told; it reads what its country has.
                let heard = HeardCaller { standard: self.sounds.caller_id, caller };
                if self.listens(device, |listen| listen.caller_id) {
                    self.tell_line(now, device, Input::Heard(Heard::CallerId(heard)));
                }
            }
            ModemEvent::Tone(tone, on) => {
                let is_before_dialling = self.listens(device, |listen| listen.tones && !listen.voice);
                let is_in_call = self.listens(device, |listen| listen.tones && listen.voice);
                let heard = match (tone, on) {
                    // That it is over is told late: by then the far end may ring already, and the end
                    // of that means an answer.
                    (ChipTone::Dial, true) if is_before_dialling => Heard::Tone(HeardTone::Dial),
                    (ChipTone::Busy, true) if is_before_dialling || is_in_call => {
                        Heard::Tone(HeardTone::Busy)
                    }
                    (ChipTone::Reorder, true) if is_before_dialling || is_in_call => {
                        Heard::Tone(HeardTone::Congestion)
                    }
                    (ChipTone::Busy | ChipTone::Reorder, false) if is_in_call => Heard::ToneEnded,
                    (ChipTone::Busy | ChipTone::Reorder | ChipTone::Dial, _) => return,
                };
                self.tell_line(now, device, Input::Heard(heard));
            }
            ModemEvent::AudioBegan => {
                if let Some(at) = self.line_at(device, PORT) {
                    self.sound_began(at);
                }
            }
            ModemEvent::Refused(signal) => {
                if let Some(link) = self.cards.get(device) {
                    tracing::warn!(modem = link.name, ?signal, "the modem refused");
                }
            }
        }
    }

    fn listens(&self, device: usize, for_it: impl Fn(super::contract::Listen) -> bool) -> bool {
        let at = self.line_at(device, PORT);
        at.and_then(|at| self.lines.get(at)).is_some_and(|line| for_it(line.listen))
    }

    fn tell_line(&mut self, now: Instant, device: usize, input: Input) {
        if let Some(at) = self.line_at(device, PORT) {
            self.give(now, at, input);
        }
    }
}
