//! # objective
//!
//! ## What it tells
//! Promised share of ledger rows met, counted in events.
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

use super::super::observation::Name;
use super::super::time::Span;
use super::context::Judgement;
use super::survey::Survey;

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

impl Objective {
    /// Judges an objective.
    pub fn judge(&self, survey: &Survey<'_>) -> Judgement {
        Judgement::start(survey.memory)
    }
}
