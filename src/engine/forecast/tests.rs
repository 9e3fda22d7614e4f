use super::*;

fn start() -> Timestamp {
    Timestamp::parse("2026-11-02T04:00:00Z").unwrap()
}

/// Daily runs, oldest first, of so many minutes.
fn daily(minutes: &[f64]) -> Vec<Past> {
    let mut at = start();
    let runs = minutes.iter().map(|minutes| {
        at = at + Span::days(1);
        Past::new(at, Tz::UTC, span(minutes * 60.0)).unwrap()
    });
    runs.collect()
}

fn learn(minutes: &[f64]) -> Durations {
    let created_at = start() + Span::days(i64::try_from(minutes.len()).unwrap() + 1);
    Durations::learn(&daily(minutes), created_at, Tz::UTC).unwrap()
}

fn around(middle: f64, count: usize) -> Vec<f64> {
    let factors = [1.0, 1.06, 0.95, 1.02, 0.98, 1.1, 0.93, 1.04, 0.97, 1.0];
    (0..count)
        .map(|index| middle * factors[index % 10])
        .collect()
}

#[test]
fn fewer_than_eight_runs_say_nothing() {
    let past = daily(&around(30.0, 7));
    assert!(Durations::learn(&past, start(), Tz::UTC).is_none());
}

#[test]
fn elapsed_time_rules_out_short_runs() {
    // Half take 20 minutes, half an hour.
    let minutes: Vec<f64> = around(1.0, 40)
        .iter()
        .zip([20.0, 60.0].iter().cycle())
        .map(|(factor, middle)| factor * middle)
        .collect();
    let durations = learn(&minutes);
    let ask =
        |elapsed, left| durations.miss_when_running(Span::minutes(elapsed), Span::minutes(left));
    let before = ask(0, 40);
    assert!((0.4..0.6).contains(&before), "{before}");
    let after = ask(30, 10);
    assert!(after > 0.9, "what takes over 30 takes 60: {after}");
    let far = ask(30, 60);
    assert!(far < 0.1, "{far}");
}
