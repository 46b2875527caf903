//! A session with a modem: what is said to it when, and what it means by what it says. Pure: bytes
//! and the time in; bytes, signals and facts out.
//!
//! ```text
//! Absent -> Opening -> Idle <-> Ringing
//!                       |          |
//!                       +- Seizing +-> Audio <-> Dialling
//!                                        |
//!                       Idle <- Releasing +          Fault -> Absent
//! ```
//!
//! One command is under way at a time; the next follows its answer. What is wanted of the line
//! (off hook, a flash, pulses) is kept, and begun as soon as no command is under way.
//! A fault ends the session: the shell closes the port, which drops DTR, and opens it again.

mod incoming;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::answers::{Identity, Lines, Verdict, best_format, has_voice};
use super::caller::CallerText;
use super::contract::{ChipTone, Input, ModemInfo, Output, SessionCounters, SessionFault, SessionState};
use super::dialogue::{self, Keeps, Step, Wants};
use super::quirks::{Chip, Quirks};
use super::samples::SampleFormat;
use super::settings::ModemSettings;
use super::shield::Unshielder;
use super::stream::{Stream, StreamCounters, StreamFault};
use crate::port::linecard::PERIOD_FRAMES;
use crate::port::{Capabilities, PortKind, RxSignal, TxSignal};

/// A modem that has nothing to do is asked whether it is still there.
pub const WATCHDOG_EVERY: Duration = Duration::from_secs(30);
/// A step that must succeed at last is tried so often.
const TRIES_MAX: u32 = 4;
/// Leaving the stream is tried the other way after this, and given up after the second.
pub(super) const LEAVE_WITHIN: Duration = Duration::from_millis(500);
/// Busy, congestion and dial tone are believed when they are told twice within this, and are over
/// when they are not told again within it.
const TONE_WITHIN: Duration = Duration::from_secs(3);
/// Digits that wait to be dialled by pulses.
const PULSES_MAX: usize = 32;
/// Outputs for which there is room without allocating.
const OUTPUTS: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doing {
    Absent,
    Cleaning,
    Identifying,
    SettingUp,
    ToRest,
    Resting,
    Watching,
    Seizing,
    Talking,
    /// The stream is being left; so many ways were tried.
    Leaving(usize),
    /// Flash or pulses.
    Aside,
    Entering,
    HangingUp,
    Fault,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Session {
    settings: ModemSettings,
    doing: Doing,
    steps: VecDeque<Step>,
    current: Option<Step>,
    tries: u32,
    answer_by: Option<Instant>,
    kept: Vec<String>,
    lines: Lines,
    unshielder: Unshielder,
    /// The last bytes of the stream that is being left, and whether an LF right after `CONNECT`
    /// is passed over.
    tail: [u8; 6],
    skips_lf: bool,
    identity: Identity,
    voice: bool,
    quirks: &'static Quirks,
    format: Option<(u16, SampleFormat)>,
    tells_callers: bool,
    country_is_set: Option<bool>,
    is_up: bool,
    // What is wanted.
    off_hook: bool,
    flash: Option<u16>,
    pulses: Vec<u8>,
    // What is known of the line.
    caller: CallerText,
    caller_by: Option<Instant>,
    ring_off_at: Option<Instant>,
    ringing_until: Option<Instant>,
    seized_at: Option<Instant>,
    in_use_until: Option<Instant>,
    tone: Option<(ChipTone, Instant, bool)>,
    is_reversed: bool,
    watch_at: Option<Instant>,
    stream: Stream,
    overruns: u64,
    lost: u64,
    other_events: u64,
    senseless_lines: u64,
    sessions: u64,
    outputs: VecDeque<Output>,
}

impl Session {
    /// A session whose port is closed.
    #[must_use]
    pub fn new(now: Instant, settings: ModemSettings) -> Self {
        let quirks = settings.chip.unwrap_or(Chip::Generic).quirks();
        Self {
            settings,
            doing: Doing::Absent,
            steps: VecDeque::new(),
            current: None,
            tries: 0,
            answer_by: None,
            kept: Vec::new(),
            lines: Lines::default(),
            unshielder: Unshielder::default(),
            tail: [0; 6],
            skips_lf: false,
            identity: Identity::default(),
            voice: false,
            quirks,
            format: None,
            tells_callers: false,
            country_is_set: None,
            is_up: false,
            off_hook: false,
            flash: None,
            pulses: Vec::with_capacity(PULSES_MAX),
            caller: CallerText::default(),
            caller_by: None,
            ring_off_at: None,
            ringing_until: None,
            seized_at: None,
            in_use_until: None,
            tone: None,
            is_reversed: false,
            watch_at: None,
            stream: Stream::new(now),
            overruns: 0,
            lost: 0,
            other_events: 0,
            senseless_lines: 0,
            sessions: 0,
            outputs: VecDeque::with_capacity(OUTPUTS),
        }
    }

    /// Takes an input. After it, [`Self::poll`] is to be asked until it has nothing.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Opened => self.opened(now),
            Input::Closed => self.closed(now),
            Input::Bytes(bytes) => {
                for byte in bytes {
                    self.byte(now, *byte);
                }
            }
            Input::Signal(signal) => self.wanted(now, signal),
            Input::Timeout => self.timeout(now),
        }
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let talks = self.doing == Doing::Talking;
        [
            self.answer_by,
            self.watch_at,
            self.caller_by,
            self.ring_off_at,
            self.ringing_until,
            self.in_use_until,
            self.tone.map(|(_, at, _)| at + TONE_WITHIN),
            talks.then(|| self.stream.poll_timeout()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> SessionState {
        match self.doing {
            Doing::Absent => SessionState::Absent,
            Doing::Cleaning | Doing::Identifying | Doing::SettingUp | Doing::ToRest => SessionState::Opening,
            Doing::Resting | Doing::Watching if self.ringing_until.is_some() => SessionState::Ringing,
            Doing::Resting | Doing::Watching if self.in_use_until.is_some() => {
                SessionState::LineBusyByLocalPhone
            }
            Doing::Resting | Doing::Watching => SessionState::Idle,
            Doing::Seizing => SessionState::Seizing,
            Doing::Talking => SessionState::Audio,
            Doing::Leaving(_) if self.off_hook => SessionState::Dialling,
            Doing::Aside | Doing::Entering => SessionState::Dialling,
            Doing::Leaving(_) | Doing::HangingUp => SessionState::Releasing,
            Doing::Fault => SessionState::Fault,
        }
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> SessionCounters {
        let StreamCounters { heard, lost, dropped_periods, underruns } = self.stream.counters();
        SessionCounters {
            heard,
            lost: lost + self.lost,
            dropped_periods,
            underruns,
            overruns: self.overruns,
            other_events: self.other_events,
            senseless_lines: self.senseless_lines,
            sessions: self.sessions,
        }
    }

    /// The next 10 ms that came, if they are whole.
    pub fn next_period(&mut self) -> Option<[i16; PERIOD_FRAMES]> {
        self.stream.next_period().filter(|_| self.doing == Doing::Talking)
    }

    /// Plays 10 ms.
    pub fn play(&mut self, samples: &[i16; PERIOD_FRAMES]) {
        if self.doing == Doing::Talking {
            self.stream.play(samples);
        }
    }

    /// Shielded sound that is to be sent; to be cleared when it was taken.
    pub fn sound_out(&mut self) -> &mut Vec<u8> {
        self.stream.out()
    }

    // --- The port.

    fn opened(&mut self, now: Instant) {
        let settings = self.settings.clone();
        let old = core::mem::replace(self, Self::new(now, settings));
        // Counted since the beginning.
        self.stream = old.stream;
        (self.overruns, self.lost) = (old.overruns, old.lost);
        (self.other_events, self.senseless_lines) = (old.other_events, old.senseless_lines);
        self.sessions = old.sessions;
        self.in_use_until = old.in_use_until;
        self.outputs = old.outputs;
        self.begin(now, Doing::Cleaning, dialogue::clean_start());
    }

    fn closed(&mut self, now: Instant) {
        self.end_audio(now);
        self.doing = Doing::Absent;
        self.off_hook = false;
        self.rest_timers();
    }

    fn rest_timers(&mut self) {
        self.steps.clear();
        self.current = None;
        self.flash = None;
        self.pulses.clear();
        self.answer_by = None;
        self.watch_at = None;
        self.caller_by = None;
        self.ring_off_at = None;
        self.ringing_until = None;
        self.seized_at = None;
        self.tone = None;
        self.is_up = false;
    }

    fn fault(&mut self, now: Instant, fault: SessionFault) {
        self.closed(now);
        self.doing = Doing::Fault;
        self.outputs.push_back(Output::Down(fault));
    }

    // --- Commands.

    fn begin(&mut self, now: Instant, doing: Doing, steps: Vec<Step>) {
        self.doing = doing;
        self.watch_at = None;
        self.steps = steps.into();
        self.next_step(now);
    }

    fn next_step(&mut self, now: Instant) {
        self.tries = 0;
        self.current = self.steps.pop_front();
        match self.current.take() {
            Some(step) => self.say(now, step),
            None => self.steps_done(now),
        }
    }

    fn say(&mut self, now: Instant, step: Step) {
        self.kept.clear();
        self.lines.forget();
        self.tries += 1;
        self.answer_by = Some(now + step.within);
        let mut bytes = step.text.to_vec();
        if step.wants != Wants::Time {
            bytes.push(b'\r');
        }
        if step.keeps == Keeps::Hook {
            self.seized_at = Some(now);
        }
        self.outputs.push_back(Output::Write(bytes));
        self.current = Some(step);
    }

    /// The current command has its answer, or none in time.
    fn answered(&mut self, now: Instant, verdict: Option<Verdict>) {
        self.answer_by = None;
        let Some(step) = self.current.take() else { return };
        let done = verdict == Some(Verdict::Done);
        if !done && verdict.is_some() && step.otherwise.is_some() {
            let text = step.otherwise.unwrap_or_default();
            let other = Step { text: text.as_bytes().into(), otherwise: None, ..step };
            return self.say(now, other);
        }
        if step.wants == Wants::OkAtLast && !done && self.tries < TRIES_MAX {
            return self.say(now, step);
        }
        let kept = core::mem::take(&mut self.kept);
        match step.keeps {
            Keeps::Nothing => {}
            Keeps::Identity if done => self.identity.learn(&String::from_utf8_lossy(&step.text), &kept),
            Keeps::Identity => {}
            Keeps::Classes => self.voice = has_voice(&kept),
            Keeps::Formats => self.format = best_format(&kept),
            Keeps::CallerId => self.tells_callers = done,
            Keeps::Country => self.country_is_set = Some(done),
            Keeps::Hook => match verdict {
                Some(Verdict::Done | Verdict::Connected) => self.seized_at = Some(now),
                Some(Verdict::LineInUse) => return self.not_taken(now),
                Some(Verdict::Refused) => return self.fault(now, SessionFault::Hook),
                None => {}
            },
        }
        self.kept = kept;
        match (step.wants, verdict) {
            (Wants::Ok | Wants::OkOrNot | Wants::OkAtLast, None) => self.fault(now, SessionFault::Silent),
            (Wants::Ok | Wants::OkAtLast, Some(Verdict::Refused | Verdict::LineInUse)) => {
                self.fault(now, SessionFault::Refused);
            }
            (Wants::Stream, Some(Verdict::Refused | Verdict::LineInUse) | None) => {
                self.fault(now, SessionFault::HalfDuplex);
            }
            (Wants::Ok | Wants::OkAtLast | Wants::Stream, Some(Verdict::Done | Verdict::Connected))
            | (Wants::OkOrNot, Some(_))
            | (Wants::Time, _) => {
                if self.doing == Doing::Seizing && !self.off_hook {
                    // Nobody wants the line any more; a stream that has begun is left first.
                    self.steps.clear();
                }
                self.next_step(now);
            }
        }
    }

    /// Another telephone has the line, and the modem has not taken it. It would not say when that one
    /// hangs up; so nothing is remembered, and whoever wants the line next is told anew.
    fn not_taken(&mut self, now: Instant) {
        self.off_hook = false;
        self.flash = None;
        self.pulses.clear();
        self.outputs.push_back(Output::Signal(RxSignal::NotSeized));
        self.begin(now, Doing::HangingUp, dialogue::hang_up(self.quirks));
    }

    fn steps_done(&mut self, now: Instant) {
        let quirks = self.quirks;
        match self.doing {
            Doing::Cleaning => self.begin(now, Doing::Identifying, dialogue::identify()),
            Doing::Identifying => self.identified(now),
            Doing::SettingUp => {
                if self.format.is_none() {
                    return self.fault(now, SessionFault::NoVoice);
                }
                self.begin(now, Doing::ToRest, dialogue::rest(quirks));
            }
            Doing::ToRest | Doing::HangingUp | Doing::Watching => self.rest(now),
            Doing::Seizing | Doing::Entering if self.has_stream() => self.begin_audio(now),
            Doing::Seizing => self.begin(now, Doing::HangingUp, dialogue::hang_up(quirks)),
            Doing::Aside => self.aside(now),
            Doing::Absent
            | Doing::Resting
            | Doing::Talking
            | Doing::Leaving(_)
            | Doing::Entering
            | Doing::Fault => {}
        }
    }

    /// The step that was answered last was the one that begins the stream.
    fn has_stream(&self) -> bool {
        self.skips_lf
    }

    fn identified(&mut self, now: Instant) {
        let chip = self.settings.chip.unwrap_or_else(|| self.identity.chip());
        self.quirks = chip.quirks();
        if let (Some(min), Some(version)) = (self.quirks.firmware_min, self.identity.version())
            && version < min
        {
            return self.fault(now, SessionFault::OldFirmware(min));
        }
        if !self.voice {
            return self.fault(now, SessionFault::NoVoice);
        }
        self.begin(now, Doing::SettingUp, dialogue::set_up(self.settings.country));
    }

    /// On hook, with nothing under way.
    fn rest(&mut self, now: Instant) {
        self.doing = Doing::Resting;
        self.seized_at = None;
        self.watch_at = Some(now + WATCHDOG_EVERY);
        if !self.is_up {
            let Some((_, format)) = self.format else { return };
            self.is_up = true;
            self.sessions += 1;
            let info = ModemInfo {
                model: self.identity.model.clone(),
                firmware: self.identity.firmware.clone(),
                chip: self.quirks.chip,
                format,
                tells_callers: self.tells_callers,
                country_is_set: self.country_is_set,
                capabilities: Capabilities {
                    kind: PortKind::Line,
                    reversal: self.quirks.tells_reversal,
                    loop_break: self.quirks.tells_loop_break,
                    on_hook_audio: false,
                    battery: false,
                    meter: false,
                    lamp: false,
                },
            };
            self.outputs.push_back(Output::Up(Box::new(info)));
            if self.in_use_until.is_some() {
                self.outputs.push_back(Output::Signal(RxSignal::InUse(true)));
            }
        }
        self.strive(now);
    }

    // --- What is wanted of the line.

    fn wanted(&mut self, now: Instant, signal: TxSignal) {
        match signal {
            _ if !self.is_up => self.outputs.push_back(Output::Refused(signal)),
            TxSignal::OffHook => {
                self.off_hook = true;
                self.ringing_until = None;
            }
            TxSignal::OnHook => {
                self.off_hook = false;
                self.flash = None;
                self.pulses.clear();
            }
            TxSignal::Flash { ms } if self.off_hook => self.flash = Some(ms),
            TxSignal::Pulses(digit) if self.off_hook && self.pulses.len() < PULSES_MAX => {
                self.pulses.push(digit);
            }
            TxSignal::Flash { .. }
            | TxSignal::Pulses(_)
            | TxSignal::Ring(_)
            | TxSignal::RingOff
            | TxSignal::Reverse(_)
            | TxSignal::DropBattery { .. }
            | TxSignal::OnHookAudio { .. }
            | TxSignal::Lamp(_) => self.outputs.push_back(Output::Refused(signal)),
        }
        self.strive(now);
    }

    /// Begins what is wanted, if nothing else is under way.
    fn strive(&mut self, now: Instant) {
        match self.doing {
            Doing::Resting if self.off_hook => {
                let Some(format) = self.format else { return };
                self.begin(now, Doing::Seizing, dialogue::seize(self.quirks, format));
            }
            Doing::Talking if !self.off_hook || self.flash.is_some() || !self.pulses.is_empty() => {
                self.leave(now, 0);
            }
            Doing::Absent
            | Doing::Cleaning
            | Doing::Identifying
            | Doing::SettingUp
            | Doing::ToRest
            | Doing::Resting
            | Doing::Watching
            | Doing::Seizing
            | Doing::Talking
            | Doing::Leaving(_)
            | Doing::Aside
            | Doing::Entering
            | Doing::HangingUp
            | Doing::Fault => {}
        }
    }

    fn begin_audio(&mut self, now: Instant) {
        let Some((_, format)) = self.format else { return };
        self.doing = Doing::Talking;
        self.stream.begin(now, format);
        self.unshielder = Unshielder::default();
        self.outputs.push_back(Output::AudioBegan);
        self.strive(now);
    }

    fn end_audio(&mut self, now: Instant) {
        if self.doing == Doing::Talking {
            self.outputs.push_back(Output::AudioEnded);
            self.stream.pause(now, false);
            self.stream.out().clear();
        }
        self.end_tone();
    }

    fn end_tone(&mut self) {
        if let Some((tone, _, true)) = self.tone.take() {
            self.outputs.push_back(Output::Tone(tone, false));
        }
    }

    /// Leaves the stream, in the way of the chip or the other one.
    fn leave(&mut self, now: Instant, tried: usize) {
        let Some(way) = self.quirks.leave.get(tried) else {
            return self.fault(now, SessionFault::Stuck);
        };
        self.end_audio(now);
        self.skips_lf = false;
        self.tail = [0; 6];
        self.doing = Doing::Leaving(tried);
        self.answer_by = Some(now + LEAVE_WITHIN);
        self.outputs.push_back(Output::Write(way.to_vec()));
    }

    /// In command state, off hook.
    fn left(&mut self, now: Instant) {
        self.answer_by = None;
        self.lines.forget();
        if self.off_hook {
            self.aside(now);
        } else {
            self.begin(now, Doing::HangingUp, dialogue::hang_up(self.quirks));
        }
    }

    /// Does what takes the modem out of its stream, and goes back.
    fn aside(&mut self, now: Instant) {
        if !self.off_hook {
            self.begin(now, Doing::HangingUp, dialogue::hang_up(self.quirks));
        } else if let Some(ms) = self.flash.take() {
            self.begin(now, Doing::Aside, dialogue::flash(self.quirks, ms));
        } else if self.pulses.is_empty() {
            self.begin(now, Doing::Entering, dialogue::enter());
        } else {
            let steps = dialogue::pulses(&self.pulses);
            self.pulses.clear();
            self.begin(now, Doing::Aside, steps);
        }
    }

    // --- Time.

    fn timeout(&mut self, now: Instant) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.ring_off_at) {
            self.ring_off_at = None;
            self.outputs.push_back(Output::Signal(RxSignal::RingOff));
        }
        if due(self.ringing_until) {
            self.ringing_until = None;
        }
        if due(self.caller_by) {
            self.finish_caller();
        }
        if due(self.in_use_until) {
            self.in_use(now, false);
        }
        if due(self.tone.map(|(_, at, _)| at + TONE_WITHIN)) {
            self.end_tone();
        }
        if self.doing == Doing::Talking {
            let fault = self.stream.check(now);
            if let Some(StreamFault::Silent | StreamFault::Pace) = fault {
                self.fault(now, SessionFault::Sound);
            }
        }
        if due(self.answer_by) {
            match self.doing {
                Doing::Leaving(tried) => self.leave(now, tried + 1),
                Doing::Absent
                | Doing::Cleaning
                | Doing::Identifying
                | Doing::SettingUp
                | Doing::ToRest
                | Doing::Resting
                | Doing::Watching
                | Doing::Seizing
                | Doing::Talking
                | Doing::Aside
                | Doing::Entering
                | Doing::HangingUp
                | Doing::Fault => self.answered(now, None),
            }
        }
        if due(self.watch_at) && self.doing == Doing::Resting {
            self.begin(now, Doing::Watching, dialogue::watchdog());
        }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
