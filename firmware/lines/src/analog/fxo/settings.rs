//! Settings of a line of the exchange at a line port.

use std::time::Duration;

use tipring_model::settings::{Field, FieldError, FieldKind, RawSettings, Settings};

use crate::analog::settings::{self, PortName, Reading, SoundSettings};
use crate::port::Cadence;

/// A line of the exchange at a line port.
#[derive(Clone, PartialEq, Debug)]
pub struct FxoSettings {
    /// Where it is plugged in.
    pub port: PortName,
    /// Its number, as the exchange has it; what calls that arrive have dialled.
    pub number: String,
    /// Other numbers of the line, each with a ring of its own.
    pub distinctive: Vec<DistinctiveRing>,
    /// Rings that are waited for the caller's number; 0 offers the call at once.
    pub caller_id_rings: u8,
    /// Digits are dialled by pulses.
    pub pulse: bool,
    /// Keys before every number but emergency ones; a comma is a pause of two seconds.
    pub prefix: String,
    /// How long dial tone is waited for.
    pub dial_tone_max: Duration,
    /// Without dial tone it dials in any case.
    pub dials_without_tone: bool,
    /// How answers are known.
    pub answer: AnswerBy,
    /// An answer is assumed when nothing was heard for so long after dialling.
    pub answer_assumed_after: Duration,
    /// A reversal of the battery during a call ends it.
    pub reversal_ends: bool,
    /// A break of the loop that is shorter than this, in ms, means nothing.
    pub loop_break_min_ms: u16,
    /// A call ends when nothing was heard for so long; `None`: it does not.
    pub silence_max: Option<Duration>,
    /// The longest call; `None`: there is no limit.
    pub talk_max: Option<Duration>,
    /// The line rests for so long between two calls.
    pub guard: Duration,
    /// The hook flash that the exchange is sent, in ms; `None`: as in the country.
    pub flash_ms: Option<u16>,
    /// What is done to its sound.
    pub sound: SoundSettings,
}

/// How the answer of a call over the line is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnswerBy {
    /// By whatever comes first: reversal, voice, the end of ring-back, time.
    Anything,
    /// By a reversal alone; an emergency call by whatever comes first.
    Reversal,
    /// As soon as the number is dialled.
    Dialled,
}

/// A further number of the line.
#[derive(Clone, PartialEq, Debug)]
pub struct DistinctiveRing {
    /// How the exchange rings for it.
    pub cadence: Cadence,
    /// The number.
    pub number: String,
}

impl DistinctiveRing {
    /// Reads `400-200-400-2000=5550101`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (cadence, number) = text.split_once('=')?;
        Some(Self { cadence: Cadence::parse(cadence)?, number: settings::plain_number(number.trim())? })
    }
}

const LOOP_BREAK_MIN_MS: i64 = 80;

impl Settings for FxoSettings {
    const FIELDS: &'static [Field] = &[
        settings::PORT,
        settings::text("number", "Number", "Its number, as those who call it dial it.", false),
        settings::list(
            "distinctive",
            "Other numbers",
            "Rings of other numbers on the same line, such as 400-200-400-2000=5550101.",
        ),
        Field {
            key: "caller_id_rings",
            label: "Wait for the caller",
            help: "Rings that are waited for the caller's number; 0 does not wait.",
            kind: FieldKind::Number { min: 0, max: 4, unit: "rings" },
            default: Some("2"),
            required: false,
        },
        settings::choice("dialling", "Dialling", "How digits are dialled.", &["tone", "pulse"]),
        settings::text(
            "prefix",
            "Prefix",
            "Dialled before every number but emergency ones; a comma is a pause of two seconds.",
            false,
        ),
        settings::time("dial_tone", "Dial tone", "How long it is waited for.", (500, 30_000), Some("3s")),
        settings::toggle(
            "dials_without_tone",
            "Dial without tone",
            "Dials in any case when no dial tone is heard.",
            "true",
        ),
        settings::choice(
            "answer",
            "Answer known by",
            "`anything` that shows it, `reversal` of the battery alone, or as soon as it is `dialled`.",
            &["anything", "reversal", "dialled"],
        ),
        settings::time(
            "answer_assumed",
            "Answer assumed after",
            "When nothing is heard for so long after dialling.",
            (1_000, 60_000),
            Some("20s"),
        ),
        settings::toggle(
            "reversal_ends",
            "Reversal ends calls",
            "A reversal of the battery during a call ends it.",
            "true",
        ),
        Field {
            key: "loop_break_min_ms",
            label: "Shortest loop break",
            help: "A shorter one does not end a call.",
            kind: FieldKind::Number { min: 20, max: 1_500, unit: "ms" },
            default: Some("80"),
            required: false,
        },
        settings::time(
            "silence",
            "Longest silence",
            "A call ends after it; 0s for no limit.",
            (0, 86_400_000),
            Some("10m"),
        ),
        settings::time(
            "talk",
            "Longest call",
            "A call ends after it; 0s for no limit.",
            (0, 86_400_000),
            Some("4h"),
        ),
        settings::time(
            "guard",
            "Rest between calls",
            "The line is not taken again so soon.",
            (500, 10_000),
            Some("1500ms"),
        ),
        settings::time(
            "flash",
            "Hook flash",
            "Sent to the exchange; without it as in the country.",
            (20, 1_500),
            None,
        ),
        settings::GAIN_HEARD,
        settings::GAIN_PLAYED,
    ];

    fn parse(raw: &RawSettings) -> Result<Self, Vec<FieldError>> {
        let mut reading = Reading::new(raw, Self::FIELDS);
        let port = reading.port();
        let number = reading.read("number", "digits or letters without spaces", settings::plain_number);
        let distinctive = reading.each(
            "distinctive",
            "a list of a ring, = and a number, such as 400-200-400-2000=5550101",
            DistinctiveRing::parse,
        );
        let is_prefix = |text: &str| text.chars().all(|c| ",0123456789*#".contains(c));
        let prefix = reading.read("prefix", "keys and commas, such as 9 or 0,", |text| {
            is_prefix(text).then(|| text.to_owned())
        });
        let limited = |time: Duration| (!time.is_zero()).then_some(time);
        let loop_break_min = raw.number("loop_break_min_ms").unwrap_or(LOOP_BREAK_MIN_MS);
        let settings = port.map(|port| Self {
            port,
            number: number.unwrap_or_default(),
            distinctive,
            caller_id_rings: raw.number("caller_id_rings").and_then(|n| u8::try_from(n).ok()).unwrap_or(2),
            pulse: raw.text("dialling") == Some("pulse"),
            prefix: prefix.unwrap_or_default(),
            dial_tone_max: reading.time("dial_tone", 3_000),
            dials_without_tone: reading.toggle("dials_without_tone", true),
            answer: match raw.text("answer") {
                Some("reversal") => AnswerBy::Reversal,
                Some("dialled") => AnswerBy::Dialled,
                Some(_) | None => AnswerBy::Anything,
            },
            answer_assumed_after: reading.time("answer_assumed", 20_000),
            reversal_ends: reading.toggle("reversal_ends", true),
            loop_break_min_ms: u16::try_from(loop_break_min).unwrap_or(u16::MAX),
            silence_max: limited(reading.time("silence", 600_000)),
            talk_max: limited(reading.time("talk", 14_400_000)),
            guard: reading.time("guard", 1_500),
            flash_ms: raw.time_ms("flash").and_then(|ms| u16::try_from(ms).ok()),
            sound: SoundSettings::default().read(raw),
        });
        reading.done(settings)
    }
}

#[cfg(test)]
mod tests {
    use tipring_model::settings::RawValue;

    use super::*;

    #[test]
    fn a_port_is_enough() {
        let mut raw = RawSettings::new();
        raw.set("port", RawValue::Text("modem/1".into()));
        let settings = FxoSettings::parse(&raw).unwrap();
        assert_eq!(settings.caller_id_rings, 2);
        assert_eq!(settings.loop_break_min_ms, 80);
        assert_eq!(settings.talk_max, Some(Duration::from_secs(14_400)));
        raw.set("talk", RawValue::Text("0s".into()));
        assert_eq!(FxoSettings::parse(&raw).unwrap().talk_max, None);
    }

    #[test]
    fn gains_are_whole_decibels() {
        let mut raw = RawSettings::new();
        raw.set("port", RawValue::Text("card1/1".into()));
        raw.set("gain_heard_db", RawValue::Number(6));
        raw.set("gain_played_db", RawValue::Number(-12));
        let sound = SoundSettings { heard_gain_db: 6, played_gain_db: -12, leaves_echo: false };
        assert_eq!(FxoSettings::parse(&raw).unwrap().sound, sound);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let mut raw = RawSettings::new();
        for (key, text) in [("prefix", "9w"), ("answer", "soon"), ("guard", "1h"), ("number", "a b")] {
            raw.set(key, RawValue::Text(text.into()));
        }
        raw.set("caller_id_rings", RawValue::Number(9));
        raw.set("gain_heard_db", RawValue::Number(13));
        raw.set("distinctive", RawValue::List(vec!["400-200".into()]));
        let mut keys: Vec<String> =
            FxoSettings::parse(&raw).unwrap_err().into_iter().map(|error| error.key).collect();
        keys.sort();
        assert_eq!(
            keys,
            [
                "answer",
                "caller_id_rings",
                "distinctive",
                "gain_heard_db",
                "guard",
                "number",
                "port",
                "prefix"
            ]
        );
    }
}
