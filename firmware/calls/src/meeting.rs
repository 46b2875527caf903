//! Rooms and queues, as one call sees them: what its legs ask of the exchange, and what
//! comes of it.

use std::time::{Duration, Instant};

use tipring_model::flow::{
    ActionFailure, Conference, Dial, DialEnd, Dialed, Enqueue, Left, LeftBy, LegEvent, Moment, Outcome,
    QueueEnd, QueueEvent, Queued, Ringback, RoomEvent, Target,
};
use tipring_model::prompt::{Beep, PromptSource};
use tipring_model::{ActionId, Cause, Digit, DigitSet, LegId, PlayId};

use crate::actions::Work;
use crate::call::Call;
use crate::contract::{CallOutput, MediaCommand};
use crate::exchange::{ExchangeEvent, ExchangeRequest, Seat};
use crate::leg::LegState;

/// A leg in a room, in a queue, or one that takes somebody out of a queue.
pub(crate) struct MeetingWork {
    kind: Kind,
    since: Instant,
    /// What plays while nobody is there.
    play: Option<PlayId>,
    /// With whom the leg talks, and since when.
    talks: Option<(LegId, Instant)>,
}

pub(crate) enum Kind {
    Room(Box<Conference>),
    Waits,
    Takes { hang_up: DigitSet, talk_max: Option<Duration> },
}

impl MeetingWork {
    pub(crate) const fn new(kind: Kind, since: Instant) -> Self {
        Self { kind, since, play: None, talks: None }
    }

    pub(crate) fn plays(&self, play: PlayId) -> bool {
        self.play == Some(play)
    }

    pub(crate) fn play_ended(&mut self, play: PlayId) {
        if self.play == Some(play) {
            self.play = None;
        }
    }

    /// True if the leg leaves with this key.
    pub(crate) fn ends_with(&self, key: Digit) -> bool {
        match &self.kind {
            Kind::Room(spec) => spec.leave.contains(key),
            Kind::Takes { hang_up, .. } => self.talks.is_some() && hang_up.contains(key),
            Kind::Waits => false,
        }
    }

    /// True in a room of which the leg hears nothing.
    pub(crate) const fn is_deaf(&self) -> bool {
        match &self.kind {
            Kind::Room(spec) => spec.deaf,
            Kind::Waits | Kind::Takes { .. } => false,
        }
    }

    pub(crate) const fn is_waiting(&self) -> bool {
        matches!(self.kind, Kind::Waits) && self.talks.is_none()
    }
}

impl Call {
    pub(crate) fn ask_exchange(&mut self, id: ActionId, leg: LegId, request: ExchangeRequest) {
        let seat = Seat { call: self.number, action: id, leg };
        self.outputs.push_back(CallOutput::Exchange(seat, request));
    }

    pub(crate) fn begin_conference(&mut self, now: Moment, id: ActionId, on: LegId, spec: Conference) {
        let spec = Box::new(spec);
        let kind = Kind::Room(spec.clone());
        self.run(id, on, None, Work::Meeting(Box::new(MeetingWork::new(kind, now.instant))));
        self.ask_exchange(id, on, ExchangeRequest::Enter(spec));
    }

    pub(crate) fn begin_enqueue(&mut self, now: Moment, id: ActionId, on: LegId, spec: Enqueue) {
        self.run(id, on, None, Work::Meeting(Box::new(MeetingWork::new(Kind::Waits, now.instant))));
        self.ask_exchange(id, on, ExchangeRequest::Wait(spec));
    }

    pub(crate) fn begin_dequeue(&mut self, now: Moment, id: ActionId, on: LegId, spec: Dial) {
        let Some(Target::Queue { name, announce }) = spec.targets.first().map(|first| first.target.clone())
        else {
            return self.ended(id, Outcome::Failed(ActionFailure::LegState));
        };
        if self.leg(on).is_none_or(|leg| leg.state != LegState::Answered) {
            return self.ended(id, Outcome::Failed(ActionFailure::LegState));
        }
        let kind = Kind::Takes { hang_up: spec.hang_up, talk_max: spec.talk_max };
        let due = Some(now.instant + spec.ring_max);
        self.run(id, on, due, Work::Meeting(Box::new(MeetingWork::new(kind, now.instant))));
        let source = match spec.ringback {
            Ringback::Prompt(source) => Some(source),
            Ringback::Tone | Ringback::ToneOf(_) | Ringback::Silence => None,
        };
        self.play_waiting(id, on, source);
        self.ask_exchange(id, on, ExchangeRequest::Take { queue: name, announce });
    }

    fn meeting(&mut self, id: ActionId) -> Option<(&mut MeetingWork, LegId)> {
        let running = self.running.iter_mut().find(|running| running.id == id)?;
        match (&mut running.work, running.leg) {
            (Work::Meeting(meeting), Some(leg)) => Some((meeting, leg)),
            (_, Some(_) | None) => None,
        }
    }

    fn play_waiting(&mut self, id: ActionId, leg: LegId, source: Option<PromptSource>) {
        let Some(source) = source else { return };
        let play = self.play(leg);
        self.media(leg, MediaCommand::Play { play, source, loops: u32::MAX });
        if let Some((meeting, _)) = self.meeting(id) {
            meeting.play = Some(play);
        }
    }

    fn stop_waiting(&mut self, id: ActionId) {
        let Some((meeting, leg)) = self.meeting(id) else { return };
        if let Some(play) = meeting.play {
            self.media(leg, MediaCommand::StopPlay(play));
        }
    }

    /// A leg that was called out of a queue is ready; false if none was.
    pub(crate) fn accept_queued(&mut self, leg: LegId) -> bool {
        let waiting = self.running.iter().find(|running| {
            running.leg == Some(leg)
                && matches!(&running.work, Work::Meeting(meeting) if meeting.is_waiting())
        });
        let Some(id) = waiting.map(|running| running.id) else { return false };
        self.ask_exchange(id, leg, ExchangeRequest::Ready);
        true
    }

    /// What the exchange says.
    pub(crate) fn exchange_event(&mut self, now: Moment, id: ActionId, event: ExchangeEvent) {
        if let Some(Work::Dial(_)) = self.work_of(id) {
            return self.dial_exchange_event(now, id, event);
        }
        let Some((meeting, leg)) = self.meeting(id) else { return };
        match event {
            ExchangeEvent::Room(event) => {
                let Kind::Room(spec) = &meeting.kind else { return };
                let wait = spec.wait.clone();
                match event {
                    RoomEvent::Entered { began: false, .. } => self.play_waiting(id, leg, wait),
                    RoomEvent::Began => self.stop_waiting(id),
                    RoomEvent::Entered { began: true, .. }
                    | RoomEvent::Records
                    | RoomEvent::Joined { .. }
                    | RoomEvent::Parted { .. } => {}
                }
                self.leg_event(leg, LegEvent::Room(event));
            }
            ExchangeEvent::ToneIn => self.beep(leg, 880),
            ExchangeEvent::ToneOut => self.beep(leg, 440),
            ExchangeEvent::Full => {
                let outcome = match meeting.kind {
                    Kind::Room(_) => Outcome::Left(Left { by: LeftBy::Full, stayed: Duration::ZERO }),
                    Kind::Waits => Outcome::Queued(Queued {
                        end: QueueEnd::Full,
                        waited: Duration::ZERO,
                        talked: Duration::ZERO,
                    }),
                    Kind::Takes { .. } => Outcome::Dialed(Dialed::nobody(Cause::NoCircuit)),
                };
                self.meeting_over(id, outcome);
            }
            ExchangeEvent::Ended => self.left(now, id, LeftBy::RoomEnded),
            ExchangeEvent::Queue(event) => {
                let called = matches!(event, QueueEvent::Called { .. });
                if called {
                    self.silence(now, leg, id);
                }
                self.leg_event(leg, LegEvent::Queue(event));
            }
            ExchangeEvent::Connected(with) => {
                meeting.talks = Some((with, now.instant));
                let talk_max = match meeting.kind {
                    Kind::Takes { talk_max, .. } => talk_max,
                    Kind::Room(_) | Kind::Waits => None,
                };
                if let Some(running) = self.running.iter_mut().find(|running| running.id == id) {
                    running.due = talk_max.map(|longest| now.instant + longest);
                }
                self.silence(now, leg, id);
                self.stop_waiting(id);
                if let Some(leg) = self.leg_mut(leg) {
                    leg.peer = Some(with);
                }
            }
            ExchangeEvent::Parted => self.parted(now, id, DialEnd::Target),
            ExchangeEvent::Takes { at, from } => self.takes(now, &at, &from),
            ExchangeEvent::Nobody => {
                self.meeting_over(id, Outcome::Dialed(Dialed::nobody(Cause::Unallocated)));
            }
            // Only calls that ring are picked up.
            ExchangeEvent::PickedUp { .. } => {}
        }
    }

    /// Ends what plays to a leg, but for what belongs to `but`.
    fn silence(&mut self, now: Moment, leg: LegId, but: ActionId) {
        let heard: Vec<ActionId> = self
            .running
            .iter()
            .filter(|running| running.leg == Some(leg) && running.id != but && running.is_heard())
            .map(|running| running.id)
            .collect();
        for id in heard {
            self.cancel_action(now, id);
        }
    }

    fn beep(&mut self, leg: LegId, hz: u16) {
        let play = self.play(leg);
        let beep = Beep { hz: vec![hz], on: Duration::from_millis(200), off: Duration::ZERO };
        let source = PromptSource::Tones(vec![beep]);
        self.media(leg, MediaCommand::Play { play, source, loops: 1 });
    }

    /// A key by which the leg leaves was pressed.
    pub(crate) fn meeting_key(&mut self, now: Moment, id: ActionId, key: Digit) {
        let Some((meeting, leg)) = self.meeting(id) else { return };
        match meeting.kind {
            Kind::Room(_) => {
                self.ask_exchange(id, leg, ExchangeRequest::Leave);
                self.left(now, id, LeftBy::Key(key));
            }
            Kind::Takes { .. } => {
                self.ask_exchange(id, leg, ExchangeRequest::Leave);
                self.parted(now, id, DialEnd::Key(key));
            }
            Kind::Waits => {}
        }
    }

    pub(crate) fn meeting_timeout(&mut self, now: Moment, id: ActionId) {
        let Some((meeting, leg)) = self.meeting(id) else { return };
        let talks = meeting.talks.is_some();
        self.ask_exchange(id, leg, ExchangeRequest::Leave);
        if talks {
            self.parted(now, id, DialEnd::Limit);
        } else {
            self.meeting_over(id, Outcome::Dialed(Dialed::nobody(Cause::NoAnswer)));
        }
    }

    fn left(&mut self, now: Moment, id: ActionId, by: LeftBy) {
        let Some((meeting, _)) = self.meeting(id) else { return };
        let stayed = now.instant - meeting.since;
        self.meeting_over(id, Outcome::Left(Left { by, stayed }));
    }

    fn parted(&mut self, now: Moment, id: ActionId, by: DialEnd) {
        let Some((meeting, leg)) = self.meeting(id) else { return };
        let talked = meeting.talks.map_or(Duration::ZERO, |(_, since)| now.instant - since);
        let waited = (now.instant - meeting.since).saturating_sub(talked);
        let outcome = match meeting.kind {
            Kind::Takes { .. } => Outcome::Dialed(Dialed {
                answered: meeting.talks.map(|_| 0),
                talked,
                leg: meeting.talks.map(|(with, _)| with),
                by,
                ..Dialed::nobody(Cause::NormalClearing)
            }),
            Kind::Waits => Outcome::Queued(Queued { end: QueueEnd::Talked, waited, talked }),
            Kind::Room(_) => return,
        };
        if let Some(leg) = self.leg_mut(leg) {
            leg.peer = None;
        }
        self.meeting_over(id, outcome);
    }

    /// The flow no longer wants it, or the leg is gone.
    pub(crate) fn end_meeting(&mut self, id: ActionId, outcome: Outcome) {
        let Some((meeting, leg)) = self.meeting(id) else { return };
        let is_deaf = meeting.is_deaf();
        self.ask_exchange(id, leg, ExchangeRequest::Leave);
        // One that heard nothing of the room may talk with somebody else.
        if let Some(leg) = self.leg_mut(leg).filter(|_| !is_deaf) {
            leg.peer = None;
        }
        self.meeting_over(id, outcome);
    }

    fn meeting_over(&mut self, id: ActionId, outcome: Outcome) {
        self.stop_waiting(id);
        self.end_action(id, outcome);
    }

    /// The far end put a leg on hold, or took it back.
    pub(crate) fn leg_held(&mut self, leg: LegId, held: bool) {
        let in_room = self.running.iter().find(|running| {
            running.leg == Some(leg)
                && matches!(&running.work, Work::Meeting(meeting) if matches!(meeting.kind, Kind::Room(_)))
        });
        if let Some(id) = in_room.map(|running| running.id) {
            self.ask_exchange(id, leg, ExchangeRequest::Hold(held));
        }
        if self.leg(leg).is_some() {
            self.leg_event(leg, LegEvent::Held(held));
        }
    }
}
