//! What comes from a modem, byte by byte, and what it means: sound, answers, and what happens on the
//! line.

use std::time::{Duration, Instant};

use super::super::answers::{Verdict, verdict};
use super::super::contract::{ChipTone, Output, SessionFault};
use super::super::dialogue::Wants;
use super::super::shield::{DLE, Unshielded};
use super::{Doing, Session, TONE_WITHIN};
use crate::port::RxSignal;

/// `RING` is one word for a burst of ringing; as a signal it lasts so long.
const RING_LASTS: Duration = Duration::from_millis(200);
/// It rings no longer when no `RING` has come for so long.
const RINGING_LASTS: Duration = Duration::from_secs(8);
/// A caller is complete when no line has come for so long.
const CALLER_SETTLES: Duration = Duration::from_millis(500);
/// A line that was taken does not ring any more after this.
const RING_STOPS: Duration = Duration::from_millis(500);
/// What the modem says of the hook so soon after it took the line is its own doing.
const HOOK_SETTLES: Duration = Duration::from_secs(1);
/// The modem does not say that a telephone beside it has hung up; so it is taken for granted.
const IN_USE_LASTS: Duration = Duration::from_secs(30);
/// A loop break is told without its length: it is taken for one that counts.
pub(super) const LOOP_BREAK_MS: u16 = 1_500;
/// Lines of an answer that are kept.
const KEPT_MAX: usize = 32;

impl Session {
    // --- Bytes.

    pub(super) fn byte(&mut self, now: Instant, byte: u8) {
        match self.doing {
            Doing::Absent | Doing::Fault => {}
            Doing::Talking => {
                if core::mem::take(&mut self.skips_lf) && byte == b'\n' {
                    return;
                }
                match self.unshielder.take(byte) {
                    Unshielded::Nothing => {}
                    Unshielded::Sound(byte) => self.stream.hear(now, byte),
                    Unshielded::TwoDle => (0..2).for_each(|_| self.stream.hear(now, DLE)),
                    Unshielded::Event(event) => self.event(now, event),
                    // It left the stream by itself.
                    Unshielded::End => self.fault(now, SessionFault::Sound),
                }
            }
            Doing::Leaving(_) => {
                // What still comes is of no use; `OK` may follow it with no mark before.
                match self.unshielder.take(byte) {
                    Unshielded::Sound(byte) => {
                        self.tail.rotate_left(1);
                        if let Some(last) = self.tail.last_mut() {
                            *last = byte;
                        }
                        if self.tail == *b"\r\nOK\r\n" {
                            self.left(now);
                        }
                    }
                    Unshielded::Event(event) => self.event(now, event),
                    Unshielded::Nothing | Unshielded::TwoDle | Unshielded::End => {}
                }
            }
            Doing::Cleaning
            | Doing::Identifying
            | Doing::SettingUp
            | Doing::ToRest
            | Doing::Resting
            | Doing::Watching
            | Doing::Seizing
            | Doing::Aside
            | Doing::Entering
            | Doing::HangingUp => self.text_byte(now, byte),
        }
    }

    fn text_byte(&mut self, now: Instant, byte: u8) {
        if self.current.as_ref().is_some_and(|step| step.wants == Wants::Time) {
            return;
        }
        match self.unshielder.take(byte) {
            Unshielded::Sound(byte) => {
                if let Some(line) = self.lines.take(byte) {
                    self.line(now, line);
                }
            }
            // In class 8 the modem tells what happens also between commands.
            Unshielded::Event(event) => self.event(now, event),
            Unshielded::Nothing | Unshielded::TwoDle | Unshielded::End => {}
        }
    }

    fn line(&mut self, now: Instant, line: String) {
        if line.eq_ignore_ascii_case("RING") {
            return self.rings(now);
        }
        if self.caller.take(&line) {
            self.caller_by = Some(now + CALLER_SETTLES);
            return;
        }
        let Some(step) = &self.current else {
            self.senseless_lines += 1;
            return;
        };
        if let Some(verdict) = verdict(&line) {
            let begins = step.wants == Wants::Stream && verdict != Verdict::Refused;
            if begins && verdict != Verdict::LineInUse {
                self.skips_lf = true;
            }
            return self.answered(now, Some(verdict));
        }
        // The command itself comes back until the echo is off.
        let is_echo = line.as_bytes().eq_ignore_ascii_case(&step.text);
        if !is_echo && self.kept.len() < KEPT_MAX {
            self.kept.push(line);
        }
    }

    // --- What happens on the line.

    fn rings(&mut self, now: Instant) {
        self.finish_caller();
        match self.seized_at {
            None if self.is_up && !self.off_hook => {
                // An exchange rings only where nobody is off hook.
                self.in_use(now, false);
                self.ringing_until = Some(now + RINGING_LASTS);
                if self.ring_off_at.is_none() {
                    self.outputs.push_back(Output::Signal(RxSignal::RingOn));
                }
                self.ring_off_at = Some(now + RING_LASTS);
            }
            Some(at) if now >= at + RING_STOPS && self.off_hook => {
                self.fault(now, SessionFault::Hook);
            }
            None | Some(_) => {}
        }
    }

    pub(super) fn finish_caller(&mut self) {
        self.caller_by = None;
        if let Some(caller) = self.caller.finish()
            && self.is_up
        {
            self.outputs.push_back(Output::Caller(caller));
        }
    }

    fn event(&mut self, now: Instant, event: u8) {
        let settled = self.seized_at.is_none_or(|at| now >= at + HOOK_SETTLES);
        match event {
            b'R' => self.rings(now),
            b'b' => self.tone(now, ChipTone::Busy),
            b'K' => self.tone(now, ChipTone::Reorder),
            b'd' | b'i' => self.tone(now, ChipTone::Dial),
            b'l' if self.quirks.tells_loop_break && settled && self.is_up => {
                self.outputs.push_back(Output::Signal(RxSignal::LoopBreak { ms: LOOP_BREAK_MS }));
            }
            b'L' if self.is_up => {
                self.is_reversed = !self.is_reversed;
                self.outputs.push_back(Output::Signal(RxSignal::Reversed(self.is_reversed)));
            }
            b'P' => self.in_use(now, true),
            b'H' if settled || !self.quirks.tells_own_hook => self.in_use(now, true),
            b'p' => self.in_use(now, false),
            b'h' if settled || !self.quirks.tells_own_hook => self.in_use(now, false),
            b'u' => self.stream.ran_dry(now),
            b'o' => self.overruns += 1,
            b'Y' => self.lost += 1,
            b'S' => self.stream.pause(now, true),
            b'Q' => self.stream.pause(now, false),
            b'E' if self.doing == Doing::Talking => self.fault(now, SessionFault::Sound),
            // Keys, fax tones, voice and silence are heard in the sound itself.
            _ => self.other_events += 1,
        }
    }

    pub(super) fn in_use(&mut self, now: Instant, on: bool) {
        let was = self.in_use_until.is_some();
        self.in_use_until = on.then(|| now + IN_USE_LASTS);
        if was != on && self.is_up {
            self.outputs.push_back(Output::Signal(RxSignal::InUse(on)));
        }
    }

    fn tone(&mut self, now: Instant, tone: ChipTone) {
        match self.tone {
            _ if !self.is_up => {}
            Some((of, at, told)) if of == tone && now < at + TONE_WITHIN => {
                self.tone = Some((tone, now, true));
                if !told {
                    self.outputs.push_back(Output::Tone(tone, true));
                }
            }
            Some(_) | None => {
                self.end_tone();
                self.tone = Some((tone, now, false));
            }
        }
    }
}
