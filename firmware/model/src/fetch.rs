//! HTTP requests whose answer a flow waits for, or that are sent and forgotten.

use core::fmt;
use core::time::Duration;

/// HTTP request methods that flows use (RFC 9110 §9).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the variants are the methods")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 7] =
        [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete, Self::Options];

    /// The upper-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }

    /// The method that `name` spells, in any case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One HTTP request.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HttpRequest {
    /// Method of the first hop.
    pub method: Method,
    /// Absolute URL, without fragment.
    pub url: String,
    /// Header fields beyond those that the box always sends.
    pub headers: Vec<(String, String)>,
    /// Body, with its media type; `None` sends none (POST and PATCH then carry
    /// `Content-Length: 0`).
    pub body: Option<Body>,
    /// Longest time for each hop, from connecting to the last byte.
    pub timeout: Duration,
    /// Longest time for all hops together; none leaves each its full time.
    pub total: Option<Duration>,
    /// Longest time for connecting, of each hop; none leaves it the time of the hop.
    pub connect: Option<Duration>,
    /// A redirect that makes a GET of the request (301 to 303 after POST) takes the fields of its
    /// form along in the query; otherwise they stay behind with the body.
    pub moves_fields: bool,
    /// How many redirects are followed.
    pub redirects_max: u8,
    /// Longest answer body that is read, after content decoding, in bytes.
    pub body_max_bytes: usize,
    /// What is longer is cut off instead of refused: only the status matters.
    pub cuts_body: bool,
}

/// Marks a fetch whose answer is a document, what a flow is made of: the box may keep a
/// copy for the time when its server is away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DocumentKey {
    /// The same for whoever calls: address and method without what names one call.
    pub key: String,
    /// What else may make a difference, though not by who calls: the dialled number.
    pub variant: String,
    /// A call begins with it. There is no flow yet that could go on without it.
    pub is_first: bool,
    /// What the flow itself does where it cannot be had.
    pub fallback: OwnFallback,
}

/// What a flow itself does where a document cannot be had.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum OwnFallback {
    /// Nothing: whatever else is to be had is welcome.
    #[default]
    None,
    /// It asks somewhere else next, and says there what was wrong: until then nothing stands in.
    Follows,
    /// This is that: what it says is kept as no copy, but a copy of the document proper may
    /// stand in for it.
    This,
}

/// The body of a request.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Body {
    /// `Content-Type`.
    pub media_type: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A complete HTTP answer of any status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Address of the hop that answered.
    pub url: String,
    /// `Content-Type`, when sent.
    pub media_type: Option<String>,
    /// Header fields as they came, names in lower case; at most 64 of at most 4 KiB.
    pub headers: Vec<(String, String)>,
    /// The body, decoded, at most as long as the request allowed.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// True for a status from 200 to 299.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FetchError {
    /// The URL is not an absolute http or https address.
    BadUrl,
    /// The address is not one that flows may talk to.
    AddressRefused,
    /// The name was not resolved.
    NameNotFound,
    /// The server was not reached: it cannot have done anything.
    Unreachable,
    /// The server was reached, and cut the connection.
    Cut,
    /// The TLS handshake or the certificate failed.
    Tls,
    /// The answer was not complete in time.
    Timeout,
    /// The answer is longer than allowed.
    TooLarge,
    /// More redirects than allowed.
    TooManyRedirects,
    /// The answer is not HTTP.
    Protocol,
    /// The box already waits for as many answers as it may.
    Overload,
}

impl FetchError {
    /// Every error.
    pub const ALL: [Self; 11] = [
        Self::BadUrl,
        Self::AddressRefused,
        Self::NameNotFound,
        Self::Unreachable,
        Self::Cut,
        Self::Tls,
        Self::Timeout,
        Self::TooLarge,
        Self::TooManyRedirects,
        Self::Protocol,
        Self::Overload,
    ];

    /// The code of the message catalogue.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::BadUrl => "TR-HOOK-URL",
            Self::AddressRefused => "TR-HOOK-SSRF",
            Self::NameNotFound => "TR-HOOK-DNS",
            Self::Unreachable => "TR-HOOK-UNREACH",
            Self::Cut => "TR-HOOK-CUT",
            Self::Tls => "TR-HOOK-TLS",
            Self::Timeout => "TR-HOOK-TIMEOUT",
            Self::TooLarge => "TR-HOOK-SIZE",
            Self::TooManyRedirects => "TR-HOOK-REDIRECTS",
            Self::Protocol => "TR-HOOK-PROTOCOL",
            Self::Overload => "TR-HOOK-OVERLOAD",
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl core::error::Error for FetchError {}
