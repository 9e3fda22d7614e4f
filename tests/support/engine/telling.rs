//! What is told to whom and when: groups, routes, mutes, inhibitions, reminders, `for` and
//! `keep_firing_for`.

use chrono_tz::Tz;
use tardy::engine::calendar::Calendar;
use tardy::engine::labels::Matcher;
use tardy::engine::observation::Name;
use tardy::engine::policy::Policy;
use tardy::engine::route::{Inhibition, Route};
use tardy::engine::rule::{Clock, Severity};

use super::kinds::{clock, missed, model_failed, run_failed, slower, span, stale, too_long};
use super::timeline::{Timeline, check, for_jobs};

fn start() -> Timeline {
    Timeline::new("2026-03-10T06:00:00Z")
}

/// A child of the root for alerts that match.
fn child(path: &str, matcher: &str, receiver: &str) -> Route {
    Route {
        path: path.into(),
        matchers: vec![Matcher::parse(matcher).unwrap()],
        ..Route::root(vec![receiver.into()])
    }
}

fn window(from: &str, to: &str) -> Calendar {
    Calendar {
        name: "night".into(),
        zone: Tz::UTC,
        days: [true; 7],
        hours: Some((clock(from), clock(to))),
        holidays: [].into(),
    }
}

fn inhibit(source: &str, target: &str) -> impl FnOnce(&mut Policy) {
    let inhibition = Inhibition {
        source: vec![Matcher::parse(source).unwrap()],
        target: vec![Matcher::parse(target).unwrap()],
        equal: vec!["project".into()],
    };
    move |policy| policy.inhibitions.push(inhibition)
}

#[test]
fn jobs_of_a_group_join_and_leave_one_conversation() {
    let told = start()
        .policy(|policy| policy.route.group_by = vec!["project".into()])
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: no disk")
        .run("b", "b1", "06:01", "06:20 failed: no disk")
        .run("a", "a2", "06:30", "06:35 success")
        .run("b", "b2", "06:40", "06:45 success")
        .play("08:00");
    check(
        &told.told_text(),
        "06:05:15 team first: + critical Failed: finance a: no disk
         06:20 team new_alerts: = critical Failed: finance a: no disk
         06:20 team new_alerts: + critical Failed: finance b: no disk
         06:35 team some_resolved: = critical Failed: finance b: no disk
         06:35 team some_resolved: - critical Recovered: finance a succeeded
         06:45 team all_resolved: - critical Recovered: finance b succeeded",
    );
    let ids: Vec<_> = told.told.iter().map(|told| told.conversation).collect();
    assert!(
        ids.windows(2).all(|pair| pair[0] == pair[1]),
        "one conversation"
    );
    let sequences: Vec<u32> = told.told.iter().map(|told| told.sequence).collect();
    assert_eq!(sequences, [0, 1, 2, 3]);
}

#[test]
fn another_error_is_told_as_a_change_and_more_of_the_same_is_not() {
    let told = start()
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: job 17 lost")
        .run("a", "a2", "06:11", "06:15 failed: job 99 lost")
        .run("a", "a3", "06:21", "06:25 failed: no disk")
        .run("a", "a4", "06:31", "06:35 success")
        .play("07:00");
    check(
        &told.told_text(),
        "06:05:15 team first: + critical Failed: finance a: job 17 lost
         06:25 team changed: = critical Failed: finance a: no disk (3 in a row since 06:05 UTC)
         06:35 team all_resolved: - critical Recovered: finance a succeeded",
    );
}

#[test]
fn fired_and_ended_within_the_wait_is_one_message_that_says_both() {
    let told = start()
        .policy(|policy| policy.route.group_wait = span("5m"))
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("a", "a2", "06:06", "06:07 success")
        .play("07:00");
    check(
        &told.told_text(),
        "06:10 team first: +- critical Recovered: finance a succeeded",
    );
}

#[test]
fn a_new_failure_before_the_end_was_told_is_the_same_incident() {
    let told = start()
        .policy(|policy| policy.route.group_interval = span("10m"))
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("a", "a2", "06:06", "06:07 success")
        .run("a", "a3", "06:08", "06:09 failed: boom")
        .run("a", "a4", "06:20", "06:25 success")
        .play("07:00");
    check(
        &told.told_text(),
        "06:05:15 team first: + critical Failed: finance a: boom
         06:25 team all_resolved: - critical Recovered: finance a succeeded",
    );
}

#[test]
fn a_new_failure_after_the_end_was_told_is_another_incident() {
    let told = start()
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("a", "a2", "06:06", "06:10 success")
        .run("a", "a3", "06:11", "06:15 failed: boom")
        .play("07:00");
    check(
        &told.told_text(),
        "06:05:15 team first: + critical Failed: finance a: boom
         06:10 team all_resolved: - critical Recovered: finance a succeeded
         06:15:15 team first: + critical Failed: finance a: boom",
    );
    assert_ne!(told.told[0].conversation, told.told[2].conversation);
    assert_eq!(told.told[2].sequence, 0);
}

#[test]
fn reminders_come_while_it_fires_and_stop_with_the_end() {
    let told = start()
        .policy(|policy| policy.route.repeat_interval = span("1h"))
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("a", "a2", "08:20", "08:30 success")
        .play("20:00");
    check(
        &told.told_text(),
        "06:05:15 team first: + critical Failed: finance a: boom
         07:05:15 team reminder: = critical Failed: finance a: boom
         08:05:15 team reminder: = critical Failed: finance a: boom
         08:30 team all_resolved: - critical Recovered: finance a succeeded",
    );
}

#[test]
fn what_fires_while_muted_is_announced_when_the_window_closes() {
    let told = start()
        .policy(|policy| policy.route.mute = vec![window("06:00", "07:00")])
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .play("08:00");
    check(
        &told.told_text(),
        "07:00 team first: + critical Failed: finance a: boom",
    );
}

#[test]
fn what_fires_and_ends_while_muted_is_never_announced() {
    let told = start()
        .policy(|policy| policy.route.mute = vec![window("06:00", "07:00")])
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("a", "a2", "06:30", "06:40 success")
        .run("b", "b1", "06:01", "06:05:10 failed: boom")
        .run("b", "b2", "06:05:12", "06:05:20 success")
        .play("08:00");
    check(&told.told_text(), "");
    assert_eq!(told.transitions.len(), 4, "the state goes on");
}

#[test]
fn a_mute_stops_reminders_and_upgrades_but_no_ending() {
    let told = start()
        .policy(|policy| {
            policy.route.repeat_interval = span("1h");
            policy.route.mute = vec![window("06:30", "08:30"), window("10:00", "12:00")];
        })
        .job("a", "")
        .rule(stale("90m", Some("10m")))
        .run("a", "a0", "06:00", "06:00 success")
        .run("a", "a1", "10:30", "10:40 success")
        .play("11:00");
    check(
        &told.told_text(),
        "06:10:15 team first: + warning Stale: finance a has not succeeded for 10 min
         08:30 team upgraded: = critical Stale: finance a has not succeeded for 1 h 30 min
         09:30 team reminder: = critical Stale: finance a has not succeeded for 1 h 30 min
         10:40 team all_resolved: - critical Fresh again: finance a succeeded at 10:40 UTC",
    );
}

#[test]
fn an_inhibited_alert_is_announced_when_the_other_ends() {
    let told = start()
        .policy(inhibit("job = a", "job = b"))
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("b", "b1", "06:01", "06:10 failed: boom")
        .run("a", "a2", "06:20", "06:30 success")
        .play("07:00");
    check(
        &told.told_text(),
        "06:05:15 team first: + critical Failed: finance a: boom
         06:30 team all_resolved: - critical Recovered: finance a succeeded
         06:30:15 team first: + critical Failed: finance b: boom",
    );
}

#[test]
fn an_inhibited_alert_that_ends_before_the_other_is_never_announced() {
    let told = start()
        .policy(inhibit("job = a", "job = b"))
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("b", "b1", "06:01", "06:10 failed: boom")
        .run("b", "b2", "06:11", "06:15 success")
        .run("b", "b3", "06:16", "06:17 failed: boom")
        .run("b", "b4", "06:17:05", "06:17:10 success")
        .run("a", "a2", "06:20", "06:30 success")
        .play("07:00");
    check(
        &told.told_text(),
        "06:05:15 team first: + critical Failed: finance a: boom
         06:30 team all_resolved: - critical Recovered: finance a succeeded",
    );
}

#[test]
fn members_kept_quiet_are_counted_in_what_is_told() {
    let told = start()
        .policy(|policy| policy.route.group_by = vec!["project".into()])
        .policy(inhibit("job = a", "job = b"))
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("b", "b1", "06:01", "06:05 failed: boom")
        .play("06:30");
    let id = told.told[0].body.clone();
    let tardy::engine::notification::Body::Alerts(alerts) = id else {
        panic!()
    };
    check(
        &told.told_text(),
        &format!(
            "06:05:15 team first: + critical Failed: finance a: boom
             06:05:15 team first: kept quiet, inhibited by {}",
            alerts[0].id
        ),
    );
}

#[test]
fn rules_with_receivers_of_their_own_leave_the_tree_alone() {
    let mut own = for_jobs(run_failed(), "b");
    own.name = "own".into();
    own.receivers = Some(vec!["b-team".into()]);
    let told = start()
        .rule(for_jobs(run_failed(), "a"))
        .rule(own)
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("b", "b1", "06:01", "06:05 failed: boom")
        .run("b", "b2", "06:10", "06:15 success")
        .play("07:00");
    check(
        &told.told_text(),
        "06:05:15 team first: + critical Failed: finance a: boom
         06:05:15 b-team first: + critical Failed: finance b: boom
         06:15 b-team all_resolved: - critical Recovered: finance b succeeded",
    );
}

#[test]
fn a_route_that_continues_tells_both_in_conversations_of_their_own() {
    let told = start()
        .policy(|policy| {
            let mut all = child("root/all", "severity = critical", "archive");
            all.is_continue = true;
            let fin = child("root/fin", "project = finance", "fin-team");
            policy.route.children = vec![all, fin];
        })
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("a", "a2", "06:10", "06:15 success")
        .play("07:00");
    check(
        &told.told_text(),
        "06:05:15 archive first: + critical Failed: finance a: boom
         06:05:15 fin-team first: + critical Failed: finance a: boom
         06:15 archive all_resolved: - critical Recovered: finance a succeeded
         06:15 fin-team all_resolved: - critical Recovered: finance a succeeded",
    );
    assert_ne!(told.told[0].conversation, told.told[1].conversation);
}

#[test]
fn a_rise_in_severity_reaches_the_new_route_and_both_are_told_the_end() {
    let told = start()
        .policy(|policy| {
            policy.route.children = vec![child("root/page", "severity = critical", "pager")];
        })
        .job("a", "")
        .rule(stale("30m", Some("10m")))
        .run("a", "a0", "06:00", "06:00 success")
        .run("a", "a1", "07:00", "07:10 success")
        .play("07:15");
    check(
        &told.told_text(),
        "06:10:15 team first: + warning Stale: finance a has not succeeded for 10 min
         06:30 team upgraded: = critical Stale: finance a has not succeeded for 30 min
         06:30:15 pager first: + critical Stale: finance a has not succeeded for 30 min
         07:10 team all_resolved: - critical Fresh again: finance a succeeded at 07:10 UTC
         07:10 pager all_resolved: - critical Fresh again: finance a succeeded at 07:10 UTC",
    );
}

#[test]
fn a_softer_warning_that_ends_before_it_is_told_is_dropped() {
    let mut rule = run_failed();
    rule.severity = Severity::Info;
    let told = start()
        .policy(|policy| policy.route.group_wait = span("5m"))
        .rule(rule)
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("a", "a2", "06:06", "06:07 success")
        .play("07:00");
    check(&told.told_text(), "");
}

#[test]
fn for_waits_on_what_is_known_and_keep_firing_bridges_a_short_calm() {
    let mut rule = run_failed();
    rule.hold = span("10m");
    rule.keep_firing_for = span("20m");
    let told = start()
        .rule(rule)
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("a", "a2", "06:30", "06:35 success")
        .run("a", "a3", "06:40", "06:45 failed: boom")
        .run("a", "a4", "06:50", "06:55 success")
        .play("08:00");
    check(
        &told.told_text(),
        "06:15:15 team first: + critical Failed: finance a: boom
         07:15 team all_resolved: - critical Recovered: finance a succeeded",
    );
    check(
        &told.states_text(),
        "06:05 pending: Failed: finance a: boom
         06:15 firing: Failed: finance a: boom
         07:15 resolved: Recovered: finance a succeeded",
    );
}

#[test]
fn keep_firing_for_ends_alerts_of_every_kind() {
    let patient = |mut rule: tardy::engine::rule::Rule| {
        rule.keep_firing_for = span("10m");
        rule
    };
    let told = start()
        .job("a", "5 6 * * *")
        .rule(patient(missed(Some("5m"))))
        .rule(patient(too_long(Clock::Run, "20m")))
        .rule(patient(super::kinds::deadline("06:20", Tz::UTC)))
        .run("a", "a1", "06:15", "06:40 success")
        .play("08:00");
    check(
        &told.states_text(),
        "06:10 firing: Missed: finance a did not start at 06:05 UTC
         06:20 firing: Late: finance a not finished, due 06:20 UTC (running 5 min)
         06:25 resolved: Recovered: finance a started 10 min late, at 06:15 UTC
         06:35 firing: Too long: finance a still running, over its limit of 20 min
         06:50 resolved: Over: finance a finished after 25 min
         06:50 resolved: Delivered: finance a 20 min late, at 06:40 UTC",
    );
}

#[test]
fn a_run_over_its_limit_is_told_while_it_runs_and_ends_with_it() {
    let told = start()
        .rule(too_long(Clock::Run, "20m"))
        .run("a", "a1", "06:10", "06:52 success")
        .run("a", "a2", "06:40", "06:50 success")
        .play("08:00");
    check(
        &told.told_text(),
        "06:30:15 team first: + critical Too long: finance a still running, over its limit of 20 min
         06:52 team all_resolved: - critical Over: finance a finished after 42 min",
    );
    check(
        &told.ledger_text(),
        "too-long a 06:30 late by 1320 s
         too-long a 07:00 met",
    );
    assert_eq!(told.ledger.len(), 3, "one was missed until its end");
}

#[test]
fn every_concurrent_run_over_the_limit_is_judged() {
    let told = start()
        .rule(too_long(Clock::Run, "20m"))
        .run("a", "a1", "06:10", "06:52 success")
        .run("a", "a2", "06:15", "06:40 failed: boom")
        .play("08:00");
    check(
        &told.states_text(),
        "06:30 firing: Too long: finance a still running, over its limit of 20 min
         06:35 firing: Too long: finance a still running, over its limit of 20 min
         06:40 resolved: Over: finance a ended without success after 25 min
         06:52 resolved: Over: finance a finished after 42 min",
    );
}

#[test]
fn a_wait_in_the_queue_is_told_once() {
    let timeline = start().rule(too_long(Clock::Queue, "20m"));
    let (created, started) = (timeline.at("06:05"), timeline.at("06:40"));
    let end = (
        timeline.at("07:00"),
        tardy::engine::observation::Status::Success,
        String::new(),
    );
    let told = timeline
        .run_at("a", "a1", created, Some(started), Some(end))
        .play("08:00");
    check(
        &told.told_text(),
        "06:25:15 team first: + critical Waiting: finance a not started after 20 min (limit 20 min)
         06:40 team all_resolved: - critical Over: finance a started after 35 min",
    );
    assert_eq!(told.final_ledger().len(), 1);
}

#[test]
fn models_of_one_run_are_one_message_and_each_ends_at_its_success() {
    let told = start()
        .rule(model_failed())
        .run("a", "a1", "06:01", "06:10 partial")
        .execution("a1", "stg.x", "06:02", "06:05 failed: column gone")
        .execution("a1", "mart.y", "06:02", "06:05 failed: type mismatch")
        .execution("a1", "mart.z", "06:05", "06:05 skipped")
        .run("a", "a2", "06:30", "06:40 success")
        .execution("a2", "stg.x", "06:31", "06:32 success")
        .execution("a2", "mart.y", "06:35", "06:36 success")
        .play("07:00");
    check(
        &told.told_text(),
        "06:05:15 team first: + critical Model failed: finance stg.x: column gone
         06:05:15 team first: + critical Model failed: finance mart.y: type mismatch
         06:32 team some_resolved: = critical Model failed: finance mart.y: type mismatch
         06:32 team some_resolved: - critical Recovered: finance stg.x succeeded
         06:36 team all_resolved: - critical Recovered: finance mart.y succeeded",
    );
}

#[test]
fn a_regression_stays_open_until_it_is_back_and_its_baseline_does_not_follow() {
    let mut timeline = start()
        .past("a", span("1h"), 20, span("10m"))
        .rule(slower(Some((2, 3))));
    for index in 0..30 {
        let from = timeline.from + span("1h") * index;
        let took = if index < 26 { span("20m") } else { span("10m") };
        let end = (
            from + took,
            tardy::engine::observation::Status::Success,
            String::new(),
        );
        timeline = timeline.run_at("a", &format!("now-{index}"), from, Some(from), Some(end));
    }
    let told = timeline.play("03-11 12:00");
    check(
        &told.states_text(),
        "07:20 firing: Slower: finance a took 20 min, usual 10 (+100 %, since run at 06:00 UTC, 2 in a row; last 19: 10)
         03-11 09:10 resolved: Back to usual: finance a took 10 min, usual 10",
    );
}

#[test]
fn a_quick_manual_run_does_not_end_a_regression_of_scheduled_ones() {
    let mut timeline = start()
        .past("a", span("1h"), 10, span("10m"))
        .rule(slower(None));
    for (index, took) in [(0, "30m"), (1, "30m"), (2, "10m")] {
        let from = timeline.from + span("1h") * index;
        let end = (
            from + span(took),
            tardy::engine::observation::Status::Success,
            String::new(),
        );
        timeline = timeline.run_at("a", &format!("now-{index}"), from, Some(from), Some(end));
    }
    let manual = timeline.at("06:40");
    let mut rows = timeline
        .clone()
        .run("a", "manual", "06:40", "06:41 success")
        .rows;
    for (at, row) in &mut rows {
        if let tardy::engine::observation::Observation::Run(_, run) = row
            && &*run.id == "manual"
        {
            run.triggered_by = Name::from("manual");
            *at = manual.max(*at);
        }
    }
    timeline.rows = rows;
    let told = timeline.play("09:00");
    check(
        &told.states_text(),
        "06:30 firing: Slower: finance a took 30 min, usual 10 (+200 %, since run at 06:00 UTC; last 10: 10)
         08:10 resolved: Back to usual: finance a took 10 min, usual 10",
    );
}

#[test]
fn a_rule_with_a_schedule_is_judged_at_its_ticks_only() {
    let mut rule = run_failed();
    rule.schedule = Some(
        tardy::engine::schedule::Cron::parse("0 * * * *", tardy::engine::schedule::Dialect::Ours)
            .unwrap(),
    );
    let told = start()
        .rule(rule)
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("a", "a2", "07:20", "07:30 success")
        .play("09:00");
    check(
        &told.told_text(),
        "07:00:15 team first: + critical Failed: finance a: boom
         08:00 team all_resolved: - critical Recovered: finance a succeeded",
    );
}

#[test]
fn a_rule_with_a_schedule_is_judged_also_when_the_step_comes_late() {
    let mut rule = run_failed();
    rule.schedule = Some(
        tardy::engine::schedule::Cron::parse("0 * * * *", tardy::engine::schedule::Dialect::Ours)
            .unwrap(),
    );
    let late =
        start()
            .poll_every(span("7m"))
            .rule(rule)
            .run("a", "a1", "06:01", "06:05 failed: boom");
    let told = Timeline {
        is_woken: false,
        ..late
    }
    .play("07:20");
    check(&told.states_text(), "06:05 firing: Failed: finance a: boom");
}
