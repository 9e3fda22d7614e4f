//! Group commit: callers that arrive while a commit is being made durable wait and share the next
//! one.
//!
//! The first to arrive leads: it takes what is queued, in order of arrival and up to a bound, has
//! it written, hands the outcome to everybody in the group, and goes on until its own commit is
//! done. No thread of its own.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::store::{Commit, StoreError};

/// A group takes no further commit once it has this many bytes: everybody in it waits for all of
/// it.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

type Outcome = Result<(), StoreError>;

#[derive(Debug)]
struct Ticket {
    commit: Commit,
    outcome: Mutex<Option<Outcome>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Arc<Ticket>>,
    is_led: bool,
}

/// The queue of commits.
#[derive(Debug, Default)]
pub(super) struct Group {
    queue: Mutex<Queue>,
    turned: Condvar,
}

impl Group {
    /// Has `commit` written by `write`, alone or with others; returns when it is done.
    pub(super) fn commit(&self, commit: &Commit, write: impl Fn(&[&Commit]) -> Outcome) -> Outcome {
        let mine = Arc::new(Ticket {
            commit: commit.clone(),
            outcome: Mutex::new(None),
        });
        let mut queue = self.lock();
        queue.waiting.push_back(Arc::clone(&mine));
        loop {
            if let Some(outcome) = take(&mine) {
                return outcome;
            }
            if queue.is_led {
                queue = self
                    .turned
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.is_led = true;
            let group = next_group(&mut queue.waiting);
            drop(queue);
            let commits: Vec<&Commit> = group.iter().map(|ticket| &ticket.commit).collect();
            let outcome = write(&commits);
            queue = self.lock();
            queue.is_led = false;
            for ticket in &group {
                give(ticket, outcome.clone());
            }
            self.turned.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn next_group(waiting: &mut VecDeque<Arc<Ticket>>) -> Vec<Arc<Ticket>> {
    let mut bytes = 0;
    let mut group = Vec::new();
    while let Some(ticket) = waiting.pop_front() {
        bytes += commit_bytes(&ticket.commit);
        group.push(ticket);
        if bytes >= GROUP_BYTES {
            break;
        }
    }
    group
}

/// Bytes of a commit's keys and values.
pub(super) fn commit_bytes(commit: &Commit) -> usize {
    commit
        .writes
        .iter()
        .map(|(_, key, value)| key.len() + value.as_ref().map_or(0, Vec::len))
        .sum()
}

fn take(ticket: &Ticket) -> Option<Outcome> {
    let mut outcome = ticket
        .outcome
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    outcome.take()
}

fn give(ticket: &Ticket, outcome: Outcome) {
    *ticket
        .outcome
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = Some(outcome);
}
