//! What has been observed, indexed so that judging a subject costs the same however long history is.
//!
//! Guarantees: the newest observation of an id wins, whatever the order of arrival; the same
//! observation twice changes nothing; a late row takes its place in time. Names are shared. It does not
//! judge, and it forgets only what [`History::forget_before`] is told to.

mod as_of;
mod averages;
mod forgetting;
mod job;
mod model;
mod plans;
mod reading;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::observation::{Execution, Job, Name, Project, ProjectKey, Protection, Run, Status};
use super::subject::{MANUAL_JOB, SubjectKey};
use super::time::{Span, Timestamp};
pub use as_of::Wanted;
pub use averages::{Average, Averages, Days};
pub use job::{Hold, JobHistory, JobRecord, JobVersion};
use job::{RunIndex, set_hold};
use model::hash_id;
pub use model::{ExecutionRecord, ModelHistory, Outcome};
pub use plans::Plans;
use waiting::Waiting;

/// Everything observed, by project.
#[derive(Debug, Default)]
pub struct History {
    projects: BTreeMap<ProjectKey, ProjectHistory>,
    /// Environment protections by source, since the start.
    protections: BTreeMap<Name, Vec<Protection>>,
    /// One copy of each name, however often it comes in.
    names: HashSet<Name>,
}

/// One project.
#[derive(Debug)]
pub struct ProjectHistory {
    /// Identity.
    pub key: ProjectKey,
    /// As last observed.
    pub info: Option<Project>,
    /// The server instant up to which its runs are known completely; `None` until the first complete
    /// read.
    pub coverage: Option<Timestamp>,
    /// It is taken to be deleted: nothing more will be known of it, and nothing is owed.
    pub is_gone: bool,
    /// The server instant up to which its model executions are known completely; `None` while they are not
    /// served, and after a start until they were read.
    pub executions_known_until: Option<Timestamp>,
    /// When its schedules were held (suspended or not deployed), newest last.
    holds: Vec<Hold>,
    jobs: BTreeMap<Name, JobHistory>,
    /// A complete list of jobs was seen once.
    has_job_list: bool,
    models: BTreeMap<(Name, Name), ModelHistory>,
    plans: Plans,
    runs: Vec<Run>,
    /// The last instant at which a model started or finished in each run; `MIN`: no execution was seen.
    progress: Vec<Timestamp>,
    run_slots: HashMap<Name, Slot>,
    /// Executions that came before their run.
    waiting: Waiting,
    open_executions: HashMap<u64, ((Name, Name), Timestamp)>,
    averages: Averages,
}

/// Index of a run in its project.
type Slot = u32;

/// What is kept of a project apart from its jobs and runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectRecord {
    /// As last observed.
    pub info: Project,
    /// When it was held.
    pub holds: Vec<Hold>,
    /// It is taken to be deleted.
    #[serde(default)]
    pub is_gone: bool,
}

/// What an observation changed: the subjects to judge anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing new.
    None,
    /// News that concerns no verdict yet.
    Noted,
    /// One subject.
    Subject(SubjectKey),
    /// Everything in a project.
    Project(ProjectKey),
}

impl History {
    /// A project, if anything was observed of it.
    pub fn project(&self, key: &ProjectKey) -> Option<&ProjectHistory> {
        self.projects.get(key)
    }

    /// All projects.
    pub fn projects(&self) -> impl Iterator<Item = &ProjectHistory> {
        self.projects.values()
    }

    fn entry(&mut self, key: &ProjectKey) -> &mut ProjectHistory {
        self.projects
            .entry(key.clone())
            .or_insert_with(|| ProjectHistory::new(key.clone()))
    }

    /// The copy of a name that is kept.
    fn share(&mut self, name: Name) -> Name {
        if let Some(known) = self.names.get(&name) {
            return known.clone();
        }
        self.names.insert(name.clone());
        name
    }

    /// Moves coverage forward, never back; returns how far it is now.
    pub fn cover(&mut self, key: &ProjectKey, until: Timestamp) -> Timestamp {
        let project = self.entry(key);
        let known = project.coverage.map_or(until, |known| known.max(until));
        project.coverage = Some(known);
        known
    }

    /// Takes in a project.
    pub fn observe_project(&mut self, info: Project, now: Timestamp) -> Change {
        let key = info.key.clone();
        let project = self.entry(&key);
        let was_gone = std::mem::take(&mut project.is_gone);
        if project.info.as_ref() == Some(&info) && !was_gone {
            return Change::None;
        }
        let is_held = info.is_suspended || !info.is_deployed;
        // Held at first sight: since when is not known, so nothing before counts as missed.
        let is_known = project.info.is_some() || !is_held;
        let at = if is_known { now } else { Timestamp::MIN };
        set_hold(&mut project.holds, is_held, at, now);
        project.info = Some(info);
        Change::Project(key)
    }

    /// Takes in that a project is deleted, until it is observed again.
    pub fn lose_project(&mut self, key: &ProjectKey) -> Change {
        let known = self.projects.get_mut(key);
        match known.filter(|project| !project.is_gone) {
            Some(project) => {
                project.is_gone = true;
                Change::Project(key.clone())
            }
            None => Change::None,
        }
    }

    /// Takes in the complete list of a project's jobs.
    pub fn observe_jobs(
        &mut self,
        key: &ProjectKey,
        jobs: Vec<Job>,
        now: Timestamp,
    ) -> Vec<Change> {
        let project = self.entry(key);
        project.has_job_list = true;
        let listed: BTreeSet<Name> = jobs.iter().map(|job| job.name.clone()).collect();
        let mut changed = BTreeSet::new();
        for job in jobs {
            let name = job.name.clone();
            if project.observe_job(job, now) {
                changed.insert(name);
            }
        }
        for (name, job) in &mut project.jobs {
            let is_gone = !job.versions.is_empty() && !listed.contains(name);
            if job.is_gone != is_gone {
                job.is_gone = is_gone;
                // While it is gone nothing is due; its return has ended the hold already.
                if is_gone {
                    set_hold(&mut job.holds, true, now, now);
                }
                changed.insert(name.clone());
            }
        }
        let of_changed = project
            .models
            .keys()
            .filter(|(job, _)| changed.contains(job));
        let models = of_changed
            .map(|(job, model)| SubjectKey::Model(key.clone(), job.clone(), model.clone()))
            .collect::<Vec<_>>();
        let jobs = changed
            .into_iter()
            .map(|name| SubjectKey::Job(key.clone(), name));
        jobs.chain(models).map(Change::Subject).collect()
    }

    /// Takes in a run, and the executions that waited for it. [`Change::None`] when it is known already or
    /// older than what is known.
    pub fn observe_run(&mut self, key: &ProjectKey, mut run: Run) -> Vec<Change> {
        run.job = run.job.map(|job| self.share(job));
        run.job_type = self.share(run.job_type);
        run.triggered_by = self.share(run.triggered_by);
        let project = self.entry(key);
        let job = run.job.clone().unwrap_or_else(|| MANUAL_JOB.into());
        let id = run.id.clone();
        if !project.put_run(&job, run) {
            return vec![Change::None];
        }
        let mut changes = vec![Change::Subject(SubjectKey::Job(key.clone(), job))];
        for execution in project.waiting.take(&id) {
            changes.push(self.observe_execution(key, execution));
        }
        changes
    }

    /// Takes in an execution. One that has not started says nothing yet.
    pub fn observe_execution(&mut self, key: &ProjectKey, mut execution: Execution) -> Change {
        execution.model = self.share(execution.model);
        let project = self.entry(key);
        let Some(started_at) = execution.started_at else {
            return Change::None;
        };
        let slot = execution
            .run_id
            .as_ref()
            .and_then(|id| project.run_slots.get(id))
            .copied();
        let job = match (slot, &execution.run_id) {
            (Some(slot), _) => project.job_of(slot),
            (None, None) => MANUAL_JOB.into(),
            (None, Some(run_id)) => {
                let run_id = run_id.clone();
                return if project.waiting.put(&run_id, execution) {
                    Change::Noted
                } else {
                    Change::None
                };
            }
        };
        let model_key = (job.clone(), execution.model.clone());
        if !project.put_execution(
            &model_key,
            slot.unwrap_or(Slot::MAX),
            started_at,
            &execution,
        ) {
            return Change::None;
        }
        Change::Subject(SubjectKey::Model(key.clone(), job, execution.model))
    }

    /// Takes in the complete list of a source's environment protections.
    pub fn observe_protections(&mut self, source: &Name, list: Vec<Protection>) -> Change {
        if self.protections.get(source) == Some(&list) {
            return Change::None;
        }
        self.protections.insert(source.clone(), list);
        Change::Subject(SubjectKey::Source(source.clone()))
    }

    /// Environment protections of a source; `None` until they were read since the start.
    pub fn protections(&self, source: &str) -> Option<&[Protection]> {
        self.protections.get(source).map(Vec::as_slice)
    }

    /// Executions of a project are known completely up to `until`.
    pub fn cover_executions(&mut self, key: &ProjectKey, until: Timestamp) {
        let known = &mut self.entry(key).executions_known_until;
        *known = Some(known.map_or(until, |known| known.max(until)));
    }

    /// Puts back what a store kept of a project.
    pub fn restore_project(&mut self, record: ProjectRecord) {
        let project = self.entry(&record.info.key.clone());
        project.info = Some(record.info);
        project.holds = record.holds;
        project.is_gone = record.is_gone;
    }

    /// Puts back what a store kept of a job.
    pub fn restore_job(&mut self, key: &ProjectKey, record: JobRecord) {
        let project = self.entry(key);
        project.has_job_list |= !record.versions.is_empty();
        let job = project.job_entry(&record.name, record.first_seen_at);
        job.first_seen_at = job.first_seen_at.min(record.first_seen_at);
        job.holds = record.holds;
        job.is_gone = record.is_gone;
        job.versions = record
            .versions
            .into_iter()
            .map(|(since, schedule)| JobVersion::new(since, schedule))
            .collect();
    }

    /// Forgets runs and executions created before `cutoff`. Active runs stay.
    pub fn forget_before(&mut self, cutoff: Timestamp) {
        for project in self.projects.values_mut() {
            project.forget_before(cutoff);
        }
    }

    /// Runs held, and executions held.
    pub fn counts(&self) -> (usize, usize) {
        let runs = self
            .projects
            .values()
            .map(|project| project.run_slots.len())
            .sum();
        let executions = self
            .projects
            .values()
            .flat_map(|project| project.models.values())
            .map(|model| model.executions.len())
            .sum();
        (runs, executions)
    }
}

impl ProjectHistory {
    fn new(key: ProjectKey) -> Self {
        Self {
            key,
            info: None,
            coverage: None,
            is_gone: false,
            executions_known_until: None,
            holds: Vec::new(),
            jobs: BTreeMap::new(),
            has_job_list: false,
            models: BTreeMap::new(),
            plans: Plans::default(),
            runs: Vec::new(),
            progress: Vec::new(),
            run_slots: HashMap::new(),
            waiting: Waiting::default(),
            open_executions: HashMap::new(),
            averages: Averages::default(),
        }
    }

    /// Name for people: the project's name, else its id.
    pub fn display_name(&self) -> &Name {
        self.info
            .as_ref()
            .map_or(&self.key.project_id, |info| &info.name)
    }

    /// A job.
    pub fn job(&self, name: &str) -> Option<&JobHistory> {
        self.jobs.get(name)
    }

    /// The job is known by its runs only, although the jobs were listed: it was deleted before, is no job at
    /// all (manual runs, whether jobs were listed or not), or its runs name it otherwise. Nothing is owed by it.
    pub fn is_unlisted(&self, job: &JobHistory) -> bool {
        job.versions.is_empty() && (self.has_job_list || &*job.name == MANUAL_JOB)
    }

    /// All jobs, by name.
    pub fn jobs(&self) -> impl Iterator<Item = &JobHistory> {
        self.jobs.values()
    }

    /// A model of a job.
    pub fn model(&self, job: &Name, model: &Name) -> Option<&ModelHistory> {
        self.models.get(&(job.clone(), model.clone()))
    }

    /// All models, by job and name.
    pub fn models(&self) -> impl Iterator<Item = (&Name, &Name, &ModelHistory)> {
        self.models
            .iter()
            .map(|((job, model), history)| (job, model, history))
    }

    /// Its plans.
    pub fn plans(&self) -> &Plans {
        &self.plans
    }

    /// A run by its id.
    pub fn run(&self, id: &str) -> Option<&Run> {
        self.run_slots.get(id).map(|slot| self.run_at(*slot))
    }

    /// What is to be stored of the project itself.
    pub fn record(&self) -> Option<ProjectRecord> {
        Some(ProjectRecord {
            info: self.info.clone()?,
            holds: self.holds.clone(),
            is_gone: self.is_gone,
        })
    }

    fn run_at(&self, slot: Slot) -> &Run {
        &self.runs[slot as usize]
    }

    fn job_of(&self, slot: Slot) -> Name {
        self.run_at(slot)
            .job
            .clone()
            .unwrap_or_else(|| MANUAL_JOB.into())
    }

    fn job_entry(&mut self, name: &Name, seen_at: Timestamp) -> &mut JobHistory {
        self.jobs.entry(name.clone()).or_insert_with(|| JobHistory {
            name: name.clone(),
            first_seen_at: seen_at,
            versions: Vec::new(),
            is_gone: false,
            listed_at: None,
            holds: Vec::new(),
            by_created: RunIndex::new(),
            by_settled: RunIndex::new(),
            successes: RunIndex::new(),
            active: RunIndex::new(),
        })
    }

    /// True when something about the job changed.
    fn observe_job(&mut self, seen: Job, now: Timestamp) -> bool {
        let job = self.job_entry(&seen.name, now);
        let mut is_changed = false;
        // The source's instant of the change, if it can be: between the last look and this one.
        let listed_at = job.listed_at.replace(now).unwrap_or(Timestamp::MIN) - Span::minutes(1);
        let changed_at = seen
            .updated_at
            .filter(|at| *at >= listed_at && *at <= now)
            .unwrap_or(now);
        let last_hold = job.holds.last();
        let is_disabled_known = last_hold.is_some_and(|hold| hold.to.is_none());
        if is_disabled_known == seen.is_enabled {
            let at = match last_hold {
                // Disabled at first sight: nothing before counts as missed.
                None if job.versions.is_empty() => Timestamp::MIN,
                Some(hold) if changed_at < hold.to.unwrap_or(hold.from) => now,
                Some(_) | None => changed_at,
            };
            // It was disabled at its last change at the latest.
            let held_at = seen.updated_at.filter(|at| *at <= now).unwrap_or(now);
            set_hold(&mut job.holds, !seen.is_enabled, at, held_at);
            is_changed = true;
        }
        let known = job.versions.last();
        if known.is_none_or(|version| version.schedule != seen.schedule) {
            let since = match known {
                None => Timestamp::MIN,
                Some(known) if changed_at <= known.since => now,
                Some(_) => changed_at,
            };
            job.versions.push(JobVersion::new(since, seen.schedule));
            is_changed = true;
        }
        is_changed
    }

    /// True when the run is news.
    fn put_run(&mut self, job_name: &Name, run: Run) -> bool {
        let slot = if let Some(slot) = self.run_slots.get(&run.id).copied() {
            if !is_news(self.run_at(slot), &run) {
                return false;
            }
            self.unindex(slot);
            self.runs[slot as usize] = run;
            slot
        } else {
            let slot = Slot::try_from(self.runs.len()).unwrap_or(Slot::MAX - 1);
            self.run_slots.insert(run.id.clone(), slot);
            self.runs.push(run);
            self.progress.push(Timestamp::MIN);
            slot
        };
        let run = &self.runs[slot as usize];
        let (created, settled) = index_keys(run, slot);
        let status = run.status.clone();
        let job = self.job_entry(job_name, created.0);
        job.first_seen_at = job.first_seen_at.min(created.0);
        if status.is_active() {
            job.active.insert(created.clone());
        }
        job.by_created.insert(created);
        if status == Status::Success {
            job.successes.insert(settled.clone());
        }
        if status.is_finished() {
            job.by_settled.insert(settled);
        }
        true
    }

    fn unindex(&mut self, slot: Slot) {
        let run = &self.runs[slot as usize];
        let name = run.job.clone().unwrap_or_else(|| MANUAL_JOB.into());
        let (created, settled) = index_keys(run, slot);
        if let Some(job) = self.jobs.get_mut(&name) {
            job.by_created.remove(&created);
            job.by_settled.remove(&settled);
            job.successes.remove(&settled);
            job.active.remove(&created);
        }
    }

    /// True when the execution is news.
    fn put_execution(
        &mut self,
        model_key: &(Name, Name),
        run: Slot,
        started_at: Timestamp,
        execution: &Execution,
    ) -> bool {
        let id_hash = hash_id(&execution.id);
        if let Some((old_key, old_start)) = self.open_executions.get(&id_hash).cloned()
            && (old_start != started_at || old_key != *model_key)
            && let Some(model) = self.models.get_mut(&old_key)
        {
            model.executions.retain(|known| known.id_hash != id_hash);
        }
        let record = ExecutionRecord::new(id_hash, run, started_at, execution);
        let model = self.models.entry(model_key.clone()).or_default();
        let is_news = model.put(record, execution.error.as_ref());
        if let Some(progress) = self.progress.get_mut(run as usize).filter(|_| is_news) {
            let moved_at = record.finished_at().unwrap_or(started_at);
            *progress = (*progress).max(moved_at);
        }
        if is_news && record.outcome == Outcome::Open {
            self.open_executions
                .insert(id_hash, (model_key.clone(), started_at));
        } else if is_news {
            self.open_executions.remove(&id_hash);
        }
        is_news
    }
}

/// The keys of a run by creation and by settling.
fn index_keys(run: &Run, slot: Slot) -> ((Timestamp, Name, Slot), (Timestamp, Name, Slot)) {
    (
        (run.created_at, run.id.clone(), slot),
        (run.settled_at(), run.id.clone(), slot),
    )
}

/// `new` says more than `known`: it is newer, or as new and further on. Which of two different rows of the
/// same instant stays does not depend on the order in which they come.
fn is_news(known: &Run, new: &Run) -> bool {
    let progress = |run: &Run| match &run.status {
        Status::Pending => 0,
        // A word nobody knows does not take back an outcome of the same instant.
        Status::Running | Status::Other(_) => 1,
        _ => 2,
    };
    let rank = |run: &Run| {
        (
            run.updated_at,
            progress(run),
            run.settled_at(),
            run.status.clone(),
        )
    };
    rank(new) > rank(known) || (rank(new) == rank(known) && new.error > known.error)
}
