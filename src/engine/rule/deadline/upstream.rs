//! The jobs before a late one: which of them explains it.

use super::super::super::history::JobHistory;
use super::super::super::notification::Fact;
use super::super::super::observation::Run;
use super::super::super::time::{Span, Timestamp, human_span};
use super::super::context::{Context, error_line};
use super::Deadline;

/// What is wrong with an upstream job, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Failed,
    NotStarted,
    GoesOn,
}

/// Upstream jobs that are not done, worst first.
pub(super) struct Upstream(Vec<(Trouble, String)>);

/// Upstream jobs named in a message.
const MAX_NAMED: usize = 3;

/// A tick is not called unserved before this is over.
const PATIENCE: Span = Span::minutes(5);

impl Upstream {
    /// For the headline: `; upstream ingest failed at 03:10 UTC: disk full`, or nothing.
    pub(super) fn clause(&self) -> String {
        match self.0.first() {
            Some((_, text)) => format!("; upstream {text}"),
            None => String::new(),
        }
    }

    /// Facts naming the worst of them.
    pub(super) fn facts(&self) -> Vec<Fact> {
        let named = self.0.iter().take(MAX_NAMED);
        let mut facts: Vec<Fact> = named
            .map(|(_, text)| Fact::new("Upstream", text.clone()))
            .collect();
        let more = self.0.len().saturating_sub(MAX_NAMED);
        if more > 0 {
            facts.push(Fact::new("Upstream", format!("{more} more not done")));
        }
        facts
    }
}

impl Deadline {
    /// Upstream jobs whose newest run failed, goes on or did not start.
    pub(super) fn upstream_of(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        as_of: Timestamp,
    ) -> Upstream {
        let Some(patterns) = &self.upstream else {
            return Upstream(Vec::new());
        };
        let mut found: Vec<(Trouble, String)> = ctx
            .project
            .jobs()
            .filter(|other| other.name != job.name && !other.is_gone)
            .filter(|other| patterns.is_match(&other.name))
            .filter_map(|other| {
                let (trouble, text) = self.trouble(ctx, other, as_of)?;
                Some((trouble, format!("{} {text}", other.name)))
            })
            .collect();
        found.sort();
        Upstream(found)
    }

    fn trouble(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        as_of: Timestamp,
    ) -> Option<(Trouble, String)> {
        let is_wanted = |run: &&Run| ctx.rule.selectors.job_type.is_match(&run.job_type);
        let newest = ctx.project.newest(job).find(is_wanted);
        if let Some(run) = newest.filter(|run| run.status.is_active()) {
            let since = run.started_at.unwrap_or(run.created_at);
            let word = if run.started_at.is_some() {
                "still running"
            } else {
                "queued"
            };
            let span = human_span(as_of.since(since));
            return Some((Trouble::GoesOn, format!("{word} for {span}")));
        }
        if let Some(tick_at) = unserved_tick(ctx, job, newest, as_of) {
            let due = self.clock(ctx, tick_at);
            return Some((Trouble::NotStarted, format!("not started, due {due}")));
        }
        let run =
            newest.filter(|run| run.status.is_failure() || run.status.as_str() == "partial")?;
        let error = run.error.as_deref().map(error_line);
        let line = error.map(|line| format!(": {line}")).unwrap_or_default();
        let at = self.clock(ctx, run.settled_at());
        Some((
            Trouble::Failed,
            format!("{} at {at}{line}", run.status.as_str()),
        ))
    }
}

/// The newest tick, when nothing has started since.
fn unserved_tick(
    ctx: &Context<'_>,
    job: &JobHistory,
    newest: Option<&Run>,
    as_of: Timestamp,
) -> Option<Timestamp> {
    let tick = job.previous_tick(ctx.schedule_zone, as_of - PATIENCE)?;
    let start = newest.map(|run| run.started_at.unwrap_or(run.created_at));
    let is_served = start.is_some_and(|start| start >= tick.at - super::windows::EARLY);
    let is_excused = tick.is_soft || ctx.project.is_held(job, tick.at);
    (!is_served && !is_excused && tick.at >= job.first_seen_at).then_some(tick.at)
}
