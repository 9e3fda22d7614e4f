//! Rows of dagctl's lists, turned into observations.
//!
//! What is missing is derived only where arithmetic allows it (an end from a start and a duration) or
//! where the API's own rules say so (a row that finished was last updated when it finished). A row
//! without identity or without a place in time is refused with the reason.

use serde::Deserialize;

use super::names::{self, Interner, MAX_NAME_CHARS};
use super::wire::{Flag, Listed, Number, Text};
use crate::engine::observation::{Execution, Job, Name, Plan, Project, ProjectKey, Run, Status};
use crate::engine::time::{Span, Timestamp};

/// Why a row could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RowFault {
    /// No `id` (or an unusable one).
    #[error("it has no usable `id`")]
    NoId,
    /// A field the row cannot do without.
    #[error("it has no `{0}`")]
    Missing(&'static str),
    /// An instant that is not RFC 3339.
    #[error("`{0}` is not an RFC 3339 instant: {1:?}")]
    Instant(&'static str, String),
}

/// One row of `/runs`.
#[derive(Debug, Deserialize)]
pub(super) struct RunRow<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) cronjob_name: Text<'a>,
    #[serde(borrow, default)]
    job_type: Text<'a>,
    #[serde(borrow, default)]
    status: Text<'a>,
    #[serde(borrow, default)]
    start_time: Text<'a>,
    #[serde(borrow, default)]
    end_time: Text<'a>,
    #[serde(default)]
    duration_seconds: Number,
    #[serde(borrow, default)]
    triggered_by: Text<'a>,
    #[serde(borrow, default)]
    error_message: Text<'a>,
    #[serde(borrow, default)]
    created_at: Text<'a>,
    #[serde(borrow, default)]
    updated_at: Text<'a>,
}

impl Listed for RunRow<'_> {
    const KEYS: &'static [&'static str] = &["runs", "job_runs", "data", "items"];
}

impl RunRow<'_> {
    /// The run, as one of `job`.
    pub(super) fn observe(&self, job: Option<Name>, names: &mut Interner) -> Result<Run, RowFault> {
        let id = identity(&self.id)?;
        let status = status(&self.status);
        let started_at = instant(&self.start_time);
        let ended_at = instant(&self.end_time);
        let updated_at = instant(&self.updated_at);
        let created_at = match self.created_at.get() {
            Some(text) if Timestamp::parse(text).is_none() => {
                return Err(RowFault::Instant(
                    "created_at",
                    text.chars().take(40).collect(),
                ));
            }
            _ => instant(&self.created_at)
                .or(started_at)
                .or(updated_at)
                .ok_or(RowFault::Missing("created_at"))?,
        };
        let updated_at = updated_at
            .or(ended_at)
            .unwrap_or_else(|| started_at.map_or(created_at, |at| at.max(created_at)));
        let (started_at, finished_at) = times(
            &status,
            started_at,
            ended_at,
            self.duration_seconds,
            updated_at,
        );
        Ok(Run {
            id,
            job,
            job_type: names.name(self.job_type.get().unwrap_or("unknown")),
            status,
            triggered_by: names.name(self.triggered_by.get().unwrap_or("unknown")),
            created_at,
            started_at,
            finished_at,
            updated_at,
            error: self.error_message.get().and_then(names::error_text),
        })
    }
}

/// One row of `/model-executions`. Its form is not documented, so every spelling is a field.
#[derive(Debug, Deserialize)]
pub(super) struct ExecutionRow<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    execution_id: Text<'a>,
    #[serde(borrow, default)]
    job_run_id: Text<'a>,
    #[serde(borrow, default)]
    run_id: Text<'a>,
    #[serde(borrow, default)]
    model_name: Text<'a>,
    #[serde(borrow, default)]
    model: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    status: Text<'a>,
    #[serde(borrow, default)]
    start_time: Text<'a>,
    #[serde(borrow, default)]
    started_at: Text<'a>,
    #[serde(borrow, default)]
    end_time: Text<'a>,
    #[serde(borrow, default)]
    finished_at: Text<'a>,
    #[serde(borrow, default)]
    completed_at: Text<'a>,
    #[serde(default)]
    duration_seconds: Number,
    #[serde(default)]
    duration: Number,
    #[serde(borrow, default)]
    error_message: Text<'a>,
    #[serde(borrow, default)]
    error: Text<'a>,
    #[serde(borrow, default)]
    created_at: Text<'a>,
    #[serde(borrow, default)]
    updated_at: Text<'a>,
}

impl Listed for ExecutionRow<'_> {
    const KEYS: &'static [&'static str] = &[
        "model_executions",
        "executions",
        "modelExecutions",
        "data",
        "items",
    ];
}

impl ExecutionRow<'_> {
    /// The execution. `runs` shares the ids of runs, which come in clusters.
    pub(super) fn observe(
        &self,
        names: &mut Interner,
        runs: &mut Interner,
    ) -> Result<Execution, RowFault> {
        let model = first(&[&self.model_name, &self.model, &self.name])
            .ok_or(RowFault::Missing("model_name"))?;
        let run_id = first(&[&self.job_run_id, &self.run_id]);
        let id = match (first(&[&self.id, &self.execution_id]), run_id) {
            (Some(id), _) => checked_id(id)?,
            // One model runs once in a run, so the two together are an identity.
            (None, Some(run_id)) => checked_id(&format!("{run_id}/{model}"))?,
            (None, None) => return Err(RowFault::NoId),
        };
        let status = status(&self.status);
        let started_at = instant(&self.start_time).or_else(|| instant(&self.started_at));
        let ended_at = [&self.end_time, &self.finished_at, &self.completed_at]
            .into_iter()
            .find_map(instant);
        let updated_at = instant(&self.updated_at)
            .or(ended_at)
            .or(started_at)
            .or_else(|| instant(&self.created_at))
            .ok_or(RowFault::Missing("updated_at"))?;
        let duration = Number(self.duration_seconds.0.or(self.duration.0));
        let (started_at, finished_at) = times(&status, started_at, ended_at, duration, updated_at);
        Ok(Execution {
            id,
            run_id: run_id.map(|id| runs.name(id)),
            model: names.name(model),
            status,
            started_at,
            finished_at,
            updated_at,
            error: first(&[&self.error_message, &self.error]).and_then(names::error_text),
        })
    }
}

/// One row of `/projects`.
#[derive(Debug, Deserialize)]
pub(super) struct ProjectRow<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    project_type: Text<'a>,
    #[serde(default)]
    suspended: Flag,
    #[serde(default)]
    deployed: Flag,
    #[serde(default)]
    commits_behind: Number,
    #[serde(borrow, default)]
    current_commit_sha: Text<'a>,
    #[serde(borrow, default)]
    concurrency_policy: Text<'a>,
}

impl Listed for ProjectRow<'_> {
    const KEYS: &'static [&'static str] = &["projects", "data", "items"];
}

impl ProjectRow<'_> {
    /// The project. One that does not say whether it is deployed is taken to be.
    pub(super) fn observe(&self, source: &Name, names: &mut Interner) -> Result<Project, RowFault> {
        let project_id = identity(&self.id)?;
        Ok(Project {
            name: self
                .name
                .get()
                .map_or_else(|| project_id.clone(), |name| names.name(name)),
            key: ProjectKey {
                source: source.clone(),
                project_id,
            },
            project_type: names.name(self.project_type.get().unwrap_or("unknown")),
            is_suspended: self.suspended.0.unwrap_or(false),
            is_deployed: self.deployed.0.unwrap_or(true),
            commits_behind: self
                .commits_behind
                .count()
                .map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
            current_commit: self.current_commit_sha.get().map(names::name),
            concurrency_policy: self
                .concurrency_policy
                .get()
                .map(|policy| names.name(policy)),
        })
    }
}

/// One row of `/jobs`.
#[derive(Debug, Deserialize)]
pub(super) struct JobRow<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    schedule: Text<'a>,
    #[serde(default)]
    enabled: Flag,
    #[serde(borrow, default)]
    updated_at: Text<'a>,
}

impl Listed for JobRow<'_> {
    const KEYS: &'static [&'static str] = &["jobs", "data", "items"];
}

impl JobRow<'_> {
    /// The job. One that does not say whether it is enabled is taken to be, as on creation.
    pub(super) fn observe(&self, names: &mut Interner) -> Result<Job, RowFault> {
        Ok(Job {
            name: names.name(self.name.get().ok_or(RowFault::Missing("name"))?),
            schedule: self.schedule.get().map(|schedule| names.name(schedule)),
            is_enabled: self.enabled.0.unwrap_or(true),
            updated_at: instant(&self.updated_at),
        })
    }
}

/// One row of `/plans`.
#[derive(Debug, Deserialize)]
pub(super) struct PlanRow<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    plan_id: Text<'a>,
    #[serde(borrow, default)]
    plan_type: Text<'a>,
    #[serde(borrow, default)]
    status: Text<'a>,
    #[serde(borrow, default)]
    to_commit_sha: Text<'a>,
    #[serde(borrow, default)]
    commit_message: Text<'a>,
    #[serde(borrow, default)]
    created_at: Text<'a>,
    #[serde(borrow, default)]
    updated_at: Text<'a>,
    #[serde(default)]
    auto_discarded: Flag,
    #[serde(default, deserialize_with = "plan_output")]
    plan_output: Flag,
}

impl Listed for PlanRow<'_> {
    const KEYS: &'static [&'static str] = &["plans", "data", "items"];
}

impl PlanRow<'_> {
    /// The plan.
    pub(super) fn observe(&self, names: &mut Interner) -> Result<Plan, RowFault> {
        let id = identity(&self.id)?;
        let created_at = match self.created_at.get() {
            Some(text) if Timestamp::parse(text).is_none() => {
                return Err(RowFault::Instant(
                    "created_at",
                    text.chars().take(40).collect(),
                ));
            }
            _ => instant(&self.created_at)
                .or_else(|| instant(&self.updated_at))
                .ok_or(RowFault::Missing("created_at"))?,
        };
        Ok(Plan {
            id,
            group_id: self.plan_id.get().map(names::name),
            plan_type: self.plan_type.get().map(|kind| names.name(kind)),
            status: names.name(self.status.get().ok_or(RowFault::Missing("status"))?),
            to_commit: self.to_commit_sha.get().map(names::name),
            commit_message: self.commit_message.get().map(names::name),
            created_at,
            updated_at: instant(&self.updated_at).unwrap_or(created_at),
            is_superseded: self.auto_discarded.0 == Some(true) || self.plan_output.0 == Some(true),
        })
    }
}

/// `plan_output.auto_discarded`, whatever else `plan_output` is.
fn plan_output<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Flag, D::Error> {
    #[derive(Deserialize)]
    struct Output {
        #[serde(default)]
        auto_discarded: Flag,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Any {
        Output(Output),
        Other(serde::de::IgnoredAny),
    }
    Ok(match Any::deserialize(deserializer)? {
        Any::Output(output) => output.auto_discarded,
        Any::Other(_) => Flag::default(),
    })
}

/// The first text that is not missing.
fn first<'a>(texts: &[&'a Text<'_>]) -> Option<&'a str> {
    texts.iter().find_map(|text| text.get())
}

fn identity(id: &Text<'_>) -> Result<Name, RowFault> {
    checked_id(id.get().ok_or(RowFault::NoId)?)
}

/// Ids are opaque and are kept as they are; a cut or cleaned one would be another's.
fn checked_id(id: &str) -> Result<Name, RowFault> {
    if id.len() > MAX_NAME_CHARS || id.contains(char::is_control) {
        return Err(RowFault::NoId);
    }
    Ok(id.into())
}

fn status(text: &Text<'_>) -> Status {
    match text.get() {
        Some(word) => match Status::from_word(word) {
            Status::Other(word) => Status::Other(names::name(&word)),
            known => known,
        },
        None => Status::Other("(none)".into()),
    }
}

/// The instant, unless it is missing, unreadable, or Go's zero time (year 1), which means missing.
fn instant(text: &Text<'_>) -> Option<Timestamp> {
    const YEAR_TWO: Timestamp =
        Timestamp::from_millis(Timestamp::MIN.as_millis() + 366 * 86_400_000);
    text.get()
        .and_then(Timestamp::parse)
        .filter(|at| *at >= YEAR_TWO)
}

/// Start and end that fit the status: a pending row has neither, a running one no end; an end that is
/// missing comes from the duration, or for a finished row from its last update; no end is before
/// its start.
fn times(
    status: &Status,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    duration: Number,
    updated_at: Timestamp,
) -> (Option<Timestamp>, Option<Timestamp>) {
    match status {
        Status::Pending => return (None, None),
        Status::Running => return (started_at, None),
        _ => {}
    }
    let duration = duration
        .0
        .filter(|seconds| *seconds >= 0.0)
        .map(span_of_seconds);
    let derived = started_at
        .zip(duration)
        .map(|(start, length)| start + length);
    let settled = status.is_finished().then_some(updated_at);
    let ended_at = ended_at.or(derived).or(settled);
    let started_at = started_at.or_else(|| Some(ended_at? - duration?));
    let ended_at = ended_at.map(|end| started_at.map_or(end, |start| end.max(start)));
    (started_at, ended_at)
}

/// Milliseconds are enough; lengths beyond a century are cut to it.
#[allow(clippy::cast_possible_truncation)] // bounded just before
fn span_of_seconds(seconds: f64) -> Span {
    const CENTURY_SECONDS: f64 = 36_525.0 * 86_400.0;
    Span::milliseconds((seconds.min(CENTURY_SECONDS) * 1_000.0).round() as i64)
}
