//! Who is scored: Tardy's detector as it comes, and the short rules that people write themselves.

use tardy::engine::detect::{Detector, Direction};

use super::score::Series;

/// A name and a function from a series to the points at which it says "slower".
pub type Named = (&'static str, fn(&Series) -> Vec<usize>);

/// In the order of the tables. The rules of others are restated here, each in the form that its name says;
/// all of them look at the past only.
pub const ALL: [Named; 5] = [
    ("two windows, +50 %", two_windows),
    ("1 day against 7 days, +50 %", day_against_week),
    ("z > 3 over 30", z_score),
    ("robust z 5, 3 in a row", robust_z),
    ("Tardy", tardy),
];

/// Tardy's detector, hours and weekdays in UTC.
pub fn tardy(series: &Series) -> Vec<usize> {
    let mut detector = Detector::new();
    let points = series.t.iter().zip(&series.v).enumerate();
    points
        .filter_map(|(index, (at, seconds))| {
            let shift = detector.push(*at, *seconds)?;
            (shift.direction == Direction::Up).then_some(index)
        })
        .collect()
}

fn which(series: &Series, is_slow: impl Fn(usize) -> bool) -> Vec<usize> {
    (0..series.n).filter(|index| is_slow(*index)).collect()
}

/// The mean of the last 5 runs is 50 % above that of the 20 before them.
fn two_windows(series: &Series) -> Vec<usize> {
    which(series, |index| {
        let end = index + 1;
        end >= 25 && mean(&series.v[end - 5..end]) > 1.5 * mean(&series.v[end - 25..end - 5])
    })
}

/// The mean of the last 24 hours is 50 % above that of the seven days before them, with 5 runs at least.
fn day_against_week(series: &Series) -> Vec<usize> {
    const DAY: i64 = 86_400;
    which(series, |index| {
        let now = series.t[index];
        let first_after = |instant: i64| series.t.partition_point(|at| *at <= instant);
        let (day, week) = (first_after(now - DAY), first_after(now - 8 * DAY));
        day >= week + 5 && mean(&series.v[day..=index]) > 1.5 * mean(&series.v[week..day])
    })
}

/// A run is three standard deviations above the mean of the 30 before it.
fn z_score(series: &Series) -> Vec<usize> {
    which(series, |index| {
        let Some(start) = index.checked_sub(30) else {
            return false;
        };
        let before = &series.v[start..index];
        let center = mean(before);
        let squares: Vec<f64> = before.iter().map(|x| (x - center).powi(2)).collect();
        series.v[index] > center + 3.0 * mean(&squares).sqrt()
    })
}

/// Three runs in a row are five robust deviations above the median of the 30 before them.
fn robust_z(series: &Series) -> Vec<usize> {
    which(series, |index| {
        let Some(start) = index.checked_sub(32) else {
            return false;
        };
        let (before, row) = series.v[start..=index].split_at(30);
        let center = median(before.to_vec());
        let spread = 1.4826 * median(before.iter().map(|x| (x - center).abs()).collect());
        row.iter()
            .all(|x| *x > center + 5.0 * spread.max(0.01 * center))
    })
}

#[allow(clippy::cast_precision_loss)]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}
