//! The rule's own texts: `{names}` in annotations are filled with labels and facts of the alert.

use super::alert::Alert;

/// Labels an alert may have, beside those that configuration adds.
pub const LABEL_NAMES: &[&str] = &[
    "source",
    "receiver",
    "project",
    "project_id",
    "job",
    "model",
    "job_type",
    "triggered_by",
    "run_id",
    "date",
    "limit",
    "started_at",
    "rule",
    "kind",
    "severity",
    "plan_id",
    "environment",
];

/// Facts an alert may have, as annotations name them: lower case, `_` for spaces. What a rule kind says of
/// an alert must be here, which a test checks against the sources.
pub const FACT_NAMES: &[&str] = &[
    "active",
    "allowed",
    "allowed_age",
    "at_least",
    "bound",
    "changed",
    "changes",
    "closed_meanwhile",
    "commit",
    "commits_behind",
    "completed",
    "confidence",
    "delivered",
    "deployed_commit",
    "due",
    "error",
    "evidence",
    "excused",
    "expected",
    "failed",
    "failing_model",
    "finished",
    "first",
    "first_failure",
    "first_seen",
    "first_slow_run",
    "forecast",
    "grace",
    "in_a_row",
    "in_this_run",
    "interval",
    "jobs",
    "jobs_that_do_not_run",
    "last_executed",
    "last_failure",
    "last_good_run",
    "last_misses",
    "last_progress",
    "last_run",
    "last_success",
    "latest_change",
    "latest_commit",
    "limit",
    "meanwhile",
    "met",
    "models",
    "most_common_error",
    "newest",
    "newest_run",
    "next_miss_leaves",
    "no_complete_poll_since",
    "no_delivery_since",
    "now",
    "observed",
    "p95_over_limit",
    "pace",
    "partial",
    "paused",
    "paused_meanwhile",
    "projects",
    "projects_that_deploy_there",
    "promises",
    "queued",
    "ran",
    "recovered",
    "robust_z",
    "runs",
    "schedule",
    "since",
    "started",
    "state",
    "still_failing",
    "succeeded",
    "target",
    "threshold",
    "times",
    "took_in_total",
    "unknown",
    "upstream",
    "used",
    "usual",
    "waited",
    "waiting_since",
    "was_paused",
    "work",
];

/// Every name that annotations may use, beside the labels of the rule.
pub fn names<'a>() -> impl Iterator<Item = &'a str> {
    LABEL_NAMES.iter().chain(FACT_NAMES).copied()
}

/// Fills `{name}` with a label, a fact, or the error of the alert; what the alert does not have is left out,
/// and an unknown name stays as it is.
pub fn fill(text: &str, alert: &Alert) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            filled.push('{');
            rest = after;
            continue;
        };
        match value(name, alert) {
            Some(value) => filled.push_str(value),
            None if names().any(|known| known == name) => {}
            None => {
                filled.push('{');
                filled.push_str(name);
                filled.push('}');
            }
        }
        rest = tail;
    }
    filled.push_str(rest);
    filled
}

fn value<'a>(name: &str, alert: &'a Alert) -> Option<&'a str> {
    let label = alert.labels.get(name);
    if !label.is_empty() {
        return Some(label);
    }
    let is_named = |fact_name: &str| fact_name.to_lowercase().replace(' ', "_") == name;
    let fact = alert
        .evidence
        .facts
        .iter()
        .find(|fact| is_named(&fact.name));
    let error = (name == "error")
        .then_some(alert.evidence.error.as_deref())
        .flatten();
    fact.map(|fact| fact.value.as_str()).or(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_a_rule_kind_says_can_be_named() {
        let files = concat!(env!("CARGO_MANIFEST_DIR"), "/src/engine/rule/**/*.rs");
        let mut found = 0;
        for path in glob::glob(files).unwrap() {
            let source = std::fs::read_to_string(path.unwrap()).unwrap();
            for part in source.split("Fact::new(").skip(1) {
                let Some(rest) = part.trim_start().strip_prefix('"') else {
                    continue;
                };
                let name = rest
                    .split('"')
                    .next()
                    .unwrap()
                    .to_lowercase()
                    .replace(' ', "_");
                let is_label = LABEL_NAMES.contains(&name.as_str());
                assert!(
                    is_label || FACT_NAMES.contains(&name.as_str()),
                    "add `{name}` to FACT_NAMES"
                );
                found += 1;
            }
        }
        assert!(found > 20, "the sources were not found");
    }
}
