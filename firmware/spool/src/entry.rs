//! One webhook as it lies in the spool: rendered once, never rendered again.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use tipring_model::fetch::{Body, HttpRequest, Method};

/// Longest record, in bytes (S7); what is larger belongs in a file. See
/// [`SledStore`](crate::SledStore) for why it is not more.
pub const RECORD_BYTES_MAX: usize = 24 * 1024;
/// The first byte of a record: the form it has.
const FORM: u8 = 1;
/// Form and checksum in front of what is stored.
const HEAD_BYTES: usize = 5;

/// How dear a webhook is when room runs out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// A state on the way: dropped first, since a later one says more.
    Progress,
    /// How a call ended, and all else that is said once.
    Final,
}

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
    /// What is sent.
    pub request: HttpRequest,
}

/// Why a record cannot be read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EntryError {
    /// It is longer than [`RECORD_BYTES_MAX`].
    #[error("the webhook is too long for the spool")]
    TooLong,
    /// Its checksum does not fit, or it has another form.
    #[error("the record is damaged")]
    Damaged,
}

/// The form on the disk.
#[derive(Serialize, Deserialize)]
struct Stored {
    id: String,
    topic: String,
    subject: String,
    class: Class,
    put_unix_ms: i64,
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    media_type: Option<String>,
    /// Base64.
    body: String,
    timeout_ms: u64,
    redirects_max: u8,
    body_max_bytes: usize,
}

impl Entry {
    /// The bytes of the record: form, CRC-32C of what follows, and the webhook as JSON.
    ///
    /// # Errors
    /// [`EntryError::TooLong`].
    pub fn to_record(&self) -> Result<Vec<u8>, EntryError> {
        let request = &self.request;
        let stored = Stored {
            id: self.id.clone(),
            topic: self.topic.clone(),
            subject: self.subject.clone(),
            class: self.class,
            put_unix_ms: self.put_unix_ms,
            method: request.method.as_str().to_owned(),
            url: request.url.clone(),
            headers: request.headers.clone(),
            media_type: request.body.as_ref().map(|body| body.media_type.clone()),
            body: request.body.as_ref().map(|body| BASE64.encode(&body.bytes)).unwrap_or_default(),
            timeout_ms: u64::try_from(request.timeout.as_millis()).unwrap_or(u64::MAX),
            redirects_max: request.redirects_max,
            body_max_bytes: request.body_max_bytes,
        };
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
        let method = Method::parse(&stored.method).ok_or(EntryError::Damaged)?;
        let bytes = BASE64.decode(&stored.body).map_err(|_| EntryError::Damaged)?;
        Ok(Self {
            id: stored.id,
            topic: stored.topic,
            subject: stored.subject,
            class: stored.class,
            put_unix_ms: stored.put_unix_ms,
            request: HttpRequest {
                method,
                url: stored.url,
                headers: stored.headers,
                body: stored.media_type.map(|media_type| Body { media_type, bytes }),
                timeout: Duration::from_millis(stored.timeout_ms),
                redirects_max: stored.redirects_max,
                body_max_bytes: stored.body_max_bytes,
                cuts_body: true,
                attempts: 1,
            },
        })
    }
}

impl Entry {
    /// Scheme, host and port that it goes to.
    #[must_use]
    pub fn server(&self) -> &str {
        let url = self.request.url.as_str();
        let host = url.find("://").map_or(0, |at| at + 3);
        let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
        &url[..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(body: &[u8]) -> Entry {
        Entry {
            id: "evt_1".to_owned(),
            topic: "call.state".to_owned(),
            subject: "call-1".to_owned(),
            class: Class::Final,
            put_unix_ms: 1_795_000_000_123,
            request: HttpRequest {
                method: Method::Post,
                url: "https://example.com/hook?state=hangup".to_owned(),
                headers: vec![("X-One".to_owned(), "1".to_owned())],
                body: Some(Body { media_type: "application/json".to_owned(), bytes: body.to_vec() }),
                timeout: Duration::from_secs(15),
                redirects_max: 5,
                body_max_bytes: 4_096,
                cuts_body: true,
                attempts: 1,
            },
        }
    }

    #[test]
    fn a_record_gives_back_what_was_put_and_shows_every_changed_bit() {
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
    fn what_belongs_in_a_file_is_refused() {
        assert_eq!(entry(&[7; RECORD_BYTES_MAX]).to_record(), Err(EntryError::TooLong));
    }
}
