//! run_duration

use super::super::time::Span;
use super::{Clock, Limit};

/// A run takes longer than `max`, judged while it is active, or was shorter than `min`.
#[derive(Clone, Debug, PartialEq)]
pub struct RunDuration {
    /// Which time of the run; default run.
    pub clock: Clock,
    /// Longest duration.
    pub max: Option<Limit>,
    /// Shortest duration; judged at the end of a success.
    pub min: Option<Span>,
}
