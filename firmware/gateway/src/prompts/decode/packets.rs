//! MP3 and FLAC: what symphonia takes apart and decodes, with limits on what it may
//! bring.

use std::io::Cursor;

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::{Error, Result};
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::MediaSourceStream;
use symphonia::default::codecs::{FlacDecoder, MpaDecoder};
use symphonia::default::formats::{FlacReader, MpaReader};
use tipring_media::Prompt;
use tipring_media::wav::{CHANNELS_MAX, RATE_MAX_HZ, RATE_MIN_HZ};

use super::{BROKEN_FRAMES_MAX, DecodeError, SECONDS_MAX};

pub(super) fn mp3(bytes: &[u8]) -> std::result::Result<Prompt, DecodeError> {
    let reader = MpaReader::try_new(stream(bytes), FormatOptions::default()).ok();
    read(reader, |params| MpaDecoder::try_new(params, &AudioDecoderOptions::default()), DecodeError::Mp3)
}

pub(super) fn flac(bytes: &[u8]) -> std::result::Result<Prompt, DecodeError> {
    let reader = FlacReader::try_new(stream(bytes), FormatOptions::default()).ok();
    read(reader, |params| FlacDecoder::try_new(params, &AudioDecoderOptions::default()), DecodeError::Flac)
}

fn stream(bytes: &[u8]) -> MediaSourceStream<'_> {
    MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default())
}

/// Decodes the first track; `none` if there is no sound in it.
fn read<D: AudioDecoder>(
    reader: Option<impl FormatReader>,
    decoder: impl FnOnce(&AudioCodecParameters) -> Result<D>,
    none: DecodeError,
) -> std::result::Result<Prompt, DecodeError> {
    let mut reader = reader.ok_or(none)?;
    let mut decoder = reader
        .tracks()
        .first()
        .and_then(|track| {
            let params = track.codec_params.as_ref()?.audio()?;
            decoder(params).ok()
        })
        .ok_or(none)?;

    let mut sound = Sound::default();
    let mut broken = 0;
    while broken < BROKEN_FRAMES_MAX {
        match reader.next_packet() {
            Ok(Some(packet)) => match decoder.decode(&packet) {
                Ok(frame) => {
                    broken = 0;
                    sound.push(&frame, none)?;
                }
                Err(_) => broken += 1,
            },
            Ok(None) => break,
            Err(Error::DecodeError(_)) => broken += 1,
            // The end of a file that was cut off comes this way too.
            Err(
                Error::IoError(_)
                | Error::SeekError(_)
                | Error::Unsupported(_)
                | Error::LimitError(_)
                | Error::ResetRequired
                | _,
            ) => break,
        }
    }
    if sound.samples.is_empty() {
        return Err(none);
    }
    Ok(Prompt::from_rate(sound.rate_hz, &sound.samples))
}

/// What was decoded so far, in one channel.
#[derive(Default)]
struct Sound {
    rate_hz: u32,
    samples: Vec<i16>,
    /// One frame, channels interleaved; kept to be filled again.
    frame: Vec<i16>,
}

impl Sound {
    fn push(
        &mut self,
        frame: &GenericAudioBufferRef<'_>,
        none: DecodeError,
    ) -> std::result::Result<(), DecodeError> {
        let channels = frame.spec().channels().count();
        let rate_hz = frame.spec().rate();
        if channels == 0 || channels > usize::from(CHANNELS_MAX) {
            return Err(none);
        }
        if !(RATE_MIN_HZ..=RATE_MAX_HZ).contains(&rate_hz) {
            return Err(DecodeError::Rate { hz: rate_hz });
        }
        if self.rate_hz != 0 && self.rate_hz != rate_hz {
            return Err(none);
        }
        self.rate_hz = rate_hz;
        frame.copy_to_vec_interleaved(&mut self.frame);
        self.samples.extend(self.frame.chunks_exact(channels).map(|block| {
            let sum: i32 = block.iter().map(|sample| i32::from(*sample)).sum();
            (sum / channels as i32) as i16
        }));
        if self.samples.len() as u64 > SECONDS_MAX * u64::from(rate_hz) {
            return Err(DecodeError::TooLong);
        }
        Ok(())
    }
}
