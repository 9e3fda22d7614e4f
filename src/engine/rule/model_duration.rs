//! # model_duration
//!
//! ## What it tells
//! As `run_duration`, for one model execution.
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
use super::Limit;
use super::context::{Context, Judgement};

/// As `run_duration`, for one model execution.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelDuration {
    /// Longest duration.
    pub max: Option<Limit>,
    /// Shortest duration.
    pub min: Option<Span>,
}

impl ModelDuration {
    /// Judges a model.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        Judgement::start(ctx.memory)
    }
}
