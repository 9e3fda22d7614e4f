//! Discord through a webhook: one message about an incident, edited in place.
//!
//! The first notification posts with `?wait=true`, which returns the message's id. Every later one edits that
//! message; when people must notice it, a short new message that links to the first follows, since an edit
//! pings nobody. A message that is gone is forgotten and posted anew in the same attempt. What does not fit into
//! one message goes on in at most [`limits::discord::FOLLOW_UPS`](super::limits::discord::FOLLOW_UPS) more, which
//! notify nobody and are edited, added and removed with the first. A chart is uploaded with the message and kept by
//! its edits; one that is refused is left out in the same attempt. Edits are idempotent, and what an attempt has
//! posted is remembered by the next, so that repeating it repeats nothing but after a crash or a lost answer.
//!
//! Mentions are off (`allowed_mentions`) in everything, edits too, but for configured owners when an alert
//! opens or escalates. Untrusted text is escaped Markdown.

mod answers;
pub(super) mod body;
mod upload;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use self::answers::{attachment_id, error_code, is_about_content, is_gone, is_id, remedy};
use self::body::{Mentions, Page, Shown, pages, short};
use super::http::{self, Attempt, Client, Endpoint, Reply};
use super::limits::discord as limits;
use super::message::{Message, lead};
use super::{
    BuildContext, BuildError, Chart, Delivery, Handle, Notifier, Outcome, Preview, PreviewForm,
    Writer, text,
};
use crate::engine::notification::Notification;
use crate::engine::route::Owner;

/// Posts and edits through a webhook.
pub(super) struct DiscordWebhook {
    client: Client,
    writer: Writer,
    owners: Arc<[Owner]>,
    /// The server's id, which links need and messages do not tell; asked for once.
    guild: OnceLock<String>,
    /// How far failed attempts came, by delivery; the oldest is forgotten first.
    progress: Mutex<VecDeque<(String, Progress)>>,
}

/// What is kept of the conversation's messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Posted {
    message_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel_id: Option<String>,
    /// The conversation has made people look: they are told its end too.
    #[serde(default)]
    has_pinged: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    picture: Option<Picture>,
    /// Messages in which the first goes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    more: Vec<String>,
}

/// A chart that the first message shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Picture {
    id: String,
    name: String,
    /// Id of the alert it is about.
    alert: String,
}

/// How far a delivery has come.
#[derive(Clone)]
struct Progress {
    posted: Posted,
    /// People have been made to look: by the first message itself, or by a short one.
    is_told: bool,
}

/// What Discord said to an edit.
enum Edited {
    Done(Reply),
    Gone,
}

/// One notification, ready to be sent.
struct Telling<'a> {
    attempt: Attempt<'a>,
    message: Message,
    mentions: Mentions,
    chart: Option<&'a Chart>,
    /// Id of the alert the chart is about.
    alert: String,
}

impl Telling<'_> {
    /// The chart that comes with it.
    fn new_picture(&self) -> Option<Shown> {
        let chart = self.chart.cloned()?;
        Some(Shown::New(chart, self.alert.clone()))
    }

    /// The chart, when the message that was answered with shows it.
    fn uploaded(&self, reply: &Reply) -> Option<Picture> {
        let name = self.chart?.file_name();
        Some(Picture {
            id: attachment_id(&reply.json(), name)?,
            name: name.to_owned(),
            alert: self.alert.clone(),
        })
    }
}

impl Posted {
    fn shown(&self) -> Option<Shown> {
        self.picture.clone().map(Shown::Kept)
    }
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
            progress: Mutex::default(),
        })
    }

    async fn attempt(&self, delivery: Delivery<'_>) -> Result<Outcome, Outcome> {
        let message = self.writer.message(delivery.notification);
        let telling = Telling {
            attempt: self.client.attempt(),
            mentions: Mentions::of(&message, &self.owners),
            message,
            chart: delivery.chart,
            alert: lead_id(delivery.notification),
        };
        let id = &telling.message.delivery_id;
        let begun = self.take_progress(id);
        let mut progress = match begun {
            Some(begun) => begun,
            None => match delivery.handle.and_then(posted) {
                Some(posted) => Progress {
                    posted,
                    is_told: false,
                },
                None => match self.open(&telling).await? {
                    Some(opened) => opened,
                    // Posted, only not to be edited later.
                    None => return Ok(Outcome::Delivered { handle: None }),
                },
            },
        };
        match self.go_on(&telling, &mut progress).await {
            Ok(()) => Ok(delivered(&progress.posted)),
            Err(outcome) => {
                self.keep_progress(id, progress);
                Err(outcome)
            }
        }
    }

    fn take_progress(&self, delivery_id: &str) -> Option<Progress> {
        let mut all = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().position(|(id, _)| id == delivery_id)?;
        all.remove(found).map(|(_, progress)| progress)
    }

    fn keep_progress(&self, delivery_id: &str, progress: Progress) {
        let mut all = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= limits::PROGRESS {
            all.pop_front();
        }
        all.push_back((delivery_id.to_owned(), progress));
    }

    /// Posts the message that later ones edit. `None`: it cannot be edited.
    async fn open(&self, telling: &Telling<'_>) -> Result<Option<Progress>, Outcome> {
        let message = &telling.message;
        let pages = pages(message, &telling.mentions, telling.new_picture());
        let reply = self.post(telling, &pages[0]).await?;
        self.accepted(&reply)?;
        let Some(message_id) = id_of(&reply) else {
            if reply.is_whole && reply.status == StatusCode::OK {
                let why = "the receiver did not answer with a message; is its url that of a \
                           Discord webhook?"
                    .to_owned();
                return Err(Outcome::Rejected { why });
            }
            return Ok(None);
        };
        let channel_id = reply.json()["channel_id"].as_str().map(str::to_owned);
        Ok(Some(Progress {
            posted: Posted {
                message_id,
                channel_id: channel_id.filter(|id| is_id(id)),
                has_pinged: message.is_pinging,
                picture: telling.uploaded(&reply),
                more: Vec::new(),
            },
            is_told: true,
        }))
    }

    /// Brings every message of the conversation up to date, and makes people look when they must.
    async fn go_on(&self, telling: &Telling<'_>, progress: &mut Progress) -> Result<(), Outcome> {
        let posted = &mut progress.posted;
        let none = Mentions::default();
        let pages = if progress.is_told {
            // It has just been posted, or edited and told, as it is.
            pages(&telling.message, &none, posted.shown())
        } else {
            let picture = telling.new_picture().or(posted.shown());
            let pages = pages(&telling.message, &none, picture);
            match self
                .edit(telling, &posted.message_id, &pages[0], posted.shown())
                .await?
            {
                Edited::Done(reply) => {
                    posted.picture = telling.uploaded(&reply).or(posted.picture.take());
                }
                Edited::Gone => {
                    let Some(mut opened) = self.open(telling).await? else {
                        return Ok(());
                    };
                    opened.posted.more = std::mem::take(&mut posted.more);
                    *progress = opened;
                }
            }
            pages
        };
        self.follow_up(telling, &mut progress.posted, &pages[1..])
            .await?;
        let posted = &mut progress.posted;
        let message = &telling.message;
        let must_look = message.is_pinging || (message.is_ending && posted.has_pinged);
        if must_look && !progress.is_told {
            let link = self.link(&telling.attempt, posted).await;
            let page = short(message, link.as_deref(), &telling.mentions);
            let reply = self.post(telling, &page).await?;
            self.accepted(&reply)?;
            posted.has_pinged = true;
        }
        Ok(())
    }

    /// Posts, edits and removes the messages in which the first goes on.
    async fn follow_up(
        &self,
        telling: &Telling<'_>,
        posted: &mut Posted,
        pages: &[Page],
    ) -> Result<(), Outcome> {
        for (index, page) in pages.iter().enumerate() {
            let edited = match posted.more.get(index) {
                Some(id) => self.edit(telling, id, page, None).await?,
                None => Edited::Gone,
            };
            if let Edited::Done(_) = edited {
                continue;
            }
            let reply = self.post(telling, page).await?;
            self.accepted(&reply)?;
            // What comes without an id cannot be edited later, and neither can those after it.
            let Some(id) = id_of(&reply) else {
                continue;
            };
            match posted.more.get_mut(index) {
                Some(gone) => *gone = id,
                None => posted.more.push(id),
            }
        }
        while posted.more.len() > pages.len() {
            let Some(id) = posted.more.last() else {
                break;
            };
            let request = reqwest::Request::new(Method::DELETE, self.url(Some(id)));
            let reply = telling.attempt.send(request).await?;
            if !is_gone(&reply) {
                self.accepted(&reply)?;
            }
            posted.more.pop();
        }
        Ok(())
    }

    async fn post(&self, telling: &Telling<'_>, page: &Page) -> Result<Reply, Outcome> {
        let url = self.url(None);
        self.send(telling, &(Method::POST, url), page, None).await
    }

    async fn edit(
        &self,
        telling: &Telling<'_>,
        id: &str,
        page: &Page,
        kept: Option<Shown>,
    ) -> Result<Edited, Outcome> {
        let url = self.url(Some(id));
        let reply = self
            .send(telling, &(Method::PATCH, url), page, kept)
            .await?;
        if is_gone(&reply) {
            return Ok(Edited::Gone);
        }
        self.accepted(&reply)?;
        Ok(Edited::Done(reply))
    }

    /// Sends a page, plainer when its form is refused: with the picture it has, without any, as plain text. Better
    /// plain than lost.
    async fn send(
        &self,
        telling: &Telling<'_>,
        to: &(Method, Url),
        page: &Page,
        kept: Option<Shown>,
    ) -> Result<Reply, Outcome> {
        let (method, url) = to;
        let request = |page: &Page| {
            let json = page.json(*method == Method::POST);
            match &page.picture {
                Some(Shown::New(chart, _)) => upload::request(method.clone(), url, &json, chart),
                Some(Shown::Kept(_)) | None => http::json(method.clone(), url.clone(), json),
            }
        };
        let mut forms = Vec::new();
        if page.picture.is_some() {
            let kept = kept.filter(|_| matches!(page.picture, Some(Shown::New(..))));
            forms.extend(kept.map(|kept| page.with(Some(kept))));
            forms.push(page.with(None));
        }
        forms.push(page.plain());
        let mut reply = telling.attempt.send(request(page)).await?;
        for plainer in forms {
            if !is_about_content(&reply) {
                break;
            }
            reply = telling.attempt.send(request(&plainer)).await?;
        }
        Ok(reply)
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

impl Notifier for DiscordWebhook {
    fn deliver<'a>(
        &'a self,
        delivery: Delivery<'a>,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        super::ended(self.attempt(delivery))
    }

    fn wants_chart(&self, _notification: &Notification) -> bool {
        true
    }

    fn preview(&self, delivery: Delivery<'_>) -> Vec<Preview> {
        let message = self.writer.message(delivery.notification);
        let mentions = Mentions::of(&message, &self.owners);
        let part = |title, page: &Page, is_post| Preview {
            title,
            form: PreviewForm::Json,
            text: String::from_utf8_lossy(&page.json(is_post)).into_owned(),
        };
        let mut parts = Vec::new();
        if message.is_opening {
            for (page, title) in pages(&message, &mentions, None).iter().zip(TITLES) {
                parts.push(part(title, page, true));
            }
            return parts;
        }
        for page in pages(&message, &Mentions::default(), None).iter().take(1) {
            parts.push(part("PATCH, of the first message", page, false));
        }
        if message.is_pinging {
            let page = short(&message, None, &mentions);
            parts.push(part("POST, a new message", &page, true));
        }
        parts
    }
}

/// Posts of one message, as they are named where nothing is sent.
const TITLES: [&str; 4] = [
    "POST",
    "POST, where it goes on",
    "POST, where it goes on again",
    "POST, its end",
];

fn lead_id(notification: &Notification) -> String {
    let id = lead(notification).map(|alert| alert.id.as_str());
    text::line(id.unwrap_or_default(), limits::PICTURE_ALERT)
}

fn posted(handle: &Handle) -> Option<Posted> {
    Posted::deserialize(&handle.0)
        .ok()
        .filter(|posted| is_id(&posted.message_id) && posted.more.iter().all(|id| is_id(id)))
}

fn delivered(first: &Posted) -> Outcome {
    Outcome::Delivered {
        handle: serde_json::to_value(first).ok().map(Handle),
    }
}

/// Id of the message that was answered with.
fn id_of(reply: &Reply) -> Option<String> {
    let id = reply.json()["id"].as_str().map(str::to_owned);
    id.filter(|id| is_id(id))
}
