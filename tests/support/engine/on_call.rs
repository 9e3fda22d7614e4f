//! What would wake people wrongly, or not wake them: each case was once wrong.

use chrono_tz::Tz;
use tardy::engine::labels::Patterns;
use tardy::engine::observation::{Observation, Run, Status};
use tardy::engine::schedule::{Cron, Dialect};
use tardy::engine::time::{Span, Timestamp};

use super::kinds::{
    clock, deadline, deadline_with, missed, model_failed, run_failed, stale, too_long,
};
use super::timeline::{Timeline, check, for_jobs, project_key};

fn start() -> Timeline {
    Timeline::new("2026-03-10T06:00:00Z")
}

fn row(id: &str, job: &str, from: Timestamp, now: Timestamp, status: Status) -> Run {
    Run {
        id: id.into(),
        job: Some(job.into()),
        job_type: "run".into(),
        finished_at: status.is_finished().then_some(now),
        status,
        triggered_by: "scheduled".into(),
        created_at: from,
        started_at: Some(from),
        updated_at: now,
        error: None,
    }
}

#[test]
fn a_rule_that_selects_more_announces_no_history() {
    let rule = for_jobs(too_long(tardy::engine::rule::Clock::Run, "30m"), "a");
    let told = start()
        .rule(rule)
        .run("a", "a1", "06:00", "06:10 success")
        .run("b", "b1", "06:10", "07:30 success")
        .run("b", "b2", "09:10", "10:30 success")
        .reload("08:00", |policy| {
            policy.rules[0].selectors.job = Patterns::new(["a", "b"]);
        })
        .play("11:00");
    let told = told.told_text().join("\n");
    assert!(
        !told.contains("06:40") && !told.contains("08:0"),
        "history is no news:\n{told}"
    );
    assert!(
        told.contains("09:40"),
        "what happens from then on is:\n{told}"
    );
}

#[test]
fn a_rule_that_was_off_announces_nothing_of_that_time() {
    let told = start()
        .rule(for_jobs(
            too_long(tardy::engine::rule::Clock::Run, "30m"),
            "a",
        ))
        .run("a", "a1", "06:10", "06:20 success")
        .run("a", "a2", "07:10", "08:30 success")
        .reload("07:00", |policy| policy.rules.clear())
        .reload("09:00", |policy| {
            policy.rules.push(for_jobs(
                too_long(tardy::engine::rule::Clock::Run, "30m"),
                "a",
            ));
        })
        .play("10:00");
    check(&told.told_text(), "");
}

#[test]
fn a_deadline_on_a_schedule_of_its_own_is_not_a_day_late() {
    let mut rule = deadline("07:00", Tz::UTC);
    rule.schedule = Some(Cron::parse("0 7 * * *", Dialect::Ours).unwrap());
    let told = start()
        .job("orders", "0 6 * * *")
        .past("orders", Span::days(1), 2, Span::minutes(30))
        .rule(rule)
        .play("08:00")
        .told_text();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("07:00"), "{told:?}");
}

#[test]
fn a_retry_under_way_is_no_recovery() {
    let timeline = start();
    let at = |text: &str| timeline.at(text);
    let (from, retried, again) = (at("06:10"), at("06:30"), at("06:50"));
    let retry = row("a1", "a", from, retried, Status::Running);
    let failed = row("a1", "a", from, again, Status::Failed);
    let told = timeline
        .rule(run_failed())
        .run("a", "a0", "06:01", "06:05 success")
        .run("a", "a1", "06:10", "06:20 failed: boom")
        .row(retried, Observation::Run(project_key(), retry))
        .row(again, Observation::Run(project_key(), failed))
        .play("08:00")
        .told_text();
    assert!(
        told.iter().all(|line| !line.contains("Recovered")),
        "{told:?}"
    );
}

#[test]
fn a_job_that_goes_away_ends_everything_about_it() {
    let told = start()
        .jobs_at(
            "06:00",
            &[("orders", "0 6 * * *", true), ("other", "0 * * * *", true)],
        )
        .past("orders", Span::days(1), 2, Span::minutes(30))
        .rule(deadline("07:00", Tz::UTC))
        .rule(model_failed())
        .run("orders", "o1", "06:01", "06:10 failed: boom")
        .execution("o1", "marts.orders", "06:02", "06:09 failed: boom")
        .jobs_at("08:00", &[("other", "0 * * * *", true)])
        .play("09:00");
    let text = told.told_text().join("\n");
    let gone = text
        .lines()
        .filter(|line| line.contains("Gone: finance orders"))
        .count();
    let model = text
        .lines()
        .filter(|line| line.contains("Gone: finance marts.orders"))
        .count();
    assert!(gone >= 1 && model >= 1, "\n{text}");
}

#[test]
fn a_job_that_is_paused_owes_no_tick() {
    let told = start()
        .jobs_at("06:00", &[("orders", "0 * * * *", true)])
        .rule(missed(Some("10m")))
        .run("orders", "o1", "06:00", "06:05 success")
        .jobs_at("07:30", &[("orders", "0 * * * *", false)])
        .play("09:00")
        .told_text();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[1].contains("Not due any more: finance orders is paused"),
        "{told:?}"
    );
}

#[test]
fn overlapping_runs_of_a_model_are_judged_in_the_order_in_which_they_ended() {
    let told = start()
        .rule(model_failed())
        .run("orders", "o1", "06:00", "07:00 failed: boom")
        .run("orders", "o2", "06:30", "06:32 success")
        .execution("o1", "marts.orders", "06:00", "07:00 failed: boom")
        .execution("o2", "marts.orders", "06:30", "06:31 success")
        .play("08:00")
        .told_text();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("Model failed: finance marts.orders"),
        "{told:?}"
    );
}

#[test]
fn no_forecast_is_no_good_news() {
    let rule = deadline_with("08:00", Tz::UTC, |kind| {
        kind.opens = Some(clock("06:00"));
        kind.at_risk = Some(0.5);
    });
    let timeline =
        start()
            .job("orders", "0 6 * * *")
            .past("orders", Span::days(1), 12, Span::minutes(60));
    let (from, end) = (timeline.at("07:20"), timeline.at("08:30"));
    let by_hand = |status, now| Run {
        triggered_by: "ann".into(),
        ..row("m1", "orders", from, now, status)
    };
    let (running, done) = (
        by_hand(Status::Running, from),
        by_hand(Status::Success, end),
    );
    let told = timeline
        .rule(rule)
        .row(from, Observation::Run(project_key(), running))
        .row(end, Observation::Run(project_key(), done))
        .play("09:00")
        .told_text();
    assert!(told[0].contains("At risk"), "{told:?}");
    assert!(
        told.iter().all(|line| !line.contains("On course")),
        "{told:?}"
    );
    assert!(told.last().unwrap().contains("30 min late"), "{told:?}");
}

#[test]
fn a_dead_scheduler_does_not_hide_behind_other_runs() {
    let mut rule = stale("2h", None);
    rule.selectors.triggered_by = Patterns::new(["scheduled"]);
    let mut timeline = start()
        .rule(rule)
        .run("orders", "o1", "06:00", "06:05 success");
    for number in 0..400 {
        let from = timeline.from + Span::minutes(10) + Span::seconds(20 * number);
        let run = Run {
            triggered_by: "webhook".into(),
            ..row(
                &format!("w{number}"),
                "orders",
                from,
                from + Span::seconds(5),
                Status::Success,
            )
        };
        timeline = timeline.row(run.updated_at, Observation::Run(project_key(), run));
    }
    let told = timeline.play("09:00").told_text();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("Stale: finance orders"), "{told:?}");
}
