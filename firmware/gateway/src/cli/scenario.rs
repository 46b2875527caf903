//! `tipring scenario`: sessions of scenarios in the running daemon.

use std::path::Path;

use clap::Subcommand;
use serde_json::json;

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
