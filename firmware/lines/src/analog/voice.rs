//! The voice of a port: the sounds that its machine asks for, as samples.
//!
//! Pure: a [`Sound`] becomes a [`Script`] where allocating does no harm; [`Voice`] plays it on the
//! card's thread, 10 ms at a time, and allocates nothing.

use tipring_media::dsp::caller_id::{
    self, Absence, CallerIdSender, LineMessage, LineTime, NAME_MAX, NUMBER_MAX, SendAs, Text, alert_tone,
    digits::Form,
};
use tipring_media::dsp::dtmf_detect::{DtmfDetector, Heard};
use tipring_media::dsp::dtmf_generate;
use tipring_media::dsp::peak_of;
use tipring_media::dsp::tone::{Oscillator, TonePlayer};
use tipring_media::{Frame, Rate, ToneSegment, ToneSpec};
use tipring_model::prompt::CallTone;
use tipring_model::{CallerId, Digit, Digits};

use super::contract::{CallerIdStandard, Sound};
use crate::port::linecard::PERIOD_FRAMES;

/// Keys of one [`Sound::Digits`] at most; what is beyond is not sent. Machines send fewer.
pub const DIGITS_MAX: usize = 64;

/// The voice makes 20 ms at a time: so many periods.
const FRAME_PERIODS: usize = 2;
/// A key and the pause after it, in frames of 20 ms: 100 ms each.
const KEY_FRAMES: u32 = 5;
/// Frames between the alert on hook and its message: 100 ms (EN 300 659-1 §6.2.3: 45 to 500).
const ALERT_GAP_FRAMES: u32 = 5;
/// Frames for which the acknowledgement of an alert is awaited: 160 ms from its end (GR-30 §2.5.2),
/// and what the sound takes to the telephone and back through the card, 60 ms and more.
const ACK_FRAMES_MAX: u32 = 18;
/// Frames between the acknowledgement's beginning and the message: it lasts 65 ms at most, and 50
/// to 500 ms are to follow.
const ACK_GAP_FRAMES: u32 = 7;
/// A stutter and a recall tone begin with beeps of so many ms, and pauses as long.
const STUTTER_MS: u16 = 100;
const STUTTER_BEEPS: usize = 8;
const RECALL_BEEPS: usize = 3;
/// The howler: as loud as four frequencies can be together without being cut (GR-506 §17.2.8).
const HOWLER_HZ: [f32; 4] = [1_400.0, 2_060.0, 2_450.0, 2_600.0];
const HOWLER_DBM0: f32 = -9.0;
const HOWLER_MS: u16 = 100;
/// The tone of a line that is needed for a call of more weight, as the telephone networks that have
/// such calls let it be heard: 440 and 620 Hz.
const PREEMPTION_HZ: [f32; 4] = [440.0, 620.0, 0.0, 0.0];
const PREEMPTION_DBM0: f32 = -13.0;
/// The noise that an echo is measured with: as strong as a sine of this level.
const NOISE_DBM0: f32 = -16.0;
/// Peak of even noise beside that of a sine of the same power: the root of 3/2.
const NOISE_PEAK: f32 = 1.224_745;

/// How the country sounds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SoundPlan {
    /// The exchange waits for digits.
    pub dial: ToneSpec,
    /// The far end rings.
    pub ringback: ToneSpec,
    /// The far end is busy.
    pub busy: ToneSpec,
    /// No way to the far end.
    pub congestion: ToneSpec,
    /// Somebody else calls: one beep.
    pub waiting: ToneSpec,
    /// How a telephone is told who calls.
    pub caller_id: CallerIdStandard,
    /// The alert DT-AS comes before a message on hook: where it is told before the first ring.
    pub alerts_on_hook: bool,
    /// How digits say who calls, where they do.
    pub digits_form: Form,
}

impl Default for SoundPlan {
    /// The sounds of the United States (GR-506).
    fn default() -> Self {
        let tone = |hz: [f32; 2], on_ms, off_ms| {
            let hz = [hz[0], hz[1], 0.0, 0.0];
            ToneSpec::repeating(&[ToneSegment { hz, level_dbm0: -13.0, on_ms, off_ms }])
        };
        let beep = ToneSegment { hz: [440.0, 0.0, 0.0, 0.0], level_dbm0: -13.0, on_ms: 300, off_ms: 0 };
        Self {
            dial: tone([350.0, 440.0], 0, 0),
            ringback: tone([440.0, 480.0], 2_000, 4_000),
            busy: tone([480.0, 620.0], 500, 500),
            congestion: tone([480.0, 620.0], 250, 250),
            waiting: ToneSpec::once(&[beep]),
            caller_id: CallerIdStandard::Bellcore,
            alerts_on_hook: false,
            digits_form: Form::Etsi,
        }
    }
}

impl SoundPlan {
    const fn tone(&self, tone: CallTone) -> ToneSpec {
        match tone {
            CallTone::Dial => self.dial,
            CallTone::Ringback => self.ringback,
            CallTone::Busy => self.busy,
            CallTone::Congestion => self.congestion,
        }
    }

    /// What is played for a sound. `time` is the local time, which telephones show.
    #[must_use]
    pub fn script(&self, sound: &Sound, time: Option<LineTime>) -> Script {
        let on_hook = |message: &LineMessage, alerts: bool| Script::Message {
            alert: alerts.then(|| alert_tone(false)),
            sender: self.sender(message, false),
        };
        match sound {
            Sound::Quiet => Script::Quiet,
            Sound::Tone(tone) => Script::Tone { first: None, then: self.tone(*tone) },
            Sound::StutterTone => self.beeps_before_dial(STUTTER_BEEPS),
            Sound::RecallTone => self.beeps_before_dial(RECALL_BEEPS),
            Sound::WaitingTone => Script::Over(self.waiting),
            Sound::PreemptionTone => {
                let (hz, level_dbm0) = (PREEMPTION_HZ, PREEMPTION_DBM0);
                Script::Both(ToneSpec::repeating(&[ToneSegment { hz, level_dbm0, on_ms: 0, off_ms: 0 }]))
            }
            Sound::Howler => {
                let segment = ToneSegment {
                    hz: HOWLER_HZ,
                    level_dbm0: HOWLER_DBM0,
                    on_ms: HOWLER_MS,
                    off_ms: HOWLER_MS,
                };
                Script::Tone { first: None, then: ToneSpec::repeating(&[segment]) }
            }
            Sound::Digits(digits) => Script::Digits(DigitRow::new(digits)),
            Sound::CallerId(caller) => {
                on_hook(&call(caller, time), self.alerts_on_hook && self.caller_id == CallerIdStandard::Etsi)
            }
            Sound::WaitingCallerId(caller) => Script::Waiting {
                // The beep before it has been heard.
                alert: ToneSpec::once(alert_tone(true).segments().get(1..).unwrap_or_default()),
                sender: self.sender(&call(caller, time), true),
            },
            Sound::MessageLamp(waiting) => on_hook(
                &LineMessage::MessageWaiting { waiting: *waiting, count: None },
                self.caller_id == CallerIdStandard::Etsi,
            ),
        }
    }

    fn sender(&self, message: &LineMessage, during_call: bool) -> Option<CallerIdSender> {
        let send_as = match self.caller_id {
            CallerIdStandard::Bellcore => SendAs::Bellcore,
            CallerIdStandard::Etsi => SendAs::Etsi,
            CallerIdStandard::Ntt => SendAs::NumberDisplay,
            CallerIdStandard::Dtmf => SendAs::Digits(self.digits_form),
        };
        CallerIdSender::new(message, send_as, during_call)
    }

    /// The frequencies of dial tone, interrupted, then dial tone.
    fn beeps_before_dial(&self, beeps: usize) -> Script {
        let mut segment = self.dial.segments().first().copied().unwrap_or_default();
        (segment.on_ms, segment.off_ms) = (STUTTER_MS, STUTTER_MS);
        Script::Tone { first: Some(ToneSpec::once(&vec![segment; beeps])), then: self.dial }
    }
}

fn call(caller: &CallerId, time: Option<LineTime>) -> LineMessage {
    let number = caller.number.as_ref().map(|number| Text::new(number.as_str(), NUMBER_MAX));
    let name = caller.name.as_ref().map(|name| Text::new(name, NAME_MAX));
    LineMessage::Call(caller_id::CallerId {
        date_time: time,
        number: number.ok_or(Absence::Withheld),
        name: name.ok_or(Absence::NotSent),
        called: None,
    })
}

/// Keys, of fixed size.
#[derive(Clone, Copy, Debug)]
pub struct DigitRow {
    digits: [Digit; DIGITS_MAX],
    count: usize,
}

impl DigitRow {
    fn new(digits: &Digits) -> Self {
        let mut row = Self { digits: [Digit::D0; DIGITS_MAX], count: 0 };
        for (place, digit) in row.digits.iter_mut().zip(digits.as_slice()) {
            *place = *digit;
            row.count += 1;
        }
        row
    }

    fn get(&self, at: usize) -> Option<Digit> {
        self.digits.get(..self.count)?.get(at).copied()
    }
}

/// A sound ready to be played: of fixed size, so that it crosses to the card's thread and is
/// dropped there without freeing anything.
pub enum Script {
    /// Nothing.
    Quiet,
    /// A tone, after another one.
    Tone {
        /// Before it.
        first: Option<ToneSpec>,
        /// Without end.
        then: ToneSpec,
    },
    /// A beep over what is heard; what was played before is over.
    Over(ToneSpec),
    /// A tone without end that the legs hear, too, in place of the wire.
    Both(ToneSpec),
    /// Keys.
    Digits(DigitRow),
    /// White noise without end, to measure an echo with.
    Noise,
    /// A message on hook.
    Message {
        /// Before it.
        alert: Option<ToneSpec>,
        /// None: the standard has no such message.
        sender: Option<CallerIdSender>,
    },
    /// A message during a call, if the telephone acknowledges the alert.
    Waiting {
        /// The alert.
        alert: ToneSpec,
        /// None: the standard has no such message.
        sender: Option<CallerIdSender>,
    },
}

/// What the voice did in a period.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Spoken {
    /// The samples are heard in place of the legs; otherwise over them.
    pub replaces: bool,
    /// The legs do not hear the wire: what comes from it is for the box alone.
    pub mutes: bool,
    /// The legs hear the samples, too, in place of the wire.
    pub is_for_both: bool,
    /// The sound is over by itself.
    pub ended: bool,
}

#[expect(clippy::large_enum_variant, reason = "of fixed size, so that nothing is allocated; one a port")]
enum Stage {
    Quiet,
    Tone { first: Option<TonePlayer>, then: TonePlayer },
    Over(TonePlayer),
    Both(TonePlayer),
    Digits { row: DigitRow, at: usize, frames: u32, key: Option<Oscillator> },
    Noise { seed: u32 },
    Alert { player: TonePlayer, next: After },
    Ack { frames: u32 },
    Gap { frames: u32 },
    Message,
}

/// What follows an alert.
#[derive(Clone, Copy)]
enum After {
    Gap,
    Ack,
}

/// The voice of one port.
pub struct Voice {
    stage: Stage,
    sender: Option<CallerIdSender>,
    /// A message during a call is under way.
    in_call: bool,
    ack: DtmfDetector,
    acknowledged: bool,
    frame: Frame,
    /// Periods of the frame that were played.
    played: usize,
}

impl Default for Voice {
    fn default() -> Self {
        Self {
            stage: Stage::Quiet,
            sender: None,
            in_call: false,
            ack: DtmfDetector::new(Rate::Narrow),
            acknowledged: false,
            frame: Frame::silence(Rate::Narrow),
            played: FRAME_PERIODS,
        }
    }
}

impl Voice {
    /// Plays this from now on, in place of what is played.
    pub fn say(&mut self, script: Script) {
        self.played = FRAME_PERIODS;
        self.sender = None;
        self.in_call = false;
        self.stage = match script {
            Script::Quiet => Stage::Quiet,
            Script::Tone { first, then } => {
                Stage::Tone { first: first.map(TonePlayer::new), then: TonePlayer::new(then) }
            }
            Script::Over(tone) => Stage::Over(TonePlayer::new(tone)),
            Script::Both(tone) => Stage::Both(TonePlayer::new(tone)),
            Script::Digits(row) => Stage::Digits { row, at: 0, frames: 0, key: None },
            Script::Noise => Stage::Noise { seed: 1 },
            Script::Message { alert, sender } => {
                self.sender = sender;
                match alert.filter(|_| self.sender.is_some()) {
                    Some(alert) => Stage::Alert { player: TonePlayer::new(alert), next: After::Gap },
                    None => Stage::Message,
                }
            }
            Script::Waiting { alert, sender } => {
                self.sender = sender;
                self.in_call = true;
                self.ack.reset();
                self.acknowledged = false;
                match self.sender {
                    Some(_) => Stage::Alert { player: TonePlayer::new(alert), next: After::Ack },
                    None => Stage::Message,
                }
            }
        };
    }

    /// Plays 10 ms into `out`, which is silent; `near` is what is heard meanwhile.
    pub fn period(&mut self, near: &[i16; PERIOD_FRAMES], out: &mut [i16; PERIOD_FRAMES]) -> Spoken {
        if matches!(self.stage, Stage::Ack { .. }) {
            let acknowledged = &mut self.acknowledged;
            self.ack.process(near, |heard| match heard {
                Heard::Began(digit) => *acknowledged |= matches!(digit, Digit::A | Digit::D),
                Heard::Ended { .. } => {}
            });
        }
        if matches!(self.stage, Stage::Quiet) {
            return Spoken::default();
        }
        let replaces = !matches!(self.stage, Stage::Over(_));
        let is_for_both = matches!(self.stage, Stage::Both(_));
        let mutes = self.in_call;
        if self.played >= FRAME_PERIODS {
            self.played = 0;
            self.frame.clear();
            if !self.next_frame() {
                self.stage = Stage::Quiet;
                // Nobody waits for the end of a beep.
                return Spoken { ended: replaces, ..Spoken::default() };
            }
        }
        let from = self.played * PERIOD_FRAMES;
        self.played += 1;
        out.iter_mut().zip(self.frame.samples().iter().skip(from)).for_each(|(to, from)| *to = *from);
        Spoken { replaces, mutes, is_for_both, ended: false }
    }

    /// Makes the next 20 ms; false if there are none.
    fn next_frame(&mut self) -> bool {
        // Each turn goes to the next stage; there are fewer stages than turns.
        for _ in 0..8 {
            let next = match &mut self.stage {
                Stage::Quiet => return false,
                Stage::Tone { first, then } => {
                    if let Some(player) = first
                        && player.fill(&mut self.frame)
                    {
                        return true;
                    }
                    *first = None;
                    then.fill(&mut self.frame);
                    // A tone that has nothing to say is silence until something else is asked for.
                    return true;
                }
                Stage::Over(player) | Stage::Both(player) => return player.fill(&mut self.frame),
                Stage::Digits { row, at, frames, key } => {
                    if *frames == 2 * KEY_FRAMES {
                        (*at, *frames) = (*at + 1, 0);
                    }
                    let Some(digit) = row.get(*at) else { return false };
                    if *frames == 0 {
                        *key = Some(dtmf_generate::oscillator(Rate::Narrow, digit));
                    }
                    if let Some(key) = key.as_mut().filter(|_| *frames < KEY_FRAMES) {
                        key.fill(self.frame.samples_mut());
                    }
                    *frames += 1;
                    return true;
                }
                Stage::Noise { seed } => {
                    let peak = peak_of(NOISE_DBM0) * NOISE_PEAK;
                    for sample in self.frame.samples_mut() {
                        // Numerical Recipes' generator: good enough for the ear of a canceller.
                        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        *sample = (peak * ((*seed >> 8) as f32 / 8_388_608.0 - 1.0)) as i16;
                    }
                    return true;
                }
                Stage::Alert { player, next } => {
                    if player.fill(&mut self.frame) {
                        return true;
                    }
                    match next {
                        After::Gap => Stage::Gap { frames: ALERT_GAP_FRAMES },
                        After::Ack => Stage::Ack { frames: ACK_FRAMES_MAX },
                    }
                }
                Stage::Ack { .. } if self.acknowledged => Stage::Gap { frames: ACK_GAP_FRAMES },
                Stage::Ack { frames: 0 } => return false,
                Stage::Gap { frames: 0 } => Stage::Message,
                Stage::Ack { frames } | Stage::Gap { frames } => {
                    *frames -= 1;
                    return true;
                }
                Stage::Message => {
                    return self
                        .sender
                        .as_mut()
                        .is_some_and(|sender| sender.fill(self.frame.samples_mut()) > 0);
                }
            };
            self.stage = next;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use tipring_media::dsp::caller_id::{CallerIdReceiver, HeardMessage, Standard};
    use tipring_media::dsp::level_meter::LevelMeter;

    use super::*;

    const SILENT: [i16; PERIOD_FRAMES] = [0; PERIOD_FRAMES];

    /// What is played in so many ms, and when it ended by itself.
    fn played(plan: &SoundPlan, sound: &Sound, ms: usize) -> (Vec<i16>, Option<usize>) {
        let mut voice = Voice::default();
        voice.say(plan.script(sound, LineTime::new(11, 29, 12, 30)));
        let (mut all, mut ended) = (Vec::new(), None);
        for at in (0..ms).step_by(10) {
            let mut out = SILENT;
            if voice.period(&SILENT, &mut out).ended {
                assert_eq!(ended.replace(at), None, "it ends once");
            }
            all.extend(out);
        }
        (all, ended)
    }

    /// Whether each 20 ms sounds.
    fn rhythm(samples: &[i16]) -> String {
        let sounds = |part: &[i16]| part.iter().any(|sample| sample.unsigned_abs() > 500);
        samples.chunks(800).map(|part| if sounds(part) { '#' } else { '.' }).collect()
    }

    #[test]
    fn tones_have_their_cadence_and_level() {
        let plan = SoundPlan::default();
        let tone = |tone| played(&plan, &Sound::Tone(tone), 2_000);
        let (dial, ended) = tone(CallTone::Dial);
        assert_eq!((rhythm(&dial), ended), ("#".repeat(20), None));
        let mut meter = LevelMeter::new(Rate::Narrow);
        meter.push(&dial);
        assert!((meter.level_dbm0() + 10.0).abs() < 0.3, "{}", meter.level_dbm0());
        assert_eq!(rhythm(&tone(CallTone::Busy).0), "#####.....#####.....");
        let stutter = played(&plan, &Sound::StutterTone, 2_000).0;
        assert_eq!(rhythm(&stutter), "#.".repeat(8) + "####");
        assert_eq!(rhythm(&played(&plan, &Sound::RecallTone, 1_000).0), "#.#.#.####");
        let howler = played(&plan, &Sound::Howler, 1_000).0;
        assert_eq!(rhythm(&howler), "#.#.#.#.#.");
        assert!(howler.iter().all(|sample| sample.unsigned_abs() < 32_600), "it is cut");
    }

    #[test]
    fn noise_has_its_level_and_does_not_end() {
        let mut voice = Voice::default();
        voice.say(Script::Noise);
        let mut meter = LevelMeter::new(Rate::Narrow);
        for _ in 0..200 {
            let mut out = SILENT;
            assert!(voice.period(&SILENT, &mut out).replaces);
            meter.push(&out);
        }
        assert!((meter.level_dbm0() - NOISE_DBM0).abs() < 0.5, "{}", meter.level_dbm0());
    }

    #[test]
    fn a_beep_lies_over_the_legs_and_nothing_is_said_of_its_end() {
        let mut voice = Voice::default();
        voice.say(SoundPlan::default().script(&Sound::WaitingTone, None));
        let spoken: Vec<Spoken> = (0..40).map(|_| voice.period(&SILENT, &mut SILENT.clone())).collect();
        assert!(spoken.iter().all(|spoken| *spoken == Spoken::default()), "{spoken:?}");
        assert_eq!(rhythm(&played(&SoundPlan::default(), &Sound::WaitingTone, 500).0), "###..");
    }

    #[test]
    fn both_sides_hear_that_the_line_is_needed_until_it_is_quiet() {
        let (plan, mut voice) = (SoundPlan::default(), Voice::default());
        voice.say(plan.script(&Sound::PreemptionTone, None));
        let both = Spoken { replaces: true, is_for_both: true, ..Spoken::default() };
        assert!((0..200).all(|_| voice.period(&SILENT, &mut SILENT.clone()) == both));
        assert_eq!(rhythm(&played(&plan, &Sound::PreemptionTone, 500).0), "#####");
    }

    #[test]
    fn keys_are_sent_and_end() {
        let digits = Digits::parse("2*D").unwrap();
        let (sound, ended) = played(&SoundPlan::default(), &Sound::Digits(digits), 1_000);
        assert_eq!((rhythm(&sound), ended), ("#.#.#.....".to_owned(), Some(600)));
        let mut keys = Vec::new();
        DtmfDetector::new(Rate::Narrow).process(&sound, |heard| {
            if let Heard::Began(digit) = heard {
                keys.push(digit);
            }
        });
        assert_eq!(keys, [Digit::D2, Digit::Star, Digit::D]);
    }

    fn read(sound: &[i16]) -> Vec<HeardMessage> {
        let mut messages = Vec::new();
        CallerIdReceiver::default().push(sound, |message| messages.push(message));
        messages
    }

    #[test]
    fn a_caller_is_told_by_each_standard() {
        for (standard, read_as, alerts_on_hook) in [
            (CallerIdStandard::Bellcore, Standard::Bellcore, false),
            (CallerIdStandard::Etsi, Standard::Etsi, true),
            (CallerIdStandard::Ntt, Standard::NumberDisplay, false),
            (CallerIdStandard::Dtmf, Standard::Dtmf, false),
        ] {
            let plan = SoundPlan { caller_id: standard, alerts_on_hook, ..SoundPlan::default() };
            let caller = CallerId::of("5550100");
            let (sound, ended) = played(&plan, &Sound::CallerId(caller), 4_000);
            assert!(ended.is_some_and(|at| at < 3_000), "{standard:?} {ended:?}");
            let [message] = read(&sound)[..] else { panic!("{standard:?}") };
            assert_eq!(message.standard, read_as);
            let LineMessage::Call(told) = message.message else { panic!("{standard:?}") };
            assert_eq!(told.number.unwrap().as_str(), "5550100");
        }
    }

    #[test]
    fn a_number_that_is_withheld_is_told_as_such() {
        let (sound, _) = played(&SoundPlan::default(), &Sound::CallerId(CallerId::default()), 4_000);
        let [message] = read(&sound)[..] else { panic!() };
        let LineMessage::Call(told) = message.message else { panic!() };
        assert_eq!((told.number, told.name), (Err(Absence::Withheld), Err(Absence::NotSent)));
    }

    #[test]
    fn a_lamp_is_told_where_the_standard_can() {
        for (standard, expected) in [(CallerIdStandard::Etsi, true), (CallerIdStandard::Dtmf, false)] {
            let plan = SoundPlan { caller_id: standard, ..SoundPlan::default() };
            let (sound, ended) = played(&plan, &Sound::MessageLamp(true), 4_000);
            let waits = |heard: &HeardMessage| {
                matches!(heard.message, LineMessage::MessageWaiting { waiting: true, .. })
            };
            assert_eq!(read(&sound).iter().any(waits), expected, "{standard:?}");
            assert!(ended.is_some());
        }
    }

    #[test]
    fn during_a_call_the_message_waits_for_the_acknowledgement() {
        for acknowledges in [true, false] {
            let mut voice = Voice::default();
            let sound = Sound::WaitingCallerId(CallerId::of("5550100"));
            voice.say(SoundPlan::default().script(&sound, None));
            let mut ack = [0; 560];
            dtmf_generate::oscillator(Rate::Narrow, Digit::D).fill(&mut ack);
            let (mut all, mut ended) = (Vec::new(), None);
            for at in 0..300_usize {
                let mut near = SILENT;
                // 50 ms after the alert.
                if let Some(part) = at.checked_sub(13).and_then(|at| ack.get(at * 80..at * 80 + 80))
                    && acknowledges
                {
                    near.copy_from_slice(part);
                }
                let mut out = SILENT;
                let spoken = voice.period(&near, &mut out);
                assert_eq!(spoken.mutes, ended.is_none() && !spoken.ended, "{at}");
                if spoken.ended {
                    ended = Some(at);
                }
                all.extend(out);
            }
            assert_eq!(read(&all).len(), usize::from(acknowledges));
            assert!(ended.is_some());
        }
    }

    #[test]
    fn another_sound_takes_the_place_of_the_last() {
        let (plan, mut voice) = (SoundPlan::default(), Voice::default());
        voice.say(plan.script(&Sound::CallerId(CallerId::of("1")), None));
        voice.period(&SILENT, &mut SILENT.clone());
        voice.say(plan.script(&Sound::Quiet, None));
        let mut out = SILENT;
        assert_eq!(voice.period(&SILENT, &mut out), Spoken::default());
        assert_eq!(out, SILENT);
    }
}
