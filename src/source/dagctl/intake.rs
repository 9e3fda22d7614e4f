//! What is reported of the rows read: news, once.
//!
//! A row that was reported before and has not changed is left out; words and jobs that are not known
//! are noted once; runs that are pending or running are kept in mind. The engine drops repetitions
//! again, so forgetting costs only work.

use std::collections::BTreeMap;
use std::hash::BuildHasher as _;

use super::Memory;
use super::project::{Active, Tracked};
use super::rows::{ExecutionRow, RowFault, RunRow};
use crate::engine::observation::{Execution, Name, Observation, Run, Status};
use crate::engine::time::Timestamp;
use crate::source::{Batch, ProblemKind};

impl Tracked {
    /// Reads a run's row, and notes what is not known about it.
    pub(super) fn observe_run(
        &mut self,
        row: &RunRow<'_>,
        job_map: &BTreeMap<String, String>,
        memory: &mut Memory,
    ) -> Result<Run, RowFault> {
        let cronjob = row.cronjob_name.get();
        let job = cronjob.map(|cronjob| self.jobs.resolve(cronjob, job_map));
        let job_name = job.as_ref().map(|resolved| resolved.job.clone());
        let run = row.observe(job_name, &mut memory.names)?;
        if job.is_some_and(|resolved| resolved.is_unmatched) {
            self.note_unmatched(cronjob.unwrap_or_default(), memory);
        }
        self.note_status(&run.status, memory);
        Ok(run)
    }

    /// Reports a run if it is news; keeps the active ones in mind. `server_at` is the time of the answer;
    /// rows updated before `floor` are not remembered.
    pub(super) fn take_run(
        &mut self,
        mut run: Run,
        (server_at, floor): (Timestamp, Timestamp),
        memory: &Memory,
        batch: &mut Batch,
    ) {
        self.track_active(&run, server_at);
        self.witness = Some(run.id.clone());
        let is_news = run.updated_at < floor || {
            let hash = memory.hasher.hash_one(&*run.id);
            self.runs
                .is_news(hash, run.updated_at, hash_of_run(&run, memory))
        };
        if !is_news {
            return;
        }
        if run.error.is_none() {
            run.error = self.details.get(&run.id).cloned().flatten();
        }
        batch
            .observations
            .push(Observation::Run(self.key.clone(), run));
    }

    /// Reports an execution if it is news.
    pub(super) fn take_execution(
        &mut self,
        row: &ExecutionRow<'_>,
        floor: Timestamp,
        memory: &mut Memory,
        batch: &mut Batch,
    ) -> Result<(Name, Timestamp), RowFault> {
        let execution = row.observe(&mut memory.names, &mut memory.run_ids)?;
        self.note_status(&execution.status, memory);
        let (id, updated_at) = (execution.id.clone(), execution.updated_at);
        let is_news = updated_at < floor || {
            let hash = memory.hasher.hash_one(&*id);
            self.executions
                .is_news(hash, updated_at, hash_of_execution(&execution, memory))
        };
        if is_news {
            batch
                .observations
                .push(Observation::Execution(self.key.clone(), execution));
        }
        Ok((id, updated_at))
    }

    fn track_active(&mut self, run: &Run, server_at: Timestamp) {
        let held = self.active.get(&run.id).map(|active| active.run.updated_at);
        if held.is_some_and(|held| held > run.updated_at) {
            return;
        }
        if run.status.is_active() {
            let active = Active {
                run: run.clone(),
                checked_at: server_at,
                is_removed: false,
            };
            self.active.insert(run.id.clone(), active);
        } else if held.is_some() {
            self.active.remove(&run.id);
        }
    }

    fn note_unmatched(&self, cronjob: &str, memory: &mut Memory) {
        let project_id = Some(&self.key.project_id);
        memory.notes.add_once(ProblemKind::UnmatchedJob, project_id, cronjob, || {
            format!(
                "runs name the job {cronjob:?}, which is not in the job list; if it is one of them under another name, say so in `job_map`"
            )
        });
    }

    fn note_status(&self, status: &Status, memory: &mut Memory) {
        let Status::Other(word) = status else { return };
        memory.is_doubtful |= memory.notes.add_once(
            ProblemKind::UnknownStatus,
            Some(&self.key.project_id),
            word,
            || {
                format!(
                    "the status {word:?} is not known here: such rows count as neither good nor bad"
                )
            },
        );
    }
}

/// All that may change in a run: instants are to the second at the source, so `updated_at` alone would
/// miss the second of two changes in one second.
fn hash_of_run(run: &Run, memory: &Memory) -> u64 {
    let times = (
        run.created_at,
        run.started_at,
        run.finished_at,
        run.updated_at,
    );
    let words = (&run.job, &run.job_type, &run.triggered_by, &run.error);
    memory.hasher.hash_one((&run.status, times, words))
}

fn hash_of_execution(execution: &Execution, memory: &Memory) -> u64 {
    let times = (
        execution.started_at,
        execution.finished_at,
        execution.updated_at,
    );
    let words = (&execution.run_id, &execution.model, &execution.error);
    memory
        .hasher
        .hash_one((&execution.status, times, words, execution.rows))
}
