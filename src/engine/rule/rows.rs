//! # rows
//!
//! ## What it tells
//! Row counts of a model against their baseline.
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
use super::regression::Regression;

/// Row counts of a model against their baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// How they are compared.
    pub regression: Regression,
}

impl Rows {
    /// Judges a model.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        Judgement::start(ctx.memory)
    }
}
