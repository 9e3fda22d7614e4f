//! How long something takes, learnt from the times that like things took.
//!
//! Guarantees: no shape is assumed; what has never happened is never impossible: the unheard-of weighs as
//! much as one run. It knows nothing of runs, deadlines or the clock.

/// Past times, each smeared a little on the logarithmic scale.
#[derive(Clone, Debug)]
pub(super) struct Law {
    /// Logarithms of seconds, in order, with weights that add up to one.
    points: Vec<(f64, f64)>,
    /// Width by which each point is smeared.
    width: f64,
    /// Where the unheard-of lies.
    center: f64,
    /// How much it weighs.
    unheard: f64,
}

/// How much the unheard-of weighs, in runs.
const UNHEARD_RUNS: f64 = 1.0;

/// Width of the unheard-of: of it, one in ten takes more than three times as long as usual.
const UNHEARD_WIDTH: f64 = 0.5;

/// Width of a point, as a share of the spread. A third of what is best for a normal density: a wider one
/// blurs jobs of two modes.
const WIDTH: f64 = 0.3;

/// Two runs are not known to take the same time to the per cent.
const MIN_WIDTH: f64 = 0.01;

impl Law {
    /// From logarithms of times, with weights above zero. `None` without any. `spread` is how far like times
    /// lie apart.
    pub(super) fn new(points: impl IntoIterator<Item = (f64, f64)>, spread: f64) -> Option<Self> {
        let mut points: Vec<(f64, f64)> = points.into_iter().collect();
        let total: f64 = points.iter().map(|(_, weight)| weight).sum();
        let squares: f64 = points.iter().map(|(_, weight)| weight * weight).sum();
        if total <= 0.0 {
            return None;
        }
        for point in &mut points {
            point.1 /= total;
        }
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let count = total * total / squares;
        Some(Self {
            center: middle(&points),
            unheard: UNHEARD_RUNS / (count + UNHEARD_RUNS),
            width: (spread * WIDTH * count.powf(-0.2)).max(MIN_WIDTH),
            points,
        })
    }

    /// The points stand for so many runs, not for one each.
    pub(super) fn of_runs(mut self, runs: f64) -> Self {
        self.unheard = UNHEARD_RUNS / (runs + UNHEARD_RUNS);
        self
    }

    /// The share of times longer than one whose logarithm is `log`.
    pub(super) fn longer(&self, log: f64) -> f64 {
        let of_point = |(center, weight): &(f64, f64)| weight * tail((log - center) / self.width);
        let heard: f64 = self.points.iter().map(of_point).sum();
        let unheard = tail((log - self.center) / UNHEARD_WIDTH);
        (1.0 - self.unheard) * heard + self.unheard * unheard
    }

    /// How likely a time is: the density on the logarithmic scale.
    pub(super) fn density(&self, log: f64) -> f64 {
        let of_point = |(center, weight): &(f64, f64)| weight * bell((log - center) / self.width);
        let heard: f64 = self.points.iter().map(of_point).sum();
        let unheard = bell((log - self.center) / UNHEARD_WIDTH) / UNHEARD_WIDTH;
        (1.0 - self.unheard) * heard / self.width + self.unheard * unheard
    }
}

/// How far logarithms lie apart: the quartiles' distance as a standard deviation, or that itself where it is
/// smaller.
pub(super) fn spread(logs: &[f64]) -> f64 {
    const FLOOR: f64 = 0.02;
    const QUARTILES: f64 = 1.349;
    #[allow(clippy::cast_precision_loss)]
    let count = logs.len() as f64;
    let mut sorted = logs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (
        sorted.get(sorted.len() / 4),
        sorted.get(sorted.len() * 3 / 4),
    ) else {
        return FLOOR;
    };
    let mean = logs.iter().sum::<f64>() / count;
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / count;
    let deviation = variance.sqrt();
    let quartiles = (high - low) / QUARTILES;
    if quartiles > 0.0 {
        quartiles.min(deviation).max(FLOOR)
    } else {
        deviation.clamp(FLOOR, 0.1)
    }
}

/// The middle of an unordered list.
pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some(f64::midpoint(values[low], values[high]))
}

/// The share of a logistic law above `z`.
fn tail(z: f64) -> f64 {
    1.0 / (1.0 + z.exp())
}

/// Density of the logistic law.
fn bell(z: f64) -> f64 {
    let falls = (-z.abs()).exp();
    falls / ((1.0 + falls) * (1.0 + falls))
}

/// The weighted middle of ordered points.
fn middle(points: &[(f64, f64)]) -> f64 {
    let mut sum = 0.0;
    for (log, weight) in points {
        sum += weight;
        if sum >= 0.5 {
            return *log;
        }
    }
    points.last().map_or(0.0, |point| point.0)
}
