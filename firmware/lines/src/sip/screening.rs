//! Who is answered at all. Pure.
//!
//! A message is a trunk's, a telephone's or a stranger's by where it comes from;
//! nothing written in it changes that. Strangers get no answer.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tipring_sip::ua::Peer;

/// A list of IP networks.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Networks(Vec<(IpAddr, u8)>);

/// Not an address or a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an address or a network")]
pub struct BadNetwork;

impl Networks {
    /// Reads `203.0.113.0/24` or a single address, each an entry.
    ///
    /// # Errors
    /// [`BadNetwork`] for the first entry that is neither.
    pub fn parse(entries: &[String]) -> Result<Self, BadNetwork> {
        entries
            .iter()
            .map(|entry| {
                let (address, bits) = match entry.split_once('/') {
                    Some((address, bits)) => (address, Some(bits)),
                    None => (entry.as_str(), None),
                };
                let address: IpAddr = address.trim().parse().map_err(|_| BadNetwork)?;
                let whole = if address.is_ipv4() { 32 } else { 128 };
                let bits =
                    bits.map_or(Ok(whole), |bits| bits.trim().parse::<u8>().map_err(|_| BadNetwork))?;
                if bits > whole { Err(BadNetwork) } else { Ok((address, bits)) }
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Networks in which office telephones live: private, link-local and loopback.
    #[must_use]
    pub fn local() -> Self {
        let entries = [
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "127.0.0.0/8",
            "fc00::/7",
            "fe80::/10",
            "::1",
        ];
        Self::parse(&entries.map(str::to_owned)).unwrap_or_default()
    }

    /// Length of the longest prefix that holds `address`.
    #[must_use]
    pub fn matching_bits(&self, address: IpAddr) -> Option<u8> {
        self.0
            .iter()
            .filter(|(network, bits)| is_within(address, *network, *bits))
            .map(|(_, bits)| *bits)
            .max()
    }

    /// True if there is no network.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address.to_canonical(), network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            (a.to_bits() ^ n.to_bits()) & mask == 0
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            (a.to_bits() ^ n.to_bits()) & mask == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// Failed passwords after which a source is no longer answered.
const FAILURES_MAX: u32 = 5;
/// Time in which they count.
const FAILURES_WITHIN: Duration = Duration::from_secs(300);
/// How long it is not answered.
const BLOCKED_FOR: Duration = Duration::from_secs(1_800);
/// Sources remembered.
const SOURCES_MAX: usize = 4_096;
/// Requests a second from telephones that are not registered: of one source, and
/// of all. Bursts up to this many pass.
const RATE_SOURCE: f64 = 10.0;
const RATE_ALL: f64 = 50.0;

/// Tokens that refill with time.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant, rate: f64) -> bool {
        let refill = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        self.tokens = (self.tokens + refill).min(rate);
        self.at = now;
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

struct Source {
    failures: u32,
    since: Instant,
    blocked_until: Option<Instant>,
    bucket: Bucket,
}

/// One trunk as screening sees it.
struct TrunkPeers {
    line: u32,
    addresses: Vec<IpAddr>,
    networks: Networks,
}

/// Decides who a message is from.
pub(super) struct Screening {
    trunks: Vec<TrunkPeers>,
    phones: Option<Networks>,
    registered: HashSet<SocketAddr>,
    sources: HashMap<IpAddr, Source>,
    all: Bucket,
}

impl Screening {
    /// `phones` are the networks from which telephones may register, if any may.
    pub(super) fn new(now: Instant, phones: Option<Networks>) -> Self {
        Self {
            trunks: Vec::new(),
            phones,
            registered: HashSet::new(),
            sources: HashMap::new(),
            all: Bucket { tokens: RATE_ALL, at: now },
        }
    }

    pub(super) fn add_trunk(&mut self, line: u32, networks: Networks) {
        self.trunks.push(TrunkPeers { line, addresses: Vec::new(), networks });
    }

    /// The trunk's name now stands for these addresses.
    pub(super) fn resolved(&mut self, line: u32, addresses: Vec<IpAddr>) {
        for trunk in self.trunks.iter_mut().filter(|trunk| trunk.line == line) {
            trunk.addresses.clone_from(&addresses);
        }
    }

    /// Replaces the places from which telephones are registered.
    pub(super) fn set_registered(&mut self, places: HashSet<SocketAddr>) {
        self.registered = places;
    }

    /// A telephone failed to prove itself; true if its source is blocked from now.
    pub(super) fn failed(&mut self, now: Instant, source: IpAddr) -> bool {
        let Some(source) = self.source(now, source) else { return false };
        if now.saturating_duration_since(source.since) > FAILURES_WITHIN {
            source.failures = 0;
            source.since = now;
        }
        source.failures += 1;
        let blocks = source.failures >= FAILURES_MAX;
        if blocks {
            source.blocked_until = Some(now + BLOCKED_FOR);
            source.failures = 0;
        }
        blocks
    }

    fn source(&mut self, now: Instant, address: IpAddr) -> Option<&mut Source> {
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&address) {
            let fresh = |source: &Source| {
                source.blocked_until.is_some_and(|until| until > now)
                    || now.saturating_duration_since(source.bucket.at) < Duration::from_secs(60)
            };
            self.sources.retain(|_, source| fresh(source));
            if self.sources.len() >= SOURCES_MAX {
                return None;
            }
        }
        Some(self.sources.entry(address).or_insert_with(|| Source {
            failures: 0,
            since: now,
            blocked_until: None,
            bucket: Bucket { tokens: RATE_SOURCE, at: now },
        }))
    }

    /// Who sent a message from `remote`.
    pub(super) fn peer(&mut self, now: Instant, remote: SocketAddr, message: &[u8]) -> Peer {
        let address = remote.ip();
        if self.registered.contains(&remote) {
            return Peer::Phone;
        }
        let phones = self.phones.as_ref().is_some_and(|phones| phones.matching_bits(address).is_some());
        let registers = message.starts_with(b"REGISTER ");
        let trunk = self.trunk(address);
        match trunk {
            Some(line) if !(registers && phones) => Peer::Trusted(line),
            Some(_) | None if phones => self.unregistered_phone(now, address),
            Some(_) | None => Peer::Unknown,
        }
    }

    /// True for an address of a trunk, or one from which telephones may register.
    pub(super) fn knows(&self, address: IpAddr) -> bool {
        self.trunk(address).is_some()
            || self.phones.as_ref().is_some_and(|phones| phones.matching_bits(address).is_some())
    }

    /// The trunk that names this address most closely.
    fn trunk(&self, address: IpAddr) -> Option<u32> {
        let closeness = |trunk: &TrunkPeers| {
            let resolved = trunk.addresses.contains(&address).then_some(u8::MAX);
            resolved.or_else(|| trunk.networks.matching_bits(address))
        };
        let mut best: Option<(u8, u32)> = None;
        for trunk in &self.trunks {
            if let Some(bits) = closeness(trunk)
                && best.is_none_or(|(known, _)| bits > known)
            {
                best = Some((bits, trunk.line));
            }
        }
        best.map(|(_, line)| line)
    }

    /// One that is not registered yet: answered at a bounded rate, and not at all
    /// after too many wrong passwords.
    fn unregistered_phone(&mut self, now: Instant, address: IpAddr) -> Peer {
        let Some(source) = self.source(now, address) else { return Peer::Unknown };
        if source.blocked_until.is_some_and(|until| until > now) {
            return Peer::Unknown;
        }
        if source.bucket.take(now, RATE_SOURCE) && self.all.take(now, RATE_ALL) {
            Peer::Phone
        } else {
            Peer::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn screening(now: Instant) -> Screening {
        let mut screening = Screening::new(now, Some(Networks::local()));
        screening.add_trunk(1, Networks::parse(&["203.0.113.0/24".to_owned()]).unwrap());
        screening.add_trunk(2, Networks::default());
        screening.resolved(2, vec!["198.51.100.7".parse().unwrap()]);
        screening
    }

    #[test]
    fn where_a_message_comes_from_says_whose_it_is() {
        let now = Instant::now();
        let mut screening = screening(now);
        for (source, message, peer) in [
            ("203.0.113.9:5060", "INVITE ", Peer::Trusted(1)),
            ("198.51.100.7:9999", "INVITE ", Peer::Trusted(2)),
            ("198.51.100.8:5060", "INVITE ", Peer::Unknown),
            ("203.0.113.9:5060", "REGISTER ", Peer::Trusted(1)),
            ("192.168.1.20:5060", "REGISTER ", Peer::Phone),
            ("8.8.8.8:5060", "REGISTER ", Peer::Unknown),
        ] {
            assert_eq!(screening.peer(now, at(source), message.as_bytes()), peer, "{source}");
        }
    }

    #[test]
    fn a_registered_telephone_is_one_even_within_a_trunks_network() {
        let now = Instant::now();
        let mut screening = screening(now);
        screening.add_trunk(3, Networks::parse(&["192.168.0.0/16".to_owned()]).unwrap());
        assert_eq!(screening.peer(now, at("192.168.1.20:5062"), b"INVITE "), Peer::Trusted(3));
        screening.set_registered(HashSet::from([at("192.168.1.20:5062")]));
        assert_eq!(screening.peer(now, at("192.168.1.20:5062"), b"INVITE "), Peer::Phone);
        assert_eq!(screening.peer(now, at("192.168.1.20:5063"), b"INVITE "), Peer::Trusted(3));
        assert_eq!(screening.peer(now, at("192.168.1.20:5063"), b"REGISTER "), Peer::Phone);
    }

    #[test]
    fn too_many_wrong_passwords_silence_a_source_and_no_other() {
        let start = Instant::now();
        let mut screening = screening(start);
        let thief = at("192.168.1.66:5060");
        for n in 1..=FAILURES_MAX {
            assert_eq!(screening.failed(start, thief.ip()), n == FAILURES_MAX);
        }
        assert_eq!(screening.peer(start, thief, b"REGISTER "), Peer::Unknown);
        assert_eq!(screening.peer(start, at("192.168.1.20:5060"), b"REGISTER "), Peer::Phone);
        assert_eq!(screening.peer(start + BLOCKED_FOR, thief, b"REGISTER "), Peer::Phone);
    }

    #[test]
    fn a_flood_is_answered_ten_times_a_second_and_fifty_in_all() {
        let start = Instant::now();
        let mut screening = screening(start);
        let mut answered = |source: &str, now| {
            (0..100).filter(|_| screening.peer(now, at(source), b"REGISTER ") == Peer::Phone).count()
        };
        assert_eq!(answered("192.168.1.66:5060", start), 10);
        assert_eq!(answered("192.168.1.66:5060", start + Duration::from_secs(1)), 10);
        let many: usize =
            (1..=10).map(|n| answered(&format!("192.168.2.{n}:5060"), start + Duration::from_secs(1))).sum();
        assert_eq!(many, 40);
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        let networks =
            Networks::parse(&["10.1.0.0/16".to_owned(), "2001:db8::/32".to_owned(), "0.0.0.0/0".to_owned()])
                .unwrap();
        for (address, bits) in [
            ("10.1.2.3", Some(16)),
            ("10.2.2.3", Some(0)),
            ("2001:db8::5", Some(32)),
            ("::1", None),
            ("::ffff:10.1.2.3", Some(16)),
        ] {
            assert_eq!(networks.matching_bits(address.parse().unwrap()), bits, "{address}");
        }
        for bad in ["10.0.0.0/33", "x", "10.0.0.0/", ""] {
            assert!(Networks::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
