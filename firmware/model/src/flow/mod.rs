//! What every dialect becomes: a program that is fed facts and asks for actions.

mod action;
mod outcome;

use core::time::Duration;
use std::time::Instant;

pub use action::*;
pub use outcome::*;

use crate::call::CallFacts;
use crate::fetch::{DocumentKey, FetchError, HttpRequest, HttpResponse};
use crate::lamp::Lamp;
use crate::letter::Letter;
use crate::line::{Offer, Supervision};
use crate::signal::FarSignal;
use crate::{ActionId, Cause, Digit, DigitPath, FetchId, LegId, MessageId};

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
    /// What the flow's script says to [`FlowOutput::Script`], one each; or that it has ended, at
    /// any time and once: nothing comes after that.
    Script(Result<&'a [u8], ScriptEnd>),
    /// The box ends a call that began with no leg, or whose flow somebody outside can speak to; at most
    /// once. All legs are let go. The flow has a
    /// second for its own end, and nothing that it begins is done, but its script is told.
    Stopped,
    /// [`Flow::poll_timeout`] has come.
    Timeout,
}

/// What a flow asks for.
#[derive(Clone, PartialEq, Debug)]
pub enum FlowOutput {
    /// Begin an action. `on` is `None` only for [`Action::Place`] and [`Action::Booth`].
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
    /// Let what a [`Action::Prompt`] plays stand still where it is, or go on from there. Without
    /// effect before [`LegEvent::Playing`].
    Suspend(ActionId, bool),
    /// Fetch something whose content decides what comes next.
    Fetch {
        /// The flow's name for it.
        id: FetchId,
        /// The request.
        request: HttpRequest,
        /// Set for a document that may be replaced by a copy of an earlier day.
        document: Option<DocumentKey>,
    },
    /// Send a letter, once and now. Its answer comes as that to a fetch does: the status is the
    /// code of the mail server's last reply (RFC 5321 §4.2.1), the body its text.
    Mail(FetchId, Box<Letter>),
    /// Answer a message.
    Reply(MessageId, Reply),
    /// Hand this to the flow's script, which runs in a process of its own; the first begins it.
    Script(Vec<u8>),
    /// A line for the log of the flow's run, at most 15,000 characters.
    Log(String),
    /// Tell the application; nobody waits for the answer.
    Notify(Notice),
    /// Keep a value on the box, across calls and restarts; none forgets it.
    Keep {
        /// Its name, at most 512 bytes; the dialect's name stands before it.
        name: String,
        /// The value, at most 4 KiB.
        value: Option<String>,
    },
    /// Light a lamp on telephones, or darken it.
    Lamp {
        /// Its name, which telephones subscribe to: up to 64 letters, digits and `-_.+*#`.
        name: String,
        /// What it shows.
        shows: Lamp,
        /// It stays so when the call is over, also across restarts.
        stays: bool,
    },
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

/// What happens to a leg on its own account.
#[derive(Clone, PartialEq, Debug)]
pub enum LegEvent {
    /// The leg now exists: the first event of a placed leg.
    Placed {
        /// The action that placed it.
        by: ActionId,
        /// Position of the target in a [`Dial`]; 0 for a [`Place`].
        target: usize,
    },
    /// Somebody has called the flow's session while it runs: the first event of that leg.
    Offered(Box<Offer>),
    /// The far end is alerted.
    Alerting,
    /// A leg that the flow placed sends sound before it is answered.
    EarlyMedia,
    /// The leg is answered.
    Answered(Supervision),
    /// A key that no running action took, and how it came.
    Digit(Digit, DigitPath),
    /// The far end put the leg on hold, or took it back. In a room nobody hears it meanwhile.
    Held(bool),
    /// The far end says something by signalling. Told only of legs that the flow has placed for its own
    /// use, and of the first.
    Signalled(Box<FarSignal>),
    /// The leg is gone.
    Released(Cause),
    /// About the room that the leg is in.
    Room(RoomEvent),
    /// About the queue that the leg is in.
    Queue(QueueEvent),
    /// What this [`Action::Prompt`] plays begins to be heard. How long it is, once through, if that
    /// is known.
    Playing(ActionId, Option<Duration>),
    /// Nothing has come from the far end for as long as an [`Action::Watch`] says; or something comes
    /// again.
    Silent(bool),
    /// The server of this [`Action::Stream`] is reached: from now on it hears the leg.
    Streaming(ActionId),
}

/// What happens in the room that a leg is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoomEvent {
    /// The leg is in.
    Entered {
        /// Members, this one included.
        members: usize,
        /// The room has begun.
        began: bool,
        /// Whom this one coaches is there; true if he coaches nobody.
        coached: bool,
    },
    /// This leg is the one on which the room is recorded, until it leaves.
    Records,
    /// The room begins.
    Began,
    /// Somebody came.
    Joined {
        /// Members now.
        members: usize,
    },
    /// Somebody left.
    Parted {
        /// Members now.
        members: usize,
    },
}

/// What happens in the queue that a leg is in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum QueueEvent {
    /// The leg waits, or has moved up.
    Position {
        /// From 1.
        position: usize,
        /// How many wait.
        waiting: usize,
        /// How long others have waited, on the average of the last of them.
        average: Duration,
        /// The place in a car park.
        place: Option<u32>,
    },
    /// Somebody takes the leg out. What plays to it is stopped; if there is an
    /// announcement, the two are connected only after [`Action::Accept`].
    Called {
        /// What should be run before.
        announce: Option<Announcement>,
        /// Who takes it.
        by: LegId,
    },
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

/// Why a script says nothing more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScriptEnd {
    /// Its process could not be started, or the box has no room for one more.
    NotStarted,
    /// Its process has ended.
    Gone,
    /// It said more than may be said at one time.
    TooLong,
}

impl ScriptEnd {
    /// The code of the message catalogue.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotStarted => "TR-SCRIPT-START",
            Self::Gone => "TR-SCRIPT-GONE",
            Self::TooLong => "TR-SCRIPT-MESSAGE",
        }
    }
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
