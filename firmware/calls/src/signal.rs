//! What is said by a leg's signalling: by the flow to the far end, and by the far end to the flow.

use tipring_model::flow::{ActionFailure, LegEvent, Moment, Outcome};
use tipring_model::line::{LineCommand, Referral};
use tipring_model::signal::{FarSignal, LegSignal};
use tipring_model::{ActionId, LegId};

use crate::call::Call;
use crate::leg::{Leg, LegState, Purpose};

impl Call {
    /// True for a leg whose far end asks the flow, and not the box, for a transfer.
    #[must_use]
    pub fn takes_referrals(&self, leg: LegId) -> bool {
        self.leg(leg).is_some_and(|leg| leg.takes_referrals)
    }

    pub(crate) fn begin_signal(&mut self, now: Moment, id: ActionId, on: LegId, signal: Box<LegSignal>) {
        // A booth is always answered, and has no far end.
        let is_answered = |leg: &Leg| leg.state == LegState::Answered && !leg.is_booth();
        if self.leg(on).is_some_and(Leg::is_booth) {
            return self.ended(id, Outcome::Failed(ActionFailure::LegState));
        }
        match &*signal {
            LegSignal::Remark(_) if !self.leg(on).is_some_and(is_answered) => {
                return self.ended(id, Outcome::Failed(ActionFailure::LegState));
            }
            LegSignal::Refer(other) => {
                let other = *other;
                if other == on || ![on, other].iter().all(|leg| self.leg(*leg).is_some_and(is_answered)) {
                    return self.ended(id, Outcome::Failed(ActionFailure::LegState));
                }
                return self.refer_by(now, id, on, LineCommand::Signal { leg: on, signal });
            }
            LegSignal::AnswerReferral(status) => {
                let (leg, status) = (self.leg_mut(on), *status);
                if leg.is_some_and(|leg| std::mem::take(&mut leg.owes_referral)) {
                    self.line_command(LineCommand::EndTransfer { leg: on, status });
                }
                return self.ended(id, Outcome::Done);
            }
            LegSignal::Takes(takes) => {
                if let Some(leg) = self.leg_mut(on) {
                    leg.takes_referrals = takes.referrals;
                }
            }
            LegSignal::Extras(_) | LegSignal::Ringing | LegSignal::Remark(_) => {}
        }
        self.line_command(LineCommand::Signal { leg: on, signal });
        self.ended(id, Outcome::Done);
    }

    /// The flow is asked for a transfer; true if it is.
    pub(crate) fn flow_takes_referral(&mut self, id: LegId, referral: &Referral) -> bool {
        let asks = |leg: &&mut Leg| leg.takes_referrals && !leg.owes_referral;
        let Some(leg) = self.leg_mut(id).filter(asks) else { return false };
        leg.owes_referral = true;
        // The far end need not wait for its answer until the flow has one.
        self.line_command(LineCommand::EndTransfer { leg: id, status: 100 });
        self.leg_event(id, LegEvent::Signalled(Box::new(FarSignal::Referral(referral.address.clone()))));
        true
    }

    /// Nothing is owed any more to the far end that has asked the flow for a transfer.
    pub(crate) fn referral_over(&mut self, id: LegId) {
        if let Some(leg) = self.leg_mut(id) {
            leg.owes_referral = false;
        }
    }

    /// The far end says something.
    pub(crate) fn leg_signalled(&mut self, id: LegId, signal: Box<FarSignal>) {
        let Some(leg) = self.leg(id).filter(|leg| leg.state != LegState::Gone) else { return };
        match leg.purpose {
            Purpose::First | Purpose::Joined | Purpose::Own(_) if !leg.is_told_gone => {
                self.leg_event(id, LegEvent::Signalled(signal));
            }
            // Nobody speaks in a booth.
            Purpose::First
            | Purpose::Joined
            | Purpose::Own(_)
            | Purpose::Dialed(_)
            | Purpose::Paged(_)
            | Purpose::Booth(_) => {}
        }
    }
}
