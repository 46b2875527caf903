//! For tests alone: a virtual clock, transcripts of flows, a seeded generator, a telephone, a line
//! card, and a modem.

pub mod clock;
pub mod console;
pub mod linecard;
pub mod modem;
pub mod phone;
pub mod random;
pub mod transcript;

mod stage;
mod terminal;

pub use clock::Clock;
