//! `tardy why-not`: why a rule said nothing, on the terminal.

use clap::Args;

use super::gates;
use super::output::{Output, Tone, plain};
use super::rows::{head, row};
use super::state::{self, Question};
use super::{Context, ExitCode};
use crate::chat::parse::Command;
use crate::chat::run::Answer;
use crate::engine::query::{WhyNot, WhyNotAnswer, WhyNotQuestion, WhyNotSubject};
use crate::engine::time::human_time;

/// Options of `tardy why-not`.
#[derive(Debug, Args)]
#[command(after_help = "\
Walks every gate between the rule and people, in order: the rule, its selectors, since when it watches, what
is known, the verdict with its numbers, `for`, the calendar, silences, routes, mute windows, waits, messages.
The first gate that does not let through is the answer; those after it are shown as far as they are known.

SUBJECT is a job, project/job, project/job/model (as the rule judges), or a glob; several are listed.
TIME is `3h ago`, `yesterday 07:00`, `mon 07:00`, `2026-03-10 07:00` (in the configured zone) or RFC 3339. The
history of runs is then played up to that instant with the rules of today, beside what was recorded; what
cannot be put together again is said.

Exits with 2 when there is no such rule, subject or time, or when several subjects are meant.

Examples:
  tardy why-not late-orders nightly                          why is nothing told now?
  tardy why-not late-orders finance/nightly --at \"yesterday 07:00\"
  tardy why-not run-failed 'fin*/*' --at \"3h ago\"            lists what is meant
  tardy why-not slow-models finance/nightly/marts.orders --json")]
pub(super) struct WhyNotArgs {
    /// The rule, as `tardy rules` lists it
    #[arg(value_name = "RULE")]
    rule: String,
    /// What it should have told of
    #[arg(value_name = "SUBJECT")]
    subject: String,
    /// As of an instant that has passed
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

pub(super) fn run(args: &WhyNotArgs, context: &Context) -> ExitCode {
    let question = Question::Command(Command::WhyNot(WhyNotQuestion {
        rule: args.rule.clone(),
        subject: args.subject.clone(),
        at: args.at.clone(),
    }));
    match state::ask(&question, context) {
        Ok(Answer::WhyNot(answer)) => {
            if context.out.is_json {
                context.out.json(&answer);
            } else {
                show(&answer, context);
            }
            code(&answer)
        }
        Ok(_) => ExitCode::Bug,
        Err(code) => code,
    }
}

/// What is not there, or is not one, is a mistake of the one who asked.
pub(super) fn code(answer: &WhyNotAnswer) -> ExitCode {
    match answer {
        WhyNotAnswer::Explained(_) => ExitCode::Fine,
        WhyNotAnswer::Several { .. } | WhyNotAnswer::Unknown(_) => ExitCode::Problems,
    }
}

/// The answer for people.
pub(super) fn show(answer: &WhyNotAnswer, context: &Context) {
    let out = &context.out;
    match answer {
        WhyNotAnswer::Explained(why) => show_gates(why, out),
        WhyNotAnswer::Several {
            rule,
            subjects,
            more,
        } => show_several(rule, subjects, *more, out),
        WhyNotAnswer::Unknown(why) => out.error(&plain(why)),
    }
}

fn show_gates(why: &WhyNot, out: &Output) {
    let at = if why.is_past {
        let at = human_time(why.at, why.asked_at, why.zone);
        format!(", as of {at}")
    } else {
        String::new()
    };
    out.line(&format!(
        "{} about {}{}",
        out.paint(Tone::Bold, &plain(&why.rule)),
        out.paint(Tone::Bold, &plain(&why.name)),
        at
    ));
    row(out, "answer", Tone::Bold, &why.headline);
    for alert in &why.alerts {
        let text = format!(
            "{} is open: {}; see tardy why {}",
            alert.id, alert.headline, alert.id
        );
        row(out, "alert", Tone::Plain, &text);
    }
    head(out, "From the rule to people");
    gates::show(&why.gates, out);
    if !why.limits.is_empty() {
        head(out, "What cannot be told");
        for (index, limit) in why.limits.iter().enumerate() {
            let name = if index == 0 { "limits" } else { "" };
            row(out, name, Tone::Dim, limit);
        }
    }
}

fn show_several(rule: &str, subjects: &[WhyNotSubject], more: usize, out: &Output) {
    out.error(&format!(
        "several subjects are meant; name one of them: tardy why-not {} SUBJECT",
        plain(rule)
    ));
    let rows: Vec<Vec<(Tone, String)>> = subjects
        .iter()
        .map(|subject| {
            let (tone, word) = match (subject.is_selected, subject.is_open) {
                (_, true) => (Tone::Bad, "open alert"),
                (true, false) => (Tone::Plain, "watched"),
                (false, false) => (Tone::Dim, "not selected"),
            };
            vec![(Tone::Bold, plain(&subject.name)), (tone, word.to_owned())]
        })
        .collect();
    out.table(&["SUBJECT", ""], &rows);
    if more > 0 {
        out.line(&out.paint(
            Tone::Dim,
            &format!("and {more} more; write more of the name"),
        ));
    }
}
