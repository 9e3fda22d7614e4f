//! # plan_waiting
//!
//! ## What it tells
//! A plan has been waiting for a person's approval for longer than `max`. People are reminded when it has
//! waited for twice and for four times as long.
//!
//! ## When to use
//! Where deployments need approval: on protected environments every plan waits, even for the person who
//! asked for it. Give it a `calendar`, so that nights and weekends do not count.
//!
//! ## Keys
//! `max` (required): the longest wait. With a `calendar` only its days and hours count. `project` and
//! `environment` select the projects.
//!
//! ## No data
//! A plan waits from the moment dagctl said that it became pending; later changes of its row do not set the
//! clock back. While dagctl's list of plans cannot be read, nothing new is told and nothing ends. A plan that
//! has waited for too long when Tardy first sees it is told, marked as already so.
//!
//! ## Resolve
//! When the plan is approved, rejected or cancelled, or has failed or completed; the message says which, and
//! how long it waited. A plan that newer commits have overtaken, or that is not listed as waiting any more,
//! expires.

use super::super::alert::{Alert, Evidence, Verdict};
use super::super::labels::Labels;
use super::super::notification::Fact;
use super::super::observation::{Name, Plan};
use super::super::time::{Span, Timestamp, human_span};
use super::context::{Context, Judgement, error_line, expired, resolved};
use super::paused::limit_text;

/// A plan waits for approval longer than `max`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanWaiting {
    /// Longest wait, on the calendar's clock when the rule has one.
    pub max: Span,
}

/// When people are told, as multiples of the limit, and in words.
const STEPS: [(i32, &str); 3] = [
    (1, ""),
    (2, ", twice the limit"),
    (4, ", four times the limit"),
];

impl PlanWaiting {
    /// Judges a project.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let plans = ctx.project.plans();
        let instants = &mut judgement.memory.instants;
        instants.retain(|id, _| plans.waiting().any(|plan| plan.id == *id));
        for plan in plans.waiting() {
            let instants = &mut judgement.memory.instants;
            let since = *instants.entry(plan.id.clone()).or_insert(plan.updated_at);
            self.judge_plan(ctx, plan, since, &mut judgement);
        }
        for alert in ctx.open.iter().filter(|alert| alert.is_open()) {
            end_what_waits_no_more(ctx, alert, &mut judgement);
        }
        judgement
    }

    fn judge_plan(
        &self,
        ctx: &Context<'_>,
        plan: &Plan,
        since: Timestamp,
        judgement: &mut Judgement,
    ) {
        let steps = STEPS.map(|(times, words)| {
            let span = self.max * times;
            (ctx.rule.after(since, span), span, words)
        });
        // What is past, and waits for the plans to be known, is looked at when they are.
        let mut ahead = steps.iter().filter(|(at, ..)| *at > ctx.known_until);
        if let Some((at, ..)) = ahead.next().filter(|(at, ..)| *at < Timestamp::MAX) {
            judgement.wake_known(*at);
        }
        let Some(plans_known) = ctx.project.plans().known_until() else {
            return;
        };
        let known_until = ctx.known_until.min(plans_known);
        let reached = steps.iter().rfind(|(at, ..)| *at <= known_until);
        let occurrence = plan_occurrence(plan);
        match reached {
            Some((_, waited, words)) => {
                let (due_at, ..) = steps[0];
                let evidence = self.evidence(ctx, plan, since, (*waited, words));
                judgement.find_occurrence(occurrence, due_at, Verdict::Breach(evidence));
            }
            None if ctx.open_at(&occurrence).is_some() => {
                let headline = format!(
                    "Over: {} {} has not waited for {} yet",
                    ctx.title(),
                    plan_title(plan),
                    limit_text(ctx.rule, self.max)
                );
                judgement.find_occurrence(occurrence, known_until, expired(headline));
            }
            None => {}
        }
    }

    fn evidence(
        &self,
        ctx: &Context<'_>,
        plan: &Plan,
        since: Timestamp,
        (waited, words): (Span, &str),
    ) -> Evidence {
        let business = if ctx.rule.calendar.is_some() {
            " of business time"
        } else {
            ""
        };
        let waited = format!("{}{business}{words}", human_span(waited));
        let headline = format!(
            "Waiting: {} {} waits for approval since {} ({waited})",
            ctx.title(),
            plan_title(plan),
            ctx.clock(since)
        );
        let mut facts = vec![
            Fact::new("Waiting since", ctx.clock(since)),
            Fact::new("Waited", waited),
            Fact::new("Limit", limit_text(ctx.rule, self.max)),
        ];
        facts.extend(commit_fact(plan));
        Evidence {
            headline,
            facts,
            change_key: Some(words.to_owned()),
            ..Evidence::default()
        }
    }
}

/// What distinguishes the alerts of a project's deployments.
pub(super) fn plan_occurrence(plan: &Plan) -> Labels {
    Labels::default().with("plan_id", plan.group().clone())
}

/// `plan “Add refunds”`, by the commit's message, else by the id.
pub(super) fn plan_title(plan: &Plan) -> String {
    let message = plan.commit_message.as_deref().map(error_line);
    match message.filter(|message| !message.is_empty()) {
        Some(message) => format!("plan “{message}”"),
        None => format!("plan {}", plan.group()),
    }
}

/// The commit that a plan deploys.
pub(super) fn commit_fact(plan: &Plan) -> Option<Fact> {
    let commit: &Name = plan.to_commit.as_ref()?;
    Some(Fact::new("Commit", commit.to_string()))
}

/// Ends an open alert whose plan does not wait any more.
fn end_what_waits_no_more(ctx: &Context<'_>, alert: &Alert, judgement: &mut Judgement) {
    let occurrence = ctx.occurrence(alert);
    let group = occurrence.get("plan_id");
    let plans = ctx.project.plans();
    if plans.waiting().any(|plan| &**plan.group() == group) {
        return;
    }
    let title = ctx.title();
    let Some(newest) = plans.of_group(group).next() else {
        let headline = format!("Gone: a plan of {title} is not listed any more");
        judgement.find_occurrence(occurrence, ctx.known_until, expired(headline));
        return;
    };
    let explained = plans.of_group(group).last().unwrap_or(newest);
    let over_at = explained.updated_at.max(alert.began_at);
    let waited = ctx.memory.instants.get(&explained.id).map(|since| {
        let waited = human_span(ctx.rule.time_between(*since, over_at));
        Fact::new("Waited", waited)
    });
    let verdict = ending(&title, newest, explained, waited.into_iter().collect());
    let is_waiting_still = explained.is_waiting();
    let at = if is_waiting_still {
        ctx.known_until
    } else {
        over_at
    };
    judgement.find_occurrence(occurrence, at, verdict);
}

/// What became of a plan, by the newest record of its deployment and by what was explained.
fn ending(title: &str, newest: &Plan, explained: &Plan, facts: Vec<Fact>) -> Verdict {
    let plan = plan_title(explained);
    if explained.is_superseded || newest.is_superseded {
        return expired(format!(
            "Superseded: {title} {plan} was overtaken by newer commits"
        ));
    }
    let is_executed = newest.id != explained.id;
    match &*newest.status {
        "completed" => resolved(format!("Deployed: {title} {plan} was completed"), facts),
        "failed" => resolved(format!("Over: {title} {plan} failed"), facts),
        "rejected" => resolved(format!("Rejected: {title} {plan} was rejected"), facts),
        "cancelled" => resolved(format!("Cancelled: {title} {plan} was cancelled"), facts),
        "approved" => resolved(format!("Approved: {title} {plan} was approved"), facts),
        "running" | "pending" if is_executed => {
            resolved(format!("Approved: {title} {plan} was approved"), facts)
        }
        "pending" => expired(format!("Over: {title} {plan} does not wait any more")),
        status => expired(format!(
            "Over: {title} {plan} does not wait any more (status “{status}”)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::RuleKind;
    use super::super::fixture::{Case, at, calendar};
    use super::*;

    fn case() -> Case {
        Case::new(RuleKind::PlanWaiting(PlanWaiting {
            max: Span::hours(2),
        }))
        .whole_project()
        .project("00:00", |_| {})
        .plan("01:50 g1 a explain running Add refunds")
        .plan("02:00 g1 a explain pending Add refunds")
    }

    const SAID: &str =
        "04:00 breach Waiting: finance plan “Add refunds” waits for approval since 02:00 UTC (2 h)";

    #[test]
    fn a_plan_is_told_at_the_limit_and_again_at_its_multiples() {
        for (known, times) in [
            ("03:59", None),
            ("04:00", Some("")),
            ("05:59", Some("")),
            ("06:00", Some(", twice the limit")),
            ("10:00", Some(", four times the limit")),
            ("23:00", Some(", four times the limit")),
        ] {
            let judgement = case().plans_known(known, &["a"]).judgement(known);
            let keys: Vec<Option<String>> = judgement
                .findings
                .iter()
                .map(|finding| match &finding.verdict {
                    Verdict::Breach(evidence) => evidence.change_key.clone(),
                    _ => None,
                })
                .collect();
            assert_eq!(
                keys,
                times
                    .map(|words| Some(words.to_owned()))
                    .into_iter()
                    .collect::<Vec<_>>(),
                "{known}"
            );
        }
        let told = case().plans_known("04:00", &["a"]);
        assert_eq!(told.judge("04:00"), [SAID]);
        assert_eq!(told.judgement("04:00").wake_when_known, Some(at("06:00")));
    }

    #[test]
    fn it_is_told_only_as_far_as_plans_are_known() {
        assert_eq!(case().judge("05:00"), Vec::<String>::new(), "never read");
        let lagging = case().plans_known("03:59", &["a"]);
        assert_eq!(lagging.judge("05:00"), Vec::<String>::new());
        assert_eq!(
            lagging.judgement("05:00").wake_when_known,
            Some(at("06:00")),
            "the plans are looked at when they are known"
        );
        assert_eq!(lagging.plans_known("05:00", &["a"]).judge("05:00"), [SAID]);
    }

    #[test]
    fn only_the_hours_of_the_calendar_count_and_a_touched_row_changes_nothing() {
        let mut case = case();
        case.rule.calendar = Some(calendar("01:00", "03:00"));
        // One hour on the tenth, the second on the eleventh.
        let next = "2026-03-11T02:00:00Z";
        let seen = case.plans_known("03:00", &["a"]).after("03:00");
        let touched = seen.plan("03:30 g1 a explain pending Add refunds");
        assert_eq!(
            touched.plans_known(next, &["a"]).judge(next),
            [
                "03-11T02:00 breach Waiting: finance plan “Add refunds” waits for approval \
                 since 10 Mar 02:00 UTC (2 h of business time)"
            ]
        );
    }

    #[test]
    fn an_execute_step_waits_for_a_machine() {
        let case = Case::new(RuleKind::PlanWaiting(PlanWaiting {
            max: Span::hours(2),
        }))
        .whole_project()
        .plan("02:00 g1 b execute pending Add refunds")
        .plans_known("09:00", &["b"]);
        assert_eq!(case.judge("09:00"), Vec::<String>::new());
    }

    #[test]
    fn an_open_alert_says_how_the_wait_ended() {
        for (rows, expected) in [
            (
                &["05:00 g1 a explain approved Add refunds"][..],
                "05:00 ok Approved: finance plan “Add refunds” was approved",
            ),
            (
                &[
                    "05:00 g1 a explain approved Add refunds",
                    "05:01 g1 b execute running Add refunds",
                ],
                "05:00 ok Approved: finance plan “Add refunds” was approved",
            ),
            (
                &[
                    "05:00 g1 a explain approved Add refunds",
                    "05:09 g1 b execute completed Add refunds",
                ],
                "05:00 ok Deployed: finance plan “Add refunds” was completed",
            ),
            (
                &["05:00 g1 a explain rejected Add refunds"],
                "05:00 ok Rejected: finance plan “Add refunds” was rejected",
            ),
            (
                &["05:00 g1 a explain superseded Add refunds"],
                "05:00 expired Superseded: finance plan “Add refunds” was overtaken by newer commits",
            ),
            (
                &["05:00 g1 a explain cancelled Add refunds"],
                "05:00 ok Cancelled: finance plan “Add refunds” was cancelled",
            ),
            (
                &["05:00 g1 a explain withdrawn Add refunds"],
                "05:00 expired Over: finance plan “Add refunds” does not wait any more \
                 (status “withdrawn”)",
            ),
            // Not listed any more, and nobody says why.
            (
                &[],
                "06:00 expired Over: finance plan “Add refunds” does not wait any more",
            ),
        ] {
            let open = case().plans_known("04:30", &["a"]).opened("04:30");
            let mut later = open;
            for row in rows {
                later = later.plan(row);
            }
            let ended = later.plans_known("06:00", &[]);
            assert_eq!(ended.judge("06:00").join("; "), expected, "{rows:?}");
        }
        let blind = case().plans_known("04:30", &["a"]).opened("04:30");
        assert_eq!(
            blind.judge("05:59"),
            [SAID],
            "a list not read closes nothing"
        );
    }
}
