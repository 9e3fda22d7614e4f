//! # success_rate
//!
//! ## What it tells
//! Share of successes among successes and failures.
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

impl SuccessRate {
    /// Judges a job.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        Judgement::start(ctx.memory)
    }
}
