//! What a server's answer to a webhook says: when to send again, and what the time is.

use std::time::Duration;

use jiff::fmt::rfc2822;
use tipring_spool::Reply;

use crate::fetch::DeliveryFields;

/// A clock that differs by more is wrong, and receivers refuse what was signed by it.
const CLOCK_OFF_MAX_S: i64 = 300;
/// In `webhook-delivery`: this webhook is wanted never again.
const ABORT: &str = "abort-message";

/// What of an answer decides anything.
pub(super) fn read(status: u16, fields: &DeliveryFields, now_unix_s: i64) -> Reply {
    let seconds = fields.retry_after.as_deref().and_then(|text| {
        // A date is meant by the server's clock, not by ours.
        let now = date_s(fields).unwrap_or(now_unix_s);
        retry_after_s(text, now)
    });
    Reply {
        status,
        retry_after: seconds.map(Duration::from_secs),
        aborts: fields.wish.as_deref().is_some_and(|wish| wish.trim().eq_ignore_ascii_case(ABORT)),
    }
}

/// `Retry-After`: seconds, or a date in the future (RFC 9110 §10.2.3). Anything else says
/// nothing.
fn retry_after_s(text: &str, now_unix_s: i64) -> Option<u64> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // What is too long for a number is a long time.
        return (!text.is_empty()).then(|| text.parse().unwrap_or(u64::MAX));
    }
    u64::try_from(seconds(text)?.checked_sub(now_unix_s)?).ok()
}

/// No server's clock is right outside of these, in seconds since 1970: 1990 and 2100.
const DATES_S: std::ops::Range<i64> = 631_152_000..4_102_444_800;

/// The server's clock, in seconds since 1970.
pub(super) fn date_s(fields: &DeliveryFields) -> Option<i64> {
    seconds(fields.date.as_deref()?.trim()).filter(|date| DATES_S.contains(date))
}

fn seconds(text: &str) -> Option<i64> {
    rfc2822::parse(text).ok().map(|time| time.timestamp().as_second())
}

/// By how much to correct the time that a webhook was signed with, which was `used_s`: only
/// where the server's clock is far away.
pub(super) fn correction_s(used_s: i64, fields: &DeliveryFields) -> Option<i64> {
    let off = date_s(fields)?.checked_sub(used_s)?;
    (off.abs() > CLOCK_OFF_MAX_S).then_some(off)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT
    const THEN: i64 = 784_111_777;

    fn fields(retry_after: Option<&str>, date: Option<&str>) -> DeliveryFields {
        DeliveryFields {
            retry_after: retry_after.map(str::to_owned),
            date: date.map(str::to_owned),
            wish: None,
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_nonsense_says_nothing() {
        for (text, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", None),
            ("-5", None),
            ("1.5", None),
            ("", None),
            ("soon", None),
            ("Sun, 99 Nov 1994 08:50:37 GMT", None),
        ] {
            let reply = read(503, &fields(Some(text), None), THEN);
            assert_eq!(reply.retry_after, expected.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn a_date_is_meant_by_the_clock_of_the_server() {
        let fields = fields(Some("Sun, 06 Nov 1994 08:50:37 GMT"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(read(503, &fields, 0).retry_after, Some(Duration::from_secs(60)));
    }

    #[test]
    fn a_server_may_want_a_webhook_never_again() {
        for (wish, expected) in [("abort-message", true), (" Abort-Message ", true), ("retry", false)] {
            let fields = DeliveryFields { wish: Some(wish.to_owned()), ..DeliveryFields::default() };
            assert_eq!(read(500, &fields, 0).aborts, expected, "{wish}");
        }
    }

    #[test]
    fn a_clock_of_1970_is_corrected_and_one_that_is_near_is_not() {
        let fields = fields(None, Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(correction_s(0, &fields), Some(THEN));
        assert_eq!(correction_s(THEN + 86_400, &fields), Some(-86_400));
        assert_eq!(correction_s(THEN + 300, &fields), None);
        assert_eq!(correction_s(THEN - 301, &fields), Some(301));
        assert_eq!(correction_s(0, &DeliveryFields::default()), None);
        for absurd in ["Mon, 01 Jan 0001 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            let fields = DeliveryFields { date: Some(absurd.to_owned()), ..DeliveryFields::default() };
            assert_eq!(correction_s(THEN, &fields), None, "{absurd}");
        }
    }
}
