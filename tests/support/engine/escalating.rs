//! Who is told when nobody acknowledges.

use tardy::engine::acting::{Act, ActKind};
use tardy::engine::labels::Matcher;
use tardy::engine::notification::Notification;
use tardy::engine::observation::Observation;
use tardy::engine::policy::Policy;
use tardy::engine::route::EscalationStep;
use tardy::engine::silence::Until;
use tardy::engine::time::{Span, Timestamp};
use tardy::engine::{Engine, Input};

use super::kinds::{run_failed, span};
use super::timeline::{Disturbance, Stored, Timeline, check, check_restarted, project_key};

const A: (&str, &str) = ("failed", "a");

fn steps(list: &[(&str, &[&str])]) -> Vec<EscalationStep> {
    let step = |(after, receivers): &(&str, &[&str])| EscalationStep {
        after: span(after),
        receivers: receivers.iter().map(|name| (*name).into()).collect(),
    };
    list.iter().map(step).collect()
}

fn escalate(policy: &mut Policy) {
    policy.route.escalate = steps(&[("30m", &["leads"]), ("2h", &["boss"])]);
}

fn failing() -> Timeline {
    Timeline::new("2026-03-10T06:00:00Z")
        .policy(escalate)
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: boom")
}

#[test]
fn steps_run_once_and_whoever_was_told_hears_the_end() {
    check_restarted(
        &failing().run("a", "a2", "10:00", "10:10 success"),
        "12:00",
        "06:05:15 team first: + critical Failed: finance a: boom
         06:35:15 leads escalated: + critical Failed: finance a: boom
         06:35:15 team escalated: = critical Failed: finance a: boom
         08:05:15 boss escalated: + critical Failed: finance a: boom
         08:05:15 leads escalated: = critical Failed: finance a: boom
         08:05:15 team escalated: = critical Failed: finance a: boom
         10:10 boss all_resolved: - critical Recovered: finance a succeeded
         10:10 leads all_resolved: - critical Recovered: finance a succeeded
         10:10 team all_resolved: - critical Recovered: finance a succeeded",
    );
}

#[test]
fn an_acknowledgement_holds_it_back_and_the_clock_starts_anew() {
    check_restarted(
        &failing()
            .acknowledge("06:20", "ada", A, "1h")
            .run("a", "a2", "08:00", "08:10 success"),
        "12:00",
        "06:05:15 team first: + critical Failed: finance a: boom
         06:20 team acknowledged: = critical Failed: finance a: boom [ada]
         07:20 team acknowledged: = critical Failed: finance a: boom
         07:50 leads escalated: + critical Failed: finance a: boom
         07:50 team escalated: = critical Failed: finance a: boom
         08:10 leads all_resolved: - critical Recovered: finance a succeeded
         08:10 team all_resolved: - critical Recovered: finance a succeeded",
    );
}

#[test]
fn a_silence_holds_it_back_too() {
    check_restarted(
        &failing()
            .silence("06:20", "1h", Until::Time, &["job = a"])
            .run("a", "a2", "08:00", "08:10 success"),
        "12:00",
        "06:05:15 team first: + critical Failed: finance a: boom
         06:20 team silenced: = critical Failed: finance a: boom [silenced]
         NOTICE
         07:20:15 team silenced: = critical Failed: finance a: boom
         07:50 leads escalated: + critical Failed: finance a: boom
         07:50 team escalated: = critical Failed: finance a: boom
         08:10 leads all_resolved: - critical Recovered: finance a succeeded
         08:10 team all_resolved: - critical Recovered: finance a succeeded",
    );
}

#[test]
fn whoever_was_told_hears_all_that_follows() {
    check_restarted(
        &failing()
            .policy(|policy| {
                policy.route.group_by = vec!["project".into()];
                policy.route.repeat_interval = span("1h");
            })
            .run("b", "b1", "06:50", "07:00 failed: boom")
            .run("b", "b2", "07:30", "07:40 success")
            .run("a", "a2", "08:40", "08:50 success"),
        "12:00",
        "06:05:15 team first: + critical Failed: finance a: boom
         06:35:15 leads escalated: + critical Failed: finance a: boom
         06:35:15 team escalated: = critical Failed: finance a: boom
         07:00 leads new_alerts: = critical Failed: finance a: boom
         07:00 leads new_alerts: + critical Failed: finance b: boom
         07:00 team new_alerts: = critical Failed: finance a: boom
         07:00 team new_alerts: + critical Failed: finance b: boom
         07:40 leads some_resolved: = critical Failed: finance a: boom
         07:40 leads some_resolved: - critical Recovered: finance b succeeded
         07:40 team some_resolved: = critical Failed: finance a: boom
         07:40 team some_resolved: - critical Recovered: finance b succeeded
         08:00 leads reminder: = critical Failed: finance a: boom
         08:00 team reminder: = critical Failed: finance a: boom
         08:05:15 boss escalated: + critical Failed: finance a: boom
         08:05:15 leads escalated: = critical Failed: finance a: boom
         08:05:15 team escalated: = critical Failed: finance a: boom
         08:50 boss all_resolved: - critical Recovered: finance a succeeded
         08:50 leads all_resolved: - critical Recovered: finance a succeeded
         08:50 team all_resolved: - critical Recovered: finance a succeeded",
    );
}

#[test]
fn an_end_before_the_step_and_another_incident_begin_anew() {
    check_restarted(
        &failing().run("a", "a2", "06:20", "06:30 success").run(
            "a",
            "a3",
            "06:40",
            "06:45 failed: boom",
        ),
        "07:20",
        "06:05:15 team first: + critical Failed: finance a: boom
         06:30 team all_resolved: - critical Recovered: finance a succeeded
         06:45:15 team first: + critical Failed: finance a: boom
         07:15:15 leads escalated: + critical Failed: finance a: boom
         07:15:15 team escalated: = critical Failed: finance a: boom",
    );
}

#[test]
fn a_reload_that_removes_steps_leaves_the_endings() {
    check_restarted(
        &failing()
            .reload("07:00", |policy| policy.route.escalate.clear())
            .acknowledge("07:10", "ada", A, "30m")
            .silence("08:00", "1h", Until::Time, &["job = a"])
            .run("a", "a2", "10:00", "10:10 success"),
        "12:00",
        "06:05:15 team first: + critical Failed: finance a: boom
         06:35:15 leads escalated: + critical Failed: finance a: boom
         06:35:15 team escalated: = critical Failed: finance a: boom
         07:10 team acknowledged: = critical Failed: finance a: boom [ada]
         07:40 team acknowledged: = critical Failed: finance a: boom
         08:00 team silenced: = critical Failed: finance a: boom [silenced]
         NOTICE
         09:00:15 team silenced: = critical Failed: finance a: boom
         10:10 leads all_resolved: - critical Recovered: finance a succeeded
         10:10 team all_resolved: - critical Recovered: finance a succeeded",
    );
}

#[test]
fn a_reload_that_adds_steps_takes_those_that_are_due_as_one() {
    check_restarted(
        &Timeline::new("2026-03-10T06:00:00Z")
            .rule(run_failed())
            .run("a", "a1", "06:01", "06:05 failed: boom")
            .reload("09:00", escalate)
            .run("a", "a2", "10:00", "10:10 success"),
        "12:00",
        "06:05:15 team first: + critical Failed: finance a: boom
         09:00 boss escalated: + critical Failed: finance a: boom
         09:00 leads escalated: + critical Failed: finance a: boom
         09:00 team escalated: = critical Failed: finance a: boom
         10:10 boss all_resolved: - critical Recovered: finance a succeeded
         10:10 leads all_resolved: - critical Recovered: finance a succeeded
         10:10 team all_resolved: - critical Recovered: finance a succeeded",
    );
}

#[test]
fn rules_with_receivers_of_their_own_escalate_as_the_root_does() {
    let mut own = run_failed();
    own.receivers = Some(vec!["b-team".into()]);
    check_restarted(
        &Timeline::new("2026-03-10T06:00:00Z")
            .policy(escalate)
            .rule(own)
            .run("a", "a1", "06:01", "06:05 failed: boom"),
        "07:00",
        "06:05:15 b-team first: + critical Failed: finance a: boom
         06:35:15 b-team escalated: = critical Failed: finance a: boom
         06:35:15 leads escalated: + critical Failed: finance a: boom",
    );
}

#[test]
fn a_step_that_came_due_while_tardy_was_down_is_taken_once_at_the_start() {
    // Nothing looks but once in three hours.
    let mut slow = failing();
    slow.is_woken = false;
    slow.poll_every = span("3h");
    let played = slow.play_with(slow.at("21:00"), &mut |_, _| Disturbance {
        is_restart: true,
        ..Disturbance::default()
    });
    check(
        &played.news_text(),
        "12:00 team first: + critical Failed: finance a: boom
         15:00 boss escalated: + critical Failed: finance a: boom
         15:00 leads escalated: + critical Failed: finance a: boom
         15:00 team escalated: = critical Failed: finance a: boom",
    );
}

/// When somebody does something, and what.
type Deed = (&'static str, fn(&Engine) -> ActKind);

/// An engine that stops at 06:10 and starts again at 10:00, when what became of the failure in between is read
/// a little later; somebody did something before it stopped.
fn stopped(timeline: Timeline, is_over: bool, deed: Option<Deed>) -> Vec<String> {
    let timeline = timeline.run("a", "a2", "09:50", "09:55 success");
    let mut stored = Stored::default();
    let mut engine = stored.engine(&timeline.policy, |_| {});
    let mut told = Vec::new();
    let mut seen_until = Timestamp::MIN;
    let mut look = |engine: &mut Engine, at: &str, is_read: bool| {
        let now = timeline.at(at);
        let mut input = Input::default();
        if let Some((_, what)) = deed.filter(|(when, _)| *when == at) {
            let act = Act::new("ada", now, Some("maintenance"), what(engine));
            input.acts.push(act);
        }
        if is_read {
            let rows = timeline.rows.iter();
            let rows = rows.filter(|(at, _)| seen_until < *at && *at <= now);
            let is_over = |row: &Observation| match row {
                Observation::Run(_, run) => is_over || &*run.id != "a2",
                _ => true,
            };
            let rows = rows.map(|(_, row)| row.clone()).filter(is_over);
            input.observations = rows.collect();
            input.coverage.insert(project_key(), now);
            seen_until = now;
        }
        let step = engine.step(input, now);
        stored.absorb(&step.changed);
        told.extend(step.notifications);
        (stored.engine(&timeline.policy, |_| {}), step.wake_at)
    };
    for at in ["06:00", "06:02", "06:05", "06:05:15", "06:06"] {
        look(&mut engine, at, true);
    }
    let (mut engine, _) = look(&mut engine, "06:10", true);
    let (_, wake_at) = look(&mut engine, "10:00", false);
    let in_time = timeline.at("10:00:30");
    assert!(
        wake_at.is_some_and(|at| at <= in_time),
        "it looks again soon"
    );
    for at in ["10:00:15", "10:00:20"] {
        look(&mut engine, at, false);
    }
    look(&mut engine, "10:00:25", true);
    for at in ["10:00:30", "10:00:45", "10:01"] {
        look(&mut engine, at, false);
    }
    let line = |told: &Notification| format!("{} {}", told.receiver, told.reason.as_str());
    told.iter().map(line).collect()
}

#[test]
fn after_a_stop_nobody_is_woken_before_it_is_known_what_became_of_it() {
    let first = ["team first", "team all_resolved"];
    assert_eq!(stopped(failing(), true, None), first);
    assert_eq!(
        stopped(failing(), false, None),
        [
            "team first",
            "boss escalated",
            "leads escalated",
            "team escalated"
        ]
    );
}

#[test]
fn what_a_silence_that_ended_during_a_stop_kept_quiet_is_told_when_it_is_known_to_go_on() {
    let silence: Deed = ("06:02", |_| ActKind::Silence {
        matchers: vec![Matcher::parse("job = a").unwrap()],
        for_millis: Span::hours(3).num_milliseconds(),
        until: Until::Time,
    });
    let none: [&str; 0] = [];
    assert_eq!(stopped(failing(), true, Some(silence)), none);
    assert_eq!(stopped(failing(), false, Some(silence)), ["team first"]);
}
