//! Small files of tones, made with sox and opusenc: whether they sound as they should, and
//! what becomes of them when they are damaged.

use tipring_media::Rate;

use super::*;

/// A file with the frequency and the length of its tone.
struct Fixture {
    name: &'static str,
    bytes: &'static [u8],
    hz: f64,
    length_ms: u64,
    rate: Rate,
    none: DecodeError,
}

const FIXTURES: [Fixture; 4] = [
    Fixture {
        name: "FLAC, mono, 8 kHz",
        bytes: include_bytes!("../fixtures/mono-500hz-600ms.flac"),
        hz: 500.0,
        length_ms: 600,
        rate: Rate::Narrow,
        none: DecodeError::Flac,
    },
    Fixture {
        name: "FLAC, stereo, 44.1 kHz",
        bytes: include_bytes!("../fixtures/stereo-700hz-250ms.flac"),
        hz: 700.0,
        length_ms: 250,
        rate: Rate::Wide,
        none: DecodeError::Flac,
    },
    Fixture {
        name: "Opus, mono",
        bytes: include_bytes!("../fixtures/mono-1000hz-750ms.opus"),
        hz: 1_000.0,
        length_ms: 750,
        rate: Rate::Wide,
        none: DecodeError::Opus,
    },
    Fixture {
        name: "Opus, stereo with the tone on the left",
        bytes: include_bytes!("../fixtures/stereo-left-500hz-1230ms.opus"),
        hz: 500.0,
        length_ms: 1_230,
        rate: Rate::Wide,
        none: DecodeError::Opus,
    },
];

/// How much of the sound's energy is at `hz`, 0 to 1.
fn share_at(prompt: &Prompt, hz: f64) -> f64 {
    let samples: Vec<f64> = prompt.samples().iter().map(|sample| f64::from(*sample)).collect();
    let step = hz / f64::from(prompt.rate().hz()) * std::f64::consts::TAU;
    let (mut cosine, mut sine) = (0.0, 0.0);
    for (at, sample) in samples.iter().enumerate() {
        cosine += sample * (step * at as f64).cos();
        sine += sample * (step * at as f64).sin();
    }
    let energy: f64 = samples.iter().map(|sample| sample * sample).sum();
    2.0 * (cosine * cosine + sine * sine) / (energy * samples.len() as f64)
}

#[test]
fn files_sound_as_they_should() {
    for file in FIXTURES {
        let prompt = decode(file.bytes).unwrap();
        assert_eq!(prompt.rate(), file.rate, "{}", file.name);
        // The encoder may have known only whole blocks.
        let length = prompt.duration_ms();
        assert!(length.abs_diff(file.length_ms) <= 1, "{}: {length} ms", file.name);
        let share = share_at(&prompt, file.hz);
        assert!(share > 0.97, "{}: {share}", file.name);
        assert!(share_at(&prompt, file.hz * 1.1) < 0.1, "{}", file.name);
        let loudest = prompt.samples().iter().map(|sample| sample.unsigned_abs()).max().unwrap();
        assert!((5_000..20_000).contains(&loudest), "{}: {loudest}", file.name);
    }
}

#[test]
fn files_that_were_cut_off_are_shorter_or_an_error() {
    for file in FIXTURES {
        let mut longest = 0;
        for cut in (0..file.bytes.len()).step_by(97) {
            match decode(&file.bytes[..cut]) {
                Ok(prompt) => {
                    let length = prompt.duration_ms();
                    assert!(length <= file.length_ms + 40, "{} at {cut}: {length} ms", file.name);
                    longest = longest.max(length);
                }
                Err(error) => {
                    assert!(
                        error == file.none || error == DecodeError::Format,
                        "{} at {cut}: {error}",
                        file.name
                    );
                }
            }
        }
        // An Ogg file this short has its sound on one page.
        let is_whole_page = file.bytes.starts_with(b"OggS");
        assert!(is_whole_page || longest > file.length_ms / 3, "{}: {longest} ms", file.name);
    }
}

fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ byte, |sum, _| if sum & 0x80 == 0 { sum << 1 } else { sum << 1 ^ 0x07 })
    })
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(
            sum ^ u16::from(*byte) << 8,
            |sum, _| {
                if sum & 0x8000 == 0 { sum << 1 } else { sum << 1 ^ 0x8005 }
            },
        )
    })
}

/// Makes the check sums of a FLAC file right whose frames begin where those of `good` do
/// (RFC 9639 §9.1.8 and §9.3).
fn mend_flac(good: &[u8], bytes: &mut [u8]) {
    // A frame of a fixture has a header of 6 to 8 bytes with its check sum.
    let header = |at: usize| {
        let starts = good.get(at..).is_some_and(|rest| rest.starts_with(&[0xff, 0xf8]));
        (5..8).find(|length| starts && good.get(at + length) == Some(&crc8(&good[at..at + length])))
    };
    let frames: Vec<(usize, usize)> = (0..good.len() - 8).filter_map(|at| Some((at, header(at)?))).collect();
    assert!(frames.len() > 1);
    for (number, (at, length)) in frames.iter().enumerate() {
        let end = frames.get(number + 1).map_or(good.len(), |(at, _)| *at);
        if end > bytes.len() {
            return;
        }
        bytes[at + length] = crc8(&bytes[*at..at + length]);
        let sum = crc16(&bytes[*at..end - 2]);
        bytes[end - 2..end].copy_from_slice(&sum.to_be_bytes());
    }
}

#[test]
fn no_change_of_a_file_is_fatal() {
    for file in &FIXTURES[..2] {
        let mut bytes = file.bytes.to_vec();
        mend_flac(file.bytes, &mut bytes);
        assert_eq!(bytes, file.bytes, "what is whole need not be mended");
    }
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for file in FIXTURES {
        let mut sounds = 0;
        for _ in 0..2_000 {
            let mut bytes = file.bytes.to_vec();
            for _ in 0..1 + random() % 6 {
                // The first bytes say the most.
                let within = if random() % 2 == 0 { 200 } else { bytes.len() };
                let at = random() % within;
                bytes[at] = random() as u8;
            }
            if random() % 4 == 0 {
                bytes.truncate(1 + random() % file.bytes.len());
            }
            if random() % 4 != 0 {
                // Otherwise hardly more than the check sums would be tried.
                if file.none == DecodeError::Flac {
                    mend_flac(file.bytes, &mut bytes);
                } else {
                    ogg::tests::mend(&mut bytes);
                }
            }
            if let Ok(prompt) = decode(&bytes) {
                sounds += 1;
                assert!(prompt.duration_ms() <= SECONDS_MAX * 1_000, "{}", file.name);
            }
        }
        assert!(sounds > 100 && sounds < 2_000, "{}: {sounds}", file.name);
    }
}

#[test]
fn false_pages_without_number_end() {
    // Each says that it is as long as a page can be, and lies inside the one before.
    let false_page = [b"OggS\0\0".as_slice(), &[0; 20], &[255], &[255; 255]].concat().repeat(3_000);
    for file in &FIXTURES[2..] {
        let first = file.bytes.windows(4).skip(1).position(|four| four == b"OggS").unwrap() + 1;
        let bytes = [&file.bytes[..first], &false_page].concat();
        assert_eq!(decode(&bytes).err(), Some(file.none), "{}", file.name);
    }
}

/// A FLAC file of silence: frames of 65,535 samples, one channel of 16 bits.
fn silent_flac(rate_hz: u32, frames: u8) -> Vec<u8> {
    let mut file = b"fLaC\x80\0\0\x22\xff\xff\xff\xff\0\0\0\0\0\0".to_vec();
    // 20 bits of rate, 3 of channels less one, 5 of bits less one, 36 of length: unknown.
    file.extend((u64::from(rate_hz) << 44 | 15 << 36).to_be_bytes());
    file.extend([0; 16]);
    for number in 0..frames {
        let mut frame = vec![0xff, 0xf8, 0x70, 0x00, number, 0xff, 0xfe];
        frame.push(crc8(&frame));
        // A constant.
        frame.extend([0, 0, 0]);
        frame.extend(crc16(&frame).to_be_bytes());
        file.extend(frame);
    }
    file
}

#[test]
fn what_is_too_long_or_too_fast_is_refused() {
    let second = decode(&silent_flac(48_000, 1)).unwrap();
    assert_eq!(second.duration_ms(), 1_365);
    assert!(decode(&silent_flac(8_000, 73)).is_ok());
    assert_eq!(decode(&silent_flac(8_000, 74)).err(), Some(DecodeError::TooLong));
    for hz in [7_999, 48_001, 96_000, 655_350] {
        assert_eq!(decode(&silent_flac(hz, 1)).err(), Some(DecodeError::Rate { hz }));
    }
}
