//! # project_drift
//!
//! ## What it tells
//! Commits on the branch that are not deployed.
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

/// Commits on the branch that are not deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectDrift {
    /// Most commits behind.
    pub max_commits_behind: u32,
}

impl ProjectDrift {
    /// Judges a project.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        Judgement::start(ctx.memory)
    }
}
