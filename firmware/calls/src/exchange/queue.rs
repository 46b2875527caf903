//! A queue: who has waited longest is served first. With numbered places it is a car park.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tipring_model::flow::{Announcement, Enqueue, QueueEvent};

use super::{ExchangeEvent, ExchangeOutput, REMEMBERED, Seat};

/// Waits of which the average is told.
const WAITS_MAX: usize = 16;
/// Those who want to take somebody out of one queue; with more, the first is forgotten.
const TAKERS_MAX: usize = 256;

/// One queue; it exists while somebody is interested in it, and for a while after.
#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    takers: VecDeque<(Seat, Option<Announcement>)>,
    /// How long the last who were served have waited.
    waits: VecDeque<Duration>,
    served: Option<Instant>,
}

struct Waiting {
    seat: Seat,
    since: Instant,
    place: Option<u32>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn seats(&self) -> impl Iterator<Item = Seat> {
        self.waiting.iter().map(|one| one.seat).chain(self.takers.iter().map(|(seat, _)| *seat))
    }

    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        let is_fresh = self.served.is_some_and(|at| now.saturating_duration_since(at) < REMEMBERED);
        self.waiting.is_empty() && self.takers.is_empty() && !is_fresh
    }

    /// Takes a leg in; false if there is no room.
    pub(super) fn wait(
        &mut self,
        now: Instant,
        seat: Seat,
        spec: &Enqueue,
        outputs: &mut VecDeque<ExchangeOutput>,
    ) -> bool {
        let place = spec.places.and_then(|places| {
            let is_free = |place: &u32| self.waiting.iter().all(|one| one.place != Some(*place));
            (places.first..=places.last).find(is_free)
        });
        if self.waiting.len() >= spec.waiting_max || (spec.places.is_some() && place.is_none()) {
            outputs.push_back(ExchangeOutput::Tell(seat, ExchangeEvent::Full));
            return false;
        }
        self.waiting.push_back(Waiting { seat, since: now, place });
        self.tell_from(self.waiting.len() - 1, outputs);
        // Parked calls are fetched by their place.
        place.is_none()
    }

    /// Somebody wants to take whoever comes.
    pub(super) fn want(&mut self, seat: Seat, announce: Option<Announcement>) {
        if self.takers.len() < TAKERS_MAX {
            self.takers.push_back((seat, announce));
        }
    }

    /// One who waits, with one who takes, if there are both.
    pub(super) fn next(
        &mut self,
        now: Instant,
        outputs: &mut VecDeque<ExchangeOutput>,
    ) -> Option<(Seat, Seat, Option<Announcement>)> {
        let at = self.waiting.iter().position(|one| one.place.is_none())?;
        let (took, announce) = self.takers.pop_front()?;
        let waited = self.serve(now, at, outputs)?;
        Some((waited, took, announce))
    }

    /// The one at this place of the car park.
    pub(super) fn fetch(
        &mut self,
        now: Instant,
        place: u32,
        outputs: &mut VecDeque<ExchangeOutput>,
    ) -> Option<Seat> {
        let at = self.waiting.iter().position(|one| one.place == Some(place))?;
        self.serve(now, at, outputs)
    }

    fn serve(&mut self, now: Instant, at: usize, outputs: &mut VecDeque<ExchangeOutput>) -> Option<Seat> {
        let served = self.waiting.remove(at)?;
        if self.waits.len() >= WAITS_MAX {
            self.waits.pop_front();
        }
        self.waits.push_back(now.saturating_duration_since(served.since));
        self.served = Some(now);
        self.tell_from(at, outputs);
        Some(served.seat)
    }

    pub(super) fn leave(&mut self, now: Instant, seat: Seat, outputs: &mut VecDeque<ExchangeOutput>) {
        self.takers.retain(|(taker, _)| *taker != seat);
        if let Some(at) = self.waiting.iter().position(|one| one.seat == seat) {
            self.waiting.remove(at);
            self.served.get_or_insert(now);
            self.tell_from(at, outputs);
        }
    }

    /// Tells everybody from this position on where he stands.
    fn tell_from(&self, first: usize, outputs: &mut VecDeque<ExchangeOutput>) {
        let waits = u32::try_from(self.waits.len()).unwrap_or(1).max(1);
        let average = self.waits.iter().sum::<Duration>() / waits;
        for (at, one) in self.waiting.iter().enumerate().skip(first) {
            let event = QueueEvent::Position {
                position: at + 1,
                waiting: self.waiting.len(),
                average,
                place: one.place,
            };
            outputs.push_back(ExchangeOutput::Tell(one.seat, ExchangeEvent::Queue(event)));
        }
    }
}
