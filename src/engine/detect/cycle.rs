//! What the hour of the day and the day of the week explain of a duration.
//!
//! Kept are the means of each hour of the last [`KEPT_DAYS`] days. From them an hourly and a weekly profile
//! are learned now and then, from the first two thirds of the days; a profile is used only when it explains
//! the last third clearly better than no profile does. A cycle that was not proved is none.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{DAY, float};

/// Days kept: eight of each weekday.
const KEPT_DAYS: usize = 56;
/// Days that the hourly profile is learned from.
const HOUR_DAYS: usize = 28;
/// Hours with runs are kept as whole numbers of this part of a logarithm.
const CELL_UNIT: f64 = 1.0 / 1024.0;
/// No run in this hour.
const EMPTY: i16 = i16::MIN;
/// Runs between two lessons, at least.
const LESSON_RUNS: u32 = 12;
/// An hourly profile is used if what is left of the last third is below this share.
const HOURS_WORTH: f64 = 0.93;
/// A weekly one.
const WEEK_WORTH: f64 = 0.9;
/// Days needed for a weekly profile.
const WEEK_DAYS: usize = 14;
/// Days needed for an hourly profile.
const FIRST_DAYS: usize = 3;
/// Jobs with a smaller usual gap than this, in seconds, have an hourly profile.
const HOURLY_GAP: f64 = 0.3 * 86_400.0;

/// One day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Filled", into = "Filled")]
struct Row {
    day: i64,
    cells: [i16; 24],
}

/// A day as it is stored: the hours with runs alone.
#[derive(Serialize, Deserialize)]
struct Filled {
    day: i64,
    /// A bit for each hour with runs.
    hours: u32,
    cells: Vec<i16>,
}

impl From<Row> for Filled {
    fn from(row: Row) -> Self {
        let filled = row.cells.iter().enumerate();
        let filled = filled.filter(|(_, cell)| **cell != EMPTY);
        let (bits, cells): (Vec<u32>, Vec<i16>) =
            filled.map(|(hour, cell)| (1 << hour, *cell)).unzip();
        Self {
            day: row.day,
            hours: bits.iter().sum(),
            cells,
        }
    }
}

impl From<Filled> for Row {
    fn from(filled: Filled) -> Self {
        let mut cells = [EMPTY; 24];
        let hours = (0..24).filter(|hour| filled.hours & (1 << hour) != 0);
        for (hour, cell) in hours.zip(filled.cells) {
            cells[hour] = cell;
        }
        Self {
            day: filled.day,
            cells,
        }
    }
}

/// Hours and weekdays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cycle {
    rows: VecDeque<Row>,
    /// Runs in each hour of the newest day.
    counts: [u16; 24],
    since_lesson: u32,
    lesson_day: i64,
    hours: Option<[i16; 24]>,
    week: Option<[i16; 7]>,
}

/// Day and hour of a wall clock.
fn place(wall: i64) -> (i64, usize) {
    let hour = wall.rem_euclid(DAY) / 3_600;
    (
        wall.div_euclid(DAY),
        usize::try_from(hour).unwrap_or_default(),
    )
}

/// 0: Monday.
pub(super) fn weekday(wall: i64) -> usize {
    weekday_of(wall.div_euclid(DAY))
}

fn weekday_of(day: i64) -> usize {
    usize::try_from((day + 3).rem_euclid(7)).unwrap_or_default()
}

#[allow(clippy::cast_possible_truncation)]
fn to_cell(log: f64) -> i16 {
    (log / CELL_UNIT)
        .round()
        .clamp(f64::from(EMPTY + 1), f64::from(i16::MAX)) as i16
}

fn from_cell(cell: i16) -> f64 {
    f64::from(cell) * CELL_UNIT
}

fn median(list: &mut [f64]) -> f64 {
    list.sort_unstable_by(f64::total_cmp);
    f64::midpoint(list[(list.len() - 1) / 2], list[list.len() / 2])
}

impl Row {
    fn values(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        let filled = self.cells.iter().enumerate();
        filled
            .filter(|(_, cell)| **cell != EMPTY)
            .map(|(hour, cell)| (hour, from_cell(*cell)))
    }
}

impl Cycle {
    /// A weekly profile is in use.
    pub(super) fn has_week(&self) -> bool {
        self.week.is_some()
    }

    /// What is explained at a wall clock, as a logarithm.
    pub(super) fn at(&self, wall: i64) -> f64 {
        let week = self.week.map_or(0.0, |week| from_cell(week[weekday(wall)]));
        let Some(hours) = self.hours else {
            return week;
        };
        // Between the middles of the hours.
        #[allow(clippy::cast_precision_loss)]
        let place = wall.rem_euclid(DAY) as f64 / 3_600.0 - 0.5;
        let share = place - place.floor();
        #[allow(clippy::cast_possible_truncation)]
        let low = usize::try_from((place.floor() as i64).rem_euclid(24)).unwrap_or_default();
        let (low, high) = (from_cell(hours[low]), from_cell(hours[(low + 1) % 24]));
        week + low * (1.0 - share) + high * share
    }

    /// Takes in a run; true when the profiles are others than before.
    pub(super) fn take(&mut self, wall: i64, log: f64, usual_gap: f64) -> bool {
        let (day, hour) = place(wall);
        self.forget_ahead(day);
        let newest = self.rows.back().map(|row| row.day);
        // A clock that was set back: the row is left as it is.
        if newest.is_some_and(|newest| day < newest) {
            return false;
        }
        let is_changed = newest.is_some_and(|newest| day > newest) && self.lesson(day, usual_gap);
        if newest != Some(day) {
            let cells = [EMPTY; 24];
            self.rows.push_back(Row { day, cells });
            self.counts = [0; 24];
            if self.rows.len() > KEPT_DAYS {
                self.rows.pop_front();
            }
        }
        self.since_lesson += 1;
        let count = self.counts[hour].saturating_add(1);
        self.counts[hour] = count;
        if let Some(row) = self.rows.back_mut() {
            let cell = &mut row.cells[hour];
            let known = if count == 1 { log } else { from_cell(*cell) };
            *cell = to_cell(known + (log - known) / f64::from(count));
        }
        is_changed
    }

    /// Drops what lies more than a day ahead of `day`, and was dated wrong: nothing would be learned until then.
    /// A run that comes late has the next day, too, before those that are ahead of it; they are left.
    fn forget_ahead(&mut self, day: i64) {
        let kept = self.rows.partition_point(|row| row.day <= day + 1);
        let is_late = kept > 0 && self.rows[kept - 1].day > day;
        if kept == self.rows.len() || is_late {
            return;
        }
        self.rows.truncate(kept);
        self.lesson_day = self.lesson_day.min(day);
        // How many runs each hour had is not known any more.
        let newest = self.rows.back().map(|row| row.cells);
        self.counts = newest.map_or([0; 24], |cells| cells.map(|cell| u16::from(cell != EMPTY)));
    }

    /// Means of the hours in `[from, to)` as logarithms, with the middle of each hour.
    pub(super) fn cells_between(
        &self,
        from: i64,
        to: i64,
    ) -> impl Iterator<Item = (i64, f64)> + '_ {
        let start = self
            .rows
            .partition_point(|row| row.day < from.div_euclid(DAY));
        let rows = self.rows.range(start..);
        rows.take_while(move |row| row.day * DAY < to)
            .flat_map(|row| {
                row.values().map(|(hour, value)| {
                    let hour = i64::try_from(hour).unwrap_or_default();
                    (row.day * DAY + hour * 3_600 + 1_800, value)
                })
            })
            .filter(move |(middle, _)| *middle >= from && *middle < to)
    }

    /// Learns the profiles anew, when it is time.
    fn lesson(&mut self, day: i64, usual_gap: f64) -> bool {
        let first = self.rows.front().map_or(day, |row| row.day);
        let is_due =
            self.since_lesson >= LESSON_RUNS && (day - self.lesson_day) * 10 >= day - first;
        if !is_due {
            return false;
        }
        self.since_lesson = 0;
        self.lesson_day = day;
        let hours = (usual_gap < HOURLY_GAP)
            .then(|| self.learn_hours())
            .flatten();
        let week = self.learn_week(hours.as_ref());
        let is_changed = hours != self.hours || week != self.week;
        (self.hours, self.week) = (hours, week);
        is_changed
    }

    fn learn_hours(&self) -> Option<[i16; 24]> {
        let skip = self.rows.len().saturating_sub(HOUR_DAYS);
        let rows: Vec<Vec<(usize, f64)>> = self
            .rows
            .iter()
            .skip(skip)
            .map(|row| row.values().collect())
            .collect();
        let mut counts: Vec<usize> = rows.iter().map(Vec::len).collect();
        counts.sort_unstable();
        let usual = counts.get(counts.len() / 2).copied().unwrap_or(0);
        // Half a day's middle is not the day's.
        let whole: Vec<Vec<(usize, f64)>> = rows
            .into_iter()
            .filter(|row| row.len() * 4 >= usual * 3 && row.len() >= 4)
            .map(|mut row| {
                let mut values: Vec<f64> = row.iter().map(|(_, value)| *value).collect();
                let level = median(&mut values);
                for (_, value) in &mut row {
                    *value -= level;
                }
                row
            })
            .collect();
        if whole.len() < FIRST_DAYS {
            return None;
        }
        let (taught, asked) = whole.split_at(whole.len() * 2 / 3);
        let profile = hour_profile(taught);
        let (mut before, mut after): (Vec<f64>, Vec<f64>) = asked
            .iter()
            .flatten()
            .map(|(hour, value)| (*value, value - profile[*hour]))
            .unzip();
        (left(&mut after) < HOURS_WORTH * left(&mut before))
            .then(|| hour_profile(&whole).map(to_cell))
    }

    fn learn_week(&self, hours: Option<&[i16; 24]>) -> Option<[i16; 7]> {
        let (first, last) = (self.rows.front()?.day, self.rows.back()?.day);
        if last - first < i64::try_from(WEEK_DAYS).unwrap_or(i64::MAX) - 1 {
            return None;
        }
        let levels: Vec<(usize, f64)> = self
            .rows
            .iter()
            .filter_map(|row| {
                let explained = |hour: usize| hours.map_or(0.0, |hours| from_cell(hours[hour]));
                let mut values: Vec<f64> = row
                    .values()
                    .map(|(hour, value)| value - explained(hour))
                    .collect();
                (!values.is_empty()).then(|| (weekday_of(row.day), median(&mut values)))
            })
            .collect();
        let around = |index: usize| {
            let end = (index + 8).min(levels.len());
            let mut near: Vec<f64> = levels[index.saturating_sub(7)..end]
                .iter()
                .map(|(_, level)| *level)
                .collect();
            median(&mut near)
        };
        let rest: Vec<(usize, f64)> = levels
            .iter()
            .enumerate()
            .map(|(index, (weekday, level))| (*weekday, level - around(index)))
            .collect();
        let (taught, asked) = rest.split_at(rest.len() * 2 / 3);
        let profile = week_profile(taught);
        let size = |value: f64| value.clamp(-1.0, 1.0).abs();
        let before: f64 = asked.iter().map(|(_, value)| size(*value)).sum();
        let after: f64 = asked
            .iter()
            .map(|(weekday, value)| size(value - profile[*weekday]))
            .sum();
        (after < WEEK_WORTH * before).then(|| week_profile(&rest).map(to_cell))
    }
}

/// Medians by hour, shrunk towards nothing where days are few.
fn hour_profile(rows: &[Vec<(usize, f64)>]) -> [f64; 24] {
    let mut by_hour: [Vec<f64>; 24] = Default::default();
    for (hour, value) in rows.iter().flatten() {
        by_hour[*hour].push(*value);
    }
    by_hour.map(|mut values| shrunk(&mut values, 1.0))
}

fn week_profile(levels: &[(usize, f64)]) -> [f64; 7] {
    let mut by_day: [Vec<f64>; 7] = Default::default();
    for (weekday, value) in levels {
        by_day[*weekday].push(*value);
    }
    by_day.map(|mut values| shrunk(&mut values, 0.5))
}

fn shrunk(values: &mut [f64], pull: f64) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let count = float(values.len());
    median(values) * count / (count + pull)
}

/// What is left unexplained: mean distance from the median, with outliers held in.
fn left(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let center = median(values);
    values
        .iter()
        .map(|value| (value - center).clamp(-1.0, 1.0).abs())
        .sum()
}
