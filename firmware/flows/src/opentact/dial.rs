//! `Dial`, `Hangup` and `Reject`.

use std::rc::Rc;
use std::time::Duration;

use tipring_model::flow::{Action, Dial, DialOrder, Moment, Outcome, Record, Sides, Target};
use tipring_model::{CallerId, Cause};

use super::attributes::{Attributes, child_path};
use super::flow::{Command, OpentactFlow, Waiting};
use super::gather::failure_code;
use super::parse::Name;

const TARGETS_MAX: usize = 10;
const RING_DEFAULT_MS: u64 = 30_000;
const RING_MAX_MS: u64 = 600_000;
/// Up to here a ring time can only be meant in seconds: nobody rings for under a
/// second.
const RING_SECONDS_MAX: u64 = 600;
const RECORD_MAX: Duration = Duration::from_secs(4 * 3_600);

impl OpentactFlow {
    pub(super) fn start_dial(&mut self, now: Moment, command: Command) {
        let element = Rc::clone(&command.element);
        let mut attributes = Attributes::of(&element, command.name);
        let written = attributes.number("timeout", 1, u64::MAX);
        let ring_ms = match written {
            None => RING_DEFAULT_MS,
            Some(seconds) if seconds <= RING_SECONDS_MAX => {
                attributes.note("timeout", "TR-FLOW-TIMEOUT-UNIT");
                seconds * 1_000
            }
            Some(ms) => ms.min(RING_MAX_MS),
        };
        let recorded = attributes.choice("record", &["do-not-record", "record-from-answer"]) == Some(1);
        let caller_id = attributes.text("callerid").map(str::trim).filter(|number| !number.is_empty());
        self.warn_all(attributes, &command.path);
        let mut targets = Vec::new();
        let mut found = 0;
        for (at, child) in element.children.iter().enumerate() {
            let is_target = matches!(Name::of(&child.name), Some(Name::To | Name::Number | Name::Sip));
            if !is_target {
                continue;
            }
            found += 1;
            match target(&child.text) {
                _ if found > TARGETS_MAX => {}
                Some(target) => targets.push(target),
                None => self.warn("TR-FLOW-TARGET", &child_path(&command.path, child, at)),
            }
        }
        if found == 0 {
            targets.extend(target(&element.text));
        }
        if found > TARGETS_MAX {
            self.warn("TR-FLOW-TARGETS", &command.path);
        }
        if targets.is_empty() {
            return self.fail(&command, "TR-FLOW-TARGET");
        }
        let record =
            recorded.then(|| Record::new(format!("dial-{}", self.next_action()), Sides::Both, RECORD_MAX));
        let action = self.act(Action::Dial(Dial {
            caller_id: caller_id.map(CallerId::of),
            record,
            ..Dial::new(targets, DialOrder::AllAtOnce, Duration::from_millis(ring_ms))
        }));
        self.waiting = Waiting::Dial { action, command, began: now.instant };
    }

    pub(super) fn after_dial(&mut self, command: &Command, outcome: &Outcome) {
        if let Outcome::Dialed(dialed) = outcome
            && dialed.answered.is_none()
        {
            self.fail(command, dial_code(dialed.cause));
        } else if let Outcome::Failed(_) | Outcome::LegGone = outcome {
            self.fail(command, failure_code(outcome));
        } else {
            self.succeed(command, "");
        }
    }

    pub(super) fn start_hangup(&mut self, now: Moment, command: &Command) {
        let element = Rc::clone(&command.element);
        self.warn_all(Attributes::of(&element, command.name), &command.path);
        let label = element.attribute("tag").filter(|tag| !tag.is_empty()).unwrap_or("hangup").to_owned();
        // RFC 3261 §21.6.2: 603 is how a call is declined before its answer.
        let action = if self.answered {
            Action::Release(Cause::NormalClearing)
        } else {
            Action::Reject(Cause::Rejected)
        };
        self.act(action);
        self.succeed(command, "");
        self.end(now, Cause::NormalClearing, &label);
    }

    pub(super) fn start_reject(&mut self, now: Moment, command: &Command) {
        let element = Rc::clone(&command.element);
        let mut attributes = Attributes::of(&element, command.name);
        let busy = attributes.choice("reason", &["rejected", "busy"]) == Some(1);
        self.warn_all(attributes, &command.path);
        let label = element.attribute("tag").filter(|tag| !tag.is_empty()).unwrap_or("reject").to_owned();
        let cause = match (self.answered, busy) {
            (true, _) => Cause::NormalClearing,
            (false, true) => Cause::Busy,
            (false, false) => Cause::Rejected,
        };
        self.act(if self.answered { Action::Release(cause) } else { Action::Reject(cause) });
        self.succeed(command, "");
        self.end(now, cause, &label);
    }
}

fn dial_code(cause: Cause) -> &'static str {
    match cause {
        Cause::Busy => "TR-DIAL-BUSY",
        Cause::NoAnswer | Cause::NoUserResponse => "TR-DIAL-NO-ANSWER",
        Cause::Unallocated
        | Cause::NormalClearing
        | Cause::Rejected
        | Cause::InvalidNumber
        | Cause::DestinationOutOfOrder
        | Cause::NoCircuit
        | Cause::NetworkOutOfOrder
        | Cause::TemporaryFailure
        | Cause::Incompatible
        | Cause::RecoveryOnTimer
        | Cause::NotAllowed
        | Cause::Cancelled
        | Cause::AnsweredElsewhere
        | Cause::Preempted
        | Cause::Unspecified => "TR-DIAL-FAILED",
    }
}

/// `sip:user@host[:port]`, bare `user@host[:port]`, or digits with an optional
/// `+`.
fn target(text: &str) -> Option<Target> {
    const BYTES_MAX: usize = 256;
    let text = text.trim();
    if text.len() > BYTES_MAX {
        return None;
    }
    let scheme = text.get(..4).filter(|scheme| scheme.eq_ignore_ascii_case("sip:"));
    let address = scheme.map_or(text, |scheme| text.get(scheme.len()..).unwrap_or(""));
    if let Some((user, host)) = address.split_once('@') {
        let user_ok = !user.is_empty()
            && user.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,/%#".contains(&b));
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !host.ends_with(']') => (name, Some(port)),
            Some(_) | None => (host, None),
        };
        let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
        let host_ok = match bare {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
            }
        };
        let port_ok = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
        return (user_ok && host_ok && port_ok).then(|| Target::Sip(address.to_owned()));
    }
    let digits = text.strip_prefix('+').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.len() <= 32 && digits.bytes().all(|b| b.is_ascii_digit());
    (scheme.is_none() && is_number).then(|| Target::Number(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_numbers_or_sip_addresses_and_nothing_else() {
        for (text, expected) in [
            (" 15550111 ", Some(Target::Number("15550111".into()))),
            ("+15550111", Some(Target::Number("+15550111".into()))),
            ("sip:stores@pbx.test", Some(Target::Sip("stores@pbx.test".into()))),
            ("SIP:a@pbx.test:5070", Some(Target::Sip("a@pbx.test:5070".into()))),
            ("ann@[2001:db8::1]:5060", Some(Target::Sip("ann@[2001:db8::1]:5060".into()))),
            ("", None),
            ("+", None),
            ("ann", None),
            ("sip:15550111", None),
            ("a@b:0", None),
            ("a@b:99999", None),
            ("a@", None),
            ("@b", None),
            ("a b@c", None),
            ("a@b\r\nX: y", None),
            ("1-555", None),
        ] {
            assert_eq!(target(text), expected, "{text}");
        }
    }
}
