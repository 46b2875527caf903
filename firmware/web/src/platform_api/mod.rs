//! The HTTP control API: `/platform_api/StartScenarios`, `GetRules`, `GetCallHistory`.
//!
//! What is wrong with a command is told with status 200 and an object `error`, as clients of this
//! API expect; only too many commands at one time are refused by status (429).

pub mod commands;
pub mod jwt;
pub mod login;
pub mod params;
pub mod public_key;
pub mod rules;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::routing::any;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::commands::{ApiFault, Wanted, wanted};
use self::login::Login;
use self::params::Params;
use self::rules::Application;
use crate::access::{Ports, Via};
use crate::asks::{self, Ask, StartRequest};
use crate::control;
use crate::listen::{body_of, host_of};

/// Commands at one time; more are refused with 429.
pub const COMMANDS_MAX: usize = 32;
/// Longest wait for the daemon: a scenario is loaded meanwhile.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// The only kind of body that is read.
const FORM: &str = "application/x-www-form-urlencoded";

/// What the API needs.
#[derive(Debug)]
pub struct Platform {
    /// Who may give commands.
    pub login: Login,
    /// What can be started.
    pub applications: Vec<Application>,
    /// Where the box listens.
    pub ports: Ports,
    /// The way to the daemon.
    pub asks: mpsc::Sender<Ask>,
    at_once: Semaphore,
    refusals: Refusals,
}

/// Refused logins for the log: one a second at most is told, with the count of those before it.
#[derive(Default, Debug)]
struct Refusals {
    told_s: AtomicI64,
    untold: AtomicU64,
}

impl Refusals {
    /// Those that were not told, if this one is.
    fn tell(&self, now_s: i64) -> Option<u64> {
        if self.told_s.swap(now_s, Ordering::Relaxed) == now_s {
            self.untold.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.untold.swap(0, Ordering::Relaxed))
    }
}

impl Platform {
    /// An API for these applications.
    #[must_use]
    pub fn new(login: Login, applications: Vec<Application>, ports: Ports, asks: mpsc::Sender<Ask>) -> Self {
        Self {
            login,
            applications,
            ports,
            asks,
            at_once: Semaphore::new(COMMANDS_MAX),
            refusals: Refusals::default(),
        }
    }

    /// Asks the daemon. No answer where it is too busy to take the question or takes longer than
    /// `wait`.
    pub(crate) async fn ask<T>(
        &self,
        wait: Duration,
        ask: impl FnOnce(oneshot::Sender<T>) -> Ask,
    ) -> Option<T> {
        asks::ask(&self.asks, wait, ask).await
    }
}

/// The addresses of the API and of running sessions.
pub fn router(platform: Arc<Platform>) -> Router {
    Router::new()
        .route("/platform_api", any(by_field))
        .route("/platform_api/", any(by_field))
        .route("/platform_api/{command}", any(by_path))
        .route("/platform_api/{command}/", any(by_path))
        .route("/request/{session}/{secret}", any(control::serve))
        .fallback(control::nothing)
        .with_state(platform)
}

/// The command stands in the field `cmd`.
async fn by_field(State(platform): State<Arc<Platform>>, request: Request) -> Response {
    serve(&platform, None, request).await
}

/// The command stands in the path.
async fn by_path(
    State(platform): State<Arc<Platform>>,
    Path(command): Path<String>,
    request: Request,
) -> Response {
    serve(&platform, Some(command), request).await
}

async fn serve(platform: &Platform, command: Option<String>, request: Request) -> Response {
    let Ok(_place) = platform.at_once.try_acquire() else {
        let fault = json!({ "error": { "code": 429, "msg": "too many requests at one time" } });
        let mut response = told(StatusCode::TOO_MANY_REQUESTS, &fault);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    };
    match answer(platform, command, request).await {
        Ok(answer) => told(StatusCode::OK, &answer),
        Err(Refused::Fault(fault)) => told(StatusCode::OK, &fault.told()),
        Err(Refused::Status(status)) => {
            let msg = status.canonical_reason().unwrap_or_default();
            told(status, &json!({ "error": { "code": status.as_u16(), "msg": msg } }))
        }
    }
}

/// A refusal in the API's own words, or one that is no matter of the API.
enum Refused {
    Fault(ApiFault),
    Status(StatusCode),
}

impl<T: Into<ApiFault>> From<T> for Refused {
    fn from(fault: T) -> Self {
        Self::Fault(fault.into())
    }
}

async fn answer(platform: &Platform, command: Option<String>, request: Request) -> Result<Value, Refused> {
    let (parts, body) = request.into_parts();
    let form = match parts.method {
        Method::GET => Vec::new(),
        Method::POST => {
            let body = body_of(body).await.map_err(Refused::Status)?;
            let kind = parts.headers.get(CONTENT_TYPE).map_or(Some(FORM), |kind| kind.to_str().ok());
            let is_form = kind
                .and_then(|kind| kind.split(';').next())
                .is_some_and(|kind| kind.trim().eq_ignore_ascii_case(FORM));
            if !is_form && !body.is_empty() {
                return Err(ApiFault::no_form().into());
            }
            body
        }
        _ => return Err(Refused::Status(StatusCode::METHOD_NOT_ALLOWED)),
    };
    let params = Params::parse(parts.uri.query().unwrap_or("").as_bytes(), &form)?;
    let authorization = parts.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let via = parts.extensions.get::<Via>().copied();
    let peer = via.map(|via| via.peer.ip());
    let key = platform.login.admit(authorization, &params, now_s()).inspect_err(|fault| {
        if let Some(before) = platform.refusals.tell(now_s()) {
            tracing::warn!(code = "TR-API-LOGIN", peer = peer.map(tracing::field::display), %fault, before, "a command is refused");
        }
    })?;
    let command = command.or_else(|| params.get("cmd").map(str::to_owned)).unwrap_or_default();
    match wanted(&command, &params, &platform.applications)? {
        Wanted::Answer(answer) => Ok(answer),
        Wanted::History(query) => {
            let page = platform.ask(ANSWER_MAX, |answer| Ask::History(query, answer)).await;
            Ok(page.ok_or_else(ApiFault::no_answer)?.told(platform.login.account.id))
        }
        Wanted::Start(start) => {
            let reached = via.map(|via| via.reached(host_of(&parts), platform.ports)).unwrap_or_default();
            let start = StartRequest { initiator: peer, reached: reached.clone(), ..start };
            let rule = start.rule_id;
            let started = platform.ask(ANSWER_MAX, |answer| Ask::Start(start, answer)).await;
            let started = started.ok_or_else(ApiFault::no_answer)??;
            tracing::info!(key, rule, session = started.history_id, "session started over HTTP");
            let mut told = json!({ "result": 1, "call_session_history_id": started.history_id });
            let at = |base: &String| format!("{base}{}", started.path);
            // Where nobody listens in the clear, the address is that under TLS; never the other
            // way round.
            told["media_session_access_url"] =
                json!(reached.http.as_ref().or(reached.https.as_ref()).map(at));
            if let Some(base) = &reached.https {
                told["media_session_access_secure_url"] = json!(at(base));
            }
            Ok(told)
        }
    }
}

fn told(status: StatusCode, answer: &Value) -> Response {
    let mut response = Response::new(Body::from(answer.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
