//! `tardy accept`: the new level of a regression is normal from now on.

use clap::Args;

use super::output::{Tone, plain};
use super::state::{self, Done};
use super::{Context, ExitCode};
use crate::engine::acting::{ActKind, Outcome};

/// Options of `tardy accept`.
#[derive(Debug, Args)]
#[command(after_help = "\
Ends the alert of a rule of kind run_regression or model_regression, for its job or model alone. From then
on only runs since the first slow one are usual; a slowdown on top of the accepted level is told again.
Those who were told hear the end once. Who, when, and why is recorded, and shown by `tardy why ALERT`.

Exits with 2 when there is no such alert or nothing to accept about it, with 1 when it is over already.

Examples:
  tardy accept k3x9qa --comment \"bigger tables since March\"
  tardy accept k3x                   the beginning of the id is enough while it is the only one")]
pub(super) struct AcceptArgs {
    /// Short id of the alert, as every message shows it
    #[arg(value_name = "ALERT")]
    alert: String,
    /// Why, for those who ask later
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

pub(super) fn run(args: &AcceptArgs, context: &Context) -> ExitCode {
    let alert = args.alert.clone();
    let what = ActKind::Accept { alert };
    match state::act(args.comment.as_deref(), what, context) {
        Ok(done) => show(&done, "hear the end", context),
        Err(code) => code,
    }
}

/// What came of an act, for people and machines, and the exit code. Without a running bot, those who were
/// told do `later` at its next start.
pub(super) fn show(done: &Done, later: &str, context: &Context) -> ExitCode {
    let out = &context.out;
    if out.is_json {
        out.json(&done.acted);
    }
    match &done.acted.outcome {
        Outcome::Done(_) if out.is_json => ExitCode::Fine,
        Outcome::Done(headline) => {
            out.line(&out.paint(Tone::Good, &plain(headline)));
            if !done.is_bot_running {
                let note =
                    format!("no bot runs: those who were told of it {later} at its next start");
                out.line(&out.paint(Tone::Dim, &note));
            }
            ExitCode::Fine
        }
        Outcome::Refused(refusal) => {
            if !out.is_json {
                let lines = refusal.to_string();
                let lines: Vec<String> = lines.lines().map(plain_line).collect();
                out.error(&lines.join("\n"));
            }
            if refusal.is_mistake() {
                ExitCode::Problems
            } else {
                ExitCode::Failed
            }
        }
    }
}

/// A line from outside, with its indent.
pub(super) fn plain_line(line: &str) -> String {
    let text = line.trim_start();
    format!("{}{}", &line[..line.len() - text.len()], plain(text))
}
