//! A line is tried out without a call: a telephone rings or hears a tone, a line of the exchange
//! is taken, listened to and measured.
//!
//! Pure, like the machines: `now` and inputs in, outputs out, one timer. It runs in the place of
//! the line's machine while nobody has the line, and is over as soon as anybody wants it: a call,
//! a receiver, a caller. **Limits:** a telephone rings 60 s at most and hears a tone for 10 s; an
//! exchange line is held for 20 s at most.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use super::contract::{Heard, HeardTone, Listen};
use super::gauges::Levels;
use crate::port::linecard::Reading;
use crate::port::{Cadence, PortKind, RxSignal, TxSignal};

/// A telephone rings so long at most.
pub const RING_MAX_S: u8 = 60;
/// A telephone hears a tone for so long.
const TONE_FOR: Duration = Duration::from_secs(10);
/// A card measures within this, or not at all.
const METER_MAX: Duration = Duration::from_millis(500);
/// An exchange line is looked at for so long before it is taken: ringing wins.
const LOOK: Duration = Duration::from_millis(300);
/// Dial tone is waited for no longer.
const DIAL_TONE_MAX: Duration = Duration::from_secs(10);
/// After dial tone is broken by a key, or after none was heard, so long until the line's own noise
/// is measured: the meter falls by 35 dB a second.
const NOISE_AFTER: Duration = Duration::from_millis(2_500);
/// The noise of the box is played for so long to learn and measure the echo.
const ECHO_FOR: Duration = Duration::from_millis(2_500);
/// Whatever is tried is over by then.
pub const TRY_OUT_MAX: Duration = Duration::from_secs(RING_MAX_S as u64 + 5);

/// What is tried out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TryOut {
    /// A telephone rings for so many seconds, 1 to 60.
    Ring {
        /// How long.
        seconds: u8,
    },
    /// A telephone whose receiver is up hears a tone for ten seconds. An exchange line is taken,
    /// and dial tone is waited for.
    Tone(TestTone),
    /// Whatever can be measured: volts and milliamperes; of an exchange line also dial tone,
    /// noise and echo.
    Test,
}

/// What a telephone hears.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TestTone {
    /// The country's dial tone.
    Dial,
    /// 1,004 Hz at −10 dBm0, to measure the level.
    Level,
}

impl fmt::Display for TryOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring { seconds } => write!(f, "ring for {seconds} s"),
            Self::Tone(TestTone::Dial) => f.write_str("dial tone"),
            Self::Tone(TestTone::Level) => f.write_str("tone of 1004 Hz"),
            Self::Test => f.write_str("test"),
        }
    }
}

/// Why a line is not tried out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum TryOutRefusal {
    /// There is no such analog line.
    #[error("there is no such analog line")]
    NoLine,
    /// Its device is not there.
    #[error("the device of the line is not there")]
    NoDevice,
    /// A call has the line, it rings, the receiver is up, or it rests after a call or a try-out.
    #[error("the line is busy: a call has it, it rings, the receiver is up, or it rests for a moment")]
    Busy,
    /// A telephone that is to hear a tone has its receiver down.
    #[error("the receiver is down: lift it, and try again while dial tone is heard")]
    ReceiverDown,
    /// Nothing is plugged in at the exchange line, or another telephone has it.
    #[error("the line cannot be taken: no battery, or another telephone has it")]
    NotToBeTaken,
    /// A line of the exchange cannot be rung.
    #[error("a line of the exchange cannot be rung: only a telephone can")]
    WrongKind,
    /// It is being tried out already.
    #[error("the line is being tried out already")]
    Running,
    /// 1 to 60 seconds of ringing.
    #[error("a telephone rings for 1 to 60 seconds")]
    OutOfRange,
}

/// How it came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TryOutEnd {
    /// It was done to the end.
    Done,
    /// The receiver was lifted.
    Lifted,
    /// The receiver was put down, or its hook was pressed.
    PutDown,
    /// A key was pressed, or dialled.
    Dialled,
    /// A call wanted the line, or the exchange rang.
    Call,
    /// The battery went, or another telephone took the line.
    LineLost,
    /// The device went.
    DeviceGone,
    /// Whoever asked no longer waits.
    CalledOff,
}

/// An echo, as it was measured.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct EchoFigures {
    /// By how much weaker than the sound it comes back from line and card, in dB.
    pub return_loss_db: f32,
    /// By how much weaker still the canceller makes it, in dB.
    pub cancelled_db: f32,
}

/// What was found.
#[derive(Clone, PartialEq, Debug)]
pub struct TryOutReport {
    /// What was tried.
    pub what: TryOut,
    /// How it came to its end.
    pub end: TryOutEnd,
    /// How long it took.
    pub lasted: Duration,
    /// Volts and milliamperes on hook.
    pub on_hook: Option<Reading>,
    /// The same off hook.
    pub off_hook: Option<Reading>,
    /// From taking an exchange line until dial tone was certain; `None` where there was none.
    pub dial_tone: Option<Duration>,
    /// Noise of the exchange line with nobody on it, in dBm0.
    pub noise_dbm0: Option<f32>,
    /// The echo.
    pub echo: Option<EchoFigures>,
}

impl fmt::Display for TryOutReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.end {
            TryOutEnd::Done => "done",
            TryOutEnd::Lifted => "over: the receiver was lifted",
            TryOutEnd::PutDown => "over: the receiver was put down",
            TryOutEnd::Dialled => "over: a key was pressed",
            TryOutEnd::Call => "over: a call wanted the line",
            TryOutEnd::LineLost => "over: the battery went, or another telephone took the line",
            TryOutEnd::DeviceGone => "over: the device went",
            TryOutEnd::CalledOff => "over: called off",
        })?;
        write!(f, " after {:.1} s", self.lasted.as_secs_f32())?;
        for (name, reading) in [("on hook", self.on_hook), ("off hook", self.off_hook)] {
            if let Some(Reading { voltage_dv, current_dma }) = reading {
                let tenths = |value: i32| f64::from(value) / 10.0;
                write!(f, ", {name} {:.1} V {:.1} mA", tenths(voltage_dv), tenths(current_dma))?;
            }
        }
        if let Some(after) = self.dial_tone {
            write!(f, ", dial tone after {} ms", after.as_millis())?;
        }
        if self.dial_tone.is_none() && self.noise_dbm0.is_some() {
            f.write_str(", no dial tone")?;
        }
        if let Some(noise) = self.noise_dbm0 {
            write!(f, ", noise {noise:.1} dBm0")?;
        }
        if let Some(EchoFigures { return_loss_db, cancelled_db }) = self.echo {
            write!(f, ", echo {return_loss_db:.1} dB weaker, {cancelled_db:.1} dB more by the canceller")?;
        }
        Ok(())
    }
}

/// What a try-out plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TestSound {
    Tone(TestTone),
    /// A key that breaks dial tone.
    Key,
    /// To measure the echo with.
    Noise,
    Quiet,
}

/// What it wants.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum TrialOutput {
    Signal(TxSignal),
    Say(TestSound),
    Listen(Listen),
    /// Volts and milliamperes.
    Meter,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Volts and milliamperes, on hook or off hook.
    Measures,
    Looks,
    WaitsForDialTone,
    MeasuresOffHook,
    IsQuiet,
    IsNoisy,
    /// A telephone rings, or hears a tone.
    Goes,
    Over,
}

/// What a try-out must know of its line.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct TrialPlan {
    pub(super) kind: PortKind,
    /// Phone port: the receiver is up.
    pub(super) is_up: bool,
    pub(super) ring: Cadence,
    /// Exchange line: digits are dialled by pulses.
    pub(super) pulse: bool,
    pub(super) dial_tone_max: Duration,
}

/// A line that is tried out. After `begin` and each `handle`, drain `poll`; [`report`](Self::report)
/// says whether it is over.
#[derive(Debug)]
pub(super) struct Trial {
    plan: TrialPlan,
    stage: Stage,
    due: Instant,
    began: Instant,
    seized: Option<Instant>,
    sounds: bool,
    listens: bool,
    rings: bool,
    report: TryOutReport,
    outputs: VecDeque<TrialOutput>,
}

impl Trial {
    pub(super) fn begin(now: Instant, what: TryOut, plan: TrialPlan) -> Self {
        let report = TryOutReport {
            what,
            end: TryOutEnd::Done,
            lasted: Duration::ZERO,
            on_hook: None,
            off_hook: None,
            dial_tone: None,
            noise_dbm0: None,
            echo: None,
        };
        let mut trial = Self {
            plan,
            stage: Stage::Goes,
            due: now + TONE_FOR,
            began: now,
            seized: None,
            sounds: false,
            listens: false,
            rings: false,
            report,
            outputs: VecDeque::new(),
        };
        match (what, plan.kind) {
            (TryOut::Ring { seconds }, _) => {
                trial.rings = true;
                trial.outputs.push_back(TrialOutput::Signal(TxSignal::Ring(plan.ring)));
                trial.due = now + Duration::from_secs(seconds.min(RING_MAX_S).into());
            }
            (TryOut::Tone(tone), PortKind::Phone) => trial.say(TestSound::Tone(tone)),
            (TryOut::Tone(_), PortKind::Line) => trial.enter(Stage::Looks, now + LOOK),
            (TryOut::Test, _) => {
                trial.outputs.push_back(TrialOutput::Meter);
                trial.enter(Stage::Measures, now + METER_MAX);
            }
        }
        trial
    }

    pub(super) fn poll(&mut self) -> Option<TrialOutput> {
        self.outputs.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (self.stage != Stage::Over).then_some(self.due)
    }

    /// What was found, once it is over.
    pub(super) fn report(&self) -> Option<&TryOutReport> {
        (self.stage == Stage::Over).then_some(&self.report)
    }

    /// The box holds the exchange line.
    pub(super) const fn is_off_hook(&self) -> bool {
        self.seized.is_some()
    }

    /// The telephone is made to ring.
    pub(super) const fn rings(&self) -> bool {
        self.rings
    }

    fn enter(&mut self, stage: Stage, due: Instant) {
        (self.stage, self.due) = (stage, due);
    }

    fn say(&mut self, sound: TestSound) {
        self.sounds = sound != TestSound::Quiet;
        self.outputs.push_back(TrialOutput::Say(sound));
    }

    /// It is over; the wire is as it was.
    pub(super) fn end(&mut self, now: Instant, end: TryOutEnd) {
        if self.stage == Stage::Over {
            return;
        }
        if self.sounds {
            self.say(TestSound::Quiet);
        }
        if std::mem::take(&mut self.listens) {
            self.outputs.push_back(TrialOutput::Listen(Listen::default()));
        }
        if std::mem::take(&mut self.rings) {
            self.outputs.push_back(TrialOutput::Signal(TxSignal::RingOff));
        }
        if self.seized.take().is_some() {
            self.outputs.push_back(TrialOutput::Signal(TxSignal::OnHook));
        }
        self.stage = Stage::Over;
        self.report.end = end;
        self.report.lasted = now - self.began;
    }

    /// The wire did this. True if it is not for the machine of the line.
    pub(super) fn signal(&mut self, now: Instant, signal: RxSignal) -> bool {
        match signal {
            RxSignal::OffHook => self.end(now, TryOutEnd::Lifted),
            RxSignal::OnHook | RxSignal::Flash { .. } => self.end(now, TryOutEnd::PutDown),
            RxSignal::Pulses(_) => self.end(now, TryOutEnd::Dialled),
            // Off hook there is no ringing.
            RxSignal::RingOn | RxSignal::RingOff => {
                if self.is_off_hook() {
                    return true;
                }
                self.end(now, TryOutEnd::Call);
            }
            RxSignal::BatteryLost | RxSignal::InUse(true) | RxSignal::NotSeized => {
                self.end(now, TryOutEnd::LineLost);
            }
            RxSignal::BatteryBack
            | RxSignal::InUse(false)
            | RxSignal::Reversed(_)
            | RxSignal::LoopBreak { .. } => {}
        }
        false
    }

    /// This was heard. True if it is not for the machine of the line.
    pub(super) fn heard(&mut self, now: Instant, heard: &Heard) -> bool {
        match heard {
            Heard::Digit(_) => self.end(now, TryOutEnd::Dialled),
            Heard::CallerId(_) => self.end(now, TryOutEnd::Call),
            Heard::Tone(HeardTone::Dial) if self.stage == Stage::WaitsForDialTone => {
                self.report.dial_tone = self.seized.map(|since| now - since);
                self.dial_tone_known(now);
            }
            Heard::Tone(_)
            | Heard::ToneEnded
            | Heard::CallerIdGarbled(_)
            | Heard::WaitingAlert
            | Heard::Voice
            | Heard::Silence(_)
            | Heard::LocalVoice(_) => {}
        }
        self.is_off_hook()
    }

    /// The card has measured, or cannot.
    pub(super) fn measured(&mut self, now: Instant, reading: Option<Reading>) {
        match self.stage {
            Stage::Measures => {
                if self.plan.is_up {
                    self.report.off_hook = reading;
                } else {
                    self.report.on_hook = reading;
                }
                self.measured_on_hook(now);
            }
            Stage::MeasuresOffHook => {
                self.report.off_hook = reading;
                self.becomes_quiet(now);
            }
            Stage::Looks
            | Stage::WaitsForDialTone
            | Stage::IsQuiet
            | Stage::IsNoisy
            | Stage::Goes
            | Stage::Over => {}
        }
    }

    /// The time of `poll_timeout` may have come.
    pub(super) fn timeout(&mut self, now: Instant, levels: Levels) {
        if now < self.due {
            return;
        }
        match self.stage {
            Stage::Measures => self.measured_on_hook(now),
            Stage::Looks => self.seize(now),
            Stage::WaitsForDialTone => self.dial_tone_known(now),
            Stage::MeasuresOffHook => self.becomes_quiet(now),
            Stage::IsQuiet => {
                self.report.noise_dbm0 = Some(levels.heard_dbm0);
                self.say(TestSound::Noise);
                self.enter(Stage::IsNoisy, now + ECHO_FOR);
            }
            Stage::IsNoisy => {
                self.report.echo = Some(EchoFigures {
                    return_loss_db: levels.played_dbm0 - levels.heard_dbm0,
                    cancelled_db: levels.cancelled_db,
                });
                self.end(now, TryOutEnd::Done);
            }
            Stage::Goes => self.end(now, TryOutEnd::Done),
            Stage::Over => {}
        }
    }

    fn measured_on_hook(&mut self, now: Instant) {
        match self.plan.kind {
            PortKind::Phone => self.end(now, TryOutEnd::Done),
            PortKind::Line => self.enter(Stage::Looks, now + LOOK),
        }
    }

    fn seize(&mut self, now: Instant) {
        self.seized = Some(now);
        self.listens = true;
        self.outputs.push_back(TrialOutput::Signal(TxSignal::OffHook));
        self.outputs.push_back(TrialOutput::Listen(Listen { tones: true, ..Listen::default() }));
        self.enter(Stage::WaitsForDialTone, now + self.plan.dial_tone_max.min(DIAL_TONE_MAX));
    }

    /// There is dial tone, or none.
    fn dial_tone_known(&mut self, now: Instant) {
        if self.report.what == TryOut::Test {
            self.outputs.push_back(TrialOutput::Meter);
            self.enter(Stage::MeasuresOffHook, now + METER_MAX);
        } else {
            self.end(now, TryOutEnd::Done);
        }
    }

    /// One key: no number, and the exchange waits for the next one in silence.
    fn becomes_quiet(&mut self, now: Instant) {
        if self.report.dial_tone.is_some() {
            if self.plan.pulse {
                self.outputs.push_back(TrialOutput::Signal(TxSignal::Pulses(1)));
            } else {
                self.say(TestSound::Key);
            }
        }
        self.enter(Stage::IsQuiet, now + NOISE_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tipring_model::{CallerId, Digit};
    use tipring_testkit::Clock;

    use crate::analog::contract::{CallerIdStandard, HeardCaller};

    const LEVELS: Levels = Levels { heard_dbm0: -58.0, played_dbm0: -16.0, cancelled_db: 31.0 };
    const VOLTS: Reading = Reading { voltage_dv: -481, current_dma: 0 };
    const LOOP: Reading = Reading { voltage_dv: -72, current_dma: 231 };

    fn plan(kind: PortKind) -> TrialPlan {
        TrialPlan {
            kind,
            is_up: false,
            ring: Cadence::RING,
            pulse: false,
            dial_tone_max: Duration::from_secs(3),
        }
    }

    struct Bench {
        trial: Trial,
        clock: Clock,
    }

    impl Bench {
        fn new(what: TryOut, plan: TrialPlan) -> Self {
            let clock = Clock::new();
            Self { trial: Trial::begin(clock.now().instant, what, plan), clock }
        }

        fn now(&self) -> Instant {
            self.clock.now().instant
        }

        fn wait_ms(&mut self, ms: u64) {
            let end = self.now() + Duration::from_millis(ms);
            while let Some(due) = self.trial.poll_timeout().filter(|due| *due <= end) {
                self.clock.advance_to(due);
                self.trial.timeout(due, LEVELS);
            }
            self.clock.advance_to(end);
        }

        fn wants(&mut self) -> Vec<TrialOutput> {
            std::iter::from_fn(|| self.trial.poll()).collect()
        }

        fn end(&self) -> Option<TryOutEnd> {
            self.trial.report().map(|report| report.end)
        }
    }

    fn signal(signal: TxSignal) -> TrialOutput {
        TrialOutput::Signal(signal)
    }

    const LISTENS: TrialOutput = TrialOutput::Listen(Listen {
        tones: true,
        digits: false,
        caller_id: false,
        voice: false,
        waiting_alert: false,
    });

    #[test]
    fn a_telephone_rings_and_stops() {
        let mut bench = Bench::new(TryOut::Ring { seconds: 4 }, plan(PortKind::Phone));
        assert_eq!(bench.wants(), [signal(TxSignal::Ring(Cadence::RING))]);
        bench.wait_ms(3_999);
        assert_eq!((bench.end(), bench.trial.rings()), (None, true));
        bench.wait_ms(1);
        assert_eq!(bench.wants(), [signal(TxSignal::RingOff)]);
        assert_eq!(bench.trial.report().unwrap().to_string(), "done after 4.0 s");
        // Whatever comes later changes nothing.
        let now = bench.now();
        bench.trial.end(now, TryOutEnd::Call);
        assert_eq!(bench.end(), Some(TryOutEnd::Done));
    }

    #[test]
    fn nobody_rings_longer_than_a_minute() {
        let mut bench = Bench::new(TryOut::Ring { seconds: 255 }, plan(PortKind::Phone));
        bench.wait_ms(u64::from(RING_MAX_S) * 1_000);
        assert_eq!(bench.end(), Some(TryOutEnd::Done));
    }

    #[test]
    fn a_receiver_that_is_lifted_ends_the_ring_and_is_the_machines() {
        let mut bench = Bench::new(TryOut::Ring { seconds: 4 }, plan(PortKind::Phone));
        bench.wants();
        let now = bench.now();
        assert!(!bench.trial.signal(now, RxSignal::OffHook));
        assert_eq!(bench.wants(), [signal(TxSignal::RingOff)]);
        assert_eq!(bench.end(), Some(TryOutEnd::Lifted));
    }

    #[test]
    fn a_telephone_hears_a_tone_until_a_key_is_pressed() {
        for what in [TestTone::Dial, TestTone::Level] {
            let plan = TrialPlan { is_up: true, ..plan(PortKind::Phone) };
            let mut bench = Bench::new(TryOut::Tone(what), plan);
            assert_eq!(bench.wants(), [TrialOutput::Say(TestSound::Tone(what))]);
            bench.wait_ms(9_000);
            let now = bench.now();
            assert!(!bench.trial.heard(now, &Heard::Digit(Digit::D1)), "the key is the machine's");
            assert_eq!(bench.wants(), [TrialOutput::Say(TestSound::Quiet)]);
            assert_eq!(bench.end(), Some(TryOutEnd::Dialled));
        }
    }

    #[test]
    fn an_exchange_line_is_measured_step_by_step() {
        let mut bench = Bench::new(TryOut::Test, plan(PortKind::Line));
        assert_eq!(bench.wants(), [TrialOutput::Meter]);
        bench.trial.measured(bench.clock.now().instant, Some(VOLTS));
        bench.wait_ms(300);
        assert_eq!(bench.wants(), [signal(TxSignal::OffHook), LISTENS]);
        bench.wait_ms(420);
        let now = bench.now();
        assert!(bench.trial.heard(now, &Heard::Tone(HeardTone::Dial)));
        assert_eq!(bench.wants(), [TrialOutput::Meter]);
        bench.trial.measured(now, Some(LOOP));
        assert_eq!(bench.wants(), [TrialOutput::Say(TestSound::Key)]);
        // Ringing voltage off hook is none.
        assert!(bench.trial.signal(now, RxSignal::RingOn));
        bench.wait_ms(2_500);
        assert_eq!(bench.wants(), [TrialOutput::Say(TestSound::Noise)]);
        bench.wait_ms(2_500);
        let after = [
            TrialOutput::Say(TestSound::Quiet),
            TrialOutput::Listen(Listen::default()),
            signal(TxSignal::OnHook),
        ];
        assert_eq!(bench.wants(), after);
        let report = bench.trial.report().unwrap();
        assert_eq!((report.on_hook, report.off_hook), (Some(VOLTS), Some(LOOP)));
        assert_eq!(
            report.to_string(),
            "done after 5.7 s, on hook -48.1 V 0.0 mA, off hook -7.2 V 23.1 mA, dial tone after 420 ms, \
             noise -58.0 dBm0, echo 42.0 dB weaker, 31.0 dB more by the canceller"
        );
    }

    #[test]
    fn a_card_that_measures_nothing_and_an_exchange_that_is_silent_end_it_in_time() {
        let mut bench = Bench::new(TryOut::Test, plan(PortKind::Line));
        bench.wait_ms(20_000);
        let report = bench.trial.report().unwrap();
        assert_eq!((report.end, report.dial_tone, report.on_hook), (TryOutEnd::Done, None, None));
        assert!(report.noise_dbm0.is_some() && report.echo.is_some());
        let wanted = bench.wants();
        // No key is sent into the dark.
        assert!(!wanted.contains(&TrialOutput::Say(TestSound::Key)), "{wanted:?}");
        assert_eq!(wanted.last(), Some(&signal(TxSignal::OnHook)));
    }

    #[test]
    fn by_pulses_no_tone_is_sent_to_the_exchange() {
        let mut bench = Bench::new(TryOut::Test, TrialPlan { pulse: true, ..plan(PortKind::Line) });
        bench.wait_ms(900);
        bench.trial.heard(bench.clock.now().instant, &Heard::Tone(HeardTone::Dial));
        bench.wait_ms(600);
        assert!(bench.wants().contains(&signal(TxSignal::Pulses(1))));
    }

    #[test]
    fn dial_tone_alone_is_waited_for() {
        let mut bench = Bench::new(TryOut::Tone(TestTone::Dial), plan(PortKind::Line));
        bench.wait_ms(3_299);
        assert_eq!(bench.end(), None);
        bench.wait_ms(1);
        assert_eq!(bench.end(), Some(TryOutEnd::Done));
        assert_eq!(bench.trial.report().unwrap().dial_tone, None);
    }

    #[test]
    fn whoever_wants_the_line_comes_first() {
        let caller = Heard::CallerId(HeardCaller {
            standard: CallerIdStandard::Bellcore,
            caller: CallerId::of("5550100"),
        });
        // Before the line is taken.
        let mut bench = Bench::new(TryOut::Test, plan(PortKind::Line));
        let now = bench.now();
        assert!(!bench.trial.heard(now, &caller), "the number is the machine's");
        assert_eq!(bench.end(), Some(TryOutEnd::Call));
        let mut bench = Bench::new(TryOut::Test, plan(PortKind::Line));
        assert!(!bench.trial.signal(now, RxSignal::RingOn), "the ring is the machine's");
        assert_eq!(bench.end(), Some(TryOutEnd::Call));
        // Afterwards.
        for (lost, end) in
            [(RxSignal::BatteryLost, TryOutEnd::LineLost), (RxSignal::InUse(true), TryOutEnd::LineLost)]
        {
            let mut bench = Bench::new(TryOut::Test, plan(PortKind::Line));
            bench.wait_ms(2_000);
            bench.wants();
            let now = bench.now();
            assert!(!bench.trial.signal(now, lost));
            assert_eq!(bench.end(), Some(end));
            assert_eq!(bench.wants().last(), Some(&signal(TxSignal::OnHook)));
        }
    }
}
