//! How far the deadline's forecast can be trusted: `cargo bench --bench forecast` on the simulator's jobs,
//! `cargo bench --bench forecast -- FILE.jsonl[.gz] …` on series of durations, one in a line
//! (`{"id": …, "t": [unix seconds], "v": [seconds]}`).
//!
//! Each run is foretold from the runs before it, at every minute from its tick to the deadline while it is not
//! done (of a file, at every twentieth of that time: its jobs take seconds to hours). Deadlines lie at
//! quantiles of the times from tick to end of each job.

// A benchmark prints and reads the clock; that is what it is for.
#![allow(clippy::print_stdout, clippy::disallowed_methods, missing_docs)]

#[path = "../tests/support/forecasting.rs"]
#[allow(dead_code, unreachable_pub)]
mod forecasting;

use std::io::Read as _;
use std::time::Instant;

use forecasting::{
    Look, Plan, Score, Series, Warnings, same_false_share, simulated, walk, written,
};
use tardy::engine::time::Span;

const QUANTILES: [f64; 5] = [0.5, 0.75, 0.9, 0.95, 0.99];

/// The seed of the organizations; the test uses another.
const SEED: u64 = 7;

/// As in the reference rules.
const AT_RISK: f64 = 0.8;

fn main() {
    let files: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    if files.is_empty() {
        let plan = Plan {
            quantiles: &QUANTILES,
            max_runs: 120,
            every: Some(Span::minutes(1)),
            left_share: 1.0,
        };
        report("the simulator's jobs, 60 days", &simulated(SEED, 60), plan);
    }
    for file in files {
        let plan = Plan {
            quantiles: &QUANTILES,
            max_runs: 40,
            every: None,
            left_share: 1.0,
        };
        report(&file, &written(&read(&file)), plan);
    }
}

/// A way to foretell, by name.
type Way<'a> = (&'a str, &'a dyn Fn(&Look) -> f64);

fn read(file: &str) -> String {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut text = String::new();
    let read = if std::path::Path::new(file)
        .extension()
        .is_some_and(|end| end == "gz")
    {
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text)
    } else {
        (&bytes[..]).read_to_string(&mut text)
    };
    read.unwrap_or_else(|error| panic!("{file}: {error}"));
    text
}

fn report(name: &str, series: &[Series], plan: Plan<'_>) {
    let started = Instant::now();
    let mut cases = 0;
    let looks: Vec<Look> = series
        .iter()
        .flat_map(|series| walk(series, plan, &mut cases))
        .collect();
    println!(
        "\n# Forecast: {name}\n\n{} series, {cases} runs with a deadline, {} looks, {:.1} s\n",
        series.len(),
        looks.len(),
        started.elapsed().as_secs_f64()
    );
    let warned = Warnings::of(&looks, |look| look.forecast >= AT_RISK);
    let k = same_false_share(&looks, warned.false_share());
    let ways: [Way<'_>; 6] = [
        ("forecast", &|look| look.forecast),
        ("elapsed time alone", &|look| look.elapsed),
        ("regardless of elapsed time", &|look| look.blind),
        ("plain share of the last 20", &|look| look.counted),
        ("mean and sigma, normal law", &|look| above(look.sigmas)),
        ("mean + k sigma, yes or no", &|look| {
            f64::from(u8::from(look.sigmas < k))
        }),
    ];
    println!("| by | Brier | skill against the overall share |\n|---|---|---|");
    for (name, way) in ways {
        let score = Score::of(&looks, way);
        println!("| {name} | {:.4} | {:+.3} |", score.brier(), score.skill());
    }
    println!(
        "\n| foretold | forecast: mean, came, looks | elapsed: mean, came, looks | normal law: mean, came, looks |\n|---|---|---|---|"
    );
    let columns = [0, 1, 4].map(|way| Score::of(&looks, ways[way].1));
    for bin in 0..10 {
        let cells = columns.each_ref().map(|score| {
            let (count, sum, misses) = score.bins[bin];
            format!("{:.3}, {:.3}, {count}", sum / count, misses / count)
        });
        println!(
            "| {}-{} % | {} |",
            bin * 10,
            bin * 10 + 10,
            cells.join(" | ")
        );
    }
    println!(
        "\n| warns | misses warned of | false: share of kept | precision | lead, median | lead, p10 |\n|---|---|---|---|---|---|"
    );
    let elapsed = Warnings::of(&looks, |look| look.elapsed >= AT_RISK);
    let sigmas = Warnings::of(&looks, |look| look.sigmas < k);
    for (name, warned) in [
        ("forecast >= 0.8".to_owned(), warned),
        ("elapsed >= 0.8".to_owned(), elapsed),
        (format!("mean + {k:.2} sigma"), sigmas),
    ] {
        println!(
            "| {name} | {:.3} of {} | {:.4} of {} | {:.3} | {:.1} min | {:.1} min |",
            warned.recall(),
            warned.missed,
            warned.false_share(),
            warned.met,
            warned.precision(),
            warned.lead(0.5),
            warned.lead(0.1)
        );
    }
}

/// The share of a normal law above `z` (Abramowitz and Stegun 7.1.26).
fn above(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let terms = [
        0.254_829_592,
        -0.284_496_736,
        1.421_413_741,
        -1.453_152_027,
        1.061_405_429,
    ];
    let sum = terms.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    let tail = 0.5 * sum * (-x * x).exp();
    if z >= 0.0 { tail } else { 1.0 - tail }
}
