//! Ogg files with Opus (RFC 7845): one stream of one or two channels, mixed to one.
//!
//! The Opus decoder gives mono at 16 kHz by itself, whatever was encoded: the best that a
//! prompt is kept in.

use tipring_media::Prompt;
use tipring_media::codec::{CodecId, Decode, opus::packet_ticks};

use super::ogg::OggReader;
use super::{BROKEN_FRAMES_MAX, DecodeError, SECONDS_MAX};

/// What positions in the file and lengths of packets are counted in, in Hz.
const CLOCK_HZ: u64 = 48_000;
/// What the decoder gives, in Hz.
const RATE_HZ: u64 = 16_000;
/// Ticks of the clock for each sample.
const TICKS: u64 = CLOCK_HZ / RATE_HZ;
/// Samples of the longest packet, 120 ms.
const PACKET_SAMPLES_MAX: usize = 1_920;
/// Longest skip at the beginning that is believed: RFC 7845 §5.1 has 80 ms, some encoders more.
const PRE_SKIP_TICKS_MAX: u64 = CLOCK_HZ;

/// What the first packet says (RFC 7845 §5.1).
struct Head {
    pre_skip: u64,
    /// Factor on each sample.
    gain: f32,
}

impl Head {
    fn read(packet: &[u8]) -> Option<Self> {
        let [_, _, _, _, _, _, _, _, version, channels, s0, s1, _, _, _, _, g0, g1, family, rest @ ..] =
            packet
        else {
            return None;
        };
        // A minor version may follow; another major one is another format.
        let is_known = packet.starts_with(b"OpusHead") && version >> 4 == 0;
        // One stream: families 1 and 255 say how many, how many of them of two channels, and
        // where each channel is.
        let is_single = match (family, rest) {
            (0, _) => true,
            (1 | 255, [1, 0 | 1, ..]) => true,
            (1..=u8::MAX, _) => false,
        };
        if !is_known || !is_single || !matches!(channels, 1 | 2) {
            return None;
        }
        let gain_q8 = i16::from_le_bytes([*g0, *g1]);
        Some(Self {
            pre_skip: u64::from(u16::from_le_bytes([*s0, *s1])).min(PRE_SKIP_TICKS_MAX),
            gain: 10f32.powf(f32::from(gain_q8) / (20.0 * 256.0)),
        })
    }
}

/// Sound so far, from the first packet on, with what is to be skipped.
struct Sound {
    decoder: Box<dyn Decode>,
    samples: Vec<i16>,
    gain: f32,
    packet: [i16; PACKET_SAMPLES_MAX],
    broken: usize,
    /// Some packet could be decoded.
    is_any: bool,
}

impl Sound {
    /// Adds a packet and says how many ticks it lasts.
    fn push(&mut self, packet: &[u8]) -> Result<u64, DecodeError> {
        let Some(ticks) = packet_ticks(packet).map(u64::from) else {
            self.broken += 1;
            return Ok(0);
        };
        let length = usize::try_from(ticks / TICKS).unwrap_or(PACKET_SAMPLES_MAX).min(PACKET_SAMPLES_MAX);
        let place = self.packet.get_mut(..length).unwrap_or_default();
        let written = self.decoder.decode(packet, place);
        if written == 0 {
            self.broken += 1;
        } else {
            self.broken = 0;
            self.is_any = true;
        }
        // What cannot be decoded is as long as it says, and silent: the rest stays in time.
        place.get_mut(written..).unwrap_or_default().fill(0);
        let gain = self.gain;
        self.samples.extend(place.iter().map(|sample| (f32::from(*sample) * gain) as i16));
        if self.samples.len() as u64 > (SECONDS_MAX + 1) * RATE_HZ {
            return Err(DecodeError::TooLong);
        }
        Ok(ticks)
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Prompt, DecodeError> {
    let mut pages = OggReader::new(bytes);
    let first = pages.next_page().ok_or(DecodeError::Opus)?;
    let head = first.whole.first().and_then(|packet| Head::read(packet)).ok_or(DecodeError::Opus)?;
    let decoder = (CodecId::Opus.codec().decoder)().map_err(|_| DecodeError::Opus)?;
    let mut sound = Sound {
        decoder,
        samples: Vec::new(),
        gain: head.gain,
        packet: [0; PACKET_SAMPLES_MAX],
        broken: 0,
        is_any: false,
    };

    // The first packet was the head; the second is comments.
    let mut comments = 1;
    let mut ticks = 0u64;
    // The position at which a stream begins that was cut out of another (RFC 7845 §4.5).
    let mut begin = None;
    let mut end = None;
    'pages: while let Some(page) = pages.next_page() {
        let before = ticks;
        for packet in &page.whole {
            if comments > 0 {
                comments -= 1;
                continue;
            }
            ticks += sound.push(packet)?;
            if sound.broken >= BROKEN_FRAMES_MAX {
                break 'pages;
            }
        }
        let Some(granule) = page.granule.filter(|_| ticks > before) else { continue };
        if page.is_last {
            // Only what this page brought can be too much (RFC 7845 §4.4).
            let length = granule.saturating_sub(begin.unwrap_or(0));
            end = Some(length.clamp(before, ticks));
        } else if begin.is_none() {
            begin = Some(granule.saturating_sub(ticks));
        }
    }
    if !sound.is_any {
        return Err(DecodeError::Opus);
    }
    let at = |ticks: u64| usize::try_from(ticks / TICKS).unwrap_or(usize::MAX);
    sound.samples.truncate(at(end.unwrap_or(ticks)));
    let samples = sound.samples.get(at(head.pre_skip)..).unwrap_or_default();
    if samples.is_empty() {
        return Err(DecodeError::Opus);
    }
    if samples.len() as u64 > SECONDS_MAX * RATE_HZ {
        return Err(DecodeError::TooLong);
    }
    Ok(Prompt::from_rate(RATE_HZ as u32, samples))
}

#[cfg(test)]
mod tests {
    use super::super::ogg::tests::page_of;
    use super::*;

    fn head(channels: u8, pre_skip: u16, gain: i16, family: &[u8]) -> Vec<u8> {
        let mut head = b"OpusHead\x01".to_vec();
        head.push(channels);
        head.extend(pre_skip.to_le_bytes());
        head.extend(48_000u32.to_le_bytes());
        head.extend(gain.to_le_bytes());
        head.extend(family);
        head
    }

    /// Packets of 20 ms of a tone of 500 Hz.
    fn tone(packets: usize) -> Vec<Vec<u8>> {
        let mut encoder = (CodecId::Opus.codec().encoder)().unwrap();
        (0..packets)
            .map(|at| {
                let phase = |n: usize| (at * 320 + n) as f32 / 16_000.0 * 500.0 * std::f32::consts::TAU;
                let samples: Vec<i16> = (0..320).map(|n| (phase(n).sin() * 6_000.0) as i16).collect();
                let mut payload = [0; 1_000];
                let length = encoder.encode(&samples, &mut payload);
                payload[..length].to_vec()
            })
            .collect()
    }

    /// A file with this head and pages of packets, each with its position and whether it is
    /// the last.
    fn file(head: &[u8], pages: &[(&[Vec<u8>], u64, bool)]) -> Vec<u8> {
        let mut file = page_of(2, 0, 0, &[head.len() as u8], head);
        file.extend(page_of(0, 0, 1, &[8], b"OpusTags"));
        for ((packets, granule, is_last), number) in pages.iter().zip(2..) {
            let mut segments = Vec::new();
            for packet in *packets {
                segments.extend(std::iter::repeat_n(255, packet.len() / 255));
                segments.push((packet.len() % 255) as u8);
            }
            file.extend(page_of(
                if *is_last { 4 } else { 0 },
                *granule,
                number,
                &segments,
                &packets.concat(),
            ));
        }
        file
    }

    fn length(file: &[u8]) -> usize {
        decode(file).unwrap().samples().len()
    }

    #[test]
    fn the_beginning_is_skipped_and_the_end_is_trimmed() {
        let packets = tone(20);
        let (one, two) = packets.split_at(10);
        let mono = |pre_skip| head(1, pre_skip, 0, &[0]);
        let ticks = 960;
        assert_eq!(length(&file(&mono(0), &[(one, 10 * ticks, false), (two, 20 * ticks, true)])), 6_400);
        assert_eq!(length(&file(&mono(312), &[(one, 10 * ticks, false), (two, 20 * ticks, true)])), 6_296);
        // 300 ticks less at the end.
        assert_eq!(length(&file(&mono(312), &[(one, 9_600, false), (two, 18_900, true)])), 6_196);
        // The same, cut out of a longer stream.
        let far = 1_000_000;
        assert_eq!(length(&file(&mono(312), &[(one, far + 9_600, false), (two, far + 18_900, true)])), 6_196);
        // Only the last page is trimmed, and not made longer.
        assert_eq!(length(&file(&mono(0), &[(one, 9_600, false), (two, 0, true)])), 3_200);
        assert_eq!(length(&file(&mono(0), &[(one, 9_600, false), (two, u64::MAX - 1, true)])), 6_400);
        // A file that was cut off has no last page.
        assert_eq!(length(&file(&mono(0), &[(one, 9_600, false)])), 3_200);
        // Skipping everything leaves nothing.
        let skipped = decode(&file(&mono(u16::MAX), &[(one, 9_600, true)]));
        assert_eq!(skipped.err(), Some(DecodeError::Opus));
    }

    #[test]
    fn the_gain_of_the_head_is_applied() {
        let packets = tone(20);
        let loudest = |gain| {
            let file = file(&head(1, 312, gain, &[0]), &[(&packets, 19_200, true)]);
            decode(&file).unwrap().samples().iter().map(|sample| i32::from(*sample).abs()).max().unwrap()
        };
        let plain = loudest(0);
        // 6.02 dB in steps of 1/256 dB.
        assert!((loudest(-1_541) * 2 - plain).abs() < plain / 50);
        assert!((loudest(1_541) - plain * 2).abs() < plain / 50);
        assert_eq!(loudest(i16::MAX), i32::from(i16::MAX) + 1);
    }

    #[test]
    fn heads_of_other_kinds_are_errors() {
        let packets = tone(3);
        let of = |head: &[u8]| decode(&file(head, &[(&packets, 2_880, true)])).map(|_| ());
        assert_eq!(of(&head(1, 0, 0, &[0])), Ok(()));
        assert_eq!(of(&head(2, 0, 0, &[1, 1, 1, 0, 1])), Ok(()));
        for wrong in [
            head(0, 0, 0, &[0]),
            head(3, 0, 0, &[0]),
            head(2, 0, 0, &[1, 2, 0, 0, 1]),
            head(2, 0, 0, &[1]),
            head(2, 0, 0, &[2, 1, 1]),
            head(1, 0, 0, &[]),
            b"OpusHead\x10\x01\0\0\0\0\0\0\0\0\0".to_vec(),
            b"OpusHead".to_vec(),
        ] {
            assert_eq!(of(&wrong), Err(DecodeError::Opus), "{wrong:?}");
        }
        let nothing = file(&head(1, 0, 0, &[0]), &[]);
        assert_eq!(decode(&nothing).err(), Some(DecodeError::Opus));
        let empty = vec![vec![]; 200];
        assert_eq!(decode(&file(&head(1, 0, 0, &[0]), &[(&empty, 0, true)])).err(), Some(DecodeError::Opus));
    }

    #[test]
    fn what_is_too_long_is_refused() {
        // 60 ms each, of silence: two bytes for a configuration of 60 ms.
        let packets = vec![vec![0x18, 0]; 200];
        let page: &[Vec<u8>] = &packets;
        let pages =
            |count: u64| -> Vec<_> { (1..=count).map(|at| (page, at * 576_000, at == count)).collect() };
        let result = |pages: &[_]| decode(&file(&head(1, 0, 0, &[0]), pages)).err();
        let most = pages(50);
        assert_eq!(result(&most), None);
        let little = &packets[..10];
        assert_eq!(
            result(&[&most[..49], &[(page, 28_800_000, false), (little, 28_828_800, true)]].concat()),
            Some(DecodeError::TooLong)
        );
        // What would be trimmed has to be held before.
        assert_eq!(
            result(&[&most[..49], &[(page, 28_800_000, false), (page, 28_800_000, true)]].concat()),
            Some(DecodeError::TooLong)
        );
    }
}
