//! # run_count
//!
//! ## What it tells
//! Number of runs in a window.
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
use super::context::{Context, Judgement};

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

impl RunCount {
    /// Judges a job.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        Judgement::start(ctx.memory)
    }
}
