//! Builds the bot from a configuration, runs it until it is told to stop, and reloads it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clock::Clock;
use super::control;
use super::deliver::Deliverer;
use super::live::{self, Evaluator, Event, Facts, Shared};
use super::pipeline::Pipeline;
use crate::config::{Config, Environment, SourceConfig, StoreConfig};
use crate::engine::observation::{Name, ProjectKey};
use crate::engine::time::{Span, Timestamp};
use crate::engine::{Engine, Notice};
use crate::notify::{self, BuildContext, Notifier};
use crate::source::dagctl::{Dagctl, DagctlSettings, Retry, SettingsError, Timeouts};
use crate::source::{Batch, Cursor};
use crate::store::records::{self, Loaded, Sequences};
use crate::store::sled::{SledOptions, SledStore};
use crate::store::{Store, StoreError};

/// Why the bot cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Configured parts that this version does not have.
    #[error("the configuration uses parts that this version does not have:\n{}remove them, or wait for the version that has them", list(.0))]
    NotBuilt(Vec<crate::config::NotBuilt>),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A receiver cannot be built.
    #[error(transparent)]
    Receiver(#[from] notify::BuildError),
    /// A source cannot be set up.
    #[error("source {name}: {why}")]
    Source {
        /// Its name.
        name: Name,
        /// Why.
        why: SettingsError,
    },
    /// The control socket cannot be made.
    #[error(transparent)]
    Control(#[from] control::ControlError),
}

fn list(parts: &[crate::config::NotBuilt]) -> String {
    parts.iter().map(|part| format!("  {}: {}\n", part.place, part.part)).collect()
}

/// What surfaces the bot is given.
pub struct Surfaces {
    /// Where the console receiver writes.
    pub console: Arc<Mutex<dyn Write + Send>>,
    /// The console understands colours.
    pub is_colored: bool,
    /// Told of each poll, for a progress bar.
    pub progress: Arc<dyn Fn(&Name, &Batch) + Send + Sync>,
}

/// The store opened, and what it held.
pub struct Opened {
    /// The store.
    pub store: Arc<SledStore>,
    /// Its folder.
    pub path: PathBuf,
    /// What it held.
    pub loaded: Loaded,
    /// What people should know about the opening.
    pub notices: Vec<Notice>,
}

/// The folder of an embedded store.
pub fn store_path(config: &Config) -> Option<(PathBuf, Span)> {
    match &config.store {
        StoreConfig::Sled { path, retention } => Some((path.clone(), *retention)),
        StoreConfig::Postgres { .. } => None,
    }
}

/// Opens a store and reads it.
pub fn open(path: &Path, now: Timestamp) -> Result<Opened, StoreError> {
    let opened = SledStore::open(path, SledOptions::at(now))?;
    let store = Arc::new(opened.store);
    let loaded = records::load(store.as_ref())?;
    let mut notices = Vec::new();
    for notice in &opened.notices {
        tracing::warn!(store.path = %path.display(), "{notice}");
        if notice.is_loss() {
            let headline = "Tardy's store was damaged".to_owned();
            notices.push(Notice { headline, text: notice.to_string(), is_for_fallback: false });
        }
    }
    if !loaded.problems.is_empty() {
        let first = loaded.problems[0].to_string();
        let headline = format!("{} records of Tardy's store cannot be read", loaded.problems.len());
        tracing::error!(store.problems = loaded.problems.len(), "{first}");
        notices.push(Notice { headline, text: first, is_for_fallback: false });
    }
    Ok(Opened { store, path: path.to_owned(), loaded, notices })
}

/// A bot that runs.
pub struct Bot {
    /// What surfaces may look at.
    pub shared: Arc<Shared>,
    path: PathBuf,
    environment: Environment,
    surfaces: Surfaces,
    store: Arc<SledStore>,
    events: mpsc::Sender<Event>,
    poll_at: watch::Receiver<Option<Timestamp>>,
    receivers: watch::Sender<BTreeMap<Name, Arc<dyn Notifier>>>,
    pollers: CancellationToken,
    evaluator: CancellationToken,
    deliverer: CancellationToken,
    tasks: TaskTracker,
}

/// Deliveries under way at the end get so long to come to an end.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Row batches that wait for the deliverer.
const MAX_WAITING_ROWS: usize = 64;

impl Bot {
    /// Starts all tasks.
    pub fn start(
        config: Config,
        environment: Environment,
        clock: Arc<dyn Clock>,
        surfaces: Surfaces,
    ) -> Result<Self, StartError> {
        if !config.not_built.is_empty() {
            return Err(StartError::NotBuilt(config.not_built));
        }
        let notifiers = build_notifiers(&config, &surfaces)?;
        let (path, retention) = store_path(&config)
            .ok_or_else(|| StartError::NotBuilt(config.not_built.clone()))?;
        let opened = open(&path, clock.now())?;
        let (events, inbox) = live::channel();
        let (rows, row_inbox) = mpsc::channel(MAX_WAITING_ROWS);
        let (poll_at_sender, poll_at) = watch::channel(None);
        let (receivers, receiver_inbox) = watch::channel(notifiers.clone());
        let store: Arc<dyn Store> = opened.store.clone();
        let first_row = clock.now().as_millis().unsigned_abs() << 16;
        let sequences = Sequences {
            outbox: opened.loaded.outbox.iter().map(|row| row.sequence).max().unwrap_or(0).max(first_row),
            segment: opened.loaded.next_segment,
            row: 0,
        };
        let policy = Arc::new(config.policy.clone());
        let engine = Engine::new(policy, opened.loaded.history, opened.loaded.saved);
        let pipeline = Pipeline::new(engine, Arc::clone(&store), sequences);
        let facts = facts(&config, &path, retention, clock.now());
        let shared = Arc::new(Shared::new(pipeline, clock, facts));
        let deliverer = Deliverer::new(store, notifiers.clone(), opened.loaded.outbox, opened.loaded.handles, 0);
        let bot = Self {
            shared: Arc::clone(&shared),
            path: config.path.clone(),
            environment,
            surfaces,
            store: opened.store,
            events: events.clone(),
            poll_at,
            receivers,
            pollers: CancellationToken::new(),
            evaluator: CancellationToken::new(),
            deliverer: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        control::listen(control::socket_path(&path), Arc::clone(&shared), bot.evaluator.clone())?;
        let evaluator = Evaluator {
            shared: Arc::clone(&shared),
            events: inbox,
            rows,
            poll_at: poll_at_sender,
            alarm: alarm_receivers(&config, &notifiers),
        };
        bot.tasks.spawn(evaluator.run(bot.evaluator.clone()));
        let grace = STOP_GRACE;
        bot.tasks.spawn(live::deliver(
            deliverer,
            shared,
            row_inbox,
            receiver_inbox,
            events,
            bot.deliverer.clone(),
            grace,
        ));
        for notice in opened.notices {
            bot.say(notice);
        }
        bot.start_pollers(&config.sources, opened.loaded.cursors)?;
        Ok(bot)
    }

    fn start_pollers(
        &self,
        sources: &[SourceConfig],
        cursors: BTreeMap<ProjectKey, Cursor>,
    ) -> Result<(), StartError> {
        let mut ready = Vec::new();
        for source in sources {
            let mut dagctl = Dagctl::resume(settings(source), cursors.clone())
                .map_err(|why| StartError::Source { name: source.name.clone(), why })?;
            self.shared.read(|engine| {
                for project in engine.history().projects() {
                    let active = project.jobs().flat_map(|job| project.active(job));
                    let active = active.map(|run| (run.id.clone(), run.updated_at));
                    dagctl.watch_active(&project.key, active.collect::<Vec<_>>());
                }
            });
            ready.push((dagctl, source));
        }
        for (dagctl, source) in ready {
            let progress = Arc::clone(&self.surfaces.progress);
            let name = source.name.clone();
            self.tasks.spawn(live::poll(
                dagctl,
                source.poll_interval.to_std().unwrap_or(Duration::from_secs(30)),
                Arc::clone(&self.shared),
                self.events.clone(),
                self.poll_at.clone(),
                self.pollers.child_token(),
                move |batch| progress(&name, batch),
            ));
        }
        Ok(())
    }

    /// Says something about Tardy itself. Never waits: when the evaluator is that far behind, the log has it.
    fn say(&self, notice: Notice) {
        tracing::warn!("{}: {}", notice.headline, notice.text);
        let events = self.events.clone();
        self.tasks.spawn(async move {
            let _ = events.send(Event::Say(notice)).await;
        });
    }

    /// Reads the configuration again. A bad one leaves the old in force and says so, here and on the
    /// fallback.
    pub async fn reload(&mut self) {
        match self.try_reload().await {
            Ok(rules) => {
                self.shared.note_config(None);
                tracing::info!(config.rules = rules, "reloaded {}", self.path.display());
            }
            Err(why) => {
                self.shared.note_config(Some(why.clone()));
                self.say(Notice {
                    headline: format!("Tardy refused the new configuration {}", self.path.display()),
                    text: format!("The one before stays in force.\n{why}"),
                    is_for_fallback: true,
                });
            }
        }
    }

    async fn try_reload(&mut self) -> Result<usize, String> {
        let loaded = crate::config::load(&self.path, &self.environment)
            .map_err(|diagnostics| diagnostics.render(false))?;
        let config = loaded.config;
        if !config.not_built.is_empty() {
            return Err(StartError::NotBuilt(config.not_built).to_string());
        }
        let notifiers = build_notifiers(&config, &self.surfaces).map_err(|error| error.to_string())?;
        let facts = self.shared.facts();
        let (path, retention) = store_path(&config).unwrap_or_default();
        if path.display().to_string() != facts.store {
            return Err("[store] path cannot be changed by a reload; restart Tardy".to_owned());
        }
        for source in &config.sources {
            settings(source).check().map_err(|why| format!("source {}: {why}", source.name))?;
        }
        // From here on nothing can fail.
        self.pollers.cancel();
        self.pollers = CancellationToken::new();
        self.shared.set_facts(Facts {
            started_at: facts.started_at,
            ..self::facts(&config, &path, retention, facts.started_at)
        });
        let rules = config.policy.rules.len();
        self.receivers.send_replace(notifiers);
        let _ = self.events.send(Event::Reloaded(Arc::new(config.policy))).await;
        let cursors = records::load_cursors_only(self.store.as_ref()).map_err(|error| error.to_string())?;
        self.start_pollers(&config.sources, cursors).map_err(|error| error.to_string())?;
        Ok(rules)
    }

    /// Stops: no more polls, what is decided is committed, deliveries under way come to an end.
    pub async fn stop(self) {
        self.pollers.cancel();
        self.evaluator.cancel();
        self.deliverer.cancel();
        drop(self.events);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Settings of a client from a configured source.
pub fn settings(source: &SourceConfig) -> DagctlSettings {
    DagctlSettings {
        name: source.name.clone(),
        base_url: source.base_url.clone(),
        organization: source.organization.clone(),
        token: source.token.clone(),
        projects: source.projects.clone(),
        backfill: source.backfill,
        job_map: source.job_names.clone(),
        timeouts: Timeouts::default(),
        retry: Retry::default(),
    }
}

fn facts(config: &Config, store: &Path, retention: Span, started_at: Timestamp) -> Facts {
    Facts {
        config: config.path.display().to_string(),
        store: store.display().to_string(),
        sources: config.sources.iter().map(|source| source.name.clone()).collect(),
        receivers: config
            .receivers
            .iter()
            .map(|receiver| (receiver.name.clone(), receiver.kind.name()))
            .collect(),
        started_at,
        retention,
        schedule: config.evaluation_schedule.clone(),
    }
}

/// Builds every receiver's notifier.
pub fn build_notifiers(
    config: &Config,
    surfaces: &Surfaces,
) -> Result<BTreeMap<Name, Arc<dyn Notifier>>, notify::BuildError> {
    let mut context =
        BuildContext::new(config.timezone, Arc::clone(&surfaces.console), surfaces.is_colored);
    context.owners = config.policy.owners.clone().into();
    config
        .receivers
        .iter()
        .map(|receiver| {
            let notifier: Arc<dyn Notifier> = notify::build(receiver, &context)?.into();
            Ok((receiver.name.clone(), notifier))
        })
        .collect()
}

/// Told past the outbox when the store cannot be written: the fallback, or everyone at the root.
fn alarm_receivers(
    config: &Config,
    notifiers: &BTreeMap<Name, Arc<dyn Notifier>>,
) -> Vec<(Name, Arc<dyn Notifier>)> {
    let policy = &config.policy;
    let names = if policy.fallback.is_empty() { &policy.route.receivers } else { &policy.fallback };
    names
        .iter()
        .filter_map(|name| Some((name.clone(), Arc::clone(notifiers.get(name)?))))
        .collect()
}
