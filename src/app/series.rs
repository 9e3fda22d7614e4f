//! Series of durations as people have them in files: JSON lines, a series each, or CSV, a point each.
//!
//! It reads one line after another and holds no more than one, of at most [`MAX_LINE`] bytes; of series
//! that come row by row it remembers where each stands. What it hands on is whole: as many times as
//! values, times that do not go back, values that are finite and not negative. Anything else is an error
//! with its place and a remedy; nothing is mended silently. It does not judge: [`super::detection`] does.

mod csv;
mod error;
mod json;

use std::io::BufRead;

use serde::{Deserialize, Serialize};

pub use error::{Problem, SeriesError};

/// Longest line that is read: more than a million points in one series.
pub const MAX_LINE: usize = 64 << 20;

/// Later than this many seconds after 1970 is the year 5138: it was meant in milliseconds.
const LATEST: f64 = 1e11;

/// What a series is called: it is printed as it was given.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// One point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When: unix seconds.
    pub at: i64,
    /// How long it took.
    pub seconds: f64,
}

/// What one line gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A whole series.
    Whole(Id, Vec<Point>),
    /// The next point of a series.
    Next(Id, Point),
}

/// Which of the formats a file is in; its first line tells.
enum Format {
    Json(json::Lines),
    Csv(csv::Rows),
}

/// Reads the records of one file.
pub struct Reader<R> {
    input: R,
    name: String,
    line: u64,
    buffer: Vec<u8>,
    format: Option<Format>,
    is_done: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads `input`, which is called `name` in errors.
    pub fn new(input: R, name: &str) -> Self {
        Self {
            input,
            name: name.to_owned(),
            line: 0,
            buffer: Vec::new(),
            format: None,
            is_done: false,
        }
    }

    /// The next line into the buffer, without its end; false when there is none.
    fn next_line(&mut self) -> Result<bool, Problem> {
        self.buffer.clear();
        let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        let mut limited = std::io::Read::take(&mut self.input, limit + 1);
        let count = limited
            .read_until(b'\n', &mut self.buffer)
            .map_err(Problem::Unreadable)?;
        self.line += u64::from(count > 0);
        if count > MAX_LINE {
            return Err(Problem::TooLong);
        }
        if self.line == 1 && self.buffer.starts_with(b"\xef\xbb\xbf") {
            self.buffer.drain(..3);
        }
        let kept = self.buffer.trim_ascii_end().len();
        self.buffer.truncate(kept);
        Ok(count > 0)
    }

    fn read(&mut self) -> Result<Option<Record>, Problem> {
        while self.next_line()? {
            let text = std::str::from_utf8(&self.buffer).map_err(|_| Problem::NotText)?;
            if text.trim_start().is_empty() {
                continue;
            }
            let format = match &mut self.format {
                Some(format) => format,
                none => {
                    let (format, is_head) = Format::of(text, &self.name)?;
                    let format = none.insert(format);
                    if is_head {
                        continue;
                    }
                    format
                }
            };
            return match format {
                Format::Json(lines) => lines.read(text, self.line),
                Format::Csv(rows) => rows.read(text),
            }
            .map(Some);
        }
        Ok(None)
    }
}

impl Format {
    /// The format that begins with this line, and whether the line is no more than a head.
    fn of(first: &str, file: &str) -> Result<(Self, bool), Problem> {
        match first.trim_start().chars().next() {
            Some('{') => Ok((Self::Json(json::Lines::default()), false)),
            Some('[') => Err(Problem::List),
            _ => {
                let (rows, is_head) = csv::Rows::of(first, file)?;
                Ok((Self::Csv(rows), is_head))
            }
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Record, SeriesError>;

    /// After an error there is nothing more.
    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let read = self.read().map_err(|problem| SeriesError {
            file: self.name.clone(),
            line: self.line,
            problem,
        });
        self.is_done = !matches!(read, Ok(Some(_)));
        read.transpose()
    }
}

/// The point, if its value is a duration and its time does not go back.
fn checked(point: Point, before: Option<i64>) -> Result<Point, Problem> {
    let Point { at, seconds } = point;
    if !seconds.is_finite() || seconds < 0.0 {
        return Err(Problem::Value(seconds.to_string()));
    }
    match before {
        Some(before) if at < before => Err(Problem::Unsorted { at, before }),
        _ => Ok(point),
    }
}

/// A time in unix seconds, the part of a second dropped: hours and weekdays do not need it.
fn whole_second(seconds: f64, text: impl Fn() -> String) -> Result<i64, Problem> {
    if seconds.abs() > LATEST {
        return Err(Problem::Milliseconds(text()));
    }
    if !seconds.is_finite() {
        return Err(Problem::Time(text()));
    }
    #[allow(clippy::cast_possible_truncation)]
    let whole = seconds.floor() as i64;
    Ok(whole)
}

#[cfg(test)]
mod tests;
