//! What can be saved from a folder that no engine opens any more: the file is searched for
//! whole records, wherever they lie.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::de::IgnoredAny;

use crate::contents::hash;
use crate::entry::{Entry, FORM, HEAD_BYTES, RECORD_BYTES_MAX, State};
use crate::sled_store::FILE;

/// How every record goes on after its head.
const BEGINS: &[u8] = b"{\"id\":\"";
/// Read at a time, in bytes.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Webhooks that are looked for at most.
const IDS_MAX: usize = 200_000;
/// Webhooks given back at a time.
const BATCH_MAX: usize = 100;

/// What was found in a folder.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Salvaged {
    /// Webhooks that are given back.
    pub whole: u64,
    /// Webhooks that had been sent.
    pub sent: u64,
    /// Webhooks that are not worth sending any more.
    pub old: u64,
}

/// The best record of a webhook.
#[derive(Clone, Copy)]
struct Place {
    /// Sent beats parked beats queued: a record says less than the one after it.
    rank: u8,
    at: u64,
    length: usize,
    put_unix_ms: i64,
}

/// Searches a folder that was set aside, and gives back, oldest first and each once, the
/// webhooks that were not sent and are worth it. Blocks while the file is read twice.
///
/// # Errors
/// What the system says; what was given back until then is good.
pub fn salvage(
    folder: &Path,
    is_worth_it: impl Fn(&Entry) -> bool,
    mut give: impl FnMut(Vec<Entry>),
) -> io::Result<Salvaged> {
    let file = File::open(folder.join(FILE))?;
    let mut best: BTreeMap<u64, Place> = BTreeMap::new();
    let mut old = 0;
    each(&file, |at, length, entry| {
        let rank = match entry.state {
            State::Queued => 0,
            State::Parked(_) => 1,
            State::Sent(_) => 2,
        };
        let id = hash(&entry.id);
        let known = best.get(&id);
        if known.is_none() && best.len() >= IDS_MAX || known.is_some_and(|known| known.rank > rank) {
            return;
        }
        if rank < 2 && !is_worth_it(&entry) {
            old += u64::from(known.is_none());
            return;
        }
        best.insert(id, Place { rank, at, length, put_unix_ms: entry.put_unix_ms });
    })?;
    let mut places: Vec<Place> = best.into_values().collect();
    let all = places.len();
    places.retain(|place| place.rank < 2);
    places.sort_unstable_by_key(|place| (place.put_unix_ms, place.at));
    for batch in places.chunks(BATCH_MAX) {
        let mut entries = Vec::new();
        for place in batch {
            let mut record = vec![0; place.length];
            file.read_exact_at(&mut record, place.at)?;
            entries.extend(Entry::from_record(&record));
        }
        give(entries);
    }
    Ok(Salvaged { whole: places.len() as u64, sent: (all - places.len()) as u64, old })
}

/// Whether there is a whole record in a folder.
pub(crate) fn has_records(folder: &Path) -> io::Result<bool> {
    let mut is_there = false;
    each(&File::open(folder.join(FILE))?, |_, _, _| is_there = true)?;
    Ok(is_there)
}

/// Every whole record of a file, with its place and length.
fn each(file: &File, mut see: impl FnMut(u64, usize, Entry)) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES + RECORD_BYTES_MAX];
    let mut from = 0;
    loop {
        let length = read_at_most(file, &mut buffer, from)?;
        let bytes = &buffer[..length];
        // A record that begins in the last part is read whole with the next chunk.
        let end = if length < buffer.len() { length } else { CHUNK_BYTES };
        for at in 0..end {
            if let Some(length) = record_at(&bytes[at..])
                && let Ok(entry) = Entry::from_record(&bytes[at..at + length])
            {
                see(from + at as u64, length, entry);
            }
        }
        if length < buffer.len() {
            return Ok(());
        }
        from += CHUNK_BYTES as u64;
    }
}

fn read_at_most(file: &File, buffer: &mut [u8], from: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], from + length as u64)? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

/// The length of what may be a record at the beginning of `bytes`.
fn record_at(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&FORM) || !bytes.get(HEAD_BYTES..)?.starts_with(BEGINS) {
        return None;
    }
    let text = &bytes[HEAD_BYTES..bytes.len().min(RECORD_BYTES_MAX)];
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    Some(HEAD_BYTES + values.byte_offset())
}

#[cfg(test)]
mod tests {
    use crate::entry::tests::entry;
    use crate::entry::{End, Why};

    use super::*;

    fn named(id: &str, put_unix_ms: i64, state: State) -> Vec<u8> {
        Entry { id: id.to_owned(), put_unix_ms, state, ..entry(b"{\"a\": 1}") }.to_record().unwrap()
    }

    #[test]
    fn whole_records_are_found_wherever_they_lie_once_and_not_those_that_were_sent() {
        let end =
            End { at_unix_ms: 9, why: Why::Taken, status: Some(200), attempts: 1, reply: String::new() };
        let waits = named("waits", 30, State::Queued);
        let mut damaged = named("damaged", 10, State::Queued);
        damaged[40] ^= 1;
        let mut bytes = vec![FORM; 100];
        for record in [
            named("sent", 10, State::Queued),
            waits.clone(),
            damaged,
            named("sent", 10, State::Sent(end.clone())),
            named("parked", 20, State::Parked(end)),
            named("parked", 20, State::Queued),
            named("old", 1, State::Queued),
        ] {
            bytes.extend(record);
            bytes.extend(b"{\"id\":\"");
        }
        // One lies across the border of two chunks, one ends the file.
        bytes.resize(CHUNK_BYTES - 20, 0xff);
        bytes.extend(named("across", 5, State::Queued));
        bytes.resize(2 * CHUNK_BYTES, 0);
        bytes.extend(waits);
        bytes.extend(named("last", 40, State::Queued));
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join(FILE), &bytes).unwrap();
        let mut given = Vec::new();
        let found = salvage(root.path(), |entry| entry.put_unix_ms > 1, |batch| given.extend(batch)).unwrap();
        let ids: Vec<&str> = given.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, ["across", "parked", "waits", "last"]);
        assert!(matches!(given[1].state, State::Parked(_)));
        assert_eq!(found, Salvaged { whole: 4, sent: 1, old: 1 });
    }

    #[test]
    fn a_record_that_is_cut_anywhere_or_lies_in_rubbish_is_no_record() {
        let root = tempfile::tempdir().unwrap();
        let record = named("one", 1, State::Queued);
        let found = |bytes: &[u8]| {
            std::fs::write(root.path().join(FILE), bytes).unwrap();
            salvage(root.path(), |_| true, |_| ()).unwrap().whole
        };
        for end in 0..record.len() {
            assert_eq!(found(&record[..end]), 0, "cut at {end}");
        }
        assert_eq!(found(&record), 1);
        let mut rubbish: Vec<u8> =
            (0..50_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for at in (0..rubbish.len() - 20).step_by(97) {
            rubbish[at] = FORM;
            rubbish[at + HEAD_BYTES..at + HEAD_BYTES + BEGINS.len()].copy_from_slice(BEGINS);
        }
        assert_eq!(found(&rubbish), 0);
        rubbish.splice(1_000..1_000, record);
        assert_eq!(found(&rubbish), 1);
    }
}
