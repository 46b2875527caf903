//! What a leg plays: a queue of sources, each played to its end and followed by the
//! next without a gap.

use std::sync::Arc;

use rtrb::Consumer;
use tipring_model::{Digit, Digits, PlayId};

use crate::{
    codec::CodecId,
    command::{PlaySource, Spent},
    dsp::{dtmf_generate, tone::Oscillator, tone::TonePlayer},
    endpoint::EventStep,
    frame::{FRAME_MS, Frame},
    prompt::Prompt,
    rtp::telephone_event::END_PACKETS,
};

/// Plays that one leg can have, the running one included.
pub const PLAYS_MAX: usize = 10;

/// Shortest digit and shortest pause sent, in milliseconds (ITU-T Q.24).
const DIGIT_MIN_MS: u16 = 40;
/// Longest digit and longest pause sent, in milliseconds: fits the duration of an event.
const DIGIT_MAX_MS: u16 = 8_000;

/// One entry of the queue.
pub(crate) struct Playing {
    /// Its name; none if it is a digit that another leg's party pressed.
    pub(crate) play: Option<PlayId>,
    source: Source,
    /// Rounds left; none means without end.
    rounds: Option<u32>,
    /// Frame of the current round.
    at: usize,
    /// Milliseconds of the rounds before.
    earlier_ms: u64,
    /// Frames given in this round.
    frames: u64,
    /// It stands still.
    still: bool,
}

enum Source {
    Prompt(Arc<Prompt>),
    Stream(Consumer<Frame>),
    Tone(TonePlayer),
    Silence { frames: u64 },
    Digits(DigitRun),
}

struct DigitRun {
    keys: Keys,
    on_frames: u32,
    gap_frames: u32,
    index: usize,
    /// Frame within digit and pause.
    frame: u32,
    sound: Option<Oscillator>,
}

enum Keys {
    Many(Digits),
    One(Digit),
}

impl Keys {
    fn get(&self, index: usize) -> Option<Digit> {
        match self {
            Self::Many(digits) => digits.as_slice().get(index).copied(),
            Self::One(digit) => (index == 0).then_some(*digit),
        }
    }
}

/// What a playing gives for one frame.
pub(crate) enum Given {
    /// Send frame `at` of the prompt as prepared payload.
    Payload(usize),
    /// A frame was written.
    Sound,
    /// Send this packet of a named event.
    Event(EventStep),
    /// Send nothing for this frame.
    Pause,
    /// It is over; nothing was given.
    Over,
}

impl Playing {
    pub(crate) fn new(play: PlayId, source: PlaySource, loops: u32) -> Self {
        let source = match source {
            PlaySource::Prompt(prompt) => Source::Prompt(prompt),
            PlaySource::Stream(ring) => Source::Stream(ring),
            PlaySource::Tone(spec) => Source::Tone(TonePlayer::new(spec)),
            PlaySource::Silence { ms } => Source::Silence { frames: u64::from(ms.div_ceil(FRAME_MS)) },
        };
        Self::of(Some(play), source, (loops > 0).then_some(loops))
    }

    pub(crate) fn digits(play: PlayId, digits: Digits, on_ms: u16, gap_ms: u16) -> Self {
        let run = DigitRun::new(Keys::Many(digits), on_ms, gap_ms);
        Self::of(Some(play), Source::Digits(run), Some(1))
    }

    /// A digit passed on from another leg.
    pub(crate) fn passed_on(digit: Digit, duration_ms: u32) -> Self {
        let on_ms = u16::try_from(duration_ms).unwrap_or(u16::MAX);
        let run = DigitRun::new(Keys::One(digit), on_ms, DIGIT_MIN_MS);
        Self::of(None, Source::Digits(run), Some(1))
    }

    const fn of(play: Option<PlayId>, source: Source, rounds: Option<u32>) -> Self {
        Self { play, source, rounds, at: 0, earlier_ms: 0, frames: 0, still: false }
    }

    pub(crate) fn played_ms(&self) -> u64 {
        let round = match &self.source {
            Source::Prompt(prompt) => prompt.heard_ms(self.frames),
            Source::Stream(_) | Source::Tone(_) | Source::Silence { .. } | Source::Digits(_) => {
                self.frames * u64::from(FRAME_MS)
            }
        };
        self.earlier_ms + round
    }

    pub(crate) fn into_spent(self) -> Spent {
        match self.source {
            Source::Prompt(prompt) => Spent::Prompt(prompt),
            Source::Stream(ring) => Spent::Stream(ring),
            Source::Tone(_) | Source::Silence { .. } => Spent::Nothing,
            Source::Digits(run) => match run.keys {
                Keys::Many(digits) => Spent::Digits(digits),
                Keys::One(_) => Spent::Nothing,
            },
        }
    }

    /// The prepared payload that [`Given::Payload`] named.
    pub(crate) fn payload(&self, codec: CodecId, at: usize) -> &[u8] {
        match &self.source {
            Source::Prompt(prompt) => prompt.payload(codec, at).unwrap_or(&[]),
            Source::Stream(_) | Source::Tone(_) | Source::Silence { .. } | Source::Digits(_) => &[],
        }
    }

    /// Gives the next 20 ms. `payload` names the codec in which prepared payload will
    /// do, `events` says whether digits can go as named events; otherwise sound is
    /// written into `frame`, which may come back at another rate.
    pub(crate) fn give(&mut self, payload: Option<CodecId>, events: bool, frame: &mut Frame) -> Given {
        if self.still {
            return Given::Pause;
        }
        let given = match &mut self.source {
            Source::Prompt(prompt) => {
                let total = prompt.frames();
                if self.at >= total {
                    self.rounds = self.rounds.map(|rounds| rounds.saturating_sub(1));
                    if self.rounds == Some(0) || total == 0 {
                        return Given::Over;
                    }
                    self.earlier_ms += prompt.duration_ms();
                    self.frames = 0;
                    self.at = 0;
                }
                let at = self.at;
                self.at += 1;
                if payload.is_some_and(|codec| prompt.is_prepared(codec)) {
                    Given::Payload(at)
                } else {
                    prompt.frame(at, frame);
                    Given::Sound
                }
            }
            Source::Stream(ring) => match ring.pop() {
                Ok(next) => {
                    *frame = next;
                    Given::Sound
                }
                Err(rtrb::PopError::Empty) if ring.is_abandoned() => match ring.pop() {
                    // The writer may have written and gone between the two looks.
                    Ok(next) => {
                        *frame = next;
                        Given::Sound
                    }
                    Err(rtrb::PopError::Empty) => return Given::Over,
                },
                Err(rtrb::PopError::Empty) => {
                    frame.clear();
                    Given::Sound
                }
            },
            Source::Tone(tone) => {
                if !tone.fill(frame) {
                    return Given::Over;
                }
                Given::Sound
            }
            Source::Silence { frames } => {
                let endless = self.rounds.is_none() && *frames > 0;
                let total = *frames * u64::from(self.rounds.unwrap_or(1));
                if !endless && self.frames >= total {
                    return Given::Over;
                }
                frame.clear();
                Given::Sound
            }
            Source::Digits(run) => match run.give(events, frame) {
                Some(given) => given,
                None => return Given::Over,
            },
        };
        self.frames += 1;
        given
    }
}

impl DigitRun {
    fn new(keys: Keys, on_ms: u16, gap_ms: u16) -> Self {
        let frames = |ms: u16| u32::from(ms.clamp(DIGIT_MIN_MS, DIGIT_MAX_MS)).div_ceil(FRAME_MS);
        Self { keys, on_frames: frames(on_ms), gap_frames: frames(gap_ms), index: 0, frame: 0, sound: None }
    }

    fn give(&mut self, events: bool, frame: &mut Frame) -> Option<Given> {
        let digit = self.keys.get(self.index)?;
        let at = self.frame;
        let tail = u32::from(END_PACKETS) - 1;
        self.frame += 1;
        // Further ends are repeated in the pause, which is two frames at least.
        if self.frame >= self.on_frames + self.gap_frames {
            self.frame = 0;
            self.index += 1;
        }
        if events {
            if at >= self.on_frames + tail {
                return Some(Given::Pause);
            }
            return Some(Given::Event(EventStep {
                digit,
                begins: at == 0,
                ends: at + 1 >= self.on_frames,
                duration_ms: (at + 1).min(self.on_frames) * FRAME_MS,
            }));
        }
        if at < self.on_frames {
            if at == 0 {
                self.sound = Some(dtmf_generate::oscillator(frame.rate(), digit));
            }
            match &mut self.sound {
                Some(sound) => sound.fill(frame.samples_mut()),
                None => frame.clear(),
            }
        } else {
            self.sound = None;
            frame.clear();
        }
        Some(Given::Sound)
    }
}

/// The queue of one leg.
#[derive(Default)]
pub(crate) struct PlayQueue {
    entries: [Option<Playing>; PLAYS_MAX],
    length: usize,
}

impl PlayQueue {
    pub(crate) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Puts a playing at the end; gives it back if there is no room.
    pub(crate) fn push(&mut self, playing: Playing) -> Option<Playing> {
        match self.entries.get_mut(self.length) {
            Some(place) => {
                *place = Some(playing);
                self.length += 1;
                None
            }
            None => Some(playing),
        }
    }

    pub(crate) fn front_mut(&mut self) -> Option<&mut Playing> {
        self.entries[0].as_mut()
    }

    pub(crate) const fn front(&self) -> Option<&Playing> {
        self.entries[0].as_ref()
    }

    pub(crate) fn pop(&mut self) -> Option<Playing> {
        self.take(0)
    }

    pub(crate) fn remove(&mut self, play: PlayId) -> Option<Playing> {
        let at =
            self.entries.iter().position(|entry| entry.as_ref().is_some_and(|p| p.play == Some(play)))?;
        self.take(at)
    }

    pub(crate) fn suspend(&mut self, play: PlayId, still: bool) {
        for playing in self.entries.iter_mut().flatten().filter(|playing| playing.play == Some(play)) {
            playing.still = still;
        }
    }

    fn take(&mut self, at: usize) -> Option<Playing> {
        let taken = self.entries.get_mut(at)?.take()?;
        self.entries[at..self.length].rotate_left(1);
        self.length -= 1;
        Some(taken)
    }
}
