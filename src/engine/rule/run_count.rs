//! # run_count
//!
//! ## What it tells
//! Too few or too many runs of a job were created within a rolling window; and, with `overlap = false`,
//! that a run started while another run of the job was still going.
//!
//! ## When to use
//! `max` for jobs that something else starts, and that may be started in a loop. `min` for jobs without a
//! schedule of their own, or whose single ticks do not matter (`missed_schedule` tells single ticks).
//! `overlap = false` for jobs that must not run twice at once.
//!
//! ## Keys
//! At least one of `min`, `max` and `overlap = false`.
//!
//! * `window`: the rolling window, `"6h"`.
//! * `min`, `max`: fewest and most runs created within it. A run counts from its creation until `window`
//!   later, whatever became of it.
//! * `overlap`: `false` says that two runs that have started and not ended are a breach. Waiting in the
//!   queue is no overlap, and neither is a start at the very instant of an end.
//!
//! The selectors say which runs count: `triggered_by = "!scheduled"` counts what people and hooks start.
//! `clear` is not used: a count is within its bounds or not.
//!
//! ## No data
//! Too few is said only when runs are known completely up to that instant. It is Unknown until the job
//! has been seen for a whole window, while it is disabled or its project suspended or not deployed, and
//! until a whole window has passed since. The other two are said of runs that are known.
//!
//! ## Resolve
//! Each by itself: too few and too many when the count is within its bound again, also without news when
//! runs leave the window; overlap when no two runs are active. Too few expires when the job is held.

use super::super::alert::{Evidence, Verdict};
use super::super::history::JobHistory;
use super::super::labels::Labels;
use super::super::notification::Fact;
use super::super::observation::Run;
use super::super::time::{Span, Timestamp, human_span};
use super::context::{Context, Judgement, expired, resolved, run_evidence};

/// Number of runs in a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunCount {
    /// The window.
    pub window: Span,
    /// Fewest runs.
    pub min: Option<u32>,
    /// Most runs.
    pub max: Option<u32>,
    /// `false`: two runs active at once are a breach.
    pub overlap: Option<bool>,
}

/// Runs counted in one window; of more, so many are bad enough.
const MAX_COUNTED: usize = 20_000;

/// Instants judged in one evaluation: after a long absence the older ones are history.
const MAX_JUDGED: usize = 200;

/// Windows before the present one that say what is usual.
const USUAL_WINDOWS: i32 = 8;

/// Creations of the runs that count, in order, also of those after the instant up to which runs are known.
struct Counting {
    created: Vec<Timestamp>,
    window: Span,
}

impl Counting {
    /// Runs created in `(at - window, at]`.
    fn at(&self, at: Timestamp) -> usize {
        let up_to = |at: Timestamp| self.created.partition_point(|created| *created <= at);
        up_to(at) - up_to(at - self.window)
    }

    /// When the count changed, in order, up to an instant.
    fn instants(&self, until: Timestamp) -> Vec<Timestamp> {
        let both = self.created.iter().flat_map(|at| [*at, *at + self.window]);
        let mut instants: Vec<Timestamp> = both.filter(|at| *at <= until).collect();
        instants.sort();
        instants.dedup();
        instants
    }

    /// When the next run begins to count, or leaves the window.
    fn next_change(&self, after: Timestamp) -> Option<Timestamp> {
        let both = self.created.iter().flat_map(|at| [*at, *at + self.window]);
        both.filter(|at| *at > after).min()
    }
}

fn limit(name: &str) -> Labels {
    Labels::default().with("limit", name)
}

impl RunCount {
    /// Judges a job.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let Some(job) = ctx.job() else {
            return judgement;
        };
        if self.min.is_some() || self.max.is_some() {
            self.judge_count(ctx, job, &mut judgement);
        }
        if self.overlap == Some(false) {
            judge_overlap(ctx, job, &mut judgement);
        }
        judgement.findings.sort_by_key(|finding| finding.at);
        judgement
    }

    fn judge_count(&self, ctx: &Context<'_>, job: &JobHistory, judgement: &mut Judgement) {
        let since = ctx.memory.judged_until;
        let counting = self.counting(ctx, job, since);
        let mut instants = counting.instants(ctx.known_until);
        let countable_at = self.min.and_then(|_| self.countable_at(ctx, job));
        if let Some(at) = countable_at {
            if at > ctx.known_until {
                judgement.wake_known(at);
            } else if !instants.contains(&at) {
                instants.push(at);
                instants.sort();
            }
        }
        if let Some(next) = counting.next_change(ctx.known_until) {
            judgement.wake_known(next);
        }
        // The newest once more: late rows, and on the first look what is so already.
        let new = instants.partition_point(|at| *at <= since);
        let kept = new.min(instants.len().saturating_sub(1));
        let instants = instants.split_off(kept.max(instants.len().saturating_sub(MAX_JUDGED)));
        for at in instants {
            judgement.memory.judged_until = judgement.memory.judged_until.max(at);
            let count = counting.at(at);
            if let Some(max) = self.max {
                let verdict = self.verdict(ctx, job, at, count, count > max as usize, "max");
                judgement.find_occurrence(limit("max"), at, verdict);
            }
            if let Some(min) = self.min {
                let verdict = if countable_at.is_some_and(|from| at >= from) {
                    self.verdict(ctx, job, at, count, count < min as usize, "min")
                } else {
                    Verdict::Unknown(format!("held, or not seen for {}", human_span(self.window)))
                };
                judgement.find_occurrence(limit("min"), at, verdict);
            }
        }
        if self.min.is_some() && ctx.project.is_held(job, ctx.known_until) {
            let headline = format!("Not due any more: {} is paused", ctx.title());
            judgement.find_occurrence(limit("min"), ctx.known_until, expired(headline));
        }
    }

    fn counting(&self, ctx: &Context<'_>, job: &JobHistory, since: Timestamp) -> Counting {
        let newest = ctx.project.newest(job);
        let mut created: Vec<Timestamp> = newest
            .take_while(|run| run.created_at + self.window > since - self.window)
            .filter(|run| ctx.is_judged(run))
            .map(|run| run.created_at)
            .take(MAX_COUNTED)
            .collect();
        created.reverse();
        Counting {
            created,
            window: self.window,
        }
    }

    /// The first instant since which a whole window of the job has been seen in which it was not held.
    /// `None`: it is held now.
    fn countable_at(&self, ctx: &Context<'_>, job: &JobHistory) -> Option<Timestamp> {
        if ctx.project.is_held(job, ctx.known_until) {
            return None;
        }
        let held = ctx.project.last_held(job).unwrap_or(Timestamp::MIN);
        Some(job.first_seen_at.max(held) + self.window)
    }

    fn verdict(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        at: Timestamp,
        count: usize,
        is_breach: bool,
        which: &str,
    ) -> Verdict {
        let window = human_span(self.window);
        let runs = plural(count);
        if !is_breach {
            return resolved(
                format!("Back in bounds: {} had {runs} in {window}", ctx.title()),
                vec![Fact::new("Runs", format!("{count} in the last {window}"))],
            );
        }
        let (word, bound) = if which == "min" {
            ("Too few", format!("at least {}", self.min.unwrap_or(0)))
        } else {
            ("Too many", format!("at most {}", self.max.unwrap_or(0)))
        };
        let usual = self.usual(ctx, job, at);
        let usual = usual.map_or(String::new(), |usual| format!(", usual {usual}"));
        let mut facts = vec![
            Fact::new("Runs", format!("{count} in the last {window}{usual}")),
            Fact::new("Bound", bound.clone()),
        ];
        let newest = ctx.project.newest(job).find(|run| ctx.is_judged(run));
        if let Some(run) = newest {
            facts.push(Fact::new("Newest run", ctx.clock(run.created_at)));
        }
        Verdict::Breach(Evidence {
            headline: format!(
                "{word} runs: {} had {runs} in {window} ({bound}{usual})",
                ctx.title()
            ),
            facts,
            ..Evidence::default()
        })
    }

    /// The middle of the counts of the windows before, as far as the job has been seen.
    fn usual(&self, ctx: &Context<'_>, job: &JobHistory, at: Timestamp) -> Option<usize> {
        let moment = Span::milliseconds(1);
        let mut counts: Vec<usize> = (1..=USUAL_WINDOWS)
            .map(|index| at - self.window * index)
            .take_while(|end| *end - self.window >= job.first_seen_at)
            .filter(|end| !ctx.project.is_held_within(job, *end - self.window, *end))
            .map(|end| {
                let within =
                    ctx.project
                        .created_between(job, end - self.window + moment, end + moment);
                let wanted = within.filter(|run| ctx.is_judged(run));
                wanted.take(MAX_COUNTED).count()
            })
            .collect();
        counts.sort_unstable();
        (counts.len() >= 3).then(|| counts[counts.len() / 2])
    }
}

fn plural(count: usize) -> String {
    match count {
        0 => "no run".to_owned(),
        1 => "1 run".to_owned(),
        _ => format!("{count} runs"),
    }
}

/// A run that started, and when it ended.
#[derive(Clone, Copy)]
struct Stretch<'a> {
    run: &'a Run,
    from: Timestamp,
    to: Option<Timestamp>,
}

impl Stretch<'_> {
    fn is_going_on(&self, at: Timestamp) -> bool {
        self.from <= at && self.to.is_none_or(|to| to > at)
    }
}

/// Says at each start and end since the last look whether two runs were active.
fn judge_overlap(ctx: &Context<'_>, job: &JobHistory, judgement: &mut Judgement) {
    let since = ctx.memory.judged_until;
    let stretches = stretches(ctx, job, since);
    let both = stretches.iter().flat_map(|s| [Some(s.from), s.to]);
    let mut instants: Vec<Timestamp> = both.flatten().filter(|at| *at <= ctx.known_until).collect();
    instants.sort();
    instants.dedup();
    let ahead = stretches.iter().map(|stretch| stretch.from);
    if let Some(next) = ahead.filter(|at| *at > ctx.known_until).min() {
        judgement.wake_known(next);
    }
    let new = instants.partition_point(|at| *at <= since);
    let kept = new.min(instants.len().saturating_sub(1));
    let instants = instants.split_off(kept.max(instants.len().saturating_sub(MAX_JUDGED)));
    for at in instants {
        judgement.memory.judged_until = judgement.memory.judged_until.max(at);
        let mut active: Vec<Stretch<'_>> = stretches
            .iter()
            .copied()
            .filter(|stretch| stretch.is_going_on(at))
            .collect();
        active.sort_by_key(|stretch| (stretch.from, stretch.run.id.clone()));
        let verdict = match active[..] {
            [first, .., second] => overlapping(ctx, first, second, active.len()),
            _ => resolved(
                format!("Over: no two runs of {} are active", ctx.title()),
                vec![Fact::new("Since", ctx.clock(at))],
            ),
        };
        judgement.find_occurrence(limit("overlap"), at, verdict);
    }
}

/// Runs that started and were active at an instant or later.
fn stretches<'a>(ctx: &Context<'a>, job: &'a JobHistory, since: Timestamp) -> Vec<Stretch<'a>> {
    let moment = Span::milliseconds(1);
    let finished = ctx.finished_after(job, since - moment).take(MAX_COUNTED);
    let all = finished.map(|run| (run, Some(run.settled_at())));
    let active = ctx.active(job).map(|run| (run, None));
    all.chain(active)
        .filter_map(|(run, to)| {
            Some(Stretch {
                run,
                from: run.started_at?,
                to,
            })
        })
        .collect()
}

fn overlapping(
    ctx: &Context<'_>,
    first: Stretch<'_>,
    second: Stretch<'_>,
    active: usize,
) -> Verdict {
    let headline = format!(
        "Overlap: {} started at {} while its run of {} was still going ({active} active)",
        ctx.title(),
        ctx.clock(second.from),
        ctx.clock(first.from)
    );
    let facts = vec![
        Fact::new("Active", format!("{active} runs")),
        Fact::new(
            "First",
            format!("{}, started {}", first.run.id, ctx.clock(first.from)),
        ),
        Fact::new(
            "Newest",
            format!("{}, started {}", second.run.id, ctx.clock(second.from)),
        ),
    ];
    Verdict::Breach(run_evidence(headline, second.run, facts))
}

#[cfg(test)]
mod tests {
    use super::super::RuleKind;
    use super::super::fixture::{Case, at};
    use super::*;

    fn case(min: Option<u32>, max: Option<u32>, overlap: Option<bool>) -> Case {
        Case::new(RuleKind::RunCount(RunCount {
            window: Span::hours(2),
            min,
            max,
            overlap,
        }))
    }

    fn last(case: &Case, until: &str) -> String {
        case.judge(until).pop().unwrap_or_default()
    }

    #[test]
    fn too_many_is_said_at_the_creation_and_over_when_a_run_leaves() {
        let many = case(None, Some(2), None)
            .run("a", "03:00 -> 03:05 success")
            .run("b", "04:00 -> 04:05 failed")
            .run("c", "04:30 running");
        assert_eq!(
            many.judge("04:40"),
            [
                "03:00 ok Back in bounds: p1 job had 1 run in 2 h",
                "04:00 ok Back in bounds: p1 job had 2 runs in 2 h",
                "04:30 breach Too many runs: p1 job had 3 runs in 2 h (at most 2)",
            ]
        );
        assert_eq!(many.judgement("04:40").wake_when_known, Some(at("05:00")));
        let after = many.after("04:40");
        assert_eq!(
            after.judge("05:10"),
            ["05:00 ok Back in bounds: p1 job had 2 runs in 2 h"]
        );
    }

    #[test]
    fn too_few_is_said_when_a_run_leaves_and_runs_are_known_that_far() {
        let few = case(Some(2), None, None)
            .run("a", "03:00 -> 03:05 success")
            .run("b", "04:00 -> 04:05 success");
        let first = few.judge("04:59");
        assert_eq!(
            first,
            [
                "03:00 unknown held, or not seen for 2 h",
                "04:00 unknown held, or not seen for 2 h",
            ]
        );
        assert_eq!(
            last(&few, "05:00"),
            "05:00 breach Too few runs: p1 job had 1 run in 2 h (at least 2)"
        );
        assert_eq!(
            last(&few, "07:00"),
            "06:00 breach Too few runs: p1 job had no run in 2 h (at least 2)"
        );
    }

    #[test]
    fn time_on_hold_is_not_too_few() {
        let held = case(Some(2), None, None)
            .job("2026-03-09T01:00:00Z", "0 * * * *", true)
            .run("a", "03:00 -> 03:05 success")
            .run("b", "04:00 -> 04:05 success")
            .job("04:30", "0 * * * *", false);
        assert_eq!(
            last(&held, "06:30"),
            "06:30 expired Not due any more: p1 job is paused"
        );
        assert!(
            held.judge("06:30")
                .iter()
                .all(|line| !line.contains("breach"))
        );
        let back = held.job("07:00", "0 * * * *", true);
        assert!(
            back.judge("08:59")
                .iter()
                .all(|line| !line.contains("breach"))
        );
        assert_eq!(
            last(&back, "09:00"),
            "09:00 breach Too few runs: p1 job had no run in 2 h (at least 2, usual 0)"
        );
    }

    #[test]
    fn a_run_created_after_what_is_known_is_waited_for() {
        let ahead = case(None, Some(1), None)
            .run("a", "03:00 -> 03:05 success")
            .run("b", "03:20 running");
        assert_eq!(
            last(&ahead, "03:19"),
            "03:00 ok Back in bounds: p1 job had 1 run in 2 h"
        );
        let judgement = ahead.judgement("03:19");
        assert_eq!(judgement.wake_when_known, Some(at("03:20")));
        assert_eq!(
            last(&ahead, "03:20"),
            "03:20 breach Too many runs: p1 job had 2 runs in 2 h (at most 1)"
        );
    }

    #[test]
    fn the_usual_number_is_said() {
        let mut busy = case(None, Some(3), None);
        for hour in 0..10 {
            for minute in ["00", "30"] {
                let from = format!("{hour:02}:{minute}");
                busy = busy.run(&from, &format!("{from} -> {from} success"));
            }
        }
        assert_eq!(
            last(&busy, "09:59"),
            "09:30 breach Too many runs: p1 job had 4 runs in 2 h (at most 3, usual 4)"
        );
    }

    #[test]
    fn only_selected_runs_count() {
        let mut chosen = case(None, Some(1), None)
            .run("a", "03:00 -> 03:05 success")
            .run_by("b", "alice", "03:30 -> 03:35 success")
            .run_by("c", "alice", "03:40 -> 03:45 success");
        chosen.rule.selectors.triggered_by =
            super::super::super::labels::Patterns::new(["!scheduled"]);
        assert_eq!(
            last(&chosen, "04:00"),
            "03:40 breach Too many runs: p1 job had 2 runs in 2 h (at most 1)"
        );
    }

    #[test]
    fn two_runs_at_once_are_an_overlap_from_the_second_start_on() {
        for (name, first, second, said) in [
            (
                "one after the other",
                "03:00 -> 04:00 success",
                "04:00 -> 04:10 success",
                "04:10 ok Over: no two runs of p1 job are active",
            ),
            (
                "waiting is no overlap",
                "03:00 running",
                "03:30 pending",
                "03:00 ok Over: no two runs of p1 job are active",
            ),
            (
                "overlap",
                "03:00 running",
                "03:30 running",
                "03:30 breach Overlap: p1 job started at 03:30 UTC while its run of 03:00 UTC was still going (2 active)",
            ),
            (
                "over",
                "03:00 -> 03:40 success",
                "03:30 running",
                "03:40 ok Over: no two runs of p1 job are active",
            ),
        ] {
            let case = case(None, None, Some(false))
                .run("a", first)
                .run("b", second);
            assert_eq!(last(&case, "05:00"), said, "{name}");
        }
    }

    #[test]
    fn an_overlap_that_was_over_between_two_looks_is_said_with_both_instants() {
        let case = case(None, None, Some(false))
            .run("a", "03:00 -> 03:40 success")
            .run("b", "03:30 -> 03:50 success");
        let said = case.judge("05:00");
        let words: Vec<&str> = said.iter().map(|line| &line[..8]).collect();
        assert_eq!(words, ["03:00 ok", "03:30 br", "03:40 ok", "03:50 ok"]);
        assert_eq!(case.after("05:00").judge("05:00").len(), 1);
    }
}
