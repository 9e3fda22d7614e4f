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
//! jobs_at = ["06:00 nightly off", "08:00 nightly on", "09:00 nightly gone"]
//! project = ["06:00 suspended", "07:00 running", "08:00 not deployed", "09:00 deployed",
//!            "09:30 behind 6", "03-09 00:00 environment prod"]
//! plans = ["10:00 g1/a explain pending Add refunds"]   # group/id (or id), type, status, message
//! protections = ["06:00 prod on", "08:00 prod off", "09:00 prod gone"]
//! calendars = '''[[calendar]] …'''    # of the service file, for rules that name one
//! outages = ["06:20 -> 07:00"]
//! # Every instant may have a date before it, of the year of `from`: `03-11 06:00`. Of `jobs_at`, `project`
//! # and `protections` each line changes what the lines before it (and `jobs`) have left; a plan that is
//! # `superseded` is rejected because newer commits overtook it.
//! told = ["04:30:15 team first: + critical …"]
//! ledger = ["rule job 07:00 met"]     # left out: not looked at
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono_tz::Tz;
use serde::Deserialize;
use tardy::config::{Environment, load_rules_only, load_texts};
use tardy::engine::observation::{Execution, Observation, Project, Status};
use tardy::engine::rule::{KIND_NAMES, Rule};
use tardy::engine::time::Timestamp;

use super::kinds::span;
use super::timeline::{Disturbance, Timeline, check, project_key};

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
    jobs_at: Vec<String>,
    #[serde(default)]
    project: Vec<String>,
    #[serde(default)]
    plans: Vec<String>,
    #[serde(default)]
    protections: Vec<String>,
    calendars: Option<String>,
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

/// `06:00 words` or `03-11 06:00 words`: an instant, and the rest.
fn dated(text: &str) -> (&str, &str) {
    let has_date = text.as_bytes().get(2) == Some(&b'-');
    let space = text.match_indices(' ').nth(usize::from(has_date));
    let (at, _) = space.unwrap_or_else(|| panic!("`{text}` is too short"));
    (&text[..at], text[at..].trim())
}

/// What a service file needs beside calendars.
const SERVICE: &str = r#"
rules = ["rules.toml"]

[[source]]
name = "prod"
kind = "dagctl"
base_url = "http://127.0.0.1:1"
organization = "org-1"
token = { env = "TOKEN" }

[store]
path = "data"

[[receiver]]
name = "team"
kind = "console"

[route]
receivers = ["team"]
"#;

/// Rules that name the calendars of a service file.
fn rules_with(calendars: &str, text: &str) -> Vec<Rule> {
    let service = format!("{SERVICE}\n{calendars}");
    let environment = Environment::from_pairs(vec![("TOKEN", "dctl_1")]);
    let loaded = load_texts(
        ("tardy.toml", service.as_str()),
        &[("rules.toml", text)],
        &environment,
    );
    match loaded {
        Ok(loaded) => loaded.config.policy.rules,
        Err(mistakes) => panic!("{mistakes}"),
    }
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
        let rules = match &self.calendars {
            Some(calendars) => rules_with(calendars, &self.rules),
            None => rules(&self.rules),
        };
        for rule in rules {
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
        timeline = self.states(timeline, long_ago);
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

impl Scenario {
    /// What jobs, the project, plans and protections are over time.
    fn states(&self, timeline: Timeline, long_ago: Timestamp) -> Timeline {
        let timeline = self.jobs_over_time(timeline);
        let timeline = self.project_over_time(timeline, long_ago);
        let timeline = self.plans_over_time(timeline);
        self.protections_over_time(timeline)
    }

    fn jobs_over_time(&self, mut timeline: Timeline) -> Timeline {
        let mut jobs: BTreeMap<&str, (&str, bool)> = self
            .jobs
            .iter()
            .map(|(name, cron)| (name.as_str(), (cron.as_str(), true)))
            .collect();
        for text in &self.jobs_at {
            let (at, words) = dated(text);
            match words.split_once(' ') {
                Some((name, "gone")) => drop(jobs.remove(name)),
                Some((name, word @ ("on" | "off"))) => {
                    jobs.get_mut(name).expect("a job of `jobs`").1 = word == "on";
                }
                _ => panic!("`{text}` is not `06:00 job on`, `off` or `gone`"),
            }
            let list: Vec<(&str, &str, bool)> = jobs
                .iter()
                .map(|(name, (cron, is_enabled))| (*name, *cron, *is_enabled))
                .collect();
            timeline = timeline.jobs_at(at, &list);
        }
        timeline
    }

    fn project_over_time(&self, mut timeline: Timeline, long_ago: Timestamp) -> Timeline {
        let mut changes: Vec<&str> = Vec::new();
        for text in &self.project {
            let (at, words) = dated(text);
            changes.push(words);
            let at = timeline.at(at).max(long_ago);
            timeline = timeline.project(at, |project| {
                for words in &changes {
                    apply(project, words);
                }
            });
        }
        timeline
    }

    fn plans_over_time(&self, mut timeline: Timeline) -> Timeline {
        for text in &self.plans {
            let (at, words) = dated(text);
            let mut words = words.splitn(4, ' ');
            let mut next = || words.next().unwrap_or_default();
            let (place, plan_type, status, message) = (next(), next(), next(), next());
            assert!(
                !status.is_empty(),
                "`{text}` is not `10:00 group/id explain pending Message`"
            );
            let place = match place.split_once('/') {
                Some((group, id)) => (id, Some(group)),
                None => (place, None),
            };
            timeline = timeline.plan(at, place, (plan_type, status, message));
        }
        timeline
    }

    fn protections_over_time(&self, mut timeline: Timeline) -> Timeline {
        let mut protections: BTreeMap<&str, bool> = BTreeMap::new();
        for text in &self.protections {
            let (at, words) = dated(text);
            match words.split_once(' ') {
                Some((name, "gone")) => drop(protections.remove(name)),
                Some((name, word @ ("on" | "off"))) => {
                    protections.insert(name, word == "on");
                }
                _ => panic!("`{text}` is not `06:00 prod on`, `off` or `gone`"),
            }
            let list: Vec<(&str, bool)> = protections.iter().map(|(n, on)| (*n, *on)).collect();
            timeline = timeline.protections(at, &list);
        }
        timeline
    }
}

/// Changes a project by the words of a line of `project`.
fn apply(project: &mut Project, words: &str) {
    match words.split_once(' ').unwrap_or((words, "")) {
        ("suspended", "") => project.is_suspended = true,
        ("running", "") => project.is_suspended = false,
        ("not", "deployed") => project.is_deployed = false,
        ("deployed", "") => project.is_deployed = true,
        ("behind", count) => project.commits_behind = Some(count.parse().unwrap()),
        ("environment", name) => project.environment = Some(name.into()),
        _ => panic!("`{words}` is not a state of a project"),
    }
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
    let without: Vec<_> = KIND_NAMES
        .iter()
        .filter(|kind| !kinds.contains(**kind))
        .collect();
    assert!(
        without.is_empty(),
        "write a scenario in {} for {without:?}",
        folder.display()
    );
}

/// What these kinds know lies in plans, projects, jobs and protections: a restart loses nothing of it.
#[test]
fn governance_is_told_alike_with_a_restart_at_every_step() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    for kind in [
        "paused",
        "plan_waiting",
        "plan_failed",
        "project_drift",
        "protection_off",
    ] {
        let text = std::fs::read_to_string(folder.join(format!("{kind}.toml"))).unwrap();
        let scenario: Scenario = toml::from_str(&text).unwrap();
        let timeline = scenario.timeline();
        let until = timeline.at(&scenario.until);
        // How long a source has failed is not kept: while it does, there is no restart.
        let is_read = |at| !timeline.outages.iter().any(|(a, b)| *a <= at && at < *b);
        let outcome = timeline.play_with(until, &mut |_, now| Disturbance {
            is_restart: is_read(now),
            ..Disturbance::default()
        });
        check(&outcome.told_text(), &scenario.told.join("\n"));
    }
}
