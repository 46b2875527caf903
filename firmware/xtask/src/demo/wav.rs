//! WAV files, 16 bit mono: written for the web server, read from recordings.

use anyhow::{Context, Result, ensure};

/// A file of samples at 8 kHz.
pub(super) fn write(samples: &[i16]) -> Vec<u8> {
    const RATE: u32 = 8_000;
    let bytes = u32::try_from(samples.len() * 2).unwrap_or(u32::MAX - 36);
    let mut file = b"RIFF".to_vec();
    file.extend((36 + bytes).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    file.extend(1_u16.to_le_bytes());
    file.extend(1_u16.to_le_bytes());
    file.extend(RATE.to_le_bytes());
    file.extend((RATE * 2).to_le_bytes());
    file.extend(2_u16.to_le_bytes());
    file.extend(16_u16.to_le_bytes());
    file.extend(b"data");
    file.extend(bytes.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

/// The samples of a file, and how many a second.
///
/// # Errors
/// It is no 16 bit mono WAV file.
pub(super) fn read(file: &[u8]) -> Result<(Vec<i16>, u32)> {
    ensure!(file.starts_with(b"RIFF") && file.get(8..12) == Some(b"WAVE"), "no WAV file");
    let (mut rest, mut rate) = (file.get(12..).unwrap_or(&[]), None);
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, l0, l1, l2, l3] = *head;
        // A recording that was not closed says more than it has.
        let length = (u32::from_le_bytes([l0, l1, l2, l3]) as usize).min(after.len());
        let (chunk, next) = after.split_at(length);
        match [a, b, c, d] {
            [b'f', b'm', b't', b' '] => {
                let format = chunk.first_chunk::<16>().context("a short format")?;
                ensure!(format[..4] == [1, 0, 1, 0] && format[14] == 16, "not 16 bit mono PCM");
                rate = Some(u32::from_le_bytes([format[4], format[5], format[6], format[7]]));
            }
            [b'd', b'a', b't', b'a'] => {
                let samples = chunk.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect();
                return Ok((samples, rate.context("sound without a format")?));
            }
            [_, _, _, _] => {}
        }
        rest = next.get(length % 2..).unwrap_or(&[]);
    }
    anyhow::bail!("no sound in it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let samples: Vec<i16> = (-300..300).map(|x| x * 100).collect();
        assert_eq!(read(&write(&samples)).unwrap(), (samples, 8_000));
        assert!(read(b"RIFF....WAVE").is_err());
        assert!(read(b"").is_err());
    }
}
