//! Analog lines: what the signals of a port mean for legs.
//!
//! `fxs/` is a telephone, `fxo/` a line of the exchange: two machines with one contract, in
//! [`contract`]. They open no device and read no clock. `country.rs` says what they need to
//! know about the country.
//!
//! The rest joins them with a card: `ears.rs` and `voice.rs` are what they hear and say, `desk.rs`
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
mod lines;
mod settings;
mod switchboard;
mod timers;
mod trials;

#[cfg(test)]
mod wire;

pub use lines::AnalogLines;
pub use settings::{PortName, SoundSettings};
pub use switchboard::{AnalogOptions, AnalogSettings, CardStatus};

/// Name of the audio codec of analog legs.
pub const CODEC: &str = "analog";
