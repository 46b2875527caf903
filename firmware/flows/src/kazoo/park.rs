//! Parking a call and fetching it again; transfer.

use std::time::{Duration, Instant};

use tipring_model::ActionId;
use tipring_model::flow::{
    Action, Dial, DialOrder, Enqueue, FlowOutput, Moment, Outcome, Places, QueueEnd, QueueEvent, Queued,
    Ringback, Target,
};
use tipring_model::lamp::Lamp;
use tipring_model::prompt::{Prompt, PromptSource};

use super::feature::is_lamp;
use super::flow::{KazooFlow, Next, Then, milliseconds};
use super::keys::Data;

/// The queue in which calls are parked.
const LOT: &str = "park";
/// Highest place where nothing says so.
const PLACE_MAX: u32 = 99;
/// How long a call is parked before whoever parked it is rung, where nothing says so.
const RING_BACK: Duration = Duration::from_secs(120);
/// How long he is rung.
const CALL_BACK: Duration = Duration::from_secs(30);
/// How long a place is looked at for a call.
const FETCH: Duration = Duration::from_secs(1);

/// What was asked of the lot.
#[derive(Clone, Copy)]
pub(super) enum Parked {
    Waits,
    /// Fetched from a place; parked there if it is empty and this is set.
    Fetched {
        place: u32,
        parks: bool,
    },
    /// Whoever parked the call is rung.
    RingsBack,
}

/// What becomes of a parked call that nobody fetches.
#[derive(Default)]
pub(super) struct RingBack {
    /// When whoever parked it is rung.
    pub(super) due: Option<Instant>,
    /// How long he is rung.
    ring_max: Duration,
    /// The place of the call.
    pub(super) place: Option<u32>,
    music: Option<ActionId>,
}

impl RingBack {
    /// What happens to the parked call.
    pub(super) fn hear(&mut self, event: &QueueEvent) {
        match event {
            QueueEvent::Position { place, .. } => self.place = *place,
            // Somebody has fetched it.
            QueueEvent::Called { .. } => self.due = None,
        }
    }
}

/// The lamps of the place in which a call is parked.
pub(super) struct ParkLamps {
    /// A name for it other than those of the place.
    id: Option<String>,
    shows: Lamp,
    /// Those that are lit.
    lit: Vec<String>,
}

impl Default for ParkLamps {
    fn default() -> Self {
        Self { id: None, shows: Lamp::Ringing, lit: Vec::new() }
    }
}

impl KazooFlow {
    /// The call has got its place, or leaves it. The lamp goes by the number of the place, and
    /// by what was dialled where that ends with it; or by a name of the document's own.
    pub(super) fn park_lamps(&mut self, event: &QueueEvent) {
        match event {
            QueueEvent::Position { place: Some(place), .. } if self.park_lamps.lit.is_empty() => {
                let place = place.to_string();
                let dialled = self.facts.as_ref().map(|facts| facts.to.as_str().to_owned());
                let names = match self.park_lamps.id.clone() {
                    Some(id) => vec![id],
                    None => {
                        let dialled = dialled.filter(|to| *to != place && to.ends_with(&place));
                        std::iter::once(place).chain(dialled.filter(|name| is_lamp(name))).collect()
                    }
                };
                let shows = self.park_lamps.shows;
                if shows != Lamp::Idle {
                    for name in &names {
                        self.push(FlowOutput::Lamp { name: name.clone(), shows, stays: false });
                    }
                    self.park_lamps.lit = names;
                }
            }
            QueueEvent::Position { .. } => {}
            QueueEvent::Called { .. } => self.darken_park_lamps(),
        }
    }

    fn darken_park_lamps(&mut self) {
        for name in std::mem::take(&mut self.park_lamps.lit) {
            self.push(FlowOutput::Lamp { name, shows: Lamp::Idle, stays: false });
        }
    }

    pub(super) fn park(&mut self, now: Moment, data: Data<'_>) -> Next {
        let most =
            data.count("max_slot_number").and_then(|most| u32::try_from(most).ok()).unwrap_or(PLACE_MAX);
        let written = data.filled("slot").unwrap_or(&self.captures.longest).to_owned();
        let place: Option<u32> = written.parse().ok().filter(|place| *place > 0);
        if place.is_some_and(|place| place > most) {
            return self.attempt("MAX_SLOT_EXCEEDED").unwrap_or(Next::Stop);
        }
        if let Some(next) = self.answer_first() {
            return next;
        }
        let wait =
            |key: &str, otherwise| data.count(key).filter(|count| *count > 0).map_or(otherwise, milliseconds);
        self.prepare_ring_back(
            now,
            wait("default_ringback_timeout", RING_BACK),
            wait("default_callback_timeout", CALL_BACK),
        );
        let id = data.filled("presence_id").and_then(|id| id.split('@').next());
        let id = id.filter(|id| data.is("custom_presence_id") && is_lamp(id)).map(str::to_owned);
        let shows = match data.text("default_presence_type") {
            Some("confirmed") => Lamp::Busy,
            Some("terminated") => Lamp::Idle,
            Some(_) | None => Lamp::Ringing,
        };
        self.park_lamps = ParkLamps { id, shows, lit: Vec::new() };
        match (data.text("action"), place) {
            (Some("retrieve"), Some(place)) => self.fetch_parked(place, false),
            (Some("retrieve"), None) => self.nothing_parked(),
            (Some("auto"), Some(place)) => self.fetch_parked(place, true),
            (Some(_) | None, Some(place)) => self.park_in(Places { first: place, last: place }),
            (Some(_) | None, None) => self.park_in(Places { first: 1, last: most.max(1) }),
        }
    }

    fn prepare_ring_back(&mut self, now: Moment, after: Duration, ring_max: Duration) {
        let due = self.talked_with.as_ref().map(|_| now.instant + after);
        self.ring_back = RingBack { due, ring_max, place: None, music: None };
    }

    /// The lowest place that is free.
    pub(super) fn park_anywhere(&mut self, now: Moment) -> Next {
        self.prepare_ring_back(now, RING_BACK, CALL_BACK);
        self.park_in(Places { first: 1, last: PLACE_MAX })
    }

    fn park_in(&mut self, places: Places) -> Next {
        let waiting_max = usize::try_from(places.last).unwrap_or(1);
        let enqueue = Enqueue { queue: LOT.to_owned(), waiting_max, places: Some(places) };
        let next = self.act(Action::Enqueue(enqueue), Then::Parked(Parked::Waits));
        // Heard until somebody takes the call out.
        let music = Prompt { loops: u32::MAX, ..Prompt::once(PromptSource::Music) };
        self.ring_back.music = Some(self.begin(self.leg, Action::Prompt(music)));
        next
    }

    /// Nobody has fetched the call: it leaves its place.
    pub(super) fn unpark(&mut self, parked: ActionId) {
        self.ring_back.due = None;
        self.push(FlowOutput::Cancel(parked));
    }

    /// Rings whoever parked the call.
    fn ring_parker(&mut self) -> Next {
        let Some(number) = self.talked_with.take() else { return Next::Stop };
        if let Some(music) = self.ring_back.music.take() {
            self.push(FlowOutput::Cancel(music));
        }
        let targets = vec![Target::Number(number)];
        let dial = Dial {
            ringback: Ringback::Prompt(PromptSource::Music),
            caller_id: self.shown(),
            ..Dial::new(targets, DialOrder::AllAtOnce, self.ring_back.ring_max)
        };
        self.act(Action::Dial(dial), Then::Parked(Parked::RingsBack))
    }

    fn fetch_parked(&mut self, place: u32, parks: bool) -> Next {
        let target = Target::Queue { name: format!("{LOT}.{place}"), announce: None };
        let dial = Dial::new(vec![target], DialOrder::AllAtOnce, FETCH);
        self.act(Action::Dial(dial), Then::Parked(Parked::Fetched { place, parks }))
    }

    pub(super) fn unparked(&mut self, parked: Parked, outcome: &Outcome) -> Next {
        match parked {
            Parked::Waits if *outcome == Outcome::Cancelled => self.ring_parker(),
            Parked::RingsBack => {
                if matches!(outcome, Outcome::Dialed(dialed) if dialed.answered.is_some()) {
                    self.served = true;
                    return Next::Stop;
                }
                self.fault = Some("TR-DIAL-NO-ANSWER");
                let place = self.ring_back.place.map(|place| place.to_string());
                place.and_then(|place| self.attempt(&place)).unwrap_or(Next::Stop)
            }
            Parked::Waits => {
                self.darken_park_lamps();
                let is_full = matches!(outcome, Outcome::Queued(Queued { end: QueueEnd::Full, .. }));
                self.served |= !is_full;
                if !is_full {
                    return Next::Stop;
                }
                self.fault = Some("TR-FLOW-LIMIT");
                let words = self.prompt("fault-can_not_complete_at_this_time");
                self.say(words, Next::Stop)
            }
            Parked::Fetched { place, parks } => {
                let is_fetched = matches!(outcome, Outcome::Dialed(dialed) if dialed.answered.is_some());
                if is_fetched {
                    Next::Stop
                } else if parks {
                    self.park_in(Places { first: place, last: place })
                } else {
                    self.nothing_parked()
                }
            }
        }
    }

    fn nothing_parked(&mut self) -> Next {
        self.fault = Some("TR-DIAL-NO-TARGET");
        let words = self.prompt("park-not_found");
        self.say(words, Next::Stop)
    }

    pub(super) fn transfer(&mut self, data: Data<'_>) -> Next {
        if data.text("leg") == Some("bleg") {
            // While a flow runs, nobody else is connected.
            return self.fail("TR-FLOW-NO-PEER");
        }
        // What the vendor's own flows pass when no pattern has caught anything.
        const NOTHING_CAUGHT: &str = "no_match";
        let captures = data.texts("captures");
        let caught = captures.first().copied().filter(|first| *first != NOTHING_CAUGHT);
        let target = data.filled("target").or(caught).unwrap_or(&self.captures.longest).to_owned();
        if target.is_empty() {
            return self.fail("TR-FLOW-TARGET");
        }
        // Attended or blind: nobody is there whom the caller could consult first.
        self.transfer_to(&target)
    }

    /// The caller goes on as if he had dialled that.
    pub(super) fn transfer_to(&mut self, number: &str) -> Next {
        self.forget_parents();
        match self.stored_flow(number) {
            Some(flow) => Next::Replace(flow),
            None => self.ring_number(number),
        }
    }
}
