//! What a simulator is told and tells, one JSON object a line: a card, or a modem.

use serde::{Deserialize, Serialize};

/// Something to be done. `port` counts from 1, as on the card.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Telephone: lifts the receiver.
    Lift {
        /// Which.
        port: usize,
    },
    /// Telephone: puts it down.
    HangUp {
        /// Which.
        port: usize,
    },
    /// Telephone: presses the hook for so long.
    Flash {
        /// Which.
        port: usize,
        /// How long.
        #[serde(default = "flash_ms")]
        ms: u32,
    },
    /// Telephone: dials by pulses, ten a second.
    Pulse {
        /// Which.
        port: usize,
        /// `0` to `9`.
        digits: String,
    },
    /// Telephone or exchange: sends the tones of keys.
    Press {
        /// Where.
        port: usize,
        /// `0` to `9`, `*`, `#`, `A` to `D`.
        digits: String,
        /// Each so long.
        #[serde(default = "key_ms")]
        on_ms: u32,
        /// And so long nothing.
        #[serde(default = "key_ms")]
        off_ms: u32,
        /// Of each frequency.
        #[serde(default = "key_dbm0")]
        level_dbm0: f64,
    },
    /// Telephone or exchange: says this after what it says already.
    Say {
        /// Where.
        port: usize,
        /// What.
        #[serde(flatten)]
        sound: Sound,
    },
    /// Telephone or exchange: says nothing more, and sends no tone.
    Silence {
        /// Where.
        port: usize,
    },
    /// Telephone or exchange: forgets what it heard.
    Forget {
        /// Where.
        port: usize,
    },
    /// Telephone or exchange: writes what it heard since then, ten minutes at most, as WAV.
    Save {
        /// Where.
        port: usize,
        /// The file.
        file: String,
    },
    /// Exchange: rings, again and again, until the line answers.
    Ring {
        /// Which line.
        port: usize,
        /// Milliseconds on and off in turn.
        cadence: Vec<u32>,
        /// Said between the rings, such as caller ID.
        #[serde(default)]
        between: Option<Between>,
    },
    /// Exchange: stops ringing.
    StopRing {
        /// Which line.
        port: usize,
    },
    /// Exchange: sends a tone until it is silenced.
    Tone {
        /// Which line.
        port: usize,
        /// All at once.
        hz: Vec<f64>,
        /// Milliseconds on and off in turn; none for a tone that does not stop.
        #[serde(default)]
        cadence: Vec<u32>,
        /// Of each frequency.
        #[serde(default = "tone_dbm0")]
        level_dbm0: f64,
    },
    /// Exchange: reverses the battery, or puts it back.
    Reverse {
        /// Which line.
        port: usize,
        /// Reversed.
        on: bool,
    },
    /// Exchange: no battery for so long.
    Break {
        /// Which line.
        port: usize,
        /// How long.
        ms: u32,
    },
    /// Exchange: battery, or none: nothing is plugged in.
    Battery {
        /// Which line.
        port: usize,
        /// There is.
        on: bool,
    },
    /// Exchange: another telephone on the same line is off hook.
    InUse {
        /// Which line.
        port: usize,
        /// It is.
        on: bool,
    },
    /// Card: sends so many bytes of noise to the box.
    Noise {
        /// How many.
        bytes: usize,
    },
    /// Card: changes each byte, both ways, with this probability. 0 ends it.
    Garble {
        /// In a thousand.
        permille: u32,
    },
    /// Card: loses so many of its answers.
    LoseReplies {
        /// How many.
        count: u32,
    },
    /// Card: loses frames of sound on the way to the box.
    LoseFrames {
        /// So many.
        frames: u32,
    },
    /// Card: begins anew.
    Reboot,
    /// Card: is pulled out.
    Unplug,
    /// Card: is plugged in again, under the same names.
    Plug,
    /// The simulator: answers [`Told::Here`] when everything before is done.
    Ask {
        /// Given back.
        #[serde(default)]
        id: u64,
    },
    /// Modem: who calls, told after the first burst of whatever rings from now on.
    Caller {
        /// Which line.
        port: usize,
        /// `NMBR`; none leaves the line out.
        #[serde(default)]
        number: Option<String>,
        /// `NAME`; the same.
        #[serde(default)]
        name: Option<String>,
        /// Blanks around the sign.
        #[serde(default)]
        spaced: bool,
    },
    /// Modem: tells the box an event, if it is in voice class.
    Event {
        /// The byte after DLE.
        letter: char,
    },
    /// Modem: [`Told::Log`], what was said both ways since it was asked last.
    Log,
    /// Modem: says nothing but nonsense, and hears nothing.
    Nonsense {
        /// From now on.
        on: bool,
    },
    /// Modem: hears nothing and says nothing.
    Mute {
        /// From now on.
        on: bool,
    },
    /// Modem: so many samples a second go to the box.
    Pace {
        /// 8,000 is right.
        hz: u32,
    },
}

const fn flash_ms() -> u32 {
    400
}
const fn key_ms() -> u32 {
    100
}
const fn key_dbm0() -> f64 {
    -9.0
}
const fn tone_dbm0() -> f64 {
    -13.0
}

/// Sound, from a file or as it is.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sound {
    /// A WAV file: one channel, 16 bit, 8 kHz.
    File(String),
    /// Samples at 8 kHz.
    Samples(Vec<i16>),
}

/// Sound between rings.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Between {
    /// After this many bursts of ringing; 0 is before the first.
    pub after: u32,
    /// So long after the burst; or, before the first, so long before it.
    pub wait_ms: u32,
    /// What.
    #[serde(flatten)]
    pub sound: Sound,
}

/// What the simulator tells. `at` is the card's sample time.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Told {
    /// It is ready: where the serial port is, and what ALSA needs.
    Ready {
        /// The serial port.
        serial: String,
        /// The file for `ALSA_CONFIG_PATH`.
        alsa_config: String,
        /// The ALSA device.
        audio: String,
    },
    /// The box has begun a session, or it is over.
    Session {
        /// There is one.
        on: bool,
    },
    /// The box has the sound open, or no longer.
    Audio {
        /// It has.
        on: bool,
        /// When.
        at: u64,
    },
    /// Telephone: the bell.
    Ring {
        /// Which.
        port: usize,
        /// When.
        at: u64,
        /// It rings.
        on: bool,
    },
    /// Telephone: reversed battery; line: none of its business.
    Reversed {
        /// Where.
        port: usize,
        /// When.
        at: u64,
        /// Reversed.
        on: bool,
    },
    /// Telephone: battery came or went.
    Battery {
        /// Where.
        port: usize,
        /// When.
        at: u64,
        /// There is.
        on: bool,
    },
    /// Telephone: the lamp.
    Lamp {
        /// Where.
        port: usize,
        /// When.
        at: u64,
        /// It is lit.
        on: bool,
    },
    /// Exchange: the loop was closed (seized, answered) or opened (released).
    Loop {
        /// Which line.
        port: usize,
        /// When.
        at: u64,
        /// Closed.
        closed: bool,
    },
    /// Exchange: the loop was open for a moment.
    Flash {
        /// Which line.
        port: usize,
        /// When it was closed again.
        at: u64,
        /// For so long.
        ms: u32,
    },
    /// Exchange: a digit was dialled.
    Digit {
        /// Which line.
        port: usize,
        /// When.
        at: u64,
        /// Which.
        digit: char,
        /// By pulses, not tones.
        pulses: bool,
    },
    /// Telephone or exchange: everything that was to be said has been.
    Said {
        /// Where.
        port: usize,
        /// When.
        at: u64,
    },
    /// Card: the box was too slow, and frames were lost.
    Overrun {
        /// When.
        at: u64,
        /// So many.
        frames: u32,
    },
    /// Card: the box had nothing to play in time.
    Underrun {
        /// When.
        at: u64,
    },
    /// A file was written.
    Saved {
        /// Which.
        file: String,
        /// Samples in it.
        samples: usize,
    },
    /// The answer to [`Order::Ask`].
    Here {
        /// As asked.
        id: u64,
        /// The card's sample time.
        at: u64,
    },
    /// Modem: what went over the wire but for sound: `> AT` from the box, `< OK` from the modem.
    Log {
        /// In its order.
        lines: Vec<String>,
    },
    /// An order was not carried out.
    Refused {
        /// Why.
        why: String,
    },
}
