//! What is known of one server: whether it is there, how much it may be asked.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Lane, Pace, spread};
use crate::store::Seq;

/// Webhooks on their way to one server at a time, and while it is told what it missed.
const PER_SERVER_MAX: usize = 4;
const PER_SERVER_DRAINING_MAX: usize = 2;
/// Urgent ones on their way to one server at a time, beside the others.
pub(super) const URGENT_PER_SERVER_MAX: usize = 2;
/// How long to wait before a server that gave no answer is asked again; the last goes on
/// for ever.
pub(super) const PROBES: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(40),
    Duration::from_secs(60),
];
/// How long the others wait where one could not be sent for reasons of our own.
const HOLD: Duration = Duration::from_millis(250);
/// How often a server is asked that is paused, or has failed for [`FAILING_MAX`].
pub(super) const PROBE_SLOW: Duration = Duration::from_secs(3_600);
/// After so long without a webhook taken the server is asked less, and people are told.
pub(super) const FAILING_MAX: Duration = Duration::from_secs(5 * 24 * 3_600);
/// More webhooks than these are a backlog, and are told at a measured pace.
pub(super) const DRAIN_FROM: usize = 20;
/// What gathers in a shorter time needs no measured pace.
const OUTAGE_MIN: Duration = Duration::from_secs(60);
/// How often it is looked whether a backlog shrinks.
const DRAIN_LOOK_EVERY: Duration = Duration::from_secs(300);
/// With so few left the backlog is gone.
const DRAIN_TO: usize = 4;

/// What people are to be told about a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alarm {
    /// It said that it wants no more (410): nothing is lost, it is asked once an hour.
    Paused,
    /// It has taken nothing for five days: it is asked once an hour.
    Failing,
    /// It takes webhooks again.
    Recovered,
}

/// How a server stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    /// It is told what comes.
    Well,
    /// It is told what it missed.
    Draining,
    /// It gives no answer.
    Away,
    /// It has taken nothing for five days.
    Failing,
    /// It said that it wants no more.
    Paused,
}

impl Mood {
    /// The name, as it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Draining => "draining",
            Self::Away => "away",
            Self::Failing => "failing",
            Self::Paused => "paused",
        }
    }
}

/// One server with the lanes that lead to it.
#[derive(Debug, Default)]
pub(super) struct Server {
    /// Lanes whose head may be sent: those that had their turn in an outage last, the rest
    /// by their oldest webhook.
    pub(super) ready: BTreeSet<(u64, Seq, Lane)>,
    /// The same lanes by their newest webhook.
    pub(super) newest: BTreeSet<(Seq, Lane)>,
    /// Lanes that wait for nobody.
    pub(super) urgent: BTreeSet<(Seq, Lane)>,
    /// Webhooks in all its lanes.
    pub(super) waiting: usize,
    pub(super) sending: usize,
    pub(super) sending_urgent: usize,
    /// Times in a row that it gave no answer.
    pub(super) silences: u32,
    /// Not to be asked before: for our own reasons, until it answers.
    pub(super) after: Option<Instant>,
    /// Not to be asked before: it asked for that itself.
    told: Option<Instant>,
    /// It said that it wants no more.
    paused: bool,
    /// Since when it has taken nothing, and whether that has been said.
    failing_since: Option<Instant>,
    failing_told: bool,
    /// It is told what it missed.
    pub(super) draining: Option<Drain>,
}

/// How a backlog is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    /// No request before this.
    next: Instant,
    /// Between two requests.
    pause: Duration,
    /// It did not shrink, and is told faster.
    is_hurried: bool,
    /// When it was looked at last, and how long it was then.
    looked: Instant,
    waiting: usize,
}

impl Server {
    /// When an urgent lane of it may be sent: at once.
    pub(super) fn has_urgent(&self) -> bool {
        !self.urgent.is_empty() && self.sending_urgent < URGENT_PER_SERVER_MAX
    }

    /// When another lane of it may be sent; none if nothing is ready or enough is on its
    /// way.
    pub(super) fn opens(&self, now: Instant) -> Option<Instant> {
        // One that is away is asked by one at a time.
        let most = if self.silences > 0 || self.paused || self.failing_told {
            1
        } else if self.draining.is_some_and(|drain| !drain.is_hurried) {
            PER_SERVER_DRAINING_MAX
        } else {
            PER_SERVER_MAX
        };
        let earliest =
            [self.after, self.told, self.draining.map(|drain| drain.next)].into_iter().flatten().max();
        (!self.ready.is_empty() && self.sending < most).then(|| earliest.unwrap_or(now).max(now))
    }

    /// One is on its way: the next of a backlog has its own moment.
    pub(super) fn sent(&mut self, now: Instant) {
        self.sending += 1;
        if let Some(drain) = &mut self.draining {
            if now.saturating_duration_since(drain.looked) >= DRAIN_LOOK_EVERY {
                // Where no less comes than goes, it would never end at this pace.
                if self.waiting >= drain.waiting {
                    drain.pause /= 2;
                    drain.is_hurried = true;
                }
                (drain.looked, drain.waiting) = (now, self.waiting);
            }
            drain.next = now + drain.pause;
        }
    }

    /// It is to be asked at once, whatever was known of it.
    pub(super) const fn hurry(&mut self) {
        (self.after, self.told) = (None, None);
    }

    /// Something of ours keeps a webhook from it, and perhaps the next one, too: not all of
    /// them are to be tried at once.
    pub(super) fn hold(&mut self, now: Instant) {
        let after = now + HOLD;
        self.after = Some(self.after.map_or(after, |known| known.max(after)));
    }

    /// It gave no answer. How long it is left alone.
    pub(super) fn was_silent(&mut self, now: Instant, random: u32) -> (Duration, Option<Alarm>) {
        let probe = PROBES[(self.silences as usize).min(PROBES.len() - 1)];
        self.silences += 1;
        let alarm = self.failed(now);
        let wait = spread(if self.is_slow() { PROBE_SLOW } else { probe }, random);
        self.after = Some(now + wait);
        (wait, alarm)
    }

    /// It took one.
    pub(super) fn took(&mut self, now: Instant, pace: &Pace, random: u32) -> Option<Alarm> {
        let was_away = self.has_failed_for(now, OUTAGE_MIN);
        let alarm = self.is_slow().then_some(Alarm::Recovered);
        (self.silences, self.after, self.failing_since) = (0, None, None);
        (self.paused, self.failing_told) = (false, false);
        if was_away {
            self.drain(now, pace, random);
        }
        alarm
    }

    /// It wants no more.
    pub(super) fn pause(&mut self, now: Instant, random: u32) -> (Duration, Option<Alarm>) {
        let alarm = (!self.paused).then_some(Alarm::Paused);
        (self.silences, self.paused) = (0, true);
        self.failing_since.get_or_insert(now);
        let wait = spread(PROBE_SLOW, random);
        self.after = Some(now + wait);
        (wait, alarm)
    }

    /// It answered, but took nothing; `told` is how long it asked to be left alone.
    pub(super) fn refused(
        &mut self,
        now: Instant,
        told: Option<Duration>,
        counts: bool,
        pace: &Pace,
        random: u32,
    ) -> Option<Alarm> {
        (self.silences, self.after) = (0, None);
        // What was on its way to it already does not make it ask for less.
        self.told = self.told.max(told.map(|wait| now + wait));
        let alarm = if counts { self.failed(now) } else { None };
        if self.is_slow() {
            self.after = Some(now + spread(PROBE_SLOW, random));
        }
        if self.has_failed_for(now, OUTAGE_MIN) {
            // It has trouble enough: no storm.
            self.drain(now, pace, 0);
        }
        alarm
    }

    fn failed(&mut self, now: Instant) -> Option<Alarm> {
        self.failing_since.get_or_insert(now);
        let is_news = !self.failing_told && self.has_failed_for(now, FAILING_MAX);
        self.failing_told |= is_news;
        is_news.then_some(Alarm::Failing)
    }

    fn has_failed_for(&self, now: Instant, time: Duration) -> bool {
        self.failing_since.is_some_and(|since| now.saturating_duration_since(since) >= time)
    }

    const fn is_slow(&self) -> bool {
        self.paused || self.failing_told
    }

    /// There is a backlog, perhaps that of many boxes: they do not all begin at once.
    pub(super) fn drain(&mut self, now: Instant, pace: &Pace, random: u32) {
        if self.waiting > DRAIN_FROM && self.draining.is_none() {
            let share = f64::from(random) / f64::from(u32::MAX);
            self.draining = Some(Drain {
                next: now + pace.drain_spread.mul_f64(share),
                pause: Duration::from_secs(1) / pace.drain_per_s.max(1),
                is_hurried: false,
                looked: now,
                waiting: self.waiting,
            });
        }
    }

    /// One webhook less.
    pub(super) const fn has_less(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
        if self.waiting <= DRAIN_TO {
            self.draining = None;
        }
    }

    /// How it stands, in a word.
    pub(super) const fn mood(&self) -> Mood {
        if self.paused {
            Mood::Paused
        } else if self.failing_told {
            Mood::Failing
        } else if self.silences > 0 {
            Mood::Away
        } else if self.draining.is_some() {
            Mood::Draining
        } else {
            Mood::Well
        }
    }

    /// Nothing leads to it.
    pub(super) const fn is_idle(&self) -> bool {
        self.waiting == 0 && self.sending + self.sending_urgent == 0
    }

    /// It has not been well lately, and that is remembered while nothing leads to it.
    pub(super) const fn is_troubled(&self) -> bool {
        self.silences > 0 || self.paused || self.failing_since.is_some()
    }
}
