//! Builds the bot from a configuration, runs it until it is told to stop, and reloads it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono_tz::Tz;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::control::{self, Asked};
use super::deliver::{Deliverer, Outgoing};
use super::dispatch::Dispatcher;
use super::evaluate::{Evaluator, InForce};
use super::illustrate::Draftsman;
use super::live::{self, Event, Facts, Shared};
use super::pipeline::Pipeline;
use super::poll;
use super::upkeep;
use crate::config::{Config, Environment, SourceConfig, StoreConfig};
use crate::engine::observation::{Name, ProjectKey};
use crate::engine::route::Owner;
use crate::engine::time::{Span, Timestamp};
use crate::engine::{Engine, Notice};
use crate::notify::{self, BuildContext, Notifier, Receiver};
use crate::source::dagctl::{Dagctl, DagctlSettings, Retry, SettingsError, Timeouts};
use crate::source::{Batch, Cursor, Source as _};
use crate::store::StoreError;
use crate::store::records::{self, Loaded, Segments, Sequences};
use crate::store::sled::{SledOptions, SledStore};

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
    let lines: Vec<String> = parts
        .iter()
        .map(|part| format!("  {}: {}", part.place, part.part))
        .collect();
    lines.join(
        "
",
    ) + "
"
}

/// Told of each poll of a source.
pub type Progress = dyn Fn(&Name, &Batch) + Send + Sync;

/// What surfaces the bot is given.
#[derive(Clone)]
pub struct Surfaces {
    /// Where the console receiver writes.
    pub console: Arc<Mutex<dyn Write + Send>>,
    /// The console understands colours.
    pub is_colored: bool,
    /// Told of each poll, for a progress bar.
    pub progress: Arc<Progress>,
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
            notices.push(Notice {
                headline,
                text: notice.to_string(),
                is_for_fallback: false,
            });
        }
    }
    if !loaded.problems.is_empty() {
        let first = loaded.problems[0].to_string();
        let headline = format!(
            "{} records of Tardy's store cannot be read",
            loaded.problems.len()
        );
        tracing::error!(store.problems = loaded.problems.len(), "{first}");
        notices.push(Notice {
            headline,
            text: first,
            is_for_fallback: false,
        });
    }
    Ok(Opened {
        store,
        path: path.to_owned(),
        loaded,
        notices,
    })
}

/// A bot that runs.
pub struct Bot {
    /// What surfaces may look at.
    pub shared: Arc<Shared>,
    path: PathBuf,
    /// What the receivers in force were built from.
    built: Built,
    environment: Environment,
    surfaces: Surfaces,
    store: Arc<SledStore>,
    events: mpsc::Sender<Event>,
    poll_at: watch::Receiver<Option<Timestamp>>,
    receivers: watch::Sender<Notifiers>,
    in_force: watch::Sender<InForce>,
    pollers: CancellationToken,
    stopping: CancellationToken,
    /// Name and end of every task.
    tasks: JoinSet<(&'static str, Result<(), StoreError>)>,
}

/// The notifier of each receiver.
pub type Notifiers = BTreeMap<Name, Arc<dyn Notifier>>;

/// Why the bot cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The store will not work again before a new start.
    #[error("{0}")]
    Store(StoreError),
    /// A task is gone that must not be.
    #[error("the {0} ended; that is a bug of Tardy's")]
    Ended(&'static str),
    /// A task panicked.
    #[error("a task failed: {0}; that is a bug of Tardy's")]
    Panicked(String),
}

/// Deliveries under way at the end get so long to come to an end.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Row batches that wait for the deliverer.
const MAX_WAITING_ROWS: usize = 64;

const EVALUATOR: &str = "evaluator";
const DELIVERER: &str = "deliverer";
const OTHER: &str = "other task";

impl Bot {
    /// Opens the store and starts all tasks.
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
        check_sources(&config.sources)?;
        let (path, retention) =
            store_path(&config).ok_or_else(|| StartError::NotBuilt(config.not_built.clone()))?;
        let Opened {
            store,
            loaded,
            notices,
            ..
        } = open(&path, clock.now())?;
        let socket = control::socket_path(&path);
        let listener = control::bind(&socket)?;
        let sources = build_sources(&config.sources, &loaded.cursors)?;
        let (events, inbox) = live::channel();
        let (rows, row_inbox) = mpsc::channel(MAX_WAITING_ROWS);
        let (poll_at_sender, poll_at) = watch::channel(None);
        let (receivers, receiver_inbox) = watch::channel(notifiers.clone());
        let (in_force, in_force_inbox) = watch::channel(put_in_force(&config, &notifiers));
        let facts = facts(&config, &path, retention, clock.now());
        let (shared, deliverer) = take_up(&config, facts, store.clone(), loaded, notifiers, clock);
        let mut bot = Self {
            shared: Arc::clone(&shared),
            path: config.path.clone(),
            built: Built::of(&config),
            environment,
            surfaces,
            store,
            events: events.clone(),
            poll_at,
            receivers,
            in_force,
            pollers: CancellationToken::new(),
            stopping: CancellationToken::new(),
            tasks: JoinSet::new(),
        };
        bot.answer(listener, socket);
        let upkeep = upkeep::keep_up(Arc::clone(&shared), bot.stopping.clone());
        bot.spawn_other(upkeep);
        let evaluator = Evaluator {
            shared: Arc::clone(&shared),
            events: inbox,
            in_force: in_force_inbox,
            rows,
            poll_at: poll_at_sender,
            waiting: Vec::new(),
        };
        bot.spawn(EVALUATOR, evaluator.run(bot.stopping.clone()));
        let dispatcher = Dispatcher {
            shared,
            rows: row_inbox,
            receivers: receiver_inbox,
            events,
            grace: STOP_GRACE,
        };
        bot.spawn(DELIVERER, dispatcher.run(deliverer, bot.stopping.clone()));
        for notice in notices {
            bot.say(notice);
        }
        bot.start_pollers(sources);
        Ok(bot)
    }

    fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), StoreError>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { (name, task.await) });
    }

    /// A task that may end by itself.
    fn spawn_other(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn(OTHER, async move {
            task.await;
            Ok(())
        });
    }

    /// Answers questions, and hands over acts, from now on.
    fn answer(&mut self, listener: control::Listener, socket: PathBuf) {
        let asked = Asked::new(&self.shared, &self.events);
        let stopping = self.stopping.clone();
        self.spawn_other(control::listen(listener, socket, asked, stopping));
    }

    fn start_pollers(&mut self, sources: Vec<(Dagctl, Duration)>) {
        for (mut dagctl, interval) in sources {
            self.shared.read(|engine| {
                for project in engine.history().projects() {
                    let active = project.jobs().flat_map(|job| project.active(job));
                    dagctl.watch_active(&project.key, active.cloned());
                }
            });
            let progress = Arc::clone(&self.surfaces.progress);
            let name: Name = dagctl.name().into();
            let polling = poll::poll(
                dagctl,
                interval,
                Arc::clone(&self.shared),
                self.events.clone(),
                self.poll_at.clone(),
                self.pollers.child_token(),
                move |batch| progress(&name, batch),
            );
            self.spawn_other(polling);
        }
    }

    /// Says something about Tardy itself. Never waits: while the evaluator is behind, the log has it.
    fn say(&mut self, notice: Notice) {
        tracing::warn!("{}: {}", notice.headline, notice.text);
        let (events, stopping) = (self.events.clone(), self.stopping.clone());
        self.spawn_other(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                _ = events.send(Event::Say(notice)) => {}
            }
        });
    }

    /// Waits until something happens that the bot cannot go on after. May be cancelled.
    pub async fn failure(&mut self) -> Failure {
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok((_, Err(error))) => return Failure::Store(error),
                Ok((name, Ok(()))) if name != OTHER => return Failure::Ended(name),
                Ok((_, Ok(()))) => {}
                Err(error) => return Failure::Panicked(panic_text(error)),
            }
        }
        Failure::Ended("last task")
    }

    /// Reads the configuration again. A bad one leaves the old in force and says so, here and on the
    /// fallback.
    pub fn reload(&mut self) {
        match self.try_reload() {
            Ok(rules) => {
                self.shared.note_config(None);
                tracing::info!(config.rules = rules, "reloaded {}", self.path.display());
            }
            Err(why) => {
                self.shared.note_config(Some(why.clone()));
                self.say(Notice {
                    headline: format!(
                        "Tardy refused the new configuration {}",
                        self.path.display()
                    ),
                    text: format!("The one before stays in force.\n{why}"),
                    is_for_fallback: true,
                });
            }
        }
    }

    fn try_reload(&mut self) -> Result<usize, String> {
        let loaded = crate::config::load(&self.path, &self.environment)
            .map_err(|diagnostics| diagnostics.render(false))?;
        let config = loaded.config;
        if !config.not_built.is_empty() {
            return Err(StartError::NotBuilt(config.not_built).to_string());
        }
        let mut notifiers =
            build_notifiers(&config, &self.surfaces).map_err(|error| error.to_string())?;
        self.built
            .keep(&config, &self.receivers.borrow(), &mut notifiers);
        let facts = self.shared.facts();
        let (path, retention) = store_path(&config).unwrap_or_default();
        if path.display().to_string() != facts.store {
            return Err("[store] path cannot be changed by a reload; restart Tardy".to_owned());
        }
        check_sources(&config.sources).map_err(|error| error.to_string())?;
        // Reading goes on where what is stored ends. What the pollers have read since is read again.
        let cursors =
            records::load_cursors_only(self.store.as_ref()).map_err(|error| error.to_string())?;
        let sources =
            build_sources(&config.sources, &cursors).map_err(|error| error.to_string())?;
        // From here on nothing can fail. Receivers come before rules that name them, rules before
        // observations that they are for.
        self.pollers.cancel();
        self.pollers = CancellationToken::new();
        self.shared
            .set_facts(self::facts(&config, &path, retention, facts.started_at));
        let rules = config.policy.rules.len();
        let in_force = put_in_force(&config, &notifiers);
        self.built = Built::of(&config);
        self.receivers.send_replace(notifiers);
        self.in_force.send_replace(in_force);
        self.start_pollers(sources);
        Ok(rules)
    }

    /// Stops: no more polls, what is decided is committed, deliveries under way come to an end.
    pub async fn stop(mut self) {
        self.pollers.cancel();
        self.stopping.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Takes up what was stored: the engine, and what there is to deliver.
fn take_up(
    config: &Config,
    facts: Facts,
    store: Arc<SledStore>,
    loaded: Loaded,
    notifiers: Notifiers,
    clock: Arc<dyn Clock>,
) -> (Arc<Shared>, Deliverer) {
    let sequences = sequences(&loaded, clock.now());
    let outgoing = Outgoing {
        outbox: loaded.outbox,
        handles: loaded.handles,
        owed: loaded.owed,
    };
    let policy = Arc::new(config.policy.clone());
    let engine = Engine::new(policy, loaded.history, loaded.saved);
    let pipeline = Pipeline::new(engine, store.clone(), sequences);
    let shared = Arc::new(Shared::new(pipeline, clock, facts));
    let draftsman = Arc::new(Draftsman::new(&shared));
    let deliverer = Deliverer::new(store, notifiers, outgoing).with_illustrator(draftsman);
    (shared, deliverer)
}

fn panic_text(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else {
        return "it was cancelled".to_owned();
    };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given")
        .to_owned()
}

/// Outbox rows sort after those that were there, and after those of earlier starts.
pub(super) fn sequences(loaded: &Loaded, now: Timestamp) -> Sequences {
    let first = now.as_millis().unsigned_abs() << 16;
    let last = loaded
        .outbox
        .iter()
        .map(|row| row.sequence)
        .max()
        .unwrap_or(0);
    Sequences {
        outbox: last.max(first),
        segments: Segments::after(loaded.last_segment),
    }
}

fn put_in_force(config: &Config, notifiers: &Notifiers) -> InForce {
    InForce {
        policy: Arc::new(config.policy.clone()),
        alarm: alarm_receivers(config, notifiers),
    }
}

fn check_sources(sources: &[SourceConfig]) -> Result<(), StartError> {
    sources.iter().try_for_each(|source| {
        settings(source).check().map_err(|why| StartError::Source {
            name: source.name.clone(),
            why,
        })
    })
}

/// Clients of all sources, and how often each is read.
fn build_sources(
    sources: &[SourceConfig],
    cursors: &BTreeMap<ProjectKey, Cursor>,
) -> Result<Vec<(Dagctl, Duration)>, StartError> {
    let build = |source: &SourceConfig| {
        let dagctl = Dagctl::resume(settings(source), cursors.clone()).map_err(|why| {
            StartError::Source {
                name: source.name.clone(),
                why,
            }
        })?;
        Ok((
            dagctl,
            source
                .poll_interval
                .to_std()
                .unwrap_or(DEFAULT_POLL_INTERVAL),
        ))
    };
    sources.iter().map(build).collect()
}

/// For an interval that is none; configuration refuses those.
const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(30);

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
        sources: config
            .sources
            .iter()
            .map(|source| (source.name.clone(), source.poll_interval))
            .collect(),
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
) -> Result<Notifiers, notify::BuildError> {
    let mut context = BuildContext::new(
        config.timezone,
        Arc::clone(&surfaces.console),
        surfaces.is_colored,
    );
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

/// What the notifiers in force were built from.
#[derive(Clone, Debug)]
pub struct Built {
    receivers: Vec<Receiver>,
    owners: Vec<Owner>,
    zone: Tz,
}

impl Built {
    /// From what a configuration says.
    pub fn of(config: &Config) -> Self {
        Self {
            receivers: config.receivers.clone(),
            owners: config.policy.owners.clone(),
            zone: config.timezone,
        }
    }

    /// Puts back the notifiers of receivers about which nothing has changed: what they know of deliveries that are
    /// tried again, such as who has a mail already, is not lost by a reload.
    pub fn keep(&self, config: &Config, in_force: &Notifiers, new: &mut Notifiers) {
        if self.owners != config.policy.owners || self.zone != config.timezone {
            return;
        }
        for receiver in &config.receivers {
            let mut known = self.receivers.iter();
            let is_known = known.any(|known| known.is_same(receiver));
            if let Some(notifier) = in_force.get(&receiver.name).filter(|_| is_known) {
                new.insert(receiver.name.clone(), Arc::clone(notifier));
            }
        }
    }
}

/// Told past the outbox when the store cannot be written: the fallback, or everyone at the root.
fn alarm_receivers(config: &Config, notifiers: &Notifiers) -> Vec<(Name, Arc<dyn Notifier>)> {
    let policy = &config.policy;
    let names = if policy.fallback.is_empty() {
        &policy.route.receivers
    } else {
        &policy.fallback
    };
    names
        .iter()
        .filter_map(|name| Some((name.clone(), Arc::clone(notifiers.get(name)?))))
        .collect()
}
