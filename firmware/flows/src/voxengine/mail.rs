//! `Net.sendMail`: letters by a mail server of the script's own choice.

use tipring_model::flow::{FlowOutput, Moment};
use tipring_model::letter::Letter;

use super::message::Mail;
use super::requests::{Kind, code};
use super::session::{Session, Stage};

/// Letters of one session on their way.
const ACTIVE_MAX: usize = 2;
/// Addresses of one letter.
const ADDRESSES_MAX: usize = 50;
/// Longest address, RFC 5321 §4.5.3.1.3.
const ADDRESS_BYTES_MAX: usize = 254;
/// Longest name of a server, RFC 1035 §2.3.4.
const SERVER_BYTES_MAX: usize = 253;
/// Longest user name, and longest password, in bytes.
const LOGIN_BYTES_MAX: usize = 255;
/// Longest subject, RFC 5322 §2.1.1.
const SUBJECT_BYTES_MAX: usize = 998;
/// Longest text, with its HTML, in bytes.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

impl Session {
    pub(super) fn mail(&mut self, now: Moment, mail: Mail) {
        let script_id = mail.id;
        if self.stage == Stage::Terminated {
            return;
        }
        if self.requests.letters() >= ACTIVE_MAX {
            return self.not_fetched(now, script_id, code::LIMIT, "too many mails at one time");
        }
        match letter_of(mail) {
            Err(error) => self.not_fetched(now, script_id, code::INTERNAL, error),
            Ok(letter) => {
                let id = self.requests.begin(script_id, Kind::Mail);
                self.push(FlowOutput::Mail(id, Box::new(letter)));
            }
        }
    }
}

fn letter_of(mail: Mail) -> Result<Letter, &'static str> {
    let is_plain = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_control() || c == ' ');
    let is_address = |text: &String| is_plain(text) && text.len() <= ADDRESS_BYTES_MAX && text.contains('@');
    if !is_plain(&mail.server) || mail.server.len() > SERVER_BYTES_MAX || mail.port == 0 {
        return Err("the mail server is not well formed");
    }
    let addresses = mail.to.len() + mail.cc.len() + mail.bcc.len();
    if mail.to.is_empty() || addresses > ADDRESSES_MAX {
        return Err("a mail has 1 to 50 addresses");
    }
    let mut all = mail.to.iter().chain(&mail.cc).chain(&mail.bcc).chain(std::iter::once(&mail.from));
    if !all.all(is_address) {
        return Err("an address is not well formed");
    }
    let is_login = |text: &String| text.len() <= LOGIN_BYTES_MAX && !text.contains(char::is_control);
    if mail.login.as_ref().is_some_and(|(user, password)| !is_login(user) || !is_login(password)) {
        return Err("login or password is not well formed");
    }
    if mail.subject.len() > SUBJECT_BYTES_MAX || mail.subject.contains(char::is_control) {
        return Err("the subject is longer than 998 bytes or has several lines");
    }
    if mail.text.len() + mail.html.as_ref().map_or(0, String::len) > TEXT_BYTES_MAX {
        return Err("the mail is longer than 1048576 bytes");
    }
    let Mail { id: _, server, port, login, from, to, cc, bcc, subject, text, html } = mail;
    Ok(Letter { server, port, login, from, to, cc, bcc, subject, text, html })
}
