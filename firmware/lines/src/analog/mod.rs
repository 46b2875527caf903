//! Analog lines: what the signals of a port mean for legs.
//!
//! `fxs/` is a telephone, `fxo/` a line of the exchange: two machines with one contract, in
//! [`contract`]. They open no device and read no clock.

pub mod contract;
