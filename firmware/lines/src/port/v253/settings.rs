//! What is set at a modem.

use tipring_model::settings::{Field, FieldError, FieldKind, Problem, RawSettings, Settings};

use super::quirks::Chip;
use crate::port::{DeviceSettings, PortDriver};

/// The modem's row in the table of hardware.
pub const DRIVER: PortDriver = PortDriver {
    kind: "v253",
    tried_with: &[],
    fields: ModemSettings::FIELDS,
    parse: |raw| ModemSettings::parse(raw).map(DeviceSettings::Modem),
};

/// How a modem is reached, and what it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModemSettings {
    /// The serial port: `/dev/serial/by-path/...`, so that a modem keeps its line.
    pub serial_path: String,
    /// The chip that it is treated as; `None`: as it says itself.
    pub chip: Option<Chip>,
    /// The country as `+GCI` has it (ITU-T T.35); `None` leaves it as it is.
    pub country: Option<u8>,
}

impl Settings for ModemSettings {
    const FIELDS: &'static [Field] = &[
        Field {
            key: "serial",
            label: "Serial port",
            help: "Where the modem is, such as /dev/serial/by-path/...",
            kind: FieldKind::Text { bytes_max: 255 },
            default: None,
            required: true,
        },
        Field {
            key: "chip",
            label: "Chip",
            help: "The family of its chip; `auto` asks the modem.",
            kind: FieldKind::Choice(&["auto", "conexant", "usr", "generic"]),
            default: Some("auto"),
            required: false,
        },
    ];

    fn parse(raw: &RawSettings) -> Result<Self, Vec<FieldError>> {
        raw.check(Self::FIELDS)?;
        let serial = raw.text("serial").map(str::trim).filter(|text| !text.is_empty());
        let problem = Problem::Malformed { wanted: "the path of a serial port" };
        let fault = || vec![FieldError { key: String::from("serial"), problem }];
        Ok(Self {
            serial_path: serial.map(str::to_owned).ok_or_else(fault)?,
            chip: raw.text("chip").and_then(Chip::from_word),
            country: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use tipring_model::settings::RawValue;

    use super::*;

    #[test]
    fn a_serial_port_is_enough() {
        let mut raw = RawSettings::new();
        assert_eq!(ModemSettings::parse(&raw).unwrap_err()[0].key, "serial");
        raw.set("serial", RawValue::Text("/dev/modem".into()));
        let settings = ModemSettings::parse(&raw).unwrap();
        assert_eq!((settings.serial_path.as_str(), settings.chip), ("/dev/modem", None));
        raw.set("chip", RawValue::Text("usr".into()));
        assert_eq!(ModemSettings::parse(&raw).unwrap().chip, Some(Chip::Usr));
        raw.set("chip", RawValue::Text("rockwell".into()));
        assert_eq!(ModemSettings::parse(&raw).unwrap_err()[0].key, "chip");
    }
}
