//! Everything real but time: simulator, client, engine, store, deliverer, notifiers, and local fakes of the
//! platforms. Time is moved step by step. Two things are held always: what is sent is in the stored outbox
//! at that moment, and no secret is in anything that anybody sees or that is stored.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tardy::app::clock::{Clock as _, ManualClock};
use tardy::app::deliver::{Deliverer, Outgoing, Report};
use tardy::app::pipeline::{Activation, Incoming, Pipeline};
use tardy::app::poll::source_health;
use tardy::app::start::{self, Built, Notifiers, Surfaces};
use tardy::config::{self, Config, Environment};
use tardy::engine::acting::{Act, ActKind, Acted};
use tardy::engine::notification::Notification;
use tardy::engine::time::{Span, Timestamp};
use tardy::engine::{Engine, Notice};
use tardy::notify::{Delivery, Notifier, Outcome};
use tardy::sim::{
    Faults, JobPlan, Organization, PlannedRun, ProjectKind, ProjectPlan, Running, SimClock,
    Variant, serve,
};
use tardy::source::dagctl::{Dagctl, DagctlSettings, Retry};
use tardy::source::{Problem, Source as _};
use tardy::store::records::{DeliveryOutcome, DeliveryRecord, Segments, Sequences};
use tardy::store::sled::{SledOptions, SledStore};
use tardy::store::{Commit, Record, Store, StoreError, Table, records};

use crate::chat::pagerduty::ROUTING_KEY;
use crate::chat::{Chat, SECRET};
use crate::mail::Mail;
use crate::smtp::Smtp;

pub(crate) const TOKEN: &str = "dctl_e2e-token-0123456789abcdef";
pub(crate) const PASSWORD: &str = "smtp-Passw0rd-e2e";
pub(crate) const KEY: &str = "hmac-key-e2e-0123456789";
pub(crate) const PROJECT: &str = "proj_finance";
pub(crate) const JOB: &str = "hourly-orders";

/// When watching begins.
pub(crate) fn begin() -> Timestamp {
    Timestamp::parse("2026-03-12T06:30:00Z").unwrap()
}

/// So many minutes after the beginning.
pub(crate) fn minute(minutes: i64) -> Timestamp {
    begin() + Span::minutes(minutes)
}

pub(crate) const FAILED: &str =
    "[[rule]]\nname = \"run-failed\"\nkind = \"run_failed\"\nseverity = \"critical\"\n";

/// The service file; `receivers` are routed to, `ops` is the fallback.
pub(crate) const SERVICE: &str = r#"
rules = ["rules.toml"]

[[source]]
name = "acme"
kind = "dagctl"
base_url = "http://127.0.0.1:1"
organization = "org-acme"
token = { env = "DAGCTL_TOKEN" }
poll_interval = "30s"
backfill = "30d"

[store]
path = "data"

[[receiver]]
name = "slack"
kind = "slack_webhook"
url = { env = "SLACK_URL" }

[[receiver]]
name = "discord"
kind = "discord_webhook"
url = { env = "DISCORD_URL" }

[[receiver]]
name = "mail"
kind = "email"
to = ["lead@example.com"]
smtp = "office"

[[receiver]]
name = "hook"
kind = "webhook"
url = { env = "HOOK_URL" }
secret = { env = "HOOK_KEY" }

[[receiver]]
name = "ops"
kind = "webhook"
url = { env = "OPS_URL" }

[[smtp]]
name = "office"
host = "127.0.0.1"
port = 2525
tls = "none"
username = "tardy"
password = { env = "SMTP_PASSWORD" }
from = "Tardy <tardy@example.com>"

[route]
receivers = ["slack", "discord", "mail", "hook"]
group_by = ["project", "job"]
group_wait = "0s"
group_interval = "10s"
repeat_interval = "12h"
fallback = ["ops"]
"#;

/// A store that fails when it is told to.
pub(crate) struct Fragile {
    inner: SledStore,
    mood: Arc<AtomicU8>,
    has_settled: AtomicBool,
}

/// What a [`Fragile`] store refuses.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Mood {
    Well = 0,
    /// Every commit.
    Full = 1,
    /// Commits that record the end of a delivery: as a crash right after sending.
    CrashAfterSending = 2,
    /// Commits of steps, once the end of a delivery was recorded.
    CrashAfterRecording = 3,
    /// Every commit, for good.
    Broken = 4,
}

impl Store for Fragile {
    fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        let is_settling = commit.writes.iter().any(|(table, _, value)| {
            *table == Table::Delivery || (*table == Table::Outbox && value.is_none())
        });
        if self.mood.load(Ordering::SeqCst) == Mood::Broken as u8 {
            let (path, why) = (self.inner.path().to_owned(), "a sync failed".to_owned());
            return Err(StoreError::Broken { path, why });
        }
        let is_refused = match self.mood.load(Ordering::SeqCst) {
            1 => true,
            2 => is_settling,
            3 => !is_settling && self.has_settled.load(Ordering::SeqCst),
            _ => false,
        };
        self.has_settled.fetch_or(is_settling, Ordering::SeqCst);
        if is_refused {
            return Err(StoreError::Full {
                path: self.inner.path().to_owned(),
            });
        }
        self.inner.commit(commit)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Record, StoreError>> + '_> {
        self.inner.scan(table, prefix)
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Box<dyn DoubleEndedIterator<Item = Result<Record, StoreError>> + '_> {
        self.inner.range(table, from, to)
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.inner.size_bytes()
    }
}

/// A notifier that looks into the store before it sends: intent is committed first.
struct Witness {
    inner: Arc<dyn Notifier>,
    store: Arc<Fragile>,
    early: Arc<Mutex<Vec<String>>>,
}

impl Notifier for Witness {
    fn deliver<'a>(
        &'a self,
        delivery: Delivery<'a>,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        let stored = records::load(&*self.store).unwrap().outbox;
        let is_stored = stored
            .iter()
            .any(|row| row.notification == *delivery.notification);
        if !is_stored {
            self.early
                .lock()
                .unwrap()
                .push(format!("{:?}", delivery.notification));
        }
        let is_poisonous = format!("{:?}", delivery.notification.body).contains("poisonous");
        assert!(
            !is_poisonous || &*delivery.notification.receiver != "hook",
            "poisoned, as this test wants it"
        );
        self.inner.deliver(delivery)
    }

    fn wants_chart(&self, notification: &Notification) -> bool {
        self.inner.wants_chart(notification)
    }
}

/// A terminal that keeps what is written; a clone is the same one.
#[derive(Clone, Default)]
pub(crate) struct Screen(Arc<Mutex<Vec<u8>>>);

impl Screen {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The running parts; gone at a crash.
struct Open {
    store: Arc<Fragile>,
    source: Dagctl,
    pipeline: Pipeline,
    deliverer: Deliverer,
    built: Built,
    notifiers: Notifiers,
    echo: Report,
    wake_at: Option<Timestamp>,
    polled_at: Option<Timestamp>,
}

pub(crate) struct Rig {
    pub(crate) sim: Running,
    pub(crate) wall: ManualClock,
    pub(crate) slack: Chat,
    pub(crate) discord: Chat,
    pub(crate) hook: Chat,
    pub(crate) ops: Chat,
    pub(crate) smtp: Smtp,
    /// What the console shows.
    pub(crate) screen: Screen,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) service: String,
    pub(crate) rules: String,
    /// Where Slack is, when not at `slack`.
    pub(crate) slack_at: Option<SocketAddr>,
    /// What was sent before it was committed: nothing.
    early: Arc<Mutex<Vec<String>>>,
    pub(crate) poll_every: Span,
    mood: Arc<AtomicU8>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) settled: Vec<DeliveryRecord>,
    pub(crate) acted: Vec<Acted>,
    bot: Option<Open>,
}

/// Thirty days of a calm hourly job.
pub(crate) fn organization() -> Organization {
    let mut organization = Organization::new("org-acme", TOKEN);
    organization.project(ProjectPlan::new(PROJECT, "finance", ProjectKind::Sqlmesh));
    organization.job(PROJECT, JobPlan::new(JOB, "0 * * * *"));
    let first = Timestamp::parse("2026-02-10T00:00:00Z").unwrap();
    for hour in 0.. {
        let at = first + Span::hours(hour);
        if at > begin() {
            break;
        }
        let id = format!("run_{hour:05}");
        // It has failed before, long ago.
        let run = if hour % 200 == 7 {
            PlannedRun::failure(&id, JOB, at, Span::minutes(9), "an old failure")
        } else {
            PlannedRun::success(&id, JOB, at, Span::minutes(9))
        };
        organization.add_run(PROJECT, run);
    }
    organization
}

impl Rig {
    pub(crate) async fn new(rules: &str) -> Self {
        Self::of(organization(), rules).await
    }

    pub(crate) async fn of(organization: Organization, rules: &str) -> Self {
        Self::of_variant(organization, rules, Variant::number(0)).await
    }

    pub(crate) async fn of_variant(
        organization: Organization,
        rules: &str,
        variant: Variant,
    ) -> Self {
        let clock = SimClock::new(begin());
        let listen = "127.0.0.1:0".parse().unwrap();
        let sim = serve(organization, clock, Faults::new(), variant, listen)
            .await
            .unwrap();
        let smtp = Smtp::start().await;
        smtp.require(PASSWORD);
        Self {
            sim,
            wall: ManualClock::new(begin()),
            slack: Chat::start().await,
            discord: Chat::start().await,
            hook: Chat::start().await,
            ops: Chat::start().await,
            smtp,
            screen: Screen::default(),
            folder: tempfile::tempdir().unwrap(),
            service: SERVICE.to_owned(),
            rules: rules.to_owned(),
            slack_at: None,
            early: Arc::default(),
            poll_every: Span::seconds(30),
            mood: Arc::default(),
            problems: Vec::new(),
            settled: Vec::new(),
            acted: Vec::new(),
            bot: None,
        }
    }

    /// A rig that watches and has read its history.
    pub(crate) async fn watching(rules: &str) -> Self {
        let mut rig = Self::new(rules).await;
        rig.start();
        rig.run_to(minute(1)).await;
        rig
    }

    pub(crate) fn environment(&self) -> Environment {
        let slack = self.slack_at.unwrap_or(self.slack.addr);
        Environment::from_pairs([
            ("DAGCTL_TOKEN", TOKEN.to_owned()),
            (
                "SLACK_URL",
                format!("http://{slack}/services/T1/B1/{SECRET}"),
            ),
            (
                "DISCORD_URL",
                format!(
                    "http://{}/api/webhooks/123456789012345678/{SECRET}",
                    self.discord.addr
                ),
            ),
            (
                "HOOK_URL",
                format!("http://{}/hook/{SECRET}?key={SECRET}", self.hook.addr),
            ),
            ("HOOK_KEY", KEY.to_owned()),
            ("BOT_TOKEN", SECRET.to_owned()),
            ("PAGERDUTY_KEY", ROUTING_KEY.to_owned()),
            (
                "TEAMS_URL",
                format!("http://{}/workflows/w1?sig={SECRET}", self.hook.addr),
            ),
            ("OPS_URL", format!("http://{}/ops/{SECRET}", self.ops.addr)),
            ("SMTP_PASSWORD", PASSWORD.to_owned()),
            ("TARDY_SOURCE__ACME__BASE_URL", self.sim.base_url()),
            (
                "TARDY_SMTP__OFFICE__PORT",
                self.smtp.addr.port().to_string(),
            ),
        ])
    }

    fn config(&self) -> Result<Config, String> {
        let rules = [("rules.toml", &*self.rules)];
        config::load_texts(("tardy.toml", &self.service), &rules, &self.environment())
            .map(|loaded| loaded.config)
            .map_err(|diagnostics| diagnostics.render(false))
    }

    fn notifiers(&self, config: &Config, store: &Arc<Fragile>) -> Notifiers {
        let surfaces = Surfaces {
            console: Arc::new(Mutex::new(self.screen.clone())),
            is_colored: false,
            progress: Arc::new(|_, _| {}),
        };
        let built = start::build_notifiers(config, &surfaces).unwrap();
        let watched = built.into_iter().map(|(name, inner)| {
            let witness = Witness {
                inner,
                store: Arc::clone(store),
                early: Arc::clone(&self.early),
            };
            (name, Arc::new(witness) as Arc<dyn Notifier>)
        });
        watched.collect()
    }

    /// Upkeep as the bot does it, keeping what is newer than `cutoff`.
    pub(crate) fn keep_up(&mut self, cutoff: Timestamp) {
        let now = self.wall.now();
        let bot = self.bot.as_mut().unwrap();
        bot.pipeline.engine_mut().forget_before(cutoff);
        let (store, segments) = (Arc::clone(bot.pipeline.store()), bot.pipeline.segments());
        tardy::app::upkeep::run(&*store, &segments, now, cutoff).unwrap();
    }

    pub(crate) fn stored(&self) -> &dyn Store {
        &*self.bot.as_ref().unwrap().store
    }

    /// A configuration, an open store and notifiers, for a test that puts them together itself.
    pub(crate) fn parts(&self) -> (Config, Arc<dyn Store>, Notifiers) {
        let config = self.config().unwrap();
        let opened = self.open_store(SledOptions::at(self.wall.now()));
        let (mood, has_settled) = (Arc::clone(&self.mood), AtomicBool::new(false));
        let store = Arc::new(Fragile {
            inner: opened.store,
            mood,
            has_settled,
        });
        let notifiers = self.notifiers(&config, &store);
        (config, store, notifiers)
    }

    /// Starts, or starts again, from the store.
    pub(crate) fn start(&mut self) {
        assert!(self.bot.is_none(), "crash first");
        let config = self.config().unwrap();
        let options = SledOptions::at(self.wall.now());
        let opened = self.open_store(options);
        assert_eq!(opened.notices, []);
        let store = Arc::new(Fragile {
            inner: opened.store,
            mood: Arc::clone(&self.mood),
            has_settled: AtomicBool::new(false),
        });
        let loaded = records::load(&*store).unwrap();
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        let notifiers = self.notifiers(&config, &store);
        let built = Built::of(&config);
        let settings = DagctlSettings {
            retry: Retry {
                base_delay: Duration::from_millis(1),
                max_retries: 1,
                ..Retry::default()
            },
            ..start::settings(&config.sources[0])
        };
        let source = Dagctl::resume(settings, loaded.cursors).unwrap();
        let last = loaded
            .outbox
            .iter()
            .map(|row| row.sequence)
            .max()
            .unwrap_or(0);
        let sequences = Sequences {
            outbox: last.max(self.wall.now().as_millis().unsigned_abs() << 16),
            segments: Segments::after(loaded.last_segment),
        };
        let engine = Engine::new(Arc::new(config.policy), loaded.history, loaded.saved);
        let outgoing = Outgoing {
            outbox: loaded.outbox,
            handles: loaded.handles,
            owed: loaded.owed,
        };
        let held: Arc<dyn Store> = store.clone();
        self.bot = Some(Open {
            source,
            pipeline: Pipeline::new(engine, Arc::clone(&held), sequences),
            deliverer: Deliverer::new(held, notifiers.clone(), outgoing),
            built,
            notifiers,
            store,
            echo: Report::default(),
            wake_at: None,
            polled_at: None,
        });
    }

    /// Deliveries that were cut off let go of the store a moment later.
    fn open_store(&self, options: SledOptions) -> tardy::store::sled::Opened {
        let patience = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            match SledStore::open(&self.store_path(), options) {
                Err(StoreError::Locked { .. }) if std::time::Instant::now() < patience => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                opened => return opened.unwrap(),
            }
        }
    }

    /// Everything in memory is gone.
    pub(crate) fn crash(&mut self) {
        self.bot = None;
    }

    pub(crate) fn restart(&mut self) {
        self.crash();
        self.start();
    }

    /// Puts the texts of `service` and `rules` in force, as a reload does. The old stay if they are bad.
    pub(crate) fn reload(&mut self) -> Result<(), String> {
        let config = self.config()?;
        let mut notifiers = self.notifiers(&config, &self.bot.as_ref().unwrap().store);
        let bot = self.bot.as_mut().unwrap();
        bot.built.keep(&config, &bot.notifiers, &mut notifiers);
        bot.built = Built::of(&config);
        bot.notifiers = notifiers.clone();
        bot.deliverer.set_notifiers(notifiers);
        bot.pipeline
            .engine_mut()
            .set_policy(Arc::new(config.policy));
        Ok(())
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.bot.as_ref().unwrap().pipeline.engine()
    }

    pub(crate) fn deliverer(&self) -> &Deliverer {
        &self.bot.as_ref().unwrap().deliverer
    }

    pub(crate) fn store_path(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn add(&self, run: PlannedRun) {
        self.sim.organization.edit(|organization| {
            organization.add_run(PROJECT, run);
        });
    }

    /// Moves time to `until`, with a poll every 30 seconds, and stops wherever something is due.
    pub(crate) async fn run_to(&mut self, until: Timestamp) {
        loop {
            let now = self.wall.now();
            let bot = self.bot.as_ref().unwrap();
            let poll_at = bot.polled_at.map_or(now, |at| at + self.poll_every);
            if bot.pipeline.is_blocked() && now + Span::seconds(1) <= until {
                self.set_time(now + Span::seconds(1));
                self.step(false).await;
                continue;
            }
            let due = [bot.wake_at, bot.deliverer.next_attempt_at()];
            let due = due.into_iter().flatten().filter(|at| *at > now);
            let next = due.chain([poll_at.max(now)]).min().unwrap();
            if next > until || (bot.pipeline.is_blocked() && now + Span::seconds(1) > until) {
                self.set_time(until);
                return;
            }
            self.set_time(next);
            self.step(next >= poll_at).await;
        }
    }

    pub(crate) fn set_time(&self, at: Timestamp) {
        self.wall.set(at);
        self.sim.clock.set(at);
    }

    /// One activation, with a poll or without, and all that follows from it at this instant.
    pub(crate) async fn step(&mut self, is_polling: bool) {
        let now = self.wall.now();
        let bot = self.bot.as_mut().unwrap();
        let mut incoming = Incoming::default();
        if bot.pipeline.is_blocked() {
            let Ok(Some(activation)) = bot.pipeline.retry() else {
                return;
            };
            bot.take(activation);
        }
        if is_polling {
            bot.polled_at = Some(now);
            loop {
                let batch = bot.source.poll(now).await;
                self.problems.extend(batch.problems.clone());
                incoming
                    .input
                    .health
                    .extend(source_health(&"acme".into(), &batch, now));
                let is_done = !batch.has_more;
                incoming.add(batch);
                if is_done {
                    break;
                }
            }
        }
        self.settle(incoming).await;
    }

    /// All deliveries that came to an end, as receiver and end.
    pub(crate) fn ends(&self, receiver: &str) -> Vec<DeliveryOutcome> {
        let own = self
            .settled
            .iter()
            .filter(|record| &*record.receiver == receiver);
        own.map(|record| record.outcome.clone()).collect()
    }

    /// Has something done, as a person would; what came of it.
    pub(crate) async fn act(
        &mut self,
        by: &str,
        comment: Option<&str>,
        what: ActKind,
    ) -> Option<tardy::engine::acting::Outcome> {
        let act = Act::new(by, self.wall.now(), comment, what);
        let mut incoming = Incoming::default();
        incoming.input.acts.push(act);
        self.settle(incoming).await;
        self.acted.last().map(|acted| acted.outcome.clone())
    }

    /// Says something about Tardy itself.
    pub(crate) async fn say(&mut self, headline: &str, text: &str) {
        let mut incoming = Incoming::default();
        let (headline, text) = (headline.to_owned(), text.to_owned());
        incoming.input.notices.push(Notice {
            headline,
            text,
            is_for_fallback: true,
        });
        self.settle(incoming).await;
    }

    async fn settle(&mut self, mut incoming: Incoming) {
        let now = self.wall.now();
        loop {
            let bot = self.bot.as_mut().unwrap();
            incoming.add_report(std::mem::take(&mut bot.echo));
            match bot.pipeline.activate(std::mem::take(&mut incoming), now) {
                Ok(mut activation) => {
                    self.acted.append(&mut activation.step.acts);
                    bot.take(activation);
                }
                Err(_) => return,
            }
            let wall = self.wall.clone();
            let mut report = bot.deliverer.deliver_due(&move || wall.now()).await;
            self.settled.append(&mut report.settled);
            assert_eq!(
                *self.early.lock().unwrap(),
                Vec::<String>::new(),
                "sent before it was committed"
            );
            let is_blocked = report.store_error.is_some();
            report.store_error = None;
            bot.echo = report;
            if bot.echo.is_empty() || is_blocked {
                return;
            }
        }
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.smtp
            .mails()
            .iter()
            .map(|(to, bytes)| Mail::parse(to, bytes))
            .collect()
    }

    /// How many messages each channel has had: Slack, Discord, mail, webhook, fallback.
    pub(crate) fn counts(&self) -> [usize; 5] {
        let mails = self.smtp.mails().len();
        let said = |chat: &Chat| chat.said().len();
        [
            said(&self.slack),
            said(&self.discord),
            mails,
            said(&self.hook),
            said(&self.ops),
        ]
    }

    /// Sends that were under way when the store failed go on: gives them the time to arrive, in bounds.
    pub(crate) async fn all_under_way_has_arrived(&self, expected: [usize; 5]) {
        let patience = std::time::Instant::now() + Duration::from_secs(10);
        while self.counts() != expected && std::time::Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What a webhook was told.
    pub(crate) fn told(chat: &Chat) -> Vec<Value> {
        chat.said().iter().map(crate::chat::Seen::json).collect()
    }

    /// Reason and first headline of what a webhook was told.
    pub(crate) fn story(chat: &Chat) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self::told(chat)
            .iter()
            .map(|told| (text(&told["reason"]), text(&told["headline"])))
            .collect()
    }

    /// No secret is in anything that was told, recorded, or stored.
    pub(crate) fn assert_no_secret(&self) {
        let mut seen: Vec<(String, Vec<u8>)> = Vec::new();
        for (name, chat) in [
            ("slack", &self.slack),
            ("discord", &self.discord),
            ("hook", &self.hook),
            ("ops", &self.ops),
        ] {
            seen.extend(
                chat.said()
                    .into_iter()
                    .map(|said| (name.to_owned(), said.body.into_bytes())),
            );
        }
        seen.extend(self.smtp.mails());
        seen.push((
            "problems".to_owned(),
            format!("{:?}", self.problems).into_bytes(),
        ));
        seen.push((
            "deliveries".to_owned(),
            format!("{:?}", self.settled).into_bytes(),
        ));
        files_under(self.folder.path(), &mut seen);
        for (place, bytes) in seen {
            for secret in [TOKEN, PASSWORD, KEY, SECRET] {
                let is_there = bytes
                    .windows(secret.len())
                    .any(|window| window == secret.as_bytes());
                assert!(!is_there, "{secret} is in {place}");
            }
        }
    }
}

fn files_under(path: &Path, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(path).unwrap().flatten() {
        if entry.path().is_dir() {
            files_under(&entry.path(), files);
        } else {
            files.push((
                entry.path().display().to_string(),
                std::fs::read(entry.path()).unwrap(),
            ));
        }
    }
}

impl Open {
    fn take(&mut self, activation: Activation) {
        self.wake_at = activation.step.wake_at;
        self.deliverer.enqueue(activation.rows);
    }
}
