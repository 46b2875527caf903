//! A telephone at a phone port.
//!
//! The machine has the hook, the ringer and the digits of one telephone on one side and up to
//! two legs on the other. It plays the exchange: dial tone, ring-back, busy tone, hold, a
//! second call, three-way calls, transfer.
//!
//! Ring-back before the answer is its own tone ([`LineCommand::Alert`]), as a SIP telephone
//! makes its own; sound that comes before the answer, and all that comes after it, is the
//! call's, heard through the leg.
//!
//! [`LineCommand::Alert`]: tipring_model::line::LineCommand::Alert

mod digit_map;
mod legs;
mod machine;
mod messages;
mod over;
mod recall;
mod ringing;
mod settings;
mod standing;
mod transfer;

#[cfg(test)]
mod tests;

pub use digit_map::{DigitMap, Pattern, Verdict};
pub use machine::Fxs;
pub use settings::{Dialling, FxsSettings, Messages};
