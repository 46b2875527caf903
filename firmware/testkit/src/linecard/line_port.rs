//! A line port of the card, and the exchange behind it.

use std::collections::VecDeque;

use super::order::Told;
use super::record::Record;
use super::tones::{KeyEar, Tone};

/// Ringing voltage is believed after so long, and its end.
const RING_ON_MS: u32 = 40;
const RING_OFF_MS: u32 = 100;
/// A reversal is believed after so long.
const POLARITY_MS: u32 = 64;
/// Without battery for longer nothing is plugged in; a shorter time is a break of the loop.
const BATTERY_MS: u32 = 1_000;
/// The exchange takes an opening of the loop up to this for a pulse,
const PULSE_MS_MAX: u32 = 120;
/// up to this for a flash, and beyond it for hanging up.
const FLASH_MS_MAX: u32 = 1_200;
/// Its digit is over when no pulse came for so long.
const DIGIT_MS: u32 = 250;
/// Time between two digits that are dialled by pulses.
const BETWEEN_DIGITS_MS: u32 = 700;
/// Digits that wait to be dialled.
const DIGITS_MAX: usize = 32;

/// What is set by `CONF`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LineSettings {
    pub(crate) break_min_ms: u32,
    pub(crate) make_ms: u32,
    pub(crate) pulse_break_ms: u32,
}

impl LineSettings {
    pub(crate) const DEFAULT: Self = Self { break_min_ms: 50, make_ms: 40, pulse_break_ms: 60 };
}

/// Ringing, and what is said between.
pub(crate) struct Ringing {
    pub(crate) steps_ms: Vec<u32>,
    pub(crate) between: Option<(u32, u32, Vec<i16>)>,
    step: usize,
    left_ms: u32,
    bursts: u32,
    /// Until it is said.
    wait_ms: Option<u32>,
    /// Until the first burst.
    first_ms: u32,
}

impl Ringing {
    pub(crate) fn new(steps_ms: Vec<u32>, between: Option<(u32, u32, Vec<i16>)>) -> Self {
        let before = between.as_ref().filter(|(after, _, _)| *after == 0);
        let first_ms = before.map_or(0, |(_, wait_ms, sound)| (sound.len() / 8) as u32 + wait_ms);
        let wait_ms = before.map(|_| 0);
        let left_ms = steps_ms.first().copied().unwrap_or_default();
        Self { steps_ms, between, step: 0, left_ms, bursts: 1, wait_ms, first_ms }
    }

    /// Whether there is ringing voltage in this millisecond, and what is said from now on.
    fn millisecond(&mut self) -> (bool, Option<Vec<i16>>) {
        if self.first_ms > 0 {
            self.first_ms -= 1;
            return (false, self.due());
        }
        while self.left_ms == 0 {
            self.step = (self.step + 1) % self.steps_ms.len().max(1);
            self.left_ms = self.steps_ms.get(self.step).copied().unwrap_or(1).max(1);
            if self.step.is_multiple_of(2) {
                self.bursts += 1;
            } else {
                let here = self.between.as_ref().filter(|(after, _, _)| *after == self.bursts);
                self.wait_ms = here.map_or(self.wait_ms, |(_, wait_ms, _)| Some(*wait_ms));
            }
        }
        self.left_ms -= 1;
        (self.step.is_multiple_of(2), self.due())
    }

    /// What is said from this millisecond on.
    fn due(&mut self) -> Option<Vec<i16>> {
        let left_ms = self.wait_ms?;
        self.wait_ms = left_ms.checked_sub(1);
        let sound = self.between.as_ref().map(|(_, _, sound)| sound.clone());
        sound.filter(|_| left_ms == 0)
    }
}

/// A line port with its exchange.
pub(crate) struct LinePort {
    number: usize,
    pub(crate) settings: LineSettings,
    // The exchange.
    ringing: Option<Ringing>,
    says: VecDeque<i16>,
    tone: Option<Tone>,
    pub(crate) heard: Record,
    ear: KeyEar,
    reversed: bool,
    battery: bool,
    break_ms: u32,
    in_use: bool,
    loop_seen: bool,
    loop_ms: u32,
    busy: bool,
    pulses: u32,
    // The port.
    off_hook: bool,
    /// Positions of the hook still to be taken, each for so long, and then off hook again.
    moves: VecDeque<(bool, u32)>,
    digits: usize,
    voltage_ms: u32,
    quiet_ms: u32,
    rings: bool,
    polarity_ms: u32,
    polarity_told: bool,
    dead_ms: u32,
    battery_told: bool,
    use_told: bool,
}

impl LinePort {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            settings: LineSettings::DEFAULT,
            ringing: None,
            says: VecDeque::new(),
            tone: None,
            heard: Record::default(),
            ear: KeyEar::default(),
            reversed: false,
            battery: true,
            break_ms: 0,
            in_use: false,
            loop_seen: false,
            loop_ms: 0,
            busy: false,
            pulses: 0,
            off_hook: false,
            moves: VecDeque::new(),
            digits: 0,
            voltage_ms: 0,
            quiet_ms: 0,
            rings: false,
            polarity_ms: 0,
            polarity_told: false,
            dead_ms: 0,
            battery_told: true,
            use_told: false,
        }
    }

    // What the exchange does.

    pub(crate) fn ring(&mut self, ringing: Ringing) {
        self.ringing = Some(ringing);
    }

    pub(crate) fn stop_ring(&mut self) {
        self.ringing = None;
    }

    pub(crate) fn say(&mut self, samples: &[i16]) {
        self.says.extend(samples);
    }

    pub(crate) fn sound(&mut self, tone: Option<Tone>) {
        self.says.clear();
        self.tone = tone;
    }

    pub(crate) fn reverse(&mut self, on: bool) {
        self.reversed = on;
    }

    pub(crate) fn battery(&mut self, on: bool) {
        self.battery = on;
    }

    pub(crate) fn open_loop(&mut self, ms: u32) {
        self.break_ms = ms;
    }

    pub(crate) fn in_use(&mut self, on: bool) {
        self.in_use = on;
    }

    // What the card does.

    pub(crate) fn rest(&mut self) {
        self.settings = LineSettings::DEFAULT;
        self.hook(false);
    }

    pub(crate) fn hook(&mut self, off: bool) {
        self.off_hook = off;
        self.moves.clear();
        self.digits = 0;
    }

    /// After the digits that are being dialled. `false` while it is on hook.
    pub(crate) fn flash(&mut self, ms: u32) -> bool {
        if self.off_hook {
            self.moves.push_back((false, ms));
        }
        self.off_hook
    }

    /// `None` while it is on hook; `false` if too many digits wait.
    pub(crate) fn dial(&mut self, digit: u32) -> Option<bool> {
        if !self.off_hook {
            return None;
        }
        if self.digits >= DIGITS_MAX {
            return Some(false);
        }
        self.digits += 1;
        for _ in 0..if digit == 0 { 10 } else { digit } {
            self.moves.push_back((false, self.settings.pulse_break_ms));
            self.moves.push_back((true, self.settings.make_ms));
        }
        self.moves.push_back((true, BETWEEN_DIGITS_MS));
        Some(true)
    }

    /// The port is off hook.
    pub(super) const fn is_off_hook(&self) -> bool {
        self.off_hook
    }

    pub(crate) fn standing(&self) -> String {
        let word = |on: bool, yes: &'static str, no: &'static str| if on { yes } else { no };
        format!(
            "hook={} ring={} pol={} batt={} use={}",
            word(self.off_hook, "off", "on"),
            word(self.rings, "on", "off"),
            word(self.polarity_told, "r", "n"),
            word(self.battery_told, "on", "lost"),
            word(self.use_told, "on", "off"),
        )
    }

    /// One millisecond: what the card plays goes to the exchange, what it says comes back.
    pub(crate) fn millisecond(
        &mut self,
        at: u64,
        played: &[i16; 8],
        captured: &mut [i16; 8],
        events: &mut Vec<(usize, String)>,
        told: &mut Vec<Told>,
    ) {
        let closed = self.relay();
        let fed = self.battery && self.break_ms == 0;
        self.break_ms = self.break_ms.saturating_sub(1);
        let voltage = self.exchange_rings(closed && fed);
        self.exchange_sees(at, closed && fed, fed, told);
        self.watch(voltage, fed, events);
        self.sound_millisecond(at, voltage, closed && fed, played, captured, told);
    }

    /// The port's own hook, moved by flashes and pulses.
    fn relay(&mut self) -> bool {
        let Some((closed, left_ms)) = self.moves.front_mut() else {
            self.digits = 0;
            return self.off_hook;
        };
        let closed = *closed;
        *left_ms = left_ms.saturating_sub(1);
        if *left_ms == 0 {
            self.moves.pop_front();
        }
        closed
    }

    fn exchange_rings(&mut self, answered: bool) -> bool {
        if answered {
            self.ringing = None;
        }
        let Some(ringing) = &mut self.ringing else { return false };
        let (voltage, says) = ringing.millisecond();
        self.says.extend(says.unwrap_or_default());
        voltage
    }

    /// What the exchange makes of the loop: seized, pulses, a flash, released.
    fn exchange_sees(&mut self, at: u64, closed: bool, fed: bool, told: &mut Vec<Told>) {
        let port = self.number;
        if closed != self.loop_seen {
            let was_ms = self.loop_ms;
            self.loop_seen = closed;
            self.loop_ms = 0;
            if closed && !self.busy {
                self.busy = true;
                told.push(Told::Loop { port, at, closed: true });
            } else if closed && fed && was_ms <= PULSE_MS_MAX {
                self.pulses += 1;
            } else if closed {
                told.push(Told::Flash { port, at, ms: was_ms });
            }
        }
        self.loop_ms += 1;
        if closed && self.pulses > 0 && self.loop_ms >= DIGIT_MS {
            let digit = char::from_digit(self.pulses % 10, 10).unwrap_or('?');
            told.push(Told::Digit { port, at, digit, pulses: true });
            self.pulses = 0;
        }
        // What the exchange opened itself is no hanging up.
        let released = !closed && (self.loop_ms > FLASH_MS_MAX || !self.off_hook);
        if self.busy && released && fed {
            self.busy = false;
            self.pulses = 0;
            told.push(Told::Loop { port, at, closed: false });
        }
    }

    /// What the port makes of the line: ringing, reversal, breaks, battery, another telephone.
    fn watch(&mut self, voltage: bool, fed: bool, events: &mut Vec<(usize, String)>) {
        let number = self.number;
        let mut event = |text: String| events.push((number, text));
        if voltage && !self.off_hook {
            self.voltage_ms += 1;
            self.quiet_ms = 0;
        } else {
            self.voltage_ms = 0;
            self.quiet_ms += 1;
        }
        if !self.rings && self.voltage_ms >= RING_ON_MS {
            self.rings = true;
            event(String::from("RING on"));
        }
        if self.rings && self.quiet_ms >= RING_OFF_MS {
            self.rings = false;
            event(String::from("RING off"));
        }
        self.polarity_ms = if self.reversed == self.polarity_told { 0 } else { self.polarity_ms + 1 };
        if self.polarity_ms >= POLARITY_MS && fed {
            self.polarity_told = self.reversed;
            event(format!("POL {}", if self.reversed { "r" } else { "n" }));
        }
        if fed {
            let broken_ms = std::mem::take(&mut self.dead_ms);
            if !self.battery_told {
                self.battery_told = true;
                event(String::from("BATT back"));
            } else if self.off_hook && broken_ms >= self.settings.break_min_ms {
                event(format!("LOOP {broken_ms}"));
            }
        } else {
            self.dead_ms += 1;
            if self.dead_ms == BATTERY_MS {
                self.battery_told = false;
                event(String::from("BATT lost"));
            }
        }
        if self.use_told != self.in_use {
            self.use_told = self.in_use;
            event(format!("USE {}", if self.in_use { "on" } else { "off" }));
        }
    }

    fn sound_millisecond(
        &mut self,
        at: u64,
        voltage: bool,
        closed: bool,
        played: &[i16; 8],
        captured: &mut [i16; 8],
        told: &mut Vec<Told>,
    ) {
        // The exchange says it whether or not somebody is off hook.
        let speaks = !self.says.is_empty();
        let mut said = [0; 8];
        for sample in &mut said {
            *sample = match self.says.pop_front() {
                Some(sample) => sample,
                None => self.tone.as_mut().map_or(0, Tone::sample),
            };
        }
        if speaks && self.says.is_empty() {
            told.push(Told::Said { port: self.number, at });
        }
        // On hook the port listens as well, only not while it rings.
        if !voltage && (closed || !self.off_hook) {
            *captured = said;
        }
        let heard = if closed { *played } else { [0; 8] };
        self.heard.add(&heard);
        if let Some(digit) = self.ear.hear(&heard) {
            told.push(Told::Digit { port: self.number, at, digit, pulses: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        port: LinePort,
        at: u64,
        events: Vec<(usize, String)>,
        told: Vec<Told>,
    }

    impl Bench {
        fn new() -> Self {
            Self { port: LinePort::new(1), at: 0, events: Vec::new(), told: Vec::new() }
        }

        fn run(&mut self, ms: u64) -> Vec<String> {
            for _ in 0..ms {
                self.port.millisecond(self.at, &[0; 8], &mut [0; 8], &mut self.events, &mut self.told);
                self.at += 8;
            }
            self.events.drain(..).map(|(_, text)| text).collect()
        }
    }

    #[test]
    fn ringing_is_seen_and_ends_with_the_answer() {
        let mut bench = Bench::new();
        bench.port.ring(Ringing::new(vec![400, 200, 400, 2_000], None));
        assert_eq!(bench.run(1_500), ["RING on", "RING off", "RING on", "RING off"]);
        assert_eq!(bench.run(1_600), ["RING on"]);
        bench.port.hook(true);
        assert_eq!(bench.run(200), ["RING off"]);
        assert_eq!(bench.told, [Told::Loop { port: 1, at: 3_100 * 8, closed: true }]);
        assert!(bench.run(5_000).is_empty());
    }

    #[test]
    fn caller_id_lies_where_it_was_to_lie() {
        for (after, begins_ms) in [(0, 0), (1, 1_000 + 500), (2, 4_000 + 500)] {
            let mut bench = Bench::new();
            bench.port.ring(Ringing::new(vec![1_000, 2_000], Some((after, 500, vec![9; 800]))));
            let mut captured = Vec::new();
            for _ in 0..6_000 {
                let mut eight = [0; 8];
                bench.port.millisecond(0, &[0; 8], &mut eight, &mut bench.events, &mut bench.told);
                captured.extend(eight);
            }
            let begins = captured.iter().position(|sample| *sample == 9).unwrap();
            assert_eq!(begins / 8, begins_ms, "after {after}");
            assert_eq!(captured.iter().filter(|sample| **sample == 9).count(), 800);
        }
    }

    #[test]
    fn the_exchange_understands_the_port() {
        let mut bench = Bench::new();
        bench.port.hook(true);
        bench.run(100);
        assert_eq!((bench.port.dial(3), bench.port.dial(0)), (Some(true), Some(true)));
        assert!(bench.port.flash(600));
        bench.run(5_000);
        bench.port.hook(false);
        bench.run(100);
        assert_eq!((bench.port.dial(1), bench.port.flash(600)), (None, false));
        let told: Vec<String> = bench
            .told
            .iter()
            .map(|told| {
                let told = serde_json::to_value(told).unwrap();
                let word = |key: &str| told.get(key).map(|value| format!(" {value}")).unwrap_or_default();
                format!(
                    "{}{}{}{}",
                    told["event"].as_str().unwrap(),
                    word("closed"),
                    word("digit"),
                    word("ms")
                )
            })
            .collect();
        assert_eq!(told, ["loop true", "digit \"3\"", "digit \"0\"", "flash 600", "loop false"]);
    }

    #[test]
    fn what_the_exchange_does_to_the_line_is_seen() {
        let mut bench = Bench::new();
        bench.port.hook(true);
        bench.run(100);
        bench.port.open_loop(250);
        assert_eq!(bench.run(400), ["LOOP 250"]);
        bench.port.open_loop(40);
        assert!(bench.run(400).is_empty());
        bench.port.reverse(true);
        assert_eq!(bench.run(100), ["POL r"]);
        bench.port.battery(false);
        assert_eq!(bench.run(1_100), ["BATT lost"]);
        bench.port.battery(true);
        assert_eq!(bench.run(10), ["BATT back"]);
        bench.port.in_use(true);
        assert_eq!(bench.run(10), ["USE on"]);
        assert_eq!(bench.port.standing(), "hook=off ring=off pol=r batt=on use=on");
    }
}
