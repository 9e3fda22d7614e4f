//! Facts read from a source: runs, model executions, jobs, plans, projects.
//!
//! An observation is what a source said at the instant it was observed. It carries no judgement, and
//! unknown words survive as [`Status::Other`] so that they can be counted and shown, never guessed at.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{NaiveDate, NaiveTime};
use serde::{Deserialize, Serialize};

use super::time::{Span, Timestamp};

/// A shared, immutable name. Cloning is cheap.
pub type Name = Arc<str>;

/// Identifies a project across sources: the configured source's name and the project's id there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProjectKey {
    /// Name of the `[[source]]`.
    pub source: Name,
    /// The project's id, opaque.
    pub project_id: Name,
}

/// One fact read from a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Observation {
    /// A project as it is now.
    Project(Project),
    /// A project has not been listed for so long that it is taken to be deleted, or is not to be watched any
    /// more.
    ProjectGone(ProjectKey),
    /// All jobs of a project as they are now; a job that is missing from the list is gone.
    Jobs(ProjectKey, Vec<Job>),
    /// A run of a project.
    Run(ProjectKey, Run),
    /// One model's execution inside a run.
    Execution(ProjectKey, Execution),
    /// A deployment plan.
    Plan(ProjectKey, Plan),
    /// All environment protections of a source as they are now.
    Protections(Name, Vec<Protection>),
    /// Averages of whole days, where a source tells no more than those.
    Averages(ProjectKey, Vec<DayAverage>),
}

impl Observation {
    /// The project the fact is about; `None` for facts about a source as a whole.
    pub fn project(&self) -> Option<ProjectKey> {
        match self {
            Self::Project(project) => Some(project.key.clone()),
            Self::ProjectGone(key)
            | Self::Jobs(key, _)
            | Self::Run(key, _)
            | Self::Execution(key, _)
            | Self::Plan(key, _)
            | Self::Averages(key, _) => Some(key.clone()),
            Self::Protections(..) => None,
        }
    }
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Identity.
    pub key: ProjectKey,
    /// Name for people; may change.
    pub name: Name,
    /// `sqlmesh`, `dbt`, or whatever the source said.
    pub project_type: Name,
    /// All schedules are held.
    pub is_suspended: bool,
    /// The project is deployed.
    pub is_deployed: bool,
    /// The environment it deploys to, when the source says.
    #[serde(default)]
    pub environment: Option<Name>,
    /// Commits on the branch that are not deployed.
    pub commits_behind: Option<u32>,
    /// The deployed commit.
    pub current_commit: Option<Name>,
    /// The newest commit of the branch.
    #[serde(default)]
    pub latest_commit: Option<Name>,
    /// That commit's message.
    #[serde(default)]
    pub latest_message: Option<Name>,
    /// `Allow`, `Forbid` or `Replace`: what happens when a tick comes while a run is active.
    pub concurrency_policy: Option<Name>,
}

/// A scheduled job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Name, unique in the project; runs refer to it.
    pub name: Name,
    /// Cron expression in the scheduler's dialect; `None` when the source gave none.
    pub schedule: Option<Name>,
    /// Ticks start runs.
    pub is_enabled: bool,
    /// The source's last change of the job.
    pub updated_at: Option<Timestamp>,
}

/// What a run or a model execution has come to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// Created, not started.
    Pending,
    /// Started, not finished.
    Running,
    /// Finished well.
    Success,
    /// Some models succeeded and some did not.
    Partial,
    /// The command ran and failed.
    Failed,
    /// The platform could not run it.
    Error,
    /// The execution was skipped because something before it failed.
    Skipped,
    /// A word this version does not know: neither good nor bad, counted and shown.
    Other(Name),
}

impl Status {
    /// Reads the source's word.
    pub fn from_word(word: &str) -> Self {
        match word {
            "pending" => Self::Pending,
            "running" => Self::Running,
            "success" => Self::Success,
            "partial" => Self::Partial,
            "failed" => Self::Failed,
            "error" => Self::Error,
            "skipped" => Self::Skipped,
            other => Self::Other(other.into()),
        }
    }

    /// The word as the source and configuration write it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Skipped => "skipped",
            Self::Other(word) => word,
        }
    }

    /// Pending or running.
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }

    /// Success, partial, failed or error. `Other` and `Skipped` are not outcomes.
    pub fn is_finished(&self) -> bool {
        matches!(
            self,
            Self::Success | Self::Partial | Self::Failed | Self::Error
        )
    }

    /// Failed or error.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed | Self::Error)
    }
}

/// One run of a job (or a manual run, which has no job).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Identity, opaque.
    pub id: Name,
    /// The job that the run belongs to; `None` for manual runs.
    pub job: Option<Name>,
    /// `run`, `plan`, `janitor`, or whatever the source said.
    pub job_type: Name,
    /// What it has come to.
    pub status: Status,
    /// Who or what started it: `scheduled`, `manual`, a user.
    pub triggered_by: Name,
    /// When the run was created (server time).
    pub created_at: Timestamp,
    /// When it started; `None` while pending.
    pub started_at: Option<Timestamp>,
    /// When it finished; `None` while active.
    pub finished_at: Option<Timestamp>,
    /// The source's last change of the row; the newest observation of an id wins.
    pub updated_at: Timestamp,
    /// Error text, cut to 4 000 characters by the source adapter.
    pub error: Option<Name>,
}

impl Run {
    /// started to finished; `None` until both are known.
    pub fn run_time(&self) -> Option<Span> {
        Some(self.finished_at?.since(self.started_at?))
    }

    /// The instant by which the run is ordered among finished runs: finished, else last updated.
    pub fn settled_at(&self) -> Timestamp {
        self.finished_at.unwrap_or(self.updated_at)
    }
}

/// One model's execution inside a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// Identity, opaque.
    pub id: Name,
    /// The run it belongs to, when the source says.
    pub run_id: Option<Name>,
    /// The model.
    pub model: Name,
    /// What it has come to.
    pub status: Status,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it finished.
    pub finished_at: Option<Timestamp>,
    /// The source's last change of the row.
    pub updated_at: Timestamp,
    /// Rows written, where the source counts them.
    #[serde(default)]
    pub rows: Option<i64>,
    /// Error text, cut to 4 000 characters by the source adapter.
    pub error: Option<Name>,
}

impl Execution {
    /// started to finished; `None` until both are known.
    pub fn run_time(&self) -> Option<Span> {
        Some(self.finished_at?.since(self.started_at?))
    }
}

/// A deployment plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Identity of the record.
    pub id: Name,
    /// Groups the explain and execute records of one deployment.
    pub group_id: Option<Name>,
    /// `explain`, `execute`, or whatever the source said.
    pub plan_type: Option<Name>,
    /// pending, running, completed, failed, rejected, cancelled, approved, or another word.
    pub status: Name,
    /// The commit it deploys.
    pub to_commit: Option<Name>,
    /// That commit's message.
    pub commit_message: Option<Name>,
    /// When it was created.
    pub created_at: Timestamp,
    /// The source's last change of the row.
    pub updated_at: Timestamp,
    /// Overtaken by newer commits rather than refused by a person.
    pub is_superseded: bool,
}

impl Plan {
    /// The deployment that the record belongs to: its group, or itself.
    pub fn group(&self) -> &Name {
        self.group_id.as_ref().unwrap_or(&self.id)
    }

    /// It waits for a person: explained, and not approved or refused. An execute step that is pending waits
    /// for a machine.
    pub fn is_waiting(&self) -> bool {
        &*self.status == "pending" && self.plan_type.as_deref() != Some("execute")
    }
}

/// Which plans of a project wait for a person, all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingPlans {
    /// The server instant at which it was so.
    pub at: Timestamp,
    /// Ids of their records.
    pub ids: BTreeSet<Name>,
}

/// Protection of an environment: changes to it need approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    /// The environment.
    pub environment: Name,
    /// It is in force.
    pub is_enabled: bool,
}

/// What an average is about. Which job a model was run by, and which of its runs were slow, is not known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Averaged {
    /// The runs of all jobs of a project.
    Runs,
    /// The executions of a model, by whichever job.
    Model(Name),
}

/// How long something took on average on one complete day, UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayAverage {
    /// What took so long.
    pub of: Averaged,
    /// The day, UTC.
    pub day: NaiveDate,
    /// How often it was run, where the source says.
    pub count: Option<u64>,
    /// The average duration; above 0.
    pub millis: u64,
}

/// The instant at which a day is over, UTC.
pub fn day_end(day: NaiveDate) -> Timestamp {
    let next = day.succ_opt().unwrap_or(day);
    next.and_time(NaiveTime::MIN).and_utc().into()
}
