//! The analog lines without waiting: what the devices say goes to the machines, and what the
//! machines want goes to the devices, the desks, the media engine and the calls.

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant, SystemTime};

use tipring_media::dsp::caller_id::LineTime;
use tipring_media::dsp::tone_detect::ToneKind;
use tipring_media::dsp::tone_learn::Repeated;
use tipring_media::{Command, Rate, ToneSpec, patch};
use tipring_model::line::{DownReason, LineCommand, LineEvent};
use tipring_model::{LegId, LineId, Number};
use tokio::sync::oneshot;

use super::contract::{Input, Listen, Note, Output, Sound};
use super::country::CountryPlan;
use super::desk::{DeskCommand, DeskFact, DeskLink, LineRecord, PortPlan};
use super::device::{Device, DeviceEvent, DeviceFault};
use super::ears::{EarPlan, Fact, LearnedDetector};
use super::endpoint::leg_sound;
use super::fxo::{Fxo, FxoSettings};
use super::fxs::{Fxs, FxsSettings};
use super::gauges::Levels;
use super::lessons::{LEARNED_MAX, LearnedTone, Lessons};
use super::settings::{PortName, SoundSettings};
use super::trials::Running;
use super::voice::{Script, SoundPlan};
use super::watch::{Happenings, Measured, PortStatus, Standing, Watch, What};
use crate::port::linecard::{CardEvent, CounterValues, Notify, PORTS_MAX, PortSettings};
use crate::port::{Capabilities, DeviceSettings, PortKind, TxSignal};
use crate::{LineStatus, MediaPort};

/// Commands that wait for a desk whose ring is full, or whose card is gone.
const WAITING_MAX: usize = 1_024;
/// A desk that was behind is told again after this.
const RETRY: Duration = Duration::from_millis(20);
/// Learned tones that nobody has taken; the oldest go.
const LEARNED_WAITING_MAX: usize = 64;
/// Notes that nobody has taken; the oldest go.
const NOTES_MAX: usize = 256;

/// What all analog lines have in common.
pub struct AnalogOptions {
    /// The devices by their names.
    pub devices: Vec<(String, DeviceSettings)>,
    /// The country's figures.
    pub plan: CountryPlan,
    /// The country's sounds.
    pub sounds: SoundPlan,
    /// Tones that lines were heard to end calls with, as they were told by
    /// [`try_learned`](super::AnalogLines::try_learned) once.
    pub learned_tones: Vec<LearnedTone>,
    /// Numbers of the box, which telephones dial without waiting.
    pub numbers: Vec<Number>,
    /// The local time, which telephones show beside a caller.
    pub local_time: fn() -> Option<LineTime>,
}

/// The settings of one analog line.
#[derive(Clone, PartialEq, Debug)]
pub enum AnalogSettings {
    /// A telephone.
    Phone(Box<FxsSettings>),
    /// A line of the exchange.
    Line(Box<FxoSettings>),
}

/// How a card or a modem stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CardStatus {
    /// Its name.
    pub name: String,
    /// Why it is not there; `None` when it is, and before that is known.
    pub fault: Option<DeviceFault>,
    /// It is there.
    pub is_present: bool,
    /// What went wrong so far.
    pub counters: CounterValues,
}

pub(super) enum Machine {
    Phone(Box<Fxs>),
    Line(Box<Fxo>),
}

impl Machine {
    fn handle(&mut self, now: Instant, input: Input) {
        match self {
            Self::Phone(machine) => machine.handle(now, input),
            Self::Line(machine) => machine.handle(now, input),
        }
    }

    fn poll(&mut self) -> Option<Output> {
        match self {
            Self::Phone(machine) => machine.poll(),
            Self::Line(machine) => machine.poll(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Phone(machine) => machine.poll_timeout(),
            Self::Line(machine) => machine.poll_timeout(),
        }
    }

    pub(super) const fn kind(&self) -> PortKind {
        match self {
            Self::Phone(_) => PortKind::Phone,
            Self::Line(_) => PortKind::Line,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        match self {
            Self::Phone(machine) => machine.standing(),
            Self::Line(machine) => machine.standing(),
        }
    }
}

pub(super) struct Line {
    pub(super) id: LineId,
    pub(super) port: PortName,
    pub(super) machine: Machine,
    /// Its place: card and port. None: the configuration names a card that is not there.
    pub(super) place: Option<(usize, usize)>,
    state: Result<(), DownReason>,
    /// What the desk was told to listen for.
    pub(super) listen: Listen,
    /// Number of the sound that was asked for last.
    pub(super) sound: u32,
    /// What the machine listens for and plays, also while the line is tried out.
    pub(super) wanted: (Listen, Sound),
    pub(super) trial: Option<Running>,
    watch: Watch,
    lessons: Lessons,
    measured: Option<Measured>,
    /// Legs with an endpoint.
    legs: Vec<LegId>,
    record: Option<oneshot::Sender<Box<LineRecord>>>,
    /// The line is being taken, and has no sound yet: what happens is told when it has.
    awaits_sound: bool,
    held: Vec<LineEvent>,
}

pub(super) struct CardLink {
    pub(super) name: String,
    pub(super) card: Device,
    pub(super) desk: DeskLink,
    waiting: VecDeque<DeskCommand>,
    pub(super) is_present: bool,
    /// What its ports can do.
    pub(super) ports: Vec<Capabilities>,
    pub(super) fault: Option<DeviceFault>,
}

impl CardLink {
    /// Which of its ports measure.
    pub(super) fn can_measure(&self, port: usize) -> bool {
        self.is_present && self.ports.get(port).is_some_and(|port| port.meter)
    }

    pub(super) fn tell(&mut self, command: DeskCommand) {
        if self.waiting.len() >= WAITING_MAX {
            tracing::error!(card = self.name, "the desk of the card takes no commands");
            return;
        }
        self.waiting.push_back(command);
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(command) = self.waiting.pop_front() {
            if let Err(rtrb::PushError::Full(command)) = self.desk.commands.push(command) {
                self.waiting.push_front(command);
                return;
            }
        }
    }
}

/// See the [module](self).
pub(super) struct Switchboard {
    pub(super) cards: Vec<CardLink>,
    pub(super) lines: Vec<Line>,
    pub(super) sounds: SoundPlan,
    local_time: fn() -> Option<LineTime>,
    media: MediaPort,
    pub(super) events: VecDeque<(LineId, LineEvent)>,
    pub(super) notes: VecDeque<(LegId, Note)>,
    /// Tones that were learned and nobody has taken.
    pub(super) learned: VecDeque<LearnedTone>,
    pub(super) happenings: Happenings,
    /// Measurements that were answered, refused ones too.
    pub(super) measurements: u64,
}

impl Switchboard {
    /// `wake` is written to when there is something to look at.
    pub(super) fn open(
        options: AnalogOptions,
        lines: Vec<(LineId, AnalogSettings)>,
        media: MediaPort,
        wake: &UnixDatagram,
    ) -> io::Result<Self> {
        let AnalogOptions { devices, plan, sounds, learned_tones, numbers, local_time } = options;
        let ears = EarPlan {
            tones: vec![
                (ToneKind::Dial, sounds.dial),
                (ToneKind::Ringback, sounds.ringback),
                (ToneKind::Busy, sounds.busy),
                (ToneKind::Congestion, sounds.congestion),
            ],
            learned: Vec::new(),
            learns: false,
            caller_id: plan.caller_id,
        };
        let country: Vec<ToneSpec> = ears.tones.iter().map(|(_, spec)| *spec).collect();
        let learned = |line: LineId| -> Vec<ToneSpec> {
            let of = learned_tones.iter().filter(|tone| tone.line == line);
            of.map(|tone| tone.spec).take(LEARNED_MAX).collect()
        };
        let mut opened = Vec::new();
        let plan_of = |name: &str, port: usize| {
            let mut plan =
                PortPlan { ears: ears.clone(), heard_gain_db: 0.0, played_gain_db: 0.0, leaves_echo: false };
            if let Some((id, line)) = lines.iter().find(|(_, line)| line.port_of(name) == Some(port)) {
                plan.ears.learns = matches!(line, AnalogSettings::Line(_));
                plan.ears.learned = learned(*id);
                let sound = line.sound();
                (plan.heard_gain_db, plan.played_gain_db) =
                    (sound.heard_gain_db.into(), sound.played_gain_db.into());
                plan.leaves_echo = sound.leaves_echo;
            }
            plan
        };
        for (name, settings) in devices {
            let (card, link) = Device::open(&name, settings, &lines, &plan, &plan_of, wake)?;
            opened.push(CardLink {
                name,
                card,
                desk: link,
                waiting: VecDeque::new(),
                is_present: false,
                ports: Vec::new(),
                fault: None,
            });
        }
        let lines = lines
            .into_iter()
            .map(|(id, settings)| Line {
                id,
                port: settings.port().clone(),
                place: opened.iter().enumerate().find_map(|(card, link)| {
                    settings.port_of(&link.name).filter(|port| *port < PORTS_MAX).map(|port| (card, port))
                }),
                machine: settings.machine(id, &plan, &numbers),
                state: Err(DownReason::NoDevice),
                listen: Listen::default(),
                sound: 0,
                wanted: (Listen::default(), Sound::Quiet),
                trial: None,
                lessons: Lessons::new(country.clone(), learned(id)),
                watch: Watch::default(),
                measured: None,
                legs: Vec::new(),
                record: None,
                awaits_sound: false,
                held: Vec::new(),
            })
            .collect();
        Ok(Self {
            cards: opened,
            lines,
            sounds,
            local_time,
            media,
            events: VecDeque::new(),
            notes: VecDeque::new(),
            learned: VecDeque::new(),
            happenings: Happenings::default(),
            measurements: 0,
        })
    }

    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let is_behind = self.cards.iter().any(|card| card.is_present && !card.waiting.is_empty());
        let retry = is_behind.then(|| now + RETRY);
        self.lines.iter().filter_map(Line::poll_timeout).chain(retry).min()
    }

    /// Asks the cards to measure at each line; gives the count of answers that tells that all have.
    pub(super) fn measure(&self) -> u64 {
        let asked = self.lines.iter().filter(|line| {
            let Some((card, port)) = line.place else { return false };
            let link = self.cards.get(card).filter(|link| link.can_measure(port));
            link.is_some_and(|link| link.card.meter(port).is_ok())
        });
        self.measurements + asked.count() as u64
    }

    /// How the port of each line stands.
    pub(super) fn ports(&self) -> Vec<PortStatus> {
        let of = |line: &Line| {
            let link = line.place.and_then(|(card, port)| Some((self.cards.get(card)?, port)));
            let Standing { legs, .. } = line.machine.standing();
            PortStatus {
                line: line.id,
                port: line.port.clone(),
                kind: line.machine.kind(),
                is_present: link.is_some_and(|(link, port)| {
                    let kind = link.ports.get(port).map(|capabilities| capabilities.kind);
                    link.is_present && kind == Some(line.machine.kind())
                }),
                device_fault: link.and_then(|(link, _)| link.fault).map(DeviceFault::code),
                down: line.state.err(),
                wire: line.wire(),
                legs,
                is_tried: line.trial.is_some(),
                last_caller: line.watch.last_caller.clone(),
                last_answer: line.watch.last_answer,
                last_end: line.watch.last_end,
                calls_in: line.watch.calls_in,
                calls_out: line.watch.calls_out,
                lost_facts: link.map_or(0, |(link, _)| link.desk.gauges.lost()),
                measured: line.measured,
                levels: link.map_or(Levels::SILENCE, |(link, port)| link.desk.gauges.levels(port)),
            }
        };
        self.lines.iter().map(of).collect()
    }

    pub(super) fn status(&self) -> Vec<LineStatus> {
        self.lines.iter().map(|line| LineStatus { line: line.id, state: line.state, contacts: 0 }).collect()
    }

    /// Whether a line could carry a further call now.
    pub(super) fn is_free(&self, line: LineId) -> bool {
        self.lines.iter().find(|known| known.id == line).is_some_and(|line| match &line.machine {
            Machine::Phone(_) => line.state.is_ok(),
            Machine::Line(machine) => machine.is_free(),
        })
    }

    pub(super) fn cards(&self) -> Vec<CardStatus> {
        self.cards
            .iter()
            .map(|link| CardStatus {
                name: link.name.clone(),
                fault: link.fault,
                is_present: link.is_present,
                counters: link.card.counters(),
            })
            .collect()
    }

    /// The leg that is joined with this one without a telephone.
    pub(super) fn patched(&self, leg: LegId) -> Option<LegId> {
        self.lines.iter().find_map(|line| match &line.machine {
            Machine::Phone(machine) => machine.patched(leg),
            Machine::Line(_) => None,
        })
    }

    // --- From the calls.

    pub(super) fn command(&mut self, now: Instant, line: LineId, command: LineCommand) {
        if let Some(at) = self.lines.iter().position(|known| known.id == line) {
            self.give(now, at, Input::Command(command));
        }
    }

    pub(super) fn messages_waiting(&mut self, now: Instant, line: LineId, waiting: bool) {
        if let Some(at) = self.lines.iter().position(|known| known.id == line) {
            self.give(now, at, Input::MessagesWaiting(waiting));
        }
    }

    /// The last minute of a wire, for whoever waits for it.
    pub(super) fn save(&mut self, line: LineId, answer: oneshot::Sender<Box<LineRecord>>) {
        let Some(line) = self.lines.iter_mut().find(|known| known.id == line) else { return };
        let Some((card, port)) = line.place else { return };
        // Also of a device that is gone: what was heard last may say why.
        if let Some(link) = self.cards.get_mut(card) {
            line.record = Some(answer);
            link.tell(DeskCommand::Save { port, record: Box::default() });
        }
    }

    // --- From the cards.

    /// Takes whatever the cards have said, and does what is due.
    pub(super) fn look(&mut self, now: Instant) {
        for card in 0..self.cards.len() {
            while let Some(event) = self.cards.get(card).and_then(|link| link.card.event()) {
                match event {
                    DeviceEvent::Card(event) => self.card_event(now, card, event),
                    DeviceEvent::Modem(event) => self.modem_event(now, card, event),
                }
            }
            while let Some(fact) = self.cards.get_mut(card).and_then(|link| link.desk.facts.pop().ok()) {
                self.desk_fact(now, card, fact);
            }
            if let Some(link) = self.cards.get_mut(card) {
                link.flush();
            }
        }
        for at in 0..self.lines.len() {
            let due = self.lines.get(at).and_then(Line::poll_timeout);
            if due.is_some_and(|due| due <= now) {
                self.trial_due(now, at);
                self.give(now, at, Input::Timeout);
            }
        }
    }

    /// Keeps what happened at a line.
    pub(super) fn happened(&mut self, at: usize, what: Option<What>) {
        if let (Some(line), Some(what)) = (self.lines.get(at), what) {
            self.happenings.add(SystemTime::now(), line.id, what);
        }
    }

    pub(super) fn line_at(&self, card: usize, port: usize) -> Option<usize> {
        self.lines.iter().position(|line| line.place == Some((card, port)))
    }

    fn card_event(&mut self, now: Instant, card: usize, event: CardEvent) {
        let Some(link) = self.cards.get_mut(card) else { return };
        match event {
            CardEvent::Present(info) => {
                (link.is_present, link.fault) = (true, None);
                link.ports.clone_from(&info.ports);
                tracing::info!(
                    card = link.name,
                    model = info.model,
                    firmware = info.firmware,
                    "card is there"
                );
                self.present(now, card, &info.ports);
            }
            CardEvent::Gone(fault) => {
                (link.is_present, link.fault) = (false, Some(fault.into()));
                tracing::warn!(card = link.name, code = fault.code(), %fault, "card is not there");
                self.gone(now, card);
            }
            CardEvent::Signal { port, signal, .. } => {
                if let Some(at) = self.line_at(card, port) {
                    self.give(now, at, Input::Signal(signal));
                }
            }
            CardEvent::Refused { port, signal, refusal } => {
                // A receiver that was lifted meanwhile, for one, cannot be rung.
                tracing::debug!(card = link.name, port = port + 1, ?signal, ?refusal, "the card refused");
                if let Some(at) = self.line_at(card, port) {
                    if signal.is_none() {
                        self.measurements += 1;
                        self.trial_measured(now, at, None);
                    }
                    self.happened(at, Some(What::Refused(signal)));
                }
            }
            CardEvent::Hot(is_hot) => tracing::warn!(card = link.name, is_hot, "temperature of the card"),
            CardEvent::Reading { port, reading } => {
                self.measurements += 1;
                if let Some(at) = self.line_at(card, port) {
                    if let Some(line) = self.lines.get_mut(at) {
                        line.measured = Some(Measured { at: SystemTime::now(), reading });
                    }
                    self.trial_measured(now, at, Some(reading));
                }
            }
        }
    }

    pub(super) fn present(&mut self, now: Instant, card: usize, ports: &[Capabilities]) {
        for at in 0..self.lines.len() {
            let Some(line) = self.lines.get_mut(at) else { continue };
            let Some((_, port)) = line.place.filter(|(of, _)| *of == card) else { continue };
            match ports.get(port) {
                Some(capabilities) if capabilities.kind == line.machine.kind() => {
                    if let Machine::Phone(machine) = &mut line.machine {
                        machine.set_capabilities(*capabilities);
                    }
                    self.give(now, at, Input::Present);
                }
                other => {
                    let reason = if other.is_some() { DownReason::WrongPort } else { DownReason::NoPort };
                    if line.state != Err(reason) {
                        line.state = Err(reason);
                        self.events.push_back((line.id, LineEvent::Down(reason)));
                    }
                }
            }
        }
    }

    pub(super) fn gone(&mut self, now: Instant, card: usize) {
        for at in 0..self.lines.len() {
            let Some(line) = self.lines.get_mut(at) else { continue };
            let Some((_, port)) = line.place.filter(|(of, _)| *of == card) else { continue };
            // The machine forgets what it has asked for, and so must the desk.
            line.listen = Listen::default();
            line.sound = line.sound.wrapping_add(1);
            line.wanted = (Listen::default(), Sound::Quiet);
            line.measured = None;
            line.awaits_sound = false;
            let number = line.sound;
            self.give(now, at, Input::Gone);
            if let Some(link) = self.cards.get_mut(card) {
                link.tell(DeskCommand::Say { port, number, script: Script::Quiet });
                link.tell(DeskCommand::Listen { port, listen: Listen::default() });
            }
        }
    }

    fn desk_fact(&mut self, now: Instant, card: usize, fact: DeskFact) {
        match fact {
            DeskFact::Heard { port, fact } => {
                let Some(at) = self.line_at(card, port) else { return };
                if let Fact::CallEnded(repeated) = fact {
                    return self.call_ended(at, repeated);
                }
                let listens = self.lines.get(at).is_some_and(|line| fact.is_for(line.listen));
                if let Some(heard) = fact.heard().filter(|_| listens) {
                    self.give(now, at, Input::Heard(heard));
                }
            }
            DeskFact::SoundEnded { port, number } => {
                let Some(at) = self.line_at(card, port) else { return };
                // Of another sound than the last nobody wants to know.
                if self.lines.get(at).is_some_and(|line| line.sound == number) {
                    self.give(now, at, Input::SoundEnded);
                }
            }
            DeskFact::Saved { port, record } => {
                let at = self.line_at(card, port);
                let line = at.and_then(|at| self.lines.get_mut(at));
                if let Some(answer) = line.and_then(|line| line.record.take()) {
                    // Whoever asked may have gone.
                    let _ = answer.send(record);
                }
            }
            DeskFact::Spent(_) | DeskFact::Unlearned(_) => {}
        }
    }

    /// The sound of a call is over: a line may have learned from it.
    fn call_ended(&mut self, at: usize, repeated: Option<Repeated>) {
        let Some(line) = self.lines.get_mut(at) else { return };
        let Some(spec) = line.lessons.call_ended(repeated) else { return };
        let learned = LearnedTone { line: line.id, spec };
        let detector = LearnedDetector::new(line.lessons.known());
        if let Some((card, port)) = line.place
            && let Some(link) = self.cards.get_mut(card)
        {
            link.tell(DeskCommand::Learn { port, detector });
        }
        tracing::info!(line = line.id.0, tone = %learned, "the line ends calls with this tone");
        if self.learned.len() >= LEARNED_WAITING_MAX {
            self.learned.pop_front();
        }
        self.learned.push_back(learned.clone());
        self.happened(at, Some(What::Learned(learned)));
    }

    // --- What the machines want.

    pub(super) fn give(&mut self, now: Instant, at: usize, input: Input) {
        let clock = SystemTime::now();
        if let Some(line) = self.lines.get_mut(at) {
            let what = line.watch.input(clock, &input);
            self.happened(at, what);
        }
        if self.is_for_trial(now, at, &input) {
            return;
        }
        let Some(line) = self.lines.get_mut(at) else { return };
        line.machine.handle(now, input);
        while let Some(output) = line.machine.poll() {
            line.lessons.output(&output);
            if let Some(what) = line.watch.output(clock, &output, self.sounds.caller_id) {
                self.happenings.add(clock, line.id, what);
            }
            let link = line.place.and_then(|(card, port)| Some((self.cards.get_mut(card)?, port)));
            match output {
                Output::Signal(signal) => {
                    if let Some((link, port)) = link {
                        if signal == TxSignal::OffHook {
                            line.awaits_sound = link.card.says_when_sound_begins();
                        } else if signal == TxSignal::OnHook {
                            line.awaits_sound = false;
                        }
                        signal_out(link, port, signal);
                    }
                }
                Output::Sound(sound) => {
                    line.wanted.1 = sound.clone();
                    // What is tried out is heard first.
                    if line.trial.is_some() {
                        continue;
                    }
                    line.sound = line.sound.wrapping_add(1);
                    let time = says_time(&sound).then(self.local_time).flatten();
                    let script = self.sounds.script(&sound, time);
                    if let Some((link, port)) = link {
                        link.tell(DeskCommand::Say { port, number: line.sound, script });
                    }
                }
                Output::Listen(listen) => {
                    line.wanted.0 = listen;
                    if line.trial.as_ref().is_some_and(Running::listens) {
                        continue;
                    }
                    line.listen = listen;
                    if let Some((link, port)) = link {
                        link.tell(DeskCommand::Listen { port, listen });
                    }
                }
                Output::Join(leg) => {
                    if let Some((link, port)) = link {
                        attach(&mut line.legs, leg, link, port, &self.media);
                        link.tell(DeskCommand::Join { port, leg, joined: true });
                    }
                }
                Output::Part(leg) => {
                    if let Some((link, port)) = link {
                        link.tell(DeskCommand::Join { port, leg, joined: false });
                    }
                }
                Output::Patch(first, second) => {
                    let (near, far) = patch(Rate::Narrow);
                    for (leg, endpoint) in [(first, near), (second, far)] {
                        self.media.send(Command::Replace { leg, endpoint });
                    }
                    if let Some((link, port)) = link {
                        link.tell(DeskCommand::Detach { port, leg: first });
                        link.tell(DeskCommand::Detach { port, leg: second });
                    }
                }
                Output::Note(leg, note) => {
                    tracing::debug!(line = line.id.0, %leg, ?note, "noted");
                    if self.notes.len() >= NOTES_MAX {
                        self.notes.pop_front();
                    }
                    self.notes.push_back((leg, note));
                }
                Output::Line(event) => {
                    match &event {
                        LineEvent::Up => line.state = Ok(()),
                        LineEvent::Down(reason) => line.state = Err(*reason),
                        LineEvent::Released { leg, .. } => {
                            if let Some(known) = line.legs.iter().position(|known| known == leg) {
                                line.legs.swap_remove(known);
                                self.media.send(Command::Detach { leg: *leg });
                                if let Some((link, port)) = link {
                                    link.tell(DeskCommand::Detach { port, leg: *leg });
                                }
                            }
                        }
                        // From here on the calls may play to it and record it.
                        LineEvent::Offered(offer) => {
                            if let Some((link, port)) = link {
                                attach(&mut line.legs, offer.leg, link, port, &self.media);
                            }
                        }
                        LineEvent::Alerting { leg, .. } | LineEvent::Answered { leg, .. } => {
                            if let Some((link, port)) = link {
                                attach(&mut line.legs, *leg, link, port, &self.media);
                            }
                        }
                        LineEvent::Digit { .. }
                        | LineEvent::Held { .. }
                        | LineEvent::Refer { .. }
                        | LineEvent::Transferring { .. }
                        | LineEvent::Replaced { .. }
                        | LineEvent::Referred { .. }
                        | LineEvent::Signalled { .. } => {}
                    }
                    line.held.push(event);
                }
            }
        }
        if !line.awaits_sound {
            self.events.extend(line.held.drain(..).map(|event| (line.id, event)));
        }
    }

    /// A line that was taken has sound now.
    pub(super) fn sound_began(&mut self, at: usize) {
        let Some(line) = self.lines.get_mut(at) else { return };
        line.awaits_sound = false;
        self.events.extend(line.held.drain(..).map(|event| (line.id, event)));
    }
}

/// Gives a leg its endpoint, if it has none.
fn attach(legs: &mut Vec<LegId>, leg: LegId, link: &mut CardLink, port: usize, media: &MediaPort) {
    if legs.contains(&leg) {
        return;
    }
    legs.push(leg);
    let (endpoint, sound) = leg_sound();
    link.tell(DeskCommand::Attach { port, leg, sound });
    media.send(Command::attach(leg, Box::new(endpoint)));
    // Keys come in the sound alone.
    media.send(Command::Listen { leg, inband: true });
}

pub(super) fn signal_out(link: &CardLink, port: usize, signal: TxSignal) {
    if link.card.signal(port, signal).is_err() {
        tracing::error!(card = link.name, port = port + 1, "the card is behind with what it was told");
    }
}

/// Whether a sound tells the time.
const fn says_time(sound: &Sound) -> bool {
    matches!(sound, Sound::CallerId(_) | Sound::WaitingCallerId(_))
}

/// Something that wakes the main thread, for another one.
pub(super) fn waker(wake: &UnixDatagram) -> io::Result<Notify> {
    let wake = wake.try_clone()?;
    Ok(Box::new(move || {
        // A full socket is a thread that is awake already.
        let _ = wake.send(&[1]);
    }))
}

impl AnalogSettings {
    /// Where it is plugged in.
    #[must_use]
    pub const fn port(&self) -> &PortName {
        match self {
            Self::Phone(settings) => &settings.port,
            Self::Line(settings) => &settings.port,
        }
    }

    const fn sound(&self) -> SoundSettings {
        match self {
            Self::Phone(settings) => settings.sound,
            Self::Line(settings) => settings.sound,
        }
    }

    /// Which port of this card it is at, from 0.
    pub(super) fn port_of(&self, card: &str) -> Option<usize> {
        let port = self.port();
        (port.device == card).then(|| usize::from(port.number).checked_sub(1)).flatten()
    }

    /// What the card must know of it, where it is not set.
    pub(super) fn set_port(&self, plan: &CountryPlan, port: &mut PortSettings) {
        match self {
            Self::Phone(_) => {
                port.flash_min_ms.get_or_insert(*plan.flash_ms.start());
                port.flash_max_ms.get_or_insert(*plan.flash_ms.end());
            }
            Self::Line(settings) => {
                port.impedance.get_or_insert(plan.impedance);
                port.break_min_ms.get_or_insert(settings.loop_break_min_ms);
            }
        }
    }

    fn machine(self, id: LineId, plan: &CountryPlan, numbers: &[Number]) -> Machine {
        match self {
            Self::Phone(settings) => {
                // Until the card says what it can do.
                let capabilities = Capabilities {
                    kind: PortKind::Phone,
                    reversal: false,
                    loop_break: false,
                    on_hook_audio: false,
                    battery: false,
                    meter: false,
                    lamp: false,
                };
                Machine::Phone(Box::new(Fxs::new(id, *settings, plan.clone(), numbers, capabilities)))
            }
            Self::Line(settings) => Machine::Line(Box::new(Fxo::new(id, *settings, plan.clone()))),
        }
    }
}
