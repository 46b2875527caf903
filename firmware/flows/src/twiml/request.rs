//! Requests for documents, what their answers do, and what happens when there is none.

use std::rc::Rc;

use tipring_model::call::CallFacts;
use tipring_model::fetch::{Body, DocumentKey, FetchError, HttpRequest, HttpResponse, Method, OwnFallback};
use tipring_model::flow::{Action, FlowOutput, Moment, Notice};
use tipring_model::{Cause, FetchId};

use super::flow::TwimlFlow;
use super::fragment::{Manner, Waits};
use super::params::{self, Fields, field};
use super::parse::{self, BYTES_MAX, Content};
use super::script::{Role, Script, Verb, Waiting};
use super::settings::Terms;
use super::sign;
use crate::address;
use crate::loads::Gate;
use crate::xml::{Element, Position};

/// What a document is fetched for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// A call begins with it.
    First,
    /// A verb hands over to it.
    Verb(Verb),
    /// A script beside the main one begins with it.
    Beside,
}

/// A document that is to be fetched.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// Absolute, with the fragment that its author gave it. Empty for the current document, where
    /// that has no address because it lies on the box: it begins anew.
    url: String,
    method: Method,
    /// Fields besides those of every request.
    fields: Fields,
    purpose: Purpose,
    /// The first attempt, which names the later ones.
    first: Option<FetchId>,
    /// Attempts made.
    attempts: u32,
    is_fallback: bool,
}

impl Pending {
    pub(super) const fn new(url: String, method: Method, fields: Fields, purpose: Purpose) -> Self {
        Self { url, method, fields, purpose, first: None, attempts: 0, is_fallback: false }
    }
}

/// Longest wait for somebody who is told something and not asked.
const NOTICE_TIMEOUT_SECS: u64 = 15;

fn plain(url: &str) -> &str {
    url.split_once('#').map_or(url, |(before, _)| before)
}

/// Puts a value under a key of an object in `object`; false if something else has the name.
fn key_of(
    object: &mut serde_json::Map<String, serde_json::Value>,
    name: &str,
    key: &str,
    value: &str,
) -> bool {
    let inner = object.entry(name).or_insert_with(|| serde_json::Value::Object(serde_json::Map::new()));
    inner.as_object_mut().map(|inner| inner.insert(key.to_owned(), value.into())).is_some()
}

/// A request with `fields` in its query or its body, signed.
fn request(terms: &Terms, url: &str, method: Method, mut fields: Fields, manner: Manner) -> HttpRequest {
    // Digits of the document go before those that were collected by name ahead of it.
    if fields.iter().any(|(name, _)| name == "Digits") {
        fields.retain(|(name, _)| !name.starts_with("Digits["));
    }
    for (name, _) in &mut fields {
        if let Some((_, other)) = terms.renames.iter().find(|(usual, _)| usual == name) {
            name.clone_from(other);
        }
    }
    let url = &address::as_sent(url);
    let (url, body, signed) = match method {
        Method::Post if terms.sends_json => {
            let mut object = serde_json::Map::new();
            for (name, value) in fields {
                match name.split_once('[').and_then(|(name, rest)| Some((name, rest.strip_suffix(']')?))) {
                    Some((name, key)) if key_of(&mut object, name, key, &value) => {}
                    Some(_) | None => drop(object.insert(name, value.into())),
                }
            }
            // Texts alone: there is nothing that could fail.
            let bytes = serde_json::to_vec(&object).unwrap_or_default();
            let url = address::with_query(url, &[("bodySHA256", sign::body_digest(&bytes))]);
            (url, Some(Body { media_type: "application/json".to_owned(), bytes }), Fields::new())
        }
        Method::Post => (url.to_owned(), Some(address::form(&fields)), fields),
        Method::Get | Method::Head | Method::Put | Method::Patch | Method::Delete | Method::Options => {
            (address::with_query(url, &fields), None, Fields::new())
        }
    };
    let mut headers = vec![
        ("User-Agent".to_owned(), "TwilioProxy/1.1".to_owned()),
        ("Accept".to_owned(), "*/*".to_owned()),
    ];
    if let Some(token) = &terms.auth_token {
        let signature = sign::signature(token, &url, &signed);
        let names = terms.profile.signatures().iter();
        headers.extend(names.map(|name| ((*name).to_owned(), signature.clone())));
    }
    HttpRequest {
        method,
        url,
        headers,
        body,
        timeout: manner.hop,
        total: Some(manner.total),
        redirects_max: terms.profile.redirects_max(),
        // One byte more than a document may have, so that a sound file, which is played from its
        // address, is told from a document that is too long.
        body_max_bytes: BYTES_MAX + 1,
        cuts_body: true,
        connect: Some(manner.connect),
        moves_fields: false,
    }
}

/// The request with which a call begins.
pub(super) fn first_request(terms: &Terms, url: &str, facts: &CallFacts) -> HttpRequest {
    let manner = Manner::of(url, terms.waits()).unwrap_or(Manner::usual(terms.waits()));
    let status = if facts.answered { "in-progress" } else { "ringing" };
    let mut fields = params::of_call(terms, facts, status);
    fields.extend(terms.fields.iter().cloned());
    let mut request = request(terms, url, terms.method, fields, manner);
    request.headers.extend(terms.headers.iter().cloned());
    request
}

/// What a copy of the first document is kept under.
pub(super) fn first_key(terms: &Terms, url: &str, to: &str) -> DocumentKey {
    let fallback = if terms.fallback.is_some() { OwnFallback::Follows } else { OwnFallback::None };
    let key = format!("{} {}", terms.method, plain(url));
    DocumentKey { key, variant: to.to_owned(), is_first: true, fallback }
}

/// What an answer holds.
pub(super) enum Judged {
    /// A document.
    Document(Rc<Element>),
    /// A sound that is played from this address.
    Sound(String),
    /// Words to be spoken.
    Words(String),
}

impl Judged {
    /// The document that does what the answer says.
    pub(super) fn into_document(self) -> Rc<Element> {
        match self {
            Self::Document(root) => root,
            Self::Sound(url) => response(vec![element("Play", url)]),
            Self::Words(words) => response(vec![element("Say", words)]),
        }
    }
}

/// An element that stands for no verb of a document.
pub(super) fn nothing() -> Rc<Element> {
    response(Vec::new())
}

fn element(name: &str, text: String) -> Rc<Element> {
    let at = Position { line: 1, column: 1 };
    let (name, attributes) = (name.to_owned(), Vec::new());
    Rc::new(Element { name, attributes, children: Vec::new(), text, stands: Vec::new(), at })
}

fn response(children: Vec<Rc<Element>>) -> Rc<Element> {
    let stands = vec![0; children.len()];
    let at = Position { line: 1, column: 1 };
    Rc::new(Element {
        name: "Response".to_owned(),
        attributes: Vec::new(),
        children,
        text: String::new(),
        stands,
        at,
    })
}

/// True for an answer that ends before it is as long as it said.
fn is_cut(answer: &HttpResponse) -> bool {
    let field = |wanted: &str| answer.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    let said = field("content-length").and_then(|length| length.trim().parse::<usize>().ok());
    let is_coded = field("content-encoding").is_some();
    said.is_some_and(|said| !is_coded && answer.body.len() < said.min(BYTES_MAX + 1))
}

/// Judges an answer that should be a document.
pub(super) fn judge(
    answer: Result<&HttpResponse, FetchError>,
    lenient_prolog: bool,
) -> Result<Judged, &'static str> {
    let answer = answer.map_err(FetchError::code)?;
    if !answer.is_success() {
        return Err("TR-HOOK-STATUS");
    }
    if answer.status == 204 || answer.body.is_empty() {
        return Ok(Judged::Document(response(Vec::new())));
    }
    if is_cut(answer) {
        return Err("TR-HOOK-CUT");
    }
    match parse::content(answer.media_type.as_deref(), &answer.body)? {
        Content::Sound => Ok(Judged::Sound(answer.url.clone())),
        _ if answer.body.len() > BYTES_MAX => Err("TR-HOOK-SIZE"),
        Content::Words(charset) => {
            let label = charset.as_deref().unwrap_or("utf-8");
            let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).ok_or("TR-FLOW-ENCODING")?;
            let text = encoding.decode_without_bom_handling_and_without_replacement(&answer.body);
            text.map(|text| Judged::Words(text.into_owned())).ok_or("TR-FLOW-ENCODING")
        }
        Content::Document(charset) => parse::document(&answer.body, charset.as_deref(), lenient_prolog)
            .map(Judged::Document)
            .map_err(|error| error.code),
    }
}

impl TwimlFlow {
    /// Fetches a document for `script`, at the distance that loads keep.
    pub(super) fn load(&mut self, now: Moment, script: &mut Script, pending: Box<Pending>) {
        match script.loads.gate(now.instant) {
            Gate::Go => self.send(now, script, pending),
            Gate::Wait(until) => script.waiting = Waiting::Held { until, pending },
            Gate::Refused(code) => {
                if let Purpose::Verb(verb) = &pending.purpose {
                    self.step(verb, false, code);
                }
                match script.role {
                    // The fallback may be part of the circle.
                    Role::Main => {
                        self.warn(code, &script.place());
                        self.act(self.leg, Action::Release(Cause::TemporaryFailure));
                        self.close(now, Cause::TemporaryFailure, "flow_error");
                    }
                    Role::Screen | Role::InQueue | Role::InRoom | Role::Announce => {
                        self.script_failed(now, script, code);
                    }
                }
            }
        }
    }

    /// Hands the call over to the document that a verb names; the rest of this one is dropped.
    pub(super) fn hand_over(
        &mut self,
        now: Moment,
        script: &mut Script,
        verb: Verb,
        (url, method): (String, Method),
        fields: Fields,
    ) {
        let pending = Pending::new(url, method, fields, Purpose::Verb(verb));
        self.load(now, script, Box::new(pending));
    }

    /// Sends the request of a document.
    pub(super) fn send(&mut self, now: Moment, script: &mut Script, mut pending: Box<Pending>) {
        if pending.url.is_empty() {
            script.loads.note(now.instant);
            if let Purpose::Verb(verb) = &pending.purpose {
                self.step(verb, true, "document");
            }
            if let Some(root) = script.document.clone() {
                self.run_document(script, root, None);
            }
            return;
        }
        let manner = Manner::of(&pending.url, self.terms.waits()).unwrap_or_else(|()| {
            self.warn("TR-FLOW-FRAGMENT", &script.place());
            Manner::usual(self.terms.waits())
        });
        if address::absolute(&pending.url).is_none() {
            return self.not_had(now, script, *pending, "TR-HOOK-URL");
        }
        let mut fields = self.standard(script.leg);
        if script.role == Role::InQueue {
            fields.extend(self.wait_fields(now));
        }
        fields.extend(pending.fields.iter().cloned());
        let mut request = request(&self.terms, &pending.url, pending.method, fields, manner);
        request.headers.extend(self.terms.headers.iter().cloned());
        request.headers.extend(self.cookies.header(&pending.url).map(|line| ("Cookie".to_owned(), line)));
        let document = self.copy_key(&pending);
        let fetch = self.next_fetch();
        if let Some(first) = pending.first {
            let call = self.facts.as_ref().map(params::call_sid).unwrap_or_default();
            let token = sign::name_of(&[&call, &first.to_string()]);
            request.headers.push(("I-Twilio-Idempotency-Token".to_owned(), token));
        }
        pending.first.get_or_insert(fetch);
        pending.attempts += 1;
        self.push(FlowOutput::Fetch { id: fetch, request, document });
        script.waiting = Waiting::Fetch { fetch, pending };
    }

    /// What a copy of a document is kept under. None where its author has said himself what is to
    /// be done when it cannot be had, where the request does more than ask, and for a longer row
    /// of digits, which may be a secret.
    fn copy_key(&self, pending: &Pending) -> Option<DocumentKey> {
        const DIGITS_SECRET: usize = 4;
        let is_first = matches!(pending.purpose, Purpose::First);
        if is_first {
            let to = self.facts.as_ref().map_or("", |facts| facts.to.as_str());
            let failed =
                pending.fields.iter().find(|(name, _)| name == "ErrorUrl").map(|(_, url)| url.as_str());
            let (url, fallback) = match (&self.terms.fallback, failed) {
                (None, _) => (pending.url.as_str(), OwnFallback::None),
                (Some(_), Some(failed)) if pending.is_fallback => (failed, OwnFallback::This),
                (Some(_), _) => (pending.url.as_str(), OwnFallback::Follows),
            };
            let key = format!("{} {}", self.terms.method, plain(url));
            return Some(DocumentKey { key, variant: to.to_owned(), is_first: true, fallback });
        }
        // Digits that were collected by name go with every request.
        let is_about_digits = self.terms.fields.iter().any(|(name, _)| name.starts_with("Digits["));
        let has_secret = is_about_digits
            || pending.fields.iter().any(|(name, value)| name == "Digits" && value.len() >= DIGITS_SECRET);
        let only_asks = pending.method == Method::Get && !has_secret;
        (only_asks && self.terms.fallback.is_none()).then(|| {
            let digits: Vec<&(String, String)> =
                pending.fields.iter().filter(|(name, _)| name == "Digits").collect();
            let digits: Vec<(&str, &str)> =
                digits.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let key = address::with_query(plain(&pending.url), &digits);
            let (key, fallback) = (format!("GET {key}"), OwnFallback::None);
            DocumentKey { key, variant: String::new(), is_first: false, fallback }
        })
    }

    /// The answer to the request of a document.
    pub(super) fn fetched_document(
        &mut self,
        now: Moment,
        script: &mut Script,
        pending: Box<Pending>,
        answer: Result<&HttpResponse, FetchError>,
    ) {
        if let Ok(answer) = answer {
            self.cookies.keep(&answer.url, &answer.headers);
        }
        match judge(answer, self.terms.lenient_prolog) {
            Ok(judged) => {
                script.loads.note(now.instant);
                if let (Purpose::Verb(verb), false) = (&pending.purpose, pending.is_fallback) {
                    self.step(verb, true, "document");
                }
                let came_from = answer.map_or_else(|_| pending.url.clone(), |answer| answer.url.clone());
                let asked = address::as_sent(&pending.url);
                // Where HTTP has led elsewhere, that is where the document is.
                let is_same = plain(&came_from).split('?').next() == asked.split('?').next();
                let url = if is_same { asked } else { came_from.clone() };
                if let (Role::InQueue | Role::InRoom, Judged::Sound(sound)) = (script.role, &judged) {
                    return self.wait_sound(script, sound.clone());
                }
                let is_whole = matches!(judged, Judged::Sound(_) | Judged::Words(_));
                self.run_document(script, judged.into_document(), Some((url, came_from)));
                script.whole = is_whole.then_some(pending);
            }
            Err(code) if self.repeats(&pending, answer) => {
                self.warn(code, &script.place());
                self.send(now, script, pending);
            }
            Err(code) => self.not_had(now, script, *pending, code),
        }
    }

    /// Whether a request that failed is made once more. What the box may replace by a copy is
    /// repeated where that is decided.
    fn repeats(&self, pending: &Pending, answer: Result<&HttpResponse, FetchError>) -> bool {
        let manner = Manner::of(&pending.url, self.terms.waits());
        let manner = manner.unwrap_or(Manner::usual(self.terms.waits()));
        let by_the_box = self.copy_key(pending).is_some_and(|key| key.fallback != OwnFallback::Follows);
        if pending.attempts > manner.retries || by_the_box {
            return false;
        }
        match answer {
            Err(FetchError::Unreachable) => manner.on_connect,
            Err(FetchError::Timeout | FetchError::Cut) => manner.on_read,
            Err(
                FetchError::BadUrl
                | FetchError::AddressRefused
                | FetchError::NameNotFound
                | FetchError::Tls
                | FetchError::TooLarge
                | FetchError::TooManyRedirects
                | FetchError::Protocol
                | FetchError::Overload,
            ) => false,
            Ok(answer) if (400..500).contains(&answer.status) => manner.on_4xx,
            Ok(answer) if answer.status >= 500 => manner.on_5xx,
            Ok(_) => false,
        }
    }

    /// A document cannot be had.
    pub(super) fn not_had(&mut self, now: Moment, script: &mut Script, pending: Pending, code: &'static str) {
        if let (Purpose::Verb(verb), false) = (&pending.purpose, pending.is_fallback) {
            self.step(verb, false, code);
        }
        if script.role != Role::Main {
            return self.script_failed(now, script, code);
        }
        self.warn(code, &script.place());
        let terms = std::rc::Rc::clone(&self.terms);
        if let (Some(fallback), false) = (&terms.fallback, pending.is_fallback) {
            let mut fields = pending.fields.clone();
            fields.push(field("ErrorCode", parse::number_of(code).to_string()));
            fields.push(field("ErrorUrl", plain(&pending.url)));
            let next = Pending {
                url: fallback.url.clone(),
                method: fallback.method,
                fields,
                first: None,
                attempts: 0,
                is_fallback: true,
                purpose: pending.purpose,
            };
            return self.send(now, script, Box::new(next));
        }
        if let (Some(root), false) = (&terms.fallback_document, self.fallback_ran) {
            self.fallback_ran = true;
            return self.run_document(script, std::rc::Rc::clone(root), None);
        }
        if terms.returns_first_failure && matches!(pending.purpose, Purpose::First) {
            return self.return_failure(script, code);
        }
        self.sorry(now, script);
    }

    /// Tells the application something; nobody waits for the answer.
    pub(super) fn tell(
        &mut self,
        topic: &'static str,
        (url, method): (&str, Method),
        fields: Fields,
        is_last: bool,
    ) {
        let manner = Manner::usual(Waits {
            whole: std::time::Duration::from_secs(NOTICE_TIMEOUT_SECS),
            ..self.terms.waits()
        });
        let mut request = request(&self.terms, url, method, fields, manner);
        request.headers.extend(self.cookies.header(url).map(|line| ("Cookie".to_owned(), line)));
        self.push(FlowOutput::Notify(Notice { topic, request, is_last }));
    }
}

/// A call that nobody makes, for a request that asks whether a document can be had.
pub(super) fn nobodys_call(from: &str, to: &str) -> CallFacts {
    CallFacts {
        id: tipring_model::CallId(0),
        leg: None,
        direction: tipring_model::call::Direction::Inbound,
        from: tipring_model::CallerId::of(from),
        to: tipring_model::Number::new(to),
        answered: false,
        codec: "",
        started_unix_ms: 0,
        origin: tipring_model::call::Origin::default(),
        kept: Rc::default(),
        session: None,
    }
}
