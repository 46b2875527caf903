//! Where calls meet: rooms, queues with their car parks, and calls that ring and are taken
//! by others. There is one exchange on the box; calls ask it for a seat, and it says who
//! hears whom.

mod pickup;
mod queue;
mod room;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use tipring_model::flow::{Announcement, Conference, Enqueue, PickUp, QueueEvent, RoomEvent};
use tipring_model::{ActionId, CallerId, LegId};

use pickup::Rung;
use queue::Queue;
use room::Room;

/// Rooms at one time; with more nobody gets in.
pub const ROOMS_MAX: usize = 64;
/// Queues at one time; with more nobody gets in.
pub const QUEUES_MAX: usize = 256;

/// A leg of a call in a room or a queue, or one that takes somebody out of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seat {
    /// Number of the call.
    pub call: u32,
    /// The action for which it is there.
    pub action: ActionId,
    /// The leg.
    pub leg: LegId,
}

/// What a call asks of the exchange.
#[derive(Clone, PartialEq, Debug)]
pub enum ExchangeRequest {
    /// Take the leg into a room.
    Enter(Box<Conference>),
    /// Let the leg wait in a queue.
    Wait(Enqueue),
    /// Connect the leg with whoever is first in a queue, now or when somebody comes.
    Take {
        /// The queue, or a car park with a dot and the place.
        queue: String,
        /// What the one who waits should hear before.
        announce: Option<Announcement>,
    },
    /// The leg is on hold, and nobody in its room hears it; or no longer.
    Hold(bool),
    /// The leg was called out of the queue, or picked up, and is ready.
    Ready,
    /// The leg rings these telephones, or talks with one of them, and may be taken from
    /// there. What was said before counts no longer; none takes it back.
    Rings {
        /// Their numbers.
        at: Vec<String>,
        /// One has answered.
        answered: bool,
        /// Who calls there.
        from: CallerId,
    },
    /// Connect the leg with a call at one of these telephones.
    PickUp {
        /// What is looked for.
        wanted: PickUp,
        /// Who takes it.
        who: CallerId,
    },
    /// The leg leaves, wherever it is.
    Leave,
}

/// What the exchange tells a call about one of its seats.
#[derive(Clone, PartialEq, Debug)]
pub enum ExchangeEvent {
    /// For the flow, about a room.
    Room(RoomEvent),
    /// Somebody came: a tone for this leg.
    ToneIn,
    /// Somebody left: a tone for this leg.
    ToneOut,
    /// There is no room. The seat is gone.
    Full,
    /// The room has ended. The seat is gone.
    Ended,
    /// For the flow, about a queue.
    Queue(QueueEvent),
    /// The call of the leg is taken by another, which waits until it is ready.
    PickedUp {
        /// Where it rang.
        at: String,
        /// Who takes it.
        who: CallerId,
    },
    /// The leg takes a call, and waits until that is ready.
    Takes {
        /// Where it rang.
        at: String,
        /// Who called there.
        from: CallerId,
    },
    /// There is no call to be picked up. The seat is gone.
    Nobody,
    /// The leg now talks with this one.
    Connected(LegId),
    /// It no longer does. The seat is gone.
    Parted,
}

/// What the exchange wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum ExchangeOutput {
    /// Tell a call.
    Tell(Seat, ExchangeEvent),
    /// Let `to` hear `from`.
    Connect {
        /// Whose audio.
        from: LegId,
        /// Who hears it.
        to: LegId,
    },
    /// Let `to` no longer hear `from`.
    Disconnect {
        /// Whose audio.
        from: LegId,
        /// Who heard it.
        to: LegId,
    },
}

/// Two legs of which one was taken out of a queue or picked up, and that talk or are about to.
struct Pair {
    waited: Seat,
    took: Seat,
    talks: bool,
}

/// See the module.
#[derive(Default)]
pub struct Exchange {
    rooms: BTreeMap<String, Room>,
    queues: BTreeMap<String, Queue>,
    pairs: Vec<Pair>,
    /// What rings, in the order in which it began.
    rung: Vec<Rung>,
    outputs: VecDeque<ExchangeOutput>,
}

impl Exchange {
    /// Takes one request.
    pub fn handle(&mut self, now: Instant, seat: Seat, request: ExchangeRequest) {
        match request {
            ExchangeRequest::Enter(spec) => self.enter(seat, *spec),
            ExchangeRequest::Wait(spec) => self.wait(now, seat, &spec),
            ExchangeRequest::Take { queue, announce } => self.take(now, seat, &queue, announce),
            ExchangeRequest::Hold(held) => {
                for room in self.rooms.values_mut() {
                    room.hold(seat, held, &mut self.outputs);
                }
            }
            ExchangeRequest::Ready => self.ready(seat),
            ExchangeRequest::Rings { at, answered, from } => self.rings(Rung { seat, at, answered, from }),
            ExchangeRequest::PickUp { wanted, who } => self.pick_up(seat, &wanted, who),
            ExchangeRequest::Leave => self.leave(now, seat),
        }
        self.rooms.retain(|_, room| !room.is_empty());
        self.queues.retain(|_, queue| !queue.is_forgotten(now));
    }

    /// The next thing to be done.
    pub fn poll(&mut self) -> Option<ExchangeOutput> {
        self.outputs.pop_front()
    }

    /// A call is gone without having said so: whatever seats it has are free.
    pub fn call_gone(&mut self, now: Instant, call: u32) {
        let rooms = self.rooms.values().flat_map(Room::seats);
        let queues = self.queues.values().flat_map(Queue::seats);
        let pairs = self.pairs.iter().flat_map(|pair| [pair.waited, pair.took]);
        let rung = self.rung.iter().map(|rung| rung.seat);
        let seats: Vec<Seat> =
            rooms.chain(queues).chain(pairs).chain(rung).filter(|seat| seat.call == call).collect();
        for seat in seats {
            self.handle(now, seat, ExchangeRequest::Leave);
        }
    }

    /// Rooms with their members, for those who look on.
    pub fn rooms(&self) -> impl Iterator<Item = (&str, usize)> {
        self.rooms.iter().map(|(name, room)| (name.as_str(), room.len()))
    }

    /// Calls that ring, or are answered, where others could take them.
    #[must_use]
    pub fn takeable(&self) -> usize {
        self.rung.len()
    }

    /// Queues with those who wait, for those who look on.
    pub fn queues(&self) -> impl Iterator<Item = (&str, usize)> {
        self.queues.iter().map(|(name, queue)| (name.as_str(), queue.len()))
    }

    /// Whether the leg talks with another one out of a queue or in a room.
    #[must_use]
    pub fn has_company(&self, leg: LegId) -> bool {
        let in_pair = |pair: &Pair| pair.talks && (pair.waited.leg == leg || pair.took.leg == leg);
        let in_room = |room: &Room| room.len() > 1 && room.seats().any(|seat| seat.leg == leg);
        self.pairs.iter().any(in_pair) || self.rooms.values().any(in_room)
    }

    fn tell(&mut self, seat: Seat, event: ExchangeEvent) {
        self.outputs.push_back(ExchangeOutput::Tell(seat, event));
    }

    // --- Rooms.

    fn enter(&mut self, seat: Seat, spec: Conference) {
        if !self.rooms.contains_key(&spec.room) && self.rooms.len() >= ROOMS_MAX {
            return self.tell(seat, ExchangeEvent::Full);
        }
        let name = spec.room.clone();
        self.rooms.entry(name).or_default().enter(seat, spec, &mut self.outputs);
    }

    // --- Queues.

    fn wait(&mut self, now: Instant, seat: Seat, spec: &Enqueue) {
        if !self.queues.contains_key(&spec.queue) && self.queues.len() >= QUEUES_MAX {
            return self.tell(seat, ExchangeEvent::Full);
        }
        let queue = self.queues.entry(spec.queue.clone()).or_default();
        if queue.wait(now, seat, spec, &mut self.outputs) {
            self.serve(now, &spec.queue);
        }
    }

    fn take(&mut self, now: Instant, seat: Seat, name: &str, announce: Option<Announcement>) {
        let parked = name.rsplit_once('.').and_then(|(lot, place)| Some((lot, place.parse::<u32>().ok()?)));
        if let Some((lot, place)) = parked
            && let Some(queue) = self.queues.get_mut(lot)
            && let Some(waited) = queue.fetch(now, place, &mut self.outputs)
        {
            return self.call(waited, seat, announce);
        }
        if !self.queues.contains_key(name) && self.queues.len() >= QUEUES_MAX {
            return self.tell(seat, ExchangeEvent::Full);
        }
        self.queues.entry(name.to_owned()).or_default().want(seat, announce);
        self.serve(now, name);
    }

    /// Brings together those who wait and those who take.
    fn serve(&mut self, now: Instant, name: &str) {
        while let Some(queue) = self.queues.get_mut(name)
            && let Some((waited, took, announce)) = queue.next(now, &mut self.outputs)
        {
            self.call(waited, took, announce);
        }
    }

    fn call(&mut self, waited: Seat, took: Seat, announce: Option<Announcement>) {
        let at_once = announce.is_none();
        self.pairs.push(Pair { waited, took, talks: false });
        let called = QueueEvent::Called { announce, by: took.leg };
        self.tell(waited, ExchangeEvent::Queue(called));
        if at_once {
            self.ready(waited);
        }
    }

    fn ready(&mut self, seat: Seat) {
        let Some(pair) = self.pairs.iter_mut().find(|pair| pair.waited == seat && !pair.talks) else {
            return;
        };
        pair.talks = true;
        let (a, b) = (pair.waited, pair.took);
        self.outputs.push_back(ExchangeOutput::Connect { from: a.leg, to: b.leg });
        self.outputs.push_back(ExchangeOutput::Connect { from: b.leg, to: a.leg });
        self.tell(a, ExchangeEvent::Connected(b.leg));
        self.tell(b, ExchangeEvent::Connected(a.leg));
    }

    // --- Leaving.

    fn leave(&mut self, now: Instant, seat: Seat) {
        for room in self.rooms.values_mut() {
            room.leave(seat, &mut self.outputs);
        }
        for queue in self.queues.values_mut() {
            queue.leave(now, seat, &mut self.outputs);
        }
        self.rung.retain(|rung| rung.seat != seat);
        let Some(at) = self.pairs.iter().position(|pair| pair.waited == seat || pair.took == seat) else {
            return;
        };
        let pair = self.pairs.swap_remove(at);
        let (a, b) = (pair.waited, pair.took);
        if pair.talks {
            self.outputs.push_back(ExchangeOutput::Disconnect { from: a.leg, to: b.leg });
            self.outputs.push_back(ExchangeOutput::Disconnect { from: b.leg, to: a.leg });
        }
        self.tell(if a == seat { b } else { a }, ExchangeEvent::Parted);
    }
}

/// How long a queue in which nobody waits is remembered, for its average.
const REMEMBERED: Duration = Duration::from_secs(3_600);
