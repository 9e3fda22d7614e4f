//! # success_rate
//!
//! ## What it tells
//! The share of successes among successes and failures of a job has fallen below `target`, with the
//! counts behind it and the 95 % interval in which the true share lies.
//!
//! ## When to use
//! For jobs that run often and may fail now and then, but not too often: `run_failed` tells each
//! failure, this tells that there are too many. With few runs, `confident = true` keeps quiet until
//! chance is no explanation any more.
//!
//! ## Keys
//! * `target`: promised share, `0.95`.
//! * `window`: runs that finished within it are counted, `"7d"` by default; or `runs = 50`: the last so
//!   many successes and failures, however old. One of the two.
//! * `min_runs`: fewer successes and failures than this are Unknown; 10 by default.
//! * `confident`: fire only if the upper end of the interval is below `target`; `false` by default.
//! * the common `clear` (0.9): how much of the allowed share of failures may be used when it resolves.
//!
//! Failures are the statuses failed and error. A partial run is an outcome of its own: it counts as
//! neither, and the message says how many there were. The interval is Wilson's (E. B. Wilson, Probable
//! inference, Journal of the American Statistical Association 22, 1927), without continuity correction.
//!
//! ## No data
//! Fewer than `min_runs` successes and failures: Unknown ("4 runs, needs 10"), which neither fires nor
//! resolves. A run that leaves the window is counted no more from that very instant, without news, but
//! only when runs are known up to it.
//!
//! ## Resolve
//! When the share is back at target + (1 - target) * (1 - `clear`): with a target of 95 % and the
//! default, at 95.5 %. That keeps a share at the very edge from coming and going. It expires when the last
//! success and failure has left the window (it was about runs, and there are none), and when the job has been
//! held for 7 days without a run, or has not run for 35 days.

use super::super::alert::{Evidence, Verdict};
use super::super::history::JobHistory;
use super::super::notification::Fact;
use super::super::observation::{Run, Status};
use super::super::time::{Span, Timestamp, human_span};
use super::context::{Context, Judgement, expired, resolved, run_evidence};

/// Share of successes among successes and failures.
#[derive(Clone, Debug, PartialEq)]
pub struct SuccessRate {
    /// Runs that finished within it are counted; exclusive with `runs`.
    pub window: Option<Span>,
    /// The last so many runs are counted.
    pub runs: Option<u32>,
    /// Promised share, in (0, 1].
    pub target: f64,
    /// Fewer runs than this are Unknown.
    pub min_runs: u32,
    /// Fire only if the upper end of the 95 % Wilson interval is below the target.
    pub is_confident: bool,
}

/// Runs counted in one window; of more, the newest say enough.
const MAX_COUNTED: usize = 20_000;

/// Instants judged in one evaluation: after a long absence the older ones are history.
const MAX_JUDGED: usize = 200;

/// Shares that differ by less are the same.
const SAME: f64 = 1e-9;

/// How many of each outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    successes: u32,
    failures: u32,
    partial: u32,
}

impl Counts {
    fn add(&mut self, status: &Status, number: u32) {
        match status {
            Status::Success => self.successes += number,
            Status::Failed | Status::Error => self.failures += number,
            _ => self.partial += number,
        }
    }

    fn counted(self) -> u32 {
        self.successes + self.failures
    }

    fn rate(self) -> f64 {
        f64::from(self.successes) / f64::from(self.counted().max(1))
    }
}

/// Wilson's 95 % interval of a share (Brown, Cai and `DasGupta`, Interval estimation for a binomial
/// proportion, Statistical Science 16, 2001, equation 4).
fn wilson(successes: u32, counted: u32) -> (f64, f64) {
    /// The 97.5 % quantile of the normal distribution.
    const Z: f64 = 1.959_963_984_540_054;
    if counted == 0 {
        return (0.0, 1.0);
    }
    let n = f64::from(counted);
    let share = f64::from(successes) / n;
    let square = Z * Z;
    let center = (share + square / (2.0 * n)) / (1.0 + square / n);
    let spread = (share * (1.0 - share) / n + square / (4.0 * n * n)).sqrt();
    let half = Z * spread / (1.0 + square / n);
    ((center - half).max(0.0), (center + half).min(1.0))
}

impl SuccessRate {
    /// Judges a job.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let Some(job) = ctx.job() else {
            return judgement;
        };
        let since = ctx.memory.judged_until;
        let runs = self.runs_since(ctx, job, since);
        let mut instants = self.instants(&runs, ctx.known_until);
        if let Some(next) = self.next_change(&runs, ctx.known_until) {
            judgement.wake_known(next);
        }
        // The newest once more: late rows, and on the first look what is so already.
        let new = instants.partition_point(|at| *at <= since);
        let kept = new.min(instants.len().saturating_sub(1));
        let instants = instants.split_off(kept.max(instants.len().saturating_sub(MAX_JUDGED)));
        let mut is_open = ctx.open.iter().any(super::super::alert::Alert::is_open);
        for at in instants {
            judgement.memory.judged_until = judgement.memory.judged_until.max(at);
            let verdict = self.verdict(ctx, job, self.counted_at(&runs, at), is_open);
            match verdict {
                Verdict::Breach(_) => is_open = true,
                Verdict::Ok(_) => is_open = false,
                Verdict::Unknown(_) => {}
            }
            judgement.find(at, verdict);
        }
        judgement
    }

    /// Finished runs that matter for instants after `since`, by settling.
    fn runs_since<'a>(
        &self,
        ctx: &Context<'a>,
        job: &'a JobHistory,
        since: Timestamp,
    ) -> Vec<&'a Run> {
        let mut before = 0;
        let mut runs: Vec<&Run> = ctx
            .finished(job)
            .take_while(|run| {
                if let Some(window) = self.window {
                    return run.settled_at() + window > since - window;
                }
                let is_old = run.settled_at() <= since && run.status != Status::Partial;
                before += u32::from(is_old);
                before <= self.runs.unwrap_or(0)
            })
            .take(MAX_COUNTED)
            .collect();
        runs.reverse();
        runs
    }

    /// When the counts changed, in order, up to an instant.
    fn instants(&self, runs: &[&Run], until: Timestamp) -> Vec<Timestamp> {
        let settled = runs.iter().map(|run| run.settled_at());
        let mut instants: Vec<Timestamp> = match self.window {
            Some(window) => settled.flat_map(|at| [at, at + window]).collect(),
            None => settled.collect(),
        };
        instants.retain(|at| *at <= until);
        instants.sort();
        instants.dedup();
        instants
    }

    /// When the counts change next without news: a run that is known already begins to count once runs are
    /// known up to its end, or leaves the window.
    fn next_change(&self, runs: &[&Run], after: Timestamp) -> Option<Timestamp> {
        let settled = runs.iter().map(|run| run.settled_at());
        let leaving = self
            .window
            .into_iter()
            .flat_map(|window| runs.iter().map(move |run| run.settled_at() + window));
        settled.chain(leaving).filter(|at| *at > after).min()
    }

    /// Runs that count at an instant, by settling.
    fn counted_at<'r, 'a>(&self, runs: &'r [&'a Run], at: Timestamp) -> &'r [&'a Run] {
        let end = runs.partition_point(|run| run.settled_at() <= at);
        let up_to = &runs[..end];
        let start = if let Some(window) = self.window {
            up_to.partition_point(|run| run.settled_at() + window <= at)
        } else {
            let wanted = self.runs.unwrap_or(0) as usize;
            let mut counted = (0..end)
                .rev()
                .filter(|i| up_to[*i].status != Status::Partial);
            counted.nth(wanted.saturating_sub(1)).unwrap_or(0)
        };
        &up_to[start..]
    }

    fn verdict(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        runs: &[&Run],
        is_open: bool,
    ) -> Verdict {
        let mut counts = Counts::default();
        for run in runs {
            counts.add(&run.status, 1);
        }
        if is_open && self.window.is_some() && counts.counted() == 0 {
            let stretch = self.stretch(counts);
            let title = ctx.title();
            return expired(format!(
                "Closed: no run of {title} has succeeded or failed in the last {stretch}"
            ));
        }
        if counts.counted() < self.min_runs {
            let needs = format!("{} runs, needs {}", counts.counted(), self.min_runs);
            return Verdict::Unknown(needs);
        }
        let (_, upper) = wilson(counts.successes, counts.counted());
        let judged = if self.is_confident {
            upper
        } else {
            counts.rate()
        };
        if judged < self.target - SAME {
            return Verdict::Breach(self.evidence(ctx, job, runs, counts));
        }
        let clear_at = self.target + (1.0 - self.target) * (1.0 - ctx.rule.clear);
        if is_open && counts.rate() < clear_at - SAME {
            return Verdict::Unknown(format!("not back at {} yet", percent(clear_at)));
        }
        let headline = format!(
            "Recovered: success rate of {} is {} of the last {}",
            ctx.title(),
            percent(counts.rate()),
            self.stretch(counts)
        );
        resolved(headline, self.facts(counts))
    }

    /// `7 d`, or `50 runs`.
    fn stretch(&self, counts: Counts) -> String {
        match self.window {
            Some(window) => human_span(window),
            None => format!("{} runs", counts.counted()),
        }
    }

    fn facts(&self, counts: Counts) -> Vec<Fact> {
        let (lower, upper) = wilson(counts.successes, counts.counted());
        let mut facts = vec![
            Fact::new(
                "Succeeded",
                format!(
                    "{} of {} runs in the last {}",
                    counts.successes,
                    counts.counted(),
                    self.stretch(counts)
                ),
            ),
            Fact::new(
                "Interval",
                format!("{} to {} (95 %, Wilson)", percent(lower), percent(upper)),
            ),
            Fact::new("Target", percent(self.target)),
        ];
        if counts.partial > 0 {
            let text = format!("{} runs, counted as neither", counts.partial);
            facts.push(Fact::new("Partial", text));
        }
        facts
    }

    fn evidence(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        runs: &[&Run],
        counts: Counts,
    ) -> Evidence {
        let headline = format!(
            "Success rate: {} {} of the last {} ({} of {} runs failed, target {})",
            ctx.title(),
            percent(counts.rate()),
            self.stretch(counts),
            counts.failures,
            counts.counted(),
            percent(self.target)
        );
        let mut facts = self.facts(counts);
        let failed = runs.iter().rev().find(|run| run.status.is_failure());
        if let Some(run) = failed {
            facts.push(Fact::new("Last failure", ctx.clock(run.settled_at())));
        }
        facts.extend(ctx.last_good(job));
        match failed {
            Some(run) => run_evidence(headline, run, facts),
            None => Evidence {
                headline,
                facts,
                ..Evidence::default()
            },
        }
    }
}

/// `95.5 %`, without a fraction that says nothing; never rounded up to all.
fn percent(share: f64) -> String {
    let tenths = (share * 1_000.0 + 1e-6).floor() / 10.0;
    if tenths.fract() == 0.0 {
        format!("{tenths:.0} %")
    } else {
        format!("{tenths:.1} %")
    }
}

#[cfg(test)]
mod tests {
    use super::super::RuleKind;
    use super::super::fixture::{Case, at};
    use super::*;

    #[test]
    fn the_interval_matches_published_values() {
        // Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17,
        // 1998, table I, method 3; the last from R's binom.wilson(8, 10).
        for (successes, counted, lower, upper, digits) in [
            (81, 263, 0.2553, 0.3662, 5e-5),
            (15, 148, 0.0624, 0.1605, 5e-5),
            (0, 20, 0.0, 0.1611, 5e-5),
            (1, 29, 0.0061, 0.1718, 5e-5),
            (8, 10, 0.490_162_5, 0.943_317_8, 5e-8),
        ] {
            let found = wilson(successes, counted);
            let close = |a: f64, b: f64| (a - b).abs() <= digits;
            assert!(
                close(found.0, lower) && close(found.1, upper),
                "{successes}/{counted}: {found:?}"
            );
        }
    }

    #[test]
    fn shares_are_never_rounded_up() {
        for (share, text) in [
            (1.0, "100 %"),
            (0.95, "95 %"),
            (0.9996, "99.9 %"),
            (0.88, "88 %"),
            (2.0 / 3.0, "66.6 %"),
            (0.0, "0 %"),
        ] {
            assert_eq!(percent(share), text);
        }
    }

    fn kind(window: Option<&str>, runs: Option<u32>) -> SuccessRate {
        SuccessRate {
            window: window.map(|text| super::super::super::time::parse_span(text).unwrap()),
            runs,
            target: 0.8,
            min_runs: 5,
            is_confident: false,
        }
    }

    /// One run a minute from 01:00 on: `s` success, `f` failed, `e` error, `p` partial, `x` unknown.
    fn case(kind: SuccessRate, words: &str) -> Case {
        let mut case = Case::new(RuleKind::SuccessRate(kind));
        for (minute, word) in (0..).zip(words.chars()) {
            let word = match word {
                's' => "success",
                'f' => "failed",
                'e' => "error",
                'p' => "partial",
                _ => "paused",
            };
            let start = at("01:00") + Span::minutes(minute);
            case = case.run(
                &format!("r{minute:02}"),
                &format!("{start} -> {start} {word}"),
            );
        }
        case
    }

    #[test]
    fn successes_and_failures_decide() {
        for (name, words, last) in [
            ("too few", "ssff", "01:03 unknown 4 runs, needs 5"),
            (
                "at the target",
                "ssssf",
                "01:04 ok Recovered: success rate of p1 job is 80 % of the last 2 h",
            ),
            (
                "below",
                "sssff",
                "01:04 breach Success rate: p1 job 60 % of the last 2 h (2 of 5 runs failed, target 80 %)",
            ),
            (
                "errors are failures, partial and unknown ones are neither",
                "ssspexf",
                "01:06 breach Success rate: p1 job 60 % of the last 2 h (2 of 5 runs failed, target 80 %)",
            ),
            (
                "partial runs do not make enough",
                "sspppff",
                "01:06 unknown 4 runs, needs 5",
            ),
        ] {
            let said = case(kind(Some("2h"), None), words).judge("02:00");
            assert_eq!(said.last().unwrap(), last, "{name}");
        }
    }

    #[test]
    fn only_the_last_runs_count() {
        let said = case(kind(None, Some(5)), "fffffpsssssf").judge("02:00");
        assert_eq!(
            said.last().unwrap(),
            "01:11 ok Recovered: success rate of p1 job is 80 % of the last 5 runs"
        );
        assert_eq!(said.len(), 12, "one verdict for each run: {said:?}");
    }

    #[test]
    fn runs_leave_the_window_without_news() {
        let failing = case(kind(Some("30m"), None), "fffssssssssss");
        let words = |until: &str| {
            let said = failing.judge(until);
            said.iter()
                .map(|line| line[..line.len().min(12)].to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(words("01:12").last().unwrap(), "01:12 breach");
        let judgement = failing.judgement("01:12");
        assert_eq!(judgement.wake_when_known, Some(at("01:30")));
        let later = failing.judgement("01:32");
        let last = later.findings.last().unwrap();
        assert!(matches!(last.verdict, Verdict::Ok(_)), "{last:?}");
        assert_eq!(last.at, at("01:32"), "the third failure left");
        assert_eq!(later.wake_when_known, Some(at("01:33")));
    }

    #[test]
    fn a_run_that_ended_after_what_is_known_is_waited_for() {
        let ahead = case(kind(Some("2h"), None), "sssff");
        let said = ahead.judge("01:03");
        assert_eq!(said.last().unwrap(), "01:03 unknown 4 runs, needs 5");
        let judgement = ahead.judgement("01:03");
        assert_eq!(judgement.wake_when_known, Some(at("01:04")));
        let of_last = case(kind(None, Some(5)), "sssff");
        let judgement = of_last.judgement("01:03");
        assert_eq!(judgement.wake_when_known, Some(at("01:04")));
    }

    #[test]
    fn an_alert_whose_window_has_emptied_expires_and_says_so() {
        let open = case(kind(Some("30m"), None), "fffffss").opened("01:06");
        let said = open.judge("01:36");
        assert_eq!(
            said[said.len() - 2..],
            [
                "01:35 unknown 1 runs, needs 5",
                "01:36 expired Closed: no run of p1 job has succeeded or failed in the last 30 min",
            ]
        );
        let never = case(kind(Some("30m"), None), "ff").judge("01:36");
        assert_eq!(never.last().unwrap(), "01:31 unknown 0 runs, needs 5");
    }

    #[test]
    fn confident_wants_more_than_chance() {
        let confident = SuccessRate {
            is_confident: true,
            ..kind(Some("2h"), None)
        };
        for (words, wanted) in [("sssff", "ok"), ("ssffffffff", "breach")] {
            let said = case(confident.clone(), words).judge("02:00");
            let word = said.last().unwrap().split(' ').nth(1).unwrap().to_owned();
            assert_eq!(word, wanted, "{words}");
        }
    }

    #[test]
    fn judging_twice_says_the_newest_again_and_nothing_else() {
        let first = case(kind(Some("2h"), None), "sssffss").after("02:00");
        assert_eq!(first.judge("02:00").len(), 1);
        let late = first.run("late", "01:03 -> 01:03 failed");
        assert_eq!(
            late.judge("02:00"),
            [
                "01:06 breach Success rate: p1 job 62.5 % of the last 2 h (3 of 8 runs failed, target 80 %)"
            ]
        );
    }
}
