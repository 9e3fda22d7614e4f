//! How well the detector tells what has become slower from noise, and what that costs.
//!
//! `cargo bench --bench detection` scores it on the development set beside the rules people write
//! themselves, measures speed, then scores it on the simulator's histories. `-- FILE…` scores other sets
//! (`benches/detection/README.md` says how they are made) and nothing else; `-- --by family` adds each
//! family; `-- quality`, `speed` or `simulated` runs only that part.

// A benchmark prints and reads the clock; that is what it is for.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

#[path = "detection/corpus.rs"]
mod corpus;
#[path = "detection/detectors.rs"]
mod detectors;
#[path = "detection/score.rs"]
mod score;
#[path = "detection/simulated.rs"]
mod simulated;
#[path = "detection/speed.rs"]
mod speed;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use score::{Scored, Series, Summary, score};

/// Measured once on 548 other series of the same generator (250 231 points, 299 regressions that can be
/// told) by the same rules: recall, precision, F1, false alarms in 1 000, median delay.
const MEASURED: [(&str, [&str; 5]); 10] = [
    (
        "two windows, +50 % (what scripts do)",
        ["0.75", "0.09", "0.17", "10.3", "2"],
    ),
    (
        "1 day against 7 days, +50 %",
        ["0.65", "0.13", "0.21", "6.3", "6"],
    ),
    ("z > 3 over 30", ["0.87", "0.07", "0.13", "16.3", "0"]),
    (
        "Elementary-like z 3, 14 d",
        ["0.78", "0.08", "0.14", "13.2", "1"],
    ),
    (
        "robust z 5, 3 in a row",
        ["0.49", "0.33", "0.39", "1.5", "2"],
    ),
    ("Perfherder", ["0.45", "0.41", "0.43", "0.95", "12"]),
    ("Chromeperf", ["0.40", "0.83", "0.54", "0.12", "4"]),
    (
        "Bayesian online change point",
        ["0.93", "0.17", "0.29", "6.4", "2"],
    ),
    (
        "Otava (Hunter), run online",
        ["0.93", "0.08", "0.15", "15.5", "2"],
    ),
    (
        "windowed robust two-sample test on logs",
        ["0.83", "0.87", "0.85", "0.17", "7"],
    ),
];

/// Seeds of the simulator.
const SEEDS: std::ops::Range<u64> = 0..20;

const PARTS: [&str; 3] = ["quality", "simulated", "speed"];

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let by = args.iter().position(|arg| arg == "--by");
    if let Some(at) = by {
        args.drain(at..(at + 2).min(args.len()));
    }
    let (parts, files): (Vec<String>, Vec<String>) = args
        .into_iter()
        .partition(|arg| PARTS.contains(&arg.as_str()));
    for file in &files {
        match corpus::read(Path::new(file)) {
            Ok(set) => quality(file, &set, by.is_some()),
            Err(why) => {
                eprintln!("{why}\nNeither a set of series nor one of the parts {PARTS:?}.");
                return ExitCode::FAILURE;
            }
        }
    }
    if files.is_empty() {
        let set = corpus::development();
        let is_wanted = |part: &str| parts.is_empty() || parts.iter().any(|named| named == part);
        if is_wanted("quality") {
            cited();
            quality("benches/detection/dev.jsonl.gz", &set, by.is_some());
        }
        if is_wanted("speed") {
            println!("\n## Cost\n");
            speed::print(&set);
        }
        if is_wanted("simulated") {
            simulated(by.is_some());
        }
    }
    ExitCode::SUCCESS
}

const HEAD: &str = "| detector | recall | precision | F1 | false alarms / 1 000 points | median delay | p90 |\n|---|---|---|---|---|---|---|";

fn cited() {
    println!("\n## Measured on 548 other series of the same generator\n\n{HEAD}");
    for (name, row) in MEASURED {
        println!("| {name} | {} | |", row.join(" | "));
    }
}

/// Scores everybody on a set.
fn quality(name: &str, set: &[Series], is_by_family: bool) {
    let all = |detect: fn(&Series) -> Vec<usize>| -> Vec<Scored> {
        set.iter()
            .map(|series| score(series, &detect(series)))
            .collect()
    };
    let mut ours = Vec::new();
    let mut rows = String::new();
    for (name, detect) in detectors::ALL {
        ours = all(detect);
        rows.push_str(&row(name, &Summary::of(&ours)));
    }
    let summary = Summary::of(&ours);
    println!(
        "\n## {name}: {} series, {} points, {} regressions that can be told\n\n{HEAD}\n{rows}",
        summary.series, summary.points, summary.must
    );
    println!(
        "Tardy: {} of {} told, {} false alarms in {} of {} series, {} repeats.",
        summary.detected,
        summary.must,
        summary.false_alarms,
        summary.series_with_false_alarms,
        summary.series,
        summary.repeats
    );
    if is_by_family {
        families(&ours);
    }
}

fn row(name: &str, summary: &Summary) -> String {
    let number = |value: Option<f64>, places: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.places$}"))
    };
    format!(
        "| {name} | {} | {} | {:.4} | {} | {} | {} |\n",
        number(summary.recall(), 3),
        number(summary.precision(), 3),
        summary.f1(),
        number(summary.false_per_1000(), 3),
        number(summary.delay_median, 1),
        summary
            .delay_p90
            .map_or_else(|| "-".to_owned(), |delay| delay.to_string()),
    )
}

fn families(rows: &[Scored]) {
    let mut families: BTreeMap<&str, Vec<&Scored>> = BTreeMap::new();
    for row in rows {
        families.entry(&row.family).or_default().push(row);
    }
    println!(
        "\n| family | series | to tell | told | false alarms | / 1 000 | median delay |\n|---|---|---|---|---|---|---|"
    );
    for (family, rows) in families {
        let summary = Summary::of(rows);
        println!(
            "| {family} | {} | {} | {} | {} | {:.3} | {} |",
            summary.series,
            summary.must,
            summary.detected,
            summary.false_alarms,
            summary.false_per_1000().unwrap_or(0.0),
            delay(&summary),
        );
    }
}

/// A job is new for so many days: nothing can have repeated itself often enough to be a cycle.
const NEW_DAYS: i64 = 3;

fn simulated(is_by_family: bool) {
    println!(
        "\n## The simulator's histories, seeds {SEEDS:?}: each job's successful scheduled runs\n"
    );
    println!(
        "| setting | jobs | runs | slow stretches | told | median delay | false alarms | / 1 000 runs | in a job's first {NEW_DAYS} days | after them, / 1 000 runs |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    let mut all = Vec::new();
    for setting in simulated::settings(SEEDS) {
        let rows: Vec<Scored> = setting
            .series
            .iter()
            .map(|series| score(series, &detectors::tardy(series)))
            .collect();
        let (mut new, mut later_runs) = (0, 0);
        for (series, row) in setting.series.iter().zip(&rows) {
            let until = series
                .t
                .first()
                .map_or(0, |first| first + NEW_DAYS * 86_400);
            let old_from = series.t.partition_point(|at| *at < until);
            new += row
                .false_at
                .iter()
                .filter(|index| **index < old_from)
                .count();
            later_runs += series.n - old_from;
        }
        let summary = Summary::of(&rows);
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {:.3} | {new} | {:.3} |",
            setting.name,
            summary.series,
            summary.points,
            summary.must,
            summary.detected,
            delay(&summary),
            summary.false_alarms,
            summary.false_per_1000().unwrap_or(0.0),
            per_1000(summary.false_alarms - new, later_runs),
        );
        all.extend(rows);
    }
    if is_by_family {
        families(&all);
    }
}

fn delay(summary: &Summary) -> String {
    let median = summary.delay_median;
    median.map_or_else(|| "-".to_owned(), |delay| format!("{delay:.1}"))
}

#[allow(clippy::cast_precision_loss)]
fn per_1000(count: usize, of: usize) -> f64 {
    1e3 * count as f64 / of.max(1) as f64
}
