//! Promises that no rule decides by itself, so that each has exactly one row: limits of runs that go on
//! beyond them or end in a way that tells nothing, and what a job still owed when it was deleted.

use super::alert::Verdict;
use super::history::JobHistory;
use super::labels::Labels;
use super::ledger::{Ledger, LedgerRow, Promise};
use super::observation::{ProjectKey, Run, Status};
use super::rule::context::{Context, Judgement, clock_bounds, expired};
use super::rule::run_duration::RunDuration;
use super::rule::{Clock, Limit, Rule, RuleKind};
use super::subject::{MANUAL_JOB, SubjectKey};
use super::time::{Span, Timestamp};
use super::{Engine, Step};

/// Why what a deleted job still owed is not owed any more.
const GONE: &str = "the job is not listed any more";

/// So long after a job is gone everything it owed has fallen due.
const MAX_OWED: Span = Span::days(2);

/// A run that goes on beyond its limit has broken it: missed, until its end tells by how much. Adds those rows
/// to a judgement.
pub(super) fn add_limits_in_flight(
    judgement: &mut Judgement,
    rule: &Rule,
    subject: &SubjectKey,
    now: Timestamp,
) {
    if !matches!(rule.kind, RuleKind::RunDuration(_) | RuleKind::QueueTime(_)) {
        return;
    }
    let mut rows = Vec::new();
    for finding in &judgement.findings {
        let run_id = finding.occurrence.get("run_id");
        let is_decided = |row: &LedgerRow| row.labels.get("run_id") == run_id;
        if run_id.is_empty()
            || !matches!(finding.verdict, Verdict::Breach(_))
            || judgement.ledger.iter().any(is_decided)
        {
            continue;
        }
        rows.push(LedgerRow {
            rule: rule.name.clone(),
            labels: subject.identity().with("run_id", run_id),
            due_at: finding.at,
            outcome: Promise::Missed,
            recorded_at: now,
            corrected_from: None,
            was_recorded_at: None,
        });
    }
    judgement.ledger.extend(rows);
}

/// A job that is not listed any more: what is open about it ends. Promises that were due before it was gone
/// are judged; a deadline it had before it is excused; later ones are not made.
pub(super) fn gone(ctx: &Context<'_>, ledger: &Ledger) -> Judgement {
    let mut judgement = match &ctx.rule.kind {
        RuleKind::Deadline(_) | RuleKind::MissedSchedule(_) => owed(ctx, ledger),
        _ => Judgement::start(ctx.memory),
    };
    judgement.findings = end_all(ctx).findings;
    judgement
}

/// Whatever is open about a job that is not listed ends.
pub(super) fn end_all(ctx: &Context<'_>) -> Judgement {
    let mut judgement = Judgement::start(ctx.memory);
    let how = if ctx.project.is_gone {
        "listed, or not watched,"
    } else {
        "listed"
    };
    for alert in ctx.open.iter().filter(|alert| alert.is_open()) {
        let headline = format!("Gone: {} is not {how} any more", ctx.title());
        judgement.find_occurrence(ctx.occurrence(alert), ctx.known_until, expired(headline));
    }
    judgement
}

fn owed(ctx: &Context<'_>, ledger: &Ledger) -> Judgement {
    let nothing = Judgement::start(ctx.memory);
    let Some(gone_at) = ctx.job().and_then(JobHistory::held_since) else {
        return nothing;
    };
    let identity = ctx.subject.identity();
    let subject = ledger.subject(&ctx.rule.name, &identity);
    let is_excused = subject.is_some_and(|rows| rows.first_after(gone_at).is_some());
    if is_excused || ctx.known_until > gone_at + MAX_OWED {
        return nothing;
    }
    let mut judgement = ctx.rule.kind.judge(ctx);
    let is_deadline = matches!(ctx.rule.kind, RuleKind::Deadline(_));
    let mut rows = std::mem::take(&mut judgement.ledger);
    rows.retain(|row| row.due_at <= gone_at || is_deadline);
    let after = rows.iter().position(|row| row.due_at > gone_at);
    if let Some(index) = after {
        if !matches!(rows[index].outcome, Promise::Met) {
            rows[index].outcome = Promise::Excused(GONE.to_owned());
        }
        rows.truncate(index + 1);
    }
    judgement.ledger = rows;
    judgement
}

/// A run that was observed with a status that is neither active nor an end: nothing will tell how long it
/// took.
pub(super) fn is_lost(run: &Run) -> bool {
    matches!(run.status, Status::Other(_))
}

impl Engine {
    /// Decides the limits of runs that are lost: unknown, unless something was recorded already. How long one
    /// waited in the queue is known once it has started.
    pub(super) fn decide_lost(
        &mut self,
        lost: &[(ProjectKey, Run)],
        now: Timestamp,
        step: &mut Step,
    ) {
        let policy = std::sync::Arc::clone(&self.policy);
        for (project, run) in lost {
            let job = run.job.clone().unwrap_or_else(|| MANUAL_JOB.into());
            let subject = SubjectKey::Job(project.clone(), job);
            for id in self.watches.of(&subject).to_vec() {
                let rule = &policy.rules[self.watches.get(id).rule];
                let is_wanted = rule.selectors.job_type.is_match(&run.job_type)
                    && rule.selectors.triggered_by.is_match(&run.triggered_by);
                let limit = match &rule.kind {
                    RuleKind::RunDuration(limit) => limit.clone(),
                    RuleKind::QueueTime(limit) => limit.as_duration(),
                    _ => continue,
                };
                let Some((due_at, outcome)) = of_lost(&limit, run).filter(|_| is_wanted) else {
                    continue;
                };
                let row = LedgerRow {
                    rule: rule.name.clone(),
                    labels: subject.identity().with("run_id", run.id.clone()),
                    due_at,
                    outcome,
                    recorded_at: now,
                    corrected_from: None,
                    was_recorded_at: None,
                };
                if row.outcome != Promise::Unknown
                    || !self.is_recorded(rule, &subject.identity(), &row)
                {
                    step.ledger.extend(self.ledger.record(row));
                }
            }
        }
    }

    /// Something is recorded of the limit of the row's run.
    fn is_recorded(&self, rule: &Rule, subject: &Labels, row: &LedgerRow) -> bool {
        let before = row.due_at - Span::milliseconds(1);
        let rows = self.ledger.subject(&rule.name, subject);
        let mut same = rows
            .into_iter()
            .flat_map(|rows| rows.rows(before, row.due_at));
        same.any(|known| known.labels == row.labels)
    }
}

/// When the limit of a lost run falls due, and what became of it. `None`: it has no limit that is known.
fn of_lost(kind: &RunDuration, run: &Run) -> Option<(Timestamp, Promise)> {
    let (from, _) = clock_bounds(run, kind.clock)?;
    let Limit::Fixed(max) = kind.max? else {
        return None;
    };
    let started_at = run.started_at.filter(|_| kind.clock == Clock::Queue);
    let outcome = match started_at.map(|at| at.since(from)) {
        None => Promise::Unknown,
        Some(waited) if waited <= max => Promise::Met,
        Some(waited) => Promise::late(waited - max),
    };
    Some((from + max, outcome))
}
