//! One project's part of a poll.
//!
//! Order: jobs and plans when due (runs need the jobs' names), then runs, then the error texts of failures
//! where the list has none, then model executions, then active runs that the list has not mentioned for
//! long. Daily averages, where there is nothing better, come after all projects.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::averages::Averages;
use super::client::{FetchError, Target};
use super::expected::Emptiness;
use super::feature::Feature;
use super::jobs::JobNames;
use super::lists::Feed;
use super::poll::{Round, is_due};
use super::rows::{JobRow, PlanRow, RunRow};
use super::wire;
use crate::engine::observation::{
    Job, Name, Observation, Plan, Project, ProjectKey, Run, Status, WaitingPlans,
};
use crate::engine::time::{Span, Timestamp};
use crate::source::{Cursor, ProblemKind, Progress};

/// An active run that no list mentioned for this long is asked for by itself.
const RECHECK_AFTER: Span = Span::minutes(10);
/// Active runs asked for in one poll.
const RECHECKS_PER_POLL: usize = 20;
/// Failed runs without an error text whose details are read in one poll.
const DETAILS_PER_POLL: usize = 10;
/// Details remembered; beyond that they may be read again.
const MAX_DETAILS: usize = 4_096;
/// Status of a run that was active when it was removed on the server.
const REMOVED: &str = "removed";
/// The newest plans: looked at whatever became of them.
const PLAN_ROWS: u32 = 25;
/// Plans that wait, in one page.
const WAITING_ROWS: u32 = 100;
/// Pages of plans that wait; with more it is not known which ones do.
const MAX_WAITING_PAGES: u32 = 5;
/// Plans in one page where all are read, because the newest do not come first.
const ALL_ROWS: u32 = 500;
/// Pages read then.
const MAX_ALL_PAGES: u32 = 4;

/// A project between two polls.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) key: ProjectKey,
    reported: Option<Project>,
    pub(super) cursor: Cursor,
    /// The cursor of the last poll that got out.
    settled: Cursor,
    pub(super) jobs: JobNames,
    job_emptiness: Emptiness,
    /// Local time when jobs and plans were last read without fault.
    surveyed_at: Option<Timestamp>,
    plans: BTreeMap<Name, Plan>,
    /// Plans that waited for a person when that was last read.
    waiting: BTreeSet<Name>,
    pub(super) runs: Feed,
    pub(super) executions: Feed,
    pub(super) active: BTreeMap<Name, Active>,
    /// A run seen in this poll: the server must be able to tell its details.
    pub(super) witness: Option<Name>,
    pub(super) execution_list: Feature,
    pub(super) averages: Averages,
    plan_list: Feature,
    run_detail: Feature,
    /// Error texts of runs that only their details carry; `None` where those have none either.
    pub(super) details: HashMap<Name, Option<Name>>,
}

/// How a list of plans was read.
struct PlansRead {
    bad_rows: usize,
    /// There were no more pages.
    is_whole: bool,
    /// Its rows came in that order.
    is_newest_first: bool,
}

/// A run that is pending or running.
#[derive(Clone, Debug)]
pub(super) struct Active {
    pub(super) run: Run,
    /// Server time when a list or a detail last mentioned it.
    pub(super) checked_at: Timestamp,
    /// Reported as removed by the poll under way.
    pub(super) is_removed: bool,
}

impl Tracked {
    /// A project to be read from `cursor` on.
    pub(super) fn new(key: ProjectKey, cursor: Cursor) -> Self {
        Self {
            key,
            reported: None,
            settled: cursor.clone(),
            cursor,
            jobs: JobNames::default(),
            job_emptiness: Emptiness::default(),
            surveyed_at: None,
            plans: BTreeMap::new(),
            waiting: BTreeSet::new(),
            runs: Feed::default(),
            executions: Feed::default(),
            active: BTreeMap::new(),
            witness: None,
            execution_list: Feature::default(),
            averages: Averages::default(),
            plan_list: Feature::default(),
            run_detail: Feature::default(),
            details: HashMap::new(),
        }
    }

    /// Runs that are active as far as is known.
    pub(super) fn watch_active(&mut self, runs: impl IntoIterator<Item = Run>) {
        for run in runs {
            self.active.entry(run.id.clone()).or_insert(Active {
                checked_at: run.updated_at,
                run,
                is_removed: false,
            });
        }
    }

    /// The project's id, and its name as far as it is known.
    pub(super) fn id_and_name(&self) -> (Name, Name) {
        let id = &self.key.project_id;
        let name = self.reported.as_ref().map_or(id, |project| &project.name);
        (id.clone(), name.clone())
    }

    /// The project itself is to be reported again when it is read next.
    pub(super) fn forget_report(&mut self) {
        self.reported = None;
    }

    /// The poll got out with this cursor.
    pub(super) fn settle(&mut self, cursor: &Cursor) {
        self.settled = cursor.clone();
        self.active.retain(|_, active| !active.is_removed);
    }

    /// The poll did not get out: reports everything since the last one again.
    pub(super) fn rewind(&mut self) {
        self.cursor = self.settled.clone();
        self.reported = None;
        self.surveyed_at = None;
        self.jobs = JobNames::default();
        self.plans.clear();
        self.waiting.clear();
        self.averages.rewind();
        for active in self.active.values_mut() {
            active.is_removed = false;
        }
        for feed in [&mut self.runs, &mut self.executions] {
            *feed = Feed::default();
        }
    }

    /// Pages of this project's backfill.
    pub(super) fn progress(&self) -> Progress {
        Progress {
            pages_read: self.runs.pages_read + self.executions.pages_read,
            pages_expected: self.runs.pages_expected + self.executions.pages_expected,
        }
    }

    /// A backfill is under way.
    pub(super) fn is_backfilling(&self) -> bool {
        self.cursor.backfill.is_some()
    }

    /// Reads what is new and adds it to the round's batch.
    pub(super) async fn read(&mut self, project: &Project, round: &mut Round<'_>) {
        if self.reported.as_ref() != Some(project) {
            self.reported = Some(project.clone());
            round
                .batch
                .observations
                .push(Observation::Project(project.clone()));
        }
        if let Err(error) = self.read_lists(round).await {
            round.fail(Some(&self.key.project_id), &error);
        }
        if self.is_backfilling() {
            round.batch.is_complete = false;
        }
        round
            .batch
            .cursors
            .insert(self.key.clone(), self.cursor.clone());
    }

    async fn read_lists(&mut self, round: &mut Round<'_>) -> Result<(), FetchError> {
        if is_due(self.surveyed_at, round.now) {
            self.surveyed_at = None;
            let is_good = self.read_jobs(round).await? & self.read_plans(round).await;
            self.surveyed_at = is_good.then_some(round.now);
        }
        if round.is_over {
            return Ok(());
        }
        self.witness = None;
        let runs = self.read_runs(round).await;
        self.averages.note_runs(runs.as_ref().err(), round.now);
        let Some(news_at) = runs? else {
            return Ok(());
        };
        self.explain_failures(news_at, round).await?;
        self.read_executions(round).await?;
        self.recheck_active(round).await
    }

    /// The jobs were listed before a restart and have not been since: runs read now could be told other jobs
    /// than before.
    fn is_blind_to_jobs(&self) -> bool {
        self.jobs.jobs().is_none() && self.cursor.has_jobs
    }

    fn is_waiting_for_jobs(&self, error: &FetchError) -> bool {
        self.jobs.jobs().is_none() && error.is_passing()
    }

    /// Reads the jobs. Without any list so far, a failure that will pass is waited for: runs could not
    /// be told their jobs. Says whether the list was read.
    async fn read_jobs(&mut self, round: &mut Round<'_>) -> Result<bool, FetchError> {
        let target = Target::new(&["projects", &self.key.project_id, "jobs"]);
        let mut jobs: Vec<Job> = Vec::new();
        let read = round
            .short_list(&target, |body, memory| {
                memory.page::<JobRow<'_>>(
                    (&target, Some(&self.key.project_id)),
                    body,
                    |row, memory| {
                        let job = row.observe(&mut memory.names)?;
                        let name = job.name.clone();
                        jobs.retain(|held| held.name != name);
                        jobs.push(job);
                        Ok(name)
                    },
                )
            })
            .await;
        let bad_rows = match read {
            Ok(bad_rows) => bad_rows,
            Err(error) if self.is_blind_to_jobs() || self.is_waiting_for_jobs(&error) => {
                return Err(error);
            }
            Err(error) => {
                round.fail(Some(&self.key.project_id), &error);
                return Ok(false);
            }
        };
        if bad_rows > 0 {
            // The unreadable row may be a job that is known: it is not gone.
            let names: HashSet<Name> = jobs.iter().map(|job| job.name.clone()).collect();
            let held = self.jobs.jobs().unwrap_or_default();
            jobs.extend(
                held.iter()
                    .filter(|job| !names.contains(&job.name))
                    .cloned(),
            );
        }
        if self.job_emptiness.doubts(jobs.is_empty()) {
            let why = "the job list came back empty; the jobs known are kept until it is so again";
            if self.is_blind_to_jobs() {
                return Err(bad_body(&target, &why));
            }
            round.fail(Some(&self.key.project_id), &bad_body(&target, &why));
            return Ok(true);
        }
        self.cursor.has_jobs = true;
        if self.jobs.replace(jobs) {
            let jobs = self.jobs.jobs().unwrap_or_default().to_vec();
            round
                .batch
                .observations
                .push(Observation::Jobs(self.key.clone(), jobs));
        }
        Ok(true)
    }

    /// Reads the plans; says whether they could be read (or are not served).
    async fn read_plans(&mut self, round: &mut Round<'_>) -> bool {
        if round.is_over || self.plan_list.is_off(round.now) {
            return !round.is_over;
        }
        match self.read_plan_lists(round).await {
            Ok(()) => {
                self.plan_list.prove();
                true
            }
            Err(error) if error.is_absent() || error.kind() == ProblemKind::Forbidden => {
                self.plan_list
                    .turn_off(round, Some(&self.key.project_id), "plans", &error);
                true
            }
            Err(error) => {
                round.fail(Some(&self.key.project_id), &error);
                false
            }
        }
    }

    /// Plans that wait, however old, and then the newest ones, whatever became of them. Nothing is reported
    /// unless both were read: which plans wait is known by what is missing.
    async fn read_plan_lists(&mut self, round: &mut Round<'_>) -> Result<(), FetchError> {
        let plans = Target::new(&["projects", &self.key.project_id, "plans"]);
        let waiting = plans
            .clone()
            .with("status", "pending")
            .with("limit", WAITING_ROWS);
        let newest = plans.clone().with("limit", PLAN_ROWS).with("page", 1);
        let mut seen = BTreeMap::new();
        let seen_at = round.server_now();
        let first = self
            .read_plan_rows(&waiting, MAX_WAITING_PAGES, &mut seen, round)
            .await?;
        // What was read later says what is newer.
        let mut page = BTreeMap::new();
        let mut second = self.read_plan_rows(&newest, 1, &mut page, round).await?;
        if !second.is_whole && !second.is_newest_first {
            let all = plans.with("limit", ALL_ROWS);
            let read = self.read_plan_rows(&all, MAX_ALL_PAGES, &mut page, round);
            second = read.await?;
        }
        seen.append(&mut page);
        for plan in seen.values() {
            if self.plans.get(&plan.id) != Some(plan) {
                let observation = Observation::Plan(self.key.clone(), plan.clone());
                round.batch.observations.push(observation);
            }
        }
        let is_waiting = |plan: &&Plan| plan.is_waiting();
        let mut ids: BTreeSet<Name> = seen
            .values()
            .filter(is_waiting)
            .map(|plan| plan.id.clone())
            .collect();
        if first.bad_rows + second.bad_rows > 0 {
            // The unreadable row may be a plan that waits still.
            let unseen = self.waiting.iter().filter(|id| !seen.contains_key(*id));
            ids.extend(unseen.cloned());
        }
        self.plans = seen;
        if first.is_whole {
            self.waiting.clone_from(&ids);
            let waiting = WaitingPlans { at: seen_at, ids };
            round.batch.plans_waiting.insert(self.key.clone(), waiting);
        }
        Ok(())
    }

    async fn read_plan_rows(
        &self,
        target: &Target,
        max_pages: u32,
        seen: &mut BTreeMap<Name, Plan>,
        round: &mut Round<'_>,
    ) -> Result<PlansRead, FetchError> {
        let list = (target, Some(&self.key.project_id));
        let mut last_at = Timestamp::MAX;
        let mut is_newest_first = true;
        let read = round
            .list_within(target, max_pages, |body, memory| {
                memory.page::<PlanRow<'_>>(list, body, |row, memory| {
                    let plan = row.observe(&mut memory.names)?;
                    let id = plan.id.clone();
                    is_newest_first &= plan.created_at <= last_at;
                    last_at = plan.created_at;
                    seen.insert(id.clone(), plan);
                    Ok(id)
                })
            })
            .await?;
        Ok(PlansRead {
            bad_rows: read.bad_rows,
            is_whole: read.is_whole,
            is_newest_first,
        })
    }

    /// Some lists leave the error text to the run's details: reads those of failures among the
    /// observations from `news_at` on.
    async fn explain_failures(
        &mut self,
        news_at: usize,
        round: &mut Round<'_>,
    ) -> Result<(), FetchError> {
        let is_unexplained = |observation: &Observation| match observation {
            Observation::Run(_, run) if run.status.is_failure() && run.error.is_none() => {
                (!self.details.contains_key(&run.id)).then(|| (run.updated_at, run.id.clone()))
            }
            _ => None,
        };
        let news = round.batch.observations.iter().enumerate().skip(news_at);
        let mut unexplained: Vec<_> = news
            .filter_map(|(index, observation)| Some((is_unexplained(observation)?, index)))
            .collect();
        unexplained.sort_unstable_by(|a, b| b.cmp(a));
        for ((_, id), index) in unexplained.into_iter().take(DETAILS_PER_POLL) {
            if self.run_detail.is_off(round.now) {
                break;
            }
            let Some(detail) = self.read_detail(&id, round).await? else {
                continue;
            };
            if self.details.len() >= MAX_DETAILS {
                self.details.clear();
            }
            self.details.insert(id, detail.error.clone());
            if let Some(Observation::Run(_, run)) = round.batch.observations.get_mut(index) {
                run.error = detail.error;
            }
        }
        Ok(())
    }

    /// Asks for active runs that no list has mentioned for long.
    async fn recheck_active(&mut self, round: &mut Round<'_>) -> Result<(), FetchError> {
        let before = round.server_now() - RECHECK_AFTER;
        let due: Vec<Name> = self
            .active
            .iter()
            .filter(|(_, active)| active.checked_at <= before && !active.is_removed)
            .map(|(id, _)| id.clone())
            .take(RECHECKS_PER_POLL)
            .collect();
        for id in due {
            if self.run_detail.is_off(round.now) {
                break;
            }
            self.recheck(&id, round).await?;
        }
        Ok(())
    }

    async fn recheck(&mut self, id: &Name, round: &mut Round<'_>) -> Result<(), FetchError> {
        match self.read_detail(id, round).await? {
            Some(run) => {
                let server_at = round.server_now();
                self.take_run(
                    run,
                    (server_at, Timestamp::MIN),
                    round.memory,
                    &mut round.batch,
                );
            }
            None if self.is_removed(id, round).await? => self.report_removal(id, round),
            None => {}
        }
        Ok(())
    }

    /// Whether a run without details was removed on the server: details are served for another run of
    /// this poll (or were before, when it saw none), and asking once more brings nothing either.
    async fn is_removed(&mut self, id: &Name, round: &mut Round<'_>) -> Result<bool, FetchError> {
        if !self.run_detail.is_proven || self.run_detail.is_off(round.now) {
            return Ok(false);
        }
        if let Some(witness) = self.witness.clone().filter(|witness| witness != id)
            && self.read_detail(&witness, round).await?.is_none()
        {
            return Ok(false);
        }
        Ok(self.read_detail(id, round).await?.is_none() && !self.run_detail.is_off(round.now))
    }

    /// Nobody will ever say how the run ended: it is reported as removed, so that it is not active.
    fn report_removal(&mut self, id: &Name, round: &mut Round<'_>) {
        let Some(active) = self.active.get_mut(id) else {
            return;
        };
        active.is_removed = true;
        let mut run = active.run.clone();
        run.updated_at = round
            .server_now()
            .max(run.updated_at + Span::milliseconds(1));
        run.status = Status::Other(REMOVED.into());
        run.finished_at = None;
        let removed = Observation::Run(self.key.clone(), run);
        round.batch.observations.push(removed);
    }

    /// One run by itself; `None` if the server does not have it or does not serve details.
    async fn read_detail(
        &mut self,
        id: &Name,
        round: &mut Round<'_>,
    ) -> Result<Option<Run>, FetchError> {
        let target = Target::new(&["projects", &self.key.project_id, "runs", id]);
        let job_map = &round.settings.job_map;
        let error = match round.get(&target).await {
            Ok(answer) => {
                let row = wire::object::<RunRow<'_>>(&answer.body, "run");
                match row.map(|row| self.observe_run(&row, job_map, round.memory)) {
                    Ok(Ok(run)) if run.id == *id => {
                        self.run_detail.prove();
                        return Ok(Some(run));
                    }
                    Ok(Ok(_)) => bad_body(&target, &"it is about another run"),
                    Ok(Err(fault)) => bad_body(&target, &fault),
                    Err(error) => bad_body(&target, &error),
                }
            }
            Err(error) if error.is_absent() && self.run_detail.is_proven => return Ok(None),
            // Either nobody's details are served, or this run is gone: another one tells.
            Err(error) if error.is_absent() && self.is_served_for_witness(id, round).await? => {
                return Ok(None);
            }
            Err(error) => error,
        };
        match error.kind() {
            ProblemKind::Unauthorized
            | ProblemKind::RateLimited
            | ProblemKind::Timeout
            | ProblemKind::Connection => Err(error),
            _ => {
                self.run_detail
                    .turn_off(round, Some(&self.key.project_id), "run details", &error);
                Ok(None)
            }
        }
    }
}

impl Tracked {
    /// Details are served for a run that was just seen, other than `id`.
    async fn is_served_for_witness(
        &mut self,
        id: &Name,
        round: &mut Round<'_>,
    ) -> Result<bool, FetchError> {
        let Some(witness) = self.witness.clone().filter(|witness| witness != id) else {
            return Ok(false);
        };
        let target = Target::new(&["projects", &self.key.project_id, "runs", &witness]);
        match round.get(&target).await {
            Ok(answer) => {
                let is_served = wire::object::<RunRow<'_>>(&answer.body, "run").is_ok();
                if is_served {
                    self.run_detail.prove();
                }
                Ok(is_served)
            }
            Err(error) if error.is_absent() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A body that cannot be used.
pub(super) fn bad_body(target: &Target, why: &dyn std::fmt::Display) -> FetchError {
    FetchError::BadBody {
        place: target.place(),
        detail: why.to_string(),
    }
}
