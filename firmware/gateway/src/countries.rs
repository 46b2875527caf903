//! Tones and emergency numbers by country, from `data/countries.toml`.

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
    /// Where the figures come from.
    #[cfg_attr(not(test), expect(dead_code, reason = "for whoever reads the file; a test asks for it"))]
    pub source: String,
    dial: String,
    ringback: String,
    busy: String,
    congestion: String,
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
    fn every_country_has_its_tones_and_an_emergency_number() {
        assert!(all().len() >= 20);
        for country in all() {
            for tone in [CallTone::Dial, CallTone::Ringback, CallTone::Busy, CallTone::Congestion] {
                let spec = country.tone(tone);
                assert!(spec.is_some_and(|spec| !spec.segments().is_empty()), "{} {tone:?}", country.code);
            }
            assert!(!country.emergency.is_empty() && !country.source.is_empty(), "{}", country.code);
            assert!(country.code.len() == 2 && !country.name.is_empty());
        }
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
