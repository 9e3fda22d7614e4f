//! # staleness and model_staleness
//!
//! ## What it tells
//! The newest success of a job (or of a model in a job) is older than it may be.
//!
//! ## When to use
//! For data that must be fresh, whatever the schedule; and for jobs whose schedule has no ticks. With
//! `calendar`, for data that only business days bring: on Monday morning it is as old as it was on Friday
//! evening.
//!
//! ## Keys
//! `max_age` (required), `warn_age` (an early, softer warning; below `max_age`). `model` selects the models
//! of `model_staleness`: each model in each job has an age of its own.
//!
//! With `calendar` only the time in which it is open counts, for the age and for both limits.
//!
//! ## No data
//! Time in which the job is disabled or its project suspended does not count, and is not taken off twice
//! when the calendar is closed, too. A job that never succeeded is as old as its first sight, a model as
//! its first execution. While the source cannot be read nothing is decided; while its model executions
//! cannot be read, or are not served, nothing is decided about models.
//!
//! ## Resolve
//! At the next success. A model that is not executed any more stays stale until its job has succeeded
//! twenty times the model's usual turns without it after the limit was passed (twenty runs for a model
//! that every run executes, two thousand for one that every hundredth does); then the alert expires as
//! "no longer part of" the job.

use super::super::alert::{Evidence, Verdict};
use super::super::history::{ExecutionRecord, JobHistory, ModelHistory, Outcome};
use super::super::notification::Fact;
use super::super::observation::Run;
use super::super::subject::SubjectKey;
use super::super::time::{Span, Timestamp, human_span};
use super::Severity;
use super::context::{Context, Judgement, MAX_SEARCHED, expired, resolved};

/// Age of the newest success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staleness {
    /// Oldest allowed.
    pub max_age: Span,
    /// Early warning; below `max_age`.
    pub warn_age: Option<Span>,
}

/// From when age counts, and why.
#[derive(Clone, Copy, Debug)]
struct Fresh {
    at: Timestamp,
    has_succeeded: bool,
}

/// Turns missed after which a model is no longer part of its job.
const LOST_TURNS: usize = 20;

/// How often it is looked whether a stale model is still part of its job.
const LOST_LOOK: Span = Span::hours(1);

impl Staleness {
    /// Judges a job or a model.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let Some(job) = ctx.job() else {
            return judgement;
        };
        if let SubjectKey::Model(_, _, model) = ctx.subject {
            if let Some(history) = ctx.project.model(&job.name, model) {
                self.judge_model(ctx, job, history, &mut judgement);
            }
            return judgement;
        }
        let success = ctx.last_success(job);
        let fresh = Fresh {
            at: success.map_or(job.first_seen_at, Run::settled_at),
            has_succeeded: success.is_some(),
        };
        let more = || run_facts(ctx, job);
        self.judge_age(ctx, job, fresh, ctx.known_until, more, &mut judgement);
        judgement
    }

    fn judge_model(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        history: &ModelHistory,
        judgement: &mut Judgement,
    ) {
        let Some(known) = ctx.project.executions_known(ctx.known_until) else {
            let why = "model executions are not known".to_owned();
            judgement.find(ctx.known_until, Verdict::Unknown(why));
            judgement.wake_executions(ctx, ctx.known_until);
            return;
        };
        let fresh = match newest_success(ctx, history) {
            Ok(Some(fresh)) => fresh,
            Ok(None) => {
                let headline = format!("Gone: no execution of {} is known any more", ctx.title());
                judgement.find(known, expired(headline));
                return;
            }
            Err(why) => {
                judgement.find(known, Verdict::Unknown(why));
                return;
            }
        };
        let stale_at = reached_at(ctx, job, fresh.at, self.max_age);
        if let Some(stale_at) = stale_at.filter(|at| *at <= known) {
            if let Some(at) = lost_at(ctx, job, history, stale_at) {
                let headline = format!(
                    "No longer part of {}: {} has missed its last {LOST_TURNS} turns",
                    job.name,
                    ctx.title()
                );
                judgement.find(at, expired(headline));
                return;
            }
            judgement.wake_known(ctx.known_until + LOST_LOOK);
        }
        let more = || execution_facts(ctx, job, history);
        self.judge_age(ctx, job, fresh, known, more, judgement);
    }

    fn judge_age(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        fresh: Fresh,
        known: Timestamp,
        more: impl Fn() -> Vec<Fact>,
        judgement: &mut Judgement,
    ) {
        let warn = self.warn_age.map(|age| (age, ctx.rule.severity.softer()));
        let steps = warn.into_iter().chain([(self.max_age, ctx.rule.severity)]);
        let mut breach = None;
        for (limit, severity) in steps {
            match reached_at(ctx, job, fresh.at, limit) {
                Some(at) if at <= known => breach = Some((at, limit, severity)),
                Some(at) => {
                    judgement.wake_executions(ctx, at);
                    break;
                }
                // On hold it does not age; the end of the hold is news.
                None => break,
            }
        }
        match breach {
            Some((at, limit, severity)) => {
                let mut evidence = self.evidence(ctx, job, fresh, known, (limit, severity));
                evidence.facts.extend(more());
                judgement.find(at, Verdict::Breach(evidence));
            }
            None => judgement.find(fresh.at, recovery(ctx, fresh.at)),
        }
    }

    fn evidence(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        fresh: Fresh,
        known: Timestamp,
        (limit, severity): (Span, Severity),
    ) -> Evidence {
        let calendar = ctx.rule.calendar.as_ref();
        let of = calendar.map_or(String::new(), |open| format!(" of {}", open.name));
        let age = human_span(limit);
        let headline = if fresh.has_succeeded {
            format!("Stale: {} has not succeeded for {age}{of}", ctx.title())
        } else {
            format!("Stale: {} has never succeeded in {age}{of}", ctx.title())
        };
        let since = if fresh.has_succeeded {
            "Last success"
        } else {
            "First seen"
        };
        let mut facts = vec![
            Fact::new(since, ctx.clock(fresh.at)),
            Fact::new("Allowed age", format!("{}{of}", human_span(self.max_age))),
        ];
        let held = ctx.project.held_time(job, fresh.at, known);
        if held > Span::zero() {
            facts.push(Fact::new("Paused meanwhile", human_span(held)));
        }
        let closed = known.since(fresh.at) - held - age_at(ctx, job, fresh.at, known);
        if closed > Span::zero() {
            facts.push(Fact::new("Closed meanwhile", human_span(closed)));
        }
        Evidence {
            headline,
            facts,
            severity: Some(severity),
            ..Evidence::default()
        }
    }
}

/// When the newest success finished, or the first execution began. `Ok(None)`: there is no execution.
fn newest_success(ctx: &Context<'_>, history: &ModelHistory) -> Result<Option<Fresh>, String> {
    let wanted = |execution: &&ExecutionRecord| {
        let run = ctx.project.run_of(execution);
        run.is_none_or(|run| ctx.is_judged(run))
    };
    let all = history.executions();
    let searched = all.iter().rev().take(MAX_SEARCHED);
    let success = searched
        .filter(wanted)
        .find(|execution| execution.outcome() == Outcome::Success);
    if let Some(success) = success {
        return Ok(Some(Fresh {
            at: success.finished_at().unwrap_or(success.started_at),
            has_succeeded: true,
        }));
    }
    if all.len() > MAX_SEARCHED {
        return Err(format!("no success in the last {MAX_SEARCHED} executions"));
    }
    let Some(first) = all.first() else {
        return Ok(None);
    };
    let first = all.iter().find(wanted).unwrap_or(first);
    Ok(Some(Fresh {
        at: first.started_at,
        has_succeeded: false,
    }))
}

/// The success of the job with which a model that is stale since `stale_at` has missed so many turns that
/// it is no longer part of the job.
fn lost_at(
    ctx: &Context<'_>,
    job: &JobHistory,
    history: &ModelHistory,
    stale_at: Timestamp,
) -> Option<Timestamp> {
    let executions = history.executions();
    let last_seen_at = executions.last()?.started_at;
    let recent = &executions[executions.len().saturating_sub(LOST_TURNS)..];
    let successes_from = |from: Timestamp| {
        let after = ctx.project.successes_after(job, from);
        after.filter(move |run| ctx.is_judged(run))
    };
    // How many successes come to one execution.
    let turns = recent.len() - 1;
    let between = successes_from(recent[0].started_at)
        .take(MAX_SEARCHED)
        .take_while(|run| run.settled_at() < last_seen_at)
        .count();
    let gap = between.checked_div(turns).unwrap_or(1).max(1);
    let without = successes_from(stale_at.max(last_seen_at + Span::minutes(1)))
        .filter(|run| ctx.project.executions_in(history, run).next().is_none());
    let completing = without.take(LOST_TURNS * gap).enumerate().last();
    completing
        .filter(|(index, _)| index + 1 == LOST_TURNS * gap)
        .map(|(_, run)| run.settled_at())
}

/// The instant at which what was fresh at `fresh_at` reaches an age: time on hold does not count, nor does
/// time in which the rule's calendar is closed. `None`: it does not while the hold goes on.
fn reached_at(
    ctx: &Context<'_>,
    job: &JobHistory,
    fresh_at: Timestamp,
    age: Span,
) -> Option<Timestamp> {
    let mut left = age;
    for (from, to) in ctx.project.free_stretches(job, fresh_at) {
        let at = match &ctx.rule.calendar {
            Some(calendar) => calendar.after_open_time(from, left),
            None => from + left,
        };
        if at <= to && at < Timestamp::MAX {
            return Some(at);
        }
        left -= open_time(ctx, from, to);
    }
    None
}

/// Time counted in `(fresh_at, until)`.
fn age_at(ctx: &Context<'_>, job: &JobHistory, fresh_at: Timestamp, until: Timestamp) -> Span {
    let stretches = ctx.project.free_stretches(job, fresh_at).into_iter();
    let counted = stretches.map(|(from, to)| open_time(ctx, from.min(until), to.min(until)));
    counted.fold(Span::zero(), |total, open| total + open)
}

fn open_time(ctx: &Context<'_>, from: Timestamp, to: Timestamp) -> Span {
    match &ctx.rule.calendar {
        // A calendar that never opens has no end to look for.
        Some(_) if to == Timestamp::MAX => Span::zero(),
        Some(calendar) => calendar.open_time(from, to),
        None => to.since(from),
    }
}

fn run_facts(ctx: &Context<'_>, job: &JobHistory) -> Vec<Fact> {
    let mut facts = Vec::new();
    let last = ctx.finished(job).next();
    if let Some(run) = last.filter(|run| run.status.is_failure()) {
        let at = ctx.clock(run.settled_at());
        facts.push(Fact::new(
            "Last run",
            format!("{} at {at}", run.status.as_str()),
        ));
    }
    if let Some(run) = ctx.active(job).next() {
        let at = ctx.clock(run.started_at.unwrap_or(run.created_at));
        facts.push(Fact::new(
            "Now",
            format!("{} since {at}", run.status.as_str()),
        ));
    }
    facts
}

fn execution_facts(ctx: &Context<'_>, job: &JobHistory, history: &ModelHistory) -> Vec<Fact> {
    let mut facts = vec![Fact::new("Job", job.name.to_string())];
    if let Some(last) = history.executions().last() {
        let at = ctx.clock(last.finished_at().unwrap_or(last.started_at));
        match last.outcome() {
            Outcome::Failure => facts.push(Fact::new("Last run", format!("failed at {at}"))),
            Outcome::Skipped => facts.push(Fact::new("Last run", format!("skipped at {at}"))),
            Outcome::Open => facts.push(Fact::new("Now", format!("running since {at}"))),
            Outcome::Success => {}
        }
    }
    if let Some(run) = ctx.last_success(job) {
        let text = format!("success at {}, without it", ctx.clock(run.settled_at()));
        let is_without = ctx.project.executions_in(history, run).next().is_none();
        if is_without {
            facts.push(Fact::new("Last good run", text));
        }
    }
    facts
}

fn recovery(ctx: &Context<'_>, fresh_at: Timestamp) -> Verdict {
    resolved(
        format!(
            "Fresh again: {} succeeded at {}",
            ctx.title(),
            ctx.clock(fresh_at)
        ),
        vec![Fact::new("Last success", ctx.clock(fresh_at))],
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::RuleKind;
    use super::super::fixture::{Case, at};
    use super::*;
    use crate::engine::calendar::Calendar;

    fn case() -> Case {
        Case::new(RuleKind::Staleness(Staleness {
            max_age: Span::hours(3),
            warn_age: Some(Span::hours(2)),
        }))
    }

    #[test]
    fn age_is_counted_from_the_newest_success() {
        for (known, said) in [
            (
                "07:09",
                "05:10 ok Fresh again: p1 job succeeded at 05:10 UTC",
            ),
            (
                "07:10",
                "07:10 breach Stale: p1 job has not succeeded for 2 h",
            ),
            (
                "08:10",
                "08:10 breach Stale: p1 job has not succeeded for 3 h",
            ),
            (
                "20:00",
                "08:10 breach Stale: p1 job has not succeeded for 3 h",
            ),
        ] {
            let case = case()
                .run("a", "05:00 -> 05:10 success")
                .run("b", "06:00 -> 06:10 failed")
                .run("c", "06:00 -> 06:20 partial");
            assert_eq!(case.judge(known), [said], "{known}");
        }
    }

    #[test]
    fn it_wakes_at_the_next_threshold() {
        let case = case().run("a", "05:00 -> 05:10 success");
        for (known, wakes) in [
            ("05:30", Some("07:10")),
            ("07:30", Some("08:10")),
            ("09:00", None),
        ] {
            assert_eq!(
                case.judgement(known).wake_when_known,
                wakes.map(at),
                "{known}"
            );
        }
    }

    #[test]
    fn time_on_hold_does_not_count() {
        let held = case()
            .job("05:00", "0 * * * *", true)
            .run("a", "05:00 -> 05:10 success")
            .job("06:00", "0 * * * *", false);
        let fresh = "05:10 ok Fresh again: p1 job succeeded at 05:10 UTC";
        assert_eq!(held.judge("23:00"), [fresh]);
        assert_eq!(
            held.judgement("23:00").wake_when_known,
            None,
            "the end of the hold is news"
        );
        let back = held.job("10:00", "0 * * * *", true);
        assert_eq!(back.judge("11:09"), [fresh]);
        assert_eq!(
            back.judge("12:10"),
            ["12:10 breach Stale: p1 job has not succeeded for 3 h"]
        );
    }

    #[test]
    fn a_job_that_never_succeeded_is_as_old_as_its_first_sight() {
        let never = case().job("05:00", "0 * * * *", true);
        assert_eq!(
            never.judge("08:00"),
            ["08:00 breach Stale: p1 job has never succeeded in 3 h"]
        );
    }

    /// Weekdays in UTC. 10 March 2026 is a Tuesday.
    fn weekdays() -> Calendar {
        Calendar {
            name: "weekdays".into(),
            zone: chrono_tz::UTC,
            days: [true, true, true, true, true, false, false],
            hours: None,
            holidays: BTreeSet::new(),
        }
    }

    fn on_weekdays(max_age: Span) -> Case {
        let mut case = Case::new(RuleKind::Staleness(Staleness {
            max_age,
            warn_age: None,
        }));
        case.rule.calendar = Some(weekdays());
        case
    }

    #[test]
    fn closed_time_does_not_count() {
        // Friday 6 March 22:00; on Monday at noon it is 14 hours old.
        let friday = on_weekdays(Span::hours(26))
            .run("a", "2026-03-06T21:00:00Z -> 2026-03-06T22:00:00Z success");
        let fresh = "03-06T22:00 ok Fresh again: p1 job succeeded at 6 Mar 22:00 UTC";
        assert_eq!(friday.judge("2026-03-09T12:00:00Z"), [fresh]);
        let monday = friday.judgement("2026-03-09T12:00:00Z");
        assert_eq!(monday.wake_when_known, Some(at("00:00")));
        let stale = friday.judge("02:00");
        assert_eq!(
            stale,
            ["00:00 breach Stale: p1 job has not succeeded for 1 d 2 h of weekdays"]
        );
    }

    #[test]
    fn time_on_hold_and_closed_time_are_not_taken_off_twice() {
        // Held from Friday noon to Monday noon: the weekend inside is closed, too.
        let held = on_weekdays(Span::hours(26))
            .job("2026-03-06T09:00:00Z", "0 * * * *", true)
            .run("a", "2026-03-06T09:00:00Z -> 2026-03-06T10:00:00Z success")
            .job("2026-03-06T12:00:00Z", "0 * * * *", false)
            .job("2026-03-09T12:00:00Z", "0 * * * *", true);
        // 2 h on Friday, 12 h on Monday, and 12 h on Tuesday.
        let wake = held.judgement("2026-03-09T13:00:00Z").wake_when_known;
        assert_eq!(wake, Some(at("12:00")));
        assert_eq!(
            held.judge("12:00"),
            ["12:00 breach Stale: p1 job has not succeeded for 1 d 2 h of weekdays"]
        );
        let judgement = held.judgement("13:00");
        let Verdict::Breach(evidence) = &judgement.findings[0].verdict else {
            panic!("{judgement:?}");
        };
        let fact = |name: &str| {
            let fact = evidence.facts.iter().find(|fact| fact.name == name);
            fact.map(|fact| fact.value.clone()).unwrap_or_default()
        };
        assert_eq!(fact("Paused meanwhile"), "3 d");
        assert_eq!(fact("Closed meanwhile"), "");
    }

    #[test]
    fn a_calendar_that_never_opens_lets_nothing_age() {
        let mut case = on_weekdays(Span::hours(1)).run("a", "05:00 -> 05:10 success");
        case.rule.calendar = Some(Calendar {
            days: [false; 7],
            ..weekdays()
        });
        assert!(case.judge("23:00")[0].contains(" ok "));
        assert_eq!(case.judgement("23:00").wake_when_known, None);
    }

    /// Hourly runs from 01:00 to 23:00; the model executes in those named, by hour.
    fn model_case(hours: &[i32], word: &str) -> Case {
        let kind = RuleKind::ModelStaleness(Staleness {
            max_age: Span::hours(3),
            warn_age: Some(Span::hours(2)),
        });
        let mut case = Case::new(kind).model("m");
        for hour in 1..24 {
            let id = format!("r{hour}");
            case = case.run(&id, &format!("{hour:02}:00 -> {hour:02}:10 success"));
            if hours.contains(&hour) {
                let text = format!("{hour:02}:01 -> {hour:02}:05 {word}");
                case = case.execution(&id, "m", &text);
            }
        }
        case
    }

    #[test]
    fn a_model_has_an_age_of_its_own() {
        for (name, hours, word, known, said) in [
            (
                "fresh",
                &[5, 6][..],
                "success",
                "08:04",
                "06:05 ok Fresh again: p1 m succeeded at 06:05 UTC",
            ),
            (
                "warned",
                &[5, 6],
                "success",
                "08:05",
                "08:05 breach Stale: p1 m has not succeeded for 2 h",
            ),
            (
                "stale",
                &[5, 6],
                "success",
                "09:30",
                "09:05 breach Stale: p1 m has not succeeded for 3 h",
            ),
            (
                "never",
                &[5, 6],
                "failed",
                "09:30",
                "08:01 breach Stale: p1 m has never succeeded in 3 h",
            ),
        ] {
            let case = model_case(hours, word).executions_known(known);
            assert_eq!(case.judge(known), [said], "{name}");
        }
    }

    #[test]
    fn a_model_is_judged_only_as_far_as_executions_are_known() {
        let unread = model_case(&[5, 6], "success");
        assert_eq!(
            unread.judge("09:30"),
            ["09:30 unknown model executions are not known"]
        );
        let wake = unread.judgement("09:30").wake_when_known;
        assert_eq!(wake, Some(at("09:30") + Span::seconds(30)));
        let behind = unread.executions_known("08:00");
        assert!(behind.judge("09:30")[0].contains(" ok "));
        let wake = behind.judgement("09:30").wake_when_known;
        assert_eq!(wake, Some(at("09:30") + Span::seconds(30)));
    }

    #[test]
    fn a_model_that_is_not_executed_any_more_expires_after_twenty_turns() {
        // In every run until 02:00, stale at 05:05, and twenty runs later still.
        let case = |last: i32| {
            let mut case = model_case(&[1, 2], "success");
            for hour in 0..last {
                let id = format!("n{hour}");
                let (from, to) = (
                    at("2026-03-11T00:00:00Z") + Span::hours(i64::from(hour)),
                    at("2026-03-11T00:10:00Z") + Span::hours(i64::from(hour)),
                );
                case = case.run(&id, &format!("{from} -> {to} success"));
            }
            case.executions_known("2026-03-12T00:00:00Z")
        };
        let stale = "05:05 breach Stale: p1 m has not succeeded for 3 h";
        assert_eq!(case(0).judge("2026-03-12T00:00:00Z"), [stale]);
        // That of 05:00, which ended at 05:10, is the first one without it after that.
        assert_eq!(
            case(9).judge("2026-03-12T00:00:00Z"),
            ["03-11T00:10 expired No longer part of job: p1 m has missed its last 20 turns"]
        );
        // One that every fourth run executes has turns of its own.
        let rare = model_case(&[2, 6, 10], "success").executions_known("23:59");
        assert!(rare.judge("23:59")[0].contains("breach"));
    }
}
