//! Transfers that telephones ask for: which of them make sense.

use std::collections::HashSet;

use tipring_model::line::{LineCommand, Referral};
use tipring_model::{LegId, LineId};

use super::switchboard::Switchboard;

impl Switchboard {
    /// True if the call may be asked. Otherwise the far end has been told.
    ///
    /// Somebody real has to be left: transfers of transfers could otherwise join two patches,
    /// or two flows, which talk with each other for ever.
    pub(super) fn may_transfer(&self, leg: LegId, referral: &Referral) -> bool {
        let other = referral.replaces;
        let calls = {
            let state = self.0.state.borrow();
            let call_of = |leg: LegId| state.legs.get(&leg).map(|entry| entry.call);
            (call_of(leg), other.map(call_of))
        };
        let fits = match calls {
            (Some(_), None) => true,
            (Some(call), Some(Some(second))) => call != second,
            (None, _) | (Some(_), Some(None)) => false,
        };
        if other.is_none() && calls.0.is_some_and(|call| self.flow_is_asked(call, leg)) {
            return true;
        }
        let going: Vec<LegId> = [Some(leg), other].into_iter().flatten().collect();
        let starts: Vec<u32> = [calls.0, calls.1.flatten()].into_iter().flatten().collect();
        if fits && self.somebody_is_left(&going, starts) {
            if let Some(call) = calls.0.filter(|_| self.0.plan.is_emergency(referral.to.as_str())) {
                self.0.exchange.borrow_mut().withdraw(call);
            }
            return true;
        }
        tracing::info!(code = "TR-SIP-TRANSFER-ALONE", %leg, "transfer refused");
        let line = self.0.state.borrow().legs.get(&leg).and_then(|entry| entry.line);
        if let Some(line) = line {
            self.0.lines.command(line, LineCommand::EndTransfer { leg, status: 603 });
        }
        false
    }

    /// Whether the call's own flow decides what becomes of it.
    fn flow_is_asked(&self, call: u32, leg: LegId) -> bool {
        self.0.state.borrow().calls.get(&call).is_some_and(|entry| entry.call.takes_referrals(leg))
    }

    /// Whether anybody but those who go is in these calls, or in others that are patched to them.
    fn somebody_is_left(&self, going: &[LegId], mut calls: Vec<u32>) -> bool {
        if going.iter().any(|leg| self.0.exchange.borrow().has_company(*leg)) {
            return true;
        }
        let state = self.0.state.borrow();
        let mut seen: HashSet<u32> = HashSet::new();
        while let Some(call) = calls.pop() {
            if !seen.insert(call) {
                continue;
            }
            for (leg, _) in
                state.legs.iter().filter(|(leg, entry)| entry.call == call && !going.contains(leg))
            {
                match self.0.lines.patched(*leg) {
                    None => return true,
                    Some(beyond) => calls.extend(state.legs.get(&beyond).map(|entry| entry.call)),
                }
            }
        }
        false
    }

    /// Writes down that another telephone speaks on a leg.
    pub(super) fn leg_moved(&self, line: LineId, leg: LegId) {
        let mut state = self.0.state.borrow_mut();
        let Some(entry) = state.legs.get_mut(&leg) else { return };
        entry.line = Some(line);
        let call = entry.call;
        if let Some(entry) = state.calls.get_mut(&call) {
            entry.lines.insert(leg, line);
        }
        tracing::info!(%leg, line = self.line_name(Some(line)), "another telephone took the call");
    }
}
