//! Settings of a telephone at a phone port.

use std::time::Duration;

use tipring_model::Digits;
use tipring_model::settings::{Field, FieldError, RawSettings, Settings};

use crate::analog::country::Recall;
use crate::analog::settings::{self, PortName, Reading, SoundSettings};
use crate::port::Cadence;

use super::digit_map::Pattern;

/// A telephone at a phone port.
#[derive(Clone, PartialEq, Debug)]
pub struct FxsSettings {
    /// Where it is plugged in.
    pub port: PortName,
    /// Its number inside the office.
    pub number: String,
    /// Name shown to those it calls.
    pub display_name: Option<String>,
    /// Which digits it sends.
    pub dialling: Dialling,
    /// Numbers that are complete by themselves, beside those of the box and of the country.
    pub numbers: Vec<Pattern>,
    /// How long dial tone waits for the first digit; `None`: as in the country.
    pub first_digit: Option<Duration>,
    /// How long is waited for the next digit; `None`: as in the country.
    pub between_digits: Option<Duration>,
    /// What is dialled by itself when it is lifted, and after how long.
    pub hotline: Option<(Digits, Duration)>,
    /// What a hook flash means; `None`: as in the country.
    pub recall: Option<Recall>,
    /// A hook flash during a call does something.
    pub flash: bool,
    /// A second caller is announced by a beep.
    pub call_waiting: bool,
    /// It is told who waits.
    pub waiting_caller_id: bool,
    /// Two parties can be joined.
    pub three_way: bool,
    /// Whoever has called a second party and hangs up joins the two.
    pub transfer: bool,
    /// It is told who calls.
    pub caller_id: bool,
    /// How it rings; `None`: as in the country.
    pub ring: Option<Cadence>,
    /// How waiting messages are shown.
    pub messages: Messages,
    /// The battery is reversed while a call that it made is answered.
    pub reversal: bool,
    /// The battery is cut for so long when the far end hangs up, in ms.
    pub loop_break_ms: Option<u16>,
    /// What is done to its sound.
    pub sound: SoundSettings,
}

/// Which digits a telephone sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialling {
    /// Tones and pulses.
    Both,
    /// Tones alone.
    Tone,
    /// Pulses alone.
    Pulse,
}

/// How waiting messages are shown. All of it may be on at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Messages {
    /// Dial tone stutters.
    pub stutter: bool,
    /// By FSK, for a lamp in the telephone.
    pub fsk: bool,
    /// A lamp lit by voltage.
    pub lamp: bool,
}

/// Fax machines and alarm panels are loud, and hear well.
const MACHINE: SoundSettings = SoundSettings { heard_gain_db: -3, played_gain_db: -6, leaves_echo: true };

const HOTLINE: &str = "digits alone";
const CADENCE: &str = "milliseconds on and off in turn, such as 2000-4000, each from 20 to 10000";

impl Settings for FxsSettings {
    const FIELDS: &'static [Field] = &[
        settings::PORT,
        settings::text("number", "Number", "Its number inside the office.", true),
        settings::text("display_name", "Name shown", "To those it calls.", false),
        settings::choice("dialling", "Dialling", "Which digits it sends.", &["both", "tone", "pulse"]),
        settings::list(
            "numbers",
            "Complete numbers",
            "Dialled as soon as they are complete: x is a digit, [2-9] a choice, a dot at the end more digits.",
        ),
        settings::time(
            "first_digit",
            "First digit",
            "How long dial tone waits; without it as in the country.",
            (1_000, 60_000),
            None,
        ),
        settings::time(
            "between_digits",
            "Between digits",
            "How long is waited for the next one; without it as in the country.",
            (1_000, 60_000),
            None,
        ),
        settings::text("hotline", "Hotline", "Dialled by itself when it is lifted.", false),
        settings::time(
            "hotline_after",
            "Hotline after",
            "So long it can still dial by itself; with 0s only emergency numbers, and until the hotline answers.",
            (0, 60_000),
            Some("0s"),
        ),
        settings::choice(
            "recall",
            "Recall key",
            "What a hook flash means: as in the `country`, `direct` the flash alone, `digit` a digit after it, or `off`.",
            &["country", "direct", "digit", "off"],
        ),
        settings::toggle(
            "call_waiting",
            "Call waiting",
            "A second caller is announced by a beep; not to a fax or an alarm unless it is set.",
            "true",
        ),
        settings::toggle(
            "waiting_caller_id",
            "Waiting caller shown",
            "It is told who waits, with a short gap in the call.",
            "true",
        ),
        settings::toggle("three_way", "Three-way calls", "Two parties can be joined.", "true"),
        settings::toggle(
            "transfer",
            "Transfer",
            "Whoever has called a second party with the recall key, was answered and hangs up joins the two.",
            "true",
        ),
        settings::toggle("caller_id", "Caller shown", "It is told who calls.", "true"),
        settings::text("ring", "Ring", "Milliseconds on and off, such as 1000-4000.", false),
        settings::list("messages", "Waiting messages", "How they are shown: stutter, fsk, lamp."),
        settings::toggle(
            "reversal",
            "Reversal on answer",
            "For a telephone system or a pay telephone that is plugged in.",
            "false",
        ),
        settings::time(
            "loop_break",
            "Loop break",
            "Cuts the battery for so long when the far end hangs up; 0s for never.",
            (0, 1_500),
            Some("0s"),
        ),
        settings::choice(
            "equipment",
            "Plugged in",
            "A fax machine or an alarm panel gets sound without echo canceller, 3 dB weaker from it and 6 dB \
             to it, and no call waiting, where that is not set.",
            &["phone", "fax", "alarm"],
        ),
        settings::GAIN_HEARD,
        settings::GAIN_PLAYED,
    ];

    fn parse(raw: &RawSettings) -> Result<Self, Vec<FieldError>> {
        let mut reading = Reading::new(raw, Self::FIELDS);
        let port = reading.port();
        let number = reading.read("number", "digits or letters without spaces", settings::plain_number);
        let hotline = reading.read("hotline", HOTLINE, settings::digits);
        let hotline_after = reading.time("hotline_after", 0);
        let ring = reading.read("ring", CADENCE, Cadence::parse);
        let numbers =
            reading.each("numbers", "a list of patterns such as 2xx or 0[1-9]xxxxxx.", Pattern::parse);
        let ways = reading.each("messages", "a list of stutter, fsk, lamp", |way| {
            ["stutter", "fsk", "lamp"].into_iter().find(|known| *known == way)
        });
        let shown = |way| if raw.get("messages").is_some() { ways.contains(&way) } else { way != "lamp" };
        let loop_break_ms = match reading.time("loop_break", 0).as_millis() {
            0 => None,
            ms @ 50..=1_500 => u16::try_from(ms).ok(),
            _ => {
                reading.fault("loop_break", "0s, or a time from 50ms to 1500ms");
                None
            }
        };
        let is_machine = matches!(raw.text("equipment"), Some("fax" | "alarm"));
        let settings = port.zip(number).map(|(port, number)| Self {
            port,
            number,
            display_name: raw.text("display_name").map(str::to_owned),
            dialling: match raw.text("dialling") {
                Some("tone") => Dialling::Tone,
                Some("pulse") => Dialling::Pulse,
                Some(_) | None => Dialling::Both,
            },
            numbers,
            first_digit: raw.time_ms("first_digit").map(Duration::from_millis),
            between_digits: raw.time_ms("between_digits").map(Duration::from_millis),
            hotline: hotline.map(|hotline| (hotline, hotline_after)),
            recall: match raw.text("recall") {
                Some("direct") => Some(Recall::Direct),
                Some("digit") => Some(Recall::Digit),
                Some(_) | None => None,
            },
            flash: raw.text("recall") != Some("off"),
            call_waiting: reading.toggle("call_waiting", !is_machine),
            waiting_caller_id: reading.toggle("waiting_caller_id", true),
            three_way: reading.toggle("three_way", true),
            transfer: reading.toggle("transfer", true),
            caller_id: reading.toggle("caller_id", true),
            ring,
            messages: Messages { stutter: shown("stutter"), fsk: shown("fsk"), lamp: shown("lamp") },
            reversal: reading.toggle("reversal", false),
            loop_break_ms,
            sound: if is_machine { MACHINE } else { SoundSettings::default() }.read(raw),
        });
        reading.done(settings)
    }
}

#[cfg(test)]
mod tests {
    use tipring_model::settings::RawValue;

    use super::*;

    #[test]
    fn two_keys_are_enough() {
        let mut raw = RawSettings::new();
        raw.set("port", RawValue::Text("card1/2".into()));
        raw.set("number", RawValue::Text("201".into()));
        let settings = FxsSettings::parse(&raw).unwrap();
        assert_eq!(settings.port.to_string(), "card1/2");
        assert_eq!(settings.messages, Messages { stutter: true, fsk: true, lamp: false });
        assert!(settings.call_waiting && settings.flash && settings.hotline.is_none());
    }

    #[test]
    fn a_machine_gets_its_sound_as_it_is() {
        let mut raw = RawSettings::new();
        raw.set("port", RawValue::Text("card1/2".into()));
        raw.set("number", RawValue::Text("201".into()));
        assert_eq!(FxsSettings::parse(&raw).unwrap().sound, SoundSettings::default());
        raw.set("equipment", RawValue::Text("fax".into()));
        let settings = FxsSettings::parse(&raw).unwrap();
        assert!(settings.sound == MACHINE && !settings.call_waiting);
        // What is set counts.
        raw.set("gain_played_db", RawValue::Number(0));
        raw.set("call_waiting", RawValue::Toggle(true));
        let settings = FxsSettings::parse(&raw).unwrap();
        assert_eq!(settings.sound, SoundSettings { played_gain_db: 0, ..MACHINE });
        assert!(settings.call_waiting);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let mut raw = RawSettings::new();
        for (key, text) in [
            ("port", "card1"),
            ("hotline", "ann"),
            ("ring", "2000"),
            ("loop_break", "10ms"),
            ("recall", "sometimes"),
        ] {
            raw.set(key, RawValue::Text(text.into()));
        }
        raw.set("numbers", RawValue::List(vec!["2xx".into(), "2[x".into()]));
        raw.set("messages", RawValue::List(vec!["horn".into()]));
        let mut keys: Vec<String> =
            FxsSettings::parse(&raw).unwrap_err().into_iter().map(|error| error.key).collect();
        keys.sort();
        assert_eq!(
            keys,
            ["hotline", "loop_break", "messages", "number", "numbers", "port", "recall", "ring"]
        );
    }
}
