//! run_regression and model_regression

use super::super::time::Span;
use super::Clock;

/// How durations are compared with their baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Robust z-score on log durations.
    RobustZ,
    /// Share above the median.
    Percent,
    /// The level has shifted.
    Changepoint,
    /// The slope reaches the limit within the horizon.
    Trend,
}

/// Duration against a baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Regression {
    /// How.
    pub method: Method,
    /// `percent`: share above the median that breaches; default 0.5.
    pub percent: f64,
    /// `robust_z`: z-score that breaches; default 4.
    pub z: f64,
    /// Smallest ratio to the median that breaches; default 1.2.
    pub min_ratio: f64,
    /// Smallest difference to the median that breaches; default 10 s.
    pub min_delta: Span,
    /// Successes that make the baseline; default 20, at most 200.
    pub baseline_runs: u32,
    /// Fewer than this are Unknown; default 8.
    pub min_runs: u32,
    /// `trend`: how far ahead; default 14 d.
    pub horizon: Span,
    /// Which time of the run; default run.
    pub clock: Clock,
}
