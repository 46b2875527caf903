//! Speaking to several telephones at once, which answer by themselves.

use std::time::Instant;

use tipring_model::flow::{DialEnd, Dialed, Moment, Outcome, Page};
use tipring_model::line::PlaceExtras;
use tipring_model::{ActionId, Cause, LegId};

use crate::actions::Work;
use crate::call::Call;
use crate::contract::CallOutput;
use crate::leg::Purpose;

/// A page under way.
pub(crate) struct PageWork {
    two_way: bool,
    /// When those who still ring are given up.
    rings_until: Instant,
    length_max: std::time::Duration,
    /// Legs that ring, with their targets.
    ringing: Vec<(LegId, usize)>,
    /// Legs that have answered.
    there: Vec<LegId>,
    /// The first that answered, and when.
    first: Option<(usize, LegId, Instant)>,
    refusal: Cause,
}

impl PageWork {
    fn due(&self) -> Option<Instant> {
        let ringing = (!self.ringing.is_empty()).then_some(self.rings_until);
        ringing.into_iter().chain(self.first.map(|(_, _, since)| since + self.length_max)).min()
    }

    pub(crate) fn has(&self, leg: LegId) -> bool {
        self.there.contains(&leg)
    }
}

impl Call {
    pub(crate) fn begin_page(&mut self, now: Moment, id: ActionId, on: LegId, spec: Page) {
        let caller_id = self.facts.from.clone();
        let from = spec.caller_id.unwrap_or(caller_id);
        let work = PageWork {
            two_way: spec.two_way,
            rings_until: now.instant + spec.ring_max,
            length_max: spec.length_max,
            ringing: Vec::new(),
            there: Vec::new(),
            first: None,
            refusal: Cause::NoAnswer,
        };
        self.run(id, on, None, Work::Page(Box::new(work)));
        for (n, target) in spec.targets.into_iter().enumerate() {
            let extras = PlaceExtras {
                headers: target.headers,
                credentials: target.credentials,
                auto_answer: true,
                ..PlaceExtras::default()
            };
            let placed = self.place(now, Purpose::Paged(id), (target.target, extras), from.clone());
            let Some((page, _)) = self.page(id) else { return };
            match placed {
                Some(leg) => page.ringing.push((leg, n)),
                // The call has as many legs as it may.
                None => page.refusal = Cause::NoCircuit,
            }
        }
        self.page_changed(now, id);
    }

    fn page(&mut self, id: ActionId) -> Option<(&mut PageWork, LegId)> {
        let running = self.running.iter_mut().find(|running| running.id == id)?;
        match (&mut running.work, running.leg) {
            (Work::Page(page), Some(speaker)) => Some((page, speaker)),
            (_, Some(_) | None) => None,
        }
    }

    /// Somebody came, left or was given up: ends it when nobody is left.
    fn page_changed(&mut self, now: Moment, id: ActionId) {
        let Some((page, _)) = self.page(id) else { return };
        if page.ringing.is_empty() && page.there.is_empty() {
            return self.page_over(now, id, DialEnd::Target);
        }
        let due = page.due();
        if let Some(running) = self.running.iter_mut().find(|running| running.id == id) {
            running.due = due;
        }
    }

    pub(crate) fn paged_answered(&mut self, now: Moment, id: ActionId, leg: LegId) {
        let Some((page, speaker)) = self.page(id) else {
            return self.release(leg, Cause::NormalClearing);
        };
        let Some(at) = page.ringing.iter().position(|(ringing, _)| *ringing == leg) else { return };
        let (_, target) = page.ringing.swap_remove(at);
        page.first.get_or_insert((target, leg, now.instant));
        let heard: Vec<(LegId, LegId)> = if page.two_way {
            let others = page.there.iter().copied().chain([speaker]);
            others.flat_map(|other| [(other, leg), (leg, other)]).collect()
        } else {
            vec![(speaker, leg)]
        };
        page.there.push(leg);
        for (from, to) in heard {
            self.outputs.push_back(CallOutput::Connect { from, to });
        }
        self.page_changed(now, id);
    }

    pub(crate) fn paged_released(&mut self, now: Moment, id: ActionId, leg: LegId, cause: Cause) {
        let Some((page, speaker)) = self.page(id) else { return };
        if page.ringing.iter().any(|(ringing, _)| *ringing == leg) {
            page.ringing.retain(|(ringing, _)| *ringing != leg);
            page.refusal = cause;
        }
        if page.has(leg) {
            page.there.retain(|there| *there != leg);
            let wires = wires(page, speaker, &[leg]);
            self.unwire(wires);
        }
        self.page_changed(now, id);
    }

    fn unwire(&mut self, wires: Vec<(LegId, LegId)>) {
        for (from, to) in wires {
            self.outputs.push_back(CallOutput::Disconnect { from, to });
        }
    }

    pub(crate) fn page_timeout(&mut self, now: Moment, id: ActionId) {
        let Some((page, _)) = self.page(id) else { return };
        if page.first.is_some_and(|(_, _, since)| since + page.length_max <= now.instant) {
            return self.page_over(now, id, DialEnd::Limit);
        }
        if page.rings_until <= now.instant {
            let late = std::mem::take(&mut page.ringing);
            for (leg, _) in late {
                self.release(leg, Cause::NoAnswer);
            }
        }
        self.page_changed(now, id);
    }

    /// Ends the page as it stands.
    fn page_over(&mut self, now: Moment, id: ActionId, by: DialEnd) {
        let Some((page, _)) = self.page(id) else { return };
        let dialed = match page.first {
            Some((target, leg, since)) => Dialed {
                answered: Some(target),
                talked: now.instant - since,
                leg: Some(leg),
                by,
                ..Dialed::nobody(Cause::NormalClearing)
            },
            None => Dialed::nobody(page.refusal),
        };
        self.end_page(id, Outcome::Dialed(dialed));
    }

    /// The speaker is gone, the flow no longer wants it, or it is over.
    pub(crate) fn end_page(&mut self, id: ActionId, outcome: Outcome) {
        let Some((page, speaker)) = self.page(id) else { return };
        let there = std::mem::take(&mut page.there);
        let ringing = std::mem::take(&mut page.ringing);
        let wires = wires(page, speaker, &there);
        self.unwire(wires);
        for (leg, _) in ringing {
            self.release(leg, Cause::Cancelled);
        }
        for leg in there {
            self.release(leg, Cause::NormalClearing);
        }
        self.end_action(id, outcome);
    }
}

/// Who heard whom between those who leave, and them and those who stay.
fn wires(page: &PageWork, speaker: LegId, leave: &[LegId]) -> Vec<(LegId, LegId)> {
    let mut wires = Vec::new();
    for (n, leg) in leave.iter().enumerate() {
        wires.push((speaker, *leg));
        if page.two_way {
            wires.push((*leg, speaker));
            let others = page.there.iter().chain(leave.iter().skip(n + 1));
            wires.extend(others.flat_map(|other| [(*other, *leg), (*leg, *other)]));
        }
    }
    wires
}
