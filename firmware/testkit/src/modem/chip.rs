//! The modem itself, without clock and devices: bytes and milliseconds in, bytes out.

use std::collections::VecDeque;
use std::sync::OnceLock;

use super::commands::Reply;
use crate::linecard::board::{Outside, load};
use crate::linecard::line_port::{LinePort, Ringing};
use crate::linecard::record::write_wav;
use crate::linecard::tones::{self, Tone};
use crate::linecard::{Order, Told};
use crate::phone::g711;
use crate::random::Random;

const DLE: u8 = 0x10;
const ETX: u8 = 0x03;
/// Samples of the box that wait to be played at most: 200 ms.
const TO_PLAY_MAX: usize = 1_600;
/// A command at most.
const COMMAND_BYTES_MAX: usize = 128;
/// Lines of the log at most; the oldest go.
const LOG_LINES_MAX: usize = 10_000;
/// Time to go off hook.
pub(super) const SEIZE_MS: u64 = 100;
/// A USR says that somebody is off hook so soon after it is so itself.
const OWN_HOOK_MS: u64 = 60;
/// Callers come so long after the first burst, in pieces of so many bytes, so far apart.
const CALLER_MS: u64 = 500;
const PIECE_BYTES: usize = 7;
const PIECE_MS: u64 = 10;
/// Bytes of nonsense in a millisecond.
const NONSENSE_BYTES: usize = 4;

/// A family of chips.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chip {
    /// CX93001, CX93010.
    Conexant,
    /// USR5637.
    Usr,
    /// V.253 and nothing else.
    Generic,
}

impl Chip {
    /// The chip of a word: `conexant`, `usr`, `generic`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "conexant" => Some(Self::Conexant),
            "usr" => Some(Self::Usr),
            "generic" => Some(Self::Generic),
            _ => None,
        }
    }
}

/// Which samples the modem has, besides those that nobody wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Law {
    /// µ-law.
    Mu,
    /// A-law.
    A,
    /// 8 bit, 128 is silence.
    Unsigned8,
    /// 16 bit.
    Signed16,
    /// None at 8,000 Hz.
    None,
}

impl Law {
    /// The law of a word: `mulaw`, `alaw`, `u8`, `s16`, `none`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "mulaw" => Some(Self::Mu),
            "alaw" => Some(Self::A),
            "u8" => Some(Self::Unsigned8),
            "s16" => Some(Self::Signed16),
            "none" => Some(Self::None),
            _ => None,
        }
    }

    pub(super) fn encode(self, sample: i16) -> Vec<u8> {
        match self {
            Self::Mu => vec![byte_of(&MU, g711::Law::Mu, sample)],
            Self::A => vec![byte_of(&A, g711::Law::A, sample)],
            Self::Unsigned8 | Self::None => vec![(sample.div_euclid(256) + 128) as u8],
            Self::Signed16 => sample.to_le_bytes().to_vec(),
        }
    }

    const fn bytes(self) -> usize {
        match self {
            Self::Mu | Self::A | Self::Unsigned8 | Self::None => 1,
            Self::Signed16 => 2,
        }
    }

    fn decode(self, bytes: &[u8]) -> i16 {
        let (first, second) =
            (bytes.first().copied().unwrap_or_default(), bytes.get(1).copied().unwrap_or_default());
        match self {
            Self::Mu => g711::Law::Mu.decode(first),
            Self::A => g711::Law::A.decode(first),
            Self::Unsigned8 | Self::None => (i16::from(first) - 128) * 256,
            Self::Signed16 => i16::from_le_bytes([first, second]),
        }
    }
}

/// The nearest bytes, searched once: a search for each sample is too slow for real time.
static MU: OnceLock<Vec<u8>> = OnceLock::new();
static A: OnceLock<Vec<u8>> = OnceLock::new();

fn byte_of(table: &OnceLock<Vec<u8>>, law: g711::Law, sample: i16) -> u8 {
    let bytes = || (i16::MIN..=i16::MAX).map(|sample| law.encode(sample)).collect();
    let at = (i32::from(sample) - i32::from(i16::MIN)) as usize;
    table.get_or_init(bytes).get(at).copied().unwrap_or(0xff)
}

/// What a modem is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModemSettings {
    /// Its family.
    pub chip: Chip,
    /// Its samples.
    pub law: Law,
    /// Its firmware; `None` for one that works.
    pub firmware: Option<String>,
    /// A program that died has left it off hook, in the middle of a stream.
    pub is_left_streaming: bool,
    /// It cannot hear and play at the same time.
    pub is_half_duplex: bool,
}

impl ModemSettings {
    /// A modem of this family that works.
    #[must_use]
    pub const fn new(chip: Chip) -> Self {
        Self { chip, law: Law::Mu, firmware: None, is_left_streaming: false, is_half_duplex: false }
    }
}

/// What comes later.
pub(super) enum Later {
    /// The end of an answer.
    Verdict(&'static str),
    /// The line is taken, if the firmware can; and the end of an answer.
    OffHook,
    /// An event.
    Event(u8),
    /// Part of a text.
    Text(Vec<u8>),
    /// A line for the log, when its last piece has gone.
    Log(String),
}

/// A modem with an exchange behind it.
pub struct Modem {
    pub(super) settings: ModemSettings,
    pub(super) line: LinePort,
    pub(super) ms: u64,
    pub(super) echo: bool,
    pub(super) class: u8,
    pub(super) tells_callers: bool,
    pub(super) tells_extensions: bool,
    pub(super) has_format: bool,
    pub(super) flash_ms: u32,
    pub(super) off_hook: bool,
    pub(super) streaming: bool,
    in_use: bool,
    typed: Vec<u8>,
    after_dle: bool,
    half: Vec<u8>,
    to_play: VecDeque<i16>,
    played: bool,
    dry: bool,
    owed: u32,
    pace_hz: u32,
    lose_frames: u32,
    lose_replies: u32,
    garble_permille: u32,
    nonsense: bool,
    mute: bool,
    caller: Option<Vec<String>>,
    bursts: u32,
    later: VecDeque<(u64, Later)>,
    out: Vec<u8>,
    log: VecDeque<String>,
    told: Vec<Told>,
    happened: Vec<(usize, String)>,
    random: Random,
}

impl Modem {
    /// A modem that has just got its power.
    #[must_use]
    pub fn new(settings: ModemSettings) -> Self {
        // Its table takes a while, and a stream cannot wait for it.
        let _ = settings.law.encode(0);
        let mut modem = Self {
            line: LinePort::new(1),
            ms: 0,
            echo: true,
            class: 0,
            tells_callers: false,
            tells_extensions: false,
            has_format: false,
            flash_ms: 600,
            off_hook: false,
            streaming: false,
            in_use: false,
            typed: Vec::new(),
            after_dle: false,
            half: Vec::new(),
            to_play: VecDeque::new(),
            played: false,
            dry: false,
            owed: 0,
            pace_hz: 8_000,
            lose_frames: 0,
            lose_replies: 0,
            garble_permille: 0,
            nonsense: false,
            mute: false,
            caller: None,
            bursts: 0,
            later: VecDeque::new(),
            out: Vec::new(),
            log: VecDeque::new(),
            told: Vec::new(),
            happened: Vec::new(),
            random: Random::new(0x71_0253),
            settings,
        };
        if modem.settings.is_left_streaming {
            modem.class = 8;
            modem.take_line();
            modem.streaming = true;
        }
        modem
    }

    /// The power comes back.
    pub(super) fn reboot(&mut self) {
        self.reset();
        self.echo = true;
        self.out.clear();
    }

    /// As after `ATZ`.
    pub(super) fn reset(&mut self) {
        self.hang_up();
        self.class = 0;
        (self.tells_callers, self.tells_extensions, self.has_format) = (false, false, false);
        self.echo = true;
        self.end_stream();
        self.typed.clear();
        self.later.clear();
    }

    pub(super) fn hang_up(&mut self) {
        self.off_hook = false;
        self.line.hook(false);
    }

    pub(super) fn take_line(&mut self) {
        self.off_hook = true;
        self.line.hook(true);
    }

    fn end_stream(&mut self) {
        if std::mem::take(&mut self.streaming) {
            self.told.push(Told::Audio { on: false, at: self.at() });
        }
        self.to_play.clear();
        self.half.clear();
        (self.played, self.dry, self.after_dle, self.owed) = (false, false, false, 0);
    }

    /// Its sample time.
    #[must_use]
    pub const fn at(&self) -> u64 {
        self.ms * 8
    }

    /// Bytes for the box.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.out);
        self.garble(&mut out);
        out
    }

    /// What happened meanwhile.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// What went over the wire but for sound, since it was taken last.
    pub fn take_log(&mut self) -> Vec<String> {
        self.log.drain(..).collect()
    }

    fn garble(&mut self, bytes: &mut [u8]) {
        if self.garble_permille > 0 {
            for byte in bytes {
                if self.random.below(1_000) < self.garble_permille as usize {
                    *byte = self.random.next() as u8;
                }
            }
        }
    }

    pub(super) fn log(&mut self, line: String) {
        if self.log.len() >= LOG_LINES_MAX {
            self.log.pop_front();
        }
        self.log.push_back(line);
    }

    // --- From the box.

    /// Bytes from the box.
    pub fn bytes(&mut self, bytes: &[u8]) {
        if self.nonsense || self.mute {
            return;
        }
        let mut bytes = bytes.to_vec();
        self.garble(&mut bytes);
        for byte in bytes {
            if std::mem::take(&mut self.after_dle) {
                self.shielded(byte);
            } else if byte == DLE {
                self.after_dle = true;
            } else if self.streaming {
                self.plays(byte);
            } else {
                self.types(byte);
            }
        }
    }

    fn shielded(&mut self, byte: u8) {
        if !self.streaming {
            // In command state it is a letter like others.
            self.log(format!("> {}", shown(byte)));
            self.typed.extend([DLE, byte]);
            return;
        }
        match byte {
            DLE => self.plays(DLE),
            0x1a => (0..2).for_each(|_| self.plays(DLE)),
            _ => {
                self.log(format!("> {}", shown(byte)));
                self.leaves(byte);
            }
        }
    }

    /// Each chip leaves its stream in its own way.
    fn leaves(&mut self, byte: u8) {
        let (leaves, says_end) = match self.settings.chip {
            Chip::Usr => (byte == ETX, false),
            Chip::Conexant | Chip::Generic => (byte == b'^', true),
        };
        if leaves {
            if says_end {
                self.out.extend([DLE, ETX]);
                self.log(format!("< {}", shown(ETX)));
            }
            self.end_stream();
            self.verdict("OK");
        } else if byte == 0x18 {
            self.to_play.clear();
        }
    }

    fn plays(&mut self, byte: u8) {
        self.half.push(byte);
        if self.half.len() < self.settings.law.bytes() {
            return;
        }
        let sample = self.settings.law.decode(&self.half);
        self.half.clear();
        if self.to_play.len() < TO_PLAY_MAX {
            self.to_play.push_back(sample);
        } else {
            self.told.push(Told::Overrun { at: self.at(), frames: 1 });
        }
        self.played = true;
    }

    fn types(&mut self, byte: u8) {
        if self.echo {
            self.out.push(byte);
        }
        if byte != b'\r' {
            if self.typed.len() < COMMAND_BYTES_MAX {
                self.typed.push(byte);
            }
            return;
        }
        let typed = std::mem::take(&mut self.typed);
        let text = String::from_utf8_lossy(&typed).trim().to_owned();
        if typed.contains(&DLE) || text.is_empty() {
            self.log(String::from("> <CR>"));
            if !text.is_empty() {
                self.verdict("ERROR");
            }
            return;
        }
        self.log(format!("> {text}"));
        let Reply { lines, verdict, after } = self.command(&text);
        if self.lose_replies > 0 {
            self.lose_replies -= 1;
            return;
        }
        for line in lines {
            self.says(&line);
        }
        for (ms, later) in after {
            self.after(ms, later);
        }
        if let Some(verdict) = verdict {
            self.verdict(verdict);
        }
    }

    fn says(&mut self, line: &str) {
        self.log(format!("< {line}"));
        self.out.extend(format!("\r\n{line}\r\n").into_bytes());
    }

    fn verdict(&mut self, verdict: &str) {
        self.says(verdict);
        if matches!(verdict, "CONNECT" | "VCON") && !self.streaming {
            self.streaming = true;
            self.told.push(Told::Audio { on: true, at: self.at() });
        }
    }

    fn event(&mut self, event: u8) {
        self.log(format!("< {}", shown(event)));
        self.out.extend([DLE, event]);
    }

    fn after(&mut self, ms: u64, later: Later) {
        let at = self.ms + ms;
        let place = self.later.iter().position(|(other, _)| *other > at).unwrap_or(self.later.len());
        self.later.insert(place, (at, later));
    }

    // --- Time.

    /// A millisecond passes.
    pub fn millisecond(&mut self) {
        while self.later.front().is_some_and(|(at, _)| *at <= self.ms) {
            let Some((_, later)) = self.later.pop_front() else { break };
            self.comes(later);
        }
        let mut played = [0; 8];
        if self.streaming {
            for sample in &mut played {
                *sample = self.to_play.pop_front().unwrap_or_default();
            }
            let is_dry = self.played && self.to_play.is_empty();
            if is_dry && !self.dry {
                self.event(b'u');
            }
            self.dry = is_dry;
        }
        let (at, mut captured) = (self.at(), [0; 8]);
        self.line.millisecond(at, &played, &mut captured, &mut self.happened, &mut self.told);
        for (_, words) in std::mem::take(&mut self.happened) {
            self.happens(&words);
        }
        if self.streaming && !self.mute {
            self.capture(&captured);
        }
        if self.nonsense {
            for _ in 0..NONSENSE_BYTES {
                self.out.push(self.random.next() as u8);
            }
        }
        self.ms += 1;
    }

    fn capture(&mut self, captured: &[i16; 8]) {
        self.owed += self.pace_hz;
        let count = (self.owed / 1_000) as usize;
        self.owed %= 1_000;
        for sample in captured.iter().cycle().take(count) {
            if self.lose_frames > 0 {
                self.lose_frames -= 1;
                continue;
            }
            for byte in self.settings.law.encode(*sample) {
                self.out.push(byte);
                if byte == DLE {
                    self.out.push(DLE);
                }
            }
        }
    }

    fn comes(&mut self, later: Later) {
        match later {
            Later::Verdict(verdict) => self.verdict(verdict),
            Later::OffHook => {
                if self.can_take_line() {
                    self.take_line();
                }
                self.says("OK");
                if self.settings.chip == Chip::Usr {
                    self.after(OWN_HOOK_MS, Later::Event(b'H'));
                }
            }
            Later::Event(event) => {
                if self.class == 8 {
                    self.event(event);
                }
            }
            Later::Text(bytes) => self.out.extend(bytes),
            Later::Log(line) => self.log(line),
        }
    }

    /// What happens on the line, as this chip tells it.
    fn happens(&mut self, words: &str) {
        let chip = self.settings.chip;
        match words {
            "RING on" if self.class == 0 => {
                self.says("RING");
                self.bursts += 1;
            }
            "RING on" => self.event(b'R'),
            "RING off" if self.bursts == 1 && self.tells_callers => self.tell_caller(),
            "USE on" | "USE off" => {
                self.in_use = words == "USE on";
                let letter = match (chip, self.in_use) {
                    (Chip::Usr, true) => b'H',
                    (Chip::Usr, false) => b'h',
                    (Chip::Conexant | Chip::Generic, true) => b'P',
                    (Chip::Conexant | Chip::Generic, false) => b'p',
                };
                if self.class == 8 {
                    self.event(letter);
                }
            }
            "POL r" | "POL n" if chip == Chip::Generic && self.class == 8 => self.event(b'L'),
            _ if words.starts_with("LOOP") && chip != Chip::Usr && self.class == 8 => self.event(b'l'),
            _ => {}
        }
    }

    /// In pieces, as the chip reads it off the wire.
    fn tell_caller(&mut self) {
        let Some(lines) = self.caller.clone() else { return };
        let mut ms = CALLER_MS;
        for line in lines {
            let text = format!("\r\n{line}\r\n").into_bytes();
            for piece in text.chunks(PIECE_BYTES) {
                self.after(ms, Later::Text(piece.to_vec()));
                ms += PIECE_MS;
            }
            self.after(ms, Later::Log(format!("< {line}")));
        }
    }

    /// Another telephone has the line.
    pub(super) const fn is_in_use(&self) -> bool {
        self.in_use
    }

    // --- From the test.

    /// Does what somebody at the simulator wants. What concerns its devices is left out: a modem
    /// without a stage has none.
    ///
    /// # Errors
    /// It cannot be done, and why.
    pub fn carry_out(&mut self, order: Order) -> Result<(), String> {
        self.order(order).map(|_| ())
    }

    pub(super) fn order(&mut self, order: Order) -> Result<Outside, String> {
        let at_line = |port: usize| {
            if port == 1 { Ok(()) } else { Err(format!("there is no port {port}: a modem has one")) }
        };
        match order {
            Order::Lift { .. } | Order::HangUp { .. } | Order::Flash { .. } | Order::Pulse { .. } => {
                return Err(String::from("port 1 is a line: there is an exchange behind it"));
            }
            Order::Press { port, digits, on_ms, off_ms, level_dbm0 } => {
                at_line(port)?;
                self.line.say(&tones::keys(&digits, on_ms, off_ms, level_dbm0));
            }
            Order::Say { port, sound } => {
                at_line(port)?;
                self.line.say(&load(sound)?);
            }
            Order::Silence { port } => {
                at_line(port)?;
                self.line.sound(None);
            }
            Order::Forget { port } => {
                at_line(port)?;
                self.line.heard.forget();
            }
            Order::Save { port, file } => {
                at_line(port)?;
                let samples = self.line.heard.samples();
                write_wav(&file, &samples).map_err(|error| format!("{file}: {error}"))?;
                self.told.push(Told::Saved { file, samples: samples.len() });
            }
            Order::Ring { port, cadence, between } => {
                at_line(port)?;
                if cadence.is_empty() || cadence.len() % 2 != 0 || cadence.contains(&0) {
                    return Err(String::from("a cadence is an even number of times, none of them 0"));
                }
                let between = between
                    .map(|between| Ok::<_, String>((between.after, between.wait_ms, load(between.sound)?)))
                    .transpose()?;
                self.bursts = 0;
                self.line.ring(Ringing::new(cadence, between));
            }
            Order::StopRing { port } => {
                at_line(port)?;
                self.line.stop_ring();
            }
            Order::Tone { port, hz, cadence, level_dbm0 } => {
                at_line(port)?;
                self.line.sound(Some(Tone::new(&hz, &cadence, level_dbm0)));
            }
            Order::Reverse { port, on } => {
                at_line(port)?;
                self.line.reverse(on);
            }
            Order::Break { port, ms } => {
                at_line(port)?;
                self.line.open_loop(ms);
            }
            Order::Battery { port, on } => {
                at_line(port)?;
                self.line.battery(on);
            }
            Order::InUse { port, on } => {
                at_line(port)?;
                self.line.in_use(on);
            }
            Order::Noise { bytes } => {
                for _ in 0..bytes.min(65_536) {
                    self.out.push(self.random.next() as u8);
                }
            }
            Order::Garble { permille } => self.garble_permille = permille,
            Order::LoseReplies { count } => self.lose_replies = count,
            Order::LoseFrames { frames } => self.lose_frames += frames,
            Order::Reboot => {
                self.reboot();
                return Ok(Outside::Reboot);
            }
            Order::Unplug => return Ok(Outside::Unplug),
            Order::Plug => return Ok(Outside::Plug),
            Order::Ask { id } => self.told.push(Told::Here { id, at: self.at() }),
            Order::Caller { port, number, name, spaced } => {
                at_line(port)?;
                let sign = if spaced { " = " } else { "=" };
                let mut lines = vec![format!("DATE{sign}1129"), format!("TIME{sign}1405")];
                lines.extend(number.map(|number| format!("NMBR{sign}{number}")));
                lines.extend(name.map(|name| format!("NAME{sign}{name}")));
                self.caller = Some(lines);
            }
            Order::Event { letter } => {
                if self.class != 8 {
                    return Err(String::from("the modem is not in voice class"));
                }
                self.event(letter as u8);
            }
            Order::Log => {
                let lines = self.take_log();
                self.told.push(Told::Log { lines });
            }
            Order::Nonsense { on } => self.nonsense = on,
            Order::Mute { on } => self.mute = on,
            Order::Pace { hz } => self.pace_hz = hz.clamp(1, 64_000),
        }
        Ok(Outside::Nothing)
    }
}

/// An event or order of a stream as the log has it.
fn shown(byte: u8) -> String {
    match byte {
        ETX => String::from("<DLE><ETX>"),
        0x18 => String::from("<DLE><CAN>"),
        _ if byte.is_ascii_graphic() => format!("<DLE>{}", char::from(byte)),
        _ => format!("<DLE><{byte:02X}>"),
    }
}
