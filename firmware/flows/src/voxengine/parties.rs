//! Calls of a session: who is rung, who answers, who is gone.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use tipring_model::call::CallFacts;
use tipring_model::flow::{Action, ActionFailure, LegEvent, Moment, Outcome, Pause, Place, Target};
use tipring_model::line::{ByTrunk, Offer, PlaceExtras};
use tipring_model::signal::{LegSignal, Remark, RemarkKind, SignalExtras, Takes};
use tipring_model::{ActionId, CallerId, Cause, DigitPath, DigitSet, Digits, LegId, Number};

use super::message::{CallKind, CallTold, Command, Headers, Told};
use super::session::{Session, Stage, Work};

/// The call with which a session begins has this number; the script counts its own from 1.
pub(super) const FIRST: u32 = 0;
/// An incoming call that nobody answers is let go after this.
const UNANSWERED_MAX: Duration = Duration::from_secs(60);
/// Shortest and longest ringing of a placed call.
const RING_MIN: Duration = Duration::from_secs(10);
const RING_MAX: Duration = Duration::from_secs(400);
/// Calls of one session, those included that are over.
const CALLS_MAX: usize = 1_000;
/// Telephones of one person.
const PHONES_MAX: usize = 8;
/// A call whose far end sends nothing for so long has no RTP any more.
const SILENCE: Duration = Duration::from_secs(7);
/// Longest name or password of a placed call, in bytes.
const NAME_BYTES_MAX: usize = 1_024;
/// Longest address of a call in the log, in characters.
const SHOWN_CHARS_MAX: usize = 128;
/// Digits that wait to be sent on one call.
const DIGITS_MAX: usize = 1_024;

/// How far a call is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// It came in, and is not answered.
    Offered,
    /// It is placed, and not answered.
    Placed,
    Connected,
}

/// Which keys a script hears of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keys {
    None,
    All,
    /// Those that come in this way.
    Only(DigitPath),
}

impl Keys {
    /// By the vendor's number of a kind; all for any other text.
    fn of(kind: &str) -> Self {
        let ways = [DigitPath::Rfc4733, DigitPath::InBand, DigitPath::Signalled];
        ways.into_iter().find(|how| kind_of(*how) == kind).map_or(Self::All, Self::Only)
    }

    fn take(self, how: DigitPath) -> bool {
        self == Self::All || self == Self::Only(how)
    }

    /// Keys in the sound are listened for.
    pub(super) fn are_sounds(self) -> bool {
        self.take(DigitPath::InBand)
    }
}

/// The vendor's number for the way in which a key came.
const fn kind_of(how: DigitPath) -> &'static str {
    match how {
        DigitPath::Rfc4733 => "1",
        DigitPath::InBand => "2",
        DigitPath::Signalled => "3",
    }
}

/// A piece of what `sendDigits` sends.
#[derive(Clone, PartialEq, Debug)]
enum Piece {
    Digits(Digits),
    Pause(Duration),
}

/// One call.
#[derive(Debug)]
pub(super) struct Party {
    pub(super) standing: Standing,
    /// Whom it is placed to, as the script says it.
    to: String,
    /// Those that ring for it; once it is answered, the one that did.
    pub(super) legs: Vec<LegId>,
    /// Placings that have not ended.
    placing: Vec<ActionId>,
    /// Sound passes before the answer.
    pub(super) is_early: bool,
    pub(super) keys: Keys,
    /// The script hears when no sound comes.
    wants_silence: bool,
    is_watched: bool,
    /// Its far end has put it on hold.
    pub(super) is_held: bool,
    is_ringing: bool,
    due: Option<Instant>,
    /// The most telling of what kept its telephones from answering.
    refused: Option<Cause>,
    digits: VecDeque<Piece>,
    sends: bool,
    pub(super) refers: u32,
    /// What its script listens for.
    pub(super) takes: Takes,
    /// What was said beside the refusal that counts.
    refused_saying: Headers,
    /// The header fields of the last message of each leg.
    pub(super) said: Vec<(LegId, Headers)>,
    is_answering: bool,
    /// The code with which the script has refused it.
    refused_with: Option<u16>,
    /// It was let go from here.
    pub(super) is_let_go: bool,
}

impl Party {
    const fn new(standing: Standing) -> Self {
        Self {
            standing,
            to: String::new(),
            legs: Vec::new(),
            placing: Vec::new(),
            is_early: false,
            keys: Keys::None,
            wants_silence: false,
            is_watched: false,
            is_held: false,
            is_ringing: false,
            due: None,
            refused: None,
            digits: VecDeque::new(),
            sends: false,
            refers: 0,
            takes: Takes { remarks: false, referrals: false },
            refused_saying: Headers::new(),
            said: Vec::new(),
            is_answering: false,
            refused_with: None,
            is_let_go: false,
        }
    }
}

/// Every call that is not over.
#[derive(Default, Debug)]
pub(super) struct Parties {
    live: BTreeMap<u32, Party>,
    begun: usize,
    /// Calls that other sessions of the box have made to this one since it began.
    joined: u32,
}

impl Parties {
    pub(super) fn has_live(&self) -> bool {
        !self.live.is_empty()
    }

    pub(super) fn get(&self, call: u32) -> Option<&Party> {
        self.live.get(&call)
    }

    pub(super) fn get_mut(&mut self, call: u32) -> Option<&mut Party> {
        self.live.get_mut(&call)
    }

    pub(super) fn of_leg(&self, leg: LegId) -> Option<u32> {
        self.live.iter().find(|(_, party)| party.legs.contains(&leg)).map(|(call, _)| *call)
    }

    /// The leg of a call, if it is one alone.
    pub(super) fn leg(&self, call: u32) -> Option<LegId> {
        match self.live.get(&call).map(|party| party.legs.as_slice()) {
            Some([leg]) => Some(*leg),
            Some(_) | None => None,
        }
    }

    /// The leg of a call to which can be played.
    pub(super) fn audible(&self, call: u32) -> Option<LegId> {
        let party = self.live.get(&call)?;
        let hears =
            party.standing == Standing::Connected || (party.standing == Standing::Offered && party.is_early);
        self.leg(call).filter(|_| hears)
    }

    pub(super) fn is_connected(&self, call: u32) -> bool {
        self.live.get(&call).is_some_and(|party| party.standing == Standing::Connected)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.live.values().filter_map(|party| party.due).min()
    }
}

impl Session {
    /// The call with which the session begins.
    pub(super) fn first_call(&mut self, now: Moment, facts: &CallFacts, leg: LegId) {
        let mut party = Party::new(Standing::Offered);
        party.legs.push(leg);
        party.due = Some(now.instant + UNANSWERED_MAX);
        self.parties.live.insert(FIRST, party);
        self.parties.begun += 1;
        let from = facts.from.number_or_anonymous();
        self.tell(
            now,
            Told::Alerting {
                call: FIRST,
                from,
                name: facts.from.name.as_deref().unwrap_or(""),
                to: facts.to.as_str(),
                from_uri: &facts.origin.from_uri,
                to_uri: &facts.origin.to_uri,
                headers: &facts.origin.headers,
                kind: if facts.origin.extension.is_some() { "user" } else { "pstn" },
            },
        );
        if facts.answered {
            self.connected(now, FIRST, leg);
        }
    }

    /// Another session of the box calls this one while it runs.
    fn joined(&mut self, now: Moment, offer: &Offer) {
        if self.stage != Stage::Running || self.parties.begun >= CALLS_MAX {
            self.act(Some(offer.leg), Action::Reject(Cause::NoCircuit), Work::Silent);
            return;
        }
        self.parties.joined += 1;
        // The script counts its own from 1.
        let call = u32::MAX - self.parties.joined;
        let mut party = Party::new(Standing::Offered);
        party.legs.push(offer.leg);
        party.due = Some(now.instant + UNANSWERED_MAX);
        self.parties.live.insert(call, party);
        self.parties.begun += 1;
        let told = Told::Alerting {
            call,
            from: offer.from.number_or_anonymous(),
            name: offer.from.name.as_deref().unwrap_or(""),
            to: offer.to.as_str(),
            from_uri: &offer.origin.from_uri,
            to_uri: &offer.origin.to_uri,
            headers: &offer.origin.headers,
            kind: "pstn",
        };
        self.tell(now, told);
    }

    pub(super) fn call_event(&mut self, now: Moment, told: CallTold) {
        self.tell(now, Told::Call(told));
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not about a call goes to its sound")]
    pub(super) fn party_command(&mut self, now: Moment, command: Command) {
        match command {
            Command::Call { .. } => self.place(now, command),
            Command::Answer { call, headers, name } => self.answer(call, headers, name),
            Command::Reject { call, code, headers } => self.reject(call, code, headers),
            Command::Hangup { call, headers } => self.hang_up_saying(call, headers),
            Command::Ring { call, headers } => self.ring(call, headers),
            Command::Early { call, headers } => self.early_media(call, headers),
            Command::Tones { call, on, kind } => {
                if let Some(party) = self.parties.get_mut(call) {
                    party.keys = if on { Keys::of(&kind) } else { Keys::None };
                }
            }
            Command::Watch { call } => {
                if let Some(party) = self.parties.get_mut(call) {
                    party.wants_silence = true;
                }
                self.watch(call);
            }
            Command::Digits { call, digits } => self.digits(call, &digits),
            Command::Refer { call, to, headers } => self.refer(now, call, &to, headers),
            Command::ReferTo { call, other, headers } => self.refer_to(now, (call, other), headers),
            Command::Referred { call, code } => self.answer_referral(call, code),
            Command::Takes { call, remarks, referrals } => self.takes(call, Takes { remarks, referrals }),
            Command::Info { call, mime, body, headers } => {
                let remark =
                    Remark { kind: RemarkKind::Info, media_type: mime, body: body.into_bytes(), headers };
                self.remark(call, remark);
            }
            Command::Message { call, text } => {
                let (media_type, body) = ("text/plain;charset=utf-8".to_owned(), text.into_bytes());
                let headers = Headers::new();
                self.remark(call, Remark { kind: RemarkKind::Message, media_type, body, headers });
            }
            other => self.sound_command(now, other),
        }
    }

    // --- Placing.

    /// A session that ends places no calls.
    pub(super) fn not_called(&mut self, now: Moment, command: &Command) {
        if let Command::Call { call, .. } = command {
            self.failed(now, *call, 503, "the session ends");
        }
    }

    fn failed(&mut self, now: Moment, call: u32, code: u16, reason: &'static str) {
        self.call_event(
            now,
            CallTold { code: Some(code), reason: Some(reason), ..CallTold::new(call, "failed") },
        );
    }

    fn place(&mut self, now: Moment, command: Command) {
        let Command::Call { call, kind, to, callerid, name, headers, user, password, proxy, trunk, wait_ms } =
            command
        else {
            return;
        };
        if call == FIRST || self.parties.live.contains_key(&call) {
            return;
        }
        if self.parties.begun >= CALLS_MAX {
            return self.failed(now, call, 503, "too many calls in one session");
        }
        let targets = match self.targets(kind, &to) {
            Ok(targets) => targets,
            Err((code, reason)) => return self.failed(now, call, code, reason),
        };
        let fits = |text: &str| text.len() <= NAME_BYTES_MAX && !text.contains(char::is_control);
        let headers = self.sendable(headers);
        if [&proxy, &trunk].into_iter().flatten().any(|text| !fits(text)) {
            return self.failed(now, call, 404, "Invalid number");
        }
        let by_trunk = trunk.map(ByTrunk::Name).or(proxy.map(ByTrunk::Proxy));
        let credentials = user.zip(password).filter(|(user, password)| fits(user) && fits(password));
        let caller_id = CallerId {
            number: Some(Number::new(&callerid)).filter(|number| !number.is_empty()),
            name: Some(name).filter(|name| !name.is_empty() && fits(name)),
        };
        let ring_max = Duration::from_millis(u64::from(wait_ms)).clamp(RING_MIN, RING_MAX);
        self.parties.begun += 1;
        self.parties.live.insert(call, Party { to, ..Party::new(Standing::Placed) });
        for target in targets {
            let extras = PlaceExtras {
                headers: headers.clone(),
                credentials: credentials.clone(),
                by_trunk: by_trunk.clone(),
                ..PlaceExtras::default()
            };
            let place = Place { target, caller_id: caller_id.clone(), ring_max, extras };
            let action = self.act(None, Action::Place(place), Work::Place(call));
            if let Some(party) = self.parties.get_mut(call) {
                party.placing.push(action);
            }
        }
    }

    /// Whom a call is for.
    pub(super) fn targets(&self, kind: CallKind, to: &str) -> Result<Vec<Target>, (u16, &'static str)> {
        match kind {
            CallKind::Pstn => {
                if !Number::new(to).is_decimal() {
                    return Err((404, "Invalid number"));
                }
                Ok(vec![Target::Trunk { line: None, number: to.to_owned() }])
            }
            CallKind::Sip => {
                let address = to.strip_prefix("sips:").or_else(|| to.strip_prefix("sip:")).unwrap_or(to);
                let is_graphic = address.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"".contains(&b));
                let parts =
                    address.split_once('@').filter(|(user, host)| !user.is_empty() && !host.is_empty());
                if !is_graphic || parts.is_none() {
                    return Err((404, "Invalid number"));
                }
                Ok(vec![Target::Sip(address.to_owned())])
            }
            CallKind::User => {
                let user = self.directory.users.iter().find(|user| user.id == to);
                let phones: Vec<&String> = match user {
                    Some(user) => user.phones.iter().take(PHONES_MAX).collect(),
                    None => {
                        let own = self.directory.phones.iter().map(|phone| &phone.number);
                        own.filter(|number| *number == to).take(1).collect()
                    }
                };
                if phones.is_empty() {
                    return Err((404, "Invalid number"));
                }
                Ok(phones.into_iter().map(|number| Target::Number(number.clone())).collect())
            }
            CallKind::Conference => {
                let is_id = !to.is_empty() && to.len() <= Number::BYTES_MAX && !to.contains(char::is_control);
                if !is_id {
                    return Err((404, "Invalid number"));
                }
                Ok(vec![Target::Session(to.to_owned())])
            }
        }
    }

    // --- What a script does with a call.

    fn answer(&mut self, call: u32, headers: Headers, name: Option<String>) {
        let Some(leg) = self.parties.leg(call) else { return };
        let Some(party) = self.parties.get_mut(call).filter(|party| party.standing == Standing::Offered)
        else {
            return;
        };
        if !std::mem::replace(&mut party.is_answering, true) {
            let name = name.filter(|name| name.len() <= NAME_BYTES_MAX && !name.contains(char::is_control));
            let headers = self.sendable(headers);
            self.extras(leg, SignalExtras { headers, display_name: name, status: None });
            self.act(Some(leg), Action::Answer, Work::Answer(call));
        }
    }

    /// Refuses an incoming call with the code that the script says.
    fn reject(&mut self, call: u32, code: u16, headers: Headers) {
        let Some(leg) = self.parties.leg(call) else { return };
        let is_offered = |party: &Party| party.standing == Standing::Offered && !party.is_let_go;
        if self.parties.get(call).is_some_and(is_offered) {
            let cause = Cause::from_sip_status(code);
            let status = Some(code).filter(|code| *code != cause.sip_status());
            let headers = self.sendable(headers);
            self.extras(leg, SignalExtras { headers, display_name: None, status });
            self.let_go(call, Action::Reject(cause));
            if let Some(party) = self.parties.get_mut(call) {
                party.refused_with = Some(code);
            }
        }
    }

    fn early_media(&mut self, call: u32, headers: Headers) {
        let Some(leg) = self.parties.leg(call) else { return };
        let Some(party) = self.parties.get_mut(call) else { return };
        if party.standing == Standing::Offered && !std::mem::replace(&mut party.is_early, true) {
            let headers = self.sendable(headers);
            self.extras(leg, SignalExtras { headers, ..SignalExtras::default() });
            self.act(Some(leg), Action::EarlyMedia, Work::Silent);
        }
    }

    pub(super) fn hang_up(&mut self, call: u32) {
        self.let_go(call, Action::Release(Cause::NormalClearing));
    }

    pub(super) fn let_go(&mut self, call: u32, how: Action) {
        let Some(party) = self.parties.get_mut(call) else { return };
        if std::mem::replace(&mut party.is_let_go, true) {
            return;
        }
        party.due = None;
        if party.standing == Standing::Placed {
            // A leg that rings goes with its placing.
            let placing = party.placing.clone();
            for action in placing {
                self.push(tipring_model::flow::FlowOutput::Cancel(action));
            }
            return;
        }
        if let Some(leg) = self.parties.leg(call) {
            self.act(Some(leg), how, Work::Silent);
        }
    }

    /// Every call is let go, and what plays or records besides is over.
    pub(super) fn release_all(&mut self, now: Moment) {
        self.stop_tapes(now);
        self.stop_players();
        let calls: Vec<u32> = self.parties.live.keys().copied().collect();
        for call in calls {
            self.hang_up(call);
        }
    }

    fn digits(&mut self, call: u32, text: &str) {
        let Some(party) = self.parties.get_mut(call) else { return };
        if party.digits.len() + text.len() > DIGITS_MAX {
            return self.log("digits are not sent: too many wait already");
        }
        let mut run = Digits::new();
        for key in text.chars() {
            match tipring_model::Digit::from_char(key) {
                Some(digit) => run.push(digit),
                None if key == 'p' => {
                    if !run.is_empty() {
                        party.digits.push_back(Piece::Digits(std::mem::take(&mut run)));
                    }
                    party.digits.push_back(Piece::Pause(Duration::from_secs(1)));
                }
                None => {}
            }
        }
        if !run.is_empty() {
            party.digits.push_back(Piece::Digits(run));
        }
        self.send_digits(call);
    }

    fn send_digits(&mut self, call: u32) {
        let Some(leg) = self.parties.leg(call).filter(|_| self.parties.is_connected(call)) else { return };
        let Some(party) = self.parties.get_mut(call).filter(|party| !party.sends) else { return };
        let Some(piece) = party.digits.pop_front() else { return };
        party.sends = true;
        let action = match piece {
            Piece::Digits(digits) => Action::SendDigits(digits),
            Piece::Pause(length) => Action::Pause(Pause { length, finish: DigitSet::NONE, keeps_key: false }),
        };
        self.act(Some(leg), action, Work::Digits(call));
    }

    // --- What becomes of it.

    pub(super) fn leg_event(&mut self, now: Moment, leg: LegId, event: LegEvent) {
        let event = match event {
            LegEvent::Placed { by, .. } => return self.placed(leg, by),
            LegEvent::Offered(offer) => return self.joined(now, &offer),
            LegEvent::Playing(action, length) => return self.playing(now, action, length),
            event @ (LegEvent::Alerting
            | LegEvent::EarlyMedia
            | LegEvent::Answered(_)
            | LegEvent::Digit(..)
            | LegEvent::Held(_)
            | LegEvent::Silent(_)
            | LegEvent::Signalled(_)
            | LegEvent::Released(_)
            | LegEvent::Room(_)
            | LegEvent::Queue(_)
            | LegEvent::Streaming(_)) => event,
        };
        let Some(call) = self.parties.of_leg(leg) else { return };
        match event {
            LegEvent::Alerting => {
                let Some(party) = self.parties.get_mut(call) else { return };
                if !std::mem::replace(&mut party.is_ringing, true) {
                    let headers = party.said_by(leg);
                    self.call_event(now, CallTold { headers, ..CallTold::new(call, "ringing") });
                }
            }
            LegEvent::EarlyMedia => {
                let Some(party) = self.parties.get_mut(call) else { return };
                if !std::mem::replace(&mut party.is_early, true) {
                    let headers = party.said_by(leg);
                    self.call_event(now, CallTold { headers, ..CallTold::new(call, "audio") });
                }
            }
            LegEvent::Answered(_) => self.connected(now, call, leg),
            LegEvent::Digit(digit, how) => {
                if self.parties.get(call).is_some_and(|party| party.keys.take(how)) {
                    let (tone, kind) = (Some(digit.to_string()), Some(kind_of(how)));
                    self.call_event(now, CallTold { tone, kind, ..CallTold::new(call, "tone") });
                }
            }
            LegEvent::Held(held) => {
                if let Some(party) = self.parties.get_mut(call) {
                    party.is_held = held;
                }
                self.call_event(now, CallTold::new(call, if held { "hold" } else { "unhold" }));
            }
            LegEvent::Signalled(signal) => self.signalled(now, call, leg, *signal),
            LegEvent::Released(cause) => self.leg_gone(now, call, leg, cause),
            LegEvent::Silent(silent) => {
                self.call_event(now, CallTold::new(call, if silent { "rtp_stopped" } else { "rtp_resumed" }));
            }
            LegEvent::Placed { .. }
            | LegEvent::Offered(_)
            | LegEvent::Playing(..)
            | LegEvent::Room(_)
            | LegEvent::Queue(_)
            | LegEvent::Streaming(_) => {}
        }
    }

    fn placed(&mut self, leg: LegId, by: ActionId) {
        match self.works.get(&by).copied() {
            Some(Work::Place(call)) => {
                let Some(party) = self.parties.get_mut(call) else { return };
                party.legs.push(leg);
                let takes = party.takes;
                if takes != Takes::default() {
                    self.signal(leg, LegSignal::Takes(takes));
                }
            }
            Some(Work::Player(player)) => self.player_stands(player, leg),
            Some(Work::Recorder(recorder)) => self.recorder_stands(recorder, leg),
            Some(
                Work::Answer(_)
                | Work::Play { .. }
                | Work::Record(_)
                | Work::Digits(_)
                | Work::Refer(_)
                | Work::ReferTo(..)
                | Work::Silent,
            )
            | None => {}
        }
    }

    fn connected(&mut self, now: Moment, call: u32, leg: LegId) {
        let Some(party) = self.parties.get_mut(call) else { return };
        if party.standing == Standing::Connected {
            return;
        }
        let was_early = party.is_early;
        let is_placed = party.standing == Standing::Placed;
        party.standing = Standing::Connected;
        party.due = None;
        let others: Vec<LegId> = party.legs.iter().copied().filter(|one| *one != leg).collect();
        party.legs = vec![leg];
        let headers = party.said_by(leg);
        for other in others {
            self.act(Some(other), Action::Release(Cause::AnsweredElsewhere), Work::Silent);
        }
        self.call_event(now, CallTold { headers: headers.clone(), ..CallTold::new(call, "connected") });
        if is_placed && !was_early {
            self.call_event(now, CallTold { headers, ..CallTold::new(call, "audio") });
        }
        self.send_digits(call);
        self.watch(call);
    }

    /// Watches over the sound of a connected call, once, if the script wants that.
    fn watch(&mut self, call: u32) {
        let Some(leg) = self.parties.leg(call).filter(|_| self.parties.is_connected(call)) else { return };
        let Some(party) = self.parties.get_mut(call).filter(|party| party.wants_silence) else { return };
        if !std::mem::replace(&mut party.is_watched, true) {
            self.act(Some(leg), Action::Watch(SILENCE), Work::Silent);
        }
    }

    fn leg_gone(&mut self, now: Moment, call: u32, leg: LegId, cause: Cause) {
        let Some(party) = self.parties.get_mut(call) else { return };
        party.legs.retain(|one| *one != leg);
        let headers = party.said_by(leg);
        if party.standing == Standing::Placed {
            let refused = more_telling(party.refused, cause);
            party.refused = Some(refused);
            if refused == cause && party.refused_saying.is_empty() {
                party.refused_saying = headers;
            }
            return self.unanswered(now, call);
        }
        self.gone(now, call, cause, headers);
    }

    /// What the box itself has against a call that the script places is in the log.
    fn not_placed(&mut self, call: u32, failure: Option<&ActionFailure>) {
        let why = match failure {
            Some(ActionFailure::NoTarget(Cause::NotAllowed)) => {
                "the configuration of the box does not allow it"
            }
            Some(ActionFailure::NoTarget(Cause::NoCircuit)) => "no line and no session is free for it",
            Some(ActionFailure::Limit) => "the session has too many calls",
            Some(_) | None => return,
        };
        let to = self.parties.get(call).map_or("", |party| &party.to);
        let to: String = to.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect();
        self.log(&format!("a call to {to} is not placed: {why}"));
    }

    /// None of its telephones is left, and none has answered.
    fn unanswered(&mut self, now: Moment, call: u32) {
        let Some(party) = self.parties.get_mut(call) else { return };
        if party.standing != Standing::Placed || !party.legs.is_empty() || !party.placing.is_empty() {
            return;
        }
        let headers = std::mem::take(&mut party.refused_saying);
        let cause =
            if party.is_let_go { Cause::Cancelled } else { party.refused.unwrap_or(Cause::NoCircuit) };
        self.gone(now, call, cause, headers);
    }

    fn gone(&mut self, now: Moment, call: u32, cause: Cause, headers: Headers) {
        let Some(party) = self.parties.live.remove(&call) else { return };
        self.call_lost(call);
        self.tell_gone(now, call, &party, (cause, headers));
        if !self.parties.has_live() {
            self.stop_tapes(now);
        }
    }

    fn tell_gone(&mut self, now: Moment, call: u32, party: &Party, (cause, headers): (Cause, Headers)) {
        let (code, reason) = words(cause);
        let is_placed = party.standing == Standing::Placed;
        let code = if cause == Cause::NormalClearing && !is_placed { 200 } else { code };
        let code = party.refused_with.unwrap_or(code);
        let event = if is_placed { "failed" } else { "disconnected" };
        self.call_event(
            now,
            CallTold { code: Some(code), reason: Some(reason), headers, ..CallTold::new(call, event) },
        );
    }

    pub(super) fn action_ended(&mut self, now: Moment, id: ActionId, outcome: Outcome) {
        let Some(work) = self.works.remove(&id) else { return };
        match work {
            Work::Answer(call) => {
                if let (Outcome::Done, Some(leg)) = (&outcome, self.parties.leg(call)) {
                    self.connected(now, call, leg);
                }
            }
            Work::Place(call) => {
                let Some(party) = self.parties.get_mut(call) else { return };
                party.placing.retain(|action| *action != id);
                if let Some(failure) = outcome.failure() {
                    let cause =
                        if let ActionFailure::NoTarget(cause) = failure { *cause } else { Cause::NoCircuit };
                    party.refused = Some(more_telling(party.refused, cause));
                }
                self.not_placed(call, outcome.failure());
                self.unanswered(now, call);
            }
            Work::Digits(call) => {
                if let Some(party) = self.parties.get_mut(call) {
                    party.sends = false;
                    self.send_digits(call);
                }
            }
            Work::Refer(call) => self.referred(now, call, &outcome),
            Work::ReferTo(call, other) => self.referred_to(now, (call, other), &outcome),
            Work::Play { player, call } => self.played(now, (player, call), id, &outcome),
            Work::Record(recorder) => self.recorded(now, recorder, &outcome),
            Work::Player(player) => self.player_lost(now, player, &outcome),
            Work::Recorder(recorder) => self.recorder_lost(now, recorder, &outcome),
            Work::Silent => self.sound_ended(id),
        }
    }

    pub(super) fn parties_due(&mut self, now: Moment) {
        let due: Vec<u32> = self
            .parties
            .live
            .iter()
            .filter(|(_, party)| party.due.is_some_and(|due| due <= now.instant))
            .map(|(call, _)| *call)
            .collect();
        for call in due {
            self.let_go(call, Action::Release(Cause::NoAnswer));
        }
    }
}

/// Of two refusals, the one that says more: busy before silence before no line.
fn more_telling(one: Option<Cause>, other: Cause) -> Cause {
    let weight = |cause| match cause {
        Cause::Busy => 5,
        Cause::Rejected => 4,
        Cause::NoAnswer | Cause::NoUserResponse => 3,
        Cause::Unallocated | Cause::InvalidNumber => 2,
        Cause::NormalClearing
        | Cause::DestinationOutOfOrder
        | Cause::NetworkOutOfOrder
        | Cause::TemporaryFailure
        | Cause::Incompatible
        | Cause::RecoveryOnTimer
        | Cause::NotAllowed
        | Cause::Cancelled
        | Cause::AnsweredElsewhere
        | Cause::Preempted
        | Cause::Unspecified => 1,
        Cause::NoCircuit => 0,
    };
    match one {
        Some(one) if weight(one) >= weight(other) => one,
        Some(_) | None => other,
    }
}

/// The vendor's code and words for a cause.
const fn words(cause: Cause) -> (u16, &'static str) {
    match cause {
        Cause::Busy => (486, "Busy"),
        Cause::Cancelled | Cause::AnsweredElsewhere => (487, "Request terminated"),
        Cause::Unallocated | Cause::InvalidNumber => (404, "Invalid number"),
        Cause::NoUserResponse | Cause::DestinationOutOfOrder => (480, "Unavailable"),
        Cause::NoAnswer | Cause::RecoveryOnTimer => (408, "No answer"),
        Cause::Rejected | Cause::NotAllowed => (603, "Declined"),
        Cause::NormalClearing => (603, "Normal call clearing"),
        Cause::NoCircuit | Cause::TemporaryFailure | Cause::Preempted => (503, "Service unavailable"),
        Cause::NetworkOutOfOrder | Cause::Unspecified => (500, "Internal error"),
        Cause::Incompatible => (488, "Not acceptable here"),
    }
}
