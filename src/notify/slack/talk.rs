//! One attempt at one delivery: what is edited, posted and replied, in which order.
//!
//! Guarantees: an edit comes before its reply and can be repeated; a reply is made once, as far as can be known;
//! a refused edit takes no ping away; a message that is gone is posted anew at once.

use serde_json::{Value, json};

use super::api::{Failure, Refusal};
use super::payload::{Continued, Letter, Part, Sheet, Size};
use super::progress::Progress;
use super::{Posted, SlackBot, is_id, is_ts};
use crate::engine::notification::Reason;
use crate::engine::rule::Severity;
use crate::engine::time::Span;
use crate::notify::http::Attempt;
use crate::notify::{Delivery, Handle, Outcome};

/// What Slack said to an edit or a reply.
enum Placed {
    Done,
    /// The message is gone.
    Gone,
    /// It is there and may not be edited.
    Fixed,
}

/// One attempt at one delivery.
pub(super) struct Talk<'a> {
    pub(super) bot: &'a SlackBot,
    pub(super) attempt: Attempt<'a>,
    pub(super) delivery: Delivery<'a>,
    pub(super) letter: Letter<'a>,
    /// What earlier attempts have done, and this one.
    pub(super) progress: Progress,
}

impl Talk<'_> {
    /// Says it. `Err` is the outcome too.
    pub(super) async fn tell(&mut self) -> Result<Outcome, Outcome> {
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
        // One that may not be edited any more is there all the same.
        Ok(matches!(edited, Placed::Done | Placed::Fixed).then_some(found))
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

#[cfg(test)]
mod tests {
    use super::*;

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
