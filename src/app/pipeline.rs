//! One activation: take input, step the engine, commit everything it changed as one transaction, then
//! hand over what is to be delivered. Timer, nudge and start-up run this very function, and so do the
//! demonstration and the tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::deliver::Report;
use crate::engine::observation::{Execution, Name, Observation, ProjectKey, Run, WaitingPlans};
use crate::engine::time::Timestamp;
use crate::engine::{Engine, Input, Step, Undeliverable};
use crate::notify::mask;
use crate::source::{Batch, Cursor};
use crate::store::records::{self, OutboxRow, Segments, Sequences};
use crate::store::{Commit, Store, StoreError};

/// The engine with its store.
pub struct Pipeline {
    engine: Engine,
    store: Arc<dyn Store>,
    sequences: Sequences,
    /// A step that was taken and could not be written yet. Nothing further is decided before it is.
    unwritten: Option<Unwritten>,
}

struct Unwritten {
    commit: Commit,
    rows: Vec<OutboxRow>,
    step: Step,
}

/// What an activation brought.
#[derive(Debug)]
pub struct Activation {
    /// The step, as committed.
    pub step: Step,
    /// New outbox rows, committed.
    pub rows: Vec<OutboxRow>,
}

/// Input of one activation: what the engine is given, and the cursors that belong to it.
#[derive(Debug, Default)]
pub struct Incoming {
    /// For the engine.
    pub input: Input,
    /// To be stored with it.
    pub cursors: BTreeMap<ProjectKey, Cursor>,
    /// Debts to the fallback that the input pays, by outbox row.
    pub paid: Vec<u64>,
}

impl Incoming {
    /// Adds what a poll brought.
    pub fn add(&mut self, batch: Batch) {
        self.input
            .observations
            .extend(batch.observations.into_iter().map(without_secrets));
        for (project, known_until) in batch.executions_known {
            let known = self.input.executions_known.entry(project);
            known
                .and_modify(|known| *known = (*known).max(known_until))
                .or_insert(known_until);
        }
        for (project, seen) in batch.plans_waiting {
            let is_older = |held: &WaitingPlans| held.at <= seen.at;
            if self.input.plans_waiting.get(&project).is_none_or(is_older) {
                self.input.plans_waiting.insert(project, seen);
            }
        }
        for (project, known_until) in batch.coverage {
            let known = self.input.coverage.entry(project).or_insert(known_until);
            *known = (*known).max(known_until);
        }
        self.cursors.extend(batch.cursors);
    }

    /// Adds what deliveries brought.
    pub fn add_report(&mut self, report: Report) {
        self.input.health.extend(report.health);
        for owed in report.owed {
            self.paid.push(owed.sequence);
            let (notification, why) = (owed.notification, owed.why);
            self.input
                .undeliverable
                .push(Undeliverable { notification, why });
        }
    }
}

/// Error texts come from anywhere; what looks like a secret in them is masked before anything is kept.
fn without_secrets(observation: Observation) -> Observation {
    let mask = |error: Option<Name>| error.map(|text| mask::mask(&text).into());
    match observation {
        Observation::Run(project, run) => Observation::Run(
            project,
            Run {
                error: mask(run.error),
                ..run
            },
        ),
        Observation::Execution(project, execution) => {
            let error = mask(execution.error);
            Observation::Execution(project, Execution { error, ..execution })
        }
        other => other,
    }
}

impl Pipeline {
    /// Puts an engine and its store together.
    pub fn new(engine: Engine, store: Arc<dyn Store>, sequences: Sequences) -> Self {
        Self {
            engine,
            store,
            sequences,
            unwritten: None,
        }
    }

    /// The engine, for questions.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The engine, for a new policy.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Numbers of history segments, for upkeep.
    pub fn segments(&self) -> Segments {
        self.sequences.segments.clone()
    }

    /// A step waits to be written: call [`Self::retry`] until it is, before the next activation.
    pub fn is_blocked(&self) -> bool {
        self.unwritten.is_some()
    }

    /// One activation at `now`. On an error the step is kept and nothing of it has been told; input may be
    /// given again only after [`Self::retry`] has succeeded.
    pub fn activate(
        &mut self,
        incoming: Incoming,
        now: Timestamp,
    ) -> Result<Activation, StoreError> {
        debug_assert!(!self.is_blocked(), "retry before the next activation");
        let step = self.engine.step(incoming.input, now);
        let (commit, rows) = records::commit_step(
            &step,
            &incoming.cursors,
            &incoming.paid,
            &mut self.sequences,
            now,
        );
        self.unwritten = Some(Unwritten { commit, rows, step });
        self.retry().map(|activation| {
            activation.unwrap_or(Activation {
                step: Step::default(),
                rows: Vec::new(),
            })
        })
    }

    /// Writes the step that waits, if one does.
    pub fn retry(&mut self) -> Result<Option<Activation>, StoreError> {
        let Some(unwritten) = &self.unwritten else {
            return Ok(None);
        };
        self.store.commit(&unwritten.commit)?;
        let written = self.unwritten.take();
        Ok(written.map(|written| Activation {
            step: written.step,
            rows: written.rows,
        }))
    }
}
