//! Fields that both kinds of analog lines have, and how they are read.

use std::time::Duration;

use tipring_model::Digits;
use tipring_model::settings::{Field, FieldError, FieldKind, Problem, RawSettings};

/// The socket of a device: `card1/2` is the second port of the device `card1`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PortName {
    /// Name of the device in the configuration.
    pub device: String,
    /// Which of its ports, from 1.
    pub number: u16,
}

impl PortName {
    /// Reads `card1/2`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (device, number) = text.trim().rsplit_once('/')?;
        let is_name = !device.is_empty()
            && device.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.');
        let number = number.parse().ok().filter(|number| *number > 0)?;
        is_name.then(|| Self { device: device.to_owned(), number })
    }
}

impl core::fmt::Display for PortName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}", self.device, self.number)
    }
}

pub(super) const PORT: Field = Field {
    key: "port",
    label: "Port",
    help: "Device and socket, such as card1/2 for the second one of card1.",
    kind: FieldKind::Text { bytes_max: 64 },
    default: None,
    required: true,
};

pub(super) const fn text(
    key: &'static str,
    label: &'static str,
    help: &'static str,
    required: bool,
) -> Field {
    Field { key, label, help, kind: FieldKind::Text { bytes_max: 64 }, default: None, required }
}

pub(super) const fn toggle(
    key: &'static str,
    label: &'static str,
    help: &'static str,
    default: &'static str,
) -> Field {
    Field { key, label, help, kind: FieldKind::Toggle, default: Some(default), required: false }
}

pub(super) const fn list(key: &'static str, label: &'static str, help: &'static str) -> Field {
    Field { key, label, help, kind: FieldKind::List { entries_max: 32 }, default: None, required: false }
}

pub(super) const fn choice(
    key: &'static str,
    label: &'static str,
    help: &'static str,
    choices: &'static [&'static str],
) -> Field {
    let default = match choices {
        [first, ..] => Some(*first),
        [] => None,
    };
    Field { key, label, help, kind: FieldKind::Choice(choices), default, required: false }
}

/// Gains of a port, in whole decibels.
const GAIN_DB: FieldKind = FieldKind::Number { min: -12, max: 12, unit: "dB" };

/// Gain of what is heard from the wire.
pub(super) const GAIN_HEARD: Field = Field {
    key: "gain_heard_db",
    label: "Gain, heard",
    help: "What comes from the wire is made so much louder, or weaker if negative.",
    kind: GAIN_DB,
    default: None,
    required: false,
};

/// Gain of what is played to the wire.
pub(super) const GAIN_PLAYED: Field = Field {
    key: "gain_played_db",
    label: "Gain, played",
    help: "What is played to the wire is made so much louder, or weaker if negative.",
    kind: GAIN_DB,
    default: None,
    required: false,
};

/// What is done to the sound of a port.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SoundSettings {
    /// Gain of what is heard, in dB: -12 to 12.
    pub heard_gain_db: i8,
    /// Gain of what is played, in dB: -12 to 12.
    pub played_gain_db: i8,
    /// The echo is left as it is: for machines, which hear better than they are helped.
    pub leaves_echo: bool,
}

impl SoundSettings {
    /// The gains of `raw`, where they are set.
    pub(super) fn read(self, raw: &RawSettings) -> Self {
        let gain = |key, default| raw.number(key).and_then(|db| i8::try_from(db).ok()).unwrap_or(default);
        Self {
            heard_gain_db: gain(GAIN_HEARD.key, self.heard_gain_db),
            played_gain_db: gain(GAIN_PLAYED.key, self.played_gain_db),
            ..self
        }
    }
}

pub(super) const fn time(
    key: &'static str,
    label: &'static str,
    help: &'static str,
    (min_ms, max_ms): (u64, u64),
    default: Option<&'static str>,
) -> Field {
    Field { key, label, help, kind: FieldKind::Time { min_ms, max_ms }, default, required: false }
}

/// What is read of a group, and every mistake in it.
pub(super) struct Reading<'a> {
    pub(super) raw: &'a RawSettings,
    errors: Vec<FieldError>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(raw: &'a RawSettings, fields: &[Field]) -> Self {
        Self { raw, errors: raw.check(fields).err().unwrap_or_default() }
    }

    pub(super) fn fault(&mut self, key: &str, wanted: &'static str) {
        self.errors.push(FieldError { key: key.to_owned(), problem: Problem::Malformed { wanted } });
    }

    /// The text of `key`, read by `parse`; `None` when it is absent or wrong.
    pub(super) fn read<T>(
        &mut self,
        key: &str,
        wanted: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.raw.text(key)?;
        let value = parse(text);
        if value.is_none() {
            self.fault(key, wanted);
        }
        value
    }

    /// Each text of a list.
    pub(super) fn each<T>(
        &mut self,
        key: &str,
        wanted: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let read: Vec<Option<T>> = self.raw.list(key).iter().map(|text| parse(text)).collect();
        if read.iter().any(Option::is_none) {
            self.fault(key, wanted);
        }
        read.into_iter().flatten().collect()
    }

    pub(super) fn toggle(&self, key: &str, default: bool) -> bool {
        self.raw.toggle(key).unwrap_or(default)
    }

    /// The time of `key`, or `default_ms`.
    pub(super) fn time(&self, key: &str, default_ms: u64) -> Duration {
        Duration::from_millis(self.raw.time_ms(key).unwrap_or(default_ms))
    }

    pub(super) fn port(&mut self) -> Option<PortName> {
        self.read("port", "a device and a number from 1, such as card1/2", PortName::parse)
    }

    /// `value`, if nothing was wrong.
    pub(super) fn done<T>(self, value: Option<T>) -> Result<T, Vec<FieldError>> {
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            Some(_) | None => Err(self.errors),
        }
    }
}

/// Digits and nothing else, at least one of them.
pub(super) fn digits(text: &str) -> Option<Digits> {
    Digits::parse(text).filter(|digits| !digits.is_empty())
}

/// A number of the office: digits or letters without spaces.
pub(super) fn plain_number(text: &str) -> Option<String> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+*#".contains(&b));
    plain.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_a_device_and_a_number_from_1() {
        for (text, expected) in [
            ("card1/2", Some(("card1", 2))),
            (" modem-a/1 ", Some(("modem-a", 1))),
            ("card1", None),
            ("card1/0", None),
            ("/2", None),
            ("card 1/2", None),
            ("card1/x", None),
        ] {
            let read = PortName::parse(text);
            assert_eq!(read.as_ref().map(|port| (port.device.as_str(), port.number)), expected, "{text}");
        }
    }
}
