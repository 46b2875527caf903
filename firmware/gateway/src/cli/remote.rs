//! Commands that speak to the running daemon over its control socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tipring_model::Cause;

use super::{
    BAD, BUSY, CallCommand, INTERNAL, NO_DAEMON, NOT_FOUND, OK, USAGE, complain, complain_with, say,
};

/// The daemon answers at once, a script that it asks within ten seconds, or it is in trouble.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(15);
/// How often a waiting `call start` looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Asks the daemon; the exit code when there is no answer.
pub(super) fn ask(socket: &Path, request: &Value) -> Result<Value, u8> {
    ask_for(socket, request, ANSWER_MAX)
}

/// Asks the daemon for something that may take its time.
pub(super) fn ask_for(socket: &Path, request: &Value, limit: Duration) -> Result<Value, u8> {
    let Ok(mut stream) = UnixStream::connect(socket) else {
        let text = format!("no daemon listens on {}", socket.display());
        complain_with("TR-DAEMON-NOT-RUNNING", &text);
        return Err(NO_DAEMON);
    };
    let broken = |_| {
        complain("the daemon broke off");
        INTERNAL
    };
    stream.set_read_timeout(Some(limit)).map_err(broken)?;
    writeln!(stream, "{request}").map_err(broken)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).map_err(broken)?;
    serde_json::from_str(&line).map_err(|_| {
        complain("the daemon gave no answer");
        INTERNAL
    })
}

pub(super) fn status(socket: &Path, as_json: bool) -> u8 {
    let status = match ask(socket, &json!({ "do": "status" })) {
        Ok(status) => status,
        Err(code) => return code,
    };
    if as_json {
        say(&status.to_string());
        return OK;
    }
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    say(&format!("tipring {}", text(&status["version"])));
    say(&format!("SIP on UDP {}, TCP {}", text(&status["sip"]["udp"]), text(&status["sip"]["tcp"])));
    if !status["web"]["http"].is_null() || !status["web"]["https"].is_null() {
        say(&format!("HTTP on {}, HTTPS on {}", text(&status["web"]["http"]), text(&status["web"]["https"])));
    }
    for device in status["devices"].as_array().into_iter().flatten() {
        let stands = match (device["is_present"].as_bool(), device["fault"].as_str()) {
            (Some(true), _) => "there".to_owned(),
            (_, Some(fault)) => format!("not there ({fault})"),
            (_, None) => "not there".to_owned(),
        };
        let (name, kind) = (text(&device["name"]), text(&device["kind"]));
        say(&format!("device {name:14} {kind:10} {stands}; {}", tried_with(device)));
    }
    for line in status["lines"].as_array().into_iter().flatten() {
        let detail = line["detail"].as_str().filter(|detail| !detail.is_empty());
        let detail = detail.map_or_else(String::new, |detail| format!(" ({detail})"));
        say(&format!(
            "line {:16} {:10} {}{detail}",
            text(&line["name"]),
            text(&line["kind"]),
            text(&line["state"])
        ));
    }
    let webhooks = |key: &str| status["webhooks"][key].as_u64().unwrap_or(0);
    say(&format!(
        "webhooks {} waiting, {} taken, {} refused for good, {} dropped",
        webhooks("waiting"),
        webhooks("sent"),
        webhooks("parked"),
        status["webhooks"]["dropped"]["count"].as_u64().unwrap_or(0)
    ));
    for away in status["servers"]["away"].as_array().into_iter().flatten() {
        let since_s = away["since_s"].as_u64().unwrap_or(0);
        say(&format!("server {} is away, for {since_s} s", text(&away["server"])));
    }
    if let Some(left_s) = status["servers"]["outage_left_s"].as_u64() {
        say(&format!("the internet is pretended to be down, for {left_s} s more"));
    }
    list(&status);
    OK
}

/// What hardware a driver is known to work with.
pub(super) fn tried_with(device: &Value) -> String {
    let models: Vec<&str> =
        device["tried_with"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match models.as_slice() {
        [] => "its driver was never tried with real hardware".to_owned(),
        models => format!("its driver was tried with {}", models.join(", ")),
    }
}

pub(super) fn outage(socket: &Path, seconds: u64) -> u8 {
    match ask(socket, &json!({ "do": "outage", "seconds": seconds })) {
        Ok(answer) if answer.get("ok").is_some() => OK,
        Ok(_) => {
            complain_with("TR-CONTROL-REQUEST", "the daemon does not pretend that");
            BAD
        }
        Err(code) => code,
    }
}

fn list(answer: &Value) {
    let calls = answer["calls"].as_array().map_or(&[][..], Vec::as_slice);
    say(&format!("{} calls", calls.len()));
    for call in calls {
        let seconds = call["age_ms"].as_u64().unwrap_or(0) / 1_000;
        let text = |key: &str| call[key].as_str().unwrap_or("-").to_owned();
        say(&format!("{} {:8} {} -> {} {seconds} s", text("id"), text("state"), text("from"), text("to")));
    }
}

pub(super) fn call(socket: &Path, command: &CallCommand) -> u8 {
    match command {
        CallCommand::Start { to, from, flow, wait } => {
            start(socket, to, from.as_deref(), flow.as_deref(), *wait)
        }
        CallCommand::Ls { json: as_json } => match ask(socket, &json!({ "do": "calls" })) {
            Ok(answer) if *as_json => {
                say(&answer.to_string());
                OK
            }
            Ok(answer) => {
                list(&answer);
                OK
            }
            Err(code) => code,
        },
        CallCommand::Show { id } => match find(socket, id) {
            Ok(Some(call)) => {
                say(&serde_json::to_string_pretty(&call).unwrap_or_default());
                OK
            }
            Ok(None) => {
                complain_with("TR-CONTROL-NO-CALL", &format!("no call {id}"));
                NOT_FOUND
            }
            Err(code) => code,
        },
        CallCommand::Hangup { id } => match ask(socket, &json!({ "do": "call-hangup", "id": id })) {
            Ok(answer) if answer.get("ok").is_some() => OK,
            Ok(_) => {
                complain_with("TR-CONTROL-NO-CALL", &format!("no call {id}"));
                NOT_FOUND
            }
            Err(code) => code,
        },
    }
}

fn find(socket: &Path, id: &str) -> Result<Option<Value>, u8> {
    let answer = ask(socket, &json!({ "do": "calls" }))?;
    let calls = answer["calls"].as_array().cloned().unwrap_or_default();
    let mut named =
        calls.into_iter().filter(|call| call["id"].as_str().is_some_and(|name| name.starts_with(id)));
    // The first letters do, where they name one call.
    Ok(named.next().filter(|_| named.next().is_none() && !id.is_empty()))
}

fn start(socket: &Path, to: &str, from: Option<&str>, flow: Option<&str>, wait: bool) -> u8 {
    let answer = match ask(socket, &json!({ "do": "call-start", "to": to, "from": from, "flow": flow })) {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    let Some(id) = answer["id"].as_str() else {
        let code = answer["error"].as_str().unwrap_or("TR-CONTROL-REQUEST");
        complain_with(code, "the call was not placed");
        return match code {
            "TR-CALL-NO-FLOW" => NOT_FOUND,
            "TR-CALL-NUMBER" => USAGE,
            "TR-CALL-LIMIT" | "TR-DAEMON-STOPPING" => BUSY,
            _ => BAD,
        };
    };
    say(id);
    if !wait {
        return OK;
    }
    loop {
        let end = match ask(socket, &json!({ "do": "call-end", "id": id })) {
            Ok(end) => end,
            Err(code) => return code,
        };
        if end["running"] == true {
            std::thread::park_timeout(LOOK_EVERY);
            continue;
        }
        let cause = end["cause"].as_str().unwrap_or("unknown");
        say(cause);
        return if cause == Cause::NormalClearing.name() { OK } else { BAD };
    }
}
