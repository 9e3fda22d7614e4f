//! What is put aside: alerts that nothing else would ever end do end, once, and are not told again.

use tardy::engine::rule::Clock;
use tardy::engine::time::Span;

use super::kinds::{model_failed, run_failed, too_long};
use super::precedence::incident;
use super::timeline::{Disturbance, Timeline, check};

/// A job fails on 10 March and is disabled; it is back on 19 March and runs on the 20th.
fn given_up() -> Timeline {
    Timeline::new("2026-03-10T06:00:00Z")
        .poll_every(Span::hours(1))
        .policy(|policy| policy.route.repeat_interval = Span::days(5))
        .job("orders", "")
        .rule(run_failed())
        .run("orders", "o1", "06:01", "06:10 failed: boom")
        .jobs_at("07:00", &[("orders", "", false)])
        .jobs_at("2026-03-19T09:00:00Z", &[("orders", "", true)])
        .jobs_at("2026-03-19T10:00:00Z", &[("orders", "", false)])
        .jobs_at("2026-03-19T11:00:00Z", &[("orders", "", true)])
}

#[test]
fn a_failure_of_a_job_that_is_held_for_long_is_closed_and_not_told_again() {
    let timeline = given_up()
        .run("orders", "o2", "03-20 08:00", "03-20 12:30 failed: bust")
        .run("orders", "o3", "03-20 14:00", "03-20 14:30 success");
    let plain = timeline.play("03-20 18:00");
    check(
        &plain.told_text(),
        "07:00:15 team first: + critical Failed: finance orders: boom
         03-15 07:00:15 team reminder: = critical Failed: finance orders: boom
         03-17 07:00 team all_resolved: - critical Closed: finance orders has not run and was held for 7 d; its next run is judged
         03-20 13:00:15 team first: + critical Failed: finance orders: bust (2 in a row since 10 Mar 06:10 UTC)
         03-20 15:00 team all_resolved: - critical Recovered: finance orders succeeded",
    );
    let restarted = timeline.play_with(timeline.at("03-20 18:00"), &mut |_, _| Disturbance {
        is_restart: true,
        ..Disturbance::default()
    });
    check(&restarted.told_text(), &plain.told_text().join("\n"));
    assert_eq!(plain.kept, (0, 0));
}

#[test]
fn a_run_by_hand_of_a_job_that_is_held_is_judged() {
    let told = given_up()
        .rule(too_long(Clock::Run, "1h"))
        .run("orders", "o2", "03-18 08:00", "03-18 11:30 failed: bust")
        .play("03-18 14:00");
    check(
        &told.told_text()[3..],
        "03-18 09:00:15 team first: + critical Too long: finance orders still running, over its limit of 1 h
         03-18 12:00 team new_alerts: + critical Failed: finance orders: bust (2 in a row since 10 Mar 06:10 UTC)
         03-18 12:00 team new_alerts: - critical Over: finance orders ended without success after 3 h 30 min",
    );
}

#[test]
fn a_job_that_was_given_up_long_ago_is_not_told_of_at_the_first_start() {
    let mut timeline = given_up();
    timeline.from = timeline.from + Span::days(8);
    check(&timeline.play("03-18 18:00").told_text(), "");
}

#[test]
fn a_failure_of_a_model_that_is_not_run_any_more_is_closed() {
    let mut timeline = Timeline::new("2026-03-10T06:00:00Z")
        .poll_every(Span::hours(1))
        .policy(|policy| policy.route.repeat_interval = Span::days(100))
        .rule(model_failed())
        .run("orders", "o1", "06:01", "06:10 failed: boom")
        .execution("o1", "marts.old", "06:02", "06:09 failed: boom");
    for day in 11..=31 {
        let from = format!("03-{day} 06:01");
        let id = format!("o{day}");
        timeline = timeline.run("orders", &id, &from, &format!("03-{day} 06:10 success"));
    }
    check(
        &timeline.play("04-20 12:00").told_text(),
        "07:00:15 team first: + critical Model failed: finance marts.old: boom
         04-14 06:02 team all_resolved: - critical Closed: finance marts.old has not been run since 10 Mar 06:02 UTC",
    );
}

#[test]
fn a_failure_of_a_job_that_nobody_runs_any_more_is_closed() {
    let told = Timeline::new("2026-03-10T06:00:00Z")
        .poll_every(Span::hours(1))
        .policy(|policy| policy.route.repeat_interval = Span::days(100))
        .rule(run_failed())
        .run("once", "o1", "06:01", "06:10 failed: boom")
        .run("once", "o2", "05-01 06:30", "05-01 08:30 success")
        .play("05-01 12:00");
    check(
        &told.told_text(),
        "07:00:15 team first: + critical Failed: finance once: boom
         04-14 06:10 team all_resolved: - critical Closed: finance once has not run for 35 d; its next run is judged",
    );
}

#[test]
fn an_incident_all_of_whose_jobs_were_given_up_ends() {
    let mut timeline = Timeline::new("2026-03-10T06:00:00Z")
        .poll_every(Span::hours(1))
        .policy(|policy| policy.route.repeat_interval = Span::days(100))
        .rule(incident());
    let jobs = ["a", "b", "c", "d"];
    timeline = timeline.jobs_at("2026-03-09T00:00:00Z", &jobs.map(|job| (job, "", true)));
    for job in jobs {
        timeline = timeline.run(job, job, "06:50", "06:55 failed: no connection");
    }
    let disabled = [
        ("a", "", false),
        ("b", "", false),
        ("c", "", true),
        ("d", "", true),
    ];
    let timeline = timeline.jobs_at("09:00", &disabled);
    check(
        &timeline.play("03-18 12:00").told_text(),
        "07:00:15 team first: + critical Platform incident: 4 of 4 jobs of prod failed since 06:55 UTC: no connection
         03-17 09:00 team all_resolved: - critical Over: 0 of 4 jobs of prod that failed together have recovered, 2 are gone or held",
    );
}
