//! Finds ports for audio, and the address that a peer sees of us.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Hands out bound UDP sockets for audio.
pub(super) struct RtpSockets {
    /// First and last port, or any.
    range: Option<(u16, u16)>,
    next: u16,
}

impl RtpSockets {
    pub(super) const fn new(range: Option<(u16, u16)>) -> Self {
        let next = match range {
            Some((first, _)) => first,
            None => 0,
        };
        Self { range, next }
    }

    /// A socket on an even port of the range (RFC 3550 §11).
    ///
    /// # Errors
    /// When every port is taken.
    pub(super) fn bind(&mut self, address: IpAddr) -> io::Result<UdpSocket> {
        let Some((first, last)) = self.range else { return UdpSocket::bind((address, 0)) };
        let even = first.saturating_add(first % 2);
        let pairs = (last.saturating_sub(even) / 2).saturating_add(1);
        let mut failure = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..pairs {
            let port = self.next.max(even) & !1;
            self.next = if port.saturating_add(3) > last { even } else { port + 2 };
            match UdpSocket::bind((address, port)) {
                Ok(socket) => return Ok(socket),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// Which of our addresses a peer is reached from.
#[derive(Default)]
pub(super) struct LocalAddresses {
    known: HashMap<IpAddr, IpAddr>,
}

/// Peers remembered.
const KNOWN_MAX: usize = 1_024;

impl LocalAddresses {
    /// The address that the system would use towards `peer`; a socket bound to one
    /// address has that.
    pub(super) fn towards(&mut self, bound: IpAddr, peer: IpAddr) -> IpAddr {
        if !bound.is_unspecified() {
            return bound;
        }
        if let Some(known) = self.known.get(&peer) {
            return *known;
        }
        let found = route(bound, peer).unwrap_or(bound);
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(peer, found);
        found
    }

    /// Addresses may have changed.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}

/// Connecting a UDP socket sends nothing; it only asks for the route.
fn route(bound: IpAddr, peer: IpAddr) -> io::Result<IpAddr> {
    const ANY_PORT: u16 = 9;
    let socket = UdpSocket::bind((bound, 0))?;
    socket.connect(SocketAddr::new(peer, ANY_PORT))?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn ports_are_even_and_a_full_range_says_so() {
        // Whatever the machine has free; the range holds three even ports.
        let anchor = UdpSocket::bind((HERE, 0)).unwrap().local_addr().unwrap().port();
        let first = anchor.min(60_000) & !1;
        let mut sockets = RtpSockets::new(Some((first, first + 5)));
        let mut held = Vec::new();
        while let Ok(socket) = sockets.bind(HERE) {
            assert_eq!(socket.local_addr().unwrap().port() % 2, 0);
            held.push(socket);
            assert!(held.len() <= 3);
        }
        assert!(!held.is_empty());
    }

    #[test]
    fn the_address_towards_loopback_is_loopback() {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        assert_eq!(LocalAddresses::default().towards(any, HERE), HERE);
    }
}
