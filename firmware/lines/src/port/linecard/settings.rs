//! What is set at a card and its ports. What is not set stays as the card has it.

use tipring_model::settings::{Field, FieldError, FieldKind, Problem, RawSettings, Settings};

use crate::port::{DeviceSettings, PortDriver};

/// The card's row in the table of hardware.
pub const DRIVER: PortDriver = PortDriver {
    kind: "linecard",
    fields: CardSettings::FIELDS,
    parse: |raw| CardSettings::parse(raw).map(DeviceSettings::LineCard),
};

/// How a card is reached, and its ports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CardSettings {
    /// The serial port: `/dev/serial/by-path/...`, so that a card keeps its place.
    pub serial_path: String,
    /// The ALSA device, captured from and played to: `hw:CARD=Tipring`.
    pub audio_device: String,
    /// Each port of the card in turn; ports beyond are as the card has them.
    pub ports: Vec<PortSettings>,
}

const fn needed(key: &'static str, label: &'static str, help: &'static str) -> Field {
    Field { key, label, help, kind: FieldKind::Text { bytes_max: 255 }, default: None, required: true }
}

impl Settings for CardSettings {
    const FIELDS: &'static [Field] = &[
        needed(
            "serial",
            "Serial port",
            "By its place, such as /dev/serial/by-path/..., so that the card keeps its lines.",
        ),
        needed("audio", "Sound device", "The card's name at ALSA, such as hw:CARD=Tipring."),
    ];

    fn parse(raw: &RawSettings) -> Result<Self, Vec<FieldError>> {
        raw.check(Self::FIELDS)?;
        let text = |key: &str, wanted| {
            let text = raw.text(key).map(str::trim).filter(|text| !text.is_empty());
            let fault = || vec![FieldError { key: key.to_owned(), problem: Problem::Malformed { wanted } }];
            text.map(str::to_owned).ok_or_else(fault)
        };
        Ok(Self {
            serial_path: text("serial", "the path of a serial port")?,
            audio_device: text("audio", "the name of an ALSA device")?,
            ports: Vec::new(),
        })
    }
}

/// One port. Each is a key of `CONF`; [the protocol](README.md) has their ranges and what a
/// card takes when they are not set.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PortSettings {
    /// The line's impedance.
    pub impedance: Option<Impedance>,
    /// Gain of what is heard, in tenths of a decibel: -120 to 120.
    pub heard_gain_ddb: Option<i16>,
    /// Gain of what is played, in tenths of a decibel: -120 to 120.
    pub played_gain_ddb: Option<i16>,
    /// Line port: limit of the loop current, in mA: 20 to 160.
    pub current_limit_ma: Option<u16>,
    /// Line port: breaks of the loop from this on are told, in ms: 20 to 1,500.
    pub break_min_ms: Option<u16>,
    /// Line port, dialling by pulses: the loop is closed for so long, in ms: 20 to 100.
    pub pulse_make_ms: Option<u16>,
    /// Line port, dialling by pulses: the loop is open for so long, in ms: 20 to 100.
    pub pulse_break_ms: Option<u16>,
    /// Phone port: frequency of the ringing voltage, in Hz: 16 to 50.
    pub ring_hz: Option<u16>,
    /// Phone port: ringing voltage, in V: 40 to 90.
    pub ring_v: Option<u16>,
    /// Phone port: current that feeds the telephone, in mA: 18 to 45.
    pub feed_ma: Option<u16>,
    /// Phone port: an opening of the loop from this on is a flash, in ms: 20 to 1,500.
    pub flash_min_ms: Option<u16>,
    /// Phone port: an opening of the loop beyond this is hanging up, in ms: 20 to 1,500.
    pub flash_max_ms: Option<u16>,
    /// Phone port: whether digits dialled by pulses are told.
    pub pulses: Option<bool>,
}

/// Impedances of Si3050-class line chips, and of exchanges.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Impedance {
    /// 600 Ω.
    R600,
    /// 900 Ω.
    R900,
    /// 270 Ω + (750 Ω ∥ 150 nF): most of Europe (TBR 21).
    Tbr21,
    /// 220 Ω + (820 Ω ∥ 120 nF): Germany, Austria, Australia, South Africa.
    C220,
    /// 370 Ω + (620 Ω ∥ 310 nF): New Zealand, India.
    C370,
    /// 320 Ω + (1050 Ω ∥ 230 nF): United Kingdom.
    C320,
    /// A compromise that meets the return loss of every country.
    Global,
}

impl Impedance {
    /// The word of the protocol.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::R600 => "600",
            Self::R900 => "900",
            Self::Tbr21 => "270+750|150",
            Self::C220 => "220+820|120",
            Self::C370 => "370+620|310",
            Self::C320 => "320+1050|230",
            Self::Global => "global",
        }
    }
}

impl PortSettings {
    /// Key and value of each that is set.
    pub(super) fn words(&self) -> impl Iterator<Item = (&'static str, String)> {
        let number = |value: Option<u16>| value.map(|value| value.to_string());
        let gain = |value: Option<i16>| value.map(|value| value.to_string());
        [
            ("imp", self.impedance.map(|impedance| impedance.as_str().to_owned())),
            ("gain_rx", gain(self.heard_gain_ddb)),
            ("gain_tx", gain(self.played_gain_ddb)),
            ("limit_ma", number(self.current_limit_ma)),
            ("break_min", number(self.break_min_ms)),
            ("pulse_make", number(self.pulse_make_ms)),
            ("pulse_break", number(self.pulse_break_ms)),
            ("ring_hz", number(self.ring_hz)),
            ("ring_v", number(self.ring_v)),
            ("feed_ma", number(self.feed_ma)),
            ("flash_min", number(self.flash_min_ms)),
            ("flash_max", number(self.flash_max_ms)),
            ("pulses", self.pulses.map(|on| if on { "on" } else { "off" }.to_owned())),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
    }
}
