//! A call with a flow that does as the test says, and everything that the call wants as text.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tipring_calls::exchange::{Exchange, ExchangeEvent, ExchangeOutput, ExchangeRequest, Seat};
use tipring_calls::features::mailbox::MailboxReply;
use tipring_calls::{Call, CallInput, CallOutput, Limits, MediaCommand, MediaEvent};
use tipring_model::call::{CallFacts, Direction, Origin, SessionFacts};
use tipring_model::fetch::{HttpRequest, Method};
use tipring_model::flow::{
    Action, Flow, FlowInput, FlowOutput, LegEvent, Message, Moment, Notice, Outcome, Recorded, Target,
};
use tipring_model::line::{LineCommand, LineEvent, Supervision};
use tipring_model::prompt::PromptSource;
use tipring_model::{
    ActionId, CallerId, Cause, Digit, DigitPath, FetchId, LegId, LineId, MessageId, Number, PlayId, RecordId,
};
use tipring_testkit::Clock;
use tipring_testkit::transcript::CALL;

#[derive(Default)]
struct Script {
    outputs: VecDeque<FlowOutput>,
    ended: Vec<(ActionId, Outcome)>,
    not_fetched: Vec<u32>,
    events: Vec<(LegId, LegEvent)>,
    stopped: usize,
}

/// A flow that asks for what the test has put down.
struct Puppet(Rc<RefCell<Script>>);

impl Flow for Puppet {
    fn handle(&mut self, _: Moment, input: FlowInput<'_>) {
        let mut script = self.0.borrow_mut();
        if let FlowInput::Ended(id, outcome) = input {
            script.ended.push((id, outcome));
        } else if let FlowInput::Leg(leg, event) = input {
            script.events.push((leg, event));
        } else if let FlowInput::Fetched(id, Err(_)) = input {
            script.not_fetched.push(id.0);
        } else if let FlowInput::Stopped = input {
            script.stopped += 1;
        }
    }

    fn poll(&mut self) -> Option<FlowOutput> {
        self.0.borrow_mut().outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// The first leg of call 1.
pub(crate) fn caller() -> LegId {
    LegId::offered(LineId(0), 1)
}

/// The leg that call 1 placed as its `seq`-th.
pub(crate) fn placed(seq: u32) -> LegId {
    LegId::placed(1, seq)
}

/// Numbers 200, 201 and so on.
pub(crate) fn targets(count: usize) -> Vec<Target> {
    (0..count).map(|n| Target::Number((200 + n).to_string())).collect()
}

pub(crate) struct Stage {
    call: Call,
    number: u32,
    clock: Clock,
    script: Rc<RefCell<Script>>,
    said: Vec<String>,
    pub(crate) events: Vec<(LegId, LegEvent)>,
    pub(crate) asked: Vec<(Seat, ExchangeRequest)>,
    pub(crate) steps: Vec<String>,
    /// The action that last asked for something of a mailbox.
    mailbox: Option<ActionId>,
    /// What plays, and where.
    plays: Vec<(LegId, PlayId)>,
    legs_of_record: Option<usize>,
}

impl Stage {
    /// Call 1, answered, with `action` as #1 on its first leg.
    pub(crate) fn answered(action: Action) -> Self {
        let mut stage = Self::new(1, Clock::new());
        stage.start(1, stage.first(), action);
        stage
    }

    /// A call, answered, at the time of `clock`.
    pub(crate) fn new(number: u32, clock: Clock) -> Self {
        Self::begun(number, clock, true, (Some(LegId::offered(LineId(0), number)), None))
    }

    /// A call that is not answered.
    pub(crate) fn offered(number: u32, clock: Clock) -> Self {
        Self::begun(number, clock, false, (Some(LegId::offered(LineId(0), number)), None))
    }

    /// Call 1 of a flow that begins with no leg.
    pub(crate) fn without_a_leg() -> Self {
        Self::begun(1, Clock::new(), false, (None, None))
    }

    /// Call 1, answered, of a flow that somebody outside can speak to.
    pub(crate) fn session() -> Self {
        Self::begun(1, Clock::new(), true, (Some(caller()), Some(Rc::default())))
    }

    fn begun(
        number: u32,
        clock: Clock,
        answered: bool,
        (leg, session): (Option<LegId>, Option<Rc<SessionFacts>>),
    ) -> Self {
        let script = Rc::new(RefCell::new(Script::default()));
        let facts = CallFacts {
            id: CALL,
            leg,
            direction: Direction::Inbound,
            from: CallerId::of("15550100"),
            to: Number::new("15550199"),
            answered,
            codec: "PCMA",
            started_unix_ms: 0,
            origin: Origin::default(),
            kept: Rc::default(),
            session,
        };
        let flow = Box::new(Puppet(Rc::clone(&script)));
        let call = Call::new(number, facts, flow, Limits::default(), clock.now());
        let (said, events, asked) = Default::default();
        let (mailbox, plays, steps, legs_of_record) = Default::default();
        let mut stage =
            Self { call, number, clock, script, said, events, asked, steps, mailbox, plays, legs_of_record };
        stage.give(CallInput::Start);
        stage
    }

    pub(crate) fn first(&self) -> LegId {
        LegId::offered(LineId(0), self.number)
    }

    pub(crate) fn start(&mut self, id: u32, on: LegId, action: Action) {
        let start = FlowOutput::Start { id: ActionId(id), on: Some(on), action };
        self.ask(start);
    }

    /// The flow says that the call is over.
    pub(crate) fn end(&mut self) {
        self.ask(FlowOutput::End { cause: Cause::NormalClearing, label: "test".to_owned() });
    }

    pub(crate) fn fetch(&mut self, id: u32) {
        let request = request();
        self.ask(FlowOutput::Fetch { id: FetchId(id), request, document: None });
    }

    /// Fetches that could not be done.
    pub(crate) fn not_fetched(&self) -> Vec<u32> {
        self.script.borrow().not_fetched.clone()
    }

    /// How often the flow was told that the box ends its call.
    pub(crate) fn stopped(&self) -> usize {
        self.script.borrow().stopped
    }

    pub(crate) fn notify(&mut self, topic: &'static str) {
        let request = request();
        self.ask(FlowOutput::Notify(Notice { topic, request, is_last: true }));
    }

    pub(crate) fn ask(&mut self, output: FlowOutput) {
        self.script.borrow_mut().outputs.push_back(output);
        // Anything makes the call ask its flow.
        let message =
            Message { method: String::new(), path: String::new(), headers: Vec::new(), body: Vec::new() };
        self.give(CallInput::Message(MessageId(0), &message));
    }

    pub(crate) fn give(&mut self, input: CallInput<'_>) {
        self.call.handle(self.clock.now(), input);
        while let Some(output) = self.call.poll() {
            self.hear(output);
        }
        self.events.append(&mut self.script.borrow_mut().events);
    }

    fn hear(&mut self, output: CallOutput) {
        let line = match output {
            CallOutput::Place { leg, to, .. } => format!("place {leg} {to}"),
            CallOutput::Line(LineCommand::Release { leg, cause }) => format!("release {leg} {cause}"),
            CallOutput::Line(command) => format!("{command:?}"),
            CallOutput::Media(leg, MediaCommand::Play { play, source, .. }) => {
                self.plays.push((leg, play));
                if let PromptSource::Words(name, _) = source {
                    format!("say {name}")
                } else if let PromptSource::Mailbox { mailbox, file } = source {
                    format!("play {mailbox}/{file}")
                } else {
                    format!("play {leg} {source:?}")
                }
            }
            CallOutput::Media(leg, MediaCommand::StopPlay(play)) => format!("stop {leg} {play}"),
            CallOutput::Media(leg, MediaCommand::Watch(silence)) => format!("watch {leg} {silence:?}"),
            CallOutput::Media(leg, MediaCommand::Listen) => format!("listen {leg}"),
            CallOutput::Media(leg, MediaCommand::Suspend(play, true)) => format!("stand-still {leg} {play}"),
            CallOutput::Media(leg, MediaCommand::Suspend(play, false)) => format!("go-on {leg} {play}"),
            CallOutput::Media(leg, MediaCommand::Record { record, .. }) => format!("record {leg} {record}"),
            CallOutput::Media(leg, MediaCommand::StopRecord(record)) => format!("stop-record {leg} {record}"),
            CallOutput::Connect { from, to } => format!("connect {from} {to}"),
            CallOutput::Disconnect { from, to } => format!("disconnect {from} {to}"),
            CallOutput::Over(cdr) => {
                self.legs_of_record = Some(cdr.legs.len());
                format!("over {} by {}", cdr.cause, cdr.ended_by.as_str())
            }
            CallOutput::Notify(notice) => format!("notify {}", notice.topic),
            CallOutput::Exchange(seat, request) => return self.asked.push((seat, request)),
            CallOutput::Mailbox(action, request) => {
                self.mailbox = Some(action);
                let text = format!("{request:?}");
                text.split(" { ").next().unwrap_or("").to_lowercase()
            }
            CallOutput::Stream(id, leg, _) => format!("stream {id} {leg}"),
            CallOutput::Detect(id, leg, _) => format!("detect {id} {leg}"),
            CallOutput::StopStream(id) => format!("stop-stream {id}"),
            CallOutput::Echo(leg, on) => format!("echo {leg} {on}"),
            CallOutput::Booth(leg, _) => format!("booth {leg}"),
            CallOutput::Step { step, .. } => {
                let end = if step.success { "ok" } else { "failed" };
                let words = [&step.command, &step.path, end, &step.reason].map(str::trim);
                let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
                return self.steps.push(words.join(" "));
            }
            CallOutput::Media(..)
            | CallOutput::Fetch { .. }
            | CallOutput::Mail(..)
            | CallOutput::Reply(..)
            | CallOutput::Script(_)
            | CallOutput::Log(_)
            | CallOutput::Keep { .. }
            | CallOutput::Lamp { .. }
            | CallOutput::Warn(_) => return,
        };
        self.said.push(line);
    }

    /// How many legs the record of the call names, once it is over.
    pub(crate) const fn legs_of_record(&self) -> Option<usize> {
        self.legs_of_record
    }

    /// What the call wanted since the last time.
    pub(crate) fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    /// How action #1 ended.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.outcome_of(1)
    }

    pub(crate) fn outcome_of(&self, id: u32) -> Option<Outcome> {
        let script = self.script.borrow();
        script.ended.iter().find(|(ended, _)| *ended == ActionId(id)).map(|(_, outcome)| outcome.clone())
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now().instant
    }

    /// Time passes, and timers ring when they are due.
    pub(crate) fn wait(&mut self, by: Duration) {
        let until = self.now() + by;
        while let Some(due) = self.call.poll_timeout().filter(|due| *due <= until) {
            self.clock.advance_to(due);
            self.give(CallInput::Timeout);
        }
        self.clock.advance_to(until);
    }

    pub(crate) fn alerting(&mut self, leg: LegId) {
        self.give(CallInput::Line(LineEvent::Alerting { leg, early_media: false }));
    }

    pub(crate) fn answer(&mut self, leg: LegId) {
        let supervision = Supervision::Signalled;
        self.give(CallInput::Line(LineEvent::Answered { leg, supervision, codec: "PCMA" }));
    }

    pub(crate) fn released(&mut self, leg: LegId, cause: Cause) {
        self.released_with(leg, cause, None);
    }

    pub(crate) fn released_with(&mut self, leg: LegId, cause: Cause, status: Option<u16>) {
        self.give(CallInput::Line(LineEvent::Released { leg, cause, status }));
    }

    pub(crate) fn digit(&mut self, leg: LegId, digit: Digit) {
        self.give(CallInput::Media(leg, MediaEvent::Digit(digit, DigitPath::Rfc4733)));
    }

    /// What plays comes to its end, and what comes after it.
    pub(crate) fn played(&mut self) {
        while !self.plays.is_empty() {
            let (leg, play) = self.plays.remove(0);
            self.give(CallInput::Media(leg, MediaEvent::PlayEnded(play, Ok(()))));
        }
    }

    /// What plays is stopped by the engine, as it was told.
    pub(crate) fn keys(&mut self, keys: &str) {
        for key in keys.chars() {
            let leg = self.first();
            self.digit(leg, Digit::from_char(key).unwrap());
            for (leg, play) in std::mem::take(&mut self.plays) {
                self.give(CallInput::Media(leg, MediaEvent::PlayEnded(play, Ok(()))));
            }
        }
    }

    pub(crate) fn recorded(&mut self, record: u32, file: Option<&str>) {
        let leg = self.first();
        let recorded = Recorded {
            length: Duration::from_secs(3),
            file: file.map(str::to_owned),
            finish: None,
            is_silent: false,
        };
        self.give(CallInput::Media(leg, MediaEvent::RecordEnded(RecordId(record), Ok(recorded))));
    }

    pub(crate) fn mailbox(&mut self, reply: MailboxReply) {
        let action = self.mailbox.take().unwrap();
        self.give(CallInput::Mailbox(action, reply));
    }

    pub(crate) fn hear_exchange(&mut self, action: ActionId, event: ExchangeEvent) {
        self.give(CallInput::Exchange(action, event));
    }
}

fn request() -> HttpRequest {
    HttpRequest {
        method: Method::Get,
        url: "http://a.test/".to_owned(),
        headers: Vec::new(),
        body: None,
        timeout: Duration::from_secs(1),
        total: None,
        redirects_max: 0,
        body_max_bytes: 0,
        cuts_body: true,
        connect: None,
        moves_fields: false,
    }
}

/// Calls and the exchange between them: what each asks goes to the exchange, what that says
/// goes back, until nobody has anything to say.
pub(crate) fn meet(exchange: &mut Exchange, calls: &mut [Stage]) -> Vec<String> {
    let mut wires = Vec::new();
    loop {
        for stage in calls.iter_mut() {
            let now = stage.now();
            for (seat, request) in std::mem::take(&mut stage.asked) {
                exchange.handle(now, seat, request);
            }
        }
        let Some(output) = exchange.poll() else { return wires };
        match output {
            ExchangeOutput::Tell(seat, event) => {
                let call = calls.iter_mut().find(|stage| stage.number == seat.call);
                if let Some(call) = call {
                    call.hear_exchange(seat.action, event);
                }
            }
            ExchangeOutput::Connect { from, to } => wires.push(format!("{from}>{to}")),
            ExchangeOutput::Disconnect { from, to } => wires.push(format!("{from}|{to}")),
        }
    }
}
