//! What the web side asks of the daemon.

use std::fs::File;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::history::{HistoryPage, HistoryQuery};

/// Questions that may wait for the daemon.
pub const ASKS_MAX: usize = 64;

/// A question with the way for its answer. Whoever drops that way has no answer.
#[derive(Debug)]
pub enum Ask {
    /// Start the scenarios of a rule.
    Start(StartRequest, oneshot::Sender<Result<Started, Refusal>>),
    /// Look into the history; no answer where it cannot be read.
    History(HistoryQuery, oneshot::Sender<HistoryPage>),
    /// Tell a running session something; nothing where there is no such session.
    Control(ControlRequest, oneshot::Sender<Option<ControlReply>>),
    /// Find the recording of this name, which has no ending.
    Recording(String, oneshot::Sender<Recording>),
}

/// Asks the daemon. No answer where it is too busy to take the question or takes longer than `wait`.
pub(crate) async fn ask<T>(
    asks: &mpsc::Sender<Ask>,
    wait: Duration,
    ask: impl FnOnce(oneshot::Sender<T>) -> Ask,
) -> Option<T> {
    let (answer, answered) = oneshot::channel();
    asks.try_send(ask(answer)).ok()?;
    tokio::time::timeout(wait, answered).await.ok()?.ok()
}

/// How a recording stands.
#[derive(Debug)]
pub enum Recording {
    /// It is over.
    Ready(RecordingFile),
    /// It is still being written.
    Unfinished,
    /// There is none, or no longer.
    Nothing,
}

/// The file of a recording, open at its beginning.
#[derive(Debug)]
pub struct RecordingFile {
    /// What is read.
    pub file: File,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was last changed, in nanoseconds since 1970.
    pub changed_unix_ns: u128,
}

/// What `StartScenarios` was told, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StartRequest {
    /// The rule, which exists and has scenarios.
    pub rule_id: u64,
    /// `VoxEngine.customData()` at the beginning, 64 KiB at most.
    pub custom_data: String,
    /// On whose behalf, by number.
    pub user_id: Option<u64>,
    /// On whose behalf, by name.
    pub user_name: Option<String>,
    /// Who asked.
    pub initiator: Option<IpAddr>,
    /// Where the client reaches the box.
    pub reached: Reached,
}

/// Where a client reaches the box, as `scheme://host:port`; nothing where nobody listens.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Reached {
    /// In the clear.
    pub http: Option<String>,
    /// Under TLS.
    pub https: Option<String>,
}

/// A session that runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Started {
    /// Its number in the history.
    pub history_id: u64,
    /// The path under which it is told something.
    pub path: String,
}

/// Why no session was started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// As many run as may.
    Full,
    /// The box is going down.
    Stopping,
    /// A scenario is no program.
    Script {
        /// Its name.
        scenario: String,
        /// Where, from 1.
        line: u32,
        /// What is wrong.
        what: String,
    },
}

/// A request to a running session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControlRequest {
    /// The first part of the path behind `/request/`.
    pub session: String,
    /// The second.
    pub secret: String,
    /// HTTP method.
    pub method: String,
    /// Path as requested, with its query.
    pub path: String,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// What the session answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControlReply {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`
    pub media_type: String,
    /// Body.
    pub body: Vec<u8>,
}
