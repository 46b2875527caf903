//! The heart of the exchange line's machine: who has the line, and how far it is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tipring_model::call::Origin;
use tipring_model::line::{DownReason, LineCommand, LineEvent, Offer, Supervision};
use tipring_model::{Cause, Digits, LegId, LineId, Number};

use super::caller::AFTER_ANSWER;
use super::dialling::{self, Step};
use super::ring::{RingEvent, RingMeter};
use super::settings::FxoSettings;
use super::supervision::{FLASH_DIAL_TONE, Supervised};
use crate::analog::CODEC;
use crate::analog::contract::{
    AnswerSign, EndSign, Heard, HeardCaller, HeardTone, Input, Listen, Note, Output, Sound, no_words_for,
};
use crate::analog::country::CountryPlan;
use crate::analog::timers::Timers;
use crate::port::{RxSignal, TxSignal};

/// A caller has given up when it has not rung for so long, or 1.5 times the longest silence.
const RING_GAP_MIN: Duration = Duration::from_secs(8);
/// Battery that is away for so long is an alarm, and so is a telephone that is off hook.
const ALARM: Duration = Duration::from_secs(1);
/// The loop says nothing for so long after a hook flash.
const FLASH_SETTLES: Duration = Duration::from_millis(800);
/// No timer runs longer.
const TIMER_MAX: Duration = Duration::from_secs(86_400);
/// Digits that wait to be sent during a call.
const STEPS_MAX: usize = 64;

/// What the machine waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Timer {
    /// The next change of the ring's own clock.
    Ring,
    /// The caller has given up.
    RingGap,
    /// A caller's number that was heard before any ring is forgotten.
    CallerKept,
    /// A caller's number is no longer listened for.
    CallerId,
    /// The line may be taken again.
    Guard,
    /// The line has been looked at for long enough.
    Look,
    /// Looking has taken too long, with scratches on the wire.
    LookMax,
    /// Dial tone, or the next step of dialling, or the end of a call that was cleared away.
    Dial,
    /// The answer is assumed.
    Assumed,
    /// Ring-back has stopped.
    RingbackGone,
    /// It has rung for too long.
    NoAnswer,
    /// A tone is asked about again.
    ToneAgain,
    /// A tone has stayed although the own side speaks.
    ToneStays,
    /// The longest call.
    TalkMax,
    /// The loop says nothing about the far end: the box flashes.
    Flash,
    /// Dial tone is no end: the box has flashed.
    FlashTone,
    /// Battery, or a telephone beside the box.
    Alarm,
}

impl Timer {
    const ALL: [Self; 17] = [
        Self::Ring,
        Self::RingGap,
        Self::CallerKept,
        Self::CallerId,
        Self::Guard,
        Self::Look,
        Self::LookMax,
        Self::Dial,
        Self::Assumed,
        Self::RingbackGone,
        Self::NoAnswer,
        Self::ToneAgain,
        Self::ToneStays,
        Self::TalkMax,
        Self::Flash,
        Self::FlashTone,
        Self::Alarm,
    ];
}

/// Who has the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Nobody. The line is on hook.
    Rest,
    /// The exchange rings.
    Ringing {
        /// The leg that was offered, if it was.
        leg: Option<LegId>,
        /// The call was refused; a line has no means to say so, and rings on.
        was_refused: bool,
    },
    /// A placed leg; the line is looked at before it is taken.
    Looking(LegId),
    /// An emergency call; the call that rings is taken and dropped, to free the line.
    Clearing(LegId),
    /// The line is taken, dial tone is awaited.
    Seized(LegId),
    /// The number is dialled.
    Dialling(LegId),
    /// It is dialled; the answer is awaited.
    Supervising(LegId),
    /// Both sides speak.
    Talking(LegId),
}

/// The machine of one line of the exchange. See the [module](super).
#[derive(Debug)]
pub struct Fxo {
    line: LineId,
    pub(super) settings: FxoSettings,
    pub(super) plan: CountryPlan,
    pub(super) is_present: bool,
    pub(super) has_battery: bool,
    battery_went: Option<Instant>,
    pub(super) in_use: bool,
    /// What the calls were told about the line last.
    pub(super) told: Result<(), DownReason>,
    pub(super) stage: Stage,
    pub(super) supervised: Supervised,
    pub(super) caller: Option<HeardCaller>,
    pub(super) ring: RingMeter,
    pub(super) steps: VecDeque<Step>,
    /// A step of `steps` is being dialled.
    pub(super) dials: bool,
    /// The placed leg is an emergency call.
    pub(super) is_emergency: bool,
    pub(super) off_hook_since: Option<Instant>,
    pub(super) timers: Timers<Timer, { Timer::ALL.len() }>,
    pub(super) outputs: VecDeque<Output>,
    offered: u32,
    pub(super) sounds: bool,
    listen: Listen,
}

impl Fxo {
    /// A line whose device is not there yet.
    #[must_use]
    pub fn new(line: LineId, settings: FxoSettings, plan: CountryPlan) -> Self {
        Self {
            line,
            settings,
            plan,
            is_present: false,
            has_battery: true,
            battery_went: None,
            in_use: false,
            told: Err(DownReason::NoDevice),
            stage: Stage::Rest,
            supervised: Supervised::default(),
            caller: None,
            ring: RingMeter::new(),
            steps: VecDeque::new(),
            dials: false,
            is_emergency: false,
            off_hook_since: None,
            timers: Timers::new(Timer::ALL),
            outputs: VecDeque::new(),
            offered: 0,
            sounds: false,
            listen: Listen::default(),
        }
    }

    /// Takes an input. Timers that are due by `now` come first.
    pub fn handle(&mut self, now: Instant, input: Input) {
        while let Some(timer) = self.timers.take_due(now) {
            self.timeout(now, timer);
            self.settle();
        }
        match input {
            Input::Present => self.present(),
            Input::Gone => self.gone(now),
            Input::Signal(signal) if self.is_present => self.signal(now, signal),
            Input::Heard(heard) if self.is_present => self.heard(now, heard),
            Input::SoundEnded if self.is_present => {
                if std::mem::take(&mut self.sounds) {
                    self.step_over(now);
                }
            }
            Input::Command(command) => self.command(now, command),
            // A line of the exchange has no lamp.
            Input::Signal(_)
            | Input::Heard(_)
            | Input::SoundEnded
            | Input::MessagesWaiting(_)
            | Input::Timeout => {}
        }
        self.settle();
        self.check_invariants(now);
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next_timeout()
    }

    /// The box holds the line.
    #[must_use]
    pub const fn is_off_hook(&self) -> bool {
        self.off_hook_since.is_some()
    }

    /// The leg that has the line, off hook.
    pub(super) const fn leg_on_line(&self) -> Option<LegId> {
        match self.stage {
            Stage::Clearing(leg)
            | Stage::Seized(leg)
            | Stage::Dialling(leg)
            | Stage::Supervising(leg)
            | Stage::Talking(leg) => Some(leg),
            Stage::Rest | Stage::Ringing { .. } | Stage::Looking(_) => None,
        }
    }

    pub(super) const fn leg(&self) -> Option<LegId> {
        match self.stage {
            Stage::Ringing { leg, .. } => leg,
            Stage::Looking(leg) => Some(leg),
            Stage::Rest
            | Stage::Clearing(_)
            | Stage::Seized(_)
            | Stage::Dialling(_)
            | Stage::Supervising(_)
            | Stage::Talking(_) => self.leg_on_line(),
        }
    }

    pub(super) const fn is_joined(&self) -> bool {
        matches!(self.stage, Stage::Supervising(_) | Stage::Talking(_))
    }

    // --- The device and the wire.

    fn present(&mut self) {
        if !self.is_present {
            self.is_present = true;
            self.has_battery = true;
            self.in_use = false;
            self.told = Ok(());
            self.event(LineEvent::Up);
        }
    }

    fn gone(&mut self, now: Instant) {
        if !self.is_present {
            return;
        }
        // Nothing can be told to the wire any more; what is left of the call is told all the same.
        self.off_hook_since = None;
        self.sounds = false;
        match self.leg() {
            Some(leg) => self.sign_of_end(now, leg, EndSign::DeviceGone),
            None => self.rest(),
        }
        self.timers.stop_all();
        self.is_present = false;
        self.battery_went = None;
        self.listen = Listen::default();
        self.told = Err(DownReason::NoDevice);
        self.event(LineEvent::Down(DownReason::NoDevice));
    }

    fn signal(&mut self, now: Instant, signal: RxSignal) {
        match signal {
            // Off hook there is no ringing.
            RxSignal::RingOn | RxSignal::RingOff if self.is_off_hook() => {}
            RxSignal::RingOn => {
                self.ring.on(now);
                self.arm_ring();
            }
            RxSignal::RingOff => {
                self.ring.off(now);
                self.arm_ring();
            }
            RxSignal::Reversed(_) => self.reversed(now),
            RxSignal::LoopBreak { ms } => self.loop_broken(now, ms.into()),
            RxSignal::BatteryLost if self.has_battery => {
                self.has_battery = false;
                self.battery_went = Some(now);
                self.timers.set(Timer::Alarm, now + ALARM);
            }
            RxSignal::BatteryBack if !self.has_battery => {
                self.has_battery = true;
                self.timers.set(Timer::Alarm, now + ALARM);
                // Hardware that knows no breaks of the loop tells them like this.
                if let Some(went) = self.battery_went.take() {
                    let ms = u64::try_from((now - went).as_millis()).unwrap_or(u64::MAX);
                    self.loop_broken(now, ms);
                }
            }
            RxSignal::InUse(in_use) => {
                self.in_use = in_use;
                self.timers.set(Timer::Alarm, now + ALARM);
            }
            // Of phone ports, or nothing new.
            RxSignal::BatteryLost
            | RxSignal::BatteryBack
            | RxSignal::OffHook
            | RxSignal::OnHook
            | RxSignal::Flash { .. }
            | RxSignal::Pulses(_) => {}
        }
    }

    /// Battery, and telephones beside the box, have been as they are for a while.
    fn alarm(&mut self, now: Instant) {
        let stands = if !self.has_battery {
            Err(DownReason::Unplugged)
        } else if self.in_use && !self.is_off_hook() {
            Err(DownReason::InUse)
        } else {
            Ok(())
        };
        if stands == Err(DownReason::Unplugged) {
            match self.leg() {
                Some(leg) => self.sign_of_end(now, leg, EndSign::BatteryLost),
                None => self.rest(),
            }
        }
        if let (Stage::Ringing { leg, .. }, true) = (self.stage, self.in_use) {
            // Somebody has answered at the telephone beside the box.
            if let Some(leg) = leg {
                let cause = Cause::AnsweredElsewhere;
                self.event(LineEvent::Released { leg, cause, status: None });
            }
            self.rest();
        }
        if stands != self.told {
            self.told = stands;
            self.event(match stands {
                Ok(()) => LineEvent::Up,
                Err(reason) => LineEvent::Down(reason),
            });
        }
    }

    fn heard(&mut self, now: Instant, heard: Heard) {
        if let Heard::CallerId(caller) = heard {
            return self.caller_heard(now, caller);
        }
        match self.stage {
            Stage::Seized(leg) => match heard {
                Heard::Tone(HeardTone::Dial) => self.begin_dialling(now, leg),
                Heard::Tone(HeardTone::Busy | HeardTone::Congestion | HeardTone::Information) => {
                    self.hang_up(now, leg, Cause::NoCircuit);
                }
                Heard::Tone(
                    HeardTone::Ringback
                    | HeardTone::LearnedBusy
                    | HeardTone::FaxCalling
                    | HeardTone::FaxAnswer,
                )
                | Heard::Digit(_)
                | Heard::ToneEnded
                | Heard::CallerId(_)
                | Heard::CallerIdGarbled(_)
                | Heard::WaitingAlert
                | Heard::Voice
                | Heard::Silence(_)
                | Heard::LocalVoice(_) => {}
            },
            Stage::Supervising(leg) | Stage::Talking(leg) => self.heard_in_call(now, leg, &heard),
            Stage::Rest
            | Stage::Ringing { .. }
            | Stage::Looking(_)
            | Stage::Clearing(_)
            | Stage::Dialling(_) => {}
        }
    }

    // --- The exchange calls.

    fn arm_ring(&mut self) {
        match self.ring.due() {
            Some(due) => self.timers.set(Timer::Ring, due),
            None => self.timers.stop(Timer::Ring),
        }
    }

    fn ring_ticks(&mut self, now: Instant) {
        let event = self.ring.tick(now);
        self.arm_ring();
        match event {
            Some(RingEvent::Began) => self.ring_began(now),
            Some(RingEvent::BurstOver) => {
                let longest = Duration::from_millis(self.plan.ring.longest_off_ms().into());
                let gap = RING_GAP_MIN.max(longest.max(self.ring.longest_off()) * 3 / 2);
                self.timers.set(Timer::RingGap, now + gap);
                self.offer_when_known();
            }
            Some(RingEvent::RingOver) => self.offer_when_known(),
            Some(RingEvent::Stuck) => self.ring_given_up(),
            None => {}
        }
    }

    fn ring_began(&mut self, now: Instant) {
        self.timers.stop(Timer::RingGap);
        self.timers.stop(Timer::CallerKept);
        match self.stage {
            Stage::Rest => self.stage = Stage::Ringing { leg: None, was_refused: false },
            Stage::Looking(leg) if self.is_emergency => self.clear(now, leg),
            Stage::Looking(leg) => {
                // Glare: the exchange was first.
                self.refuse(leg);
                self.end_look();
                self.stage = Stage::Ringing { leg: None, was_refused: false };
            }
            Stage::Ringing { .. }
            | Stage::Clearing(_)
            | Stage::Seized(_)
            | Stage::Dialling(_)
            | Stage::Supervising(_)
            | Stage::Talking(_) => {}
        }
        self.offer_when_known();
    }

    /// Offers the call as soon as enough is known: who calls, or that nobody says so.
    pub(super) fn offer_when_known(&mut self) {
        let Stage::Ringing { leg: None, was_refused: false } = self.stage else { return };
        let rings = self.settings.caller_id_rings;
        let waited = rings == 0
            || self.ring.rings() > rings
            || self.ring.rings() == rings
                && !self.ring.is_active()
                && (rings > 1 || self.ring.knows_first_ring());
        let knows_number = self.settings.distinctive.is_empty() || self.ring.knows_first_ring();
        if self.ring.rings() == 0 || !knows_number || !(waited || self.caller.is_some()) {
            return;
        }
        self.offered = self.offered.wrapping_add(1);
        let leg = LegId::offered(self.line, self.offered);
        self.stage = Stage::Ringing { leg: Some(leg), was_refused: false };
        let other = self.settings.distinctive.iter().find(|other| self.ring.rings_like(&other.cadence));
        let number = other.map_or(&self.settings.number, |other| &other.number);
        let to = Number::new(number);
        let from = self.caller_or_unknown();
        self.event(LineEvent::Offered(Offer {
            leg,
            from,
            to,
            origin: Box::new(Origin::default()),
            codec: CODEC,
        }));
        if let Some(caller) = &self.caller {
            self.outputs.push_back(Output::Note(leg, Note::CallerId(caller.standard)));
        }
        if let Some(cadence) = self.ring.cadence() {
            self.outputs.push_back(Output::Note(leg, Note::Ring(cadence)));
        }
    }

    /// It rings no longer: the caller has given up.
    fn ring_given_up(&mut self) {
        let Stage::Ringing { leg, .. } = self.stage else { return };
        if let Some(leg) = leg {
            self.event(LineEvent::Released { leg, cause: Cause::Cancelled, status: None });
        }
        self.rest();
    }

    /// Nobody has the line, and nothing is known of the call before.
    fn rest(&mut self) {
        // The line may need its rest, and battery is watched in any case.
        for timer in Timer::ALL.into_iter().filter(|timer| !matches!(timer, Timer::Guard | Timer::Alarm)) {
            self.timers.stop(timer);
        }
        self.stage = Stage::Rest;
        self.supervised = Supervised::default();
        self.caller = None;
        self.ring = RingMeter::new();
        self.steps.clear();
        self.dials = false;
        self.is_emergency = false;
    }

    // --- The calls.

    fn command(&mut self, now: Instant, command: LineCommand) {
        match command {
            LineCommand::Place { leg, to, .. } => self.place(now, leg, &to),
            LineCommand::Answer { leg } => self.answer(now, leg),
            LineCommand::Release { leg, cause } => self.released(now, leg, cause),
            LineCommand::SendDigits { leg, digits } => self.send_digits(now, leg, &digits),
            LineCommand::Flash { leg } => self.flash(now, leg),
            // The exchange lets its caller hear that it rings.
            LineCommand::Alert { .. } => {}
            LineCommand::Refer { leg, .. } | LineCommand::Signal { leg, .. } => {
                if self.leg() == Some(leg) {
                    self.outputs.extend(no_words_for(&command).map(Output::Line));
                }
            }
            // Nobody asks for a transfer over two wires.
            LineCommand::Transfer { .. } | LineCommand::EndTransfer { .. } => {}
        }
    }

    fn answer(&mut self, now: Instant, id: LegId) {
        if self.stage != (Stage::Ringing { leg: Some(id), was_refused: false }) {
            return;
        }
        self.timers.stop(Timer::Ring);
        self.timers.stop(Timer::RingGap);
        self.go_off_hook(now);
        self.outputs.push_back(Output::Join(id));
        self.timers.set(Timer::CallerId, now + AFTER_ANSWER);
        self.supervised = Supervised::since(now);
        self.talk(now, id, Supervision::Signalled);
    }

    fn send_digits(&mut self, now: Instant, id: LegId, digits: &Digits) {
        if self.stage != Stage::Talking(id) {
            return;
        }
        let steps = dialling::steps_of(digits, self.settings.pulse);
        let room = STEPS_MAX.saturating_sub(self.steps.len());
        self.steps.extend(steps.into_iter().take(room));
        if !self.dials {
            self.next_step(now);
        }
    }

    fn flash(&mut self, now: Instant, id: LegId) {
        if self.stage != Stage::Talking(id) || self.timers.runs(Timer::Flash) {
            return;
        }
        let ms = self.settings.flash_ms.unwrap_or(self.plan.flash_sent_ms);
        self.outputs.push_back(Output::Signal(TxSignal::Flash { ms }));
        self.timers.set(Timer::Flash, now + Duration::from_millis(ms.into()) + FLASH_SETTLES);
        self.timers.set(Timer::FlashTone, now + FLASH_DIAL_TONE);
    }

    fn released(&mut self, now: Instant, id: LegId, cause: Cause) {
        if self.leg() != Some(id) {
            return;
        }
        match self.stage {
            Stage::Ringing { .. } => {
                self.stage = Stage::Ringing { leg: None, was_refused: true };
                self.event(LineEvent::Released { leg: id, cause, status: None });
            }
            Stage::Looking(_) => {
                self.end_look();
                self.stage = Stage::Rest;
                self.event(LineEvent::Released { leg: id, cause, status: None });
            }
            Stage::Rest
            | Stage::Clearing(_)
            | Stage::Seized(_)
            | Stage::Dialling(_)
            | Stage::Supervising(_)
            | Stage::Talking(_) => {
                self.note_end(id, EndSign::OwnRelease);
                self.hang_up(now, id, cause);
            }
        }
    }

    pub(super) fn go_off_hook(&mut self, now: Instant) {
        self.off_hook_since = Some(now);
        self.outputs.push_back(Output::Signal(TxSignal::OffHook));
    }

    /// The leg is over, and the line goes on hook.
    pub(super) fn hang_up(&mut self, now: Instant, leg: LegId, cause: Cause) {
        self.quiet();
        if self.is_joined() {
            self.outputs.push_back(Output::Part(leg));
        }
        if self.off_hook_since.take().is_some() {
            self.outputs.push_back(Output::Signal(TxSignal::OnHook));
            self.timers.set(Timer::Guard, now + self.settings.guard);
            // A telephone beside the box may have been off hook all the time.
            if self.in_use {
                self.timers.set(Timer::Alarm, now + ALARM);
            }
        }
        self.rest();
        self.event(LineEvent::Released { leg, cause, status: None });
    }

    // --- Time.

    fn timeout(&mut self, now: Instant, timer: Timer) {
        let leg = self.leg_on_line();
        match timer {
            Timer::Ring => self.ring_ticks(now),
            Timer::RingGap => self.ring_given_up(),
            Timer::CallerKept => self.caller = None,
            Timer::CallerId | Timer::Flash | Timer::FlashTone => {}
            Timer::Guard => {
                if matches!(self.stage, Stage::Looking(_)) {
                    self.look(now);
                }
            }
            Timer::Look => self.looked(now),
            Timer::LookMax => {
                if let Stage::Looking(leg) = self.stage {
                    self.give_up_look(leg);
                }
            }
            Timer::Dial => match self.stage {
                Stage::Clearing(leg) => self.cleared(now, leg),
                Stage::Seized(leg) if self.settings.dials_without_tone || self.is_emergency => {
                    self.begin_dialling(now, leg);
                }
                Stage::Seized(leg) => self.hang_up(now, leg, Cause::NoCircuit),
                Stage::Rest
                | Stage::Ringing { .. }
                | Stage::Looking(_)
                | Stage::Dialling(_)
                | Stage::Supervising(_)
                | Stage::Talking(_) => self.step_over(now),
            },
            Timer::Assumed => {
                if let Some(leg) = leg {
                    self.sign_of_answer(now, leg, AnswerSign::Assumed);
                }
            }
            Timer::RingbackGone => {
                if let Some(leg) = leg {
                    self.sign_of_answer(now, leg, AnswerSign::RingbackEnded);
                }
            }
            Timer::NoAnswer => {
                if let Some(leg) = leg {
                    self.hang_up(now, leg, Cause::NoAnswer);
                }
            }
            Timer::ToneAgain | Timer::ToneStays => self.tone_stayed(now),
            Timer::TalkMax => {
                if let Some(leg) = leg {
                    self.sign_of_end(now, leg, EndSign::TalkTime);
                }
            }
            Timer::Alarm => self.alarm(now),
        }
    }

    // --- What is told.

    pub(super) fn event(&mut self, event: LineEvent) {
        self.outputs.push_back(Output::Line(event));
    }

    pub(super) fn quiet(&mut self) {
        if std::mem::take(&mut self.sounds) {
            self.outputs.push_back(Output::Sound(Sound::Quiet));
        }
    }

    /// Listens for what the stage is about.
    fn settle(&mut self) {
        let supervises = matches!(self.stage, Stage::Supervising(_) | Stage::Talking(_));
        let waits =
            matches!(self.stage, Stage::Rest | Stage::Ringing { .. } | Stage::Looking(_)) && self.is_present;
        let listen = Listen {
            tones: supervises || matches!(self.stage, Stage::Seized(_)),
            voice: supervises,
            caller_id: waits || self.timers.runs(Timer::CallerId),
            ..Listen::default()
        };
        if listen != self.listen {
            self.listen = listen;
            self.outputs.push_back(Output::Listen(listen));
        }
    }

    /// What always holds between two inputs:
    ///
    /// 1. the line is off hook exactly while a leg has it;
    /// 2. off hook, ringing is not measured;
    /// 3. without a device, nothing goes on;
    /// 4. a leg that was offered has rung, one that was placed has not;
    /// 5. every timer is bounded, and at rest only those of rest run.
    fn check_invariants(&self, now: Instant) {
        debug_assert_eq!(self.is_off_hook(), self.leg_on_line().is_some(), "1: {self:?}");
        debug_assert!(!(self.is_off_hook() && self.timers.runs(Timer::Ring)), "2: {self:?}");
        debug_assert!(self.is_present || self.stage == Stage::Rest, "3: {self:?}");
        if let Stage::Ringing { leg: Some(leg), .. } = self.stage {
            debug_assert!(!leg.is_placed() && self.ring.rings() > 0, "4: {self:?}");
        }
        debug_assert!(self.timers.last_timeout().is_none_or(|at| at <= now + TIMER_MAX), "5: {self:?}");
        let at_rest = self.stage != Stage::Rest
            || ![Timer::RingGap, Timer::Look, Timer::Dial, Timer::Assumed, Timer::TalkMax]
                .iter()
                .any(|timer| self.timers.runs(*timer));
        debug_assert!(at_rest, "5: {self:?}");
    }
}
