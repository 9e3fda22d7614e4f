//! The dagctl source against the simulator: every shape the API may have and every fault a network may
//! have end in the same knowledge, and nothing is ever claimed that is not known.

#[path = "support/source/absence.rs"]
mod absence;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tardy::engine::labels::Patterns;
use tardy::engine::observation::{
    Averaged, DayAverage, Execution, Observation, ProjectKey, Run, Status,
};
use tardy::engine::time::{Span, Timestamp};
use tardy::sim::variant::{Aggregates, Nulls};
use tardy::sim::{
    Fault, Faults, Garbage, JobPlan, Organization, Outcome, PlanRecord, PlannedExecution,
    PlannedRun, ProjectKind, ProjectPlan, Protection, Running, Shape, SimClock, Variant, serve,
};
use tardy::source::dagctl::{Dagctl, DagctlSettings, MAX_BODY_BYTES, Retry, Timeouts};
use tardy::source::{Batch, Cursor, ProblemKind, Source as _};

fn begin() -> Timestamp {
    Timestamp::parse("2026-03-12T06:00:00Z").unwrap()
}

/// More than a page of runs in each of two projects, and two hours of things to come.
fn organization(seed: u64, days: i64) -> Organization {
    let end_at = begin() + Span::hours(2);
    let (projects, jobs_per_project, models_per_job) = (2, 4, 3);
    Organization::seeded(
        seed,
        Shape {
            projects,
            jobs_per_project,
            models_per_job,
            days,
            end_at,
        },
    )
}

/// Just more than a page of runs in one project.
fn small_organization(seed: u64) -> Organization {
    let end_at = begin() + Span::hours(2);
    let (projects, jobs_per_project, models_per_job, days) = (1, 3, 1, 5);
    Organization::seeded(
        seed,
        Shape {
            projects,
            jobs_per_project,
            models_per_job,
            days,
            end_at,
        },
    )
}

async fn simulate(organization: Organization, variant: Variant) -> Running {
    let listen = "127.0.0.1:0".parse().unwrap();
    serve(
        organization,
        SimClock::new(begin()),
        Faults::new(),
        variant,
        listen,
    )
    .await
    .unwrap()
}

fn settings(running: &Running) -> DagctlSettings {
    let (token, organization) = running
        .organization
        .read(|o| (o.token().to_owned(), o.id().to_owned()));
    DagctlSettings {
        name: "prod".into(),
        base_url: running.base_url().parse().unwrap(),
        organization,
        token: token.into(),
        projects: Patterns::default(),
        backfill: Span::days(60),
        job_map: BTreeMap::new(),
        timeouts: Timeouts {
            connect: Duration::from_secs(2),
            total: Duration::from_secs(10),
        },
        retry: Retry {
            base_delay: Duration::from_millis(1),
            max_retries: 2,
            budget: Duration::from_secs(20),
        },
    }
}

/// All that a reader of the batches knows: of each row, the newest observation.
#[derive(Default)]
struct Known {
    runs: BTreeMap<(String, String), Run>,
    executions: BTreeMap<(String, String), Execution>,
    coverage: BTreeMap<ProjectKey, Timestamp>,
    cursors: BTreeMap<ProjectKey, Cursor>,
    kinds: BTreeSet<ProblemKind>,
}

impl Known {
    fn take(&mut self, batch: Batch) {
        for observation in batch.observations {
            let Some(project) = observation.project() else {
                continue;
            };
            let project = project.project_id.to_string();
            match observation {
                Observation::Run(_, run) => {
                    let held = self.runs.entry((project, run.id.to_string()));
                    let held = held.or_insert_with(|| run.clone());
                    if run.updated_at >= held.updated_at {
                        *held = run;
                    }
                }
                Observation::Execution(_, execution) => {
                    let held = self.executions.entry((project, execution.id.to_string()));
                    let held = held.or_insert_with(|| execution.clone());
                    if execution.updated_at >= held.updated_at {
                        *held = execution;
                    }
                }
                Observation::Project(_)
                | Observation::ProjectGone(_)
                | Observation::Jobs(..)
                | Observation::Plan(..)
                | Observation::Averages(..)
                | Observation::Protections(..) => {}
            }
        }
        for (key, at) in batch.coverage {
            let held = self.coverage.entry(key).or_insert(at);
            *held = at.max(*held);
        }
        self.cursors.extend(batch.cursors);
        for problem in &batch.problems {
            assert!(
                problem.message.chars().count() <= 500,
                "{}",
                problem.message
            );
            self.kinds.insert(problem.kind);
        }
    }

    /// Polls until nothing more is waiting; says whether the last poll was complete.
    async fn poll(&mut self, client: &mut Dagctl, now: Timestamp) -> bool {
        for _ in 0..2_000 {
            let batch = client.poll(now).await;
            let (has_more, is_complete) = (batch.has_more, batch.is_complete);
            self.take(batch);
            if !has_more {
                return is_complete;
            }
        }
        panic!("the backfill does not end");
    }

    /// Whatever the source says it knows, it knows.
    fn assert_covered(&self, running: &Running, context: &str) {
        let now = running.clock.now();
        for (key, covered_at) in &self.coverage {
            assert!(
                *covered_at <= now,
                "{context}: coverage {covered_at} is ahead of {now}"
            );
            for planned in running
                .organization
                .read(|o| o.planned_runs(&key.project_id))
            {
                let Some(truth) = visible(&planned, *covered_at) else {
                    continue;
                };
                let id = (key.project_id.to_string(), planned.id.clone());
                let Some(known) = self.runs.get(&id) else {
                    panic!(
                        "{context}: {id:?} of {} is not known at {covered_at}",
                        truth.updated_at
                    );
                };
                assert!(
                    known.updated_at >= truth.updated_at,
                    "{context}: {id:?} is known as of {}, but covered until {covered_at}",
                    known.updated_at
                );
            }
        }
    }

    /// Everything is known exactly as it is.
    fn assert_all(&self, running: &Running, context: &str) {
        let now = running.clock.now();
        let (mut runs, mut executions) = (BTreeMap::new(), BTreeMap::new());
        for project in running.organization.read(Organization::project_ids) {
            for planned in running.organization.read(|o| o.planned_runs(&project)) {
                let Some(run) = visible(&planned, now) else {
                    continue;
                };
                for (index, execution) in planned.executions.iter().enumerate() {
                    if let Some(seen) = visible_execution(&planned, index, execution, now) {
                        executions.insert((project.clone(), seen.id.to_string()), seen);
                    }
                }
                runs.insert((project.clone(), planned.id.clone()), run);
            }
        }
        let variant = &running.variant;
        let known_runs = self
            .runs
            .iter()
            .map(|(id, run)| (id.clone(), comparable(run, variant)));
        assert_same(&known_runs.collect(), &comparables(runs, variant), context);
        if variant.executions_key.is_some() {
            let serves_rows = variant.execution_rows_field.is_some();
            let known = self.executions.iter().map(|(id, known)| {
                // Counts are made up where a plan names none.
                let is_counted = serves_rows && known.status == Status::Success;
                assert_eq!(known.rows.is_some(), is_counted, "{context}: {known:?}");
                let rows = None;
                (
                    id.clone(),
                    Execution {
                        rows,
                        ..known.clone()
                    },
                )
            });
            assert_same(&known.collect(), &executions, context);
        }
    }
}

fn assert_same<T: PartialEq + std::fmt::Debug>(
    known: &BTreeMap<(String, String), T>,
    truth: &BTreeMap<(String, String), T>,
    context: &str,
) {
    for (id, expected) in truth {
        assert_eq!(known.get(id), Some(expected), "{context}: {id:?}");
    }
    assert_eq!(
        known.len(),
        truth.len(),
        "{context}: rows that do not exist"
    );
}

fn comparables(
    runs: BTreeMap<(String, String), Run>,
    variant: &Variant,
) -> BTreeMap<(String, String), Run> {
    runs.into_iter()
        .map(|(id, run)| (id, comparable(&run, variant)))
        .collect()
}

/// Without what the variant does not say: error texts, and the jobs behind prefixed names (a job that
/// was removed cannot be told from its prefix).
fn comparable(run: &Run, variant: &Variant) -> Run {
    let mut run = run.clone();
    if !variant.list_has_error {
        run.error = None;
    }
    run.job = run.job.map(|job| {
        job.strip_prefix(variant.cronjob_prefix)
            .map_or_else(|| job.clone(), Into::into)
    });
    run
}

/// The run as it is at `now`, by the simulator's rules, written a second time.
fn visible(planned: &PlannedRun, now: Timestamp) -> Option<Run> {
    let passed = |at: Option<Timestamp>| at.filter(|at| *at <= now);
    passed(Some(planned.created_at))?;
    let (started, finished) = (passed(planned.started_at), passed(planned.finished_at));
    let mut run = Run {
        id: planned.id.as_str().into(),
        job: planned.job.as_deref().map(Into::into),
        job_type: planned.job_type.as_str().into(),
        status: if started.is_some() {
            Status::Running
        } else {
            Status::Pending
        },
        triggered_by: planned.triggered_by.as_str().into(),
        created_at: planned.created_at,
        started_at: started,
        finished_at: finished,
        updated_at: started.unwrap_or(planned.created_at),
        error: None,
    };
    if let Some(at) = finished {
        run.status = Status::from_word(planned.status.as_str());
        run.error = planned.error.as_deref().map(Into::into);
        run.updated_at = at;
    }
    for amendment in planned.later.iter().filter(|amendment| amendment.at <= now) {
        run.status = Status::from_word(amendment.status.as_str());
        run.error = amendment.error.as_deref().map(Into::into);
        run.updated_at = amendment.at;
    }
    Some(run)
}

fn visible_execution(
    run: &PlannedRun,
    index: usize,
    planned: &PlannedExecution,
    now: Timestamp,
) -> Option<Execution> {
    if planned.started_at > now {
        return None;
    }
    let finished = planned.finished_at.filter(|at| *at <= now);
    let made_id = format!(
        "mex_{}_{index}",
        run.id.strip_prefix("run_").unwrap_or(&run.id)
    );
    Some(Execution {
        id: planned.id.clone().unwrap_or(made_id).into(),
        run_id: Some(run.id.as_str().into()),
        model: planned.model.as_str().into(),
        status: finished.map_or(Status::Running, |_| {
            Status::from_word(planned.status.as_str())
        }),
        started_at: Some(planned.started_at),
        finished_at: finished,
        updated_at: finished.unwrap_or(planned.started_at),
        rows: None,
        error: planned
            .error
            .as_deref()
            .filter(|_| finished.is_some())
            .map(Into::into),
    })
}

#[tokio::test]
async fn every_variant_ends_in_the_same_knowledge() {
    for variant in Variant::with_runs() {
        let context = format!("variant {} ({})", variant.number, variant.describe());
        let running = simulate(organization(7, 10), variant).await;
        let mut client = Dagctl::resume(settings(&running), BTreeMap::new()).unwrap();
        let mut known = Known::default();
        assert!(
            known.poll(&mut client, begin()).await,
            "{context}: {:?}",
            known.kinds
        );
        known.assert_all(&running, &context);
        assert_eq!(known.coverage.len(), 2, "{context}");
        for step in [1, 1, 29, 60, 600, 900, 1_800] {
            let now = running.clock.advance(Span::seconds(step));
            assert!(
                known.poll(&mut client, now).await,
                "{context}: {:?}",
                known.kinds
            );
            known.assert_covered(&running, &context);
            known.assert_all(&running, &context);
            for covered_at in known.coverage.values() {
                assert_eq!(now.since(*covered_at), Span::seconds(2), "{context}");
            }
        }
        assert_eq!(running.faults.other_methods(), 0, "only GET");
        let odd = known.kinds.iter().any(|kind| kind.is_blinding());
        assert!(!odd, "{context}: {:?}", known.kinds);
    }
}

#[tokio::test]
async fn failures_are_explained_even_when_the_list_is_silent() {
    let variant = Variant::number(4);
    assert!(!variant.list_has_error);
    let running = simulate(Organization::new("org-1", "dctl_x"), variant).await;
    let failed = PlannedRun::failure(
        "run_1",
        "hourly",
        begin() + Span::minutes(1),
        Span::minutes(2),
        "disk full",
    );
    running.organization.edit(|o| {
        o.add_run("p1", failed);
    });
    let mut client = Dagctl::resume(settings(&running), BTreeMap::new()).unwrap();
    let mut known = Known::default();
    known.poll(&mut client, begin()).await;
    let now = running.clock.advance(Span::minutes(4));
    assert!(known.poll(&mut client, now).await);
    let run = &known.runs[&("p1".to_owned(), "run_1".to_owned())];
    assert_eq!(run.error.as_deref(), Some("disk full"));
    let now = running.clock.advance(Span::seconds(1));
    assert!(client.poll(now).await.observations.is_empty(), "said once");
    assert_eq!(running.faults.count("/runs/run_1"), 1);
}

/// One of each, without real waiting.
fn faults() -> Vec<Fault> {
    let mut faults: Vec<Fault> = Fault::samples()
        .into_iter()
        .map(|fault| match fault {
            Fault::Status(code, Some(_)) => Fault::Status(code, Some(0)),
            fault => fault,
        })
        .collect();
    faults.extend([
        Fault::Status(301, None),
        Fault::Status(400, None),
        Fault::Status(429, None),
        Fault::ShiftPages(-3),
        Fault::HugeBody(MAX_BODY_BYTES + 1),
    ]);
    faults
}

/// The fault misleads: while it lasts, no client can be right.
fn is_deceit(fault: &Fault) -> bool {
    matches!(fault, Fault::ClockSkew(_) | Fault::GarbageRow(_))
}

async fn survive_everything_at(place: &str) {
    for fault in faults() {
        for times in [1, 3, usize::MAX] {
            if times == 1 || !is_deceit(&fault) {
                let context = format!("{fault:?} at {place}, {times} times");
                survive(&fault, place, times, &context).await;
            }
        }
    }
}

#[tokio::test]
async fn faults_of_the_project_list_delay_and_never_falsify() {
    survive_everything_at("/projects?").await;
}

#[tokio::test]
async fn faults_of_jobs_delay_and_never_falsify() {
    survive_everything_at("/jobs").await;
}

#[tokio::test]
async fn faults_of_plans_delay_and_never_falsify() {
    survive_everything_at("/plans").await;
}

#[tokio::test]
async fn faults_of_runs_delay_and_never_falsify() {
    survive_everything_at("/runs?").await;
}

#[tokio::test]
async fn faults_of_second_pages_delay_and_never_falsify() {
    survive_everything_at("page=2").await;
}

#[tokio::test]
async fn faults_of_executions_delay_and_never_falsify() {
    survive_everything_at("/model-executions").await;
}

async fn survive(fault: &Fault, place: &str, times: usize, context: &str) {
    let running = simulate(small_organization(7), Variant::number(0)).await;
    let mut client = Dagctl::resume(settings(&running), BTreeMap::new()).unwrap();
    let mut known = Known::default();
    running.faults.inject_times(place, fault.clone(), times);
    for step in [0, 60, 61, 300] {
        let now = running.clock.advance(Span::seconds(step));
        known.poll(&mut client, now).await;
        known.assert_covered(&running, context);
    }
    running.faults.calm();
    // Two hours on, whatever was resting is asked again.
    let now = running.clock.advance(Span::hours(2));
    known.poll(&mut client, now).await;
    let now = running.clock.advance(Span::seconds(31));
    assert!(
        known.poll(&mut client, now).await,
        "{context}: {:?}",
        known.kinds
    );
    known.assert_covered(&running, context);
    known.assert_all(&running, context);
}

#[tokio::test]
async fn random_faults_and_restarts_end_in_full_knowledge() {
    for seed in 0..12 {
        let context = format!("seed {seed}");
        let variants: Vec<Variant> = Variant::with_runs().collect();
        let variant = variants[usize::try_from(seed).unwrap() % variants.len()].clone();
        let running = simulate(small_organization(seed), variant).await;
        let moderate: Vec<Fault> = faults().into_iter().filter(|f| !is_deceit(f)).collect();
        running.faults.random(seed, 0.15, moderate);
        let mut known = Known::default();
        let mut client = Dagctl::resume(settings(&running), BTreeMap::new()).unwrap();
        for step in 0..40 {
            let now = running.clock.advance(Span::seconds(75));
            let batch = client.poll(now).await;
            known.take(batch);
            known.assert_covered(&running, &context);
            if step % 7 == 6 {
                // A crash: only what was stored remains.
                client = Dagctl::resume(settings(&running), known.cursors.clone()).unwrap();
            }
        }
        running.faults.calm();
        let now = running.clock.advance(Span::hours(2));
        known.poll(&mut client, now).await;
        let now = running.clock.advance(Span::seconds(31));
        assert!(
            known.poll(&mut client, now).await,
            "{context}: {:?}",
            known.kinds
        );
        known.assert_all(&running, &context);
    }
}

/// Rows appear and change while pages are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_moves_while_it_is_read_loses_nothing() {
    for number in [0, 1, 2] {
        let running = simulate(organization(3, 12), Variant::number(number)).await;
        let clock = running.clock.clone();
        let moving = tokio::spawn(async move {
            loop {
                clock.advance(Span::seconds(1));
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let mut client = Dagctl::resume(settings(&running), BTreeMap::new()).unwrap();
        let mut known = Known::default();
        for _ in 0..20 {
            let batch = client.poll(running.clock.now()).await;
            known.take(batch);
            known.assert_covered(&running, &format!("variant {number}"));
        }
        moving.abort();
        let _ = moving.await;
        known.poll(&mut client, running.clock.now()).await;
        known.assert_all(&running, &format!("variant {number}"));
    }
}

#[tokio::test]
async fn a_foreign_organization_or_token_is_refused_plainly() {
    let running = simulate(organization(1, 1), Variant::number(3)).await;
    let mut wrong = settings(&running);
    wrong.token = "dctl_wrong".into();
    let batch = Dagctl::resume(wrong, BTreeMap::new())
        .unwrap()
        .poll(begin())
        .await;
    assert_eq!(batch.problems.len(), 1);
    assert_eq!(batch.problems[0].kind, ProblemKind::Unauthorized);
    assert!(!format!("{batch:?}").contains("dctl_wrong"));
    let mut wrong = settings(&running);
    wrong.organization = "org-other".to_owned();
    let batch = Dagctl::resume(wrong, BTreeMap::new())
        .unwrap()
        .poll(begin())
        .await;
    assert!(!batch.is_complete && batch.coverage.is_empty());
    assert!(batch.problems[0].kind.is_blinding());
}

#[tokio::test]
async fn damaged_rows_are_read_again() {
    for garbage in [
        Garbage::MissingId,
        Garbage::UnknownStatus,
        Garbage::WrongTypes,
        Garbage::NotAnObject,
    ] {
        let running = simulate(organization(5, 3), Variant::number(0)).await;
        running.faults.inject("/runs?", Fault::GarbageRow(garbage));
        let mut client = Dagctl::resume(settings(&running), BTreeMap::new()).unwrap();
        let mut known = Known::default();
        assert!(known.poll(&mut client, begin()).await);
        known.assert_all(&running, &format!("{garbage:?}"));
        let noted = [ProblemKind::BadRow, ProblemKind::UnknownStatus];
        assert!(
            noted.iter().any(|kind| known.kinds.contains(kind)),
            "{garbage:?}"
        );
    }
}

/// One machine behind the name has a clock that is an hour ahead.
#[tokio::test]
async fn one_wrong_clock_among_many_claims_nothing() {
    let running = simulate(small_organization(2), Variant::number(0)).await;
    let mut client = Dagctl::resume(settings(&running), BTreeMap::new()).unwrap();
    let mut known = Known::default();
    known.poll(&mut client, begin()).await;
    for hours in [1, -1] {
        running
            .faults
            .inject("/runs?", Fault::ClockSkew(Span::hours(hours)));
        let now = running.clock.advance(Span::minutes(1));
        let batch = client.poll(now).await;
        assert!(
            batch.skew.unwrap().abs() < Span::seconds(2),
            "{hours}: {:?}",
            batch.skew
        );
        known.take(batch);
        known.assert_covered(&running, "one wrong clock");
    }
    // A server whose clock was set is believed at the second poll.
    running.faults.set_skew(Span::hours(1));
    for (minute, expected) in [(1, 0), (2, 1)] {
        let now = running.clock.advance(Span::minutes(1));
        let covered_at = client
            .poll(now)
            .await
            .coverage
            .values()
            .copied()
            .max()
            .unwrap();
        let ahead = covered_at - now - Span::hours(expected);
        assert!(ahead.abs() < Span::seconds(4), "minute {minute}: {ahead}");
    }
}

/// After a restart the jobs are asked for first: a run whose job is named otherwise would be another job's.
#[tokio::test]
async fn runs_are_not_read_before_the_jobs_that_were_known_are_listed_again() {
    let prefixed = Variant::with_runs().find(|known| !known.cronjob_prefix.is_empty());
    for fault in [
        Fault::Status(404, None),
        Fault::Status(403, None),
        Fault::EmptyOk,
    ] {
        let running = simulate(small_organization(4), prefixed.clone().unwrap()).await;
        let mut client = Dagctl::resume(settings(&running), BTreeMap::new()).unwrap();
        let mut known = Known::default();
        while !known.poll(&mut client, running.clock.now()).await {}
        let mut client = Dagctl::resume(settings(&running), known.cursors.clone()).unwrap();
        running.faults.inject_times("/jobs", fault.clone(), 10);
        let blind = client.poll(running.clock.advance(Span::minutes(10))).await;
        let is_run = |fact: &Observation| matches!(fact, Observation::Run(..));
        assert!(!blind.observations.iter().any(is_run), "{fault:?}");
        assert!(blind.coverage.is_empty() && !blind.is_complete, "{fault:?}");
        running.faults.calm();
        let now = running.clock.advance(Span::minutes(1));
        known.poll(&mut client, now).await;
        known.assert_all(&running, &format!("{fault:?}"));
    }
}

/// The speed bar, the simulator's own work included: `cargo test --release --test source -- --ignored`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, meaningful in release builds only"]
async fn a_hundred_thousand_runs_are_read_quickly() {
    let organization = Organization::bulk(1, 100_000, 0, 50, begin());
    let running = simulate(organization, Variant::number(0)).await;
    let mut settings = settings(&running);
    settings.backfill = Span::days(36_500);
    let mut client = Dagctl::resume(settings, BTreeMap::new()).unwrap();
    let started = std::time::Instant::now();
    let (mut rows, mut polls) = (0, 0);
    loop {
        let batch = client.poll(begin()).await;
        let is_run = |observation: &&Observation| matches!(observation, Observation::Run(..));
        rows += batch.observations.iter().filter(is_run).count();
        polls += 1;
        if !batch.has_more {
            assert!(batch.is_complete, "{:?}", batch.problems);
            break;
        }
    }
    let elapsed = started.elapsed();
    assert_eq!(rows, 100_000);
    assert!(
        elapsed < Duration::from_millis(400),
        "{rows} runs in {polls} polls took {elapsed:?}"
    );
}

/// What is told of plans and protections, as text: the newest row of each plan, which wait, and the list.
#[derive(Default)]
struct Governance {
    plans: BTreeMap<String, String>,
    waiting: Vec<String>,
    protections: Option<String>,
    off: Vec<String>,
}

impl Governance {
    async fn poll(&mut self, client: &mut Dagctl, now: Timestamp) {
        let batch = client.poll(now).await;
        assert!(batch.is_complete, "{:?}", batch.problems);
        for observation in batch.observations {
            match observation {
                Observation::Plan(_, plan) => {
                    let more = if plan.is_superseded {
                        " superseded"
                    } else {
                        ""
                    };
                    let words = format!("{}{more}", plan.status);
                    self.plans.insert(plan.id.to_string(), words);
                }
                Observation::Protections(_, list) => {
                    let on = list
                        .iter()
                        .map(|p| format!("{}={}", p.environment, p.is_enabled));
                    self.protections = Some(on.collect::<Vec<_>>().join(" "));
                }
                _ => {}
            }
        }
        for seen in batch.plans_waiting.into_values() {
            self.waiting = seen.ids.iter().map(ToString::to_string).collect();
        }
        let off = batch
            .problems
            .into_iter()
            .filter(|p| p.kind == ProblemKind::FeatureOff);
        self.off.extend(off.map(|problem| problem.message));
    }
}

/// An old plan that waits behind thirty newer ones, and an environment that loses its protection.
fn governed() -> Organization {
    let mut organization = Organization::new("org-1", "dctl_x");
    let minute = |n: i64| begin() + Span::minutes(n);
    let record = |id: &str| PlanRecord::new(id, &format!("group_{id}"), "explain", "Add refunds");
    let old = record("old").then(minute(-900), "running");
    let old = old.then(minute(-890), "pending");
    organization.plan("p1", old.then(minute(20), "approved"));
    for number in 0..30 {
        let id = format!("new{number:02}");
        organization.plan("p1", record(&id).then(minute(-600 + number), "completed"));
    }
    let mut overtaken = record("overtaken").then(minute(-5), "pending");
    overtaken.auto_discarded = true;
    organization.plan("p1", overtaken.then(minute(10), "rejected"));
    organization.protection(Protection {
        id: "prot_1".into(),
        environment: "prod".into(),
        enabled: true,
        created_at: minute(-900),
        changes: vec![(minute(10), false)],
    });
    organization
}

#[tokio::test]
async fn plans_and_protections_are_known_in_every_variant() {
    for variant in Variant::with_runs() {
        let context = format!("variant {} ({})", variant.number, variant.describe());
        let is_listed = variant.protections_allowed && variant.protections_key.is_some();
        let running = simulate(governed(), variant).await;
        let mut client = Dagctl::resume(settings(&running), BTreeMap::new()).unwrap();
        let mut known = Governance::default();
        known.poll(&mut client, begin()).await;
        assert_eq!(known.waiting, ["old", "overtaken"], "{context}");
        let prod = |is_on: bool| is_listed.then(|| format!("prod={is_on}"));
        assert_eq!(known.protections, prod(true), "{context}");

        let now = running.clock.advance(Span::minutes(15));
        known.poll(&mut client, now).await;
        assert_eq!(known.waiting, ["old"], "{context}");
        assert_eq!(known.protections, prod(false), "{context}");
        assert_eq!(known.plans["overtaken"], "rejected superseded", "{context}");

        let now = running.clock.advance(Span::minutes(15));
        known.poll(&mut client, now).await;
        assert!(known.waiting.is_empty(), "{context}");
        assert_eq!(known.plans["new29"].as_str(), "completed", "{context}");
        let protections = known.off.iter().filter(|why| why.contains("protections"));
        assert_eq!(
            protections.count(),
            usize::from(!is_listed),
            "{context}: {:?}",
            known.off
        );
    }
}

/// An hourly job with a model that takes a little longer every day.
fn hourly() -> Organization {
    let mut organization = Organization::new("org-1", "dctl_x");
    organization.project(ProjectPlan::new("p1", "finance", ProjectKind::Sqlmesh));
    organization.job("p1", JobPlan::new("hourly", "0 * * * *"));
    for hour in 0..40 * 24 {
        let at = begin() - Span::hours(40 * 24 - hour);
        let took = Span::seconds(60 + hour / 24 * 3 + hour % 5);
        let run = PlannedRun::success(&format!("run{hour}"), "hourly", at, took + took);
        organization.add_run(
            "p1",
            run.with_model("marts.orders", took, Outcome::Success, None),
        );
    }
    organization
}

/// Mean milliseconds by day of what starts in it, from the plan.
fn daily(spans: impl Iterator<Item = (Timestamp, Span)>) -> BTreeMap<String, (u64, i64)> {
    let mut days: BTreeMap<String, (u64, i64)> = BTreeMap::new();
    for (at, took) in spans {
        let day = days.entry(at.to_string()[..10].to_owned()).or_default();
        *day = (day.0 + 1, day.1 + took.num_milliseconds());
    }
    let last = "2026-02-10".to_owned()..="2026-03-11".to_owned();
    days.retain(|day, _| last.contains(day));
    for (count, millis) in days.values_mut() {
        *millis /= i64::try_from(*count).unwrap();
    }
    days
}

#[tokio::test]
async fn daily_averages_are_known_where_nothing_else_is_served() {
    let named = Variant {
        aggregates: Aggregates::Named,
        nulls: Nulls::Explicit,
        ..Variant::number(8)
    };
    for variant in [Variant::number(8), Variant::number(9), named] {
        let context = format!("{variant:?}");
        let reads_runs = variant.runs_allowed;
        let organization = hourly();
        let planned = organization.planned_runs("p1");
        let running = simulate(organization, variant).await;
        let mut client = Dagctl::resume(settings(&running), BTreeMap::new()).unwrap();
        let mut known: BTreeMap<(Averaged, String), (u64, i64)> = BTreeMap::new();
        let mut told = 0;
        for poll in 0..16 {
            let now = running.clock.advance(Span::minutes(1));
            let batch = client.poll(now).await;
            assert_eq!(batch.is_complete, reads_runs, "{context}");
            for observation in batch.observations {
                if let Observation::Averages(_, list) = observation {
                    told += 1;
                    for DayAverage {
                        of,
                        day,
                        count,
                        millis,
                    } in list
                    {
                        let average = (count.unwrap(), i64::try_from(millis).unwrap());
                        known.insert((of, day.to_string()), average);
                    }
                }
            }
            if poll == 8 && !reads_runs {
                client = Dagctl::resume(settings(&running), batch.cursors).unwrap();
            }
        }
        let of_model = |run: &PlannedRun| {
            let execution = &run.executions[0];
            let took = execution.finished_at.unwrap() - execution.started_at;
            (execution.started_at, took)
        };
        let wanted = daily(planned.iter().map(of_model));
        let runs = daily(planned.iter().map(|run| {
            let took = run.finished_at.unwrap() - run.created_at;
            (run.created_at, took)
        }));
        let model = Averaged::Model("marts.orders".into());
        let mut all: BTreeMap<_, _> = wanted
            .into_iter()
            .map(|(day, average)| ((model.clone(), day), average))
            .collect();
        if !reads_runs {
            let runs = runs.into_iter();
            all.extend(runs.map(|(day, average)| ((Averaged::Runs, day), average)));
        }
        assert_eq!(known, all, "{context}");
        assert_eq!(told, if reads_runs { 1 } else { 2 }, "{context}: once");
    }
}
