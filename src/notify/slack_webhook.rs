//! Slack through an incoming webhook.
//!
//! A webhook returns no reference to what it posted: nothing can be edited, threaded or deleted. So every
//! notification is a new message, and from the second on it names the first: `Update on k3x9pq: …`.
//! Layout and escapes are those of the bot ([`super::slack`]); what does not fit is counted.

use std::pin::Pin;

use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::http::{self, Attempt, Client, Endpoint, Reply};
use super::limits::slack as limits;
use super::message::{Card, Message};
use super::slack::blocks::{Head, Room, add_body, add_cards, words};
use super::slack::escape::{escape_within, mentions};
use super::{
    BuildContext, BuildError, Delivery, Handle, Notifier, Outcome, Preview, PreviewForm, Writer,
    text,
};
use crate::engine::route::Owner;

/// Posts to an incoming webhook.
pub(super) struct SlackWebhook {
    client: Client,
    writer: Writer,
    owners: std::sync::Arc<[Owner]>,
}

/// What is kept of the first message: the id by which later ones name it.
#[derive(Serialize, Deserialize)]
struct Reference {
    first: String,
}

impl SlackWebhook {
    pub(super) fn new(
        receiver: &str,
        url: &SecretString,
        context: &BuildContext,
    ) -> Result<Self, BuildError> {
        Ok(Self {
            client: Client::new(Endpoint::new(url, receiver, true)?, context)?,
            writer: context.writer(),
            owners: context.owners.clone(),
        })
    }

    /// The payload, and what is to be kept of the first message.
    fn payload(&self, delivery: Delivery<'_>) -> (Value, Option<String>) {
        let message = self.writer.message(delivery.notification);
        let known = delivery.handle.and_then(reference);
        let first = known
            .clone()
            .or_else(|| message.lead_id().map(str::to_owned));
        let mentions = mentions(&message, &self.owners);
        let payload = payload(&message, first.as_deref(), &mentions);
        (payload, first.filter(|_| known.is_none()))
    }

    async fn attempt(&self, delivery: Delivery<'_>) -> Result<Outcome, Outcome> {
        let (payload, first) = self.payload(delivery);
        let attempt = self.client.attempt();
        let mut reply = self.post(&attempt, &payload).await?;
        if reply.status == StatusCode::BAD_REQUEST && is_about_content(&reply) {
            // Better plain than lost.
            let plain = self.plain(delivery);
            reply = self.post(&attempt, &plain).await?;
        }
        Ok(self.outcome(&reply, first))
    }

    /// Everything in words, for when Slack does not take the form.
    fn plain(&self, delivery: Delivery<'_>) -> Value {
        let message = self.writer.message(delivery.notification);
        let mentions = mentions(&message, &self.owners);
        let room = limits::TEXT.saturating_sub(text::measure(&mentions) + 1);
        let words = escape_within(&message.plain(limits::FULL_CARDS), room);
        json!({
            "text": format!("{words}\n{mentions}").trim_end(),
            "unfurl_links": false,
            "unfurl_media": false,
        })
    }

    async fn post(&self, attempt: &Attempt<'_>, payload: &Value) -> Result<Reply, Outcome> {
        let url = self.client.endpoint().url().clone();
        let body = payload.to_string().into_bytes();
        attempt.send(http::json(Method::POST, url, body)).await
    }

    fn outcome(&self, reply: &Reply, first: Option<String>) -> Outcome {
        let said = reply.text();
        let said = said.trim();
        if reply.status == StatusCode::OK && said == "ok" {
            let handle = first.and_then(|first| serde_json::to_value(Reference { first }).ok());
            return Outcome::Delivered {
                handle: handle.map(Handle),
            };
        }
        if reply.status.is_success() && !reply.is_whole {
            return Outcome::Retry {
                after: None,
                why: "the connection broke while Slack answered".to_owned(),
                is_uncertain: true,
            };
        }
        if reply.status.is_success() {
            return Outcome::Rejected {
                why: "the receiver did not answer `ok`; is its url that of a Slack webhook?".into(),
            };
        }
        match remedy(said) {
            Some(remedy) if reply.status.is_client_error() => Outcome::Rejected {
                why: format!("Slack refused the message ({said}): {remedy}"),
            },
            _ => reply.outcome(&self.client.endpoint().scrub(said)),
        }
    }
}

impl Notifier for SlackWebhook {
    fn deliver<'a>(
        &'a self,
        delivery: Delivery<'a>,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        super::ended(self.attempt(delivery))
    }

    fn preview(&self, delivery: Delivery<'_>) -> Vec<Preview> {
        vec![Preview {
            title: "POST",
            form: PreviewForm::Json,
            text: self.payload(delivery).0.to_string(),
        }]
    }
}

fn reference(handle: &Handle) -> Option<String> {
    let reference = Reference::deserialize(&handle.0).ok()?;
    Some(reference.first)
}

fn is_about_content(reply: &Reply) -> bool {
    let said = reply.text();
    [
        "invalid_payload",
        "invalid_blocks",
        "too_long",
        "too_many",
        "invalid_attachments",
    ]
    .iter()
    .any(|word| said.contains(word))
}

/// What to do about a refusal.
fn remedy(said: &str) -> Option<&'static str> {
    Some(match said {
        "no_service" | "no_service_id" | "no_active_hooks" | "no_team" | "team_disabled"
        | "invalid_token" => "the webhook was revoked; create a new one and configure its url",
        "channel_not_found" => "its channel is gone; create a webhook for another channel",
        "channel_is_archived" => "its channel is archived; unarchive it or use another webhook",
        "action_prohibited" => "an administrator restricts posting; ask for permission",
        "posting_to_general_channel_denied" => {
            "posting to the general channel is restricted; use a webhook for another channel"
        }
        "user_not_found" => "the user it posts to is gone; create a new webhook",
        "invalid_payload" | "invalid_blocks" | "no_text" => {
            "Slack does not take its form; please report this as a bug of Tardy"
        }
        _ => return None,
    })
}

/// The whole payload. `first` names the conversation in every message but the first.
fn payload(message: &Message, first: Option<&str>, mentions: &str) -> Value {
    let first_line = match first {
        Some(first) if !message.is_opening => format!("Update on {first}: {}", message.first_line),
        _ => message.first_line.clone(),
    };
    let head = Head {
        first_line: &first_line,
        mentions,
    };
    let mut blocks = head.blocks(message, limits::BUDGET);
    // The line about the rest comes last and must fit too.
    let room = Room::before(limits::BUDGET, &message.remainder(0).unwrap_or_default());
    let cards: Vec<&Card> = message.cards.iter().collect();
    let shown = match &message.body {
        Some(_) => add_body(&mut blocks, message, &room),
        None => add_cards(&mut blocks, message, &cards, limits::FULL_CARDS, &room),
    };
    blocks.extend(message.remainder(shown).as_deref().map(words));
    json!({
        "text": head.text(message),
        "blocks": blocks,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}
