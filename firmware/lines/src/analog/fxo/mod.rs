//! A line of the exchange at a line port.
//!
//! The machine plays the telephone: it notices that the exchange rings and who calls, takes
//! the line and dials, and finds out what nobody tells it: that the far end answered, and that
//! it hung up. Each sign of either is noted for the record of the call.

mod caller;
mod dialling;
mod machine;
mod placing;
mod ring;
mod settings;
mod standing;
mod supervision;

#[cfg(test)]
mod tests;

pub use machine::Fxo;
pub use settings::{AnswerBy, DistinctiveRing, FxoSettings};
