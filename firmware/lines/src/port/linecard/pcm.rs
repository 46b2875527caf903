//! ALSA: one device captured from and played to, S16LE at 8 kHz, a channel a port.

use std::ffi::CString;

use alsa::pcm::{Access, Format, Frames, HwParams, PCM};
use alsa::poll::{Descriptors, pollfd};
use alsa::{Direction, Output, ValueOr};

use super::pump::{PERIOD_FRAMES, PREFILL_FRAMES, SoundFault, Stream, StreamError};

/// Frames a second.
const RATE_HZ: u32 = 8_000;
/// What a device holds of captured sound at least: so late the card's thread may be.
const CAPTURE_FRAMES: usize = 16 * PERIOD_FRAMES;
/// What a device holds of sound to be played.
const PLAYBACK_FRAMES: usize = 4 * PERIOD_FRAMES;

// The errors that ALSA answers with, by the numbers of Linux.
const EAGAIN: i32 = 11;
const EINVAL: i32 = 22;
const EPIPE: i32 = 32;
const ESTRPIPE: i32 = 86;

/// An open device.
pub(super) struct SoundDevice {
    capture: PCM,
    playback: PCM,
    silence: Vec<i16>,
    playback_frames: Frames,
}

impl SoundDevice {
    /// Opens and starts a device.
    ///
    /// # Errors
    /// There is none of that name, somebody else has it, or it cannot do what a card must.
    pub(super) fn open(name: &str, ports: usize) -> Result<Self, SoundFault> {
        let open_error = |error: alsa::Error| SoundFault::Open(error.errno().abs());
        // What ALSA would print on the standard error goes nowhere: the error number says it.
        let _quiet = Output::local_error_handler().map_err(open_error)?;
        let name = CString::new(name).map_err(|_| SoundFault::Open(EINVAL))?;
        let open = |direction, frames| -> alsa::Result<PCM> {
            let pcm = PCM::open(&name, direction, true)?;
            set_up(&pcm, ports, frames)?;
            Ok(pcm)
        };
        let capture = open(Direction::Capture, CAPTURE_FRAMES).map_err(open_error)?;
        let playback = open(Direction::Playback, PLAYBACK_FRAMES).map_err(open_error)?;
        let (playback_frames, _) = playback.get_params().map_err(open_error)?;
        let playback_frames = Frames::try_from(playback_frames).map_err(|_| SoundFault::Open(EINVAL))?;
        let mut device =
            Self { capture, playback, silence: vec![0; ports * PREFILL_FRAMES], playback_frames };
        device.restart_playback().map_err(start_error)?;
        device.restart_capture().map_err(start_error)?;
        Ok(device)
    }

    /// What `poll` waits on for captured sound.
    pub(super) fn descriptors(&self) -> Vec<pollfd> {
        self.capture.get().unwrap_or_default()
    }
}

fn start_error(error: StreamError) -> SoundFault {
    match error {
        StreamError::Failed(errno) => SoundFault::Open(errno),
        StreamError::Again => SoundFault::Open(EAGAIN),
        StreamError::Xrun => SoundFault::Open(EPIPE),
    }
}

fn set_up(pcm: &PCM, ports: usize, buffer_frames: usize) -> alsa::Result<()> {
    let channels = u32::try_from(ports).unwrap_or(u32::MAX);
    let frames = |frames: usize| Frames::try_from(frames).unwrap_or(Frames::MAX);
    {
        let hardware = HwParams::any(pcm)?;
        hardware.set_access(Access::RWInterleaved)?;
        hardware.set_format(Format::S16LE)?;
        hardware.set_channels(channels)?;
        hardware.set_rate(RATE_HZ, ValueOr::Nearest)?;
        hardware.set_period_size_near(frames(PERIOD_FRAMES), ValueOr::Nearest)?;
        hardware.set_buffer_size_near(frames(buffer_frames))?;
        pcm.hw_params(&hardware)?;
    }
    let software = pcm.sw_params_current()?;
    software.set_avail_min(frames(PERIOD_FRAMES))?;
    // Started by word alone.
    software.set_start_threshold(software.get_boundary()?)?;
    pcm.sw_params(&software)
}

impl Stream for SoundDevice {
    fn read(&mut self, samples: &mut [i16]) -> Result<usize, StreamError> {
        let channels = self.silence.len() / PREFILL_FRAMES;
        let frames = self.capture.io_i16().and_then(|io| io.readi(samples)).map_err(stream_error)?;
        Ok(frames * channels)
    }

    fn write(&mut self, samples: &[i16]) -> Result<usize, StreamError> {
        let channels = self.silence.len() / PREFILL_FRAMES;
        let frames = self.playback.io_i16().and_then(|io| io.writei(samples)).map_err(stream_error)?;
        Ok(frames * channels)
    }

    fn queued_frames(&mut self) -> usize {
        let room = self.playback.avail_update().unwrap_or(0);
        usize::try_from(self.playback_frames - room).unwrap_or(0)
    }

    fn restart_capture(&mut self) -> Result<(), StreamError> {
        self.capture.prepare().and_then(|()| self.capture.start()).map_err(stream_error)
    }

    fn restart_playback(&mut self) -> Result<(), StreamError> {
        self.playback.prepare().map_err(stream_error)?;
        self.playback.io_i16().and_then(|io| io.writei(&self.silence)).map_err(stream_error)?;
        self.playback.start().map_err(stream_error)
    }
}

fn stream_error(error: alsa::Error) -> StreamError {
    match error.errno().abs() {
        EAGAIN => StreamError::Again,
        EPIPE | ESTRPIPE => StreamError::Xrun,
        errno => StreamError::Failed(errno),
    }
}
