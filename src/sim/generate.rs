//! Organizations grown from a seed: realistic ones, and very large ones for benches.

use super::habit::{Course, Failure, Habit, numbered, scaled};
use super::model::{
    JobChange, JobPlan, Member, Outcome, PlanRecord, PlannedExecution, PlannedRun, ProjectChange,
    ProjectKind, ProjectPlan, Protection,
};
use super::organization::Organization;
use super::random::Random;
use crate::engine::time::{Span, Timestamp};

/// Id of generated organizations.
pub const ORGANIZATION: &str = "org-acme";
/// Token of generated organizations.
pub const TOKEN: &str = "dctl_simulated";
/// Id of the only project of [`Organization::bulk`].
pub const BULK_PROJECT: &str = "proj_bulk";

const PROJECT_NAMES: [&str; 6] = [
    "finance",
    "growth",
    "product",
    "logistics",
    "people",
    "risk",
];
/// Name, schedule and typical minutes of the jobs that generated projects have, in this order.
const JOBS: [(&str, &str, i64); 8] = [
    ("hourly-orders", "0 * * * *", 9),
    ("nightly-refresh", "15 4 * * *", 55),
    ("quarter-hourly", "*/15 * * * *", 4),
    ("weekday-report", "30 13 * * 1-5", 12),
    ("half-hourly-sync", "7,37 * * * *", 6),
    ("six-hourly-snapshot", "20 */6 * * *", 25),
    ("sunday-rebuild", "0 2 * * 0", 140),
    ("bimonthly-close", "0 6 1,15 * *", 95),
];
const LAYERS: [&str; 3] = ["staging", "intermediate", "marts"];
const ENTITIES: [&str; 10] = [
    "orders",
    "payments",
    "customers",
    "refunds",
    "sessions",
    "events",
    "products",
    "invoices",
    "stock",
    "churn",
];
const FAILURE_RATE: f64 = 0.02;
const LATE_RATE: f64 = 0.01;

/// The size of a generated organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Projects, `SQLMesh` and dbt in turn.
    pub projects: usize,
    /// Jobs in each, without the janitor.
    pub jobs_per_project: usize,
    /// Models that each job refreshes.
    pub models_per_job: usize,
    /// Days of runs before `end_at`.
    pub days: i64,
    /// End of the runs. May lie in the simulator's future: what is not due yet is invisible.
    pub end_at: Timestamp,
}

impl Organization {
    /// A realistic organization: noise of about 10 %, seasons on some jobs, level shifts, 2 %
    /// failures, some late starts, one paused job, manual and janitor runs, and plans.
    pub fn seeded(seed: u64, shape: Shape) -> Self {
        let mut organization = Self::new(ORGANIZATION, TOKEN);
        let mut runs = Vec::new();
        for number in 0..shape.projects {
            let project = Growth::new(seed, shape, number);
            project.describe(&mut organization);
            project.schedule(&mut organization, &mut runs);
            project.intervene(&mut organization, &mut runs);
        }
        for (project, run) in numbered(runs) {
            organization.add_run(&project, run);
        }
        furnish(&mut organization, shape.end_at - Span::days(shape.days));
        organization
    }

    /// A very large history of one project ([`BULK_PROJECT`]): `runs` runs of `jobs` quarter-hourly
    /// jobs, all finished before `end_at`, with `executions_per_run` model executions each.
    pub fn bulk(
        seed: u64,
        runs: usize,
        executions_per_run: usize,
        jobs: usize,
        end_at: Timestamp,
    ) -> Self {
        let mut organization = Self::new(ORGANIZATION, TOKEN);
        organization.project(ProjectPlan::new(BULK_PROJECT, "bulk", ProjectKind::Sqlmesh));
        let jobs = jobs.max(1);
        let names: Vec<String> = (0..jobs).map(|job| format!("job-{job:04}")).collect();
        for name in &names {
            organization.job(BULK_PROJECT, JobPlan::new(name, "*/15 * * * *"));
        }
        let ticks = i64::try_from(runs.div_ceil(jobs)).unwrap_or(i64::MAX);
        let last = Timestamp::from_millis(end_at.as_millis().div_euclid(900_000) * 900_000);
        let first = last - Span::minutes(15) * i32::try_from(ticks).unwrap_or(i32::MAX);
        let mut random = Random::new(seed);
        organization.add_runs(
            BULK_PROJECT,
            (0..runs).map(|number| {
                let tick = i32::try_from(number / jobs).unwrap_or(i32::MAX);
                let at = first + Span::minutes(15) * tick;
                bulk_run(
                    &mut random,
                    number,
                    &names[number % jobs],
                    at,
                    executions_per_run,
                )
            }),
        );
        organization
    }
}

fn bulk_run(
    random: &mut Random,
    number: usize,
    job: &str,
    tick: Timestamp,
    executions: usize,
) -> PlannedRun {
    let at = tick + Span::milliseconds(random.between(0, 2_000));
    let duration = scaled(Span::minutes(4), random.noise(0.1));
    let mut run = PlannedRun::success(&format!("run_{number:07}"), job, at, duration);
    if random.chance(FAILURE_RATE) {
        run.status = Outcome::Failed;
        run.error = Some("audit not_null failed on marts.orders".to_owned());
    }
    let each = duration / i32::try_from(executions + 1).unwrap_or(i32::MAX);
    run.executions = (0..executions)
        .map(|model| {
            let started_at = at + each * i32::try_from(model).unwrap_or(i32::MAX);
            PlannedExecution {
                id: None,
                model: format!("marts.model_{model:03}"),
                started_at,
                finished_at: Some(started_at + each),
                status: Outcome::Success,
                error: None,
                rows: None,
            }
        })
        .collect();
    run
}

/// Members and protections, as every organization has them.
pub(super) fn furnish(organization: &mut Organization, created_at: Timestamp) {
    for (id, name, role) in [
        ("user_1", "Ada", "owner"),
        ("user_2", "Grace", "developer"),
        ("user_3", "Edsger", "reader"),
    ] {
        let email = format!("{}@example.com", name.to_lowercase());
        organization.member(Member {
            id: id.to_owned(),
            email,
            name: name.to_owned(),
            role: role.to_owned(),
        });
    }
    organization.protection(Protection {
        id: "prot_1".to_owned(),
        environment: "prod".to_owned(),
        enabled: true,
        created_at,
        changes: Vec::new(),
    });
}

/// A project being grown.
struct Growth {
    seed: u64,
    shape: Shape,
    number: usize,
    name: String,
    id: String,
    start_at: Timestamp,
}

impl Growth {
    fn new(seed: u64, shape: Shape, number: usize) -> Self {
        let base = PROJECT_NAMES[number % PROJECT_NAMES.len()];
        let round = number / PROJECT_NAMES.len();
        let name = if round == 0 {
            base.to_owned()
        } else {
            format!("{base}-{}", round + 1)
        };
        let id = format!("proj_{name}");
        Self {
            seed,
            shape,
            number,
            name,
            id,
            start_at: shape.end_at - Span::days(shape.days),
        }
    }

    fn kind(&self) -> ProjectKind {
        if self.number.is_multiple_of(2) {
            ProjectKind::Sqlmesh
        } else {
            ProjectKind::Dbt
        }
    }

    fn random(&self, part: &str) -> Random {
        Random::named(self.seed, &format!("{}/{part}", self.id))
    }

    fn describe(&self, organization: &mut Organization) {
        let mut plan = ProjectPlan::new(&self.id, &self.name, self.kind());
        plan.description = Some(format!("Models of {}", self.name));
        plan.commit = self.random("commit").hex(7);
        organization.project(plan);
    }

    fn schedule(&self, organization: &mut Organization, runs: &mut Vec<(String, PlannedRun)>) {
        for job in 0..self.shape.jobs_per_project {
            let habit = self.habit(job);
            let mut until = self.shape.end_at;
            organization.job(&self.id, habit.job.clone());
            if self.number == 0 && job > 0 && job + 1 == self.shape.jobs_per_project {
                until = self.start_at + (self.shape.end_at - self.start_at) * 3 / 5;
                organization.change_job(
                    &self.id,
                    &habit.job.name,
                    until,
                    JobChange::Enabled(false),
                );
            }
            self.run_job(&habit, until, runs);
        }
        if self.kind() == ProjectKind::Sqlmesh {
            let job = JobPlan {
                command: "sqlmesh janitor".to_owned(),
                ..JobPlan::new("janitor", "0 3 * * *")
            };
            organization.job(&self.id, job.clone());
            let habit = Habit {
                job_type: "janitor",
                ..Habit::new(&self.id, job, Span::minutes(2), &[])
            };
            self.run_job(&habit, self.shape.end_at, runs);
        }
    }

    fn habit(&self, number: usize) -> Habit {
        let (name, cron, minutes) = JOBS[number % JOBS.len()];
        let round = number / JOBS.len();
        let name = if round == 0 {
            name.to_owned()
        } else {
            format!("{name}-{}", round + 1)
        };
        let mut random = self.random(&name);
        let command = match self.kind() {
            ProjectKind::Sqlmesh => "sqlmesh run",
            ProjectKind::Dbt => "dbt build",
        };
        let job = JobPlan {
            command: command.to_owned(),
            ..JobPlan::new(&name, cron)
        };
        let models: Vec<String> = (0..self.shape.models_per_job)
            .map(|model| model_name(number, model))
            .collect();
        let names: Vec<&str> = models.iter().map(String::as_str).collect();
        let base = scaled(Span::minutes(minutes), random.noise(0.2));
        let mut habit = Habit::new(&self.id, job, base, &names);
        if random.chance(0.4) {
            habit.weekend = 0.6;
        }
        if random.chance(0.4) {
            habit.busy_hours = 1.3;
        }
        habit
    }

    fn run_job(&self, habit: &Habit, until: Timestamp, runs: &mut Vec<(String, PlannedRun)>) {
        let mut random = self.random(&format!("{}/runs", habit.job.name));
        let shift = Shift::roll(&mut random, self.start_at, self.shape, habit.models.len());
        for tick in habit.ticks(self.start_at, until) {
            let mut course = shift
                .as_ref()
                .map(|shift| shift.course(tick))
                .unwrap_or_default();
            if random.chance(LATE_RATE) {
                course.late = Span::seconds(random.between(120, 1_500));
            }
            if random.chance(FAILURE_RATE) {
                course.failure = Some(roll_failure(&mut random, &habit.models));
            }
            runs.push((self.id.clone(), habit.run(&mut random, tick, &course)));
        }
    }

    /// What people do: manual runs, and a plan every other day.
    fn intervene(&self, organization: &mut Organization, runs: &mut Vec<(String, PlannedRun)>) {
        let mut random = self.random("people");
        let habit = Habit {
            job_type: "run",
            ..self.habit(0)
        };
        for day in 0..self.shape.days {
            let at = self.start_at + Span::days(day) + Span::minutes(random.between(480, 1_080));
            if at < self.shape.end_at && self.shape.jobs_per_project > 0 {
                runs.push((
                    self.id.clone(),
                    habit.run(&mut random, at, &Course::default()).by_hand(),
                ));
            }
            if day % 2 == 1 {
                let at = at + Span::minutes(30);
                self.deploy(organization, runs, &mut random, day, at);
            }
        }
    }

    fn deploy(
        &self,
        organization: &mut Organization,
        runs: &mut Vec<(String, PlannedRun)>,
        random: &mut Random,
        day: i64,
        at: Timestamp,
    ) {
        let waits = Span::minutes(random.between(10, 180));
        let deployment = Deployment {
            group: format!("{}_{day:03}", self.name),
            message: format!("Tune models of {}", self.name),
            from: organization.project_commit(&self.id),
            to: random.hex(7),
            at,
            waits,
            executes: Span::minutes(6),
        };
        runs.push(deployment.carry_out(organization, &self.id));
    }
}

fn model_name(job: usize, model: usize) -> String {
    let layer = LAYERS[model % LAYERS.len()];
    let entity = ENTITIES[(job * 3 + model / LAYERS.len()) % ENTITIES.len()];
    let round = model / (LAYERS.len() * ENTITIES.len());
    if round == 0 {
        format!("{layer}.{entity}")
    } else {
        format!("{layer}.{entity}_{}", round + 1)
    }
}

fn roll_failure(random: &mut Random, models: &[(String, f64)]) -> Failure {
    let last = models.len().saturating_sub(1);
    let model = usize::try_from(random.between(0, i64::try_from(last).unwrap_or(0))).unwrap_or(0);
    let kind = random.fraction();
    match models.get(model) {
        Some((name, _)) if kind < 0.7 => {
            Failure::Model(model, format!("audit not_null failed on {name}"))
        }
        Some(_) if kind < 0.85 => Failure::Partial(format!("1 of {} models failed", models.len())),
        _ => Failure::Platform("pod could not be scheduled: insufficient memory".to_owned()),
    }
}

/// A level shift: for some days a job is slower, because of one model.
struct Shift {
    from: Timestamp,
    until: Timestamp,
    slow: f64,
    model: usize,
}

impl Shift {
    fn roll(random: &mut Random, start: Timestamp, shape: Shape, models: usize) -> Option<Self> {
        if models == 0 || shape.days < 4 || !random.chance(0.5) {
            return None;
        }
        let minutes = shape.days * 1_440;
        let from = start + Span::minutes(random.between(minutes / 4, minutes * 3 / 4));
        let until = from + Span::minutes(random.between(minutes / 20, minutes / 8));
        let model = random.between(0, i64::try_from(models - 1).unwrap_or(0));
        let slow = 1.4 + 0.8 * random.fraction();
        Some(Self {
            from,
            until,
            slow,
            model: usize::try_from(model).unwrap_or(0),
        })
    }

    fn course(&self, tick: Timestamp) -> Course {
        if tick < self.from || tick >= self.until {
            return Course::default();
        }
        Course {
            slow: self.slow,
            slow_model: Some(self.model),
            ..Course::default()
        }
    }
}

/// One plan from the explain step to the deployed commit.
#[derive(Clone, Debug)]
pub(super) struct Deployment {
    pub(super) group: String,
    pub(super) message: String,
    pub(super) from: String,
    pub(super) to: String,
    /// When the explain step starts.
    pub(super) at: Timestamp,
    /// How long it waits for approval.
    pub(super) waits: Span,
    /// How long the execute step takes.
    pub(super) executes: Span,
}

impl Deployment {
    /// Time the explain step takes.
    const EXPLAINS: Span = Span::minutes(2);

    /// Adds the records and the project's changes; returns the run of the execute step.
    pub(super) fn carry_out(
        &self,
        organization: &mut Organization,
        project: &str,
    ) -> (String, PlannedRun) {
        let pending = self.at + Self::EXPLAINS;
        let approved = pending + self.waits;
        let started = approved + Span::seconds(10);
        let done = started + self.executes;
        let record = |step: &str| {
            let id = format!("plan_{}_{step}", self.group);
            PlanRecord::new(
                &id,
                &format!("plangroup_{}", self.group),
                step,
                &self.message,
            )
            .commits(&self.from, &self.to)
        };
        organization
            .plan(
                project,
                record("explain")
                    .then(self.at, "running")
                    .then(pending, "pending")
                    .then(approved, "approved"),
            )
            .plan(
                project,
                record("execute")
                    .then(started, "running")
                    .then(done, "completed"),
            )
            .change_project(
                project,
                self.at - Span::minutes(8),
                ProjectChange::CommitsBehind(1, self.to.clone()),
            )
            .change_project(project, done, ProjectChange::Commit(self.to.clone()));
        let run = PlannedRun::success("", "", started, self.executes).by_hand();
        (
            project.to_owned(),
            PlannedRun {
                job_type: "plan".to_owned(),
                ..run
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn shape() -> Shape {
        let end_at = Timestamp::parse("2026-03-12T00:00:00Z").unwrap();
        Shape {
            projects: 2,
            jobs_per_project: 4,
            models_per_job: 5,
            days: 21,
            end_at,
        }
    }

    fn all_runs(organization: &Organization) -> Vec<PlannedRun> {
        organization
            .project_ids()
            .iter()
            .flat_map(|id| organization.planned_runs(id))
            .collect()
    }

    #[test]
    fn the_seed_decides_everything() {
        let runs = |seed| all_runs(&Organization::seeded(seed, shape()));
        assert_eq!(runs(1), runs(1));
        assert_ne!(runs(1), runs(2));
    }

    #[test]
    fn a_generated_organization_looks_real() {
        let runs = all_runs(&Organization::seeded(1, shape()));
        let share = |count: usize| count * 1_000 / runs.len();
        assert!(runs.len() > 4_000, "{}", runs.len());
        let bad = runs
            .iter()
            .filter(|run| run.status != Outcome::Success)
            .count();
        assert!((12..30).contains(&share(bad)), "{bad}");
        let kinds: BTreeSet<&str> = runs.iter().map(|run| run.job_type.as_str()).collect();
        assert_eq!(
            kinds.into_iter().collect::<Vec<_>>(),
            ["janitor", "plan", "run"]
        );
        let statuses: BTreeSet<&str> = runs.iter().map(|run| run.status.as_str()).collect();
        assert!(statuses.len() >= 4, "{statuses:?}");
        assert!(
            runs.iter()
                .any(|run| run.triggered_by == "manual" && run.job.is_none())
        );
        let ids: BTreeSet<&str> = runs.iter().map(|run| run.id.as_str()).collect();
        assert_eq!(ids.len(), runs.len());
    }

    #[test]
    fn the_paused_job_stops() {
        let organization = Organization::seeded(1, shape());
        let jobs = organization.planned_jobs("proj_finance");
        let paused = jobs.iter().find(|job| !job.changes.is_empty()).unwrap();
        let (at, _) = paused.changes[0];
        let runs = organization.planned_runs("proj_finance");
        let mut own = runs
            .iter()
            .filter(|run| run.job.as_deref() == Some(&paused.name))
            .peekable();
        assert!(own.peek().is_some());
        assert!(own.all(|run| run.created_at < at + Span::minutes(30)));
    }

    #[test]
    fn bulk_histories_have_the_size_asked_for() {
        let end_at = shape().end_at;
        let organization = Organization::bulk(1, 1_003, 3, 10, end_at);
        let runs = organization.planned_runs(BULK_PROJECT);
        assert_eq!(runs.len(), 1_003);
        assert!(
            runs.iter()
                .all(|run| run.executions.len() == 3 && run.finished_at < Some(end_at))
        );
        assert_eq!(organization.planned_jobs(BULK_PROJECT).len(), 10);
    }
}
