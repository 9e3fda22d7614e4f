//! What an organization on dagctl consists of, planned ahead.
//!
//! Nothing here happens: a plan names instants, and what is visible at an instant follows from them.
//! A run is invisible before `created_at`, `pending` until `started_at`, `running` until
//! `finished_at`, then has its final status; its `updated_at` is the latest of those that passed.

use chrono_tz::Tz;

use crate::engine::time::{Span, Timestamp};

/// How a run or a model execution ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything worked.
    Success,
    /// Some models worked, some did not.
    Partial,
    /// The command failed.
    Failed,
    /// The platform could not run it.
    Error,
    /// A model that was not tried because one before it failed.
    Skipped,
    /// Any other status text, as a newer API might send.
    Other(String),
}

impl Outcome {
    /// As the API writes it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Skipped => "skipped",
            Self::Other(text) => text,
        }
    }

    /// From the API's text.
    pub fn from_text(text: &str) -> Self {
        match text {
            "success" => Self::Success,
            "partial" => Self::Partial,
            "failed" => Self::Failed,
            "error" => Self::Error,
            "skipped" => Self::Skipped,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// A change of a run after its end, such as a retry that turned a failure into a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amendment {
    /// When it shows.
    pub at: Timestamp,
    /// The status from then on.
    pub status: Outcome,
    /// The error from then on.
    pub error: Option<String>,
}

/// One model refreshed within a run. Visible from `started_at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedExecution {
    /// Its id; `None`: made from the run's id and the position.
    pub id: Option<String>,
    /// The model.
    pub model: String,
    /// When it starts.
    pub started_at: Timestamp,
    /// When it ends; `None`: never.
    pub finished_at: Option<Timestamp>,
    /// How it ends.
    pub status: Outcome,
    /// Why it failed.
    pub error: Option<String>,
    /// Rows it writes; `None`: made up from the model, where rows are served at all.
    pub rows: Option<i64>,
}

/// One run from its creation to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRun {
    /// Its id, unique in the project.
    pub id: String,
    /// The job (its `CronJob` name); `None` on manual runs.
    pub job: Option<String>,
    /// `run`, `plan` or `janitor`.
    pub job_type: String,
    /// When it appears, pending.
    pub created_at: Timestamp,
    /// When it starts; `None`: never.
    pub started_at: Option<Timestamp>,
    /// When it ends; `None`: never.
    pub finished_at: Option<Timestamp>,
    /// How it ends.
    pub status: Outcome,
    /// The error shown from the end on.
    pub error: Option<String>,
    /// `scheduled`, `manual`, ...
    pub triggered_by: String,
    /// Models refreshed in it.
    pub executions: Vec<PlannedExecution>,
    /// Changes after the end, in order of time.
    pub later: Vec<Amendment>,
}

impl PlannedRun {
    /// A scheduled run of `job` created and started at `at`, successful after `duration`.
    pub fn success(id: &str, job: &str, at: Timestamp, duration: Span) -> Self {
        Self {
            id: id.to_owned(),
            job: Some(job.to_owned()),
            job_type: "run".to_owned(),
            created_at: at,
            started_at: Some(at),
            finished_at: Some(at + duration),
            status: Outcome::Success,
            error: None,
            triggered_by: "scheduled".to_owned(),
            executions: Vec::new(),
            later: Vec::new(),
        }
    }

    /// As [`PlannedRun::success`], but it fails with `error`.
    pub fn failure(id: &str, job: &str, at: Timestamp, duration: Span, error: &str) -> Self {
        Self {
            status: Outcome::Failed,
            error: Some(error.to_owned()),
            ..Self::success(id, job, at, duration)
        }
    }

    /// A scheduled run that starts at `at` and never ends.
    pub fn endless(id: &str, job: &str, at: Timestamp) -> Self {
        Self {
            finished_at: None,
            ..Self::success(id, job, at, Span::zero())
        }
    }

    /// The same run, started by hand: no job, triggered by `manual`.
    #[must_use]
    pub fn by_hand(self) -> Self {
        Self {
            job: None,
            triggered_by: "manual".to_owned(),
            ..self
        }
    }

    /// The same run waiting for `span` between creation and start; start and end move.
    #[must_use]
    pub fn queued_for(self, span: Span) -> Self {
        Self {
            started_at: Some(self.created_at + span),
            finished_at: self.finished_at.map(|at| at + span),
            ..self
        }
    }

    /// The same run with one more model, directly after the last one.
    #[must_use]
    pub fn with_model(
        mut self,
        model: &str,
        duration: Span,
        status: Outcome,
        error: Option<&str>,
    ) -> Self {
        let start = self.started_at.unwrap_or(self.created_at);
        let started_at = self
            .executions
            .last()
            .and_then(|last| last.finished_at)
            .unwrap_or(start);
        self.executions.push(PlannedExecution {
            id: None,
            model: model.to_owned(),
            started_at,
            finished_at: Some(started_at + duration),
            status,
            error: error.map(ToOwned::to_owned),
            rows: None,
        });
        self
    }

    /// The same run whose newest model writes so many rows.
    #[must_use]
    pub fn with_rows(mut self, rows: i64) -> Self {
        if let Some(last) = self.executions.last_mut() {
            last.rows = Some(rows);
        }
        self
    }

    /// The same run with a change at `at`, after its end.
    #[must_use]
    pub fn amended(mut self, at: Timestamp, status: Outcome, error: Option<&str>) -> Self {
        self.later.push(Amendment {
            at,
            status,
            error: error.map(ToOwned::to_owned),
        });
        self
    }
}

/// A job: a command on a cron schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobPlan {
    /// Its name, unique in the project.
    pub name: String,
    /// The schedule as the API shows it.
    pub cron: String,
    /// Zone in which the generators read `cron`. The API does not show it.
    pub zone: Tz,
    /// Whether it is enabled at first.
    pub enabled: bool,
    /// What it is for.
    pub description: Option<String>,
    /// The command.
    pub command: String,
    /// When it appears.
    pub created_at: Timestamp,
    /// Changes in order of time.
    pub changes: Vec<(Timestamp, JobChange)>,
}

impl JobPlan {
    /// An enabled job on `cron`, in UTC, there since ever.
    pub fn new(name: &str, cron: &str) -> Self {
        Self {
            name: name.to_owned(),
            cron: cron.to_owned(),
            zone: Tz::UTC,
            enabled: true,
            description: None,
            command: "sqlmesh run".to_owned(),
            created_at: EARLY,
            changes: Vec::new(),
        }
    }
}

/// Creation of what was "always there": 2025-01-01T00:00:00Z.
pub(super) const EARLY: Timestamp = Timestamp::from_millis(1_735_689_600_000);

/// A change of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobChange {
    /// Enabled or disabled.
    Enabled(bool),
    /// A new schedule.
    Schedule(String),
    /// Deleted.
    Removed,
}

/// What a project is built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProjectKind {
    /// `SQLMesh`.
    Sqlmesh,
    /// dbt.
    Dbt,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectPlan {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is built with.
    pub kind: ProjectKind,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it is suspended at first.
    pub suspended: bool,
    /// Whether it is deployed at first.
    pub deployed: bool,
    /// Its status at first.
    pub status: String,
    /// Commits it is behind at first.
    pub commits_behind: usize,
    /// The deployed commit at first.
    pub commit: String,
    /// When it appears.
    pub created_at: Timestamp,
    /// Changes in order of time.
    pub changes: Vec<(Timestamp, ProjectChange)>,
}

impl ProjectPlan {
    /// A deployed, active project, there since ever.
    pub fn new(id: &str, name: &str, kind: ProjectKind) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            kind,
            description: None,
            suspended: false,
            deployed: true,
            status: "active".to_owned(),
            commits_behind: 0,
            commit: "0a1b2c3".to_owned(),
            created_at: EARLY,
            changes: Vec::new(),
        }
    }
}

/// A change of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProjectChange {
    /// Suspended or resumed.
    Suspended(bool),
    /// Deployed or not.
    Deployed(bool),
    /// Another status text.
    Status(String),
    /// Newer commits exist (the latest one is named), or none (0).
    CommitsBehind(usize, String),
    /// This commit is deployed; the project is up to date.
    Commit(String),
    /// Deleted.
    Removed,
}

/// One record of a plan: its explain or its execute step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRecord {
    /// Id of the record.
    pub id: String,
    /// Groups the records of one deployment.
    pub plan_id: String,
    /// `explain` or `execute`.
    pub plan_type: String,
    /// Commit it starts from.
    pub from_commit: String,
    /// Commit it leads to.
    pub to_commit: String,
    /// Message of that commit.
    pub message: String,
    /// `manual` or other.
    pub triggered_by: String,
    /// Rejected by the platform because newer commits overtook it.
    pub auto_discarded: bool,
    /// Statuses in order of time; the first instant is its creation.
    pub states: Vec<(Timestamp, String)>,
}

impl PlanRecord {
    /// A record without states yet.
    pub fn new(id: &str, plan_id: &str, plan_type: &str, message: &str) -> Self {
        Self {
            id: id.to_owned(),
            plan_id: plan_id.to_owned(),
            plan_type: plan_type.to_owned(),
            from_commit: "0a1b2c3".to_owned(),
            to_commit: "4d5e6f7".to_owned(),
            message: message.to_owned(),
            triggered_by: "manual".to_owned(),
            auto_discarded: false,
            states: Vec::new(),
        }
    }

    /// The same record between other commits.
    #[must_use]
    pub fn commits(self, from: &str, to: &str) -> Self {
        Self {
            from_commit: from.to_owned(),
            to_commit: to.to_owned(),
            ..self
        }
    }

    /// The same record with `status` from `at` on.
    #[must_use]
    pub fn then(mut self, at: Timestamp, status: &str) -> Self {
        self.states.push((at, status.to_owned()));
        self
    }
}

/// A protected environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// Its id.
    pub id: String,
    /// The environment.
    pub environment: String,
    /// Whether it is on at first.
    pub enabled: bool,
    /// When it appears.
    pub created_at: Timestamp,
    /// Switched on and off, in order of time.
    pub changes: Vec<(Timestamp, bool)>,
}

/// A member of the organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Id.
    pub id: String,
    /// Mail address.
    pub email: String,
    /// Name.
    pub name: String,
    /// `owner`, `admin`, `developer`, `reader`, ...
    pub role: String,
}
