//! Messages as they might be: to try templates on, and to show what a receiver would get.
//!
//! Role: alerts and notifications with made-up facts. Guarantees: one headline for every kind of rule; every
//! reason for which people are told of alerts is there. It reads nothing and sends nothing.

use crate::engine::labels::{Fingerprint, Labels};
use crate::engine::notification::{
    AcknowledgedView, AlertView, Body, ConversationId, Fact, Notification, Reason, SilencedView,
    Suppressed, SuppressionReason,
};
use crate::engine::rule::{Rule, Severity};
use crate::engine::time::{Span, Timestamp};

/// Reasons for which people are told of alerts.
pub const REASONS: [Reason; 13] = [
    Reason::First,
    Reason::NewAlerts,
    Reason::Escalated,
    Reason::Upgraded,
    Reason::Changed,
    Reason::SomeResolved,
    Reason::AllResolved,
    Reason::Reminder,
    Reason::Flapping,
    Reason::RuleRemoved,
    Reason::Undeliverable,
    Reason::Acknowledged,
    Reason::Silenced,
];

/// 10 March 2026, 11:20 UTC: any instant would do.
pub fn at() -> Timestamp {
    Timestamp::from_millis(1_773_141_600_000)
}

/// An alert; with everything known, or with nothing but what every alert has.
pub fn alert(has_details: bool) -> AlertView {
    let bare = AlertView {
        id: "k3x9pq".to_owned(),
        rule: "nightly-on-time".into(),
        kind: "deadline".into(),
        origin: "rules/finance.toml:12".to_owned(),
        severity: Severity::Critical,
        labels: labels(),
        headline: headline("deadline").to_owned(),
        facts: Vec::new(),
        error: None,
        run_url: None,
        description: None,
        runbook: None,
        owner: None,
        began_at: at() - Span::minutes(20),
        fired_at: at() - Span::minutes(15),
        ended_at: None,
        is_new: false,
        is_already_so: false,
        acknowledged: None,
        silenced: None,
    };
    if !has_details {
        return bare;
    }
    AlertView {
        facts: facts(),
        error: Some(
            "Database error in model orders\n  relation \"raw.orders\" does not exist".to_owned(),
        ),
        run_url: Some("https://app.example.com/runs/r1".to_owned()),
        description: Some("The numbers are read at 07:30.".to_owned()),
        runbook: Some("https://wiki.example.com/nightly".to_owned()),
        owner: Some("finance-data".to_owned()),
        ..bare
    }
}

fn labels() -> Labels {
    Labels::default()
        .with("project", "finance")
        .with("job", "nightly-refresh")
}

fn facts() -> Vec<Fact> {
    vec![
        Fact::new("Observed", "running 52 min"),
        Fact::new("Usual", "31 min, p95 36, last 20 runs"),
        Fact::new("Last good run", "9 Mar 06:31 UTC"),
    ]
}

/// As a rule of that kind might say it.
fn headline(kind: &str) -> &'static str {
    match kind {
        "run_failed" => "Failed: finance nightly-refresh, 1 of 40 models",
        "success_rate" => {
            "Failing often: finance nightly-refresh, 7 of 10 runs succeeded, at least 9 expected"
        }
        "model_failed" => "Failed: finance marts.orders in nightly-refresh, 3 times in a row",
        "model_not_run" => {
            "Not run: finance marts.orders in nightly-refresh, last executed 2 d ago"
        }
        "run_duration" => "Slow: finance nightly-refresh running 52 min, limit 45 min",
        "queue_time" => "Waiting: finance nightly-refresh not started after 12 min (limit 10 min)",
        "run_stalled" => "Stalled: finance nightly-refresh without progress for 30 min",
        "model_duration" => "Slow: finance marts.orders took 9 min, limit 5 min",
        "run_regression" => "Slower: finance nightly-refresh 48 min, usually 31 min, since 9 Mar",
        "model_regression" => "Slower: finance marts.orders 9 min, usually 4 min, since 9 Mar",
        "deadline" => "Late: finance nightly-refresh not finished, due 11:00 UTC",
        "missed_schedule" => "Missed: finance nightly-refresh did not start at 06:00 UTC",
        "staleness" => "Stale: finance nightly-refresh last succeeded 26 h ago, allowed 24 h",
        "model_staleness" => "Stale: finance marts.orders last built 26 h ago, allowed 24 h",
        "paused" => "Paused: finance nightly-refresh for 3 d",
        "run_count" => {
            "Too many runs: finance nightly-refresh ran 14 times in 1 h, at most 4 expected"
        }
        "platform_incident" => "Platform: 9 of 12 jobs fail with the same error",
        "rows" => "Few rows: finance marts.orders wrote 120, usually 41000",
        "plan_waiting" => "Waiting: plan 42 of finance for approval for 3 h",
        "plan_failed" => "Failed: plan 42 of finance",
        "project_drift" => "Behind: finance production runs a commit 6 behind",
        "protection_off" => "Unprotected: finance production can be changed without approval",
        "objective" => "Budget: finance nightly-refresh on time 92 % of 30 d, promised 95 %",
        "source_unreachable" => "Unreachable: acme not read for 10 min",
        _ => "Something is wrong: finance nightly-refresh",
    }
}

/// An alert as a rule might raise it.
pub fn of_rule(rule: &Rule, now: Timestamp) -> AlertView {
    let kind = rule.kind.name();
    let annotations = &rule.annotations;
    AlertView {
        rule: rule.name.clone(),
        kind: kind.into(),
        origin: rule.origin.clone(),
        severity: rule.severity,
        labels: rule
            .labels
            .iter()
            .fold(labels(), |labels, (name, value)| labels.with(name, value))
            .with("rule", rule.name.clone())
            .with("kind", kind)
            .with("severity", rule.severity.as_str()),
        headline: headline(kind).to_owned(),
        description: annotations.description.clone(),
        runbook: annotations.runbook.clone(),
        owner: annotations.owner.as_deref().map(str::to_owned),
        began_at: now - Span::minutes(20),
        fired_at: now - Span::minutes(15),
        ..alert(true)
    }
}

/// A notification about the alert, for a reason.
pub fn told(receiver: &str, reason: Reason, alert: AlertView, now: Timestamp) -> Notification {
    let is_first = matches!(reason, Reason::First | Reason::Undeliverable);
    Notification {
        receiver: receiver.into(),
        conversation: ConversationId(Fingerprint::of("sample", &alert.labels)),
        sequence: u32::from(!is_first),
        reason,
        decided_at: now,
        group: group(&alert.labels),
        route: "root".into(),
        body: Body::Alerts(alerts(reason, alert, now)),
        omitted: 0,
        rollup: None,
        suppressed: Vec::new(),
    }
}

/// As alerts are grouped unless a route says otherwise.
fn group(labels: &Labels) -> Labels {
    let pairs = labels
        .iter()
        .filter(|(name, _)| matches!(*name, "project" | "job"));
    pairs.fold(Labels::default(), |group, (name, value)| {
        group.with(name, value)
    })
}

fn alerts(reason: Reason, alert: AlertView, now: Timestamp) -> Vec<AlertView> {
    let another = |headline: &str| AlertView {
        id: "q7m2ta".to_owned(),
        headline: headline.to_owned(),
        acknowledged: None,
        silenced: None,
        ..alert.clone()
    };
    match reason {
        Reason::First => vec![AlertView {
            is_new: true,
            ..alert
        }],
        Reason::NewAlerts => {
            let joined = AlertView {
                is_new: true,
                ..another("Failed: finance orders, 2 of 8 models")
            };
            vec![alert, joined]
        }
        Reason::AllResolved => vec![ended(alert, now)],
        Reason::SomeResolved => {
            let over = ended(another("Failed: finance orders, 2 of 8 models"), now);
            vec![alert, over]
        }
        Reason::Acknowledged => vec![AlertView {
            acknowledged: Some(AcknowledgedView {
                by: "anna".into(),
                until: now + Span::hours(8),
                comment: Some("looking at it".to_owned()),
            }),
            ..alert
        }],
        Reason::Silenced => vec![AlertView {
            silenced: Some(SilencedView {
                id: "s1".to_owned(),
                by: "anna".into(),
                until: now + Span::hours(2),
                comment: "migration".to_owned(),
            }),
            ..alert
        }],
        _ => vec![alert],
    }
}

fn ended(alert: AlertView, now: Timestamp) -> AlertView {
    let about = alert
        .headline
        .split_once(": ")
        .map_or(alert.headline.as_str(), |(_, about)| about);
    AlertView {
        headline: format!("Recovered: {about}"),
        facts: vec![Fact::new("Was", alert.headline.clone())],
        error: None,
        ended_at: Some(now),
        is_new: false,
        ..alert
    }
}

/// Every sort of message about alerts, with what it is in words.
pub(super) fn every() -> Vec<(String, Notification)> {
    let severities = [Severity::Critical, Severity::Warning, Severity::Info];
    let mut found = Vec::new();
    for reason in REASONS {
        for severity in severities {
            for has_details in [true, false] {
                let alert = AlertView {
                    severity,
                    ..alert(has_details)
                };
                let words = if has_details {
                    "an alert with everything known"
                } else {
                    "an alert without facts, error, owner and links"
                };
                let reason_words = reason.as_str().replace('_', " ");
                let words = format!("{words} ({}, reason {reason_words})", severity.as_str());
                found.push((words, told("sample", reason, alert, at())));
            }
        }
    }
    found.push(("200 alerts at once (reason first)".to_owned(), many()));
    found
}

/// As much as one message can hold.
fn many() -> Notification {
    let alert = || AlertView {
        facts: (0..15)
            .map(|n| Fact::new(&format!("Fact {n}"), "x".repeat(80)))
            .collect(),
        ..alert(true)
    };
    let quiet = Suppressed {
        id: "q1".to_owned(),
        headline: String::new(),
        reason: SuppressionReason::Muted("weekend".into()),
    };
    Notification {
        body: Body::Alerts((0..200).map(|_| alert()).collect()),
        group: Labels::default(),
        omitted: 30,
        suppressed: vec![quiet],
        ..told("sample", Reason::First, alert(), at())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rule::KIND_NAMES;

    #[test]
    fn every_kind_has_a_headline_of_its_own() {
        for kind in KIND_NAMES {
            assert_ne!(headline(kind), headline("no such kind"), "{kind}");
        }
    }
}
