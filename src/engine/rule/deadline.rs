//! # deadline
//!
//! ## What it tells
//! A job's success is not there by a local time of day, or by so long after each tick of its schedule: not
//! started, queued, still running (with what is usual), or all attempts failed; and which job before it is
//! the reason (`upstream`). Before that, that it is about to be late (`warn_before`, `at_risk`).
//!
//! ## When to use
//! When somebody waits for the numbers at a time of day, on some days of the month, or soon after each tick.
//!
//! ## Keys
//! * `by` (required): `"07:00"`, a local time on each day; `"26:00"` is two in the morning after the day;
//!   `"+2h after schedule"` is two hours after each tick of the job's schedule.
//! * `timezone`: the zone of a time of day (required with one; an IANA name).
//! * `opens`: local time from which a run's start counts. Later than `by` it means the evening before:
//!   `opens = "22:00"`, `by = "02:00"`. Default: the last tick of the job's schedule before `by`, and the few
//!   minutes (at most 5) that a run may start early.
//! * `on`: which days of the month: `"business day 3"`, `"last business day"`, `"day 15"`, `"last day"`. A
//!   business day is one that the `calendar` counts, without one Monday to Friday. A `day` that the `calendar`
//!   does not count moves to the next that it does. A month with fewer business days owes nothing.
//! * `calendar`: only its days are owed (with a time of day: the day of `by`, and for `"26:00"` the day
//!   before; after the schedule: ticks within its hours).
//! * `grace` (0): waited after `by`. `warn_before`: a plain early warning. `at_risk`: an early warning when the
//!   probability of missing reaches this, withdrawn when it falls below three quarters of it; both are one step
//!   softer than the rule's severity.
//! * `upstream`: names of jobs (globs) of the same project that must be done before. When the promise is late
//!   and the newest run of one of them failed, goes on, or did not start, the message names it. The source does
//!   not say what depends on what, so it is written here.
//!
//! A success qualifies when its run started at or after `opens` and before the next window opens: yesterday's
//! late run does not satisfy today. After the schedule each tick has a window of its own, up to the next tick.
//! `by` inside a gap of the clocks means the first instant after it; in a fold, the later one.
//!
//! The forecast is made each minute, from past successes of the same job, type and trigger (a run by hand that
//! has too few of its kind, and stands in for the scheduled one, is compared with scheduled ones). Where model
//! executions are known it asks how much of the usual work is done, and how long the last 20 runs took from
//! that point: a slow run that is nearly done is no risk, and one that has done little after its usual time is.
//! Otherwise it goes by the time that the run has taken: only runs that took longer count. Before the start it
//! adds how late runs usually start, or how long they queue. Newer runs count more, and runs of the same time of
//! day or week where they differ. The message says how many of the like runs would be too late, and when the end
//! is to be expected (one in ten ends before the first time named, one in ten after the second).
//!
//! ## No data
//! Nothing is late before the run list is known completely up to `by` + `grace`. The forecast needs 8 like
//! successes, and a schedule as long as no run is there. After a start it waits for the model executions, where
//! the newest run has some; while they cannot be read it goes by time, and takes no warning back. A window that
//! opened before the job was first seen is not judged.
//!
//! Excused (the ledger says why) is a time of day when nothing started and the job was disabled, or its project
//! suspended, from the moment the run was to start (its tick, or `opens`) until `by`. A job that is paused only
//! after it should have started, or is back before `by`, still owes: the message says that it is paused. After
//! the schedule a tick is excused while the job is disabled or the project suspended, outside the calendar, and
//! inside a change of the clocks. A tick that the scheduler skipped because the run before was still active is
//! owed. Ticks of a changed schedule are judged by the schedule of their time.
//!
//! ## Resolve
//! At the qualifying success ("delivered 42 min late"), or it expires ("never delivered") when the next window
//! opens; after the schedule when a later tick's run succeeds, or the next promise falls due. Early warnings
//! become the breach in place, or end quietly.

mod outlook;
mod upstream;
mod windows;
mod words;

use chrono::NaiveTime;
use chrono_tz::Tz;

use super::super::alert::Verdict;
use super::super::digest::Kept;
use super::super::history::JobHistory;
use super::super::labels::{Labels, Patterns};
use super::super::ledger::Promise;
use super::super::time::{Span, Timestamp, human_span};
use super::Clock;
use super::context::{Context, Judgement, clock_bounds, expired, resolved};
use outlook::Outlook;
use windows::{Occurrence, Window, excuse, qualifying};

/// A qualifying success by a local time on each day of the calendar, or by so long after each tick.
#[derive(Clone, Debug, PartialEq)]
pub struct Deadline {
    /// When it falls due.
    pub by: By,
    /// Days of the month on which it is owed; only for a time of day.
    pub on: On,
    /// Local time from which a run's start qualifies; `None`: the last tick of the job's schedule before
    /// `by`. Later than `by` means the evening before. Only for a time of day.
    pub opens: Option<NaiveTime>,
    /// Zone of both.
    pub zone: Tz,
    /// Waited after `by` before it fires; default 0.
    pub grace: Span,
    /// Plain early warning, so long before `by`.
    pub warn_before: Option<Span>,
    /// Early warning when the probability of missing reaches this, in (0, 1).
    pub at_risk: Option<f64>,
    /// Jobs of the same project that must be done before.
    pub upstream: Option<Patterns>,
}

/// When a deadline falls due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// At a local time of the day, `07:00`.
    Time(NaiveTime),
    /// At a local time of the day after, `26:00`.
    NextDay(NaiveTime),
    /// So long after each tick of the job's schedule; above zero.
    AfterTick(Span),
}

/// Days of the month on which a deadline is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Each day that the calendar counts.
    EveryDay,
    /// The n-th business day, from 1.
    BusinessDay(u32),
    /// The last business day.
    LastBusinessDay,
    /// A day of the month from 1 to 28, or the next that the calendar counts.
    Day(u32),
    /// The last day of the month, or the next that the calendar counts.
    LastDay,
}

/// Deadlines longer ago than this are not judged any more.
const MAX_CATCH_UP: Span = Span::days(400);

/// A risk must fall this far below the limit before the warning is withdrawn.
const WITHDRAW_SHARE: f64 = 0.75;

/// Promises that tell how much time there usually is, at least and at most.
const FEW_PROMISES: usize = 3;
const MANY_PROMISES: usize = 20;

/// How often a forecast is made anew while nothing else happens.
const FORECAST_EVERY: Span = Span::minutes(1);

impl Deadline {
    /// Judges a job.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let Some(job) = ctx.job() else {
            return judgement;
        };
        let from = ctx
            .memory
            .judged_until
            .max(job.first_seen_at)
            .max(ctx.known_until - MAX_CATCH_UP);
        let windows = self.windows(ctx, job, from);
        for window in &windows {
            if window.begins_at > ctx.known_until {
                judgement.wake_known(window.begins_at.min(window.by_at));
                return judgement;
            }
            if !self.judge_window(ctx, job, window, &mut judgement) {
                // Later days wait until nothing about this one can change any more.
                return judgement;
            }
            judgement.memory.judged_until = window.by_at;
        }
        if windows.len() >= windows::MAX_WINDOWS {
            judgement.wake(ctx.now);
        }
        judgement
    }

    /// Judges one day; true when nothing about it can change any more.
    fn judge_window(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        window: &Window,
        judgement: &mut Judgement,
    ) -> bool {
        let due_at = window.by_at + self.grace;
        let labels = occurrence(window);
        match qualifying(ctx, job, window) {
            Some(run) => {
                let finished_at = run.settled_at();
                let is_met = finished_at <= due_at;
                let late = finished_at.since(window.by_at);
                let outcome = if is_met {
                    Promise::Met
                } else {
                    Promise::late(late)
                };
                judgement.decide(ctx, window.by_at, outcome, true);
                let is_news = finished_at > ctx.memory.watching_since;
                if !is_met && is_news && ctx.open_at(&labels).is_none() {
                    let evidence = self.late_evidence(ctx, job, window, due_at, Some(run));
                    judgement.find_occurrence(labels.clone(), due_at, Verdict::Breach(evidence));
                }
                judgement.find_occurrence(labels, finished_at, self.delivered(ctx, window, run));
                true
            }
            None if ctx.known_until >= due_at => match excuse(ctx, job, window) {
                Some(why) => {
                    judgement.decide(ctx, window.by_at, Promise::Excused(why.into()), true);
                    let headline = format!("Not due: {} {why}", ctx.title());
                    judgement.find_occurrence(labels, due_at, expired(headline));
                    true
                }
                None => self.judge_missed(ctx, job, window, judgement),
            },
            None => {
                judgement.wake_known(due_at);
                self.judge_early(ctx, job, window, judgement);
                false
            }
        }
    }

    fn judge_missed(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        window: &Window,
        judgement: &mut Judgement,
    ) -> bool {
        let due_at = window.by_at + self.grace;
        let expires_at = self.given_up_at(ctx, job, window);
        let is_over = ctx.known_until >= expires_at;
        judgement.decide(ctx, window.by_at, Promise::Missed, is_over);
        if expires_at <= ctx.memory.watching_since {
            return is_over;
        }
        let evidence = self.late_evidence(ctx, job, window, ctx.known_until, None);
        judgement.find_occurrence(occurrence(window), due_at, Verdict::Breach(evidence));
        if is_over {
            let headline = format!(
                "Never delivered: {} of {}",
                ctx.title(),
                self.name_of(ctx, window)
            );
            judgement.find_occurrence(occurrence(window), expires_at, expired(headline));
        } else {
            judgement.wake_known(expires_at);
        }
        is_over
    }

    /// Promises due in `(from, to]` that were delivered, with the time that was left.
    pub(in crate::engine) fn kept(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<Kept> {
        let windows = self.windows(ctx, job, from).into_iter();
        let kept = windows
            .filter(|window| window.by_at <= to)
            .filter_map(|window| {
                let delivered_at = qualifying(ctx, job, &window)?.settled_at();
                Some(Kept {
                    due_at: window.by_at,
                    left: window.by_at - delivered_at,
                    allowed: window.by_at - window.opens_at,
                })
            });
        kept.collect()
    }

    /// How long the runs that served the last promises had, from the start of a clock until they were due;
    /// only those that ended at or before `until`.
    pub(super) fn times_left(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        clock: Clock,
        until: Timestamp,
    ) -> Vec<Span> {
        // Promises of a minute are many, those of a month few.
        for back in [Span::days(7), Span::days(35), Span::days(200)] {
            let windows = self.windows(ctx, job, until - back);
            let served = windows
                .iter()
                .filter_map(|window| Some((window, qualifying(ctx, job, window)?)))
                .filter(|(_, run)| run.settled_at() <= until);
            let mut left: Vec<Span> = served
                .filter_map(|(window, run)| {
                    let (started_at, _) = clock_bounds(run, clock)?;
                    Some(window.by_at + self.grace - started_at)
                })
                .collect();
            if left.len() >= FEW_PROMISES {
                return left.split_off(left.len().saturating_sub(MANY_PROMISES));
            }
        }
        Vec::new()
    }

    /// `by 07:00 EST`, `within 2 h of its tick`.
    pub(super) fn by_words(&self, at: Timestamp) -> String {
        let zone = at.in_zone(self.zone).format("%Z");
        match self.by {
            By::Time(time) => format!("by {} {zone}", time.format("%H:%M")),
            By::NextDay(time) => format!("by {} {zone} the day after", time.format("%H:%M")),
            By::AfterTick(after) => format!("within {} of its tick", human_span(after)),
        }
    }

    /// The day or the tick, for people.
    fn name_of(&self, ctx: &Context<'_>, window: &Window) -> String {
        match window.occurrence {
            Occurrence::Day(date) => date.to_string(),
            Occurrence::Tick(tick) => self.clock(ctx, tick.at),
        }
    }

    /// Warnings before `by`.
    fn judge_early(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        window: &Window,
        judgement: &mut Judgement,
    ) {
        if let Some(why) = excuse(ctx, job, window) {
            let headline = format!("Not due: {} {why}", ctx.title());
            judgement.find_occurrence(occurrence(window), ctx.known_until, expired(headline));
            return;
        }
        let warn_at = self.warn_before.map(|before| window.by_at - before);
        let is_warned = warn_at.is_some_and(|at| ctx.known_until >= at);
        if let Some(at) = warn_at.filter(|_| !is_warned) {
            judgement.wake_known(at);
        }
        // Forecasts are made for whole minutes, so that one look more changes nothing.
        let as_of = whole(ctx.known_until, FORECAST_EVERY);
        let outlook = self.at_risk.and_then(|_| {
            judgement.wake_known(as_of + FORECAST_EVERY);
            Outlook::of(ctx, job, window, as_of)
        });
        let risk = self
            .at_risk
            .zip(outlook.as_ref().map(|outlook| outlook.risk));
        let is_at_risk = risk.is_some_and(|(limit, p)| p >= limit);
        let at = match (warn_at, is_warned) {
            (Some(at), true) if !is_at_risk => at,
            _ => as_of,
        };
        if is_warned || is_at_risk {
            let evidence = self.early_evidence(ctx, job, window, as_of, outlook.as_ref());
            judgement.find_occurrence(occurrence(window), at, Verdict::Breach(evidence));
        } else if match (self.at_risk, &outlook) {
            // No forecast is no good news, nor is one that lacks what the one before knew.
            (Some(_), None) => false,
            (Some(limit), Some(outlook)) => {
                outlook.risk < limit * WITHDRAW_SHARE && !outlook.is_blind
            }
            (None, _) => true,
        } {
            let headline = format!("On course again: {}", ctx.title());
            let verdict = resolved(headline, Vec::new());
            judgement.find_occurrence(occurrence(window), as_of, verdict);
        }
    }
}

/// `at` without the part of a `step` that has begun.
fn whole(at: Timestamp, step: Span) -> Timestamp {
    at - Span::milliseconds(at.as_millis().rem_euclid(step.num_milliseconds()))
}

fn occurrence(window: &Window) -> Labels {
    match window.occurrence {
        Occurrence::Day(date) => Labels::default().with("date", date.to_string()),
        Occurrence::Tick(tick) => Labels::default().with("scheduled_at", tick.at.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::RuleKind;
    use super::super::fixture::{Case, at};
    use super::*;

    fn case(grace: i64) -> Case {
        let clock = |hour| NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
        let kind = Deadline {
            by: By::Time(clock(7)),
            on: On::EveryDay,
            opens: Some(clock(1)),
            zone: Tz::UTC,
            grace: Span::minutes(grace),
            warn_before: None,
            at_risk: None,
            upstream: None,
        };
        Case::new(RuleKind::Deadline(kind)).job("00:30", "0 4 * * *", true)
    }

    #[test]
    fn the_cause_is_named() {
        let late = |cause: &str| {
            format!(
                "07:00 breach Late: p1 job not finished, due 07:00 UTC ({cause}); promise 07:00 missed"
            )
        };
        for (run, cause) in [
            ("", "not started"),
            ("06:50 pending", "queued for 20 min"),
            ("06:00 running", "running 1 h 10 min"),
            (
                "06:00 -> 06:10 failed: boom",
                "its run ended as failed: boom",
            ),
            ("06:00 -> 06:10 partial", "its run ended as partial"),
            ("00:59 -> 06:10 success", "not started"),
        ] {
            let case = if run.is_empty() {
                case(0)
            } else {
                case(0).run("a", run)
            };
            assert_eq!(case.judge("07:10").join("; "), late(cause), "{run}");
        }
    }

    #[test]
    fn a_weekly_job_that_is_first_seen_between_two_days_is_waited_for() {
        // Mondays; 10 March 2026 is a Tuesday.
        let Case { rule, .. } = case(0);
        let RuleKind::Deadline(kind) = rule.kind else {
            unreachable!()
        };
        let kind = RuleKind::Deadline(Deadline {
            opens: None,
            ..kind
        });
        let mut weekly = Case::new(kind).job("06:00", "0 5 * * 1", true);
        let mut known = at("06:30");
        while weekly.ledger.is_empty() {
            assert!(known < at("2026-03-17T00:00:00Z"), "nothing was decided");
            let judgement = weekly.judgement(&known.to_string());
            known = judgement.wake_when_known.expect("it waits for something");
            weekly = weekly.after(&known.to_string());
        }
        let due_at = at("2026-03-16T07:00:00Z");
        let rows = weekly.ledger.rows("rule", at("00:00"), due_at);
        let rows: Vec<_> = rows.map(|row| (row.due_at, row.outcome)).collect();
        assert_eq!(rows, [(due_at, Promise::Missed)]);
    }

    #[test]
    fn a_success_within_the_window_delivers() {
        for (run, known, said) in [
            (
                "04:00 -> 04:10 success",
                "05:00",
                "04:10 ok In time: p1 job delivered at 04:10 UTC; promise 07:00 met",
            ),
            (
                "04:00 -> 07:00 success",
                "07:00",
                "07:00 ok In time: p1 job delivered at 07:00 UTC; promise 07:00 met",
            ),
            (
                "04:00 -> 07:42 success",
                "08:00",
                "07:00 breach Late: p1 job not finished, due 07:00 UTC (delivered at 07:42 UTC); \
                 07:42 ok Delivered: p1 job 42 min late, at 07:42 UTC; promise 07:00 late by 2520 s",
            ),
        ] {
            assert_eq!(case(0).run("a", run).judge(known).join("; "), said, "{run}");
        }
        let within_grace = case(15)
            .run("a", "04:00 -> 07:10 success")
            .judge("07:20")
            .join("; ");
        assert_eq!(
            within_grace,
            "07:10 ok Delivered: p1 job 10 min late, at 07:10 UTC; promise 07:00 met"
        );
    }

    #[test]
    fn nothing_is_late_before_it_is_known() {
        let case = case(15);
        assert!(
            case.judge("07:14")
                .iter()
                .all(|line| !line.contains("breach"))
        );
        assert_eq!(case.judgement("07:10").wake_when_known, Some(at("07:15")));
        assert!(
            case.judge("07:15")
                .iter()
                .any(|line| line.contains("breach"))
        );
    }

    #[test]
    fn it_expires_when_the_next_window_opens() {
        let said = case(0).judge("2026-03-11T01:00:00Z");
        assert_eq!(
            said[1],
            "03-11T01:00 expired Never delivered: p1 job of 2026-03-10"
        );
    }
}
