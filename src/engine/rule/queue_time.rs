//! # queue_time
//!
//! ## What it tells
//! Pending longer than `max`.
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

use super::Limit;
use super::context::{Context, Judgement};

/// Pending longer than `max`.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueTime {
    /// Longest wait.
    pub max: Limit,
}

impl QueueTime {
    /// Judges a job.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        Judgement::start(ctx.memory)
    }
}
