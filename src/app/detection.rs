//! Watches any series of durations with the detector that the rules use: the same decisions, told as lines.
//!
//! A series is watched by itself, from its first point on; nothing is stored. It does not read files
//! ([`super::series`]) and prints nothing.

use std::collections::{HashMap, VecDeque};

use chrono_tz::Tz;

use super::series::{Id, Point, Record};
use crate::engine::detect::{BASE_RUNS, Detector, Direction, Shift};
use crate::engine::time::{Span, Timestamp, human_span};

/// A shift that was told, and at which point.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// In which series.
    pub id: Id,
    /// The point whose arrival raised it, from 0.
    pub index: usize,
    /// The time of that point, in unix seconds.
    pub at: i64,
    /// The time of the first point at the new level.
    pub since: i64,
    /// What has shifted.
    pub shift: Shift,
}

/// One series that is watched.
#[derive(Default)]
struct Watched {
    detector: Detector,
    /// Times of the newest points: no shift is longer than what it is held against at most.
    times: VecDeque<i64>,
    points: usize,
}

impl Watched {
    fn push(&mut self, id: &Id, point: Point, zone: Tz) -> Option<Told> {
        if self.times.len() == BASE_RUNS {
            self.times.pop_front();
        }
        self.times.push_back(point.at);
        self.points += 1;
        let shift = self.detector.push(wall(point.at, zone), point.seconds)?;
        let first = self.times.len().saturating_sub(shift.runs);
        Some(Told {
            id: id.clone(),
            index: self.points - 1,
            at: point.at,
            since: self.times.get(first).copied().unwrap_or(point.at),
            shift,
        })
    }
}

/// What the clock on the wall shows in a zone, in seconds since 1970 of that clock.
fn wall(at: i64, zone: Tz) -> i64 {
    if zone == Tz::UTC {
        return at;
    }
    let local = instant(at).in_zone(zone).naive_local();
    local.and_utc().timestamp()
}

fn instant(at: i64) -> Timestamp {
    Timestamp::from_millis(at.saturating_mul(1_000))
}

/// Watches all series of a file.
pub struct Detection {
    zone: Tz,
    /// Series that come point by point; those that come whole are forgotten at their end.
    watched: HashMap<Id, Watched>,
    /// Series so far.
    pub series: usize,
    /// Points so far.
    pub points: u64,
}

impl Detection {
    /// Hours and weekdays are those of `zone`.
    pub fn new(zone: Tz) -> Self {
        Self {
            zone,
            watched: HashMap::new(),
            series: 0,
            points: 0,
        }
    }

    /// Takes in a record; hands on what is told, in the order of the points.
    pub fn take(&mut self, record: Record, mut tell: impl FnMut(Told)) {
        match record {
            Record::Whole(id, points) => {
                self.series += 1;
                self.points += points.len() as u64;
                let mut watched = Watched::default();
                for point in points {
                    if let Some(told) = watched.push(&id, point, self.zone) {
                        tell(told);
                    }
                }
            }
            Record::Next(id, point) => {
                self.points += 1;
                if !self.watched.contains_key(&id) {
                    self.series += 1;
                }
                let watched = self.watched.entry(id.clone()).or_default();
                if let Some(told) = watched.push(&id, point, self.zone) {
                    tell(told);
                }
            }
        }
    }
}

impl Told {
    /// One line with numbers that a person can check: "5 of 5 runs since 12 Mar 04:15 are 41 % slower: 52 min,
    /// usual 31 min (28 to 36 in the 120 before)".
    pub fn reason(&self, zone: Tz) -> String {
        let shift = &self.shift;
        let (low, high) = shift.range();
        format!(
            "{} of {} runs since {} are {}: {}, usual {} ({} in the {} before)",
            shift.beyond,
            shift.runs,
            self.since(zone),
            self.change(),
            duration(shift.after),
            duration(shift.before),
            range(low, high),
            shift.base_runs,
        )
    }

    /// The first point at the new level, for people; with the year when it is another than that of the
    /// point which raised it.
    pub fn since(&self, zone: Tz) -> String {
        let (since, at) = (
            instant(self.since).in_zone(zone),
            instant(self.at).in_zone(zone),
        );
        let is_same_year = since.format("%Y").to_string() == at.format("%Y").to_string();
        let format = if is_same_year {
            "%-d %b %H:%M"
        } else {
            "%-d %b %Y %H:%M"
        };
        since.format(format).to_string()
    }

    /// The day and time of the first point at the new level, for tables.
    pub fn began(&self, zone: Tz) -> String {
        let local = instant(self.since).in_zone(zone);
        local.format("%Y-%m-%d %H:%M").to_string()
    }

    /// By how much: "41 % slower", "30 % quicker", "3.2 times as long".
    pub fn change(&self) -> String {
        let ratio = self.shift.ratio;
        match self.shift.direction {
            Direction::Up if ratio >= 3.0 => format!("{ratio:.1} times as long"),
            Direction::Up => format!("{:.0} % slower", (ratio - 1.0) * 100.0),
            Direction::Down => format!("{:.0} % quicker", (1.0 - ratio) * 100.0),
        }
    }
}

/// A duration for people, also a short one: `52 min`, `4.2 s`, `84 ms`, `0.3 ms`.
pub fn duration(seconds: f64) -> String {
    if seconds >= 9.95 {
        #[allow(clippy::cast_possible_truncation)]
        let millis = (seconds.min(1e12) * 1_000.0).round() as i64;
        return human_span(Span::milliseconds(millis));
    }
    if seconds >= 0.995 {
        return format!("{seconds:.1} s");
    }
    let millis = seconds * 1_000.0;
    if millis >= 9.95 {
        format!("{millis:.0} ms")
    } else {
        format!("{millis:.1} ms")
    }
}

/// `28 to 36 min`: the unit once where both have the same.
pub fn range(low: f64, high: f64) -> String {
    let (low, high) = (duration(low), duration(high));
    match (low.split_once(' '), high.split_once(' ')) {
        (Some((number, unit)), Some((_, other))) if unit == other => format!("{number} to {high}"),
        _ => format!("{low} to {high}"),
    }
}
