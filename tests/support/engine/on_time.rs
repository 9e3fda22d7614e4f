//! Jobs that run on time are never called missing or late, whatever their schedule and zone; and each
//! miss is found once, in time.

use chrono_tz::Tz;
use proptest::prelude::*;
use tardy::engine::alert::AlertState;
use tardy::engine::ledger::Promise;
use tardy::engine::notification::Reason;
use tardy::engine::observation::Status;
use tardy::engine::rule::deadline::Deadline;
use tardy::engine::rule::{Rule, RuleKind};
use tardy::engine::schedule::{Cron, Dialect, Tick};
use tardy::engine::time::{Span, Timestamp};

use super::kinds::{deadline, missed, span};
use super::timeline::Timeline;

const SCHEDULES: [&str; 16] = [
    "0 * * * *",
    "*/30 * * * *",
    "15 */2 * * *",
    "30 2 * * *",
    "30 1 * * *",
    "0 7 * * 1-5",
    "5 0 * * *",
    "59 23 * * *",
    "0 3,15 * * *",
    "0 12 * * 0",
    "0 6 1,15 * *",
    "0 6 13 * 5",
    "10 1-5 * * *",
    "@daily",
    "45 2 * * sat-sun",
    "0 0 1 * *",
];

const ZONES: [Tz; 6] = [
    Tz::UTC,
    Tz::America__New_York,
    Tz::Europe__Berlin,
    Tz::Australia__Lord_Howe,
    Tz::Asia__Kolkata,
    Tz::Africa__Cairo,
];

fn ticks(schedule: &str, zone: Tz, from: Timestamp, to: Timestamp) -> Vec<Tick> {
    let cron = Cron::parse(schedule, Dialect::Scheduler).unwrap();
    cron.ticks(zone, from, to).collect()
}

/// Weeks around changes of the clocks.
fn timeline(schedule: &str, zone: Tz, month: u32) -> Timeline {
    Timeline::new(&format!("2026-{month:02}-20T00:07:00Z"))
        .policy(|policy| policy.sources[0].schedule_zone = zone)
        .poll_every(span("2h"))
        .job("job", schedule)
        .rule(missed(None))
}

/// A run for a tick: `delay` after it, ten minutes long at most.
fn served(timeline: Timeline, index: usize, tick: Tick, delay: Span, took: Span) -> Timeline {
    let at = tick.at + delay;
    let end = Some((at + took, Status::Success, String::new()));
    timeline.run_at("job", &format!("r{index}"), at, Some(at), end)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_job_on_time_is_never_called_missing_or_late(
        schedule in prop::sample::select(SCHEDULES.to_vec()),
        zone in prop::sample::select(ZONES.to_vec()),
        month in prop::sample::select(vec![2_u32, 3, 9, 10]),
        delays in prop::collection::vec(-60_i64..240, 1..20),
        runs_soft in any::<bool>(),
        by in prop::sample::select(vec!["00:00", "01:30", "02:30", "03:00", "07:00", "23:59"]),
    ) {
        // Every day of a week has a tick: the run of the last one before `by` delivers.
        let has_daily = ticks(schedule, zone, Timestamp::parse("2026-06-01T00:00:00Z").unwrap(), Timestamp::parse("2026-06-08T00:00:00Z").unwrap()).len() >= 7;
        let mut timeline = timeline(schedule, zone, month);
        if has_daily {
            timeline = timeline.rule(with_grace(deadline(by, zone), span("3h")));
        }
        let until = timeline.from + Span::days(40);
        let mut owed = 0;
        // The first deadline may be met by a run before the timeline began.
        let begin = timeline.from - Span::days(3);
        let all = ticks(schedule, zone, begin, until);
        for (index, tick) in all.iter().copied().enumerate() {
            // A second pass need not run. What is skipped in a gap delivers nothing that day.
            let is_second_pass = index > 0 && tick.at - all[index - 1].at < span("4h");
            if tick.is_soft && !runs_soft && (is_second_pass || !has_daily) {
                continue;
            }
            owed += usize::from(tick.at > timeline.from && !tick.is_soft);
            let delay = Span::seconds(delays[index % delays.len()]);
            timeline = served(timeline, index, tick, delay, span("10m"));
        }
        let outcome = timeline.play(&until.to_string());
        let told = outcome.told_text();
        prop_assert!(told.is_empty(), "{} {}: {:?}", schedule, zone, told);
        let met = outcome.ledger.iter().filter(|row| &*row.rule == "missed" && row.due_at > timeline.from && row.outcome == Promise::Met).count();
        prop_assert!(met + 2 >= owed && met <= owed + 2 * 24, "{} {}: met {} of {}", schedule, zone, met, owed);
        let bad: Vec<_> = outcome.ledger.iter().filter(|row| matches!(row.outcome, Promise::Missed | Promise::LateBy(_))).collect();
        prop_assert!(bad.is_empty(), "{:?}", bad);
    }

    #[test]
    fn each_miss_is_found_once_within_grace_and_a_poll(
        schedule in prop::sample::select(SCHEDULES.to_vec()),
        zone in prop::sample::select(ZONES.to_vec()),
        month in prop::sample::select(vec![2_u32, 9]),
        misses in prop::collection::btree_set(0_usize..60, 1..8),
    ) {
        let mut timeline = timeline(schedule, zone, month).poll_every(span("20m"));
        timeline.is_woken = false;
        let until = timeline.from + Span::days(30);
        let all = ticks(schedule, zone, timeline.from, until);
        let is_decided = |tick: &Tick| tick.at < until - span("2h");
        let mut wanted = Vec::new();
        for (index, tick) in all.iter().enumerate() {
            if misses.contains(&index) && !tick.is_soft && is_decided(tick) {
                wanted.push(tick.at);
            } else {
                timeline = served(timeline, index, *tick, Span::seconds(5), span("1m"));
            }
        }
        let outcome = timeline.play(&until.to_string());
        let rows = outcome.ledger.iter().filter(|row| row.outcome == Promise::Missed);
        let found: Vec<Timestamp> = rows.clone().map(|row| row.due_at).collect();
        prop_assert_eq!(&found, &wanted, "{} {}", schedule, zone);
        for row in rows {
            let delay = row.recorded_at - row.due_at;
            prop_assert!(delay <= span("30m") + span("20m"), "{} found after {}", row.due_at, delay);
        }
        // Misses in a row are one alert.
        let is_after_another = |at: &Timestamp| {
            let index = all.iter().position(|tick| tick.at == *at).unwrap();
            index > 0 && wanted.contains(&all[index - 1].at)
        };
        let rows_of_misses = wanted.iter().filter(|at| !is_after_another(at)).count();
        let fired = outcome.transitions.iter().filter(|change| change.to == AlertState::Firing).count();
        // Three misses of a day are six changes: from then on one alert stands for those that follow.
        let is_flapping = outcome.told.iter().any(|told| told.reason == Reason::Flapping);
        let is_counted = fired == rows_of_misses || (is_flapping && (3..rows_of_misses).contains(&fired));
        prop_assert!(is_counted, "{} {}: {} of {}: {:?}", schedule, zone, fired, rows_of_misses, outcome.states_text());
    }
}

fn with_grace(mut rule: Rule, grace: Span) -> Rule {
    let RuleKind::Deadline(Deadline { grace: own, .. }) = &mut rule.kind else {
        return rule;
    };
    *own = grace;
    rule
}
