//! A phone port of the card, and the telephone behind it.

use std::collections::VecDeque;

use super::order::Told;
use super::record::Record;

/// A contact that moves for less is a bounce.
const BOUNCE_MS: u32 = 5;
/// The receiver is lifted when the loop was closed for so long.
const LIFTED_MS: u32 = 20;
/// Openings up to this are pulses of a dial.
const PULSE_MS_MAX: u32 = 120;
/// A digit is over when no pulse came for so long.
const DIGIT_MS: u32 = 250;

/// What is set by `CONF`.
#[derive(Clone, Copy, Debug)]
pub(super) struct PhoneSettings {
    pub(super) flash_min_ms: u32,
    pub(super) flash_max_ms: u32,
    pub(super) pulses: bool,
}

impl PhoneSettings {
    pub(super) const DEFAULT: Self = Self { flash_min_ms: 200, flash_max_ms: 900, pulses: true };
}

/// A phone port with its telephone.
pub(super) struct PhonePort {
    number: usize,
    pub(super) settings: PhoneSettings,
    // The telephone.
    closed: bool,
    /// Positions of the hook still to be taken, each for so long.
    moves: VecDeque<(bool, u32)>,
    says: VecDeque<i16>,
    pub(super) heard: Record,
    // The port.
    off_hook: bool,
    /// How long the loop has been as it is.
    since_ms: u32,
    loop_was: bool,
    pulses: u32,
    idle_ms: u32,
    ring: Option<Ringing>,
    bell: bool,
    reversed: bool,
    lamp: bool,
    dropped_ms: u32,
    on_hook_audio_ms: u32,
}

struct Ringing {
    steps_ms: Vec<u32>,
    step: usize,
    left_ms: u32,
}

impl PhonePort {
    pub(super) fn new(number: usize) -> Self {
        Self {
            number,
            settings: PhoneSettings::DEFAULT,
            closed: false,
            moves: VecDeque::new(),
            says: VecDeque::new(),
            heard: Record::default(),
            off_hook: false,
            since_ms: 0,
            loop_was: false,
            pulses: 0,
            idle_ms: 0,
            ring: None,
            bell: false,
            reversed: false,
            lamp: false,
            dropped_ms: 0,
            on_hook_audio_ms: 0,
        }
    }

    pub(super) fn off_hook(&self) -> bool {
        self.off_hook
    }

    // What the telephone does.

    pub(super) fn hook(&mut self, closed: bool) {
        self.moves.clear();
        self.closed = closed;
    }

    pub(super) fn flash(&mut self, ms: u32) {
        self.moves.extend([(false, ms), (true, 1)]);
    }

    pub(super) fn pulse(&mut self, digits: &str) {
        for digit in digits.chars().filter_map(|digit| digit.to_digit(10)) {
            for _ in 0..if digit == 0 { 10 } else { digit } {
                self.moves.extend([(false, 60), (true, 40)]);
            }
            self.moves.push_back((true, 700));
        }
    }

    pub(super) fn say(&mut self, samples: &[i16]) {
        self.says.extend(samples);
    }

    pub(super) fn silence(&mut self) {
        self.says.clear();
    }

    // What the card does.

    /// As a session begins or ends.
    pub(super) fn rest(&mut self, at: u64, told: &mut Vec<Told>) {
        self.settings = PhoneSettings::DEFAULT;
        self.ring = None;
        self.on_hook_audio_ms = 0;
        self.dropped_ms = 0;
        self.reverse(at, false, told);
        self.light(at, false, told);
    }

    /// `false` while the receiver is lifted.
    pub(super) fn ring(&mut self, steps_ms: Vec<u32>) -> bool {
        if self.off_hook {
            return false;
        }
        let left_ms = steps_ms.first().copied().unwrap_or_default();
        self.ring = Some(Ringing { steps_ms, step: 0, left_ms });
        true
    }

    pub(super) fn stop_ring(&mut self) {
        self.ring = None;
    }

    pub(super) fn reverse(&mut self, at: u64, on: bool, told: &mut Vec<Told>) {
        if self.reversed != on {
            self.reversed = on;
            told.push(Told::Reversed { port: self.number, at, on });
        }
    }

    pub(super) fn light(&mut self, at: u64, on: bool, told: &mut Vec<Told>) {
        if self.lamp != on {
            self.lamp = on;
            told.push(Told::Lamp { port: self.number, at, on });
        }
    }

    pub(super) fn drop_battery(&mut self, at: u64, ms: u32, told: &mut Vec<Told>) {
        if self.dropped_ms == 0 {
            told.push(Told::Battery { port: self.number, at, on: false });
        }
        self.dropped_ms = ms;
    }

    pub(super) fn on_hook_audio(&mut self, ms: u32) {
        self.on_hook_audio_ms = ms;
    }

    /// One millisecond: what the card plays goes to the telephone, what it says comes back.
    pub(super) fn millisecond(
        &mut self,
        at: u64,
        played: &[i16; 8],
        captured: &mut [i16; 8],
        events: &mut Vec<(usize, String)>,
        told: &mut Vec<Told>,
    ) {
        self.contact();
        self.watch_hook(events);
        self.bell(at, told);
        if self.dropped_ms > 0 {
            self.dropped_ms -= 1;
            if self.dropped_ms == 0 {
                told.push(Told::Battery { port: self.number, at, on: true });
            }
        }
        let fed = self.dropped_ms == 0;
        let talks = self.off_hook && self.loop_was && fed;
        let hears = (talks || (self.on_hook_audio_ms > 0 && fed)) && !self.bell;
        self.on_hook_audio_ms = self.on_hook_audio_ms.saturating_sub(1);
        self.heard.add(if hears { played } else { &[0; 8] });
        if talks && !self.says.is_empty() {
            for sample in captured.iter_mut() {
                *sample = self.says.pop_front().unwrap_or_default();
            }
            if self.says.is_empty() {
                told.push(Told::Said { port: self.number, at });
            }
        }
    }

    /// Moves the hook.
    fn contact(&mut self) {
        if let Some((closed, left_ms)) = self.moves.front_mut() {
            self.closed = *closed;
            *left_ms = left_ms.saturating_sub(1);
            if *left_ms == 0 {
                self.moves.pop_front();
            }
        }
    }

    /// What the port makes of the loop: lifted, put down, a flash, pulses.
    fn watch_hook(&mut self, events: &mut Vec<(usize, String)>) {
        let mut event = |text: String| events.push((self.number, text));
        if self.dropped_ms > 0 {
            return;
        }
        if self.closed != self.loop_was {
            let open_ms = self.since_ms;
            self.since_ms = 0;
            self.loop_was = self.closed;
            if self.closed && self.off_hook {
                self.idle_ms = 0;
                let settings = self.settings;
                if (settings.flash_min_ms..=settings.flash_max_ms).contains(&open_ms) {
                    event(format!("FLASH {open_ms}"));
                } else if settings.pulses && (BOUNCE_MS..=PULSE_MS_MAX).contains(&open_ms) {
                    self.pulses += 1;
                }
            }
        }
        self.since_ms += 1;
        if !self.off_hook && self.loop_was && self.since_ms == LIFTED_MS {
            self.off_hook = true;
            self.ring = None;
            event(String::from("HOOK off"));
        }
        if self.off_hook && !self.loop_was && self.since_ms > self.settings.flash_max_ms {
            self.off_hook = false;
            self.pulses = 0;
            event(String::from("HOOK on"));
        }
        self.idle_ms += 1;
        if self.pulses > 0 && self.loop_was && self.idle_ms >= DIGIT_MS {
            event(format!("PULSE {}", self.pulses % 10));
            self.pulses = 0;
        }
    }

    /// The ringing voltage; it stops as soon as the loop is closed.
    fn bell(&mut self, at: u64, told: &mut Vec<Told>) {
        if let Some(ring) = &mut self.ring {
            while ring.left_ms == 0 {
                ring.step = (ring.step + 1) % ring.steps_ms.len().max(1);
                ring.left_ms = ring.steps_ms.get(ring.step).copied().unwrap_or(1).max(1);
            }
            ring.left_ms -= 1;
        }
        let bell = self.ring.as_ref().is_some_and(|ring| ring.step.is_multiple_of(2));
        if bell != self.bell {
            self.bell = bell;
            told.push(Told::Ring { port: self.number, at, on: bell });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(port: &mut PhonePort, ms: u32) -> Vec<String> {
        let (mut events, mut told) = (Vec::new(), Vec::new());
        for _ in 0..ms {
            port.millisecond(0, &[0; 8], &mut [0; 8], &mut events, &mut told);
        }
        events.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn the_hook_is_understood() {
        let mut port = PhonePort::new(1);
        port.hook(true);
        assert_eq!(run(&mut port, 100), ["HOOK off"]);
        port.pulse("305");
        assert_eq!(run(&mut port, 4_000), ["PULSE 3", "PULSE 0", "PULSE 5"]);
        port.flash(400);
        assert_eq!(run(&mut port, 600), ["FLASH 400"]);
        port.hook(false);
        run(&mut port, 100);
        port.hook(true);
        assert!(run(&mut port, 100).is_empty(), "a pulse is no hanging up");
        assert_eq!(run(&mut port, 300), ["PULSE 1"]);
        port.hook(false);
        assert_eq!(run(&mut port, 1_500), ["HOOK on"]);
    }

    #[test]
    fn the_bell_rings_in_its_cadence_until_the_receiver_is_lifted() {
        let mut port = PhonePort::new(1);
        assert!(port.ring(vec![40, 20, 40, 200]));
        let (mut events, mut told) = (Vec::new(), Vec::new());
        for ms in 0..610 {
            if ms == 560 {
                port.hook(true);
            }
            port.millisecond(ms, &[0; 8], &mut [0; 8], &mut events, &mut told);
        }
        let bell: Vec<(u64, bool)> = told
            .iter()
            .filter_map(|told| if let Told::Ring { at, on, .. } = told { Some((*at, *on)) } else { None })
            .collect();
        assert_eq!(
            bell,
            [
                (0, true),
                (40, false),
                (60, true),
                (100, false),
                (300, true),
                (340, false),
                (360, true),
                (400, false)
            ]
        );
        assert_eq!(events.len(), 1);
        assert!(!port.ring(vec![40, 20]), "not while it is lifted");
    }

    #[test]
    fn sound_needs_the_receiver_or_the_window_before_it() {
        let mut port = PhonePort::new(1);
        let (mut events, mut told) = (Vec::new(), Vec::new());
        let mut captured = [0; 8];
        port.say(&[7; 12]);
        port.millisecond(0, &[5; 8], &mut captured, &mut events, &mut told);
        assert_eq!((captured, port.heard.samples()), ([0; 8], vec![0; 8]));
        port.on_hook_audio(1);
        port.millisecond(0, &[5; 8], &mut captured, &mut events, &mut told);
        assert_eq!((captured, port.heard.samples()[8..].to_vec()), ([0; 8], vec![5; 8]));
        port.hook(true);
        run(&mut port, LIFTED_MS - 1);
        port.millisecond(9, &[6; 8], &mut captured, &mut events, &mut told);
        assert_eq!(captured, [7; 8]);
        port.millisecond(9, &[6; 8], &mut captured, &mut events, &mut told);
        assert_eq!(captured, [7, 7, 7, 7, 0, 0, 0, 0]);
        assert_eq!(told, [Told::Said { port: 1, at: 9 }]);
        assert_eq!(port.heard.samples().last(), Some(&6));
    }
}
