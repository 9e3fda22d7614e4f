//! Histories of the simulator as series: each job's successful scheduled runs.
//!
//! What has become slower is recognised by what the detector does not see: while a job is slow because of
//! one model, that model's share of the run is far above its usual share.

use tardy::engine::time::{Span, Timestamp};
use tardy::sim::{Organization, Outcome, PlannedRun, Shape, Story};

use super::score::{Event, Series};

/// A model takes this many times its usual share of a slow run; noise of shares is 5 %.
const SLOW_SHARE: f64 = 1.4;

/// Runs of a stretch that is no more than this are singles: nothing to be told.
const SINGLES: usize = 2;

/// A setting of the simulator, and the series of its seeds.
pub struct Setting {
    pub name: String,
    pub series: Vec<Series>,
}

/// What generated organizations differ in: level shifts need models. Weekends, working hours, failures, late
/// starts and pauses are rolled for each job.
pub fn settings(seeds: std::ops::Range<u64>) -> Vec<Setting> {
    let mut settings = Vec::new();
    for days in [30, 60, 180] {
        for models in [0, 6] {
            settings.push(setting(days, models, seeds.clone()));
        }
    }
    settings.push(Setting {
        name: "the demonstration's story".to_owned(),
        series: seeds
            .flat_map(|seed| series_of(&Story::new(seed).organization, seed))
            .collect(),
    });
    settings
}

/// Generated organizations of so many days; without models there are no level shifts.
pub fn setting(days: i64, models: usize, seeds: std::ops::Range<u64>) -> Setting {
    let all = seeds.flat_map(|seed| {
        let shape = Shape {
            projects: 2,
            jobs_per_project: 8,
            models_per_job: models,
            days,
            end_at: Timestamp::from_millis(1_773_273_600_000),
        };
        series_of(&Organization::seeded(seed, shape), seed)
    });
    let shifts = if models == 0 { "no" } else { "with" };
    Setting {
        name: format!("{days} days, {shifts} level shifts"),
        series: all.collect(),
    }
}

fn series_of(organization: &Organization, seed: u64) -> Vec<Series> {
    let mut all = Vec::new();
    for project in organization.project_ids() {
        let mut runs = organization.planned_runs(&project);
        runs.sort_by_key(|run| run.created_at);
        for job in organization.planned_jobs(&project) {
            let own: Vec<&PlannedRun> = runs
                .iter()
                .filter(|run| run.job.as_deref() == Some(job.name.as_str()))
                .filter(|run| run.status == Outcome::Success && run.triggered_by == "scheduled")
                .filter(|run| run.finished_at.is_some())
                .collect();
            let id = format!("{seed}/{project}/{}", job.name);
            all.push(series(id, &job.name, &own));
        }
    }
    all
}

fn series(id: String, job: &str, runs: &[&PlannedRun]) -> Series {
    let took = |run: &PlannedRun| {
        let span = run
            .finished_at
            .zip(run.started_at)
            .map(|(to, from)| to - from);
        seconds(span.unwrap_or_default())
    };
    Series {
        id,
        family: job.to_owned(),
        n: runs.len(),
        t: runs
            .iter()
            .map(|run| run.created_at.as_millis().div_euclid(1_000))
            .collect(),
        v: runs.iter().map(|run| took(run)).collect(),
        events: events(runs),
    }
}

#[allow(clippy::cast_precision_loss)]
fn seconds(span: Span) -> f64 {
    span.num_milliseconds() as f64 / 1e3
}

/// Each stretch of slow runs, and its end: the level falls.
fn events(runs: &[&PlannedRun]) -> Vec<Event> {
    let slow = slow_runs(runs);
    let event = |kind: &str, start: usize, end: usize, must: bool| Event {
        kind: kind.to_owned(),
        start,
        end,
        must,
    };
    let mut events = Vec::new();
    let mut start = 0;
    while start < slow.len() {
        let end = start + slow[start..].iter().take_while(|is_slow| **is_slow).count();
        if end > start + SINGLES {
            events.push(event("shift", start, end, true));
            events.push(event("down", end, runs.len(), false));
        } else if end > start {
            events.push(event("transient", start, end, false));
        }
        start = end + 1;
    }
    events
}

fn slow_runs(runs: &[&PlannedRun]) -> Vec<bool> {
    let models = runs
        .iter()
        .map(|run| run.executions.len())
        .max()
        .unwrap_or(0);
    let share = |run: &PlannedRun, model: usize| {
        let execution = run.executions.get(model)?;
        let took = seconds(execution.finished_at? - execution.started_at);
        Some(took / seconds(run.finished_at? - run.started_at?))
    };
    let mut slow = vec![false; runs.len()];
    for model in 0..models {
        let mut shares: Vec<f64> = runs.iter().filter_map(|run| share(run, model)).collect();
        shares.sort_by(f64::total_cmp);
        let usual = shares[shares.len() / 2];
        for (is_slow, run) in slow.iter_mut().zip(runs) {
            *is_slow |= share(run, model).is_some_and(|share| share > SLOW_SHARE * usual);
        }
    }
    slow
}
