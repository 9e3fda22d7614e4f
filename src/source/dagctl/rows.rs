//! Rows of dagctl's lists, turned into observations.
//!
//! What is missing is derived only where arithmetic allows it (an end from a start and a duration) or
//! where the API's own rules say so (a row that finished was last updated when it finished). A row
//! without identity or without a place in time is refused with the reason.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::names::{self, Interner, MAX_NAME_CHARS};
use super::wire::{Flag, Listed, Number, Text};
use crate::engine::observation::{
    Execution, Job, Name, Plan, Project, ProjectKey, Protection, Run, Status,
};
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
    #[serde(default)]
    row_count: Number,
    #[serde(default)]
    rows: Number,
    #[serde(default)]
    rows_affected: Number,
    #[serde(default)]
    num_rows: Number,
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
        let id = first(&[&self.id, &self.execution_id]).ok_or(RowFault::NoId)?;
        let id = checked_id(id)?;
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
            rows: self.row_count(),
            error: first(&[&self.error_message, &self.error]).and_then(names::error_text),
        })
    }

    /// Rows written, in whatever spelling; a count that means "not known" only when there is no better one.
    fn row_count(&self) -> Option<i64> {
        let spellings = [self.row_count, self.rows, self.rows_affected, self.num_rows];
        let counts = || spellings.into_iter().filter_map(whole);
        counts().find(|count| *count >= 0).or(counts().next())
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
    #[serde(borrow, default)]
    sqlmesh_environment: Text<'a>,
    #[serde(default)]
    suspended: Flag,
    #[serde(default)]
    deployed: Flag,
    #[serde(default)]
    commits_behind: Number,
    #[serde(borrow, default)]
    current_commit_sha: Text<'a>,
    #[serde(borrow, default)]
    latest_commit_sha: Text<'a>,
    #[serde(borrow, default)]
    latest_commit_message: Text<'a>,
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
            environment: self.sqlmesh_environment.get().map(|name| names.name(name)),
            commits_behind: self
                .commits_behind
                .count()
                .map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
            current_commit: self.current_commit_sha.get().map(names::name),
            latest_commit: self.latest_commit_sha.get().map(names::name),
            latest_message: self.latest_commit_message.get().map(names::name),
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

/// One row of `/environment-protections`.
#[derive(Debug, Deserialize)]
pub(super) struct ProtectionRow<'a> {
    #[serde(borrow, default)]
    environment_name: Text<'a>,
    #[serde(borrow, default)]
    environment: Text<'a>,
    #[serde(default)]
    enabled: Flag,
}

impl Listed for ProtectionRow<'_> {
    const KEYS: &'static [&'static str] =
        &["protections", "environment_protections", "data", "items"];
}

impl ProtectionRow<'_> {
    /// The protection. One that does not say whether it is in force is taken to be.
    pub(super) fn observe(&self, names: &mut Interner) -> Result<Protection, RowFault> {
        let environment = first(&[&self.environment_name, &self.environment])
            .ok_or(RowFault::Missing("environment_name"))?;
        Ok(Protection {
            environment: names.name(environment),
            is_enabled: self.enabled.0.unwrap_or(true),
        })
    }
}

/// `plan_output.auto_discarded`, whatever else `plan_output` is.
fn plan_output<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Flag, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Output {
        Fields(BTreeMap<String, Flag>),
        Other(serde::de::IgnoredAny),
    }
    Ok(match Output::deserialize(deserializer)? {
        Output::Fields(fields) => fields.get("auto_discarded").copied().unwrap_or_default(),
        Output::Other(_) => Flag::default(),
    })
}

/// A number that is a whole one.
#[allow(clippy::cast_possible_truncation)] // bounded just before
fn whole(number: Number) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number = number.0?;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
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
/// its start. A missing start is never derived: a run that could not be started has a duration, too.
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
    let ended_at = ended_at.map(|end| started_at.map_or(end, |start| end.max(start)));
    (started_at, ended_at)
}

/// Milliseconds are enough; lengths beyond a century are cut to it.
#[allow(clippy::cast_possible_truncation)] // bounded just before
fn span_of_seconds(seconds: f64) -> Span {
    const CENTURY_SECONDS: f64 = 36_525.0 * 86_400.0;
    Span::milliseconds((seconds.min(CENTURY_SECONDS) * 1_000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::source::dagctl::wire;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    /// The documented run, with `changes` merged in; `null` takes a field out.
    fn merged(mut row: Value, changes: &Value) -> String {
        for (key, value) in changes.as_object().unwrap() {
            if value == "REMOVE" {
                row.as_object_mut().unwrap().remove(key);
            } else {
                row[key] = value.clone();
            }
        }
        row.to_string()
    }

    fn run(changes: &Value) -> Result<Run, RowFault> {
        let row = json!({
            "id": "run_7f21", "project_id": "proj_a1", "job_name": "sqlmesh-run-20260310-041500",
            "cronjob_name": "quarter-hourly", "job_type": "run", "status": "failed",
            "start_time": "2026-03-10T04:15:00Z", "end_time": "2026-03-10T04:19:41Z",
            "duration_seconds": 281.402, "triggered_by": "scheduled",
            "error_message": "audit not_null failed on marts.orders",
            "created_at": "2026-03-10T04:15:00Z", "updated_at": "2026-03-10T04:19:42Z",
        });
        let text = merged(row, changes);
        let row: RunRow<'_> = serde_json::from_str(&text).unwrap();
        row.observe(Some("quarter-hourly".into()), &mut Interner::default())
    }

    #[test]
    fn the_documented_run_is_read() {
        let run = run(&json!({})).unwrap();
        assert_eq!(
            run,
            Run {
                id: "run_7f21".into(),
                job: Some("quarter-hourly".into()),
                job_type: "run".into(),
                status: Status::Failed,
                triggered_by: "scheduled".into(),
                created_at: at("2026-03-10T04:15:00Z"),
                started_at: Some(at("2026-03-10T04:15:00Z")),
                finished_at: Some(at("2026-03-10T04:19:41Z")),
                updated_at: at("2026-03-10T04:19:42Z"),
                error: Some("audit not_null failed on marts.orders".into()),
            }
        );
    }

    #[test]
    fn times_are_derived_where_arithmetic_allows() {
        let (t15, t19, t42) = (
            "2026-03-10T04:15:00Z",
            "2026-03-10T04:19:41Z",
            "2026-03-10T04:19:42Z",
        );
        for (what, changes, started, finished) in [
            ("as given", json!({}), Some(t15), Some(t19)),
            ("pending", json!({"status": "pending"}), None, None),
            ("running", json!({"status": "running"}), Some(t15), None),
            (
                "end from duration",
                json!({"end_time": null}),
                Some(t15),
                Some("2026-03-10T04:19:41.402Z"),
            ),
            (
                "end from update",
                json!({"end_time": "REMOVE", "duration_seconds": "REMOVE"}),
                Some(t15),
                Some(t42),
            ),
            (
                "never started",
                json!({"start_time": null, "duration_seconds": 281}),
                None,
                Some(t19),
            ),
            (
                "neither",
                json!({"start_time": null, "duration_seconds": null}),
                None,
                Some(t19),
            ),
            (
                "end before start",
                json!({"end_time": "2026-03-10T04:00:00Z"}),
                Some(t15),
                Some(t15),
            ),
            (
                "negative duration",
                json!({"end_time": null, "duration_seconds": -4}),
                Some(t15),
                Some(t42),
            ),
            (
                "Go's zero time",
                json!({"end_time": "0001-01-01T00:00:00Z", "duration_seconds": 0}),
                Some(t15),
                Some(t15),
            ),
            (
                "unreadable end",
                json!({"end_time": "soon", "duration_seconds": {}}),
                Some(t15),
                Some(t42),
            ),
            (
                "offset",
                json!({"end_time": "2026-03-10T06:19:41+02:00"}),
                Some(t15),
                Some(t19),
            ),
            (
                "unknown status",
                json!({"status": "paused", "end_time": null, "duration_seconds": null}),
                Some(t15),
                None,
            ),
        ] {
            let run = run(&changes).unwrap();
            assert_eq!(run.started_at, started.map(at), "{what}");
            assert_eq!(run.finished_at, finished.map(at), "{what}");
        }
    }

    #[test]
    fn update_and_creation_fall_back() {
        for (what, changes, created, updated) in [
            (
                "no update",
                json!({"updated_at": null}),
                "2026-03-10T04:15:00Z",
                "2026-03-10T04:19:41Z",
            ),
            (
                "no update, no end",
                json!({"updated_at": "x", "end_time": null, "start_time": "2026-03-10T04:16:00Z"}),
                "2026-03-10T04:15:00Z",
                "2026-03-10T04:16:00Z",
            ),
            (
                "no creation",
                json!({"created_at": "REMOVE", "start_time": "2026-03-10T04:16:00Z"}),
                "2026-03-10T04:16:00Z",
                "2026-03-10T04:19:42Z",
            ),
            (
                "only update",
                json!({"created_at": null, "start_time": null}),
                "2026-03-10T04:19:42Z",
                "2026-03-10T04:19:42Z",
            ),
        ] {
            let run = run(&changes).unwrap();
            assert_eq!(
                (run.created_at, run.updated_at),
                (at(created), at(updated)),
                "{what}"
            );
        }
    }

    #[test]
    fn rows_without_identity_or_time_are_refused() {
        let gone = json!({"created_at": null, "start_time": null, "updated_at": null});
        for (changes, fault) in [
            (json!({"id": "REMOVE"}), RowFault::NoId),
            (json!({"id": ""}), RowFault::NoId),
            (json!({"id": "a\nb"}), RowFault::NoId),
            (json!({"id": "x".repeat(301)}), RowFault::NoId),
            (json!({"id": ["run_1"]}), RowFault::NoId),
            (gone, RowFault::Missing("created_at")),
            (
                json!({"created_at": "2026-03-10 at 4"}),
                RowFault::Instant("created_at", "2026-03-10 at 4".into()),
            ),
        ] {
            assert_eq!(run(&changes), Err(fault), "{changes}");
        }
    }

    #[test]
    fn odd_scalars_are_read_or_left_out() {
        let read = run(&json!({
            "id": 4711, "status": null, "triggered_by": {"user": "x"}, "job_type": "REMOVE",
            "error_message": ["a"], "duration_seconds": "12.5", "end_time": null,
        }))
        .unwrap();
        assert_eq!(&*read.id, "4711");
        assert_eq!(read.status, Status::Other("(none)".into()));
        assert_eq!(
            (&*read.triggered_by, &*read.job_type),
            ("unknown", "unknown")
        );
        assert_eq!(read.error, None);
        assert_eq!(read.run_time(), Some(Span::milliseconds(12_500)));
        let hostile = run(&json!({
            "error_message": format!("\u{1b}[31m{}", "é".repeat(9_000)), "job_type": "r\u{0}un",
        }))
        .unwrap();
        assert_eq!(
            hostile.error.unwrap().chars().count(),
            names::MAX_ERROR_CHARS
        );
        assert_eq!(&*hostile.job_type, "run");
    }

    #[test]
    fn executions_are_read_in_every_spelling() {
        let expected = |id: &str| Execution {
            id: id.into(),
            run_id: Some("run_7f21".into()),
            model: "marts.orders".into(),
            status: Status::Failed,
            started_at: Some(at("2026-03-10T04:16:00Z")),
            finished_at: Some(at("2026-03-10T04:17:30Z")),
            updated_at: at("2026-03-10T04:17:30Z"),
            rows: None,
            error: Some("audit failed".into()),
        };
        for (id, row) in [
            (
                "mex_55",
                json!({"id": "mex_55", "job_run_id": "run_7f21", "model_name": "marts.orders",
                    "status": "failed", "start_time": "2026-03-10T04:16:00Z",
                    "end_time": "2026-03-10T04:17:30Z", "error_message": "audit failed",
                    "updated_at": "2026-03-10T04:17:30Z", "extra": {"deep": [1, {}]}}),
            ),
            (
                "mex_55",
                json!({"execution_id": "mex_55", "run_id": "run_7f21", "model": "marts.orders",
                    "status": "failed", "started_at": "2026-03-10T04:16:00Z",
                    "completed_at": "2026-03-10T04:17:30Z", "error": "audit failed"}),
            ),
            (
                "mex_55",
                json!({"id": "mex_55", "run_id": "run_7f21", "job_run_id": "run_7f21", "name": "marts.orders",
                    "model": null, "status": "failed", "start_time": "2026-03-10T04:16:00Z",
                    "duration": 90, "error": "audit failed", "updated_at": "2026-03-10T04:17:30Z"}),
            ),
        ] {
            let text = row.to_string();
            let row: ExecutionRow<'_> = serde_json::from_str(&text).unwrap();
            let names = &mut Interner::default();
            assert_eq!(
                row.observe(names, &mut Interner::default()),
                Ok(expected(id)),
                "{text}"
            );
        }
        let row: ExecutionRow<'_> = serde_json::from_str(r#"{"id":"m"}"#).unwrap();
        let read = row.observe(&mut Interner::default(), &mut Interner::default());
        assert_eq!(read, Err(RowFault::Missing("model_name")));
    }

    #[test]
    fn row_counts_are_read_in_every_spelling() {
        for (fields, rows) in [
            (json!({"row_count": 120}), Some(120)),
            (json!({"rows": "12400"}), Some(12_400)),
            (json!({"rows_affected": 0}), Some(0)),
            (json!({"num_rows": 7.0}), Some(7)),
            (json!({"rows": -1}), Some(-1)),
            (json!({"row_count": -1, "rows_affected": 12}), Some(12)),
            (json!({"row_count": null, "num_rows": 3}), Some(3)),
            (json!({"rows": [[1, 2], {}], "row_count": {"n": 3}}), None),
            (json!({"rows": "many", "num_rows": 1.5}), None),
            (json!({"rows": 1e300, "row_count": true}), None),
            (json!({}), None),
        ] {
            let row =
                json!({"id": "m", "model": "marts.orders", "updated_at": "2026-03-10T04:17:30Z"});
            let text = merged(row, &fields);
            let row: ExecutionRow<'_> = serde_json::from_str(&text).unwrap();
            let read = row.observe(&mut Interner::default(), &mut Interner::default());
            assert_eq!(read.unwrap().rows, rows, "{text}");
        }
    }

    #[test]
    fn projects_jobs_and_plans_are_read() {
        let names = &mut Interner::default();
        let text = r#"{"id":"proj_a1","name":"warehouse","project_type":"dbt","suspended":true,
            "deployed":false,"commits_behind":3,"current_commit_sha":"0a1b2c3",
            "concurrency_policy":"Forbid"}"#;
        let row: ProjectRow<'_> = serde_json::from_str(text).unwrap();
        let project = row.observe(&"dagctl".into(), names).unwrap();
        assert_eq!(
            (&*project.name, &*project.project_type),
            ("warehouse", "dbt")
        );
        assert_eq!((project.is_suspended, project.is_deployed), (true, false));
        assert_eq!(project.commits_behind, Some(3));
        let row: ProjectRow<'_> = serde_json::from_str(r#"{"id":"proj_b2"}"#).unwrap();
        let project = row.observe(&"dagctl".into(), names).unwrap();
        assert_eq!((&*project.name, project.is_deployed), ("proj_b2", true));

        let row: JobRow<'_> =
            serde_json::from_str(r#"{"name":"hourly","schedule":"0 * * * *","enabled":0}"#)
                .unwrap();
        let job = row.observe(names).unwrap();
        assert_eq!(
            (job.schedule.as_deref(), job.is_enabled),
            (Some("0 * * * *"), false)
        );

        for (output, is_superseded) in [
            (json!({"auto_discarded": true, "models": []}), true),
            (json!({"auto_discarded": false}), false),
            (json!("text"), false),
            (json!(null), false),
            (json!([1]), false),
        ] {
            let text = json!({"id": "plan_90", "plan_id": "g", "plan_type": "explain",
                "status": "rejected", "created_at": "2026-04-28T10:00:00Z", "plan_output": output});
            let text = text.to_string();
            let row: PlanRow<'_> = serde_json::from_str(&text).unwrap();
            let plan = row.observe(names).unwrap();
            assert_eq!(plan.is_superseded, is_superseded, "{text}");
            assert_eq!(plan.updated_at, plan.created_at);
        }
    }

    #[test]
    fn pages_are_found_under_every_key() {
        let row = r#"{"id":"a","created_at":"2026-03-10T04:15:00Z","status":"success"}"#;
        for (body, rows, total) in [
            (
                format!(r#"{{"runs":[{row}],"total":7,"page":1,"limit":500,"total_pages":2}}"#),
                1,
                Some(7),
            ),
            (
                format!(r#"{{"data":[{row}],"items":null,"total":"7"}}"#),
                1,
                Some(7),
            ),
            (format!(r#"{{"data":[],"runs":[{row},{row}]}}"#), 2, None),
            (format!("[{row}]"), 1, None),
            (r#"{"runs":null,"total":0}"#.to_owned(), 0, Some(0)),
            (r#"{"total":0,"page":1}"#.to_owned(), 0, Some(0)),
            (
                format!(r#" {{"stats":{{"runs":3}},"runs":[{row}]}} "#),
                1,
                None,
            ),
        ] {
            let page = wire::page::<RunRow<'_>>(&body).unwrap();
            assert_eq!((page.rows.len(), page.head.total), (rows, total), "{body}");
            assert!(page.rows.iter().all(Result::is_ok), "{body}");
        }
    }

    #[test]
    fn malformed_rows_cost_only_themselves() {
        let row = r#"{"id":"a","created_at":"2026-03-10T04:15:00Z"}"#;
        let body =
            format!(r#"{{"runs":[{row},7,null,"x",{{"id":"\ud800"}},{row},[[]]],"total":7}}"#);
        let page = wire::page::<RunRow<'_>>(&body).unwrap();
        let good = page
            .rows
            .iter()
            .flatten()
            .filter(|row| row.id.get() == Some("a"))
            .count();
        assert_eq!((page.rows.len(), good), (7, 2));
        assert!(page.rows.iter().filter(|row| row.is_err()).count() >= 4);
    }

    #[test]
    fn bodies_without_a_list_are_refused() {
        for body in [
            "",
            "<html>",
            "{",
            "{\"runs\":[{\"id\":\"a\"}",
            "\"text\"",
            "7",
            "null",
            "{}",
            "{\"total\":3}",
            "{\"runs\":{}}",
            "{\"runs\":\"x\"}",
            "{\"error\":\"no\"}",
        ] {
            assert!(wire::page::<RunRow<'_>>(body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_run_by_itself_is_bare_or_wrapped() {
        for body in [r#"{"id":"a"}"#, r#"{"run":{"id":"a"}}"#] {
            let row: RunRow<'_> = wire::object(body, "run").unwrap();
            assert_eq!(row.id.get(), Some("a"));
        }
        assert!(wire::object::<RunRow<'_>>("[]", "run").is_err());
        assert!(wire::object::<RunRow<'_>>("<p>", "run").is_err());
    }
}
