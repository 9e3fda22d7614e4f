//! # run_failed
//!
//! ## What it tells
//! The last runs of a job failed: so many in a row, since when, with which error, and which model was
//! the first to fail.
//!
//! ## When to use
//! For every job somebody depends on. `consecutive = 2` for jobs that run often and heal themselves.
//!
//! ## Keys
//! `statuses` (default `["failed", "error"]`; add `"partial"` to include it), `consecutive` (default 1).
//!
//! ## No data
//! A run that is not known to have finished is not judged. A status nobody knows is neither good nor
//! bad.
//!
//! ## Resolve
//! At the next success of the job, or when the failed run itself turns into a success (a retry).

use super::super::alert::{Evidence, Verdict};
use super::super::history::JobHistory;
use super::super::notification::Fact;
use super::super::observation::{Run, Status};
use super::super::time::{Timestamp, human_span};
use super::context::{
    Context, Judgement, error_class, error_line, expired, resolved, run_evidence,
};

/// The last `consecutive` finished runs of the subject all have a status in `statuses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFailed {
    /// Statuses that count as failed; default failed and error.
    pub statuses: Vec<Status>,
    /// Finished runs in a row, at least 1.
    pub consecutive: u32,
}

/// Failures in a row that lead up to a run.
#[derive(Clone, Copy, Debug)]
struct Streak {
    count: u32,
    since: Timestamp,
}

/// How far back a streak is counted; beyond it "100 in a row" is bad enough.
const MAX_STREAK: usize = 100;

impl RunFailed {
    /// Judges a job.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let Some(job) = ctx.job() else {
            return judgement;
        };
        if job.is_gone {
            let headline = format!("Gone: {} is not listed any more", ctx.title());
            judgement.find(ctx.now, expired(headline));
            return judgement;
        }
        for run in ctx.finished_after(job, ctx.memory.judged_until) {
            judgement.memory.judged_until = run.settled_at();
            if let Some(verdict) = self.verdict(ctx, job, run) {
                judgement.find(run.settled_at(), verdict);
            }
        }
        // The newest finished run once more: its evidence may have grown (a model, a retry), and on the
        // first look it is the condition already true.
        if let Some(run) = ctx.finished(job).next()
            && let Some(verdict) = self.verdict(ctx, job, run)
        {
            judgement.find(run.settled_at(), verdict);
        }
        judgement
    }

    fn verdict(&self, ctx: &Context<'_>, job: &JobHistory, run: &Run) -> Option<Verdict> {
        if run.status == Status::Success {
            return Some(self.recovery(ctx, run));
        }
        let streak = self.streak(ctx, job, run);
        (streak.count >= self.consecutive)
            .then(|| Verdict::Breach(self.evidence(ctx, job, run, streak)))
    }

    fn streak(&self, ctx: &Context<'_>, job: &JobHistory, run: &Run) -> Streak {
        let mut streak = Streak {
            count: 0,
            since: run.settled_at(),
        };
        let up_to = ctx.project.finished_up_to(job, run);
        for other in up_to.filter(|run| ctx.is_judged(run)).take(MAX_STREAK) {
            if !self.statuses.contains(&other.status) {
                break;
            }
            streak = Streak {
                count: streak.count + 1,
                since: other.settled_at(),
            };
        }
        streak
    }

    fn evidence(&self, ctx: &Context<'_>, job: &JobHistory, run: &Run, streak: Streak) -> Evidence {
        let word = match run.status {
            Status::Error => "Could not run",
            Status::Partial => "Partly failed",
            _ => "Failed",
        };
        let (failed, skipped) = ctx.project.failures_of(run);
        let cause = match (failed.first(), &run.error) {
            (_, Some(error)) => format!(": {}", error_line(error)),
            (Some((model, _, _)), None) => format!(": model {model}"),
            (None, None) => String::new(),
        };
        let row = if streak.count > 1 {
            format!(
                " ({} in a row since {})",
                streak.count,
                ctx.clock(streak.since)
            )
        } else {
            String::new()
        };
        let mut facts = Vec::new();
        if let Some((model, history, execution)) = failed.first() {
            let error = history
                .error_of(execution)
                .map(|text| format!(": {}", error_line(text)));
            facts.push(Fact::new(
                "Failing model",
                format!("{model}{}", error.unwrap_or_default()),
            ));
        }
        if failed.len() > 1 || skipped > 0 {
            let text = format!("{} failed, {skipped} skipped", failed.len());
            facts.push(Fact::new("Models", text));
        }
        if let Some(ran) = run.run_time() {
            let usual = ctx.usual(job, run);
            facts.push(Fact::new("Ran", ctx.against_usual(ran, usual.as_ref())));
        }
        facts.push(Fact::new("Finished", ctx.clock(run.settled_at())));
        if streak.count > 1 {
            facts.push(Fact::new("In a row", streak.count.to_string()));
        }
        facts.extend(ctx.last_good(job));
        Evidence {
            change_key: Some(run.error.as_deref().map(error_class).unwrap_or_default()),
            ..run_evidence(format!("{word}: {}{cause}{row}", ctx.title()), run, facts)
        }
    }

    fn recovery(&self, ctx: &Context<'_>, run: &Run) -> Verdict {
        let is_retry = ctx
            .open
            .iter()
            .any(|alert| alert.evidence.run_id.as_ref() == Some(&run.id));
        let how = if is_retry {
            "superseded by a retry"
        } else {
            "succeeded"
        };
        let mut facts = vec![Fact::new("Finished", ctx.clock(run.settled_at()))];
        if let Some(ran) = run.run_time() {
            facts.insert(0, Fact::new("Ran", human_span(ran)));
        }
        resolved(format!("Recovered: {} {how}", ctx.title()), facts)
    }
}
