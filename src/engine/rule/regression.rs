//! # run_regression and model_regression
//!
//! ## What it tells
//! A job (or a model) has become slower than its own history says, by how much, and since which run.
//!
//! ## When to use
//! For every job whose length matters and has no fixed limit. `changepoint` is the one to begin with: it
//! needs no limits, learns each job's own habits, and says nothing of single slow runs. `robust_z` and `percent`
//! judge single runs, at once; with `times = "2 of 3"` a single slow run says nothing. `trend` looks ahead.
//!
//! Beside `run_duration`: while an alert of that kind about the job is in flight and told, this is not told.
//! When the run ends, that alert ends with it and says how long the run took; if the run was slow for its own
//! history, too, that is told then, in the same conversation where alerts of a job share one. It is news of
//! another kind: how much slower than usual, for how many runs, and open until runs are back.
//!
//! ## Keys
//! `method` (`robust_z`, `percent`, `changepoint` or `trend`), `percent` (0.5), `z` (4),
//! `min_ratio` (1.2), `min_delta` (`"10s"`), `baseline_runs` (20; `trend`: 60), `min_runs` (8; `trend`: 20),
//! `horizon` (`"14d"`) and `limit` (`trend` only), `clock` (`run`), and the common `times` (with `robust_z` and `percent`) and
//! `clear` (0.9).
//!
//! * `percent`: breach if x > (1 + percent) * median of the baseline.
//! * `robust_z`: breach if z >= `z` and x / median >= `min_ratio` and x - median >= `min_delta`, all three,
//!   with z on ln x, centre the median, scale 1.4826 MAD with a floor.
//! * `changepoint`: breach if the level has shifted, by `min_ratio` and `min_delta` at least.
//! * `trend`: breach if runs grow, and at this pace the middle of them is at the limit within `horizon`.
//!
//! Only successes are judged and only like runs (same job, job type and trigger class) are compared. The
//! judged runs are never in their own baseline, which is of the last `baseline_runs` before them: a job that has
//! become quicker is soon held against its new level, and its old one is slow again.
//!
//! Seasons need no key. Where the runs of one tick of the week (weekday and time of creation in the zone
//! of the scheduler, within 30 minutes or a quarter of the usual gap) differ from those of others, each
//! is compared with its own: a long Sunday with other Sundays. That is so when every tick of the week
//! has at least five like runs of the last 26 weeks (at most 1 000 runs, one in ten may be elsewhere, a
//! delayed start) and the runs of one tick lie less than half as far apart as all of them together.
//! The message says what was compared with: "last 20", or "last 8 Sundays 04:00".
//!
//! Beside what was observed and what is usual, a message names the last good run and the first slow one, and
//! `Changed`: plans that were applied between them, with commit where known. Models of one run that became
//! slower are told together when they are three or more: the five that cost most are written out, the others
//! counted. When at least half of the run's models with eight successes before are slower alike (their ratios
//! within a quarter of the median ratio), it says that the whole warehouse is slower. A run whose models
//! explain it (they add at least half of what it took longer) is not told beside them.
//!
//! With `changepoint`, the last 3 to 50 runs are held against up to 120 runs before them: how much likelier
//! are they under the distribution of those, moved by some factor, than under that distribution as it is? The
//! distribution is learned from the job's own runs (a job with a cache has two usual durations, another has
//! outliers), a season by hour and weekday only once it is proved, and the logarithm of the likelihood ratio has to
//! pass 12: about one false alarm in 10 000 runs, a doubled duration found at its third slow run. Not taken for
//! a shift: what happened at the same time yesterday or a week ago, the end of a weekend, a wave of the day. While
//! the alert is open, a level that rises by `min_ratio` once more is told again. Rises that are each too small add up
//! until the last of them is 120 runs old. `baseline_runs` says how long ago, in runs, a shift may lie that is
//! told when watching begins; `min_runs` counts all like runs. The same detector runs over any series with
//! `tardy detect`.
//!
//! With `trend`, the limit is `limit`, else the lowest that the policy sets for the job or model: a fixed `max` of
//! `run_duration` on the same clock (of `model_duration` for models), or the time that a `deadline` usually leaves
//! from the start of a run. `tardy check` names rules that find none. A verdict is made at the first success of a
//! day, over the last `baseline_runs` runs, or over the newer half of them; of a job that runs more often than
//! daily over as many days, each the middle of its runs. Runs grow when they rise with time beyond chance
//! (Mann and Kendall, 3.3 standard deviations; each weekday against itself, 2), when a straight line describes
//! them better than a step (a new level is the business of the other methods), when the newest seven are still on
//! it, and when it rises by `min_ratio` and `min_delta` from first to last. Single slow runs and long Sundays
//! change none of that. The line is Theil's and Sen's: the median slope between any two runs. The date is that on
//! which half of the runs are beyond the limit; the message also says when one in twenty is. Growth of 1 % a day
//! under noise of 10 % is seen after four weeks, half of the time.
//!
//! ## No data
//! Fewer than `min_runs` like successes before the judged ones: Unknown. For a tick of the week, five
//! are enough; until then, it is compared with the whole week. With `changepoint`, five like runs have to lie
//! before the slow ones, and a job that runs several times a day is judged with more doubt in its first days, while
//! its hours are not known. With `trend` also: runs of less than 14 days, and
//! no limit.
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
//! impossible under `times`), each held against what was usual for its tick of the week. With `changepoint` it
//! closes when the level has shifted back there, or when the middle of 50 runs is there. With `trend` it closes
//! when runs do not grow any more (the newest seven lie below the line, or 2 standard deviations are not reached),
//! or when the limit is further away than `horizon` / `clear`; between the two it stays as it is. It expires when
//! no rule sets a limit for such runs any more. With any method it expires when the job has been held for 7 days
//! without a run, or the job or model has not been run for 35 days.
//!
//! A slowdown that is there to stay is accepted: `tardy accept ALERT --comment "bigger tables"`. That ends the
//! alert, for this job or model alone, and is recorded: who, when, why, and the new level, the median of its
//! slow runs (at most the last `baseline_runs`). From then on only runs since the first slow one are usual.
//! While they are fewer than `min_runs`, what was usual before is moved to the accepted level, of each tick of
//! the week where those differ (of one tick alone, when only its runs were slow), so that the next slowdown on
//! top is found at its first run. An acceptance is about runs of one type and trigger; the newest one counts.
//! With `changepoint`, runs of the present level alone count: those before its last rise do not. A slope has no
//! level: alerts of `trend` are not accepted, but end when the limit is raised; nor are those of daily averages.

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
    /// A method with the defaults of durations.
    pub fn new(method: Method) -> Self {
        let (baseline_runs, min_runs) = match method {
            // A slope of twenty daily runs is mostly noise.
            Method::Trend => (60, 20),
            Method::RobustZ | Method::Percent | Method::Changepoint => (20, 8),
        };
        Self {
            method,
            percent: 0.5,
            z: 4.0,
            min_ratio: 1.2,
            min_delta: Span::seconds(10),
            baseline_runs,
            min_runs,
            horizon: Span::days(14),
            limit: None,
            clock: Clock::Run,
        }
    }

    /// Judges a job or a model.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        if ctx.subject.is_averaged() {
            return averages::judge(self, ctx);
        }
        let mut judgement = match self.method {
            Method::Changepoint => return self.judge_changepoint(ctx),
            Method::Trend => self.judge_trend(ctx),
            Method::RobustZ | Method::Percent => self.judge_runs(ctx),
        };
        // What a detector knew is stale when it is asked again.
        judgement.memory.watched.clear();
        judgement
    }

    /// Judges run after run.
    fn judge_runs(&self, ctx: &Context<'_>) -> Judgement {
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
        let kind = Regression::new(method);
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
    fn an_improvement_becomes_usual_by_itself_and_the_old_level_is_slow_then() {
        for method in [Method::RobustZ, Method::Percent] {
            for (quick, wanted) in [
                (8, "ok Back to usual: p1 job took 20 min, usual 20"),
                (
                    14,
                    "breach Slower: p1 job took 20 min, usual 10 (+100 %, since run ",
                ),
                (
                    30,
                    "breach Slower: p1 job took 20 min, usual 10 (+100 %, since run ",
                ),
            ] {
                let mut last = vec![10; quick];
                last.push(20);
                let said = case(method, 20, 20, &last).judge("2026-03-12T12:00:00Z");
                let (before, said) = (said.len() - 1, said.last().unwrap());
                let verdict = said.split_once(' ').unwrap().1;
                assert!(
                    verdict.starts_with(wanted),
                    "{method:?}, {quick} quick: {said}"
                );
                assert_eq!(before, quick, "each quick run was judged");
            }
        }
    }

    #[test]
    fn facts_name_the_runs_around_the_change_and_the_plan_between_them() {
        let case = case(Method::RobustZ, 10, 10, &[20])
            .plan("2026-03-09T20:00:00Z g0 p0 execute completed Before the last good run")
            .plan("00:14 g1 p1 explain completed Join by day")
            .plan("00:15 g1 p2 execute completed Join by day")
            .plan("00:16 g2 p3 execute failed Never applied")
            .plan("00:55 g3 p4 execute completed After the slow run");
        let judgement = case.judgement("23:00");
        let Verdict::Breach(evidence) = &judgement.findings[0].verdict else {
            panic!("{judgement:?}");
        };
        let fact = |name: &str| {
            let mut facts = evidence.facts.iter();
            let found = facts.find(|fact| fact.name == name);
            found.map_or("", |fact| fact.value.as_str())
        };
        assert_eq!(
            fact("Last good run"),
            "9 Mar 23:30 UTC, 10 min, run 2026-03-09T23:30:00Z"
        );
        assert_eq!(
            fact("First slow run"),
            "00:30 UTC, 20 min, run 2026-03-10T00:30:00Z"
        );
        assert_eq!(fact("Changed"), "plan g1 applied 00:15 UTC \"Join by day\"");
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
