//! missed_schedule

use super::super::time::Span;

/// A tick of the job's schedule that no run serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissedSchedule {
    /// Waited after the tick; default a quarter of the gap between ticks, between 5 and 30 minutes.
    pub grace: Option<Span>,
}
