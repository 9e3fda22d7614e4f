//! The ledger: one row for each promise, and what became of it.
//!
//! Rows are kept by rule and subject, in time, packed to some tens of bytes (see [`SubjectRows`]). A later
//! row of the same promise corrects the earlier one, which is remembered with the instant at which it was
//! recorded; one that says the same again changes nothing. Questions cost what they return.

mod subject;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

pub use subject::SubjectRows;

use super::labels::{Fingerprint, Labels};
use super::observation::Name;
use super::time::{Span, Timestamp};

/// One promise: a tick, a deadline, a run's limit. Identified by rule, subject and `due_at` (and the
/// run, for limits); a later row of the same identity corrects the earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// The rule that promised.
    pub rule: Name,
    /// Identity labels of the subject; limits on runs have `run_id` besides.
    pub labels: Labels,
    /// When it was due.
    pub due_at: Timestamp,
    /// What became of it.
    pub outcome: Promise,
    /// When that was recorded.
    pub recorded_at: Timestamp,
    /// What was recorded before, when this row corrects it.
    pub corrected_from: Option<Promise>,
    /// When that was recorded.
    #[serde(default)]
    pub was_recorded_at: Option<Timestamp>,
}

/// What became of a promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    /// Kept.
    Met,
    /// Kept, but late (or over the limit) by so many milliseconds.
    LateBy(i64),
    /// Not kept.
    Missed,
    /// Not owed, and why.
    Excused(String),
    /// Cannot be told.
    Unknown,
}

impl Promise {
    /// Late by a span.
    pub fn late(span: Span) -> Self {
        Self::LateBy(span.num_milliseconds())
    }

    /// Late or missed: it uses up what an objective allows.
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::LateBy(_) | Self::Missed)
    }
}

/// The label that tells apart promises of the same subject and instant.
const RUN_ID: &str = "run_id";

impl LedgerRow {
    /// Identity: rule and subject, then the instant, so that rows of a subject lie together in time.
    pub fn key(&self) -> (Fingerprint, Timestamp) {
        (Fingerprint::of(&self.rule, &self.labels), self.due_at)
    }

    /// Labels of the subject, without the run.
    fn subject(&self) -> Labels {
        without_run(&self.labels)
    }
}

fn without_run(labels: &Labels) -> Labels {
    let mut labels = labels.clone();
    labels.set(RUN_ID, "");
    labels
}

/// How many promises came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Kept.
    pub met: usize,
    /// Kept late.
    pub late: usize,
    /// Not kept.
    pub missed: usize,
    /// Not owed.
    pub excused: usize,
    /// Cannot be told.
    pub unknown: usize,
}

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, outcome: &Promise) {
        *match outcome {
            Promise::Met => &mut self.met,
            Promise::LateBy(_) => &mut self.late,
            Promise::Missed => &mut self.missed,
            Promise::Excused(_) => &mut self.excused,
            Promise::Unknown => &mut self.unknown,
        } += 1;
    }

    /// Those that count: kept, late or missed.
    pub fn counted(&self) -> usize {
        self.met + self.broken()
    }

    /// Late or missed.
    pub fn broken(&self) -> usize {
        self.late + self.missed
    }

    /// All promises.
    pub fn total(&self) -> usize {
        self.counted() + self.excused + self.unknown
    }

    /// Share of those that count that were kept in time; `None` when none counts.
    pub fn share(&self) -> Option<f64> {
        #[allow(clippy::cast_precision_loss)] // far below 2^52
        (self.counted() > 0).then(|| self.met as f64 / self.counted() as f64)
    }
}

impl std::ops::Add for Tally {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            met: self.met + other.met,
            late: self.late + other.late,
            missed: self.missed + other.missed,
            excused: self.excused + other.excused,
            unknown: self.unknown + other.unknown,
        }
    }
}

/// All rows, by rule, subject and time.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    rules: HashMap<Name, BTreeMap<Labels, SubjectRows>>,
}

impl Ledger {
    /// Takes in a row. Returns it as it is to be stored, with what it corrects; `None` when that very outcome
    /// is recorded already.
    pub fn record(&mut self, row: LedgerRow) -> Option<LedgerRow> {
        self.subject_mut(&row).record(row)
    }

    /// Puts rows back in the order in which they were recorded: of the same promise the last one counts.
    pub fn restore(rows: impl IntoIterator<Item = LedgerRow>) -> Self {
        let mut ledger = Self::default();
        for row in rows {
            ledger.subject_mut(&row).restore(&row);
        }
        for subject in ledger.rules.values_mut().flat_map(BTreeMap::values_mut) {
            subject.sort();
        }
        ledger
    }

    fn subject_mut(&mut self, row: &LedgerRow) -> &mut SubjectRows {
        if !self.rules.contains_key(&row.rule) {
            self.rules.insert(row.rule.clone(), BTreeMap::new());
        }
        let (rule, subjects) = self
            .rules
            .get_key_value(&row.rule)
            .map(|(name, _)| name.clone())
            .zip(self.rules.get_mut(&row.rule))
            .expect("inserted above");
        subjects
            .entry(row.subject())
            .or_insert_with_key(|labels| SubjectRows::new(rule, labels.clone()))
    }

    /// Subjects to which a rule has promised something.
    pub fn subjects(&self, rule: &str) -> impl Iterator<Item = &SubjectRows> {
        self.rules.get(rule).into_iter().flat_map(BTreeMap::values)
    }

    /// Subjects of every rule.
    pub fn all(&self) -> impl Iterator<Item = &SubjectRows> {
        self.rules.values().flat_map(BTreeMap::values)
    }

    /// Promises of a rule at a subject.
    pub fn subject(&self, rule: &str, subject: &Labels) -> Option<&SubjectRows> {
        self.rules.get(rule)?.get(subject)
    }

    /// The row of a promise.
    pub fn row(&self, rule: &str, labels: &Labels, due_at: Timestamp) -> Option<LedgerRow> {
        self.rows_since(rule, labels, due_at)
            .find(|row| row.due_at == due_at)
    }

    /// Rows of one identity, the run included, that were due at or after an instant, in order.
    pub fn rows_since<'a>(
        &'a self,
        rule: &str,
        labels: &'a Labels,
        since: Timestamp,
    ) -> impl Iterator<Item = LedgerRow> + use<'a> {
        let subject = self.subject(rule, &without_run(labels));
        let after = since - Span::milliseconds(1);
        let rows = subject.map(|subject| subject.rows(after, Timestamp::MAX));
        let run_id = labels.get(RUN_ID);
        rows.into_iter()
            .flatten()
            .filter(move |row| row.labels.get(RUN_ID) == run_id)
    }

    /// Rows of a rule that were due in `(after, until]`, in order.
    pub fn rows(
        &self,
        rule: &str,
        after: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = LedgerRow> {
        let subjects = self.subjects(rule);
        let mut rows: Vec<LedgerRow> = subjects.flat_map(|s| s.rows(after, until)).collect();
        rows.sort_by_key(|row| row.due_at);
        rows.into_iter()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.all().map(SubjectRows::len).sum()
    }

    /// There is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes the rows take, names included once.
    pub fn size_bytes(&self) -> usize {
        self.all().map(SubjectRows::size_bytes).sum()
    }

    /// Forgets promises that were due before `cutoff`.
    pub fn forget_before(&mut self, cutoff: Timestamp) {
        for subjects in self.rules.values_mut() {
            for subject in subjects.values_mut() {
                subject.forget_before(cutoff);
            }
            subjects.retain(|_, subject| subject.len() > 0);
        }
        self.rules.retain(|_, subjects| !subjects.is_empty());
    }
}

#[cfg(test)]
mod tests;
