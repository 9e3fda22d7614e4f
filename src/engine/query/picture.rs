//! What a picture of a job's, or a model's, durations shows: its runs, what was usual before each, the limit, and since
//! when an alert says that it is slower. How that is drawn is not decided here.

mod naming;

use std::collections::VecDeque;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::super::Engine;
use super::super::alert::Alert;
use super::super::baseline::{Baseline, seconds};
use super::super::history::{JobHistory, ModelHistory, Outcome, ProjectHistory};
use super::super::observation::{Name, Run, Status};
use super::super::rule::context::{MAX_SEARCHED, clock_bounds, is_like};
use super::super::rule::{Clock, Limit, Rule, RuleKind};
use super::super::subject::SubjectKey;
use super::super::time::Timestamp;
use naming::find;

/// A question for a picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureQuestion {
    /// A job or a model, with or without its project (* is any text), or the id of an open alert.
    pub subject: String,
    /// So many of the newest runs; at most [`PictureQuestion::MAX_RUNS`].
    pub last: usize,
}

impl PictureQuestion {
    /// So many runs are shown unless others are asked for.
    pub const RUNS: usize = 42;

    /// More runs cannot be told apart in a picture.
    pub const MAX_RUNS: usize = 500;
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PictureAnswer {
    /// What it shows.
    Picture(Picture),
    /// There is no one subject of that name; what is near it.
    Unknown(String),
}

/// Durations of a job or a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// Of which: `finance nightly`.
    pub title: String,
    /// Which time of a run: queue, run or total.
    pub clock: String,
    /// Finished runs that may be compared with the newest, in order.
    pub runs: Vec<PictureRun>,
    /// The limit that is promised to be kept.
    pub limit: Option<PictureLimit>,
    /// Since when it is slower.
    pub slower: Option<PictureSlower>,
    /// Zone of rendered times.
    pub zone: Tz,
}

/// One run, or one execution of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PictureRun {
    /// The run's id, when it is known.
    pub id: Option<Name>,
    /// When it finished.
    pub at: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// It succeeded.
    pub is_success: bool,
    /// What was usual before it.
    pub usual: Option<PictureUsual>,
}

/// What was usual, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PictureUsual {
    /// Nearly all are above it.
    pub low: f64,
    /// The middle one.
    pub median: f64,
    /// Nearly all are below it.
    pub high: f64,
    /// Runs it was made from.
    pub runs: u32,
}

/// A fixed limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PictureLimit {
    /// The rule.
    pub rule: String,
    /// Seconds.
    pub seconds: f64,
}

/// What an open alert says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PictureSlower {
    /// The alert's id.
    pub alert: String,
    /// When the first of the slow runs finished.
    pub since: Timestamp,
    /// How much more than usual those since then take: 0.68 is 68 %.
    pub more: f64,
}

/// What is usual is made from so many successes.
const USUAL_RUNS: usize = 20;

/// With fewer nothing is usual.
const MIN_USUAL: u32 = 8;

/// The usual range is so many robust standard deviations wide, to both sides, on logarithms: one run in several
/// hundred is outside by chance.
const USUAL_Z: f64 = 3.0;

/// A finished run on one clock.
struct Sample {
    id: Option<Name>,
    at: Timestamp,
    seconds: f64,
    is_success: bool,
}

/// What a picture of a subject shows.
pub fn picture(engine: &Engine, question: &PictureQuestion) -> PictureAnswer {
    let (subject, asked) = match find(engine, &question.subject) {
        Ok(found) => found,
        Err(why) => return PictureAnswer::Unknown(why),
    };
    let project = subject
        .project()
        .and_then(|key| engine.history().project(key));
    let Some(project) = project else {
        return PictureAnswer::Unknown("nothing is known of its project any more".to_owned());
    };
    let slower = slower_alert(engine, &subject, asked);
    let alert = slower.or(asked);
    let rule = alert.and_then(|alert| rule_of(engine, alert));
    let clock = rule.map_or(Clock::Run, clock_of);
    let like = like(project, &subject, alert);
    let last = question.last.clamp(1, PictureQuestion::MAX_RUNS);
    let samples = samples(project, &subject, like, clock, last);
    let frozen = slower.and_then(|alert| Frozen::of(alert, &samples));
    let runs = runs(samples, last, frozen);
    PictureAnswer::Picture(Picture {
        title: title(project, &subject),
        clock: clock.as_str().to_owned(),
        limit: limit(engine, project, &subject, like, clock),
        slower: slower
            .zip(frozen)
            .and_then(|(alert, frozen)| frozen.slower(alert, &runs)),
        zone: rule.map_or(engine.policy().zone, |rule| rule.zone),
        runs,
    })
}

fn title(project: &ProjectHistory, subject: &SubjectKey) -> String {
    let name = project.display_name();
    match subject {
        SubjectKey::Job(_, job) => format!("{name} {job}"),
        SubjectKey::Model(_, _, model) => format!("{name} {model}"),
        _ => name.to_string(),
    }
}

/// The open alert that says that the subject is slower: the one asked for, else the oldest.
fn slower_alert<'a>(
    engine: &'a Engine,
    subject: &SubjectKey,
    asked: Option<&'a Alert>,
) -> Option<&'a Alert> {
    let is_slower = |alert: &&Alert| matches!(&*alert.kind, "run_regression" | "model_regression");
    let identity = subject.identity();
    let of_subject = engine
        .alerts()
        .filter(|alert| alert.is_open() && alert.fired_at.is_some() && alert.identity == identity);
    let oldest = of_subject
        .filter(is_slower)
        .min_by_key(|alert| (alert.began_at, alert.fingerprint));
    asked.filter(is_slower).or(oldest)
}

fn rule_of<'a>(engine: &'a Engine, alert: &Alert) -> Option<&'a Rule> {
    let mut rules = engine.policy().rules.iter();
    rules.find(|rule| rule.name == alert.rule)
}

fn clock_of(rule: &Rule) -> Clock {
    match &rule.kind {
        RuleKind::RunDuration(kind) => kind.clock,
        RuleKind::RunRegression(kind) => kind.clock,
        RuleKind::QueueTime(_) => Clock::Queue,
        _ => Clock::Run,
    }
}

/// The run that others are to be like: the alert's, else the newest scheduled one, else the newest.
fn like<'a>(
    project: &'a ProjectHistory,
    subject: &SubjectKey,
    alert: Option<&Alert>,
) -> Option<&'a Run> {
    let (SubjectKey::Job(_, job) | SubjectKey::Model(_, job, _)) = subject else {
        return None;
    };
    let job = project.job(job)?;
    let of_alert = alert.and_then(|alert| project.run(alert.evidence.run_id.as_ref()?));
    let mut scheduled = project.finished(job).take(MAX_SEARCHED);
    of_alert
        .or_else(|| scheduled.find(|run| &*run.triggered_by == "scheduled"))
        .or_else(|| project.finished(job).next())
}

/// The newest `last` finished ones, and before them as many successes as the first needs; oldest first.
fn samples(
    project: &ProjectHistory,
    subject: &SubjectKey,
    like: Option<&Run>,
    clock: Clock,
    last: usize,
) -> Vec<Sample> {
    let newest_first: Box<dyn Iterator<Item = Sample> + '_> = match subject {
        SubjectKey::Job(_, job) => match project.job(job) {
            Some(job) => Box::new(of_job(project, job, like, clock)),
            None => Box::new(std::iter::empty()),
        },
        SubjectKey::Model(_, job, model) => Box::new(of_model(project, (job, model), like)),
        _ => Box::new(std::iter::empty()),
    };
    let mut samples = Vec::new();
    let mut before = 0;
    for sample in newest_first.take(last + MAX_SEARCHED) {
        if before == USUAL_RUNS {
            break;
        }
        if samples.len() >= last {
            before += usize::from(sample.is_success);
        }
        samples.push(sample);
    }
    samples.reverse();
    // Executions come by start.
    samples.sort_by_key(|sample| sample.at);
    samples
}

fn of_job<'a>(
    project: &'a ProjectHistory,
    job: &'a JobHistory,
    like: Option<&'a Run>,
    clock: Clock,
) -> impl Iterator<Item = Sample> + 'a {
    project.finished(job).filter_map(move |run| {
        if like.is_some_and(|like| !is_like(like, run)) {
            return None;
        }
        let is_success = run.status == Status::Success;
        if !is_success && !run.status.is_failure() && run.status != Status::Partial {
            return None;
        }
        let (from, to) = clock_bounds(run, clock)?;
        Some(Sample {
            id: Some(run.id.clone()),
            at: run.settled_at(),
            seconds: seconds(to?.since(from)),
            is_success,
        })
    })
}

fn of_model<'a>(
    project: &'a ProjectHistory,
    (job, model): (&Name, &Name),
    like: Option<&'a Run>,
) -> impl Iterator<Item = Sample> + 'a {
    let executions = project.model(job, model).map(ModelHistory::executions);
    let newest_first = executions.unwrap_or_default().iter().rev();
    newest_first.filter_map(move |execution| {
        let run = project.run_of(execution);
        if like.zip(run).is_some_and(|(like, run)| !is_like(like, run)) {
            return None;
        }
        let is_success = match execution.outcome() {
            Outcome::Success => true,
            Outcome::Failure => false,
            Outcome::Open | Outcome::Skipped => return None,
        };
        Some(Sample {
            id: run.map(|run| run.id.clone()),
            at: execution.finished_at()?,
            seconds: seconds(execution.run_time()?),
            is_success,
        })
    })
}

impl PictureUsual {
    fn of(baseline: &Baseline) -> Self {
        Self {
            low: baseline.at_z(-USUAL_Z),
            median: baseline.median,
            high: baseline.at_z(USUAL_Z),
            runs: baseline.count,
        }
    }
}

/// What an open alert holds still: what was usual before it.
#[derive(Clone, Copy)]
struct Frozen {
    usual: PictureUsual,
    since: Timestamp,
}

impl Frozen {
    /// An alert may begin with the second or third slow run of a row: those before it are not usual either. `samples` are
    /// in order.
    fn of(alert: &Alert, samples: &[Sample]) -> Option<Self> {
        // That of one tick of the week says nothing about the others.
        let frozen = alert.frozen.filter(|baseline| baseline.slot.is_none());
        let before = samples
            .iter()
            .rev()
            .filter(|sample| sample.is_success && sample.at < alert.began_at);
        let usual = frozen.or_else(|| {
            let before = before.clone().map(|sample| sample.seconds);
            Baseline::of(before.take(USUAL_RUNS))
        })?;
        let usual = PictureUsual::of(&usual);
        let slow = before.take_while(|sample| sample.seconds > usual.high);
        let since = slow.last().map_or(alert.began_at, |sample| sample.at);
        Some(Self { usual, since })
    }

    fn slower(self, alert: &Alert, runs: &[PictureRun]) -> Option<PictureSlower> {
        let since = runs
            .iter()
            .filter(|run| run.is_success && run.at >= self.since);
        let now = Baseline::of(since.map(|run| run.seconds))?;
        Some(PictureSlower {
            alert: alert.id(),
            since: self.since,
            more: now.median / self.usual.median - 1.0,
        })
    }
}

/// The newest `last` of `samples`, each with what was usual before it.
fn runs(samples: Vec<Sample>, last: usize, frozen: Option<Frozen>) -> Vec<PictureRun> {
    let hidden = samples.len().saturating_sub(last);
    let mut before: VecDeque<f64> = VecDeque::new();
    let mut runs = Vec::new();
    for (index, sample) in samples.into_iter().enumerate() {
        if index >= hidden {
            let frozen = frozen.filter(|frozen| sample.at >= frozen.since);
            let rolling = || Baseline::of(before.iter().copied());
            let usual = frozen.map(|frozen| frozen.usual).or_else(|| {
                let enough = rolling().filter(|baseline| baseline.count >= MIN_USUAL);
                enough.map(|baseline| PictureUsual::of(&baseline))
            });
            runs.push(PictureRun {
                id: sample.id,
                at: sample.at,
                seconds: sample.seconds,
                is_success: sample.is_success,
                usual,
            });
        }
        if sample.is_success {
            before.push_back(sample.seconds);
        }
        if before.len() > USUAL_RUNS {
            before.pop_front();
        }
    }
    runs
}

/// The shortest fixed limit that a rule sets for the subject on that clock.
fn limit(
    engine: &Engine,
    project: &ProjectHistory,
    subject: &SubjectKey,
    like: Option<&Run>,
    clock: Clock,
) -> Option<PictureLimit> {
    let is_wanted = |rule: &&Rule| {
        let selectors = &rule.selectors;
        let is_subject = match subject {
            SubjectKey::Job(_, job) => selectors.job.is_match(job),
            SubjectKey::Model(_, job, model) => {
                selectors.job.is_match(job) && selectors.model.is_match(model)
            }
            _ => false,
        };
        let is_run = like.is_none_or(|run| {
            selectors.job_type.is_match(&run.job_type)
                && selectors.triggered_by.is_match(&run.triggered_by)
        });
        is_subject && is_run && selectors.is_project(project)
    };
    let rules = engine.policy().rules.iter().filter(is_wanted);
    let limits = rules.filter_map(|rule| {
        let is_job = matches!(subject, SubjectKey::Job(..));
        let max = match &rule.kind {
            RuleKind::RunDuration(kind) if is_job && kind.clock == clock => kind.max,
            RuleKind::QueueTime(kind) if is_job && clock == Clock::Queue => Some(kind.max),
            RuleKind::ModelDuration(kind) if !is_job => kind.max,
            _ => None,
        };
        match max? {
            Limit::Fixed(max) => Some(PictureLimit {
                rule: rule.name.to_string(),
                seconds: seconds(max),
            }),
            Limit::Factor { .. } => None,
        }
    });
    limits.min_by(|a, b| a.seconds.total_cmp(&b.seconds))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::history::History;
    use super::super::super::observation::{Execution, Observation, ProjectKey};
    use super::super::super::policy::Policy;
    use super::super::super::rule::Times;
    use super::super::super::rule::regression::{Method, Regression};
    use super::super::super::rule::run_duration::RunDuration;
    use super::super::super::time::Span;
    use super::super::super::{Input, Saved};
    use super::*;

    fn at(day: i64) -> Timestamp {
        Timestamp::parse("2026-10-01T04:00:00Z").unwrap() + Span::days(day)
    }

    fn key() -> ProjectKey {
        ProjectKey {
            source: "prod".into(),
            project_id: "finance".into(),
        }
    }

    fn run(job: &str, day: i64, minutes: i64, status: Status) -> Observation {
        let finished_at = at(day) + Span::minutes(minutes);
        Observation::Run(
            key(),
            Run {
                id: format!("{job}-{day}").into(),
                job: Some(job.into()),
                job_type: "run".into(),
                status,
                triggered_by: "scheduled".into(),
                created_at: at(day),
                started_at: Some(at(day)),
                finished_at: Some(finished_at),
                updated_at: finished_at,
                error: None,
            },
        )
    }

    fn regression() -> RuleKind {
        RuleKind::RunRegression(Regression::new(Method::RobustZ))
    }

    fn engine() -> Engine {
        let mut policy = Policy::empty(vec!["team".into()]);
        let max = RuleKind::RunDuration(RunDuration {
            clock: Clock::Run,
            max: Some(Limit::Fixed(Span::minutes(45))),
            min: None,
        });
        let mut slower = Rule::new("slower", regression(), "rules.toml:1");
        slower.times = Some(Times { needed: 2, of: 3 });
        policy.rules = vec![Rule::new("sla", max, "rules.toml:9"), slower];
        Engine::new(Arc::new(policy), History::default(), Saved::default())
    }

    /// Thirty days of about half an hour, the last three longer by two thirds, and what comes then, day by day as a source
    /// would show them.
    fn slower() -> Engine {
        let mut engine = engine();
        for day in 0..33 {
            let minutes = if day < 30 { 29 + day % 3 } else { 49 + day % 3 };
            let status = if day == 12 {
                Status::Failed
            } else {
                Status::Success
            };
            let mut observations = vec![run("nightly", day, minutes, status)];
            if day == 5 {
                observations.push(run("weekly", day, 5, Status::Success));
            }
            let now = at(day) + Span::hours(2);
            engine.step(
                Input {
                    observations,
                    coverage: [(key(), now)].into(),
                    ..Input::default()
                },
                now,
            );
        }
        engine
    }

    fn ask(engine: &Engine, subject: &str, last: usize) -> PictureAnswer {
        let question = PictureQuestion {
            subject: subject.to_owned(),
            last,
        };
        picture(engine, &question)
    }

    #[track_caller]
    fn seen(engine: &Engine, subject: &str, last: usize) -> Picture {
        match ask(engine, subject, last) {
            PictureAnswer::Picture(picture) => picture,
            PictureAnswer::Unknown(why) => panic!("{why}"),
        }
    }

    #[track_caller]
    fn refused(engine: &Engine, subject: &str, words: &[&str]) {
        let PictureAnswer::Unknown(why) = ask(engine, subject, 42) else {
            panic!("{subject} is known");
        };
        for word in words {
            assert!(why.contains(word), "{word} in {why}");
        }
    }

    #[test]
    fn what_was_usual_rolls_until_an_alert_holds_it_still() {
        let engine = slower();
        let picture = seen(&engine, "nightly", 42);
        assert_eq!(picture.title, "finance nightly");
        assert_eq!(picture.runs.len(), 33);
        assert!(picture.runs.is_sorted_by_key(|run| run.at));
        assert!(!picture.runs[12].is_success);
        assert!(picture.runs[..8].iter().all(|run| run.usual.is_none()));
        let usual = picture.runs[29].usual.unwrap();
        assert_eq!((usual.median, usual.runs), (1_800.0, 20));
        assert!(usual.low > 1_200.0 && usual.high < 2_400.0, "{usual:?}");
        let after = &picture.runs[30..];
        assert!(after.iter().all(|run| run.usual == after[0].usual));
        assert!((after[0].usual.unwrap().median - 1_800.0).abs() < 60.0);
        let slower = picture.slower.unwrap();
        // The rule needs two slow runs; the first of them is where it began.
        assert_eq!(slower.since, at(30) + Span::minutes(49));
        assert!((slower.more - 2.0 / 3.0).abs() < 0.05, "{}", slower.more);
        let limit = picture.limit.unwrap();
        assert_eq!((&*limit.rule, limit.seconds), ("sla", 2_700.0));
    }

    #[test]
    fn an_alert_is_a_name_for_its_subject() {
        let engine = slower();
        let id = seen(&engine, "nightly", 42).slower.unwrap().alert;
        assert_eq!(seen(&engine, &id, 42), seen(&engine, "nightly", 42));
    }

    #[test]
    fn only_the_newest_are_shown_and_the_others_still_tell_what_is_usual() {
        let engine = slower();
        let all = seen(&engine, "finance nightly", 42);
        let few = seen(&engine, "night*", 3);
        assert_eq!(few.runs, all.runs[30..]);
        assert_eq!(seen(&engine, "nightly", 0).runs.len(), 1);
        assert_eq!(seen(&engine, "weekly", 9).runs.len(), 1);
        assert!(seen(&engine, "weekly", 9).slower.is_none());
    }

    #[test]
    fn a_run_of_another_kind_is_not_compared() {
        let mut engine = slower();
        let Observation::Run(key, mut manual) = run("nightly", 33, 1, Status::Success) else {
            unreachable!("it is a run");
        };
        manual.triggered_by = "alice".into();
        let input = Input {
            observations: vec![Observation::Run(key, manual)],
            ..Input::default()
        };
        engine.step(input, at(34));
        assert_eq!(seen(&engine, "nightly", 42).runs.len(), 33);
    }

    #[test]
    fn models_are_found_by_name_and_by_their_job() {
        let mut engine = slower();
        let executions = (20..30).map(|day| {
            let id = format!("e{day}");
            let started_at = at(day) + Span::minutes(1);
            Observation::Execution(
                key(),
                Execution {
                    id: id.into(),
                    run_id: Some(format!("nightly-{day}").into()),
                    model: "orders".into(),
                    status: Status::Success,
                    started_at: Some(started_at),
                    finished_at: Some(started_at + Span::seconds(90)),
                    updated_at: started_at + Span::seconds(90),
                    rows: None,
                    error: None,
                },
            )
        });
        let input = Input {
            observations: executions.collect(),
            ..Input::default()
        };
        engine.step(input, at(34));
        let picture = seen(&engine, "orders", 42);
        assert_eq!(picture.title, "finance orders");
        assert!(
            picture
                .runs
                .iter()
                .all(|run| (run.seconds - 90.0).abs() < 1e-9)
        );
        assert_eq!(picture.runs[0].id.as_deref(), Some("nightly-20"));
        assert_eq!(seen(&engine, "nightly orders", 42), picture);
        assert!(picture.limit.is_none(), "a limit of runs is none of models");
    }

    #[test]
    fn a_name_that_nothing_or_too_much_has_is_refused_with_what_there_is() {
        let engine = slower();
        refused(
            &engine,
            "nightli",
            &["is called `nightli`; did you mean `nightly`?"],
        );
        refused(&engine, "zzzzzzzzzzzzzzzzzz", &["`tardy runs`"]);
        refused(
            &engine,
            "*",
            &[
                "`*` is 2",
                "`finance nightly`, `finance weekly`; name one of them",
            ],
        );
        refused(
            &Engine::new(
                Arc::new(Policy::empty(Vec::new())),
                History::default(),
                Saved::default(),
            ),
            "x",
            &["no job"],
        );
    }
}
