//! The spool as text, one webhook a line: the way out to another box or another engine.

use serde::{Deserialize, Serialize};

use crate::entry::{Entry, EntryError, Stored};
use crate::store::Seq;

/// The first line of an export.
pub const EXPORT_HEADER: &str = r#"{"tipring_spool_export":1}"#;

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
    /// [`EntryError::Damaged`], or [`EntryError::TooLong`] for what no spool would hold.
    pub fn from_line(line: &str) -> Result<Self, EntryError> {
        let line: Line = serde_json::from_str(line).map_err(|_| EntryError::Damaged)?;
        if line.crc32c != checksum(line.seq, &line.webhook)? {
            return Err(EntryError::Damaged);
        }
        let entry = Self { told_seq: Some(line.seq), ..line.webhook.entry()? };
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
    }
}
