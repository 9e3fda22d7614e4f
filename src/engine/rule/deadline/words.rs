//! What is said about a deadline: why it is missed or about to be, and the evidence.

use super::super::super::alert::{Evidence, Verdict};
use super::super::super::baseline::{Baseline, span};
use super::super::super::history::JobHistory;
use super::super::super::notification::Fact;
use super::super::super::observation::{Name, Run};
use super::super::super::time::{Span, Timestamp, human_span, human_time};
use super::super::context::{Context, error_end, error_line, resolved};
use super::Deadline;
use super::outlook::{Outlook, Stage};
use super::windows::{Window, attempts};

/// Why a deadline is missed, or about to be.
pub(super) struct Cause {
    key: &'static str,
    text: String,
    run_id: Option<Name>,
    error: Option<String>,
    usual: Option<Baseline>,
    upstream: Vec<Fact>,
}

impl Deadline {
    pub(super) fn early_evidence(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        window: &Window,
        as_of: Timestamp,
        outlook: Option<&Outlook>,
    ) -> Evidence {
        let left = human_span(window.by_at.since(as_of));
        let cause = self.cause(ctx, job, window, (as_of, outlook));
        let headline = format!(
            "At risk: {} due {} in {left} ({})",
            ctx.title(),
            self.clock(ctx, window.by_at),
            cause.text
        );
        let mut facts = self.facts(ctx, job, window, &cause);
        if let Some(outlook) = outlook {
            facts.extend(self.outlook_facts(ctx, window, outlook));
        }
        Evidence {
            headline,
            facts,
            severity: Some(ctx.rule.severity.softer()),
            run_id: cause.run_id,
            ..Evidence::default()
        }
    }

    /// What is expected, and why, in numbers that can be checked.
    fn outlook_facts(&self, ctx: &Context<'_>, window: &Window, outlook: &Outlook) -> Vec<Fact> {
        let tally = outlook.tally;
        let by = self.clock(ctx, window.by_at);
        let ends = format!("would end after {by}");
        let counted = match (tally.stage, tally.of) {
            (_, 0) => format!(
                "it takes longer than each of the last {} runs",
                outlook.runs
            ),
            (Stage::Running, of) => {
                format!(
                    "{} of {of} like runs that got this far {ends}",
                    tally.missing
                )
            }
            (Stage::Waiting, of) => {
                format!(
                    "{} of {of} like runs {ends} if they started now",
                    tally.missing
                )
            }
        };
        let text = format!("{}: {counted}", chance(outlook.risk));
        let mut facts = vec![Fact::new("Forecast", text)];
        if let Some(ends) = outlook.ends {
            let [early, middle, late] = ends.map(|at| self.clock(ctx, at));
            let text = format!("{middle} (between {early} and {late})");
            facts.push(Fact::new("Expected", text));
        }
        if let Some(work) = outlook.work {
            let rest = human_span(work.remaining);
            let text = format!(
                "{} of {} models done, usual remaining {rest}, last {} runs",
                work.done, work.usual, outlook.runs
            );
            facts.push(Fact::new("Work", text));
        }
        facts
    }

    /// Evidence that the promise of `window` is broken, as things stood at `as_of`.
    pub(super) fn late_evidence(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        window: &Window,
        as_of: Timestamp,
        delivered_by: Option<&Run>,
    ) -> Evidence {
        let cause = if let Some(run) = delivered_by {
            Cause {
                key: "delivered",
                text: format!("delivered at {}", self.clock(ctx, run.settled_at())),
                run_id: Some(run.id.clone()),
                error: None,
                usual: None,
                upstream: Vec::new(),
            }
        } else {
            let outlook = Outlook::of(ctx, job, window, as_of);
            self.cause(ctx, job, window, (as_of, outlook.as_ref()))
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
        facts.extend(cause.upstream.iter().cloned());
        facts.extend(ctx.last_good(job));
        facts
    }

    /// Why it is not there, with what is wrong upstream.
    fn cause(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        window: &Window,
        (as_of, outlook): (Timestamp, Option<&Outlook>),
    ) -> Cause {
        let mut cause = self.own_cause(ctx, job, window, (as_of, outlook));
        let upstream = self.upstream_of(ctx, job, as_of);
        cause.text.push_str(&upstream.clause());
        cause.upstream = upstream.facts();
        cause
    }

    fn own_cause(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        window: &Window,
        (as_of, outlook): (Timestamp, Option<&Outlook>),
    ) -> Cause {
        let runs: Vec<&Run> = attempts(ctx, job, window).collect();
        if let Some(run) = runs.iter().rev().find(|run| run.status.is_active()) {
            return self.active_cause(ctx, job, run, (as_of, outlook));
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
                upstream: Vec::new(),
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
            upstream: Vec::new(),
        }
    }

    fn active_cause(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        run: &Run,
        (as_of, outlook): (Timestamp, Option<&Outlook>),
    ) -> Cause {
        let usual = ctx.usual(job, run);
        let text = match run.started_at {
            None => format!("queued for {}", human_span(as_of.since(run.created_at))),
            Some(started_at) => {
                let elapsed = as_of.since(started_at);
                let usual_text = usual.map_or(String::new(), |usual| {
                    format!(", usual {}", human_span(span(usual.median)))
                });
                let foretold = outlook.and_then(|outlook| Some(outlook.ends?[1]));
                // With too few like runs: the usual end, while it lies ahead.
                let usual_end = || Some(started_at + span(usual?.median));
                let expected = foretold
                    .or_else(|| usual_end().filter(|end| *end > as_of))
                    .map_or(String::new(), |end| {
                        format!(", expected {}", self.clock(ctx, end))
                    });
                format!("running {}{usual_text}{expected}", human_span(elapsed))
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
            upstream: Vec::new(),
        }
    }

    pub(super) fn delivered(&self, ctx: &Context<'_>, window: &Window, run: &Run) -> Verdict {
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
    pub(super) fn clock(&self, ctx: &Context<'_>, at: Timestamp) -> String {
        human_time(at, ctx.now, self.zone)
    }
}

/// A probability in words and as a number: `very likely late (87 %)`.
fn chance(risk: f64) -> String {
    let words = match risk {
        p if p >= 0.95 => "almost certainly late",
        p if p >= 0.8 => "very likely late",
        p if p >= 0.6 => "likely late",
        p if p >= 0.4 => "as likely late as not",
        p if p >= 0.1 => "possibly late",
        _ => "hardly late",
    };
    // Nothing is certain before it is so.
    let percent = (risk * 100.0).round().clamp(1.0, 99.0);
    format!("{words} ({percent:.0} %)")
}
