//! What all SIP lines are told, and what they count.

use std::net::{IpAddr, SocketAddr};

use super::screening::Networks;

/// What all SIP lines have in common.
#[derive(Clone, Debug)]
pub struct SipOptions {
    /// UDP address to listen on.
    pub udp: Option<SocketAddr>,
    /// TCP address to listen on.
    pub tcp: Option<SocketAddr>,
    /// First and last port for audio; `None` lets the system choose.
    pub rtp_udp_ports: Option<(u16, u16)>,
    /// Address that peers beyond a router must use.
    pub public_address: Option<IpAddr>,
    /// Networks from which telephones may register.
    pub phones_from: Networks,
    /// Calls at one time; more are refused with 503.
    pub calls_max: usize,
    /// Name of the box, the realm of its challenges.
    pub realm: String,
}

/// What there is now, and what was since the start.
#[derive(Clone, Copy, Default, Debug)]
pub struct SipCounters {
    /// Legs of SIP lines.
    pub legs: usize,
    /// Dialogs of the user agent.
    pub dialogs: usize,
    /// Transactions.
    pub transactions: usize,
    /// Timers.
    pub timers: usize,
    /// Subscriptions of telephones to lamps.
    pub subscriptions: usize,
    /// Messages of strangers, not answered.
    pub silent_drops: u64,
    /// Bytes that were no message.
    pub malformed: u64,
    /// Wrong passwords.
    pub auth_failures: u64,
    /// Requests refused for overload.
    pub overloaded: u64,
}
