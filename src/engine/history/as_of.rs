//! History as it was at an instant that has passed, as far as what is known today shows it.
//!
//! Runs and executions are cut to what had happened by then. A row that changed later (a retry) is as it is
//! today: what it said then is not kept.

use super::super::observation::{Execution, Name, Observation, Plan, ProjectKey, Run, Status};
use super::super::time::{Span, Timestamp};
use super::job::{Hold, JobRecord};
use super::{ExecutionRecord, History, ModelHistory, Outcome, ProjectHistory, ProjectRecord};

/// What of history is asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this source alone.
    pub source: Option<Name>,
    /// Of this project alone.
    pub project: Option<ProjectKey>,
    /// Runs of this job alone.
    pub job: Option<Name>,
    /// Executions of this model alone.
    pub model: Option<Name>,
    /// Model executions are asked for.
    pub has_models: bool,
}

/// Runs and executions older than this, before the instant, are left out: baselines need fewer.
const KEPT: Span = Span::days(120);

impl History {
    /// Projects and jobs as they were at an instant, and the facts that had happened by then.
    pub fn as_of(&self, at: Timestamp, wanted: &Wanted) -> (Self, Vec<Observation>) {
        let mut history = Self::default();
        let mut facts = Vec::new();
        let is_wanted = |project: &&ProjectHistory| {
            let key = &project.key;
            wanted
                .source
                .as_ref()
                .is_none_or(|name| *name == key.source)
                && wanted.project.as_ref().is_none_or(|known| known == key)
        };
        for project in self.projects().filter(is_wanted) {
            project.restore_as_of(at, &mut history);
            project.facts_as_of(at, wanted, &mut facts);
        }
        (history, facts)
    }
}

impl ProjectHistory {
    fn restore_as_of(&self, at: Timestamp, history: &mut History) {
        let key = &self.key;
        if let Some(record) = self.record() {
            history.restore_project(ProjectRecord {
                holds: holds_at(&record.holds, at),
                is_gone: false,
                ..record
            });
        }
        for job in self.jobs().filter(|job| job.first_seen_at <= at) {
            let record = job.record();
            let holds = holds_at(&record.holds, at);
            let is_gone = record.is_gone && holds.last().is_some_and(|hold| hold.to.is_none());
            let versions = record.versions.into_iter().enumerate();
            let versions = versions.filter(|(index, (since, _))| *index == 0 || *since <= at);
            history.restore_job(
                key,
                JobRecord {
                    versions: versions.map(|(_, version)| version).collect(),
                    holds,
                    is_gone,
                    ..record
                },
            );
        }
    }

    fn facts_as_of(&self, at: Timestamp, wanted: &Wanted, facts: &mut Vec<Observation>) {
        let key = &self.key;
        let is_job = |job: Option<&Name>| {
            let named = job.map_or(super::MANUAL_JOB, |job| job);
            wanted.job.as_ref().is_none_or(|job| **job == *named)
        };
        if let Some(info) = &self.info {
            facts.push(Observation::Project(info.clone()));
        }
        let runs = self.runs.iter().filter(|run| is_job(run.job.as_ref()));
        let runs = runs.filter(|run| run.created_at >= at - KEPT);
        facts.extend(runs.filter_map(|run| Some(Observation::Run(key.clone(), run_at(run, at)?))));
        let plans = self.plans.iter().filter(|plan| is_plan_known(plan, at));
        facts.extend(plans.map(|plan| Observation::Plan(key.clone(), plan.clone())));
        if !wanted.has_models {
            return;
        }
        for (job, model, history) in self.models() {
            let is_model = wanted.model.as_ref().is_none_or(|wanted| wanted == model);
            if !is_model || !is_job(Some(job)) {
                continue;
            }
            let recent = history.up_to(at).iter();
            let recent = recent.filter(|execution| execution.started_at >= at - KEPT);
            facts.extend(recent.map(|execution| {
                let execution = self.execution_at(model, history, execution, at);
                Observation::Execution(key.clone(), execution)
            }));
        }
    }

    fn execution_at(
        &self,
        model: &Name,
        history: &ModelHistory,
        known: &ExecutionRecord,
        at: Timestamp,
    ) -> Execution {
        let finished_at = known.finished_at().filter(|finished| *finished <= at);
        let status = match known.outcome() {
            _ if finished_at.is_none() => Status::Running,
            Outcome::Success => Status::Success,
            Outcome::Failure => Status::Failed,
            Outcome::Skipped => Status::Skipped,
            Outcome::Open => Status::Running,
        };
        Execution {
            id: format!("{:x}", known.id_hash).into(),
            run_id: self.run_of(known).map(|run| run.id.clone()),
            model: model.clone(),
            status,
            started_at: Some(known.started_at),
            finished_at,
            updated_at: finished_at.unwrap_or(known.started_at),
            rows: known.rows().filter(|_| finished_at.is_some()),
            error: history.error_of(known).cloned(),
        }
    }
}

/// A run as it was at an instant; `None`: it was not there.
fn run_at(run: &Run, at: Timestamp) -> Option<Run> {
    if run.created_at > at {
        return None;
    }
    if run.settled_at() <= at && !run.status.is_active() {
        return Some(run.clone());
    }
    let started_at = run.started_at.filter(|started| *started <= at);
    Some(Run {
        status: if started_at.is_some() {
            Status::Running
        } else {
            Status::Pending
        },
        started_at,
        finished_at: None,
        updated_at: started_at.unwrap_or(run.created_at),
        error: None,
        ..run.clone()
    })
}

fn is_plan_known(plan: &Plan, at: Timestamp) -> bool {
    plan.created_at <= at && plan.updated_at <= at
}

/// Holds that had begun, those that ended later as going on.
fn holds_at(holds: &[Hold], at: Timestamp) -> Vec<Hold> {
    let begun = holds.iter().filter(|hold| hold.from <= at);
    let begun = begun.filter(|hold| hold.held_at.is_none_or(|held| held <= at));
    begun
        .map(|hold| Hold {
            to: hold.to.filter(|to| *to <= at),
            ..*hold
        })
        .collect()
}
