//! Rule tests: rules, a timeline in a few words, and what must come of it.
//!
//! A test file says what happened and what people were told. It is played through the engine by the very
//! function that runs live, on a virtual clock. Nothing is sent and nothing is stored.
//!
//! ```toml
//! rule_files = ["../outcome.toml"]       # relative to this file
//! # rules = '''…'''                      # or rules written here
//! # calendars = '''[[calendar]] …'''     # of the service file, for rules that name one
//!
//! [[test]]
//! name = "a failure is told once, and its end"
//! only = ["run-failed"]                  # all rules of the files when left out
//! from = "2026-03-10T06:00:00Z"          # watching begins
//! until = "12:00"
//! # poll = "30s"                         # looks are made whenever something happens when left out
//! # schedule_timezone = "Europe/Berlin"  # in which jobs' cron expressions are read; UTC when left out
//! jobs = { nightly = "0 4 * * *" }       # name and schedule; "" for none
//! jobs_at = ["06:00 nightly off", "08:00 nightly on", "09:00 nightly gone"]
//! past = ["nightly every 1d x 9 took 30m", "hourly every 1h x 9 took 10m models stg.orders marts.orders"]
//! runs = ["nightly r1 04:00 -> 04:30 failed: boom", "nightly r2 06:00"]
//! queued = ["nightly r3 04:00 04:12 -> 04:30 success"]   # created, started, finished
//! executions = ["r1 stg.orders 04:01 -> 04:02 failed: boom", "r2 stg.orders 06:01 -> 06:02 success rows 120"]
//! project = ["06:00 suspended", "07:00 running", "08:00 not deployed", "09:00 deployed", "09:30 behind 6",
//!            "03-09 00:00 environment prod"]
//! plans = ["10:00 g1/a explain pending Add refunds"]     # group/id (or id), type, status, message
//! protections = ["06:00 prod on", "08:00 prod off", "09:00 prod gone"]
//! outages = ["06:20 -> 07:00"]           # the source cannot be read
//! accept = ["08:00 slower nightly ada: bigger tables"]   # rule, job or model, who: why
//! acknowledge = ["08:00 failed nightly ada for 2h: on it"]   # the usual time without `for`
//! unacknowledge = ["09:00 failed nightly ada"]
//! silence = ["08:00 ada 2h job=nightly: maintenance", "08:00 ada 2h until success job=nightly: retried"]
//! unsilence = ["09:00 ada job=nightly"]  # the silence in force with these matchers
//! escalate = ["30m leads", "2h boss"]    # who is told when nobody acknowledges
//! told = ["04:30:15 team first: + critical …"]
//! ledger = ["rule job 07:00 met"]        # left out: not looked at
//! ```
//!
//! All instants are UTC: `06:10`, `06:10:30`, `03-11 06:10` in the year of `from`, or RFC 3339. Of `jobs_at`,
//! `project` and `protections` each line changes what the lines before it have left. In `told`, `+` marks what
//! is new, `=` what goes on, `-` what ended.

mod lines;
mod states;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono_tz::Tz;
use serde::Deserialize;

use crate::config::{Diagnostics, Environment, load_rule_texts, load_texts};
use crate::engine::observation::ProjectKey;
use crate::engine::policy::{Policy, SourcePolicy};
use crate::engine::replay::{Replay, Wish};
use crate::engine::route::EscalationStep;
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
    /// Tables of a service file that the rules name.
    #[serde(default)]
    calendars: String,
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
    #[serde(default)]
    jobs: BTreeMap<String, String>,
    #[serde(default)]
    jobs_at: Vec<String>,
    #[serde(default)]
    project: Vec<String>,
    #[serde(default)]
    plans: Vec<String>,
    #[serde(default)]
    protections: Vec<String>,
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
    #[serde(default)]
    accept: Vec<String>,
    #[serde(default)]
    acknowledge: Vec<String>,
    #[serde(default)]
    unacknowledge: Vec<String>,
    #[serde(default)]
    silence: Vec<String>,
    #[serde(default)]
    unsilence: Vec<String>,
    #[serde(default)]
    escalate: Vec<String>,
    told: Vec<String>,
    ledger: Option<Vec<String>>,
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

/// One test, read and checked.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The rules it runs.
    pub rules: Vec<Rule>,
    /// What happens.
    pub replay: Replay,
    /// Zone of the jobs' cron expressions.
    pub schedule_zone: Tz,
    /// When watching begins.
    pub from: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// Time between polls; `None`: looks are made whenever something happens.
    pub poll_every: Option<Span>,
    /// Who is told when nobody acknowledges.
    pub escalate: Vec<EscalationStep>,
    /// What is to be told.
    pub told: Vec<String>,
    /// What is to become of promises; `None`: not looked at.
    pub ledger: Option<Vec<String>>,
    day: Day,
}

/// Runs every test of a file.
pub fn run_file(path: &Path, environment: &Environment) -> Result<Vec<TestResult>, TestError> {
    let cases = read_file(path, environment)?;
    Ok(cases.iter().map(Case::run).collect())
}

/// Reads every test of a file.
pub fn read_file(path: &Path, environment: &Environment) -> Result<Vec<Case>, TestError> {
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
    let read = |test: &Test| Case::read(test, &rules, &shown);
    file.tests.iter().map(read).collect()
}

/// What a service file needs beside calendars.
const SERVICE: &str = r#"
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

fn read_rules(
    file: &TestFile,
    path: &Path,
    environment: &Environment,
) -> Result<Vec<Rule>, TestError> {
    let shown = path.display().to_string();
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut texts = Vec::new();
    for name in &file.rule_files {
        let path = folder.join(name);
        let text = std::fs::read_to_string(&path).map_err(|source| TestError::Read {
            path: path.display().to_string(),
            source,
        })?;
        texts.push((path.display().to_string(), text));
    }
    if !file.rules.is_empty() {
        texts.push((shown.clone(), file.rules.clone()));
    }
    let texts: Vec<(&str, &str)> = texts
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    let refuse = |error: Diagnostics| TestError::Rules {
        path: shown.clone(),
        diagnostics: error.render(false),
    };
    if file.calendars.is_empty() {
        let loaded = load_rule_texts(&texts, environment).map_err(refuse)?;
        return Ok(loaded.rules);
    }
    let service = format!("{SERVICE}\n{}", file.calendars);
    let environment = Environment::from_pairs(vec![("TOKEN", "of a test")]);
    let loaded = load_texts((&shown, &service), &texts, &environment).map_err(refuse)?;
    Ok(loaded.config.policy.rules)
}

impl Case {
    fn read(test: &Test, rules: &[Rule], path: &str) -> Result<Self, TestError> {
        let fail = |source: LineError| TestError::Line {
            path: path.to_owned(),
            test: test.name.clone(),
            source,
        };
        let day = Day::of(test.from);
        let poll_every = test.poll.as_deref().map(lines::span).transpose();
        Ok(Self {
            name: test.name.clone(),
            rules: chosen(test, rules, path)?,
            replay: timeline(test, &day).map_err(fail)?,
            schedule_zone: test.schedule_timezone.unwrap_or(Tz::UTC),
            from: test.from,
            until: day.at(&test.until).map_err(fail)?,
            poll_every: poll_every.map_err(fail)?,
            escalate: {
                let steps = test.escalate.iter().map(|text| lines::escalation(text));
                steps.collect::<Result<_, _>>().map_err(fail)?
            },
            told: test.told.clone(),
            ledger: test.ledger.clone(),
            day,
        })
    }

    /// Kinds of the rules it runs.
    pub fn kinds(&self) -> Vec<&'static str> {
        let is_run = |kind: &&str| self.rules.iter().any(|rule| rule.kind.name() == *kind);
        KIND_NAMES.iter().copied().filter(is_run).collect()
    }

    /// Plays it, and compares what came with what was expected.
    pub fn run(&self) -> TestResult {
        let mut policy = Policy::empty(vec!["team".into()]);
        policy.rules.clone_from(&self.rules);
        policy.route.escalate.clone_from(&self.escalate);
        policy.sources = vec![SourcePolicy {
            name: SOURCE.into(),
            schedule_zone: self.schedule_zone,
            run_url: None,
        }];
        let mut replay = self.replay.clone();
        if let Some(every) = self.poll_every {
            replay = replay.poll_every(every);
        }
        let played = replay.play(&Arc::new(policy), self.from, self.until);
        let ledger = match &self.ledger {
            Some(expected) => compare(expected, &lines::ledger(&played, &self.day)),
            None => Vec::new(),
        };
        TestResult {
            name: self.name.clone(),
            told: compare(&self.told, &lines::told(&played, &self.day)),
            ledger,
        }
    }
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

/// Reads what somebody wants done, and when.
type ReadWish = fn(&str, &Day) -> Result<(Timestamp, Wish), LineError>;

fn timeline(test: &Test, day: &Day) -> Result<Replay, LineError> {
    let mut replay = Replay::new();
    states::add(test, day, &mut replay)?;
    for text in &test.past {
        let (runs, executions) = lines::past(text, test.from)?;
        for run in runs {
            replay.run(&project_key(), run);
        }
        for execution in executions {
            replay.execution(&project_key(), execution);
        }
    }
    for text in &test.runs {
        replay.run(&project_key(), lines::run(text, day)?);
    }
    for text in &test.queued {
        replay.run(&project_key(), lines::queued(text, day)?);
    }
    for text in &test.executions {
        replay.execution(&project_key(), lines::execution(text, day)?);
    }
    for text in &test.outages {
        let (from, to) = lines::stretch(text, day)?;
        replay.outage(from, to);
    }
    for (texts, read) in [
        (&test.accept, lines::accept as ReadWish),
        (&test.acknowledge, lines::acknowledge),
        (&test.unacknowledge, lines::unacknowledge),
        (&test.silence, lines::silence),
        (&test.unsilence, lines::unsilence),
    ] {
        for text in texts {
            let (at, wish) = read(text, day)?;
            replay.wish(at, wish);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a test file that stands in a folder of its own.
    fn run(text: &str) -> Result<Vec<TestResult>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        std::fs::write(&path, text).unwrap();
        let shown = folder.path().display().to_string();
        run_file(&path, &Environment::default())
            .map_err(|error| error.to_string().replace(&shown, ""))
    }

    fn file(more: &str) -> String {
        format!(
            "rules = \"[[rule]]\\nname = 'failed'\\nkind = 'run_failed'\"\n[[test]]\nname = 'a'\n\
             from = '2026-03-10T06:00:00Z'\nuntil = '09:00'\njobs = {{ nightly = '0 7 * * *' }}\n{more}\n"
        )
    }

    #[test]
    fn what_came_is_set_against_what_was_expected() {
        let failed = "runs = ['nightly r1 07:00 -> 07:30 failed: boom']\n";
        let line = "07:30:15 team first: + warning Failed: finance nightly: boom";
        let good = run(&file(&format!("{failed}told = ['{line}']"))).unwrap();
        assert!(good[0].is_passed(), "{good:?}");
        let bad = run(&file(&format!(
            "{failed}told = ['07:31 nothing', '{line}']"
        )))
        .unwrap();
        assert_eq!(
            bad[0].told,
            [
                Difference::Missing("07:31 nothing".into()),
                Difference::Same(line.into())
            ]
        );
        let silent = run(&file(&format!("{failed}told = []"))).unwrap();
        assert_eq!(silent[0].told, [Difference::Unexpected(line.into())]);
    }

    #[test]
    fn mistakes_say_the_file_the_test_and_the_line() {
        for (more, said) in [
            (
                "told = []\nruns = ['nightly r1']",
                "`nightly r1`: write `JOB RUN",
            ),
            (
                "told = []\nruns = ['nightly r1 25:00']",
                "`25:00`: write a time",
            ),
            (
                "told = []\nruns = ['nightly r1 07:00 -> 07:30 running']",
                "leave it out",
            ),
            ("told = []\nqueued = ['nightly']", "04:00 04:12"),
            (
                "told = []\npast = ['nightly daily']",
                "every 1d x 9 took 30m",
            ),
            (
                "told = []\njobs_at = ['06:00 other off']",
                "with a job of `jobs`",
            ),
            ("told = []\nproject = ['06:00 happy']", "suspended"),
            ("told = []\nplans = ['06:00 p']", "GROUP/ID explain pending"),
            (
                "told = []\nprotections = ['06:00 prod maybe']",
                "`off` or `gone`",
            ),
            ("told = []\noutages = ['06:00']", "06:20 -> 07:00"),
            (
                "told = []\naccept = ['06:00 failed']",
                "TIME RULE JOB WHO: the comment",
            ),
            (
                "told = []\nonly = ['failled']",
                "there is no rule `failled`",
            ),
            ("told = []\nrunz = []", "unknown field `runz`"),
            ("", "missing field `told`"),
        ] {
            let error = run(&file(more)).unwrap_err();
            assert!(error.contains("a.toml"), "{more}: {error}");
            assert!(error.contains(said), "{more}: {error}");
        }
        let refused = run(
            "rules = \"[[rule]]\\nname = 'x'\"\n[[test]]\nname='a'\nfrom='2026-03-10T06:00:00Z'\nuntil='09:00'\ntold=[]",
        );
        assert!(refused.unwrap_err().contains("its rules are refused"));
        let absent = run(
            "rule_files = ['b.toml']\n[[test]]\nname='a'\nfrom='2026-03-10T06:00:00Z'\nuntil='09:00'\ntold=[]",
        );
        assert!(absent.unwrap_err().contains("b.toml"));
    }
}
