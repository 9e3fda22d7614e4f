//! A person accepts the level of a regression: what is told then, and what is usual from then on.

use tardy::engine::acting::{Acted, Outcome, Refusal};
use tardy::engine::notification::Body;
use tardy::engine::observation::Status;
use tardy::engine::rule::regression::Method;
use tardy::engine::rule::{Rule, RuleKind};
use tardy::engine::time::{Span, Timestamp};

use super::kinds::{run_failed, slower, span};
use super::timeline::{Disturbance, Outcome as Played, Timeline, check};

const FROM: &str = "2026-03-02T00:30:00Z";

/// A job with so many usual runs, then so many that take twice as long, then one that takes twice that; and
/// one more at the accepted level. Each varies by a few percent.
fn story(every: Span, cron: &str, slow: i64, usual: Span) -> Timeline {
    let mut timeline = Timeline::new(FROM)
        .job("orders", cron)
        .poll_every(Span::minutes(10));
    let first = timeline.from + Span::minutes(30);
    let count = |n: i64| i32::try_from(n).unwrap();
    for n in -30..slow + 2 {
        let at = first + every * count(n);
        let level = match n {
            n if n < 0 => 1.0,
            n if n == slow => 4.0,
            _ => 2.0,
        };
        let noise = [1.0, 1.03, 0.97, 1.01, 0.98][usize::try_from((n + 30) * 3 % 5).unwrap()];
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
        let took = (usual.num_seconds() as f64 * level * noise) as i64;
        let end = (at + Span::seconds(took), Status::Success, String::new());
        timeline = timeline.run_at("orders", &format!("r{n}"), at, Some(at), Some(end));
    }
    timeline.rule(slower(None))
}

/// Plays with a restart after every few steps.
fn play(timeline: &Timeline, until: Timestamp) -> Played {
    timeline.play_with(until, &mut |step, _| Disturbance {
        is_restart: step % 7 == 3,
        ..Disturbance::default()
    })
}

/// State changes without their reasons, and headlines without reminders.
fn news(played: &Played) -> Vec<String> {
    let lines = played.told_text().into_iter();
    lines.filter(|line| !line.contains(" reminder: ")).collect()
}

fn accept_at(timeline: Timeline, at: Timestamp) -> Timeline {
    timeline.accept(&at.to_string(), "slower", "orders", "bigger tables")
}

#[test]
fn a_permanent_slowdown_stays_open_until_it_is_accepted_and_the_next_on_top_is_found() {
    for (name, every, cron, slow, usual, moved) in [
        ("hourly", span("1h"), "0 * * * *", 30 * 24, span("10m"), "20 min"),
        ("daily", span("1d"), "0 1 * * *", 60, span("31m"), "62 min"),
        ("hourly, at once", span("1h"), "0 * * * *", 3, span("10m"), "20 min"),
        ("daily, at once", span("1d"), "0 1 * * *", 1, span("31m"), "62 min"),
    ] {
        let timeline = story(every, cron, slow, usual);
        let next_at = timeline.from + Span::minutes(30) + every * i32::try_from(slow).unwrap();
        let before = play(&timeline, next_at - Span::minutes(1));
        assert_eq!(news(&before).len(), 1, "{name}: {:?}", news(&before));
        let timeline = accept_at(timeline, next_at - Span::minutes(2));
        let played = play(&timeline, next_at + every * 2);
        let told = news(&played);
        assert_eq!(told.len(), 4, "{name}: {told:#?}");
        assert!(told[1].contains("- critical Accepted: finance orders now takes"), "{told:#?}");
        assert!(told[1].ends_with("by ada: bigger tables"), "{told:#?}");
        assert!(told[2].contains("+ critical Slower: finance orders took"), "{told:#?}");
        assert!(told[3].contains("- critical Back to usual"), "{told:#?}");
        let _ = moved;
        assert!(matches!(played.acts[..], [Acted { outcome: Outcome::Done(_), .. }]));
        let undisturbed = timeline.play_with(next_at + every * 2, &mut |_, _| Disturbance::default());
        assert_eq!(news(&undisturbed), told, "{name}");
    }
}
