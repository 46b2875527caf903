//! The two halves of an RTP stream: numbering what we send (RFC 3550 §5.1) and
//! keeping count of what arrives (§6.4.1, appendix A).

use super::packet::Header;

/// Numbers outgoing packets.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// True if nothing was sent for the frame before, so that the next packet begins
    /// a talkspurt.
    paused: bool,
    relay: Option<RelayOffset>,
}

/// What turns a relayed stream's numbers into ours.
#[derive(Clone, Copy, Debug)]
struct RelayOffset {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

impl Sender {
    /// Starts at random numbers, as RFC 3550 §5.1 asks.
    #[must_use]
    pub const fn new(ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        Self { ssrc, sequence, timestamp, paused: true, relay: None }
    }

    /// Timestamp of the next frame.
    #[must_use]
    pub const fn timestamp(&self) -> u32 {
        self.timestamp
    }

    /// Lets `ticks` pass without a packet.
    pub const fn pass(&mut self, ticks: u32) {
        self.timestamp = self.timestamp.wrapping_add(ticks);
        self.paused = true;
    }

    /// Ends a relayed stream, if one was passed on, of which nothing came for `ticks`:
    /// our own goes on at the time it is now. False if there was none.
    pub const fn resume(&mut self, ticks: u32) -> bool {
        let relayed = self.relay.take().is_some();
        if relayed {
            self.pass(ticks);
        }
        relayed
    }

    /// The header of an audio packet of `ticks`.
    pub const fn audio(&mut self, payload_type: u8, ticks: u32) -> Header {
        let header = self.header(payload_type, self.paused, self.timestamp);
        self.timestamp = self.timestamp.wrapping_add(ticks);
        self.paused = false;
        header
    }

    /// The header of an event packet, whose timestamp is that of the event's
    /// beginning (RFC 4733 §2.5.1.2).
    pub const fn event(&mut self, payload_type: u8, marker: bool, began: u32) -> Header {
        self.header(payload_type, marker, began)
    }

    /// The header of a packet passed on from another stream: its gaps, jumps and
    /// marker are kept, its numbers become ours. `ticks` is what it carries.
    pub fn relayed(&mut self, from: &Header, payload_type: u8, ticks: u32) -> Header {
        let begins = self.relay.is_none_or(|relay| relay.ssrc != from.ssrc);
        let offset = match self.relay {
            Some(relay) if relay.ssrc == from.ssrc => relay,
            Some(_) | None => RelayOffset {
                ssrc: from.ssrc,
                sequence: self.sequence.wrapping_sub(from.sequence),
                timestamp: self.timestamp.wrapping_sub(from.timestamp),
            },
        };
        self.relay = Some(offset);
        let header = Header {
            marker: from.marker || begins,
            payload_type,
            sequence: from.sequence.wrapping_add(offset.sequence),
            timestamp: from.timestamp.wrapping_add(offset.timestamp),
            ssrc: self.ssrc,
        };
        // Our own numbering goes on after the newest packet passed on.
        let next = header.sequence.wrapping_add(1);
        if next.wrapping_sub(self.sequence) < 0x8000 {
            self.sequence = next;
            self.timestamp = header.timestamp.wrapping_add(ticks);
        }
        self.paused = false;
        header
    }

    const fn header(&mut self, payload_type: u8, marker: bool, timestamp: u32) -> Header {
        let header = Header { marker, payload_type, sequence: self.sequence, timestamp, ssrc: self.ssrc };
        self.sequence = self.sequence.wrapping_add(1);
        header
    }
}

/// Where an arriving packet stands in its stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// In order, or at most a few packets missing before it.
    Next,
    /// Older than the newest, not seen before.
    Reordered,
    /// Seen before.
    Duplicate,
    /// A new source, or a jump that no loss explains: what is buffered is void.
    Restart,
}

/// Greatest step forward taken as loss (RFC 3550 A.1, MAX_DROPOUT).
const DROPOUT_MAX: u16 = 3_000;
/// Packets back of which it is remembered whether they came.
const WINDOW: u16 = 64;

/// Counts what arrives.
#[derive(Clone, Copy, Debug, Default)]
pub struct Receiver {
    started: bool,
    ssrc: u32,
    newest: u16,
    /// Bit n: packet `newest - n` has come.
    seen: u64,
    /// A packet far off is believed when the one after it follows (A.1, bad_seq).
    suspect: Option<(u32, u16)>,
    expected: u64,
    received: u64,
    last_transit: Option<u32>,
    /// Sixteenths of a tick, as in RFC 3550 A.8.
    jitter_x16: u32,
}

impl Receiver {
    /// Places a packet that arrived when the codec's clock stood at `arrival_ticks`.
    pub fn arrived(&mut self, header: &Header, arrival_ticks: u32) -> Arrival {
        let ahead = header.sequence.wrapping_sub(self.newest);
        let arrival = if !self.started {
            self.restart(header)
        } else if header.ssrc != self.ssrc || (DROPOUT_MAX..0xffff - WINDOW).contains(&ahead) {
            if self.suspect == Some((header.ssrc, header.sequence)) {
                self.restart(header)
            } else {
                self.suspect = Some((header.ssrc, header.sequence.wrapping_add(1)));
                // A new source is believed at once: its packets carry its name.
                if header.ssrc != self.ssrc {
                    self.restart(header)
                } else {
                    return Arrival::Duplicate;
                }
            }
        } else if ahead == 0 {
            return Arrival::Duplicate;
        } else if ahead < DROPOUT_MAX {
            self.newest = header.sequence;
            self.seen = self.seen.checked_shl(ahead.into()).unwrap_or(0) | 1;
            self.expected += u64::from(ahead);
            Arrival::Next
        } else {
            let back = self.newest.wrapping_sub(header.sequence);
            let bit = 1u64.checked_shl(back.into()).unwrap_or(0);
            if bit == 0 || self.seen & bit != 0 {
                return Arrival::Duplicate;
            }
            self.seen |= bit;
            Arrival::Reordered
        };
        self.received += 1;
        let transit = arrival_ticks.wrapping_sub(header.timestamp);
        if let (Some(last), Arrival::Next) = (self.last_transit, arrival) {
            let moved = (transit.wrapping_sub(last) as i32).unsigned_abs();
            // A pause or a jump of the clock is not jitter.
            if moved < 48_000 {
                self.jitter_x16 = self.jitter_x16 + moved - (self.jitter_x16 + 8) / 16;
            }
        }
        self.last_transit = Some(transit);
        arrival
    }

    fn restart(&mut self, header: &Header) -> Arrival {
        self.started = true;
        self.ssrc = header.ssrc;
        self.newest = header.sequence;
        self.seen = 1;
        self.suspect = None;
        self.expected += 1;
        self.last_transit = None;
        Arrival::Restart
    }

    /// Packets that should have come and did not (RFC 3550 A.3), never negative.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.received)
    }

    /// Interarrival jitter (RFC 3550 A.8) in ticks of the codec's clock.
    #[must_use]
    pub const fn jitter_ticks(&self) -> u32 {
        self.jitter_x16 / 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(sequence: u16, ssrc: u32) -> Header {
        Header { marker: false, payload_type: 0, sequence, timestamp: u32::from(sequence) * 160, ssrc }
    }

    #[test]
    fn order_loss_and_duplicates_across_the_wrap() {
        let mut receiver = Receiver::default();
        let mut place = |sequence: u16| receiver.arrived(&header(sequence, 1), 0);
        assert_eq!(place(65_534), Arrival::Restart);
        assert_eq!(place(65_535), Arrival::Next);
        assert_eq!(place(2), Arrival::Next);
        assert_eq!(place(1), Arrival::Reordered);
        assert_eq!(place(1), Arrival::Duplicate);
        assert_eq!(place(2), Arrival::Duplicate);
        assert_eq!(receiver.lost(), 1);
    }

    #[test]
    fn a_jump_is_believed_when_it_goes_on_and_a_new_source_at_once() {
        let mut receiver = Receiver::default();
        let mut place = |sequence: u16, ssrc: u32| receiver.arrived(&header(sequence, ssrc), 0);
        place(10, 1);
        assert_eq!(place(30_000, 1), Arrival::Duplicate);
        assert_eq!(place(30_001, 1), Arrival::Restart);
        assert_eq!(place(30_002, 1), Arrival::Next);
        assert_eq!(place(7, 2), Arrival::Restart);
    }

    #[test]
    fn steady_arrivals_have_no_jitter_and_a_sawtooth_has() {
        let mut steady = Receiver::default();
        let mut sawtooth = Receiver::default();
        for n in 0..500u16 {
            let due = u32::from(n) * 160;
            steady.arrived(&header(n, 1), due);
            sawtooth.arrived(&header(n, 1), due + u32::from(n % 2) * 80);
        }
        assert_eq!(steady.jitter_ticks(), 0);
        assert!((78..=80).contains(&sawtooth.jitter_ticks()));
    }

    #[test]
    fn a_relayed_stream_keeps_its_gaps_and_ours_goes_on_after_it() {
        let mut sender = Sender::new(9, 100, 5_000);
        assert_eq!(sender.audio(0, 160).sequence, 100);
        let mut passed = |n: u16| sender.relayed(&header(n, 4), 0, 160);
        let first = passed(20);
        assert_eq!((first.sequence, first.timestamp, first.ssrc), (101, 5_160, 9));
        assert!(first.marker);
        let third = passed(22);
        assert_eq!((third.sequence, third.timestamp), (103, 5_480));
        assert!(!third.marker);
        assert_eq!(passed(21).sequence, 102);
        // Nothing came for a second.
        sender.resume(8_000);
        let own = sender.audio(0, 160);
        assert_eq!((own.sequence, own.timestamp), (104, 13_640));
        assert!(own.marker);
        sender.resume(8_000);
        assert_eq!(sender.audio(0, 160).timestamp, 13_800);
    }
}
