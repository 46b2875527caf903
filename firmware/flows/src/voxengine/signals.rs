//! What a script says by the signalling of a call, and what it hears that way.

use tipring_model::LegId;
use tipring_model::flow::{Action, Moment};
use tipring_model::signal::{FarSignal, LegSignal, SignalExtras, fitting, is_extra_header};

use super::message::{CallTold, Headers};
use super::parties::{Party, Standing};
use super::session::{Session, Work};

impl Party {
    /// The header fields of the last message of a leg.
    pub(super) fn said_by(&self, leg: LegId) -> Headers {
        self.said.iter().find(|(of, _)| *of == leg).map_or_else(Headers::new, |(_, headers)| headers.clone())
    }
}

impl Session {
    /// Those header fields that can be sent; the log has the others.
    pub(super) fn sendable(&mut self, headers: Headers) -> Headers {
        let asked = headers.len();
        let mut sound = Headers::new();
        for (name, value) in headers {
            if is_extra_header(&name, &value) {
                sound.push((name, value));
            } else {
                let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
                self.log(&format!("header {shown} is not sent: its name or value is none, or too long"));
            }
        }
        let left = sound.len();
        let sent: Headers = fitting(sound).collect();
        if sent.len() < left {
            self.log(&format!("{} of {asked} headers are not sent: they are too many", left - sent.len()));
        }
        sent
    }

    pub(super) fn signal(&mut self, leg: LegId, signal: LegSignal) {
        self.act(Some(leg), Action::Signal(Box::new(signal)), Work::Silent);
    }

    /// What the next signal of a leg says beyond itself.
    pub(super) fn extras(&mut self, leg: LegId, extras: SignalExtras) {
        if extras != SignalExtras::default() {
            self.signal(leg, LegSignal::Extras(extras));
        }
    }

    /// The box tells a caller by itself that it rings; what the script says beside that comes later.
    pub(super) fn ring(&mut self, call: u32, headers: Headers) {
        let Some(leg) = self.parties.leg(call) else { return };
        let is_offered = |party: &Party| party.standing == Standing::Offered && !party.is_let_go;
        if !self.parties.get(call).is_some_and(is_offered) {
            return;
        }
        let headers = self.sendable(headers);
        if !headers.is_empty() {
            self.extras(leg, SignalExtras { headers, ..SignalExtras::default() });
            self.signal(leg, LegSignal::Ringing);
        }
    }

    pub(super) fn hang_up_saying(&mut self, call: u32, headers: Headers) {
        // Nothing can be said beside a call that is taken back.
        let says = |party: &Party| party.standing != Standing::Placed && !party.is_let_go;
        if let Some(leg) = self.parties.leg(call).filter(|_| self.parties.get(call).is_some_and(says)) {
            let headers = self.sendable(headers);
            self.extras(leg, SignalExtras { headers, ..SignalExtras::default() });
        }
        self.hang_up(call);
    }

    /// The far end of a leg says something.
    pub(super) fn signalled(&mut self, now: Moment, call: u32, leg: LegId, signal: FarSignal) {
        match signal {
            FarSignal::Headers(headers) => {
                if let Some(party) = self.parties.get_mut(call) {
                    party.said.retain(|(of, _)| *of != leg);
                    party.said.push((leg, headers));
                }
            }
            FarSignal::Forwarding => {
                let headers = self.parties.get(call).map_or_else(Headers::new, |party| party.said_by(leg));
                self.call_event(now, CallTold { headers, ..CallTold::new(call, "forwarding") });
            }
        }
    }
}
