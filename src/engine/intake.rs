//! Takes in what was observed, and says whom it concerns.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use super::history::{Change, ProjectHistory};
use super::observation::{DayAverage, Name, Observation, ProjectKey, WaitingPlans};
use super::rule::Scope;
use super::subject::SubjectKey;
use super::time::Timestamp;
use super::watch::WatchId;
use super::{Engine, HealthReport, Step};

impl Engine {
    /// Takes in observations and coverage; returns the watches they concern.
    pub(super) fn take_in(
        &mut self,
        observations: Vec<Observation>,
        coverage: &BTreeMap<ProjectKey, Timestamp>,
        now: Timestamp,
        step: &mut Step,
    ) -> BTreeSet<WatchId> {
        let mut changed_subjects = BTreeSet::new();
        let mut changed_projects = BTreeSet::new();
        for observation in observations {
            let changes = self.observe(&observation, now, step);
            let is_news = changes.iter().any(|change| *change != Change::None);
            for change in changes {
                match change {
                    Change::None | Change::Noted => {}
                    Change::Subject(subject) => {
                        changed_subjects.insert(subject);
                    }
                    Change::Project(project) => {
                        changed_projects.insert(project);
                    }
                }
            }
            if is_news
                && matches!(
                    observation,
                    Observation::Run(..) | Observation::Execution(..) | Observation::Plan(..)
                )
            {
                step.changed.observations.push(observation);
            }
        }
        for (project, known_until) in coverage {
            let is_first = self
                .history
                .project(project)
                .is_none_or(|p| p.coverage.is_none());
            let known = self.history.cover(project, *known_until);
            step.changed.coverage.insert(project.clone(), known);
            self.begin(
                format!("project/{}/{}", project.source, project.project_id),
                *known_until,
                step,
            );
            if is_first {
                changed_projects.insert(project.clone());
            }
        }
        self.watches_to_judge(&changed_subjects, &changed_projects, coverage, now, step)
    }

    pub(super) fn watches_to_judge(
        &mut self,
        subjects: &BTreeSet<SubjectKey>,
        projects: &BTreeSet<ProjectKey>,
        coverage: &BTreeMap<ProjectKey, Timestamp>,
        now: Timestamp,
        step: &mut Step,
    ) -> BTreeSet<WatchId> {
        let mut dirty = BTreeSet::new();
        for project in projects {
            self.watch_project(project, now, step);
            dirty.extend(self.watches.of_project(project));
        }
        for subject in subjects {
            self.watch(subject, now, step);
            dirty.extend(self.watches.of(subject));
            if let Some(project) = subject.project() {
                dirty.extend(self.watches_of_source(&project.source));
            }
            // What a model did may explain what its job did.
            if let SubjectKey::Model(project, job, _) = subject {
                dirty.extend(
                    self.watches
                        .of(&SubjectKey::Job(project.clone(), job.clone())),
                );
            }
        }
        for (project, known_until) in coverage {
            dirty.extend(self.watches.take_known(project, *known_until));
        }
        dirty
    }

    /// Takes in which plans wait for a person; returns the watches of projects where that decides something.
    pub(super) fn take_plans(
        &mut self,
        plans: &BTreeMap<ProjectKey, WaitingPlans>,
    ) -> BTreeSet<WatchId> {
        let mut dirty = BTreeSet::new();
        for (project, seen) in plans {
            if self.history.cover_plans(project, seen) {
                let subject = SubjectKey::Project(project.clone());
                dirty.extend(self.watches.of(&subject));
            }
        }
        dirty
    }

    /// Watches of what a source is as a whole, apart from its health.
    fn watches_of_source(&self, source: &Name) -> Vec<WatchId> {
        let watches = self.watches.of(&SubjectKey::Source(source.clone()));
        let is_surveyed = |id: &&WatchId| {
            let rule = &self.policy.rules[self.watches.get(**id).rule];
            rule.kind.scope() == Scope::Source
        };
        watches.iter().filter(is_surveyed).copied().collect()
    }

    pub(super) fn observe(
        &mut self,
        observation: &Observation,
        now: Timestamp,
        step: &mut Step,
    ) -> Vec<Change> {
        match observation.clone() {
            Observation::Project(project) => {
                let key = project.key.clone();
                let known = self.history.project(&key).filter(|p| p.coverage.is_some());
                self.is_renamed |= known.is_some_and(|p| *p.display_name() != project.name);
                let change = self.history.observe_project(project, now);
                if change != Change::None
                    && let Some(record) =
                        self.history.project(&key).and_then(ProjectHistory::record)
                {
                    step.changed.projects.insert(key, record);
                }
                vec![change]
            }
            Observation::ProjectGone(key) => {
                let change = self.history.lose_project(&key);
                if change != Change::None
                    && let Some(record) =
                        self.history.project(&key).and_then(ProjectHistory::record)
                {
                    step.changed.projects.insert(key, record);
                }
                vec![change]
            }
            Observation::Jobs(key, jobs) => {
                let changes = self.history.observe_jobs(&key, jobs, now);
                for change in &changes {
                    if let Change::Subject(SubjectKey::Job(key, name)) = change
                        && let Some(job) = self.history.project(key).and_then(|p| p.job(name))
                    {
                        step.changed
                            .jobs
                            .insert((key.clone(), name.clone()), job.record());
                    }
                }
                changes
            }
            Observation::Run(key, run) => self.history.observe_run(&key, run),
            Observation::Execution(key, execution) => {
                vec![self.history.observe_execution(&key, execution)]
            }
            Observation::Plan(key, plan) => vec![self.history.observe_plan(&key, plan)],
            Observation::Protections(source, list) => {
                vec![self.history.observe_protections(&source, list)]
            }
            Observation::Averages(key, averages) => self.observe_averages(&key, averages, step),
        }
    }

    /// A day that has changed is stored whole.
    fn observe_averages(
        &mut self,
        key: &ProjectKey,
        averages: Vec<DayAverage>,
        step: &mut Step,
    ) -> Vec<Change> {
        let days: BTreeSet<NaiveDate> = averages.iter().map(|average| average.day).collect();
        let changes = self.history.observe_averages(key, averages);
        if changes.is_empty() {
            return changes;
        }
        if let Some(project) = self.history.project(key) {
            let days = days.into_iter();
            let records = days.map(|day| ((key.clone(), day), project.averages().on(day)));
            step.changed.averages.extend(records);
        }
        changes
    }

    pub(super) fn take_health(
        &mut self,
        reports: &[HealthReport],
        now: Timestamp,
        step: &mut Step,
    ) -> BTreeSet<WatchId> {
        let mut dirty = BTreeSet::new();
        for report in reports {
            // The first report counts as well: an alert from before a restart may be over.
            let is_first = !self.health.contains_key(&report.subject);
            let health = self.health.entry(report.subject.clone()).or_default();
            let was_failing = health.failing_since.is_some() || is_first;
            match &report.result {
                Ok(()) => health.succeed(report.at),
                Err(why) => health.fail(report.at, why.clone()),
            }
            if was_failing || report.result.is_err() {
                self.watch(&report.subject, now, step);
                dirty.extend(self.watches.of(&report.subject));
            }
        }
        dirty
    }
}
