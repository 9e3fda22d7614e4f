//! `tardy rules`

use clap::Args;

use super::state::{self, Question};
use super::{Context, ExitCode};
use crate::chat::parse::Command;
use crate::chat::run::Answer;
use crate::config::keys::{self, Key};
use crate::engine::rule::KIND_NAMES;

/// Options of `tardy rules`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tardy rules                        the rules in force, with the subjects each one judges
  tardy rules --explain deadline     what a kind tells, its keys, when it resolves")]
pub(super) struct RulesArgs {
    /// Explain a kind of rule
    #[arg(long, value_name = "KIND")]
    explain: Option<String>,
}

pub(super) fn run(args: &RulesArgs, context: &Context) -> ExitCode {
    match &args.explain {
        Some(kind) => explain(kind, context),
        None => match state::ask(&Question::Command(Command::Rules), context) {
            Ok(Answer::Rules(rules)) => {
                super::answers::show_rules(&rules, context);
                ExitCode::Fine
            }
            Ok(_) => ExitCode::Bug,
            Err(code) => code,
        },
    }
}

fn explain(kind: &str, context: &Context) -> ExitCode {
    let Some(variant) = keys::rule_kind(kind) else {
        let nearest = KIND_NAMES
            .iter()
            .min_by_key(|name| strsim::damerau_levenshtein(name, kind));
        let hint = nearest.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        let kinds = KIND_NAMES.join(", ");
        context.out.error(&format!(
            "there is no kind `{kind}`{hint} The kinds are {kinds}"
        ));
        return ExitCode::Problems;
    };
    if context.out.is_json {
        let list = |keys: &[Key]| keys.iter().map(key_json).collect::<Vec<_>>();
        context.out.json(&serde_json::json!({
            "kind": variant.name,
            "doc": variant.doc,
            "text": documentation(kind),
            "keys": list(variant.keys),
            "common_keys": list(keys::RULE.keys),
        }));
        return ExitCode::Fine;
    }
    match documentation(kind) {
        Some(text) => context.out.line(text.trim_end()),
        None => context.out.line(variant.doc),
    }
    let show = |title: &str, keys: &[Key]| {
        context.out.line(&format!("\n## {title}\n"));
        for key in keys {
            let default = match (key.is_required, key.default) {
                (true, _) => "required".to_owned(),
                (false, "") => "optional".to_owned(),
                (false, default) => format!("default {default}"),
            };
            context
                .out
                .line(&format!("  {:<16} {} ({default})", key.name, key.doc));
        }
    };
    show("Keys of this kind", variant.keys);
    show("Keys of every rule", keys::RULE.keys);
    ExitCode::Fine
}

fn key_json(key: &Key) -> serde_json::Value {
    serde_json::json!({
        "name": key.name,
        "required": key.is_required,
        "default": key.default,
        "example": key.example,
        "doc": key.doc,
    })
}

/// What ends an alert of a kind, as its documentation says, in one line.
pub(super) fn resolve(kind: &str) -> Option<String> {
    let text = documentation(kind)?;
    let (_, after) = text.split_once("## Resolve\n")?;
    let section = after.split("\n## ").next()?;
    let lines = section.lines().take_while(|line| !line.starts_with("```"));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    Some(words.join(" "))
}

/// The module documentation of a kind: what it tells, when to use it, keys, no data, resolve.
fn documentation(kind: &str) -> Option<String> {
    let source = match kind {
        "run_failed" => include_str!("../engine/rule/run_failed.rs"),
        "model_failed" => include_str!("../engine/rule/model_failed.rs"),
        "run_duration" => include_str!("../engine/rule/run_duration.rs"),
        "run_regression" | "model_regression" => include_str!("../engine/rule/regression.rs"),
        "success_rate" => include_str!("../engine/rule/success_rate.rs"),
        "queue_time" => include_str!("../engine/rule/queue_time.rs"),
        "run_count" => include_str!("../engine/rule/run_count.rs"),
        "model_duration" => include_str!("../engine/rule/model_duration.rs"),
        "deadline" => include_str!("../engine/rule/deadline.rs"),
        "missed_schedule" => include_str!("../engine/rule/missed_schedule.rs"),
        "staleness" | "model_staleness" => include_str!("../engine/rule/staleness.rs"),
        "model_not_run" => include_str!("../engine/rule/model_not_run.rs"),
        "run_stalled" => include_str!("../engine/rule/run_stalled.rs"),
        "rows" => include_str!("../engine/rule/rows.rs"),
        "paused" => include_str!("../engine/rule/paused.rs"),
        "plan_waiting" => include_str!("../engine/rule/plan_waiting.rs"),
        "plan_failed" => include_str!("../engine/rule/plan_failed.rs"),
        "project_drift" => include_str!("../engine/rule/project_drift.rs"),
        "protection_off" => include_str!("../engine/rule/protection_off.rs"),
        "platform_incident" => include_str!("../engine/rule/platform_incident.rs"),
        "objective" => include_str!("../engine/rule/objective.rs"),
        "source_unreachable" => include_str!("../engine/rule/source_unreachable.rs"),
        _ => return None,
    };
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let lines: Vec<&str> = lines
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    Some(
        lines.join(
            "
",
        ) + "
",
    )
}
