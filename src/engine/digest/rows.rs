//! The rows of a digest's lists.

use serde::{Deserialize, Serialize};

use super::super::ledger::Tally;
use super::super::query::BudgetRow;
use super::super::rule::Severity;
use super::super::time::Timestamp;

/// How the promises of a stretch of time came out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DigestPeriod {
    /// Promises due after this instant.
    pub from: Timestamp,
    /// And up to this one.
    pub to: Timestamp,
    /// How they came out.
    #[serde(flatten)]
    pub tally: Tally,
}

/// An alert that fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenRow {
    /// Short id.
    pub id: String,
    /// One line that stands alone.
    pub headline: String,
    /// How bad.
    pub severity: Severity,
    /// Since when.
    pub began_at: Timestamp,
    /// Who owns it.
    pub owner: Option<String>,
    /// Who has taken it on.
    pub acknowledged_by: Option<String>,
    /// Until when.
    pub acknowledged_until: Option<Timestamp>,
    /// Why it is kept quiet.
    pub quiet: Option<String>,
    /// Link to the run.
    pub run_url: Option<String>,
    /// Not part of the last digest.
    pub is_new: bool,
}

/// A promise of before the period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlierRow {
    /// The job or model.
    pub subject: String,
    /// The rule that promised.
    pub rule: String,
    /// When it was due.
    pub due_at: Timestamp,
    /// `missed`, `late`, `met`, `excused` or `unknown`.
    pub outcome: String,
    /// How late.
    pub late_millis: Option<i64>,
    /// What was recorded before.
    pub corrected_from: Option<String>,
}

/// The promises of one job (or model), of all rules together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlaLine {
    /// `finance nightly`.
    pub subject: String,
    /// The rules whose promises were broken; of a job that kept all, none.
    pub broken_rules: Vec<String>,
    /// In this period and the two before it.
    pub periods: [Tally; 3],
    /// How late the latest was.
    pub worst_late_millis: Option<i64>,
    /// It broke promises and had broken none in the period before.
    pub is_new: bool,
}

/// What an objective has left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetLine {
    /// The objective.
    pub objective: String,
    /// The rules it counts.
    pub of: String,
    /// Its promises in this period and the two before it.
    pub periods: [Tally; 3],
    /// What is left.
    #[serde(flatten)]
    pub budget: BudgetRow,
}

/// A promise that was kept at the last moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearRow {
    /// The job or model.
    pub subject: String,
    /// The rule that promised.
    pub rule: String,
    /// When it was due.
    pub due_at: Timestamp,
    /// Time that was left; below zero: within the grace.
    pub left_millis: i64,
    /// The whole time there was.
    pub allowed_millis: i64,
    /// How often in the period.
    pub count: usize,
}

/// A model's time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelLine {
    /// Project name.
    pub project: String,
    /// Job name.
    pub job: String,
    /// Model name.
    pub model: String,
    /// Successes in the period.
    pub count: usize,
    /// Their median.
    pub median_millis: i64,
    /// The median of the successes before; `None` with too few of them.
    pub usual_millis: Option<i64>,
    /// What that is made from.
    pub usual_count: usize,
    /// Added in all against usual.
    pub added_millis: Option<i64>,
}

/// An alert that changes too often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlappingRow {
    /// Short id.
    pub id: String,
    /// One line.
    pub headline: String,
    /// How often.
    pub note: String,
    /// Since when.
    pub since: Timestamp,
    /// Not part of the last digest.
    pub is_new: bool,
}

/// A job that is paused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PausedRow {
    /// `finance nightly`, or `finance` when the whole project is.
    pub subject: String,
    /// Since when, when known.
    pub since: Option<Timestamp>,
    /// It may have been before.
    pub is_since_or_before: bool,
    /// Not part of the last digest.
    pub is_new: bool,
}

/// A silence that ends soon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SilenceRow {
    /// Its id.
    pub id: String,
    /// What it keeps quiet.
    pub matchers: String,
    /// Who.
    pub by: String,
    /// When it ends.
    pub ends_at: Timestamp,
    /// Why, in their words.
    pub comment: String,
}

/// What is not known up to the end of the period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GapRow {
    /// Project name.
    pub project: String,
    /// `runs` or `model executions`.
    pub what: String,
    /// Known up to here; `None`: nothing is known.
    pub known_until: Option<Timestamp>,
}

/// A source that cannot be read, or a receiver that cannot be reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnreachableRow {
    /// `source acme`, `receiver leads`.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
    /// What went wrong last.
    pub why: Option<String>,
    /// Not part of the last digest.
    pub is_new: bool,
}

/// A rule that says too little or too much.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleNote {
    /// The rule.
    pub rule: String,
    /// Its kind.
    pub kind: String,
    /// What is noticed.
    pub habit: RuleHabit,
    /// Since when it is so.
    pub since: Timestamp,
    /// Alerts, where it always fires.
    pub alerts: usize,
}

/// What is noticed about a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleHabit {
    /// Fired the whole period.
    AlwaysFires,
    /// Watches no subject.
    MatchesNothing,
    /// Never fired since it is watched.
    NeverFired,
}
