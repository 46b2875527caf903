//! Is it ringing, how often has it rung, and in which cadence?
//!
//! Some hardware reports a burst of ringing voltage as one, some each half wave. Both count as
//! a burst when the voltage stays, or comes at least twice, in the first 64 ms; anything less
//! is a scratch on the wire. A burst is over when the voltage has been away for 100 ms, longer
//! than between two half waves at 10 Hz. Bursts with less than a second between them are one
//! ring: the British double ring is two bursts.

use std::time::{Duration, Instant};

use crate::port::Cadence;

/// Ringing voltage is looked at for so long before it is believed (DAHDI's ring debounce).
const DEBOUNCE: Duration = Duration::from_millis(64);
/// Voltage that is away for so long has ended a burst.
const TRAILER: Duration = Duration::from_millis(100);
/// Silence that divides two rings.
const BETWEEN_RINGS: Duration = Duration::from_millis(1_000);
/// Ringing voltage that stays longer is not ringing.
const BURST_MAX: Duration = Duration::from_secs(10);

/// What has happened to the ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RingEvent {
    /// Ringing has been seen to be real: a burst began.
    Began,
    /// A burst is over.
    BurstOver,
    /// No further burst belongs to this ring.
    RingOver,
    /// The voltage stays: something is wrong with the line.
    Stuck,
}

#[derive(Clone, Copy, Debug)]
enum Wave {
    /// No voltage, since then if there ever was.
    Off(Option<Instant>),
    /// It may be the beginning of a burst.
    Perhaps { began: Instant, times: u8, is_on: bool, changed: Instant, before: Option<Instant> },
    /// A burst; since when the voltage is away, if it is.
    On { began: Instant, went: Option<Instant> },
}

/// Measures the ringing of one call.
#[derive(Clone, Debug)]
pub(super) struct RingMeter {
    wave: Wave,
    rings: u8,
    ring_is_over: bool,
    /// Bursts and silences of the ringing, in ms, as far as they are complete.
    steps_ms: Vec<u16>,
    /// Bursts of the first ring and the silences between them.
    first_ms: Vec<u16>,
    longest_off: Duration,
}

impl RingMeter {
    pub(super) const fn new() -> Self {
        Self {
            wave: Wave::Off(None),
            rings: 0,
            ring_is_over: false,
            steps_ms: Vec::new(),
            first_ms: Vec::new(),
            longest_off: Duration::ZERO,
        }
    }

    /// Rings that have begun.
    pub(super) const fn rings(&self) -> u8 {
        self.rings
    }

    /// The first ring is known to its end.
    pub(super) const fn knows_first_ring(&self) -> bool {
        self.rings > 1 || self.rings == 1 && self.ring_is_over
    }

    /// The wire shows ringing voltage, believed or not.
    pub(super) const fn is_active(&self) -> bool {
        !matches!(self.wave, Wave::Off(_))
    }

    /// The longest silence so far.
    pub(super) const fn longest_off(&self) -> Duration {
        self.longest_off
    }

    /// The cadence, as far as it was measured; `None` before the first silence has ended.
    pub(super) fn cadence(&self) -> Option<Cadence> {
        let even = self.steps_ms.len() / 2 * 2;
        Cadence::new(self.steps_ms.get(..even.min(Cadence::STEPS_MAX))?)
    }

    /// The first ring is like the first ring of `cadence`: each burst and each silence in it
    /// is as long, to a quarter or 150 ms.
    pub(super) fn rings_like(&self, cadence: &Cadence) -> bool {
        const TOLERANCE_MS: u16 = 150;
        let between_ms = BETWEEN_RINGS.as_millis();
        let steps = cadence.steps_ms();
        let end =
            steps.iter().position(|ms| u128::from(*ms) >= between_ms && *ms == cadence.longest_off_ms());
        let wanted = steps.get(..end.unwrap_or(steps.len())).unwrap_or_default();
        let near = |(a, b): (&u16, &u16)| a.abs_diff(*b) <= TOLERANCE_MS.max(b / 4);
        wanted.len() == self.first_ms.len() && self.first_ms.iter().zip(wanted).all(near)
    }

    pub(super) fn on(&mut self, now: Instant) {
        self.wave = match self.wave {
            Wave::Off(before) => Wave::Perhaps { began: now, times: 1, is_on: true, changed: now, before },
            Wave::Perhaps { began, times, is_on: false, before, .. } => {
                Wave::Perhaps { began, times: times.saturating_add(1), is_on: true, changed: now, before }
            }
            Wave::On { began, .. } => Wave::On { began, went: None },
            wave @ Wave::Perhaps { .. } => wave,
        };
    }

    pub(super) fn off(&mut self, now: Instant) {
        self.wave = match self.wave {
            Wave::Perhaps { began, times, is_on: true, before, .. } => {
                Wave::Perhaps { began, times, is_on: false, changed: now, before }
            }
            Wave::On { began, went: None } => Wave::On { began, went: Some(now) },
            wave @ (Wave::Off(_) | Wave::Perhaps { .. } | Wave::On { .. }) => wave,
        };
    }

    /// When [`Self::tick`] is to be asked.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.wave {
            Wave::Perhaps { began, .. } => Some(began + DEBOUNCE),
            Wave::On { went: Some(went), .. } => Some(went + TRAILER),
            Wave::On { began, went: None } => Some(began + BURST_MAX),
            Wave::Off(Some(since)) if self.rings > 0 && !self.ring_is_over => Some(since + BETWEEN_RINGS),
            Wave::Off(_) => None,
        }
    }

    /// What has come about by `now`.
    pub(super) fn tick(&mut self, now: Instant) -> Option<RingEvent> {
        if self.due().is_none_or(|due| now < due) {
            return None;
        }
        match self.wave {
            Wave::Perhaps { began, times, is_on, changed, before } => {
                if !is_on && times < 2 {
                    self.wave = Wave::Off(before);
                    return None;
                }
                self.begin_burst(began, before);
                self.wave = Wave::On { began, went: (!is_on).then_some(changed) };
                Some(RingEvent::Began)
            }
            Wave::On { began, went: Some(went) } => {
                self.keep(went - began);
                self.wave = Wave::Off(Some(went));
                Some(RingEvent::BurstOver)
            }
            Wave::On { went: None, .. } => {
                self.wave = Wave::Off(None);
                Some(RingEvent::Stuck)
            }
            Wave::Off(_) => {
                self.ring_is_over = true;
                Some(RingEvent::RingOver)
            }
        }
    }

    fn begin_burst(&mut self, began: Instant, before: Option<Instant>) {
        let off = before.filter(|_| self.rings > 0).map(|before| began - before);
        if let Some(off) = off {
            self.longest_off = self.longest_off.max(off);
        }
        let is_new = self.rings == 0 || off.is_none_or(|off| off >= BETWEEN_RINGS);
        if is_new {
            self.rings = self.rings.saturating_add(1);
        }
        self.ring_is_over = false;
        if let Some(off) = off {
            self.keep(off);
        }
    }

    /// Keeps a burst or a silence.
    fn keep(&mut self, lasted: Duration) {
        let ms = u16::try_from(lasted.as_millis()).unwrap_or(u16::MAX);
        if self.steps_ms.len() < Cadence::STEPS_MAX {
            self.steps_ms.push(ms);
        }
        if self.rings == 1 && self.first_ms.len() < Cadence::STEPS_MAX {
            self.first_ms.push(ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Lets the wire do `steps`, on and off in turn, and says what came of it.
    fn run(meter: &mut RingMeter, steps: &[u64]) -> Vec<RingEvent> {
        let mut now = Instant::now();
        let mut seen = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            if at % 2 == 0 {
                meter.on(now)
            } else {
                meter.off(now)
            }
            let end = now + ms(*step);
            while let Some(due) = meter.due().filter(|due| *due < end) {
                seen.extend(meter.tick(due));
            }
            now = end;
        }
        seen
    }

    #[test]
    fn a_ring_is_real_when_the_voltage_stays_or_comes_twice() {
        for (steps, is_ring) in [
            (vec![63, 5_000], false),
            (vec![65, 5_000], true),
            (vec![20, 20, 20, 5_000], true),
            (vec![10, 90, 10, 90, 10, 5_000], false),
            (vec![1, 1, 1, 5_000], true),
        ] {
            let mut meter = RingMeter::new();
            let began = run(&mut meter, &steps).contains(&RingEvent::Began);
            assert_eq!(began, is_ring, "{steps:?}");
        }
    }

    #[test]
    fn half_waves_make_one_burst() {
        let mut meter = RingMeter::new();
        let steps: Vec<u64> = std::iter::repeat_n(25, 79).chain([5_000]).collect();
        let seen = run(&mut meter, &steps);
        assert_eq!(seen, [RingEvent::Began, RingEvent::BurstOver, RingEvent::RingOver]);
        assert_eq!(meter.steps_ms, [79 * 25]);
    }

    #[test]
    fn a_double_ring_is_one_ring_and_its_cadence_is_measured() {
        let mut meter = RingMeter::new();
        run(&mut meter, &[400, 200, 400, 2_000, 400, 200, 400, 2_000]);
        assert_eq!(meter.rings(), 2);
        assert_eq!(meter.cadence(), Cadence::parse("400-200-400-2000-400-200"));
        assert_eq!(meter.longest_off(), ms(2_000));
        for (cadence, like) in [
            ("400-200-400-2000", true),
            ("450-250-350-2000", true),
            ("1000-4000", false),
            ("400-200-1000-2000", false),
        ] {
            assert_eq!(meter.rings_like(&Cadence::parse(cadence).unwrap()), like, "{cadence}");
        }
    }

    #[test]
    fn voltage_that_stays_is_no_ring() {
        let mut meter = RingMeter::new();
        assert_eq!(run(&mut meter, &[20_000, 10]).last(), Some(&RingEvent::Stuck));
    }
}
