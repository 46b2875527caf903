//! Whole spools: is everything there, out to a file, and in again. A folder is only read;
//! `import` alone writes to one, and opens it as the daemon does.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tipring_spool::{
    EXPORT_HEADER, Entry, EntryError, Examined, Mark, OpenError, PutError, Seq, Spool, State, examine,
    examine_each, export_end, exported, open, reopen, salvage, unsearched,
};

use super::{BAD, BAD_FILE, BUSY, CANNOT_WRITE, NOT_FOUND, OK, asked, complain, complain_with, say};
use crate::daemon;

/// Bytes of webhooks in one request: the daemon takes no longer ones than twice that.
const REQUEST_BYTES_MAX: usize = 30_000;
/// Webhooks in one batch, which is taken whole or not at all.
const BATCH_MAX: usize = 50;
/// Longest line of an export, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Faults of a file that are named.
const FAULTS_MAX: usize = 10;

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
        OpenError::Io(_) | OpenError::NoRoom { .. } => ("TR-SPOOL-WRITE", CANNOT_WRITE),
        OpenError::Fresh(_) => ("TR-SPOOL-DAMAGED", BAD),
    };
    complain_with(code, &format!("{}: {error}", folder.display()));
    exit
}

pub(super) fn verify(socket: &Path, folder: Option<&Path>) -> Result<u8, u8> {
    let _claim = folder.map(claim).transpose()?;
    let examined = match folder {
        Some(folder) => match examine(folder) {
            Ok(examined) => examined,
            Err(error) => {
                if matches!(error, OpenError::Fresh(_)) {
                    let missing = Mark::read(folder).lost_with_all();
                    say(&summary(Examined { missing, ..Examined::default() }));
                }
                return Err(refused(folder, &error));
            }
        },
        None => examined_by_daemon(socket)?,
    };
    say(&summary(examined));
    let waits = folder.map_or_else(Vec::new, unsearched);
    for lost in &waits {
        complain(&format!(
            "{} was not searched yet: the daemon does it at its start",
            lost.folder().display()
        ));
    }
    if waits.is_empty() && !has_gap(examined) {
        return Ok(OK);
    }
    complain_with("TR-SPOOL-GAP", "not everything is there");
    Ok(BAD)
}

const fn has_gap(examined: Examined) -> bool {
    examined.damaged > 0 || examined.missing > 0
}

fn summary(Examined { whole, damaged, missing }: Examined) -> String {
    format!("{whole} whole, {damaged} damaged, {missing} missing")
}

fn examined_by_daemon(socket: &Path) -> Result<Examined, u8> {
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
    Ok(Examined { whole, damaged: number("damaged"), missing: number("forgotten") })
}

// --- Out.

/// A file that is written aside, and has its name only once it is whole.
struct Out {
    write: Box<dyn Write>,
    /// Where it is written, and its name; none for what is no plain file.
    names: Option<(PathBuf, PathBuf)>,
    count: u64,
    failed: Option<io::Error>,
}

impl Out {
    fn begin(file: &Path) -> io::Result<Self> {
        if file == Path::new("-") {
            return Ok(Self { write: Box::new(io::stdout()), names: None, count: 0, failed: None });
        }
        // A device or pipe has no place beside it.
        let is_plain = std::fs::metadata(file).map_or(true, |about| about.is_file());
        let mut aside = file.as_os_str().to_owned();
        aside.push(".part");
        let (path, names) = if is_plain {
            (PathBuf::from(&aside), Some((PathBuf::from(aside), file.to_owned())))
        } else {
            (file.to_owned(), None)
        };
        let opened = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
        if names.is_some() {
            // One that was there already may be open to others.
            opened.set_permissions(Permissions::from_mode(0o600))?;
        }
        Ok(Self { write: Box::new(BufWriter::new(opened)), names, count: 0, failed: None })
    }

    fn line(&mut self, line: &str) {
        if self.failed.is_none() {
            self.failed = writeln!(self.write, "{line}").err();
        }
    }

    fn webhook(&mut self, line: &str) {
        self.line(line);
        self.count += 1;
    }

    fn end(mut self) -> io::Result<u64> {
        let end = export_end(self.count);
        self.line(&end);
        let written = self.failed.take().map_or(Ok(()), Err).and_then(|()| self.write.flush());
        let Some((aside, name)) = &self.names else { return written.map(|()| self.count) };
        let named =
            written.and_then(|()| File::open(aside)?.sync_all()).and_then(|()| std::fs::rename(aside, name));
        named.inspect_err(|_| self.leave()).map(|()| self.count)
    }

    /// Leaves nothing behind.
    fn leave(&self) {
        if let Some((aside, _)) = &self.names {
            // Half a file is refused by `import`, too.
            let _ = std::fs::remove_file(aside);
        }
    }
}

pub(super) fn export(socket: &Path, file: &Path, folder: Option<&Path>) -> Result<u8, u8> {
    let cannot = |error: io::Error| {
        complain(&format!("{}: {error}", file.display()));
        CANNOT_WRITE
    };
    let _claim = folder.map(claim).transpose()?;
    let mut out = Out::begin(file).map_err(cannot)?;
    out.line(EXPORT_HEADER);
    let written = match folder {
        Some(folder) => export_folder(folder, &mut out),
        None => export_daemon(socket, &mut out),
    };
    let examined = written.inspect_err(|_| out.leave())?;
    let count = out.end().map_err(cannot)?;
    complain(&format!("{count} written"));
    if !has_gap(examined) {
        return Ok(OK);
    }
    let text =
        format!("{} damaged, {} missing: what there is was written", examined.damaged, examined.missing);
    complain_with("TR-SPOOL-GAP", &text);
    Ok(BAD)
}

fn export_daemon(socket: &Path, out: &mut Out) -> Result<Examined, u8> {
    let mut after = json!(0);
    while !after.is_null() {
        let answer = asked(socket, &json!({ "do": "spool-export", "after": after }))?;
        for line in answer["lines"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            out.webhook(line);
        }
        after = answer["next"].clone();
    }
    let stats = asked(socket, &json!({ "do": "spool-stats" }))?;
    let number = |key: &str| stats[key].as_u64().unwrap_or(0);
    Ok(Examined { whole: out.count, damaged: number("damaged"), missing: number("forgotten") })
}

/// What a folder holds and, where something is missing, what its file still shows of it.
fn export_folder(folder: &Path, out: &mut Out) -> Result<Examined, u8> {
    let (mut known, mut last) = (BTreeSet::new(), Mark::read(folder).value());
    let examined = examine_each(folder, |seq, entry| {
        last = last.max(seq.0);
        if !matches!(entry.state, State::Sent(_))
            && let Ok(line) = entry.to_line(seq)
        {
            out.webhook(&line);
        }
        known.insert(entry.id);
    });
    let examined = match examined {
        Ok(examined) => examined,
        Err(OpenError::Fresh(_)) => {
            Examined { missing: Mark::read(folder).lost_with_all().max(1), ..Examined::default() }
        }
        Err(error) => return Err(refused(folder, &error)),
    };
    if has_gap(examined) {
        let searched = salvage(
            folder,
            |_| true,
            |batch| {
                for entry in batch {
                    // Its own number is not in its record: it goes on under a new one.
                    last = last.saturating_add(1);
                    if known.insert(entry.id.clone())
                        && let Ok(line) = entry.to_line(Seq(last))
                    {
                        out.webhook(&line);
                    }
                }
            },
        );
        match searched {
            Ok(_) => {}
            // There is nothing to search.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => complain(&format!("{}: {error}", folder.display())),
        }
    }
    Ok(examined)
}

// --- In.

/// Opens a folder as the daemon does, and puts back what was lost.
fn opened(folder: &Path) -> Result<Spool, u8> {
    if !folder.join("db").exists() && Mark::read(folder).value() == 0 {
        return Err(refused(folder, &OpenError::Io(io::ErrorKind::NotFound.into())));
    }
    let opened = open(folder).map_err(|error| refused(folder, &error))?;
    if let Some(aside) = opened.set_aside {
        complain_with("TR-SPOOL-ASIDE", &format!("{} could not be read", aside.display()));
    }
    let again = folder.to_owned();
    let again = move || reopen(&again).map(|(store, mark)| (Box::new(store) as _, Some(mark)));
    let started = Spool::start(Box::new(opened.store), Some(opened.mark), Box::new(again));
    let (spool, _) = started.map_err(|error| {
        complain_with("TR-SPOOL-WRITE", &error.to_string());
        CANNOT_WRITE
    })?;
    let counters = spool.counters();
    let mut searches = opened.unsearched;
    if counters.damaged + counters.forgotten > 0 {
        let text = format!("{} damaged, {} missing", counters.damaged, counters.forgotten);
        complain_with("TR-SPOOL-GAP", &text);
        searches.extend(opened.before.map(tipring_spool::Before::keep));
    }
    for lost in searches {
        let (mut restored, mut refusal) = (0, None);
        let searched = salvage(
            lost.folder(),
            |_| true,
            |batch| match spool.import(batch).blocking_recv().unwrap_or(Err(PutError::Broken)) {
                Ok(seqs) => restored += seqs.iter().flatten().count(),
                Err(error) => refusal = Some(error),
            },
        );
        spool.found_again(restored as u64);
        complain(&format!("{}: {restored} put back", lost.folder().display()));
        let done = match (searched, refusal) {
            (Ok(_), None) => lost.searched().map_err(|error| error.to_string()),
            (Ok(_), Some(refusal)) => Err(refusal.to_string()),
            (Err(error), _) => Err(error.to_string()),
        };
        if let Err(error) = done {
            complain_with("TR-SPOOL-WRITE", &format!("{error}: it is searched again at the next start"));
        }
    }
    Ok(spool)
}

pub(super) fn import(socket: &Path, file: &Path, folder: Option<&Path>) -> Result<u8, u8> {
    let lines = read(file)?;
    let _claim = folder.map(claim).transpose()?;
    let spool = folder.map(opened).transpose()?;
    let (mut taken, mut known) = (0, 0);
    for batch in batches(&lines) {
        let done = match &spool {
            Some(spool) => import_to_folder(spool, batch),
            None => import_to_daemon(socket, batch),
        };
        let (taken_now, known_now) = done.inspect_err(|_| {
            complain(&format!(
                "{taken} taken, {known} known already before that; {} in the file",
                lines.len()
            ));
        })?;
        (taken, known) = (taken + taken_now, known + known_now);
    }
    say(&format!("{taken} taken, {known} known already"));
    Ok(OK)
}

/// How many of these lines were taken, and how many were known.
fn import_to_folder(spool: &Spool, lines: &[String]) -> Result<(u64, u64), u8> {
    let entries = lines.iter().filter_map(|line| Entry::from_line(line).ok()).collect();
    let seqs = spool.import(entries).blocking_recv().unwrap_or(Err(PutError::Broken)).map_err(|error| {
        let code = if error == PutError::Full { "TR-SPOOL-FULL" } else { "TR-SPOOL-WRITE" };
        complain_with(code, &error.to_string());
        CANNOT_WRITE
    })?;
    let new = seqs.iter().flatten().count();
    Ok((new as u64, (seqs.len() - new) as u64))
}

fn import_to_daemon(socket: &Path, lines: &[String]) -> Result<(u64, u64), u8> {
    let values: Vec<Value> = lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let answer = asked(socket, &json!({ "do": "spool-import", "lines": values }))?;
    let number = |key: &str| answer[key].as_u64().unwrap_or(0);
    Ok((number("taken"), number("known")))
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
    let cannot = |error: io::Error| {
        complain(&format!("{}: {error}", file.display()));
        BAD_FILE
    };
    let reader = BufReader::new(File::open(file).map_err(cannot)?);
    match lines_of(reader).map_err(cannot)? {
        Ok(lines) => Ok(lines),
        Err(fault) => {
            complain_with("TR-SPOOL-IMPORT", &format!("{}: {fault}", file.display()));
            Err(BAD_FILE)
        }
    }
}

/// What is wrong with a file.
#[derive(PartialEq, Eq, Debug)]
enum FileFault {
    Empty,
    Header,
    Lines(Vec<(u64, EntryError)>),
    /// It ends without its last line.
    Cut,
    /// Its last line counts others than there are.
    Count(u64, usize),
    /// Something follows its last line.
    More(u64),
}

impl std::fmt::Display for FileFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::Header => f.write_str("line 1 is not that of an export"),
            Self::Lines(faults) => {
                f.write_str("damaged, and nothing taken: line ")?;
                for (n, (number, _)) in faults.iter().enumerate() {
                    let comma = if n == 0 { "" } else { ", " };
                    write!(f, "{comma}{number}")?;
                }
                faults.first().map_or(Ok(()), |(number, error)| write!(f, " (line {number}: {error})"))
            }
            Self::Cut => f.write_str("its last line is missing: it was cut off, and nothing of it is taken"),
            Self::Count(said, there) => {
                write!(
                    f,
                    "its last line counts {said} webhooks, {there} are there: nothing of it is taken (if lines were taken out on purpose, correct the count)"
                )
            }
            Self::More(number) => write!(f, "line {number} follows its last: nothing of it is taken"),
        }
    }
}

fn lines_of(mut reader: impl BufRead) -> io::Result<Result<Vec<String>, FileFault>> {
    let (mut lines, mut faults, mut said) = (Vec::new(), Vec::new(), None);
    for number in 1.. {
        let mut bytes = Vec::new();
        let read = io::Read::take(&mut reader, LINE_BYTES_MAX as u64).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            if number == 1 {
                return Ok(Err(FileFault::Empty));
            }
            break;
        }
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end();
        if number == 1 {
            if text != EXPORT_HEADER {
                return Ok(Err(FileFault::Header));
            }
            continue;
        }
        if said.is_some() {
            return Ok(Err(FileFault::More(number)));
        }
        said = exported(text);
        if said.is_some() {
            continue;
        }
        match Entry::from_line(text) {
            Ok(_) => lines.push(text.to_owned()),
            Err(error) => faults.push((number, error)),
        }
        if faults.len() >= FAULTS_MAX {
            break;
        }
    }
    Ok(match said {
        _ if !faults.is_empty() => Err(FileFault::Lines(faults)),
        None => Err(FileFault::Cut),
        Some(said) if said != lines.len() as u64 => Err(FileFault::Count(said, lines.len())),
        Some(_) => Ok(lines),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tipring_model::fetch::{Body, HttpRequest, Method};
    use tipring_spool::Class;

    use super::*;

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

    #[test]
    fn a_file_without_its_end_is_refused() {
        let of = |text: &str| lines_of(text.as_bytes()).unwrap();
        let end = export_end(0);
        assert_eq!(of(&format!("{EXPORT_HEADER}\n{end}\n")), Ok(Vec::new()));
        assert_eq!(of(""), Err(FileFault::Empty));
        assert_eq!(of("x\n"), Err(FileFault::Header));
        assert_eq!(of(&format!("{EXPORT_HEADER}\n")), Err(FileFault::Cut));
        assert_eq!(of(&format!("{EXPORT_HEADER}\n{}\n", export_end(2))), Err(FileFault::Count(2, 0)));
        assert_eq!(of(&format!("{EXPORT_HEADER}\n{end}\n{end}\n")), Err(FileFault::More(3)));
        let damaged = FileFault::Lines(vec![(2, EntryError::Damaged), (3, EntryError::Damaged)]);
        assert!(damaged.to_string().contains("line 2, 3 (line 2: "), "{damaged}");
        assert_eq!(of(&format!("{EXPORT_HEADER}\nx\ny\n{end}\n")), Err(damaged));
    }

    #[test]
    fn an_export_is_there_whole_or_not_at_all_and_for_nobody_else() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("out");
        let mut out = Out::begin(&file).unwrap();
        out.line(EXPORT_HEADER);
        assert!(!file.exists());
        assert_eq!(out.end().unwrap(), 0);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&file), Ok(Vec::new()));
        let mut out = Out::begin(&file).unwrap();
        out.failed = Some(io::ErrorKind::StorageFull.into());
        assert!(out.end().is_err());
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1, "nothing half is left");
    }

    /// A folder with 200 webhooks, of which some can only be salvaged.
    fn damaged(root: &Path) -> PathBuf {
        let folder = root.join("webhooks");
        let first = open(&folder).unwrap();
        let (spool, _) = Spool::start(Box::new(first.store), Some(first.mark), Box::new(|| None)).unwrap();
        let entries = (0..200).map(|n| Entry {
            id: format!("evt_{n}"),
            topic: "call.state".to_owned(),
            subject: "call".to_owned(),
            class: Class::Final,
            put_unix_ms: 1_795_000_000_000 + n,
            state: State::Queued,
            told_seq: None,
            request: HttpRequest {
                method: Method::Post,
                url: "https://a.test/".to_owned(),
                headers: Vec::new(),
                body: Some(Body { media_type: "text/plain".to_owned(), bytes: vec![b'x'; 500] }),
                timeout: Duration::from_secs(15),
                redirects_max: 0,
                body_max_bytes: 4_096,
                cuts_body: true,
                connect: None,
                moves_fields: false,
                total: None,
            },
        });
        for entry in entries {
            assert!(spool.put(&entry).blocking_recv().unwrap().is_ok());
        }
        drop(spool);
        let mut bytes = std::fs::read(folder.join("db")).unwrap();
        let used = bytes.len() - bytes.iter().rev().position(|byte| *byte != 0).unwrap();
        bytes[used / 2..used / 2 + 4_096].fill(0);
        std::fs::write(folder.join("db"), bytes).unwrap();
        for found in std::fs::read_dir(&folder).unwrap() {
            let path = found.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("snap") {
                std::fs::remove_file(path).unwrap();
            }
        }
        folder
    }

    #[test]
    fn a_damaged_folder_is_exported_as_far_as_it_can_be_read_and_said_to_be_damaged() {
        let root = tempfile::tempdir().unwrap();
        let folder = damaged(root.path());
        let before = std::fs::read(folder.join("db")).unwrap();
        let file = root.path().join("out");
        assert_eq!(verify(Path::new("none"), Some(&folder)), Ok(BAD));
        assert_eq!(export(Path::new("none"), &file, Some(&folder)), Ok(BAD));
        assert!(std::fs::read(folder.join("db")).unwrap() == before, "the folder was changed");
        let written = read(&file).unwrap().len();
        assert!((180..=200).contains(&written), "{written} written");
        let opened = open(&folder).unwrap();
        let (spool, found) = Spool::start(Box::new(opened.store), None, Box::new(|| None)).unwrap();
        assert!(found.len() < written, "the search has found more than the store: {}", found.len());
        drop(spool);
    }

    #[test]
    fn an_import_puts_back_what_was_lost_in_the_folder_and_makes_none() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("in");
        std::fs::write(&file, format!("{EXPORT_HEADER}\n{}\n", export_end(0))).unwrap();
        let nowhere = root.path().join("nowhere");
        assert_eq!(import(Path::new("none"), &file, Some(&nowhere)), Err(NOT_FOUND));
        assert!(!nowhere.exists());
        let folder = damaged(root.path());
        assert_eq!(import(Path::new("none"), &file, Some(&folder)), Ok(OK));
        let whole = examine(&folder).unwrap().whole;
        assert!((180..=200).contains(&whole), "{whole} whole");
        assert!(unsearched(&folder).is_empty());
    }
}
