//! The resumable upload protocol tus 1.0.0, from the client's side. Pure.
//!
//! An upload is created (POST), its bytes are sent in pieces (PATCH, each at the offset
//! where the server stands), and where it broke off the server is asked how far it got
//! (HEAD).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tipring_model::fetch::{Body, HttpRequest, Method};
use url::Url;

/// Longest wait for the server.
const TIMEOUT: Duration = Duration::from_secs(60);
/// What the server may say that is read at all, in bytes.
const ANSWER_BYTES_MAX: usize = 4_096;

/// What to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Tell the server of the upload.
    Create,
    /// Ask how far it got.
    Ask,
    /// Send bytes from here on.
    Send(u64),
    /// All of it is there.
    Done,
}

/// Why it does not go on now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// The server is away or busy.
    Later,
    /// The server does not want it.
    Refused(u16),
}

/// What the server said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Said {
    /// The status.
    pub status: u16,
    /// `Location`.
    pub location: Option<String>,
    /// `Upload-Offset`.
    pub offset: Option<u64>,
}

/// One upload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Upload {
    bytes: u64,
    /// Where the server keeps it.
    location: Option<String>,
    /// How far the server got, if that is known.
    offset: Option<u64>,
    /// It said that it stands elsewhere than it said before.
    is_at_odds: bool,
}

impl Upload {
    /// An upload of so many bytes, which `server` keeps at `location` if it was created there
    /// before.
    pub(super) fn new(server: &str, bytes: u64, location: Option<&str>) -> Self {
        let location = location.filter(|place| !place.is_empty()).and_then(|place| resolved(server, place));
        Self { bytes, location, offset: None, is_at_odds: false }
    }

    /// Where the server keeps it.
    pub(super) fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// What to do next.
    pub(super) const fn next(&self) -> Step {
        match (&self.location, self.offset) {
            (None, _) => Step::Create,
            (Some(_), None) => Step::Ask,
            (Some(_), Some(offset)) if offset >= self.bytes => Step::Done,
            (Some(_), Some(offset)) => Step::Send(offset),
        }
    }

    /// The request of a step; none for `Done`. `piece` is what is sent, `about` what the
    /// server is told of the file.
    pub(super) fn request(
        &self,
        server: &str,
        step: &Step,
        piece: Vec<u8>,
        about: &[(&str, &str)],
    ) -> Option<HttpRequest> {
        let mut headers = vec![("Tus-Resumable".to_owned(), "1.0.0".to_owned())];
        let mut body = None;
        let (method, url) = match step {
            Step::Create => {
                headers.push(("Upload-Length".to_owned(), self.bytes.to_string()));
                let about: Vec<String> =
                    about.iter().map(|(name, value)| format!("{name} {}", BASE64.encode(value))).collect();
                headers.push(("Upload-Metadata".to_owned(), about.join(",")));
                (Method::Post, server.to_owned())
            }
            Step::Ask => (Method::Head, self.location.clone()?),
            Step::Send(offset) => {
                headers.push(("Upload-Offset".to_owned(), offset.to_string()));
                let media_type = "application/offset+octet-stream".to_owned();
                body = Some(Body { media_type, bytes: piece });
                (Method::Patch, self.location.clone()?)
            }
            Step::Done => return None,
        };
        Some(HttpRequest {
            method,
            url,
            headers,
            body,
            timeout: TIMEOUT,
            redirects_max: 0,
            body_max_bytes: ANSWER_BYTES_MAX,
            cuts_body: true,
            connect: None,
            moves_fields: false,
            total: None,
        })
    }

    /// Takes what the server said to a step; nothing if it gave no answer.
    ///
    /// # Errors
    /// [`Trouble`], when the next step has to wait.
    pub(super) fn answered(&mut self, server: &str, step: &Step, said: Option<&Said>) -> Result<(), Trouble> {
        let Some(said) = said else {
            // How much of a piece arrived is not known.
            self.offset = None;
            return Err(Trouble::Later);
        };
        match (step, said.status) {
            (Step::Create, 200..=299) => {
                let location = said.location.as_deref().and_then(|place| resolved(server, place));
                // Without a place there is nothing to send to.
                self.location = Some(location.ok_or(Trouble::Refused(said.status))?);
                self.offset = Some(said.offset.unwrap_or(0));
                Ok(())
            }
            (Step::Ask, 200..=299) => {
                // More than there is cannot be ours.
                self.offset = said.offset.filter(|offset| *offset <= self.bytes);
                if self.offset.is_some() {
                    return Ok(());
                }
                self.location = None;
                Err(Trouble::Later)
            }
            (Step::Send(sent), 200..=299) => {
                let offset = said.offset.filter(|offset| offset > sent && *offset <= self.bytes);
                self.offset = offset;
                self.is_at_odds = false;
                // A server that takes bytes and does not move must not be asked for ever.
                if offset.is_some() { Ok(()) } else { Err(Trouble::Later) }
            }
            // It has forgotten the upload: it begins anew.
            (Step::Ask | Step::Send(_), 403 | 404 | 410) => {
                (self.location, self.offset) = (None, None);
                Err(Trouble::Later)
            }
            (Step::Send(_), 409 | 460) => {
                self.offset = None;
                // Once it may be news; a server that never agrees with itself must not be asked
                // for ever.
                if std::mem::replace(&mut self.is_at_odds, true) { Err(Trouble::Later) } else { Ok(()) }
            }
            (_, 408 | 423 | 425 | 429 | 500..) => {
                self.offset = None;
                Err(Trouble::Later)
            }
            (_, status) => {
                self.offset = None;
                Err(Trouble::Refused(status))
            }
        }
    }
}

/// A place that the server named, which may be relative to where it was asked. Another
/// server than the owner's is not sent to.
fn resolved(server: &str, place: &str) -> Option<String> {
    let server = Url::parse(server).ok()?;
    let mut location = server.join(place).ok()?;
    if location.origin() != server.origin() {
        return None;
    }
    if location.username().is_empty() && location.password().is_none() {
        // Neither fails for a URL with a host.
        let _ = location.set_username(server.username());
        let _ = location.set_password(server.password());
    }
    Some(location.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "https://box:secret@files.test/uploads/";

    fn said(status: u16, location: Option<&str>, offset: Option<u64>) -> Said {
        Said { status, location: location.map(str::to_owned), offset }
    }

    fn told(upload: &mut Upload, said: Option<&Said>) -> Result<(), Trouble> {
        let step = upload.next();
        upload.answered(SERVER, &step, said)
    }

    #[test]
    fn an_upload_goes_through_and_resumes_where_it_broke_off() {
        let mut upload = Upload::new(SERVER, 1_000, None);
        assert_eq!(upload.next(), Step::Create);
        told(&mut upload, Some(&said(201, Some("abc"), None))).unwrap();
        assert_eq!(upload.location(), Some("https://box:secret@files.test/uploads/abc"));
        assert_eq!(upload.next(), Step::Send(0));
        told(&mut upload, Some(&said(204, None, Some(400)))).unwrap();
        assert_eq!(upload.next(), Step::Send(400));
        assert_eq!(told(&mut upload, None), Err(Trouble::Later));
        // In another run of the box.
        let mut upload = Upload::new(SERVER, 1_000, upload.location());
        assert_eq!(upload.next(), Step::Ask);
        told(&mut upload, Some(&said(200, None, Some(700)))).unwrap();
        assert_eq!(upload.next(), Step::Send(700));
        told(&mut upload, Some(&said(204, None, Some(1_000)))).unwrap();
        assert_eq!(upload.next(), Step::Done);
    }

    #[test]
    fn whatever_the_server_says_it_goes_on_or_waits() {
        let sending = || {
            let mut upload = Upload::new(SERVER, 1_000, Some("https://files.test/uploads/abc"));
            upload.answered(SERVER, &Step::Ask, Some(&said(200, None, Some(100)))).unwrap();
            upload
        };
        for (answer, result, next) in [
            (said(204, None, Some(100)), Err(Trouble::Later), Step::Ask),
            (said(204, None, None), Err(Trouble::Later), Step::Ask),
            (said(204, None, Some(9_999)), Err(Trouble::Later), Step::Ask),
            (said(409, None, None), Ok(()), Step::Ask),
            (said(404, None, None), Err(Trouble::Later), Step::Create),
            (said(410, None, None), Err(Trouble::Later), Step::Create),
            (said(503, None, None), Err(Trouble::Later), Step::Ask),
            (said(423, None, None), Err(Trouble::Later), Step::Ask),
            (said(415, None, None), Err(Trouble::Refused(415)), Step::Ask),
            (said(302, None, None), Err(Trouble::Refused(302)), Step::Ask),
        ] {
            let mut upload = sending();
            assert_eq!(told(&mut upload, Some(&answer)), result, "{answer:?}");
            assert_eq!(upload.next(), next, "{answer:?}");
        }
        let mut upload = Upload::new(SERVER, 1_000, Some("https://files.test/uploads/abc"));
        assert_eq!(told(&mut upload, Some(&said(200, None, Some(5_000)))), Err(Trouble::Later));
        assert_eq!(upload.next(), Step::Create, "an offset beyond the end is not of this file");
        for place in ["", "https://other.test/uploads/abc", "http://[", "https://files.test:444/x"] {
            assert_eq!(Upload::new(SERVER, 1_000, Some(place)).next(), Step::Create, "{place}");
        }
        let mut upload = sending();
        assert_eq!(told(&mut upload, Some(&said(409, None, None))), Ok(()));
        told(&mut upload, Some(&said(200, None, Some(100)))).unwrap();
        assert_eq!(told(&mut upload, Some(&said(409, None, None))), Err(Trouble::Later), "twice is a circle");
        for place in [None, Some("https://other.test/x"), Some("http://files.test/x")] {
            let mut upload = Upload::new(SERVER, 1_000, None);
            assert_eq!(
                told(&mut upload, Some(&said(201, place, None))),
                Err(Trouble::Refused(201)),
                "{place:?}"
            );
        }
    }

    #[test]
    fn requests_are_as_the_protocol_wants_them() {
        let upload = Upload::new("https://files.test/u", 1_000, Some("https://files.test/u/1"));
        let create = upload
            .request(SERVER, &Step::Create, Vec::new(), &[("filename", "a.wav"), ("call", "7")])
            .unwrap();
        assert_eq!((create.method, create.url.as_str()), (Method::Post, SERVER));
        let field = |request: &HttpRequest, name: &str| {
            request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        assert_eq!(field(&create, "Upload-Length").as_deref(), Some("1000"));
        assert_eq!(field(&create, "Upload-Metadata").as_deref(), Some("filename YS53YXY=,call Nw=="));
        let send = upload.request(SERVER, &Step::Send(40), vec![1, 2], &[]).unwrap();
        assert_eq!((send.method, send.url.as_str()), (Method::Patch, "https://files.test/u/1"));
        assert_eq!(field(&send, "Upload-Offset").as_deref(), Some("40"));
        assert_eq!(send.body.unwrap().media_type, "application/offset+octet-stream");
        let ask = upload.request(SERVER, &Step::Ask, Vec::new(), &[]).unwrap();
        assert_eq!((ask.method, field(&ask, "Tus-Resumable").as_deref()), (Method::Head, Some("1.0.0")));
        assert_eq!(upload.request(SERVER, &Step::Done, Vec::new(), &[]), None);
    }
}
