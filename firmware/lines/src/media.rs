//! The way to the media engine, shared by everything on the main thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use tipring_media::{Command, CommandSender};

/// Sends commands to the engine in order. When its ring is full they wait here:
/// the engine empties the ring every 5 ms.
#[derive(Clone)]
pub struct MediaPort(Rc<RefCell<Inner>>);

struct Inner {
    sender: CommandSender,
    waiting: VecDeque<Command>,
    refused: u64,
}

/// Commands that wait at most; beyond it the engine is dead and they are dropped.
const WAITING_MAX: usize = 16_384;

impl MediaPort {
    /// A port on the engine's one sender.
    #[must_use]
    pub fn new(sender: CommandSender) -> Self {
        Self(Rc::new(RefCell::new(Inner { sender, waiting: VecDeque::new(), refused: 0 })))
    }

    /// Sends a command.
    pub fn send(&self, command: Command) {
        let mut inner = self.0.borrow_mut();
        if inner.waiting.len() >= WAITING_MAX {
            inner.refused += 1;
            return;
        }
        inner.waiting.push_back(command);
        inner.flush();
    }

    /// Sends what waits. To be called when the engine has reported something.
    pub fn flush(&self) {
        self.0.borrow_mut().flush();
    }

    /// Commands dropped because the engine did not take them.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.borrow().refused
    }
}

impl Inner {
    fn flush(&mut self) {
        while let Some(command) = self.waiting.pop_front() {
            if let Err(full) = self.sender.send(command) {
                self.waiting.push_front(*full.0);
                return;
            }
        }
    }
}
