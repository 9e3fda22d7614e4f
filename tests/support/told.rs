//! Notifications to tell: an ordinary incident, and one whose every text is hostile.

use tardy::engine::labels::{Fingerprint, Labels};
use tardy::engine::notification::{
    AcknowledgedView, AlertView, Body, ConversationId, Fact, Notification, Reason, SilencedView,
    Suppressed, SuppressionReason,
};
use tardy::engine::rule::Severity;
use tardy::engine::time::{Span, Timestamp};

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse(&format!("2026-03-10T{text}:00Z")).unwrap()
}

fn labels() -> Labels {
    Labels::default()
        .with("project", "finance")
        .with("job", "nightly-refresh")
}

/// A critical alert with everything known.
pub(crate) fn alert(id: &str) -> AlertView {
    AlertView {
        id: id.to_owned(),
        rule: "nightly-on-time".into(),
        kind: "deadline".into(),
        origin: "rules/finance.toml:12".to_owned(),
        severity: Severity::Critical,
        labels: labels(),
        headline: "Late: finance nightly-refresh not finished, due 07:00 EST".to_owned(),
        facts: vec![
            Fact::new("Observed", "running 52 min"),
            Fact::new("Usual", "31 min, p95 36, last 20 runs"),
            Fact::new("Last good run", "9 Mar 06:31 EDT"),
        ],
        error: Some(
            "Database error in model orders\n  relation \"raw.orders\" does not exist".into(),
        ),
        run_url: Some("https://app.dagctl.io/projects/p1/runs/r1?tab=a&b=c".to_owned()),
        description: Some("The numbers are read at 07:30.".to_owned()),
        runbook: Some("https://wiki.example.com/nightly".to_owned()),
        owner: Some("finance-data".to_owned()),
        began_at: at("11:00"),
        fired_at: at("11:05"),
        ended_at: None,
        is_new: true,
        is_already_so: false,
        acknowledged: None,
        silenced: None,
    }
}

pub(crate) fn ended(id: &str) -> AlertView {
    AlertView {
        headline: "Recovered: finance nightly-refresh succeeded".to_owned(),
        ended_at: Some(at("11:42")),
        is_new: false,
        ..alert(id)
    }
}

/// Of one conversation; `sequence` sets it a quarter of an hour later each.
pub(crate) fn notification(sequence: u32, reason: Reason, alerts: Vec<AlertView>) -> Notification {
    Notification {
        receiver: "team".into(),
        conversation: ConversationId(Fingerprint::of("conversation", &labels())),
        sequence,
        reason,
        decided_at: at("11:05") + Span::minutes(15) * i32::try_from(sequence).unwrap(),
        group: labels(),
        route: "root".into(),
        body: Body::Alerts(alerts),
        omitted: 0,
        rollup: None,
        suppressed: Vec::new(),
    }
}

pub(crate) fn first() -> Notification {
    notification(0, Reason::First, vec![alert("k3x9pq")])
}

pub(crate) fn reminder(sequence: u32) -> Notification {
    let alert = AlertView {
        is_new: false,
        ..alert("k3x9pq")
    };
    notification(sequence, Reason::Reminder, vec![alert])
}

pub(crate) fn changed(sequence: u32) -> Notification {
    let alert = AlertView {
        is_new: false,
        error: Some("another error".to_owned()),
        ..alert("k3x9pq")
    };
    notification(sequence, Reason::Changed, vec![alert])
}

pub(crate) fn recovered(sequence: u32) -> Notification {
    notification(sequence, Reason::AllResolved, vec![ended("k3x9pq")])
}

/// Somebody has taken it on.
pub(crate) fn acknowledged(sequence: u32) -> Notification {
    let alert = AlertView {
        is_new: false,
        acknowledged: Some(AcknowledgedView {
            by: "mia".into(),
            until: at("19:20"),
            comment: Some("looking at it".to_owned()),
        }),
        ..alert("k3x9pq")
    };
    notification(sequence, Reason::Acknowledged, vec![alert])
}

/// Somebody has silenced it.
pub(crate) fn silenced(sequence: u32) -> Notification {
    let alert = AlertView {
        is_new: false,
        silenced: Some(SilencedView {
            id: "s1".to_owned(),
            by: "mia".into(),
            until: at("13:00"),
            comment: "the warehouse moves".to_owned(),
        }),
        ..alert("k3x9pq")
    };
    notification(sequence, Reason::Silenced, vec![alert])
}

/// Forty alerts, some of them over, some kept quiet.
pub(crate) fn many() -> Notification {
    let mut alerts: Vec<AlertView> = (0..40).map(|index| alert(&format!("a{index}"))).collect();
    for alert in &mut alerts[1..] {
        alert.severity = Severity::Warning;
    }
    alerts[2].is_already_so = true;
    for alert in &mut alerts[30..] {
        alert.ended_at = Some(at("11:04"));
    }
    let quiet = |id: &str, reason| Suppressed {
        id: id.to_owned(),
        headline: "Slow: x".to_owned(),
        reason,
    };
    Notification {
        suppressed: vec![
            quiet("q1", SuppressionReason::Silenced("s1".to_owned())),
            quiet("q2", SuppressionReason::Silenced("s1".to_owned())),
            quiet("q3", SuppressionReason::Muted("weekend".into())),
        ],
        ..notification(0, Reason::First, alerts)
    }
}

pub(crate) fn notice() -> Notification {
    Notification {
        body: Body::Notice {
            headline: "rules/finance.toml was not reloaded: line 12".to_owned(),
            text: "unknown key `maxx`\nthe old rules stay in force".to_owned(),
        },
        ..notification(0, Reason::Notice, Vec::new())
    }
}

/// Texts that try to ping, link, inject, reorder, hide, or be too long.
pub(crate) const HOSTILE: &[&str] = &[
    "@everyone <@123456789012345678> <@&1> <#2>",
    "<!channel> <!here> <@U123> <http://evil|run>",
    "</td><script>alert(1)</script><img src=x onerror=alert(1)>",
    "a\r\nBcc: evil@example.com\r\n\r\n<html>",
    "\u{202e}gnp.exe\u{202c} \u{2066}x\u{2069} \u{200f}\u{200e}y",
    "ze\u{200b}ro\u{feff}wi\u{2060}dth \0nul \u{7}bell",
    "\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7} \u{9b}2J",
    "```\n*bold* _it_ ~no~ `code` ||spoiler|| [a](http://evil) # head",
    "👩\u{200d}💻🚀 astral 𝕏 数据 مرحبا",
    "&amp; &lt;b&gt; {{ 7*7 }} {% raw %} ${x} %0d%0aBcc:x",
    "?q=\"><script>alert(1)</script>' onmouseover=alert(1) x=\"",
    "<!-- --> ]]> <![endif]--> --> </style></title></mj-text> {% endfor %} {# x #}",
    "",
    "   ",
];

/// Every text of the alert is `text`.
pub(crate) fn hostile(text: &str) -> Notification {
    let alert = AlertView {
        id: text.chars().take(12).collect(),
        rule: text.into(),
        kind: text.into(),
        origin: text.to_owned(),
        labels: Labels::default().with("project", text).with("job", text),
        headline: text.to_owned(),
        facts: vec![Fact::new(text, text), Fact::new("Observed", text)],
        error: Some(text.to_owned()),
        run_url: Some(format!("https://x/{text}")),
        description: Some(text.to_owned()),
        runbook: Some(text.to_owned()),
        owner: Some(text.to_owned()),
        ..alert("x")
    };
    Notification {
        receiver: text.into(),
        route: text.into(),
        group: alert.labels.clone(),
        suppressed: vec![Suppressed {
            id: text.to_owned(),
            headline: text.to_owned(),
            reason: SuppressionReason::Silenced(text.to_owned()),
        }],
        ..notification(0, Reason::First, vec![alert])
    }
}

/// A megabyte in every text, of characters that count double or grow when escaped.
pub(crate) fn long(unit: &str) -> Notification {
    let text = unit.repeat((1 << 20) / unit.len());
    let mut long = hostile(&text);
    if let Body::Alerts(alerts) = &mut long.body {
        alerts[0].facts = vec![Fact::new(&unit.repeat(300), unit.repeat(3000)); 40];
        *alerts = vec![alerts[0].clone(); 3];
    }
    long
}
