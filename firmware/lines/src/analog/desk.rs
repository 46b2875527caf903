//! The desk of a card: what its thread does with the sound of each port every 10 ms, as somebody
//! at an exchange desk does who listens, speaks and joins lines.
//!
//! It hears the wire without the echo of what it plays, plays what the machine asks for, joins
//! legs, and keeps the last minute of each wire. It allocates, frees, locks and waits for nothing:
//! commands come and facts go by rings, and what it no longer needs goes back to be dropped.

use std::sync::Arc;

use rtrb::{Consumer, Producer, PushError, RingBuffer};
use tipring_media::Rate;
use tipring_media::dsp::gain::Gain;
use tipring_media::dsp::level_meter::LevelMeter;
use tipring_model::LegId;

use super::canceller::{Canceller, Cleaned};
use super::contract::Listen;
use super::ears::{self, EarPlan, Ears, LearnedDetector};
use super::endpoint::LegSound;
use super::gauges::{Gauges, Levels};
use super::lessons::LEARNED_MAX;
use super::voice::{Script, Voice};
use crate::port::linecard::{CardSound, PERIOD_FRAMES, PortPeriod};
use crate::port::{Notify, SampleTime};

/// Legs of a port at most: machines have two, and two may be on their way out.
pub const LEGS_MAX: usize = 4;
/// Commands and facts that wait at most. Facts that find no room are lost and counted, but for
/// the end of a sound and what is to be dropped: those wait.
pub const COMMANDS_MAX: usize = 256;
const FACTS_MAX: usize = 256;
/// Commands that are carried out in a period at most.
const COMMANDS_A_PERIOD: usize = 64;
/// Levels are shown each so many periods: ten times a second.
const SHOWN_EVERY: u32 = 10;
/// Samples of a minute.
const MINUTE_SAMPLES: usize = 60 * 8_000;

/// The last minute of a wire, as it came, before any gain or canceller.
pub struct LineRecord {
    samples: Box<[i16]>,
    /// The oldest sample is here once all are filled.
    place: usize,
    is_full: bool,
    until: SampleTime,
}

impl Default for LineRecord {
    fn default() -> Self {
        let samples = vec![0; MINUTE_SAMPLES].into_boxed_slice();
        Self { samples, place: 0, is_full: false, until: SampleTime::default() }
    }
}

impl LineRecord {
    fn add(&mut self, at: SampleTime, heard: &[i16; PERIOD_FRAMES]) {
        if let Some(room) = self.samples.get_mut(self.place..self.place + PERIOD_FRAMES) {
            room.copy_from_slice(heard);
        }
        self.place += PERIOD_FRAMES;
        if self.place == self.samples.len() {
            (self.place, self.is_full) = (0, true);
        }
        self.until = SampleTime(at.0 + PERIOD_FRAMES as u64);
    }

    fn copy_from(&mut self, other: &Self) {
        self.samples.copy_from_slice(&other.samples);
        (self.place, self.is_full, self.until) = (other.place, other.is_full, other.until);
    }

    /// The samples, oldest first, at 8 kHz.
    #[must_use]
    pub fn samples(&self) -> Vec<i16> {
        let (newer, older) = self.samples.split_at(self.place);
        if self.is_full { [older, newer].concat() } else { newer.to_vec() }
    }

    /// Where the newest ends, on the clock of the card.
    #[must_use]
    pub const fn until(&self) -> SampleTime {
        self.until
    }
}

/// What the desk is told. Ports count from 0.
#[expect(clippy::large_enum_variant, reason = "of fixed size, so that nothing is freed; few exist")]
pub enum DeskCommand {
    /// Plays this from now on. Its end is told with its number.
    Say {
        /// At this port.
        port: usize,
        /// The caller's own.
        number: u32,
        /// What.
        script: Script,
    },
    /// Listens for this from now on.
    Listen {
        /// At this port.
        port: usize,
        /// For what.
        listen: Listen,
    },
    /// A leg comes to a port, not joined yet: it hears silence.
    Attach {
        /// To this port.
        port: usize,
        /// Which.
        leg: LegId,
        /// Its sound.
        sound: LegSound,
    },
    /// It hears and is heard, or no longer.
    Join {
        /// At this port.
        port: usize,
        /// Which.
        leg: LegId,
        /// It is.
        joined: bool,
    },
    /// It goes.
    Detach {
        /// From this port.
        port: usize,
        /// Which.
        leg: LegId,
    },
    /// Hears these learned tones from now on, in place of others.
    Learn {
        /// At this port.
        port: usize,
        /// What hears them.
        detector: LearnedDetector,
    },
    /// Copies the last minute of a wire.
    Save {
        /// Of this port.
        port: usize,
        /// Into this.
        record: Box<LineRecord>,
    },
}

/// What the desk tells.
#[expect(clippy::large_enum_variant, reason = "of fixed size, so that nothing is allocated; few exist")]
pub enum DeskFact {
    /// This was heard.
    Heard {
        /// At this port.
        port: usize,
        /// What.
        fact: ears::Fact,
    },
    /// The sound with this number is over by itself.
    SoundEnded {
        /// At this port.
        port: usize,
        /// Its number.
        number: u32,
    },
    /// The answer to [`DeskCommand::Save`].
    Saved {
        /// Of this port.
        port: usize,
        /// What was heard.
        record: Box<LineRecord>,
    },
    /// The sound of a leg that went, to be dropped.
    Spent(LegSound),
    /// What heard learned tones before, to be dropped.
    Unlearned(LearnedDetector),
}

/// What the desk must know of a port.
#[derive(Clone, PartialEq, Debug)]
pub struct PortPlan {
    /// What its ears must know.
    pub ears: EarPlan,
    /// Gain of what is heard, in dB: -40 to 20.
    pub heard_gain_db: f32,
    /// Gain of what is played, in dB: -40 to 20.
    pub played_gain_db: f32,
    /// The echo of what is played is left in what legs hear.
    pub leaves_echo: bool,
}

struct Leg {
    id: LegId,
    sound: LegSound,
    joined: bool,
    /// What it says in this period.
    says: [i16; PERIOD_FRAMES],
}

struct Port {
    ears: Ears,
    voice: Voice,
    number: u32,
    canceller: Canceller,
    leaves_echo: bool,
    heard_gain: Gain,
    played_gain: Gain,
    legs: [Option<Leg>; LEGS_MAX],
    /// What the legs said towards the wire in the last period.
    local: [i16; PERIOD_FRAMES],
    record: LineRecord,
    /// From the wire, to the wire.
    meters: [LevelMeter; 2],
    // What must be told and found no room.
    ended: Option<u32>,
    saved: Option<Box<LineRecord>>,
    spent: [Option<LegSound>; LEGS_MAX],
    /// A line learns no more often than there is room here.
    unlearned: [Option<LearnedDetector>; LEARNED_MAX],
}

/// See the [module](self).
pub struct Desk {
    ports: Vec<Port>,
    commands: Consumer<DeskCommand>,
    facts: Producer<DeskFact>,
    gauges: Arc<Gauges>,
    /// Periods until levels are shown again.
    unshown: u32,
    notify: Option<Notify>,
}

/// The desk as seen from the main thread.
pub struct DeskLink {
    /// What it is to do.
    pub commands: Producer<DeskCommand>,
    /// What it tells.
    pub facts: Consumer<DeskFact>,
    /// What it shows.
    pub gauges: Arc<Gauges>,
}

impl Desk {
    /// A desk for the ports of a card in their order. `notify` is called on the card's thread when
    /// there are facts; it must not wait.
    #[must_use]
    pub fn new(plans: &[PortPlan], notify: Option<Notify>) -> (Self, DeskLink) {
        let (commands_in, commands) = RingBuffer::new(COMMANDS_MAX);
        let (facts, facts_out) = RingBuffer::new(FACTS_MAX);
        let ports = plans.iter().map(Port::new).collect();
        let gauges = Arc::new(Gauges::new(plans.len()));
        let link = DeskLink { commands: commands_in, facts: facts_out, gauges: Arc::clone(&gauges) };
        (Self { ports, commands, facts, gauges, unshown: 0, notify }, link)
    }

    /// What is played comes back after so many periods of 10 ms at least: 1 to 8; 2 if this is not
    /// called.
    pub fn expect_echo_after(&mut self, periods: usize) {
        for port in &mut self.ports {
            port.canceller.expect_after(periods);
        }
    }

    fn carry_out_all(&mut self) {
        for _ in 0..COMMANDS_A_PERIOD {
            let Ok(command) = self.commands.pop() else { break };
            self.carry_out(command);
        }
    }

    /// There are facts, if there is less room for them than before.
    fn notify_since(&self, before: usize) {
        if self.facts.slots() < before
            && let Some(notify) = &self.notify
        {
            notify();
        }
    }

    fn carry_out(&mut self, command: DeskCommand) {
        match command {
            DeskCommand::Say { port, number, script } => {
                if let Some(port) = self.ports.get_mut(port) {
                    port.number = number;
                    port.ended = None;
                    port.voice.say(script);
                }
            }
            DeskCommand::Listen { port, listen } => {
                if let Some(port) = self.ports.get_mut(port) {
                    port.ears.listen(listen);
                }
            }
            DeskCommand::Attach { port, leg, sound } => {
                let place = self
                    .ports
                    .get_mut(port)
                    .and_then(|port| port.legs.iter_mut().find(|place| place.is_none()));
                match place {
                    Some(place) => {
                        *place = Some(Leg { id: leg, sound, joined: false, says: [0; PERIOD_FRAMES] });
                    }
                    None => self.return_spent(sound),
                }
            }
            DeskCommand::Join { port, leg, joined } => {
                let legs = self.ports.get_mut(port).map(|port| port.legs.iter_mut().flatten());
                if let Some(leg) = legs.and_then(|mut legs| legs.find(|other| other.id == leg)) {
                    leg.joined = joined;
                }
            }
            DeskCommand::Detach { port, leg } => {
                let Some(port) = self.ports.get_mut(port) else { return };
                let is_it = |place: &&mut Option<Leg>| place.as_ref().is_some_and(|other| other.id == leg);
                let gone = port.legs.iter_mut().find(is_it).and_then(Option::take);
                let room = port.spent.iter_mut().find(|place| place.is_none());
                if let (Some(gone), Some(room)) = (gone, room) {
                    *room = Some(gone.sound);
                }
            }
            DeskCommand::Learn { port, detector } => match self.ports.get_mut(port) {
                Some(port) => {
                    let before = port.ears.learn(detector);
                    if let Some(place) = port.unlearned.iter_mut().find(|place| place.is_none()) {
                        *place = before;
                    }
                }
                None if self.facts.push(DeskFact::Unlearned(detector)).is_err() => self.gauges.lose(),
                None => {}
            },
            DeskCommand::Save { port, mut record } => {
                if let Some(port) = self.ports.get_mut(port) {
                    record.copy_from(&port.record);
                    port.saved = Some(record);
                }
            }
        }
    }

    /// What came for a port that has no room, or is not there.
    fn return_spent(&mut self, sound: LegSound) {
        if self.facts.push(DeskFact::Spent(sound)).is_err() {
            self.gauges.lose();
        }
    }
}

impl CardSound for Desk {
    fn period(&mut self, at: SampleTime, periods: &mut [PortPeriod]) {
        let before = self.facts.slots();
        self.carry_out_all();
        for (number, (port, period)) in self.ports.iter_mut().zip(periods).enumerate() {
            let (facts, gauges) = (&mut self.facts, &self.gauges);
            port.period(at, period, |fact| {
                if facts.push(DeskFact::Heard { port: number, fact }).is_err() {
                    gauges.lose();
                }
            });
            port.tell(number, facts);
            if self.unshown == 0 {
                gauges.show(number, port.levels());
            }
        }
        self.unshown = self.unshown.checked_sub(1).unwrap_or(SHOWN_EVERY - 1);
        self.notify_since(before);
    }

    fn rest(&mut self) {
        let before = self.facts.slots();
        self.carry_out_all();
        for (number, port) in self.ports.iter_mut().enumerate() {
            port.tell(number, &mut self.facts);
        }
        self.notify_since(before);
    }
}

impl Port {
    fn new(plan: &PortPlan) -> Self {
        Self {
            ears: Ears::new(&plan.ears),
            voice: Voice::default(),
            number: 0,
            canceller: Canceller::default(),
            leaves_echo: plan.leaves_echo,
            heard_gain: Gain::from_db(plan.heard_gain_db),
            played_gain: Gain::from_db(plan.played_gain_db),
            legs: [const { None }; LEGS_MAX],
            local: [0; PERIOD_FRAMES],
            record: LineRecord::default(),
            meters: [LevelMeter::new(Rate::Narrow); 2],
            ended: None,
            saved: None,
            spent: [const { None }; LEGS_MAX],
            unlearned: [const { None }; LEARNED_MAX],
        }
    }

    fn period(&mut self, at: SampleTime, period: &mut PortPeriod, told: impl FnMut(ears::Fact)) {
        let raw = &period.heard;
        self.record.add(at, raw);
        let listen = self.ears.listens();
        let is_joined = self.legs.iter().flatten().any(|leg| leg.joined);
        // On hook there is nothing to hear but who calls, and that as it is.
        let Cleaned { hidden: mut near, kept: mut ears_near } = if self.leaves_echo && is_joined {
            Cleaned { hidden: *raw, kept: *raw }
        } else if is_joined || listen.tones || listen.digits {
            self.canceller.process(raw)
        } else {
            Cleaned { hidden: *raw, kept: *raw }
        };
        let mut left = self.canceller.left();
        for samples in [&mut near, &mut ears_near, &mut left] {
            self.heard_gain.apply(samples);
        }
        let heard = ears::Period { raw, near: &ears_near, played: &left, local: &self.local };
        self.ears.hear(&heard, told);
        let mut said = [0; PERIOD_FRAMES];
        let spoken = self.voice.period(&ears_near, &mut said);
        if spoken.is_for_both {
            near = said;
        }
        if spoken.ended {
            self.ended = Some(self.number);
        }
        self.local = self.join(&near, spoken.replaces, spoken.mutes);
        add(&mut said, &self.local);
        self.played_gain.apply(&mut said);
        self.canceller.played(&said);
        let [heard, played] = &mut self.meters;
        heard.push(&period.heard);
        played.push(&said);
        period.play = said;
    }

    fn levels(&self) -> Levels {
        let [heard_dbm0, played_dbm0] = self.meters.each_ref().map(LevelMeter::level_dbm0);
        Levels { heard_dbm0, played_dbm0, cancelled_db: self.canceller.loss_db() }
    }

    /// Lets legs that are joined hear the wire and each other. Gives what they say to the wire.
    fn join(&mut self, near: &[i16; PERIOD_FRAMES], replaces: bool, mutes: bool) -> [i16; PERIOD_FRAMES] {
        let mut sum = [0; PERIOD_FRAMES];
        for leg in self.legs.iter_mut().flatten() {
            // Read in any case: what is said to nobody is not heard later.
            leg.sound.says(&mut leg.says);
            if !leg.joined {
                leg.says = [0; PERIOD_FRAMES];
            }
            add(&mut sum, &leg.says);
        }
        for at in 0..LEGS_MAX {
            let mut hears = [0; PERIOD_FRAMES];
            for (_, other) in self.legs.iter().enumerate().filter(|(other, _)| *other != at) {
                if let Some(other) = other {
                    add(&mut hears, &other.says);
                }
            }
            let Some(Some(leg)) = self.legs.get_mut(at) else { continue };
            if !leg.joined {
                hears = [0; PERIOD_FRAMES];
            } else if !mutes {
                add(&mut hears, near);
            }
            leg.sound.hears(&hears);
        }
        if replaces { [0; PERIOD_FRAMES] } else { sum }
    }

    /// Tells what must not be lost.
    fn tell(&mut self, port: usize, facts: &mut Producer<DeskFact>) {
        if let Some(number) = self.ended
            && facts.push(DeskFact::SoundEnded { port, number }).is_ok()
        {
            self.ended = None;
        }
        if let Some(record) = self.saved.take()
            && let Err(PushError::Full(DeskFact::Saved { record, .. })) =
                facts.push(DeskFact::Saved { port, record })
        {
            self.saved = Some(record);
        }
        for place in &mut self.unlearned {
            if let Some(detector) = place.take()
                && let Err(PushError::Full(DeskFact::Unlearned(detector))) =
                    facts.push(DeskFact::Unlearned(detector))
            {
                *place = Some(detector);
            }
        }
        for place in &mut self.spent {
            if let Some(sound) = place.take()
                && let Err(PushError::Full(DeskFact::Spent(sound))) = facts.push(DeskFact::Spent(sound))
            {
                *place = Some(sound);
            }
        }
    }
}

fn add(sum: &mut [i16; PERIOD_FRAMES], other: &[i16; PERIOD_FRAMES]) {
    sum.iter_mut().zip(other).for_each(|(sum, sample)| *sum = sum.saturating_add(*sample));
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tipring_media::{Endpoint, Frame, Rate};
    use tipring_model::prompt::CallTone;
    use tipring_model::{Digit, Digits};
    use tipring_testkit::phone::{compare, voice};

    use super::*;
    use crate::analog::contract::{CallerIdStandard, Sound};
    use crate::analog::endpoint::{PortEndpoint, leg_sound};
    use crate::analog::voice::SoundPlan;

    const SILENT: PortPeriod = PortPeriod { heard: [0; PERIOD_FRAMES], play: [0; PERIOD_FRAMES] };

    struct Bench {
        desk: Desk,
        link: DeskLink,
        at: u64,
        /// What the wire of port 0 heard.
        played: Vec<i16>,
        legs: Vec<(PortEndpoint, Vec<i16>, Vec<i16>)>,
    }

    impl Bench {
        fn new() -> Self {
            Self::of(false)
        }

        fn of(leaves_echo: bool) -> Self {
            let ears = EarPlan {
                tones: Vec::new(),
                learned: Vec::new(),
                learns: false,
                caller_id: CallerIdStandard::Bellcore,
            };
            let plan = PortPlan { ears, heard_gain_db: 0.0, played_gain_db: 0.0, leaves_echo };
            let (desk, link) = Desk::new(&[plan], None);
            Self { desk, link, at: 0, played: Vec::new(), legs: Vec::new() }
        }

        fn tell(&mut self, command: DeskCommand) {
            assert!(self.link.commands.push(command).is_ok());
        }

        fn say(&mut self, number: u32, sound: &Sound) {
            let script = SoundPlan::default().script(sound, None);
            self.tell(DeskCommand::Say { port: 0, number, script });
        }

        /// A leg that says this.
        fn attach(&mut self, seq: u32, says: Vec<i16>) -> LegId {
            let (endpoint, sound) = leg_sound();
            let leg = LegId::placed(1, seq);
            self.tell(DeskCommand::Attach { port: 0, leg, sound });
            self.legs.push((endpoint, says, Vec::new()));
            leg
        }

        /// 20 ms after 20 ms, the wire says this.
        fn run(&mut self, wire: &[i16]) -> Vec<DeskFact> {
            let (now, mut facts) = (Instant::now(), Vec::new());
            for two in wire.chunks(2 * PERIOD_FRAMES) {
                for (endpoint, says, hears) in &mut self.legs {
                    let rest = says.split_off(says.len().min(160));
                    let frame = Frame::from_samples(Rate::Narrow, &std::mem::replace(says, rest));
                    endpoint.send(now, &frame);
                    let mut frame = Frame::silence(Rate::Narrow);
                    endpoint.receive(now, &mut frame);
                    hears.extend(frame.samples());
                }
                for part in two.chunks(PERIOD_FRAMES) {
                    let mut period = SILENT;
                    period.heard[..part.len()].copy_from_slice(part);
                    self.desk.period(SampleTime(self.at), std::slice::from_mut(&mut period));
                    self.at += PERIOD_FRAMES as u64;
                    self.played.extend(period.play);
                }
                while let Ok(fact) = self.link.facts.pop() {
                    facts.push(fact);
                }
            }
            facts
        }
    }

    fn alike(expected: &[i16], heard: &[i16]) -> bool {
        compare::find(expected, heard).correlation > 0.9
    }

    #[test]
    fn legs_are_heard_only_while_they_are_joined_and_hear_each_other() {
        let mut bench = Bench::new();
        let mut voices: Vec<Vec<i16>> = (1..=3).map(|seed| voice::speech_like(seed, 2_000)).collect();
        // A canceller that knows no echo yet takes what is weaker than the legs for one.
        voices.iter_mut().skip(1).flatten().for_each(|sample| *sample /= 4);
        let wire = [voices[0].clone(), vec![0; 8_000]].concat();
        let first = bench.attach(1, voices[1].clone());
        let second = bench.attach(2, voices[2].clone());
        bench.run(&wire[..8_000]);
        assert!(bench.played.iter().all(|sample| *sample == 0));
        assert!(bench.legs.iter().all(|(.., hears)| hears.iter().all(|sample| *sample == 0)));
        bench.tell(DeskCommand::Join { port: 0, leg: first, joined: true });
        bench.tell(DeskCommand::Join { port: 0, leg: second, joined: true });
        bench.run(&wire[8_000..]);
        let (wire, one, two) = (&wire[8_400..15_000], &voices[1][9_000..15_000], &voices[2][9_000..15_000]);
        let sum = |a: &[i16], b: &[i16]| -> Vec<i16> {
            a.iter().zip(b).map(|(a, b)| a.saturating_add(*b)).collect()
        };
        assert!(alike(&sum(one, two), &bench.played));
        // Each hears the other one and the wire.
        for (hears, other) in [(&bench.legs[0].2, two), (&bench.legs[1].2, one)] {
            let found = [other, wire].map(|sound| compare::find(sound, hears).correlation);
            assert!(found[0] > 0.15 && found[1] > 0.5, "{found:?}");
        }
        bench.tell(DeskCommand::Join { port: 0, leg: first, joined: false });
        bench.tell(DeskCommand::Detach { port: 0, leg: second });
        let facts = bench.run(&voices[0]);
        assert!(matches!(facts[..], [DeskFact::Spent(_)]), "{}", facts.len());
        assert!(bench.legs[0].2.iter().rev().take(8_000).all(|sample| *sample == 0));
    }

    #[test]
    fn a_sound_is_heard_in_place_of_the_legs_and_tells_its_end() {
        let mut bench = Bench::new();
        let said = voice::speech_like(4, 3_000);
        let leg = bench.attach(1, said.clone());
        bench.tell(DeskCommand::Join { port: 0, leg, joined: true });
        bench.say(7, &Sound::Tone(CallTone::Dial));
        assert!(bench.run(&[0; 8_000]).is_empty());
        assert!(compare::find(&said[..6_000], &bench.played).correlation < 0.3);
        bench.say(8, &Sound::Digits(Digits::parse("12").unwrap()));
        let facts = bench.run(&[0; 4_000]);
        assert!(matches!(facts[..], [DeskFact::SoundEnded { port: 0, number: 8 }]));
        // And the leg is heard again.
        bench.run(&[0; 12_000]);
        assert!(alike(&said[14_000..20_000], &bench.played[12_000..]));
    }

    #[test]
    fn a_tone_for_both_is_what_the_wire_and_the_legs_hear_and_nothing_else() {
        let mut bench = Bench::new();
        let voices: Vec<Vec<i16>> = (1..=2).map(|seed| voice::speech_like(seed, 2_000)).collect();
        let leg = bench.attach(1, voices[0].clone());
        bench.tell(DeskCommand::Join { port: 0, leg, joined: true });
        bench.say(1, &Sound::PreemptionTone);
        bench.run(&voices[1][..4_000]);
        let (wire, leg) = (&bench.played[160..], &bench.legs[0].2[800..]);
        assert!(alike(&wire[..1_600], leg));
        for heard in [wire, leg] {
            let speech = voices.iter().map(|said| compare::find(&said[..2_000], heard).correlation);
            assert!(speech.fold(0.0, f64::max) < 0.5 && heard.iter().any(|sample| *sample > 5_000));
        }
    }

    #[test]
    fn keys_are_heard_through_the_echo_of_dial_tone() {
        let mut bench = Bench::new();
        bench.tell(DeskCommand::Listen { port: 0, listen: Listen { digits: true, ..Listen::default() } });
        bench.say(1, &Sound::Tone(CallTone::Dial));
        let mut key = [0; 800];
        tipring_media::dsp::dtmf_generate::oscillator(Rate::Narrow, Digit::D5).fill(&mut key);
        let mut heard = Vec::new();
        for n in 0..200 {
            // The tone comes back 12 dB weaker after 20 ms.
            let from = bench.played.len().checked_sub(2 * PERIOD_FRAMES);
            let mut wire = [0; PERIOD_FRAMES];
            for (at, sample) in wire.iter_mut().enumerate() {
                let echo = from.and_then(|from| bench.played.get(from + at)).map_or(0, |s| s / 4);
                let pressed = (n >= 100_usize).then(|| key.get((n - 100) * PERIOD_FRAMES + at)).flatten();
                *sample = echo + pressed.map_or(0, |s| s / 4);
            }
            heard.extend(bench.run(&wire));
        }
        let keys: Vec<_> = heard
            .iter()
            .filter_map(|fact| match fact {
                DeskFact::Heard { fact, .. } => Some(*fact),
                DeskFact::SoundEnded { .. }
                | DeskFact::Saved { .. }
                | DeskFact::Spent(_)
                | DeskFact::Unlearned(_) => None,
            })
            .collect();
        assert_eq!(keys, [ears::Fact::Digit(Digit::D5)]);
    }

    /// What a leg hears of its own voice, beside what comes back from the wire, in dB: it has said
    /// something for two seconds before, and then speaks for eight.
    fn echo_db(mut bench: Bench, before: &[i16]) -> f64 {
        let energy = |samples: &[i16]| samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>().max(1.0);
        let said = [before.to_vec(), voice::speech_like(6, 8_000)].concat();
        let leg = bench.attach(1, said.clone());
        bench.tell(DeskCommand::Join { port: 0, leg, joined: true });
        let mut wire = Vec::new();
        for n in 0..said.len() / (2 * PERIOD_FRAMES) {
            // It comes back 12 dB weaker after the card's two periods.
            let from = (n * 2 * PERIOD_FRAMES).checked_sub(2 * PERIOD_FRAMES);
            let part: Vec<i16> = (0..2 * PERIOD_FRAMES)
                .map(|at| from.and_then(|from| bench.played.get(from + at)).map_or(0, |s| s / 4))
                .collect();
            bench.run(&part);
            wire.extend(part);
        }
        let last = wire.len() - 32_000;
        10.0 * (energy(&bench.legs[0].2[last..]) / energy(&wire[last..])).log10()
    }

    #[test]
    fn a_machine_hears_the_echo_and_so_does_a_leg_with_an_answer_tone_with_reversals() {
        let tone = |every: usize| -> Vec<i16> {
            let phase = |n: usize| {
                let turned = (n / every) as f64 * core::f64::consts::PI;
                core::f64::consts::TAU * 2_100.0 * n as f64 / 8_000.0 + turned
            };
            (0..16_000).map(|n| (8_000.0 * phase(n).sin()) as i16).collect()
        };
        let quiet = vec![0; 16_000];
        let found = echo_db(Bench::new(), &quiet);
        assert!(found < -20.0, "a telephone: {found}");
        let found = echo_db(Bench::of(true), &quiet);
        assert!(found > -1.0, "a machine: {found}");
        // ITU-T G.168 §7: reversals each 450 ms ask for the echo as it is; the tone alone does not.
        let found = echo_db(Bench::new(), &tone(3_600));
        assert!(found > -1.0, "with reversals: {found}");
        let found = echo_db(Bench::new(), &tone(usize::MAX));
        assert!(found < -20.0, "without: {found}");
    }

    #[test]
    fn the_last_minute_is_kept() {
        let mut bench = Bench::new();
        let wire: Vec<i16> = (0..MINUTE_SAMPLES + 8_000).map(|n| (n % 30_011) as i16).collect();
        bench.run(&wire);
        bench.tell(DeskCommand::Save { port: 0, record: Box::default() });
        let facts = bench.run(&[1; 160]);
        let [DeskFact::Saved { record, .. }] = &facts[..] else { panic!() };
        assert_eq!(record.until(), SampleTime(wire.len() as u64));
        assert!(record.samples() == wire[8_000..]);
    }

    #[test]
    fn what_finds_no_room_is_told_later() {
        let mut bench = Bench::new();
        while bench.desk.facts.push(DeskFact::SoundEnded { port: 9, number: 9 }).is_ok() {}
        let leg = bench.attach(1, Vec::new());
        bench.tell(DeskCommand::Detach { port: 0, leg });
        bench.say(3, &Sound::Digits(Digits::parse("1").unwrap()));
        let mut period = SILENT;
        for _ in 0..50 {
            bench.desk.period(SampleTime(0), std::slice::from_mut(&mut period));
        }
        while bench.link.facts.pop().is_ok() {}
        let facts = bench.run(&[0; 160]);
        assert!(matches!(facts[..], [DeskFact::SoundEnded { number: 3, .. }, DeskFact::Spent(_)]));
    }
}
