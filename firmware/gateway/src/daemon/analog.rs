//! Analog lines as the configuration wants them: what the country says, as the lines take it.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use tipring_lines::analog::country::{CallerIdMoment, CountryPlan, Recall};
use tipring_lines::analog::lessons::{LEARNED_MAX, LearnedTone};
use tipring_lines::analog::voice::SoundPlan;
use tipring_lines::analog::{AnalogOptions, contract};
use tipring_lines::port::Cadence;
use tipring_lines::port::linecard::Impedance as CardImpedance;
use tipring_lines::port::v253::t35_code;
use tipring_media::dsp::caller_id::LineTime;
use tipring_media::dsp::caller_id::digits::Form;
use tipring_model::prompt::CallTone;
use tipring_model::{LineId, Number};

use super::kept::Kept;
use super::switchboard::Switchboard;
use crate::config::{Config, Line};
use crate::countries::{CallerIdStandard, CallerIdStart, Country, Impedance};

/// How long dial tone waits for the first digit, the pause after a digit, and the pause after
/// what is a number already.
const FIRST_DIGIT: Duration = Duration::from_secs(16);
const BETWEEN_DIGITS: Duration = Duration::from_secs(8);
const MATCHED_DIGIT: Duration = Duration::from_secs(3);
/// A recall key opens the loop for a fixed time, and no longer (TBR 21 and its kin); elsewhere
/// people press the hook.
const TIMED_RECALL_MAX_MS: u16 = 250;

/// Among what flows keep, under this name in place of a dialect, is what lines have learned.
const KEPT: &str = "lines";
/// Before the name of a line: the tones that it ends calls with.
const TONES: &str = "tones/";

/// What all analog lines of the box have in common.
pub(super) fn options(config: &Config, kept: &Kept) -> AnalogOptions {
    let country = config.general.country;
    let of_lines = config.lines.iter().filter(|line| line.settings.is_phone());
    let numbers = of_lines.filter_map(|line| line.number.as_deref());
    let of_flows = config.flows.iter().flat_map(|flow| flow.numbers.iter().map(String::as_str));
    // The machines ask without waiting for an answer: the zone is looked up once.
    let _ =
        TIME_ZONE.set(jiff::tz::TimeZone::get(&config.general.timezone).unwrap_or(jiff::tz::TimeZone::UTC));
    AnalogOptions {
        devices: config.devices.clone(),
        plan: country_plan(country, &config.general.emergency_numbers),
        sounds: sound_plan(country),
        learned_tones: learned_tones(config, &kept.of(KEPT).borrow()),
        numbers: numbers.chain(of_flows).map(Number::new).collect(),
        local_time,
    }
}

/// The tones that lines of this configuration have learned.
fn learned_tones(config: &Config, kept: &BTreeMap<String, String>) -> Vec<LearnedTone> {
    let tones_of = |(at, line): (u16, &Line)| {
        let texts = kept.get(&format!("{TONES}{}", line.name)).map_or("", String::as_str);
        texts.split(' ').filter_map(|text| LearnedTone::parse(LineId(at), text)).collect::<Vec<_>>()
    };
    (0u16..).zip(&config.lines).flat_map(tones_of).collect()
}

/// What a line has learned so far, and one tone more.
fn with_tone(kept: &BTreeMap<String, String>, line: &str, tone: &LearnedTone) -> (String, String) {
    let name = format!("{TONES}{line}");
    let before = kept.get(&name).map_or("", String::as_str);
    let text = tone.to_string();
    let known = before.split(' ').filter(|known| !known.is_empty() && *known != text);
    let tones: Vec<&str> = known.chain([text.as_str()]).collect();
    let newest = tones.len().saturating_sub(LEARNED_MAX);
    (name, tones.get(newest..).unwrap_or_default().join(" "))
}

impl Switchboard {
    /// Keeps what lines have learned for the next start.
    pub(super) fn keep_learned(&self) {
        while let Some(tone) = self.0.lines.analog.try_learned() {
            let line = self.line_name(Some(tone.line));
            tracing::info!(line, %tone, "the line ends calls with a tone of its own");
            let (name, tones) = with_tone(&self.0.kept.of(KEPT).borrow(), line, &tone);
            self.0.kept.keep(KEPT, name, Some(tones));
        }
    }

    /// The tones that a line has learned.
    pub(super) fn learned_by(&self, line: &str) -> Vec<String> {
        let kept = self.0.kept.of(KEPT);
        let kept = kept.borrow();
        let texts = kept.get(&format!("{TONES}{line}")).map_or("", String::as_str);
        texts.split(' ').filter(|text| !text.is_empty()).map(str::to_owned).collect()
    }

    /// Forgets them, from the next start on.
    pub(super) fn forget_learned(&self, line: &str) {
        self.0.kept.keep(KEPT, format!("{TONES}{line}"), None);
    }
}

static TIME_ZONE: OnceLock<jiff::tz::TimeZone> = OnceLock::new();

/// The local time, which telephones show beside a caller.
fn local_time() -> Option<LineTime> {
    let now = jiff::Timestamp::now().to_zoned(TIME_ZONE.get()?.clone());
    let part = |value: i8| u8::try_from(value).ok();
    LineTime::new(part(now.month())?, part(now.day())?, part(now.hour())?, part(now.minute())?)
}

fn country_plan(country: &Country, emergency: &[String]) -> CountryPlan {
    let line = &country.line;
    let steps: Vec<u16> = line.ring.0.iter().flat_map(|(on, off)| [*on, *off]).collect();
    let (shortest, longest) = line.flash_accepted_ms;
    CountryPlan {
        impedance: impedance(line.impedance),
        t35: t35_code(&country.code),
        ring: Cadence::new(&steps).unwrap_or(Cadence::RING),
        caller_id: standard(country),
        caller_id_moment: match line.caller_id_start {
            CallerIdStart::FirstRing => CallerIdMoment::AfterFirstRing,
            // Telephones that are rung for the data alone would have to be seen to answer:
            // they are told before the first ring, as others are.
            CallerIdStart::BeforeRing | CallerIdStart::DataRing => {
                CallerIdMoment::BeforeFirstRing { reversal: false }
            }
            CallerIdStart::Reversal | CallerIdStart::ReversalAndAlertTone => {
                CallerIdMoment::BeforeFirstRing { reversal: true }
            }
        },
        flash_ms: shortest..=longest,
        flash_sent_ms: line.flash_ms,
        recall: if longest <= TIMED_RECALL_MAX_MS { Recall::Digit } else { Recall::Direct },
        first_digit: FIRST_DIGIT,
        between_digits: BETWEEN_DIGITS,
        matched_digit: MATCHED_DIGIT,
        emergency: emergency.to_vec(),
        numbers: Vec::new(),
        international_prefix: country.international_prefix.clone(),
    }
}

fn sound_plan(country: &Country) -> SoundPlan {
    let usual = SoundPlan::default();
    let tone = |tone, usual| country.tone(tone).unwrap_or(usual);
    SoundPlan {
        dial: tone(CallTone::Dial, usual.dial),
        ringback: tone(CallTone::Ringback, usual.ringback),
        busy: tone(CallTone::Busy, usual.busy),
        congestion: tone(CallTone::Congestion, usual.congestion),
        waiting: country.waiting_beep().unwrap_or(usual.waiting),
        caller_id: standard(country),
        alerts_on_hook: country.line.caller_id_start == CallerIdStart::ReversalAndAlertTone,
        digits_form: if country.code == "dk" { Form::Denmark } else { Form::Etsi },
    }
}

/// How a telephone is told who calls: as the country's exchanges do it most.
fn standard(country: &Country) -> contract::CallerIdStandard {
    match country.line.caller_id.first() {
        Some(CallerIdStandard::Bellcore) | None => contract::CallerIdStandard::Bellcore,
        Some(CallerIdStandard::Etsi) => contract::CallerIdStandard::Etsi,
        Some(CallerIdStandard::NumberDisplay) => contract::CallerIdStandard::Ntt,
        Some(CallerIdStandard::Dtmf) => contract::CallerIdStandard::Dtmf,
    }
}

const fn impedance(of: Impedance) -> CardImpedance {
    match of {
        Impedance::Ohms600 => CardImpedance::R600,
        Impedance::Ohms220With820 => CardImpedance::C220,
        Impedance::Ohms270With750 => CardImpedance::Tbr21,
        Impedance::Ohms320With1050 => CardImpedance::C320,
        Impedance::Ohms370With620 => CardImpedance::C370,
        Impedance::Global => CardImpedance::Global,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::countries;

    #[test]
    fn a_line_keeps_the_newest_of_what_it_has_learned() {
        let tone = |text: &str| LearnedTone::parse(LineId(0), text).unwrap();
        let mut kept = BTreeMap::new();
        for text in ["425/480-480", "425/200-200", "425/480-480", "400/300-300", "450/350-350", "440/500-500"]
        {
            let (name, tones) = with_tone(&kept, "wall", &tone(text));
            kept.insert(name, tones);
        }
        let tones = kept.get("tones/wall").unwrap();
        assert_eq!(tones, "425/480-480 400/300-300 450/350-350 440/500-500");
        assert!(tones.split(' ').all(|text| LearnedTone::parse(LineId(0), text).is_some()));
    }

    #[test]
    fn every_country_makes_a_plan() {
        for country in countries::all() {
            let plan = country_plan(country, &country.emergency);
            let ring: Vec<u16> = country.line.ring.0.iter().flat_map(|(on, off)| [*on, *off]).collect();
            assert_eq!(plan.ring.steps_ms(), ring, "{}", country.code);
            assert!(plan.flash_ms.contains(&plan.flash_sent_ms), "{}", country.code);
            assert!(!plan.emergency.is_empty(), "{}", country.code);
        }
    }

    #[test]
    fn countries_differ_as_their_lines_do() {
        let plan = |code: &str| country_plan(countries::find(code).unwrap(), &[]);
        let (us, gb, de) = (plan("us"), plan("gb"), plan("de"));
        assert_eq!((us.recall, us.international_prefix.as_str()), (Recall::Direct, "011"));
        assert_eq!((de.recall, de.international_prefix.as_str()), (Recall::Digit, "00"));
        assert_eq!(us.caller_id_moment, CallerIdMoment::AfterFirstRing);
        assert_eq!(gb.caller_id_moment, CallerIdMoment::BeforeFirstRing { reversal: true });
        assert_eq!(gb.impedance, CardImpedance::C320);
        let sounds = |code: &str| sound_plan(countries::find(code).unwrap());
        assert!(sounds("gb").alerts_on_hook && !sounds("us").alerts_on_hook);
        assert_eq!(sounds("jp").caller_id, contract::CallerIdStandard::Ntt);
        assert_ne!(sounds("us").dial, sounds("de").dial);
    }
}
