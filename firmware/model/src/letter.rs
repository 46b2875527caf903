//! E-mail that a flow sends by a server of its own choice.

use core::fmt;

/// One letter, and how it is sent (RFC 5321). Its sizes are bounded by the dialect.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// Name or address of the mail server.
    pub server: String,
    /// Its TCP port; on 465 it speaks TLS from the first byte, elsewhere it may change to it.
    pub port: u16,
    /// User name and password.
    pub login: Option<(String, String)>,
    /// Address of the sender.
    pub from: String,
    /// Addresses that get it.
    pub to: Vec<String>,
    /// Addresses that get it, too.
    pub cc: Vec<String>,
    /// Addresses that get it unseen by the others.
    pub bcc: Vec<String>,
    /// Subject.
    pub subject: String,
    /// What it says.
    pub text: String,
    /// The same as HTML.
    pub html: Option<String>,
}

impl fmt::Debug for Letter {
    /// Without the password, and without what it says.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "letter by {}:{} from {} to {} addresses", self.server, self.port, self.from, self.to.len())
    }
}
