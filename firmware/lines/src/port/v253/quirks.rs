//! What each family of chips does in its own way. A modem that is like another one is a row here.

use super::shield::{DLE, ETX};

/// A family of chips.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Chip {
    /// Conexant CX93001 and CX93010: StarTech USB56KEMH2, Zoom 3095, Dell and Lenovo RD02-D400.
    Conexant,
    /// USRobotics USR5637.
    Usr,
    /// Whatever else speaks V.253.
    Generic,
}

impl Chip {
    /// The word of settings and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conexant => "conexant",
            Self::Usr => "usr",
            Self::Generic => "generic",
        }
    }

    /// The chip of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Conexant, Self::Usr, Self::Generic].into_iter().find(|chip| chip.as_str() == word)
    }

    /// Its row.
    #[must_use]
    pub const fn quirks(self) -> &'static Quirks {
        match self {
            Self::Conexant => &CONEXANT,
            Self::Usr => &USR,
            Self::Generic => &GENERIC,
        }
    }
}

/// A row of the table.
#[derive(Debug)]
pub struct Quirks {
    /// Whose.
    pub chip: Chip,
    /// Older firmware is refused.
    pub firmware_min: Option<[u16; 3]>,
    /// Leaves the stream; the second is tried when the first is not understood.
    pub leave: [[u8; 2]; 2],
    /// Callers are told from here on; the second when the first is refused.
    pub caller_id: [&'static str; 2],
    /// The modem is not to judge silence.
    pub silence_off: &'static str,
    /// Follows the rate in `+VSM`.
    pub format_tail: &'static str,
    /// Gains both ways, as good as they are.
    pub gains: &'static [&'static str],
    /// The length of a hook flash is set in S29, in 10 ms.
    pub flash_in_s29: bool,
    /// `H` right after the own `+VLS=1` is the own doing.
    pub tells_own_hook: bool,
    /// It tells when the exchange breaks the loop.
    pub tells_loop_break: bool,
    /// It tells when the battery is reversed.
    pub tells_reversal: bool,
}

const END_TRANSMIT: [u8; 2] = [DLE, ETX];
const LEAVE_DUPLEX: [u8; 2] = [DLE, b'^'];

const CONEXANT: Quirks = Quirks {
    chip: Chip::Conexant,
    firmware_min: None,
    leave: [LEAVE_DUPLEX, END_TRANSMIT],
    caller_id: ["AT-SCID=1;+VCID=1;-STE=3", "AT+VCID=1"],
    silence_off: "AT+VSD=0,0",
    format_tail: ",0,0",
    // What is heard is levelled by the chip, and cannot be set.
    gains: &["AT+VGR=0", "AT+VGT=128"],
    flash_in_s29: false,
    tells_own_hook: false,
    tells_loop_break: true,
    tells_reversal: false,
};

const USR: Quirks = Quirks {
    chip: Chip::Usr,
    firmware_min: Some([1, 2, 23]),
    leave: [END_TRANSMIT, LEAVE_DUPLEX],
    caller_id: ["AT+VCID=1", "AT#CID=1"],
    silence_off: "AT+VSD=128,0",
    format_tail: "",
    gains: &["AT+VGR=128", "AT+VGT=128"],
    flash_in_s29: true,
    tells_own_hook: true,
    tells_loop_break: false,
    tells_reversal: false,
};

const GENERIC: Quirks = Quirks {
    chip: Chip::Generic,
    firmware_min: None,
    leave: [LEAVE_DUPLEX, END_TRANSMIT],
    caller_id: ["AT+VCID=1", "AT#CID=1"],
    silence_off: "AT+VSD=128,0",
    format_tail: "",
    gains: &["AT+VGR=128", "AT+VGT=128"],
    flash_in_s29: false,
    tells_own_hook: true,
    tells_loop_break: true,
    tells_reversal: true,
};
