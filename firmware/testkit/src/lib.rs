//! For tests alone: a virtual clock, transcripts of flows, a seeded generator, a telephone, and a
//! line card.

pub mod clock;
pub mod linecard;
pub mod phone;
pub mod random;
pub mod transcript;

pub use clock::Clock;
