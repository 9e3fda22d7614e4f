//! Promises of simulated runs, and what must become of each: an oracle that knows nothing of rules.

use std::collections::BTreeMap;

use serde_json::Value;
use tardy::engine::time::{Span, Timestamp};
use tardy::sim::PlannedRun;

/// Gap between ticks: the jobs' cron is `*/5 * * * * *`.
pub(crate) const GAP: Span = Span::seconds(5);

/// Rules of these promises.
pub(crate) const RULES: &str = r#"
[[rule]]
name = "on-schedule"
kind = "missed_schedule"
grace = "2s"

[[rule]]
name = "quick"
kind = "run_duration"
max = "1s"
"#;

/// What must become of a promise, by rule, job, run and instant.
pub(crate) type Fates = BTreeMap<(String, String, String, Timestamp), String>;

/// Runs of one job from `first` on, for so many ticks: some ticks are not served, some late, some runs take
/// too long; and what becomes of each promise.
pub(crate) fn plan(job: &str, first: Timestamp, ticks: i32, seed: u64) -> (Vec<PlannedRun>, Fates) {
    let mut runs = Vec::new();
    let mut fates = Fates::new();
    let mut random = seed;
    for index in 0..ticks {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let tick_at = first + GAP * index;
        let tick = |fate: &str| {
            let key = (
                "on-schedule".to_owned(),
                job.to_owned(),
                String::new(),
                tick_at,
            );
            (key, fate.to_owned())
        };
        let late = match (random >> 33) % 6 {
            0 => {
                fates.extend([tick("missed")]);
                continue;
            }
            1 => Span::milliseconds(3_000),
            _ => Span::milliseconds(100),
        };
        fates.extend([if late > Span::seconds(2) {
            tick("late 3000")
        } else {
            tick("met")
        }]);
        let id = format!("{job}-{index}");
        let (took, fate) = match (random >> 40) % 4 {
            0 => (Span::milliseconds(1_600), "late 600"),
            _ => (Span::milliseconds(400), "met"),
        };
        let due_at = tick_at + late + Span::seconds(1);
        let limit = ("quick".to_owned(), job.to_owned(), id.clone(), due_at);
        fates.insert(limit, fate.to_owned());
        runs.push(PlannedRun::success(&id, job, tick_at + late, took));
    }
    (runs, fates)
}

/// What the ledger says, from `tardy sla --rows --json`; a promise with two rows is a failure.
pub(crate) fn told(answer: &Value, from: Timestamp, until: Timestamp) -> Fates {
    let mut fates = Fates::new();
    let rows = answer["promises"]["rows"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for row in rows {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let due_at = Timestamp::parse(&text(&row["due_at"])).unwrap();
        let labels = &row["labels"];
        let key = (
            text(&row["rule"]),
            text(&labels["job"]),
            text(&labels["run_id"]),
            due_at,
        );
        let outcome = match row["late_millis"].as_i64() {
            Some(millis) => format!("{} {millis}", text(&row["outcome"])),
            None => text(&row["outcome"]),
        };
        let is_tick = key.2.is_empty();
        if (is_tick && (from..=until).contains(&due_at)) || key.2.starts_with("job-") {
            assert_eq!(
                fates.insert(key.clone(), outcome),
                None,
                "two rows of {key:?}"
            );
        }
    }
    fates
}
