//! `tardy test`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::output::Tone;
use super::{Context, ExitCode};
use crate::app::rule_test::{self, Difference, TestResult};

/// Options of `tardy test`.
#[derive(Debug, Args)]
#[command(after_help = "\
A rule test says what happened and what people are to be told; it is played through the very function
that runs live, on a virtual clock. Nothing is sent. Exits with 2 when a test fails. The files in
rules/tests show the format.

Examples:
  tardy test                         every file of rules/tests
  tardy test rules/tests/outcome.toml
  tardy test --filter failure        only tests whose name contains a word")]
pub(super) struct TestArgs {
    /// Test files [default: rules/tests/*.toml]
    files: Vec<PathBuf>,
    /// Only tests whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

const DEFAULT_FILES: &str = "rules/tests/*.toml";

pub(super) fn run(args: &TestArgs, context: &Context) -> ExitCode {
    let files = match files(args) {
        Ok(files) => files,
        Err(why) => {
            context.out.error(&why);
            return ExitCode::Problems;
        }
    };
    let (mut passed, mut failed, mut reports) = (0, 0, Vec::new());
    for file in &files {
        let mut results = match rule_test::run_file(file, &context.environment) {
            Ok(results) => results,
            Err(error) => {
                context.out.error(&error.to_string());
                return ExitCode::Problems;
            }
        };
        if let Some(text) = &args.filter {
            results.retain(|result| result.name.contains(text.as_str()));
        }
        for result in &results {
            if result.is_passed() {
                passed += 1;
            } else {
                failed += 1;
            }
        }
        if context.out.is_json {
            reports.push(json!({
                "file": file.display().to_string(),
                "tests": results.iter().map(test_json).collect::<Vec<_>>(),
            }));
        } else {
            show(&file.display().to_string(), &results, context);
        }
    }
    if context.out.is_json {
        context
            .out
            .json(&json!({ "passed": passed, "failed": failed, "files": reports }));
    } else {
        let tone = if failed == 0 { Tone::Good } else { Tone::Bad };
        let summary = format!("{passed} passed, {failed} failed");
        context.out.line(&context.out.paint(tone, &summary));
    }
    if failed == 0 {
        ExitCode::Fine
    } else {
        ExitCode::Problems
    }
}

fn files(args: &TestArgs) -> Result<Vec<PathBuf>, String> {
    if !args.files.is_empty() {
        return Ok(args.files.clone());
    }
    let found = glob::glob(DEFAULT_FILES).map_err(|error| error.to_string())?;
    let mut files: Vec<PathBuf> = found.filter_map(Result::ok).collect();
    files.sort();
    if files.is_empty() {
        return Err(format!(
            "no test files: there is no {DEFAULT_FILES} here; name the files"
        ));
    }
    Ok(files)
}

fn show(file: &str, results: &[TestResult], context: &Context) {
    let out = &context.out;
    out.line(&out.paint(Tone::Bold, file));
    for result in results {
        if result.is_passed() {
            out.line(&format!(
                "  {} {}",
                out.paint(Tone::Good, "ok  "),
                result.name
            ));
            continue;
        }
        out.line(&format!(
            "  {} {}",
            out.paint(Tone::Bad, "FAIL"),
            result.name
        ));
        for (what, lines) in [("told", &result.told), ("ledger", &result.ledger)] {
            if !lines.is_empty() {
                out.line(&format!("       {what}: - expected, + came"));
            }
            for line in lines {
                let (tone, text) = match line {
                    Difference::Same(text) => (Tone::Dim, format!("         {text}")),
                    Difference::Missing(text) => (Tone::Bad, format!("       - {text}")),
                    Difference::Unexpected(text) => (Tone::Warn, format!("       + {text}")),
                };
                out.line(&out.paint(tone, &text));
            }
        }
    }
}

fn test_json(result: &TestResult) -> serde_json::Value {
    let lines = |lines: &[Difference]| -> Vec<serde_json::Value> {
        lines
            .iter()
            .map(|line| match line {
                Difference::Same(text) => json!({ "same": text }),
                Difference::Missing(text) => json!({ "missing": text }),
                Difference::Unexpected(text) => json!({ "unexpected": text }),
            })
            .collect()
    };
    json!({
        "name": result.name,
        "passed": result.is_passed(),
        "told": lines(&result.told),
        "ledger": lines(&result.ledger),
    })
}
