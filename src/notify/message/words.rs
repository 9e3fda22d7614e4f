//! The words of a message: its first line, its summary, its topic.

use std::collections::BTreeMap;

use super::super::digest as digest_words;
use super::super::limits::message as limits;
use super::super::text;
use super::{headline, line, whole_tone};
use crate::engine::flapping::FLAPPING;
use crate::engine::labels::Labels;
use crate::engine::notification::{AlertView, Body, Notification, Reason, Rollup, Suppressed};
use crate::engine::time::human_span;

pub(super) fn alerts(notification: &Notification) -> &[AlertView] {
    match &notification.body {
        Body::Alerts(alerts) => alerts,
        Body::Notice { .. } | Body::Digest(_) => &[],
    }
}

/// The alert the first line is about: the worst one; the worst new one when others joined.
pub(crate) fn lead(notification: &Notification) -> Option<&AlertView> {
    let alerts = alerts(notification);
    let worst = |is_wanted: &dyn Fn(&AlertView) -> bool| {
        let wanted = alerts.iter().filter(|alert| is_wanted(alert));
        // The first among equals: the engine has put them in order.
        wanted.rev().max_by_key(|alert| alert.severity)
    };
    let is_firing = |alert: &AlertView| alert.ended_at.is_none();
    let joined = (notification.reason == Reason::NewAlerts)
        .then(|| worst(&|alert| is_firing(alert) && alert.is_new))
        .flatten();
    let flapping = (notification.reason == Reason::Flapping)
        .then(|| worst(&|alert| is_firing(alert) && alert.headline.starts_with(FLAPPING)))
        .flatten();
    joined
        .or(flapping)
        .or_else(|| worst(&is_firing))
        .or_else(|| worst(&|_| true))
}

pub(super) fn first_line(notification: &Notification) -> String {
    let alerts = alerts(notification);
    let Some(alert) = lead(notification) else {
        return match &notification.body {
            Body::Notice { headline, .. } => line(headline, limits::HEADLINE),
            Body::Digest(digest) => match line(&digest.verdict, limits::HEADLINE) {
                verdict if verdict.is_empty() => "A digest".to_owned(),
                verdict => verdict,
            },
            Body::Alerts(_) => "Nothing fires".to_owned(),
        };
    };
    let said = if notification.is_ending() {
        ending(notification, alert)
    } else {
        state(notification, alert)
    };
    let counted = alerts
        .iter()
        .filter(|alert| notification.is_ending() || alert.ended_at.is_none());
    let told = rollup_of(notification, alert).map_or(1, |rollup| rollup.ids.len());
    match counted.count().saturating_sub(told) {
        0 => said,
        more => format!("{said} and {more} more"),
    }
}

/// `Recovered: finance nightly-refresh succeeded (lasted 42 min)`.
fn ending(notification: &Notification, alert: &AlertView) -> String {
    let headline = said(notification, alert);
    let lasted = alert
        .ended_at
        .map(|ended_at| human_span(ended_at.since(alert.began_at)))
        .unwrap_or_default();
    match notification.reason {
        Reason::Undeliverable => format!("Not told elsewhere. {headline} (lasted {lasted})"),
        _ => format!("{headline} (lasted {lasted})"),
    }
}

/// What alerts are told together with this one.
fn rollup_of<'a>(notification: &'a Notification, alert: &AlertView) -> Option<&'a Rollup> {
    let rollup = notification.rollup.as_ref()?;
    rollup.ids.contains(&alert.id).then_some(rollup)
}

/// The headline of an alert, or of all that are told together with it.
fn said(notification: &Notification, alert: &AlertView) -> String {
    match rollup_of(notification, alert) {
        Some(rollup) => line(&rollup.headline, limits::HEADLINE),
        None => headline(alert),
    }
}

fn state(notification: &Notification, alert: &AlertView) -> String {
    let headline = said(notification, alert);
    let open = human_span(notification.decided_at.since(alert.began_at));
    match notification.reason {
        Reason::First
        | Reason::NewAlerts
        | Reason::AllResolved
        | Reason::Notice
        | Reason::Digest => headline,
        Reason::Acknowledged => match &alert.acknowledged {
            Some(known) => format!(
                "Acknowledged by {}: {headline}",
                line(&known.by, limits::NAME)
            ),
            None => format!("Not acknowledged any more: {headline}"),
        },
        Reason::Silenced => match &alert.silenced {
            Some(known) => format!("Silenced by {}: {headline}", line(&known.by, limits::NAME)),
            None => format!("Not silenced any more: {headline}"),
        },
        // The headline of what flaps says so itself.
        Reason::Flapping if headline.starts_with(FLAPPING) => headline,
        Reason::Flapping => format!("{FLAPPING}{headline}"),
        Reason::Reminder => format!("Still so after {open}: {headline}"),
        Reason::Escalated => format!("Not acknowledged, {open}: {headline}"),
        Reason::Upgraded => format!("Now {}: {headline}", alert.severity.as_str()),
        Reason::Changed => format!("Changed: {headline}"),
        Reason::SomeResolved => format!("Some recovered; still: {headline}"),
        Reason::RuleRemoved => format!("A rule was removed; still: {headline}"),
        Reason::Undeliverable => format!("Not told elsewhere: {headline}"),
    }
}

pub(super) fn summary(notification: &Notification) -> String {
    if let Body::Digest(digest) = &notification.body {
        return digest_words::about(digest);
    }
    let mut parts = vec![whole_tone(notification).word().to_owned()];
    parts.extend(reason_words(notification.reason).map(str::to_owned));
    let alerts = alerts(notification);
    let firing = alerts
        .iter()
        .filter(|alert| alert.ended_at.is_none())
        .count();
    match alerts.len() {
        0 | 1 => {}
        all if firing == all || firing == 0 => parts.push(format!("{all} alerts")),
        all => parts.push(format!("{all} alerts, {firing} still firing")),
    }
    parts.join(", ")
}

fn reason_words(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::First | Reason::AllResolved | Reason::Notice | Reason::Digest => None,
        Reason::Acknowledged => Some("acknowledgement"),
        Reason::Silenced => Some("silence"),
        Reason::NewAlerts => Some("more alerts joined"),
        Reason::Escalated => Some("escalated"),
        Reason::Upgraded => Some("got worse"),
        Reason::Changed => Some("changed"),
        Reason::SomeResolved => Some("some resolved"),
        Reason::Reminder => Some("reminder"),
        Reason::Flapping => Some("flapping"),
        Reason::RuleRemoved => Some("rule removed"),
        Reason::Undeliverable => Some("passed on because another receiver could not be told"),
    }
}

pub(super) fn suppressed(suppressed: &[Suppressed]) -> Option<String> {
    if suppressed.is_empty() {
        return None;
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for alert in suppressed {
        *counts
            .entry(line(&alert.reason.to_string(), limits::NAME))
            .or_default() += 1;
    }
    let mut reasons: Vec<(String, usize)> = counts.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let others: usize = reasons
        .iter()
        .skip(limits::SUPPRESSION_REASONS)
        .map(|(_, count)| count)
        .sum();
    reasons.truncate(limits::SUPPRESSION_REASONS);
    let mut parts: Vec<String> = reasons
        .into_iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    if others > 0 {
        parts.push(format!("{others} for other reasons"));
    }
    Some(format!(
        "{} kept quiet: {}",
        suppressed.len(),
        parts.join(", ")
    ))
}

/// `finance nightly-refresh`, from the labels that name a subject.
pub(super) fn subject_of(labels: &Labels) -> String {
    let parts = ["project", "job", "model"].map(|name| labels.get(name));
    let parts = parts.map(|part| line(part, limits::NAME));
    let named: Vec<&str> = parts
        .iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    if named.is_empty() {
        return line(labels.get("source"), limits::NAME);
    }
    text::cut(&named.join(" "), limits::NAME)
}

pub(super) fn kind_words(alert: &AlertView) -> String {
    line(&alert.kind, limits::NAME).replace('_', " ")
}

pub(super) fn topic(notification: &Notification) -> String {
    let Some(alert) = lead(notification) else {
        let said = first_line(notification);
        return match &notification.body {
            Body::Digest(digest) => match digest.name.as_deref() {
                Some(name) => format!("{}: {said}", line(name, limits::NAME)),
                None => said,
            },
            Body::Alerts(_) | Body::Notice { .. } => said,
        };
    };
    let group = subject_of(&notification.group);
    let subject = if group.is_empty() {
        subject_of(&alert.labels)
    } else {
        group
    };
    if subject.is_empty() {
        return kind_words(alert);
    }
    format!("{subject}: {}", kind_words(alert))
}

pub(super) fn severity_word(notification: &Notification) -> &'static str {
    match notification.body {
        Body::Notice { .. } => "notice",
        Body::Digest(_) => "digest",
        Body::Alerts(_) => notification.severity().as_str(),
    }
}

/// Mentioned when an alert opens and when it escalates, never otherwise.
pub(super) fn mentioned(notification: &Notification) -> Vec<String> {
    let is_escalated = notification.reason == Reason::Escalated;
    let is_told = |alert: &&AlertView| {
        alert.ended_at.is_none()
            && (is_escalated || (alert.is_new && notification.reason.is_pinging()))
    };
    let mut owners = Vec::new();
    for owner in alerts(notification)
        .iter()
        .filter(is_told)
        .filter_map(|alert| alert.owner.as_ref())
    {
        if !owners.contains(owner) {
            owners.push(owner.clone());
        }
    }
    owners.truncate(10);
    owners
}
