//! The card itself, without clock and devices: bytes and milliseconds of sound in, bytes and
//! sound out. What its firmware does is what the protocol's document says.

use std::collections::VecDeque;

use super::line_port::{LinePort, LineSettings, Ringing};
use super::order::{Order, Sound, Told};
use super::phone_port::{PhonePort, PhoneSettings};
use super::record::{read_wav, write_wav};
use super::tones::{self, Tone};
use super::wire::{self, Lines};
use crate::random::Random;

/// Events on their way that the box has not acknowledged.
const WINDOW: usize = 8;
/// Events that wait.
const EVENTS_MAX: usize = 64;
/// An event that is not acknowledged is sent again after so long.
const AGAIN_MS: u64 = 200;

enum Port {
    Phone(PhonePort),
    Line(LinePort),
}

/// An event until the box has it.
struct Event {
    number: u16,
    words: String,
    sent: bool,
}

struct Session {
    last_number: u16,
    last_reply: String,
    next_event: u16,
    events: VecDeque<Event>,
    forgotten: u32,
    again_at: u64,
    watchdog_ms: Option<u64>,
    heard_at: u64,
}

/// A card with its ports, and what is plugged in.
pub struct Board {
    ports: Vec<Port>,
    kinds: String,
    lines: Lines,
    session: Option<Session>,
    ms: u64,
    streaming: bool,
    out: Vec<u8>,
    told: Vec<Told>,
    happened: Vec<(usize, String)>,
    random: Random,
    garble_permille: u32,
    lose_replies: u32,
}

/// What the stage, not the board, is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outside {
    /// Nothing.
    Nothing,
    LoseFrames(u32),
    Reboot,
    Unplug,
    Plug,
}

impl Board {
    /// A card with these ports: `L` a line, `P` a telephone.
    #[must_use]
    pub fn new(kinds: &str) -> Self {
        let ports = kinds
            .chars()
            .enumerate()
            .map(|(at, kind)| match kind {
                'L' => Port::Line(LinePort::new(at + 1)),
                _ => Port::Phone(PhonePort::new(at + 1)),
            })
            .collect();
        let kinds = kinds.chars().map(|kind| if kind == 'L' { 'L' } else { 'P' }).collect();
        Self {
            ports,
            kinds,
            lines: Lines::default(),
            session: None,
            ms: 0,
            streaming: false,
            out: Vec::new(),
            told: Vec::new(),
            happened: Vec::new(),
            random: Random::new(0x71_9619),
            garble_permille: 0,
            lose_replies: 0,
        }
    }

    /// How many ports it has.
    #[must_use]
    pub fn ports(&self) -> usize {
        self.ports.len()
    }

    /// Its sample time: frames since it was made.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.ms * 8
    }

    /// Bytes for the box.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        let out = std::mem::take(&mut self.out);
        self.garbled(out)
    }

    /// What happened meanwhile.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// Bytes from the box.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let bytes = self.garbled(bytes.to_vec());
        for line in self.lines.take(&bytes) {
            self.line(&line);
        }
    }

    fn garbled(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.garble_permille > 0 {
            for byte in &mut bytes {
                if self.random.below(1_000) < self.garble_permille as usize {
                    *byte = self.random.next() as u8;
                }
            }
        }
        bytes
    }

    /// A millisecond passes: eight frames that the card plays, and eight that it captured.
    pub fn millisecond(&mut self, played: &[i16], captured: &mut [i16]) {
        let at = self.at();
        let channels = self.ports.len();
        captured.fill(0);
        for (channel, port) in self.ports.iter_mut().enumerate() {
            let mut to_port = [0; 8];
            for (to, sample) in to_port.iter_mut().zip(played.iter().skip(channel).step_by(channels)) {
                *to = *sample;
            }
            let mut from_port = [0; 8];
            match port {
                Port::Phone(phone) => {
                    phone.millisecond(at, &to_port, &mut from_port, &mut self.happened, &mut self.told);
                }
                Port::Line(line) => {
                    line.millisecond(at, &to_port, &mut from_port, &mut self.happened, &mut self.told);
                }
            }
            for (to, sample) in captured.iter_mut().skip(channel).step_by(channels).zip(from_port) {
                *to = sample;
            }
        }
        for (port, words) in std::mem::take(&mut self.happened) {
            self.event(port, &words);
        }
        self.ms += 1;
        self.keep_session();
    }

    /// The box has the sound open, or no longer.
    pub fn audio(&mut self, on: bool) {
        if self.streaming != on {
            self.streaming = on;
            self.event(0, if on { "AUDIO on" } else { "AUDIO off" });
            self.told.push(Told::Audio { on, at: self.at() });
        }
    }

    /// So many frames before this one did not reach the box.
    pub fn lost_before(&mut self, at: u64, frames: u32) {
        self.event_at(at, 0, &format!("XRUN {frames}"));
    }

    /// The power comes, or came back.
    pub fn reboot(&mut self, cause: &str) {
        self.end_session();
        self.lines = Lines::default();
        self.streaming = false;
        self.out.clear();
        self.out.extend(wire::line(&format!("!0 0 0 RESET {cause}")));
    }

    fn end_session(&mut self) {
        self.rest();
        if self.session.take().is_some() {
            self.told.push(Told::Session { on: false });
        }
    }

    fn rest(&mut self) {
        let at = self.at();
        for port in &mut self.ports {
            match port {
                Port::Phone(phone) => phone.rest(at, &mut self.told),
                Port::Line(line) => line.rest(),
            }
        }
    }

    fn keep_session(&mut self) {
        let Some(session) = &mut self.session else { return };
        if session.watchdog_ms.is_some_and(|limit| self.ms >= session.heard_at + limit) {
            self.end_session();
            return;
        }
        if self.ms >= session.again_at && session.events.iter().any(|event| event.sent) {
            session.again_at = self.ms + AGAIN_MS;
            self.out.push(b'\n');
            for event in session.events.iter().filter(|event| event.sent) {
                self.out.extend(wire::line(&format!("!{} {}", event.number, event.words)));
            }
        }
    }

    fn event(&mut self, port: usize, words: &str) {
        self.event_at(self.at(), port, words);
    }

    fn event_at(&mut self, at: u64, port: usize, words: &str) {
        let Some(session) = &mut self.session else { return };
        if session.events.len() >= EVENTS_MAX {
            session.forgotten += 1;
            return;
        }
        let number = session.next_event;
        session.next_event = number.wrapping_add(1);
        session.events.push_back(Event { number, words: format!("{at} {port} {words}"), sent: false });
        self.send_events();
    }

    fn send_events(&mut self) {
        let Some(session) = &mut self.session else { return };
        for event in session.events.iter_mut().take(WINDOW).filter(|event| !event.sent) {
            event.sent = true;
            session.again_at = self.ms + AGAIN_MS;
            self.out.extend(wire::line(&format!("!{} {}", event.number, event.words)));
        }
    }

    fn line(&mut self, line: &str) {
        let (head, words) = line.split_once(' ').unwrap_or((line, ""));
        let (Some(mark), Some(Ok(number))) = (head.chars().next(), head.get(1..).map(str::parse::<u16>))
        else {
            return;
        };
        if let Some(session) = &mut self.session {
            session.heard_at = self.ms;
        }
        match mark {
            '>' => self.request(number, words),
            '@' => self.acknowledged(number),
            _ => {}
        }
    }

    fn acknowledged(&mut self, last: u16) {
        let Some(session) = &mut self.session else { return };
        let covered = |event: &Event| event.sent && last.wrapping_sub(event.number) < 1 << 15;
        while session.events.front().is_some_and(covered) {
            session.events.pop_front();
            session.again_at = self.ms + AGAIN_MS;
        }
        if session.forgotten > 0 && session.events.len() < EVENTS_MAX {
            let words = format!("LOST {}", std::mem::take(&mut session.forgotten));
            self.event(0, &words);
        }
        self.send_events();
    }

    fn request(&mut self, number: u16, words: &str) {
        let verb = words.split(' ').next().unwrap_or_default();
        if verb == "HELLO" {
            let reply = self.hello(number, words);
            self.reply(&format!("<{number} {reply}"));
            if self.streaming && reply.starts_with("OK") {
                // The sound runs already: from this frame on, as far as this session knows.
                self.event(0, "AUDIO on");
            }
            return;
        }
        let Some(session) = &self.session else {
            self.reply(&format!("<{number} ERR 7"));
            return;
        };
        if number == session.last_number {
            let again = session.last_reply.clone();
            self.reply(&again);
            return;
        }
        if number != session.last_number.checked_add(1).unwrap_or(1) {
            return;
        }
        let answer = match self.act(words) {
            Ok(said) if said.is_empty() => String::from("OK"),
            Ok(said) => format!("OK {said}"),
            Err((code, key)) if key.is_empty() => format!("ERR {code}"),
            Err((code, key)) => format!("ERR {code} key={key}"),
        };
        let reply = format!("<{number} {answer}");
        if let Some(session) = &mut self.session {
            session.last_number = number;
            session.last_reply.clone_from(&reply);
        }
        self.reply(&reply);
    }

    fn reply(&mut self, text: &str) {
        if self.lose_replies > 0 {
            self.lose_replies -= 1;
            return;
        }
        self.out.extend(wire::line(text));
    }

    fn hello(&mut self, number: u16, words: &str) -> String {
        let field = |key: &str| words.split(' ').filter_map(|w| w.split_once('=')).find(|(k, _)| *k == key);
        let (Some((_, version)), Some((_, id)), 0) = (field("v"), field("id"), number) else {
            return String::from("ERR 2");
        };
        if version != "1" {
            return String::from("ERR 8");
        }
        self.end_session();
        self.session = Some(Session {
            last_number: 0,
            last_reply: String::new(),
            next_event: 1,
            events: VecDeque::new(),
            forgotten: 0,
            again_at: 0,
            watchdog_ms: None,
            heard_at: self.ms,
        });
        self.told.push(Told::Session { on: true });
        format!("OK v=1 id={id} model=simulator fw=1.0.0 serial=0001 rate=8000 ports={}", self.kinds)
    }

    /// Does what a request says.
    fn act(&mut self, words: &str) -> Result<String, (u16, String)> {
        let refuse = |code: u16| (code, String::new());
        let words: Vec<&str> = words.split(' ').collect();
        let at = self.at();
        match words.as_slice() {
            ["PING"] => return Ok(format!("at={at}")),
            ["WDOG", seconds] => {
                let seconds = number(seconds, 2, 60).ok_or_else(|| refuse(2))?;
                if let Some(session) = &mut self.session {
                    session.watchdog_ms = Some(u64::from(seconds) * 1_000);
                }
                return Ok(String::new());
            }
            _ => {}
        }
        let [verb, port, rest @ ..] = words.as_slice() else {
            return Err(refuse(if VERBS.contains(words.first().unwrap_or(&"")) { 2 } else { 1 }));
        };
        if !VERBS.contains(verb) {
            return Err(refuse(1));
        }
        let port = port.parse::<usize>().map_err(|_| refuse(2))?;
        let place = port.checked_sub(1).and_then(|at| self.ports.get_mut(at)).ok_or_else(|| refuse(3))?;
        match place {
            Port::Phone(phone) => phone_act(phone, at, verb, rest, &mut self.told),
            Port::Line(line) => line_act(line, at, verb, rest),
        }
    }

    /// Does what somebody at the card wants. What concerns its devices is left out: a board has
    /// none.
    ///
    /// # Errors
    /// It cannot be done, and why.
    pub fn carry_out(&mut self, order: Order) -> Result<(), String> {
        self.order(order).map(|_| ())
    }

    /// Does what somebody at the simulator wants. Gives what the board cannot do by itself.
    pub(super) fn order(&mut self, order: Order) -> Result<Outside, String> {
        match order {
            Order::Lift { port } => self.phone(port)?.hook(true),
            Order::HangUp { port } => self.phone(port)?.hook(false),
            Order::Flash { port, ms } => self.phone(port)?.flash(ms),
            Order::Pulse { port, digits } => self.phone(port)?.pulse(&digits),
            Order::Press { port, digits, on_ms, off_ms, level_dbm0 } => {
                self.say(port, &tones::keys(&digits, on_ms, off_ms, level_dbm0))?;
            }
            Order::Say { port, sound } => self.say(port, &load(sound)?)?,
            Order::Silence { port } => match self.port(port)? {
                Port::Phone(phone) => phone.silence(),
                Port::Line(line) => line.sound(None),
            },
            Order::Forget { port } => match self.port(port)? {
                Port::Phone(phone) => phone.heard.forget(),
                Port::Line(line) => line.heard.forget(),
            },
            Order::Save { port, file } => {
                let samples = self.heard(port)?;
                write_wav(&file, &samples).map_err(|error| format!("{file}: {error}"))?;
                self.told.push(Told::Saved { file, samples: samples.len() });
            }
            Order::Ring { port, cadence, between } => {
                if cadence.is_empty() || cadence.len() % 2 != 0 || cadence.contains(&0) {
                    return Err(String::from("a cadence is an even number of times, none of them 0"));
                }
                let between = between
                    .map(|between| Ok::<_, String>((between.after, between.wait_ms, load(between.sound)?)))
                    .transpose()?;
                self.exchange(port)?.ring(Ringing::new(cadence, between));
            }
            Order::StopRing { port } => self.exchange(port)?.stop_ring(),
            Order::Tone { port, hz, cadence, level_dbm0 } => {
                self.exchange(port)?.sound(Some(Tone::new(&hz, &cadence, level_dbm0)));
            }
            Order::Reverse { port, on } => self.exchange(port)?.reverse(on),
            Order::Break { port, ms } => self.exchange(port)?.open_loop(ms),
            Order::Battery { port, on } => self.exchange(port)?.battery(on),
            Order::InUse { port, on } => self.exchange(port)?.in_use(on),
            Order::Noise { bytes } => {
                for _ in 0..bytes.min(65_536) {
                    self.out.push(self.random.next() as u8);
                }
            }
            Order::Garble { permille } => self.garble_permille = permille,
            Order::LoseReplies { count } => self.lose_replies = count,
            Order::LoseFrames { frames } => return Ok(Outside::LoseFrames(frames)),
            Order::Reboot => return Ok(Outside::Reboot),
            Order::Unplug => return Ok(Outside::Unplug),
            Order::Plug => return Ok(Outside::Plug),
            Order::Ask { id } => {
                let at = self.at();
                self.told.push(Told::Here { id, at });
            }
            Order::Caller { .. }
            | Order::Event { .. }
            | Order::Log
            | Order::Nonsense { .. }
            | Order::Mute { .. }
            | Order::Pace { .. } => return Err(String::from("that is for a modem, and this is a card")),
        }
        Ok(Outside::Nothing)
    }

    /// What somebody at a port heard.
    pub(super) fn heard(&mut self, port: usize) -> Result<Vec<i16>, String> {
        Ok(match self.port(port)? {
            Port::Phone(phone) => phone.heard.samples(),
            Port::Line(line) => line.heard.samples(),
        })
    }

    fn say(&mut self, port: usize, samples: &[i16]) -> Result<(), String> {
        match self.port(port)? {
            Port::Phone(phone) => phone.say(samples),
            Port::Line(line) => line.say(samples),
        }
        Ok(())
    }

    fn port(&mut self, port: usize) -> Result<&mut Port, String> {
        let place = port.checked_sub(1).and_then(|at| self.ports.get_mut(at));
        place.ok_or_else(|| format!("there is no port {port}"))
    }

    fn phone(&mut self, port: usize) -> Result<&mut PhonePort, String> {
        match self.port(port)? {
            Port::Phone(phone) => Ok(phone),
            Port::Line(_) => Err(format!("port {port} is a line: there is an exchange behind it")),
        }
    }

    fn exchange(&mut self, port: usize) -> Result<&mut LinePort, String> {
        match self.port(port)? {
            Port::Line(line) => Ok(line),
            Port::Phone(_) => Err(format!("port {port} has a telephone behind it")),
        }
    }
}

/// The samples of an order.
pub(crate) fn load(sound: Sound) -> Result<Vec<i16>, String> {
    match sound {
        Sound::Samples(samples) => Ok(samples),
        Sound::File(file) => read_wav(&file).map_err(|error| format!("{file}: {error}")),
    }
}

const VERBS: [&str; 13] = [
    "PORT", "CONF", "STAT", "HOOK", "PULSE", "RING", "STOPRING", "POL", "CPC", "OHT", "MWI", "METER", "WDOG",
];

fn number(word: &str, least: u32, most: u32) -> Option<u32> {
    word.parse().ok().filter(|number| (least..=most).contains(number))
}

type Acted = Result<String, (u16, String)>;

fn refused(code: u16) -> (u16, String) {
    (code, String::new())
}

fn phone_act(phone: &mut PhonePort, at: u64, verb: &str, words: &[&str], told: &mut Vec<Told>) -> Acted {
    match (verb, words) {
        ("PORT", []) => return Ok(String::from("kind=phone caps=reversal,break,audio,meter,lamp")),
        ("CONF", [setting]) => return phone_conf(&mut phone.settings, setting),
        ("STAT", []) => {
            return Ok(format!("hook={} at={at}", if phone.off_hook() { "off" } else { "on" }));
        }
        ("RING", [steps]) => {
            let steps: Option<Vec<u32>> = steps.split(',').map(|step| number(step, 20, 10_000)).collect();
            let steps =
                steps.filter(|steps| matches!(steps.len(), 2 | 4 | 6 | 8)).ok_or_else(|| refused(2))?;
            if !phone.ring(steps) {
                return Err(refused(6));
            }
        }
        ("STOPRING", []) => phone.stop_ring(),
        ("POL", ["r"]) => phone.reverse(at, true, told),
        ("POL", ["n"]) => phone.reverse(at, false, told),
        ("CPC", [ms]) => phone.drop_battery(at, number(ms, 50, 1_500).ok_or_else(|| refused(2))?, told),
        ("OHT", [ms]) => phone.on_hook_audio(number(ms, 100, 30_000).ok_or_else(|| refused(2))?),
        ("MWI", ["on"]) => phone.light(at, true, told),
        ("MWI", ["off"]) => phone.light(at, false, told),
        ("METER", []) => {
            return Ok(String::from(if phone.off_hook() { "dv=-92 dma=230" } else { "dv=-482 dma=0" }));
        }
        ("HOOK" | "PULSE", _) => return Err(refused(5)),
        (_, _) => return Err(refused(2)),
    }
    Ok(String::new())
}

fn phone_conf(settings: &mut PhoneSettings, setting: &str) -> Acted {
    let (key, value) = setting.split_once('=').ok_or_else(|| refused(2))?;
    let unknown = || (4, key.to_owned());
    let ms = || number(value, 20, 1_500).ok_or_else(unknown);
    match key {
        "flash_min" => settings.flash_min_ms = ms()?,
        "flash_max" => settings.flash_max_ms = ms()?,
        "pulses" => {
            settings.pulses = match value {
                "on" => true,
                "off" => false,
                _ => return Err(unknown()),
            }
        }
        "ring_hz" => drop(number(value, 16, 50).ok_or_else(unknown)?),
        "ring_v" => drop(number(value, 40, 90).ok_or_else(unknown)?),
        "feed_ma" => drop(number(value, 18, 45).ok_or_else(unknown)?),
        _ => any_conf(key, value)?,
    }
    Ok(String::new())
}

fn line_act(line: &mut LinePort, at: u64, verb: &str, words: &[&str]) -> Acted {
    match (verb, words) {
        ("PORT", []) => return Ok(String::from("kind=line caps=reversal,break,audio,battery,meter")),
        ("CONF", [setting]) => return line_conf(&mut line.settings, setting),
        ("STAT", []) => return Ok(format!("{} at={at}", line.standing())),
        ("HOOK", ["on"]) => line.hook(false),
        ("HOOK", ["off"]) => line.hook(true),
        ("HOOK", ["flash", ms]) => {
            if !line.flash(number(ms, 20, 1_500).ok_or_else(|| refused(2))?) {
                return Err(refused(6));
            }
        }
        ("PULSE", [digit]) => match line.dial(number(digit, 0, 9).ok_or_else(|| refused(2))?) {
            Some(true) => {}
            Some(false) => return Err(refused(9)),
            None => return Err(refused(6)),
        },
        ("OHT", [ms]) => drop(number(ms, 100, 30_000).ok_or_else(|| refused(2))?),
        ("METER", []) => {
            return Ok(String::from(if line.is_off_hook() { "dv=-72 dma=231" } else { "dv=-481 dma=0" }));
        }
        ("RING" | "STOPRING" | "POL" | "CPC" | "MWI", _) => return Err(refused(5)),
        (_, _) => return Err(refused(2)),
    }
    Ok(String::new())
}

fn line_conf(settings: &mut LineSettings, setting: &str) -> Acted {
    let (key, value) = setting.split_once('=').ok_or_else(|| refused(2))?;
    let unknown = || (4, key.to_owned());
    match key {
        "break_min" => settings.break_min_ms = number(value, 20, 1_500).ok_or_else(unknown)?,
        "pulse_make" => settings.make_ms = number(value, 20, 100).ok_or_else(unknown)?,
        "pulse_break" => settings.pulse_break_ms = number(value, 20, 100).ok_or_else(unknown)?,
        "limit_ma" => drop(number(value, 20, 160).ok_or_else(unknown)?),
        _ => any_conf(key, value)?,
    }
    Ok(String::new())
}

/// Keys of every port. This card has no analog parts that they could change.
fn any_conf(key: &str, value: &str) -> Result<(), (u16, String)> {
    const IMPEDANCES: [&str; 7] =
        ["600", "900", "270+750|150", "220+820|120", "370+620|310", "320+1050|230", "global"];
    let fits = match key {
        "imp" => IMPEDANCES.contains(&value),
        "gain_rx" | "gain_tx" => value.parse::<i32>().is_ok_and(|gain| (-120..=120).contains(&gain)),
        _ => false,
    };
    if fits { Ok(()) } else { Err((4, key.to_owned())) }
}
