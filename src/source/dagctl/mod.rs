//! dagctl as a source: settings, and what is kept between two polls.
//!
//! Role: reads projects, jobs, plans, runs and model executions of one dagctl organization, and which
//! environments it protects, and reports what is new. Guarantees:
//!
//! * it only ever sends GET, and only to the configured host;
//! * coverage of a project is claimed only when a whole pass over its runs was read, with evidence that
//!   no row slipped between pages (`pages` tells how), and never beyond the server's own clock;
//! * a poll never fails as a whole: what could be read is reported with what could not;
//! * memory and time of a poll are bounded, whatever the server sends.
//!
//! A batch must be stored before the next poll. One that could not be stored is lost to this value,
//! which has moved on: drop it and [`Dagctl::resume`] from the stored cursors. A poll whose future is
//! dropped half way is harmless: the next one begins where the last complete one ended.
//!
//! It does not judge runs, keep history, or know about alerts.

mod averages;
mod client;
mod expected;
mod feature;
mod intake;
mod jobs;
mod lists;
mod names;
mod notes;
mod pages;
mod poll;
mod project;
mod protections;
mod rows;
#[cfg(test)]
mod tests;
mod wire;

pub use client::{MAX_BODY_BYTES, install_crypto};

use std::collections::BTreeMap;
use std::hash::RandomState;
use std::net::IpAddr;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

use self::client::Api;
use self::expected::Expected;
use self::names::Interner;
use self::notes::Notes;
use self::project::Tracked;
use self::protections::Protections;
use super::{Batch, Cursor, Source};
use crate::engine::labels::Patterns;
use crate::engine::observation::{Name, Project, ProjectKey, Run};
use crate::engine::time::{Span, Timestamp};

/// How to reach dagctl and what to read there.
#[derive(Clone, Debug)]
pub struct DagctlSettings {
    /// Name of the `[[source]]`.
    pub name: Name,
    /// Where the API is, without `/api/v1`.
    pub base_url: Url,
    /// The organization's id, `org-...`.
    pub organization: String,
    /// The API token, `dctl_...`.
    pub token: SecretString,
    /// Projects to watch, by id or name.
    pub projects: Patterns,
    /// How far back the first read goes.
    pub backfill: Span,
    /// `CronJob` name to job name, where they are neither equal nor a suffix.
    pub job_map: BTreeMap<String, String>,
    /// How long to wait for the server.
    pub timeouts: Timeouts,
    /// How to try again.
    pub retry: Retry,
}

/// How long to wait for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For a whole answer, connecting included.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            total: Duration::from_secs(30),
        }
    }
}

/// How to try again after a failure that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// First wait; it doubles with each try, with jitter. `Retry-After` overrules it.
    pub base_delay: Duration,
    /// Tries after the first.
    pub max_retries: usize,
    /// What one poll may spend on failed tries and waiting.
    pub budget: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            base_delay: Duration::from_millis(500),
            max_retries: 3,
            budget: Duration::from_mins(1),
        }
    }
}

/// Why settings were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Neither https nor http to this machine.
    #[error(
        "`base_url` must be https (http is allowed for localhost only), so that the token is not sent in the clear"
    )]
    Insecure,
    /// Userinfo, query or fragment.
    #[error(
        "`base_url` must be a plain address like \"https://api.dagctl.io\", without user, `?` or `#`"
    )]
    NotPlain,
    /// Not a header value, or empty.
    #[error("`token` is empty or has characters a token cannot have; copy it again from dagctl")]
    Token,
    /// Not a header value, or empty.
    #[error("`organization` is empty or not an id; it looks like \"org-1234abcd\"")]
    Organization,
    /// Not positive.
    #[error("`backfill` must be longer than zero, like \"30d\"")]
    Backfill,
    /// The HTTP client could not be built.
    #[error(
        "the HTTP client cannot be set up: {0}; check the machine's certificates and proxy settings"
    )]
    Http(String),
}

impl DagctlSettings {
    /// Refuses what could never work or would give the token away.
    pub fn check(&self) -> Result<(), SettingsError> {
        let is_visible =
            |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
        match self.base_url.scheme() {
            "https" => {}
            "http" if is_loopback(&self.base_url) => {}
            _ => return Err(SettingsError::Insecure),
        }
        let url = &self.base_url;
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() || url.fragment().is_some() {
            return Err(SettingsError::NotPlain);
        }
        if !is_visible(self.token.expose_secret()) {
            return Err(SettingsError::Token);
        }
        if !is_visible(&self.organization) {
            return Err(SettingsError::Organization);
        }
        if self.backfill <= Span::zero() {
            return Err(SettingsError::Backfill);
        }
        Ok(())
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// dagctl, read by polling. See the module for what it guarantees.
#[derive(Debug)]
pub struct Dagctl {
    settings: DagctlSettings,
    api: Api,
    /// The watched projects as last listed; `None` until they were.
    listed: Option<Vec<Project>>,
    /// Local time of the last good project list.
    listed_at: Option<Timestamp>,
    tracked: BTreeMap<Name, Tracked>,
    expected: Expected,
    protections: Protections,
    memory: Memory,
    /// Local time until which the server asked for rest.
    held_until: Option<Timestamp>,
    is_skewed: bool,
    /// Skew of the last poll that had an answer.
    last_skew: Option<Span>,
    /// A poll is under way, or was given up half way.
    is_polling: bool,
}

/// What all projects share between polls.
#[derive(Debug, Default)]
struct Memory {
    names: Interner,
    run_ids: Interner,
    hasher: RandomState,
    notes: Notes,
    /// Rows or words were met that cannot be read and had not been met before.
    is_doubtful: bool,
}

impl Dagctl {
    /// Takes up reading at the stored cursors. Projects without one begin with a backfill.
    pub fn resume(
        settings: DagctlSettings,
        cursors: BTreeMap<ProjectKey, Cursor>,
    ) -> Result<Self, SettingsError> {
        let api = Api::new(&settings)?;
        let tracked = cursors
            .into_iter()
            .filter(|(key, _)| key.source == settings.name)
            .map(|(key, cursor)| (key.project_id.clone(), Tracked::new(key, cursor)))
            .collect();
        Ok(Self {
            settings,
            api,
            listed: None,
            listed_at: None,
            tracked,
            expected: Expected::default(),
            protections: Protections::default(),
            memory: Memory::default(),
            held_until: None,
            is_skewed: false,
            last_skew: None,
            is_polling: false,
        })
    }

    /// Names runs of a project that history holds as pending or running, so that they are looked at
    /// again even if the lists never mention them. Optional; runs read by this value are known to it.
    pub fn watch_active(&mut self, key: &ProjectKey, runs: impl IntoIterator<Item = Run>) {
        if let Some(tracked) = self.tracked.get_mut(&key.project_id) {
            tracked.watch_active(runs);
        }
    }
}

impl Source for Dagctl {
    fn name(&self) -> &str {
        &self.settings.name
    }

    async fn poll(&mut self, now: Timestamp) -> Batch {
        self.read(now).await
    }
}
