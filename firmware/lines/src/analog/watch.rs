//! How the port of a line stands, and what happened at it: for whoever looks.
//!
//! Pure: a [`Watch`] follows what its line's machine is told and what it wants. [`Happenings`]
//! keeps the newest of what happened at all lines, whether anybody looks or not.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, SystemTime};

use tipring_model::line::{DownReason, LineEvent, Supervision};
use tipring_model::{CallerId, Cause, LegId, LineId, Number};

use super::contract::{
    AnswerSign, CallerIdStandard, EndSign, Heard, HeardCaller, HeardTone, Input, Note, Output, Sound,
};
use super::gauges::Levels;
use super::lessons::LearnedTone;
use super::settings::PortName;
use super::try_out::{TryOut, TryOutReport};
use crate::port::linecard::Reading;
use crate::port::{PortKind, RxSignal, TxSignal};

/// Happenings that are kept; the oldest go.
pub const HAPPENINGS_MAX: usize = 1_000;
/// Of silence, which is heard each second, so much is one happening.
const SILENCE_EVERY: Duration = Duration::from_secs(10);

/// What the wire of a port does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WireState {
    /// The device is not there: nobody knows.
    Unknown,
    /// Nothing.
    OnHook,
    /// Phone port: the receiver is lifted.
    OffHook,
    /// Phone port: the telephone rings. Line port: the exchange rings.
    Ringing,
    /// Line port: the box holds the line.
    Seized,
    /// Line port: another telephone on the same line holds it.
    InUse,
    /// Line port: nothing is plugged in.
    NoBattery,
}

impl WireState {
    /// The word of status and command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::OnHook => "on-hook",
            Self::OffHook => "off-hook",
            Self::Ringing => "ringing",
            Self::Seized => "seized",
            Self::InUse => "in-use",
            Self::NoBattery => "no-battery",
        }
    }
}

/// Who called last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LastCaller {
    /// When it was told.
    pub at: SystemTime,
    /// Line port: as the exchange told it. Phone port: as the telephone was told.
    pub heard: HeardCaller,
}

/// Volts and milliamperes, as the card measured them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Measured {
    /// When.
    pub at: SystemTime,
    /// What.
    pub reading: Reading,
}

/// How the port of a line stands.
#[derive(Clone, PartialEq, Debug)]
pub struct PortStatus {
    /// The line.
    pub line: LineId,
    /// Its port.
    pub port: PortName,
    /// Which way round it is.
    pub kind: PortKind,
    /// The device is there, with such a port.
    pub is_present: bool,
    /// Why the device is not there: a code of the catalogue.
    pub device_fault: Option<&'static str>,
    /// Why the line can carry no calls, if it cannot.
    pub down: Option<DownReason>,
    /// What the wire does.
    pub wire: WireState,
    /// Legs on it.
    pub legs: Vec<LegId>,
    /// It is being tried out.
    pub is_tried: bool,
    /// Who called last.
    pub last_caller: Option<LastCaller>,
    /// How the answer of a call over it was known last.
    pub last_answer: Option<AnswerSign>,
    /// How the end of a call over it was known last.
    pub last_end: Option<EndSign>,
    /// Calls that came over it into the box since the start.
    pub calls_in: u64,
    /// Calls that the box made over it since the start: it rang, or the number was dialled.
    pub calls_out: u64,
    /// What was heard at the ports of the device and was lost, because the box was behind.
    pub lost_facts: u64,
    /// Volts and milliamperes, if the card measures them and was asked.
    pub measured: Option<Measured>,
    /// How loud it is now.
    pub levels: Levels,
}

/// What the machine of a line says of its wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Standing {
    pub(super) wire: WireState,
    pub(super) legs: Vec<LegId>,
    /// Nobody has it: it may be tried out.
    pub(super) is_free: bool,
}

/// Follows one line.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) last_caller: Option<LastCaller>,
    pub(super) last_answer: Option<AnswerSign>,
    pub(super) last_end: Option<EndSign>,
    pub(super) calls_in: u64,
    pub(super) calls_out: u64,
    /// Somebody was heard speaking, and nothing else since.
    voice: bool,
}

impl Watch {
    /// The machine is told this.
    pub(super) fn input(&mut self, at: SystemTime, input: &Input) -> Option<What> {
        match input {
            Input::Signal(signal) => Some(What::Did(*signal)),
            Input::Heard(heard) => {
                if let Heard::CallerId(caller) = heard {
                    self.last_caller = Some(LastCaller { at, heard: caller.clone() });
                }
                self.heard(heard)
            }
            Input::SoundEnded
            | Input::Command(_)
            | Input::Present
            | Input::Gone
            | Input::MessagesWaiting(_)
            | Input::Timeout => None,
        }
    }

    /// Speech and silence are told once, not as often as they are heard.
    fn heard(&mut self, heard: &Heard) -> Option<What> {
        let was_voice = self.voice;
        self.voice = matches!(heard, Heard::Voice) || was_voice && matches!(heard, Heard::LocalVoice(_));
        let is_news = match heard {
            Heard::Voice => !was_voice,
            Heard::Silence(lasts) => lasts.as_secs().is_multiple_of(SILENCE_EVERY.as_secs()),
            Heard::LocalVoice(_) => false,
            Heard::Digit(_)
            | Heard::Tone(_)
            | Heard::ToneEnded
            | Heard::CallerId(_)
            | Heard::CallerIdGarbled(_)
            | Heard::WaitingAlert => true,
        };
        is_news.then(|| What::Heard(heard.clone()))
    }

    /// The machine wants this. `standard` is how telephones are told who calls.
    pub(super) fn output(
        &mut self,
        at: SystemTime,
        output: &Output,
        standard: CallerIdStandard,
    ) -> Option<What> {
        match output {
            Output::Signal(signal) => Some(What::Told(signal.clone())),
            Output::Sound(sound) => {
                if let Sound::CallerId(caller) | Sound::WaitingCallerId(caller) = sound {
                    let heard = HeardCaller { standard, caller: caller.clone() };
                    self.last_caller = Some(LastCaller { at, heard });
                }
                Some(What::Plays(sound.clone()))
            }
            Output::Note(leg, note) => {
                match note {
                    Note::Answer(sign) => self.last_answer = Some(*sign),
                    Note::End(sign) => self.last_end = Some(*sign),
                    Note::CallerId(_) | Note::Ring(_) => {}
                }
                Some(What::Noted(*leg, *note))
            }
            Output::Line(event) => self.event(event),
            Output::Listen(_) | Output::Join(_) | Output::Part(_) | Output::Patch(..) => None,
        }
    }

    fn event(&mut self, event: &LineEvent) -> Option<What> {
        Some(match event {
            LineEvent::Up => What::Up,
            LineEvent::Down(reason) => What::Down(*reason),
            LineEvent::Offered(offer) => {
                self.calls_in += 1;
                What::Call(offer.leg, CallStep::Offered { from: offer.from.clone(), to: offer.to.clone() })
            }
            LineEvent::Alerting { leg, .. } => {
                self.calls_out += u64::from(leg.is_placed());
                What::Call(*leg, CallStep::Alerting)
            }
            LineEvent::Answered { leg, supervision, .. } => {
                What::Call(*leg, CallStep::Answered(*supervision))
            }
            LineEvent::Held { leg, held } => What::Call(*leg, CallStep::Held(*held)),
            LineEvent::Refer { leg, .. } => What::Call(*leg, CallStep::Transfers),
            LineEvent::Released { leg, cause, .. } => What::Call(*leg, CallStep::Released(*cause)),
            // The digit was told as a signal.
            LineEvent::Digit { .. }
            | LineEvent::Transferring { .. }
            | LineEvent::Replaced { .. }
            | LineEvent::Referred { .. }
            | LineEvent::Signalled { .. } => return None,
        })
    }
}

/// What happened at a port.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// The line can carry calls.
    Up,
    /// It cannot.
    Down(DownReason),
    /// The wire did this.
    Did(RxSignal),
    /// The wire was told this.
    Told(TxSignal),
    /// The device refused a signal, or a setting or measurement where there is none.
    Refused(Option<TxSignal>),
    /// This was heard.
    Heard(Heard),
    /// This is played.
    Plays(Sound),
    /// Something was found out about a call.
    Noted(LegId, Note),
    /// A call went on.
    Call(LegId, CallStep),
    /// The line was heard to end calls with a tone.
    Learned(LearnedTone),
    /// It is tried out.
    Tried(TryOut),
    /// And this came of it.
    Found(Box<TryOutReport>),
}

/// How a call goes on at a line.
#[derive(Clone, PartialEq, Debug)]
pub enum CallStep {
    /// It came over the line.
    Offered {
        /// Who calls.
        from: CallerId,
        /// Whom.
        to: Number,
    },
    /// It was dialled, or the telephone rings.
    Alerting,
    /// It was answered, and how that is known.
    Answered(Supervision),
    /// It is held, or taken back.
    Held(bool),
    /// The telephone hands it over.
    Transfers,
    /// It is over.
    Released(Cause),
}

impl What {
    /// The kind in one word: `line`, `wire`, `told`, `refused`, `heard`, `plays`, `note`, `call`,
    /// `learned`, `test`. With the text of [`Display`](fmt::Display) it says all.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Up | Self::Down(_) => "line",
            Self::Did(_) => "wire",
            Self::Told(_) => "told",
            Self::Refused(_) => "refused",
            Self::Heard(_) => "heard",
            Self::Plays(_) => "plays",
            Self::Noted(..) => "note",
            Self::Call(..) => "call",
            Self::Learned(_) => "learned",
            Self::Tried(_) | Self::Found(_) => "test",
        }
    }

    /// The leg that it is about.
    #[must_use]
    pub const fn leg(&self) -> Option<LegId> {
        match self {
            Self::Noted(leg, _) | Self::Call(leg, _) => Some(*leg),
            Self::Up
            | Self::Down(_)
            | Self::Did(_)
            | Self::Told(_)
            | Self::Refused(_)
            | Self::Heard(_)
            | Self::Plays(_)
            | Self::Learned(_)
            | Self::Tried(_)
            | Self::Found(_) => None,
        }
    }
}

/// Without the [kind](What::kind) and the leg.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.write_str("can carry calls"),
            Self::Down(reason) => f.write_str(down(*reason)),
            Self::Did(signal) => did(f, *signal),
            Self::Told(signal) | Self::Refused(Some(signal)) => told(f, signal),
            Self::Refused(None) => f.write_str("a setting or a measurement"),
            Self::Heard(heard) => heard_shown(f, heard),
            Self::Plays(sound) => plays(f, sound),
            Self::Noted(_, note) => noted(f, *note),
            Self::Call(_, step) => write!(f, "{step}"),
            Self::Learned(tone) => write!(f, "tone {tone} ends calls"),
            Self::Tried(what) => write!(f, "begins: {what}"),
            Self::Found(report) => write!(f, "{report}"),
        }
    }
}

impl fmt::Display for CallStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offered { from, to } => write!(f, "from {} to {to}", from.number_or_anonymous()),
            Self::Alerting => f.write_str("rings or is dialled"),
            Self::Answered(Supervision::Signalled) => f.write_str("answered"),
            Self::Answered(Supervision::Inferred) => f.write_str("answered, as far as can be known"),
            Self::Held(true) => f.write_str("held"),
            Self::Held(false) => f.write_str("taken back"),
            Self::Transfers => f.write_str("handed over by the telephone"),
            Self::Released(cause) => write!(f, "over: {cause}"),
        }
    }
}

const fn down(reason: DownReason) -> &'static str {
    match reason {
        DownReason::Unplugged => "cannot carry calls: no battery, nothing is plugged in",
        DownReason::InUse => "cannot carry calls: another telephone on the line is off hook",
        DownReason::NoDevice => "cannot carry calls: the device is not there",
        DownReason::NoPort => "cannot carry calls: the device has no such port",
        DownReason::WrongPort => "cannot carry calls: the port is one of the other kind",
        DownReason::NotRegistered
        | DownReason::CredentialsRefused
        | DownReason::Unreachable
        | DownReason::Status(_) => "cannot carry calls",
    }
}

fn did(f: &mut fmt::Formatter<'_>, signal: RxSignal) -> fmt::Result {
    match signal {
        RxSignal::OffHook => f.write_str("receiver lifted"),
        RxSignal::OnHook => f.write_str("receiver put down"),
        RxSignal::Flash { ms } => write!(f, "hook flash of {ms} ms"),
        RxSignal::Pulses(digit) => write!(f, "{digit} dialled by pulses"),
        RxSignal::RingOn => f.write_str("ringing voltage"),
        RxSignal::RingOff => f.write_str("ringing voltage gone"),
        RxSignal::Reversed(true) => f.write_str("battery reversed"),
        RxSignal::Reversed(false) => f.write_str("battery as usual"),
        RxSignal::LoopBreak { ms } => write!(f, "loop broken for {ms} ms"),
        RxSignal::BatteryLost => f.write_str("battery lost"),
        RxSignal::BatteryBack => f.write_str("battery back"),
        RxSignal::InUse(true) => f.write_str("another telephone is off hook"),
        RxSignal::InUse(false) => f.write_str("no other telephone is off hook"),
    }
}

fn told(f: &mut fmt::Formatter<'_>, signal: &TxSignal) -> fmt::Result {
    match signal {
        TxSignal::OnHook => f.write_str("on hook"),
        TxSignal::OffHook => f.write_str("off hook"),
        TxSignal::Flash { ms } => write!(f, "hook flash of {ms} ms"),
        TxSignal::Pulses(digit) => write!(f, "dial {digit} by pulses"),
        TxSignal::Ring(cadence) => {
            f.write_str("ring")?;
            for (at, ms) in cadence.steps_ms().iter().enumerate() {
                write!(f, "{}{ms}", if at == 0 { ' ' } else { '-' })?;
            }
            Ok(())
        }
        TxSignal::RingOff => f.write_str("stop ringing"),
        TxSignal::Reverse(true) => f.write_str("reverse the battery"),
        TxSignal::Reverse(false) => f.write_str("battery as usual"),
        TxSignal::DropBattery { ms } => write!(f, "cut the battery for {ms} ms"),
        TxSignal::OnHookAudio { ms } => write!(f, "carry sound on hook for {ms} ms"),
        TxSignal::Lamp(true) => f.write_str("light the lamp"),
        TxSignal::Lamp(false) => f.write_str("put the lamp out"),
    }
}

/// The word for a tone of the exchange.
pub(super) const fn tone_word(tone: HeardTone) -> &'static str {
    match tone {
        HeardTone::Dial => "dial tone",
        HeardTone::Ringback => "ring-back",
        HeardTone::Busy => "busy tone",
        HeardTone::Congestion => "congestion tone",
        HeardTone::Information => "special information tone",
        HeardTone::LearnedBusy => "learned tone",
        HeardTone::FaxCalling => "calling tone of a fax",
        HeardTone::FaxAnswer => "answer tone of a fax or modem",
    }
}

fn heard_shown(f: &mut fmt::Formatter<'_>, heard: &Heard) -> fmt::Result {
    match heard {
        Heard::Digit(digit) => write!(f, "key {digit}"),
        Heard::Tone(tone) => f.write_str(tone_word(*tone)),
        Heard::ToneEnded => f.write_str("the tone is over"),
        Heard::CallerId(HeardCaller { standard, caller }) => {
            write!(f, "caller {}", caller.number_or_anonymous())?;
            if let Some(name) = &caller.name {
                write!(f, " \"{name}\"")?;
            }
            write!(f, " ({})", standard.as_str())
        }
        Heard::CallerIdGarbled(standard) => write!(f, "a caller ID that is damaged ({})", standard.as_str()),
        Heard::WaitingAlert => f.write_str("alert of a waiting call"),
        Heard::Voice => f.write_str("somebody speaks"),
        Heard::Silence(lasts) => write!(f, "silence for {} s", lasts.as_secs()),
        Heard::LocalVoice(true) => f.write_str("the own side speaks"),
        Heard::LocalVoice(false) => f.write_str("the own side is silent"),
    }
}

fn plays(f: &mut fmt::Formatter<'_>, sound: &Sound) -> fmt::Result {
    use tipring_model::prompt::CallTone;
    match sound {
        Sound::Quiet => f.write_str("nothing"),
        Sound::Tone(CallTone::Dial) => f.write_str("dial tone"),
        Sound::Tone(CallTone::Ringback) => f.write_str("ring-back"),
        Sound::Tone(CallTone::Busy) => f.write_str("busy tone"),
        Sound::Tone(CallTone::Congestion) => f.write_str("congestion tone"),
        Sound::StutterTone => f.write_str("dial tone that stutters: messages wait"),
        Sound::RecallTone => f.write_str("dial tone for a further call"),
        Sound::WaitingTone => f.write_str("beep: somebody else calls"),
        Sound::Howler => f.write_str("howler: the receiver was left off"),
        Sound::Digits(digits) => write!(f, "keys {digits}"),
        Sound::CallerId(caller) => write!(f, "caller {}", caller.number_or_anonymous()),
        Sound::WaitingCallerId(caller) => write!(f, "waiting caller {}", caller.number_or_anonymous()),
        Sound::MessageLamp(true) => f.write_str("messages wait"),
        Sound::MessageLamp(false) => f.write_str("no messages wait"),
    }
}

fn noted(f: &mut fmt::Formatter<'_>, note: Note) -> fmt::Result {
    match note {
        Note::CallerId(standard) => write!(f, "caller told by {}", standard.as_str()),
        Note::Answer(sign) => f.write_str(match sign {
            AnswerSign::Reversal => "answer known by: reversal of the battery",
            AnswerSign::Voice => "answer known by: somebody spoke",
            AnswerSign::RingbackEnded => "answer known by: ring-back stopped",
            AnswerSign::FaxTone => "answer known by: tone of a fax or modem",
            AnswerSign::Assumed => "answer assumed",
        }),
        Note::End(sign) => match sign {
            EndSign::LoopBreak => f.write_str("end known by: loop broken"),
            EndSign::Reversal => f.write_str("end known by: reversal of the battery"),
            EndSign::Tone(tone) => write!(f, "end known by: {}", tone_word(tone)),
            EndSign::DialTone => f.write_str("end known by: dial tone came back"),
            EndSign::Silence => f.write_str("end known by: silence"),
            EndSign::TalkTime => f.write_str("end: longest call"),
            EndSign::BatteryLost => f.write_str("end known by: battery lost"),
            EndSign::DeviceGone => f.write_str("end: the device went"),
            EndSign::OwnRelease => f.write_str("end: the box hung up"),
        },
        Note::Ring(cadence) => {
            f.write_str("rings")?;
            for (at, ms) in cadence.steps_ms().iter().enumerate() {
                write!(f, "{}{ms}", if at == 0 { ' ' } else { '-' })?;
            }
            Ok(())
        }
    }
}

/// Something that happened.
#[derive(Clone, PartialEq, Debug)]
pub struct Happening {
    /// Which: they count from 1.
    pub number: u64,
    /// When.
    pub at: SystemTime,
    /// At which line.
    pub line: LineId,
    /// What.
    pub what: What,
}

/// What happened since somebody looked last.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Happened {
    /// In their order.
    pub happenings: Vec<Happening>,
    /// So many came before these and are no longer kept.
    pub missed: u64,
}

/// The newest happenings of all lines.
#[derive(Default)]
pub(super) struct Happenings {
    kept: VecDeque<Happening>,
    last: u64,
}

impl Happenings {
    pub(super) fn add(&mut self, at: SystemTime, line: LineId, what: What) {
        if self.kept.len() >= HAPPENINGS_MAX {
            self.kept.pop_front();
        }
        self.last += 1;
        self.kept.push_back(Happening { number: self.last, at, line, what });
    }

    /// The number of the last one; 0 before any.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// Those after `number`.
    pub(super) fn since(&self, number: u64) -> Happened {
        let first = self.kept.front().map_or(self.last + 1, |oldest| oldest.number);
        let missed = first.saturating_sub(number.saturating_add(1));
        let happenings = self.kept.iter().filter(|one| one.number > number).cloned().collect();
        Happened { happenings, missed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Cadence;

    #[test]
    fn the_newest_are_kept_and_what_is_missed_is_counted() {
        let (mut happenings, at) = (Happenings::default(), SystemTime::UNIX_EPOCH);
        assert_eq!(happenings.since(0), Happened::default());
        for _ in 0..HAPPENINGS_MAX + 5 {
            happenings.add(at, LineId(1), What::Up);
        }
        let all = happenings.since(0);
        assert_eq!((all.missed, all.happenings.len()), (5, HAPPENINGS_MAX));
        assert_eq!(all.happenings[0].number, 6);
        let last = happenings.since(happenings.last() - 1);
        assert_eq!((last.missed, last.happenings.len()), (0, 1));
        // Somebody who looks with a number of an earlier run sees nothing, and waits.
        assert_eq!(happenings.since(u64::MAX), Happened::default());
    }

    #[test]
    fn speech_and_silence_are_told_once() {
        let mut watch = Watch::default();
        let mut told = |heard: Heard| watch.input(SystemTime::UNIX_EPOCH, &Input::Heard(heard)).is_some();
        let silence = |s| Heard::Silence(Duration::from_secs(s));
        let seen = [
            (Heard::Voice, true),
            (Heard::Voice, false),
            (Heard::LocalVoice(true), false),
            (Heard::Voice, false),
            (silence(1), false),
            (Heard::Voice, true),
            (silence(9), false),
            (silence(10), true),
            (silence(20), true),
        ];
        for (heard, expected) in seen {
            assert_eq!(told(heard.clone()), expected, "{heard:?}");
        }
    }

    #[test]
    fn calls_signs_and_callers_are_followed() {
        let (mut watch, at) = (Watch::default(), SystemTime::UNIX_EPOCH);
        let standard = CallerIdStandard::Etsi;
        let (came, made) = (LegId::offered(LineId(1), 1), LegId::placed(1, 1));
        let caller = CallerId::of("5550100");
        let heard = HeardCaller { standard: CallerIdStandard::Dtmf, caller: caller.clone() };
        watch.input(at, &Input::Heard(Heard::CallerId(heard.clone())));
        assert_eq!(watch.last_caller, Some(LastCaller { at, heard }));
        for output in [
            Output::Line(LineEvent::Alerting { leg: made, early_media: true }),
            Output::Note(made, Note::Answer(AnswerSign::Voice)),
            Output::Note(came, Note::End(EndSign::DialTone)),
            Output::Sound(Sound::CallerId(caller)),
        ] {
            assert!(watch.output(at, &output, standard).is_some());
        }
        assert_eq!((watch.calls_in, watch.calls_out), (0, 1));
        assert_eq!((watch.last_answer, watch.last_end), (Some(AnswerSign::Voice), Some(EndSign::DialTone)));
        assert_eq!(watch.last_caller.map(|caller| caller.heard.standard), Some(standard));
    }

    #[test]
    fn each_kind_reads_as_a_line() {
        let leg = LegId::offered(LineId(1), 1);
        for (what, kind, text) in [
            (What::Did(RxSignal::Flash { ms: 610 }), "wire", "hook flash of 610 ms"),
            (What::Told(TxSignal::Ring(Cadence::RING)), "told", "ring 2000-4000"),
            (What::Refused(Some(TxSignal::OffHook)), "refused", "off hook"),
            (What::Heard(Heard::Tone(HeardTone::Dial)), "heard", "dial tone"),
            (What::Noted(leg, Note::End(EndSign::LoopBreak)), "note", "end known by: loop broken"),
            (What::Call(leg, CallStep::Released(Cause::Busy)), "call", "over: busy"),
            (What::Down(DownReason::NoDevice), "line", "cannot carry calls: the device is not there"),
            (What::Tried(TryOut::Test), "test", "begins: test"),
        ] {
            assert_eq!((what.kind(), what.to_string().as_str()), (kind, text));
        }
    }
}
