//! `/recordings/<seal>/<name>`: whoever has been told the address of a recording fetches it.
//!
//! The seal is a keyed hash of the name, so that nobody finds another recording by guessing, and
//! nothing needs to be remembered. A recording is read in pieces, each when the client has taken
//! the one before, and no faster than calls on the same box can bear.

mod download;
mod range;
mod seal;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, IF_RANGE, RANGE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::routing::any;
use tokio::sync::mpsc;

use self::download::Downloads;
use self::range::{Part, part_of};
pub use self::seal::{KeyFault, Seal};
use crate::access::Via;
use crate::asks::{self, Ask, Recording, RecordingFile};
use crate::control::nothing;

/// Where they are, with a slash at both ends.
const PREFIX: &str = "/recordings/";
/// Longest name without its ending, in bytes: what the box gives is shorter.
const NAME_BYTES_MAX: usize = 200;
/// Longest wait for the daemon.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const MEDIA_TYPE: &str = "audio/wav";

/// What serving recordings needs.
#[derive(Debug)]
struct Recordings {
    seal: Seal,
    asks: mpsc::Sender<Ask>,
    downloads: Downloads,
}

/// Serves recordings whose addresses bear this seal.
pub fn router(seal: Seal, asks: mpsc::Sender<Ask>) -> Router {
    let recordings = Recordings { seal, asks, downloads: Downloads::default() };
    Router::new().route("/recordings/{seal}/{name}", any(serve)).with_state(Arc::new(recordings))
}

/// The name of the recording, without ending, to which a path of this box leads.
#[must_use]
pub fn named_by<'a>(seal: &Seal, path: &'a str) -> Option<&'a str> {
    let (name, ending) = sealed_name(seal, path)?;
    (ending != Ending::Mp3).then_some(name)
}

/// What an application has put behind the name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    None,
    Wav,
    Mp3,
}

/// Name and ending, if the seal before them is theirs.
fn sealed_name<'a>(seal: &Seal, path: &'a str) -> Option<(&'a str, Ending)> {
    let (told, name) = path.strip_prefix(PREFIX)?.split_once('/')?;
    let endings = [(".wav", Ending::Wav), (".mp3", Ending::Mp3)];
    let found = endings.into_iter().find_map(|(text, ending)| Some((name.strip_suffix(text)?, ending)));
    let (name, ending) = found.unwrap_or((name, Ending::None));
    let is_name = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    (is_name && seal.is_of(name, told)).then_some((name, ending))
}

async fn serve(State(recordings): State<Arc<Recordings>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    if !is_head && parts.method != Method::GET {
        let told = plain(StatusCode::METHOD_NOT_ALLOWED, "recordings are fetched by GET");
        return with(told, [(ALLOW, "GET, HEAD".into())]);
    }
    let Some((name, ending)) = sealed_name(&recordings.seal, parts.uri.path()) else {
        return nothing().await;
    };
    if ending == Ending::Mp3 {
        let told = "this box keeps recordings as WAV: ask without an ending, or with .wav";
        return plain(StatusCode::NOT_ACCEPTABLE, told);
    }
    let busy =
        || with(plain(StatusCode::SERVICE_UNAVAILABLE, "the box is busy"), [(RETRY_AFTER, "5".into())]);
    // A place before the daemon is asked, so that who asks without end is refused here.
    let peer = parts.extensions.get::<Via>().map(|via| via.peer.ip());
    let Some(Ok(place)) = peer.map(|peer| recordings.downloads.place(peer)) else { return busy() };
    let asked = asks::ask(&recordings.asks, ANSWER_MAX, |answer| Ask::Recording(name.to_owned(), answer));
    let found = match asked.await {
        Some(Recording::Ready(found)) => found,
        Some(Recording::Unfinished) => {
            let told = plain(StatusCode::NOT_FOUND, "this recording is still being made");
            return with(told, [(RETRY_AFTER, "1".into())]);
        }
        Some(Recording::Nothing) => return nothing().await,
        None => return busy(),
    };
    let tag = format!("\"{:x}-{:x}\"", found.changed_unix_ns, found.bytes);
    let part = part_of(wanted_range(&parts.headers, &tag), found.bytes);
    let (status, first, bytes) = match part {
        Part::Whole => (StatusCode::OK, 0, found.bytes),
        Part::Bytes { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Part::Nowhere => {
            let told = plain(StatusCode::RANGE_NOT_SATISFIABLE, "the recording is shorter");
            return with(told, [(CONTENT_RANGE, format!("bytes */{}", found.bytes))]);
        }
    };
    let whole_bytes = found.bytes;
    let body = if is_head {
        Body::empty()
    } else {
        Body::new(recordings.downloads.begin(RecordingFile { bytes, ..found }, first, place))
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let range = (status == StatusCode::PARTIAL_CONTENT)
        .then(|| (CONTENT_RANGE, format!("bytes {first}-{}/{whole_bytes}", first + bytes - 1)));
    let headers = [
        (CONTENT_TYPE, MEDIA_TYPE.to_owned()),
        (CONTENT_LENGTH, bytes.to_string()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.wav\"")),
        (CACHE_CONTROL, "private".to_owned()),
        (ACCEPT_RANGES, "bytes".to_owned()),
        (ETAG, tag),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    with(response, headers.into_iter().chain(range))
}

/// The range that a request asks for, unless it is about an older file (RFC 9110 §13.1.5).
fn wanted_range<'a>(headers: &'a HeaderMap, tag: &str) -> Option<&'a str> {
    let same = headers.get(IF_RANGE).is_none_or(|wanted| wanted.as_bytes() == tag.as_bytes());
    headers.get(RANGE).filter(|_| same)?.to_str().ok()
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (CACHE_CONTROL, "no-store".to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    with(response, headers)
}

fn with(mut response: Response, headers: impl IntoIterator<Item = (HeaderName, String)>) -> Response {
    for (name, value) in headers {
        // What stands here is made of letters and digits.
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
