//! Every promise has exactly one row: of runs that hang or are lost, and of jobs that are deleted.

use chrono_tz::Tz;
use tardy::engine::observation::Status;
use tardy::engine::rule::plan_waiting::PlanWaiting;
use tardy::engine::rule::queue_time::QueueTime;
use tardy::engine::rule::{Clock, Limit, RuleKind};
use tardy::engine::time::Span;

use super::kinds::{deadline, missed, run_failed, span, too_long};
use super::timeline::{Disturbance, Outcome, Timeline, check, promise};

fn timeline() -> Timeline {
    Timeline::new("2026-03-10T00:00:00Z").poll_every(Span::minutes(5))
}

/// Every row as it was recorded, with what it corrects.
fn recorded(outcome: &Outcome) -> Vec<String> {
    let rows = outcome.ledger.iter();
    rows.map(|row| {
        let before = row
            .corrected_from
            .as_ref()
            .map(|before| format!(", was {}", promise(before)));
        let due = row.due_at.to_string();
        format!(
            "{} {} {}{} recorded {}{}",
            row.rule,
            row.labels.get("run_id"),
            &due[11..16],
            format_args!(" {}", promise(&row.outcome)),
            &row.recorded_at.to_string()[11..16],
            before.unwrap_or_default()
        )
    })
    .collect()
}

#[test]
fn a_run_that_hangs_has_missed_its_limit_until_its_end_tells_by_how_much() {
    let hung = timeline()
        .rule(too_long(Clock::Run, "30m"))
        .run("nightly", "r1", "01:00", "");
    check(
        &recorded(&hung.clone().play("06:00")),
        "too-long r1 01:30 missed recorded 01:30",
    );
    let ended = timeline().rule(too_long(Clock::Run, "30m")).run(
        "nightly",
        "r1",
        "01:00",
        "03:30 failed: killed",
    );
    check(
        &recorded(&ended.play("06:00")),
        "too-long r1 01:30 missed recorded 01:30
         too-long r1 01:30 late by 7200 s recorded 03:30, was missed",
    );
    // The end is seen first after a long absence: it was never known to be missed.
    let blind = timeline()
        .rule(too_long(Clock::Run, "30m"))
        .outage("01:10", "04:00")
        .run("nightly", "r1", "01:00", "03:30 success");
    check(
        &recorded(&blind.play("06:00")),
        "too-long r1 01:30 late by 7200 s recorded 04:00",
    );
}

#[test]
fn of_a_run_that_is_lost_nothing_can_be_told() {
    let lost = |timeline: Timeline| {
        let end = (
            timeline.at("01:10"),
            Status::Other("removed".into()),
            String::new(),
        );
        let from = timeline.at("01:00");
        timeline.run_at("nightly", "r1", from, Some(from), Some(end))
    };
    let case = lost(timeline().rule(too_long(Clock::Run, "30m")));
    check(
        &recorded(&case.clone().play("06:00")),
        "too-long r1 01:30 unknown recorded 01:10",
    );
    let until = case.at("06:00");
    let restarted = case.play_with(until, &mut |_, _| Disturbance {
        is_restart: true,
        ..Disturbance::default()
    });
    check(
        &recorded(&restarted),
        "too-long r1 01:30 unknown recorded 01:10",
    );
    // It turns up again.
    let found = case.run("nightly", "r1", "01:00", "01:20 success");
    check(
        &recorded(&found.play("06:00")),
        "too-long r1 01:30 unknown recorded 01:10
         too-long r1 01:30 met recorded 01:20, was unknown",
    );
}

#[test]
fn what_is_told_of_a_project_that_is_deleted_ends_and_begins_anew_when_it_is_back() {
    let mut failed = run_failed();
    failed.keep_firing_for = span("10m");
    let mut waiting = run_failed();
    waiting.name = "waiting".into();
    waiting.kind = RuleKind::PlanWaiting(PlanWaiting { max: span("1h") });
    let case = timeline()
        .rule(failed)
        .rule(waiting)
        .rule(deadline("12:00", Tz::UTC))
        .jobs_at("00:02", &[("nightly", "0 1 * * *", true)])
        .run("nightly", "r1", "01:00", "01:10 failed: boom")
        .plan(
            "01:30",
            ("a", Some("g1")),
            ("explain", "pending", "Add refunds"),
        );
    let (gone_at, back_at) = (case.at("03:00"), case.at("15:00"));
    let case = case.project_gone(gone_at);
    let told = case.clone().play("14:00");
    check(
        &told.told_text(),
        "01:10:15 team first: + critical Failed: finance nightly: boom
         02:30:15 team first: + critical Waiting: finance plan “Add refunds” waits for approval since 01:30 UTC (1 h)
         03:00 team all_resolved: - critical Gone: finance nightly is not listed, or not watched, any more
         03:00 team all_resolved: - critical Gone: finance is not listed, or not watched, any more",
    );
    let until = case.at("14:00");
    let restarted = case.clone().play_with(until, &mut |_, _| Disturbance {
        is_restart: true,
        ..Disturbance::default()
    });
    assert_eq!(restarted.told_text(), told.told_text());
    let back = case.project(back_at, |_| {}).play("16:00");
    check(
        &back.told_text()[4..],
        "15:00:15 team first: + critical Failed: finance nightly: boom
         15:00:15 team first: + critical Late: finance nightly not finished, due 12:00 UTC (its run ended as failed: boom)
         15:00:15 team first: + critical Waiting: finance plan “Add refunds” waits for approval since 01:30 UTC (4 h, four times the limit)",
    );
}

#[test]
fn of_a_run_that_is_lost_its_wait_is_known_once_it_started() {
    let waits = |started: Option<&str>| {
        let mut rule = too_long(Clock::Queue, "10m");
        rule.kind = RuleKind::QueueTime(QueueTime {
            max: Limit::Fixed(span("10m")),
        });
        let timeline = timeline().rule(rule);
        let removed = Status::Other("removed".into());
        let end = (timeline.at("01:30"), removed, String::new());
        let (created, started) = (timeline.at("01:00"), started.map(|at| timeline.at(at)));
        let played = timeline.run_at("nightly", "r1", created, started, Some(end));
        recorded(&played.play("06:00"))
    };
    check(
        &waits(Some("01:05")),
        "too-long r1 01:10 met recorded 01:30",
    );
    check(
        &waits(Some("01:25")),
        "too-long r1 01:10 missed recorded 01:10
         too-long r1 01:10 late by 900 s recorded 01:30, was missed",
    );
    check(&waits(None), "too-long r1 01:10 missed recorded 01:10");
}

#[test]
fn what_a_deleted_job_still_owed_is_excused_and_later_nothing_is() {
    let case = timeline()
        .rule(missed(Some("10m")))
        .rule(deadline("07:00", Tz::UTC))
        .jobs_at("00:02", &[("nightly", "0 * * * *", true)])
        .run("nightly", "r1", "01:00", "01:10 failed: boom")
        .run("nightly", "r2", "02:00", "02:10 success")
        .run("nightly", "r6", "06:00", "06:10 failed: boom")
        .jobs_at("06:31", &[]);
    let outcome = case.clone().play("03-12 12:00");
    check(
        &outcome.ledger_text(),
        "deadline nightly 07:00 excused: the job is not listed any more
         missed nightly 01:00 met
         missed nightly 02:00 met
         missed nightly 03:00 missed
         missed nightly 04:00 missed
         missed nightly 05:00 missed
         missed nightly 06:00 met",
    );
    // Deleted while nobody looked: what was due before is judged all the same.
    let blind = case.outage("03:20", "06:40").play("03-12 12:00");
    assert_eq!(blind.ledger_text(), outcome.ledger_text());
}
