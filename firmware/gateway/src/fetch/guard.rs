//! Which addresses flows may talk to.
//!
//! Flows are written by others, so a URL in one must not reach what only the box can
//! reach. Addresses of the public internet are free. Addresses of the office are
//! refused unless the owner listed them, the box's own and link-local ones unless
//! listed one by one, and what the box itself listens on always.
//!
//! Pure: names are resolved elsewhere, and the verdict is asked about the very address
//! that is connected to next, so that a name cannot change its meaning in between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Most entries of an [`AllowList`].
pub(crate) const ENTRIES_MAX: usize = 256;

/// Why a configured entry is no target.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum AllowError {
    /// Neither `host:port`, `address:port`, `network/prefix` nor `network/prefix:port`.
    #[error("{entry:?} is none of host:port, address:port, network/prefix, network/prefix:port")]
    Form {
        /// The entry.
        entry: String,
    },
    /// The port is not from 1 to 65535.
    #[error("{entry:?} has no port from 1 to 65535")]
    Port {
        /// The entry.
        entry: String,
    },
    /// The prefix is longer than the address.
    #[error("{entry:?} has a prefix longer than the address")]
    Prefix {
        /// The entry.
        entry: String,
    },
    /// More than [`ENTRIES_MAX`] entries.
    #[error("{count} entries are more than allowed")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

/// What the owner lets flows talk to beyond the public internet, and what is the
/// box's own.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct AllowList {
    entries: Vec<Entry>,
    own: Vec<SocketAddr>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Entry {
    /// Lower case, without a trailing dot.
    Name {
        host: String,
        port: u16,
    },
    Address(SocketAddr),
    Network {
        base: IpAddr,
        prefix: u8,
        port: Option<u16>,
    },
}

/// What an address is, as far as the guard cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reach {
    /// Anybody can reach it.
    Public,
    /// Office networks and the like: if listed in any form.
    Office,
    /// The box itself and its link: if listed as this very address and port.
    Close,
    /// No conversation is possible or wanted.
    Never,
}

impl AllowList {
    /// Reads the configured entries: `host:port`, `address:port` (IPv6 in brackets),
    /// `network/prefix` and `network/prefix:port`.
    ///
    /// # Errors
    /// [`AllowError`] of the first entry that is none of these.
    pub(crate) fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self, AllowError> {
        if entries.len() > ENTRIES_MAX {
            return Err(AllowError::TooMany { count: entries.len() });
        }
        let entries = entries.iter().map(|entry| Entry::parse(entry.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { entries, own: Vec::new() })
    }

    /// Sets what is the box's own: every address that it has, with every port that it
    /// listens on. A wildcard address stands for all addresses of the set and for
    /// loopback; port 0 adds an address without a port.
    pub(crate) fn set_own(&mut self, own: Vec<SocketAddr>) {
        self.own = own.into_iter().map(canonical).collect();
    }

    /// What was last given to [`set_own`](Self::set_own).
    #[cfg(test)]
    #[must_use]
    pub(crate) fn own(&self) -> &[SocketAddr] {
        &self.own
    }

    /// True if a flow may talk to `addr`, to which the host of its URL was resolved.
    /// `host` is as the URL spells it; IPv6 with or without brackets.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn permits(&self, host: &str, addr: SocketAddr) -> bool {
        self.permits_knowing(host, addr, false)
    }

    /// As [`permits`](Self::permits), where the caller knows that the box has this
    /// address (`ours`), whether [`set_own`](Self::set_own) said so or not.
    #[must_use]
    pub(crate) fn permits_knowing(&self, host: &str, addr: SocketAddr, ours: bool) -> bool {
        let addr = canonical(addr);
        let ours = ours || addr.ip().is_loopback() || self.own.iter().any(|own| own.ip() == addr.ip());
        if addr.port() == 0 || self.listens_on(addr, ours) {
            return false;
        }
        let reach = match reach(addr.ip()) {
            Reach::Public | Reach::Office if ours => Reach::Close,
            own @ (Reach::Public | Reach::Office | Reach::Close | Reach::Never) => own,
        };
        match reach {
            Reach::Public => true,
            Reach::Office => self.entries.iter().any(|entry| entry.covers(host, addr)),
            Reach::Close => self.entries.iter().any(|entry| entry.names(host, addr)),
            Reach::Never => false,
        }
    }

    /// True if the owner has listed `entry`, a host with its port.
    #[must_use]
    pub(crate) fn lists(&self, entry: &str) -> bool {
        let host = entry.rsplit_once(':').map_or(entry, |(host, _)| host);
        match Entry::parse(entry) {
            Ok(Entry::Address(addr)) => self.permits_knowing(host, addr, false),
            Ok(named) => self.entries.contains(&named),
            Err(_) => false,
        }
    }

    /// True for an address that is not of the public internet.
    #[must_use]
    pub(crate) fn is_private(ip: std::net::IpAddr) -> bool {
        !matches!(reach(canonical(SocketAddr::new(ip, 1)).ip()), Reach::Public)
    }

    fn listens_on(&self, addr: SocketAddr, ours: bool) -> bool {
        self.own.iter().any(|own| {
            own.port() == addr.port() && (own.ip() == addr.ip() || (own.ip().is_unspecified() && ours))
        })
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, AllowError> {
        let text = text.trim();
        if text.contains('/') {
            return Self::parse_network(text);
        }
        if let Ok(addr) = text.parse::<SocketAddr>() {
            port(text, &addr.port().to_string())?;
            return Ok(Self::Address(canonical(addr)));
        }
        let Some((host, digits)) = text.rsplit_once(':') else {
            return Err(AllowError::Form { entry: text.to_owned() });
        };
        // The same reading of a host that URLs get, so that both agree on spellings.
        match url::Host::parse(host) {
            Ok(url::Host::Domain(host)) if !host.is_empty() => {
                Ok(Self::Name { host: bare(&host), port: port(text, digits)? })
            }
            Ok(url::Host::Ipv4(ip)) => {
                Ok(Self::Address(canonical(SocketAddr::new(ip.into(), port(text, digits)?))))
            }
            Ok(url::Host::Ipv6(ip)) => {
                Ok(Self::Address(canonical(SocketAddr::new(ip.into(), port(text, digits)?))))
            }
            Ok(url::Host::Domain(_)) | Err(_) => Err(AllowError::Form { entry: text.to_owned() }),
        }
    }

    fn parse_network(text: &str) -> Result<Self, AllowError> {
        let form = || AllowError::Form { entry: text.to_owned() };
        let (network, digits) = match text.strip_prefix('[') {
            Some(rest) => {
                let (network, after) = rest.split_once(']').ok_or_else(form)?;
                let digits =
                    if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or_else(form)?) };
                (network, digits)
            }
            None => {
                let slash = text.find('/').ok_or_else(form)?;
                match text[slash..].find(':') {
                    Some(colon) => (&text[..slash + colon], Some(&text[slash + colon + 1..])),
                    None => (text, None),
                }
            }
        };
        let (base, prefix) = network.split_once('/').ok_or_else(form)?;
        let base: IpAddr = base.parse().map_err(|_| form())?;
        let prefix: u8 = prefix.parse().map_err(|_| form())?;
        let bits = if base.is_ipv4() { 32 } else { 128 };
        if prefix > bits {
            return Err(AllowError::Prefix { entry: text.to_owned() });
        }
        let port = digits.map(|digits| port(text, digits)).transpose()?;
        Ok(Self::Network { base, prefix, port })
    }

    /// True if this entry opens `addr` in an office network.
    fn covers(&self, host: &str, addr: SocketAddr) -> bool {
        match self {
            Self::Name { host: listed, port } => *port == addr.port() && *listed == bare(host),
            Self::Address(listed) => same(*listed, addr),
            Self::Network { base, prefix, port } => {
                port.is_none_or(|port| port == addr.port()) && within(addr.ip(), *base, *prefix)
            }
        }
    }

    /// True if this entry opens `addr` on the box or its link. A name does so only if
    /// it is the box's name for itself: whoever answers for other names could point
    /// them here.
    fn names(&self, host: &str, addr: SocketAddr) -> bool {
        match self {
            Self::Name { host: listed, .. } => {
                addr.ip().is_loopback()
                    && (listed == "localhost" || listed.ends_with(".localhost"))
                    && self.covers(host, addr)
            }
            Self::Address(listed) => same(*listed, addr),
            Self::Network { .. } => false,
        }
    }
}

fn port(entry: &str, digits: &str) -> Result<u16, AllowError> {
    // Rust reads a leading plus sign, an owner does not write it.
    match digits.parse::<u16>() {
        Ok(port) if port > 0 && digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        Ok(_) | Err(_) => Err(AllowError::Port { entry: entry.to_owned() }),
    }
}

/// A host in lower case without brackets and trailing dot.
fn bare(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// IPv4 in IPv6 clothes is IPv4: the kernel connects to the same place.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Equal but for IPv6 scopes and flow labels.
fn same(listed: SocketAddr, addr: SocketAddr) -> bool {
    listed.ip() == addr.ip() && listed.port() == addr.port()
}

fn within(ip: IpAddr, base: IpAddr, prefix: u8) -> bool {
    match (ip, base) {
        (IpAddr::V4(ip), IpAddr::V4(base)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            ip.to_bits() & mask == base.to_bits() & mask
        }
        (IpAddr::V6(ip), IpAddr::V6(base)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            ip.to_bits() & mask == base.to_bits() & mask
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

fn reach(ip: IpAddr) -> Reach {
    match ip {
        IpAddr::V4(ip) => reach_v4(ip),
        IpAddr::V6(ip) => reach_v6(ip),
    }
}

/// By the IANA special-purpose registry (RFC 6890 and its updates).
fn reach_v4(ip: Ipv4Addr) -> Reach {
    match ip.octets() {
        // This network, multicast, reserved and broadcast.
        [0, ..] | [224..=255, ..] => Reach::Never,
        // Loopback and link-local.
        [127, ..] | [169, 254, ..] => Reach::Close,
        // RFC 1918, and RFC 6598 shared space.
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Reach::Office,
        // Protocol assignments, documentation, 6to4 relays, benchmarks.
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] | [198, 18 | 19, ..] => {
            Reach::Office
        }
        _ => Reach::Public,
    }
}

fn reach_v6(ip: Ipv6Addr) -> Reach {
    let segments = ip.segments();
    let [.., high, low] = segments;
    let last = embedded(high, low);
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => Reach::Never,
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Close,
        // IPv4-mapped, and translated by RFC 2765.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => reach_v4(last),
        // NAT64 (RFC 6052): the gateway connects to the IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => reach_v4(last),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => reach_v4(embedded(high, low)).max_guard(isatap(segments)),
        [0xfe80..=0xfebf, ..] => Reach::Close,
        [0xff00..=0xffff, ..] => Reach::Never,
        // Protocol assignments with Teredo, benchmarks and ORCHID; documentation.
        [0x2001, 0..=0x01ff, ..] | [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Reach::Office,
        // The rest of global unicast.
        [0x2000..=0x3fff, ..] => isatap(segments),
        // Unique local, site-local, local NAT64, discard, IPv4-compatible, not assigned.
        _ => Reach::Office,
    }
}

/// ISATAP (RFC 5214) carries an IPv4 address in the interface identifier.
fn isatap(segments: [u16; 8]) -> Reach {
    match segments {
        [.., 0 | 0x0200, 0x5efe, high, low] => reach_v4(embedded(high, low)),
        _ => Reach::Public,
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

impl Reach {
    /// The stricter of two.
    fn max_guard(self, other: Self) -> Self {
        let strictness = |reach| match reach {
            Self::Public => 0,
            Self::Office => 1,
            Self::Close => 2,
            Self::Never => 3,
        };
        if strictness(other) > strictness(self) { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> AllowList {
        AllowList::parse(entries).unwrap()
    }

    /// Where a URL with this host would lead, as the client reads it; none if it
    /// refuses the URL.
    fn target(host: &str) -> Option<(String, Vec<SocketAddr>)> {
        let url = url::Url::parse(&format!("http://{host}/")).ok()?;
        let port = url.port_or_known_default()?;
        let ips = match url.host()? {
            url::Host::Ipv4(ip) => vec![IpAddr::from(ip)],
            url::Host::Ipv6(ip) => vec![IpAddr::from(ip)],
            url::Host::Domain(name) => {
                assert!(bare(name) == "localhost", "{host} is read as the name {name}");
                vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            }
        };
        let host = url.host_str()?.to_owned();
        Some((host, ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()))
    }

    #[test]
    fn what_is_listed_is_known_by_its_text() {
        let list = AllowList::parse(&["10.0.0.0/24", "localhost:8080", "192.168.1.20:80"]).unwrap();
        for (entry, listed) in [
            ("10.0.0.5:80", true),
            ("10.0.1.5:80", false),
            ("localhost:8080", true),
            ("localhost:80", false),
            ("192.168.1.20:80", true),
            ("192.168.1.20:81", false),
            ("127.0.0.1:8080", false),
            ("no port", false),
        ] {
            assert_eq!(list.lists(entry), listed, "{entry}");
        }
    }

    #[test]
    fn no_spelling_of_a_refused_address_slips_through() {
        const SPELLINGS: &[&str] = &[
            // Loopback, in every base and length.
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "127.255.255.254",
            "2130706433",
            "017700000001",
            "0x7f000001",
            "0x7f.1",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "0177.0.0.01",
            "0x7F.0x0.0x0.0x1",
            "127.0x1",
            "127.0.0.1:80",
            "127.0.0.1:8080",
            "user@127.0.0.1",
            "user:secret@127.0.0.1",
            "public.example@127.0.0.1",
            "public.example:80@127.0.0.1",
            "%31%32%37.0.0.1",
            "127%2e0%2e0%2e1",
            "127。0。0。1",
            "127．0．0．1",
            "127｡0｡0｡1",
            "１２７.０.０.１",
            "①②⑦.⓪.⓪.①",
            "０x7f.1",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "LocalHost:8443",
            "ｌｏｃａｌｈｏｓｔ",
            "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
            "loc\u{ad}alhost",
            "local%68ost",
            "user@localhost",
            "[::1]",
            "[::1]:8080",
            "[0:0:0:0:0:0:0:1]",
            "[0000:0000:0000:0000:0000:0000:0000:0001]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::FFFF:127.0.0.1]",
            "[0:0:0:0:0:ffff:127.0.0.1]",
            "[::127.0.0.1]",
            "[::ffff:0:127.0.0.1]",
            "[64:ff9b::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[2002:7f00:0001::1]",
            "[2001:db8::5efe:127.0.0.1]",
            // This host and network.
            "0.0.0.0",
            "0",
            "0x0",
            "0.1.2.3",
            "[::]",
            "[::ffff:0.0.0.0]",
            // Link-local with the address that clouds answer on.
            "169.254.169.254",
            "169.254.169.254.",
            "2852039166",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "169.254.43518",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "[64:ff9b::169.254.169.254]",
            "[2002:a9fe:a9fe::1]",
            "[fe80::1]",
            "[febf::1]",
            // Offices.
            "10.0.0.1",
            "10.1",
            "167772161",
            "012.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "192.168.1",
            "0xc0a80001",
            "[::ffff:192.168.0.1]",
            "[64:ff9b::192.168.0.1]",
            "[2002:c0a8:1::1]",
            "100.64.0.1",
            "100.127.255.255",
            "[fc00::1]",
            "[fd12:3456::1]",
            "[fec0::1]",
            "[64:ff9b:1::1]",
            // Everybody and nobody.
            "224.0.0.1",
            "239.255.255.250",
            "255.255.255.255",
            "240.0.0.1",
            "[ff02::1]",
            "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
            "192.0.2.1",
            "198.18.0.1",
        ];
        // Office networks that do not hold these addresses change nothing.
        for guard in [AllowList::default(), list(&["10.99.0.0/16", "192.168.77.5:80", "crm.test:80"])] {
            for spelling in SPELLINGS {
                if let Some((host, addrs)) = target(spelling) {
                    for addr in addrs {
                        assert!(!guard.permits(&host, addr), "{spelling} is permitted as {addr}");
                    }
                }
            }
        }
    }

    #[test]
    fn spellings_that_are_no_address_at_all_are_no_url() {
        for spelling in [
            "256.0.0.1",
            "127.0.0.0.1",
            "1.2.3.4.5",
            "0x100000000",
            "[::1",
            "::1",
            "[fe80::1%25eth0]",
            "[fe80::1%eth0]",
            "127.0.0.1\u{0}",
            "127.0.0.1%00",
            "[::127.0.0.256]",
            "",
            "@",
            "a b",
        ] {
            assert_eq!(target(spelling), None, "{spelling:?}");
        }
    }

    #[test]
    fn public_addresses_need_no_entry() {
        let guard = AllowList::default();
        for ip in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00::1",
            "2002:101:101::1",
            "64:ff9b::1.1.1.1",
            "::ffff:1.1.1.1",
        ] {
            assert!(guard.permits("name.test", SocketAddr::new(ip.parse().unwrap(), 443)), "{ip}");
        }
        assert!(!guard.permits("name.test", "1.1.1.1:0".parse().unwrap()), "port 0");
    }

    #[test]
    fn entries_open_what_they_say_and_no_more() {
        let entries = [
            "crm.office.test:8080",
            "192.168.1.20:80",
            "10.1.0.0/16",
            "172.16.5.0/24:443",
            "[fd00:1::]:81",
            "fd00:2::/32",
            "[fd00:3::/32]:443",
            "127.0.0.1:9000",
            "localhost:9001",
            "[::1]:9002",
            "pbx.test:9003",
            "0x7f.2:9004",
            "169.254.7.7:80",
            "0.0.0.0/0:7777",
            "::/0:7777",
        ];
        let guard = list(&entries);
        for (host, addr, permitted) in [
            ("crm.office.test", "10.9.9.9:8080", true),
            ("CRM.Office.test.", "10.9.9.9:8080", true),
            ("crm.office.test", "10.9.9.9:8081", false),
            ("other.test", "10.9.9.9:8080", false),
            ("sub.crm.office.test", "10.9.9.9:8080", false),
            // A listed name that suddenly means the box.
            ("crm.office.test", "127.0.0.1:8080", false),
            ("crm.office.test", "[::1]:8080", false),
            ("crm.office.test", "169.254.169.254:8080", false),
            ("crm.office.test", "0.0.0.0:8080", false),
            ("192.168.1.20", "192.168.1.20:80", true),
            ("any.test", "192.168.1.20:80", true),
            ("any.test", "[::ffff:192.168.1.20]:80", true),
            ("192.168.1.20", "192.168.1.20:81", false),
            ("192.168.1.21", "192.168.1.21:80", false),
            ("h", "10.1.255.255:1", true),
            ("h", "10.2.0.0:1", false),
            ("h", "10.0.255.255:1", false),
            ("h", "[64:ff9b::10.1.0.1]:1", false),
            ("h", "172.16.5.9:443", true),
            ("h", "172.16.5.9:80", false),
            ("h", "172.16.6.9:443", false),
            ("h", "[fd00:1::]:81", true),
            ("h", "[fd00:1::1]:81", false),
            ("h", "[fd00:2:ffff::1]:5", true),
            ("h", "[fd00:3::1]:443", true),
            ("h", "[fd00:3::1]:80", false),
            ("127.0.0.1", "127.0.0.1:9000", true),
            ("127.0.0.1", "127.0.0.2:9000", false),
            ("[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]:9000", true),
            ("localhost", "127.0.0.1:9001", true),
            ("localhost.", "[::1]:9001", true),
            ("other.test", "127.0.0.1:9001", false),
            ("[::1]", "[::1]:9002", true),
            ("pbx.test", "127.0.0.1:9003", false),
            ("127.0.0.2", "127.0.0.2:9004", true),
            ("cam", "169.254.7.7:80", true),
            ("cam", "169.254.7.8:80", false),
            // Even all networks are not the box, its link or nobody.
            ("h", "192.168.5.5:7777", true),
            ("h", "127.0.0.1:7777", false),
            ("h", "169.254.169.254:7777", false),
            ("h", "224.0.0.1:7777", false),
            ("h", "[fd99::1]:7777", true),
            ("h", "[::1]:7777", false),
            ("h", "[fe80::1]:7777", false),
            ("h", "[ff02::1]:7777", false),
            ("h", "[::ffff:127.0.0.1]:7777", false),
            ("h", "[64:ff9b::7f00:1]:7777", false),
        ] {
            assert_eq!(guard.permits(host, addr.parse().unwrap()), permitted, "{host} {addr}");
        }
    }

    #[test]
    fn the_boxs_own_ports_are_refused_whatever_is_listed() {
        let mut guard = list(&[
            "192.168.1.2:443",
            "192.168.1.2:9000",
            "192.168.1.0/24",
            "127.0.0.1:443",
            "127.0.0.1:5060",
            "localhost:443",
        ]);
        let ask = |guard: &AllowList, addr: &str| guard.permits("localhost", addr.parse().unwrap());
        assert!(ask(&guard, "192.168.1.2:443"));
        assert!(ask(&guard, "192.168.1.2:80"));
        guard.set_own(
            ["[::]:443", "192.168.1.2:0", "127.0.0.1:5060", "8.8.4.4:0"]
                .map(|own| own.parse().unwrap())
                .to_vec(),
        );
        for (addr, permitted) in [
            ("192.168.1.2:443", false),
            ("[::ffff:192.168.1.2]:443", false),
            ("127.0.0.1:443", false),
            ("127.0.0.1:5060", false),
            // Own, not listened on: only the exact entry opens it, the network does not.
            ("192.168.1.2:9000", true),
            ("192.168.1.2:80", false),
            ("192.168.1.3:443", true),
            // A public address of the box is still the box.
            ("8.8.4.4:443", false),
            ("8.8.4.4:80", false),
            ("8.8.8.8:443", true),
        ] {
            assert_eq!(ask(&guard, addr), permitted, "{addr}");
        }
        // An address of the box that nobody told the list of.
        for (addr, ours, permitted) in [
            ("192.168.1.7:443", true, false),
            ("192.168.1.7:80", true, false),
            ("192.168.1.7:80", false, true),
            ("9.9.9.9:80", true, false),
            ("9.9.9.9:80", false, true),
        ] {
            assert_eq!(guard.permits_knowing("h", addr.parse().unwrap(), ours), permitted, "{addr} {ours}");
        }
        guard.set_own(Vec::new());
        assert!(ask(&guard, "192.168.1.2:443"));
    }

    #[test]
    fn entries_in_other_forms_are_refused() {
        for (entry, expected) in [
            ("", "form"),
            ("host", "form"),
            ("192.168.1.1", "form"),
            ("host:", "port"),
            ("host:0", "port"),
            ("host:65536", "port"),
            ("host:+80", "port"),
            ("host:http", "port"),
            ("192.168.1.1:0", "port"),
            ("[fd00::1]", "form"),
            ("fd00::1", "form"),
            (":80", "form"),
            ("a b:80", "form"),
            ("user@host:80", "form"),
            ("10.0.0.0/33", "prefix"),
            ("fd00::/129", "prefix"),
            ("10.0.0.0/-1", "form"),
            ("10.0.0.0/", "form"),
            ("10.0.0/8", "form"),
            ("10.0.0.0/8:0", "port"),
            ("10.0.0.0/8:", "port"),
            ("[fd00::/8", "form"),
            ("[fd00::/8]443", "form"),
            ("http://host:80", "form"),
            ("host:80/path", "form"),
        ] {
            let kind = match AllowList::parse(&[entry]) {
                Ok(_) => "accepted",
                Err(AllowError::Form { .. }) => "form",
                Err(AllowError::Port { .. }) => "port",
                Err(AllowError::Prefix { .. }) => "prefix",
                Err(AllowError::TooMany { .. }) => "many",
            };
            assert_eq!(kind, expected, "{entry:?}");
        }
        assert_eq!(
            AllowList::parse(&vec!["h:1"; ENTRIES_MAX + 1]),
            Err(AllowError::TooMany { count: ENTRIES_MAX + 1 })
        );
    }
}
