//! Telling people: one notifier for each kind of receiver.

use std::pin::Pin;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::engine::notification::Notification;
use crate::engine::observation::Name;
use crate::engine::time::Span;

/// A named destination.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Configured name.
    pub name: Name,
    /// Its kind, with what that kind needs.
    pub kind: ReceiverKind,
}

/// The kinds of receivers.
#[derive(Clone, Debug)]
pub enum ReceiverKind {
    /// Slack with a bot token. Not built yet.
    Slack(Slack),
    /// Slack incoming webhook.
    SlackWebhook {
        /// The webhook's address, which is a secret.
        url: SecretString,
    },
    /// Discord with a bot token. Not built yet.
    Discord(Discord),
    /// Discord webhook, edited in place.
    DiscordWebhook {
        /// The webhook's address, which is a secret.
        url: SecretString,
    },
    /// Mail.
    Email(Email),
    /// JSON over HTTP, signed.
    Webhook {
        /// The address, which may hold a secret.
        url: SecretString,
        /// Key of the HMAC-SHA256 signature; `None`: not signed.
        secret: Option<SecretString>,
    },
    /// Cards on standard output.
    Console,
}

/// Slack with a bot token.
#[derive(Clone, Debug)]
pub struct Slack {
    /// Bot token.
    pub token: SecretString,
    /// Channel id.
    pub channel: String,
    /// Base of the Web API.
    pub api_url: Url,
}

/// Discord with a bot token.
#[derive(Clone, Debug)]
pub struct Discord {
    /// Bot token.
    pub token: SecretString,
    /// Channel id.
    pub channel_id: String,
}

/// Mail.
#[derive(Clone, Debug)]
pub struct Email {
    /// Checked addresses, one envelope for each.
    pub to: Vec<String>,
    /// The relay.
    pub smtp: Smtp,
}

/// A mail relay.
#[derive(Clone, Debug)]
pub struct Smtp {
    /// Configured name.
    pub name: Name,
    /// Host name.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: SmtpTls,
    /// User name, with its password.
    pub credentials: Option<(String, SecretString)>,
    /// Checked sender, `Tardy <tardy@example.com>`.
    pub from: String,
}

/// How an SMTP connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// STARTTLS, required.
    StartTls,
    /// TLS from the first byte.
    Implicit,
    /// None; loopback only.
    None,
}

impl ReceiverKind {
    /// As configuration writes it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Slack(_) => "slack",
            Self::SlackWebhook { .. } => "slack_webhook",
            Self::Discord(_) => "discord",
            Self::DiscordWebhook { .. } => "discord_webhook",
            Self::Email(_) => "email",
            Self::Webhook { .. } => "webhook",
            Self::Console => "console",
        }
    }
}

/// Everything a notifier needs for one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// What to say.
    pub notification: &'a Notification,
    /// What this receiver returned when the conversation was opened, if it was.
    pub handle: Option<&'a Handle>,
    /// 1 for the first try.
    pub attempt: u32,
}

/// A provider's reference to a conversation's first message, kept so that it can be edited or
/// replied to. Opaque outside the notifier that made it; no secret; at most 2 KiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle(pub serde_json::Value);

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it. `handle` replaces the stored one when it is `Some`.
    Delivered {
        /// Reference to the conversation's first message.
        handle: Option<Handle>,
    },
    /// Not now; try again, not before `after` when the receiver said so. The attempt may have reached
    /// the receiver (`is_uncertain`), as after a timeout.
    Retry {
        /// The receiver's own wish.
        after: Option<Span>,
        /// What went wrong, in words for people; no secret.
        why: String,
        /// The message may have arrived.
        is_uncertain: bool,
    },
    /// Never: revoked, unknown channel, refused content.
    Rejected {
        /// What went wrong and what to do, in words for people; no secret.
        why: String,
    },
}

/// Talks to one kind of receiver.
pub trait Notifier: Send + Sync {
    /// Tries once (with the waiting a `Retry-After` asks for, within [`ATTEMPT_BUDGET`]).
    fn deliver<'a>(
        &'a self,
        delivery: Delivery<'a>,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;
}

/// Longest time one attempt may take, waiting included.
pub const ATTEMPT_BUDGET: Span = Span::seconds(60);
