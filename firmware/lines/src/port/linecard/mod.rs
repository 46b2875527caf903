//! The open Tipring line card: lines and telephones behind one serial port, which carries
//! signals, and one ALSA device, which carries the sound of all ports, a channel each.
//!
//! [The protocol](README.md) is written for whoever builds a card. `frame.rs` finds lines in
//! bytes, `message.rs` says what they mean, `link.rs` is the session: pure, all three.
//! `pump.rs` moves sound, `pcm.rs` is ALSA, `card.rs` the thread that owns both devices.

mod card;
mod frame;
mod link;
mod message;
mod pcm;
mod pump;
mod settings;

pub use card::{Card, CardEvent, CardFault};
pub use frame::{Frame, Kind, LINE_BYTES_MAX, Line, Reader, crc16};
pub use link::{
    HELLO_EVERY, HELLOS_MAX, Input, Link, LinkCounters, LinkFault, LinkState, Output, PING_EVERY,
    REPLY_TIMEOUT, SENDS_MAX, WAITING_MAX, WATCHDOG_S,
};
pub use message::{CardInfo, PORTS_MAX, Reading, Refusal, VERSION};
pub use pump::{CardSound, PERIOD_FRAMES, PortPeriod, SoundFault};
pub use settings::{CardSettings, DRIVER, Impedance, PortSettings};
