//! One letter over SMTP, as a library for it does it. Blocks.

use std::time::Duration;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Severity;
use lettre::{Message, SmtpTransport, Transport as _};

use crate::config::{Mail, MailTls};

/// Longest wait for the server's next word.
const WORD_MAX: Duration = Duration::from_secs(30);

/// How an attempt went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Attempt {
    /// The server has taken it.
    Taken,
    /// The server will never take it.
    Refused(String),
    /// Not now.
    Later(String),
}

/// The way to the server; each letter goes over a connection of its own.
///
/// # Errors
/// The system has no certificates to trust, or the host has no name for them.
pub(super) fn transport(
    mail: &Mail,
    own_name: &str,
) -> Result<SmtpTransport, lettre::transport::smtp::Error> {
    let tls = match mail.tls {
        MailTls::None => Tls::None,
        MailTls::StartTls => Tls::Required(TlsParameters::new(mail.host.clone())?),
        MailTls::Tls => Tls::Wrapper(TlsParameters::new(mail.host.clone())?),
    };
    let mut builder = SmtpTransport::builder_dangerous(&mail.host)
        .port(mail.port)
        .tls(tls)
        .timeout(Some(WORD_MAX))
        .hello_name(ClientId::Domain(own_name.to_owned()));
    if let Some((user, password)) = mail.credentials.clone() {
        builder = builder.credentials(Credentials::new(user, password));
    }
    Ok(builder.build())
}

/// Sends a letter.
pub(super) fn send(transport: &SmtpTransport, letter: &Message) -> Attempt {
    match transport.send(letter) {
        Ok(_) => Attempt::Taken,
        Err(error) => {
            let code = error.status();
            let told = error.to_string();
            // RFC 5321 §4.2.3: 550 to 554 are about this letter. 530 to 538 are about the
            // account, which somebody can put right.
            let is_final = code.is_some_and(|code| {
                let number = code.to_string();
                code.severity == Severity::PermanentNegativeCompletion && number.starts_with("55")
            });
            if is_final { Attempt::Refused(told) } else { Attempt::Later(told) }
        }
    }
}
