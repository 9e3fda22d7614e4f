//! Several opinions of how long the next run takes, each believed as far as it foretold the last runs.
//!
//! One looks at the last runs, one at the very last, one at many, two follow the level (a regression under way is believed within a
//! few runs), two look at runs of the same time of day and of the same tick of the week. Which of them is
//! right is a matter of the job, and is learnt from it: [`Mixture::learn`] weighs them by the density that
//! they gave to what came (a Bayesian average with forgetting).

use super::Past;
use super::law::{Law, median, spread};

/// A way to look at the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expert {
    /// The last runs, all alike.
    Last,
    /// The very last runs.
    Newest,
    /// Many runs, the newer the more.
    Many,
    /// The level, followed slowly, and how far runs were off it.
    Level,
    /// The level, followed at once.
    FastLevel,
    /// Runs of the same time of day.
    SameTime,
    /// Runs of the same tick of the week.
    SameTick,
}

const EXPERTS: [Expert; 7] = [
    Expert::Last,
    Expert::Newest,
    Expert::Many,
    Expert::Level,
    Expert::FastLevel,
    Expert::SameTime,
    Expert::SameTick,
];

/// Newest runs by which the experts are weighed.
const SCORED: usize = 40;

/// What an expert was right about one run ago counts so much of what it is right about now.
const MEMORY: f64 = 0.95;

/// How fast belief follows evidence: below one, because runs are not independent of each other.
const RATE: f64 = 0.5;

/// Nobody is disbelieved further than this, in logarithms: what was wrong for long may be right from now on.
const MOST_BEHIND: f64 = 2.0;

/// A run that nobody foretold says little about who is right.
const LEAST_DENSITY: f64 = 1e-3;

/// A few runs say less of how far runs lie apart than many do, so theirs is taken, and somewhat more.
const NEWEST_SPREAD: f64 = 1.5;

/// The fewest runs of a time of day, or of a tick of the week, that say something.
const SAME_RUNS: usize = 5;

/// Times of day are the same up to so many minutes.
const SAME_MINUTES: i64 = 40;

const DAY: i64 = 24 * 60;
const WEEK: i64 = 7 * DAY;

impl Expert {
    /// What this one says of the run after `past`, created at `minute` of the week.
    fn law(self, past: &[Past], minute: i64) -> Option<Law> {
        match self {
            Self::Last => alike(&newest(past, 20)),
            Self::Newest => {
                let spread = NEWEST_SPREAD * spread(&newest(past, 20));
                Law::new(newest(past, 4).into_iter().map(|log| (log, 1.0)), spread)
            }
            Self::Many => {
                let logs = newest(past, 100);
                Law::new(fading(&logs, 50.0), spread(&logs))
            }
            Self::Level => level(&newest(past, 60), 0.3),
            Self::FastLevel => level(&newest(past, 60), 0.7),
            Self::SameTime => same(past, minute, DAY, 20),
            Self::SameTick => same(past, minute, WEEK, 12),
        }
    }
}

/// Logarithms of the newest runs, newest first.
fn newest(past: &[Past], count: usize) -> Vec<f64> {
    past.iter().rev().take(count).map(|run| run.log).collect()
}

fn alike(logs: &[f64]) -> Option<Law> {
    Law::new(logs.iter().map(|log| (*log, 1.0)), spread(logs))
}

/// Weights that halve every `half_life` runs, newest first.
fn fading(logs: &[f64], half_life: f64) -> impl Iterator<Item = (f64, f64)> {
    let share = 0.5_f64.powf(1.0 / half_life);
    logs.iter().scan(1.0 / share, move |weight, log| {
        *weight *= share;
        Some((*log, *weight))
    })
}

/// The level that the runs have come to, with how far each of them was off the level before it.
fn level(newest_first: &[f64], follow: f64) -> Option<Law> {
    const FIRST: usize = 3;
    const LONGEST_STEP: f64 = 0.7;
    let mut logs: Vec<f64> = newest_first.iter().rev().copied().collect();
    if logs.len() < 2 * FIRST {
        return None;
    }
    let mut level = median(&mut logs[..FIRST])?;
    let mut off: Vec<f64> = logs[FIRST..]
        .iter()
        .map(|log| {
            let off = log - level;
            level += follow * off.clamp(-LONGEST_STEP, LONGEST_STEP);
            off
        })
        .collect();
    off.reverse();
    let points = fading(&off, 40.0).map(|(off, weight)| (level + off, weight));
    Law::new(points, spread(&off))
}

/// Runs created at the same minute of a day or a week.
fn same(past: &[Past], minute: i64, period: i64, count: usize) -> Option<Law> {
    let is_same = |run: &&Past| {
        let apart = (run.minute - minute).rem_euclid(period);
        apart.min(period - apart) <= SAME_MINUTES
    };
    let runs = past.iter().rev().filter(is_same).take(count);
    let logs: Vec<f64> = runs.map(|run| run.log).collect();
    (logs.len() >= SAME_RUNS).then(|| alike(&logs))?
}

/// Laws, with how much each is believed.
#[derive(Clone, Debug)]
pub(super) struct Mixture(Vec<(Law, f64)>);

impl Mixture {
    /// From runs, oldest first, for one created at `minute` of the week.
    pub(super) fn learn(past: &[Past], minute: i64) -> Option<Self> {
        let scores = scores(past);
        let best = scores.iter().copied().fold(f64::MIN, f64::max);
        let believed = EXPERTS
            .iter()
            .zip(scores)
            .filter_map(|(expert, score)| Some((expert.law(past, minute)?, (score - best).exp())));
        Self::of(believed.collect())
    }

    /// From one law alone.
    pub(super) fn single(law: Law) -> Self {
        Self(vec![(law, 1.0)])
    }

    fn of(mut laws: Vec<(Law, f64)>) -> Option<Self> {
        let total: f64 = laws.iter().map(|(_, belief)| belief).sum();
        for law in &mut laws {
            law.1 /= total;
        }
        (!laws.is_empty()).then_some(Self(laws))
    }

    /// The share of times longer than so many seconds.
    pub(super) fn longer(&self, seconds: f64) -> f64 {
        if seconds <= 0.0 {
            return 1.0;
        }
        let log = seconds.ln();
        self.0
            .iter()
            .map(|(law, belief)| belief * law.longer(log))
            .sum()
    }
}

/// How much better than the first expert each of them foretold the last runs, in logarithms.
fn scores(past: &[Past]) -> [f64; EXPERTS.len()] {
    let mut scores = [0.0; EXPERTS.len()];
    let from = past.len().saturating_sub(SCORED).max(super::MIN_RUNS);
    for (index, run) in past.iter().enumerate().skip(from) {
        let before = &past[..index];
        let foretold = |expert: Expert| {
            let law = expert.law(before, run.minute)?;
            Some((law.density(run.log) + LEAST_DENSITY).ln())
        };
        let Some(first) = foretold(EXPERTS[0]) else {
            continue;
        };
        for (score, expert) in scores.iter_mut().zip(EXPERTS) {
            // Who had no opinion is neither right nor wrong.
            let gain = foretold(expert).map_or(0.0, |own| own - first);
            *score = *score * MEMORY + RATE * gain;
        }
        let best = scores.iter().copied().fold(f64::MIN, f64::max);
        for score in &mut scores {
            *score = score.max(best - MOST_BEHIND);
        }
    }
    scores
}
