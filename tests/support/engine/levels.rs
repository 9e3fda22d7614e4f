//! Method `changepoint`, played: levels that shift, last, are accepted, rise and fall.

use tardy::engine::acting::{Acted, Outcome};
use tardy::engine::observation::Status;
use tardy::engine::rule::regression::{Method, Regression};
use tardy::engine::rule::{Rule, RuleKind};
use tardy::engine::time::Span;

use super::accepting::{news, play};
use super::kinds::{slower, span};
use super::timeline::{Disturbance, Timeline};

/// A Thursday: a rise on Monday might be the end of a weekend.
const FROM: &str = "2026-03-05T00:30:00Z";

/// Runs before the first shift.
const BEFORE: i64 = 40;

fn shifted() -> Rule {
    let kind = RuleKind::RunRegression(Regression::new(Method::Changepoint));
    Rule {
        kind,
        ..slower(None)
    }
}

/// A job whose runs take `usual` times the factor of each stretch, with some noise; the first stretch is
/// history.
fn story(every: Span, cron: &str, usual: Span, stretches: &[(i64, f64)]) -> Timeline {
    let mut timeline = Timeline::new(FROM)
        .job("orders", cron)
        .poll_every(Span::minutes(10));
    let first = timeline.from + Span::minutes(30);
    let factors = stretches
        .iter()
        .flat_map(|(count, factor)| std::iter::repeat_n(*factor, usize::try_from(*count).unwrap()));
    for (n, factor) in (-BEFORE..).zip(factors) {
        let at = first + every * i32::try_from(n).unwrap();
        #[allow(clippy::cast_precision_loss)]
        let noise = (0.3 * ((n + BEFORE) * 7_919 % 101) as f64 / 101.0 - 0.15).exp();
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
        let took = (usual.num_seconds() as f64 * factor * noise) as i64;
        let end = (at + Span::seconds(took), Status::Success, String::new());
        timeline = timeline.run_at("orders", &format!("r{n}"), at, Some(at), Some(end));
    }
    timeline.rule(shifted())
}

#[test]
fn a_level_that_doubled_stays_open_until_it_is_accepted_and_the_next_doubling_is_found() {
    for (name, every, cron, slow, usual) in [
        ("hourly", span("1h"), "0 * * * *", 30 * 24, span("10m")),
        ("daily", span("1d"), "0 1 * * *", 60, span("31m")),
    ] {
        let stretches = [(BEFORE, 1.0), (slow, 2.0), (8, 4.0), (12, 2.0)];
        let timeline = story(every, cron, usual, &stretches);
        let instant = |n: i64| {
            let first = timeline.from + Span::minutes(30);
            first + every * i32::try_from(n).unwrap()
        };
        let told = news(&play(&timeline, instant(slow) - Span::minutes(1)));
        assert_eq!(told.len(), 1, "{name}: {told:#?}");
        assert!(
            told[0].contains("Slower: finance orders takes"),
            "{told:#?}"
        );
        let (accepted_at, until) = (instant(slow) - Span::minutes(2), instant(slow + 20));
        let comment = "bigger tables";
        let timeline = timeline.accept(&accepted_at.to_string(), "slower", "orders", comment);
        let played = play(&timeline, until);
        let told = news(&played);
        assert_eq!(told.len(), 4, "{name}: {told:#?}");
        assert!(
            told[1].contains("Accepted: finance orders now takes"),
            "{told:#?}"
        );
        assert!(
            told[2].contains("Slower: finance orders takes"),
            "{told:#?}"
        );
        assert!(told[3].contains("Back to usual"), "{told:#?}");
        assert!(matches!(
            played.acts[..],
            [Acted {
                outcome: Outcome::Done(_),
                ..
            }]
        ));
        let undisturbed = timeline.play_with(until, &mut |_, _| Disturbance::default());
        assert_eq!(news(&undisturbed), told, "{name}");
    }
}

#[test]
fn a_level_that_rises_again_is_told_again_and_its_end_once() {
    let stretches = [(BEFORE, 1.0), (20, 1.6), (20, 3.2), (20, 1.0)];
    let timeline = story(span("1h"), "0 * * * *", span("10m"), &stretches);
    let until = timeline.from + Span::hours(64);
    let told = news(&play(&timeline, until));
    let words: Vec<&str> = told
        .iter()
        .filter_map(|line| line.split(" team ").nth(1)?.split(' ').next())
        .collect();
    assert_eq!(words, ["first:", "changed:", "all_resolved:"], "{told:#?}");
    assert!(
        told[2].contains("Back to usual: finance orders took"),
        "{told:#?}"
    );
}

#[test]
fn a_level_whose_alert_ended_in_a_long_pause_is_told_again_only_by_a_slow_run() {
    for (factor, wanted) in [(1.0, 2), (2.0, 3)] {
        let (every, usual) = (span("1h"), span("10m"));
        let mut timeline = story(every, "0 * * * *", usual, &[(BEFORE, 1.0), (10, 2.0)]);
        let paused_at = timeline.from + Span::hours(11);
        let back_at = timeline.from + Span::days(9);
        timeline = timeline
            .jobs_since(paused_at, &[("orders", "0 * * * *", false)])
            .jobs_since(back_at, &[("orders", "0 * * * *", true)]);
        let at = back_at + Span::minutes(30);
        #[allow(clippy::cast_possible_truncation)]
        let took = Span::seconds((600.0 * factor) as i64);
        let end = (at + took, Status::Success, String::new());
        let timeline = timeline.run_at("orders", "later", at, Some(at), Some(end));
        let told = news(&play(&timeline, at + Span::hours(2)));
        assert_eq!(told.len(), wanted, "{factor}: {told:#?}");
        assert!(
            told[0].contains("Slower: finance orders takes"),
            "{told:#?}"
        );
        assert!(told[1].contains("all_resolved"), "{told:#?}");
    }
}

#[test]
fn an_alert_that_is_open_when_the_method_changes_ends_only_when_runs_are_back() {
    let stretches = [(BEFORE, 1.0), (60, 2.0), (20, 1.0)];
    let mut timeline = story(span("1h"), "0 * * * *", span("10m"), &stretches);
    timeline = timeline.policy(|policy| policy.rules = vec![slower(None)]);
    let timeline = timeline.reload("2026-03-07T00:10:00Z", |policy| {
        policy.rules = vec![shifted()];
    });
    let told = news(&play(&timeline, timeline.from + Span::hours(60)));
    assert_eq!(told.len(), 1, "{told:#?}");
    let told = news(&play(&timeline, timeline.from + Span::hours(78)));
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[1].contains("Back to usual"), "{told:#?}");
}
