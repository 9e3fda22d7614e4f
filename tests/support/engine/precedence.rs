//! One cause, one message: which alerts keep which others quiet, at whom, and when they speak after all.

use chrono_tz::Tz;
use tardy::engine::labels::Matcher;
use tardy::engine::notification::Body;
use tardy::engine::route::{Inhibition, Route};
use tardy::engine::rule::platform_incident::PlatformIncident;
use tardy::engine::rule::{Clock, Rule, RuleKind, Severity};

use super::kinds::{
    blind, clock, deadline_with, missed, model_failed, run_failed, span, stale, too_long,
};
use super::timeline::{Disturbance, Outcome, Timeline, check, for_jobs, rule};

fn start() -> Timeline {
    Timeline::new("2026-03-10T06:00:00Z")
}

pub fn incident() -> Rule {
    rule(
        "platform",
        RuleKind::PlatformIncident(PlatformIncident {
            window: span("15m"),
            min_share: 0.5,
            min_jobs: 3,
        }),
    )
}

fn with(mut rule: Rule, severity: Severity) -> Rule {
    rule.severity = severity;
    rule
}

/// A child of the root that tells `receiver` of alerts that match.
fn child(path: &str, matcher: &str, receiver: &str) -> Route {
    Route {
        path: path.into(),
        matchers: vec![Matcher::parse(matcher).unwrap()],
        ..Route::root(vec![receiver.into()])
    }
}

/// What was told, with the short ids of alerts replaced by the name of their rule.
fn told(outcome: &Outcome) -> Vec<String> {
    let mut lines = outcome.told_text();
    for told in &outcome.told {
        let Body::Alerts(alerts) = &told.body else {
            continue;
        };
        for alert in alerts {
            for line in &mut lines {
                *line = line.replace(
                    &format!("inhibited by {}", alert.id),
                    &format!("inhibited by {}", alert.rule),
                );
            }
        }
    }
    lines
}

/// Three jobs fail, a fourth joins; two recover, and later the others.
fn outage() -> Timeline {
    start()
        .rule(incident())
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:10 failed: no connection")
        .run("b", "b1", "06:01", "06:10 failed: no connection")
        .run("c", "c1", "06:01", "06:10 failed: no connection")
        .run("d", "d1", "06:01", "06:20 failed: no connection")
        .run("a", "a2", "06:30", "06:40 success")
        .run("b", "b2", "06:30", "06:45 success")
        .run("c", "c2", "06:50", "07:00 success")
}

#[test]
fn many_failures_are_one_message_and_those_that_stay_are_told_at_its_end() {
    let outcome = outage().play("08:00");
    check(
        &told(&outcome),
        "06:10:15 team first: + critical Platform incident: 3 of 3 jobs of prod failed since 06:10 UTC: no connection
         06:10:15 team first: kept quiet, inhibited by platform
         06:10:15 team first: kept quiet, inhibited by platform
         06:10:15 team first: kept quiet, inhibited by platform
         06:45 team all_resolved: - critical Over: 2 of 4 jobs of prod that failed together have recovered
         06:45:15 team first: + critical Failed: finance c: no connection
         06:45:15 team first: + critical Failed: finance d: no connection
         07:00 team all_resolved: - critical Recovered: finance c succeeded",
    );
}

#[test]
fn a_restart_at_every_step_of_an_incident_changes_nothing() {
    let timeline = outage();
    let plain = timeline.play("08:00");
    let restarted = timeline.play_with(timeline.at("08:00"), &mut |_, _| Disturbance {
        is_restart: true,
        ..Disturbance::default()
    });
    check(&restarted.told_text(), &plain.told_text().join("\n"));
    assert_eq!(restarted.states_text(), plain.states_text());
}

#[test]
fn a_failure_that_has_nothing_to_do_with_it_is_told() {
    let outcome = outage()
        .run("z", "z1", "06:36", "06:38 failed: no column x")
        .play("06:44");
    let lines = told(&outcome);
    assert!(
        lines
            .iter()
            .any(|line| line.contains("06:38:15 team first: + critical Failed: finance z")),
        "{lines:#?}"
    );
}

#[test]
fn an_incident_says_when_it_has_become_twice_as_large() {
    let mut timeline = outage();
    for job in ["e", "f"] {
        timeline = timeline.run(job, job, "06:01", "06:22 failed: no connection");
    }
    let lines = told(&timeline.play("06:30"));
    let changed: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("changed:") && !line.contains("quiet"))
        .collect();
    assert_eq!(
        changed,
        [
            "06:22 team changed: = critical Platform incident: 6 of 6 jobs of prod failed since 06:10 UTC: no connection"
        ]
    );
    let quiet = lines
        .iter()
        .filter(|line| line.contains("06:22 team changed: kept quiet"));
    assert_eq!(quiet.count(), 6);
}

#[test]
fn an_incident_that_the_pager_does_not_hear_of_keeps_nothing_from_the_pager() {
    let outcome = start()
        .policy(|policy| {
            policy.route.children = vec![child("root/page", "rule = failed", "pager")];
        })
        .rule(incident())
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:10 failed: boom")
        .run("b", "b1", "06:01", "06:10 failed: boom")
        .run("c", "c1", "06:01", "06:10 failed: boom")
        .play("06:30");
    check(
        &told(&outcome),
        "06:10:15 team first: + critical Platform incident: 3 of 3 jobs of prod failed since 06:10 UTC: boom
         06:10:15 pager first: + critical Failed: finance a: boom
         06:10:15 pager first: + critical Failed: finance b: boom
         06:10:15 pager first: + critical Failed: finance c: boom",
    );
}

#[test]
fn a_softer_incident_keeps_nothing_quiet() {
    let outcome = start()
        .rule(with(incident(), Severity::Warning))
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:10 failed: boom")
        .run("b", "b1", "06:01", "06:10 failed: boom")
        .run("c", "c1", "06:01", "06:10 failed: boom")
        .play("06:30");
    let lines = told(&outcome);
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.contains("+ critical Failed"))
            .count(),
        3,
        "{lines:#?}"
    );
    assert!(
        lines.iter().all(|line| !line.contains("quiet")),
        "{lines:#?}"
    );
}

#[test]
fn a_muted_incident_keeps_nothing_quiet() {
    use tardy::engine::calendar::Calendar;
    let always = Calendar {
        name: "always".into(),
        zone: Tz::UTC,
        days: [true; 7],
        hours: None,
        holidays: [].into(),
    };
    let outcome = start()
        .policy(|policy| {
            let mut muted = child("root/platform", "kind = platform_incident", "team");
            muted.mute = vec![always];
            policy.route.children = vec![muted];
        })
        .rule(incident())
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:10 failed: boom")
        .run("b", "b1", "06:01", "06:10 failed: boom")
        .run("c", "c1", "06:01", "06:10 failed: boom")
        .play("06:30");
    let lines = told(&outcome);
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.contains("+ critical Failed"))
            .count(),
        3,
        "{lines:#?}"
    );
}

#[test]
fn what_was_told_before_the_incident_keeps_its_conversation() {
    let outcome = start()
        .rule(incident())
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("b", "b1", "06:01", "06:10 failed: boom")
        .run("c", "c1", "06:01", "06:10 failed: boom")
        .run("a", "a2", "06:12", "06:15 failed: another thing")
        .run("a", "a3", "06:30", "06:40 success")
        .play("06:44");
    check(
        &told(&outcome),
        "06:05:15 team first: + critical Failed: finance a: boom
         06:10:15 team first: + critical Platform incident: 3 of 3 jobs of prod failed since 06:05 UTC: boom
         06:10:15 team first: kept quiet, inhibited by platform
         06:10:15 team first: kept quiet, inhibited by platform
         06:15 team changed: = critical Failed: finance a: another thing (2 in a row since 06:05 UTC)
         06:40 team all_resolved: - critical Over: 1 of 3 jobs of prod that failed together have recovered
         06:40 team all_resolved: - critical Recovered: finance a succeeded
         06:40:15 team first: + critical Failed: finance b: boom
         06:40:15 team first: + critical Failed: finance c: boom",
    );
}

#[test]
fn a_long_run_of_a_job_that_fails_with_the_others_is_kept_quiet() {
    let outcome = outage()
        .rule(too_long(Clock::Run, "20m"))
        .run("d", "d2", "06:21", "")
        .play("06:44");
    let lines = told(&outcome);
    assert!(
        lines
            .iter()
            .all(|line| !line.contains("Too long: finance d still")),
        "{lines:#?}"
    );
}

#[test]
fn models_of_a_failed_run_are_part_of_its_message() {
    let timeline = start()
        .rule(run_failed())
        .rule(model_failed())
        .run("a", "a1", "06:01", "06:10 failed: model stg.x failed")
        .execution("a1", "stg.x", "06:02", "06:10 failed: no column")
        .execution("a1", "stg.y", "06:02", "06:10 failed: no column")
        .run("a", "a2", "06:30", "06:40 success")
        .execution("a2", "stg.x", "06:31", "06:35 success")
        .execution("a2", "stg.y", "06:31", "06:40 success");
    check(
        &told(&timeline.play("07:00")),
        "06:10:15 team first: + critical Failed: finance a: model stg.x failed
         06:10:15 team first: kept quiet, inhibited by failed
         06:10:15 team first: kept quiet, inhibited by failed
         06:40 team all_resolved: - critical Recovered: finance a succeeded",
    );
}

#[test]
fn a_model_that_failed_in_another_run_is_told() {
    let outcome = start()
        .rule(run_failed())
        .rule(model_failed())
        .run("a", "a1", "06:01", "06:10 failed: boom")
        .run("a", "a2", "06:11", "06:30 partial")
        .execution("a2", "stg.x", "06:12", "06:20 failed: no column")
        .play("06:40");
    check(
        &told(&outcome),
        "06:10:15 team first: + critical Failed: finance a: boom
         06:20 team new_alerts: = critical Failed: finance a: boom
         06:20 team new_alerts: + critical Model failed: finance stg.x: no column",
    );
}

#[test]
fn a_model_of_an_earlier_failure_in_a_row_stays_part_of_it() {
    let outcome = start()
        .rule(run_failed())
        .rule(model_failed())
        .run("a", "a1", "06:01", "06:10 failed: boom")
        .execution("a1", "stg.x", "06:02", "06:10 failed: no column")
        .run("a", "a2", "06:11", "06:30 failed: boom")
        .execution("a2", "stg.w", "06:12", "06:30 failed: no column")
        .play("08:00");
    let lines = told(&outcome);
    assert!(
        lines.iter().all(|line| !line.contains("Model failed")),
        "{lines:#?}"
    );
}

#[test]
fn a_worse_model_is_told_beside_the_failed_run() {
    let outcome = start()
        .rule(with(run_failed(), Severity::Warning))
        .rule(model_failed())
        .run("a", "a1", "06:01", "06:10 failed: boom")
        .execution("a1", "stg.x", "06:02", "06:10 failed: no column")
        .play("06:40");
    check(
        &told(&outcome),
        "06:10:15 team first: + critical Model failed: finance stg.x: no column
         06:10:15 team first: + warning Failed: finance a: boom",
    );
}

/// A nightly job that fails at first, is overdue, and delivers late.
fn late_morning() -> Timeline {
    start()
        .job("a", "0 6 * * *")
        .rule(with(run_failed(), Severity::Warning))
        .rule(deadline_with("07:00", Tz::UTC, |kind| {
            kind.opens = Some(clock("06:00"));
        }))
        .run("a", "a1", "06:01", "06:10 failed: boom")
        .run("a", "a2", "07:20", "07:42 success")
}

#[test]
fn failed_then_overdue_then_recovered_is_one_conversation() {
    let outcome = late_morning().play("09:00");
    check(
        &told(&outcome),
        "06:10:15 team first: + warning Failed: finance a: boom
         07:00 team upgraded: + critical Late: finance a not finished, due 07:00 UTC (its run ended as failed: boom)
         07:00 team upgraded: = warning Failed: finance a: boom
         07:20 team changed: = critical Late: finance a not finished, due 07:00 UTC (running 0 s)
         07:20 team changed: = warning Failed: finance a: boom
         07:42 team all_resolved: - critical Delivered: finance a 42 min late, at 07:42 UTC
         07:42 team all_resolved: - warning Recovered: finance a succeeded",
    );
    let ids: Vec<_> = outcome.told.iter().map(|told| told.conversation).collect();
    assert!(
        ids.windows(2).all(|pair| pair[0] == pair[1]),
        "one conversation"
    );
}

#[test]
fn a_failure_that_is_over_does_not_close_the_deadline() {
    // The success started before the window: it ends the failure, and is not what is due.
    let outcome = start()
        .job("a", "0 6 * * *")
        .rule(with(run_failed(), Severity::Warning))
        .rule(deadline_with("07:00", Tz::UTC, |kind| {
            kind.opens = Some(clock("06:05"));
        }))
        .run("a", "a1", "06:06", "06:10 failed: boom")
        .run("a", "a0", "06:02", "07:10 success")
        .run("a", "a2", "07:20", "07:42 success")
        .play("09:00");
    let lines = told(&outcome);
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.contains(": - "))
            .collect::<Vec<_>>(),
        [
            "07:10 team some_resolved: - warning Recovered: finance a succeeded",
            "07:42 team all_resolved: - critical Delivered: finance a 42 min late, at 07:42 UTC",
        ],
        "{lines:#?}"
    );
}

#[test]
fn an_early_warning_is_part_of_the_long_run_and_the_breach_is_not() {
    let timeline = start()
        .job("a", "0 6 * * *")
        .rule(too_long(Clock::Run, "20m"))
        .rule(deadline_with("07:00", Tz::UTC, |kind| {
            kind.opens = Some(clock("06:00"));
            kind.warn_before = Some(span("30m"));
        }))
        .run("a", "a1", "06:00", "07:10 success");
    check(
        &told(&timeline.play("08:00")),
        "06:20:15 team first: + critical Too long: finance a still running, over its limit of 20 min
         07:00 team new_alerts: = critical Too long: finance a still running, over its limit of 20 min
         07:00 team new_alerts: + critical Late: finance a not finished, due 07:00 UTC (running 1 h)
         07:10 team all_resolved: - critical Over: finance a finished after 1 h 10 min
         07:10 team all_resolved: - critical Delivered: finance a 10 min late, at 07:10 UTC",
    );
}

#[test]
fn an_early_warning_that_is_worse_than_the_long_run_is_told() {
    let timeline = start()
        .job("a", "0 6 * * *")
        .rule(with(too_long(Clock::Run, "20m"), Severity::Info))
        .rule(deadline_with("07:00", Tz::UTC, |kind| {
            kind.opens = Some(clock("06:00"));
            kind.warn_before = Some(span("30m"));
        }))
        .run("a", "a1", "06:00", "06:50 success");
    let lines = told(&timeline.play("08:00"));
    assert!(
        lines
            .iter()
            .any(|line| line.contains("06:30 team new_alerts: + warning At risk")),
        "{lines:#?}"
    );
}

/// A job that does not start, is missed, stale and late.
fn no_start(severity: Severity) -> Timeline {
    start()
        .job("a", "0 6 * * *")
        .run("a", "a0", "05:00", "05:05 success")
        .rule(with(missed(Some("10m")), severity))
        .rule(stale("90m", None))
        .rule(deadline_with("07:00", Tz::UTC, |kind| {
            kind.opens = Some(clock("05:55"));
        }))
}

#[test]
fn a_run_that_did_not_start_is_one_message() {
    let timeline = no_start(Severity::Critical).run("a", "a1", "07:30", "07:50 success");
    check(
        &told(&timeline.play("09:00")),
        "06:10:15 team first: + critical Missed: finance a did not start at 06:00 UTC
         07:30 team new_alerts: + critical Stale: finance a has not succeeded for 1 h 30 min
         07:30 team new_alerts: + critical Late: finance a not finished, due 07:00 UTC (running 0 s, usual 5 min, expected 07:35 UTC)
         07:30 team new_alerts: - critical Recovered: finance a started 1 h 30 min late, at 07:30 UTC
         07:50 team all_resolved: - critical Fresh again: finance a succeeded at 07:50 UTC
         07:50 team all_resolved: - critical Delivered: finance a 50 min late, at 07:50 UTC",
    );
}

#[test]
fn a_missed_start_that_is_a_warning_keeps_no_critical_deadline_quiet() {
    let lines = told(&no_start(Severity::Warning).play("07:10"));
    assert!(
        lines
            .iter()
            .any(|line| line.contains("+ critical Late: finance a not finished")),
        "{lines:#?}"
    );
}

#[test]
fn a_missed_start_told_to_the_team_keeps_no_deadline_from_the_pager() {
    let mut pages = deadline_with("07:00", Tz::UTC, |kind| kind.opens = Some(clock("06:00")));
    pages.receivers = Some(vec!["pager".into(), "team".into()]);
    let outcome = start()
        .job("a", "0 6 * * *")
        .rule(with(missed(Some("10m")), Severity::Critical))
        .rule(pages)
        .play("07:10");
    check(
        &told(&outcome),
        "06:10:15 team first: + critical Missed: finance a did not start at 06:00 UTC
         07:00:15 pager first: + critical Late: finance a not finished, due 07:00 UTC (not started)",
    );
}

#[test]
fn a_missed_start_of_another_job_says_nothing_of_this_one() {
    let mut timeline = no_start(Severity::Critical);
    timeline.policy.rules[0] = for_jobs(timeline.policy.rules[0].clone(), "b");
    let lines = told(&timeline.play("07:10"));
    assert!(
        lines
            .iter()
            .any(|line| line.contains("+ critical Late: finance a")),
        "{lines:#?}"
    );
}

#[test]
fn nothing_is_told_about_absence_while_the_source_cannot_be_read() {
    let outcome = no_start(Severity::Critical)
        .rule(incident())
        .rule(blind("5m"))
        .outage("06:05", "09:00")
        .play("08:59");
    check(
        &told(&outcome),
        "06:10:15 team first: + critical Blind: source prod cannot be read since 06:05 UTC",
    );
}

#[test]
fn two_alerts_that_are_source_and_target_of_an_inhibition_do_not_silence_each_other() {
    let mut second = run_failed();
    second.name = "second".into();
    let mut soft = with(run_failed(), Severity::Warning);
    soft.name = "soft".into();
    let outcome = start()
        .rule(run_failed())
        .rule(second)
        .rule(soft)
        .policy(|policy| {
            policy.inhibitions.push(Inhibition {
                source: vec![Matcher::parse("severity = critical").unwrap()],
                target: vec![Matcher::parse("severity =~ critical|warning").unwrap()],
                equal: vec!["job".into()],
            });
        })
        .run("orders", "o1", "06:01", "06:10 failed: boom")
        .play("06:30");
    let lines = told(&outcome);
    let critical = lines
        .iter()
        .filter(|line| line.contains("+ critical Failed"));
    assert_eq!(critical.count(), 2, "{lines:#?}");
    assert!(
        !lines.iter().any(|line| line.contains("warning Failed")),
        "{lines:#?}"
    );
}
