//! Tones that a line ends calls with, learned from the calls themselves.
//!
//! Many exchanges let a line hear a tone when the far end has hung up, and some a tone that is not
//! in the plan of their country. What repeated at the end of a call that ended otherwise may be
//! one: the loop broke, somebody in the office hung up, nothing was heard any more.
//!
//! A tone that is taken wrongly ends calls that go on. So much is asked of one:
//!
//! - the call was answered, and no tone that is known already ended it;
//! - the tone repeated for at least [`LASTED_MIN`], and [`LASTED_MIN_OWN`] where the box hung up first,
//!   and nothing came after it;
//! - one or two frequencies from 300 to 1,000 Hz; one to three sounds a round; each sound and each
//!   pause from 75 to 1,500 ms: no ring-back has so short a pause, and no fax or modem such a pitch;
//! - it is not like a tone of the country: those mean what they mean;
//! - **two calls** of the line ended with it: frequencies to 12 Hz, times to 10 % or 20 ms.
//!
//! Pure. Candidates of one call alone are kept in memory and forgotten when the box ends.

use std::fmt;

use tipring_media::dsp::tone_learn::Repeated;
use tipring_media::{ToneSegment, ToneSpec};
use tipring_model::LineId;
use tipring_model::line::LineEvent;

use super::contract::{EndSign, Note, Output};

/// Tones of one line at most; what comes beyond is not learned.
pub const LEARNED_MAX: usize = 4;
/// The tone repeated for so long at least, in ms.
pub const LASTED_MIN: u32 = 4_000;
/// The same, where somebody in the office hung up: whoever waits in a queue may do that, too.
pub const LASTED_MIN_OWN: u32 = 8_000;
/// Candidates of one call each; the oldest go.
const CANDIDATES_MAX: usize = 8;
/// After the last round there was nothing for so long at most, in ms, beside a round.
const AFTER_MAX: u32 = 1_500;
const HZ: std::ops::RangeInclusive<f32> = 300.0..=1_000.0;
const STEP_MS: std::ops::RangeInclusive<u16> = 75..=1_500;
const STEPS_MAX: usize = 3;
/// Frequencies agree to within this.
const SAME_HZ: f32 = 12.0;
/// And with those of the country, whose exchanges are not exact.
const COUNTRY_HZ: f32 = 25.0;

/// A tone that a line was heard to end calls with.
#[derive(Clone, PartialEq, Debug)]
pub struct LearnedTone {
    /// The line.
    pub line: LineId,
    /// The tone: for [`LearnedTone::parse`] to read what [`Display`](fmt::Display) wrote.
    pub spec: ToneSpec,
}

impl LearnedTone {
    /// Reads `480+620/250-250` or `425/200-200-200-600`: one or two frequencies in Hz, then sound
    /// and pause in ms, one to three times. `None` for what cannot be learned.
    #[must_use]
    pub fn parse(line: LineId, text: &str) -> Option<Self> {
        let (pitches, times) = text.trim().split_once('/')?;
        let pitches: Option<Vec<f32>> = pitches.split('+').map(|hz| hz.parse().ok()).collect();
        let times: Option<Vec<u16>> = times.split('-').map(|ms| ms.parse().ok()).collect();
        let (pitches, times) = (pitches?, times?);
        let well_formed = !pitches.is_empty() && pitches.len() <= 2 && times.len().is_multiple_of(2);
        if !well_formed {
            return None;
        }
        let mut hz = [0.0; 4];
        hz.iter_mut().zip(&pitches).for_each(|(place, pitch)| *place = *pitch);
        let segments: Vec<ToneSegment> = times
            .chunks_exact(2)
            .filter_map(|pair| if let [on_ms, off_ms] = *pair { Some((on_ms, off_ms)) } else { None })
            .map(|(on_ms, off_ms)| ToneSegment { hz, level_dbm0: LEVEL_DBM0, on_ms, off_ms })
            .collect();
        let spec = ToneSpec::repeating(&segments);
        is_learnable(&spec).then_some(Self { line, spec })
    }
}

/// A detector does not ask for the level.
const LEVEL_DBM0: f32 = -13.0;

impl fmt::Display for LearnedTone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, hz) in pitches(&self.spec).enumerate() {
            write!(f, "{}{hz:.0}", if at == 0 { "" } else { "+" })?;
        }
        for (at, segment) in self.spec.segments().iter().enumerate() {
            write!(f, "{}{}-{}", if at == 0 { '/' } else { '-' }, segment.on_ms, segment.off_ms)?;
        }
        Ok(())
    }
}

fn pitches(spec: &ToneSpec) -> impl Iterator<Item = f32> {
    let first = spec.segments().first().map(|segment| segment.hz).unwrap_or_default();
    first.into_iter().filter(|hz| *hz > 0.0)
}

/// One that can end a call: see the [module](self).
fn is_learnable(spec: &ToneSpec) -> bool {
    let steps = spec.segments();
    let pitched = pitches(spec).count() > 0 && pitches(spec).all(|hz| HZ.contains(&hz));
    let timed = |step: &ToneSegment| STEP_MS.contains(&step.on_ms) && STEP_MS.contains(&step.off_ms);
    pitched && (1..=STEPS_MAX).contains(&steps.len()) && steps.iter().all(timed)
}

/// The same tone, wherever in its round it was first heard.
fn is_like(a: &ToneSpec, b: &ToneSpec, hz: f32) -> bool {
    let near = |a: u16, b: u16| a.abs_diff(b) <= 20.max(a.max(b) / 10);
    let (first, second) = (a.segments(), b.segments());
    let same_pitch = pitches(a).count() == pitches(b).count()
        && pitches(a).zip(pitches(b)).all(|(a, b)| (a - b).abs() <= hz);
    let turned = |by: usize| {
        let second = second.iter().cycle().skip(by);
        first.iter().zip(second).all(|(a, b)| near(a.on_ms, b.on_ms) && near(a.off_ms, b.off_ms))
    };
    same_pitch && first.len() == second.len() && (0..first.len()).any(turned)
}

/// What a line has to learn from.
#[derive(Debug, Default)]
pub(super) struct Lessons {
    /// Tones of the country.
    country: Vec<ToneSpec>,
    known: Vec<ToneSpec>,
    candidates: Vec<ToneSpec>,
    answered: bool,
    /// Signs of the end of the running call, or of the one that is over.
    signs: Vec<EndSign>,
    /// A call is over, and what repeated in it was not told yet.
    is_over: bool,
}

impl Lessons {
    pub(super) fn new(country: Vec<ToneSpec>, known: Vec<ToneSpec>) -> Self {
        Self { country, known, ..Self::default() }
    }

    /// Tones that end calls of the line.
    pub(super) fn known(&self) -> &[ToneSpec] {
        &self.known
    }

    /// The machine of the line said this.
    pub(super) fn output(&mut self, output: &Output) {
        match output {
            Output::Line(LineEvent::Offered(_) | LineEvent::Alerting { .. }) => {
                (self.answered, self.is_over) = (false, false);
                self.signs.clear();
            }
            Output::Line(LineEvent::Answered { .. }) => self.answered = true,
            Output::Line(LineEvent::Released { .. }) => self.is_over = self.answered,
            // Each sign once a call: their number is bounded.
            Output::Note(_, Note::End(sign)) => self.signs.push(*sign),
            Output::Note(_, Note::CallerId(_) | Note::Answer(_) | Note::Ring(_))
            | Output::Signal(_)
            | Output::Sound(_)
            | Output::Listen(_)
            | Output::Join(_)
            | Output::Part(_)
            | Output::Patch(..)
            | Output::Line(_) => {}
        }
    }

    /// What repeated last in the call that is over. Gives a tone when it is learned.
    pub(super) fn call_ended(&mut self, repeated: Option<Repeated>) -> Option<ToneSpec> {
        if !std::mem::take(&mut self.is_over) {
            return None;
        }
        let spec = self.candidate(&repeated?)?;
        let agrees = self.candidates.iter().position(|other| is_like(other, &spec, SAME_HZ));
        let Some(agrees) = agrees else {
            if self.candidates.len() >= CANDIDATES_MAX {
                self.candidates.remove(0);
            }
            self.candidates.push(spec);
            return None;
        };
        self.candidates.remove(agrees);
        if self.known.len() >= LEARNED_MAX {
            return None;
        }
        self.known.push(spec);
        Some(spec)
    }

    /// The tone that the far end's hanging up may sound like.
    fn candidate(&self, repeated: &Repeated) -> Option<ToneSpec> {
        let own = match self.signs.last()? {
            EndSign::LoopBreak | EndSign::Reversal | EndSign::Silence | EndSign::BatteryLost => false,
            EndSign::OwnRelease | EndSign::TalkTime => true,
            EndSign::Tone(_)
            | EndSign::DialTone
            | EndSign::LineInUse
            | EndSign::EmergencyCall
            | EndSign::DeviceGone => return None,
        };
        // The box knows that tone already, and heard it while its own side spoke.
        if self.signs.iter().any(|sign| matches!(sign, EndSign::Tone(_) | EndSign::DialTone)) {
            return None;
        }
        let spec = rounded(repeated.tone.spec());
        let round_ms: u32 =
            spec.segments().iter().map(|step| u32::from(step.on_ms) + u32::from(step.off_ms)).sum();
        let by_silence = self.signs.last() == Some(&EndSign::Silence);
        let lasted = repeated.lasted_ms >= if own { LASTED_MIN_OWN } else { LASTED_MIN };
        // Silence follows the tone, however long it took to be one.
        let is_last = by_silence || repeated.ago_ms <= round_ms + AFTER_MAX;
        let is_known = self.known.iter().any(|known| is_like(known, &spec, COUNTRY_HZ))
            || self.country.iter().any(|tone| is_like(tone, &spec, COUNTRY_HZ));
        (lasted && is_last && is_learnable(&spec) && !is_known).then_some(spec)
    }
}

/// Frequencies to a whole Hz, as they are written.
fn rounded(spec: ToneSpec) -> ToneSpec {
    let mut segments = spec.segments().to_vec();
    for segment in &mut segments {
        segment.hz = segment.hz.map(f32::round);
        segment.level_dbm0 = LEVEL_DBM0;
    }
    ToneSpec::repeating(&segments)
}

#[cfg(test)]
mod tests {
    use tipring_media::Rate;
    use tipring_media::dsp::tone::Oscillator;
    use tipring_media::dsp::tone_learn::ToneLearner;
    use tipring_model::line::{Offer, Supervision};
    use tipring_model::{CallerId, Cause, LegId, Number};
    use tipring_testkit::phone::voice;

    use super::*;
    use crate::analog::contract::HeardTone;

    const LINE: LineId = LineId(3);
    /// What American lines hear.
    const COUNTRY: [&str; 2] = ["480+620/500-500", "480+620/250-250"];

    fn tone(text: &str) -> ToneSpec {
        LearnedTone::parse(LINE, text).unwrap().spec
    }

    fn lessons() -> Lessons {
        Lessons::new(COUNTRY.map(tone).to_vec(), Vec::new())
    }

    /// Plays sounds of these pitches, on and off in ms, for so long, after a minute of speech.
    fn repeated(hz: &[f32], steps_ms: &[usize], ms: usize, then_ms: usize) -> Option<Repeated> {
        let parts: Vec<(f32, f32)> = hz.iter().map(|hz| (*hz, -18.0)).collect();
        let mut player = Oscillator::new(Rate::Narrow, &parts);
        let mut samples = voice::speech_like(5, 60_000);
        let end = samples.len() + ms * 8;
        'rounds: loop {
            for pair in steps_ms.chunks_exact(2) {
                let mut sound = vec![0; pair[0] * 8];
                player.fill(&mut sound);
                samples.extend(sound);
                samples.resize(samples.len() + pair[1] * 8, 0);
                if samples.len() >= end {
                    break 'rounds;
                }
            }
        }
        samples.resize(samples.len() + then_ms * 8, 0);
        let mut learner = ToneLearner::default();
        learner.push(&samples);
        learner.repeated()
    }

    /// A call over the line, from its offer to its end.
    fn call(
        lessons: &mut Lessons,
        answered: bool,
        signs: &[EndSign],
        tail: Option<Repeated>,
    ) -> Option<String> {
        let leg = LegId::offered(LINE, 1);
        let (from, to) = (CallerId::default(), Number::new("1"));
        let offer = Offer { leg, from, to, origin: Box::default(), codec: "" };
        lessons.output(&Output::Line(LineEvent::Offered(offer)));
        if answered {
            let supervision = Supervision::Signalled;
            lessons.output(&Output::Line(LineEvent::Answered { leg, supervision, codec: "" }));
        }
        for sign in signs {
            lessons.output(&Output::Note(leg, Note::End(*sign)));
        }
        let cause = Cause::NormalClearing;
        lessons.output(&Output::Line(LineEvent::Released { leg, cause, status: None }));
        let learned = lessons.call_ended(tail);
        learned.map(|spec| LearnedTone { line: LINE, spec }.to_string())
    }

    #[test]
    fn a_tone_is_written_and_read() {
        for text in ["425/480-480", "480+620/250-250", "400/400-350-225-525", "300/75-1500", "1000/1500-75"] {
            assert_eq!(LearnedTone::parse(LINE, text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "425",
            "425/",
            "/480-480",
            "425/480",
            "425/480-480-480",
            "299/480-480",
            "1001/480-480",
            "425/74-480",
            "425/480-1501",
            "425/480-x",
            "NaN/480-480",
            "inf/480-480",
            "-425/480-480",
            "425+450+480/480-480",
            "425/99999-480",
            "425/80-80-80-80-80-80-80-80",
            "0/480-480",
        ] {
            assert_eq!(LearnedTone::parse(LINE, text), None, "{text}");
        }
    }

    #[test]
    fn a_tone_that_two_calls_ended_with_is_learned() {
        let mut lessons = lessons();
        let tail = |ms| repeated(&[413.0], &[330, 330], ms, 0);
        assert_eq!(call(&mut lessons, true, &[EndSign::LoopBreak], tail(5_300)), None);
        let learned = call(&mut lessons, true, &[EndSign::OwnRelease], tail(9_500));
        let learned = LearnedTone::parse(LINE, &learned.unwrap()).unwrap().spec;
        assert!(is_like(&learned, &tone("413/330-330"), 3.0), "{learned:?}");
        // It is known now.
        assert_eq!(call(&mut lessons, true, &[EndSign::LoopBreak], tail(5_300)), None);
        assert_eq!(call(&mut lessons, true, &[EndSign::LoopBreak], tail(5_300)), None);
    }

    #[test]
    fn wherever_in_its_round_it_was_heard_first_it_is_the_same() {
        let mut lessons = lessons();
        let end = [EndSign::Silence];
        let first = repeated(&[450.0], &[200, 200, 200, 700], 6_600, 12_000);
        let second = repeated(&[450.0], &[200, 700, 200, 200], 6_600, 20_000);
        assert_eq!(call(&mut lessons, true, &end, first), None);
        assert!(call(&mut lessons, true, &end, second).is_some());
    }

    #[test]
    fn what_may_be_anything_else_is_not_learned() {
        let by_break = &[EndSign::LoopBreak][..];
        let good = repeated(&[413.0], &[330, 330], 9_500, 0);
        let short = repeated(&[413.0], &[330, 330], LASTED_MIN as usize - 400, 0);
        let not_long = repeated(&[413.0], &[330, 330], LASTED_MIN_OWN as usize - 700, 0);
        let over = repeated(&[413.0], &[330, 330], 9_500, 3_000);
        let ringback = repeated(&[440.0, 480.0], &[2_000, 4_000], 40_000, 0);
        let british = repeated(&[400.0, 450.0], &[400, 200, 400, 2_000], 40_000, 0);
        let japanese = repeated(&[400.0], &[1_000, 2_000], 40_000, 0);
        let busy = repeated(&[480.0, 620.0], &[500, 500], 9_500, 0);
        let fax = repeated(&[1_100.0], &[500, 1_400], 20_000, 0);
        let talk = {
            let mut learner = ToneLearner::default();
            learner.push(&voice::speech_like(9, 120_000));
            learner.repeated()
        };
        let known = [EndSign::Tone(HeardTone::Busy), EndSign::OwnRelease];
        for (name, answered, signs, tail) in [
            ("never answered", false, by_break, good),
            ("too short", true, by_break, short),
            ("too short for a local end", true, &[EndSign::OwnRelease], not_long),
            ("long over", true, by_break, over),
            ("ring-back", true, by_break, ringback),
            ("double ring", true, by_break, british),
            ("ring-back of Japan", true, by_break, japanese),
            ("busy tone of the country", true, by_break, busy),
            ("calling fax", true, by_break, fax),
            ("speech", true, by_break, talk),
            ("a known tone was heard", true, &known, good),
            ("the device went", true, &[EndSign::DeviceGone], good),
            ("no sign", true, &[], good),
            ("nothing repeated", true, by_break, None),
        ] {
            let mut lessons = lessons();
            for _ in 0..3 {
                assert_eq!(call(&mut lessons, answered, signs, tail), None, "{name}");
            }
            assert!(lessons.candidates.is_empty(), "{name}");
        }
        // The good one is good.
        assert!(lessons().candidate(&good.unwrap()).is_none(), "without any sign");
        let mut lessons = lessons();
        call(&mut lessons, true, by_break, good);
        assert_eq!(lessons.candidates.len(), 1);
    }

    #[test]
    fn two_calls_that_do_not_agree_teach_nothing() {
        let mut lessons = lessons();
        for (hz, on, off) in [(413.0, 330, 330), (440.0, 330, 330), (413.0, 400, 330), (413.0, 330, 400)] {
            let tail = repeated(&[hz], &[on, off], 9_500, 0);
            assert_eq!(call(&mut lessons, true, &[EndSign::LoopBreak], tail), None, "{hz} {on}-{off}");
        }
    }

    #[test]
    fn no_more_than_four_tones_are_learned_and_eight_are_candidates() {
        let mut lessons = lessons();
        let mut learned = 0;
        for n in 0..12 {
            let tail = repeated(&[320.0 + 50.0 * n as f32], &[330, 330], 9_500, 0);
            call(&mut lessons, true, &[EndSign::LoopBreak], tail);
            learned += usize::from(call(&mut lessons, true, &[EndSign::LoopBreak], tail).is_some());
        }
        assert_eq!(learned, LEARNED_MAX);
        for n in 0..12 {
            let tail = repeated(&[345.0 + 50.0 * n as f32], &[700, 700], 14_500, 0);
            call(&mut lessons, true, &[EndSign::LoopBreak], tail);
            assert!(lessons.candidates.len() <= CANDIDATES_MAX);
        }
    }
}
