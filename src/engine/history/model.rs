//! One model's executions in one job, small: there may be millions.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::super::observation::{Execution, Name, Status};
use super::super::time::{Span, Timestamp};
use super::Slot;

/// A model's executions in one job.
#[derive(Debug, Default)]
pub struct ModelHistory {
    /// By start.
    pub(super) executions: Vec<ExecutionRecord>,
    /// Error texts of failed ones.
    pub(super) errors: HashMap<u64, Name>,
}

/// One execution, small: there may be millions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExecutionRecord {
    pub(super) id_hash: u64,
    /// When it started.
    pub started_at: Timestamp,
    pub(super) updated_at: Timestamp,
    /// Milliseconds; `u32::MAX`: not finished (or longer than 49 days).
    pub(super) duration_millis: u32,
    pub(super) run: Slot,
    pub(super) outcome: Outcome,
    /// Rows written; [`NO_ROWS`]: the source did not say.
    pub(super) rows: i64,
}

/// Stands for row counts that the source did not send.
const NO_ROWS: i64 = i64::MIN;

/// Ids are kept as hashes: there may be millions.
pub(super) fn hash_id(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// What an execution has come to, in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not finished, or an unknown word.
    Open,
    /// Success.
    Success,
    /// Failed, error or partial.
    Failure,
    /// Not executed because something before it failed.
    Skipped,
}

impl ExecutionRecord {
    pub(super) fn new(
        id_hash: u64,
        run: Slot,
        started_at: Timestamp,
        execution: &Execution,
    ) -> Self {
        let millis = execution.run_time().map(|span| span.num_milliseconds());
        Self {
            id_hash,
            started_at,
            updated_at: execution.updated_at,
            duration_millis: millis
                .and_then(|millis| u32::try_from(millis).ok())
                .unwrap_or(u32::MAX),
            run,
            outcome: match &execution.status {
                Status::Success => Outcome::Success,
                Status::Failed | Status::Error | Status::Partial => Outcome::Failure,
                Status::Skipped => Outcome::Skipped,
                Status::Pending | Status::Running | Status::Other(_) => Outcome::Open,
            },
            rows: execution.rows.unwrap_or(NO_ROWS),
        }
    }

    /// started to finished.
    pub fn run_time(&self) -> Option<Span> {
        (self.duration_millis != u32::MAX)
            .then(|| Span::milliseconds(i64::from(self.duration_millis)))
    }

    /// When it finished.
    pub fn finished_at(&self) -> Option<Timestamp> {
        Some(self.started_at + self.run_time()?)
    }

    /// What it has come to.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Rows written, as the source counted them: SQLMesh says -1 for a count it does not know.
    pub fn rows(&self) -> Option<i64> {
        (self.rows != NO_ROWS).then_some(self.rows)
    }

    /// Newer, or as new and further on.
    fn says_more_than(&self, known: &Self) -> bool {
        let rank = |record: &Self| {
            let is_done = record.outcome != Outcome::Open;
            (
                record.updated_at,
                is_done,
                record.duration_millis,
                record.outcome as u8,
                record.rows,
            )
        };
        rank(self) > rank(known)
    }
}

impl ModelHistory {
    /// True when the record is news.
    pub(super) fn put(&mut self, record: ExecutionRecord, error: Option<&Name>) -> bool {
        // Those of one instant by id, so that the order of arrival does not matter.
        let key = |known: &ExecutionRecord| (known.started_at, known.id_hash);
        let place = self
            .executions
            .partition_point(|known| key(known) < key(&record));
        let known = self.executions.get(place);
        match known
            .filter(|known| key(known) == key(&record))
            .map(|_| place)
        {
            Some(at) if !record.says_more_than(&self.executions[at]) => return false,
            Some(at) => self.executions[at] = record,
            None => self.executions.insert(place, record),
        }
        match error {
            Some(error) if record.outcome == Outcome::Failure => {
                self.errors.insert(record.id_hash, error.clone());
            }
            _ => {
                self.errors.remove(&record.id_hash);
            }
        }
        true
    }

    pub(super) fn forget_before(&mut self, cutoff: Timestamp) {
        let kept = self
            .executions
            .partition_point(|known| known.started_at < cutoff);
        for forgotten in self.executions.drain(..kept) {
            self.errors.remove(&forgotten.id_hash);
        }
    }

    /// Executions that started at or after `from`, in order.
    pub fn since(&self, from: Timestamp) -> &[ExecutionRecord] {
        &self.executions[self
            .executions
            .partition_point(|known| known.started_at < from)..]
    }

    /// Executions that started at or before `until`, in order.
    pub fn up_to(&self, until: Timestamp) -> &[ExecutionRecord] {
        &self.executions[..self
            .executions
            .partition_point(|known| known.started_at <= until)]
    }

    /// All executions, by start.
    pub fn executions(&self) -> &[ExecutionRecord] {
        &self.executions
    }

    /// Error text of a failed execution.
    pub fn error_of(&self, execution: &ExecutionRecord) -> Option<&Name> {
        self.errors.get(&execution.id_hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_takes_48_bytes_at_most() {
        assert!(size_of::<ExecutionRecord>() <= 48);
    }
}
