//! # platform_incident
//!
//! ## What it tells
//! Many jobs failing together.
//!
//! ## When to use
//! TODO
//!
//! ## Keys
//! TODO
//!
//! ## No data
//! TODO
//!
//! ## Resolve
//! TODO

use super::super::time::Span;
use super::context::Judgement;
use super::survey::Survey;

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

impl PlatformIncident {
    /// Judges a source.
    pub fn judge(&self, survey: &Survey<'_>) -> Judgement {
        Judgement::start(survey.memory)
    }
}
