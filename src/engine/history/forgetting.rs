//! Forgetting what is older than anybody asks for.

use std::collections::{BTreeSet, HashMap};

use super::super::subject::MANUAL_JOB;
use super::super::time::Timestamp;
use super::job::from;
use super::{ProjectHistory, Slot};

impl ProjectHistory {
    /// Forgets runs and executions created before `cutoff`. Active runs stay.
    pub(super) fn forget_before(&mut self, cutoff: Timestamp) {
        self.plans.forget_before(cutoff);
        self.averages.forget_before(cutoff);
        let old: BTreeSet<Slot> = self
            .jobs
            .values()
            .flat_map(|job| job.by_created.range(..from(cutoff)))
            .map(|(_, _, slot)| *slot)
            .filter(|slot| !self.run_at(*slot).status.is_active())
            .collect();
        for model in self.models.values_mut() {
            model.forget_before(cutoff);
        }
        if old.is_empty() {
            return;
        }
        let runs = std::mem::take(&mut self.runs);
        let progress = std::mem::take(&mut self.progress);
        self.run_slots.clear();
        for job in self.jobs.values_mut() {
            job.by_created.clear();
            job.by_settled.clear();
            job.successes.clear();
            job.active.clear();
        }
        let mut moved: HashMap<Slot, Slot> = HashMap::new();
        for ((slot, run), moved_at) in (0..).zip(runs).zip(progress) {
            if !old.contains(&slot) {
                moved.insert(
                    slot,
                    Slot::try_from(self.runs.len()).unwrap_or(Slot::MAX - 1),
                );
                let job = run.job.clone().unwrap_or_else(|| MANUAL_JOB.into());
                self.put_run(&job, run);
                if let Some(known) = self.progress.last_mut() {
                    *known = moved_at;
                }
            }
        }
        for execution in self
            .models
            .values_mut()
            .flat_map(|model| &mut model.executions)
        {
            execution.run = moved.get(&execution.run).copied().unwrap_or(Slot::MAX);
        }
    }
}
