//! What is said by a leg's signalling beyond ringing, answering and hanging up. Only SIP has words
//! for it; other lines leave it out.

use crate::LegId;

/// Header fields of one message that a flow may add, and that it is told of.
pub const HEADERS_MAX: usize = 32;
/// Longest header field, name and value together, in bytes.
pub const HEADER_BYTES_MAX: usize = 4_095;
/// All of them together, in bytes: a message, which may carry a body, fits into a datagram of 16 KiB.
pub const HEADERS_BYTES_MAX: usize = 6_144;

/// What a flow has said on a leg.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LegSignal {
    /// The next answer, progress, refusal or hang-up of the leg says this, too.
    Extras(SignalExtras),
    /// The caller of an offered leg is told once more that it rings.
    Ringing,
    /// A text during an answered call.
    Remark(Remark),
    /// What the flow wants to hear of the far end.
    Takes(Takes),
    /// The far end of an answered leg is asked to take the place of the box in another leg of ours,
    /// and so to talk with the party there (RFC 5589 §7). Ends like
    /// [`Action::Refer`](crate::flow::Action::Refer).
    Refer(LegId),
    /// How it ended what the far end asked for with [`FarSignal::Referral`]: 200, or a status of a
    /// refusal.
    AnswerReferral(u16),
}

/// What a flow wants to hear of the far end, and the far end is told that it is taken.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Takes {
    /// [`FarSignal::Remark`].
    pub remarks: bool,
    /// [`FarSignal::Referral`]; otherwise the box does what is asked for.
    pub referrals: bool,
}

/// Longest text of a remark, in bytes.
pub const REMARK_BYTES_MAX: usize = 8_192;

/// A text that a party sends during a call: a SIP INFO or MESSAGE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    /// By which request.
    pub kind: RemarkKind,
    /// Its media type; `text/plain` for a message.
    pub media_type: String,
    /// The text, at most [`REMARK_BYTES_MAX`].
    pub body: Vec<u8>,
    /// Its header fields that begin with `X-`.
    pub headers: Vec<(String, String)>,
}

/// Requests that carry a [`Remark`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RemarkKind {
    /// INFO (RFC 6086 §1, its use of before).
    Info,
    /// MESSAGE (RFC 3428 §8).
    Message,
}

/// What the next signal of a leg says beyond itself.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SignalExtras {
    /// Header fields. Those that may not be added ([`is_extra_header`]) are left out.
    pub headers: Vec<(String, String)>,
    /// Who answers, as the caller may be shown.
    pub display_name: Option<String>,
    /// SIP status of a refusal, 300 to 699, in place of that of its cause.
    pub status: Option<u16>,
}

/// What the far end of a leg says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FarSignal {
    /// The header fields beginning with `X-` of the message whose event comes next. Told only when
    /// they are not those of the message before.
    Headers(Vec<(String, String)>),
    /// The call goes on to somebody else (SIP 181 or 3xx); in the second case the end of the leg
    /// comes next.
    Forwarding,
    /// A text.
    Remark(Remark),
    /// A text of ours could not be said: the line has no words for it, or the call is not answered.
    Unsaid,
    /// It refuses a text of ours, with this SIP status.
    Refused(u16),
    /// It asks that somebody else take its place, at this SIP address. Answered with
    /// [`LegSignal::AnswerReferral`].
    Referral(String),
}

/// True for a header field that a flow may add: its name begins with `X-`, its value cannot be taken
/// for another field, and it is not too long.
#[must_use]
pub fn is_extra_header(name: &str, value: &str) -> bool {
    let is_extra = name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-"));
    is_extra
        && name.len() > 2
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && !value.contains(char::is_control)
        // The two are written with a colon and a space between them.
        && name.len() + value.len() + 2 <= HEADER_BYTES_MAX
}

/// The first of these header fields that fit into one message.
pub fn fitting<N: AsRef<str>, V: AsRef<str>>(
    headers: impl IntoIterator<Item = (N, V)>,
) -> impl Iterator<Item = (N, V)> {
    let mut bytes = 0;
    headers.into_iter().take(HEADERS_MAX).take_while(move |(name, value)| {
        bytes += name.as_ref().len() + value.as_ref().len() + 4;
        bytes <= HEADERS_BYTES_MAX
    })
}

/// True for a media type, with its parameters, that can stand in a message: at most 127 bytes.
#[must_use]
pub fn is_media_type(text: &str) -> bool {
    let is_token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
    };
    let bare = text.split(';').next().unwrap_or("").trim_end();
    let has_both = bare.split_once('/').is_some_and(|(kind, part)| is_token(kind) && is_token(part));
    has_both && text.len() <= 127 && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_extra_fields_that_are_one_field_may_be_added() {
        for (name, value) in
            [("X-A", "1"), ("x-a_b-9", ""), ("X-A", "ünï: codé"), ("X-A", &"v".repeat(4_090))]
        {
            assert!(is_extra_header(name, value), "{name}");
        }
        for (name, value) in [
            ("X-", "1"),
            ("Subject", "1"),
            ("", ""),
            ("X-A:", "1"),
            ("X-A B", "1"),
            ("X-A\r\nVia", "1"),
            ("X-A", "1\r\nVia: evil"),
            ("X-A", "1\nVia: evil"),
            ("X-A", "\0"),
            ("X-A", "\u{85}"),
            ("X-A", &"v".repeat(4_091)),
        ] {
            assert!(!is_extra_header(name, value), "{name}: {value}");
        }
    }

    #[test]
    fn a_media_type_has_two_parts() {
        for good in ["text/plain", "application/vnd.acme+json; v=\"1\"", "text/plain;charset=utf-8"] {
            assert!(is_media_type(good), "{good}");
        }
        for bad in
            ["", "text", "text/", "/plain", "text/pla in", "text/plain\r\nVia: x", "text/plain; a=\u{e9}"]
        {
            assert!(!is_media_type(bad), "{bad}");
        }
        assert!(!is_media_type(&format!("text/{}", "x".repeat(123))));
    }

    #[test]
    fn a_message_has_room_for_so_many() {
        let many = vec![("X-A".to_owned(), "1".to_owned()); 40];
        assert_eq!(fitting(many).count(), HEADERS_MAX);
        let long = vec![("X-A", "v".repeat(2_500)); 3];
        assert_eq!(fitting(long).count(), 2);
    }
}
