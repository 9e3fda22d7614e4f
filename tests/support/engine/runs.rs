//! Kinds about runs and durations: seasons, factors of the baseline, `times`, retries.

use tardy::engine::rule::queue_time::QueueTime;
use tardy::engine::rule::{Clock, Limit, Rule, RuleKind, Statistic, Times};
use tardy::engine::time::{Span, Timestamp};

use super::kinds::{model_failed, run_failed, slower, span, too_long};
use super::timeline::{Disturbance, Timeline, check, rule};

/// Ten weeks of a nightly job: 10 minutes on weekdays and Saturdays, an hour on Sundays, each with a
/// little noise. Then the nights from Saturday, 7 March 2026 on, each with its minutes.
fn nights(minutes: &[i64]) -> Timeline {
    let mut timeline = Timeline::new("2026-03-07T03:00:00Z").job("nightly", "0 4 * * *");
    let first = timeline.from - Span::days(70) + Span::hours(1);
    let past = (0..70).map(|day| {
        let is_sunday = (day + 6) % 7 == 0;
        let noise = [0, 20, -15, 35, -30][usize::try_from(day % 5).unwrap()];
        let minutes = if is_sunday { 60 } else { 10 };
        (day, Span::minutes(minutes) + Span::seconds(noise))
    });
    let now = (70..).zip(minutes.iter().map(|minutes| Span::minutes(*minutes)));
    for (day, took) in past.chain(now).collect::<Vec<_>>() {
        let from = first + Span::days(day);
        timeline = night(timeline, day, from, took);
    }
    timeline
}

fn night(timeline: Timeline, day: i64, from: Timestamp, took: Span) -> Timeline {
    let end = (
        from + took,
        tardy::engine::observation::Status::Success,
        String::new(),
    );
    timeline.run_at("nightly", &format!("n{day}"), from, Some(from), Some(end))
}

#[test]
fn a_job_that_is_long_on_sundays_is_quiet_on_sundays() {
    let told = nights(&[10, 60, 10, 10, 10, 10, 10, 10, 61, 10])
        .rule(slower(None))
        .play("03-17 03:00");
    check(&told.told_text(), "");
}

#[test]
fn a_sunday_that_is_slow_for_a_sunday_is_told_and_mondays_end_it() {
    let told = nights(&[10, 120, 10, 10])
        .rule(slower(None))
        .play("03-10 12:00");
    check(
        &told.told_text(),
        "03-08 06:00:15 team first: + critical Slower: finance nightly took 2 h, usual 1 (+100 %, since run at 04:00 UTC; last 10 Sundays 04:00: 59 min to 1 h)
         03-08 18:00:15 team reminder: = critical Slower: finance nightly took 2 h, usual 1 (+100 %, since run at 04:00 UTC; last 10 Sundays 04:00: 59 min to 1 h)
         03-09 04:10 team all_resolved: - critical Back to usual: finance nightly took 10 min, usual 10",
    );
    let usual = &told.told[0].body;
    let text = format!("{usual:?}");
    assert!(text.contains("last 10 Sundays 04:00"), "{text}");
}

#[test]
fn a_weekday_as_long_as_a_sunday_is_told_and_a_usual_sunday_does_not_prolong_it() {
    let told = nights(&[60, 60, 60, 10])
        .rule(slower(None))
        .play("03-10 12:00");
    let text = told.told_text();
    let news: Vec<&String> = text
        .iter()
        .filter(|line| !line.contains(" reminder: "))
        .collect();
    for (line, start) in news.iter().zip([
        "05:00:15 team first: + critical Slower: finance nightly took 1 h, usual 10 min",
        "03-08 05:00 team all_resolved: - critical Back to usual: finance nightly took 1 h, usual 1",
        "03-09 05:00:15 team first: + critical Slower: finance nightly took 1 h, usual 10 min",
        "03-10 04:10 team all_resolved: - critical Back to usual: finance nightly took 10 min",
    ]) {
        assert!(line.starts_with(start), "{line}");
    }
    assert_eq!(news.len(), 4, "{text:?}");
}

fn factor(factor: f64) -> Rule {
    let mut rule = too_long(Clock::Run, "1h");
    if let RuleKind::RunDuration(kind) = &mut rule.kind {
        kind.max = Some(Limit::Factor {
            factor,
            of: Statistic::Median,
        });
    }
    rule
}

#[test]
fn a_limit_may_be_a_factor_of_what_was_usual_before() {
    let few = |count| {
        Timeline::new("2026-03-10T03:00:00Z")
            .job("orders", "0 * * * *")
            .past("orders", span("1h"), count, span("10m"))
            .run("orders", "r1", "04:00", "04:30 success")
    };
    let told = few(8).rule(factor(2.0)).play("05:30");
    check(
        &told.told_text(),
        "04:20:15 team first: + critical Too long: finance orders still running, over its limit of 20 min = 2 x median of the last 8 runs, usual 10 min
         04:30 team all_resolved: - critical Over: finance orders finished after 30 min",
    );
    let last = told.ledger_text().pop();
    assert_eq!(last.as_deref(), Some("too-long orders 04:20 late by 600 s"));
    let told = few(7).rule(factor(2.0)).play("05:30");
    check(&told.told_text(), "");
    check(&told.ledger_text(), "");
}

fn hours(words: &str) -> Timeline {
    let mut timeline = Timeline::new("2026-03-10T00:30:00Z").job("orders", "0 * * * *");
    for (hour, word) in (1..).zip(words.chars()) {
        let end = match word {
            'f' => format!("{hour:02}:10 failed: boom"),
            'l' => format!("{hour:02}:40 success"),
            _ => format!("{hour:02}:10 success"),
        };
        timeline = timeline.run(
            "orders",
            &format!("r{hour}"),
            &format!("{hour:02}:00"),
            &end,
        );
    }
    timeline
}

fn two_of_three(mut rule: Rule) -> Rule {
    rule.times = Some(Times { needed: 2, of: 3 });
    rule
}

#[test]
fn two_of_three_failures_are_one_alert_about_the_job() {
    let timeline = hours("fsfssff").rule(two_of_three(run_failed()));
    let told = timeline.play("08:00");
    check(
        &told.told_text(),
        "03:10:15 team first: + critical Failed: finance orders: boom (2 of the last 3 runs)
         04:10 team all_resolved: - critical Recovered: finance orders: 1 of the last 3 runs failed
         07:10:15 team first: + critical Failed: finance orders: boom (2 of the last 3 runs)",
    );
    let restarted = timeline.play_with(timeline.at("08:00"), &mut |_, _| Disturbance {
        is_restart: true,
        ..Disturbance::default()
    });
    assert_eq!(
        restarted.told_text(),
        told.told_text(),
        "restarts count nothing twice"
    );
}

#[test]
fn an_active_run_counts_from_the_instant_it_exceeds() {
    let timeline = hours("lsl").rule(two_of_three(too_long(Clock::Run, "30m")));
    let told = timeline.play("06:00");
    check(
        &told.told_text(),
        "03:30:15 team first: + critical Too long: finance orders still running, over its limit of 30 min, usual 25 min (2 of the last 3 runs)",
    );
    let ended = hours("lslss").rule(two_of_three(too_long(Clock::Run, "30m")));
    let told = ended.play("06:00");
    let last = told.told_text().pop().unwrap();
    assert_eq!(
        last,
        "04:10 team all_resolved: - critical Recovered: finance orders: 1 of the last 3 runs breached their limits"
    );
    check(
        &told.ledger_text(),
        "too-long orders 01:30 late by 600 s
         too-long orders 02:30 met
         too-long orders 03:30 late by 600 s
         too-long orders 04:30 met
         too-long orders 05:30 met",
    );
    let restarted = ended.play_with(ended.at("06:00"), &mut |_, _| Disturbance {
        is_restart: true,
        ..Disturbance::default()
    });
    assert_eq!(restarted.told_text(), told.told_text());
}

#[test]
fn waits_may_be_counted_too() {
    let kind = RuleKind::QueueTime(QueueTime {
        max: Limit::Fixed(span("10m")),
    });
    let told = Timeline::new("2026-03-10T00:30:00Z")
        .job("orders", "0 * * * *")
        .rule(two_of_three(rule("queued", kind)))
        .queued("orders", "r1", "01:00", "01:20", "01:30 success")
        .queued("orders", "r2", "02:00", "02:20", "02:30 success")
        .queued("orders", "r3", "03:00", "03:01", "03:30 success")
        .queued("orders", "r4", "04:00", "04:01", "04:30 success")
        .play("06:00");
    check(
        &told.told_text(),
        "02:10:15 team first: + critical Waiting: finance orders not started after 10 min (limit 10 min) (2 of the last 2 runs)
         04:01 team all_resolved: - critical Recovered: finance orders: 1 of the last 3 runs breached their limits",
    );
}

#[test]
fn a_model_that_failed_in_two_of_three_runs_is_told_and_a_retry_in_a_run_counts_once() {
    let timeline = hours("sssss")
        .rule(two_of_three(model_failed()))
        .execution("r1", "m", "01:01", "01:02 failed: boom")
        .execution("r2", "m", "02:01", "02:02 failed: boom")
        .execution("r3", "m", "03:01", "03:02 success")
        .execution("r4", "m", "04:01", "04:02 success");
    let told = timeline.play("06:00");
    check(
        &told.told_text(),
        "02:02:15 team first: + critical Model failed: finance m: boom (2 of the last 2 runs)
         04:02 team all_resolved: - critical Recovered: finance m: 1 of the last 3 runs failed",
    );
}

#[test]
fn a_retry_decides_the_limit_of_its_run_again_and_is_not_told_again() {
    let told = Timeline::new("2026-03-10T03:00:00Z")
        .job("nightly", "0 4 * * *")
        .rule(too_long(Clock::Run, "20m"))
        .run("nightly", "r1", "04:00", "04:10 failed: boom")
        .run("nightly", "r1", "04:00", "04:35 success")
        .play("08:00");
    check(&told.ledger_text(), "too-long nightly 04:20 late by 900 s");
    assert_eq!(told.ledger.len(), 2);
    let before = told.ledger[1].corrected_from.as_ref();
    assert_eq!(before.map(super::timeline::promise).as_deref(), Some("met"));
}

#[test]
fn a_retry_that_starts_anew_leaves_one_promise_of_its_run() {
    let timeline = Timeline::new("2026-03-10T03:00:00Z").job("nightly", "0 4 * * *");
    let at = |text: &str| timeline.at(text);
    let end = |time: &str, word: &str| {
        let status = tardy::engine::observation::Status::from_word(word);
        Some((at(time), status, String::new()))
    };
    let (first, second) = (end("04:10", "failed"), end("04:40", "success"));
    let told = timeline
        .clone()
        .rule(too_long(Clock::Run, "20m"))
        .run_at("nightly", "r1", at("04:00"), Some(at("04:00")), first)
        .run_at("nightly", "r1", at("04:00"), Some(at("04:12")), second)
        .play("08:00");
    check(
        &told.ledger_text(),
        "too-long nightly 04:20 excused: superseded by a retry
         too-long nightly 04:32 late by 480 s",
    );
}

#[test]
fn a_model_that_succeeds_in_the_run_in_which_it_failed_was_retried() {
    let told = hours("l")
        .rule(model_failed())
        .execution("r1", "m", "01:01", "01:05 failed: boom")
        .execution("r1", "m", "01:01", "01:30 success")
        .play("03:00");
    check(
        &told.told_text(),
        "01:05:15 team first: + critical Model failed: finance m: boom
         01:30 team all_resolved: - critical Recovered: finance m superseded by a retry",
    );
}

/// Scenario files of the kinds about runs and durations.
const FILES: [&str; 9] = [
    "model_duration.toml",
    "model_failed.toml",
    "model_regression.toml",
    "queue_time.toml",
    "run_count.toml",
    "run_duration.toml",
    "run_failed.toml",
    "run_regression.toml",
    "success_rate.toml",
];

#[test]
fn restarts_and_repeated_rows_change_nothing_that_is_told_or_decided() {
    for name in FILES {
        let (timeline, until) = super::files::scenario(name);
        let plain = timeline.play(&until);
        let disturbed = timeline.play_with(timeline.at(&until), &mut |step, _| Disturbance {
            is_restart: step % 3 == 0,
            rows: Box::new(|rows| {
                let again: Vec<_> = rows.iter().rev().cloned().collect();
                rows.extend(again);
            }),
            replay: Box::new(|rows| rows.reverse()),
        });
        // After a start executions are known with the next poll only; health begins anew.
        let is_later = name == "model_duration.toml";
        let text = |told: Vec<String>| -> Vec<String> {
            let of_runs = told
                .into_iter()
                .filter(|line| !line.contains("source prod"));
            let cut = |line: String| line.split_once(' ').unwrap().1.to_owned();
            of_runs
                .map(|line| if is_later { cut(line) } else { line })
                .collect()
        };
        assert_eq!(
            text(disturbed.told_text()),
            text(plain.told_text()),
            "{name}"
        );
        assert_eq!(disturbed.ledger_text(), plain.ledger_text(), "{name}");
    }
}

#[test]
fn promises_come_out_the_same_however_rarely_one_looks() {
    for name in FILES {
        let (timeline, until) = super::files::scenario(name);
        let often = timeline.play(&until);
        let mut rarely = timeline.clone().poll_every(span("47m"));
        rarely.is_woken = false;
        let last = (timeline.at(&until) + span("1d")).to_string();
        let (often_rows, rare_rows) = (often.ledger_text(), rarely.play(&last).ledger_text());
        assert_eq!(rare_rows[..often_rows.len()], often_rows[..], "{name}");
    }
}

#[test]
fn a_rule_that_counts_otherwise_from_now_on_closes_what_it_told() {
    let told = Timeline::new("2026-03-10T00:30:00Z")
        .job("orders", "0 * * * *")
        .rule(too_long(Clock::Run, "30m"))
        .run("orders", "r1", "01:00", "")
        .reload("02:00", |policy| {
            policy.rules[0].times = Some(Times { needed: 2, of: 3 });
        })
        .play("03:00");
    check(
        &told.told_text(),
        "01:30:15 team first: + critical Too long: finance orders still running, over its limit of 30 min
         02:00 team all_resolved: - critical Closed: finance orders is counted otherwise now",
    );
}
