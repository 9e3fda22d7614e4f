//! # run_duration
//!
//! ## What it tells
//! A run takes longer than it may, at the very instant at which it exceeds the limit and while it is
//! still going; and a run that finished suspiciously fast.
//!
//! ## When to use
//! For jobs whose length is promised, or that hang. `min` catches runs that succeed without doing
//! anything.
//!
//! ## Keys
//! `clock` (`run` by default: started to finished; `queue`: created to started; `total`: created to
//! finished), `max` (`"45m"`), `min` (`"30s"`, judged at the end of a success).
//!
//! ## No data
//! A run is called too long only when Tardy knows that it had not finished by then: while the source
//! cannot be read, the verdict is Unknown. A wait in the queue (`clock = "queue"`) that was over before
//! Tardy could know of it makes the ledger only.
//!
//! ## Resolve
//! The same alert closes with the final duration when the run ends. Too fast: at the next success that
//! is not.

use super::super::alert::{Alert, Evidence, Verdict};
use super::super::history::JobHistory;
use super::super::labels::Labels;
use super::super::ledger::Promise;
use super::super::notification::Fact;
use super::super::observation::{Run, Status};
use super::super::time::{Span, human_span};
use super::context::{
    Context, Judgement, clock_bounds, expired, resolved, run_evidence, run_occurrence,
};
use super::{Clock, Limit};

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

impl RunDuration {
    /// Judges a job.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let Some(job) = ctx.job() else {
            return judgement;
        };
        if let Some(Limit::Fixed(max)) = self.max {
            for run in ctx.active(job) {
                self.judge_active(ctx, job, run, max, &mut judgement);
            }
        }
        for run in ctx.finished_after(job, ctx.memory.judged_until) {
            if !judgement.memory.is_first_judgement(run) {
                continue;
            }
            if let Some(Limit::Fixed(max)) = self.max {
                self.judge_finished(ctx, job, run, max, &mut judgement);
            }
            if let Some(min) = self.min {
                self.judge_short(ctx, job, run, min, &mut judgement);
            }
        }
        judgement.memory.settle(ctx.known_until);
        close_lost(ctx, &mut judgement);
        judgement
    }

    fn judge_active(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        run: &Run,
        max: Span,
        judgement: &mut Judgement,
    ) {
        let Some((from, to)) = clock_bounds(run, self.clock) else {
            return;
        };
        let over_at = from + max;
        if let Some(to) = to {
            // The queue's clock stops while the run goes on.
            if to > over_at && ctx.open_at(&run_occurrence(&run.id)).is_some() {
                judgement.find_occurrence(
                    run_occurrence(&run.id),
                    to,
                    self.ended(ctx, run, to.since(from), max),
                );
            }
            return;
        }
        if ctx.known_until <= over_at {
            judgement.wake_known(over_at + Span::milliseconds(1));
            return;
        }
        let evidence = self.evidence(ctx, job, run, ctx.known_until.since(from), max, true);
        judgement.find_occurrence(run_occurrence(&run.id), over_at, Verdict::Breach(evidence));
    }

    fn judge_finished(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        run: &Run,
        max: Span,
        judgement: &mut Judgement,
    ) {
        let Some((from, to)) = clock_bounds(run, self.clock) else {
            return;
        };
        let Some(took) = to.map(|to| to.since(from)) else {
            return;
        };
        let labels = run_occurrence(&run.id);
        let due_at = from + max;
        let outcome = if took <= max {
            Promise::Met
        } else {
            Promise::late(took - max)
        };
        let mut identity = ctx.subject.identity();
        identity.set("run_id", run.id.clone());
        judgement.promise(ctx, identity, due_at, outcome);
        let was_open = ctx.open_at(&labels).is_some();
        // A wait in the queue was over long before the run was: it is told in flight or not at all.
        let is_news = self.clock != Clock::Queue && run.settled_at() > ctx.memory.watching_since;
        if took > max && !was_open && is_news {
            let evidence = self.evidence(ctx, job, run, took, max, false);
            judgement.find_occurrence(labels.clone(), due_at, Verdict::Breach(evidence));
        }
        if was_open || (took > max && is_news) {
            judgement.find_occurrence(labels, run.settled_at(), self.ended(ctx, run, took, max));
        }
    }

    fn ended(&self, ctx: &Context<'_>, run: &Run, took: Span, max: Span) -> Verdict {
        let how = match run.status {
            Status::Success => "finished",
            Status::Pending | Status::Running => "started",
            _ => "ended without success",
        };
        let over = if took > max {
            format!(", {} over", human_span(took - max))
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
                Fact::new("Limit", human_span(max)),
            ],
        )
    }

    fn evidence(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        run: &Run,
        took: Span,
        max: Span,
        is_running: bool,
    ) -> Evidence {
        let usual = if self.clock == Clock::Queue {
            None
        } else {
            ctx.usual(job, run)
        };
        let title = ctx.title();
        let headline = match (is_running, self.clock) {
            (true, Clock::Queue) => {
                format!(
                    "Waiting: {title} not started after {} (limit {})",
                    human_span(took),
                    human_span(max)
                )
            }
            (true, Clock::Run | Clock::Total) => {
                let usual = usual.map_or(String::new(), |usual| {
                    format!(
                        ", usual {}",
                        human_span(super::super::baseline::span(usual.median))
                    )
                });
                format!(
                    "Too long: {title} still running, over its limit of {}{usual}",
                    human_span(max)
                )
            }
            (false, _) => format!(
                "Too long: {title} took {} (limit {})",
                human_span(took),
                human_span(max)
            ),
        };
        let mut facts = vec![
            Fact::new(
                clock_word(self.clock),
                ctx.against_usual(took, usual.as_ref()),
            ),
            Fact::new(
                "Limit",
                format!("{} ({} clock)", human_span(max), self.clock.as_str()),
            ),
        ];
        if let Some(started_at) = run.started_at {
            facts.push(Fact::new("Started", ctx.clock(started_at)));
        }
        facts.extend(ctx.last_good(job));
        run_evidence(headline, run, facts)
    }

    fn judge_short(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        run: &Run,
        min: Span,
        judgement: &mut Judgement,
    ) {
        let Some((from, Some(to))) = clock_bounds(run, self.clock) else {
            return;
        };
        if run.status != Status::Success {
            return;
        }
        let took = to.since(from);
        let labels = Labels::default().with("limit", "min");
        let verdict = if took < min {
            if run.settled_at() <= ctx.memory.watching_since {
                return;
            }
            let headline = format!(
                "Too short: {} took {} (at least {})",
                ctx.title(),
                human_span(took),
                human_span(min)
            );
            let facts = vec![
                Fact::new(
                    clock_word(self.clock),
                    ctx.against_usual(took, ctx.usual(job, run).as_ref()),
                ),
                Fact::new("At least", human_span(min)),
            ];
            Verdict::Breach(run_evidence(headline, run, facts))
        } else {
            resolved(
                format!("Back to usual: {} took {}", ctx.title(), human_span(took)),
                vec![Fact::new(clock_word(self.clock), human_span(took))],
            )
        };
        judgement.find_occurrence(labels, run.settled_at(), verdict);
    }
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
}
