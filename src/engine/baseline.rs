//! The expected range of a duration, from history. Robust: one slow run moves nothing.

use serde::{Deserialize, Serialize};

use super::rule::Statistic;
use super::time::Span;

/// What is usual. All figures in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Runs it was made from.
    pub count: u32,
    /// The middle one.
    pub median: f64,
    /// Spread of the logarithms: 1.4826 times their median absolute deviation, at least
    /// [`LOG_SCALE_FLOOR`].
    pub log_scale: f64,
    /// Nine of ten are below it.
    pub p90: f64,
    /// Nineteen of twenty are below it.
    pub p95: f64,
    /// Ninety-nine of a hundred are below it.
    pub p99: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The tick of the week whose runs it was made from; `None`: from runs of the whole week.
    #[serde(default)]
    pub slot: Option<Slot>,
    /// It was moved to a level that a person has accepted.
    #[serde(default)]
    pub is_moved: bool,
}

/// A tick of the week: a weekday and a time, in the zone of the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Minutes since Monday 00:00.
    pub minute: u16,
}

impl Slot {
    /// From minutes since Monday 00:00; `None` outside the week.
    pub fn new(minute: i64) -> Option<Self> {
        let minute = u16::try_from(minute).ok()?;
        (minute < 7 * 24 * 60).then_some(Self { minute })
    }

    /// `Mondays 04:00`.
    pub fn name(self) -> String {
        const DAYS: [&str; 7] = [
            "Mondays",
            "Tuesdays",
            "Wednesdays",
            "Thursdays",
            "Fridays",
            "Saturdays",
            "Sundays",
        ];
        let (day, minute) = (self.minute / (24 * 60) % 7, self.minute % (24 * 60));
        format!(
            "{} {:02}:{:02}",
            DAYS[usize::from(day)],
            minute / 60,
            minute % 60
        )
    }
}

/// Durations of real pipelines vary by 9 to 13 %; a few equal runs in a row do not make a spread of
/// zero believable.
pub const LOG_SCALE_FLOOR: f64 = 0.05;

/// 1.4826 makes the median absolute deviation of a normal distribution its standard deviation
/// (Rousseeuw and Croux 1993).
const MAD_TO_SIGMA: f64 = 1.4826;

impl Baseline {
    /// From durations in seconds, in any order. `None` when there is none above zero.
    pub fn of(durations: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = durations.into_iter().filter(|x| *x > 0.0).collect();
        if sorted.is_empty() {
            return None;
        }
        sorted.sort_by(f64::total_cmp);
        let center = quantile(&sorted, 0.5);
        Some(Self {
            count: u32::try_from(sorted.len()).unwrap_or(u32::MAX),
            median: center,
            log_scale: (MAD_TO_SIGMA * log_mad(&sorted)).max(LOG_SCALE_FLOOR),
            p90: quantile(&sorted, 0.9),
            p95: quantile(&sorted, 0.95),
            p99: quantile(&sorted, 0.99),
            min: sorted[0],
            max: sorted[sorted.len() - 1],
            slot: None,
            is_moved: false,
        })
    }

    /// The same at another level: all durations times `ratio`, the spread of their logarithms as it was.
    #[must_use]
    pub fn moved(&self, ratio: f64) -> Self {
        Self {
            median: self.median * ratio,
            p90: self.p90 * ratio,
            p95: self.p95 * ratio,
            p99: self.p99 * ratio,
            min: self.min * ratio,
            max: self.max * ratio,
            is_moved: true,
            ..*self
        }
    }

    /// Robust z-score of a duration, on logarithms.
    pub fn z(&self, seconds: f64) -> f64 {
        (seconds.ln() - self.median.ln()) / self.log_scale
    }

    /// The duration whose z-score is `z`.
    pub fn at_z(&self, z: f64) -> f64 {
        self.median * (z * self.log_scale).exp()
    }

    /// What it was made from: `20 runs`, `last 8 Mondays 04:00`.
    pub fn basis(&self) -> String {
        let moved = if self.is_moved {
            " before, at the accepted level"
        } else {
            ""
        };
        match self.slot {
            Some(slot) => format!("last {} {}{moved}", self.count, slot.name()),
            None => format!("{} runs{moved}", self.count),
        }
    }

    /// A statistic, in seconds.
    pub fn statistic(&self, statistic: Statistic) -> f64 {
        match statistic {
            Statistic::Median => self.median,
            Statistic::P90 => self.p90,
            Statistic::P95 => self.p95,
            Statistic::P99 => self.p99,
            Statistic::Max => self.max,
        }
    }
}

/// Median absolute deviation of the logarithms of durations; zero when there are none.
pub fn log_mad(durations: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = durations.iter().copied().filter(|x| *x > 0.0).collect();
    if sorted.is_empty() {
        return 0.0;
    }
    sorted.sort_by(f64::total_cmp);
    let center = quantile(&sorted, 0.5).ln();
    let mut deviations: Vec<f64> = sorted.iter().map(|x| (x.ln() - center).abs()).collect();
    deviations.sort_by(f64::total_cmp);
    quantile(&deviations, 0.5)
}

/// Linear interpolation between order statistics (R type 7). `sorted` is not empty.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    let (rank, last) = (q * (sorted.len() - 1) as f64, sorted.len() - 1);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let low = (rank.floor() as usize).min(last);
    let share = rank - rank.floor();
    sorted[low] + share * (sorted[(low + 1).min(last)] - sorted[low])
}

/// A span in seconds.
#[allow(clippy::cast_precision_loss)]
pub fn seconds(span: Span) -> f64 {
    span.num_milliseconds() as f64 / 1_000.0
}

/// Seconds as a span, to the millisecond.
#[allow(clippy::cast_possible_truncation)]
pub fn span(seconds: f64) -> Span {
    Span::milliseconds((seconds * 1_000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_match_numpy() {
        // numpy: np.median, np.percentile(x, [90, 95, 99]) of the same list.
        let baseline = Baseline::of([31.0, 28.0, 36.0, 30.0, 33.0, 29.0, 35.0, 32.0]).unwrap();
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        close(baseline.median, 31.5);
        close(baseline.p90, 35.3);
        close(baseline.p95, 35.65);
        close(baseline.p99, 35.93);
        assert_eq!(baseline.count, 8);
    }

    #[test]
    fn one_slow_run_moves_little() {
        let calm = Baseline::of((0..20).map(|i| 30.0 + f64::from(i % 5))).unwrap();
        let spiked = Baseline::of((0..20).map(|i| {
            if i == 7 {
                900.0
            } else {
                30.0 + f64::from(i % 5)
            }
        }));
        assert!((calm.median - spiked.unwrap().median).abs() < 1.5);
    }

    #[test]
    fn z_and_its_inverse_agree() {
        let baseline = Baseline::of([30.0, 31.0, 29.0, 33.0, 35.0]).unwrap();
        assert!((baseline.z(baseline.at_z(4.0)) - 4.0).abs() < 1e-9);
        assert!(Baseline::of([0.0, 0.0]).is_none());
    }
}
