//! What is said by a leg's signalling: by the flow to the far end, and by the far end to the flow.

use tipring_model::flow::{LegEvent, Outcome};
use tipring_model::line::LineCommand;
use tipring_model::signal::{FarSignal, LegSignal};
use tipring_model::{ActionId, LegId};

use crate::call::Call;
use crate::leg::{LegState, Purpose};

impl Call {
    pub(crate) fn begin_signal(&mut self, id: ActionId, on: LegId, signal: Box<LegSignal>) {
        self.line_command(LineCommand::Signal { leg: on, signal });
        self.ended(id, Outcome::Done);
    }

    /// The far end says something.
    pub(crate) fn leg_signalled(&mut self, id: LegId, signal: Box<FarSignal>) {
        let Some(leg) = self.leg(id).filter(|leg| leg.state != LegState::Gone) else { return };
        match leg.purpose {
            Purpose::First | Purpose::Own(_) if !leg.is_told_gone => {
                self.leg_event(id, LegEvent::Signalled(signal));
            }
            Purpose::First | Purpose::Own(_) | Purpose::Dialed(_) | Purpose::Paged(_) => {}
        }
    }
}
