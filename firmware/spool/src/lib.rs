//! Webhooks that are on the disk before anything else happens to them, and stay there
//! until a server has taken them.
//!
//! [`Spool`] is the way to a thread that alone touches the disk, through a [`Store`].
//! [`Delivery`] decides, without clock or socket, whose turn it is. What is sent, and by
//! what, is the daemon's.
//!
//! **Architecture invariant:** [`Spool::put`] has answered only once the record would
//! survive the loss of power. sled's own `flush` does not see to that: it ends in
//! `sync_file_range`, which says nothing to the drive and nothing about the file's
//! length. So the store syncs the file itself, once for all that waits.

#![forbid(unsafe_code)]

mod class;
mod contents;
mod delivery;
mod entry;
mod examine;
mod export;
mod lost;
mod mark;
mod memory;
mod open;
mod overflow;
mod reserve;
mod salvage;
mod sign;
mod sled_store;
mod store;
mod task;

pub use class::{ByClass, Class};
pub use contents::Shelf;
pub use delivery::{
    Alarm, Delivery, Item, Lane, Mood, Next, ON_THEIR_WAY_MAX, Outcome, Pace, Reply, Standing, Verdict,
};
pub use entry::{End, Entry, EntryError, RECORD_BYTES_MAX, REPLY_BYTES_MAX, SEQ_MAX, State, Why};
pub use examine::{Examined, examine, examine_each};
pub use export::{EXPORT_HEADER, export_end, exported};
pub use lost::{Before, Lost, unsearched};
pub use mark::Mark;
pub use memory::{Fault, MemoryStore};
pub use open::{OpenError, Opened, Probe, open, open_probed, reopen};
pub use reserve::tend_reserve;
pub use salvage::{Salvaged, salvage};
pub use sign::{Secret, SecretError, signature};
pub use sled_store::SledStore;
pub use store::{Change, Seq, Store, StoreError};
pub use task::{Answered, Found, PutError, Reopen, Spool, SpoolCounters};
