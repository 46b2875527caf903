//! `[mail]`: who sends the box's e-mail.

use toml_edit::Table;

use super::fields::MAIL_FIELDS;
use super::read::Reader;

/// Longest address, RFC 5321 §4.5.3.1.3.
const ADDRESS_BYTES_MAX: usize = 254;

/// How the way to the mail server is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MailTls {
    /// It begins in the clear and must change to TLS before anything is said.
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// Not at all: for a server in the same house.
    None,
}

/// `[mail]`
#[derive(Clone)]
pub(crate) struct Mail {
    /// Name or address of the mail server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is reached.
    pub tls: MailTls,
    /// User name and password.
    pub credentials: Option<(String, String)>,
    /// The sender's address.
    pub from: String,
}

impl core::fmt::Debug for Mail {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}:{} {:?} (secret)", self.host, self.port, self.tls)
    }
}

impl Reader<'_> {
    pub(super) fn mail(&mut self, root: &Table) -> Option<Mail> {
        root.get("mail")?;
        let group = self.group(root, "mail", MAIL_FIELDS);
        let text = |key: &str| group.raw.text(key).map(str::to_owned);
        let from = text("from").unwrap_or_default();
        if group.raw.text("from").is_some() && !is_mail_address(&from) {
            let help = Some("write an address such as \"box@office.example\"".to_owned());
            self.value_fault(&group, "from", "TR-CFG-MALFORMED", format!("`{from}` is no address"), help);
        }
        let credentials = match (text("user"), text("password")) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                let key = if group.raw.text("user").is_some() { "user" } else { "password" };
                let what = "`user` and `password` go together".to_owned();
                self.value_fault(&group, key, "TR-CFG-CONFLICT", what, None);
                None
            }
        };
        let (tls, usual) = match group.raw.text("tls") {
            Some("tls") => (MailTls::Tls, 465),
            Some("none") => (MailTls::None, 25),
            Some(_) | None => (MailTls::StartTls, 587),
        };
        if tls == MailTls::None && credentials.is_some() {
            let what = "a password is not sent in the clear".to_owned();
            let help = Some("use \"starttls\" or \"tls\", or leave out user and password".to_owned());
            self.value_fault(&group, "tls", "TR-CFG-CONFLICT", what, help);
        }
        let port = group.raw.number("port").and_then(|port| u16::try_from(port).ok()).unwrap_or(usual);
        Some(Mail { host: text("host").unwrap_or_default(), port, tls, credentials, from })
    }
}

/// Whether that is the address of somebody.
pub(super) fn is_mail_address(text: &str) -> bool {
    text.len() <= ADDRESS_BYTES_MAX && text.parse::<lettre::Address>().is_ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::MailTls;

    fn read(mail: &str, mailbox: &str) -> Result<Config, Vec<&'static str>> {
        let text = format!("schema = 1\n[mail]\n{mail}\n[[mailbox]]\nname = \"ann\"\n{mailbox}\n");
        Config::parse(&text, Path::new("."))
            .map_err(|faults| faults.into_iter().map(|fault| fault.code).collect())
    }

    #[test]
    fn a_mail_server_is_read_with_its_usual_ports() {
        for (tls, expected, port) in [
            ("", MailTls::StartTls, 587),
            ("tls = \"tls\"", MailTls::Tls, 465),
            ("tls = \"none\"", MailTls::None, 25),
            ("tls = \"none\"\nport = 2525", MailTls::None, 2525),
        ] {
            let text = format!("host = \"mail.example\"\nfrom = \"box@office.example\"\n{tls}");
            let mail = read(&text, "email = [\"ann@office.example\"]").ok().unwrap().mail.unwrap();
            assert_eq!((mail.tls, mail.port), (expected, port), "{tls}");
        }
    }

    #[test]
    fn what_cannot_be_mailed_is_told() {
        let good = "host = \"mail.example\"\nfrom = \"box@office.example\"";
        for (mail, mailbox, code) in [
            ("host = \"mail.example\"".to_owned(), "", "TR-CFG-MISSING"),
            ("host = \"mail.example\"\nfrom = \"box\"".to_owned(), "", "TR-CFG-MALFORMED"),
            (format!("{good}\nuser = \"x\""), "", "TR-CFG-CONFLICT"),
            (format!("{good}\nuser = \"x\"\npassword = \"y\"\ntls = \"none\""), "", "TR-CFG-CONFLICT"),
            (good.to_owned(), "email = [\"ann\"]", "TR-CFG-MALFORMED"),
        ] {
            let codes = read(&mail, mailbox).err().unwrap_or_default();
            assert!(codes.contains(&code), "{mail} {mailbox}: {codes:?}");
        }
        let text = "schema = 1\n[[mailbox]]\nname = \"ann\"\nemail = [\"ann@office.example\"]\n";
        let faults = Config::parse(text, Path::new(".")).err().unwrap_or_default();
        assert!(faults.iter().any(|fault| fault.code == "TR-CFG-REFERENCE"), "no [mail]");
    }
}
