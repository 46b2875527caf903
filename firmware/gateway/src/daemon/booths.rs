//! Booths: legs without a party, which the engine alone knows.

use tipring_calls::CallInput;
use tipring_media::{Command, Rate, booth};
use tipring_model::flow::Booth;
use tipring_model::line::LineEvent;
use tipring_model::{Cause, LegId};
use tokio::task::spawn_local;

use super::switchboard::{LegEntry, Switchboard};

/// Booths of all calls together: the engine has room for them beside the legs of lines.
pub(super) const BOOTHS_MAX: usize = 256;

impl Switchboard {
    pub(super) fn open_booth(&self, call: u32, leg: LegId, spec: Booth) {
        let is_full = {
            let state = self.0.state.borrow();
            state.legs.values().filter(|entry| entry.is_booth).count() >= BOOTHS_MAX
        };
        if is_full {
            return self.booth_gone(call, leg, Cause::NoCircuit);
        }
        {
            let mut state = self.0.state.borrow_mut();
            let Some(entry) = state.calls.get_mut(&call) else { return };
            entry.legs.push(leg);
            state.legs.insert(leg, LegEntry { is_booth: true, ..LegEntry::new(call, None) });
        }
        let rate = if spec.wide { Rate::Wide } else { Rate::Narrow };
        self.0.media.send(Command::attach(leg, booth(rate)));
    }

    pub(super) fn is_booth(&self, leg: LegId) -> bool {
        self.0.state.borrow().legs.get(&leg).is_some_and(|entry| entry.is_booth)
    }

    pub(super) fn close_booth(&self, call: u32, leg: LegId) {
        self.0.media.send(Command::Detach { leg });
        self.booth_gone(call, leg, Cause::NormalClearing);
    }

    /// The engine has as many legs as it may.
    pub(super) fn booth_refused(&self, leg: LegId) {
        let booth =
            self.0.state.borrow().legs.get(&leg).filter(|entry| entry.is_booth).map(|entry| entry.call);
        if let Some(call) = booth {
            self.booth_gone(call, leg, Cause::NoCircuit);
        }
    }

    fn booth_gone(&self, call: u32, leg: LegId, cause: Cause) {
        self.0.state.borrow_mut().legs.remove(&leg);
        let board = self.clone();
        // The call has said all it had to say before it hears of this.
        spawn_local(async move {
            board.handle(call, CallInput::Line(LineEvent::Released { leg, cause, status: None }));
        });
    }
}
