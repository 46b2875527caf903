//! The e-mail that tells of a message in a mailbox. Pure.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lettre::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};

/// Longest recording that is attached, in bytes: in base64, some eleven mebibytes, which most
/// mail servers take.
pub(super) const ATTACHED_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Longest name of a caller that is told, in characters.
const NAME_CHARS_MAX: usize = 64;

/// A message that somebody is to be told of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::daemon) struct Owed {
    /// The mailbox.
    pub(in crate::daemon) mailbox: String,
    /// The file of the message in it.
    pub(in crate::daemon) file: String,
    /// Who called.
    pub(in crate::daemon) from: String,
    /// His name.
    pub(in crate::daemon) name: Option<String>,
    /// When.
    pub(in crate::daemon) at_unix_ms: i64,
    /// For how long he spoke.
    pub(in crate::daemon) length_ms: u64,
    /// Who is not told yet.
    pub(in crate::daemon) to: Vec<String>,
}

/// Who sends, and what his clock shows.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    /// His address.
    pub(super) from: String,
    /// Name of the box.
    pub(super) name: String,
    /// IANA name of its time zone.
    pub(super) zone: String,
}

/// The letter to one address, with the recording unless it is too long.
///
/// # Errors
/// One of the addresses is none.
pub(super) fn letter(
    sender: &Sender,
    owed: &Owed,
    to: &str,
    recording: Option<Vec<u8>>,
) -> Result<Message, lettre::error::Error> {
    let address = |text: &str| {
        text.parse().map(|address| Mailbox::new(None, address)).map_err(|_| lettre::error::Error::MissingTo)
    };
    let from = Mailbox::new(Some("Voicemail".to_owned()), address(&sender.from)?.email);
    let seconds = owed.length_ms.div_ceil(1_000);
    let length = format!("{}:{:02}", seconds / 60, seconds % 60);
    let at = Timestamp::from_millisecond(owed.at_unix_ms).unwrap_or_default();
    let local = at.to_zoned(TimeZone::get(&sender.zone).unwrap_or(TimeZone::UTC));
    let clean = |c: &char| !c.is_control();
    let name: String =
        owed.name.iter().flat_map(|name| name.chars()).filter(clean).take(NAME_CHARS_MAX).collect();
    let caller = if name.is_empty() { owed.from.clone() } else { format!("{name} ({})", owed.from) };
    let mut text = format!(
        "A message was left in the mailbox {}.\r\n\r\nFrom: {caller}\r\nTime: {} ({})\r\nLength: {length}\r\n",
        owed.mailbox,
        local.strftime("%Y-%m-%d %H:%M:%S"),
        sender.zone,
    );
    if recording.is_none() {
        text.push_str(
            "\r\nThe recording is not attached: it is too long, or gone. Listen to it by telephone.\r\n",
        );
    }
    let host: String = sender
        .name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '-' })
        .collect();
    let builder = Message::builder()
        .from(from)
        .to(address(to)?)
        // What looks like an encoded word (RFC 2047) would be decoded by whoever reads it.
        .subject(format!("Voicemail from {} ({length})", caller.replace("=?", "= ?")))
        .date(
            std::time::SystemTime::UNIX_EPOCH
                + std::time::Duration::from_millis(owed.at_unix_ms.max(0).unsigned_abs()),
        )
        // The same at each attempt: whoever gets it twice can see that.
        .message_id(Some(format!("<{}.{}@{host}>", owed.file, owed.mailbox)))
        // RFC 3834: nobody answers a machine.
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
    let plain = SinglePart::plain(text);
    match recording {
        None => builder.singlepart(plain),
        Some(bytes) => {
            let kind = ContentType::parse("audio/wav").unwrap_or(ContentType::TEXT_PLAIN);
            let file = format!("voicemail-{}.wav", local.strftime("%Y%m%d-%H%M%S"));
            let parts =
                MultiPart::mixed().singlepart(plain).singlepart(Attachment::new(file).body(bytes, kind));
            builder.multipart(parts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owed() -> Owed {
        Owed {
            mailbox: "ann".to_owned(),
            file: "5-a.wav".to_owned(),
            from: "15550100".to_owned(),
            name: Some("Tom\r\nBcc: all@office.example =?utf-8?q?Hi=0D=0ABcc:?=".to_owned()),
            at_unix_ms: 1_800_000_000_000,
            length_ms: 61_200,
            to: Vec::new(),
        }
    }

    fn written(recording: Option<Vec<u8>>) -> String {
        let sender = Sender {
            from: "box@office.example".to_owned(),
            name: "box 1".to_owned(),
            zone: "Europe/Berlin".to_owned(),
        };
        let letter = letter(&sender, &owed(), "ann@office.example", recording).unwrap();
        String::from_utf8(letter.formatted()).unwrap()
    }

    #[test]
    fn a_letter_says_who_called_and_nobody_writes_in_its_head() {
        let text = written(Some(b"RIFF\xff\0".to_vec()));
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
        assert!(!head.contains("=?utf-8?q?Hi"), "{head}");
        for part in
            ["To: ann@office.example", "Message-ID: <5-a.wav.ann@box-1>", "Auto-Submitted: auto-generated"]
        {
            assert!(head.contains(part), "{part}: {head}");
        }
        for part in ["Time: 2027-01-15 09:00:00 (Europe/Berlin)", "Length: 1:02", "UklGRv8A", "audio/wav"] {
            assert!(body.contains(part), "{part}: {body}");
        }
        assert!(written(None).contains("The recording is not attached"));
    }
}
