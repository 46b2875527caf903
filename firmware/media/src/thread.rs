//! The media thread: the only place here that reads a clock.
//!
//! One sleep a slot. While legs are attached the thread wakes every 5 ms on a grid of
//! the monotonic clock, reads the sockets that have something, and ticks. Sockets of
//! legs that relay wake it in between and are served at once; when they would do so
//! more than sixteen hundred times a second, they are served once a slot instead,
//! since a wake-up costs more than the packet. A command to play wakes it as well, so
//! that nobody waits for a slot to hear the first sound. Without legs it sleeps until a
//! command comes.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::{
    event::{Timespec, epoll},
    mm::{MlockAllFlags, mlockall},
    thread::nanosleep,
};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

use crate::{
    engine::{Engine, SLOT_MS, SocketSet},
    wake::Wake,
};

const SLOT: Duration = Duration::from_millis(SLOT_MS);
/// Slots made up for after a stall; what is beyond is left out.
const CATCH_UP_SLOTS: u32 = 8;
/// Relayed packets in one slot, those of some sixteen calls, above which they are
/// gathered until the slot is due: 2.5 ms of delay on average, where waking for each
/// would cost several times what passing it on does.
const GATHER_ABOVE: u64 = 8;
/// Readiness events read at a time.
const READY_MAX: usize = 64;
/// Names the command descriptor among the sockets.
const COMMANDS: u64 = u64::MAX;

/// How the thread is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThreadOptions {
    /// Real-time priority (SCHED_FIFO, 1 to 99), if wanted.
    pub priority: Option<u8>,
    /// Whether memory in use is locked against paging.
    pub lock_memory: bool,
}

impl Default for ThreadOptions {
    /// Priority 50, memory locked.
    fn default() -> Self {
        Self { priority: Some(50), lock_memory: true }
    }
}

/// Whether something that needs a privilege was granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Granted {
    /// It was not asked for.
    NotAsked,
    /// It is in force.
    Yes,
    /// The system refused. Everything works, with less certain timing.
    No,
}

/// Counters of the thread; read at any time.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    slots: AtomicU64,
    late: AtomicU64,
    left_out: AtomicU64,
    worst_late_us: AtomicU64,
    legs: AtomicU64,
    relayed: AtomicU64,
    events_dropped: AtomicU64,
}

/// What the thread has been through.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ThreadCounters {
    /// Slots gone through.
    pub slots: u64,
    /// Slots begun more than one slot late.
    pub late: u64,
    /// Slots left out after a stall of more than 40 ms.
    pub left_out: u64,
    /// The latest beginning, in microseconds.
    pub worst_late_us: u64,
    /// Legs attached now.
    pub legs: u64,
    /// Packets relayed untouched.
    pub relayed: u64,
    /// Digits and silences not told because the event ring was full, and digits not
    /// passed on because the hearer had too much to play.
    pub events_dropped: u64,
}

/// Why the thread could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The system has no more descriptors.
    #[error("no descriptor for the media thread")]
    Descriptors(#[source] io::Error),
    /// The system has no more threads.
    #[error("the media thread cannot be started")]
    Thread(#[source] io::Error),
}

/// The running thread. Dropping it stops it.
pub struct MediaThread {
    join: Option<JoinHandle<Engine>>,
    shared: Arc<Shared>,
    wake: Arc<Wake>,
    realtime: Granted,
    memory_locked: Granted,
}

impl MediaThread {
    /// Starts a thread for `engine`. From here on the engine's event receiver has a
    /// descriptor.
    ///
    /// # Errors
    /// See [`SpawnError`]. Real-time priority and locked memory are never a reason.
    pub fn spawn(mut engine: Engine, options: ThreadOptions) -> Result<Self, SpawnError> {
        let wake = Arc::clone(&engine.wake);
        wake.open().map_err(SpawnError::Descriptors)?;
        let open = || epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from);
        let sets = Sets {
            quick: Arc::new(open().map_err(SpawnError::Descriptors)?),
            slow: Arc::new(open().map_err(SpawnError::Descriptors)?),
            slow_count: Arc::default(),
        };
        if let Some(commands) = wake.commands.get() {
            watch(&sets.quick, commands.as_fd(), COMMANDS)
                .map_err(|error| SpawnError::Descriptors(error.into()))?;
        }
        engine.set_sockets(Box::new(sets.clone()));
        let memory_locked = match options.lock_memory {
            false => Granted::NotAsked,
            // What is touched later stays; nothing is touched for the sake of it.
            true => match mlockall(MlockAllFlags::CURRENT | MlockAllFlags::ONFAULT) {
                Ok(()) => Granted::Yes,
                Err(_) => Granted::No,
            },
        };
        let shared = Arc::new(Shared::default());
        let (told, asked) = std::sync::mpsc::sync_channel(1);
        let run = Run {
            engine,
            sets,
            shared: Arc::clone(&shared),
            wake: Arc::clone(&wake),
            passed_on: 0,
            gathers: false,
        };
        let join = std::thread::Builder::new()
            .name("media".into())
            .spawn(move || {
                // The spawner is gone if nobody takes the answer.
                let _ = told.send(become_realtime(options.priority));
                run.run()
            })
            .map_err(SpawnError::Thread)?;
        Ok(Self {
            join: Some(join),
            shared,
            wake,
            realtime: asked.recv().unwrap_or(Granted::No),
            memory_locked,
        })
    }

    /// Whether the thread has real-time priority.
    #[must_use]
    pub const fn realtime(&self) -> Granted {
        self.realtime
    }

    /// Whether memory is locked.
    #[must_use]
    pub const fn memory_locked(&self) -> Granted {
        self.memory_locked
    }

    /// True if the thread has ended, which it does of itself only by a panic.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.join.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> ThreadCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ThreadCounters {
            slots: read(&self.shared.slots),
            late: read(&self.shared.late),
            left_out: read(&self.shared.left_out),
            worst_late_us: read(&self.shared.worst_late_us),
            legs: read(&self.shared.legs),
            relayed: read(&self.shared.relayed),
            events_dropped: read(&self.shared.events_dropped),
        }
    }

    /// Stops the thread at its next slot and gives the engine back, with all legs that
    /// are still attached; `None` if it had panicked.
    #[must_use]
    pub fn stop(mut self) -> Option<Engine> {
        self.end()
    }

    fn end(&mut self) -> Option<Engine> {
        self.shared.stop.store(true, Ordering::Release);
        Wake::signal(self.wake.commands.get());
        self.join.take()?.join().ok()
    }
}

impl Drop for MediaThread {
    fn drop(&mut self) {
        self.end();
    }
}

fn become_realtime(priority: Option<u8>) -> Granted {
    let Some(priority) = priority else {
        return Granted::NotAsked;
    };
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let granted = ThreadPriorityValue::try_from(priority).is_ok_and(|value| {
        let wanted = ThreadPriority::Crossplatform(value);
        set_thread_priority_and_policy(thread_native_id(), wanted, policy).is_ok()
    });
    if granted { Granted::Yes } else { Granted::No }
}

/// The sockets: those of relaying legs, and all others.
#[derive(Clone)]
struct Sets {
    quick: Arc<OwnedFd>,
    slow: Arc<OwnedFd>,
    /// Sockets in the slow set. Only the media thread counts.
    slow_count: Arc<AtomicUsize>,
}

impl Sets {
    fn put(&self, place: usize, socket: BorrowedFd<'_>, quick: bool) {
        let set = if quick { &self.quick } else { &self.slow };
        // A socket that cannot be watched is one that is not heard; its silence is
        // reported as any other.
        let _ = watch(set, socket, place as u64);
        self.slow_count.fetch_add(usize::from(!quick), Ordering::Relaxed);
    }

    fn take(&self, socket: BorrowedFd<'_>, quick: bool) {
        let set = if quick { &self.quick } else { &self.slow };
        let _ = epoll::delete(set, socket);
        self.slow_count.fetch_sub(usize::from(!quick), Ordering::Relaxed);
    }
}

fn watch(set: &OwnedFd, socket: BorrowedFd<'_>, name: u64) -> rustix::io::Result<()> {
    let name = epoll::EventData::new_u64(name);
    epoll::add(set, socket, name, epoll::EventFlags::IN)
}

impl SocketSet for Sets {
    fn add(&mut self, place: usize, socket: BorrowedFd<'_>) {
        self.put(place, socket, false);
    }

    fn remove(&mut self, socket: BorrowedFd<'_>, quick: bool) {
        self.take(socket, quick);
    }

    fn set_quick(&mut self, place: usize, socket: BorrowedFd<'_>, quick: bool) {
        self.take(socket, !quick);
        self.put(place, socket, quick);
    }
}

/// The only look at the clock.
#[expect(clippy::disallowed_methods, reason = "the thread is where time enters")]
fn clock() -> Instant {
    Instant::now()
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}

struct Run {
    engine: Engine,
    sets: Sets,
    shared: Arc<Shared>,
    wake: Arc<Wake>,
    /// Packets passed on until the slot before.
    passed_on: u64,
    /// There are so many that they are gathered.
    gathers: bool,
}

/// Tells whoever waits for events that there will be no more, however the thread ends.
struct LastWord(Arc<Wake>);

impl Drop for LastWord {
    fn drop(&mut self) {
        Wake::signal(self.0.events.get());
    }
}

impl Run {
    fn run(mut self) -> Engine {
        let _last_word = LastWord(Arc::clone(&self.wake));
        let mut due = clock();
        while !self.shared.stop.load(Ordering::Acquire) {
            if self.engine.is_idle() && !self.engine.has_commands() {
                self.sleep();
                due = clock();
                continue;
            }
            let now = clock();
            if now < due {
                self.relay_until(now, due);
                continue;
            }
            self.note_lateness(now - due);
            self.drain(now);
            self.engine.tick(now);
            self.tell();
            self.publish();
            due += SLOT;
            let behind = clock().saturating_duration_since(due);
            if behind > SLOT * CATCH_UP_SLOTS {
                let slots = (behind.as_nanos() / SLOT.as_nanos()) as u32;
                self.shared.left_out.fetch_add(u64::from(slots), Ordering::Relaxed);
                due += SLOT * slots;
            }
        }
        self.engine
    }

    /// Sleeps until a command comes.
    fn sleep(&mut self) {
        self.wake.idle.store(true, Ordering::SeqCst);
        // The twin of the fence in `CommandSender::send`.
        fence(Ordering::SeqCst);
        if self.engine.has_commands() || self.shared.stop.load(Ordering::SeqCst) {
            self.wake.idle.store(false, Ordering::SeqCst);
            return;
        }
        self.wait(None);
        self.wake.idle.store(false, Ordering::SeqCst);
    }

    /// Serves relaying legs until the slot is due or nothing more is to be done.
    fn relay_until(&mut self, now: Instant, due: Instant) {
        if self.gathers {
            // An interrupted sleep is only a shorter one.
            let _ = nanosleep(&timespec(due - now));
            while self.wait(Some(Duration::ZERO)) == READY_MAX {}
        } else {
            self.wait(Some(due - now));
        }
    }

    /// Waits for sockets of relaying legs and for the command descriptor, and serves
    /// what is ready; says how much that was.
    fn wait(&mut self, timeout: Option<Duration>) -> usize {
        let timeout = timeout.map(timespec);
        let mut ready = [NOTHING; READY_MAX];
        let count = epoll::wait(&*self.sets.quick, &mut ready[..], timeout.as_ref()).unwrap_or(0);
        if count == 0 {
            return 0;
        }
        let now = clock();
        for event in &ready[..count] {
            match event.data.u64() {
                COMMANDS => {
                    Wake::clear(self.wake.commands.get());
                    // Where packets are gathered, the slot is due by now.
                    if !self.gathers && !self.engine.is_idle() {
                        self.engine.begin_early(now);
                    }
                }
                place => {
                    self.engine.relay(now, place as usize);
                }
            }
        }
        self.tell();
        count
    }

    /// Wakes whoever waits for events, if there are any.
    fn tell(&mut self) {
        if self.engine.take_pushed() {
            Wake::signal(self.wake.events.get());
        }
    }

    /// Reads the sockets of all other legs that have something.
    fn drain(&mut self, now: Instant) {
        if self.sets.slow_count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut ready = [NOTHING; READY_MAX];
        let mut left = self.shared.legs.load(Ordering::Relaxed) as usize + 1;
        while left > 0 {
            let none = Timespec::default();
            let count = epoll::wait(&*self.sets.slow, &mut ready[..], Some(&none)).unwrap_or(0);
            for event in &ready[..count] {
                self.engine.drain_ready(now, event.data.u64() as usize);
            }
            // Ready sockets are reported in turn, so each is served about once.
            if count < READY_MAX {
                break;
            }
            left = left.saturating_sub(count);
        }
    }

    fn note_lateness(&self, late: Duration) {
        let late_us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        if late > SLOT {
            self.shared.late.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.worst_late_us.fetch_max(late_us, Ordering::Relaxed);
    }

    fn publish(&mut self) {
        let counters = self.engine.counters();
        let passed_on = counters.relayed + counters.converted;
        self.gathers = passed_on - self.passed_on > GATHER_ABOVE;
        self.passed_on = passed_on;
        let shared = &self.shared;
        shared.slots.store(counters.slots, Ordering::Relaxed);
        shared.legs.store(counters.legs as u64, Ordering::Relaxed);
        shared.relayed.store(counters.relayed, Ordering::Relaxed);
        shared.events_dropped.store(counters.events_dropped, Ordering::Relaxed);
    }
}

/// An empty place for a readiness event.
const NOTHING: epoll::Event =
    epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
