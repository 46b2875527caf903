//! One party, as the call sees it.

use std::collections::VecDeque;
use std::time::Instant;

use tipring_model::call::LegRecord;
use tipring_model::line::Supervision;
use tipring_model::{ActionId, Cause, Digit, LegId};

/// Digits kept for the next collection; more are dropped.
const TYPED_AHEAD_MAX: usize = 64;

/// Where a leg stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LegState {
    /// Arrived, not answered; alerted says whether the caller was told that
    /// somebody rings.
    Offered {
        alerted: bool,
    },
    /// Placed, not answered.
    Placed {
        alerting: bool,
    },
    Answered,
    /// The line was told to release it.
    Releasing,
    Gone,
}

/// Whom a leg is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// The leg that the call began with.
    First,
    /// It has called the flow's session.
    Joined,
    /// A target of this Dial.
    Dialed(ActionId),
    /// A target of this Page.
    Paged(ActionId),
    /// Placed by the flow for its own use.
    Own(ActionId),
    /// A leg without a party, opened by this Booth.
    Booth(ActionId),
}

#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) id: LegId,
    pub(crate) purpose: Purpose,
    pub(crate) state: LegState,
    pub(crate) to: String,
    pub(crate) began: Instant,
    pub(crate) answered: Option<(Instant, Supervision)>,
    pub(crate) gone: Option<(Instant, Cause)>,
    /// The line was told to release it before it was gone.
    pub(crate) is_let_go: bool,
    /// The flow was told that it is gone.
    pub(crate) is_told_gone: bool,
    /// What its far end asks for goes to the flow.
    pub(crate) takes_referrals: bool,
    /// The flow owes an answer to that.
    pub(crate) owes_referral: bool,
    /// Sound passes before the answer.
    pub(crate) is_early: bool,
    pub(crate) typed_ahead: VecDeque<Digit>,
    /// The other party while they are bridged.
    pub(crate) peer: Option<LegId>,
    pub(crate) plays: u32,
}

impl Leg {
    pub(crate) fn new(id: LegId, purpose: Purpose, state: LegState, to: String, now: Instant) -> Self {
        Self {
            id,
            purpose,
            state,
            to,
            began: now,
            answered: None,
            gone: None,
            is_let_go: false,
            is_told_gone: false,
            takes_referrals: false,
            owes_referral: false,
            is_early: false,
            typed_ahead: VecDeque::new(),
            peer: None,
            plays: 0,
        }
    }

    /// Keeps a digit for the next collection.
    pub(crate) fn keep_digit(&mut self, digit: Digit) {
        if self.typed_ahead.len() < TYPED_AHEAD_MAX {
            self.typed_ahead.push_back(digit);
        }
    }

    pub(crate) const fn is_booth(&self) -> bool {
        matches!(self.purpose, Purpose::Booth(_))
    }

    pub(crate) const fn is_live(&self) -> bool {
        !matches!(self.state, LegState::Releasing | LegState::Gone)
    }

    /// True once it can be heard, and hear.
    pub(crate) fn has_sound(&self) -> bool {
        self.state == LegState::Answered || (self.is_early && self.is_live())
    }

    pub(crate) fn record(&self, call_began: Instant, now: Instant) -> LegRecord {
        let (end, cause) = self.gone.unwrap_or((now, Cause::Unspecified));
        LegRecord {
            leg: self.id,
            to: self.to.clone(),
            began_after: self.began - call_began,
            answered_after: self.answered.map(|(at, _)| at - self.began),
            supervision: self.answered.map(|(_, supervision)| supervision),
            lasted: end - self.began,
            cause,
        }
    }
}
