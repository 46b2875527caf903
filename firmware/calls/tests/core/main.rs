//! The call core, with lines that do what each test says.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod booths;
mod dialing;
mod ending;
mod hearing;
mod meetings;
mod office;
mod signalling;
mod stage;
mod transfers;
mod voicemail;
