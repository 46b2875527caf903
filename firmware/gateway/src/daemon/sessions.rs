//! Sessions: flows that somebody outside begins without a call, speaks to while they run, and whose
//! log he reads.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use serde_json::{Value, json};
use tipring_calls::{Call, CallInput, Limits};
use tipring_flows::Program;
use tipring_flows::voxengine::DIALECT;
use tipring_model::call::{CallFacts, Direction, Origin, SessionFacts};
use tipring_model::flow::{Message, Reply};
use tipring_model::line::{LineCommand, LineEvent, Offer};
use tipring_model::{CallId, CallerId, Cause, LineId, MessageId, Number};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::placing::NotPlaced;
use super::route::Arrival;
use super::session_logs::{self, SessionName};
use super::switchboard::{Entry, LegEntry, Switchboard, moment, new_call_id};
use crate::config::FlowEntry;

/// What belongs to sessions beside their calls.
#[derive(Default)]
pub(super) struct Sessions {
    /// Who waits for the answer to a message.
    waiting: RefCell<HashMap<(u32, MessageId), oneshot::Sender<Reply>>>,
    next_message: RefCell<HashMap<u32, u32>>,
    /// Sessions that others of the box have called, by what they called.
    inside: RefCell<HashMap<String, u32>>,
}

impl Sessions {
    /// A session begins because another one has called this id.
    pub(super) fn called_inside(&self, id: &str, number: u32) {
        self.inside.borrow_mut().insert(id.to_owned(), number);
    }
}

impl Switchboard {
    /// Begins a program of the flow at this position without a call.
    ///
    /// # Errors
    /// There are as many calls as there may be, or the daemon is going down.
    pub(super) fn begin_session(
        &self,
        at: usize,
        program: &Rc<dyn Program>,
        session: SessionFacts,
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
        let now = moment();
        let id = new_call_id();
        let facts = CallFacts {
            id,
            leg: None,
            direction: Direction::Outbound,
            from: CallerId::default(),
            to: Number::default(),
            answered: false,
            codec: "",
            started_unix_ms: now.unix_ms,
            origin: Origin::default(),
            kept: self.kept_for(Some(at)),
            session: Some(Rc::new(session)),
        };
        let number = self.next_number();
        let call = Call::new(number, facts, program.start(), Limits::default(), now);
        self.begin(number, call, None, (Some(at), None), None);
        Ok(id)
    }

    /// Where a call of one session to another goes; `None` if it joins one that runs.
    pub(super) fn session_arrival(&self, offer: &Offer) -> Option<Arrival> {
        let id = offer.to.as_str();
        if self.0.sessions.inside.borrow().contains_key(id) {
            return None;
        }
        let takes = |flow: &FlowEntry| {
            let mut patterns = flow.rules.iter().filter_map(|entry| entry.rule.pattern.as_ref());
            flow.dialect == DIALECT.name && patterns.any(|pattern| pattern.matches(id))
        };
        let by_rule = self.0.flows.iter().position(takes);
        let by_number = || {
            let numbers = self.0.plan.flow_numbers.iter();
            let mut flows = numbers.filter(|(number, _)| number == id).map(|(_, at)| *at);
            let is_scenario = |at: &usize| {
                self.0
                    .flows
                    .get(*at)
                    .is_some_and(|flow| flow.dialect == DIALECT.name && flow.rules.is_empty())
            };
            flows.find(is_scenario)
        };
        Some(by_rule.or_else(by_number).map_or(Arrival::Refuse(Cause::Unallocated), Arrival::Flow))
    }

    /// One more calls a session that runs. None calls itself: it would only hear itself.
    pub(super) fn join_session(&self, line: LineId, offer: Offer) {
        let Offer { leg, codec, .. } = offer;
        let joined = {
            let mut state = self.0.state.borrow_mut();
            let number = self.0.sessions.inside.borrow().get(offer.to.as_str()).copied();
            let caller =
                self.0.lines.tied(leg).and_then(|from| state.legs.get(&from).map(|entry| entry.call));
            let number = number.filter(|number| Some(*number) != caller);
            match number.and_then(|number| state.calls.get_mut(&number).map(|entry| (number, entry))) {
                Some((number, entry)) => {
                    entry.legs.push(leg);
                    entry.lines.insert(leg, line);
                    entry.codecs.insert(leg, codec);
                    state.legs.insert(leg, LegEntry::new(number, Some(line)));
                    Some(number)
                }
                None => None,
            }
        };
        match joined {
            Some(number) => self.handle(number, CallInput::Line(LineEvent::Offered(offer))),
            None => self.0.lines.command(line, LineCommand::Release { leg, cause: Cause::NotAllowed }),
        }
    }

    /// The sessions of scenarios that run, those that a call has begun too, the oldest first.
    fn sessions(&self) -> Vec<Value> {
        let state = self.0.state.borrow();
        let mut sessions: Vec<_> = state
            .calls
            .values()
            .filter_map(|entry| {
                let flow = self.0.flows.get(entry.flow?)?;
                (flow.dialect == DIALECT.name).then_some((entry, flow))
            })
            .collect();
        sessions.sort_by_key(|(entry, _)| (entry.began, entry.call.facts().id.to_string()));
        let lines = |entry: &Entry| -> Vec<String> {
            let line = |leg| self.line_name(entry.lines.get(&leg).copied().or(entry.line)).to_owned();
            entry.call.live_legs().map(line).collect()
        };
        let shown = sessions.iter().map(|(entry, flow)| {
            json!({
                "id": entry.call.facts().id.to_string(),
                "history_id": self.history_id(entry.call.facts().id),
                "flow": flow.name,
                "since_unix_ms": entry.call.facts().started_unix_ms,
                "calls": lines(entry),
            })
        });
        shown.collect()
    }

    /// Speaks to a running flow. Its answer comes once; if the flow ends before, nothing comes.
    /// None if there is no such flow.
    pub(super) fn control(&self, call: CallId, message: &Message) -> Option<oneshot::Receiver<Reply>> {
        let number = self.number_of(call)?;
        let id = {
            let mut next = self.0.sessions.next_message.borrow_mut();
            let next = next.entry(number).or_default();
            *next = next.wrapping_add(1);
            MessageId(*next)
        };
        let (sender, receiver) = oneshot::channel();
        self.0.sessions.waiting.borrow_mut().insert((number, id), sender);
        self.handle(number, CallInput::Message(id, message));
        Some(receiver)
    }

    /// Which call has this name, while it runs.
    pub(super) fn number_of(&self, call: CallId) -> Option<u32> {
        let state = self.0.state.borrow();
        state.calls.iter().find(|(_, entry)| entry.call.facts().id == call).map(|(number, _)| *number)
    }

    pub(super) fn replied(&self, number: u32, id: MessageId, reply: Reply) {
        let waiting = self.0.sessions.waiting.borrow_mut().remove(&(number, id));
        if let Some(waiting) = waiting {
            // Whoever asked may be gone.
            let _ = waiting.send(reply);
        }
    }

    pub(super) fn log_line(&self, number: u32, line: String) {
        tracing::debug!(call = %self.call_name(number), line, "script log");
        self.0.control_api.logs.note(number, line);
    }

    /// The call of a session that runs.
    fn call_of(&self, name: SessionName) -> Option<CallId> {
        match name {
            SessionName::Call(call) => Some(call),
            SessionName::History(id) => self.call_of_history(id),
        }
    }

    /// What a session has logged, also for a while after its end.
    async fn session_log(&self, name: SessionName) -> Option<Vec<String>> {
        let logs = &self.0.control_api.logs;
        if let Some(number) = self.call_of(name).and_then(|call| self.number_of(call)) {
            return Some(logs.so_far(number));
        }
        if let Some(log) = logs.latest(name) {
            return Some(log);
        }
        let folder = logs.folder();
        match spawn_blocking(move || session_logs::read(&folder, name)).await.ok()? {
            Ok(log) => log,
            Err(error) => {
                tracing::error!(code = "TR-SCRIPT-LOG", %error, "the log of a session cannot be read");
                None
            }
        }
    }

    /// Nobody waits for a session that is over.
    pub(super) fn session_over(&self, number: u32) {
        let sessions = &self.0.sessions;
        sessions.waiting.borrow_mut().retain(|(call, _), _| *call != number);
        sessions.next_message.borrow_mut().remove(&number);
        sessions.inside.borrow_mut().retain(|_, of| *of != number);
        let call = self.0.state.borrow().calls.get(&number).map(|entry| entry.call.facts().id);
        let id = call.and_then(|call| Some((self.history_id(call)?, call)));
        self.0.control_api.logs.over(number, id);
    }
}

/// Longest text that a session is begun with, in bytes.
const DATA_BYTES_MAX: usize = 64 * 1024;

/// Whether a request of the command line is about sessions.
pub(super) fn is_about_sessions(request: &Value) -> bool {
    request.get("do").and_then(Value::as_str).is_some_and(|what| what.starts_with("session-"))
}

/// Answers the command line.
pub(super) async fn answer(board: &Switchboard, request: &Value) -> Value {
    let text = |key: &str| request.get(key).and_then(Value::as_str);
    let fault = |code: &str| json!({ "error": code });
    let name = text("id").and_then(SessionName::parse);
    match (text("do"), name) {
        (Some("session-start"), _) => {
            let data = text("data").unwrap_or("");
            let Some(flow) = text("flow").filter(|_| data.len() <= DATA_BYTES_MAX) else {
                return fault("TR-CONTROL-REQUEST");
            };
            match board.start_by_hand(flow, text("rule"), data) {
                Ok(started) => started,
                Err(NotPlaced::NoRule(rules)) => json!({ "error": "TR-SCRIPT-RULE", "rules": rules }),
                Err(why) => fault(why.code()),
            }
        }
        (Some("session-list"), _) => json!({ "sessions": board.sessions() }),
        (Some("session-send"), Some(name)) => {
            let message = Message {
                method: "POST".to_owned(),
                path: "/".to_owned(),
                headers: Vec::new(),
                body: text("body").unwrap_or("").as_bytes().to_vec(),
            };
            let reply = board.call_of(name).and_then(|call| board.control(call, &message));
            let Some(reply) = reply else { return fault("TR-CONTROL-NO-CALL") };
            match reply.await {
                Ok(reply) => {
                    json!({ "status": reply.status, "body": String::from_utf8_lossy(&reply.body) })
                }
                Err(_) => fault("TR-CONTROL-NO-CALL"),
            }
        }
        (Some("session-log"), Some(name)) => match board.session_log(name).await {
            Some(log) => json!({ "log": log }),
            None => fault("TR-CONTROL-NO-CALL"),
        },
        (Some(_), None) => fault("TR-CONTROL-NO-CALL"),
        (Some(_) | None, _) => fault("TR-CONTROL-REQUEST"),
    }
}
