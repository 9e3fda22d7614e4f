//! `tardy check`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::{Context, ExitCode, reach, state};
use crate::app::clock::{Clock as _, SystemClock};
use crate::app::start;
use crate::config::{self, Config, Diagnostics, FileKind};
use crate::engine::history::{History, ProjectHistory};
use crate::engine::policy::Policy;
use crate::engine::rule::{Rule, RuleKind, rows};
use crate::engine::time::{Span, config_span};
use crate::engine::{Engine, Input, Saved};
use crate::source::Source as _;
use crate::source::dagctl::{Dagctl, DagctlSettings, Retry, Timeouts};

/// Options of `tardy check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exits with 2 when there is an error. Unless --offline is given, the API is asked which projects and
jobs there are, so that a rule that matches nothing is found.

Examples:
  tardy check                        the configuration and every rule file it names
  tardy check --offline --json
  tardy check rules/finance.toml     one rule file by itself")]
pub(super) struct CheckArgs {
    /// Configuration or rule files [default: the configuration]
    files: Vec<PathBuf>,
    /// Do not ask the API
    #[arg(long)]
    offline: bool,
}

/// What a check found.
#[derive(Default)]
struct Found {
    diagnostics: Diagnostics,
    /// Warnings about what rules find: in one another, and in what exists.
    online: Vec<String>,
    rules: usize,
}

pub(super) fn run(args: &CheckArgs, context: &Context) -> ExitCode {
    match find(args, context) {
        Ok(found) => report(&found, context),
        Err(code) => code,
    }
}

fn find(args: &CheckArgs, context: &Context) -> Result<Found, ExitCode> {
    let mut found = Found::default();
    let mut rule_files = Vec::new();
    let mut services = Vec::new();
    if args.files.is_empty() {
        services.push(state::config_path(context)?);
    }
    for file in &args.files {
        match config::kind_of_file(file) {
            Ok(FileKind::Service) => services.push(file.clone()),
            Ok(FileKind::Rules) => rule_files.push(file.clone()),
            Err(diagnostics) => found.diagnostics.extend(diagnostics),
        }
    }
    for path in &services {
        match config::load(path, &context.environment) {
            Ok(loaded) => {
                let rules = &loaded.config.policy.rules;
                found.rules += written(rules);
                found.online.extend(reach::without_any_limit(rules));
                found.diagnostics.extend(loaded.warnings);
                if !args.offline {
                    found.online.extend(ask_api(&loaded.config, context)?);
                }
            }
            Err(diagnostics) => found.diagnostics.extend(diagnostics),
        }
    }
    if !rule_files.is_empty() {
        match config::load_rules_only(&rule_files, &context.environment) {
            Ok(loaded) => {
                found.rules += loaded.rules.len();
                found.diagnostics.extend(loaded.warnings);
            }
            Err(diagnostics) => found.diagnostics.extend(diagnostics),
        }
    }
    Ok(found)
}

/// Rules somebody wrote: the built-in one is no news.
fn written(rules: &[Rule]) -> usize {
    rules
        .iter()
        .filter(|rule| rule.origin != "built in")
        .count()
}

fn report(found: &Found, context: &Context) -> ExitCode {
    let has_errors = found.diagnostics.has_errors();
    let code = if has_errors {
        ExitCode::Problems
    } else {
        ExitCode::Fine
    };
    if context.out.is_json {
        let mut value = found.diagnostics.to_json();
        value["rules"] = found.rules.into();
        value["notes"] = found.online.clone().into();
        context.out.json(&value);
        return code;
    }
    if !found.diagnostics.is_empty() {
        context
            .out
            .line(&found.diagnostics.render(context.out.is_colored));
        context.out.line("");
    }
    for note in &found.online {
        context.out.line(&format!("warning: {note}"));
    }
    let summary = found.diagnostics.summary();
    let notes = match found.online.len() {
        0 => String::new(),
        1 => ", 1 note about what exists".to_owned(),
        many => format!(", {many} notes about what exists"),
    };
    if has_errors {
        context.out.line(&format!("{summary}{notes}"));
    } else {
        context
            .out
            .line(&format!("{} rules are good: {summary}{notes}", found.rules));
    }
    code
}

/// Asks every source what exists and looks for rules that match nothing, and the like.
fn ask_api(config: &Config, context: &Context) -> Result<Vec<String>, ExitCode> {
    let mut notes = Vec::new();
    let mut input = Input::default();
    let now = SystemClock::default().now();
    let runtime = state::runtime(context)?;
    for source in &config.sources {
        let settings = DagctlSettings {
            backfill: Span::hours(24),
            retry: Retry {
                max_retries: 1,
                ..Retry::default()
            },
            timeouts: Timeouts::default(),
            ..start::settings(source)
        };
        let mut dagctl = match Dagctl::resume(settings, BTreeMap::new()) {
            Ok(dagctl) => dagctl,
            Err(error) => {
                notes.push(format!("source {}: {error}", source.name));
                continue;
            }
        };
        let batch = runtime.block_on(dagctl.poll(now));
        for problem in &batch.problems {
            notes.push(format!("source {}: {}", source.name, problem.message));
        }
        if batch.coverage.is_empty() && !batch.has_more {
            notes.push(format!(
                "source {} could not be asked what exists, so rules that match nothing were not looked for; \
                 --offline leaves this out",
                source.name
            ));
            return Ok(notes);
        }
        let projects = batch
            .observations
            .iter()
            .filter_map(crate::engine::observation::Observation::project);
        input
            .coverage
            .extend(projects.map(|project| (project, now)));
        input.observations.extend(batch.observations);
    }
    let policy = Policy {
        rules: config.policy.rules.clone(),
        ..config.policy.clone()
    };
    let mut engine = Engine::new(Arc::new(policy), History::default(), Saved::default());
    engine.step(input, now);
    notes.extend(about_rules(&engine));
    notes.extend(super::promised::without_a_miss(&engine, now));
    Ok(notes)
}

fn about_rules(engine: &Engine) -> Vec<String> {
    let mut notes = Vec::new();
    let counts = engine.subjects_by_rule();
    let has_models = engine
        .history()
        .projects()
        .any(|project| project.models().next().is_some());
    for (rule, count) in engine.policy().rules.iter().zip(counts) {
        let judges_models = rule.kind.scope() == crate::engine::rule::Scope::Model;
        let is_judged =
            rule.not_built().is_none() && !matches!(rule.kind, RuleKind::SourceUnreachable(_));
        if is_judged && count == 0 && (has_models || !judges_models) {
            notes.push(matches_nothing(rule, engine));
        }
        notes.extend(reach::without_limit(rule, engine));
        if let RuleKind::Rows(_) = &rule.kind {
            notes.extend(without_counts(rule, engine));
        }
        if let RuleKind::MissedSchedule(kind) = &rule.kind
            && let Some(grace) = kind.grace
        {
            notes.extend(long_graces(rule, grace, engine));
        }
    }
    notes
}

/// The rule's models executed, and no execution says how many rows it wrote.
fn without_counts(rule: &Rule, engine: &Engine) -> Option<String> {
    let projects = engine.history().projects();
    let selected = projects
        .filter(|project| rule.selectors.is_project(project))
        .flat_map(ProjectHistory::models)
        .filter(|(job, model, _)| {
            rule.selectors.job.is_match(job) && rule.selectors.model.is_match(model)
        });
    let mut executions = 0;
    for (_, _, history) in selected {
        if rows::has_counts(history) {
            return None;
        }
        executions += history.executions().len();
    }
    (executions > 0).then(|| {
        format!(
            "{}: rule `{}` finds no usable row counts: of {executions} model executions none says how many rows it \
             wrote, so it will never fire",
            rule.origin, rule.name
        )
    })
}

fn matches_nothing(rule: &Rule, engine: &Engine) -> String {
    let selectors = &rule.selectors;
    let mut hints = Vec::new();
    let [projects, jobs, models] = existing_names(engine);
    for (what, patterns, names) in [
        ("project", &selectors.project, projects),
        ("job", &selectors.job, jobs),
        ("model", &selectors.model, models),
    ] {
        for text in patterns
            .texts()
            .iter()
            .filter(|text| *text != "*" && !text.starts_with('!'))
        {
            let is_found = names
                .iter()
                .any(|name| crate::engine::labels::Glob::new(text).is_match(name));
            if is_found {
                continue;
            }
            let near = names
                .iter()
                .min_by_key(|name| strsim::damerau_levenshtein(name, text));
            if let Some(near) = near {
                hints.push(format!("the nearest {what} to `{text}` is `{near}`"));
            }
        }
    }
    let hint = if hints.is_empty() {
        String::new()
    } else {
        format!("; {}", hints.join(", "))
    };
    format!(
        "{}: rule `{}` matches nothing{hint}",
        rule.origin, rule.name
    )
}

/// Names that exist: projects, jobs, models.
fn existing_names(engine: &Engine) -> [Vec<String>; 3] {
    let [mut projects, mut jobs, mut models] = [const { Vec::new() }; 3];
    for project in engine.history().projects() {
        projects.push(project.display_name().to_string());
        projects.push(project.key.project_id.to_string());
        jobs.extend(project.jobs().map(|job| job.name.to_string()));
        models.extend(project.models().map(|(_, model, _)| model.to_string()));
    }
    [projects, jobs, models]
}

fn long_graces(rule: &Rule, grace: Span, engine: &Engine) -> Vec<String> {
    let now = SystemClock::default().now();
    let mut notes = Vec::new();
    for project in engine.history().projects() {
        for job in project.jobs() {
            let is_project = rule
                .selectors
                .project
                .is_match_any(&[&project.key.project_id, project.display_name()]);
            if !is_project || !rule.selectors.job.is_match(&job.name) {
                continue;
            }
            let first = job.next_tick(chrono_tz::UTC, now);
            let gap = first
                .and_then(|first| Some(job.next_tick(chrono_tz::UTC, first.at)?.at - first.at));
            if gap.is_some_and(|gap| grace >= gap) {
                notes.push(format!(
                    "{}: rule `{}` waits {} for a tick of `{} {}`, which is longer than the gap to the next; \
                     a shorter grace tells sooner",
                    rule.origin,
                    rule.name,
                    config_span(grace),
                    project.display_name(),
                    job.name
                ));
            }
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::observation::{Execution, Observation, ProjectKey, Status};

    #[test]
    fn rows_rules_are_warned_about_when_nothing_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rules.toml");
        let text = "[[rule]]\nname = \"rows\"\nkind = \"rows\"\nmodel = \"marts.*\"\n";
        std::fs::write(&path, text).unwrap();
        let rules = config::load_rules_only(&[path], &config::Environment::default())
            .unwrap()
            .rules;
        let project = ProjectKey {
            source: "prod".into(),
            project_id: "p1".into(),
        };
        let now = crate::engine::time::Timestamp::from_millis(1_773_100_800_000);
        let notes = |counts: &[(&str, Option<i64>)]| {
            let rows = counts.iter().map(|(model, rows)| {
                let execution = Execution {
                    id: (*model).into(),
                    run_id: None,
                    model: (*model).into(),
                    status: Status::Success,
                    started_at: Some(now),
                    finished_at: Some(now),
                    updated_at: now,
                    rows: *rows,
                    error: None,
                };
                Observation::Execution(project.clone(), execution)
            });
            let mut policy = Policy::empty(Vec::new());
            policy.rules.clone_from(&rules);
            let mut engine = Engine::new(Arc::new(policy), History::default(), Saved::default());
            let input = Input {
                observations: rows.collect(),
                coverage: BTreeMap::from([(project.clone(), now)]),
                ..Input::default()
            };
            engine.step(input, now);
            let notes = about_rules(&engine).into_iter();
            notes.filter(|note| note.contains("row counts")).count()
        };
        assert_eq!(notes(&[("marts.a", None), ("marts.b", Some(-1))]), 1);
        assert_eq!(notes(&[("marts.a", None), ("marts.b", Some(120))]), 0);
        assert_eq!(notes(&[("marts.a", Some(1)), ("stg.b", Some(120))]), 1);
        assert_eq!(notes(&[("stg.b", None)]), 0, "it matches nothing");
    }
}
