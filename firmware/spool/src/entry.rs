//! One webhook as it lies in the spool: rendered once, never rendered again.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use tipring_model::fetch::{Body, HttpRequest, Method};

use crate::class::Class;

/// Longest record, in bytes (S7); what is larger belongs in a file. See
/// [`SledStore`](crate::SledStore) for why it is not more.
pub const RECORD_BYTES_MAX: usize = 24 * 1024;
/// How much of an answer is kept, in bytes.
pub const REPLY_BYTES_MAX: usize = 4 * 1024;
/// The highest number that a webhook from elsewhere may have: 2^53, so that there are always
/// more than will ever be used.
pub const SEQ_MAX: u64 = 1 << 53;
/// The first byte of a record: the form it has.
pub(crate) const FORM: u8 = 1;
/// Form and checksum in front of what is stored.
pub(crate) const HEAD_BYTES: usize = 5;

/// One webhook.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Names it for the receiver, the same however often it is sent.
    pub id: String,
    /// Dotted name of what it tells.
    pub topic: String,
    /// What it is about: those of one subject and one server arrive in order.
    pub subject: String,
    /// How dear it is.
    pub class: Class,
    /// Wall clock when it was put, in milliseconds since 1970 UTC.
    pub put_unix_ms: i64,
    /// How it stands.
    pub state: State,
    /// The number that the receiver is told, where it is not that of the record: a webhook
    /// that came from another box keeps what it had there.
    pub told_seq: Option<u64>,
    /// What is sent.
    pub request: HttpRequest,
}

/// How a webhook stands, as far as a restart must know.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum State {
    /// It waits for its server.
    #[default]
    Queued,
    /// It is set apart: its server does not want it.
    Parked(End),
    /// It was taken, and is kept for a while in case it is asked for.
    Sent(End),
}

impl State {
    const fn is_queued(&self) -> bool {
        matches!(self, Self::Queued)
    }

    /// The name, as it is shown.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Parked(_) => "parked",
            Self::Sent(_) => "sent",
        }
    }
}

/// How the sending of a webhook ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct End {
    /// Wall clock, in milliseconds since 1970 UTC.
    pub at_unix_ms: i64,
    /// The reason.
    pub why: Why,
    /// The status of the last answer, if there was one.
    pub status: Option<u16>,
    /// How often it was sent.
    pub attempts: u32,
    /// How the last answer began: at most [`REPLY_BYTES_MAX`] bytes of it.
    pub reply: String,
}

/// Why a webhook is not sent any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The server took it.
    Taken,
    /// The server called it wrong too often.
    Refused,
    /// The server asked for it never again.
    Aborted,
    /// Its address is wrong or forbidden.
    Unsendable,
}

impl Why {
    /// The name, as it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Refused => "refused",
            Self::Aborted => "aborted",
            Self::Unsendable => "unsendable",
        }
    }
}

/// Why a record cannot be read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EntryError {
    /// It is longer than [`RECORD_BYTES_MAX`].
    #[error("the webhook is too long for the spool")]
    TooLong,
    /// It has a number above [`SEQ_MAX`], which no box gives out.
    #[error("the number is above 9007199254740992")]
    Number,
    /// It has an id that names no webhook: none, only digits, or with control characters.
    #[error("the id is empty, a number, or has control characters")]
    Id,
    /// Its checksum does not fit, or it has another form.
    #[error("the record is damaged")]
    Damaged,
}

/// The form on the disk.
#[derive(Serialize, Deserialize)]
pub(crate) struct Stored {
    id: String,
    topic: String,
    subject: String,
    class: Class,
    put_unix_ms: i64,
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    media_type: Option<String>,
    /// The body, where it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The body in base64, where it is not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    body: String,
    timeout_ms: u64,
    redirects_max: u8,
    body_max_bytes: usize,
    #[serde(default, skip_serializing_if = "State::is_queued")]
    state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told_seq: Option<u64>,
}

impl Stored {
    pub(crate) fn of(entry: &Entry) -> Self {
        let request = &entry.request;
        let bytes = request.body.as_ref().map_or(&[][..], |body| &body.bytes);
        // Control characters would take six bytes each.
        let text = str::from_utf8(bytes).ok().filter(|text| !text.contains(|c| c < ' '));
        Self {
            id: entry.id.clone(),
            topic: entry.topic.clone(),
            subject: entry.subject.clone(),
            class: entry.class,
            put_unix_ms: entry.put_unix_ms,
            method: request.method.as_str().to_owned(),
            url: request.url.clone(),
            headers: request.headers.clone(),
            media_type: request.body.as_ref().map(|body| body.media_type.clone()),
            text: text.map(str::to_owned),
            body: if text.is_some() { String::new() } else { BASE64.encode(bytes) },
            timeout_ms: u64::try_from(request.timeout.as_millis()).unwrap_or(u64::MAX),
            redirects_max: request.redirects_max,
            body_max_bytes: request.body_max_bytes,
            state: entry.state.clone(),
            told_seq: entry.told_seq,
        }
    }

    pub(crate) fn entry(self) -> Result<Entry, EntryError> {
        let method = Method::parse(&self.method).ok_or(EntryError::Damaged)?;
        let bytes = match self.text {
            Some(text) => text.into_bytes(),
            None => BASE64.decode(&self.body).map_err(|_| EntryError::Damaged)?,
        };
        Ok(Entry {
            id: self.id,
            topic: self.topic,
            subject: self.subject,
            class: self.class,
            put_unix_ms: self.put_unix_ms,
            state: self.state,
            told_seq: self.told_seq,
            request: HttpRequest {
                method,
                url: self.url,
                headers: self.headers,
                body: self.media_type.map(|media_type| Body { media_type, bytes }),
                timeout: Duration::from_millis(self.timeout_ms),
                redirects_max: self.redirects_max,
                body_max_bytes: self.body_max_bytes,
                cuts_body: true,
                connect: None,
                moves_fields: false,
                total: None,
            },
        })
    }
}

impl Entry {
    /// The bytes of the record: form, CRC-32C of what follows, and the webhook as JSON.
    ///
    /// # Errors
    /// [`EntryError::TooLong`].
    pub fn to_record(&self) -> Result<Vec<u8>, EntryError> {
        let stored = Stored::of(self);
        let mut record = vec![0; HEAD_BYTES];
        record[0] = FORM;
        serde_json::to_writer(&mut record, &stored).map_err(|_| EntryError::Damaged)?;
        if record.len() > RECORD_BYTES_MAX {
            return Err(EntryError::TooLong);
        }
        let checksum = crc32c::crc32c(&record[HEAD_BYTES..]).to_be_bytes();
        record[1..HEAD_BYTES].copy_from_slice(&checksum);
        Ok(record)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`EntryError::Damaged`].
    pub fn from_record(record: &[u8]) -> Result<Self, EntryError> {
        let (head, rest) = record.split_at_checked(HEAD_BYTES).ok_or(EntryError::Damaged)?;
        if head[0] != FORM || head[1..] != crc32c::crc32c(rest).to_be_bytes() {
            return Err(EntryError::Damaged);
        }
        let stored: Stored = serde_json::from_slice(rest).map_err(|_| EntryError::Damaged)?;
        stored.entry()
    }
}

impl Entry {
    /// The same without what its server answered.
    pub(crate) fn without_reply(&self) -> Self {
        let mut entry = self.clone();
        if let State::Parked(end) | State::Sent(end) = &mut entry.state {
            end.reply.clear();
        }
        entry
    }

    /// Whether it waits or is parked: what a spool must not lose.
    pub(crate) const fn waits(&self) -> bool {
        !matches!(self.state, State::Sent(_))
    }

    /// Scheme, host and port that it goes to, without name and password.
    #[must_use]
    pub fn server(&self) -> String {
        let url = self.request.url.as_str();
        let host = url.find("://").map_or(0, |at| at + 3);
        let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
        let from = url[host..end].rfind('@').map_or(host, |at| host + at + 1);
        format!("{}{}", &url[..host], &url[from..end])
    }

    /// What shares its order: those of one subject arrive as they were put. An emergency
    /// waits for none.
    #[must_use]
    pub fn ordered_by(&self) -> &str {
        if self.class == Class::Emergency { &self.id } else { &self.subject }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn entry(body: &[u8]) -> Entry {
        Entry {
            id: "evt_1".to_owned(),
            topic: "call.state".to_owned(),
            subject: "call-1".to_owned(),
            class: Class::Final,
            put_unix_ms: 1_795_000_000_123,
            state: State::Queued,
            told_seq: None,
            request: HttpRequest {
                method: Method::Post,
                url: "https://example.com/hook?state=hangup".to_owned(),
                headers: vec![("X-One".to_owned(), "1".to_owned())],
                body: Some(Body { media_type: "application/json".to_owned(), bytes: body.to_vec() }),
                timeout: Duration::from_secs(15),
                redirects_max: 5,
                body_max_bytes: 4_096,
                cuts_body: true,
                connect: None,
                moves_fields: false,
                total: None,
            },
        }
    }

    #[test]
    fn a_record_gives_back_what_was_put_and_shows_every_changed_bit() {
        for body in [&b"{\"a\": \"\xc3\xa4\"}"[..], b"", b"line\n", b"\xff"] {
            let entry = entry(body);
            assert_eq!(Entry::from_record(&entry.to_record().unwrap()), Ok(entry));
        }
        let entry = entry(b"\x00\xff{}");
        let record = entry.to_record().unwrap();
        assert_eq!(Entry::from_record(&record), Ok(entry));
        for at in 0..record.len() {
            for bit in 0..8 {
                let mut changed = record.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(Entry::from_record(&changed), Err(EntryError::Damaged), "bit {bit} of byte {at}");
            }
            assert_eq!(Entry::from_record(&record[..at]), Err(EntryError::Damaged), "cut at {at}");
        }
    }

    #[test]
    fn the_server_of_an_address_shows_no_password() {
        for (url, server) in [
            ("https://example.com/hook", "https://example.com"),
            ("http://name:p%40ss@example.com:8080?x=a@b", "http://example.com:8080"),
            ("http://example.com/@", "http://example.com"),
            ("nonsense", "nonsense"),
        ] {
            let mut entry = entry(b"");
            entry.request.url = url.to_owned();
            assert_eq!(entry.server(), server);
        }
    }

    #[test]
    fn how_it_stands_is_in_the_record_and_older_records_wait() {
        let mut entry = entry(b"{}");
        let before = entry.to_record().unwrap();
        assert!(!String::from_utf8_lossy(&before).contains("told_seq"));
        entry.told_seq = Some(7);
        entry.state = State::Parked(End {
            at_unix_ms: 1_795_000_000_999,
            why: Why::Refused,
            status: Some(422),
            attempts: 3,
            reply: "no such call".to_owned(),
        });
        let record = entry.to_record().unwrap();
        assert_eq!(Entry::from_record(&record), Ok(entry));
    }

    #[test]
    fn what_belongs_in_a_file_is_refused() {
        assert_eq!(entry(&[7; RECORD_BYTES_MAX]).to_record(), Err(EntryError::TooLong));
    }
}
