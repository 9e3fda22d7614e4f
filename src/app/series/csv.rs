//! CSV, a point in each row: `t,v`, with the id of its series in a third column or in the one that the
//! head names. Commas or tabs; cells may be quoted.

use std::collections::HashMap;
use std::path::Path;

use super::{Id, Point, Problem, Record, whole_second};
use crate::engine::time::Timestamp;

/// What a head may call the time.
const TIMES: [&str; 8] = [
    "t",
    "time",
    "timestamp",
    "ts",
    "at",
    "date",
    "created_at",
    "started_at",
];
/// What a head may call the duration.
const VALUES: [&str; 6] = [
    "v",
    "value",
    "seconds",
    "duration",
    "duration_seconds",
    "duration_s",
];
/// What a head may call the series.
const IDS: [&str; 5] = ["id", "series", "name", "job", "model"];

/// Where a series stands.
#[derive(Default)]
struct Stand {
    points: usize,
    at: Option<i64>,
}

/// Reads rows.
pub(super) struct Rows {
    separator: char,
    time: usize,
    value: usize,
    id: Option<usize>,
    /// What the series is called when no column says so: as the file is, without its extension.
    only: String,
    series: HashMap<String, Stand>,
}

impl Rows {
    /// How rows are read when this is the first, and whether it is a head: its cells are names.
    pub(super) fn of(first: &str, file: &str) -> Result<(Self, bool), Problem> {
        let separator = if first.contains('\t') { '\t' } else { ',' };
        let cells = cells(first, separator)?;
        let only = Path::new(file).file_stem().unwrap_or_default();
        let mut rows = Self {
            only: only.to_string_lossy().into_owned(),
            separator,
            time: 0,
            value: 1,
            id: (cells.len() > 2).then_some(2),
            series: HashMap::new(),
        };
        if !is_head(&cells) {
            return Ok((rows, false));
        }
        let find = |names: &[&str]| {
            let names_column = |cell: &String| names.contains(&cell.to_lowercase().as_str());
            cells.iter().position(names_column)
        };
        rows.time = find(&TIMES).ok_or(Problem::Head("t"))?;
        rows.value = find(&VALUES).ok_or(Problem::Head("v"))?;
        rows.id = find(&IDS);
        Ok((rows, true))
    }

    pub(super) fn read(&mut self, text: &str) -> Result<Record, Problem> {
        let cells = cells(text, self.separator)?;
        let wanted = self.time.max(self.value).max(self.id.unwrap_or(0)) + 1;
        if cells.len() < wanted {
            let found = cells.len();
            return Err(Problem::Columns { found, wanted });
        }
        let id = self
            .id
            .map_or(self.only.as_str(), |column| cells[column].as_str());
        if !self.series.contains_key(id) {
            self.series.insert(id.to_owned(), Stand::default());
        }
        let stand = self.series.entry(id.to_owned()).or_default();
        let point = point(&cells[self.time], &cells[self.value], stand.at)
            .map_err(|problem| problem.of(&Id::Text(id.to_owned()), stand.points))?;
        stand.points += 1;
        stand.at = Some(point.at);
        Ok(Record::Next(Id::Text(id.to_owned()), point))
    }
}

fn is_head(cells: &[String]) -> bool {
    let is_name = |cell: &String| {
        let begins = cell.chars().next().is_some_and(char::is_alphabetic);
        begins && cell.parse::<f64>().is_err()
    };
    cells.iter().take(2).all(is_name)
}

fn point(time: &str, value: &str, before: Option<i64>) -> Result<Point, Problem> {
    if time.is_empty() {
        return Err(Problem::Missing("its time"));
    }
    if value.is_empty() {
        return Err(Problem::Missing("its value"));
    }
    let quoted = |text: &str| format!("\"{}\"", text.chars().take(40).collect::<String>());
    let at = match time.parse::<f64>() {
        Ok(seconds) => whole_second(seconds, || time.to_owned())?,
        Err(_) => Timestamp::parse(time)
            .map(|at| at.as_millis().div_euclid(1_000))
            .ok_or_else(|| Problem::Time(quoted(time)))?,
    };
    let seconds = value.parse().map_err(|_| Problem::Value(quoted(value)))?;
    super::checked(Point { at, seconds }, before)
}

/// The cells of a row, trimmed.
fn cells(text: &str, separator: char) -> Result<Vec<String>, Problem> {
    let mut cells = Vec::new();
    let mut rest = text;
    loop {
        let start = rest.trim_start_matches(' ');
        let (cell, after) = if let Some(quoted) = start.strip_prefix('"') {
            quoted_cell(quoted, separator)?
        } else {
            let (cell, after) = start
                .split_once(separator)
                .map_or((start, None), |(cell, rest)| (cell, Some(rest)));
            (cell.trim().to_owned(), after)
        };
        cells.push(cell);
        match after {
            Some(after) => rest = after,
            None => return Ok(cells),
        }
    }
}

/// A cell whose opening quote is past, and what follows its separator.
fn quoted_cell(text: &str, separator: char) -> Result<(String, Option<&str>), Problem> {
    let mut cell = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"').ok_or(Problem::Quote)?;
        cell.push_str(part);
        if let Some(doubled) = after.strip_prefix('"') {
            cell.push('"');
            rest = doubled;
            continue;
        }
        let after = after.trim_start_matches(' ');
        if after.is_empty() {
            return Ok((cell, None));
        }
        let after = after.strip_prefix(separator).ok_or(Problem::Quote)?;
        return Ok((cell, Some(after)));
    }
}
