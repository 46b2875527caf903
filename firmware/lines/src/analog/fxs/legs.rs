//! The legs of one telephone.

use tipring_model::{CallerId, LegId};

use crate::port::Cadence;

/// Legs that a telephone has at most: one that it talks to, one that is held or waits.
pub(super) const LEGS_MAX: usize = 2;

#[derive(Clone, Debug)]
pub(super) struct Leg {
    pub(super) id: LegId,
    pub(super) state: LegState,
    /// The call came to the telephone; otherwise the telephone made it.
    pub(super) arrived: bool,
    /// Who calls; of legs that the telephone made, the number that it dialled.
    pub(super) caller: CallerId,
    /// How the telephone rings for it.
    pub(super) cadence: Cadence,
}

/// Where a leg stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LegState {
    /// The telephone dialled it, and nobody has answered.
    Calling {
        /// Its sound is heard already.
        early: bool,
    },
    /// Both sides speak.
    Talking,
    /// It was answered, and is held.
    Held,
    /// The telephone rings or beeps for it.
    Waiting,
}

impl Leg {
    /// The leg is heard at the wire.
    pub(super) const fn is_joined(&self) -> bool {
        matches!(self.state, LegState::Talking | LegState::Calling { early: true })
    }

    pub(super) const fn is_calling(&self) -> bool {
        matches!(self.state, LegState::Calling { .. })
    }

    pub(super) const fn is_answered(&self) -> bool {
        matches!(self.state, LegState::Talking | LegState::Held)
    }
}

/// At most [`LEGS_MAX`] legs, in the order of their beginning.
#[derive(Clone, Default, Debug)]
pub(super) struct Legs(Vec<Leg>);

impl Legs {
    pub(super) fn has_room(&self) -> bool {
        self.0.len() < LEGS_MAX
    }

    pub(super) fn push(&mut self, leg: Leg) {
        debug_assert!(self.has_room(), "a third leg");
        self.0.push(leg);
    }

    pub(super) fn remove(&mut self, id: LegId) -> Option<Leg> {
        let at = self.0.iter().position(|leg| leg.id == id)?;
        Some(self.0.remove(at))
    }

    pub(super) fn get(&self, id: LegId) -> Option<&Leg> {
        self.0.iter().find(|leg| leg.id == id)
    }

    pub(super) fn get_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        self.0.iter_mut().find(|leg| leg.id == id)
    }

    pub(super) fn all(&self) -> &[Leg] {
        &self.0
    }

    /// The first leg in this state.
    pub(super) fn in_state(&self, state: LegState) -> Option<LegId> {
        self.0.iter().find(|leg| leg.state == state).map(|leg| leg.id)
    }

    pub(super) fn calling(&self) -> Option<LegId> {
        self.0.iter().find(|leg| leg.is_calling()).map(|leg| leg.id)
    }

    /// Those that are talked to.
    pub(super) fn talking(&self) -> Vec<LegId> {
        self.0.iter().filter(|leg| leg.state == LegState::Talking).map(|leg| leg.id).collect()
    }

    pub(super) fn ids(&self) -> Vec<LegId> {
        self.0.iter().map(|leg| leg.id).collect()
    }

    /// A party that is left when the others are gone: held, or waiting.
    pub(super) fn aside(&self) -> Option<LegId> {
        self.in_state(LegState::Held).or_else(|| self.in_state(LegState::Waiting))
    }
}
