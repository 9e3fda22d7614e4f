//! An alert that changes too often is one message until it is steady again.

use tardy::engine::notification::{Body, Reason};
use tardy::engine::observation::{Observation, Status};
use tardy::engine::time::Span;

use super::kinds::{run_failed, span, stale, too_long};
use super::timeline::{Disturbance, Outcome, Timeline, check};

/// A job that fails and succeeds in turn, every ten minutes, so many times; the last outcome is kept.
fn unsteady(count: i32) -> Timeline {
    let mut timeline = Timeline::new("2026-03-10T06:00:00Z").rule(run_failed());
    for index in 0..count {
        let from = timeline.from + Span::minutes(10) * index + Span::minutes(5);
        let status = if index % 2 == 0 {
            Status::Failed
        } else {
            Status::Success
        };
        let end = (from + Span::minutes(1), status, String::new());
        timeline = timeline.run_at("a", &format!("r{index}"), from, Some(from), Some(end));
    }
    timeline
}

fn endings(outcome: &Outcome) -> usize {
    let alerts = outcome.told.iter().filter_map(|told| match &told.body {
        Body::Alerts(alerts) => Some(alerts),
        Body::Notice { .. } | Body::Digest(_) => None,
    });
    alerts
        .flatten()
        .filter(|alert| alert.ended_at.is_some())
        .count()
}

fn announced(outcome: &Outcome) -> usize {
    let alerts = outcome.told.iter().filter_map(|told| match &told.body {
        Body::Alerts(alerts) => Some(alerts),
        Body::Notice { .. } | Body::Digest(_) => None,
    });
    alerts.flatten().filter(|alert| alert.is_new).count()
}

const BEGINNING: &str = "06:06:15 team first: + critical Failed: finance a
     06:16 team all_resolved: - critical Recovered: finance a succeeded
     06:26:15 team first: + critical Failed: finance a
     06:36 team all_resolved: - critical Recovered: finance a succeeded
     06:46:15 team first: + critical Failed: finance a";

#[test]
fn the_sixth_change_is_told_as_flapping_and_the_end_when_it_is_steady() {
    let outcome = unsteady(6).play("12:00");
    check(
        &outcome.told_text(),
        &format!(
            "{BEGINNING}
             06:56 team flapping: = critical Flapping: Failed: finance a
             08:56 team all_resolved: - critical Steady again: finance a ok since 06:56 UTC, 6 changes in 24 h"
        ),
    );
}

#[test]
fn five_changes_are_told_one_by_one() {
    let outcome = unsteady(5).play("12:00");
    check(&outcome.told_text(), BEGINNING);
}

#[test]
fn changes_while_it_flaps_are_counted_and_not_told() {
    let outcome = unsteady(16).play("14:00");
    check(
        &outcome.told_text(),
        &format!(
            "{BEGINNING}
             06:56 team flapping: = critical Flapping: Failed: finance a
             10:36 team all_resolved: - critical Steady again: finance a ok since 08:36 UTC, 16 changes in 24 h"
        ),
    );
    assert_eq!((announced(&outcome), endings(&outcome)), (3, 3));
}

#[test]
fn a_breach_that_stays_is_told_once_and_is_an_alert_like_any_other_then() {
    let outcome = unsteady(7)
        .run("a", "good", "11:00", "11:05 success")
        .run("a", "bad", "11:30", "11:35 failed: boom")
        .play("12:00");
    check(
        &outcome.told_text(),
        &format!(
            "{BEGINNING}
             06:56 team flapping: = critical Flapping: Failed: finance a
             09:06 team changed: = critical Firing steadily: Failed: finance a
             11:05 team all_resolved: - critical Recovered: finance a succeeded
             11:35:15 team first: + critical Failed: finance a: boom"
        ),
    );
}

#[test]
fn flapping_notifies_people() {
    assert!(Reason::Flapping.is_pinging());
    let outcome = unsteady(6).play("07:00");
    let told = outcome.told.last().unwrap();
    assert_eq!(told.reason, Reason::Flapping);
    let Body::Alerts(alerts) = &told.body else {
        panic!("{told:?}");
    };
    assert_eq!(alerts[0].facts[0].name, "Changes");
    assert_eq!(
        alerts[0].facts[0].value,
        "6 changes since 06:06 UTC; told again when it has been steady for 2 h"
    );
}

#[test]
fn reminders_go_on_while_it_flaps() {
    let outcome = unsteady(24)
        .policy(|policy| policy.route.repeat_interval = span("1h"))
        .play("09:30");
    let reminders = outcome
        .told
        .iter()
        .filter(|told| told.reason == Reason::Reminder);
    assert_eq!(reminders.count(), 2, "{:#?}", outcome.told_text());
}

#[test]
fn a_restart_at_every_step_changes_nothing_about_flapping() {
    for count in [6, 7, 16] {
        let timeline = unsteady(count);
        let until = timeline.at("14:00");
        let plain = timeline.play("14:00");
        let restarted = timeline.play_with(until, &mut |_, _| Disturbance {
            is_restart: true,
            ..Disturbance::default()
        });
        check(&restarted.told_text(), &plain.told_text().join("\n"));
        assert_eq!(restarted.states_text(), plain.states_text());
    }
}

#[test]
fn a_reload_keeps_the_count_and_the_flapping() {
    let plain = unsteady(16).play("14:00");
    let mut timeline = unsteady(16);
    for at in ["06:20", "06:40", "06:50", "07:00", "09:30"] {
        timeline = timeline.reload(at, |_| {});
    }
    let reloaded = timeline.play("14:00");
    check(&reloaded.told_text(), &plain.told_text().join("\n"));
}

#[test]
fn a_rule_that_is_removed_while_its_alert_flaps_ends_it_once() {
    let outcome = unsteady(16)
        .reload("07:30", |policy| policy.rules.clear())
        .play("14:00");
    let lines = outcome.told_text();
    assert_eq!(
        (announced(&outcome), endings(&outcome)),
        (3, 3),
        "{lines:#?}"
    );
    assert!(
        lines.last().unwrap().contains("07:30 team rule_removed: -"),
        "{lines:#?}"
    );
}

#[test]
fn rows_that_come_twice_or_late_are_counted_once() {
    let plain = unsteady(5).play("12:00");
    let mut timeline = unsteady(5);
    timeline.overlap = Span::hours(10);
    let told = timeline.play_with(timeline.at("12:00"), &mut |_, _| Disturbance {
        rows: Box::new(|rows: &mut Vec<Observation>| {
            let again = rows.clone();
            rows.extend(again);
        }),
        ..Disturbance::default()
    });
    check(&told.told_text(), &plain.told_text().join("\n"));
}

#[test]
fn changes_of_a_day_ago_do_not_count() {
    // A change every five hours: six of them take more than a day.
    let mut timeline = Timeline::new("2026-03-10T06:00:00Z")
        .poll_every(span("5m"))
        .rule(run_failed());
    for index in 0..12 {
        let from = timeline.from + Span::hours(5) * index;
        let status = if index % 2 == 0 {
            Status::Failed
        } else {
            Status::Success
        };
        let end = (from + Span::minutes(1), status, String::new());
        timeline = timeline.run_at("a", &format!("r{index}"), from, Some(from), Some(end));
    }
    let outcome = timeline.play("03-13 06:00");
    assert!(
        outcome
            .told
            .iter()
            .all(|told| told.reason != Reason::Flapping)
    );
    assert_eq!((announced(&outcome), endings(&outcome)), (6, 6));
}

#[test]
fn alerts_about_single_runs_never_flap() {
    let mut timeline =
        Timeline::new("2026-03-10T06:00:00Z").rule(too_long(tardy::engine::rule::Clock::Run, "5m"));
    for index in 0..8 {
        let from = timeline.from + Span::minutes(12) * index;
        let end = (from + Span::minutes(8), Status::Success, String::new());
        timeline = timeline.run_at("a", &format!("r{index}"), from, Some(from), Some(end));
    }
    let outcome = timeline.play("09:00");
    assert!(
        outcome
            .told
            .iter()
            .all(|told| told.reason != Reason::Flapping)
    );
    assert_eq!((announced(&outcome), endings(&outcome)), (8, 8));
}

#[test]
fn what_gets_worse_while_it_flaps_is_told() {
    // Warnings come and go every half hour; then it is stale for good.
    let mut timeline = Timeline::new("2026-03-10T06:00:00Z")
        .rule(stale("60m", Some("20m")))
        .job("a", "");
    for index in 0..5 {
        let from = timeline.from + Span::minutes(30) * index;
        let end = (from + Span::seconds(1), Status::Success, String::new());
        timeline = timeline.run_at("a", &format!("r{index}"), from, Some(from), Some(end));
    }
    let outcome = timeline.play("11:00");
    let lines = outcome.told_text();
    let reasons: Vec<&str> = outcome
        .told
        .iter()
        .rev()
        .take(3)
        .map(|told| told.reason.as_str())
        .collect();
    assert_eq!(reasons, ["changed", "upgraded", "flapping"], "{lines:#?}");
    assert!(
        lines.last().unwrap().contains("Firing steadily: Stale"),
        "{lines:#?}"
    );
}
