//! Calls that ring at telephones, and whoever takes them from there.

use tipring_model::CallerId;
use tipring_model::flow::PickUp;

use super::{Exchange, ExchangeEvent, Pair, Seat};

/// Calls that can be taken at one time; others still ring.
const RUNG_MAX: usize = 1_024;

/// A leg that rings telephones, or talks with one that has answered.
pub(super) struct Rung {
    pub(super) seat: Seat,
    pub(super) at: Vec<String>,
    pub(super) answered: bool,
    pub(super) from: CallerId,
}

impl Exchange {
    pub(super) fn rings(&mut self, rung: Rung) {
        let known = self.rung.iter_mut().find(|known| known.seat == rung.seat);
        if rung.at.is_empty() {
            self.rung.retain(|known| known.seat != rung.seat);
        } else if let Some(known) = known {
            *known = rung;
        } else if self.rung.len() < RUNG_MAX {
            self.rung.push(rung);
        }
    }

    /// Nobody may take this call any more.
    pub fn withdraw(&mut self, call: u32) {
        self.rung.retain(|known| known.seat.call != call);
    }

    pub(super) fn pick_up(&mut self, seat: Seat, wanted: &PickUp, who: CallerId) {
        let find = |answered: bool| {
            self.rung.iter().enumerate().find_map(|(n, rung)| {
                // Nobody takes his own call.
                let may = rung.answered == answered && rung.seat.call != seat.call;
                let at = rung.at.iter().find(|at| may && wanted.at.contains(at))?;
                Some((n, at.clone()))
            })
        };
        let found = find(false).or_else(|| if wanted.answered { find(true) } else { None });
        let Some((n, at)) = found else { return self.tell(seat, ExchangeEvent::Nobody) };
        let Rung { seat: waited, from, .. } = self.rung.remove(n);
        self.pairs.push(Pair { waited, took: seat, talks: false });
        self.tell(seat, ExchangeEvent::Takes { at: at.clone(), from });
        self.tell(waited, ExchangeEvent::PickedUp { at, who });
    }
}
