//! Slack with a bot token: one message about an incident, edited in place, with a thread that tells its story.
//!
//! The first notification posts the message. Every later one edits it and adds a line to its thread; when people
//! must notice it and it is critical, that line is also sent to the channel, since an edit pings nobody. Edits are
//! idempotent and come first. A message that is gone is forgotten and posted anew in the same attempt. What does
//! not fit goes on in the thread.
//!
//! Slack has no idempotency key. Each message therefore carries the delivery's id in its metadata, and what an
//! uncertain attempt may have posted is looked up before it is posted again, where the token allows it. Within the
//! process, an attempt goes on where the one before it stopped.
//!
//! Role of the parts: [`api`] calls, [`payload`] says what, [`blocks`] and [`escape`] (shared with the webhook) lay
//! it out, [`look_up`] finds, [`picture`] uploads charts, [`pace`] spaces messages out. It takes no commands and
//! no clicks.

mod api;
pub(in crate::notify) mod blocks;
pub(in crate::notify) mod escape;
mod look_up;
mod pace;
mod payload;
mod picture;
mod progress;

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::api::{Api, Failure, Refusal};
use self::escape::mentions;
use self::look_up::LookUp;
use self::pace::Pace;
use self::payload::{Continued, Letter, Part, Sheet, Size};
use self::picture::Pictures;
use self::progress::{Open, Progress};
use super::http::Attempt;
use super::limits::slack as limits;
use super::{BuildContext, BuildError, Delivery, Handle, Notifier, Outcome, Slack, Writer};
use crate::engine::notification::{Body, Notification, Reason};
use crate::engine::route::Owner;
use crate::engine::rule::Severity;
use crate::engine::time::Span;

/// Posts, edits and replies as a bot.
pub(super) struct SlackBot {
    receiver: String,
    api: Api,
    /// The configured channel.
    channel: String,
    has_buttons: bool,
    writer: Writer,
    owners: Arc<[Owner]>,
    pace: Pace,
    look_up: LookUp,
    pictures: Pictures,
    open: Mutex<Open>,
}

/// What is kept of the conversation's message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Posted {
    /// Where it is, as Slack says.
    channel: String,
    /// What identifies it there.
    ts: String,
    /// The configured channel it was meant for.
    meant_for: String,
    /// The delivery that posted it.
    delivery_id: String,
}

/// What Slack said to an edit or a reply.
enum Placed {
    Done,
    /// The message is gone.
    Gone,
    /// It is there and may not be edited.
    Fixed,
}

impl SlackBot {
    pub(super) fn new(
        receiver: &str,
        slack: &Slack,
        context: &BuildContext,
    ) -> Result<Self, BuildError> {
        Ok(Self {
            receiver: receiver.to_owned(),
            api: Api::new(receiver, slack, context)?,
            channel: slack.channel.clone(),
            has_buttons: slack.buttons,
            writer: context.writer(),
            owners: context.owners.clone(),
            pace: Pace::new(context.timeouts.spacing, limits::BURST),
            look_up: LookUp::new(receiver),
            pictures: Pictures::new(receiver, context),
            open: Mutex::default(),
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn attempt(&self, delivery: Delivery<'_>) -> Outcome {
        let message = self.writer.message(delivery.notification);
        let id = message.delivery_id.clone();
        let mut talk = Talk {
            bot: self,
            attempt: self.api.messages.attempt(),
            delivery,
            progress: self.open().take(&id),
            letter: Letter {
                mentions: mentions(&message, &self.owners),
                notification: delivery.notification,
                has_buttons: self.has_buttons,
                message,
            },
        };
        let outcome = talk.tell().await.unwrap_or_else(|outcome| outcome);
        if let Outcome::Retry { .. } = outcome {
            self.open().keep(&id, talk.progress);
        }
        outcome
    }

    /// The message that is kept, when it is one of the configured channel.
    fn known(&self, delivery: &Delivery<'_>) -> Option<Posted> {
        let posted = Posted::deserialize(&delivery.handle?.0).ok()?;
        let is_ours = posted.meant_for == self.channel && is_id(&posted.channel);
        (is_ours && is_ts(&posted.ts)).then_some(posted)
    }
}

impl Notifier for SlackBot {
    fn deliver<'a>(
        &'a self,
        delivery: Delivery<'a>,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(self.attempt(delivery))
    }

    fn wants_chart(&self, notification: &Notification) -> bool {
        let is_time = matches!(
            notification.reason,
            Reason::First | Reason::NewAlerts | Reason::Escalated | Reason::Upgraded
        );
        let is_about_alerts = matches!(notification.body, Body::Alerts(_));
        is_time && is_about_alerts && !notification.is_ending() && self.pictures.are_allowed()
    }
}

/// One attempt at one delivery.
struct Talk<'a> {
    bot: &'a SlackBot,
    attempt: Attempt<'a>,
    delivery: Delivery<'a>,
    letter: Letter<'a>,
    progress: Progress,
}

impl Talk<'_> {
    async fn tell(&mut self) -> Result<Outcome, Outcome> {
        let place = self.progress.first.clone();
        let place = place.or_else(|| self.bot.known(&self.delivery));
        let first = match place {
            Some(first) if self.go_on(&first).await? => first,
            _ => self.open().await?,
        };
        if !is_ts(&first.ts) {
            // Posted, only not to be found again: the next notification opens anew.
            return Ok(Outcome::Delivered { handle: None });
        }
        self.continue_in_thread(&first).await?;
        if let Some(chart) = self.delivery.chart {
            let (bot, left) = (self.bot, self.attempt.left());
            bot.pictures.add(&bot.api, &first, chart, left).await;
        }
        Ok(Outcome::Delivered {
            handle: serde_json::to_value(&first).ok().map(Handle),
        })
    }

    fn id(&self) -> &str {
        &self.letter.message.delivery_id
    }

    /// Edits the message and says in its thread what happened. `false`: it is gone.
    async fn go_on(&mut self, first: &Posted) -> Result<bool, Outcome> {
        if first.delivery_id == self.id() {
            // It was posted by an attempt before this one, and says it all.
            return Ok(true);
        }
        let line = match self.edit(first).await? {
            Placed::Gone => return Ok(false),
            Placed::Done => self.letter.line(),
            // What cannot be edited is said in full below it.
            Placed::Fixed => {
                let mentions = &self.letter.mentions;
                self.letter.whole(Size::Full, Continued::None, mentions).0
            }
        };
        let line = self.reply(first, 0, line).await?;
        Ok(!matches!(line, Placed::Gone))
    }

    /// Posts the conversation's message, unless an uncertain attempt has done so.
    async fn open(&mut self) -> Result<Posted, Outcome> {
        // What was done for a message that is gone is gone too.
        self.progress = Progress::default();
        let first = match self.found().await? {
            Some(first) => first,
            None => self.post().await?,
        };
        self.progress.first = Some(first.clone());
        Ok(first)
    }

    async fn post(&mut self) -> Result<Posted, Outcome> {
        let fitted = self.fitted("chat.postMessage", |size| {
            let mentions = &self.letter.mentions;
            let (sheet, _) = self.letter.whole(size, Continued::All, mentions);
            let mut body = sheet.body(size.metadata(self.id(), None));
            body["channel"] = json!(self.bot.channel);
            body
        });
        let (answer, size) = fitted.await?;
        self.progress.size = size;
        Ok(self.posted(&answer))
    }

    fn posted(&self, answer: &Value) -> Posted {
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        let channel = Some(text("channel")).filter(|channel| is_id(channel));
        Posted {
            channel: channel.unwrap_or_else(|| self.bot.channel.clone()),
            ts: text("ts"),
            meant_for: self.bot.channel.clone(),
            delivery_id: self.id().to_owned(),
        }
    }

    /// The message of this delivery that an uncertain attempt has posted. Only what we may edit is ours.
    async fn found(&mut self) -> Result<Option<Posted>, Outcome> {
        if !self.delivery.is_uncertain {
            return Ok(None);
        }
        let (bot, left) = (self.bot, self.attempt.left());
        let from = self.delivery.notification.decided_at;
        let ts = bot
            .look_up
            .message(&bot.api, &bot.channel, from, self.id(), left);
        let Some(ts) = ts.await else {
            return Ok(None);
        };
        let found = self.posted(&json!({ "ts": ts }));
        let edited = self.edit(&found).await?;
        Ok(matches!(edited, Placed::Done).then_some(found))
    }

    /// Edits the conversation's message. A refusal is no reason not to say it in the thread.
    async fn edit(&mut self, first: &Posted) -> Result<Placed, Outcome> {
        let continued = self.continued(first);
        let fitted = self.fitted("chat.update", |size| {
            let (sheet, _) = self.letter.whole(size, continued, "");
            // Metadata goes unless it is sent again; it names the delivery that posted the message.
            let mut body = sheet.body(size.metadata(&first.delivery_id, None));
            body["channel"] = json!(first.channel);
            body["ts"] = json!(first.ts);
            if body["blocks"].is_null() {
                // Otherwise the old ones stay.
                body["blocks"] = json!([]);
            }
            body
        });
        match fitted.await {
            Ok((_, size)) => {
                self.progress.size = size;
                Ok(Placed::Done)
            }
            Err(Failure::Refused(refusal)) if refusal.is_about_place() => Ok(Placed::Gone),
            Err(Failure::Refused(_)) => Ok(Placed::Fixed),
            Err(Failure::Failed(outcome)) => Err(outcome),
        }
    }

    /// Sends as much as Slack takes.
    async fn fitted(
        &self,
        method: &str,
        body: impl Fn(Size) -> Value,
    ) -> Result<(Value, Size), Failure> {
        let mut size = Size::Full;
        loop {
            match self.send(method, &body(size)).await {
                Ok(answer) => return Ok((answer, size)),
                Err(Failure::Refused(refusal)) if refusal.is_about_content() => {
                    let error = &refusal.error;
                    tracing::warn!(receiver.name = %self.bot.receiver, "Slack finds a message too large or odd ({error})");
                    size = size.smaller().ok_or(Failure::Refused(refusal))?;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Which alerts go on in the thread.
    fn continued(&self, first: &Posted) -> Continued {
        if first.delivery_id == self.id() {
            return Continued::All;
        }
        match self.letter.message.reason {
            Reason::NewAlerts => Continued::New,
            _ => Continued::None,
        }
    }

    /// The alerts that the message has no room for. Of what is gone meanwhile nothing more is said.
    async fn continue_in_thread(&mut self, first: &Posted) -> Result<(), Outcome> {
        let continued = self.continued(first);
        let (_, parts) = self.letter.whole(self.progress.size, continued, "");
        for (part, sheet) in (1..).zip(parts) {
            if let Placed::Gone = self.reply(first, part, sheet).await? {
                tracing::warn!(receiver.name = %self.bot.receiver, "a thread is gone or locked: some alerts are not in it");
                break;
            }
        }
        Ok(())
    }

    /// Replies in the thread, once.
    async fn reply(&mut self, first: &Posted, part: Part, sheet: Sheet) -> Result<Placed, Outcome> {
        if self.is_replied(first, part).await {
            return Ok(Placed::Done);
        }
        let mut body = sheet.body(Size::Full.metadata(self.id(), Some(part)));
        body["channel"] = json!(first.channel);
        body["thread_ts"] = json!(first.ts);
        body["reply_broadcast"] = json!(part == 0 && self.is_broadcast());
        loop {
            match self.send("chat.postMessage", &body).await {
                Ok(_) => break,
                Err(Failure::Refused(refusal)) if refusal.is_about_place() => {
                    return Ok(Placed::Gone);
                }
                // Better plain, or in the thread alone, than lost.
                Err(Failure::Refused(refusal)) if make_plainer(&mut body, &refusal) => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        self.progress.replied.insert(part);
        Ok(Placed::Done)
    }

    /// People must notice it now, whether or not they follow the thread.
    fn is_broadcast(&self) -> bool {
        let notification = self.delivery.notification;
        self.letter.message.is_pinging && notification.severity() == Severity::Critical
    }

    /// This reply is there already.
    async fn is_replied(&mut self, first: &Posted, part: Part) -> bool {
        if self.delivery.is_uncertain && !self.progress.is_looked_up {
            let (bot, left) = (self.bot, self.attempt.left());
            let from = self.delivery.notification.decided_at;
            let found = bot
                .look_up
                .replies(&bot.api, first, from, self.id(), left)
                .await;
            self.progress.replied.extend(found);
            self.progress.is_looked_up = true;
        }
        self.progress.replied.contains(&part)
    }

    /// Calls; a post waits for its turn.
    async fn send(&self, method: &str, body: &Value) -> Result<Value, Failure> {
        if tokio::time::Instant::now() > self.attempt.latest() {
            return Err(Failure::Failed(Outcome::Retry {
                after: None,
                why: "Slack is slow; the rest follows".to_owned(),
                is_uncertain: false,
            }));
        }
        if method == "chat.postMessage" {
            let turn = self.bot.pace.turn(self.attempt.latest()).await;
            turn.map_err(|wait| Failure::Failed(too_many(wait)))?;
        }
        let api = &self.bot.api;
        api.call(&api.messages, &self.attempt, method, body).await
    }
}

/// Takes away what Slack refuses, if it is there.
fn make_plainer(body: &mut Value, refusal: &Refusal) -> bool {
    if refusal.is_about_broadcasts() {
        return body["reply_broadcast"].take() == true;
    }
    let Some(body) = body.as_object_mut().filter(|_| refusal.is_about_content()) else {
        return false;
    };
    let (blocks, metadata) = (body.remove("blocks"), body.remove("metadata"));
    blocks.is_some() || metadata.is_some()
}

fn too_many(wait: std::time::Duration) -> Outcome {
    Outcome::Retry {
        after: Span::from_std(wait).ok(),
        why: "more messages for the channel than Slack takes in a minute".to_owned(),
        is_uncertain: false,
    }
}

/// An id of a channel: letters and digits.
fn is_id(text: &str) -> bool {
    (2..=32).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric())
}

/// What identifies a message in its channel: `1405894322.002768`.
fn is_ts(text: &str) -> bool {
    let is_digits =
        |text: &str| (1..=16).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    text.split_once('.')
        .is_some_and(|(seconds, rest)| is_digits(seconds) && is_digits(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slacks_ids_are_ids() {
        for (text, is) in [
            ("1405894322.002768", true),
            ("1405894322", false),
            ("", false),
            (".", false),
            ("1.x", false),
            ("1.2.3", false),
            ("../1.2", false),
        ] {
            assert_eq!(is_ts(text), is, "{text}");
        }
        for (text, is) in [
            ("C0DATAOPS", true),
            ("C", false),
            ("C1/x", false),
            ("#data", false),
        ] {
            assert_eq!(is_id(text), is, "{text}");
        }
    }

    #[test]
    fn a_refused_reply_loses_what_was_refused_and_no_more() {
        let refusal = |error: &str| Refusal::of(error);
        let body =
            || json!({ "text": "x", "blocks": [1], "metadata": {}, "reply_broadcast": true });
        let mut plain = body();
        assert!(make_plainer(&mut plain, &refusal("cant_broadcast_message")));
        assert!(
            !make_plainer(&mut plain, &refusal("cant_broadcast_message")),
            "once"
        );
        assert_eq!(plain["blocks"], json!([1]));
        let mut plain = body();
        assert!(make_plainer(&mut plain, &refusal("msg_blocks_too_long")));
        assert_eq!(plain, json!({ "text": "x", "reply_broadcast": true }));
        assert!(
            !make_plainer(&mut plain, &refusal("msg_too_long")),
            "nothing is left to take"
        );
        assert!(!make_plainer(&mut body(), &refusal("token_revoked")));
    }
}
