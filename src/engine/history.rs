//! What has been observed, indexed so that judging a subject costs the same however long history is.
//!
//! Guarantees: the newest observation of an id wins, whatever the order of arrival; the same
//! observation twice changes nothing; a late row takes its place in time. Names are shared. It does not
//! judge, and it forgets only what [`History::forget_before`] is told to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::observation::{Execution, Job, Name, Plan, Project, ProjectKey, Run, Status};
use super::schedule::{Cron, CronError, Dialect, Tick};
use super::subject::{MANUAL_JOB, SubjectKey};
use super::time::{Span, Timestamp};

/// Everything observed, by project.
#[derive(Debug, Default)]
pub struct History {
    projects: BTreeMap<ProjectKey, ProjectHistory>,
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
    /// When its schedules were held (suspended or not deployed), newest last.
    holds: Vec<Hold>,
    jobs: BTreeMap<Name, JobHistory>,
    models: BTreeMap<(Name, Name), ModelHistory>,
    plans: BTreeMap<Name, Plan>,
    runs: Vec<Run>,
    run_slots: HashMap<Name, Slot>,
    /// Executions that came before their run, by run id.
    waiting: HashMap<Name, Vec<Execution>>,
    open_executions: HashMap<u64, ((Name, Name), Timestamp)>,
}

/// Index of a run in its project.
type Slot = u32;

/// Executions kept until their run is known; more are dropped, oldest runs first.
const MAX_WAITING_RUNS: usize = 1_000;

/// A stretch of time in which ticks start nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// When it was first seen.
    pub from: Timestamp,
    /// When it was over; `None`: it goes on.
    pub to: Option<Timestamp>,
}

impl Hold {
    fn contains(self, at: Timestamp) -> bool {
        self.from <= at && self.to.is_none_or(|to| at < to)
    }

    /// How much of `(from, to)` it covers.
    fn overlap(self, from: Timestamp, to: Timestamp) -> Span {
        self.to.unwrap_or(to).min(to).since(self.from.max(from))
    }
}

/// One job.
#[derive(Debug)]
pub struct JobHistory {
    /// Its name.
    pub name: Name,
    /// When it was first seen, as a job or by a run.
    pub first_seen_at: Timestamp,
    /// Its schedules over time, oldest first.
    versions: Vec<JobVersion>,
    /// It was listed once and is not any more.
    pub is_gone: bool,
    holds: Vec<Hold>,
    by_created: BTreeSet<(Timestamp, Slot)>,
    by_settled: BTreeSet<(Timestamp, Slot)>,
    active: BTreeSet<Slot>,
}

/// A job's schedule from an instant on.
#[derive(Clone, Debug)]
pub struct JobVersion {
    /// From when it holds; the first version holds for all time before, too.
    pub since: Timestamp,
    /// As the source wrote it.
    pub schedule: Option<Name>,
    /// As understood.
    pub cron: Option<Result<Cron, CronError>>,
}

/// What is kept of a job apart from its runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its name.
    pub name: Name,
    /// When it was first seen.
    pub first_seen_at: Timestamp,
    /// From when, and the schedule.
    pub versions: Vec<(Timestamp, Option<Name>)>,
    /// When it was disabled.
    pub holds: Vec<Hold>,
    /// It is not listed any more.
    pub is_gone: bool,
}

/// What is kept of a project apart from its jobs and runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectRecord {
    /// As last observed.
    pub info: Project,
    /// When it was held.
    pub holds: Vec<Hold>,
}

/// A model's executions in one job.
#[derive(Debug, Default)]
pub struct ModelHistory {
    /// By start.
    executions: Vec<ExecutionRecord>,
    /// Error texts of failed ones.
    errors: HashMap<u64, Name>,
}

/// One execution, small: there may be millions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExecutionRecord {
    id_hash: u64,
    /// When it started.
    pub started_at: Timestamp,
    updated_at: Timestamp,
    /// Milliseconds; `u32::MAX`: not finished (or longer than 49 days).
    duration_millis: u32,
    run: Slot,
    outcome: Outcome,
}

/// What an execution has come to, in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not finished, or an unknown word.
    Open,
    /// Success.
    Success,
    /// Failed, error or partial.
    Failure,
    /// Not executed because something before it failed.
    Skipped,
}

impl ExecutionRecord {
    /// started to finished.
    pub fn run_time(&self) -> Option<Span> {
        (self.duration_millis != u32::MAX)
            .then(|| Span::milliseconds(i64::from(self.duration_millis)))
    }

    /// When it finished.
    pub fn finished_at(&self) -> Option<Timestamp> {
        Some(self.started_at + self.run_time()?)
    }

    /// What it has come to.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }
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

fn hash_id(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
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

    /// Moves coverage forward; it never goes back.
    pub fn cover(&mut self, key: &ProjectKey, until: Timestamp) {
        let project = self.entry(key);
        project.coverage = Some(project.coverage.map_or(until, |known| known.max(until)));
    }

    /// Takes in a project.
    pub fn observe_project(&mut self, info: Project, now: Timestamp) -> Change {
        let key = info.key.clone();
        let project = self.entry(&key);
        if project.info.as_ref() == Some(&info) {
            return Change::None;
        }
        let is_held = info.is_suspended || !info.is_deployed;
        set_hold(&mut project.holds, is_held, now);
        project.info = Some(info);
        Change::Project(key)
    }

    /// Takes in the complete list of a project's jobs.
    pub fn observe_jobs(
        &mut self,
        key: &ProjectKey,
        jobs: Vec<Job>,
        now: Timestamp,
    ) -> Vec<Change> {
        let project = self.entry(key);
        let listed: BTreeSet<Name> = jobs.iter().map(|job| job.name.clone()).collect();
        let mut changes = Vec::new();
        for job in jobs {
            let name = job.name.clone();
            if project.observe_job(job, now) {
                changes.push(Change::Subject(SubjectKey::Job(key.clone(), name)));
            }
        }
        for (name, job) in &mut project.jobs {
            let is_gone = !job.versions.is_empty() && !listed.contains(name);
            if job.is_gone != is_gone {
                job.is_gone = is_gone;
                changes.push(Change::Subject(SubjectKey::Job(key.clone(), name.clone())));
            }
        }
        changes
    }

    /// Takes in a run, and the executions that waited for it. [`Change::None`] when it is known already or
    /// older than what is known.
    pub fn observe_run(&mut self, key: &ProjectKey, run: Run) -> Vec<Change> {
        let project = self.entry(key);
        let job = run.job.clone().unwrap_or_else(|| MANUAL_JOB.into());
        let id = run.id.clone();
        if !project.put_run(job.clone(), run) {
            return vec![Change::None];
        }
        let mut changes = vec![Change::Subject(SubjectKey::Job(key.clone(), job))];
        for execution in project.waiting.remove(&id).unwrap_or_default() {
            changes.push(self.observe_execution(key, execution));
        }
        changes
    }

    /// Takes in an execution. One that has not started says nothing yet.
    pub fn observe_execution(&mut self, key: &ProjectKey, execution: Execution) -> Change {
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
                let waiting = project.waiting.len();
                let known = project.waiting.entry(run_id.clone()).or_default();
                if waiting >= MAX_WAITING_RUNS || known.contains(&execution) {
                    return Change::None;
                }
                known.push(execution);
                return Change::Noted;
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

    /// Takes in a plan.
    pub fn observe_plan(&mut self, key: &ProjectKey, plan: Plan) -> Change {
        let project = self.entry(key);
        match project.plans.get(&plan.id) {
            Some(known) if *known == plan || known.updated_at > plan.updated_at => Change::None,
            _ => {
                project.plans.insert(plan.id.clone(), plan);
                Change::Noted
            }
        }
    }

    /// Puts back what a store kept of a project.
    pub fn restore_project(&mut self, record: ProjectRecord) {
        let project = self.entry(&record.info.key.clone());
        project.info = Some(record.info);
        project.holds = record.holds;
    }

    /// Puts back what a store kept of a job.
    pub fn restore_job(&mut self, key: &ProjectKey, record: JobRecord) {
        let project = self.entry(key);
        let job = project.job_entry(&record.name, record.first_seen_at);
        job.first_seen_at = record.first_seen_at;
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

fn set_hold(holds: &mut Vec<Hold>, is_held: bool, now: Timestamp) {
    let is_open = holds.last().is_some_and(|hold| hold.to.is_none());
    match (is_open, is_held) {
        (false, true) => holds.push(Hold {
            from: now,
            to: None,
        }),
        (true, false) => {
            if let Some(hold) = holds.last_mut() {
                hold.to = Some(now);
            }
        }
        (true, true) | (false, false) => {}
    }
}

impl ProjectHistory {
    fn new(key: ProjectKey) -> Self {
        Self {
            key,
            info: None,
            coverage: None,
            holds: Vec::new(),
            jobs: BTreeMap::new(),
            models: BTreeMap::new(),
            plans: BTreeMap::new(),
            runs: Vec::new(),
            run_slots: HashMap::new(),
            waiting: HashMap::new(),
            open_executions: HashMap::new(),
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

    /// All plans.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.plans.values()
    }

    /// A run by its id.
    pub fn run(&self, id: &str) -> Option<&Run> {
        self.run_slots.get(id).map(|slot| self.run_at(*slot))
    }

    /// All runs, newest created first. For queries.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        let mut slots: Vec<&Slot> = self.run_slots.values().collect();
        slots.sort_by_key(|slot| std::cmp::Reverse((self.run_at(**slot).created_at, **slot)));
        slots.into_iter().map(|slot| self.run_at(*slot))
    }

    /// What is to be stored of the project itself.
    pub fn record(&self) -> Option<ProjectRecord> {
        Some(ProjectRecord {
            info: self.info.clone()?,
            holds: self.holds.clone(),
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
            holds: Vec::new(),
            by_created: BTreeSet::new(),
            by_settled: BTreeSet::new(),
            active: BTreeSet::new(),
        })
    }

    /// True when something about the job changed.
    fn observe_job(&mut self, seen: Job, now: Timestamp) -> bool {
        let job = self.job_entry(&seen.name, now);
        let mut is_changed = false;
        let is_disabled_known = job.holds.last().is_some_and(|hold| hold.to.is_none());
        if is_disabled_known == seen.is_enabled {
            let changed_at = seen.updated_at.filter(|at| *at <= now).unwrap_or(now);
            set_hold(&mut job.holds, !seen.is_enabled, changed_at);
            is_changed = true;
        }
        let known = job.versions.last();
        if known.is_none_or(|version| version.schedule != seen.schedule) {
            let since = match known {
                None => Timestamp::MIN,
                Some(known) => seen
                    .updated_at
                    .filter(|at| *at > known.since && *at <= now)
                    .unwrap_or(now),
            };
            job.versions.push(JobVersion::new(since, seen.schedule));
            is_changed = true;
        }
        is_changed
    }

    /// True when the run is news.
    fn put_run(&mut self, job_name: Name, run: Run) -> bool {
        let slot = match self.run_slots.get(&run.id).copied() {
            Some(slot) => {
                if !is_news(self.run_at(slot), &run) {
                    return false;
                }
                self.unindex(slot);
                self.runs[slot as usize] = run;
                slot
            }
            None => {
                let slot = Slot::try_from(self.runs.len()).unwrap_or(Slot::MAX - 1);
                self.run_slots.insert(run.id.clone(), slot);
                self.runs.push(run);
                slot
            }
        };
        let run = &self.runs[slot as usize];
        let (created, settled) = (run.created_at, run.settled_at());
        let (is_active, is_finished) = (run.status.is_active(), run.status.is_finished());
        let job = self.job_entry(&job_name, created);
        job.first_seen_at = job.first_seen_at.min(created);
        job.by_created.insert((created, slot));
        if is_active {
            job.active.insert(slot);
        }
        if is_finished {
            job.by_settled.insert((settled, slot));
        }
        true
    }

    fn unindex(&mut self, slot: Slot) {
        let run = &self.runs[slot as usize];
        let name = run.job.clone().unwrap_or_else(|| MANUAL_JOB.into());
        let (created, settled) = (run.created_at, run.settled_at());
        if let Some(job) = self.jobs.get_mut(&name) {
            job.by_created.remove(&(created, slot));
            job.by_settled.remove(&(settled, slot));
            job.active.remove(&slot);
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
        let record = ExecutionRecord {
            id_hash,
            started_at,
            updated_at: execution.updated_at,
            duration_millis: execution
                .run_time()
                .and_then(|span| u32::try_from(span.num_milliseconds()).ok())
                .unwrap_or(u32::MAX),
            run,
            outcome: match &execution.status {
                Status::Success => Outcome::Success,
                Status::Failed | Status::Error | Status::Partial => Outcome::Failure,
                Status::Skipped => Outcome::Skipped,
                Status::Pending | Status::Running | Status::Other(_) => Outcome::Open,
            },
        };
        if record.outcome == Outcome::Open {
            self.open_executions
                .insert(id_hash, (model_key.clone(), started_at));
        } else {
            self.open_executions.remove(&id_hash);
        }
        self.models
            .entry(model_key.clone())
            .or_default()
            .put(record, execution.error.as_ref())
    }

    /// Runs of a job that finished after `after`, in order of finishing.
    pub fn finished_after<'a>(
        &'a self,
        job: &'a JobHistory,
        after: Timestamp,
    ) -> impl DoubleEndedIterator<Item = &'a Run> + 'a {
        job.by_settled
            .range((after, Slot::MAX)..)
            .map(|(_, slot)| self.run_at(*slot))
    }

    /// Finished runs of a job, newest finish first.
    pub fn finished<'a>(&'a self, job: &'a JobHistory) -> impl Iterator<Item = &'a Run> + 'a {
        job.by_settled
            .iter()
            .rev()
            .map(|(_, slot)| self.run_at(*slot))
    }

    /// Active runs of a job, oldest first.
    pub fn active<'a>(&'a self, job: &'a JobHistory) -> impl Iterator<Item = &'a Run> + 'a {
        job.active.iter().map(|slot| self.run_at(*slot))
    }

    /// Runs of a job created in `[from, to)`, in order.
    pub fn created_between<'a>(
        &'a self,
        job: &'a JobHistory,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = &'a Run> + 'a {
        job.by_created
            .range((from, 0)..(to.max(from), 0))
            .map(|(_, slot)| self.run_at(*slot))
    }

    /// The run an execution belongs to.
    pub fn run_of(&self, execution: &ExecutionRecord) -> Option<&Run> {
        self.runs.get(execution.run as usize)
    }

    /// Models of `run` that failed, and how many were skipped because of them.
    pub fn failures_of(&self, run: &Run) -> (Vec<(&Name, &ModelHistory, &ExecutionRecord)>, usize) {
        let Some(slot) = self.run_slots.get(&run.id) else {
            return (Vec::new(), 0);
        };
        let job = run.job.clone().unwrap_or_else(|| MANUAL_JOB.into());
        let from = run.started_at.unwrap_or(run.created_at) - Span::minutes(1);
        let (mut failed, mut skipped) = (Vec::new(), 0);
        let of_job = self.models.range((job.clone(), Name::from(""))..);
        for ((_, name), model) in of_job.take_while(|((model_job, _), _)| *model_job == job) {
            for execution in model
                .since(from)
                .iter()
                .filter(|execution| execution.run == *slot)
            {
                match execution.outcome {
                    Outcome::Failure => failed.push((name, model, execution)),
                    Outcome::Skipped => skipped += 1,
                    Outcome::Open | Outcome::Success => {}
                }
            }
        }
        failed.sort_by_key(|(_, _, execution)| execution.finished_at());
        (failed, skipped)
    }

    /// The job's ticks start nothing at `at`: it is disabled, or the project is held.
    pub fn is_held(&self, job: &JobHistory, at: Timestamp) -> bool {
        self.holds
            .iter()
            .chain(&job.holds)
            .any(|hold| hold.contains(at))
    }

    /// How long the job was held in `(from, to)`.
    pub fn held_time(&self, job: &JobHistory, from: Timestamp, to: Timestamp) -> Span {
        // Holds of project and job may overlap; the longer of the two is the honest minimum.
        let total = |holds: &[Hold]| {
            holds
                .iter()
                .fold(Span::zero(), |sum, hold| sum + hold.overlap(from, to))
        };
        total(&self.holds).max(total(&job.holds))
    }

    fn forget_before(&mut self, cutoff: Timestamp) {
        let old: BTreeSet<Slot> = self
            .jobs
            .values()
            .flat_map(|job| job.by_created.range(..(cutoff, 0)).map(|(_, slot)| *slot))
            .filter(|slot| !self.run_at(*slot).status.is_active())
            .collect();
        for model in self.models.values_mut() {
            model
                .executions
                .retain(|execution| execution.started_at >= cutoff);
        }
        if old.is_empty() {
            return;
        }
        let runs = std::mem::take(&mut self.runs);
        self.run_slots.clear();
        for job in self.jobs.values_mut() {
            job.by_created.clear();
            job.by_settled.clear();
            job.active.clear();
        }
        let mut moved: HashMap<Slot, Slot> = HashMap::new();
        for (slot, run) in (0..).zip(runs) {
            if !old.contains(&slot) {
                moved.insert(
                    slot,
                    Slot::try_from(self.runs.len()).unwrap_or(Slot::MAX - 1),
                );
                let job = run.job.clone().unwrap_or_else(|| MANUAL_JOB.into());
                self.put_run(job, run);
            }
        }
        for execution in self
            .models
            .values_mut()
            .flat_map(|model| &mut model.executions)
        {
            execution.run = moved.get(&execution.run).copied().unwrap_or(Slot::MAX);
        }
    }
}

/// `new` says more than `known`: it is newer, or as new and further on.
fn is_news(known: &Run, new: &Run) -> bool {
    use std::cmp::Ordering;
    match new.updated_at.cmp(&known.updated_at) {
        Ordering::Less => false,
        Ordering::Greater => true,
        Ordering::Equal => new != known && !(known.status.is_finished() && new.status.is_active()),
    }
}

impl JobVersion {
    fn new(since: Timestamp, schedule: Option<Name>) -> Self {
        let cron = schedule
            .as_ref()
            .map(|text| Cron::parse(text, Dialect::Scheduler));
        Self {
            since,
            schedule,
            cron,
        }
    }
}

impl JobHistory {
    /// The schedule that held at `at`.
    pub fn version_at(&self, at: Timestamp) -> Option<&JobVersion> {
        self.versions
            .iter()
            .rev()
            .find(|version| version.since <= at)
            .or(self.versions.first())
    }

    /// The job's ticks in `(after, until]`, each by the schedule of its time.
    pub fn ticks(&self, zone: Tz, after: Timestamp, until: Timestamp) -> Vec<Tick> {
        let mut ticks = Vec::new();
        for (index, version) in self.versions.iter().enumerate() {
            let Some(Ok(cron)) = &version.cron else {
                continue;
            };
            let end = self.versions.get(index + 1).map_or(until, |next| {
                // The new version is in force from its own instant on.
                until.min(next.since - Span::milliseconds(1))
            });
            let start = if index == 0 {
                after
            } else {
                after.max(version.since - Span::milliseconds(1))
            };
            if start < end {
                ticks.extend(cron.ticks(zone, start, end));
            }
        }
        ticks
    }

    /// The first tick after `after` by the newest schedule.
    pub fn next_tick(&self, zone: Tz, after: Timestamp) -> Option<Tick> {
        match &self.versions.last()?.cron {
            Some(Ok(cron)) => cron.next(zone, after),
            Some(Err(_)) | None => None,
        }
    }

    /// The last tick at or before `at`.
    pub fn previous_tick(&self, zone: Tz, at: Timestamp) -> Option<Tick> {
        match &self.version_at(at)?.cron {
            Some(Ok(cron)) => cron.previous(zone, at),
            Some(Err(_)) | None => None,
        }
    }

    /// What is to be stored of the job itself.
    pub fn record(&self) -> JobRecord {
        JobRecord {
            name: self.name.clone(),
            first_seen_at: self.first_seen_at,
            versions: self
                .versions
                .iter()
                .map(|version| (version.since, version.schedule.clone()))
                .collect(),
            holds: self.holds.clone(),
            is_gone: self.is_gone,
        }
    }
}

impl ModelHistory {
    /// True when the record is news.
    fn put(&mut self, record: ExecutionRecord, error: Option<&Name>) -> bool {
        let from = self
            .executions
            .partition_point(|known| known.started_at < record.started_at);
        let known = self.executions[from..]
            .iter()
            .take_while(|known| known.started_at == record.started_at)
            .position(|known| known.id_hash == record.id_hash)
            .map(|offset| from + offset);
        match known {
            Some(at) if self.executions[at] == record => return false,
            Some(at) if self.executions[at].updated_at > record.updated_at => return false,
            Some(at) => self.executions[at] = record,
            None => self.executions.insert(from, record),
        }
        match error {
            Some(error) if record.outcome == Outcome::Failure => {
                self.errors.insert(record.id_hash, error.clone());
            }
            _ => {
                self.errors.remove(&record.id_hash);
            }
        }
        true
    }

    /// Executions that started at or after `from`, in order.
    pub fn since(&self, from: Timestamp) -> &[ExecutionRecord] {
        &self.executions[self
            .executions
            .partition_point(|known| known.started_at < from)..]
    }

    /// All executions, by start.
    pub fn executions(&self) -> &[ExecutionRecord] {
        &self.executions
    }

    /// Error text of a failed execution.
    pub fn error_of(&self, execution: &ExecutionRecord) -> Option<&Name> {
        self.errors.get(&execution.id_hash)
    }
}
