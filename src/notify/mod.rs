//! Telling people: one notifier for each kind of receiver.
//!
//! Role: a [`Notification`] becomes a neutral [`message`], which
//! each kind of receiver lays out, escapes, fits to its platform's [`limits`] and sends. Guarantees: text
//! from outside is data and cannot ping, link, inject or reorder; secrets are [`mask`]ed and no [`Outcome`]
//! holds one; every wait, body and answer is bounded; a repeated delivery is harmless wherever the platform
//! edits, and has the same id everywhere else. It does not decide whom to tell, when, or how often to try:
//! that is the engine's and the deliverer's.
//!
//! A new kind is one file here, one variant of [`ReceiverKind`], one arm of [`build`], and one row in
//! `tests/notifiers.rs`.

pub mod digest;
pub mod http;
pub mod limits;
pub mod mask;
pub mod message;

mod console;
mod discord_webhook;
mod email;
mod pagerduty;
pub mod sample;
mod slack;
mod slack_webhook;
mod teams;
pub mod template;
pub(crate) mod text;
mod webhook;
mod writer;

use std::io::Write;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use chrono_tz::Tz;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::engine::notification::Notification;
use crate::engine::observation::Name;
use crate::engine::route::Owner;
use crate::engine::time::Span;

pub(crate) use teams::is_user as is_teams_user;
pub use webhook::signature;
pub use writer::Writer;

/// A named destination.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Configured name.
    pub name: Name,
    /// Its kind, with what that kind needs.
    pub kind: ReceiverKind,
    /// Its own texts, which replace the built-in ones.
    pub template: TemplateTexts,
}

/// A receiver's own texts, as minijinja templates; what is `None` is built in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateTexts {
    /// The subject of a mail.
    pub subject: Option<String>,
    /// The first line, which stands alone on a phone.
    pub title: Option<String>,
    /// What stands below it, instead of the alerts' cards.
    pub body: Option<String>,
}

/// The kinds of receivers.
#[derive(Clone, Debug)]
pub enum ReceiverKind {
    /// Slack with a bot token: edited in place, with a thread.
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
    /// PagerDuty: pages people.
    PagerDuty(PagerDuty),
    /// Cards in Microsoft Teams, through a workflow.
    Teams {
        /// The workflow's address, which is a secret.
        url: SecretString,
    },
    /// Cards on standard output.
    Console,
}

/// Slack with a bot token.
#[derive(Clone, Debug)]
pub struct Slack {
    /// Bot token.
    pub token: SecretString,
    /// Channel id, not a name.
    pub channel: String,
    /// Base of the Web API.
    pub api_url: Url,
    /// Messages carry buttons; only where somebody answers them.
    pub buttons: bool,
}

/// Discord with a bot token.
#[derive(Clone, Debug)]
pub struct Discord {
    /// Bot token.
    pub token: SecretString,
    /// Channel id.
    pub channel_id: String,
}

/// PagerDuty's Events API v2.
#[derive(Clone, Debug)]
pub struct PagerDuty {
    /// Key of an integration.
    pub routing_key: SecretString,
    /// Base of the Events API, by region.
    pub api_url: Url,
}

/// Mail.
#[derive(Clone, Debug)]
pub struct Email {
    /// Checked addresses, one envelope for each.
    pub to: Vec<String>,
    /// The relay.
    pub smtp: Smtp,
}

impl Email {
    fn values(&self) -> Vec<String> {
        let Smtp {
            name,
            host,
            port,
            tls,
            credentials,
            from,
        } = &self.smtp;
        let mut values = self.to.clone();
        values.extend([name.to_string(), host.clone(), format!("{port} {tls:?}")]);
        if let Some((user, password)) = credentials {
            values.extend([user.clone(), password.expose_secret().to_owned()]);
        }
        values.push(from.clone());
        values
    }
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

impl Receiver {
    /// Nothing about it differs, secrets included: what is under way to it may go on.
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.template == other.template
            && self.kind.name() == other.kind.name()
            && self.kind.values() == other.kind.values()
    }
}

impl ReceiverKind {
    /// All that configures it, for comparison alone: secrets are among it.
    fn values(&self) -> Vec<String> {
        let shown = |secret: &SecretString| secret.expose_secret().to_owned();
        match self {
            Self::Slack(slack) => vec![
                shown(&slack.token),
                slack.channel.clone(),
                slack.api_url.to_string(),
                slack.buttons.to_string(),
            ],
            Self::SlackWebhook { url } | Self::DiscordWebhook { url } | Self::Teams { url } => {
                vec![shown(url)]
            }
            Self::Discord(discord) => vec![shown(&discord.token), discord.channel_id.clone()],
            Self::Email(email) => email.values(),
            Self::Webhook { url, secret } => {
                let secret = secret.as_ref().map(shown);
                vec![shown(url), secret.unwrap_or_default()]
            }
            Self::PagerDuty(pager) => vec![shown(&pager.routing_key), pager.api_url.to_string()],
            Self::Console => Vec::new(),
        }
    }

    /// As configuration writes it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Slack(_) => "slack",
            Self::SlackWebhook { .. } => "slack_webhook",
            Self::Discord(_) => "discord",
            Self::DiscordWebhook { .. } => "discord_webhook",
            Self::Email(_) => "email",
            Self::Webhook { .. } => "webhook",
            Self::PagerDuty(_) => "pagerduty",
            Self::Teams { .. } => "teams",
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
    /// An earlier try may have reached the receiver: where the platform can be asked, it is.
    pub is_uncertain: bool,
    /// A picture to go with it, for those who show pictures.
    pub chart: Option<&'a Chart>,
}

/// A picture that goes with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chart {
    /// File name, `finance-nightly.png`: letters, digits, `-`, `_` and one dot.
    pub name: String,
    /// What it shows, in words, for those who cannot see it.
    pub alt: String,
    /// PNG.
    pub png: Arc<[u8]>,
}

impl Chart {
    /// Its name, where it is one; nothing else may stand in a header.
    pub(crate) fn file_name(&self) -> &str {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name = self.name.as_str();
        let fits =
            (5..=limits::FILE_NAME).contains(&name.len()) && name.strip_suffix(".png").is_some();
        if fits && name.chars().all(is_plain) {
            name
        } else {
            "chart.png"
        }
    }
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

    /// What would be sent, without sending it; no secret, so no address of a webhook. Empty when the kind cannot
    /// say.
    fn preview(&self, _delivery: Delivery<'_>) -> Vec<Preview> {
        Vec::new()
    }

    /// A chart is shown with this one, if there is any.
    fn wants_chart(&self, _notification: &Notification) -> bool {
        false
    }
}

/// A part of what would be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// What it is, in words: `POST`, `headers`, `text`.
    pub title: &'static str,
    /// Its form.
    pub form: PreviewForm,
    /// The part as it would be sent.
    pub text: String,
}

/// The form of a part of what would be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreviewForm {
    /// JSON.
    Json,
    /// HTML.
    Html,
    /// Lines `Name: value`.
    Headers,
    /// Plain text.
    Text,
}

impl PreviewForm {
    /// As data: `json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Html => "html",
            Self::Headers => "headers",
            Self::Text => "text",
        }
    }
}

/// The outcome of an attempt, whichever way it came.
fn ended<'a>(
    attempt: impl Future<Output = Result<Outcome, Outcome>> + Send + 'a,
) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
    Box::pin(async move { attempt.await.unwrap_or_else(|outcome| outcome) })
}

/// Longest time one attempt may take, waiting included.
pub const ATTEMPT_BUDGET: Span = Span::seconds(60);

/// What all notifiers share.
#[derive(Clone)]
pub struct BuildContext {
    /// Zone of rendered times.
    pub zone: Tz,
    /// Where the console receiver writes its cards.
    pub console: Arc<Mutex<dyn Write + Send>>,
    /// The console understands colours.
    pub is_colored: bool,
    /// Whom to mention for which owner's name.
    pub owners: Arc<[Owner]>,
    /// How long is waited.
    pub timeouts: http::Timeouts,
    template: TemplateTexts,
    clients: Arc<http::Clients>,
}

impl BuildContext {
    /// Without owners, with the default time-outs.
    pub fn new(zone: Tz, console: Arc<Mutex<dyn Write + Send>>, is_colored: bool) -> Self {
        Self {
            zone,
            console,
            is_colored,
            owners: Arc::default(),
            timeouts: http::Timeouts::default(),
            template: TemplateTexts::default(),
            clients: Arc::default(),
        }
    }

    /// Writes the messages of the receiver that is being built.
    pub(crate) fn writer(&self) -> Writer {
        Writer::new(self.zone, &self.template)
    }
}

/// Why a receiver cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// This version does not have the kind.
    #[error("receiver `{receiver}`: kind `{kind}` is not in this version; use `{instead}`")]
    NotBuilt {
        /// The receiver.
        receiver: String,
        /// Its kind.
        kind: &'static str,
        /// A kind that does nearly the same.
        instead: &'static str,
    },
    /// Its address cannot be used. The address itself is a secret and not shown.
    #[error("receiver `{receiver}`: its url cannot be used: {why}")]
    Address {
        /// The receiver.
        receiver: String,
        /// What is wrong, and what to do.
        why: &'static str,
    },
    /// Its token cannot be used. The token itself is not shown.
    #[error("receiver `{receiver}`: its token cannot be used: {why}")]
    Token {
        /// The receiver.
        receiver: String,
        /// What is wrong, and what to do.
        why: &'static str,
    },
    /// A mail address or the relay cannot be used.
    #[error("receiver `{receiver}`: {what} cannot be used: {why}")]
    Mail {
        /// The receiver.
        receiver: String,
        /// The part: `to "x"`, `from`, `smtp "office"`.
        what: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// TLS or the HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up: {why}; check the machine's certificate store")]
    Client {
        /// What went wrong.
        why: String,
    },
}

/// Builds the notifier of a receiver. Connects to nothing.
pub fn build(receiver: &Receiver, context: &BuildContext) -> Result<Box<dyn Notifier>, BuildError> {
    let name = &receiver.name;
    let context = &BuildContext {
        template: receiver.template.clone(),
        ..context.clone()
    };
    let not_built = |instead| BuildError::NotBuilt {
        receiver: name.to_string(),
        kind: receiver.kind.name(),
        instead,
    };
    Ok(match &receiver.kind {
        ReceiverKind::Slack(slack) => Box::new(slack::SlackBot::new(name, slack, context)?),
        ReceiverKind::SlackWebhook { url } => {
            Box::new(slack_webhook::SlackWebhook::new(name, url, context)?)
        }
        ReceiverKind::Discord(_) => return Err(not_built("discord_webhook")),
        ReceiverKind::DiscordWebhook { url } => {
            Box::new(discord_webhook::DiscordWebhook::new(name, url, context)?)
        }
        ReceiverKind::Email(email) => Box::new(email::EmailNotifier::new(name, email, context)?),
        ReceiverKind::Webhook { url, secret } => {
            Box::new(webhook::Webhook::new(name, url, secret.as_ref(), context)?)
        }
        ReceiverKind::PagerDuty(config) => {
            Box::new(pagerduty::PagerDutyNotifier::new(name, config, context)?)
        }
        ReceiverKind::Teams { url } => Box::new(teams::Teams::new(name, url, context)?),
        ReceiverKind::Console => Box::new(console::Console::new(context)),
    })
}
