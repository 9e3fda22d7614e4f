//! Aggregates over runs and model executions: per day and per model.

use std::collections::BTreeMap;

use super::json::{Object, push_items};
use super::organization::Project;
use super::variant::{Aggregates, Variant};
use super::view::Stats;
use crate::engine::time::{Span, Timestamp};

fn day_of(at: Timestamp) -> String {
    at.to_utc().format("%Y-%m-%d").to_string()
}

/// The body of `/runs/daily-stats`: the last `days` days up to `now`, those with runs.
pub(super) fn daily(variant: &Variant, project: &Project, now: Timestamp, days: i64) -> String {
    let first = day_of(now - Span::days(days.saturating_sub(1)));
    let mut by_day: BTreeMap<String, Stats> = BTreeMap::new();
    for position in 0..project.runs.len() {
        let Some(run) = project.runs.view(position, now) else {
            continue;
        };
        let day = day_of(run.created);
        if day >= first {
            by_day.entry(day).or_default().count(&run);
        }
    }
    let (day_field, average_field, key) = match variant.aggregates {
        Aggregates::Stats => ("date", "avg_duration_seconds", "stats"),
        Aggregates::Named => ("day", "avg_success_duration", "daily_stats"),
        Aggregates::Bare => ("run_date", "avg_duration", ""),
    };
    wrap(variant, key, |out| {
        push_items(out, &by_day, |out, (day, stats)| {
            Object::new(out, variant)
                .text(day_field, day)
                .whole("total_runs", stats.total)
                .whole("successful_runs", stats.successful)
                .whole("failed_runs", stats.failed)
                .whole("error_runs", stats.error)
                .optional_seconds(average_field, stats.average())
                .end();
        });
    })
}

#[derive(Default)]
struct ModelStats {
    count: usize,
    successes: usize,
    failures: usize,
    total: Span,
    shortest: Option<Span>,
    longest: Option<Span>,
}

impl ModelStats {
    fn add(&mut self, status: &str, took: Span) {
        self.count += 1;
        self.successes += usize::from(status == "success");
        self.failures += usize::from(status == "failed");
        self.total += took;
        self.shortest = Some(self.shortest.map_or(took, |known| known.min(took)));
        self.longest = Some(self.longest.map_or(took, |known| known.max(took)));
    }
}

/// The body of `/model-executions/stats`: finished executions started on the days from `start` to
/// `end` (`YYYY-MM-DD`; whether `end` is included is the variant's).
pub(super) fn models(
    variant: &Variant,
    project: &Project,
    now: Timestamp,
    start: Option<&str>,
    end: Option<&str>,
) -> String {
    let mut by_model: BTreeMap<&str, ModelStats> = BTreeMap::new();
    for position in (0..project.runs.len()).flat_map(|run| project.runs.executions_of(run)) {
        let Some(execution) = project.runs.execution(position, now) else {
            continue;
        };
        let Some(finished) = execution.finished else {
            continue;
        };
        let day = day_of(execution.started);
        if start.is_none_or(|start| day.as_str() >= start)
            && end.is_none_or(|end| {
                day.as_str() < end || (variant.end_date_included && day.as_str() == end)
            })
        {
            let took = finished.since(execution.started);
            by_model
                .entry(execution.model)
                .or_default()
                .add(execution.status, took);
        }
    }
    let (key, model_field) = match variant.aggregates {
        Aggregates::Stats => ("stats", "model_name"),
        Aggregates::Named => ("data", "model"),
        Aggregates::Bare => ("", "name"),
    };
    wrap(variant, key, |out| {
        push_items(out, by_model, |out, (model, stats)| {
            push_model(out, variant, model_field, model, &stats);
        });
    })
}

fn push_model(out: &mut String, variant: &Variant, field: &str, model: &str, stats: &ModelStats) {
    let average = stats.total / i32::try_from(stats.count.max(1)).unwrap_or(i32::MAX);
    Object::new(out, variant)
        .text(field, model)
        .whole("execution_count", stats.count)
        .whole("success_count", stats.successes)
        .whole("failure_count", stats.failures)
        .seconds("avg_duration_seconds", average)
        .optional_seconds("min_duration_seconds", stats.shortest)
        .optional_seconds("max_duration_seconds", stats.longest)
        .end();
}

/// `{"key": [...]}`, or a bare array if there is no key.
fn wrap(variant: &Variant, key: &str, write: impl FnOnce(&mut String)) -> String {
    let mut out = String::new();
    if key.is_empty() {
        out.push('[');
        write(&mut out);
        out.push(']');
    } else {
        Object::new(&mut out, variant).list(key, write).end();
    }
    out
}
