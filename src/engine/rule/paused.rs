//! # paused
//!
//! ## What it tells
//! A job disabled, or a project suspended or not deployed, for longer than `max`.
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

/// A job disabled, or a project suspended or not deployed, for longer than `max`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    /// Longest pause.
    pub max: Span,
}

impl Paused {
    /// Judges a job or a project.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        Judgement::start(ctx.memory)
    }
}
