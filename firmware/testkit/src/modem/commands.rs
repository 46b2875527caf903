//! What the modem makes of its commands.

use super::chip::{Chip, Later, Law, Modem, SEIZE_MS};

/// Times of pulses, as the exchange hears them.
const PULSE_MS: u64 = 100;
const BETWEEN_DIGITS_MS: u64 = 700;

/// The answer to a command.
pub(super) struct Reply {
    pub(super) lines: Vec<String>,
    /// `None`: it comes later.
    pub(super) verdict: Option<&'static str>,
    pub(super) after: Vec<(u64, Later)>,
}

impl Reply {
    const fn of(verdict: &'static str) -> Self {
        Self { lines: Vec::new(), verdict: Some(verdict), after: Vec::new() }
    }

    fn line(line: impl Into<String>) -> Self {
        Self { lines: vec![line.into()], ..Self::of("OK") }
    }

    fn later(ms: u64, later: Later) -> Self {
        Self { lines: Vec::new(), verdict: None, after: vec![(ms, later)] }
    }
}

const OK: Reply = Reply::of("OK");
const ERROR: Reply = Reply::of("ERROR");

impl Modem {
    /// Does what a line of commands says, up to the first that it does not know.
    pub(super) fn command(&mut self, text: &str) -> Reply {
        let upper = text.to_ascii_uppercase();
        let Some(body) = upper.strip_prefix("AT") else { return ERROR };
        let mut reply = OK;
        for part in body.split(';').filter(|part| !part.is_empty()) {
            let next = self.part(part);
            reply.lines.extend(next.lines);
            reply.after.extend(next.after);
            reply.verdict = next.verdict;
            if reply.verdict == Some("ERROR") {
                return ERROR;
            }
        }
        reply
    }

    fn part(&mut self, part: &str) -> Reply {
        if let Some(digits) = part.strip_prefix("DP") {
            return self.dial(digits);
        }
        match part {
            "Z" | "Z0" => {
                self.reset();
                OK
            }
            "H" | "H0" => {
                self.hang_up();
                OK
            }
            "E0" => {
                self.echo = false;
                OK
            }
            "V1" | "Q0" | "X3" | "X4" | "M0" | "S0=0" => OK,
            "D!" if self.off_hook => self.flash(),
            "I0" => Reply::line(match self.settings.chip {
                Chip::Conexant => "56000",
                Chip::Usr => "5601",
                Chip::Generic => "28800",
            }),
            "I3" => Reply::line(match (self.settings.chip, &self.settings.firmware) {
                (Chip::Usr, Some(version)) => format!("U.S. Robotics 56K FAX USB V{version}"),
                (Chip::Usr, None) => String::from("U.S. Robotics 56K FAX USB V1.2.23"),
                (_, Some(version)) => version.clone(),
                (Chip::Conexant, None) => String::from("CX93001-EIS_V0.2013-V92"),
                (Chip::Generic, None) => String::from("V.253 Voice"),
            }),
            _ => match part.split_once('=') {
                Some(("S29", value)) if self.settings.chip == Chip::Usr => match value.parse::<u32>() {
                    Ok(value @ 1..=255) => {
                        self.flash_ms = value * 10;
                        OK
                    }
                    Ok(_) | Err(_) => ERROR,
                },
                Some((name, value)) => self.set(name, value),
                None => self.act(part),
            },
        }
    }

    fn act(&mut self, part: &str) -> Reply {
        match (part, self.settings.chip) {
            ("+GMI", Chip::Conexant) => Reply::line("CONEXANT"),
            ("+GMI", Chip::Usr) => Reply::line("U.S. Robotics"),
            ("+GMM", Chip::Conexant) => Reply::line("CX93001"),
            ("+GMM", Chip::Usr) => Reply::line("USR5637"),
            ("+GMM", Chip::Generic) => Reply::line("Voice modem"),
            ("+VTR", _) if self.class == 8 && self.off_hook_told() && !self.settings.is_half_duplex => {
                if !self.has_format {
                    return ERROR;
                }
                Reply::of(if self.settings.chip == Chip::Generic { "VCON" } else { "CONNECT" })
            }
            _ => ERROR,
        }
    }

    /// The modem believes itself off hook, which old firmware does although it is not.
    fn off_hook_told(&self) -> bool {
        self.off_hook || !self.can_take_line()
    }

    /// Old firmware says that it takes the line, and does not.
    pub(super) fn can_take_line(&self) -> bool {
        self.settings.chip != Chip::Usr
            || self.settings.firmware.as_deref().is_none_or(|version| version >= "1.2.23")
    }

    fn set(&mut self, name: &str, value: &str) -> Reply {
        let chip = self.settings.chip;
        match (name, value) {
            ("+FCLASS", "?") => Reply::line("0,1,1.0,8"),
            ("+FCLASS", "0" | "8") => {
                let class = if value == "8" { 8 } else { 0 };
                if class != self.class && chip == Chip::Conexant {
                    // Callers are forgotten with the class.
                    self.tells_callers = false;
                }
                self.class = class;
                self.has_format = false;
                OK
            }
            ("+VCID", "0" | "1") => {
                self.tells_callers = value == "1";
                OK
            }
            ("-SCID", "1") if chip == Chip::Conexant => OK,
            ("-STE", "0" | "3") if chip == Chip::Conexant => {
                self.tells_extensions = value == "3";
                OK
            }
            ("+GCI", code) if code.len() == 2 && u8::from_str_radix(code, 16).is_ok() => OK,
            ("+VSM", "?") if self.class == 8 => {
                Reply { lines: self.formats().iter().map(|line| (*line).to_owned()).collect(), ..OK }
            }
            ("+VSM", value) if self.class == 8 => {
                self.has_format = value == self.format();
                if self.has_format { OK } else { ERROR }
            }
            ("+VIT", "0") if self.class == 8 && chip != Chip::Generic => OK,
            ("+VNH", "0") if self.class == 8 && chip != Chip::Generic => OK,
            ("+VSD", "0,0") if self.class == 8 && chip == Chip::Conexant => OK,
            ("+VSD", "128,0") if self.class == 8 && chip != Chip::Conexant => OK,
            ("+VGR" | "+VGT", value) if self.class == 8 && value.parse::<u8>().is_ok() => OK,
            ("+VLS", "0") if self.class == 8 => {
                self.hang_up();
                OK
            }
            ("+VLS", "1") if self.class == 8 => {
                if self.is_in_use() && self.tells_extensions {
                    return Reply::of("LINE IN USE");
                }
                Reply::later(SEIZE_MS, Later::OffHook)
            }
            ("+VTS", "!") if self.class == 8 && self.off_hook && chip != Chip::Generic => self.flash(),
            _ => ERROR,
        }
    }

    fn flash(&mut self) -> Reply {
        self.line.flash(self.flash_ms);
        Reply::later(u64::from(self.flash_ms) + 20, Later::Verdict("OK"))
    }

    fn dial(&mut self, digits: &str) -> Reply {
        let digits: Vec<u32> = digits.chars().filter_map(|digit| digit.to_digit(10)).collect();
        if !self.off_hook || digits.is_empty() {
            return ERROR;
        }
        let mut ms = 0;
        for digit in digits {
            self.line.dial(digit);
            ms += u64::from(if digit == 0 { 10 } else { digit }) * PULSE_MS + BETWEEN_DIGITS_MS;
        }
        Reply::later(ms, Later::Verdict("OK"))
    }

    fn formats(&self) -> Vec<&'static str> {
        match (self.settings.chip, self.settings.law) {
            (Chip::Usr, Law::Mu) => vec![
                "128,\"8-BIT LINEAR\",(7200,8000,11025)",
                "129,\"16-BIT LINEAR\",(7200,8000,11025)",
                "130,\"8-BIT ALAW\",(8000)",
                "131,\"8-BIT ULAW\",(8000)",
                "132,\"IMA ADPCM\",(7200,8000,11025)",
            ],
            (Chip::Usr, Law::A) => vec!["130,\"8-BIT ALAW\",(8000)"],
            (Chip::Usr, Law::Unsigned8) => vec!["128,\"8-BIT LINEAR\",(7200,8000,11025)"],
            (Chip::Usr, Law::Signed16) => vec!["129,\"16-BIT LINEAR\",(7200,8000,11025)"],
            (Chip::Conexant | Chip::Generic, Law::Mu) => vec![
                "1,\"UNSIGNED PCM\",8,0,8000,0,0",
                "129,\"IMA ADPCM\",4,0,8000,0,0",
                "131,\"Mu-Law\",8,0,8000,0,0",
                "132,\"A-Law\",8,0,8000,0,0",
                "133,\"14 bit linear PCM\",16,0,8000,0,0",
            ],
            (Chip::Conexant | Chip::Generic, Law::A) => vec!["132,\"A-Law\",8,0,8000,0,0"],
            (Chip::Conexant | Chip::Generic, Law::Unsigned8) => vec!["1,\"UNSIGNED PCM\",8,0,8000,0,0"],
            (Chip::Conexant | Chip::Generic, Law::Signed16) => vec!["9,\"16 bit linear\",16,0,8000,0,0"],
            (_, Law::None) => vec!["129,\"IMA ADPCM\",4,0,8000,0,0"],
        }
    }

    /// What `+VSM` must say.
    fn format(&self) -> &'static str {
        match (self.settings.chip, self.settings.law) {
            (Chip::Usr, Law::Mu) | (Chip::Generic, Law::Mu) => "131,8000",
            (Chip::Usr, Law::A) => "130,8000",
            (Chip::Usr, Law::Unsigned8) => "128,8000",
            (Chip::Usr, Law::Signed16) => "129,8000",
            (Chip::Conexant, Law::Mu) => "131,8000,0,0",
            (Chip::Conexant, Law::A) => "132,8000,0,0",
            (Chip::Conexant, Law::Unsigned8) => "1,8000,0,0",
            (Chip::Conexant, Law::Signed16) => "9,8000,0,0",
            (Chip::Generic, Law::A) => "132,8000",
            (Chip::Generic, Law::Unsigned8) => "1,8000",
            (Chip::Generic, Law::Signed16) => "9,8000",
            (_, Law::None) => "",
        }
    }
}
