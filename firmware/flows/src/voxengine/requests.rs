//! `Net.httpRequest` and `Net.sendMail`: requests to servers.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tipring_model::FetchId;
use tipring_model::fetch::{Body, FetchError, HttpRequest, HttpResponse, Method};
use tipring_model::flow::{FlowOutput, Moment};

use super::message::{Fetch, Fetched, SourceRequest, Told};
use super::session::{Session, Stage};
use crate::address;

/// Requests at one time; the prelude keeps the others waiting.
const ACTIVE_MAX: usize = 3;
/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 2_000_000;
/// Longest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 1024 * 1024;
const TIMEOUT_MAX: Duration = Duration::from_secs(90);
const CONNECT_MAX: Duration = Duration::from_secs(6);
const REDIRECTS_MAX: u8 = 5;
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 4_095;
/// Longest audio file, and longest wait for one.
const FILE_BYTES_MAX: usize = 10_000_000;
const FILE_WAIT_MAX: Duration = Duration::from_secs(12);
/// Longest body with which one is asked for, in bytes: the answer is kept beside it.
const FILE_BODY_BYTES_MAX: usize = 64 * 1024;
/// Header fields that are the box's own affair.
const OWN_HEADERS: [&str; 6] =
    ["host", "content-length", "content-type", "connection", "transfer-encoding", "expect"];

/// What the script is told instead of a status.
pub(super) mod code {
    pub(in crate::voxengine) const LIMIT: i32 = 0;
    pub(super) const BAD_URL: i32 = -2;
    pub(super) const NOT_FOUND: i32 = -3;
    pub(super) const NO_CONNECTION: i32 = -4;
    pub(super) const REDIRECTS: i32 = -5;
    pub(super) const NETWORK: i32 = -6;
    pub(super) const TIMEOUT: i32 = -7;
    pub(in crate::voxengine) const INTERNAL: i32 = -8;
    pub(super) const TOO_LARGE: i32 = -9;
}

/// Requests under way: their names here, those of the script, and what they are.
#[derive(Default, Debug)]
pub(super) struct Requests {
    active: BTreeMap<FetchId, (u32, Kind)>,
    made: u32,
}

/// What a request is, and what the script wants of its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// To a web server; text.
    Text,
    /// To a web server; bytes.
    Raw,
    /// A letter to a mail server.
    Mail,
}

impl Requests {
    pub(super) fn has_active(&self) -> bool {
        !self.active.is_empty()
    }

    /// How many letters are on their way.
    pub(super) fn letters(&self) -> usize {
        self.active.values().filter(|(_, kind)| *kind == Kind::Mail).count()
    }

    /// A name for a request of the script's.
    pub(super) fn begin(&mut self, script_id: u32, kind: Kind) -> FetchId {
        self.made += 1;
        let id = FetchId(self.made);
        self.active.insert(id, (script_id, kind));
        id
    }
}

impl Session {
    pub(super) fn fetch(&mut self, now: Moment, fetch: Fetch) {
        let (script_id, raw) = (fetch.id, fetch.raw);
        if self.stage == Stage::Terminated {
            return;
        }
        if self.requests.active.len() - self.requests.letters() >= ACTIVE_MAX {
            return self.not_fetched(now, script_id, code::LIMIT, "too many requests at one time");
        }
        match request_of(fetch) {
            Err((code, error)) => self.not_fetched(now, script_id, code, error),
            Ok(request) => {
                let id = self.requests.begin(script_id, if raw { Kind::Raw } else { Kind::Text });
                self.push(FlowOutput::Fetch { id, request, document: None });
            }
        }
    }

    pub(super) fn not_fetched(&mut self, now: Moment, id: u32, code: i32, error: &'static str) {
        let fetched = Fetched { id, code, text: None, bytes: None, headers: Vec::new(), error: Some(error) };
        self.tell(now, Told::Fetched(fetched));
    }

    pub(super) fn fetched(&mut self, now: Moment, id: FetchId, answer: Result<&HttpResponse, FetchError>) {
        let Some((id, kind)) = self.requests.active.remove(&id) else { return };
        let raw = kind == Kind::Raw;
        match answer {
            Err(error) => self.not_fetched(now, id, code_of(error), error.code()),
            Ok(answer) => {
                // Text grows when it is written down; what then would be too long is too long.
                let text = (!raw).then(|| String::from_utf8_lossy(&answer.body).into_owned());
                let written =
                    text.as_ref().map_or(0, |text| serde_json::to_string(text).map_or(0, |t| t.len()));
                if written > super::message::MESSAGE_BYTES_MAX / 2 {
                    return self.not_fetched(now, id, code::TOO_LARGE, FetchError::TooLarge.code());
                }
                let bytes = raw.then(|| STANDARD.encode(&answer.body));
                let (code, headers) = (i32::from(answer.status), answer.headers.clone());
                self.tell(now, Told::Fetched(Fetched { id, code, text, bytes, headers, error: None }));
            }
        }
    }
}

const fn code_of(error: FetchError) -> i32 {
    match error {
        FetchError::BadUrl => code::BAD_URL,
        FetchError::NameNotFound => code::NOT_FOUND,
        FetchError::Unreachable | FetchError::AddressRefused => code::NO_CONNECTION,
        FetchError::TooManyRedirects => code::REDIRECTS,
        FetchError::Cut | FetchError::Tls | FetchError::Protocol => code::NETWORK,
        FetchError::Timeout => code::TIMEOUT,
        FetchError::TooLarge => code::TOO_LARGE,
        FetchError::Overload => code::LIMIT,
    }
}

fn request_of(fetch: Fetch) -> Result<HttpRequest, (i32, &'static str)> {
    let url = address::absolute(&fetch.url).ok_or((code::BAD_URL, FetchError::BadUrl.code()))?;
    let method = Method::parse(&fetch.method).ok_or((code::INTERNAL, "there is no such method"))?;
    let fits = |text: &str| text.len() <= HEADER_BYTES_MAX && !text.contains(char::is_control);
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&b))
    };
    if fetch.headers.len() > HEADERS_MAX
        || fetch.headers.iter().any(|(name, value)| !is_name(name) || !fits(name) || !fits(value))
    {
        return Err((code::INTERNAL, "a header field is not well formed or too long"));
    }
    let bytes = match (fetch.text, fetch.bytes) {
        (Some(text), _) => Some(text.into_bytes()),
        (None, Some(text)) => {
            Some(STANDARD.decode(text).map_err(|_| (code::INTERNAL, "the body is not well formed"))?)
        }
        (None, None) => None,
    };
    if bytes.as_ref().is_some_and(|bytes| bytes.len() > BODY_BYTES_MAX) {
        return Err((code::INTERNAL, "the body is longer than 1048576 bytes"));
    }
    let media_type = fetch.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let media_type =
        media_type.map_or_else(|| "application/x-www-form-urlencoded".to_owned(), |(_, value)| value.clone());
    let headers = fetch
        .headers
        .into_iter()
        .filter(|(name, _)| !OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own)))
        .collect();
    let timeout =
        Duration::from_millis(u64::from(fetch.timeout_ms)).clamp(Duration::from_millis(1), TIMEOUT_MAX);
    let connect =
        Duration::from_millis(u64::from(fetch.connect_ms)).clamp(Duration::from_millis(1), CONNECT_MAX);
    Ok(HttpRequest {
        method,
        url,
        headers,
        body: bytes.map(|bytes| Body { media_type, bytes }),
        timeout,
        total: Some(timeout),
        connect: Some(connect),
        moves_fields: false,
        redirects_max: REDIRECTS_MAX,
        body_max_bytes: ANSWER_BYTES_MAX,
        cuts_body: false,
    })
}

/// The request by which an audio file is fetched.
pub(super) fn file_request(source: SourceRequest) -> Result<HttpRequest, String> {
    let SourceRequest { url, method, headers, text, bytes } = source;
    let method = method.unwrap_or_else(|| Method::Get.as_str().to_owned());
    if !matches!(Method::parse(&method), Some(Method::Get | Method::Post)) {
        return Err("a file is fetched by GET or POST".to_owned());
    }
    let wait_ms = u32::try_from(FILE_WAIT_MAX.as_millis()).unwrap_or(u32::MAX);
    let fetch = Fetch {
        id: 0,
        method,
        url,
        headers,
        text,
        bytes,
        timeout_ms: wait_ms,
        connect_ms: wait_ms,
        raw: true,
    };
    let request = request_of(fetch).map_err(|(code, error)| match code {
        code::BAD_URL => "not an address that begins with http:// or https://".to_owned(),
        _ => error.to_owned(),
    })?;
    if request.body.as_ref().is_some_and(|body| body.bytes.len() > FILE_BODY_BYTES_MAX) {
        return Err(format!("the body is longer than {FILE_BODY_BYTES_MAX} bytes"));
    }
    Ok(HttpRequest { body_max_bytes: FILE_BYTES_MAX, ..request })
}
