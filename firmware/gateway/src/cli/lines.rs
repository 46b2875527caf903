//! `tipring lines`: how lines stand, what happens at the ports of analog ones, and trying them
//! out.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use tipring_media::wav;

use super::remote::{ANSWER_MAX, ask, ask_for, tried_with};
use super::{BAD, BUSY, CANNOT_WRITE, INTERNAL, NOT_FOUND, OK, complain, complain_with, say, shown};

/// A port is tried for a minute at most.
const TRY_MAX: Duration = Duration::from_secs(75);

#[derive(Subcommand)]
pub(super) enum LinesCommand {
    /// List all lines and how they stand.
    Ls {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what happens at the ports of analog lines, until it is interrupted.
    Watch {
        /// Only this line.
        line: Option<String>,
        /// As JSON, one a line.
        #[arg(long)]
        json: bool,
        /// Begin with what has happened before.
        #[arg(long)]
        all: bool,
    },
    /// Show one line: its wire, levels, volts, last caller, and how calls were answered and ended.
    Show {
        /// Its name.
        line: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ring a telephone, without a call.
    Ring {
        /// Its name.
        line: String,
        /// For so long.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=60))]
        seconds: u8,
    },
    /// Let a lifted telephone hear a tone, or take an exchange line and wait for dial tone.
    Tone {
        /// Its name.
        line: String,
        /// Which tone.
        #[arg(long, value_enum, default_value_t = Tone::Dial)]
        tone: Tone,
    },
    /// Measure a port: volts, current, dial tone, noise and echo, as far as the hardware can.
    Test {
        /// Its name.
        line: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Forget the tones that an exchange line has learned to end calls with, from the next start
    /// of the daemon on.
    Forget {
        /// Its name.
        line: String,
    },
    /// Write the last minute of a wire to a WAV file, and what happened to a text file beside it.
    Save {
        /// Its name.
        line: String,
        /// The WAV file.
        file: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Tone {
    /// The country's dial tone.
    Dial,
    /// 1004 Hz at -10 dBm0.
    Level,
}

pub(super) fn run(socket: &Path, command: &LinesCommand) -> u8 {
    let done = match command {
        LinesCommand::Ls { json } => list(socket, *json),
        LinesCommand::Watch { line, json, all } => watch(socket, line.as_deref(), *json, *all),
        LinesCommand::Show { line, json } => show(socket, line, *json),
        LinesCommand::Ring { line, seconds } => {
            try_out(socket, &json!({ "line": line, "what": "ring", "seconds": seconds }), false)
        }
        LinesCommand::Tone { line, tone } => {
            let tone = match tone {
                Tone::Dial => "dial",
                Tone::Level => "level",
            };
            try_out(socket, &json!({ "line": line, "what": "tone", "tone": tone }), false)
        }
        LinesCommand::Test { line, json } => try_out(socket, &json!({ "line": line, "what": "test" }), *json),
        LinesCommand::Forget { line } => {
            asked(socket, &json!({ "do": "port-forget", "line": line }), ANSWER_MAX).map(|_| ())
        }
        LinesCommand::Save { line, file } => save(socket, line, file),
    };
    done.map_or_else(|code| code, |()| OK)
}

/// Asks, and says what was refused.
fn asked(socket: &Path, request: &Value, limit: Duration) -> Result<Value, u8> {
    let answer = ask_for(socket, request, limit)?;
    let Some(code) = answer["error"].as_str() else { return Ok(answer) };
    let line = request["line"].as_str().unwrap_or_default();
    match code {
        "TR-CONTROL-NO-LINE" => {
            complain_with(code, &format!("no analog line `{line}`"));
            Err(NOT_FOUND)
        }
        "TR-PORT-REFUSED" => {
            complain_with(code, answer["why"].as_str().unwrap_or("it cannot be tried now"));
            Err(BUSY)
        }
        other => {
            complain_with(other, "the daemon does not do that");
            Err(BAD)
        }
    }
}

/// Lines as `status` has them, each with its port.
fn lines(socket: &Path) -> Result<Vec<Value>, u8> {
    let mut status = ask(socket, &json!({ "do": "status" }))?;
    let ports = asked(socket, &json!({ "do": "ports" }), ANSWER_MAX)?;
    let mut lines = status["lines"].as_array_mut().map(std::mem::take).unwrap_or_default();
    for port in ports["ports"].as_array().into_iter().flatten() {
        if let Some(line) = lines.iter_mut().find(|line| line["name"] == port["line"]) {
            line["port"] = port.clone();
        }
    }
    Ok(lines)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".to_owned(), shown)
}

fn list(socket: &Path, as_json: bool) -> Result<(), u8> {
    let lines = lines(socket)?;
    if as_json {
        say(&Value::Array(lines).to_string());
        return Ok(());
    }
    for line in &lines {
        let detail = line["detail"].as_str().filter(|detail| !detail.is_empty());
        let state = detail
            .map_or_else(|| text(&line["state"]), |detail| format!("{} ({detail})", text(&line["state"])));
        let port = &line["port"];
        let wire = if port.is_null() {
            match line["contacts"].as_u64() {
                Some(contacts) if contacts > 0 => format!("{contacts} registered"),
                _ => String::new(),
            }
        } else {
            format!("{:12} {}", text(&port["port"]), text(&port["wire"]))
        };
        say(format!("{:16} {:10} {state:24} {wire}", text(&line["name"]), text(&line["kind"])).trim_end());
    }
    Ok(())
}

fn show(socket: &Path, name: &str, as_json: bool) -> Result<(), u8> {
    let lines = lines(socket)?;
    let Some(line) = lines.iter().find(|line| line["name"] == name) else {
        complain_with("TR-CONTROL-NO-LINE", &format!("no line `{name}`"));
        return Err(NOT_FOUND);
    };
    if as_json {
        say(&serde_json::to_string_pretty(line).unwrap_or_default());
        return Ok(());
    }
    let row = |what: &str, value: String| say(&format!("{what:16} {value}"));
    row("line", format!("{} ({})", text(&line["name"]), text(&line["kind"])));
    row(
        "state",
        format!("{} {}", text(&line["state"]), text(&line["detail"]).trim_start_matches('-'))
            .trim_end()
            .to_owned(),
    );
    let port = &line["port"];
    if port.is_null() {
        row("contacts", line["contacts"].to_string());
        return Ok(());
    }
    let fault = port["fault"].as_str().map_or_else(String::new, |fault| format!(", {fault}"));
    let device = if port["is_present"] == true { "there" } else { "not there" };
    row("port", format!("{}, device {device}{fault}", text(&port["port"])));
    row("wire", text(&port["wire"]));
    if let Some(volts) = port["measured"]["volts"].as_f64() {
        let current = port["measured"]["milliamperes"].as_f64().unwrap_or_default();
        row("measured", format!("{volts:.1} V, {current:.1} mA"));
    }
    let level = |key: &str| port[key].as_f64().unwrap_or(-96.0);
    row("heard", format!("{:.0} dBm0", level("heard_dbm0")));
    row("played", format!("{:.0} dBm0", level("played_dbm0")));
    if let Some(cancelled) = port["cancelled_db"].as_f64() {
        row("echo cancelled", format!("{cancelled:.0} dB"));
    }
    let caller = &port["last_caller"];
    if !caller.is_null() {
        let name = caller["name"].as_str().map_or_else(String::new, |name| format!(" {}", shown(name)));
        row(
            "last caller",
            format!(
                "{}{name} ({}), {}",
                text(&caller["number"]),
                text(&caller["standard"]),
                text(&caller["at"])
            ),
        );
    }
    row("last answer", text(&port["last_answer"]));
    row("last end", text(&port["last_end"]));
    let learned: Vec<String> = port["learned_tones"].as_array().into_iter().flatten().map(text).collect();
    if !learned.is_empty() {
        row("learned tones", learned.join(", "));
    }
    row("calls", format!("{} in, {} out", port["calls_in"], port["calls_out"]));
    if port["lost_facts"].as_u64().is_some_and(|lost| lost > 0) {
        row("lost", format!("{} facts found no room", port["lost_facts"]));
    }
    Ok(())
}

fn watch(socket: &Path, line: Option<&str>, as_json: bool, all: bool) -> Result<(), u8> {
    if let Some(name) = line {
        // A name that there is not would be waited for without an end.
        let lines = lines(socket)?;
        if !lines.iter().any(|known| known["name"] == name && !known["port"].is_null()) {
            complain_with("TR-CONTROL-NO-LINE", &format!("no analog line `{name}`"));
            return Err(NOT_FOUND);
        }
    }
    let status = ask(socket, &json!({ "do": "status" }))?;
    for device in status["devices"].as_array().into_iter().flatten() {
        complain(&format!(
            "device {} ({}): {}",
            text(&device["name"]),
            text(&device["kind"]),
            tried_with(device)
        ));
    }
    let mut after = if all {
        Value::from(0)
    } else {
        asked(socket, &json!({ "do": "port-watch" }), ANSWER_MAX)?["last"].clone()
    };
    loop {
        let mut answer = asked(socket, &json!({ "do": "port-watch", "after": after }), ANSWER_MAX)?;
        after = answer["last"].take();
        if let Some(missed) = answer["missed"].as_u64().filter(|missed| *missed > 0) {
            complain(&format!("{missed} more had happened that are no longer known"));
        }
        for one in answer["happenings"].as_array().into_iter().flatten() {
            if line.is_some_and(|line| one["line"] != line) {
                continue;
            }
            say(&if as_json { one.to_string() } else { happening(one) });
        }
    }
}

fn happening(one: &Value) -> String {
    let leg = one["leg"].as_str().map_or_else(String::new, |leg| format!("{leg} "));
    format!(
        "{} {:12} {:8} {leg}{}",
        text(&one["at"]),
        text(&one["line"]),
        text(&one["kind"]),
        text(&one["text"])
    )
}

fn try_out(socket: &Path, request: &Value, as_json: bool) -> Result<(), u8> {
    let mut request = request.clone();
    request["do"] = Value::from("port-try");
    let answer = asked(socket, &request, TRY_MAX)?;
    say(&if as_json { answer["report"].to_string() } else { text(&answer["text"]) });
    Ok(())
}

fn save(socket: &Path, line: &str, file: &Path) -> Result<(), u8> {
    let answer = asked(socket, &json!({ "do": "port-save", "line": line }), ANSWER_MAX)?;
    let samples = STANDARD.decode(answer["samples"].as_str().unwrap_or_default()).map_err(|_| INTERNAL)?;
    let rate_hz = answer["rate_hz"].as_u64().and_then(|rate| u32::try_from(rate).ok()).unwrap_or(8_000);
    let count = u64::try_from(samples.len() / 2).unwrap_or(u64::MAX);
    let mut bytes = wav::header(rate_hz, Some(count)).to_vec();
    bytes.extend(&samples);
    let happened = answer["happenings"].as_array().map_or(&[][..], Vec::as_slice);
    let told: String = happened.iter().map(|one| happening(one) + "\n").collect();
    for (path, bytes) in [(file.to_owned(), bytes), (file.with_extension("txt"), told.into_bytes())] {
        fs::write(&path, bytes).map_err(|error| {
            complain(&format!("{}: {error}", path.display()));
            CANNOT_WRITE
        })?;
        say(&path.display().to_string());
    }
    Ok(())
}
