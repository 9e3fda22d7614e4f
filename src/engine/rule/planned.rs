//! Parameters of the kinds whose judgement is not built yet. They are read and checked like all
//! others, so that a configuration written today stays valid.

use super::super::observation::Name;
use super::super::time::Span;
use super::Limit;
use super::regression::Regression;

/// Share of successes among successes and failures.
#[derive(Clone, Debug, PartialEq)]
pub struct SuccessRate {
    /// Runs that finished within it are counted; exclusive with `runs`.
    pub window: Option<Span>,
    /// The last so many runs are counted.
    pub runs: Option<u32>,
    /// Promised share, in (0, 1].
    pub target: f64,
    /// Fewer runs than this are Unknown.
    pub min_runs: u32,
    /// Fire only if the upper end of the 95 % Wilson interval is below the target.
    pub is_confident: bool,
}

/// The run succeeded but an expected model had no execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelNotRun {
    /// Due runs in a row without an execution.
    pub consecutive: u32,
}

/// Pending longer than `max`.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueTime {
    /// Longest wait.
    pub max: Limit,
}

/// Running, but no model execution started or finished for `quiet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStalled {
    /// Longest silence.
    pub quiet: Span,
}

/// As `run_duration`, for one model execution.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelDuration {
    /// Longest duration.
    pub max: Option<Limit>,
    /// Shortest duration.
    pub min: Option<Span>,
}

/// A job disabled, or a project suspended or not deployed, for longer than `max`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    /// Longest pause.
    pub max: Span,
}

/// Number of runs in a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunCount {
    /// The window.
    pub window: Span,
    /// Fewest runs.
    pub min: Option<u32>,
    /// Most runs.
    pub max: Option<u32>,
    /// `false`: two runs active at once are a breach.
    pub overlap: Option<bool>,
}

/// Many jobs failing together.
#[derive(Clone, Debug, PartialEq)]
pub struct PlatformIncident {
    /// Runs that finished within it are looked at.
    pub window: Span,
    /// Share of the jobs that ran, in (0, 1].
    pub min_share: f64,
    /// At least so many jobs.
    pub min_jobs: u32,
}

/// Row counts of a model against their baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// How they are compared.
    pub regression: Regression,
}

/// A plan waits for approval longer than `max`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanWaiting {
    /// Longest wait, on the calendar's clock when the rule has one.
    pub max: Span,
}

/// A plan failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanFailed;

/// Commits on the branch that are not deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectDrift {
    /// Most commits behind.
    pub max_commits_behind: u32,
}

/// A protected environment lost its protection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectionOff;

/// Promised share of ledger rows met, counted in events.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// The rules whose promises count.
    pub of: Vec<Name>,
    /// Rolling window.
    pub window: Span,
    /// Promised share, in (0, 1).
    pub target: f64,
}
