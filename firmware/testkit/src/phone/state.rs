//! What the phone's thread and its owner share.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tipring_model::Digit;

use super::heard::{Heard, HeardPacket};
use super::sound::HEARD_PACKETS_MAX;
use super::{Observer, PhoneEvent};

pub(super) enum Command {
    Register,
    Call(String),
    Answer,
    Say(Vec<i16>),
    Press(Vec<Digit>),
    HangUp,
    Stop,
}

#[derive(Default)]
struct State {
    commands: VecDeque<Command>,
    /// What nobody has waited for yet.
    events: VecDeque<(Instant, PhoneEvent)>,
    heard: Heard,
}

pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    observer: Option<Observer>,
}

impl Shared {
    pub(super) fn new(observer: Option<Observer>) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), observer }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn command(&self, command: Command) {
        self.state().commands.push_back(command);
    }

    pub(super) fn next_command(&self) -> Option<Command> {
        self.state().commands.pop_front()
    }

    pub(super) fn happened(&self, event: PhoneEvent) {
        if let Some(observer) = &self.observer {
            observer(&event);
        }
        self.state().events.push_back((Instant::now(), event));
        self.changed.notify_all();
    }

    pub(super) fn hear(&self, packet: HeardPacket) {
        let packets = &mut self.state().heard.packets;
        if packets.len() < HEARD_PACKETS_MAX {
            packets.push(packet);
        }
    }

    pub(super) fn heard(&self) -> Heard {
        self.state().heard.clone()
    }

    pub(super) fn forget(&self) {
        self.state().heard = Heard::default();
    }

    /// Waits until `pick` takes an event; the earlier ones are passed over. On time-out, what
    /// was passed over.
    pub(super) fn wait<T>(
        &self,
        until: Instant,
        mut pick: impl FnMut(&PhoneEvent) -> Option<T>,
    ) -> Result<T, Vec<PhoneEvent>> {
        let mut passed = Vec::new();
        let mut state = self.state();
        loop {
            while let Some((_, event)) = state.events.pop_front() {
                if let Some(picked) = pick(&event) {
                    return Ok(picked);
                }
                passed.push(event);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(passed);
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
