//! What lines report: calls that arrive, and what becomes of legs.

use serde_json::json;
use tipring_calls::{Call, CallInput, Limits, MediaEvent};
use tipring_flows::connect::Connect;
use tipring_model::call::{CallFacts, Direction, Origin};
use tipring_model::flow::{Flow, Target};
use tipring_model::line::{LineCommand, LineEvent, Offer};
use tipring_model::{Cause, LegId, LineId};
use tipring_spool::Class;

use super::control::down_detail;
use super::route::Arrival;
use super::switchboard::{CONNECT_RING_MAX, Switchboard, moment, new_call_id};

/// Legs of which notes are kept, and notes of each.
const NOTED_LEGS_MAX: usize = 1_024;
const NOTES_MAX: usize = 16;

impl Switchboard {
    /// Takes the events of the lines, for ever.
    pub(crate) async fn serve_lines(self) {
        loop {
            let (line, event) = self.0.lines.event().await;
            self.take_notes();
            self.line_event(line, event);
            while let Some((line, event)) = self.0.lines.try_event() {
                self.take_notes();
                self.line_event(line, event);
            }
        }
    }

    /// What lines have found out, for the records of calls and for themselves.
    fn take_notes(&self) {
        self.keep_learned();
        while let Some((leg, note)) = self.0.lines.try_note() {
            let mut state = self.0.state.borrow_mut();
            let is_known = state.notes.contains_key(&leg);
            if is_known || state.notes.len() < NOTED_LEGS_MAX {
                let notes = state.notes.entry(leg).or_default();
                if notes.len() < NOTES_MAX {
                    notes.push(note);
                }
            }
        }
    }

    fn line_event(&self, line: LineId, event: LineEvent) {
        match event {
            LineEvent::Offered(offer) => self.offered(line, offer),
            LineEvent::Up => {
                tracing::info!(line = self.line_name(Some(line)), "line up");
                self.0.webhooks.line_changed(self.line_name(Some(line)), None);
            }
            LineEvent::Down(reason) => {
                tracing::warn!(
                    code = down_detail(reason),
                    line = self.line_name(Some(line)),
                    ?reason,
                    "line down"
                );
                self.0.webhooks.line_changed(self.line_name(Some(line)), Some(reason));
            }
            LineEvent::Answered { leg, codec, .. } => {
                {
                    let mut state = self.0.state.borrow_mut();
                    if let Some(entry) = state.legs.get_mut(&leg) {
                        entry.spare = None;
                    }
                    let call = state.legs.get(&leg).map(|entry| entry.call);
                    if let Some(entry) = call.and_then(|call| state.calls.get_mut(&call)) {
                        entry.codecs.insert(leg, codec);
                    }
                }
                self.leg_input(leg, event);
            }
            LineEvent::Digit { leg, digit } => {
                self.note_digit(leg, digit);
                self.stream_digit(leg, digit);
                self.leg_input(leg, event);
            }
            LineEvent::Alerting { leg, .. } => {
                if let Some(entry) = self.0.state.borrow_mut().legs.get_mut(&leg) {
                    entry.spare = None;
                }
                self.leg_input(leg, event);
            }
            LineEvent::Held { leg, .. } | LineEvent::Signalled { leg, .. } => self.leg_input(leg, event),
            LineEvent::Refer { leg, ref referral } => {
                if self.may_transfer(leg, referral) {
                    self.leg_input(leg, event);
                }
            }
            LineEvent::Transferring { leg, .. } | LineEvent::Referred { leg, .. } => {
                self.leg_input(leg, event)
            }
            LineEvent::Replaced { leg, .. } => {
                self.leg_moved(line, leg);
                self.leg_input(leg, event);
            }
            LineEvent::Released { leg, cause, .. } => {
                if self.try_next_line(leg, cause) {
                    return;
                }
                if !self.0.state.borrow().legs.contains_key(&leg) {
                    self.0.state.borrow_mut().notes.remove(&leg);
                }
                self.leg_input(leg, event);
                self.leg_gone(leg);
            }
        }
    }

    fn leg_input(&self, leg: LegId, event: LineEvent) {
        let call = self.0.state.borrow().legs.get(&leg).map(|entry| entry.call);
        if let Some(call) = call {
            self.handle(call, CallInput::Line(event));
        }
    }

    /// What was still being prepared for a leg will not be heard.
    pub(super) fn leg_gone(&self, leg: LegId) {
        let left = {
            let mut state = self.0.state.borrow_mut();
            state.legs.remove(&leg).map(|mut entry| (entry.call, entry.queue.drain()))
        };
        let Some((call, plays)) = left else { return };
        for play in plays {
            self.handle(call, CallInput::Media(leg, MediaEvent::PlayEnded(play, Ok(()))));
        }
    }

    fn offered(&self, line: LineId, offer: Offer) {
        let is_inside = line == self.0.lines.tie();
        let arrival = if is_inside {
            match self.session_arrival(&offer) {
                Some(arrival) => arrival,
                None => return self.join_session(line, offer),
            }
        } else {
            let flows = self.0.flows.iter().enumerate();
            let claims: Vec<_> = flows
                .filter_map(|(at, flow)| flow.program.claims(offer.to.as_str()).map(|claim| (at, claim)))
                .collect();
            self.0.plan.arrival(line, &offer.to, &claims)
        };
        let emergency = matches!(arrival, Arrival::Emergency(_));
        let (full, stopping) = {
            let state = self.0.state.borrow();
            (state.calls.len() >= self.0.calls_max, state.stopping)
        };
        if (full || stopping) && !emergency {
            let code = if stopping { "TR-DAEMON-STOPPING" } else { "TR-CALL-LIMIT" };
            tracing::warn!(code, line = self.line_name(Some(line)), "call refused");
            let release = LineCommand::Release { leg: offer.leg, cause: Cause::NoCircuit };
            return self.0.lines.command(line, release);
        }
        let mut stand_in = None;
        let (flow, flow_at): (Box<dyn Flow>, Option<usize>) = match arrival {
            Arrival::Flow(at) => match self.0.flows.get(at) {
                Some(entry) => {
                    let (flow, rung) = self.guarded_flow(line, entry);
                    stand_in = rung;
                    (flow, Some(at))
                }
                None => {
                    return self
                        .0
                        .lines
                        .command(line, LineCommand::Release { leg: offer.leg, cause: Cause::Unallocated });
                }
            },
            Arrival::Connect(target) => (Box::new(Connect::new(target, CONNECT_RING_MAX)), None),
            Arrival::Emergency(number) => {
                tracing::warn!(line = self.line_name(Some(line)), "emergency call");
                let told = json!({
                    "number": number,
                    "from": offer.from.number_or_anonymous(),
                    "line": self.line_name(Some(line)),
                });
                self.0.webhooks.event("emergency.called", self.line_name(Some(line)), Class::Emergency, told);
                (Box::new(Connect::new(Target::Number(number), CONNECT_RING_MAX)), None)
            }
            Arrival::Refuse(cause) => {
                tracing::info!(code = "TR-CALL-NO-ROUTE", line = self.line_name(Some(line)), "call refused");
                return self.0.lines.command(line, LineCommand::Release { leg: offer.leg, cause });
            }
        };
        let now = moment();
        let id = new_call_id();
        let session = self.session_for(id, flow_at, offer.to.as_str(), is_inside);
        let facts = CallFacts {
            id,
            leg: Some(offer.leg),
            direction: Direction::Inbound,
            from: offer.from,
            to: offer.to,
            answered: false,
            codec: offer.codec,
            started_unix_ms: now.unix_ms,
            origin: Origin {
                line: self.line_name(Some(line)).to_owned(),
                extension: self.0.plan.extension(line, &offer.origin),
                ..*offer.origin
            },
            kept: self.kept_for(flow_at),
            session,
        };
        let number = self.next_number();
        if is_inside {
            self.0.sessions.called_inside(facts.to.as_str(), number);
        }
        let call = Call::new(number, facts, flow, Limits::default(), now);
        self.begin(number, call, Some(line), (flow_at, stand_in), Some((offer.leg, offer.codec)));
    }
}
