//! The Via header value (RFC 3261 §20.42) with `rport` (RFC 3581).

use crate::lex;

/// One Via value, borrowed from its message.
#[derive(Clone, Copy, Debug)]
pub struct Via<'a> {
    /// The transport as written: `UDP`, `TCP`, `TLS` or another token.
    pub transport: &'a [u8],
    /// Host as written, IPv6 in brackets.
    pub host: &'a [u8],
    /// Port when one is written.
    pub port: Option<u16>,
    /// Parameters with the leading `;`, or empty.
    params: &'a [u8],
    /// What precedes the parameters, as written.
    pub(crate) head: &'a [u8],
}

impl<'a> Via<'a> {
    /// Reads one value; `None` when it is malformed.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Via<'a>> {
        let value = lex::trim(value);
        let end = value.iter().position(|&b| b == b';').unwrap_or(value.len());
        let head = lex::trim(&value[..end]);
        let params = &value[end..];
        // "SIP" SLASH "2.0" SLASH transport LWS sent-by, with white space around the slashes.
        let mut slashes = head.splitn(3, |&b| b == b'/');
        let name = lex::trim(slashes.next()?);
        let version = lex::trim(slashes.next()?);
        let rest = lex::trim(slashes.next()?);
        if !name.eq_ignore_ascii_case(b"SIP") || version != b"2.0" {
            return None;
        }
        let gap = rest.iter().position(|&b| lex::is_lws(b))?;
        let transport = &rest[..gap];
        let sent_by = lex::trim(&rest[gap..]);
        if !lex::is_token(transport) {
            return None;
        }
        let (host, port) = sent_by_parts(sent_by)?;
        // Not every parameter is checked: only names, since unknown values are opaque.
        if lex::params(params).any(|p| !lex::is_token(p.name)) {
            return None;
        }
        Some(Via { transport, host, port, params, head })
    }

    /// A parameter's value; empty when it has none.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        lex::param(self.params, name.as_bytes())
    }

    /// The `branch` parameter, empty when absent.
    #[must_use]
    pub fn branch(&self) -> &'a [u8] {
        self.param("branch").unwrap_or(&[])
    }

    pub(crate) fn params(&self) -> impl Iterator<Item = lex::Param<'a>> + use<'a> {
        lex::params(self.params)
    }
}

fn sent_by_parts(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let host_len = if text.first() == Some(&b'[') {
        let close = text.iter().position(|&b| b == b']')?;
        std::str::from_utf8(&text[1..close]).ok()?.parse::<std::net::Ipv6Addr>().ok()?;
        close + 1
    } else {
        text.iter().take_while(|&&b| lex::is_host_byte(b)).count()
    };
    if host_len == 0 {
        return None;
    }
    let rest = lex::trim(&text[host_len..]);
    let port = match rest.split_first() {
        None => None,
        Some((b':', digits)) => Some(lex::number(lex::trim(digits), 65_535).filter(|&n| n > 0)? as u16),
        Some(_) => return None,
    };
    Some((&text[..host_len], port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        for (text, transport, host, port, branch) in [
            (
                "SIP/2.0/UDP erlang.bell-telephone.com:5060;branch=z9hG4bK87asdks7",
                "UDP",
                "erlang.bell-telephone.com",
                Some(5060),
                "z9hG4bK87asdks7",
            ),
            (
                "SIP / 2.0 / UDP first.example.com: 4000;ttl=16;maddr=224.2.0.1 ;branch=z9hG4bKa7c6a8dlze.1",
                "UDP",
                "first.example.com",
                Some(4000),
                "z9hG4bKa7c6a8dlze.1",
            ),
            ("SIP/2.0/TLS [2001:db8::9]:5061;branch=x;rport", "TLS", "[2001:db8::9]", Some(5061), "x"),
            ("SIP/2.0/SCTP h", "SCTP", "h", None, ""),
        ] {
            let via = Via::parse(text.as_bytes()).unwrap();
            assert_eq!(via.transport, transport.as_bytes());
            assert_eq!(via.host, host.as_bytes());
            assert_eq!(via.port, port);
            assert_eq!(via.branch(), branch.as_bytes());
        }
        for text in [
            "",
            "SIP/2.0/UDP",
            "SIP/1.0/UDP h",
            "HTTP/2.0/UDP h",
            "SIP/2.0/UDP h:",
            "SIP/2.0/UDP h:0",
            "SIP/2.0/UDP h:70000",
            "SIP/2.0/UDP [::1",
            "SIP/2.0/UDP h x",
            "SIP/2.0/UDP h;a b",
        ] {
            assert!(Via::parse(text.as_bytes()).is_none(), "{text}");
        }
    }
}
