//! Lines of the control port: one frame each, in and out.
//!
//! **What it does.** Writes frames, finds frames in whatever bytes come, and passes over what
//! is none. **How.** A frame is a line of printable ASCII of at most 200 bytes that ends in
//! `*`, four hexadecimal digits and LF; the digits are the CRC-16 of all that stands before
//! the `*`. A line whose check is wrong is as if it had never been sent: whoever sent it sends
//! it again. **Limits.** One line is kept, nothing more; a line that is too long is passed
//! over up to its LF.

use std::fmt;

/// Longest line, with its check and LF, in bytes.
pub const LINE_BYTES_MAX: usize = 200;
/// `*`, four digits, LF.
const END_BYTES: usize = 6;

/// What a frame is: its first character.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// `>`: the box asks something of the card.
    Request,
    /// `<`: the card answers it.
    Reply,
    /// `!`: something happened at the card.
    Event,
    /// `@`: the box has it.
    Acknowledgement,
}

impl Kind {
    const fn mark(self) -> u8 {
        match self {
            Self::Request => b'>',
            Self::Reply => b'<',
            Self::Event => b'!',
            Self::Acknowledgement => b'@',
        }
    }

    const fn from_mark(mark: u8) -> Option<Self> {
        match mark {
            b'>' => Some(Self::Request),
            b'<' => Some(Self::Reply),
            b'!' => Some(Self::Event),
            b'@' => Some(Self::Acknowledgement),
            _ => None,
        }
    }
}

/// A frame that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its number.
    pub number: u16,
    /// The words after the number, one blank between them; empty if there are none.
    pub words: &'a str,
}

impl<'a> Frame<'a> {
    /// Reads one line without its LF. `None` if it is no frame.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        if line.len() >= LINE_BYTES_MAX {
            return None;
        }
        let (said, check) = line.split_at_checked(line.len().checked_sub(END_BYTES - 1)?)?;
        let check = check.strip_prefix(b"*")?;
        if !check.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F')) {
            return None;
        }
        let check = u16::from_str_radix(std::str::from_utf8(check).ok()?, 16).ok()?;
        if crc16(said) != check || !said.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'*') {
            return None;
        }
        let (mark, rest) = said.split_first()?;
        let kind = Kind::from_mark(*mark)?;
        let rest = std::str::from_utf8(rest).ok()?;
        let (number, words) =
            rest.split_once(' ').map_or((rest, None), |(number, words)| (number, Some(words)));
        let canonical = number == "0" || !number.starts_with('0');
        if !canonical || !number.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let number = number.parse().ok()?;
        let words = words.unwrap_or_default();
        let spaced = rest.contains(' ') && words.split(' ').any(str::is_empty);
        (!spaced).then_some(Self { kind, number, words })
    }
}

/// A frame as it is sent, with its check and LF.
#[derive(Clone, PartialEq, Eq)]
pub struct Line(Vec<u8>);

impl Line {
    /// Writes a frame. `None` if `words` are not printable ASCII with one blank between them,
    /// hold a `*`, or make the line too long.
    #[must_use]
    pub fn new(kind: Kind, number: u16, words: &str) -> Option<Self> {
        let mut bytes = Vec::with_capacity(LINE_BYTES_MAX);
        bytes.push(kind.mark());
        bytes.extend(number.to_string().bytes());
        if !words.is_empty() {
            bytes.push(b' ');
            bytes.extend(words.bytes());
        }
        let check = crc16(&bytes);
        bytes.extend(format!("*{check:04X}\n").bytes());
        let readable = bytes.strip_suffix(b"\n").and_then(Frame::parse);
        readable.is_some_and(|frame| frame.words == words).then_some(Self(bytes))
    }

    /// An empty line, which ends whatever the other side holds of a broken one.
    #[must_use]
    pub fn empty() -> Self {
        Self(vec![b'\n'])
    }

    /// The bytes to send.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({:?})", String::from_utf8_lossy(&self.0).trim_end())
    }
}

/// Finds lines in bytes.
#[derive(Clone, Default, Debug)]
pub struct Reader {
    line: Vec<u8>,
    /// The line is too long: everything is passed over up to its LF.
    too_long: bool,
    garbled: u64,
}

impl Reader {
    /// A reader that has read nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes and gives each frame in them to `found`.
    pub fn read(&mut self, bytes: &[u8], mut found: impl FnMut(Frame<'_>)) {
        for byte in bytes {
            if *byte == b'\n' {
                match Frame::parse(&self.line) {
                    Some(frame) if !self.too_long => found(frame),
                    // An empty line stands before what is sent again.
                    None if self.line.is_empty() && !self.too_long => {}
                    Some(_) | None => self.garbled += 1,
                }
                self.line.clear();
                self.too_long = false;
            } else if self.line.len() + 1 >= LINE_BYTES_MAX {
                self.too_long = true;
                self.line.clear();
            } else if !self.too_long {
                self.line.push(*byte);
            }
        }
    }

    /// Forgets the line that has begun.
    pub fn reset(&mut self) {
        self.line.clear();
        self.too_long = false;
    }

    /// Lines that were no frames.
    #[must_use]
    pub fn garbled(&self) -> u64 {
        self.garbled
    }
}

/// CRC-16/IBM-3740: polynomial 0x1021, begun with 0xFFFF, neither mirrored nor inverted. In
/// what it covers it finds every change of up to three bits and every burst of up to 16 bits;
/// of anything else it lets one in 65,536 pass.
#[must_use]
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |mut crc: u16, byte| {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(bytes: &[u8]) -> (Vec<(Kind, u16, String)>, u64) {
        let mut reader = Reader::new();
        let mut found = Vec::new();
        reader.read(bytes, |frame| found.push((frame.kind, frame.number, frame.words.to_owned())));
        (found, reader.garbled())
    }

    fn line(words: &str) -> Vec<u8> {
        Line::new(Kind::Request, 17, words).unwrap().bytes().to_vec()
    }

    #[test]
    fn the_check_is_the_catalogued_one() {
        assert_eq!(crc16(b"123456789"), 0x29B1);
        assert_eq!(crc16(b""), 0xFFFF);
    }

    #[test]
    fn what_is_written_is_read() {
        for (kind, number, words) in [
            (Kind::Request, 17, "HOOK 2 off"),
            (Kind::Reply, 65_535, "OK"),
            (Kind::Event, 0, "8421503 2 RING on"),
            (Kind::Acknowledgement, 9, ""),
        ] {
            let written = Line::new(kind, number, words).unwrap();
            assert_eq!(frames(written.bytes()), (vec![(kind, number, words.to_owned())], 0));
        }
    }

    #[test]
    fn what_is_no_frame_is_not_written() {
        for words in ["a  b", " a", "a ", "a*b", "a\nb", "a\tb", "ä", &"x".repeat(LINE_BYTES_MAX)] {
            assert_eq!(Line::new(Kind::Request, 1, words), None, "{words:?}");
        }
        // `>1 ` before and `*hhhh` and LF behind.
        let longest = "x".repeat(LINE_BYTES_MAX - 9);
        let line = Line::new(Kind::Request, 1, &longest).unwrap();
        assert_eq!(line.bytes().len(), LINE_BYTES_MAX);
        assert_eq!(frames(line.bytes()).0.len(), 1);
        assert_eq!(Line::new(Kind::Request, 1, &format!("{longest}x")), None);
    }

    #[test]
    fn lines_that_are_no_frames_are_passed_over() {
        let checked = |said: &str| format!("{said}*{:04X}", crc16(said.as_bytes()));
        for bad in [
            String::from("\r"),
            String::from("*FFFF"),
            String::from("OK*12"),
            checked(">17 HOOK 2 off").replace('H', "h"),
            checked(">17 HOOK 2 off").to_lowercase(),
            format!("{}\r", checked(">17 HOOK 2 off")),
            checked(">17  HOOK"),
            checked(">17 HOOK "),
            checked(">17 "),
            checked("> HOOK"),
            checked(">-1 HOOK"),
            checked(">+1 HOOK"),
            checked(">007 HOOK"),
            checked(">65536 HOOK"),
            checked("?1 HOOK"),
            checked(">1 A*B"),
            checked(">1 A\u{7f}"),
            checked(">1 é"),
        ] {
            assert_eq!(frames(format!("{bad}\n").as_bytes()), (vec![], 1), "{bad:?}");
        }
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let mut bytes = b"\x00\xffnoise\n\n\n".to_vec();
        bytes.extend(line("PING"));
        bytes.extend([b'y'; 5 * LINE_BYTES_MAX]);
        bytes.extend(b"\n");
        bytes.extend(line("STAT 1"));
        let mut reader = Reader::new();
        let mut found = Vec::new();
        for byte in &bytes {
            reader.read(&[*byte], |frame| found.push(frame.words.to_owned()));
        }
        assert_eq!(found, ["PING", "STAT 1"]);
        assert_eq!(
            frames(&bytes),
            (vec![(Kind::Request, 17, "PING".into()), (Kind::Request, 17, "STAT 1".into())], 2)
        );
        assert_eq!(reader.garbled(), 2);
    }

    #[test]
    fn any_change_of_up_to_three_bits_before_the_check_is_found() {
        let good = line("RING 3 2000,4000");
        let bits = 8 * (good.len() - END_BYTES);
        let mut random = tipring_testkit::random::Random::new(7);
        for round in 0..20_000 {
            let mut bad = good.clone();
            let mut flipped: Vec<usize> = Vec::new();
            while flipped.len() < 1 + round % 3 {
                let bit = random.below(bits);
                if !flipped.contains(&bit) {
                    flipped.push(bit);
                    bad[bit / 8] ^= 1 << (bit % 8);
                }
            }
            let line = bad.strip_suffix(b"\n").unwrap();
            assert_eq!(Frame::parse(line), None, "{:?}", String::from_utf8_lossy(&bad));
        }
    }
}
