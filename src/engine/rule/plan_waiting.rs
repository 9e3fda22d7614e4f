//! # plan_waiting
//!
//! ## What it tells
//! A plan waits for approval longer than `max`.
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

/// A plan waits for approval longer than `max`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanWaiting {
    /// Longest wait, on the calendar's clock when the rule has one.
    pub max: Span,
}

impl PlanWaiting {
    /// Judges a project.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        Judgement::start(ctx.memory)
    }
}
