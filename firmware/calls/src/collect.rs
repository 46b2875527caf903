//! Gathering digits behind prompts.

use tipring_model::flow::{Collect, CollectEnd, Collected, Moment, Outcome};
use tipring_model::{ActionId, Digit, Digits, LegId, PlayId};

use crate::actions::Work;
use crate::call::Call;
use crate::contract::MediaCommand;

/// A collection under way.
pub(crate) struct CollectWork {
    spec: Collect,
    digits: Digits,
    /// Prompts that the engine has not reported as over.
    plays: Vec<PlayId>,
    /// How it ended; it is reported when the prompts are silent.
    end: Option<End>,
    /// The prompts are over and the timers run.
    is_waiting: bool,
}

enum End {
    By(CollectEnd),
    Cancelled,
}

impl CollectWork {
    pub(crate) const fn wants_digits(&self) -> bool {
        self.end.is_none()
    }

    pub(crate) fn plays(&self, play: PlayId) -> bool {
        self.plays.contains(&play)
    }

    pub(crate) fn play_ended(&mut self, ended: PlayId) {
        self.plays.retain(|play| *play != ended);
    }

    /// Ends it; the prompts to stop are returned.
    pub(crate) fn cancel(&mut self) -> Vec<PlayId> {
        self.end.get_or_insert(End::Cancelled);
        self.plays.clone()
    }

    /// Takes a digit; true if it is the last.
    fn take(&mut self, digit: Digit) -> bool {
        if self.spec.finish.contains(digit) {
            self.end = Some(End::By(CollectEnd::Finish(digit)));
            return true;
        }
        self.digits.push(digit);
        let full = self.digits.len() >= self.spec.digits_max;
        if full {
            self.end = Some(End::By(CollectEnd::Full));
        }
        full
    }
}

impl Call {
    pub(crate) fn begin_collect(&mut self, now: Moment, id: ActionId, on: LegId, spec: Collect) {
        let Some(leg) = self.leg_mut(on) else { return };
        if !spec.typed_ahead {
            leg.typed_ahead.clear();
        }
        let mut work =
            CollectWork { spec, digits: Digits::new(), plays: Vec::new(), end: None, is_waiting: false };
        while let Some(digit) = leg.typed_ahead.pop_front() {
            if work.take(digit) {
                break;
            }
        }
        if work.end.is_none() && work.digits.is_empty() {
            let prompts = std::mem::take(&mut work.spec.prompts);
            for prompt in prompts {
                let play = self.play(on);
                work.plays.push(play);
                let (source, loops) = (prompt.source, prompt.loops);
                self.media(on, MediaCommand::Play { play, source, loops });
            }
        }
        self.run(id, on, None, Work::Collect(work));
        self.collect_settled(now, id);
    }

    pub(crate) fn collect_digit(&mut self, now: Moment, id: ActionId, digit: Digit) {
        let Some(running) = self.running.iter_mut().find(|running| running.id == id) else { return };
        let (Work::Collect(work), Some(leg)) = (&mut running.work, running.leg) else { return };
        work.take(digit);
        let plays = work.plays.clone();
        if let (true, None, Some(between)) = (work.is_waiting, &work.end, work.spec.between_digits) {
            let total = running.due.filter(|_| work.spec.total.is_some());
            let next = now.instant + between;
            running.due = Some(total.map_or(next, |total| total.min(next)));
        }
        self.stop_plays(leg, &plays);
        self.collect_settled(now, id);
    }

    /// Once the prompts are silent: reports the end, or starts the timers.
    pub(crate) fn collect_settled(&mut self, now: Moment, id: ActionId) {
        let Some(running) = self.running.iter_mut().find(|running| running.id == id) else { return };
        let Work::Collect(work) = &mut running.work else { return };
        if !work.plays.is_empty() {
            return;
        }
        match &work.end {
            Some(End::Cancelled) => self.end_action(id, Outcome::Cancelled),
            Some(End::By(by)) => {
                let collected = Collected { digits: work.digits.clone(), by: *by };
                self.end_action(id, Outcome::Collected(collected));
            }
            None if work.is_waiting => {}
            None => {
                work.is_waiting = true;
                let started = !work.digits.is_empty();
                let next = if started { work.spec.between_digits } else { work.spec.first_digit };
                running.due =
                    [next, work.spec.total].into_iter().flatten().min().map(|wait| now.instant + wait);
            }
        }
    }

    pub(crate) fn collect_timeout(&mut self, id: ActionId) {
        let Some(Work::Collect(work)) = self.work_of(id) else { return };
        let collected = Collected { digits: work.digits.clone(), by: CollectEnd::Timeout };
        self.end_action(id, Outcome::Collected(collected));
    }
}
