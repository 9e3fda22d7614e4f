//! What a template may name.

use std::sync::Arc;

use chrono_tz::Tz;
use minijinja::context;
use minijinja::value::{Enumerator, Object, Value};

use super::super::limits::message as limits;
use super::super::message::{Card, Message, Runbook, line};
use super::name;
use crate::engine::annotate::FACT_NAMES;
use crate::engine::labels::Labels;
use crate::engine::notification::{AlertView, Body, Notification};
use crate::engine::time::{Timestamp, human_span, human_time};

/// Every name at the top, as `docs/templates.md` describes it.
pub const NAMES: [&str; 17] = [
    "alert",
    "alerts",
    "decided_at",
    "group",
    "headline",
    "is_ending",
    "is_opening",
    "is_pinging",
    "more",
    "omitted",
    "reason",
    "receiver",
    "route",
    "severity",
    "summary",
    "suppressed",
    "tone",
];

/// Every name of an alert.
pub const ALERT_NAMES: [&str; 26] = [
    "acknowledged",
    "began_at",
    "description",
    "ended_at",
    "error",
    "fact",
    "facts",
    "fired_at",
    "headline",
    "id",
    "is_already_so",
    "is_new",
    "kind",
    "labels",
    "notes",
    "open_for",
    "origin",
    "owner",
    "rule",
    "run_url",
    "runbook",
    "severity",
    "silenced",
    "state",
    "tone",
    "why",
];

/// Facts that alerts have besides those of their kind.
const OTHER_FACTS: [&str; 2] = ["accepted_by", "was"];

/// The values for one message.
pub(super) fn of(message: &Message, notification: &Notification, zone: Tz) -> Value {
    let now = notification.decided_at;
    let views: &[AlertView] = match &notification.body {
        Body::Alerts(alerts) => alerts,
        Body::Notice { .. } | Body::Digest(_) => &[],
    };
    let pairs = views.iter().zip(&message.cards);
    let alerts: Vec<Value> = pairs
        .map(|(view, card)| alert(view, card, now, zone))
        .collect();
    let lead = alerts.get(message.lead_index(notification)).cloned();
    context! {
        receiver => name(&notification.receiver),
        route => name(&notification.route),
        reason => notification.reason.as_str(),
        severity => message.severity,
        tone => message.tone.word(),
        headline => message.first_line.clone(),
        summary => message.summary.clone(),
        is_opening => message.is_opening,
        is_ending => message.is_ending,
        is_pinging => message.is_pinging,
        group => labels(&notification.group),
        alert => lead,
        alerts => alerts,
        suppressed => message.suppressed.clone().unwrap_or_default(),
        omitted => message.counted.len() + message.hidden_alerts,
        more => message.remainder(message.cards.len()).unwrap_or_default(),
        decided_at => message.decided.clone(),
    }
}

fn alert(view: &AlertView, card: &Card, now: Timestamp, zone: Tz) -> Value {
    let time = |at: Timestamp| human_time(at, now, zone);
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    let facts = card.facts.iter();
    let list: Vec<Value> = facts
        .clone()
        .map(|fact| context! { name => fact.name.clone(), value => fact.value.clone() })
        .collect();
    let by_key = facts.map(|fact| (key(&fact.name), fact.value.clone()));
    let until = view.ended_at.unwrap_or(now);
    context! {
        id => card.id.clone(),
        rule => card.rule.clone(),
        kind => name(&view.kind),
        origin => card.origin.clone(),
        severity => view.severity.as_str(),
        tone => card.tone.word(),
        state => if view.ended_at.is_some() { "resolved" } else { "firing" },
        headline => card.headline.clone(),
        facts => list,
        fact => Value::from_object(Texts { pairs: by_key.collect(), may_lack: is_fact }),
        labels => labels(&view.labels),
        error => text(card.error.as_ref()),
        run_url => text(card.run_url.as_ref()),
        runbook => card.runbook.as_ref().map_or("", |runbook| match runbook {
            Runbook::Link(text) | Runbook::Text(text) => text,
        }),
        owner => text(card.owner.as_ref()),
        description => text(card.description.as_ref()),
        began_at => time(view.began_at),
        fired_at => time(view.fired_at),
        ended_at => view.ended_at.map(time).unwrap_or_default(),
        open_for => human_span(until.since(view.began_at)),
        acknowledged => view.acknowledged.as_ref().map(|known| context! {
            by => name(&known.by),
            until => time(known.until),
            comment => line(known.comment.as_deref().unwrap_or_default(), limits::FACT_VALUE),
        }),
        silenced => view.silenced.as_ref().map(|known| context! {
            id => name(&known.id),
            by => name(&known.by),
            until => time(known.until),
            comment => line(&known.comment, limits::FACT_VALUE),
        }),
        notes => card.notes.clone(),
        why => card.why_command(),
        is_new => view.is_new,
        is_already_so => view.is_already_so,
    }
}

/// `Last good run` is `fact.last_good_run`.
fn key(fact: &str) -> String {
    fact.to_lowercase().replace(' ', "_")
}

fn is_fact(name: &str) -> bool {
    FACT_NAMES.contains(&name) || OTHER_FACTS.contains(&name)
}

fn labels(labels: &Labels) -> Value {
    let pairs = labels
        .iter()
        .map(|(label, value)| (name(label), name(value)));
    Value::from_object(Texts {
        pairs: pairs.collect(),
        // As for matchers: a label that is not there is empty.
        may_lack: |_| true,
    })
}

/// Texts by name; one that is not there is empty when it may be missing, and a mistake otherwise.
#[derive(Debug)]
struct Texts {
    pairs: Vec<(String, String)>,
    may_lack: fn(&str) -> bool,
}

impl Object for Texts {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let wanted = key.as_str()?;
        let found = self.pairs.iter().find(|(name, _)| name == wanted);
        let text = found.map(|(_, value)| value.as_str());
        text.or_else(|| (self.may_lack)(wanted).then_some(""))
            .map(Value::from)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let names = self
            .pairs
            .iter()
            .map(|(name, _)| Value::from(name.as_str()));
        Enumerator::Values(names.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::notification::Reason;
    use crate::notify::sample;

    fn names_of(value: &Value) -> Vec<String> {
        let mut names: Vec<String> = value
            .try_iter()
            .unwrap()
            .map(|name| name.to_string())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn every_name_is_listed_and_described() {
        let told = sample::told("team", Reason::First, sample::alert(true), sample::at());
        let message = Message::new(&told, Tz::UTC);
        let values = of(&message, &told, Tz::UTC);
        assert_eq!(names_of(&values), NAMES);
        assert_eq!(names_of(&values.get_attr("alert").unwrap()), ALERT_NAMES);
        let page = include_str!("../../../docs/templates.md");
        for name in NAMES.iter().chain(&ALERT_NAMES) {
            assert!(page.contains(&format!("| `{name}` |")), "describe `{name}`");
        }
    }

    #[test]
    fn facts_that_a_kind_may_have_are_empty_and_others_are_not_there() {
        let told = sample::told("team", Reason::First, sample::alert(true), sample::at());
        let values = of(&Message::new(&told, Tz::UTC), &told, Tz::UTC);
        let alert = values.get_attr("alert").unwrap();
        let fact = alert.get_attr("fact").unwrap();
        assert_eq!(
            fact.get_attr("last_good_run").unwrap().to_string(),
            "9 Mar 06:31 UTC"
        );
        assert_eq!(fact.get_attr("robust_z").unwrap().to_string(), "");
        assert!(fact.get_attr("usul").unwrap().is_undefined());
        let labels = alert.get_attr("labels").unwrap();
        assert_eq!(labels.get_attr("team").unwrap().to_string(), "");
    }

    #[test]
    fn values_are_cleaned_and_masked() {
        let mut alert = sample::alert(true);
        alert.labels = Labels::default().with("job", "a\r\nb \u{202e}c password=hunter2");
        alert.error = Some("token=hunter2".to_owned());
        let told = sample::told("team", Reason::Acknowledged, alert, sample::at());
        let shown = of(&Message::new(&told, Tz::UTC), &told, Tz::UTC).to_string();
        let bad = |c: char| c.is_control() || c == '\u{202e}';
        assert!(
            !shown.contains("hunter2") && !shown.contains(bad),
            "{shown}"
        );
        assert!(shown.contains("a b c password=***"), "{shown}");
    }
}
