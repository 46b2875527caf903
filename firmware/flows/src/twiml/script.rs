//! One document under way on one leg, and what it waits for.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tipring_model::flow::Action;
use tipring_model::{ActionId, Cause, FetchId, LegId};

use super::dial::Dialing;
use super::gather::Gather;
use super::names::Name;
use super::queue::Stay;
use super::record::Recorder;
use super::request::Pending;
use super::room::Room;
use super::stream::Duplex;
use crate::loads::Loads;
use crate::xml::Element;

/// A verb under way.
#[derive(Clone, Debug)]
pub(super) struct Verb {
    pub(super) element: Rc<Element>,
    pub(super) name: Name,
    pub(super) path: String,
}

/// What a script is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// The call's own.
    Main,
    /// It runs on somebody who answered, before he is connected.
    Screen,
    /// It is heard in a queue.
    InQueue,
    /// It is heard in a room that has not begun.
    InRoom,
    /// It is heard by somebody who is called out of a queue.
    Announce,
}

impl Role {
    /// What stands before the places of its verbs.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Screen => "screen:",
            Self::InQueue | Self::InRoom => "wait:",
            Self::Announce => "announce:",
        }
    }

    /// Whether a verb may run.
    pub(super) const fn takes(self, name: Name) -> bool {
        match self {
            Self::Main => !matches!(name, Name::Leave),
            Self::Screen | Self::Announce => matches!(
                name,
                Name::Say
                    | Name::Play
                    | Name::Pause
                    | Name::Gather
                    | Name::Redirect
                    | Name::Hangup
                    | Name::Set
                    | Name::Reject
            ),
            Self::InQueue => matches!(
                name,
                Name::Say
                    | Name::Play
                    | Name::Pause
                    | Name::Gather
                    | Name::Redirect
                    | Name::Hangup
                    | Name::Leave
                    | Name::Set
            ),
            Self::InRoom => matches!(name, Name::Say | Name::Play | Name::Pause | Name::Redirect),
        }
    }
}

/// What comes after a row of actions.
#[derive(Debug)]
pub(super) enum Then {
    /// The next verb.
    Next,
    /// A Gather that nobody could answer.
    NoInput(Box<Gather>),
    /// The recording that the tone was for.
    Record(Box<Recorder>),
    /// The document that a callee hears, if there is one.
    Screen,
}

/// What a script waits for before its next verb.
#[derive(Debug)]
pub(super) enum Waiting {
    Nothing,
    /// The answer that a verb needs first.
    Answer(ActionId, Verb),
    /// Actions one after the other.
    Row {
        action: ActionId,
        rest: VecDeque<Action>,
        verb: Verb,
        began: Instant,
        failed: Option<&'static str>,
        then: Then,
    },
    Gather {
        action: ActionId,
        gather: Box<Gather>,
        began: Instant,
    },
    Record {
        action: ActionId,
        recorder: Box<Recorder>,
        began: Instant,
    },
    Dial {
        action: ActionId,
        dialing: Box<Dialing>,
        began: Instant,
    },
    /// The recording of a conversation that is over.
    DialRecord(Box<Dialing>),
    Room {
        action: ActionId,
        room: Box<Room>,
        began: Instant,
    },
    Queue {
        action: ActionId,
        stay: Box<Stay>,
        began: Instant,
    },
    Stream {
        action: ActionId,
        duplex: Box<Duplex>,
        began: Instant,
    },
    Refer(ActionId, Verb),
    Fetch {
        fetch: FetchId,
        pending: Box<Pending>,
    },
    /// A load that must keep its distance from the last one.
    Held {
        until: Instant,
        pending: Box<Pending>,
    },
    /// The answer before hanging up.
    HangUp(ActionId, &'static str),
    /// The box's own "something is wrong" prompt.
    Sorry(ActionId),
    /// Something else ends it: it was told to stop, or plays without end.
    Idle(Option<ActionId>),
}

impl Waiting {
    /// The action that runs, unless it is one that others end.
    pub(super) const fn action(&self) -> Option<ActionId> {
        match self {
            Self::Answer(action, _)
            | Self::Row { action, .. }
            | Self::Gather { action, .. }
            | Self::Record { action, .. }
            | Self::Dial { action, .. }
            | Self::Room { action, .. }
            | Self::Queue { action, .. }
            | Self::Stream { action, .. }
            | Self::Refer(action, _)
            | Self::HangUp(action, _)
            | Self::Sorry(action) => Some(*action),
            Self::Idle(action) => *action,
            Self::Nothing | Self::DialRecord(_) | Self::Fetch { .. } | Self::Held { .. } => None,
        }
    }
}

impl Waiting {
    /// The Dial under way, and its action while that runs.
    pub(super) const fn dialing(&self) -> Option<(Option<ActionId>, &Dialing)> {
        if let Self::Dial { action, dialing, .. } = self {
            Some((Some(*action), dialing))
        } else if let Self::DialRecord(dialing) = self {
            Some((None, dialing))
        } else {
            None
        }
    }

    /// When it has to be looked at.
    pub(super) fn due(&self) -> Option<Instant> {
        if let Self::Held { until, .. } = self {
            Some(*until)
        } else if let Self::Room { room, .. } = self {
            room.limit
        } else {
            None
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) role: Role,
    pub(super) leg: LegId,
    pub(super) document: Option<Rc<Element>>,
    pub(super) next: usize,
    /// Where the document was asked for, without the box's own fields.
    pub(super) url: Option<String>,
    /// Where it came from: what relative addresses are resolved against.
    pub(super) base: Option<String>,
    /// The request whose whole answer is a sound or words, so that what cannot be heard is a
    /// document that cannot be had.
    pub(super) whole: Option<Box<Pending>>,
    pub(super) waiting: Waiting,
    pub(super) loads: Loads,
    /// It is over.
    pub(super) is_over: bool,
    /// The document has been run through at least once without anything to be heard.
    pub(super) is_mute: bool,
}

impl Script {
    pub(super) fn new(role: Role, leg: LegId) -> Self {
        Self {
            role,
            leg,
            document: None,
            next: 0,
            url: None,
            base: None,
            whole: None,
            waiting: Waiting::Nothing,
            loads: Loads::default(),
            is_over: false,
            is_mute: true,
        }
    }

    /// The next verb's element and its place.
    pub(super) fn take_next(&mut self) -> Option<(Rc<Element>, String)> {
        let at = self.next;
        let element = self.document.as_ref()?.children.get(at).map(Rc::clone)?;
        self.next += 1;
        let path = format!("{}{}[{at}]", self.role.prefix(), element.name);
        Some((element, path))
    }

    /// The party has spent time with the document.
    pub(super) fn heard(&mut self, spent: Duration) {
        /// Less is nothing: a document that is over sooner is not repeated without end.
        const LEAST: Duration = Duration::from_millis(500);
        self.loads.progress(spent);
        self.is_mute &= spent < LEAST;
    }

    /// The place of the document itself.
    pub(super) fn place(&self) -> String {
        format!("{}Response", self.role.prefix())
    }
}

/// The call is over, but for recordings that are still being stored.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) cause: Cause,
    pub(super) label: String,
    pub(super) until: Instant,
}
