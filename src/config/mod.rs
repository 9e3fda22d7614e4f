//! Configuration: text in, checked values out.
//!
//! [`load()`] reads a service file, lays `TARDY_` variables over it, reads every rule file it names, and
//! gives either a [`Config`] in which nothing can be wrong any more, or every mistake of all files at
//! once, each with its file, line, column and remedy. What keys there are is written down once, in
//! [`keys`]; decoding, [`schema_config`], [`schema_rules`] and the reference are made from it.
//!
//! It does not ask any API whether the named jobs exist, and it never repeats the text of a secret.

mod addresses;
mod context;
mod cursor;
mod diagnostic;
mod environment;
mod extras;
mod holidays;
pub mod keys;
mod known;
mod load;
mod overlay;
mod place;
mod receivers;
mod routing;
mod rules;
mod schema;
mod secret;
mod service;
mod softness;
mod templates;
mod tree;
mod values;
mod windows;

pub use diagnostic::{Diagnostic, DiagnosticSeverity, Diagnostics, Related};
pub use environment::Environment;
pub use load::{
    FileKind, Loaded, LoadedRules, find, kind_of_file, kind_of_text, load, load_rule_texts,
    load_rules_only, load_texts,
};
pub use schema::{schema_config, schema_rules};

use std::path::PathBuf;

use chrono_tz::Tz;
use secrecy::SecretString;
use url::Url;

use crate::engine::labels::Patterns;
use crate::engine::observation::Name;
use crate::engine::policy::Policy;
use crate::engine::schedule::Cron;
use crate::engine::time::Span;
use crate::notify::Receiver;

/// A whole checked configuration: nothing in it can be wrong any more.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// Rules and routing, for the engine.
    pub policy: Policy,
    /// Instants at which the evaluator is activated at the latest.
    pub evaluation_schedule: Cron,
    /// Zone of rendered times, digests and rule schedules.
    pub timezone: Tz,
    /// Where runs come from.
    pub sources: Vec<SourceConfig>,
    /// Where state is kept.
    pub store: StoreConfig,
    /// Named destinations.
    pub receivers: Vec<Receiver>,
    /// Commands from Slack. Not built yet.
    pub chat_slack: Option<ChatSlackConfig>,
    /// Commands from Discord. Not built yet.
    pub chat_discord: Option<ChatDiscordConfig>,
    /// Who may act from chat.
    pub chat_act: Vec<String>,
    /// Pages and API. Not built yet.
    pub web: Option<WebConfig>,
    /// A URL called after every complete evaluation cycle. Not built yet.
    pub heartbeat: Option<HeartbeatConfig>,
    /// Configured parts that this version does not have, each with its place; `run` refuses to start
    /// while there are any, `check` warns of each.
    pub not_built: Vec<NotBuilt>,
}

/// A configured part that this version does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotBuilt {
    /// What, in words: `receiver kind "slack"`.
    pub part: String,
    /// `tardy.toml:27`.
    pub place: String,
}

/// One `[[source]]`.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// Configured name.
    pub name: Name,
    /// Base address; https, or http on loopback.
    pub base_url: Url,
    /// `X-Organization-ID`.
    pub organization: String,
    /// API token.
    pub token: SecretString,
    /// Project ids or names.
    pub projects: Patterns,
    /// Time between polls, at least 1 s.
    pub poll_interval: Span,
    /// How far back the first poll reads.
    pub backfill: Span,
    /// Zone in which the scheduler reads cron expressions.
    pub schedule_timezone: Tz,
    /// Template of links to runs.
    pub run_url: Option<String>,
    /// Job names for cronjob names that do not match by themselves.
    pub job_names: std::collections::BTreeMap<String, String>,
}

/// The `[store]`.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    /// Embedded.
    Sled {
        /// Folder, relative to the configuration file unless absolute.
        path: PathBuf,
        /// How long history is kept.
        retention: Span,
    },
    /// `PostgreSQL`. Not built yet.
    Postgres {
        /// Connection string.
        url: SecretString,
        /// How long history is kept.
        retention: Span,
    },
}

/// `[chat.slack]`.
#[derive(Clone, Debug)]
pub struct ChatSlackConfig {
    /// Bot token.
    pub bot_token: SecretString,
    /// HTTP mode.
    pub signing_secret: Option<SecretString>,
    /// Socket Mode.
    pub app_token: Option<SecretString>,
}

/// `[chat.discord]`.
#[derive(Clone, Debug)]
pub struct ChatDiscordConfig {
    /// Bot token.
    pub token: SecretString,
    /// Application id.
    pub application_id: String,
    /// Key of HTTP interactions; `None`: gateway.
    pub public_key: Option<String>,
    /// Guilds in which commands are registered; empty: globally.
    pub guild_ids: Vec<String>,
}

/// `[web]`.
#[derive(Clone, Debug)]
pub struct WebConfig {
    /// Address to listen on.
    pub listen: std::net::SocketAddr,
    /// Address for links.
    pub public_url: Option<Url>,
    /// Bearer token.
    pub token: Option<SecretString>,
}

/// `[heartbeat]`.
#[derive(Clone, Debug)]
pub struct HeartbeatConfig {
    /// Called with GET.
    pub url: SecretString,
    /// Least time between calls.
    pub interval: Span,
}
