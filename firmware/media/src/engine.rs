//! The engine: legs and the tick that moves their audio.
//!
//! Time is cut into slots of 5 ms. A leg lives in one of four phases, so that each
//! slot carries a quarter of the legs and each leg is served every 20 ms. A leg that
//! begins to send is put into the phase of the slot that begins, so that its first
//! frame leaves at once; one that begins between two slots sends its first frame there
//! and then, and belongs to the slot before.
//!
//! **Architecture invariant:** the tick allocates nothing, frees nothing, takes no
//! lock, reads no clock and waits for nothing. Legs, prompts, rings and codecs come
//! boxed in commands; what is no longer needed goes back in events.

mod relay;
mod wiring;

use std::{os::fd::BorrowedFd, sync::Arc, time::Instant};

use rtrb::{Consumer, Producer, RingBuffer};
use tipring_model::{Digit, DigitPath, Digits, LegId, PlayId, RecordId};

use crate::{
    command::{Command, Event, RecordWhat, Refusal, Returned, Spent},
    dsp::{
        dtmf_detect::{self, DtmfDetector, Heard},
        resample,
    },
    endpoint::{Endpoint, Received},
    frame::Frame,
    leg::{Leg, RECORDS_MAX, Recording, Watch},
    play::{Given, PLAYS_MAX, Playing},
    rtp::{RtpUpdate, packet::PACKET_BYTES_MAX, telephone_event::Press},
    wake::{CommandSender, EventReceiver, Wake},
};

/// Length of a slot, in milliseconds.
pub const SLOT_MS: u64 = 5;
/// Slots in 20 ms.
const PHASES: usize = 4;
/// How many legs more than the emptiest a phase may have and still take another: the
/// calls of a rush that keeps time with our slots would else wait for later ones. So
/// many frames take a fraction of a millisecond to send.
const CROWDING: usize = 64;
/// Commands carried out in one slot; the others wait for the next.
const COMMANDS_PER_SLOT: usize = 512;
/// Free places in the event ring below which no command is carried out: no command
/// causes more events than this.
const EVENTS_RESERVE: usize = PLAYS_MAX + RECORDS_MAX + 4;
/// Datagrams read from one socket in one slot at most.
const DRAIN_MAX: u32 = 16;

/// How much an engine is built for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Legs at once.
    pub legs_max: usize,
    /// Commands that can wait.
    pub commands_max: usize,
    /// Events that can wait.
    pub events_max: usize,
}

impl Default for Limits {
    /// 64 legs, 1,024 commands, 4,096 events.
    fn default() -> Self {
        Self { legs_max: 64, commands_max: 1_024, events_max: 4_096 }
    }
}

/// Totals of one engine since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Slots gone through.
    pub slots: u64,
    /// Legs attached now.
    pub legs: usize,
    /// Packets relayed untouched.
    pub relayed: u64,
    /// Packets passed on in another codec.
    pub converted: u64,
    /// Digits and silences not told because the event ring was full, and digits not
    /// passed on because the hearer had too much to play.
    pub events_dropped: u64,
}

/// Who watches the sockets. `quick` ones wake the thread at once, for relaying.
pub(crate) trait SocketSet: Send {
    fn add(&mut self, place: usize, socket: BorrowedFd<'_>);
    fn remove(&mut self, socket: BorrowedFd<'_>, quick: bool);
    fn set_quick(&mut self, place: usize, socket: BorrowedFd<'_>, quick: bool);
}

/// Nobody: sockets are read by [`Engine::drain`].
struct NoSockets;

impl SocketSet for NoSockets {
    fn add(&mut self, _: usize, _: BorrowedFd<'_>) {}
    fn remove(&mut self, _: BorrowedFd<'_>, _: bool) {}
    fn set_quick(&mut self, _: usize, _: BorrowedFd<'_>, _: bool) {}
}

/// All legs of one shard.
pub struct Engine {
    legs: Vec<Option<Box<Leg>>>,
    free: Vec<usize>,
    /// Where each leg is, sorted by leg.
    index: Vec<(LegId, usize)>,
    phases: [Vec<usize>; PHASES],
    commands: Consumer<Command>,
    events: Outbox,
    sockets: Box<dyn SocketSet>,
    pub(crate) wake: Arc<Wake>,
    datagram: Box<[u8]>,
    slots: u64,
    relayed: u64,
    converted: u64,
    /// What a packet decodes to on its way to another codec.
    samples: Box<[i16]>,
    /// Commands are being carried out between two slots.
    between: bool,
    /// Legs that began to send there.
    begun: Vec<usize>,
}

/// The near end of the event ring.
struct Outbox {
    ring: Producer<Event>,
    pushed: bool,
    dropped: u64,
}

impl Outbox {
    /// Tells something that must be told; the caller has seen to it that there is room.
    fn tell(&mut self, event: Event) {
        let pushed = self.ring.push(event);
        debug_assert!(pushed.is_ok(), "room in the event ring is kept for this");
        self.pushed = true;
    }

    /// Tells something that is dropped when the ring is nearly full.
    fn mention(&mut self, event: Event) {
        if self.ring.slots() > EVENTS_RESERVE {
            self.tell(event);
        } else {
            self.dropped += 1;
        }
    }

    fn refuse(&mut self, leg: LegId, why: Refusal, spent: Spent) {
        self.tell(Event::Refused { leg, why, returned: spent.into() });
    }

    fn played(&mut self, leg: LegId, playing: Playing, completed: bool) {
        let Some(play) = playing.play else {
            // A digit passed on: nobody asked, and there is nothing to free.
            return;
        };
        self.tell(Event::Played {
            leg,
            play,
            completed,
            played_ms: playing.played_ms(),
            returned: playing.into_spent().into(),
        });
    }

    fn recorded(&mut self, leg: LegId, recording: Recording, refused: Option<Refusal>) {
        self.tell(Event::RecordEnded {
            leg,
            record: recording.record,
            frames: recording.frames,
            dropped: recording.dropped,
            refused,
            returned: Spent::Sink(recording.sink).into(),
        });
    }
}

impl Engine {
    /// Allocates everything that the engine will ever need, and the rings.
    #[must_use]
    pub fn new(limits: Limits) -> (Self, CommandSender, EventReceiver) {
        dtmf_detect::prepare();
        resample::prepare();
        let (command_in, commands) = RingBuffer::new(limits.commands_max.max(1));
        let (events, event_out) = RingBuffer::new(limits.events_max.max(2 * EVENTS_RESERVE));
        let wake = Arc::new(Wake::default());
        let legs_max = limits.legs_max.max(1);
        let engine = Self {
            legs: (0..legs_max).map(|_| None).collect(),
            free: (0..legs_max).rev().collect(),
            index: Vec::with_capacity(legs_max),
            phases: core::array::from_fn(|_| Vec::with_capacity(legs_max)),
            commands,
            events: Outbox { ring: events, pushed: false, dropped: 0 },
            sockets: Box::new(NoSockets),
            wake: Arc::clone(&wake),
            datagram: vec![0; PACKET_BYTES_MAX + 1].into(),
            slots: 0,
            relayed: 0,
            converted: 0,
            samples: vec![0; relay::SAMPLES_MAX].into(),
            between: false,
            begun: Vec::with_capacity(legs_max),
        };
        let sender = CommandSender { ring: command_in, wake: Arc::clone(&wake) };
        let receiver = EventReceiver { ring: event_out, wake };
        (engine, sender, receiver)
    }

    pub(crate) fn set_sockets(&mut self, sockets: Box<dyn SocketSet>) {
        self.sockets = sockets;
    }

    /// Goes through one slot. To be called every 5 ms.
    pub fn tick(&mut self, now: Instant) {
        self.slots += 1;
        self.take_commands(now);
        let phase = self.phase();
        for at in 0..self.phases[phase].len() {
            self.receive(now, self.phases[phase][at]);
        }
        for at in 0..self.phases[phase].len() {
            self.transmit(now, self.phases[phase][at]);
        }
    }

    /// Carries out the commands that wait, between two slots, and lets the legs that
    /// begin to send do so at once instead of in the next slot.
    pub fn begin_early(&mut self, now: Instant) {
        self.between = true;
        self.take_commands(now);
        self.between = false;
        while let Some(place) = self.begun.pop() {
            // It may have gone again, and another come to its place.
            let begins = self.legs[place].as_mut().is_some_and(|leg| core::mem::take(&mut leg.begins));
            if begins {
                self.transmit(now, place);
            }
        }
    }

    /// True while no leg is attached: there is no need to tick.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.index.is_empty()
    }

    /// True if a command waits.
    #[must_use]
    pub fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// Whether events were told since the last call.
    pub(crate) fn take_pushed(&mut self) -> bool {
        core::mem::take(&mut self.events.pushed)
    }

    /// The totals.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            slots: self.slots,
            legs: self.index.len(),
            relayed: self.relayed,
            converted: self.converted,
            events_dropped: self.events.dropped,
        }
    }

    /// Reads every socket, for those who run an engine without a
    /// [`MediaThread`](crate::MediaThread). To be called before each tick.
    pub fn drain(&mut self, now: Instant) {
        for place in 0..self.legs.len() {
            let relays = match &self.legs[place] {
                Some(leg) => leg.relays_to.is_some(),
                None => continue,
            };
            if relays {
                for _ in 0..DRAIN_MAX {
                    if !self.relay(now, place) {
                        break;
                    }
                }
            } else if let Some(leg) = &mut self.legs[place] {
                leg.endpoint.drain(now, DRAIN_MAX as usize);
            }
        }
    }

    /// The socket at `place` is readable, at the beginning of a slot. Reads one
    /// datagram, and twice as many for each slot in a row in which some waited: that
    /// spares most legs the read that finds nothing.
    pub(crate) fn drain_ready(&mut self, now: Instant, place: usize) {
        if let Some(Some(leg)) = self.legs.get_mut(place) {
            let in_a_row = leg.drained == self.slots;
            leg.drained = self.slots + 1;
            leg.quota = if in_a_row { (leg.quota * 2).min(DRAIN_MAX) } else { 1 };
            leg.endpoint.drain(now, leg.quota as usize);
        }
    }

    const fn phase(&self) -> usize {
        self.slots as usize % PHASES
    }

    fn place(&self, leg: LegId) -> Option<usize> {
        let at = self.index.binary_search_by_key(&leg, |(id, _)| *id).ok()?;
        Some(self.index[at].1)
    }

    fn leg_mut(&mut self, leg: LegId) -> Option<(usize, &mut Leg)> {
        let place = self.place(leg)?;
        self.legs[place].as_deref_mut().map(|leg| (place, leg))
    }

    fn take_commands(&mut self, now: Instant) {
        for _ in 0..COMMANDS_PER_SLOT {
            if self.events.ring.slots() <= EVENTS_RESERVE {
                return;
            }
            match self.commands.pop() {
                Ok(command) => self.carry_out(now, command),
                Err(rtrb::PopError::Empty) => return,
            }
        }
    }

    fn carry_out(&mut self, now: Instant, command: Command) {
        match command {
            Command::Attach(leg) => self.attach(leg.0),
            Command::Detach { leg } => self.detach(leg),
            Command::Update { leg, update } => self.update(now, leg, update),
            Command::Replace { leg, endpoint } => self.replace(leg, endpoint),
            Command::Connect { from, to } => self.connect(from, to),
            Command::Disconnect { from, to } => self.disconnect(from, to),
            Command::Play { leg, play, source, loops } => self.play(leg, Playing::new(play, source, loops)),
            Command::StopPlay { leg, play } => self.stop_play(leg, play),
            Command::SuspendPlay { leg, play, still } => {
                // One that is over needs no rest.
                if let Some((_, leg)) = self.leg_mut(leg) {
                    leg.plays.suspend(play, still);
                }
            }
            Command::SendDigits { leg, play, digits, on_ms, gap_ms } => {
                self.send_digits(leg, play, digits, on_ms, gap_ms)
            }
            Command::Record { leg, record, what, sink } => self.record(leg, record, what, sink),
            Command::StopRecord { leg, record } => self.stop_record(leg, record),
            Command::Listen { leg, inband } => self.listen(leg, inband),
            Command::Watch { leg, silent } => match self.leg_mut(leg) {
                Some((_, leg)) => {
                    leg.watch = silent.map(|allowed| Watch { allowed, from: now, told: None });
                }
                None => self.events.refuse(leg, Refusal::NoLeg, Spent::Nothing),
            },
        }
    }

    fn attach(&mut self, mut leg: Box<Leg>) {
        let id = leg.id;
        let at = match self.index.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(_) => {
                return self.events.refuse(id, Refusal::LegTaken, Spent::Leg(leg));
            }
            Err(at) => at,
        };
        let Some(place) = self.free.pop() else {
            return self.events.refuse(id, Refusal::LegsFull, Spent::Leg(leg));
        };
        self.index.insert(at, (id, place));
        leg.endpoint.listen(false);
        if let Some(socket) = leg.endpoint.socket() {
            self.sockets.add(place, socket);
        }
        self.legs[place] = Some(leg);
        let phase = self.roomiest_phase();
        self.enter_phase(place, phase);
    }

    fn detach(&mut self, id: LegId) {
        let Some(place) = self.place(id) else {
            return self.events.refuse(id, Refusal::NoLeg, Spent::Nothing);
        };
        let (sources, hearers) = match &self.legs[place] {
            Some(leg) => (leg.sources, leg.hearers),
            None => return,
        };
        for from in sources.iter() {
            self.cut(from, place);
        }
        for to in hearers.iter() {
            self.cut(place, to);
        }
        self.leave_phase(place);
        let Some(mut leg) = self.legs[place].take() else {
            return;
        };
        self.index.retain(|(other, _)| *other != id);
        self.free.push(place);
        while let Some(playing) = leg.plays.pop() {
            self.events.played(id, playing, false);
        }
        for recording in leg.records.drain(..) {
            self.events.recorded(id, recording, None);
        }
        if let Some(socket) = leg.endpoint.socket() {
            self.sockets.remove(socket, false);
        }
        self.events.tell(Event::Detached {
            leg: id,
            stats: leg.counted.unwrap_or_else(|| leg.endpoint.stats()),
            returned: Spent::Leg(leg).into(),
        });
    }

    fn update(&mut self, now: Instant, id: LegId, mut update: Box<RtpUpdate>) {
        let Some((place, leg)) = self.leg_mut(id) else {
            return self.events.refuse(id, Refusal::NoLeg, Spent::Update(update));
        };
        leg.endpoint.update(now, &mut update);
        leg.take_rate();
        self.rewire(place);
        self.events.tell(Event::Returned(Spent::Update(update).into()));
    }

    fn replace(&mut self, id: LegId, endpoint: Box<dyn Endpoint>) {
        let Some(place) = self.place(id) else {
            return self.events.refuse(id, Refusal::NoLeg, Spent::Endpoint(endpoint));
        };
        let Some(leg) = &mut self.legs[place] else { return };
        let quick = leg.relays_to.is_some();
        let old = core::mem::replace(&mut leg.endpoint, endpoint);
        leg.counted.get_or_insert_with(|| old.stats());
        leg.events_heard = false;
        leg.take_rate();
        if let Some(socket) = old.socket() {
            self.sockets.remove(socket, quick);
        }
        if let Some(socket) = leg.endpoint.socket() {
            self.sockets.add(place, socket);
            if quick {
                self.sockets.set_quick(place, socket, true);
            }
        }
        self.rewire(place);
        self.events.tell(Event::Returned(Spent::Endpoint(old).into()));
    }

    fn connect(&mut self, from: LegId, to: LegId) {
        let (Some(speaker), Some(hearer)) = (self.place(from), self.place(to)) else {
            let absent = if self.place(from).is_none() { from } else { to };
            return self.events.refuse(absent, Refusal::NoLeg, Spent::Nothing);
        };
        let full = |full: bool, known: bool| full && !known;
        let refused = match (&self.legs[speaker], &self.legs[hearer]) {
            (Some(a), Some(b)) => {
                speaker == hearer
                    || full(a.hearers.is_full(), a.hearers.contains(hearer))
                    || full(b.sources.is_full(), b.sources.contains(speaker))
            }
            (None, _) | (_, None) => true,
        };
        if refused {
            return self.events.refuse(to, Refusal::SourcesFull, Spent::Nothing);
        }
        let before = self.sends(hearer);
        if let Some(leg) = &mut self.legs[speaker] {
            leg.hearers.insert(hearer);
        }
        if let Some(leg) = &mut self.legs[hearer] {
            leg.sources.insert(speaker);
        }
        if !before {
            self.rephase(hearer);
        }
        self.rewire(hearer);
        // Whoever heard the speaker alone until now no longer does.
        self.rewire(speaker);
    }

    fn disconnect(&mut self, from: LegId, to: LegId) {
        if let (Some(from), Some(to)) = (self.place(from), self.place(to)) {
            self.cut(from, to);
        }
    }

    /// Ends the path between two places.
    fn cut(&mut self, from: usize, to: usize) {
        if let Some(leg) = &mut self.legs[from] {
            leg.hearers.remove(to);
        }
        if let Some(leg) = &mut self.legs[to] {
            leg.sources.remove(from);
        }
        self.rewire(to);
        self.rewire(from);
    }

    fn play(&mut self, id: LegId, playing: Playing) {
        let Some((place, leg)) = self.leg_mut(id) else {
            self.events.played(id, playing, false);
            return self.events.refuse(id, Refusal::NoLeg, Spent::Nothing);
        };
        let before = leg.sends();
        if let Some(playing) = leg.plays.push(playing) {
            self.events.played(id, playing, false);
            return self.events.refuse(id, Refusal::PlaysFull, Spent::Nothing);
        }
        if !before {
            self.rephase(place);
        }
        self.rewire(place);
    }

    fn send_digits(&mut self, id: LegId, play: PlayId, digits: Digits, on_ms: u16, gap_ms: u16) {
        self.play(id, Playing::digits(play, digits, on_ms, gap_ms));
    }

    fn stop_play(&mut self, id: LegId, play: PlayId) {
        // A play that ended meanwhile has told so already.
        if let Some((place, leg)) = self.leg_mut(id)
            && let Some(playing) = leg.plays.remove(play)
        {
            self.events.played(id, playing, false);
            self.rewire(place);
        }
    }

    fn record(&mut self, id: LegId, record: RecordId, what: RecordWhat, sink: Producer<Frame>) {
        let recording = Recording { record, what, sink, frames: 0, dropped: 0 };
        let Some((place, leg)) = self.leg_mut(id) else {
            self.events.recorded(id, recording, Some(Refusal::NoLeg));
            return self.events.refuse(id, Refusal::NoLeg, Spent::Nothing);
        };
        if leg.records.len() < RECORDS_MAX {
            leg.records.push(recording);
            self.rewire(place);
        } else {
            self.events.recorded(id, recording, Some(Refusal::RecordsFull));
            self.events.refuse(id, Refusal::RecordsFull, Spent::Nothing);
        }
    }

    fn stop_record(&mut self, id: LegId, record: RecordId) {
        if let Some((place, leg)) = self.leg_mut(id)
            && let Some(at) = leg.records.iter().position(|running| running.record == record)
        {
            let recording = leg.records.swap_remove(at);
            self.events.recorded(id, recording, None);
            self.rewire(place);
        }
    }

    fn listen(&mut self, id: LegId, inband: bool) {
        let Some((place, leg)) = self.leg_mut(id) else {
            return self.events.refuse(id, Refusal::NoLeg, Spent::Nothing);
        };
        match (inband, leg.detector.is_some()) {
            (true, false) => leg.detector = Some(DtmfDetector::new(leg.endpoint.rate())),
            (false, true) => leg.detector = None,
            (true, true) | (false, false) => {}
        }
        self.rewire(place);
    }

    fn sends(&self, place: usize) -> bool {
        self.legs[place].as_ref().is_some_and(|leg| leg.sends())
    }

    /// The receiving half of a leg's 20 ms.
    fn receive(&mut self, now: Instant, place: usize) {
        let Some(leg) = &mut self.legs[place] else {
            return;
        };
        let id = leg.id;
        let events = &mut self.events;
        let mut first_event = false;
        let mut pressed = None;
        while let Some(press) = leg.endpoint.poll_press(now) {
            first_event |= !leg.events_heard;
            leg.events_heard = true;
            if let Press::Ended { digit, duration_ms } = press {
                // One hand presses one key in 20 ms.
                pressed = Some((digit, duration_ms));
            }
            events.mention(match press {
                Press::Began(digit) => Event::DigitBegan { leg: id, digit, how: DigitPath::Rfc4733 },
                Press::Ended { digit, duration_ms } => {
                    Event::Digit { leg: id, digit, how: DigitPath::Rfc4733, duration_ms }
                }
            });
        }
        if let Some(watch) = &mut leg.watch {
            if leg.endpoint.may_be_silent() {
                watch.from = now;
            }
            let heard = leg.endpoint.last_heard();
            let silent =
                now.saturating_duration_since(heard.map_or(watch.from, |heard| heard.max(watch.from)));
            match watch.told {
                None if silent >= watch.allowed => {
                    watch.told = Some(now);
                    let silent_ms = u32::try_from(silent.as_millis()).unwrap_or(u32::MAX);
                    events.mention(Event::NoMedia { leg: id, silent_ms });
                }
                Some(told) if heard.is_some_and(|heard| heard > told) => {
                    watch.told = None;
                    events.mention(Event::MediaBack { leg: id });
                }
                Some(_) | None => {}
            }
        }
        if leg.sound_needed() {
            let received = leg.endpoint.receive(now, &mut leg.heard);
            if leg.other_needed {
                leg.heard_converter.convert(&leg.heard, &mut leg.heard_other);
            }
            if let (Some(detector), false) = (&mut leg.detector, leg.events_heard) {
                let tell = |heard| {
                    events.mention(match heard {
                        Heard::Began(digit) => Event::DigitBegan { leg: id, digit, how: DigitPath::InBand },
                        Heard::Ended { digit, duration_ms } => {
                            Event::Digit { leg: id, digit, how: DigitPath::InBand, duration_ms }
                        }
                    });
                };
                match received {
                    Received::Audio | Received::Concealed => detector.process(leg.heard.samples(), tell),
                    Received::Silence => detector.process_silence(tell),
                }
            }
        }
        if let Some((digit, duration_ms)) = pressed {
            self.pass_on(place, digit, duration_ms);
        }
        if first_event {
            // The detector is out of work, so the payload may now be relayed.
            self.rewire(place);
        }
    }

    /// Sends a digit that was pressed as a named event to all who hear the leg: the
    /// sound beside such an event is silent, and a relay has passed it on already.
    fn pass_on(&mut self, place: usize, digit: Digit, duration_ms: u32) {
        let Some(hearers) = self.legs[place]
            .as_ref()
            .filter(|leg| leg.relays_to.is_none() || leg.converts)
            .map(|leg| leg.hearers)
        else {
            return;
        };
        for hearer in hearers.iter() {
            if let Some(leg) = &mut self.legs[hearer] {
                let refused = leg.plays.push(Playing::passed_on(digit, duration_ms));
                self.events.dropped += u64::from(refused.is_some());
            }
            self.rewire(hearer);
        }
    }

    /// The sending half.
    fn transmit(&mut self, now: Instant, place: usize) {
        if let Some(leg) = self.legs[place].as_mut().filter(|leg| leg.only_relays()) {
            return leg.endpoint.keep_alive(now);
        }
        let Some(mut leg) = self.legs[place].take() else {
            return;
        };
        let ended = self.send_frame(now, &mut leg);
        self.legs[place] = Some(leg);
        if ended {
            self.rewire(place);
        }
    }

    /// Sends what the leg hears in these 20 ms; true if its plays or recordings are
    /// not what they were.
    fn send_frame(&mut self, now: Instant, leg: &mut Leg) -> bool {
        let rate = leg.endpoint.rate();
        let mut out = Frame::silence(rate);
        let mut ended = false;
        if leg.relayed_from.is_none() {
            let mixed = !leg.sources.is_empty();
            let prepared = if mixed || leg.records_out() { None } else { leg.endpoint.payload_codec() };
            let given = self.give(leg, prepared, &mut out, &mut ended);
            if out.rate() != rate {
                let other = out;
                leg.play_converter.convert(&other, &mut out);
            }
            match (given, prepared) {
                (Given::Payload(at), Some(codec)) => {
                    if let Some(playing) = leg.plays.front() {
                        leg.endpoint.send_payload(now, playing.payload(codec, at));
                    }
                }
                (Given::Event(step), _) => leg.endpoint.send_event(now, step),
                (Given::Sound, _) => {
                    self.mix(leg, &mut out);
                    leg.endpoint.send(now, &out);
                }
                (Given::Payload(_) | Given::Pause | Given::Over, _) if mixed => {
                    self.mix(leg, &mut out);
                    leg.endpoint.send(now, &out);
                }
                (Given::Payload(_) | Given::Pause | Given::Over, _) => leg.endpoint.pass(now),
            }
        }
        ended | self.write_records(leg, &out)
    }

    /// Lets the leg's plays give the frame; those that are over make place.
    fn give(
        &mut self,
        leg: &mut Leg,
        prepared: Option<crate::codec::CodecId>,
        out: &mut Frame,
        ended: &mut bool,
    ) -> Given {
        let events = leg.endpoint.sends_events();
        while let Some(playing) = leg.plays.front_mut() {
            match playing.give(prepared, events, out) {
                Given::Over => {
                    // With the ring full the end is told in the next frame.
                    if self.events.ring.is_full() {
                        return Given::Pause;
                    }
                    if let Some(playing) = leg.plays.pop() {
                        self.events.played(leg.id, playing, true);
                    }
                    *ended = true;
                }
                given @ (Given::Payload(_) | Given::Sound | Given::Event(_) | Given::Pause) => {
                    return given;
                }
            }
        }
        Given::Over
    }

    /// Adds what the leg's sources say.
    fn mix(&self, leg: &Leg, out: &mut Frame) {
        for source in leg.sources.iter() {
            if let Some(frame) = self.legs[source].as_ref().and_then(|source| source.heard_at(out.rate())) {
                out.add(frame);
            }
        }
    }

    /// Writes the leg's recordings; true if one has lost its reader.
    fn write_records(&mut self, leg: &mut Leg, out: &Frame) -> bool {
        let mut ended = false;
        let mut at = 0;
        while let Some(recording) = leg.records.get_mut(at) {
            let frame = match recording.what {
                RecordWhat::In => leg.heard,
                RecordWhat::Out => *out,
                RecordWhat::Both => {
                    let mut both = leg.heard;
                    both.add(out);
                    both
                }
            };
            if recording.sink.push(frame).is_ok() {
                recording.frames += 1;
            } else {
                recording.dropped += 1;
            }
            if recording.sink.is_abandoned() && !self.events.ring.is_full() {
                let recording = leg.records.swap_remove(at);
                self.events.recorded(leg.id, recording, None);
                ended = true;
            } else {
                at += 1;
            }
        }
        ended
    }
}

const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Engine>();
    is_send::<Returned>();
};
