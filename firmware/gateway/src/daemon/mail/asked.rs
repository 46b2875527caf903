//! Letters that flows send by servers of their own choice: once, now, and with the answer told.
//! Each has a thread of its own, so that the box's own letters wait for none of them, and none
//! waits for those. Which servers may be reached is decided as for HTTP.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Message, SmtpTransport, Transport as _};
use tipring_calls::CallInput;
use tipring_model::FetchId;
use tipring_model::fetch::{FetchError, HttpResponse};
use tipring_model::letter::Letter;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_local;

use crate::daemon::switchboard::Switchboard;
use crate::fetch::AllowList;

/// Letters of all flows together on their way.
const ACTIVE_MAX: usize = 8;
/// Longest wait for the server's next word.
const WORD_MAX: Duration = Duration::from_secs(20);
/// Longest wait for the whole.
const WHOLE_MAX: Duration = Duration::from_secs(60);
/// The port on which TLS comes first (RFC 8314 §3.3).
const TLS_PORT: u16 = 465;
/// Longest text of a server that is told, in characters.
const TOLD_CHARS_MAX: usize = 500;

/// Places for letters on their way, and who sends them.
pub(super) struct Asked {
    places: Arc<Semaphore>,
    own_name: String,
}

impl Asked {
    pub(super) fn new(own_name: &str) -> Self {
        Self { places: Arc::new(Semaphore::new(ACTIVE_MAX)), own_name: own_name.to_owned() }
    }
}

impl Switchboard {
    /// Sends a letter for a call, and tells it how that went.
    pub(in crate::daemon) fn mail_for(&self, number: u32, id: FetchId, letter: Letter) {
        let board = self.clone();
        spawn_local(async move {
            let answer = match board.0.outage.left(Instant::now()) {
                Some(_) => Err(FetchError::Unreachable),
                None => board.mailed(letter).await,
            };
            let code = match &answer {
                Ok(answer) => (answer.status >= 400).then_some("TR-MAIL-OF-FLOW"),
                Err(error) => Some(error.code()),
            };
            let status = answer.as_ref().ok().map(|answer| answer.status);
            match code {
                Some(code) => {
                    tracing::warn!(call = %board.call_name(number), code, status, "an e-mail of a flow was not taken");
                }
                None => tracing::info!(call = %board.call_name(number), "an e-mail of a flow was taken"),
            }
            board.handle(number, CallInput::Fetched(id, answer.as_ref().map_err(|error| *error)));
        });
    }

    async fn mailed(&self, letter: Letter) -> Result<HttpResponse, FetchError> {
        let place =
            Arc::clone(&self.0.mail.asked.places).try_acquire_owned().map_err(|_| FetchError::Overload)?;
        let message = message(&letter).ok_or(FetchError::BadUrl)?;
        let addresses = self.0.fetcher.addresses(&letter.server, letter.port, false).await?;
        let (told, answer) = oneshot::channel();
        let name = self.0.mail.asked.own_name.clone();
        std::thread::Builder::new()
            .name("mail-of-flow".to_owned())
            .spawn(move || {
                // Whoever asked may have given up.
                let _ = told.send(send(&letter, &message, &addresses, &name));
                drop(place);
            })
            .map_err(|_| FetchError::Overload)?;
        match tokio::time::timeout(WHOLE_MAX, answer).await {
            Ok(answer) => answer.unwrap_or(Err(FetchError::Overload)),
            Err(_) => Err(FetchError::Timeout),
        }
    }
}

/// The letter as it goes out; none where an address is none.
fn message(letter: &Letter) -> Option<Message> {
    let mailbox = |text: &String| text.parse().ok().map(|address| Mailbox::new(None, address));
    let mut builder = Message::builder().from(mailbox(&letter.from)?).subject(&letter.subject).date_now();
    for to in &letter.to {
        builder = builder.to(mailbox(to)?);
    }
    for cc in &letter.cc {
        builder = builder.cc(mailbox(cc)?);
    }
    for bcc in &letter.bcc {
        builder = builder.bcc(mailbox(bcc)?);
    }
    let builder = builder.message_id(None);
    let text = letter.text.clone();
    match &letter.html {
        None => builder.header(lettre::message::header::ContentType::TEXT_PLAIN).body(text).ok(),
        Some(html) => builder.multipart(MultiPart::alternative_plain_html(text, html.clone())).ok(),
    }
}

/// Sends it, to the first address that can be reached. Blocks.
fn send(
    letter: &Letter,
    message: &Message,
    addresses: &[SocketAddr],
    own_name: &str,
) -> Result<HttpResponse, FetchError> {
    let mut last = FetchError::Unreachable;
    for address in addresses {
        let transport = transport(letter, address.ip(), own_name).map_err(|error| of_transport(&error))?;
        match transport.send(message) {
            Ok(response) => {
                let text = response.message().collect::<Vec<_>>().join("\n");
                return Ok(told(response.code().into(), &text));
            }
            Err(error) => match error.status() {
                Some(code) => return Ok(told(code.into(), &error.to_string())),
                // Another address may be reached.
                None => last = of_transport(&error),
            },
        }
        if last != FetchError::Unreachable {
            break;
        }
    }
    Err(last)
}

/// The way to one of the server's addresses.
fn transport(letter: &Letter, address: IpAddr, own_name: &str) -> Result<SmtpTransport, Error> {
    let parameters = || TlsParameters::new(letter.server.clone());
    let tls = if letter.port == TLS_PORT {
        Tls::Wrapper(parameters()?)
    } else if letter.login.is_some() && !AllowList::is_private(address) {
        // A password does not cross the internet in the clear.
        Tls::Required(parameters()?)
    } else {
        Tls::Opportunistic(parameters()?)
    };
    let mut builder = SmtpTransport::builder_dangerous(address.to_string())
        .port(letter.port)
        .tls(tls)
        .timeout(Some(WORD_MAX))
        .hello_name(ClientId::Domain(own_name.to_owned()));
    if let Some((user, password)) = letter.login.clone() {
        builder = builder.credentials(Credentials::new(user, password));
    }
    Ok(builder.build())
}

fn of_transport(error: &Error) -> FetchError {
    if error.is_timeout() || is_late(error) {
        FetchError::Timeout
    } else if error.is_tls() {
        FetchError::Tls
    } else if error.is_response() || error.is_client() {
        FetchError::Protocol
    } else {
        FetchError::Unreachable
    }
}

/// Whether a socket has waited for as long as it may: the system says so in two ways.
fn is_late(error: &Error) -> bool {
    let late = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| late.contains(&error.kind())) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What the server has said, as the answer to a request.
fn told(status: u16, text: &str) -> HttpResponse {
    let body: String = text.chars().take(TOLD_CHARS_MAX).collect();
    HttpResponse {
        status,
        url: String::new(),
        media_type: None,
        headers: Vec::new(),
        body: body.into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> Letter {
        Letter {
            server: "mail.test".to_owned(),
            port: 587,
            login: None,
            from: "box@office.example".to_owned(),
            to: vec!["ann@office.example".to_owned(), "bob@office.example".to_owned()],
            cc: vec!["carl@office.example".to_owned()],
            bcc: vec!["dora@office.example".to_owned()],
            subject: "Gr\u{fc}\u{df}e".to_owned(),
            text: "one\n.\ntwo".to_owned(),
            html: None,
        }
    }

    #[test]
    fn who_gets_it_unseen_stands_in_the_envelope_alone() {
        let message = message(&letter()).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        assert_eq!(message.envelope().to().len(), 4);
        assert!(text.contains("Cc: carl@office.example") && !text.contains("dora"), "{text}");
        assert!(text.contains("Message-ID: <") && text.contains("Subject: =?utf-8?"), "{text}");
        let both = Letter { html: Some("<p>one".to_owned()), ..letter() };
        let text = String::from_utf8(super::message(&both).unwrap().formatted()).unwrap();
        assert!(text.contains("multipart/alternative") && text.contains("<p>one"), "{text}");
    }

    #[test]
    fn what_is_no_address_is_not_sent() {
        for wrong in ["a@", "@b", "a b@c", "a@b\r\nBcc: x@y", "<a@b>, <c@d>"] {
            assert!(message(&Letter { from: wrong.to_owned(), ..letter() }).is_none(), "{wrong}");
            assert!(message(&Letter { bcc: vec![wrong.to_owned()], ..letter() }).is_none(), "{wrong}");
        }
    }
}
