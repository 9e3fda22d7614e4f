//! run_failed

use super::super::observation::Status;

/// The last `consecutive` finished runs of the subject all have a status in `statuses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFailed {
    /// Statuses that count as failed; default failed and error.
    pub statuses: Vec<Status>,
    /// Finished runs in a row, at least 1.
    pub consecutive: u32,
}
