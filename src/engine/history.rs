//! What has been observed, indexed so that judging a subject costs the same however long history is.
//!
//! Guarantees: the newest observation of an id wins, whatever the order of arrival; the same
//! observation twice changes nothing; a late row takes its place in time. Names are shared. It does not
//! judge, and it forgets only what [`History::forget_before`] is told to.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
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
    /// Executions that came before their run.
    waiting: Waiting,
    open_executions: HashMap<u64, ((Name, Name), Timestamp)>,
}

/// Index of a run in its project.
type Slot = u32;

/// Executions kept until their run is known; more are dropped, longest waiting runs first.
const MAX_WAITING_RUNS: usize = 1_000;

/// Executions whose run is not known yet.
#[derive(Debug, Default)]
struct Waiting {
    by_run: HashMap<Name, Vec<Execution>>,
    /// Runs in the order in which they began to be waited for; some may have come since.
    order: VecDeque<Name>,
}

impl Waiting {
    /// True when the execution is news.
    fn put(&mut self, run_id: &Name, execution: Execution) -> bool {
        if let Some(known) = self.by_run.get_mut(run_id) {
            let is_news = !known.contains(&execution);
            if is_news {
                known.push(execution);
            }
            return is_news;
        }
        while self.by_run.len() >= MAX_WAITING_RUNS
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_run.remove(&oldest);
        }
        self.order.push_back(run_id.clone());
        self.by_run.insert(run_id.clone(), vec![execution]);
        true
    }

    fn take(&mut self, run_id: &Name) -> Vec<Execution> {
        let taken = self.by_run.remove(run_id).unwrap_or_default();
        if !taken.is_empty() {
            self.order.retain(|waiting| waiting != run_id);
        }
        taken
    }
}

/// A stretch of time in which ticks start nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// When it was first seen.
    pub from: Timestamp,
    /// When it was over; `None`: it goes on.
    pub to: Option<Timestamp>,
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
    /// When it was last seen in a list of jobs, since the start.
    listed_at: Option<Timestamp>,
    holds: Vec<Hold>,
    by_created: RunIndex,
    by_settled: RunIndex,
    /// Successes by settling.
    successes: RunIndex,
    /// By creation.
    active: RunIndex,
}

/// Runs in time; those of one instant by id, so that the order of arrival does not matter.
type RunIndex = BTreeSet<(Timestamp, Name, Slot)>;

/// The bound below all runs of an instant.
fn from(at: Timestamp) -> (Timestamp, Name, Slot) {
    (at, Name::from(""), 0)
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

    /// Newer, or as new and further on.
    fn says_more_than(&self, known: &Self) -> bool {
        let rank = |record: &Self| {
            let is_done = record.outcome != Outcome::Open;
            (
                record.updated_at,
                is_done,
                record.duration_millis,
                record.outcome as u8,
            )
        };
        rank(self) > rank(known)
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
        if project.info.as_ref() == Some(&info) {
            return Change::None;
        }
        let is_held = info.is_suspended || !info.is_deployed;
        // Held at first sight: since when is not known, so nothing before counts as missed.
        let since = if project.info.is_some() {
            now
        } else {
            Timestamp::MIN
        };
        set_hold(
            &mut project.holds,
            is_held,
            if is_held { since } else { now },
        );
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
                // While it is gone nothing is due; its return has ended the hold already.
                if is_gone {
                    set_hold(&mut job.holds, true, now);
                }
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
            waiting: Waiting::default(),
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
            set_hold(&mut job.holds, !seen.is_enabled, at);
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
        let model = self.models.entry(model_key.clone()).or_default();
        let is_news = model.put(record, execution.error.as_ref());
        if is_news && record.outcome == Outcome::Open {
            self.open_executions
                .insert(id_hash, (model_key.clone(), started_at));
        } else if is_news {
            self.open_executions.remove(&id_hash);
        }
        is_news
    }

    /// Runs of a job that finished after `after`, in order of finishing.
    pub fn finished_after<'a>(
        &'a self,
        job: &'a JobHistory,
        after: Timestamp,
    ) -> impl DoubleEndedIterator<Item = &'a Run> + 'a {
        job.by_settled
            .range(from(after + Span::milliseconds(1))..)
            .map(|(_, _, slot)| self.run_at(*slot))
    }

    /// Finished runs of a job, newest finish first.
    pub fn finished<'a>(&'a self, job: &'a JobHistory) -> impl Iterator<Item = &'a Run> + 'a {
        job.by_settled
            .iter()
            .rev()
            .map(|(_, _, slot)| self.run_at(*slot))
    }

    /// Finished runs of a job that settled at or before `run` did, newest first: `run` itself and those
    /// before it.
    pub fn finished_up_to<'a>(
        &'a self,
        job: &'a JobHistory,
        run: &Run,
    ) -> impl Iterator<Item = &'a Run> + 'a {
        job.by_settled
            .range(..=(run.settled_at(), run.id.clone(), Slot::MAX))
            .rev()
            .map(|(_, _, slot)| self.run_at(*slot))
    }

    /// Successes of a job that settled at or before `run` did, newest first.
    pub fn successes_up_to<'a>(
        &'a self,
        job: &'a JobHistory,
        run: &Run,
    ) -> impl Iterator<Item = &'a Run> + 'a {
        job.successes
            .range(..=(run.settled_at(), run.id.clone(), Slot::MAX))
            .rev()
            .map(|(_, _, slot)| self.run_at(*slot))
    }

    /// Successes of a job, newest first.
    pub fn successes<'a>(&'a self, job: &'a JobHistory) -> impl Iterator<Item = &'a Run> + 'a {
        job.successes
            .iter()
            .rev()
            .map(|(_, _, slot)| self.run_at(*slot))
    }

    /// Active runs of a job, oldest first.
    pub fn active<'a>(&'a self, job: &'a JobHistory) -> impl Iterator<Item = &'a Run> + 'a {
        job.active.iter().map(|(_, _, slot)| self.run_at(*slot))
    }

    /// Runs of a job created in `[start, end)`, in order.
    pub fn created_between<'a>(
        &'a self,
        job: &'a JobHistory,
        start: Timestamp,
        end: Timestamp,
    ) -> impl Iterator<Item = &'a Run> + 'a {
        job.by_created
            .range(from(start)..from(end.max(start)))
            .map(|(_, _, slot)| self.run_at(*slot))
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
        let until = run
            .finished_at
            .map_or(Timestamp::MAX, |at| at + Span::minutes(1));
        let (mut failed, mut skipped) = (Vec::new(), 0);
        let of_job = self.models.range((job.clone(), Name::from(""))..);
        for ((_, name), model) in of_job.take_while(|((model_job, _), _)| *model_job == job) {
            let within = model.since(from).iter();
            for execution in within
                .take_while(|execution| execution.started_at <= until)
                .filter(|execution| execution.run == *slot)
            {
                match execution.outcome {
                    Outcome::Failure => failed.push((name, model, execution)),
                    Outcome::Skipped => skipped += 1,
                    Outcome::Open | Outcome::Success => {}
                }
            }
        }
        failed.sort_by_key(|(name, _, execution)| (execution.finished_at(), (*name).clone()));
        (failed, skipped)
    }

    /// The job's ticks start nothing at `at`: it is disabled, or the project is held.
    pub fn is_held(&self, job: &JobHistory, at: Timestamp) -> bool {
        self.is_held_within(job, at, at)
    }

    /// The job was held at some moment in `[start, end]`.
    pub fn is_held_within(&self, job: &JobHistory, start: Timestamp, end: Timestamp) -> bool {
        let mut holds = self.holds.iter().chain(&job.holds);
        holds.any(|hold| hold.from <= end && hold.to.is_none_or(|to| start < to))
    }

    /// How long the job was held in `(start, end)`; time held by both project and job counts once.
    pub fn held_time(&self, job: &JobHistory, start: Timestamp, end: Timestamp) -> Span {
        let mut holds: Vec<Hold> = self.holds.iter().chain(&job.holds).copied().collect();
        holds.sort_by_key(|hold| hold.from);
        let mut total = Span::zero();
        let mut counted_until = start;
        for hold in holds {
            let to = hold.to.unwrap_or(end).min(end);
            total += to.since(hold.from.max(counted_until));
            counted_until = counted_until.max(to);
        }
        total
    }

    fn forget_before(&mut self, cutoff: Timestamp) {
        let old: BTreeSet<Slot> = self
            .jobs
            .values()
            .flat_map(|job| job.by_created.range(..from(cutoff)))
            .map(|(_, _, slot)| *slot)
            .filter(|slot| !self.run_at(*slot).status.is_active())
            .collect();
        for model in self.models.values_mut() {
            model.forget_before(cutoff);
        }
        if old.is_empty() {
            return;
        }
        let runs = std::mem::take(&mut self.runs);
        self.run_slots.clear();
        for job in self.jobs.values_mut() {
            job.by_created.clear();
            job.by_settled.clear();
            job.successes.clear();
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
                self.put_run(&job, run);
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
        Status::Running => 1,
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

    /// The schedules with the stretches `[since, end)` in which they hold, oldest first.
    fn stretches(&self) -> impl DoubleEndedIterator<Item = (&Cron, Timestamp, Timestamp)> {
        self.versions
            .iter()
            .enumerate()
            .filter_map(|(index, version)| {
                let next = self.versions.get(index + 1);
                let since = if index == 0 {
                    Timestamp::MIN
                } else {
                    version.since
                };
                let cron = version.cron.as_ref()?.as_ref().ok()?;
                Some((cron, since, next.map_or(Timestamp::MAX, |next| next.since)))
            })
    }

    /// The job's ticks in `(after, until]`, each by the schedule of its time, in order. Lazy.
    pub fn ticks(
        &self,
        zone: Tz,
        after: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = Tick> {
        let moment = Span::milliseconds(1);
        self.stretches().flat_map(move |(cron, since, end)| {
            let (start, end) = (after.max(since - moment), until.min(end - moment));
            (start < end)
                .then(|| cron.ticks(zone, start, end))
                .into_iter()
                .flatten()
        })
    }

    /// The first tick after `after`.
    pub fn next_tick(&self, zone: Tz, after: Timestamp) -> Option<Tick> {
        self.ticks(zone, after, Timestamp::MAX).next()
    }

    /// The last tick at or before `at`.
    pub fn previous_tick(&self, zone: Tz, at: Timestamp) -> Option<Tick> {
        let moment = Span::milliseconds(1);
        self.stretches().rev().find_map(|(cron, since, end)| {
            let at = at.min(end - moment);
            let tick = (at >= since).then(|| cron.previous(zone, at))??;
            (tick.at >= since).then_some(tick)
        })
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
        // Those of one instant by id, so that the order of arrival does not matter.
        let key = |known: &ExecutionRecord| (known.started_at, known.id_hash);
        let place = self
            .executions
            .partition_point(|known| key(known) < key(&record));
        let known = self.executions.get(place);
        match known
            .filter(|known| key(known) == key(&record))
            .map(|_| place)
        {
            Some(at) if !record.says_more_than(&self.executions[at]) => return false,
            Some(at) => self.executions[at] = record,
            None => self.executions.insert(place, record),
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

    fn forget_before(&mut self, cutoff: Timestamp) {
        let kept = self
            .executions
            .partition_point(|known| known.started_at < cutoff);
        for forgotten in self.executions.drain(..kept) {
            self.errors.remove(&forgotten.id_hash);
        }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(1_773_100_800_000) + Span::minutes(minute)
    }

    fn key() -> ProjectKey {
        ProjectKey {
            source: "prod".into(),
            project_id: "p1".into(),
        }
    }

    /// A row as of `updated` minutes: created at 0, started at 1.
    fn row(id: &str, updated: i64, status: Status) -> Run {
        let is_done = !status.is_active();
        Run {
            id: id.into(),
            job: Some("job".into()),
            job_type: "run".into(),
            triggered_by: "scheduled".into(),
            created_at: at(0),
            started_at: (status != Status::Pending).then(|| at(1)),
            finished_at: is_done.then(|| at(updated)),
            updated_at: at(updated),
            error: None,
            status,
        }
    }

    fn execution(id: &str, run: &str, updated: i64, status: Status) -> Execution {
        Execution {
            id: id.into(),
            run_id: Some(run.into()),
            model: "m".into(),
            finished_at: (!status.is_active()).then(|| at(updated)),
            status,
            started_at: Some(at(1)),
            updated_at: at(updated),
            error: Some("boom".into()),
        }
    }

    fn job(schedule: &str, is_enabled: bool, updated: i64) -> Job {
        Job {
            name: "job".into(),
            schedule: Some(schedule.into()),
            is_enabled,
            updated_at: Some(at(updated)),
        }
    }

    /// Everything a rule can see of the runs of the job.
    fn picture(history: &History) -> String {
        let Some(project) = history.project(&key()) else {
            return String::new();
        };
        let Some(job) = project.job("job") else {
            return String::new();
        };
        let ids = |runs: Vec<&Run>| {
            let words = runs
                .iter()
                .map(|run| format!("{}:{}", run.id, run.status.as_str()));
            words.collect::<Vec<_>>().join(" ")
        };
        let models: Vec<_> = project
            .models()
            .flat_map(|(_, _, model)| model.executions())
            .map(|known| (known.started_at, known.run_time(), known.outcome()))
            .map(|known| format!("{known:?}"))
            .collect();
        format!(
            "finished [{}] active [{}] created [{}] models {models:?}",
            ids(project.finished(job).collect()),
            ids(project.active(job).collect()),
            ids(project.created_between(job, at(-9), at(99)).collect()),
        )
    }

    #[test]
    fn the_newest_row_of_a_run_wins_and_repeats_are_no_news() {
        for (rows, changes, picture_of) in [
            (&[(5, "running"), (9, "success")][..], "yy", "a:success"),
            (&[(9, "success"), (5, "running")], "yn", "a:success"),
            (&[(9, "success"), (9, "success")], "yn", "a:success"),
            (&[(9, "success"), (9, "running")], "yn", "a:success"),
            (&[(9, "running"), (9, "success")], "yy", "a:success"),
            (&[(9, "failed"), (12, "success")], "yy", "a:success"),
            (
                &[(9, "failed"), (12, "running"), (15, "success")],
                "yyy",
                "a:success",
            ),
        ] {
            let mut history = History::default();
            let said: String = rows
                .iter()
                .map(|(updated, word)| {
                    let run = row("a", *updated, Status::from_word(word));
                    let changes = history.observe_run(&key(), run);
                    if changes == [Change::None] { 'n' } else { 'y' }
                })
                .collect();
            assert_eq!(said, changes, "{rows:?}");
            let picture = picture(&history);
            assert!(
                picture.starts_with(&format!("finished [{picture_of}] active []")),
                "{picture}"
            );
        }
    }

    #[test]
    fn executions_wait_for_their_run() {
        let mut history = History::default();
        let early = execution("e", "a", 5, Status::Failed);
        assert_eq!(
            history.observe_execution(&key(), early.clone()),
            Change::Noted
        );
        assert_eq!(
            history.observe_execution(&key(), early),
            Change::None,
            "a repeat"
        );
        let changes = history.observe_run(&key(), row("a", 9, Status::Failed));
        assert_eq!(changes.len(), 2, "the job and the model");
        let project = history.project(&key()).unwrap();
        let (failed, skipped) = project.failures_of(project.run("a").unwrap());
        assert_eq!((failed.len(), skipped), (1, 0));
        assert_eq!(&**failed[0].1.error_of(failed[0].2).unwrap(), "boom");
    }

    #[test]
    fn runs_that_never_come_do_not_keep_others_waiting() {
        let mut history = History::default();
        for index in 0..3_000 {
            let id = format!("e{index}");
            history.observe_execution(&key(), execution(&id, &id, 5, Status::Success));
        }
        assert_eq!(
            history.project(&key()).unwrap().waiting.by_run.len(),
            MAX_WAITING_RUNS
        );
        assert_eq!(
            history.project(&key()).unwrap().waiting.order.len(),
            MAX_WAITING_RUNS
        );
        assert_eq!(
            history
                .observe_run(&key(), row("e2999", 9, Status::Success))
                .len(),
            2
        );
        assert_eq!(
            history
                .observe_run(&key(), row("e0", 9, Status::Success))
                .len(),
            1,
            "given up"
        );
    }

    #[test]
    fn forgetting_keeps_what_is_newer_and_what_goes_on() {
        let mut history = History::default();
        for (id, status) in [("old", Status::Success), ("zombie", Status::Running)] {
            history.observe_run(&key(), row(id, 9, status));
        }
        history.observe_execution(&key(), execution("e", "old", 5, Status::Failed));
        let mut newer = row("new", 90, Status::Failed);
        newer.created_at = at(60);
        history.observe_run(&key(), newer);
        let mut late = execution("late", "new", 95, Status::Failed);
        late.started_at = Some(at(61));
        history.observe_execution(&key(), late);
        history.forget_before(at(30));
        let project = history.project(&key()).unwrap();
        assert!(project.run("old").is_none());
        assert_eq!(
            picture(&history).split(" models").next().unwrap(),
            "finished [new:failed] active [zombie:running] created [zombie:running new:failed]"
        );
        let (failed, _) = project.failures_of(project.run("new").unwrap());
        assert_eq!(failed.len(), 1, "executions still know their run");
        let model = project.model(&"job".into(), &"m".into()).unwrap();
        assert_eq!(
            model.errors.len(),
            1,
            "texts of forgotten errors are forgotten"
        );
    }

    #[test]
    fn an_edit_holds_from_the_sources_instant_when_that_can_be() {
        for (updated, since) in [
            (20, 20),   // between the looks at 10 and 30
            (-500, 30), // long before: the source did not date the edit
            (40, 30),   // in the future
        ] {
            let mut history = History::default();
            history.observe_jobs(&key(), vec![job("0 * * * *", true, -900)], at(10));
            history.observe_jobs(&key(), vec![job("30 * * * *", false, updated)], at(30));
            let project = history.project(&key()).unwrap();
            let job = project.job("job").unwrap();
            assert_eq!(
                job.record().versions.last().unwrap().0,
                at(since),
                "{updated}"
            );
            assert_eq!(
                job.record().holds,
                [Hold {
                    from: at(since),
                    to: None
                }],
                "{updated}"
            );
            assert!(project.is_held(job, at(since)) && !project.is_held(job, at(since - 1)));
        }
    }

    #[test]
    fn ticks_follow_the_schedule_of_their_time() {
        let mut history = History::default();
        history.observe_jobs(&key(), vec![job("0 * * * *", true, -900)], at(10));
        history.observe_jobs(&key(), vec![job("30 * * * *", true, 150)], at(150));
        let project = history.project(&key()).unwrap();
        let job = project.job("job").unwrap();
        let minutes = |ticks: Vec<Tick>| -> Vec<i64> {
            ticks
                .iter()
                .map(|tick| (tick.at - at(0)).num_minutes())
                .collect()
        };
        assert_eq!(
            minutes(job.ticks(Tz::UTC, at(30), at(280)).collect()),
            [60, 120, 150, 210, 270]
        );
        let next = |minute| minutes(job.next_tick(Tz::UTC, at(minute)).into_iter().collect());
        assert_eq!(
            (next(60), next(121), next(150)),
            (vec![120], vec![150], vec![210])
        );
        let last = |minute| minutes(job.previous_tick(Tz::UTC, at(minute)).into_iter().collect());
        assert_eq!(
            (last(149), last(150), last(209)),
            (vec![120], vec![150], vec![150])
        );
    }

    #[test]
    fn time_held_by_project_and_job_counts_once() {
        let mut history = History::default();
        history.observe_jobs(&key(), vec![job("0 * * * *", true, -900)], at(0));
        history.observe_jobs(&key(), vec![job("0 * * * *", false, 10)], at(10));
        history.observe_jobs(&key(), vec![job("0 * * * *", true, 30)], at(30));
        let project = |is_suspended| Project {
            key: key(),
            name: "p".into(),
            project_type: "sqlmesh".into(),
            is_suspended,
            is_deployed: true,
            commits_behind: None,
            current_commit: None,
            concurrency_policy: None,
        };
        history.observe_project(project(false), at(0));
        history.observe_project(project(true), at(20));
        history.observe_project(project(false), at(50));
        let project = history.project(&key()).unwrap();
        let job = project.job("job").unwrap();
        let held = |from, to| project.held_time(job, at(from), at(to)).num_minutes();
        assert_eq!(held(0, 100), 40);
        assert_eq!(held(15, 25), 10);
        assert_eq!(held(40, 100), 10);
        assert_eq!(held(60, 100), 0);
    }

    proptest! {
        /// Whatever the order and however often: the same picture.
        #[test]
        fn the_order_of_rows_does_not_matter(
            rows in prop::collection::vec((0..6_usize, 1..9_i64, 0..5_usize), 1..30),
            order in prop::collection::vec(any::<prop::sample::Index>(), 60),
        ) {
            let words = ["pending", "running", "success", "failed", "partial"];
            let take_in = |history: &mut History, (id, updated, word): (usize, i64, usize)| {
                let status = Status::from_word(words[word]);
                if id < 3 {
                    history.observe_run(&key(), row(&format!("r{id}"), updated, status));
                } else {
                    let (id, run) = (format!("e{id}"), format!("r{}", id - 3));
                    history.observe_execution(&key(), execution(&id, &run, updated, status));
                }
            };
            let (mut plain, mut mixed) = (History::default(), History::default());
            for fact in &rows {
                take_in(&mut plain, *fact);
            }
            for index in &order {
                take_in(&mut mixed, rows[index.index(rows.len())]);
            }
            for fact in rows.iter().rev() {
                take_in(&mut mixed, *fact);
            }
            prop_assert_eq!(picture(&plain), picture(&mixed));
        }
    }
}
