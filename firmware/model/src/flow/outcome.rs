//! How an action ended.

use core::time::Duration;

use crate::fetch::FetchError;
use crate::{Cause, Digit, Digits, LegId};

/// How an action ended.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// Done, to the end.
    Done,
    /// A key ended it early. The key that stops a [`Prompt`](crate::prompt::Prompt) counts for the next
    /// collection; for a [`Pause`](super::Pause) its setting says so.
    Interrupted(Digit),
    /// What [`Action::Collect`] gathered.
    Collected(Collected),
    /// What [`Action::Record`] made.
    Recorded(Recorded),
    /// How [`Action::Dial`] went.
    Dialed(Dialed),
    /// The leg left the room.
    Left(Left),
    /// How the wait in a queue ended.
    Queued(Queued),
    /// The mailbox is closed.
    Mailbox(MailboxEnd),
    /// The stream ended as it should.
    Streamed(StreamEnd),
    /// What was heard by [`Action::Detect`].
    Detected(Detected),
    /// What the far end said to [`Action::Refer`](super::Action::Refer).
    Referred(Referred),
    /// The flow cancelled it.
    Cancelled,
    /// The leg was released first.
    LegGone,
    /// It could not be done.
    Failed(ActionFailure),
}

impl Outcome {
    /// Why it could not be done, if it could not.
    #[must_use]
    pub const fn failure(&self) -> Option<&ActionFailure> {
        match self {
            Self::Failed(failure) => Some(failure),
            Self::Done
            | Self::Interrupted(_)
            | Self::Collected(_)
            | Self::Recorded(_)
            | Self::Dialed(_)
            | Self::Left(_)
            | Self::Queued(_)
            | Self::Mailbox(_)
            | Self::Streamed(_)
            | Self::Detected(_)
            | Self::Referred(_)
            | Self::Cancelled
            | Self::LegGone => None,
        }
    }
}

/// What was gathered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Collected {
    /// The digits, without the finish key.
    pub digits: Digits,
    /// Why it ended.
    pub by: CollectEnd,
}

/// Why a collection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CollectEnd {
    /// As many digits as wanted.
    Full,
    /// This key.
    Finish(Digit),
    /// A timer.
    Timeout,
}

/// A finished recording.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// Length.
    pub length: Duration,
    /// Name of the file in the box's recordings; `None` when nothing was kept.
    pub file: Option<String>,
    /// The key that ended it.
    pub finish: Option<Digit>,
    /// Nobody spoke.
    pub is_silent: bool,
}

/// How a dial went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dialed {
    /// Position of the target that answered.
    pub answered: Option<usize>,
    /// Why it ended: of the conversation, or the most telling refusal.
    pub cause: Cause,
    /// How long the two were connected.
    pub talked: Duration,
    /// The leg that answered.
    pub leg: Option<LegId>,
    /// Who ended the conversation.
    pub by: DialEnd,
    /// The SIP status that says why nobody answered, if the last refusal came by SIP.
    pub status: Option<u16>,
    /// Whom the one that answered wants in its place ([`Dial::takes_refer`](super::Dial)), as a
    /// SIP address. It is gone, and the caller is still there.
    pub refer_to: Option<String>,
}

/// What the far end said to [`Action::Refer`](super::Action::Refer).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Referred {
    /// The SIP status with which it took or refused the request; 408 for silence.
    pub response: u16,
    /// The SIP status of the call that it made, if it took the request and told.
    pub call: Option<u16>,
}

impl Dialed {
    /// Nobody answered.
    #[must_use]
    pub const fn nobody(cause: Cause) -> Self {
        Self {
            answered: None,
            cause,
            talked: Duration::ZERO,
            leg: None,
            by: DialEnd::Nobody,
            status: None,
            refer_to: None,
        }
    }
}

/// Who ended a dial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DialEnd {
    /// There was no conversation.
    Nobody,
    /// The one that answered.
    Target,
    /// The caller, by this key; the caller is still there.
    Key(Digit),
    /// The longest conversation was over.
    Limit,
}

/// How a stay in a room ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Left {
    /// Why.
    pub by: LeftBy,
    /// How long it lasted.
    pub stayed: Duration,
}

/// Why a leg left a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeftBy {
    /// This key.
    Key(Digit),
    /// The room ended.
    RoomEnded,
    /// The room was full: the leg never was in it.
    Full,
}

/// How a wait in a queue ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Queued {
    /// What came of it.
    pub end: QueueEnd,
    /// How long the leg waited.
    pub waited: Duration,
    /// How long it then talked.
    pub talked: Duration,
}

/// What came of a wait in a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueueEnd {
    /// Somebody took it out, and the two have talked.
    Talked,
    /// There was no room.
    Full,
}

/// How a mailbox was closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MailboxEnd {
    /// A message was left.
    Left,
    /// No message was left: there was none to hear, or it was too short.
    NotLeft,
    /// The mailbox is full.
    Full,
    /// It only makes announcements.
    AnnouncementOnly,
    /// The caller wants somebody to answer.
    Operator,
    /// The caller has listened.
    Listened,
    /// The caller did not know the PIN.
    Refused,
    /// There is no such mailbox.
    Unknown,
}

/// How a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamEnd {
    /// The server or the flow closed it, or the leg is gone.
    Closed,
    /// It ended otherwise, or never began.
    Failed(StreamFailure),
}

/// Why a stream ended, or never began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamFailure {
    /// The server was not reached, or the connection did not last; [`FetchError::TooLarge`] is a
    /// message that is longer than allowed.
    Fetch(FetchError),
    /// The server answered with this HTTP status instead of opening a WebSocket.
    Status(u16),
    /// The server said what is no message of a stream.
    Message,
    /// More of what the server said waits to be heard than may.
    Behind,
    /// A limit of the box is reached.
    Limit,
}

impl StreamFailure {
    /// The code of the message catalogue.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Fetch(error) => error.code(),
            Self::Status(_) => "TR-HOOK-STATUS",
            Self::Message => "TR-STREAM-MESSAGE",
            Self::Behind => "TR-STREAM-BEHIND",
            Self::Limit => "TR-FLOW-LIMIT",
        }
    }
}

/// What kind of party was heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detected {
    /// A calling fax machine.
    Fax,
    /// A person.
    Voice,
    /// An answering machine.
    Machine,
    /// Nothing that can be told.
    Nothing,
}

/// Why an action could not be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ActionFailure {
    /// The action needs an offered, answered or bridged leg, and this one is not.
    LegState,
    /// There is no such leg.
    NoLeg,
    /// The audio file was not fetched.
    Fetch(FetchError),
    /// The server refused the audio file with this status.
    Status(u16),
    /// The audio could not be decoded.
    Decode,
    /// No voice speaks this language.
    NoVoice,
    /// The speech engine failed.
    Speech,
    /// There is no such recording or library prompt.
    NoSuchAudio,
    /// No target could be dialled.
    NoTarget(Cause),
    /// The recording could not be stored.
    Storage,
    /// A limit of the box is reached.
    Limit,
    /// This box or this leg has no means to do that.
    NotOffered,
}

impl ActionFailure {
    /// The code of the message catalogue.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::LegState => "TR-FLOW-LEG-STATE",
            Self::NoLeg => "TR-FLOW-NO-LEG",
            Self::Fetch(error) => error.code(),
            Self::Status(_) => "TR-HOOK-STATUS",
            Self::Decode => "TR-AUDIO-DECODE",
            Self::NoVoice => "TR-AUDIO-NO-VOICE",
            Self::Speech => "TR-AUDIO-SPEECH",
            Self::NoSuchAudio => "TR-AUDIO-MISSING",
            Self::NoTarget(_) => "TR-DIAL-NO-TARGET",
            Self::Storage => "TR-AUDIO-STORAGE",
            Self::Limit => "TR-FLOW-LIMIT",
            Self::NotOffered => "TR-FLOW-NOT-OFFERED",
        }
    }
}
