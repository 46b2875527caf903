//! Analog lines: what the signals of a port mean for legs.
//!
//! `fxs/` is a telephone, `fxo/` a line of the exchange: two machines with one contract, in
//! [`contract`]. They open no device and read no clock. `country.rs` says what they need to
//! know about the country.
//!
//! The rest joins them with a card or a modem: `ears.rs` and `voice.rs` are what they hear and say, `desk.rs`
//! is what the card's thread does, `endpoint.rs` the way between it and the media engine.
//! `switchboard.rs` tells the machines what happens and does what they want, and [`AnalogLines`]
//! waits for it. `watch.rs` says how ports stand and what happened at them, `try_out.rs` tries a
//! line out without a call.

pub mod contract;
pub mod country;
pub mod desk;
pub mod ears;
pub mod endpoint;
pub mod fxo;
pub mod fxs;
pub mod gauges;
pub mod lessons;
pub mod try_out;
pub mod voice;
pub mod watch;

mod canceller;
mod device;
mod lines;
mod modem_line;
mod settings;
mod switchboard;
mod timers;
mod trials;

#[cfg(test)]
mod wire;

pub use device::DeviceFault;
pub use lines::AnalogLines;
pub use settings::{PortName, SoundSettings};
use tipring_model::settings::Settings as _;

use crate::{Driver, LineSettings};

pub use switchboard::{AnalogOptions, AnalogSettings, CardStatus};

/// The telephone's row in the table of drivers.
pub const PHONE: Driver = Driver {
    kind: "fxs",
    fields: fxs::FxsSettings::FIELDS,
    parse: |raw| {
        fxs::FxsSettings::parse(raw)
            .map(|settings| LineSettings::Analog(AnalogSettings::Phone(Box::new(settings))))
    },
};

/// The exchange line's row in the table of drivers.
pub const LINE: Driver = Driver {
    kind: "fxo",
    fields: fxo::FxoSettings::FIELDS,
    parse: |raw| {
        fxo::FxoSettings::parse(raw)
            .map(|settings| LineSettings::Analog(AnalogSettings::Line(Box::new(settings))))
    },
};

/// Name of the audio codec of analog legs.
pub const CODEC: &str = "analog";
