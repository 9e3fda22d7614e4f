//! JSON of single resources as they look at an instant: runs, executions, projects, jobs, plans,
//! protections, members.

use super::json::{Object, push_stamp};
use super::model::{
    JobChange, JobPlan, Member, PlanRecord, ProjectChange, ProjectKind, ProjectPlan, Protection,
};
use super::runs::{ExecutionView, RunView};
use super::variant::Variant;
use crate::engine::time::{Span, Timestamp};

fn took(
    started: Option<Timestamp>,
    created: Timestamp,
    finished: Option<Timestamp>,
) -> Option<Span> {
    finished.map(|at| at.since(started.unwrap_or(created)))
}

/// The name of the Kubernetes job behind a run.
pub(super) fn kubernetes_name(project: &ProjectPlan, run: &RunView<'_>) -> String {
    let mut name = String::with_capacity(40);
    name.push_str(tool(project.kind));
    name.push('-');
    name.push_str(run.job_type);
    name.push('-');
    push_stamp(&mut name, run.created);
    name
}

fn tool(kind: ProjectKind) -> &'static str {
    match kind {
        ProjectKind::Sqlmesh => "sqlmesh",
        ProjectKind::Dbt => "dbt",
    }
}

/// Whether a run is written in a list or alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    List,
    Detail,
}

/// Writes a run.
pub(super) fn push_run(
    out: &mut String,
    variant: &Variant,
    project: &ProjectPlan,
    run: &RunView<'_>,
    place: Place,
) {
    let name = kubernetes_name(project, run);
    let early = if variant.pending_has_start && run.finished.is_none() {
        Some(run.created)
    } else {
        None
    };
    let error = run
        .error
        .filter(|_| variant.list_has_error || place == Place::Detail);
    let mut object = Object::new(out, variant);
    object
        .text("id", run.id)
        .text("project_id", &project.id)
        .text("job_name", &name);
    match run.job {
        Some(job) => object.joined("cronjob_name", variant.cronjob_prefix, job),
        None => object.null("cronjob_name"),
    };
    object
        .text("job_type", run.job_type)
        .text("status", run.status)
        .optional_instant("start_time", run.started.or(early))
        .optional_instant("end_time", run.finished)
        .optional_seconds(
            "duration_seconds",
            took(run.started, run.created, run.finished),
        )
        .text("triggered_by", run.triggered_by)
        .optional_text("error_message", error);
    match run.started {
        Some(_) => object.joined("pod_name", &name, "-x9k2p"),
        None => object.null("pod_name"),
    };
    object
        .instant("created_at", run.created)
        .instant("updated_at", run.updated)
        .end();
}

/// Writes a model execution.
pub(super) fn push_execution(
    out: &mut String,
    variant: &Variant,
    project: &ProjectPlan,
    execution: &ExecutionView<'_>,
) {
    let mut object = Object::new(out, variant);
    if let Some(key) = variant.execution_rows_field {
        match execution.rows {
            Some(rows) => object.raw(key, format_args!("{rows}")),
            None => object.null(key),
        };
    }
    object
        .raw(
            "id",
            format_args!("{}", serde_json::Value::from(execution.id.to_string())),
        )
        .text("project_id", &project.id)
        .text(variant.execution_run_field, execution.run.id)
        .text(variant.execution_model_field, execution.model)
        .text("status", execution.status)
        .instant("start_time", execution.started)
        .optional_instant("end_time", execution.finished)
        .optional_seconds(
            "duration_seconds",
            took(
                Some(execution.started),
                execution.started,
                execution.finished,
            ),
        )
        .optional_text("error_message", execution.error)
        .instant("created_at", execution.started)
        .instant("updated_at", execution.updated)
        .end();
}

/// A project at an instant.
#[derive(Debug)]
pub(super) struct ProjectView<'a> {
    plan: &'a ProjectPlan,
    suspended: bool,
    deployed: bool,
    status: &'a str,
    commits_behind: usize,
    commit: &'a str,
    latest: &'a str,
    updated: Timestamp,
}

/// The project as it looks at `now`; `None` before its creation and after its removal.
pub(super) fn project_at(plan: &ProjectPlan, now: Timestamp) -> Option<ProjectView<'_>> {
    if plan.created_at > now {
        return None;
    }
    let mut view = ProjectView {
        plan,
        suspended: plan.suspended,
        deployed: plan.deployed,
        status: &plan.status,
        commits_behind: plan.commits_behind,
        commit: &plan.commit,
        latest: &plan.commit,
        updated: plan.created_at,
    };
    for (at, change) in plan.changes.iter().filter(|(at, _)| *at <= now) {
        view.updated = *at;
        match change {
            ProjectChange::Suspended(suspended) => view.suspended = *suspended,
            ProjectChange::Deployed(deployed) => view.deployed = *deployed,
            ProjectChange::Status(status) => view.status = status,
            ProjectChange::CommitsBehind(count, latest) => {
                (view.commits_behind, view.latest) = (*count, latest);
            }
            ProjectChange::Commit(commit) => {
                (view.commits_behind, view.commit, view.latest) = (0, commit, commit);
            }
            ProjectChange::Removed => return None,
        }
    }
    Some(view)
}

/// Writes a project.
pub(super) fn push_project(
    out: &mut String,
    variant: &Variant,
    organization: &str,
    view: &ProjectView<'_>,
) {
    let plan = view.plan;
    let mut object = Object::new(out, variant);
    object
        .text("id", &plan.id)
        .text("organization_id", organization)
        .text("name", &plan.name)
        .optional_text("description", plan.description.as_deref())
        .text("project_type", tool(plan.kind))
        .joined(
            "repository_url",
            "git@github.com:example/",
            &format!("{}.git", plan.name),
        )
        .text("branch", "main")
        .text("git_auth_method", "ssh");
    match plan.kind {
        ProjectKind::Sqlmesh => object
            .text("sqlmesh_environment", "prod")
            .text("sqlmesh_version", "0.130.0"),
        ProjectKind::Dbt => object.null("sqlmesh_environment").null("sqlmesh_version"),
    };
    object
        .flag("use_managed_state_database", true)
        .flag("auto_apply", false)
        .flag("run_tests", true)
        .flag("deployed", view.deployed)
        .flag("suspended", view.suspended)
        .text("status", view.status)
        .whole("commits_behind", view.commits_behind)
        .text("current_commit_sha", view.commit)
        .text("latest_commit_sha", view.latest)
        .text("latest_commit_message", "Tune models")
        .text("cpu_request", "500m")
        .text("cpu_limit", "2000m")
        .text("memory_request", "1Gi")
        .text("memory_limit", "4Gi")
        .text("concurrency_policy", "Allow")
        .whole("successful_runs_history_limit", 3)
        .whole("failed_runs_history_limit", 3)
        .instant("created_at", plan.created_at)
        .instant("updated_at", view.updated)
        .end();
}

/// A job at an instant.
#[derive(Debug)]
pub(super) struct JobView<'a> {
    plan: &'a JobPlan,
    pub(super) enabled: bool,
    schedule: &'a str,
    updated: Timestamp,
}

/// The job as it looks at `now`; `None` before its creation and after its removal.
pub(super) fn job_at(plan: &JobPlan, now: Timestamp) -> Option<JobView<'_>> {
    if plan.created_at > now {
        return None;
    }
    let mut view = JobView {
        plan,
        enabled: plan.enabled,
        schedule: &plan.cron,
        updated: plan.created_at,
    };
    for (at, change) in plan.changes.iter().filter(|(at, _)| *at <= now) {
        view.updated = *at;
        match change {
            JobChange::Enabled(enabled) => view.enabled = *enabled,
            JobChange::Schedule(schedule) => view.schedule = schedule,
            JobChange::Removed => return None,
        }
    }
    Some(view)
}

/// Writes a job.
pub(super) fn push_job(out: &mut String, variant: &Variant, project: &str, view: &JobView<'_>) {
    let plan = view.plan;
    Object::new(out, variant)
        .text("id", &format!("job_{project}_{}", plan.name))
        .text("project_id", project)
        .text("name", &plan.name)
        .optional_text("description", plan.description.as_deref())
        .text("command", &plan.command)
        .text("schedule", view.schedule)
        .flag("enabled", view.enabled)
        .nested("resources", |out| out.push_str("{}"))
        .nested("environment", |out| out.push_str("{}"))
        .text("slack_channel", "#data-ops")
        .flag("slack_alerts_enabled", true)
        .flag("slack_alert_on_success", false)
        .flag("webhook_enabled", false)
        .instant("created_at", plan.created_at)
        .instant("updated_at", view.updated)
        .end();
}

/// A plan record at an instant.
#[derive(Debug)]
pub(super) struct PlanView<'a> {
    pub(super) plan: &'a PlanRecord,
    pub(super) status: &'a str,
    pub(super) created: Timestamp,
    updated: Timestamp,
}

/// The record as it looks at `now`; `None` before its first state.
pub(super) fn plan_at<'a>(
    plan: &'a PlanRecord,
    now: Timestamp,
    variant: &Variant,
) -> Option<PlanView<'a>> {
    let (created, _) = plan.states.first()?;
    let (updated, status) = plan.states.iter().rfind(|(at, _)| *at <= now)?;
    let is_hidden = status == "approved" && !variant.plan_shows_approved;
    let status = if is_hidden { "running" } else { status };
    Some(PlanView {
        plan,
        status,
        created: *created,
        updated: *updated,
    })
}

/// Writes a plan record.
pub(super) fn push_plan(out: &mut String, variant: &Variant, project: &str, view: &PlanView<'_>) {
    let plan = view.plan;
    let mut object = Object::new(out, variant);
    object
        .text("id", &plan.id)
        .text("plan_id", &plan.plan_id)
        .text("plan_type", &plan.plan_type)
        .text("project_id", project)
        .text("from_commit_sha", &plan.from_commit)
        .text("to_commit_sha", &plan.to_commit)
        .text("commit_message", &plan.message)
        .whole("commits_behind", 1)
        .text("status", view.status)
        .text("triggered_by", &plan.triggered_by);
    if plan.auto_discarded && view.status == "rejected" {
        object.nested("plan_output", |out| {
            out.push_str(r#"{"auto_discarded":true}"#);
        });
    }
    object
        .instant("created_at", view.created)
        .instant("updated_at", view.updated)
        .end();
}

/// Writes a protection as it looks at `now`.
pub(super) fn push_protection(
    out: &mut String,
    variant: &Variant,
    organization: &str,
    protection: &Protection,
    now: Timestamp,
    place: Place,
) {
    let (updated, enabled) = protection_at(protection, now);
    let mut object = Object::new(out, variant);
    object
        .text("id", &protection.id)
        .text("organization_id", organization)
        .text("environment_name", &protection.environment)
        .flag("enabled", enabled)
        .text("created_by", "user_1");
    if place == Place::Detail {
        object.list("excepted_users", |_| {});
    }
    object
        .instant("created_at", protection.created_at)
        .instant("updated_at", updated)
        .end();
}

/// Since when the protection is as it is, and whether it is on.
pub(super) fn protection_at(protection: &Protection, now: Timestamp) -> (Timestamp, bool) {
    let last = protection.changes.iter().rfind(|(at, _)| *at <= now);
    last.copied()
        .unwrap_or((protection.created_at, protection.enabled))
}

/// Writes a member.
pub(super) fn push_member(
    out: &mut String,
    variant: &Variant,
    organization: &str,
    member: &Member,
) {
    Object::new(out, variant)
        .text("id", &member.id)
        .text("organization_id", organization)
        .text("email", &member.email)
        .text("name", &member.name)
        .null("picture")
        .text("role", &member.role)
        .instant("created_at", super::model::EARLY)
        .instant("updated_at", super::model::EARLY)
        .null("last_login_at")
        .end();
}
