//! How well a detector told what happened, by the rules of `evaluate.py`, whose port this is:
//! `tests/detection.rs` holds both against each other.
//!
//! Only what became slower is scored: alerts are indices of the points whose arrival raised them.

use std::collections::BTreeSet;

use serde::Deserialize;

/// Points after a shift in which an alert is about it.
pub const HORIZON: usize = 50;

/// False alarms nearer to each other than this are one.
pub const MERGE: usize = 10;

/// Something that happened in a series.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Event {
    /// `shift`, `drift`, `down`, `transient` or `variance`.
    pub kind: String,
    /// First point it is about.
    pub start: usize,
    /// The point after its last.
    pub end: usize,
    /// It is to be told; otherwise telling it costs nothing.
    pub must: bool,
}

/// A series with its truth.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Series {
    pub id: String,
    pub family: String,
    pub n: usize,
    pub t: Vec<i64>,
    pub v: Vec<f64>,
    pub events: Vec<Event>,
}

/// Where alerts are about an event, or cost nothing.
struct Window {
    from: usize,
    to: usize,
    event: usize,
    is_must: bool,
}

/// What the alerts of one series are worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scored {
    pub family: String,
    pub points: usize,
    /// Points outside all windows.
    pub clear: usize,
    /// The points of false alarms.
    pub false_at: Vec<usize>,
    pub repeats: usize,
    /// For each event that is to be told, how many points later it was.
    pub delays: Vec<Option<usize>>,
}

fn windows(series: &Series) -> Vec<Window> {
    let mut order: Vec<usize> = (0..series.events.len()).collect();
    order.sort_by_key(|index| series.events[*index].start);
    let n = series.n;
    let mut windows = Vec::new();
    for (place, &index) in order.iter().enumerate() {
        let Event { start, end, .. } = series.events[index];
        let event = &series.events[index];
        let next = order.get(place + 1);
        let next = next.map_or(n, |index| series.events[*index].start);
        let length = end - start;
        let mut window = |from: usize, to: usize, is_must| {
            windows.push(Window {
                from,
                to,
                event: index,
                is_must,
            });
        };
        if event.must {
            let told_within = match event.kind.as_str() {
                "shift" => HORIZON.min(length),
                _ => length + HORIZON,
            };
            let until = start + told_within;
            window(start, until.min(n).min(next.max(start + 1)), true);
            let after = start + 3 * told_within.max(HORIZON);
            window(until.min(n), after.min(next).min(n), false);
        } else {
            let free = match event.kind.as_str() {
                "transient" => length + 10,
                "variance" => 50,
                "drift" => length + 3 * HORIZON,
                _ => 3 * HORIZON,
            };
            window(start, (start + free).min(next).min(n), false);
        }
    }
    windows
}

/// Scores the alerts of one series; their order does not matter.
pub fn score(series: &Series, alerts: &[usize]) -> Scored {
    let alerts: BTreeSet<usize> = alerts.iter().copied().collect();
    let windows = windows(series);
    // Which window a point is in: the first, but one in which something is to be told comes before others,
    // and the last of those before those before it.
    let mut cover: Vec<Option<(usize, bool)>> = vec![None; series.n];
    for window in &windows {
        for point in cover.iter_mut().take(window.to).skip(window.from) {
            if point.is_none() || window.is_must {
                *point = Some((window.event, window.is_must));
            }
        }
    }
    let mut delays = Vec::new();
    let mut repeats = 0;
    for window in windows.iter().filter(|window| window.is_must) {
        let own = Some((window.event, true));
        let hits: Vec<usize> = (window.from..window.to)
            .filter(|index| alerts.contains(index) && cover[*index] == own)
            .collect();
        let start = series.events[window.event].start;
        delays.push(hits.first().map(|hit| hit - start));
        repeats += hits
            .windows(2)
            .filter(|pair| pair[1] - pair[0] > MERGE)
            .count();
    }
    let uncovered = |index: &&usize| cover.get(**index).is_some_and(Option::is_none);
    let mut false_at = Vec::new();
    let mut last: Option<usize> = None;
    for &index in alerts.iter().filter(uncovered) {
        if last.is_none_or(|last| index - last > MERGE) {
            false_at.push(index);
        }
        last = Some(index);
    }
    Scored {
        family: series.family.clone(),
        points: series.n,
        clear: cover.iter().filter(|point| point.is_none()).count(),
        false_at,
        repeats,
        delays,
    }
}

/// The score of many series.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    pub series: usize,
    pub points: usize,
    pub clear: usize,
    pub must: usize,
    pub detected: usize,
    pub false_alarms: usize,
    pub repeats: usize,
    pub series_with_false_alarms: usize,
    pub delay_median: Option<f64>,
    pub delay_p90: Option<usize>,
}

impl Summary {
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a Scored>) -> Self {
        let mut summary = Self::default();
        let mut delays = Vec::new();
        for row in rows {
            summary.series += 1;
            summary.points += row.points;
            summary.clear += row.clear;
            summary.must += row.delays.len();
            summary.false_alarms += row.false_at.len();
            summary.repeats += row.repeats;
            summary.series_with_false_alarms += usize::from(!row.false_at.is_empty());
            delays.extend(row.delays.iter().flatten().copied());
        }
        delays.sort_unstable();
        summary.detected = delays.len();
        if let Some(last) = delays.len().checked_sub(1) {
            summary.delay_median = Some(float(delays[last / 2] + delays[delays.len() / 2]) / 2.0);
            summary.delay_p90 = Some(delays[last * 9 / 10]);
        }
        summary
    }

    /// Of the alerts that count, how many are right; `None` without alerts.
    pub fn precision(&self) -> Option<f64> {
        share(self.detected, self.detected + self.false_alarms)
    }

    /// Of what is to be told, how much is; `None` when there is nothing.
    pub fn recall(&self) -> Option<f64> {
        share(self.detected, self.must)
    }

    /// The harmonic mean of both; 0 without either.
    pub fn f1(&self) -> f64 {
        match (self.precision(), self.recall()) {
            (Some(precision), Some(recall)) if precision + recall > 0.0 => {
                2.0 * precision * recall / (precision + recall)
            }
            _ => 0.0,
        }
    }

    /// False alarms in 1 000 points outside all windows.
    pub fn false_per_1000(&self) -> Option<f64> {
        share(1_000 * self.false_alarms, self.clear)
    }
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| float(part) / float(whole))
}

#[allow(clippy::cast_precision_loss)]
fn float(count: usize) -> f64 {
    count as f64
}
