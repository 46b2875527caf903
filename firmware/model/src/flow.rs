//! What every dialect becomes: a program that is fed facts and asks for actions.

use core::time::Duration;
use std::time::Instant;

use crate::call::CallFacts;
use crate::fetch::{DocumentKey, FetchError, HttpRequest, HttpResponse};
use crate::line::Supervision;
use crate::prompt::{Prompt, PromptSource};
use crate::{ActionId, CallerId, Cause, Digit, DigitSet, Digits, FetchId, LegId, MessageId};

/// One instant, on both clocks: timers use the first, calendars the second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Monotonic.
    pub instant: Instant,
    /// Wall clock, milliseconds since 1970 UTC.
    pub unix_ms: i64,
}

impl Moment {
    /// This moment and `later` after it.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        let ms = i64::try_from(later.as_millis()).unwrap_or(i64::MAX);
        Self { instant: self.instant + later, unix_ms: self.unix_ms.saturating_add(ms) }
    }
}

/// A running program. After each [`handle`](Self::handle), drain
/// [`poll`](Self::poll) to `None` before the next.
///
/// Not `Send`: a call lives and dies on one thread.
pub trait Flow {
    /// Takes one input.
    fn handle(&mut self, now: Moment, input: FlowInput<'_>);
    /// The next thing that the flow wants done.
    fn poll(&mut self) -> Option<FlowOutput>;
    /// When [`FlowInput::Timeout`] is due.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// What a flow is told.
#[derive(Debug)]
pub enum FlowInput<'a> {
    /// The first input, once. `facts.leg` is the leg that arrived, or `None` for
    /// a flow that begins with none.
    Started(&'a CallFacts),
    /// An action is over. Each started action ends exactly once.
    Ended(ActionId, Outcome),
    /// Something happened to a leg of the call.
    Leg(LegId, LegEvent),
    /// The answer to [`FlowOutput::Fetch`]; exactly one each.
    Fetched(FetchId, Result<&'a HttpResponse, FetchError>),
    /// Somebody outside speaks to the flow and waits for [`FlowOutput::Reply`].
    Message(MessageId, &'a Message),
    /// [`Flow::poll_timeout`] has come.
    Timeout,
}

/// What a flow asks for.
#[derive(Clone, PartialEq, Debug)]
pub enum FlowOutput {
    /// Begin an action. `on` is `None` only for [`Action::Place`].
    Start {
        /// The flow's name for it.
        id: ActionId,
        /// The leg it works on.
        on: Option<LegId>,
        /// What to do.
        action: Action,
    },
    /// End an action early. It still ends by [`FlowInput::Ended`]: a recording
    /// with what it holds, others with [`Outcome::Cancelled`].
    Cancel(ActionId),
    /// Fetch something whose content decides what comes next.
    Fetch {
        /// The flow's name for it.
        id: FetchId,
        /// The request.
        request: HttpRequest,
        /// Set for a document that may be replaced by a copy of an earlier day.
        document: Option<DocumentKey>,
    },
    /// Answer a message.
    Reply(MessageId, Reply),
    /// Tell the application; nobody waits for the answer.
    Notify(Notice),
    /// One step of the program is over: the timeline of the call.
    Step(Step),
    /// Something in the program is odd and was worked round.
    Warn(Warning),
    /// The program is over: every leg is released with this cause.
    End {
        /// Why.
        cause: Cause,
        /// The author's or the dialect's word for it, for CDR and events.
        label: String,
    },
}

/// One thing done on a leg, free of any dialect's spelling.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Answer an offered leg. An answered leg is left as it is.
    Answer,
    /// Refuse an offered leg; an answered one is released.
    Reject(Cause),
    /// Play something.
    Prompt(Prompt),
    /// Play prompts and gather digits.
    Collect(Collect),
    /// Record until told otherwise; runs beside other actions.
    Record(Record),
    /// Ring others and connect the first that answers.
    Dial(Dial),
    /// Place a leg of its own, bridged to nothing.
    Place(Place),
    /// Connect with another leg of the call, both ways, until one of them goes.
    Bridge(LegId),
    /// Send digits to the far end.
    SendDigits(Digits),
    /// Do nothing for a while.
    Pause(Pause),
    /// Hang up.
    Release(Cause),
}

/// See [`Action::Collect`].
#[derive(Clone, PartialEq, Debug)]
pub struct Collect {
    /// Played in order; the first digit stops them all.
    pub prompts: Vec<Prompt>,
    /// Ends by itself with this many digits.
    pub digits_max: usize,
    /// Keys that end it and are not part of the result.
    pub finish: DigitSet,
    /// Longest wait for the first digit, from the end of the prompts.
    pub first_digit: Option<Duration>,
    /// Longest wait between digits.
    pub between_digits: Option<Duration>,
    /// Longest wait in all, from the end of the prompts.
    pub total: Option<Duration>,
    /// Digits pressed before the action began count.
    pub typed_ahead: bool,
}

/// See [`Action::Record`].
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// Name under which the recording is kept, unique within the call.
    pub tag: String,
    /// Which sides are recorded.
    pub sides: Sides,
    /// Longest recording.
    pub length_max: Duration,
    /// Keys that end it.
    pub finish: DigitSet,
}

/// Which sides of a leg are recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sides {
    /// What the party says.
    Heard,
    /// What the party says and hears, mixed.
    Both,
}

/// See [`Action::Dial`].
#[derive(Clone, PartialEq, Debug)]
pub struct Dial {
    /// Whom to ring.
    pub targets: Vec<Target>,
    /// In which order.
    pub order: DialOrder,
    /// Longest time without an answer: of the whole, or of each target when they
    /// ring in turn.
    pub ring_max: Duration,
    /// Who is shown as the caller; `None` passes the caller on.
    pub caller_id: Option<CallerId>,
    /// Let the caller hear what a target sends before it answers.
    pub early_media: bool,
    /// Record from the answer on.
    pub record: Option<Record>,
}

/// Order of ringing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DialOrder {
    /// All at once; the first to answer wins.
    AllAtOnce,
    /// One after the other.
    InOrder,
}

/// Whom to ring.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// A number, sent by the box's own routing: a telephone of the office, or
    /// out over a trunk.
    Number(String),
    /// A SIP address, `user@host[:port]`.
    Sip(String),
}

impl core::fmt::Display for Target {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Number(number) => f.write_str(number),
            Self::Sip(address) => write!(f, "sip:{address}"),
        }
    }
}

/// See [`Action::Place`].
#[derive(Clone, PartialEq, Debug)]
pub struct Place {
    /// Whom to ring.
    pub target: Target,
    /// Who is shown as the caller.
    pub caller_id: CallerId,
    /// Longest time without an answer.
    pub ring_max: Duration,
}

/// See [`Action::Pause`].
#[derive(Clone, PartialEq, Debug)]
pub struct Pause {
    /// How long.
    pub length: Duration,
    /// Keys that end it early.
    pub finish: DigitSet,
    /// The key that ends it counts for the next collection.
    pub keeps_key: bool,
}

/// How an action ended.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// Done, to the end.
    Done,
    /// A key ended it early. The key that stops a [`Prompt`] counts for the next
    /// collection; for a [`Pause`] its setting says so.
    Interrupted(Digit),
    /// What [`Action::Collect`] gathered.
    Collected(Collected),
    /// What [`Action::Record`] made.
    Recorded(Recorded),
    /// How [`Action::Dial`] went.
    Dialed(Dialed),
    /// The flow cancelled it.
    Cancelled,
    /// The leg was released first.
    LegGone,
    /// It could not be done.
    Failed(ActionFailure),
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
        }
    }
}

/// What happens to a leg on its own account.
#[derive(Clone, PartialEq, Debug)]
pub enum LegEvent {
    /// The leg now exists: the first event of a placed leg.
    Placed {
        /// The action that placed it.
        by: ActionId,
    },
    /// The far end is alerted.
    Alerting,
    /// The leg is answered.
    Answered(Supervision),
    /// A key that no running action took.
    Digit(Digit),
    /// The leg is gone.
    Released(Cause),
}

/// A request from outside to a running flow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// HTTP method.
    pub method: String,
    /// Path as requested, with its query.
    pub path: String,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// The answer to a [`Message`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub media_type: String,
    /// Body.
    pub body: Vec<u8>,
}

/// Something that the application is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Dotted name, for example `call.state`.
    pub topic: &'static str,
    /// The request that carries it.
    pub request: HttpRequest,
    /// It tells how something ended, and nothing after it says more.
    pub is_last: bool,
}

/// One step of a program, for the timeline of the call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// The command as its dialect spells it.
    pub command: String,
    /// Where it stands in its document, for example `Gather[0].DTMF[1]`.
    pub path: String,
    /// Whether it succeeded.
    pub success: bool,
    /// What happened, in a few words or a catalogue code.
    pub reason: String,
    /// The author's own label.
    pub tag: Option<String>,
}

/// Something odd in a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// Catalogue code.
    pub code: &'static str,
    /// Where in the document.
    pub path: String,
}

/// True if `source` needs a fetch or a speech engine before it can be heard.
#[must_use]
pub const fn needs_preparation(source: &PromptSource) -> bool {
    matches!(source, PromptSource::Url(_) | PromptSource::Speech(_))
}
