//! Facts about a call: at its start, while it runs, and when it is over.

use core::time::Duration;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::line::Supervision;
use crate::{CallId, CallerId, Cause, LegId, Number};

/// What is known when a flow begins.
#[derive(Clone, PartialEq, Debug)]
pub struct CallFacts {
    /// The call's name.
    pub id: CallId,
    /// The leg that arrived or was placed first; `None` for a flow that starts
    /// with none.
    pub leg: Option<LegId>,
    /// Which way the first leg goes.
    pub direction: Direction,
    /// Who calls.
    pub from: CallerId,
    /// What was dialled.
    pub to: Number,
    /// True if the leg is already answered.
    pub answered: bool,
    /// Codec of the first leg.
    pub codec: &'static str,
    /// When the call began, milliseconds since 1970 UTC.
    pub started_unix_ms: i64,
    /// Where it came from.
    pub origin: Origin,
    /// What flows of the same dialect have kept on the box, as it is now: what others keep while
    /// this one runs is there as well.
    pub kept: KeptValues,
    /// Set for a flow that somebody outside can speak to while it runs.
    pub session: Option<Rc<SessionFacts>>,
}

/// Values that flows keep, by their names.
pub type KeptValues = Rc<RefCell<BTreeMap<String, String>>>;

/// How a running flow is named and reached from outside.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SessionFacts {
    /// Its number in the history.
    pub id: u64,
    /// Where requests to it are sent, by http.
    pub access_url: String,
    /// The same by https.
    pub secure_access_url: String,
    /// Where its log can be read.
    pub log_url: String,
    /// The account that it belongs to.
    pub account_id: u64,
    /// The application that it belongs to.
    pub application_id: u64,
    /// Name of the conference for which it was started; may be empty.
    pub conference_name: String,
    /// What whoever started it gave along, at most 64 KiB.
    pub custom_data: String,
}

/// Where a call came from, beyond who called and what was dialled. What is not known is
/// empty.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Origin {
    /// Name of the line in the configuration.
    pub line: String,
    /// The number that reaches that line from inside, if it is a telephone of the office.
    pub extension: Option<String>,
    /// The network's own name for the call (SIP Call-ID).
    pub network_id: String,
    /// SIP address of the caller, `user@host`.
    pub from_uri: String,
    /// SIP address in the To header field, `user@host`.
    pub to_uri: String,
    /// SIP address that was asked for, `user@host`.
    pub request_uri: String,
    /// Address of the SIP peer.
    pub source_ip: String,
    /// The number from which the call was diverted (RFC 5806, RFC 7044).
    pub diverted_from: Option<String>,
    /// Who transferred the caller here, as a SIP address.
    pub transferred_by: Option<String>,
    /// Header fields of the INVITE that begin with `X-`, as many as [`signal`](crate::signal) allows.
    pub headers: Vec<(String, String)>,
}

/// Which way a call goes, seen from the box.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the variants say it")]
pub enum Direction {
    Inbound,
    Outbound,
}

impl Direction {
    /// `inbound` or `outbound`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// The call detail record: exactly one for each call.
#[derive(Clone, PartialEq, Debug)]
pub struct Cdr {
    /// The call's name.
    pub id: CallId,
    /// Which way the first leg went.
    pub direction: Direction,
    /// Who called.
    pub from: CallerId,
    /// What was dialled.
    pub to: Number,
    /// When it began, milliseconds since 1970 UTC.
    pub started_unix_ms: i64,
    /// How long until the first leg was answered; `None` if it never was.
    pub answered_after: Option<Duration>,
    /// How the answer is known.
    pub supervision: Option<Supervision>,
    /// How long the call existed.
    pub lasted: Duration,
    /// Why it ended.
    pub cause: Cause,
    /// Who ended it.
    pub ended_by: EndedBy,
    /// The program's own word for the end.
    pub label: String,
    /// Every leg, in the order of their beginning.
    pub legs: Vec<LegRecord>,
    /// Recordings kept, by file name.
    pub recordings: Vec<String>,
}

/// Who ended a call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EndedBy {
    /// The party of the first leg.
    Caller,
    /// The program.
    Flow,
    /// Whoever was called, or his network: in a call without a flow.
    Callee,
    /// A limit of the box.
    Limit,
    /// Somebody at the box: command line, page, shutdown.
    Operator,
}

impl EndedBy {
    /// `caller`, `flow`, `callee`, `limit` or `operator`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Flow => "flow",
            Self::Callee => "callee",
            Self::Limit => "limit",
            Self::Operator => "operator",
        }
    }
}

/// One leg in a [`Cdr`].
#[derive(Clone, PartialEq, Debug)]
pub struct LegRecord {
    /// Its name.
    pub leg: LegId,
    /// Whom it was to; empty for the leg that arrived.
    pub to: String,
    /// How long after the beginning of the call it began.
    pub began_after: Duration,
    /// How long after its own beginning it was answered.
    pub answered_after: Option<Duration>,
    /// How the answer is known.
    pub supervision: Option<Supervision>,
    /// How long it existed.
    pub lasted: Duration,
    /// Why it ended.
    pub cause: Cause,
}
