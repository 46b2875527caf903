//! All standards at once.

use super::{
    LineMessage, MessageBytes, Standard,
    data_message::{self, Dialect},
    digits::{self, DigitRow},
    number_display,
};
use crate::{
    dsp::{
        dtmf_detect::{DtmfDetector, Heard},
        fsk::{BELL_202, FskHeard, FskReceiver, V23},
    },
    frame::Rate,
};

/// Samples taken at a time by each decoder before the next has its turn.
const TURN: usize = 40;
/// Samples without a digit after which a row is over: 500 ms.
const ROW_GAP: u32 = 4_000;
/// Fewest bytes of a message that count as a damaged one.
const DAMAGED_MIN: usize = 3;

/// A message and how it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeardMessage {
    /// By which standard.
    pub standard: Standard,
    /// What it says.
    pub message: LineMessage,
}

/// One modem and the message that it is in.
struct Modem {
    receiver: FskReceiver,
    bytes: MessageBytes,
    /// The sender was idle, and what came since belongs to one message.
    open: bool,
}

/// What became of a modem's message.
enum Ended {
    Whole,
    Damaged,
}

impl Modem {
    fn new(receiver: FskReceiver) -> Self {
        Self { receiver, bytes: MessageBytes::default(), open: false }
    }

    fn close(&mut self) {
        self.open = false;
        self.bytes.clear();
    }

    /// Takes samples; leaves the bytes of a message that came to its end in them.
    fn push(&mut self, samples: &[i16]) -> Option<Ended> {
        let Self { receiver, bytes, open } = self;
        let mut ended = None;
        receiver.push(samples, |heard| match heard {
            FskHeard::Byte(byte) if *open => {
                bytes.push(byte);
                if is_complete(bytes.as_slice()) {
                    *open = false;
                    ended = Some(Ended::Whole);
                } else if bytes.overflowed() {
                    *open = false;
                    ended = Some(Ended::Damaged);
                }
            }
            FskHeard::Broken if *open => {
                *open = false;
                ended = Some(Ended::Damaged);
            }
            FskHeard::Idle => {
                if *open && !bytes.as_slice().is_empty() {
                    ended = Some(Ended::Damaged);
                } else {
                    bytes.clear();
                }
                *open = true;
            }
            FskHeard::Byte(_) | FskHeard::Broken => {}
        });
        ended
    }
}

fn is_complete(bytes: &[u8]) -> bool {
    match bytes.first() {
        Some(first) if number_display::begins(*first) => number_display::is_complete(bytes),
        Some(_) => data_message::is_complete(bytes),
        None => false,
    }
}

/// Whether a message of a kind that is known was on its way.
fn was_begun(bytes: &[u8]) -> bool {
    bytes.len() >= DAMAGED_MIN && matches!(bytes.first(), Some(0x04 | 0x06 | 0x80 | 0x82 | 0x90))
}

/// Listens to a line at 8 kHz from before the first ring until the call is answered.
pub struct CallerIdReceiver {
    bell: Modem,
    v23: Modem,
    detector: DtmfDetector,
    row: DigitRow,
    /// Samples since the last digit of the row; none while it sounds or the row is empty.
    quiet: Option<u32>,
    damaged: u32,
}

impl Default for CallerIdReceiver {
    fn default() -> Self {
        // Not on the media thread's time.
        crate::dsp::dtmf_detect::prepare();
        Self {
            bell: Modem::new(FskReceiver::new(BELL_202)),
            v23: Modem::new(FskReceiver::new(V23)),
            detector: DtmfDetector::new(Rate::Narrow),
            row: DigitRow::default(),
            quiet: None,
            damaged: 0,
        }
    }
}

impl CallerIdReceiver {
    /// How many messages began and could not be read.
    #[must_use]
    pub const fn damaged(&self) -> u32 {
        self.damaged
    }

    /// Takes samples and tells each message that came to its end in them.
    pub fn push(&mut self, samples: &[i16], mut heard: impl FnMut(HeardMessage)) {
        for part in samples.chunks(TURN) {
            self.modems(part, &mut heard);
            self.digits(part, &mut heard);
        }
    }

    fn modems(&mut self, samples: &[i16], heard: &mut impl FnMut(HeardMessage)) {
        let ended = [self.bell.push(samples), self.v23.push(samples)];
        // Each modem hears the other's bytes, too: whose mark was nearer says whose they are.
        let is_bell = self.bell.receiver.mark_off_hz().abs() < self.v23.receiver.mark_off_hz().abs();
        let dialect = if is_bell { Dialect::Bellcore } else { Dialect::Etsi };
        for (bell, ended) in [true, false].into_iter().zip(ended) {
            let modem = if bell { &self.bell } else { &self.v23 };
            let bytes = modem.bytes.as_slice();
            let (standard, read) = match (&ended, bytes.first()) {
                (None, _) => continue,
                (Some(Ended::Damaged), _) | (Some(Ended::Whole), None) => (Standard::Etsi, None),
                (Some(Ended::Whole), Some(first)) if number_display::begins(*first) => {
                    (Standard::NumberDisplay, number_display::parse(bytes).ok())
                }
                (Some(Ended::Whole), Some(_)) => {
                    let standard = if is_bell { Standard::Bellcore } else { Standard::Etsi };
                    (standard, data_message::parse(bytes, dialect).ok())
                }
            };
            match read {
                Some(message) => {
                    heard(HeardMessage { standard, message });
                    self.bell.close();
                    self.v23.close();
                    return;
                }
                None => {
                    self.damaged += u32::from(bell == is_bell && was_begun(bytes));
                    let modem = if bell { &mut self.bell } else { &mut self.v23 };
                    modem.bytes.clear();
                }
            }
        }
    }

    fn digits(&mut self, samples: &[i16], heard: &mut impl FnMut(HeardMessage)) {
        let (row, quiet) = (&mut self.row, &mut self.quiet);
        let mut told = |row: &mut DigitRow| {
            if let Ok(caller) = digits::parse(row.as_slice()) {
                heard(HeardMessage { standard: Standard::Dtmf, message: LineMessage::Call(caller) });
            }
            row.clear();
        };
        if let Some(quiet) = quiet {
            *quiet += samples.len() as u32;
        }
        self.detector.process(samples, |event| match event {
            Heard::Began(digit) => {
                *quiet = None;
                if !row.push(digit) {
                    row.clear();
                }
                if digits::ends(digit) {
                    told(row);
                }
            }
            Heard::Ended { .. } => *quiet = Some(0),
        });
        if quiet.is_some_and(|quiet| quiet >= ROW_GAP) {
            *quiet = None;
            told(row);
        }
    }
}
