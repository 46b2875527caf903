//! Has the far end answered, and has it hung up?
//!
//! An exchange line rarely says so. Every sign is on at once, and each one that comes is noted
//! for the leg. A tone does not end a call while the box's own side speaks: an echo of speech
//! or music could be taken for it. The tone is asked about again when the own side is quiet,
//! and it counts in any case when it has stayed for ten seconds.
//!
//! **Limits.** Each sign alone frees the line, while the own side is silent, within:
//!
//! | Sign | Within |
//! |---|---|
//! | loop break of 80 ms and more (`loop_break_min_ms`); reversal | at once, as the card tells it |
//! | busy or congestion tone of the country, learned tone | four of its rounds and 0.5 s: 6.5 s at the most, where a round takes 1.5 s |
//! | dial tone | 4 s; where it has pauses three of its rounds and 0.5 s |
//! | battery lost | 1 s |
//! | silence (`silence`), longest call (`talk`) | as set, and a second |
//!
//! An hour of speech is no sign. `tests/supervision.rs` holds all that, for each country.

use std::time::{Duration, Instant};

use tipring_model::line::{LineEvent, Supervision};
use tipring_model::{Cause, LegId};

use super::machine::{Fxo, Stage, Timer};
use super::settings::AnswerBy;
use crate::analog::CODEC;
use crate::analog::contract::{AnswerSign, EndSign, Heard, HeardTone, Note, Output};

/// A break of the loop is not believed so soon after the line was taken (Astribank: 650 ms).
const LOOP_SETTLES: Duration = Duration::from_millis(650);
/// A reversal is not believed as an end so soon after the answer (`polarityonanswerdelay`).
const REVERSAL_SETTLES: Duration = Duration::from_millis(600);
/// Ring-back that is away for so long has stopped.
const RINGBACK_SETTLES: Duration = Duration::from_millis(600);
/// Voice so soon after the last digit may be a click of the exchange.
const VOICE_SETTLES: Duration = Duration::from_secs(1);
/// Dial tone so soon after the last digit is the tail of the one before.
const DIAL_TONE_SETTLES: Duration = Duration::from_secs(2);
/// A tone is asked about again when the own side has been quiet for so long.
const OWN_SIDE_SETTLES: Duration = Duration::from_millis(500);
/// A tone that stays for so long counts although the own side speaks.
const TONE_DESPITE_SPEECH: Duration = Duration::from_secs(10);
/// Nobody lets it ring longer.
pub(super) const RINGBACK_MAX: Duration = Duration::from_secs(180);
/// After a hook flash, dial tone is no end for so long.
pub(super) const FLASH_DIAL_TONE: Duration = Duration::from_secs(20);

/// What is known about the far end of the leg that has the line.
#[derive(Clone, Debug, Default)]
pub(super) struct Supervised {
    /// When the last digit was dialled, or the call answered.
    since: Option<Instant>,
    /// When it was answered, and whether the exchange said so.
    pub(super) answered: Option<(Instant, Supervision)>,
    heard_ringback: bool,
    own_side_speaks: bool,
    /// A tone that is heard, and that would end the call.
    tone: Option<HeardTone>,
    /// Signs of the end that were noted.
    noted: Vec<EndSign>,
}

impl Supervised {
    /// Nothing is known yet; the last digit was dialled, or the call answered, at `since`.
    pub(super) fn since(since: Instant) -> Self {
        Self { since: Some(since), ..Self::default() }
    }
}

impl Fxo {
    /// Something was heard after the line was taken.
    pub(super) fn heard_in_call(&mut self, now: Instant, leg: LegId, heard: &Heard) {
        match heard {
            Heard::Tone(tone) => self.tone_heard(now, leg, *tone),
            Heard::ToneEnded => self.tone_ended(now),
            Heard::Voice => self.voice_heard(now, leg),
            Heard::Silence(lasts) => {
                let is_over = self.settings.silence_max.is_some_and(|max| *lasts >= max);
                if is_over && self.supervised.answered.is_some() {
                    self.sign_of_end(now, leg, EndSign::Silence);
                }
            }
            Heard::LocalVoice(speaks) => {
                self.supervised.own_side_speaks = *speaks;
                if *speaks {
                    self.timers.stop(Timer::ToneAgain);
                } else if self.supervised.tone.is_some() {
                    self.timers.set(Timer::ToneAgain, now + OWN_SIDE_SETTLES);
                }
            }
            Heard::Digit(_) | Heard::CallerId(_) | Heard::CallerIdGarbled(_) | Heard::WaitingAlert => {}
        }
    }

    fn tone_heard(&mut self, now: Instant, leg: LegId, tone: HeardTone) {
        let is_answered = self.supervised.answered.is_some();
        let settled = self.supervised.since.is_some_and(|since| now >= since + DIAL_TONE_SETTLES);
        match tone {
            HeardTone::Ringback if !is_answered => {
                self.supervised.heard_ringback = true;
                self.timers.stop(Timer::Assumed);
                self.timers.stop(Timer::RingbackGone);
            }
            HeardTone::FaxAnswer if !is_answered => self.sign_of_answer(now, leg, AnswerSign::FaxTone),
            HeardTone::Dial if self.timers.runs(Timer::FlashTone) || !(is_answered || settled) => {}
            HeardTone::Dial
            | HeardTone::Busy
            | HeardTone::Congestion
            | HeardTone::Information
            | HeardTone::LearnedBusy => self.end_tone_heard(now, leg, tone),
            HeardTone::Ringback | HeardTone::FaxAnswer | HeardTone::FaxCalling => {}
        }
    }

    fn end_tone_heard(&mut self, now: Instant, leg: LegId, tone: HeardTone) {
        self.timers.stop(Timer::Assumed);
        self.timers.stop(Timer::RingbackGone);
        if self.supervised.own_side_speaks {
            self.note_end(leg, sign_of(tone));
            if self.supervised.tone.replace(tone).is_none() {
                self.timers.set(Timer::ToneStays, now + TONE_DESPITE_SPEECH);
            }
        } else {
            self.sign_of_end(now, leg, sign_of(tone));
        }
    }

    fn tone_ended(&mut self, now: Instant) {
        let was_end = self.supervised.tone.take().is_some();
        self.timers.stop(Timer::ToneAgain);
        self.timers.stop(Timer::ToneStays);
        let waits = self.supervised.answered.is_none() && self.answer_by() == AnswerBy::Anything;
        if waits && !was_end && self.supervised.heard_ringback {
            self.timers.set(Timer::RingbackGone, now + RINGBACK_SETTLES);
        }
    }

    /// The tone that was heard while the own side spoke is still there.
    pub(super) fn tone_stayed(&mut self, now: Instant) {
        if let (Some(leg), Some(tone)) = (self.leg_on_line(), self.supervised.tone) {
            self.sign_of_end(now, leg, sign_of(tone));
        }
    }

    fn voice_heard(&mut self, now: Instant, leg: LegId) {
        let settled = self.supervised.since.is_some_and(|since| now >= since + VOICE_SETTLES);
        if self.supervised.answered.is_none() && (self.supervised.heard_ringback || settled) {
            self.sign_of_answer(now, leg, AnswerSign::Voice);
        }
    }

    /// The exchange reversed the battery, or put it back.
    pub(super) fn reversed(&mut self, now: Instant) {
        match (&self.stage, self.supervised.answered) {
            (Stage::Supervising(leg), _) => {
                let leg = *leg;
                self.sign_of_answer(now, leg, AnswerSign::Reversal);
            }
            // It was only guessed that this placed leg was answered: now it is.
            (Stage::Talking(leg), Some((_, Supervision::Inferred))) => {
                let leg = *leg;
                self.supervised.answered = Some((now, Supervision::Signalled));
                self.outputs.push_back(Output::Note(leg, Note::Answer(AnswerSign::Reversal)));
            }
            (Stage::Talking(leg), Some((at, Supervision::Signalled))) => {
                let leg = *leg;
                if now < at + REVERSAL_SETTLES {
                    return;
                }
                if self.settings.reversal_ends {
                    self.sign_of_end(now, leg, EndSign::Reversal);
                } else {
                    self.note_end(leg, EndSign::Reversal);
                }
            }
            (
                Stage::Rest
                | Stage::Ringing { .. }
                | Stage::Looking(_)
                | Stage::Clearing(_)
                | Stage::Seized(_)
                | Stage::Dialling(_)
                | Stage::Talking(_),
                _,
            ) => {}
        }
    }

    /// The exchange broke the loop for `ms`.
    pub(super) fn loop_broken(&mut self, now: Instant, ms: u64) {
        let Some(leg) = self.leg_on_line() else { return };
        let pulses = self.settings.pulse && matches!(self.stage, Stage::Dialling(_));
        let settled = self.off_hook_since.is_some_and(|since| now >= since + LOOP_SETTLES);
        if !settled || pulses || self.timers.runs(Timer::Flash) {
            return; // The box's own doing.
        }
        if ms >= u64::from(self.settings.loop_break_min_ms) {
            self.sign_of_end(now, leg, EndSign::LoopBreak);
        }
    }

    /// By what an answer is known. Reversal is how an exchange says that a call costs something from
    /// here on; of an emergency call, which costs nothing, it may not say so, and whoever calls would
    /// not be heard.
    pub(super) const fn answer_by(&self) -> AnswerBy {
        match self.settings.answer {
            AnswerBy::Reversal if self.is_emergency => AnswerBy::Anything,
            answer @ (AnswerBy::Anything | AnswerBy::Reversal | AnswerBy::Dialled) => answer,
        }
    }

    /// The far end of a placed leg has answered, as far as this sign shows.
    pub(super) fn sign_of_answer(&mut self, now: Instant, leg: LegId, sign: AnswerSign) {
        let counts = match self.answer_by() {
            AnswerBy::Anything => true,
            AnswerBy::Reversal => sign == AnswerSign::Reversal,
            AnswerBy::Dialled => sign == AnswerSign::Assumed,
        };
        if !counts || !matches!(self.stage, Stage::Supervising(_)) {
            return;
        }
        let supervision = match sign {
            AnswerSign::Reversal => Supervision::Signalled,
            AnswerSign::Voice | AnswerSign::RingbackEnded | AnswerSign::FaxTone | AnswerSign::Assumed => {
                Supervision::Inferred
            }
        };
        self.outputs.push_back(Output::Note(leg, Note::Answer(sign)));
        self.talk(now, leg, supervision);
    }

    /// The leg is answered, in either direction. It is joined already, or is so now.
    pub(super) fn talk(&mut self, now: Instant, leg: LegId, supervision: Supervision) {
        for timer in [Timer::Assumed, Timer::RingbackGone, Timer::NoAnswer] {
            self.timers.stop(timer);
        }
        self.supervised.answered = Some((now, supervision));
        self.stage = Stage::Talking(leg);
        if let Some(max) = self.settings.talk_max {
            self.timers.set(Timer::TalkMax, now + max);
        }
        self.event(LineEvent::Answered { leg, supervision, codec: CODEC });
    }

    pub(super) fn note_end(&mut self, leg: LegId, sign: EndSign) {
        if !self.supervised.noted.contains(&sign) {
            self.supervised.noted.push(sign);
            self.outputs.push_back(Output::Note(leg, Note::End(sign)));
        }
    }

    /// This sign ends the call.
    pub(super) fn sign_of_end(&mut self, now: Instant, leg: LegId, sign: EndSign) {
        self.note_end(leg, sign);
        let cause = match sign {
            EndSign::DeviceGone => Cause::TemporaryFailure,
            EndSign::BatteryLost => Cause::NetworkOutOfOrder,
            EndSign::TalkTime => Cause::RecoveryOnTimer,
            EndSign::EmergencyCall => Cause::Preempted,
            // Whoever called in was answered there.
            EndSign::LineInUse if !leg.is_placed() => Cause::AnsweredElsewhere,
            EndSign::LineInUse => Cause::NoCircuit,
            _ if self.supervised.answered.is_some() => Cause::NormalClearing,
            EndSign::Tone(HeardTone::Busy | HeardTone::LearnedBusy) => Cause::Busy,
            EndSign::Tone(HeardTone::Congestion) => Cause::NoCircuit,
            EndSign::Tone(HeardTone::Information) => Cause::Unallocated,
            EndSign::Silence => Cause::NoAnswer,
            EndSign::Tone(
                HeardTone::Dial | HeardTone::Ringback | HeardTone::FaxCalling | HeardTone::FaxAnswer,
            )
            | EndSign::LoopBreak
            | EndSign::Reversal
            | EndSign::DialTone
            | EndSign::OwnRelease => Cause::TemporaryFailure,
        };
        self.hang_up(now, leg, cause);
    }
}

const fn sign_of(tone: HeardTone) -> EndSign {
    match tone {
        HeardTone::Dial => EndSign::DialTone,
        HeardTone::Busy
        | HeardTone::Congestion
        | HeardTone::Information
        | HeardTone::LearnedBusy
        | HeardTone::Ringback
        | HeardTone::FaxCalling
        | HeardTone::FaxAnswer => EndSign::Tone(tone),
    }
}
