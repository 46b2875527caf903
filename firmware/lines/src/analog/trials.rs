//! Lines that are tried out, as the switchboard has them: a [`Trial`] stands before the machine of
//! its line, and steps aside as soon as anybody wants the line.

use std::time::Instant;

use tipring_media::{ToneSegment, ToneSpec};
use tipring_model::line::LineCommand;
use tipring_model::prompt::CallTone;
use tipring_model::{Digits, LineId};
use tokio::sync::oneshot;

use super::contract::{Input, Sound};
use super::desk::DeskCommand;
use super::gauges::Levels;
use super::switchboard::{Line, Machine, Switchboard, signal_out};
use super::try_out::{
    RING_MAX_S, TestSound, TestTone, Trial, TrialOutput, TrialPlan, TryOut, TryOutEnd, TryOutRefusal,
    TryOutReport,
};
use super::voice::{Script, SoundPlan};
use super::watch::{What, WireState};
use crate::port::linecard::Reading;
use crate::port::{PortKind, TxSignal};

/// The tone that levels are measured with.
const LEVEL_HZ: f32 = 1_004.0;
const LEVEL_DBM0: f32 = -10.0;

/// What comes of a try-out.
pub(super) type Answer = oneshot::Sender<TryOutReport>;

/// A line is being tried out.
pub(super) struct Running {
    trial: Trial,
    /// Which: whoever asked may call it off.
    number: u64,
    answer: Answer,
}

impl Running {
    /// It has ears of its own.
    pub(super) const fn listens(&self) -> bool {
        self.trial.is_off_hook()
    }
}

impl Line {
    /// When there is something to be done. A telephone's machine waits while it is tried out: what
    /// it would play or tell the lamp would be in the way.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let waits = matches!(self.machine, Machine::Phone(_)) && self.trial.is_some();
        let machine = self.machine.poll_timeout().filter(|_| !waits);
        let trial = self.trial.as_ref().and_then(|running| running.trial.poll_timeout());
        machine.into_iter().chain(trial).min()
    }

    /// What the wire does.
    pub(super) fn wire(&self) -> WireState {
        match self.trial.as_ref().map(|running| &running.trial) {
            Some(trial) if trial.is_off_hook() => WireState::Seized,
            Some(trial) if trial.rings() => WireState::Ringing,
            Some(_) | None => self.machine.standing().wire,
        }
    }
}

impl Switchboard {
    /// Begins to try a line out; gives the number of the try-out, with which it can be called off.
    ///
    /// # Errors
    /// Why it is not tried out.
    pub(super) fn try_out(
        &mut self,
        now: Instant,
        line: LineId,
        what: TryOut,
        answer: Answer,
    ) -> Result<u64, TryOutRefusal> {
        let at = self.lines.iter().position(|known| known.id == line).ok_or(TryOutRefusal::NoLine)?;
        let line = self.lines.get(at).ok_or(TryOutRefusal::NoLine)?;
        let plan = may_try(line, what)?;
        let trial = Trial::begin(now, what, plan);
        self.happened(at, Some(What::Tried(what)));
        // It has happened as the last thing, so that its number is of its own.
        let number = self.happenings.last();
        if let Some(line) = self.lines.get_mut(at) {
            line.trial = Some(Running { trial, number, answer });
        }
        self.trial_goes_on(now, at);
        Ok(number)
    }

    /// Whoever asked for it no longer waits.
    pub(super) fn call_off(&mut self, now: Instant, number: u64) {
        let of = |line: &Line| line.trial.as_ref().is_some_and(|running| running.number == number);
        if let Some(at) = self.lines.iter().position(of) {
            self.end_trial(now, at, TryOutEnd::CalledOff);
        }
    }

    /// Whether an input is for what is tried out alone. Otherwise it is the machine's, and the
    /// try-out may have ended with it.
    pub(super) fn is_for_trial(&mut self, now: Instant, at: usize, input: &Input) -> bool {
        let Some(line) = self.lines.get_mut(at) else { return false };
        let Some(running) = &mut line.trial else { return false };
        let is_phone = matches!(line.machine, Machine::Phone(_));
        let trial = &mut running.trial;
        let swallowed = match input {
            Input::Signal(signal) => trial.signal(now, *signal),
            Input::Heard(heard) => trial.heard(now, heard),
            // Of its own sounds.
            Input::SoundEnded => true,
            Input::Timeout => is_phone,
            Input::Gone => {
                trial.end(now, TryOutEnd::DeviceGone);
                false
            }
            Input::Command(LineCommand::Place { .. }) => {
                trial.end(now, TryOutEnd::Call);
                false
            }
            Input::Command(_) | Input::Present | Input::MessagesWaiting(_) => false,
        };
        self.trial_goes_on(now, at);
        swallowed
    }

    /// Its time has come, if it has.
    pub(super) fn trial_due(&mut self, now: Instant, at: usize) {
        let Some(line) = self.lines.get_mut(at) else { return };
        let place = line.place.and_then(|(card, port)| Some((self.cards.get(card)?, port)));
        let levels = place.map_or(Levels::SILENCE, |(link, port)| link.desk.gauges.levels(port));
        if let Some(running) = &mut line.trial {
            running.trial.timeout(now, levels);
            self.trial_goes_on(now, at);
        }
    }

    /// The card has measured, or refused to.
    pub(super) fn trial_measured(&mut self, now: Instant, at: usize, reading: Option<Reading>) {
        if let Some(running) = self.lines.get_mut(at).and_then(|line| line.trial.as_mut()) {
            running.trial.measured(now, reading);
            self.trial_goes_on(now, at);
        }
    }

    fn end_trial(&mut self, now: Instant, at: usize, end: TryOutEnd) {
        if let Some(running) = self.lines.get_mut(at).and_then(|line| line.trial.as_mut()) {
            running.trial.end(now, end);
            self.trial_goes_on(now, at);
        }
    }

    /// Does what it wants, and puts the line back when it is over.
    fn trial_goes_on(&mut self, now: Instant, at: usize) {
        let Some(line) = self.lines.get_mut(at) else { return };
        let Some(running) = &mut line.trial else { return };
        let mut link = line.place.and_then(|(card, port)| Some((self.cards.get_mut(card)?, port)));
        let mut was_held = false;
        let mut told = Vec::new();
        while let Some(output) = running.trial.poll() {
            let Some((link, port)) = link.as_mut().map(|(link, port)| (&mut **link, *port)) else { continue };
            match output {
                TrialOutput::Signal(signal) => {
                    was_held |= signal == TxSignal::OnHook;
                    signal_out(link, port, signal.clone());
                    told.push(What::Told(signal));
                }
                TrialOutput::Say(sound) => {
                    line.sound = line.sound.wrapping_add(1);
                    let script = script_of(&self.sounds, sound);
                    link.tell(DeskCommand::Say { port, number: line.sound, script });
                }
                TrialOutput::Listen(listen) => {
                    line.listen = listen;
                    link.tell(DeskCommand::Listen { port, listen });
                }
                TrialOutput::Meter => {
                    if !link.can_measure(port) || link.card.meter(port).is_err() {
                        running.trial.measured(now, None);
                    }
                }
            }
        }
        let is_over = running.trial.report().is_some();
        let over = if is_over { line.trial.take() } else { None };
        let report = over.and_then(|running| {
            let report = running.trial.report().cloned()?;
            // Whoever asked may have gone.
            let _ = running.answer.send(report.clone());
            Some(report)
        });
        if report.is_some() {
            // What the machine wanted meanwhile is heard, and listened for, now.
            let (listen, sound) = line.wanted.clone();
            if let Some((link, port)) = link {
                if line.listen != listen {
                    line.listen = listen;
                    link.tell(DeskCommand::Listen { port, listen });
                }
                line.sound = line.sound.wrapping_add(1);
                let script = self.sounds.script(&lasting(sound), None);
                link.tell(DeskCommand::Say { port, number: line.sound, script });
            }
            if let (Machine::Line(machine), true) = (&mut line.machine, was_held) {
                machine.was_held(now);
            }
        }
        for what in told {
            self.happened(at, Some(what));
        }
        self.happened(at, report.map(|report| What::Found(Box::new(report))));
    }
}

/// Whether a line can be tried out now.
fn may_try(line: &Line, what: TryOut) -> Result<TrialPlan, TryOutRefusal> {
    let kind = line.machine.kind();
    match what {
        TryOut::Ring { .. } if kind == PortKind::Line => return Err(TryOutRefusal::WrongKind),
        TryOut::Ring { seconds } if !(1..=RING_MAX_S).contains(&seconds) => {
            return Err(TryOutRefusal::OutOfRange);
        }
        TryOut::Ring { .. } | TryOut::Tone(_) | TryOut::Test => {}
    }
    if line.trial.is_some() {
        return Err(TryOutRefusal::Running);
    }
    let standing = line.machine.standing();
    let is_up = match standing.wire {
        WireState::Unknown => return Err(TryOutRefusal::NoDevice),
        WireState::NoBattery | WireState::InUse => return Err(TryOutRefusal::NotToBeTaken),
        WireState::OffHook => true,
        WireState::OnHook | WireState::Ringing | WireState::Seized => false,
    };
    // A lamp that is being told is told to its end; a line of the exchange has none.
    let tells_nothing = is_up || kind == PortKind::Line || line.wanted.1 == Sound::Quiet;
    let is_free = standing.is_free && tells_nothing;
    match (what, kind, is_up) {
        (_, _, _) if !is_free => return Err(TryOutRefusal::Busy),
        (TryOut::Ring { .. }, _, true) => return Err(TryOutRefusal::Busy),
        (TryOut::Tone(_), PortKind::Phone, false) => return Err(TryOutRefusal::ReceiverDown),
        (TryOut::Ring { .. } | TryOut::Tone(_) | TryOut::Test, _, _) => {}
    }
    Ok(match &line.machine {
        Machine::Phone(machine) => TrialPlan {
            kind,
            is_up,
            ring: machine.ring_cadence(),
            pulse: false,
            dial_tone_max: std::time::Duration::ZERO,
        },
        Machine::Line(machine) => {
            let (pulse, dial_tone_max) = machine.dialling();
            TrialPlan { kind, is_up, ring: crate::port::Cadence::RING, pulse, dial_tone_max }
        }
    })
}

fn script_of(sounds: &SoundPlan, sound: TestSound) -> Script {
    match sound {
        TestSound::Tone(TestTone::Dial) => sounds.script(&Sound::Tone(CallTone::Dial), None),
        TestSound::Tone(TestTone::Level) => {
            let hz = [LEVEL_HZ, 0.0, 0.0, 0.0];
            let segment = ToneSegment { hz, level_dbm0: LEVEL_DBM0, on_ms: 0, off_ms: 0 };
            Script::Tone { first: None, then: ToneSpec::repeating(&[segment]) }
        }
        TestSound::Key => {
            let key = Digits::parse("1").unwrap_or_default();
            sounds.script(&Sound::Digits(key), None)
        }
        TestSound::Noise => Script::Noise,
        TestSound::Quiet => Script::Quiet,
    }
}

/// What is heard again after a try-out: tones, but nothing that was on its way to its end.
fn lasting(sound: Sound) -> Sound {
    match sound {
        Sound::Tone(_) | Sound::StutterTone | Sound::RecallTone | Sound::Howler => sound,
        Sound::Quiet
        | Sound::WaitingTone
        | Sound::PreemptionTone
        | Sound::Digits(_)
        | Sound::CallerId(_)
        | Sound::WaitingCallerId(_)
        | Sound::MessageLamp(_) => Sound::Quiet,
    }
}
