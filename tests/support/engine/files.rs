//! Scenario files: rules as people write them, a timeline, and what must come of it.
//!
//! ```toml
//! from = "2026-03-10T06:00:00Z"       # the first poll; then one every `poll` (30 s)
//! until = "12:00"
//! rules = '''…'''                     # a rule file
//! jobs = { nightly = "0 4 * * *" }
//! past = ["nightly every 1d x 9 took 30m", "hourly every 1h x 9 took 10m models stg.orders marts.orders"]
//! runs = ["nightly r1 04:00 -> 04:30 failed: boom"]
//! queued = ["nightly r2 04:00 04:12 -> 04:30 success"]  # created, started, finished
//! executions = ["r1 stg.orders 04:01 -> 04:02 failed: boom", "r2 stg.orders 04:01 -> 04:02 success rows 120"]
//! outages = ["06:20 -> 07:00"]
//! told = ["04:30:15 team first: + critical …"]
//! ledger = ["rule job 07:00 met"]     # left out: not looked at
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono_tz::Tz;
use serde::Deserialize;
use tardy::config::{Environment, load_rules_only};
use tardy::engine::observation::{Execution, Observation, Status};
use tardy::engine::rule::{KIND_NAMES, Rule};
use tardy::engine::time::Timestamp;

use super::kinds::span;
use super::timeline::{Timeline, check, project_key};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    from: String,
    until: String,
    poll: Option<String>,
    schedule_zone: Option<Tz>,
    rules: String,
    #[serde(default)]
    jobs: BTreeMap<String, String>,
    #[serde(default)]
    past: Vec<String>,
    #[serde(default)]
    runs: Vec<String>,
    #[serde(default)]
    queued: Vec<String>,
    #[serde(default)]
    executions: Vec<String>,
    #[serde(default)]
    outages: Vec<String>,
    told: Vec<String>,
    ledger: Option<Vec<String>>,
}

/// `nightly r1 04:00 -> 04:30 failed: boom`: two names, a start and an end.
fn parts(text: &str) -> (&str, &str, &str, &str) {
    let (head, end) = text.split_once("->").unwrap_or((text, ""));
    let mut words = head.trim().splitn(3, ' ');
    let mut next = || {
        words
            .next()
            .unwrap_or_else(|| panic!("`{text}` is too short"))
    };
    (next(), next(), next().trim(), end.trim())
}

/// An execution as it is served while it runs, and once it has ended: `failed: boom`, `success rows 120`.
fn put_execution(
    timeline: Timeline,
    run: &str,
    model: &str,
    from: Timestamp,
    end: Option<(Timestamp, &str)>,
) -> Timeline {
    let running = Execution {
        id: format!("{run}/{model}/{from}").into(),
        run_id: Some(run.into()),
        model: model.into(),
        status: Status::Running,
        started_at: Some(from),
        finished_at: None,
        updated_at: from,
        rows: None,
        error: None,
    };
    let row = |execution| Observation::Execution(project_key(), execution);
    let timeline = timeline.row(from, row(running.clone()));
    let Some((to, words)) = end else {
        return timeline;
    };
    let (words, rows) = words.split_once(" rows ").unwrap_or((words, ""));
    let (word, error) = words.split_once(": ").unwrap_or((words, ""));
    let ended = Execution {
        status: Status::from_word(word),
        finished_at: Some(to),
        updated_at: to,
        rows: rows.parse().ok(),
        error: (!error.is_empty()).then(|| error.into()),
        ..running
    };
    timeline.row(to, row(ended))
}

fn rules(text: &str) -> Vec<Rule> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.toml");
    std::fs::write(&path, text).unwrap();
    match load_rules_only(&[path], &Environment::default()) {
        Ok(loaded) => loaded.rules,
        Err(mistakes) => panic!("{mistakes:?}"),
    }
}

impl Scenario {
    fn timeline(&self) -> Timeline {
        let mut timeline = Timeline::new(&self.from);
        for rule in rules(&self.rules) {
            timeline = timeline.rule(rule);
        }
        if let Some(poll) = &self.poll {
            timeline = timeline.poll_every(span(poll));
        }
        if let Some(zone) = self.schedule_zone {
            timeline = timeline.policy(|policy| policy.sources[0].schedule_zone = zone);
        }
        let jobs: Vec<(&str, &str, bool)> = self
            .jobs
            .iter()
            .map(|(name, cron)| (name.as_str(), cron.as_str(), true))
            .collect();
        let long_ago = timeline.from - span("300d");
        timeline = timeline.jobs_since(long_ago, &jobs);
        for text in &self.past {
            let words: Vec<&str> = text.split(' ').collect();
            let (words, models) = match words.iter().position(|word| *word == "models") {
                Some(place) => (&words[..place], &words[place + 1..]),
                None => (&words[..], &[][..]),
            };
            let [job, "every", every, "x", count, "took", took] = words[..] else {
                panic!("`{text}` is not `job every 1d x 9 took 30m models a b`");
            };
            let (every, count) = (span(every), count.parse().unwrap());
            timeline = timeline.past(job, every, count, span(took));
            for index in 1..=count {
                let at = timeline.from - every * index;
                for model in models {
                    let run = format!("{job}-past-{index}");
                    let end = at + span("1m");
                    timeline = put_execution(timeline, &run, model, at, Some((end, "success")));
                }
            }
        }
        for text in &self.runs {
            let (job, id, from, end) = parts(text);
            timeline = timeline.run(job, id, from, end);
        }
        for text in &self.queued {
            let (job, id, times, end) = parts(text);
            let (created, started) = times.split_once(' ').unwrap();
            timeline = timeline.queued(job, id, created, started, end);
        }
        for text in &self.executions {
            let (run, model, from, end) = parts(text);
            let from = timeline.at(from);
            let cut = end.find(|c: char| c.is_alphabetic()).unwrap_or(end.len());
            let (at, words) = end.split_at(cut);
            let end = (!end.is_empty()).then(|| (timeline.at(at.trim()), words));
            timeline = put_execution(timeline, run, model, from, end);
        }
        for text in &self.outages {
            let (from, to) = text.split_once(" -> ").unwrap();
            timeline = timeline.outage(from, to);
        }
        timeline
    }
}

/// The timeline of the scenario file of a name, and until when it goes.
pub fn scenario(name: &str) -> (Timeline, String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    let scenario: Scenario =
        toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    (scenario.timeline(), scenario.until)
}

fn play(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let scenario: Scenario =
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let timeline = scenario.timeline();
    // The file's name is the first line of what is compared, so that a failure says where it is.
    let name = path.display().to_string();
    let named = |lines: Vec<String>| [vec![name.clone()], lines].concat();
    let outcome = timeline.play(&scenario.until);
    check(
        &named(outcome.told_text()),
        &named(scenario.told).join("\n"),
    );
    if let Some(ledger) = scenario.ledger {
        check(&named(outcome.ledger_text()), &named(ledger).join("\n"));
    }
    timeline
        .policy
        .rules
        .iter()
        .map(|rule| rule.kind.name().to_owned())
        .collect()
}

#[test]
fn every_scenario_file_comes_out_as_written_and_every_built_kind_has_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let kinds: BTreeSet<String> = files.iter().flat_map(|path| play(path)).collect();
    let built = KIND_NAMES.iter().filter(|kind| !NOT_BUILT.contains(kind));
    let without: Vec<_> = built.filter(|kind| !kinds.contains(**kind)).collect();
    assert!(
        without.is_empty(),
        "write a scenario in {} for {without:?}",
        folder.display()
    );
}

/// Kinds that are read but not judged yet: see `RuleKind::not_built`.
const NOT_BUILT: [&str; 15] = [
    "success_rate",
    "model_not_run",
    "queue_time",
    "run_stalled",
    "model_duration",
    "model_staleness",
    "paused",
    "run_count",
    "platform_incident",
    "rows",
    "plan_waiting",
    "plan_failed",
    "project_drift",
    "protection_off",
    "objective",
];
