//! Where messages come from and go to.

use std::net::SocketAddr;

/// The transport of a [`Hop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams: this crate retransmits.
    Udp,
    /// A TCP connection.
    Tcp,
    /// A TLS connection.
    Tls,
}

impl Transport {
    /// As a Via writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        }
    }

    /// True when the transport itself delivers, so that nothing is retransmitted.
    #[must_use]
    pub fn is_reliable(self) -> bool {
        match self {
            Transport::Udp => false,
            Transport::Tcp | Transport::Tls => true,
        }
    }
}

/// One way to a peer: which socket or connection, and the addresses at both ends.
///
/// The shell makes hops; this crate only hands them back. A response always goes out on the hop
/// its request came in on (RFC 3581 §4, RFC 3261 §18.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// The transport.
    pub transport: Transport,
    /// The shell's own number of the socket (UDP) or the connection (TCP, TLS).
    pub socket: u32,
    /// The address this side names in Via and Contact: the socket's own, or the public one when
    /// the shell has learned it.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
}
