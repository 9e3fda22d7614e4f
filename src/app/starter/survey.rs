//! What a source shows, in the figures a starter configuration needs.

use std::collections::BTreeSet;

use chrono_tz::Tz;

use crate::engine::baseline::{Baseline, seconds};
use crate::engine::history::{History, JobHistory, ProjectHistory};
use crate::engine::observation::{Name, Run};
use crate::engine::time::{Span, Timestamp};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survey {
    /// Names of projects.
    pub projects: Vec<Name>,
    /// Listed jobs.
    pub jobs: Vec<JobFound>,
    /// Runs read.
    pub runs: usize,
    /// Models with executions.
    pub models: BTreeSet<Name>,
    /// Plans read.
    pub plans: usize,
    /// Most commits any project is behind, where the source says.
    pub commits_behind: Option<u32>,
    /// Environments whose protection is in force.
    pub protected: Vec<Name>,
}

/// A job and what its history says.
#[derive(Clone, Debug, PartialEq)]
pub struct JobFound {
    /// Its project, as people name it.
    pub project: Name,
    /// Its name.
    pub name: Name,
    /// Its ticks start runs.
    pub is_enabled: bool,
    /// The schedule as written; `None`: none, or one without ticks.
    pub schedule: Option<Name>,
    /// The longest and the shortest time between two of its ticks in the coming weeks.
    pub gaps: Option<(Span, Span)>,
    /// Successes and failures read.
    pub outcomes: (usize, usize),
    /// Duration of successes; `None` without any.
    pub usual: Option<Baseline>,
    /// From the tick to the end of the success that served it, longest of nineteen in twenty.
    pub delivery: Option<Span>,
    /// The longest time between two successes.
    pub longest_silence: Option<Span>,
    /// The last tick before now.
    pub last_tick_at: Option<Timestamp>,
}

/// Successes looked at for each job.
const MAX_SUCCESSES: usize = 500;

/// Ticks looked at for the gaps between them.
const MAX_TICKS: usize = 1_000;

/// A run may start a little before its tick.
const EARLY: Span = Span::minutes(5);

impl Survey {
    /// Of everything observed of one source. `zone` is that of the scheduler.
    pub fn of(history: &History, source: &str, zone: Tz, now: Timestamp) -> Self {
        let protections = history.protections(source).unwrap_or_default().iter();
        let mut survey = Self {
            protected: protections
                .filter(|protection| protection.is_enabled)
                .map(|protection| protection.environment.clone())
                .collect(),
            ..Self::default()
        };
        for project in history.projects().filter(|p| *p.key.source == *source) {
            survey.projects.push(project.display_name().clone());
            let models = project.models().map(|(_, model, _)| model.clone());
            survey.models.extend(models);
            survey.plans += project.plans().iter().count();
            let behind = project.info.as_ref().and_then(|info| info.commits_behind);
            survey.commits_behind = survey.commits_behind.max(behind);
            for job in project.jobs().filter(|job| !job.is_gone) {
                survey.runs += project.newest(job).count();
                if job.version_at(now).is_some() {
                    survey.jobs.push(JobFound::of(project, job, zone, now));
                }
            }
        }
        survey
    }
}

impl JobFound {
    fn of(project: &ProjectHistory, job: &JobHistory, zone: Tz, now: Timestamp) -> Self {
        let is_counted = |run: &&Run| &*run.job_type != "janitor";
        let successes: Vec<&Run> = project
            .successes(job)
            .filter(is_counted)
            .take(MAX_SUCCESSES)
            .collect();
        let failures = project
            .finished(job)
            .filter(is_counted)
            .filter(|run| run.status.is_failure())
            .count();
        let gaps = gaps(job, zone, now);
        let schedule = job
            .version_at(now)
            .and_then(|version| version.schedule.clone());
        Self {
            project: project.display_name().clone(),
            name: job.name.clone(),
            is_enabled: !project.is_held(job, now),
            schedule: schedule.filter(|_| gaps.is_some()),
            gaps,
            outcomes: (successes.len(), failures),
            usual: Baseline::of(
                successes
                    .iter()
                    .filter_map(|run| run.run_time())
                    .map(seconds),
            ),
            delivery: delivery(job, zone, &successes),
            longest_silence: successes
                .windows(2)
                .map(|pair| pair[0].settled_at().since(pair[1].settled_at()))
                .max(),
            last_tick_at: job.previous_tick(zone, now).map(|tick| tick.at),
        }
    }

    /// Runs several times a day.
    pub fn is_frequent(&self) -> bool {
        self.gaps
            .is_some_and(|(longest, _)| longest <= Span::hours(6))
    }

    /// Has ticks on every day of the week.
    pub fn is_every_day(&self) -> bool {
        self.gaps
            .is_some_and(|(longest, _)| longest <= Span::hours(26))
    }

    /// Has a tick about once a day, or less often.
    pub fn is_daily(&self) -> bool {
        self.gaps
            .is_some_and(|(_, shortest)| shortest >= Span::hours(20))
    }
}

/// The longest and the shortest gap between ticks.
fn gaps(job: &JobHistory, zone: Tz, now: Timestamp) -> Option<(Span, Span)> {
    let until = now + Span::days(60);
    let ticks: Vec<Timestamp> = job
        .ticks(zone, now, until)
        .take(MAX_TICKS)
        .map(|tick| tick.at)
        .collect();
    let gaps = || ticks.windows(2).map(|pair| pair[1] - pair[0]);
    Some((gaps().max()?, gaps().min()?))
}

/// From tick to success: a high one of those seen.
fn delivery(job: &JobHistory, zone: Tz, successes: &[&Run]) -> Option<Span> {
    let mut taken: Vec<Span> = successes
        .iter()
        .filter(|run| &*run.triggered_by == "scheduled")
        .filter_map(|run| {
            let tick = job.previous_tick(zone, run.created_at + EARLY)?;
            Some(run.settled_at().since(tick.at))
        })
        .collect();
    taken.sort_unstable();
    let rank = taken.len() * 19 / 20;
    taken.get(rank.min(taken.len().saturating_sub(1))).copied()
}
