//! The successes that a regression compares: those of a job or a model, like with like.

use super::super::super::baseline::seconds;
use super::super::super::history::{ModelHistory, Outcome};
use super::super::super::observation::Run;
use super::super::super::subject::SubjectKey;
use super::super::super::time::Timestamp;
use super::super::context::{Context, MAX_SEARCHED, clock_time, is_like};
use super::super::season::{SEASON_RUNS, SEASON_SPAN, SEASON_WEEKS};
use super::{MAX_ROW, Regression};

/// A finished success, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample<'a> {
    /// How long it took.
    pub(super) seconds: f64,
    /// When it was created.
    pub(super) created_at: Timestamp,
    /// When it ended.
    pub(super) finished_at: Timestamp,
    /// The run, when it is known.
    pub(super) run: Option<&'a Run>,
}

/// Most runs judged in one evaluation: after a long absence the older ones are history.
const MAX_JUDGED: usize = 200;

/// May be compared. What is not known to differ may.
pub(super) fn is_alike(a: Option<&Run>, b: Option<&Run>) -> bool {
    a.zip(b).is_none_or(|(a, b)| is_like(a, b))
}

/// At the pace of these samples, as many as are looked at for a season cover the weeks that one needs.
fn may_have_season(newest_first: &[Sample<'_>]) -> bool {
    let (Some(newest), Some(oldest)) = (newest_first.first(), newest_first.last()) else {
        return false;
    };
    let count = i32::try_from(newest_first.len()).unwrap_or(i32::MAX);
    let gap = newest.created_at.since(oldest.created_at) / count;
    gap * i32::try_from(SEASON_RUNS).unwrap_or(i32::MAX) >= SEASON_WEEKS
}

impl Regression {
    /// Samples that are to be judged, oldest first: those since the last look, and on the first look the
    /// newest one, the condition that is true already.
    pub(super) fn new_samples<'a>(&self, ctx: Context<'a>) -> Vec<Sample<'a>> {
        let is_first_look = ctx.memory.judged_until == ctx.memory.watching_since;
        let all = self.newest_first(ctx, None);
        let mut new: Vec<Sample<'_>> = all
            .enumerate()
            .take_while(|(index, sample)| {
                sample.finished_at > ctx.memory.judged_until || (is_first_look && *index == 0)
            })
            .map(|(_, sample)| sample)
            .take(MAX_JUDGED)
            .collect();
        new.reverse();
        new
    }

    /// The samples like `last` that lead up to it, oldest first, and it.
    pub(super) fn samples_up_to<'a>(&self, ctx: Context<'a>, last: &Sample<'a>) -> Vec<Sample<'a>> {
        let wanted = self.wanted(&ctx);
        let since = last.created_at - SEASON_SPAN;
        let alike = self
            .newest_first(ctx, Some(*last))
            .take(MAX_SEARCHED)
            .filter(|sample| is_alike(sample.run, last.run));
        let mut samples: Vec<Sample<'_>> = Vec::new();
        for sample in alike.take(wanted.max(SEASON_RUNS)) {
            let is_enough = samples.len() >= wanted
                && (sample.created_at <= since
                    || (samples.len() == wanted && !may_have_season(&samples)));
            if is_enough {
                break;
            }
            samples.push(sample);
        }
        samples.reverse();
        samples
    }

    /// Samples needed: what is judged, the row of slow runs it may belong to, and the baseline before it.
    fn wanted(&self, ctx: &Context<'_>) -> usize {
        let times = ctx.rule.times.map_or(1, |times| times.of);
        (self.baseline_runs + times) as usize + MAX_ROW
    }

    /// Successes of the subject that finished at or before `last` did, newest first.
    pub(super) fn newest_first<'a>(
        &self,
        ctx: Context<'a>,
        last: Option<Sample<'a>>,
    ) -> Box<dyn Iterator<Item = Sample<'a>> + 'a> {
        match ctx.subject {
            SubjectKey::Job(..) => Box::new(self.run_samples(ctx, last)),
            SubjectKey::Model(_, job, model) => {
                let history = ctx.project.model(job, model);
                let samples = history.map(|history| model_samples(ctx, history, last));
                Box::new(samples.into_iter().flatten())
            }
            _ => Box::new(std::iter::empty()),
        }
    }

    fn run_samples<'a>(
        &self,
        ctx: Context<'a>,
        last: Option<Sample<'a>>,
    ) -> impl Iterator<Item = Sample<'a>> + use<'a> {
        let (job, clock) = (ctx.job(), self.clock);
        let up_to = job
            .zip(last.and_then(|last| last.run))
            .map(|(job, run)| ctx.project.successes_up_to(job, run));
        let all = job
            .filter(|_| last.is_none())
            .map(|job| ctx.project.successes(job));
        up_to
            .into_iter()
            .flatten()
            .chain(all.into_iter().flatten())
            .filter(move |run| ctx.is_judged(run))
            .filter_map(move |run| {
                Some(Sample {
                    seconds: seconds(clock_time(run, clock, ctx.now)?),
                    created_at: run.created_at,
                    finished_at: run.settled_at(),
                    run: Some(run),
                })
            })
            .filter(|sample| sample.seconds > 0.0)
    }
}

/// Executions by start: those of one model follow one another.
fn model_samples<'a>(
    ctx: Context<'a>,
    history: &'a ModelHistory,
    last: Option<Sample<'a>>,
) -> impl Iterator<Item = Sample<'a>> {
    history
        .executions()
        .iter()
        .rev()
        .filter(|execution| execution.outcome() == Outcome::Success)
        .filter_map(move |execution| {
            let run = ctx.project.run_of(execution);
            Some(Sample {
                seconds: seconds(execution.run_time()?),
                created_at: run.map_or(execution.started_at, |run| run.created_at),
                finished_at: execution.finished_at()?,
                run,
            })
            .filter(|_| run.is_none_or(|run| ctx.is_judged(run)))
        })
        .filter(|sample| sample.seconds > 0.0)
        .skip_while(move |sample| last.is_some_and(|last| sample.finished_at > last.finished_at))
}
