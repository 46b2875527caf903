//! Calls and legs that the box places, and calls that it ends at somebody's wish.

use std::collections::VecDeque;

use tipring_calls::{Call, CallInput, Limits, Request};
use tipring_model::call::{CallFacts, Direction, EndedBy, Origin};
use tipring_model::flow::Target;
use tipring_model::line::{LineCommand, LineEvent, PlaceExtras};
use tipring_model::signal::{LegSignal, Takes};
use tipring_model::{CallId, CallerId, Cause, LegId, LineId, Number};
use tokio::task::spawn_local;

use super::route::Departure;
use super::switchboard::{LegEntry, Switchboard, moment, new_call_id};

/// Longest number or SIP address that is dialled.
const DIALLED_CHARS_MAX: usize = 255;

/// Why a call was not placed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum NotPlaced {
    /// There are as many calls as there may be.
    Full,
    /// There are as many sessions of scenarios as there may be.
    SessionsFull,
    /// The daemon is going down.
    Stopping,
    /// There is no flow of that name, or none at all.
    NoFlow,
    /// That is neither a number nor a SIP address.
    Number,
    /// The flow has these rules, and none of them was chosen.
    NoRule(Vec<String>),
}

impl NotPlaced {
    /// The code of the message catalogue.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Full => "TR-CALL-LIMIT",
            Self::SessionsFull => "TR-SCRIPT-START",
            Self::Stopping => "TR-DAEMON-STOPPING",
            Self::NoFlow => "TR-CALL-NO-FLOW",
            Self::Number => "TR-CALL-NUMBER",
            Self::NoRule(_) => "TR-SCRIPT-RULE",
        }
    }
}

/// What a leg that found no line is tried on next.
pub(super) struct Spare {
    lines: VecDeque<LineId>,
    to: Number,
    from: CallerId,
    extras: PlaceExtras,
    is_emergency: bool,
    /// What the flow wants to hear of the far end, whichever line it is on.
    takes: Option<Takes>,
}

impl Spare {
    /// A command for the leg that holds on the next line as well.
    pub(super) fn heard(&mut self, command: &LineCommand) {
        if let LineCommand::Signal { signal, .. } = command
            && let LegSignal::Takes(takes) = **signal
        {
            self.takes = Some(takes);
        }
    }
}

/// Whether another line may do better: it is the line that failed, and not whom it leads to. An
/// emergency call takes no other answer than a busy far end and a caller who gave up.
const fn may_do_better(cause: Cause, is_emergency: bool) -> bool {
    match cause {
        Cause::NoCircuit
        | Cause::NetworkOutOfOrder
        | Cause::TemporaryFailure
        | Cause::DestinationOutOfOrder
        | Cause::RecoveryOnTimer
        | Cause::NotAllowed => true,
        Cause::Unallocated
        | Cause::NoUserResponse
        | Cause::NoAnswer
        | Cause::Rejected
        | Cause::InvalidNumber
        | Cause::Incompatible
        | Cause::Unspecified => is_emergency,
        Cause::NormalClearing | Cause::Busy | Cause::Cancelled | Cause::AnsweredElsewhere => false,
    }
}

/// A number, as a telephone can dial or a network can show it, or a SIP address.
fn is_dialable(text: &str) -> bool {
    let (rest, is_address) = match text.strip_prefix("sip:") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    !rest.is_empty()
        && text.len() <= DIALLED_CHARS_MAX
        && rest.bytes().all(|b| match b {
            b'0'..=b'9' | b'*' | b'#' | b'+' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' => true,
            _ => is_address && b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"'),
        })
}

impl Switchboard {
    /// Places a call of the box's own: rings `to`, and runs the flow when it answers.
    ///
    /// # Errors
    /// See [`NotPlaced`].
    pub(super) fn start_call(
        &self,
        to: &str,
        from: Option<&str>,
        flow: Option<&str>,
    ) -> Result<CallId, NotPlaced> {
        let (full, stopping) = {
            let state = self.0.state.borrow();
            (state.calls.len() >= self.0.calls_max, state.stopping)
        };
        if stopping {
            return Err(NotPlaced::Stopping);
        }
        if full {
            return Err(NotPlaced::Full);
        }
        if !is_dialable(to) || from.is_some_and(|from| !is_dialable(from)) {
            return Err(NotPlaced::Number);
        }
        let at = match flow {
            None => self.0.flows.first().map(|_| 0),
            Some(name) => self.0.flows.iter().position(|entry| entry.name == name),
        };
        let at = at.ok_or(NotPlaced::NoFlow)?;
        let program = self.0.flows.get(at).ok_or(NotPlaced::NoFlow)?;
        let now = moment();
        let id = new_call_id();
        let caller = from.map_or_else(CallerId::default, CallerId::of);
        let facts = CallFacts {
            id,
            leg: None,
            direction: Direction::Outbound,
            from: caller.clone(),
            to: Number::new(to),
            answered: false,
            codec: "",
            started_unix_ms: now.unix_ms,
            origin: Origin::default(),
            kept: self.kept_for(Some(at)),
            session: None,
        };
        let target = match to.strip_prefix("sip:") {
            Some(address) => Target::Sip(address.to_owned()),
            None => Target::Number(to.to_owned()),
        };
        let number = self.next_number();
        let call =
            Call::placing(number, facts, target, caller, program.program.start(), Limits::default(), now);
        self.begin(number, call, None, (Some(at), None), None);
        Ok(id)
    }

    /// Ends a call at somebody's wish; false if there is none of that name.
    #[must_use]
    pub(crate) fn hang_up(&self, id: CallId) -> bool {
        let found = {
            let state = self.0.state.borrow();
            state.calls.iter().find(|(_, entry)| entry.call.facts().id == id).map(|(number, _)| *number)
        };
        if let Some(number) = found {
            self.handle(number, CallInput::Request(Request::HangUp(EndedBy::Operator)));
        }
        found.is_some()
    }

    pub(super) fn place(
        &self,
        number: u32,
        leg: LegId,
        to: &Target,
        (from, mut extras): (CallerId, PlaceExtras),
    ) {
        let (arrived, transferred_by) = {
            let mut state = self.0.state.borrow_mut();
            state.legs.insert(leg, LegEntry::new(number, None));
            let entry = state.calls.get_mut(&number);
            entry.map_or((None, None), |entry| {
                entry.legs.push(leg);
                (entry.line, entry.call.facts().origin.transferred_by.clone())
            })
        };
        if let Target::Session(id) = to {
            return self.place_on(self.0.lines.tie(), number, leg, (Number::new(id), from, extras));
        }
        let by = extras.by_trunk.take();
        let departure = match (to, by) {
            (Target::Sip(address), Some(by)) => {
                let (departure, host) = self.0.plan.departure_by(&by, address);
                extras.host = host;
                departure
            }
            (_, _) => self.0.plan.departure(arrived, to),
        };
        let (lines, number_to) = match departure {
            Departure::Line(line, to) => (vec![line], to),
            Departure::AnyOf(mut lines, to) => {
                // One that is not free may still carry it: better to try than to refuse.
                lines.sort_by_cached_key(|line| self.0.lines.hope(*line));
                (lines, to)
            }
            Departure::Refuse(cause) => {
                if let Target::Sip(address) = to {
                    let (call, host) = (self.call_name(number), address.rsplit('@').next().unwrap_or(""));
                    tracing::warn!(code = "TR-DIAL-HOST", %call, host, "a SIP address is not dialled");
                }
                return self.leg_refused(number, leg, cause);
            }
        };
        let mut lines = VecDeque::from(lines);
        let Some(line) = lines.pop_front() else { return self.leg_refused(number, leg, Cause::NoCircuit) };
        // RFC 3892; it names addresses that are nobody's business outside the office.
        if let (Some(by), true) = (transferred_by, self.0.plan.is_phone(line)) {
            extras.headers.push(("Referred-By".to_owned(), by));
        }
        if let Some(entry) = self.0.state.borrow_mut().legs.get_mut(&leg).filter(|_| !lines.is_empty()) {
            let (to, from, extras) = (number_to.clone(), from.clone(), extras.clone());
            let is_emergency = self.0.plan.is_emergency(to.as_str());
            entry.spare = Some(Box::new(Spare { lines, to, from, extras, is_emergency, takes: None }));
        }
        self.place_on(line, number, leg, (number_to, from, extras));
    }

    fn place_on(
        &self,
        line: LineId,
        number: u32,
        leg: LegId,
        (to, from, extras): (Number, CallerId, PlaceExtras),
    ) {
        {
            let mut state = self.0.state.borrow_mut();
            if let Some(entry) = state.legs.get_mut(&leg) {
                entry.line = Some(line);
            }
            if let Some(entry) = state.calls.get_mut(&number) {
                entry.lines.insert(leg, line);
            }
        }
        self.0.lines.command(line, LineCommand::Place { leg, to, from, extras });
    }

    /// Tries a leg that its line could not carry on the next one; false if there is none, or if
    /// the call has ended it.
    pub(super) fn try_next_line(&self, leg: LegId, cause: Cause) -> bool {
        let next = {
            let mut state = self.0.state.borrow_mut();
            let Some(entry) = state.legs.get_mut(&leg) else { return false };
            let call = entry.call;
            let Some(spare) = entry.spare.as_mut().filter(|spare| may_do_better(cause, spare.is_emergency))
            else {
                return false;
            };
            let Some(line) = spare.lines.pop_front() else { return false };
            let (to, from, extras) = (spare.to.clone(), spare.from.clone(), spare.extras.clone());
            (line, call, (to, from, extras), spare.takes)
        };
        let (line, call, place, takes) = next;
        tracing::info!(%leg, %cause, line = self.line_name(Some(line)), "tried over another line");
        self.place_on(line, call, leg, place);
        if let Some(takes) = takes {
            let signal = Box::new(LegSignal::Takes(takes));
            self.0.lines.command(line, LineCommand::Signal { leg, signal });
        }
        true
    }

    /// No line takes the leg. The call learns it after it has said all it had to say.
    fn leg_refused(&self, number: u32, leg: LegId, cause: Cause) {
        let board = self.clone();
        spawn_local(async move {
            board.handle(number, CallInput::Line(LineEvent::Released { leg, cause, status: None }));
            board.leg_gone(leg);
        });
    }
}

#[cfg(test)]
mod tests {
    use tipring_model::Cause;

    use super::{is_dialable, may_do_better};

    #[test]
    fn another_line_is_tried_for_what_the_first_could_not_do() {
        for (cause, usually, in_emergency) in [
            (Cause::NoCircuit, true, true),
            (Cause::NetworkOutOfOrder, true, true),
            (Cause::TemporaryFailure, true, true),
            (Cause::DestinationOutOfOrder, true, true),
            (Cause::RecoveryOnTimer, true, true),
            (Cause::NotAllowed, true, true),
            (Cause::Unallocated, false, true),
            (Cause::Rejected, false, true),
            (Cause::NoUserResponse, false, true),
            (Cause::NoAnswer, false, true),
            (Cause::InvalidNumber, false, true),
            (Cause::Incompatible, false, true),
            (Cause::Unspecified, false, true),
            (Cause::Busy, false, false),
            (Cause::Cancelled, false, false),
            (Cause::AnsweredElsewhere, false, false),
            (Cause::NormalClearing, false, false),
        ] {
            assert_eq!(may_do_better(cause, false), usually, "{cause}");
            assert_eq!(may_do_better(cause, true), in_emergency, "{cause}");
        }
    }

    #[test]
    fn what_can_be_dialled_is_a_number_or_an_address() {
        for good in ["201", "+15550100", "*98#", "anonymous", "sip:desk@192.168.1.20:5060;x=y"] {
            assert!(is_dialable(good), "{good}");
        }
        for bad in ["", "sip:", "201\r\nX: y", "2 01", "sip:a b", "sip:<a>", &"1".repeat(256)] {
            assert!(!is_dialable(bad), "{bad}");
        }
    }
}
