//! Analog lines: what the signals of a port mean for legs.
//!
//! `fxs/` is a telephone, `fxo/` a line of the exchange: two machines with one contract, in
//! [`contract`]. They open no device and read no clock. `country.rs` says what they need to
//! know about the country.

pub mod contract;
pub mod country;
pub mod fxo;
pub mod fxs;

mod settings;
mod timers;

#[cfg(test)]
mod wire;

/// Name of the audio codec of analog legs.
pub const CODEC: &str = "analog";
