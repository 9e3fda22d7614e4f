//! What is measured, against the bars of docs/benchmarks.md: one command, one table.
//!
//! `cargo bench --bench bars` runs all parts; `cargo bench --bench bars -- tick poll` only those named. All
//! traffic is on loopback, every loop is bounded. Figures are medians; machines differ, so the bar stands
//! beside each.

// A benchmark prints and reads the clock; that is what it is for.
#![allow(clippy::print_stdout, clippy::disallowed_methods, missing_docs)]

#[path = "bars/delivery.rs"]
mod delivery;
#[path = "../tests/support/smtp.rs"]
#[allow(dead_code)]
mod smtp;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use tardy::chart::{Band, ChartPoint, DurationChart, LimitLine, Mark, Size, Theme};
use tardy::config::{self, Environment};
use tardy::engine::history::History;
use tardy::engine::observation::{Job, Name, Observation, Project, ProjectKey, Run, Status};
use tardy::engine::policy::Policy;
use tardy::engine::time::{Span, Timestamp};
use tardy::engine::{Engine, Input, Saved};
use tardy::sim::{self, Faults, Organization, SimClock, Variant};
use tardy::source::Source as _;
use tardy::source::dagctl::{Dagctl, DagctlSettings, Retry, Timeouts};

type Part = (&'static str, fn());

const PARTS: [Part; 7] = [
    ("tick", tick),
    ("poll", poll),
    ("alerts", delivery::alerts),
    ("latency", delivery::latency),
    ("mails", delivery::mails),
    ("check", check),
    ("chart", chart),
];

fn main() {
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    for (name, part) in PARTS {
        if named.is_empty() || named.iter().any(|wanted| wanted == name) {
            part();
        }
    }
}

/// Nightly runs of about half an hour in a usual range, the last ones over a limit.
fn durations(count: u32) -> DurationChart {
    let at = |index: u32| start() - Span::days(i64::from(count - index));
    let point = |index: u32| ChartPoint {
        at: at(index),
        seconds: 1_800.0
            + 60.0 * f64::from(index % 7)
            + if index + 5 > count { 1_500.0 } else { 0.0 },
        mark: if index + 5 > count {
            Mark::Bad
        } else {
            Mark::Usual
        },
    };
    let band = |index: u32| Band {
        at: at(index),
        low: 1_500.0,
        usual: 1_950.0 + f64::from(index % 11),
        high: 2_400.0,
    };
    DurationChart {
        title: "finance nightly-refresh".to_owned(),
        subtitle: format!("run duration, last {count} runs"),
        points: (0..count).map(point).collect(),
        band: (0..count).map(band).collect(),
        change: None,
        limit: Some(LimitLine {
            seconds: 2_700.0,
            label: "limit 45 min".to_owned(),
        }),
        zone: chrono_tz::America::New_York,
    }
}

fn chart() {
    println!("\n## Charts of durations\n");
    println!("| runs | SVG | PNG, 1600 x 640 | PNG for a phone, 1080 x 960 | SVG, kB | PNG, kB |");
    println!("|---|---|---|---|---|---|");
    for count in [42, 500] {
        let chart = durations(count);
        let svg = || tardy::chart::svg(&chart, Theme::Light, Size::Wide).into_bytes();
        let png = |size| tardy::chart::png(&chart, Theme::Light, size).expect("it is drawn");
        println!(
            "| {count} | {:.2?} | {:.1?} | {:.1?} | {} | {} |",
            repeated(200, svg),
            repeated(20, || png(Size::Wide)),
            repeated(20, || png(Size::Phone)),
            svg().len() / 1_000,
            png(Size::Wide).len() / 1_000,
        );
    }
    println!("\nBar: 1 ms and 100 ms for 42 runs.");
}

/// Median time of a call; the first one, which reads the fonts, does not count.
fn repeated(times: usize, call: impl Fn() -> Vec<u8>) -> Duration {
    std::hint::black_box(call());
    let samples = (0..times).map(|_| {
        let started = Instant::now();
        std::hint::black_box(call());
        started.elapsed()
    });
    median(samples.collect())
}

fn median(mut samples: Vec<Duration>) -> Duration {
    samples.sort();
    samples[samples.len() / 2]
}

fn quantile(samples: &mut [Duration], share: f64) -> Duration {
    samples.sort();
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    let index = ((samples.len() - 1) as f64 * share).round() as usize;
    samples[index]
}

/// Resident memory of this process, in MB, from /proc.
fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap_or("VmRSS: 0 kB");
    line.split_whitespace()
        .nth(1)
        .and_then(|text| text.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1e3
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime starts")
}

fn start() -> Timestamp {
    Timestamp::parse("2026-11-24T00:00:00Z").expect("a valid instant")
}

fn project() -> ProjectKey {
    ProjectKey {
        source: "bench".into(),
        project_id: "proj_1".into(),
    }
}

/// Every built kind of rule over all jobs.
const RULES: &str = r#"
[[rule]]
name = "run-failed"
kind = "run_failed"
[[rule]]
name = "too-long"
kind = "run_duration"
max = "3h"
[[rule]]
name = "missed"
kind = "missed_schedule"
[[rule]]
name = "stale"
kind = "staleness"
max_age = "40d"
[[rule]]
name = "slower"
kind = "run_regression"
times = "2 of 3"
"#;

const SERVICE: &str = r#"
[[source]]
name = "bench"
organization = "org-1"
token = { env = "DAGCTL_TOKEN" }
kind = "dagctl"
base_url = "http://127.0.0.1:1"
[[receiver]]
name = "sink"
kind = "console"
[route]
receivers = ["sink"]
group_by = ["project", "job", "run_id"]
group_wait = "0s"
"#;

fn policy(rules: &str) -> Policy {
    let environment = Environment::from_pairs([("DAGCTL_TOKEN", "dctl_bench")]);
    match config::load_texts(
        ("tardy.toml", SERVICE),
        &[("rules.toml", rules)],
        &environment,
    ) {
        Ok(loaded) => loaded.config.policy,
        Err(diagnostics) => panic!("{}", diagnostics.render(false)),
    }
}

fn run(number: usize, job: &Name, created_at: Timestamp, status: Status) -> Run {
    let took = Span::seconds(600 + i64::try_from(number % 37).unwrap_or(0));
    Run {
        id: format!("run_{number:07}").into(),
        job: Some(job.clone()),
        job_type: "run".into(),
        status,
        triggered_by: "scheduled".into(),
        created_at,
        started_at: Some(created_at + Span::seconds(2)),
        finished_at: Some(created_at + took),
        updated_at: created_at + took,
        error: None,
    }
}

fn jobs(count: usize) -> Vec<Name> {
    (0..count)
        .map(|index| format!("job-{index:05}").into())
        .collect()
}

fn setting(jobs: &[Name]) -> Vec<Observation> {
    let listed = jobs
        .iter()
        .map(|name| Job {
            name: name.clone(),
            schedule: Some("0 * * * *".into()),
            is_enabled: true,
            updated_at: None,
        })
        .collect();
    let info = Project {
        key: project(),
        name: "bench".into(),
        project_type: "sqlmesh".into(),
        is_suspended: false,
        is_deployed: true,
        environment: None,
        commits_behind: None,
        current_commit: None,
        latest_commit: None,
        latest_message: None,
        concurrency_policy: None,
    };
    vec![
        Observation::Project(info),
        Observation::Jobs(project(), listed),
    ]
}

/// An engine with `runs` hourly runs over as many jobs as that takes in the last 30 days, at least 50.
fn engine_with(runs: usize) -> (Engine, Timestamp, Vec<Name>) {
    let names = jobs(50.max(runs / 720));
    let per_job = (runs / names.len()).max(1);
    let mut engine = Engine::new(
        Arc::new(policy(RULES)),
        History::default(),
        Saved::default(),
    );
    engine.step(
        Input {
            observations: setting(&names),
            ..Input::default()
        },
        start(),
    );
    // Page by page, as a first backfill comes in.
    for hour in 0..per_job {
        let back = i64::try_from(per_job - hour).unwrap_or(0);
        let created_at = start() - Span::hours(back);
        let page = names.iter().enumerate().map(|(index, name)| {
            let run = run(
                hour * names.len() + index,
                name,
                created_at,
                Status::Success,
            );
            Observation::Run(project(), run)
        });
        engine.step(
            Input {
                observations: page.collect(),
                ..Input::default()
            },
            start(),
        );
    }
    let coverage = BTreeMap::from([(project(), start())]);
    engine.step(
        Input {
            coverage,
            ..Input::default()
        },
        start(),
    );
    (engine, start(), names)
}

fn tick() {
    println!("\n## Cost of a tick against history (5 rules, at least 50 jobs)\n");
    println!(
        "| runs | jobs | nothing new | poll brought nothing | one new run | memory, first look included |"
    );
    println!("|---|---|---|---|---|---|");
    for runs in [1_000, 10_000, 100_000, 1_000_000] {
        let before = resident_mb();
        let (mut engine, mut now, names) = engine_with(runs);
        let memory = resident_mb() - before;
        let mut nothing = Vec::new();
        let mut covered = Vec::new();
        let mut news = Vec::new();
        for number in 0..200 {
            now = now + Span::seconds(1);
            nothing.push(timed(&mut engine, Input::default(), now));
            let coverage = BTreeMap::from([(project(), now)]);
            covered.push(timed(
                &mut engine,
                Input {
                    coverage,
                    ..Input::default()
                },
                now,
            ));
            let job = &names[number % names.len()];
            let new = run(
                9_000_000 + number,
                job,
                now - Span::seconds(700),
                Status::Success,
            );
            let observations = vec![Observation::Run(project(), new)];
            news.push(timed(
                &mut engine,
                Input {
                    observations,
                    ..Input::default()
                },
                now,
            ));
        }
        println!(
            "| {runs} | {} | {:.1?} | {:.1?} | {:.1?} | {memory:.0} MB |",
            names.len(),
            median(nothing),
            median(covered),
            median(news)
        );
    }
    println!("\nBar: O(what changed): the columns stay flat while history grows a thousandfold.");
}

fn timed(engine: &mut Engine, input: Input, now: Timestamp) -> Duration {
    let started = Instant::now();
    let step = engine.step(input, now);
    let took = started.elapsed();
    std::hint::black_box(step);
    took
}

fn poll() {
    println!(
        "\n## Read 100 000 runs from the API (200 pages of 500, simulator in the same process)\n"
    );
    runtime().block_on(async {
        let organization = Organization::bulk(1, 100_000, 0, 50, start());
        let token = SecretString::from(organization.token().to_owned());
        let id = organization.id().to_owned();
        let clock = SimClock::new(start());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let running = sim::serve(
            organization,
            clock,
            Faults::new(),
            Variant::number(0),
            address,
        )
        .await
        .expect("the simulator starts");
        let base_url = running.base_url().parse().expect("its address is one");
        let mut times = Vec::new();
        let mut memory = 0.0_f64;
        let mut count = 0;
        for round in 0..6 {
            let settings = DagctlSettings {
                name: "bench".into(),
                base_url: url::Url::clone(&base_url),
                organization: id.clone(),
                token: token.clone(),
                projects: tardy::engine::labels::Patterns::default(),
                backfill: Span::days(3_650),
                job_map: BTreeMap::new(),
                timeouts: Timeouts::default(),
                retry: Retry::default(),
            };
            let mut source = Dagctl::resume(settings, BTreeMap::new()).expect("settings are good");
            let before = resident_mb();
            let started = Instant::now();
            count = 0;
            loop {
                // As the bot does: a batch is handed on and dropped.
                let batch = source.poll(start()).await;
                assert!(batch.problems.is_empty(), "{:?}", batch.problems);
                count += batch
                    .observations
                    .iter()
                    .filter(|o| matches!(o, Observation::Run(..)))
                    .count();
                memory = memory.max(resident_mb() - before);
                if !batch.has_more {
                    break;
                }
            }
            // The first round also fills the simulator's cache.
            if round > 0 {
                times.push(started.elapsed());
            }
        }
        running.shutdown().await;
        println!(
            "{count} runs: median {:.3?}, memory +{memory:.0} MB (simulator's share included)",
            median(times)
        );
    });
    println!("Bar: 0.4 s, 60 MB. The script people write today: 1.06 to 1.49 s, 156 MB.");
}

fn check() {
    println!("\n## Check 10 000 rules\n");
    let rules: Vec<String> = (0..10_000)
        .map(|number| {
            format!("[[rule]]\nname = \"rule-{number}\"\nkind = \"run_duration\"\njob = \"job-{number}-*\"\nmax = \"45m\"\n")
        })
        .collect();
    let rules = rules.join("\n");
    let environment = Environment::from_pairs([("DAGCTL_TOKEN", "dctl_bench")]);
    let times = (0..5)
        .map(|_| {
            let started = Instant::now();
            let loaded = config::load_texts(
                ("tardy.toml", SERVICE),
                &[("rules.toml", &rules)],
                &environment,
            );
            let took = started.elapsed();
            assert_eq!(
                loaded
                    .expect("the rules are good")
                    .config
                    .policy
                    .rules
                    .len(),
                10_001
            );
            took
        })
        .collect();
    println!("median {:.3?}", median(times));
    println!("Bar: 0.2 s. promtool check rules: 1.4 s.");
}
