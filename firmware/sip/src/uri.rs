//! `sip:`, `sips:` and `tel:` URIs (RFC 3261 §19.1, RFC 3966).
//!
//! A [`Uri`] is its text, checked once, plus the places of its parts: one allocation, and what
//! arrived is what is written again. Parts are decoded when asked for.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::lex;

/// Longest URI accepted, in bytes.
pub const URI_BYTES_MAX: usize = 4096;

/// Why a text is not a URI this crate works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriError {
    /// No scheme, or one other than `sip`, `sips`, `tel`. A request to it is answered 416.
    Scheme,
    /// Longer than [`URI_BYTES_MAX`].
    TooLong,
    /// A character or an escape the user part must not have.
    User,
    /// Not a host name, an IPv4 or a bracketed IPv6 address.
    Host,
    /// Not a port from 1 to 65535.
    Port,
    /// A malformed `;parameter`.
    Params,
    /// A malformed `?header`.
    Headers,
    /// Not a telephone number (RFC 3966).
    Number,
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UriError::Scheme => "unsupported scheme",
            UriError::TooLong => "uri too long",
            UriError::User => "bad user part",
            UriError::Host => "bad host",
            UriError::Port => "bad port",
            UriError::Params => "bad uri parameter",
            UriError::Headers => "bad uri header",
            UriError::Number => "bad telephone number",
        })
    }
}

impl std::error::Error for UriError {}

/// The scheme of a [`Uri`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`, every hop over TLS.
    Sips,
    /// `tel:`, a telephone number without a host.
    Tel,
}

impl Scheme {
    /// The scheme with its colon.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Sip => "sip:",
            Scheme::Sips => "sips:",
            Scheme::Tel => "tel:",
        }
    }
}

/// Places of a URI's parts. `(0, 0)` stands for an absent part.
#[derive(Clone, Copy, Debug)]
struct Parts {
    scheme: Scheme,
    user: Option<(u16, u16)>,
    password: Option<(u16, u16)>,
    host: (u16, u16),
    port: Option<u16>,
    params: (u16, u16),
    headers: (u16, u16),
}

/// A checked URI.
#[derive(Clone)]
pub struct Uri {
    text: Box<str>,
    parts: Parts,
}

impl Uri {
    /// Reads a URI from bytes, as found in a message.
    ///
    /// # Errors
    /// [`UriError`] names the part that is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Uri, UriError> {
        let parts = scan(bytes)?;
        let text = std::str::from_utf8(bytes).map_err(|_| UriError::User)?;
        Ok(Uri { text: text.into(), parts })
    }

    /// `sip:user@host`, escaping what the user part must not have. `host` may carry a port and
    /// parameters (`10.0.0.1:5070;transport=tcp`).
    ///
    /// # Errors
    /// As [`Uri::from_bytes`].
    pub fn sip(user: &str, host: &str) -> Result<Uri, UriError> {
        let mut text = String::with_capacity(5 + user.len() + host.len());
        text.push_str("sip:");
        if !user.is_empty() {
            escape_user(&mut text, user);
            text.push('@');
        }
        text.push_str(host);
        Uri::from_bytes(text.as_bytes())
    }

    /// `sip:user@address:port` with an IPv6 address in brackets.
    ///
    /// # Errors
    /// [`UriError::TooLong`].
    pub fn at(user: &str, address: SocketAddr) -> Result<Uri, UriError> {
        Uri::sip(user, &address.to_string())
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.parts.scheme
    }

    /// The URI as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn part(&self, (start, end): (u16, u16)) -> &str {
        self.text.get(usize::from(start)..usize::from(end)).unwrap_or("")
    }

    /// The user part (for `tel:` the number), with `%HH` decoded; bytes that are not UTF-8
    /// become replacement characters.
    #[must_use]
    pub fn user(&self) -> Option<Cow<'_, str>> {
        self.parts.user.map(|at| unescape(self.part(at)))
    }

    /// The user part cut at the first `;`, as a number dialled with parameters
    /// (`+15551234;npdi`) has it.
    #[must_use]
    pub fn number(&self) -> Option<Cow<'_, str>> {
        let raw = self.part(self.parts.user?);
        Some(unescape(raw.split(';').next().unwrap_or(raw)))
    }

    /// The host as written, IPv6 in brackets; empty for `tel:`.
    #[must_use]
    pub fn host(&self) -> &str {
        self.part(self.parts.host)
    }

    /// The host when it is an address.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        host_ip(self.host())
    }

    /// The port when one is written.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.parts.port
    }

    /// A URI parameter's raw value; empty when it has none (`;lr`).
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params().find(|p| p.0.eq_ignore_ascii_case(name)).map(|p| p.1)
    }

    /// All URI parameters in order, name and raw value.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(self.part(self.parts.params), ';')
    }

    /// The `?name=value` headers in order, raw.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(self.part(self.parts.headers), '&')
    }

    /// True with a `?header` part, which a request-URI must not have (RFC 3261 §19.1.1).
    #[must_use]
    pub fn has_headers(&self) -> bool {
        self.parts.headers.0 != self.parts.headers.1
    }

    /// Same resource by RFC 3261 §19.1.4.
    #[must_use]
    pub fn equivalent(&self, other: &Uri) -> bool {
        // A parameter that stands twice would not even equal itself below.
        if self.text == other.text {
            return true;
        }
        if self.scheme() != other.scheme() {
            return false;
        }
        if self.scheme() == Scheme::Tel {
            return self.plain_number() == other.plain_number();
        }
        let decoded = |uri: &Uri, at: Option<(u16, u16)>| -> Option<Vec<u8>> {
            at.map(|at| unescape_bytes(uri.part(at)))
        };
        if decoded(self, self.parts.user) != decoded(other, other.parts.user)
            || decoded(self, self.parts.password) != decoded(other, other.parts.password)
            || !same_host(self.host(), other.host())
            || self.port() != other.port()
        {
            return false;
        }
        const MUST_PAIR: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];
        let covered = |a: &Uri, b: &Uri| {
            a.params().all(|(name, value)| match b.param(name) {
                Some(theirs) => unescape(theirs).eq_ignore_ascii_case(&unescape(value)),
                None => !MUST_PAIR.iter().any(|must| must.eq_ignore_ascii_case(name)),
            })
        };
        if !covered(self, other) || !covered(other, self) {
            return false;
        }
        let all_in = |a: &Uri, b: &Uri| {
            a.headers().all(|(name, value)| {
                b.headers().any(|(n, v)| n.eq_ignore_ascii_case(name) && unescape(v) == unescape(value))
            })
        };
        all_in(self, other) && all_in(other, self)
    }

    /// The digits of a `tel:` number without visual separators.
    fn plain_number(&self) -> String {
        self.number().unwrap_or_default().chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')')).collect()
    }

    /// The key under which a registrar files this address of record: `user@host`, decoded,
    /// host in lower case, without port, parameters and headers (RFC 3261 §10.3 item 5).
    #[must_use]
    pub fn aor_key(&self) -> String {
        if self.scheme() == Scheme::Tel {
            return self.plain_number();
        }
        let mut key = self.user().unwrap_or_default().into_owned();
        key.push('@');
        key.push_str(&self.host().to_ascii_lowercase());
        key
    }
}

impl PartialEq for Uri {
    /// The same text; see [`Uri::equivalent`] for the same resource.
    fn eq(&self, other: &Uri) -> bool {
        self.text == other.text
    }
}

impl Eq for Uri {}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uri({})", self.text)
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Uri, UriError> {
        Uri::from_bytes(text.as_bytes())
    }
}

/// An address from a host as SIP writes it, IPv6 in brackets.
pub(crate) fn host_ip(host: &str) -> Option<IpAddr> {
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    host.parse().ok()
}

fn same_host(a: &str, b: &str) -> bool {
    if a.eq_ignore_ascii_case(b) {
        return true;
    }
    match (host_ip(a), host_ip(b)) {
        (Some(a), Some(b)) => a == b,
        (None, None) | (None, Some(_)) | (Some(_), None) => false,
    }
}

fn pairs(text: &str, separator: char) -> impl Iterator<Item = (&str, &str)> {
    text.split(separator).filter(|p| !p.is_empty()).map(|p| p.split_once('=').unwrap_or((p, "")))
}

fn unescape_bytes(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while let Some(&b) = bytes.get(i) {
        let digit = |at: usize| bytes.get(at).and_then(|&b| char::from(b).to_digit(16));
        if b == b'%'
            && let (Some(high), Some(low)) = (digit(i + 1), digit(i + 2))
        {
            out.push((high * 16 + low) as u8);
            i += 3;
        } else {
            out.push(b);
            i += 1;
        }
    }
    out
}

pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    Cow::Owned(String::from_utf8_lossy(&unescape_bytes(text)).into_owned())
}

fn escape_user(out: &mut String, user: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &b in user.as_bytes() {
        if b != b'%' && b != b'#' && lex::is_user(&[b]) {
            out.push(char::from(b));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(b >> 4)]));
            out.push(char::from(HEX[usize::from(b & 15)]));
        }
    }
}

/// The scheme of any URI-shaped text, supported or not.
pub(crate) fn scheme_of(bytes: &[u8]) -> Option<&[u8]> {
    let colon = bytes.iter().position(|&b| b == b':')?;
    let scheme = &bytes[..colon];
    let well_formed = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b));
    well_formed.then_some(scheme)
}

/// Checks without keeping anything.
pub(crate) fn check(bytes: &[u8]) -> Result<(), UriError> {
    scan(bytes).map(|_| ())
}

fn scan(bytes: &[u8]) -> Result<Parts, UriError> {
    if bytes.len() > URI_BYTES_MAX {
        return Err(UriError::TooLong);
    }
    let name = scheme_of(bytes).ok_or(UriError::Scheme)?;
    let start = name.len() + 1;
    let scheme = if name.eq_ignore_ascii_case(b"sip") {
        Scheme::Sip
    } else if name.eq_ignore_ascii_case(b"sips") {
        Scheme::Sips
    } else if name.eq_ignore_ascii_case(b"tel") {
        return scan_tel(bytes, start);
    } else {
        return Err(UriError::Scheme);
    };
    // Places fit: the length was checked against URI_BYTES_MAX.
    let place = |from: usize, to: usize| (from as u16, to as u16);
    let rest = &bytes[start..];
    let mut user = None;
    let mut password = None;
    let mut at = start;
    // '@' may stand raw nowhere but after the user part.
    if let Some(sign) = rest.iter().position(|&b| b == b'@') {
        let info = &rest[..sign];
        let colon = info.iter().position(|&b| b == b':');
        let name_end = colon.unwrap_or(info.len());
        if name_end == 0 || !lex::is_user(&info[..name_end]) {
            return Err(UriError::User);
        }
        user = Some(place(start, start + name_end));
        if let Some(colon) = colon {
            if !lex::is_user(&info[colon + 1..]) {
                return Err(UriError::User);
            }
            password = Some(place(start + colon + 1, start + sign));
        }
        at = start + sign + 1;
    }
    let host_start = at;
    if bytes.get(at) == Some(&b'[') {
        let close = bytes[at..].iter().position(|&b| b == b']').ok_or(UriError::Host)?;
        let inner = std::str::from_utf8(&bytes[at + 1..at + close]).map_err(|_| UriError::Host)?;
        inner.parse::<Ipv6Addr>().map_err(|_| UriError::Host)?;
        at += close + 1;
    } else {
        while bytes.get(at).is_some_and(|&b| lex::is_host_byte(b)) {
            at += 1;
        }
    }
    if at == host_start {
        return Err(UriError::Host);
    }
    let host = place(host_start, at);
    let mut port = None;
    if bytes.get(at) == Some(&b':') {
        let digits = bytes[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        let text = &bytes[at + 1..at + 1 + digits];
        let n = lex::number(text, 65_535).ok_or(UriError::Port)?;
        if n == 0 || digits > 5 {
            return Err(UriError::Port);
        }
        port = Some(n as u16);
        at += 1 + digits;
    }
    let tail = &bytes[at..];
    let question = tail.iter().position(|&b| b == b'?').unwrap_or(tail.len());
    let params_text = &tail[..question];
    let mut params = (0, 0);
    if !params_text.is_empty() {
        if params_text[0] != b';' {
            return Err(UriError::Host);
        }
        for one in params_text[1..].split(|&b| b == b';') {
            check_pair(one, lex::is_uri_param, UriError::Params)?;
        }
        params = place(at + 1, at + question);
    }
    let mut headers = (0, 0);
    if question < tail.len() {
        for one in tail[question + 1..].split(|&b| b == b'&') {
            let mut halves = one.splitn(2, |&b| b == b'=');
            let name = halves.next().unwrap_or(&[]);
            let value = halves.next().ok_or(UriError::Headers)?;
            if name.is_empty() || !lex::is_uri_header(name) || !lex::is_uri_header(value) {
                return Err(UriError::Headers);
            }
        }
        headers = place(at + question + 1, bytes.len());
    }
    Ok(Parts { scheme, user, password, host, port, params, headers })
}

fn check_pair(one: &[u8], ok: fn(&[u8]) -> bool, error: UriError) -> Result<(), UriError> {
    let mut halves = one.splitn(2, |&b| b == b'=');
    let name = halves.next().unwrap_or(&[]);
    let value = halves.next();
    if name.is_empty() || !ok(name) || value.is_some_and(|v| v.is_empty() || !ok(v)) {
        return Err(error);
    }
    Ok(())
}

fn scan_tel(bytes: &[u8], start: usize) -> Result<Parts, UriError> {
    let rest = &bytes[start..];
    let end = rest.iter().position(|&b| b == b';').unwrap_or(rest.len());
    let number = &rest[..end];
    let digits = number.strip_prefix(b"+").unwrap_or(number);
    let ok = |b: &u8| b.is_ascii_hexdigit() || b"*#-.()".contains(b);
    if !digits.iter().any(|b| b.is_ascii_hexdigit() || b"*#".contains(b)) || !digits.iter().all(ok) {
        return Err(UriError::Number);
    }
    let mut params = (0, 0);
    if end < rest.len() {
        for one in rest[end + 1..].split(|&b| b == b';') {
            check_pair(one, lex::is_uri_param, UriError::Params)?;
        }
        params = ((start + end + 1) as u16, bytes.len() as u16);
    }
    Ok(Parts {
        scheme: Scheme::Tel,
        user: Some((start as u16, (start + end) as u16)),
        password: None,
        host: (0, 0),
        port: None,
        params,
        headers: (0, 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn parts_are_found() {
        let u = uri("sip:alice:secret@atlanta.example.com:5061;transport=tcp;lr?subject=x&to=a%40b");
        assert_eq!(u.user().as_deref(), Some("alice"));
        assert_eq!(u.host(), "atlanta.example.com");
        assert_eq!(u.port(), Some(5061));
        assert_eq!(u.param("Transport"), Some("tcp"));
        assert_eq!(u.param("lr"), Some(""));
        assert_eq!(u.param("maddr"), None);
        assert!(u.has_headers());
        assert_eq!(u.headers().nth(1), Some(("to", "a%40b")));
        let u = uri("SIPS:[2001:db8::10]:5070");
        assert_eq!((u.scheme(), u.user(), u.host()), (Scheme::Sips, None, "[2001:db8::10]"));
        assert_eq!(u.ip(), Some("2001:db8::10".parse().unwrap()));
        let u = uri("sip:user;par=u%40example.net@example.com");
        assert_eq!(u.user().as_deref(), Some("user;par=u@example.net"));
        assert_eq!(u.number().as_deref(), Some("user"));
        let u = uri("sip:sip%3Auser%40example.com@company.com;other-param=summit");
        assert_eq!(u.user().as_deref(), Some("sip:user@example.com"));
        let u = uri("tel:+1-201-555-0123;phone-context=example.com");
        assert_eq!(u.number().as_deref(), Some("+1-201-555-0123"));
        assert_eq!(u.aor_key(), "+12015550123");
    }

    #[test]
    fn bad_ones_name_the_part() {
        for (text, want) in [
            ("", UriError::Scheme),
            ("alice@example.com", UriError::Scheme),
            ("http://example.com", UriError::Scheme),
            ("nobodyKnowsThisScheme:totallyopaque", UriError::Scheme),
            ("sip:", UriError::Host),
            ("sip:@example.com", UriError::User),
            ("sip:a b@example.com", UriError::User),
            ("sip:a%4@example.com", UriError::User),
            ("sip:a%zz@example.com", UriError::User),
            ("sip:a@", UriError::Host),
            ("sip:a@b@c", UriError::Host),
            ("sip:a@[::1", UriError::Host),
            ("sip:a@[fe80::zz]", UriError::Host),
            ("sip:a@example.com:", UriError::Port),
            ("sip:a@example.com:0", UriError::Port),
            ("sip:a@example.com:65536", UriError::Port),
            ("sip:a@example.com:5060x", UriError::Host),
            ("sip:a@example.com ", UriError::Host),
            ("sip:a@example.com;", UriError::Params),
            ("sip:a@example.com;=x", UriError::Params),
            ("sip:a@example.com;a=", UriError::Params),
            ("sip:a@example.com?x", UriError::Headers),
            ("tel:", UriError::Number),
            ("tel:+", UriError::Number),
            ("tel:alice", UriError::Number),
        ] {
            assert_eq!(Uri::from_str(text).unwrap_err(), want, "{text}");
        }
        let long = format!("sip:{}@x", "a".repeat(URI_BYTES_MAX));
        assert_eq!(Uri::from_str(&long).unwrap_err(), UriError::TooLong);
    }

    /// The examples of RFC 3261 §19.1.4.
    #[test]
    fn comparison_follows_the_rfc() {
        for (a, b) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0::1]"),
            ("tel:+1-201-555-0123", "tel:+12015550123"),
        ] {
            assert!(uri(a).equivalent(&uri(b)), "{a} {b}");
            assert!(uri(b).equivalent(&uri(a)), "{b} {a}");
        }
        for (a, b) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:a@b", "sips:a@b"),
        ] {
            assert!(!uri(a).equivalent(&uri(b)), "{a} {b}");
        }
    }

    #[test]
    fn built_uris_are_escaped() {
        assert_eq!(Uri::sip("*21#", "h").unwrap().as_str(), "sip:*21%23@h");
        assert_eq!(Uri::sip("a b@c", "h:5070").unwrap().as_str(), "sip:a%20b%40c@h:5070");
        assert_eq!(Uri::sip("", "h").unwrap().as_str(), "sip:h");
        assert_eq!(Uri::at("a", "[::1]:5060".parse().unwrap()).unwrap().as_str(), "sip:a@[::1]:5060");
        assert_eq!(Uri::sip("A%", "EXAMPLE.com").unwrap().aor_key(), "A%@example.com");
    }
}
