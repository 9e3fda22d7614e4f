//! What is put aside: a job that has been held for long, a job or a model that has not been run for long.
//!
//! Role: closes the alerts about their last outcome, which nothing else would ever end, and keeps what was
//! before from being told again when the job comes back. Alerts about one run are left alone: they end with
//! their run.
//! Guarantees: pure; decided by instants, never by looks; what happens after the subject was put aside (a run
//! by hand, the first run when the job is back) is judged as always. It says nothing of promises, and nothing
//! of kinds that are about absence or about the hold itself.

use super::alert::{Alert, Verdict};
use super::labels::Labels;
use super::observation::Run;
use super::rule::RuleKind;
use super::rule::context::{Context, Judgement, expired};
use super::subject::SubjectKey;
use super::time::{Span, Timestamp, human_span};

/// A job that has been held for so long is put aside.
pub(super) const HELD_FOR_LONG: Span = Span::days(7);

/// A job or a model that has not been run for so long is put aside: longer than a month.
const NOT_RUN_FOR_LONG: Span = Span::days(35);

/// Takes from a judgement what is put aside, closes what is open about it, and wakes when it will be put
/// aside.
pub(super) fn put_aside(ctx: &Context<'_>, judgement: &mut Judgement) {
    let kind = &ctx.rule.kind;
    if kind.is_about_absence() || matches!(kind, RuleKind::Paused(_)) {
        return;
    }
    put_model_aside(ctx, judgement);
    put_job_aside(ctx, judgement);
}

fn put_job_aside(ctx: &Context<'_>, judgement: &mut Judgement) {
    let Some(job) = ctx.job() else {
        return;
    };
    let began = ctx.open.iter().map(|alert| alert.began_at).max();
    let newest = ctx.finished(job).next().map(Run::settled_at);
    let not_run = newest.or(began).map(|at| at + NOT_RUN_FOR_LONG);
    let held_after = ctx
        .project
        .long_held_after(job, HELD_FOR_LONG, ctx.known_until);
    let next = held_after.into_iter().chain(not_run);
    let next = next.filter(|at| *at > ctx.known_until).min();
    if let Some(next) = next.filter(|_| is_open(ctx, judgement)) {
        judgement.wake_known(next);
    }
    let held = ctx
        .project
        .long_held_at(job, HELD_FOR_LONG, ctx.known_until);
    let not_run = not_run.filter(|at| *at <= ctx.known_until);
    let Some(aside_at) = held.max(not_run) else {
        return;
    };
    let is_active = ctx.active(job).next().is_some();
    if is_active || newest.is_some_and(|at| at >= aside_at) {
        judgement
            .findings
            .retain(|finding| finding.at >= aside_at || is_of_run(&finding.occurrence));
        return;
    }
    let since = if held == Some(aside_at) {
        format!("and was held for {}", human_span(HELD_FOR_LONG))
    } else {
        format!("for {}", human_span(NOT_RUN_FOR_LONG))
    };
    let title = ctx.title();
    let headline = format!("Closed: {title} has not run {since}; its next run is judged");
    close(ctx, aside_at, &headline, judgement);
}

fn put_model_aside(ctx: &Context<'_>, judgement: &mut Judgement) {
    let SubjectKey::Model(_, job, model) = ctx.subject else {
        return;
    };
    let known_until = ctx.project.executions_known(ctx.known_until);
    let history = ctx.project.model(job, model);
    let newest = history.and_then(|history| history.executions().last());
    let (Some(known_until), Some(newest)) = (known_until, newest) else {
        return;
    };
    let aside_at = newest.started_at + NOT_RUN_FOR_LONG;
    if known_until < aside_at {
        if is_open(ctx, judgement) {
            judgement.wake_executions(ctx, aside_at);
        }
        return;
    }
    let headline = format!(
        "Closed: {} has not been run since {}",
        ctx.title(),
        ctx.clock(newest.started_at)
    );
    close(ctx, aside_at, &headline, judgement);
}

/// Something is open, or about to be.
fn is_open(ctx: &Context<'_>, judgement: &Judgement) -> bool {
    let mut findings = judgement.findings.iter();
    ctx.open.iter().any(Alert::is_open)
        || findings.any(|finding| matches!(finding.verdict, Verdict::Breach(_)))
}

/// Alerts about one run end with their run.
fn is_of_run(occurrence: &Labels) -> bool {
    !occurrence.get("run_id").is_empty()
}

fn close(ctx: &Context<'_>, at: Timestamp, headline: &str, judgement: &mut Judgement) {
    judgement
        .findings
        .retain(|finding| is_of_run(&finding.occurrence));
    for alert in ctx.open.iter().filter(|alert| alert.is_open()) {
        let occurrence = ctx.occurrence(alert);
        if is_of_run(&occurrence) {
            continue;
        }
        judgement.find_occurrence(occurrence, at, expired(headline.to_owned()));
    }
}
