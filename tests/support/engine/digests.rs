//! Digests: one for each receiver and tick, through restarts, changes of the clocks, reloads and gaps; and
//! what they say, against counts that know only what was recorded.

use std::collections::{BTreeMap, BTreeSet};

use chrono_tz::Tz;
use tardy::engine::Input;
use tardy::engine::digest::{Digest, DigestPolicy, DigestState, MAX_OPEN, MAX_ROWS, MAX_SLA};
use tardy::engine::ledger::{Promise, Tally};
use tardy::engine::notification::{Body, Notification, Reason};
use tardy::engine::observation::Status;
use tardy::engine::policy::Policy;
use tardy::engine::schedule::{Cron, Dialect};
use tardy::engine::time::{Span, Timestamp};

use super::kinds::{
    deadline, deadline_with, missed, model_failed, objective, run_failed, span, too_long,
};
use super::timeline::{Disturbance, Outcome, Timeline, check, rule};
use tardy::engine::rule::{Clock, Rule};

fn daily(zone: Tz) -> DigestPolicy {
    DigestPolicy {
        name: "morning".into(),
        schedule: Cron::parse("0 8 * * *", Dialect::Ours).unwrap(),
        zone,
        period: Span::hours(24),
        receivers: vec!["leads".into(), "team".into()],
        send_empty: true,
    }
}

fn with(digest: DigestPolicy) -> impl FnOnce(&mut Policy) {
    move |policy| policy.digests.push(digest)
}

fn digests(told: &Outcome) -> Vec<(&Notification, &Digest)> {
    told.told
        .iter()
        .filter_map(|told| match &told.body {
            Body::Digest(digest) => Some((told, &**digest)),
            _ => None,
        })
        .collect()
}

/// When digests were told, to whom, and the period: once for each receiver and tick.
fn ticks(told: &Outcome) -> Vec<Timestamp> {
    let mut ids = BTreeSet::new();
    let mut by_tick: BTreeMap<Timestamp, usize> = BTreeMap::new();
    for (notification, digest) in digests(told) {
        assert_eq!(notification.reason, Reason::Digest);
        assert!(
            ids.insert(notification.delivery_id()),
            "told twice: {} of {}",
            notification.receiver,
            digest.to
        );
        *by_tick.entry(digest.to).or_default() += 1;
    }
    assert!(by_tick.values().all(|count| *count == 2), "{by_tick:?}");
    by_tick.into_keys().collect()
}

fn only(told: &Outcome) -> &Digest {
    let found = digests(told);
    assert_eq!(found.len(), 2, "one for each receiver");
    assert_eq!(found[0].1, found[1].1, "the same for both");
    found[0].1
}

/// Hourly runs of a job with a limit, a schedule and a deadline; the third of every nine fails.
fn busy(from: &str, hours: i32) -> Timeline {
    let mut timeline = Timeline::new(from)
        .job("orders", "0 * * * *")
        .rule(run_failed())
        .rule(too_long(Clock::Run, "30m"))
        .rule(missed(Some("10m")));
    for hour in 0..hours {
        let at = timeline.from + Span::hours(hour.into());
        let took = Span::minutes((10 + i64::from(hour * 7) % 31).min(40));
        let status = if hour % 9 == 2 {
            Status::Failed
        } else {
            Status::Success
        };
        if hour % 11 == 5 {
            continue;
        }
        let end = Some((at + took, status, String::new()));
        timeline = timeline.run_at("orders", &format!("r{hour}"), at, Some(at), end);
    }
    timeline.poll_every(span("2m"))
}

// --- exactly one ---------------------------------------------------------------------------------

#[test]
fn one_for_each_receiver_and_tick_whatever_is_restarted() {
    let timeline = busy("2026-03-10T06:00:00Z", 30).policy(with(daily(Tz::UTC)));
    let until = timeline.at("03-11 09:00");
    let calm = timeline.play("03-11 09:00");
    assert_eq!(
        ticks(&calm),
        [timeline.at("08:00"), timeline.at("03-11 08:00")]
    );
    let texts = |told: &Outcome| {
        let said = digests(told).into_iter();
        said.map(|(_, digest)| (digest.to, digest.verdict.clone()))
            .collect::<Vec<_>>()
    };
    // At every step around both ticks, and at every step of all.
    let steps = calm.judged.len();
    let near = |at: Timestamp| {
        [timeline.at("08:00"), timeline.at("03-11 08:00")]
            .iter()
            .any(|tick| (at - *tick).abs() <= Span::minutes(7))
    };
    let around: Vec<usize> = (0..steps)
        .filter(|step| near(calm.judged[*step].0))
        .collect();
    assert!(around.len() > 10, "{around:?}");
    for step in around {
        let told = timeline.play_with(until, &mut |at, _| Disturbance {
            is_restart: at == step,
            ..Disturbance::default()
        });
        assert_eq!(texts(&told), texts(&calm), "restart after step {step}");
        ticks(&told);
    }
    let told = timeline.play_with(until, &mut |_, _| Disturbance {
        is_restart: true,
        ..Disturbance::default()
    });
    assert_eq!(ticks(&told), ticks(&calm), "restarts after every step");
}

#[test]
fn one_on_each_day_on_which_clocks_change_and_its_period_is_that_day() {
    use chrono_tz::{America::New_York, Europe::Berlin};
    for (zone, from, until, hours) in [
        (Berlin, "2026-03-27T12:00:00Z", "2026-03-31T12:00:00Z", 23),
        (Berlin, "2026-10-23T12:00:00Z", "2026-10-27T12:00:00Z", 25),
        (New_York, "2026-03-06T20:00:00Z", "2026-03-10T20:00:00Z", 23),
        (New_York, "2026-10-30T20:00:00Z", "2026-11-03T20:00:00Z", 25),
    ] {
        let told = Timeline::new(from)
            .job("orders", "")
            .poll_every(span("20m"))
            .policy(with(daily(zone)))
            .play(until);
        let found = ticks(&told);
        assert_eq!(found.len(), 4, "{zone} {from}: {found:?}");
        let mut lengths = Vec::new();
        for (_, digest) in digests(&told) {
            let local = digest.to.in_zone(zone).format("%H:%M").to_string();
            assert_eq!(local, "08:00", "{zone}");
            lengths.push((digest.to - digest.from).num_hours());
        }
        lengths.sort_unstable();
        lengths.dedup();
        let mut expected = vec![24, hours];
        expected.sort_unstable();
        assert_eq!(lengths, expected, "{zone} {from}");
        // Nothing falls between two periods, and nothing is in both.
        let all: Vec<&Digest> = digests(&told).into_iter().map(|(_, d)| d).collect();
        for pair in all.windows(3).step_by(2) {
            assert_eq!(pair[0].to, pair[2].from, "{zone} {from}");
        }
    }
}

#[test]
fn a_tick_inside_a_gap_or_a_fold_of_the_clocks_is_told_once() {
    use chrono_tz::{America::New_York, Europe::Berlin};
    for (zone, schedule, from, until) in [
        (
            Berlin,
            "30 2 * * *",
            "2026-03-28T12:00:00Z",
            "2026-03-30T12:00:00Z",
        ),
        (
            Berlin,
            "30 2 * * *",
            "2026-10-24T12:00:00Z",
            "2026-10-26T12:00:00Z",
        ),
        (
            New_York,
            "30 2 * * *",
            "2026-03-07T20:00:00Z",
            "2026-03-09T20:00:00Z",
        ),
        (
            New_York,
            "30 1 * * *",
            "2026-10-31T20:00:00Z",
            "2026-11-02T20:00:00Z",
        ),
    ] {
        let digest = DigestPolicy {
            schedule: Cron::parse(schedule, Dialect::Ours).unwrap(),
            ..daily(zone)
        };
        let told = Timeline::new(from)
            .job("orders", "")
            .poll_every(span("10m"))
            .policy(with(digest))
            .play(until);
        assert_eq!(ticks(&told).len(), 2, "{zone} {from}");
    }
}

#[test]
fn one_never_told_before_begins_with_its_next_tick() {
    let told = Timeline::new("2026-03-10T08:00:00Z")
        .job("orders", "")
        .policy(with(daily(Tz::UTC)))
        .play("03-11 07:59");
    assert!(digests(&told).is_empty(), "08:00 was before it was known");
}

#[test]
fn a_start_at_ten_past_eight_tells_it_late_once_and_says_so() {
    let before = Timeline::new("2026-03-10T06:00:00Z")
        .job("orders", "")
        .policy(with(daily(Tz::UTC)));
    // The program is down from 07:30 to 08:10: nothing is read and no step is taken.
    let told = down(&before, "07:30", "08:10", "12:00");
    let found = digests(&told);
    assert_eq!(found.len(), 2);
    let (notification, digest) = found[0];
    assert_eq!(digest.to, before.at("08:00"));
    assert!(notification.decided_at >= before.at("08:10"));
    assert!(
        notification.decided_at <= before.at("08:11"),
        "at once, with the first poll"
    );
    assert_eq!(digest.skipped, 0);
    assert!(digest.gaps.rows.is_empty());
}

#[test]
fn of_several_that_were_missed_the_newest_is_told_and_the_others_are_counted() {
    let timeline = Timeline::new("2026-03-10T06:00:00Z")
        .job("orders", "")
        .poll_every(span("10m"))
        .policy(with(daily(Tz::UTC)));
    let told = down(&timeline, "09:00", "03-14 10:00", "03-15 07:00");
    let found: Vec<&Digest> = digests(&told).into_iter().map(|(_, d)| d).collect();
    assert_eq!(found.len(), 4, "10 and 14 March");
    assert_eq!(found[2].to, timeline.at("03-14 08:00"));
    assert_eq!(found[2].skipped, 3, "of 11, 12 and 13 March");
    assert_eq!(found[2].previous_to, Some(timeline.at("08:00")));
}

/// Nothing runs from `from` to `to`: then the program starts again from what was stored.
fn down(timeline: &Timeline, from: &str, to: &str, until: &str) -> Outcome {
    let mut stopped = timeline.clone();
    stopped.stopped = Some((timeline.at(from), timeline.at(to)));
    stopped.play(until)
}

#[test]
fn a_reload_that_renames_or_reschedules_repeats_nothing() {
    let at = |schedule: &str| Cron::parse(schedule, Dialect::Ours).unwrap();
    let reschedule = |schedule: &'static str| {
        move |policy: &mut Policy| policy.digests[0].schedule = at(schedule)
    };
    let timeline = || {
        Timeline::new("2026-03-10T06:00:00Z")
            .job("orders", "")
            .policy(with(daily(Tz::UTC)))
    };
    let told = timeline()
        .reload("08:05", reschedule("3 8 * * *"))
        .play("20:00");
    assert_eq!(ticks(&told).len(), 1, "08:03 was before the change");
    let told = timeline()
        .reload("08:05", |policy| policy.digests[0].name = "early".into())
        .play("20:00");
    assert_eq!(ticks(&told).len(), 1, "another name");
    let told = timeline()
        .reload("08:05", |policy| policy.digests.clear())
        .reload("08:10", with(daily(Tz::UTC)))
        .play("20:00");
    assert_eq!(ticks(&told).len(), 1, "taken out and put back");
    let told = timeline()
        .reload("08:05", reschedule("0 12 * * *"))
        .play("20:00");
    assert_eq!(ticks(&told).len(), 2, "12:00 is after the change");
    let told = timeline()
        .reload("08:05", |policy| policy.digests[0].period = Span::days(7))
        .play("20:00");
    assert_eq!(
        ticks(&told).len(),
        1,
        "the period changes nothing about when"
    );
}

// --- nothing to say ------------------------------------------------------------------------------

#[test]
fn with_nothing_to_say_it_is_sent_only_when_that_is_wanted() {
    let quiet = |send_empty| DigestPolicy {
        send_empty,
        ..daily(Tz::UTC)
    };
    let timeline = |send_empty| {
        Timeline::new("2026-03-10T06:00:00Z")
            .job("orders", "0 * * * *")
            .rule(missed(Some("10m")))
            .policy(with(quiet(send_empty)))
            .run("orders", "r1", "07:00", "07:10 success")
            .run("orders", "r2", "08:00", "08:10 success")
            .run("orders", "r0", "06:00", "06:10 success")
    };
    let told = timeline(true).play("08:30");
    assert!(only(&told).is_empty());
    check(
        &told.told_text(),
        "08:00 leads digest: all 3 promises kept
         08:00 team digest: all 3 promises kept",
    );
    let told = timeline(false).play("08:30");
    assert!(digests(&told).is_empty());
    // The tick counts as told: a failure afterwards does not bring it back.
    let told = timeline(false)
        .rule(run_failed())
        .run("orders", "r3", "08:15", "08:20 failed: boom")
        .play("12:00");
    assert!(digests(&told).is_empty());
}

#[test]
fn what_is_open_is_something_to_say() {
    let told = Timeline::new("2026-03-10T06:00:00Z")
        .job("orders", "")
        .rule(run_failed())
        .policy(with(DigestPolicy {
            send_empty: false,
            ..daily(Tz::UTC)
        }))
        .run("orders", "r1", "07:00", "07:10 failed: boom")
        .play("09:00");
    let digest = only(&told);
    assert_eq!(digest.verdict, "no promise was due; 1 alert open");
    assert_eq!(digest.state, DigestState::Bad);
    assert_eq!(digest.open.rows[0].headline, "Failed: finance orders: boom");
    assert!(digest.open.rows[0].is_new);
}

#[test]
fn only_what_changed_since_the_last_one_is_new() {
    let told = Timeline::new("2026-03-10T06:00:00Z")
        .jobs_at(
            "06:00",
            &[("a", "", true), ("b", "", true), ("c", "", true)],
        )
        .rule(run_failed())
        .policy(with(daily(Tz::UTC)))
        .run("a", "a1", "07:00", "07:10 failed: boom")
        .run("b", "b1", "12:00", "12:10 failed: boom")
        .jobs_at(
            "13:00",
            &[("a", "", true), ("b", "", true), ("c", "", false)],
        )
        .play("03-12 09:00");
    let all: Vec<&Digest> = digests(&told).into_iter().map(|(_, d)| d).collect();
    let new = |digest: &Digest| {
        let rows = digest.open.rows.iter();
        rows.map(|row| (row.headline.clone(), row.is_new))
            .collect::<Vec<_>>()
    };
    let (a, b) = ("Failed: finance a: boom", "Failed: finance b: boom");
    assert_eq!(new(all[0]), [(a.to_owned(), true)]);
    assert_eq!(new(all[2]), [(a.to_owned(), false), (b.to_owned(), true)]);
    assert_eq!(new(all[4]), [(a.to_owned(), false), (b.to_owned(), false)]);
    assert_eq!(all[2].paused.rows[0].subject, "finance c");
    assert!(all[2].paused.rows[0].is_new && !all[4].paused.rows[0].is_new);
}

// --- what is not known ---------------------------------------------------------------------------

#[test]
fn it_waits_for_what_happened_before_its_tick_to_be_known() {
    let told = Timeline::new("2026-03-10T06:00:00Z")
        .job("orders", "*/30 * * * *")
        .rule(missed(Some("1m")))
        .policy(with(daily(Tz::UTC)))
        .run("orders", "r1", "07:59", "08:20 success")
        .outage("07:50", "08:03")
        .play("09:00");
    let (notification, digest) = digests(&told)[0];
    assert_eq!(notification.decided_at, told_at(&told, "08:03"));
    assert!(digest.gaps.rows.is_empty());
    assert!(
        !digest.verdict.contains("not all is known"),
        "{}",
        digest.verdict
    );
}

#[test]
fn while_it_waits_in_vain_others_still_ask_for_a_poll() {
    let timeline = Timeline::new("2026-03-10T06:00:00Z")
        .job("orders", "2 8 * * *")
        .rule(missed(Some("1m")))
        .policy(with(daily(Tz::UTC)))
        .outage("07:50", "08:10");
    let mut engine = timeline.engine("07:59:50");
    let mut hint = |time: &str| {
        let step = engine.step(Input::default(), timeline.at(time));
        (step.poll_at, step.wake_at)
    };
    let (tick, due) = (timeline.at("08:00"), timeline.at("08:03"));
    let (poll_at, wake_at) = hint("08:00");
    assert_eq!(poll_at, Some(tick));
    let wake_at = wake_at.unwrap();
    assert!(tick < wake_at && wake_at <= tick + Span::seconds(5));
    assert_eq!(hint("08:00:05").0, Some(due));
    assert_eq!(hint("08:02").0, Some(due));
}

fn told_at(told: &Outcome, time: &str) -> Timestamp {
    let day = told.judged[0].0.to_string()[..10].to_owned();
    Timestamp::parse(&format!("{day}T{time}:00Z")).unwrap()
}

#[test]
fn what_stays_unknown_is_said_and_never_counted_as_good() {
    let told = Timeline::new("2026-03-10T06:00:00Z")
        .job("orders", "0 * * * *")
        .rule(missed(Some("1m")))
        .policy(with(daily(Tz::UTC)))
        .run("orders", "r0", "06:00", "06:10 success")
        .run("orders", "r1", "07:00", "07:10 success")
        .outage("07:30", "09:00")
        .play("08:59");
    let (notification, digest) = digests(&told)[0];
    assert_eq!(
        notification.decided_at,
        told_at(&told, "08:05"),
        "patience has an end"
    );
    assert_eq!(digest.state, DigestState::Unsure);
    assert_eq!(
        digest.verdict,
        "2 promises kept; not all is known of finance"
    );
    let known_until = digest.gaps.rows[0].known_until.unwrap();
    assert!(known_until < told_at(&told, "07:30") && known_until >= told_at(&told, "07:29"));
    assert_eq!(digest.unreachable.rows[0].what, "source prod");
    assert!(!digest.is_empty());
}

#[test]
fn nothing_known_to_be_due_is_not_said_to_be_nothing_due() {
    let told = Timeline::new("2026-03-10T06:00:00Z")
        .job("orders", "")
        .policy(with(daily(Tz::UTC)))
        .outage("07:30", "09:00")
        .play("08:30");
    assert_eq!(
        only(&told).verdict,
        "no promise is known to have been due; not all is known of finance"
    );
    let told = Timeline::new("2026-03-10T06:30:00Z")
        .jobs_at("06:30", &[("orders", "0 * * * *", true)])
        .jobs_at("06:40", &[("orders", "0 * * * *", false)])
        .rule(missed(Some("10m")))
        .policy(with(daily(Tz::UTC)))
        .play("08:30");
    assert_eq!(only(&told).verdict, "1 promise excused, no other was due");
}

#[test]
fn a_promise_decided_after_the_digest_that_should_have_told_it_is_told_by_the_next() {
    let told = Timeline::new("2026-03-10T06:00:00Z")
        .job("orders", "")
        .rule(deadline_with("07:55", Tz::UTC, |kind| {
            kind.grace = span("30m");
            kind.opens = Some(super::kinds::clock("07:00"));
        }))
        .policy(with(daily(Tz::UTC)))
        .play("03-11 08:30");
    let all: Vec<&Digest> = digests(&told).into_iter().map(|(_, d)| d).collect();
    assert_eq!(all[0].verdict, "no promise was due");
    assert!(
        all[2]
            .decided_since
            .rows
            .iter()
            .any(|row| row.outcome == "missed")
    );
    assert!(
        all[2].verdict.contains("1 earlier promise missed"),
        "{}",
        all[2].verdict
    );
}

// --- what it says --------------------------------------------------------------------------------

#[test]
fn its_counts_are_those_of_the_ledger() {
    let timeline = busy("2026-03-08T00:00:00Z", 24 * 4)
        .rule(objective(&["too-long", "missed"], "7d", 0.9))
        .policy(with(daily(Tz::UTC)));
    let told = timeline.play("03-12 00:00");
    let rows: Vec<_> = told.final_ledger().into_values().cloned().collect();
    assert!(rows.len() > 100);
    let mut seen_broken = 0;
    for (_, digest) in digests(&told) {
        // What was recorded later than the digest is not its business: compare with what was known then.
        let mut tally = Tally::default();
        let mut last: BTreeMap<_, &Promise> = BTreeMap::new();
        for row in told
            .ledger
            .iter()
            .filter(|row| row.recorded_at <= digest.made_at)
        {
            if row.due_at > digest.from && row.due_at <= digest.to {
                last.insert(
                    (&row.rule, row.due_at, row.labels.to_string()),
                    &row.outcome,
                );
            }
        }
        for outcome in last.values() {
            tally.add(outcome);
        }
        assert_eq!(digest.tally(), tally, "{}", digest.to);
        let of_jobs = digest.sla.rows.iter().map(|line| line.periods[0]);
        assert_eq!(of_jobs.fold(Tally::default(), |a, b| a + b), tally);
        let of_objective = digest.budgets.rows[0].periods[0];
        assert_eq!(of_objective, tally, "the objective counts the same rules");
        seen_broken += tally.broken();
        if tally.broken() > 0 {
            let words = format!("of {} promises", tally.counted());
            assert!(digest.verdict.contains(&words), "{}", digest.verdict);
            assert!(!digest.verdict.contains("all"), "{}", digest.verdict);
        }
    }
    assert!(seen_broken > 10, "{seen_broken}");
    let all = digests(&told);
    let (first, second) = (all[2].1, all[4].1);
    assert_eq!(
        second.periods[1].tally, first.periods[0].tally,
        "the period before"
    );
}

#[test]
fn what_was_kept_at_the_last_moment_is_listed() {
    let told = Timeline::new("2026-03-10T00:30:00Z")
        .job("orders", "0 * * * *")
        .rule(too_long(Clock::Run, "60m"))
        .rule(deadline_with("07:00", Tz::UTC, |kind| {
            kind.grace = span("30m");
            kind.opens = Some(super::kinds::clock("05:00"));
        }))
        .rule(missed(Some("10m")))
        .policy(with(daily(Tz::UTC)))
        .run("orders", "r1", "01:00", "01:53 success")
        .run("orders", "r2", "02:00", "02:56 success")
        .run("orders", "r3", "03:09:30", "03:59 success")
        .run("orders", "r4", "06:20", "07:10 success")
        .play("09:00");
    let digest = only(&told);
    let near: Vec<(&str, i64)> = digest
        .nearly_missed
        .rows
        .iter()
        .map(|row| (row.rule.as_str(), row.left_millis / 1_000))
        .collect();
    assert_eq!(
        near,
        [("deadline", -600), ("missed", 30), ("too-long", 240)],
        "ten minutes of the grace, thirty seconds of ten minutes, four minutes of sixty; seven are enough"
    );
}

#[test]
fn models_that_grow_are_told_with_the_seconds_they_added() {
    let mut timeline = Timeline::new("2026-03-10T00:00:00Z")
        .job("orders", "")
        .rule(model_failed())
        .policy(with(daily(Tz::UTC)));
    for day in 1..=7 {
        let at = timeline.from - Span::days(day);
        let run = format!("p{day}");
        let end = Some((at + Span::minutes(30), Status::Success, String::new()));
        timeline = timeline.run_at("orders", &run, at, Some(at), end);
        let clock = |minutes| (at + Span::minutes(minutes)).to_string();
        for (model, took) in [("slow", 5), ("same", 10)] {
            timeline = timeline.execution(
                &run,
                model,
                &clock(0),
                &format!("{} success", short(at + Span::minutes(took))),
            );
        }
    }
    let told = timeline
        .run("orders", "r1", "02:00", "02:30 success")
        .execution("r1", "slow", "02:00", "02:15 success")
        .execution("r1", "same", "02:00", "02:10 success")
        .play("09:00");
    let digest = only(&told);
    let grown = &digest.growing.rows;
    assert_eq!(grown.len(), 1, "{grown:?}");
    assert_eq!(
        (grown[0].model.as_str(), grown[0].added_millis),
        ("slow", Some(600_000))
    );
    assert_eq!(grown[0].usual_millis, Some(300_000));
    assert_eq!(digest.slowest.rows[0].model, "slow");
}

fn short(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{} {}", &text[5..10], &text[11..16])
}

#[test]
fn rules_that_never_or_always_fire_are_told_after_long_enough() {
    let named = |mut rule: Rule, name: &str| {
        rule.name = name.into();
        rule
    };
    let mut nothing = named(run_failed(), "nothing");
    nothing.selectors.job = tardy::engine::labels::Patterns::new(["no-such-job"]);
    let told = Timeline::new("2026-01-01T00:00:00Z")
        .job("orders", "")
        .poll_every(span("1h"))
        .rule(named(run_failed(), "always"))
        .rule(named(too_long(Clock::Run, "10h"), "never"))
        .rule(named(deadline("12:00", Tz::UTC), "often"))
        .rule(nothing)
        .policy(|policy| policy.route.repeat_interval = span("90d"))
        .policy(with(daily(Tz::UTC)))
        .run("orders", "r1", "00:10", "00:20 failed: boom")
        .play("02-05 09:00");
    let all: Vec<&Digest> = digests(&told).into_iter().map(|(_, d)| d).collect();
    let habits = |digest: &Digest| {
        let rows = digest.rules.rows.iter();
        rows.map(|row| format!("{} {:?}", row.rule, row.habit))
            .collect::<Vec<_>>()
    };
    let few = habits(all[4]);
    assert!(few.contains(&"always AlwaysFires".to_owned()), "{few:?}");
    assert!(
        !few.iter().any(|habit| habit.contains("NeverFired")),
        "{few:?}"
    );
    let many = habits(all[all.len() - 1]);
    assert!(many.contains(&"never NeverFired".to_owned()), "{many:?}");
    assert!(
        many.contains(&"nothing MatchesNothing".to_owned()),
        "{many:?}"
    );
    assert!(
        !many.iter().any(|habit| habit.starts_with("often Never")),
        "{many:?}"
    );
}

#[test]
fn it_is_bounded_with_five_hundred_jobs_and_two_thousand_models() {
    let mut timeline = Timeline::new("2026-03-10T06:00:00Z")
        .rule(run_failed())
        .rule(too_long(Clock::Run, "5m"))
        .poll_every(span("30m"))
        .policy(with(daily(Tz::UTC)));
    let names: Vec<String> = (0..500).map(|index| format!("job-{index}")).collect();
    let jobs: Vec<(&str, &str, bool)> = names
        .iter()
        .enumerate()
        .map(|(index, name)| (name.as_str(), "", index % 3 > 0))
        .collect();
    timeline = timeline.jobs_at("06:00", &jobs);
    for name in &names {
        let run = format!("{name}-r1");
        timeline = timeline.run(name, &run, "06:05", "06:25 failed: boom");
        for model in 0..4 {
            let model = format!("{name}.m{model}");
            timeline = timeline.execution(&run, &model, "06:06", "06:20 success");
        }
    }
    let told = timeline.play("08:30");
    let digest = only(&told);
    assert_eq!(digest.tally().broken(), 500);
    assert_eq!(
        (
            digest.open.rows.len(),
            digest.open.rows.len() + digest.open.more
        ),
        (MAX_OPEN, 500)
    );
    assert_eq!(digest.sla.rows.len() + digest.sla.more, 500);
    assert_eq!(
        (digest.sla.rows.len(), digest.paused.rows.len()),
        (MAX_SLA, MAX_ROWS)
    );
    assert_eq!(digest.slowest.rows.len(), 5);
    let size = serde_json::to_string(digest).unwrap().len();
    assert!(size < 40_000, "{size}");
}

#[test]
fn texts_from_outside_are_bounded() {
    let error = "x".repeat(1 << 20);
    let mut quiet = rule("failed", run_failed().kind);
    quiet.annotations.summary = Some("y".repeat(1 << 20));
    let told = Timeline::new("2026-03-10T06:00:00Z")
        .job("orders", "")
        .rule(quiet)
        .policy(with(daily(Tz::UTC)))
        .run("orders", "r1", "07:00", &format!("07:10 failed: {error}"))
        .play("09:00");
    let size = serde_json::to_string(only(&told)).unwrap().len();
    assert!(size < 8_000, "{size}");
}
