//! WAV recordings as bytes: read for prompts, written for recordings. Files are
//! somebody else's affair.
//!
//! Reads PCM of 8, 16, 24 and 32 bits, G.711 µ-law and A-law, and the extensible form
//! of these; any number of channels up to [`CHANNELS_MAX`], mixed to one; 8 to 48 kHz;
//! up to ten minutes. Lengths in the file are believed only as far as there are bytes.
//! Writes 16-bit mono.

use crate::codec::{pcma, pcmu};

/// Longest recording read, in seconds.
pub const SECONDS_MAX: u64 = 600;
/// Most channels read.
pub const CHANNELS_MAX: u16 = 8;
/// Lowest sampling rate read, in Hz.
pub const RATE_MIN_HZ: u32 = 8_000;
/// Highest sampling rate read, in Hz.
pub const RATE_MAX_HZ: u32 = 48_000;
/// Chunks looked at before the search is given up.
const CHUNKS_MAX: usize = 64;

/// Bytes that [`header`] writes.
pub const HEADER_BYTES: usize = 44;
/// What a header says while the length is not known: as much as can be said.
const LENGTH_UNKNOWN: u32 = u32::MAX - 36;

const PCM: u16 = 1;
const ALAW: u16 = 6;
const ULAW: u16 = 7;
const EXTENSIBLE: u16 = 0xfffe;

/// A recording.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wav {
    /// Samples a second.
    pub rate_hz: u32,
    /// The samples, one channel.
    pub samples: Vec<i16>,
}

/// Why bytes are no recording that can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WavError {
    /// It does not begin as a WAV file does.
    #[error("not a WAV file")]
    NotWav,
    /// There is no format before the sound.
    #[error("no format chunk before the sound")]
    NoFormat,
    /// The format chunk is too short or contradicts itself.
    #[error("the format chunk makes no sense")]
    BadFormat,
    /// There is no sound.
    #[error("no sound in the file")]
    NoSound,
    /// A coding that is not read here.
    #[error("coding {tag:#06x} with {bits} bits is not supported")]
    Coding {
        /// The format tag.
        tag: u16,
        /// Bits a sample.
        bits: u16,
    },
    /// A sampling rate outside of 8 to 48 kHz.
    #[error("a sampling rate of {hz} Hz is not supported")]
    Rate {
        /// What the file says.
        hz: u32,
    },
    /// No channel or too many.
    #[error("{channels} channels are not supported")]
    Channels {
        /// What the file says.
        channels: u16,
    },
    /// Longer than [`SECONDS_MAX`].
    #[error("the recording lasts {seconds} s, too long")]
    TooLong {
        /// How long it lasts.
        seconds: u64,
    },
}

#[derive(Clone, Copy)]
struct Format {
    coding: Coding,
    channels: u16,
    rate_hz: u32,
}

#[derive(Clone, Copy)]
enum Coding {
    Pcm8,
    Pcm16,
    Pcm24,
    Pcm32,
    Ulaw,
    Alaw,
}

impl Coding {
    const fn bytes(self) -> usize {
        match self {
            Self::Pcm8 | Self::Ulaw | Self::Alaw => 1,
            Self::Pcm16 => 2,
            Self::Pcm24 => 3,
            Self::Pcm32 => 4,
        }
    }

    /// One sample; what is below 16 bits is cut off.
    const fn linear(self, bytes: &[u8]) -> i16 {
        match (self, bytes) {
            (Self::Pcm8, [byte]) => (*byte as i16 - 128) << 8,
            (Self::Ulaw, [byte]) => pcmu::to_linear(*byte),
            (Self::Alaw, [byte]) => pcma::to_linear(*byte),
            (Self::Pcm16, [low, high]) | (Self::Pcm24, [_, low, high]) | (Self::Pcm32, [_, _, low, high]) => {
                i16::from_le_bytes([*low, *high])
            }
            _ => 0,
        }
    }
}

/// Reads a recording.
///
/// # Errors
/// See [`WavError`]. A sound chunk that is cut off gives what is there.
pub fn parse(bytes: &[u8]) -> Result<Wav, WavError> {
    let body = match (bytes.get(..4), bytes.get(8..12), bytes.get(12..)) {
        (Some(b"RIFF"), Some(b"WAVE"), Some(body)) => body,
        (_, _, _) => return Err(WavError::NotWav),
    };
    let mut format = None;
    let mut rest = body;
    for _ in 0..CHUNKS_MAX {
        let Some((head, after)) = rest.split_at_checked(8) else {
            break;
        };
        let length = le32(&head[4..]) as usize;
        let chunk = after.get(..length).unwrap_or(after);
        match &head[..4] {
            b"fmt " => format = Some(read_format(chunk)?),
            b"data" => return read_sound(format.ok_or(WavError::NoFormat)?, chunk),
            _ => {}
        }
        // Chunks of odd length are followed by a byte of padding.
        let next = length.saturating_add(length & 1);
        rest = after.get(next..).unwrap_or(&[]);
    }
    Err(WavError::NoSound)
}

fn read_format(chunk: &[u8]) -> Result<Format, WavError> {
    let fixed: &[u8; 16] = chunk.first_chunk().ok_or(WavError::BadFormat)?;
    let mut tag = le16(&fixed[0..]);
    let channels = le16(&fixed[2..]);
    let rate_hz = le32(&fixed[4..]);
    let block = le16(&fixed[12..]);
    let bits = le16(&fixed[14..]);
    if tag == EXTENSIBLE {
        // The true tag begins the 16 bytes of the sub-format.
        tag = le16(chunk.get(24..26).ok_or(WavError::BadFormat)?);
    }
    let coding = match (tag, bits) {
        (PCM, 8) => Coding::Pcm8,
        (PCM, 16) => Coding::Pcm16,
        (PCM, 24) => Coding::Pcm24,
        (PCM, 32) => Coding::Pcm32,
        (ULAW, 8) => Coding::Ulaw,
        (ALAW, 8) => Coding::Alaw,
        (_, _) => return Err(WavError::Coding { tag, bits }),
    };
    if !(1..=CHANNELS_MAX).contains(&channels) {
        return Err(WavError::Channels { channels });
    }
    if !(RATE_MIN_HZ..=RATE_MAX_HZ).contains(&rate_hz) {
        return Err(WavError::Rate { hz: rate_hz });
    }
    if usize::from(block) != coding.bytes() * usize::from(channels) {
        return Err(WavError::BadFormat);
    }
    Ok(Format { coding, channels, rate_hz })
}

fn read_sound(format: Format, chunk: &[u8]) -> Result<Wav, WavError> {
    let block = format.coding.bytes() * usize::from(format.channels);
    let seconds = (chunk.len() / block) as u64 / u64::from(format.rate_hz);
    if seconds >= SECONDS_MAX {
        return Err(WavError::TooLong { seconds });
    }
    let samples: Vec<i16> = chunk
        .chunks_exact(block)
        .map(|block| {
            let sum: i32 = block
                .chunks_exact(format.coding.bytes())
                .map(|sample| i32::from(format.coding.linear(sample)))
                .sum();
            (sum / i32::from(format.channels)) as i16
        })
        .collect();
    if samples.is_empty() {
        return Err(WavError::NoSound);
    }
    Ok(Wav { rate_hz: format.rate_hz, samples })
}

/// The header of a 16-bit mono recording. `samples` is its length, none while it is
/// still growing: such a file plays to its end all the same. Write the header again
/// over the first when the length is known.
#[must_use]
pub fn header(rate_hz: u32, samples: Option<u64>) -> [u8; HEADER_BYTES] {
    header_of(rate_hz, 1, samples)
}

/// [`header`] for a recording of several channels; `samples` counts those of one.
#[must_use]
pub fn header_of(rate_hz: u32, channels: u16, samples: Option<u64>) -> [u8; HEADER_BYTES] {
    let block = 2 * channels;
    let bytes = samples
        .and_then(|samples| u32::try_from(samples.saturating_mul(u64::from(block))).ok())
        .map_or(LENGTH_UNKNOWN, |bytes| bytes.min(LENGTH_UNKNOWN));
    let mut header = [0; HEADER_BYTES];
    let parts: [&[u8]; 13] = [
        b"RIFF",
        &(bytes + 36).to_le_bytes(),
        b"WAVE",
        b"fmt ",
        &16u32.to_le_bytes(),
        &PCM.to_le_bytes(),
        &channels.to_le_bytes(),
        &rate_hz.to_le_bytes(),
        &(rate_hz * u32::from(block)).to_le_bytes(),
        &block.to_le_bytes(),
        &16u16.to_le_bytes(),
        b"data",
        &bytes.to_le_bytes(),
    ];
    let mut at = 0;
    for part in parts {
        header[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    header
}

/// A whole 16-bit mono file.
#[must_use]
pub fn file(rate_hz: u32, samples: &[i16]) -> Vec<u8> {
    let mut bytes = header(rate_hz, Some(samples.len() as u64)).to_vec();
    bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    bytes
}

fn le16(bytes: &[u8]) -> u16 {
    bytes.first_chunk().map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

fn le32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(name: &[u8; 4], length: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = name.to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.extend(body);
        bytes
    }

    fn format(tag: u16, channels: u16, rate_hz: u32, bits: u16) -> Vec<u8> {
        let block = u32::from(channels) * u32::from(bits) / 8;
        let mut body = Vec::new();
        body.extend(tag.to_le_bytes());
        body.extend(channels.to_le_bytes());
        body.extend(rate_hz.to_le_bytes());
        body.extend(rate_hz.wrapping_mul(block).to_le_bytes());
        body.extend((block as u16).to_le_bytes());
        body.extend(bits.to_le_bytes());
        chunk(b"fmt ", 16, &body)
    }

    fn wav(chunks: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = b"RIFF\xff\xff\xff\xffWAVE".to_vec();
        bytes.extend(chunks.concat());
        bytes
    }

    fn data(body: &[u8]) -> Vec<u8> {
        chunk(b"data", body.len() as u32, body)
    }

    #[test]
    fn every_supported_coding_gives_its_samples() {
        let read = |tag, channels, bits, body: &[u8]| {
            parse(&wav(&[format(tag, channels, 16_000, bits), data(body)]))
                .map(|wav| (wav.rate_hz, wav.samples))
        };
        let ok = |samples: &[i16]| Ok((16_000, samples.to_vec()));
        assert_eq!(read(1, 1, 8, &[0x80, 0xff, 0x00]), ok(&[0, 32_512, -32_768]));
        assert_eq!(read(1, 1, 16, &[1, 0, 0xff, 0xff]), ok(&[1, -1]));
        assert_eq!(read(1, 1, 24, &[9, 1, 0, 9, 0xff, 0xff]), ok(&[1, -1]));
        assert_eq!(read(1, 1, 32, &[9, 9, 1, 0]), ok(&[1]));
        assert_eq!(read(7, 1, 8, &[0xff, 0x80]), ok(&[0, 32_124]));
        assert_eq!(read(6, 1, 8, &[0xd5, 0xaa]), ok(&[8, 32_256]));
        assert_eq!(read(1, 2, 16, &[100, 0, 0, 0, 0, 1, 0, 1]), ok(&[50, 256]));
        assert_eq!(read(3, 1, 32, &[0; 4]), Err(WavError::Coding { tag: 3, bits: 32 }));
    }

    #[test]
    fn hostile_headers_are_refused_or_harmless() {
        let sound = data(&[1, 0, 2, 0]);
        let good = format(1, 1, 8_000, 16);
        let cases: Vec<(Vec<u8>, Result<usize, WavError>)> = vec![
            (vec![], Err(WavError::NotWav)),
            (b"RIFF".to_vec(), Err(WavError::NotWav)),
            (b"RIFX\0\0\0\0WAVE".to_vec(), Err(WavError::NotWav)),
            (wav(&[]), Err(WavError::NoSound)),
            (wav(core::slice::from_ref(&good)), Err(WavError::NoSound)),
            (wav(&[good.clone(), data(&[])]), Err(WavError::NoSound)),
            (wav(&[sound.clone(), good.clone()]), Err(WavError::NoFormat)),
            (wav(&[chunk(b"fmt ", 4, &[1, 0, 1, 0]), sound.clone()]), Err(WavError::BadFormat)),
            (wav(&[format(1, 1, 0, 16), sound.clone()]), Err(WavError::Rate { hz: 0 })),
            (wav(&[format(1, 1, u32::MAX, 16), sound.clone()]), Err(WavError::Rate { hz: u32::MAX })),
            (wav(&[format(1, 1_000, 8_000, 16), sound.clone()]), Err(WavError::Channels { channels: 1_000 })),
            (wav(&[format(1, 0, 8_000, 16), sound.clone()]), Err(WavError::Channels { channels: 0 })),
            (wav(&[format(1, 1, 8_000, 0), sound.clone()]), Err(WavError::Coding { tag: 1, bits: 0 })),
            (wav(&[format(0xfffe, 1, 8_000, 16), sound.clone()]), Err(WavError::BadFormat)),
            // Lengths of 2^32-1 are cut to what is there.
            (wav(&[good.clone(), chunk(b"data", u32::MAX, &[1, 0, 2, 0])]), Ok(2)),
            (wav(&[chunk(b"LIST", u32::MAX, &[]), good.clone()]), Err(WavError::NoSound)),
            // An odd chunk before is padded; a lone byte at the end is left out.
            (wav(&[chunk(b"LIST", 3, b"abc\0"), good.clone(), data(&[1, 0, 2])]), Ok(1)),
            (wav(&[good.clone(), data(&vec![0; 2 * 8_000 * 600])]), Err(WavError::TooLong { seconds: 600 })),
            // A file of nothing but empty chunks ends the search.
            (wav(&vec![chunk(b"junk", 0, &[]); 10_000]), Err(WavError::NoSound)),
        ];
        for (at, (bytes, expected)) in cases.into_iter().enumerate() {
            assert_eq!(parse(&bytes).map(|wav| wav.samples.len()), expected, "case {at}");
        }
    }

    #[test]
    fn no_cut_and_no_flipped_bit_does_harm() {
        let whole = file(8_000, &[1, -2, 3, -4]);
        for length in 0..whole.len() {
            let _ = parse(&whole[..length]);
        }
        for at in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            let _ = parse(&flipped);
        }
    }

    #[test]
    fn what_is_written_reads_back_even_unfinished() {
        let samples: Vec<i16> = (-500..500).map(|x| x * 60).collect();
        let whole = file(16_000, &samples);
        assert_eq!(whole.len(), HEADER_BYTES + 2_000);
        let wav = parse(&whole).unwrap();
        assert_eq!((wav.rate_hz, &wav.samples), (16_000, &samples));
        let mut growing = header(16_000, None).to_vec();
        growing.extend_from_slice(&whole[HEADER_BYTES..]);
        assert_eq!(parse(&growing).unwrap().samples, samples);
    }
}
