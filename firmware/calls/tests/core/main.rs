//! The call core, with lines that do what each test says.

mod dialing;
mod meetings;
mod stage;
mod voicemail;
