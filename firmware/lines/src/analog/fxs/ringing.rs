//! Ringing: the cadence, who calls before or between the rings, and the beep for a second
//! caller during a call.

use std::time::{Duration, Instant};

use tipring_model::line::PlaceExtras;
use tipring_model::{Cause, LegId};

use super::legs::LegState;
use super::machine::{Fxs, Stage, Timer};
use crate::analog::contract::Sound;
use crate::analog::country::CallerIdMoment;
use crate::port::{Cadence, TxSignal};

/// Silence between the first ring and the caller's number (Telcordia GR-30: at least 500 ms).
const AFTER_FIRST_RING: Duration = Duration::from_millis(500);
/// Silence between the caller's number and the first ring (ETSI EN 300 659-1: 200 to 500 ms).
const BEFORE_FIRST_RING: Duration = Duration::from_millis(300);
/// Telling the caller's number takes no longer; the telephone rings in any case.
const CALLER_ID_MAX: Duration = Duration::from_secs(4);
/// A held party is rung for so long.
const HELD_RING_MAX: Duration = Duration::from_secs(60);
/// After the beep for a second caller, his number follows.
const AFTER_BEEP: Duration = Duration::from_millis(500);
/// The beep is repeated.
const BEEP_EVERY: Duration = Duration::from_secs(10);

/// How far ringing is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// The caller's number is told; no ring yet.
    TellsBefore,
    /// It was told; the ring follows.
    Told,
    /// The first ring; the caller's number follows.
    FirstRing,
    /// It rings, and nothing else is to be done.
    Rings,
}

/// Ringing for one leg.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ringing {
    pub(super) leg: LegId,
    step: Step,
    reversal: bool,
}

impl Ringing {
    /// The battery is reversed because a caller's number comes before the ring.
    pub(super) const fn reverses(&self) -> bool {
        self.reversal && matches!(self.step, Step::TellsBefore | Step::Told)
    }
}

/// What the next beep is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Beep {
    First,
    CallerId,
    Again,
}

impl Fxs {
    /// Rings for a leg that waits or is held.
    pub(super) fn ring_for(&mut self, now: Instant, leg: LegId) {
        let Some(of) = self.legs.get(leg) else { return };
        let (is_held, cadence) = (of.state == LegState::Held, of.cadence);
        let caller = of.caller.clone();
        let shows = self.can_show_caller(cadence) && of.arrived;
        let moment = self.plan.caller_id_moment;
        let reversal = matches!(moment, CallerIdMoment::BeforeFirstRing { reversal: true });
        let ringing = |step| Stage::Ringing(Ringing { leg, step, reversal });
        self.quiet();
        match moment {
            CallerIdMoment::BeforeFirstRing { .. } if shows && !is_held => {
                self.enter(ringing(Step::TellsBefore));
                self.signal_out(TxSignal::OnHookAudio { ms: ms(CALLER_ID_MAX) });
                self.play(Sound::CallerId(caller));
                self.timers.set(Timer::Ring, now + CALLER_ID_MAX);
            }
            CallerIdMoment::AfterFirstRing if shows && !is_held => {
                self.enter(ringing(Step::FirstRing));
                self.ring(cadence);
                self.timers.set(Timer::Ring, now + first_ring(cadence) + AFTER_FIRST_RING);
            }
            CallerIdMoment::BeforeFirstRing { .. } | CallerIdMoment::AfterFirstRing => {
                self.enter(ringing(Step::Rings));
                self.ring(cadence);
                if is_held {
                    self.timers.set(Timer::Ring, now + HELD_RING_MAX);
                }
            }
        }
    }

    fn ring(&mut self, cadence: Cadence) {
        self.rings = true;
        self.signal_out(TxSignal::Ring(cadence));
    }

    pub(super) fn stop_ringing(&mut self) {
        if std::mem::take(&mut self.rings) {
            self.signal_out(TxSignal::RingOff);
        }
        self.quiet();
    }

    /// The caller's number was told to the end.
    pub(super) fn caller_told(&mut self, now: Instant) {
        if let Stage::Ringing(ringing) = &mut self.stage
            && ringing.step == Step::TellsBefore
        {
            ringing.step = Step::Told;
            self.timers.set(Timer::Ring, now + BEFORE_FIRST_RING);
        }
    }

    pub(super) fn ring_goes_on(&mut self, now: Instant) {
        let Stage::Ringing(Ringing { leg, step, .. }) = self.stage else { return };
        let Some(of) = self.legs.get(leg) else { return };
        let (cadence, caller) = (of.cadence, of.caller.clone());
        if let Stage::Ringing(ringing) = &mut self.stage {
            ringing.step = Step::Rings;
        }
        match step {
            Step::TellsBefore | Step::Told => {
                self.quiet();
                self.ring(cadence);
            }
            Step::FirstRing => {
                self.signal_out(TxSignal::OnHookAudio { ms: ms(CALLER_ID_MAX) });
                self.play(Sound::CallerId(caller));
            }
            // Only a held party is waited for.
            Step::Rings => {
                self.end_leg(leg, Cause::RecoveryOnTimer);
                self.stop_ringing();
                self.rest(now);
            }
        }
    }

    /// A second caller is announced to whoever talks.
    pub(super) fn begin_beeps(&mut self, now: Instant, first: Beep) {
        self.beep = first;
        self.beep_goes_on(now);
    }

    pub(super) fn beep_goes_on(&mut self, now: Instant) {
        let Some(waiting) = self.legs.in_state(LegState::Waiting) else { return };
        let Some(caller) = self.legs.get(waiting).map(|leg| leg.caller.clone()) else { return };
        let (sound, next, after) = match self.beep {
            // The number is told after the first beep alone.
            Beep::First if self.settings.waiting_caller_id => {
                (Sound::WaitingTone, Beep::CallerId, AFTER_BEEP)
            }
            Beep::First | Beep::Again => (Sound::WaitingTone, Beep::Again, BEEP_EVERY),
            Beep::CallerId => (Sound::WaitingCallerId(caller), Beep::Again, BEEP_EVERY),
        };
        self.play(sound);
        self.beep = next;
        self.timers.set(Timer::Beep, now + after);
    }
}

/// From the beginning of the cadence to the end of the first ring: to its longest silence.
fn first_ring(cadence: Cadence) -> Duration {
    let steps = cadence.steps_ms();
    let gap = steps.iter().skip(1).step_by(2).position(|ms| *ms == cadence.longest_off_ms());
    let before = gap.map_or(1, |at| at * 2 + 1);
    Duration::from_millis(steps.iter().take(before).map(|ms| u64::from(*ms)).sum())
}

fn ms(duration: Duration) -> u16 {
    u16::try_from(duration.as_millis()).unwrap_or(u16::MAX)
}

/// The ring that the call asks for by the header field Alert-Info: `Bellcore-dr1` to `dr5`
/// (Telcordia GR-506), of which the first is the usual American one.
pub(super) fn distinctive(extras: &PlaceExtras) -> Option<Cadence> {
    const PREFIX: &str = "bellcore-dr";
    let (_, value) = extras.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("Alert-Info"))?;
    let value = value.to_ascii_lowercase();
    let after = value.split_once(PREFIX).map(|(_, after)| after)?;
    let steps: &[u16] = match after.split(|c: char| !c.is_ascii_digit()).next()? {
        "1" => &[2000, 4000],
        "2" => &[800, 400, 800, 4000],
        "3" => &[400, 200, 400, 200, 800, 4000],
        "4" => &[300, 200, 1000, 200, 300, 4000],
        "5" => &[500, 5500],
        _ => return None,
    };
    Cadence::new(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ring_ends_at_the_longest_silence() {
        for (cadence, expected_ms) in [
            ("2000-4000", 2000),
            ("400-200-400-2000", 1000),
            ("400-200-400-200-800-4000", 2000),
            ("500-3000-500-1000", 500),
        ] {
            let cadence = Cadence::parse(cadence).unwrap();
            assert_eq!(first_ring(cadence), Duration::from_millis(expected_ms));
        }
    }

    #[test]
    fn a_call_can_ask_for_another_ring() {
        for (value, expected) in [
            ("<http://127.0.0.1/Bellcore-dr2>", Some("800-400-800-4000")),
            ("bellcore-DR5", Some("500-5500")),
            ("Bellcore-dr9", None),
            ("ring", None),
        ] {
            let headers = vec![("alert-info".to_owned(), value.to_owned())];
            let extras = PlaceExtras { headers, ..PlaceExtras::default() };
            assert_eq!(distinctive(&extras), expected.and_then(Cadence::parse), "{value}");
        }
    }
}
