//! The phone's sound: one RTP socket, a packet every 20 ms by deadline, everything heard kept.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use tipring_model::Digit;

use super::g711::Law;
use super::heard::HeardPacket;
use super::rtp::{Packet, event_payload};

/// Samples, and RTP ticks, in a packet.
const PACKET_SAMPLES: usize = 160;
/// Time between packets.
const PACKET_TIME: Duration = Duration::from_millis(20);
/// Packets while a key is down: 100 ms.
const KEY_PACKETS: u16 = 5;
/// Packets that carry the end of a key (RFC 4733 §2.5.1.4).
const END_PACKETS: u16 = 3;
/// Packets of audio between two keys.
const KEY_GAP_PACKETS: u16 = 3;
/// Longest datagram that is read.
const DATAGRAM_BYTES_MAX: usize = 1_500;
/// Most samples that wait to be said: ten minutes.
const QUEUE_SAMPLES_MAX: usize = 600 * super::SAMPLES_PER_SECOND;
/// Most packets that are kept: ten minutes.
pub(super) const HEARD_PACKETS_MAX: usize = 600 * 50;

/// Where sound goes, as both sides agreed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Agreed {
    pub(super) remote: SocketAddr,
    pub(super) law: Law,
    pub(super) event_type: Option<u8>,
    pub(super) sends: bool,
}

/// A key that is down.
#[derive(Clone, Copy)]
struct Key {
    digit: Digit,
    timestamp: u32,
    packets: u16,
}

/// What came of a tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// The last sample that waited was said.
    AllSaid,
    /// The key's last packet was sent.
    Key(Digit),
}

/// What a packet was.
pub(super) enum Received {
    Audio(HeardPacket),
    /// A key's first packet, or a later one of the same key.
    Key(Digit, u32),
}

pub(super) struct Sound {
    socket: UdpSocket,
    agreed: Option<Agreed>,
    encoding: Vec<u8>,
    queue: VecDeque<i16>,
    keys: VecDeque<Digit>,
    key: Option<Key>,
    gap_packets: u16,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    due: Option<Instant>,
    first: bool,
}

impl Sound {
    pub(super) fn new(socket: UdpSocket, ssrc: u32) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            agreed: None,
            encoding: Vec::new(),
            queue: VecDeque::new(),
            keys: VecDeque::new(),
            key: None,
            gap_packets: 0,
            sequence: 1,
            timestamp: 0,
            ssrc,
            due: None,
            first: true,
        })
    }

    pub(super) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Begins or goes on with `agreed`.
    pub(super) fn begin(&mut self, now: Instant, agreed: Agreed) {
        if self.agreed.is_none_or(|old| old.law != agreed.law) || self.encoding.is_empty() {
            self.encoding = agreed.law.table();
        }
        self.agreed = Some(agreed);
        self.due = Some(self.due.unwrap_or(now));
    }

    /// Silence, and nothing left to say.
    pub(super) fn end(&mut self) {
        self.agreed = None;
        self.due = None;
        self.queue.clear();
        self.keys.clear();
        self.key = None;
        self.gap_packets = 0;
        self.first = true;
    }

    pub(super) fn say(&mut self, samples: &[i16]) {
        let room = QUEUE_SAMPLES_MAX.saturating_sub(self.queue.len());
        self.queue.extend(samples.iter().take(room));
    }

    pub(super) fn press(&mut self, digits: &[Digit]) {
        self.keys.extend(digits);
    }

    /// When the next packet is to go out.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Sends what is due. Deadlines follow one another by 20 ms, whenever this is called.
    pub(super) fn send_due(&mut self, now: Instant, mut sent: impl FnMut(Sent)) {
        while let (Some(due), Some(agreed)) = (self.due.filter(|due| *due <= now), self.agreed) {
            self.due = Some(due + PACKET_TIME);
            if agreed.sends {
                self.send_one(agreed, &mut sent);
            }
            self.timestamp = self.timestamp.wrapping_add(PACKET_SAMPLES as u32);
        }
    }

    fn send_one(&mut self, agreed: Agreed, sent: &mut impl FnMut(Sent)) {
        if self.key.is_none() && self.gap_packets == 0 && agreed.event_type.is_some() {
            self.key =
                self.keys.pop_front().map(|digit| Key { digit, timestamp: self.timestamp, packets: 0 });
        }
        self.gap_packets = self.gap_packets.saturating_sub(1);
        let packet = match (&mut self.key, agreed.event_type) {
            (Some(key), Some(event_type)) => {
                key.packets += 1;
                let ticks = key.packets.min(KEY_PACKETS) * PACKET_SAMPLES as u16;
                Packet {
                    marker: key.packets == 1,
                    payload_type: event_type,
                    sequence: self.sequence,
                    timestamp: key.timestamp,
                    ssrc: self.ssrc,
                    payload: event_payload(key.digit, key.packets > KEY_PACKETS, ticks),
                }
            }
            (_, _) => {
                let spoke = !self.queue.is_empty();
                let payload = (0..PACKET_SAMPLES)
                    .map(|_| usize::from(self.queue.pop_front().unwrap_or(0) as u16))
                    .map(|at| self.encoding.get(at).copied().unwrap_or(0xff))
                    .collect();
                if spoke && self.queue.is_empty() {
                    sent(Sent::AllSaid);
                }
                Packet {
                    marker: self.first,
                    payload_type: agreed.law.payload_type(),
                    sequence: self.sequence,
                    timestamp: self.timestamp,
                    ssrc: self.ssrc,
                    payload,
                }
            }
        };
        if let Some(key) = self.key.filter(|key| key.packets >= KEY_PACKETS + END_PACKETS) {
            self.key = None;
            self.gap_packets = KEY_GAP_PACKETS;
            sent(Sent::Key(key.digit));
        }
        self.first = false;
        self.sequence = self.sequence.wrapping_add(1);
        // The far end may be gone already; what is lost is missed at the other side.
        let _ = self.socket.send_to(&packet.to_bytes(), agreed.remote);
    }

    /// The next packet that came, if any.
    pub(super) fn receive(&mut self, now: Instant) -> Option<Received> {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        loop {
            let (length, _) = self.socket.recv_from(&mut buffer).ok()?;
            let Some(agreed) = self.agreed else { continue };
            let Some(packet) = buffer.get(..length).and_then(Packet::parse) else { continue };
            if packet.payload_type == agreed.law.payload_type() {
                return Some(Received::Audio(HeardPacket {
                    at: now,
                    sequence: packet.sequence,
                    timestamp: packet.timestamp,
                    ssrc: packet.ssrc,
                    samples: packet.payload.iter().map(|byte| agreed.law.decode(*byte)).collect(),
                }));
            }
            let event = (Some(packet.payload_type) == agreed.event_type).then(|| packet.payload.first());
            if let Some(digit) = event.flatten().and_then(|code| Digit::from_event(*code)) {
                return Some(Received::Key(digit, packet.timestamp));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Sound, UdpSocket) {
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        far.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut sound = Sound::new(UdpSocket::bind("127.0.0.1:0").unwrap(), 9).unwrap();
        let remote = far.local_addr().unwrap();
        sound.begin(Instant::now(), Agreed { remote, law: Law::Mu, event_type: Some(101), sends: true });
        (sound, far)
    }

    fn packet(far: &UdpSocket) -> Packet {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        let length = far.recv(&mut buffer).unwrap();
        Packet::parse(&buffer[..length]).unwrap()
    }

    #[test]
    fn packets_follow_their_deadlines_whenever_they_are_sent() {
        let (mut sound, far) = pair();
        let began = sound.due().unwrap();
        sound.say(&[1_000; 200]);
        let mut said = 0;
        sound.send_due(began + Duration::from_millis(59), |sent| said += usize::from(sent == Sent::AllSaid));
        let packets = [packet(&far), packet(&far), packet(&far)];
        assert_eq!(packets.each_ref().map(|p| p.timestamp), [0, 160, 320]);
        assert_eq!(packets.each_ref().map(|p| p.sequence), [1, 2, 3]);
        assert_eq!(packets.each_ref().map(|p| p.marker), [true, false, false]);
        assert_eq!(packets[1].payload[39], Law::Mu.encode(1_000));
        assert_eq!(Law::Mu.decode(packets[1].payload[40]), 0, "silence after the last word");
        assert_eq!(said, 1);
        assert_eq!(sound.due(), Some(began + Duration::from_millis(60)));
    }

    #[test]
    fn a_key_is_five_packets_and_three_ends_with_one_timestamp() {
        let (mut sound, far) = pair();
        let began = sound.due().unwrap();
        sound.press(&[Digit::D1, Digit::Hash]);
        let mut keys = Vec::new();
        sound.send_due(began + Duration::from_millis(20 * 19), |sent| keys.push(sent));
        let packets: Vec<Packet> = (0..20).map(|_| packet(&far)).collect();
        let events: Vec<&Packet> = packets.iter().filter(|p| p.payload_type == 101).collect();
        assert_eq!(events.len(), 16);
        assert_eq!(keys, [Sent::Key(Digit::D1), Sent::Key(Digit::Hash)]);
        let durations: Vec<u16> =
            events[..8].iter().map(|p| u16::from_be_bytes([p.payload[2], p.payload[3]])).collect();
        assert_eq!(durations, [160, 320, 480, 640, 800, 800, 800, 800]);
        let ends: Vec<bool> = events[..8].iter().map(|p| p.payload[1] & 0x80 != 0).collect();
        assert_eq!(ends, [false, false, false, false, false, true, true, true]);
        assert!(events[..8].iter().all(|p| p.timestamp == events[0].timestamp));
        assert!(events[8].timestamp > events[0].timestamp && events[8].payload[0] == 11);
    }
}
