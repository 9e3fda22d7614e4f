//! What the tasks of the running bot share, and the channel to the evaluator.
//!
//! Pollers ([`super::poll`]) read and send batches; the evaluator ([`super::evaluate`]) alone steps the engine
//! and commits; the dispatcher ([`super::dispatch`]) alone sends; upkeep of the store goes on beside them.
//! Channels between them are bounded, so that a slow disk slows polling and never grows memory. A task ends
//! when it is cancelled, or with the error for which the process has to end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use super::deliver::Report;
use super::pipeline::Pipeline;
use super::status::{Notes, ReceiverStatus, Status, StoreStatus, of_engine};
use crate::engine::acting::{Act, Acted};
use crate::engine::observation::Name;
use crate::engine::schedule::Cron;
use crate::engine::time::{Span, Timestamp};
use crate::engine::{Engine, Notice};
use crate::source::Batch;
use crate::store::Store;

/// What the tasks and the surfaces share.
pub struct Shared {
    pipeline: RwLock<Pipeline>,
    notes: Mutex<Notes>,
    /// What time it is for decisions.
    pub clock: Arc<dyn Clock>,
    facts: Mutex<Facts>,
}

/// What does not change while the bot runs, but for a reload.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Configuration file.
    pub config: String,
    /// The store's folder.
    pub store: String,
    /// Names of sources, and how often they are read.
    pub sources: Vec<(Name, Span)>,
    /// Names and kinds of receivers.
    pub receivers: Vec<(Name, &'static str)>,
    /// When the bot started.
    pub started_at: Timestamp,
    /// How long history is kept.
    pub retention: Span,
    /// Instants at which the evaluator looks around at the latest.
    pub schedule: Cron,
}

/// What wakes the evaluator.
#[derive(Debug)]
pub enum Event {
    /// A poll of a source.
    Polled(Name, Box<Batch>),
    /// Deliveries came to an end.
    Delivered(Report),
    /// Something to say about Tardy itself.
    Say(Notice),
    /// Somebody wants something done, and waits for what comes of it.
    Act(Act, oneshot::Sender<Acted>),
}

/// Batches that wait to be evaluated; more make the pollers wait.
const MAX_WAITING_EVENTS: usize = 8;

/// First and longest wait between two tries to write when the store could not.
pub(super) const STORE_WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

impl Shared {
    /// Puts together what is shared.
    pub fn new(pipeline: Pipeline, clock: Arc<dyn Clock>, facts: Facts) -> Self {
        Self {
            pipeline: RwLock::new(pipeline),
            notes: Mutex::new(Notes::default()),
            clock,
            facts: Mutex::new(facts),
        }
    }

    /// Looks at the engine.
    pub fn read<T>(&self, look: impl FnOnce(&Engine) -> T) -> T {
        let pipeline = self.pipeline.read().unwrap_or_else(PoisonError::into_inner);
        look(pipeline.engine())
    }

    /// The store, for questions about what is over.
    pub fn store(&self) -> Arc<dyn Store> {
        let pipeline = self.pipeline.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pipeline.store())
    }

    pub(super) fn pipeline(&self) -> std::sync::RwLockWriteGuard<'_, Pipeline> {
        self.pipeline
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What does not change while the bot runs.
    pub fn facts(&self) -> Facts {
        self.facts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes up the facts of a new configuration.
    pub fn set_facts(&self, facts: Facts) {
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = facts;
    }

    /// Notes why a new configuration was refused, or that one was taken.
    pub fn note_config(&self, refused: Option<String>) {
        self.notes().config_refused = refused;
    }

    /// The state of the whole program.
    pub fn status(&self) -> Status {
        let facts = self.facts();
        let notes = self.notes().clone();
        let pipeline = self.pipeline.read().unwrap_or_else(PoisonError::into_inner);
        let mut status = status_of(&facts, &notes, self.clock.as_ref());
        status.store.size_bytes = pipeline.store().size_bytes().ok();
        of_engine(&mut status, pipeline.engine());
        status
    }
}

fn status_of(facts: &Facts, notes: &Notes, clock: &dyn Clock) -> Status {
    let sources = facts.sources.iter().map(|(name, interval)| {
        let mut status = notes.sources.get(name).cloned().unwrap_or_default();
        status.name = name.to_string();
        status.poll_interval_millis = interval.num_milliseconds();
        status
    });
    let receivers = facts.receivers.iter().map(|(name, kind)| ReceiverStatus {
        name: name.to_string(),
        kind: (*kind).to_owned(),
        waiting: notes.waiting.get(name).copied().unwrap_or(0),
        delivered_at: notes.delivered_at.get(name).copied(),
        given_up: notes.given_up.get(name).copied().unwrap_or(0),
        failing_since: None,
        why: None,
    });
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: Some(std::process::id()),
        started_at: Some(facts.started_at),
        now: clock.now(),
        skew_millis: clock.skew().num_milliseconds(),
        config: facts.config.clone(),
        config_refused: notes.config_refused.clone(),
        sources: sources.collect(),
        receivers: receivers.collect(),
        store: StoreStatus {
            path: facts.store.clone(),
            size_bytes: None,
            blocked: notes.blocked.clone(),
        },
        rules: 0,
        watches: 0,
        firing: 0,
        pending: 0,
        runs: 0,
        executions: 0,
    }
}

/// A channel to the evaluator.
pub fn channel() -> (mpsc::Sender<Event>, mpsc::Receiver<Event>) {
    mpsc::channel(MAX_WAITING_EVENTS)
}
