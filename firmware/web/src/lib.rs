//! The box's web side: who listens, how much of it there may be, the HTTP control API, and
//! recordings.
//!
//! **Architecture invariant:** nothing here knows a call, a line or a flow. What a request wants of
//! the daemon it asks over a bounded channel ([`asks::Ask`]), and waits for the answer with a limit.
//! Commands, tokens, fields and patterns are pure functions: bytes and a time in, an answer out.

pub mod access;
pub mod asks;
pub mod certificate;
pub mod control;
mod guests;
pub mod history;
pub mod listen;
mod patience;
pub mod platform_api;
pub mod recordings;
