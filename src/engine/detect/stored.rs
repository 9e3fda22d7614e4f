//! A detector as text, to be stored with what a rule remembers: the bytes of its numbers (differences of
//! times, hours with runs only) in hexadecimal, after the version of that form. Mostly below 8 KiB. What cannot
//! be read is read as a detector that has seen nothing: its owner learns anew from history.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::cycle::Cycle;
use super::{Detector, Point, Rough, from_units, to_units};

/// Before the numbers; another form gets another version.
const VERSION: &str = "1:";

/// The numbers of a detector.
#[derive(Serialize, Deserialize)]
struct Numbers {
    /// Seconds since the point before, and the logarithm.
    points: Vec<(i64, i32)>,
    segment: usize,
    seen: u64,
    first_wall: i64,
    shape: Vec<i32>,
    cycle: Cycle,
    rough: Option<Rough>,
}

impl From<Detector> for String {
    fn from(detector: Detector) -> Self {
        let mut before = detector.first_wall;
        let points = detector.points.iter().map(|point| {
            let step = point.wall.wrapping_sub(before);
            before = point.wall;
            (step, point.log)
        });
        let numbers = Numbers {
            points: points.collect(),
            segment: detector.segment,
            seen: detector.seen,
            first_wall: detector.first_wall,
            shape: detector.shape,
            cycle: detector.cycle,
            rough: detector.rough,
        };
        // Numbers in memory can be written.
        let bytes = postcard::to_stdvec(&numbers).unwrap_or_default();
        format!("{VERSION}{}", hex::encode(bytes))
    }
}

impl From<String> for Detector {
    fn from(text: String) -> Self {
        read(&text).unwrap_or_default()
    }
}

fn read(text: &str) -> Option<Detector> {
    let bytes = hex::decode(text.strip_prefix(VERSION)?).ok()?;
    let numbers: Numbers = postcard::from_bytes(&bytes).ok()?;
    if numbers.segment > numbers.points.len() {
        return None;
    }
    let mut wall = numbers.first_wall;
    let points: VecDeque<Point> = numbers
        .points
        .iter()
        .map(|(step, log)| {
            wall = wall.wrapping_add(*step);
            let explained = numbers.cycle.at(wall);
            Point {
                wall,
                log: *log,
                adjusted: to_units(from_units(*log) - explained),
            }
        })
        .collect();
    Some(Detector {
        points,
        segment: numbers.segment,
        seen: numbers.seen,
        first_wall: numbers.first_wall,
        shape: numbers.shape,
        cycle: numbers.cycle,
        rough: numbers.rough,
    })
}
