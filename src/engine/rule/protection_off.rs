//! # protection_off
//!
//! ## What it tells
//! A protected environment lost its protection.
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

use super::context::Judgement;
use super::survey::Survey;

/// A protected environment lost its protection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectionOff;

impl ProtectionOff {
    /// Judges a source.
    pub fn judge(&self, survey: &Survey<'_>) -> Judgement {
        Judgement::start(survey.memory)
    }
}
