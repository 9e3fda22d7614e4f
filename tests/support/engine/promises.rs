//! Promises by the calendar and by the schedule: what is owed, when it is told, and how it ends.

use chrono_tz::America::New_York;
use chrono_tz::Tz;
use tardy::engine::calendar::Calendar;
use tardy::engine::labels::Patterns;
use tardy::engine::notification::{AlertView, Body};
use tardy::engine::observation::Status;
use tardy::engine::rule::deadline::{By, On};
use tardy::engine::time::Span;

use super::kinds::{clock, deadline, deadline_after, deadline_with, missed, run_failed, span};
use super::timeline::{Outcome, Timeline, check, for_jobs};

/// Monday to Friday, eight to six.
fn business(zone: Tz) -> Calendar {
    Calendar {
        name: "business".into(),
        zone,
        days: [true, true, true, true, true, false, false],
        hours: Some((clock("08:00"), clock("18:00"))),
        holidays: [].into(),
    }
}

/// The first alert that was told.
fn told_first(told: &Outcome) -> &AlertView {
    match &told.told[0].body {
        Body::Alerts(alerts) => &alerts[0],
        Body::Notice { headline, .. } => panic!("{headline}"),
        Body::Digest(digest) => panic!("{}", digest.verdict),
    }
}

/// Successes of ten minutes.
fn runs(mut timeline: Timeline, job: &str, starts: &[&str]) -> Timeline {
    for start in starts {
        let at = timeline.at(start);
        let end = Some((at + Span::minutes(10), Status::Success, String::new()));
        timeline = timeline.run_at(job, &format!("{job} {start}"), at, Some(at), end);
    }
    timeline
}

// --- a calendar holds firing back ----------------------------------------------------------------

fn failing(from: &str) -> Timeline {
    let mut rule = run_failed();
    rule.calendar = Some(business(Tz::UTC));
    Timeline::new(from).job("nightly", "0 22 * * *").rule(rule)
}

#[test]
fn a_failure_of_friday_night_that_is_over_on_saturday_is_not_told() {
    // 20 November 2026 is a Friday.
    let told = failing("2026-11-20T12:00:00Z")
        .run("nightly", "r1", "22:00", "22:10 failed: boom")
        .run("nightly", "r2", "11-21 22:00", "11-21 22:10 success")
        .play("11-23 12:00");
    check(&told.told_text(), "");
}

#[test]
fn a_failure_of_sunday_that_goes_on_is_told_on_monday_morning_and_dated_from_sunday() {
    let told = failing("2026-11-20T12:00:00Z")
        .run("nightly", "r1", "22:00", "22:10 success")
        .run("nightly", "r2", "11-22 22:00", "11-22 22:10 failed: boom")
        .run("nightly", "r3", "11-23 09:00", "11-23 09:30 success")
        .play("11-23 12:00");
    check(
        &told.told_text(),
        "11-23 08:00:15 team first: + critical Failed: finance nightly: boom
         11-23 09:30 team all_resolved: - critical Recovered: finance nightly succeeded",
    );
    let began = told_first(&told).began_at;
    assert_eq!(began.to_string(), "2026-11-22T22:10:00Z");
    check(
        &told.states_text()[..2],
        "11-22 22:10 pending: Failed: finance nightly: boom
         11-23 08:00 firing: Failed: finance nightly: boom",
    );
}

#[test]
fn a_failure_within_the_hours_is_told_at_once() {
    let told = failing("2026-11-20T12:00:00Z")
        .run("nightly", "r1", "14:00", "14:10 failed: boom")
        .play("15:00");
    check(
        &told.told_text(),
        "14:10:15 team first: + critical Failed: finance nightly: boom",
    );
}

// --- by after midnight ---------------------------------------------------------------------------

#[test]
fn a_deadline_after_midnight_belongs_to_the_day_on_which_its_window_opens() {
    // Friday to Monday: the night of Friday is owed, the night of Sunday is not.
    let mut rule = deadline_with("00:00", New_York, |kind| {
        kind.by = By::NextDay(clock("02:00"));
        kind.opens = Some(clock("22:00"));
    });
    rule.calendar = Some(business(New_York));
    let told = Timeline::new("2026-11-19T17:00:00Z")
        .job("nightly", "")
        .rule(rule)
        .run("nightly", "r1", "11-20 03:30", "11-20 04:00 success")
        .play("11-24 12:00");
    // 02:00 in New York is 07:00Z.
    check(
        &told.ledger_text(),
        "deadline nightly 11-20 07:00 met
         deadline nightly 11-21 07:00 missed
         deadline nightly 11-24 07:00 missed",
    );
    check(
        &told.told_text()[..1],
        "11-21 07:00:15 team first: + critical Late: finance nightly not finished, due 02:00 EST (not started)",
    );
    let label = told_first(&told).labels.get("date").to_owned();
    assert_eq!(label, "2026-11-20");
}

// --- days of the month ---------------------------------------------------------------------------

#[test]
fn the_third_business_day_of_the_month_is_owed_and_no_other() {
    let mut rule = deadline_with("09:00", Tz::UTC, |kind| {
        kind.on = On::BusinessDay(3);
        kind.opens = Some(clock("01:00"));
    });
    rule.calendar = Some(Calendar {
        holidays: ["2026-10-01".parse().unwrap()].into(),
        ..business(Tz::UTC)
    });
    // October: the 2nd, the 5th and the 6th; November: the 2nd, 3rd and 4th.
    let told = Timeline::new("2026-09-20T00:00:00Z")
        .poll_every(span("15m"))
        .job("closing", "0 4 * * *")
        .rule(rule)
        .run("closing", "r1", "10-06 04:00", "10-06 05:00 success")
        .play("11-05 00:00");
    check(
        &told.ledger_text(),
        "deadline closing 10-06 09:00 met
         deadline closing 11-04 09:00 missed",
    );
    check(
        &told.told_text()[..1],
        "11-04 09:00:15 team first: + critical Late: finance closing not finished, due 09:00 UTC (not started)",
    );
}

#[test]
fn a_miss_at_the_end_of_the_month_stays_open_until_it_is_delivered() {
    let rule = deadline_with("18:00", Tz::UTC, |kind| {
        kind.on = On::LastBusinessDay;
        kind.opens = Some(clock("06:00"));
    });
    // 30 October 2026 is a Friday.
    let told = Timeline::new("2026-10-28T00:00:00Z")
        .poll_every(span("15m"))
        .policy(|policy| policy.route.repeat_interval = span("30d"))
        .job("closing", "")
        .rule(rule)
        .run("closing", "r1", "11-02 08:00", "11-02 09:00 success")
        .play("11-03 00:00");
    check(
        &told.told_text(),
        "10-30 18:00:15 team first: + critical Late: finance closing not finished, due 18:00 UTC (not started)
         11-02 08:00 team changed: = critical Late: finance closing not finished, due 30 Oct 18:00 UTC (running 0 s)
         11-02 09:00 team all_resolved: - critical Delivered: finance closing 2 d 15 h late, at 09:00 UTC",
    );
}

// --- after the schedule --------------------------------------------------------------------------

#[test]
fn each_tick_is_a_promise_of_its_own_after_the_schedule() {
    let timeline = Timeline::new("2026-03-10T01:30:00Z")
        .job("orders", "0 */6 * * *")
        .rule(deadline_after("2h", |_| {}));
    // 06:00 delivers in time, 12:00 late, 18:00 never; the tick of midnight delivers again.
    let told = timeline
        .run("orders", "r1", "06:00", "07:59 success")
        .run("orders", "r2", "12:01", "14:42 success")
        .run("orders", "r3", "18:00", "18:30 failed: boom")
        .run("orders", "r4", "03-11 00:00", "03-11 00:30 success")
        .play("03-11 06:30");
    check(
        &told.told_text(),
        "14:00:15 team first: + critical Late: finance orders not finished, due 14:00 UTC (running 1 h 59 min, usual 1 h 59 min)
         14:42 team all_resolved: - critical Delivered: finance orders 42 min late, at 14:42 UTC
         20:00:15 team first: + critical Late: finance orders not finished, due 20:00 UTC (its run ended as failed: boom)
         03-11 00:30 team all_resolved: - critical Never delivered: finance orders of 10 Mar 18:00 UTC",
    );
    check(
        &told.ledger_text(),
        "deadline orders 08:00 met
         deadline orders 14:00 late by 2520 s
         deadline orders 20:00 missed
         deadline orders 03-11 02:00 met",
    );
}

#[test]
fn a_delay_longer_than_the_gap_judges_each_tick_by_its_own_run() {
    let timeline = Timeline::new("2026-03-10T01:30:00Z")
        .job("orders", "0 * * * *")
        .rule(deadline_after("2h", |_| {}));
    let told = timeline
        .run("orders", "r2", "02:00", "03:30 success")
        .run("orders", "r3", "03:00", "05:10 success")
        .run("orders", "r4", "04:00", "05:59 success")
        .play("06:30");
    check(
        &told.ledger_text(),
        "deadline orders 04:00 met
         deadline orders 05:00 late by 600 s
         deadline orders 06:00 met",
    );
    check(
        &told.told_text(),
        "05:00:15 team first: + critical Late: finance orders not finished, due 05:00 UTC (running 2 h, usual 1 h 30 min)
         05:10 team all_resolved: - critical Delivered: finance orders 10 min late, at 05:10 UTC",
    );
}

#[test]
fn a_tick_that_nobody_owes_is_excused_after_the_schedule() {
    // Disabled 10:00-15:00; every four hours.
    let timeline = Timeline::new("2026-03-10T07:30:00Z")
        .job("orders", "0 */4 * * *")
        .jobs_at("10:00", &[("orders", "0 */4 * * *", false)])
        .jobs_at("15:00", &[("orders", "0 */4 * * *", true)])
        .rule(deadline_after("1h", |_| {}));
    let told = runs(timeline, "orders", &["08:00", "16:00"]).play("20:30");
    check(&told.told_text(), "");
    check(
        &told.ledger_text(),
        "deadline orders 09:00 met
         deadline orders 13:00 excused: job disabled or project suspended
         deadline orders 17:00 met",
    );
    // The gap of New York: running and not running are both right.
    let soft = Timeline::new("2026-03-07T12:00:00Z")
        .policy(|policy| policy.sources[0].schedule_zone = New_York)
        .job("nightly", "30 2 * * *")
        .rule(deadline_after("1h", |_| {}))
        .play("03-08 20:00");
    check(&soft.told_text(), "");
    check(
        &soft.ledger_text(),
        "deadline nightly 03-08 08:00 excused: inside a change of the clocks",
    );
    let mut rule = deadline_after("1h", |_| {});
    rule.calendar = Some(business(Tz::UTC));
    let told = Timeline::new("2026-11-21T12:00:00Z")
        .job("nightly", "0 20 * * *")
        .rule(rule)
        .play("23:00");
    check(&told.told_text(), "");
    check(
        &told.ledger_text(),
        "deadline nightly 21:00 excused: outside the calendar",
    );
}

#[test]
fn a_changed_schedule_owes_old_ticks_by_the_old_one_after_the_schedule() {
    let timeline = Timeline::new("2026-03-10T09:50:00Z")
        .job("orders", "0 * * * *")
        .jobs_at("12:00:10", &[("orders", "30 */2 * * *", true)])
        .rule(deadline_after("20m", |_| {}));
    let told = runs(
        timeline,
        "orders",
        &["10:00", "11:00", "12:00", "12:30", "14:30"],
    )
    .play("16:20");
    check(&told.told_text(), "");
    check(
        &told.ledger_text(),
        "deadline orders 10:20 met
         deadline orders 11:20 met
         deadline orders 12:20 met
         deadline orders 12:50 met
         deadline orders 14:50 met",
    );
}

#[test]
fn a_warning_before_the_delay_is_over_becomes_the_breach_in_place() {
    let rule = deadline_after("2h", |kind| kind.warn_before = Some(span("30m")));
    let told = Timeline::new("2026-03-10T03:30:00Z")
        .job("nightly", "0 4 * * *")
        .rule(rule)
        .run("nightly", "r1", "04:00", "06:10 success")
        .play("07:00");
    check(
        &told.told_text(),
        "05:30:15 team first: + warning At risk: finance nightly due 06:00 UTC in 30 min (running 1 h 30 min)
         06:00 team upgraded: = critical Late: finance nightly not finished, due 06:00 UTC (running 2 h)
         06:10 team all_resolved: - critical Delivered: finance nightly 10 min late, at 06:10 UTC",
    );
}

#[test]
fn every_without_ticks_owes_nothing_after_the_schedule() {
    let told = Timeline::new("2026-03-10T03:30:00Z")
        .job("often", "@every 5m")
        .rule(deadline_after("2h", |_| {}))
        .play("07:00");
    check(&told.told_text(), "");
    assert!(told.ledger.is_empty());
}

// --- paused --------------------------------------------------------------------------------------

fn paused(from: &str, to: &str) -> Vec<String> {
    let mut timeline = Timeline::new("2026-03-10T00:30:00Z")
        .job("nightly", "0 4 * * *")
        .jobs_at(from, &[("nightly", "0 4 * * *", false)]);
    if !to.is_empty() {
        timeline = timeline.jobs_at(to, &[("nightly", "0 4 * * *", true)]);
    }
    let rule = deadline_with("07:00", Tz::UTC, |kind| {
        kind.opens = Some(clock("01:00"));
        kind.warn_before = Some(span("1h"));
    });
    let told = timeline.rule(rule).play("12:00");
    [told.told_text(), told.ledger_text()].concat()
}

#[test]
fn a_job_that_is_paused_from_its_tick_until_the_deadline_owes_nothing() {
    check(
        &paused("02:00", ""),
        "deadline nightly 07:00 excused: job disabled or project suspended",
    );
    check(
        &paused("02:00", "08:00"),
        "deadline nightly 07:00 excused: job disabled or project suspended",
    );
}

#[test]
fn a_job_that_is_paused_after_its_tick_or_is_back_before_the_deadline_still_owes() {
    check(
        &paused("04:30", ""),
        "06:00:15 team first: + warning At risk: finance nightly due 07:00 UTC in 1 h (not started: the job is paused)
         07:00 team upgraded: = critical Late: finance nightly not finished, due 07:00 UTC (not started: the job is paused)
         deadline nightly 07:00 missed",
    );
    check(
        &paused("02:00", "05:00"),
        "06:00:15 team first: + warning At risk: finance nightly due 07:00 UTC in 1 h (not started)
         07:00 team upgraded: = critical Late: finance nightly not finished, due 07:00 UTC (not started)
         deadline nightly 07:00 missed",
    );
}

#[test]
fn a_run_that_failed_before_the_pause_is_still_owed() {
    let rule = deadline_with("07:00", Tz::UTC, |kind| kind.opens = Some(clock("01:00")));
    let told = Timeline::new("2026-03-10T00:30:00Z")
        .job("nightly", "0 4 * * *")
        .jobs_at("03:00", &[("nightly", "0 4 * * *", false)])
        .rule(rule)
        .run("nightly", "r1", "02:00", "02:30 failed: boom")
        .play("08:00");
    check(
        &told.told_text(),
        "07:00:15 team first: + critical Late: finance nightly not finished, due 07:00 UTC (its run ended as failed: boom)",
    );
}

// --- upstream ------------------------------------------------------------------------------------

fn downstream() -> Timeline {
    let rule = deadline_with("07:00", Tz::UTC, |kind| {
        kind.opens = Some(clock("01:00"));
        kind.upstream = Some(Patterns::new(["ingest-*"]));
    });
    let timeline = Timeline::new("2026-03-10T00:30:00Z");
    let long_ago = timeline.from - span("300d");
    timeline
        .jobs_since(
            long_ago,
            &[
                ("report", "0 4 * * *", true),
                ("ingest-a", "0 3 * * *", true),
                ("ingest-b", "0 3 * * *", true),
                ("other", "0 3 * * *", true),
            ],
        )
        .rule(for_jobs(rule, "report"))
}

#[test]
fn a_late_report_names_the_job_before_it_that_is_the_reason() {
    for (run, said) in [
        (
            Some("03:10 failed: disk full\nand more"),
            "upstream ingest-a failed at 03:10 UTC: disk full",
        ),
        (Some(""), "upstream ingest-a still running for 4 h"),
        (None, "upstream ingest-a not started, due 03:00 UTC"),
    ] {
        let mut timeline = runs(downstream(), "ingest-b", &["03:00"]);
        if let Some(end) = run {
            timeline = timeline.run("ingest-a", "a1", "03:00", end);
        }
        let told = timeline.play("07:10");
        let cause = format!("not started; {said}");
        check(
            &told.told_text(),
            &format!(
                "07:00:15 team first: + critical Late: finance report not finished, due 07:00 UTC ({cause})"
            ),
        );
        let alert = told_first(&told);
        let facts: Vec<_> = alert
            .facts
            .iter()
            .filter(|f| f.name == "Upstream")
            .collect();
        assert_eq!(facts.len(), 1);
        assert_eq!(format!("upstream {}", facts[0].value), said);
    }
    // All done: nothing is said of them.
    let told = runs(
        runs(downstream(), "ingest-a", &["03:00"]),
        "ingest-b",
        &["03:00"],
    )
    .play("07:10");
    check(
        &told.told_text(),
        "07:00:15 team first: + critical Late: finance report not finished, due 07:00 UTC (not started)",
    );
}

// --- a calendar of ticks -------------------------------------------------------------------------

#[test]
fn ticks_outside_the_calendar_are_excused_and_a_deadline_of_the_same_job_is_not_owed() {
    let mut ticks = missed(Some("15m"));
    ticks.calendar = Some(business(Tz::UTC));
    let mut by = deadline("17:00", Tz::UTC);
    by.calendar = Some(business(Tz::UTC));
    // Saturday and Sunday.
    let told = Timeline::new("2026-11-21T00:30:00Z")
        .job("report", "0 9 * * *")
        .rule(ticks)
        .rule(by)
        .play("11-22 20:00");
    check(&told.told_text(), "");
    check(
        &told.ledger_text(),
        "missed report 09:00 excused: outside the calendar
         missed report 11-22 09:00 excused: outside the calendar",
    );
}
