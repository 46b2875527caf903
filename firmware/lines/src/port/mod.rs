//! Two-wire hardware: sockets for the exchange's line (FXO) and for a telephone (FXS).
//!
//! A port says what the wire does and does to the wire what it is told. It knows no leg
//! and no call: what its signals mean is decided by the machines of
//! [`analog`](crate::analog). `device_thread.rs` is what the threads that own devices have in common.

pub mod linecard;
pub mod v253;

mod device_thread;

pub use device_thread::{CounterValues, Full, Notify};

use tipring_model::settings::{Field, FieldError, RawSettings};

/// One kind of hardware.
#[derive(Clone, Copy, Debug)]
pub struct PortDriver {
    /// Name in the configuration.
    pub kind: &'static str,
    /// Hardware that it was tried with, by model; a simulator is none.
    pub tried_with: &'static [&'static str],
    /// Settings of a device of this kind.
    pub fields: &'static [Field],
    /// Reads them.
    pub parse: fn(&RawSettings) -> Result<DeviceSettings, Vec<FieldError>>,
}

/// The settings of one device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeviceSettings {
    /// A line card.
    LineCard(linecard::CardSettings),
    /// A voice modem.
    Modem(v253::ModemSettings),
}

impl DeviceSettings {
    /// Ports that such a device has at most.
    #[must_use]
    pub const fn ports_max(&self) -> usize {
        match self {
            Self::LineCard(_) => linecard::PORTS_MAX,
            Self::Modem(_) => 1,
        }
    }

    /// Whether telephones can be plugged into it.
    #[must_use]
    pub const fn has_phone_ports(&self) -> bool {
        match self {
            Self::LineCard(_) => true,
            Self::Modem(_) => false,
        }
    }

    /// Its serial port.
    #[must_use]
    pub fn serial_path(&self) -> &str {
        match self {
            Self::LineCard(settings) => &settings.serial_path,
            Self::Modem(settings) => &settings.serial_path,
        }
    }

    /// The row of its kind.
    #[must_use]
    pub const fn driver(&self) -> &'static PortDriver {
        match self {
            Self::LineCard(_) => &linecard::DRIVER,
            Self::Modem(_) => &v253::DRIVER,
        }
    }
}

/// Every kind of hardware.
pub const PORTS: &[PortDriver] = &[linecard::DRIVER, v253::DRIVER];

/// Which way round a port is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PortKind {
    /// FXO: plugged into the exchange's line, it behaves as a telephone does.
    Line,
    /// FXS: a telephone is plugged in, it behaves as the exchange does.
    Phone,
}

/// A place in the sound of a port: frames of 8 kHz since the device began to count. It stays
/// the same wherever the sound goes, so that a signal can be laid beside what was heard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct SampleTime(pub u64);

/// What the hardware behind a port can do beyond hook, ring and sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// Which way round it is.
    pub kind: PortKind,
    /// Reversals of the battery are reported (line port) or can be made (phone port).
    pub reversal: bool,
    /// Breaks of the loop are reported (line port) or can be made (phone port).
    pub loop_break: bool,
    /// There is sound while the wire is on hook, so that caller ID can be heard or sent.
    pub on_hook_audio: bool,
    /// Loss of battery is reported (line port).
    pub battery: bool,
    /// Volts and milliamperes can be asked for.
    pub meter: bool,
    /// A lamp for waiting messages can be lit by voltage (phone port).
    pub lamp: bool,
}

/// What is done to the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TxSignal {
    /// Line port: opens the loop.
    OnHook,
    /// Line port: closes the loop.
    OffHook,
    /// Line port: opens the loop for so long and closes it again.
    Flash {
        /// 20 to 1,500 ms.
        ms: u16,
    },
    /// Line port: dials a digit, 0 to 9, by opening the loop so many times.
    Pulses(u8),
    /// Phone port: rings in this cadence, again and again.
    Ring(Cadence),
    /// Phone port: stops ringing.
    RingOff,
    /// Phone port: battery reversed, or as usual.
    Reverse(bool),
    /// Phone port: no battery for so long, which tells what is plugged in that the far
    /// end hung up.
    DropBattery {
        /// 50 to 1,500 ms.
        ms: u16,
    },
    /// Carries sound for so long although the wire is on hook.
    OnHookAudio {
        /// 100 to 30,000 ms.
        ms: u16,
    },
    /// Phone port: lights the lamp for waiting messages, or puts it out.
    Lamp(bool),
}

/// Milliseconds on and off in turn, at most [`Cadence::STEPS_MAX`] of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cadence {
    steps_ms: [u16; Cadence::STEPS_MAX],
    len: u8,
}

impl Cadence {
    /// Steps of a cadence at most.
    pub const STEPS_MAX: usize = 8;

    /// Two seconds on, four off.
    pub const RING: Self = Self { steps_ms: [2000, 4000, 0, 0, 0, 0, 0, 0], len: 2 };

    /// Reads `400-200-400-2000`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let steps: Option<Vec<u16>> =
            text.split('-').take(Self::STEPS_MAX + 1).map(|ms| ms.trim().parse().ok()).collect();
        Self::new(&steps?)
    }

    /// A cadence of these steps, the first of them on. `None` unless there are two, four,
    /// six or eight, each of 20 to 10,000 ms.
    #[must_use]
    pub fn new(steps_ms: &[u16]) -> Option<Self> {
        let even = !steps_ms.is_empty() && steps_ms.len().is_multiple_of(2);
        let in_range = steps_ms.iter().all(|ms| (20..=10_000).contains(ms));
        if !even || !in_range || steps_ms.len() > Self::STEPS_MAX {
            return None;
        }
        let mut kept = [0; Self::STEPS_MAX];
        for (place, ms) in kept.iter_mut().zip(steps_ms) {
            *place = *ms;
        }
        Some(Self { steps_ms: kept, len: u8::try_from(steps_ms.len()).ok()? })
    }

    /// The longest silence in it.
    #[must_use]
    pub fn longest_off_ms(&self) -> u16 {
        self.steps_ms().iter().skip(1).step_by(2).copied().max().unwrap_or(0)
    }

    /// The steps.
    #[must_use]
    pub fn steps_ms(&self) -> &[u16] {
        self.steps_ms.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// What the wire does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RxSignal {
    /// Phone port: the receiver was lifted.
    OffHook,
    /// Phone port: it was put down, for longer than any flash.
    OnHook,
    /// Phone port: the loop was open for so long and closed again, longer than a pulse and
    /// shorter than hanging up.
    Flash {
        /// How long.
        ms: u16,
    },
    /// Phone port: a digit, 0 to 9, was dialled by pulses.
    Pulses(u8),
    /// Line port: ringing voltage came.
    RingOn,
    /// Line port: ringing voltage went.
    RingOff,
    /// Line port: the battery is reversed, or as usual again.
    Reversed(bool),
    /// Line port: the exchange broke the loop for so long.
    LoopBreak {
        /// How long.
        ms: u16,
    },
    /// Line port: there is no battery: nothing is plugged in.
    BatteryLost,
    /// Line port: there is battery again.
    BatteryBack,
    /// Line port: another telephone on the same line is off hook, or no longer.
    InUse(bool),
    /// Line port: the line was not taken, since another telephone on it has it. It is on hook.
    NotSeized,
}
