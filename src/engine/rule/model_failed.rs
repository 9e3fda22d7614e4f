//! # model_failed
//!
//! ## What it tells
//! A model failed inside a run, with the end of its error. All models that failed in one run are told
//! in one message; models that were skipped because of them are counted, not told.
//!
//! ## When to use
//! Where models matter more than runs: a run may be green or partial while one of its models failed.
//!
//! ## Keys
//! Only the common ones. `model` selects. With `times = "n of m"` it fires when the model failed in n of
//! the last m distinct runs; of several executions in one run the last counts.
//!
//! ## No data
//! Where the source serves no model executions, nothing is judged, and `status` says so.
//!
//! ## Resolve
//! At that model's next success in the same job; "superseded by a retry" when that is in the very run in
//! which it failed. With `times`: when it failed in fewer than n of the last m runs. It expires when the
//! model has not been run for 35 days, or its job has been held for 7 days without a run.

use super::super::alert::{Alert, Evidence, Verdict};
use super::super::history::{ExecutionRecord, ModelHistory, Outcome};
use super::super::labels::Labels;
use super::super::notification::Fact;
use super::super::subject::SubjectKey;
use super::super::time::{Timestamp, human_span};
use super::Times;
use super::context::{
    Context, Judgement, MAX_SEARCHED, error_class, error_end, error_line, resolved,
};
use super::times::{self, Event};

/// A model execution failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFailed;

impl ModelFailed {
    /// Judges a model of a job.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let SubjectKey::Model(_, job, model) = ctx.subject else {
            return judgement;
        };
        let Some(history) = ctx.project.model(job, model) else {
            return judgement;
        };
        let mut finished: Vec<&ExecutionRecord> = history
            .executions()
            .iter()
            .rev()
            .take(MAX_SEARCHED)
            .filter(|execution| is_outcome(execution) && is_wanted(ctx, execution))
            .collect();
        // Executions of overlapping runs may end in another order than they began.
        finished.sort_by_key(|execution| execution.finished_at());
        let judged = finished
            .partition_point(|execution| execution.finished_at() <= Some(ctx.memory.judged_until));
        if let Some(times) = ctx.rule.times {
            judge_times(ctx, history, &finished, times, &mut judgement);
            return judgement;
        }
        // The newest outcome once more, for the first look and for late evidence.
        let first = judged.min(finished.len().saturating_sub(1));
        let finished = finished.split_off(first);
        for execution in finished {
            let at = execution.finished_at().unwrap_or(execution.started_at);
            judgement.memory.judged_until = judgement.memory.judged_until.max(at);
            let verdict = match execution.outcome() {
                Outcome::Failure => Verdict::Breach(evidence(ctx, history, execution)),
                // A success from before the failure ends nothing: it is the newest only because the failed
                // execution is being retried.
                Outcome::Success if is_before_open(ctx, at) => continue,
                Outcome::Success => recovery(ctx, execution, at),
                Outcome::Open | Outcome::Skipped => continue,
            };
            judgement.find(at, verdict);
        }
        judgement
    }
}

/// It failed in so many of the last runs.
fn judge_times(
    ctx: &Context<'_>,
    history: &ModelHistory,
    finished: &[&ExecutionRecord],
    times: Times,
    judgement: &mut Judgement,
) {
    let judged_until = ctx.memory.judged_until;
    let event = |execution: &&ExecutionRecord| {
        let run = ctx.project.run_of(execution);
        let started_at = || execution.started_at.to_string().into();
        let execution: ExecutionRecord = **execution;
        Event {
            at: execution.finished_at().unwrap_or(execution.started_at),
            run: run.map_or_else(started_at, |run| run.id.clone()),
            is_breach: execution.outcome() == Outcome::Failure,
            about: execution,
        }
    };
    let new = finished.partition_point(|execution| execution.finished_at() <= Some(judged_until));
    let first = new.saturating_sub(times::wanted(times));
    let events: Vec<Event<ExecutionRecord>> = finished[first..].iter().map(event).collect();
    if let Some(newest) = events.iter().map(|event| event.at).max() {
        judgement.memory.judged_until = judged_until.max(newest);
    }
    let tell = |execution: &ExecutionRecord| evidence(ctx, history, execution);
    times::judge(ctx, times, events, judged_until, "failed", tell, judgement);
}

fn is_before_open(ctx: &Context<'_>, at: Timestamp) -> bool {
    let mut open = ctx.open.iter().filter(|alert| alert.is_open());
    open.any(|alert| at < alert.began_at)
}

fn recovery(ctx: &Context<'_>, execution: &ExecutionRecord, at: Timestamp) -> Verdict {
    let run_id = ctx.project.run_of(execution).map(|run| &run.id);
    let is_told = |alert: &Alert| run_id.is_some() && alert.evidence.run_id.as_ref() == run_id;
    let how = if ctx.open.iter().any(is_told) {
        "superseded by a retry"
    } else {
        "succeeded"
    };
    resolved(
        format!("Recovered: {} {how}", ctx.title()),
        vec![Fact::new("Finished", ctx.clock(at))],
    )
}

fn is_outcome(execution: &ExecutionRecord) -> bool {
    execution.finished_at().is_some()
        && matches!(execution.outcome(), Outcome::Success | Outcome::Failure)
}

fn is_wanted(ctx: &Context<'_>, execution: &ExecutionRecord) -> bool {
    ctx.project
        .run_of(execution)
        .is_none_or(|run| ctx.is_judged(run))
}

fn evidence(ctx: &Context<'_>, history: &ModelHistory, execution: &ExecutionRecord) -> Evidence {
    let error = history.error_of(execution);
    let cause = error
        .map(|text| format!(": {}", error_line(text)))
        .unwrap_or_default();
    let run = ctx.project.run_of(execution);
    let mut facts = Vec::new();
    if let Some(job) = ctx.job() {
        facts.push(Fact::new("Job", job.name.to_string()));
    }
    if let Some(ran) = execution.run_time() {
        facts.push(Fact::new("Ran", human_span(ran)));
    }
    if let Some(at) = execution.finished_at() {
        facts.push(Fact::new("Finished", ctx.clock(at)));
    }
    if let Some(run) = run {
        let (failed, skipped) = ctx.project.failures_of(run);
        if failed.len() + skipped > 1 {
            facts.push(Fact::new(
                "In this run",
                format!("{} failed, {skipped} skipped", failed.len()),
            ));
        }
    }
    Evidence {
        headline: format!("Model failed: {}{cause}", ctx.title()),
        facts,
        error: error.map(|text| error_end(text)),
        run_id: run.map(|run| run.id.clone()),
        change_key: error.map(|text| error_class(text)),
        labels: Labels::default(),
        ..Evidence::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::RuleKind;
    use super::super::fixture::Case;
    use super::*;

    #[test]
    fn the_newest_outcome_of_the_model_decides() {
        let case = || {
            Case::new(RuleKind::ModelFailed(ModelFailed))
                .model("m")
                .run("a", "06:00 running")
        };
        for (name, case, said) in [
            (
                "failed",
                case().execution("a", "m", "06:01 -> 06:05 failed: boom"),
                "06:05 breach Model failed: p1 m: boom",
            ),
            (
                "success",
                case().execution("a", "m", "06:01 -> 06:05 success"),
                "06:05 ok Recovered: p1 m succeeded",
            ),
            (
                "skipped",
                case().execution("a", "m", "06:01 -> 06:05 skipped"),
                "",
            ),
            (
                "running",
                case().execution("a", "m", "06:01 -> 06:05 running"),
                "",
            ),
            (
                "another model",
                case().execution("a", "n", "06:01 -> 06:05 failed"),
                "",
            ),
            (
                "then success",
                case()
                    .execution("a", "m", "06:01 -> 06:05 failed: boom")
                    .execution("a", "m", "06:06 -> 06:09 success"),
                "06:05 breach Model failed: p1 m: boom; 06:09 ok Recovered: p1 m succeeded",
            ),
        ] {
            assert_eq!(case.judge("07:00").join("; "), said, "{name}");
        }
    }

    #[test]
    fn a_failed_execution_that_is_being_retried_has_not_recovered() {
        let failing = Case::new(RuleKind::ModelFailed(ModelFailed))
            .model("m")
            .run("a", "05:00 -> 05:10 success")
            .execution("a", "m", "05:01 -> 05:05 success")
            .run("b", "06:00 running")
            .execution("b", "m", "06:01 -> 06:05 failed: boom")
            .opened("06:06");
        let retrying = failing.execution("b", "m", "06:01 -> 06:08 running");
        assert_eq!(retrying.judge("06:09").join("; "), "");
        let retried = retrying.execution("b", "m", "06:01 -> 06:12 success");
        assert_eq!(
            retried.judge("06:13").join("; "),
            "06:12 ok Recovered: p1 m superseded by a retry"
        );
    }
}
