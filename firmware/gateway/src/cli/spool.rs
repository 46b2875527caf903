//! `tipring spool`: the webhooks that wait, are set apart or were sent. Through the running
//! daemon; `verify`, `export` and `import` also on a folder that no daemon uses.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};
use tipring_spool::{
    EXPORT_HEADER, Entry, Examined, OpenError, PutError, Seq, Spool, State, examine, open, reopen,
};

use super::remote::ask;
use super::{
    BAD, BAD_FILE, BUSY, CANNOT_WRITE, INTERNAL, NOT_FOUND, OK, USAGE, complain, complain_with, say,
};
use crate::daemon;

/// Bytes of webhooks in one request: the daemon takes no longer ones than twice that.
const REQUEST_BYTES_MAX: usize = 30_000;
/// Webhooks in one batch, which is taken whole or not at all.
const BATCH_MAX: usize = 50;
/// Longest line of an export, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Faults of a file that are named.
const FAULTS_MAX: usize = 10;

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
        SpoolCommand::Verify { folder } => verify(socket, folder.as_deref()),
        SpoolCommand::Export { file, folder } => export(socket, file, folder.as_deref()),
        SpoolCommand::Import { file, folder } => import(socket, file, folder.as_deref()),
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
            say(&if as_json { row.to_string() } else { line(row) });
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
    let text = |key: &str| row[key].as_str().unwrap_or("-");
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
    let shown = asked(socket, &json!({ "do": "spool-show", "id": id }))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if as_json {
        say(&shown.to_string());
        return Ok(OK);
    }
    if curl {
        say(&text(&shown["curl"]));
        return Ok(OK);
    }
    let (row, request, reply) = (&shown["row"], &shown["request"], &shown["reply"]);
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
        say(&format!("Content-Type: {media_type}"));
    }
    say(&format!("\n{}", text(&request["body"])));
    let status = reply["status"].as_u64().map_or_else(|| "none".to_owned(), |status| status.to_string());
    say(&format!("\nlast answer: {status}\n{}", text(&reply["text"])));
    Ok(OK)
}

fn stats(socket: &Path, as_json: bool) -> Result<u8, u8> {
    let stats = asked(socket, &json!({ "do": "spool-stats" }))?;
    if as_json {
        say(&stats.to_string());
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
        let text = |key: &str| server[key].as_str().unwrap_or("-").to_owned();
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
    let request = if ids.is_empty() {
        json!({
            "do": "spool-replay",
            "state": if parked { "parked" } else { "sent" },
            "since_unix_ms": since.map(moment).transpose()?,
            "until_unix_ms": until.map(moment).transpose()?,
        })
    } else {
        json!({ "do": "spool-replay", "ids": ids })
    };
    let answer = asked(socket, &request)?;
    say(&format!("{} sent again", answer["replayed"]));
    Ok(missing(&answer))
}

fn drop_named(socket: &Path, ids: &[String], yes: bool) -> Result<u8, u8> {
    if !yes {
        complain("what is dropped is gone for good: say so with --yes");
        return Err(USAGE);
    }
    let answer = asked(socket, &json!({ "do": "spool-drop", "ids": ids }))?;
    say(&format!("{} dropped", answer["dropped"]));
    Ok(missing(&answer))
}

/// Names what was not there.
fn missing(answer: &Value) -> u8 {
    let missing = answer["missing"].as_array().map_or(&[][..], Vec::as_slice);
    for name in missing.iter().filter_map(Value::as_str) {
        complain_with("TR-SPOOL-NO-WEBHOOK", &format!("no webhook {name}"));
    }
    if missing.is_empty() { OK } else { NOT_FOUND }
}

/// A time in milliseconds since 1970: a date, or how long ago.
fn moment(text: &str) -> Result<i64, u8> {
    let ago = |text: &str| {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        };
        let milliseconds = number.parse::<u32>().ok().map(i64::from)?.checked_mul(seconds * 1_000)?;
        Timestamp::now().as_millisecond().checked_sub(milliseconds)
    };
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond).or_else(|| ago(text)).ok_or_else(|| {
        complain(&format!(
            "`{text}` is no time: write 2026-11-20T08:00:00Z, or how long ago, such as 90m, 2h, 1d"
        ));
        USAGE
    })
}

// --- Whole spools.

/// Holds a folder that no daemon uses; refuses one that a daemon does.
fn claim(folder: &Path) -> Result<Option<File>, u8> {
    let Some(data_dir) = folder.parent().filter(|dir| dir.join("lock").exists()) else { return Ok(None) };
    daemon::lock(data_dir).map(Some).map_err(|error| {
        complain_with(error.code(), &format!("{error}: leave --folder out, and the daemon does it"));
        BUSY
    })
}

fn refused(folder: &Path, error: &OpenError) -> u8 {
    let (code, exit) = match error {
        OpenError::Locked => ("TR-SPOOL-BUSY", BUSY),
        OpenError::Io(source) if source.kind() == io::ErrorKind::NotFound => {
            ("TR-SPOOL-NO-FOLDER", NOT_FOUND)
        }
        OpenError::Io(_) => ("TR-SPOOL-WRITE", CANNOT_WRITE),
        OpenError::Fresh(_) => ("TR-SPOOL-DAMAGED", BAD),
    };
    complain_with(code, &format!("{}: {error}", folder.display()));
    exit
}

fn verify(socket: &Path, folder: Option<&Path>) -> Result<u8, u8> {
    let Examined { whole, damaged, missing } = match folder {
        Some(folder) => {
            let _claim = claim(folder)?;
            examine(folder).map_err(|error| refused(folder, &error))?
        }
        None => {
            let mut request = json!({ "do": "spool-ls" });
            let mut whole = 0;
            loop {
                let answer = asked(socket, &request)?;
                whole += answer["rows"].as_array().map_or(0, Vec::len) as u64;
                if answer["next"].is_null() {
                    break;
                }
                request["after"] = answer["next"].clone();
            }
            let stats = asked(socket, &json!({ "do": "spool-stats" }))?;
            let number = |key: &str| stats[key].as_u64().unwrap_or(0);
            Examined { whole, damaged: number("damaged"), missing: number("forgotten") }
        }
    };
    say(&format!("{whole} whole, {damaged} damaged, {missing} missing"));
    if damaged + missing == 0 {
        return Ok(OK);
    }
    complain_with("TR-SPOOL-GAP", "not everything is there");
    Ok(BAD)
}

fn export(socket: &Path, file: &Path, folder: Option<&Path>) -> Result<u8, u8> {
    let cannot = |error: io::Error| {
        complain(&format!("{}: {error}", file.display()));
        CANNOT_WRITE
    };
    // Read first: a refusal leaves no file behind.
    let mut lines: Box<dyn FnMut() -> Result<Option<Vec<String>>, u8>> = match folder {
        Some(folder) => Box::new(lines_of_folder(folder)?),
        None => Box::new(lines_of_daemon(socket)),
    };
    let mut batch = lines()?;
    let mut out: Box<dyn Write> = if file == Path::new("-") {
        Box::new(io::stdout())
    } else {
        Box::new(File::create(file).map_err(cannot)?)
    };
    writeln!(out, "{EXPORT_HEADER}").map_err(cannot)?;
    let mut count = 0;
    while let Some(lines_now) = batch {
        for line in &lines_now {
            writeln!(out, "{line}").map_err(cannot)?;
        }
        count += lines_now.len();
        batch = lines()?;
    }
    out.flush().map_err(cannot)?;
    complain(&format!("{count} written"));
    Ok(OK)
}

fn lines_of_daemon(socket: &Path) -> impl FnMut() -> Result<Option<Vec<String>>, u8> {
    let mut after = Some(json!(0));
    move || {
        let Some(from) = after.take() else { return Ok(None) };
        let answer = asked(socket, &json!({ "do": "spool-export", "after": from }))?;
        after = Some(answer["next"].clone()).filter(|next| !next.is_null());
        let lines = answer["lines"].as_array().into_iter().flatten();
        Ok(Some(lines.filter_map(Value::as_str).map(str::to_owned).collect()))
    }
}

fn lines_of_folder(folder: &Path) -> Result<impl FnMut() -> Result<Option<Vec<String>>, u8>, u8> {
    let claim = claim(folder)?;
    examine(folder).map_err(|error| refused(folder, &error))?;
    let spool = spool(folder)?;
    let mut after = Some(Seq(0));
    Ok(move || {
        let _held = &claim;
        let Some(from) = after.take() else { return Ok(None) };
        let page = answered(spool.page(from, None, BATCH_MAX))?;
        after = page.last().map(|(seq, _)| *seq);
        let waiting = page.iter().filter(|(_, entry)| !matches!(entry.state, State::Sent(_)));
        Ok(Some(waiting.filter_map(|(seq, entry)| entry.to_line(*seq).ok()).collect()))
    })
}

fn spool(folder: &Path) -> Result<Spool, u8> {
    let opened = open(folder).map_err(|error| refused(folder, &error))?;
    if let Some(aside) = opened.set_aside {
        complain_with("TR-SPOOL-ASIDE", &format!("{} could not be read", aside.display()));
    }
    let again = folder.to_owned();
    let again = move || reopen(&again).map(|(store, mark)| (Box::new(store) as _, Some(mark)));
    let started = Spool::start(Box::new(opened.store), Some(opened.mark), Box::new(again));
    started.map(|(spool, _)| spool).map_err(|error| {
        complain_with("TR-SPOOL-WRITE", &error.to_string());
        CANNOT_WRITE
    })
}

fn answered<T>(answer: tipring_spool::Answered<T>) -> Result<T, u8> {
    answer.blocking_recv().unwrap_or(Err(PutError::Broken)).map_err(|error| {
        let code = if error == PutError::Full { "TR-SPOOL-FULL" } else { "TR-SPOOL-WRITE" };
        complain_with(code, &error.to_string());
        CANNOT_WRITE
    })
}

fn import(socket: &Path, file: &Path, folder: Option<&Path>) -> Result<u8, u8> {
    let lines = read(file)?;
    let _claim = folder.map(claim).transpose()?;
    let spool = folder.map(spool).transpose()?;
    let (mut taken, mut known) = (0, 0);
    for batch in batches(&lines) {
        match &spool {
            Some(spool) => {
                let entries = batch.iter().filter_map(|line| Entry::from_line(line).ok()).collect();
                let seqs = answered(spool.import(entries))?;
                let new = seqs.iter().flatten().count();
                (taken, known) = (taken + new, known + seqs.len() - new);
            }
            None => {
                let values: Vec<Value> =
                    batch.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
                let answer = asked(socket, &json!({ "do": "spool-import", "lines": values }))?;
                let number =
                    |key: &str| answer[key].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
                (taken, known) = (taken + number("taken"), known + number("known"));
            }
        }
    }
    say(&format!("{taken} taken, {known} known already"));
    Ok(OK)
}

/// Lines in pieces that are taken whole or not at all.
fn batches(lines: &[String]) -> Vec<&[String]> {
    let mut batches = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, line) in lines.iter().enumerate() {
        if at > from && (bytes + line.len() > REQUEST_BYTES_MAX || at - from >= BATCH_MAX) {
            batches.push(&lines[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += line.len();
    }
    if from < lines.len() {
        batches.push(&lines[from..]);
    }
    batches
}

/// The lines of an export, each of them whole. One that is not spoils the file: nothing of
/// it is taken.
fn read(file: &Path) -> Result<Vec<String>, u8> {
    let opened = File::open(file).map_err(|error| {
        complain(&format!("{}: {error}", file.display()));
        BAD_FILE
    })?;
    let mut reader = BufReader::new(opened);
    let (mut lines, mut faults) = (Vec::new(), Vec::new());
    for number in 1.. {
        let mut bytes = Vec::new();
        let mut limited = io::Read::take(&mut reader, LINE_BYTES_MAX as u64);
        let read = limited.read_until(b'\n', &mut bytes).map_err(|error| {
            complain(&format!("{}: {error}", file.display()));
            BAD_FILE
        })?;
        if read == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end();
        if number == 1 {
            if text != EXPORT_HEADER {
                complain_with(
                    "TR-SPOOL-IMPORT",
                    &format!("{}: line 1 is not that of an export", file.display()),
                );
                return Err(BAD_FILE);
            }
        } else if Entry::from_line(text).is_ok() {
            lines.push(text.to_owned());
        } else {
            faults.push(number);
            if faults.len() >= FAULTS_MAX {
                break;
            }
        }
    }
    if faults.is_empty() {
        return Ok(lines);
    }
    let named: Vec<String> = faults.iter().map(u64::to_string).collect();
    let text = format!("{}: damaged, and nothing taken: line {}", file.display(), named.join(", "));
    complain_with("TR-SPOOL-IMPORT", &text);
    Err(BAD_FILE)
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
    fn batches_are_small_and_leave_nothing_out() {
        let lines: Vec<String> = (0..300).map(|n| "x".repeat(if n % 7 == 0 { 29_000 } else { 10 })).collect();
        let batches = batches(&lines);
        assert_eq!(batches.concat(), lines);
        for batch in batches {
            let bytes: usize = batch.iter().map(String::len).sum();
            assert!(batch.len() <= BATCH_MAX && (bytes <= REQUEST_BYTES_MAX || batch.len() == 1));
        }
        assert!(super::batches(&[]).is_empty());
    }
}
