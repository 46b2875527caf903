//! Frames of the control port, written down once more from the protocol's document: what a
//! driver and this card agree on, they do not agree on by sharing code.

/// Longest line with its LF.
const LINE_BYTES_MAX: usize = 200;

/// CRC-16/IBM-3740, by a table of sixteen.
fn check(bytes: &[u8]) -> u16 {
    const NIBBLES: [u16; 16] = [
        0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50A5, 0x60C6, 0x70E7, 0x8108, 0x9129, 0xA14A, 0xB16B,
        0xC18C, 0xD1AD, 0xE1CE, 0xF1EF,
    ];
    let step = |crc: u16, nibble: u8| {
        let at = usize::from((crc >> 12) as u8 ^ nibble);
        (crc << 4) ^ NIBBLES.get(at).copied().unwrap_or_default()
    };
    bytes.iter().fold(0xFFFF, |crc, byte| step(step(crc, byte >> 4), byte & 15))
}

/// A line with its check and LF.
pub(super) fn line(text: &str) -> Vec<u8> {
    format!("{text}*{:04X}\n", check(text.as_bytes())).into_bytes()
}

/// Collects lines and gives the text of those whose check is right.
#[derive(Default)]
pub(super) struct Lines {
    kept: Vec<u8>,
}

impl Lines {
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut good = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                // One byte more than fits shows that the line was too long.
                if self.kept.len() < LINE_BYTES_MAX {
                    self.kept.push(*byte);
                }
                continue;
            }
            let kept = std::mem::take(&mut self.kept);
            let text = String::from_utf8(kept).ok().filter(|text| text.len() < LINE_BYTES_MAX);
            let Some((said, digits)) = text.as_ref().and_then(|text| text.rsplit_once('*')) else { continue };
            if digits == format!("{:04X}", check(said.as_bytes())) {
                good.push(said.to_owned());
            }
        }
        good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_is_the_catalogued_one() {
        assert_eq!(check(b"123456789"), 0x29B1);
    }

    #[test]
    fn good_lines_are_found_among_others() {
        let mut lines = Lines::default();
        let mut bytes = b"noise\n\n".to_vec();
        bytes.extend(line(">1 PING"));
        bytes.extend([b'x'; 300]);
        bytes.push(b'\n');
        bytes.extend(line(">2 STAT 1"));
        bytes.extend(&line(">3 STAT 1")[1..]);
        assert_eq!(lines.take(&bytes), [">1 PING", ">2 STAT 1"]);
    }
}
