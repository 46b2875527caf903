//! What the box tells the application's server: the fields that each request has.

use jiff::Timestamp;
use tipring_model::LegId;
use tipring_model::call::{CallFacts, Direction};

use super::flow::TwimlFlow;
use super::settings::{Profile, Terms};
use super::sign::name_of;

/// Names and values, in the order in which they are sent.
pub(super) type Fields = Vec<(String, String)>;

/// One field.
pub(super) fn field(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

/// A name for something that the box made in a call: two letters and 32 hexadecimal digits, the
/// same whenever it is asked for.
pub(super) fn sid(prefix: &str, words: &[&str]) -> String {
    format!("{prefix}{}", name_of(words))
}

/// The name of the first leg's call.
pub(super) fn call_sid(facts: &CallFacts) -> String {
    format!("CA{}", facts.id.simple())
}

/// RFC 2822, UTC.
pub(super) fn mail_time(unix_ms: i64) -> String {
    Timestamp::from_millisecond(unix_ms)
        .map(|at| at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string())
        .unwrap_or_default()
}

/// ISO 8601, UTC, with milliseconds.
pub(super) fn iso_time(unix_ms: i64) -> String {
    Timestamp::from_millisecond(unix_ms)
        .map(|at| at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
        .unwrap_or_default()
}

/// Longest header field of the network that is passed on.
const HEADER_VALUE_MAX: usize = 1_024;

/// Who calls, as the language spells it, and whether that is somebody known by a SIP address.
fn caller(facts: &CallFacts) -> (String, bool) {
    if let Some(extension) = &facts.origin.extension {
        return (format!("client:{extension}"), true);
    }
    match &facts.from.number {
        None => ("anonymous".to_owned(), false),
        Some(number) if number.is_decimal() || facts.origin.from_uri.is_empty() => {
            (number.as_str().to_owned(), false)
        }
        Some(_) => (format!("sip:{}", facts.origin.from_uri), true),
    }
}

fn called(facts: &CallFacts) -> String {
    if facts.to.is_decimal() || facts.origin.request_uri.is_empty() {
        facts.to.as_str().to_owned()
    } else {
        format!("sip:{}", facts.origin.request_uri)
    }
}

/// The fields of a call that each request has.
pub(super) fn of_call(terms: &Terms, facts: &CallFacts, status: &str) -> Fields {
    let (from, by_address) = caller(facts);
    let to = called(facts);
    let direction = match facts.direction {
        Direction::Outbound if terms.profile != Profile::Pivot => "outbound-api",
        Direction::Inbound | Direction::Outbound => "inbound",
    };
    let mut fields = vec![
        field("CallSid", call_sid(facts)),
        field("AccountSid", terms.account_sid.clone()),
        field("From", from.clone()),
        field("To", to.clone()),
        field("Caller", from),
        field("Called", to),
        field("CallStatus", status),
        field("ApiVersion", "2010-04-01"),
        field("Direction", direction),
    ];
    fields.extend(facts.origin.diverted_from.as_ref().map(|number| field("ForwardedFrom", number)));
    fields.extend(facts.from.name.as_ref().map(|name| field("CallerName", name)));
    for side in ["From", "To"] {
        for part in ["City", "State", "Zip", "Country"] {
            fields.push(field(&format!("{side}{part}"), ""));
        }
    }
    let origin = &facts.origin;
    if by_address {
        if let Some((user, host)) = origin.from_uri.split_once('@') {
            fields.push(field("SipDomain", host));
            fields.push(field("SipUsername", user));
        }
        for (name, value) in [("SipCallId", &origin.network_id), ("SipSourceIp", &origin.source_ip)] {
            if !value.is_empty() {
                fields.push(field(name, value));
            }
        }
    }
    for (name, value) in &origin.headers {
        let value: String = value.chars().take(HEADER_VALUE_MAX).collect();
        fields.push(field(&format!("SipHeader_{name}"), value));
    }
    if terms.profile == Profile::Pivot {
        let realm = |uri: &str| uri.split_once('@').map_or("", |(_, realm)| realm).to_owned();
        fields.push(field("FromRealm", realm(&origin.from_uri)));
        fields.push(field("ToRealm", realm(&origin.to_uri)));
        fields.push(field("CallerNumber", facts.from.number_or_anonymous()));
    }
    fields
}

/// True for the name of a field that requests have of themselves, in any case: two of one name
/// would contradict each other.
pub(super) fn is_reserved(name: &str) -> bool {
    const NAMES: [&str; 36] = [
        "AccountSid",
        "AnsweredBy",
        "ApiVersion",
        "CallDuration",
        "CallSid",
        "CallStatus",
        "CallToken",
        "CallbackSource",
        "Called",
        "Caller",
        "CallerName",
        "CallerNumber",
        "Confidence",
        "Digits",
        "Direction",
        "Duration",
        "ErrorCode",
        "ErrorUrl",
        "FinishedOnKey",
        "ForwardedFrom",
        "From",
        "FromCity",
        "FromCountry",
        "FromRealm",
        "FromState",
        "FromZip",
        "ParentCallSid",
        "SequenceNumber",
        "StirVerstat",
        "Timestamp",
        "To",
        "ToCity",
        "ToCountry",
        "ToRealm",
        "ToState",
        "ToZip",
    ];
    const FAMILIES: [&str; 11] = [
        "Sip",
        "Dial",
        "Recording",
        "Queue",
        "Conference",
        "Stream",
        "Transcription",
        "Speech",
        "Refer",
        "Sms",
        "Payment",
    ];
    let starts =
        |family: &&str| name.get(..family.len()).is_some_and(|head| head.eq_ignore_ascii_case(family));
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name)) || FAMILIES.iter().any(starts)
}

impl TwimlFlow {
    /// The state of the first leg.
    pub(super) const fn call_status(&self) -> &'static str {
        if self.answered { "in-progress" } else { "ringing" }
    }

    /// The fields that a request on behalf of `leg` has besides its own.
    pub(super) fn standard(&self, leg: LegId) -> Fields {
        let Some(facts) = &self.facts else { return Vec::new() };
        let mut fields = match self.callee(leg) {
            None => of_call(&self.terms, facts, self.call_status()),
            Some(callee) => callee.fields(&self.terms, facts, "in-progress"),
        };
        fields.extend(self.variables.iter().cloned());
        fields.extend(self.terms.fields.iter().cloned());
        fields
    }

    /// The name of the call that `leg` is.
    pub(super) fn sid_of(&self, leg: LegId) -> String {
        let own = self.callee(leg).map(|callee| callee.sid.clone());
        own.or_else(|| self.facts.as_ref().map(call_sid)).unwrap_or_default()
    }

    /// A new name for something made in this call.
    pub(super) fn next_sid(&mut self, prefix: &str) -> String {
        self.names += 1;
        let call = self.facts.as_ref().map(call_sid).unwrap_or_default();
        sid(prefix, &[&call, prefix, &self.names.to_string()])
    }
}
