//! What the box tells the customer's server: query fields, the JSON call entity,
//! placeholders (`spec/opentact.md` §4).

use jiff::Timestamp;
use serde::Serialize;
use tipring_model::call::{CallFacts, Direction};

use super::settings::App;

/// What changes about a call while its flow runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CallState {
    Ringing,
    Live,
    Hangup,
}

impl CallState {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ringing => "ringing",
            Self::Live => "live",
            Self::Hangup => "hangup",
        }
    }
}

/// One command that was run, as the call entity lists it.
#[derive(Clone, Serialize, Debug)]
pub(super) struct LogEntry {
    pub(super) name: String,
    pub(super) success: bool,
    pub(super) command: String,
    pub(super) response: String,
}

/// One attempt of a Gather.
#[derive(Clone, Serialize, Debug)]
pub(super) struct Attempt {
    pub(super) code: String,
    pub(super) attempts: u32,
    pub(super) success: bool,
}

#[derive(Serialize)]
struct Entity<'a> {
    uuid: String,
    from: &'a str,
    to: &'a str,
    tn: Tn<'a>,
    state: &'static str,
    source: &'static str,
    created_on: String,
    modified_on: String,
    sip_control_app: SipControlApp<'a>,
    account: Account,
    logs: &'a [LogEntry],
    meta: Meta<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gather: Option<&'a [Attempt]>,
}

#[derive(Serialize)]
struct Tn<'a> {
    tn: TnValue<'a>,
    name: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum TnValue<'a> {
    Number(u64),
    Text(&'a str),
}

#[derive(Serialize)]
struct SipControlApp<'a> {
    uuid: String,
    name: &'a str,
    call_flow_url: Option<&'a str>,
    call_flow_method: &'static str,
    webhook_url: Option<&'a str>,
    webhook_method: &'static str,
}

#[derive(Serialize)]
struct Account {
    uuid: String,
}

#[derive(Serialize)]
struct Meta<'a> {
    cid_name: &'a str,
    cid_num: &'a str,
    direction: &'static str,
    read_codec: &'a str,
}

/// The call entity (`spec/opentact.md` §4.3).
pub(super) fn entity(
    app: &App,
    facts: &CallFacts,
    now_unix_ms: i64,
    state: CallState,
    logs: &[LogEntry],
    gather: Option<&[Attempt]>,
) -> Vec<u8> {
    /// A longer number would lose digits in a receiver that reads doubles.
    const INTEGER_DIGITS_MAX: usize = 15;
    let from = facts.from.number_or_anonymous();
    let to = facts.to.as_str();
    let number = (to.len() <= INTEGER_DIGITS_MAX).then(|| to.parse::<u64>().ok()).flatten();
    let entity = Entity {
        uuid: facts.id.to_string(),
        from,
        to,
        tn: Tn {
            tn: number
                .filter(|_| facts.to.is_decimal() && !to.starts_with('+'))
                .map_or(TnValue::Text(to), TnValue::Number),
            name: to,
        },
        state: match state {
            CallState::Ringing | CallState::Live => "online",
            CallState::Hangup => "offline",
        },
        source: "freeswitch",
        created_on: timestamp(facts.started_unix_ms),
        modified_on: timestamp(now_unix_ms),
        sip_control_app: SipControlApp {
            uuid: app.uuid.to_string(),
            name: &app.name,
            call_flow_url: app.url(),
            call_flow_method: app.method.as_str(),
            webhook_url: app.webhook_url.as_deref(),
            webhook_method: app.webhook_method.as_str(),
        },
        account: Account { uuid: app.account.to_string() },
        logs,
        meta: Meta {
            cid_name: facts.from.name.as_deref().unwrap_or(""),
            cid_num: from,
            direction: match facts.direction {
                Direction::Inbound => "inbound",
                Direction::Outbound => "outbound",
            },
            read_codec: facts.codec,
        },
        gather,
    };
    // Strings, numbers and lists alone: there is nothing that could fail.
    serde_json::to_vec(&entity).unwrap_or_default()
}

/// ISO 8601, UTC, with milliseconds.
fn timestamp(unix_ms: i64) -> String {
    Timestamp::from_millisecond(unix_ms)
        .map(|at| at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
        .unwrap_or_default()
}

/// The values behind `{call} {sca} {state} {from} {tn}`.
pub(super) struct Placeholders<'a> {
    pub(super) call: &'a str,
    pub(super) sca: &'a str,
    pub(super) state: &'a str,
    pub(super) from: &'a str,
    pub(super) tn: &'a str,
}

impl Placeholders<'_> {
    /// `text` with every known placeholder replaced; `written` says how a value
    /// is spelled there. What is replaced is not searched again.
    pub(super) fn fill(&self, text: &str, written: impl Fn(&str) -> String) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let known = after.split_once('}').and_then(|(name, tail)| Some((self.value(name)?, tail)));
            match known {
                Some((value, tail)) => {
                    filled.push_str(&written(value));
                    rest = tail;
                }
                None => {
                    filled.push('{');
                    rest = after;
                }
            }
        }
        filled.push_str(rest);
        filled
    }

    fn value(&self, name: &str) -> Option<&str> {
        match name {
            "call" => Some(self.call),
            "sca" => Some(self.sca),
            "state" => Some(self.state),
            "from" => Some(self.from),
            "tn" => Some(self.tn),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_value_is_not_searched_again() {
        let values = Placeholders { call: "{tn}", sca: "s", state: "live", from: "+1", tn: "2" };
        assert_eq!(values.fill("{call}/{from}/{nothing}/{", str::to_owned), "{tn}/+1/{nothing}/{");
        assert_eq!(values.fill("?a={from}", crate::address::encode), "?a=%2B1");
    }
}
