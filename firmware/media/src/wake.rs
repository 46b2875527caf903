//! The two rings' ends outside the engine, and how each side wakes the other.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering, fence},
    },
};

use rtrb::{Consumer, Producer};
use rustix::event::{EventfdFlags, eventfd};

use crate::command::{Command, Event};

/// Shared by engine, thread and the two ends outside. Without a thread the
/// descriptors are absent and nobody is woken.
#[derive(Default)]
pub(crate) struct Wake {
    pub(crate) commands: OnceLock<OwnedFd>,
    pub(crate) events: OnceLock<OwnedFd>,
    /// The thread sleeps without a time-out: a command must wake it.
    pub(crate) idle: AtomicBool,
}

impl Wake {
    /// Creates the descriptors.
    pub(crate) fn open(&self) -> io::Result<()> {
        let open = || eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC);
        // A second thread on one engine cannot be: the engine is moved into it.
        let _ = self.commands.set(open()?);
        let _ = self.events.set(open()?);
        Ok(())
    }

    pub(crate) fn signal(descriptor: Option<&OwnedFd>) {
        if let Some(descriptor) = descriptor {
            // It can only fail when the counter is full: then it is signalled.
            let _ = rustix::io::write(descriptor, &1u64.to_ne_bytes());
        }
    }

    pub(crate) fn clear(descriptor: Option<&OwnedFd>) {
        if let Some(descriptor) = descriptor {
            // It can only fail when nothing is signalled.
            let _ = rustix::io::read(descriptor, &mut [0u8; 8]);
        }
    }
}

/// The command ring is full; the command comes back.
#[derive(thiserror::Error)]
#[error("the engine's command ring is full")]
pub struct CommandsFull(pub Box<Command>);

impl core::fmt::Debug for CommandsFull {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("CommandsFull")
    }
}

/// Where commands go in. One owner; several senders are funnelled by their task.
pub struct CommandSender {
    pub(crate) ring: Producer<Command>,
    pub(crate) wake: Arc<Wake>,
}

impl CommandSender {
    /// Sends one command; it takes effect at the beginning of the next slot, at most
    /// 5 ms from now, and one that lets a party hear something at once. Wakes the media
    /// thread for that, and if it sleeps for want of legs.
    ///
    /// # Errors
    /// [`CommandsFull`] if the engine is behind by `commands_max` commands.
    pub fn send(&mut self, command: Command) -> Result<(), CommandsFull> {
        let hurries = matches!(command, Command::Play { .. });
        let pushed = self.ring.push(command);
        // Between the push and the look at `idle`, as its twin in the thread between
        // setting `idle` and the look at the ring: one of the two sees the other.
        fence(Ordering::SeqCst);
        if self.wake.idle.swap(false, Ordering::SeqCst) || hurries {
            Wake::signal(self.wake.commands.get());
        }
        pushed.map_err(|rtrb::PushError::Full(command)| CommandsFull(Box::new(command)))
    }

    /// Commands that can be sent at once.
    #[must_use]
    pub fn room(&self) -> usize {
        self.ring.slots()
    }
}

/// Where events come out.
pub struct EventReceiver {
    pub(crate) ring: Consumer<Event>,
    pub(crate) wake: Arc<Wake>,
}

impl EventReceiver {
    /// The next event, if there is one. Drain it until `None` after each wake-up.
    pub fn poll(&mut self) -> Option<Event> {
        self.ring.pop().ok()
    }

    /// The descriptor that becomes readable when events wait; none without a thread.
    /// After waiting on it, [`clear`](Self::clear) first, then drain.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.wake.events.get().map(AsFd::as_fd)
    }

    /// Makes the descriptor unreadable until the next event.
    pub fn clear(&self) {
        Wake::clear(self.wake.events.get());
    }

    /// True once the engine is gone and every event has been read.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ring.is_abandoned() && self.ring.is_empty()
    }
}
