//! Sun's audio files (`.au`), and samples without any header: mu-law of 8 kHz (RFC 2046 §4.3,
//! `audio/basic`). Numbers have their high byte first.

use tipring_media::Prompt;
use tipring_media::codec::{pcma, pcmu};
use tipring_media::wav::{CHANNELS_MAX, RATE_MAX_HZ, RATE_MIN_HZ};

use super::{DecodeError, SECONDS_MAX};

/// How a sample is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Samples {
    Ulaw,
    Alaw,
    Signed8,
    Big16,
    Big24,
    Big32,
    Little16,
}

impl Samples {
    const fn bytes(self) -> usize {
        match self {
            Self::Ulaw | Self::Alaw | Self::Signed8 => 1,
            Self::Big16 | Self::Little16 => 2,
            Self::Big24 => 3,
            Self::Big32 => 4,
        }
    }

    /// One sample; what is below 16 bits is cut off.
    const fn linear(self, bytes: &[u8]) -> i16 {
        match (self, bytes) {
            (Self::Ulaw, [byte]) => pcmu::to_linear(*byte),
            (Self::Alaw, [byte]) => pcma::to_linear(*byte),
            (Self::Signed8, [byte]) => (*byte as i8 as i16) << 8,
            (Self::Big16 | Self::Big24 | Self::Big32, [high, low, ..]) => i16::from_be_bytes([*high, *low]),
            (Self::Little16, [low, high]) => i16::from_le_bytes([*low, *high]),
            _ => 0,
        }
    }
}

/// The first four bytes as a number; 0 where there are fewer.
pub(super) fn be32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |first| u32::from_be_bytes(*first))
}

/// A prompt of samples, the channels mixed to one; `None` where there are none.
pub(super) fn prompt(
    samples: Samples,
    channels: u16,
    rate_hz: u32,
    sound: &[u8],
) -> Option<Result<Prompt, DecodeError>> {
    let block = samples.bytes() * usize::from(channels);
    let frames = sound.chunks_exact(block.max(1));
    if frames.len() as u64 >= SECONDS_MAX * u64::from(rate_hz) {
        return Some(Err(DecodeError::TooLong));
    }
    let mixed: Vec<i16> = frames
        .map(|frame| {
            let all = frame.chunks_exact(samples.bytes()).map(|one| i32::from(samples.linear(one)));
            i16::try_from(all.sum::<i32>() / i32::from(channels.max(1))).unwrap_or(0)
        })
        .collect();
    (!mixed.is_empty()).then(|| Ok(Prompt::from_rate(rate_hz, &mixed)))
}

/// The sound of a whole file: a header of at least 24 bytes, then the samples.
///
/// # Errors
/// `Au`, `Rate`, `TooLong`.
pub(super) fn decode(bytes: &[u8]) -> Result<Prompt, DecodeError> {
    let field = |at: usize| bytes.get(at..at + 4).map(be32).ok_or(DecodeError::Au);
    let samples = match field(12)? {
        1 => Samples::Ulaw,
        2 => Samples::Signed8,
        3 => Samples::Big16,
        4 => Samples::Big24,
        5 => Samples::Big32,
        27 => Samples::Alaw,
        _ => return Err(DecodeError::Au),
    };
    let (rate_hz, channels) = (field(16)?, field(20)?);
    if !(RATE_MIN_HZ..=RATE_MAX_HZ).contains(&rate_hz) {
        return Err(DecodeError::Rate { hz: rate_hz });
    }
    let channels = u16::try_from(channels).ok().filter(|channels| (1..=CHANNELS_MAX).contains(channels));
    let channels = channels.ok_or(DecodeError::Au)?;
    let begin = usize::try_from(field(4)?).unwrap_or(usize::MAX);
    let sound = bytes.get(begin..).ok_or(DecodeError::Au)?;
    // A length that is not known is 2^32-1; one that is too long ends with the file.
    let length = usize::try_from(field(8)?).unwrap_or(usize::MAX);
    let sound = sound.get(..length).unwrap_or(sound);
    prompt(samples, channels, rate_hz, sound).ok_or(DecodeError::Au)?
}

/// `bytes` with the header that says what `media_type` says, where that is a kind of samples
/// without any: nothing in them tells what they are.
pub(crate) fn with_header(media_type: Option<&str>, bytes: Vec<u8>) -> Vec<u8> {
    let essence = media_type.unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let is_bare = matches!(
        essence.as_str(),
        "audio/basic" | "audio/ulaw" | "audio/x-ulaw" | "audio/mulaw" | "audio/x-mulaw" | "audio/pcmu"
    );
    if !is_bare || bytes.starts_with(b".snd") || bytes.starts_with(b"RIFF") {
        return bytes;
    }
    let mut whole = b".snd".to_vec();
    for field in [24, u32::MAX, 1, 8_000, 1] {
        whole.extend(field.to_be_bytes());
    }
    whole.extend(bytes);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(coding: u32, rate: u32, channels: u32, sound: &[u8]) -> Vec<u8> {
        let mut file = b".snd".to_vec();
        for field in [28, sound.len() as u32, coding, rate, channels, 0] {
            file.extend(field.to_be_bytes());
        }
        file.extend(sound);
        file
    }

    #[test]
    fn files_of_sun_are_read() {
        let samples = |file: &[u8]| decode(file).map(|prompt| prompt.samples().to_vec());
        assert_eq!(samples(&file(1, 8_000, 1, &[0xff, 0x80])), Ok(vec![0, 32_124]));
        assert_eq!(samples(&file(3, 8_000, 2, &[0, 10, 0, 20])), Ok(vec![15]));
        assert_eq!(samples(&file(27, 8_000, 1, &[0xd5])), Ok(vec![8]));
        for bad in [
            file(23, 8_000, 1, &[0; 4]),
            file(1, 8_000, 0, &[0; 4]),
            file(1, 8_000, 1, &[]),
            b".snd".to_vec(),
            file(1, 8_000, 1, &[0; 4])[..27].to_vec(),
        ] {
            assert_eq!(decode(&bad).err(), Some(DecodeError::Au), "{bad:?}");
        }
        assert_eq!(decode(&file(1, 4_000, 1, &[0; 4])).err(), Some(DecodeError::Rate { hz: 4_000 }));
        assert_eq!(decode(&file(1, 8_000, 1, &vec![0; 8_000 * 600])).err(), Some(DecodeError::TooLong));
    }

    #[test]
    fn samples_without_a_header_get_one_where_their_media_type_says_what_they_are() {
        for media_type in ["audio/basic", "audio/ulaw", "Audio/X-MuLaw; rate=8000"] {
            let whole = with_header(Some(media_type), vec![0xff; 8_000]);
            assert_eq!(decode(&whole).map(|prompt| prompt.duration_ms()), Ok(1_000), "{media_type}");
            assert_eq!(with_header(Some(media_type), whole.clone()), whole, "once is enough");
        }
        for media_type in [None, Some("audio/wav"), Some("application/octet-stream")] {
            assert_eq!(with_header(media_type, vec![0xff; 10]), vec![0xff; 10]);
        }
    }
}
