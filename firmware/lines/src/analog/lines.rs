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
use super::switchboard::{AnalogOptions, AnalogSettings, CardStatus, Switchboard};
use crate::{LineStatus, MediaPort};

/// The last minute of a wire is copied within a period; without an answer the card is gone.
const RECORD_MAX: Duration = Duration::from_secs(1);

/// All analog lines. Cloning gives another handle to the same.
#[derive(Clone)]
pub struct AnalogLines(Rc<Shared>);

struct Shared {
    board: RefCell<Switchboard>,
    /// Events wait for [`AnalogLines::event`].
    has_events: Notify,
    /// The earliest timer may have changed.
    timer_changed: Notify,
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

    /// The last minute of a line's wire, as it came; `None` without a card.
    pub async fn last_minute(&self, line: LineId) -> Option<Box<LineRecord>> {
        let (answer, answered) = oneshot::channel();
        self.0.with(|board, _| board.save(line, answer));
        timeout(RECORD_MAX, answered).await.ok()?.ok()
    }
}

impl Shared {
    /// Does something with the lines.
    fn with<T>(&self, act: impl FnOnce(&mut Switchboard, Instant) -> T) -> T {
        let now = Instant::now();
        let mut board = self.board.borrow_mut();
        let before = board.poll_timeout(now);
        let result = act(&mut board, now);
        if !board.events.is_empty() {
            self.has_events.notify_one();
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
