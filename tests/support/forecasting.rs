//! Measures forecasts on runs not seen: histories, walked forward, with deadlines that are missed now and
//! then. The benchmark and the test use it; what is measured is the production forecast.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use tardy::engine::forecast::{
    Course, Durations, MIN_RUNS, PAST_COURSES, PAST_RUNS, Past, Piece, Progress, Waits,
};
use tardy::engine::schedule::{Cron, Dialect};
use tardy::engine::time::{Span, Timestamp};
use tardy::sim::{Organization, Outcome, PlannedRun, Shape};

/// A success.
#[derive(Clone, Debug)]
#[allow(clippy::struct_field_names)] // instants end in `_at`
pub struct Finished {
    /// When it was to start.
    pub tick_at: Timestamp,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    /// Its models; empty: not known.
    pub pieces: Vec<Piece>,
}

/// Runs of a job that are alike, oldest first.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub runs: Vec<Finished>,
}

/// One look at a run, with what was foretold of it.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The run with its deadline: looks of one case hang together.
    pub case: usize,
    pub left: Span,
    /// Of the time from tick to deadline, the share that is left.
    pub left_share: f64,
    pub is_missed: bool,
    pub is_running: bool,
    /// It has taken longer than each of the last 20.
    pub over: bool,
    /// By work where models are known, by elapsed time otherwise.
    pub forecast: f64,
    /// By elapsed time alone.
    pub elapsed: f64,
    /// Without regard to the elapsed time.
    pub blind: f64,
    /// The plain share of the last 20 runs that are longer than the elapsed time.
    pub counted: f64,
    /// The time from the mean end to the deadline, in standard deviations of the last 20 runs.
    pub sigmas: f64,
}

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Deadlines: quantiles of the times from tick to end.
    pub quantiles: &'a [f64],
    /// Runs of a series at most.
    pub max_runs: usize,
    /// Time between looks; `None`: a twentieth of the time from tick to deadline.
    pub every: Option<Span>,
    /// Looks begin when this share of the time from tick to deadline is left.
    pub left_share: f64,
}

/// Jobs of the simulator's organizations, grown from a seed.
pub fn simulated(seed: u64, days: i64) -> Vec<Series> {
    let end_at = Timestamp::parse("2026-11-24T00:00:00Z").unwrap();
    let organization = Organization::seeded(
        seed,
        Shape {
            projects: 4,
            jobs_per_project: 7,
            models_per_job: 12,
            days,
            end_at,
        },
    );
    let mut series = Vec::new();
    for project in organization.project_ids() {
        let runs = organization.planned_runs(&project);
        for job in organization.planned_jobs(&project) {
            let cron = Cron::parse(&job.cron, Dialect::Scheduler).unwrap();
            let is_like = |run: &&PlannedRun| {
                let is_own = run.job.as_deref() == Some(&*job.name);
                is_own && run.triggered_by == "scheduled" && run.status == Outcome::Success
            };
            let mut numbers = BTreeMap::new();
            let runs = runs.iter().filter(is_like);
            let runs: Vec<Finished> = runs
                .filter_map(|run| finished(run, &cron, job.zone, &mut numbers))
                .collect();
            if runs.len() > MIN_RUNS {
                let name = format!("{project}/{}", job.name);
                series.push(Series { name, runs });
            }
        }
    }
    series
}

fn finished(
    run: &PlannedRun,
    cron: &Cron,
    zone: Tz,
    numbers: &mut BTreeMap<String, u32>,
) -> Option<Finished> {
    let started_at = run.started_at?;
    let seconds = |at: Timestamp| seconds(at.since(started_at));
    let pieces = run.executions.iter().map(|execution| {
        let next = u32::try_from(numbers.len()).unwrap();
        Piece {
            model: *numbers.entry(execution.model.clone()).or_insert(next),
            from: seconds(execution.started_at),
            to: execution.finished_at.map(seconds),
        }
    });
    Some(Finished {
        pieces: pieces.collect(),
        tick_at: cron.previous(zone, run.created_at)?.at,
        started_at,
        finished_at: run.finished_at?,
    })
}

/// Series of durations, one in a line: `{"id": …, "t": [seconds], "v": [seconds]}`.
pub fn written(lines: &str) -> Vec<Series> {
    let read = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let numbers = |key: &str| -> Vec<f64> {
            let list = row[key].as_array().unwrap().iter();
            list.map(|number| number.as_f64().unwrap()).collect()
        };
        let runs = numbers("t").into_iter().zip(numbers("v"));
        let runs = runs.map(|(at, took)| {
            let started_at = Timestamp::from_millis(0) + span(at);
            Finished {
                tick_at: started_at,
                started_at,
                finished_at: started_at + span(took),
                pieces: Vec::new(),
            }
        });
        Series {
            name: row["id"].as_str().unwrap_or_default().to_owned(),
            runs: runs.collect(),
        }
    };
    lines.lines().map(read).collect()
}

/// Looks at the runs of a series as they go on, each with the runs before it only.
pub fn walk(series: &Series, plan: Plan<'_>, cases: &mut usize) -> Vec<Look> {
    let runs = &series.runs;
    let past: Vec<Past> = runs
        .iter()
        .map(|run| Past::new(run.tick_at, Tz::UTC, run.took()).unwrap())
        .collect();
    let mut looks = Vec::new();
    let stride = ((runs.len() - MIN_RUNS) / plan.max_runs).max(1);
    for index in (MIN_RUNS..runs.len()).step_by(stride) {
        let run = &runs[index];
        let known = &past[index.saturating_sub(PAST_RUNS)..index];
        let durations = Durations::learn(known, run.tick_at, Tz::UTC).unwrap();
        let newest = &runs[index.saturating_sub(20)..index];
        let guess = Guess {
            run,
            durations: &durations,
            waits: Waits::new(newest.iter().map(|run| run.started_at - run.tick_at)),
            courses: courses(&runs[..index]),
            newest,
        };
        for by_at in deadlines(runs, run.tick_at, plan.quantiles) {
            *cases += 1;
            let all = by_at - run.tick_at;
            let every = plan.every.unwrap_or(all / 20).max(Span::milliseconds(1));
            let mut at = by_at - span(seconds(all) * plan.left_share);
            while at < by_at && at < run.finished_at {
                looks.push(guess.look(at, by_at, *cases));
                at = at + every;
            }
        }
    }
    looks
}

/// Deadlines of a run, between the ends of others, so that none is met to the very moment.
fn deadlines(runs: &[Finished], tick_at: Timestamp, quantiles: &[f64]) -> Vec<Timestamp> {
    let mut ends: Vec<Span> = runs
        .iter()
        .map(|run| run.finished_at - run.tick_at)
        .collect();
    ends.sort();
    ends.dedup();
    let mut found: Vec<Timestamp> = quantiles
        .iter()
        .map(|quantile| {
            let rank = index(*quantile * index_f64(ends.len() - 1));
            let next = ends.get(rank + 1).copied().unwrap_or(ends[rank] * 2);
            tick_at + (ends[rank] + next) / 2
        })
        .collect();
    found.dedup();
    found
}

fn courses(runs: &[Finished]) -> Vec<Course> {
    let newest = runs.iter().rev().take(PAST_COURSES);
    newest
        .map(|run| Course {
            pieces: run.pieces.clone(),
            took: seconds(run.took()),
        })
        .collect()
}

/// What is known of a run before it ends.
struct Guess<'a> {
    run: &'a Finished,
    durations: &'a Durations,
    waits: Waits,
    courses: Vec<Course>,
    newest: &'a [Finished],
}

impl Guess<'_> {
    fn look(&self, at: Timestamp, by_at: Timestamp, case: usize) -> Look {
        let (run, left) = (self.run, by_at - at);
        let is_running = at >= run.started_at;
        let elapsed = at.since(run.started_at);
        let (by_time, blind) = if is_running {
            let whole = self
                .durations
                .miss_when_running(Span::zero(), elapsed + left);
            (self.durations.miss_when_running(elapsed, left), whole)
        } else {
            let waited = at - run.tick_at;
            let p = self.durations.miss_when_waiting(&self.waits, waited, left);
            (p, p)
        };
        let progress = is_running
            .then(|| Progress::of(&self.courses, &run.pieces, seconds(elapsed)))
            .flatten();
        Look {
            case,
            left,
            left_share: seconds(left) / seconds(by_at - run.tick_at),
            is_missed: run.finished_at > by_at,
            is_running,
            over: self.newest.iter().all(|run| run.took() < elapsed),
            forecast: progress.map_or(by_time, |progress| progress.miss(left)),
            elapsed: by_time,
            blind,
            counted: self.counted(elapsed, left),
            sigmas: self.sigmas(at.max(run.tick_at).min(run.started_at), by_at),
        }
    }

    fn counted(&self, elapsed: Span, left: Span) -> f64 {
        let longer = self
            .newest
            .iter()
            .map(Finished::took)
            .filter(|took| *took > elapsed);
        let (of, missing) = longer.fold((0, 0), |(of, missing), took| {
            (of + 1, missing + usize::from(took > elapsed + left))
        });
        if of == 0 {
            1.0
        } else {
            index_f64(missing) / index_f64(of)
        }
    }

    /// "mean + k sigma", as far as k.
    fn sigmas(&self, start: Timestamp, by_at: Timestamp) -> f64 {
        let took = self.newest.iter().map(|run| seconds(run.took()));
        let count = index_f64(self.newest.len());
        let mean = took.clone().sum::<f64>() / count;
        let variance = took.map(|took| (took - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let sigma = variance.sqrt().max(0.001 * mean);
        (seconds(by_at - start) - mean) / sigma
    }
}

impl Finished {
    fn took(&self) -> Span {
        self.finished_at - self.started_at
    }
}

/// How well probabilities hold.
#[derive(Clone, Debug, Default)]
pub struct Score {
    /// Looks, sum of the predictions, misses; by tenths of the prediction.
    pub bins: [(f64, f64, f64); 10],
    pub count: f64,
    pub misses: f64,
    squares: f64,
}

impl Score {
    pub fn of(looks: &[Look], pick: impl Fn(&Look) -> f64) -> Self {
        let mut score = Self::default();
        for look in looks {
            let (p, seen) = (pick(look), f64::from(u8::from(look.is_missed)));
            let bin = &mut score.bins[index(p * 10.0).min(9)];
            *bin = (bin.0 + 1.0, bin.1 + p, bin.2 + seen);
            score.count += 1.0;
            score.misses += seen;
            score.squares += (p - seen).powi(2);
        }
        score
    }

    /// Mean square of what was foretold less what came.
    pub fn brier(&self) -> f64 {
        self.squares / self.count
    }

    /// Against the share of misses overall, known beforehand.
    pub fn skill(&self) -> f64 {
        let share = self.misses / self.count;
        1.0 - self.brier() / (share * (1.0 - share))
    }

    /// Bins in which fewer or more came true than `z` standard deviations of a binomial law around the mean
    /// prediction allow, give or take one run and the share `allowed`.
    pub fn wrong_bins(&self, z: f64, allowed: f64) -> Vec<String> {
        let bins = self.bins.iter().filter(|bin| bin.0 >= 1.0);
        let is_off = |(count, sum, misses): &&(f64, f64, f64)| {
            let p = sum / count;
            let bound = z * (count * p * (1.0 - p)).sqrt() + 1.0 + allowed * count;
            (misses - sum).abs() > bound
        };
        bins.filter(is_off)
            .map(|(count, sum, misses)| {
                format!(
                    "{:.2} foretold, {:.2} came, {count} runs",
                    sum / count,
                    misses / count
                )
            })
            .collect()
    }
}

/// Warnings of a forecast, at most one for a case.
#[derive(Clone, Debug, Default)]
pub struct Warnings {
    pub missed: usize,
    pub met: usize,
    /// Minutes from the warning to the deadline, of cases that were missed.
    pub leads: Vec<f64>,
    pub false_alarms: usize,
}

impl Warnings {
    pub fn of(looks: &[Look], is_warned: impl Fn(&Look) -> bool) -> Self {
        let mut warnings = Self::default();
        for case in looks.chunk_by(|a, b| a.case == b.case) {
            let first = case.iter().find(|look| is_warned(look));
            match (case[0].is_missed, first) {
                (true, Some(look)) => warnings.leads.push(seconds(look.left) / 60.0),
                (false, Some(_)) => warnings.false_alarms += 1,
                (_, None) => {}
            }
            warnings.missed += usize::from(case[0].is_missed);
            warnings.met += usize::from(!case[0].is_missed);
        }
        warnings.leads.sort_by(f64::total_cmp);
        warnings
    }

    pub fn recall(&self) -> f64 {
        index_f64(self.leads.len()) / index_f64(self.missed)
    }

    /// Of the cases that were met, the share that was warned of.
    pub fn false_share(&self) -> f64 {
        index_f64(self.false_alarms) / index_f64(self.met)
    }

    /// Of the warnings, the share after which the deadline was missed.
    pub fn precision(&self) -> f64 {
        let right = index_f64(self.leads.len());
        right / (right + index_f64(self.false_alarms))
    }

    pub fn lead(&self, quantile: f64) -> f64 {
        let rank = index(quantile * index_f64(self.leads.len().saturating_sub(1)));
        self.leads.get(rank).copied().unwrap_or(0.0)
    }
}

/// The k at which "mean + k sigma" warns of as large a share of the cases that are met.
pub fn same_false_share(looks: &[Look], share: f64) -> f64 {
    let met = looks
        .chunk_by(|a, b| a.case == b.case)
        .filter(|case| !case[0].is_missed);
    let mut least: Vec<f64> = met
        .map(|case| case.iter().map(|look| look.sigmas).fold(f64::MAX, f64::min))
        .collect();
    least.sort_by(f64::total_cmp);
    let rank = index(share * index_f64(least.len())).min(least.len() - 1);
    least[rank]
}

pub fn seconds(span: Span) -> f64 {
    index_f64(usize::try_from(span.num_milliseconds().max(0)).unwrap()) / 1_000.0
}

#[allow(clippy::cast_possible_truncation)]
fn span(seconds: f64) -> Span {
    Span::milliseconds((seconds * 1_000.0).round() as i64)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn index(number: f64) -> usize {
    number.max(0.0) as usize
}

#[allow(clippy::cast_precision_loss)]
fn index_f64(number: usize) -> f64 {
    number as f64
}
