//! Discord through a webhook: one message about an incident, edited in place.
//!
//! The first notification posts with `?wait=true`, which returns the message's id. Every later one edits that
//! message; when people must notice it, a short new message that links to the first follows, since an edit
//! pings nobody. A message that is gone is forgotten and posted anew in the same attempt. Edits are
//! idempotent, so repeating a half-done attempt changes nothing but can repeat the short message.
//!
//! Mentions are off (`allowed_mentions`) in everything, edits too, but for configured owners when an alert
//! opens or escalates. Untrusted text is escaped Markdown.

mod body;

use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use self::body::{Body, Mentions, body, short};
use super::http::{self, Attempt, Client, Endpoint, Reply};
use super::message::Message;
use super::{
    BuildContext, BuildError, Delivery, Handle, Notifier, Outcome, Preview, PreviewForm, Writer,
};
use crate::engine::route::Owner;

/// Posts and edits through a webhook.
pub(super) struct DiscordWebhook {
    client: Client,
    writer: Writer,
    owners: Arc<[Owner]>,
    /// The server's id, which links need and messages do not tell; asked for once.
    guild: OnceLock<String>,
}

/// What is kept of the first message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Posted {
    message_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel_id: Option<String>,
    /// The conversation has made people look: they are told its end too.
    #[serde(default)]
    has_pinged: bool,
}

/// What Discord said to an edit.
enum Edited {
    Done,
    Gone,
}

impl DiscordWebhook {
    pub(super) fn new(
        receiver: &str,
        url: &SecretString,
        context: &BuildContext,
    ) -> Result<Self, BuildError> {
        let endpoint = Endpoint::new(url, receiver, true)?;
        let path = endpoint.url().path().trim_end_matches('/');
        if path.ends_with("/slack") || path.ends_with("/github") {
            return Err(BuildError::Address {
                receiver: receiver.to_owned(),
                why: "leave off the /slack or /github at its end",
            });
        }
        Ok(Self {
            client: Client::new(endpoint, context)?,
            writer: context.writer(),
            owners: context.owners.clone(),
            guild: OnceLock::new(),
        })
    }

    async fn attempt(&self, delivery: Delivery<'_>) -> Result<Outcome, Outcome> {
        let message = self.writer.message(delivery.notification);
        let mentions = Mentions::of(&message, &self.owners);
        let attempt = self.client.attempt();
        let known = delivery.handle.and_then(posted);
        let Some(mut first) = known else {
            return self.open(&attempt, &message, &mentions).await;
        };
        let edit = body(&message, &Mentions::default());
        if let Edited::Gone = self.edit(&attempt, &first, &edit, &message).await? {
            return self.open(&attempt, &message, &mentions).await;
        }
        if message.is_pinging || (message.is_ending && first.has_pinged) {
            let link = self.link(&attempt, &first).await;
            let reply = self
                .post(
                    &attempt,
                    &short(&message, link.as_deref(), &mentions),
                    &message,
                )
                .await?;
            self.accepted(&reply)?;
            first.has_pinged = true;
        }
        Ok(delivered(&first))
    }

    /// Posts the message that later ones edit.
    async fn open(
        &self,
        attempt: &Attempt<'_>,
        message: &Message,
        mentions: &Mentions,
    ) -> Result<Outcome, Outcome> {
        let reply = self
            .post(attempt, &body(message, mentions), message)
            .await?;
        self.accepted(&reply)?;
        let json = reply.json();
        let text = |name: &str| json[name].as_str().map(str::to_owned);
        let Some(message_id) = text("id").filter(|id| is_id(id)) else {
            if reply.is_whole && reply.status == StatusCode::OK {
                let why = "the receiver did not answer with a message; is its url that of a \
                           Discord webhook?"
                    .to_owned();
                return Err(Outcome::Rejected { why });
            }
            // Posted, only not to be edited later.
            return Ok(Outcome::Delivered { handle: None });
        };
        Ok(delivered(&Posted {
            message_id,
            channel_id: text("channel_id").filter(|id| is_id(id)),
            has_pinged: message.is_pinging,
        }))
    }

    async fn post(
        &self,
        attempt: &Attempt<'_>,
        body: &Body,
        message: &Message,
    ) -> Result<Reply, Outcome> {
        let url = self.url(None);
        let reply = attempt.send(request(Method::POST, &url, body)).await?;
        if !is_about_content(&reply) {
            return Ok(reply);
        }
        // Better plain than lost.
        let plain = request(Method::POST, &url, &body.plain(message));
        attempt.send(plain).await
    }

    async fn edit(
        &self,
        attempt: &Attempt<'_>,
        first: &Posted,
        body: &Body,
        message: &Message,
    ) -> Result<Edited, Outcome> {
        let url = self.url(Some(&first.message_id));
        let mut reply = attempt.send(request(Method::PATCH, &url, body)).await?;
        if is_about_content(&reply) {
            let plain = request(Method::PATCH, &url, &body.plain(message));
            reply = attempt.send(plain).await?;
        }
        if is_gone(&reply) {
            return Ok(Edited::Gone);
        }
        self.accepted(&reply).map(|()| Edited::Done)
    }

    /// The webhook's address with its own query kept; of one message with `Some`.
    fn url(&self, message_id: Option<&str>) -> Url {
        let mut url = self.client.endpoint().url().clone();
        let query: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(name, _)| name != "wait")
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        url.set_query(None);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
            if let Some(id) = message_id {
                segments.push("messages").push(id);
            }
        }
        let wait = message_id
            .is_none()
            .then(|| ("wait".to_owned(), "true".to_owned()));
        let query: Vec<_> = query.into_iter().chain(wait).collect();
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Address of the first message for people; without the server's id there is none.
    async fn link(&self, attempt: &Attempt<'_>, first: &Posted) -> Option<String> {
        let channel_id = first.channel_id.as_ref()?;
        if self.guild.get().is_none() {
            let mut url = self.client.endpoint().url().clone();
            url.set_query(None);
            let request = reqwest::Request::new(Method::GET, url);
            let reply = attempt.send(request).await.ok()?;
            let guild = reply.json()["guild_id"].as_str()?.to_owned();
            if is_id(&guild) {
                let _ = self.guild.set(guild);
            }
        }
        let guild = self.guild.get()?;
        Some(format!(
            "https://discord.com/channels/{guild}/{channel_id}/{}",
            first.message_id
        ))
    }

    /// `Err` when Discord did not take it.
    fn accepted(&self, reply: &Reply) -> Result<(), Outcome> {
        if reply.status.is_success() {
            return Ok(());
        }
        let code = error_code(reply);
        if reply.status.is_client_error()
            && let Some(remedy) = remedy(reply.status, code)
        {
            let status = reply.status.as_u16();
            let why = format!("Discord refused the message ({status}, code {code}): {remedy}");
            return Err(Outcome::Rejected { why });
        }
        let json = reply.json();
        let said = json["message"].as_str().unwrap_or_default();
        Err(reply.outcome(&self.client.endpoint().scrub(said)))
    }
}

fn request(method: Method, url: &Url, body: &Body) -> reqwest::Request {
    let json = serde_json::to_vec(body).unwrap_or_default();
    http::json(method, url.clone(), json)
}

impl Notifier for DiscordWebhook {
    fn deliver<'a>(
        &'a self,
        delivery: Delivery<'a>,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            self.attempt(delivery)
                .await
                .unwrap_or_else(|outcome| outcome)
        })
    }

    fn preview(&self, delivery: Delivery<'_>) -> Vec<Preview> {
        let message = self.writer.message(delivery.notification);
        let mentions = Mentions::of(&message, &self.owners);
        let part = |title, body: &Body| Preview {
            title,
            form: PreviewForm::Json,
            text: serde_json::to_string(body).unwrap_or_default(),
        };
        if message.is_opening {
            return vec![part("POST", &body(&message, &mentions))];
        }
        let edit = body(&message, &Mentions::default());
        let mut parts = vec![part("PATCH, of the first message", &edit)];
        if message.is_pinging {
            parts.push(part(
                "POST, a new message",
                &short(&message, None, &mentions),
            ));
        }
        parts
    }
}

fn posted(handle: &Handle) -> Option<Posted> {
    Posted::deserialize(&handle.0)
        .ok()
        .filter(|posted| is_id(&posted.message_id))
}

fn delivered(first: &Posted) -> Outcome {
    Outcome::Delivered {
        handle: serde_json::to_value(first).ok().map(Handle),
    }
}

fn is_id(text: &str) -> bool {
    (1..=24).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit())
}

/// Discord's own error code; 0 when it gave none.
fn error_code(reply: &Reply) -> u64 {
    reply.json()["code"].as_u64().unwrap_or_default()
}

/// The message cannot be edited any more: deleted (10008), in a channel that is gone (10003) or an archived
/// thread (50083), or another webhook's (50005). A 404 without a code is read so too: if the webhook itself is
/// gone, the new post will say so.
fn is_gone(reply: &Reply) -> bool {
    match error_code(reply) {
        10_003 | 10_008 | 50_005 | 50_083 => reply.status.is_client_error(),
        0 => reply.status == StatusCode::NOT_FOUND,
        _ => false,
    }
}

/// 50035: the body's form was refused; 50006: it was taken for empty.
fn is_about_content(reply: &Reply) -> bool {
    reply.status == StatusCode::BAD_REQUEST && matches!(error_code(reply), 50_035 | 50_006)
}

fn remedy(status: StatusCode, code: u64) -> Option<&'static str> {
    Some(match (status.as_u16(), code) {
        (_, 10_015 | 50_027) | (401, _) => {
            "the webhook was deleted or its token is wrong; create a new one and configure its url"
        }
        (_, 10_003) => "its channel or thread is gone; configure the url of another webhook",
        (_, 50_083) => "its thread is archived; open it again or leave thread_id off",
        (_, 220_001) => "its channel is a forum; add ?thread_id=… of a post to the url",
        (403, _) => "the webhook may not post there; check the channel's permissions",
        (404, _) => "there is no such webhook; check its url",
        _ => return None,
    })
}
