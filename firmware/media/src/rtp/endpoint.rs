//! The RTP endpoint: a UDP socket between the network and the engine.
//!
//! Everything it needs is allocated when it is built or comes in an [`RtpUpdate`].

use std::{
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use rustix::net::{
    SendAncillaryBuffer, SendFlags, sendmsg_addr, sendto,
    sockopt::{self, Ipv4PathMtuDiscovery},
};

use super::{
    jitter::{Inserted, JitterLimits},
    packet::{HEADER_BYTES, PACKET_BYTES_MAX, Packet},
    playout::Playout,
    session::{Arrival, Receiver, Sender},
    source::{SourceGate, Verdict},
    telephone_event::{EventPayload, EventReceiver, Press},
};
use crate::{
    codec::{CodecError, CodecId, Encode, PAYLOAD_MAX, opus},
    endpoint::{Decoded, Endpoint, EventStep, LegStats, Received, RelayFormat, RelayPacket, RelayRead},
    frame::{FRAME_MS, Frame, Rate},
};

/// Comfort noise (RFC 3389): passed over, the silence around it is enough.
const COMFORT_NOISE: u8 = 13;
/// Key presses that wait for the engine; more than any hand makes in 20 ms.
const PRESSES_MAX: usize = 4;
/// A leg with nothing to say sends one frame of silence this often, so that address
/// translators and watchdogs on the way keep it (RFC 6263 §4.1 asks for 15 s).
const KEEPALIVE: Duration = Duration::from_secs(5);
/// A locked source that was heard within this time stays locked through a new
/// negotiation that leaves the addresses as they are.
const KEPT_LOCK: Duration = Duration::from_secs(1);
/// Expedited forwarding (RFC 4594 §4.1), as the byte of the IP header.
const TOS_EXPEDITED: u8 = 46 << 2;
/// Longest packet we send, in milliseconds.
const PTIME_MAX_MS: u8 = 60;
/// Payloads up to this length are put behind their header for the system, which takes
/// one piece with less ado than two: 20 ms of G.711 take 4 % less processor time.
const JOINED_BYTES_MAX: usize = 8 * FRAME_MS as usize;
/// Room for the payload of one packet, and a frame more.
const GATHER_BYTES: usize = 8 * (PTIME_MAX_MS as usize + FRAME_MS as usize);

/// Which way media flows (RFC 4566 §6), as seen from us.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendReceive,
    /// We only send.
    SendOnly,
    /// We only receive.
    ReceiveOnly,
    /// Neither: on hold.
    Inactive,
}

impl Direction {
    /// True if we may send.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendReceive | Self::SendOnly)
    }

    /// True if we listen.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendReceive | Self::ReceiveOnly)
    }
}

/// Named events as negotiated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Events {
    /// Payload type of `telephone-event`.
    pub payload_type: u8,
    /// Its clock rate; 8000, or that of the codec.
    pub clock_hz: u32,
}

/// What offer and answer agreed upon for one audio stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtpMedia {
    /// The codec, both ways.
    pub codec: CodecId,
    /// Its payload type, both ways.
    pub payload_type: u8,
    /// Named events, if negotiated.
    pub events: Option<Events>,
    /// Where the SDP says that media goes; none while there is no address.
    pub remote: Option<SocketAddr>,
    /// Address that the signalling came from: its network may send too.
    pub signalling: Option<IpAddr>,
    /// Which way media flows.
    pub direction: Direction,
    /// Milliseconds a packet that we send: 10, 20, 30, 40 or 60. Opus is always 20.
    pub ptime_ms: u8,
    /// Bounds of the jitter buffer.
    pub jitter: JitterLimits,
}

impl RtpMedia {
    /// Both ways, 20 ms a packet, without events.
    #[must_use]
    pub fn new(codec: CodecId, payload_type: u8, remote: SocketAddr) -> Self {
        Self {
            codec,
            payload_type,
            events: None,
            remote: Some(remote),
            signalling: None,
            direction: Direction::SendReceive,
            ptime_ms: FRAME_MS as u8,
            jitter: JitterLimits::default(),
        }
    }
}

/// A new negotiation for a running leg, with the codec built beforehand.
pub struct RtpUpdate {
    media: RtpMedia,
    playout: Playout,
    encoder: Box<dyn Encode>,
}

impl RtpUpdate {
    /// Allocates what the codec needs.
    ///
    /// # Errors
    /// [`CodecError`] if the codec cannot be built.
    pub fn new(media: RtpMedia) -> Result<Box<Self>, CodecError> {
        Ok(Box::new(Self {
            playout: Playout::new(media.codec, media.jitter)?,
            encoder: (media.codec.codec().encoder)()?,
            media,
        }))
    }
}

/// Why an endpoint could not be built.
#[derive(Debug, thiserror::Error)]
pub enum RtpError {
    /// The codec could not be built.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The socket could not be made non-blocking.
    #[error("the socket cannot be prepared")]
    Socket(#[from] io::Error),
}

/// One leg over RTP.
pub struct RtpEndpoint {
    socket: UdpSocket,
    sixth_version: bool,
    began: Instant,
    media: RtpMedia,
    gate: SourceGate,
    sender: Sender,
    receiver: Receiver,
    events: EventReceiver,
    presses: [Option<Press>; PRESSES_MAX],
    event_began: u32,
    playout: Playout,
    encoder: Box<dyn Encode>,
    /// Payload waiting for its packet to be full; unused at 20 ms.
    gathered: [u8; GATHER_BYTES],
    gathered_bytes: usize,
    listening: bool,
    last_heard: Option<Instant>,
    /// What it sent last was comfort noise.
    comforts: bool,
    last_sent: Option<Instant>,
    /// When our numbering was last taken further, by a packet or without one.
    numbered: Instant,
    /// Time has passed since then of which the numbering knows nothing.
    behind: bool,
    stats: LegStats,
}

impl RtpEndpoint {
    /// Builds an endpoint on a bound socket, which is made non-blocking and marked
    /// for expedited forwarding. `random` seeds SSRC, sequence number and timestamp.
    ///
    /// # Errors
    /// See [`RtpError`].
    pub fn new(
        socket: UdpSocket,
        media: RtpMedia,
        random: u128,
        now: Instant,
    ) -> Result<Box<Self>, RtpError> {
        socket.set_nonblocking(true)?;
        let sixth_version = socket.local_addr()?.is_ipv6();
        // Without the mark calls work all the same, and without the next as well: packets
        // that cannot be fragmented need no number of their own, which costs more to make
        // than their checksum.
        let _ = sockopt::set_ip_tos(&socket, TOS_EXPEDITED);
        let _ = sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE);
        let playout = Playout::new(media.codec, media.jitter)?;
        let encoder = (media.codec.codec().encoder)()?;
        Ok(Box::new(Self {
            socket,
            sixth_version,
            began: now,
            media: sane(media),
            gate: SourceGate::new(media.remote, media.signalling),
            sender: Sender::new(random as u32, (random >> 32) as u16, (random >> 64) as u32),
            receiver: Receiver::default(),
            events: EventReceiver::new(event_ticks_per_ms(&media)),
            presses: [None; PRESSES_MAX],
            event_began: 0,
            playout,
            encoder,
            gathered: [0; GATHER_BYTES],
            gathered_bytes: 0,
            listening: false,
            last_heard: None,
            comforts: false,
            last_sent: None,
            numbered: now,
            behind: false,
            stats: LegStats::default(),
        }))
    }

    /// Our clock in ticks of the codec.
    fn ticks(&self, now: Instant) -> u32 {
        let micros = now.saturating_duration_since(self.began).as_micros() as u64;
        (micros * u64::from(self.media.codec.codec().ticks_per_ms()) / 1_000) as u32
    }

    fn frame_ticks(&self) -> u32 {
        self.media.codec.codec().frame_ticks()
    }

    /// Sends one datagram to the peer.
    fn transmit(&mut self, now: Instant, header: [u8; HEADER_BYTES], payload: &[u8]) {
        transmit(
            &self.socket,
            self.gate.destination(),
            self.sixth_version,
            &header,
            payload,
            &mut self.stats,
        );
        self.last_sent = Some(now);
        self.numbered = now;
    }

    /// Sends 20 ms of payload, or gathers it if packets are of another length.
    fn send_encoded(&mut self, now: Instant, payload: &[u8]) {
        if payload.is_empty() || !self.media.direction.sends() {
            return self.skip(now);
        }
        self.resume(now);
        if u32::from(self.media.ptime_ms) == FRAME_MS {
            let header = self.sender.audio(self.media.payload_type, self.frame_ticks());
            return self.transmit(now, header.to_bytes(), payload);
        }
        let end = self.gathered_bytes + payload.len();
        if let Some(space) = self.gathered.get_mut(self.gathered_bytes..end) {
            space.copy_from_slice(payload);
            self.gathered_bytes = end;
        }
        let packet = usize::from(self.media.ptime_ms) * 8;
        while self.gathered_bytes >= packet {
            self.send_gathered(now, packet);
        }
    }

    fn send_gathered(&mut self, now: Instant, bytes: usize) {
        let header = self.sender.audio(self.media.payload_type, bytes as u32);
        let gathered = self.gathered;
        self.transmit(now, header.to_bytes(), &gathered[..bytes]);
        self.gathered.copy_within(bytes..self.gathered_bytes, 0);
        self.gathered_bytes -= bytes;
    }

    /// Brings the numbering to where it is now, after a relayed stream, whose last packet
    /// may be long past, or after a pause of one that is converted.
    fn resume(&mut self, now: Instant) {
        let quiet = now.saturating_duration_since(self.numbered);
        let ticks = quiet.as_micros() as u64 * u64::from(self.media.codec.codec().ticks_per_ms()) / 1_000;
        let ticks = (ticks as u32).saturating_sub(self.frame_ticks());
        let behind = core::mem::take(&mut self.behind);
        if !self.sender.resume(ticks) && behind && ticks > 0 {
            self.sender.pass(ticks);
        }
    }

    /// True if it is time to send something for the sake of those on the way.
    fn is_long_silent(&self, now: Instant) -> bool {
        let last = self.last_sent.unwrap_or(self.began);
        now.saturating_duration_since(last) >= KEEPALIVE && self.media.direction.sends()
    }

    fn skip(&mut self, now: Instant) {
        self.sender.pass(self.frame_ticks());
        self.numbered = now;
    }

    /// Reads one datagram into `datagram`.
    fn read<'a>(&mut self, now: Instant, datagram: &'a mut [u8]) -> Read<'a> {
        let (bytes, source) = match self.socket.recv_from(datagram) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Read::Other,
            Err(_) => return Read::Empty,
        };
        let parsed = datagram
            .get(..bytes.min(PACKET_BYTES_MAX + 1))
            .filter(|whole| whole.len() <= PACKET_BYTES_MAX)
            .map(Packet::parse);
        let Some(Ok(packet)) = parsed else {
            self.stats.malformed += 1;
            return Read::Other;
        };
        match self.gate.judge(now, source) {
            Verdict::Hear => {}
            Verdict::HearAfresh => self.playout.restart(),
            Verdict::Reject => {
                self.stats.rejected_source += 1;
                return Read::Other;
            }
        }
        self.last_heard = Some(now);
        self.comforts = packet.header.payload_type == COMFORT_NOISE;
        let arrival = self.receiver.arrived(&packet.header, self.ticks(now));
        match arrival {
            Arrival::Duplicate => {
                self.stats.duplicates += 1;
                return Read::Other;
            }
            Arrival::Restart => self.playout.restart(),
            Arrival::Next | Arrival::Reordered => {}
        }
        self.stats.packets_in += 1;
        self.stats.bytes_in += packet.payload.len() as u64;
        if !self.media.direction.receives() {
            return Read::Other;
        }
        let payload_type = packet.header.payload_type;
        if self.media.events.is_some_and(|events| events.payload_type == payload_type) {
            return Read::Event(packet);
        }
        if payload_type == self.media.payload_type {
            return Read::Audio(packet);
        }
        if payload_type != COMFORT_NOISE {
            self.stats.malformed += 1;
        }
        Read::Other
    }

    /// Follows the presses in an event packet.
    fn note_event(&mut self, now: Instant, packet: &Packet<'_>) {
        let Some(event) = EventPayload::parse(packet.payload) else {
            self.stats.malformed += 1;
            return;
        };
        let presses = &mut self.presses;
        let mut began = false;
        self.events.packet(now, packet.header.timestamp, event, |press| {
            began |= matches!(press, Press::Began(_));
            push_press(presses, press);
        });
        if began {
            // No audio comes beside an event; its absence is no loss.
            self.playout.jitter().pause();
        }
    }

    fn take_packet(&mut self, now: Instant) -> Taken {
        let mut datagram = [0; PACKET_BYTES_MAX + 1];
        match self.read(now, &mut datagram) {
            Read::Audio(packet) if self.listening => {
                let ticks = self.ticks(now);
                let header = packet.header;
                let inserted = self.playout.jitter().insert(ticks, header.timestamp, packet.payload);
                match inserted {
                    Inserted::Stored => {}
                    Inserted::Late => self.stats.late += 1,
                    Inserted::Refused => self.stats.malformed += 1,
                }
            }
            Read::Event(packet) => self.note_event(now, &packet),
            Read::Audio(_) | Read::Other => {}
            Read::Empty => return Taken::Nothing,
        }
        Taken::One
    }
}

enum Taken {
    One,
    Nothing,
}

enum Read<'a> {
    Audio(Packet<'a>),
    Event(Packet<'a>),
    Other,
    Empty,
}

fn sane(mut media: RtpMedia) -> RtpMedia {
    let good = matches!(media.ptime_ms, 10 | 20 | 30 | 40 | 60);
    if !good || !media.codec.codec().byte_a_tick {
        media.ptime_ms = FRAME_MS as u8;
    }
    media
}

fn event_ticks_per_ms(media: &RtpMedia) -> u32 {
    let hz = media.events.map_or(8_000, |events| events.clock_hz);
    (hz / 1_000).max(1)
}

fn push_press(presses: &mut [Option<Press>; PRESSES_MAX], press: Press) {
    if let Some(place) = presses.iter_mut().find(|place| place.is_none()) {
        *place = Some(press);
    }
}

fn transmit(
    socket: &UdpSocket,
    destination: Option<SocketAddr>,
    sixth_version: bool,
    header: &[u8; HEADER_BYTES],
    payload: &[u8],
    stats: &mut LegStats,
) {
    let Some(destination) = destination else {
        return;
    };
    let destination = match destination.ip() {
        IpAddr::V4(host) if sixth_version => {
            SocketAddr::new(host.to_ipv6_mapped().into(), destination.port())
        }
        IpAddr::V4(_) | IpAddr::V6(_) => destination,
    };
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let mut joined = [0; HEADER_BYTES + JOINED_BYTES_MAX];
    let sent = if let Some(datagram) = joined.get_mut(..HEADER_BYTES + payload.len()) {
        datagram[..HEADER_BYTES].copy_from_slice(header);
        datagram[HEADER_BYTES..].copy_from_slice(payload);
        sendto(socket, datagram, flags, &destination)
    } else {
        let pieces = [IoSlice::new(header), IoSlice::new(payload)];
        sendmsg_addr(socket, &destination, &pieces, &mut SendAncillaryBuffer::default(), flags)
    };
    if sent.is_ok() {
        stats.packets_out += 1;
        stats.bytes_out += payload.len() as u64;
    } else {
        stats.send_failed += 1;
    }
}

impl Endpoint for RtpEndpoint {
    fn rate(&self) -> Rate {
        self.media.codec.codec().rate
    }

    fn receive(&mut self, now: Instant, frame: &mut Frame) -> Received {
        let ticks = self.ticks(now);
        self.playout.play(ticks, frame)
    }

    fn send(&mut self, now: Instant, frame: &Frame) {
        if !self.media.direction.sends() {
            return self.skip(now);
        }
        let mut payload = [0; PAYLOAD_MAX];
        let bytes = self.encoder.encode(frame.samples(), &mut payload);
        self.send_encoded(now, &payload[..bytes]);
    }

    fn pass(&mut self, now: Instant) {
        if self.gathered_bytes > 0 {
            self.send_gathered(now, self.gathered_bytes);
        }
        if self.is_long_silent(now) {
            self.keep_alive(now);
        } else {
            self.skip(now);
        }
    }

    fn keep_alive(&mut self, now: Instant) {
        if self.is_long_silent(now) {
            self.behind = true;
            self.send(now, &Frame::silence(self.rate()));
            self.last_sent = Some(now);
        }
    }

    fn listen(&mut self, wanted: bool) {
        if self.listening != wanted {
            self.listening = wanted;
            self.playout.restart();
        }
    }

    fn poll_press(&mut self, now: Instant) -> Option<Press> {
        let presses = &mut self.presses;
        self.events.expire(now, |press| push_press(presses, press));
        let press = self.presses[0].take();
        self.presses.rotate_left(1);
        press
    }

    fn sends_events(&self) -> bool {
        self.media.events.is_some()
    }

    fn send_event(&mut self, now: Instant, step: EventStep) {
        let Some(events) = self.media.events.filter(|_| self.media.direction.sends()) else {
            return self.skip(now);
        };
        self.resume(now);
        if step.begins {
            self.event_began = self.sender.timestamp();
        }
        let ticks = step.duration_ms * event_ticks_per_ms(&self.media);
        let payload = EventPayload {
            code: step.digit.event(),
            end: step.ends,
            duration: u16::try_from(ticks).unwrap_or(u16::MAX),
        };
        let header = self.sender.event(events.payload_type, step.begins, self.event_began);
        self.transmit(now, header.to_bytes(), &payload.to_bytes());
        self.skip(now);
    }

    fn payload_codec(&self) -> Option<CodecId> {
        Some(self.media.codec)
    }

    fn send_payload(&mut self, now: Instant, payload: &[u8]) {
        self.send_encoded(now, payload);
    }

    fn relay_format(&self) -> Option<RelayFormat> {
        Some(RelayFormat {
            codec: self.media.codec,
            ptime_ms: self.media.ptime_ms,
            events_hz: self.media.events.map(|events| events.clock_hz),
            receives: self.media.direction.receives(),
            sends: self.media.direction.sends(),
        })
    }

    fn relay_read<'a>(&mut self, now: Instant, datagram: &'a mut [u8]) -> RelayRead<'a> {
        match self.read(now, datagram) {
            Read::Audio(packet) => {
                let ticks = if self.media.codec.codec().byte_a_tick {
                    packet.payload.len() as u32
                } else {
                    opus::packet_ticks(packet.payload).unwrap_or(0)
                };
                RelayRead::Packet(RelayPacket {
                    header: packet.header,
                    payload: packet.payload,
                    ticks,
                    event: false,
                })
            }
            Read::Event(packet) => {
                self.note_event(now, &packet);
                RelayRead::Packet(RelayPacket {
                    header: packet.header,
                    payload: packet.payload,
                    ticks: 0,
                    event: true,
                })
            }
            Read::Other => RelayRead::Kept,
            Read::Empty => RelayRead::Empty,
        }
    }

    fn relay_send(&mut self, now: Instant, packet: &RelayPacket<'_>) {
        if !self.media.direction.sends() {
            return;
        }
        let payload_type = match (packet.event, self.media.events) {
            (false, _) => self.media.payload_type,
            (true, Some(events)) => events.payload_type,
            (true, None) => return,
        };
        let header = self.sender.relayed(&packet.header, payload_type, packet.ticks);
        self.transmit(now, header.to_bytes(), packet.payload);
    }

    fn relay_decode(&mut self, packet: &RelayPacket<'_>, samples: &mut [i16]) -> Decoded {
        let decoded = self.playout.decode_now(packet.header.timestamp, packet.ticks, packet.payload, samples);
        decoded.unwrap_or_else(|| {
            self.stats.late += 1;
            Decoded { samples: 0, follows: true }
        })
    }

    fn fall_behind(&mut self) {
        self.behind = true;
    }

    fn relay_restart(&mut self) {
        self.playout.restart();
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn drain(&mut self, now: Instant, packets_max: usize) -> bool {
        for _ in 0..packets_max {
            match self.take_packet(now) {
                Taken::One => {}
                Taken::Nothing => return false,
            }
        }
        true
    }

    fn update(&mut self, now: Instant, update: &mut RtpUpdate) {
        let media = sane(update.media);
        if media.codec != self.media.codec || media.jitter != self.media.jitter {
            // The tick clock changes with the codec, so it starts again.
            core::mem::swap(&mut self.playout, &mut update.playout);
            core::mem::swap(&mut self.encoder, &mut update.encoder);
            self.began = now;
        }
        if self.gathered_bytes > 0 {
            self.send_gathered(now, self.gathered_bytes);
        }
        self.events = EventReceiver::new(event_ticks_per_ms(&media));
        // A refresh that moves nothing must not send a translated peer's audio astray
        // while it is learned again; a peer that fell silent may have moved.
        let moved = (media.remote, media.signalling) != (self.media.remote, self.media.signalling);
        let silent = self.last_heard.is_none_or(|heard| now.saturating_duration_since(heard) >= KEPT_LOCK);
        if moved || silent {
            self.gate = SourceGate::new(media.remote, media.signalling);
        }
        self.media = media;
    }

    fn last_heard(&self) -> Option<Instant> {
        self.last_heard
    }

    fn may_be_silent(&self) -> bool {
        // Who has put us on hold may send music, or nothing.
        self.comforts || self.media.direction != Direction::SendReceive
    }

    fn stats(&self) -> LegStats {
        let ticks_per_ms = u64::from(self.media.codec.codec().ticks_per_ms());
        LegStats {
            lost: self.receiver.lost(),
            concealed: self.playout.concealed(),
            jitter_us: (u64::from(self.receiver.jitter_ticks()) * 1_000 / ticks_per_ms) as u32,
            delay_ms: self.playout.delay_ms(),
            ..self.stats
        }
    }
}
