//! Executions that came before their run.

use std::collections::{HashMap, VecDeque};

use super::super::observation::{Execution, Name};

/// Executions kept until their run is known; more are dropped, longest waiting runs first.
pub(super) const MAX_WAITING_RUNS: usize = 1_000;

/// Executions whose run is not known yet.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) by_run: HashMap<Name, Vec<Execution>>,
    /// Runs in the order in which they began to be waited for; some may have come since.
    pub(super) order: VecDeque<Name>,
}

impl Waiting {
    /// True when the execution is news.
    pub(super) fn put(&mut self, run_id: &Name, execution: Execution) -> bool {
        if let Some(known) = self.by_run.get_mut(run_id) {
            let is_news = !known.contains(&execution);
            if is_news {
                known.push(execution);
            }
            return is_news;
        }
        while self.by_run.len() >= MAX_WAITING_RUNS
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_run.remove(&oldest);
        }
        self.order.push_back(run_id.clone());
        self.by_run.insert(run_id.clone(), vec![execution]);
        true
    }

    pub(super) fn take(&mut self, run_id: &Name) -> Vec<Execution> {
        let taken = self.by_run.remove(run_id).unwrap_or_default();
        if !taken.is_empty() {
            self.order.retain(|waiting| waiting != run_id);
        }
        taken
    }
}
