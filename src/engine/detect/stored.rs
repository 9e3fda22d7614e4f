//! A detector as text, to be stored with what a rule remembers: the bytes of its numbers (differences of
//! times, hours with runs only) in hexadecimal. At most about 8 KiB.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::cycle::Cycle;
use super::{Detector, Point, Rough, from_units, to_units};

/// Why a stored detector cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// It is no hexadecimal text.
    #[error("a stored detector is damaged: {0}")]
    Text(#[from] hex::FromHexError),
    /// Its bytes say something else.
    #[error("a stored detector is damaged: {0}")]
    Bytes(#[from] postcard::Error),
    /// Its numbers contradict each other.
    #[error("a stored detector is damaged: its segment is longer than its runs")]
    Numbers,
}

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
        hex::encode(postcard::to_stdvec(&numbers).unwrap_or_default())
    }
}

impl TryFrom<String> for Detector {
    type Error = StoredError;

    fn try_from(text: String) -> Result<Self, StoredError> {
        let numbers: Numbers = postcard::from_bytes(&hex::decode(text)?)?;
        if numbers.segment > numbers.points.len() {
            return Err(StoredError::Numbers);
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
        Ok(Self {
            points,
            segment: numbers.segment,
            seen: numbers.seen,
            first_wall: numbers.first_wall,
            shape: numbers.shape,
            cycle: numbers.cycle,
            rough: numbers.rough,
        })
    }
}
