//! The vocabulary of Tipring: plain data that crosses a boundary between two
//! boxes of the architecture, and the [`Flow`](flow::Flow) and
//! [`Settings`](settings::Settings) contracts.
//!
//! **Architecture invariant:** standard library only, no clock, no socket, no
//! file, no thread. Whatever two boxes both need to *name* lives here; whatever
//! they need to *do* does not.

pub mod call;
pub mod cause;
pub mod digit;
pub mod directory;
pub mod fetch;
pub mod flow;
pub mod id;
pub mod lamp;
pub mod letter;
pub mod line;
pub mod number;
pub mod prompt;
pub mod recordings;
pub mod settings;
pub mod signal;

pub use cause::Cause;
pub use digit::{Digit, DigitPath, DigitSet, Digits};
pub use id::{ActionId, CallId, FetchId, LegId, LineId, MessageId, PlayId, RecordId};
pub use number::{CallerId, Number};
