//! Audio: legs, what they hear and say, and the thread that keeps their time.
//!
//! - [`Engine`] moves 20 ms frames between [`Endpoint`]s, from [`Prompt`]s and into
//!   recordings, in slots of 5 ms. It is told what to do by [`Command`]s and answers
//!   with [`Event`]s; both cross wait-free rings.
//! - [`MediaThread`] gives it a clock, sockets and priority.
//! - [`rtp`] is the endpoint for SIP legs, [`codec`] what they speak, [`dsp`] the
//!   signal processing, one piece a file. [`wav`] reads and writes recordings.
//!
//! **Architecture invariants:** no tokio, no files, no locks. Only `thread.rs` reads a
//! clock. What runs in [`Engine::tick`] allocates and frees nothing
//! (`tests/no_alloc.rs`). Media knows legs by their ids and nothing of calls.

pub mod codec;
pub mod dsp;
pub mod rtp;
pub mod wav;

mod booth;
mod command;
mod endpoint;
mod engine;
mod frame;
mod leg;
mod patch;
mod play;
mod prompt;
mod thread;
mod wake;

pub use booth::booth;
pub use command::{AttachedLeg, Command, Event, PlaySource, RecordWhat, Refusal, Returned};
pub use dsp::tone::{ToneSegment, ToneSpec};
pub use endpoint::{Decoded, Endpoint, EventStep, LegStats, Received, RelayFormat, RelayPacket, RelayRead};
pub use engine::{Counters, Engine, Limits, SLOT_MS};
pub use frame::{FRAME_MS, FRAME_SAMPLES_MAX, Frame, Rate};
pub use leg::{RECORDS_MAX, SOURCES_MAX};
pub use patch::patch;
pub use play::PLAYS_MAX;
pub use prompt::Prompt;
pub use thread::{Granted, MediaThread, SpawnError, ThreadCounters, ThreadOptions};
pub use wake::{CommandSender, CommandsFull, EventReceiver};
