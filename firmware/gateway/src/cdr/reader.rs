//! Reading the records back.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use serde_json::Value;

use super::{is_whole, segments};

/// Longest line that is read, in bytes.
const LINE_BYTES_MAX: usize = 4 << 20;
/// Before this the clock was not set.
const CLOCK_SET: &str = "2025-01-01";

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// The records that were asked for, newest first.
    pub records: Vec<Value>,
    /// Lines that are not as they were written.
    pub damaged: u64,
}

/// The newest records that `fits` takes, `limit` at most, each once.
///
/// # Errors
/// Any of the file system, but for a folder that is not there: it holds nothing.
pub(crate) fn read(folder: &Path, limit: usize, mut fits: impl FnMut(&Value) -> bool) -> io::Result<Records> {
    let mut found = Records::default();
    let mut seen = HashSet::new();
    let files = match segments::files(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        files => files?,
    };
    for (_, path) in files.iter().rev() {
        let mut of_file = Vec::new();
        each(path, &mut |line| match line {
            Some(record) if fits(&record) => of_file.push(record),
            Some(_) => {}
            None => found.damaged += 1,
        })?;
        for record in of_file.into_iter().rev() {
            if found.records.len() >= limit {
                return Ok(found);
            }
            // After a failed sync a record may have been written twice.
            if seen.insert(record["id"].as_str().unwrap_or_default().to_owned()) {
                found.records.push(record);
            }
        }
    }
    Ok(found)
}

/// The records whose id begins with `prefix`, two at most.
///
/// # Errors
/// As [`read`].
pub(crate) fn find(folder: &Path, prefix: &str) -> io::Result<Vec<Value>> {
    let fits = |record: &Value| record["id"].as_str().is_some_and(|id| id.starts_with(prefix));
    read(folder, 2, fits).map(|found| found.records)
}

/// When the newest call in a file began; `None` if the clock was not set.
pub(super) fn newest_start(path: &Path) -> io::Result<Option<String>> {
    let mut newest: Option<String> = None;
    each(path, &mut |record| {
        let started = record.as_ref().and_then(|record| record["started"].as_str());
        if let Some(started) = started.filter(|started| *started >= CLOCK_SET)
            && newest.as_deref().is_none_or(|newest| newest < started)
        {
            newest = Some(started.to_owned());
        }
    })?;
    Ok(newest)
}

/// Each line of a file: its record, or nothing if it is damaged.
fn each(path: &Path, see: &mut dyn FnMut(Option<Value>)) -> io::Result<()> {
    let mut file = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        if io::Read::take(&mut file, LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let text = line.strip_suffix(b"\n").and_then(|text| std::str::from_utf8(text).ok());
        match text {
            Some("") => {}
            Some(text) if is_whole(text) => see(serde_json::from_str(text).ok()),
            Some(_) | None => see(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdr::sealed;

    #[test]
    fn the_newest_come_first_each_once_and_damage_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let line = |id: &str| sealed(&format!("{{\"id\":\"{id}\",\"to\":\"100\"}}")).unwrap();
        let first = [line("a1"), line("b1").replace("100", "101"), line("b2"), "tor".to_owned()].concat();
        std::fs::write(folder.path().join("000001.jsonl"), first).unwrap();
        std::fs::write(folder.path().join("000002.jsonl"), [line("c1"), line("b2"), line("c2")].concat())
            .unwrap();
        let ids = |found: &Records| -> Vec<String> {
            found.records.iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
        };
        let all = read(folder.path(), 100, |_| true).unwrap();
        assert_eq!((ids(&all), all.damaged), (vec!["c2".into(), "b2".into(), "c1".into(), "a1".into()], 2));
        assert_eq!(ids(&read(folder.path(), 2, |_| true).unwrap()), ["c2", "b2"]);
        assert_eq!(find(folder.path(), "c").unwrap().len(), 2);
        assert_eq!(find(folder.path(), "a").unwrap()[0]["id"], "a1");
        assert!(read(&folder.path().join("none"), 1, |_| true).unwrap().records.is_empty());
    }
}
