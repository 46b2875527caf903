//! The sound of a call: shielded bytes to samples and back, and how much waits in the modem. Pure,
//! and allocates nothing after [`Stream::new`].
//!
//! **Fill.** For each sample that comes one goes: the modem's clock drives both ways, so what waits
//! in it to be played stays what it was at the beginning. 50 ms wait; the thread may be late by
//! so much. What waits is counted, for what the system says of its own queue is not to be relied
//! on: what was sent less what came. It never counts below nothing, so that a box that was late
//! finds room again. Beyond 60 ms, periods of a pause are not sent, and beyond 250 ms none: a period
//! that is missing amid the tones of keys would make another number of them. When the modem says that it ran dry,
//! nothing waits, whatever was counted; what came meanwhile is answered first, and silence does
//! the rest.

use std::time::{Duration, Instant};

use super::samples::SampleFormat;
use super::shield::shield;
use crate::port::linecard::PERIOD_FRAMES;

/// Samples that wait in the modem when a stream begins: 50 ms.
pub(super) const FILL_SAMPLES: usize = 400;
/// And at most: 60 ms, before a pause shortens what waits; and in any case: 250 ms.
const FILL_SAMPLES_MAX: usize = 480;
const FILL_SAMPLES_LIMIT: usize = 2_000;
/// A pause has been silent for so many periods, longer than the one between two keys; and so loud
/// is silence at most.
const PAUSE_PERIODS: u32 = 15;
const PAUSE_PEAK: u16 = 100;
/// Samples that came and were not fetched: 400 ms. The oldest go.
const HEARD_MAX: usize = 3_200;
/// A modem that ran dry is filled up again no more often than this.
const REFILL_EVERY: Duration = Duration::from_millis(200);
/// Without a word from it, a modem that wants nothing sent is sent to again.
const PAUSED_MAX: Duration = Duration::from_secs(1);
/// Samples are counted over so long, and so many more or fewer than 8,000 a second are too many.
const PACE_OVER: Duration = Duration::from_secs(5);
const PACE_OFF_MAX: u64 = 200 * PACE_OVER.as_secs();
/// So often in a row.
const PACE_STRIKES: u32 = 2;
/// No sample for so long is a fault.
const SILENT_MAX: Duration = Duration::from_secs(1);

/// What is wrong with the sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StreamFault {
    /// Nothing comes.
    Silent,
    /// Far too much, or too little.
    Pace,
}

/// What was counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct StreamCounters {
    pub(super) heard: u64,
    pub(super) lost: u64,
    pub(super) dropped_periods: u64,
    pub(super) underruns: u64,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Stream {
    format: SampleFormat,
    heard: Box<[i16; HEARD_MAX]>,
    /// The oldest sample, and how many there are.
    first: usize,
    held: usize,
    /// The first byte of a sample that has two.
    half: Option<u8>,
    /// Samples that wait in the modem.
    fill: usize,
    /// Silent periods played in a row.
    silent: u32,
    /// Shielded bytes that are to be sent.
    out: Vec<u8>,
    /// The modem ran dry, and is filled up with the next period.
    dry: bool,
    refilled: Option<Instant>,
    paused: Option<Instant>,
    last_heard: Instant,
    counted_since: Instant,
    counted: u64,
    strikes: u32,
    counters: StreamCounters,
}

impl Stream {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            format: SampleFormat::MuLaw,
            heard: Box::new([0; HEARD_MAX]),
            first: 0,
            held: 0,
            half: None,
            fill: 0,
            silent: 0,
            out: Vec::with_capacity(4 * (FILL_SAMPLES_LIMIT + PERIOD_FRAMES)),
            dry: false,
            refilled: None,
            paused: None,
            last_heard: now,
            counted_since: now,
            counted: 0,
            strikes: 0,
            counters: StreamCounters::default(),
        }
    }

    /// A stream begins; what fills the modem is to be sent.
    pub(super) fn begin(&mut self, now: Instant, format: SampleFormat) {
        self.format = format;
        (self.first, self.held, self.half) = (0, 0, None);
        self.out.clear();
        (self.dry, self.refilled, self.paused) = (false, None, None);
        self.last_heard = now;
        (self.counted_since, self.counted, self.strikes) = (now, 0, 0);
        self.fill = 0;
        self.silence(FILL_SAMPLES);
    }

    pub(super) const fn counters(&self) -> StreamCounters {
        self.counters
    }

    /// A byte of sound.
    pub(super) fn hear(&mut self, now: Instant, byte: u8) {
        let sample = match (self.format.bytes(), self.half.take()) {
            (1, _) => self.format.decode([byte, 0]),
            (_, Some(first)) => self.format.decode([first, byte]),
            (_, None) => {
                self.half = Some(byte);
                return;
            }
        };
        self.last_heard = now;
        self.counted += 1;
        self.counters.heard += 1;
        self.fill = self.fill.saturating_sub(1);
        if self.held == HEARD_MAX {
            self.first = (self.first + 1) % HEARD_MAX;
            self.held -= 1;
            self.counters.lost += 1;
        }
        if let Some(place) = self.heard.get_mut((self.first + self.held) % HEARD_MAX) {
            *place = sample;
            self.held += 1;
        }
    }

    /// The next 10 ms, if they are whole.
    pub(super) fn next_period(&mut self) -> Option<[i16; PERIOD_FRAMES]> {
        if self.held < PERIOD_FRAMES {
            return None;
        }
        let mut period = [0; PERIOD_FRAMES];
        for sample in &mut period {
            *sample = self.heard.get(self.first).copied().unwrap_or_default();
            self.first = (self.first + 1) % HEARD_MAX;
        }
        self.held -= PERIOD_FRAMES;
        Some(period)
    }

    /// Plays 10 ms, unless too much waits.
    pub(super) fn play(&mut self, samples: &[i16; PERIOD_FRAMES]) {
        let is_silent = samples.iter().all(|sample| sample.unsigned_abs() <= PAUSE_PEAK);
        self.silent = if is_silent { self.silent.saturating_add(1) } else { 0 };
        let most = if self.silent > PAUSE_PERIODS { FILL_SAMPLES_MAX } else { FILL_SAMPLES_LIMIT };
        if self.paused.is_some() || self.fill + PERIOD_FRAMES > most {
            self.counters.dropped_periods += 1;
            return;
        }
        // Not before what came meanwhile has been answered: that fills it, too.
        if self.held < PERIOD_FRAMES && std::mem::take(&mut self.dry) {
            self.silence((FILL_SAMPLES - PERIOD_FRAMES).saturating_sub(self.fill));
        }
        for sample in samples {
            self.send(*sample);
        }
    }

    /// What is to be sent. To be cleared when it was taken.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// The modem says that it had nothing to play.
    pub(super) fn ran_dry(&mut self, now: Instant) {
        self.counters.underruns += 1;
        if self.refilled.is_none_or(|at| now >= at + REFILL_EVERY) && self.paused.is_none() {
            self.refilled = Some(now);
            self.fill = 0;
            self.dry = true;
        }
    }

    /// The modem wants nothing sent, or again.
    pub(super) fn pause(&mut self, now: Instant, on: bool) {
        self.paused = on.then_some(now);
    }

    /// When [`Self::check`] is to be asked.
    pub(super) fn poll_timeout(&self) -> Instant {
        let paused = self.paused.map(|at| at + PAUSED_MAX);
        let next = (self.last_heard + SILENT_MAX).min(self.counted_since + PACE_OVER);
        paused.map_or(next, |at| next.min(at))
    }

    /// What time tells of the sound.
    pub(super) fn check(&mut self, now: Instant) -> Option<StreamFault> {
        if self.paused.is_some_and(|at| now >= at + PAUSED_MAX) {
            self.paused = None;
        }
        if now >= self.last_heard + SILENT_MAX {
            return Some(StreamFault::Silent);
        }
        let over = now.saturating_duration_since(self.counted_since);
        if over >= PACE_OVER {
            let expected = over.as_millis() as u64 * 8;
            let is_off = self.counted.abs_diff(expected) > PACE_OFF_MAX;
            self.strikes = if is_off { self.strikes + 1 } else { 0 };
            (self.counted_since, self.counted) = (now, 0);
        }
        (self.strikes >= PACE_STRIKES).then_some(StreamFault::Pace)
    }

    fn silence(&mut self, samples: usize) {
        for _ in 0..samples {
            self.send(0);
        }
    }

    fn send(&mut self, sample: i16) {
        let (format, out) = (self.format, &mut self.out);
        for byte in format.encode(sample).iter().take(format.bytes()) {
            // Room for all that may wait, shielded, of two bytes each: nothing is allocated.
            if out.len() + 2 <= out.capacity() {
                shield(*byte, |byte| out.push(byte));
            }
        }
        self.fill += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOUD: [i16; PERIOD_FRAMES] = [9_000; PERIOD_FRAMES];

    fn begun() -> (Stream, Instant) {
        let now = Instant::now();
        let mut stream = Stream::new(now);
        stream.begin(now, SampleFormat::MuLaw);
        assert_eq!(stream.out.len(), FILL_SAMPLES);
        stream.out().clear();
        (stream, now)
    }

    fn hear(stream: &mut Stream, now: Instant, samples: usize) {
        (0..samples).for_each(|_| stream.hear(now, 0xff));
    }

    #[test]
    fn each_period_that_comes_lets_one_go() {
        let (mut stream, now) = begun();
        for _ in 0..1_000 {
            hear(&mut stream, now, PERIOD_FRAMES);
            assert!(stream.next_period().is_some() && stream.next_period().is_none());
            stream.play(&LOUD);
            assert_eq!((stream.fill, stream.out.len()), (FILL_SAMPLES, PERIOD_FRAMES));
            stream.out().clear();
        }
        assert_eq!(stream.counters(), StreamCounters { heard: 80_000, ..StreamCounters::default() });
    }

    #[test]
    fn a_box_that_was_late_does_not_pile_up_delay() {
        let (mut stream, now) = begun();
        // 300 ms at once: the modem played what it had, and then nothing.
        hear(&mut stream, now, 30 * PERIOD_FRAMES);
        while stream.next_period().is_some() {
            stream.play(&LOUD);
        }
        assert_eq!(stream.fill, FILL_SAMPLES_LIMIT);
        assert_eq!(stream.counters().dropped_periods, 5);
        // Of two keys and the pause between them nothing is missing; then somebody takes a breath.
        let mut play = |sound: &[i16; PERIOD_FRAMES], periods: usize| {
            for _ in 0..periods {
                hear(&mut stream, now, PERIOD_FRAMES);
                let _ = stream.next_period();
                stream.play(sound);
            }
            (stream.fill, stream.counters().dropped_periods)
        };
        for sound in [&LOUD, &[0; PERIOD_FRAMES], &LOUD, &[0; PERIOD_FRAMES]] {
            assert_eq!(play(sound, 10), (FILL_SAMPLES_LIMIT, 5));
        }
        let (fill, dropped) = play(&[0; PERIOD_FRAMES], 40);
        assert_eq!((fill, dropped), (FILL_SAMPLES_MAX, 5 + 19));
        // And what was heard beyond what is kept is lost, the oldest first.
        hear(&mut stream, now, HEARD_MAX + 5);
        assert_eq!((stream.held, stream.counters().lost), (HEARD_MAX, 5));
    }

    #[test]
    fn a_modem_that_ran_dry_is_filled_again() {
        let (mut stream, now) = begun();
        stream.ran_dry(now);
        stream.ran_dry(now + Duration::from_millis(20));
        stream.play(&LOUD);
        assert_eq!((stream.fill, stream.out.len()), (FILL_SAMPLES, FILL_SAMPLES));
        stream.out().clear();
        stream.pause(now, true);
        hear(&mut stream, now, PERIOD_FRAMES);
        stream.play(&LOUD);
        assert!(stream.out.is_empty());
        assert_eq!(stream.check(now + Duration::from_millis(999)), None);
        stream.pause(now, false);
        stream.play(&LOUD);
        assert_eq!(stream.out.len(), PERIOD_FRAMES);
    }

    #[test]
    fn what_came_while_it_was_dry_fills_it() {
        let (mut stream, now) = begun();
        stream.ran_dry(now);
        hear(&mut stream, now, 3 * PERIOD_FRAMES);
        let mut sent = 0;
        while stream.next_period().is_some() {
            stream.play(&LOUD);
            sent += stream.out.len();
            stream.out().clear();
        }
        // Three periods, and silence for what is missing: no more than at the beginning.
        assert_eq!((sent, stream.fill), (FILL_SAMPLES, FILL_SAMPLES));
    }

    #[test]
    fn a_modem_that_keeps_no_time_is_at_fault() {
        for (a_second, expected) in
            [(8_000, None), (8_190, None), (7_790, Some(StreamFault::Pace)), (8_210, Some(StreamFault::Pace))]
        {
            let (mut stream, began) = begun();
            let mut found = None;
            for second in 0..12 {
                let now = began + Duration::from_secs(second);
                found = found.or_else(|| stream.check(now));
                hear(&mut stream, now, a_second);
                hear(&mut stream, now + Duration::from_millis(900), 0);
                stream.last_heard = now + Duration::from_millis(900);
            }
            assert_eq!(found, expected, "{a_second}");
        }
        let (mut stream, now) = begun();
        hear(&mut stream, now, 80);
        assert_eq!(stream.check(now + SILENT_MAX), Some(StreamFault::Silent));
    }

    #[test]
    fn samples_of_two_bytes_are_paired_wherever_they_are_cut() {
        let now = Instant::now();
        let mut stream = Stream::new(now);
        stream.begin(now, SampleFormat::Signed16);
        assert_eq!(stream.out.len(), 2 * FILL_SAMPLES);
        for sample in 0..80_i16 {
            for byte in (sample * 300).to_le_bytes() {
                stream.hear(now, byte);
            }
        }
        let period = stream.next_period().unwrap();
        assert_eq!(period[79], 79 * 300);
    }
}
