//! Rule tests: rules, a timeline in a few words, and what must come of it.
//!
//! A test file says what happened and what people were told. It is played through the engine by the very
//! function that runs live, on a virtual clock. Nothing is sent and nothing is stored.
//!
//! ```toml
//! rule_files = ["../outcome.toml"]       # relative to this file
//!
//! [[test]]
//! name = "a failure is told once, and its end"
//! only = ["run-failed"]                  # all rules of the files when left out
//! from = "2026-03-10T06:00:00Z"          # watching begins; later times may leave out the date
//! until = "12:00"
//! jobs = { nightly = "0 4 * * *" }
//! past = ["nightly every 1d x 9 took 30m"]
//! runs = ["nightly r1 04:00 -> 04:30 failed: boom"]
//! executions = ["r1 stg.orders 04:01 -> 04:02 failed: boom"]
//! outages = ["06:20 -> 07:00"]           # the source cannot be read
//! told = ["04:30:15 team first: + critical …"]
//! ledger = ["rule job 07:00 met"]        # left out: not looked at
//! ```
//!
//! In `told`, `+` marks what is new, `=` what goes on, `-` what ended.

mod lines;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono_tz::Tz;
use serde::Deserialize;

use crate::config::{Diagnostics, Environment, load_rules_only, load_rules_text};
use crate::engine::observation::{Job, Name, Observation, Project, ProjectKey};
use crate::engine::policy::{Policy, SourcePolicy};
use crate::engine::replay::Replay;
use crate::engine::rule::{KIND_NAMES, Rule};
use crate::engine::time::{Span, Timestamp};
use lines::{Day, LineError};

/// A test file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestFile {
    #[serde(default)]
    rule_files: Vec<PathBuf>,
    /// Rules written in the test file itself.
    #[serde(default)]
    rules: String,
    #[serde(rename = "test")]
    tests: Vec<Test>,
}

/// One test.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    name: String,
    only: Option<Vec<String>>,
    from: Timestamp,
    until: String,
    /// Time between polls; looks are made whenever something happens when left out.
    poll: Option<String>,
    schedule_timezone: Option<Tz>,
    #[serde(default = "project_name")]
    project: String,
    #[serde(default)]
    jobs: BTreeMap<String, String>,
    #[serde(default)]
    past: Vec<String>,
    #[serde(default)]
    runs: Vec<String>,
    #[serde(default)]
    executions: Vec<String>,
    #[serde(default)]
    outages: Vec<String>,
    told: Vec<String>,
    ledger: Option<Vec<String>>,
}

fn project_name() -> String {
    "finance".to_owned()
}

/// Why a test file could not be run.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what a test file is.
    #[error("{path}: {message}")]
    Format {
        /// Which.
        path: String,
        /// Where and why, in words for people.
        message: String,
    },
    /// The rules are refused.
    #[error("{path}: its rules are refused\n{diagnostics}")]
    Rules {
        /// Which test file.
        path: String,
        /// The mistakes with their places.
        diagnostics: String,
    },
    /// A line of a test cannot be read.
    #[error("{path}: test \"{test}\": {source}")]
    Line {
        /// Which file.
        path: String,
        /// Which test.
        test: String,
        /// What is wrong.
        source: LineError,
    },
    /// `only` names a rule that is not there.
    #[error(
        "{path}: test \"{test}\": there is no rule `{rule}` in its rule files; there are: {known}"
    )]
    UnknownRule {
        /// Which file.
        path: String,
        /// Which test.
        test: String,
        /// The name.
        rule: String,
        /// What there is.
        known: String,
    },
}

/// How one test came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    /// Its name.
    pub name: String,
    /// What was told, line by line against what was expected; empty when they agree.
    pub told: Vec<Difference>,
    /// The same of the ledger.
    pub ledger: Vec<Difference>,
    /// Kinds of the rules it ran.
    pub kinds: Vec<&'static str>,
}

impl TestResult {
    /// Everything came out as written.
    pub fn is_passed(&self) -> bool {
        self.told.is_empty() && self.ledger.is_empty()
    }
}

/// A line of what came out, against what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// As expected.
    Same(String),
    /// Expected, and did not come.
    Missing(String),
    /// Came, and was not expected.
    Unexpected(String),
}

/// Runs every test of a file.
pub fn run_file(path: &Path, environment: &Environment) -> Result<Vec<TestResult>, TestError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| TestError::Read {
        path: shown.clone(),
        source,
    })?;
    let file: TestFile = toml::from_str(&text).map_err(|error| TestError::Format {
        path: shown.clone(),
        message: error.to_string(),
    })?;
    let rules = read_rules(&file, path, environment)?;
    let run = |test: &Test| run_test(test, &rules, &shown);
    file.tests.iter().map(run).collect()
}

fn read_rules(
    file: &TestFile,
    path: &Path,
    environment: &Environment,
) -> Result<Vec<Rule>, TestError> {
    let shown = path.display().to_string();
    let folder = path.parent().unwrap_or(Path::new("."));
    let files: Vec<PathBuf> = file
        .rule_files
        .iter()
        .map(|name| folder.join(name))
        .collect();
    let refuse = |error: Diagnostics| TestError::Rules {
        path: shown.clone(),
        diagnostics: error.render(false),
    };
    let mut rules = load_rules_only(&files, environment).map_err(refuse)?.rules;
    if !file.rules.is_empty() {
        let inline = load_rules_text(&shown, &file.rules, environment);
        rules.extend(inline.map_err(refuse)?.rules);
    }
    // The built-in rule stands once, and not beside one that names it.
    let is_built_in = |rule: &Rule| rule.origin == "built in";
    let has_own = rules
        .iter()
        .any(|rule| rule.kind.name() == "source_unreachable" && !is_built_in(rule));
    let mut seen = false;
    rules.retain(|rule| !is_built_in(rule) || !(has_own || std::mem::replace(&mut seen, true)));
    Ok(rules)
}

fn run_test(test: &Test, rules: &[Rule], path: &str) -> Result<TestResult, TestError> {
    let rules = chosen(test, rules, path)?;
    let kinds = KIND_NAMES
        .iter()
        .copied()
        .filter(|kind| rules.iter().any(|rule| rule.kind.name() == *kind))
        .collect();
    let fail = |source: LineError| TestError::Line {
        path: path.to_owned(),
        test: test.name.clone(),
        source,
    };
    let day = Day::of(test.from);
    let replay = timeline(test, &day).map_err(fail)?;
    let until = day.at(&test.until).map_err(fail)?;
    let played = replay.play(&policy(test, rules), test.from, until);
    let told = compare(&test.told, &lines::told(&played, &day));
    let ledger = match &test.ledger {
        Some(expected) => compare(expected, &lines::ledger(&played, &day)),
        None => Vec::new(),
    };
    Ok(TestResult {
        name: test.name.clone(),
        told,
        ledger,
        kinds,
    })
}

fn chosen(test: &Test, rules: &[Rule], path: &str) -> Result<Vec<Rule>, TestError> {
    let Some(only) = &test.only else {
        return Ok(rules.to_vec());
    };
    let find = |name: &String| {
        let rule = rules.iter().find(|rule| *rule.name == **name);
        rule.cloned().ok_or_else(|| TestError::UnknownRule {
            path: path.to_owned(),
            test: test.name.clone(),
            rule: name.clone(),
            known: rules
                .iter()
                .map(|rule| rule.name.to_string())
                .collect::<Vec<_>>()
                .join(", "),
        })
    };
    only.iter().map(find).collect()
}

const SOURCE: &str = "prod";

fn project_key() -> ProjectKey {
    ProjectKey {
        source: SOURCE.into(),
        project_id: "p1".into(),
    }
}

fn policy(test: &Test, rules: Vec<Rule>) -> Arc<Policy> {
    let mut policy = Policy::empty(vec!["team".into()]);
    policy.rules = rules;
    policy.sources = vec![SourcePolicy {
        name: SOURCE.into(),
        schedule_zone: test.schedule_timezone.unwrap_or(Tz::UTC),
        run_url: None,
    }];
    Arc::new(policy)
}

fn timeline(test: &Test, day: &Day) -> Result<Replay, LineError> {
    let mut replay = Replay::new();
    if let Some(poll) = &test.poll {
        replay = replay.poll_every(lines::span(poll)?);
    }
    replay.fact(
        Timestamp::MIN,
        Observation::Project(Project {
            key: project_key(),
            name: test.project.as_str().into(),
            project_type: "sqlmesh".into(),
            is_suspended: false,
            is_deployed: true,
            environment: None,
            commits_behind: None,
            current_commit: None,
            latest_commit: None,
            latest_message: None,
            concurrency_policy: None,
        }),
    );
    let long_ago = test.from - Span::days(300);
    let jobs = test.jobs.iter().map(|(name, schedule)| Job {
        name: name.as_str().into(),
        schedule: (!schedule.is_empty()).then(|| Name::from(schedule.as_str())),
        is_enabled: true,
        updated_at: Some(long_ago),
    });
    let jobs = Observation::Jobs(project_key(), jobs.collect());
    replay.fact(Timestamp::MIN, jobs);
    for text in &test.past {
        for run in lines::past(text, test.from)? {
            replay.run(&project_key(), run);
        }
    }
    for text in &test.runs {
        replay.run(&project_key(), lines::run(text, day)?);
    }
    for text in &test.executions {
        replay.execution(&project_key(), lines::execution(text, day)?);
    }
    for text in &test.outages {
        let (from, to) = lines::stretch(text, day)?;
        replay.outage(from, to);
    }
    Ok(replay)
}

/// Line by line; empty when all lines agree.
fn compare(expected: &[String], found: &[String]) -> Vec<Difference> {
    if expected == found {
        return Vec::new();
    }
    // The longest common part of two short lists.
    let (n, m) = (expected.len(), found.len());
    let mut common = vec![vec![0_u32; m + 1]; n + 1];
    for i in (0..n).rev() {
        for j in (0..m).rev() {
            common[i][j] = if expected[i] == found[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < n || j < m {
        if i < n && j < m && expected[i] == found[j] {
            lines.push(Difference::Same(expected[i].clone()));
            (i, j) = (i + 1, j + 1);
        } else if i < n && (j == m || common[i + 1][j] >= common[i][j + 1]) {
            lines.push(Difference::Missing(expected[i].clone()));
            i += 1;
        } else {
            lines.push(Difference::Unexpected(found[j].clone()));
            j += 1;
        }
    }
    lines
}
