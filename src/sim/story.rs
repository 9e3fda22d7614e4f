//! The demo's story: one dramatic day after five calm weeks.
//!
//! The timetable is the same for every seed (noise differs). All instants UTC, Thursday 12 March 2026;
//! New York is on daylight time (UTC-4) since 8 March. Times of runs are within seconds of the tick.
//!
//! | when | what |
//! |---|---|
//! | 05:00 | watching begins; every job's last run was a success, nothing is late |
//! | 06:00, 07:00 | `hourly-orders` fails after some 5 minutes: an audit of `marts.orders`; `marts.revenue` and `marts.refunds` are skipped |
//! | 06:30 to 12:50:10 | `growth` is one commit behind; its plan waits for approval from 06:40 to 12:40 |
//! | 08:00 | `hourly-orders` succeeds again (ends about 08:09) |
//! | 08:10 | `campaign-costs` has no run for this tick; the next one, 09:10, is there |
//! | 09:33 | `nightly-refresh`, due 09:15, starts 18 minutes late |
//! | 09:30 to 09:52:10 | `finance` is one commit behind; its plan waits from 09:40 to 09:48 and completes: commit `8be21d4` |
//! | 10:00 to 12:45 | twelve runs of `quarter-hourly` take 1.7 times as long; `staging.fx_rates` takes all of it |
//! | 11:00 | 07:00 in New York: the deadline of `nightly-refresh`, which normally ends about 10:10, passes |
//! | 11:42 | `nightly-refresh` succeeds, 42 minutes late |
//! | 12:20 | `attribution` starts and overruns: 75 minutes instead of 30; it ends about 13:35 |
//! | 12:25 to 12:52:10 | the fix of `finance` waits from 12:35 to 12:44 and completes: commit `c77e0f3`; `quarter-hourly` is as before from 13:00 |
//! | 13:10 | `campaign-costs` is due, and starts at 13:35, 25 minutes late |
//! | 12:26 to 12:58 | somebody switches the protection of `prod` off to hurry the fix, and on again |
//! | 13:05 to 14:32 | `growth` is six commits behind; its plan waits from 13:42 to 13:50, fails at 14:05 and completes at 14:32: commit `d18c3aa` |
//! | 13:30 | `weekday-report` runs as always (12 minutes) |
//! | 15:30 | the story ends; everything has recovered. Runs go on for two more hours |

use super::generate::{Deployment, ORGANIZATION, TOKEN, furnish};
use super::habit::{Course, Failure, Habit, numbered};
use super::model::{JobPlan, PlanRecord, PlannedRun, ProjectChange, ProjectKind, ProjectPlan};
use super::organization::Organization;
use super::random::Random;
use crate::engine::time::{Span, Timestamp};

/// Id of the `SQLMesh` project `finance`.
pub const FINANCE: &str = "proj_finance";
/// Id of the dbt project `growth`.
pub const GROWTH: &str = "proj_growth";
/// `0 * * * *` in finance, about 9 minutes; fails twice.
pub const HOURLY_ORDERS: &str = "hourly-orders";
/// `15 9 * * *` in finance, about 55 minutes; misses its deadline of 07:00 in New York.
pub const NIGHTLY_REFRESH: &str = "nightly-refresh";
/// `*/15 * * * *` in finance, about 4 minutes; becomes slower.
pub const QUARTER_HOURLY: &str = "quarter-hourly";
/// `30 5 * * *` in finance, about 2 minutes, job type janitor.
pub const JANITOR: &str = "janitor";
/// `10 * * * *` in growth, about 5 minutes; one tick is missed and one is served late.
pub const CAMPAIGN_COSTS: &str = "campaign-costs";
/// `20 */2 * * *` in growth, about 30 minutes; one run takes 75.
pub const ATTRIBUTION: &str = "attribution";
/// `30 13 * * 1-5` in growth, about 12 minutes.
pub const WEEKDAY_REPORT: &str = "weekday-report";
/// The model of `hourly-orders` whose audit fails.
pub const BROKEN_MODEL: &str = "marts.orders";
/// The model of `quarter-hourly` that becomes slow.
pub const SLOW_MODEL: &str = "staging.fx_rates";
/// Zone of the deadline of `nightly-refresh`, 07:00.
pub const DEADLINE_ZONE: &str = "America/New_York";

const HISTORY_DAYS: i64 = 35;
/// 2026-03-12T00:00:00Z.
const DAY: Timestamp = Timestamp::from_millis(1_773_273_600_000);

fn at(hour: i64, minute: i64) -> Timestamp {
    DAY + Span::hours(hour) + Span::minutes(minute)
}

/// Something that happens in the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// In which project (its id).
    pub project: &'static str,
    /// Which job it concerns, if one.
    pub job: Option<&'static str>,
    /// What.
    pub text: &'static str,
}

/// An organization with a day worth watching.
#[derive(Clone, Debug)]
pub struct Story {
    /// What is simulated.
    pub organization: Organization,
    /// When watching begins: all is well.
    pub watch_from: Timestamp,
    /// When all endings have been told.
    pub ends_at: Timestamp,
    /// What happens in between, in order of time.
    pub moments: Vec<Moment>,
}

impl Story {
    /// The story with the noise of `seed`.
    pub fn new(seed: u64) -> Self {
        let mut organization = Organization::new(ORGANIZATION, TOKEN);
        let start = DAY - Span::days(HISTORY_DAYS);
        let (watch_from, ends_at) = (at(5, 0), at(15, 30));
        organization
            .project(project(FINANCE, "finance", ProjectKind::Sqlmesh, "5f0c1aa"))
            .project(project(GROWTH, "growth", ProjectKind::Dbt, "e41d907"));
        let mut runs = deployments(&mut organization);
        for habit in JOBS.iter().map(JobRow::habit) {
            organization.job(&habit.project, habit.job.clone());
            let mut random = Random::named(seed, &habit.job.name);
            for tick in habit.ticks(start, ends_at + Span::hours(2)) {
                let course = match fate(&habit.job.name, tick) {
                    Fate::Usual => calm_course(&mut random, &habit, tick, watch_from),
                    Fate::Special(course) => course,
                    Fate::NoRun => continue,
                };
                let run = settle(habit.run(&mut random, tick, &course), &habit.job.name, tick);
                runs.push((habit.project.clone(), run));
            }
        }
        for (project, run) in numbered(runs) {
            organization.add_run(&project, run);
        }
        furnish(&mut organization, start);
        neglect(&mut organization);
        Self {
            organization,
            watch_from,
            ends_at,
            moments: moments(),
        }
    }
}

fn project(id: &str, name: &str, kind: ProjectKind, commit: &str) -> ProjectPlan {
    ProjectPlan {
        commit: commit.to_owned(),
        ..ProjectPlan::new(id, name, kind)
    }
}

/// A job of the story.
struct JobRow {
    project: &'static str,
    name: &'static str,
    cron: &'static str,
    command: &'static str,
    minutes: i64,
    models: &'static [&'static str],
}

const JOBS: [JobRow; 7] = [
    JobRow {
        project: FINANCE,
        name: HOURLY_ORDERS,
        cron: "0 * * * *",
        command: "sqlmesh run",
        minutes: 9,
        models: &[
            "staging.orders",
            "staging.payments",
            BROKEN_MODEL,
            "marts.revenue",
            "marts.refunds",
        ],
    },
    JobRow {
        project: FINANCE,
        name: NIGHTLY_REFRESH,
        cron: "15 9 * * *",
        command: "sqlmesh run",
        minutes: 55,
        models: &[
            "staging.customers",
            "staging.invoices",
            "intermediate.ledger",
            "marts.balance_sheet",
            "marts.cash_flow",
            "marts.customer_value",
            "marts.churn",
            "marts.board_report",
        ],
    },
    JobRow {
        project: FINANCE,
        name: QUARTER_HOURLY,
        cron: "*/15 * * * *",
        command: "sqlmesh run",
        minutes: 4,
        models: &[
            SLOW_MODEL,
            "staging.ledger",
            "marts.positions",
            "marts.exposure",
        ],
    },
    JobRow {
        project: FINANCE,
        name: JANITOR,
        cron: "30 5 * * *",
        command: "sqlmesh janitor",
        minutes: 2,
        models: &[],
    },
    JobRow {
        project: GROWTH,
        name: CAMPAIGN_COSTS,
        cron: "10 * * * *",
        command: "dbt build --select costs",
        minutes: 5,
        models: &[
            "stg_ad_spend",
            "int_costs_by_campaign",
            "fct_campaign_costs",
        ],
    },
    JobRow {
        project: GROWTH,
        name: ATTRIBUTION,
        cron: "20 */2 * * *",
        command: "dbt build --select attribution",
        minutes: 30,
        models: &[
            "stg_touchpoints",
            "int_sessions",
            "fct_attribution",
            "rpt_channels",
        ],
    },
    JobRow {
        project: GROWTH,
        name: WEEKDAY_REPORT,
        cron: "30 13 * * 1-5",
        command: "dbt build --select report",
        minutes: 12,
        models: &["rpt_funnel", "rpt_cohorts", "rpt_weekly"],
    },
];

impl JobRow {
    fn habit(&self) -> Habit {
        let command = self.command.to_owned();
        let job = JobPlan {
            command,
            ..JobPlan::new(self.name, self.cron)
        };
        let job_type = if self.name == JANITOR {
            "janitor"
        } else {
            "run"
        };
        let habit = Habit::new(self.project, job, Span::minutes(self.minutes), self.models);
        Habit {
            job_type,
            sigma: 0.08,
            calm_sigmas: 2.5,
            ..habit
        }
    }
}

/// What becomes of a tick.
enum Fate {
    Usual,
    Special(Course),
    NoRun,
}

/// What the story wants of a tick.
fn fate(job: &str, tick: Timestamp) -> Fate {
    let calm = Course::default();
    let special = match job {
        HOURLY_ORDERS if tick == at(6, 0) => Course {
            failure: Some(broken_audit(214)),
            ..calm
        },
        HOURLY_ORDERS if tick == at(7, 0) => Course {
            failure: Some(broken_audit(231)),
            ..calm
        },
        CAMPAIGN_COSTS if tick == at(8, 10) => return Fate::NoRun,
        CAMPAIGN_COSTS if tick == at(13, 10) => Course {
            late: Span::minutes(25),
            ..calm
        },
        NIGHTLY_REFRESH if tick == at(9, 15) => Course {
            late: Span::minutes(18),
            slow: 2.3,
            slow_model: Some(5),
            exact: Some(Span::minutes(129)),
            ..calm
        },
        QUARTER_HOURLY if (at(10, 0)..=at(12, 45)).contains(&tick) => Course {
            slow: 1.7,
            slow_model: Some(0),
            ..calm
        },
        ATTRIBUTION if tick == at(12, 20) => Course {
            slow: 2.5,
            slow_model: Some(2),
            exact: Some(Span::minutes(75)),
            ..calm
        },
        _ => return Fate::Usual,
    };
    Fate::Special(special)
}

fn broken_audit(rows: u32) -> Failure {
    Failure::Model(
        2,
        format!("audit not_null_order_id failed on {BROKEN_MODEL}: {rows} rows"),
    )
}

/// The nightly run of the day ends exactly 42 minutes after the deadline.
fn settle(mut run: PlannedRun, job: &str, tick: Timestamp) -> PlannedRun {
    if job == NIGHTLY_REFRESH && tick == at(9, 15) {
        run.finished_at = Some(at(11, 42));
    }
    run
}

/// A usual run; rarely, and never in the last days before watching or in daily jobs, a failure.
fn calm_course(
    random: &mut Random,
    habit: &Habit,
    tick: Timestamp,
    watch_from: Timestamp,
) -> Course {
    let is_frequent =
        [HOURLY_ORDERS, QUARTER_HOURLY, CAMPAIGN_COSTS].contains(&habit.job.name.as_str());
    let is_old = tick < watch_from - Span::days(4);
    let fails = random.chance(0.002) && is_frequent && is_old;
    let failure =
        fails.then(|| Failure::Model(0, "connection to the warehouse timed out".to_owned()));
    Course {
        failure,
        ..Course::default()
    }
}

/// A plan of the story.
struct DeploymentRow {
    project: &'static str,
    group: &'static str,
    message: &'static str,
    commits: (&'static str, &'static str),
    /// Days before the story's day.
    days_ago: i64,
    /// Hour and minute at which the explain step starts.
    starts: (i64, i64),
    /// Minutes it waits for approval.
    waits: i64,
    /// Minutes the execute step takes.
    executes: i64,
}

const DEPLOYMENTS: [DeploymentRow; 5] = [
    DeploymentRow {
        project: GROWTH,
        group: "17",
        message: "Deduplicate touchpoints",
        commits: ("77b0e5d", "e41d907"),
        days_ago: 21,
        starts: (10, 0),
        waits: 40,
        executes: 9,
    },
    DeploymentRow {
        project: FINANCE,
        group: "41",
        message: "Split ledger by entity",
        commits: ("19aa7c2", "5f0c1aa"),
        days_ago: 14,
        starts: (10, 0),
        waits: 25,
        executes: 6,
    },
    DeploymentRow {
        project: GROWTH,
        group: "18",
        message: "Rename campaign dimension",
        commits: ("e41d907", "b90c4e2"),
        days_ago: 0,
        starts: (6, 38),
        waits: 360,
        executes: 10,
    },
    DeploymentRow {
        project: FINANCE,
        group: "42",
        message: "Widen the FX window",
        commits: ("5f0c1aa", "8be21d4"),
        days_ago: 0,
        starts: (9, 38),
        waits: 8,
        executes: 4,
    },
    DeploymentRow {
        project: FINANCE,
        group: "43",
        message: "Narrow the FX window again",
        commits: ("8be21d4", "c77e0f3"),
        days_ago: 0,
        starts: (12, 33),
        waits: 9,
        executes: 8,
    },
];

impl DeploymentRow {
    fn deployment(&self) -> Deployment {
        let (hour, minute) = self.starts;
        Deployment {
            group: self.group.to_owned(),
            message: self.message.to_owned(),
            from: self.commits.0.to_owned(),
            to: self.commits.1.to_owned(),
            at: at(hour, minute) - Span::days(self.days_ago),
            waits: Span::minutes(self.waits),
            executes: Span::minutes(self.executes),
        }
    }
}

fn deployments(organization: &mut Organization) -> Vec<(String, PlannedRun)> {
    DEPLOYMENTS
        .iter()
        .map(|row| row.deployment().carry_out(organization, row.project))
        .collect()
}

/// What nobody looks after: a protection that is off for a while, and a plan that fails at first.
fn neglect(organization: &mut Organization) {
    let (from, to) = ("b90c4e2", "d18c3aa");
    let record = |step: &str| {
        let id = format!("plan_19_{step}");
        PlanRecord::new(&id, "plangroup_19", step, "Drop unused seeds").commits(from, to)
    };
    let behind = ProjectChange::CommitsBehind(6, to.to_owned());
    organization
        .change_protection("prot_1", at(12, 26), false)
        .change_protection("prot_1", at(12, 58), true)
        .change_project(GROWTH, at(13, 5), behind)
        .plan(
            GROWTH,
            record("explain")
                .then(at(13, 40), "running")
                .then(at(13, 42), "pending")
                .then(at(13, 50), "approved"),
        )
        .plan(
            GROWTH,
            record("execute")
                .then(at(13, 51), "running")
                .then(at(14, 5), "failed")
                .then(at(14, 20), "running")
                .then(at(14, 32), "completed"),
        )
        .change_project(GROWTH, at(14, 32), ProjectChange::Commit(to.to_owned()));
}

/// Hour, minute, project, job, what happens.
type MomentRow = (i64, i64, &'static str, Option<&'static str>, &'static str);

#[rustfmt::skip]
const MOMENTS: [MomentRow; 18] = [
    (6, 0, FINANCE, Some(HOURLY_ORDERS), "fails: an audit of marts.orders"),
    (6, 40, GROWTH, None, "a plan begins to wait for approval"),
    (7, 0, FINANCE, Some(HOURLY_ORDERS), "fails again"),
    (8, 0, FINANCE, Some(HOURLY_ORDERS), "succeeds again"),
    (8, 10, GROWTH, Some(CAMPAIGN_COSTS), "has no run for this tick"),
    (9, 10, GROWTH, Some(CAMPAIGN_COSTS), "runs again"),
    (9, 33, FINANCE, Some(NIGHTLY_REFRESH), "starts 18 minutes late"),
    (9, 52, FINANCE, None, "a plan is deployed"),
    (10, 0, FINANCE, Some(QUARTER_HOURLY), "becomes 1.7 times slower: staging.fx_rates"),
    (11, 0, FINANCE, Some(NIGHTLY_REFRESH), "misses its deadline, 07:00 in New York"),
    (11, 42, FINANCE, Some(NIGHTLY_REFRESH), "is delivered, 42 minutes late"),
    (12, 20, GROWTH, Some(ATTRIBUTION), "starts a run that takes 75 minutes instead of 30"),
    (12, 40, GROWTH, None, "the waiting plan is approved"),
    (12, 52, FINANCE, None, "the fix is deployed"),
    (13, 0, FINANCE, Some(QUARTER_HOURLY), "is as fast as before"),
    (13, 10, GROWTH, Some(CAMPAIGN_COSTS), "does not start"),
    (13, 35, GROWTH, Some(CAMPAIGN_COSTS), "starts 25 minutes late"),
    (13, 35, GROWTH, Some(ATTRIBUTION), "ends"),
];

fn moments() -> Vec<Moment> {
    MOMENTS
        .iter()
        .map(|&(hour, minute, project, job, text)| Moment {
            at: at(hour, minute),
            project,
            job,
            text,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::cron::Cron;
    use crate::sim::model::Outcome;

    fn runs_of(story: &Story, project: &str, job: &str) -> Vec<PlannedRun> {
        let mut runs = story.organization.planned_runs(project);
        runs.retain(|run| run.job.as_deref() == Some(job));
        runs
    }

    fn duration(run: &PlannedRun) -> Span {
        run.finished_at.unwrap() - run.started_at.unwrap()
    }

    fn near(run: &PlannedRun, tick: Timestamp) -> bool {
        run.created_at.since(tick) < Span::seconds(2) && run.created_at >= tick
    }

    #[test]
    fn all_is_well_when_watching_begins() {
        for seed in 0..5 {
            let story = Story::new(seed);
            for project in story.organization.project_ids() {
                for job in story.organization.planned_jobs(&project) {
                    check_healthy(&story, &project, &job);
                }
            }
        }
    }

    fn check_healthy(story: &Story, project: &str, job: &JobPlan) {
        let from = story.watch_from - Span::days(4);
        let ticks = Cron::parse(&job.cron)
            .unwrap()
            .ticks(from, story.watch_from, job.zone);
        let runs = runs_of(story, project, &job.name);
        assert!(!ticks.is_empty(), "{}", job.name);
        for tick in ticks {
            let served = runs.iter().find(|run| near(run, tick)).unwrap();
            assert_eq!(served.status, Outcome::Success, "{} {tick}", job.name);
        }
        let early = runs.iter().filter(|run| run.created_at < story.watch_from);
        let durations: Vec<i64> = early
            .filter(|run| run.status == Outcome::Success)
            .map(|run| duration(run).num_seconds())
            .collect();
        let (shortest, longest) = (
            durations.iter().min().unwrap(),
            durations.iter().max().unwrap(),
        );
        assert!(
            longest * 10 < shortest * 16,
            "{}: {shortest} to {longest} s",
            job.name
        );
    }

    #[test]
    fn the_day_goes_as_told() {
        let story = Story::new(7);
        let orders = runs_of(&story, FINANCE, HOURLY_ORDERS);
        let status = |hour| {
            orders
                .iter()
                .find(|run| near(run, at(hour, 0)))
                .unwrap()
                .status
                .clone()
        };
        assert_eq!(
            [5, 6, 7, 8].map(status),
            [
                Outcome::Success,
                Outcome::Failed,
                Outcome::Failed,
                Outcome::Success,
            ]
        );

        let costs = runs_of(&story, GROWTH, CAMPAIGN_COSTS);
        assert!(!costs.iter().any(
            |run| run.created_at.since(at(8, 0)) < Span::hours(1) && run.created_at > at(8, 0)
        ));
        assert!(costs.iter().any(|run| near(run, at(9, 10))));
        assert!(costs.iter().any(|run| near(run, at(13, 35))));

        let nightly = runs_of(&story, FINANCE, NIGHTLY_REFRESH);
        let today = nightly.iter().find(|run| run.created_at > DAY).unwrap();
        assert!(near(today, at(9, 33)));
        assert_eq!(today.finished_at, Some(at(11, 42)));
        assert!(
            nightly
                .iter()
                .filter(|run| run.created_at < DAY)
                .all(|run| { run.finished_at.unwrap() < run.created_at + Span::minutes(75) })
        );

        let overrun = runs_of(&story, GROWTH, ATTRIBUTION);
        let overrun = overrun.iter().find(|run| near(run, at(12, 20))).unwrap();
        assert_eq!(duration(overrun), Span::minutes(75));
    }

    #[test]
    fn the_regression_is_one_model_for_twelve_runs() {
        let story = Story::new(7);
        let runs = runs_of(&story, FINANCE, QUARTER_HOURLY);
        let median = |from: Timestamp, to: Timestamp, model: Option<&str>| {
            let chosen = runs
                .iter()
                .filter(|run| run.created_at >= from && run.created_at < to);
            let mut seconds: Vec<i64> = chosen
                .map(|run| match model {
                    None => duration(run).num_seconds(),
                    Some(model) => {
                        let execution = run.executions.iter().find(|e| e.model == model).unwrap();
                        (execution.finished_at.unwrap() - execution.started_at).num_seconds()
                    }
                })
                .collect();
            seconds.sort_unstable();
            (seconds.len(), seconds[seconds.len() / 2])
        };
        let (_, before) = median(at(5, 0), at(10, 0), None);
        let (count, during) = median(at(10, 0), at(13, 0), None);
        let (_, after) = median(at(13, 0), at(15, 30), None);
        assert_eq!(count, 12);
        assert!(
            (160..=180).contains(&(during * 100 / before)),
            "{before} {during}"
        );
        assert!(
            (90..=110).contains(&(after * 100 / before)),
            "{before} {after}"
        );
        let (_, model_before) = median(at(5, 0), at(10, 0), Some(SLOW_MODEL));
        let (_, model_during) = median(at(10, 0), at(13, 0), Some(SLOW_MODEL));
        let (added, model_added) = (during - before, model_during - model_before);
        assert!(model_added * 10 > added * 8, "{model_added} of {added} s");
    }

    #[test]
    fn everything_has_ended_at_the_end() {
        let story = Story::new(1);
        for project in story.organization.project_ids() {
            for job in story.organization.planned_jobs(&project) {
                let runs = runs_of(&story, &project, &job.name);
                let last = runs
                    .iter()
                    .rfind(|run| run.finished_at < Some(story.ends_at))
                    .unwrap();
                assert_eq!(last.status, Outcome::Success, "{}", job.name);
            }
        }
        assert!(story.moments.is_sorted_by_key(|moment| moment.at));
    }
}
