//! USB voice modems as lines of an exchange: ITU-T V.253, the commands of CX93001, CX93010, USR5637
//! and whatever is like them.
//!
//! [The dialogue](README.md) is a document, and the bytes on the wire are compared with it.
//! `shield.rs` tells sound from events, `samples.rs` has the forms of samples, `stream.rs` what
//! waits in the modem; `answers.rs` and `caller.rs` read what it writes, `quirks.rs` is a row a chip,
//! `dialogue.rs` what is said in which order, `contract.rs` what goes into a session and what comes
//! out, and `session.rs` the machine over all of them (what comes from the modem is in
//! `session/incoming.rs`): pure, all of these. `modem.rs` is the thread that owns the serial port.

mod answers;
mod caller;
mod contract;
mod country_codes;
mod dialogue;
mod modem;
mod quirks;
mod samples;
mod session;
mod settings;
mod shield;
mod stream;

pub use answers::Identity;
pub use contract::{ChipTone, Input, ModemInfo, Output, SessionCounters, SessionFault, SessionState};
pub use country_codes::t35_code;
pub use modem::{Modem, ModemEvent, ModemFault};
pub use quirks::{Chip, Quirks};
pub use samples::SampleFormat;
pub use session::{Session, WATCHDOG_EVERY};
pub use settings::{DRIVER, ModemSettings};
pub use shield::{Unshielded, Unshielder, shield};
