//! Recordings of a leg.

use tipring_model::flow::{ActionFailure, Moment, Outcome, Record, Recorded};
use tipring_model::{ActionId, Digit, DigitSet, LegId, RecordId};

use crate::actions::Work;
use crate::call::Call;
use crate::contract::MediaCommand;

/// A recording under way.
pub(crate) struct RecordWork {
    record: RecordId,
    leg: LegId,
    finish: DigitSet,
    by: Option<Digit>,
    is_stopping: bool,
}

impl RecordWork {
    pub(crate) const fn ends_with(&self, digit: Digit) -> bool {
        !self.is_stopping && self.finish.contains(digit)
    }

    /// Marks it as ending; what the engine must be told, the first time.
    pub(crate) fn stop(&mut self, by: Option<Digit>) -> Option<(LegId, RecordId)> {
        if std::mem::replace(&mut self.is_stopping, true) {
            return None;
        }
        self.by = by;
        Some((self.leg, self.record))
    }
}

impl Call {
    pub(crate) fn begin_record(&mut self, now: Moment, id: ActionId, on: LegId, spec: Record) {
        let record = self.start_record(on, &spec);
        let work = RecordWork { record, leg: on, finish: spec.finish, by: None, is_stopping: false };
        self.run(id, on, Some(now.instant + spec.length_max), Work::Record(work));
    }

    /// Begins a recording and gives its name.
    pub(crate) fn start_record(&mut self, leg: LegId, spec: &Record) -> RecordId {
        let record = self.next_record();
        self.media(leg, MediaCommand::Record { record, spec: Box::new(spec.clone()) });
        record
    }

    pub(crate) fn stop_record(&mut self, stop: Option<(LegId, RecordId)>) {
        if let Some((leg, record)) = stop {
            self.media(leg, MediaCommand::StopRecord(record));
        }
    }

    pub(crate) fn record_ended(&mut self, record: RecordId, result: Result<Recorded, ActionFailure>) {
        self.records_open = self.records_open.saturating_sub(1);
        let owner = self.running.iter().find_map(|running| {
            let Work::Record(work) = &running.work else { return None };
            (work.record == record).then_some((running.id, work.by))
        });
        if let Ok(Recorded { file: Some(file), .. }) = &result {
            self.recordings.push(file.clone());
        }
        let Some((id, finish)) = owner else { return };
        if let Ok(Recorded { file: Some(file), .. }) = &result {
            self.recorded.push((id, file.clone()));
        }
        let outcome = match result {
            Ok(recorded) => Outcome::Recorded(Recorded { finish, ..recorded }),
            Err(failure) => Outcome::Failed(failure),
        };
        self.end_action(id, outcome);
    }
}
