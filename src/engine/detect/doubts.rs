//! What else a shift could be: the first rise of a daily wave, the week beginning, or what happened at the
//! same time yesterday or a week ago.

use super::cycle::weekday;
use super::{Candidate, DAY, Detector, float, from_units};

/// Whether a candidate is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Nothing else explains it.
    None,
    /// It may be something else: more runs will tell.
    Wait,
    /// It is usual: runs are back at a level from before a weekend.
    Usual,
}

/// How far apart in the day, in seconds, runs still are of the same time, by lag.
const LAGS: [(i64, i64); 2] = [(DAY, 5_400), (7 * DAY, 10_800)];
/// A move at the same time that is this share of the present one explains it.
const REPEATED_SHARE: f64 = 0.5;
/// The same of what runs took, cycles and all: a shift on top of a daily rise is more than that rise.
const WHOLE_SHARE: f64 = 0.6;
/// Weekends explain for so many days, until the week is known or does not matter.
const WEEK_UNKNOWN: i64 = 28 * DAY;
/// A shift this near to Monday 00:00 may be the week's.
const NEAR_MONDAY: i64 = 4 * 3_600;
/// While the hours are not known, a move by less than this must have outlasted a working day.
const YOUNG_FACTOR: f64 = 1.45;
const WORKING_DAY: i64 = 12 * 3_600;
/// A rise after a weekend that ends less than this share above the days before it is a return.
const RETURN_SHARE: f64 = 0.4;
/// A move at the same time before that is below this share of the present one was none.
const QUIET_SHARE: f64 = 0.35;
/// Runs looked at for a wave.
const WAVE_RUNS: usize = 200;
/// A step must be better than a wave by this much, as the logarithm of a likelihood ratio.
const STEP_MARGIN: f64 = 1.0;
/// 1970-01-05 was a Monday.
const MONDAY: i64 = 4 * DAY;

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let low = values.get(values.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(*low, values[values.len() / 2]))
}

impl Detector {
    pub(super) fn doubt(&self, candidate: &Candidate) -> Doubt {
        if self.is_young() && !(self.is_beyond_a_day(candidate) && self.is_step(candidate.runs)) {
            return Doubt::Wait;
        }
        match self.of_the_week(candidate) {
            Doubt::None if self.is_repeated(candidate) => Doubt::Wait,
            doubt => doubt,
        }
    }

    /// It is more than working hours make of a job, has lasted longer than they do, or is not of these hours.
    fn is_beyond_a_day(&self, candidate: &Candidate) -> bool {
        let (_, end) = self.bounds(candidate);
        let now = self.points[self.points.len() - 1].wall;
        candidate.evidence.moved.abs() >= YOUNG_FACTOR.ln()
            || now - self.points[end].wall >= WORKING_DAY
            || self.is_new_today(candidate)
    }

    /// The day before was of the same kind, and at these hours of it nothing had moved.
    fn is_new_today(&self, candidate: &Candidate) -> bool {
        let (_, end) = self.bounds(candidate);
        let changed_at = self.points[end].wall;
        let is_weekend = |wall: i64| weekday(wall) >= 5;
        is_weekend(changed_at) == is_weekend(changed_at - DAY) && self.was_quiet(candidate, LAGS[0])
    }

    /// At the same time before, runs had not moved.
    fn was_quiet(&self, candidate: &Candidate, lag: (i64, i64)) -> bool {
        let earlier = self.earlier_move(candidate, lag, &|_| 0.0);
        earlier.is_some_and(|earlier| earlier < QUIET_SHARE * candidate.evidence.moved.abs())
    }

    fn bounds(&self, candidate: &Candidate) -> (usize, usize) {
        let end = self.points.len() - candidate.runs;
        let first = self.points.len() - self.segment;
        let start = first.max(end.saturating_sub(super::BASE_RUNS)).min(end - 1);
        (start, end)
    }

    fn log(&self, range: std::ops::Range<usize>) -> Option<f64> {
        let points = self.points.range(range);
        median(points.map(|point| from_units(point.log)).collect())
    }

    /// The middle of what hour and weekday do not explain.
    fn rest(&self, range: std::ops::Range<usize>) -> Option<f64> {
        let points = self.points.range(range);
        median(points.map(|point| from_units(point.adjusted)).collect())
    }

    /// The same move was there at the same time a day or a week earlier: half of it in what hour and weekday do
    /// not explain, or nearly all of it in what runs took.
    fn is_repeated(&self, candidate: &Candidate) -> bool {
        let (start, end) = self.bounds(candidate);
        let last = self.points.len();
        let moved = |level: &dyn Fn(std::ops::Range<usize>) -> Option<f64>| {
            let (after, before) = level(end..last).zip(level(start..end))?;
            Some((after - before).abs().max(candidate.evidence.moved.abs()))
        };
        let (rest, whole) = (
            moved(&|range| self.rest(range)),
            moved(&|range| self.log(range)),
        );
        let Some((rest, whole)) = rest.zip(whole) else {
            return false;
        };
        LAGS.iter().any(|lag| {
            let explained = |at: i64| self.cycle.at(at);
            let earlier = self.earlier_move(candidate, *lag, &explained);
            let earlier_whole = self.earlier_move(candidate, *lag, &|_| 0.0);
            earlier.is_some_and(|earlier| earlier >= REPEATED_SHARE * rest)
                || earlier_whole.is_some_and(|earlier| earlier >= WHOLE_SHARE * whole)
        })
    }

    /// By how much runs moved, in the direction of a candidate, at the same time before.
    fn earlier_move(
        &self,
        candidate: &Candidate,
        (lag, tolerance): (i64, i64),
        explained: &dyn Fn(i64) -> f64,
    ) -> Option<f64> {
        let (start, end) = self.bounds(candidate);
        let between = |from: i64, to: i64| {
            let cells = self.cycle.cells_between(from, to);
            cells.map(|(middle, value)| value - explained(middle))
        };
        let changed_at = self.points[end].wall;
        let mut then = Vec::new();
        let mut found = 0;
        for point in self.points.range(end..) {
            let at = point.wall - lag;
            let count = then.len();
            then.extend(between(at - tolerance, (at + tolerance).min(changed_at)));
            found += usize::from(then.len() > count);
        }
        if float(found) < (0.6 * float(candidate.runs)).max(2.0) {
            return None;
        }
        let (from, to) = (self.points[start].wall, self.points[end - 1].wall);
        let base: Vec<f64> = between(from - lag, to - lag + 1_800).collect();
        if base.len() < 3 {
            return None;
        }
        let (then, base) = median(then).zip(median(base))?;
        Some(candidate.evidence.moved.signum() * (then - base))
    }

    /// A rise on Monday: back at the level from before the weekend, or a longer first day of the week.
    fn of_the_week(&self, candidate: &Candidate) -> Doubt {
        let (start, end) = self.bounds(candidate);
        let now = self.points[self.points.len() - 1].wall;
        let moved = candidate.evidence.moved;
        let is_known = self.cycle.has_week() || now - self.first_wall > WEEK_UNKNOWN;
        if moved < 0.0 || is_known || self.usual_gap() >= 43_200.0 {
            return Doubt::None;
        }
        let changed_at = self.points[end].wall;
        let recent = self
            .points
            .partition_point(|point| point.wall < changed_at - 2 * DAY);
        let weekend = |range: std::ops::Range<usize>| {
            let count = float(range.len());
            let points = self.points.range(range);
            float(points.filter(|point| weekday(point.wall) >= 5).count()) / count
        };
        if weekend(recent.max(start).min(end - 1)..end) >= 0.7
            && weekend(end..self.points.len()) <= 0.3
        {
            let before: Vec<f64> = self
                .cycle
                .cells_between(changed_at - 8 * DAY, changed_at)
                .filter(|(middle, _)| weekday(*middle) < 5)
                .map(|(_, value)| value)
                .collect();
            let is_few = before.len() < 3;
            let usual = median(before).zip(self.log(end..self.points.len()));
            if is_few || usual.is_some_and(|(usual, after)| after - usual < RETURN_SHARE * moved) {
                return Doubt::Usual;
            }
        }
        self.of_monday(candidate, changed_at, start, end)
    }

    /// A rise at the very beginning of a week waits for Tuesday, unless the week before began without one.
    fn of_monday(&self, candidate: &Candidate, changed_at: i64, start: usize, end: usize) -> Doubt {
        let week = 7 * DAY;
        let off = (changed_at - MONDAY + week / 2).rem_euclid(week) - week / 2;
        if off.abs() > NEAR_MONDAY || self.was_quiet(candidate, LAGS[1]) {
            return Doubt::None;
        }
        let tuesday = changed_at - off + DAY;
        let from = self.points.partition_point(|point| point.wall < tuesday);
        if self.points.len() < from + 3 {
            return Doubt::Wait;
        }
        let levels = self.log(from..self.points.len()).zip(self.log(start..end));
        match levels {
            Some((tuesday, before)) if tuesday < before + 0.6 * candidate.evidence.moved => {
                Doubt::Wait
            }
            _ => Doubt::None,
        }
    }

    /// A step explains the last runs better than a wave of a day does.
    fn is_step(&self, runs: usize) -> bool {
        let skip = self.points.len().saturating_sub(WAVE_RUNS);
        let logs: Vec<f64> = self
            .points
            .range(skip..)
            .map(|p| from_units(p.log))
            .collect();
        let angles: Vec<f64> = self
            .points
            .range(skip..)
            .map(|point| {
                #[allow(clippy::cast_precision_loss)]
                let share = point.wall.rem_euclid(DAY) as f64 / 86_400.0;
                std::f64::consts::TAU * share
            })
            .collect();
        let wave = left_by(&logs, |index| {
            [1.0, angles[index].cos(), angles[index].sin()]
        });
        let step = left_by(&logs, |index| {
            let is_after = index + runs >= logs.len();
            [1.0, f64::from(u8::from(is_after)), 0.0]
        });
        0.5 * float(logs.len()) * ((wave + 1e-9) / (step + 1e-9)).ln() > STEP_MARGIN
    }
}

/// Weighted mean square that a linear model leaves, fitted by least squares reweighted four times with
/// Huber's weights (Huber 1964).
fn left_by(logs: &[f64], row: impl Fn(usize) -> [f64; 3]) -> f64 {
    let mut weights = vec![1.0; logs.len()];
    let mut left = 0.0;
    for _ in 0..4 {
        let fitted = solve(logs, &weights, &row);
        let rest: Vec<f64> = logs
            .iter()
            .enumerate()
            .map(|(index, log)| {
                let row = row(index);
                log - row.iter().zip(fitted).map(|(x, b)| x * b).sum::<f64>()
            })
            .collect();
        let spread = median(rest.iter().map(|x| x.abs()).collect()).unwrap_or(0.0);
        let spread = (1.4826 * spread).max(0.02);
        left = 0.0;
        for (weight, rest) in weights.iter_mut().zip(rest) {
            *weight = (2.0 * spread / rest.abs().max(1e-12)).min(1.0);
            left += *weight * rest * rest;
        }
    }
    left / float(logs.len())
}

/// Weighted least squares with three columns; a column of noughts gets nought.
fn solve(logs: &[f64], weights: &[f64], row: &impl Fn(usize) -> [f64; 3]) -> [f64; 3] {
    let mut system = [[0.0; 4]; 3];
    for (index, log) in logs.iter().enumerate() {
        let columns = row(index);
        for (line, left) in system.iter_mut().zip(columns) {
            for (cell, right) in line.iter_mut().zip(columns.iter().chain([log])) {
                *cell += weights[index] * left * right;
            }
        }
    }
    for pivot in 0..3 {
        system[pivot][pivot] += 1e-6;
        let lead = system[pivot][pivot];
        system[pivot].iter_mut().for_each(|cell| *cell /= lead);
        let own = system[pivot];
        for (line, cells) in system.iter_mut().enumerate() {
            if line != pivot {
                let factor = cells[pivot];
                for (cell, own) in cells.iter_mut().zip(own) {
                    *cell -= factor * own;
                }
            }
        }
    }
    [system[0][3], system[1][3], system[2][3]]
}
