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

#[cfg(test)]
mod tests {
    use super::super::RuleKind;
    use super::super::fixture::{Case, at};
    use super::*;

    /// Two finished runs of three models, and one that has been running since 06:00.
    fn case() -> Case {
        let mut case = Case::new(RuleKind::RunStalled(RunStalled {
            quiet: Span::minutes(20),
        }));
        for (run, hour) in [("a", "03"), ("b", "04")] {
            case = case.run(run, &format!("{hour}:00 -> {hour}:30 success"));
            for model in ["m", "n", "o"] {
                let text = format!("{hour}:01 -> {hour}:10 success");
                case = case.execution(run, model, &text);
            }
        }
        case.run("c", "06:00 running")
    }

    #[test]
    fn silence_is_counted_from_the_last_start_or_finish() {
        let stalled = "Stalled: p1 job, no model started or finished for 20 min";
        for (name, case, known, said) in [
            ("nothing yet", case(), "06:20", String::new()),
            (
                "nothing at all",
                case(),
                "06:21",
                format!("06:20 breach {stalled} (no model is open)"),
            ),
            (
                "one finished and then nothing",
                case().execution("c", "m", "06:01 -> 06:10 success"),
                "07:00",
                format!("06:30 breach {stalled} (no model is open)"),
            ),
            (
                "one is open",
                case()
                    .execution("c", "m", "06:01 -> 06:10 success")
                    .execution("c", "n", "06:11 running"),
                "07:00",
                format!("06:31 breach {stalled} (n open since 06:11 UTC)"),
            ),
            (
                "two are open",
                case()
                    .execution("c", "m", "06:10 running")
                    .execution("c", "n", "06:11 running"),
                "07:00",
                format!("06:31 breach {stalled} (2 models open)"),
            ),
            (
                "waiting in the queue",
                case()
                    .run("d", "05:00 pending")
                    .run("c", "06:00 -> 06:05 success"),
                "07:00",
                String::new(),
            ),
            (
                "it ended",
                case().run("c", "06:00 -> 06:50 success"),
                "07:00",
                String::new(),
            ),
        ] {
            let case = case.executions_known(known);
            assert_eq!(case.judge(known).join("; "), said, "{name}");
        }
    }

    #[test]
    fn it_wakes_at_the_very_instant() {
        let moment = Span::milliseconds(1);
        let case = case().executions_known("06:10");
        assert_eq!(
            case.judgement("06:10").wake_when_known,
            Some(at("06:20") + moment)
        );
        // Executions are behind: nothing is said, and it is looked again when more is known.
        let behind = case.judgement("06:40");
        assert_eq!(
            behind.wake_when_known,
            Some(at("06:40") + Span::seconds(30))
        );
        assert!(matches!(behind.findings[0].verdict, Verdict::Unknown(_)));
    }

    #[test]
    fn it_tells_how_far_the_run_has_come() {
        let case = case()
            .execution("c", "m", "06:01 -> 06:10 success")
            .execution("c", "n", "06:11 running")
            .executions_known("07:00");
        let judgement = case.judgement("07:00");
        let Verdict::Breach(evidence) = &judgement.findings[0].verdict else {
            panic!("{judgement:?}");
        };
        let facts: Vec<String> = evidence
            .facts
            .iter()
            .map(|fact| format!("{}: {}", fact.name, fact.value))
            .collect();
        assert_eq!(
            facts[..3],
            [
                "Models: 1 done of usually 3, last 2 runs",
                "Now: n running for 49 min",
                "Last progress: 06:11 UTC"
            ]
        );
    }

    #[test]
    fn jobs_without_executions_and_unknown_ones_never_stall() {
        let kind = RuleKind::RunStalled(RunStalled {
            quiet: Span::minutes(20),
        });
        let without = Case::new(kind)
            .run("a", "03:00 -> 03:30 success")
            .run("c", "06:00 running")
            .executions_known("09:00");
        assert_eq!(
            without.judge("09:00"),
            ["09:00 unknown no model executions in the last 20 runs"]
        );
        assert_eq!(without.judgement("09:00").wake_when_known, None);
        assert_eq!(
            case().judge("09:00"),
            ["09:00 unknown model executions are not known so far"]
        );
    }
}
