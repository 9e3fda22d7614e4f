//! How a job usually behaves, and one run of it: what the generators are made of.

use chrono::{Datelike as _, Timelike as _};

use super::cron::Cron;
use super::model::{JobPlan, Outcome, PlannedExecution, PlannedRun};
use super::random::Random;
use crate::engine::time::{Span, Timestamp};

/// Share of a run before its first model.
const OPENING: f64 = 0.03;
/// Share of a run spent in models; the rest closes it.
const MODELS: f64 = 0.95;

/// A job with the typical shape of its runs.
#[derive(Clone, Debug)]
pub(super) struct Habit {
    pub(super) project: String,
    pub(super) job: JobPlan,
    pub(super) job_type: &'static str,
    /// Typical duration.
    pub(super) base: Span,
    /// Log noise of the duration.
    pub(super) sigma: f64,
    /// Noise is cut at this many sigmas, so that a calm history has no outliers.
    pub(super) calm_sigmas: f64,
    /// Models in order, with their shares of the time.
    pub(super) models: Vec<(String, f64)>,
    /// Weekends take this factor.
    pub(super) weekend: f64,
    /// Working hours (8 to 18 UTC) take this factor.
    pub(super) busy_hours: f64,
}

/// What is special about one run.
#[derive(Clone, Debug)]
pub(super) struct Course {
    /// How late it is created.
    pub(super) late: Span,
    /// Factor on its duration.
    pub(super) slow: f64,
    /// The model that takes all the additional time; otherwise all do.
    pub(super) slow_model: Option<usize>,
    /// Its exact duration, instead of a typical one.
    pub(super) exact: Option<Span>,
    /// How it fails.
    pub(super) failure: Option<Failure>,
}

impl Default for Course {
    fn default() -> Self {
        Self {
            late: Span::zero(),
            slow: 1.0,
            slow_model: None,
            exact: None,
            failure: None,
        }
    }
}

/// How a run fails.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// This model fails with that error, the ones after it are skipped, the run fails.
    Model(usize, String),
    /// The last model fails; the others worked.
    Partial(String),
    /// The platform never starts it.
    Platform(String),
}

impl Habit {
    /// A habit without seasons for `job`.
    pub(super) fn new(project: &str, job: JobPlan, base: Span, models: &[&str]) -> Self {
        let shares = [5.0, 3.0, 8.0, 4.0, 2.0, 6.0, 3.0, 2.0];
        let weighted = models.iter().zip(shares.iter().cycle());
        let total: f64 = weighted.clone().map(|(_, share)| share).sum();
        Self {
            project: project.to_owned(),
            job,
            job_type: "run",
            base,
            sigma: 0.1,
            calm_sigmas: 6.0,
            models: weighted
                .map(|(name, share)| ((*name).to_owned(), share / total))
                .collect(),
            weekend: 1.0,
            busy_hours: 1.0,
        }
    }

    /// Ticks of the job in `from .. to`; none if the generators cannot read its schedule.
    pub(super) fn ticks(&self, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
        Cron::parse(&self.job.cron)
            .map(|cron| cron.ticks(from, to, self.job.zone))
            .unwrap_or_default()
    }

    /// The run for `tick`. Its id is given later.
    pub(super) fn run(&self, random: &mut Random, tick: Timestamp, course: &Course) -> PlannedRun {
        let created_at = tick + course.late + Span::milliseconds(random.between(0, 1_500));
        let started_at = created_at + Span::milliseconds(random.between(2_000, 9_000));
        let duration = course
            .exact
            .unwrap_or_else(|| self.duration(random, tick, course.slow));
        let mut run = PlannedRun::success("", &self.job.name, started_at, duration);
        run.created_at = created_at;
        self.job_type.clone_into(&mut run.job_type);
        run.executions = self.executions(random, started_at, duration, course);
        if let Some(failure) = &course.failure {
            fail(&mut run, failure);
        }
        run
    }

    fn duration(&self, random: &mut Random, tick: Timestamp, slow: f64) -> Span {
        let limit = self.calm_sigmas * self.sigma;
        let noise = random.noise(self.sigma).clamp((-limit).exp(), limit.exp());
        scaled(self.base, noise * slow * self.season(tick))
    }

    fn season(&self, tick: Timestamp) -> f64 {
        let at = tick.to_utc();
        let day = if at.weekday().number_from_monday() > 5 {
            self.weekend
        } else {
            1.0
        };
        let hour = if (8..18).contains(&at.hour()) {
            self.busy_hours
        } else {
            1.0
        };
        day * hour
    }

    fn executions(
        &self,
        random: &mut Random,
        started_at: Timestamp,
        duration: Span,
        course: &Course,
    ) -> Vec<PlannedExecution> {
        let weights: Vec<f64> = self
            .models
            .iter()
            .enumerate()
            .map(|(position, (_, share))| {
                let extra = if course.slow_model == Some(position) {
                    course.slow - 1.0
                } else {
                    0.0
                };
                (share + extra) * random.noise(self.sigma * 0.5)
            })
            .collect();
        let total: f64 = weights.iter().sum();
        let mut at = started_at + scaled(duration, OPENING);
        let mut executions = Vec::with_capacity(weights.len());
        for ((model, _), weight) in self.models.iter().zip(weights) {
            let end = at + scaled(duration, MODELS * weight / total);
            executions.push(PlannedExecution {
                id: None,
                model: model.clone(),
                started_at: at,
                finished_at: Some(end),
                status: Outcome::Success,
                error: None,
                rows: None,
            });
            at = end;
        }
        executions
    }
}

fn fail(run: &mut PlannedRun, failure: &Failure) {
    match failure {
        Failure::Model(model, error) => {
            let Some(broken) = run.executions.get_mut(*model) else {
                return;
            };
            broken.status = Outcome::Failed;
            broken.error = Some(error.clone());
            let (end, name) = (broken.finished_at, broken.model.clone());
            for follower in run.executions.iter_mut().skip(model + 1) {
                follower.started_at = end.unwrap_or(follower.started_at);
                follower.finished_at = end;
                follower.status = Outcome::Skipped;
                follower.error = Some(format!("upstream model {name} failed"));
            }
            run.finished_at = end.map(|at| at + Span::seconds(3));
            run.status = Outcome::Failed;
            run.error = Some(error.clone());
        }
        Failure::Partial(error) => {
            if let Some(last) = run.executions.last_mut() {
                last.status = Outcome::Failed;
                last.error = Some(error.clone());
            }
            run.status = Outcome::Partial;
            run.error = Some(error.clone());
        }
        Failure::Platform(error) => {
            run.executions.clear();
            run.started_at = None;
            run.finished_at = Some(run.created_at + Span::seconds(90));
            run.status = Outcome::Error;
            run.error = Some(error.clone());
        }
    }
}

/// `span * factor`, to the millisecond.
pub(super) fn scaled(span: Span, factor: f64) -> Span {
    let millis = f64::from(i32::try_from(span.num_milliseconds()).unwrap_or(i32::MAX));
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a saturating cast of a rounded duration"
    )]
    let scaled = (millis * factor).round() as i64;
    Span::milliseconds(scaled)
}

/// Runs of all projects in order of creation, with ids that grow with time.
pub(super) fn numbered(mut runs: Vec<(String, PlannedRun)>) -> Vec<(String, PlannedRun)> {
    runs.sort_by(|(project, run), (other_project, other)| {
        (run.created_at, project, &run.job).cmp(&(other.created_at, other_project, &other.job))
    });
    for (number, (_, run)) in runs.iter_mut().enumerate() {
        run.id = format!("run_{:06}", number + 1);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn habit() -> Habit {
        Habit::new(
            "p",
            JobPlan::new("hourly", "0 * * * *"),
            Span::minutes(10),
            &["a", "b", "c"],
        )
    }

    fn tick() -> Timestamp {
        Timestamp::parse("2026-03-12T06:00:00Z").unwrap()
    }

    #[test]
    fn models_fill_the_run_in_order() {
        let run = habit().run(&mut Random::new(1), tick(), &Course::default());
        let mut at = run.started_at.unwrap();
        for execution in &run.executions {
            assert!(execution.started_at >= at);
            at = execution.finished_at.unwrap();
        }
        assert!(at <= run.finished_at.unwrap());
        let share = (at - run.started_at.unwrap()).num_milliseconds() * 100
            / (run.finished_at.unwrap() - run.started_at.unwrap()).num_milliseconds();
        assert!((96..=98).contains(&share), "{share}");
    }

    #[test]
    fn a_slow_model_takes_the_additional_time() {
        let took = |course: &Course, model: usize| {
            let run = habit().run(&mut Random::new(1), tick(), course);
            let execution = &run.executions[model];
            (execution.finished_at.unwrap() - execution.started_at).num_seconds()
        };
        let (calm, slow) = (
            Course::default(),
            Course {
                slow: 1.7,
                slow_model: Some(0),
                ..Course::default()
            },
        );
        assert!(took(&slow, 0) > 2 * took(&calm, 0));
        assert!(took(&slow, 1) < took(&calm, 1) * 11 / 10);
    }

    #[test]
    fn followers_of_a_failed_model_are_skipped() {
        let failure = Some(Failure::Model(1, "audit".into()));
        let run = habit().run(
            &mut Random::new(1),
            tick(),
            &Course {
                failure,
                ..Course::default()
            },
        );
        let statuses: Vec<&str> = run.executions.iter().map(|e| e.status.as_str()).collect();
        assert_eq!(statuses, ["success", "failed", "skipped"]);
        assert_eq!(run.status, Outcome::Failed);
        assert!(
            run.executions
                .iter()
                .all(|e| e.finished_at <= run.finished_at)
        );
    }
}
