//! For tests alone: a virtual clock, transcripts of flows, a seeded generator, and a telephone.

pub mod clock;
pub mod phone;
pub mod random;
pub mod transcript;

pub use clock::Clock;
