//! The organization that is simulated: scripted by hand, or grown from a seed.
//!
//! Everything can be added before or while it is served. A project or job named for the first time
//! is made with default values, so that a test names only what it is about.

use std::sync::{Arc, PoisonError, RwLock};

use super::model::{
    JobChange, JobPlan, Member, PlanRecord, PlannedRun, ProjectChange, ProjectKind, ProjectPlan,
    Protection,
};
use super::runs::Runs;
use crate::engine::time::Timestamp;

/// A project with all that belongs to it.
#[derive(Clone, Debug)]
pub(super) struct Project {
    pub(super) plan: ProjectPlan,
    pub(super) jobs: Vec<JobPlan>,
    pub(super) runs: Runs,
    pub(super) plans: Vec<PlanRecord>,
}

impl Project {
    fn new(plan: ProjectPlan) -> Self {
        Self {
            plan,
            jobs: Vec::new(),
            runs: Runs::default(),
            plans: Vec::new(),
        }
    }

    fn job_mut(&mut self, name: &str) -> &mut JobPlan {
        let position = self
            .jobs
            .iter()
            .position(|job| job.name == name)
            .unwrap_or(self.jobs.len());
        if position == self.jobs.len() {
            self.jobs.push(JobPlan::new(name, "0 * * * *"));
        }
        &mut self.jobs[position]
    }
}

/// An organization on dagctl.
#[derive(Clone, Debug)]
pub struct Organization {
    id: String,
    token: String,
    pub(super) projects: Vec<Project>,
    pub(super) protections: Vec<Protection>,
    pub(super) members: Vec<Member>,
    revision: u64,
}

impl Organization {
    /// An empty organization that answers to this id and token.
    pub fn new(id: &str, token: &str) -> Self {
        Self {
            id: id.to_owned(),
            token: token.to_owned(),
            projects: Vec::new(),
            protections: Vec::new(),
            members: Vec::new(),
            revision: 0,
        }
    }

    /// Its id, for `X-Organization-ID`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its token, for `Authorization: Bearer`.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Adds a project, or replaces the properties of the one with that id.
    pub fn project(&mut self, plan: ProjectPlan) -> &mut Self {
        let id = plan.id.clone();
        self.project_mut(&id).plan = plan;
        self
    }

    /// Adds a job, or replaces the one of that name.
    pub fn job(&mut self, project: &str, job: JobPlan) -> &mut Self {
        let name = job.name.clone();
        *self.project_mut(project).job_mut(&name) = job;
        self
    }

    /// Adds a run, or replaces the one with that id.
    pub fn add_run(&mut self, project: &str, run: PlannedRun) -> &mut Self {
        self.project_mut(project).runs.put(run);
        self
    }

    /// Adds many runs.
    pub fn add_runs(
        &mut self,
        project: &str,
        runs: impl IntoIterator<Item = PlannedRun>,
    ) -> &mut Self {
        let project = self.project_mut(project);
        for run in runs {
            project.runs.put(run);
        }
        self
    }

    /// Changes a job at an instant.
    pub fn change_job(
        &mut self,
        project: &str,
        job: &str,
        at: Timestamp,
        change: JobChange,
    ) -> &mut Self {
        insert_at(
            &mut self.project_mut(project).job_mut(job).changes,
            at,
            change,
        );
        self
    }

    /// Changes a project at an instant.
    pub fn change_project(
        &mut self,
        project: &str,
        at: Timestamp,
        change: ProjectChange,
    ) -> &mut Self {
        insert_at(&mut self.project_mut(project).plan.changes, at, change);
        self
    }

    /// Adds a plan record, or replaces the one with that id.
    pub fn plan(&mut self, project: &str, record: PlanRecord) -> &mut Self {
        let plans = &mut self.project_mut(project).plans;
        plans.retain(|plan| plan.id != record.id);
        plans.push(record);
        self
    }

    /// Gives a plan record another status from `at` on. Unknown ids are ignored.
    pub fn change_plan(
        &mut self,
        project: &str,
        record: &str,
        at: Timestamp,
        status: &str,
    ) -> &mut Self {
        let plans = &mut self.project_mut(project).plans;
        if let Some(plan) = plans.iter_mut().find(|plan| plan.id == record) {
            insert_at(&mut plan.states, at, status.to_owned());
        }
        self
    }

    /// Adds a protected environment, or replaces the one with that id.
    pub fn protection(&mut self, protection: Protection) -> &mut Self {
        self.revision += 1;
        self.protections.retain(|known| known.id != protection.id);
        self.protections.push(protection);
        self
    }

    /// Switches a protection on or off at an instant. Unknown ids are ignored.
    pub fn change_protection(&mut self, id: &str, at: Timestamp, enabled: bool) -> &mut Self {
        self.revision += 1;
        if let Some(known) = self.protections.iter_mut().find(|known| known.id == id) {
            insert_at(&mut known.changes, at, enabled);
        }
        self
    }

    /// Adds a member.
    pub fn member(&mut self, member: Member) -> &mut Self {
        self.revision += 1;
        self.members.push(member);
        self
    }

    /// Ids of the projects in the order they were added.
    pub fn project_ids(&self) -> Vec<String> {
        self.projects
            .iter()
            .map(|project| project.plan.id.clone())
            .collect()
    }

    /// The jobs of a project as planned.
    pub fn planned_jobs(&self, project: &str) -> Vec<JobPlan> {
        self.find(project)
            .map(|project| project.jobs.clone())
            .unwrap_or_default()
    }

    /// The runs of a project as planned, in the order they were added: an oracle for tests.
    pub fn planned_runs(&self, project: &str) -> Vec<PlannedRun> {
        let Some(project) = self.find(project) else {
            return Vec::new();
        };
        (0..project.runs.len())
            .filter_map(|position| project.runs.planned(position))
            .collect()
    }

    /// One run as planned.
    pub fn planned_run(&self, project: &str, id: &str) -> Option<PlannedRun> {
        let runs = &self.find(project)?.runs;
        runs.planned(runs.position(id)?)
    }

    pub(super) fn find(&self, project: &str) -> Option<&Project> {
        self.projects.iter().find(|known| known.plan.id == project)
    }

    /// The commit of a project after all its changes so far.
    pub(super) fn project_commit(&self, project: &str) -> String {
        let Some(project) = self.find(project) else {
            return String::new();
        };
        let last = project
            .plan
            .changes
            .iter()
            .rev()
            .find_map(|(_, change)| match change {
                ProjectChange::Commit(commit) => Some(commit),
                _ => None,
            });
        last.unwrap_or(&project.plan.commit).clone()
    }

    /// Grows with every edit; remembered pages are good for one revision.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    fn project_mut(&mut self, id: &str) -> &mut Project {
        self.revision += 1;
        let known = self
            .projects
            .iter()
            .position(|project| project.plan.id == id);
        let position = known.unwrap_or(self.projects.len());
        if known.is_none() {
            self.projects
                .push(Project::new(ProjectPlan::new(id, id, ProjectKind::Sqlmesh)));
        }
        &mut self.projects[position]
    }
}

fn insert_at<T>(changes: &mut Vec<(Timestamp, T)>, at: Timestamp, change: T) {
    let position = changes.partition_point(|(known, _)| *known <= at);
    changes.insert(position, (at, change));
}

/// An organization that can be edited while it is served. Clones share it.
#[derive(Clone, Debug)]
pub struct SharedOrganization(Arc<RwLock<Organization>>);

impl SharedOrganization {
    /// Shares `organization`.
    pub fn new(organization: Organization) -> Self {
        Self(Arc::new(RwLock::new(organization)))
    }

    /// Edits it; the next request sees the result.
    pub fn edit<R>(&self, edit: impl FnOnce(&mut Organization) -> R) -> R {
        edit(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads it.
    pub fn read<R>(&self, read: impl FnOnce(&Organization) -> R) -> R {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naming_makes_and_changes_stay_in_order() {
        let mut organization = Organization::new("org-1", "dctl_x");
        let at = Timestamp::from_millis;
        organization
            .change_job("p", "j", at(20), JobChange::Enabled(true))
            .change_job("p", "j", at(10), JobChange::Enabled(false));
        assert_eq!(organization.project_ids(), ["p"]);
        let jobs = organization.planned_jobs("p");
        assert_eq!(
            jobs[0].changes,
            [
                (at(10), JobChange::Enabled(false)),
                (at(20), JobChange::Enabled(true))
            ]
        );
        assert_eq!(organization.revision(), 2);
    }
}
