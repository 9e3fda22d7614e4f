//! # deadline
//!
//! ## What it tells
//! A job's success is not there by a local time of day: not started, queued, still running (with what is
//! usual), or all attempts failed. Before that, that it is about to be late (`warn_before`, `at_risk`).
//!
//! ## When to use
//! When somebody waits for the numbers at a time of day.
//!
//! ## Keys
//! `by` (`"07:00"`) and `timezone` (required), `opens` (start of the window; default the last tick of the
//! job's schedule before `by`), `grace` (0), `warn_before`, `at_risk` (probability of missing), and the
//! common `calendar` (its days).
//!
//! A success qualifies when its run started at or after `opens`: yesterday's late run does not satisfy
//! today. `by` inside a gap of the clocks means the first instant after it; in a fold, the later one.
//!
//! ## No data
//! Nothing is late before the run list is known completely up to `by` + `grace`. The forecast needs 8
//! successes.
//!
//! ## Resolve
//! At the qualifying success ("delivered 42 min late"), or it expires when the next window opens. Early
//! warnings become the breach in place, or end quietly.

use chrono::{Days, NaiveDate, NaiveTime};
use chrono_tz::Tz;

use super::super::alert::{Evidence, Verdict};
use super::super::baseline::{Baseline, seconds, span};
use super::super::calendar::{after_gap, instants, resolve_late};
use super::super::forecast;
use super::super::history::JobHistory;
use super::super::labels::Labels;
use super::super::ledger::Promise;
use super::super::notification::Fact;
use super::super::observation::{Run, Status};
use super::super::schedule::Tick;
use super::super::time::{Span, Timestamp, human_span, human_time};
use super::context::{Context, Judgement, error_end, error_line, expired, is_like, resolved};

/// A qualifying success by a local time on each day of the calendar.
#[derive(Clone, Debug, PartialEq)]
pub struct Deadline {
    /// Local time.
    pub by: NaiveTime,
    /// Local time from which a run's start qualifies; `None`: the last tick of the job's schedule before
    /// `by`. Later than `by` means the evening before.
    pub opens: Option<NaiveTime>,
    /// Zone of both.
    pub zone: Tz,
    /// Waited after `by` before it fires; default 0.
    pub grace: Span,
    /// Plain early warning, so long before `by`.
    pub warn_before: Option<Span>,
    /// Early warning when the probability of missing reaches this, in (0, 1).
    pub at_risk: Option<f64>,
}

/// One day's promise.
#[derive(Clone, Copy, Debug)]
struct Window {
    date: NaiveDate,
    /// A run that starts from here on counts.
    opens_at: Timestamp,
    /// It is open, and the day before is over.
    begins_at: Timestamp,
    by_at: Timestamp,
    /// The next window opens.
    expires_at: Timestamp,
}

/// Deadlines longer ago than this are not judged any more.
const MAX_CATCH_UP: Span = Span::days(400);

/// A calendar without any day in so many is one that never comes.
const MAX_CALENDAR_DAYS: usize = 4_000;

/// A run that waited longer than this in the queue before the window opened is not looked for.
const MAX_QUEUED: Span = Span::days(1);

/// No fold is longer.
const MAX_FOLD: Span = Span::hours(4);

/// A run may start a little before its tick.
const EARLY: Span = Span::minutes(5);

/// A risk must fall this far below the limit before the warning is withdrawn.
const WITHDRAW_SHARE: f64 = 0.75;

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
        for window in self.windows(ctx, job, from) {
            if window.begins_at > ctx.known_until {
                judgement.wake_known(window.begins_at.min(window.by_at));
                break;
            }
            if !self.judge_window(ctx, job, &window, &mut judgement) {
                // Later days wait until nothing about this one can change any more.
                break;
            }
            judgement.memory.judged_until = window.by_at;
        }
        judgement
    }

    /// Promises whose `by` lies after `from`, up to the first whose window has not opened yet.
    fn windows(&self, ctx: &Context<'_>, job: &JobHistory, from: Timestamp) -> Vec<Window> {
        let first = from.in_zone(self.zone).date_naive() - Days::new(1);
        let mut dates = first
            .iter_days()
            .take(MAX_CALENDAR_DAYS)
            .filter(|date| {
                ctx.rule
                    .calendar
                    .as_ref()
                    .is_none_or(|calendar| calendar.is_day(*date))
            })
            .peekable();
        let mut windows = Vec::new();
        let mut last_by_at = Timestamp::MIN;
        while let (Some(date), Some(next)) = (dates.next(), dates.peek().copied()) {
            let mut window = self.window(ctx, job, date, next);
            window.begins_at = window.opens_at.max(last_by_at);
            last_by_at = window.by_at;
            // Of a window that opened before the job was first seen nothing can be told.
            if window.by_at <= from || window.opens_at < job.first_seen_at {
                continue;
            }
            let is_ahead = window.begins_at > ctx.known_until;
            windows.push(window);
            if is_ahead {
                break;
            }
        }
        windows
    }

    fn window(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        date: NaiveDate,
        next: NaiveDate,
    ) -> Window {
        let opens_at = self.opens_at(ctx, job, date);
        let next_opens_at = self.opens_at(ctx, job, next);
        Window {
            date,
            opens_at,
            begins_at: opens_at,
            by_at: resolve_late(self.zone, date.and_time(self.by)),
            // Without a tick in between the run that served this day serves the next one, too.
            expires_at: if next_opens_at > opens_at {
                next_opens_at
            } else {
                resolve_late(self.zone, next.and_time(self.by))
            },
        }
    }

    fn opens_at(&self, ctx: &Context<'_>, job: &JobHistory, date: NaiveDate) -> Timestamp {
        let by_at = resolve_late(self.zone, date.and_time(self.by));
        match self.opens {
            Some(opens) => {
                let day = if opens > self.by {
                    date - Days::new(1)
                } else {
                    date
                };
                let local = day.and_time(opens);
                let first = instants(self.zone, local).first().copied();
                first.unwrap_or_else(|| after_gap(self.zone, local))
            }
            None => last_owed_tick(ctx, job, by_at)
                .map_or(by_at - Span::days(1), |tick| tick.at - EARLY),
        }
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
                let labels = occurrence(window);
                if !is_met && is_news && ctx.open_at(&labels).is_none() {
                    let evidence = self.late_evidence(ctx, job, window, due_at, Some(run));
                    judgement.find_occurrence(labels.clone(), due_at, Verdict::Breach(evidence));
                }
                judgement.find_occurrence(labels, finished_at, self.delivered(ctx, window, run));
                true
            }
            None if ctx.known_until >= due_at => self.judge_missed(ctx, job, window, judgement),
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
        let is_over = ctx.known_until >= window.expires_at;
        judgement.decide(ctx, window.by_at, Promise::Missed, is_over);
        if window.expires_at <= ctx.memory.watching_since {
            return is_over;
        }
        let due_at = window.by_at + self.grace;
        let evidence = self.late_evidence(ctx, job, window, ctx.known_until, None);
        judgement.find_occurrence(occurrence(window), due_at, Verdict::Breach(evidence));
        if is_over {
            let headline = format!("Never delivered: {} of {}", ctx.title(), window.date);
            judgement.find_occurrence(occurrence(window), window.expires_at, expired(headline));
        } else {
            judgement.wake_known(window.expires_at);
        }
        is_over
    }

    /// Warnings before `by`.
    fn judge_early(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        window: &Window,
        judgement: &mut Judgement,
    ) {
        let warn_at = self.warn_before.map(|before| window.by_at - before);
        let is_warned = warn_at.is_some_and(|at| ctx.known_until >= at);
        if let Some(at) = warn_at.filter(|_| !is_warned) {
            judgement.wake_known(at);
        }
        // Forecasts are made for whole minutes, so that one look more changes nothing.
        let as_of = whole(ctx.known_until, FORECAST_EVERY);
        let risk = self.at_risk.and_then(|limit| {
            judgement.wake_known(as_of + FORECAST_EVERY);
            Some((limit, miss_probability(ctx, job, window, as_of)?))
        });
        let is_at_risk = risk.is_some_and(|(limit, p)| p >= limit);
        let at = match (warn_at, is_warned) {
            (Some(at), true) if !is_at_risk => at,
            _ => as_of,
        };
        if is_warned || is_at_risk {
            let evidence = self.early_evidence(ctx, job, window, as_of, risk.map(|(_, p)| p));
            judgement.find_occurrence(occurrence(window), at, Verdict::Breach(evidence));
        } else if match (self.at_risk, risk) {
            // No forecast is no good news.
            (Some(_), None) => false,
            (Some(_), Some((limit, p))) => p < limit * WITHDRAW_SHARE,
            (None, _) => true,
        } {
            let headline = format!("On course again: {}", ctx.title());
            let verdict = resolved(headline, Vec::new());
            judgement.find_occurrence(occurrence(window), as_of, verdict);
        }
    }

    fn early_evidence(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        window: &Window,
        as_of: Timestamp,
        risk: Option<f64>,
    ) -> Evidence {
        let left = human_span(window.by_at.since(as_of));
        let cause = self.cause(ctx, job, window, as_of);
        let chance = risk.map(|p| format!("{:.0} % of like runs would miss it", p * 100.0));
        let headline = format!(
            "At risk: {} due {} in {left} ({})",
            ctx.title(),
            self.clock(ctx, window.by_at),
            cause.text
        );
        let mut facts = self.facts(ctx, job, window, &cause);
        facts.extend(chance.map(|text| Fact::new("Forecast", text)));
        Evidence {
            headline,
            facts,
            severity: Some(ctx.rule.severity.softer()),
            run_id: cause.run_id,
            ..Evidence::default()
        }
    }

    /// Evidence that the promise of `window` is broken, as things stood at `as_of`.
    fn late_evidence(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        window: &Window,
        as_of: Timestamp,
        delivered_by: Option<&Run>,
    ) -> Evidence {
        let cause = match delivered_by {
            Some(run) => Cause {
                key: "delivered",
                text: format!("delivered at {}", self.clock(ctx, run.settled_at())),
                run_id: Some(run.id.clone()),
                error: None,
                usual: None,
            },
            None => self.cause(ctx, job, window, as_of),
        };
        Evidence {
            headline: format!(
                "Late: {} not finished, due {} ({})",
                ctx.title(),
                self.clock(ctx, window.by_at),
                cause.text
            ),
            facts: self.facts(ctx, job, window, &cause),
            severity: Some(ctx.rule.severity),
            error: cause.error.clone(),
            run_id: cause.run_id.clone(),
            change_key: Some(cause.key.to_owned()),
            ..Evidence::default()
        }
    }

    fn facts(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        window: &Window,
        cause: &Cause,
    ) -> Vec<Fact> {
        let mut facts = vec![Fact::new("Due", self.clock(ctx, window.by_at))];
        if self.grace > Span::zero() {
            facts.push(Fact::new("Grace", human_span(self.grace)));
        }
        facts.push(Fact::new("State", cause.text.clone()));
        if let Some(usual) = &cause.usual {
            facts.push(Fact::new(
                "Usual",
                format!(
                    "{}, p95 {}, last {} runs",
                    human_span(span(usual.median)),
                    human_span(span(usual.p95)),
                    usual.count
                ),
            ));
        }
        facts.extend(ctx.last_good(job));
        facts
    }

    fn cause(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        window: &Window,
        as_of: Timestamp,
    ) -> Cause {
        let runs: Vec<&Run> = attempts(ctx, job, window).collect();
        if let Some(run) = runs.iter().rev().find(|run| run.status.is_active()) {
            return self.active_cause(ctx, job, run, as_of);
        }
        if let Some(run) = runs.last() {
            let error = run.error.as_deref();
            let line = error
                .map(|text| format!(": {}", error_line(text)))
                .unwrap_or_default();
            let text = match runs.len() {
                1 => format!("its run ended as {}{line}", run.status.as_str()),
                count => format!("all {count} runs ended without success{line}"),
            };
            return Cause {
                key: "all_failed",
                text,
                run_id: Some(run.id.clone()),
                error: error.map(error_end),
                usual: None,
            };
        }
        let why = if ctx.project.is_held(job, as_of) {
            "not started: the job is paused"
        } else {
            "not started"
        };
        Cause {
            key: "not_started",
            text: why.into(),
            run_id: None,
            error: None,
            usual: None,
        }
    }

    fn active_cause(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        run: &Run,
        as_of: Timestamp,
    ) -> Cause {
        let usual = ctx.usual(job, run);
        let text = match run.started_at {
            None => format!("queued for {}", human_span(as_of.since(run.created_at))),
            Some(started_at) => {
                let elapsed = as_of.since(started_at);
                let usual_text = usual.map_or(String::new(), |usual| {
                    let expected = started_at + span(usual.median);
                    let end = if seconds(elapsed) < usual.median {
                        format!(", expected {}", self.clock(ctx, expected))
                    } else {
                        String::new()
                    };
                    format!(", usual {}{end}", human_span(span(usual.median)))
                });
                format!("running {}{usual_text}", human_span(elapsed))
            }
        };
        let key = if run.started_at.is_some() {
            "running"
        } else {
            "queued"
        };
        Cause {
            key,
            text,
            run_id: Some(run.id.clone()),
            error: None,
            usual,
        }
    }

    fn delivered(&self, ctx: &Context<'_>, window: &Window, run: &Run) -> Verdict {
        let at = self.clock(ctx, run.settled_at());
        let late = run.settled_at().since(window.by_at);
        let headline = if late > Span::zero() {
            format!(
                "Delivered: {} {} late, at {at}",
                ctx.title(),
                human_span(late)
            )
        } else {
            format!("In time: {} delivered at {at}", ctx.title())
        };
        let mut facts = vec![
            Fact::new("Due", self.clock(ctx, window.by_at)),
            Fact::new("Delivered", at),
        ];
        if let Some(took) = run.run_time() {
            facts.push(Fact::new("Ran", human_span(took)));
        }
        resolved(headline, facts)
    }

    /// Local time in the deadline's own zone.
    fn clock(&self, ctx: &Context<'_>, at: Timestamp) -> String {
        human_time(at, ctx.now, self.zone)
    }
}

/// Why a deadline is missed, or about to be.
struct Cause {
    key: &'static str,
    text: String,
    run_id: Option<super::super::observation::Name>,
    error: Option<String>,
    usual: Option<Baseline>,
}

/// The last tick before `by_at`. The second pass of a fold is soft and need not run: then it is the first.
fn last_owed_tick(ctx: &Context<'_>, job: &JobHistory, by_at: Timestamp) -> Option<Tick> {
    let before = |at| job.previous_tick(ctx.schedule_zone, at - Span::milliseconds(1));
    let last = before(by_at)?;
    let first_pass = before(last.at)
        .filter(|first| last.is_soft && !first.is_soft && last.at - first.at <= MAX_FOLD);
    Some(first_pass.unwrap_or(last))
}

/// `at` without the part of a `step` that has begun.
fn whole(at: Timestamp, step: Span) -> Timestamp {
    at - Span::milliseconds(at.as_millis().rem_euclid(step.num_milliseconds()))
}

fn occurrence(window: &Window) -> Labels {
    Labels::default().with("date", window.date.to_string())
}

fn start_of(run: &Run) -> Timestamp {
    run.started_at.unwrap_or(run.created_at)
}

/// The first success that counts for the day.
fn qualifying<'a>(ctx: &Context<'a>, job: &'a JobHistory, window: &Window) -> Option<&'a Run> {
    attempts(ctx, job, window)
        .filter(|run| run.status == Status::Success)
        .min_by_key(|run| (run.settled_at(), &run.id))
}

/// Runs that started (or wait to start) within the window, in order of creation.
fn attempts<'a>(
    ctx: &Context<'a>,
    job: &'a JobHistory,
    window: &Window,
) -> impl Iterator<Item = &'a Run> + use<'a> {
    let (this, window) = (*ctx, *window);
    ctx.project
        .created_between(job, window.opens_at - MAX_QUEUED, window.expires_at)
        .filter(move |run| this.is_judged(run))
        .filter(move |run| (window.opens_at..window.expires_at).contains(&start_of(run)))
}

fn miss_probability(
    ctx: &Context<'_>,
    job: &JobHistory,
    window: &Window,
    now: Timestamp,
) -> Option<f64> {
    let candidate = attempts(ctx, job, window)
        .filter(|run| run.status.is_active())
        .last();
    let model = candidate.or_else(|| ctx.last_success(job))?;
    let past: Vec<&Run> = ctx
        .finished(job)
        .filter(|run| run.status == Status::Success && is_like(run, model))
        .take(20)
        .collect();
    let durations: Vec<Span> = past.iter().filter_map(|run| run.run_time()).collect();
    if let Some(started_at) = candidate.and_then(|run| run.started_at) {
        return forecast::miss_when_running(
            &durations,
            now.since(started_at),
            window.by_at.since(now),
        );
    }
    let tick = job
        .previous_tick(ctx.schedule_zone, window.by_at - Span::milliseconds(1))?
        .at;
    let delays: Vec<Span> = past
        .iter()
        .filter_map(|run| {
            let started_at = run.started_at?;
            let tick = job.previous_tick(ctx.schedule_zone, started_at + EARLY)?;
            Some(started_at.since(tick.at))
        })
        .collect();
    forecast::miss_when_not_started(&delays, &durations, tick, now, window.by_at)
}

#[cfg(test)]
mod tests {
    use super::super::RuleKind;
    use super::super::fixture::{Case, at};
    use super::*;

    fn case(grace: i64) -> Case {
        let clock = |hour| NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
        let kind = Deadline {
            by: clock(7),
            opens: Some(clock(1)),
            zone: Tz::UTC,
            grace: Span::minutes(grace),
            warn_before: None,
            at_risk: None,
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
