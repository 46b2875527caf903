//! What goes into the machine of an analog line, and what comes out.
//!
//! After each `handle`, `poll` is drained to `None`, and one timer is armed for
//! `poll_timeout`. The shell (the thread of the port) has ears and a voice: it listens to
//! the wire for what [`Output::Listen`] says, and plays what [`Output::Sound`] says, in
//! the order in which it was told. Legs hear and are heard only while they are joined;
//! while a sound plays, the party at the wire hears it in place of the legs.

use std::time::Duration;

use tipring_model::line::{LineCommand, LineEvent, ReferReply};
use tipring_model::prompt::CallTone;
use tipring_model::signal::{FarSignal, LegSignal};
use tipring_model::{CallerId, Digit, Digits, LegId};

use crate::port::{Cadence, RxSignal, TxSignal};

/// What a machine is told.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// The wire did this.
    Signal(RxSignal),
    /// This was heard on the wire.
    Heard(Heard),
    /// A sound that was asked for is over, by itself; it is now as after [`Sound::Quiet`]. Not
    /// said of a sound that another one replaced.
    SoundEnded,
    /// A call wants this.
    Command(LineCommand),
    /// The device is there, or there again.
    Present,
    /// The device is gone, or does not answer.
    Gone,
    /// The office has messages waiting for this telephone, or none any more.
    MessagesWaiting(bool),
    /// The time of `poll_timeout` has come.
    Timeout,
}

/// What is heard on the wire.
#[derive(Clone, PartialEq, Debug)]
pub enum Heard {
    /// A key, once, when it goes down.
    Digit(Digit),
    /// A tone of the exchange, once it is certain.
    Tone(HeardTone),
    /// That tone is no longer there.
    ToneEnded,
    /// Who calls, by any of the standards.
    CallerId(HeardCaller),
    /// Something was sent that could not be read, for example a wrong checksum.
    CallerIdGarbled(CallerIdStandard),
    /// The alert before the caller ID of a waiting call (2130 and 2750 Hz).
    WaitingAlert,
    /// Somebody speaks.
    Voice,
    /// Nothing has been heard from the wire for so long. Said again at each whole second.
    Silence(Duration),
    /// The legs speak towards the wire, loud enough to come back as an echo; or no longer.
    LocalVoice(bool),
}

/// Tones of an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HeardTone {
    /// The exchange waits for digits.
    Dial,
    /// The far end rings.
    Ringback,
    /// The far end is busy, or has hung up.
    Busy,
    /// No way to the far end, or it has hung up.
    Congestion,
    /// An announcement follows (special information tone).
    Information,
    /// A tone that this line has been heard to end calls with.
    LearnedBusy,
    /// A fax machine calls (1100 Hz).
    FaxCalling,
    /// A fax machine or modem answers (2100 Hz).
    FaxAnswer,
}

/// How a caller was told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CallerIdStandard {
    /// Bell 202 FSK, Telcordia GR-30 formats.
    Bellcore,
    /// V.23 FSK, ETSI EN 300 659.
    Etsi,
    /// V.23 FSK as NTT has it.
    Ntt,
    /// DTMF digits between rings or before them.
    Dtmf,
}

impl CallerIdStandard {
    /// The word of records and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bellcore => "bellcore",
            Self::Etsi => "etsi",
            Self::Ntt => "ntt",
            Self::Dtmf => "dtmf",
        }
    }
}

/// A caller as the exchange named him.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeardCaller {
    /// By which standard.
    pub standard: CallerIdStandard,
    /// Who.
    pub caller: CallerId,
}

/// What the party at the wire is made to hear.
#[derive(Clone, PartialEq, Debug)]
pub enum Sound {
    /// Nothing: legs that are joined are heard again.
    Quiet,
    /// A tone of the country, until something else is asked for.
    Tone(CallTone),
    /// Dial tone with a stutter at its beginning: messages wait.
    StutterTone,
    /// Dial tone for a further call.
    RecallTone,
    /// Somebody else calls: one beep, over the legs that are joined. It ends by itself, and
    /// nothing is said of it.
    WaitingTone,
    /// The receiver was left off: loud.
    Howler,
    /// Tones of keys; [`Input::SoundEnded`] follows.
    Digits(Digits),
    /// A caller's number and name, by the country's standard; [`Input::SoundEnded`] follows.
    CallerId(CallerId),
    /// The same during a call, with the alert before it, if the telephone acknowledges.
    WaitingCallerId(CallerId),
    /// Whether messages wait, for a lamp in the telephone; [`Input::SoundEnded`] follows.
    MessageLamp(bool),
}

/// What is listened for. Everything else that is heard is kept to itself.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Listen {
    /// Keys.
    pub digits: bool,
    /// Tones of the exchange.
    pub tones: bool,
    /// Who calls.
    pub caller_id: bool,
    /// Speech and silence, on both sides.
    pub voice: bool,
    /// The alert of a waiting call.
    pub waiting_alert: bool,
}

/// What a machine asks for.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Do this to the wire.
    Signal(TxSignal),
    /// Let this be heard at the wire, in place of what is heard now.
    Sound(Sound),
    /// Listen for this from now on.
    Listen(Listen),
    /// The leg hears the wire and is heard on it. Several that are joined at a time hear
    /// each other as well.
    Join(LegId),
    /// No longer.
    Part(LegId),
    /// Two legs that are not joined hear each other from now on, without the wire, until they are
    /// released.
    Patch(LegId, LegId),
    /// The line has this to say to the calls.
    Line(LineEvent),
    /// For the record of the leg's call and the log of the port: what was found out, and
    /// how it is known.
    Note(LegId, Note),
}

/// How things on an analog line are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Note {
    /// The caller was told by this standard.
    CallerId(CallerIdStandard),
    /// How the answer is known.
    Answer(AnswerSign),
    /// How the end is known. More than one may be noted for a leg: each vote.
    End(EndSign),
    /// In which cadence the exchange rang, as far as it was measured.
    Ring(Cadence),
}

/// How the answer of a call over an exchange line is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AnswerSign {
    /// The exchange reversed the battery.
    Reversal,
    /// Somebody spoke after ring-back.
    Voice,
    /// Ring-back stopped.
    RingbackEnded,
    /// A fax machine or modem answered.
    FaxTone,
    /// Nothing was heard for so long that it is assumed.
    Assumed,
}

/// How the end of a call over an exchange line is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EndSign {
    /// The exchange broke the loop.
    LoopBreak,
    /// The exchange reversed the battery, or put it back.
    Reversal,
    /// Busy or congestion tone of the country.
    Tone(HeardTone),
    /// Dial tone came back.
    DialTone,
    /// Silence for too long.
    Silence,
    /// The longest time that a call may take on this line.
    TalkTime,
    /// Battery went.
    BatteryLost,
    /// The device went.
    DeviceGone,
    /// The box hung up first.
    OwnRelease,
}

impl AnswerSign {
    /// The word of records and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reversal => "reversal",
            Self::Voice => "voice",
            Self::RingbackEnded => "ringback-ended",
            Self::FaxTone => "fax-tone",
            Self::Assumed => "assumed",
        }
    }
}

impl EndSign {
    /// The word of records and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LoopBreak => "loop-break",
            Self::Reversal => "reversal",
            Self::Tone(HeardTone::Busy) => "busy-tone",
            Self::Tone(HeardTone::Congestion) => "congestion-tone",
            Self::Tone(HeardTone::LearnedBusy) => "learned-tone",
            Self::Tone(HeardTone::Information) => "information-tone",
            Self::Tone(HeardTone::Dial) | Self::DialTone => "dial-tone",
            Self::Tone(HeardTone::Ringback | HeardTone::FaxCalling | HeardTone::FaxAnswer) => "tone",
            Self::Silence => "silence",
            Self::TalkTime => "talk-time",
            Self::BatteryLost => "battery-lost",
            Self::DeviceGone => "device-gone",
            Self::OwnRelease => "own-release",
        }
    }
}

/// What a line answers to a command for which two wires have no words.
pub(super) fn no_words_for(command: &LineCommand) -> Option<LineEvent> {
    // RFC 3261 §21.5.2.
    let not_here = |leg| LineEvent::Referred { leg, reply: ReferReply::Answered(501) };
    match command {
        LineCommand::Refer { leg, .. } => Some(not_here(*leg)),
        LineCommand::Signal { leg, signal } => match **signal {
            LegSignal::Refer(_) => Some(not_here(*leg)),
            LegSignal::Remark(_) => {
                Some(LineEvent::Signalled { leg: *leg, signal: Box::new(FarSignal::Unsaid) })
            }
            LegSignal::Extras(_)
            | LegSignal::Ringing
            | LegSignal::Takes(_)
            | LegSignal::AnswerReferral(_) => None,
        },
        LineCommand::Place { .. }
        | LineCommand::Alert { .. }
        | LineCommand::Answer { .. }
        | LineCommand::SendDigits { .. }
        | LineCommand::Flash { .. }
        | LineCommand::Transfer { .. }
        | LineCommand::EndTransfer { .. }
        | LineCommand::Release { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use tipring_model::LineId;
    use tipring_model::signal::{Remark, RemarkKind};

    use super::*;

    #[test]
    fn who_asks_for_what_two_wires_have_no_words_for_is_told_so() {
        let leg = LegId::offered(LineId(0), 1);
        let said = |signal| no_words_for(&LineCommand::Signal { leg, signal: Box::new(signal) });
        let (media_type, body, headers) = ("text/plain".to_owned(), Vec::new(), Vec::new());
        let remark = Remark { kind: RemarkKind::Info, media_type, body, headers };
        let unsaid = LineEvent::Signalled { leg, signal: Box::new(FarSignal::Unsaid) };
        assert_eq!(said(LegSignal::Remark(remark)), Some(unsaid));
        let refused = LineEvent::Referred { leg, reply: ReferReply::Answered(501) };
        assert_eq!(said(LegSignal::Refer(leg)), Some(refused));
        assert_eq!(said(LegSignal::Ringing), None);
    }
}
