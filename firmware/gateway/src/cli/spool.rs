//! `tipring spool`: the webhooks that wait, are set apart or were sent. Through the running
//! daemon; `verify`, `export` and `import` also on a folder that no daemon uses.

mod whole;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::remote::ask;
use super::{
    BAD, BAD_FILE, BUSY, CANNOT_WRITE, INTERNAL, NOT_FOUND, OK, USAGE, ago, complain, complain_with, say,
    shown,
};
use crate::daemon;

/// Bytes of names in one request: the daemon takes no longer one than 64 KiB.
const NAMES_BYTES_MAX: usize = 59 * 1024;

/// `tipring spool ...`
#[derive(clap::Subcommand)]
pub(super) enum SpoolCommand {
    /// List webhooks, the oldest first.
    Ls {
        /// Only those in this state.
        #[arg(long, value_enum)]
        state: Option<Wanted>,
        /// Only those whose server's name contains this.
        #[arg(long)]
        server: Option<String>,
        /// Only those about the call whose id begins like this.
        #[arg(long)]
        call: Option<String>,
        /// No more than so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// As JSON, one a line.
        #[arg(long)]
        json: bool,
    },
    /// Show the request and the last answer of one webhook, without secrets.
    Show {
        /// Its id or number.
        id: String,
        /// As a command for curl.
        #[arg(long)]
        curl: bool,
        /// As JSON.
        #[arg(long, conflicts_with = "curl")]
        json: bool,
    },
    /// Send webhooks again, under the same ids; one that waits is tried at once.
    Replay {
        /// Their ids or numbers.
        #[arg(required_unless_present_any = ["parked", "sent"], conflicts_with_all = ["parked", "sent"])]
        ids: Vec<String>,
        /// All that were set apart.
        #[arg(long, conflicts_with = "sent")]
        parked: bool,
        /// All that were sent in a time; needs --since.
        #[arg(long, requires = "since")]
        sent: bool,
        /// From then on: a time such as 2026-11-20T08:00:00Z, or how long ago, such as 90m, 2h, 1d.
        #[arg(long, conflicts_with = "ids")]
        since: Option<String>,
        /// Until then.
        #[arg(long, requires = "sent")]
        until: Option<String>,
    },
    /// Drop webhooks for good.
    Drop {
        /// Their ids or numbers.
        #[arg(required = true)]
        ids: Vec<String>,
        /// Yes, for good.
        #[arg(long)]
        yes: bool,
    },
    /// Say how much there is, for whom, and what was dropped.
    Stats {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Read every webhook and say whether all are whole.
    Verify {
        /// The folder of a spool that no daemon uses, such as /data/tipring/webhooks.
        #[arg(long)]
        folder: Option<PathBuf>,
    },
    /// Write those that wait or are set apart to a file.
    Export {
        /// The file; - for standard output.
        file: PathBuf,
        /// The folder of a spool that no daemon uses.
        #[arg(long)]
        folder: Option<PathBuf>,
    },
    /// Take webhooks from a file that `export` wrote; those that are known stay as they are.
    Import {
        /// The file.
        file: PathBuf,
        /// The folder of a spool that no daemon uses.
        #[arg(long)]
        folder: Option<PathBuf>,
    },
    /// Open a folder and close it again: for the daemon, which does it in a process of its own.
    #[command(hide = true)]
    Probe {
        /// The folder.
        folder: PathBuf,
    },
}

/// States to look for.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(super) enum Wanted {
    Queued,
    Trying,
    Parked,
    Sent,
}

impl Wanted {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Trying => "trying",
            Self::Parked => "parked",
            Self::Sent => "sent",
        }
    }
}

pub(super) fn run(socket: &Path, command: &SpoolCommand) -> u8 {
    let done = match command {
        SpoolCommand::Ls { state, server, call, limit, json } => {
            let filter = json!({
                "do": "spool-ls",
                "state": state.map(Wanted::as_str),
                "server": server,
                "call": call,
            });
            list(socket, filter, *limit, *json)
        }
        SpoolCommand::Show { id, curl, json } => show(socket, id, *curl, *json),
        SpoolCommand::Replay { ids, parked, since, until, .. } => {
            replay(socket, ids, *parked, since.as_deref(), until.as_deref())
        }
        SpoolCommand::Drop { ids, yes } => drop_named(socket, ids, *yes),
        SpoolCommand::Stats { json } => stats(socket, *json),
        SpoolCommand::Verify { folder } => whole::verify(socket, folder.as_deref()),
        SpoolCommand::Export { file, folder } => whole::export(socket, file, folder.as_deref()),
        SpoolCommand::Import { file, folder } => whole::import(socket, file, folder.as_deref()),
        SpoolCommand::Probe { folder } => return if daemon::spool_opens(folder) { OK } else { BAD },
    };
    match done {
        Ok(code) | Err(code) => code,
    }
}

/// Asks the daemon; the exit code where it refuses.
fn asked(socket: &Path, request: &Value) -> Result<Value, u8> {
    let answer = ask(socket, request)?;
    match answer["error"].as_str() {
        None => Ok(answer),
        Some(code) => {
            complain_with(code, "the daemon refuses");
            Err(match code {
                "TR-SPOOL-NO-WEBHOOK" => NOT_FOUND,
                "TR-SPOOL-FULL" | "TR-SPOOL-WRITE" => CANNOT_WRITE,
                _ => INTERNAL,
            })
        }
    }
}

// --- Looking.

fn list(socket: &Path, mut request: Value, limit: usize, as_json: bool) -> Result<u8, u8> {
    let mut left = limit;
    if !as_json {
        say(&format!(
            "{:>8} {:>6} {:12} {:36} {:28} {:7} {:>3} {:>6} {:>6} {:>6}",
            "NUMBER", "AGE", "TOPIC", "CALL", "SERVER", "STATE", "TRY", "STATUS", "NEXT", "BYTES"
        ));
    }
    while left > 0 {
        request["limit"] = json!(left);
        let answer = asked(socket, &request)?;
        let rows = answer["rows"].as_array().map_or(&[][..], Vec::as_slice);
        for row in rows {
            say(&if as_json { shown_json(row) } else { line(row) });
        }
        left = left.saturating_sub(rows.len());
        if answer["next"].is_null() {
            break;
        }
        request["after"] = answer["next"].clone();
    }
    Ok(OK)
}

fn line(row: &Value) -> String {
    let text = |key: &str| shown(row[key].as_str().unwrap_or("-"));
    let number = |key: &str| row[key].as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string());
    let time = |key: &str| row[key].as_i64().map_or_else(|| "-".to_owned(), duration);
    let next = if row["on_its_way"] == true { "now".to_owned() } else { time("next_s") };
    format!(
        "{:>8} {:>6} {:12} {:36} {:28} {:7} {:>3} {:>6} {:>6} {:>6}",
        number("seq"),
        time("age_s"),
        text("topic"),
        text("call"),
        text("server"),
        text("state"),
        number("attempts"),
        number("status"),
        next,
        number("bytes")
    )
}

/// Seconds in the largest unit that fits.
fn duration(seconds: i64) -> String {
    match seconds {
        ..0 => "?".to_owned(),
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn show(socket: &Path, id: &str, curl: bool, as_json: bool) -> Result<u8, u8> {
    let answer = asked(socket, &json!({ "do": "spool-show", "id": id }))?;
    let text = |value: &Value| shown(value.as_str().unwrap_or_default());
    let lines = |value: &Value| shown_lines(value.as_str().unwrap_or_default());
    if as_json {
        say(&shown_json(&answer));
        return Ok(OK);
    }
    if curl {
        say(&lines(&answer["curl"]));
        return Ok(OK);
    }
    let (row, request, reply) = (&answer["row"], &answer["request"], &answer["reply"]);
    say(&format!(
        "{} {}, number {}, {}",
        text(&row["topic"]),
        text(&row["id"]),
        row["seq"],
        text(&row["state"])
    ));
    say(&format!("\n{} {}", text(&request["method"]), text(&request["url"])));
    for header in request["headers"].as_array().into_iter().flatten() {
        say(&format!("{}: {}", text(&header[0]), text(&header[1])));
    }
    if let Some(media_type) = request["media_type"].as_str() {
        say(&format!("Content-Type: {}", shown(media_type)));
    }
    say(&format!("\n{}", lines(&request["body"])));
    let status = reply["status"].as_u64().map_or_else(|| "none".to_owned(), |status| status.to_string());
    say(&format!("\nlast answer: {status}\n{}", lines(&reply["text"])));
    Ok(OK)
}

fn stats(socket: &Path, as_json: bool) -> Result<u8, u8> {
    let stats = asked(socket, &json!({ "do": "spool-stats" }))?;
    if as_json {
        say(&shown_json(&stats));
        return Ok(OK);
    }
    let number = |key: &str| stats[key].as_u64().unwrap_or(0);
    say(&format!(
        "{} waiting, {} parked, {} sent and kept, {} held in memory",
        number("waiting"),
        number("parked"),
        number("history"),
        number("held")
    ));
    say(&format!("{} bytes, and {} of those sent", number("bytes"), number("history_bytes")));
    if let Some(age) = stats["oldest_s"].as_i64() {
        say(&format!("the oldest waits for {}", duration(age)));
    }
    for server in stats["servers"].as_array().into_iter().flatten() {
        let text = |key: &str| shown(server[key].as_str().unwrap_or("-"));
        say(&format!("server {} {} {} waiting", text("server"), text("state"), server["waiting"]));
    }
    for (class, count) in stats["dropped"]["by_class"].as_object().into_iter().flatten() {
        say(&format!("dropped {class} {count}"));
    }
    Ok(OK)
}

// --- Doing.

fn replay(
    socket: &Path,
    ids: &[String],
    parked: bool,
    since: Option<&str>,
    until: Option<&str>,
) -> Result<u8, u8> {
    if !ids.is_empty() {
        return each_piece(socket, "spool-replay", ids, "replayed", "sent again");
    }
    let request = json!({
        "do": "spool-replay",
        "state": if parked { "parked" } else { "sent" },
        "since_unix_ms": since.map(moment).transpose()?,
        "until_unix_ms": until.map(moment).transpose()?,
    });
    let answer = asked(socket, &request)?;
    say(&format!("{} sent again", answer["replayed"]));
    Ok(missing(&answer))
}

/// Does something to webhooks by their names, and says to how many.
fn each_piece(socket: &Path, what: &str, ids: &[String], counted: &str, done: &str) -> Result<u8, u8> {
    let (mut count, mut code) = (0, OK);
    for piece in pieces(ids) {
        let answer = asked(socket, &json!({ "do": what, "ids": piece })).inspect_err(|_| {
            complain(&format!("{count} {done} before that"));
        })?;
        count += answer[counted].as_u64().unwrap_or(0);
        code = code.max(missing(&answer));
    }
    say(&format!("{count} {done}"));
    Ok(code)
}

fn drop_named(socket: &Path, ids: &[String], yes: bool) -> Result<u8, u8> {
    if !yes {
        complain("what is dropped is gone for good: say so with --yes");
        return Err(USAGE);
    }
    each_piece(socket, "spool-drop", ids, "dropped", "dropped")
}

/// Names what was not there.
fn missing(answer: &Value) -> u8 {
    let missing = answer["missing"].as_array().map_or(&[][..], Vec::as_slice);
    for name in missing.iter().filter_map(Value::as_str) {
        complain_with("TR-SPOOL-NO-WEBHOOK", &format!("no webhook {}", shown(name)));
    }
    if missing.is_empty() { OK } else { NOT_FOUND }
}

/// A time in milliseconds since 1970: a date, or how long ago.
fn moment(text: &str) -> Result<i64, u8> {
    text.parse::<Timestamp>().ok().or_else(|| ago(text)).map(Timestamp::as_millisecond).ok_or_else(|| {
        complain(&format!(
            "`{text}` is no time: write 2026-11-20T08:00:00Z, or how long ago, such as 90m, 2h, 1d"
        ));
        USAGE
    })
}

/// Names in pieces that the daemon takes in one request.
fn pieces(names: &[String]) -> Vec<&[String]> {
    let mut pieces = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, name) in names.iter().enumerate() {
        // As JSON, with its quotes and comma.
        let more = Value::from(name.as_str()).to_string().len() + 1;
        if at > from && bytes + more > NAMES_BYTES_MAX {
            pieces.push(&names[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += more;
    }
    if from < names.len() {
        pieces.push(&names[from..]);
    }
    pieces
}

// --- Showing.

/// A text of several lines, in the same way.
fn shown_lines(text: &str) -> String {
    text.split('\n').map(shown).collect::<Vec<_>>().join("\n")
}

/// JSON in one line; what could steer a terminal is escaped in it.
fn shown_json(value: &Value) -> String {
    let mut shown = String::new();
    for c in value.to_string().chars() {
        if c.is_control() {
            shown.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_or_how_long_ago() {
        assert_eq!(moment("2026-11-20T08:00:00Z"), Ok(1_795_161_600_000));
        let now = Timestamp::now().as_millisecond();
        for (text, seconds) in [("90s", 90), ("2m", 120), ("3h", 10_800), ("1d", 86_400)] {
            let ago = now - moment(text).unwrap();
            assert!((seconds * 1_000 - 10_000..=seconds * 1_000).contains(&ago), "{text}: {ago}");
        }
        for text in ["", "x", "5", "h", "-1h", "5w", "2026-11-20", "ä"] {
            assert_eq!(moment(text), Err(USAGE), "{text}");
        }
    }

    #[test]
    fn names_go_out_in_pieces_and_none_is_left_out() {
        let names: Vec<String> = (0..5_000).map(|n| format!("evt_{n:032x}\"")).collect();
        let pieces = pieces(&names);
        assert_eq!(pieces.concat(), names);
        assert!(pieces.len() > 1);
        for piece in pieces {
            assert!(json!({ "do": "spool-replay", "ids": piece }).to_string().len() <= 60 * 1_024);
        }
        assert!(super::pieces(&[]).is_empty());
    }

    #[test]
    fn nothing_that_steers_a_terminal_is_shown() {
        let text = "a\u{1b}[2Jb\r\nc\u{9b}\u{7f}\u{e4}";
        assert_eq!(shown(text), "a?[2Jb??c??\u{e4}");
        assert_eq!(shown_lines(text), "a?[2Jb?\nc??\u{e4}");
        let value = json!({ "text": text });
        let line = shown_json(&value);
        assert!(!line.contains(char::is_control), "{line}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
        let row = json!({ "topic": text, "call": text, "server": text, "state": text });
        assert!(!super::line(&row).contains(char::is_control));
    }
}
