//! The ears of a port: what is heard on the wire, as far as its machine listens for it.
//!
//! Pure: samples in, facts out, 10 ms at a time. Runs on the card's thread: allocates nothing
//! after [`Ears::new`].
//!
//! A caller ID comes while nobody is on the line, before the first ring or between two. While the
//! wire is silent its decoders rest; what they would have missed of the beginning, a store of
//! 300 ms has kept.

use std::time::Duration;

use tipring_media::Rate;
use tipring_media::dsp::caller_id::{self, AlertToneDetector, CallerIdReceiver, HeardMessage, LineMessage};
use tipring_media::dsp::dtmf_detect::{self, DtmfDetector};
use tipring_media::dsp::tone_detect::{ToneDetector, ToneEvent, ToneKind};
use tipring_media::dsp::tone_learn::{Repeated, ToneLearner};
use tipring_media::dsp::{PEAK_0_DBM0, peak_of};
use tipring_media::{ToneSpec, dsp::caller_id::Standard};
use tipring_model::{CallerId, Digit, Number};

use super::contract::{CallerIdStandard, Heard, HeardCaller, HeardTone, Listen};
use crate::port::linecard::PERIOD_FRAMES;

/// Sound before the decoders of caller ID awake: 300 ms.
const KEPT: usize = 30 * PERIOD_FRAMES;
/// They sleep after so many periods of silence: 2 s, longer than any pause within a message.
const AWAKE_PERIODS: u32 = 200;
/// The weakest peak that wakes them, in dBm0.
const WAKES_DBM0: f32 = -48.0;

/// Periods of one level: 60 ms, in which the beat of a tone's frequencies is nearly gone.
const LEVEL_PERIODS: u32 = 6;
/// Weaker is silence, in dBm0.
const SILENCE_DBM0: f32 = -45.0;
/// Weaker is no voice, in dBm0.
const VOICE_DBM0: f32 = -38.0;
/// A voice changes its level by so much from one 60 ms to the next, in dB; a tone does not.
const VOICE_STEP_DB: f32 = 3.0;
/// So many changes within a second are a voice.
const VOICE_STEPS: u32 = 3;
const VOICE_WITHIN_LEVELS: u32 = 17;
/// The echo of the own side is so much weaker than it at least, in dB, when the canceller has
/// done its work.
const ECHO_LOSS_DB: f32 = 20.0;
/// The own side is loud from this level on, and no longer after 240 ms below it.
const LOCAL_DBM0: f32 = -35.0;
const LOCAL_HANG_LEVELS: u32 = 4;

/// What the ears of a port must know.
#[derive(Clone, PartialEq, Debug)]
pub struct EarPlan {
    /// Tones of the country's exchange.
    pub tones: Vec<(ToneKind, ToneSpec)>,
    /// Tones that this line was heard to end calls with.
    pub learned: Vec<ToneSpec>,
    /// It listens how calls end, for [`Fact::CallEnded`].
    pub learns: bool,
    /// How callers are told in the country: what cannot be read is taken for this.
    pub caller_id: CallerIdStandard,
}

/// Something that was heard. As [`Heard`], but of fixed size, so that it crosses to the main
/// thread without allocating.
#[derive(Clone, Copy, PartialEq, Debug)]
#[expect(clippy::large_enum_variant, reason = "of fixed size, so that nothing is allocated; few exist")]
pub enum Fact {
    /// As [`Heard::Digit`].
    Digit(Digit),
    /// As [`Heard::Tone`].
    Tone(HeardTone),
    /// As [`Heard::ToneEnded`].
    ToneEnded,
    /// As [`Heard::CallerId`].
    Caller(Standard, caller_id::CallerId),
    /// As [`Heard::CallerIdGarbled`].
    CallerGarbled(CallerIdStandard),
    /// As [`Heard::WaitingAlert`].
    WaitingAlert,
    /// As [`Heard::Voice`].
    Voice,
    /// As [`Heard::Silence`], in whole seconds.
    Silence {
        /// How long.
        seconds: u32,
    },
    /// As [`Heard::LocalVoice`].
    LocalVoice(bool),
    /// Speech is no longer listened for: the call is over. Told once a call, of lines that learn,
    /// with what repeated last in it; no machine wants to know.
    CallEnded(Option<Repeated>),
}

impl Fact {
    /// Whether it is asked for. A fact that was under way when the machine changed its mind is not.
    #[must_use]
    pub const fn is_for(&self, listen: Listen) -> bool {
        match self {
            Self::Digit(_) => listen.digits,
            Self::Tone(_) | Self::ToneEnded => listen.tones,
            Self::Caller(..) | Self::CallerGarbled(_) => listen.caller_id,
            Self::WaitingAlert => listen.waiting_alert,
            Self::Voice | Self::Silence { .. } | Self::LocalVoice(_) => listen.voice,
            Self::CallEnded(_) => false,
        }
    }

    /// As the machines take it, if they do.
    #[must_use]
    pub fn heard(&self) -> Option<Heard> {
        Some(match self {
            Self::Digit(digit) => Heard::Digit(*digit),
            Self::Tone(tone) => Heard::Tone(*tone),
            Self::ToneEnded => Heard::ToneEnded,
            Self::Caller(standard, caller) => Heard::CallerId(HeardCaller {
                standard: match standard {
                    Standard::Bellcore => CallerIdStandard::Bellcore,
                    Standard::Etsi => CallerIdStandard::Etsi,
                    Standard::NumberDisplay => CallerIdStandard::Ntt,
                    Standard::Dtmf => CallerIdStandard::Dtmf,
                },
                caller: CallerId {
                    number: caller.number.ok().map(|number| Number::new(number.as_str())),
                    name: caller.name.ok().map(|name| name.as_str().to_owned()),
                },
            }),
            Self::CallerGarbled(standard) => Heard::CallerIdGarbled(*standard),
            Self::WaitingAlert => Heard::WaitingAlert,
            Self::Voice => Heard::Voice,
            Self::Silence { seconds } => Heard::Silence(Duration::from_secs((*seconds).into())),
            Self::LocalVoice(speaks) => Heard::LocalVoice(*speaks),
            Self::CallEnded(_) => return None,
        })
    }
}

/// 10 ms at a port.
#[derive(Clone, Copy, Debug)]
pub struct Period<'a> {
    /// From the wire, as it came.
    pub raw: &'a [i16; PERIOD_FRAMES],
    /// From the wire, without the echo of what was played, as far as a filter takes it away.
    pub near: &'a [i16; PERIOD_FRAMES],
    /// What was played in the same time, as much weaker as what may be left of it: from 6 dB below
    /// it on, sound of the wire is more than that.
    pub played: &'a [i16; PERIOD_FRAMES],
    /// What the legs said of it.
    pub local: &'a [i16; PERIOD_FRAMES],
}

/// Hears the tones that a line was heard to end calls with.
pub struct LearnedDetector(Box<ToneDetector>);

impl LearnedDetector {
    /// For these tones.
    #[must_use]
    pub fn new(tones: &[ToneSpec]) -> Self {
        let plan: Vec<_> = tones.iter().map(|spec| (ToneKind::Busy, *spec)).collect();
        Self(Box::new(ToneDetector::new(&plan)))
    }
}

/// The ears of one port.
pub struct Ears {
    listen: Listen,
    digits: DtmfDetector,
    tones: ToneDetector,
    /// None without a learned tone: it costs as much as the other.
    learned: Option<LearnedDetector>,
    learner: Option<Box<ToneLearner>>,
    /// The call is over, and that was not told yet.
    ended: bool,
    caller: Caller,
    alert: AlertToneDetector,
    voice: Voice,
}

impl Ears {
    /// Ears that listen for nothing yet.
    #[must_use]
    pub fn new(plan: &EarPlan) -> Self {
        dtmf_detect::prepare();
        Self {
            listen: Listen::default(),
            digits: DtmfDetector::new(Rate::Narrow),
            tones: ToneDetector::new(&plan.tones),
            learned: (!plan.learned.is_empty()).then(|| LearnedDetector::new(&plan.learned)),
            learner: plan.learns.then(Box::default),
            ended: false,
            caller: Caller::new(plan.caller_id),
            alert: AlertToneDetector::default(),
            voice: Voice::default(),
        }
    }

    /// Hears other learned tones from now on; what heard them before comes back to be dropped.
    pub const fn learn(&mut self, detector: LearnedDetector) -> Option<LearnedDetector> {
        self.learned.replace(detector)
    }

    /// What is listened for.
    #[must_use]
    pub const fn listens(&self) -> Listen {
        self.listen
    }

    /// Listens for this from now on. What was not listened for begins anew.
    pub fn listen(&mut self, listen: Listen) {
        let was = std::mem::replace(&mut self.listen, listen);
        if listen.digits && !was.digits {
            self.digits.reset();
        }
        if listen.tones && !was.tones {
            self.tones.reset();
            if let Some(LearnedDetector(learned)) = &mut self.learned {
                learned.reset();
            }
        }
        if listen.caller_id && !was.caller_id {
            self.caller.begin();
        }
        if listen.waiting_alert && !was.waiting_alert {
            self.alert = AlertToneDetector::default();
        }
        if listen.voice && !was.voice {
            self.voice = Voice::default();
            if let Some(learner) = &mut self.learner {
                learner.reset();
            }
        }
        self.ended |= was.voice && !listen.voice;
    }

    /// Hears 10 ms and tells what came of it.
    pub fn hear(&mut self, period: &Period<'_>, mut told: impl FnMut(Fact)) {
        let listen = self.listen;
        if std::mem::take(&mut self.ended)
            && let Some(learner) = &self.learner
        {
            told(Fact::CallEnded(learner.repeated()));
        }
        if listen.digits {
            self.digits.process(period.near, |heard| match heard {
                dtmf_detect::Heard::Began(digit) => told(Fact::Digit(digit)),
                dtmf_detect::Heard::Ended { .. } => {}
            });
        }
        if listen.tones {
            self.tones.push(period.near, period.played, |event| match event {
                ToneEvent::Began(kind) => told(Fact::Tone(tone_of(kind))),
                ToneEvent::Ended(_) => told(Fact::ToneEnded),
            });
            if let Some(LearnedDetector(learned)) = &mut self.learned {
                learned.push(period.near, period.played, |event| match event {
                    ToneEvent::Began(ToneKind::Busy) => told(Fact::Tone(HeardTone::LearnedBusy)),
                    ToneEvent::Ended(ToneKind::Busy) => told(Fact::ToneEnded),
                    // The other one hears the tones that every country has.
                    ToneEvent::Began(_) | ToneEvent::Ended(_) => {}
                });
            }
        }
        if listen.caller_id {
            self.caller.hear(period.raw, &mut told);
        }
        if listen.waiting_alert && self.alert.push(period.near) {
            told(Fact::WaitingAlert);
        }
        if listen.voice {
            self.voice.hear(period.near, period.local, &mut told);
            if let Some(learner) = &mut self.learner {
                learner.push(period.near);
            }
        }
    }
}

const fn tone_of(kind: ToneKind) -> HeardTone {
    match kind {
        ToneKind::Dial => HeardTone::Dial,
        ToneKind::Ringback => HeardTone::Ringback,
        ToneKind::Busy => HeardTone::Busy,
        ToneKind::Congestion => HeardTone::Congestion,
        ToneKind::SpecialInformation => HeardTone::Information,
        ToneKind::FaxCalling => HeardTone::FaxCalling,
        ToneKind::FaxAnswer => HeardTone::FaxAnswer,
    }
}

/// Listens for who calls.
struct Caller {
    receiver: CallerIdReceiver,
    standard: CallerIdStandard,
    /// The last 300 ms, oldest at `place`.
    kept: Box<[i16; KEPT]>,
    place: usize,
    /// Periods until the decoders sleep; 0 while they do.
    awake: u32,
}

impl Caller {
    fn new(standard: CallerIdStandard) -> Self {
        Self {
            receiver: CallerIdReceiver::default(),
            standard,
            kept: Box::new([0; KEPT]),
            place: 0,
            awake: 0,
        }
    }

    fn begin(&mut self) {
        self.receiver = CallerIdReceiver::default();
        self.kept.fill(0);
        (self.place, self.awake) = (0, 0);
    }

    fn hear(&mut self, samples: &[i16; PERIOD_FRAMES], told: &mut impl FnMut(Fact)) {
        let peak = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
        let damaged = self.receiver.damaged();
        if f32::from(peak) >= peak_of(WAKES_DBM0) {
            if self.awake == 0 {
                let (newer, older) = self.kept.split_at(self.place);
                self.receiver.push(older, |heard| tell(heard, told));
                self.receiver.push(newer, |heard| tell(heard, told));
                self.kept.fill(0);
            }
            self.awake = AWAKE_PERIODS;
        }
        if self.awake > 0 {
            self.awake -= 1;
            self.receiver.push(samples, |heard| tell(heard, told));
            if self.receiver.damaged() > damaged {
                told(Fact::CallerGarbled(self.standard));
            }
            return;
        }
        if let Some(place) = self.kept.get_mut(self.place..self.place + PERIOD_FRAMES) {
            place.copy_from_slice(samples);
        }
        self.place = (self.place + PERIOD_FRAMES) % KEPT;
    }
}

fn tell(heard: HeardMessage, told: &mut impl FnMut(Fact)) {
    match heard.message {
        LineMessage::Call(caller) => told(Fact::Caller(heard.standard, caller)),
        // Messages in the mailbox of the exchange are not the box's.
        LineMessage::MessageWaiting { .. } => {}
    }
}

/// Listens for speech and silence, by levels of 60 ms.
#[derive(Clone, Copy, Default)]
struct Voice {
    near: f32,
    local: f32,
    periods: u32,
    /// The last three levels of the wire, in dBm0, oldest first; none was loud to begin with.
    levels: [Option<f32>; 3],
    /// Levels of the last second: a bit each, set where it had changed as a voice does.
    steps: u32,
    quiet_ms: u32,
    /// Levels until the own side no longer counts as loud.
    local_hang: u32,
    /// The loudest that the own side was of late, in dBm0.
    local_loudest: f32,
}

impl Voice {
    fn hear(
        &mut self,
        near: &[i16; PERIOD_FRAMES],
        local: &[i16; PERIOD_FRAMES],
        told: &mut impl FnMut(Fact),
    ) {
        let energy = |samples: &[i16]| samples.iter().map(|sample| f32::from(*sample).powi(2)).sum::<f32>();
        self.near += energy(near);
        self.local += energy(local);
        self.periods += 1;
        if self.periods == LEVEL_PERIODS {
            self.periods = 0;
            let near = level_dbm0(std::mem::take(&mut self.near));
            let local = level_dbm0(std::mem::take(&mut self.local));
            self.local_level(local, told);
            self.near_level(near, told);
        }
    }

    fn local_level(&mut self, level: f32, told: &mut impl FnMut(Fact)) {
        if level >= LOCAL_DBM0 {
            if self.local_hang == 0 {
                told(Fact::LocalVoice(true));
            }
            self.local_loudest = if self.local_hang == 0 { level } else { self.local_loudest.max(level) };
            self.local_hang = LOCAL_HANG_LEVELS;
        } else if self.local_hang > 0 {
            self.local_hang -= 1;
            if self.local_hang == 0 {
                told(Fact::LocalVoice(false));
            }
        }
    }

    fn near_level(&mut self, level: f32, told: &mut impl FnMut(Fact)) {
        const SECOND_MS: u32 = 1_000;
        const LEVEL_MS: u32 = 10 * LEVEL_PERIODS;
        let is_echo = self.local_hang > 0 && level < self.local_loudest - ECHO_LOSS_DB;
        if level < if is_echo { VOICE_DBM0 } else { SILENCE_DBM0 } {
            let before = self.quiet_ms / SECOND_MS;
            self.quiet_ms = self.quiet_ms.saturating_add(LEVEL_MS);
            let seconds = self.quiet_ms / SECOND_MS;
            if seconds > before {
                told(Fact::Silence { seconds });
            }
        } else {
            self.quiet_ms = 0;
        }
        let loud = (level >= VOICE_DBM0 && !is_echo).then_some(level);
        // Only between levels that lie within the sound: the edges of a tone are steps, too.
        let step = match (self.levels, loud) {
            ([Some(_), Some(before), Some(after)], Some(_)) => (after - before).abs() >= VOICE_STEP_DB,
            ([None, _, _] | [_, None, _] | [_, _, None], _) | (_, None) => false,
        };
        let [_, middle, last] = self.levels;
        self.levels = [middle, last, loud];
        self.steps = (self.steps << 1 | u32::from(step)) & ((1 << VOICE_WITHIN_LEVELS) - 1);
        if self.steps.count_ones() >= VOICE_STEPS {
            self.steps = 0;
            told(Fact::Voice);
        }
    }
}

/// Level of the sine that has this energy in 60 ms.
fn level_dbm0(energy: f32) -> f32 {
    let mean = energy / (LEVEL_PERIODS as f32 * PERIOD_FRAMES as f32);
    10.0 * (2.0 * mean / (PEAK_0_DBM0 * PEAK_0_DBM0)).max(f32::MIN_POSITIVE).log10()
}

#[cfg(test)]
mod tests {
    use tipring_media::ToneSegment;
    use tipring_media::dsp::caller_id::{CallerIdSender, SendAs, Text, alert_tone};
    use tipring_media::dsp::tone::TonePlayer;
    use tipring_media::{Frame, dsp::dtmf_generate};
    use tipring_testkit::phone::voice;

    use super::*;

    const ALL: Listen =
        Listen { digits: true, tones: true, caller_id: true, voice: true, waiting_alert: true };

    fn tone(hz: &[f32], on_ms: u16, off_ms: u16) -> ToneSpec {
        let mut segment = ToneSegment { hz: [0.0; 4], level_dbm0: -13.0, on_ms, off_ms };
        segment.hz[..hz.len()].copy_from_slice(hz);
        ToneSpec::repeating(&[segment])
    }

    fn plan() -> EarPlan {
        EarPlan {
            tones: vec![
                (ToneKind::Dial, tone(&[350.0, 440.0], 0, 0)),
                (ToneKind::Ringback, tone(&[440.0, 480.0], 2_000, 4_000)),
                (ToneKind::Busy, tone(&[480.0, 620.0], 500, 500)),
                (ToneKind::Congestion, tone(&[480.0, 620.0], 250, 250)),
            ],
            learned: vec![tone(&[1_000.0], 330, 330)],
            learns: true,
            caller_id: CallerIdStandard::Bellcore,
        }
    }

    fn sound(spec: ToneSpec, ms: usize) -> Vec<i16> {
        let (mut player, mut frame) = (TonePlayer::new(spec), Frame::silence(Rate::Narrow));
        let mut all = Vec::new();
        while all.len() < ms * 8 && player.fill(&mut frame) {
            all.extend(frame.samples());
        }
        all.resize(ms * 8, 0);
        all
    }

    fn silence(ms: usize) -> Vec<i16> {
        vec![0; ms * 8]
    }

    fn heard_with(listen: Listen, near: &[i16], local: &[i16]) -> Vec<Fact> {
        let mut ears = Ears::new(&plan());
        ears.listen(listen);
        let (mut facts, mut at) = (Vec::new(), 0);
        let part = |all: &[i16], at: usize| -> [i16; PERIOD_FRAMES] {
            core::array::from_fn(|n| all.get(at + n).copied().unwrap_or(0))
        };
        while at < near.len() {
            let (near, local) = (part(near, at), part(local, at));
            let period = Period { raw: &near, near: &near, played: &local, local: &local };
            ears.hear(&period, |fact| facts.push(fact));
            at += PERIOD_FRAMES;
        }
        facts
    }

    fn heard(listen: Listen, near: &[i16]) -> Vec<Fact> {
        heard_with(listen, near, &[])
    }

    fn keys(digits: &[Digit]) -> Vec<i16> {
        let mut all = Vec::new();
        for digit in digits {
            let mut samples = silence(160);
            dtmf_generate::oscillator(Rate::Narrow, *digit).fill(&mut samples[..640]);
            all.extend(samples);
        }
        all
    }

    #[test]
    fn keys_are_heard_once_and_only_when_asked_for() {
        let sound = keys(&[Digit::D2, Digit::D0, Digit::Hash]);
        let digits = Listen { digits: true, ..Listen::default() };
        let expected = [Digit::D2, Digit::D0, Digit::Hash].map(Fact::Digit);
        assert_eq!(heard(digits, &sound), expected);
        assert_eq!(heard(Listen { digits: false, ..ALL }, &sound).iter().find(|f| f.is_for(digits)), None);
    }

    #[test]
    fn tones_of_the_country_and_a_learned_one_are_heard() {
        let tones = Listen { tones: true, ..Listen::default() };
        let with = |spec| [sound(spec, 8_000), silence(6_000)].concat();
        for (spec, expected) in [
            (tone(&[350.0, 440.0], 0, 0), HeardTone::Dial),
            (tone(&[440.0, 480.0], 2_000, 4_000), HeardTone::Ringback),
            (tone(&[480.0, 620.0], 500, 500), HeardTone::Busy),
            (tone(&[480.0, 620.0], 250, 250), HeardTone::Congestion),
            (tone(&[1_000.0], 330, 330), HeardTone::LearnedBusy),
            (tone(&[2_100.0], 0, 0), HeardTone::FaxAnswer),
        ] {
            assert_eq!(heard(tones, &with(spec)), [Fact::Tone(expected), Fact::ToneEnded], "{expected:?}");
        }
    }

    #[test]
    fn what_is_learned_is_heard_from_then_on() {
        let mut ears = Ears::new(&plan());
        let hear = |ears: &mut Ears| {
            let mut facts = Vec::new();
            for part in sound(tone(&[620.0], 300, 300), 4_000).chunks_exact(PERIOD_FRAMES) {
                let (part, none) = (part.try_into().unwrap(), [0; PERIOD_FRAMES]);
                let period = Period { raw: part, near: part, played: &none, local: &none };
                ears.hear(&period, |fact| facts.push(fact));
            }
            facts
        };
        ears.listen(Listen { tones: true, ..Listen::default() });
        assert_eq!(hear(&mut ears), []);
        assert!(ears.learn(LearnedDetector::new(&[tone(&[620.0], 300, 300)])).is_some());
        assert_eq!(hear(&mut ears), [Fact::Tone(HeardTone::LearnedBusy)]);
    }

    #[test]
    fn what_repeated_last_in_a_call_is_told_when_it_is_over() {
        let mut ears = Ears::new(&plan());
        let hear = |ears: &mut Ears, samples: &[i16]| {
            let mut facts = Vec::new();
            for part in samples.chunks_exact(PERIOD_FRAMES) {
                let (part, none) = (part.try_into().unwrap(), [0; PERIOD_FRAMES]);
                let period = Period { raw: part, near: part, played: &none, local: &none };
                ears.hear(&period, |fact| facts.push(fact));
            }
            facts.retain(|fact| matches!(fact, Fact::CallEnded(_)));
            facts
        };
        let call = Listen { tones: true, voice: true, ..Listen::default() };
        ears.listen(call);
        assert_eq!(hear(&mut ears, &sound(tone(&[620.0], 300, 300), 7_000)), []);
        ears.listen(Listen::default());
        let told = hear(&mut ears, &silence(20));
        let [Fact::CallEnded(Some(repeated))] = told[..] else { panic!("{told:?}") };
        assert!(repeated.lasted_ms >= 6_000 && repeated.ago_ms <= 700, "{repeated:?}");
        // The next call begins without it.
        ears.listen(call);
        assert_eq!(hear(&mut ears, &voice::speech_like(4, 20_000)), []);
        ears.listen(Listen::default());
        let told = hear(&mut ears, &silence(20));
        assert_eq!(told, [Fact::CallEnded(None)]);
    }

    #[test]
    fn what_was_heard_before_is_not_heard_again() {
        let mut ears = Ears::new(&plan());
        let tones = Listen { tones: true, ..Listen::default() };
        let hear = |ears: &mut Ears, samples: &[i16]| {
            let mut facts = Vec::new();
            for part in samples.chunks_exact(PERIOD_FRAMES) {
                let (part, none) = (part.try_into().unwrap(), [0; PERIOD_FRAMES]);
                let period = Period { raw: part, near: part, played: &none, local: &none };
                ears.hear(&period, |fact| facts.push(fact));
            }
            facts
        };
        ears.listen(tones);
        let busy = sound(tone(&[480.0, 620.0], 500, 500), 4_000);
        assert_eq!(hear(&mut ears, &busy), [Fact::Tone(HeardTone::Busy)]);
        // The call is over, and another begins.
        ears.listen(Listen::default());
        ears.listen(tones);
        let dial = sound(tone(&[350.0, 440.0], 0, 0), 2_000);
        assert_eq!(hear(&mut ears, &dial), [Fact::Tone(HeardTone::Dial)]);
    }

    #[test]
    fn a_caller_is_heard_by_each_standard_out_of_silence() {
        let caller = caller_id::CallerId { number: Ok(Text::new("5550100", 32)), ..Default::default() };
        let caller_id = Listen { caller_id: true, ..Listen::default() };
        for (send_as, standard) in [
            (SendAs::Bellcore, CallerIdStandard::Bellcore),
            (SendAs::Etsi, CallerIdStandard::Etsi),
            (SendAs::NumberDisplay, CallerIdStandard::Ntt),
            (SendAs::Digits(caller_id::digits::Form::Etsi), CallerIdStandard::Dtmf),
        ] {
            let mut message = vec![0; 24_000];
            let mut sender = CallerIdSender::new(&LineMessage::Call(caller), send_as, false).unwrap();
            sender.fill(&mut message);
            let facts = heard(caller_id, &[silence(5_000), message, silence(1_000)].concat());
            let callers: Vec<Heard> = facts.iter().filter_map(Fact::heard).collect();
            let expected = HeardCaller { standard, caller: CallerId::of("5550100") };
            assert_eq!(callers, [Heard::CallerId(expected)], "{send_as:?}");
        }
    }

    #[test]
    fn a_damaged_message_is_told_as_such() {
        let caller = caller_id::CallerId { number: Ok(Text::new("5550100", 32)), ..Default::default() };
        let mut message = vec![0; 24_000];
        let length = CallerIdSender::new(&LineMessage::Call(caller), SendAs::Bellcore, false)
            .unwrap()
            .fill(&mut message);
        // A few bits are lost.
        message[length - 500..length - 440].fill(0);
        let facts = heard(Listen { caller_id: true, ..Listen::default() }, &message);
        assert_eq!(facts, [Fact::CallerGarbled(CallerIdStandard::Bellcore)]);
    }

    #[test]
    fn a_voice_is_told_from_tones_noise_and_silence() {
        let listen = Listen { voice: true, ..Listen::default() };
        let is_voice = |samples: &[i16]| heard(listen, samples).contains(&Fact::Voice);
        assert!(is_voice(&voice::speech_like(7, 3_000)));
        for hz in [
            &[350.0, 440.0][..],
            &[440.0, 480.0],
            &[400.0, 450.0],
            &[400.0, 425.0],
            &[425.0],
            &[2_100.0],
            &[384.0, 400.0, 416.0],
        ] {
            for (on, off) in [(0, 0), (2_000, 4_000), (400, 200), (500, 500), (250, 250), (100, 100)] {
                assert!(!is_voice(&sound(tone(hz, on, off), 12_000)), "{hz:?} {on}-{off}");
            }
        }
        assert!(!is_voice(&keys(&[Digit::D5; 12])));
    }

    #[test]
    fn silence_is_counted_in_seconds() {
        let listen = Listen { voice: true, ..Listen::default() };
        let facts =
            heard(listen, &[silence(2_500), sound(tone(&[425.0], 0, 0), 400), silence(1_200)].concat());
        let seconds = |seconds| Fact::Silence { seconds };
        assert_eq!(facts, [seconds(1), seconds(2), seconds(1)]);
    }

    #[test]
    fn the_own_side_is_heard_and_its_echo_is_no_voice() {
        let listen = Listen { voice: true, ..Listen::default() };
        let said = [silence(200), voice::speech_like(3, 4_000), silence(600)].concat();
        let echo: Vec<i16> = said.iter().map(|sample| sample / 12).collect();
        let facts = heard_with(listen, &echo, &said);
        assert_eq!(facts.first(), Some(&Fact::LocalVoice(true)));
        assert_eq!(facts.last(), Some(&Fact::LocalVoice(false)));
        assert!(!facts.contains(&Fact::Voice), "{facts:?}");
    }

    #[test]
    fn the_alert_of_a_waiting_call_is_heard() {
        let listen = Listen { waiting_alert: true, ..Listen::default() };
        let alert = alert_tone(true);
        assert_eq!(heard(listen, &[sound(alert, 400), silence(200)].concat()), [Fact::WaitingAlert]);
    }
}
