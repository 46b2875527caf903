//! `/request/<session>/<secret>`: whoever has a session's address speaks to it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use crate::asks::{Ask, ControlReply, ControlRequest};
use crate::listen::body_of;
use crate::platform_api::Platform;

/// Longest wait for the daemon. A session itself has ten seconds, and says so.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Longest part of the path, in bytes; sessions have shorter ones.
const PART_BYTES_MAX: usize = 64;
const TEXT: &str = "text/plain; charset=utf-8";

/// Serves a request to a session.
pub(crate) async fn serve(
    State(platform): State<Arc<Platform>>,
    Path((session, secret)): Path<(String, String)>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = match body_of(body).await {
        Ok(body) => body,
        Err(status) => return plain(status, status.canonical_reason().unwrap_or_default()),
    };
    if session.len() > PART_BYTES_MAX || secret.len() > PART_BYTES_MAX {
        return nothing().await;
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let headers = parts.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let control = ControlRequest {
        session,
        secret,
        method: parts.method.as_str().to_owned(),
        path,
        headers: headers.collect(),
        body,
    };
    match platform.ask(ANSWER_MAX, |answer| Ask::Control(control, answer)).await {
        Some(Some(ControlReply { status, media_type, body })) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let kind = HeaderValue::try_from(media_type).unwrap_or(HeaderValue::from_static(TEXT));
            answer(status, kind, Body::from(body))
        }
        Some(None) => nothing().await,
        None => plain(StatusCode::GATEWAY_TIMEOUT, "the session did not answer"),
    }
}

/// There is nothing here, or no longer, or not with that secret: all the same.
pub(crate) async fn nothing() -> Response {
    plain(StatusCode::NOT_FOUND, "there is nothing here")
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    answer(status, HeaderValue::from_static(TEXT), Body::from(text))
}

fn answer(status: StatusCode, kind: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
