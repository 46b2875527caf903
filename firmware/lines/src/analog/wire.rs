//! A wire in virtual time for the tests of both machines: it gives a machine what the test
//! says, writes down what the machine wants, and watches what must hold as seen from outside.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tipring_model::line::{LineCommand, LineEvent, PlaceExtras};
use tipring_model::{CallerId, Cause, LegId, LineId, Number};
use tipring_testkit::Clock;

use super::contract::{Input, Note, Output, Sound};
use crate::port::{Cadence, PortKind, RxSignal, TxSignal};

/// The line of every test.
pub(super) const LINE: LineId = LineId(3);

/// Either machine.
pub(super) trait Machine {
    fn handle(&mut self, now: Instant, input: Input);
    fn poll(&mut self) -> Option<Output>;
    fn poll_timeout(&self) -> Option<Instant>;
    fn kind(&self) -> PortKind;
    /// The machine's own idea of the hook.
    fn is_off_hook(&self) -> bool;
}

/// What is seen of a leg from outside.
#[derive(Clone, Copy, Default)]
struct Seen {
    joined: bool,
    answered: bool,
}

pub(super) struct Wire<M> {
    pub(super) machine: M,
    clock: Clock,
    began: Instant,
    said: Vec<String>,
    live: HashMap<LegId, Seen>,
    gone: HashSet<LegId>,
    /// Phone port: the receiver is up as far as the wire showed; line port: as the machine said.
    off_hook: bool,
    /// Phone port: what the wire showed of the hook last.
    lifted: bool,
    /// The battery is cut, and the hook means nothing until then.
    broken_until: Option<Instant>,
    present: bool,
    rings: bool,
    pub(super) placed: u32,
    pub(super) notes: Vec<(LegId, Note)>,
    pub(super) offered: Vec<LegId>,
}

impl<M: Machine> Wire<M> {
    pub(super) fn new(machine: M) -> Self {
        let clock = Clock::new();
        Self {
            machine,
            clock,
            began: clock.now().instant,
            said: Vec::new(),
            live: HashMap::new(),
            gone: HashSet::new(),
            off_hook: false,
            lifted: false,
            broken_until: None,
            present: false,
            rings: false,
            placed: 0,
            notes: Vec::new(),
            offered: Vec::new(),
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now().instant
    }

    pub(super) fn legs(&self) -> Vec<LegId> {
        let mut legs: Vec<LegId> = self.live.keys().copied().collect();
        legs.sort();
        legs
    }

    /// Legs that were answered.
    pub(super) fn answered(&self, leg: LegId) -> bool {
        self.live.get(&leg).is_some_and(|seen| seen.answered)
    }

    pub(super) fn give(&mut self, input: Input) {
        let now = self.now();
        if self.broken_until.is_some_and(|until| until <= now) {
            self.broken_until = None;
            self.off_hook = self.lifted;
        }
        let is_phone = self.machine.kind() == PortKind::Phone && self.present;
        match &input {
            Input::Present => self.present = true,
            Input::Gone => {
                self.present = false;
                self.rings = false;
                self.lifted = false;
                self.broken_until = None;
            }
            Input::Signal(RxSignal::OffHook | RxSignal::Flash { .. }) if is_phone => self.lifted = true,
            Input::Signal(RxSignal::OnHook) if is_phone => self.lifted = false,
            Input::Command(LineCommand::Place { leg, .. }) if !self.gone.contains(leg) => {
                self.live.entry(*leg).or_default();
            }
            Input::Signal(_)
            | Input::Heard(_)
            | Input::SoundEnded
            | Input::Command(_)
            | Input::MessagesWaiting(_)
            | Input::Timeout => {}
        }
        if is_phone && self.broken_until.is_none() {
            self.off_hook = self.lifted;
        }
        self.machine.handle(now, input);
        self.drain();
    }

    fn drain(&mut self) {
        const OUTPUTS_MAX: usize = 64;
        for count in 0.. {
            let Some(output) = self.machine.poll() else { break };
            assert!(count < OUTPUTS_MAX, "too many outputs at once");
            self.watch(&output);
            self.said.push(shown(&output));
        }
        if !self.present {
            self.off_hook = false;
        }
        if self.broken_until.is_none() {
            assert_eq!(self.machine.is_off_hook(), self.off_hook, "the hook");
        }
        assert!(!(self.rings && self.off_hook), "it rings off hook");
        for (leg, seen) in &self.live {
            assert!(!seen.joined || self.off_hook, "{leg} is joined on hook");
        }
        if let Some(next) = self.machine.poll_timeout() {
            assert!(next > self.now(), "a timer that is over still runs");
        }
    }

    /// What must hold, output by output.
    fn watch(&mut self, output: &Output) {
        match output {
            Output::Join(leg) => {
                let seen = self.live.get_mut(leg).expect("a leg that is not there is joined");
                assert!(!std::mem::replace(&mut seen.joined, true), "{leg} is joined twice");
                assert!(!self.rings, "{leg} is joined while it rings");
            }
            Output::Part(leg) => {
                let seen = self.live.get_mut(leg).expect("a leg that is not there is parted");
                assert!(std::mem::replace(&mut seen.joined, false), "{leg} is parted, and was not joined");
            }
            Output::Patch(first, second) => {
                for leg in [first, second] {
                    let seen = self.live.get(leg).expect("a leg that is not there is patched");
                    assert!(seen.answered && !seen.joined, "{leg} is patched");
                }
            }
            Output::Line(LineEvent::Offered(offer)) => {
                let is_new = !self.gone.contains(&offer.leg);
                assert!(is_new && self.live.insert(offer.leg, Seen::default()).is_none(), "offered twice");
                self.offered.push(offer.leg);
            }
            Output::Line(LineEvent::Released { leg, .. }) => {
                let seen = self.live.remove(leg).expect("a leg is released twice, or was never there");
                assert!(!seen.joined, "{leg} is released while it is joined");
                self.gone.insert(*leg);
            }
            Output::Line(LineEvent::Answered { leg, .. }) => {
                let seen = self.live.get_mut(leg).expect("a leg that is not there is answered");
                assert!(!std::mem::replace(&mut seen.answered, true), "{leg} is answered twice");
            }
            Output::Line(
                LineEvent::Alerting { leg, .. }
                | LineEvent::Digit { leg, .. }
                | LineEvent::Held { leg, .. }
                | LineEvent::Refer { leg, .. }
                | LineEvent::Transferring { leg, .. }
                | LineEvent::Replaced { leg, .. }
                | LineEvent::Referred { leg, .. }
                | LineEvent::Signalled { leg, .. },
            ) => {
                assert!(self.live.contains_key(leg), "{leg} is not there: {output:?}");
            }
            Output::Note(leg, note) => {
                assert!(self.live.contains_key(leg), "{leg} is not there: {output:?}");
                self.notes.push((*leg, *note));
            }
            Output::Signal(signal) => self.watch_signal(signal),
            Output::Line(LineEvent::Up | LineEvent::Down(_)) | Output::Sound(_) | Output::Listen(_) => {}
        }
    }

    fn watch_signal(&mut self, signal: &TxSignal) {
        assert!(self.present, "a device that is gone is told {signal:?}");
        match signal {
            TxSignal::Ring(_) => {
                assert!(!std::mem::replace(&mut self.rings, true), "it rings already");
            }
            TxSignal::RingOff => assert!(std::mem::replace(&mut self.rings, false), "it does not ring"),
            TxSignal::OffHook => assert!(!std::mem::replace(&mut self.off_hook, true), "off hook already"),
            TxSignal::OnHook => assert!(std::mem::replace(&mut self.off_hook, false), "on hook already"),
            TxSignal::Flash { .. } | TxSignal::Pulses(_) => assert!(self.off_hook, "{signal:?} on hook"),
            TxSignal::DropBattery { ms } => {
                let lasts = Duration::from_millis(u64::from(*ms) + 300);
                self.broken_until = Some(self.now() + lasts);
            }
            TxSignal::OnHookAudio { .. } => assert!(!self.off_hook, "{signal:?} off hook"),
            TxSignal::Reverse(_) | TxSignal::Lamp(_) => {}
        }
    }

    /// Lets time pass; every timer has its time.
    pub(super) fn wait(&mut self, span: Duration) {
        let end = self.now() + span;
        while let Some(due) = self.machine.poll_timeout().filter(|due| *due <= end) {
            self.clock.advance_to(due);
            self.give(Input::Timeout);
        }
        self.clock.advance_to(end);
    }

    pub(super) fn wait_ms(&mut self, ms: u64) {
        self.wait(Duration::from_millis(ms));
    }

    pub(super) fn signal(&mut self, signal: RxSignal) {
        self.give(Input::Signal(signal));
    }

    /// What the machine has said since it was asked last.
    pub(super) fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    #[track_caller]
    pub(super) fn says(&mut self, expected: &[&str]) {
        let after = self.now() - self.began;
        assert_eq!(self.said(), expected, "after {after:?}");
    }

    pub(super) fn place(&mut self, from: &str) -> LegId {
        self.place_to("100", CallerId::of(from), PlaceExtras::default())
    }

    pub(super) fn place_to(&mut self, to: &str, from: CallerId, extras: PlaceExtras) -> LegId {
        self.placed += 1;
        let leg = LegId::placed(1, self.placed);
        let to = Number::new(to);
        self.give(Input::Command(LineCommand::Place { leg, to, from, extras }));
        leg
    }

    pub(super) fn release(&mut self, leg: LegId, cause: Cause) {
        self.give(Input::Command(LineCommand::Release { leg, cause }));
    }

    pub(super) fn answer(&mut self, leg: LegId) {
        self.give(Input::Command(LineCommand::Answer { leg }));
    }
}

/// The leg that the line offered as its `seq`-th.
pub(super) fn offered(seq: u32) -> LegId {
    LegId::offered(LINE, seq)
}

/// An output in one line.
pub(super) fn shown(output: &Output) -> String {
    match output {
        Output::Signal(signal) => format!("signal {}", signal_shown(signal)),
        Output::Sound(sound) => format!("sound {}", sound_shown(sound)),
        Output::Listen(listen) => {
            let on = [
                (listen.digits, "digits"),
                (listen.tones, "tones"),
                (listen.caller_id, "caller-id"),
                (listen.voice, "voice"),
                (listen.waiting_alert, "waiting-alert"),
            ];
            let names: Vec<&str> = on.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
            format!("listen {}", if names.is_empty() { "nothing".to_owned() } else { names.join("+") })
        }
        Output::Join(leg) => format!("join {leg}"),
        Output::Part(leg) => format!("part {leg}"),
        Output::Patch(first, second) => format!("patch {first} {second}"),
        Output::Note(leg, note) => format!("note {leg} {note:?}"),
        Output::Line(event) => match event {
            LineEvent::Up => "up".to_owned(),
            LineEvent::Down(reason) => format!("down {reason:?}"),
            LineEvent::Offered(offer) => {
                format!("offered {} from {} to {}", offer.leg, offer.from.number_or_anonymous(), offer.to)
            }
            LineEvent::Alerting { leg, early_media } => {
                format!("alerting {leg}{}", if *early_media { " early" } else { "" })
            }
            LineEvent::Answered { leg, supervision, .. } => format!("answered {leg} {supervision:?}"),
            LineEvent::Digit { leg, digit } => format!("digit {leg} {digit}"),
            LineEvent::Held { leg, held } => format!("{} {leg}", if *held { "held" } else { "taken" }),
            LineEvent::Refer { leg, referral } => match referral.replaces {
                Some(other) => format!("refer {leg} to {} replaces {other}", referral.to),
                None => format!("refer {leg} to {}", referral.to),
            },
            LineEvent::Transferring { leg, stage } => format!("transferring {leg} {stage:?}"),
            LineEvent::Replaced { .. } | LineEvent::Referred { .. } | LineEvent::Signalled { .. } => {
                format!("{event:?}")
            }
            LineEvent::Released { leg, cause, .. } => format!("released {leg} {cause}"),
        },
    }
}

fn cadence(cadence: &Cadence) -> String {
    cadence.steps_ms().iter().map(u16::to_string).collect::<Vec<_>>().join("-")
}

fn signal_shown(signal: &TxSignal) -> String {
    match signal {
        TxSignal::Ring(steps) => format!("ring {}", cadence(steps)),
        TxSignal::RingOff => "ring-off".to_owned(),
        TxSignal::OnHook => "on-hook".to_owned(),
        TxSignal::OffHook => "off-hook".to_owned(),
        TxSignal::Flash { ms } => format!("flash {ms}"),
        TxSignal::Pulses(digit) => format!("pulses {digit}"),
        TxSignal::Reverse(on) => format!("reverse {on}"),
        TxSignal::DropBattery { ms } => format!("drop-battery {ms}"),
        TxSignal::OnHookAudio { .. } => "on-hook-audio".to_owned(),
        TxSignal::Lamp(on) => format!("lamp {on}"),
    }
}

fn sound_shown(sound: &Sound) -> String {
    match sound {
        Sound::Quiet => "quiet".to_owned(),
        Sound::Tone(tone) => format!("{tone:?}").to_lowercase(),
        Sound::StutterTone => "stutter".to_owned(),
        Sound::RecallTone => "recall".to_owned(),
        Sound::WaitingTone => "beep".to_owned(),
        Sound::Howler => "howler".to_owned(),
        Sound::Digits(digits) => format!("digits {digits}"),
        Sound::CallerId(caller) => format!("caller {}", caller.number_or_anonymous()),
        Sound::WaitingCallerId(caller) => format!("waiting-caller {}", caller.number_or_anonymous()),
        Sound::MessageLamp(on) => format!("message-lamp {on}"),
    }
}
