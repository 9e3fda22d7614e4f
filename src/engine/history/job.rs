//! One job: its schedules over time, when it was held, and its runs in order.

use std::collections::BTreeSet;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::super::observation::Name;
use super::super::schedule::{Cron, CronError, Dialect, Tick};
use super::super::time::{Span, Timestamp};
use super::Slot;

/// A stretch of time in which ticks start nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// When it began; [`Timestamp::MIN`] when it was held at first sight.
    pub from: Timestamp,
    /// When it was over; `None`: it goes on.
    pub to: Option<Timestamp>,
    /// An instant at which it was held for certain, for holds whose beginning is not known.
    #[serde(default)]
    pub held_at: Option<Timestamp>,
}

impl Hold {
    /// When it began for certain, and whether it may have begun before. `None`: nothing is known.
    pub fn since(&self) -> Option<(Timestamp, bool)> {
        if self.from > Timestamp::MIN {
            return Some((self.from, false));
        }
        Some((self.held_at?, true))
    }
}

/// A hold begins or ends at `at`. One that begins at an unknown instant was there at `held_at`.
pub(super) fn set_hold(holds: &mut Vec<Hold>, is_held: bool, at: Timestamp, held_at: Timestamp) {
    let is_open = holds.last().is_some_and(|hold| hold.to.is_none());
    match (is_open, is_held) {
        (false, true) => holds.push(Hold {
            from: at,
            to: None,
            held_at: (at == Timestamp::MIN).then_some(held_at),
        }),
        (true, false) => {
            if let Some(hold) = holds.last_mut() {
                hold.to = Some(at);
            }
        }
        (true, true) | (false, false) => {}
    }
}

/// One job.
#[derive(Debug)]
pub struct JobHistory {
    /// Its name.
    pub name: Name,
    /// When it was first seen, as a job or by a run.
    pub first_seen_at: Timestamp,
    /// Its schedules over time, oldest first.
    pub(super) versions: Vec<JobVersion>,
    /// It was listed once and is not any more.
    pub is_gone: bool,
    /// When it was last seen in a list of jobs, since the start.
    pub(super) listed_at: Option<Timestamp>,
    pub(super) holds: Vec<Hold>,
    pub(super) by_created: RunIndex,
    pub(super) by_settled: RunIndex,
    /// Successes by settling.
    pub(super) successes: RunIndex,
    /// By creation.
    pub(super) active: RunIndex,
}

/// Runs in time; those of one instant by id, so that the order of arrival does not matter.
pub(super) type RunIndex = BTreeSet<(Timestamp, Name, Slot)>;

/// The bound below all runs of an instant.
pub(super) fn from(at: Timestamp) -> (Timestamp, Name, Slot) {
    (at, Name::from(""), 0)
}

/// A job's schedule from an instant on.
#[derive(Clone, Debug)]
pub struct JobVersion {
    /// From when it holds; the first version holds for all time before, too.
    pub since: Timestamp,
    /// As the source wrote it.
    pub schedule: Option<Name>,
    /// As understood.
    pub cron: Option<Result<Cron, CronError>>,
}

/// What is kept of a job apart from its runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its name.
    pub name: Name,
    /// When it was first seen.
    pub first_seen_at: Timestamp,
    /// From when, and the schedule.
    pub versions: Vec<(Timestamp, Option<Name>)>,
    /// When it was disabled.
    pub holds: Vec<Hold>,
    /// It is not listed any more.
    pub is_gone: bool,
}

impl JobVersion {
    pub(super) fn new(since: Timestamp, schedule: Option<Name>) -> Self {
        let cron = schedule
            .as_ref()
            .map(|text| Cron::parse(text, Dialect::Scheduler));
        Self {
            since,
            schedule,
            cron,
        }
    }
}

impl JobHistory {
    /// Since when the job is held; a job that is gone has been held since it was missed.
    pub fn held_since(&self) -> Option<Timestamp> {
        let hold = self.holds.last().filter(|hold| hold.to.is_none())?;
        Some(hold.from)
    }

    /// The schedule that held at `at`.
    pub fn version_at(&self, at: Timestamp) -> Option<&JobVersion> {
        self.versions
            .iter()
            .rev()
            .find(|version| version.since <= at)
            .or(self.versions.first())
    }

    /// The schedules with the stretches `[since, end)` in which they hold, oldest first.
    fn stretches(&self) -> impl DoubleEndedIterator<Item = (&Cron, Timestamp, Timestamp)> {
        self.versions
            .iter()
            .enumerate()
            .filter_map(|(index, version)| {
                let next = self.versions.get(index + 1);
                let since = if index == 0 {
                    Timestamp::MIN
                } else {
                    version.since
                };
                let cron = version.cron.as_ref()?.as_ref().ok()?;
                Some((cron, since, next.map_or(Timestamp::MAX, |next| next.since)))
            })
    }

    /// The job's ticks in `(after, until]`, each by the schedule of its time, in order. Lazy.
    pub fn ticks(
        &self,
        zone: Tz,
        after: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = Tick> {
        let moment = Span::milliseconds(1);
        self.stretches().flat_map(move |(cron, since, end)| {
            let (start, end) = (after.max(since - moment), until.min(end - moment));
            (start < end)
                .then(|| cron.ticks(zone, start, end))
                .into_iter()
                .flatten()
        })
    }

    /// The first tick after `after`.
    pub fn next_tick(&self, zone: Tz, after: Timestamp) -> Option<Tick> {
        self.ticks(zone, after, Timestamp::MAX).next()
    }

    /// The last tick at or before `at`.
    pub fn previous_tick(&self, zone: Tz, at: Timestamp) -> Option<Tick> {
        let moment = Span::milliseconds(1);
        self.stretches().rev().find_map(|(cron, since, end)| {
            let at = at.min(end - moment);
            let tick = (at >= since).then(|| cron.previous(zone, at))??;
            (tick.at >= since).then_some(tick)
        })
    }

    /// It is in the list of jobs, as far as known; one that only runs speak of is not.
    pub fn is_listed(&self) -> bool {
        !self.versions.is_empty() && !self.is_gone
    }

    /// The hold under way, or the last one there was: its own, not its project's.
    pub fn last_hold(&self) -> Option<Hold> {
        self.holds.last().copied()
    }

    /// What is to be stored of the job itself.
    pub fn record(&self) -> JobRecord {
        JobRecord {
            name: self.name.clone(),
            first_seen_at: self.first_seen_at,
            versions: self
                .versions
                .iter()
                .map(|version| (version.since, version.schedule.clone()))
                .collect(),
            holds: self.holds.clone(),
            is_gone: self.is_gone,
        }
    }
}
