//! Moves sound between a card and whoever has its ports, 10 ms at a time.
//!
//! **Period.** 80 frames: with two of them waiting to be played, what is said at one port of a
//! card is heard at another after 30 ms, and the thread wakes a hundred times a second. Each
//! period captured is one period played, so the card's clock drives both ways.
//!
//! **Clock.** The card says which frame is the first of a stream, and which frames it lost on
//! the way; so each period has the card's own sample time, the same that its signals have.
//! Between a card's clock and the box's own there is drift: it shows in how full the rings
//! above are, and is corrected there.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::port::SampleTime;

/// Frames of 8 kHz in a period: 10 ms.
pub const PERIOD_FRAMES: usize = 80;
/// Frames that wait to be played when a stream begins.
pub(super) const PREFILL_FRAMES: usize = 2 * PERIOD_FRAMES;
/// More than this does not wait: it would be delay that nobody takes back.
const QUEUED_FRAMES_MAX: usize = 3 * PERIOD_FRAMES;
/// Gaps that are kept until the frames before them are read.
const GAPS_MAX: usize = 16;
/// A second holds no more frames than this: beyond it the device does not keep time at all.
const FRAMES_A_SECOND_MAX: u64 = 4 * 8_000;
/// Without sound for so long a device has stalled.
const STALLED_AFTER: Duration = Duration::from_secs(2);
/// So long is waited for the card to say which frame is the first.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(2);

/// Ten milliseconds of one port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortPeriod {
    /// What came from the wire.
    pub heard: [i16; PERIOD_FRAMES],
    /// What is to go to it. Silence at first.
    pub play: [i16; PERIOD_FRAMES],
}

impl PortPeriod {
    const SILENCE: Self = Self { heard: [0; PERIOD_FRAMES], play: [0; PERIOD_FRAMES] };
}

/// Who hears the ports of a card and speaks to them.
pub trait CardSound: Send {
    /// Called on the card's thread every 10 ms, with all ports of the card in their order.
    /// `at` is the first frame heard; when it jumps, frames were lost. Must not block: what is
    /// late is a gap in every call of the card.
    fn period(&mut self, at: SampleTime, ports: &mut [PortPeriod]);

    /// Called now and then while the device has no sound at all: what was told is to be done all
    /// the same. Must not block.
    fn rest(&mut self) {}
}

/// What is wrong with the sound of a card.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum SoundFault {
    /// The device cannot be opened, or not as this card needs it; the system's error number.
    #[error("the sound device cannot be opened: error {0}")]
    Open(i32),
    /// It failed while it ran; the system's error number.
    #[error("the sound device failed: error {0}")]
    Failed(i32),
    /// No sound came for two seconds.
    #[error("no sound came for two seconds")]
    Stalled,
    /// Sound comes far faster than it can be spoken.
    #[error("sound comes faster than it can be spoken")]
    Runaway,
    /// The card did not say which frame is the first.
    #[error("the card did not say which frame is the first")]
    NotAnnounced,
}

/// What a device answers when there is nothing to read or no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StreamError {
    /// Later.
    Again,
    /// The box was too late, and sound is lost.
    Xrun,
    /// It is broken or gone; the system's error number.
    Failed(i32),
}

/// A sound device, as far as the pump sees it. Samples are interleaved, a channel a port.
pub(super) trait Stream {
    fn read(&mut self, samples: &mut [i16]) -> Result<usize, StreamError>;
    fn write(&mut self, samples: &[i16]) -> Result<usize, StreamError>;
    /// Frames that wait to be played.
    fn queued_frames(&mut self) -> usize;
    fn restart_capture(&mut self) -> Result<(), StreamError>;
    /// With [`PREFILL_FRAMES`] of silence.
    fn restart_playback(&mut self) -> Result<(), StreamError>;
}

/// What was counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct PumpCounters {
    pub(super) overruns: u64,
    pub(super) underruns: u64,
    pub(super) lost_frames: u64,
    pub(super) dropped_periods: u64,
    pub(super) periods: u64,
}

struct Gap {
    at: u64,
    frames: u64,
}

pub(super) struct Pump {
    ports: Vec<PortPeriod>,
    captured: Vec<i16>,
    filled: usize,
    played: Vec<i16>,
    /// The first frame of the stream, if the card has said it.
    first: Option<u64>,
    /// Frames since then: read, and lost on the way.
    passed: u64,
    gaps: VecDeque<Gap>,
    began: Instant,
    last_period: Instant,
    second_began: Instant,
    second_frames: u64,
    counters: PumpCounters,
}

impl Pump {
    pub(super) fn new(now: Instant, ports: usize) -> Self {
        Self {
            ports: vec![PortPeriod::SILENCE; ports],
            captured: vec![0; ports * PERIOD_FRAMES],
            filled: 0,
            played: vec![0; ports * PERIOD_FRAMES],
            first: None,
            passed: 0,
            gaps: VecDeque::new(),
            began: now,
            last_period: now,
            second_began: now,
            second_frames: 0,
            counters: PumpCounters::default(),
        }
    }

    pub(super) fn counters(&self) -> PumpCounters {
        self.counters
    }

    /// Whether the card has said which frame is the first: only then sound is passed on.
    pub(super) fn runs(&self) -> bool {
        self.first.is_some()
    }

    /// The card says which frame is the first of the stream.
    pub(super) fn announced(&mut self, first: SampleTime) {
        self.first = Some(first.0);
    }

    /// So many frames before this one are missing.
    pub(super) fn lost(&mut self, at: SampleTime, frames: u32) {
        self.counters.lost_frames += u64::from(frames);
        if self.gaps.len() < GAPS_MAX {
            self.gaps.push_back(Gap { at: at.0, frames: u64::from(frames) });
        }
    }

    /// When [`Self::fault`] is to be asked next.
    pub(super) fn poll_timeout(&self) -> Instant {
        let stalled = self.last_period + STALLED_AFTER;
        if self.first.is_none() { stalled.min(self.began + ANNOUNCED_WITHIN) } else { stalled }
    }

    /// What time tells of the device. `waits`: there is sound that only was not read yet.
    pub(super) fn fault(&self, now: Instant, waits: bool) -> Option<SoundFault> {
        if self.second_frames > FRAMES_A_SECOND_MAX {
            return Some(SoundFault::Runaway);
        }
        if !waits && now >= self.last_period + STALLED_AFTER {
            return Some(SoundFault::Stalled);
        }
        let late = self.first.is_none() && now >= self.began + ANNOUNCED_WITHIN;
        late.then_some(SoundFault::NotAnnounced)
    }

    /// Takes what was captured, and gives whether a period is whole. What the card says of it
    /// was sent before it: that is to be read first, and then [`Self::exchange`] called.
    ///
    /// # Errors
    /// The device failed for good; it is to be opened anew.
    pub(super) fn fill(&mut self, now: Instant, stream: &mut impl Stream) -> Result<bool, SoundFault> {
        let Some(room) = self.captured.get_mut(self.filled..) else { return Ok(true) };
        match stream.read(room) {
            Ok(samples) => self.filled += samples,
            Err(StreamError::Again) => {}
            Err(StreamError::Xrun) => {
                self.counters.overruns += 1;
                self.guess_first(now);
                stream.restart_capture().map_err(failed)?;
            }
            Err(StreamError::Failed(errno)) => return Err(SoundFault::Failed(errno)),
        }
        Ok(self.filled == self.captured.len())
    }

    /// Passes on the period that is whole, and plays another.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub(super) fn exchange(
        &mut self,
        now: Instant,
        stream: &mut impl Stream,
        sound: &mut dyn CardSound,
    ) -> Result<(), SoundFault> {
        self.filled = 0;
        self.count(now);
        self.pass_on(sound);
        self.write(stream)
    }

    /// A stream that begins anew has another first frame. Until the card says which, it is
    /// taken for the one that is due: a call is not to fall silent for a few milliseconds of doubt.
    fn guess_first(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.last_period).min(STALLED_AFTER);
        let missed = since.as_millis() as u64 * 8;
        self.first = self.first.map(|first| first.saturating_add(self.passed + missed));
        self.passed = 0;
        self.filled = 0;
        self.gaps.clear();
    }

    fn count(&mut self, now: Instant) {
        self.counters.periods += 1;
        self.last_period = now;
        if now >= self.second_began + Duration::from_secs(1) {
            self.second_began = now;
            self.second_frames = 0;
        }
        self.second_frames += PERIOD_FRAMES as u64;
    }

    /// Takes the period apart by ports, lets them be heard, and puts together what they play.
    fn pass_on(&mut self, sound: &mut dyn CardSound) {
        let at = self.time_of_period();
        self.passed += PERIOD_FRAMES as u64;
        let channels = self.ports.len();
        for (channel, port) in self.ports.iter_mut().enumerate() {
            port.play = [0; PERIOD_FRAMES];
            for (heard, sample) in
                port.heard.iter_mut().zip(self.captured.iter().skip(channel).step_by(channels))
            {
                *heard = *sample;
            }
        }
        if let Some(at) = at {
            sound.period(at, &mut self.ports);
        }
        for (channel, port) in self.ports.iter().enumerate() {
            let places = self.played.iter_mut().skip(channel).step_by(channels);
            for (place, sample) in places.zip(&port.play) {
                *place = *sample;
            }
        }
    }

    /// The first frame of the period that was read; gaps that lie before it are passed.
    fn time_of_period(&mut self) -> Option<SampleTime> {
        let first = self.first?;
        let end = PERIOD_FRAMES as u64;
        while let Some(gap) = self.gaps.front() {
            if first.saturating_add(self.passed + end) <= gap.at.saturating_sub(gap.frames) {
                break;
            }
            self.passed += gap.frames;
            self.gaps.pop_front();
        }
        Some(SampleTime(first.saturating_add(self.passed)))
    }

    fn write(&mut self, stream: &mut impl Stream) -> Result<(), SoundFault> {
        if stream.queued_frames() > QUEUED_FRAMES_MAX {
            self.counters.dropped_periods += 1;
            return Ok(());
        }
        match stream.write(&self.played) {
            Ok(samples) if samples == self.played.len() => {}
            Ok(_) | Err(StreamError::Again) => self.counters.dropped_periods += 1,
            Err(StreamError::Xrun) => {
                self.counters.underruns += 1;
                stream.restart_playback().map_err(failed)?;
            }
            Err(StreamError::Failed(errno)) => return Err(SoundFault::Failed(errno)),
        }
        Ok(())
    }
}

/// A device that cannot be restarted is opened anew.
fn failed(error: StreamError) -> SoundFault {
    match error {
        StreamError::Failed(errno) => SoundFault::Failed(errno),
        StreamError::Again | StreamError::Xrun => SoundFault::Failed(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device of which each answer is written down.
    #[derive(Default)]
    struct Scripted {
        reads: VecDeque<Result<Vec<i16>, StreamError>>,
        writes: VecDeque<Result<usize, StreamError>>,
        written: Vec<i16>,
        queued: usize,
        restarts: Vec<&'static str>,
    }

    impl Stream for Scripted {
        fn read(&mut self, samples: &mut [i16]) -> Result<usize, StreamError> {
            let next = self.reads.pop_front().unwrap_or(Err(StreamError::Again))?;
            samples[..next.len()].copy_from_slice(&next);
            Ok(next.len())
        }

        fn write(&mut self, samples: &[i16]) -> Result<usize, StreamError> {
            self.written = samples.to_vec();
            self.writes.pop_front().unwrap_or(Ok(samples.len()))
        }

        fn queued_frames(&mut self) -> usize {
            self.queued
        }

        fn restart_capture(&mut self) -> Result<(), StreamError> {
            self.restarts.push("capture");
            Ok(())
        }

        fn restart_playback(&mut self) -> Result<(), StreamError> {
            self.restarts.push("playback");
            Ok(())
        }
    }

    /// Says back on each port what was heard on the next, and when.
    #[derive(Default)]
    struct Crossed(Vec<u64>);

    impl CardSound for Crossed {
        fn period(&mut self, at: SampleTime, ports: &mut [PortPeriod]) {
            self.0.push(at.0);
            let heard: Vec<_> = ports.iter().map(|port| port.heard).collect();
            for (port, other) in ports.iter_mut().zip(heard.iter().cycle().skip(1)) {
                port.play = *other;
            }
        }
    }

    fn period(ports: i16) -> Vec<i16> {
        (0..PERIOD_FRAMES as i16).flat_map(|frame| (0..ports).map(move |port| 100 * frame + port)).collect()
    }

    fn run(
        pump: &mut Pump,
        stream: &mut Scripted,
        sound: &mut Crossed,
        turns: usize,
    ) -> Result<(), SoundFault> {
        let now = Instant::now();
        (0..turns).try_for_each(|_| turn(pump, now, stream, sound))
    }

    fn turn(
        pump: &mut Pump,
        now: Instant,
        stream: &mut Scripted,
        sound: &mut Crossed,
    ) -> Result<(), SoundFault> {
        if pump.fill(now, stream)? { pump.exchange(now, stream, sound) } else { Ok(()) }
    }

    #[test]
    fn each_port_has_its_channel() {
        let (mut pump, mut sound) = (Pump::new(Instant::now(), 2), Crossed::default());
        let whole = period(2);
        let mut stream = Scripted {
            reads: [Ok(whole[..60].to_vec()), Ok(whole[60..].to_vec())].into(),
            ..Scripted::default()
        };
        pump.announced(SampleTime(5));
        run(&mut pump, &mut stream, &mut sound, 1).unwrap();
        assert!(stream.written.is_empty(), "half a period is not yet one");
        run(&mut pump, &mut stream, &mut sound, 1).unwrap();
        assert_eq!(sound.0, [5]);
        assert_eq!(stream.written[..4], [1, 0, 101, 100]);
        assert_eq!(pump.counters(), PumpCounters { periods: 1, ..PumpCounters::default() });
    }

    #[test]
    fn nothing_is_passed_on_before_the_card_has_said_what_it_is() {
        let began = Instant::now();
        let (mut pump, mut sound) = (Pump::new(began, 1), Crossed::default());
        let mut stream =
            Scripted { reads: [Ok(period(1)), Ok(period(1)), Ok(period(1))].into(), ..Scripted::default() };
        run(&mut pump, &mut stream, &mut sound, 2).unwrap();
        assert!(sound.0.is_empty() && !pump.runs());
        assert_eq!(stream.written, [0; PERIOD_FRAMES]);
        assert!(pump.poll_timeout() <= began + ANNOUNCED_WITHIN);
        // The word came late: two periods were read in the meantime.
        pump.announced(SampleTime(1_000));
        run(&mut pump, &mut stream, &mut sound, 1).unwrap();
        assert_eq!(sound.0, [1_160]);
    }

    #[test]
    fn a_gap_moves_the_clock_where_it_lies() {
        let (mut pump, mut sound) = (Pump::new(Instant::now(), 1), Crossed::default());
        let mut stream = Scripted { reads: (0..5).map(|_| Ok(period(1))).collect(), ..Scripted::default() };
        pump.announced(SampleTime(0));
        // 400 frames are missing before frame 560: after the second period.
        pump.lost(SampleTime(560), 400);
        run(&mut pump, &mut stream, &mut sound, 5).unwrap();
        assert_eq!(sound.0, [0, 80, 560, 640, 720]);
        assert_eq!(pump.counters().lost_frames, 400);
    }

    #[test]
    fn overruns_and_underruns_are_recovered_and_counted() {
        let (mut pump, mut sound) = (Pump::new(Instant::now(), 1), Crossed::default());
        let mut stream = Scripted {
            reads: [
                Ok(period(1)),
                Ok(period(1)[..9].to_vec()),
                Err(StreamError::Xrun),
                Ok(period(1)),
                Ok(period(1)),
            ]
            .into(),
            writes: [Err(StreamError::Xrun), Ok(PERIOD_FRAMES), Err(StreamError::Again)].into(),
            ..Scripted::default()
        };
        pump.announced(SampleTime(7));
        run(&mut pump, &mut stream, &mut sound, 2).unwrap();
        // 50 ms later: what was read of a period is gone, and the place in the sound a guess.
        let later = pump.last_period + Duration::from_millis(50);
        turn(&mut pump, later, &mut stream, &mut sound).unwrap();
        assert_eq!(stream.restarts, ["playback", "capture"]);
        run(&mut pump, &mut stream, &mut sound, 1).unwrap();
        assert_eq!(sound.0, [7, 7 + 80 + 400]);
        // Until the card says it.
        pump.announced(SampleTime(9_000));
        run(&mut pump, &mut stream, &mut sound, 1).unwrap();
        assert_eq!(sound.0, [7, 487, 9_080]);
        let counted =
            PumpCounters { overruns: 1, underruns: 1, dropped_periods: 1, periods: 3, lost_frames: 0 };
        assert_eq!(pump.counters(), counted);
    }

    #[test]
    fn delay_does_not_pile_up() {
        let (mut pump, mut sound) = (Pump::new(Instant::now(), 1), Crossed::default());
        let mut stream =
            Scripted { reads: [Ok(period(1))].into(), queued: QUEUED_FRAMES_MAX + 1, ..Scripted::default() };
        run(&mut pump, &mut stream, &mut sound, 1).unwrap();
        assert!(stream.written.is_empty());
        assert_eq!(pump.counters().dropped_periods, 1);
    }

    #[test]
    fn a_device_that_keeps_no_time_is_at_fault() {
        let began = Instant::now();
        let (mut pump, mut sound) = (Pump::new(began, 1), Crossed::default());
        assert_eq!(pump.fault(began, false), None);
        pump.announced(SampleTime(0));
        assert_eq!(pump.fault(began + STALLED_AFTER, false), Some(SoundFault::Stalled));
        // It was the box that was late.
        assert_eq!(pump.fault(began + STALLED_AFTER, true), None);
        let mut stream = Scripted { reads: (0..401).map(|_| Ok(period(1))).collect(), ..Scripted::default() };
        run(&mut pump, &mut stream, &mut sound, 400).unwrap();
        assert_eq!(pump.fault(began + Duration::from_millis(900), true), None);
        turn(&mut pump, began + Duration::from_millis(900), &mut stream, &mut sound).unwrap();
        assert_eq!(pump.fault(began + Duration::from_millis(900), true), Some(SoundFault::Runaway));
        let (mut pump, mut stream) = (Pump::new(began, 1), Scripted::default());
        stream.reads.push_back(Ok(period(1)));
        turn(&mut pump, began + Duration::from_secs(1), &mut stream, &mut sound).unwrap();
        assert_eq!(pump.fault(began + ANNOUNCED_WITHIN, true), Some(SoundFault::NotAnnounced));
    }

    #[test]
    fn a_device_that_fails_says_so() {
        let (mut pump, mut sound) = (Pump::new(Instant::now(), 1), Crossed::default());
        let mut stream = Scripted { reads: [Err(StreamError::Failed(19))].into(), ..Scripted::default() };
        assert_eq!(run(&mut pump, &mut stream, &mut sound, 1), Err(SoundFault::Failed(19)));
    }
}
