//! # staleness and model_staleness
//!
//! ## What it tells
//! The newest success of a job (or a model) is older than it may be.
//!
//! ## When to use
//! For data that must be fresh, whatever the schedule; and for jobs whose schedule has no ticks.
//!
//! ## Keys
//! `max_age` (required), `warn_age` (an early, softer warning; below `max_age`).
//!
//! ## No data
//! Time in which the job is disabled or its project suspended does not count. A job that never succeeded
//! is as old as its first sight. While the source cannot be read nothing is decided.
//!
//! ## Resolve
//! At the next success.

use super::super::alert::{Evidence, Verdict};
use super::super::history::JobHistory;
use super::super::notification::Fact;
use super::super::observation::Run;
use super::super::time::{Span, Timestamp, human_span};
use super::Severity;
use super::context::{Context, Judgement, resolved};

/// Age of the newest success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staleness {
    /// Oldest allowed.
    pub max_age: Span,
    /// Early warning; below `max_age`.
    pub warn_age: Option<Span>,
}

impl Staleness {
    /// Judges a job.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let Some(job) = ctx.job() else {
            return judgement;
        };
        let success = ctx.last_success(job);
        let fresh_at = success.map_or(job.first_seen_at, Run::settled_at);
        let age =
            ctx.known_until.since(fresh_at) - ctx.project.held_time(job, fresh_at, ctx.known_until);
        let is_held = ctx.project.is_held(job, ctx.known_until);
        let warn = self.warn_age.map(|age| (age, ctx.rule.severity.softer()));
        let steps = warn.into_iter().chain([(self.max_age, ctx.rule.severity)]);
        let mut breach = None;
        for (limit, severity) in steps {
            if age >= limit {
                breach = Some((limit, severity));
                continue;
            }
            // On hold it does not age; the end of the hold is news.
            if !is_held {
                judgement.wake_known(ctx.known_until + (limit - age));
            }
            break;
        }
        match breach {
            Some((limit, severity)) => {
                let at = stale_at(ctx, job, fresh_at, limit);
                let evidence = self.evidence(ctx, job, success, fresh_at, (limit, severity));
                judgement.find(at, Verdict::Breach(evidence));
            }
            None => judgement.find(fresh_at, recovery(ctx, fresh_at)),
        }
        judgement
    }

    fn evidence(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        success: Option<&Run>,
        fresh_at: Timestamp,
        (limit, severity): (Span, Severity),
    ) -> Evidence {
        let age = human_span(limit);
        let headline = match success {
            Some(_) => format!("Stale: {} has not succeeded for {age}", ctx.title()),
            None => format!("Stale: {} has never succeeded in {age}", ctx.title()),
        };
        let mut facts = vec![match success {
            Some(run) => Fact::new("Last success", ctx.clock(run.settled_at())),
            None => Fact::new("First seen", ctx.clock(fresh_at)),
        }];
        facts.push(Fact::new("Allowed age", human_span(self.max_age)));
        let held = ctx.project.held_time(job, fresh_at, ctx.known_until);
        if held > Span::zero() {
            facts.push(Fact::new("Paused meanwhile", human_span(held)));
        }
        if let Some(run) = ctx
            .finished(job)
            .next()
            .filter(|run| run.status.is_failure())
        {
            facts.push(Fact::new(
                "Last run",
                format!("{} at {}", run.status.as_str(), ctx.clock(run.settled_at())),
            ));
        }
        if let Some(run) = ctx.active(job).next() {
            facts.push(Fact::new(
                "Now",
                format!(
                    "{} since {}",
                    run.status.as_str(),
                    ctx.clock(run.started_at.unwrap_or(run.created_at))
                ),
            ));
        }
        Evidence {
            headline,
            facts,
            severity: Some(severity),
            ..Evidence::default()
        }
    }
}

/// The instant at which an age that has been reached was reached, time on hold not counted.
fn stale_at(ctx: &Context<'_>, job: &JobHistory, fresh_at: Timestamp, age: Span) -> Timestamp {
    let mut at = fresh_at + age;
    // Holds inside the stretch push the instant back, which may bring further holds into it.
    for _ in 0..MAX_HOLDS {
        let pushed = fresh_at + age + ctx.project.held_time(job, fresh_at, at);
        if pushed == at {
            break;
        }
        at = pushed;
    }
    at.min(ctx.known_until)
}

/// Holds followed when the instant is sought; with more it is a little early.
const MAX_HOLDS: usize = 64;

fn recovery(ctx: &Context<'_>, fresh_at: Timestamp) -> Verdict {
    resolved(
        format!(
            "Fresh again: {} succeeded at {}",
            ctx.title(),
            ctx.clock(fresh_at)
        ),
        vec![Fact::new("Last success", ctx.clock(fresh_at))],
    )
}

#[cfg(test)]
mod tests {
    use super::super::RuleKind;
    use super::super::fixture::{Case, at};
    use super::*;

    fn case() -> Case {
        Case::new(RuleKind::Staleness(Staleness {
            max_age: Span::hours(3),
            warn_age: Some(Span::hours(2)),
        }))
    }

    #[test]
    fn age_is_counted_from_the_newest_success() {
        for (known, said) in [
            (
                "07:09",
                "05:10 ok Fresh again: p1 job succeeded at 05:10 UTC",
            ),
            (
                "07:10",
                "07:10 breach Stale: p1 job has not succeeded for 2 h",
            ),
            (
                "08:10",
                "08:10 breach Stale: p1 job has not succeeded for 3 h",
            ),
            (
                "20:00",
                "08:10 breach Stale: p1 job has not succeeded for 3 h",
            ),
        ] {
            let case = case()
                .run("a", "05:00 -> 05:10 success")
                .run("b", "06:00 -> 06:10 failed")
                .run("c", "06:00 -> 06:20 partial");
            assert_eq!(case.judge(known), [said], "{known}");
        }
    }

    #[test]
    fn it_wakes_at_the_next_threshold() {
        let case = case().run("a", "05:00 -> 05:10 success");
        for (known, wakes) in [
            ("05:30", Some("07:10")),
            ("07:30", Some("08:10")),
            ("09:00", None),
        ] {
            assert_eq!(
                case.judgement(known).wake_when_known,
                wakes.map(at),
                "{known}"
            );
        }
    }

    #[test]
    fn time_on_hold_does_not_count() {
        let held = case()
            .job("05:00", "0 * * * *", true)
            .run("a", "05:00 -> 05:10 success")
            .job("06:00", "0 * * * *", false);
        let fresh = "05:10 ok Fresh again: p1 job succeeded at 05:10 UTC";
        assert_eq!(held.judge("23:00"), [fresh]);
        assert_eq!(
            held.judgement("23:00").wake_when_known,
            None,
            "the end of the hold is news"
        );
        let back = held.job("10:00", "0 * * * *", true);
        assert_eq!(back.judge("11:09"), [fresh]);
        assert_eq!(
            back.judge("12:10"),
            ["12:10 breach Stale: p1 job has not succeeded for 3 h"]
        );
    }

    #[test]
    fn a_job_that_never_succeeded_is_as_old_as_its_first_sight() {
        let never = case().job("05:00", "0 * * * *", true);
        assert_eq!(
            never.judge("08:00"),
            ["08:00 breach Stale: p1 job has never succeeded in 3 h"]
        );
    }
}
