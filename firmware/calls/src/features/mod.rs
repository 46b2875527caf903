//! What several dialects need and what takes a dialogue with the caller: one file each. A
//! feature is a small program that runs inside one action; what it asks for is done by the
//! same call core, and the flow hears only how it ended.

pub mod mailbox;
pub(crate) mod voicemail;

use std::cell::Cell;

use tipring_model::flow::{Action, Moment, Outcome};
use tipring_model::{ActionId, LegId};

use crate::actions::Work;
use crate::call::Call;
use crate::contract::CallOutput;
use mailbox::{MailboxReply, MailboxRequest};

/// Actions that a feature begins are named in this half of the numbers.
const OF_FEATURE: u32 = 0x8000_0000;
/// Actions that one feature may begin; then it is ended.
const ACTIONS_MAX: u32 = 4_096;
/// Flows may have so many actions before the names of features could meet.
const OWNERS: u32 = OF_FEATURE / ACTIONS_MAX;

/// A program inside an action.
pub(crate) trait Feature {
    /// Takes one input; the first is [`FeatureInput::Begin`].
    fn handle(&mut self, input: FeatureInput);
    /// The next thing that it wants.
    fn poll(&mut self) -> Option<FeatureOutput>;
}

/// What a feature is told.
pub(crate) enum FeatureInput {
    Begin,
    /// An action that it began is over.
    Ended(ActionId, Outcome),
    Mailbox(MailboxReply),
    /// The flow no longer wants it, or the leg is gone: it ends like this, after what has to
    /// be put away.
    Stop(Outcome),
}

/// What a feature wants.
pub(crate) enum FeatureOutput {
    Start(ActionId, Box<Action>),
    Cancel(ActionId),
    Mailbox(MailboxRequest),
    /// It is over.
    End(Outcome),
}

/// Names for the actions of a feature.
pub(crate) struct Ids {
    first: u32,
    used: Cell<u32>,
}

impl Ids {
    /// Those of the feature in action `owner`.
    pub(crate) const fn of(owner: ActionId) -> Self {
        Self { first: OF_FEATURE + (owner.0 % OWNERS) * ACTIONS_MAX, used: Cell::new(0) }
    }

    /// The next; the last comes again when all are used, and the core then refuses it.
    pub(crate) fn next(&self) -> ActionId {
        let used = self.used.get();
        self.used.set((used + 1).min(ACTIONS_MAX - 1));
        ActionId(self.first + used)
    }
}

/// True for an action that a feature began.
pub(crate) const fn is_of_feature(id: ActionId) -> bool {
    id.0 >= OF_FEATURE
}

/// The action in which the feature runs that began this one.
pub(crate) const fn owner_of(id: ActionId) -> ActionId {
    ActionId((id.0 - OF_FEATURE) / ACTIONS_MAX)
}

impl Call {
    pub(crate) fn begin_feature(&mut self, now: Moment, id: ActionId, on: LegId, feature: Box<dyn Feature>) {
        self.run(id, on, None, Work::Feature(feature));
        self.feature_input(now, id, FeatureInput::Begin);
    }

    /// Tells the feature in action `id`, and does what it wants.
    pub(crate) fn feature_input(&mut self, now: Moment, id: ActionId, input: FeatureInput) {
        let mut input = Some(input);
        loop {
            let Some(running) = self.running.iter_mut().find(|running| running.id == id) else { return };
            let (Work::Feature(feature), Some(leg)) = (&mut running.work, running.leg) else { return };
            if let Some(input) = input.take() {
                feature.handle(input);
            }
            match feature.poll() {
                None => return,
                Some(FeatureOutput::Start(id, action)) => self.begin_action(now, id, Some(leg), *action),
                Some(FeatureOutput::Cancel(id)) => self.cancel_action(now, id),
                Some(FeatureOutput::Mailbox(request)) => {
                    if let MailboxRequest::Keep { file, .. }
                    | MailboxRequest::Greeting { file: Some(file), .. } = &request
                    {
                        self.recordings.retain(|known| known != file);
                    }
                    self.outputs.push_back(CallOutput::Mailbox(id, request));
                }
                Some(FeatureOutput::End(outcome)) => {
                    let left: Vec<ActionId> = self.running.iter().map(|running| running.id).collect();
                    for left in left.into_iter().filter(|left| is_of_feature(*left) && owner_of(*left) == id)
                    {
                        self.cancel_action(now, left);
                    }
                    return self.end_action(id, outcome);
                }
            }
        }
    }
}
