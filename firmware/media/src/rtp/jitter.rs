//! The adaptive jitter buffer: packets in as they come, audio out on time.
//!
//! Two stores. Codecs with one byte a tick (G.711, G.722) write their bytes straight
//! onto a timeline, so that any packet length, order and overlap is the same simple
//! case. Opus packets are kept whole, in order of their timestamps.
//!
//! The delay aims at the largest lateness seen lately above the fastest packets,
//! plus one frame. It rises at once when a packet comes too late and sinks slowly.
//!
//! Limits: delay 20 to 200 ms, 60 ms to begin with; span 512 ms (G.711, G.722) or 16
//! packets of 512 bytes (Opus); what lies beyond restarts the buffer. Memory 4.6 kB or
//! 8.5 kB.

use crate::codec::{Codec, opus};

/// Bounds of the delay, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JitterLimits {
    /// Least delay; at least one frame is sensible.
    pub least_ms: u16,
    /// Delay before anything is known.
    pub start_ms: u16,
    /// Greatest delay; at most [`DELAY_MAX_MS`].
    pub most_ms: u16,
}

impl Default for JitterLimits {
    fn default() -> Self {
        Self { least_ms: 20, start_ms: 60, most_ms: DELAY_MAX_MS }
    }
}

/// Greatest delay that can be asked for, in milliseconds.
pub const DELAY_MAX_MS: u16 = 200;
/// One frame, in milliseconds.
const FRAME_MS: u32 = 20;
/// Starvation after which playing stops until new packets have gathered.
const STARVED_MAX_MS: u32 = 60;
/// Period over which the fastest packet is remembered; two are kept.
const FASTEST_MS: u32 = 4_000;
/// The remembered lateness loses a 256th of its excess with each packet.
const FORGET_SHIFT: u32 = 8;

/// Ticks on the timeline of a byte store; a power of two, so that it divides the
/// range of timestamps.
const TIMELINE_TICKS: usize = 4_096;
/// Packets in a packet store.
const SLOTS: usize = 16;
/// Longest payload in a packet store, in bytes.
pub const SLOT_BYTES: usize = 512;

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inserted {
    /// It will be played.
    Stored,
    /// Its time has passed.
    Late,
    /// It makes no sense or is too long.
    Refused,
}

/// What there is to play next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// This many bytes were written.
    Payload(usize),
    /// This many ticks are lost; later ones have come.
    Missing {
        /// Length of the gap, at most one frame.
        ticks: u32,
    },
    /// Nothing is there in time: conceal one frame.
    Starved,
    /// The delay is to grow: conceal one frame, nothing is lost.
    Hold,
    /// Nobody speaks.
    Idle,
}

/// How far the delay is from where it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// Play faster now: the delay is far too long.
    Hurry,
    /// Play faster when it will not be noticed.
    Faster,
    /// As it is.
    Steady,
    /// Play a little slower.
    Slower,
}

/// The buffer of one leg.
pub struct JitterBuffer {
    store: Store,
    limits: JitterLimits,
    ticks_per_ms: u32,
    playing: bool,
    /// Not playing, but something has been stored: when to begin.
    begins: Option<u32>,
    /// Timestamp of the next tick to play.
    next: u32,
    /// Timestamp after the last tick stored.
    end: u32,
    starved_ms: u32,
    fastest: Fastest,
    /// Remembered lateness above the fastest packet, in 256ths of a tick.
    lateness_x256: u32,
}

/// The least transit time of this period and of the one before.
#[derive(Clone, Copy)]
struct Fastest {
    known: bool,
    now: u32,
    before: u32,
    since: u32,
}

/// `a - b` for values that wrap.
const fn ahead(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

impl JitterBuffer {
    /// Allocates the buffer.
    #[must_use]
    pub fn new(codec: &Codec, limits: JitterLimits) -> Self {
        let most_ms = limits.most_ms.min(DELAY_MAX_MS);
        let limits = JitterLimits {
            least_ms: limits.least_ms.min(most_ms),
            start_ms: limits.start_ms.clamp(limits.least_ms.min(most_ms), most_ms),
            most_ms,
        };
        let store =
            if codec.byte_a_tick { Store::Timeline(Timeline::new()) } else { Store::Packets(Packets::new()) };
        let ticks_per_ms = codec.ticks_per_ms();
        Self {
            store,
            limits,
            ticks_per_ms,
            playing: false,
            begins: None,
            next: 0,
            end: 0,
            starved_ms: 0,
            fastest: Fastest { known: false, now: 0, before: 0, since: 0 },
            lateness_x256: (u32::from(limits.start_ms).saturating_sub(FRAME_MS) * ticks_per_ms) << 8,
        }
    }

    /// Forgets all audio and the clock of the far end; keeps what is known about the
    /// network.
    pub fn restart(&mut self) {
        self.pause();
        self.fastest.known = false;
    }

    /// Stops playing and forgets all audio, until new packets have gathered.
    pub fn pause(&mut self) {
        self.store.clear();
        self.playing = false;
        self.begins = None;
        self.starved_ms = 0;
    }

    /// The delay aimed at, in ticks.
    #[must_use]
    pub fn target_ticks(&self) -> u32 {
        let wanted = (self.lateness_x256 >> 8) + FRAME_MS * self.ticks_per_ms;
        wanted.clamp(
            u32::from(self.limits.least_ms) * self.ticks_per_ms,
            u32::from(self.limits.most_ms) * self.ticks_per_ms,
        )
    }

    /// The delay aimed at, in milliseconds.
    #[must_use]
    pub fn target_ms(&self) -> u32 {
        self.target_ticks() / self.ticks_per_ms
    }

    /// Takes a packet that arrived when our clock stood at `now`, in ticks.
    pub fn insert(&mut self, now: u32, timestamp: u32, payload: &[u8]) -> Inserted {
        let Some(ticks) = self.store.ticks(payload) else {
            return Inserted::Refused;
        };
        self.note_transit(now, timestamp);
        let end = timestamp.wrapping_add(ticks);
        if self.playing {
            if ahead(end, self.next) <= 0 {
                // A step back of more than the buffer holds is a new timeline.
                if ahead(self.next, end) as usize <= TIMELINE_TICKS * self.scale() {
                    return Inserted::Late;
                }
                self.restart();
            } else if ahead(end, self.next) as usize > self.span_max() {
                self.restart();
            }
        } else if self.begins.is_some()
            && (ahead(end, self.next) as i64).unsigned_abs() as usize > self.span_max()
        {
            self.restart();
        }
        if !self.playing {
            if self.begins.is_none() {
                self.begins = Some(now.wrapping_add(self.target_ticks()));
                self.next = timestamp;
                self.end = end;
            } else if ahead(timestamp, self.next) < 0 {
                self.next = timestamp;
            }
        }
        if ahead(end, self.end) > 0 {
            self.end = end;
        }
        self.store.insert(timestamp, payload, ticks, self.next);
        Inserted::Stored
    }

    /// Opus ticks are six times as many.
    const fn scale(&self) -> usize {
        self.ticks_per_ms as usize / 8
    }

    const fn span_max(&self) -> usize {
        TIMELINE_TICKS * self.scale()
    }

    fn note_transit(&mut self, now: u32, timestamp: u32) {
        let transit = now.wrapping_sub(timestamp);
        let fastest = &mut self.fastest;
        if !fastest.known {
            *fastest = Fastest { known: true, now: transit, before: transit, since: now };
        }
        if now.wrapping_sub(fastest.since) >= FASTEST_MS * self.ticks_per_ms {
            fastest.before = fastest.now;
            fastest.now = transit;
            fastest.since = now;
        } else if ahead(transit, fastest.now) < 0 {
            fastest.now = transit;
        }
        let late = ahead(transit, self.fastest_transit()).max(0) as u32;
        let most = u32::from(self.limits.most_ms) * self.ticks_per_ms;
        let late_x256 = late.min(most) << 8;
        if late_x256 > self.lateness_x256 {
            self.lateness_x256 = late_x256;
        } else {
            self.lateness_x256 -= (self.lateness_x256 - late_x256) >> FORGET_SHIFT;
        }
    }

    fn fastest_transit(&self) -> u32 {
        if ahead(self.fastest.before, self.fastest.now) < 0 { self.fastest.before } else { self.fastest.now }
    }

    /// How long the fastest packets wait for their turn now, less the target.
    fn excess(&self, now: u32) -> i32 {
        let delay = ahead(now.wrapping_sub(self.next), self.fastest_transit());
        delay.saturating_sub(self.target_ticks() as i32)
    }

    /// Whether to hurry or to tarry.
    #[must_use]
    pub fn pace(&self, now: u32) -> Pace {
        let frame = (FRAME_MS * self.ticks_per_ms) as i32;
        match self.excess(now) {
            _ if !self.playing => Pace::Steady,
            excess if excess > 3 * frame => Pace::Hurry,
            excess if excess > frame => Pace::Faster,
            excess if excess < -frame / 2 => Pace::Slower,
            _ => Pace::Steady,
        }
    }

    /// Takes at most one frame's worth; `out` must hold [`SLOT_BYTES`].
    pub fn take(&mut self, now: u32, out: &mut [u8]) -> Taken {
        let frame = FRAME_MS * self.ticks_per_ms;
        if !self.playing {
            match self.begins {
                // Half a frame early is nearer than half a frame late.
                Some(begins) if ahead(now, begins) >= -(frame as i32 / 2) => {
                    self.playing = true;
                    self.begins = None;
                    self.starved_ms = 0;
                }
                Some(_) | None => return Taken::Idle,
            }
        }
        // A burst after a stall: keep what the delay asks for, leave the rest out.
        let most = (u32::from(DELAY_MAX_MS) + 3 * FRAME_MS) * self.ticks_per_ms;
        if ahead(self.end, self.next) > most as i32 {
            let to = self.end.wrapping_sub(self.target_ticks());
            self.store.skip(self.next, to);
            self.next = to;
        }
        if self.excess(now) < -((2 * frame) as i32) {
            return Taken::Hold;
        }
        match self.store.take(self.next, frame, out) {
            Some((bytes, ticks)) => {
                self.starved_ms = 0;
                self.next = self.next.wrapping_add(ticks);
                Taken::Payload(bytes)
            }
            None if ahead(self.end, self.next) > 0 => {
                let ticks = self.store.gap(self.next, frame);
                self.next = self.next.wrapping_add(ticks);
                Taken::Missing { ticks }
            }
            None => {
                self.starved_ms += FRAME_MS;
                if self.starved_ms > STARVED_MAX_MS {
                    self.pause();
                    return Taken::Idle;
                }
                self.next = self.next.wrapping_add(frame);
                Taken::Starved
            }
        }
    }

    /// The packet that follows a gap just taken, if the codec stores packets whole.
    #[must_use]
    pub fn following(&self) -> Option<&[u8]> {
        match &self.store {
            Store::Timeline(_) => None,
            Store::Packets(packets) => packets.at(self.next),
        }
    }
}

enum Store {
    Timeline(Timeline),
    Packets(Packets),
}

impl Store {
    fn clear(&mut self) {
        match self {
            Self::Timeline(timeline) => timeline.valid.fill(0),
            Self::Packets(packets) => packets.slots.iter_mut().for_each(|s| s.ticks = 0),
        }
    }

    /// Length of a payload in ticks, if it can be stored.
    fn ticks(&self, payload: &[u8]) -> Option<u32> {
        match self {
            Self::Timeline(_) => {
                (1..=TIMELINE_TICKS / 4).contains(&payload.len()).then_some(payload.len() as u32)
            }
            Self::Packets(_) if payload.len() > SLOT_BYTES => None,
            Self::Packets(_) => opus::packet_ticks(payload),
        }
    }

    fn insert(&mut self, timestamp: u32, payload: &[u8], ticks: u32, next: u32) {
        match self {
            Self::Timeline(timeline) => timeline.insert(timestamp, payload, next),
            Self::Packets(packets) => packets.insert(timestamp, payload, ticks),
        }
    }

    fn take(&mut self, next: u32, frame: u32, out: &mut [u8]) -> Option<(usize, u32)> {
        match self {
            Self::Timeline(timeline) => timeline.take(next, frame as usize, out),
            Self::Packets(packets) => packets.take(next, out),
        }
    }

    fn gap(&self, next: u32, frame: u32) -> u32 {
        match self {
            Self::Timeline(timeline) => timeline.run(next, frame as usize, false).max(1) as u32,
            Self::Packets(packets) => packets.gap(next).min(frame),
        }
    }

    fn skip(&mut self, from: u32, to: u32) {
        match self {
            Self::Timeline(timeline) => {
                let ticks = to.wrapping_sub(from) as usize;
                timeline.mark(from, ticks.min(TIMELINE_TICKS), false);
            }
            Self::Packets(packets) => {
                for slot in &mut packets.slots {
                    if ahead(slot.timestamp, to) < 0 {
                        slot.ticks = 0;
                    }
                }
            }
        }
    }
}

/// Bytes on a circular timeline, with a bit for each that is there.
struct Timeline {
    bytes: Box<[u8]>,
    valid: Box<[u64]>,
}

impl Timeline {
    fn new() -> Self {
        Self { bytes: vec![0; TIMELINE_TICKS].into(), valid: vec![0; TIMELINE_TICKS / 64].into() }
    }

    fn insert(&mut self, timestamp: u32, payload: &[u8], next: u32) {
        // Ticks already played would come round again a whole turn later.
        let played = ahead(next, timestamp).max(0) as usize;
        let Some(payload) = payload.get(played..) else {
            return;
        };
        let timestamp = timestamp.wrapping_add(played as u32);
        let at = timestamp as usize % TIMELINE_TICKS;
        let first = payload.len().min(TIMELINE_TICKS - at);
        self.bytes[at..at + first].copy_from_slice(&payload[..first]);
        self.bytes[..payload.len() - first].copy_from_slice(&payload[first..]);
        self.mark(timestamp, payload.len(), true);
    }

    /// Sets or clears the bits of a range.
    fn mark(&mut self, timestamp: u32, ticks: usize, there: bool) {
        let mut at = timestamp as usize % TIMELINE_TICKS;
        let mut left = ticks;
        while left > 0 {
            let bit = at % 64;
            let count = left.min(64 - bit);
            let mask = (u64::MAX >> (64 - count)) << bit;
            if there {
                self.valid[at / 64] |= mask;
            } else {
                self.valid[at / 64] &= !mask;
            }
            at = (at + count) % TIMELINE_TICKS;
            left -= count;
        }
    }

    /// How many ticks from `timestamp` on are all there, or all not there.
    fn run(&self, timestamp: u32, most: usize, there: bool) -> usize {
        let mut at = timestamp as usize % TIMELINE_TICKS;
        let mut run = 0;
        while run < most {
            let word = self.valid[at / 64] >> (at % 64);
            let same = if there { word } else { !word }.trailing_ones() as usize;
            let room = 64 - at % 64;
            run += same.min(room);
            if same < room {
                break;
            }
            at = (at + room) % TIMELINE_TICKS;
        }
        run.min(most)
    }

    fn take(&mut self, timestamp: u32, most: usize, out: &mut [u8]) -> Option<(usize, u32)> {
        let run = self.run(timestamp, most.min(out.len()), true);
        if run == 0 {
            return None;
        }
        let at = timestamp as usize % TIMELINE_TICKS;
        let first = run.min(TIMELINE_TICKS - at);
        out[..first].copy_from_slice(&self.bytes[at..at + first]);
        out[first..run].copy_from_slice(&self.bytes[..run - first]);
        self.mark(timestamp, run, false);
        Some((run, run as u32))
    }
}

/// Whole packets.
struct Packets {
    slots: Box<[Slot]>,
}

#[derive(Clone)]
struct Slot {
    timestamp: u32,
    /// 0 marks a free slot.
    ticks: u32,
    length: usize,
    bytes: [u8; SLOT_BYTES],
}

impl Packets {
    fn new() -> Self {
        let free = Slot { timestamp: 0, ticks: 0, length: 0, bytes: [0; SLOT_BYTES] };
        Self { slots: vec![free; SLOTS].into() }
    }

    fn insert(&mut self, timestamp: u32, payload: &[u8], ticks: u32) {
        // A packet with the same timestamp is replaced; with no slot free, the oldest.
        let place = self
            .slots
            .iter()
            .position(|s| s.ticks > 0 && s.timestamp == timestamp)
            .or_else(|| self.slots.iter().position(|s| s.ticks == 0))
            .or_else(|| {
                let age = |slot: &Slot| ahead(timestamp, slot.timestamp);
                (0..self.slots.len()).max_by_key(|at| age(&self.slots[*at]))
            });
        if let Some(slot) = place.and_then(|at| self.slots.get_mut(at)) {
            slot.timestamp = timestamp;
            slot.ticks = ticks;
            slot.length = payload.len();
            slot.bytes[..payload.len()].copy_from_slice(payload);
        }
    }

    fn at(&self, timestamp: u32) -> Option<&[u8]> {
        self.slots.iter().find(|s| s.ticks > 0 && s.timestamp == timestamp).map(|s| &s.bytes[..s.length])
    }

    fn take(&mut self, next: u32, out: &mut [u8]) -> Option<(usize, u32)> {
        // Overtaken packets free their slots; one that has begun is still good.
        for slot in self.slots.iter_mut().filter(|s| s.ticks > 0) {
            if ahead(slot.timestamp.wrapping_add(slot.ticks), next) <= 0 {
                slot.ticks = 0;
            }
        }
        let slot = self
            .slots
            .iter_mut()
            .filter(|s| s.ticks > 0 && ahead(s.timestamp, next) <= 0)
            .min_by_key(|s| ahead(s.timestamp, next))?;
        let end = slot.timestamp.wrapping_add(slot.ticks);
        slot.ticks = 0;
        let bytes = slot.length.min(out.len());
        out[..bytes].copy_from_slice(&slot.bytes[..bytes]);
        Some((bytes, end.wrapping_sub(next)))
    }

    fn gap(&self, next: u32) -> u32 {
        self.slots
            .iter()
            .filter(|s| s.ticks > 0)
            .map(|s| ahead(s.timestamp, next).max(0) as u32)
            .min()
            .unwrap_or(u32::MAX)
    }
}
