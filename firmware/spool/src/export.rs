//! The spool as text, one webhook a line: the way out to another box or another engine.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::entry::{Entry, EntryError, SEQ_MAX, Stored};
use crate::store::Seq;

/// The first line of an export.
pub const EXPORT_HEADER: &str = r#"{"tipring_spool_export":1}"#;

/// How long a webhook from elsewhere may let its server take.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);

/// The last line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Last {
    /// Lines between the first and this.
    tipring_spool_end: u64,
}

/// The last line of an export with so many webhooks.
#[must_use]
pub fn export_end(count: u64) -> String {
    json!(Last { tipring_spool_end: count }).to_string()
}

/// How many webhooks an export has, if this is its last line.
#[must_use]
pub fn exported(line: &str) -> Option<u64> {
    serde_json::from_str(line).ok().map(|last: Last| last.tipring_spool_end)
}

/// One line.
#[derive(Serialize, Deserialize)]
struct Line {
    /// The number that the receiver was told.
    seq: u64,
    /// CRC-32C of number and webhook, in hexadecimal.
    crc32c: String,
    webhook: Stored,
}

fn checksum(seq: u64, webhook: &Stored) -> Result<String, EntryError> {
    let text = serde_json::to_vec(webhook).map_err(|_| EntryError::Damaged)?;
    Ok(format!("{:08x}", crc32c::crc32c_append(crc32c::crc32c(&seq.to_be_bytes()), &text)))
}

impl Entry {
    /// A line of an export, without its end.
    ///
    /// # Errors
    /// [`EntryError::Damaged`] if it has no form as text.
    pub fn to_line(&self, seq: Seq) -> Result<String, EntryError> {
        let webhook = Stored::of(&Self { told_seq: None, ..self.clone() });
        let seq = self.told_seq.unwrap_or(seq.0);
        let line = Line { seq, crc32c: checksum(seq, &webhook)?, webhook };
        serde_json::to_string(&line).map_err(|_| EntryError::Damaged)
    }

    /// Reads a line of an export. The webhook keeps the number that it had.
    ///
    /// # Errors
    /// [`EntryError::Damaged`], [`EntryError::Number`], [`EntryError::Id`], or
    /// [`EntryError::TooLong`] for what no spool would hold.
    pub fn from_line(line: &str) -> Result<Self, EntryError> {
        let line: Line = serde_json::from_str(line).map_err(|_| EntryError::Damaged)?;
        if line.crc32c != checksum(line.seq, &line.webhook)? {
            return Err(EntryError::Damaged);
        }
        if line.seq > SEQ_MAX {
            return Err(EntryError::Number);
        }
        let mut entry = Self { told_seq: Some(line.seq), ..line.webhook.entry()? };
        // One whose id is a number could not be named: numbers name records.
        if entry.id.chars().all(|c| c.is_ascii_digit()) || entry.id.contains(char::is_control) {
            return Err(EntryError::Id);
        }
        entry.request.timeout = entry.request.timeout.clamp(*TIMEOUTS.start(), *TIMEOUTS.end());
        entry.to_record()?;
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use crate::entry::tests::entry;

    use super::*;

    #[test]
    fn a_line_gives_back_what_was_written_and_shows_what_was_changed() {
        let entry = entry(b"{\"a\": 1}");
        let line = entry.to_line(Seq(77)).unwrap();
        assert!(!line.contains('\n'));
        let read = Entry::from_line(&line).unwrap();
        assert_eq!(read, Entry { told_seq: Some(77), ..entry.clone() });
        assert_eq!(read.to_line(Seq(3)).unwrap(), line, "the number goes along from box to box");
        for (from, to) in
            [("77", "78"), ("evt_1", "evt_2"), ("\\\"a\\\": 1", "\\\"a\\\": 2"), ("final", "record")]
        {
            let changed = line.replacen(from, to, 1);
            assert_ne!(changed, line);
            assert_eq!(Entry::from_line(&changed), Err(EntryError::Damaged), "{from}");
        }
        for at in 0..line.len() {
            let mut changed = line.clone().into_bytes();
            changed[at] ^= 1;
            assert_eq!(Entry::from_line(str::from_utf8(&changed).unwrap()), Err(EntryError::Damaged), "{at}");
        }
        assert_eq!(Entry::from_line(&line[..line.len() / 2]), Err(EntryError::Damaged));
        assert_eq!(Entry::from_line(EXPORT_HEADER), Err(EntryError::Damaged));
        assert_eq!(Entry::from_line(&export_end(1)), Err(EntryError::Damaged));
        assert_eq!(
            (exported(&export_end(7)), exported(&line), exported(EXPORT_HEADER)),
            (Some(7), None, None)
        );
    }

    #[test]
    fn numbers_and_ids_that_no_box_gives_out_are_refused() {
        for (seq, is_taken) in [(SEQ_MAX, true), (SEQ_MAX + 1, false), (u64::MAX, false)] {
            let read = Entry::from_line(&entry(b"{}").to_line(Seq(seq)).unwrap());
            assert_eq!(read.err(), (!is_taken).then_some(EntryError::Number), "{seq}");
        }
        for (id, is_taken) in [("evt_1", true), ("1a", true), ("", false), ("12", false), ("a\u{1b}b", false)]
        {
            let line = Entry { id: id.to_owned(), ..entry(b"{}") }.to_line(Seq(1)).unwrap();
            assert_eq!(Entry::from_line(&line).err(), (!is_taken).then_some(EntryError::Id), "{id:?}");
        }
    }

    #[test]
    fn a_webhook_from_elsewhere_waits_for_its_server_neither_for_ever_nor_never() {
        for (timeout_ms, read_ms) in [(0, 1_000), (1_000, 1_000), (60_000, 60_000), (u64::MAX, 60_000)] {
            let mut entry = entry(b"{}");
            entry.request.timeout = Duration::from_millis(timeout_ms);
            let read = Entry::from_line(&entry.to_line(Seq(1)).unwrap()).unwrap();
            assert_eq!(read.request.timeout, Duration::from_millis(read_ms));
        }
    }
}
