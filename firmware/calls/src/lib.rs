//! The call core: a pure state machine between a flow and the lines.
//!
//! ```text
//!   flow  --FlowOutput-->  Call  --CallOutput-->  shell (lines, media, HTTP)
//!   flow  <--FlowInput---  Call  <--CallInput---  shell
//! ```
//!
//! **Architecture invariant:** no dialect, no socket, no clock, no audio. Each
//! [`Call::handle`] is followed by [`Call::poll`] to `None`. Every call ends with
//! exactly one [`CallOutput::Over`], and every leg is released exactly once.

mod actions;
mod call;
mod collect;
mod contract;
mod dial;
pub mod exchange;
pub mod features;
mod hear;
mod leg;
mod meeting;
mod page;
mod pickup;
mod record;
mod signal;
mod transfer;

pub use call::Call;
pub use contract::{CallInput, CallOutput, Limits, MediaCommand, MediaEvent, Request};
