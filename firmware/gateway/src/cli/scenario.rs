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
        /// Which of its rules, by number or name; one must be chosen where there are several.
        #[arg(long)]
        rule: Option<String>,
        /// What `VoxEngine.customData()` gives.
        #[arg(long, default_value = "")]
        data: String,
        /// As JSON: its UUID, its number in the history, its control addresses.
        #[arg(long)]
        json: bool,
    },
    /// List the sessions that run: flow, since when, and the lines of their calls.
    Ls {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Speak to a session, as a request to its control address does.
    Send {
        /// Its UUID, or its number in the history.
        id: String,
        /// The body of the request.
        #[arg(default_value = "")]
        body: String,
    },
    /// Show what a session has logged.
    Log {
        /// Its UUID, or its number in the history.
        id: String,
    },
}

pub(super) fn run(socket: &Path, command: &ScenarioCommand) -> u8 {
    let request = match command {
        ScenarioCommand::Start { flow, rule, data, .. } => {
            json!({ "do": "session-start", "flow": flow, "rule": rule, "data": data })
        }
        ScenarioCommand::Ls { .. } => json!({ "do": "session-list" }),
        ScenarioCommand::Send { id, body } => json!({ "do": "session-send", "id": id, "body": body }),
        ScenarioCommand::Log { id } => json!({ "do": "session-log", "id": id }),
    };
    let answer = match ask(socket, &request) {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    if let Some(code) = answer["error"].as_str() {
        let rules: Vec<&str> =
            answer["rules"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let what = match rules.as_slice() {
            [] => "the daemon did not do it".to_owned(),
            rules => format!("the flow has these rules: {}", shown(&rules.join(", "))),
        };
        complain_with(code, &what);
        return match code {
            "TR-CALL-NO-FLOW" | "TR-CONTROL-NO-CALL" | "TR-SCRIPT-RULE" => NOT_FOUND,
            "TR-CALL-LIMIT" | "TR-SCRIPT-START" | "TR-DAEMON-STOPPING" => BUSY,
            _ => BAD,
        };
    }
    match command {
        ScenarioCommand::Start { json: true, .. } => say(&answer.to_string()),
        ScenarioCommand::Start { json: false, .. } => say(answer["id"].as_str().unwrap_or("")),
        ScenarioCommand::Ls { json: true } => say(&answer["sessions"].to_string()),
        ScenarioCommand::Ls { json: false } => list(&answer),
        ScenarioCommand::Log { .. } => {
            for line in answer["log"].as_array().into_iter().flatten() {
                // What belongs to the line before stands under it.
                let mut parts = line.as_str().unwrap_or("").lines();
                say(&shown(parts.next().unwrap_or("")));
                parts.for_each(|part| say(&format!("    {}", shown(part))));
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
