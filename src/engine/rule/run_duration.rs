//! # run_duration
//!
//! ## What it tells
//! A run takes longer than it may, at the very instant at which it exceeds the limit and while it is
//! still going; and a run that finished suspiciously fast.
//!
//! ## When to use
//! For jobs whose length is promised, or that hang. `min` catches runs that succeed without doing
//! anything. With `times = "2 of 3"` one long run alone says nothing.
//!
//! ## Keys
//! One of `max` and `min` at least.
//!
//! * `clock`: `run` by default, started to finished; `queue`, created to started; `total`, created
//!   (for a scheduled run its tick) to finished.
//! * `max`: `"45m"`; or a factor of what is usual, `"1.5x p95"` (`median`, `p90`, `p95`, `p99`, `max`):
//!   of the last 20 successes like the run (same job, job type and trigger class) that were over when
//!   it was created. The message says how the limit came about.
//! * `min`: `"30s"`, judged at the end of a success.
//! * the common `times = "n of m"`: one alert about the job instead of one for each run; it fires when
//!   n of the last m distinct runs breach. A run that goes on counts from the instant at which it
//!   exceeds, and not before.
//!
//! Each run with a limit is a promise, kept or broken by so much, in the ledger.
//!
//! ## No data
//! A run is called too long only when Tardy knows that it had not finished by then: while the source
//! cannot be read, the verdict is Unknown. With a factor, fewer than 8 like successes are Unknown, no
//! promise and never an alarm. A wait in the queue (`clock = "queue"`) that was over before Tardy could
//! know of it makes the ledger only.
//!
//! ## Resolve
//! The same alert closes with the final duration when the run ends. Too fast: at the next success that
//! is not. With `times`: when fewer than n of the last m runs breach. A retry of a run that was too long
//! corrects the ledger and is not told again.

use super::super::alert::{Alert, Evidence, Verdict};
use super::super::baseline::span;
use super::super::history::JobHistory;
use super::super::labels::Labels;
use super::super::ledger::Promise;
use super::super::notification::Fact;
use super::super::observation::{Run, Status};
use super::super::time::{Span, Timestamp, human_span};
use super::context::{
    Context, Judgement, clock_bounds, expired, resolved, run_evidence, run_occurrence,
};
use super::limit::{self, Allowed};
use super::times::{self, Event};
use super::{Clock, Limit, Times};

/// A run takes longer than `max`, judged while it is active, or was shorter than `min`.
#[derive(Clone, Debug, PartialEq)]
pub struct RunDuration {
    /// Which time of the run; default run.
    pub clock: Clock,
    /// Longest duration.
    pub max: Option<Limit>,
    /// Shortest duration; judged at the end of a success.
    pub min: Option<Span>,
}

/// How long a run took, or takes, against its limit.
struct Taking<'a> {
    run: &'a Run,
    from: Timestamp,
    /// When its clock stopped.
    to: Option<Timestamp>,
    allowed: Option<Allowed>,
}

impl Taking<'_> {
    /// When it exceeded its limit, if it is known to have done so.
    fn over_at(&self, known_until: Timestamp) -> Option<Timestamp> {
        let over_at = self.from + self.allowed.as_ref()?.max;
        (self.to.unwrap_or(known_until) > over_at).then_some(over_at)
    }
}

impl RunDuration {
    /// Judges a job.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let Some(job) = ctx.job() else {
            return judgement;
        };
        let told_until = times::told_until(ctx.memory);
        for run in ctx.active(job) {
            self.judge_active(ctx, job, run, &mut judgement);
        }
        for run in ctx.finished_after(job, ctx.memory.judged_until) {
            if judgement.memory.is_first_judgement(run) {
                self.judge_finished(ctx, job, run, &mut judgement);
            }
        }
        if let Some(times) = ctx.rule.times {
            self.judge_times(ctx, job, times, told_until, &mut judgement);
        }
        judgement.memory.settle(ctx.known_until);
        close_lost(ctx, &mut judgement);
        judgement
    }

    fn taking<'r>(&self, ctx: &Context<'_>, job: &JobHistory, run: &'r Run) -> Option<Taking<'r>> {
        let (from, to) = clock_bounds(run, self.clock)?;
        let limit = self.max.map(|max| max.of_run(ctx, job, run, self.clock));
        Some(Taking {
            run,
            from,
            to,
            allowed: limit.and_then(Result::ok),
        })
    }

    fn judge_active(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        run: &Run,
        judgement: &mut Judgement,
    ) {
        let Some((from, to)) = clock_bounds(run, self.clock) else {
            return;
        };
        let allowed = match self.max.map(|max| max.of_run(ctx, job, run, self.clock)) {
            Some(Ok(allowed)) => allowed,
            Some(Err(why)) => {
                let unknown = Verdict::Unknown(why);
                judgement.find_occurrence(run_occurrence(&run.id), ctx.known_until, unknown);
                return;
            }
            None => return,
        };
        let over_at = from + allowed.max;
        if to.is_none() && ctx.known_until <= over_at {
            judgement.wake_known(over_at + Span::milliseconds(1));
            return;
        }
        if ctx.rule.times.is_some() {
            return;
        }
        let Some(to) = to else {
            let evidence = self.evidence(ctx, job, run, ctx.known_until.since(from), &allowed);
            judgement.find_occurrence(run_occurrence(&run.id), over_at, Verdict::Breach(evidence));
            return;
        };
        // The queue's clock stops while the run goes on: the wait is over, also when the limit has been raised
        // since it was told.
        if ctx.open_at(&run_occurrence(&run.id)).is_some() {
            judgement.find_occurrence(
                run_occurrence(&run.id),
                to,
                self.ended(ctx, run, to.since(from), &allowed),
            );
        }
    }

    fn judge_finished(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        run: &Run,
        judgement: &mut Judgement,
    ) {
        let Some(taking) = self.taking(ctx, job, run) else {
            return;
        };
        let Some(took) = taking.to.map(|to| to.since(taking.from)) else {
            return;
        };
        if let Some(allowed) = &taking.allowed {
            let before = promise(ctx, &taking, took, allowed.max, judgement);
            // A retry of a run that was told already is no news.
            let is_news = !matches!(before, Some(Promise::LateBy(_)));
            if ctx.rule.times.is_none() {
                self.tell_finished(ctx, job, &taking, allowed, is_news, judgement);
            }
        }
        if let Some(min) = self.min
            && ctx.rule.times.is_none()
            && run.status == Status::Success
        {
            self.tell_short(ctx, job, run, took, min, judgement);
        }
    }

    fn tell_finished(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        taking: &Taking<'_>,
        allowed: &Allowed,
        is_news: bool,
        judgement: &mut Judgement,
    ) {
        let run = taking.run;
        let settled_at = run.settled_at();
        let took = taking.to.unwrap_or(settled_at).since(taking.from);
        let labels = run_occurrence(&run.id);
        let was_open = ctx.open_at(&labels).is_some();
        // A wait in the queue was over long before the run was: it is told in flight or not at all.
        let is_news =
            is_news && self.clock != Clock::Queue && settled_at > ctx.memory.watching_since;
        let is_over = took > allowed.max && is_news;
        if is_over && !was_open {
            let evidence = self.evidence(ctx, job, run, took, allowed);
            let over_at = taking.from + allowed.max;
            judgement.find_occurrence(labels.clone(), over_at, Verdict::Breach(evidence));
        }
        if was_open || is_over {
            let ended = self.ended(ctx, run, took, allowed);
            judgement.find_occurrence(labels, settled_at, ended);
        }
    }

    fn ended(&self, ctx: &Context<'_>, run: &Run, took: Span, allowed: &Allowed) -> Verdict {
        let how = match run.status {
            Status::Success => "finished",
            Status::Pending | Status::Running => "started",
            _ => "ended without success",
        };
        let over = if took > allowed.max {
            format!(", {} over", human_span(took - allowed.max))
        } else {
            String::new()
        };
        resolved(
            format!("Over: {} {how} after {}", ctx.title(), human_span(took)),
            vec![
                Fact::new(
                    clock_word(self.clock),
                    format!("{}{over}", human_span(took)),
                ),
                Fact::new("Limit", allowed.text()),
            ],
        )
    }

    fn evidence(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        run: &Run,
        took: Span,
        allowed: &Allowed,
    ) -> Evidence {
        let usual = if self.clock == Clock::Queue {
            None
        } else {
            ctx.usual(job, run)
        };
        let (title, limit) = (ctx.title(), allowed.text());
        let is_going_on = clock_bounds(run, self.clock).is_some_and(|(_, to)| to.is_none());
        let headline = match (is_going_on, self.clock) {
            (true, Clock::Queue) => {
                let took = human_span(took);
                format!("Waiting: {title} not started after {took} (limit {limit})")
            }
            (true, Clock::Run | Clock::Total) => {
                let usual = usual.map_or(String::new(), |usual| {
                    format!(", usual {}", human_span(span(usual.median)))
                });
                format!("Too long: {title} still running, over its limit of {limit}{usual}")
            }
            (false, Clock::Queue) => {
                let took = human_span(took);
                format!("Waited too long: {title} started after {took} (limit {limit})")
            }
            (false, Clock::Run | Clock::Total) => {
                format!(
                    "Too long: {title} took {} (limit {limit})",
                    human_span(took)
                )
            }
        };
        let mut facts = vec![
            Fact::new(
                clock_word(self.clock),
                ctx.against_usual(took, usual.as_ref()),
            ),
            Fact::new("Limit", format!("{limit} ({} clock)", self.clock.as_str())),
        ];
        if let Some(started_at) = run.started_at {
            facts.push(Fact::new("Started", ctx.clock(started_at)));
        }
        facts.extend(ctx.last_good(job));
        run_evidence(headline, run, facts)
    }

    fn tell_short(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        run: &Run,
        took: Span,
        min: Span,
        judgement: &mut Judgement,
    ) {
        let labels = Labels::default().with("limit", "min");
        let verdict = if took < min {
            if run.settled_at() <= ctx.memory.watching_since {
                return;
            }
            Verdict::Breach(self.short_evidence(ctx, job, run, took, min))
        } else {
            resolved(
                format!("Back to usual: {} took {}", ctx.title(), human_span(took)),
                vec![Fact::new(clock_word(self.clock), human_span(took))],
            )
        };
        judgement.find_occurrence(labels, run.settled_at(), verdict);
    }

    fn short_evidence(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        run: &Run,
        took: Span,
        min: Span,
    ) -> Evidence {
        let headline = format!(
            "Too short: {} took {} (at least {})",
            ctx.title(),
            human_span(took),
            human_span(min)
        );
        let usual = ctx.usual(job, run);
        let facts = vec![
            Fact::new(
                clock_word(self.clock),
                ctx.against_usual(took, usual.as_ref()),
            ),
            Fact::new("At least", human_span(min)),
        ];
        run_evidence(headline, run, facts)
    }

    /// One alert about the job: so many of the last runs breach.
    fn judge_times(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        times: Times,
        told_until: Timestamp,
        judgement: &mut Judgement,
    ) {
        let known = told_until.max(ctx.memory.watching_since);
        let mut old = times::wanted(times);
        let finished = ctx.finished(job).take_while(|run| {
            let is_new = run.settled_at() > known;
            old = old.saturating_sub(usize::from(!is_new));
            is_new || old > 0
        });
        let events: Vec<Event<Taking<'_>>> = finished
            .chain(ctx.active(job))
            .filter_map(|run| self.event(ctx, job, run))
            .collect();
        for event in &events {
            // Judged at this instant: the next look does not say it again.
            if event.at > known {
                let mark = format!("over/{}", event.run);
                judgement.memory.ahead.insert((event.at, mark.into()));
            }
        }
        let tell = |taking: &Taking<'_>| {
            let took = taking.to.unwrap_or(ctx.known_until).since(taking.from);
            match (&taking.allowed, self.min) {
                (Some(allowed), _) if took > allowed.max => {
                    self.evidence(ctx, job, taking.run, took, allowed)
                }
                (_, Some(min)) => self.short_evidence(ctx, job, taking.run, took, min),
                (_, None) => Evidence::default(),
            }
        };
        let what = "breached their limits";
        times::judge(ctx, times, events, told_until, what, tell, judgement);
    }

    /// From when a run counts, and how. `None`: it does not count, or not yet.
    fn event<'r>(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        run: &'r Run,
    ) -> Option<Event<Taking<'r>>> {
        let taking = self.taking(ctx, job, run)?;
        let event = |at, is_breach, about| Event {
            at,
            run: run.id.clone(),
            is_breach,
            about,
        };
        if let Some(over_at) = taking.over_at(ctx.known_until) {
            return Some(event(over_at, true, taking));
        }
        let to = taking.to?;
        let took = to.since(taking.from);
        let is_success = run.status == Status::Success;
        let is_short = is_success && self.min.is_some_and(|min| took < min);
        let is_known = taking.allowed.is_some() || (is_success && self.min.is_some());
        is_known.then(|| event(to, is_short, taking))
    }
}

/// Decides the promise that a run's limit is; returns what was recorded before.
fn promise(
    ctx: &Context<'_>,
    taking: &Taking<'_>,
    took: Span,
    max: Span,
    judgement: &mut Judgement,
) -> Option<Promise> {
    let outcome = if took <= max {
        Promise::Met
    } else {
        Promise::late(took - max)
    };
    let identity = ctx.subject.identity().with("run_id", taking.run.id.clone());
    limit::decide(
        judgement,
        ctx,
        &identity,
        taking.run.created_at,
        taking.from + max,
        outcome,
    )
}

fn clock_word(clock: Clock) -> &'static str {
    match clock {
        Clock::Queue => "Queued",
        Clock::Run => "Ran",
        Clock::Total => "Took in total",
    }
}

/// Closes alerts about runs that are neither active nor finished with a known outcome any more.
fn close_lost(ctx: &Context<'_>, judgement: &mut Judgement) {
    let going_on = |alert: &&Alert| alert.is_open() && alert.cleared_at.is_none();
    for alert in ctx.open.iter().filter(going_on) {
        let run_id = alert.identity.get("run_id");
        if times::is_told_otherwise(ctx, alert) {
            times::close_told_otherwise(ctx, alert, judgement);
            continue;
        }
        if run_id.is_empty()
            || judgement
                .findings
                .iter()
                .any(|f| f.occurrence.get("run_id") == run_id)
        {
            continue;
        }
        let (at, how) = match ctx.project.run(run_id) {
            Some(run) if run.status.is_active() => continue,
            Some(run) => (
                run.settled_at(),
                format!("ended as {}", run.status.as_str()),
            ),
            None => (ctx.now, "is not known any more".to_owned()),
        };
        let headline = format!("Over: {} {how}", ctx.title());
        judgement.find_occurrence(run_occurrence(&run_id.into()), at, expired(headline));
    }
}

#[cfg(test)]
mod tests {
    use super::super::RuleKind;
    use super::super::fixture::Case;
    use super::*;

    fn case(clock: Clock) -> Case {
        Case::new(RuleKind::RunDuration(RunDuration {
            clock,
            max: Some(Limit::Fixed(Span::minutes(30))),
            min: Some(Span::minutes(1)),
        }))
    }

    #[test]
    fn a_run_is_judged_while_it_goes_on_and_at_its_end() {
        for (name, case, said) in [
            (
                "short enough",
                case(Clock::Run).run("a", "06:00 running"),
                "",
            ),
            (
                "over",
                case(Clock::Run).run("a", "05:59 running"),
                "06:29 breach Too long: p1 job still running, over its limit of 30 min",
            ),
            (
                "waiting has no run clock",
                case(Clock::Run).run("a", "05:00 pending"),
                "",
            ),
            (
                "waiting too long",
                case(Clock::Queue).run("a", "05:59 pending"),
                "06:29 breach Waiting: p1 job not started after 31 min (limit 30 min)",
            ),
            (
                "started in time",
                case(Clock::Queue).run("a", "05:00 running"),
                "",
            ),
            (
                "in time",
                case(Clock::Run).run("a", "05:00 -> 05:30 success"),
                "05:30 ok Back to usual: p1 job took 30 min; promise 05:30 met",
            ),
            (
                "over at the end",
                case(Clock::Total).run("a", "05:00 -> 05:42 failed"),
                "05:30 breach Too long: p1 job took 42 min (limit 30 min); \
                 05:42 ok Over: p1 job ended without success after 42 min; \
                 promise 05:30 late by 720 s",
            ),
            (
                "too short",
                case(Clock::Run).run("a", "05:00 -> 05:00 success"),
                "05:00 breach Too short: p1 job took 0 s (at least 1 min); promise 05:30 met",
            ),
            (
                "short but failed",
                case(Clock::Run).run("a", "05:00 -> 05:00 failed"),
                "promise 05:30 met",
            ),
            (
                "over before watching began",
                case(Clock::Run).run("a", "2026-03-09T05:00:00Z -> 2026-03-09T06:00:00Z failed"),
                "promise 03-09T05:30 late by 1800 s",
            ),
        ] {
            assert_eq!(case.judge("06:30").join("; "), said, "{name}");
        }
    }

    #[test]
    fn a_run_is_judged_once_although_rows_before_it_may_still_come() {
        let first = case(Clock::Run)
            .run("b", "05:00 -> 06:29 failed")
            .after("06:30");
        assert_eq!(first.judge("06:30"), Vec::<String>::new());
        let late = first.run("a", "05:00 -> 06:28 failed");
        assert_eq!(
            late.judge("06:30").last().unwrap(),
            "promise 05:30 late by 3480 s"
        );
        let later = late.after("06:40").run("c", "06:35 -> 06:36 failed");
        assert_eq!(later.judge("06:40"), ["promise 07:05 met"]);
        assert!(
            later.memory.ahead.is_empty(),
            "what is settled is not remembered: {:?}",
            later.memory
        );
    }

    #[test]
    fn a_wait_that_was_told_is_over_at_the_start_also_when_the_limit_was_raised_since() {
        let mut waiting = Case::new(RuleKind::RunDuration(RunDuration {
            clock: Clock::Queue,
            max: Some(Limit::Fixed(Span::minutes(10))),
            min: None,
        }))
        .run("a", "06:00 pending")
        .opened("06:12");
        waiting.rule.kind = RuleKind::RunDuration(RunDuration {
            clock: Clock::Queue,
            max: Some(Limit::Fixed(Span::minutes(30))),
            min: None,
        });
        let started = waiting.queued("a", "06:00 06:15 running");
        assert_eq!(
            started.judge("06:20"),
            ["06:15 ok Over: p1 job started after 15 min"]
        );
    }
}
