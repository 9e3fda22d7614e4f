//! The bodies of events, within PagerDuty's limits.

use serde_json::{Map, Value, json};

use super::plan::Event;
use crate::engine::labels::Labels;
use crate::engine::notification::{AlertView, Body, Fact, Notification, Reason};
use crate::engine::rule::Severity;
use crate::notify::limits::pagerduty as limits;
use crate::notify::mask::mask;
use crate::notify::message::{Card, Detail, Message, Runbook};
use crate::notify::text;

/// The body of an event, without its routing key.
pub(super) fn body(event: &Event, notification: &Notification, message: &Message) -> Value {
    let (action, key, replaces) = match event {
        Event::Change => return change(notification, message),
        Event::Trigger { key, replaces } => ("trigger", key, replaces.as_deref()),
        Event::Acknowledge { key } => ("acknowledge", key, None),
        Event::Resolve { key } => ("resolve", key, None),
    };
    let mut details = details(notification, message);
    if let Some(replaced) = replaces {
        let why = format!("{}: paged again, instead of {replaced}", message.summary);
        details.insert("page".to_owned(), json!(why));
    }
    if notification.reason == Reason::Undeliverable {
        let words =
            "Tardy sends no end for this one: look at what was missed, then resolve it by hand";
        details.insert("end".to_owned(), json!(words));
    }
    json!({
        "event_action": action,
        "dedup_key": key,
        "client": "Tardy",
        "links": links(message),
        "payload": payload(notification, message, &details),
    })
}

/// The end of an incident that another one has replaced.
pub(super) fn replaced(key: &str, notification: &Notification, message: &Message) -> Value {
    let mut details = Map::new();
    let words = "another incident has taken its place, to page again";
    details.insert("page".to_owned(), json!(words));
    json!({
        "event_action": "resolve",
        "dedup_key": key,
        "client": "Tardy",
        "payload": payload(notification, message, &details),
    })
}

fn change(notification: &Notification, message: &Message) -> Value {
    json!({
        "payload": {
            "summary": text::cut(&message.first_line, limits::SUMMARY),
            "source": "tardy",
            "timestamp": notification.decided_at.to_string(),
            "custom_details": details(notification, message),
        },
    })
}

fn payload(notification: &Notification, message: &Message, details: &Map<String, Value>) -> Value {
    let lead = lead(notification);
    let named = |labels: &Labels| ["project", "job", "model"].map(|name| shown(labels.get(name)));
    let mut subject = named(&notification.group);
    if let Some(alert) = lead.filter(|_| subject.iter().all(String::is_empty)) {
        subject = named(&alert.labels);
    }
    let source = match text::line(&subject.join(" "), limits::FIELD) {
        source if source.is_empty() => "tardy".to_owned(),
        source => source,
    };
    let [project, job, model] = subject;
    let component = if model.is_empty() { job } else { model };
    let class = lead.map(|alert| shown(&alert.kind)).unwrap_or_default();
    let mut payload = json!({
        "summary": text::cut(&message.first_line, limits::SUMMARY),
        "source": source,
        "severity": severity(notification),
        "timestamp": notification.decided_at.to_string(),
        "custom_details": details,
    });
    for (name, value) in [
        ("component", component),
        ("group", project),
        ("class", class),
    ] {
        if !value.is_empty() {
            payload[name] = json!(value);
        }
    }
    payload
}

/// PagerDuty's words. What the fallback hears is an error: somebody was not told.
fn severity(notification: &Notification) -> &'static str {
    match (&notification.body, notification.severity()) {
        (Body::Notice { .. } | Body::Digest(_), _) => "error",
        (Body::Alerts(_), Severity::Critical) => "critical",
        (Body::Alerts(_), Severity::Warning) => "warning",
        (Body::Alerts(_), Severity::Info) => "info",
    }
}

fn lead(notification: &Notification) -> Option<&AlertView> {
    match &notification.body {
        Body::Alerts(alerts) => alerts.first(),
        Body::Notice { .. } | Body::Digest(_) => None,
    }
}

fn shown(text: &str) -> String {
    text::line(&mask(&text::line(text, limits::FIELD)), limits::FIELD)
}

/// What the person reads who was woken: bounded, flat enough for a phone.
fn details(notification: &Notification, message: &Message) -> Map<String, Value> {
    let mut details = Map::new();
    let mut say = |name: &str, value: Value| details.insert(name.to_owned(), value);
    say("what", json!(message.summary));
    if let Some(text) = message.notice.as_ref().or(message.body.as_ref()) {
        say("text", json!(text));
    }
    let (alerts, shown) = if message.body.is_some() {
        (Vec::new(), message.cards.len())
    } else {
        let alerts = alerts(notification, message);
        let shown = alerts.len();
        (alerts, shown)
    };
    if let Some(more) = message.remainder(shown) {
        say("more", json!(more));
    }
    if !alerts.is_empty() {
        say("alerts", Value::Array(alerts));
    }
    details
}

/// As many alerts as fit, in as much detail as fits.
fn alerts(notification: &Notification, message: &Message) -> Vec<Value> {
    let views: &[AlertView] = match &notification.body {
        Body::Alerts(alerts) => alerts,
        Body::Notice { .. } | Body::Digest(_) => &[],
    };
    let mut used = 0;
    let mut alerts = Vec::new();
    let cards = message.cards.iter().zip(views).take(limits::ALERTS);
    for (index, (card, view)) in cards.enumerate() {
        let details = match index {
            0..3 => &[Detail::Full, Detail::Brief, Detail::Minimal][..],
            _ => &[Detail::Brief, Detail::Minimal],
        };
        let fitting = details.iter().find_map(|detail| {
            let alert = alert(&card.at(*detail), &view.labels);
            let size = alert.to_string().len() + 1;
            (used + size <= limits::DETAILS_BYTES).then_some((alert, size))
        });
        let Some((alert, size)) = fitting else {
            break;
        };
        used += size;
        alerts.push(alert);
    }
    alerts
}

fn alert(card: &Card, labels: &Labels) -> Value {
    let facts = card.facts.iter().chain([&card.duration]);
    let mut facts: Vec<String> = facts
        .map(|Fact { name, value }| format!("{name}: {value}"))
        .collect();
    if card.hidden_facts > 0 {
        facts.push(format!("{} facts not shown", card.hidden_facts));
    }
    let mut alert = json!({
        "alert": card.worded_headline(),
        "facts": facts,
        "labels": pairs(labels),
        "rule": card.rule_with_origin(),
        "why": card.why_command(),
    });
    let runbook = card.runbook.as_ref().map(|runbook| match runbook {
        Runbook::Link(text) | Runbook::Text(text) => text,
    });
    let notes = (!card.notes.is_empty()).then(|| card.notes.join(", "));
    for (name, value) in [
        ("error", card.error.as_ref()),
        ("description", card.description.as_ref()),
        ("owner", card.owner.as_ref()),
        ("run", card.run_url.as_ref()),
        ("runbook", runbook),
        ("notes", notes.as_ref()),
    ] {
        if let Some(value) = value {
            alert[name] = json!(value);
        }
    }
    alert
}

/// `job=nightly-refresh project=finance`.
fn pairs(labels: &Labels) -> String {
    let pairs = labels.iter().take(limits::LABELS);
    let pairs: Vec<String> = pairs
        .map(|(name, value)| format!("{}={}", shown(name), shown(value)))
        .collect();
    pairs.join(" ")
}

/// Runs and runbooks, worst alert first, without repeats.
fn links(message: &Message) -> Vec<Value> {
    let mut links: Vec<(&str, &str)> = Vec::new();
    for card in &message.cards {
        let runbook = match &card.runbook {
            Some(Runbook::Link(url)) => Some((url.as_str(), "Runbook")),
            Some(Runbook::Text(_)) | None => None,
        };
        let run = card.run_url.as_deref().map(|url| (url, "Run"));
        for link in run.into_iter().chain(runbook) {
            if links.len() < limits::LINKS && !links.contains(&link) {
                links.push(link);
            }
        }
    }
    let link = |(href, text)| json!({ "href": href, "text": text });
    links.into_iter().map(link).collect()
}
