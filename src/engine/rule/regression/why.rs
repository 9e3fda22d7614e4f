//! Why a regression alert is open: the runs, what they were held against, and each number of the decision.

use serde::{Deserialize, Serialize};

use super::super::super::alert::Alert;
use super::super::super::baseline::{Baseline, LOG_SCALE_FLOOR, log_mad, seconds, span};
use super::super::super::time::{Timestamp, human_span};
use super::super::context::Context;
use super::super::season::Season;
use super::expected::{Expected, Frozen, points};
use super::samples::{Sample, is_alike};
use super::{Accepted, Method, Regression, Times, run_by_id};

/// What a regression was decided by. All durations in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegressionWhy {
    /// How durations are compared.
    pub method: String,
    /// Which time of the run.
    pub clock: String,
    /// The run that the figures are about.
    pub run: JudgedRun,
    /// What was usual for it.
    pub baseline: Baseline,
    /// Median absolute deviation of the logarithms of the baseline's runs, before it becomes a scale.
    pub log_mad: f64,
    /// The least scale that is believed.
    pub log_scale_floor: f64,
    /// The runs that the baseline was made from, newest first.
    pub baseline_runs: Vec<BaselineRun>,
    /// Those runs give the very figures above: none was read late or forgotten since.
    pub is_exact: bool,
    /// What each run of the baseline counts times, because a level was accepted.
    pub moved_by: Option<f64>,
    /// What has to hold, all of it, for a run to be slow.
    pub conditions: Vec<Condition>,
    /// Above this the run is slow.
    pub threshold: f64,
    /// At or below this a run is back.
    pub clear_at: f64,
    /// The runs that were judged, newest first.
    pub judged: Vec<JudgedRun>,
    /// Slow among the newest so many, and how many of them have to be.
    pub times: Counted,
    /// A level that was accepted before this alert.
    pub accepted: Option<Accepted>,
    /// What ends it.
    pub resolves: String,
}

/// A run that was judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgedRun {
    /// Its id, when it is known.
    pub id: Option<String>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// What is usual for it.
    pub usual: f64,
    /// Against what is usual.
    pub ratio: f64,
    /// Robust z-score.
    pub z: f64,
    /// Above the threshold.
    pub is_slow: bool,
    /// Back under `clear`.
    pub is_back: bool,
}

/// A run of the baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaselineRun {
    /// Its id, when it is known.
    pub id: Option<String>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How long it took.
    pub seconds: f64,
}

/// A number of the decision and its limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// The key of the rule that sets the limit.
    pub key: String,
    /// The number.
    pub value: f64,
    /// Its limit.
    pub limit: f64,
    /// Both are seconds.
    pub is_seconds: bool,
    /// It holds.
    pub is_met: bool,
}

/// Slow runs among the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Slow ones.
    pub slow: usize,
    /// How many have to be.
    pub needed: u32,
    /// Of how many.
    pub of: u32,
}

/// Judged runs shown.
const MAX_JUDGED: usize = 20;

impl Regression {
    /// Explains an alert of this rule from what is known now. `None` when its runs are not known any more.
    pub fn why(&self, ctx: &Context<'_>, alert: &Alert) -> Option<RegressionWhy> {
        let told = run_by_id(ctx, alert.evidence.run_id.as_ref());
        let mut newest = self.newest_first(*ctx, None);
        let newest = newest.find(|sample| is_alike(sample.run, told))?;
        let samples = self.samples_up_to(*ctx, &newest);
        let frozen = alert.frozen.map(|baseline| Frozen {
            baseline,
            since: alert.began_at,
        });
        let expected = self.expected(ctx, &samples, frozen);
        let times = ctx.rule.times.unwrap_or(Times { needed: 1, of: 1 });
        let began = samples.partition_point(|sample| sample.finished_at < alert.began_at);
        let window_start = (began + 1).saturating_sub(times.of as usize);
        let (before, window) = samples.split_at(window_start.min(samples.len()));
        let is_told = |sample: &&Sample<'_>| {
            let id = sample.run.map(|run| &run.id);
            id.is_some() && id == alert.evidence.run_id.as_ref()
        };
        let run = window.iter().rev().find(is_told).or(window.last())?;
        let baseline = expected.of(run)?;
        let judged = |sample: &Sample<'_>| self.judged_run(ctx, sample, &expected);
        let (runs, moved_by) = self.made_from(ctx, before, &baseline);
        let logs: Vec<f64> = runs.iter().map(|run| run.seconds).collect();
        let again = Baseline::of(logs.iter().copied());
        let again = again.map(|again| moved_by.map_or(again, |ratio| again.moved(ratio)));
        let slow = |sample: &&Sample<'_>| {
            let usual = expected.of(sample);
            usual.is_some_and(|usual| sample.seconds > self.threshold(&usual))
        };
        let last = samples.iter().rev().take(times.of as usize);
        let judged_newest: Vec<&Sample<'_>> = window.iter().rev().take(MAX_JUDGED).collect();
        Some(RegressionWhy {
            method: self.method.as_str().to_owned(),
            clock: self.clock.as_str().to_owned(),
            run: judged(run)?,
            log_mad: log_mad(&logs),
            log_scale_floor: LOG_SCALE_FLOOR,
            baseline_runs: runs,
            is_exact: again.is_some_and(|again| is_same(&again, &baseline)),
            moved_by,
            conditions: self
                .level_conditions(ctx, run.run)
                .filter(|_| self.method == Method::Changepoint)
                .unwrap_or_else(|| self.conditions(run, &baseline)),
            threshold: self.threshold(&baseline),
            clear_at: self.clear_at(ctx, &baseline),
            judged: judged_newest.into_iter().filter_map(judged).collect(),
            times: Counted {
                slow: last.filter(slow).count(),
                needed: times.needed,
                of: times.of,
            },
            accepted: ctx.memory.accepted.clone(),
            resolves: self.resolves(ctx, &baseline, times),
            baseline,
        })
    }

    fn judged_run(
        &self,
        ctx: &Context<'_>,
        sample: &Sample<'_>,
        expected: &Expected,
    ) -> Option<JudgedRun> {
        let usual = expected.of(sample)?;
        Some(JudgedRun {
            id: sample.run.map(|run| run.id.to_string()),
            finished_at: sample.finished_at,
            seconds: sample.seconds,
            usual: usual.median,
            ratio: sample.seconds / usual.median,
            z: usual.z(sample.seconds),
            is_slow: sample.seconds > self.threshold(&usual),
            is_back: sample.seconds <= self.clear_at(ctx, &usual),
        })
    }

    /// The runs that a baseline was made from, newest first, and what it was moved by.
    fn made_from(
        &self,
        ctx: &Context<'_>,
        before: &[Sample<'_>],
        baseline: &Baseline,
    ) -> (Vec<BaselineRun>, Option<f64>) {
        let kind = before.last().and_then(|sample| sample.run);
        let accepted = ctx.memory.accepted.as_ref();
        let accepted = accepted.filter(|accepted| accepted.is_about(kind));
        // Made from runs since the acceptance, or, moved, from those before it.
        let is_wanted = |sample: &&Sample<'_>| match accepted {
            Some(known) => (sample.finished_at < known.since) == baseline.is_moved,
            None => true,
        };
        let usual: Vec<&Sample<'_>> = before.iter().filter(is_wanted).collect();
        let season = baseline.slot.and_then(|slot| {
            let runs = self.baseline_runs as usize;
            let season = Season::of(&points(&usual), ctx.schedule_zone, runs)?;
            Some((slot, season))
        });
        let is_in_slot = |sample: &&&Sample<'_>| match &season {
            Some((slot, season)) => {
                let own = season.baseline(sample.created_at);
                own.and_then(|own| own.slot) == Some(*slot)
            }
            None => true,
        };
        let newest = usual.iter().rev().filter(is_in_slot);
        let runs = newest
            .take(baseline.count as usize)
            .map(|sample| BaselineRun {
                id: sample.run.map(|run| run.id.to_string()),
                finished_at: sample.finished_at,
                seconds: sample.seconds,
            });
        let moved_by = accepted.filter(|_| baseline.is_moved).map(Accepted::ratio);
        (runs.collect(), moved_by)
    }

    fn conditions(&self, run: &Sample<'_>, baseline: &Baseline) -> Vec<Condition> {
        let ratio = run.seconds / baseline.median;
        let condition = |key: &str, value: f64, limit: f64, least_seconds: f64| Condition {
            key: key.to_owned(),
            value,
            limit,
            is_seconds: key == "min_delta",
            is_met: run.seconds > least_seconds,
        };
        match self.method {
            Method::Percent => {
                let limit = 1.0 + self.percent;
                vec![condition("percent", ratio, limit, baseline.median * limit)]
            }
            // These decide otherwise.
            Method::Changepoint | Method::Trend => Vec::new(),
            Method::RobustZ => {
                let delta = seconds(self.min_delta);
                vec![
                    condition("z", baseline.z(run.seconds), self.z, baseline.at_z(self.z)),
                    condition(
                        "min_ratio",
                        ratio,
                        self.min_ratio,
                        baseline.median * self.min_ratio,
                    ),
                    condition(
                        "min_delta",
                        run.seconds - baseline.median,
                        delta,
                        baseline.median + delta,
                    ),
                ]
            }
        }
    }

    fn resolves(&self, ctx: &Context<'_>, baseline: &Baseline, times: Times) -> String {
        let clear_at = human_span(span(self.clear_at(ctx, baseline)));
        if self.method == Method::Trend {
            let horizon = span(seconds(self.horizon) / ctx.rule.clear);
            return format!(
                "when runs do not grow any more, when the limit is more than {} away at their pace (`horizon` / \
                 `clear`), or when no rule sets a limit any more; a slope has no level to accept",
                human_span(horizon)
            );
        }
        if self.method == Method::Changepoint {
            return format!(
                "when the level is at most {clear_at} ({} of the threshold, not nearer to usual than half \
                 way), or when a person accepts the new level",
                ctx.rule.clear
            );
        }
        let needed = times.of - times.needed + 1;
        let runs = if needed == 1 {
            "the newest run takes".to_owned()
        } else {
            format!("each of the newest {needed} runs takes")
        };
        format!(
            "when {runs} at most {clear_at} ({} of the threshold, not nearer to usual than half way), \
             or when a person accepts the new level",
            ctx.rule.clear
        )
    }
}

/// The same figures, but for rounding.
fn is_same(a: &Baseline, b: &Baseline) -> bool {
    let is_close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs().max(1.0);
    is_close(a.median, b.median) && is_close(a.log_scale, b.log_scale)
}
