//! How much of a run's usual work is done, and how long past runs took from that point on.
//!
//! Work is counted by models: a finished one counts as much as it usually takes, an open one in part. For
//! each past run the instant is sought at which it had done the same share; what it took from there to its
//! end is what remains. That is wall time, so models that run side by side, and the time between and after
//! them, are in it. Where past runs that were slow up to that point were slow after it, too, the pace of the
//! run so far is carried on, as far as they show.

use std::collections::BTreeMap;

use super::experts::Mixture;
use super::law::{Law, median, spread};

/// One model in a run: seconds since the start of the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// Which model, by a number of the caller's.
    pub model: u32,
    /// When it started.
    pub from: f64,
    /// When it finished; `None` while it goes on.
    pub to: Option<f64>,
}

/// A finished run with its models.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// Its models, of each the last execution.
    pub pieces: Vec<Piece>,
    /// How long it took, in seconds.
    pub took: f64,
}

/// How far a run has come, and what is usual from there.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Usual models that are done.
    pub done: usize,
    /// Models that are usual.
    pub usual: usize,
    /// What each past run would still take from this point, in seconds, at the pace of this run.
    pub remaining: Vec<f64>,
    pub(super) law: Mixture,
}

/// Past runs that are looked at.
pub const PAST_COURSES: usize = 20;

/// The share of an open model's usual work that is at most taken as done: it is not finished.
const OPEN_SHARE: f64 = 0.95;

/// With less of the usual work done than this, nothing can be told from it.
const LEAST_DONE: f64 = 0.01;

/// What remains is told to this, in seconds.
const LEAST_SECONDS: f64 = 1.0;

/// A run this much faster or slower than a past one says nothing more than one that is less so.
const MOST_PACE: f64 = 1.1;

/// What is believed of how much of the pace carries on before past runs show anything, and how far that may be
/// off: anything from nothing to most of it. (More made warnings come and go where one early model was slow.)
const CARRIED: (f64, f64) = (0.25, 0.35);

/// A past run this much faster or slower than the others says nothing more about it than one that is less so.
const MOST_OFF: f64 = 0.5;

/// A run counts so much of what the next newer one counts: what has just become slow is believed soon. (Brier
/// score on the simulator's jobs: 0.0385 with 1.0, 0.0368 with 0.9, 0.0359 with 0.8, which is less well
/// calibrated between 40 and 80 %.)
const FADES: f64 = 0.9;

/// Runs differ by at least so much from their usual pace for no reason.
const PACE_NOISE: f64 = 0.05;

impl Progress {
    /// From past runs, newest first, and the models of a run that has been running for `elapsed` seconds.
    /// `None` while nothing usual has begun, and without [`super::MIN_RUNS`] past runs that show models.
    pub fn of(past: &[Course], now: &[Piece], elapsed: f64) -> Option<Self> {
        let past: Vec<&Course> = past
            .iter()
            .filter(|course| !course.pieces.is_empty())
            .take(PAST_COURSES)
            .collect();
        if past.len() < super::MIN_RUNS || elapsed <= 0.0 {
            return None;
        }
        let usual = usual_work(&past);
        // How far an open model has come depends on the pace, and the pace on how far the run has come.
        let steady = Point::of(&past, now, (&usual, elapsed), 1.0)?;
        let point = Point::of(&past, now, (&usual, elapsed), steady.pace(elapsed))?;
        let logs: Vec<f64> = point.rests(elapsed, point.carried.middle).collect();
        let spread_out = point
            .carried
            .values()
            .into_iter()
            .flat_map(|(value, weight)| {
                let rests = point.rests(elapsed, value);
                rests.enumerate().map(move |(index, log)| {
                    (log, weight * FADES.powi(i32::try_from(index).unwrap_or(0)))
                })
            });
        #[allow(clippy::cast_precision_loss)]
        let law = Law::new(spread_out, spread(&logs))?.of_runs(past.len() as f64);
        let is_done = |piece: &&Piece| {
            usual.contains_key(&piece.model) && piece.to.is_some_and(|to| to <= elapsed)
        };
        Some(Self {
            done: now.iter().filter(is_done).count(),
            usual: usual.len(),
            remaining: logs.iter().map(|log| log.exp()).collect(),
            law: Mixture::single(law),
        })
    }
}

/// The same point in past runs.
struct Point {
    /// Of each past run, the logarithms of the time until it, and from it to the end.
    splits: Vec<(f64, f64)>,
    carried: Carried,
}

impl Point {
    /// The point that a run has reached after `elapsed` seconds, its open models going at `pace` times what
    /// is usual. `None` while hardly anything is done.
    fn of(
        past: &[&Course],
        now: &[Piece],
        (usual, elapsed): (&BTreeMap<u32, f64>, f64),
        pace: f64,
    ) -> Option<Self> {
        let total: f64 = usual.values().sum();
        let share = work(usual, now, elapsed, pace) / total;
        if !share.is_finite() || share < LEAST_DONE {
            return None;
        }
        let split = |course: &&Course| {
            let reached = course.reached(usual, share);
            let rest = (course.took - reached).max(LEAST_SECONDS);
            (reached.max(LEAST_SECONDS).ln(), rest.ln())
        };
        let splits: Vec<(f64, f64)> = past.iter().map(split).collect();
        Some(Self {
            carried: Carried::learn(&splits),
            splits,
        })
    }

    /// Logarithms of what past runs took from here, at the pace of this run as far as it is carried on.
    fn rests(&self, elapsed: f64, carried: f64) -> impl Iterator<Item = f64> {
        let shown = self.shown_pace();
        self.splits
            .iter()
            .map(move |(reached, rest)| rest + carry(elapsed.ln() - reached, carried, shown))
    }

    /// How many times what is usual the run takes from here.
    fn pace(&self, elapsed: f64) -> f64 {
        let off = elapsed.ln() - self.usual_reached();
        carry(off, self.carried.middle, self.shown_pace()).exp()
    }

    fn usual_reached(&self) -> f64 {
        let mut reached: Vec<f64> = self.splits.iter().map(|split| split.0).collect();
        median(&mut reached).unwrap_or(0.0)
    }

    /// How far past runs were from the usual pace, at the most.
    fn shown_pace(&self) -> f64 {
        let usual = self.usual_reached();
        let off = self.splits.iter().map(|split| (split.0 - usual).abs());
        off.fold(PACE_NOISE, f64::max)
    }
}

/// What of a pace carries on: as past runs show, and beyond twice of what they show no more than is believed of
/// any job.
fn carry(pace: f64, carried: f64, shown: f64) -> f64 {
    let pace = pace.clamp(-MOST_PACE, MOST_PACE);
    let within = pace.clamp(-2.0 * shown, 2.0 * shown);
    carried * within + carried.min(CARRIED.0) * (pace - within)
}

/// What each usual model takes: those in at least half of the runs, and in one of the newest three. A model
/// that was added counts once it is usual, one that was removed no more once three runs were without it.
fn usual_work(past: &[&Course]) -> BTreeMap<u32, f64> {
    const NEWEST: usize = 3;
    let mut seen: BTreeMap<u32, (Vec<f64>, bool)> = BTreeMap::new();
    for (index, course) in past.iter().enumerate() {
        for piece in &course.pieces {
            let took = piece.to.unwrap_or(course.took) - piece.from;
            let entry = seen.entry(piece.model).or_default();
            entry.0.push(took.max(0.001));
            entry.1 |= index < NEWEST;
        }
    }
    let is_usual = |(times, is_new): &(Vec<f64>, bool)| *is_new && times.len() * 2 >= past.len();
    seen.into_iter()
        .filter(|(_, entry)| is_usual(entry))
        .filter_map(|(model, (mut times, _))| Some((model, median(&mut times)?)))
        .collect()
}

/// Usual work done at an instant, when an open model takes `pace` times what is usual.
fn work(usual: &BTreeMap<u32, f64>, pieces: &[Piece], at: f64, pace: f64) -> f64 {
    pieces
        .iter()
        .filter(|piece| piece.from < at)
        .filter_map(|piece| {
            let whole = *usual.get(&piece.model)?;
            let share = match piece.to {
                Some(to) if to <= at => 1.0,
                Some(_) | None => ((at - piece.from) / (whole * pace)).min(OPEN_SHARE),
            };
            Some(whole * share)
        })
        .sum()
}

impl Course {
    /// When it had done this share of its usual work.
    fn reached(&self, usual: &BTreeMap<u32, f64>, share: f64) -> f64 {
        const STEPS: usize = 24;
        let own = |piece: &Piece| usual.get(&piece.model).copied();
        let wanted = share * self.pieces.iter().filter_map(own).sum::<f64>();
        let (mut low, mut high) = (0.0, self.took);
        for _ in 0..STEPS {
            let middle = f64::midpoint(low, high);
            if self.work(usual, middle) < wanted {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }

    /// Usual work done at an instant, of a run whose end is known: an open model has done as much of it as of
    /// its own time.
    fn work(&self, usual: &BTreeMap<u32, f64>, at: f64) -> f64 {
        let pieces = self.pieces.iter().filter(|piece| piece.from < at);
        pieces
            .filter_map(|piece| {
                let whole = *usual.get(&piece.model)?;
                let took = piece.to.unwrap_or(self.took) - piece.from;
                let share = if took > 0.0 {
                    (at - piece.from) / took
                } else {
                    1.0
                };
                Some(whole * share.min(1.0))
            })
            .sum()
    }
}

/// How much of a run's pace up to a point carries on after it: from nothing (0) to all of it (1).
struct Carried {
    middle: f64,
    /// How far off that may be.
    deviation: f64,
}

impl Carried {
    /// The slope of the logarithms of past runs, drawn towards what is believed beforehand.
    fn learn(splits: &[(f64, f64)]) -> Self {
        let middle = |pick: fn(&(f64, f64)) -> f64| {
            let mut values: Vec<f64> = splits.iter().map(pick).collect();
            median(&mut values).unwrap_or(0.0)
        };
        let (before, after) = (middle(|split| split.0), middle(|split| split.1));
        let limit = |off: f64| off.clamp(-MOST_OFF, MOST_OFF);
        let off: Vec<(f64, f64)> = splits
            .iter()
            .map(|(reached, rest)| (limit(reached - before), limit(rest - after)))
            .collect();
        let both: f64 = off.iter().map(|(x, y)| x * y).sum();
        let squares: f64 = off.iter().map(|(x, _)| x * x).sum();
        let (believed, doubt) = CARRIED;
        let slope = |noise: f64| {
            let weight = noise / doubt.powi(2);
            (both + believed * weight) / (squares + weight)
        };
        // What the slope leaves unexplained, at first by as little noise as there is.
        let first = slope(PACE_NOISE.powi(2));
        let left: Vec<f64> = off.iter().map(|(x, y)| y - first * x).collect();
        let noise = spread(&left).max(PACE_NOISE).powi(2);
        let middle = slope(noise);
        Self {
            middle: middle.clamp(0.0, 1.0),
            deviation: (noise / (squares + noise / doubt.powi(2))).sqrt(),
        }
    }

    /// Values with weights.
    fn values(&self) -> [(f64, f64); 3] {
        let off = 1.22 * self.deviation;
        let value = |off: f64| (self.middle + off).clamp(0.0, 1.2);
        [(value(-off), 1.0), (value(0.0), 1.0), (value(off), 1.0)]
    }
}
