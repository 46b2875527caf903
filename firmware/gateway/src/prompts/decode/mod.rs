//! Audio files to prompts: WAV, AIFF, AU, MP3, FLAC, and Ogg with Opus, told apart by what they
//! begin with.
//!
//! The bytes come from anywhere. What is no audio, or too much of it, is an error.

mod aiff;
mod au;
#[cfg(test)]
mod fixtures;
mod ogg;
mod opus;
mod packets;

pub(super) use au::with_header;
use tipring_media::Prompt;
use tipring_media::wav::{self, WavError};
use tipring_model::flow::ActionFailure;

/// Longest prompt, in seconds.
pub(crate) const SECONDS_MAX: u64 = wav::SECONDS_MAX;
/// Frames in a row that may be broken before the file counts as none.
const BROKEN_FRAMES_MAX: usize = 100;
/// ID3 tags skipped before the sound.
const TAGS_MAX: usize = 4;

/// Why bytes are no prompt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    /// It begins like none of them.
    #[error("neither WAV, AIFF, AU, MP3, FLAC nor Ogg")]
    Format,
    /// A WAV file that cannot be read.
    #[error(transparent)]
    Wav(#[from] WavError),
    /// An AIFF file that cannot be read, or without sound.
    #[error("no sound in the AIFF file, or in a coding that is not read")]
    Aiff,
    /// An AU file that cannot be read, or without sound.
    #[error("no sound in the AU file, or in a coding that is not read")]
    Au,
    /// An MP3 file in which no sound is found.
    #[error("no sound in the MP3 file")]
    Mp3,
    /// A FLAC file in which no sound is found.
    #[error("no sound in the FLAC file")]
    Flac,
    /// An Ogg file in which no sound in Opus is found, or several streams of it.
    #[error("no sound in Opus in the Ogg file")]
    Opus,
    /// A sampling rate outside of 8 to 48 kHz.
    #[error("a sampling rate of {hz} Hz is not supported")]
    Rate {
        /// What the file says.
        hz: u32,
    },
    /// Longer than [`SECONDS_MAX`].
    #[error("longer than ten minutes")]
    TooLong,
}

impl From<DecodeError> for ActionFailure {
    fn from(_: DecodeError) -> Self {
        Self::Decode
    }
}

/// Makes a prompt of a whole audio file. Takes some tens of milliseconds for each
/// minute of MP3: not for a thread that must not block.
///
/// # Errors
/// See [`DecodeError`].
pub(crate) fn decode(bytes: &[u8]) -> Result<Prompt, DecodeError> {
    match bytes {
        [b'R', b'I', b'F', b'F', ..] => {
            let wav = wav::parse(bytes)?;
            Ok(Prompt::from_rate(wav.rate_hz, &wav.samples))
        }
        [b'F', b'O', b'R', b'M', ..] => aiff::decode(bytes),
        [b'.', b's', b'n', b'd', ..] => au::decode(bytes),
        [b'I', b'D', b'3', ..] => packets::mp3(without_tags(bytes)),
        // The sync word of MPEG audio (ISO/IEC 11172-3 §2.4.1.3).
        [0xff, second, ..] if second & 0xe0 == 0xe0 => packets::mp3(bytes),
        [b'f', b'L', b'a', b'C', ..] => packets::flac(bytes),
        [b'O', b'g', b'g', b'S', ..] => opus::decode(bytes),
        _ => Err(DecodeError::Format),
    }
}

/// What follows the ID3 tags (ID3v2.4 §3.1). They hold pictures, in which anything
/// may look like sound.
fn without_tags(mut bytes: &[u8]) -> &[u8] {
    for _ in 0..TAGS_MAX {
        let [b'I', b'D', b'3', _, _, flags, a, b, c, d, ..] = *bytes else { break };
        // Seven bits a byte; a footer repeats the header.
        let size = [a, b, c, d].iter().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
        let footer = if flags & 0x10 == 0 { 0 } else { 10 };
        bytes = bytes.get(10 + size + footer..).unwrap_or(&[]);
    }
    bytes
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// MPEG-1 layer III, 128 kbit/s, 44.1 kHz, stereo: a frame of silence.
    pub(crate) fn mp3_frame() -> Vec<u8> {
        let mut frame = vec![0xff, 0xfb, 0x90, 0x00];
        frame.resize(417, 0);
        frame
    }

    fn id3(size: u32) -> Vec<u8> {
        let digits = [21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8);
        [b"ID3\x04\0\0".as_slice(), &digits].concat()
    }

    #[test]
    fn wav_becomes_a_prompt() {
        let samples: Vec<i16> = (0..8_000).map(|at| (at % 100 * 50) as i16).collect();
        let prompt = decode(&wav::file(8_000, &samples)).unwrap();
        assert_eq!((prompt.duration_ms(), prompt.samples()), (1_000, samples.as_slice()));
        assert_eq!(decode(&wav::file(44_100, &samples)).unwrap().rate(), tipring_media::Rate::Wide);
    }

    #[test]
    fn mp3_becomes_a_prompt_with_tags_and_noise_around() {
        let frames = mp3_frame().repeat(50);
        let length = decode(&frames).unwrap().duration_ms();
        // 50 frames of 1152 samples.
        assert!((1_270..=1_310).contains(&length), "{length} ms");

        let picture = [0xff, 0xfb, 0x90, 0x44].repeat(500);
        let tagged = [id3(2_000), picture.clone(), frames.clone()].concat();
        assert_eq!(decode(&tagged).unwrap().duration_ms(), length);
        let twice = [id3(2_000), picture.clone(), id3(2_000), picture, frames.clone()].concat();
        assert_eq!(decode(&twice).unwrap().duration_ms(), length);
        let cut = &frames[..frames.len() - 200];
        assert!((1_240..length).contains(&decode(cut).unwrap().duration_ms()));
        let trailing = [frames, b"TAG and much else that is no sound".to_vec()].concat();
        assert!(decode(&trailing).unwrap().duration_ms() >= length);
    }

    #[test]
    fn what_is_too_long_is_refused() {
        // MPEG-2.5 layer III, 8 kbit/s, 8 kHz, one channel: 72 bytes for 72 ms.
        let mut frame = vec![0xff, 0xe3, 0x18, 0xc0];
        frame.resize(72, 0);
        assert_eq!(decode(&frame.repeat(100)).map(|prompt| prompt.rate()), Ok(tipring_media::Rate::Narrow));
        assert_eq!(decode(&frame.repeat(8_400)).err(), Some(DecodeError::TooLong));
        let long = wav::file(8_000, &vec![0; 8_000 * 601]);
        assert!(matches!(decode(&long), Err(DecodeError::Wav(WavError::TooLong { .. }))));
    }

    #[test]
    fn hostile_files_are_errors() {
        let wav_with = |format: [u8; 16], length: u32| {
            let mut file = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0".to_vec();
            file.extend(format);
            file.extend(b"data");
            file.extend(length.to_le_bytes());
            file.extend([0; 64]);
            file
        };
        // Tag, channels, rate (4), bytes a second (4), block (2), bits (2).
        let good = [1, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x80, 0x3e, 0, 0, 2, 0, 16, 0];
        let changed = |at: usize, with: &[u8]| {
            let mut format = good;
            format[at..at + with.len()].copy_from_slice(with);
            format
        };
        assert!(decode(&wav_with(good, u32::MAX)).is_ok(), "length 2^32-1 is cut to the file");
        let frame = mp3_frame();
        let cases: Vec<(&str, Vec<u8>)> = vec![
            ("nothing", vec![]),
            ("one byte", vec![0xff]),
            ("text", b"<html>not found</html>".to_vec()),
            ("aiff", b"FORM\0\0\0\x04AIFF".to_vec()),
            ("form of another kind", b"FORM\0\0\0\x048SVX".to_vec()),
            ("au", b".snd\0\0\0\x18".to_vec()),
            ("ogg", b"OggS\0\x02".to_vec()),
            ("riff only", b"RIFF".to_vec()),
            ("riff of another kind", b"RIFF\x10\0\0\0AVI LIST".to_vec()),
            ("no chunks", b"RIFF\x04\0\0\0WAVE".to_vec()),
            ("sound before format", b"RIFF\xff\0\0\0WAVEdata\x04\0\0\0\0\0\0\0".to_vec()),
            ("format cut off", b"RIFF\xff\0\0\0WAVEfmt \x10\0\0\0\x01\0".to_vec()),
            ("chunk of 2^32-1", b"RIFF\xff\0\0\0WAVEjunk\xff\xff\xff\xff".to_vec()),
            ("0 Hz", wav_with(changed(4, &[0, 0, 0, 0]), 64)),
            ("4 GHz", wav_with(changed(4, &[0xff; 4]), 64)),
            ("no channel", wav_with(changed(2, &[0, 0]), 64)),
            ("1000 channels", wav_with(changed(2, &[0xe8, 3]), 64)),
            ("65535 channels", wav_with(changed(2, &[0xff, 0xff]), 64)),
            ("0 bits", wav_with(changed(14, &[0, 0]), 64)),
            ("7 bits", wav_with(changed(14, &[7, 0]), 64)),
            ("block of 0", wav_with(changed(12, &[0, 0]), 64)),
            ("ADPCM", wav_with(changed(0, &[2, 0]), 64)),
            ("no sound", wav_with(good, 0)),
            ("sync word only", vec![0xff, 0xfb]),
            ("header only", frame[..4].to_vec()),
            ("half a frame", frame[..200].to_vec()),
            ("sync words", [0xff, 0xfb].repeat(5_000)),
            ("all ones", vec![0xff; 10_000]),
            ("headers", [0xff, 0xfb, 0x90, 0x44].repeat(5_000)),
            ("bad bit rate", [0xff, 0xfb, 0xf0, 0x44].repeat(500)),
            ("bad sample rate", [0xff, 0xfb, 0x9c, 0x44].repeat(500)),
            ("free format", [0xff, 0xfb, 0x00, 0x44].repeat(500)),
            ("tag only", b"ID3".to_vec()),
            ("tag longer than the file", [id3(0x0fff_ffff), frame.repeat(3)].concat()),
            ("tags without end", id3(0).repeat(1_000)),
            ("tag and text", [id3(3), b"abc<html>".to_vec()].concat()),
        ];
        for (name, bytes) in cases {
            assert!(decode(&bytes).is_err(), "{name}");
        }
    }

    #[test]
    fn no_change_of_a_good_file_is_fatal() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize
        };
        let files = [
            wav::file(8_000, &[1_000; 400]),
            mp3_frame().repeat(6),
            aiff::tests::file(None, 16, 1, &[7; 400]),
            with_header(Some("audio/basic"), vec![7; 400]),
            [id3(20), vec![0; 20], mp3_frame().repeat(4)].concat(),
        ];
        for _ in 0..200 {
            for file in &files {
                let mut bytes = file.clone();
                for _ in 0..1 + random() % 12 {
                    let at = random() % bytes.len();
                    bytes[at] = random() as u8;
                }
                bytes.truncate(1 + random() % bytes.len());
                if let Ok(prompt) = decode(&bytes) {
                    assert!(prompt.duration_ms() <= SECONDS_MAX * 1_000);
                }
            }
        }
    }
}
