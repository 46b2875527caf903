//! What goes into a call and what comes out.

use std::time::Duration;

use tipring_model::call::{Cdr, EndedBy};
use tipring_model::fetch::{DocumentKey, FetchError, HttpRequest, HttpResponse};
use tipring_model::flow::{
    ActionFailure, Booth, Detect, Detected, Message, Notice, Record, Recorded, Reply, ScriptEnd, Step,
    Stream, StreamEnd, Target, Warning,
};
use tipring_model::lamp::Lamp;
use tipring_model::letter::Letter;
use tipring_model::line::{LineCommand, LineEvent, PlaceExtras};
use tipring_model::prompt::PromptSource;
use tipring_model::{
    ActionId, CallerId, Digit, DigitPath, Digits, FetchId, LegId, MessageId, PlayId, RecordId,
};

use crate::exchange::{ExchangeEvent, ExchangeRequest, Seat};
use crate::features::mailbox::{MailboxReply, MailboxRequest};

/// Bounds of one call.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Legs with a party that exist at one time.
    pub legs_max: usize,
    /// Booths that exist at one time.
    pub booths_max: usize,
    /// Actions that run at one time.
    pub actions_max: usize,
    /// Fetches that are on the wire at one time.
    pub fetches_max: usize,
    /// Longest call, whatever its flow says.
    pub length_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            legs_max: 16,
            booths_max: 32,
            actions_max: 192,
            fetches_max: 4,
            length_max: Duration::from_secs(24 * 3_600),
        }
    }
}

/// What a call is told.
#[derive(Debug)]
pub enum CallInput<'a> {
    /// The first input, once: the flow begins.
    Start,
    /// A line about one of the call's legs, or of one that calls its session.
    Line(LineEvent),
    /// A leg that was placed is tried over another line, since the one before failed: what it let
    /// hear so far is over. What comes of it are events of the line, as before.
    TriedAgain(LegId),
    /// The media engine about one of the call's legs.
    Media(LegId, MediaEvent),
    /// The answer to [`CallOutput::Fetch`]; exactly one each.
    Fetched(FetchId, Result<&'a HttpResponse, FetchError>),
    /// The exchange about one of the call's seats.
    Exchange(ActionId, ExchangeEvent),
    /// The server of a [`CallOutput::Stream`] is reached; at most one each, before its end.
    StreamBegan(ActionId),
    /// A [`CallOutput::Stream`] is over; exactly one each.
    StreamEnded(ActionId, StreamEnd),
    /// What was heard by [`CallOutput::Detect`]; at most one each.
    Detected(ActionId, Detected),
    /// The answer to [`CallOutput::Mailbox`]; exactly one each.
    Mailbox(ActionId, MailboxReply),
    /// Somebody outside speaks to the flow.
    Message(MessageId, &'a Message),
    /// What the flow's script says, or why it says no more; see [`CallOutput::Script`].
    Script(Result<&'a [u8], ScriptEnd>),
    /// Somebody at the box wants something.
    Request(Request),
    /// [`Call::poll_timeout`](crate::Call::poll_timeout) has come.
    Timeout,
}

/// What somebody at the box may ask of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// End it.
    HangUp(EndedBy),
}

/// What is heard and played on a leg.
#[derive(Clone, PartialEq, Debug)]
pub enum MediaEvent {
    /// A digit, in the audio or as an RFC 4733 event.
    Digit(Digit, DigitPath),
    /// The engine has been given a [`MediaCommand::Play`], and how long its source is once through,
    /// if that is known. At most one each.
    PlayBegan(PlayId, Option<Duration>),
    /// A [`MediaCommand::Play`] or [`MediaCommand::SendDigits`] is over. Exactly
    /// one each, also after [`MediaCommand::StopPlay`] and after the leg is gone.
    PlayEnded(PlayId, Result<(), ActionFailure>),
    /// A [`MediaCommand::Record`] is over and stored, or failed. Exactly one each.
    RecordEnded(RecordId, Result<Recorded, ActionFailure>),
    /// The far end sends nothing, for as long as [`MediaCommand::Watch`] says; or it sends again.
    Silent(bool),
    /// [`CallOutput::Echo`] cannot be done: the leg has too much beside it.
    EchoRefused,
}

/// What a call wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum CallOutput {
    /// Find a line for `to` and place a leg there. If there is none, the shell
    /// answers with [`LineEvent::Released`].
    Place {
        /// Name of the new leg.
        leg: LegId,
        /// Whom to reach.
        to: Target,
        /// Who calls.
        from: CallerId,
        /// What else to say.
        extras: PlaceExtras,
    },
    /// Open a booth. Released by the line command, like a leg with a line; if there is no room for
    /// it, the shell answers with [`LineEvent::Released`].
    Booth(LegId, Booth),
    /// Exchange the audio of a leg with a server, for an action.
    Stream(ActionId, LegId, Box<Stream>),
    /// End that early.
    StopStream(ActionId),
    /// Listen to a leg for an action. What is heard when the action is over is not asked for.
    Detect(ActionId, LegId, Detect),
    /// Let the party of a leg hear itself, or no longer.
    Echo(LegId, bool),
    /// Something to be done with a mailbox, for an action.
    Mailbox(ActionId, MailboxRequest),
    /// A request to the exchange, for one of the call's seats.
    Exchange(Seat, ExchangeRequest),
    /// Keep a value on the box; see [`FlowOutput::Keep`](tipring_model::flow::FlowOutput::Keep).
    Keep {
        /// Its name.
        name: String,
        /// The value.
        value: Option<String>,
    },
    /// Light a lamp; see [`FlowOutput::Lamp`](tipring_model::flow::FlowOutput::Lamp).
    Lamp {
        /// Its name.
        name: String,
        /// What it shows.
        shows: Lamp,
        /// It outlasts the call.
        stays: bool,
    },
    /// A command for the line of the leg that it names.
    Line(LineCommand),
    /// A command for the audio of a leg.
    Media(LegId, MediaCommand),
    /// Let `to` hear `from`.
    Connect {
        /// Whose audio.
        from: LegId,
        /// Who hears it.
        to: LegId,
    },
    /// Let `to` no longer hear `from`.
    Disconnect {
        /// Whose audio.
        from: LegId,
        /// Who heard it.
        to: LegId,
    },
    /// Fetch something for the flow.
    Fetch {
        /// The flow's name for it.
        id: FetchId,
        /// The request.
        request: HttpRequest,
        /// Set for a document that may be replaced by a copy of an earlier day.
        document: Option<DocumentKey>,
    },
    /// Send a letter for the flow; its answer is a [`CallInput::Fetched`], exactly one.
    Mail(FetchId, Box<Letter>),
    /// The answer to a message.
    Reply(MessageId, Reply),
    /// Hand this to the flow's script; the first begins it, and it ends with the call. The answer
    /// is one [`CallInput::Script`] each.
    Script(Vec<u8>),
    /// A line for the log of the flow's run.
    Log(String),
    /// Tell the application.
    Notify(Notice),
    /// A step of the flow is over.
    Step {
        /// Since the beginning of the call.
        after: Duration,
        /// The step.
        step: Step,
    },
    /// Something odd in the flow.
    Warn(Warning),
    /// The call is over; nothing comes after this.
    Over(Box<Cdr>),
}

/// Commands for the audio of a leg.
#[derive(Clone, PartialEq, Debug)]
pub enum MediaCommand {
    /// Play, after what already plays.
    Play {
        /// Name of this stretch.
        play: PlayId,
        /// Where the audio comes from.
        source: PromptSource,
        /// How often.
        loops: u32,
    },
    /// Stop playing it, or never begin.
    StopPlay(PlayId),
    /// Let it stand still, or go on.
    Suspend(PlayId, bool),
    /// Record.
    Record {
        /// Name of the recording within the call.
        record: RecordId,
        /// How. Its length and its keys are the call's affair.
        spec: Box<Record>,
    },
    /// Watch over the silence of the far end.
    Watch(Duration),
    /// Listen for digits in the sound, also while the leg talks with another.
    Listen,
    /// Stop recording.
    StopRecord(RecordId),
    /// Send digits in the way that the leg has negotiated.
    SendDigits {
        /// Name of this stretch.
        play: PlayId,
        /// What to send.
        digits: Digits,
    },
}
