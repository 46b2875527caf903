//! SIP lines: trunks to providers and telephones that register here.
//!
//! `lamps.rs` says what others see of a telephone, `legs.rs` keeps legs and their session descriptions, `screening.rs` decides who
//! is answered at all, `stack.rs` joins the two with the protocol of `tipring-sip`
//! and owns nothing that waits; `transfers.rs` puts other parties on a leg; `transport.rs` owns the sockets and the clock.

mod facts;
mod lamps;
mod legs;
mod options;
mod random;
mod screening;
mod settings;
mod signals;
mod sockets;
mod stack;
mod transfers;
mod transport;

pub use options::{SipCounters, SipOptions};
pub use screening::Networks;
pub use settings::{LampShows, PHONE, PhoneSettings, SipSettings, TRUNK, TrunkSettings};
pub use transport::{SipError, SipLines, TooManyLamps};
