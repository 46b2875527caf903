//! Call records on the disk: one JSON object a line, in numbered files.
//!
//! Each line ends in a checksum of what stands before it, so that a damaged one is known.
//! What is written is synced before it counts; what cannot be written waits in memory and
//! is written when it can be.

mod reader;
mod segments;
mod writer;

pub(crate) use reader::{find, read};
pub(crate) use writer::RecordWriter;

/// What stands before the checksum of a line.
const SEAL: &str = ",\"crc32c\":\"";

/// A JSON object with its checksum as the last member, and a line break.
fn sealed(object: &str) -> Option<String> {
    let body = object.strip_suffix('}')?;
    Some(format!("{body}{SEAL}{:08x}\"}}\n", crc32c::crc32c(body.as_bytes())))
}

/// True if a line, without its line break, is as it was written.
fn is_whole(line: &str) -> bool {
    let Some((body, rest)) = line.rsplit_once(SEAL) else { return false };
    let sum = rest.strip_suffix("\"}").and_then(|digits| u32::from_str_radix(digits, 16).ok());
    sum == Some(crc32c::crc32c(body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_every_changed_bit() {
        let line = sealed("{\"id\":\"1\",\"to\":\"100\"}").unwrap();
        let line = line.trim_end();
        assert!(is_whole(line) && serde_json::from_str::<serde_json::Value>(line).is_ok());
        for at in 0..line.len() {
            for bit in 0..7 {
                let mut bytes = line.as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                let changed = String::from_utf8(bytes).unwrap();
                // Hexadecimal digits mean the same in either case.
                assert!(!is_whole(&changed) || changed.eq_ignore_ascii_case(line), "bit {bit} of byte {at}");
            }
            assert!(!is_whole(&line[..at]), "cut at {at}");
        }
        assert_eq!(sealed("[1]"), None);
    }
}
