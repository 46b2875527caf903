//! `pivot`: the next part of the flow comes from a server.

use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tipring_model::fetch::{FetchError, HttpRequest, HttpResponse, Method};
use tipring_model::flow::{FlowOutput, Moment, Step};

use super::dial::GREGORIAN_OFFSET;
use super::flow::{KazooFlow, Next};
use super::parse::{self, ANSWER_BYTES_MAX, Node, Report};
use super::webhook::own_headers;
use super::{params, twiml};
use crate::address;

/// Longest wait of a node, whatever its request does.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Redirects that are followed.
const REDIRECTS_MAX: u8 = 5;
/// Longest debug record, in bytes.
const RECORD_BYTES_MAX: usize = 4_096;
/// What of a body a debug record shows, in characters.
const SHOWN_MAX: usize = 2_000;

/// What a server answered, or why there is no answer.
pub(super) type Answer<'a> = Result<&'a HttpResponse, FetchError>;

/// A request under way.
pub(super) struct Asking {
    path: String,
    /// As the node says, without the fields of the box.
    url: String,
    iteration: u32,
    /// Records are wanted.
    is_traced: bool,
}

/// What an answer holds.
enum Judged {
    Flow(Rc<Node>),
    Twiml,
}

/// Why an answer is of no use.
struct Refusal {
    code: &'static str,
    report: Option<Report>,
}

impl From<&'static str> for Refusal {
    fn from(code: &'static str) -> Self {
        Self { code, report: None }
    }
}

/// Whether an answer would run.
///
/// # Errors
/// The catalogue code of what is wrong with it.
pub(super) fn judge(answer: &HttpResponse) -> Result<(), &'static str> {
    judged(Ok(answer)).map(drop).map_err(|refusal| refusal.code)
}

fn judged(answer: Answer<'_>) -> Result<Judged, Refusal> {
    let answer = answer.map_err(FetchError::code)?;
    if !answer.is_success() {
        return Err("TR-HOOK-STATUS".into());
    }
    if answer.body.iter().all(u8::is_ascii_whitespace) {
        return Err("TR-FLOW-JSON".into());
    }
    let essence = answer.media_type.as_deref().unwrap_or("text/xml").split(';').next().unwrap_or("");
    let read = |bytes: &[u8]| {
        parse::answer(bytes)
            .map(Judged::Flow)
            .map_err(|report| Refusal { code: report.first_code(), report: Some(report) })
    };
    let is_twiml = || match twiml::fault(&answer.body) {
        Some(code) => Err(Refusal::from(code)),
        None => Ok(Judged::Twiml),
    };
    match essence.trim().to_ascii_lowercase().as_str() {
        "text/xml" | "application/xml" => is_twiml(),
        "application/json" => read(&answer.body),
        _ => is_twiml().or_else(|_| read(&answer.body)),
    }
}

impl KazooFlow {
    pub(super) fn pivot(&mut self, now: Moment, node: &Rc<Node>) -> Next {
        let data = node.data();
        if data.value("serverless").is_some() {
            return self.serverless(now, node);
        }
        let Some(url) = data.filled("voice_url").and_then(address::absolute) else {
            return self.fail("TR-HOOK-URL");
        };
        if !std::mem::take(&mut self.was_held) {
            // What the caller heard or did since the last answer: no circle.
            self.loads.progress(self.loads.since(now.instant));
        }
        if let Some(until) = self.loads.slowed(now.instant) {
            self.was_held = true;
            return self.hold(until);
        }
        let method = data.text("method").and_then(Method::parse).unwrap_or(Method::Get);
        let timeout = Duration::from_millis(data.count("req_timeout_ms").unwrap_or(5_000).clamp(1, 5_000));
        let request_url = url.clone();
        let mut request = HttpRequest {
            method,
            url,
            headers: own_headers(data),
            body: None,
            timeout,
            // Redirects share the time of the request.
            total: Some(timeout),
            redirects_max: REDIRECTS_MAX,
            body_max_bytes: ANSWER_BYTES_MAX,
            cuts_body: false,
            connect: None,
            moves_fields: false,
        };
        let is_json = data.text("req_body_format") == Some("json");
        if data.text("req_format") == Some("twiml") {
            request = self.twiml_request(data, &request);
        } else {
            params::send(&mut request, self.pivot_fields(), params::encoding(method, is_json));
        }
        self.requests = self.requests.saturating_add(1);
        let asking = Box::new(Asking {
            path: node.path.clone(),
            url: request_url,
            iteration: self.requests,
            is_traced: data.is("debug"),
        });
        if asking.is_traced {
            let record = request_record(&request);
            self.trace(now, &asking, true, record);
        }
        self.fetch(request, now.instant + WAIT_MAX, asking)
    }

    /// A flow that the node carries itself.
    fn serverless(&mut self, now: Moment, node: &Rc<Node>) -> Next {
        if node.inline.is_some() {
            return Next::Replace(node.inline.clone());
        }
        let serverless = node.data().inside("serverless", "serverless.");
        let is_xml = serverless.filled("flow_type") != Some("application/json");
        let text = serverless.filled("flow_doc").unwrap_or("");
        if is_xml {
            let answer = HttpResponse {
                status: 200,
                url: String::new(),
                media_type: None,
                headers: Vec::new(),
                body: text.as_bytes().to_vec(),
            };
            return match twiml::fault(&answer.body) {
                Some(code) => self.fail(code),
                None => self.hand_over(now, "", &answer),
            };
        }
        match parse::answer(text.as_bytes()) {
            Ok(flow) => Next::Replace(Some(flow)),
            Err(report) => self.fail(report.first_code()),
        }
    }

    pub(super) fn pivot_answered(&mut self, now: Moment, asking: Asking, answer: Answer<'_>) -> Next {
        self.loads.note(now.instant);
        if asking.is_traced
            && let Ok(answer) = answer
        {
            self.trace(now, &asking, answer.is_success(), response_record(answer));
        }
        match judged(answer) {
            Ok(Judged::Flow(flow)) => Next::Replace(Some(flow)),
            Ok(Judged::Twiml) => match answer {
                Ok(answer) => self.hand_over(now, &asking.url, answer),
                Err(error) => self.fail(error.code()),
            },
            Err(refusal) => {
                // What a status says is said by the record of the response.
                if asking.is_traced && refusal.code != "TR-HOOK-STATUS" {
                    self.trace(now, &asking, false, error_record(&refusal, answer));
                }
                self.fail(refusal.code)
            }
        }
    }

    /// A debug record: a step of the timeline.
    fn trace(&mut self, now: Moment, asking: &Asking, success: bool, mut record: Value) {
        let call = self.facts().map_or_else(String::new, |facts| facts.id.to_string());
        if let Some(record) = record.as_object_mut() {
            record.insert("call_id".to_owned(), call.into());
            record.insert("iteration".to_owned(), asking.iteration.into());
            let created = now.unix_ms.div_euclid(1_000).saturating_add(GREGORIAN_OFFSET);
            record.insert("created".to_owned(), created.into());
        }
        let mut reason = record.to_string();
        let mut end = reason.len().min(RECORD_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        let (command, path) = ("pivot.debug".to_owned(), asking.path.clone());
        self.push(FlowOutput::Step(Step { command, path, success, reason, tag: None }));
    }
}

fn request_record(request: &HttpRequest) -> Value {
    let body = request.body.as_ref().map(|body| masked_body(&body.bytes));
    json!({
        "uri": masked_url(&request.url),
        "method": request.method.as_str().to_ascii_lowercase(),
        "req_headers": headers(&request.headers),
        "req_body": body.unwrap_or_default(),
    })
}

fn response_record(answer: &HttpResponse) -> Value {
    json!({
        "resp_status_code": answer.status.to_string(),
        "resp_headers": headers(&answer.headers),
        "resp_body": shown(&answer.body),
    })
}

fn error_record(refusal: &Refusal, answer: Answer<'_>) -> Value {
    let Ok(answer) = answer else { return json!({"error": {"message": refusal.code}}) };
    let body = shown(&answer.body);
    let Some(report) = &refusal.report else {
        return json!({"error": {"message": refusal.code}, "resp_body": body});
    };
    if refusal.code == "TR-FLOW-JSON" {
        let [before, after] = around(&answer.body, report);
        let errors = json!({"before": before, "after": after, "message": refusal.code});
        return json!({"json_errors": errors, "resp_body": body});
    }
    let errors: Vec<Value> = report
        .findings
        .iter()
        .filter(|finding| finding.fatal)
        .take(10)
        .map(|finding| json!({"code": finding.code, "path": finding.subject, "line": finding.line}))
        .collect();
    json!({"schema_errors": errors, "resp_body": body})
}

/// What stands before and behind the place where a document is no JSON.
fn around(body: &[u8], report: &Report) -> [String; 2] {
    const AROUND_MAX: usize = 40;
    let at = report.findings.iter().find(|finding| finding.fatal);
    let (line, column) = at.map_or((1, 1), |finding| (finding.line, finding.column));
    let text = String::from_utf8_lossy(body);
    let lines: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1) as usize)
        .map(|line| line.chars().count())
        .sum();
    let at = lines + column.saturating_sub(1) as usize;
    let from = at.saturating_sub(AROUND_MAX);
    let part = |from: usize, to: usize| text.chars().skip(from).take(to - from).collect();
    [part(from, at), part(at, at + AROUND_MAX)]
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(SHOWN_MAX).collect()
}

const MASK: &str = "***";

/// Fields of the box that hold nothing but what the record of the call holds as well. Digits,
/// variables and what an author has put into an address may let somebody in.
const SHOWN_FIELDS: [&str; 28] = [
    "Account-ID",
    "AccountSid",
    "Api-Version",
    "ApiVersion",
    "Call-ID",
    "Call-Status",
    "CallSid",
    "CallStatus",
    "Called",
    "Caller",
    "Caller-ID-Name",
    "Caller-ID-Number",
    "CallerName",
    "CallerNumber",
    "Direction",
    "ForwardedFrom",
    "From",
    "From-Realm",
    "FromRealm",
    "Language",
    "Request",
    "Request-Realm",
    "To",
    "To-Realm",
    "ToRealm",
    "User-ID",
    "User-ID[]",
    "bodySHA256",
];

/// Header fields, without what lets somebody in.
fn headers(headers: &[(String, String)]) -> Value {
    const SECRETS: [&str; 12] = [
        "auth",
        "code",
        "cookie",
        "credential",
        "jwt",
        "key",
        "pass",
        "pwd",
        "secret",
        "sig",
        "token",
        "url",
    ];
    let masked = headers.iter().map(|(name, value)| {
        let name = name.to_ascii_lowercase();
        let is_secret = SECRETS.iter().any(|word| name.contains(word)) || name == "location";
        (name, Value::from(if is_secret { MASK } else { value.as_str() }))
    });
    Value::Object(masked.collect())
}

/// A URL without the name and password in it, and without the values of its query that are
/// not shown.
fn masked_url(url: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
    let query = query.map_or_else(String::new, |query| format!("?{}", masked_fields(query)));
    let plain = || format!("{address}{query}");
    let Some((scheme, rest)) = address.split_once("://") else { return plain() };
    let end = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    match host.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{MASK}@{host}{path}{query}"),
        None => plain(),
    }
}

/// Fields of a query or a form.
fn masked_fields(fields: &str) -> String {
    let fields = fields.split('&').map(|field| {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        let plain = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        if value.is_empty() || SHOWN_FIELDS.contains(&plain.as_ref()) {
            field.to_owned()
        } else {
            format!("{name}={MASK}")
        }
    });
    fields.collect::<Vec<_>>().join("&")
}

fn masked_body(bytes: &[u8]) -> String {
    let masked = match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(members)) => {
            let masked = members.into_iter().map(|(name, value)| {
                let value = match value {
                    value if SHOWN_FIELDS.contains(&name.as_str()) => value,
                    Value::Object(inner) => {
                        inner.into_iter().map(|(key, _)| (key, Value::from(MASK))).collect()
                    }
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                        MASK.into()
                    }
                };
                (name, value)
            });
            Value::Object(masked.collect()).to_string()
        }
        Ok(_) | Err(_) => masked_fields(&String::from_utf8_lossy(bytes)),
    };
    masked.chars().take(SHOWN_MAX).collect()
}
