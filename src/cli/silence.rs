//! `tardy silence`: alerts are kept quiet for a while, with a reason and an end.

use clap::{Args, Subcommand};

use super::accept;
use super::answers::severity_tone;
use super::output::{Tone, plain};
use super::state;
use super::{Context, ExitCode};
use crate::app::control::SilencePreview;
use crate::engine::acting::{ActKind, Outcome};
use crate::engine::query::{SilenceRow, parse_matchers};
use crate::engine::silence::Until;
use crate::engine::time::{Span, Timestamp, human_span, human_time, parse_span};

/// Shown below the help of `tardy silence`.
pub(super) const EXAMPLES: &str = "\
Examples:
  tardy silence add job=nightly --for 2h --comment \"migration\"
  tardy silence add job=nightly --preview
  tardy silence list
  tardy silence expire sk3x9q";

/// What can be done about silences.
#[derive(Debug, Subcommand)]
pub(super) enum SilenceCommand {
    /// Keep alerts quiet for a while
    Add(AddArgs),
    /// List silences: those in force, then those that are over
    List(ListArgs),
    /// End a silence now
    Expire(ExpireArgs),
}

/// Options of `tardy silence add`.
#[derive(Debug, Args)]
#[command(after_help = "\
Alerts that all matchers fit are not announced, reminded of or escalated. They are judged as ever; whoever was
told of one before hears its end. What still fires when the silence is over is announced then. Shown first is
what it keeps quiet now, and what it would have kept quiet in the last 30 days.

Labels: severity, rule, kind, source, project, project_id, job, model, owner, and those that rules add.
Operators: = != =~ !~ (patterns match the whole value).

Exits with 2 when the matchers cannot be read, or fit everything.

Examples:
  tardy silence add job=nightly --for 2h --comment \"migration\"
  tardy silence add 'project =~ \"fin.*\"' severity=warning --for 1d --comment \"backfill\"
  tardy silence add job=nightly --until success --for 12h --comment \"known, fixed in the next run\"
  tardy silence add job=nightly --preview")]
pub(super) struct AddArgs {
    /// Matchers, all of which must fit
    #[arg(required = true, value_name = "MATCHER")]
    matchers: Vec<String>,
    /// For how long, at most
    #[arg(long = "for", value_name = "TIME", value_parser = parse_span, required_unless_present = "preview")]
    span: Option<Span>,
    /// Why, for those who wonder where the alerts are
    #[arg(long, value_name = "TEXT", required_unless_present = "preview")]
    comment: Option<String>,
    /// What ends it before that
    #[arg(long, value_name = "WHAT", value_parser = ["success", "resolved"])]
    until: Option<String>,
    /// Only show what it would keep quiet
    #[arg(long)]
    preview: bool,
}

/// Options of `tardy silence list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tardy silence list
  tardy silence list --all           those that are over, too
  tardy silence list --json")]
pub(super) struct ListArgs {
    /// Those that are over, too
    #[arg(long)]
    all: bool,
}

/// Options of `tardy silence expire`.
#[derive(Debug, Args)]
#[command(after_help = "\
What it kept quiet and still fires is announced.

Examples:
  tardy silence expire sk3x9q
  tardy silence expire sk3           the beginning of the id is enough while it is the only one")]
pub(super) struct ExpireArgs {
    /// Id of the silence, as `tardy silence list` shows it
    #[arg(value_name = "ID")]
    silence: String,
}

pub(super) fn run(command: &SilenceCommand, context: &Context) -> ExitCode {
    match command {
        SilenceCommand::Add(args) => add(args, context),
        SilenceCommand::List(args) => list(args, context),
        SilenceCommand::Expire(args) => expire(args, context),
    }
    .unwrap_or_else(|code| code)
}

fn add(args: &AddArgs, context: &Context) -> Result<ExitCode, ExitCode> {
    let matchers = parse_matchers(&args.matchers).map_err(|error| {
        context.out.error(&error.to_string());
        ExitCode::Problems
    })?;
    let preview = state::silence_preview(&matchers, context)?;
    if args.preview {
        if context.out.is_json {
            context.out.json(&preview);
        } else {
            show_preview(&preview, context);
        }
        return Ok(ExitCode::Fine);
    }
    let what = ActKind::Silence {
        matchers,
        for_millis: args.span.unwrap_or_default().num_milliseconds(),
        until: match args.until.as_deref() {
            Some("success") => Until::Success,
            Some(_) => Until::Resolved,
            None => Until::Time,
        },
    };
    let done = state::act(args.comment.as_deref(), what, context)?;
    let is_done = matches!(done.acted.outcome, Outcome::Done(_));
    let code = accept::show(&done, "see it", context);
    if is_done && !context.out.is_json {
        show_preview(&preview, context);
        if let Some(silence) = &done.acted.silence {
            let how = format!("end it with `tardy silence expire {}`", silence.id);
            context.out.line(&context.out.paint(Tone::Dim, &how));
        }
    }
    Ok(code)
}

/// Alerts written out.
const SHOWN: usize = 10;

fn show_preview(preview: &SilencePreview, context: &Context) {
    let out = &context.out;
    let count = |count: usize| match count {
        1 => "1 alert".to_owned(),
        count => format!("{count} alerts"),
    };
    match preview.now.len() {
        0 => out.line("No open alert fits now."),
        open => out.line(&format!("Fits {} now:", count(open))),
    }
    for alert in preview.now.iter().take(SHOWN) {
        let severity = out.paint(severity_tone(alert.severity), alert.severity.as_str());
        let (id, headline) = (&alert.id, plain(&alert.headline));
        out.line(&format!("  {id}  {severity}  {headline}"));
    }
    if preview.now.len() > SHOWN {
        out.line(&format!("  and {} more", preview.now.len() - SHOWN));
    }
    let past = &preview.past;
    let span = if past.is_cut {
        let since = past.since;
        format!("since {since} (what is older is more than one look goes through)")
    } else {
        String::from("in the last 30 days")
    };
    if past.alerts == 0 {
        out.line(&format!("Nothing that fired {span} fits."));
        return;
    }
    let rules = past.rules.iter().take(SHOWN);
    let rules: Vec<String> = rules
        .map(|(rule, count)| format!("{count} of {}", plain(rule)))
        .collect();
    out.line(&format!(
        "Fits {} that fired {span}: {}",
        count(past.alerts),
        rules.join(", ")
    ));
}

fn list(args: &ListArgs, context: &Context) -> Result<ExitCode, ExitCode> {
    let answer = state::silences(context)?;
    let rows = answer.rows.iter();
    let rows: Vec<&SilenceRow> = rows.filter(|row| args.all || row.is_active).collect();
    let out = &context.out;
    if out.is_json {
        out.json(&rows);
        return Ok(ExitCode::Fine);
    }
    if rows.is_empty() {
        let over = answer.rows.len();
        let more = match over {
            0 => String::new(),
            _ => format!("; {over} are over: `tardy silence list --all`"),
        };
        out.line(&format!("No silence is in force{more}."));
        return Ok(ExitCode::Fine);
    }
    let cells: Vec<_> = rows.iter().map(|row| cells(row, answer.asked_at)).collect();
    let head = ["id", "ends", "quiet now", "by", "matchers", "why"];
    out.table(&head, &cells);
    Ok(ExitCode::Fine)
}

fn cells(row: &SilenceRow, now: Timestamp) -> Vec<(Tone, String)> {
    let ends = match (&row.ended, row.is_active) {
        (_, true) => {
            let word = match row.until {
                Until::Time => "",
                Until::Success => ", or at a success",
                Until::Resolved => ", or when resolved",
            };
            format!("in {}{word}", human_span(row.ends_at.since(now)))
        }
        (ended, false) => {
            let at = ended.as_ref().map_or(row.ends_at, |ended| ended.at);
            let why = row.why_over.as_deref().unwrap_or_default();
            format!(
                "{}: {}",
                human_time(at, now, chrono_tz::Tz::UTC),
                plain(why)
            )
        }
    };
    let tone = if row.is_active { Tone::Bold } else { Tone::Dim };
    vec![
        (tone, row.id.clone()),
        (Tone::Plain, ends),
        (Tone::Plain, row.quiet.to_string()),
        (Tone::Plain, plain(&row.by)),
        (Tone::Plain, plain(&row.matchers.join(", "))),
        (Tone::Dim, plain(&row.comment)),
    ]
}

fn expire(args: &ExpireArgs, context: &Context) -> Result<ExitCode, ExitCode> {
    let silence = args.silence.clone();
    let done = state::act(None, ActKind::Unsilence { silence }, context)?;
    Ok(accept::show(&done, "see it", context))
}
