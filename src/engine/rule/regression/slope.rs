//! Whether a series grows, and how fast: robust, and slow to believe.
//!
//! Growth is believed when all of these hold, on logarithms: the values rise with time beyond chance, all of
//! them together (Mann 1945, Kendall 1975) and each weekday against itself (the seasonal Kendall test of
//! Hirsch, Slack and Smith 1982, so that a long Sunday is no growth); a line describes them better than the
//! best step does, by the sum of absolute residuals, and the more so the noisier they are; without that step
//! they still rise; the earlier half does not fall, nor does the later one; and the newest values are still on
//! the line. The slope is the median of all slopes between two values (Theil 1950, Sen 1968): up to 29 of 100
//! values may be anything. Pure; it knows neither limits nor runs.

/// One value: a run, or the middle of the runs of one day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Value {
    /// Days, on any clock.
    pub(super) day: f64,
    /// Values of one season are alike: which weekday.
    pub(super) season: u8,
    /// How long; above zero.
    pub(super) seconds: f64,
}

/// How values grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Slope {
    /// Seconds more each day; above zero.
    pub(super) per_day: f64,
    /// The middle of the values at the first of them.
    pub(super) first: f64,
    /// The middle of the values at the last of them.
    pub(super) last: f64,
    /// Nineteen of twenty values are less than this above the middle.
    pub(super) p95_above: f64,
    /// How far beyond chance, in standard deviations.
    pub(super) z: f64,
}

/// What is asked of the evidence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof {
    /// All values together rise so far beyond chance.
    z: f64,
    /// Each weekday against itself does.
    seasonal_z: f64,
    /// Both sides of the best step together do.
    rest_z: f64,
    /// The line may be worse than the best step by this factor.
    step_factor: f64,
}

/// To begin to believe.
pub(super) const BELIEVE: Proof = Proof {
    z: 3.3,
    seasonal_z: 2.0,
    rest_z: 1.3,
    step_factor: 1.0,
};

/// To go on believing.
pub(super) const DOUBT: Proof = Proof {
    z: 2.0,
    seasonal_z: 1.0,
    rest_z: -1.0,
    step_factor: 1.2,
};

/// The newest values that must lie on the line.
const NEWEST: usize = 7;

/// Values that a step has on either side.
const SIDE: usize = 3;

/// Noise, as a standard deviation of logarithms, above which line and step are hard to tell apart.
const CLEAR_NOISE: f64 = 0.1;

/// By how much the line must be better for each unit of noise above that.
const NOISE_MARGIN: f64 = 0.3;

/// 1.4826 makes the median absolute deviation of a normal distribution its standard deviation.
const MAD_TO_SIGMA: f64 = 1.4826;

impl Slope {
    /// The growth of values, oldest first; `None` when it is not proved.
    pub(super) fn of(values: &[Value], proof: &Proof) -> Option<Self> {
        let z = kendall([values]);
        if values.len() < 2 * SIDE || z < proof.z {
            return None;
        }
        let seasons = by_season(values);
        if kendall(seasons.iter().map(Vec::as_slice)) < proof.seasonal_z {
            return None;
        }
        let log = |value: &Value| Value {
            seconds: value.seconds.ln(),
            ..*value
        };
        let logs: Vec<Value> = values.iter().map(log).collect();
        if !is_line(&logs, proof) {
            return None;
        }
        let line = Line::through(values);
        let (first, last) = (values[0].day, values[values.len() - 1].day);
        (line.per_day > 0.0).then(|| Self {
            per_day: line.per_day,
            first: line.at(first),
            last: line.at(last),
            p95_above: quantile(&mut line.residuals(values), 0.95),
            z,
        })
    }
}

/// Values, as logarithms, follow a rising line rather than a step.
fn is_line(logs: &[Value], proof: &Proof) -> bool {
    let (early, late) = logs.split_at(logs.len() / 2);
    let line = Line::through(logs);
    if line.per_day <= 0.0 || theil_sen(early) < 0.0 || theil_sen(late) < 0.0 {
        return false;
    }
    let residuals = line.residuals(logs);
    let distance: f64 = residuals.iter().map(|x| x.abs()).sum();
    let noise = spread(&residuals);
    let margin = 1.0 - NOISE_MARGIN * (noise - CLEAR_NOISE).max(0.0);
    let (place, step_distance) = best_step(logs);
    let sides = [&logs[..place], &logs[place..]];
    distance <= proof.step_factor * margin * step_distance
        && kendall(sides) >= proof.rest_z
        && is_held(&residuals, noise)
}

/// The newest values have not left the line downwards: their middle is not lower than chance allows.
#[allow(clippy::cast_precision_loss)]
fn is_held(residuals: &[f64], noise: f64) -> bool {
    let mut newest = residuals[residuals.len().saturating_sub(NEWEST)..].to_vec();
    // The middle of n values of a normal distribution varies by 1.2533 sigma / sqrt(n).
    let error = 1.2533 * noise / (newest.len() as f64).sqrt();
    median(&mut newest) >= -2.0 * error
}

struct Line {
    per_day: f64,
    at_zero: f64,
}

impl Line {
    fn through(values: &[Value]) -> Self {
        let per_day = theil_sen(values);
        let mut heights: Vec<f64> = values
            .iter()
            .map(|value| value.seconds - per_day * value.day)
            .collect();
        let at_zero = median(&mut heights);
        Self { per_day, at_zero }
    }

    fn at(&self, day: f64) -> f64 {
        self.at_zero + self.per_day * day
    }

    fn residuals(&self, values: &[Value]) -> Vec<f64> {
        values
            .iter()
            .map(|value| value.seconds - self.at(value.day))
            .collect()
    }
}

/// Kendall's S of each group against itself, summed, in standard deviations of what chance makes of it.
#[allow(clippy::cast_precision_loss)]
fn kendall<'a>(groups: impl IntoIterator<Item = &'a [Value]>) -> f64 {
    let (mut score, mut variance) = (0_i64, 0.0);
    for group in groups {
        for (index, later) in group.iter().enumerate() {
            for earlier in &group[..index] {
                score += later.seconds.total_cmp(&earlier.seconds) as i64;
            }
        }
        let n = group.len() as f64;
        variance += n * (n - 1.0) * (2.0 * n + 5.0) / 18.0;
    }
    if variance <= 0.0 {
        return 0.0;
    }
    // The correction for continuity: a score of one is none.
    let score = (score - score.signum()) as f64;
    score / variance.sqrt()
}

fn by_season(values: &[Value]) -> Vec<Vec<Value>> {
    let mut seasons: Vec<Vec<Value>> = Vec::new();
    for value in values {
        let season = usize::from(value.season);
        if seasons.len() <= season {
            seasons.resize(season + 1, Vec::new());
        }
        seasons[season].push(*value);
    }
    seasons
}

/// The median of the slopes between all pairs.
fn theil_sen(values: &[Value]) -> f64 {
    let mut slopes = Vec::with_capacity(values.len() * values.len() / 2);
    for (index, later) in values.iter().enumerate() {
        for earlier in &values[..index] {
            let days = later.day - earlier.day;
            if days > 0.0 {
                slopes.push((later.seconds - earlier.seconds) / days);
            }
        }
    }
    median(&mut slopes)
}

/// Where one level before and another after describe the values best, and the sum of distances from them.
fn best_step(values: &[Value]) -> (usize, f64) {
    let distance = |part: &[Value]| {
        let mut seconds: Vec<f64> = part.iter().map(|value| value.seconds).collect();
        let center = median(&mut seconds);
        seconds.iter().map(|x| (x - center).abs()).sum::<f64>()
    };
    let places = SIDE..=values.len().saturating_sub(SIDE);
    places
        .map(|place| {
            (
                place,
                distance(&values[..place]) + distance(&values[place..]),
            )
        })
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or((0, f64::INFINITY))
}

/// The standard deviation of a normal distribution with this spread around zero.
fn spread(residuals: &[f64]) -> f64 {
    let mut distances: Vec<f64> = residuals.iter().map(|x| x.abs()).collect();
    MAD_TO_SIGMA * median(&mut distances)
}

pub(super) fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

/// The order statistic at a share; between two, in proportion. 0 of nothing.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
fn quantile(values: &mut [f64], share: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let rank = share * (values.len() - 1) as f64;
    let low = rank.floor() as usize;
    let (_, below, above) = values.select_nth_unstable_by(low, f64::total_cmp);
    let next = above.iter().copied().min_by(f64::total_cmp);
    let part = rank - rank.floor();
    *below + part * (next.unwrap_or(*below) - *below)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splitmix64: the same numbers everywhere.
    struct Dice(u64);

    impl Dice {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }

        #[allow(clippy::cast_precision_loss)]
        fn share(&mut self) -> f64 {
            ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
        }

        /// Box and Muller.
        fn normal(&mut self) -> f64 {
            let radius = (-2.0 * self.share().ln()).sqrt();
            radius * (std::f64::consts::TAU * self.share()).cos()
        }

        /// Student's t with three degrees of freedom, of variance one.
        fn heavy(&mut self) -> f64 {
            let squares: f64 = (0..3).map(|_| self.normal().powi(2)).sum();
            self.normal() / squares.sqrt()
        }
    }

    /// A daily series, from what a day adds to 600 s.
    fn series(
        days: u32,
        dice: &mut Dice,
        noise: impl Fn(&mut Dice) -> f64,
        level: impl Fn(u32) -> f64,
    ) -> Vec<Value> {
        let value = |day: u32| Value {
            day: f64::from(day),
            season: u8::try_from(day % 7).unwrap(),
            seconds: 600.0 * level(day) * noise(dice).exp(),
        };
        (0..days).map(value).collect()
    }

    /// As the method looks at a series that has come so far: sixty values, and the newest thirty.
    fn growth(values: &[Value]) -> impl Iterator<Item = Slope> {
        [60, 30].into_iter().filter_map(|most| {
            let newest = &values[values.len().saturating_sub(most)..];
            Slope::of(newest, &BELIEVE).filter(|slope| slope.last >= 1.2 * slope.first)
        })
    }

    /// Days on which a series that had not been told of was told of, of those judged, per thousand. The limit is
    /// 30 % above what the series ends with; the horizon is 14 days.
    #[allow(clippy::cast_precision_loss)]
    fn false_alarms(
        seeds: u64,
        noise: impl Fn(&mut Dice) -> f64,
        level: impl Fn(u64, u32) -> f64,
    ) -> f64 {
        let (mut judged, mut told) = (0_u32, 0_u32);
        for seed in 0..seeds {
            let mut dice = Dice(seed);
            let values = series(120, &mut dice, &noise, |day| level(seed, day));
            let limit = 780.0
                * (0..7)
                    .map(|day| level(seed, 113 + day))
                    .fold(f64::MAX, f64::min);
            let mut is_told = false;
            for end in 20..=values.len() {
                judged += 1;
                let mut slopes = growth(&values[..end]);
                let is_alarm = slopes.any(|slope| limit - slope.last <= 14.0 * slope.per_day);
                told += u32::from(is_alarm && !is_told);
                is_told |= is_alarm;
            }
        }
        f64::from(told) * 1_000.0 / f64::from(judged)
    }

    const SEEDS: u64 = 12;

    #[test]
    fn noise_seasons_and_steps_are_not_taken_for_growth() {
        let step = |seed: u64, day: u32, height: f64| {
            if u64::from(day) < 30 + seed * 7 % 50 {
                1.0
            } else {
                height
            }
        };
        for noise in [0.05, 0.1, 0.2, 0.4] {
            let normal = |dice: &mut Dice| noise * dice.normal();
            let heavy = |dice: &mut Dice| noise * dice.heavy();
            let sunday = |_, day: u32| if day % 7 == 6 { 2.5 } else { 1.0 };
            let weekend = |_, day: u32| if day % 7 >= 5 { 1.6 } else { 1.0 };
            let rates = [
                ("flat", false_alarms(SEEDS, normal, |_, _| 1.0)),
                ("heavy tails", false_alarms(SEEDS, heavy, |_, _| 1.0)),
                ("long Sundays", false_alarms(SEEDS, normal, sunday)),
                ("long weekends", false_alarms(SEEDS, heavy, weekend)),
                (
                    "a step",
                    false_alarms(SEEDS, normal, |seed, day| step(seed, day, 1.4)),
                ),
                (
                    "a step down",
                    false_alarms(SEEDS, normal, |seed, day| step(seed, day, 0.6)),
                ),
            ];
            for (name, rate) in rates {
                // 12 series of 101 days: one alarm is 0.8 of a thousand.
                assert!(rate < 1.0, "{name}, noise {noise}: {rate} of 1 000");
            }
        }
    }

    #[test]
    fn one_percent_a_day_is_seen_within_a_month() {
        let mut seen: Vec<usize> = (0..40)
            .map(|seed| {
                let mut dice = Dice(1_000 + seed);
                let level = |day: u32| 1.0 + 0.01 * f64::from(day.saturating_sub(60));
                let values = series(150, &mut dice, |dice| 0.1 * dice.normal(), level);
                (61..=150)
                    .find(|end| growth(&values[..*end]).next().is_some())
                    .map_or(90, |end| end - 60)
            })
            .collect();
        seen.sort_unstable();
        assert!(seen[20] <= 31, "half of them within a month: {seen:?}");
        assert!(seen[36] <= 50, "nine of ten: {seen:?}");
    }

    #[test]
    fn slope_and_level_are_those_of_the_line() {
        let line = |day: u32| 1.0 + 0.01 * f64::from(day);
        let mut values = series(60, &mut Dice(1), |_| 0.0, line);
        // A quarter of the values may be anything.
        for index in (0..60).step_by(4) {
            values[index].seconds = 90_000.0;
        }
        let slope = Slope::of(&values, &BELIEVE).unwrap();
        assert!((slope.per_day - 6.0).abs() < 0.5, "{slope:?}");
        assert!((slope.last - 954.0).abs() < 20.0, "{slope:?}");
    }

    #[test]
    fn kendall_matches_published_figures() {
        // S and its variance by hand: n = 4, all rising: S = 6, variance 4 * 3 * 13 / 18.
        let values = series(4, &mut Dice(1), |_| 0.0, |day| 1.0 + f64::from(day));
        let z = 5.0 / (4.0_f64 * 3.0 * 13.0 / 18.0).sqrt();
        assert!((kendall([&values[..]]) - z).abs() < 1e-12);
        assert!(kendall([&values[..1], &values[..1]]).abs() < 1e-12);
    }
}
