//! The heart of the telephone's machine: hook, digits, legs, and what is heard when.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tipring_model::call::Origin;
use tipring_model::line::{DownReason, LineCommand, LineEvent, Offer, PlaceExtras, Supervision};
use tipring_model::prompt::CallTone;
use tipring_model::{CallerId, Cause, Digit, Digits, LegId, LineId, Number};

use super::digit_map::{DIGITS_MAX, DigitMap, Pattern, Verdict};
use super::legs::{LEGS_MAX, Leg, LegState, Legs};
use super::messages::Lamp;
use super::over::Over;
use super::ringing::{Beep, Ringing};
use super::settings::{Dialling, FxsSettings};
use crate::analog::CODEC;
use crate::analog::contract::{Heard, Input, Listen, Output, Sound, no_words_for};
use crate::analog::country::{CountryPlan, Recall};
use crate::analog::timers::Timers;
use crate::port::{Cadence, Capabilities, RxSignal, TxSignal};

/// Calls that a telephone begins in [`OFFERS_WINDOW`] at most; emergency calls are not counted.
const OFFERS_MAX: u32 = 20;
const OFFERS_WINDOW: Duration = Duration::from_secs(60);
/// A receiver that is put down so soon after a hook flash was meant to be put down.
const FLASH_BOUNCE: Duration = Duration::from_secs(2);
/// No timer runs longer.
pub(super) const TIMER_MAX: Duration = Duration::from_secs(120);

/// What the machine waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Timer {
    /// The first or next digit, or the decision that a number is complete.
    Digit,
    /// The hotline is dialled.
    Hotline,
    /// The next step of ringing: caller ID, the ring itself, or no more ringing for a held party.
    Ring,
    /// The next beep for a waiting call, or the caller's name after it.
    Beep,
    /// The digit after a hook flash.
    Recall,
    /// What is heard after a call: the tone, the howler, silence.
    Over,
    /// The lamp for waiting messages is told.
    Lamp,
    /// Whether two parties may be joined.
    HandOver,
}

/// What the telephone does.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// The receiver is down.
    Rest,
    /// It rings.
    Ringing(Ringing),
    /// Dial tone, or digits that were dialled so far.
    Dialling(Digits),
    /// A digit is awaited that says what the hook flash meant. Who was talked to before it.
    Recall(Vec<LegId>),
    /// A call is made or talked on.
    Call,
    /// A call is over, and the receiver is not down.
    Over(Over),
    /// The receiver was put down to join two parties, and the calls have not said that they may be.
    HandsOver {
        /// Who was there first.
        first: LegId,
        /// Whom the telephone has called.
        second: LegId,
    },
}

/// The machine of one telephone. See the [module](super).
#[derive(Debug)]
pub struct Fxs {
    pub(super) line: LineId,
    pub(super) settings: FxsSettings,
    pub(super) plan: CountryPlan,
    pub(super) map: DigitMap,
    pub(super) capabilities: Capabilities,
    pub(super) is_present: bool,
    pub(super) is_up: bool,
    pub(super) stage: Stage,
    pub(super) legs: Legs,
    /// Legs that the telephone has joined, and that go on without it.
    pub(super) joined: Vec<(LegId, LegId)>,
    pub(super) lamp: Lamp,
    pub(super) timers: Timers<Timer, 8>,
    pub(super) beep: Beep,
    pub(super) outputs: VecDeque<Output>,
    pub(super) flashed: Option<Instant>,
    offered: u32,
    offers: (Option<Instant>, u32),
    /// What was dialled while a hotline that leaves no time to dial calls: an emergency number
    /// takes its place, until somebody answers.
    breakthrough: Option<Digits>,
    // What the wire was told last.
    pub(super) rings: bool,
    pub(super) reverses: bool,
    sound: Sound,
    listen: Listen,
}

impl Fxs {
    /// A telephone whose device is not there yet. `numbers` are those of the box, which are
    /// dialled as soon as they are complete.
    #[must_use]
    pub fn new(
        line: LineId,
        settings: FxsSettings,
        plan: CountryPlan,
        numbers: &[Number],
        capabilities: Capabilities,
    ) -> Self {
        let emergency = plan.emergency.iter().filter_map(|number| Pattern::of(number)).collect();
        let known = numbers.iter().filter_map(|number| Pattern::of(number.as_str()));
        let of_country = plan.numbers.iter().filter_map(|text| Pattern::parse(text));
        let map = DigitMap::new(
            emergency,
            settings.numbers.iter().cloned().chain(known).chain(of_country).collect(),
        );
        Self {
            line,
            settings,
            plan,
            map,
            capabilities,
            is_present: false,
            is_up: false,
            stage: Stage::Rest,
            legs: Legs::default(),
            joined: Vec::new(),
            lamp: Lamp::new(),
            timers: Timers::new([
                Timer::Digit,
                Timer::Hotline,
                Timer::Ring,
                Timer::Beep,
                Timer::Recall,
                Timer::Over,
                Timer::Lamp,
                Timer::HandOver,
            ]),
            beep: Beep::First,
            outputs: VecDeque::new(),
            flashed: None,
            offered: 0,
            offers: (None, 0),
            breakthrough: None,
            rings: false,
            reverses: false,
            sound: Sound::Quiet,
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
            Input::Present => self.present(now),
            Input::Gone => self.gone(),
            Input::Signal(signal) if self.is_present => self.signal(now, signal),
            Input::Heard(Heard::Digit(digit)) if self.is_present => self.heard(now, digit),
            Input::SoundEnded if self.is_present => self.sound_ended(now),
            Input::Command(command) => self.command(now, command),
            Input::MessagesWaiting(waiting) => self.messages_waiting(now, waiting),
            // A telephone is heard by the legs; nothing but keys is listened for.
            Input::Heard(_) | Input::Signal(_) | Input::SoundEnded | Input::Timeout => {}
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

    /// What the device can do, known when it is there. To be told before [`Input::Present`].
    pub const fn set_capabilities(&mut self, capabilities: Capabilities) {
        self.capabilities = capabilities;
    }

    /// Legs that exist.
    #[must_use]
    pub fn legs_now(&self) -> usize {
        self.legs.all().len() + 2 * self.joined.len()
    }

    /// The receiver is up.
    #[must_use]
    pub const fn is_off_hook(&self) -> bool {
        self.is_up
    }

    // --- The wire.

    fn signal(&mut self, now: Instant, signal: RxSignal) {
        if let Stage::Over(Over::Break { is_up, .. }) = &mut self.stage {
            // Without battery there is no current, and a receiver that is up looks put down.
            if signal == RxSignal::OnHook {
                *is_up = false;
            } else if matches!(signal, RxSignal::OffHook | RxSignal::Flash { .. }) {
                *is_up = true;
            }
            return;
        }
        match signal {
            RxSignal::OffHook => self.lifted(now),
            RxSignal::OnHook => self.put_down(now),
            RxSignal::Flash { .. } if !self.is_up => self.lifted(now),
            RxSignal::Flash { ms } if ms > *self.plan.flash_ms.end() => {
                // Put down, and lifted again.
                self.leave(now);
                match self.legs.aside() {
                    Some(leg) => self.take(leg),
                    None => self.begin_dialling(now),
                }
            }
            RxSignal::Flash { ms } if ms >= *self.plan.flash_ms.start() => self.flash(now),
            RxSignal::Pulses(count) if self.settings.dialling != Dialling::Tone => {
                if let Some(digit) = digit_of_pulses(count) {
                    self.dialled(now, digit);
                }
            }
            // A flash that is too short is a scratch; the others are of line ports.
            RxSignal::Flash { .. }
            | RxSignal::Pulses(_)
            | RxSignal::RingOn
            | RxSignal::RingOff
            | RxSignal::Reversed(_)
            | RxSignal::LoopBreak { .. }
            | RxSignal::BatteryLost
            | RxSignal::BatteryBack
            | RxSignal::InUse(_) => {}
        }
    }

    fn present(&mut self, now: Instant) {
        if !self.is_present {
            self.is_present = true;
            self.event(LineEvent::Up);
            self.rest(now);
        }
    }

    /// The device is gone: what it was told is forgotten with it.
    fn gone(&mut self) {
        if !self.is_present {
            return;
        }
        for id in self.legs.ids() {
            self.end_leg(id, Cause::TemporaryFailure);
        }
        self.timers.stop_all();
        self.stage = Stage::Rest;
        self.is_present = false;
        self.is_up = false;
        self.rings = false;
        self.reverses = false;
        self.sound = Sound::Quiet;
        self.listen = Listen::default();
        self.flashed = None;
        self.lamp.forget();
        self.event(LineEvent::Down(DownReason::NoDevice));
    }

    fn lifted(&mut self, now: Instant) {
        if self.is_up {
            return;
        }
        self.is_up = true;
        self.flashed = None;
        match &self.stage {
            Stage::Ringing(ringing) => {
                let leg = ringing.leg;
                self.stop_ringing();
                self.take(leg);
            }
            Stage::Rest => self.begin_dialling(now),
            // Dial tone comes as soon as the two are joined.
            Stage::HandsOver { .. } => {}
            Stage::Dialling(_) | Stage::Recall(_) | Stage::Call | Stage::Over(_) => {}
        }
    }

    fn put_down(&mut self, now: Instant) {
        if !self.is_up {
            return;
        }
        self.is_up = false;
        if matches!(self.stage, Stage::HandsOver { .. }) || self.begins_transfer(now) {
            return;
        }
        self.leave(now);
        match self.legs.aside() {
            Some(leg) => self.ring_for(now, leg),
            None => self.rest(now),
        }
    }

    /// Whoever was talked to or called is left.
    fn leave(&mut self, now: Instant) {
        let is_bounce = self.flashed.take().is_some_and(|at| now < at + FLASH_BOUNCE);
        let talking = self.legs.talking();
        for id in talking.into_iter().chain(self.legs.calling()) {
            self.end_leg(id, Cause::NormalClearing);
        }
        if is_bounce && let Some(held) = self.legs.in_state(LegState::Held) {
            self.end_leg(held, Cause::NormalClearing);
        }
    }

    /// The receiver is down, and nobody is there.
    pub(super) fn rest(&mut self, now: Instant) {
        self.enter(Stage::Rest);
        self.quiet();
        self.plan_lamp(now);
    }

    // --- Digits.

    fn heard(&mut self, now: Instant, digit: Digit) {
        let listens = matches!(self.stage, Stage::Dialling(_) | Stage::Recall(_));
        if (listens || self.breakthrough.is_some()) && self.settings.dialling != Dialling::Pulse {
            self.dialled(now, digit);
        }
    }

    /// Dial tone, for the first call or for a further one.
    pub(super) fn begin_dialling(&mut self, now: Instant) {
        self.enter(Stage::Dialling(Digits::new()));
        let is_further = !self.legs.all().is_empty();
        match self.settings.hotline.clone() {
            Some((number, after)) if !is_further && after.is_zero() => {
                self.offer(now, &number);
                if self.legs.calling().is_some() && self.map.verdict(&number) != Verdict::Emergency {
                    self.breakthrough = Some(Digits::new());
                }
                return;
            }
            Some((_, after)) if !is_further => self.timers.set(Timer::Hotline, now + after),
            Some(_) | None => {}
        }
        let first = self.settings.first_digit.unwrap_or(self.plan.first_digit);
        self.timers.set(Timer::Digit, now + first.min(TIMER_MAX));
        self.play(if is_further {
            Sound::RecallTone
        } else if self.lamp.is_waiting() && self.settings.messages.stutter {
            Sound::StutterTone
        } else {
            Sound::Tone(CallTone::Dial)
        });
    }

    fn dialled(&mut self, now: Instant, digit: Digit) {
        if let Some(digits) = self.breakthrough.take() {
            return self.breaks_through(now, digits, digit);
        }
        match &mut self.stage {
            Stage::Recall(_) => self.recall_digit(now, digit),
            Stage::Call => {
                // By pulses alone: tones reach the legs as sound.
                for leg in self.legs.talking() {
                    self.event(LineEvent::Digit { leg, digit });
                }
            }
            Stage::Dialling(digits) => {
                let mut longer = digits.clone();
                longer.push(digit);
                let ends = digit == Digit::Hash && !digits.is_empty() && !self.map.knows(&longer);
                if !ends && longer.len() <= DIGITS_MAX {
                    *digits = longer;
                }
                let (digits, full) = (digits.clone(), digits.len() == DIGITS_MAX);
                self.timers.stop(Timer::Hotline);
                self.quiet();
                if ends || full {
                    self.offer(now, &digits);
                } else {
                    self.judge(now, &digits);
                }
            }
            Stage::Rest | Stage::Ringing(_) | Stage::Over(_) | Stage::HandsOver { .. } => {}
        }
    }

    /// A key while a hotline calls: the last one of an emergency number calls that instead.
    fn breaks_through(&mut self, now: Instant, mut digits: Digits, digit: Digit) {
        digits.push(digit);
        if self.map.verdict(&digits) == Verdict::Emergency {
            if let Some(id) = self.legs.calling() {
                self.end_leg(id, Cause::NormalClearing);
            }
            return self.offer(now, &digits);
        }
        let begins = |digits: &Digits| {
            let text = digits.to_string();
            self.plan.emergency.iter().any(|number| number.starts_with(&text))
        };
        if !begins(&digits) {
            digits = Digits::new();
            digits.push(digit);
            if !begins(&digits) {
                digits = Digits::new();
            }
        }
        self.breakthrough = Some(digits);
    }

    /// Dials what is complete, and waits for what is not.
    fn judge(&mut self, now: Instant, digits: &Digits) {
        let wait = match self.map.verdict(digits) {
            Verdict::Emergency | Verdict::Complete => return self.offer(now, digits),
            Verdict::Perhaps => self.plan.matched_digit,
            Verdict::Unfinished => self.settings.between_digits.unwrap_or(self.plan.between_digits),
        };
        self.timers.set(Timer::Digit, now + wait.min(TIMER_MAX));
    }

    /// No further digit came.
    fn digits_ended(&mut self, now: Instant) {
        let Stage::Dialling(digits) = &self.stage else { return };
        let digits = digits.clone();
        if !digits.is_empty() {
            return self.offer(now, &digits);
        }
        match self.legs.in_state(LegState::Held) {
            Some(held) => self.take(held),
            None => self.over(now, CallTone::Congestion),
        }
    }

    /// A leg begins at the telephone.
    fn offer(&mut self, now: Instant, digits: &Digits) {
        let is_emergency = self.map.verdict(digits) == Verdict::Emergency;
        if !is_emergency && !self.may_offer(now) {
            return self.over(now, CallTone::Congestion);
        }
        // The party that is held or waits leaves room for one; a new waiting call may have come.
        if !self.legs.has_room() {
            return self.over(now, CallTone::Busy);
        }
        self.offered = self.offered.wrapping_add(1);
        let id = LegId::offered(self.line, self.offered);
        let state = LegState::Calling { early: false };
        let (caller, cadence) = (CallerId::of(&digits.to_string()), self.plan.ring);
        self.legs.push(Leg { id, state, arrived: false, caller, cadence });
        self.enter(Stage::Call);
        self.quiet();
        let number = Number::new(&self.settings.number);
        self.event(LineEvent::Offered(Offer {
            leg: id,
            from: CallerId { number: Some(number), name: self.settings.display_name.clone() },
            to: Number::new(&digits.to_string()),
            origin: Box::new(Origin::default()),
            codec: CODEC,
        }));
    }

    fn may_offer(&mut self, now: Instant) -> bool {
        let (began, count) = self.offers;
        self.offers = match began {
            Some(began) if now < began + OFFERS_WINDOW => (Some(began), count.saturating_add(1)),
            Some(_) | None => (Some(now), 1),
        };
        self.offers.1 <= OFFERS_MAX
    }

    // --- The calls.

    fn command(&mut self, now: Instant, command: LineCommand) {
        match command {
            LineCommand::Place { leg, from, extras, .. } => self.place(now, leg, from, &extras),
            LineCommand::Alert { leg, early_media } => self.alert(leg, early_media),
            LineCommand::Answer { leg } => self.answer(leg),
            LineCommand::Release { leg, cause } => self.released(now, leg, cause),
            // What a telephone hears of digits is sound; and it has no exchange to flash to.
            LineCommand::SendDigits { .. } | LineCommand::Flash { .. } => {}
            LineCommand::Refer { leg, .. } | LineCommand::Signal { leg, .. } => {
                if self.legs.get(leg).is_some() || self.patched(leg).is_some() {
                    self.outputs.extend(no_words_for(&command).map(Output::Line));
                }
            }
            LineCommand::Transfer { leg, referral, .. } => self.transfer(now, leg, &referral),
            LineCommand::EndTransfer { leg, status } => self.end_transfer(now, leg, status),
        }
    }

    fn place(&mut self, now: Instant, id: LegId, caller: CallerId, extras: &PlaceExtras) {
        if self.legs.get(id).is_some() || self.patched(id).is_some() {
            return; // The same name twice: the leg that has it keeps it.
        }
        let refusal = match &self.stage {
            Stage::Rest if !self.is_present => Some(Cause::DestinationOutOfOrder),
            Stage::Rest => None,
            Stage::Call if self.may_wait() => None,
            Stage::Ringing(_)
            | Stage::Dialling(_)
            | Stage::Recall(_)
            | Stage::Call
            | Stage::Over(_)
            | Stage::HandsOver { .. } => Some(Cause::Busy),
        };
        if let Some(cause) = refusal {
            return self.event(LineEvent::Released { leg: id, cause, status: None });
        }
        let cadence = super::ringing::distinctive(extras).unwrap_or_else(|| self.ring_cadence());
        self.legs.push(Leg { id, state: LegState::Waiting, arrived: true, caller, cadence });
        match self.stage {
            Stage::Rest => self.ring_for(now, id),
            Stage::Call
            | Stage::Ringing(_)
            | Stage::Dialling(_)
            | Stage::Recall(_)
            | Stage::Over(_)
            | Stage::HandsOver { .. } => self.begin_beeps(now, Beep::First),
        }
        self.event(LineEvent::Alerting { leg: id, early_media: false });
    }

    /// A second caller may be announced: one party is talked to, and nobody else is there.
    fn may_wait(&self) -> bool {
        let one = matches!(self.legs.all(), [only] if only.state == LegState::Talking);
        one && self.settings.call_waiting
    }

    fn alert(&mut self, id: LegId, early_media: bool) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        match leg.state {
            LegState::Calling { early: false } if early_media => {
                leg.state = LegState::Calling { early: true };
                self.quiet();
                self.outputs.push_back(Output::Join(id));
            }
            LegState::Calling { early: false } if self.sound != Sound::Tone(CallTone::Ringback) => {
                self.play(Sound::Tone(CallTone::Ringback));
            }
            LegState::Calling { .. } | LegState::Talking | LegState::Held | LegState::Waiting => {}
        }
    }

    fn answer(&mut self, id: LegId) {
        if self.legs.get(id).is_some_and(Leg::is_calling) {
            self.take(id);
        }
    }

    /// The leg is talked to from now on: answered, or taken back.
    pub(super) fn take(&mut self, id: LegId) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let (was, was_joined) = (leg.state, leg.is_joined());
        leg.state = LegState::Talking;
        self.enter(Stage::Call);
        self.quiet();
        if !was_joined {
            self.outputs.push_back(Output::Join(id));
        }
        match was {
            LegState::Calling { .. } | LegState::Waiting => {
                let supervision = Supervision::Signalled;
                self.event(LineEvent::Answered { leg: id, supervision, codec: CODEC });
            }
            LegState::Held => self.event(LineEvent::Held { leg: id, held: false }),
            LegState::Talking => {}
        }
    }

    /// The leg is put aside.
    pub(super) fn hold(&mut self, id: LegId) {
        if let Some(leg) = self.legs.get_mut(id).filter(|leg| leg.state == LegState::Talking) {
            leg.state = LegState::Held;
            self.outputs.push_back(Output::Part(id));
            self.event(LineEvent::Held { leg: id, held: true });
        }
    }

    /// The leg is over, whoever wanted it.
    pub(super) fn end_leg(&mut self, id: LegId, cause: Cause) {
        let Some(leg) = self.legs.remove(id) else { return };
        if leg.is_joined() {
            self.outputs.push_back(Output::Part(id));
        }
        let gave_up = leg.is_calling() && cause == Cause::NormalClearing;
        let cause = if gave_up { Cause::Cancelled } else { cause };
        self.event(LineEvent::Released { leg: id, cause, status: None });
    }

    /// The call ends a leg.
    fn released(&mut self, now: Instant, id: LegId, cause: Cause) {
        if self.release_patched(id, cause) {
            return;
        }
        let Some(leg) = self.legs.get(id).cloned() else { return };
        self.end_leg(id, cause);
        match &mut self.stage {
            Stage::HandsOver { .. } => self.hand_over_lost(now),
            Stage::Ringing(ringing) if ringing.leg == id => {
                self.stop_ringing();
                match self.legs.aside() {
                    Some(other) => self.ring_for(now, other),
                    None => self.rest(now),
                }
            }
            Stage::Recall(talked) => {
                talked.retain(|known| *known != id);
                if talked.is_empty() {
                    self.after_call(now, &leg, cause);
                }
            }
            Stage::Call if self.legs.in_state(LegState::Waiting).is_none() => {
                self.timers.stop(Timer::Beep);
                if leg.is_joined() || leg.is_calling() {
                    self.after_call(now, &leg, cause);
                } else if leg.state == LegState::Waiting {
                    // What was played for it is over, and the others talk on.
                    self.quiet();
                }
            }
            Stage::Call if leg.is_joined() => self.after_call(now, &leg, cause),
            Stage::Call | Stage::Rest | Stage::Ringing(_) | Stage::Dialling(_) | Stage::Over(_) => {}
        }
    }

    // --- Time.

    fn timeout(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Digit => self.digits_ended(now),
            Timer::Hotline => {
                if let Some((number, _)) = self.settings.hotline.clone() {
                    self.offer(now, &number);
                }
            }
            Timer::Ring => self.ring_goes_on(now),
            Timer::Beep => self.beep_goes_on(now),
            Timer::Recall => self.recall_ended(now),
            Timer::Over => {
                if let Stage::Over(step) = self.stage {
                    self.over_goes_on(now, step);
                }
            }
            Timer::Lamp => self.tell_lamp(),
            Timer::HandOver => self.hand_over_late(now),
        }
    }

    // --- What is told.

    pub(super) fn event(&mut self, event: LineEvent) {
        self.outputs.push_back(Output::Line(event));
    }

    pub(super) fn signal_out(&mut self, signal: TxSignal) {
        self.outputs.push_back(Output::Signal(signal));
    }

    pub(super) fn play(&mut self, sound: Sound) {
        // A beep ends by itself, and the legs are heard again.
        self.sound = if sound == Sound::WaitingTone { Sound::Quiet } else { sound.clone() };
        self.outputs.push_back(Output::Sound(sound));
    }

    pub(super) fn quiet(&mut self) {
        if self.sound != Sound::Quiet {
            self.play(Sound::Quiet);
        }
    }

    fn sound_ended(&mut self, now: Instant) {
        self.sound = Sound::Quiet;
        match self.stage {
            Stage::Ringing(_) => self.caller_told(now),
            Stage::Rest => self.lamp.told(),
            Stage::Call
            | Stage::Dialling(_)
            | Stage::Recall(_)
            | Stage::Over(_)
            | Stage::HandsOver { .. } => {}
        }
    }

    /// Another stage: the timers of the old one are over.
    pub(super) fn enter(&mut self, stage: Stage) {
        for timer in [
            Timer::Digit,
            Timer::Hotline,
            Timer::Ring,
            Timer::Recall,
            Timer::Over,
            Timer::Lamp,
            Timer::HandOver,
        ] {
            self.timers.stop(timer);
        }
        if self.legs.in_state(LegState::Waiting).is_none() || !matches!(stage, Stage::Call) {
            self.timers.stop(Timer::Beep);
        }
        self.stage = stage;
        self.breakthrough = None;
    }

    pub(super) fn recall(&self) -> Recall {
        self.settings.recall.unwrap_or(self.plan.recall)
    }

    /// The telephone can be told who calls while it rings like this.
    pub(super) fn can_show_caller(&self, cadence: Cadence) -> bool {
        /// Caller ID needs so much silence after the first ring.
        const GAP_MIN_MS: u16 = 1_800;
        self.settings.caller_id && self.capabilities.on_hook_audio && cadence.longest_off_ms() >= GAP_MIN_MS
    }

    /// Tells the wire what follows from the stage alone.
    fn settle(&mut self) {
        let listen = Listen {
            digits: self.is_up
                && (matches!(self.stage, Stage::Dialling(_) | Stage::Recall(_))
                    || self.breakthrough.is_some()),
            ..Listen::default()
        };
        if listen != self.listen {
            self.listen = listen;
            self.outputs.push_back(Output::Listen(listen));
        }
        let answered = self.legs.all().iter().any(|leg| !leg.arrived && leg.is_answered());
        let tells = matches!(&self.stage, Stage::Ringing(ringing) if ringing.reverses());
        let reverses = self.capabilities.reversal && (answered && self.settings.reversal || tells);
        if reverses != self.reverses {
            self.reverses = reverses;
            self.signal_out(TxSignal::Reverse(reverses));
        }
    }

    /// What always holds between two inputs:
    ///
    /// 1. at most two legs, each with a name of its own;
    /// 2. without a device, nothing goes on;
    /// 3. the telephone rings only with its receiver down;
    /// 4. rest and ringing mean receiver down, everything else receiver up, but for two parties
    ///    that are being joined: the receiver may be lifted again meanwhile;
    /// 5. legs are heard only with the receiver up, in a call;
    /// 6. a call has a leg, rest has none, ringing has the leg that it is for;
    /// 7. every timer is bounded.
    fn check_invariants(&self, now: Instant) {
        let legs = self.legs.all();
        debug_assert!(legs.len() <= LEGS_MAX, "1: {legs:?}");
        debug_assert!(!matches!(legs, [a, b] if a.id == b.id), "1: {legs:?}");
        let rests = matches!(self.stage, Stage::Rest);
        debug_assert!(self.is_present || rests && legs.is_empty() && !self.is_up, "2: {self:?}");
        debug_assert!(!self.rings || !self.is_up && matches!(self.stage, Stage::Ringing(_)), "3: {self:?}");
        let hands_over = matches!(self.stage, Stage::HandsOver { .. });
        let down = rests || matches!(self.stage, Stage::Ringing(_));
        debug_assert!(hands_over || self.is_up != down, "4: {self:?}");
        let in_call = matches!(self.stage, Stage::Call);
        debug_assert!(in_call || !legs.iter().any(|leg| leg.is_joined() || leg.is_calling()), "5: {self:?}");
        debug_assert!(!in_call || legs.iter().any(|leg| leg.is_joined() || leg.is_calling()), "6: {self:?}");
        debug_assert!(!rests || legs.is_empty(), "6: {self:?}");
        if let Stage::Ringing(ringing) = &self.stage {
            debug_assert!(self.legs.get(ringing.leg).is_some(), "6: {self:?}");
        }
        debug_assert!(self.timers.last_timeout().is_none_or(|at| at <= now + TIMER_MAX), "7: {self:?}");
    }
}

fn digit_of_pulses(count: u8) -> Option<Digit> {
    Digit::from_event(count).filter(|_| count <= 9)
}
