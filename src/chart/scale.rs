//! The scale of durations: from zero to a round value, and what does not fit under it.
//!
//! One run of twenty times the usual length must not press all others into a line at the bottom. So the scale is
//! made from most runs: a few that are far above are drawn at the top edge, with an arrow and their value. The
//! same holds for a limit that is far above everything.

use super::DurationChart;

/// Runs above so many times the ninth tenth are not made room for.
const FAR: f64 = 4.0;

/// With fewer runs than this nothing is usual, and all are made room for.
const MIN_RUNS: usize = 5;

/// The axis of durations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    /// The value at the top, a multiple of `step`, in seconds.
    pub top: f64,
    /// Seconds from one line to the next.
    pub step: f64,
}

const MINUTE: f64 = 60.0;
const HOUR: f64 = 3_600.0;
const DAY: f64 = 86_400.0;

/// Distances between lines that people count in, in seconds.
const STEPS: [f64; 44] = [
    0.000_1,
    0.000_2,
    0.000_5,
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
    2.0,
    5.0,
    10.0,
    15.0,
    30.0,
    MINUTE,
    2.0 * MINUTE,
    5.0 * MINUTE,
    10.0 * MINUTE,
    15.0 * MINUTE,
    30.0 * MINUTE,
    HOUR,
    2.0 * HOUR,
    3.0 * HOUR,
    6.0 * HOUR,
    12.0 * HOUR,
    DAY,
    2.0 * DAY,
    5.0 * DAY,
    10.0 * DAY,
    20.0 * DAY,
    50.0 * DAY,
    100.0 * DAY,
    200.0 * DAY,
    500.0 * DAY,
    1_000.0 * DAY,
    2_000.0 * DAY,
    5_000.0 * DAY,
    10_000.0 * DAY,
    20_000.0 * DAY,
    50_000.0 * DAY,
];

impl Scale {
    /// For all of `chart` that can be shown together, with at most `lines` lines above zero.
    pub(super) fn of(chart: &DurationChart, lines: usize) -> Self {
        let top = wanted_top(chart);
        let fits = |step: &&f64| top / **step <= as_f64(lines) + 1e-9;
        let step = STEPS.iter().find(fits).copied();
        let step = step.unwrap_or(top / as_f64(lines));
        Self {
            top: step * (top / step - 1e-9).ceil().max(1.0),
            step,
        }
    }

    /// Values of the lines, zero included, and their labels.
    pub(super) fn lines(self) -> Vec<(f64, String)> {
        let mut lines = Vec::new();
        let mut index = 0;
        while as_f64(index) * self.step <= self.top * (1.0 + 1e-9) {
            let value = as_f64(index) * self.step;
            lines.push((value, self.label(value)));
            index += 1;
        }
        lines
    }

    /// All labels of an axis are in one unit.
    fn label(self, seconds: f64) -> String {
        if seconds == 0.0 {
            return "0".to_owned();
        }
        let (unit, name) = self.unit();
        let value = seconds / unit;
        if (value - value.round()).abs() < 1e-6 {
            format!("{value:.0} {name}")
        } else {
            format!("{value:.1} {name}")
        }
    }

    fn unit(self) -> (f64, &'static str) {
        const UNITS: [(f64, &str); 5] = [
            (DAY, "d"),
            (HOUR, "h"),
            (MINUTE, "min"),
            (1.0, "s"),
            (0.001, "ms"),
        ];
        let is_fit = |(unit, _): &&(f64, &str)| {
            // Halves of a unit are read more easily than 150 of the smaller one.
            self.step >= *unit || (self.step * 2.0 >= *unit && self.top >= 2.0 * unit)
        };
        let found = UNITS.iter().find(is_fit);
        found.copied().unwrap_or(UNITS[4])
    }

    /// Above the scale: drawn at its edge, with an arrow.
    pub(super) fn is_above(self, seconds: f64) -> bool {
        seconds > self.top * (1.0 + 1e-9)
    }
}

#[allow(clippy::cast_precision_loss)]
fn as_f64(count: usize) -> f64 {
    count as f64
}

/// The highest value that is made room for, in seconds.
fn wanted_top(chart: &DurationChart) -> f64 {
    let mut sorted: Vec<f64> = chart.points.iter().map(|point| point.seconds).collect();
    sorted.sort_by(f64::total_cmp);
    let limit = chart.limit.as_ref().map(|limit| limit.seconds);
    let Some(last) = sorted.last().copied() else {
        return limit.unwrap_or(MINUTE).max(1e-4);
    };
    // The lower of the two at the ninth tenth, so that the one far above is not among them.
    let core = if sorted.len() < MIN_RUNS {
        last
    } else {
        sorted[(sorted.len() - 1) * 9 / 10]
    };
    let limit = limit.filter(|limit| *limit <= FAR * core);
    let core = core.max(limit.unwrap_or(0.0));
    let shown = sorted.iter().copied().filter(|x| *x <= FAR * core);
    let shown = shown.fold(limit.unwrap_or(0.0), f64::max);
    let high = chart.band.iter().map(|band| band.high).fold(0.0, f64::max);
    // A wide band is cut rather than making everything else small.
    shown.max(high.min(1.4 * shown)).max(1e-4)
}

/// A duration for people, to two units: `480 ms`, `7.3 s`, `58 min`, `1 h 5 min`.
pub(super) fn duration(seconds: f64) -> String {
    use crate::engine::baseline::span;
    use crate::engine::time::human_span;
    if seconds < 0.000_5 {
        "0 s".to_owned()
    } else if seconds < 0.01 {
        format!("{:.1} ms", seconds * 1_000.0)
    } else if (0.999_5..9.95).contains(&seconds) && (seconds - seconds.round()).abs() >= 0.05 {
        format!("{seconds:.1} s")
    } else {
        human_span(span(seconds))
    }
}
