//! PagerDuty through its Events API v2.
//!
//! One incident for each conversation: the first message triggers it, the last one resolves it, a person's
//! acknowledgement acknowledges it; where PagerDuty would be silent and somebody must know, a new incident
//! takes its place (see [`plan()`], and `docs/pagerduty.md` for those who are paged). Guarantees: trying again
//! is harmless, because every event names its incident by a key that stays the same; an incident that was
//! replaced is remembered until its end has arrived; the routing key is in no text for people. Digests and
//! news about Tardy itself page nobody. It does not hear what people do in PagerDuty.

mod event;
mod plan;

use std::pin::Pin;

use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize as _;
use serde_json::{Value, json};
use url::Url;

use self::plan::{Event, Incident, plan};
use super::http::{self, Attempt, Client, Endpoint, Reply};
use super::message::Message;
use super::{
    BuildContext, BuildError, Delivery, Handle, Notifier, Outcome, PagerDuty, Preview, PreviewForm,
    Writer,
};
use crate::engine::notification::Notification;

/// Sends events.
pub(super) struct PagerDutyNotifier {
    client: Client,
    routing_key: SecretString,
    events: Url,
    changes: Url,
    writer: Writer,
}

impl PagerDutyNotifier {
    pub(super) fn new(
        receiver: &str,
        config: &PagerDuty,
        context: &BuildContext,
    ) -> Result<Self, BuildError> {
        let base = config.api_url.as_str().trim_end_matches('/');
        let endpoint = Endpoint::new(&base.into(), receiver, true)?.hiding(&config.routing_key);
        let at = |path: &str| {
            Url::parse(&format!("{base}{path}")).map_err(|_| BuildError::Address {
                receiver: receiver.to_owned(),
                why: "api_url is not an address; write it like https://events.eu.pagerduty.com",
            })
        };
        Ok(Self {
            client: Client::new(endpoint, context)?,
            routing_key: config.routing_key.clone(),
            events: at("/v2/enqueue")?,
            changes: at("/v2/change/enqueue")?,
            writer: context.writer(),
        })
    }

    async fn attempt(&self, delivery: Delivery<'_>) -> Result<Outcome, Outcome> {
        let notification = delivery.notification;
        let message = self.writer.message(notification);
        let known = delivery.handle.and_then(incident);
        let plan = plan(notification, known.as_ref());
        let attempt = self.client.attempt();
        for event in &plan.events {
            let url = match event {
                Event::Change => &self.changes,
                _ => &self.events,
            };
            let body = event::body(event, notification, &message);
            self.send(&attempt, url, body).await?;
        }
        let handle = match plan.after {
            Some(after) => {
                let tidied = self.tidy(&attempt, after, notification, &message).await?;
                serde_json::to_value(tidied).ok().map(Handle)
            }
            None => None,
        };
        Ok(Outcome::Delivered { handle })
    }

    /// Resolves what was replaced. The page is out: what cannot be resolved now is resolved with the next
    /// message.
    async fn tidy(
        &self,
        attempt: &Attempt<'_>,
        mut incident: Incident,
        notification: &Notification,
        message: &Message,
    ) -> Result<Incident, Outcome> {
        while let Some(key) = incident.stale.first() {
            let body = event::replaced(key, notification, message);
            match self.send(attempt, &self.events, body).await {
                Ok(()) => drop(incident.stale.remove(0)),
                Err(outcome) if incident.is_crowded() => return Err(outcome),
                Err(_) => break,
            }
        }
        Ok(incident)
    }

    async fn send(&self, attempt: &Attempt<'_>, url: &Url, mut body: Value) -> Result<(), Outcome> {
        body["routing_key"] = json!(self.routing_key.expose_secret());
        let body = body.to_string().into_bytes();
        let request = http::json(Method::POST, url.clone(), body);
        let reply = attempt.send(request).await?;
        self.outcome(&reply)
    }

    fn outcome(&self, reply: &Reply) -> Result<(), Outcome> {
        let answer = reply.json();
        if reply.status.is_success() && answer["status"] == "success" {
            return Ok(());
        }
        if reply.status.is_success() && !reply.is_whole {
            return Err(Outcome::Retry {
                after: None,
                why: "the connection broke while PagerDuty answered".to_owned(),
                is_uncertain: true,
            });
        }
        if reply.status.is_success() {
            let why = "the receiver did not answer as PagerDuty does; check its api_url".to_owned();
            return Err(Outcome::Rejected { why });
        }
        let said = self.client.endpoint().scrub(&reproach(&answer, reply));
        let remedy = match reply.status {
            StatusCode::BAD_REQUEST if said.to_lowercase().contains("routing") => {
                "create an Events API v2 integration on the service and configure its key as routing_key"
            }
            StatusCode::BAD_REQUEST => {
                "its routing_key must be that of an Events API v2 integration; if it is, please report this as \
                 a bug of Tardy"
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "check its routing_key, and that its api_url is that of the account's region"
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                "there is no Events API v2 at its api_url; check it"
            }
            StatusCode::PAYLOAD_TOO_LARGE => {
                "the event is too large for it; please report this as a bug of Tardy"
            }
            _ => return Err(reply.outcome(&said)),
        };
        let status = reply.status.as_u16();
        let why = format!("PagerDuty refused the event ({status}, saying {said}): {remedy}");
        Err(Outcome::Rejected { why })
    }
}

impl Notifier for PagerDutyNotifier {
    fn deliver<'a>(
        &'a self,
        delivery: Delivery<'a>,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        super::ended(self.attempt(delivery))
    }

    fn preview(&self, delivery: Delivery<'_>) -> Vec<Preview> {
        let notification = delivery.notification;
        let message = self.writer.message(notification);
        let plan = plan(notification, delivery.handle.and_then(incident).as_ref());
        let shown = |event: &Event| Preview {
            title: "POST, with the routing key",
            form: PreviewForm::Json,
            text: event::body(event, notification, &message).to_string(),
        };
        plan.events.iter().map(shown).collect()
    }
}

fn incident(handle: &Handle) -> Option<Incident> {
    Incident::deserialize(&handle.0).ok()
}

/// What PagerDuty finds wrong: its list of errors, else its message, else the whole answer.
fn reproach(answer: &Value, reply: &Reply) -> String {
    let errors = answer["errors"].as_array().into_iter().flatten();
    let errors: Vec<&str> = errors.filter_map(Value::as_str).collect();
    if !errors.is_empty() {
        return errors.join(", ");
    }
    answer["message"]
        .as_str()
        .map_or_else(|| reply.text(), str::to_owned)
}
