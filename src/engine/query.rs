//! Answers to questions about the state, for the command line, chat and pages: one set of answers, so
//! that all of them say the same. A question changes nothing.

mod deliveries;
mod gates;
mod picture;
mod routes;
mod silences;
mod sla;
mod when;
mod why;
mod why_not;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

pub use deliveries::{
    DeliveriesAnswer, DeliveryQuestion, DeliveryRow, DeliveryState, ToldInstead, unknown_receiver,
};
pub use gates::{Gate, GateKind, GateState, brief, of_deliveries};
pub use picture::{
    Picture, PictureAnswer, PictureLimit, PictureQuestion, PictureRun, PictureSlower, PictureUsual,
    picture,
};
pub use routes::{
    EscalationWhy, Hearer, LabelsError, NodeFate, NodeTrial, QuietBy, QuietNow, RouteNode,
    RouteTrial, RoutesAnswer, WhenTold, WindowNow, parse_labels, parse_matchers, quiet_now,
    route_trial, routes,
};
pub use silences::{SilenceRow, silence_preview, silences};
pub use sla::{BudgetRow, PromiseRow, SlaAnswer, SlaQuestion, SlaRow, sla};
pub use when::{WhenError, parse_when};
pub use why::{
    CalendarWhy, HistoryWhy, KnownWhy, PastAlert, RuleWhy, ToldWhy, Why, WhyAnswer, why,
};
pub use why_not::{
    Playing, PreparedWhyNot, WhyNot, WhyNotAnswer, WhyNotQuestion, WhyNotSubject, of_transitions,
    prepare_why_not, why_not,
};

use super::Engine;
use super::alert::{Alert, AlertState};
use super::baseline::{Baseline, seconds, span};
use super::history::{Outcome, ProjectHistory};
use super::labels::{Glob, Matcher};
use super::notification::{AlertView, SuppressionReason};
use super::observation::{Run, Status};
use super::rule::context::is_like;
use super::rule::{RuleKind, Severity};
use super::subject::MANUAL_JOB;
use super::time::{Span, Timestamp, human_time};

/// Which runs are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Every run.
    All,
    /// Failed, error or partial.
    Failed,
    /// With an open alert about lateness: a deadline, a missed tick, staleness.
    Late,
    /// Pending or running.
    Running,
    /// At least half as long again as usual.
    Slow,
}

impl RunState {
    /// As written, in the order of help.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("all", Self::All),
        ("failed", Self::Failed),
        ("late", Self::Late),
        ("running", Self::Running),
        ("slow", Self::Slow),
    ];
}

/// A question about runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunQuestion {
    /// Which.
    pub state: RunState,
    /// Job or project name.
    pub pattern: Glob,
    /// Runs created or active within so many milliseconds before now.
    pub within_millis: i64,
    /// Most rows.
    pub limit: usize,
}

/// One run in an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    /// Source name.
    pub source: String,
    /// Project name.
    pub project: String,
    /// Job name.
    pub job: String,
    /// Run id.
    pub id: String,
    /// Status word.
    pub status: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it finished.
    pub finished_at: Option<Timestamp>,
    /// Milliseconds it ran, so far when it is active.
    pub ran_millis: Option<i64>,
    /// Usual milliseconds, when known.
    pub usual_millis: Option<i64>,
    /// Runs that "usual" was made from.
    pub usual_runs: u32,
    /// First line of the error.
    pub error: Option<String>,
    /// Link.
    pub url: Option<String>,
}

/// Rows, and how many more there are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Rows left out.
    pub more: usize,
}

impl<T> Page<T> {
    /// The first rows, and how many are left out.
    pub(in crate::engine) fn cut(mut rows: Vec<T>, limit: usize) -> Self {
        let more = rows.len().saturating_sub(limit);
        rows.truncate(limit);
        Self { rows, more }
    }
}

/// How many near names are told.
const MAX_NEAR: usize = 3;

/// A name that nothing has, in backticks, and what near it there is; `else_where` says where to look when nothing is.
pub(in crate::engine) fn near_names(
    mut names: Vec<String>,
    asked: &str,
    else_where: &str,
) -> String {
    names.sort();
    names.dedup();
    let mut near: Vec<(usize, &String)> = names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(name, asked), name))
        .filter(|(distance, name)| *distance <= name.chars().count().max(asked.chars().count()) / 2)
        .collect();
    near.sort();
    let near: Vec<String> = near
        .iter()
        .take(MAX_NEAR)
        .map(|(_, name)| format!("`{name}`"))
        .collect();
    let asked: String = asked.chars().take(60).collect();
    match near.as_slice() {
        [] => format!("`{asked}`; {else_where}"),
        near => format!("`{asked}`; did you mean {}?", near.join(" or ")),
    }
}

/// Half as long again as usual is slow.
const SLOW_RATIO: f64 = 1.5;

/// "Usual" is made from so many like successes.
const USUAL_RUNS: usize = 20;

/// Runs, newest first.
pub fn runs(engine: &Engine, question: &RunQuestion, now: Timestamp) -> Page<RunRow> {
    let since = now - Span::milliseconds(question.within_millis);
    let mut rows = Vec::new();
    for project in engine.history().projects() {
        let is_project = question.pattern.is_match(project.display_name());
        for job in project.jobs() {
            if !is_project && !question.pattern.is_match(&job.name) {
                continue;
            }
            let recent = project.created_between(job, since, Timestamp::MAX);
            let older_active = project.active(job).filter(|run| run.created_at < since);
            for run in recent.chain(older_active) {
                if is_wanted(engine, project, run, question.state, now) {
                    rows.push(run_row(engine, project, run, now));
                }
            }
        }
    }
    rows.sort_by(|a, b| {
        b.created_at
            .cmp(&a.created_at)
            .then_with(|| b.id.cmp(&a.id))
    });
    Page::cut(rows, question.limit)
}

fn is_wanted(
    engine: &Engine,
    project: &ProjectHistory,
    run: &Run,
    state: RunState,
    now: Timestamp,
) -> bool {
    match state {
        RunState::All => true,
        RunState::Failed => run.status.is_failure() || run.status == Status::Partial,
        RunState::Running => run.status.is_active(),
        RunState::Late => engine
            .alerts()
            .any(|alert| is_about_lateness(alert, project, run)),
        RunState::Slow => {
            let usual = usual(project, run);
            let ran = ran(run, now);
            usual
                .zip(ran)
                .is_some_and(|(usual, ran)| seconds(ran) >= SLOW_RATIO * usual.median)
        }
    }
}

fn is_about_lateness(alert: &Alert, project: &ProjectHistory, run: &Run) -> bool {
    let job = run.job.as_deref().unwrap_or(MANUAL_JOB);
    alert.is_open()
        && matches!(
            &*alert.kind,
            "deadline" | "missed_schedule" | "staleness" | "run_duration"
        )
        && alert.identity.get("project_id") == &*project.key.project_id
        && alert.identity.get("job") == job
        && (run.status.is_active() || alert.evidence.run_id.as_ref() == Some(&run.id))
}

fn usual(project: &ProjectHistory, run: &Run) -> Option<Baseline> {
    let job = project.job(run.job.as_deref().unwrap_or(MANUAL_JOB))?;
    let like = project
        .finished(job)
        .filter(|other| other.status == Status::Success && is_like(other, run))
        .filter(|other| other.id != run.id)
        .filter_map(Run::run_time)
        .take(USUAL_RUNS);
    Baseline::of(like.map(seconds)).filter(|usual| usual.count >= 3)
}

fn ran(run: &Run, now: Timestamp) -> Option<Span> {
    let end = if run.status.is_active() {
        now
    } else {
        run.finished_at?
    };
    Some(end.since(run.started_at?))
}

fn run_row(engine: &Engine, project: &ProjectHistory, run: &Run, now: Timestamp) -> RunRow {
    let usual = usual(project, run);
    RunRow {
        source: project.key.source.to_string(),
        project: project.display_name().to_string(),
        job: run.job.as_deref().unwrap_or(MANUAL_JOB).to_owned(),
        id: run.id.to_string(),
        status: run.status.as_str().to_owned(),
        created_at: run.created_at,
        started_at: run.started_at,
        finished_at: run.finished_at,
        ran_millis: ran(run, now).map(|span| span.num_milliseconds()),
        usual_millis: usual.map(|usual| span(usual.median).num_milliseconds()),
        usual_runs: usual.map_or(0, |usual| usual.count),
        error: run.error.as_deref().map(super::rule::context::error_line),
        url: engine.link(&project.key, &run.id),
    }
}

/// Which alerts are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertQuery {
    /// Firing and pending.
    Open,
    /// Firing.
    Firing,
    /// Pending.
    Pending,
    /// Kept quiet.
    Silenced,
}

/// A question about alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertQuestion {
    /// Which.
    pub state: AlertQuery,
    /// All must match.
    pub matchers: Vec<Matcher>,
    /// Most rows.
    pub limit: usize,
}

/// One alert in an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertRow {
    /// Short id.
    pub id: String,
    /// Where it stands.
    pub state: AlertState,
    /// How bad.
    pub severity: Severity,
    /// The rule.
    pub rule: String,
    /// Where it was written.
    pub origin: String,
    /// One line.
    pub headline: String,
    /// When it became true.
    pub began_at: Timestamp,
    /// When it fired.
    pub fired_at: Option<Timestamp>,
    /// Who owns it.
    pub owner: Option<String>,
    /// Who has taken it on, and until when: `by ada until 14:00 UTC`.
    #[serde(default)]
    pub acknowledged: Option<String>,
    /// Why it is kept quiet.
    pub suppressed: Option<String>,
    /// Link to the run.
    pub run_url: Option<String>,
    /// All labels.
    pub labels: super::labels::Labels,
}

/// Open alerts: firing before pending, worst first, oldest first.
pub fn alerts(engine: &Engine, question: &AlertQuestion) -> Page<AlertRow> {
    let mut rows: Vec<AlertRow> = engine
        .alerts()
        .filter(|alert| alert.is_open())
        .filter(|alert| {
            question
                .matchers
                .iter()
                .all(|matcher| matcher.is_match(&alert.labels))
        })
        .map(|alert| alert_row(engine, alert))
        .filter(|row| match question.state {
            AlertQuery::Open => true,
            AlertQuery::Firing => row.state == AlertState::Firing,
            AlertQuery::Pending => row.state == AlertState::Pending,
            AlertQuery::Silenced => row.suppressed.is_some(),
        })
        .collect();
    rows.sort_by(by_weight);
    Page::cut(rows, question.limit)
}

/// Firing before pending, worst first, oldest first.
fn by_weight(a: &AlertRow, b: &AlertRow) -> Ordering {
    (b.state.cmp(&a.state))
        .then(b.severity.cmp(&a.severity))
        .then(a.began_at.cmp(&b.began_at))
        .then_with(|| a.id.cmp(&b.id))
}

/// The newest open alert of a rule, as people are told of it: one that fires before one that does not yet.
pub fn newest_alert(engine: &Engine, rule: &str) -> Option<AlertView> {
    let open = engine
        .alerts()
        .filter(|alert| alert.is_open() && &*alert.rule == rule);
    open.max_by_key(|alert| (alert.state, alert.began_at, alert.fingerprint))
        .map(|alert| alert.view(false))
}

fn alert_row(engine: &Engine, alert: &Alert) -> AlertRow {
    let silence = engine.silence_of(alert).map(|silence| {
        let reason = SuppressionReason::Silenced(silence.id.clone());
        reason.to_string()
    });
    let suppressed = silence.or_else(|| {
        let mut groups = engine.groups();
        groups.find_map(|group| Some(group.reasons.get(&alert.fingerprint)?.to_string()))
    });
    let acknowledged = alert.acknowledged.as_ref().map(|known| {
        let zone = engine.zone_of(alert);
        format!(
            "by {} until {}",
            known.by,
            human_time(known.until, known.at, zone)
        )
    });
    AlertRow {
        id: alert.id(),
        state: alert.state,
        severity: alert.severity,
        rule: alert.rule.to_string(),
        origin: alert.origin.clone(),
        headline: alert.headline().to_owned(),
        began_at: alert.began_at,
        fired_at: alert.fired_at,
        owner: alert.owner.clone(),
        acknowledged,
        suppressed,
        run_url: alert.run_url.clone(),
        labels: alert.labels.clone(),
    }
}

/// Which models are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelState {
    /// By seconds added against the time before.
    All,
    /// At least half as long again as before.
    Slow,
    /// With a failure.
    Failed,
    /// With an open regression alert.
    Regressed,
}

/// A question about models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelQuestion {
    /// Which.
    pub state: ModelState,
    /// Model, job or project name.
    pub pattern: Glob,
    /// Executions that started within so many milliseconds before now, against as long a time before.
    pub within_millis: i64,
    /// Most rows.
    pub limit: usize,
}

/// One model in an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelRow {
    /// Project name.
    pub project: String,
    /// Job name.
    pub job: String,
    /// Model name.
    pub model: String,
    /// Executions.
    pub executions: usize,
    /// Failures among them.
    pub failures: usize,
    /// Median milliseconds.
    pub median_millis: Option<i64>,
    /// Median milliseconds in the time before.
    pub before_millis: Option<i64>,
    /// Milliseconds added in all, against the median before.
    pub added_millis: i64,
}

/// Models, most seconds added first.
pub fn models(engine: &Engine, question: &ModelQuestion, now: Timestamp) -> Page<ModelRow> {
    let within = Span::milliseconds(question.within_millis);
    let mut rows = Vec::new();
    for project in engine.history().projects() {
        for (job, model, history) in project.models() {
            let names = [&**model, &**job, &**project.display_name()];
            if !names.iter().any(|name| question.pattern.is_match(name)) {
                continue;
            }
            let all = history.since(now - within * 2);
            let split = all.partition_point(|execution| execution.started_at < now - within);
            let (before, recent) = all.split_at(split);
            if recent.is_empty() {
                continue;
            }
            let row = model_row(project, (job, model), before, recent);
            if is_model_wanted(engine, &row, question.state) {
                rows.push(row);
            }
        }
    }
    rows.sort_by(|a, b| {
        b.added_millis
            .cmp(&a.added_millis)
            .then_with(|| a.model.cmp(&b.model))
            .then_with(|| a.job.cmp(&b.job))
    });
    Page::cut(rows, question.limit)
}

fn model_row(
    project: &ProjectHistory,
    (job, model): (&str, &str),
    before: &[super::history::ExecutionRecord],
    recent: &[super::history::ExecutionRecord],
) -> ModelRow {
    let durations = |list: &[super::history::ExecutionRecord]| {
        let successes = list
            .iter()
            .filter(|execution| execution.outcome() == Outcome::Success);
        let seconds = successes
            .filter_map(super::history::ExecutionRecord::run_time)
            .map(seconds);
        Baseline::of(seconds)
    };
    let (was, is) = (durations(before), durations(recent));
    let median = |baseline: Option<Baseline>| baseline.map(|b| span(b.median).num_milliseconds());
    let (was_millis, is_millis) = (median(was), median(is));
    let count = is.map_or(0, |baseline| i64::from(baseline.count));
    ModelRow {
        project: project.display_name().to_string(),
        job: job.to_owned(),
        model: model.to_owned(),
        executions: recent.len(),
        failures: recent
            .iter()
            .filter(|e| e.outcome() == Outcome::Failure)
            .count(),
        median_millis: is_millis,
        before_millis: was_millis,
        added_millis: was_millis
            .zip(is_millis)
            .map_or(0, |(was, is)| (is - was) * count),
    }
}

fn is_model_wanted(engine: &Engine, row: &ModelRow, state: ModelState) -> bool {
    match state {
        ModelState::All => true,
        ModelState::Failed => row.failures > 0,
        ModelState::Slow => row
            .median_millis
            .zip(row.before_millis)
            .is_some_and(|(is, was)| {
                seconds(Span::milliseconds(is)) >= SLOW_RATIO * seconds(Span::milliseconds(was))
            }),
        ModelState::Regressed => engine.alerts().any(|alert| {
            alert.is_open()
                && &*alert.kind == "model_regression"
                && alert.identity.get("model") == row.model
                && alert.identity.get("job") == row.job
        }),
    }
}

/// One rule in an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleRow {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// How bad a breach is.
    pub severity: Severity,
    /// Where it was written.
    pub origin: String,
    /// Subjects it judges now.
    pub subjects: usize,
    /// Open alerts.
    pub open: usize,
}

/// The rules in force.
pub fn rules(engine: &Engine) -> Vec<RuleRow> {
    let subjects = engine.subjects_by_rule();
    engine
        .policy()
        .rules
        .iter()
        .enumerate()
        .map(|(index, rule)| RuleRow {
            name: rule.name.to_string(),
            kind: rule.kind.name().to_owned(),
            severity: rule.severity,
            origin: rule.origin.clone(),
            subjects: match rule.kind {
                RuleKind::SourceUnreachable(_) => engine.policy().sources.len(),
                _ => subjects.get(index).copied().unwrap_or(0),
            },
            open: engine
                .alerts()
                .filter(|a| a.is_open() && a.rule == rule.name)
                .count(),
        })
        .collect()
}
