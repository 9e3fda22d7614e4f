//! Where runs come from.
//!
//! A source turns a remote API into [`Observation`]s and says up to which server instant it has seen
//! everything. It decides nothing about alerts, keeps no history, and never writes to the remote side.

pub mod dagctl;

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::engine::observation::{Name, Observation, ProjectKey, WaitingPlans};
use crate::engine::time::{Span, Timestamp};

/// How far a project's lists have been read. Stored in the same transaction as the observations it
/// covers, so that a crash re-reads and never skips.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Greatest `updated_at` seen among runs of complete passes.
    pub runs_updated_at: Option<Timestamp>,
    /// Greatest `updated_at` seen among model executions of complete passes.
    pub executions_updated_at: Option<Timestamp>,
    /// Set while a first backfill is under way.
    pub backfill: Option<Backfill>,
    /// The jobs were listed once: runs are not read before they are listed again.
    #[serde(default)]
    pub has_jobs: bool,
    /// The newest day whose averages were reported, of models.
    #[serde(default)]
    pub models_averaged_until: Option<NaiveDate>,
    /// The newest day whose averages were reported, of runs.
    #[serde(default)]
    pub runs_averaged_until: Option<NaiveDate>,
    /// It was found that `end_date` is not part of the period.
    #[serde(default)]
    pub is_end_date_excluded: bool,
}

/// An interrupted first read, to be taken up where it stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfill {
    /// `updated_after` of the whole backfill, fixed when it began.
    pub since: Timestamp,
    /// The server's time when it began: what the pass will cover once it is complete.
    pub began_at: Timestamp,
    /// The run page to read next, 1-based; `None` when all run pages are in.
    pub runs_page: Option<u32>,
    /// The execution page to read next, 1-based; `None` when all are in (or the list is not served).
    pub executions_page: Option<u32>,
}

/// What one poll of a source brought. Observations of a failed poll are kept: whatever was read is
/// true; only coverage does not advance.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Facts, oldest pages first; the same fact may appear twice.
    pub observations: Vec<Observation>,
    /// Projects read completely in this poll, and the server instant up to which they are known.
    pub coverage: BTreeMap<ProjectKey, Timestamp>,
    /// Projects whose model executions were read completely in this poll, and the server instant up to which
    /// they are known.
    pub executions_known: BTreeMap<ProjectKey, Timestamp>,
    /// Projects whose plans were read in this poll, and which of them wait for a person.
    pub plans_waiting: BTreeMap<ProjectKey, WaitingPlans>,
    /// Cursors to store with the observations.
    pub cursors: BTreeMap<ProjectKey, Cursor>,
    /// Server time minus local time, measured from the `Date` header of this poll.
    pub skew: Option<Span>,
    /// Every configured project was read completely.
    pub is_complete: bool,
    /// Everything that went wrong, for `status` and the log. Empty when the poll was perfect.
    pub problems: Vec<Problem>,
    /// Backfill progress, for the bar: pages read and pages expected in total.
    pub progress: Option<Progress>,
    /// More pages of a backfill are waiting: poll again at once.
    pub has_more: bool,
}

/// Pages of the first backfill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Pages read so far.
    pub pages_read: u32,
    /// Pages expected in total, as far as known.
    pub pages_expected: u32,
}

/// Something that went wrong while reading, in words for people: what, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Kind, for counters.
    pub kind: ProblemKind,
    /// The project, when it concerns one.
    pub project_id: Option<Name>,
    /// One sentence with place and remedy; no secret, at most 500 characters.
    pub message: String,
}

/// What kind of thing went wrong. Kinds that are [`ProblemKind::is_blinding`] keep coverage back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// 401: token bad or expired.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404 on a path that must exist.
    NotFound,
    /// 429, after the budgeted waiting.
    RateLimited,
    /// 5xx.
    ServerError,
    /// No answer in time.
    Timeout,
    /// Connection refused, reset, name not found, TLS.
    Connection,
    /// The body was not the JSON it should be, or too large, or cut short.
    BadBody,
    /// One row could not be read; the rest of its page was used.
    BadRow,
    /// A status word nobody knows; the row was used.
    UnknownStatus,
    /// An optional endpoint is not served; the feature is off.
    FeatureOff,
    /// A run names a job the job list does not have.
    UnmatchedJob,
    /// The server's clock differs from ours by more than 30 s.
    Skew,
    /// A configured project pattern matches no project.
    NoSuchProject,
}

impl ProblemKind {
    /// The poll could not be completed because of it.
    pub fn is_blinding(self) -> bool {
        match self {
            Self::Unauthorized
            | Self::Forbidden
            | Self::NotFound
            | Self::RateLimited
            | Self::ServerError
            | Self::Timeout
            | Self::Connection
            | Self::BadBody => true,
            Self::BadRow
            | Self::UnknownStatus
            | Self::FeatureOff
            | Self::UnmatchedJob
            | Self::Skew
            | Self::NoSuchProject => false,
        }
    }
}

/// One place runs come from.
pub trait Source: Send {
    /// The configured name.
    fn name(&self) -> &str;
    /// Reads what is new. `now` is local time, used only to measure skew and to bound the first read.
    /// Never fails as a whole: what went wrong is in [`Batch::problems`].
    fn poll(&mut self, now: Timestamp) -> impl Future<Output = Batch> + Send;
}
