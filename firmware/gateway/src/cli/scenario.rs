//! `tipring scenario`: sessions of scenarios in the running daemon.

use std::path::Path;

use clap::Subcommand;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::remote::ask;
use super::{BAD, BUSY, NOT_FOUND, OK, complain_with, say, shown};

#[derive(Subcommand)]
pub(super) enum ScenarioCommand {
    /// Begin a flow without a call: its script places its own.
    Start {
        /// The flow.
        flow: String,
        /// What `VoxEngine.customData()` gives.
        #[arg(long, default_value = "")]
        data: String,
    },
    /// List the sessions that run: flow, since when, and the lines of their calls.
    Ls {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Speak to a session, as a request to its control address does.
    Send {
        /// Its UUID.
        id: String,
        /// The body of the request.
        #[arg(default_value = "")]
        body: String,
    },
    /// Show what a session has logged.
    Log {
        /// Its UUID.
        id: String,
    },
}

pub(super) fn run(socket: &Path, command: &ScenarioCommand) -> u8 {
    let request = match command {
        ScenarioCommand::Start { flow, data } => json!({ "do": "session-start", "flow": flow, "data": data }),
        ScenarioCommand::Ls { .. } => json!({ "do": "session-list" }),
        ScenarioCommand::Send { id, body } => json!({ "do": "session-send", "id": id, "body": body }),
        ScenarioCommand::Log { id } => json!({ "do": "session-log", "id": id }),
    };
    let answer = match ask(socket, &request) {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    if let Some(code) = answer["error"].as_str() {
        complain_with(code, "the daemon did not do it");
        return match code {
            "TR-CALL-NO-FLOW" | "TR-CONTROL-NO-CALL" => NOT_FOUND,
            "TR-CALL-LIMIT" | "TR-DAEMON-STOPPING" => BUSY,
            _ => BAD,
        };
    }
    match command {
        ScenarioCommand::Start { .. } => say(answer["id"].as_str().unwrap_or("")),
        ScenarioCommand::Ls { json: true } => say(&answer["sessions"].to_string()),
        ScenarioCommand::Ls { json: false } => list(&answer),
        ScenarioCommand::Log { .. } => {
            for line in answer["log"].as_array().into_iter().flatten() {
                say(&shown(line.as_str().unwrap_or("")));
            }
        }
        ScenarioCommand::Send { .. } => {
            say(&shown(answer["body"].as_str().unwrap_or("")));
            if answer["status"] != 200 {
                return BAD;
            }
        }
    }
    OK
}

fn list(answer: &Value) {
    let sessions = answer["sessions"].as_array().map_or(&[][..], Vec::as_slice);
    say(&format!("{} sessions", sessions.len()));
    for session in sessions {
        let since = session["since_unix_ms"].as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let since = since.map_or_else(|| "-".to_owned(), |since| format!("{since:.0}"));
        let lines: Vec<&str> =
            session["calls"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let calls = if lines.is_empty() { "no calls".to_owned() } else { lines.join(" ") };
        let id = session["id"].as_str().unwrap_or("-");
        let flow = shown(session["flow"].as_str().unwrap_or("-"));
        say(&format!("{id} {flow:16} {since} {}", shown(&calls)));
    }
}
