//! Rules: what is promised, and how one subject is judged.
//!
//! A [`Rule`] is a checked value: whatever configuration could be wrong about it has been refused
//! before. Each kind has one file with its documentation, its parameters and its verdict.

pub mod context;
pub mod deadline;
#[cfg(test)]
mod fixture;
mod limit;
pub mod missed_schedule;
pub mod model_duration;
pub mod model_failed;
pub mod model_not_run;
pub mod objective;
pub mod paused;
pub mod plan_failed;
pub mod plan_waiting;
pub mod platform_incident;
pub mod project_drift;
pub mod protection_off;
pub mod queue_time;
pub mod regression;
pub mod rows;
pub mod run_count;
pub mod run_duration;
pub mod run_failed;
pub mod run_stalled;
mod season;
pub mod source_unreachable;
pub mod staleness;
pub mod success_rate;
pub mod survey;
mod times;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::calendar::Calendar;
use super::history::ProjectHistory;
use super::labels::{Labels, Patterns};
use super::observation::Name;
use super::schedule::Cron;
use super::time::{Span, Timestamp};

/// How bad it is. Ordered: `Info < Warning < Critical`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look today.
    Warning,
    /// Worth waking somebody.
    Critical,
}

impl Severity {
    /// One step less bad: the severity of an early warning.
    #[must_use]
    pub fn softer(self) -> Self {
        match self {
            Self::Critical => Self::Warning,
            Self::Warning | Self::Info => Self::Info,
        }
    }

    /// As configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A configured condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Unique name.
    pub name: Name,
    /// What is judged, with its parameters.
    pub kind: RuleKind,
    /// Which subjects.
    pub selectors: Selectors,
    /// How bad a breach is.
    pub severity: Severity,
    /// Extra labels for routing.
    pub labels: Labels,
    /// Texts for people.
    pub annotations: Annotations,
    /// When it is evaluated; `None`: whenever something it depends on changes, and at the very instant
    /// at which its verdict can change by itself.
    pub schedule: Option<Cron>,
    /// `for`: how long a breach must last before it fires.
    pub hold: Span,
    /// How long it must be over before it resolves.
    pub keep_firing_for: Span,
    /// `times = "n of m"`: so many of the last m distinct runs must breach.
    pub times: Option<Times>,
    /// Share of the threshold at which it resolves, in (0, 1].
    pub clear: f64,
    /// Days and hours in which it is judged.
    pub calendar: Option<Calendar>,
    /// Receivers that replace routing.
    pub receivers: Option<Vec<Name>>,
    /// Zone of rendered times.
    pub zone: Tz,
    /// Where it was written, `rules/finance.toml:12`.
    pub origin: String,
    /// Its keys as they were written, with the defaults of those that were not; for people, decides nothing.
    pub settings: Vec<Setting>,
}

/// A key of a rule, as people read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The key.
    pub key: String,
    /// Its value, as TOML or in words.
    pub value: String,
    /// Where it comes from.
    pub from: SettingFrom,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingFrom {
    /// Written in the rule.
    Rule,
    /// Written in `[defaults]` of its file.
    Defaults,
    /// Not written: what holds then.
    BuiltIn,
}

/// `n of m`: at least `n` of the last `m` distinct runs. 1 <= n <= m <= 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// Breaching runs needed.
    pub needed: u32,
    /// Runs looked at.
    pub of: u32,
}

/// Which subjects a rule judges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selectors {
    /// Project id or name.
    pub project: Patterns,
    /// Job name.
    pub job: Patterns,
    /// Model name.
    pub model: Patterns,
    /// Environment name.
    pub environment: Patterns,
    /// Run type: `run`, `plan`, `janitor`.
    pub job_type: Patterns,
    /// What started the run.
    pub triggered_by: Patterns,
}

impl Selectors {
    /// A project's id or name, and its environment, are wanted.
    pub fn is_project(&self, project: &ProjectHistory) -> bool {
        let environment = project.info.as_ref().and_then(|i| i.environment.as_deref());
        self.project
            .is_match_any(&[&project.key.project_id, project.display_name()])
            && environment.is_none_or(|name| self.environment.is_match(name))
    }
}

/// Texts for people; may use `{job}` style placeholders of the alert's labels and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// Replaces the one-line headline.
    pub summary: Option<String>,
    /// A paragraph below it.
    pub description: Option<String>,
    /// Link to what to do.
    pub runbook: Option<String>,
    /// Who owns it.
    pub owner: Option<String>,
}

/// Which of a run's times is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Clock {
    /// created to started
    Queue,
    /// started to finished
    Run,
    /// scheduled tick (or created) to finished
    Total,
}

impl Clock {
    /// As configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Run => "run",
            Self::Total => "total",
        }
    }
}

/// A limit on a duration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Limit {
    /// `"45m"`
    Fixed(Span),
    /// `"1.5x p95"`: a factor of the baseline's statistic.
    Factor {
        /// Multiplies the statistic; above 0.
        factor: f64,
        /// Which statistic.
        of: Statistic,
    },
}

/// A statistic of a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Statistic {
    /// `median` or `p50`
    Median,
    /// `p90`
    P90,
    /// `p95`
    P95,
    /// `p99`
    P99,
    /// `max`
    Max,
}

/// A condition and its parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleKind {
    /// The last runs failed.
    RunFailed(run_failed::RunFailed),
    /// Share of successes.
    SuccessRate(success_rate::SuccessRate),
    /// A model failed inside a run.
    ModelFailed(model_failed::ModelFailed),
    /// An expected model did not execute.
    ModelNotRun(model_not_run::ModelNotRun),
    /// A run takes too long (or was too short).
    RunDuration(run_duration::RunDuration),
    /// A run waits too long to start.
    QueueTime(queue_time::QueueTime),
    /// A run makes no progress.
    RunStalled(run_stalled::RunStalled),
    /// A model takes too long.
    ModelDuration(model_duration::ModelDuration),
    /// A job has become slower.
    RunRegression(regression::Regression),
    /// A model has become slower.
    ModelRegression(regression::Regression),
    /// A success by a time of day.
    Deadline(deadline::Deadline),
    /// A tick without a run.
    MissedSchedule(missed_schedule::MissedSchedule),
    /// The newest success of a job is old.
    Staleness(staleness::Staleness),
    /// The newest success of a model is old.
    ModelStaleness(staleness::Staleness),
    /// A job or project is held for too long.
    Paused(paused::Paused),
    /// Too few or too many runs.
    RunCount(run_count::RunCount),
    /// Many jobs fail together.
    PlatformIncident(platform_incident::PlatformIncident),
    /// Row counts against a baseline.
    Rows(rows::Rows),
    /// A plan waits for approval.
    PlanWaiting(plan_waiting::PlanWaiting),
    /// A plan failed.
    PlanFailed(plan_failed::PlanFailed),
    /// Commits are not deployed.
    ProjectDrift(project_drift::ProjectDrift),
    /// An environment lost its protection.
    ProtectionOff(protection_off::ProtectionOff),
    /// Promised share of ledger rows met.
    Objective(objective::Objective),
    /// Tardy cannot see, or cannot tell.
    SourceUnreachable(source_unreachable::SourceUnreachable),
}

/// Every kind as configuration writes it, in the order of the reference.
pub const KIND_NAMES: [&str; 24] = [
    "run_failed",
    "success_rate",
    "model_failed",
    "model_not_run",
    "run_duration",
    "queue_time",
    "run_stalled",
    "model_duration",
    "run_regression",
    "model_regression",
    "deadline",
    "missed_schedule",
    "staleness",
    "model_staleness",
    "paused",
    "run_count",
    "platform_incident",
    "rows",
    "plan_waiting",
    "plan_failed",
    "project_drift",
    "protection_off",
    "objective",
    "source_unreachable",
];

/// What a kind judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each job.
    Job,
    /// Each model of each job.
    Model,
    /// Each project.
    Project,
    /// Each project, and each job.
    ProjectAndJob,
    /// Each source, across its projects.
    Source,
    /// Each source and each receiver.
    Health,
    /// The promises of other rules.
    Objective,
}

/// Share of the threshold at which a rule resolves that does not say otherwise.
pub const DEFAULT_CLEAR: f64 = 0.9;

impl Rule {
    /// A rule of which only name and kind are said: critical, fires at once, at every subject, in UTC.
    pub fn new(name: &str, kind: RuleKind, origin: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind,
            selectors: Selectors::default(),
            severity: Severity::Critical,
            labels: Labels::default(),
            annotations: Annotations::default(),
            schedule: None,
            hold: Span::zero(),
            keep_firing_for: Span::zero(),
            times: None,
            clear: DEFAULT_CLEAR,
            calendar: None,
            receivers: None,
            zone: Tz::UTC,
            origin: origin.into(),
            settings: Vec::new(),
        }
    }

    /// When a breach that began at `at` fires: after `for`, in the hours of the rule's calendar.
    pub fn fires_at(&self, at: Timestamp) -> Timestamp {
        let at = at + self.hold;
        match &self.calendar {
            Some(calendar) if !self.kind.counts_by_calendar() => calendar.next_open(at),
            Some(_) | None => at,
        }
    }

    /// When `span` has passed since `from`, on the calendar's clock when the rule has one;
    /// [`Timestamp::MAX`] for a calendar that never opens.
    pub fn after(&self, from: Timestamp, span: Span) -> Timestamp {
        match &self.calendar {
            Some(calendar) => calendar.after_open_time(from, span),
            None => from + span,
        }
    }

    /// The time in `(from, to)`, on the calendar's clock when the rule has one.
    pub fn time_between(&self, from: Timestamp, to: Timestamp) -> Span {
        match &self.calendar {
            Some(calendar) => calendar.open_time(from, to),
            None => to.since(from),
        }
    }

    /// What part of the rule this version cannot judge yet, in words; `None` when it judges all of it.
    pub fn not_built(&self) -> Option<String> {
        self.kind.not_built()
    }
}

impl RuleKind {
    /// As configuration writes it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RunFailed(_) => "run_failed",
            Self::SuccessRate(_) => "success_rate",
            Self::ModelFailed(_) => "model_failed",
            Self::ModelNotRun(_) => "model_not_run",
            Self::RunDuration(_) => "run_duration",
            Self::QueueTime(_) => "queue_time",
            Self::RunStalled(_) => "run_stalled",
            Self::ModelDuration(_) => "model_duration",
            Self::RunRegression(_) => "run_regression",
            Self::ModelRegression(_) => "model_regression",
            Self::Deadline(_) => "deadline",
            Self::MissedSchedule(_) => "missed_schedule",
            Self::Staleness(_) => "staleness",
            Self::ModelStaleness(_) => "model_staleness",
            Self::Paused(_) => "paused",
            Self::RunCount(_) => "run_count",
            Self::PlatformIncident(_) => "platform_incident",
            Self::Rows(_) => "rows",
            Self::PlanWaiting(_) => "plan_waiting",
            Self::PlanFailed(_) => "plan_failed",
            Self::ProjectDrift(_) => "project_drift",
            Self::ProtectionOff(_) => "protection_off",
            Self::Objective(_) => "objective",
            Self::SourceUnreachable(_) => "source_unreachable",
        }
    }

    /// What kind of subject is judged.
    pub fn scope(&self) -> Scope {
        match self {
            Self::RunFailed(_)
            | Self::SuccessRate(_)
            | Self::ModelNotRun(_)
            | Self::RunDuration(_)
            | Self::QueueTime(_)
            | Self::RunStalled(_)
            | Self::RunRegression(_)
            | Self::Deadline(_)
            | Self::MissedSchedule(_)
            | Self::Staleness(_)
            | Self::RunCount(_) => Scope::Job,
            Self::ModelFailed(_)
            | Self::ModelDuration(_)
            | Self::ModelRegression(_)
            | Self::ModelStaleness(_)
            | Self::Rows(_) => Scope::Model,
            Self::PlanWaiting(_) | Self::PlanFailed(_) | Self::ProjectDrift(_) => Scope::Project,
            Self::Paused(_) => Scope::ProjectAndJob,
            Self::PlatformIncident(_) | Self::ProtectionOff(_) => Scope::Source,
            Self::SourceUnreachable(_) => Scope::Health,
            Self::Objective(_) => Scope::Objective,
        }
    }

    /// The kind itself counts only days or hours of the rule's calendar: which promises are owed, or how
    /// time passes. Alerts of all other kinds fire in the calendar's hours.
    pub fn counts_by_calendar(&self) -> bool {
        matches!(
            self,
            Self::Deadline(_)
                | Self::MissedSchedule(_)
                | Self::Staleness(_)
                | Self::ModelStaleness(_)
                | Self::Paused(_)
                | Self::PlanWaiting(_)
        )
    }

    /// A breach may be that nothing happened: only what is listed owes anything.
    pub fn is_about_absence(&self) -> bool {
        matches!(
            self,
            Self::Deadline(_)
                | Self::MissedSchedule(_)
                | Self::Staleness(_)
                | Self::ModelStaleness(_)
                | Self::RunCount(_)
        )
    }

    /// The first look at a subject reads its whole history (for the ledger), not only what is new.
    pub fn reads_history(&self) -> bool {
        matches!(
            self,
            Self::RunDuration(_)
                | Self::QueueTime(_)
                | Self::ModelDuration(_)
                | Self::Deadline(_)
                | Self::MissedSchedule(_)
        )
    }

    /// Judges a project, a job or a model. Kinds that are judged otherwise say nothing here.
    pub fn judge(&self, ctx: &context::Context<'_>) -> context::Judgement {
        match self {
            Self::RunFailed(rule) => rule.judge(ctx),
            Self::SuccessRate(rule) => rule.judge(ctx),
            Self::ModelFailed(rule) => rule.judge(ctx),
            Self::ModelNotRun(rule) => rule.judge(ctx),
            Self::RunDuration(rule) => rule.judge(ctx),
            Self::QueueTime(rule) => rule.judge(ctx),
            Self::RunStalled(rule) => rule.judge(ctx),
            Self::ModelDuration(rule) => rule.judge(ctx),
            Self::RunRegression(rule) | Self::ModelRegression(rule) => rule.judge(ctx),
            Self::Deadline(rule) => rule.judge(ctx),
            Self::MissedSchedule(rule) => rule.judge(ctx),
            Self::Staleness(rule) | Self::ModelStaleness(rule) => rule.judge(ctx),
            Self::Paused(rule) => rule.judge(ctx),
            Self::RunCount(rule) => rule.judge(ctx),
            Self::Rows(rule) => rule.judge(ctx),
            Self::PlanWaiting(rule) => rule.judge(ctx),
            Self::PlanFailed(rule) => rule.judge(ctx),
            Self::ProjectDrift(rule) => rule.judge(ctx),
            Self::SourceUnreachable(_)
            | Self::PlatformIncident(_)
            | Self::ProtectionOff(_)
            | Self::Objective(_) => context::Judgement::start(ctx.memory),
        }
    }

    /// Judges a source or an objective, which see more than one project. `None`: the kind is judged
    /// otherwise.
    pub fn survey(&self, survey: &survey::Survey<'_>) -> Option<context::Judgement> {
        match self {
            Self::PlatformIncident(rule) => Some(rule.judge(survey)),
            Self::ProtectionOff(rule) => Some(rule.judge(survey)),
            Self::Objective(rule) => Some(rule.judge(survey)),
            _ => None,
        }
    }

    /// What part of the rule this version cannot judge yet, in words; `None` when it judges all of it.
    pub fn not_built(&self) -> Option<String> {
        match self {
            Self::Rows(rule) => rule.not_built(),
            _ => None,
        }
    }
}
