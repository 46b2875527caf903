//! One request, with the redirects that it leads to.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode_str;
use tipring_model::fetch::{Body, FetchError, HttpRequest, HttpResponse, Method};
use ureq::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ureq::http::{Request, Response};
use ureq::{Agent, AsSendBody, Error};
use url::Url;

use super::connect::{IDLE_PER_HOST_MAX, has_connected};
use super::copies::EdgeCache;

/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 16 * 1024;
/// What a coded body may be longer than the decoded, in bytes. A body that decodes
/// to nothing for ever stops here.
const CODING_BYTES_MAX: u64 = 64 * 1024;

/// Fields that belong to the connection or to the box, never to a flow.
const REFUSED_FIELDS: [HeaderName; 9] = [
    header::ACCEPT_ENCODING,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// Fields that are meant for one server only.
const PRIVATE_FIELDS: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::HOST];
/// Fields that speak of a body.
const BODY_FIELDS: [HeaderName; 4] =
    [header::CONTENT_ENCODING, header::CONTENT_LANGUAGE, header::CONTENT_LOCATION, header::CONTENT_TYPE];

/// An answer with what it says about keeping it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    /// The answer.
    pub response: HttpResponse,
    /// How long it may be kept.
    pub keeping: Keeping,
    /// What it says to whoever delivers webhooks.
    pub delivery: DeliveryFields,
    /// What it says to whoever uploads a file.
    pub upload: UploadFields,
}

/// Fields of an answer to an upload (tus 1.0.0).
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct UploadFields {
    /// `Location`: where the server keeps it.
    pub location: Option<String>,
    /// `Upload-Offset`: how much of it the server has, in bytes.
    pub offset: Option<u64>,
}

/// Fields of an answer that say when and whether to send again. As they came: what they
/// mean is for whoever asked.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct DeliveryFields {
    /// `Retry-After` (RFC 9110 §10.2.3).
    pub retry_after: Option<String>,
    /// `Date`: the server's clock.
    pub date: Option<String>,
    /// `webhook-delivery`.
    pub wish: Option<String>,
}

/// What an answer says about keeping it (RFC 9111 §5.2.2), as far as we care.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Keeping {
    /// `max-age`, when given.
    pub max_age: Option<Duration>,
    /// `no-cache` or `no-store`: to be asked about each time.
    pub ask_always: bool,
    /// `ETag`, when given.
    pub etag: Option<String>,
    /// What the server says about a copy for the time when it is away.
    pub edge: EdgeCache,
}

/// Sends `request` and follows its redirects. The first hop has `first_hop` of time,
/// each other the whole timeout.
///
/// # Errors
/// Each [`FetchError`]; `Overload` only for names that wait to be resolved.
pub(super) fn run(agent: &Agent, request: &HttpRequest, first_hop: Duration) -> Result<Answer, FetchError> {
    let mut hop = Hop::first(request)?;
    let mut timeout = first_hop;
    let ends = request.total.map(|total| Instant::now() + total);
    let mut redirects_left = request.redirects_max;
    loop {
        let left = ends.map(|ends| ends.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(FetchError::Timeout);
        }
        let response = hop.send(agent, left.map_or(timeout, |left| left.min(timeout)))?;
        let Some(location) = redirect(&response) else {
            return hop.finish(response, request);
        };
        redirects_left = redirects_left.checked_sub(1).ok_or(FetchError::TooManyRedirects)?;
        hop.follow(response.status().as_u16(), &location)?;
        timeout = request.timeout;
    }
}

/// What is sent next.
struct Hop<'a> {
    url: Url,
    method: Method,
    headers: HeaderMap,
    body: Option<&'a Body>,
    /// Longest time for connecting.
    connect: Option<Duration>,
    /// The fields of the form go along where the body does not.
    moves_fields: bool,
}

impl<'a> Hop<'a> {
    fn first(request: &'a HttpRequest) -> Result<Self, FetchError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            // Line breaks and the like fail here, before anything is sent.
            let name = HeaderName::try_from(name.as_str()).map_err(|_| FetchError::BadUrl)?;
            let value = HeaderValue::try_from(value.as_str()).map_err(|_| FetchError::BadUrl)?;
            if !REFUSED_FIELDS.contains(&name) {
                headers.try_append(name, value).map_err(|_| FetchError::BadUrl)?;
            }
        }
        if let Some(body) = request.body.as_ref().filter(|body| !body.media_type.is_empty()) {
            let value = HeaderValue::try_from(body.media_type.as_str()).map_err(|_| FetchError::BadUrl)?;
            headers.insert(header::CONTENT_TYPE, value);
        }
        let mut hop = Self {
            url: parse_url(&request.url)?,
            method: request.method,
            headers,
            body: request.body.as_ref(),
            connect: request.connect,
            moves_fields: request.moves_fields,
        };
        if !hop.headers.contains_key(header::AUTHORIZATION) {
            hop.authorize()?;
        }
        Ok(hop)
    }

    /// Turns the name and password of the URL into a field (RFC 7617).
    fn authorize(&mut self) -> Result<(), FetchError> {
        if self.url.username().is_empty() && self.url.password().is_none() {
            return Ok(());
        }
        let mut credentials: Vec<u8> = percent_decode_str(self.url.username()).collect();
        credentials.push(b':');
        credentials.extend(percent_decode_str(self.url.password().unwrap_or_default()));
        let mut value = HeaderValue::try_from(format!("Basic {}", BASE64.encode(credentials)))
            .map_err(|_| FetchError::BadUrl)?;
        value.set_sensitive(true);
        self.headers.insert(header::AUTHORIZATION, value);
        Ok(())
    }

    /// Sends it and waits for the header of the answer. Where the server closed a kept
    /// connection just then, sends it again (RFC 9112 §9.3.1).
    fn send(&self, agent: &Agent, timeout: Duration) -> Result<Response<ureq::Body>, FetchError> {
        let begun = Instant::now();
        let mut kept_left = IDLE_PER_HOST_MAX;
        loop {
            has_connected();
            let left = timeout.saturating_sub(begun.elapsed());
            let error = match self.send_once(agent, left) {
                Ok(response) => return Ok(response),
                Err(error) => classify(&error),
            };
            let was_kept = !has_connected();
            if error != FetchError::Cut || !was_kept || kept_left == 0 {
                return Err(error);
            }
            kept_left -= 1;
        }
    }

    fn send_once(&self, agent: &Agent, timeout: Duration) -> Result<Response<ureq::Body>, Error> {
        match (self.body, self.method) {
            (Some(body), _) => self.send_with(agent, timeout, body.bytes.as_slice()),
            // Servers want a length with these even where there is no body.
            (None, Method::Post | Method::Put | Method::Patch) => {
                self.send_with(agent, timeout, [].as_slice())
            }
            (None, Method::Get | Method::Head | Method::Delete | Method::Options) => {
                self.send_with(agent, timeout, ())
            }
        }
    }

    fn send_with<B: AsSendBody>(
        &self,
        agent: &Agent,
        timeout: Duration,
        body: B,
    ) -> Result<Response<ureq::Body>, Error> {
        let mut wire_url = self.url.clone();
        // Neither fails for a URL with a host.
        let _ = wire_url.set_username("");
        let _ = wire_url.set_password(None);
        let mut request =
            Request::builder().method(self.method.as_str()).uri(wire_url.as_str()).body(body)?;
        *request.headers_mut() = self.headers.clone();
        let mut configured = agent.configure_request(request).timeout_global(Some(timeout));
        if let Some(connect) = self.connect {
            configured = configured.timeout_connect(Some(connect.min(timeout)));
        }
        if !self.is_idempotent() {
            configured = configured.max_idle_age(Duration::ZERO);
        }
        agent.run(configured.build())
    }

    /// True if sending it twice does no more than sending it once (RFC 9110 §9.2.2).
    /// All else goes over a connection of its own, so that it need not be sent twice.
    const fn is_idempotent(&self) -> bool {
        match self.method {
            Method::Get | Method::Head | Method::Put | Method::Delete | Method::Options => true,
            Method::Post | Method::Patch => false,
        }
    }

    /// Goes where `location` points (RFC 9110 §15.4).
    fn follow(&mut self, status: u16, location: &str) -> Result<(), FetchError> {
        let joined = self.url.join(location).map_err(|_| FetchError::BadUrl)?;
        let mut next = parse_url(joined.as_str())?;
        if self.url.scheme() == "https" && next.scheme() != "https" {
            return Err(FetchError::AddressRefused);
        }
        let becomes_get = match (status, self.method) {
            (303, Method::Get | Method::Head) => false,
            (303, Method::Post | Method::Put | Method::Patch | Method::Delete | Method::Options) => true,
            (301 | 302, method) => method == Method::Post,
            (_, _) => false,
        };
        if becomes_get {
            self.method = Method::Get;
            if let Some(form) = self.body.take().filter(|body| self.moves_fields && is_form(body)) {
                let fields = String::from_utf8_lossy(&form.bytes);
                let query = next.query().filter(|query| !query.is_empty());
                let query = query.map_or_else(|| fields.to_string(), |query| format!("{query}&{fields}"));
                next.set_query(Some(&query).filter(|query| !query.is_empty()).map(String::as_str));
            }
            BODY_FIELDS.iter().for_each(|name| {
                self.headers.remove(name);
            });
        }
        let stays = same_server(&self.url, &next);
        if !stays {
            PRIVATE_FIELDS.iter().for_each(|name| {
                self.headers.remove(name);
            });
        }
        self.url = next;
        if !self.headers.contains_key(header::AUTHORIZATION) {
            self.authorize()?;
        }
        Ok(())
    }

    fn finish(self, response: Response<ureq::Body>, request: &HttpRequest) -> Result<Answer, FetchError> {
        let bytes_max = request.body_max_bytes;
        let (parts, mut body) = response.into_parts();
        let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
        if !request.cuts_body && body.content_length().is_some_and(|length| length > limit) {
            return Err(FetchError::TooLarge);
        }
        let mut bytes = Vec::new();
        let read = body
            .with_config()
            .limit(limit.saturating_add(CODING_BYTES_MAX))
            .reader()
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes);
        // Where only the status matters, it is known by now.
        if let (Err(error), false) = (read, request.cuts_body) {
            return Err(classify(&Error::from(error)));
        }
        // Without a coding the length is what was promised.
        let promised =
            text(&parts.headers, &header::CONTENT_LENGTH).and_then(|length| length.trim().parse().ok());
        let is_coded = parts.headers.contains_key(header::CONTENT_ENCODING);
        let is_short = promised.is_some_and(|length: u64| (bytes.len() as u64) < length);
        if is_short && !is_coded && !request.cuts_body && hop_has_body(self.method) {
            return Err(FetchError::Cut);
        }
        if bytes.len() > bytes_max {
            if !request.cuts_body {
                return Err(FetchError::TooLarge);
            }
            bytes.truncate(bytes_max);
        }
        let response = HttpResponse {
            status: parts.status.as_u16(),
            url: self.url.into(),
            media_type: text(&parts.headers, &header::CONTENT_TYPE),
            headers: fields(&parts.headers),
            body: bytes,
        };
        let keeping = Keeping::read(&parts.headers);
        let delivery = DeliveryFields::read(&parts.headers);
        Ok(Answer { response, keeping, delivery, upload: UploadFields::read(&parts.headers) })
    }
}

/// An answer to HEAD has the length of a body that does not come.
const fn hop_has_body(method: Method) -> bool {
    !matches!(method, Method::Head)
}

/// The header fields of an answer, as far as they are short and few.
fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    const FIELDS_MAX: usize = 64;
    const VALUE_BYTES_MAX: usize = 4_096;
    let short = headers.iter().filter(|(_, value)| value.len() <= VALUE_BYTES_MAX);
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    short.take(FIELDS_MAX).map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

impl UploadFields {
    fn read(headers: &HeaderMap) -> Self {
        let offset = text(headers, &HeaderName::from_static("upload-offset"));
        Self {
            location: text(headers, &header::LOCATION),
            offset: offset.and_then(|offset| offset.trim().parse().ok()),
        }
    }
}

impl DeliveryFields {
    fn read(headers: &HeaderMap) -> Self {
        Self {
            retry_after: text(headers, &header::RETRY_AFTER),
            date: text(headers, &header::DATE),
            wish: text(headers, &HeaderName::from_static("webhook-delivery")),
        }
    }
}

impl Keeping {
    fn read(headers: &HeaderMap) -> Self {
        let lines = headers.get_all("x-edge-cache").iter();
        let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
        let edge = EdgeCache::read(&lines.join(";"));
        let mut keeping = Self { etag: text(headers, &header::ETAG), edge, ..Self::default() };
        for line in headers.get_all(header::CACHE_CONTROL) {
            for word in String::from_utf8_lossy(line.as_bytes()).split(',') {
                let (name, value) = word.split_once('=').unwrap_or((word, ""));
                match name.trim().to_ascii_lowercase().as_str() {
                    "no-store" | "no-cache" => keeping.ask_always = true,
                    "max-age" => {
                        keeping.max_age =
                            value.trim().trim_matches('"').parse().ok().map(Duration::from_secs);
                    }
                    _ => {}
                }
            }
        }
        keeping
    }
}

/// An absolute http or https address without fragment.
fn parse_url(text: &str) -> Result<Url, FetchError> {
    // The parser would drop line breaks silently.
    if text.len() > URL_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(FetchError::BadUrl);
    }
    let mut url = Url::parse(text).map_err(|_| FetchError::BadUrl)?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(FetchError::BadUrl);
    }
    url.set_fragment(None);
    Ok(url)
}

/// Where the answer sends us, if it does.
fn redirect(response: &Response<ureq::Body>) -> Option<String> {
    match response.status().as_u16() {
        301 | 302 | 303 | 307 | 308 => text(response.headers(), &header::LOCATION),
        _ => None,
    }
}

/// True for the fields of a form, written as a query is.
fn is_form(body: &Body) -> bool {
    body.media_type.starts_with("application/x-www-form-urlencoded")
}

/// True if what is meant for the server of `from` may go to that of `to`: the same
/// one, or its secure side on the usual ports.
fn same_server(from: &Url, to: &Url) -> bool {
    let ports = |url: &Url| (url.scheme() == "https", url.port_or_known_default());
    from.host() == to.host()
        && (ports(from) == ports(to) || (ports(from) == (false, Some(80)) && ports(to) == (true, Some(443))))
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The client's error in our words.
fn classify(error: &Error) -> FetchError {
    match error {
        // Not even a connection: the server cannot have done anything.
        Error::Timeout(ureq::Timeout::Connect) => FetchError::Unreachable,
        Error::Timeout(_) => FetchError::Timeout,
        Error::HostNotFound => FetchError::NameNotFound,
        Error::BadUri(_) | Error::Http(_) | Error::RequireHttpsOnly(_) => FetchError::BadUrl,
        Error::Tls(_) | Error::Rustls(_) | Error::Pem(_) | Error::TlsRequired => FetchError::Tls,
        Error::BodyExceedsLimit(_) | Error::LargeResponseHeader(_, _) => FetchError::TooLarge,
        Error::TooManyRedirects => FetchError::TooManyRedirects,
        Error::Io(error) => classify_io(error),
        // Only a cut connection ends a coded body early; all else is bad coding.
        Error::Decompress(_, error) if is_cut(error) => FetchError::Cut,
        Error::Decompress(_, _) => FetchError::Protocol,
        Error::ConnectionFailed | Error::ConnectProxyFailed(_) | Error::InvalidProxyUrl => {
            FetchError::Unreachable
        }
        Error::Other(error) => error.downcast_ref().copied().unwrap_or(FetchError::Protocol),
        Error::Protocol(_) | Error::StatusCode(_) | Error::RedirectFailed | Error::BodyStalled => {
            FetchError::Protocol
        }
        _ => FetchError::Protocol,
    }
}

fn classify_io(error: &io::Error) -> FetchError {
    let kind = error.kind();
    if matches!(kind, io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) {
        FetchError::Timeout
    } else if kind == io::ErrorKind::InvalidData {
        // TLS reports through the socket's errors, and nothing else gives this kind.
        FetchError::Tls
    } else if is_cut(error) {
        FetchError::Cut
    } else {
        FetchError::Unreachable
    }
}

fn is_cut(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_web_addresses_are_urls() {
        for (text, expected) in [
            ("http://a.test", Some("http://a.test/")),
            ("HTTPS://A.Test:443/x?y#z", Some("https://a.test/x?y")),
            ("http://bücher.test/ä", Some("http://xn--bcher-kva.test/%C3%A4")),
            ("http://u:p@a.test/", Some("http://u:p@a.test/")),
            ("/relative", None),
            ("ftp://a.test/", None),
            ("file:///etc/passwd", None),
            ("javascript:alert(1)", None),
            ("http://", None),
            ("http://a.test/\r\nX: y", None),
            ("http://a.test/\tb", None),
            ("http://a.test:99999/", None),
            ("", None),
        ] {
            let url = parse_url(text).ok().map(String::from);
            assert_eq!(url.as_deref(), expected, "{text:?}");
        }
        let long = format!("http://a.test/{}", "x".repeat(URL_BYTES_MAX));
        assert_eq!(parse_url(&long), Err(FetchError::BadUrl));
    }

    #[test]
    fn credentials_stay_with_their_server() {
        for (from, to, stays) in [
            ("http://a.test/x", "http://a.test/y", true),
            ("http://a.test/x", "http://a.test:80/y", true),
            ("http://a.test/x", "https://a.test/y", true),
            ("http://a.test/x", "http://b.test/x", false),
            ("http://a.test/x", "http://a.test:8080/x", false),
            ("http://a.test/x", "https://a.test:8443/x", false),
            ("http://a.test:8080/x", "https://a.test/x", false),
            ("https://a.test/x", "http://a.test/x", false),
            ("http://a.test/x", "http://sub.a.test/x", false),
        ] {
            let parse = |text| Url::parse(text).unwrap();
            assert_eq!(same_server(&parse(from), &parse(to)), stays, "{from} {to}");
        }
    }

    #[test]
    fn a_redirect_changes_what_the_standard_says() {
        use Method::{Delete, Get, Head, Options, Patch, Post, Put};
        for (status, method, expected) in [
            (301, Post, Get),
            (302, Post, Get),
            (303, Post, Get),
            (307, Post, Post),
            (308, Post, Post),
            (301, Put, Put),
            (302, Patch, Patch),
            (303, Put, Get),
            (303, Patch, Get),
            (303, Delete, Get),
            (303, Options, Get),
            (303, Head, Head),
            (301, Head, Head),
            (301, Delete, Delete),
            (307, Delete, Delete),
            (302, Get, Get),
        ] {
            let request = HttpRequest {
                method,
                url: "http://a.test/x/y?z".to_owned(),
                headers: Vec::new(),
                body: Some(Body { media_type: "text/plain".to_owned(), bytes: b"b".to_vec() }),
                timeout: Duration::from_secs(1),
                redirects_max: 1,
                body_max_bytes: 1,
                cuts_body: false,
                connect: None,
                moves_fields: false,
                total: None,
            };
            let mut hop = Hop::first(&request).unwrap();
            hop.follow(status, "../w#f").unwrap();
            assert_eq!(hop.method, expected, "{status} {method}");
            assert_eq!(hop.url.as_str(), "http://a.test/w");
            assert_eq!(hop.body.is_some(), method == expected, "{status} {method}");
            assert_eq!(hop.headers.contains_key(header::CONTENT_TYPE), method == expected);
        }
    }

    #[test]
    fn fields_go_along_where_the_dialect_wants_that() {
        let form = "application/x-www-form-urlencoded";
        for (status, media_type, moves_fields, to, expected) in [
            (302, form, true, "/w", "http://a.test/w?a=1&b=%20"),
            (301, form, true, "/w?c=2", "http://a.test/w?c=2&a=1&b=%20"),
            (303, "application/json", true, "/w", "http://a.test/w"),
            (302, form, false, "/w", "http://a.test/w"),
            (307, form, true, "/w", "http://a.test/w"),
        ] {
            let body = Body { media_type: media_type.to_owned(), bytes: b"a=1&b=%20".to_vec() };
            let mut hop = Hop {
                url: Url::parse("http://a.test/x").unwrap(),
                method: Method::Post,
                headers: HeaderMap::new(),
                body: Some(&body),
                connect: None,
                moves_fields,
            };
            hop.follow(status, to).unwrap();
            assert_eq!(hop.url.as_str(), expected, "{status} {media_type}");
            assert_eq!(hop.body.is_some(), status == 307);
        }
    }

    #[test]
    fn a_redirect_does_not_lead_out_of_tls_or_of_the_web() {
        let hop = |url: &str| Hop {
            url: Url::parse(url).unwrap(),
            method: Method::Get,
            headers: HeaderMap::new(),
            body: None,
            connect: None,
            moves_fields: false,
        };
        for (from, to, expected) in [
            ("https://a.test/", "http://a.test/", Err(FetchError::AddressRefused)),
            ("https://a.test/", "//b.test/x", Ok("https://b.test/x")),
            ("http://a.test/", "https://b.test/", Ok("https://b.test/")),
            ("http://a.test/", "file:///etc/passwd", Err(FetchError::BadUrl)),
            ("http://a.test/", "gopher://b.test/", Err(FetchError::BadUrl)),
            ("http://a.test/", "http://", Err(FetchError::BadUrl)),
            ("http://a.test/", "", Ok("http://a.test/")),
        ] {
            let mut hop = hop(from);
            let followed = hop.follow(302, to).map(|()| hop.url.as_str());
            assert_eq!(followed, expected, "{from} {to}");
        }
    }

    #[test]
    fn keeping_is_read_from_the_usual_spellings() {
        for (lines, max_age, ask_always) in [
            (vec![], None, false),
            (vec!["max-age=60"], Some(60), false),
            (vec!["public, Max-Age=\"5\""], Some(5), false),
            (vec!["no-cache"], None, true),
            (vec!["private", "no-store, max-age=9"], Some(9), true),
            (vec!["max-age=-1"], None, false),
            (vec!["max-age=99999999999999999999999"], None, false),
            (vec![",,=,max-age"], None, false),
        ] {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(header::CACHE_CONTROL, HeaderValue::from_static(line));
            }
            let keeping = Keeping::read(&headers);
            let expected =
                Keeping { max_age: max_age.map(Duration::from_secs), ask_always, ..Keeping::default() };
            assert_eq!(keeping, expected, "{lines:?}");
        }
    }
}
