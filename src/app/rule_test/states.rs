//! The lines of a test that say what jobs, the project, plans and protections are over time.

use std::collections::BTreeMap;

use super::lines::{Day, LineError};
use super::{SOURCE, Test, project_key};
use crate::engine::observation::{Job, Name, Observation, Plan, Project, Protection};
use crate::engine::replay::Replay;
use crate::engine::time::{Span, Timestamp};

/// Adds them to what happens.
pub(super) fn add(test: &Test, day: &Day, replay: &mut Replay) -> Result<(), LineError> {
    add_project(test, day, replay)?;
    add_jobs(test, day, replay)?;
    let mut created: BTreeMap<Name, Timestamp> = BTreeMap::new();
    for text in &test.plans {
        let (at, mut plan) = plan(text, day)?;
        plan.created_at = *created.entry(plan.id.clone()).or_insert(at);
        replay.fact(at, Observation::Plan(project_key(), plan));
    }
    add_protections(test, day, replay)
}

/// `06:00 words` or `03-11 06:00 words`: an instant, and the rest.
fn dated<'a>(text: &'a str, usage: &str, day: &Day) -> Result<(Timestamp, &'a str), LineError> {
    let has_date = text.as_bytes().get(2) == Some(&b'-');
    let space = text.match_indices(' ').nth(usize::from(has_date));
    let (cut, _) = space.ok_or_else(|| LineError::new(text, usage))?;
    Ok((day.at(&text[..cut])?, text[cut..].trim()))
}

fn add_project(test: &Test, day: &Day, replay: &mut Replay) -> Result<(), LineError> {
    let mut project = Project {
        key: project_key(),
        name: "finance".into(),
        project_type: "sqlmesh".into(),
        is_suspended: false,
        is_deployed: true,
        environment: None,
        commits_behind: None,
        current_commit: None,
        latest_commit: None,
        latest_message: None,
        concurrency_policy: None,
    };
    let long_ago = test.from - Span::days(400);
    replay.fact(long_ago, Observation::Project(project.clone()));
    for text in &test.project {
        let (at, words) = dated(text, PROJECT_USAGE, day)?;
        change(&mut project, words).ok_or_else(|| LineError::new(text, PROJECT_USAGE))?;
        replay.fact(at, Observation::Project(project.clone()));
    }
    Ok(())
}

const PROJECT_USAGE: &str = "write `06:00 suspended`, `running`, `not deployed`, `deployed`, `behind 6` or `environment prod`";

fn change(project: &mut Project, words: &str) -> Option<()> {
    match words.split_once(' ').unwrap_or((words, "")) {
        ("suspended", "") => project.is_suspended = true,
        ("running", "") => project.is_suspended = false,
        ("not", "deployed") => project.is_deployed = false,
        ("deployed", "") => project.is_deployed = true,
        ("behind", count) => project.commits_behind = Some(count.parse().ok()?),
        ("environment", name) if !name.is_empty() => project.environment = Some(name.into()),
        _ => return None,
    }
    Some(())
}

fn add_jobs(test: &Test, day: &Day, replay: &mut Replay) -> Result<(), LineError> {
    let usage = "write `06:00 JOB off`, `on` or `gone`, with a job of `jobs`";
    let mut jobs: BTreeMap<&str, (&str, bool)> = test
        .jobs
        .iter()
        .map(|(name, schedule)| (name.as_str(), (schedule.as_str(), true)))
        .collect();
    let list = |jobs: &BTreeMap<&str, (&str, bool)>, at: Timestamp| {
        let job = |(name, (schedule, is_enabled)): (&&str, &(&str, bool))| Job {
            name: (*name).into(),
            schedule: (!schedule.is_empty()).then(|| Name::from(*schedule)),
            is_enabled: *is_enabled,
            updated_at: Some(at),
        };
        Observation::Jobs(project_key(), jobs.iter().map(job).collect())
    };
    let long_ago = test.from - Span::days(300);
    replay.fact(long_ago, list(&jobs, long_ago));
    for text in &test.jobs_at {
        let refuse = || LineError::new(text, usage);
        let (at, words) = dated(text, usage, day)?;
        match words.split_once(' ') {
            Some((name, "gone")) => drop(jobs.remove(name).ok_or_else(refuse)?),
            Some((name, word @ ("on" | "off"))) => {
                jobs.get_mut(name).ok_or_else(refuse)?.1 = word == "on";
            }
            _ => return Err(refuse()),
        }
        replay.fact(at, list(&jobs, at));
    }
    Ok(())
}

/// `10:00 g1/a explain pending Add refunds`
fn plan(text: &str, day: &Day) -> Result<(Timestamp, Plan), LineError> {
    let usage = "write `10:00 GROUP/ID explain pending MESSAGE`";
    let (at, words) = dated(text, usage, day)?;
    let mut words = words.splitn(4, ' ');
    let mut next = || words.next().unwrap_or_default();
    let (place, plan_type, status, message) = (next(), next(), next(), next());
    if status.is_empty() {
        return Err(LineError::new(text, usage));
    }
    let (group, id) = match place.split_once('/') {
        Some((group, id)) => (Some(group), id),
        None => (None, place),
    };
    let is_superseded = status == "superseded";
    let status = if is_superseded { "rejected" } else { status };
    let plan = Plan {
        id: id.into(),
        group_id: group.map(Into::into),
        plan_type: Some(plan_type.into()),
        status: status.into(),
        to_commit: None,
        commit_message: (!message.is_empty()).then(|| message.into()),
        created_at: at,
        updated_at: at,
        is_superseded,
    };
    Ok((at, plan))
}

fn add_protections(test: &Test, day: &Day, replay: &mut Replay) -> Result<(), LineError> {
    let usage = "write `06:00 ENVIRONMENT on`, `off` or `gone`";
    let mut protections: BTreeMap<&str, bool> = BTreeMap::new();
    for text in &test.protections {
        let (at, words) = dated(text, usage, day)?;
        match words.split_once(' ') {
            Some((name, "gone")) => drop(protections.remove(name)),
            Some((name, word @ ("on" | "off"))) => {
                protections.insert(name, word == "on");
            }
            _ => return Err(LineError::new(text, usage)),
        }
        let protection = |(name, is_enabled): (&&str, &bool)| Protection {
            environment: (*name).into(),
            is_enabled: *is_enabled,
        };
        let list = protections.iter().map(protection).collect();
        replay.fact(at, Observation::Protections(SOURCE.into(), list));
    }
    Ok(())
}
