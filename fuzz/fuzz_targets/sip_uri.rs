//! URIs and name-addrs: what is read and written again means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tipring_sip::{NameAddr, Uri};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(uri) = Uri::from_bytes(bytes) {
        let _ = (uri.user(), uri.number(), uri.host(), uri.ip(), uri.port(), uri.scheme(), uri.aor_key());
        let _ = (uri.params().count(), uri.headers().count(), uri.param("transport"), uri.has_headers());
        let again = Uri::from_bytes(uri.as_str().as_bytes());
        assert_eq!(again.as_ref(), Ok(&uri), "{} reads differently", uri.as_str());
        // RFC 3261 §19.1.1: a parameter must not appear twice; what two of them mean is open.
        let twice =
            |name: &str| uri.params().filter(|(other, _)| other.eq_ignore_ascii_case(name)).count() > 1;
        let unclear = uri.params().any(|(name, _)| twice(name));
        assert!(unclear || uri.equivalent(&uri), "{} differs from itself", uri.as_str());
        assert!(!uri.as_str().contains(['\r', '\n', '>']), "{} would break its header", uri.as_str());
    }
    // A header value has no control characters: the message parser refuses them.
    let is_value = !bytes.iter().any(|byte| byte.is_ascii_control());
    if is_value && let Ok(address) = NameAddr::from_bytes(bytes) {
        let _ = (address.tag(), address.param("tag"));
        let text = address.to_string();
        assert!(!text.contains(['\r', '\n']), "{text:?} would break its header");
        assert!(NameAddr::from_bytes(text.as_bytes()).is_ok(), "{text} does not read back");
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(uri) = Uri::sip(text, "192.0.2.1")
    {
        assert_eq!(uri.host(), "192.0.2.1", "a user part changed the host");
        assert!(!uri.as_str().contains(['\r', '\n', '>', ' ']), "{} would break its header", uri.as_str());
    }
});
