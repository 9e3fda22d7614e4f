//! # plan_failed
//!
//! ## What it tells
//! A plan failed: what was to be deployed is not. Each deployment is one alert, with all its tries.
//!
//! ## When to use
//! Always: until a later plan completes, the project runs on what was deployed before.
//!
//! ## Keys
//! None of its own. `project` and `environment` select the projects.
//!
//! ## No data
//! While dagctl's list of plans cannot be read, nothing is told and nothing ends. A plan that failed before
//! Tardy began to watch is told only if no plan of the project is newer, marked as already so.
//!
//! ## Resolve
//! When the same plan completes at another try, or a later plan of the project does. The alert expires when
//! newer commits have overtaken the plan, when it is rejected or cancelled, or when a later plan fails, which
//! is then told instead. A try that is under way changes nothing.

use std::collections::BTreeSet;

use super::super::alert::{Alert, Evidence, Verdict};
use super::super::notification::Fact;
use super::super::observation::{Name, Plan};
use super::context::{Context, Judgement, expired, resolved};
use super::plan_waiting::{commit_fact, plan_occurrence, plan_title};

/// A plan failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanFailed;

/// Deployments looked at in search of the last one that was decided.
const MAX_SEARCHED: usize = 500;

/// The last deployment that completed or failed.
struct Decided<'a> {
    plan: &'a Plan,
    /// Deployments that began later and are not decided.
    newer: BTreeSet<&'a Name>,
}

impl PlanFailed {
    /// Judges a project.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let decided = last_decided(ctx);
        if let Some(last) = &decided
            && is_failed(last.plan)
        {
            let occurrence = plan_occurrence(last.plan);
            let is_news = last.plan.updated_at > ctx.memory.watching_since
                || last.newer.is_empty()
                || ctx.open_at(&occurrence).is_some();
            if is_news {
                let evidence = evidence(ctx, last.plan);
                let at = last.plan.updated_at;
                judgement.find_occurrence(occurrence, at, Verdict::Breach(evidence));
            }
        }
        for alert in ctx.open.iter().filter(|alert| alert.is_open()) {
            end_what_is_over(ctx, alert, decided.as_ref(), &mut judgement);
        }
        judgement
    }
}

fn is_failed(plan: &Plan) -> bool {
    &*plan.status == "failed"
}

/// Deployed: an explain step that completes has not deployed anything.
fn is_completed(plan: &Plan) -> bool {
    &*plan.status == "completed" && plan.plan_type.as_deref() != Some("explain")
}

/// The newest deployment whose newest record completed or failed.
fn last_decided<'a>(ctx: &Context<'a>) -> Option<Decided<'a>> {
    let mut newer = BTreeSet::new();
    for plan in ctx.project.plans().newest() {
        if newer.contains(plan.group()) {
            continue;
        }
        if is_failed(plan) || is_completed(plan) {
            return Some(Decided { plan, newer });
        }
        newer.insert(plan.group());
        if newer.len() >= MAX_SEARCHED {
            return None;
        }
    }
    None
}

fn evidence(ctx: &Context<'_>, plan: &Plan) -> Evidence {
    let step = match plan.plan_type.as_deref() {
        Some(step @ ("explain" | "execute")) => format!(" in its {step} step"),
        _ => String::new(),
    };
    let mut facts = vec![Fact::new("Failed", ctx.clock(plan.updated_at))];
    facts.extend(commit_fact(plan));
    if let Some(info) = &ctx.project.info
        && let Some(commit) = &info.current_commit
    {
        facts.push(Fact::new("Deployed commit", commit.to_string()));
    }
    Evidence {
        headline: format!("Failed: {} {} failed{step}", ctx.title(), plan_title(plan)),
        facts,
        ..Evidence::default()
    }
}

/// Ends an open alert whose deployment completed, or that a later one has replaced.
fn end_what_is_over(
    ctx: &Context<'_>,
    alert: &Alert,
    decided: Option<&Decided<'_>>,
    judgement: &mut Judgement,
) {
    let occurrence = ctx.occurrence(alert);
    let group = occurrence.get("plan_id");
    let title = ctx.title();
    let Some(plan) = ctx.project.plans().of_group(group).next() else {
        let headline = format!("Gone: the plan of {title} that failed is not listed any more");
        judgement.find_occurrence(occurrence, ctx.known_until, expired(headline));
        return;
    };
    let name = plan_title(plan);
    let later = decided
        .filter(|last| last.plan.group() != plan.group() && !last.newer.contains(plan.group()))
        .map(|last| last.plan);
    let (at, verdict) = match (&*plan.status, later) {
        _ if is_completed(plan) => {
            let headline = format!("Deployed: {title} {name} completed at another try");
            (plan.updated_at, resolved(headline, facts(ctx, plan)))
        }
        _ if plan.is_superseded => {
            let headline = format!("Superseded: {title} {name} was overtaken by newer commits");
            (plan.updated_at, expired(headline))
        }
        (word @ ("rejected" | "cancelled"), _) => {
            let headline = format!("Over: {title} {name} was {word} after it had failed");
            (plan.updated_at, expired(headline))
        }
        (_, Some(later)) if is_completed(later) => {
            let headline = format!("Deployed: {title} {} completed", plan_title(later));
            (later.updated_at, resolved(headline, facts(ctx, later)))
        }
        (_, Some(later)) => {
            let headline = format!("Superseded: {title} {} failed later", plan_title(later));
            (later.updated_at, expired(headline))
        }
        (_, None) => return,
    };
    judgement.find_occurrence(occurrence, at, verdict);
}

fn facts(ctx: &Context<'_>, plan: &Plan) -> Vec<Fact> {
    let completed = Fact::new("Completed", ctx.clock(plan.updated_at));
    std::iter::once(completed)
        .chain(commit_fact(plan))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::RuleKind;
    use super::super::fixture::Case;
    use super::*;

    fn case(rows: &[&str]) -> Case {
        let case = Case::new(RuleKind::PlanFailed(PlanFailed))
            .whole_project()
            .project("00:00", |_| {});
        rows.iter().fold(case, |case, row| case.plan(row))
    }

    const FAILED: &str = "02:09 g1 b execute failed Add refunds";
    const SAID: &str = "02:09 breach Failed: finance plan “Add refunds” failed in its execute step";

    #[test]
    fn the_last_deployment_that_was_decided_counts() {
        let explained = "02:00 g1 a explain approved Add refunds";
        for (name, rows, expected) in [
            ("none", &[][..], ""),
            ("failed", &[explained, FAILED], SAID),
            (
                "failed while it was explained",
                &["02:00 g1 a explain failed Add refunds"],
                "02:00 breach Failed: finance plan “Add refunds” failed in its explain step",
            ),
            (
                "another try is under way",
                &[explained, FAILED, "02:30 g1 b execute running Add refunds"],
                "",
            ),
            (
                "a later plan waits",
                &[explained, FAILED, "03:00 g2 c explain pending Fix refunds"],
                SAID,
            ),
            (
                "a later plan is only explained",
                &[
                    explained,
                    FAILED,
                    "03:00 g2 c explain completed Fix refunds",
                ],
                SAID,
            ),
            (
                "a later plan completed",
                &[
                    explained,
                    FAILED,
                    "03:00 g2 c execute completed Fix refunds",
                ],
                "",
            ),
            (
                "an earlier plan is retried later",
                &["01:00 g0 z execute completed Older", explained, FAILED],
                SAID,
            ),
        ] {
            assert_eq!(case(rows).judge("06:00").join("; "), expected, "{name}");
        }
    }

    #[test]
    fn what_failed_before_watching_is_told_only_if_it_is_the_newest() {
        let old = "2026-03-09T02:09:00Z g1 b execute failed Add refunds";
        let newer = "2026-03-09T03:00:00Z g2 c explain pending Fix refunds";
        assert_eq!(case(&[old]).judge("06:00").len(), 1);
        assert_eq!(case(&[old, newer]).judge("06:00"), Vec::<String>::new());
    }

    #[test]
    fn an_open_alert_ends_with_the_deployment_that_replaced_it() {
        for (row, expected) in [
            (
                "03:00 g1 b execute completed Add refunds",
                "03:00 ok Deployed: finance plan “Add refunds” completed at another try",
            ),
            (
                "03:00 g1 d execute completed Add refunds",
                "03:00 ok Deployed: finance plan “Add refunds” completed at another try",
            ),
            (
                "03:00 g2 c execute completed Fix refunds",
                "03:00 ok Deployed: finance plan “Fix refunds” completed",
            ),
            (
                "03:00 g2 c execute failed Fix refunds",
                "03:00 breach Failed: finance plan “Fix refunds” failed in its execute step; \
                 03:00 expired Superseded: finance plan “Fix refunds” failed later",
            ),
            (
                "03:00 g1 b execute cancelled Add refunds",
                "03:00 expired Over: finance plan “Add refunds” was cancelled after it had failed",
            ),
            (
                "03:00 g1 b execute superseded Add refunds",
                "03:00 expired Superseded: finance plan “Add refunds” was overtaken by newer commits",
            ),
            ("03:00 g1 b execute running Add refunds", ""),
            ("03:00 g2 c explain pending Fix refunds", SAID),
        ] {
            let open = case(&[FAILED]).opened("02:30");
            assert_eq!(open.plan(row).judge("06:00").join("; "), expected, "{row}");
        }
    }
}
