//! What objectives will have to count, from the jobs that the API shows; for `tardy check`.

use std::sync::Arc;

use chrono_tz::Tz;

use crate::engine::Engine;
use crate::engine::history::{JobHistory, ProjectHistory};
use crate::engine::rule::objective::{Objective, allowed, percent};
use crate::engine::rule::{Rule, RuleKind};
use crate::engine::time::{Timestamp, config_span};

/// More promises than this allow a miss at any share people write.
const MAX_COUNTED: usize = 100_000;

/// Objectives that allow no miss, of those that cannot be counted without the API.
pub(super) fn without_a_miss(engine: &Engine, now: Timestamp) -> Vec<String> {
    let policy = Arc::clone(engine.policy());
    let objective = |rule: &Rule| match &rule.kind {
        RuleKind::Objective(kind) => note(engine, rule, kind, now),
        _ => None,
    };
    policy.rules.iter().filter_map(objective).collect()
}

fn note(engine: &Engine, rule: &Rule, kind: &Objective, now: Timestamp) -> Option<String> {
    let find = |name: &str| {
        engine
            .policy()
            .rules
            .iter()
            .find(|rule| *rule.name == *name)
    };
    let of: Vec<&Rule> = kind.of.iter().filter_map(|name| find(name)).collect();
    if of.iter().all(|rule| is_counted_offline(rule)) {
        return None;
    }
    let events: usize = of
        .iter()
        .map(|part| promises(engine, rule, part, kind, now))
        .sum::<Option<usize>>()?;
    if events == 0 || allowed(events, kind.target) > 0 {
        return None;
    }
    Some(format!(
        "{}: objective `{}`: {events} runs at {}: 0 misses allowed in {}; lower `target` or widen `window`",
        rule.origin,
        rule.name,
        percent(kind.target),
        config_span(kind.window)
    ))
}

/// Deadlines of one job are counted from the rules alone.
fn is_counted_offline(rule: &Rule) -> bool {
    let is_name = |pattern: &String| !pattern.contains(['*', '?']) && !pattern.starts_with('!');
    let jobs = rule.selectors.job.texts();
    matches!(rule.kind, RuleKind::Deadline(_)) && jobs.len() == 1 && jobs.iter().all(is_name)
}

/// How many promises a rule will make in a window that the objective counts; `None` when that cannot be told.
fn promises(
    engine: &Engine,
    objective: &Rule,
    rule: &Rule,
    kind: &Objective,
    now: Timestamp,
) -> Option<usize> {
    let mut count = 0;
    for project in engine.history().projects() {
        let source = engine.policy().sources.iter();
        let zone = source
            .filter(|source| source.name == project.key.source)
            .map(|source| source.schedule_zone)
            .next()
            .unwrap_or(Tz::UTC);
        for job in project.jobs() {
            let is_selected = |rule: &Rule| is_selected(rule, project, job);
            if is_selected(rule) && is_selected(objective) {
                count += of_job(rule, job, zone, now, now + kind.window)?;
            }
        }
    }
    Some(count)
}

fn is_selected(rule: &Rule, project: &ProjectHistory, job: &JobHistory) -> bool {
    rule.selectors.is_project(project) && rule.selectors.job.is_match(&job.name)
}

fn of_job(
    rule: &Rule,
    job: &JobHistory,
    zone: Tz,
    from: Timestamp,
    until: Timestamp,
) -> Option<usize> {
    let calendar = rule.calendar.as_ref();
    match &rule.kind {
        RuleKind::Deadline(kind) => {
            let first = from.in_zone(kind.zone).date_naive();
            let last = until.in_zone(kind.zone).date_naive();
            let dates = first.iter_days().take_while(|date| *date < last);
            let counts =
                |date: &chrono::NaiveDate| calendar.is_none_or(|known| known.is_day(*date));
            Some(dates.filter(counts).count())
        }
        RuleKind::MissedSchedule(_) | RuleKind::RunDuration(_) => {
            let ticks = job.ticks(zone, from, until).take(MAX_COUNTED);
            let is_missed_schedule = matches!(rule.kind, RuleKind::MissedSchedule(_));
            let counts = |at: Timestamp| {
                !is_missed_schedule || calendar.is_none_or(|known| known.is_open(at))
            };
            let count = ticks.filter(|tick| counts(tick.at)).count();
            (count > 0).then_some(count)
        }
        _ => None,
    }
}
