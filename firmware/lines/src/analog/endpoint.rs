//! The way of a leg's sound between the card's thread and the media engine.
//!
//! Two rings of samples. The card has a clock of its own, the box another: each reader keeps the
//! samples that wait for it near a mark, by reading one sample more or less now and then and
//! stretching what it read. Nobody hears that; 20 ms of silence or a lost frame everybody does.
//!
//! **Limits.** Each way holds 200 ms. What waits is 30 to 100 ms: the mark goes up when a ring
//! runs dry while its writer is at work, and stays up for the call. Clocks may be
//! 0.03 % apart without a gap.

use std::time::Instant;

use rtrb::{Consumer, Producer, RingBuffer};
use tipring_media::{Endpoint, Frame, Rate, Received};

use crate::port::linecard::PERIOD_FRAMES;

/// Samples in a ring: 200 ms.
const RING_SAMPLES: usize = 1_600;
/// Samples of 20 ms.
const FRAME_SAMPLES: usize = 160;
/// The mark of the media engine: what it reads at once, and 15 ms for the card to be late.
const MEDIA_MARK: usize = FRAME_SAMPLES + 120;
/// The mark of the card: what it reads at once, and what comes at once.
const CARD_MARK: usize = PERIOD_FRAMES + FRAME_SAMPLES;
/// The engine writes 20 ms at once and the card reads half of it: right after it has written, so
/// much more waits than on average.
const CARD_SWING: usize = PERIOD_FRAMES / 2;
/// The mark goes up by this, and no higher.
const MARK_STEP: usize = 80;
const MARK_MAX: usize = 800;
/// More than this beyond the mark is thrown away at once: 60 ms.
const EXCESS_MAX: usize = 480;
/// What waits may be this far from the mark, on average, before anything is done.
const SLACK: f32 = 20.0;
/// Samples between two corrections, and what waits so far from the mark that it is urgent.
const CORRECTION_EVERY: usize = 2_000;
const URGENT_EVERY: usize = 400;
const URGENT: f32 = 200.0;
/// Part of the newest in the average of what waits.
const SHARE: f32 = 0.02;
/// Reads after it has begun in which a reader still finds its place: a ring that was full says
/// nothing of when its writer writes, and a whole write is seen within two.
const SETTLING_READS: u8 = 2;
/// Reads after which a ring that is dry is no longer expected to be filled: the writer rests.
const DRY_READS_MAX: u32 = 10;

/// A reader that keeps what waits for it near a mark.
struct Steady {
    ring: Consumer<i16>,
    mark: usize,
    /// What waits beyond the average when the writer has just written.
    swing: usize,
    /// What waits before a read, on average.
    waiting: f32,
    runs: bool,
    settling: u8,
    since_correction: usize,
    /// Reads since it ran dry; none if it never ran.
    dry: Option<u32>,
}

impl Steady {
    const fn new(ring: Consumer<i16>, mark: usize, swing: usize) -> Self {
        Self { ring, mark, swing, waiting: 0.0, runs: false, settling: 0, since_correction: 0, dry: None }
    }

    /// Fills `out`, with silence where there is nothing; false if all of it is silence.
    fn read(&mut self, out: &mut [i16]) -> bool {
        let mut waits = self.ring.slots();
        if !self.runs {
            self.dry = self.dry.map(|reads| reads.saturating_add(1));
            if waits < self.mark + self.swing {
                out.fill(0);
                return false;
            }
            if self.dry.take().is_some_and(|reads| reads <= DRY_READS_MAX) {
                self.mark = (self.mark + MARK_STEP).min(MARK_MAX);
            }
        }
        // It begins at the mark, and is there at once when far too much waits.
        if !self.runs || waits > self.mark + EXCESS_MAX {
            (self.runs, self.settling) = (true, SETTLING_READS + 1);
        }
        if self.settling > 0 {
            self.settling -= 1;
            while waits > self.mark + self.swing && self.ring.pop().is_ok() {
                waits -= 1;
            }
            self.waiting = self.mark as f32;
        }
        if waits <= out.len() {
            self.runs = false;
            self.dry = Some(0);
            out.fill_with(|| self.ring.pop().unwrap_or_default());
            return waits > 0;
        }
        self.waiting += SHARE * (waits as f32 - self.waiting);
        self.since_correction = self.since_correction.saturating_add(out.len());
        let off = self.waiting - self.mark as f32;
        let every = if off.abs() > URGENT { URGENT_EVERY } else { CORRECTION_EVERY };
        let may = self.since_correction >= every;
        if may && off > SLACK {
            self.stretch(out, out.len() + 1);
            self.waiting -= 1.0;
        } else if may && off < -SLACK {
            self.stretch(out, out.len() - 1);
            self.waiting += 1.0;
        } else {
            out.fill_with(|| self.ring.pop().unwrap_or_default());
            return true;
        }
        self.since_correction = 0;
        true
    }

    /// Reads `count` samples and lays them over all of `out`.
    fn stretch(&mut self, out: &mut [i16], count: usize) {
        let mut read = [0; FRAME_SAMPLES + 1];
        let count = count.min(read.len());
        read.iter_mut().take(count).for_each(|sample| *sample = self.ring.pop().unwrap_or_default());
        let step = (count - 1) as f32 / (out.len() - 1) as f32;
        for (n, sample) in out.iter_mut().enumerate() {
            let at = n as f32 * step;
            let (first, part) = (at as usize, at.fract());
            let of = |at: usize| f32::from(read.get(at.min(count - 1)).copied().unwrap_or_default());
            *sample = (of(first) * (1.0 - part) + of(first + 1) * part).round() as i16;
        }
    }
}

fn write(ring: &mut Producer<i16>, samples: &[i16]) {
    // Nobody reads: what is said is lost, as it should be.
    for sample in samples {
        if ring.push(*sample).is_err() {
            return;
        }
    }
}

/// A leg's sound at the media engine.
pub struct PortEndpoint {
    hears: Steady,
    says: Producer<i16>,
    heard: Option<Instant>,
}

/// A leg's sound at the card.
pub struct LegSound {
    says: Steady,
    hears: Producer<i16>,
}

/// Both ends of the way.
#[must_use]
pub fn leg_sound() -> (PortEndpoint, LegSound) {
    let (hears_in, hears_out) = RingBuffer::new(RING_SAMPLES);
    let (says_in, says_out) = RingBuffer::new(RING_SAMPLES);
    let endpoint = PortEndpoint { hears: Steady::new(hears_out, MEDIA_MARK, 0), says: says_in, heard: None };
    (endpoint, LegSound { says: Steady::new(says_out, CARD_MARK, CARD_SWING), hears: hears_in })
}

impl LegSound {
    /// The next 10 ms that the leg says; false if it is silent.
    pub fn says(&mut self, out: &mut [i16; PERIOD_FRAMES]) -> bool {
        self.says.read(out)
    }

    /// Lets the leg hear 10 ms.
    pub fn hears(&mut self, samples: &[i16; PERIOD_FRAMES]) {
        write(&mut self.hears, samples);
    }
}

impl Endpoint for PortEndpoint {
    fn rate(&self) -> Rate {
        Rate::Narrow
    }

    fn receive(&mut self, now: Instant, frame: &mut Frame) -> Received {
        frame.reset(Rate::Narrow);
        if self.hears.read(frame.samples_mut()) {
            self.heard = Some(now);
            Received::Audio
        } else {
            Received::Silence
        }
    }

    fn send(&mut self, _: Instant, frame: &Frame) {
        write(&mut self.says, frame.samples());
    }

    fn pass(&mut self, _: Instant) {
        // Silence is sound to a wire: the rings stay at their marks.
        write(&mut self.says, &[0; FRAME_SAMPLES]);
    }

    fn last_heard(&self) -> Option<Instant> {
        self.heard
    }
}

#[cfg(test)]
mod tests {
    use tipring_testkit::phone::{compare, voice};

    use super::*;

    /// Lets the card write a period and the engine read a frame as their clocks say, the card
    /// faster by so many parts in a million, and gives what the engine read, what waited at
    /// most, and how often the ring was dry, after the first second.
    fn run(samples: &[i16], ppm: f64, late: impl Fn(usize) -> bool) -> (Vec<i16>, usize, usize) {
        let now = Instant::now();
        let (mut endpoint, mut sound) = leg_sound();
        let (mut all, mut written, mut most, mut dry) = (Vec::new(), 0, 0, 0);
        let mut frame = Frame::silence(Rate::Narrow);
        for read in 0..samples.len() / FRAME_SAMPLES {
            let due = ((read + 1) as f64 * 2.0 * (1.0 + ppm / 1e6)) as usize;
            while written < due && !late(read) {
                let from = written * PERIOD_FRAMES;
                let period = core::array::from_fn(|n| samples.get(from + n).copied().unwrap_or(0));
                sound.hears(&period);
                written += 1;
            }
            endpoint.receive(now, &mut frame);
            all.extend(frame.samples());
            if read >= 50 {
                most = most.max(RING_SAMPLES - sound.hears.slots());
                dry += usize::from(!endpoint.hears.runs);
            }
        }
        (all, most, dry)
    }

    #[test]
    fn sound_passes_untouched_at_equal_clocks() {
        let samples = voice::speech_like(1, 10_000);
        let (heard, ..) = run(&samples, 0.0, |_| false);
        let found = compare::find(&samples[..70_000], &heard);
        assert!(found.correlation > 0.9999 && found.at <= 480, "{found:?}");
    }

    #[test]
    fn clocks_may_run_apart_without_gaps_and_without_more_delay() {
        let samples = voice::speech_like(2, 300_000);
        for ppm in [-300.0, -100.0, 100.0, 300.0] {
            let (heard, waits, dry) = run(&samples, ppm, |_| false);
            assert!(waits < MEDIA_MARK + 160 && dry == 0, "{ppm}: {waits}, {dry}");
            // Wherever it is looked at, half a second is as it was.
            for at in (16_000..samples.len() - 16_000).step_by(160_000) {
                let part = &samples[at..at + 4_000];
                let from = at - 4_000;
                let found = compare::find_in_parts(part, &heard[from..from + 12_000], 400, 40);
                assert!(found.correlation > 0.9, "{ppm} at {at}: {found:?}");
            }
        }
    }

    #[test]
    fn a_card_that_is_late_again_and_again_is_waited_for_longer() {
        let samples = voice::speech_like(3, 60_000);
        // Each second 60 ms late.
        let (heard, waits, _) = run(&samples, 0.0, |read| read % 50 < 3);
        let late = heard[240_000..].windows(100).filter(|part| part.iter().all(|s| *s == 0)).count();
        let silent = samples[240_000..].windows(100).filter(|part| part.iter().all(|s| *s == 0)).count();
        assert!(late <= silent, "{late} gaps, {silent} of the voice's own");
        assert!(waits <= MARK_MAX, "{waits}");
    }

    /// The card joins a leg to which the engine has spoken for a while, just before or just after
    /// it writes its next 20 ms: either way what is said is passed on as it is.
    #[test]
    fn a_leg_that_spoke_before_it_was_joined_is_heard_untouched() {
        let samples = voice::speech_like(4, 8_000);
        let now = Instant::now();
        for reads_first in [false, true] {
            let (mut endpoint, mut sound) = leg_sound();
            for _ in 0..12 {
                endpoint.pass(now);
            }
            let (mut frame, mut said, mut heard) =
                (Frame::silence(Rate::Narrow), [0; PERIOD_FRAMES], Vec::new());
            let mut read = |sound: &mut LegSound| {
                sound.says(&mut said);
                heard.extend(said);
            };
            for part in samples.chunks_exact(FRAME_SAMPLES) {
                if reads_first {
                    read(&mut sound);
                }
                frame.samples_mut().copy_from_slice(part);
                endpoint.send(now, &frame);
                read(&mut sound);
                if !reads_first {
                    read(&mut sound);
                }
            }
            let found = compare::find(&samples[4_000..56_000], &heard);
            assert!(found.correlation > 0.9999, "reads first: {reads_first}, {found:?}");
        }
    }

    #[test]
    fn nobody_reads_and_later_it_is_not_old_what_is_heard() {
        let now = Instant::now();
        let (mut endpoint, mut sound) = leg_sound();
        for n in 0..100_i16 {
            sound.hears(&[n; PERIOD_FRAMES]);
        }
        let mut frame = Frame::silence(Rate::Narrow);
        assert_eq!(endpoint.receive(now, &mut frame), Received::Audio);
        let waits = RING_SAMPLES - sound.hears.slots();
        assert!(waits <= MEDIA_MARK, "{waits}");
        while endpoint.receive(now, &mut frame) == Received::Audio {}
        // Silence is sent in the other direction, too.
        let mut said = [1; PERIOD_FRAMES];
        for _ in 0..3 {
            endpoint.pass(now);
        }
        assert!(sound.says(&mut said));
        assert_eq!(said, [0; PERIOD_FRAMES]);
    }
}
