//! # model_not_run
//!
//! ## What it tells
//! The run succeeded but an expected model had no execution.
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

use super::context::{Context, Judgement};

/// The run succeeded but an expected model had no execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelNotRun {
    /// Due runs in a row without an execution.
    pub consecutive: u32,
}

impl ModelNotRun {
    /// Judges a job.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        Judgement::start(ctx.memory)
    }
}
