//! What goes into a session and what comes out.

use tipring_model::CallerId;

use super::quirks::Chip;
use super::samples::SampleFormat;
use crate::port::{Capabilities, RxSignal, TxSignal};

/// What a session is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input<'a> {
    /// The serial port is open.
    Opened,
    /// It is closed.
    Closed,
    /// This came on it.
    Bytes(&'a [u8]),
    /// To be done to the line.
    Signal(TxSignal),
    /// The time of `poll_timeout` has come.
    Timeout,
}

/// What a session wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send this.
    Write(Vec<u8>),
    /// The modem is there, on hook.
    Up(Box<ModemInfo>),
    /// It is not, or no longer: close the port and open it again.
    Down(SessionFault),
    /// The line did this.
    Signal(RxSignal),
    /// Who calls, as the chip read it.
    Caller(CallerId),
    /// A tone of the exchange that the chip hears, or no longer.
    Tone(ChipTone, bool),
    /// Sound begins: [`next_period`](super::Session::next_period) and
    /// [`play`](super::Session::play).
    AudioBegan,
    /// It is over.
    AudioEnded,
    /// This cannot be done to this line.
    Refused(TxSignal),
}

/// Tones that chips tell of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChipTone {
    /// Busy.
    Busy,
    /// Congestion.
    Reorder,
    /// Dial tone.
    Dial,
}

/// Why there is no session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum SessionFault {
    /// It does not answer, or nothing that a modem would.
    #[error("the modem does not answer")]
    Silent,
    /// It refuses what every modem must do.
    #[error("the modem refuses what every modem must do")]
    Refused,
    /// It has no voice class, or no samples at 8,000 Hz.
    #[error("the modem has no voice class, or no samples of 8,000 Hz")]
    NoVoice,
    /// It cannot hear and play at the same time.
    #[error("the modem cannot hear and play at the same time")]
    HalfDuplex,
    /// Its firmware is known not to take the line.
    #[error("the modem's firmware is older than {}.{}.{}", .0[0], .0[1], .0[2])]
    OldFirmware([u16; 3]),
    /// It says that it took the line, which rings on all the same; or it would not take it.
    #[error("the modem does not take the line")]
    Hook,
    /// No samples come, or not 8,000 a second.
    #[error("the modem's sound does not keep time")]
    Sound,
    /// It does not leave its stream.
    #[error("the modem does not leave its stream")]
    Stuck,
}

/// What a modem is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModemInfo {
    /// Its model.
    pub model: String,
    /// Its firmware.
    pub firmware: String,
    /// The chip that it is treated as.
    pub chip: Chip,
    /// The samples that are used.
    pub format: SampleFormat,
    /// Callers are told.
    pub tells_callers: bool,
    /// The country could be set; `None`: none was to be set.
    pub country_is_set: Option<bool>,
    /// What its port can do.
    pub capabilities: Capabilities,
}

/// Where a session stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SessionState {
    /// The port is closed.
    Absent,
    /// The modem is set up.
    Opening,
    /// On hook.
    Idle,
    /// On hook, and it rings.
    Ringing,
    /// On hook, and a telephone beside the modem has the line.
    LineBusyByLocalPhone,
    /// Going off hook.
    Seizing,
    /// Off hook, with sound.
    Audio,
    /// Off hook, without sound for a moment: a flash, or pulses.
    Dialling,
    /// Going on hook.
    Releasing,
    /// It failed; the port is to be closed.
    Fault,
}

/// What was counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SessionCounters {
    /// Samples heard.
    pub heard: u64,
    /// Samples lost because nobody fetched them, or that the modem says it lost.
    pub lost: u64,
    /// Periods not sent because too much waited.
    pub dropped_periods: u64,
    /// Times that the modem ran dry.
    pub underruns: u64,
    /// Times that the modem says that the box read too late.
    pub overruns: u64,
    /// Events that mean nothing here.
    pub other_events: u64,
    /// Lines that mean nothing here.
    pub senseless_lines: u64,
    /// Sessions that came up.
    pub sessions: u64,
}
