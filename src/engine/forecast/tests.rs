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

#[test]
fn a_run_longer_than_all_before_is_no_certainty() {
    let durations = learn(&around(30.0, 20));
    let ask =
        |elapsed, left| durations.miss_when_running(Span::minutes(elapsed), Span::minutes(left));
    assert!((0.5..0.95).contains(&ask(45, 5)), "{}", ask(45, 5));
    assert!(ask(45, 60) < ask(45, 15), "the more is left, the better");
    assert!(
        ask(90, 15) > ask(45, 15),
        "the longer it takes, the longer it takes"
    );
}

#[test]
fn a_regression_under_way_raises_the_forecast_within_three_runs() {
    let ask = |slow: usize| {
        let runs = [around(30.0, 40), around(50.0, slow)].concat();
        learn(&runs).miss_when_running(Span::zero(), Span::minutes(42))
    };
    let risks = [0, 1, 2, 3].map(ask);
    assert!(risks[0] < 0.05, "{risks:?}");
    assert!(risks.is_sorted(), "{risks:?}");
    assert!(risks[3] > 0.5, "{risks:?}");
}

#[test]
fn waits_that_are_over_are_ruled_out() {
    let durations = learn(&around(30.0, 20));
    let waits = Waits::new((0..20).map(|index| Span::minutes(if index < 15 { 0 } else { 20 })));
    let ask = |waited, left| {
        durations.miss_when_waiting(&waits, Span::minutes(waited), Span::minutes(left))
    };
    assert!(
        (0.2..0.4).contains(&ask(0, 40)),
        "five of twenty start late"
    );
    assert!(ask(5, 35) > 0.85, "it starts after 15 more minutes");
    assert!(ask(5, 70) < 0.2);
    // It has been waited longer than ever.
    assert!(ask(60, 32) > 0.9, "{}", ask(60, 32));
    assert!(ask(60, 600) < 0.3, "{}", ask(60, 600));
}

/// A run of models: number, from, to, in minutes.
fn course(models: &[(u32, f64, f64)], took: f64) -> Course {
    let piece = |(model, from, to): &(u32, f64, f64)| Piece {
        model: *model,
        from: from * 60.0,
        to: Some(to * 60.0),
    };
    Course {
        pieces: models.iter().map(piece).collect(),
        took: took * 60.0,
    }
}

/// Twelve runs of half an hour: two models side by side for ten minutes, then one for fifteen, then nothing.
fn side_by_side() -> Vec<Course> {
    let one = |factor: &f64| {
        let models = [(0, 0.0, 10.0), (1, 1.0, 9.0), (2, 10.0, 25.0)];
        let models = models.map(|(model, from, to)| (model, from * factor, to * factor));
        course(&models, 30.0 * factor)
    };
    around(1.0, 12).iter().map(one).collect()
}

fn remaining_minutes(past: &[Course], now: &[(u32, f64, f64)], elapsed: f64) -> f64 {
    let now = course(now, 0.0).pieces;
    let progress = Progress::of(past, &now, elapsed * 60.0).unwrap();
    seconds(progress.remaining(0.5)) / 60.0
}

#[test]
fn what_remains_is_wall_time_from_the_same_work_on() {
    let past = side_by_side();
    for (name, now, elapsed, minutes) in [
        (
            "as usual",
            vec![(0, 0.0, 10.0), (1, 1.0, 9.0)],
            10.0,
            18.0..22.0,
        ),
        (
            "all done",
            vec![(0, 0.0, 10.0), (1, 1.0, 9.0), (2, 10.0, 25.0)],
            25.0,
            4.0..6.0,
        ),
        (
            "late, and nearly done",
            vec![(0, 20.0, 30.0), (1, 20.0, 29.0), (2, 30.0, 45.0)],
            45.0,
            4.0..11.0,
        ),
        (
            "late, and little done",
            vec![(0, 1.0, 30.0)],
            30.0,
            20.0..60.0,
        ),
        (
            "a model of its own",
            vec![(0, 0.0, 10.0), (1, 1.0, 9.0), (9, 0.0, 5.0)],
            10.0,
            18.0..22.0,
        ),
    ] {
        let found = remaining_minutes(&past, &now, elapsed);
        assert!(minutes.contains(&found), "{name}: {found}");
    }
}

#[test]
fn models_that_came_or_went_do_not_mislead() {
    // The newest five runs have lost model 1 and won model 3, that takes as long at the same place.
    let mut past = side_by_side();
    for run in &mut past[..5] {
        for piece in &mut run.pieces {
            piece.model = if piece.model == 1 { 3 } else { piece.model };
        }
    }
    let found = remaining_minutes(&past, &[(0, 0.0, 10.0), (3, 1.0, 9.0)], 10.0);
    assert!((17.0..24.0).contains(&found), "{found}");
}

#[test]
fn too_little_is_said_to_be_too_little() {
    let past = side_by_side();
    assert!(Progress::of(&past[..7], &past[0].pieces, 600.0).is_none());
    assert!(Progress::of(&past, &[], 600.0).is_none());
    let without: Vec<Course> = past
        .iter()
        .map(|run| Course {
            pieces: Vec::new(),
            ..run.clone()
        })
        .collect();
    assert!(Progress::of(&without, &past[0].pieces, 600.0).is_none());
}
