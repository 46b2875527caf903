//! What a script says by the signalling of a call, and what it hears that way.

use tipring_model::LegId;
use tipring_model::flow::{Action, Moment, Outcome, Referred, Target};
use tipring_model::signal::{
    FarSignal, LegSignal, REMARK_BYTES_MAX, Remark, RemarkKind, SignalExtras, Takes, fitting,
    is_extra_header, is_media_type,
};

use super::message::{CallKind, CallTold, Command, Headers, Unit};
use super::parties::{Party, Standing};
use super::session::{Session, Work};

/// Transfers of one call.
const REFERS_MAX: u32 = 10;
/// RFC 3261 §21.6.2: declined.
const DECLINED: u16 = 603;

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

    /// What the script listens for on a call.
    pub(super) fn takes(&mut self, call: u32, takes: Takes) {
        let Some(party) = self.parties.get_mut(call) else { return };
        if std::mem::replace(&mut party.takes, takes) != takes {
            // Those that are not there yet are told when they are.
            for leg in party.legs.clone() {
                self.signal(leg, LegSignal::Takes(takes));
            }
        }
    }

    pub(super) fn remark(&mut self, call: u32, remark: Remark) {
        let leg = self.parties.leg(call).filter(|_| self.parties.is_connected(call));
        let Some(leg) = leg else { return self.log("a text is not sent: its call is not connected") };
        if remark.body.len() > REMARK_BYTES_MAX || !is_media_type(&remark.media_type) {
            return self.log("a text is not sent: it is too long, or its type is none");
        }
        let headers = self.sendable(remark.headers);
        self.signal(leg, LegSignal::Remark(Remark { headers, ..remark }));
    }

    // --- Transfers.

    pub(super) fn not_transferred(&mut self, now: Moment, call: u32, (code, reason): (u16, &'static str)) {
        let told = CallTold::new(call, "not_transferred");
        self.call_event(now, CallTold { code: Some(code), reason: Some(reason), ..told });
    }

    /// The leg of a call that may be asked for one more transfer; otherwise the script is told.
    fn may_refer(&mut self, now: Moment, call: u32) -> Option<LegId> {
        let Some(leg) = self.parties.leg(call).filter(|_| self.parties.is_connected(call)) else {
            self.not_transferred(now, call, (481, "the call is not connected"));
            return None;
        };
        let asks = |work: &Work| match work {
            Work::Refer(one) | Work::ReferTo(one, _) => *one == call,
            Work::Answer(_)
            | Work::Place(_)
            | Work::Play { .. }
            | Work::Player(_)
            | Work::Recorder(_)
            | Work::Record(_)
            | Work::Digits(_)
            | Work::Silent => false,
        };
        if self.works.values().any(asks) {
            self.log("transferTo: another transfer of the call is under way");
            self.not_transferred(now, call, (491, "another transfer of the call is under way"));
            return None;
        }
        let party = self.parties.get_mut(call)?;
        party.refers += 1;
        if party.refers > REFERS_MAX {
            self.not_transferred(now, call, (503, "too many transfers of one call"));
            return None;
        }
        Some(leg)
    }

    pub(super) fn refer(&mut self, now: Moment, call: u32, to: &str, headers: Headers) {
        let Some(leg) = self.may_refer(now, call) else { return };
        let target = match to.strip_prefix("sip:").or_else(|| to.strip_prefix("sips:")) {
            Some(address) => self.targets(CallKind::Sip, address).ok().and_then(|mut all| all.pop()),
            None => {
                let number: String =
                    to.chars().filter(|c| c.is_ascii_digit() || "+*#".contains(*c)).collect();
                Some(number).filter(|number| !number.is_empty()).map(Target::Number)
            }
        };
        match target {
            Some(target) => {
                let headers = self.sendable(headers);
                self.extras(leg, SignalExtras { headers, ..SignalExtras::default() });
                self.act(Some(leg), Action::Refer(target), Work::Refer(call));
            }
            None => self.not_transferred(now, call, (404, "Invalid number")),
        }
    }

    pub(super) fn referred(&mut self, now: Moment, call: u32, outcome: &Outcome) {
        let told = match outcome {
            Outcome::Referred(Referred { response: 200..=299, call: None | Some(200..=299) }) => {
                CallTold::new(call, "transferred")
            }
            Outcome::Referred(referred) => CallTold {
                code: Some(referred.call.unwrap_or(referred.response)),
                reason: Some("Transfer failed"),
                ..CallTold::new(call, "not_transferred")
            },
            Outcome::Failed(_)
            | Outcome::Done
            | Outcome::Interrupted(_)
            | Outcome::Collected(_)
            | Outcome::Recorded(_)
            | Outcome::Dialed(_)
            | Outcome::Left(_)
            | Outcome::Queued(_)
            | Outcome::Mailbox(_)
            | Outcome::Streamed(_)
            | Outcome::Detected(_)
            | Outcome::Cancelled
            | Outcome::LegGone => CallTold {
                code: Some(501),
                reason: Some("Not available on this line"),
                ..CallTold::new(call, "not_transferred")
            },
        };
        self.call_event(now, told);
    }

    /// The far end of a call is asked to talk with that of another. If it does not, the box joins them.
    pub(super) fn refer_to(&mut self, now: Moment, (call, other): (u32, u32), headers: Headers) {
        let with = self.parties.leg(other).filter(|_| self.parties.is_connected(other) && other != call);
        let Some(with) = with else {
            return self.not_transferred(now, call, (481, "the other call is not connected"));
        };
        let Some(leg) = self.may_refer(now, call) else { return };
        let headers = self.sendable(headers);
        self.extras(leg, SignalExtras { headers, ..SignalExtras::default() });
        let action = Action::Signal(Box::new(LegSignal::Refer(with)));
        self.act(Some(leg), action, Work::ReferTo(call, other));
    }

    pub(super) fn referred_to(&mut self, now: Moment, (call, other): (u32, u32), outcome: &Outcome) {
        let is_done =
            matches!(outcome, Outcome::Referred(Referred { response: 200..=299, call: Some(200..=299) }));
        if !is_done {
            if !self.parties.is_connected(call) || !self.parties.is_connected(other) {
                return self.not_transferred(now, call, (481, "a call has ended"));
            }
            self.log("the far end does not take the other call over: the box joins them");
            for (from, to) in [(call, other), (other, call)] {
                self.sound_command(now, Command::Route { from: Unit::Call(from), to: Unit::Call(to) });
            }
        }
        self.call_event(now, CallTold::new(call, "transferred"));
        self.call_event(now, CallTold { kind: Some("target"), ..CallTold::new(other, "transferred") });
    }

    /// How it ended what the far end has asked for.
    pub(super) fn answer_referral(&mut self, call: u32, code: u16) {
        if let Some(leg) = self.parties.leg(call) {
            let status = if code == 200 || (300..700).contains(&code) { code } else { DECLINED };
            self.signal(leg, LegSignal::AnswerReferral(status));
        }
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
            FarSignal::Remark(remark) => {
                let text = Some(String::from_utf8_lossy(&remark.body).into_owned());
                let told = match remark.kind {
                    RemarkKind::Info => {
                        CallTold { mime: Some(remark.media_type), ..CallTold::new(call, "info") }
                    }
                    RemarkKind::Message => CallTold::new(call, "message"),
                };
                self.call_event(now, CallTold { text, headers: remark.headers, ..told });
            }
            FarSignal::Unsaid => self.log("a text is not sent: the line of the call carries none"),
            FarSignal::Refused(status) => {
                self.log(&format!("a text is not taken: the far end says {status}"));
            }
            FarSignal::Referral(to) => {
                let text = Some(to);
                let headers = self.parties.get(call).map_or_else(Headers::new, |party| party.said_by(leg));
                self.call_event(now, CallTold { text, headers, ..CallTold::new(call, "asks_transfer") });
            }
            FarSignal::Forwarding => {
                let headers = self.parties.get(call).map_or_else(Headers::new, |party| party.said_by(leg));
                self.call_event(now, CallTold { headers, ..CallTold::new(call, "forwarding") });
            }
        }
    }
}
