//! # run_failed
//!
//! ## What it tells
//! The last runs of a job failed: so many in a row, since when, with which error, and which model was
//! the first to fail.
//!
//! ## When to use
//! For every job somebody depends on. `consecutive = 2` or `times = "2 of 3"` for jobs that run often and
//! heal themselves.
//!
//! ## Keys
//! * `statuses`: what counts as failed, `["failed", "error"]` by default; add `"partial"` to include it.
//! * `consecutive`: so many finished runs in a row, by the order in which they finished; 1 by default.
//! * the common `times = "n of m"` instead of `consecutive`: fires when n of the last m finished runs
//!   failed, whatever lies in between.
//!
//! Further failures raise the count. When the error is of another class (numbers and ids left out), people
//! are told again at once, in the same conversation.
//!
//! ## No data
//! A run that is not known to have finished is not judged. A status nobody knows is neither good nor
//! bad.
//!
//! ## Resolve
//! At the next success of the job, or when the failed run itself turns into a success ("superseded by a
//! retry"). With `times`: when fewer than n of the last m runs failed. A run that failed and was followed
//! by a success before anybody could be told is one message that says both, or none when it was over
//! sooner than `for`. It expires when the job is not listed any more, has been held for 7 days without a run,
//! or has not run for 35 days; the next run is judged as always.

use super::super::alert::{Evidence, Verdict};
use super::super::history::JobHistory;
use super::super::notification::Fact;
use super::super::observation::{Run, Status};
use super::super::time::{Timestamp, human_span};
use super::Times;
use super::context::{
    Context, Judgement, error_class, error_end, error_line, resolved, run_evidence,
};
use super::times::{self, Event};

/// The last `consecutive` finished runs of the subject all have a status in `statuses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFailed {
    /// Statuses that count as failed; default failed and error.
    pub statuses: Vec<Status>,
    /// Finished runs in a row, at least 1.
    pub consecutive: u32,
}

/// The run settled before an open alert began.
fn is_before_open(ctx: &Context<'_>, run: &Run) -> bool {
    ctx.open
        .iter()
        .any(|alert| alert.is_open() && run.settled_at() < alert.began_at)
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
        if let Some(times) = ctx.rule.times {
            self.judge_times(ctx, job, times, &mut judgement);
            return judgement;
        }
        for run in ctx.finished_after(job, ctx.memory.judged_until) {
            judgement.memory.judged_until = run.settled_at();
            if let Some(verdict) = self.verdict(ctx, job, run) {
                judgement.find(run.settled_at(), verdict);
            }
        }
        // The newest finished run once more: its evidence may have grown (a model, a retry), and on the
        // first look it is the condition already true. A success from before the failure ends nothing: it is
        // the newest only because the failed run is being retried.
        if let Some(run) = ctx.finished(job).next()
            && let Some(verdict) = self.verdict(ctx, job, run)
            && !(matches!(verdict, Verdict::Ok(_)) && is_before_open(ctx, run))
        {
            judgement.find(run.settled_at(), verdict);
        }
        judgement
    }

    /// So many of the last finished runs failed.
    fn judge_times(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        times: Times,
        judgement: &mut Judgement,
    ) {
        let judged_until = ctx.memory.judged_until;
        let mut old = times::wanted(times);
        let finished = ctx.finished(job).take_while(|run| {
            let is_new = run.settled_at() > judged_until;
            old = old.saturating_sub(usize::from(!is_new));
            is_new || old > 0
        });
        let events: Vec<Event<&Run>> = finished
            .map(|run| Event {
                at: run.settled_at(),
                run: run.id.clone(),
                is_breach: self.statuses.contains(&run.status),
                about: run,
            })
            .collect();
        if let Some(newest) = events.iter().map(|event| event.at).max() {
            judgement.memory.judged_until = judged_until.max(newest);
        }
        let tell = |run: &&Run| {
            let alone = Streak {
                count: 1,
                since: run.settled_at(),
            };
            evidence(ctx, job, run, alone)
        };
        times::judge(ctx, times, events, judged_until, "failed", tell, judgement);
    }

    fn verdict(&self, ctx: &Context<'_>, job: &JobHistory, run: &Run) -> Option<Verdict> {
        if run.status == Status::Success {
            return Some(recovery(ctx, run));
        }
        let streak = self.streak(ctx, job, run);
        (streak.count >= self.consecutive).then(|| Verdict::Breach(evidence(ctx, job, run, streak)))
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
}

fn evidence(ctx: &Context<'_>, job: &JobHistory, run: &Run, streak: Streak) -> Evidence {
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
    // Where the run itself says nothing, its first failing model does.
    let of_model = failed
        .first()
        .and_then(|(_, history, execution)| history.error_of(execution));
    let error = run.error.as_ref().or(of_model).map(|text| &**text);
    Evidence {
        change_key: Some(error.map(error_class).unwrap_or_default()),
        error: error.map(error_end),
        ..run_evidence(format!("{word}: {}{cause}{row}", ctx.title()), run, facts)
    }
}

fn recovery(ctx: &Context<'_>, run: &Run) -> Verdict {
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

#[cfg(test)]
mod tests {
    use super::super::RuleKind;
    use super::super::fixture::Case;
    use super::*;

    fn case(consecutive: u32) -> Case {
        let statuses = vec![Status::Failed, Status::Error];
        Case::new(RuleKind::RunFailed(RunFailed {
            statuses,
            consecutive,
        }))
    }

    #[test]
    fn the_last_runs_decide() {
        for (name, case, last) in [
            (
                "success",
                case(1).run("a", "06:00 -> 06:10 success"),
                "06:10 ok Recovered: p1 job succeeded",
            ),
            (
                "failed",
                case(1).run("a", "06:00 -> 06:10 failed: boom"),
                "06:10 breach Failed: p1 job: boom",
            ),
            (
                "error",
                case(1).run("a", "06:00 -> 06:10 error"),
                "06:10 breach Could not run: p1 job",
            ),
            (
                "partial is not named",
                case(1).run("a", "06:00 -> 06:10 partial"),
                "",
            ),
            (
                "unknown word",
                case(1).run("a", "06:00 -> 06:10 paused"),
                "",
            ),
            ("active", case(1).run("a", "06:00 running"), ""),
            ("one of two", case(2).run("a", "06:00 -> 06:10 failed"), ""),
            (
                "two of two",
                case(2)
                    .run("a", "06:00 -> 06:10 failed")
                    .run("b", "07:00 -> 07:10 error: x"),
                "07:10 breach Could not run: p1 job: x (2 in a row since 06:10 UTC)",
            ),
            (
                "a partial run breaks the row",
                case(2)
                    .run("a", "06:00 -> 06:10 failed")
                    .run("b", "06:30 -> 06:40 partial")
                    .run("c", "07:00 -> 07:10 failed"),
                "",
            ),
            (
                "by finish, not by start",
                case(1)
                    .run("a", "06:00 -> 08:00 failed: slow")
                    .run("b", "07:00 -> 07:10 success"),
                "08:00 breach Failed: p1 job: slow",
            ),
            (
                "before watching began",
                case(1).run(
                    "a",
                    "2026-03-09T06:00:00Z -> 2026-03-09T06:10:00Z failed: old",
                ),
                "03-09T06:10 breach Failed: p1 job: old",
            ),
        ] {
            let said = case.judge("09:00").pop().unwrap_or_default();
            assert_eq!(said, last, "{name}");
        }
    }

    #[test]
    fn a_partial_run_counts_where_it_is_named() {
        let kind = RunFailed {
            statuses: vec![Status::Partial],
            consecutive: 1,
        };
        let case = Case::new(RuleKind::RunFailed(kind)).run("a", "06:00 -> 06:10 partial: half");
        assert_eq!(
            case.judge("09:00").pop().unwrap(),
            "06:10 breach Partly failed: p1 job: half"
        );
    }

    #[test]
    fn the_first_failing_model_is_named_and_followers_are_counted() {
        let case = case(1)
            .run("a", "06:00 -> 06:10 failed")
            .execution("a", "stg.y", "06:02 -> 06:05 failed: second")
            .execution("a", "stg.x", "06:01 -> 06:03 failed: first")
            .execution("a", "mart.z", "06:05 -> 06:05 skipped");
        let judgement = case.judgement("09:00");
        let Verdict::Breach(evidence) = &judgement.findings.last().unwrap().verdict else {
            panic!("{judgement:?}");
        };
        assert_eq!(evidence.headline, "Failed: p1 job: model stg.x");
        assert_eq!(evidence.error.as_deref(), Some("first"));
        assert_eq!(evidence.change_key.as_deref(), Some("first"));
        let facts: Vec<String> = evidence
            .facts
            .iter()
            .map(|fact| format!("{}: {}", fact.name, fact.value))
            .collect();
        assert_eq!(
            facts[..2],
            ["Failing model: stg.x: first", "Models: 2 failed, 1 skipped"]
        );
    }

    #[test]
    fn so_many_of_the_last_runs_decide() {
        let words = |text: &str| {
            let mut case = case(1);
            case.rule.times = Some(Times { needed: 2, of: 3 });
            for (hour, word) in (1..).zip(text.chars()) {
                let word = if word == 'f' {
                    "failed: boom"
                } else {
                    "success"
                };
                case = case.run(
                    &format!("r{hour}"),
                    &format!("0{hour}:00 -> 0{hour}:10 {word}"),
                );
            }
            case
        };
        for (text, last) in [
            (
                "f",
                "01:10 ok Recovered: p1 job: 1 of the last 1 runs failed",
            ),
            (
                "ff",
                "02:10 breach Failed: p1 job: boom (2 of the last 2 runs)",
            ),
            (
                "fsf",
                "03:10 breach Failed: p1 job: boom (2 of the last 3 runs)",
            ),
            (
                "fsfs",
                "04:10 ok Recovered: p1 job: 1 of the last 3 runs failed",
            ),
            (
                "ffs",
                "03:10 breach Failed: p1 job: boom (2 of the last 3 runs)",
            ),
            (
                "ffss",
                "04:10 ok Recovered: p1 job: 1 of the last 3 runs failed",
            ),
        ] {
            assert_eq!(words(text).judge("09:00").pop().unwrap(), last, "{text}");
        }
        let seen = words("ff").after("02:20");
        assert_eq!(
            seen.judge("02:20").len(),
            1,
            "looking again counts nothing twice"
        );
        let again = seen.run("r2", "02:00 -> 02:10 failed: boom");
        assert_eq!(
            again.judge("02:30"),
            ["02:10 breach Failed: p1 job: boom (2 of the last 2 runs)"]
        );
        let retried = again.run("r2", "02:00 -> 02:40 success");
        assert_eq!(
            retried.judge("02:50"),
            ["02:40 ok Recovered: p1 job: 1 of the last 2 runs failed"]
        );
    }

    #[test]
    fn the_end_of_a_long_error_is_shown_and_another_class_is_a_change() {
        let evidence = |text: &str| {
            let case = case(1).run("a", &format!("06:00 -> 06:10 failed: {text}"));
            let judgement = case.judgement("09:00");
            match judgement
                .findings
                .into_iter()
                .next_back()
                .map(|finding| finding.verdict)
            {
                Some(Verdict::Breach(evidence)) => evidence,
                other => panic!("{other:?}"),
            }
        };
        let long = format!("{} the cause", "x".repeat(5_000));
        let shown = evidence(&long).error.unwrap();
        assert_eq!(shown.chars().count(), 600);
        assert!(shown.ends_with("the cause"), "{shown}");
        let class = |text: &str| evidence(text).change_key;
        assert_eq!(class("table 17 is gone"), class("table 18 is gone"));
        assert_ne!(class("table 17 is gone"), class("no disk"));
    }
}
