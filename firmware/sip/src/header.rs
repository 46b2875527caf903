//! Header field names, recognised once while parsing and compared as one byte afterwards.

macro_rules! header_names {
    ($($variant:ident $text:literal $compact:literal $single:literal,)+) => {
        /// A header field name. Names outside this list are [`HeaderName::Other`] and are
        /// looked up by their text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum HeaderName {
            $(
                #[doc = concat!("`", $text, "`")]
                $variant,
            )+
            /// Any other name.
            Other,
        }

        const NAMES: &[(HeaderName, &str, u8, bool)] =
            &[$((HeaderName::$variant, $text, $compact, $single),)+];

        impl HeaderName {
            /// The name as this crate writes it; empty for [`HeaderName::Other`].
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(HeaderName::$variant => $text,)+
                    HeaderName::Other => "",
                }
            }
        }
    };
}

// Name, text, compact form (RFC 3261 §7.3.3, 0 for none), may appear only once.
header_names! {
    Accept "Accept" 0 false,
    AcceptEncoding "Accept-Encoding" 0 false,
    AcceptLanguage "Accept-Language" 0 false,
    AlertInfo "Alert-Info" 0 false,
    Allow "Allow" 0 false,
    AllowEvents "Allow-Events" b'u' false,
    AuthenticationInfo "Authentication-Info" 0 false,
    Authorization "Authorization" 0 false,
    CallId "Call-ID" b'i' true,
    CallInfo "Call-Info" 0 false,
    Contact "Contact" b'm' false,
    ContentDisposition "Content-Disposition" 0 true,
    ContentEncoding "Content-Encoding" b'e' false,
    ContentLanguage "Content-Language" 0 false,
    ContentLength "Content-Length" b'l' true,
    ContentType "Content-Type" b'c' true,
    CSeq "CSeq" 0 true,
    Date "Date" 0 true,
    Diversion "Diversion" 0 false,
    Event "Event" b'o' true,
    Expires "Expires" 0 true,
    From "From" b'f' true,
    HistoryInfo "History-Info" 0 false,
    MaxForwards "Max-Forwards" 0 true,
    MimeVersion "MIME-Version" 0 true,
    MinExpires "Min-Expires" 0 true,
    MinSe "Min-SE" 0 true,
    Organization "Organization" 0 true,
    PAssertedIdentity "P-Asserted-Identity" 0 false,
    PPreferredIdentity "P-Preferred-Identity" 0 false,
    Path "Path" 0 false,
    Priority "Priority" 0 true,
    Privacy "Privacy" 0 true,
    ProxyAuthenticate "Proxy-Authenticate" 0 false,
    ProxyAuthorization "Proxy-Authorization" 0 false,
    ProxyRequire "Proxy-Require" 0 false,
    RAck "RAck" 0 true,
    Reason "Reason" 0 false,
    RecordRoute "Record-Route" 0 false,
    ReferTo "Refer-To" b'r' true,
    ReferredBy "Referred-By" b'b' true,
    RemotePartyId "Remote-Party-ID" 0 false,
    Replaces "Replaces" 0 true,
    ReplyTo "Reply-To" 0 true,
    Require "Require" 0 false,
    RetryAfter "Retry-After" 0 true,
    Route "Route" 0 false,
    RSeq "RSeq" 0 true,
    Server "Server" 0 true,
    ServiceRoute "Service-Route" 0 false,
    SessionExpires "Session-Expires" b'x' true,
    Subject "Subject" b's' true,
    SubscriptionState "Subscription-State" 0 true,
    Supported "Supported" b'k' false,
    Timestamp "Timestamp" 0 true,
    To "To" b't' true,
    Unsupported "Unsupported" 0 false,
    UserAgent "User-Agent" 0 true,
    Via "Via" b'v' false,
    Warning "Warning" 0 false,
    WwwAuthenticate "WWW-Authenticate" 0 false,
}

const EMPTY: u8 = 0xff;
const TABLE_BITS: u32 = 8;
const TABLE: [u8; 1 << TABLE_BITS] = table();
const SINGLE: u64 = single_mask();

const fn slot(name: &[u8]) -> usize {
    let len = name.len();
    let first = (name[0] | 0x20) as usize;
    let last = (name[len - 1] | 0x20) as usize;
    let mid = (name[len / 2] | 0x20) as usize;
    (len * 37 + first * 5 + last * 11 + mid * 3) & ((1 << TABLE_BITS) - 1)
}

const fn table() -> [u8; 1 << TABLE_BITS] {
    let mut t = [EMPTY; 1 << TABLE_BITS];
    let mut i = 0;
    while i < NAMES.len() {
        let mut at = slot(NAMES[i].1.as_bytes());
        while t[at] != EMPTY {
            at = (at + 1) & ((1 << TABLE_BITS) - 1);
        }
        t[at] = i as u8;
        i += 1;
    }
    t
}

const fn single_mask() -> u64 {
    let mut mask = 0;
    let mut i = 0;
    while i < NAMES.len() {
        if NAMES[i].3 {
            mask |= 1 << i;
        }
        i += 1;
    }
    mask
}

impl HeaderName {
    /// Recognises a name in any case, long or compact.
    #[must_use]
    pub fn from_bytes(name: &[u8]) -> HeaderName {
        if name.is_empty() {
            return HeaderName::Other;
        }
        if let [letter] = name {
            return NAMES
                .iter()
                .find(|n| n.2 != 0 && n.2 == letter | 0x20)
                .map_or(HeaderName::Other, |n| n.0);
        }
        let mut at = slot(name);
        loop {
            let Some(&(found, text, ..)) = NAMES.get(usize::from(TABLE[at])) else {
                return HeaderName::Other;
            };
            if text.as_bytes().eq_ignore_ascii_case(name) {
                return found;
            }
            at = (at + 1) & ((1 << TABLE_BITS) - 1);
        }
    }

    /// True for a header that may appear only once in a message.
    #[must_use]
    pub fn is_single(self) -> bool {
        self.bit() & SINGLE != 0
    }

    /// One bit per known name; 0 for [`HeaderName::Other`].
    pub(crate) fn bit(self) -> u64 {
        if self == HeaderName::Other { 0 } else { 1 << (self as u8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        assert!(NAMES.len() <= 64, "one bit each in a u64");
        for &(name, text, compact, single) in NAMES {
            assert_eq!(HeaderName::from_bytes(text.as_bytes()), name);
            assert_eq!(HeaderName::from_bytes(text.to_ascii_uppercase().as_bytes()), name);
            assert_eq!(HeaderName::from_bytes(text.to_ascii_lowercase().as_bytes()), name);
            assert_eq!(name.is_single(), single);
            if compact != 0 {
                assert_eq!(HeaderName::from_bytes(&[compact]), name);
                assert_eq!(HeaderName::from_bytes(&[compact.to_ascii_uppercase()]), name);
            }
        }
    }

    #[test]
    fn near_misses_are_other() {
        for name in ["", "Vi", "Viaa", "Too", "X-Test", "z", "Call_ID", "CSeqq", "@", "\0"] {
            assert_eq!(HeaderName::from_bytes(name.as_bytes()), HeaderName::Other, "{name}");
        }
    }
}
