//! The probability of missing a deadline, from what like runs have done.
//!
//! Role: [`Durations`] learns how long the next run of a job takes; [`Waits`] how long it is until one
//! starts; [`Progress`] what remains of a run whose models are known. Each answers with a probability and
//! with the end to expect.
//!
//! Guarantees: no distribution is assumed; time that has passed rules out what is over; a run longer than all
//! before it is never certain of anything; fewer than [`MIN_RUNS`] like runs say nothing. The same past gives
//! the same answer. How well the probabilities hold is measured by `cargo bench --bench forecast`, and its
//! small form is a test.
//!
//! What it does not do: choose which runs are alike, or when to warn: that is the deadline's.

mod experts;
mod law;
mod progress;
#[cfg(test)]
mod tests;

use chrono::{Datelike as _, Timelike as _};
use chrono_tz::Tz;

use super::baseline::{seconds, span};
use super::time::{Span, Timestamp};
use experts::Mixture;
pub use progress::{Course, PAST_COURSES, Piece, Progress};

/// Fewer past runs than this say nothing.
pub const MIN_RUNS: usize = 8;

/// Past runs that are looked at: those of one tick of the week of an hourly job lie 168 apart.
pub const PAST_RUNS: usize = 1_000;

/// A past run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Past {
    /// Minute of the week in which it was created.
    minute: i64,
    /// Logarithm of the seconds that it ran.
    log: f64,
}

impl Past {
    /// A run created at an instant, in the zone of the scheduler. `None`: it took no time.
    pub fn new(created_at: Timestamp, zone: Tz, took: Span) -> Option<Self> {
        let log = seconds(took).ln();
        let minute = minute_of_week(created_at, zone);
        log.is_finite().then_some(Self { minute, log })
    }
}

/// How long the next run takes.
#[derive(Clone, Debug)]
pub struct Durations(Mixture);

impl Durations {
    /// From past runs, oldest first, for one created at `created_at`. `None` with fewer than [`MIN_RUNS`].
    pub fn learn(past: &[Past], created_at: Timestamp, zone: Tz) -> Option<Self> {
        if past.len() < MIN_RUNS {
            return None;
        }
        let minute = minute_of_week(created_at, zone);
        Mixture::learn(past, minute).map(Self)
    }

    /// The probability that a run that has been running for `elapsed` is still running after `left` more.
    pub fn miss_when_running(&self, elapsed: Span, left: Span) -> f64 {
        let longer = self.0.longer(seconds(elapsed));
        let missing = self.0.longer(seconds(elapsed + left.max(Span::zero())));
        share(missing, longer)
    }

    /// What a run that has been running for `elapsed` still takes: with a probability of `quantile` at most
    /// this.
    pub fn remaining(&self, elapsed: Span, quantile: f64) -> Span {
        search(|left| 1.0 - self.miss_when_running(elapsed, left), quantile)
    }

    /// The probability that a run that has not started is not done after `left`, when it has been waited for
    /// its start for `waited`.
    pub fn miss_when_waiting(&self, waits: &Waits, waited: Span, left: Span) -> f64 {
        let missing = |(wait, weight): (Span, f64)| {
            weight * self.miss_when_running(Span::zero(), left - wait)
        };
        waits.further(waited).into_iter().map(missing).sum()
    }

    /// As [`Self::remaining`], before the start.
    pub fn remaining_when_waiting(&self, waits: &Waits, waited: Span, quantile: f64) -> Span {
        let done = |left| 1.0 - self.miss_when_waiting(waits, waited, left);
        search(done, quantile)
    }
}

impl Progress {
    /// The probability that the run takes longer than `left` from this point.
    pub fn miss(&self, left: Span) -> f64 {
        self.law.longer(seconds(left))
    }

    /// What the run still takes: with a probability of `quantile` at most this.
    pub fn remaining(&self, quantile: f64) -> Span {
        search(|left| 1.0 - self.miss(left), quantile)
    }
}

/// How long runs were waited for, from their tick or their creation to their start.
#[derive(Clone, Debug, Default)]
pub struct Waits(Vec<Span>);

/// When it has been waited longer than ever, the further wait is as long as the wait so far, roughly: what is
/// said of a thing of which nothing else is known (Gott 1993). Quantiles 1/8, 3/8, 5/8 and 7/8 of it.
const UNHEARD_WAITS: [f64; 4] = [0.143, 0.6, 1.667, 7.0];

/// No wait is shorter than this, where nothing else is known.
const LEAST_WAIT: Span = Span::seconds(15);

impl Waits {
    /// From past waits, in any order.
    pub fn new(past: impl IntoIterator<Item = Span>) -> Self {
        Self(past.into_iter().collect())
    }

    /// What is still to be waited, with weights that add up to one: waits that are over are ruled out, and
    /// the unheard-of weighs as much as one run.
    fn further(&self, waited: Span) -> Vec<(Span, f64)> {
        let still = self.0.iter().filter(|wait| **wait >= waited);
        let mut further: Vec<(Span, f64)> = still.map(|wait| (*wait - waited, 1.0)).collect();
        #[allow(clippy::cast_precision_loss)]
        let each = 1.0 / UNHEARD_WAITS.len() as f64;
        let so_far = seconds(waited.max(LEAST_WAIT));
        further.extend(UNHEARD_WAITS.map(|factor| (span(so_far * factor), each)));
        let total: f64 = further.iter().map(|(_, weight)| weight).sum();
        for (_, weight) in &mut further {
            *weight /= total;
        }
        further
    }
}

/// The span at which a growing share reaches `quantile`.
fn search(share: impl Fn(Span) -> f64, quantile: f64) -> Span {
    const LONGEST: Span = Span::days(30);
    const STEPS: usize = 32;
    let (mut low, mut high) = (Span::zero(), Span::minutes(1));
    while share(high) < quantile && high < LONGEST {
        low = high;
        high = high * 2;
    }
    for _ in 0..STEPS {
        let middle = (low + high) / 2;
        if share(middle) < quantile {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// `part` of `whole`, between 0 and 1.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 {
        (part / whole).clamp(0.0, 1.0)
    } else {
        1.0
    }
}

fn minute_of_week(at: Timestamp, zone: Tz) -> i64 {
    let local = at.in_zone(zone);
    let day = i64::from(local.weekday().num_days_from_monday());
    day * 24 * 60 + i64::from(local.hour() * 60 + local.minute())
}
