#![doc = include_str!("../../docs/webhook.md")]

use std::pin::Pin;

use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Method;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use sha2::Sha256;

use super::http::{self, Client, Endpoint, Reply};
use super::limits::webhook as limits;
use super::mask::mask;
use super::message::{Card, Message, Runbook};
use super::{
    BuildContext, BuildError, Delivery, Notifier, Outcome, Preview, PreviewForm, Writer, text,
};
use crate::engine::labels::Labels;
use crate::engine::notification::{AlertView, Body, Fact, Notification, Reason, Suppressed};
use crate::engine::time::Timestamp;

/// Posts signed JSON.
pub(super) struct Webhook {
    client: Client,
    secret: Option<SecretString>,
    writer: Writer,
}

impl Webhook {
    pub(super) fn new(
        receiver: &str,
        url: &SecretString,
        secret: Option<&SecretString>,
        context: &BuildContext,
    ) -> Result<Self, BuildError> {
        Ok(Self {
            client: Client::new(Endpoint::new(url, receiver, false)?, context)?,
            secret: secret.cloned(),
            writer: context.writer(),
        })
    }

    async fn attempt(&self, delivery: Delivery<'_>) -> Result<Outcome, Outcome> {
        let notification = delivery.notification;
        let message = self.writer.message(notification);
        let body = body(notification, &message).map_err(|error| Outcome::Rejected {
            why: format!("the message cannot be written as JSON: {error}"),
        })?;
        let url = self.client.endpoint().url().clone();
        let timestamp = notification.decided_at.as_millis().div_euclid(1000);
        let signature = self
            .secret
            .as_ref()
            .map(|secret| signature(secret, timestamp, &body));
        let mut request = http::json(Method::POST, url, body);
        let mut set = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                request.headers_mut().insert(name, value);
            }
        };
        set("x-tardy-delivery", &message.delivery_id);
        set("x-tardy-timestamp", &timestamp.to_string());
        if let Some(signature) = &signature {
            set("x-tardy-signature", signature);
        }
        let reply = self.client.attempt().send(request).await?;
        Ok(self.outcome(&reply))
    }

    fn outcome(&self, reply: &Reply) -> Outcome {
        if reply.status.is_success() {
            return Outcome::Delivered { handle: None };
        }
        let said = self.client.endpoint().scrub(&reply.text());
        let remedy = match reply.status.as_u16() {
            401 | 403 => "check its url and its secret",
            404 | 410 => "there is nothing at its url; check it",
            413 => "it takes no message of this size; raise its limit",
            _ => return reply.outcome(&said),
        };
        let colon = if said.is_empty() { "" } else { ", saying " };
        let status = reply.status.as_u16();
        Outcome::Rejected {
            why: format!("the receiver refused the message ({status}{colon}{said}): {remedy}"),
        }
    }
}

impl Notifier for Webhook {
    fn deliver<'a>(
        &'a self,
        delivery: Delivery<'a>,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        super::ended(self.attempt(delivery))
    }

    fn preview(&self, delivery: Delivery<'_>) -> Vec<Preview> {
        let notification = delivery.notification;
        let message = self.writer.message(notification);
        let Ok(body) = body(notification, &message) else {
            return Vec::new();
        };
        let timestamp = notification.decided_at.as_millis().div_euclid(1000);
        let signature = match self.secret {
            Some(_) => "\nX-Tardy-Signature: v1=… (made when it is sent)",
            None => "",
        };
        let headers = format!(
            "Content-Type: application/json\nX-Tardy-Delivery: {}\nX-Tardy-Timestamp: {timestamp}{signature}",
            message.delivery_id
        );
        let part = |title, form, text| Preview { title, form, text };
        vec![
            part("headers", PreviewForm::Headers, headers),
            part(
                "POST",
                PreviewForm::Json,
                String::from_utf8_lossy(&body).into_owned(),
            ),
        ]
    }
}

/// The value of `X-Tardy-Signature`: `v1=` and the hex HMAC-SHA256, keyed with the secret, of
/// `v1:<timestamp>:<body>`.
pub fn signature(secret: &SecretString, timestamp: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        .expect("HMAC takes keys of every length");
    mac.update(format!("v1:{timestamp}:").as_bytes());
    mac.update(body);
    format!("v1={}", hex::encode(mac.finalize().into_bytes()))
}

#[derive(Serialize)]
struct Envelope<'a> {
    version: u8,
    event: &'static str,
    delivery_id: &'a str,
    conversation: String,
    sequence: u32,
    reason: &'static str,
    decided_at: Timestamp,
    receiver: String,
    route: String,
    severity: &'static str,
    headline: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_error: Option<&'a str>,
    group: serde_json::Value,
    alerts: Vec<Alert<'a>>,
    omitted_alerts: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<Notice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<serde_json::Value>,
    suppressed: Vec<Quiet>,
}

#[derive(Serialize)]
struct Notice<'a> {
    headline: &'a str,
    text: &'a str,
}

#[derive(Serialize)]
struct Quiet {
    id: String,
    headline: String,
    reason: String,
}

#[derive(Serialize)]
struct Alert<'a> {
    id: &'a str,
    status: &'static str,
    severity: &'static str,
    headline: &'a str,
    rule: &'a str,
    kind: String,
    origin: &'a str,
    labels: serde_json::Value,
    facts: &'a [Fact],
    error: Option<&'a str>,
    description: Option<&'a str>,
    run_url: Option<&'a str>,
    runbook: Option<&'a str>,
    owner: Option<&'a str>,
    began_at: Timestamp,
    fired_at: Timestamp,
    ended_at: Option<Timestamp>,
    is_new: bool,
    is_already_so: bool,
    acknowledged: Option<Acknowledged>,
    silenced: Option<Silenced>,
}

#[derive(Serialize)]
struct Acknowledged {
    by: String,
    until: Timestamp,
    comment: Option<String>,
}

#[derive(Serialize)]
struct Silenced {
    id: String,
    by: String,
    until: Timestamp,
    comment: String,
}

fn body(notification: &Notification, message: &Message) -> serde_json::Result<Vec<u8>> {
    let alerts: &[AlertView] = match &notification.body {
        Body::Alerts(alerts) => alerts,
        Body::Notice { .. } | Body::Digest(_) => &[],
    };
    let cards = message.cards.iter().chain(&message.counted);
    let shown = cards.clone().count().min(limits::ALERTS);
    let pairs = alerts.iter().zip(cards).take(shown);
    serde_json::to_vec(&Envelope {
        version: 1,
        event: event(notification),
        delivery_id: &message.delivery_id,
        conversation: notification.conversation.to_string(),
        sequence: notification.sequence,
        reason: notification.reason.as_str(),
        decided_at: notification.decided_at,
        receiver: text::line(&notification.receiver, limits::LABEL),
        route: text::line(&notification.route, limits::LABEL),
        severity: message.severity,
        headline: &message.first_line,
        text: message.body.as_deref(),
        template_error: message.note.as_deref(),
        group: labels(&notification.group),
        alerts: pairs
            .map(|(alert, card)| self::alert(alert, card))
            .collect(),
        omitted_alerts: alerts.len() - shown + notification.omitted,
        digest: match &notification.body {
            Body::Digest(digest) => Some(super::digest::json(digest)?),
            Body::Alerts(_) | Body::Notice { .. } => None,
        },
        notice: message.notice.as_deref().map(|text| Notice {
            headline: &message.first_line,
            text,
        }),
        suppressed: notification
            .suppressed
            .iter()
            .take(limits::ALERTS)
            .map(quiet)
            .collect(),
    })
}

fn alert<'a>(alert: &'a AlertView, card: &'a Card) -> Alert<'a> {
    Alert {
        id: &card.id,
        status: if alert.ended_at.is_some() {
            "resolved"
        } else {
            "firing"
        },
        severity: alert.severity.as_str(),
        headline: &card.headline,
        rule: &card.rule,
        kind: text::line(&alert.kind, limits::LABEL),
        origin: &card.origin,
        labels: labels(&alert.labels),
        facts: &card.facts,
        error: card.error.as_deref(),
        description: card.description.as_deref(),
        run_url: card.run_url.as_deref(),
        runbook: card.runbook.as_ref().map(|runbook| match runbook {
            Runbook::Link(text) | Runbook::Text(text) => text.as_str(),
        }),
        owner: card.owner.as_deref(),
        began_at: alert.began_at,
        fired_at: alert.fired_at,
        ended_at: alert.ended_at,
        is_new: alert.is_new,
        is_already_so: alert.is_already_so,
        acknowledged: alert.acknowledged.as_ref().map(|known| Acknowledged {
            by: text::line(&known.by, limits::LABEL),
            until: known.until,
            comment: known.comment.as_deref().map(said),
        }),
        silenced: alert.silenced.as_ref().map(|known| Silenced {
            id: text::line(&known.id, limits::LABEL),
            by: text::line(&known.by, limits::LABEL),
            until: known.until,
            comment: said(&known.comment),
        }),
    }
}

/// What a person or a rule said.
fn said(comment: &str) -> String {
    mask(&text::line(comment, limits::LABEL))
}

fn quiet(suppressed: &Suppressed) -> Quiet {
    Quiet {
        id: text::line(&suppressed.id, limits::LABEL),
        headline: said(&suppressed.headline),
        reason: text::line(&suppressed.reason.to_string(), limits::LABEL),
    }
}

/// Values as they are, since receivers compare them; only bounded.
fn labels(labels: &Labels) -> serde_json::Value {
    let pairs = labels.iter().take(limits::LABELS);
    pairs
        .map(|(name, value)| {
            (
                text::cut(name, limits::LABEL),
                text::cut(value, limits::LABEL),
            )
        })
        .collect()
}

/// What happened, in the words receivers switch on.
fn event(notification: &Notification) -> &'static str {
    match notification.body {
        Body::Notice { .. } => return "notice",
        Body::Digest(_) => return "digest",
        Body::Alerts(_) => {}
    }
    if notification.is_ending() {
        return "resolved";
    }
    match notification.reason {
        Reason::First | Reason::Undeliverable => "firing",
        Reason::Reminder | Reason::Escalated => "reminder",
        Reason::NewAlerts
        | Reason::Upgraded
        | Reason::Changed
        | Reason::SomeResolved
        | Reason::AllResolved
        | Reason::Flapping
        | Reason::RuleRemoved
        | Reason::Acknowledged
        | Reason::Silenced
        | Reason::Digest
        | Reason::Notice => "updated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's hmac, as `docs/webhook.md` shows.
    #[test]
    fn the_signature_is_what_the_documentation_computes() {
        let signature = signature(&"swordfish".into(), 1_773_144_300, br#"{"version":1}"#);
        assert_eq!(
            signature,
            "v1=cff9e32596d0d2975da4dddb272f67710ea48d0c9801b40b39473a9f65effd6d"
        );
    }
}
