//! RTP (RFC 3550, RFC 3551): all pure but [`endpoint`], which owns the socket.

pub mod endpoint;
pub mod jitter;
pub mod packet;
pub mod playout;
pub mod session;
pub mod source;
pub mod telephone_event;

pub use endpoint::{Direction, RtpEndpoint, RtpMedia, RtpUpdate};
