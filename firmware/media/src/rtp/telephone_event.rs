//! Digits as named events (RFC 4733).
//!
//! One key press on the wire, 20 ms a packet:
//!
//! | packet | marker | timestamp | duration | end |
//! |---|---|---|---|---|
//! | 1 | yes | t | 160 | no |
//! | 2 … n | no | t | 320 … 160 n | no |
//! | n+1, again, again | no | t | total | yes |
//!
//! All packets of a press share timestamp t, by which repetitions are told from a
//! second press of the same key.

use std::time::{Duration, Instant};

use tipring_model::Digit;

/// Bytes of an event payload.
pub const EVENT_BYTES: usize = 4;
/// Volume we send, in −dBm0 (RFC 4733 §2.3.4).
pub const VOLUME: u8 = 10;
/// Packets that carry the end (RFC 4733 §2.5.1.4).
pub const END_PACKETS: u8 = 3;
/// After this long without a packet a press is over, its end having been lost.
pub const END_TIMEOUT: Duration = Duration::from_millis(120);
/// Presses of which the timestamp is remembered.
const REMEMBERED: usize = 4;

/// The four bytes of an event (RFC 4733 §2.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventPayload {
    /// The event code; 0 to 15 are digits.
    pub code: u8,
    /// The end bit.
    pub end: bool,
    /// Ticks since the press began.
    pub duration: u16,
}

impl EventPayload {
    /// Reads the first event of a payload; `None` if it is too short.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let [code, flags, high, low] = *payload.first_chunk::<EVENT_BYTES>()?;
        Some(Self { code, end: flags & 0x80 != 0, duration: u16::from_be_bytes([high, low]) })
    }

    /// The four bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; EVENT_BYTES] {
        let [high, low] = self.duration.to_be_bytes();
        [self.code, (self.end as u8) << 7 | VOLUME, high, low]
    }
}

/// What the packets mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Press {
    /// A key went down.
    Began(Digit),
    /// It came up.
    Ended {
        /// The key.
        digit: Digit,
        /// How long it was held.
        duration_ms: u32,
    },
}

#[derive(Clone, Copy, Debug)]
struct Held {
    digit: Digit,
    /// Timestamp of the segment that runs.
    timestamp: u32,
    /// Ticks of the segments before it, and of this one.
    earlier: u32,
    duration: u16,
    heard: Instant,
}

/// Turns event packets into key presses, one each.
#[derive(Clone, Copy, Debug)]
pub struct EventReceiver {
    ticks_per_ms: u32,
    held: Option<Held>,
    finished: [Option<u32>; REMEMBERED],
}

impl EventReceiver {
    /// A receiver for events on a clock of `ticks_per_ms`.
    #[must_use]
    pub const fn new(ticks_per_ms: u32) -> Self {
        Self { ticks_per_ms, held: None, finished: [None; REMEMBERED] }
    }

    /// Takes one event packet. Up to two things follow from it: an old press ends,
    /// a new one begins or ends at once.
    pub fn packet(
        &mut self,
        now: Instant,
        timestamp: u32,
        event: EventPayload,
        mut heard: impl FnMut(Press),
    ) {
        let Some(digit) = Digit::from_event(event.code) else {
            return;
        };
        if self.finished.contains(&Some(timestamp)) {
            return;
        }
        match &mut self.held {
            Some(held) if held.timestamp == timestamp && held.digit == digit => {
                held.heard = now;
                held.duration = held.duration.max(event.duration);
            }
            // RFC 4733 §2.5.1.3: a press that outgrows the field goes on in a new
            // segment, which begins where the full one ended.
            Some(held)
                if held.digit == digit
                    && timestamp.wrapping_sub(held.timestamp)
                        >= u32::from(u16::MAX) - 40 * self.ticks_per_ms
                    && timestamp.wrapping_sub(held.timestamp)
                        <= u32::from(held.duration) + 40 * self.ticks_per_ms =>
            {
                held.earlier = held.earlier.saturating_add(timestamp.wrapping_sub(held.timestamp));
                held.timestamp = timestamp;
                held.duration = event.duration;
                held.heard = now;
            }
            // Older than the press that runs: a straggler whose press was never seen.
            Some(held) if timestamp.wrapping_sub(held.timestamp) > 0x8000_0000 => return,
            Some(_) | None => {
                self.finish(&mut heard);
                self.held = Some(Held { digit, timestamp, earlier: 0, duration: event.duration, heard: now });
                heard(Press::Began(digit));
            }
        }
        if event.end {
            self.finish(&mut heard);
        }
    }

    /// Ends a press of which nothing was heard for [`END_TIMEOUT`].
    pub fn expire(&mut self, now: Instant, mut heard: impl FnMut(Press)) {
        if self.held.is_some_and(|held| now.saturating_duration_since(held.heard) >= END_TIMEOUT) {
            self.finish(&mut heard);
        }
    }

    fn finish(&mut self, heard: &mut impl FnMut(Press)) {
        if let Some(held) = self.held.take() {
            self.finished.rotate_right(1);
            self.finished[0] = Some(held.timestamp);
            heard(Press::Ended {
                digit: held.digit,
                duration_ms: held.earlier.saturating_add(u32::from(held.duration)) / self.ticks_per_ms,
            });
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use super::*;

    fn press(timestamp: u32, digit: Digit, packets: u16) -> Vec<(u32, EventPayload)> {
        let payload = |n: u16, end: bool| EventPayload { code: digit.event(), end, duration: n * 160 };
        (1..=packets)
            .map(|n| (timestamp, payload(n, false)))
            .chain((0..3).map(|_| (timestamp, payload(packets, true))))
            .collect()
    }

    fn presses(packets: &[(u32, EventPayload)]) -> Vec<(char, u32)> {
        let mut receiver = EventReceiver::new(8);
        let mut ended = Vec::new();
        let mut began = 0;
        let mut now = Instant::now();
        let mut note = |press| match press {
            Press::Began(_) => began += 1,
            Press::Ended { digit, duration_ms } => ended.push((digit.as_char(), duration_ms)),
        };
        for (timestamp, event) in packets {
            let bytes = event.to_bytes();
            receiver.packet(now, *timestamp, EventPayload::parse(&bytes).unwrap(), &mut note);
            now += Duration::from_millis(20);
            receiver.expire(now, &mut note);
        }
        receiver.expire(now + END_TIMEOUT, &mut note);
        assert_eq!(began, ended.len());
        ended
    }

    #[test]
    fn one_press_is_one_event_whatever_the_network_does() {
        let whole = press(8_000, Digit::D5, 5);
        assert_eq!(presses(&whole), [('5', 100)]);
        // Every single loss, every pair of losses, every duplicate, every swap.
        for a in 0..whole.len() {
            for b in 0..whole.len() {
                let mut some = whole.clone();
                some.remove(a.max(b));
                if a != b {
                    some.remove(a.min(b));
                }
                let got = presses(&some);
                assert_eq!(got.len(), 1, "lost {a} and {b}: {got:?}");
                let mut twice = whole.clone();
                twice.insert(a, whole[b]);
                assert_eq!(presses(&twice).len(), 1, "{b} again at {a}");
                let mut swapped = whole.clone();
                swapped.swap(a, b);
                assert_eq!(presses(&swapped).len(), 1, "{a} and {b} swapped");
            }
        }
        // All three ends lost.
        assert_eq!(presses(&whole[..5]), [('5', 100)]);
    }

    #[test]
    fn the_same_key_twice_is_two_presses_and_a_long_one_is_one() {
        let mut two = press(8_000, Digit::Star, 3);
        two.extend(press(9_600, Digit::Star, 3));
        assert_eq!(presses(&two), [('*', 60), ('*', 60)]);
        // Without the ends of the first, the second ends it.
        two.drain(3..6);
        assert_eq!(presses(&two), [('*', 60), ('*', 60)]);
        let segment = |timestamp, duration, end| (timestamp, EventPayload { code: 1, end, duration });
        let long = [
            segment(0, 65_000, false),
            segment(0, u16::MAX, false),
            segment(65_535, 160, false),
            segment(65_535, 8_000, true),
        ];
        assert_eq!(presses(&long), [('1', (65_535 + 8_000) / 8)]);
    }

    #[test]
    fn flash_and_fax_tones_are_no_digits_and_short_payloads_nothing() {
        let mut receiver = EventReceiver::new(8);
        let event = EventPayload { code: 16, end: true, duration: 160 };
        receiver.packet(Instant::now(), 1, event, |press| panic!("{press:?}"));
        assert_eq!(EventPayload::parse(&[1, 2, 3]), None);
    }
}
