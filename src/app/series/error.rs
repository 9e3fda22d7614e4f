//! What can be wrong with a file of series.

use super::{Id, MAX_LINE};

/// A file of series cannot be used: where, what, and the remedy. Trying again helps only when it could not
/// be read ([`Problem::Unreadable`]).
#[derive(Debug, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct SeriesError {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Reading failed.
    #[error("reading failed: {0}")]
    Unreadable(std::io::Error),
    /// The line does not end.
    #[error(
        "the line is longer than {} MiB: divide the series, or give its points as CSV, one a line",
        MAX_LINE >> 20
    )]
    TooLong,
    /// The line is no text.
    #[error("this is not UTF-8 text: give JSON lines or CSV, not compressed")]
    NotText,
    /// A JSON list.
    #[error("a list is not read: give one object a line, as `jq -c '.[]'` makes them of a list")]
    List,
    /// Not an object with the keys.
    #[error(
        "{0}; a line is one series, like {{\"id\": \"orders\", \"t\": [1735689600], \"v\": [1860.5]}}"
    )]
    Json(String),
    /// JSON has no such number.
    #[error("NaN and Infinity are no JSON: leave such a point out of both t and v")]
    NotFinite,
    /// A series is there already.
    #[error("series \"{0}\" was on line {1} already: a series is one line; join both")]
    Again(Id, u64),
    /// Times and values do not belong together.
    #[error(
        "series \"{id}\" has {times} times and {values} values: each value needs its time; leave out both where one is missing"
    )]
    Lengths {
        /// Which.
        id: Id,
        /// Length of `t`.
        times: usize,
        /// Length of `v`.
        values: usize,
    },
    /// One point is not usable.
    #[error("series \"{id}\", point {index}: {problem}")]
    Point {
        /// Which series.
        id: Id,
        /// Which point, from 0.
        index: usize,
        /// What is wrong with it.
        problem: Box<Problem>,
    },
    /// A point has no value or no time.
    #[error("{0} is missing: leave the point out")]
    Missing(&'static str),
    /// Not a duration.
    #[error(
        "{0} is no duration: seconds are wanted, 0 or more; leave the point out if there are none"
    )]
    Value(String),
    /// Not a time.
    #[error(
        "{0} is no time: unix seconds are wanted, in CSV also RFC 3339 with its zone, like 2026-03-12T04:15:00Z"
    )]
    Time(String),
    /// A time in milliseconds.
    #[error("{0} is no time in seconds, it looks like milliseconds: divide by 1000")]
    Milliseconds(String),
    /// Times go back.
    #[error(
        "its time, {at}, is before that of the point before it, {before}: sort the points by time"
    )]
    Unsorted {
        /// The time.
        at: i64,
        /// The one before.
        before: i64,
    },
    /// Not a row.
    #[error(
        "{found} columns, {wanted} are wanted: time and seconds, separated by a comma or a tab, and an id if there are several series (`t,v,id`, or in any order with a head that names t, v and id)"
    )]
    Columns {
        /// How many there are.
        found: usize,
        /// How many are needed.
        wanted: usize,
    },
    /// A head without a column that is needed.
    #[error("the head names no column `{0}`: name the columns t (or time), v (or seconds) and id")]
    Head(&'static str),
    /// A quote that is not closed.
    #[error("a quote is not closed: a row is one line, and a quote in a quoted cell is doubled")]
    Quote,
}

impl Problem {
    /// The same, with the point it is about.
    pub(super) fn of(self, id: &Id, index: usize) -> Self {
        Self::Point {
            id: id.clone(),
            index,
            problem: Box::new(self),
        }
    }
}
