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
//! Role of the parts: [`talk`] is one attempt, [`api`] calls, [`payload`] says what, [`blocks`] and [`escape`] (shared with the webhook) lay
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
mod talk;

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::json;

use self::api::Api;
use self::escape::mentions;
use self::look_up::LookUp;
use self::pace::Pace;
use self::payload::{Continued, Letter, Sheet, Size};
use self::picture::Pictures;
use self::progress::Open;
use self::talk::Talk;
use super::limits::slack as limits;
use super::{
    BuildContext, BuildError, Delivery, Notifier, Outcome, Preview, PreviewForm, Slack, Writer,
};
use crate::engine::notification::{Body, Notification, Reason};
use crate::engine::route::Owner;

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
        if let Outcome::Retry { is_uncertain, .. } = outcome {
            // What this attempt may have posted is looked for anew.
            talk.progress.is_looked_up &= !is_uncertain;
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

    fn preview(&self, delivery: Delivery<'_>) -> Vec<Preview> {
        let message = self.writer.message(delivery.notification);
        let (id, is_opening) = (message.delivery_id.clone(), message.is_opening);
        let letter = Letter {
            mentions: mentions(&message, &self.owners),
            notification: delivery.notification,
            has_buttons: self.has_buttons,
            message,
        };
        let part = |title, sheet: Sheet, number| {
            let mut body = sheet.body(Size::Full.metadata(&id, number));
            body["channel"] = json!(self.channel);
            Preview {
                title,
                form: PreviewForm::Json,
                text: body.to_string(),
            }
        };
        if is_opening {
            let (sheet, _) = letter.whole(Size::Full, Continued::All, &letter.mentions);
            return vec![part("chat.postMessage", sheet, None)];
        }
        let (sheet, _) = letter.whole(Size::Full, Continued::None, "");
        vec![
            part("chat.update, of the first message", sheet, None),
            part("chat.postMessage, in its thread", letter.line(), Some(0)),
        ]
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
}
