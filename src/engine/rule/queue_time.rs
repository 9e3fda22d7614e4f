//! # queue_time
//!
//! ## What it tells
//! A run has been waiting to start for longer than `max`, at the very instant at which it exceeds it and
//! while it is still waiting.
//!
//! ## When to use
//! Where capacity is shared: runs that are created and do not start say that workers are missing, long
//! before deadlines are. It is `run_duration` with `clock = "queue"` and no `min`.
//!
//! ## Keys
//! * `max`: longest time from created to started, `"10m"`; or a factor of what is usual, `"3x p95"`
//!   (`median`, `p90`, `p95`, `p99`, `max`): of the waits of the last 20 successes like the run (same
//!   job, job type and trigger class) that were over when it was created. Waits of no length are left
//!   out.
//! * the common `times = "n of m"`: one alert about the job instead of one for each run; it fires when
//!   n of the last m distinct runs waited too long. A run that waits counts from the instant at which
//!   it exceeds.
//!
//! Each run is a promise, kept or broken by so much, in the ledger; it is decided when the run is over.
//!
//! ## No data
//! A run is said to wait only when Tardy knows that it had not started by then: while the source cannot
//! be read, the verdict is Unknown. With a factor, fewer than 8 like waits are Unknown, no promise and
//! never an alarm. A wait that was over before Tardy could know of it makes the ledger only (and counts
//! under `times`).
//!
//! ## Resolve
//! When the run starts (or ends without having started), with how long it waited. With `times`: when
//! fewer than n of the last m runs waited too long.

use super::context::{Context, Judgement};
use super::run_duration::RunDuration;
use super::{Clock, Limit};

/// Pending longer than `max`.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueTime {
    /// Longest wait.
    pub max: Limit,
}

impl QueueTime {
    /// Judges a job.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        self.as_duration().judge(ctx)
    }

    /// The same as a limit on the queue's clock.
    pub fn as_duration(&self) -> RunDuration {
        RunDuration {
            clock: Clock::Queue,
            max: Some(self.max),
            min: None,
        }
    }
}
