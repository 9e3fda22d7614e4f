//! Runs and model executions of one project, packed: 100 000 runs with a million executions take
//! some 60 MB, and what they look like at an instant is computed when it is asked for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::model::{Amendment, Outcome, PlannedExecution, PlannedRun};
use crate::engine::time::Timestamp;

/// Stands for "no text" among interned ones.
const NONE: u32 = u32::MAX;
/// Stands for "never" among instants.
const NEVER: Timestamp = Timestamp::MAX;

#[derive(Clone, Debug, Default)]
struct Texts {
    list: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Texts {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = count(self.list.len());
        let shared: Arc<str> = Arc::from(text);
        self.list.push(Arc::clone(&shared));
        self.numbers.insert(shared, number);
        number
    }

    fn optional(&mut self, text: Option<&str>) -> u32 {
        text.map_or(NONE, |text| self.number(text))
    }

    fn get(&self, number: u32) -> Option<&str> {
        self.list.get(index(number)).map(AsRef::as_ref)
    }

    fn text(&self, number: u32) -> &str {
        self.get(number).unwrap_or_default()
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(NONE)
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn instant(at: Option<Timestamp>) -> Timestamp {
    at.unwrap_or(NEVER)
}

fn passed(at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    (at <= now && at != NEVER).then_some(at)
}

#[derive(Clone, Debug)]
struct RunRow {
    id: Arc<str>,
    job: u32,
    job_type: u32,
    trigger: u32,
    status: u32,
    error: u32,
    first_execution: u32,
    executions: u32,
    created: Timestamp,
    started: Timestamp,
    finished: Timestamp,
    /// The last instant at which anything about the run or its executions changes.
    last_change: Timestamp,
}

#[derive(Clone, Debug)]
struct ExecutionRow {
    started: Timestamp,
    finished: Timestamp,
    run: u32,
    model: u32,
    status: u32,
    error: u32,
}

/// What a run looks like at an instant.
#[derive(Clone, Debug)]
pub(super) struct RunView<'a> {
    pub(super) id: &'a str,
    pub(super) job: Option<&'a str>,
    pub(super) job_type: &'a str,
    pub(super) triggered_by: &'a str,
    pub(super) status: &'a str,
    pub(super) error: Option<&'a str>,
    pub(super) created: Timestamp,
    pub(super) started: Option<Timestamp>,
    pub(super) finished: Option<Timestamp>,
    pub(super) updated: Timestamp,
}

/// What a model execution looks like at an instant.
#[derive(Clone, Debug)]
pub(super) struct ExecutionView<'a> {
    pub(super) id: ExecutionId<'a>,
    pub(super) run: RunView<'a>,
    pub(super) model: &'a str,
    pub(super) status: &'a str,
    pub(super) error: Option<&'a str>,
    pub(super) started: Timestamp,
    pub(super) finished: Option<Timestamp>,
    pub(super) updated: Timestamp,
    /// Rows written by a success: planned, or made up.
    pub(super) rows: Option<i64>,
}

/// The id of an execution: given, or made from its run and position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ExecutionId<'a> {
    Given(&'a str),
    Made(&'a str, u32),
}

impl std::fmt::Display for ExecutionId<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Given(id) => f.write_str(id),
            Self::Made(run, position) => {
                write!(
                    f,
                    "mex_{}_{position}",
                    run.strip_prefix("run_").unwrap_or(run)
                )
            }
        }
    }
}

/// All runs of a project, in the order they were added.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    texts: Texts,
    rows: Vec<RunRow>,
    executions: Vec<ExecutionRow>,
    given_ids: BTreeMap<u32, Arc<str>>,
    given_rows: BTreeMap<u32, i64>,
    later: BTreeMap<u32, Vec<Amendment>>,
    by_id: HashMap<Arc<str>, u32>,
}

impl Runs {
    pub(super) fn len(&self) -> u32 {
        count(self.rows.len())
    }

    pub(super) fn position(&self, id: &str) -> Option<u32> {
        self.by_id.get(id).copied()
    }

    /// Adds a run, or replaces the one with that id.
    pub(super) fn put(&mut self, run: PlannedRun) {
        let position = self.position(&run.id).unwrap_or_else(|| self.len());
        let id: Arc<str> = Arc::from(run.id.as_str());
        let first_execution = count(self.executions.len());
        for execution in &run.executions {
            self.put_execution(position, execution);
        }
        let row = RunRow {
            id: Arc::clone(&id),
            job: self.texts.optional(run.job.as_deref()),
            job_type: self.texts.number(&run.job_type),
            trigger: self.texts.number(&run.triggered_by),
            status: self.texts.number(run.status.as_str()),
            error: self.texts.optional(run.error.as_deref()),
            first_execution,
            executions: count(run.executions.len()),
            created: run.created_at,
            started: instant(run.started_at),
            finished: instant(run.finished_at),
            last_change: last_change(&run),
        };
        if let Some(old) = self.rows.get_mut(index(position)) {
            *old = row; // its old executions stay behind, unreachable
        } else {
            self.rows.push(row);
        }
        self.by_id.insert(id, position);
        if run.later.is_empty() {
            self.later.remove(&position);
        } else {
            let mut later = run.later;
            later.sort_by_key(|amendment| amendment.at);
            self.later.insert(position, later);
        }
    }

    fn put_execution(&mut self, run: u32, execution: &PlannedExecution) {
        let position = count(self.executions.len());
        if let Some(id) = &execution.id {
            self.given_ids.insert(position, Arc::from(id.as_str()));
        }
        if let Some(rows) = execution.rows {
            self.given_rows.insert(position, rows);
        }
        self.executions.push(ExecutionRow {
            started: execution.started_at,
            finished: instant(execution.finished_at),
            run,
            model: self.texts.number(&execution.model),
            status: self.texts.number(execution.status.as_str()),
            error: self.texts.optional(execution.error.as_deref()),
        });
    }

    /// The last instant at which anything about the run or its executions changes.
    pub(super) fn last_change(&self, position: u32) -> Timestamp {
        self.rows
            .get(index(position))
            .map_or(Timestamp::MIN, |row| row.last_change)
    }

    /// The next instant after `now` at which the run or one of its executions looks different.
    pub(super) fn next_change(&self, position: u32, now: Timestamp) -> Option<Timestamp> {
        let row = self.rows.get(index(position))?;
        let own = [row.created, row.started, row.finished];
        let later = self
            .later
            .get(&position)
            .into_iter()
            .flatten()
            .map(|amendment| amendment.at);
        let executions = self
            .executions_of(position)
            .filter_map(|n| self.executions.get(index(n)));
        own.into_iter()
            .chain(later)
            .chain(executions.flat_map(|execution| [execution.started, execution.finished]))
            .filter(|at| *at > now && *at != NEVER)
            .min()
    }

    /// Positions of the executions of a run.
    pub(super) fn executions_of(&self, position: u32) -> std::ops::Range<u32> {
        self.rows.get(index(position)).map_or(0..0, |row| {
            row.first_execution..row.first_execution + row.executions
        })
    }

    /// The run as it looks at `now`; `None` before its creation.
    pub(super) fn view(&self, position: u32, now: Timestamp) -> Option<RunView<'_>> {
        let row = self
            .rows
            .get(index(position))
            .filter(|row| row.created <= now)?;
        let started = passed(row.started, now);
        let finished = passed(row.finished, now);
        let mut view = RunView {
            id: &row.id,
            job: self.texts.get(row.job),
            job_type: self.texts.text(row.job_type),
            triggered_by: self.texts.text(row.trigger),
            status: if started.is_some() {
                "running"
            } else {
                "pending"
            },
            error: None,
            created: row.created,
            started,
            finished,
            updated: started.unwrap_or(row.created),
        };
        if let Some(at) = finished {
            view.status = self.texts.text(row.status);
            view.error = self.texts.get(row.error);
            view.updated = at;
        }
        self.amend(position, now, &mut view);
        Some(view)
    }

    fn amend<'a>(&'a self, position: u32, now: Timestamp, view: &mut RunView<'a>) {
        if self.later.is_empty() {
            return;
        }
        for amendment in self
            .later
            .get(&position)
            .into_iter()
            .flatten()
            .filter(|a| a.at <= now)
        {
            view.status = amendment.status.as_str();
            view.error = amendment.error.as_deref();
            view.updated = amendment.at;
        }
    }

    /// The execution as it looks at `now`; `None` before its start.
    pub(super) fn execution(&self, position: u32, now: Timestamp) -> Option<ExecutionView<'_>> {
        let row = self
            .executions
            .get(index(position))
            .filter(|row| row.started <= now)?;
        let run = self.view(row.run, now)?;
        let finished = passed(row.finished, now);
        let is_success = self.texts.text(row.status) == "success";
        let made_up = || made_up_rows(self.texts.text(row.model), position);
        let rows = || {
            self.given_rows
                .get(&position)
                .copied()
                .unwrap_or_else(made_up)
        };
        Some(ExecutionView {
            rows: finished.filter(|_| is_success).map(|_| rows()),
            id: self.execution_id(position, row.run, run.id),
            run,
            model: self.texts.text(row.model),
            status: if finished.is_some() {
                self.texts.text(row.status)
            } else {
                "running"
            },
            error: finished.and_then(|_| self.texts.get(row.error)),
            started: row.started,
            finished,
            updated: finished.unwrap_or(row.started),
        })
    }

    /// When an execution starts and was last updated, and its status: enough to filter and sort.
    pub(super) fn execution_brief(
        &self,
        position: u32,
        now: Timestamp,
    ) -> Option<(Timestamp, Timestamp, &str)> {
        let row = self
            .executions
            .get(index(position))
            .filter(|row| row.started <= now)?;
        Some(match passed(row.finished, now) {
            Some(at) => (row.started, at, self.texts.text(row.status)),
            None => (row.started, row.started, "running"),
        })
    }

    fn execution_id<'a>(&'a self, position: u32, run: u32, run_id: &'a str) -> ExecutionId<'a> {
        match self.given_ids.get(&position) {
            Some(id) => ExecutionId::Given(id),
            None => ExecutionId::Made(run_id, position - self.executions_of(run).start),
        }
    }

    /// The plan of a run, as it was put in.
    pub(super) fn planned(&self, position: u32) -> Option<PlannedRun> {
        let row = self.rows.get(index(position))?;
        let known = |at: Timestamp| (at != NEVER).then_some(at);
        let owned = |number: u32| self.texts.get(number).map(ToOwned::to_owned);
        let executions = self.executions_of(position).filter_map(|number| {
            let execution = self.executions.get(index(number))?;
            Some(PlannedExecution {
                id: self.given_ids.get(&number).map(ToString::to_string),
                model: self.texts.text(execution.model).to_owned(),
                started_at: execution.started,
                finished_at: known(execution.finished),
                status: Outcome::from_text(self.texts.text(execution.status)),
                error: owned(execution.error),
                rows: self.given_rows.get(&number).copied(),
            })
        });
        Some(PlannedRun {
            id: row.id.to_string(),
            job: owned(row.job),
            job_type: self.texts.text(row.job_type).to_owned(),
            created_at: row.created,
            started_at: known(row.started),
            finished_at: known(row.finished),
            status: Outcome::from_text(self.texts.text(row.status)),
            error: owned(row.error),
            triggered_by: self.texts.text(row.trigger).to_owned(),
            executions: executions.collect(),
            later: self.later.get(&position).cloned().unwrap_or_default(),
        })
    }
}

/// A size for each model, between 1 000 and 101 000 rows, that varies by some percent.
fn made_up_rows(model: &str, position: u32) -> i64 {
    // FNV-1a: the same everywhere.
    let hash = model.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let size = 1_000 + i64::try_from(hash % 100_000).unwrap_or(0);
    let noise = i64::from(position.wrapping_mul(2_654_435_761) >> 16) % 81 - 40;
    size + size * noise / 1_000
}

fn last_change(run: &PlannedRun) -> Timestamp {
    let later = run.later.iter().map(|amendment| amendment.at);
    let executions = run
        .executions
        .iter()
        .flat_map(|execution| [Some(execution.started_at), execution.finished_at])
        .flatten();
    [Some(run.created_at), run.started_at, run.finished_at]
        .into_iter()
        .flatten()
        .chain(later)
        .chain(executions)
        .max()
        .unwrap_or(run.created_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::time::Span;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn example() -> PlannedRun {
        PlannedRun::failure("run_a", "hourly", at(100), Span::seconds(50), "broken")
            .queued_for(Span::seconds(10))
            .with_model("orders", Span::seconds(20), Outcome::Success, None)
            .with_model("refunds", Span::seconds(20), Outcome::Failed, Some("audit"))
            .amended(at(500), Outcome::Success, None)
    }

    #[test]
    fn a_success_counts_its_rows_once_it_has_finished() {
        let run = PlannedRun::success("run_a", "hourly", at(100), Span::seconds(90))
            .with_model("orders", Span::seconds(20), Outcome::Success, None)
            .with_rows(120)
            .with_model("refunds", Span::seconds(20), Outcome::Failed, Some("audit"))
            .with_rows(7)
            .with_model("daily", Span::seconds(20), Outcome::Success, None);
        let mut runs = Runs::default();
        runs.put(run.clone());
        let rows = |position, now| runs.execution(position, at(now)).and_then(|seen| seen.rows);
        assert_eq!(
            [rows(0, 119), rows(0, 120), rows(1, 500)],
            [None, Some(120), None]
        );
        let made_up = rows(2, 500).unwrap();
        assert!((960..=105_000).contains(&made_up), "{made_up}");
        assert_eq!(runs.planned(0).unwrap(), run);
    }

    #[test]
    fn a_run_is_a_function_of_time() {
        let mut runs = Runs::default();
        runs.put(example());
        for (now, expected) in [
            (99, None),
            (100, Some(("pending", None, 100))),
            (109, Some(("pending", None, 100))),
            (110, Some(("running", None, 110))),
            (159, Some(("running", None, 110))),
            (160, Some(("failed", Some("broken"), 160))),
            (499, Some(("failed", Some("broken"), 160))),
            (500, Some(("success", None, 500))),
        ] {
            let seen = runs.view(0, at(now));
            let expected = expected.map(|(status, error, updated)| (status, error, at(updated)));
            assert_eq!(
                seen.map(|view| (view.status, view.error, view.updated)),
                expected,
                "{now}"
            );
        }
    }

    #[test]
    fn changes_are_foretold() {
        let mut runs = Runs::default();
        runs.put(example());
        let mut now = at(0);
        let mut seen = Vec::new();
        while let Some(next) = runs.next_change(0, now) {
            seen.push(next.as_millis() / 1_000);
            now = next;
        }
        assert_eq!(seen, [100, 110, 130, 150, 160, 500]);
        assert_eq!(runs.last_change(0), at(500));
    }

    #[test]
    fn executions_follow_their_own_times() {
        let mut runs = Runs::default();
        runs.put(example());
        let second = |now| {
            runs.execution(1, at(now))
                .map(|view| (view.status, view.error))
        };
        assert_eq!(second(129), None);
        assert_eq!(second(130), Some(("running", None)));
        assert_eq!(second(150), Some(("failed", Some("audit"))));
        assert_eq!(
            runs.execution(1, at(150)).unwrap().id.to_string(),
            "mex_a_1"
        );
    }

    #[test]
    fn plans_come_back_as_they_went_in_and_are_replaced_by_id() {
        let mut runs = Runs::default();
        runs.put(example());
        assert_eq!(runs.planned(0), Some(example()));
        let other = PlannedRun::endless("run_a", "hourly", at(100));
        runs.put(other.clone());
        assert_eq!((runs.len(), runs.planned(0)), (1, Some(other)));
        assert!(runs.executions_of(0).is_empty());
    }
}
