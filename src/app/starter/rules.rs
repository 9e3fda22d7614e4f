//! The rules of a starter configuration: what fits the jobs that were found, each with milder variants for
//! when history says that it would speak too often.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Timelike as _;
use chrono_tz::Tz;

use super::survey::{JobFound, Survey};
use crate::engine::baseline::span;
use crate::engine::time::{Span, config_span, human_span};

/// A rule and how it can be made milder.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The file it goes to, without `.toml`.
    pub file: &'static str,
    /// Unique name.
    pub name: String,
    /// Why it is there: a comment.
    pub why: String,
    /// Its keys besides `name`, as TOML lines; the strictest first. Never empty.
    pub variants: Vec<Vec<String>>,
    /// Which variant is chosen.
    pub chosen: usize,
    /// Said too much even at its mildest: written as a comment, with the reason.
    pub left_out: Option<String>,
    /// Jobs that it is not about, because it would have said too much of them: name and alerts.
    pub excluded: BTreeMap<String, usize>,
}

/// A TOML string on one line: the escapes of JSON are all escapes of TOML.
pub(super) fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.replace('\u{7f}', "\\u007F")
}

/// A comment must not go on in a second line, whatever a name holds.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    match quoted.as_slice() {
        [one] => one.clone(),
        _ => format!("[{}]", quoted.join(", ")),
    }
}

fn line(key: &str, value: &str) -> String {
    format!("{key} = {value}")
}

fn text_line(key: &str, value: &str) -> String {
    line(key, &quoted(value))
}

impl Draft {
    fn new(file: &'static str, name: &str, why: &str, variants: Vec<Vec<String>>) -> Self {
        Self {
            file,
            name: name.to_owned(),
            why: why.to_owned(),
            variants,
            chosen: 0,
            left_out: None,
            excluded: BTreeMap::new(),
        }
    }

    /// The rule is about every job: single ones can be left out.
    pub(super) fn can_exclude(&self) -> bool {
        let names_subjects =
            |line: &String| line.starts_with("job = ") || line.starts_with("of = ");
        !self.variants[self.chosen].iter().any(names_subjects)
    }

    /// The rule as TOML.
    pub fn text(&self) -> String {
        let mut lines: Vec<String> = vec![one_line(&format!("# {}", self.why))];
        let mut rule = vec!["[[rule]]".to_owned(), text_line("name", &self.name)];
        rule.extend(self.variants[self.chosen].iter().cloned());
        if !self.excluded.is_empty() {
            let said: Vec<String> = self
                .excluded
                .iter()
                .map(|(job, alerts)| format!("{job} {alerts}"))
                .collect();
            lines.push(one_line(&format!(
                "# Too noisy to be told at first (alerts): {}.",
                said.join(", ")
            )));
            let others = self.excluded.keys().map(|job| format!("!{job}"));
            let jobs: Vec<String> = std::iter::once("*".to_owned()).chain(others).collect();
            rule.push(line("job", &list(&jobs)));
        }
        match &self.left_out {
            None => lines.extend(rule),
            Some(reason) => {
                lines.push(format!("# Left out: {reason}"));
                lines.extend(rule.iter().map(|line| format!("# {line}")));
            }
        }
        lines.join("\n") + "\n"
    }
}

/// Longest lists of rules for single jobs; above it one rule with a factor serves them all.
const MAX_SINGLE_RULES: usize = 30;

/// Successes that a limit from history needs.
const MIN_SUCCESSES: usize = 8;

/// Everything that fits. `zone` is the zone of deadlines, `schedule_zone` that of the scheduler.
pub(super) fn drafts(survey: &Survey, zone: Tz, schedule_zone: Tz) -> Vec<Draft> {
    let mut drafts = outcome(survey);
    drafts.extend(timeliness(survey));
    drafts.extend(deadlines(survey, zone, schedule_zone));
    drafts.extend(duration(survey));
    drafts.extend(models(survey));
    drafts.extend(plans(survey));
    drafts
}

const OBJECTIVE: &str = "deadlines-kept";

/// Adds or renews the objective over the deadlines that are written.
pub(super) fn renew_objective(drafts: &mut Vec<Draft>) {
    let known = drafts.iter().position(|draft| draft.name == OBJECTIVE);
    let before = known.map(|index| drafts.remove(index));
    let deadlines: Vec<String> = drafts
        .iter()
        .filter(|draft| draft.name.ends_with(ON_TIME) && draft.left_out.is_none())
        .map(|draft| draft.name.clone())
        .collect();
    if !deadlines.is_empty() {
        let (chosen, left_out) = before.map_or((0, None), |draft| (draft.chosen, draft.left_out));
        drafts.push(Draft {
            chosen,
            left_out,
            ..objective(&deadlines)
        });
    }
}

/// How the names of deadlines end.
const ON_TIME: &str = "-on-time";

fn outcome(survey: &Survey) -> Vec<Draft> {
    // Several projects may have a job of one name.
    let frequent: BTreeSet<String> = survey
        .jobs
        .iter()
        .filter(|job| job.is_frequent())
        .map(|job| job.name.to_string())
        .collect();
    let frequent: Vec<String> = frequent.into_iter().collect();
    let mut drafts = Vec::new();
    let kind = text_line("kind", "run_failed");
    let is_all_frequent = survey.jobs.iter().all(JobFound::is_frequent);
    if !is_all_frequent {
        let others = frequent.iter().map(|name| format!("!{name}"));
        let jobs: Vec<String> = std::iter::once("*".to_owned()).chain(others).collect();
        let rule = |consecutive: u32| {
            let mut lines = vec![kind.clone(), line("job", &list(&jobs))];
            if consecutive > 1 {
                lines.push(line("consecutive", &consecutive.to_string()));
            }
            lines.push(text_line("severity", "critical"));
            lines
        };
        let why = "A failed run is told at once, and its recovery too. New jobs are covered as they come.";
        drafts.push(Draft::new(
            "outcome",
            "run-failed",
            why,
            vec![rule(1), rule(2)],
        ));
    }
    if !frequent.is_empty() {
        let rule = |consecutive: u32| {
            vec![
                kind.clone(),
                line("job", &list(&frequent)),
                line("consecutive", &consecutive.to_string()),
            ]
        };
        let why = "Jobs that run several times a day heal themselves: only failures in a row.";
        let variants = vec![rule(2), rule(3), rule(4)];
        drafts.push(Draft::new("outcome", "frequent-run-failed", why, variants));
    }
    if survey.jobs.len() >= 8 {
        let lines = vec![
            text_line("kind", "platform_incident"),
            text_line("severity", "critical"),
        ];
        let why =
            "Many jobs failing together are one incident, which keeps the single alerts quiet.";
        drafts.push(Draft::new("outcome", "platform-incident", why, vec![lines]));
    }
    drafts
}

fn timeliness(survey: &Survey) -> Vec<Draft> {
    let mut drafts = Vec::new();
    if survey.jobs.iter().any(|job| job.gaps.is_some()) {
        let kind = text_line("kind", "missed_schedule");
        let grace = |text: &str| vec![kind.clone(), text_line("grace", text)];
        let why = "A tick of a job's schedule that no run serves. Disabled jobs are excused.";
        let variants = vec![vec![kind.clone()], grace("30m"), grace("1h")];
        drafts.push(Draft::new("timeliness", "missed-schedule", why, variants));
    }
    for (age, jobs) in ages(survey) {
        let rule = |age: Span| {
            vec![
                text_line("kind", "staleness"),
                line("job", &list(&jobs)),
                text_line("max_age", &config_span(age)),
                text_line("warn_age", &config_span(round_down(age * 2 / 3))),
            ]
        };
        let why = "Freshness, whatever the schedule says: the newest success is too old.";
        let variants = vec![rule(age), rule(round_up(age * 2))];
        // A name that stays true when the limit is changed.
        let name = match jobs.as_slice() {
            [job] => format!("{job}-fresh"),
            [job, others @ ..] => format!("{job}-and-{}-more-fresh", others.len()),
            [] => continue,
        };
        drafts.push(Draft::new("timeliness", &name, why, variants));
    }
    let why = "A job disabled, or a project suspended, \"for a moment\".";
    let lines = vec![
        text_line("kind", "paused"),
        text_line("max", "7d"),
        text_line("severity", "info"),
    ];
    drafts.push(Draft::new("timeliness", "paused", why, vec![lines]));
    drafts
}

/// Frequent jobs by how old their newest success may become.
fn ages(survey: &Survey) -> BTreeMap<Span, Vec<String>> {
    let mut by_job: BTreeMap<String, Span> = BTreeMap::new();
    let frequent = survey
        .jobs
        .iter()
        .filter(|job| job.is_enabled && job.is_frequent());
    for job in frequent {
        if let (Some((gap, _)), Some(usual)) = (job.gaps, &job.usual) {
            let seen = job.longest_silence.unwrap_or_default().min(gap * 6);
            let age = round_up((gap * 3 + span(usual.p95)).max(seen * 6 / 5));
            let known = by_job.entry(job.name.to_string()).or_default();
            *known = age.max(*known);
        }
    }
    let mut ages: BTreeMap<Span, Vec<String>> = BTreeMap::new();
    for (job, age) in by_job {
        ages.entry(age).or_default().push(job);
    }
    ages
}

/// Data by a time of day, for jobs that run once a day or less.
fn deadlines(survey: &Survey, zone: Tz, schedule_zone: Tz) -> Vec<Draft> {
    let daily = survey.jobs.iter().filter(|job| {
        let is_usual = job.outcomes.0 >= MIN_SUCCESSES && job.is_daily() && job.is_enabled;
        // With longer gaps than a weekend there is no promise for each day.
        is_usual
            && job
                .gaps
                .is_some_and(|(longest, _)| longest <= Span::days(4))
    });
    daily
        .filter_map(|job| deadline(job, zone, schedule_zone))
        .take(MAX_SINGLE_RULES)
        .collect()
}

fn deadline(job: &JobFound, zone: Tz, schedule_zone: Tz) -> Option<Draft> {
    let (tick_at, delivery) = (job.last_tick_at?, job.delivery?);
    let rule = |slack: Span| {
        let mut lines = vec![
            text_line("kind", "deadline"),
            text_line("project", &job.project),
            text_line("job", &job.name),
        ];
        if job.is_every_day() {
            let by_at = (tick_at + delivery + slack).in_zone(zone);
            let minutes = by_at.hour() * 60 + by_at.minute();
            let by = minutes.div_ceil(15) * 15 % (24 * 60);
            lines.push(text_line("by", &format!("{:02}:{:02}", by / 60, by % 60)));
            lines.push(text_line("timezone", zone.name()));
        } else {
            // A time of day would be owed on days without a tick too.
            let by = format!(
                "+{} after schedule",
                config_span(round_up(delivery + slack))
            );
            lines.push(text_line("by", &by));
        }
        lines.push(text_line("warn_before", "15m"));
        lines.push(text_line("severity", "critical"));
        lines
    };
    let schedule = job.schedule.as_deref().unwrap_or_default();
    let why = format!(
        "`{schedule}` ({schedule_zone}); nineteen of twenty runs were done within {} of their tick.",
        human_span(delivery)
    );
    let slack = (delivery / 4).max(Span::minutes(15));
    let variants = vec![rule(slack), rule(slack * 3), rule(slack * 6)];
    let name = format!("{}-{}{ON_TIME}", job.project, job.name);
    Some(Draft::new("timeliness", &name, &why, variants))
}

fn duration(survey: &Survey) -> Vec<Draft> {
    let mut drafts = Vec::new();
    let known: Vec<&JobFound> = survey
        .jobs
        .iter()
        .filter(|job| job.outcomes.0 >= MIN_SUCCESSES && job.usual.is_some())
        .collect();
    for job in known.iter().take(MAX_SINGLE_RULES) {
        let Some(usual) = &job.usual else { continue };
        let rule = |factor: f64| {
            let limit = round_up(span(factor * usual.p99.max(1.0)) + Span::seconds(30));
            vec![
                text_line("kind", "run_duration"),
                text_line("project", &job.project),
                text_line("job", &job.name),
                text_line("max", &config_span(limit)),
            ]
        };
        let why = format!(
            "Usual {}, 99 of 100 took at most {}, last {} runs.",
            human_span(span(usual.median)),
            human_span(span(usual.p99)),
            usual.count
        );
        let name = format!("{}-{}-too-long", job.project, job.name);
        let variants = vec![rule(1.5), rule(2.0), rule(3.0)];
        drafts.push(Draft::new("duration", &name, &why, variants));
    }
    if known.len() > MAX_SINGLE_RULES {
        let others = known[..MAX_SINGLE_RULES]
            .iter()
            .map(|job| format!("!{}", job.name));
        let jobs: Vec<String> = std::iter::once("*".to_owned()).chain(others).collect();
        let rule = |limit: &str| {
            vec![
                text_line("kind", "run_duration"),
                line("job", &list(&jobs)),
                text_line("max", limit),
            ]
        };
        let why = "All other jobs, against what is usual for each.";
        let variants = vec![rule("2x p95"), rule("3x p95")];
        drafts.push(Draft::new("duration", "other-run-too-long", why, variants));
    }
    if !known.is_empty() {
        drafts.push(regression("duration", "run-slower", "run_regression", "*"));
    }
    drafts
}

fn regression(file: &'static str, name: &str, kind: &str, model: &str) -> Draft {
    let rule = |times: &str, ratio: &str| {
        let mut lines = vec![text_line("kind", kind)];
        if model != "*" {
            lines.push(text_line("model", model));
        }
        lines.extend([
            text_line("times", times),
            line("min_ratio", ratio),
            text_line("min_delta", "30s"),
            text_line("severity", "info"),
        ]);
        lines
    };
    let why =
        "Slower than its own history says, in most of the last runs: one slow run says nothing.";
    let variants = vec![
        rule("3 of 4", "1.3"),
        rule("4 of 5", "1.5"),
        rule("5 of 6", "2.0"),
    ];
    Draft::new(file, name, why, variants)
}

fn models(survey: &Survey) -> Vec<Draft> {
    if survey.models.is_empty() {
        return Vec::new();
    }
    let failed = vec![text_line("kind", "model_failed")];
    let failed_twice = vec![
        text_line("kind", "model_failed"),
        text_line("times", "2 of 2"),
    ];
    let why = "A model failed, also inside a run that is green or partial.";
    let not_run = vec![
        text_line("kind", "model_not_run"),
        line("consecutive", "3"),
        text_line("severity", "info"),
    ];
    vec![
        Draft::new("models", "model-failed", why, vec![failed, failed_twice]),
        Draft::new(
            "models",
            "model-not-run",
            "The run was green, and a model that is nearly always there did not execute.",
            vec![not_run],
        ),
        regression("models", "model-slower", "model_regression", "*"),
    ]
}

fn plans(survey: &Survey) -> Vec<Draft> {
    let mut drafts = Vec::new();
    if survey.plans > 0 {
        let waiting = |max: &str| vec![text_line("kind", "plan_waiting"), text_line("max", max)];
        let why = "A plan waits for somebody's approval.";
        let variants = vec![waiting("24h"), waiting("3d")];
        drafts.push(Draft::new("plans", "plan-waiting", why, variants));
        let why = "A plan failed to apply.";
        let lines = vec![text_line("kind", "plan_failed")];
        drafts.push(Draft::new("plans", "plan-failed", why, vec![lines]));
    }
    if let Some(behind) = survey.commits_behind {
        let max = behind.max(5).div_ceil(5) * 5;
        let lines = vec![
            text_line("kind", "project_drift"),
            line("max_commits_behind", &max.to_string()),
            text_line("for", "2h"),
        ];
        let why = "Commits on the branch that are not deployed.";
        drafts.push(Draft::new("plans", "project-drift", why, vec![lines]));
    }
    if !survey.protected.is_empty() {
        let names: Vec<String> = survey.protected.iter().map(ToString::to_string).collect();
        let lines = vec![
            text_line("kind", "protection_off"),
            line("environment", &list(&names)),
            text_line("severity", "critical"),
        ];
        let why = "An environment that is protected now loses its protection.";
        drafts.push(Draft::new("plans", "protection-off", why, vec![lines]));
    }
    drafts
}

fn objective(names: &[String]) -> Draft {
    let rule = |target: &str| {
        vec![
            text_line("kind", "objective"),
            line(
                "of",
                &format!(
                    "[{}]",
                    names
                        .iter()
                        .map(|name| quoted(name))
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            ),
            text_line("window", "30d"),
            line("target", target),
            text_line("severity", "info"),
        ]
    };
    let why = "The deadlines of timeliness.toml, together: how many misses are left in 30 days.";
    let variants = vec![rule("0.95"), rule("0.9"), rule("0.8")];
    Draft::new("objectives", OBJECTIVE, why, variants)
}

/// Up to a number that people write: minutes, then five, fifteen, sixty of them.
fn round_up(exact: Span) -> Span {
    let step = step(exact);
    let steps = (exact.num_milliseconds() + step.num_milliseconds() - 1) / step.num_milliseconds();
    Span::milliseconds(steps.max(1) * step.num_milliseconds())
}

fn round_down(exact: Span) -> Span {
    let step = step(exact);
    let steps = exact.num_milliseconds() / step.num_milliseconds();
    Span::milliseconds(steps.max(1) * step.num_milliseconds())
}

fn step(exact: Span) -> Span {
    match exact {
        exact if exact <= Span::minutes(10) => Span::minutes(1),
        exact if exact <= Span::hours(1) => Span::minutes(5),
        exact if exact <= Span::hours(4) => Span::minutes(15),
        _ => Span::hours(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers_that_people_write() {
        for (exact, up, down) in [
            ("61s", "2m", "1m"),
            ("9m1s", "10m", "9m"),
            ("11m", "15m", "10m"),
            ("61m", "1h15m", "1h"),
            ("5h1m", "6h", "5h"),
            ("10s", "1m", "1m"),
        ] {
            let exact = crate::engine::time::parse_span(exact).unwrap();
            assert_eq!(config_span(round_up(exact)), up);
            assert_eq!(config_span(round_down(exact)), down);
        }
    }

    #[test]
    fn a_left_out_rule_is_a_comment_and_names_are_data() {
        let mut draft = Draft::new("outcome", "a \"b\"\n", "why", vec![vec![line("x", "1")]]);
        assert_eq!(
            draft.text(),
            "# why\n[[rule]]\nname = \"a \\\"b\\\"\\n\"\nx = 1\n"
        );
        draft.left_out = Some("too much".into());
        assert!(
            draft
                .text()
                .lines()
                .all(|line| line.starts_with('#') || line.is_empty()),
            "{}",
            draft.text()
        );
    }
}
