//! Models that take long, and those that take longer than before.

use std::cmp::Reverse;

use super::super::baseline::{Baseline, seconds, span};
use super::super::history::{ExecutionRecord, ModelHistory, Outcome, ProjectHistory};
use super::super::query::Page;
use super::super::time::{Span, Timestamp};
use super::{Look, MAX_MODELS, ModelLine, short};

/// Usual is the median of at most so many successes before the period.
const USUAL: usize = 20;

/// With fewer, nothing is usual.
const MIN_USUAL: usize = 3;

/// A model grows when its median is above usual by this share,
const GROWN_RATIO: f64 = 1.1;

/// and so much time was added in all.
const GROWN_LEAST: Span = Span::seconds(10);

impl Look<'_> {
    fn models(&self) -> Vec<ModelLine> {
        let projects = self.engine.digested_projects();
        let lines = projects.flat_map(|project| {
            project
                .models()
                .filter_map(|(job, model, history)| self.model(project, (job, model), history))
        });
        lines.collect()
    }

    /// `None`: it did not succeed in the period.
    fn model(
        &self,
        project: &ProjectHistory,
        (job, model): (&str, &str),
        history: &ModelHistory,
    ) -> Option<ModelLine> {
        let all = history.up_to(self.to);
        let split = all.partition_point(|execution| execution.started_at <= self.from());
        let (before, within) = all.split_at(split);
        let took: Vec<f64> = within.iter().filter_map(|one| took(one, self.to)).collect();
        let now = Baseline::of(took.iter().copied())?;
        let usual: Vec<f64> = before
            .iter()
            .rev()
            .filter_map(took_at_all)
            .take(USUAL)
            .collect();
        let count = usual.len();
        let usual = Baseline::of(usual).filter(|_| count >= MIN_USUAL);
        let millis = |seconds: f64| span(seconds).num_milliseconds();
        let added = |usual: &Baseline| {
            let added: f64 = took.iter().map(|took| took - usual.median).sum();
            millis(added)
        };
        Some(ModelLine {
            project: short(project.display_name()),
            job: short(job),
            model: short(model),
            count: took.len(),
            median_millis: millis(now.median),
            usual_millis: usual.map(|usual| millis(usual.median)),
            usual_count: count,
            added_millis: usual.as_ref().map(added),
        })
    }

    pub(super) fn growing(&self) -> Page<ModelLine> {
        let mut lines = self.models();
        lines.retain(is_growing);
        lines.sort_by_cached_key(|line| (Reverse(line.added_millis), name(line)));
        Page::cut(lines, MAX_MODELS)
    }

    pub(super) fn slowest(&self) -> Page<ModelLine> {
        let mut lines = self.models();
        lines.sort_by_cached_key(|line| (Reverse(line.median_millis), name(line)));
        // How many others are quicker says nothing.
        lines.truncate(MAX_MODELS);
        Page {
            rows: lines,
            more: 0,
        }
    }
}

fn name(line: &ModelLine) -> (String, String, String) {
    (line.project.clone(), line.job.clone(), line.model.clone())
}

fn is_growing(line: &ModelLine) -> bool {
    let (Some(usual), Some(added)) = (line.usual_millis, line.added_millis) else {
        return false;
    };
    let (is, was) = (
        Span::milliseconds(line.median_millis),
        Span::milliseconds(usual),
    );
    seconds(is) >= GROWN_RATIO * seconds(was) && Span::milliseconds(added) >= GROWN_LEAST
}

fn took_at_all(execution: &ExecutionRecord) -> Option<f64> {
    (execution.outcome() == Outcome::Success).then_some(seconds(execution.run_time()?))
}

/// How long a success took that was over by `until`.
fn took(execution: &ExecutionRecord, until: Timestamp) -> Option<f64> {
    execution.finished_at().filter(|at| *at <= until)?;
    took_at_all(execution)
}
