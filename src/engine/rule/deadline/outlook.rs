//! How likely it is that a promise will not be kept, and when the run will be done: the runs that are alike,
//! and what is known of the one that is to deliver.

use super::super::super::baseline::seconds;
use super::super::super::forecast::{
    Course, Durations, MIN_RUNS, PAST_COURSES, PAST_RUNS, Past, Piece, Progress, Waits,
};
use super::super::super::history::{JobHistory, Outcome};
use super::super::super::observation::Run;
use super::super::super::time::{Span, Timestamp};
use super::super::context::{Context, MAX_SEARCHED, is_like};
use super::windows::{EARLY, Window, attempts, start_of};

/// What is to be expected of a promise that is not due yet.
#[derive(Clone, Debug)]
pub(super) struct Outlook {
    /// The probability that it will not be kept.
    pub(super) risk: f64,
    /// When to expect the end: one in ten is earlier, half are, nine in ten are. `None`: it takes longer than
    /// each of the last runs, so nobody knows.
    pub(super) ends: Option<[Timestamp; 3]>,
    /// What can be counted by hand.
    pub(super) tally: Tally,
    /// Like runs that were looked at.
    pub(super) runs: usize,
    /// How much of its work is done, where the model executions are known.
    pub(super) work: Option<Work>,
    /// Like runs show models, and those of this one are not known so far: good news may be none.
    pub(super) is_blind: bool,
}

/// Like runs that are still possible, and those of them that would miss.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    pub(super) missing: usize,
    pub(super) of: usize,
    pub(super) stage: Stage,
}

/// What the run that is to deliver has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing is there yet, or it waits in the queue.
    Waiting,
    /// It runs.
    Running,
}

/// Usual models done, and what is usual from there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub(super) done: usize,
    pub(super) usual: usize,
    pub(super) remaining: Span,
}

/// Fewer runs than this that took so long say nothing of the end.
const ENDING: usize = 3;

/// Quantiles of the end that are told.
const ENDS: [f64; 3] = [0.1, 0.5, 0.9];

/// Newest runs that are counted in messages.
const COUNTED: usize = 20;

/// Newest runs whose start is looked at.
const WAITED: usize = 30;

/// Runs of one promise under way at the same time that are looked at.
const MAX_ACTIVE: usize = 5;

/// Models of one run that are looked at.
const MAX_MODELS: usize = 1_000;

/// Executions that are known this much less far than runs say nothing any more.
const STALE: Span = Span::minutes(3);

impl Outlook {
    /// As things stand at `as_of`. `None`: too few like runs, or nothing is to start a run.
    pub(super) fn of(
        ctx: &Context<'_>,
        job: &JobHistory,
        window: &Window,
        as_of: Timestamp,
    ) -> Option<Self> {
        let runs: Vec<&Run> = attempts(ctx, job, window).collect();
        let active = runs.iter().rev().filter(|run| run.status.is_active());
        let looks: Vec<Look> = match active.clone().next() {
            Some(_) => active
                .take(MAX_ACTIVE)
                .filter_map(|run| Look::at_run(ctx, job, run, (window, as_of)))
                .collect(),
            None => Look::ahead(ctx, job, runs.last().copied(), (window, as_of))
                .into_iter()
                .collect(),
        };
        let outlooks = looks.iter().filter_map(|look| look.outlook(ctx, job));
        // Whichever is done first delivers.
        outlooks.min_by(|a, b| a.risk.total_cmp(&b.risk))
    }
}

/// One way in which the promise may be kept.
struct Look<'a> {
    /// The run, when there is one.
    run: Option<&'a Run>,
    /// When it was created, or is to be.
    created_at: Timestamp,
    /// Runs that are alike, newest first.
    like: Vec<&'a Run>,
    as_of: Timestamp,
    by_at: Timestamp,
    waiting: Option<Waiting>,
}

/// A run that has not started.
struct Waiting {
    /// Since when it is waited for.
    since: Timestamp,
    waits: Waits,
}

impl<'a> Look<'a> {
    /// At a run that is active.
    fn at_run(
        ctx: &Context<'a>,
        job: &'a JobHistory,
        run: &'a Run,
        (window, as_of): (&Window, Timestamp),
    ) -> Option<Self> {
        let mut like = like_runs(ctx, job, run);
        if like.len() < MIN_RUNS && window.tick.is_some_and(|tick| tick.at <= run.created_at) {
            // Started by hand in place of the scheduled one.
            like = like_runs(ctx, job, scheduled(ctx, job)?);
        }
        let started_at = run.started_at.filter(|at| *at <= as_of);
        let waiting = started_at.is_none().then(|| {
            let waited = |run: &&Run| Some(run.started_at?.since(run.created_at));
            Waiting {
                since: run.created_at,
                waits: Waits::new(like.iter().take(WAITED).filter_map(waited)),
            }
        });
        Some(Self {
            run: Some(run),
            created_at: run.created_at,
            like,
            as_of,
            by_at: window.by_at,
            waiting,
        })
    }

    /// At a run that is still to come: by the tick, or after `last` of the window has failed by somebody's
    /// hand.
    fn ahead(
        ctx: &Context<'a>,
        job: &'a JobHistory,
        last: Option<&'a Run>,
        (window, as_of): (&Window, Timestamp),
    ) -> Option<Self> {
        let tick_at = window.tick?.at;
        let like = like_runs(ctx, job, scheduled(ctx, job)?);
        let failed = last.filter(|run| start_of(run) >= tick_at - EARLY);
        let (since, waits) = if let Some(run) = failed {
            // Nobody knows whether, or when, it is tried again.
            (run.settled_at(), Waits::default())
        } else {
            let waited = |run: &&Run| {
                let started_at = run.started_at?;
                let tick = job.previous_tick(ctx.schedule_zone, started_at + EARLY)?;
                Some(started_at.since(tick.at))
            };
            let newest = like.iter().take(WAITED);
            (tick_at, Waits::new(newest.filter_map(waited)))
        };
        Some(Self {
            run: None,
            created_at: tick_at.max(since),
            like,
            as_of,
            by_at: window.by_at,
            waiting: Some(Waiting { since, waits }),
        })
    }

    fn outlook(&self, ctx: &Context<'_>, job: &JobHistory) -> Option<Outlook> {
        let zone = ctx.schedule_zone;
        let past = |run: &&Run| Past::new(run.created_at, zone, run.run_time()?);
        let mut known: Vec<Past> = self.like.iter().filter_map(past).collect();
        known.reverse();
        let durations = Durations::learn(&known, self.created_at, zone)?;
        match (&self.waiting, self.run.and_then(|run| run.started_at)) {
            (Some(waiting), _) => Some(self.waiting(&durations, waiting)),
            // Executions were not read since the start, and are about to be.
            (None, Some(_))
                if ctx.project.executions_known_until.is_none() && self.has_models(ctx) =>
            {
                None
            }
            (None, Some(started_at)) => {
                let known_at = self.executions_known(ctx, started_at);
                let by_work = known_at.and_then(|at| self.by_work(ctx, job, started_at, at));
                Some(by_work.unwrap_or_else(|| Outlook {
                    is_blind: known_at.is_none() && self.has_models(ctx),
                    ..self.by_time(&durations, started_at)
                }))
            }
            (None, None) => None,
        }
    }

    fn waiting(&self, durations: &Durations, waiting: &Waiting) -> Outlook {
        // What is to start later is waited for from then on.
        let from = self.as_of.max(waiting.since);
        let waited = from - waiting.since;
        let left = self.by_at - from;
        let end =
            |quantile| from + durations.remaining_when_waiting(&waiting.waits, waited, quantile);
        Outlook {
            risk: durations.miss_when_waiting(&waiting.waits, waited, left),
            ends: Some(ENDS.map(end)),
            tally: self.tally(Stage::Waiting, Span::zero(), left),
            runs: self.like.len().min(COUNTED),
            work: None,
            is_blind: false,
        }
    }

    /// By the time that a running run has taken.
    fn by_time(&self, durations: &Durations, started_at: Timestamp) -> Outlook {
        let (elapsed, left) = (self.as_of.since(started_at), self.by_at - self.as_of);
        let end = |quantile| self.as_of + durations.remaining(elapsed, quantile);
        let tally = self.tally(Stage::Running, elapsed, left);
        Outlook {
            risk: durations.miss_when_running(elapsed, left),
            ends: (tally.of >= ENDING).then(|| ENDS.map(end)),
            tally,
            runs: self.like.len().min(COUNTED),
            work: None,
            is_blind: false,
        }
    }

    fn tally(&self, stage: Stage, elapsed: Span, left: Span) -> Tally {
        let counted = self.like.iter().take(COUNTED);
        let took = counted.filter_map(|run| run.run_time());
        let longer: Vec<Span> = took.filter(|took| *took > elapsed).collect();
        Tally {
            missing: longer.iter().filter(|took| **took > elapsed + left).count(),
            of: longer.len(),
            stage,
        }
    }

    /// Until when the models of a running run are known, if that is recent.
    fn executions_known(&self, ctx: &Context<'_>, started_at: Timestamp) -> Option<Timestamp> {
        let known = ctx.project.executions_known(ctx.known_until)?;
        let at = known.min(self.as_of);
        (at + STALE >= self.as_of && at >= started_at).then_some(at)
    }

    /// The newest like run shows models.
    fn has_models(&self, ctx: &Context<'_>) -> bool {
        let newest = self.like.first();
        newest.is_some_and(|run| ctx.project.progress_of(run).is_some())
    }

    /// By the work that a running run has done at `at`.
    fn by_work(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        started_at: Timestamp,
        at: Timestamp,
    ) -> Option<Outlook> {
        let run = self.run?;
        ctx.project.progress_of(run)?;
        let has_models = |run: &&&Run| ctx.project.progress_of(run).is_some();
        let newest = self.like.iter().filter(has_models).take(PAST_COURSES);
        let course = |run: &&Run| {
            Some(Course {
                pieces: pieces(ctx, job, run),
                took: seconds(run.run_time()?),
            })
        };
        let courses: Vec<Course> = newest.filter_map(course).collect();
        let now = pieces(ctx, job, run);
        let progress = Progress::of(&courses, &now, seconds(at.since(started_at)))?;
        let left = self.by_at - at;
        let is_missing = |rest: &&f64| **rest > seconds(left);
        Some(Outlook {
            risk: progress.miss(left),
            ends: Some(ENDS.map(|quantile| at + progress.remaining(quantile))),
            tally: Tally {
                missing: progress.remaining.iter().filter(is_missing).count(),
                of: progress.remaining.len(),
                stage: Stage::Running,
            },
            runs: progress.remaining.len(),
            work: Some(Work {
                done: progress.done,
                usual: progress.usual,
                remaining: progress.remaining(0.5),
            }),
            is_blind: false,
        })
    }
}

/// The newest success that the scheduler started, or else the newest at all.
fn scheduled<'a>(ctx: &Context<'a>, job: &'a JobHistory) -> Option<&'a Run> {
    let newest = || {
        let successes = ctx.project.successes(job).take(MAX_SEARCHED);
        successes.filter(|run| ctx.is_judged(run))
    };
    newest()
        .find(|run| &*run.triggered_by == "scheduled")
        .or_else(|| newest().next())
}

/// Successes that are like a run, newest first.
fn like_runs<'a>(ctx: &Context<'a>, job: &'a JobHistory, run: &Run) -> Vec<&'a Run> {
    let successes = ctx.project.successes(job).take(MAX_SEARCHED);
    successes
        .filter(|other| ctx.is_judged(other) && is_like(other, run))
        .take(PAST_RUNS)
        .collect()
}

/// The models of a run, of each the last execution.
fn pieces(ctx: &Context<'_>, job: &JobHistory, run: &Run) -> Vec<Piece> {
    let Some(started_at) = run.started_at else {
        return Vec::new();
    };
    let since_start = |at: Timestamp| seconds(at.since(started_at));
    let models = ctx.project.models_of(&job.name).take(MAX_MODELS);
    models
        .zip(0..)
        .filter_map(|((_, model), number)| {
            let execution = ctx.project.executions_in(model, run).last()?;
            let is_open = execution.outcome() == Outcome::Open;
            let finished_at = execution.finished_at().filter(|_| !is_open);
            Some(Piece {
                model: number,
                from: since_start(execution.started_at),
                to: finished_at.map(since_start),
            })
        })
        .collect()
}
