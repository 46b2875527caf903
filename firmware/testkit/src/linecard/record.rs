//! What somebody heard, and WAV files.

use std::collections::VecDeque;
use std::io;

/// Ten minutes at 8 kHz.
const SAMPLES_MAX: usize = 600 * 8_000;
/// The header of a WAV file with nothing special.
const HEADER_BYTES: usize = 44;

/// The last ten minutes of what was heard.
#[derive(Default)]
pub(crate) struct Record(VecDeque<i16>);

impl Record {
    pub(crate) fn add(&mut self, samples: &[i16]) {
        self.0.extend(samples);
        let over = self.0.len().saturating_sub(SAMPLES_MAX);
        self.0.drain(..over);
    }

    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    pub(crate) fn samples(&self) -> Vec<i16> {
        self.0.iter().copied().collect()
    }
}

/// Writes 16 bit, one channel, 8 kHz.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_wav(file: &str, samples: &[i16]) -> io::Result<()> {
    let length = u32::try_from(samples.len() * 2).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + samples.len() * 2);
    bytes.extend(b"RIFF");
    bytes.extend((36 + length).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    bytes.extend([1_u16, 1].map(u16::to_le_bytes).concat());
    bytes.extend([8_000_u32, 16_000].map(u32::to_le_bytes).concat());
    bytes.extend([2_u16, 16].map(u16::to_le_bytes).concat());
    bytes.extend(b"data");
    bytes.extend(length.to_le_bytes());
    bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    std::fs::write(file, bytes)
}

/// Reads 16 bit, one channel, 8 kHz.
///
/// # Errors
/// The file cannot be read, or is something else.
pub(crate) fn read_wav(file: &str) -> io::Result<Vec<i16>> {
    let bytes = std::fs::read(file)?;
    let other = || io::Error::other(format!("{file} is no WAV file of one channel, 16 bit, 8 kHz"));
    let riff = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WAVE");
    let mut at = 12;
    let mut fits = false;
    while let (true, Some(name), Some(length)) = (riff, bytes.get(at..at + 4), bytes.get(at + 4..at + 8)) {
        let length = u32::from_le_bytes(length.try_into().map_err(|_| other())?) as usize;
        let body = bytes.get(at + 8..).unwrap_or_default();
        let body = body.get(..length).unwrap_or(body);
        if name == b"fmt " {
            // PCM, one channel, 8,000 Hz; bits a sample.
            fits =
                body.get(..8) == Some(&[1, 0, 1, 0, 0x40, 0x1f, 0, 0]) && body.get(14..16) == Some(&[16, 0]);
        }
        if name == b"data" && fits {
            return Ok(body.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect());
        }
        at += 8 + length + length % 2;
    }
    Err(other())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let file = std::env::temp_dir().join(format!("tipring-record-{}.wav", std::process::id()));
        let name = file.to_str().unwrap();
        let samples = [0, 1, -1, i16::MAX, i16::MIN];
        write_wav(name, &samples).unwrap();
        assert_eq!(read_wav(name).unwrap(), samples);
        let mut bytes = std::fs::read(name).unwrap();
        bytes[22] = 2;
        std::fs::write(name, bytes).unwrap();
        assert!(read_wav(name).is_err(), "two channels");
        std::fs::remove_file(name).unwrap();
    }

    #[test]
    fn ten_minutes_are_kept() {
        let mut record = Record::default();
        record.add(&[1; 100]);
        record.add(&vec![2; SAMPLES_MAX]);
        assert_eq!(record.samples().len(), SAMPLES_MAX);
        assert_eq!(record.samples()[0], 2);
    }
}
