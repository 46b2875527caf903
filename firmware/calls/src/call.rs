//! One call: its legs, its flow, its end.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tipring_model::call::{CallFacts, Cdr, EndedBy};
use tipring_model::fetch::FetchError;
use tipring_model::flow::{Booth, Flow, FlowInput, FlowOutput, LegEvent, Moment, Outcome, Step, Target};
use tipring_model::line::{LineCommand, LineEvent, Offer, PlaceExtras, Supervision};
use tipring_model::{ActionId, CallerId, Cause, Digit, DigitPath, FetchId, LegId, PlayId, RecordId};

use crate::actions::{Running, Work};
use crate::contract::{CallInput, CallOutput, Limits, MediaCommand, MediaEvent, Request};
use crate::features::{FeatureInput, is_of_feature, owner_of};
use crate::leg::{Leg, LegState, Purpose};
use crate::transfer::Transfer;

/// What the flow will be told next, kept until it can be called again.
enum Told {
    Started,
    Ended(ActionId, Outcome),
    Leg(LegId, LegEvent),
    /// What was not asked for, since the call is at its end.
    NotFetched(FetchId),
}

/// How the call came to its end.
struct End {
    cause: Cause,
    by: EndedBy,
    label: String,
}

/// One call.
pub struct Call {
    pub(crate) facts: CallFacts,
    pub(crate) number: u32,
    pub(crate) legs: Vec<Leg>,
    pub(crate) running: Vec<Running>,
    pub(crate) outputs: VecDeque<CallOutput>,
    pub(crate) recordings: Vec<String>,
    pub(crate) recorded: Vec<(ActionId, String)>,
    pub(crate) records: u32,
    /// Recordings that the engine has not reported as over.
    pub(crate) records_open: usize,
    /// A session that is ended by the box has until then.
    stops_by: Option<Instant>,
    /// Transfers that far ends asked for.
    pub(crate) transfers: Vec<Transfer>,
    /// Legs that are released at that time.
    pub(crate) parting: Vec<(Instant, LegId)>,
    flow: Box<dyn Flow>,
    limits: Limits,
    told: VecDeque<Told>,
    began: Instant,
    /// The leg to place before the flow begins.
    places_first: Option<(Target, CallerId)>,
    flow_began: bool,
    fetches: usize,
    legs_placed: u32,
    end: Option<End>,
    /// The flow has said all that it had to say, or is cut off.
    flow_over: bool,
    /// When a call whose legs are gone stops waiting for its recordings.
    closes: Option<Instant>,
    is_over: bool,
}

/// Longest wait for recordings after the last leg is gone.
const CLOSING_MAX: Duration = Duration::from_secs(10);
/// Longest wait for the flow's own end after [`FlowInput::Stopped`].
const STOPPING_MAX: Duration = Duration::from_secs(1);
/// What a flow may ask for in answer to one input; beyond it is in a circle.
const OUTPUTS_PER_INPUT_MAX: usize = 10_000;

impl Call {
    /// A call that begins with the leg that arrived (`facts.leg`), or with none.
    ///
    /// `number` is unique among the calls of this process; the legs that the call
    /// places are named after it.
    #[must_use]
    pub fn new(number: u32, facts: CallFacts, flow: Box<dyn Flow>, limits: Limits, now: Moment) -> Self {
        let first = facts.leg.map(|id| {
            let state =
                if facts.answered { LegState::Answered } else { LegState::Offered { alerted: false } };
            Leg::new(id, Purpose::First, state, String::new(), now.instant)
        });
        Self {
            facts,
            number,
            legs: first.into_iter().collect(),
            running: Vec::new(),
            outputs: VecDeque::new(),
            recordings: Vec::new(),
            recorded: Vec::new(),
            records: 0,
            records_open: 0,
            stops_by: None,
            transfers: Vec::new(),
            parting: Vec::new(),
            flow,
            limits,
            told: VecDeque::new(),
            began: now.instant,
            places_first: None,
            flow_began: false,
            fetches: 0,
            legs_placed: 0,
            end: None,
            flow_over: false,
            closes: None,
            is_over: false,
        }
    }

    /// A call whose first leg the box places; the flow begins when it is answered.
    #[must_use]
    pub fn placing(
        number: u32,
        facts: CallFacts,
        to: Target,
        from: CallerId,
        flow: Box<dyn Flow>,
        limits: Limits,
        now: Moment,
    ) -> Self {
        let mut call = Self::new(number, facts, flow, limits, now);
        call.places_first = Some((to, from));
        call
    }

    /// What was known at the beginning.
    #[must_use]
    pub const fn facts(&self) -> &CallFacts {
        &self.facts
    }

    /// Every leg with a party that is not gone.
    pub fn live_legs(&self) -> impl Iterator<Item = LegId> {
        self.parties().filter(|leg| leg.state != LegState::Gone).map(|leg| leg.id)
    }

    /// Every leg with a party.
    fn parties(&self) -> impl Iterator<Item = &Leg> {
        self.legs.iter().filter(|leg| !leg.is_booth())
    }

    /// The file that a finished recording is in.
    #[must_use]
    pub fn recording(&self, action: ActionId) -> Option<&str> {
        self.recorded.iter().find(|(id, _)| *id == action).map(|(_, file)| file.as_str())
    }

    /// True once the first leg is answered.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.parties().next().is_some_and(|leg| leg.answered.is_some()) || self.facts.answered
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Moment, input: CallInput<'_>) {
        if self.is_over {
            return;
        }
        match input {
            CallInput::Start => {
                self.start(now);
                self.tell_pending(now);
                self.alert_caller();
            }
            CallInput::Line(event) => self.line_event(now, event),
            CallInput::TriedAgain(leg) => self.tried_again(leg),
            CallInput::Media(leg, event) => self.media_event(now, leg, event),
            CallInput::Fetched(id, answer) => {
                self.fetches = self.fetches.saturating_sub(1);
                self.tell(now, FlowInput::Fetched(id, answer));
            }
            CallInput::Exchange(id, event) => self.exchange_event(now, id, event),
            CallInput::StreamEnded(id, end) => {
                if matches!(self.work_of(id), Some(Work::Stream)) {
                    self.end_action(id, Outcome::Streamed(end));
                }
            }
            CallInput::Detected(id, heard) => {
                if matches!(self.work_of(id), Some(Work::Detect)) {
                    self.end_action(id, Outcome::Detected(heard));
                }
            }
            CallInput::Mailbox(id, reply) => self.feature_input(now, id, FeatureInput::Mailbox(reply)),
            CallInput::Message(id, message) => self.tell(now, FlowInput::Message(id, message)),
            CallInput::Script(said) => self.tell(now, FlowInput::Script(said)),
            CallInput::StreamBegan(id) => {
                let leg = self.running.iter().find(|running| running.id == id).and_then(|one| one.leg);
                if let (Some(Work::Stream), Some(leg)) = (self.work_of(id), leg) {
                    self.leg_event(leg, LegEvent::Streaming(id));
                }
            }
            CallInput::Request(Request::HangUp(by)) => {
                self.finish_by_box(now, Cause::NormalClearing, by, "operator".to_owned());
            }
            CallInput::Timeout => self.timeout(now),
        }
        self.tell_pending(now);
        self.close(now);
    }

    /// The next thing to be done.
    pub fn poll(&mut self) -> Option<CallOutput> {
        self.outputs.pop_front()
    }

    /// When [`CallInput::Timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_over {
            return None;
        }
        let of_actions = self.running.iter().filter_map(|running| running.due);
        let of_flow = if self.flow_over { None } else { self.flow.poll_timeout() };
        let longest = self.end.is_none().then(|| self.began + self.limits.length_max);
        let of_stopped = self.stops_by.filter(|_| !self.flow_over);
        let of_parting = self.parting.iter().map(|(at, _)| *at);
        of_actions.chain(of_flow).chain(of_parting).chain(self.closes).chain(of_stopped).chain(longest).min()
    }

    // --- Beginning.

    fn start(&mut self, now: Moment) {
        match self.places_first.take() {
            None => self.begin_flow(),
            Some((to, from)) => {
                if let Some(leg) = self.place(now, Purpose::First, (to, PlaceExtras::default()), from) {
                    self.facts.leg = Some(leg);
                }
            }
        }
    }

    /// A caller whose flow neither answers at once nor rings somebody hears that the
    /// call has arrived.
    fn alert_caller(&mut self) {
        let Some(first) = self.legs.first_mut().filter(|leg| leg.purpose == Purpose::First) else { return };
        let id = first.id;
        let is_busy = self.running.iter().any(|running| {
            running.leg == Some(id) && matches!(running.work, Work::Answer | Work::Dial(_) | Work::Release)
        });
        if let (LegState::Offered { alerted }, false) = (&mut first.state, is_busy)
            && !std::mem::replace(alerted, true)
        {
            let alert = LineCommand::Alert { leg: id, early_media: false };
            self.outputs.push_back(CallOutput::Line(alert));
        }
    }

    fn begin_flow(&mut self) {
        if !self.flow_began {
            self.flow_began = true;
            self.told.push_back(Told::Started);
        }
    }

    // --- The flow.

    /// Tells the flow, and does what it asks for.
    fn tell(&mut self, now: Moment, input: FlowInput<'_>) {
        if self.flow_over {
            return;
        }
        self.flow.handle(now, input);
        for _ in 0..OUTPUTS_PER_INPUT_MAX {
            let Some(output) = self.flow.poll() else { return };
            self.asked(now, output);
        }
        self.finish(Cause::TemporaryFailure, EndedBy::Limit, "flow_circle".to_owned());
    }

    fn tell_pending(&mut self, now: Moment) {
        for _ in 0..OUTPUTS_PER_INPUT_MAX {
            let Some(told) = self.told.pop_front() else { return };
            match told {
                Told::Started => {
                    let facts = self.facts.clone();
                    self.tell(now, FlowInput::Started(&facts));
                }
                Told::Ended(id, outcome) => self.tell_ended(now, id, outcome),
                Told::Leg(leg, event) => self.tell(now, FlowInput::Leg(leg, event)),
                Told::NotFetched(id) => self.tell(now, FlowInput::Fetched(id, Err(FetchError::Unreachable))),
            }
        }
        self.told.clear();
        self.finish(Cause::TemporaryFailure, EndedBy::Limit, "flow_circle".to_owned());
    }

    pub(crate) fn ended(&mut self, id: ActionId, outcome: Outcome) {
        self.told.push_back(Told::Ended(id, outcome));
    }

    /// Tells the flow, or the feature that began the action.
    fn tell_ended(&mut self, now: Moment, id: ActionId, outcome: Outcome) {
        if is_of_feature(id) {
            self.feature_input(now, owner_of(id), FeatureInput::Ended(id, outcome));
        } else {
            self.tell(now, FlowInput::Ended(id, outcome));
        }
    }

    pub(crate) fn leg_event(&mut self, leg: LegId, event: LegEvent) {
        self.told.push_back(Told::Leg(leg, event));
    }

    fn asked(&mut self, now: Moment, output: FlowOutput) {
        if self.flow_over {
            return;
        }
        if self.end.is_some() {
            // The box ends the call: what is left to the flow is to tell of it.
            match output {
                FlowOutput::Start { id, .. } => return self.ended(id, Outcome::LegGone),
                FlowOutput::Fetch { id, .. } | FlowOutput::Mail(id, _) => {
                    return self.told.push_back(Told::NotFetched(id));
                }
                FlowOutput::Cancel(_)
                | FlowOutput::Suspend(..)
                | FlowOutput::Reply(..)
                | FlowOutput::Script(_)
                | FlowOutput::Log(_)
                | FlowOutput::Notify(_)
                | FlowOutput::Keep { .. }
                | FlowOutput::Lamp { .. }
                | FlowOutput::Step(_)
                | FlowOutput::Warn(_)
                | FlowOutput::End { .. } => {}
            }
        }
        match output {
            FlowOutput::Start { id, on, action } => {
                if self.running.len() >= self.limits.actions_max {
                    let failure = tipring_model::flow::ActionFailure::Limit;
                    return self.ended(id, Outcome::Failed(failure));
                }
                self.begin_action(now, id, on, action);
            }
            FlowOutput::Cancel(id) => self.cancel_action(now, id),
            FlowOutput::Suspend(id, still) => self.suspend(id, still),
            FlowOutput::Fetch { id, request, document } => {
                // Over the limit it still goes out: the fetcher queues and refuses.
                self.fetches += 1;
                self.outputs.push_back(CallOutput::Fetch { id, request, document });
            }
            FlowOutput::Mail(id, letter) => {
                self.fetches += 1;
                self.outputs.push_back(CallOutput::Mail(id, letter));
            }
            FlowOutput::Reply(id, reply) => self.outputs.push_back(CallOutput::Reply(id, reply)),
            FlowOutput::Script(message) => self.outputs.push_back(CallOutput::Script(message)),
            FlowOutput::Log(line) => self.outputs.push_back(CallOutput::Log(line)),
            FlowOutput::Notify(notice) => self.outputs.push_back(CallOutput::Notify(notice)),
            FlowOutput::Lamp { name, shows, stays } => {
                self.outputs.push_back(CallOutput::Lamp { name, shows, stays });
            }
            FlowOutput::Keep { name, value } => self.outputs.push_back(CallOutput::Keep { name, value }),
            FlowOutput::Step(step) => self.step(now, step),
            FlowOutput::Warn(warning) => self.outputs.push_back(CallOutput::Warn(warning)),
            FlowOutput::End { cause, label } => {
                // One that the flow let go before it said that it is over has not hung up.
                let left = self.parties().next().filter(|leg| leg.state == LegState::Gone && !leg.is_let_go);
                let by = left.and_then(|leg| leg.gone).map_or(EndedBy::Flow, |(_, cause)| who_left(cause));
                // To a flow whoever is gone has left; it cannot know that his line failed.
                let is_line = by == EndedBy::Line && label == EndedBy::Caller.as_str();
                self.finish(cause, by, if is_line { by.as_str().to_owned() } else { label });
            }
        }
    }

    /// Writes down what happened.
    pub(crate) fn step(&mut self, now: Moment, step: Step) {
        let after = now.instant - self.began;
        self.outputs.push_back(CallOutput::Step { after, step });
    }

    // --- The end.

    /// True once the legs are being released.
    pub(crate) const fn is_ending(&self) -> bool {
        self.end.is_some()
    }

    /// Ends the call: every leg is released, and once they are gone the record is
    /// written. What comes first counts.
    pub(crate) fn finish(&mut self, cause: Cause, by: EndedBy, label: String) {
        self.let_all_go(cause, by, label);
        self.flow_over = true;
        // A feature may still have to put something away.
        self.told.retain(|told| matches!(told, Told::Ended(id, _) if is_of_feature(*id)));
    }

    /// Ends the call for a reason that the flow knows nothing of. To the flow the caller is gone,
    /// now and not when the line has said so: until the record is written it may tell its
    /// application of that, and nothing else that it asks for is done.
    fn finish_by_box(&mut self, now: Moment, cause: Cause, by: EndedBy, label: String) {
        let first = self.legs.first().filter(|leg| leg.purpose == Purpose::First && leg.is_live());
        let first = first.map(|leg| leg.id).filter(|_| self.end.is_none() && self.flow_began);
        let is_session = self.facts.leg.is_none() || self.facts.session.is_some();
        let stops = is_session && self.end.is_none() && self.flow_began && !self.flow_over;
        self.let_all_go(cause, by, label);
        if let Some(first) = first {
            if let Some(leg) = self.leg_mut(first) {
                leg.is_told_gone = true;
            }
            self.leg_event(first, LegEvent::Released(cause));
            self.actions_leg_gone(now, first);
        }
        if stops {
            self.tell_pending(now);
            self.stops_by = Some(now.instant + STOPPING_MAX);
            self.tell(now, FlowInput::Stopped);
        }
    }

    fn let_all_go(&mut self, cause: Cause, by: EndedBy, label: String) {
        if self.end.is_some() {
            return;
        }
        self.end = Some(End { cause, by, label });
        let live: Vec<LegId> = self.legs.iter().filter(|leg| leg.is_live()).map(|leg| leg.id).collect();
        for leg in live {
            self.release(leg, cause);
        }
    }

    fn close(&mut self, now: Moment) {
        if self.is_over || self.end.is_none() || self.legs.iter().any(|leg| leg.state != LegState::Gone) {
            return;
        }
        if !self.flow_over && self.stops_by.is_some() {
            return;
        }
        if self.records_open > 0 {
            let closes = *self.closes.get_or_insert(now.instant + CLOSING_MAX);
            if closes > now.instant {
                return;
            }
        }
        let Some(end) = self.end.take() else { return };
        self.is_over = true;
        let first = self.parties().next();
        let cdr = Cdr {
            id: self.facts.id,
            direction: self.facts.direction,
            from: self.facts.from.clone(),
            to: self.facts.to.clone(),
            started_unix_ms: self.facts.started_unix_ms,
            answered_after: first.and_then(|leg| leg.answered).map(|(at, _)| at - self.began),
            supervision: first.and_then(|leg| leg.answered).map(|(_, supervision)| supervision),
            lasted: now.instant - self.began,
            cause: end.cause,
            ended_by: end.by,
            label: end.label,
            legs: self.parties().map(|leg| leg.record(self.began, now.instant)).collect(),
            recordings: std::mem::take(&mut self.recordings),
        };
        self.running.clear();
        self.outputs.push_back(CallOutput::Over(Box::new(cdr)));
    }

    fn timeout(&mut self, now: Moment) {
        if now.instant >= self.began + self.limits.length_max {
            self.finish_by_box(now, Cause::RecoveryOnTimer, EndedBy::Limit, "call_length".to_owned());
        }
        if self.stops_by.is_some_and(|at| at <= now.instant) {
            self.flow_over = true;
        }
        self.actions_timeout(now);
        self.part(now);
        if !self.flow_over && self.flow.poll_timeout().is_some_and(|due| due <= now.instant) {
            self.tell(now, FlowInput::Timeout);
        }
    }

    // --- Legs.

    pub(crate) fn leg(&self, id: LegId) -> Option<&Leg> {
        self.legs.iter().find(|leg| leg.id == id)
    }

    pub(crate) fn leg_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        self.legs.iter_mut().find(|leg| leg.id == id)
    }

    /// Places a leg; `None` when the call has as many as it may.
    pub(crate) fn place(
        &mut self,
        now: Moment,
        purpose: Purpose,
        (to, extras): (Target, PlaceExtras),
        from: CallerId,
    ) -> Option<LegId> {
        let live = self.live_legs().count();
        if live >= self.limits.legs_max {
            return None;
        }
        self.legs_placed += 1;
        let id = LegId::placed(self.number, self.legs_placed);
        let state = LegState::Placed { alerting: false };
        self.legs.push(Leg::new(id, purpose, state, to.to_string(), now.instant));
        self.outputs.push_back(CallOutput::Place { leg: id, to, from, extras });
        Some(id)
    }

    /// Opens a booth; `None` when the call has as many as it may.
    pub(crate) fn open_booth(&mut self, now: Moment, id: ActionId, booth: Booth) -> Option<LegId> {
        // What is gone is of no more use: a session may open thousands, one after the other.
        self.legs.retain(|leg| !leg.is_booth() || leg.state != LegState::Gone);
        if self.legs.iter().filter(|leg| leg.is_booth()).count() >= self.limits.booths_max {
            return None;
        }
        self.legs_placed += 1;
        let leg = LegId::placed(self.number, self.legs_placed);
        self.legs.push(Leg::new(leg, Purpose::Booth(id), LegState::Answered, String::new(), now.instant));
        self.outputs.push_back(CallOutput::Booth(leg, booth));
        Some(leg)
    }

    /// Tells the line to release a leg, once.
    pub(crate) fn release(&mut self, id: LegId, cause: Cause) {
        let Some(leg) = self.leg_mut(id).filter(|leg| leg.is_live()) else { return };
        leg.state = LegState::Releasing;
        leg.is_let_go = true;
        self.outputs.push_back(CallOutput::Line(LineCommand::Release { leg: id, cause }));
    }

    pub(crate) fn line_command(&mut self, command: LineCommand) {
        self.outputs.push_back(CallOutput::Line(command));
    }

    pub(crate) fn play(&mut self, leg: LegId) -> PlayId {
        let Some(leg) = self.leg_mut(leg) else { return PlayId(0) };
        leg.plays += 1;
        PlayId(leg.plays)
    }

    pub(crate) fn next_record(&mut self) -> RecordId {
        self.records += 1;
        RecordId(self.records)
    }

    pub(crate) fn media(&mut self, leg: LegId, command: MediaCommand) {
        if matches!(command, MediaCommand::Record { .. }) {
            self.records_open += 1;
        }
        self.outputs.push_back(CallOutput::Media(leg, command));
    }

    /// Connects two legs both ways.
    pub(crate) fn bridge(&mut self, a: LegId, b: LegId) {
        for (from, to) in [(a, b), (b, a)] {
            if let Some(leg) = self.leg_mut(from) {
                leg.peer = Some(to);
            }
            self.outputs.push_back(CallOutput::Connect { from, to });
        }
    }

    pub(crate) fn unbridge(&mut self, a: LegId, b: LegId) {
        for (from, to) in [(a, b), (b, a)] {
            if let Some(leg) = self.leg_mut(from) {
                leg.peer = None;
            }
            self.outputs.push_back(CallOutput::Disconnect { from, to });
        }
    }

    // --- Lines and media.

    fn line_event(&mut self, now: Moment, event: LineEvent) {
        match event {
            LineEvent::Alerting { leg, early_media } => self.leg_alerting(leg, early_media),
            LineEvent::Answered { leg, supervision, .. } => self.leg_answered(now, leg, supervision),
            LineEvent::Digit { leg, digit } => self.digit(now, leg, (digit, DigitPath::Signalled)),
            LineEvent::Refer { leg, referral } => self.refer_asked(now, leg, referral),
            LineEvent::Transferring { leg, stage } => self.transferring(now, leg, stage),
            LineEvent::Replaced { leg, by } => self.replaced(now, leg, &by),
            LineEvent::Signalled { leg, signal } => self.leg_signalled(leg, signal),
            LineEvent::Referred { leg, reply } => self.refer_replied(now, leg, reply),
            LineEvent::Released { leg, cause, status } => self.leg_released(now, leg, (cause, status)),
            LineEvent::Held { leg, held } => self.leg_held(leg, held),
            LineEvent::Offered(offer) => self.leg_joins(now, offer),
            LineEvent::Up | LineEvent::Down(_) => {}
        }
    }

    fn media_event(&mut self, now: Moment, leg: LegId, event: MediaEvent) {
        match event {
            MediaEvent::Digit(digit, how) => self.digit(now, leg, (digit, how)),
            MediaEvent::PlayBegan(play, length) => self.play_began(leg, play, length),
            MediaEvent::PlayEnded(play, result) => self.play_ended(now, leg, play, result),
            MediaEvent::RecordEnded(record, result) => self.record_ended(record, result),
            MediaEvent::EchoRefused => self.echo_refused(leg),
            MediaEvent::Silent(silent) => self.silent(leg, silent),
        }
    }

    /// Somebody calls the session of this call.
    fn leg_joins(&mut self, now: Moment, offer: Offer) {
        let id = offer.leg;
        let live = self.legs.iter().filter(|leg| leg.state != LegState::Gone).count();
        if self.is_ending() || live >= self.limits.legs_max || self.leg(id).is_some() {
            let cause = Cause::NoCircuit;
            return self.line_command(LineCommand::Release { leg: id, cause });
        }
        let state = LegState::Offered { alerted: true };
        self.legs.push(Leg::new(id, Purpose::Joined, state, String::new(), now.instant));
        self.line_command(LineCommand::Alert { leg: id, early_media: false });
        self.leg_event(id, LegEvent::Offered(Box::new(offer)));
    }

    fn leg_alerting(&mut self, id: LegId, early_media: bool) {
        let Some(leg) = self.leg_mut(id) else { return };
        let LegState::Placed { alerting } = leg.state else { return };
        let purpose = leg.purpose;
        leg.state = LegState::Placed { alerting: true };
        let is_new = early_media && !std::mem::replace(&mut leg.is_early, true);
        match purpose {
            Purpose::Dialed(action) => {
                if !alerting {
                    self.report_target(action, id, LegEvent::Alerting);
                }
                self.target_alerting(action, id, early_media);
            }
            Purpose::Own(_) => {
                if !alerting {
                    self.leg_event(id, LegEvent::Alerting);
                }
                if is_new {
                    self.leg_event(id, LegEvent::EarlyMedia);
                }
            }
            Purpose::First | Purpose::Joined | Purpose::Paged(_) | Purpose::Booth(_) => {}
        }
        self.hear_anew(id);
    }

    /// What a leg let hear before an answer was of the line that failed; what the next one lets hear
    /// comes with its own alerting.
    fn tried_again(&mut self, id: LegId) {
        let Some(leg) = self.leg_mut(id).filter(|leg| matches!(leg.state, LegState::Placed { .. })) else {
            return;
        };
        leg.is_early = false;
        if let Purpose::Dialed(action) = leg.purpose {
            self.early_ended(action, id);
        }
        self.hear_no_more(id);
    }

    fn leg_answered(&mut self, now: Moment, id: LegId, supervision: Supervision) {
        let flow_began = self.flow_began;
        let Some(leg) = self.leg_mut(id).filter(|leg| leg.is_live() && leg.answered.is_none()) else {
            return;
        };
        leg.answered = Some((now.instant, supervision));
        leg.state = LegState::Answered;
        match leg.purpose {
            Purpose::First if !flow_began => {
                self.facts.answered = true;
                self.begin_flow();
            }
            Purpose::First => {
                self.finish_answers(id);
                self.caller_answered(now, id, supervision);
            }
            Purpose::Dialed(action) => {
                self.report_target(action, id, LegEvent::Answered(supervision));
                self.target_answered(now, action, id);
            }
            Purpose::Joined => self.finish_answers(id),
            Purpose::Paged(action) => self.paged_answered(now, action, id),
            Purpose::Own(action) => {
                self.leg_event(id, LegEvent::Answered(supervision));
                self.placed_leg_answered(action);
            }
            Purpose::Booth(_) => {}
        }
        self.hear_anew(id);
    }

    fn leg_released(&mut self, now: Moment, id: LegId, (cause, status): (Cause, Option<u16>)) {
        let Some(leg) = self.leg_mut(id).filter(|leg| leg.state != LegState::Gone) else { return };
        leg.state = LegState::Gone;
        leg.gone = Some((now.instant, cause));
        let (purpose, peer, is_told) = (leg.purpose, leg.peer.take(), leg.is_told_gone);
        let is_let_go = leg.is_let_go;
        self.transfers_leg_gone(id);
        if let Some(peer) = peer.and_then(|peer| self.leg_mut(peer)) {
            peer.peer = None;
        }
        if purpose == Purpose::First && !self.flow_began {
            // Nobody answered: there is nothing for the flow to do.
            return self.finish(cause, who_left(cause), "not_answered".to_owned());
        }
        match purpose {
            Purpose::Dialed(action) => {
                self.report_target(action, id, LegEvent::Released(cause));
                self.target_released(now, action, id, (cause, status));
            }
            Purpose::Paged(action) => self.paged_released(now, action, id, cause),
            Purpose::First if is_told => {}
            Purpose::First | Purpose::Joined => {
                self.leg_event(id, LegEvent::Released(cause));
            }
            Purpose::Own(action) => {
                self.placed_leg_released(action, cause);
                self.leg_event(id, LegEvent::Released(cause));
            }
            Purpose::Booth(action) => self.booth_closed(action, is_let_go),
        }
        self.actions_leg_gone(now, id);
    }

    fn digit(&mut self, now: Moment, id: LegId, (digit, how): (Digit, DigitPath)) {
        if self.leg(id).is_none_or(|leg| leg.state == LegState::Gone) {
            return;
        }
        if self.action_takes_digit(now, id, digit) {
            return;
        }
        let Some(leg) = self.leg_mut(id) else { return };
        // Between two people digits are theirs; they pass in the audio path.
        if leg.peer.is_none() {
            leg.keep_digit(digit);
        }
        self.leg_event(id, LegEvent::Digit(digit, how));
    }

    pub(crate) fn work_of(&mut self, id: ActionId) -> Option<&mut Work> {
        self.running.iter_mut().find(|running| running.id == id).map(|running| &mut running.work)
    }
}

/// Who ended a call with the first leg: its party, or the line under it.
const fn who_left(cause: Cause) -> EndedBy {
    if cause.is_of_line() { EndedBy::Line } else { EndedBy::Caller }
}
