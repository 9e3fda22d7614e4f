//! # model_duration
//!
//! ## What it tells
//! One execution of a model takes longer than it may, at the very instant at which it exceeds the limit
//! and while it is still going; and an execution that finished suspiciously fast.
//!
//! ## When to use
//! For the few models whose length is promised or that hang; `run_duration` sees only the sum. `min`
//! catches models that succeed without doing anything.
//!
//! ## Keys
//! One of `max` and `min` at least.
//!
//! * `max`: `"10m"`; or a factor of what is usual, `"1.5x p95"` (`median`, `p90`, `p95`, `p99`, `max`):
//!   of the model's last 20 successes in like runs (same job, job type and trigger class) that were over
//!   when the execution started. The message says how the limit came about.
//! * `min`: `"5s"`, judged at the end of a success.
//! * the common `times = "n of m"`: one alert about the model instead of one for each execution; it
//!   fires when it breached in n of the last m distinct runs. An execution that goes on counts from the
//!   instant at which it exceeds, and not before; of several in one run the last counts.
//!
//! Each execution with a limit is a promise, kept or broken by so much, in the ledger.
//!
//! ## No data
//! Where the source serves no model executions, nothing is judged, and `status` says so. An execution is
//! called too long only when Tardy knows that it had not finished by then: while executions cannot be
//! read, the verdict is Unknown. One that is left open although its run is over is not called too long.
//! With a factor, fewer than 8 like successes are Unknown, no promise and never an alarm.
//!
//! ## Resolve
//! The same alert closes with the final duration when the execution ends, and expires when its run is
//! over without a word about it. Too fast: at the next success that is not. With `times`: when fewer
//! than n of the last m runs breach.

use super::super::alert::{Alert, Evidence, Verdict};
use super::super::baseline::{Baseline, span};
use super::super::history::{ExecutionRecord, ModelHistory, Outcome};
use super::super::labels::Labels;
use super::super::ledger::Promise;
use super::super::notification::Fact;
use super::super::observation::Name;
use super::super::subject::SubjectKey;
use super::super::time::{Span, Timestamp, human_span};
use super::context::{
    Context, Judgement, MAX_SEARCHED, error_end, expired, resolved, run_occurrence,
};
use super::limit::{self, Allowed, like_executions};
use super::times::{self, Event};
use super::{Limit, Times};

/// As `run_duration`, for one model execution.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelDuration {
    /// Longest duration.
    pub max: Option<Limit>,
    /// Shortest duration.
    pub min: Option<Span>,
}

/// What is looked at: the rule's context and the model's executions.
#[derive(Clone, Copy)]
struct Looking<'a, 'c> {
    ctx: &'c Context<'a>,
    history: &'a ModelHistory,
    /// Up to when it is known which executions have ended.
    known_until: Option<Timestamp>,
}

/// How soon executions are looked for again when runs are known further than they are.
const LOOK_AGAIN: Span = Span::minutes(1);

/// How often it is looked whether the run of a long execution is over.
const LOOK_FOR_END: Span = Span::minutes(5);

impl ModelDuration {
    /// Judges a model.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let SubjectKey::Model(_, job, model) = ctx.subject else {
            return judgement;
        };
        let Some(history) = ctx.project.model(job, model) else {
            return judgement;
        };
        let known_until = ctx.project.executions_known_until;
        let look = Looking {
            ctx,
            history,
            known_until: known_until.map(|known| known.min(ctx.known_until)),
        };
        let told_until = times::told_until(ctx.memory);
        for execution in look.newest() {
            match (execution.outcome(), execution.finished_at()) {
                (Outcome::Open, None) => self.judge_open(look, execution, &mut judgement),
                (Outcome::Success | Outcome::Failure, Some(at)) if at > ctx.memory.judged_until => {
                    let id = look.occurrence(execution).to_string();
                    if judgement.memory.ahead.insert((at, id.into())) {
                        self.judge_finished(look, execution, at, &mut judgement);
                    }
                }
                _ => {}
            }
        }
        if let Some(times) = ctx.rule.times {
            self.judge_times(look, times, told_until, &mut judgement);
        }
        judgement.memory.settle(ctx.known_until);
        close_lost(look, &mut judgement);
        judgement.findings.sort_by_key(|finding| finding.at);
        judgement
    }

    fn judge_open(
        &self,
        look: Looking<'_, '_>,
        execution: &ExecutionRecord,
        judgement: &mut Judgement,
    ) {
        let ctx = look.ctx;
        // Its run is over: how it ended will never be known.
        let run = ctx.project.run_of(execution);
        if run.is_some_and(|run| !run.status.is_active()) {
            return;
        }
        let Some(limit) = self
            .max
            .map(|max| max.of_execution(ctx, look.history, execution))
        else {
            return;
        };
        let occurrence = look.occurrence(execution);
        let unknown = |why: String| Verdict::Unknown(why);
        let (allowed, known_until) = match (limit, look.known_until) {
            (Ok(allowed), Some(known_until)) => (allowed, known_until),
            (Err(why), _) => {
                return judgement.find_occurrence(occurrence, ctx.known_until, unknown(why));
            }
            (Ok(_), None) => {
                judgement.wake_known(ctx.known_until + LOOK_AGAIN);
                let why = "model executions are not known yet".to_owned();
                return judgement.find_occurrence(occurrence, ctx.known_until, unknown(why));
            }
        };
        let over_at = execution.started_at + allowed.max;
        if known_until <= over_at {
            let next = over_at + Span::milliseconds(1);
            let is_behind = ctx.known_until >= next;
            judgement.wake_known(if is_behind {
                ctx.known_until + LOOK_AGAIN
            } else {
                next
            });
            return;
        }
        judgement.wake_known(ctx.known_until + LOOK_FOR_END);
        if ctx.rule.times.is_none() {
            let took = known_until.since(execution.started_at);
            let evidence = evidence(look, execution, took, &allowed);
            judgement.find_occurrence(occurrence, over_at, Verdict::Breach(evidence));
        }
    }

    fn judge_finished(
        &self,
        look: Looking<'_, '_>,
        execution: &ExecutionRecord,
        at: Timestamp,
        judgement: &mut Judgement,
    ) {
        let ctx = look.ctx;
        let took = at.since(execution.started_at);
        let limit = self
            .max
            .map(|max| max.of_execution(ctx, look.history, execution));
        if let Some(Ok(allowed)) = limit {
            let before = promise(look, execution, took, allowed.max, judgement);
            if ctx.rule.times.is_none() {
                let is_told = matches!(before, Some(Promise::LateBy(_)));
                let is_news = !is_told && at > ctx.memory.watching_since;
                tell_finished(look, execution, &allowed, is_news, judgement);
            }
        }
        if let Some(min) = self.min
            && ctx.rule.times.is_none()
            && execution.outcome() == Outcome::Success
            && (took >= min || at > ctx.memory.watching_since)
        {
            let verdict = if took < min {
                Verdict::Breach(short_evidence(look, execution, took, min))
            } else {
                resolved(
                    format!("Back to usual: {} took {}", ctx.title(), human_span(took)),
                    vec![Fact::new("Ran", human_span(took))],
                )
            };
            judgement.find_occurrence(Labels::default().with("limit", "min"), at, verdict);
        }
    }

    /// One alert about the model: it breached in so many of the last runs.
    fn judge_times(
        &self,
        look: Looking<'_, '_>,
        times: Times,
        told_until: Timestamp,
        judgement: &mut Judgement,
    ) {
        let known = told_until.max(look.ctx.memory.watching_since);
        let mut old = times::wanted(times);
        let newest = look.newest().take_while(|execution| {
            let is_new = execution.finished_at().is_none_or(|at| at > known);
            old = old.saturating_sub(usize::from(!is_new));
            is_new || old > 0
        });
        let events: Vec<Event<(&ExecutionRecord, Option<Allowed>)>> = newest
            .filter_map(|execution| self.event(look, execution))
            .collect();
        for event in events.iter().filter(|event| event.at > known) {
            let mark = format!("over/{}", look.occurrence(event.about.0));
            judgement.memory.ahead.insert((event.at, mark.into()));
        }
        let tell = |about: &(&ExecutionRecord, Option<Allowed>)| {
            let known_until = look.known_until.unwrap_or(look.ctx.known_until);
            let ongoing = known_until.since(about.0.started_at);
            let took = about.0.run_time().unwrap_or(ongoing);
            match (&about.1, self.min) {
                (Some(allowed), _) if took > allowed.max => evidence(look, about.0, took, allowed),
                (_, Some(min)) => short_evidence(look, about.0, took, min),
                (_, None) => Evidence::default(),
            }
        };
        let what = "breached their limits";
        times::judge(look.ctx, times, events, told_until, what, tell, judgement);
    }

    /// From when an execution counts, and how. `None`: it does not count, or not yet.
    fn event<'e>(
        &self,
        look: Looking<'_, '_>,
        execution: &'e ExecutionRecord,
    ) -> Option<Event<(&'e ExecutionRecord, Option<Allowed>)>> {
        let ctx = look.ctx;
        let run = ctx.project.run_of(execution);
        let is_open = execution.outcome() == Outcome::Open;
        let ended_at = match execution.finished_at() {
            Some(at) if !is_open && execution.outcome() != Outcome::Skipped => Some(at),
            None if is_open && run.is_none_or(|run| run.status.is_active()) => None,
            _ => return None,
        };
        let limit = self
            .max
            .map(|max| max.of_execution(ctx, look.history, execution));
        let allowed = limit.and_then(Result::ok);
        let id = || look.occurrence(execution).to_string().into();
        let run_id: Name = run.map_or_else(id, |run| run.id.clone());
        let over_at = allowed.as_ref().map(|a| execution.started_at + a.max);
        let until = ended_at.or(look.known_until);
        if let Some(over_at) = over_at.filter(|over_at| until.is_some_and(|at| at > *over_at)) {
            return Some(Event {
                at: over_at,
                run: run_id,
                is_breach: true,
                about: (execution, allowed),
            });
        }
        let at = ended_at?;
        let is_success = execution.outcome() == Outcome::Success;
        let is_short = |min| is_success && at.since(execution.started_at) < min;
        let is_counted = allowed.is_some() || (is_success && self.min.is_some());
        is_counted.then(|| Event {
            at,
            run: run_id,
            is_breach: self.min.is_some_and(is_short),
            about: (execution, allowed),
        })
    }
}

impl<'a> Looking<'a, '_> {
    /// Executions the rule wants, newest first: those since the last look, and as many before them as may
    /// still be open.
    fn newest(&self) -> impl Iterator<Item = &'a ExecutionRecord> {
        let (ctx, judged_until) = (self.ctx, self.ctx.memory.judged_until);
        let newest = self.history.executions().iter().rev().enumerate();
        newest
            .take_while(move |(index, execution)| {
                *index < MAX_SEARCHED || execution.started_at > judged_until
            })
            .map(|(_, execution)| execution)
            .filter(move |execution| {
                let run = ctx.project.run_of(execution);
                run.is_none_or(|run| ctx.is_judged(run))
            })
    }

    /// Which execution.
    fn occurrence(&self, execution: &ExecutionRecord) -> Labels {
        let labels = match self.ctx.project.run_of(execution) {
            Some(run) => run_occurrence(&run.id),
            None => Labels::default(),
        };
        labels.with("started_at", execution.started_at.to_string())
    }

    fn about(&self, execution: &ExecutionRecord, headline: String, facts: Vec<Fact>) -> Evidence {
        let ctx = self.ctx;
        let run = ctx.project.run_of(execution);
        let mut facts = facts;
        if let Some(job) = ctx.job() {
            facts.push(Fact::new("Job", job.name.to_string()));
        }
        facts.push(Fact::new("Started", ctx.clock(execution.started_at)));
        Evidence {
            headline,
            facts,
            error: self.history.error_of(execution).map(|text| error_end(text)),
            run_id: run.map(|run| run.id.clone()),
            ..Evidence::default()
        }
    }
}

fn tell_finished(
    look: Looking<'_, '_>,
    execution: &ExecutionRecord,
    allowed: &Allowed,
    is_news: bool,
    judgement: &mut Judgement,
) {
    let took = execution.run_time().unwrap_or_default();
    let labels = look.occurrence(execution);
    let was_open = look.ctx.open_at(&labels).is_some();
    let is_over = took > allowed.max && is_news;
    if is_over && !was_open {
        let evidence = evidence(look, execution, took, allowed);
        let over_at = execution.started_at + allowed.max;
        judgement.find_occurrence(labels.clone(), over_at, Verdict::Breach(evidence));
    }
    if was_open || is_over {
        let at = execution.started_at + took;
        judgement.find_occurrence(labels, at, ended(look.ctx, execution, took, allowed));
    }
}

fn evidence(
    look: Looking<'_, '_>,
    execution: &ExecutionRecord,
    took: Span,
    allowed: &Allowed,
) -> Evidence {
    let ctx = look.ctx;
    let usual = Baseline::of(like_executions(ctx, look.history, execution));
    let (title, limit) = (ctx.title(), allowed.text());
    let headline = if execution.finished_at().is_none() {
        let usual = usual.map_or(String::new(), |usual| {
            format!(", usual {}", human_span(span(usual.median)))
        });
        format!("Too long: {title} still running, over its limit of {limit}{usual}")
    } else {
        format!(
            "Too long: {title} took {} (limit {limit})",
            human_span(took)
        )
    };
    let ran = Fact::new("Ran", ctx.against_usual(took, usual.as_ref()));
    look.about(execution, headline, vec![ran, Fact::new("Limit", limit)])
}

fn short_evidence(
    look: Looking<'_, '_>,
    execution: &ExecutionRecord,
    took: Span,
    min: Span,
) -> Evidence {
    let usual = Baseline::of(like_executions(look.ctx, look.history, execution));
    let headline = format!(
        "Too short: {} took {} (at least {})",
        look.ctx.title(),
        human_span(took),
        human_span(min)
    );
    let facts = vec![
        Fact::new("Ran", look.ctx.against_usual(took, usual.as_ref())),
        Fact::new("At least", human_span(min)),
    ];
    look.about(execution, headline, facts)
}

fn ended(ctx: &Context<'_>, execution: &ExecutionRecord, took: Span, allowed: &Allowed) -> Verdict {
    let how = match execution.outcome() {
        Outcome::Success => "finished",
        Outcome::Open | Outcome::Failure | Outcome::Skipped => "ended without success",
    };
    let over = if took > allowed.max {
        format!(", {} over", human_span(took - allowed.max))
    } else {
        String::new()
    };
    resolved(
        format!("Over: {} {how} after {}", ctx.title(), human_span(took)),
        vec![
            Fact::new("Ran", format!("{}{over}", human_span(took))),
            Fact::new("Limit", allowed.text()),
        ],
    )
}

/// Decides the promise that an execution's limit is; returns what was recorded before.
fn promise(
    look: Looking<'_, '_>,
    execution: &ExecutionRecord,
    took: Span,
    max: Span,
    judgement: &mut Judgement,
) -> Option<Promise> {
    let outcome = if took <= max {
        Promise::Met
    } else {
        Promise::late(took - max)
    };
    let mut labels = look.ctx.subject.identity();
    for (name, value) in look.occurrence(execution).iter() {
        labels.set(name, value);
    }
    let (started_at, due_at) = (execution.started_at, execution.started_at + max);
    limit::decide(judgement, look.ctx, &labels, started_at, due_at, outcome)
}

/// Closes alerts about executions of runs that are over, and of executions that are not known any more.
fn close_lost(look: Looking<'_, '_>, judgement: &mut Judgement) {
    let ctx = look.ctx;
    let going_on = |alert: &&Alert| alert.is_open() && alert.cleared_at.is_none();
    for alert in ctx.open.iter().filter(going_on) {
        if times::is_told_otherwise(ctx, alert) {
            times::close_told_otherwise(ctx, alert, judgement);
            continue;
        }
        let occurrence = ctx.occurrence(alert);
        let is_said = |finding: &super::super::alert::Finding| finding.occurrence == occurrence;
        let Some(started_at) = Timestamp::parse(occurrence.get("started_at")) else {
            continue;
        };
        if judgement.findings.iter().any(is_said) {
            continue;
        }
        let same_instant = look.history.since(started_at).iter();
        let mut same = same_instant
            .take_while(|execution| execution.started_at == started_at)
            .filter(|execution| look.occurrence(execution) == occurrence);
        let (at, how) = match same.next().map(|execution| ctx.project.run_of(execution)) {
            Some(None) => continue,
            Some(Some(run)) if run.status.is_active() => continue,
            Some(Some(run)) => (
                run.settled_at(),
                format!("its run ended as {}", run.status.as_str()),
            ),
            None => (ctx.known_until, "is not known any more".to_owned()),
        };
        let headline = format!("Over: {}: {how}", ctx.title());
        judgement.find_occurrence(occurrence, at, expired(headline));
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Case;
    use super::super::{RuleKind, Statistic};
    use super::*;

    fn case(max: Limit) -> Case {
        Case::new(RuleKind::ModelDuration(ModelDuration {
            max: Some(max),
            min: Some(Span::minutes(1)),
        }))
        .model("m")
    }

    fn unknown() -> Case {
        case(Limit::Fixed(Span::minutes(10)))
    }

    fn fixed() -> Case {
        unknown().executions_known("08:00")
    }

    #[test]
    fn an_execution_is_judged_while_it_goes_on_and_at_its_end() {
        for (name, case, said) in [
            (
                "short enough",
                fixed()
                    .run("a", "06:00 running")
                    .execution("a", "m", "06:20 running"),
                "",
            ),
            (
                "over",
                fixed()
                    .run("a", "06:00 running")
                    .execution("a", "m", "06:19 running"),
                "06:29 breach Too long: p1 m still running, over its limit of 10 min",
            ),
            (
                "its run is over",
                fixed()
                    .run("a", "06:00 -> 06:25 failed")
                    .execution("a", "m", "06:01 running"),
                "",
            ),
            (
                "over at the end",
                fixed().run("a", "06:00 -> 06:25 failed").execution(
                    "a",
                    "m",
                    "06:01 -> 06:13 failed: boom",
                ),
                "06:11 breach Too long: p1 m took 12 min (limit 10 min); \
                 06:13 ok Over: p1 m ended without success after 12 min; \
                 promise 06:11 late by 120 s",
            ),
            (
                "too short",
                fixed().run("a", "06:00 -> 06:25 success").execution(
                    "a",
                    "m",
                    "06:01 -> 06:01 success",
                ),
                "06:01 breach Too short: p1 m took 0 s (at least 1 min); promise 06:11 met",
            ),
            (
                "skipped",
                fixed().run("a", "06:00 -> 06:25 failed").execution(
                    "a",
                    "m",
                    "06:01 -> 06:01 skipped",
                ),
                "",
            ),
            (
                "another model",
                fixed()
                    .run("a", "06:00 running")
                    .execution("a", "n", "06:01 running"),
                "",
            ),
        ] {
            assert_eq!(case.judge("06:30").join("; "), said, "{name}");
        }
    }

    #[test]
    fn an_execution_is_too_long_only_as_far_as_executions_are_known() {
        let case = || {
            unknown()
                .run("a", "06:00 running")
                .execution("a", "m", "06:05 running")
        };
        let behind = case().executions_known("06:15");
        assert_eq!(behind.judge("06:30"), Vec::<String>::new());
        let woken = behind.judgement("06:30").wake_when_known;
        assert_eq!(woken, Some(super::super::fixture::at("06:31")));
        assert_eq!(
            case().judge("06:30"),
            ["06:30 unknown model executions are not known yet"]
        );
        let known = case().executions_known("06:16");
        assert_eq!(
            known.judge("06:30"),
            ["06:15 breach Too long: p1 m still running, over its limit of 10 min"]
        );
    }

    #[test]
    fn a_factor_needs_eight_like_executions_that_were_over_before() {
        let factor = Limit::Factor {
            factor: 2.0,
            of: Statistic::Median,
        };
        let past = |count: i64| {
            let mut case = case(factor).executions_known("08:00");
            for hour in 0..count {
                let from = super::super::fixture::at("00:00") - Span::hours(hour);
                let run = format!("p{hour}");
                let to = from + Span::minutes(5);
                case = case
                    .run(&run, &format!("{from} -> {to} success"))
                    .execution(&run, "m", &format!("{from} -> {to} success"));
            }
            case.run("a", "06:00 running")
                .execution("a", "m", "06:01 running")
        };
        let said = |count, word: &str| {
            let mut lines = past(count).judge("06:30").into_iter();
            lines.find(|line| line.contains(word)).unwrap()
        };
        assert_eq!(
            said(8, "breach"),
            "06:11 breach Too long: p1 m still running, over its limit of 10 min = \
             2 x median of the last 8 runs, usual 5 min"
        );
        assert_eq!(said(7, "unknown"), "06:30 unknown 7 like runs, needs 8");
    }

    #[test]
    fn an_execution_is_decided_once() {
        let first = fixed()
            .run("a", "06:00 -> 06:29 success")
            .execution("a", "m", "06:01 -> 06:28 success")
            .after("06:30");
        assert_eq!(first.judge("06:30"), Vec::<String>::new());
        let later = first.after("06:40");
        assert!(later.memory.ahead.is_empty(), "{:?}", later.memory);
        assert_eq!(later.judge("06:40"), Vec::<String>::new());
    }
}
