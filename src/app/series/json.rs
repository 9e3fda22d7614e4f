//! JSON lines: `{"id": "orders", "t": [unix seconds], "v": [seconds]}`; other keys are ignored.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Id, Point, Problem, Record, whole_second};

/// A line as it is written. What may be `null` is asked for itself, so that the error can say which.
#[derive(Deserialize)]
struct Line {
    id: Id,
    t: Vec<Option<f64>>,
    v: Vec<Option<f64>>,
}

/// Reads lines; knows which series there were.
#[derive(Default)]
pub(super) struct Lines {
    seen: HashMap<Id, u64>,
}

impl Lines {
    pub(super) fn read(&mut self, text: &str, number: u64) -> Result<Record, Problem> {
        let Line { id, t, v } =
            serde_json::from_str(text).map_err(|error| mistake(text, &error))?;
        if let Some(line) = self.seen.insert(id.clone(), number) {
            return Err(Problem::Again(id, line));
        }
        if t.len() != v.len() {
            let (times, values) = (t.len(), v.len());
            return Err(Problem::Lengths { id, times, values });
        }
        let mut points = Vec::with_capacity(t.len());
        let mut before = None;
        for (index, (time, value)) in t.into_iter().zip(v).enumerate() {
            let point = point(time, value, before).map_err(|problem| problem.of(&id, index))?;
            before = Some(point.at);
            points.push(point);
        }
        Ok(Record::Whole(id, points))
    }
}

fn point(time: Option<f64>, value: Option<f64>, before: Option<i64>) -> Result<Point, Problem> {
    let time = time.ok_or(Problem::Missing("its time, t,"))?;
    let seconds = value.ok_or(Problem::Missing("its value, v,"))?;
    let at = whole_second(time, || time.to_string())?;
    super::checked(Point { at, seconds }, before)
}

fn mistake(text: &str, error: &serde_json::Error) -> Problem {
    let names_no_number = ["NaN", "Infinity"].iter().any(|word| text.contains(word));
    if error.is_syntax() && names_no_number {
        return Problem::NotFinite;
    }
    // The line is this file's: the one serde counts is always the first.
    let said = error
        .to_string()
        .replace(" at line 1 column", ", at column");
    Problem::Json(said)
}
