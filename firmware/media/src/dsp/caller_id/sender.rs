//! The sound of a message.

use tipring_model::Digit;

use super::{
    CallerId, LineMessage, MessageBytes,
    data_message::{self, Dialect},
    digits::{self, DigitRow, Form},
    number_display,
};
use crate::{
    dsp::{
        dtmf_generate,
        fsk::{BELL_202, FskTransmitter, V23},
        tone::Oscillator,
    },
    frame::Rate,
};

/// Bits of alternating space and mark before a message on hook (GR-30 §2.2).
const SEIZURE_BITS: u32 = 300;
/// Bits of mark before a message on hook: 150 ms.
const MARK_BITS: u32 = 180;
/// Bits of mark before a message during a call, and before NTT's.
const MARK_BITS_SHORT: u32 = 80;
/// Bits of mark behind a message.
const TRAIL_BITS: u32 = 6;
/// Level of the modem as sent, in dBm0 (GR-30: −13.5 at the exchange).
const SENT_DBM0: f32 = -13.5;
/// Longest name that Bellcore telephones show, in characters.
const NAME_MAX_BELLCORE: usize = 15;
/// A digit and the pause after it, each, in samples: 70 ms (EN 300 659-1 annex B).
const DIGIT_SAMPLES: usize = 560;

/// How a message is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendAs {
    /// Bellcore, multiple form.
    Bellcore,
    /// Bellcore, single form: no name.
    BellcoreSingle,
    /// ETSI.
    Etsi,
    /// NTT: no name.
    NumberDisplay,
    /// Digits: no name and no time.
    Digits(Form),
}

/// One message on its way, at 8 kHz.
pub struct CallerIdSender {
    sound: Sound,
}

enum Sound {
    Modem { modem: FskTransmitter, bits: Bits },
    Digits { row: DigitRow, at: usize, position: usize, oscillator: Option<Oscillator> },
}

/// The bits of a message, and which is next.
struct Bits {
    seizure: u32,
    mark: u32,
    bytes: MessageBytes,
    at: u32,
}

impl Bits {
    fn next(&mut self) -> Option<bool> {
        let at = self.at;
        self.at += 1;
        if at < self.seizure {
            // Begins with space.
            return Some(at % 2 == 1);
        }
        let at = at - self.seizure;
        if at < self.mark {
            return Some(true);
        }
        let at = at - self.mark;
        let bytes = self.bytes.as_slice();
        let Some(byte) = bytes.get(at as usize / 10) else {
            return (at < bytes.len() as u32 * 10 + TRAIL_BITS).then_some(true);
        };
        Some(match at % 10 {
            0 => false,
            9 => true,
            bit => byte >> (bit - 1) & 1 == 1,
        })
    }
}

impl CallerIdSender {
    /// Begins `message`. During a call there is no channel seizure. None where the standard has
    /// no such message: only Bellcore's multiple form and ETSI tell of messages that wait.
    #[must_use]
    pub fn new(message: &LineMessage, send_as: SendAs, during_call: bool) -> Option<Self> {
        let caller = match message {
            LineMessage::Call(caller) => Some(caller),
            LineMessage::MessageWaiting { .. } => None,
        };
        let (spec, seizure, bytes) = match send_as {
            SendAs::Bellcore => {
                (BELL_202, true, data_message::encode(message, Dialect::Bellcore, NAME_MAX_BELLCORE))
            }
            SendAs::BellcoreSingle => (BELL_202, true, data_message::encode_single(caller?)),
            SendAs::Etsi => (V23, true, data_message::encode(message, Dialect::Etsi, super::NAME_MAX)),
            SendAs::NumberDisplay => (V23, false, number_display::encode(caller?)),
            SendAs::Digits(form) => return Some(Self::digits(caller?, form)),
        };
        let seizure = seizure && !during_call;
        let bits = Bits {
            seizure: if seizure { SEIZURE_BITS } else { 0 },
            mark: if seizure { MARK_BITS } else { MARK_BITS_SHORT },
            bytes,
            at: 0,
        };
        Some(Self { sound: Sound::Modem { modem: FskTransmitter::new(spec, SENT_DBM0), bits } })
    }

    fn digits(caller: &CallerId, form: Form) -> Self {
        Self {
            sound: Sound::Digits { row: digits::encode(caller, form), at: 0, position: 0, oscillator: None },
        }
    }

    /// Writes the next samples and says how many: fewer than there is room for at the end.
    pub fn fill(&mut self, samples: &mut [i16]) -> usize {
        match &mut self.sound {
            Sound::Modem { modem, bits } => modem.fill(samples, || bits.next()),
            Sound::Digits { row, at, position, oscillator } => {
                fill_digits(row.as_slice(), at, position, oscillator, samples)
            }
        }
    }
}

fn fill_digits(
    row: &[Digit],
    at: &mut usize,
    position: &mut usize,
    oscillator: &mut Option<Oscillator>,
    samples: &mut [i16],
) -> usize {
    let mut written = 0;
    while let (Some(digit), Some(room)) = (row.get(*at), samples.get_mut(written..)) {
        if room.is_empty() {
            break;
        }
        let sounding = *position < DIGIT_SAMPLES;
        let until = if sounding { DIGIT_SAMPLES } else { 2 * DIGIT_SAMPLES };
        let length = (until - *position).min(room.len());
        let Some(part) = room.get_mut(..length) else { break };
        if sounding {
            oscillator.get_or_insert_with(|| dtmf_generate::oscillator(Rate::Narrow, *digit)).fill(part);
        } else {
            *oscillator = None;
            part.fill(0);
        }
        written += length;
        *position += length;
        if *position == 2 * DIGIT_SAMPLES {
            *position = 0;
            *at += 1;
        }
    }
    written
}
