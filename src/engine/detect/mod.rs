//! Level shifts in a series of durations, online: has this job become slower, since which run, and how
//! sure is that?
//!
//! # How it decides
//!
//! Durations are compared as logarithms, less what the hour and the weekday explain (`cycle`). For
//! several lengths k, the last k runs are held against up to [`BASE_RUNS`] runs before them with a
//! generalised likelihood ratio: how much likelier are they under the earlier runs' own distribution,
//! moved by some factor, than under that distribution as it is (`density`)? The distribution is
//! estimated, not assumed, so that a job with two usual durations, a skewed one or one with frequent
//! outliers is held against its own habits. The ratio is reduced for the uncertainty of a short
//! baseline and for runs that resemble their predecessors, and compared with a threshold.
//! What calendars can explain is doubted first (`doubts`).
//!
//! Sources: windowed generalised likelihood ratio tests, Lai (1995), "Sequential changepoint detection in
//! quality control and dynamical systems"; kernel density with Silverman's rule (1986).
//!
//! # Guarantees
//!
//! Deterministic; memory is bounded (`KEPT_RUNS` points and the cells of `cycle`), work per point is
//! bounded; whole numbers inside, so that a stored detector goes on exactly as it would have. What it does
//! not do: judge limits, or know about runs. A rule does (`rule/regression/changepoint.rs`).

mod cycle;
mod density;
mod doubts;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use cycle::Cycle;
use density::{Evidence, Sample};
use doubts::Doubt;

/// Runs before a candidate that it is held against, at most.
pub const BASE_RUNS: usize = 120;

/// Points kept: a baseline and the longest candidate.
const KEPT_RUNS: usize = BASE_RUNS + LENGTHS[LENGTHS.len() - 1];

/// How many of the last runs may have moved: each is tried.
const LENGTHS: [usize; 14] = [3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50];

/// Fewer runs before a candidate than this say nothing.
pub const MIN_BASE_RUNS: usize = 5;

/// A shift is told when the logarithm of its likelihood ratio, after all reductions, is above this. Calibrated
/// on the development set of `benches/detection` (about one false alarm in 10 000 runs).
const THRESHOLD: f64 = 12.0;

/// Smaller factors are no shift: slow growth of a few per cent a month is usual.
const MIN_FACTOR: f64 = 1.08;

/// While the first days of a job with several runs a day pass, the daily cycle is not known.
const YOUNG_DAYS: f64 = 2.2;

/// Share of the runs of a candidate that must lie beyond the middle between the levels.
const MIN_SHARE: f64 = 0.7;

/// Runs after which the rough picture is drawn anew.
const ROUGH_EVERY: u32 = 8;

/// Up to so many runs in a segment, every candidate is tried in full.
const FEW_RUNS: usize = 24;

/// Share of the threshold that the rough statistic must reach before a candidate is tried in full.
const ROUGH_SHARE: f64 = 0.7;

/// Logarithms are kept as whole numbers of this part.
const LOG_UNIT: f64 = 1.0 / 65_536.0;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Slower or quicker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Runs take longer.
    Up,
    /// Runs take less long.
    Down,
}

/// The level has shifted.
#[derive(Clone, Debug, PartialEq)]
pub struct Shift {
    /// Slower or quicker.
    pub direction: Direction,
    /// How many of the last runs are at the new level; at least 3.
    pub runs: usize,
    /// How many runs they were held against; at least [`MIN_BASE_RUNS`].
    pub base_runs: usize,
    /// The level before, in seconds, for the hours and weekdays of the new runs.
    pub before: f64,
    /// The runs before, in seconds, likewise, the shortest first.
    pub base: Vec<f64>,
    /// The level now, in seconds: the median of the last `runs`.
    pub after: f64,
    /// Both levels as logarithms, less what hour and weekday explain.
    pub levels: (f64, f64),
    /// `after / before`.
    pub ratio: f64,
    /// Of the last `runs`, how many lie beyond the middle between both levels.
    pub beyond: usize,
    /// Logarithm of the likelihood ratio, after all reductions.
    pub strength: f64,
    /// What `strength` had to reach.
    pub threshold: f64,
}

impl Shift {
    /// Nine of ten runs before lay between these, in seconds.
    pub fn range(&self) -> (f64, f64) {
        let left_out = self.base.len() / 20;
        (
            self.base[left_out],
            self.base[self.base.len() - 1 - left_out],
        )
    }

    /// How sure, in (0.5, 1): the likelihood ratio as a share, with both hypotheses given the same chance per
    /// threshold. 0.5 would be at the threshold's prior; shown as "99.9 %".
    pub fn confidence(&self) -> f64 {
        // The prior odds against a shift at any one run are the threshold, less what a told shift has over it.
        let odds = (self.strength - self.threshold + PRIOR_MARGIN).exp();
        odds / (1.0 + odds)
    }
}

/// Of ten shifts that just reach the threshold, nine are real (development set): log odds of 9 to 1.
const PRIOR_MARGIN: f64 = 2.197;

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    /// Local wall clock, in seconds since 1970-01-01T00:00 of that clock.
    wall: i64,
    /// Logarithm of the duration, in [`LOG_UNIT`].
    log: i32,
    /// The same, less what hour and weekday explain.
    adjusted: i32,
}

/// Location and spread of the recent past, drawn now and then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Rough {
    median: i32,
    spread: i32,
    age: u32,
}

/// Watches one series.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Detector {
    points: VecDeque<Point>,
    /// Points of the present segment among those kept: those since the last shift.
    segment: usize,
    /// Runs seen since the beginning.
    seen: u64,
    /// Wall clock of the first run.
    first_wall: i64,
    /// How runs lay around their level before the last shift, in [`LOG_UNIT`].
    shape: Vec<i32>,
    cycle: Cycle,
    rough: Option<Rough>,
}

#[allow(clippy::cast_possible_truncation)]
fn to_units(log: f64) -> i32 {
    (log / LOG_UNIT).round() as i32
}

fn from_units(units: i32) -> f64 {
    f64::from(units) * LOG_UNIT
}

#[allow(clippy::cast_precision_loss)]
fn float(count: usize) -> f64 {
    count as f64
}

/// A candidate that stands out.
struct Candidate {
    runs: usize,
    evidence: Evidence,
    threshold: f64,
}

impl Detector {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs seen.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes in the next run: when it was (local wall clock, in seconds; hours and weekdays are read from
    /// it) and how long it took, in seconds. A duration that is not above zero counts as a nanosecond.
    pub fn push(&mut self, wall: i64, seconds: f64) -> Option<Shift> {
        self.take(wall, seconds);
        let candidate = self.strongest()?;
        match self.doubt(&candidate) {
            Doubt::None => {
                let shift = self.describe(&candidate);
                self.begin_segment(candidate.runs);
                Some(shift)
            }
            Doubt::Wait => None,
            Doubt::Usual => {
                self.begin_segment(candidate.runs);
                None
            }
        }
    }

    /// Median of the newest `count` runs (of those kept) as a logarithm, less what hour and weekday explain;
    /// `None` before the first run.
    pub fn level(&self, count: usize) -> Option<f64> {
        let mut logs: Vec<i32> = self.newest(count).collect();
        (!logs.is_empty()).then(|| from_units(median(&mut logs)))
    }

    /// Runs since the last shift, of those kept.
    pub fn segment_runs(&self) -> usize {
        self.segment
    }

    /// What hour and weekday explain of a run at a wall clock, as a logarithm.
    pub fn explained(&self, wall: i64) -> f64 {
        self.cycle.at(wall)
    }

    fn take(&mut self, wall: i64, seconds: f64) {
        let log = seconds.max(1e-9).ln();
        if self.seen == 0 {
            self.first_wall = wall;
        }
        self.seen += 1;
        if self.cycle.take(wall, log, self.usual_gap()) {
            for point in &mut self.points {
                point.adjusted = to_units(from_units(point.log) - self.cycle.at(point.wall));
            }
            self.rough = None;
        }
        let log = to_units(log);
        self.points.push_back(Point {
            wall,
            log,
            adjusted: to_units(from_units(log) - self.cycle.at(wall)),
        });
        self.segment += 1;
        if self.points.len() > KEPT_RUNS {
            self.points.pop_front();
        }
        self.segment = self.segment.min(self.points.len());
    }

    /// Mean gap between runs so far, in seconds.
    fn usual_gap(&self) -> f64 {
        let Some(last) = self.points.back().filter(|_| self.points.len() > 1) else {
            return 0.0;
        };
        let first = self.points[0].wall;
        #[allow(clippy::cast_precision_loss)]
        let span = (last.wall - first) as f64;
        span / float(self.points.len() - 1)
    }

    /// Runs come several times a day, and the daily cycle is not known yet.
    fn is_young(&self) -> bool {
        let now = self.points.back().map_or(0, |point| point.wall);
        #[allow(clippy::cast_precision_loss)]
        let days = (now - self.first_wall) as f64 / DAY as f64;
        self.seen > 8 && days < YOUNG_DAYS && self.usual_gap() < 0.5 * 86_400.0
    }

    /// Adjusted logarithms of the newest `count` runs, oldest first.
    fn newest(&self, count: usize) -> impl Iterator<Item = i32> + '_ {
        let skip = self.points.len() - count.min(self.points.len());
        self.points.iter().skip(skip).map(|point| point.adjusted)
    }

    /// The candidate that is furthest above its threshold.
    fn strongest(&mut self) -> Option<Candidate> {
        if self.segment < MIN_BASE_RUNS + LENGTHS[0] {
            return None;
        }
        let logs: Vec<f64> = self.newest(self.segment).map(from_units).collect();
        let rough = self.rough(&logs);
        let shape: Vec<f64> = self.shape.iter().map(|units| from_units(*units)).collect();
        let mut sum = 0.0;
        let mut summed = 0;
        let mut best: Option<Candidate> = None;
        for runs in LENGTHS {
            if logs.len() < runs + MIN_BASE_RUNS {
                break;
            }
            let start = logs.len() - runs;
            if let Some((center, spread)) = rough {
                let more = logs[start..logs.len() - summed].iter();
                sum += more
                    .map(|log| ((log - center) / spread).clamp(-4.0, 4.0))
                    .sum::<f64>();
                summed = runs;
                if sum * sum / (2.0 * float(runs)) < ROUGH_SHARE * THRESHOLD {
                    continue;
                }
            }
            let base = &logs[start.saturating_sub(BASE_RUNS)..start];
            let sample = Sample {
                base,
                group: &logs[start..],
                shape: &shape,
            };
            let Some(evidence) = density::compare(&sample, MIN_FACTOR.ln(), MIN_SHARE) else {
                continue;
            };
            let threshold = THRESHOLD;
            let is_better = best.as_ref().is_none_or(|known| {
                evidence.strength / threshold > known.evidence.strength / known.threshold
            });
            if evidence.strength >= threshold && is_better {
                best = Some(Candidate {
                    runs,
                    evidence,
                    threshold,
                });
            }
        }
        best
    }

    /// Center and spread of the past, leaving out what may have moved; `None` while there is little of it.
    fn rough(&mut self, logs: &[f64]) -> Option<(f64, f64)> {
        if logs.len() < FEW_RUNS {
            return None;
        }
        let known = self.rough.filter(|rough| rough.age < ROUGH_EVERY);
        let rough = known.map_or_else(
            || {
                let recent = (logs.len() / 3).min(LENGTHS[LENGTHS.len() - 1]);
                let mut past: Vec<i32> = logs[..logs.len() - recent]
                    .iter()
                    .map(|log| to_units(*log))
                    .collect();
                let center = median(&mut past);
                for log in &mut past {
                    *log = (*log - center).abs();
                }
                let spread = median(&mut past);
                Rough {
                    median: center,
                    spread: spread.max(to_units(density::MIN_SPREAD / 1.4826)),
                    age: 0,
                }
            },
            |rough| Rough {
                age: rough.age + 1,
                ..rough
            },
        );
        self.rough = Some(rough);
        Some((from_units(rough.median), 1.4826 * from_units(rough.spread)))
    }

    /// The runs since a shift are a segment of their own. How runs lay around their level stays known.
    fn begin_segment(&mut self, runs: usize) {
        let end = self.points.len() - runs;
        let start = (self.points.len() - self.segment).max(end.saturating_sub(BASE_RUNS));
        let mut base: Vec<i32> = self.points.range(start..end).map(|p| p.adjusted).collect();
        let center = median(&mut base);
        self.shape = base.iter().map(|log| log - center).collect();
        self.segment = runs;
        self.rough = None;
    }

    fn describe(&self, candidate: &Candidate) -> Shift {
        let end = self.points.len() - candidate.runs;
        let start = (self.points.len() - self.segment).max(end.saturating_sub(BASE_RUNS));
        let mut base: Vec<i32> = self.points.range(start..end).map(|p| p.adjusted).collect();
        base.sort_unstable();
        let mut cycles: Vec<i32> = self
            .points
            .range(end..)
            .map(|point| point.log - point.adjusted)
            .collect();
        let cycle = from_units(median(&mut cycles));
        let seconds = |log: i32| (from_units(log) + cycle).exp();
        let mut group: Vec<i32> = self.points.range(end..).map(|p| p.adjusted).collect();
        let now = median(&mut group);
        let usual = median(&mut base.clone());
        let (before, after) = (seconds(usual), seconds(now));
        Shift {
            direction: if candidate.evidence.moved > 0.0 {
                Direction::Up
            } else {
                Direction::Down
            },
            runs: candidate.runs,
            base_runs: base.len(),
            before,
            base: base.into_iter().map(seconds).collect(),
            after,
            levels: (from_units(usual), from_units(now)),
            ratio: after / before,
            beyond: candidate.evidence.beyond,
            strength: candidate.evidence.strength,
            threshold: candidate.threshold,
        }
    }
}

/// The median of a list, which is reordered. The list is not empty.
fn median(list: &mut [i32]) -> i32 {
    let (count, half) = (list.len(), list.len() / 2);
    let (below, high, _) = list.select_nth_unstable(half);
    let high = *high;
    if count % 2 == 1 {
        return high;
    }
    let low = below.iter().copied().max().unwrap_or(high);
    low + (high - low) / 2
}
