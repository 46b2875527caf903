//! Tones, emergency numbers and analog lines by country, from `data/countries.toml`.

use std::sync::OnceLock;

use tipring_media::{ToneSegment, ToneSpec};
use tipring_model::prompt::CallTone;

/// One country.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Country {
    /// ISO 3166 alpha-2, lower case.
    pub code: String,
    /// English name.
    pub name: String,
    /// Numbers that always leave.
    pub emergency: Vec<String>,
    /// Dialled for `+`.
    pub international_prefix: String,
    /// What an analog line is like.
    #[serde(flatten)]
    pub line: LineFacts,
    /// Where the figures come from.
    #[cfg_attr(not(test), expect(dead_code, reason = "for whoever reads the file; a test asks for it"))]
    pub sources: Sources,
    dial: String,
    ringback: String,
    busy: String,
    congestion: String,
    waiting: String,
}

/// What a two-wire line of a country is like.
#[derive(Clone, Debug, serde::Deserialize)]
pub(crate) struct LineFacts {
    /// How telephones ring: time on and off in ms, in turn.
    pub ring: Cadence,
    /// What a line port shows the line.
    pub impedance: Impedance,
    /// Hook flash that a line port sends, in ms.
    pub flash_ms: u16,
    /// Shortest and longest hook flash that a phone port takes for one, in ms.
    pub flash_accepted_ms: (u16, u16),
    /// How the caller's number comes, the likeliest first.
    pub caller_id: Vec<CallerIdStandard>,
    /// What comes before it.
    pub caller_id_start: CallerIdStart,
    /// From the end of that to the first sound of the data at least, in ms.
    #[cfg_attr(not(test), expect(dead_code, reason = "the machines keep to one delay; a test asks for it"))]
    pub caller_id_delay_ms: u16,
    /// From the end of the data to the ring, where data come first, in ms.
    #[cfg_attr(not(test), expect(dead_code, reason = "the machines keep to one delay; a test asks for it"))]
    pub caller_id_ring_ms: u16,
}

/// Times on and off in ms.
#[derive(Clone, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Cadence(pub Vec<(u16, u16)>);

impl TryFrom<String> for Cadence {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let times: Option<Vec<u16>> = text.split('-').map(|ms| ms.trim().parse().ok()).collect();
        let wrong = || format!("`{text}` is no cadence: times on and off in ms, as in 400-200-400-2000");
        let times = times.filter(|times| times.len() % 2 == 0 && !times.contains(&0)).ok_or_else(wrong)?;
        Ok(Self(times.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()))
    }
}

/// Impedance of a line port: ohms in series, ohms parallel to a capacitor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Deserialize)]
pub(crate) enum Impedance {
    /// 600 ohms.
    #[serde(rename = "600")]
    Ohms600,
    /// 220 ohms, 820 parallel to 120 nF.
    #[serde(rename = "220+820||120nF")]
    Ohms220With820,
    /// 270 ohms, 750 parallel to 150 nF: TBR 21.
    #[serde(rename = "270+750||150nF")]
    Ohms270With750,
    /// 320 ohms, 1,050 parallel to 230 nF.
    #[serde(rename = "320+1050||230nF")]
    Ohms320With1050,
    /// 370 ohms, 620 parallel to 310 nF.
    #[serde(rename = "370+620||310nF")]
    Ohms370With620,
    /// A compromise that every network bears.
    #[serde(rename = "global")]
    Global,
}

/// How a caller's number comes over a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CallerIdStandard {
    /// Bell 202.
    Bellcore,
    /// V.23.
    Etsi,
    /// V.23 with NTT's frame.
    NumberDisplay,
    /// Digits.
    Dtmf,
}

/// What comes before the data of a caller ID.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CallerIdStart {
    /// The first ring; the data come in the pause after it.
    FirstRing,
    /// Nothing that can be told; the ring comes after the data.
    BeforeRing,
    /// A reversal; the ring comes after the data.
    Reversal,
    /// A reversal and the alert tone; the ring comes after the data.
    ReversalAndAlertTone,
    /// Short rings, upon which the telephone answers for the data alone.
    DataRing,
}

/// Where a country's figures come from, by field.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(test), expect(dead_code, reason = "for whoever reads the file; a test asks for it"))]
pub(crate) struct Sources {
    pub emergency: String,
    pub tones: String,
    pub ring: String,
    pub impedance: String,
    pub flash: String,
    pub caller_id: String,
}

#[derive(serde::Deserialize)]
struct Countries {
    country: Vec<Country>,
}

const TEXT: &str = include_str!("../../data/countries.toml");

/// Every country.
pub(crate) fn all() -> &'static [Country] {
    static ALL: OnceLock<Vec<Country>> = OnceLock::new();
    ALL.get_or_init(|| {
        // The text is part of the program, and a test reads it.
        toml_edit::de::from_str::<Countries>(TEXT).map(|countries| countries.country).unwrap_or_default()
    })
}

/// The country with this code.
#[must_use]
pub(crate) fn find(code: &str) -> Option<&'static Country> {
    all().iter().find(|country| country.code == code)
}

impl Country {
    /// The tone as the engine plays it, without end.
    #[must_use]
    pub(crate) fn tone(&self, tone: CallTone) -> Option<ToneSpec> {
        parse(match tone {
            CallTone::Dial => &self.dial,
            CallTone::Ringback => &self.ringback,
            CallTone::Busy => &self.busy,
            CallTone::Congestion => &self.congestion,
        })
    }
}

impl Country {
    /// What announces a second caller, once.
    #[must_use]
    pub(crate) fn waiting_beep(&self) -> Option<ToneSpec> {
        let first = parse(&self.waiting)?.segments().first().copied()?;
        Some(ToneSpec::once(&[ToneSegment { on_ms: first.on_ms.max(BEEP_MIN_MS), off_ms: 0, ..first }]))
    }
}

/// A shorter beep is lost in a conversation.
const BEEP_MIN_MS: u16 = 150;
/// Level of each frequency of a call-progress tone.
const LEVEL_DBM0: f32 = -13.0;

/// Reads `440+480/2000-4000`: frequencies that sound together, then times on and
/// off in ms; without times it is continuous. Segments are separated by commas.
fn parse(text: &str) -> Option<ToneSpec> {
    let mut segments = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (frequencies, cadence) = match part.split_once('/') {
            Some((frequencies, cadence)) => (frequencies, Some(cadence)),
            None => (part, None),
        };
        let mut hz = [0.0; 4];
        for (place, frequency) in hz.iter_mut().zip(frequencies.split('+')) {
            *place = frequency.trim().parse().ok()?;
        }
        let silent = ToneSegment { hz, level_dbm0: LEVEL_DBM0, on_ms: 0, off_ms: 0 };
        let Some(cadence) = cadence else {
            segments.push(silent);
            continue;
        };
        let times: Vec<u16> = cadence.split('-').map(|ms| ms.trim().parse().ok()).collect::<Option<_>>()?;
        for pair in times.chunks(2) {
            let (on_ms, off_ms) = (*pair.first()?, pair.get(1).copied().unwrap_or(0));
            segments.push(ToneSegment { on_ms, off_ms, ..silent });
        }
    }
    (!segments.is_empty()).then(|| ToneSpec::repeating(&segments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_is_complete() {
        assert!(
            all().len() >= 20,
            "the file does not read: {:?}",
            toml_edit::de::from_str::<Countries>(TEXT).err()
        );
        for country in all() {
            let code = &country.code;
            assert!(code.len() == 2 && !country.name.is_empty(), "{code}");
            for tone in [CallTone::Dial, CallTone::Ringback, CallTone::Busy, CallTone::Congestion] {
                let spec = country.tone(tone);
                assert!(spec.is_some_and(|spec| !spec.segments().is_empty()), "{code} {tone:?}");
            }
            let beep = country.waiting_beep().unwrap();
            assert!(matches!(beep.segments(), [one] if (150..=700).contains(&one.on_ms)), "{code}");
            let digits = |number: &String| number.bytes().all(|byte| byte.is_ascii_digit());
            assert!(!country.emergency.is_empty() && country.emergency.iter().all(digits), "{code}");
            assert!((2..=4).contains(&country.international_prefix.len()), "{code}");
            assert!(digits(&country.international_prefix), "{code}");
            let sources = &country.sources;
            for source in [
                &sources.emergency,
                &sources.tones,
                &sources.ring,
                &sources.impedance,
                &sources.flash,
                &sources.caller_id,
            ] {
                assert!(!source.is_empty(), "{code}");
            }
        }
        assert_eq!(all().iter().filter(|country| country.code == "us").count(), 1);
    }

    #[test]
    fn every_line_can_be_what_it_says() {
        for country in all() {
            let (code, line) = (&country.code, &country.line);
            let Cadence(ring) = &line.ring;
            assert!((1..=4).contains(&ring.len()), "{code}");
            // A pause of the ring has room for data, and a ring is over within a round of 7 s.
            let round: u32 = ring.iter().map(|(on, off)| u32::from(*on) + u32::from(*off)).sum();
            assert!((2_500..=7_000).contains(&round), "{code}: {round} ms");
            let (shortest, longest) = line.flash_accepted_ms;
            // A pulse of a dial breaks the line for up to 67 ms.
            assert!(shortest >= 70 && longest <= 1_200, "{code}");
            assert!((shortest..=longest).contains(&line.flash_ms), "{code}");
            assert!(!line.caller_id.is_empty(), "{code}");
            let ring_is_last = match line.caller_id_start {
                CallerIdStart::FirstRing | CallerIdStart::DataRing => false,
                CallerIdStart::BeforeRing | CallerIdStart::Reversal | CallerIdStart::ReversalAndAlertTone => {
                    true
                }
            };
            assert_eq!(line.caller_id_ring_ms > 0, ring_is_last, "{code}");
            assert!((50..=1_000).contains(&line.caller_id_delay_ms), "{code}");
        }
        let line = |code: &str| find(code).map(|country| country.line.clone()).unwrap();
        assert_eq!(line("gb").impedance, Impedance::Ohms320With1050);
        assert_eq!(line("gb").ring, Cadence(vec![(400, 200), (400, 2_000)]));
        assert_eq!(line("us").caller_id, [CallerIdStandard::Bellcore]);
        assert_eq!(line("jp").caller_id_start, CallerIdStart::DataRing);
    }

    #[test]
    fn no_field_is_misspelt_and_no_cadence_is_half() {
        let read = |from: &str, to: &str| {
            assert!(TEXT.contains(from), "{from}");
            toml_edit::de::from_str::<Countries>(&TEXT.replacen(from, to, 1)).map(|_| ())
        };
        assert!(read("impedance = \"600\"", "impedance = \"600\"").is_ok());
        assert!(read("impedance = \"600\"", "impedance = \"601\"").is_err());
        assert!(read("\nflash_ms = ", "\nflash = ").is_err());
        assert!(read("ring = \"1000-4000\"", "ring = \"1000\"").is_err());
        assert!(read("caller_id = [\"etsi\"]", "caller_id = [\"v23\"]").is_err());
    }

    #[test]
    fn cadences_read_as_written() {
        let spec = parse("400+450/400-200-400-2000").unwrap();
        let times: Vec<(u16, u16)> = spec.segments().iter().map(|s| (s.on_ms, s.off_ms)).collect();
        assert_eq!(times, [(400, 200), (400, 2000)]);
        assert_eq!(parse("425").unwrap().segments().len(), 1);
        assert_eq!(parse("x/1-2"), None);
    }
}
