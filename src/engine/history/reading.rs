//! What rules ask of a project's history.

use super::super::observation::{Name, Run};
use super::super::time::{Span, Timestamp};
use super::job::Hold;
use super::job::from;
use super::{ExecutionRecord, JobHistory, MANUAL_JOB, ModelHistory, Outcome, ProjectHistory, Slot};

impl ProjectHistory {
    /// Runs of a job that finished after `after`, in order of finishing.
    pub fn finished_after<'a>(
        &'a self,
        job: &'a JobHistory,
        after: Timestamp,
    ) -> impl DoubleEndedIterator<Item = &'a Run> + 'a {
        job.by_settled
            .range(from(after + Span::milliseconds(1))..)
            .map(|(_, _, slot)| self.run_at(*slot))
    }

    /// Finished runs of a job, newest finish first.
    pub fn finished<'a>(&'a self, job: &'a JobHistory) -> impl Iterator<Item = &'a Run> + 'a {
        job.by_settled
            .iter()
            .rev()
            .map(|(_, _, slot)| self.run_at(*slot))
    }

    /// Finished runs of a job that settled at or before `run` did, newest first: `run` itself and those
    /// before it.
    pub fn finished_up_to<'a>(
        &'a self,
        job: &'a JobHistory,
        run: &Run,
    ) -> impl Iterator<Item = &'a Run> + 'a {
        job.by_settled
            .range(..=(run.settled_at(), run.id.clone(), Slot::MAX))
            .rev()
            .map(|(_, _, slot)| self.run_at(*slot))
    }

    /// Successes of a job that settled at or before `run` did, newest first.
    pub fn successes_up_to<'a>(
        &'a self,
        job: &'a JobHistory,
        run: &Run,
    ) -> impl Iterator<Item = &'a Run> + 'a {
        job.successes
            .range(..=(run.settled_at(), run.id.clone(), Slot::MAX))
            .rev()
            .map(|(_, _, slot)| self.run_at(*slot))
    }

    /// Successes of a job that settled after `after`, in order.
    pub fn successes_after<'a>(
        &'a self,
        job: &'a JobHistory,
        after: Timestamp,
    ) -> impl Iterator<Item = &'a Run> + 'a {
        job.successes
            .range(from(after + Span::milliseconds(1))..)
            .map(|(_, _, slot)| self.run_at(*slot))
    }

    /// Successes of a job, newest first.
    pub fn successes<'a>(&'a self, job: &'a JobHistory) -> impl Iterator<Item = &'a Run> + 'a {
        job.successes
            .iter()
            .rev()
            .map(|(_, _, slot)| self.run_at(*slot))
    }

    /// Successes of a job that settled before an instant, newest first.
    pub fn successes_before<'a>(
        &'a self,
        job: &'a JobHistory,
        before: Timestamp,
    ) -> impl Iterator<Item = &'a Run> + 'a {
        job.successes
            .range(..from(before))
            .rev()
            .map(|(_, _, slot)| self.run_at(*slot))
    }

    /// Active runs of a job, oldest first.
    pub fn active<'a>(&'a self, job: &'a JobHistory) -> impl Iterator<Item = &'a Run> + 'a {
        job.active.iter().map(|(_, _, slot)| self.run_at(*slot))
    }

    /// Runs of a job, newest created first.
    pub fn newest<'a>(&'a self, job: &'a JobHistory) -> impl Iterator<Item = &'a Run> + 'a {
        job.by_created
            .iter()
            .rev()
            .map(|(_, _, slot)| self.run_at(*slot))
    }

    /// Runs of a job created in `[start, end)`, in order.
    pub fn created_between<'a>(
        &'a self,
        job: &'a JobHistory,
        start: Timestamp,
        end: Timestamp,
    ) -> impl Iterator<Item = &'a Run> + 'a {
        job.by_created
            .range(from(start)..from(end.max(start)))
            .map(|(_, _, slot)| self.run_at(*slot))
    }

    /// The run an execution belongs to.
    pub fn run_of(&self, execution: &ExecutionRecord) -> Option<&Run> {
        self.runs.get(execution.run as usize)
    }

    /// The instant up to which the absence of an execution may be concluded, runs being known up to
    /// `known_until`. `None`: executions are not served, or were not read since the start.
    pub fn executions_known(&self, known_until: Timestamp) -> Option<Timestamp> {
        Some(self.executions_known_until?.min(known_until))
    }

    /// When a model last started or finished in a run; `None`: no execution of it was seen.
    pub fn progress_of(&self, run: &Run) -> Option<Timestamp> {
        let slot = self.run_slots.get(&run.id)?;
        let moved_at = *self.progress.get(*slot as usize)?;
        (moved_at > Timestamp::MIN).then_some(moved_at)
    }

    /// Models of a job, by name.
    pub fn models_of(&self, job: &Name) -> impl Iterator<Item = (&Name, &ModelHistory)> {
        self.models
            .range((job.clone(), Name::from(""))..)
            .take_while(move |((of, _), _)| of == job)
            .map(|((_, name), model)| (name, model))
    }

    /// Executions of a model in a run, by start.
    pub fn executions_in<'a>(
        &self,
        model: &'a ModelHistory,
        run: &Run,
    ) -> impl Iterator<Item = &'a ExecutionRecord> + use<'a> {
        let slot = self.run_slots.get(&run.id).copied().unwrap_or(Slot::MAX);
        let from = run.started_at.unwrap_or(run.created_at) - Span::minutes(1);
        let until = run
            .finished_at
            .map_or(Timestamp::MAX, |at| at + Span::minutes(1));
        let within = model.since(from).iter();
        within
            .take_while(move |execution| execution.started_at <= until)
            .filter(move |execution| execution.run == slot && slot != Slot::MAX)
    }

    /// Models of `run` that failed, and how many were skipped because of them.
    pub fn failures_of(&self, run: &Run) -> (Vec<(&Name, &ModelHistory, &ExecutionRecord)>, usize) {
        let Some(slot) = self.run_slots.get(&run.id) else {
            return (Vec::new(), 0);
        };
        let job = run.job.clone().unwrap_or_else(|| MANUAL_JOB.into());
        let from = run.started_at.unwrap_or(run.created_at) - Span::minutes(1);
        let until = run
            .finished_at
            .map_or(Timestamp::MAX, |at| at + Span::minutes(1));
        let (mut failed, mut skipped) = (Vec::new(), 0);
        let of_job = self.models.range((job.clone(), Name::from(""))..);
        for ((_, name), model) in of_job.take_while(|((model_job, _), _)| *model_job == job) {
            let within = model.since(from).iter();
            for execution in within
                .take_while(|execution| execution.started_at <= until)
                .filter(|execution| execution.run == *slot)
            {
                match execution.outcome {
                    Outcome::Failure => failed.push((name, model, execution)),
                    Outcome::Skipped => skipped += 1,
                    Outcome::Open | Outcome::Success => {}
                }
            }
        }
        failed.sort_by_key(|(name, _, execution)| (execution.finished_at(), (*name).clone()));
        (failed, skipped)
    }

    /// The hold under way, or the last one there was.
    pub fn last_hold(&self) -> Option<Hold> {
        self.holds.last().copied()
    }

    /// The job's ticks start nothing at `at`: it is disabled, or the project is held.
    pub fn is_held(&self, job: &JobHistory, at: Timestamp) -> bool {
        self.is_held_within(job, at, at)
    }

    /// The job was held at some moment in `[start, end]`.
    pub fn is_held_within(&self, job: &JobHistory, start: Timestamp, end: Timestamp) -> bool {
        let mut holds = self.holds.iter().chain(&job.holds);
        holds.any(|hold| hold.from <= end && hold.to.is_none_or(|to| start < to))
    }

    /// When the job was last held: the end of the last stretch that is over.
    pub fn last_held(&self, job: &JobHistory) -> Option<Timestamp> {
        let holds = self.holds.iter().chain(&job.holds);
        holds.filter_map(|hold| hold.to).max()
    }

    /// The newest instant at or before `until` at which a hold of the job, or of its project, had lasted for
    /// `span`. One whose beginning is not known counts from when it was there for certain.
    pub fn long_held_at(
        &self,
        job: &JobHistory,
        span: Span,
        until: Timestamp,
    ) -> Option<Timestamp> {
        let instants = self.long_holds(job, span);
        instants.filter(|at| *at <= until).max()
    }

    /// The first instant after `after` at which a hold of the job, or of its project, will have lasted for
    /// `span`.
    pub fn long_held_after(
        &self,
        job: &JobHistory,
        span: Span,
        after: Timestamp,
    ) -> Option<Timestamp> {
        let instants = self.long_holds(job, span);
        instants.filter(|at| *at > after).min()
    }

    fn long_holds<'a>(
        &'a self,
        job: &'a JobHistory,
        span: Span,
    ) -> impl Iterator<Item = Timestamp> + 'a {
        let holds = self.holds.iter().chain(&job.holds);
        holds.filter_map(move |hold| {
            let at = hold.since()?.0 + span;
            hold.to.is_none_or(|to| to >= at).then_some(at)
        })
    }

    /// How long the job was held in `(start, end)`; time held by both project and job counts once.
    pub fn held_time(&self, job: &JobHistory, start: Timestamp, end: Timestamp) -> Span {
        let mut free = Span::zero();
        for (from, to) in self.free_stretches(job, start) {
            free += to.min(end).since(from.min(end));
        }
        end.since(start) - free
    }

    /// Stretches `[from, to)` after `start` in which the job was not held, in order; the last one ends at
    /// [`Timestamp::MAX`] unless a hold goes on.
    pub fn free_stretches(
        &self,
        job: &JobHistory,
        start: Timestamp,
    ) -> Vec<(Timestamp, Timestamp)> {
        let mut holds: Vec<Hold> = self.holds.iter().chain(&job.holds).copied().collect();
        holds.sort_by_key(|hold| hold.from);
        let mut free = Vec::new();
        let mut free_from = start;
        for hold in holds {
            if hold.from > free_from {
                free.push((free_from, hold.from));
            }
            free_from = free_from.max(hold.to.unwrap_or(Timestamp::MAX));
        }
        if free_from < Timestamp::MAX {
            free.push((free_from, Timestamp::MAX));
        }
        free
    }
}
