//! A person takes an alert on: what stops, what goes on, and what ends it.

use tardy::engine::acting::{Act, ActKind, Outcome as Done, Refusal};
use tardy::engine::labels::{Labels, Matcher};
use tardy::engine::notification::Reason;
use tardy::engine::silence::Until;
use tardy::engine::time::{Span, Timestamp};
use tardy::engine::{Engine, Input, Step};

use super::kinds::{run_failed, span, stale};
use super::timeline::{Outcome, Stored, Timeline, check, check_restarted, project_key};

const A: (&str, &str) = ("failed", "a");
const B: (&str, &str) = ("failed", "b");

/// A job fails at 06:05, and its reminders come every hour.
fn failing() -> Timeline {
    Timeline::new("2026-03-10T06:00:00Z")
        .policy(|policy| policy.route.repeat_interval = span("1h"))
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: boom")
}

fn refusals(played: &Outcome) -> Vec<&Refusal> {
    let acts = played.acts.iter().map(|acted| &acted.outcome);
    let refused = acts.filter_map(|outcome| match outcome {
        Done::Refused(refusal) => Some(refusal),
        Done::Done(_) => None,
    });
    refused.collect()
}

#[test]
fn an_acknowledgement_stops_reminders_and_is_told_quietly_and_at_once() {
    let played = check_restarted(
        &failing()
            .acknowledge("06:06", "ada", A, "3h")
            .run("a", "a2", "08:20", "08:30 success"),
        "12:00",
        "06:05:15 team first: + critical Failed: finance a: boom
         06:06 team acknowledged: = critical Failed: finance a: boom [ada]
         08:30 team all_resolved: - critical Recovered: finance a succeeded",
    );
    assert!(!played.told[1].reason.is_pinging());
    assert_eq!(played.told[1].reason, Reason::Acknowledged);
    check(
        &played.acts_text(),
        "06:06 ada: Acknowledged by ada until 09:06 UTC: Failed: finance a: boom",
    );
}

#[test]
fn an_acknowledgement_that_expires_is_a_reminder_when_one_is_overdue_and_a_note_when_not() {
    check_restarted(
        &failing().acknowledge("06:06", "ada", A, "2h30m"),
        "09:30",
        "06:05:15 team first: + critical Failed: finance a: boom
         06:06 team acknowledged: = critical Failed: finance a: boom [ada]
         08:36 team reminder: = critical Failed: finance a: boom",
    );
    check_restarted(
        &failing().acknowledge("06:06", "ada", A, "30m"),
        "07:30",
        "06:05:15 team first: + critical Failed: finance a: boom
         06:06 team acknowledged: = critical Failed: finance a: boom [ada]
         06:36 team acknowledged: = critical Failed: finance a: boom
         07:05:15 team reminder: = critical Failed: finance a: boom",
    );
}

#[test]
fn one_that_is_taken_back_is_told_and_reminders_go_on() {
    check_restarted(
        &failing()
            .acknowledge("06:06", "ada", A, "")
            .unacknowledge("06:20", "ada", A)
            .acknowledge("07:30", "ada", A, "")
            .unacknowledge("09:00", "bob", A),
        "09:30",
        "06:05:15 team first: + critical Failed: finance a: boom
         06:06 team acknowledged: = critical Failed: finance a: boom [ada]
         06:20 team acknowledged: = critical Failed: finance a: boom
         07:05:15 team reminder: = critical Failed: finance a: boom
         07:30 team acknowledged: = critical Failed: finance a: boom [ada]
         09:00 team reminder: = critical Failed: finance a: boom",
    );
}

#[test]
fn a_worse_severity_undoes_it_and_pings() {
    check_restarted(
        &Timeline::new("2026-03-10T06:00:00Z")
            .policy(|policy| policy.route.repeat_interval = span("1h"))
            .job("a", "")
            .rule(stale("90m", Some("10m")))
            .run("a", "a0", "06:00", "06:00 success")
            .acknowledge("06:20", "ada", ("stale", "a"), "8h"),
        "09:00",
        "06:10:15 team first: + warning Stale: finance a has not succeeded for 10 min
         06:20 team acknowledged: = warning Stale: finance a has not succeeded for 10 min [ada]
         07:30 team upgraded: = critical Stale: finance a has not succeeded for 1 h 30 min
         08:30 team reminder: = critical Stale: finance a has not succeeded for 1 h 30 min",
    );
}

#[test]
fn a_second_click_is_refused_another_person_takes_over_and_more_time_prolongs() {
    let played = check_restarted(
        &failing()
            .acknowledge("06:06", "ada", A, "1h")
            .acknowledge("06:06:02", "ada", A, "1h")
            .acknowledge("06:07", "bob", A, "30m")
            .acknowledge("06:08", "bob", A, "20m")
            .acknowledge("06:10", "bob", A, "2h"),
        "06:30",
        "06:05:15 team first: + critical Failed: finance a: boom
         06:06 team acknowledged: = critical Failed: finance a: boom [ada]
         06:07 team acknowledged: = critical Failed: finance a: boom [bob]
         06:10 team acknowledged: = critical Failed: finance a: boom [bob]",
    );
    let said: Vec<String> = refusals(&played).iter().map(ToString::to_string).collect();
    let id = &played.acts[0].target.as_ref().unwrap().id;
    assert_eq!(
        said,
        [
            format!("alert {id} is acknowledged already by ada, until 07:06 UTC"),
            format!("alert {id} is acknowledged already by bob, until 06:37 UTC"),
        ]
    );
}

#[test]
fn it_loses_the_race_against_the_end_and_what_comes_back_is_nobodys() {
    let timeline = failing()
        .run("a", "a2", "06:20", "06:30 success")
        .run("a", "a3", "06:30:10", "06:30:20 failed: boom")
        // The success is seen in the very step of the act.
        .acknowledge("06:06", "ada", A, "")
        .acknowledge("06:31:30", "ada", A, "0s");
    let played = timeline.play("06:40");
    let told = played.news_text();
    assert!(
        told.last().is_some_and(|line| !line.contains("[ada]")),
        "{told:#?}"
    );
    assert!(
        matches!(refusals(&played)[..], [Refusal::OutOfBounds { .. }]),
        "{:?}",
        played.acts_text()
    );
}

#[test]
fn only_what_fires_can_be_acknowledged_for_a_sensible_time() {
    let mut slow = run_failed();
    slow.hold = span("20m");
    let played = Timeline::new("2026-03-10T06:00:00Z")
        .rule(slow)
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .acknowledge("06:10", "ada", A, "")
        .acknowledge("06:26", "ada", A, "10s")
        .acknowledge("06:26", "ada", A, "8d")
        .unacknowledge("06:27", "ada", A)
        .acknowledge("06:28", "ada", ("failed", "nobody"), "")
        .play("06:30");
    let id = &played.acts[0].target.as_ref().unwrap().id;
    check(
        &played.acts_text()[..4],
        &format!(
            "06:10 ada refused: alert {id} is pending: nobody was told of it, and it may pass by itself; acknowledge it when it fires, or silence it now
             06:26 ada refused: an acknowledgement for 10 s is not possible: write a time from 1 min to 7 d, like 2h
             06:26 ada refused: an acknowledgement for 8 d is not possible: write a time from 1 min to 7 d, like 2h
             06:27 ada refused: alert {id} is not acknowledged: there is nothing to take back"
        ),
    );
    assert!(matches!(
        refusals(&played)[4],
        Refusal::NoSuchAlert { nearest, .. } if nearest[0].id == *id
    ));
}

#[test]
fn reminders_of_a_group_go_on_while_one_that_was_told_is_nobodys() {
    let grouped = failing()
        .policy(|policy| policy.route.group_by = vec!["project".into()])
        .run("b", "b1", "06:01", "06:05 failed: boom")
        .acknowledge("06:10", "ada", A, "8h");
    check_restarted(
        &grouped.clone().acknowledge("07:30", "bob", B, "30m"),
        "08:20",
        "06:05:15 team first: + critical Failed: finance b: boom
         06:05:15 team first: + critical Failed: finance a: boom
         06:10 team acknowledged: = critical Failed: finance b: boom
         06:10 team acknowledged: = critical Failed: finance a: boom [ada]
         07:05:15 team reminder: = critical Failed: finance b: boom
         07:05:15 team reminder: = critical Failed: finance a: boom [ada]
         07:30 team acknowledged: = critical Failed: finance b: boom [bob]
         07:30 team acknowledged: = critical Failed: finance a: boom [ada]
         08:00 team acknowledged: = critical Failed: finance b: boom
         08:00 team acknowledged: = critical Failed: finance a: boom [ada]
         08:05:15 team reminder: = critical Failed: finance b: boom
         08:05:15 team reminder: = critical Failed: finance a: boom [ada]",
    );
}

#[test]
fn an_acknowledgement_survives_restarts_and_rare_looks() {
    let timeline = failing().acknowledge("06:30", "ada", A, "3h");
    let until = timeline.at("11:00");
    let mut timeline = timeline;
    timeline.poll_every = Span::minutes(10);
    let played = timeline.play_with(until, &mut |_, _| super::timeline::Disturbance {
        is_restart: true,
        ..super::timeline::Disturbance::default()
    });
    assert_eq!(
        played
            .told
            .iter()
            .filter(|told| told.reason == Reason::Reminder)
            .count(),
        2
    );
}

/// What an act does to a store while no bot runs, and what the next start tells.
fn offline(what: impl FnOnce(&Engine) -> ActKind, is_told: bool) -> (Step, Vec<String>) {
    let timeline = Timeline::new("2026-03-10T06:00:00Z")
        .policy(|policy| policy.route.group_by = vec!["job".into()])
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("b", "b1", "06:01", "06:05:50 failed: boom");
    let mut stored = Stored::default();
    let mut engine = stored.engine(&timeline.policy, |_| {});
    let mut seen_until = Timestamp::MIN;
    let looks = ["06:00", "06:05", "06:05:15", "06:06"];
    for at in looks.into_iter().filter(|at| is_told || *at < "06:05:15") {
        let now = timeline.at(at);
        let rows = timeline.rows.iter();
        let rows = rows.filter(|(at, _)| seen_until < *at && *at <= now);
        let mut input = Input {
            observations: rows.map(|(_, row)| row.clone()).collect(),
            ..Input::default()
        };
        input.coverage.insert(project_key(), now);
        stored.absorb(&engine.step(input, now).changed);
        seen_until = now;
    }
    // Another alert, of job b, is due to be told by now.
    let now = timeline.at("06:10");
    let mut engine = stored.engine(&timeline.policy, |_| {});
    let input = Input {
        acts: vec![Act::new("ada", now, Some("looking"), what(&engine))],
        is_offline: true,
        ..Input::default()
    };
    let step = engine.step(input, now);
    stored.absorb(&step.changed);
    let mut engine = stored.engine(&timeline.policy, |_| {});
    let mut told = Vec::new();
    for at in ["06:12", "06:12:15", "06:12:45"] {
        let step = engine.step(Input::default(), timeline.at(at));
        told.extend(step.notifications.iter().map(|told| {
            let job = told.group.get("job");
            format!("{at} {} {} {job}", told.receiver, told.reason.as_str())
        }));
    }
    (step, told)
}

#[test]
fn an_act_while_no_bot_runs_stores_its_outcome_alone_and_the_next_start_tells_it() {
    let of_a = |engine: &Engine| {
        let mut alerts = engine.alerts();
        let alert = alerts.find(|alert| alert.labels.get("job") == "a").unwrap();
        alert.id()
    };
    let (step, told) = offline(
        |engine| ActKind::Acknowledge {
            alert: of_a(engine),
            for_millis: None,
        },
        true,
    );
    assert!(
        matches!(step.acts[0].outcome, Done::Done(_)),
        "{:?}",
        step.acts
    );
    assert!(step.notifications.is_empty() && step.transitions.is_empty());
    assert!(step.ledger.is_empty());
    let changed = &step.changed;
    let jobs = |labels: &Labels| labels.get("job").to_owned();
    let alerts = changed.alerts.values().flatten();
    let alerts: Vec<String> = alerts.map(|alert| jobs(&alert.labels)).collect();
    assert_eq!(alerts, ["a"]);
    let groups: Vec<String> = changed.groups.keys().map(|key| jobs(&key.labels)).collect();
    assert_eq!(groups, ["a"]);
    assert!(changed.since.is_empty() && changed.memories.is_empty());
    assert!(changed.silences.is_empty() && changed.digests.is_empty());
    assert_eq!(told, ["06:12 team acknowledged a", "06:12 team first b"]);
}

#[test]
fn a_silence_made_while_no_bot_runs_keeps_quiet_what_was_about_to_be_told() {
    let (step, told) = offline(
        |_| ActKind::Silence {
            matchers: vec![Matcher::parse("job = a").unwrap()],
            for_millis: Span::hours(2).num_milliseconds(),
            until: Until::Time,
        },
        false,
    );
    assert!(
        matches!(step.acts[0].outcome, Done::Done(_)),
        "{:?}",
        step.acts
    );
    assert!(step.notifications.is_empty());
    assert_eq!(step.changed.silences.len(), 1);
    assert!(step.changed.alerts.is_empty() && step.changed.groups.is_empty());
    assert_eq!(told, Vec::<String>::new());
}
