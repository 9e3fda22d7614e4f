//! What the detector says of series whose truth is known.

use super::{DAY, Detector, Direction, Shift};

/// SplitMix64 (Steele, Lea and Flood 2014): the same numbers on every machine.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        #[allow(clippy::cast_precision_loss)]
        let share = ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        share
    }

    /// Nearly normal: the sum of twelve uniform numbers.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// A Thursday.
const START: i64 = 20_454 * DAY;

/// Feeds `count` runs, one every `gap` seconds, of 600 s times `factor` with 10 % of noise.
fn play(seed: u64, count: i64, gap: i64, factor: impl Fn(i64, i64) -> f64) -> Vec<(i64, Shift)> {
    let mut random = Random(seed);
    let mut detector = Detector::new();
    (0..count)
        .filter_map(|index| {
            let wall = START + index * gap;
            let seconds = 600.0 * factor(index, wall) * (0.1 * random.normal()).exp();
            Some((index, detector.push(wall, seconds)?))
        })
        .collect()
}

type Factor<'a> = &'a dyn Fn(i64, i64) -> f64;

fn directions(shifts: &[(i64, Shift)]) -> Vec<Direction> {
    shifts.iter().map(|(_, shift)| shift.direction).collect()
}

#[test]
fn what_is_usual_is_no_shift() {
    let hour = |wall: i64| wall.rem_euclid(DAY) / 3_600;
    let wave = |wall: i64| {
        #[allow(clippy::cast_precision_loss)]
        let share = wall.rem_euclid(DAY) as f64 / 86_400.0;
        1.0 + 0.4 * (std::f64::consts::TAU * share).sin()
    };
    let is_weekend = |wall: i64| (wall.div_euclid(DAY) + 3).rem_euclid(7) >= 5;
    let cases: [(&str, i64, Factor); 8] = [
        ("noise", 3_600, &|_, _| 1.0),
        ("a slow run now and then", 3_600, &|index, _| {
            if index % 17 == 5 { 6.0 } else { 1.0 }
        }),
        ("two slow runs in a row", DAY, &|index, _| {
            if index % 40 < 2 { 3.0 } else { 1.0 }
        }),
        ("quick failures", 3_600, &|index, _| {
            if index % 23 == 4 { 0.05 } else { 1.0 }
        }),
        ("a wave each day", 3_600, &|_, wall| wave(wall)),
        ("slow at night", 3_600, &|_, wall| {
            if hour(wall) < 3 { 2.5 } else { 1.0 }
        }),
        ("quick weekends", 3_600, &|_, wall| {
            if is_weekend(wall) { 0.5 } else { 1.0 }
        }),
        ("quick weekends, daily", DAY, &|_, wall| {
            if is_weekend(wall) { 0.5 } else { 1.0 }
        }),
    ];
    for (name, gap, factor) in cases {
        for seed in 0..10 {
            let told = play(seed, 600, gap, factor);
            let slower: Vec<_> = told
                .iter()
                .filter(|(_, shift)| shift.direction == Direction::Up)
                .collect();
            assert!(slower.is_empty(), "{name}, seed {seed}: {slower:?}");
        }
    }
}

#[test]
fn a_step_is_found_within_a_few_runs_and_dated() {
    for gap in [900, 3_600, DAY] {
        for seed in 0..20 {
            let told = play(
                seed,
                400,
                gap,
                |index, _| if index < 300 { 1.0 } else { 2.0 },
            );
            let [(index, shift)] = &told[..] else {
                panic!("one shift, not {told:?}");
            };
            assert_eq!(shift.direction, Direction::Up);
            assert!((302..306).contains(index), "{gap} {seed}: {index}");
            let since = index + 1 - i64::try_from(shift.runs).unwrap();
            assert!((299..303).contains(&since), "{gap} {seed}: since {since}");
            assert!((shift.ratio / 2.0).ln().abs() < 0.25, "{shift:?}");
            assert_eq!(shift.base.len(), shift.base_runs);
            assert!(shift.before > shift.base[0] && shift.before < shift.base[shift.base_runs - 1]);
            assert!(shift.confidence() > 0.9 && shift.strength >= shift.threshold);
        }
    }
}

#[test]
fn levels_are_held_against_the_one_before() {
    let factor = |index: i64, _| match index {
        100..200 => 0.5,
        0..300 => 1.0,
        _ => 2.0,
    };
    for seed in 0..10 {
        let told = play(seed, 400, 3 * 3_600, factor);
        let wanted = [Direction::Down, Direction::Up, Direction::Up];
        assert_eq!(directions(&told), wanted, "seed {seed}: {told:?}");
    }
}

#[test]
fn a_stored_detector_goes_on_as_it_would_have_and_stays_small() {
    let mut random = Random(7);
    let (mut lived, mut kept) = (Detector::new(), Detector::new());
    let mut largest = 0;
    for index in 0..6_000_i64 {
        let factor = if index % 1_500 < 700 { 1.0 } else { 1.7 };
        let wall = START + index * 900;
        let seconds = 60.0 * factor * (0.15 * random.normal()).exp();
        assert_eq!(lived.push(wall, seconds), kept.push(wall, seconds));
        if index % 7 == 0 {
            let text = serde_json::to_string(&kept).unwrap();
            largest = largest.max(text.len());
            kept = serde_json::from_str(&text).unwrap();
        }
    }
    assert_eq!(lived, kept);
    // A value of the store is to be near 8 KiB at most.
    assert!(largest < 10 * 1024, "{largest} bytes");
    for damaged in ["\"zz\"", "\"1:00ff\"", "\"2:0003\"", "\"\""] {
        let read = serde_json::from_str::<Detector>(damaged).unwrap();
        assert_eq!(read, Detector::new(), "{damaged}");
    }
}

#[test]
fn odd_values_do_no_harm() {
    let mut detector = Detector::new();
    for index in 0..500_i64 {
        let seconds = match index % 5 {
            0 => 0.0,
            1 => -3.0,
            2 => f64::MAX,
            3 => f64::NAN,
            _ => f64::INFINITY,
        };
        detector.push(START + index * 60, seconds);
        detector.push(START - index * 6_000, 10.0);
    }
    assert_eq!(detector.seen(), 1_000);
}

/// What the night explains more than noon does, after 30 days of runs each hour that are slow at night.
fn learned_of_the_night(odd: impl Fn(i64) -> Option<i64>) -> f64 {
    let mut detector = Detector::new();
    let mut random = Random(3);
    for index in 0..30 * 24_i64 {
        let wall = START + index * 3_600;
        let factor = if index % 24 < 6 { 2.0 } else { 1.0 };
        let seconds = 600.0 * factor * (0.05 * random.normal()).exp();
        if let Some(odd_at) = odd(index) {
            detector.push(odd_at, seconds);
        }
        detector.push(wall, seconds);
    }
    let tomorrow = START + 30 * DAY;
    detector.explained(tomorrow + 3 * 3_600) - detector.explained(tomorrow + 12 * 3_600)
}

#[test]
fn a_run_dated_far_ahead_does_not_stop_what_is_learned() {
    let usual = learned_of_the_night(|_| None);
    assert!(usual > 0.5, "{usual}");
    for (name, days) in [("two days", 2), ("a year", 365)] {
        for at in [0, 30, 300] {
            let odd = |index| (index == at).then_some(START + index * 3_600 + days * DAY);
            let learned = learned_of_the_night(odd);
            assert!((learned - usual).abs() < 0.1, "{name} at {at}: {learned}");
        }
    }
    // Ones that come late drop nothing.
    let late = |index| (index > 200 && index % 50 == 0).then_some(START + (index - 96) * 3_600);
    assert!((learned_of_the_night(late) - usual).abs() < 0.1);
}
