//! What frames say: requests, answers and events as values.

use std::fmt::Write as _;

use super::settings::PortSettings;
use crate::port::{Capabilities, PortKind, RxSignal, SampleTime, TxSignal};

/// The version of the protocol that this driver speaks.
pub const VERSION: u16 = 1;
/// Ports of a card at most.
pub const PORTS_MAX: usize = 24;
/// A name that a card gives itself, at most, in bytes.
const NAME_BYTES_MAX: usize = 32;
/// Longest time that an event may name, in ms: what is longer is not what it says.
const EVENT_MS_MAX: u16 = 2_000;

/// What the box asks of a card. Ports are counted from 0 here and from 1 on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Request {
    /// Begins a session; everything before it is forgotten.
    Hello { session: u32 },
    /// What a port is.
    Port { port: usize },
    /// One setting of a port.
    Conf { port: usize, key: &'static str, value: String },
    /// How a port stands.
    Stat { port: usize },
    /// What is done to a wire.
    Signal { port: usize, signal: TxSignal },
    /// Volts and milliamperes.
    Meter { port: usize },
    /// The card goes into its safe state when it has heard nothing for so long.
    Wdog { s: u16 },
    /// Still there?
    Ping,
}

impl Request {
    /// The words of the request.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Hello { session } => format!("HELLO v={VERSION} id={session:08X}"),
            Self::Port { port } => format!("PORT {}", port + 1),
            Self::Conf { port, key, value } => format!("CONF {} {key}={value}", port + 1),
            Self::Stat { port } => format!("STAT {}", port + 1),
            Self::Signal { port, signal } => signal_words(port + 1, signal),
            Self::Meter { port } => format!("METER {}", port + 1),
            Self::Wdog { s } => format!("WDOG {s}"),
            Self::Ping => String::from("PING"),
        }
    }
}

fn signal_words(port: usize, signal: &TxSignal) -> String {
    match signal {
        TxSignal::OnHook => format!("HOOK {port} on"),
        TxSignal::OffHook => format!("HOOK {port} off"),
        TxSignal::Flash { ms } => format!("HOOK {port} flash {ms}"),
        TxSignal::Pulses(digit) => format!("PULSE {port} {digit}"),
        TxSignal::Ring(cadence) => {
            let mut words = format!("RING {port} ");
            for (at, ms) in cadence.steps_ms().iter().enumerate() {
                // Writing into a String cannot fail.
                let _ = write!(words, "{}{ms}", if at == 0 { "" } else { "," });
            }
            words
        }
        TxSignal::RingOff => format!("STOPRING {port}"),
        TxSignal::Reverse(true) => format!("POL {port} r"),
        TxSignal::Reverse(false) => format!("POL {port} n"),
        TxSignal::DropBattery { ms } => format!("CPC {port} {ms}"),
        TxSignal::OnHookAudio { ms } => format!("OHT {port} {ms}"),
        TxSignal::Lamp(true) => format!("MWI {port} on"),
        TxSignal::Lamp(false) => format!("MWI {port} off"),
    }
}

/// Whether a port can do what it is told: the right kind, the capability, values in range.
pub(super) fn possible(capabilities: &Capabilities, signal: &TxSignal) -> bool {
    let line = capabilities.kind == PortKind::Line;
    let phone = capabilities.kind == PortKind::Phone;
    match signal {
        TxSignal::OnHook | TxSignal::OffHook => line,
        TxSignal::Flash { ms } => line && (20..=1_500).contains(ms),
        TxSignal::Pulses(digit) => line && *digit <= 9,
        TxSignal::Ring(_) | TxSignal::RingOff => phone,
        TxSignal::Reverse(_) => phone && capabilities.reversal,
        TxSignal::DropBattery { ms } => phone && capabilities.loop_break && (50..=1_500).contains(ms),
        TxSignal::OnHookAudio { ms } => capabilities.on_hook_audio && (100..=30_000).contains(ms),
        TxSignal::Lamp(_) => phone && capabilities.lamp,
    }
}

/// Why a card refused a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// 1: it does not know the verb.
    Verb,
    /// 2: arguments are missing, too many, or cannot be read.
    Arguments,
    /// 3: it has no such port.
    Port,
    /// 4: it does not know the key, or the value is out of its range.
    Value,
    /// 5: that kind of port cannot do it.
    Kind,
    /// 6: not while the port is as it is.
    State,
    /// 7: there is no session.
    Session,
    /// 8: it does not speak this version.
    Version,
    /// 9: it has no room for more.
    Busy,
    /// A number that this driver does not know.
    Other(u16),
}

impl Refusal {
    const fn from_code(code: u16) -> Self {
        match code {
            1 => Self::Verb,
            2 => Self::Arguments,
            3 => Self::Port,
            4 => Self::Value,
            5 => Self::Kind,
            6 => Self::State,
            7 => Self::Session,
            8 => Self::Version,
            9 => Self::Busy,
            other => Self::Other(other),
        }
    }
}

/// A card's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reply<'a> {
    /// Done; what it says beside.
    Ok(Fields<'a>),
    /// Not done.
    Refused(Refusal),
}

impl<'a> Reply<'a> {
    pub(super) fn parse(words: &'a str) -> Option<Self> {
        let (first, rest) = words.split_once(' ').unwrap_or((words, ""));
        match first {
            "OK" => Some(Self::Ok(Fields(rest))),
            "ERR" => {
                let code = rest.split(' ').next()?.parse().ok()?;
                Some(Self::Refused(Refusal::from_code(code)))
            }
            _ => None,
        }
    }
}

/// Words of the form `key=value`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    pub(super) fn get(self, key: &str) -> Option<&'a str> {
        self.0.split(' ').filter_map(|word| word.split_once('=')).find_map(|(k, v)| (k == key).then_some(v))
    }

    fn number(self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }

    /// The card's sample counter.
    pub(super) fn at(self) -> Option<SampleTime> {
        self.number("at").map(SampleTime)
    }

    fn name(self, key: &str) -> Option<String> {
        let name = self.get(key)?;
        (!name.is_empty() && name.len() <= NAME_BYTES_MAX).then(|| name.to_owned())
    }
}

/// What a card says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CardInfo {
    /// Its model.
    pub model: String,
    /// The version of its firmware.
    pub firmware: String,
    /// Its serial number.
    pub serial: String,
    /// What its ports can do. Port 0 here is port 1 on the wire, and the first channel.
    pub ports: Vec<Capabilities>,
}

/// The answer to `HELLO`, without the ports' capabilities: `L` and `P` a port.
pub(super) fn hello(fields: Fields<'_>, session: u32) -> Option<CardInfo> {
    let echoed = fields.get("id").and_then(|id| u32::from_str_radix(id, 16).ok());
    if fields.number("v") != Some(u64::from(VERSION)) || echoed != Some(session) {
        return None;
    }
    if fields.number("rate") != Some(8_000) {
        return None;
    }
    let ports: Vec<Capabilities> = fields.get("ports")?.chars().map(kind).collect::<Option<_>>()?;
    if ports.is_empty() || ports.len() > PORTS_MAX {
        return None;
    }
    Some(CardInfo {
        model: fields.name("model")?,
        firmware: fields.name("fw")?,
        serial: fields.name("serial")?,
        ports,
    })
}

fn kind(letter: char) -> Option<Capabilities> {
    let kind = match letter {
        'L' => PortKind::Line,
        'P' => PortKind::Phone,
        _ => return None,
    };
    Some(Capabilities {
        kind,
        reversal: false,
        loop_break: false,
        on_hook_audio: false,
        battery: false,
        meter: false,
        lamp: false,
    })
}

/// The answer to `PORT`. A capability that is not known here is passed over.
pub(super) fn port(fields: Fields<'_>, kind: PortKind) -> Option<Capabilities> {
    let named = match fields.get("kind")? {
        "line" => PortKind::Line,
        "phone" => PortKind::Phone,
        _ => return None,
    };
    let caps = fields.get("caps")?;
    let has = |name: &str| caps.split(',').any(|cap| cap == name);
    (named == kind).then(|| Capabilities {
        kind,
        reversal: has("reversal"),
        loop_break: has("break"),
        on_hook_audio: has("audio"),
        battery: kind == PortKind::Line && has("battery"),
        meter: has("meter"),
        lamp: kind == PortKind::Phone && has("lamp"),
    })
}

/// How a port stands, as far as signals tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Standing {
    /// Phone port: the receiver is lifted.
    pub(super) off_hook: bool,
    /// Line port: it rings.
    pub(super) ringing: bool,
    /// Line port: the battery is reversed.
    pub(super) reversed: bool,
    /// Line port: there is battery.
    pub(super) battery: bool,
    /// Line port: another telephone has the line.
    pub(super) in_use: bool,
}

impl Standing {
    /// At rest, as a session begins.
    pub(super) const REST: Self =
        Self { off_hook: false, ringing: false, reversed: false, battery: true, in_use: false };

    /// The answer to `STAT`; what it does not say is as at rest.
    pub(super) fn parse(fields: Fields<'_>, kind: PortKind) -> Self {
        let phone = kind == PortKind::Phone;
        Self {
            off_hook: phone && fields.get("hook") == Some("off"),
            ringing: !phone && fields.get("ring") == Some("on"),
            reversed: !phone && fields.get("pol") == Some("r"),
            battery: phone || fields.get("batt") != Some("lost"),
            in_use: !phone && fields.get("use") == Some("on"),
        }
    }

    /// What a signal makes of it.
    pub(super) fn after(mut self, signal: RxSignal) -> Self {
        match signal {
            RxSignal::OffHook | RxSignal::Flash { .. } | RxSignal::Pulses(_) => self.off_hook = true,
            RxSignal::OnHook => self.off_hook = false,
            RxSignal::RingOn => self.ringing = true,
            RxSignal::RingOff => self.ringing = false,
            RxSignal::Reversed(reversed) => self.reversed = reversed,
            RxSignal::BatteryLost => self.battery = false,
            RxSignal::BatteryBack => self.battery = true,
            RxSignal::InUse(in_use) => self.in_use = in_use,
            // A moment, and what only modems tell.
            RxSignal::LoopBreak { .. } | RxSignal::NotSeized => {}
        }
        self
    }

    /// What there is to be told of a signal. One that says what is known already is not told
    /// again: an event and the answer to `STAT` may have crossed on their way. For the same
    /// reason a flash may be the first that is known of a receiver that was lifted.
    pub(super) fn news(self, signal: RxSignal) -> [Option<RxSignal>; 2] {
        let told = match signal {
            RxSignal::Flash { .. }
            | RxSignal::Pulses(_)
            | RxSignal::LoopBreak { .. }
            | RxSignal::NotSeized => true,
            RxSignal::OffHook
            | RxSignal::OnHook
            | RxSignal::RingOn
            | RxSignal::RingOff
            | RxSignal::Reversed(_)
            | RxSignal::BatteryLost
            | RxSignal::BatteryBack
            | RxSignal::InUse(_) => self.after(signal) != self,
        };
        let of_a_lifted = matches!(signal, RxSignal::Flash { .. } | RxSignal::Pulses(_));
        [(of_a_lifted && !self.off_hook).then_some(RxSignal::OffHook), told.then_some(signal)]
    }

    /// The signals that lead from here to `there`.
    pub(super) fn signals_to(self, there: Self) -> impl Iterator<Item = RxSignal> {
        let pick = |differs: bool, signal: RxSignal| differs.then_some(signal);
        [
            pick(self.battery && !there.battery, RxSignal::BatteryLost),
            pick(!self.battery && there.battery, RxSignal::BatteryBack),
            pick(self.in_use != there.in_use, RxSignal::InUse(there.in_use)),
            pick(self.reversed != there.reversed, RxSignal::Reversed(there.reversed)),
            pick(!self.ringing && there.ringing, RxSignal::RingOn),
            pick(self.ringing && !there.ringing, RxSignal::RingOff),
            pick(!self.off_hook && there.off_hook, RxSignal::OffHook),
            pick(self.off_hook && !there.off_hook, RxSignal::OnHook),
        ]
        .into_iter()
        .flatten()
    }
}

/// What happened at a card.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// A wire did something.
    Signal { port: usize, signal: RxSignal },
    /// The sound runs: the next frame that is captured has the event's sample time.
    AudioBegan,
    /// The sound stopped.
    AudioEnded,
    /// So many frames before the event's sample time did not reach the box.
    Lost { frames: u32 },
    /// Too hot; or no longer.
    Hot(bool),
    /// Events were forgotten for want of room.
    EventsLost,
    /// The card began anew: there is no session.
    Reset,
    /// A word from a later version.
    Unknown,
}

/// Reads an event: sample time, port, name, arguments. `None` if it makes no sense for the
/// ports that the card has.
pub(super) fn event(words: &str, ports: &[Capabilities]) -> Option<(SampleTime, Event)> {
    let mut words = words.split(' ');
    let at = SampleTime(words.next()?.parse().ok()?);
    let number: usize = words.next()?.parse().ok()?;
    let (name, first) = (words.next()?, words.next());
    if number == 0 {
        return card_event(name, first).map(|event| (at, event));
    }
    let port = number.checked_sub(1)?;
    let kind = ports.get(port)?.kind;
    let ms = || {
        let ms = first?.parse::<u16>().ok()?;
        (1..=EVENT_MS_MAX).contains(&ms).then_some(ms)
    };
    let signal = match (name, kind) {
        ("HOOK", PortKind::Phone) => switch(first?, "off", "on", RxSignal::OffHook, RxSignal::OnHook)?,
        ("FLASH", PortKind::Phone) => RxSignal::Flash { ms: ms()? },
        ("PULSE", PortKind::Phone) => RxSignal::Pulses(first?.parse().ok().filter(|digit| *digit <= 9)?),
        ("RING", PortKind::Line) => switch(first?, "on", "off", RxSignal::RingOn, RxSignal::RingOff)?,
        ("POL", PortKind::Line) => {
            switch(first?, "r", "n", RxSignal::Reversed(true), RxSignal::Reversed(false))?
        }
        ("LOOP", PortKind::Line) => RxSignal::LoopBreak { ms: ms()? },
        ("BATT", PortKind::Line) => {
            switch(first?, "lost", "back", RxSignal::BatteryLost, RxSignal::BatteryBack)?
        }
        ("USE", PortKind::Line) => {
            switch(first?, "on", "off", RxSignal::InUse(true), RxSignal::InUse(false))?
        }
        ("HOOK" | "FLASH" | "PULSE" | "RING" | "POL" | "LOOP" | "BATT" | "USE", _) => return None,
        (_, _) => return Some((at, Event::Unknown)),
    };
    Some((at, Event::Signal { port, signal }))
}

fn card_event(name: &str, first: Option<&str>) -> Option<Event> {
    Some(match name {
        "AUDIO" => switch(first?, "on", "off", Event::AudioBegan, Event::AudioEnded)?,
        "XRUN" => Event::Lost { frames: first?.parse().ok()? },
        "HEAT" => switch(first?, "on", "off", Event::Hot(true), Event::Hot(false))?,
        "LOST" => Event::EventsLost,
        "RESET" => Event::Reset,
        _ => Event::Unknown,
    })
}

fn switch<T>(word: &str, yes: &str, no: &str, if_yes: T, if_no: T) -> Option<T> {
    if word == yes {
        Some(if_yes)
    } else if word == no {
        Some(if_no)
    } else {
        None
    }
}

/// Volts and milliamperes at a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Voltage between the wires, in tenths of a volt.
    pub voltage_dv: i32,
    /// Current in the loop, in tenths of a milliampere.
    pub current_dma: i32,
}

/// The answer to `METER`.
pub(super) fn reading(fields: Fields<'_>) -> Option<Reading> {
    let number = |key: &str| fields.get(key)?.parse::<i32>().ok().filter(|n| n.abs() <= 10_000);
    Some(Reading { voltage_dv: number("dv")?, current_dma: number("dma")? })
}

/// What a session begins with at each port: what it is, its settings.
pub(super) fn set_up(ports: usize, settings: &[PortSettings], watchdog_s: u16) -> Vec<Request> {
    let mut requests: Vec<Request> = (0..ports).map(|port| Request::Port { port }).collect();
    for (port, settings) in settings.iter().enumerate().take(ports) {
        requests.extend(settings.words().map(|(key, value)| Request::Conf { port, key, value }));
    }
    requests.push(Request::Wdog { s: watchdog_s });
    requests
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Cadence;

    fn ports() -> Vec<Capabilities> {
        "LP".chars().map(|letter| kind(letter).unwrap()).collect()
    }

    #[test]
    fn every_signal_has_its_words() {
        let table = [
            (TxSignal::OnHook, "HOOK 2 on"),
            (TxSignal::OffHook, "HOOK 2 off"),
            (TxSignal::Flash { ms: 600 }, "HOOK 2 flash 600"),
            (TxSignal::Pulses(0), "PULSE 2 0"),
            (TxSignal::Ring(Cadence::new(&[400, 200, 400, 2_000]).unwrap()), "RING 2 400,200,400,2000"),
            (TxSignal::RingOff, "STOPRING 2"),
            (TxSignal::Reverse(true), "POL 2 r"),
            (TxSignal::Reverse(false), "POL 2 n"),
            (TxSignal::DropBattery { ms: 500 }, "CPC 2 500"),
            (TxSignal::OnHookAudio { ms: 6_000 }, "OHT 2 6000"),
            (TxSignal::Lamp(true), "MWI 2 on"),
            (TxSignal::Lamp(false), "MWI 2 off"),
        ];
        for (signal, words) in table {
            assert_eq!(Request::Signal { port: 1, signal }.words(), words);
        }
    }

    #[test]
    fn a_port_does_what_its_kind_can() {
        let line = Capabilities { on_hook_audio: true, reversal: true, ..ports()[0] };
        let phone = Capabilities { loop_break: true, ..ports()[1] };
        for (signal, on_line, on_phone) in [
            (TxSignal::OffHook, true, false),
            (TxSignal::Flash { ms: 20 }, true, false),
            (TxSignal::Flash { ms: 19 }, false, false),
            (TxSignal::Flash { ms: 1_501 }, false, false),
            (TxSignal::Pulses(9), true, false),
            (TxSignal::Pulses(10), false, false),
            (TxSignal::RingOff, false, true),
            (TxSignal::Reverse(true), false, false),
            (TxSignal::DropBattery { ms: 50 }, false, true),
            (TxSignal::DropBattery { ms: 1_501 }, false, false),
            (TxSignal::OnHookAudio { ms: 100 }, true, false),
            (TxSignal::OnHookAudio { ms: 99 }, false, false),
            (TxSignal::Lamp(true), false, false),
        ] {
            assert_eq!(
                (possible(&line, &signal), possible(&phone, &signal)),
                (on_line, on_phone),
                "{signal:?}"
            );
        }
    }

    #[test]
    fn events_are_read_as_the_port_can_have_them() {
        let read = |words: &str| event(words, &ports());
        let signal = |port, signal| Some((SampleTime(8_421_503), Event::Signal { port, signal }));
        for (words, expected) in [
            ("8421503 2 HOOK off", signal(1, RxSignal::OffHook)),
            ("8421503 2 HOOK on", signal(1, RxSignal::OnHook)),
            ("8421503 2 FLASH 610", signal(1, RxSignal::Flash { ms: 610 })),
            ("8421503 2 PULSE 0", signal(1, RxSignal::Pulses(0))),
            ("8421503 1 RING on 2000", signal(0, RxSignal::RingOn)),
            ("8421503 1 RING off", signal(0, RxSignal::RingOff)),
            ("8421503 1 POL r", signal(0, RxSignal::Reversed(true))),
            ("8421503 1 LOOP 250", signal(0, RxSignal::LoopBreak { ms: 250 })),
            ("8421503 1 BATT lost", signal(0, RxSignal::BatteryLost)),
            ("8421503 1 USE off", signal(0, RxSignal::InUse(false))),
            ("8421503 0 AUDIO on", Some((SampleTime(8_421_503), Event::AudioBegan))),
            ("8421503 0 XRUN 80", Some((SampleTime(8_421_503), Event::Lost { frames: 80 }))),
            ("8421503 0 LOST 3", Some((SampleTime(8_421_503), Event::EventsLost))),
            ("0 0 RESET power", Some((SampleTime(0), Event::Reset))),
            ("1 0 RAIN", Some((SampleTime(1), Event::Unknown))),
            ("1 2 RAIN", Some((SampleTime(1), Event::Unknown))),
            ("8421503 1 HOOK off", None),
            ("8421503 2 RING on", None),
            ("8421503 3 HOOK off", None),
            ("8421503 2 HOOK", None),
            ("8421503 2 HOOK up", None),
            ("8421503 2 FLASH 0", None),
            ("8421503 2 FLASH 2001", None),
            ("8421503 2 PULSE 10", None),
            ("99999999999999999999 2 HOOK off", None),
            ("-1 2 HOOK off", None),
            ("2 HOOK off", None),
            ("", None),
        ] {
            assert_eq!(read(words), expected, "{words:?}");
        }
    }

    #[test]
    fn hello_is_taken_only_from_a_card_that_fits() {
        let good = "OK v=1 id=0000002A model=sim fw=1.0 serial=7 rate=8000 ports=LLPP new=1";
        let info = |words: &str| {
            let Some(Reply::Ok(fields)) = Reply::parse(words) else { return None };
            hello(fields, 42)
        };
        let kinds: Vec<PortKind> = info(good).unwrap().ports.iter().map(|port| port.kind).collect();
        assert_eq!(kinds, [PortKind::Line, PortKind::Line, PortKind::Phone, PortKind::Phone]);
        for (from, to) in [
            ("v=1", "v=2"),
            ("id=0000002A", "id=0000002B"),
            ("rate=8000", "rate=16000"),
            ("ports=LLPP", "ports="),
            ("ports=LLPP", "ports=LXP"),
            ("ports=LLPP", "ports=LLLLLLLLLLLLLLLLLLLLLLLLL"),
            ("model=sim", "model="),
            ("serial=7", "serial=012345678901234567890123456789012"),
            (" fw=1.0", ""),
        ] {
            assert_eq!(info(&good.replace(from, to)), None, "{to}");
        }
    }

    #[test]
    fn a_standing_is_told_by_what_differs() {
        let there = Standing { ringing: true, battery: false, ..Standing::REST };
        let to: Vec<RxSignal> = Standing::REST.signals_to(there).collect();
        assert_eq!(to, [RxSignal::BatteryLost, RxSignal::RingOn]);
        let back: Vec<RxSignal> = there.signals_to(Standing::REST).collect();
        assert_eq!(back, [RxSignal::BatteryBack, RxSignal::RingOff]);
        let mut along = Standing::REST;
        for signal in to {
            along = along.after(signal);
        }
        assert_eq!(along, there);
        assert_eq!(along.news(RxSignal::RingOn), [None, None]);
        assert_eq!(along.news(RxSignal::RingOff), [None, Some(RxSignal::RingOff)]);
        let flash = RxSignal::Flash { ms: 300 };
        assert_eq!(along.news(flash), [Some(RxSignal::OffHook), Some(flash)]);
        assert_eq!(along.after(flash).news(flash), [None, Some(flash)]);
    }
}
