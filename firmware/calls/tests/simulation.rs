//! Calls under random programs, lines and timers: 256 seeds, each printed when it
//! fails. What must hold, whatever happens:
//!
//! 1. a call ends with exactly one record, and says nothing afterwards;
//! 2. a leg is released at most once, and never after it is gone;
//! 3. every action that was started ends exactly once while the program is told;
//! 4. commands go only to legs that exist;
//! 5. what is connected is disconnected, and nobody is left in a room or a queue;
//! 6. with every leg gone and every play and recording reported, the call ends.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tipring_calls::exchange::{Exchange, ExchangeEvent, ExchangeOutput, ExchangeRequest, Seat};
use tipring_calls::features::mailbox::{MailboxContents, MailboxReply};
use tipring_calls::{Call, CallInput, CallOutput, Limits, MediaCommand, MediaEvent, Request};
use tipring_model::call::{CallFacts, Direction, EndedBy, Origin};
use tipring_model::fetch::{FetchError, HttpRequest, Method};
use tipring_model::flow::{
    Action, ActionFailure, Announcement, Booth, Collect, Conference, Dial, DialOrder, DialTarget, Enqueue,
    Flow, FlowInput, FlowOutput, Hear, LegEvent, Mailbox, MailboxPurpose, Moment, Page, Pause, PickUp, Place,
    Places, Record, Recorded, Ringback, Sides, Target,
};
use tipring_model::line::{
    LineCommand, LineEvent, Offer, PlaceExtras, ReferReply, Referral, Supervision, TransferStage,
};
use tipring_model::prompt::{Prompt, PromptSource};
use tipring_model::signal::{FarSignal, LegSignal, Takes};
use tipring_model::{
    ActionId, CallerId, Cause, Digit, DigitPath, DigitSet, Digits, FetchId, LegId, LineId, Number, PlayId,
    RecordId,
};
use tipring_testkit::Clock;
use tipring_testkit::random::Random;
use tipring_testkit::transcript::{CALL, LEG};

const SEEDS: u64 = 2_048;
const STEPS: usize = 400;

/// What the program saw, shared with the test.
#[derive(Default)]
struct Seen {
    running: HashSet<ActionId>,
    is_over: bool,
}

/// A leg of another call, which takes calls and rings.
const NEIGHBOUR: Seat = Seat { call: 99, action: ActionId(1), leg: LegId::offered(LineId(1), 1) };

/// A program that does whatever comes into its mind.
struct Whim {
    random: Random,
    seen: Rc<RefCell<Seen>>,
    outputs: VecDeque<FlowOutput>,
    legs: Vec<LegId>,
    actions: u32,
    fetches: u32,
    due: Option<Instant>,
}

impl Whim {
    fn target(&mut self) -> Target {
        Target::Number(format!("{}", 200 + self.random.below(3)))
    }

    fn record(&mut self) -> Record {
        let finish = if self.random.below(2) == 0 { DigitSet::ALL } else { DigitSet::NONE };
        let length_max = Duration::from_millis(self.random.next() % 5_000);
        Record { finish, ..Record::new("r".to_owned(), Sides::Heard, length_max) }
    }

    fn action(&mut self) -> Action {
        let short = Duration::from_millis(self.random.next() % 4_000);
        let keys = [DigitSet::NONE, DigitSet::ALL, DigitSet::of("#")][self.random.below(3)];
        let prompt = Prompt { barge_in: keys, ..Prompt::once(PromptSource::Library("p".to_owned())) };
        match self.random.below(26) {
            0 | 1 => Action::Answer,
            2 => Action::Prompt(prompt),
            3 | 4 => Action::Collect(Collect {
                prompts: vec![prompt; self.random.below(3)],
                digits_max: 1 + self.random.below(4),
                finish: keys,
                first_digit: (self.random.below(2) == 0).then_some(short),
                between_digits: (self.random.below(2) == 0).then_some(short),
                total: Some(short),
                typed_ahead: self.random.below(2) == 0,
            }),
            5 => Action::Record(self.record()),
            6 | 7 => Action::Dial(self.dial(short, keys)),
            8 => Action::Place(Place {
                target: self.target(),
                caller_id: CallerId::default(),
                ring_max: short,
                extras: PlaceExtras::default(),
            }),
            9 => match (self.legs.get(self.random.below(self.legs.len().max(1))), self.random.below(3)) {
                (Some(leg), 0) => Action::Bridge(*leg),
                (Some(leg), 1) => Action::Hear(Hear { from: *leg, keys: self.random.below(2) == 0 }),
                (Some(_), _) => Action::EarlyMedia,
                (None, _) => Action::Answer,
            },
            10 => Action::SendDigits(Digits::parse("12").unwrap_or_default()),
            11 => Action::Conference(Conference {
                room: ["a", "b"][self.random.below(2)].to_owned(),
                muted: self.random.below(4) == 0,
                deaf: self.random.below(4) == 0,
                begins: self.random.below(2) == 0,
                ends: self.random.below(4) == 0,
                tone_in: true,
                tone_out: true,
                wait: (self.random.below(2) == 0).then_some(PromptSource::Music),
                members_max: 2 + self.random.below(3),
                leave: keys,
                name: "m".to_owned(),
                coaches: (self.random.below(4) == 0).then(|| "m".to_owned()),
                records: self.random.below(2) == 0,
            }),
            12 => Action::Enqueue(Enqueue {
                queue: "q".to_owned(),
                waiting_max: 1 + self.random.below(3),
                places: (self.random.below(2) == 0).then_some(Places { first: 1, last: 2 }),
            }),
            15 => Action::Mailbox(Mailbox {
                mailbox: (self.random.below(3) > 0).then(|| "ann".to_owned()),
                purpose: [MailboxPurpose::Leave, MailboxPurpose::Listen][self.random.below(2)],
                length_max: short,
                between_digits: short,
                is_owner: self.random.below(2) == 0,
                language: "en-US".to_owned(),
            }),
            16 => Action::PickUp(PickUp { at: vec!["201".to_owned()], answered: self.random.below(2) == 0 }),
            17 => Action::Page(Page {
                targets: (0..self.random.below(5)).map(|_| DialTarget::new(self.target())).collect(),
                two_way: self.random.below(2) == 0,
                ring_max: short,
                length_max: short,
                caller_id: None,
            }),
            13 => Action::Accept,
            14 => Action::Echo(short),
            18 => Action::Refer(self.target()),
            19 | 20 => Action::Booth(Booth { wide: self.random.below(2) == 0 }),
            21 | 22 => {
                let some = self.random.below(4);
                Action::Mix(self.legs.iter().skip(some).step_by(1 + some).copied().collect())
            }
            23 => {
                let takes = Takes { remarks: true, referrals: self.random.below(2) == 0 };
                let signals = [LegSignal::Ringing, LegSignal::Takes(takes), LegSignal::AnswerReferral(200)];
                let other = self.legs.get(self.random.below(self.legs.len().max(1)));
                let refer = other.map_or(LegSignal::Ringing, |leg| LegSignal::Refer(*leg));
                let any = signals.into_iter().chain([refer]).nth(self.random.below(4));
                Action::Signal(Box::new(any.unwrap_or(LegSignal::Ringing)))
            }
            _ => Action::Pause(Pause { length: short, finish: keys, keeps_key: self.random.below(2) == 0 }),
        }
    }

    fn dial(&mut self, short: Duration, keys: DigitSet) -> Dial {
        let coin = |random: &mut Random| random.below(2) == 0;
        let targets = if self.random.below(5) == 0 {
            let announce = coin(&mut self.random)
                .then(|| Announcement { url: "http://a.test/".to_owned(), method: Method::Get });
            let name = ["q", "q.1"][self.random.below(2)].to_owned();
            vec![DialTarget::new(Target::Queue { name, announce })]
        } else {
            (0..self.random.below(4))
                .map(|_| DialTarget {
                    delay: Duration::from_millis(self.random.next() % 2_000),
                    ring_max: coin(&mut self.random).then_some(short / 2),
                    held: self.random.below(3) == 0,
                    ..DialTarget::new(self.target())
                })
                .collect()
        };
        Dial {
            targets,
            rounds: 1 + self.random.below(3) as u32,
            round_max: coin(&mut self.random).then_some(short),
            early_media: coin(&mut self.random),
            ringback: [Ringback::Tone, Ringback::Prompt(PromptSource::Music), Ringback::Silence]
                [self.random.below(3)]
            .clone(),
            talk_max: coin(&mut self.random).then_some(short),
            hang_up: keys,
            stops_at_refusal: coin(&mut self.random),
            record: coin(&mut self.random).then(|| self.record()),
            reports: coin(&mut self.random),
            takes_refer: coin(&mut self.random),
            ..Dial::new(Vec::new(), [DialOrder::AllAtOnce, DialOrder::InOrder][self.random.below(2)], short)
        }
    }

    fn whim(&mut self, now: Moment) {
        match self.random.below(20) {
            0..=11 => {
                self.actions += 1;
                let id = ActionId(self.actions);
                let action = self.action();
                let place = matches!(action, Action::Place(_) | Action::Booth(_));
                let on = self.legs.get(self.random.below(self.legs.len().max(1))).copied();
                self.seen.borrow_mut().running.insert(id);
                self.outputs.push_back(FlowOutput::Start { id, on: on.filter(|_| !place), action });
            }
            12 => {
                let id = ActionId(1 + self.random.below(20) as u32);
                let still = self.random.below(4);
                self.outputs.push_back(match still {
                    0 | 1 => FlowOutput::Suspend(id, still == 0),
                    _ => FlowOutput::Cancel(id),
                });
            }
            13 => {
                self.fetches += 1;
                let request = HttpRequest {
                    method: Method::Get,
                    url: "http://a.test/".to_owned(),
                    headers: Vec::new(),
                    body: None,
                    timeout: Duration::from_secs(1),
                    total: None,
                    redirects_max: 0,
                    body_max_bytes: 1,
                    cuts_body: false,
                    connect: None,
                    moves_fields: false,
                };
                self.outputs.push_back(FlowOutput::Fetch {
                    id: FetchId(self.fetches),
                    request,
                    document: None,
                });
            }
            14 => self.due = Some(now.instant + Duration::from_millis(self.random.next() % 3_000)),
            15 if self.random.below(6) == 0 => {
                let id = ActionId(self.actions + 1);
                self.actions += 1;
                if let Some(leg) = self.legs.first().copied() {
                    self.seen.borrow_mut().running.insert(id);
                    let action = Action::Release(Cause::NormalClearing);
                    self.outputs.push_back(FlowOutput::Start { id, on: Some(leg), action });
                }
            }
            16 if self.random.below(12) == 0 => self.end(),
            _ => {}
        }
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.seen.borrow_mut().is_over, true) {
            self.outputs
                .push_back(FlowOutput::End { cause: Cause::NormalClearing, label: "whim".to_owned() });
        }
    }
}

impl Flow for Whim {
    fn handle(&mut self, now: Moment, input: FlowInput<'_>) {
        match input {
            FlowInput::Started(facts) => self.legs.extend(facts.leg),
            FlowInput::Ended(id, _) => {
                assert!(self.seen.borrow_mut().running.remove(&id), "action {id} ended twice");
            }
            FlowInput::Leg(leg, LegEvent::Placed { .. } | LegEvent::Offered(_)) => self.legs.push(leg),
            FlowInput::Leg(leg, LegEvent::Released(_)) => {
                self.legs.retain(|known| *known != leg);
                if self.legs.is_empty() && self.random.below(2) == 0 {
                    return self.end();
                }
            }
            FlowInput::Timeout => self.due = None,
            FlowInput::Leg(..)
            | FlowInput::Fetched(..)
            | FlowInput::Message(..)
            | FlowInput::Script(_)
            | FlowInput::Stopped => {}
        }
        for _ in 0..self.random.below(3) {
            self.whim(now);
        }
    }

    fn poll(&mut self) -> Option<FlowOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

/// Lines and media, and what they still owe.
struct World {
    seed: u64,
    call: Call,
    clock: Clock,
    legs: BTreeMap<LegId, bool>,
    released: HashSet<LegId>,
    /// Those that have called the session.
    joined: u32,
    plays: Vec<(LegId, PlayId)>,
    records: Vec<(LegId, RecordId)>,
    fetches: Vec<FetchId>,
    overs: usize,
    exchange: Exchange,
    mailboxes: Vec<ActionId>,
    /// Legs whose far ends have asked for a transfer that is under way.
    transfers: HashSet<LegId>,
    connected: HashSet<(LegId, LegId)>,
}

impl World {
    fn give(&mut self, input: CallInput<'_>) {
        self.call.handle(self.clock.now(), input);
        loop {
            while let Some(output) = self.call.poll() {
                assert_eq!(self.overs, 0, "seed {}: {output:?} after the end", self.seed);
                self.take(output);
            }
            match self.exchange.poll() {
                None => break,
                Some(ExchangeOutput::Tell(seat, event)) if seat == NEIGHBOUR => {
                    // Whoever is picked up answers at once.
                    if let ExchangeEvent::PickedUp { .. } = event {
                        self.exchange.handle(self.clock.now().instant, seat, ExchangeRequest::Ready);
                    }
                }
                Some(ExchangeOutput::Tell(seat, event)) => {
                    self.call.handle(self.clock.now(), CallInput::Exchange(seat.action, event));
                }
                Some(ExchangeOutput::Connect { from, to }) => self.connect(from, to),
                Some(ExchangeOutput::Disconnect { from, to }) => self.disconnect(from, to),
            }
        }
    }

    fn connect(&mut self, from: LegId, to: LegId) {
        for leg in [from, to].into_iter().filter(|leg| *leg != NEIGHBOUR.leg) {
            assert!(self.legs.contains_key(&leg), "seed {}: {leg} connected after it was gone", self.seed);
        }
        self.connected.insert((from, to));
    }

    fn disconnect(&mut self, from: LegId, to: LegId) {
        let was = self.connected.remove(&(from, to));
        let is_there = |leg: &LegId| self.legs.contains_key(leg) || *leg == NEIGHBOUR.leg;
        let gone = !is_there(&from) || !is_there(&to);
        assert!(was || gone, "seed {}: {from} was not connected to {to}", self.seed);
    }

    fn take(&mut self, output: CallOutput) {
        let seed = self.seed;
        match output {
            CallOutput::Booth(leg, _) => {
                assert!(self.legs.insert(leg, true).is_none(), "seed {seed}: {leg} opened twice");
            }
            CallOutput::Place { leg, .. } => {
                assert!(self.legs.insert(leg, false).is_none(), "seed {seed}: {leg} placed twice");
            }
            CallOutput::Line(LineCommand::Release { leg, .. }) => {
                assert!(self.legs.contains_key(&leg), "seed {seed}: {leg} released after it was gone");
                assert!(self.released.insert(leg), "seed {seed}: {leg} released twice");
            }
            CallOutput::Line(LineCommand::Transfer { leg, .. }) => {
                assert!(self.legs.contains_key(&leg), "seed {seed}: a transfer of {leg}, which is gone");
                assert!(self.transfers.insert(leg), "seed {seed}: {leg} transferred twice at a time");
            }
            CallOutput::Line(
                LineCommand::Answer { leg } | LineCommand::Alert { leg, .. } | LineCommand::Refer { leg, .. },
            ) => {
                assert!(self.legs.contains_key(&leg), "seed {seed}: a command for {leg}, which is gone");
            }
            CallOutput::Media(leg, command) => match command {
                MediaCommand::Play { play, .. } | MediaCommand::SendDigits { play, .. } => {
                    self.plays.push((leg, play))
                }
                MediaCommand::Record { record, .. } => self.records.push((leg, record)),
                MediaCommand::StopPlay(_)
                | MediaCommand::Suspend(..)
                | MediaCommand::Watch(_)
                | MediaCommand::StopRecord(_)
                | MediaCommand::Listen => {}
            },
            CallOutput::Fetch { id, .. } | CallOutput::Mail(id, _) => self.fetches.push(id),
            CallOutput::Over(_) => self.overs += 1,
            CallOutput::Connect { from, to } => self.connect(from, to),
            CallOutput::Disconnect { from, to } => self.disconnect(from, to),
            CallOutput::Exchange(seat, request) => {
                self.exchange.handle(self.clock.now().instant, seat, request);
            }
            CallOutput::Mailbox(id, _) => self.mailboxes.push(id),
            CallOutput::Detect(..)
            | CallOutput::Stream(..)
            | CallOutput::StopStream(_)
            | CallOutput::Echo(..) => {}
            CallOutput::Line(
                LineCommand::Place { .. }
                | LineCommand::SendDigits { .. }
                | LineCommand::Flash { .. }
                | LineCommand::Signal { .. }
                | LineCommand::EndTransfer { .. },
            )
            | CallOutput::Keep { .. }
            | CallOutput::Lamp { .. }
            | CallOutput::Reply(..)
            | CallOutput::Script(_)
            | CallOutput::Log(_)
            | CallOutput::Notify(_)
            | CallOutput::Step { .. }
            | CallOutput::Warn(_) => {}
        }
    }

    fn leg_gone(&mut self, leg: LegId, cause: Cause) {
        self.legs.remove(&leg);
        self.transfers.remove(&leg);
        self.connected.retain(|(from, to)| *from != leg && *to != leg);
        self.give(CallInput::Line(LineEvent::Released { leg, cause, status: None }));
    }

    fn play_ended(&mut self, at: usize, result: Result<(), ActionFailure>) {
        let (leg, play) = self.plays.swap_remove(at);
        self.give(CallInput::Media(leg, MediaEvent::PlayEnded(play, result)));
    }

    fn record_ended(&mut self, at: usize, stored: bool) {
        let (leg, record) = self.records.swap_remove(at);
        let recorded = Recorded {
            length: Duration::from_secs(1),
            file: Some("f.wav".to_owned()),
            finish: None,
            is_silent: false,
        };
        let result = if stored { Ok(recorded) } else { Err(ActionFailure::Storage) };
        self.give(CallInput::Media(leg, MediaEvent::RecordEnded(record, result)));
    }

    fn step(&mut self, random: &mut Random) {
        let legs: Vec<LegId> = self.legs.keys().copied().collect();
        let leg = legs.get(random.below(legs.len().max(1))).copied();
        match (random.below(17), leg) {
            (0 | 1, Some(leg)) if !self.released.contains(&leg) => {
                self.legs.insert(leg, true);
                let supervision = Supervision::Signalled;
                self.give(CallInput::Line(LineEvent::Answered { leg, supervision, codec: "PCMA" }));
            }
            (2, Some(leg)) => {
                let early_media = random.below(2) == 0;
                self.give(CallInput::Line(LineEvent::Alerting { leg, early_media }));
            }
            (3, Some(leg)) if self.released.contains(&leg) || random.below(4) == 0 => {
                self.leg_gone(leg, Cause::ALL[random.below(Cause::ALL.len())]);
            }
            (4 | 5, Some(leg)) => {
                let digit = Digit::ALL[random.below(12)];
                self.give(CallInput::Media(leg, MediaEvent::Digit(digit, DigitPath::InBand)));
            }
            (6 | 7, _) if !self.plays.is_empty() => {
                let failed = random.below(5) == 0;
                let result = if failed { Err(ActionFailure::Decode) } else { Ok(()) };
                self.play_ended(random.below(self.plays.len()), result);
            }
            (8, _) if !self.records.is_empty() => {
                self.record_ended(random.below(self.records.len()), random.below(4) > 0);
            }
            (9, _) if !self.fetches.is_empty() => {
                let id = self.fetches.swap_remove(random.below(self.fetches.len()));
                self.give(CallInput::Fetched(id, Err(FetchError::Timeout)));
            }
            (10, _) if !self.mailboxes.is_empty() => {
                let id = self.mailboxes.swap_remove(random.below(self.mailboxes.len()));
                let contents = MailboxContents { pin: Some("1".to_owned()), ..MailboxContents::default() };
                let reply = match random.below(4) {
                    0 => MailboxReply::Unknown,
                    1 => MailboxReply::Done,
                    2 => MailboxReply::Failed,
                    _ => MailboxReply::Opened(Box::new(contents)),
                };
                self.give(CallInput::Mailbox(id, reply));
            }
            (11, Some(leg)) => {
                let to = Number::new("203");
                let referral = Referral { to, address: String::new(), replaces: None, by: String::new() };
                self.give(CallInput::Line(LineEvent::Refer { leg, referral: Box::new(referral) }));
            }
            (12, Some(leg)) => {
                let stage = [TransferStage::Ringing, TransferStage::Done, TransferStage::Failed(486)];
                let stage = stage[random.below(3)];
                if stage == TransferStage::Ringing || self.transfers.remove(&leg) {
                    self.give(CallInput::Line(LineEvent::Transferring { leg, stage }));
                }
            }
            (13, Some(leg)) => {
                let replies = [202, 603].map(ReferReply::Answered);
                let replies = [replies[0], replies[1], ReferReply::Ended(Some(200)), ReferReply::Ended(None)];
                let reply = replies[random.below(4)];
                self.give(CallInput::Line(LineEvent::Referred { leg, reply }));
            }
            (14, Some(leg)) => {
                let held = random.below(2) == 0;
                self.give(CallInput::Line(LineEvent::Held { leg, held }));
            }
            (16, Some(_)) if random.below(3) == 0 && self.overs == 0 => {
                self.joined += 1;
                let leg = LegId::offered(LineId(9), self.joined);
                let (from, to, origin) = (CallerId::default(), Number::new("room"), Box::default());
                self.legs.insert(leg, false);
                let offer = Offer { leg, from, to, origin, codec: "L16" };
                self.give(CallInput::Line(LineEvent::Offered(offer)));
            }
            (16, Some(leg)) => {
                let signal = Box::new(FarSignal::Headers(vec![("X-A".to_owned(), "1".to_owned())]));
                self.give(CallInput::Line(LineEvent::Signalled { leg, signal }));
            }
            (15, _) => {
                let at = vec!["201".to_owned()];
                let request = match random.below(3) {
                    0 => ExchangeRequest::PickUp {
                        wanted: PickUp { at, answered: random.below(2) == 0 },
                        who: CallerId::default(),
                    },
                    1 => ExchangeRequest::Rings { at, answered: false, from: CallerId::default() },
                    _ => ExchangeRequest::Leave,
                };
                self.neighbour(request);
            }
            (10, _) if random.below(60) == 0 => {
                self.give(CallInput::Request(Request::HangUp(EndedBy::Operator)));
            }
            _ => {
                let until = self.clock.now().instant + Duration::from_millis(random.next() % 1_000);
                for _ in 0..1_000 {
                    let Some(due) = self.call.poll_timeout().filter(|due| *due <= until) else { break };
                    self.clock.advance_to(due);
                    self.give(CallInput::Timeout);
                }
                self.clock.advance_to(until);
            }
        }
    }

    /// The neighbour asks for something, and everybody hears of it.
    fn neighbour(&mut self, request: ExchangeRequest) {
        self.exchange.handle(self.clock.now().instant, NEIGHBOUR, request);
        let nothing = LineEvent::Alerting { leg: LegId::placed(99, 1), early_media: false };
        self.give(CallInput::Line(nothing));
    }

    /// Everything comes to its end.
    fn finish(&mut self) {
        self.neighbour(ExchangeRequest::Leave);
        while let Some(leg) = self.legs.keys().next().copied() {
            self.leg_gone(leg, Cause::NormalClearing);
        }
        self.give(CallInput::Request(Request::HangUp(EndedBy::Operator)));
        while !self.plays.is_empty() {
            self.play_ended(0, Ok(()));
        }
        while !self.records.is_empty() {
            self.record_ended(0, true);
        }
        // A flow that began with no leg has a second for its own end.
        let last = self.clock.now().instant + Duration::from_secs(1);
        while let Some(due) = self.call.poll_timeout().filter(|due| *due <= last) {
            self.clock.advance_to(due);
            self.give(CallInput::Timeout);
        }
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let clock = Clock::new();
    let seen = Rc::new(RefCell::new(Seen::default()));
    let with_leg = !seed.is_multiple_of(4);
    let flow = Whim {
        random: Random::new(seed ^ 0x5eed),
        seen: Rc::clone(&seen),
        outputs: VecDeque::new(),
        legs: Vec::new(),
        actions: 0,
        fetches: 0,
        due: None,
    };
    let facts = CallFacts {
        id: CALL,
        leg: with_leg.then_some(LEG),
        direction: Direction::Inbound,
        from: CallerId::of("1"),
        to: Number::new("2"),
        answered: false,
        codec: "PCMA",
        started_unix_ms: 0,
        origin: Origin::default(),
        kept: Rc::default(),
        session: None,
    };
    let limits = Limits { legs_max: 6, actions_max: 12, ..Limits::default() };
    let call = Call::new(7, facts, Box::new(flow), limits, clock.now());
    let mut world = World {
        seed,
        call,
        clock,
        legs: with_leg.then_some((LEG, false)).into_iter().collect(),
        released: HashSet::new(),
        joined: 0,
        plays: Vec::new(),
        records: Vec::new(),
        fetches: Vec::new(),
        overs: 0,
        exchange: Exchange::default(),
        mailboxes: Vec::new(),
        transfers: HashSet::new(),
        connected: HashSet::new(),
    };
    world.give(CallInput::Start);
    for _ in 0..STEPS {
        world.step(&mut random);
        if world.overs > 0 {
            break;
        }
    }
    world.finish();
    assert_eq!(world.overs, 1, "seed {seed}: the call has {} records", world.overs);
    assert!(world.call.poll_timeout().is_none(), "seed {seed}: a timer outlives the call");
    assert_eq!(world.exchange.takeable(), 0, "seed {seed}: a call that is over can be taken");
    assert_eq!(world.exchange.rooms().count(), 0, "seed {seed}: somebody is left in a room");
    assert_eq!(world.exchange.queues().map(|(_, waiting)| waiting).sum::<usize>(), 0, "seed {seed}");
}

#[test]
fn whatever_happens_a_call_ends_once_and_lets_go_of_every_leg() {
    for seed in 0..SEEDS {
        run(seed);
    }
}
