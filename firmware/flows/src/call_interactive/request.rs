//! What a server is told, and how the caller's variables get into its address.

use std::collections::BTreeMap;
use std::time::Duration;

use tipring_model::CallerId;
use tipring_model::call::CallFacts;
use tipring_model::fetch::{HttpRequest, Method};
use tipring_model::flow::Notice;

use super::settings::Settings;
use crate::address;

/// Redirects that are followed.
const REDIRECTS_MAX: u8 = 5;
const NOTICE_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest answer that is read, in bytes.
pub(super) const ANSWER_BYTES_MAX: usize = 65_536;

/// A request as an option makes it.
pub(super) fn request(
    settings: &Settings,
    facts: &CallFacts,
    caller: &CallerId,
    variables: &BTreeMap<String, String>,
    (url, method, timeout): (&str, Method, Duration),
) -> Option<HttpRequest> {
    let url = address::absolute(&filled(url, variables))?;
    let fields = fields(settings, facts, caller);
    let (url, body) = match method {
        Method::Post => (url, Some(address::form(&fields))),
        Method::Get | Method::Head | Method::Put | Method::Patch | Method::Delete | Method::Options => {
            (address::with_query(&url, &fields), None)
        }
    };
    Some(HttpRequest {
        method,
        url,
        headers: vec![("Accept".to_owned(), "application/xml, text/xml".to_owned())],
        body,
        timeout,
        total: Some(timeout),
        redirects_max: REDIRECTS_MAX,
        body_max_bytes: ANSWER_BYTES_MAX,
        cuts_body: false,
        connect: None,
        moves_fields: true,
    })
}

/// What happens to a call, for whoever wants to know; nobody reads the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event<'a> {
    /// It arrives.
    DialIn,
    /// It is answered.
    Answer,
    /// This number is called for it.
    DialOut(&'a str),
    /// It is over.
    Hangup,
}

/// The names of events in settings and requests.
pub(super) const EVENTS: [&str; 4] = ["dial-in", "answer", "dial-out", "hangup"];

impl Event<'_> {
    const fn name(self) -> &'static str {
        match self {
            Self::DialIn => "dial-in",
            Self::Answer => "answer",
            Self::DialOut(_) => "dial-out",
            Self::Hangup => "hangup",
        }
    }
}

/// The notice of an event, if it is wanted.
pub(super) fn notice(
    settings: &Settings,
    facts: &CallFacts,
    caller: &CallerId,
    event: Event<'_>,
) -> Option<Notice> {
    let url = settings.webhook_url.clone()?;
    if !settings.webhook_events.iter().any(|wanted| wanted == event.name()) {
        return None;
    }
    let status = match event {
        Event::DialIn | Event::DialOut(_) => "RINGING",
        Event::Answer => "ANSWER",
        Event::Hangup => "HANGUP",
    };
    let mut fields = fields(settings, facts, caller);
    for (name, value) in &mut fields {
        match (*name, event) {
            ("EventType", _) => event.name().clone_into(value),
            ("CallStatus", _) => status.clone_into(value),
            ("CallFlow", Event::DialOut(_)) => "out".clone_into(value),
            ("CallFlow", Event::DialIn | Event::Answer | Event::Hangup) => "in".clone_into(value),
            ("CalledNumber", Event::DialOut(number)) => number.clone_into(value),
            _ => {}
        }
    }
    let request = HttpRequest {
        method: Method::Post,
        url,
        headers: Vec::new(),
        body: Some(address::form(&fields)),
        timeout: NOTICE_TIMEOUT,
        total: None,
        redirects_max: REDIRECTS_MAX,
        body_max_bytes: ANSWER_BYTES_MAX,
        cuts_body: true,
        connect: None,
        moves_fields: false,
    };
    Some(Notice { topic: "call.state", request, is_last: event == Event::Hangup })
}

fn fields(settings: &Settings, facts: &CallFacts, caller: &CallerId) -> Vec<(&'static str, String)> {
    let call = format!("{:032x}", facts.id.0);
    // Ten digits, the same for the whole call.
    let began_s = facts.started_unix_ms / 1_000;
    let account = settings.extension.split('*').next().unwrap_or("");
    // A telephone of the office, in the same form as the IVR itself.
    let own = facts.origin.extension.as_ref().map(|own| (own, format!("{account}*{own}")));
    let number = match &own {
        // Unless the IVR has given it another number.
        Some((_, extended)) if caller.number == facts.from.number => extended.as_str(),
        Some(_) | None => caller.number.as_ref().map(|number| number.as_str()).unwrap_or(""),
    };
    let name = caller.name.as_deref().unwrap_or(number);
    let mut extension = settings.extension.clone();
    if let Some(domain) = &settings.extension_domain {
        extension.push('@');
        extension.push_str(domain);
    }
    let mut fields = vec![
        ("EventType", "call_interactive".to_owned()),
        ("CalledExtensionID", settings.extension_id.to_string()),
        ("CalledNumber", facts.to.to_string()),
        ("CallID", call.clone()),
        ("CallerIDNum", number.to_owned()),
    ];
    if let Some((own, extended)) = &own {
        let at = settings.directory.phones.iter().position(|phone| phone.number == **own);
        fields.push(("CallerExtensionID", phone_id(at, settings.extension_id).to_string()));
        fields.push(("CallerExtension", extended.clone()));
    }
    fields.extend([
        ("CallFlow", "IN".to_owned()),
        ("CalledExtension", extension),
        ("CallAPIID", format!("{began_s:010}:{call}")),
        ("CallerIDName", name.to_owned()),
        ("CallStatus", "ANSWER".to_owned()),
    ]);
    if facts.origin.extension.is_none() {
        let dialled = facts.to.as_str().trim_start_matches('+');
        if !dialled.is_empty() && dialled.bytes().all(|b| b.is_ascii_digit()) {
            fields.push(("CalledDID", dialled.to_owned()));
        }
    }
    fields
}

/// The id of a telephone by its place in the configuration: the same for every call, and never
/// that of the IVR.
fn phone_id(at: Option<usize>, of_ivr: u32) -> u32 {
    const FIRST: u32 = 1_001;
    let id = at.and_then(|at| u32::try_from(at).ok()).map_or(0, |at| FIRST.saturating_add(at));
    // The number before the first is free.
    if id == of_ivr { FIRST - 1 } else { id }
}

/// `url` with the variables of its query filled in: only there, and only in values, so that
/// no key that a caller presses chooses a host, a path or the name of a field.
pub(super) fn filled(url: &str, variables: &BTreeMap<String, String>) -> String {
    let Some((before, query)) = url.split_once('?') else { return url.to_owned() };
    let (query, fragment) = query.split_once('#').map_or((query, None), |(query, f)| (query, Some(f)));
    let fields: Vec<String> = query
        .split('&')
        .map(|field| match field.split_once('=') {
            Some((name, value)) => format!("{name}={}", with_values(value, variables)),
            None => field.to_owned(),
        })
        .collect();
    let fragment = fragment.map_or(String::new(), |fragment| format!("#{fragment}"));
    format!("{before}?{}{fragment}", fields.join("&"))
}

fn with_values(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut whole = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, after) = rest.split_at(at);
        whole.push_str(before);
        let after = after.strip_prefix('$').unwrap_or(after);
        if let Some(after) = after.strip_prefix('$') {
            whole.push_str("%24");
            rest = after;
            continue;
        }
        let is_name =
            |(at, c): (usize, char)| !(c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit()));
        let end = after.char_indices().find(|found| is_name(*found)).map_or(after.len(), |(at, _)| at);
        let (name, after) = after.split_at(end);
        if name.is_empty() {
            whole.push('$');
        } else {
            whole.push_str(&address::encode(variables.get(name).map_or("", String::as_str)));
        }
        rest = after;
    }
    whole.push_str(rest);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_telephone_has_an_id_of_its_own() {
        assert_eq!(phone_id(Some(0), 1), 1_001);
        assert_eq!(phone_id(Some(1), 1_001), 1_002);
        assert_eq!(phone_id(Some(0), 1_001), 1_000);
        assert_ne!(phone_id(None, 0), 0);
    }

    #[test]
    fn variables_are_filled_into_values_alone() {
        let variables: BTreeMap<String, String> =
            [("v", "1&x=2"), ("v2", "12#"), ("_a", "é")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        for (url, expected) in [
            ("http://h.test/p?a=$v", "http://h.test/p?a=1%26x%3D2"),
            ("http://h.test/p?a=$v2-$v", "http://h.test/p?a=12%23-1%26x%3D2"),
            ("http://h.test/p?a=x$_a", "http://h.test/p?a=x%C3%A9"),
            ("http://h.test/p?a=$none&b=", "http://h.test/p?a=&b="),
            ("http://h.test/p?a=$$v&b=5$", "http://h.test/p?a=%24v&b=5$"),
            ("http://$v/$v?$v=$v#$v", "http://$v/$v?$v=1%26x%3D2#$v"),
            ("http://h.test/$v", "http://h.test/$v"),
        ] {
            assert_eq!(filled(url, &variables), expected, "{url}");
        }
    }
}
