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

mod delivery;
mod entry;
mod mark;
mod memory;
mod open;
mod sign;
mod sled_store;
mod store;
mod task;

pub use delivery::{Delivery, Lane, Next, ON_THEIR_WAY_MAX, Outcome, Verdict};
pub use entry::{Class, Entry, EntryError, RECORD_BYTES_MAX};
pub use mark::Mark;
pub use memory::{Fault, MemoryStore};
pub use open::{OpenError, Opened, open, reopen};
pub use sign::{Secret, SecretError, signature};
pub use sled_store::SledStore;
pub use store::{Change, Seq, Store, StoreError};
pub use task::{Found, PutError, Reopen, Spool, SpoolCounters};
