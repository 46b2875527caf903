//! A USB voice modem in software: the commands, events and streams of three families of chips over
//! a pseudo-terminal, with an exchange behind it that does what it is told.
//!
//! `chip.rs` is the modem without clock and devices, `commands.rs` what it makes of its commands,
//! `stage.rs` gives it a pseudo-terminal and a clock. The exchange, its orders and what is told are
//! those of the [line card](crate::linecard). `README.md` says how to use it. It shares no code with
//! the box: the box's mistakes would be its own.

mod chip;
mod commands;
mod stage;

pub use chip::{Chip, Law, Modem, ModemSettings};
pub use stage::{Simulator, StageSettings};
