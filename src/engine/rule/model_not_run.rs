//! # model_not_run
//!
//! ## What it tells
//! A run of the job succeeded, but a model that such runs execute did not execute in it. The message says
//! in how many runs in a row it is missing, when it last executed, and how regularly it did before. All
//! models that are missing in one run are told together, with one alert for each model.
//!
//! ## When to use
//! Where a green run is taken for fresh data. A run of SQLMesh is green when nothing was due, when another
//! run had claimed the models, or when a selection left them out. Each model is held against its own habit,
//! so models that run every fourth time are not asked for every time. A model that has a pause of its own
//! (no weekends, no nights) is not missed at a time of day or of the week at which it did not execute one
//! day or one week before; at its very first pause `calendar`, or a larger `consecutive`, keeps it quiet.
//!
//! ## Keys
//! `consecutive` (1): successful runs in a row without the model, at most 19. `model` selects the models,
//! `job` the jobs. Only like runs count (same job, job type and trigger class), and only successes.
//!
//! A model is expected when it executed in at least 80 % of the last 20 like successes before it went
//! missing (of at least 8). Succeeded, failed and skipped executions all count as executed: what failed is
//! told by `model_failed`. A model that a run at the same time executed is not missing.
//!
//! ## No data
//! Fewer than 8 like successes before: Unknown. A run is judged once the executions are known completely
//! for two minutes after its end; where the source serves no executions, or does not at the moment, nothing
//! is decided. When watching begins only the newest success is judged.
//!
//! ## Resolve
//! When the model executes again in the job, in whatever run. After 20 successes without it the model is
//! not expected any more (it was removed, or runs rarely now): the alert expires and says so.

use std::collections::BTreeMap;

use super::super::alert::Verdict;
use super::super::history::{ExecutionRecord, JobHistory, ModelHistory, Outcome};
use super::super::labels::Labels;
use super::super::notification::Fact;
use super::super::observation::{Name, Run, Status};
use super::super::time::{Span, Timestamp};
use super::context::{Context, Judgement, MAX_SEARCHED, expired, is_like, resolved, run_evidence};

/// The run succeeded but an expected model had no execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelNotRun {
    /// Due runs in a row without an execution.
    pub consecutive: u32,
}

/// Runs before the model went missing that say whether it is expected; and runs without it after which it
/// is not any more.
const HABIT_RUNS: usize = 20;

/// Fewer than these say nothing.
const MIN_RUNS: usize = 8;

/// Executions are there this long after their run has finished.
const LATE: Span = Span::minutes(2);

/// Most runs judged in one evaluation: after a long absence the older ones are history.
const MAX_JUDGED: usize = 50;

/// Models that are missing, with the start of the newest run without them.
type Missing = BTreeMap<Name, Timestamp>;

impl ModelNotRun {
    /// Judges a job.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let Some(job) = ctx.job() else {
            return judgement;
        };
        let mut missing = known_missing(ctx);
        for run in runs_to_judge(ctx, job, &mut judgement) {
            self.judge_run(ctx, job, run, &mut missing, &mut judgement);
        }
        for (model, since) in missing {
            let history = ctx.project.model(&job.name, &model);
            if let Some(execution) = history.and_then(|history| history.since(since).first()) {
                judgement.find_occurrence(
                    occurrence(&model),
                    execution.started_at,
                    executed(ctx, &model, execution),
                );
            }
        }
        judgement
    }

    fn judge_run(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        run: &Run,
        missing: &mut Missing,
        judgement: &mut Judgement,
    ) {
        let like: Vec<&Run> = ctx
            .project
            .successes_up_to(job, run)
            .take(MAX_SEARCHED)
            .filter(|other| ctx.is_judged(other) && is_like(other, run))
            .take(2 * HABIT_RUNS)
            .collect();
        let at = run.settled_at();
        let models = ctx.project.models_of(&job.name);
        let selected = models.filter(|(name, _)| ctx.rule.selectors.model.is_match(name));
        let mut absent = Vec::new();
        let mut present = 0;
        for (name, history) in selected {
            if let Some(execution) = ctx.project.executions_in(history, run).next() {
                present += 1;
                if missing.remove(name).is_some() {
                    let verdict = executed(ctx, name, execution);
                    judgement.find_occurrence(occurrence(name), execution.started_at, verdict);
                }
            } else if is_missed(ctx, history, run) {
                absent.push((name, history));
            }
        }
        for (name, history) in absent {
            let verdict = self.verdict(ctx, (name, history), &like, present);
            match verdict {
                Some(Verdict::Breach(_)) => {
                    missing.insert(name.clone(), began(run));
                }
                Some(Verdict::Ok(_)) => {
                    missing.remove(name);
                }
                Some(Verdict::Unknown(_)) | None => {}
            }
            if let Some(verdict) = verdict {
                judgement.find_occurrence(occurrence(name), at, verdict);
            }
        }
    }

    /// What is to be said of a model that is missing in the newest of `like`; `None`: nothing.
    fn verdict(
        &self,
        ctx: &Context<'_>,
        (name, history): (&Name, &ModelHistory),
        like: &[&Run],
        present: usize,
    ) -> Option<Verdict> {
        let missed = like
            .iter()
            .take_while(|run| is_missed(ctx, history, run))
            .count();
        if missed >= HABIT_RUNS {
            let headline = format!(
                "Not expected any more: {} has not executed in the last {HABIT_RUNS} runs of {}",
                title(ctx, name),
                job_name(ctx)
            );
            return Some(expired(headline));
        }
        if missed < self.consecutive as usize {
            return None;
        }
        let before = &like[missed..like.len().min(missed + HABIT_RUNS)];
        if before.len() < MIN_RUNS {
            let why = format!("{} runs before, needs {MIN_RUNS}", before.len());
            return Some(Verdict::Unknown(why));
        }
        let executed = before
            .iter()
            .filter(|run| ctx.project.executions_in(history, run).next().is_some())
            .count();
        let first = like[missed - 1];
        if executed * 5 < before.len() * 4 || is_usual_pause(ctx, history, first, before) {
            return None;
        }
        let last = history.up_to(first.settled_at()).last();
        let newest = like[0];
        let mut facts = vec![
            Fact::new("In a row", runs(missed)),
            Fact::new(
                "Usual",
                format!("executed in {executed} of the {} runs before", before.len()),
            ),
        ];
        facts.extend(last.map(|last| Fact::new("Last executed", ctx.clock(last.started_at))));
        facts.push(Fact::new(
            "Models",
            format!("{present} executed in this run"),
        ));
        facts.push(Fact::new("Finished", ctx.clock(newest.settled_at())));
        let when = last.map_or(String::new(), |last| {
            format!(" (last executed {})", ctx.clock(last.started_at))
        });
        let headline = format!(
            "Not run: {} did not execute in {} of {}{when}",
            title(ctx, name),
            runs(missed),
            job_name(ctx)
        );
        Some(Verdict::Breach(run_evidence(headline, newest, facts)))
    }
}

/// Successes that are to be judged, oldest first: those since the last look of which the executions are
/// known, and on the first look the newest one.
fn runs_to_judge<'a>(
    ctx: &Context<'a>,
    job: &'a JobHistory,
    judgement: &mut Judgement,
) -> Vec<&'a Run> {
    let is_first_look = ctx.memory.judged_until == ctx.memory.watching_since;
    let successes = ctx.project.successes(job).take(MAX_SEARCHED);
    let mut new: Vec<&Run> = successes
        .take_while(|run| is_first_look || run.settled_at() > ctx.memory.judged_until)
        .filter(|run| ctx.is_judged(run))
        .take(MAX_JUDGED)
        .collect();
    new.reverse();
    let known = ctx.project.executions_known(ctx.known_until);
    let is_known = |run: &&Run| known.is_some_and(|known| run.settled_at() + LATE < known);
    let decided = new.partition_point(is_known);
    if let Some(next) = new.get(decided)
        && ctx.project.models_of(&job.name).next().is_some()
    {
        judgement.wake_executions(ctx, next.settled_at() + LATE + Span::milliseconds(1));
    }
    new.truncate(decided);
    if is_first_look {
        // Older ones are history.
        let old = new.partition_point(|run| run.settled_at() <= ctx.memory.watching_since);
        new.drain(..old.saturating_sub(1));
    }
    if let Some(newest) = new.last() {
        let moment = Span::milliseconds(1);
        let looked = newest.settled_at().max(ctx.memory.watching_since + moment);
        judgement.memory.judged_until = judgement.memory.judged_until.max(looked);
    }
    new
}

/// Models of open alerts, with the start of the run that said so last.
fn known_missing(ctx: &Context<'_>) -> Missing {
    let open = ctx
        .open
        .iter()
        .filter(|alert| alert.is_open() && alert.cleared_at.is_none());
    open.map(|alert| {
        let run = alert.evidence.run_id.as_ref();
        let run = run.and_then(|id| ctx.project.run(id));
        let since = run.map_or(alert.began_at, began);
        (Name::from(alert.identity.get("model")), since)
    })
    .collect()
}

fn began(run: &Run) -> Timestamp {
    run.started_at.unwrap_or(run.created_at)
}

/// The model did not execute in the run, nor in one that went on at the same time: what that one did need
/// not be done again.
fn is_missed(ctx: &Context<'_>, model: &ModelHistory, run: &Run) -> bool {
    if ctx.project.executions_in(model, run).next().is_some() {
        return false;
    }
    let last = model.up_to(run.settled_at() + LATE).last();
    let last_run = last.and_then(|execution| ctx.project.run_of(execution));
    last_run.is_none_or(|other| !other.status.is_active() && other.settled_at() <= began(run))
}

/// The model did not execute at this time of the day, or of the week, before either.
fn is_usual_pause(
    ctx: &Context<'_>,
    model: &ModelHistory,
    first_missed: &Run,
    before: &[&Run],
) -> bool {
    let Some(job) = ctx.job() else {
        return false;
    };
    let Some(gap) = before
        .first()
        .map(|run| first_missed.created_at.since(run.created_at))
    else {
        return false;
    };
    [Span::days(1), Span::days(7)].into_iter().any(|ago| {
        // A run in between there must be, or "a day ago" is the run before.
        if gap * 2 > ago {
            return false;
        }
        let at = first_missed.created_at - ago;
        let around = ctx
            .project
            .created_between(job, at - gap / 2, at + gap / 2)
            .filter(|run| is_like(run, first_missed) && run.status == Status::Success)
            .min_by_key(|run| run.created_at.since(at).max(at.since(run.created_at)));
        around.is_some_and(|run| {
            let has_begun = model
                .executions()
                .first()
                .is_some_and(|execution| execution.started_at < began(run));
            has_begun && is_missed(ctx, model, run)
        })
    })
}

fn occurrence(model: &Name) -> Labels {
    Labels::default().with("model", model.clone())
}

fn title(ctx: &Context<'_>, model: &Name) -> String {
    format!("{} {model}", ctx.project.display_name())
}

fn job_name<'a>(ctx: &Context<'a>) -> &'a str {
    ctx.job().map_or("its job", |job| &job.name)
}

fn runs(count: usize) -> String {
    match count {
        1 => "1 run".to_owned(),
        many => format!("{many} runs"),
    }
}

fn executed(ctx: &Context<'_>, model: &Name, execution: &ExecutionRecord) -> Verdict {
    let how = match execution.outcome() {
        Outcome::Success => "executed",
        Outcome::Failure => "executed and failed",
        Outcome::Skipped => "was due again, and skipped,",
        Outcome::Open => "began to execute",
    };
    resolved(
        format!(
            "Runs again: {} {how} in {} at {}",
            title(ctx, model),
            job_name(ctx),
            ctx.clock(execution.started_at)
        ),
        vec![Fact::new("Last executed", ctx.clock(execution.started_at))],
    )
}

#[cfg(test)]
mod tests {
    use super::super::RuleKind;
    use super::super::fixture::{Case, at};
    use super::*;

    /// Hourly runs up to 10:00 on 10 March, the oldest first; each shows whether the model executed in it.
    /// Another model executes in all of them.
    fn case(consecutive: u32, executed: &str) -> Case {
        let case = Case::new(RuleKind::ModelNotRun(ModelNotRun { consecutive }));
        add(case, executed, at("10:00"), Span::hours(1)).executions_known("12:00")
    }

    fn add(mut case: Case, executed: &str, last: Timestamp, every: Span) -> Case {
        let count = i32::try_from(executed.len()).unwrap();
        for (index, mark) in (1..).zip(executed.chars()) {
            let from = last - every * (count - index);
            let to = from + Span::minutes(10);
            let (id, end) = (from.to_string(), from + Span::minutes(5));
            case = case.run(&id, &format!("{from} -> {to} success"));
            case = case.execution(&id, "other", &format!("{from} -> {end} success"));
            let word = match mark {
                'x' => "success",
                'f' => "failed",
                's' => "skipped",
                _ => continue,
            };
            case = case.execution(&id, "m", &format!("{from} -> {end} {word}"));
        }
        case
    }

    /// What is said of the newest run.
    fn said(case: &Case) -> String {
        let mut said = case.judge("12:00");
        said.retain(|line| line.starts_with("10:10"));
        said.join("; ")
    }

    #[test]
    fn a_model_is_held_against_its_own_habit() {
        let once =
            "10:10 breach Not run: p1 m did not execute in 1 run of job (last executed 09:00 UTC)";
        for (name, executed, wanted) in [
            ("always there", "xxxxxxxxxx", ""),
            ("missing once", "xxxxxxxxx-", once),
            ("failed and skipped count", "xfxsxfxsx-", once),
            ("four of five", "xxxx-xxxx-xxxx-xxxx-xxxx-", once),
            ("three of four", "xxx-xxx-xxx-xxx-xxx-xxx-", ""),
            ("fifteen of twenty", "-----xxxxxxxxxxxxxxx-", ""),
            ("sixteen of twenty", "----xxxxxxxxxxxxxxxx-", once),
            ("every fourth", "---x---x---x---x---x---x----", ""),
            ("new, not yet usual", "----------xxxxx-", ""),
            ("never seen", "----------", ""),
            ("few runs", "xxxxx-", "10:10 unknown 5 runs before, needs 8"),
            (
                "away for long",
                &format!("{}{}", "x".repeat(20), "-".repeat(20)),
                "10:10 expired Not expected any more: p1 m has not executed in the last 20 runs of job",
            ),
            (
                "away for a while",
                &format!("{}{}", "x".repeat(20), "-".repeat(19)),
                "10:10 breach Not run: p1 m did not execute in 19 runs of job \
                 (last executed 9 Mar 15:00 UTC)",
            ),
        ] {
            assert_eq!(said(&case(1, executed)), wanted, "{name}");
        }
    }

    #[test]
    fn several_runs_in_a_row_are_wanted_where_the_rule_says_so() {
        for (executed, wanted) in [
            ("xxxxxxxxxx--", ""),
            (
                "xxxxxxxxxx---",
                "10:10 breach Not run: p1 m did not execute in 3 runs of job (last executed 07:00 UTC)",
            ),
            ("xxxxxxxx--x--", ""),
        ] {
            assert_eq!(said(&case(3, executed)), wanted, "{executed}");
        }
    }

    #[test]
    fn a_run_is_judged_once_its_executions_are_known() {
        let late = |known: &str| {
            let case = Case::new(RuleKind::ModelNotRun(ModelNotRun { consecutive: 1 }));
            let case = add(case, "xxxxxxxxx-", at("10:00"), Span::hours(1));
            match known {
                "" => case,
                known => case.executions_known(known),
            }
        };
        // The run before the newest is the newest that is known: all is well there.
        for (known, runs_known, wakes) in [
            ("", "10:30", "10:30:30"),
            ("10:12", "10:30", "10:30:30"),
            ("10:12", "10:12", "10:12:00.001"),
        ] {
            let judgement = late(known).judgement(runs_known);
            assert_eq!(judgement.findings, [], "{known}");
            let wakes = Timestamp::parse(&format!(
                "2026-03-10T{wakes}{}Z",
                if wakes.len() == 5 { ":00" } else { "" }
            ));
            assert_eq!(judgement.wake_when_known, wakes, "{known}");
        }
        assert_eq!(late("10:13").judge("10:30").len(), 1);
    }

    #[test]
    fn what_another_run_does_at_the_same_time_is_not_missing() {
        let overlapping = case(1, "xxxxxxxxx-").run("long", "09:30 -> 10:40 success");
        let by_other = overlapping.execution("long", "m", "10:02 -> 10:05 success");
        let said = by_other.judge("12:00").join("; ");
        assert!(!said.contains("breach"), "{said}");
        let before = case(1, "xxxxxxxxx-").run_by("m1", "alice", "09:20 -> 09:30 success");
        let before = before.execution("m1", "m", "09:20 -> 09:25 success");
        let said = before.judge("12:00").join("; ");
        assert!(said.contains("breach Not run"), "{said}");
    }

    #[test]
    fn runs_of_another_class_do_not_count() {
        let mut case = case(1, "xxxxxxxxxx");
        for (index, hour) in (0..12).zip(10..) {
            let id = format!("manual{index}");
            case = case.run_by(&id, "alice", &format!("{hour}:20 -> {hour}:25 success"));
        }
        assert!(!case.judge("23:30").join("; ").contains("breach"));
    }

    #[test]
    fn a_pause_of_its_own_is_not_asked_for() {
        // A model that works from 02:00 to 21:59 in an hourly job: at 22:00 there are twenty runs with it.
        let day = "x".repeat(20);
        let judged = |executed: &str| {
            let case = Case::new(RuleKind::ModelNotRun(ModelNotRun { consecutive: 1 }));
            let case = add(case, executed, at("22:00"), Span::hours(1)).executions_known("23:00");
            let said = case.judge("23:00");
            said.into_iter()
                .any(|line| line.starts_with("22:10 breach"))
        };
        assert!(judged(&format!("{day}-")), "the first night");
        assert!(!judged(&format!("--{day}----{day}-")), "the second night");
        assert!(
            judged(&format!("xx{day}xxxx{day}-")),
            "no pause the night before"
        );
    }

    #[test]
    fn it_runs_again_in_whatever_run() {
        let case = case(1, "xxxxxxxxx-");
        let case = case.run_by("m1", "alice", "11:00 -> 11:10 failed");
        let case = case.execution("m1", "m", "11:01 -> 11:05 success");
        let said = case.judge("12:00").join("; ");
        let again = "11:01 ok Runs again: p1 m executed in job at 11:01 UTC";
        assert!(said.ends_with(again), "{said}");
    }
}
