//! How calls end: once their legs are gone and counted, the record is written.

use tipring_media::{Command, LegStats};
use tipring_model::call::{Cdr, EndedBy};
use tipring_model::line::LineCommand;
use tipring_model::{Cause, LegId};
use tipring_spool::Class;

use super::records::{LegFacts, Record};
use super::switchboard::{Closing, ENDED_MAX, Entry, Switchboard};

impl Switchboard {
    /// Writes what is left without waiting for counters.
    pub(super) fn close_all(&self) {
        let left: Vec<Closing> =
            self.0.state.borrow_mut().closing.drain().map(|(_, closing)| closing).collect();
        for closing in left {
            self.write_record(&closing.entry, &closing.cdr);
        }
    }

    pub(super) fn leg_stats(&self, leg: LegId, stats: LegStats) {
        let mut state = self.0.state.borrow_mut();
        if let Some(entry) = state.calls.values_mut().find(|entry| entry.legs.contains(&leg)) {
            entry.stats.insert(leg, stats);
            return;
        }
        let owner = state.closing.iter_mut().find(|(_, closing)| closing.entry.legs.contains(&leg));
        let Some((call, closing)) = owner else { return };
        let call = *call;
        if !closing.cdr.legs.iter().any(|one| one.leg == leg) {
            return; // A booth: nobody waits for its counters.
        }
        closing.entry.stats.insert(leg, stats);
        closing.waiting = closing.waiting.saturating_sub(1);
        if closing.waiting > 0 {
            return;
        }
        let closed = state.closing.remove(&call);
        drop(state);
        if let Some(Closing { entry, cdr, .. }) = closed {
            self.write_record(&entry, &cdr);
            self.0.idle.notify_one();
        }
    }

    /// Ends a call whose program broke: its legs are let go, its record is written.
    pub(super) fn call_panicked(&self, number: u32) {
        let entry = {
            let mut state = self.0.state.borrow_mut();
            state.panics += 1;
            let entry = state.calls.remove(&number);
            if let Some(due) = entry.as_ref().and_then(|entry| entry.due) {
                state.timers.remove(&(due, number));
            }
            entry
        };
        self.end_script(number);
        self.session_over(number);
        let Some(entry) = entry else { return };
        self.session_ended(entry.call.facts().id, "internal_fault");
        tracing::error!(code = "TR-CALL-PANIC", call = %entry.call.facts().id, "internal fault; the call is ended");
        for leg in &entry.legs {
            let leg_entry = self.0.state.borrow_mut().legs.remove(leg);
            if leg_entry.as_ref().is_some_and(|entry| entry.is_booth) {
                self.0.media.send(Command::Detach { leg: *leg });
            }
            let line = leg_entry.and_then(|leg| leg.line);
            if let Some(line) = line {
                self.0
                    .lines
                    .command(line, LineCommand::Release { leg: *leg, cause: Cause::TemporaryFailure });
            }
        }
        let facts = entry.call.facts();
        let cdr = Cdr {
            id: facts.id,
            direction: facts.direction,
            from: facts.from.clone(),
            to: facts.to.clone(),
            started_unix_ms: facts.started_unix_ms,
            answered_after: None,
            supervision: None,
            lasted: entry.began.elapsed(),
            cause: Cause::TemporaryFailure,
            ended_by: EndedBy::Limit,
            label: "internal_fault".to_owned(),
            legs: Vec::new(),
            recordings: Vec::new(),
        };
        self.leave_exchange(number);
        self.darken_lamps_of(number);
        self.write_record(&entry, &cdr);
        self.0.idle.notify_one();
    }

    pub(super) fn over(&self, number: u32, cdr: Box<Cdr>) {
        self.end_script(number);
        self.session_over(number);
        self.session_ended(cdr.id, &cdr.label);
        self.darken_lamps_of(number);
        let entry = {
            let mut state = self.0.state.borrow_mut();
            let entry = state.calls.remove(&number);
            if let Some(due) = entry.as_ref().and_then(|entry| entry.due) {
                state.timers.remove(&(due, number));
            }
            if state.ended.len() >= ENDED_MAX {
                state.ended.pop_front();
            }
            state.ended.push_back((cdr.id, cdr.cause));
            entry
        };
        let Some(entry) = entry else { return };
        entry.climbing.iter().for_each(tokio::task::AbortHandle::abort);
        tracing::info!(
            call = %cdr.id,
            cause = %cdr.cause,
            by = cdr.ended_by.as_str(),
            label = cdr.label,
            ms = u64::try_from(cdr.lasted.as_millis()).unwrap_or(u64::MAX),
            "call over"
        );
        // The engine lets go of a leg a few milliseconds after the line.
        let answered = cdr.legs.iter().filter(|leg| leg.answered_after.is_some());
        let waiting = answered.filter(|leg| !entry.stats.contains_key(&leg.leg)).count();
        if waiting == 0 {
            self.write_record(&entry, &cdr);
        } else {
            let closing = Closing { entry: Box::new(entry), cdr, waiting };
            self.0.state.borrow_mut().closing.insert(number, closing);
        }
        self.0.idle.notify_one();
    }

    fn write_record(&self, entry: &Entry, cdr: &Cdr) {
        let line = entry.line.map(|line| self.line_name(Some(line)).to_owned());
        let flow = entry.flow.and_then(|at| self.0.flows.get(at)).map(|entry| entry.name.clone());
        let mut cdr = cdr.clone();
        if entry.flow.is_none() && cdr.ended_by == EndedBy::Flow {
            // The flow that only joins two ends with the conversation.
            cdr.ended_by = EndedBy::Callee;
        }
        let cdr = &cdr;
        let record = Record::new(cdr, line, flow, entry.trail.clone(), |leg| LegFacts {
            line: entry.lines.get(&leg).map(|line| self.line_name(Some(*line)).to_owned()),
            codec: entry.codecs.get(&leg).copied(),
            stats: entry.stats.get(&leg).copied(),
            notes: self.0.state.borrow_mut().notes.remove(&leg).unwrap_or_default(),
        });
        self.0.records.write(&record);
        let call = cdr.id.to_string();
        // With everything that happened it would be too long for an event.
        self.0.webhooks.event("cdr", &call, Class::Record, record.summary());
        self.0.uploads.ready(&call, &cdr.recordings);
    }
}
