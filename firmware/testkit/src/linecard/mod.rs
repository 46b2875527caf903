//! A line card in software: it speaks [the protocol] over a pseudo-terminal and has its sound
//! over ALSA's own `file` plug-in, so that the driver that is tested is the driver of the box.
//! Behind its ports are telephones and an exchange, which do what they are told.
//!
//! `board.rs` is the card without clock and devices, `phone_port.rs` and `line_port.rs` its
//! ports with what is plugged in; `stage.rs` gives it a pseudo-terminal, pipes and a clock.
//! `README.md` says how to use it. Its frames, tones and its ear for keys share no code with the
//! box: the box's mistakes would be its own.
//!
//! [the protocol]: ../../../lines/src/port/linecard/README.md

pub(crate) mod board;
mod caller_id;
pub(crate) mod line_port;
mod order;
mod phone_port;
pub(crate) mod record;
mod stage;
pub(crate) mod tones;
mod wire;

pub use board::Board;
pub use caller_id::bellcore;
pub use order::{Between, Order, Sound, Told};
pub use stage::{Simulator, StageSettings};
