//! # run_regression and model_regression
//!
//! ## What it tells
//! A job (or a model) has become slower than its own history says, by how much, and since which run.
//!
//! ## When to use
//! For every job whose length matters and has no fixed limit. With `times = "2 of 3"` a single slow run
//! says nothing.
//!
//! ## Keys
//! `method` (`robust_z` or `percent`; `changepoint` and `trend` are not built yet), `percent` (0.5),
//! `z` (4), `min_ratio` (1.2), `min_delta` (`"10s"`), `baseline_runs` (20), `min_runs` (8), `clock` (`run`),
//! and the common `times` and `clear` (0.9).
//!
//! * `percent`: breach if x > (1 + percent) * median of the baseline.
//! * `robust_z`: breach if z >= `z` and x / median >= `min_ratio` and x - median >= `min_delta`, all three,
//!   with z on ln x, centre the median, scale 1.4826 MAD with a floor.
//!
//! Only successes are judged and only like runs (same job, job type and trigger class) are compared. The
//! judged runs are never in their own baseline.
//!
//! ## No data
//! Fewer than `min_runs` like successes before the judged ones: Unknown.
//!
//! ## Resolve
//! The baseline is frozen when the alert opens, so that a regression cannot clear itself by becoming
//! normal. It closes when runs are back under `clear` of the threshold (as many as make the breach
//! impossible under `times`).

use super::super::alert::{Evidence, Verdict};
use super::super::baseline::{Baseline, seconds, span};
use super::super::history::Outcome;
use super::super::notification::Fact;
use super::super::observation::{Name, Run, Status};
use super::super::subject::SubjectKey;
use super::super::time::{Span, Timestamp, human_span};
use super::context::{Context, Judgement, clock_time, is_like, resolved};
use super::{Clock, Times};

/// How durations are compared with their baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Robust z-score on log durations.
    RobustZ,
    /// Share above the median.
    Percent,
    /// The level has shifted.
    Changepoint,
    /// The slope reaches the limit within the horizon.
    Trend,
}

/// Duration against a baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Regression {
    /// How.
    pub method: Method,
    /// `percent`: share above the median that breaches; default 0.5.
    pub percent: f64,
    /// `robust_z`: z-score that breaches; default 4.
    pub z: f64,
    /// Smallest ratio to the median that breaches; default 1.2.
    pub min_ratio: f64,
    /// Smallest difference to the median that breaches; default 10 s.
    pub min_delta: Span,
    /// Successes that make the baseline; default 20, at most 200.
    pub baseline_runs: u32,
    /// Fewer than this are Unknown; default 8.
    pub min_runs: u32,
    /// `trend`: how far ahead; default 14 d.
    pub horizon: Span,
    /// Which time of the run; default run.
    pub clock: Clock,
}

/// A finished success, as far as it matters here.
#[derive(Clone, Debug)]
struct Sample {
    seconds: f64,
    finished_at: Timestamp,
    run_id: Option<Name>,
}

/// Most runs judged in one evaluation: after a long absence the older ones are history.
const MAX_JUDGED: usize = 200;

impl Regression {
    /// Judges a job or a model.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let samples = match ctx.subject {
            SubjectKey::Job(..) => self.run_samples(ctx),
            SubjectKey::Model(..) => self.model_samples(ctx),
            SubjectKey::Source(_) | SubjectKey::Receiver(_) => Vec::new(),
        };
        let Some(newest) = samples.last() else {
            return judgement;
        };
        let times = ctx.rule.times.unwrap_or(Times { needed: 1, of: 1 });
        let first_new =
            samples.partition_point(|sample| sample.finished_at <= ctx.memory.judged_until);
        // On the first look the newest run is judged: a condition that is true already.
        let is_first_look = ctx.memory.judged_until == ctx.memory.watching_since;
        let from = if is_first_look {
            first_new.min(samples.len() - 1)
        } else {
            first_new
        };
        let mut frozen = ctx
            .open
            .iter()
            .find(|alert| alert.is_open())
            .and_then(|alert| alert.frozen);
        for index in from..samples.len() {
            let verdict = self.verdict(ctx, &samples[..=index], times, frozen);
            match &verdict {
                Verdict::Breach(evidence) => frozen = frozen.or(evidence.baseline),
                Verdict::Ok(_) => frozen = None,
                Verdict::Unknown(_) => {}
            }
            judgement.find(samples[index].finished_at, verdict);
        }
        judgement.memory.judged_until = ctx.memory.judged_until.max(newest.finished_at);
        judgement
    }

    /// Samples needed: what is judged, its window, and the baseline before it; oldest first.
    fn wanted(&self, ctx: &Context<'_>) -> usize {
        let times = ctx.rule.times.map_or(1, |times| times.of);
        (self.baseline_runs + times) as usize + MAX_JUDGED
    }

    fn run_samples(&self, ctx: &Context<'_>) -> Vec<Sample> {
        let Some(job) = ctx.job() else {
            return Vec::new();
        };
        let Some(newest) = ctx.last_success(job) else {
            return Vec::new();
        };
        let mut samples: Vec<Sample> = ctx
            .finished(job)
            .filter(|run| run.status == Status::Success && is_like(run, newest))
            .filter_map(|run| self.sample(ctx, run))
            .take(self.wanted(ctx))
            .collect();
        samples.reverse();
        samples
    }

    fn sample(&self, ctx: &Context<'_>, run: &Run) -> Option<Sample> {
        let took = clock_time(run, self.clock, ctx.now)?;
        Some(Sample {
            seconds: seconds(took),
            finished_at: run.finished_at?,
            run_id: Some(run.id.clone()),
        })
        .filter(|sample| sample.seconds > 0.0)
    }

    fn model_samples(&self, ctx: &Context<'_>) -> Vec<Sample> {
        let SubjectKey::Model(_, job, model) = ctx.subject else {
            return Vec::new();
        };
        let Some(history) = ctx.project.model(job, model) else {
            return Vec::new();
        };
        let newest_run = history
            .executions()
            .last()
            .and_then(|last| ctx.project.run_of(last));
        let is_wanted = |run: Option<&Run>| match (run, newest_run) {
            (Some(run), Some(newest)) => ctx.is_judged(run) && is_like(run, newest),
            (None, _) | (_, None) => true,
        };
        let mut samples: Vec<Sample> = history
            .executions()
            .iter()
            .rev()
            .filter(|execution| execution.outcome() == Outcome::Success)
            .filter(|execution| is_wanted(ctx.project.run_of(execution)))
            .filter_map(|execution| {
                Some(Sample {
                    seconds: seconds(execution.run_time()?),
                    finished_at: execution.finished_at()?,
                    run_id: ctx.project.run_of(execution).map(|run| run.id.clone()),
                })
            })
            .filter(|sample| sample.seconds > 0.0)
            .take(self.wanted(ctx))
            .collect();
        samples.sort_by_key(|sample| sample.finished_at);
        samples
    }

    /// Judges the last of `samples`.
    fn verdict(
        &self,
        ctx: &Context<'_>,
        samples: &[Sample],
        times: Times,
        frozen: Option<Baseline>,
    ) -> Verdict {
        let window_start = samples.len().saturating_sub(times.of as usize);
        let (before, window) = samples.split_at(window_start);
        let base_start = before.len().saturating_sub(self.baseline_runs as usize);
        let own = Baseline::of(before[base_start..].iter().map(|sample| sample.seconds));
        let Some(baseline) = frozen.or(own) else {
            return Verdict::Unknown(format!("no earlier runs, needs {}", self.min_runs));
        };
        if baseline.count < self.min_runs {
            return Verdict::Unknown(format!("{} runs, needs {}", baseline.count, self.min_runs));
        }
        let threshold = self.threshold(&baseline);
        let breaching = window
            .iter()
            .filter(|sample| sample.seconds > threshold)
            .count();
        if breaching >= times.needed as usize {
            return Verdict::Breach(self.evidence(ctx, samples, &baseline, threshold, breaching));
        }
        if frozen.is_some() {
            let clear_at =
                (threshold * ctx.rule.clear).max(f64::midpoint(baseline.median, threshold));
            let needed = (times.of - times.needed + 1) as usize;
            let is_clear = samples
                .iter()
                .rev()
                .take(needed)
                .all(|sample| sample.seconds <= clear_at);
            if !is_clear {
                return Verdict::Unknown("not clearly back yet".into());
            }
        }
        self.recovery(ctx, window, &baseline)
    }

    /// The duration, in seconds, above which a run breaches.
    fn threshold(&self, baseline: &Baseline) -> f64 {
        match self.method {
            Method::Percent => baseline.median * (1.0 + self.percent),
            Method::RobustZ | Method::Changepoint | Method::Trend => baseline
                .at_z(self.z)
                .max(baseline.median * self.min_ratio)
                .max(baseline.median + seconds(self.min_delta)),
        }
    }

    fn evidence(
        &self,
        ctx: &Context<'_>,
        samples: &[Sample],
        baseline: &Baseline,
        threshold: f64,
        breaching: usize,
    ) -> Evidence {
        let newest = &samples[samples.len() - 1];
        // "since" is the first slow run of the unbroken row; single quick ones inside do not end it.
        let mut first = samples.len() - 1;
        let mut quick = 0;
        for (index, sample) in samples.iter().enumerate().rev() {
            if sample.seconds > threshold {
                first = index;
                quick = 0;
            } else {
                quick += 1;
                if quick > 1 {
                    break;
                }
            }
        }
        let slow = samples[first..]
            .iter()
            .filter(|sample| sample.seconds > threshold)
            .count();
        let worst = samples[first..]
            .iter()
            .rev()
            .find(|sample| sample.seconds > threshold);
        let shown = worst.unwrap_or(newest);
        let (took, usual) = (span(shown.seconds), span(baseline.median));
        let more = (shown.seconds / baseline.median - 1.0) * 100.0;
        let since = ctx.clock(samples[first].finished_at);
        let headline = format!(
            "Slower: {} took {}, usual {} (+{more:.0} %, {slow} of {} runs since {since})",
            ctx.title(),
            human_span(took),
            human_span(usual),
            samples.len() - first,
        );
        let mut facts = vec![
            Fact::new("Observed", human_span(took)),
            Fact::new(
                "Usual",
                format!(
                    "{}, range {} to {}, {} runs",
                    human_span(usual),
                    human_span(span(baseline.min)),
                    human_span(span(baseline.max)),
                    baseline.count
                ),
            ),
            Fact::new("Threshold", human_span(span(threshold))),
        ];
        if self.method == Method::RobustZ {
            facts.push(Fact::new(
                "Robust z",
                format!("{:.1} (limit {})", baseline.z(shown.seconds), self.z),
            ));
        }
        if let Some(times) = ctx.rule.times {
            facts.push(Fact::new(
                "Times",
                format!("{breaching} of the last {} runs", times.of),
            ));
        }
        Evidence {
            headline,
            facts,
            run_id: shown.run_id.clone(),
            weight: shown.seconds - baseline.median,
            baseline: Some(*baseline),
            ..Evidence::default()
        }
    }

    fn recovery(&self, ctx: &Context<'_>, window: &[Sample], baseline: &Baseline) -> Verdict {
        let now = window
            .last()
            .map_or(Span::zero(), |sample| span(sample.seconds));
        resolved(
            format!(
                "Back to usual: {} took {}, usual {}",
                ctx.title(),
                human_span(now),
                human_span(span(baseline.median))
            ),
            vec![
                Fact::new("Observed", human_span(now)),
                Fact::new("Usual", human_span(span(baseline.median))),
            ],
        )
    }
}
