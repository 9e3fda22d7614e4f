//! Kinds about models, across restarts.

use tardy::engine::rule::RuleKind;
use tardy::engine::rule::model_not_run::ModelNotRun;
use tardy::engine::rule::run_stalled::RunStalled;
use tardy::engine::rule::staleness::Staleness;
use tardy::engine::time::Span;

use super::timeline::{Disturbance, Timeline, rule};

/// Hourly runs from 00:00 on; the model is left out by those from `first` to `last`.
fn hourly(first: u32, last: u32) -> Timeline {
    let mut timeline = Timeline::new("2026-03-10T00:00:00Z").job("hourly", "0 * * * *");
    for hour in 0..16 {
        let id = format!("r{hour}");
        let (from, to) = (format!("{hour:02}:00"), format!("{hour:02}:10 success"));
        let end = format!("{hour:02}:05 success");
        timeline = timeline.run("hourly", &id, &from, &to);
        timeline = timeline.execution(&id, "other", &from, &end);
        if !(first..=last).contains(&hour) {
            timeline = timeline.execution(&id, "marts.orders", &from, &end);
        }
    }
    timeline
}

#[test]
fn restarts_after_every_step_change_nothing_about_missing_models() {
    let timeline = hourly(10, 12).rule(rule(
        "not-run",
        RuleKind::ModelNotRun(ModelNotRun { consecutive: 2 }),
    ));
    let plain = timeline.play("15:30");
    assert_eq!(
        plain.told_text(),
        [
            "11:12:15 team first: + critical Not run: finance marts.orders did not execute in 2 runs of hourly \
             (last executed 09:00 UTC)",
            "13:05 team all_resolved: - critical Runs again: finance marts.orders executed in hourly at 13:00 UTC",
        ]
    );
    let restarted = timeline.play_with(timeline.at("15:30"), &mut |step, _| Disturbance {
        is_restart: step % 7 == 3,
        ..Disturbance::default()
    });
    let headlines = |lines: Vec<String>| -> Vec<String> {
        let cut = |line: &String| line.split_once(" team ").unwrap().1.to_owned();
        lines.iter().map(cut).collect()
    };
    assert_eq!(
        headlines(restarted.told_text()),
        headlines(plain.told_text())
    );
}

#[test]
fn restarts_change_nothing_about_a_stalled_run() {
    let quiet = Span::minutes(20);
    let timeline = hourly(20, 20)
        .rule(rule("stalled", RuleKind::RunStalled(RunStalled { quiet })))
        .run("hourly", "long", "08:20", "10:00 failed: killed")
        .execution("long", "marts.orders", "08:21", "08:25 success");
    let plain = timeline.play("12:00");
    assert_eq!(plain.told_text().len(), 2, "{:?}", plain.told_text());
    let restarted = timeline.play_with(timeline.at("12:00"), &mut |step, _| Disturbance {
        is_restart: step % 5 == 2,
        ..Disturbance::default()
    });
    let texts = |lines: Vec<String>| -> Vec<String> {
        let cut = |line: &String| line.split_once(" team ").unwrap().1.to_owned();
        lines.iter().map(cut).collect()
    };
    assert_eq!(texts(restarted.told_text()), texts(plain.told_text()));
}

#[test]
fn a_model_ages_again_when_its_job_is_enabled_again() {
    let kind = RuleKind::ModelStaleness(Staleness {
        max_age: Span::hours(3),
        warn_age: None,
    });
    let timeline = Timeline::new("2026-03-10T05:00:00Z")
        .job("hourly", "0 * * * *")
        .rule(rule("stale", kind))
        .run("hourly", "r1", "06:00", "06:10 success")
        .execution("r1", "marts.orders", "06:00", "06:05 success")
        .jobs_at("07:00", &[("hourly", "0 * * * *", false)])
        .jobs_at("10:00", &[("hourly", "0 * * * *", true)]);
    assert_eq!(
        timeline.play("14:00").told_text(),
        ["12:05:15 team first: + critical Stale: finance marts.orders has not succeeded for 3 h"]
    );
}
