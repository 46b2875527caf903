//! The line by which the box calls itself: what is placed on it is offered on it again, and the two
//! legs, which belong to two calls, hear each other through a patch in the media engine.
//!
//! ```text
//! Place p1.2 to 700    -> Offered o9.1 to 700
//! Answer o9.1          -> Join p1.2 o9.1, Answered o9.1, Answered p1.2
//! Release p1.2         -> Part both, Released p1.2, Released o9.1
//! ```
//!
//! It carries sound, keys, header fields and texts. Deliberately absent: hold and transfers.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use tipring_media::{Command, Rate, patch};
use tipring_model::call::Origin;
use tipring_model::line::{LineCommand, LineEvent, Offer, PlaceExtras, ReferReply, Supervision};
use tipring_model::signal::{FarSignal, LegSignal, SignalExtras, fitting, is_extra_header};
use tipring_model::{CallerId, Cause, LegId, LineId, Number};
use tokio::sync::Notify;

use crate::MediaPort;

/// Calls of the box to itself at one time.
pub const CALLS_MAX: usize = 64;
/// What is heard: linear samples.
const CODEC: &str = "L16";

/// What the line wants.
#[derive(Clone, PartialEq, Debug)]
enum Output {
    Line(LineEvent),
    /// Make these two the ends of a patch.
    Join(LegId, LegId),
    /// Take the leg from the engine.
    Part(LegId),
}

/// One end of a call.
struct End {
    other: LegId,
    is_answered: bool,
    is_joined: bool,
    extras: SignalExtras,
    /// The header fields that it was told last.
    told: Vec<(String, String)>,
}

impl End {
    fn with(other: LegId) -> Self {
        Self {
            other,
            is_answered: false,
            is_joined: false,
            extras: SignalExtras::default(),
            told: Vec::new(),
        }
    }
}

/// The line, without sound and without waiting.
struct Machine {
    line: LineId,
    ends: BTreeMap<LegId, End>,
    offered: u32,
    outputs: VecDeque<Output>,
}

fn sendable(headers: Vec<(String, String)>) -> Vec<(String, String)> {
    fitting(headers.into_iter().filter(|(name, value)| is_extra_header(name, value))).collect()
}

impl Machine {
    const fn new(line: LineId) -> Self {
        Self { line, ends: BTreeMap::new(), offered: 0, outputs: VecDeque::new() }
    }

    fn event(&mut self, event: LineEvent) {
        self.outputs.push_back(Output::Line(event));
    }

    fn command(&mut self, command: LineCommand) {
        match command {
            LineCommand::Place { leg, to, from, extras } => self.place(leg, to, from, extras),
            LineCommand::Alert { leg, early_media } => self.alert(leg, early_media),
            LineCommand::Answer { leg } => self.answer(leg),
            LineCommand::Release { leg, cause } => self.release(leg, cause),
            LineCommand::Signal { leg, signal } => self.signal(leg, *signal),
            LineCommand::Refer { leg, .. } => self.no_refer(leg),
            // Digits travel with the sound, and nobody asks for a transfer here.
            LineCommand::SendDigits { .. }
            | LineCommand::Flash { .. }
            | LineCommand::Transfer { .. }
            | LineCommand::EndTransfer { .. } => {}
        }
    }

    fn place(&mut self, leg: LegId, to: Number, from: CallerId, extras: PlaceExtras) {
        if self.ends.contains_key(&leg) {
            return;
        }
        if self.ends.len() >= 2 * CALLS_MAX {
            return self.event(LineEvent::Released { leg, cause: Cause::NoCircuit, status: None });
        }
        self.offered = self.offered.wrapping_add(1);
        let there = LegId::offered(self.line, self.offered);
        self.ends.insert(leg, End::with(there));
        let headers = sendable(extras.headers);
        self.ends.insert(there, End { told: headers.clone(), ..End::with(leg) });
        let origin = Box::new(Origin { headers, ..Origin::default() });
        self.event(LineEvent::Offered(Offer { leg: there, from, to, origin, codec: CODEC }));
    }

    /// What an end says beside a signal is told the other before it.
    fn tell_extras(&mut self, from: LegId) {
        let Some(end) = self.ends.get_mut(&from) else { return };
        let (leg, headers) = (end.other, std::mem::take(&mut end.extras.headers));
        let Some(other) = self.ends.get_mut(&leg).filter(|other| other.told != headers) else { return };
        other.told.clone_from(&headers);
        self.event(LineEvent::Signalled { leg, signal: Box::new(FarSignal::Headers(headers)) });
    }

    fn join(&mut self, leg: LegId) {
        let Some(other) = self.ends.get(&leg).filter(|end| !end.is_joined).map(|end| end.other) else {
            return;
        };
        for one in [leg, other] {
            if let Some(end) = self.ends.get_mut(&one) {
                end.is_joined = true;
            }
        }
        self.outputs.push_back(Output::Join(leg, other));
    }

    fn alert(&mut self, leg: LegId, early_media: bool) {
        let Some(end) = self.ends.get(&leg).filter(|end| !end.is_answered && !leg.is_placed()) else {
            return;
        };
        let other = end.other;
        self.tell_extras(leg);
        if early_media {
            self.join(leg);
        }
        self.event(LineEvent::Alerting { leg: other, early_media });
    }

    fn answer(&mut self, leg: LegId) {
        let Some(end) = self.ends.get(&leg).filter(|end| !end.is_answered && !leg.is_placed()) else {
            return;
        };
        let other = end.other;
        self.join(leg);
        self.tell_extras(leg);
        for leg in [leg, other] {
            if let Some(end) = self.ends.get_mut(&leg) {
                end.is_answered = true;
            }
            self.event(LineEvent::Answered { leg, supervision: Supervision::Signalled, codec: CODEC });
        }
    }

    fn release(&mut self, leg: LegId, cause: Cause) {
        self.tell_extras(leg);
        let Some(end) = self.ends.remove(&leg) else { return };
        let other = end.other;
        self.ends.remove(&other);
        if end.is_joined {
            self.outputs.extend([Output::Part(leg), Output::Part(other)]);
        }
        self.event(LineEvent::Released { leg, cause, status: None });
        let (cause, status) = match (end.is_answered, leg.is_placed()) {
            (true, _) => (Cause::NormalClearing, None),
            (false, true) => (Cause::Cancelled, None),
            (false, false) => (cause, Some(end.extras.status.unwrap_or_else(|| cause.sip_status()))),
        };
        self.event(LineEvent::Released { leg: other, cause, status });
    }

    fn signal(&mut self, leg: LegId, signal: LegSignal) {
        let Some(end) = self.ends.get_mut(&leg) else { return };
        match signal {
            LegSignal::Extras(extras) => {
                end.extras = SignalExtras { headers: sendable(extras.headers), ..extras };
            }
            LegSignal::Ringing => self.alert(leg, false),
            LegSignal::Remark(remark) => {
                let (to, signal) = if end.is_answered {
                    (end.other, FarSignal::Remark(remark))
                } else {
                    (leg, FarSignal::Unsaid)
                };
                self.event(LineEvent::Signalled { leg: to, signal: Box::new(signal) });
            }
            LegSignal::Refer(_) => self.no_refer(leg),
            // Whoever is there takes all that is said, and asks for nothing.
            LegSignal::Takes(_) | LegSignal::AnswerReferral(_) => {}
        }
    }

    fn no_refer(&mut self, leg: LegId) {
        if self.ends.contains_key(&leg) {
            self.event(LineEvent::Referred { leg, reply: ReferReply::Answered(501) });
        }
    }
}

/// The line. Cloning gives another handle to the same.
#[derive(Clone)]
pub struct TieLine(Rc<Inner>);

struct Inner {
    machine: RefCell<Machine>,
    events: RefCell<VecDeque<LineEvent>>,
    media: MediaPort,
    arrived: Notify,
}

impl TieLine {
    /// A line of this name, which no line of the configuration has.
    #[must_use]
    pub fn new(line: LineId, media: MediaPort) -> Self {
        let machine = RefCell::new(Machine::new(line));
        Self(Rc::new(Inner { machine, events: RefCell::default(), media, arrived: Notify::new() }))
    }

    /// Its name.
    #[must_use]
    pub fn line(&self) -> LineId {
        self.0.machine.borrow().line
    }

    /// The leg at the other end of a call.
    #[must_use]
    pub fn other_end(&self, leg: LegId) -> Option<LegId> {
        self.0.machine.borrow().ends.get(&leg).map(|end| end.other)
    }

    /// Tells it what to do. What comes of it arrives as an event.
    pub fn command(&self, command: LineCommand) {
        let mut machine = self.0.machine.borrow_mut();
        machine.command(command);
        while let Some(output) = machine.outputs.pop_front() {
            match output {
                Output::Line(event) => self.0.events.borrow_mut().push_back(event),
                Output::Join(one, other) => {
                    let (near, far) = patch(Rate::Wide);
                    for (leg, endpoint) in [(one, near), (other, far)] {
                        self.0.media.send(Command::attach(leg, endpoint));
                        self.0.media.send(Command::Listen { leg, inband: true });
                    }
                }
                Output::Part(leg) => self.0.media.send(Command::Detach { leg }),
            }
        }
        self.0.arrived.notify_one();
    }

    /// The next event.
    pub async fn event(&self) -> (LineId, LineEvent) {
        loop {
            if let Some(event) = self.try_event() {
                return event;
            }
            self.0.arrived.notified().await;
        }
    }

    /// The next event, if one waits.
    #[must_use]
    pub fn try_event(&self) -> Option<(LineId, LineEvent)> {
        let event = self.0.events.borrow_mut().pop_front()?;
        Some((self.line(), event))
    }
}

#[cfg(test)]
mod tests {
    use tipring_model::signal::{Remark, RemarkKind};

    use super::*;

    const HERE: LineId = LineId(9);

    fn leg(seq: u32) -> LegId {
        LegId::placed(1, seq)
    }

    fn there(seq: u32) -> LegId {
        LegId::offered(HERE, seq)
    }

    fn told(machine: &mut Machine, command: LineCommand) -> Vec<String> {
        machine.command(command);
        machine.outputs.drain(..).map(|output| shown(&output)).collect()
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what this line never says is shown as it is")]
    fn shown(output: &Output) -> String {
        match output {
            Output::Join(one, other) => format!("join {one} {other}"),
            Output::Part(leg) => format!("part {leg}"),
            Output::Line(event) => match event {
                LineEvent::Offered(offer) => {
                    format!(
                        "offered {} from {} to {} {:?}",
                        offer.leg,
                        offer.from.number_or_anonymous(),
                        offer.to,
                        offer.origin.headers
                    )
                }
                LineEvent::Alerting { leg, early_media } => format!("alerting {leg} {early_media}"),
                LineEvent::Answered { leg, .. } => format!("answered {leg}"),
                LineEvent::Released { leg, cause, status } => format!("released {leg} {cause} {status:?}"),
                LineEvent::Signalled { leg, signal } => match &**signal {
                    FarSignal::Headers(headers) => format!("{leg} says {headers:?}"),
                    FarSignal::Remark(remark) => {
                        format!("{leg} hears {}", String::from_utf8_lossy(&remark.body))
                    }
                    other => format!("{leg} {other:?}"),
                },
                other => format!("{other:?}"),
            },
        }
    }

    fn place(machine: &mut Machine, seq: u32) -> Vec<String> {
        let headers = vec![("X-A".to_owned(), "1".to_owned()), ("Via".to_owned(), "no".to_owned())];
        let extras = PlaceExtras { headers, ..PlaceExtras::default() };
        let (to, from) = (Number::new("room"), CallerId::of("100"));
        told(machine, LineCommand::Place { leg: leg(seq), to, from, extras })
    }

    fn says(machine: &mut Machine, leg: LegId, signal: LegSignal) -> Vec<String> {
        told(machine, LineCommand::Signal { leg, signal: Box::new(signal) })
    }

    #[test]
    fn what_is_placed_is_offered_and_both_ends_go_together() {
        let mut line = Machine::new(HERE);
        assert_eq!(place(&mut line, 1), [r#"offered o9.1 from 100 to room [("X-A", "1")]"#]);
        let alert = |early_media| LineCommand::Alert { leg: there(1), early_media };
        assert_eq!(told(&mut line, alert(false)), ["alerting p1.1 false"]);
        assert_eq!(told(&mut line, alert(true)), ["join o9.1 p1.1", "alerting p1.1 true"]);
        assert_eq!(told(&mut line, LineCommand::Answer { leg: leg(1) }), [""; 0], "the caller cannot answer");
        assert_eq!(
            told(&mut line, LineCommand::Answer { leg: there(1) }),
            ["answered o9.1", "answered p1.1"]
        );
        let release = |leg| LineCommand::Release { leg, cause: Cause::Busy };
        assert_eq!(
            told(&mut line, release(leg(1))),
            [
                "o9.1 says []",
                "part p1.1",
                "part o9.1",
                "released p1.1 busy None",
                "released o9.1 normal-clearing None"
            ]
        );
        assert_eq!(
            (told(&mut line, release(there(1))).len(), line.ends.len()),
            (0, 0),
            "each is released once"
        );
        place(&mut line, 2);
        assert_eq!(
            told(&mut line, release(there(2))),
            ["released o9.2 busy None", "released p1.2 busy Some(486)"]
        );
        place(&mut line, 3);
        assert_eq!(
            told(&mut line, release(leg(3))),
            ["o9.3 says []", "released p1.3 busy None", "released o9.3 cancelled None"]
        );
    }

    #[test]
    fn what_one_end_says_the_other_hears() {
        let mut line = Machine::new(HERE);
        place(&mut line, 1);
        let (media_type, body, headers) = ("text/plain".to_owned(), b"hello".to_vec(), Vec::new());
        let remark = LegSignal::Remark(Remark { kind: RemarkKind::Message, media_type, body, headers });
        assert_eq!(says(&mut line, leg(1), remark.clone()), ["p1.1 Unsaid"]);
        let headers = vec![("X-B".to_owned(), "2".to_owned())];
        let extras = LegSignal::Extras(SignalExtras { headers, ..SignalExtras::default() });
        assert_eq!(says(&mut line, there(1), extras), [""; 0]);
        assert_eq!(
            says(&mut line, there(1), LegSignal::Ringing),
            [r#"p1.1 says [("X-B", "2")]"#, "alerting p1.1 false"]
        );
        let answered = told(&mut line, LineCommand::Answer { leg: there(1) });
        assert_eq!(answered, ["join o9.1 p1.1", "p1.1 says []", "answered o9.1", "answered p1.1"]);
        assert_eq!(says(&mut line, leg(1), remark), ["o9.1 hears hello"]);
        assert_eq!(says(&mut line, leg(1), LegSignal::Refer(leg(2))).len(), 1);
    }

    #[test]
    fn there_are_so_many_calls_and_no_more() {
        let mut line = Machine::new(HERE);
        for seq in 0..u32::try_from(CALLS_MAX).unwrap_or(0) {
            assert!(place(&mut line, seq)[0].starts_with("offered"), "{seq}");
        }
        assert_eq!(place(&mut line, 999), ["released p1.999 no-circuit None"]);
    }
}
