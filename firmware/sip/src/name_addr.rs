//! `"Display" <sip:user@host>;param=value`, the value of To, From, Contact, Route and their like
//! (RFC 3261 §20.10, §25.1).

use std::fmt;

use crate::lex;
use crate::uri::{Uri, UriError};

/// Why a header value is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameAddrError {
    /// A quoted display name without its end, or one with characters that need quotes.
    Display,
    /// `<` without `>`, or text between them and the parameters.
    Brackets,
    /// A URI with `?` or `,` that is not enclosed in `<>`.
    NotEnclosed,
    /// A malformed parameter.
    Params,
    /// The URI itself.
    Uri(UriError),
}

impl fmt::Display for NameAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameAddrError::Display => f.write_str("bad display name"),
            NameAddrError::Brackets => f.write_str("bad angle brackets"),
            NameAddrError::NotEnclosed => f.write_str("uri needs angle brackets"),
            NameAddrError::Params => f.write_str("bad address parameter"),
            NameAddrError::Uri(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NameAddrError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            NameAddrError::Uri(error) => Some(error),
            NameAddrError::Display
            | NameAddrError::Brackets
            | NameAddrError::NotEnclosed
            | NameAddrError::Params => None,
        }
    }
}

/// The three parts of an address value, still bytes; the URI is not looked into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawAddr<'a> {
    pub(crate) display: &'a [u8],
    pub(crate) uri: &'a [u8],
    /// With its leading `;`, or empty.
    pub(crate) params: &'a [u8],
}

impl<'a> RawAddr<'a> {
    pub(crate) fn parse(value: &'a [u8]) -> Result<RawAddr<'a>, NameAddrError> {
        let value = lex::trim(value);
        let (display, rest) = if value.first() == Some(&b'"') {
            let end = lex::quoted_end(value).ok_or(NameAddrError::Display)?;
            let rest = lex::trim(value.get(end..).unwrap_or(&[]));
            if rest.first() != Some(&b'<') {
                return Err(NameAddrError::Brackets);
            }
            (&value[..end.min(value.len())], rest)
        } else if let Some(open) = value.iter().position(|&b| b == b'<') {
            let display = lex::trim(&value[..open]);
            // *(token LWS); UTF-8 outside quotes is common and harmless.
            if !display.iter().all(|&b| lex::is_token_byte(b) || lex::is_lws(b) || b >= 0x80) {
                return Err(NameAddrError::Display);
            }
            (display, &value[open..])
        } else {
            let end = value.iter().position(|&b| b == b';').unwrap_or(value.len());
            let uri = lex::trim(&value[..end]);
            if uri.iter().any(|b| b"?,>".contains(b)) {
                return Err(NameAddrError::NotEnclosed);
            }
            return RawAddr { display: &[], uri, params: &value[end..] }.with_checked_params();
        };
        let close = rest.iter().position(|&b| b == b'>').ok_or(NameAddrError::Brackets)?;
        let params = lex::trim(&rest[close + 1..]);
        if !(params.is_empty() || params.first() == Some(&b';')) {
            return Err(NameAddrError::Brackets);
        }
        RawAddr { display, uri: &rest[1..close], params }.with_checked_params()
    }

    fn with_checked_params(self) -> Result<RawAddr<'a>, NameAddrError> {
        let mut tags = 0;
        for p in lex::params(self.params) {
            let value_ok = match p.value {
                None => true,
                Some(v) if v.first() == Some(&b'"') => lex::is_quoted(v),
                // A value is a token or a host, IPv6 brackets included; some field values hold
                // a bare URI, so only what would split the header is refused.
                Some(v) => !v.is_empty() && !v.iter().any(|&b| b"\"<> \t,".contains(&b)),
            };
            if !lex::is_token(p.name) || !value_ok {
                return Err(NameAddrError::Params);
            }
            if p.name.eq_ignore_ascii_case(b"tag") {
                tags += 1;
                if tags > 1 || !p.value.is_some_and(lex::is_token) {
                    return Err(NameAddrError::Params);
                }
            }
        }
        Ok(self)
    }

    pub(crate) fn tag(&self) -> Option<&'a [u8]> {
        lex::param(self.params, b"tag")
    }

    pub(crate) fn uri(&self) -> Result<Uri, NameAddrError> {
        Uri::from_bytes(self.uri).map_err(NameAddrError::Uri)
    }
}

/// An address with its display name and parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr {
    /// The display name without quotes and escapes; empty when there is none. What was not
    /// UTF-8 has replacement characters.
    pub display: String,
    /// The address.
    pub uri: Uri,
    params: String,
}

impl NameAddr {
    /// An address without parameters.
    #[must_use]
    pub fn new(display: &str, uri: Uri) -> NameAddr {
        NameAddr { display: display.to_owned(), uri, params: String::new() }
    }

    /// Reads one header value (one item of a comma list).
    ///
    /// # Errors
    /// [`NameAddrError`] names what is wrong.
    pub fn from_bytes(value: &[u8]) -> Result<NameAddr, NameAddrError> {
        let raw = RawAddr::parse(value)?;
        Ok(NameAddr {
            display: lex::unquote(raw.display),
            uri: raw.uri()?,
            params: String::from_utf8_lossy(raw.params).into_owned(),
        })
    }

    /// A header parameter such as `tag`, `expires` or `q`, without quotes.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<String> {
        lex::param(self.params.as_bytes(), name.as_bytes()).map(lex::unquote)
    }

    /// The `tag` parameter.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        lex::param(self.params.as_bytes(), b"tag").and_then(|t| std::str::from_utf8(t).ok())
    }

    /// Appends the value as a header carries it, without parameters.
    pub(crate) fn write_address(&self, out: &mut Vec<u8>) {
        if !self.display.is_empty() {
            lex::write_quoted(out, &self.display);
            out.push(b' ');
        }
        out.push(b'<');
        out.extend_from_slice(self.uri.as_str().as_bytes());
        out.push(b'>');
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        self.write_address(&mut out);
        write!(f, "{}{}", lex::Lossy(&out), self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_shapes() {
        for (text, display, uri, tag) in [
            ("\"A. G. Bell\" <sip:agb@bell.com>;tag=a48s", "A. G. Bell", "sip:agb@bell.com", "a48s"),
            ("sip:+1212@server.phone2net.com;tag=887s", "", "sip:+1212@server.phone2net.com", "887s"),
            ("Anonymous <sip:c8o@anonymous.org>;tag=hyh8", "Anonymous", "sip:c8o@anonymous.org", "hyh8"),
            ("caller<sip:caller@example.com>;tag=323", "caller", "sip:caller@example.com", "323"),
            ("<sip:a@b;lr>", "", "sip:a@b;lr", ""),
            ("\"a \\\"q\\\" <x>, b\" <sip:a@b> ; x=\"y;z\" ; tag=1", "a \"q\" <x>, b", "sip:a@b", "1"),
            ("\"\" <sip:a@b>", "", "sip:a@b", ""),
        ] {
            let addr = NameAddr::from_bytes(text.as_bytes()).unwrap();
            assert_eq!(addr.display, display, "{text}");
            assert_eq!(addr.uri.as_str(), uri, "{text}");
            assert_eq!(addr.tag().unwrap_or(""), tag, "{text}");
        }
        let addr = NameAddr::from_bytes(b"\"\xffx\" <sip:a@b>;expires=60;q=0.5").unwrap();
        assert_eq!(addr.display, "\u{fffd}x");
        assert_eq!(addr.param("EXPIRES").as_deref(), Some("60"));
    }

    #[test]
    fn broken_ones_name_the_fault() {
        for (text, want) in [
            ("\"Watson, come here", NameAddrError::Display),
            ("\"ends in a backslash\\", NameAddrError::Display),
            ("Bell, Alexander <sip:agb@bell.com>", NameAddrError::Display),
            ("\"x\" sip:a@b", NameAddrError::Brackets),
            ("<sip:a@b", NameAddrError::Brackets),
            ("<sip:a@b>x", NameAddrError::Brackets),
            ("sip:user@example.com?Route=%3Csip:x%3E", NameAddrError::NotEnclosed),
            ("<sip:a@b>;tag", NameAddrError::Params),
            ("<sip:a@b>;tag=", NameAddrError::Params),
            ("<sip:a@b>;tag=1;tag=2", NameAddrError::Params),
            ("<sip:a@b>;x=\"open", NameAddrError::Params),
            ("< sip:a@b>", NameAddrError::Uri(UriError::Scheme)),
            ("<sip:a@b >", NameAddrError::Uri(UriError::Host)),
        ] {
            assert_eq!(NameAddr::from_bytes(text.as_bytes()).unwrap_err(), want, "{text}");
        }
    }

    #[test]
    fn writing_quotes_and_never_breaks_the_line() {
        let addr = NameAddr::new("a\"b\\c\r\nX: y", "sip:a@b".parse().unwrap());
        assert_eq!(addr.to_string(), "\"a\\\"b\\\\c  X: y\" <sip:a@b>");
    }
}
