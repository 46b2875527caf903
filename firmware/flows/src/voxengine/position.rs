//! Where a player stands, and what it passes on its way. Pure.

use std::time::{Duration, Instant};

/// Markers of one player.
const MARKERS_MAX: usize = 20;
/// A marker of what is played over and over comes at most so often.
const MARKER_EVERY_MIN: Duration = Duration::from_millis(100);

/// How far a player is.
#[derive(Default, Debug)]
pub(super) struct Position {
    /// Played when it last stood still.
    before: Duration,
    /// It plays since then.
    since: Option<Instant>,
    /// Length of the pieces that are over.
    over: Duration,
    /// Length of all, once through, if that is known.
    round: Option<Duration>,
    /// It begins anew after each round.
    loops: bool,
    markers: Vec<Marker>,
}

#[derive(Debug)]
struct Marker {
    /// Milliseconds from the beginning, or below 0 from the end.
    offset: i64,
    /// How much is played when it comes next.
    next: Option<Duration>,
}

impl Position {
    pub(super) fn new(loops: bool) -> Self {
        Self { loops, ..Self::default() }
    }

    /// Played until now, all rounds.
    fn at(&self, now: Instant) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    pub(super) const fn runs(&self) -> bool {
        self.since.is_some()
    }

    /// A piece begins to be heard, or goes on.
    pub(super) fn run(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// It stands still.
    pub(super) fn stand(&mut self, now: Instant) {
        self.before = self.at(now);
        self.since = None;
    }

    /// The piece that begins is so long; with it the length of all is known if it is the last.
    pub(super) fn piece(&mut self, now: Instant, length: Option<Duration>, is_last: bool) {
        self.run(now);
        if let Some(length) = length.filter(|_| is_last && self.round.is_none()) {
            self.round = Some(self.over + length);
            let at = self.at(now);
            for place in 0..self.markers.len() {
                let offset = self.markers.get(place).map_or(0, |marker| marker.offset);
                let next = self.next_of(offset, at);
                if let Some(marker) = self.markers.get_mut(place) {
                    marker.next = marker.next.and(next).or(if offset < 0 { next } else { None });
                }
            }
        }
    }

    /// The piece is over; it was so long.
    pub(super) fn piece_over(&mut self, now: Instant, length: Option<Duration>) {
        self.over = length.map_or_else(|| self.at(now), |length| self.over + length);
        self.before = self.over;
        self.since = None;
    }

    /// Sets a marker; false if there are too many.
    pub(super) fn mark(&mut self, now: Instant, offset: i64) -> bool {
        if self.markers.len() >= MARKERS_MAX {
            return false;
        }
        let next = self.next_of(offset, self.at(now));
        self.markers.push(Marker { offset, next });
        true
    }

    /// How much is played when a marker comes next; nothing if it does not, or nobody knows yet.
    fn next_of(&self, offset: i64, at: Duration) -> Option<Duration> {
        let distance = Duration::from_millis(offset.unsigned_abs());
        let first = if offset >= 0 { distance } else { self.round?.saturating_sub(distance) };
        if self.round.is_some_and(|round| first > round) {
            return None;
        }
        if first >= at {
            return Some(first);
        }
        match self.round.filter(|_| self.loops) {
            Some(round) if !round.is_zero() => {
                let rounds = (at - first).as_micros().div_ceil(round.as_micros());
                Some(first + round.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX)))
            }
            // One from the end was not known before: it comes late rather than not at all.
            Some(_) | None if offset < 0 => Some(at),
            Some(_) | None => None,
        }
    }

    /// When the next marker comes.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let since = self.since?;
        let next = self.markers.iter().filter_map(|marker| marker.next).min()?;
        Some(since + next.saturating_sub(self.before))
    }

    /// Markers that have come until now, in order.
    pub(super) fn reached(&mut self, now: Instant) -> Vec<i64> {
        let at = if self.since.is_some() { self.at(now) } else { return Vec::new() };
        self.reached_at(at)
    }

    /// Markers that are left when all is over.
    pub(super) fn reached_at_end(&mut self) -> Vec<i64> {
        let end = self.round.unwrap_or(self.before).max(self.before);
        self.loops = false;
        self.reached_at(end)
    }

    fn reached_at(&mut self, at: Duration) -> Vec<i64> {
        let mut come: Vec<(Duration, i64)> = Vec::new();
        for marker in &mut self.markers {
            let Some(next) = marker.next.filter(|next| *next <= at) else { continue };
            come.push((next, marker.offset));
            marker.next = None;
            if let Some(round) = self.round.filter(|round| self.loops && !round.is_zero()) {
                let rounds = MARKER_EVERY_MIN.as_micros().div_ceil(round.as_micros()).max(1);
                marker.next = Some(next + round.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX)));
            }
        }
        come.sort_unstable();
        come.into_iter().map(|(_, offset)| offset).collect()
    }
}

#[cfg(test)]
mod tests {
    use tipring_testkit::Clock;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn markers_wait_while_it_stands_still() {
        let began = Clock::new().now().instant;
        let mut position = Position::new(false);
        assert!(position.mark(began, 500) && position.mark(began, -200) && position.mark(began, 5_000));
        assert_eq!(position.next_due(), None);
        position.piece(began, Some(ms(1_000)), true);
        assert_eq!(position.next_due(), Some(began + ms(500)));
        position.stand(began + ms(400));
        assert_eq!((position.next_due(), position.reached(began + ms(9_000))), (None, vec![]));
        position.run(began + ms(2_000));
        assert_eq!(position.next_due(), Some(began + ms(2_100)));
        assert_eq!(position.reached(began + ms(2_100)), [500]);
        assert_eq!(position.next_due(), Some(began + ms(2_400)));
        // What ends a moment early leaves none out.
        position.piece_over(began + ms(2_390), Some(ms(1_000)));
        assert_eq!(position.reached_at_end(), [-200]);
        assert!(position.reached_at_end().is_empty());
    }

    #[test]
    fn markers_come_in_each_round() {
        let began = Clock::new().now().instant;
        let mut position = Position::new(true);
        position.mark(began, -100);
        position.piece(began, Some(ms(1_000)), true);
        assert_eq!(position.reached(began + ms(900)), [-100]);
        assert_eq!(position.next_due(), Some(began + ms(1_900)));
        // One that is set in the second round.
        assert!(position.mark(began + ms(1_600), 300));
        assert_eq!(position.reached(began + ms(2_300)), [-100, 300]);
        // A short round does not keep the script busy.
        let mut short = Position::new(true);
        short.mark(began, 0);
        short.piece(began, Some(ms(20)), true);
        assert_eq!(short.reached(began), [0]);
        assert_eq!(short.next_due(), Some(began + ms(100)));
    }

    #[test]
    fn the_end_of_many_pieces_is_known_with_the_last() {
        let began = Clock::new().now().instant;
        let mut position = Position::new(false);
        position.mark(began, -1_500);
        position.mark(began, 1_200);
        position.piece(began, Some(ms(1_000)), false);
        assert_eq!(position.next_due(), Some(began + ms(1_200)));
        position.piece_over(began + ms(1_000), Some(ms(1_000)));
        position.piece(began + ms(3_000), Some(ms(1_000)), true);
        // It lies before the last piece, and comes with it.
        assert_eq!(position.reached(began + ms(3_000)), [-1_500]);
        assert_eq!(position.next_due(), Some(began + ms(3_200)));
    }

    #[test]
    fn there_are_so_many_markers_and_no_more() {
        let began = Clock::new().now().instant;
        let mut position = Position::new(false);
        for _ in 0..MARKERS_MAX {
            assert!(position.mark(began, 1));
        }
        assert!(!position.mark(began, 1));
    }
}
