//! Who may be heard: symmetric RTP with a learning window.
//!
//! A peer behind a network address translator sends from elsewhere than its SDP
//! says, so the true source must be learned; but whoever learns from anybody can be
//! talked to by anybody. The rules, which the security specification sets:
//!
//! - only addresses in the same /24 (IPv6: /64) as the SDP address or the signalling
//!   address are considered at all;
//! - learning lasts from the first such packet until the fifth or for 500 ms; a
//!   packet from the very SDP address and port ends it at once;
//! - then one source is locked: nothing else is heard, nothing else is answered, except
//!   that a neighbour yields to the signalled host itself at any time;
//! - until then, we send to the SDP address only, and never to a mere neighbour: a peer
//!   behind a translator has the address that its signalling comes from, and a provider
//!   whose media leaves by another machine still wants it where its SDP says;
//! - only a new offer or answer starts learning afresh.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

/// Packets after which the source is locked.
pub const LEARN_PACKETS: u8 = 5;
/// Time after which the source is locked.
pub const LEARN_TIME: Duration = Duration::from_millis(500);
/// Sources that can compete in the window; further ones are turned away.
const CANDIDATES_MAX: usize = 4;

/// A source seen in the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Candidate {
    source: SocketAddr,
    /// 1 if it has the signalled host's own address, 0 if it is a neighbour.
    rank: u8,
    packets: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Learning { since: Option<Instant>, packets: u8, candidates: [Option<Candidate>; CANDIDATES_MAX] },
    Locked { source: SocketAddr, rank: u8 },
}

/// Decides for each packet whether its source is the peer.
#[derive(Clone, Copy, Debug)]
pub struct SourceGate {
    /// Where the SDP says that media goes; none while on hold without an address.
    remote: Option<SocketAddr>,
    signalling: Option<IpAddr>,
    state: State,
}

/// What to do with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It comes from the peer.
    Hear,
    /// It comes from the peer, whose source has just been settled or changed: what
    /// was heard before is to be forgotten.
    HearAfresh,
    /// It comes from elsewhere: count it, nothing more.
    Reject,
}

impl SourceGate {
    /// Starts learning.
    #[must_use]
    pub const fn new(remote: Option<SocketAddr>, signalling: Option<IpAddr>) -> Self {
        Self {
            remote,
            signalling,
            state: State::Learning { since: None, packets: 0, candidates: [None; CANDIDATES_MAX] },
        }
    }

    /// Where to send: the locked source, or the SDP address until there is one, and for
    /// as long as only a neighbour of the signalled host speaks.
    #[must_use]
    pub const fn destination(&self) -> Option<SocketAddr> {
        match self.state {
            State::Learning { .. } | State::Locked { rank: 0, .. } => self.remote,
            State::Locked { source, .. } => Some(source),
        }
    }

    /// True once the source is settled.
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        matches!(self.state, State::Locked { .. })
    }

    /// Judges a well-formed packet that came from `source`.
    pub fn judge(&mut self, now: Instant, source: SocketAddr) -> Verdict {
        let source = plain(source);
        let own_rank = self.rank(source);
        let (since, packets, candidates) = match &mut self.state {
            State::Locked { source: peer, .. } if *peer == source => return Verdict::Hear,
            State::Locked { rank: 0, .. } if own_rank >= Some(1) => {
                self.state = State::Locked { source, rank: 1 };
                return Verdict::HearAfresh;
            }
            State::Locked { .. } => return Verdict::Reject,
            State::Learning { since, packets, candidates } => (since, packets, candidates),
        };
        if self.remote == Some(source) {
            let fresh = candidates.iter().flatten().next().is_some();
            self.state = State::Locked { source, rank: 1 };
            return if fresh { Verdict::HearAfresh } else { Verdict::Hear };
        }
        let Some(rank) = own_rank else { return Verdict::Reject };
        let before = best(candidates).map(|c| c.source);
        let known = candidates.iter_mut().flatten().find(|c| c.source == source);
        if let Some(known) = known {
            known.packets = known.packets.saturating_add(1);
        } else if let Some(place) = candidates.iter_mut().find(|c| c.is_none()) {
            *place = Some(Candidate { source, rank, packets: 1 });
        }
        *packets += 1;
        let began = *since.get_or_insert(now);
        let chosen = best(candidates).map(|c| c.source);
        let rank = best(candidates).map_or(0, |c| c.rank);
        let over = *packets >= LEARN_PACKETS || now.saturating_duration_since(began) >= LEARN_TIME;
        if let (true, Some(peer)) = (over, chosen) {
            self.state = State::Locked { source: peer, rank };
        }
        match chosen {
            Some(chosen) if chosen == source && before.is_some_and(|b| b != source) => Verdict::HearAfresh,
            Some(chosen) if chosen == source => Verdict::Hear,
            Some(_) | None => Verdict::Reject,
        }
    }

    /// 1 for a signalled host's own address, 0 for a neighbour's; none for others.
    fn rank(&self, source: SocketAddr) -> Option<u8> {
        [self.remote.map(|remote| remote.ip()), self.signalling]
            .into_iter()
            .flatten()
            .filter(|host| same_network(*host, source.ip()))
            .map(|host| u8::from(host == source.ip()))
            .max()
    }
}

/// The candidate to believe: the signalled host before its neighbours, then the one
/// with more packets, then the earlier.
fn best(candidates: &[Option<Candidate>]) -> Option<Candidate> {
    candidates
        .iter()
        .flatten()
        .copied()
        .reduce(|best, next| if (next.rank, next.packets) > (best.rank, best.packets) { next } else { best })
}

/// An IPv4 address that came through an IPv6 socket, as itself.
fn plain(source: SocketAddr) -> SocketAddr {
    SocketAddr::new(source.ip().to_canonical(), source.port())
}

fn same_network(a: IpAddr, b: IpAddr) -> bool {
    match (a.to_canonical(), b.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.octets()[..3] == b.octets()[..3],
        (IpAddr::V6(a), IpAddr::V6(b)) => a.segments()[..4] == b.segments()[..4],
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn gate() -> (SourceGate, Instant) {
        (SourceGate::new(Some(at("192.0.2.10:4000")), Some(at("198.51.100.7:1").ip())), Instant::now())
    }

    #[test]
    fn sec_e01_a_neighbour_is_never_sent_to_and_yields_to_the_signalled_host() {
        let (mut gate, now) = gate();
        let neighbour = at("192.0.2.99:666");
        for _ in 0..20 {
            assert_eq!(gate.judge(now, neighbour), Verdict::Hear);
            assert_eq!(gate.destination(), Some(at("192.0.2.10:4000")), "the silent peer keeps its sound");
        }
        assert!(gate.is_locked());
        let peer = at("198.51.100.7:31000");
        assert_eq!(gate.judge(now, peer), Verdict::HearAfresh);
        assert_eq!(gate.judge(now, peer), Verdict::Hear);
        assert_eq!(gate.judge(now, neighbour), Verdict::Reject);
        assert_eq!(gate.destination(), Some(peer));
    }

    #[test]
    fn sec_e03_strangers_are_never_heard_nor_answered() {
        let (mut gate, now) = gate();
        for n in 0..1_000 {
            let stranger = SocketAddr::new([203, 0, 113, 5].into(), 1_000 + n);
            assert_eq!(gate.judge(now, stranger), Verdict::Reject);
        }
        assert_eq!(gate.destination(), Some(at("192.0.2.10:4000")));
        assert!(!gate.is_locked());
        assert_eq!(gate.judge(now, at("192.0.2.10:4000")), Verdict::Hear);
        assert!(gate.is_locked());
    }

    #[test]
    fn sec_e03_a_neighbour_that_comes_first_yields_to_the_signalled_source() {
        let (mut gate, now) = gate();
        assert_eq!(gate.judge(now, at("192.0.2.99:7")), Verdict::Hear);
        assert_eq!(gate.destination(), Some(at("192.0.2.10:4000")));
        assert_eq!(gate.judge(now, at("192.0.2.10:4000")), Verdict::HearAfresh);
        assert_eq!(gate.judge(now, at("192.0.2.99:7")), Verdict::Reject);
    }

    #[test]
    fn sec_e03_five_packets_lock_and_the_sixth_from_elsewhere_is_refused() {
        let (mut gate, now) = gate();
        // The same host, another port: a translator at work.
        for _ in 0..4 {
            assert_eq!(gate.judge(now, at("192.0.2.10:61000")), Verdict::Hear);
            assert!(!gate.is_locked());
        }
        assert_eq!(gate.judge(now, at("192.0.2.10:61000")), Verdict::Hear);
        assert_eq!(gate.destination(), Some(at("192.0.2.10:61000")));
        // Even the address of the SDP comes too late now.
        assert_eq!(gate.judge(now, at("192.0.2.10:4000")), Verdict::Reject);
        assert_eq!(gate.judge(now, at("192.0.2.10:61001")), Verdict::Reject);
    }

    #[test]
    fn half_a_second_locks_too_and_the_signalling_host_counts() {
        let (mut gate, now) = gate();
        assert_eq!(gate.judge(now, at("198.51.100.9:5")), Verdict::Hear);
        assert_eq!(gate.judge(now, at("198.51.100.7:9")), Verdict::HearAfresh);
        assert_eq!(gate.judge(now + LEARN_TIME, at("198.51.100.9:5")), Verdict::Reject);
        assert_eq!(gate.destination(), Some(at("198.51.100.7:9")));
    }

    #[test]
    fn sixth_version_networks_are_compared_by_64_bits_and_mapped_addresses_unmapped() {
        let now = Instant::now();
        let mut gate = SourceGate::new(Some(at("[2001:db8::1]:4000")), None);
        assert_eq!(gate.judge(now, at("[2001:db8:0:1::1]:4000")), Verdict::Reject);
        assert_eq!(gate.judge(now, at("[2001:db8::2]:9")), Verdict::Hear);
        let mut gate = SourceGate::new(Some(at("192.0.2.10:4000")), None);
        assert_eq!(gate.judge(now, at("[::ffff:192.0.2.10]:4000")), Verdict::Hear);
    }
}
