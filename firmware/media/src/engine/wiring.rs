//! Who hears whom: phases, who passes on to whom, and whose sound is needed. Decided when something
//! changes, so that the tick only follows.

use super::{CROWDING, Engine, PHASES, relay::Relay};

impl Engine {
    /// The phase of the slot that begins (or, between two slots, of the one that began
    /// last), or the next one that is not crowded.
    pub(super) fn roomiest_phase(&self) -> usize {
        let least = self.phases.iter().map(Vec::len).min().unwrap_or(0);
        (0..PHASES)
            .map(|later| (self.phase() + later) % PHASES)
            .find(|phase| self.phases[*phase].len() <= least + CROWDING)
            .unwrap_or(self.phase())
    }

    /// Moves a leg that begins to send into the phase that comes first. Between two
    /// slots that is the phase just served, whose turn the leg has then already had.
    pub(super) fn rephase(&mut self, place: usize) {
        self.leave_phase(place);
        let phase = self.roomiest_phase();
        self.enter_phase(place, phase);
        if self.between
            && phase == self.phase()
            && self.begun.len() < self.begun.capacity()
            && let Some(leg) = &mut self.legs[place]
            && !core::mem::replace(&mut leg.begins, true)
        {
            self.begun.push(place);
        }
    }

    pub(super) fn enter_phase(&mut self, place: usize, phase: usize) {
        if let Some(leg) = &mut self.legs[place] {
            leg.phase = phase;
            leg.in_phase = self.phases[phase].len();
            self.phases[phase].push(place);
        }
    }

    pub(super) fn leave_phase(&mut self, place: usize) {
        let Some((phase, at)) = self.legs[place].as_ref().map(|leg| (leg.phase, leg.in_phase)) else {
            return;
        };
        self.phases[phase].swap_remove(at);
        if let Some(moved) = self.phases[phase].get(at).copied()
            && let Some(leg) = &mut self.legs[moved]
        {
            leg.in_phase = at;
        }
    }

    /// Decides anew, after anything about the leg at `place` has changed, whose payload
    /// is relayed and whose sound is needed.
    pub(super) fn rewire(&mut self, place: usize) {
        let Some((sources, hearers)) = self.legs[place].as_ref().map(|leg| (leg.sources, leg.hearers)) else {
            return;
        };
        self.decide_relay(place);
        for hearer in hearers.iter() {
            self.decide_relay(hearer);
        }
        self.note_sound(place);
        for source in sources.iter() {
            self.note_sound(source);
        }
    }

    fn decide_relay(&mut self, to: usize) {
        let wanted = self.relay_source(to);
        let Some(current) = self.legs[to].as_ref().map(|leg| leg.relayed_from) else {
            return;
        };
        if let (Some(Relay { from, converts }), Some(current)) = (wanted, current)
            && from == current
        {
            if let Some(leg) = &mut self.legs[from]
                && leg.converts != converts
            {
                leg.converts = converts;
                leg.begin_gathering();
            }
            return;
        }
        if let Some(leg) = &mut self.legs[to] {
            leg.relayed_from = wanted.map(|relay| relay.from);
            leg.endpoint.fall_behind();
        }
        if let Some(from) = current {
            self.set_relay(from, None, false);
        }
        if let Some(Relay { from, converts }) = wanted {
            self.set_relay(from, Some(to), converts);
        }
    }

    fn set_relay(&mut self, from: usize, to: Option<usize>, converts: bool) {
        if let Some(leg) = &mut self.legs[from] {
            let moves = leg.relays_to.is_some() != to.is_some();
            leg.relays_to = to;
            leg.converts = converts;
            leg.begin_gathering();
            if moves && let Some(socket) = leg.endpoint.socket() {
                self.sockets.set_quick(from, socket, to.is_some());
            }
        }
        self.note_sound(from);
    }

    /// Whose packets can go to `to` as they come.
    fn relay_source(&self, to: usize) -> Option<Relay> {
        let hearer = self.legs[to].as_ref()?;
        let from = hearer.sources.only()?;
        let speaker = self.legs[from].as_ref()?;
        let apart = speaker.hearers.only() == Some(to)
            && hearer.plays.is_empty()
            && !hearer.records_out()
            && !speaker.records_in()
            && (speaker.detector.is_none() || speaker.events_heard);
        if !apart {
            return None;
        }
        let near = speaker.endpoint.relay_format()?;
        let far = hearer.endpoint.relay_format()?;
        let same =
            near.codec == far.codec && near.ptime_ms == far.ptime_ms && near.events_hz == far.events_hz;
        (near.receives && far.sends).then_some(Relay { from, converts: !same })
    }

    fn note_sound(&mut self, place: usize) {
        let Some(leg) = &self.legs[place] else { return };
        let needed = leg.sound_needed();
        let rate = leg.endpoint.rate();
        let other = leg.relays_to.is_none()
            && leg.hearers.iter().any(|hearer| {
                self.legs[hearer].as_ref().is_some_and(|hearer| hearer.endpoint.rate() != rate)
            });
        if let Some(leg) = &mut self.legs[place] {
            leg.endpoint.listen(needed);
            leg.other_needed = other;
            if !needed && !leg.converts {
                leg.heard.reset(rate);
                leg.heard_other.reset(rate.other());
            }
        }
    }
}
