//! AIFF and AIFF-C: PCM of 8 to 32 bits in either order of bytes, and G.711. Chunks as in Apple's
//! "Audio Interchange File Format 1.3": each with a name, a length and a byte of padding after an
//! odd length; numbers have their high byte first.

use tipring_media::Prompt;
use tipring_media::wav::{CHANNELS_MAX, RATE_MAX_HZ, RATE_MIN_HZ};

use super::au::{self, Samples};
use super::{DecodeError, SECONDS_MAX};

/// Chunks looked at before the search is given up.
const CHUNKS_MAX: usize = 64;

/// What the `COMM` chunk says.
#[derive(Clone, Copy)]
struct Format {
    channels: u16,
    rate_hz: u32,
    samples: Samples,
}

/// The sound of a whole file.
///
/// # Errors
/// `Aiff`, `Rate`, `TooLong`.
pub(super) fn decode(bytes: &[u8]) -> Result<Prompt, DecodeError> {
    let is_compressed = match bytes.get(8..12) {
        Some(b"AIFF") => false,
        Some(b"AIFC") => true,
        _ => return Err(DecodeError::Aiff),
    };
    let mut rest = bytes.get(12..).unwrap_or(&[]);
    let (mut format, mut sound) = (None, None);
    for _ in 0..CHUNKS_MAX {
        let Some((head, after)) = rest.split_at_checked(8) else { break };
        let Some((name, length)) = head.split_at_checked(4) else { break };
        let length = usize::try_from(au::be32(length)).unwrap_or(usize::MAX);
        let chunk = after.get(..length).unwrap_or(after);
        match name {
            b"COMM" => format = Some(read_format(chunk, is_compressed)?),
            // Offset and block size stand before the samples.
            b"SSND" => {
                let offset = usize::try_from(au::be32(chunk)).unwrap_or(usize::MAX);
                sound = chunk.get(8..).and_then(|samples| samples.get(offset..));
            }
            _ => {}
        }
        rest = after.get(length.saturating_add(length & 1)..).unwrap_or(&[]);
    }
    let (Some(format), Some(sound)) = (format, sound) else { return Err(DecodeError::Aiff) };
    au::prompt(format.samples, format.channels, format.rate_hz, sound).ok_or(DecodeError::Aiff)?
}

fn read_format(chunk: &[u8], is_compressed: bool) -> Result<Format, DecodeError> {
    let fixed: &[u8; 18] = chunk.first_chunk().ok_or(DecodeError::Aiff)?;
    let [c0, c1, _, _, _, _, b0, b1, rate @ ..] = *fixed;
    let channels = u16::from_be_bytes([c0, c1]);
    let bits = u16::from_be_bytes([b0, b1]);
    let coding = if is_compressed { chunk.get(18..22).ok_or(DecodeError::Aiff)? } else { b"NONE" };
    let big = match bits {
        1..=8 => Samples::Signed8,
        9..=16 => Samples::Big16,
        17..=24 => Samples::Big24,
        25..=32 => Samples::Big32,
        _ => return Err(DecodeError::Aiff),
    };
    let samples = match coding {
        b"NONE" | b"twos" => big,
        b"sowt" if bits == 16 => Samples::Little16,
        b"ulaw" | b"ULAW" => Samples::Ulaw,
        b"alaw" | b"ALAW" => Samples::Alaw,
        _ => return Err(DecodeError::Aiff),
    };
    let rate_hz = extended(rate);
    if !(RATE_MIN_HZ..=RATE_MAX_HZ).contains(&rate_hz) {
        return Err(DecodeError::Rate { hz: rate_hz });
    }
    if !(1..=CHANNELS_MAX).contains(&channels) {
        return Err(DecodeError::Aiff);
    }
    Ok(Format { channels, rate_hz, samples })
}

/// The whole part of an 80-bit number of IEEE 754; 0 for what is below 1 or beyond 32 bits.
fn extended(bytes: [u8; 10]) -> u32 {
    let [e0, e1, mantissa @ ..] = bytes;
    let exponent = u32::from(u16::from_be_bytes([e0, e1]));
    let mantissa = u64::from_be_bytes(mantissa);
    // 16383 is the exponent of 1, whose only bit is the highest of the mantissa.
    match exponent.checked_sub(16_383) {
        Some(power @ 0..=31) => u32::try_from(mantissa >> (63 - power)).unwrap_or(0),
        Some(_) | None => 0,
    }
}

const _: () = assert!(SECONDS_MAX < u32::MAX as u64, "lengths are counted in 32 bits");

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A file of 8 kHz; `coding` makes it an AIFF-C.
    pub(crate) fn file(coding: Option<&[u8; 4]>, bits: u16, channels: u16, sound: &[u8]) -> Vec<u8> {
        let mut comm = channels.to_be_bytes().to_vec();
        comm.extend(1_u32.to_be_bytes());
        comm.extend(bits.to_be_bytes());
        comm.extend([0x40, 0x0b, 0xfa, 0, 0, 0, 0, 0, 0, 0]); // 8000
        comm.extend(coding.into_iter().flatten());
        let mut file = b"FORM\0\0\0\0".to_vec();
        file.extend(if coding.is_some() { b"AIFC" } else { b"AIFF" });
        let ssnd = [&[0; 8], sound].concat();
        for (name, chunk) in [(b"COMM", comm), (b"NAME", vec![b'n'; 3]), (b"SSND", ssnd)] {
            file.extend(name);
            file.extend((chunk.len() as u32).to_be_bytes());
            file.extend(&chunk);
            file.extend(vec![0; chunk.len() & 1]);
        }
        file
    }

    #[test]
    fn pcm_and_g711_are_read() {
        let samples = |file: &[u8]| decode(file).map(|prompt| prompt.samples().to_vec());
        assert_eq!(samples(&file(None, 16, 1, &[0x12, 0x34, 0xff, 0xff])), Ok(vec![0x1234, -1]));
        assert_eq!(samples(&file(None, 8, 1, &[0x40, 0x80])), Ok(vec![0x4000, -0x8000]));
        assert_eq!(samples(&file(None, 24, 1, &[1, 2, 3])), Ok(vec![0x0102]));
        assert_eq!(samples(&file(None, 16, 2, &[0, 10, 0, 20])), Ok(vec![15]));
        assert_eq!(samples(&file(Some(b"sowt"), 16, 1, &[0x34, 0x12])), Ok(vec![0x1234]));
        assert_eq!(samples(&file(Some(b"ulaw"), 16, 1, &[0xff, 0x80])), Ok(vec![0, 32_124]));
    }

    #[test]
    fn what_makes_no_sense_is_an_error() {
        let good = file(None, 16, 1, &[0; 320]);
        for end in 0..good.len() - 320 {
            let _ = decode(&good[..end]);
        }
        assert_eq!(decode(&file(Some(b"ima4"), 16, 1, &[0; 34])).err(), Some(DecodeError::Aiff));
        assert_eq!(decode(&file(None, 16, 0, &[0; 4])).err(), Some(DecodeError::Aiff));
        assert_eq!(decode(&file(None, 33, 1, &[0; 4])).err(), Some(DecodeError::Aiff));
        assert_eq!(decode(&file(None, 16, 1, &[])).err(), Some(DecodeError::Aiff));
        let mut slow = good.clone();
        let rate = slow.windows(2).position(|pair| pair == [0x40, 0x0b]).unwrap();
        slow[rate + 1] = 0x05;
        assert!(matches!(decode(&slow), Err(DecodeError::Rate { .. })));
        let long = file(None, 8, 1, &vec![0; 8_000 * 601]);
        assert_eq!(decode(&long).err(), Some(DecodeError::TooLong));
    }
}
