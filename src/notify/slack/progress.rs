//! What has been done of deliveries that are not done yet.
//!
//! Role: a delivery is several calls: a message, replies, a picture. When one fails, the next attempt goes on
//! where this one stopped. Guarantees: bounded; forgotten once the delivery is settled. It does not outlive the
//! process: after a restart, messages are looked up.

use std::collections::{BTreeSet, VecDeque};

use super::Posted;
use super::payload::{Part, Size};
use crate::notify::limits::slack as limits;

/// What has been done of one delivery.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The conversation's message, when this delivery has posted it.
    pub(super) first: Option<Posted>,
    /// How large it was.
    pub(super) size: Size,
    /// Replies that are there.
    pub(super) replied: BTreeSet<Part>,
    /// The thread has been looked through for replies of earlier attempts.
    pub(super) is_looked_up: bool,
}

/// The progress of several deliveries, newest last.
#[derive(Debug, Default)]
pub(super) struct Open(VecDeque<(String, Progress)>);

impl Open {
    pub(super) fn take(&mut self, delivery_id: &str) -> Progress {
        let found = self.0.iter().position(|(id, _)| id == delivery_id);
        found
            .and_then(|index| self.0.remove(index))
            .map(|(_, progress)| progress)
            .unwrap_or_default()
    }

    pub(super) fn keep(&mut self, delivery_id: &str, progress: Progress) {
        if self.0.len() >= limits::PROGRESS {
            self.0.pop_front();
        }
        self.0.push_back((delivery_id.to_owned(), progress));
    }
}
