//! What changed between the last good run and the first slow one, as far as is known: deployments.

use std::fmt::Write as _;

use super::super::super::notification::Fact;
use super::super::super::observation::{Name, Plan};
use super::super::super::time::Timestamp;
use super::super::context::Context;

/// Deployments named; more are counted.
const MAX_NAMED: usize = 3;

/// Characters of a commit that name it.
const COMMIT_CHARS: usize = 8;

/// Most characters of a commit's message.
const MESSAGE_CHARS: usize = 60;

/// Plans that were applied after `last_good_at` and not after `first_slow_at`, newest first; `None` when none
/// is known. Give the creation of the last good run and the end of the first slow one: a plan that is applied
/// during a run may show in it.
pub(super) fn what_changed(
    ctx: &Context<'_>,
    last_good_at: Timestamp,
    first_slow_at: Timestamp,
) -> Option<Fact> {
    let plans = ctx.project.plans().iter();
    let mut applied: Vec<&Plan> = plans
        .filter(|plan| is_applied(plan))
        .filter(|plan| plan.updated_at > last_good_at && plan.updated_at <= first_slow_at)
        .collect();
    applied.sort_by(|a, b| (b.updated_at, &b.id).cmp(&(a.updated_at, &a.id)));
    // A deployment is told once, however many records it has.
    let mut groups: Vec<&Name> = Vec::new();
    applied.retain(|plan| {
        let is_new = !groups.contains(&plan.group());
        groups.push(plan.group());
        is_new
    });
    if applied.is_empty() {
        return None;
    }
    let named = applied.iter().take(MAX_NAMED);
    let mut parts: Vec<String> = named.map(|plan| words(ctx, plan)).collect();
    if applied.len() > MAX_NAMED {
        parts.push(format!("and {} more", applied.len() - MAX_NAMED));
    }
    Some(Fact::new("Changed", parts.join("; ")))
}

/// Deployed: an explain step that completes has not deployed anything.
fn is_applied(plan: &Plan) -> bool {
    &*plan.status == "completed" && plan.plan_type.as_deref() != Some("explain")
}

/// `plan 7f3a applied to prod 12 Mar 03:50 UTC, commit 1a2b3c4d "Join by day"`.
fn words(ctx: &Context<'_>, plan: &Plan) -> String {
    let environment = ctx
        .project
        .info
        .as_ref()
        .and_then(|i| i.environment.as_ref());
    let to = environment.map_or_else(String::new, |name| format!(" to {name}"));
    let mut text = format!(
        "plan {} applied{to} {}",
        plan.group(),
        ctx.clock(plan.updated_at)
    );
    if let Some(commit) = &plan.to_commit {
        let short: String = commit.chars().take(COMMIT_CHARS).collect();
        let _ = write!(text, ", commit {short}");
    }
    if let Some(message) = &plan.commit_message {
        let line = message.lines().next().unwrap_or_default().trim();
        let short: String = line.chars().take(MESSAGE_CHARS).collect();
        if !short.is_empty() {
            let _ = write!(text, " \"{short}\"");
        }
    }
    text
}
