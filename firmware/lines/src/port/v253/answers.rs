//! What a modem says in text: lines, results, what it is, which samples it has. Pure.

use super::quirks::Chip;
use super::samples::SampleFormat;

/// Longest line, in bytes; of a longer one the rest is passed over.
const LINE_BYTES_MAX: usize = 256;

/// Puts lines together.
#[derive(Debug, Default)]
pub(super) struct Lines {
    kept: Vec<u8>,
}

impl Lines {
    /// Takes a byte; gives the line that it ends, without blanks around it, unless it is empty.
    pub(super) fn take(&mut self, byte: u8) -> Option<String> {
        if byte != b'\r' && byte != b'\n' {
            if self.kept.len() < LINE_BYTES_MAX {
                self.kept.push(byte);
            }
            return None;
        }
        let line = String::from_utf8_lossy(&self.kept).trim().to_owned();
        self.kept.clear();
        (!line.is_empty()).then_some(line)
    }

    pub(super) fn forget(&mut self) {
        self.kept.clear();
    }
}

/// The last line of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// `OK`, or `VCON` from a modem that says so when it is off hook.
    Done,
    /// The stream begins: `CONNECT`.
    Connected,
    /// `ERROR`, `NO CARRIER` and their like.
    Refused,
    /// Another telephone has the line.
    LineInUse,
}

/// What a line means as the end of an answer.
pub(super) fn verdict(line: &str) -> Option<Verdict> {
    let upper = line.to_ascii_uppercase();
    match upper.as_str() {
        "OK" | "VCON" => Some(Verdict::Done),
        "ERROR" | "NO CARRIER" | "NO DIALTONE" | "NO DIAL TONE" | "BUSY" | "NO ANSWER" => {
            Some(Verdict::Refused)
        }
        "LINE IN USE" | "PHONE OFF-HOOK" | "PHONE IS OFF HOOK" => Some(Verdict::LineInUse),
        other => other.starts_with("CONNECT").then_some(Verdict::Connected),
    }
}

/// What a modem says of itself.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Identity {
    /// Its maker, `+GMI`.
    pub maker: String,
    /// Its model, `+GMM`, or the product code of `ATI0`.
    pub model: String,
    /// Its firmware, `+GMR`, or what `ATI3` says.
    pub firmware: String,
    lines: Vec<String>,
}

impl Identity {
    /// Takes the lines of an answer.
    pub(super) fn learn(&mut self, command: &str, lines: &[String]) {
        let Some(first) = lines.first() else { return };
        match command {
            "AT+GMI" => self.maker.clone_from(first),
            "AT+GMM" => self.model.clone_from(first),
            "ATI0" if self.model.is_empty() => self.model.clone_from(first),
            "AT+GMR" => self.firmware.clone_from(first),
            "ATI3" if self.firmware.is_empty() => self.firmware.clone_from(first),
            _ => {}
        }
        self.lines.extend(lines.iter().cloned());
    }

    /// Which chip it seems to be.
    #[must_use]
    pub fn chip(&self) -> Chip {
        let says = |word: &str| self.lines.iter().any(|line| line.to_ascii_uppercase().contains(word));
        if self.lines.iter().any(|line| line == "5601") || says("USR5637") || says("ROBOTICS") {
            Chip::Usr
        } else if self.lines.iter().any(|line| line == "56000") || says("CONEXANT") || says("CX930") {
            Chip::Conexant
        } else {
            Chip::Generic
        }
    }

    /// The version of its firmware: the first three numbers with points between that it says.
    #[must_use]
    pub fn version(&self) -> Option<[u16; 3]> {
        let words = core::iter::once(&self.firmware).chain(&self.lines);
        words.flat_map(|line| line.split(|c: char| !c.is_ascii_digit() && c != '.')).find_map(|word| {
            let mut numbers = word.split('.').map(str::parse);
            match (numbers.next()?, numbers.next()?, numbers.next()?, numbers.next()) {
                (Ok(major), Ok(minor), Ok(patch), None) => Some([major, minor, patch]),
                _ => None,
            }
        })
    }
}

/// Whether the answer to `+FCLASS=?` has the voice class, 8.
pub(super) fn has_voice(lines: &[String]) -> bool {
    lines.iter().any(|line| line.split(|c: char| !c.is_ascii_digit() && c != '.').any(|word| word == "8"))
}

/// The best of the answer to `+VSM=?` at 8,000 Hz, and its number. The numbers mean something else
/// on each chip, so the names decide.
pub(super) fn best_format(lines: &[String]) -> Option<(u16, SampleFormat)> {
    lines.iter().filter_map(|line| format_of(line)).min_by_key(|(_, format)| *format)
}

fn format_of(line: &str) -> Option<(u16, SampleFormat)> {
    let line = line.strip_prefix("+VSM:").unwrap_or(line).trim();
    let (code, rest) = line.split_once(',')?;
    let (name, rest) = rest.trim().strip_prefix('"')?.split_once('"')?;
    let fields: Vec<&str> = rest.split(',').map(str::trim).filter(|field| !field.is_empty()).collect();
    if !has_8000(rest) {
        return None;
    }
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let bits = ["16", "14", "8"].into_iter().find(|bits| name.contains(bits)).or(fields.first().copied());
    let is_unsigned = name.contains("unsigned");
    let format = if name.contains("ulaw") {
        SampleFormat::MuLaw
    } else if name.contains("alaw") {
        SampleFormat::ALaw
    } else if name.contains("adpcm") || !(name.contains("linear") || name.contains("pcm")) {
        return None;
    } else {
        match bits? {
            // What is called linear and no more is as in a WAV file: from 0 to 255.
            "8" if is_unsigned || !name.contains("signed") => SampleFormat::Unsigned8,
            "8" => SampleFormat::Signed8,
            "16" if !is_unsigned => SampleFormat::Signed16,
            _ => return None,
        }
    };
    Some((code.trim().parse().ok()?, format))
}

/// Whether 8,000 Hz is among the rates, or between two of them.
fn has_8000(rest: &str) -> bool {
    rest.split([',', '(', ')', ' ']).any(|word| match word.split_once('-') {
        Some((low, high)) => {
            low.parse::<u32>().is_ok_and(|low| low <= 8_000)
                && high.parse::<u32>().is_ok_and(|high| high >= 8_000)
        }
        None => word == "8000",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
    }

    #[test]
    fn the_best_form_of_samples_is_found_by_its_name() {
        let usr = "128,\"8-BIT LINEAR\",(7200,8000,11025)
            129,\"16-BIT LINEAR\",(7200,8000,11025)
            130,\"8-BIT ALAW\",(8000)
            131,\"8-BIT ULAW\",(8000)
            132,\"IMA ADPCM\",(7200,8000,11025)
            133,\"G729\",(8000)";
        let conexant = "0,\"SIGNED PCM\",8,0,8000,0,0
            1,\"UNSIGNED PCM\",8,0,8000,0,0
            129,\"IMA ADPCM\",4,0,8000,0,0
            131,\"Mu-Law\",8,0,8000,0,0
            132,\"A-Law\",8,0,8000,0,0
            133,\"14 bit linear PCM\",16,0,8000,0,0";
        assert_eq!(best_format(&lines(usr)), Some((131, SampleFormat::MuLaw)));
        assert_eq!(best_format(&lines(conexant)), Some((131, SampleFormat::MuLaw)));
        for (text, expected) in [
            ("132,\"A-Law\",8,0,8000,0,0", Some((132, SampleFormat::ALaw))),
            ("0,\"SIGNED PCM\",8,0,8000,0,0", Some((0, SampleFormat::Signed8))),
            ("+VSM: 1,\"UNSIGNED PCM\",8,0,(7200-11025),0,0", Some((1, SampleFormat::Unsigned8))),
            ("128,\"8-BIT LINEAR\",(7200,8000)", Some((128, SampleFormat::Unsigned8))),
            ("129,\"16-BIT LINEAR\",(7200,8000)", Some((129, SampleFormat::Signed16))),
            ("131,\"8-BIT ULAW\",(7200,11025)", None),
            ("133,\"14 bit linear PCM\",16,0,8000,0,0", None),
            ("129,\"IMA ADPCM\",4,0,8000,0,0", None),
            ("OK", None),
        ] {
            assert_eq!(best_format(&lines(text)), expected, "{text}");
        }
    }

    #[test]
    fn chips_and_their_firmware_are_known_by_what_they_say() {
        for (said, chip, version) in [
            (["5601", "U.S. Robotics 56K FAX USB V1.2.23"], Chip::Usr, Some([1, 2, 23])),
            (["56000", "CX93001-EIS_V0.2013-V92"], Chip::Conexant, None),
            (["56000", "+GMI: CONEXANT"], Chip::Conexant, None),
            (["V.253 modem", "Rev. 10.4.1.2"], Chip::Generic, None),
        ] {
            let mut identity = Identity::default();
            identity.learn("ATI0", &[said[0].to_owned()]);
            identity.learn("ATI3", &[said[1].to_owned()]);
            assert_eq!((identity.chip(), identity.version()), (chip, version), "{said:?}");
        }
    }

    #[test]
    fn the_voice_class_is_8_and_not_8_point_something() {
        for (said, expected) in [("0,1,8", true), ("(0,1,1.0,2,8)", true), ("0,1,1.8,18", false)] {
            assert_eq!(has_voice(&lines(said)), expected, "{said}");
        }
    }

    #[test]
    fn lines_have_a_limit() {
        let mut reader = Lines::default();
        let long = [vec![b'x'; 10_000], b"\r\nOK\r\n".to_vec()].concat();
        let read: Vec<String> = long.into_iter().filter_map(|byte| reader.take(byte)).collect();
        assert_eq!((read[0].len(), read[1].as_str()), (LINE_BYTES_MAX, "OK"));
    }
}
