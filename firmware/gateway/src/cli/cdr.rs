//! `tipring cdr`: the records of calls that are over.
//!
//! The files are read here, not by the daemon, which only says where they are: a long list
//! disturbs no call.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::remote::ask;
use super::{CANNOT_WRITE, INTERNAL, NOT_FOUND, OK, USAGE, ago, complain, complain_with, say, shown};
use crate::cdr;

/// Records listed unless another number is asked for.
const LIST: usize = 20;

#[derive(Subcommand)]
pub(super) enum CdrCommand {
    /// List the newest.
    Ls {
        #[command(flatten)]
        filter: Filter,
        /// How many at most.
        #[arg(long, default_value_t = LIST)]
        limit: usize,
        /// As JSON, one record a line.
        #[arg(long)]
        json: bool,
    },
    /// Show one with everything that happened in the call.
    Show {
        /// Its name, or the first letters of it.
        id: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write them to a file, oldest first.
    Export {
        #[command(flatten)]
        filter: Filter,
        /// How.
        #[arg(long, value_enum, default_value_t = Format::Csv)]
        format: Format,
        /// Where to; `-` for the standard output.
        file: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Format {
    /// One line a call, for a spreadsheet.
    Csv,
    /// One JSON object a line, with everything.
    Ndjson,
}

#[derive(Args)]
pub(super) struct Filter {
    /// Begun at or after this: 2026-11-20, 2026-11-20T08:30:00Z, or how long ago: 2h, 7d.
    #[arg(long, value_parser = instant)]
    since: Option<Timestamp>,
    /// Begun before this.
    #[arg(long, value_parser = instant)]
    until: Option<Timestamp>,
    /// With these digits in the caller's or the dialled number.
    #[arg(long)]
    number: Option<String>,
    /// Arrived on this line.
    #[arg(long)]
    line: Option<String>,
    /// Handled by this flow.
    #[arg(long)]
    flow: Option<String>,
    /// That did not end with a normal clearing.
    #[arg(long)]
    failed: bool,
    /// That went on with what the box had, since a server was away.
    #[arg(long)]
    degraded: bool,
}

impl Filter {
    fn fits(&self, record: &Value) -> bool {
        let text = |key: &str| record[key].as_str().unwrap_or_default();
        let started = text("started").parse::<Timestamp>().ok();
        let named =
            |wanted: &Option<String>, key: &str| wanted.as_deref().is_none_or(|name| name == text(key));
        self.since.is_none_or(|since| started.is_some_and(|at| at >= since))
            && self.until.is_none_or(|until| started.is_some_and(|at| at < until))
            && self
                .number
                .as_deref()
                .is_none_or(|part| text("from").contains(part) || text("to").contains(part))
            && named(&self.line, "line")
            && named(&self.flow, "flow")
            && (!self.failed || text("cause") != "normal-clearing")
            && (!self.degraded || matches!(text("edge_fetch"), "stale" | "local" | "builtin"))
    }
}

/// A time as it is written on the command line.
fn instant(text: &str) -> Result<Timestamp, String> {
    const HINT: &str = "write 2026-11-20, 2026-11-20T08:30:00Z, or how long ago: 30m, 2h, 7d";
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Ok(at) = format!("{text}T00:00:00Z").parse::<Timestamp>() {
        return Ok(at);
    }
    ago(text).ok_or_else(|| HINT.to_owned())
}

pub(super) fn run(socket: &Path, folder: Option<PathBuf>, command: &CdrCommand) -> u8 {
    let folder = match folder {
        Some(folder) => folder,
        None => match ask(socket, &json!({ "do": "cdr-folder" })) {
            Ok(answer) => PathBuf::from(answer["folder"].as_str().unwrap_or_default()),
            Err(code) => {
                complain("  without a daemon, name the folder: tipring cdr --folder DIR ...");
                return code;
            }
        },
    };
    if !folder.is_dir() {
        complain_with("TR-CDR-NONE", &format!("there is no folder {}", folder.display()));
        return NOT_FOUND;
    }
    match command {
        CdrCommand::Ls { filter, limit, json } => list(&folder, filter, *limit, *json),
        CdrCommand::Show { id, json } => show(&folder, id, *json),
        CdrCommand::Export { filter, format, file } => export(&folder, filter, *format, file),
    }
}

fn records(folder: &Path, filter: &Filter, limit: usize) -> Result<Vec<Value>, u8> {
    let found =
        cdr::read(folder, limit, |record| filter.fits(record)).map_err(|error| unreadable(folder, &error))?;
    if found.damaged > 0 {
        let lines = if found.damaged == 1 { "line is" } else { "lines are" };
        complain_with("TR-CDR-DAMAGED", &format!("{} {lines} left out", found.damaged));
    }
    Ok(found.records)
}

fn unreadable(folder: &Path, error: &io::Error) -> u8 {
    complain_with("TR-CDR-WRITE", &format!("{} cannot be read: {error}", folder.display()));
    INTERNAL
}

fn list(folder: &Path, filter: &Filter, limit: usize, as_json: bool) -> u8 {
    let records = match records(folder, filter, limit) {
        Ok(records) => records,
        Err(code) => return code,
    };
    if as_json {
        records.iter().for_each(|record| say(&record.to_string()));
        return OK;
    }
    say(&format!(
        "{:8} {:19} {:15} {:15} {:12} {:>7}  {:22} {}",
        "call", "began (UTC)", "from", "to", "flow", "s", "cause", "from the box"
    ));
    for record in &records {
        let text = |key: &str| record[key].as_str().unwrap_or("-");
        let began = text("started").get(..19).unwrap_or("-").replace('T', " ");
        say(&format!(
            "{:8} {began:19} {:15} {:15} {:12} {:>7.1}  {:22} {}",
            text("id").get(..8).unwrap_or("-"),
            shown(text("from")),
            shown(text("to")),
            text("flow"),
            record["lasted_ms"].as_f64().unwrap_or(0.0) / 1_000.0,
            text("cause"),
            record["edge_fetch"].as_str().unwrap_or("")
        ));
    }
    OK
}

fn show(folder: &Path, id: &str, as_json: bool) -> u8 {
    let found = match cdr::find(folder, id) {
        Ok(found) => found,
        Err(error) => return unreadable(folder, &error),
    };
    match found.as_slice() {
        [] => {
            complain_with("TR-CDR-NONE", &format!("no record begins with {}", shown(id)));
            NOT_FOUND
        }
        [record] => {
            if as_json {
                say(&serde_json::to_string_pretty(record).unwrap_or_default());
            } else {
                say(story(record).trim_end());
            }
            OK
        }
        [..] => {
            complain(&format!("more than one record begins with {}: write more of its name", shown(id)));
            USAGE
        }
    }
}

/// The record as it is read by people: head, then what happened in the order of time.
fn story(record: &Value) -> String {
    let text = |key: &str| shown(record[key].as_str().unwrap_or("-"));
    let seconds = |value: &Value| value.as_f64().map(|ms| ms / 1_000.0);
    let mut story = String::new();
    // Writing into a String cannot fail.
    let _ = writeln!(story, "call {}  {}  {} -> {}", text("id"), text("direction"), text("from"), text("to"));
    let _ = writeln!(story, "line {}, flow {}, began {}", text("line"), text("flow"), text("started"));
    let lasted = seconds(&record["lasted_ms"]).unwrap_or(0.0);
    let _ = match seconds(&record["answered_after_ms"]) {
        Some(after) => {
            writeln!(story, "answered after {after:.3} s ({}), lasted {lasted:.3} s", text("supervision"))
        }
        None => writeln!(story, "not answered, lasted {lasted:.3} s"),
    };
    let _ = writeln!(
        story,
        "ended by the {}: {} ({}), {}",
        text("ended_by"),
        text("cause"),
        record["q850"],
        text("label")
    );
    if let Some(rung) = record["edge_fetch"].as_str() {
        let what = match rung {
            "retry" => "the server, asked twice",
            "fallback" => "the fallback address",
            "stale" => "a copy of the box",
            "local" => "the line's local flow",
            _ => "the built-in flow: all telephones rang",
        };
        let age =
            record["edge_fetch_age_s"].as_u64().map_or_else(String::new, |age_s| format!(", {age_s} s old"));
        let _ = writeln!(story, "the flow came from: {what}{age}");
    }
    story.push('\n');
    let mut events: Vec<(u64, String)> = Vec::new();
    let each = |key: &str| record[key].as_array().cloned().unwrap_or_default();
    for leg in each("legs") {
        let name = shown(leg["leg"].as_str().unwrap_or("-"));
        let began = leg["began_after_ms"].as_u64().unwrap_or(0);
        let line = shown(leg["line"].as_str().unwrap_or("-"));
        let to = shown(leg["to"].as_str().unwrap_or(""));
        let whom = if to.is_empty() { "arrives".to_owned() } else { format!("to {to}") };
        let told = leg["wire"]["caller_id"].as_str();
        let told = told.map_or_else(String::new, |told| format!(", caller told by {}", shown(told)));
        let rang = leg["wire"]["ring"].as_str();
        let rang = rang.map_or_else(String::new, |ring| format!(", rang {}", shown(ring)));
        events.push((began, format!("leg {name}  {whom} on {line}{told}{rang}")));
        if let Some(after) = leg["answered_after_ms"].as_u64() {
            let codec = shown(leg["codec"].as_str().unwrap_or("-"));
            let how = leg["supervision"].as_str().unwrap_or("-");
            let sign = leg["wire"]["answer_by"].as_str();
            let how = sign.map_or_else(|| how.to_owned(), |sign| format!("{how}: {}", shown(sign)));
            events.push((began + after, format!("leg {name}  answered ({how}), {codec}")));
        }
        let lasted = leg["lasted_ms"].as_u64().unwrap_or(0);
        let cause = leg["cause"].as_str().unwrap_or("-");
        let rtp = &leg["rtp"];
        let heard = if rtp.is_object() {
            format!("; {} packets in, {} out, {} lost", rtp["in"], rtp["out"], rtp["lost"])
        } else {
            String::new()
        };
        for tried in leg["tried"].as_array().into_iter().flatten() {
            let part = |key: &str| shown(tried[key].as_str().unwrap_or("-"));
            let known = known_by(&tried["wire"]);
            events.push((began, format!("leg {name}  not over {}: {}{known}", part("line"), part("cause"))));
        }
        let known = known_by(&leg["wire"]);
        events.push((began + lasted, format!("leg {name}  gone: {cause}{known}{heard}")));
    }
    for request in each("requests") {
        let part = |key: &str| shown(request[key].as_str().unwrap_or(""));
        let status = request["status"].as_u64().map_or_else(String::new, |status| format!(" {status}"));
        let code = request["code"].as_str().map_or_else(String::new, |code| format!(" {code}"));
        let how = match request["rung"].as_str() {
            Some("live") | None => String::new(),
            Some(rung) => format!(" [{rung}]"),
        };
        let ms = request["ms"].as_u64().unwrap_or(0);
        let at = request["at_ms"].as_u64().unwrap_or(0);
        events.push((at, format!("{} {}{how}{status}{code}, {ms} ms", part("method"), part("url"))));
    }
    for digit in each("digits") {
        let at = digit["at_ms"].as_u64().unwrap_or(0);
        let leg = shown(digit["leg"].as_str().unwrap_or("-"));
        events.push((at, format!("leg {leg}  key {}", digit["digit"].as_str().unwrap_or("-"))));
    }
    for step in each("steps") {
        let at = step["at_ms"].as_u64().unwrap_or(0);
        let part = |key: &str| shown(step[key].as_str().unwrap_or(""));
        let verdict = if step["success"] == true { "done" } else { "failed" };
        let reason = part("reason");
        let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
        events.push((at, format!("step {}  {verdict}{reason}", part("path"))));
    }
    // Those of one moment stay in the order above.
    events.sort_by_key(|(at, _)| *at);
    for (at_ms, what) in events {
        let _ = writeln!(story, "{:>10.3}  {what}", at_ms as f64 / 1_000.0);
    }
    for recording in each("recordings") {
        let _ = writeln!(story, "recording {}", shown(recording.as_str().unwrap_or("-")));
    }
    story
}

/// How the end of a leg over two wires was known.
fn known_by(wire: &Value) -> String {
    let signs: Vec<String> =
        wire["end_by"].as_array().into_iter().flatten().filter_map(Value::as_str).map(shown).collect();
    if signs.is_empty() { String::new() } else { format!(", known by {}", signs.join(", ")) }
}

/// The columns of a spreadsheet.
const COLUMNS: [&str; 18] = [
    "id",
    "started",
    "direction",
    "from",
    "from_name",
    "to",
    "line",
    "flow",
    "answered_after_ms",
    "supervision",
    "lasted_ms",
    "cause",
    "q850",
    "ended_by",
    "edge_fetch",
    "caller_id",
    "answer_by",
    "end_by",
];

/// What is written in a column: of the record itself, or how it was known over two wires, of
/// whichever leg has it.
fn column(record: &Value, name: &str) -> Value {
    if !matches!(name, "caller_id" | "answer_by" | "end_by") {
        return record[name].clone();
    }
    let known = record["legs"].as_array().into_iter().flatten().map(|leg| &leg["wire"][name]);
    let words = known.flat_map(|known| {
        let signs = known.as_array().into_iter().flatten().filter_map(Value::as_str);
        known.as_str().into_iter().chain(signs).collect::<Vec<_>>()
    });
    // That the box hung up on one leg is so of every call that somebody else ended.
    let words: Vec<&str> = words.filter(|word| *word != "own-release").collect();
    if words.is_empty() { Value::Null } else { words.join(" ").into() }
}

fn export(folder: &Path, filter: &Filter, format: Format, file: &Path) -> u8 {
    let mut records = match records(folder, filter, usize::MAX) {
        Ok(records) => records,
        Err(code) => return code,
    };
    records.reverse();
    let mut text = String::new();
    if let Format::Csv = format {
        text.push_str(&COLUMNS.join(","));
        text.push_str("\r\n");
    }
    for record in &records {
        match format {
            Format::Ndjson => {
                let _ = writeln!(text, "{record}");
            }
            Format::Csv => {
                let cells: Vec<String> = COLUMNS.iter().map(|name| cell(&column(record, name))).collect();
                text.push_str(&cells.join(","));
                text.push_str("\r\n");
            }
        }
    }
    if file == Path::new("-") {
        // A reader that went away is no fault of ours.
        let _ = io::stdout().write_all(text.as_bytes());
        return OK;
    }
    match File::create(file)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
    {
        Ok(()) => {
            complain(&format!("{} records in {}", records.len(), file.display()));
            OK
        }
        Err(error) => {
            complain(&format!("error: {} cannot be written: {error}", file.display()));
            CANNOT_WRITE
        }
    }
}

/// A cell (RFC 4180) that no spreadsheet takes for a formula.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let is_number = text
        .strip_prefix('+')
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
    let text = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number {
        format!("'{text}")
    } else {
        text
    };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        for (value, expected) in [
            (json!("+15550100"), "+15550100"),
            (json!("=1+1"), "'=1+1"),
            (json!("-1,5"), "\"'-1,5\""),
            (json!("@SUM(\"a\")"), "\"'@SUM(\"\"a\"\")\""),
            (json!(null), ""),
            (json!(12), "12"),
            (json!("a\nb"), "\"a\nb\""),
        ] {
            assert_eq!(cell(&value), expected);
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(instant("2026-11-20").unwrap(), "2026-11-20T00:00:00Z".parse().unwrap());
        assert_eq!(instant("2026-11-20T08:30:00Z").unwrap(), "2026-11-20T08:30:00Z".parse().unwrap());
        assert!(instant("2h").unwrap() < Timestamp::now());
        for wrong in ["", "h", "tomorrow", "99999999999d", "-1h", "20.11.2026", "ü"] {
            assert!(instant(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_story_is_told_in_the_order_of_time() {
        let record = json!({
            "id": "1-2", "direction": "inbound", "from": "1555\u{1b}[2J", "to": "100", "line": "trunk1",
            "flow": "office", "started": "2026-11-20T08:00:00.000Z", "answered_after_ms": 20,
            "supervision": "signalled", "lasted_ms": 3_000, "cause": "normal-clearing", "q850": 16,
            "ended_by": "flow", "label": "menu", "edge_fetch": "stale", "edge_fetch_age_s": 60,
            "legs": [{"leg": "0:1", "line": "trunk1", "to": "", "began_after_ms": 0, "answered_after_ms": 20,
                      "supervision": "signalled", "lasted_ms": 3_000, "cause": "normal-clearing", "codec": "PCMU"}],
            "requests": [{"at_ms": 1, "method": "GET", "url": "web/flow", "rung": "live", "status": null,
                          "code": "TR-HOOK-UNREACH", "ms": 3}],
            "digits": [{"at_ms": 900, "leg": "0:1", "digit": "2"}],
            "steps": [{"at_ms": 2_999, "command": "Hangup", "path": "Hangup[2]", "success": true, "reason": ""}],
            "recordings": ["a.wav"]
        });
        let story = story(&record);
        let at = |what: &str| story.find(what).unwrap_or_else(|| panic!("{what} not in {story}"));
        let order = [
            "a copy of the box, 60 s old",
            "arrives",
            "GET web/flow TR-HOOK-UNREACH, 3 ms",
            "answered (signalled)",
            "key 2",
            "step Hangup[2]  done",
            "gone: normal-clearing",
            "recording a.wav",
        ];
        assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{story}");
        assert!(!story.contains('\u{1b}'));
    }
}
