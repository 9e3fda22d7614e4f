//! Budgets of objectives: while there is little to count, after corrections, across restarts.

use tardy::engine::labels::Patterns;
use tardy::engine::ledger::Promise;
use tardy::engine::notification::Body;
use tardy::engine::observation::{Observation, Run, Status};
use tardy::engine::rule::{Clock, Rule, Severity};
use tardy::engine::time::Span;

use super::kinds::{missed, objective, too_long};
use super::timeline::{Disturbance, Outcome, Timeline, check, project_key};

/// Only what the objective says; the rules it counts are told elsewhere.
fn said(outcome: &Outcome) -> Vec<String> {
    let lines = outcome.told_text().into_iter();
    lines.filter(|line| line.contains("Budget")).collect()
}

fn quietly(mut rule: Rule) -> Rule {
    rule.receivers = Some(vec!["elsewhere".into()]);
    rule.severity = Severity::Info;
    rule
}

/// A job that appears at 00:30, with hourly ticks that are served but for `unserved`.
fn hourly(unserved: &[u32], until: u32) -> Timeline {
    let mut timeline = Timeline::new("2026-03-10T00:00:00Z")
        .poll_every(Span::minutes(5))
        .rule(quietly(missed(Some("5m"))));
    timeline = timeline.jobs_at("00:30", &[("hourly", "0 * * * *", true)]);
    for hour in (1..until).filter(|hour| !unserved.contains(hour)) {
        let (day, hour_of_day) = (10 + hour / 24, hour % 24);
        let at = format!("03-{day} {hour_of_day:02}:00");
        let end = format!("03-{day} {hour_of_day:02}:10 success");
        let id = format!("r{hour}");
        timeline = timeline.run("hourly", &id, &at, &end);
    }
    timeline
}

#[test]
fn while_there_is_less_than_a_window_its_size_is_estimated_and_said() {
    // 48 ticks in two days, 10 %: four misses.
    let timeline = hourly(&[1, 5, 9], 30).rule(objective(&["missed"], "2d", 0.9));
    let outcome = timeline.play("12:00");
    check(
        &said(&outcome),
        "05:05:15 team first: + info Budget: objective has used 2 of 4 misses in 2 d (missed: 3 of 5 met, target 90 %)
         09:05 team upgraded: = warning Budget: objective has used 3 of 4 misses in 2 d (missed: 6 of 9 met, target 90 %)",
    );
    let bodies = outcome.told.iter().rev().map(|told| &told.body);
    let facts = bodies
        .filter_map(|body| match body {
            Body::Alerts(alerts) => Some(&alerts[0]),
            Body::Notice { .. } | Body::Digest(_) => None,
        })
        .find(|alert| &*alert.kind == "objective")
        .map(|alert| alert.facts.clone())
        .unwrap();
    let facts: Vec<String> = facts
        .iter()
        .map(|fact| format!("{}: {}", fact.name, fact.value))
        .collect();
    check(
        &facts,
        "Used: 3 of 4 misses, 1 left
         Promises: 9 of about 48 in 2 d (estimated from the rate so far)
         Met: 66.6 %, target 90 %
         Last misses: 09:00 UTC finance hourly missed; 05:00 UTC finance hourly missed; 01:00 UTC finance hourly missed
         Next miss leaves: 12 Mar 01:00 UTC",
    );
}

#[test]
fn the_first_miss_spends_a_budget_of_none() {
    let timeline = hourly(&[3], 30).rule(objective(&["missed"], "2d", 0.99));
    check(
        &said(&timeline.play("06:00")),
        "03:05:15 team first: + critical Budget: objective has 1 miss in 2 d and allows none (missed: 2 of 3 met, target 99 %)",
    );
}

#[test]
fn a_correction_gives_back_what_was_used() {
    let timeline = hourly(&[1, 2, 3], 30).rule(objective(&["missed"], "6h", 0.5));
    // The run of 03:00 was there in time; its row came late.
    let at = timeline.at("03:00");
    let run = Run {
        id: "r3".into(),
        job: Some("hourly".into()),
        job_type: "run".into(),
        status: Status::Success,
        triggered_by: "scheduled".into(),
        created_at: at,
        started_at: Some(at),
        finished_at: Some(at + Span::minutes(10)),
        updated_at: at + Span::minutes(10),
        error: None,
    };
    let served_at = timeline.at("03:30");
    let timeline = timeline.row(served_at, Observation::Run(project_key(), run));
    let outcome = timeline.play("12:00");
    check(
        &said(&outcome),
        "02:05:15 team first: + warning Budget: objective has used 2 of 3 misses in 6 h (missed: 0 of 2 met, target 50 %)
         03:05 team upgraded: = critical Budget: objective has used 3 of 3 misses in 6 h (missed: 0 of 3 met, target 50 %)
         07:00 team all_resolved: - warning Budget: objective is back to 1 of 3 misses in 6 h (missed: 5 of 6 met, target 50 %)",
    );
    let corrected = outcome
        .ledger
        .iter()
        .find(|row| row.corrected_from.is_some());
    let corrected = corrected.unwrap();
    assert_eq!(corrected.outcome, Promise::Met);
    assert_eq!(corrected.corrected_from, Some(Promise::Missed));
    assert_eq!(corrected.was_recorded_at, Some(timeline.at("03:05")));
}

#[test]
fn selectors_of_the_objective_restrict_what_counts() {
    let both = |timeline: Timeline| {
        timeline.jobs_at(
            "00:30",
            &[("hourly", "0 * * * *", true), ("other", "0 * * * *", true)],
        )
    };
    let mut rule = objective(&["missed"], "2d", 0.95);
    rule.selectors.job = Patterns::new(["hourly"]);
    // Every tick of the other job is missed.
    let outcome = both(hourly(&[], 30)).rule(rule).play("08:00");
    assert_eq!(said(&outcome), Vec::<String>::new());
    let outcome = both(hourly(&[], 30))
        .rule(objective(&["missed"], "2d", 0.95))
        .play("08:00");
    assert!(
        said(&outcome).iter().any(|line| line.contains("critical")),
        "{:?}",
        said(&outcome)
    );
}

#[test]
fn restarts_and_repeated_rows_spend_nothing_twice() {
    let timeline = hourly(&[1, 5, 9, 10], 30)
        .rule(quietly(too_long(Clock::Run, "5m")))
        .rule(objective(&["missed", "too-long"], "12h", 0.2));
    let until = timeline.at("16:00");
    let plain = timeline.play_with(until, &mut |_, _| Disturbance::default());
    let restarted = timeline.play_with(until, &mut |_, _| Disturbance {
        is_restart: true,
        ..Disturbance::default()
    });
    assert!(!said(&plain).is_empty());
    assert_eq!(said(&restarted), said(&plain));
    assert_eq!(restarted.ledger_text(), plain.ledger_text());
    assert_eq!(restarted.ledger.len(), plain.ledger.len());
}

#[test]
fn while_some_project_was_never_read_no_budget_is_spent_in_the_first_hour() {
    let first_told = |is_half_read: bool| {
        let mut timeline = Timeline::new("2026-03-10T00:00:00Z")
            .rule(quietly(missed(Some("2m"))))
            .rule(objective(&["missed"], "1h", 0.5))
            .jobs_at("00:00", &[("quick", "*/5 * * * *", true)]);
        if is_half_read {
            let from = timeline.from;
            timeline = timeline.project(from, |project| {
                project.key.project_id = "p2".into();
            });
        }
        let outcome = timeline.play("01:30");
        said(&outcome).first().map(|line| line[..5].to_owned())
    };
    assert!(first_told(false).is_some_and(|at| *"00:05" < *at && *at < *"00:40"));
    assert!(first_told(true).is_some_and(|at| *"01:00" <= *at && *at < *"01:10"));
}
