//! # run_regression and model_regression
//!
//! ## What it tells
//! A job (or a model) has become slower than its own history says, by how much, and since which run.
//!
//! ## When to use
//! For every job whose length matters and has no fixed limit. With `times = "2 of 3"` a single slow run
//! says nothing.
//!
//! Beside `run_duration`: while an alert of that kind about the job is in flight and told, this is not told.
//! When the run ends, that alert ends with it and says how long the run took; if the run was slow for its own
//! history, too, that is told then, in the same conversation where alerts of a job share one. It is news of
//! another kind: how much slower than usual, for how many runs, and open until runs are back.
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
//! Seasons need no key. Where the runs of one tick of the week (weekday and time of creation in the zone
//! of the scheduler, within 30 minutes or a quarter of the usual gap) differ from those of others, each
//! is compared with its own: a long Sunday with other Sundays. That is so when every tick of the week
//! has at least five like runs of the last 26 weeks (at most 1 000 runs, one in ten may be elsewhere, a
//! delayed start) and the runs of one tick lie less than half as far apart as all of them together.
//! The message says what was compared with: "20 runs", or "last 8 Sundays 04:00".
//!
//! ## No data
//! Fewer than `min_runs` like successes before the judged ones: Unknown. For a tick of the week, five
//! are enough; until then, it is compared with the whole week.
//!
//! Where single runs or model executions cannot be read, only their averages by day (UTC), `percent` works
//! from those: the average of the newest complete day against the median of the last `baseline_runs` days with
//! any, at least `min_runs` of them, otherwise Unknown; a weekday of which at least three are known and that
//! takes longer than the others is held against its like. The runs of all jobs of a project are one subject then,
//! and a model is one whichever jobs execute it, so a rule with `job` or `triggered_by`, or whose `job_type`
//! leaves out `run`, says nothing of them. The other methods need single runs, and so does a `clock` other than
//! `run`: they are Unknown, and `tardy status` says so.
//!
//! ## Resolve
//! The baseline is frozen when the alert opens, so that a regression cannot clear itself by becoming
//! normal. It closes when runs are back under `clear` of the threshold (as many as make the breach
//! impossible under `times`), each held against what was usual for its tick of the week. It expires when the
//! job has been held for 7 days without a run, or the job or model has not been run for 35 days.
//!
//! A slowdown that is there to stay is accepted: `tardy accept ALERT --comment "bigger tables"`. That ends the
//! alert, for this job or model alone, and is recorded: who, when, why, and the new level, the median of its
//! slow runs (at most the last `baseline_runs`). From then on only runs since the first slow one are usual.
//! While they are fewer than `min_runs`, what was usual before is moved to the accepted level, of each tick of
//! the week where those differ (of one tick alone, when only its runs were slow), so that the next slowdown on
//! top is found at its first run. An acceptance is about runs of one type and trigger; the newest one counts.

mod accepting;
pub mod averages;
mod changed;
mod changepoint;
mod expected;
mod limits;
mod message;
mod samples;
mod slope;
mod trend;
mod why;

use super::super::alert::Verdict;
use super::super::baseline::{Baseline, seconds};
use super::super::observation::{Name, Run};
use super::super::time::Span;
use super::context::{Context, Judgement};
use super::{Clock, Times};
pub use accepting::Accepted;
pub use changepoint::Watched;
use expected::Frozen;
use message::recovery;
use samples::{Sample, is_alike};
pub use why::{BaselineRun, Condition, Counted, JudgedRun, RegressionWhy};

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

impl Method {
    /// As configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RobustZ => "robust_z",
            Self::Percent => "percent",
            Self::Changepoint => "changepoint",
            Self::Trend => "trend",
        }
    }
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
    /// `trend`: what must not be reached; `None`: what other rules of the policy set.
    pub limit: Option<Span>,
    /// Which time of the run; default run.
    pub clock: Clock,
}
/// How far back the row of slow runs is followed.
const MAX_ROW: usize = 100;

impl Regression {
    /// Judges a job or a model.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        if ctx.subject.is_averaged() {
            return averages::judge(self, ctx);
        }
        match self.method {
            Method::Trend => return self.judge_trend(ctx),
            Method::Changepoint => return self.judge_changepoint(ctx),
            Method::RobustZ | Method::Percent => {}
        }
        let mut judgement = Judgement::start(ctx.memory);
        let new = self.new_samples(*ctx);
        let times = ctx.rule.times.unwrap_or(Times { needed: 1, of: 1 });
        let opened = ctx.open.iter().find(|alert| alert.is_open());
        let mut frozen = opened.and_then(|alert| {
            Some(Frozen {
                baseline: alert.frozen?,
                since: alert.began_at,
            })
        });
        let mut kind = opened.and_then(|alert| run_by_id(ctx, alert.evidence.run_id.as_ref()));
        for sample in &new {
            judgement.memory.judged_until = judgement.memory.judged_until.max(sample.finished_at);
            // An alert about scheduled runs is not ended by a quick manual one.
            if frozen.is_some() && !is_alike(kind, sample.run) {
                continue;
            }
            let before = self.samples_up_to(*ctx, sample);
            let verdict = self.verdict(ctx, &before, times, frozen);
            match &verdict {
                Verdict::Breach(evidence) => {
                    let since = sample.finished_at;
                    let opened = evidence.baseline.map(|baseline| Frozen { baseline, since });
                    frozen = frozen.or(opened);
                    kind = kind.or(sample.run);
                }
                Verdict::Ok(_) => (frozen, kind) = (None, None),
                Verdict::Unknown(_) => {}
            }
            judgement.find(sample.finished_at, verdict);
        }
        judgement
    }

    /// Judges the last of `samples`.
    fn verdict(
        &self,
        ctx: &Context<'_>,
        samples: &[Sample<'_>],
        times: Times,
        frozen: Option<Frozen>,
    ) -> Verdict {
        let window_start = samples.len().saturating_sub(times.of as usize);
        let (before, window) = samples.split_at(window_start);
        let expected = self.expected(ctx, before, frozen);
        let Some(baseline) = window.last().and_then(|newest| expected.of(newest)) else {
            return Verdict::Unknown(format!("no earlier runs, needs {}", self.min_runs));
        };
        if baseline.count < self.min_runs && baseline.slot.is_none() {
            return Verdict::Unknown(format!("{} runs, needs {}", baseline.count, self.min_runs));
        }
        let is_slow = |sample: &Sample<'_>| {
            let baseline = expected.of(sample);
            baseline.is_some_and(|baseline| sample.seconds > self.threshold(&baseline))
        };
        let breaching = window.iter().filter(|sample| is_slow(sample)).count();
        if breaching >= times.needed as usize {
            return Verdict::Breach(self.evidence(ctx, samples, &expected, breaching));
        }
        if frozen.is_some() {
            let is_back = |sample: &Sample<'_>| {
                expected
                    .of(sample)
                    .is_none_or(|baseline| sample.seconds <= self.clear_at(ctx, &baseline))
            };
            let needed = (times.of - times.needed + 1) as usize;
            if !samples.iter().rev().take(needed).all(is_back) {
                return Verdict::Unknown("not clearly back yet".into());
            }
        }
        recovery(ctx, window, &baseline)
    }

    /// The duration, in seconds, at which a run is back: `clear` of the threshold, but not nearer to what
    /// is usual than to the threshold.
    fn clear_at(&self, ctx: &Context<'_>, baseline: &Baseline) -> f64 {
        let threshold = self.threshold(baseline);
        (threshold * ctx.rule.clear).max(f64::midpoint(baseline.median, threshold))
    }

    /// The duration, in seconds, above which a run breaches.
    fn threshold(&self, baseline: &Baseline) -> f64 {
        match self.method {
            Method::Percent => baseline.median * (1.0 + self.percent),
            Method::Changepoint => self.slow_from(baseline.median),
            Method::RobustZ | Method::Trend => baseline
                .at_z(self.z)
                .max(baseline.median * self.min_ratio)
                .max(baseline.median + seconds(self.min_delta)),
        }
    }
}

fn run_by_id<'a>(ctx: &Context<'a>, id: Option<&Name>) -> Option<&'a Run> {
    ctx.project.run(id?)
}

#[cfg(test)]
mod tests {
    use super::super::RuleKind;
    use super::super::fixture::Case;
    use super::*;

    /// `count` runs of `took` minutes, one an hour from 1 o'clock the day before, then `last` minutes.
    fn case(method: Method, count: i64, took: i64, last: &[i64]) -> Case {
        let kind = Regression {
            method,
            percent: 0.5,
            z: 4.0,
            min_ratio: 1.2,
            min_delta: Span::seconds(10),
            baseline_runs: 20,
            min_runs: 8,
            horizon: Span::days(14),
            limit: None,
            clock: Clock::Run,
        };
        let mut case = Case::new(RuleKind::RunRegression(kind));
        let start = super::super::fixture::at("00:30");
        let past = (0..count).map(|n| (start - Span::hours(count - n), took));
        let now = (0_i64..)
            .zip(last)
            .map(|(n, took)| (start + Span::hours(n), *took));
        for (from, took) in past.chain(now).collect::<Vec<_>>() {
            let to = from + Span::minutes(took);
            case = case.run(&from.to_string(), &format!("{from} -> {to} success"));
        }
        case
    }

    fn verdicts(case: &Case) -> Vec<String> {
        let said = case.judge("23:00");
        let word = |line: &String| line.split(' ').nth(1).unwrap_or_default().to_owned();
        said.iter().map(word).collect()
    }

    #[test]
    fn a_run_is_held_against_those_before_it() {
        for (name, case, wanted) in [
            ("usual", case(Method::RobustZ, 10, 10, &[10]), "ok"),
            (
                "a little slower",
                case(Method::RobustZ, 10, 10, &[11]),
                "ok",
            ),
            (
                "much slower",
                case(Method::RobustZ, 10, 10, &[20]),
                "breach",
            ),
            ("faster", case(Method::RobustZ, 10, 10, &[2]), "ok"),
            ("too few", case(Method::RobustZ, 7, 10, &[20]), "unknown"),
            ("percent below", case(Method::Percent, 10, 10, &[15]), "ok"),
            (
                "percent above",
                case(Method::Percent, 10, 10, &[16]),
                "breach",
            ),
            (
                "slow ones stay slow",
                case(Method::RobustZ, 10, 10, &[20, 20]),
                "breach breach",
            ),
        ] {
            assert_eq!(verdicts(&case).join(" "), wanted, "{name}");
        }
    }

    #[test]
    fn times_wants_several_of_the_last_runs() {
        for (last, wanted) in [
            (&[20, 10, 10][..], "ok ok ok"),
            (&[20, 10, 20], "ok ok breach"),
            (&[20, 20], "ok breach"),
        ] {
            let mut case = case(Method::RobustZ, 12, 10, last);
            case.rule.times = Some(Times { needed: 2, of: 3 });
            assert_eq!(verdicts(&case).join(" "), wanted, "{last:?}");
        }
    }

    #[test]
    fn only_like_runs_are_compared() {
        let scheduled = case(Method::RobustZ, 10, 10, &[]);
        let manual = scheduled.run_by("manual", "alice", "05:00 -> 05:40 success");
        assert_eq!(verdicts(&manual), ["unknown"]);
        let slow = manual.run("slow", "06:00 -> 06:40 success");
        assert_eq!(verdicts(&slow), ["unknown", "breach"]);
    }

    #[test]
    fn the_newest_run_is_judged_at_the_first_look() {
        let past = case(Method::RobustZ, 10, 10, &[]);
        assert_eq!(verdicts(&past), ["ok"]);
    }
}
