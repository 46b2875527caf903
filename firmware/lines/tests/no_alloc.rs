//! The desk of a card allocates nothing and frees nothing while its thread runs: a counting
//! allocator watches every kind of sound, everything that is listened for, and legs that come and
//! go. The session of a modem does not either while there is a call. A control proves that the
//! counter counts.
#![expect(unsafe_code, reason = "an allocator cannot be counted without being one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use tipring_lines::analog::contract::{CallerIdStandard, Listen, Sound};
use tipring_lines::analog::desk::{Desk, DeskCommand, DeskFact, DeskLink, LineRecord, PortPlan};
use tipring_lines::analog::ears::{EarPlan, LearnedDetector};
use tipring_lines::analog::endpoint::{PortEndpoint, leg_sound};
use tipring_lines::analog::voice::{Script, SoundPlan};
use tipring_lines::port::SampleTime;
use tipring_lines::port::TxSignal;
use tipring_lines::port::linecard::{CardSound, PERIOD_FRAMES, PortPeriod};
use tipring_lines::port::v253::{Input, ModemSettings, Output, Session, SessionState};
use tipring_media::dsp::tone_detect::ToneKind;
use tipring_media::{Endpoint, Frame, Rate};
use tipring_model::prompt::CallTone;
use tipring_model::{CallerId, Digits, LegId};
use tipring_testkit::linecard::Order;
use tipring_testkit::modem::{self, Modem};

struct Counting;

thread_local! {
    /// What this thread has allocated and freed while `WATCHED`.
    static COUNTED: Cell<u64> = const { Cell::new(0) };
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    if WATCHED.get() {
        COUNTED.set(COUNTED.get() + 1);
    }
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count();
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts what `act` allocates and frees.
fn watched(act: impl FnOnce()) -> u64 {
    COUNTED.set(0);
    WATCHED.set(true);
    act();
    WATCHED.set(false);
    COUNTED.get()
}

#[test]
fn the_counter_counts() {
    assert!(watched(|| drop(std::hint::black_box(Box::new(1)))) >= 2);
}

struct Bench {
    desk: Desk,
    link: DeskLink,
    at: u64,
    counted: u64,
    leg: Option<PortEndpoint>,
    ended: usize,
}

impl Bench {
    fn tell(&mut self, command: DeskCommand) {
        assert!(self.link.commands.push(command).is_ok());
    }

    /// The wire hears itself, weaker, so that there is an echo and something to listen to.
    fn run(&mut self, ms: usize) {
        let mut period = PortPeriod { heard: [0; PERIOD_FRAMES], play: [0; PERIOD_FRAMES] };
        for _ in 0..ms / 10 {
            period.heard = period.play.map(|sample| sample / 4);
            self.counted +=
                watched(|| self.desk.period(SampleTime(self.at), std::slice::from_mut(&mut period)));
            self.at += PERIOD_FRAMES as u64;
            if let Some(leg) = self.leg.as_mut().filter(|_| self.at.is_multiple_of(160)) {
                let mut frame = Frame::silence(Rate::Narrow);
                self.counted += watched(|| {
                    leg.receive(Instant::now(), &mut frame);
                    leg.send(Instant::now(), &frame);
                    // Twice: the ring is full in the end, and the reader behind.
                    leg.pass(Instant::now());
                });
            }
            while let Ok(fact) = self.link.facts.pop() {
                self.ended += usize::from(matches!(fact, DeskFact::SoundEnded { .. }));
            }
        }
    }
}

#[test]
fn a_desk_at_work_allocates_nothing() {
    let sounds = SoundPlan::default();
    let ears = EarPlan {
        tones: vec![(ToneKind::Dial, sounds.dial), (ToneKind::Busy, sounds.busy)],
        learned: vec![sounds.congestion],
        learns: true,
        caller_id: CallerIdStandard::Bellcore,
    };
    let (desk, link) =
        Desk::new(&[PortPlan { ears, heard_gain_db: 3.0, played_gain_db: -3.0, leaves_echo: false }], None);
    let mut bench = Bench { desk, link, at: 0, counted: 0, leg: None, ended: 0 };
    let all = Listen { digits: true, tones: true, caller_id: true, voice: true, waiting_alert: true };
    let caller = CallerId::of("5550100");
    let played = [
        Sound::Tone(CallTone::Busy),
        Sound::StutterTone,
        Sound::WaitingTone,
        Sound::Howler,
        Sound::Digits(Digits::parse("12#").unwrap()),
        Sound::CallerId(caller.clone()),
        Sound::WaitingCallerId(caller),
        Sound::MessageLamp(true),
        Sound::Quiet,
    ];
    for (number, listen) in [(1, all), (2, Listen::default()), (3, all)] {
        bench.tell(DeskCommand::Listen { port: 0, listen });
        let (leg, (endpoint, sound)) = (LegId::placed(1, number), leg_sound());
        bench.leg = Some(endpoint);
        bench.tell(DeskCommand::Attach { port: 0, leg, sound });
        bench.tell(DeskCommand::Join { port: 0, leg, joined: true });
        for sound in &played {
            let script = sounds.script(sound, None);
            bench.tell(DeskCommand::Say { port: 0, number, script });
            bench.run(2_000);
        }
        bench.tell(DeskCommand::Say { port: 0, number, script: Script::Noise });
        bench.run(1_000);
        let detector = LearnedDetector::new(&[sounds.busy]);
        bench.tell(DeskCommand::Learn { port: 0, detector });
        bench.tell(DeskCommand::Save { port: 0, record: Box::<LineRecord>::default() });
        bench.tell(DeskCommand::Detach { port: 0, leg });
        bench.run(200);
    }
    assert_eq!(bench.counted, 0);
    // Keys, the two callers and the lamp, each time.
    assert_eq!(bench.ended, 3 * 4);
}

/// A session and the modem in software, a millisecond at a time.
struct Call {
    session: Session,
    modem: Modem,
    now: Instant,
    counted: u64,
    periods: u64,
}

impl Call {
    fn give(&mut self, input: Input<'_>) {
        self.session.handle(self.now, input);
        while let Some(output) = self.session.poll() {
            if let Output::Write(bytes) = output {
                self.modem.bytes(&bytes);
            }
        }
    }

    /// Lets time pass until the session is there.
    fn until(&mut self, state: SessionState) {
        let end = self.now + Duration::from_secs(10);
        while self.session.state() != state {
            assert!(self.now < end, "{:?}", self.session.state());
            self.modem.millisecond();
            self.now += Duration::from_millis(1);
            let bytes = self.modem.take_bytes();
            self.give(Input::Bytes(&bytes));
            self.give(Input::Timeout);
        }
    }

    /// What the thread does with what came in a millisecond.
    fn talk(&mut self, ms: u64) {
        for _ in 0..ms {
            self.modem.millisecond();
            self.now += Duration::from_millis(1);
            let bytes = self.modem.take_bytes();
            let mut periods = 0;
            self.counted += watched(|| {
                self.session.handle(self.now, Input::Bytes(&bytes));
                if self.session.poll_timeout().is_some_and(|at| at <= self.now) {
                    self.session.handle(self.now, Input::Timeout);
                }
                while let Some(period) = self.session.next_period() {
                    self.session.play(&period);
                    periods += 1;
                }
                while self.session.poll().is_some() {}
            });
            self.periods += periods;
            let out = self.session.sound_out();
            self.modem.bytes(out);
            out.clear();
        }
    }
}

#[test]
fn a_call_on_a_modem_allocates_nothing() {
    let now = Instant::now();
    let settings = ModemSettings { serial_path: String::new(), chip: None, country: None };
    let modem = Modem::new(modem::ModemSettings::new(modem::Chip::Conexant));
    let mut call = Call { session: Session::new(now, settings), modem, now, counted: 0, periods: 0 };
    call.give(Input::Opened);
    call.until(SessionState::Idle);
    call.give(Input::Signal(TxSignal::OffHook));
    call.until(SessionState::Audio);
    let hz = vec![440.0, 1_000.0];
    call.modem.carry_out(Order::Tone { port: 1, hz, cadence: Vec::new(), level_dbm0: -3.0 }).unwrap();
    for letter in ['b', 'b', 'd', 'l', 'P', 'p', 'u', 'o', 'x'] {
        call.modem.carry_out(Order::Event { letter }).unwrap();
        call.talk(1_000);
    }
    assert!(call.periods > 800, "{}", call.periods);
    assert_eq!(call.counted, 0);
}
