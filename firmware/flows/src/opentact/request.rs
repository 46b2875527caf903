//! `Callback`, `Redirect` and `Curl`, and what the answers of the customer's
//! server do.

use std::rc::Rc;
use std::time::Duration;

use tipring_model::fetch::{Body, DocumentKey, FetchError, HttpRequest, HttpResponse, Method, OwnFallback};
use tipring_model::flow::Moment;

use super::attributes::{Attributes, toggle};
use super::flow::{Command, FrameKind, OpentactFlow, Waiting, child_named};
use super::gather::Gather;
use super::params::Placeholders;
use super::parse::{self, LIMITS, Name};
use super::settings::{App, FETCH_CEILING};
use crate::address;
use crate::loads::Gate;
use crate::xml::Element;

/// What an answer is for.
pub(super) enum Fetching {
    First,
    /// `Callback` or `Redirect`: the document replaces the flow.
    Replace(Command),
    /// `Curl`: only the status counts.
    Acknowledge(Command),
    /// `Curl response="include"`.
    Include(Command),
    /// `Gather callback`: after each attempt.
    Attempt(Box<Gather>),
    /// `Gather url`: for digits without a branch.
    Unmatched(Box<Gather>),
}

impl Fetching {
    const fn command(&self) -> Option<&Command> {
        match self {
            Self::First => None,
            Self::Replace(command) | Self::Acknowledge(command) | Self::Include(command) => Some(command),
            Self::Attempt(gather) | Self::Unmatched(gather) => Some(&gather.command),
        }
    }
}

const TIMEOUT_DEFAULT: Duration = Duration::from_millis(15_000);
const TIMEOUT_SHORT_MS: u64 = 100;
const REDIRECTS_MAX: u8 = 5;
const NOTICE_TIMEOUT: Duration = Duration::from_secs(15);

/// A request whose answer is a document.
pub(super) fn document_request(
    method: Method,
    url: String,
    entity: Option<Vec<u8>>,
    timeout: Duration,
) -> HttpRequest {
    HttpRequest {
        method,
        url,
        headers: vec![("Accept".to_owned(), "application/xml, text/xml".to_owned())],
        body: entity.map(json),
        timeout,
        total: None,
        redirects_max: REDIRECTS_MAX,
        body_max_bytes: LIMITS.bytes_max,
        cuts_body: false,
        connect: None,
        moves_fields: false,
    }
}

/// The request for the document that a call begins with.
pub(super) fn first_request(
    app: &App,
    url: &str,
    from: &str,
    to: &str,
    entity: Option<Vec<u8>>,
    timeout: Duration,
) -> (HttpRequest, DocumentKey) {
    let url = address::absolute(url).unwrap_or_else(|| url.to_owned());
    let key = format!("{} {url}", app.method);
    // Two numbers may lead to two menus.
    let document = DocumentKey { key, variant: to.to_owned(), is_first: true, fallback: OwnFallback::None };
    let url = address::with_query(&url, &[("from", from), ("to", to)]);
    (document_request(app.method, url, entity, timeout), document)
}

/// A request whose answer nobody reads.
pub(super) fn notice_request(method: Method, url: String, entity: Option<Vec<u8>>) -> HttpRequest {
    HttpRequest {
        method,
        url,
        headers: Vec::new(),
        body: entity.map(json),
        timeout: NOTICE_TIMEOUT,
        total: None,
        redirects_max: REDIRECTS_MAX,
        body_max_bytes: LIMITS.bytes_max,
        cuts_body: false,
        connect: None,
        moves_fields: false,
    }
}

fn json(bytes: Vec<u8>) -> Body {
    Body { media_type: "application/json".to_owned(), bytes }
}

pub(super) enum Judged {
    Document(Rc<Element>),
    Empty,
}

/// Judges an answer that should be a document (`spec/opentact.md` §4.4).
pub(super) fn judge(answer: Result<&HttpResponse, FetchError>, strict: bool) -> Result<Judged, &'static str> {
    let response = answer.map_err(FetchError::code)?;
    if !response.is_success() {
        return Err("TR-HOOK-STATUS");
    }
    if response.status == 204 || response.body.is_empty() {
        return Ok(Judged::Empty);
    }
    let charset = parse::media_type(response.media_type.as_deref(), &response.body)?;
    parse::document(&response.body, charset.as_deref(), strict)
        .map(Judged::Document)
        .map_err(|error| error.code)
}

impl OpentactFlow {
    pub(super) fn start_callback(&mut self, now: Moment, command: Command) {
        const METHODS: [Method; 4] = [Method::Get, Method::Post, Method::Patch, Method::Delete];
        let element = Rc::clone(&command.element);
        let mut attributes = Attributes::of(&element, command.name);
        let written = attributes.text("method");
        let method = written.map_or(Some(Method::Get), |name| Method::parse(name.trim()));
        let method = method.filter(|method| METHODS.contains(method));
        let wants_body = attributes.toggle("body", false);
        let carries_body = matches!(method, Some(Method::Post | Method::Patch));
        if wants_body && method.is_some() && !carries_body {
            attributes.note("body", "TR-FLOW-BODY-IGNORED");
        }
        let timeout = timeout_of(&mut attributes);
        let url = attributes.text("url").map(str::trim).filter(|url| !url.is_empty());
        let url = url.or_else(|| Some(element.text.trim()).filter(|text| !text.is_empty()));
        self.warn_all(attributes, &command.path);
        let Some(url) = url else {
            return self.fail(&command, "TR-FLOW-ATTRIBUTE-MISSING");
        };
        let Some(url) = address::resolve(self.base.as_deref(), url) else {
            return self.fail(&command, "TR-HOOK-URL");
        };
        let Some(method) = method else {
            return self.fail(&command, "TR-FLOW-METHOD");
        };
        let key = element.attribute("tag").map(|tag| address::with_query(&url, &[("tag", tag)]));
        let key = key.unwrap_or_else(|| url.clone());
        let url = self.with_call_fields(&url, element.attribute("tag"));
        let entity = (wants_body && carries_body).then(|| self.entity(now, None));
        let document = self.copy_key(method, &key, &command);
        let request = document_request(method, url, entity, timeout);
        self.load(now, request, document, Fetching::Replace(command));
    }

    /// The six fields of the seed, in its order.
    fn with_call_fields(&self, url: &str, tag: Option<&str>) -> String {
        let Some(facts) = &self.facts else {
            return url.to_owned();
        };
        let (call, sca) = (facts.id.to_string(), self.app.uuid.to_string());
        let mut fields = vec![
            ("call", call.as_str()),
            ("sca", sca.as_str()),
            ("state", self.state().as_str()),
            ("from", facts.from.number_or_anonymous()),
            ("tn", facts.to.as_str()),
        ];
        fields.extend(tag.map(|tag| ("tag", tag)));
        address::with_query(url, &fields)
    }

    /// What a copy of the document at `url`, which names no call, is kept under. None where
    /// the author has said himself what is to be done if it cannot be had, or where the
    /// request does more than ask.
    pub(super) fn copy_key(&self, method: Method, url: &str, command: &Command) -> Option<DocumentKey> {
        (method == Method::Get && !self.handles_failure(command)).then(|| DocumentKey {
            key: format!("{method} {url}"),
            variant: String::new(),
            is_first: false,
            fallback: OwnFallback::None,
        })
    }

    /// As [`copy_key`](Self::copy_key) for a document that digits lead to; a longer row of them
    /// may be a secret, and is kept nowhere.
    pub(super) fn copy_key_of(
        &self,
        digits: &str,
        method: Method,
        url: &str,
        command: &Command,
    ) -> Option<DocumentKey> {
        const DIGITS_SECRET: usize = 4;
        (digits.len() < DIGITS_SECRET).then(|| self.copy_key(method, url, command)).flatten()
    }

    /// Fetches a document, at the distance that [`super::loads`] keeps.
    pub(super) fn load(
        &mut self,
        now: Moment,
        request: HttpRequest,
        document: Option<DocumentKey>,
        fetching: Fetching,
    ) {
        match self.loads.gate(now.instant) {
            Gate::Go => {
                let fetch = self.fetch(request, document);
                self.waiting = Waiting::Fetch { fetch, fetching };
            }
            Gate::Wait(until) => self.waiting = Waiting::Held { until, request, document, fetching },
            Gate::Refused(code) => {
                if let Some(command) = fetching.command() {
                    self.step(command, false, code);
                }
                self.document_error(code, false);
            }
        }
    }

    pub(super) fn start_curl(&mut self, now: Moment, command: Command) {
        let element = Rc::clone(&command.element);
        let mut attributes = Attributes::of(&element, command.name);
        let method = attributes.text("method").map_or(Some(Method::Get), |name| Method::parse(name.trim()));
        let timeout = timeout_of(&mut attributes);
        let include = attributes.choice("response", &["ignore", "ack", "false", "include", "flow", "true"]);
        let include = include.is_some_and(|at| at >= 3);
        let url = attributes.text("url").map(str::trim).filter(|url| !url.is_empty());
        let body = self.curl_body(now, &element);
        let carries_body = !matches!(method, Some(Method::Get | Method::Head | Method::Options));
        if body.is_some() && !carries_body && method.is_some() {
            attributes.note("body", "TR-FLOW-BODY-IGNORED");
        }
        self.warn_all(attributes, &command.path);
        let Some(url) = url else {
            return self.fail(&command, "TR-FLOW-ATTRIBUTE-MISSING");
        };
        let filled = self.fill(url, address::encode);
        let Some(url) = address::resolve(self.base.as_deref(), &filled) else {
            return self.fail(&command, "TR-HOOK-URL");
        };
        let Some(method) = method else {
            return self.fail(&command, "TR-FLOW-METHOD");
        };
        let Some(headers) = self.curl_headers(&element) else {
            return self.fail(&command, "TR-FLOW-HEADER");
        };
        let whole_entity = element.attribute("body").and_then(toggle) == Some(true);
        let url = if whole_entity { self.with_call_fields(&url, element.attribute("tag")) } else { url };
        let request = HttpRequest {
            method,
            url,
            headers,
            body: body.filter(|_| carries_body),
            timeout,
            total: None,
            redirects_max: REDIRECTS_MAX,
            connect: None,
            moves_fields: false,
            body_max_bytes: LIMITS.bytes_max,
            cuts_body: !include,
        };
        if include {
            self.load(now, request, None, Fetching::Include(command));
        } else {
            let fetch = self.fetch(request, None);
            self.waiting = Waiting::Fetch { fetch, fetching: Fetching::Acknowledge(command) };
        }
    }

    /// `body="true"` is the call entity, `body="false"` none, anything else the
    /// text itself; a `Body` child is always text.
    fn curl_body(&self, now: Moment, element: &Element) -> Option<Body> {
        let media_type = element.attribute("content_type").map(str::to_owned);
        let child = child_named(element, Name::Body).map(|(_, child)| child.text.trim());
        let text = match (child, element.attribute("body")) {
            (Some(text), _) => text,
            (None, Some(text)) => match toggle(text) {
                Some(true) => return Some(json(self.entity(now, None))),
                Some(false) => return None,
                None => text,
            },
            (None, None) => return None,
        };
        let bytes = self.fill(text, str::to_owned).into_bytes();
        let looks_like_json = matches!(bytes.first(), Some(b'{' | b'['));
        let guess = if looks_like_json { "application/json" } else { "text/plain" };
        Some(Body { media_type: media_type.unwrap_or_else(|| guess.to_owned()), bytes })
    }

    /// The header fields, or `None` if one of them is refused.
    fn curl_headers(&self, element: &Element) -> Option<Vec<(String, String)>> {
        const REFUSED: [&str; 4] = ["host", "content-length", "connection", "transfer-encoding"];
        let listed = element.attribute("headers").unwrap_or("");
        let lines = listed.split(['\n', ';']).map(str::trim).filter(|line| !line.is_empty());
        let from_lines =
            lines.map(|line| line.split_once(':').map(|(name, value)| (name.trim(), value.trim())));
        let children = element.children.iter().filter(|child| Name::of(&child.name) == Some(Name::Header));
        let from_children = children.map(|child| {
            child.attribute("name").map(|name| (name.trim(), child.attribute("value").unwrap_or("")))
        });
        let media_type = element.attribute("content_type").into_iter();
        let unsafe_media_type = media_type.filter(|value| value.contains(['\r', '\n'])).count() > 0;
        if unsafe_media_type {
            return None;
        }
        from_lines
            .chain(from_children)
            .map(|header| {
                let (name, value) = header?;
                let value = self.fill(value, str::to_owned);
                let is_token = !name.is_empty()
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
                let is_safe = !value.chars().any(|c| c.is_control() && c != '\t');
                let is_ours = REFUSED.iter().any(|refused| refused.eq_ignore_ascii_case(name));
                (is_token && is_safe && !is_ours).then(|| (name.to_owned(), value))
            })
            .collect()
    }

    fn fill(&self, text: &str, written: impl Fn(&str) -> String) -> String {
        let Some(facts) = &self.facts else {
            return text.to_owned();
        };
        Placeholders {
            call: &facts.id.to_string(),
            sca: &self.app.uuid.to_string(),
            state: self.state().as_str(),
            from: facts.from.number_or_anonymous(),
            tn: facts.to.as_str(),
        }
        .fill(text, written)
    }

    // --- Answers.

    pub(super) fn answered_fetch(
        &mut self,
        now: Moment,
        fetching: Fetching,
        answer: Result<&HttpResponse, FetchError>,
    ) {
        let url = answer.ok().map(|response| response.url.clone());
        let strict = self.app.strict;
        match fetching {
            Fetching::First => match judge(answer, strict) {
                Ok(Judged::Document(root)) => {
                    self.loads.note(now.instant);
                    self.run(root, url);
                }
                // There is no flow yet that could go on.
                Ok(Judged::Empty) => self.document_error("TR-FLOW-ROOT", true),
                Err(code) => self.document_error(code, true),
            },
            Fetching::Replace(command) => match judge(answer, strict) {
                Ok(judged) => self.replace_or_go_on(now, &command, judged, url),
                Err(code) => self.fail(&command, code),
            },
            Fetching::Acknowledge(command) => match answer {
                Ok(response) if response.is_success() => {
                    self.succeed(&command, &response.status.to_string());
                }
                Ok(_) => self.fail(&command, "TR-HOOK-STATUS"),
                Err(error) => self.fail(&command, error.code()),
            },
            Fetching::Include(command) => match judge(answer, strict) {
                Ok(Judged::Document(root)) => {
                    self.loads.note(now.instant);
                    self.succeed(&command, "included");
                    let base = std::mem::replace(&mut self.base, url);
                    self.enter(root, command.path, FrameKind::Included { base });
                }
                Ok(Judged::Empty) => self.succeed(&command, "no-change"),
                Err(code) => self.fail(&command, code),
            },
            Fetching::Attempt(gather) => match judge(answer, strict) {
                Ok(Judged::Document(root)) => {
                    self.loads.note(now.instant);
                    self.succeed(&gather.command, "replaced");
                    self.run(root, url);
                }
                Ok(Judged::Empty) => self.branch(now, gather),
                Err(code) => self.fail(&gather.command, code),
            },
            Fetching::Unmatched(gather) => match judge(answer, strict) {
                Ok(Judged::Document(root)) => {
                    self.loads.note(now.instant);
                    self.succeed(&gather.command, "url");
                    self.run(root, url);
                }
                Ok(Judged::Empty) => self.succeed(&gather.command, "no-change"),
                Err(code) => self.fail(&gather.command, code),
            },
        }
    }

    fn replace_or_go_on(&mut self, now: Moment, command: &Command, judged: Judged, url: Option<String>) {
        match judged {
            Judged::Document(root) => {
                self.loads.note(now.instant);
                self.succeed(command, "replaced");
                self.run(root, url);
            }
            Judged::Empty => self.succeed(command, "no-change"),
        }
    }
}

/// `timeout` of a request: 0 and all above the ceiling mean the ceiling.
fn timeout_of(attributes: &mut Attributes<'_>) -> Duration {
    match attributes.number("timeout", 0, u64::MAX) {
        None => TIMEOUT_DEFAULT,
        Some(0) => FETCH_CEILING,
        Some(ms) => {
            if ms < TIMEOUT_SHORT_MS {
                attributes.note("timeout", "TR-FLOW-TIMEOUT-SHORT");
            }
            Duration::from_millis(ms).min(FETCH_CEILING)
        }
    }
}
