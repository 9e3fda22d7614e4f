//! Mail: one message for each recipient, in one thread for each conversation.
//!
//! Guarantees: one refused recipient does not stop the others, and a repeated attempt does not mail again
//! those who have it; the Message-ID is the same at every attempt, so that a mail repeated after a lost
//! answer can be recognised; replies refer to the conversation's first message and carry its subject; no
//! header comes from data but the subject, which is cleaned and encoded; a chart is a part of the mail, shown by
//! its Content-ID. It does not sign (DKIM is the relay's) and reads no mail.

mod mime;
mod smtp;

pub(super) use self::mime::mjml_to_html;

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use self::mime::Letter;
use self::smtp::{Failure, Relay, Session};
use super::limits::mail as limits;
use super::message::Message;
use super::{
    ATTEMPT_BUDGET, BuildContext, BuildError, Delivery, Email, Handle, Notifier, Outcome, Preview,
    Writer,
};
use crate::engine::notification::Notification;
use crate::engine::route::Owner;

/// Mails through a relay.
pub(super) struct EmailNotifier {
    receiver: String,
    to: Vec<Mailbox>,
    from: Mailbox,
    relay: Relay,
    writer: Writer,
    owners: Arc<[Owner]>,
    progress: Mutex<Progress>,
}

/// What is kept of the conversation.
#[derive(Serialize, Deserialize, Default)]
struct Thread {
    subject: String,
    /// Recipients who were refused for good, with the last delivery.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    refused: Vec<String>,
}

/// What came of one recipient.
#[derive(Clone, Debug)]
enum Fate {
    Has,
    Refused(String),
}

/// Who has which delivery, between attempts; the oldest is forgotten first.
#[derive(Default)]
struct Progress(VecDeque<(String, BTreeMap<usize, Fate>)>);

impl Progress {
    fn take(&mut self, delivery_id: &str) -> BTreeMap<usize, Fate> {
        let found = self.0.iter().position(|(id, _)| id == delivery_id);
        found
            .and_then(|index| self.0.remove(index))
            .map(|(_, results)| results)
            .unwrap_or_default()
    }

    fn keep(&mut self, delivery_id: &str, results: BTreeMap<usize, Fate>) {
        if self.0.len() >= limits::PROGRESS {
            self.0.pop_front();
        }
        self.0.push_back((delivery_id.to_owned(), results));
    }
}

impl EmailNotifier {
    pub(super) fn new(
        receiver: &str,
        email: &Email,
        context: &BuildContext,
    ) -> Result<Self, BuildError> {
        let mailbox = |what: &str, text: &str| {
            text.parse::<Mailbox>().map_err(|error| BuildError::Mail {
                receiver: receiver.to_owned(),
                what: format!("{what} {text:?}"),
                why: format!("{error}; write name@example.com or Name <name@example.com>"),
            })
        };
        let to = email.to.iter().map(|to| mailbox("to", to));
        Ok(Self {
            receiver: receiver.to_owned(),
            to: to.collect::<std::result::Result<_, _>>()?,
            from: mailbox("from", &email.smtp.from)?,
            relay: Relay::new(receiver, &email.smtp, context.timeouts)?,
            writer: context.writer(),
            owners: context.owners.clone(),
            progress: Mutex::default(),
        })
    }

    async fn attempt(&self, delivery: Delivery<'_>) -> Outcome {
        let message = self.message(delivery.notification);
        let known = delivery
            .handle
            .and_then(|handle| Thread::deserialize(&handle.0).ok());
        let subject = known.map_or_else(|| mime::subject(&message), |thread| thread.subject);
        let letter = Letter::new(
            &message,
            delivery.notification,
            &subject,
            &self.from,
            &self.receiver,
            delivery.chart,
        );
        let mut results = self.progress().take(&message.delivery_id);
        let failed = self.send_all(&letter, &mut results).await;
        if failed.is_empty() {
            return self.settled(&results, subject);
        }
        let outcome = self.unsettled(&results, &failed);
        self.progress().keep(&message.delivery_id, results);
        outcome
    }

    /// With the addresses of owners beside their names.
    fn message(&self, notification: &Notification) -> Message {
        let mut message = self.writer.message(notification);
        for card in &mut message.cards {
            let mut owners = self.owners.iter();
            let known = owners.find(|owner| card.owner.as_deref() == Some(&owner.name));
            if let Some(address) = known.and_then(|owner| owner.email.as_deref()) {
                card.owner = card.owner.as_ref().map(|name| format!("{name}, {address}"));
            }
        }
        message
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Mails everybody who has no result yet; returns the failures that may pass.
    async fn send_all(
        &self,
        letter: &Letter<'_>,
        results: &mut BTreeMap<usize, Fate>,
    ) -> Vec<(usize, Failure)> {
        let until = Instant::now() + ATTEMPT_BUDGET.to_std().unwrap_or_default();
        let mut session = self.relay.session(until).await;
        let mut failed = Vec::new();
        let mut general: Option<Failure> = None;
        for (index, to) in self.to.iter().enumerate() {
            if results.contains_key(&index) {
                continue;
            }
            let sent = match &general {
                // Asking again for every recipient could lock the account.
                Some(failure) => Err(failure.clone()),
                None => self.send_one(&mut session, letter, to).await,
            };
            let Err(failure) = sent else {
                results.insert(index, Fate::Has);
                continue;
            };
            if failure.is_general() {
                general = Some(failure.clone());
            }
            if failure.is_permanent {
                results.insert(index, Fate::Refused(failure.why));
            } else {
                failed.push((index, failure));
            }
        }
        session.park();
        failed
    }

    async fn send_one(
        &self,
        session: &mut Session<'_>,
        letter: &Letter<'_>,
        to: &Mailbox,
    ) -> std::result::Result<(), Failure> {
        let mail = letter
            .to(to)
            .map_err(|why| Failure::permanent(format!("{}: {why}", to.email)))?;
        let sent = session.send(&self.from.email, &to.email, &mail).await;
        sent.map_err(|failure| failure.about(to.email.as_ref()))
    }

    /// Everybody has a result.
    fn settled(&self, results: &BTreeMap<usize, Fate>, subject: String) -> Outcome {
        let refused: Vec<(&usize, &String)> = results
            .iter()
            .filter_map(|(index, result)| match result {
                Fate::Refused(why) => Some((index, why)),
                Fate::Has => None,
            })
            .collect();
        if let Some((_, why)) = refused.first().filter(|_| refused.len() == results.len()) {
            let more = match refused.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more recipients)"),
            };
            return Outcome::Rejected {
                why: format!("{why}{more}"),
            };
        }
        for (_, why) in &refused {
            tracing::warn!(receiver.name = %self.receiver, "mail refused for one recipient: {why}");
        }
        let refused = refused.iter().filter_map(|(index, _)| self.to.get(**index));
        let thread = Thread {
            subject,
            refused: refused
                .take(limits::HANDLE_RECIPIENTS)
                .map(|to| super::text::cut(to.email.as_ref(), 60))
                .collect(),
        };
        Outcome::Delivered {
            handle: serde_json::to_value(thread).ok().map(Handle),
        }
    }

    fn unsettled(&self, results: &BTreeMap<usize, Fate>, failed: &[(usize, Failure)]) -> Outcome {
        let have = results
            .values()
            .filter(|result| matches!(result, Fate::Has))
            .count();
        let why = failed
            .first()
            .map(|(_, failure)| failure.why.clone())
            .unwrap_or_default();
        let why = match self.to.len() {
            0 | 1 => why,
            all => format!("{have} of {all} recipients have it; {why}"),
        };
        Outcome::Retry {
            after: None,
            why,
            is_uncertain: failed.iter().any(|(_, failure)| failure.is_uncertain()),
        }
    }
}

impl Notifier for EmailNotifier {
    fn deliver<'a>(
        &'a self,
        delivery: Delivery<'a>,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(self.attempt(delivery))
    }

    fn wants_chart(&self, _notification: &Notification) -> bool {
        true
    }

    fn preview(&self, delivery: Delivery<'_>) -> Vec<Preview> {
        let message = self.message(delivery.notification);
        let subject = mime::subject(&message);
        let letter = Letter::new(
            &message,
            delivery.notification,
            &subject,
            &self.from,
            &self.receiver,
            None,
        );
        self.to
            .first()
            .map(|to| letter.preview(to))
            .unwrap_or_default()
    }
}
