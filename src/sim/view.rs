//! Filtered and sorted lists of runs and model executions, remembered while they stay the same.
//!
//! Reading 100 000 runs takes 200 requests; the list is built for the first and reused until the
//! virtual clock passes the next change of any listed row or somebody edits the organization.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::organization::{Organization, Project};
use super::runs::{RunView, Runs};
use super::variant::Order;
use crate::engine::time::{Span, Timestamp};

/// Lists kept at most: a few pollers, each with its cursor.
const REMEMBERED: usize = 8;

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Runs,
    Executions,
}

/// Which rows are listed and in which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) kind: Kind,
    pub(super) project: String,
    pub(super) updated_after: Option<Timestamp>,
    pub(super) job: Option<String>,
    pub(super) status: Option<String>,
    pub(super) job_type: Option<String>,
    pub(super) order: Order,
}

impl Filter {
    /// All rows of that kind.
    pub(super) fn all(kind: Kind, project: &str, order: Order) -> Self {
        Self {
            kind,
            project: project.to_owned(),
            updated_after: None,
            job: None,
            status: None,
            job_type: None,
            order,
        }
    }

    fn takes_run(&self, run: &RunView<'_>) -> bool {
        is_any(self.job.as_deref(), run.job) && is_any(self.job_type.as_deref(), Some(run.job_type))
    }

    fn takes(&self, status: &str, updated: Timestamp) -> bool {
        is_any(self.status.as_deref(), Some(status))
            && self.updated_after.is_none_or(|after| updated > after)
    }
}

fn is_any(wanted: Option<&str>, value: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| value == Some(wanted))
}

/// Counters over the listed runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Stats {
    pub(super) total: usize,
    pub(super) successful: usize,
    pub(super) failed: usize,
    pub(super) error: usize,
    success_time: Option<Span>,
}

impl Stats {
    pub(super) fn count(&mut self, run: &RunView<'_>) {
        self.total += 1;
        match run.status {
            "success" => {
                self.successful += 1;
                let time = run
                    .finished
                    .unwrap_or(run.updated)
                    .since(run.started.unwrap_or(run.created));
                self.success_time = Some(self.success_time.unwrap_or_default() + time);
            }
            "failed" => self.failed += 1,
            "error" => self.error += 1,
            _ => {}
        }
    }

    pub(super) fn average(&self) -> Option<Span> {
        let count = i32::try_from(self.successful)
            .ok()
            .filter(|count| *count > 0)?;
        self.success_time.map(|time| time / count)
    }
}

/// Positions of the listed rows, in order.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) rows: Vec<u32>,
    pub(super) stats: Stats,
}

#[derive(Debug)]
struct Remembered {
    filter: Filter,
    revision: u64,
    /// Good for `from <= now < until`.
    from: Timestamp,
    until: Timestamp,
    view: Arc<View>,
}

/// The remembered lists.
#[derive(Debug, Default)]
pub(super) struct Views(Mutex<VecDeque<Remembered>>);

impl Views {
    /// The list as it is at `now`.
    pub(super) fn get(
        &self,
        organization: &Organization,
        project: &Project,
        filter: Filter,
        now: Timestamp,
    ) -> Arc<View> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let revision = organization.revision();
        known.retain(|entry| entry.revision == revision);
        let found = known
            .iter()
            .find(|entry| entry.from <= now && now < entry.until && entry.filter == filter);
        if let Some(entry) = found {
            return Arc::clone(&entry.view);
        }
        let (view, until) = build(&project.runs, &filter, now);
        let view = Arc::new(view);
        if known.len() >= REMEMBERED {
            known.pop_front();
        }
        known.push_back(Remembered {
            filter,
            revision,
            from: now,
            until,
            view: Arc::clone(&view),
        });
        view
    }
}

fn build(runs: &Runs, filter: &Filter, now: Timestamp) -> (View, Timestamp) {
    let mut view = View::default();
    let mut until = Timestamp::MAX;
    for position in 0..runs.len() {
        let last_change = runs.last_change(position);
        if filter
            .updated_after
            .is_some_and(|after| last_change <= after)
        {
            continue;
        }
        if last_change > now {
            until = until.min(runs.next_change(position, now).unwrap_or(Timestamp::MAX));
        }
        match filter.kind {
            Kind::Runs => list_run(runs, filter, now, position, &mut view),
            Kind::Executions => list_executions(runs, filter, now, position, &mut view),
        }
    }
    sort(runs, filter, now, &mut view.rows);
    (view, until)
}

fn list_run(runs: &Runs, filter: &Filter, now: Timestamp, position: u32, view: &mut View) {
    let Some(run) = runs.view(position, now) else {
        return;
    };
    if filter.takes_run(&run) && filter.takes(run.status, run.updated) {
        view.rows.push(position);
        view.stats.count(&run);
    }
}

fn list_executions(runs: &Runs, filter: &Filter, now: Timestamp, run: u32, view: &mut View) {
    if !runs
        .view(run, now)
        .is_some_and(|run| filter.takes_run(&run))
    {
        return;
    }
    view.rows.extend(runs.executions_of(run).filter(|position| {
        runs.execution_brief(*position, now)
            .is_some_and(|(_, updated, status)| filter.takes(status, updated))
    }));
}

fn sort(runs: &Runs, filter: &Filter, now: Timestamp, rows: &mut [u32]) {
    let created = |position: u32| match filter.kind {
        Kind::Runs => runs.view(position, now).map(|run| run.created),
        Kind::Executions => runs
            .execution_brief(position, now)
            .map(|(started, _, _)| started),
    };
    match filter.order {
        Order::NewestFirst => rows.sort_by_cached_key(|row| Reverse((created(*row), *row))),
        Order::OldestFirst => rows.sort_by_cached_key(|row| (created(*row), *row)),
        Order::ById => rows.sort_by_cached_key(|row| match filter.kind {
            Kind::Runs => runs.view(*row, now).map(|run| run.id.to_owned()),
            Kind::Executions => runs
                .execution(*row, now)
                .map(|execution| execution.id.to_string()),
        }),
    }
}
