//! The likelihood ratio: are these runs drawn from the distribution of those before, or from the same
//! distribution, moved?
//!
//! The distribution of the runs before is a kernel density on a grid around their median, with a few
//! pseudo-runs of a heavy-tailed prior and, after a shift, the shape that was known before it; a broad
//! floor keeps one outlier from deciding alone.

use super::float;

/// Log durations vary by at least this much: clocks are quantised, and a few equal runs are no proof.
pub(super) const MIN_SPREAD: f64 = 0.02;

/// What is held against what, as logarithms.
pub(super) struct Sample<'a> {
    /// Runs before.
    pub base: &'a [f64],
    /// Runs that may have moved.
    pub group: &'a [f64],
    /// Residuals of an earlier segment around its level.
    pub shape: &'a [f64],
}

/// What a comparison says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    /// By how much the level moved, as a logarithm.
    pub moved: f64,
    /// Logarithm of the likelihood ratio, reduced.
    pub strength: f64,
    /// How many of the group lie beyond the middle between both levels.
    pub beyond: usize,
}

/// Bins on either side of the median.
const HALF: usize = 48;
const BINS: usize = 2 * HALF + 1;
/// Width of a bin, in spreads.
const STEP: f64 = 0.25;
/// Weight of the prior, in runs, and its spread: real durations vary by 9 to 13 %.
const PRIOR_RUNS: f64 = 4.0;
const PRIOR_SPREAD: f64 = 0.12;
/// From so many runs on, the spread is their own.
const OWN_SPREAD_RUNS: usize = 60;
/// Weight of the shape known from before, in runs, fading out as the segment grows to [`SHAPE_RUNS`].
const SHAPE_WEIGHT: f64 = 12.0;
const SHAPE_RUNS: f64 = 40.0;
/// Share of the floor: outliers can come from anywhere.
const FLOOR_SHARE: f64 = 0.03;
/// Runs resemble their predecessors a little: prior of the lag-one correlation, and its weight in runs.
const PRIOR_CORRELATION: f64 = 0.1;
const CORRELATION_RUNS: f64 = 12.0;
const MAX_CORRELATION: f64 = 0.8;
/// Shifts tried, as shares of the difference of the medians.
const TRIED: [f64; 6] = [0.7, 0.8, 0.9, 1.0, 1.1, 1.2];

/// Compares; `None` when the medians differ by less than `min_moved` or too few of the group lie beyond the
/// middle.
pub(super) fn compare(sample: &Sample<'_>, min_moved: f64, min_share: f64) -> Option<Evidence> {
    let center = median_of(sample.base);
    let apart = median_of(sample.group) - center;
    if apart.abs() < min_moved {
        return None;
    }
    let nearest = center + 0.5 * TRIED[0] * apart;
    if float(beyond(sample.group, nearest, apart)) < min_share * float(sample.group.len()) {
        return None;
    }
    let spread = spread(sample.base, center);
    let density = Density::of(sample, center, spread);
    let likelihood = |moved: f64| -> f64 {
        let logs = sample.group.iter();
        logs.map(|log| density.log_at(log - center - moved)).sum()
    };
    let unmoved = likelihood(0.0);
    let (moved, ratio) = TRIED
        .iter()
        .map(|share| share * apart)
        .filter(|moved| moved.abs() >= min_moved)
        .map(|moved| (moved, likelihood(moved) - unmoved))
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    let beyond = beyond(sample.group, center + 0.5 * moved, moved);
    if float(beyond) < min_share * float(sample.group.len()) {
        return None;
    }
    let (base, group) = (float(sample.base.len()), float(sample.group.len()));
    let strength = ratio * base / (base + group) / inflation(sample.base, center, spread);
    Some(Evidence {
        moved,
        strength,
        beyond,
    })
}

/// How many lie beyond a middle, in the direction of a move.
fn beyond(logs: &[f64], middle: f64, moved: f64) -> usize {
    let is_beyond = |log: &&f64| (**log - middle) * moved > 0.0;
    logs.iter().filter(is_beyond).count()
}

fn median_of(logs: &[f64]) -> f64 {
    middle(&mut logs.to_vec())
}

/// The median of a list, which is reordered. The list is not empty.
fn middle(logs: &mut [f64]) -> f64 {
    let (count, half) = (logs.len(), logs.len() / 2);
    let (below, high, _) = logs.select_nth_unstable_by(half, f64::total_cmp);
    if count % 2 == 1 {
        return *high;
    }
    let low = below.iter().copied().fold(f64::MIN, f64::max);
    f64::midpoint(low, *high)
}

/// Robust spread: the larger of what the middle half and the middle four fifths say, blended with the prior
/// while runs are few.
fn spread(base: &[f64], center: f64) -> f64 {
    let mut away: Vec<f64> = base.iter().map(|log| (log - center).abs()).collect();
    let count = away.len();
    let half = 1.4826 * middle(&mut away);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let place = (0.8 * float(count - 1)).round() as usize;
    let (_, wide, _) = away.select_nth_unstable_by(place, f64::total_cmp);
    let wide = *wide / 1.2816;
    let own = half.max(wide).max(MIN_SPREAD);
    if count >= OWN_SPREAD_RUNS {
        return own;
    }
    let runs = float(count) - 1.0;
    let prior = PRIOR_RUNS * PRIOR_SPREAD * PRIOR_SPREAD;
    ((prior + runs * own * own) / (PRIOR_RUNS + runs)).sqrt()
}

/// How much less runs say when each resembles the one before: (1 + r) / (1 - r) for the correlation r.
fn inflation(base: &[f64], center: f64, spread: f64) -> f64 {
    let scores: Vec<f64> = base
        .iter()
        .map(|log| ((log - center) / spread).clamp(-3.0, 3.0))
        .collect();
    let mean = scores.iter().sum::<f64>() / float(scores.len());
    let square: f64 = scores.iter().map(|z| (z - mean) * (z - mean)).sum();
    let product: f64 = scores
        .windows(2)
        .map(|pair| (pair[0] - mean) * (pair[1] - mean))
        .sum();
    // The correlation of few values is biased downwards by about 1/n (Kendall 1954).
    let own = product + square / float(scores.len());
    let correlation = (own + PRIOR_CORRELATION * CORRELATION_RUNS) / (square + CORRELATION_RUNS);
    let correlation = correlation.clamp(0.0, MAX_CORRELATION);
    (1.0 + correlation) / (1.0 - correlation)
}

/// A density of residuals, as logarithms on a grid.
struct Density {
    logs: [f64; BINS],
    unit: f64,
}

impl Density {
    fn of(sample: &Sample<'_>, center: f64, spread: f64) -> Self {
        let unit = spread * STEP;
        let mut weights = [0.0; BINS];
        let mut total = float(sample.base.len()) + PRIOR_RUNS;
        for log in sample.base {
            put(&mut weights, (log - center) / unit, 1.0);
        }
        let fading = 1.0 - float(sample.base.len()) / SHAPE_RUNS;
        if fading > 0.0 && !sample.shape.is_empty() {
            let each = SHAPE_WEIGHT * fading / float(sample.shape.len());
            for residual in sample.shape {
                put(&mut weights, residual / unit, each);
            }
            total += SHAPE_WEIGHT * fading;
        }
        let smooth = smoothed(&weights, total);
        let mut logs = [0.0; BINS];
        for ((log, weight), z) in logs.iter_mut().zip(smooth).zip(grid()) {
            let runs = weight / STEP + PRIOR_RUNS * student(z);
            let own = (1.0 - FLOOR_SHARE) * runs / total;
            let floor = FLOOR_SHARE * 0.1 / (1.0 + (z / 3.0) * (z / 3.0));
            *log = (own + floor).ln();
        }
        Self { logs, unit }
    }

    /// Logarithm of the density at a residual, between the bins.
    fn log_at(&self, residual: f64) -> f64 {
        let place = (residual / self.unit + float(HALF)).clamp(0.0, float(BINS - 1));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let low = (place as usize).min(BINS - 2);
        let share = place - float(low);
        self.logs[low] * (1.0 - share) + self.logs[low + 1] * share
    }
}

/// The bins, in spreads.
fn grid() -> impl Iterator<Item = f64> {
    (0..BINS).map(|bin| (float(bin) - float(HALF)) * STEP)
}

/// Student's t with four degrees of freedom: heavier tails than the normal.
fn student(z: f64) -> f64 {
    let base = 1.0 + z * z / 4.0;
    0.375 / (base * base * base.sqrt())
}

fn put(weights: &mut [f64; BINS], place: f64, weight: f64) {
    let bin = place.round() + float(HALF);
    if bin >= 0.0 && bin < float(BINS) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let bin = bin as usize;
        weights[bin] += weight;
    }
}

/// Smoothed with a normal kernel of Silverman's width.
fn smoothed(weights: &[f64; BINS], total: f64) -> [f64; BINS] {
    const REACH: usize = 8;
    let width = (0.9 * total.powf(-0.2) / STEP).max(0.6);
    let mut kernel = [0.0; REACH + 1];
    for (offset, tap) in kernel.iter_mut().enumerate() {
        let z = float(offset) / width;
        *tap = (-0.5 * z * z).exp();
    }
    let sum: f64 = kernel[0] + 2.0 * kernel[1..].iter().sum::<f64>();
    let mut smooth = [0.0; BINS];
    for (bin, weight) in weights.iter().enumerate() {
        if *weight > 0.0 {
            let low = bin.saturating_sub(REACH);
            let high = (bin + REACH).min(BINS - 1);
            for (target, value) in smooth.iter_mut().enumerate().take(high + 1).skip(low) {
                *value += weight * kernel[target.abs_diff(bin)] / sum;
            }
        }
    }
    smooth
}
