//! # plan_failed
//!
//! ## What it tells
//! A plan failed.
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

/// A plan failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanFailed;

impl PlanFailed {
    /// Judges a project.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        Judgement::start(ctx.memory)
    }
}
