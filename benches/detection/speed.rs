//! What watching costs: CPU time of a point, many series from text to alerts, memory, a stored detector.

use std::io::{BufReader, Read};
use std::time::Instant;

use tardy::app::detection::Detection;
use tardy::app::series::Reader;
use tardy::engine::detect::Detector;

use super::score::Series;

const REPETITIONS: usize = 5;
const SERIES: usize = 10_000;
const POINTS: usize = 1_000;
/// Different series among those; the others repeat them.
const DIFFERENT: usize = 64;
/// Detectors that are kept to see what they weigh.
const KEPT: usize = 5_000;

pub fn print(development: &[Series]) {
    // First, while little was freed that would be used again without being seen.
    memory(development);
    let points: usize = development.iter().map(|series| series.n).sum();
    let mut each: Vec<f64> = (0..REPETITIONS)
        .map(|_| micros(|| watch_all(development)) / float(points))
        .collect();
    each.sort_by(f64::total_cmp);
    println!(
        "A point of the development set: {:.2} us of CPU (median of {REPETITIONS}, {:.2} to {:.2}; bar 5)",
        each[REPETITIONS / 2],
        each[0],
        each[REPETITIONS - 1],
    );
    end_to_end(development);
    stored(development);
}

fn watch_all(all: &[Series]) {
    for series in all {
        std::hint::black_box(watched(series));
    }
}

fn watched(series: &Series) -> Detector {
    let mut detector = Detector::new();
    for (at, seconds) in series.t.iter().zip(&series.v) {
        std::hint::black_box(detector.push(*at, *seconds));
    }
    detector
}

/// JSON lines that are made while they are read: the same bodies again and again, each time with its own id.
struct Lines {
    bodies: Vec<String>,
    number: usize,
    line: Vec<u8>,
    at: usize,
}

impl Lines {
    fn new(development: &[Series]) -> Self {
        let long = development.iter().filter(|series| series.n >= 500);
        let bodies = long.take(DIFFERENT).map(|series| {
            let step = series.t[series.n - 1] - series.t[0] + 3_600;
            let rounds = i64::try_from(POINTS / series.n + 1).unwrap_or(1);
            let t: Vec<i64> = (0..rounds)
                .flat_map(|round| series.t.iter().map(move |at| at + round * step))
                .take(POINTS)
                .collect();
            let v: Vec<f64> = series.v.iter().cycle().take(POINTS).copied().collect();
            format!(
                "{}}}\n",
                &serde_json::json!({ "t": t, "v": v }).to_string()[1..].trim_end_matches('}')
            )
        });
        Self {
            bodies: bodies.collect(),
            number: 0,
            line: Vec::new(),
            at: 0,
        }
    }
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.line.len() && self.number < SERIES {
            let body = &self.bodies[self.number % self.bodies.len()];
            self.line.clear();
            self.line
                .extend_from_slice(format!("{{\"id\":\"series-{}\",", self.number).as_bytes());
            self.line.extend_from_slice(body.as_bytes());
            self.number += 1;
            self.at = 0;
        }
        let count = buffer.len().min(self.line.len() - self.at);
        buffer[..count].copy_from_slice(&self.line[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

fn end_to_end(development: &[Series]) {
    let lines = BufReader::with_capacity(1 << 16, Lines::new(development));
    let mut detection = Detection::new(chrono_tz::UTC);
    let mut told = 0_usize;
    let before = status_kb("VmRSS:");
    // The highest mark is taken anew from here.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let started = Instant::now();
    let cpu = micros(|| {
        for record in Reader::new(lines, "generated") {
            detection.take(record.expect("it is good"), |_| told += 1);
        }
    });
    let took = started.elapsed().as_secs_f64();
    println!(
        "{} series of {POINTS} points, from JSON lines to {told} alerts: {took:.1} s, {:.2} us of CPU a point (bar 5), memory +{:.1} MB at most",
        detection.series,
        cpu / float(SERIES * POINTS),
        (status_kb("VmHWM:") - before) / 1e3,
    );
}

fn memory(development: &[Series]) {
    let long: Vec<&Series> = development
        .iter()
        .filter(|series| series.n >= 500)
        .collect();
    let before = status_kb("VmRSS:");
    let kept: Vec<Detector> = (0..KEPT)
        .map(|number| watched(long[number % long.len()]))
        .collect();
    let each = (status_kb("VmRSS:") - before) / float(KEPT);
    println!(
        "A detector in memory, after 500 points or more: {each:.1} kB ({} of them kept)",
        kept.len()
    );
}

fn stored(development: &[Series]) {
    let size = |series: &Series| {
        let stored = postcard::to_stdvec(&watched(series));
        stored.map_or(0, |bytes| bytes.len())
    };
    let mut sizes: Vec<usize> = development
        .iter()
        .filter(|series| series.n >= 200)
        .map(size)
        .collect();
    sizes.sort_unstable();
    println!(
        "A stored detector, after 200 points or more: median {} bytes, largest {} bytes",
        sizes[sizes.len() / 2],
        sizes[sizes.len() - 1]
    );
}

/// CPU time of this thread while something is done, in microseconds.
fn micros(work: impl FnOnce()) -> f64 {
    let before = cpu_nanos();
    work();
    (cpu_nanos() - before) / 1e3
}

/// From /proc: nanoseconds that this thread has run.
fn cpu_nanos() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

/// A line of /proc/self/status, in kB.
fn status_kb(name: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1))
        .and_then(|text| text.parse().ok())
        .unwrap_or(0.0)
}

#[allow(clippy::cast_precision_loss)]
fn float(count: usize) -> f64 {
    count as f64
}
