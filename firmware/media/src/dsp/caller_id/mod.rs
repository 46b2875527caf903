//! Caller ID: who calls, told by the exchange in the sound of the line.
//!
//! What does it do? [`CallerIdReceiver`] hears all four standards at once: Bellcore (Bell 202)
//! and ETSI (V.23) data messages, V.23-JP of NTT, and digits. [`CallerIdSender`] makes the
//! sound of each for a phone port or a test. [`AlertToneDetector`] hears the tone that comes
//! before a message during a call, or before the first ring.
//!
//! How does it work? [`fsk`](super::fsk) and [`dtmf_detect`](super::dtmf_detect) give bytes and
//! digits; [`data_message`], [`number_display`] and [`digits`] know what they mean. When ring,
//! reversal or answer come is no matter of samples.
//!
//! Limits: messages of 258 bytes, numbers of 32 characters, names of 50. A message counts only
//! with its checksum (ETSI, Bellcore) or its parity and CRC (NTT); digits have neither.

mod alert;
mod bytes;
pub mod data_message;
pub mod digits;
pub mod number_display;
mod receiver;
mod sender;

use core::fmt;

pub use alert::{AlertToneDetector, alert_tone};
pub use bytes::{MESSAGE_MAX, MessageBytes};
pub use receiver::{CallerIdReceiver, HeardMessage};
pub use sender::{CallerIdSender, SendAs};

/// Bytes of UTF-8 in a [`Text`]; 50 characters of Latin-1 fit.
pub const TEXT_MAX: usize = 100;
/// Longest name, in characters (ETSI EN 300 659-3 §5.4.5).
pub const NAME_MAX: usize = 50;
/// Longest number, in characters.
pub const NUMBER_MAX: usize = 32;

/// How a caller's identity comes over a line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Standard {
    /// Telcordia GR-30 and GR-31 with Bell 202.
    Bellcore,
    /// ETSI EN 300 659 with V.23.
    Etsi,
    /// NTT's Number Display: V.23 with parity and CRC.
    NumberDisplay,
    /// Digits (ETSI EN 300 659-1 annex B and national forms).
    Dtmf,
}

/// A short text of fixed size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text {
    bytes: [u8; TEXT_MAX],
    length: u8,
}

impl Text {
    /// As much of `text` as has room, without control characters.
    #[must_use]
    pub fn new(text: &str, characters_max: usize) -> Self {
        Self::of(text.chars(), characters_max)
    }

    /// Characters of one byte each (ISO 8859-1), as data messages hold them.
    #[must_use]
    pub fn from_latin1(bytes: &[u8], characters_max: usize) -> Self {
        Self::of(bytes.iter().map(|byte| char::from(*byte)), characters_max)
    }

    fn of(characters: impl Iterator<Item = char>, characters_max: usize) -> Self {
        let mut new = Self { bytes: [0; TEXT_MAX], length: 0 };
        for character in characters.filter(|c| !c.is_control()).take(characters_max) {
            let mut encoded = [0; 4];
            let encoded = character.encode_utf8(&mut encoded).as_bytes();
            let from = usize::from(new.length);
            let Some(place) = new.bytes.get_mut(from..from + encoded.len()) else { break };
            place.copy_from_slice(encoded);
            new.length += encoded.len() as u8;
        }
        new
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        // Whole characters only were put in.
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Why a number or a name is not there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Absence {
    /// The message does not speak of it.
    NotSent,
    /// `P`: the caller does not want it shown.
    Withheld,
    /// `O`: the network does not have it.
    Unavailable,
    /// `C`: a public telephone (NTT).
    Payphone,
    /// `S`: another service is in the way (NTT).
    Conflict,
}

impl Absence {
    /// The reason that this letter of a message means.
    #[must_use]
    pub const fn from_letter(letter: u8) -> Option<Self> {
        match letter {
            b'P' => Some(Self::Withheld),
            b'O' => Some(Self::Unavailable),
            b'C' => Some(Self::Payphone),
            b'S' => Some(Self::Conflict),
            _ => None,
        }
    }

    /// The letter of a message; none for what is not sent.
    #[must_use]
    pub const fn letter(self) -> Option<u8> {
        match self {
            Self::NotSent => None,
            Self::Withheld => Some(b'P'),
            Self::Unavailable => Some(b'O'),
            Self::Payphone => Some(b'C'),
            Self::Conflict => Some(b'S'),
        }
    }
}

/// Date and time as the exchange has them: without a year, local time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LineTime {
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
}

impl LineTime {
    /// A date and time; none if there is no such one.
    #[must_use]
    pub fn new(month: u8, day: u8, hour: u8, minute: u8) -> Option<Self> {
        let exists = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
        exists.then_some(Self { month, day, hour, minute })
    }

    /// Reads `MMDDHHMM`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let two = |at: usize| -> Option<u8> {
            let (tens, ones) = (text.get(at)?, text.get(at + 1)?);
            (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| (tens - b'0') * 10 + (ones - b'0'))
        };
        if text.len() == 8 { Self::new(two(0)?, two(2)?, two(4)?, two(6)?) } else { None }
    }

    /// As `MMDDHHMM`.
    #[must_use]
    pub fn digits(self) -> [u8; 8] {
        let mut text = [b'0'; 8];
        for (pair, value) in text.chunks_exact_mut(2).zip([self.month, self.day, self.hour, self.minute]) {
            pair[0] += value / 10;
            pair[1] += value % 10;
        }
        text
    }

    /// 1 to 12.
    #[must_use]
    pub const fn month(self) -> u8 {
        self.month
    }

    /// 1 to 31.
    #[must_use]
    pub const fn day(self) -> u8 {
        self.day
    }

    /// 0 to 23.
    #[must_use]
    pub const fn hour(self) -> u8 {
        self.hour
    }

    /// 0 to 59.
    #[must_use]
    pub const fn minute(self) -> u8 {
        self.minute
    }
}

/// Who calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallerId {
    /// When, by the exchange's clock.
    pub date_time: Option<LineTime>,
    /// The caller's number.
    pub number: Result<Text, Absence>,
    /// The caller's name.
    pub name: Result<Text, Absence>,
    /// The number that was called, where the exchange says it (ETSI, NTT).
    pub called: Option<Text>,
}

impl Default for CallerId {
    fn default() -> Self {
        Self { date_time: None, number: Err(Absence::NotSent), name: Err(Absence::NotSent), called: None }
    }
}

/// What the exchange has to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::large_enum_variant, reason = "of fixed size, so that nothing is allocated; few exist")]
pub enum LineMessage {
    /// Somebody calls.
    Call(CallerId),
    /// There are messages in the network's mailbox, or none any more.
    MessageWaiting {
        /// Whether there are.
        waiting: bool,
        /// How many, where the exchange says it.
        count: Option<u8>,
    },
}

/// Why bytes are no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MessageError {
    /// Fewer bytes than the length says.
    #[error("the message is cut short")]
    Short,
    /// The sum of all bytes is not zero.
    #[error("the checksum is wrong")]
    Checksum,
    /// A byte with an odd number of ones (NTT).
    #[error("a byte has the wrong parity")]
    Parity,
    /// The remainder is not zero (NTT).
    #[error("the CRC is wrong")]
    Crc,
    /// A message of another kind, for example a text message.
    #[error("message type 0x{0:02x} is not known")]
    Kind(u8),
    /// A parameter is longer than what is left of the message.
    #[error("parameter 0x{0:02x} is longer than the message")]
    Parameter(u8),
    /// The frame around the message is not as it should be (NTT).
    #[error("the frame is not complete")]
    Frame,
    /// Digits without a number or a reason.
    #[error("the digits hold neither a number nor a reason")]
    Digits,
}

/// Whether a character may stand in a number.
fn in_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'+' | b'*' | b'#')
}

/// A number of a message: what dials, without blanks and hyphens.
fn number_of(bytes: &[u8]) -> Result<Text, Absence> {
    let number =
        Text::of(bytes.iter().filter(|byte| in_number(**byte)).map(|byte| char::from(*byte)), NUMBER_MAX);
    if number.as_str().is_empty() { Err(Absence::Unavailable) } else { Ok(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_hold_whole_characters_and_no_controls() {
        assert_eq!(Text::new("Zoë\r\n", 10).as_str(), "Zoë");
        assert_eq!(Text::from_latin1(&[0xe9; 200], 50).as_str(), "é".repeat(50));
        assert_eq!(Text::new(&"€".repeat(60), 60).as_str(), "€".repeat(33));
    }

    #[test]
    fn a_time_is_one_that_exists() {
        let time = LineTime::parse(b"11292359").unwrap();
        assert_eq!((time.month(), time.day(), time.hour(), time.minute()), (11, 29, 23, 59));
        assert_eq!(&time.digits(), b"11292359");
        for wrong in
            [&b"13010000"[..], b"00010000", b"01320000", b"01012400", b"01010060", b"0101", b"0101aa00"]
        {
            assert_eq!(LineTime::parse(wrong), None);
        }
    }

    #[test]
    fn numbers_are_what_dials() {
        assert_eq!(number_of(b"(030) 123-45").unwrap().as_str(), "03012345");
        assert_eq!(number_of(b"  "), Err(Absence::Unavailable));
    }
}
