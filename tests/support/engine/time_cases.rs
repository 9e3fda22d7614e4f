//! The time cases of the rules' semantics, one test for each row of the table:
//!
//! | case | test |
//! |---|---|
//! | 07:00 New York through 2026 | `seven_in_new_york_moves_with_the_clocks_of_2026` |
//! | 02:30 on 8 March | `a_tick_inside_the_gap_raises_nothing_whether_it_ran_or_not` |
//! | 01:30 on 1 November | `a_tick_inside_the_fold_is_owed_once_and_its_second_pass_is_soft` |
//! | hourly and half-hourly through both changes | `hourly_and_half_hourly_go_on_through_both_changes` |
//! | weekday cron over the weekend | `a_weekday_job_owes_nothing_at_the_weekend` |
//! | polling down across a served tick | `polling_down_across_a_tick_that_was_served_says_nothing` |
//! | polling down, truly missing | `polling_down_across_a_truly_missed_tick_raises_one_alert_afterwards` |
//! | a minute early | `a_run_may_start_a_minute_early` |
//! | crossing midnight | `a_run_across_midnight_is_served_by_its_start` |
//! | two runs for one tick | `of_two_runs_for_one_tick_one_is_extra` |
//! | schedule edited at noon | `a_schedule_edited_at_noon_judges_old_ticks_by_the_old_one` |
//! | disabled 10:00-15:00 | `a_disabled_job_misses_nothing_and_does_not_age`, `the_staleness_clock_is_held_while_the_job_is_disabled` |
//! | a retry turns failed into success | `a_failed_run_that_a_retry_turns_into_a_success_resolves_and_corrects_the_ledger` |
//! | clocks | `our_clock_off_by_an_hour_either_way_decides_by_the_servers_time`, `the_servers_clock_in_our_future_makes_no_run_older_or_later_than_it_is` |
//! | failed and succeeded between two polls | `a_run_that_failed_and_succeeded_between_two_polls_is_one_message_or_none` |

use chrono_tz::America::New_York;
use chrono_tz::Tz;
use tardy::engine::Input;
use tardy::engine::observation::{Observation, Status};
use tardy::engine::time::{Span, Timestamp};

use super::kinds::{blind, clock, deadline, deadline_with, missed, span, stale};
use super::timeline::{Stored, Timeline, check, for_jobs, project_key, promise};

fn new_york(from: &str) -> Timeline {
    Timeline::new(from).policy(|policy| policy.sources[0].schedule_zone = New_York)
}

/// Runs of ten minutes at each of the instants.
fn runs(mut timeline: Timeline, job: &str, starts: &[&str]) -> Timeline {
    for start in starts {
        let at = timeline.at(start);
        let end = Some((at + Span::minutes(10), Status::Success, String::new()));
        timeline = timeline.run_at(job, &format!("{job} {start}"), at, Some(at), end);
    }
    timeline
}

#[test]
fn seven_in_new_york_moves_with_the_clocks_of_2026() {
    for (from, until, due) in [
        ("2026-03-06T00:00:00Z", "03-06 20:00", "12:00:00"),
        ("2026-03-09T00:00:00Z", "03-09 20:00", "11:00:00"),
        ("2026-10-30T00:00:00Z", "10-30 20:00", "11:00:00"),
        ("2026-11-02T00:00:00Z", "11-02 20:00", "12:00:00"),
    ] {
        let told = new_york(from)
            .job("nightly", "0 4 * * *")
            .rule(deadline("07:00", New_York))
            .play(until);
        let due = format!("{}T{due}Z", &from[..10]);
        assert_eq!(told.transitions.last().unwrap().at.to_string(), due);
        assert_eq!(told.ledger.last().unwrap().due_at.to_string(), due);
    }
}

#[test]
fn a_tick_inside_the_gap_raises_nothing_whether_it_ran_or_not() {
    let quiet = new_york("2026-03-07T12:00:00Z")
        .job("nightly", "30 2 * * *")
        .rule(missed(None));
    let not_run = quiet.clone().play("03-08 20:00");
    check(&not_run.told_text(), "");
    check(
        &not_run.ledger_text(),
        "missed nightly 03-08 07:00 excused: inside a change of the clocks",
    );
    let ran = runs(quiet, "nightly", &["03-08 07:00"]).play("03-08 20:00");
    check(&ran.told_text(), "");
    check(&ran.ledger_text(), "missed nightly 03-08 07:00 met");
}

#[test]
fn a_tick_inside_the_fold_is_owed_once_and_its_second_pass_is_soft() {
    let fold = new_york("2026-10-31T12:00:00Z")
        .job("nightly", "30 1 * * *")
        .rule(missed(None));
    let once = runs(fold.clone(), "nightly", &["11-01 05:30"]).play("11-01 20:00");
    check(&once.told_text(), "");
    check(
        &once.ledger_text(),
        "missed nightly 11-01 05:30 met
         missed nightly 11-01 06:30 excused: inside a change of the clocks",
    );
    let twice = runs(fold, "nightly", &["11-01 05:30", "11-01 06:30"]).play("11-01 20:00");
    check(
        &twice.ledger_text(),
        "missed nightly 11-01 05:30 met
         missed nightly 11-01 06:30 met",
    );
}

#[test]
fn hourly_and_half_hourly_go_on_through_both_changes() {
    for (from, until) in [
        ("2026-03-08T00:10:00Z", "03-09 00:00"),
        ("2026-11-01T00:10:00Z", "11-02 00:00"),
    ] {
        for (schedule, minutes) in [("0 * * * *", 60), ("*/30 * * * *", 30)] {
            let mut timeline = new_york(from).job("often", schedule).rule(missed(None));
            let midnight = Timestamp::parse(&from.replace("00:10", "00:00")).unwrap();
            for index in 1..(24 * 60 / minutes) {
                let at = midnight + Span::minutes(index * minutes);
                let end = Some((at + Span::minutes(1), Status::Success, String::new()));
                timeline = timeline.run_at("often", &index.to_string(), at, Some(at), end);
            }
            let told = timeline.play(until);
            check(&told.told_text(), "");
            let met = told
                .ledger_text()
                .iter()
                .filter(|row| row.ends_with(" met"))
                .count();
            let wanted = 24 * 60 / minutes - 1;
            assert_eq!(met, usize::try_from(wanted).unwrap(), "{schedule} {from}");
        }
    }
}

#[test]
fn a_weekday_job_owes_nothing_at_the_weekend() {
    // Friday 20 November to Monday 23 November 2026.
    let weekend = Timeline::new("2026-11-20T12:00:00Z")
        .job("report", "0 6 * * 1-5")
        .rule(missed(Some("15m")));
    let told = weekend.play("11-23 06:20");
    check(
        &told.told_text(),
        "11-23 06:15:15 team first: + warning Missed: finance report did not start at 06:00 UTC",
    );
}

#[test]
fn polling_down_across_a_tick_that_was_served_says_nothing() {
    let told = runs(
        Timeline::new("2026-03-10T01:00:00Z")
            .job("nightly", "10 2 * * *")
            .rule(missed(Some("5m")))
            .rule(blind("1h")),
        "nightly",
        &["02:10"],
    )
    .outage("02:00", "02:30")
    .play("04:00");
    check(&told.told_text(), "");
    check(&told.ledger_text(), "missed nightly 02:10 met");
}

#[test]
fn polling_down_across_a_truly_missed_tick_raises_one_alert_afterwards() {
    let told = Timeline::new("2026-03-10T01:00:00Z")
        .job("nightly", "10 2 * * *")
        .rule(missed(Some("5m")))
        .rule(blind("1h"))
        .outage("02:00", "02:30")
        .play("04:00");
    check(
        &told.told_text(),
        "02:30:15 team first: + warning Missed: finance nightly did not start at 02:10 UTC",
    );
    check(
        &told.states_text(),
        "02:15 firing: Missed: finance nightly did not start at 02:10 UTC",
    );
    check(&told.ledger_text(), "missed nightly 02:10 missed");
}

#[test]
fn a_run_may_start_a_minute_early() {
    let told = runs(
        Timeline::new("2026-03-10T01:30:00Z")
            .job("hourly", "0 * * * *")
            .rule(missed(None)),
        "hourly",
        &["01:59", "02:59", "04:00"],
    )
    .play("04:50");
    check(&told.told_text(), "");
    check(
        &told.ledger_text(),
        "missed hourly 02:00 met
         missed hourly 03:00 met
         missed hourly 04:00 met",
    );
}

#[test]
fn a_run_across_midnight_is_served_by_its_start() {
    let told = Timeline::new("2026-03-10T12:00:00Z")
        .job("nightly", "55 23 * * *")
        .rule(missed(None))
        .run("nightly", "r1", "23:55", "03-11 01:10 success")
        .play("03-11 12:00");
    check(&told.told_text(), "");
    check(&told.ledger_text(), "missed nightly 23:55 met");
}

#[test]
fn of_two_runs_for_one_tick_one_is_extra() {
    let told = runs(
        Timeline::new("2026-03-10T01:30:00Z")
            .job("hourly", "0 * * * *")
            .rule(missed(Some("10m"))),
        "hourly",
        &["02:00", "02:20"],
    )
    .play("03:30");
    check(
        &told.told_text(),
        "03:10:15 team first: + warning Missed: finance hourly did not start at 03:00 UTC",
    );
    check(
        &told.ledger_text(),
        "missed hourly 02:00 met
         missed hourly 03:00 missed",
    );
}

#[test]
fn a_late_start_resolves_with_how_late_it_was() {
    let told = runs(
        Timeline::new("2026-03-10T01:30:00Z")
            .job("hourly", "0 * * * *")
            .rule(missed(Some("10m"))),
        "hourly",
        &["02:23", "03:00"],
    )
    .play("03:30");
    check(
        &told.told_text(),
        "02:10:15 team first: + warning Missed: finance hourly did not start at 02:00 UTC
         02:23 team all_resolved: - warning Recovered: finance hourly started 23 min late, at 02:23 UTC",
    );
    check(
        &told.ledger_text(),
        "missed hourly 02:00 late by 1380 s
         missed hourly 03:00 met",
    );
    assert_eq!(told.ledger.len(), 3, "missed, corrected to late, met");
}

#[test]
fn a_schedule_edited_at_noon_judges_old_ticks_by_the_old_one() {
    let told = runs(
        Timeline::new("2026-03-10T09:50:00Z")
            .job("orders", "0 * * * *")
            .jobs_at("12:00:10", &[("orders", "30 */2 * * *", true)])
            .rule(missed(Some("10m"))),
        "orders",
        &["10:00", "11:00", "12:00", "12:30", "14:30"],
    )
    .play("16:20");
    check(&told.told_text(), "");
    check(
        &told.ledger_text(),
        "missed orders 10:00 met
         missed orders 11:00 met
         missed orders 12:00 met
         missed orders 12:30 met
         missed orders 14:30 met",
    );
}

#[test]
fn a_disabled_job_misses_nothing_and_does_not_age() {
    let told = runs(
        Timeline::new("2026-03-10T08:50:00Z")
            .job("orders", "0 * * * *")
            .jobs_at("10:00:00", &[("orders", "0 * * * *", false)])
            .jobs_at("15:00:00", &[("orders", "0 * * * *", true)])
            .rule(missed(Some("10m")))
            .rule(stale("2h", None)),
        "orders",
        &["09:00", "15:00", "16:00"],
    )
    .play("16:30");
    check(&told.told_text(), "");
    let text = told.ledger_text();
    assert_eq!(
        text.iter()
            .filter(|row| row.contains("excused: job disabled"))
            .count(),
        5,
        "{text:?}"
    );
    assert_eq!(
        text.iter().filter(|row| row.ends_with("met")).count(),
        3,
        "{text:?}"
    );
}

#[test]
fn a_stale_job_that_is_then_disabled_is_not_called_fresh() {
    let told = runs(
        Timeline::new("2026-03-10T08:50:00Z")
            .job("orders", "0 * * * *")
            .jobs_at("12:00:00", &[("orders", "0 * * * *", false)])
            .rule(stale("2h", None)),
        "orders",
        &["09:00", "13:00"],
    )
    .play("14:00");
    check(
        &told.told_text(),
        "11:10:15 team first: + critical Stale: finance orders has not succeeded for 2 h
         13:10 team all_resolved: - critical Fresh again: finance orders succeeded at 13:10 UTC",
    );
}

#[test]
fn a_suspended_project_excuses_its_ticks_from_the_first_look_on() {
    let timeline = Timeline::new("2026-03-10T01:30:00Z");
    let from = timeline.from;
    let told = timeline
        .project(from - Span::days(1), |project| project.is_suspended = true)
        .past("hourly", span("1h"), 3, span("5m"))
        .job("hourly", "0 * * * *")
        .rule(missed(None))
        .rule(stale("90m", None))
        .play("05:30");
    check(&told.told_text(), "");
}

#[test]
fn a_job_that_comes_back_owes_nothing_for_its_absence() {
    let told = runs(
        Timeline::new("2026-03-10T08:50:00Z")
            .job("orders", "0 * * * *")
            .jobs_at("10:30", &[("other", "", true)])
            .jobs_at(
                "15:30",
                &[("orders", "0 * * * *", true), ("other", "", true)],
            )
            .rule(missed(Some("10m"))),
        "orders",
        &["09:00", "10:00", "16:00"],
    )
    .play("16:30");
    check(&told.told_text(), "");
}

#[test]
fn a_grace_longer_than_the_gap_counts_every_tick_once() {
    let told = runs(
        Timeline::new("2026-03-10T01:05:00Z")
            .job("often", "*/15 * * * *")
            .rule(missed(Some("40m"))),
        "often",
        &[
            "01:15", "01:45", "02:00", "02:15", "02:30", "02:45", "03:00",
        ],
    )
    .play("03:10");
    check(
        &told.ledger_text(),
        "missed often 01:15 met
         missed often 01:30 missed
         missed often 01:45 met
         missed often 02:00 met
         missed often 02:15 met
         missed often 02:30 met
         missed often 02:45 met
         missed often 03:00 met",
    );
    assert_eq!(told.ledger.len(), 8);
}

#[test]
fn a_failed_run_that_a_retry_turns_into_a_success_resolves_and_corrects_the_ledger() {
    let timeline = Timeline::new("2026-03-10T03:00:00Z")
        .job("nightly", "0 4 * * *")
        .rule(super::kinds::run_failed())
        .rule(deadline("07:00", Tz::UTC))
        .run("nightly", "r1", "04:00", "04:30 failed: boom");
    let told = timeline
        .run("nightly", "r1", "04:00", "07:40 success")
        .play("08:00");
    check(
        &told.told_text(),
        "04:30:15 team first: + critical Failed: finance nightly: boom
         07:00 team new_alerts: = critical Failed: finance nightly: boom
         07:00 team new_alerts: + critical Late: finance nightly not finished, due 07:00 UTC (its run ended as failed: boom)
         07:40 team all_resolved: - critical Recovered: finance nightly superseded by a retry
         07:40 team all_resolved: - critical Delivered: finance nightly 40 min late, at 07:40 UTC",
    );
    check(&told.ledger_text(), "deadline nightly 07:00 late by 2400 s");
    assert_eq!(told.ledger.len(), 2, "missed, then corrected");
    assert!(told.ledger[1].corrected_from.is_some());
}

#[test]
fn a_run_that_failed_and_succeeded_between_two_polls_is_one_message_or_none() {
    let between = Timeline::new("2026-03-10T03:00:00Z")
        .poll_every(span("30m"))
        .job("often", "*/5 * * * *")
        .run("often", "r1", "03:05", "03:07 failed: boom")
        .run("often", "r2", "03:10", "03:12 success");
    let told = between
        .clone()
        .rule(super::kinds::run_failed())
        .play("04:00");
    check(
        &told.told_text(),
        "03:30:15 team first: +- critical Recovered: finance often succeeded",
    );
    let mut patient = super::kinds::run_failed();
    patient.hold = span("10m");
    let told = between.rule(patient).play("04:00");
    check(&told.told_text(), "");
}

#[test]
fn yesterdays_late_run_does_not_satisfy_today() {
    let told = Timeline::new("2026-03-10T03:00:00Z")
        .job("nightly", "0 4 * * *")
        .rule(deadline("07:00", Tz::UTC))
        .run("nightly", "r1", "03-11 03:00", "03-11 03:30 success")
        .play("03-11 08:00");
    check(
        &told.told_text(),
        "07:00:15 team first: + critical Late: finance nightly not finished, due 07:00 UTC (not started)
         19:00:15 team reminder: = critical Late: finance nightly not finished, due 07:00 UTC (not started)
         03-11 03:00 team changed: = critical Late: finance nightly not finished, due 10 Mar 07:00 UTC (running 0 s)
         03-11 03:30 team all_resolved: - critical Delivered: finance nightly 20 h 30 min late, at 03:30 UTC
         03-11 07:00:15 team first: + critical Late: finance nightly not finished, due 07:00 UTC (not started)",
    );
}

#[test]
fn a_missed_deadline_expires_when_the_next_window_opens() {
    let told = Timeline::new("2026-03-10T03:00:00Z")
        .job("nightly", "0 4 * * *")
        .rule(deadline("07:00", Tz::UTC))
        .run("nightly", "r1", "03-11 04:00", "03-11 05:00 success")
        .play("03-11 12:00");
    check(
        &told.told_text(),
        "07:00:15 team first: + critical Late: finance nightly not finished, due 07:00 UTC (not started)
         19:00:15 team reminder: = critical Late: finance nightly not finished, due 07:00 UTC (not started)
         03-11 03:55 team all_resolved: - critical Never delivered: finance nightly of 2026-03-10",
    );
    check(
        &told.ledger_text(),
        "deadline nightly 07:00 missed
         deadline nightly 03-11 07:00 met",
    );
    assert_eq!(told.ledger.len(), 2);
}

#[test]
fn a_deadline_of_an_hourly_job_wants_the_run_of_the_tick_before() {
    let hourly = Timeline::new("2026-03-10T04:30:00Z")
        .job("orders", "0 * * * *")
        .rule(deadline("07:00", Tz::UTC));
    let told = runs(hourly.clone(), "orders", &["05:00", "06:00", "07:00"]).play("08:00");
    check(&told.told_text(), "");
    // The run of five o'clock is too old to count, although it finished before seven.
    let told = runs(hourly, "orders", &["05:00", "07:00"]).play("08:00");
    check(
        &told.told_text(),
        "07:00:15 team first: + critical Late: finance orders not finished, due 07:00 UTC (running 0 s, usual 10 min, expected 07:10 UTC)
         07:10 team all_resolved: - critical Delivered: finance orders 10 min late, at 07:10 UTC",
    );
}

#[test]
fn a_daily_deadline_of_a_weekly_job_is_met_by_the_run_of_the_week() {
    // 9 March 2026 is a Monday.
    let weekly = Timeline::new("2026-03-09T01:00:00Z")
        .job("weekly", "0 4 * * 1")
        .rule(deadline("07:00", Tz::UTC));
    let told = runs(weekly, "weekly", &["04:00"]).play("03-12 12:00");
    check(&told.told_text(), "");
    check(
        &told.ledger_text(),
        "deadline weekly 07:00 met
         deadline weekly 03-10 07:00 met
         deadline weekly 03-11 07:00 met
         deadline weekly 03-12 07:00 met
         deadline weekly 03-13 07:00 met",
    );
}

#[test]
fn a_deadline_window_may_open_the_evening_before() {
    let rule = deadline_with("02:00", New_York, |kind| kind.opens = Some(clock("22:00")));
    let evening = new_york("2026-03-10T16:00:00Z")
        .job("nightly", "")
        .rule(rule);
    // 22:30 New York is 02:30Z; 02:00 is 06:00Z.
    let told = evening
        .clone()
        .run("nightly", "r1", "03-11 02:30", "03-11 03:30 success")
        .play("03-11 12:00");
    check(&told.told_text(), "");
    check(&told.ledger_text(), "deadline nightly 03-11 06:00 met");
    let told = evening
        .run("nightly", "r1", "03-11 01:30", "03-11 03:30 success")
        .play("03-11 12:00");
    check(
        &told.told_text(),
        "03-11 06:00:15 team first: + critical Late: finance nightly not finished, due 02:00 EDT (not started)",
    );
}

#[test]
fn a_deadline_inside_the_gap_falls_due_after_it_and_inside_the_fold_later() {
    for (from, until, due) in [
        (
            "2026-03-08T00:00:00Z",
            "03-08 12:00",
            "2026-03-08T07:00:00Z",
        ),
        (
            "2026-11-01T00:00:00Z",
            "11-01 12:00",
            "2026-11-01T06:30:00Z",
        ),
    ] {
        let by = if from.starts_with("2026-03") {
            "02:30"
        } else {
            "01:30"
        };
        let rule = deadline_with(by, New_York, |kind| kind.opens = Some(clock("00:30")));
        let told = new_york(from).job("nightly", "").rule(rule).play(until);
        let rows: Vec<String> = told
            .ledger
            .iter()
            .map(|row| row.due_at.to_string())
            .collect();
        assert_eq!(rows.last().unwrap(), due);
    }
}

#[test]
fn a_warning_before_the_deadline_becomes_the_breach_in_place_and_ends_with_the_delivery() {
    let rule = deadline_with("07:00", Tz::UTC, |kind| {
        kind.warn_before = Some(span("30m"));
    });
    let told = Timeline::new("2026-03-10T03:00:00Z")
        .job("nightly", "0 4 * * *")
        .rule(rule)
        .run("nightly", "r1", "04:00", "07:42 success")
        .play("08:00");
    check(
        &told.told_text(),
        "06:30:15 team first: + warning At risk: finance nightly due 07:00 UTC in 30 min (running 2 h 30 min)
         07:00 team upgraded: = critical Late: finance nightly not finished, due 07:00 UTC (running 3 h)
         07:42 team all_resolved: - critical Delivered: finance nightly 42 min late, at 07:42 UTC",
    );
}

#[test]
fn a_deadline_on_days_of_a_calendar_skips_the_others() {
    let mut rule = deadline("07:00", Tz::UTC);
    rule.calendar = Some(tardy::engine::calendar::Calendar {
        name: "business".into(),
        zone: Tz::UTC,
        days: [true, true, true, true, true, false, false],
        hours: None,
        holidays: [chrono::NaiveDate::from_ymd_opt(2026, 11, 23).unwrap()].into(),
    });
    // Friday to Tuesday; Monday is a holiday.
    let told = runs(
        Timeline::new("2026-11-20T03:00:00Z")
            .job("report", "0 4 * * *")
            .rule(rule),
        "report",
        &["11-20 04:00", "11-24 04:00"],
    )
    .play("11-24 12:00");
    check(&told.told_text(), "");
    check(
        &told.ledger_text(),
        "deadline report 07:00 met
         deadline report 11-24 07:00 met",
    );
}

/// An hourly job polled every 30 s of the server's time by a machine whose clock is off.
fn with_a_clock_off_by(skew: Span) -> (Vec<(Timestamp, String)>, Vec<String>) {
    let timeline = runs(
        Timeline::new("2026-03-10T01:30:00Z")
            .job("hourly", "0 * * * *")
            .rule(missed(Some("10m"))),
        "hourly",
        &["01:00", "02:00", "04:00"],
    );
    let mut engine = Stored::default().engine(&timeline.policy, |_| {});
    let (mut told, mut ledger) = (Vec::new(), Vec::new());
    let mut at = timeline.from;
    let mut before = Timestamp::MIN;
    while at <= timeline.at("04:30") {
        let mut rows: Vec<_> = timeline
            .rows
            .iter()
            .filter(|(served_at, _)| *served_at > before && *served_at <= at)
            .collect();
        rows.sort_by_key(|(served_at, row)| (*served_at, matches!(row, Observation::Run(..))));
        let mut input = Input {
            observations: rows.into_iter().map(|(_, row)| row.clone()).collect(),
            ..Input::default()
        };
        input.coverage.insert(project_key(), at);
        let step = engine.step(input, at + skew);
        for change in &step.transitions {
            told.push((change.at, change.reason.clone()));
        }
        let rows = step.ledger.iter();
        ledger.extend(rows.map(|row| format!("{} {}", row.due_at, promise(&row.outcome))));
        before = at;
        at = at + Span::seconds(30);
    }
    (told, ledger)
}

#[test]
fn our_clock_off_by_an_hour_either_way_decides_by_the_servers_time() {
    let due = "2026-03-10T03:10:00Z";
    for skew in [Span::zero(), Span::hours(1)] {
        let (told, ledger) = with_a_clock_off_by(skew);
        let at: Vec<String> = told.iter().map(|(at, _)| at.to_string()).collect();
        assert_eq!(at, [due, "2026-03-10T04:00:00Z"], "{skew}: {told:?}");
        assert_eq!(
            ledger,
            [
                "2026-03-10T01:00:00Z met",
                "2026-03-10T02:00:00Z met",
                "2026-03-10T03:00:00Z missed",
                "2026-03-10T04:00:00Z met"
            ]
        );
    }
    // Behind, and not corrected yet: decided as late as that, dated rightly, and nothing that is not true.
    let (told, ledger) = with_a_clock_off_by(-Span::hours(1));
    let at: Vec<String> = told.iter().map(|(at, _)| at.to_string()).collect();
    assert_eq!(at, [due], "{told:?}");
    assert!(
        ledger.iter().all(|row| {
            [
                "2026-03-10T01:00:00Z met",
                "2026-03-10T02:00:00Z met",
                "2026-03-10T03:00:00Z missed",
                "2026-03-10T04:00:00Z met",
            ]
            .contains(&row.as_str())
        }),
        "{ledger:?}"
    );
}

#[test]
fn the_servers_clock_in_our_future_makes_no_run_older_or_later_than_it_is() {
    // The server is five minutes ahead of us; a run that it says starts now starts in our future.
    let (told, ledger) = with_a_clock_off_by(-Span::minutes(5));
    let at: Vec<String> = told.iter().map(|(at, _)| at.to_string()).collect();
    assert_eq!(
        at,
        ["2026-03-10T03:10:00Z", "2026-03-10T04:00:00Z"],
        "{told:?}"
    );
    assert_eq!(ledger.len(), 4, "{ledger:?}");
}

#[test]
fn the_staleness_clock_is_held_while_the_job_is_disabled() {
    // Fresh at 09:10; two hours of age, five of which are held, are over at 16:10.
    let told = runs(
        Timeline::new("2026-03-10T08:50:00Z")
            .job("orders", "0 * * * *")
            .jobs_at("10:00:00", &[("orders", "0 * * * *", false)])
            .jobs_at("15:00:00", &[("orders", "0 * * * *", true)])
            .rule(stale("2h", None)),
        "orders",
        &["09:00"],
    )
    .play("17:00");
    check(
        &told.told_text(),
        "16:10:15 team first: + critical Stale: finance orders has not succeeded for 2 h",
    );
}

#[test]
fn nothing_is_missing_before_it_is_known_to_be() {
    // Nothing is called missed before the run list is known up to then.
    let told = Timeline::new("2026-03-10T01:30:00Z")
        .poll_every(span("45m"))
        .job("hourly", "0 * * * *")
        .rule(for_jobs(missed(Some("10m")), "hourly"));
    let told = Timeline {
        is_woken: false,
        ..told
    }
    .play("03:05");
    check(
        &told.told_text(),
        "03:00 team first: + warning Missed: finance hourly did not start at 02:00 UTC",
    );
}
