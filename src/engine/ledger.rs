//! The ledger: one row for each promise, and what became of it.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::labels::{Fingerprint, Labels};
use super::observation::Name;
use super::time::{Span, Timestamp};

/// One promise: a tick, a deadline, a run's limit. Identified by rule, subject and `due_at` (and the
/// run, for limits); a later row of the same identity corrects the earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// The rule that promised.
    pub rule: Name,
    /// Identity labels of the subject.
    pub labels: Labels,
    /// When it was due.
    pub due_at: Timestamp,
    /// What became of it.
    pub outcome: Promise,
    /// When that was recorded.
    pub recorded_at: Timestamp,
    /// What was recorded before, when this row corrects it.
    pub corrected_from: Option<Promise>,
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
}

impl LedgerRow {
    /// Identity: rule and subject, then the instant, so that rows of a subject lie together in time.
    pub fn key(&self) -> (Fingerprint, Timestamp) {
        (Fingerprint::of(&self.rule, &self.labels), self.due_at)
    }
}

/// All rows, by rule, subject and time.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    rules: HashMap<Name, BTreeMap<(Timestamp, Fingerprint), LedgerRow>>,
}

impl Ledger {
    /// Takes in a row; it replaces one of the same identity.
    pub fn record(&mut self, row: LedgerRow) {
        let (print, due_at) = row.key();
        let rows = self.rules.entry(row.rule.clone()).or_default();
        rows.insert((due_at, print), row);
    }

    /// The row of a promise.
    pub fn row(&self, rule: &str, labels: &Labels, due_at: Timestamp) -> Option<&LedgerRow> {
        let print = Fingerprint::of(rule, labels);
        self.rules.get(rule)?.get(&(due_at, print))
    }

    /// Rows of one identity that were due at or after an instant, in order.
    pub fn rows_since(
        &self,
        rule: &str,
        labels: &Labels,
        since: Timestamp,
    ) -> impl Iterator<Item = &LedgerRow> {
        let print = Fingerprint::of(rule, labels);
        let lowest = (since, Fingerprint::from_u128(0));
        let rows = self.rules.get(rule).map(|rows| rows.range(lowest..));
        rows.into_iter()
            .flatten()
            .filter(move |((_, known), _)| *known == print)
            .map(|(_, row)| row)
    }

    /// Rows of a rule that were due in `(after, until]`, in order.
    pub fn rows(
        &self,
        rule: &str,
        after: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = &LedgerRow> {
        let rows = self.rules.get(rule);
        let due = rows.into_iter().flatten().map(|(_, row)| row);
        due.filter(move |row| row.due_at > after && row.due_at <= until)
    }
}
