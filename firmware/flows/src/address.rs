//! Addresses and the fields that go with a request: percent-encoding, queries, forms.

use std::net::Ipv4Addr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tipring_model::fetch::Body;
use url::{Host, Url};

/// Everything but the unreserved characters of RFC 3986 §2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// RFC 3986 percent-encoding of UTF-8.
#[must_use]
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// An absolute http or https URL, trimmed and without its fragment, otherwise as
/// written.
#[must_use]
pub fn absolute(text: &str) -> Option<String> {
    let text = text.trim();
    // The parser drops some control characters; what is sent on must hold none.
    if text.contains(char::is_control) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let fetchable = matches!(url.scheme(), "http" | "https") && url.has_host();
    fetchable.then(|| without_fragment(text).to_owned())
}

/// `text` as an absolute URL, resolved against the URL of the document it stands
/// in (RFC 3986 §5) where it is relative.
#[must_use]
pub fn resolve(base: Option<&str>, text: &str) -> Option<String> {
    if let Some(url) = absolute(text) {
        return Some(url);
    }
    if Url::parse(text.trim()).is_ok() {
        return None; // Absolute, and of another scheme.
    }
    let joined = Url::parse(base?).ok()?.join(text.trim()).ok()?;
    absolute(joined.as_str())
}

/// `url` as it is sent: what a URL may not hold is percent-encoded, the dots of its path are
/// resolved, and there is no fragment. What is signed must be this.
pub(crate) fn as_sent(url: &str) -> String {
    let bare = without_fragment(url.trim());
    Url::parse(bare).map_or_else(|_| bare.to_owned(), String::from)
}

/// An absolute ws or wss URL as it is sent.
pub(crate) fn socket(text: &str) -> Option<String> {
    let text = text.trim();
    if text.contains(char::is_control) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let is_socket = matches!(url.scheme(), "ws" | "wss") && url.has_host();
    is_socket.then(|| as_sent(text))
}

/// Where a URL leads, as `host:port`, if the box would not send a request there unless its
/// owner allows it: to the box itself, to what is only on its own wire, or into a private
/// network. A name that is resolved to such an address is known to the fetcher alone.
#[must_use]
pub(crate) fn guarded(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let host = url.host()?;
    let is_guarded = match &host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
        }
        Host::Ipv4(address) => is_inside(*address),
        Host::Ipv6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unicast_link_local()
                || address.is_unique_local()
                || address.to_ipv4_mapped().is_some_and(is_inside)
        }
    };
    let port = url.port_or_known_default()?;
    is_guarded.then(|| format!("{host}:{port}"))
}

/// What is to be written so that requests are sent to `entry`.
#[must_use]
pub(crate) fn allowing(entry: &str) -> String {
    format!("write allow = [\"{entry}\"] under [fetch] if it is meant")
}

/// The `host:port` that the subject of a finding [says](allowing) how to allow.
#[must_use]
pub fn allowed_entry(subject: &str) -> Option<&str> {
    let (_, rest) = subject.split_once("allow = [\"")?;
    rest.split_once('"').map(|(entry, _)| entry)
}

fn is_inside(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_loopback()
        || address.is_link_local()
        || address.is_private()
        || first == 0
        // The addresses that providers share out behind one of their own.
        || (first == 100 && (64..128).contains(&second))
}

/// As [`resolve`], but a fragment that `text` has stays.
pub(crate) fn resolve_with_fragment(base: Option<&str>, text: &str) -> Option<String> {
    let (address, fragment) = text.trim().split_once('#').map_or((text, None), |(a, f)| (a, Some(f)));
    let url = resolve(base, address)?;
    Some(fragment.map_or_else(|| url.clone(), |fragment| format!("{url}#{fragment}")))
}

fn without_fragment(url: &str) -> &str {
    url.split_once('#').map_or(url, |(before, _)| before)
}

/// `url` with `fields` appended to its query, in order; what is there stays, and a fragment
/// stays behind it.
#[must_use]
pub fn with_query<N: AsRef<str>, V: AsRef<str>>(url: &str, fields: &[(N, V)]) -> String {
    let (url, fragment) = url.split_once('#').map_or((url, None), |(url, fragment)| (url, Some(fragment)));
    let mut whole = url.to_owned();
    for (name, value) in fields {
        let separator = match whole.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some((_, query)) if query.ends_with('&') => "",
            Some(_) => "&",
        };
        whole.push_str(separator);
        push_field(&mut whole, name.as_ref(), value.as_ref());
    }
    if let Some(fragment) = fragment {
        whole.push('#');
        whole.push_str(fragment);
    }
    whole
}

/// `fields` as the body of a form, in order.
#[must_use]
pub fn form<N: AsRef<str>, V: AsRef<str>>(fields: &[(N, V)]) -> Body {
    let mut bytes = String::new();
    for (name, value) in fields {
        if !bytes.is_empty() {
            bytes.push('&');
        }
        push_field(&mut bytes, name.as_ref(), value.as_ref());
    }
    Body { media_type: "application/x-www-form-urlencoded".to_owned(), bytes: bytes.into_bytes() }
}

fn push_field(text: &mut String, name: &str, value: &str) {
    text.push_str(&encode(name));
    text.push('=');
    text.push_str(&encode(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_follow_what_the_url_already_asks() {
        for (url, whole) in [
            ("http://a/b", "http://a/b?from=%2B1%202"),
            ("http://a/b?", "http://a/b?from=%2B1%202"),
            ("http://a/b?from=x", "http://a/b?from=x&from=%2B1%202"),
            ("http://a/b?x&", "http://a/b?x&from=%2B1%202"),
        ] {
            assert_eq!(with_query(url, &[("from", "+1 2")]), whole);
        }
    }

    #[test]
    fn only_http_addresses_are_urls() {
        assert_eq!(absolute(" https://a.test/x#y ").as_deref(), Some("https://a.test/x"));
        for bad in [
            "ftp://a/b",
            "/x",
            "a.test/x",
            "http://",
            "javascript:alert(1)",
            "",
            "https:h\u{1}",
            "ht\ttp://a",
        ] {
            assert_eq!(absolute(bad), None, "{bad}");
        }
        assert_eq!(resolve(Some("http://a.test/x/y?z"), "w").as_deref(), Some("http://a.test/x/w"));
        assert_eq!(resolve(Some("http://a.test/x"), "file:///etc/passwd"), None);
        assert_eq!(resolve(None, "w"), None);
    }

    #[test]
    fn addresses_that_need_to_be_allowed_are_known_by_their_text() {
        for (url, entry) in [
            ("http://localhost/x", "localhost:80"),
            ("http://a.localhost./", "a.localhost.:80"),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080"),
            ("http://2130706433/", "127.0.0.1:80"),
            ("http://0.0.0.0/", "0.0.0.0:80"),
            ("http://169.254.1.1/", "169.254.1.1:80"),
            ("http://[::1]/", "[::1]:80"),
            ("http://[fe80::1]/", "[fe80::1]:80"),
            ("http://[fd00::1]:81/", "[fd00::1]:81"),
            ("http://[::ffff:127.0.0.1]/", "[::ffff:7f00:1]:80"),
            ("https://10.0.0.5/order?a=1", "10.0.0.5:443"),
            ("http://192.168.1.20:8080/", "192.168.1.20:8080"),
            ("http://100.64.0.1/", "100.64.0.1:80"),
        ] {
            assert_eq!(guarded(url).as_deref(), Some(entry), "{url}");
            assert_eq!(allowed_entry(&allowing(entry)), Some(entry));
        }
        for url in ["http://11.0.0.5/", "http://localhost.test/", "https://crm.test/", "x"] {
            assert_eq!(guarded(url), None, "{url}");
        }
    }

    #[test]
    fn fields_go_behind_the_query_and_before_the_fragment() {
        let fields = [("a b", "1&2"), ("c", "é")];
        for (url, expected) in [
            ("http://x.test/p", "http://x.test/p?a%20b=1%262&c=%C3%A9"),
            ("http://x.test/p?", "http://x.test/p?a%20b=1%262&c=%C3%A9"),
            ("http://x.test/p?q=1#top", "http://x.test/p?q=1&a%20b=1%262&c=%C3%A9#top"),
        ] {
            assert_eq!(with_query(url, &fields), expected);
        }
        assert_eq!(form(&fields).bytes, b"a%20b=1%262&c=%C3%A9");
    }
}
