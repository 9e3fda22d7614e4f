//! Whatever comes in whatever order: what is told is ended once, and what is critical is told or explained.

use std::collections::{BTreeMap, BTreeSet};

use chrono_tz::Tz;
use proptest::prelude::*;
use tardy::engine::alert::AlertState;
use tardy::engine::labels::Matcher;
use tardy::engine::notification::Body;
use tardy::engine::observation::Status;
use tardy::engine::route::Route;
use tardy::engine::rule::{Clock, Rule, Severity};
use tardy::engine::time::{Span, Timestamp};

use super::kinds::{clock, deadline_with, missed, model_failed, run_failed, span, stale, too_long};
use super::precedence::incident;
use super::timeline::{Disturbance, Outcome, Timeline};

const JOBS: [&str; 4] = ["a", "b", "c", "d"];

/// One run: which job, minutes until it starts after the one before, minutes it takes, how it ends.
type Step = (usize, i64, i64, u8);

fn with(mut rule: Rule, severity: Severity) -> Rule {
    rule.severity = severity;
    rule
}

fn severity(is_critical: bool) -> Severity {
    if is_critical {
        Severity::Critical
    } else {
        Severity::Warning
    }
}

/// All jobs succeed at the end, and stay well until everything is steady.
fn timeline(steps: &[Step], severities: [bool; 4]) -> (Timeline, Timestamp) {
    let schedules: Vec<_> = JOBS.iter().map(|job| (*job, "0 * * * *", true)).collect();
    let [incidents, failures, lengths, starts] = severities.map(severity);
    let mut timeline = Timeline::new("2026-03-10T06:00:00Z")
        .poll_every(span("1m"))
        .policy(|policy| {
            policy.route.children = vec![Route {
                path: "root/page".into(),
                matchers: vec![Matcher::parse("severity = critical").unwrap()],
                ..Route::root(vec!["pager".into(), "team".into()])
            }];
        })
        .rule(with(incident(), incidents))
        .rule(with(run_failed(), failures))
        .rule(model_failed())
        .rule(with(too_long(Clock::Run, "12m"), lengths))
        .rule(with(missed(Some("6m")), starts))
        .rule(stale("80m", None))
        .rule(deadline_with("08:00", Tz::UTC, |kind| {
            kind.opens = Some(clock("06:30"));
            kind.warn_before = Some(span("20m"));
        }))
        .jobs_at("2025-11-01T00:00:00Z", &schedules);
    let mut at = timeline.from;
    for (index, (job, wait, took, end)) in steps.iter().enumerate() {
        at = at + Span::minutes(*wait);
        let status = match end {
            0 | 1 => Status::Success,
            2 => Status::Partial,
            _ => Status::Failed,
        };
        let (id, ends_at) = (format!("r{index}"), at + Span::minutes(*took));
        let outcome = Some((ends_at, status.clone(), "no connection".to_owned()));
        timeline = timeline.run_at(JOBS[*job], &id, at, Some(at), outcome);
        let text = format!("{} {}", &ends_at.to_string()[11..19], status.as_str());
        timeline = timeline.execution(&id, "stg.x", &at.to_string()[11..19], &text);
    }
    let end = timeline.at("18:00");
    for (number, job) in (0..).zip(JOBS) {
        for hour in 0..6 {
            let from = end + Span::hours(hour) + Span::seconds(number);
            let id = format!("last-{job}-{hour}");
            let outcome = Some((from + Span::minutes(1), Status::Success, String::new()));
            timeline = timeline.run_at(job, &id, from, Some(from), outcome);
            if hour == 0 {
                let text = format!("{} success", &(from + Span::minutes(1)).to_string()[11..19]);
                timeline = timeline.execution(&id, "stg.x", &from.to_string()[11..19], &text);
            }
        }
    }
    (timeline, end + Span::hours(5) + Span::minutes(30))
}

/// When a receiver knew of an alert, and how bad it thought it.
#[derive(Default)]
struct Known {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    severity: BTreeMap<Timestamp, Severity>,
    rule: String,
    job: String,
}

fn knowledge(outcome: &Outcome) -> BTreeMap<(String, String), Known> {
    let mut known: BTreeMap<(String, String), Known> = BTreeMap::new();
    for told in &outcome.told {
        let Body::Alerts(alerts) = &told.body else {
            continue;
        };
        for alert in alerts {
            let entry = known
                .entry((told.receiver.to_string(), alert.id.clone()))
                .or_default();
            entry.from.get_or_insert(told.decided_at);
            entry.to = alert.ended_at.map(|_| told.decided_at);
            entry.severity.insert(told.decided_at, alert.severity);
            entry.rule = alert.rule.to_string();
            entry.job = alert.labels.get("job").into();
        }
    }
    known
}

/// What explains what, written down a second time: rules, and whether they must be about the same job.
const EXPLAINS: [(&str, &str, bool); 6] = [
    ("platform", "failed", false),
    ("platform", "model-failed", false),
    ("platform", "too-long", false),
    ("failed", "model-failed", true),
    ("missed", "stale", true),
    ("missed", "deadline", true),
];

/// Between the instant at which something is so and the message: polls, waits and intervals.
const SLACK: Span = Span::minutes(4);

fn check_told_or_explained(outcome: &Outcome, until: Timestamp) -> Result<(), TestCaseError> {
    let known = knowledge(outcome);
    let mut firing: BTreeMap<String, (Timestamp, String, String)> = BTreeMap::new();
    let mut spans = Vec::new();
    for change in &outcome.transitions {
        let (rule, job) = (change.rule.to_string(), change.labels.get("job").to_owned());
        match change.to {
            AlertState::Firing => {
                firing.insert(change.id.clone(), (change.recorded_at, rule, job));
            }
            AlertState::Resolved => {
                if let Some((from, rule, job)) = firing.remove(&change.id) {
                    spans.push((change.id.clone(), from, change.recorded_at, rule, job));
                }
            }
            AlertState::Inactive | AlertState::Pending => {}
        }
    }
    spans.extend(
        firing
            .into_iter()
            .map(|(id, (from, rule, job))| (id, from, until, rule, job)),
    );
    let always_critical = BTreeSet::from(["model-failed", "stale"]);
    for (id, from, to, rule, job) in spans {
        if !always_critical.contains(rule.as_str()) {
            continue;
        }
        for receiver in ["pager", "team"] {
            let mut at = from + SLACK;
            while at < to {
                let own = known.get(&(receiver.to_owned(), id.clone()));
                let is_told = own.and_then(|own| own.from).is_some_and(|told| told <= at);
                let is_explained = known.iter().any(|((other, _), cause)| {
                    let is_open = cause.from.is_some_and(|from| from <= at)
                        && cause.to.is_none_or(|to| to >= at - SLACK);
                    let is_bad = cause
                        .severity
                        .values()
                        .any(|known| *known == Severity::Critical);
                    let explains = EXPLAINS.iter().any(|(by, quiet, is_same_job)| {
                        *by == cause.rule && *quiet == rule && (!is_same_job || cause.job == job)
                    });
                    other == receiver && is_open && is_bad && explains
                });
                prop_assert!(
                    is_told || is_explained,
                    "{rule} of {job} at {at} is not told to {receiver}:\n{}\n{}",
                    outcome.told_text().join("\n"),
                    outcome.states_text().join("\n")
                );
                at = at + Span::minutes(10);
            }
        }
    }
    Ok(())
}

/// Each announcement has its ending, at the same receiver, and no ending stands alone.
fn check_endings(outcome: &Outcome) -> Result<(), TestCaseError> {
    let mut counts: BTreeMap<(String, String), (usize, usize)> = BTreeMap::new();
    for told in &outcome.told {
        if let Body::Alerts(alerts) = &told.body {
            for alert in alerts {
                let key = (told.receiver.to_string(), alert.id.clone());
                let count = counts.entry(key).or_default();
                count.0 += usize::from(alert.is_new);
                count.1 += usize::from(alert.ended_at.is_some());
            }
        }
    }
    for (key, count) in counts {
        prop_assert_eq!(
            count,
            (1, 1),
            "{:?} in\n{}",
            key,
            outcome.told_text().join("\n")
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_told_is_ended_once_and_what_is_critical_is_told_or_explained(
        steps in prop::collection::vec((0_usize..4, 0_i64..25, 1_i64..20, 0_u8..6), 1..45),
        severities in any::<[bool; 4]>(),
        kills in prop::collection::btree_set(0_usize..900, 0..25),
    ) {
        // What lies after the end is cut off.
        let mut minutes = 0;
        let steps: Vec<Step> = steps
            .into_iter()
            .take_while(|step| {
                minutes += step.1;
                minutes < 600
            })
            .collect();
        let (timeline, until) = timeline(&steps, severities);
        let outcome = timeline.play_with(until, &mut |step, _| Disturbance {
            is_restart: kills.contains(&step),
            ..Disturbance::default()
        });
        check_endings(&outcome)?;
        check_told_or_explained(&outcome, until)?;
    }
}
