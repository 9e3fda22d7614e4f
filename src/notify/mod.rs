//! Telling people: one notifier for each kind of receiver.

use secrecy::SecretString;
use url::Url;

use crate::engine::observation::Name;

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
