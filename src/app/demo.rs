//! The newcomer's first minute: a simulated day, watched by the very pipeline that runs live.
//!
//! Simulator, client, engine, store, outbox and console receiver are the real ones; only time is virtual
//! and moved by this driver, one poll after the other, so that the same seed gives the same bytes.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::clock::{Clock as _, ManualClock};
use super::deliver::{Deliverer, Outgoing, Report};
use super::pipeline::{Incoming, Pipeline};
use super::start::{self, StartError, Surfaces};
use crate::config::{self, Environment};
use crate::engine::Engine;
use crate::engine::ledger::{Ledger, Tally};
use crate::engine::notification::{Notification, Suppressed};
use crate::engine::time::{Span, Timestamp};
use crate::sim::story::{Moment, Story};
use crate::sim::{self, Faults, SimClock, SimError, Variant};
use crate::source::Source as _;
use crate::source::dagctl::Dagctl;
use crate::store::Store;
use crate::store::records::{DeliveryRecord, Sequences};

/// How the demonstration is to be told.
pub struct Telling<'a> {
    /// Same seed, same story.
    pub seed: u64,
    /// Virtual seconds a second; `None`: as fast as it goes.
    pub speed: Option<f64>,
    /// A folder for the store; made, and removed at the end, also when it ends early.
    pub folder: PathBuf,
    /// Where cards go.
    pub console: Arc<Mutex<dyn Write + Send>>,
    /// Cards may have colours.
    pub is_colored: bool,
    /// Told what happens, before Tardy sees it.
    pub narrate: &'a (dyn Fn(&Scene) + Sync),
}

/// Something to say between the cards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scene {
    /// History has been read.
    Opening {
        /// When watching begins.
        from: Timestamp,
        /// When the story ends.
        until: Timestamp,
        /// Runs read.
        runs: usize,
        /// Model executions read.
        executions: usize,
        /// Alerts announced so far; none, since all is well.
        announced: usize,
    },
    /// Something happens in the simulated organization.
    Moment {
        /// When.
        at: Timestamp,
        /// Project and job, as people name them.
        subject: String,
        /// What.
        text: String,
    },
}

/// What was told, held back and recorded.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Deliveries, in order.
    pub told: Vec<DeliveryRecord>,
    /// Alerts that were held back, with the reason, once each.
    pub suppressed: Vec<Suppressed>,
    /// Alerts that fired.
    pub fired: usize,
    /// Alerts that ended.
    pub ended: usize,
    /// Promises met, late, missed, excused, unknown; of the story's day only.
    pub promises: [usize; 5],
    /// Polls made.
    pub polls: usize,
    /// Alerts still open at the end.
    pub open: usize,
}

/// Why the demonstration could not be given.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The simulator could not be started.
    #[error("the simulator cannot be started: {0}")]
    Simulator(#[from] SimError),
    /// The built-in configuration was refused.
    #[error("the built-in configuration is refused:\n{0}")]
    Config(String),
    /// The bot could not be built.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

/// Time between polls.
const POLL_EVERY: Span = Span::seconds(30);

/// Tells the story from beginning to end.
pub async fn tell(telling: &Telling<'_>) -> Result<Summary, DemoError> {
    let story = Story::new(telling.seed);
    let clock = SimClock::new(story.watch_from);
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let (moments, from, until) = (story.moments, story.watch_from, story.ends_at);
    let simulator = sim::serve(
        story.organization,
        clock.clone(),
        Faults::new(),
        Variant::number(0),
        address,
    )
    .await?;
    let _folder = RemovedOnDrop(telling.folder.clone());
    let mut stage = Stage::set(telling, &simulator.base_url(), clock, from)?;
    stage.read_history().await?;
    (telling.narrate)(&stage.opening(from, until));
    let mut moments = moments.into_iter().peekable();
    let started = Instant::now();
    let mut at = from;
    while at < until {
        at = (at + POLL_EVERY).min(until);
        while let Some(moment) = moments.next_if(|moment| moment.at <= at) {
            let (subject, text) = (stage.subject(&moment), moment.text.to_owned());
            (telling.narrate)(&Scene::Moment {
                at: moment.at,
                subject,
                text,
            });
        }
        stage.play(at).await?;
        pace(telling.speed, at.since(from), started).await;
    }
    let summary = stage.close(from);
    simulator.shutdown().await;
    Ok(summary)
}

/// A folder that is gone however the demonstration ends.
struct RemovedOnDrop(PathBuf);

impl Drop for RemovedOnDrop {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits until as much real time has passed as the speed asks for.
async fn pace(speed: Option<f64>, passed: Span, started: Instant) {
    let Some(speed) = speed else { return };
    let due =
        Duration::from_secs_f64((super::super::engine::baseline::seconds(passed) / speed).max(0.0));
    tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
}

/// Everything on stage.
struct Stage {
    clock: SimClock,
    wall: ManualClock,
    source: Dagctl,
    pipeline: Pipeline,
    deliverer: Deliverer,
    /// What the last deliveries brought, for the next activation.
    echo: Report,
    summary: Summary,
    notifications: Vec<Notification>,
}

impl Stage {
    fn set(
        telling: &Telling<'_>,
        base_url: &str,
        clock: SimClock,
        from: Timestamp,
    ) -> Result<Self, DemoError> {
        let config = configuration(base_url, &telling.folder)?;
        let surfaces = Surfaces {
            console: Arc::clone(&telling.console),
            is_colored: telling.is_colored,
            progress: Arc::new(|_, _| {}),
        };
        let notifiers = start::build_notifiers(&config, &surfaces).map_err(StartError::from)?;
        let _ = std::fs::remove_dir_all(&telling.folder);
        let opened = start::open(&telling.folder.join("data"), from)?;
        let store: Arc<dyn Store> = opened.store;
        let source = &config.sources[0];
        let dagctl =
            Dagctl::resume(start::settings(source), opened.loaded.cursors).map_err(|why| {
                StartError::Source {
                    name: source.name.clone(),
                    why,
                }
            })?;
        let policy = Arc::new(config.policy);
        let engine = Engine::new(policy, opened.loaded.history, opened.loaded.saved);
        let deliverer = Deliverer::new(Arc::clone(&store), notifiers, Outgoing::default());
        Ok(Self {
            clock,
            wall: ManualClock::new(from),
            source: dagctl,
            pipeline: Pipeline::new(engine, store, Sequences::default()),
            deliverer,
            echo: Report::default(),
            summary: Summary::default(),
            notifications: Vec::new(),
        })
    }

    async fn read_history(&mut self) -> Result<(), DemoError> {
        while self.poll_once().await? {}
        Ok(())
    }

    fn opening(&self, from: Timestamp, until: Timestamp) -> Scene {
        let (runs, executions) = self.pipeline.engine().history().counts();
        Scene::Opening {
            from,
            until,
            runs,
            executions,
            announced: self.summary.told.len(),
        }
    }

    /// Project and job of a moment.
    fn subject(&self, moment: &Moment) -> String {
        let history = self.pipeline.engine().history();
        let project = history
            .projects()
            .find(|project| *project.key.project_id == *moment.project);
        let name = project.map_or(moment.project, |project| project.display_name());
        match moment.job {
            Some(job) => format!("{name} {job}"),
            None => name.to_owned(),
        }
    }

    /// Moves time to `at`, polls, and stops on the way wherever a verdict named an instant.
    async fn play(&mut self, at: Timestamp) -> Result<(), DemoError> {
        self.clock.set(at);
        self.wall.set(at);
        self.poll_once().await?;
        Ok(())
    }

    /// One poll, one activation, all deliveries that are due. True when more of the first read is waiting.
    async fn poll_once(&mut self) -> Result<bool, DemoError> {
        let now = self.wall.now();
        let batch = self.source.poll(now).await;
        let has_more = batch.has_more;
        let mut incoming = Incoming::default();
        incoming.add_report(std::mem::take(&mut self.echo));
        incoming.add(batch);
        let activation = super::blocking(|| self.pipeline.activate(incoming, now))?;
        self.summary.polls += 1;
        self.note(&activation.step);
        self.deliverer.enqueue(activation.rows);
        let clock = self.wall.clone();
        let mut report = self.deliverer.deliver_due(&move || clock.now()).await;
        if let Some(error) = report.store_error {
            return Err(error.into());
        }
        self.summary.told.append(&mut report.settled);
        self.echo = report;
        Ok(has_more)
    }

    fn note(&mut self, step: &crate::engine::Step) {
        use crate::engine::alert::AlertState;
        let count = |to| {
            step.transitions
                .iter()
                .filter(|transition| transition.to == to)
                .count()
        };
        self.summary.fired += count(AlertState::Firing);
        self.summary.ended += count(AlertState::Resolved);
        self.notifications
            .extend(step.notifications.iter().cloned());
    }

    fn close(mut self, from: Timestamp) -> Summary {
        for notification in &self.notifications {
            for item in &notification.suppressed {
                if !self
                    .summary
                    .suppressed
                    .iter()
                    .any(|known| known.id == item.id)
                {
                    self.summary.suppressed.push(item.clone());
                }
            }
        }
        self.summary.promises = promises(self.pipeline.engine().ledger(), from);
        self.summary.open = self
            .pipeline
            .engine()
            .alerts()
            .filter(|alert| alert.is_open())
            .count();
        self.summary
    }
}

/// What became of the promises due from `from` on.
fn promises(ledger: &Ledger, from: Timestamp) -> [usize; 5] {
    let after = from - Span::milliseconds(1);
    let tallies = ledger
        .all()
        .map(|subject| subject.tally(after, Timestamp::MAX));
    let sum = tallies.fold(Tally::default(), |sum, tally| sum + tally);
    [sum.met, sum.late, sum.missed, sum.excused, sum.unknown]
}

/// The built-in configuration, checked like any other.
fn configuration(base_url: &str, folder: &Path) -> Result<config::Config, DemoError> {
    let environment = Environment::from_pairs([
        ("DAGCTL_TOKEN", sim::TOKEN.to_owned()),
        ("TARDY_SOURCE__DEMO__BASE_URL", base_url.to_owned()),
        (
            "TARDY_STORE__PATH",
            folder.join("data").display().to_string(),
        ),
    ]);
    let service = ("config/demo.toml", include_str!("../../config/demo.toml"));
    let rules = [(
        "config/demo-rules.toml",
        include_str!("../../config/demo-rules.toml"),
    )];
    let loaded = config::load_texts(service, &rules, &environment)
        .map_err(|diagnostics| DemoError::Config(diagnostics.render(false)))?;
    Ok(loaded.config)
}
