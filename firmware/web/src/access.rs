//! The addresses of running sessions, and the secrets in them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq as _;

use crate::asks::Reached;

/// Random bytes of the part that names a session, and of the one that proves.
const NAME_BYTES: usize = 8;
const SECRET_BYTES: usize = 16;
/// Sessions with an address.
pub const SESSIONS_MAX: usize = 1_024;
/// Longest host that is repeated to a client, in bytes, RFC 1035 §2.3.4.
const HOST_BYTES_MAX: usize = 255;

/// Running sessions by what their addresses say.
#[derive(Default, Debug)]
pub struct Access {
    sessions: HashMap<String, (String, u64)>,
}

impl Access {
    /// A new address, `/request/<name>/<secret>`, for the session with this number. Nothing where there are too many, or
    /// where the system has no randomness.
    pub fn open(&mut self, session: u64) -> Option<String> {
        if self.sessions.len() >= SESSIONS_MAX {
            return None;
        }
        let (name, secret) = (random_hex(NAME_BYTES)?, random_hex(SECRET_BYTES)?);
        let path = format!("/request/{name}/{secret}");
        self.sessions.insert(name, (secret, session));
        Some(path)
    }

    /// The session whose address has these parts. For a name that does not exist a secret is compared
    /// as for one that does.
    #[must_use]
    pub fn find(&self, name: &str, secret: &str) -> Option<u64> {
        let nobody = ("0".repeat(2 * SECRET_BYTES), 0);
        let known = self.sessions.get(name);
        let (expected, session) = known.unwrap_or(&nobody);
        let is_right = bool::from(expected.as_bytes().ct_eq(secret.as_bytes()));
        (is_right && known.is_some()).then_some(*session)
    }

    /// The session is over.
    pub fn close(&mut self, session: u64) {
        self.sessions.retain(|_, (_, known)| *known != session);
    }
}

/// So many random bytes in hexadecimal; nothing where the system has no randomness.
pub(crate) fn random_hex(bytes: usize) -> Option<String> {
    let mut random = vec![0; bytes];
    SystemRandom::new().fill(&mut random).ok()?;
    let mut text = String::with_capacity(2 * bytes);
    for byte in random {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}

/// Where the box listens.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ports {
    /// TCP port in the clear.
    pub http: Option<u16>,
    /// TCP port under TLS.
    pub https: Option<u16>,
}

/// How a request came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Via {
    /// Under TLS.
    pub is_secure: bool,
    /// The box's end.
    pub local: SocketAddr,
    /// The client's.
    pub peer: SocketAddr,
}

impl Via {
    /// Where the client reaches the box: by the host that it has used, whose port counts for the
    /// scheme that it has used. A host that is none gives way to the address it came in on.
    #[must_use]
    pub fn reached(&self, host: Option<&str>, ports: Ports) -> Reached {
        let named = host.and_then(split_host);
        let (name, port) = named.unwrap_or_else(|| match self.local {
            SocketAddr::V4(local) => (local.ip().to_string(), Some(local.port())),
            SocketAddr::V6(local) => (format!("[{}]", local.ip()), Some(local.port())),
        });
        let at = |is_secure: bool, own: Option<u16>, usual: u16| {
            let own = own?;
            let scheme = if is_secure { "https" } else { "http" };
            let port = if is_secure == self.is_secure { port.unwrap_or(usual) } else { own };
            Some(if port == usual {
                format!("{scheme}://{name}")
            } else {
                format!("{scheme}://{name}:{port}")
            })
        };
        Reached { http: at(false, ports.http, 80), https: at(true, ports.https, 443) }
    }
}

/// A host and its port, RFC 9110 §7.2, if it is made of nothing but what a name or an address has.
fn split_host(host: &str) -> Option<(String, Option<u16>)> {
    if host.is_empty() || host.len() > HOST_BYTES_MAX {
        return None;
    }
    let end_of_name = host.rfind(']').map_or_else(|| host.rfind(':').unwrap_or(host.len()), |at| at + 1);
    let (name, port) = host.split_at_checked(end_of_name)?;
    let port = match port.strip_prefix(':') {
        Some("") => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
        None if port.is_empty() => None,
        None => return None,
    };
    let is_good = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(inside) => inside.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    };
    is_good.then(|| (name.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_secret_and_ends_with_its_session() {
        let mut access = Access::default();
        let path = access.open(4).unwrap();
        let other = access.open(5).unwrap();
        let parts: Vec<&str> = path.split('/').collect();
        assert_eq!((parts[1], parts[2].len(), parts[3].len()), ("request", 16, 32));
        assert_ne!(path, other);
        assert_eq!(access.find(parts[2], parts[3]), Some(4));
        let others: Vec<&str> = other.split('/').collect();
        for (name, secret) in [
            (parts[2], others[3]),
            (parts[2], ""),
            ("", parts[3]),
            ("x", &"0".repeat(32)),
            (parts[2], "\u{e4}"),
        ] {
            assert_eq!(access.find(name, secret), None);
        }
        access.close(4);
        assert_eq!(access.find(parts[2], parts[3]), None);
        assert_eq!(access.find(others[2], others[3]), Some(5));
    }

    #[test]
    fn there_are_no_more_addresses_than_allowed() {
        let mut access = Access::default();
        let opened = (0..2_000).filter(|session| access.open(*session).is_some()).count();
        assert_eq!(opened, SESSIONS_MAX);
    }

    #[test]
    fn a_client_is_told_the_host_that_it_has_used() {
        let ports = Ports { http: Some(8_080), https: Some(8_443) };
        let of = |is_secure, host: Option<&str>, ports| {
            let local = if is_secure { "192.168.1.2:8443" } else { "192.168.1.2:8080" };
            let via =
                Via { is_secure, local: local.parse().unwrap(), peer: "192.168.1.9:5".parse().unwrap() };
            let Reached { http, https } = via.reached(host, ports);
            (http.unwrap_or_default(), https.unwrap_or_default())
        };
        for (is_secure, host, http, https) in [
            (false, Some("Box.lan:8080"), "http://box.lan:8080", "https://box.lan:8443"),
            (false, Some("box.lan"), "http://box.lan", "https://box.lan:8443"),
            (true, Some("box.lan:9443"), "http://box.lan:8080", "https://box.lan:9443"),
            (true, Some("[FE80::1]:443"), "http://[fe80::1]:8080", "https://[fe80::1]"),
            (false, None, "http://192.168.1.2:8080", "https://192.168.1.2:8443"),
            (false, Some("a b"), "http://192.168.1.2:8080", "https://192.168.1.2:8443"),
            (false, Some("x/y@z"), "http://192.168.1.2:8080", "https://192.168.1.2:8443"),
            (false, Some("box:99999"), "http://192.168.1.2:8080", "https://192.168.1.2:8443"),
            (false, Some("[box]"), "http://192.168.1.2:8080", "https://192.168.1.2:8443"),
        ] {
            assert_eq!(of(is_secure, host, ports), (http.to_owned(), https.to_owned()), "{host:?}");
        }
        let only = Ports { http: None, https: Some(443) };
        assert_eq!(of(true, Some("box"), only), (String::new(), "https://box".to_owned()));
    }
}
