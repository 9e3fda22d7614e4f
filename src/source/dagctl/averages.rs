//! Averages of whole days, read only where there is nothing better: of models while their executions are not
//! served (or cannot be decoded), of runs while their list is refused although the project is not.
//!
//! **Days** are UTC, and complete: one is read [`MARGIN`] after its end, when late rows are in, and once more
//! with the day after it. The first reading goes back `backfill`, at most [`MAX_DAYS`]; a reading of models
//! takes one request for each day, at most [`DAYS_PER_POLL`] in one poll, and is reported whole when its last
//! day is in, so that nothing is judged by half of it.
//!
//! **`end_date`** is taken to be part of the period. That is not documented: where a first reading of many days
//! brings no row at all, it is done once more with the day after, and if then any day but the last has rows,
//! `end_date` is excluded (the cursor remembers it).
//!
//! Nothing depends on these endpoints: no trouble with them makes a poll incomplete, except a refused token and
//! a server that asks for rest. They say nothing about what did not happen.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use serde::Deserialize;

use super::client::{FetchError, Target};
use super::feature::{FEATURE_REST, Feature};
use super::names::Interner;
use super::poll::Round;
use super::project::{Tracked, bad_body};
use super::rows::RowFault;
use super::wire::{Listed, Text, WireError};
use crate::engine::observation::{Averaged, DayAverage, Name, Observation};
use crate::engine::time::{Span, Timestamp};
use crate::source::ProblemKind;

/// How long after its end a day is read.
const MARGIN: Span = Span::hours(3);
/// Days of the first reading, and of one after a long absence.
const MAX_DAYS: u64 = 30;
/// Days of models read in one poll of a project.
const DAYS_PER_POLL: usize = 5;
/// Where runs were read before, refusals are waited out for so long.
const PATIENCE: Span = Span::minutes(15);
/// Pages of one answer.
const MAX_PAGES: u32 = 5;
/// After trouble that may pass it is asked again this much later.
const SHORT_REST: Span = Span::minutes(5);
/// Days without any row that raise the question whether `end_date` is part of the period.
const MANY_DAYS: u64 = 7;
/// Longest average believed, in seconds: a year.
const MAX_SECONDS: f64 = 366.0 * 86_400.0;

/// What is between two polls of a project.
#[derive(Debug, Default)]
pub(super) struct Averages {
    /// Local time since when the list of runs has been refused.
    refused_since: Option<Timestamp>,
    runs: Feature,
    models: Feature,
    reading: Option<Reading>,
}

/// A reading of days under way.
#[derive(Debug)]
struct Reading {
    first: NaiveDate,
    last: NaiveDate,
    next: NaiveDate,
    is_end_excluded: bool,
    found: Vec<DayAverage>,
    /// Rows came, with or without an average.
    has_rows: bool,
}

impl Reading {
    fn new(first: NaiveDate, last: NaiveDate, is_end_excluded: bool) -> Self {
        Self {
            first,
            last,
            next: first,
            is_end_excluded,
            found: Vec::new(),
            has_rows: false,
        }
    }

    fn days(&self) -> u64 {
        let days = (self.last - self.first).num_days() + 1;
        u64::try_from(days).unwrap_or(0)
    }
}

impl Averages {
    /// The poll did not get out: reads anew.
    pub(super) fn rewind(&mut self) {
        self.reading = None;
    }

    /// Notes how reading the runs went.
    pub(super) fn note_runs(&mut self, error: Option<&FetchError>, now: Timestamp) {
        let is_refused = error.is_some_and(is_refusal);
        self.refused_since = is_refused.then(|| self.refused_since.unwrap_or(now));
    }

    /// Runs that were read once may be so again in a moment.
    fn is_without_runs(&self, was_read: bool, now: Timestamp) -> bool {
        let patience = if was_read { PATIENCE } else { Span::zero() };
        self.refused_since
            .is_some_and(|since| now - since >= patience)
    }
}

/// The server is there and does not let this be read.
fn is_refusal(error: &FetchError) -> bool {
    error.is_absent() || error.kind() == ProblemKind::Forbidden
}

/// One row of either statistic. Their form is not documented, so every spelling is looked for.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct AverageRow<'a> {
    #[serde(borrow)]
    fields: BTreeMap<Cow<'a, str>, Text<'a>>,
}

impl Listed for AverageRow<'_> {
    const KEYS: &'static [&'static str] = &[
        "stats",
        "daily_stats",
        "model_stats",
        "models",
        "days",
        "data",
        "items",
        "model_executions",
        "executions",
    ];
}

impl AverageRow<'_> {
    fn text(&self, names: &[&str]) -> Option<&str> {
        let mut found = names.iter().filter_map(|name| self.fields.get(*name));
        found.find_map(Text::get)
    }

    fn number(&self, names: &[&str]) -> Option<f64> {
        let number = self.text(names)?.trim().parse::<f64>().ok()?;
        number.is_finite().then_some(number)
    }

    fn model(&self, names: &mut Interner) -> Result<Name, RowFault> {
        let model = self.text(&["model_name", "model", "name"]);
        Ok(names.name(model.ok_or(RowFault::Missing("model_name"))?))
    }

    fn day(&self) -> Result<NaiveDate, RowFault> {
        let text = self.text(&["date", "day", "run_date"]);
        let text = text.ok_or(RowFault::Missing("date"))?;
        let date = text.get(..10).unwrap_or(text);
        let refuse = || RowFault::Instant("date", text.chars().take(40).collect());
        date.parse().map_err(|_| refuse())
    }

    /// Milliseconds; `None` where nothing was run to its end.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded just before
    fn millis(&self) -> Option<u64> {
        let seconds = self.number(&[
            "avg_success_duration_seconds",
            "avg_success_duration",
            "avg_duration_seconds",
            "average_duration_seconds",
            "mean_duration_seconds",
            "avg_duration",
            "average_duration",
            "mean_duration",
        ]);
        let millis = seconds.map(|seconds| seconds * 1e3);
        let millis = millis.or_else(|| self.number(&["avg_duration_ms", "average_duration_ms"]))?;
        let millis = millis.round();
        ((1.0..=MAX_SECONDS * 1e3).contains(&millis)).then_some(millis as u64)
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates, and is never negative
    fn count(&self, names: &[&str]) -> Option<u64> {
        let count = self.number(names)?;
        (count >= 0.0).then_some(count as u64)
    }
}

/// Names of the number of executions of a model.
const EXECUTIONS: [&str; 6] = [
    "execution_count",
    "executions",
    "total_executions",
    "run_count",
    "count",
    "success_count",
];

/// Names of the number of runs of a day; the average is one of successes where both are told.
const RUNS: [&str; 6] = [
    "successful_runs",
    "success_count",
    "total_runs",
    "run_count",
    "runs",
    "count",
];

impl Tracked {
    /// Reads the averages that are needed and due.
    pub(super) async fn read_averages(&mut self, round: &mut Round<'_>) {
        let newest = newest_day(round.server_now());
        let was_read = self.cursor.runs_updated_at.is_some() && !self.is_backfilling();
        let is_needed = self.averages.is_without_runs(was_read, round.now);
        if is_needed && !self.averages.runs.is_off(round.now) {
            let read = self.read_daily_stats(newest, round).await;
            self.note(
                read,
                |averages| &mut averages.runs,
                "daily averages of runs",
                round,
            );
        }
        let is_needed = is_needed || self.execution_list.is_off(round.now);
        if !is_needed {
            self.averages.reading = None;
        }
        if is_needed && !round.is_over && !self.averages.models.is_off(round.now) {
            let read = self.read_model_stats(newest, round).await;
            let what = "daily averages of models";
            self.note(read, |averages| &mut averages.models, what, round);
        }
        let cursor = self.cursor.clone();
        round.batch.cursors.insert(self.key.clone(), cursor);
    }

    fn note(
        &mut self,
        read: Result<(), FetchError>,
        feature: impl Fn(&mut Averages) -> &mut Feature,
        what: &str,
        round: &mut Round<'_>,
    ) {
        let feature = feature(&mut self.averages);
        let project_id = Some(&self.key.project_id);
        let Err(error) = read else {
            feature.prove();
            let notes = &mut round.memory.notes;
            return notes.forget(ProblemKind::FeatureOff, project_id, what);
        };
        match error.kind() {
            ProblemKind::Unauthorized | ProblemKind::RateLimited => round.fail(project_id, &error),
            _ if error.is_passing() => feature.rest_until(round.now + SHORT_REST),
            // That there is nothing better was said already.
            _ if is_refusal(&error) => feature.rest_until(round.now + FEATURE_REST),
            _ => feature.turn_off(round, project_id, what, &error),
        }
    }

    /// Averages of the runs: one answer for all days.
    async fn read_daily_stats(
        &mut self,
        newest: NaiveDate,
        round: &mut Round<'_>,
    ) -> Result<(), FetchError> {
        let held = self.cursor.runs_averaged_until;
        let Some(first) = first_day(held, newest, round) else {
            return Ok(());
        };
        let today = round.server_now().to_utc().date_naive();
        let target = Target::new(&["projects", &self.key.project_id, "runs", "daily-stats"])
            .with("days", (today - first).num_days() + 1);
        let mut found = Vec::new();
        let mut has_rows = false;
        self.read_rows(&target, round, |row, names| {
            let day = row.day()?;
            has_rows = true;
            if let Some(millis) = row.millis().filter(|_| day >= first && day <= newest) {
                let (of, count) = (Averaged::Runs, row.count(&RUNS));
                found.push(DayAverage {
                    of,
                    day,
                    count,
                    millis,
                });
            }
            Ok(names.name(&day.to_string()))
        })
        .await?;
        self.report(found, round);
        self.cursor.runs_averaged_until = Some(newest);
        Ok(())
    }

    /// Averages of the models: a request for each day.
    async fn read_model_stats(
        &mut self,
        newest: NaiveDate,
        round: &mut Round<'_>,
    ) -> Result<(), FetchError> {
        let held = self.cursor.models_averaged_until;
        let mut reading = match self.averages.reading.take() {
            Some(reading) => reading,
            None => match first_day(held, newest, round) {
                Some(first) => Reading::new(first, newest, self.cursor.is_end_date_excluded),
                None => return Ok(()),
            },
        };
        for _ in 0..DAYS_PER_POLL {
            if reading.next > reading.last {
                break;
            }
            if let Err(error) = self.read_day_of_models(&mut reading, round).await {
                // What was read so far is not lost.
                self.averages.reading = Some(reading).filter(|_| error.is_passing());
                return Err(error);
            }
        }
        if reading.next <= reading.last {
            self.averages.reading = Some(reading);
            return Ok(());
        }
        self.finish(reading, held, round)
    }

    async fn read_day_of_models(
        &self,
        reading: &mut Reading,
        round: &mut Round<'_>,
    ) -> Result<(), FetchError> {
        let day = reading.next;
        let after = day.succ_opt().unwrap_or(day);
        let end = if reading.is_end_excluded { after } else { day };
        let target = self
            .model_stats()
            .with("start_date", day)
            .with("end_date", end);
        let mut found = BTreeMap::new();
        let mut has_rows = false;
        self.read_rows(&target, round, |row, names| {
            let model = row.model(names)?;
            has_rows = true;
            if let Some(millis) = row.millis() {
                let of = Averaged::Model(model.clone());
                let count = row.count(&EXECUTIONS);
                found.insert(
                    model.clone(),
                    DayAverage {
                        of,
                        day,
                        count,
                        millis,
                    },
                );
            }
            Ok(model)
        })
        .await?;
        reading.has_rows |= has_rows;
        reading.found.extend(found.into_values());
        reading.next = after;
        Ok(())
    }

    fn model_stats(&self) -> Target {
        Target::new(&[
            "projects",
            &self.key.project_id,
            "model-executions",
            "stats",
        ])
    }

    /// All days are in.
    fn finish(
        &mut self,
        reading: Reading,
        held: Option<NaiveDate>,
        round: &mut Round<'_>,
    ) -> Result<(), FetchError> {
        if reading.has_rows && reading.found.is_empty() {
            let why = "no row of the list has an average duration";
            return Err(bad_body(&self.model_stats(), &why));
        }
        let is_first = held.is_none() && reading.days() >= MANY_DAYS;
        if is_first && !reading.has_rows && !reading.is_end_excluded {
            let again = Reading::new(reading.first, reading.last, true);
            self.averages.reading = Some(again);
            return Ok(());
        }
        let mut found = reading.found;
        if is_first && reading.is_end_excluded && !self.cursor.is_end_date_excluded {
            // The period of the last day reaches into a day that may have rows of its own.
            let is_proof = found.iter().any(|average| average.day < reading.last);
            self.cursor.is_end_date_excluded = is_proof;
            found.retain(|_| is_proof);
        }
        self.report(found, round);
        self.cursor.models_averaged_until = Some(reading.last);
        Ok(())
    }

    fn report(&self, found: Vec<DayAverage>, round: &mut Round<'_>) {
        if !found.is_empty() {
            let averages = Observation::Averages(self.key.clone(), found);
            round.batch.observations.push(averages);
        }
    }

    async fn read_rows(
        &self,
        target: &Target,
        round: &mut Round<'_>,
        mut take: impl FnMut(&AverageRow<'_>, &mut Interner) -> Result<Name, RowFault> + Send,
    ) -> Result<(), FetchError> {
        let list = (target, Some(&self.key.project_id));
        let read = round.list_within(target, MAX_PAGES, |body, memory| {
            let page = memory
                .page::<AverageRow<'_>>(list, body, |row, memory| take(row, &mut memory.names))?;
            if page.bad_rows > 0 && page.bad_rows == page.ids.len() {
                return Err(WireError::NoKnownRow);
            }
            Ok(page)
        });
        read.await.map(drop)
    }
}

/// The newest day that is complete.
fn newest_day(server_now: Timestamp) -> NaiveDate {
    let today = (server_now - MARGIN).to_utc().date_naive();
    today.pred_opt().unwrap_or(today)
}

/// The first day to be read, up to `newest`: the last one that was read, once more. `None`: nothing is due.
fn first_day(held: Option<NaiveDate>, newest: NaiveDate, round: &Round<'_>) -> Option<NaiveDate> {
    let days = u64::try_from(round.settings.backfill.num_days()).unwrap_or(0);
    let back = days.clamp(1, MAX_DAYS) - 1;
    let first = newest.checked_sub_days(Days::new(back)).unwrap_or(newest);
    match held {
        Some(held) if held >= newest => None,
        Some(held) => Some(held.max(first)),
        None => Some(first),
    }
}
