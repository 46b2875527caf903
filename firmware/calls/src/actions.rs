//! The actions of a flow while they run. What takes more than a few lines has a
//! file of its own: `collect`, `dial`, `meeting`, `record`.

use std::time::{Duration, Instant};

use tipring_model::flow::{Action, ActionFailure, Booth, DialEnd, LegEvent, Moment, Outcome, Place};
use tipring_model::line::LineCommand;
use tipring_model::prompt::Prompt;
use tipring_model::{ActionId, Cause, Digit, DigitSet, LegId, PlayId};

use crate::call::Call;
use crate::collect::CollectWork;
use crate::contract::{CallOutput, MediaCommand};
use crate::dial::DialWork;
use crate::features::voicemail::VoiceMail;
use crate::features::{Feature, FeatureInput, Ids, is_of_feature};
use crate::hear::{HearWork, MixWork};
use crate::leg::{LegState, Purpose};
use crate::meeting::MeetingWork;
use crate::page::PageWork;
use crate::record::RecordWork;

/// One action under way.
pub(crate) struct Running {
    pub(crate) id: ActionId,
    /// The leg it works on; a Place has none.
    pub(crate) leg: Option<LegId>,
    /// When it has to be looked at.
    pub(crate) due: Option<Instant>,
    pub(crate) work: Work,
}

pub(crate) enum Work {
    Answer,
    Prompt {
        play: PlayId,
        barge_in: DigitSet,
        by: Option<Digit>,
        cancelled: bool,
    },
    Collect(CollectWork),
    Record(RecordWork),
    Dial(Box<DialWork>),
    Meeting(Box<MeetingWork>),
    Page(Box<PageWork>),
    Feature(Box<dyn Feature>),
    /// Until the shell says that it is over.
    Stream,
    Detect,
    /// Until the leg is gone.
    Watch,
    Echo,
    /// Until the far end says what became of it.
    Refer {
        /// The status with which it took the request.
        response: Option<u16>,
    },
    Place {
        leg: LegId,
    },
    Bridge {
        with: LegId,
    },
    Hear(HearWork),
    Mix(MixWork),
    /// Until it is closed.
    Booth {
        leg: LegId,
    },
    SendDigits {
        play: PlayId,
        cancelled: bool,
    },
    Pause {
        finish: DigitSet,
        keeps_key: bool,
    },
    /// Until the leg is gone.
    Release,
}

/// What an action needs of its leg, checked in one place.
enum Needs {
    /// A leg that is not on its way out.
    Live,
    /// One that hears what is played to it.
    Audible,
    /// An answered one.
    Answered,
}

const fn needs(action: &Action) -> Needs {
    match action {
        Action::Answer
        | Action::Reject(_)
        | Action::Dial(_)
        | Action::Place(_)
        | Action::Hear(_)
        | Action::Mix(_)
        | Action::Booth(_)
        | Action::EarlyMedia
        | Action::Signal(_)
        | Action::Pause(_)
        | Action::Release(_) => Needs::Live,
        Action::Prompt(_) => Needs::Audible,
        Action::Collect(_)
        | Action::Record(_)
        | Action::Accept
        | Action::Bridge(_)
        | Action::Conference(_)
        | Action::Enqueue(_)
        | Action::PickUp(_)
        | Action::Page(_)
        | Action::Mailbox(_)
        | Action::Stream(_)
        | Action::Echo(_)
        | Action::Detect(_)
        | Action::Watch(_)
        | Action::Refer(_)
        | Action::SendDigits(_) => Needs::Answered,
    }
}

/// True for an action that brings a leg together with others: one at a time.
const fn joins(action: &Action) -> bool {
    matches!(
        action,
        Action::Dial(_)
            | Action::Bridge(_)
            | Action::Conference(_)
            | Action::Enqueue(_)
            | Action::PickUp(_)
            | Action::Page(_)
            | Action::Echo(_)
    )
}

/// True for an action by which a leg is heard by others and hears none of them: its ears stay free.
const fn only_speaks(action: &Action) -> bool {
    matches!(action, Action::Conference(spec) if spec.deaf)
}

impl Call {
    /// True for a leg that talks with others, or is about to.
    fn is_taken(&self, leg: LegId) -> bool {
        self.leg(leg).is_none_or(|leg| leg.peer.is_some()) || self.is_joined(leg)
    }

    /// True for a leg that an action has brought together with others.
    pub(crate) fn is_joined(&self, leg: LegId) -> bool {
        self.is_together(leg, |_| true)
    }

    /// True for a leg that hears others by an action that has brought them together.
    pub(crate) fn hears_others(&self, leg: LegId) -> bool {
        self.is_together(leg, |meeting| !meeting.is_deaf())
    }

    fn is_together(&self, leg: LegId, counts: impl Fn(&MeetingWork) -> bool) -> bool {
        // A target belongs to whoever dialled it.
        let dialled = self.leg(leg).is_some_and(|leg| matches!(leg.purpose, Purpose::Dialed(_)));
        let together = |running: &Running| match &running.work {
            Work::Dial(_) | Work::Echo | Work::Mix(_) => running.leg == Some(leg),
            Work::Meeting(meeting) => running.leg == Some(leg) && counts(meeting),
            Work::Page(page) => running.leg == Some(leg) || page.has(leg),
            Work::Bridge { with } => running.leg == Some(leg) || *with == leg,
            Work::Answer
            | Work::Prompt { .. }
            | Work::Collect(_)
            | Work::Record(_)
            | Work::Feature(_)
            | Work::Stream
            | Work::Detect
            | Work::Watch
            | Work::Refer { .. }
            | Work::Place { .. }
            | Work::Hear(_)
            | Work::Booth { .. }
            | Work::SendDigits { .. }
            | Work::Pause { .. }
            | Work::Release => false,
        };
        dialled || self.running.iter().any(together)
    }

    pub(crate) fn begin_action(&mut self, now: Moment, id: ActionId, on: Option<LegId>, action: Action) {
        if let Action::Place(place) = action {
            return self.begin_place(now, id, place);
        }
        if let Action::Booth(booth) = action {
            return self.begin_booth(now, id, booth);
        }
        let Some(leg) = on.and_then(|leg| self.leg(leg)) else {
            return self.ended(id, Outcome::Failed(ActionFailure::NoLeg));
        };
        if !leg.is_live() {
            return self.ended(id, Outcome::LegGone);
        }
        let (on, state, answered) = (leg.id, leg.state, leg.state == LegState::Answered);
        let is_ready = match needs(&action) {
            Needs::Live => true,
            Needs::Audible => answered || (leg.has_sound() && matches!(state, LegState::Offered { .. })),
            Needs::Answered => answered,
        };
        if !is_ready {
            return self.ended(id, Outcome::Failed(ActionFailure::LegState));
        }
        if joins(&action) {
            let is_taken = if only_speaks(&action) { self.is_joined(on) } else { self.is_taken(on) };
            if is_taken {
                return self.ended(id, Outcome::Failed(ActionFailure::LegState));
            }
        }
        if joins(&action) && !only_speaks(&action) {
            self.stop_hearing(on);
            if let Action::Bridge(with) = action {
                self.stop_hearing(with);
            }
        }
        match action {
            Action::Answer => match state {
                LegState::Answered => self.ended(id, Outcome::Done),
                LegState::Offered { .. } => {
                    self.run(id, on, None, Work::Answer);
                    self.outputs.push_back(CallOutput::Line(LineCommand::Answer { leg: on }));
                }
                LegState::Placed { .. } | LegState::Releasing | LegState::Gone => {
                    self.ended(id, Outcome::Failed(ActionFailure::LegState));
                }
            },
            Action::Reject(cause) | Action::Release(cause) => {
                self.run(id, on, None, Work::Release);
                self.release(on, cause);
            }
            Action::Prompt(prompt) => self.begin_prompt(id, on, prompt),
            Action::Collect(collect) => self.begin_collect(now, id, on, collect),
            Action::Record(record) => self.begin_record(now, id, on, record),
            Action::Dial(dial) => self.begin_dial(now, id, on, dial),
            Action::Place(_) | Action::Booth(_) => {}
            Action::Accept => {
                let accepted = self.accept_target(now, on) || self.accept_queued(on);
                let failed = Outcome::Failed(ActionFailure::LegState);
                self.ended(id, if accepted { Outcome::Done } else { failed });
            }
            Action::Bridge(with) => self.begin_bridge(id, on, with),
            Action::Hear(spec) => self.begin_hear(id, on, spec),
            Action::Mix(from) => self.begin_mix(id, on, from),
            Action::EarlyMedia => self.begin_early_media(id, on),
            Action::Conference(spec) => self.begin_conference(now, id, on, spec),
            Action::Enqueue(spec) => self.begin_enqueue(now, id, on, spec),
            Action::PickUp(wanted) => self.begin_pick_up(now, id, on, wanted),
            Action::Page(spec) => self.begin_page(now, id, on, spec),
            Action::Echo(length) => {
                self.run(id, on, Some(now.instant + length), Work::Echo);
                self.outputs.push_back(CallOutput::Echo(on, true));
            }
            Action::Mailbox(spec) => {
                let feature = VoiceMail::new(Ids::of(id), spec, self.facts.from.clone());
                self.begin_feature(now, id, on, Box::new(feature));
            }
            Action::Stream(stream) => {
                self.run(id, on, None, Work::Stream);
                self.outputs.push_back(CallOutput::Stream(id, on, Box::new(stream)));
            }
            Action::Detect(detect) => {
                self.run(id, on, None, Work::Detect);
                self.outputs.push_back(CallOutput::Detect(id, on, detect));
            }
            Action::Watch(silence) => {
                self.run(id, on, None, Work::Watch);
                self.media(on, MediaCommand::Watch(silence));
            }
            Action::Signal(signal) => self.begin_signal(now, id, on, signal),
            Action::Refer(to) => self.begin_refer(now, id, on, to),
            Action::SendDigits(digits) => {
                let play = self.play(on);
                self.run(id, on, None, Work::SendDigits { play, cancelled: false });
                self.media(on, MediaCommand::SendDigits { play, digits });
            }
            Action::Pause(pause) => {
                let ahead = self.leg_mut(on).and_then(|leg| leg.typed_ahead.front().copied());
                if let Some(key) = ahead.filter(|key| pause.keeps_key && pause.finish.contains(*key)) {
                    return self.ended(id, Outcome::Interrupted(key));
                }
                let work = Work::Pause { finish: pause.finish, keeps_key: pause.keeps_key };
                self.run(id, on, Some(now.instant + pause.length), work);
            }
        }
    }

    pub(crate) fn run(&mut self, id: ActionId, leg: LegId, due: Option<Instant>, work: Work) {
        self.running.push(Running { id, leg: Some(leg), due, work });
    }

    /// Takes an action off the list.
    pub(crate) fn stop(&mut self, id: ActionId) -> Option<Running> {
        let at = self.running.iter().position(|running| running.id == id)?;
        Some(self.running.remove(at))
    }

    /// The action is over.
    pub(crate) fn end_action(&mut self, id: ActionId, outcome: Outcome) {
        if self.stop(id).is_some() {
            self.ended(id, outcome);
        }
    }

    fn begin_prompt(&mut self, id: ActionId, on: LegId, prompt: Prompt) {
        let ahead = self.leg(on).and_then(|leg| leg.typed_ahead.front().copied());
        if let Some(key) = ahead.filter(|key| prompt.barge_in.contains(*key)) {
            // Somebody who knows the menu pressed before it was spoken.
            return self.ended(id, Outcome::Interrupted(key));
        }
        let play = self.play(on);
        self.run(id, on, None, Work::Prompt { play, barge_in: prompt.barge_in, by: None, cancelled: false });
        self.media(on, MediaCommand::Play { play, source: prompt.source, loops: prompt.loops });
    }

    fn begin_bridge(&mut self, id: ActionId, on: LegId, with: LegId) {
        let other = self.leg(with).filter(|leg| leg.state == LegState::Answered);
        if other.is_none() || self.is_taken(with) || on == with {
            return self.ended(id, Outcome::Failed(ActionFailure::LegState));
        }
        self.run(id, on, None, Work::Bridge { with });
        self.bridge(on, with);
    }

    fn begin_place(&mut self, now: Moment, id: ActionId, place: Place) {
        let Some(leg) = self.place(now, Purpose::Own(id), (place.target, place.extras), place.caller_id)
        else {
            return self.ended(id, Outcome::Failed(ActionFailure::Limit));
        };
        let due = Some(now.instant + place.ring_max);
        self.running.push(Running { id, leg: None, due, work: Work::Place { leg } });
        self.leg_event(leg, LegEvent::Placed { by: id, target: 0 });
    }

    fn begin_booth(&mut self, now: Moment, id: ActionId, booth: Booth) {
        let Some(leg) = self.open_booth(now, id, booth) else {
            return self.ended(id, Outcome::Failed(ActionFailure::Limit));
        };
        self.running.push(Running { id, leg: None, due: None, work: Work::Booth { leg } });
        self.leg_event(leg, LegEvent::Placed { by: id, target: 0 });
    }

    /// A booth is gone; one that nobody has closed never was there.
    pub(crate) fn booth_closed(&mut self, id: ActionId, is_let_go: bool) {
        let outcome = if is_let_go { Outcome::Cancelled } else { Outcome::Failed(ActionFailure::Limit) };
        self.end_action(id, outcome);
    }

    pub(crate) fn placed_leg_answered(&mut self, action: ActionId) {
        if matches!(self.work_of(action), Some(Work::Place { .. })) {
            self.end_action(action, Outcome::Done);
        }
    }

    pub(crate) fn placed_leg_released(&mut self, action: ActionId, cause: Cause) {
        if matches!(self.work_of(action), Some(Work::Place { .. })) {
            self.end_action(action, Outcome::Failed(ActionFailure::NoTarget(cause)));
        }
    }

    /// The flow no longer wants an action.
    pub(crate) fn cancel_action(&mut self, now: Moment, id: ActionId) {
        let Some(running) = self.running.iter_mut().find(|running| running.id == id) else { return };
        let leg = running.leg;
        match &mut running.work {
            Work::Prompt { play, cancelled, .. } | Work::SendDigits { play, cancelled } => {
                *cancelled = true;
                let play = *play;
                if let Some(leg) = leg {
                    self.media(leg, MediaCommand::StopPlay(play));
                }
            }
            Work::Collect(collect) => {
                let plays = collect.cancel();
                if let Some(leg) = leg {
                    self.stop_plays(leg, &plays);
                }
                self.collect_settled(now, id);
            }
            Work::Record(record) => {
                let stop = record.stop(None);
                self.stop_record(stop);
            }
            Work::Dial(_) => self.cancel_dial(now, id),
            Work::Meeting(_) => self.end_meeting(id, Outcome::Cancelled),
            Work::Page(_) => self.end_page(id, Outcome::Cancelled),
            Work::Feature(_) => self.feature_input(now, id, FeatureInput::Stop(Outcome::Cancelled)),
            Work::Echo => self.end_echo(id, Outcome::Cancelled),
            Work::Stream => self.outputs.push_back(CallOutput::StopStream(id)),
            Work::Place { leg } => {
                let leg = *leg;
                self.end_action(id, Outcome::Cancelled);
                self.release(leg, Cause::Cancelled);
            }
            Work::Bridge { with } => {
                let with = *with;
                self.end_action(id, Outcome::Cancelled);
                if let Some(leg) = leg {
                    self.unbridge(leg, with);
                }
            }
            Work::Pause { .. } | Work::Detect | Work::Watch | Work::Refer { .. } => {
                self.end_action(id, Outcome::Cancelled);
            }
            Work::Hear(_) => self.end_hear(id, Outcome::Cancelled),
            Work::Mix(_) => self.end_mix(id, Outcome::Cancelled),
            Work::Booth { leg } => {
                let leg = *leg;
                self.release(leg, Cause::NormalClearing);
            }
            // Both are on their way and cannot be taken back.
            Work::Answer | Work::Release => {}
        }
    }

    pub(crate) fn echo_refused(&mut self, leg: LegId) {
        let echo = self.running.iter().find(|one| one.leg == Some(leg) && matches!(one.work, Work::Echo));
        if let Some(id) = echo.map(|running| running.id) {
            self.end_echo(id, Outcome::Failed(ActionFailure::Limit));
        }
    }

    fn end_echo(&mut self, id: ActionId, outcome: Outcome) {
        let leg = self.running.iter().find(|running| running.id == id).and_then(|running| running.leg);
        if let Some(leg) = leg {
            self.outputs.push_back(CallOutput::Echo(leg, false));
        }
        self.end_action(id, outcome);
    }

    pub(crate) fn stop_plays(&mut self, leg: LegId, plays: &[PlayId]) {
        for play in plays {
            self.media(leg, MediaCommand::StopPlay(*play));
        }
    }

    pub(crate) fn finish_answers(&mut self, leg: LegId) {
        let done: Vec<ActionId> = self
            .running
            .iter()
            .filter(|running| running.leg == Some(leg) && matches!(running.work, Work::Answer))
            .map(|running| running.id)
            .collect();
        for id in done {
            self.end_action(id, Outcome::Done);
        }
    }

    /// Offers a digit to the actions on its leg; true if one of them took it.
    pub(crate) fn action_takes_digit(&mut self, now: Moment, leg: LegId, digit: Digit) -> bool {
        let on_leg: Vec<ActionId> = self
            .running
            .iter()
            .filter(|running| running.leg == Some(leg))
            .map(|running| running.id)
            .collect();
        for id in on_leg {
            let taken = match self.work_of(id) {
                Some(Work::Collect(collect)) if collect.wants_digits() => {
                    self.collect_digit(now, id, digit);
                    true
                }
                Some(Work::Prompt { play, barge_in, by, .. }) if barge_in.contains(digit) => {
                    let play = *play;
                    if by.replace(digit).is_none() {
                        self.media(leg, MediaCommand::StopPlay(play));
                    }
                    if let Some(leg) = self.leg_mut(leg) {
                        leg.keep_digit(digit);
                    }
                    true
                }
                Some(Work::Pause { finish, keeps_key }) if finish.contains(digit) => {
                    if *keeps_key && let Some(leg) = self.leg_mut(leg) {
                        leg.keep_digit(digit);
                    }
                    self.end_action(id, Outcome::Interrupted(digit));
                    true
                }
                Some(Work::Record(record)) if record.ends_with(digit) => {
                    let stop = record.stop(Some(digit));
                    self.stop_record(stop);
                    true
                }
                Some(Work::Dial(dial)) if dial.ends_with(digit) => {
                    self.talked(now, id, Cause::NormalClearing, DialEnd::Key(digit));
                    true
                }
                Some(Work::Meeting(meeting)) if meeting.ends_with(digit) => {
                    self.meeting_key(now, id, digit);
                    true
                }
                Some(
                    Work::Answer
                    | Work::Prompt { .. }
                    | Work::Collect(_)
                    | Work::Record(_)
                    | Work::Dial(_)
                    | Work::Meeting(_)
                    | Work::Page(_)
                    | Work::Feature(_)
                    | Work::Stream
                    | Work::Detect
                    | Work::Watch
                    | Work::Echo
                    | Work::Refer { .. }
                    | Work::Place { .. }
                    | Work::Bridge { .. }
                    | Work::Hear(_)
                    | Work::Mix(_)
                    | Work::Booth { .. }
                    | Work::SendDigits { .. }
                    | Work::Pause { .. }
                    | Work::Release,
                )
                | None => false,
            };
            if taken {
                return true;
            }
        }
        false
    }

    /// The far end has fallen silent, or is heard again.
    pub(crate) fn silent(&mut self, leg: LegId, silent: bool) {
        let is_watched =
            self.running.iter().any(|one| one.leg == Some(leg) && matches!(one.work, Work::Watch));
        if is_watched {
            self.leg_event(leg, LegEvent::Silent(silent));
        }
    }

    /// The flow lets what a prompt plays stand still, or go on.
    pub(crate) fn suspend(&mut self, id: ActionId, still: bool) {
        let found = self.running.iter().find(|running| running.id == id);
        if let Some(Running { leg: Some(leg), work: Work::Prompt { play, cancelled: false, .. }, .. }) = found
        {
            let (leg, play) = (*leg, *play);
            self.media(leg, MediaCommand::Suspend(play, still));
        }
    }

    pub(crate) fn play_began(&mut self, leg: LegId, play: PlayId, length: Option<Duration>) {
        let prompt = self.running.iter().find(|running| {
            let is_prompt = matches!(running.work, Work::Prompt { cancelled: false, .. });
            running.leg == Some(leg) && is_prompt && running.plays(play) && !is_of_feature(running.id)
        });
        if let Some(id) = prompt.map(|running| running.id) {
            self.leg_event(leg, LegEvent::Playing(id, length));
        }
    }

    pub(crate) fn play_ended(
        &mut self,
        now: Moment,
        leg: LegId,
        ended: PlayId,
        result: Result<(), ActionFailure>,
    ) {
        let owner = self.running.iter().find(|running| running.leg == Some(leg) && running.plays(ended));
        let Some(id) = owner.map(|running| running.id) else { return };
        match self.work_of(id) {
            Some(Work::Prompt { by, cancelled, .. }) => {
                let outcome = match (*by, *cancelled, result) {
                    (Some(key), _, _) => Outcome::Interrupted(key),
                    (None, true, _) => Outcome::Cancelled,
                    (None, false, Ok(())) => Outcome::Done,
                    (None, false, Err(failure)) => Outcome::Failed(failure),
                };
                self.end_action(id, outcome);
            }
            Some(Work::SendDigits { cancelled, .. }) => {
                let outcome = match (*cancelled, result) {
                    (true, _) => Outcome::Cancelled,
                    (false, Ok(())) => Outcome::Done,
                    (false, Err(failure)) => Outcome::Failed(failure),
                };
                self.end_action(id, outcome);
            }
            Some(Work::Collect(collect)) => {
                collect.play_ended(ended);
                self.collect_settled(now, id);
            }
            Some(Work::Dial(dial)) => dial.ringback_ended(ended),
            Some(Work::Meeting(meeting)) => meeting.play_ended(ended),
            Some(
                Work::Answer
                | Work::Record(_)
                | Work::Page(_)
                | Work::Feature(_)
                | Work::Stream
                | Work::Detect
                | Work::Watch
                | Work::Echo
                | Work::Refer { .. }
                | Work::Place { .. }
                | Work::Bridge { .. }
                | Work::Hear(_)
                | Work::Mix(_)
                | Work::Booth { .. }
                | Work::Pause { .. }
                | Work::Release,
            )
            | None => {}
        }
    }

    pub(crate) fn actions_timeout(&mut self, now: Moment) {
        let due: Vec<ActionId> = self
            .running
            .iter()
            .filter(|running| running.due.is_some_and(|due| due <= now.instant))
            .map(|running| running.id)
            .collect();
        for id in due {
            if let Some(running) = self.running.iter_mut().find(|running| running.id == id) {
                running.due = None;
            }
            match self.work_of(id) {
                Some(Work::Pause { .. }) => self.end_action(id, Outcome::Done),
                Some(Work::Collect(_)) => self.collect_timeout(id),
                Some(Work::Record(record)) => {
                    let stop = record.stop(None);
                    self.stop_record(stop);
                }
                Some(Work::Dial(_)) => self.dial_timeout(now, id),
                Some(Work::Meeting(_)) => self.meeting_timeout(now, id),
                Some(Work::Page(_)) => self.page_timeout(now, id),
                Some(Work::Echo) => self.end_echo(id, Outcome::Done),
                Some(Work::Refer { .. }) => self.refer_late(id),
                Some(Work::Place { leg }) => {
                    let leg = *leg;
                    self.end_action(id, Outcome::Failed(ActionFailure::NoTarget(Cause::NoAnswer)));
                    self.release(leg, Cause::NoAnswer);
                }
                Some(
                    Work::Answer
                    | Work::Prompt { .. }
                    | Work::Feature(_)
                    | Work::Stream
                    | Work::Detect
                    | Work::Watch
                    | Work::Bridge { .. }
                    | Work::Hear(_)
                    | Work::Mix(_)
                    | Work::Booth { .. }
                    | Work::SendDigits { .. }
                    | Work::Release,
                )
                | None => {}
            }
        }
    }

    /// Ends what ran on a leg that is gone.
    pub(crate) fn actions_leg_gone(&mut self, now: Moment, leg: LegId) {
        self.mixes_lose(leg);
        let affected: Vec<ActionId> = self
            .running
            .iter()
            .filter(|running| {
                running.leg == Some(leg)
                    || matches!(&running.work, Work::Bridge { with } if *with == leg)
                    || matches!(&running.work, Work::Hear(hear) if hear.spec.from == leg)
            })
            .map(|running| running.id)
            .collect();
        for id in affected {
            match self.work_of(id) {
                // The engine closes the recording; what it holds is kept.
                Some(Work::Record(_)) => {}
                Some(Work::Dial(_)) => self.dial_caller_gone(now, id),
                Some(Work::Meeting(_)) => self.end_meeting(id, Outcome::LegGone),
                Some(Work::Page(_)) => self.end_page(id, Outcome::LegGone),
                Some(Work::Feature(_)) => self.feature_input(now, id, FeatureInput::Stop(Outcome::LegGone)),
                Some(Work::Echo) => self.end_echo(id, Outcome::LegGone),
                Some(Work::Stream) => {
                    self.outputs.push_back(CallOutput::StopStream(id));
                    self.end_action(id, Outcome::LegGone);
                }
                Some(Work::Bridge { .. }) => self.end_action(id, Outcome::Done),
                Some(Work::Hear(hear)) => {
                    let is_source = hear.spec.from == leg;
                    self.end_hear(id, if is_source { Outcome::Done } else { Outcome::LegGone });
                }
                Some(Work::Mix(_)) => self.end_mix(id, Outcome::LegGone),
                // It has no leg that it works on.
                Some(Work::Booth { .. }) => {}
                Some(Work::Release) => self.end_action(id, Outcome::Done),
                Some(
                    Work::Answer
                    | Work::Prompt { .. }
                    | Work::Collect(_)
                    | Work::Detect
                    | Work::Watch
                    | Work::Refer { .. }
                    | Work::Place { .. }
                    | Work::SendDigits { .. }
                    | Work::Pause { .. },
                )
                | None => self.end_action(id, Outcome::LegGone),
            }
        }
    }
}

impl Running {
    /// True for what the party hears, and what waits for it to press something.
    pub(crate) const fn is_heard(&self) -> bool {
        matches!(
            self.work,
            Work::Prompt { .. }
                | Work::Collect(_)
                | Work::SendDigits { .. }
                | Work::Pause { .. }
                | Work::Echo
        )
    }

    fn plays(&self, play: PlayId) -> bool {
        match &self.work {
            Work::Prompt { play: own, .. } | Work::SendDigits { play: own, .. } => *own == play,
            Work::Collect(collect) => collect.plays(play),
            Work::Dial(dial) => dial.plays(play),
            Work::Meeting(meeting) => meeting.plays(play),
            Work::Answer
            | Work::Record(_)
            | Work::Page(_)
            | Work::Feature(_)
            | Work::Stream
            | Work::Detect
            | Work::Watch
            | Work::Echo
            | Work::Refer { .. }
            | Work::Place { .. }
            | Work::Bridge { .. }
            | Work::Hear(_)
            | Work::Mix(_)
            | Work::Booth { .. }
            | Work::Pause { .. }
            | Work::Release => false,
        }
    }
}
