//! deadline

use chrono::NaiveTime;
use chrono_tz::Tz;

use super::super::time::Span;

/// A qualifying success by a local time on each day of the calendar.
#[derive(Clone, Debug, PartialEq)]
pub struct Deadline {
    /// Local time.
    pub by: NaiveTime,
    /// Local time from which a run's start qualifies; `None`: the last tick of the job's schedule before
    /// `by`. Later than `by` means the evening before.
    pub opens: Option<NaiveTime>,
    /// Zone of both.
    pub zone: Tz,
    /// Waited after `by` before it fires; default 0.
    pub grace: Span,
    /// Plain early warning, so long before `by`.
    pub warn_before: Option<Span>,
    /// Early warning when the probability of missing reaches this, in (0, 1).
    pub at_risk: Option<f64>,
}
