//! One leg inside the engine: its endpoint and everything that happens to it.

use std::time::{Duration, Instant};

use rtrb::Producer;
use tipring_model::{LegId, RecordId};

use crate::{
    command::RecordWhat,
    dsp::{
        dtmf_detect::DtmfDetector,
        resample::{Doubler, Halver},
    },
    endpoint::{Endpoint, LegStats},
    frame::{Frame, Rate},
    play::PlayQueue,
};

/// Speakers that one leg can hear, and hearers that one leg can have.
pub const SOURCES_MAX: usize = 40;
/// Recordings that one leg can have at once. Enough for all that flows are promised at a time:
/// 16 recordings and 4 streams, each of both sides apart, and one more for each verb that records,
/// gives back what it hears, or listens.
pub const RECORDS_MAX: usize = 48;

/// A running recording.
pub(crate) struct Recording {
    pub(crate) record: RecordId,
    pub(crate) what: RecordWhat,
    pub(crate) sink: Producer<Frame>,
    pub(crate) frames: u64,
    pub(crate) dropped: u64,
}

/// Over the silence of a leg.
pub(crate) struct Watch {
    pub(crate) allowed: Duration,
    /// Silence counts from then on.
    pub(crate) from: Instant,
    /// When it was told of silence that goes on.
    pub(crate) told: Option<Instant>,
}

/// The state of one leg. Allocated with its command, given back with its last event.
pub(crate) struct Leg {
    pub(crate) id: LegId,
    pub(crate) endpoint: Box<dyn Endpoint>,
    /// Counters of the endpoint that it began with, if it has another now.
    pub(crate) counted: Option<LegStats>,
    pub(crate) plays: PlayQueue,
    /// Has room for [`RECORDS_MAX`] from the beginning, so that it never grows in the tick.
    pub(crate) records: Vec<Recording>,
    /// Places of those this leg hears, and of those that hear it.
    pub(crate) sources: Places,
    pub(crate) hearers: Places,
    /// Packets of this leg go to that place as they come.
    pub(crate) relays_to: Option<usize>,
    /// They are converted on the way, and so many samples wait in `heard` for a whole
    /// frame.
    pub(crate) converts: bool,
    pub(crate) gathered: usize,
    /// What this leg sends comes from that place as it comes.
    pub(crate) relayed_from: Option<usize>,
    /// What the party said in the last 20 ms, at the leg's rate.
    pub(crate) heard: Frame,
    /// The same at the other rate, if anybody needs it.
    pub(crate) heard_other: Frame,
    pub(crate) other_needed: bool,
    pub(crate) heard_converter: Converter,
    pub(crate) play_converter: Converter,
    pub(crate) detector: Option<DtmfDetector>,
    /// A named event has been heard: digits in the sound are its echo.
    pub(crate) events_heard: bool,
    pub(crate) phase: usize,
    /// Place in the list of its phase.
    pub(crate) in_phase: usize,
    /// It begins to send between two slots and has not yet.
    pub(crate) begins: bool,
    /// The slot after the last one in which datagrams were waiting, and how many may be
    /// read at a time.
    pub(crate) drained: u64,
    pub(crate) quota: u32,
    pub(crate) watch: Option<Watch>,
}

impl Leg {
    pub(crate) fn new(id: LegId, endpoint: Box<dyn Endpoint>) -> Self {
        let rate = endpoint.rate();
        Self {
            id,
            endpoint,
            counted: None,
            plays: PlayQueue::default(),
            records: Vec::with_capacity(RECORDS_MAX),
            sources: Places::default(),
            hearers: Places::default(),
            relays_to: None,
            converts: false,
            gathered: 0,
            relayed_from: None,
            heard: Frame::silence(rate),
            heard_other: Frame::silence(rate.other()),
            other_needed: false,
            heard_converter: Converter::default(),
            play_converter: Converter::default(),
            detector: None,
            events_heard: false,
            phase: 0,
            in_phase: 0,
            begins: false,
            drained: 0,
            quota: 1,
            watch: None,
        }
    }

    pub(crate) fn records_in(&self) -> bool {
        self.records.iter().any(|r| r.what.hears_in())
    }

    pub(crate) fn records_out(&self) -> bool {
        self.records.iter().any(|r| r.what.hears_out())
    }

    /// Whether anybody needs the leg's sound in linear form.
    pub(crate) fn sound_needed(&self) -> bool {
        let hearers = !self.hearers.is_empty() && self.relays_to.is_none();
        hearers || self.records_in() || (self.detector.is_some() && !self.events_heard)
    }

    /// True if all that the leg sends comes from another as it comes, and nobody listens in.
    pub(crate) fn only_relays(&self) -> bool {
        self.relayed_from.is_some() && self.records.is_empty()
    }

    /// Forgets what waits for a whole frame, since what comes next does not follow it.
    pub(crate) fn begin_gathering(&mut self) {
        self.gathered = 0;
        self.heard.clear();
        self.heard_other.reset(self.heard.rate().other());
        self.endpoint.relay_restart();
    }

    /// The endpoint may have another rate than before.
    pub(crate) fn take_rate(&mut self) {
        let rate = self.endpoint.rate();
        if self.heard.rate() != rate {
            self.heard.reset(rate);
            self.heard_other.reset(rate.other());
            self.detector = self.detector.take().map(|_| DtmfDetector::new(rate));
        }
    }

    /// True if the leg sends something of its own accord every 20 ms.
    pub(crate) fn sends(&self) -> bool {
        !self.plays.is_empty() || !self.sources.is_empty()
    }

    /// The frame last heard, at `rate`.
    pub(crate) fn heard_at(&self, rate: Rate) -> Option<&Frame> {
        if self.heard.rate() == rate {
            Some(&self.heard)
        } else if self.other_needed && self.heard_other.rate() == rate {
            Some(&self.heard_other)
        } else {
            None
        }
    }
}

/// A short list of places in the engine's table.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    places: [u32; SOURCES_MAX],
    count: usize,
}

impl Default for Places {
    fn default() -> Self {
        Self { places: [0; SOURCES_MAX], count: 0 }
    }
}

impl Places {
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.places[..self.count].iter().map(|place| *place as usize)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.count == SOURCES_MAX
    }

    pub(crate) fn contains(&self, place: usize) -> bool {
        self.iter().any(|one| one == place)
    }

    /// The only place, if there is just one.
    pub(crate) fn only(&self) -> Option<usize> {
        (self.count == 1).then_some(self.places[0] as usize)
    }

    pub(crate) fn insert(&mut self, place: usize) {
        if !self.is_full() && !self.contains(place) {
            self.places[self.count] = place as u32;
            self.count += 1;
        }
    }

    pub(crate) fn remove(&mut self, place: usize) {
        let at = self.iter().position(|one| one == place);
        if let Some(at) = at {
            self.count -= 1;
            self.places.swap(at, self.count);
        }
    }
}

/// Brings frames from one rate to the other.
#[derive(Default)]
pub(crate) struct Converter {
    up: Doubler,
    down: Halver,
}

impl Converter {
    /// Writes `from` into `to` at the other rate.
    pub(crate) fn convert(&mut self, from: &Frame, to: &mut Frame) {
        to.reset(from.rate().other());
        match from.rate() {
            Rate::Narrow => self.up.process(from.samples(), to.samples_mut()),
            Rate::Wide => self.down.process(from.samples(), to.samples_mut()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_for_recordings_costs_a_leg_less_than_4_kib() {
        assert!(RECORDS_MAX * size_of::<Recording>() < 4_096, "{}", size_of::<Recording>());
    }
}
