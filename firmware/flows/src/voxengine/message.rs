//! What crosses the border between a session and its script, which may run in another process.
//!
//! One message goes to the script, one comes back; both are JSON texts with a written limit. What
//! comes back is not believed: each command is checked again where it is carried out.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest message in either direction, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most commands in one message.
pub const COMMANDS_MAX: usize = 1_000;

/// What the script is told.
#[derive(Serialize, Debug)]
pub(super) struct ToScript<'a> {
    /// Milliseconds since 1970 UTC; the script's clock stands still until the next message.
    pub(super) now: i64,
    #[serde(flatten)]
    pub(super) told: Told<'a>,
}

/// One thing that it is told.
#[derive(Serialize, Debug)]
#[serde(tag = "t", rename_all = "snake_case")]
pub(super) enum Told<'a> {
    /// The first message: load these, in order, into one global scope.
    Begin {
        id: &'a str,
        custom_data: &'a str,
        scripts: &'a [Script],
    },
    Started {
        access_url: &'a str,
        secure_access_url: &'a str,
        log_url: &'a str,
        account_id: u64,
        application_id: u64,
        session_id: u64,
        conference_name: &'a str,
    },
    Alerting {
        call: u32,
        from: &'a str,
        name: &'a str,
        to: &'a str,
        from_uri: &'a str,
        to_uri: &'a str,
        headers: &'a [(String, String)],
        kind: &'static str,
    },
    Control {
        id: u32,
        method: &'a str,
        path: &'a str,
        content: &'a str,
        headers: Vec<(&'a str, &'a str)>,
    },
    Call(CallTold),
    Player {
        player: u32,
        event: &'static str,
        error: Option<String>,
        /// Seconds, once through; 0 where nobody knows.
        duration: f64,
        /// Of a marker, milliseconds.
        offset: i64,
    },
    Recorder {
        recorder: u32,
        event: &'static str,
        url: String,
        duration: u64,
        error: Option<&'static str>,
    },
    Conference {
        conference: u32,
        event: &'static str,
        error: Option<&'static str>,
        code: u16,
        /// An endpoint, and what it does there.
        call: Option<u32>,
        direction: Option<&'static str>,
    },
    Fetched(Fetched),
    Stored {
        id: u32,
        value: serde_json::Value,
        error: Option<&'static str>,
    },
    Tick,
    Terminating {
        system_error: bool,
    },
    Terminated {
        system_error: bool,
    },
}

impl Told<'_> {
    /// Something that the script knows of comes to its end.
    pub(super) fn is_of_an_end(&self) -> bool {
        match self {
            Self::Call(told) => matches!(told.event, "disconnected" | "failed"),
            Self::Recorder { event, .. } => *event != "started",
            Self::Fetched(_) | Self::Stored { .. } | Self::Terminating { .. } | Self::Terminated { .. } => {
                true
            }
            Self::Begin { .. }
            | Self::Started { .. }
            | Self::Alerting { .. }
            | Self::Control { .. }
            | Self::Player { .. }
            | Self::Conference { .. }
            | Self::Tick => false,
        }
    }
}

/// A program text and the name under which its errors are shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Script {
    /// For example the name of its file.
    pub name: String,
    /// The text.
    pub text: String,
}

/// What became of a call.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub(super) struct CallTold {
    pub(super) call: u32,
    pub(super) event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tone: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) headers: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mime: Option<String>,
}

impl CallTold {
    pub(super) const fn new(call: u32, event: &'static str) -> Self {
        Self {
            call,
            event,
            code: None,
            reason: None,
            tone: None,
            kind: None,
            headers: Vec::new(),
            text: None,
            mime: None,
        }
    }
}

/// The answer of a web server, or of a mail server.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub(super) struct Fetched {
    pub(super) id: u32,
    /// HTTP status, or 0 and below for what went wrong.
    pub(super) code: i32,
    pub(super) text: Option<String>,
    /// Base64.
    pub(super) bytes: Option<String>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) error: Option<&'static str>,
}

/// What the script says.
#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct FromScript {
    pub(super) commands: Vec<Command>,
    /// When its next timer is due, milliseconds since 1970.
    pub(super) due: Option<f64>,
    /// It is broken, and is told its end alone.
    pub(super) fault: Option<Fault>,
}

/// Why a script is broken.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which kind.
    pub kind: FaultKind,
    /// What the engine says, at most 1,000 characters.
    pub text: String,
    /// Name of the script; empty where it is not known.
    pub file: String,
    /// Line, from 1; 0 where it is not known.
    pub line: u32,
    /// Column, from 1; 0 where it is not known.
    pub column: u32,
}

/// Kinds of [`Fault`].
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The text is no program.
    Syntax,
    /// Something was thrown and not caught.
    Exception,
    /// One callback took longer than it may.
    Time,
    /// More memory than there may be.
    Memory,
    /// More said at one time than may be.
    TooMuch,
    /// What it says is no message.
    Message,
}

impl FaultKind {
    /// The code of the message catalogue.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Syntax => "TR-SCRIPT-SYNTAX",
            Self::Exception => "TR-SCRIPT-EXCEPTION",
            Self::Time => "TR-SCRIPT-TIME",
            Self::Memory => "TR-SCRIPT-MEMORY",
            Self::TooMuch | Self::Message => "TR-SCRIPT-MESSAGE",
        }
    }
}

/// Header fields, by name.
pub(super) type Headers = Vec<(String, String)>;

/// One thing that the script wants.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
#[serde(tag = "t", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Command {
    Call {
        call: u32,
        kind: CallKind,
        to: String,
        callerid: String,
        name: String,
        headers: Vec<(String, String)>,
        user: Option<String>,
        password: Option<String>,
        /// Over which trunk, by its host or by its name.
        #[serde(default)]
        proxy: Option<String>,
        #[serde(default)]
        trunk: Option<String>,
        wait_ms: u32,
    },
    Answer {
        call: u32,
        #[serde(default)]
        headers: Headers,
        #[serde(default)]
        name: Option<String>,
    },
    Reject {
        call: u32,
        code: u16,
        #[serde(default)]
        headers: Headers,
    },
    Ring {
        call: u32,
        #[serde(default)]
        headers: Headers,
    },
    Early {
        call: u32,
        #[serde(default)]
        headers: Headers,
    },
    Hangup {
        call: u32,
        #[serde(default)]
        headers: Headers,
    },
    Tones {
        call: u32,
        on: bool,
        /// The vendor's number of a way, 0 for all.
        kind: String,
    },
    /// It wants to know whether sound comes.
    Watch {
        call: u32,
    },
    Digits {
        call: u32,
        digits: String,
    },
    Refer {
        call: u32,
        to: String,
        #[serde(default)]
        headers: Headers,
    },
    /// To another call.
    ReferTo {
        call: u32,
        other: u32,
        #[serde(default)]
        headers: Headers,
    },
    /// What the far end asked for is done, or is not.
    Referred {
        call: u32,
        code: u16,
    },
    /// What it listens for.
    Takes {
        call: u32,
        remarks: bool,
        referrals: bool,
    },
    /// By INFO.
    Info {
        call: u32,
        mime: String,
        body: String,
        #[serde(default)]
        headers: Headers,
    },
    /// By MESSAGE.
    Message {
        call: u32,
        text: String,
    },
    Play {
        player: u32,
        sources: Vec<Source>,
        #[serde(rename = "loop")]
        loops: bool,
        /// A call plays it to itself, and nobody else hears it.
        own: bool,
    },
    Marker {
        player: u32,
        offset: i64,
    },
    Stop {
        player: u32,
    },
    Pause {
        player: u32,
    },
    Resume {
        player: u32,
    },
    Route {
        from: Unit,
        to: Unit,
    },
    Unroute {
        from: Unit,
        to: Unit,
    },
    Record {
        call: u32,
        recorder: u32,
        stereo: bool,
        /// Stands in the name of the file.
        #[serde(default)]
        prefix: String,
    },
    Recorder {
        recorder: u32,
        name: String,
        /// Stands before the name.
        #[serde(default)]
        prefix: String,
        /// 16 kHz in place of 8.
        hd: bool,
    },
    MuteRecord {
        recorder: u32,
        on: bool,
    },
    StopRecord {
        recorder: u32,
    },
    Conference {
        conference: u32,
    },
    StopConference {
        conference: u32,
    },
    Fetch(Box<Fetch>),
    Mail(Box<Mail>),
    Store {
        id: u32,
        op: StoreOp,
        key: String,
        value: Option<String>,
        ttl_s: Option<u32>,
        count: Option<u32>,
    },
    Reply {
        id: u32,
        status: u16,
        #[serde(rename = "type")]
        media_type: String,
        body: String,
    },
    Log {
        text: String,
    },
    HideTones {
        on: bool,
    },
    Terminate,
    /// It has heard of its end.
    Finished,
}

/// Whom a call is for.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum CallKind {
    Pstn,
    Sip,
    User,
    Conference,
}

/// What speaks or hears.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    Call(u32),
    Player(u32),
    Recorder(u32),
    Conference(u32),
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Call(_) => "a call",
            Self::Player(_) => "a player",
            Self::Recorder(_) => "a recorder",
            Self::Conference(_) => "a conference",
        })
    }
}

/// What is played.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum Source {
    Say { say: String, voice: String },
    Url(SourceRequest),
    Tones { tones: String },
    Progress { progress: String },
}

/// A letter.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Mail {
    pub(super) id: u32,
    pub(super) server: String,
    pub(super) port: u16,
    pub(super) login: Option<(String, String)>,
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) cc: Vec<String>,
    pub(super) bcc: Vec<String>,
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: Option<String>,
}

/// A file, and how it is asked for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceRequest {
    pub(super) url: String,
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) headers: Vec<(String, String)>,
    pub(super) text: Option<String>,
    /// Base64.
    pub(super) bytes: Option<String>,
}

/// What is asked of the values kept.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum StoreOp {
    Put,
    Get,
    Remove,
    Keys,
}

/// A request to a server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Fetch {
    pub(super) id: u32,
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) text: Option<String>,
    /// Base64.
    pub(super) bytes: Option<String>,
    pub(super) timeout_ms: u32,
    pub(super) connect_ms: u32,
    pub(super) raw: bool,
}

impl FromScript {
    /// Reads what a script says.
    ///
    /// # Errors
    /// A [`Fault`] that says what is wrong with it.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(Fault::of(FaultKind::TooMuch, "a message is too long"));
        }
        let said: Self = serde_json::from_slice(bytes)
            .map_err(|error| Fault::of(FaultKind::Message, &error.to_string()))?;
        if said.commands.len() > COMMANDS_MAX {
            return Err(Fault::of(FaultKind::TooMuch, "more commands than may be"));
        }
        let fault = said.fault.map(Fault::shortened);
        Ok(Self { fault, ..said })
    }

    pub(super) const fn broken(fault: Fault) -> Self {
        Self { commands: Vec::new(), due: None, fault: Some(fault) }
    }
}

/// Longest text of a fault, in characters.
const FAULT_CHARS_MAX: usize = 1_000;
/// Longest name of a script in a fault.
const FILE_CHARS_MAX: usize = 128;

impl Fault {
    pub(super) fn of(kind: FaultKind, text: &str) -> Self {
        Self { kind, text: text.to_owned(), file: String::new(), line: 0, column: 0 }.shortened()
    }

    /// A script writes what is in it: it is shown in logs.
    pub(super) fn shortened(self) -> Self {
        let short = |text: &str, most| text.chars().filter(|c| !c.is_control()).take(most).collect();
        Self { text: short(&self.text, FAULT_CHARS_MAX), file: short(&self.file, FILE_CHARS_MAX), ..self }
    }
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match (self.file.as_str(), self.line) {
            ("", _) => write!(f, "{}: {}", self.kind.code(), self.text),
            (file, 0) => write!(f, "{} {file}: {}", self.kind.code(), self.text),
            (file, line) => write!(f, "{} {file}:{line}: {}", self.kind.code(), self.text),
        }
    }
}

/// Reads a message as the session would, for those who try what it takes.
///
/// # Errors
/// The [`Fault`] that a script which said so would have.
pub fn judge(bytes: &[u8]) -> Result<(), Fault> {
    FromScript::read(bytes).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_is_refused_with_a_kind() {
        for (text, kind) in [
            ("", FaultKind::Message),
            ("[]", FaultKind::Message),
            (r#"{"commands":[],"due":null,"fault":null,"more":1}"#, FaultKind::Message),
            (r#"{"commands":[{"t":"answer","call":-1}],"due":null,"fault":null}"#, FaultKind::Message),
            (r#"{"commands":[{"t":"answer","call":1,"x":1}],"due":null,"fault":null}"#, FaultKind::Message),
            (r#"{"commands":[{"t":"explode"}],"due":null,"fault":null}"#, FaultKind::Message),
            (
                r#"{"commands":[{"t":"route","from":{"file":1},"to":{"call":1}}],"due":null,"fault":null}"#,
                FaultKind::Message,
            ),
        ] {
            assert_eq!(judge(text.as_bytes()).unwrap_err().kind, kind, "{text}");
        }
        let many = vec![r#"{"t":"ring","call":1}"#; COMMANDS_MAX + 1].join(",");
        let text = format!(r#"{{"commands":[{many}],"due":null,"fault":null}}"#);
        assert_eq!(judge(text.as_bytes()).unwrap_err().kind, FaultKind::TooMuch);
        assert_eq!(judge(&vec![b' '; MESSAGE_BYTES_MAX + 1]).unwrap_err().kind, FaultKind::TooMuch);
    }

    #[test]
    fn a_message_reads_back() {
        let text = r#"{"commands":[{"t":"route","from":{"call":1},"to":{"conference":2}},{"t":"terminate"}],"due":1.5,"fault":null}"#;
        let said = FromScript::read(text.as_bytes()).unwrap();
        assert_eq!(said.commands[0], Command::Route { from: Unit::Call(1), to: Unit::Conference(2) });
        assert_eq!((said.commands[1].clone(), said.due), (Command::Terminate, Some(1.5)));
    }
}
