//! # run_stalled
//!
//! ## What it tells
//! Running, but no model execution started or finished for `quiet`.
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

/// Running, but no model execution started or finished for `quiet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStalled {
    /// Longest silence.
    pub quiet: Span,
}

impl RunStalled {
    /// Judges a job.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        Judgement::start(ctx.memory)
    }
}
