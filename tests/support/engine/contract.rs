//! The lines of the contract that the engine alone can show.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono_tz::Tz;
use proptest::prelude::*;
use tardy::engine::labels::Matcher;
use tardy::engine::notification::{Body, Reason};
use tardy::engine::observation::{Observation, Status};
use tardy::engine::policy::Policy;
use tardy::engine::route::{Inhibition, Route};
use tardy::engine::rule::{Clock, RuleKind};
use tardy::engine::time::{Span, Timestamp};

use super::kinds::{
    blind, deadline_with, missed, model_failed, run_failed, slower, span, stale, too_long,
};
use super::timeline::{Disturbance, Outcome, Timeline, check, for_jobs};

fn start() -> Timeline {
    Timeline::new("2026-03-10T06:00:00Z")
}

/// Announcements and endings of each alert at each receiver.
fn told_and_ended(outcome: &Outcome) -> BTreeMap<(String, String), (usize, usize)> {
    let mut counts: BTreeMap<(String, String), (usize, usize)> = BTreeMap::new();
    for told in &outcome.told {
        let Body::Alerts(alerts) = &told.body else {
            continue;
        };
        for alert in alerts {
            let count = counts
                .entry((told.receiver.to_string(), alert.id.clone()))
                .or_default();
            count.0 += usize::from(alert.is_new);
            count.1 += usize::from(alert.ended_at.is_some());
        }
    }
    counts
}

/// Every alert that was announced has exactly one ending, and no ending stands alone.
#[track_caller]
fn check_endings(outcome: &Outcome) {
    let counts = told_and_ended(outcome);
    assert!(!counts.is_empty());
    for (key, count) in counts {
        assert_eq!(
            count,
            (1, 1),
            "{key:?} in\n{}",
            outcome.told_text().join("\n")
        );
    }
}

fn page(policy: &mut Policy) {
    policy.route.children = vec![Route {
        path: "root/page".into(),
        matchers: vec![Matcher::parse("severity = critical").unwrap()],
        ..Route::root(vec!["pager".into(), "team".into()])
    }];
}

#[test]
fn contract_2_an_ending_reaches_whoever_was_told_whatever_the_routes_are_then() {
    let told = start()
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("a", "a2", "06:40", "06:50 success")
        .reload("06:20", |policy| {
            policy.route.receivers = vec!["others".into()];
        })
        .play("08:00");
    check(
        &told.told_text(),
        "06:05:15 team first: + critical Failed: finance a: boom
         06:20 others first: + critical Failed: finance a: boom
         06:50 others all_resolved: - critical Recovered: finance a succeeded
         06:50 team all_resolved: - critical Recovered: finance a succeeded",
    );
    check_endings(&told);
}

#[test]
fn contract_2_a_route_that_vanished_still_tells_the_end_and_nothing_else() {
    let told = start()
        .policy(page)
        .policy(|policy| policy.route.repeat_interval = span("1h"))
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("a", "a2", "06:11", "06:25 failed: no disk")
        .run("a", "a3", "08:40", "08:50 success")
        .reload("06:20", |policy| policy.route.children.clear())
        .play("10:00");
    check(
        &told.told_text(),
        "06:05:15 pager first: + critical Failed: finance a: boom
         06:05:15 team first: + critical Failed: finance a: boom
         06:20:15 team first: + critical Failed: finance a: boom
         06:25 team changed: = critical Failed: finance a: no disk (2 in a row since 06:05 UTC)
         07:20:15 team reminder: = critical Failed: finance a: no disk (2 in a row since 06:05 UTC)
         08:20:15 team reminder: = critical Failed: finance a: no disk (2 in a row since 06:05 UTC)
         08:50 team all_resolved: - critical Recovered: finance a succeeded
         08:50 pager all_resolved: - critical Recovered: finance a succeeded
         08:50 team all_resolved: - critical Recovered: finance a succeeded",
    );
}

#[test]
fn contract_2_a_removed_rule_ends_what_was_told_and_announces_nothing() {
    let mut own = for_jobs(run_failed(), "b");
    own.name = "own".into();
    own.receivers = Some(vec!["b-team".into()]);
    let told = start()
        .rule(for_jobs(run_failed(), "a"))
        .rule(own)
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("b", "b1", "06:01", "06:05 failed: boom")
        .run("a2", "a2", "06:01", "06:20 failed: boom")
        .reload("06:20", |policy| policy.rules.clear())
        .play("08:00");
    check(
        &told.told_text(),
        "06:05:15 team first: + critical Failed: finance a: boom
         06:05:15 b-team first: + critical Failed: finance b: boom
         06:20 team rule_removed: - critical Closed: rule failed was removed or does not apply any more
         06:20 b-team rule_removed: - critical Closed: rule own was removed or does not apply any more",
    );
    check_endings(&told);
}

#[test]
fn contract_2_a_rule_removed_before_its_alert_was_told_leaves_no_word() {
    let told = start()
        .policy(|policy| policy.route.group_wait = span("10m"))
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .reload("06:10", |policy| policy.rules.clear())
        .play("08:00");
    check(&told.told_text(), "");
}

#[test]
fn contract_2_a_rule_removed_while_tardy_was_down_is_closed_at_the_start() {
    let timeline = start()
        .rule(run_failed())
        .run("a", "a1", "06:01", "06:05 failed: boom");
    let timeline = timeline.reload("06:20", |policy| policy.rules.clear());
    let told = timeline.play_with(timeline.at("08:00"), &mut |_, _| Disturbance {
        is_restart: true,
        ..Disturbance::default()
    });
    check(
        &told.told_text(),
        "06:05:15 team first: + critical Failed: finance a: boom
         06:20 team rule_removed: - critical Closed: rule failed was removed or does not apply any more",
    );
}

#[test]
fn contract_4_a_blind_source_changes_nothing_and_is_said_once() {
    let timeline = start()
        .job("nightly", "0 6 * * *")
        .rule(run_failed())
        .rule(missed(Some("5m")))
        .rule(stale("30m", None))
        .rule(too_long(Clock::Run, "20m"))
        .rule(deadline_with("07:00", Tz::UTC, |_| {}))
        .rule(blind("5m"))
        .run("nightly", "n1", "06:00", "06:10 success")
        .run("nightly", "n2", "06:14", "06:18 failed: boom")
        .run("nightly", "n3", "06:19", "08:30 success")
        .outage("06:20", "12:00");
    let told = timeline.play("11:59");
    check(
        &told.told_text(),
        "06:18:15 team first: + critical Failed: finance nightly: boom
         06:25:15 team first: + critical Blind: source prod cannot be read since 06:20 UTC",
    );
    let told = timeline.play("12:10");
    check(
        &told.told_text(),
        "06:18:15 team first: + critical Failed: finance nightly: boom
         06:25:15 team first: + critical Blind: source prod cannot be read since 06:20 UTC
         12:00 team all_resolved: - critical Seeing again: source prod was read at 12:00 UTC
         12:00 team new_alerts: + critical Stale: finance nightly has not succeeded for 30 min
         12:00 team new_alerts: - critical Recovered: finance nightly succeeded
         12:00 team new_alerts: +- critical Over: finance nightly finished after 2 h 11 min",
    );
}

#[test]
fn contract_4_waiting_for_runs_out_while_blind_changes_nothing() {
    let mut patient = run_failed();
    patient.hold = span("10m");
    let told = start()
        .rule(patient)
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("a", "a2", "06:11", "06:12 success")
        .outage("06:06", "07:00")
        .play("08:00");
    check(&told.told_text(), "");
    check(
        &told.states_text(),
        "06:05 pending: Failed: finance a: boom
         06:12 inactive: Recovered: finance a succeeded",
    );
}

#[test]
fn contract_4_blindness_is_over_at_the_first_good_poll_after_a_restart() {
    let timeline = start().rule(blind("5m")).outage("06:10", "06:40");
    let told = timeline.play_with(timeline.at("07:00"), &mut |step, _| Disturbance {
        is_restart: step > 60,
        ..Disturbance::default()
    });
    check(
        &told.told_text(),
        "06:15:15 team first: + critical Blind: source prod cannot be read since 06:10 UTC
         06:40 team all_resolved: - critical Seeing again: source prod was read at 06:40 UTC",
    );
}

#[test]
fn contract_4_a_receiver_that_cannot_be_reached_is_told_on_the_others_across_restarts() {
    let mut timeline = start()
        .policy(|policy| policy.route.receivers = vec!["team".into(), "mail".into()])
        .rule(blind("5m"));
    timeline.receiver_outages = vec![("mail".into(), timeline.at("06:10"), timeline.at("06:40"))];
    for is_restart in [false, true] {
        let told = timeline.play_with(timeline.at("07:00"), &mut |step, _| Disturbance {
            is_restart: is_restart && (step == 37 || step > 60),
            ..Disturbance::default()
        });
        check(
            &told.told_text(),
            "06:15:15 team first: + critical Blind: receiver mail cannot be reached since 06:10 UTC
             06:40 team all_resolved: - critical Delivering again: receiver mail works",
        );
    }
}

#[test]
fn contract_7_a_changed_threshold_keeps_the_alert() {
    let change = |policy: &mut Policy| {
        let RuleKind::RunDuration(kind) = &mut policy.rules[0].kind else {
            panic!()
        };
        kind.max = Some(tardy::engine::rule::Limit::Fixed(span("25m")));
        policy.rules.push(for_jobs(run_failed(), "other"));
    };
    let told = start()
        .rule(too_long(Clock::Run, "20m"))
        .run("a", "a1", "06:10", "07:00 success")
        .reload("06:40", change)
        .play("08:00");
    check(
        &told.told_text(),
        "06:30:15 team first: + critical Too long: finance a still running, over its limit of 20 min
         07:00 team all_resolved: - critical Over: finance a finished after 50 min",
    );
}

#[test]
fn contract_7_unchanged_rules_keep_their_state_over_many_reloads() {
    let mut timeline = everything();
    let plain = timeline.play("03-11 12:00");
    for minute in (3..700).step_by(7) {
        let at = (timeline.from + Span::minutes(minute)).to_string();
        timeline = timeline.reload(&at, |_| {});
    }
    let reloaded = timeline.play("03-11 12:00");
    check(&reloaded.told_text(), &plain.told_text().join("\n"));
    assert_eq!(reloaded.ledger_text(), plain.ledger_text());
    assert_eq!(reloaded.transitions.len(), plain.transitions.len());
}

#[test]
fn contract_7_a_renamed_project_is_selected_by_its_new_name() {
    let mut rule = run_failed();
    rule.selectors.project = tardy::engine::labels::Patterns::new(["finance"]);
    let timeline = start();
    let renamed_at = timeline.at("06:20");
    let told = timeline
        .project(renamed_at, |project| project.name = "growth".into())
        .rule(rule)
        .run("a", "a1", "06:01", "06:05 failed: boom")
        .run("b", "b1", "06:21", "06:25 failed: boom")
        .play("08:00");
    check(
        &told.told_text(),
        "06:05:15 team first: + critical Failed: finance a: boom
         06:20 team rule_removed: - critical Closed: rule failed was removed or does not apply any more",
    );
}

/// One project in which everything happens: every built kind, two routes, an inhibition, a mute.
fn everything() -> Timeline {
    let warned = deadline_with("08:00", Tz::America__New_York, |kind| {
        kind.warn_before = Some(span("20m"));
        kind.at_risk = Some(0.8);
        kind.grace = span("3m");
    });
    let mut patient = for_jobs(run_failed(), "orders");
    patient.name = "patient".into();
    patient.hold = span("4m");
    patient.keep_firing_for = span("6m");
    let mut models = model_failed();
    models.receivers = Some(vec!["models".into()]);
    let mut timeline = start()
        .policy(page)
        .policy(|policy| {
            policy.inhibitions.push(Inhibition {
                source: vec![Matcher::parse("rule = failed").unwrap()],
                target: vec![Matcher::parse("rule = stale").unwrap()],
                equal: vec!["project".into(), "job".into()],
            });
            policy.route.repeat_interval = span("5h");
        })
        .past("orders", span("1h"), 12, span("10m"))
        .jobs_at(
            "2025-11-01T00:00:00Z",
            &[
                ("orders", "0 * * * *", true),
                ("nightly", "0 11 * * *", true),
            ],
        )
        .jobs_at(
            "20:10",
            &[
                ("orders", "0 * * * *", false),
                ("nightly", "0 11 * * *", true),
            ],
        )
        .jobs_at(
            "22:10",
            &[
                ("orders", "30 * * * *", true),
                ("nightly", "0 11 * * *", true),
            ],
        )
        .rule(run_failed())
        .rule(patient)
        .rule(models)
        .rule(missed(Some("5m")))
        .rule(stale("150m", Some("100m")))
        .rule(too_long(Clock::Total, "25m"))
        .rule(slower(Some((2, 3))))
        .rule(for_jobs(warned, "nightly"))
        .rule(blind("5m"))
        .outage("15:02", "15:20");
    for (hour, end) in [
        ("06", "06:11 success"),
        ("07", "07:09 failed: no disk"),
        ("08", "08:09 failed: no column x"),
        ("09", "09:10 success"),
        ("10", "10:40 success"),
        ("11", "11:41 success"),
        ("12", "12:42 partial"),
        ("13", "13:10 success"),
        ("14", "14:10 success"),
        ("15", "15:10 failed: no disk"),
        ("16", "16:10 success"),
        ("19", "19:10 success"),
    ] {
        timeline = timeline.run("orders", &format!("o{hour}"), &format!("{hour}:00"), end);
    }
    for day in 1..10 {
        let at = timeline.at("11:00") - Span::days(day);
        let end = Some((at + span("30m"), Status::Success, String::new()));
        timeline = timeline.run_at("nightly", &format!("n-{day}"), at, Some(at), end);
    }
    timeline
        .execution("o07", "stg.x", "07:01", "07:08 failed: no disk 17")
        .execution("o07", "mart.y", "07:08", "07:08 skipped")
        .execution("o09", "stg.x", "09:01", "09:08 success")
        .execution("o12", "stg.x", "12:01", "12:08 failed: no disk 17")
        .execution("o13", "stg.x", "13:01", "13:08 success")
        .run("orders", "o23", "23:30", "23:40 success")
        .run("nightly", "n1", "11:00", "12:09 success")
        .run("nightly", "n2", "03-11 11:00", "03-11 11:31 success")
}

#[test]
fn everything_that_was_told_has_its_ending() {
    let outcome = everything().play("03-12 12:00");
    let counts = told_and_ended(&outcome);
    let open = counts.values().filter(|count| **count != (1, 1)).count();
    assert!(
        counts.len() > 15 && open <= 8,
        "{}",
        outcome.told_text().join("\n")
    );
    for (key, (told, ended)) in counts {
        assert!(
            told == 1 && ended <= 1,
            "{key:?} told {told} times, ended {ended} times in\n{}",
            outcome.told_text().join("\n")
        );
    }
}

#[test]
fn every_promise_has_one_final_row() {
    let outcome = everything().play("03-12 12:00");
    let finals = outcome.final_ledger();
    let corrections = outcome
        .ledger
        .iter()
        .filter(|row| row.corrected_from.is_some())
        .count();
    assert_eq!(
        outcome.ledger.len(),
        finals.len() + corrections,
        "a promise was recorded twice"
    );
}

fn permutation(seed: u64) -> impl FnOnce(&mut Vec<Observation>) {
    move |rows: &mut Vec<Observation>| {
        // Repeats every third row and reorders all, by a small generator of its own.
        let mut state = seed | 1;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        // Projects and jobs are lists of what is now: their order in time is kept.
        let is_row =
            |row: &Observation| !matches!(row, Observation::Project(_) | Observation::Jobs(..));
        let repeated: Vec<Observation> = rows
            .iter()
            .filter(|row| is_row(row))
            .filter(|_| next() % 3 == 0)
            .cloned()
            .collect();
        rows.extend(repeated);
        let (mut shuffled, lists): (Vec<Observation>, Vec<Observation>) =
            std::mem::take(rows).into_iter().partition(is_row);
        for index in (1..shuffled.len()).rev() {
            let other = usize::try_from(next() % (index as u64 + 1)).unwrap();
            shuffled.swap(index, other);
        }
        rows.extend(lists);
        rows.extend(shuffled);
    }
}

/// What people see of an outcome, and what is kept.
fn summary(outcome: &Outcome) -> (Vec<String>, Vec<String>, Vec<String>, Vec<String>) {
    let ids = outcome
        .told
        .iter()
        .map(tardy::engine::notification::Notification::delivery_id);
    (
        outcome.told_text(),
        outcome.states_text(),
        outcome.ledger_text(),
        ids.collect(),
    )
}

/// The first line that differs, with one line before it.
fn difference(plain: &[String], disturbed: &[String]) -> Option<String> {
    let count = plain.len().max(disturbed.len());
    let first = (0..count).find(|index| plain.get(*index) != disturbed.get(*index))?;
    let before = first.checked_sub(1).map(|index| &plain[index]);
    Some(format!(
        "after {before:?}: {:?} became {:?}",
        plain.get(first),
        disturbed.get(first)
    ))
}

/// What `everything` comes to when nothing goes wrong.
static PLAIN: LazyLock<(Timeline, Timestamp, Outcome)> = LazyLock::new(|| {
    let timeline = everything().poll_every(span("2m"));
    let until = timeline.at("03-11 14:00");
    let plain = timeline.play_with(until, &mut |_, _| Disturbance::default());
    (timeline, until, plain)
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Killed at random steps, pages repeated and in any order: the same is told, recorded and kept. How
    /// long Tardy has been blind is not kept, on purpose: kills while it is blind are another test.
    #[test]
    fn contract_8_restarts_repeats_and_reordering_change_nothing(
        seed in any::<u64>(),
        kills in prop::collection::btree_set(0_usize..2_000, 0..40),
        kills_all in prop::bool::weighted(0.1),
    ) {
        let (timeline, until, plain) = &*PLAIN;
        let blind = (timeline.at("15:02"), timeline.at("15:21"));
        let disturbed = timeline.play_with(*until, &mut |step, now| Disturbance {
            is_restart: (kills_all || kills.contains(&step)) && (now < blind.0 || now > blind.1),
            rows: Box::new(permutation(seed.wrapping_add(step as u64))),
            replay: Box::new(permutation(seed.wrapping_mul(step as u64 | 1))),
        });
        let (plain, disturbed) = (summary(plain), summary(&disturbed));
        prop_assert_eq!(difference(&plain.0, &disturbed.0), None, "told");
        prop_assert_eq!(difference(&plain.1, &disturbed.1), None, "states");
        prop_assert_eq!(difference(&plain.2, &disturbed.2), None, "ledger");
        prop_assert_eq!(plain.3, disturbed.3);
    }
}

#[test]
fn contract_8_a_late_row_is_judged_and_counted_once() {
    // Two runs over their limit; the row of the first comes a minute after that of the second.
    let timeline = start().rule(too_long(Clock::Run, "5m"));
    let mut late = timeline.run("a", "a1", "06:10", "06:16 success").run(
        "a",
        "a2",
        "06:10",
        "06:16:30 success",
    );
    for (at, row) in &mut late.rows {
        if matches!(row, Observation::Run(_, run) if &*run.id == "a1" && run.status == Status::Success)
        {
            *at = *at + span("90s");
        }
    }
    let told = late.play("07:00");
    check(
        &told.ledger_text(),
        "too-long a 06:15 late by 60 s
         too-long a 06:15 late by 90 s",
    );
    assert_eq!(told.ledger.len(), 4, "each was missed until its end");
    check_endings(&told);
}

#[test]
fn contract_8_nothing_is_judged_when_nothing_is_new() {
    let mut timeline = start()
        .rule(run_failed())
        .rule(slower(None))
        .rule(too_long(Clock::Run, "1h"));
    timeline.overlap = Span::hours(300);
    for job in 0..50 {
        let job = format!("job-{job}");
        timeline = timeline.run(&job, &job, "06:00", "06:03 success");
    }
    let told = timeline
        .run("job-7", "new", "06:20", "06:25 success")
        .play("07:00");
    let at = |text: &str| Timestamp::parse(&format!("2026-03-10T{text}Z")).unwrap();
    let busy: Vec<(Timestamp, usize)> = told
        .judged
        .iter()
        .copied()
        .filter(|(now, judged)| *now > at("06:05:00") && *judged > 0)
        .collect();
    assert_eq!(
        busy,
        [(at("06:20:00"), 3), (at("06:25:00"), 3)],
        "only the three rules of job-7"
    );
}

#[test]
fn memory_does_not_grow_with_incidents() {
    // Few enough a day not to flap.
    let mut timeline = start().poll_every(span("5m")).rule(run_failed());
    for index in 0..48 {
        let from = timeline.from + span("5h") * index;
        let status = if index % 2 == 0 {
            Status::Failed
        } else {
            Status::Success
        };
        let end = (from + span("5m"), status, String::new());
        timeline = timeline.run_at("a", &format!("r{index}"), from, Some(from), Some(end));
    }
    let told = timeline.play("03-21 07:00");
    assert_eq!(told.transitions.len(), 48);
    assert_eq!(
        told.told
            .iter()
            .filter(|told| told.reason == Reason::AllResolved)
            .count(),
        24
    );
    assert_eq!(told.kept, (0, 0), "ended alerts and groups are forgotten");
}
