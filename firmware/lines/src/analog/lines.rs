//! Analog lines as they run: cards are open, machines are told what happens, and what they want
//! is done. All of it on the main thread.

use std::cell::RefCell;
use std::io;
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tipring_model::line::{LineCommand, LineEvent};
use tipring_model::{LegId, LineId};
use tokio::net::UnixDatagram;
use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_local;
use tokio::time::{sleep_until, timeout};

use super::contract::Note;
use super::desk::LineRecord;
use super::lessons::LearnedTone;
use super::switchboard::{AnalogOptions, AnalogSettings, CardStatus, Switchboard};
use super::try_out::{TRY_OUT_MAX, TryOut, TryOutRefusal, TryOutReport};
use super::watch::{Happened, PortStatus};
use crate::{LineStatus, MediaPort};

/// The last minute of a wire is copied within a period; without an answer the card is gone.
const RECORD_MAX: Duration = Duration::from_secs(1);
/// Cards that are asked to measure have done so by then.
const MEASURE_MAX: Duration = Duration::from_millis(500);

/// All analog lines. Cloning gives another handle to the same.
#[derive(Clone)]
pub struct AnalogLines(Rc<Shared>);

struct Shared {
    board: RefCell<Switchboard>,
    /// Events wait for [`AnalogLines::event`].
    has_events: Notify,
    /// The earliest timer may have changed.
    timer_changed: Notify,
    /// Something happened at a port.
    has_happened: Notify,
    /// A card has measured, or refused to.
    has_measured: Notify,
}

impl AnalogLines {
    /// Starts a thread for each card, whether it is plugged in or not, and begins to serve. Must be
    /// called within a `tokio::task::LocalSet`.
    ///
    /// # Errors
    /// No thread or no socket is to be had.
    pub fn open(
        options: AnalogOptions,
        lines: Vec<(LineId, AnalogSettings)>,
        media: MediaPort,
    ) -> io::Result<Self> {
        let (wake, woken) = StdDatagram::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let woken = UnixDatagram::from_std(woken)?;
        let board = Switchboard::open(options, lines, media, &wake)?;
        let shared = Rc::new(Shared {
            board: RefCell::new(board),
            has_events: Notify::new(),
            timer_changed: Notify::new(),
            has_happened: Notify::new(),
            has_measured: Notify::new(),
        });
        spawn_local(serve(Rc::clone(&shared), woken));
        Ok(Self(shared))
    }

    /// Tells a line what to do. What comes of it arrives as an event.
    pub fn command(&self, line: LineId, command: LineCommand) {
        self.0.with(|board, now| board.command(now, line, command));
    }

    /// Says whether messages wait for a telephone.
    pub fn set_message_waiting(&self, line: LineId, waiting: bool) {
        self.0.with(|board, now| board.messages_waiting(now, line, waiting));
    }

    /// The next event of any line.
    pub async fn event(&self) -> (LineId, LineEvent) {
        loop {
            if let Some(event) = self.try_event() {
                return event;
            }
            self.0.has_events.notified().await;
        }
    }

    /// The next event, if one waits.
    #[must_use]
    pub fn try_event(&self) -> Option<(LineId, LineEvent)> {
        self.0.board.borrow_mut().events.pop_front()
    }

    /// The next note of any leg, if one waits. To be taken before each event: what is noted of
    /// the end of a leg is there before its release.
    #[must_use]
    pub fn try_note(&self) -> Option<(LegId, Note)> {
        self.0.board.borrow_mut().notes.pop_front()
    }

    /// The next tone that a line has been heard to end calls with, if there is one: to be kept, and
    /// given back when the lines are opened next. It ends calls from now on.
    #[must_use]
    pub fn try_learned(&self) -> Option<LearnedTone> {
        self.0.board.borrow_mut().learned.pop_front()
    }

    /// The leg at the other end of a patch: a telephone has joined the two by hanging up.
    #[must_use]
    pub fn patched(&self, leg: LegId) -> Option<LegId> {
        self.0.board.borrow().patched(leg)
    }

    /// How each line stands.
    #[must_use]
    pub fn status(&self) -> Vec<LineStatus> {
        self.0.board.borrow().status()
    }

    /// Whether a line could carry a further call now: an exchange line has one at a time.
    #[must_use]
    pub fn is_free(&self, line: LineId) -> bool {
        self.0.board.borrow().is_free(line)
    }

    /// How each card stands.
    #[must_use]
    pub fn cards(&self) -> Vec<CardStatus> {
        self.0.board.borrow().cards()
    }

    /// How the port of each line stands. Volts and milliamperes are those that were
    /// [measured](Self::measure) last.
    #[must_use]
    pub fn ports(&self) -> Vec<PortStatus> {
        self.0.board.borrow().ports()
    }

    /// Asks every card that can to measure volts and milliamperes of each line, and waits for it,
    /// half a second at most.
    pub async fn measure(&self) {
        let asked = self.0.board.borrow().measure();
        let all = async {
            loop {
                let measured = self.0.has_measured.notified();
                if self.0.board.borrow().measurements >= asked {
                    return;
                }
                measured.await;
            }
        };
        // Of a card that does not answer nothing is known.
        let _ = timeout(MEASURE_MAX, all).await;
    }

    /// What happened at the ports after the happening of this number: as much as is kept, the
    /// newest thousand. Any number of watchers may look; 0 is from the beginning.
    #[must_use]
    pub fn happened_since(&self, number: u64) -> Happened {
        self.0.board.borrow().happenings.since(number)
    }

    /// The same, once there is something. Nothing is lost if it is not waited for to the end.
    pub async fn happenings(&self, after: u64) -> Happened {
        loop {
            let happened = self.0.has_happened.notified();
            if self.0.board.borrow().happenings.last() > after {
                return self.happened_since(after);
            }
            happened.await;
        }
    }

    /// The number of the last happening, to watch from now on.
    #[must_use]
    pub fn last_happening(&self) -> u64 {
        self.0.board.borrow().happenings.last()
    }

    /// Tries a line out while nobody has it, for 65 s at most. It is over when a call wants the
    /// line or its receiver moves, and when it is no longer waited for.
    ///
    /// # Errors
    /// Why it is not tried out.
    pub async fn try_out(&self, line: LineId, what: TryOut) -> Result<TryOutReport, TryOutRefusal> {
        let (answer, answered) = oneshot::channel();
        let number = self.0.with(|board, now| board.try_out(now, line, what, answer))?;
        let _asker = Asker { shared: Rc::clone(&self.0), number };
        // The lines are gone, or it has not ended: it is ended with the asker.
        let answer = timeout(TRY_OUT_MAX, answered).await;
        answer.ok().and_then(Result::ok).ok_or(TryOutRefusal::NoDevice)
    }

    /// The last minute of a line's wire, as it came; `None` without a card.
    pub async fn last_minute(&self, line: LineId) -> Option<Box<LineRecord>> {
        let (answer, answered) = oneshot::channel();
        self.0.with(|board, _| board.save(line, answer));
        timeout(RECORD_MAX, answered).await.ok()?.ok()
    }
}

/// Waits for what comes of a try-out; when it waits no longer, the try-out is over.
struct Asker {
    shared: Rc<Shared>,
    number: u64,
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.shared.with(|board, now| board.call_off(now, self.number));
    }
}

impl Shared {
    /// Does something with the lines.
    fn with<T>(&self, act: impl FnOnce(&mut Switchboard, Instant) -> T) -> T {
        let now = Instant::now();
        let mut board = self.board.borrow_mut();
        let before = board.poll_timeout(now);
        let (happened, measured) = (board.happenings.last(), board.measurements);
        let result = act(&mut board, now);
        if !board.events.is_empty() {
            self.has_events.notify_one();
        }
        if board.happenings.last() != happened {
            self.has_happened.notify_waiters();
        }
        if board.measurements != measured {
            self.has_measured.notify_waiters();
        }
        let after = board.poll_timeout(now);
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.timer_changed.notify_one();
        }
        result
    }
}

/// Looks whenever a card has something to say or a timer is due.
async fn serve(shared: Rc<Shared>, woken: UnixDatagram) {
    let mut bytes = [0; 1];
    loop {
        shared.with(Switchboard::look);
        let due = shared.board.borrow().poll_timeout(Instant::now());
        let due = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = woken.recv(&mut bytes) => while woken.try_recv(&mut bytes).is_ok() {},
            () = due => {}
            () = shared.timer_changed.notified() => {}
        }
    }
}
