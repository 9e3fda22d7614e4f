//! Limits on durations: a fixed one, or a factor of what is usual for like runs; and the promises they
//! are.
//!
//! A factor is taken of successes that were over before the judged run was created, so that the limit
//! of a run is the same however late one looks. With fewer than [`MIN_LIKE`] of them there is no limit,
//! never a guess. It does not judge: each kind does.

use super::super::baseline::{Baseline, seconds, span};
use super::super::history::{ExecutionRecord, JobHistory, ModelHistory, Outcome};
use super::super::labels::Labels;
use super::super::ledger::Promise;
use super::super::observation::Run;
use super::super::time::{Span, Timestamp, human_span};
use super::context::{Context, Judgement, MAX_SEARCHED, clock_time, is_like};
use super::{Clock, Limit, Statistic};

/// How many like successes a factor is taken of.
const LIKE_RUNS: usize = 20;

/// With fewer like successes than this a factor says nothing.
const MIN_LIKE: u32 = 8;

/// A limit for one run, and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Allowed {
    /// Longest duration.
    pub max: Span,
    basis: Option<String>,
}

impl Allowed {
    /// `54 min`, or `54 min = 1.5 x p95 of the last 20 runs`.
    pub(super) fn text(&self) -> String {
        match &self.basis {
            Some(basis) => format!("{} = {basis}", human_span(self.max)),
            None => human_span(self.max),
        }
    }
}

impl Limit {
    /// The limit for a run. `Err`: what is missing, in words.
    pub(super) fn of_run(
        self,
        ctx: &Context<'_>,
        job: &JobHistory,
        run: &Run,
        clock: Clock,
    ) -> Result<Allowed, String> {
        self.resolve(|| {
            let before = ctx.project.successes_before(job, run.created_at);
            let like = before
                .take(MAX_SEARCHED)
                .filter(|other| is_like(other, run));
            let took = like.filter_map(|other| clock_time(other, clock, ctx.known_until));
            took.map(seconds).take(LIKE_RUNS).collect()
        })
    }

    /// The limit for an execution. `Err`: what is missing, in words.
    pub(super) fn of_execution(
        self,
        ctx: &Context<'_>,
        history: &ModelHistory,
        execution: &ExecutionRecord,
    ) -> Result<Allowed, String> {
        self.resolve(|| like_executions(ctx, history, execution))
    }

    fn resolve(self, like: impl FnOnce() -> Vec<f64>) -> Result<Allowed, String> {
        let (factor, of) = match self {
            Self::Fixed(max) => return Ok(Allowed { max, basis: None }),
            Self::Factor { factor, of } => (factor, of),
        };
        let baseline = Baseline::of(like());
        let count = baseline.map_or(0, |baseline| baseline.count);
        let Some(baseline) = baseline.filter(|_| count >= MIN_LIKE) else {
            return Err(format!("{count} like runs, needs {MIN_LIKE}"));
        };
        Ok(Allowed {
            max: span(factor * baseline.statistic(of)),
            basis: Some(format!(
                "{factor} x {} of the last {count} runs",
                of.as_str()
            )),
        })
    }
}

impl Statistic {
    /// As configuration writes it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Median => "median",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::Max => "max",
        }
    }
}

/// Durations of successes like `execution` that were over when it started, newest first, in seconds.
pub(super) fn like_executions(
    ctx: &Context<'_>,
    history: &ModelHistory,
    execution: &ExecutionRecord,
) -> Vec<f64> {
    let all = history.executions();
    let before = &all[..all.partition_point(|other| other.started_at < execution.started_at)];
    let run = ctx.project.run_of(execution);
    let is_alike = |other: &ExecutionRecord| {
        let pair = ctx.project.run_of(other).zip(run);
        pair.is_none_or(|(a, b)| is_like(a, b))
    };
    before
        .iter()
        .rev()
        .take(MAX_SEARCHED)
        .filter(|other| other.outcome() == Outcome::Success)
        .filter(|other| {
            other
                .finished_at()
                .is_some_and(|at| at < execution.started_at)
        })
        .filter(|other| is_alike(other))
        .filter_map(|other| Some(seconds(other.run_time()?)))
        .take(LIKE_RUNS)
        .collect()
}

/// Records what became of a limit, and returns what was recorded before. A run that is decided again (a
/// retry) corrects its row; a row whose due instant moved with the retry is excused.
pub(super) fn decide(
    judgement: &mut Judgement,
    ctx: &Context<'_>,
    labels: &Labels,
    created_at: Timestamp,
    due_at: Timestamp,
    outcome: Promise,
) -> Option<Promise> {
    let rule = &ctx.rule.name;
    let known = ctx.ledger.row(rule, labels, due_at);
    let before = known.map(|row| row.outcome);
    if before.as_ref() == Some(&outcome) {
        return before;
    }
    let mut superseded = None;
    if ctx.memory.judged_until > created_at {
        let moved = ctx
            .ledger
            .rows_since(rule, labels, created_at)
            .filter(|row| row.due_at != due_at && !matches!(row.outcome, Promise::Excused(_)));
        for row in moved {
            let why = "superseded by a retry".to_owned();
            judgement.promise(ctx, labels.clone(), row.due_at, Promise::Excused(why));
            correct(judgement, Some(row.outcome.clone()));
            superseded = Some(row.outcome);
        }
    }
    judgement.promise(ctx, labels.clone(), due_at, outcome);
    correct(judgement, before.clone());
    superseded.or(before)
}

/// The newest row corrects another.
fn correct(judgement: &mut Judgement, before: Option<Promise>) {
    if let Some(row) = judgement.ledger.last_mut() {
        row.corrected_from = before;
    }
}
