//! What a leg's audio comes from and goes to.

use std::{os::fd::BorrowedFd, time::Instant};

use tipring_model::Digit;

use crate::{
    codec::CodecId,
    frame::{Frame, Rate},
    rtp::{RtpUpdate, packet::Header, telephone_event::Press},
};

/// What [`Endpoint::receive`] wrote into the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// Sound as it came.
    Audio,
    /// Sound of which at least a part was made up.
    Concealed,
    /// Nothing; the frame is silent.
    Silence,
}

/// One packet of a digit sent as a named event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventStep {
    /// The key.
    pub digit: Digit,
    /// True on the first packet.
    pub begins: bool,
    /// True on the last three.
    pub ends: bool,
    /// How long the key has been down, in milliseconds, this packet included.
    pub duration_ms: u32,
}

/// Two legs with equal formats relay payload untouched; with unequal ones it is
/// converted as it comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RelayFormat {
    /// The codec.
    pub codec: CodecId,
    /// Milliseconds a packet.
    pub ptime_ms: u8,
    /// Clock of named events in Hz, if they are negotiated.
    pub events_hz: Option<u32>,
    /// Whether the far end may send.
    pub receives: bool,
    /// Whether we may send.
    pub sends: bool,
}

/// A packet on its way through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RelayPacket<'a> {
    /// The header it came with.
    pub header: Header,
    /// Its payload.
    pub payload: &'a [u8],
    /// Ticks of audio in it; 0 for an event.
    pub ticks: u32,
    /// True for a named event.
    pub event: bool,
}

/// What one read for relaying gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RelayRead<'a> {
    /// A packet to pass on.
    Packet(RelayPacket<'a>),
    /// A datagram that goes no further.
    Kept,
    /// Nothing was there.
    Empty,
}

/// What a packet on its way through was decoded to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// Samples written.
    pub samples: usize,
    /// False if a pause lies between these samples and those before.
    pub follows: bool,
}

/// Counters of one leg, since it was attached.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LegStats {
    /// RTP packets from the peer.
    pub packets_in: u64,
    /// Their payload bytes.
    pub bytes_in: u64,
    /// RTP packets sent.
    pub packets_out: u64,
    /// Their payload bytes.
    pub bytes_out: u64,
    /// Packets that the system refused to send.
    pub send_failed: u64,
    /// Packets that never came (RFC 3550 A.3).
    pub lost: u64,
    /// Packets that came after their time.
    pub late: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets from somebody else.
    pub rejected_source: u64,
    /// Datagrams that were no RTP, or of an unknown payload type.
    pub malformed: u64,
    /// Frames in which sound was made up.
    pub concealed: u64,
    /// Interarrival jitter (RFC 3550 A.8), in microseconds.
    pub jitter_us: u32,
    /// Delay that the jitter buffer aims at, in milliseconds.
    pub delay_ms: u32,
}

/// The audio of one leg: an analog port's rings, or RTP.
///
/// Runs on the media thread: must not allocate, free, lock, log or wait. `receive` and
/// `send` (or one of its kin) are called once every 20 ms each. An endpoint that is
/// not RTP needs the first three methods alone.
pub trait Endpoint: Send {
    /// The rate of the frames it gives and takes. Changes only in `update`.
    fn rate(&self) -> Rate;

    /// Writes the next 20 ms heard from the peer into `frame`, at [`rate`](Self::rate).
    fn receive(&mut self, now: Instant, frame: &mut Frame) -> Received;

    /// Sends 20 ms to the peer. `frame` has [`rate`](Self::rate).
    fn send(&mut self, now: Instant, frame: &Frame);

    /// Called instead of `send` when there is nothing to send.
    fn pass(&mut self, now: Instant) {
        let _ = now;
    }

    /// Called every 20 ms while what is sent comes from another leg as it comes: sends
    /// something if nothing has come for long.
    fn keep_alive(&mut self, now: Instant) {
        let _ = now;
    }

    /// Whether `receive` will be called. While it is not, incoming audio need not be
    /// kept; digits and statistics still count.
    fn listen(&mut self, wanted: bool) {
        let _ = wanted;
    }

    /// The next key press heard as a named event.
    fn poll_press(&mut self, now: Instant) -> Option<Press> {
        let _ = now;
        None
    }

    /// Whether digits go out as named events; if not, the engine sends them as sound.
    fn sends_events(&self) -> bool {
        false
    }

    /// Called instead of `send`: sends one packet of a named event.
    fn send_event(&mut self, now: Instant, step: EventStep) {
        let _ = (now, step);
    }

    /// The codec in which [`send_payload`](Self::send_payload) takes 20 ms, if any.
    fn payload_codec(&self) -> Option<CodecId> {
        None
    }

    /// Called instead of `send`: sends 20 ms that are already encoded.
    fn send_payload(&mut self, now: Instant, payload: &[u8]) {
        let _ = (now, payload);
    }

    /// What must be equal on both sides for payload to be relayed; `None` if never.
    fn relay_format(&self) -> Option<RelayFormat> {
        None
    }

    /// Reads one packet for relaying into `datagram`.
    fn relay_read<'a>(&mut self, now: Instant, datagram: &'a mut [u8]) -> RelayRead<'a> {
        let _ = (now, datagram);
        RelayRead::Empty
    }

    /// Sends a packet that came from another endpoint.
    fn relay_send(&mut self, now: Instant, packet: &RelayPacket<'_>) {
        let _ = (now, packet);
    }

    /// Decodes a packet read for relaying into `samples`, at [`rate`](Self::rate), after
    /// what was lost before it and could be made up.
    fn relay_decode(&mut self, packet: &RelayPacket<'_>, samples: &mut [i16]) -> Decoded {
        let _ = (packet, samples);
        Decoded { samples: 0, follows: true }
    }

    /// Time may have passed in which neither `send` nor one of its kin was called: the
    /// next is to be numbered as what is sent now, not as what follows the last.
    fn fall_behind(&mut self) {}

    /// What is decoded next does not follow what was decoded before.
    fn relay_restart(&mut self) {}

    /// The socket whose readability means that `drain` or `relay_read` has work.
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Reads at most `packets_max` waiting datagrams; true if there may be more.
    fn drain(&mut self, now: Instant, packets_max: usize) -> bool {
        let _ = (now, packets_max);
        false
    }

    /// Takes over a new negotiation. What is no longer needed is left in `update`, to
    /// be dropped elsewhere.
    fn update(&mut self, now: Instant, update: &mut RtpUpdate) {
        let _ = (now, update);
    }

    /// When the peer was last heard, if ever.
    fn last_heard(&self) -> Option<Instant> {
        None
    }

    /// Whether it means nothing that the peer is not heard: it sends no packets, sound does not
    /// go both ways now, or the last that it sent was comfort noise (RFC 3389).
    fn may_be_silent(&self) -> bool {
        true
    }

    /// The counters.
    fn stats(&self) -> LegStats {
        LegStats::default()
    }
}
