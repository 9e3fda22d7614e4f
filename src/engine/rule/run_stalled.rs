//! # run_stalled
//!
//! ## What it tells
//! A run is running, but for `quiet` no model execution in it has started or finished. The message says how
//! many models are done of how many usual, and which one is open and for how long: often the one that
//! waits for a lock or a warehouse.
//!
//! ## When to use
//! For jobs of many models whose runs hang now and then. It tells long before `run_duration` does, and
//! without a limit on the whole run. `quiet` must be longer than the longest single model takes.
//!
//! ## Keys
//! `quiet` (required): longest time without a start or finish of a model, counted from the start of the
//! run at first.
//!
//! ## No data
//! Where none of the last 20 finished runs of the job showed an execution, nothing is decided: jobs without
//! models (and sources that serve no executions) never stall. Silence counts only as far as runs and model
//! executions are known completely: while the source cannot be read, the verdict is Unknown. A stall that
//! was over before Tardy could know of it is not told. Time in the queue is the matter of `queue_time`.
//!
//! ## Resolve
//! When a model starts or finishes ("moving again"), or when the run ends, however it ends.

use super::super::alert::{Alert, Evidence, Verdict};
use super::super::history::{ExecutionRecord, JobHistory, Outcome};
use super::super::notification::Fact;
use super::super::observation::{Name, Run, Status};
use super::super::time::{Span, Timestamp, human_span};
use super::context::{
    Context, Judgement, MAX_SEARCHED, expired, is_like, resolved, run_evidence, run_occurrence,
};

/// Running, but no model execution started or finished for `quiet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStalled {
    /// Longest silence.
    pub quiet: Span,
}

/// Finished runs that show whether executions are seen at all, and how many are usual.
const SEEN_RUNS: usize = 20;

/// Open models that are named.
const MAX_NAMED: usize = 3;

impl RunStalled {
    /// Judges a job.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let Some(job) = ctx.job() else {
            return judgement;
        };
        let has_models = || {
            let mut finished = ctx.project.finished(job).take(SEEN_RUNS);
            finished.any(|run| ctx.project.progress_of(run).is_some())
        };
        for run in ctx.active(job).filter(|run| run.status == Status::Running) {
            let Some(started_at) = run.started_at else {
                continue;
            };
            if has_models() {
                self.judge_run(ctx, job, (run, started_at), &mut judgement);
            } else {
                let why = format!("no model executions in the last {SEEN_RUNS} runs");
                let occurrence = run_occurrence(&run.id);
                judgement.find_occurrence(occurrence, ctx.known_until, Verdict::Unknown(why));
            }
        }
        close_ended(ctx, &mut judgement);
        judgement
    }

    fn judge_run(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        (run, started_at): (&Run, Timestamp),
        judgement: &mut Judgement,
    ) {
        let occurrence = run_occurrence(&run.id);
        let progress = ctx.project.progress_of(run);
        let moved_at = progress.map_or(started_at, |at| at.max(started_at));
        let stalled_at = moved_at + self.quiet;
        let known = ctx.project.executions_known(ctx.known_until);
        if known.is_some_and(|known| known > stalled_at) {
            let evidence = self.evidence(ctx, job, run, moved_at);
            judgement.find_occurrence(occurrence, stalled_at, Verdict::Breach(evidence));
            return;
        }
        judgement.wake_executions(ctx, stalled_at + Span::milliseconds(1));
        // What is known never goes back: an alert that is open means that something moved since.
        if known.is_some() && ctx.open_at(&occurrence).is_some() {
            judgement.find_occurrence(occurrence, moved_at, moving(ctx, job, run, moved_at));
        } else if known.is_none_or(|known| known < ctx.known_until) {
            let why = "model executions are not known so far".to_owned();
            judgement.find_occurrence(occurrence, ctx.known_until, Verdict::Unknown(why));
        }
    }

    fn evidence(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        run: &Run,
        moved_at: Timestamp,
    ) -> Evidence {
        let models = models_in(ctx, job, run);
        let open: Vec<_> = models
            .iter()
            .filter(|(_, execution)| execution.outcome() == Outcome::Open)
            .collect();
        let done = models.len() - open.len();
        let usual = usual_models(ctx, job, run);
        let waits_for = match &open[..] {
            [] => "no model is open".to_owned(),
            [(name, execution)] => format!("{name} open since {}", ctx.clock(execution.started_at)),
            many => format!("{} models open", many.len()),
        };
        let headline = format!(
            "Stalled: {}, no model started or finished for {} ({waits_for})",
            ctx.title(),
            human_span(self.quiet)
        );
        let of = usual.map_or(String::new(), |(count, runs)| {
            format!(" of usually {count}, last {runs} runs")
        });
        let mut facts = vec![Fact::new("Models", format!("{done} done{of}"))];
        for (name, execution) in open.iter().take(MAX_NAMED) {
            let running = ctx.known_until.since(execution.started_at);
            let text = format!("{name} running for {}", human_span(running));
            facts.push(Fact::new("Now", text));
        }
        facts.push(Fact::new("Last progress", ctx.clock(moved_at)));
        facts.push(Fact::new(
            "Threshold",
            format!("{} without progress", human_span(self.quiet)),
        ));
        if let Some(started_at) = run.started_at {
            facts.push(Fact::new("Started", ctx.clock(started_at)));
        }
        run_evidence(headline, run, facts)
    }
}

/// Executions in a run, with their models, by name.
fn models_in<'a>(
    ctx: &Context<'a>,
    job: &'a JobHistory,
    run: &Run,
) -> Vec<(&'a Name, &'a ExecutionRecord)> {
    let models = ctx.project.models_of(&job.name);
    models
        .flat_map(|(name, model)| {
            let within = ctx.project.executions_in(model, run);
            within.map(move |execution| (name, execution))
        })
        .collect()
}

/// How many executions like runs have: the middle of the last ones, and of how many.
fn usual_models(ctx: &Context<'_>, job: &JobHistory, run: &Run) -> Option<(usize, usize)> {
    let like = ctx
        .project
        .successes(job)
        .take(MAX_SEARCHED)
        .filter(|other| is_like(other, run))
        .take(SEEN_RUNS);
    let mut counts: Vec<usize> = like
        .map(|other| models_in(ctx, job, other).len())
        .filter(|count| *count > 0)
        .collect();
    counts.sort_unstable();
    Some((*counts.get(counts.len() / 2)?, counts.len()))
}

fn moving(ctx: &Context<'_>, job: &JobHistory, run: &Run, moved_at: Timestamp) -> Verdict {
    let models = models_in(ctx, job, run);
    let newest = models.iter().find_map(|(name, execution)| {
        if execution.finished_at() == Some(moved_at) {
            Some(format!("model {name} finished"))
        } else {
            (execution.started_at == moved_at).then(|| format!("model {name} started"))
        }
    });
    let what = newest.unwrap_or_else(|| "it made progress".to_owned());
    let at = ctx.clock(moved_at);
    resolved(
        format!("Moving again: {}, {what} at {at}", ctx.title()),
        vec![Fact::new("Last progress", at)],
    )
}

/// Ends alerts about runs that are not running any more.
fn close_ended(ctx: &Context<'_>, judgement: &mut Judgement) {
    let going_on = |alert: &&Alert| alert.is_open() && alert.cleared_at.is_none();
    for alert in ctx.open.iter().filter(going_on) {
        let occurrence = ctx.occurrence(alert);
        let run = ctx.project.run(alert.identity.get("run_id"));
        let Some(run) = run else {
            let headline = format!("Over: {} is not known any more", ctx.title());
            judgement.find_occurrence(occurrence, ctx.now, expired(headline));
            continue;
        };
        if run.status.is_active() {
            continue;
        }
        let how = match &run.status {
            Status::Success => "finished".to_owned(),
            other => format!("ended as {}", other.as_str()),
        };
        let took = run.run_time();
        let after = took.map_or(String::new(), |took| format!(" after {}", human_span(took)));
        let verdict = resolved(
            format!("Over: {} {how}{after}", ctx.title()),
            took.map(|took| Fact::new("Ran", human_span(took)))
                .into_iter()
                .collect(),
        );
        judgement.find_occurrence(occurrence, run.settled_at(), verdict);
    }
}
