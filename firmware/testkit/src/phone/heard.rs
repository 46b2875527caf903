//! What a phone heard, packet by packet, and as one stretch of sound.

use std::time::{Duration, Instant};

use super::SAMPLES_PER_SECOND;

/// Longest sound that is put together, in samples: ten minutes.
const SAMPLES_MAX: usize = 600 * SAMPLES_PER_SECOND;
/// A timestamp that is further than this from the clock, in samples, begins a new count.
const JUMP_MAX: i64 = SAMPLES_PER_SECOND as i64;

/// One packet of audio.
#[derive(Clone, Debug)]
pub struct HeardPacket {
    /// When it came.
    pub at: Instant,
    /// Its RTP sequence number.
    pub sequence: u16,
    /// Its RTP timestamp.
    pub timestamp: u32,
    /// Its source.
    pub ssrc: u32,
    /// Its sound at 8 kHz.
    pub samples: Vec<i16>,
}

/// Everything that a phone heard since it was last forgotten.
#[derive(Clone, Default, Debug)]
pub struct Heard {
    /// In order of arrival.
    pub packets: Vec<HeardPacket>,
}

impl Heard {
    /// When the first sample came.
    #[must_use]
    pub fn began_at(&self) -> Option<Instant> {
        self.packets.first().map(|packet| packet.at)
    }

    /// The sound at 8 kHz from the first packet on, every packet at the place its timestamp
    /// names, with silence where nothing came. After a jump of the timestamps the clock says
    /// where it goes on.
    #[must_use]
    pub fn samples(&self) -> Vec<i16> {
        let mut sound = Vec::new();
        let mut count: Option<(u32, u32, i64)> = None; // source, timestamp, place of that timestamp
        for packet in &self.packets {
            let elapsed = packet.at.saturating_duration_since(self.began_at().unwrap_or(packet.at));
            let by_clock = (elapsed.as_micros() as i64) * SAMPLES_PER_SECOND as i64 / 1_000_000;
            let by_count = count
                .filter(|(ssrc, _, _)| *ssrc == packet.ssrc)
                .map(|(_, timestamp, place)| {
                    place + i64::from(packet.timestamp.wrapping_sub(timestamp) as i32)
                })
                .filter(|place| (place - by_clock).abs() <= JUMP_MAX);
            let place = by_count.unwrap_or(by_clock);
            count = Some((packet.ssrc, packet.timestamp, place));
            let Ok(place) = usize::try_from(place) else { continue };
            let end = place + packet.samples.len();
            if end > SAMPLES_MAX {
                break;
            }
            if sound.len() < end {
                sound.resize(end, 0);
            }
            if let Some(slot) = sound.get_mut(place..end) {
                slot.copy_from_slice(&packet.samples);
            }
        }
        sound
    }

    /// Packets that never came, by the gaps in the sequence numbers of each source.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.packets
            .iter()
            .zip(self.packets.iter().skip(1))
            .filter(|(a, b)| a.ssrc == b.ssrc)
            .map(|(a, b)| usize::from(b.sequence.wrapping_sub(a.sequence)))
            .filter(|step| (2..1_000).contains(step))
            .map(|step| step - 1)
            .sum()
    }

    /// The longest time between two packets.
    #[must_use]
    pub fn longest_pause(&self) -> Duration {
        self.packets
            .iter()
            .zip(self.packets.iter().skip(1))
            .map(|(a, b)| b.at.saturating_duration_since(a.at))
            .max()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(began: Instant, ms: u64, sequence: u16, timestamp: u32, value: i16) -> HeardPacket {
        HeardPacket {
            at: began + Duration::from_millis(ms),
            sequence,
            timestamp,
            ssrc: 1,
            samples: vec![value; 160],
        }
    }

    #[test]
    fn timestamps_place_the_sound_and_gaps_are_silent() {
        let t = Instant::now();
        let heard = Heard {
            packets: vec![
                packet(t, 0, 65_535, u32::MAX - 159, 1),
                packet(t, 27, 0, 0, 2),
                packet(t, 60, 2, 320, 4),
            ],
        };
        let sound = heard.samples();
        assert_eq!(sound.len(), 640);
        assert_eq!((sound[0], sound[160], sound[320], sound[480]), (1, 2, 0, 4));
        assert_eq!(heard.lost(), 1);
        assert_eq!(heard.longest_pause(), Duration::from_millis(33));
    }

    #[test]
    fn after_a_jump_the_clock_counts() {
        let t = Instant::now();
        let heard = Heard { packets: vec![packet(t, 0, 1, 0, 1), packet(t, 1_000, 2, 900_000, 2)] };
        let sound = heard.samples();
        assert_eq!((sound.len(), sound[8_000]), (8_160, 2));
    }
}
