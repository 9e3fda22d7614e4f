//! `tardy runs`, `models`, `alerts`, `ask` and `status`: answers on the terminal.

use clap::Args;

use super::output::{Tone, plain};
use super::state::{self, Question};
use super::{Context, ExitCode};
use crate::app::clock::{Clock as _, SystemClock};
use crate::app::status::{ReceiverStatus, SourceStatus, Status};
use crate::chat::parse::{Command, parse};
use crate::chat::run::Answer;
use crate::engine::alert::AlertState;
use crate::engine::query::{AlertRow, ModelRow, Page, RuleRow, RunRow};
use crate::engine::rule::Severity;
use crate::engine::time::{Span, Timestamp, human_span};

/// Words of a question.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tardy runs failed 24h              tardy runs slow finance
  tardy models slow 7d               tardy models 'marts.*'
  tardy alerts firing                tardy alerts severity=critical project=~'fin.*'")]
pub(super) struct WordsArgs {
    /// What to show, in the grammar of chat, in any order
    #[arg(value_name = "WORDS")]
    words: Vec<String>,
    /// Most rows
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

/// A question as in chat.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tardy ask \"/runs failed 24h\"
  tardy ask \"/alerts firing severity=critical\"
  tardy ask /help")]
pub(super) struct AskArgs {
    /// The question
    #[arg(required = true, value_name = "QUESTION")]
    question: Vec<String>,
}

/// Options of `tardy status`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exits with 1 when no bot runs, its store cannot be written, or a source has not been read
completely for ten polls (at least a minute): fit for a health check.

Examples:
  tardy status
  tardy status --json")]
pub(super) struct StatusArgs {}

pub(super) fn words(name: &str, args: &WordsArgs, context: &Context) -> ExitCode {
    let quoted: Vec<String> = args.words.iter().map(|word| quote(word)).collect();
    answer(
        &format!("/{name} {}", quoted.join(" ")),
        Some(args.limit),
        context,
    )
}

/// A word with spaces is kept together.
pub(super) fn quote(word: &str) -> String {
    if word.contains(char::is_whitespace) && !word.contains('"') {
        match word.split_once('=') {
            Some((label, value)) => format!("{label}=\"{value}\""),
            None => format!("\"{word}\""),
        }
    } else {
        word.to_owned()
    }
}

pub(super) fn ask(args: &AskArgs, context: &Context) -> ExitCode {
    answer(&args.question.join(" "), None, context)
}

fn answer(text: &str, limit: Option<usize>, context: &Context) -> ExitCode {
    let mut command = match parse(text) {
        Ok(command) => command,
        Err(error) => {
            context.out.error(&error.to_string());
            return ExitCode::Problems;
        }
    };
    if let Some(limit) = limit {
        set_limit(&mut command, limit);
    }
    match state::ask(&Question::Command(command), context) {
        Ok(Answer::Sla(answer)) if answer.unknown_name.is_some() && !context.out.is_json => {
            let unknown = answer.unknown_name.as_deref().unwrap_or_default();
            context.out.error(&plain(unknown));
            ExitCode::Problems
        }
        Ok(answer) => {
            show(&answer, context);
            match &answer {
                Answer::Why(answer) => super::why::code(answer),
                Answer::WhyNot(answer) => super::why_not::code(answer),
                _ => ExitCode::Fine,
            }
        }
        Err(code) => code,
    }
}

fn set_limit(command: &mut Command, limit: usize) {
    match command {
        Command::Runs(question) => question.limit = limit,
        Command::Alerts(question) => question.limit = limit,
        Command::Models(question) => question.limit = limit,
        Command::Sla(question) => question.limit = limit,
        Command::Help
        | Command::Rules
        | Command::Why(_)
        | Command::WhyNot(_)
        | Command::Digest(_) => {}
    }
}

fn show(answer: &Answer, context: &Context) {
    if context.out.is_json {
        return context.out.json(answer);
    }
    let now = SystemClock::default().now();
    match answer {
        Answer::Runs(page) => show_runs(page, now, context),
        Answer::Alerts(page) => show_alerts(page, now, context),
        Answer::Models(page) => show_models(page, context),
        Answer::Sla(answer) => super::sla::show(answer, context),
        Answer::Why(answer) => super::why::show(answer, context),
        Answer::WhyNot(answer) => super::why_not::show(answer, context),
        Answer::Digest(answer) => match &answer.digest {
            Some(digest) => super::digest::show(digest, context),
            None => context
                .out
                .line(&plain(answer.unknown_name.as_deref().unwrap_or_default())),
        },
        Answer::Rules(rules) => show_rules(rules, context),
        Answer::Text(text) => context.out.line(text),
    }
}

pub(super) fn more<T>(page: &Page<T>, context: &Context) {
    if page.more > 0 {
        let more = format!(
            "and {} more; show them with --limit, or narrow the question",
            page.more
        );
        context.out.line(&context.out.paint(Tone::Dim, &more));
    }
}

fn millis(value: Option<i64>) -> String {
    value.map_or("-".to_owned(), |value| {
        human_span(Span::milliseconds(value))
    })
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", human_span(now.since(at)))
}

fn show_runs(page: &Page<RunRow>, now: Timestamp, context: &Context) {
    if page.rows.is_empty() {
        return context.out.line("no such runs");
    }
    let rows: Vec<Vec<(Tone, String)>> = page
        .rows
        .iter()
        .map(|run| {
            let tone = match run.status.as_str() {
                "success" => Tone::Good,
                "failed" | "error" => Tone::Bad,
                "partial" => Tone::Warn,
                _ => Tone::Plain,
            };
            vec![
                (tone, plain(&run.status)),
                (Tone::Bold, plain(&format!("{} {}", run.project, run.job))),
                (Tone::Plain, ago(run.created_at, now)),
                (Tone::Plain, millis(run.ran_millis)),
                (Tone::Dim, millis(run.usual_millis)),
                (Tone::Dim, plain(&run.id)),
                (Tone::Plain, plain(run.error.as_deref().unwrap_or_default())),
            ]
        })
        .collect();
    context.out.table(
        &["STATUS", "JOB", "CREATED", "RAN", "USUAL", "RUN", "ERROR"],
        &rows,
    );
    more(page, context);
}

pub(super) fn severity_tone(severity: Severity) -> Tone {
    match severity {
        Severity::Critical => Tone::Bad,
        Severity::Warning => Tone::Warn,
        Severity::Info => Tone::Plain,
    }
}

fn show_alerts(page: &Page<AlertRow>, now: Timestamp, context: &Context) {
    if page.rows.is_empty() {
        return context.out.line("no open alerts");
    }
    let rows: Vec<Vec<(Tone, String)>> = page
        .rows
        .iter()
        .map(|alert| {
            let state = match (alert.state, &alert.suppressed, &alert.acknowledged) {
                (_, Some(why), _) => plain(why),
                (AlertState::Pending, None, _) => "pending".to_owned(),
                (_, None, Some(by)) => plain(&format!("acknowledged {by}")),
                (_, None, None) => "firing".to_owned(),
            };
            vec![
                (Tone::Bold, alert.id.clone()),
                (
                    severity_tone(alert.severity),
                    alert.severity.as_str().to_owned(),
                ),
                (Tone::Plain, state),
                (Tone::Plain, human_span(now.since(alert.began_at))),
                (Tone::Dim, plain(&alert.rule)),
                (Tone::Plain, plain(&alert.headline)),
            ]
        })
        .collect();
    context.out.table(
        &["ALERT", "SEVERITY", "STATE", "FOR", "RULE", "WHAT"],
        &rows,
    );
    more(page, context);
}

fn show_models(page: &Page<ModelRow>, context: &Context) {
    if page.rows.is_empty() {
        return context
            .out
            .line("no such models; sources may not serve model executions, see `tardy status`");
    }
    let rows: Vec<Vec<(Tone, String)>> = page
        .rows
        .iter()
        .map(|model| {
            let tone = if model.failures > 0 {
                Tone::Bad
            } else {
                Tone::Plain
            };
            vec![
                (Tone::Bold, plain(&model.model)),
                (
                    Tone::Plain,
                    plain(&format!("{} {}", model.project, model.job)),
                ),
                (Tone::Plain, model.executions.to_string()),
                (tone, model.failures.to_string()),
                (Tone::Plain, millis(model.median_millis)),
                (Tone::Dim, millis(model.before_millis)),
                (Tone::Plain, signed(model.added_millis)),
            ]
        })
        .collect();
    context.out.table(
        &["MODEL", "JOB", "RAN", "FAILED", "MEDIAN", "BEFORE", "ADDED"],
        &rows,
    );
    more(page, context);
}

fn signed(value: i64) -> String {
    let span = human_span(Span::milliseconds(value.abs()));
    match value.signum() {
        1 => format!("+{span}"),
        -1 => format!("-{span}"),
        _ => "0".to_owned(),
    }
}

pub(super) fn show_rules(rules: &[RuleRow], context: &Context) {
    if context.out.is_json {
        return context.out.json(&rules);
    }
    let rows: Vec<Vec<(Tone, String)>> = rules
        .iter()
        .map(|rule| {
            let tone = if rule.subjects == 0 {
                Tone::Warn
            } else {
                Tone::Plain
            };
            vec![
                (Tone::Bold, plain(&rule.name)),
                (Tone::Plain, rule.kind.clone()),
                (
                    severity_tone(rule.severity),
                    rule.severity.as_str().to_owned(),
                ),
                (tone, rule.subjects.to_string()),
                (Tone::Plain, rule.open.to_string()),
                (Tone::Dim, plain(&rule.origin)),
            ]
        })
        .collect();
    context.out.table(
        &["RULE", "KIND", "SEVERITY", "SUBJECTS", "OPEN", "WRITTEN IN"],
        &rows,
    );
}

pub(super) fn status(_: &StatusArgs, context: &Context) -> ExitCode {
    let status = match state::status(context) {
        Ok(status) => status,
        Err(code) => return code,
    };
    if context.out.is_json {
        context.out.json(&status);
    } else {
        show_status(&status, context);
    }
    if is_healthy(&status) {
        ExitCode::Fine
    } else {
        ExitCode::Failed
    }
}

/// A source is not well when so many polls in a row have not read it completely.
const MAX_MISSED_POLLS: i64 = 10;

/// A poll may take a while by itself.
const MIN_POLL_AGE: Span = Span::minutes(1);

fn is_healthy(status: &Status) -> bool {
    let is_read = |source: &SourceStatus| {
        let patience =
            Span::milliseconds(source.poll_interval_millis.saturating_mul(MAX_MISSED_POLLS));
        let since = source.complete_at.or(status.started_at);
        let is_recent = since.is_some_and(|at| status.now.since(at) <= patience.max(MIN_POLL_AGE));
        source.backfill.is_some() || is_recent
    };
    status.pid.is_some() && status.store.blocked.is_none() && status.sources.iter().all(is_read)
}

fn show_status(status: &Status, context: &Context) {
    let out = &context.out;
    match (status.pid, status.started_at) {
        (Some(pid), Some(started_at)) => out.line(&format!(
            "{} tardy {}, process {pid}, for {}",
            out.paint(Tone::Good, "running"),
            status.version,
            human_span(status.now.since(started_at))
        )),
        _ => out.line(&out.paint(
            Tone::Bad,
            "no bot runs on this store; what follows is as it was stored",
        )),
    }
    out.line(&format!("config    {}", status.config));
    if let Some(why) = &status.config_refused {
        let head = out.paint(
            Tone::Bad,
            "the newest configuration was refused; the one before is in force",
        );
        out.line(&format!("          {head}\n{why}"));
    }
    let size = status
        .store
        .size_bytes
        .map_or("unknown size".to_owned(), megabytes);
    out.line(&format!("store     {} ({size})", status.store.path));
    if let Some(why) = &status.store.blocked {
        out.line(&format!(
            "          {} {why}",
            out.paint(Tone::Bad, "cannot be written:")
        ));
    }
    out.line(&format!(
        "history   {} runs, {} model executions",
        status.runs, status.executions
    ));
    out.line(&format!(
        "rules     {} rules, {} watched subjects, {} firing, {} pending",
        status.rules, status.watches, status.firing, status.pending
    ));
    if status.skew_millis != 0 {
        let skew = signed(status.skew_millis);
        let tone = if status.skew_millis.abs() > 30_000 {
            Tone::Warn
        } else {
            Tone::Plain
        };
        out.line(&format!(
            "clock     the server is {}",
            out.paint(tone, &format!("{skew} from ours"))
        ));
    }
    for source in &status.sources {
        show_source(source, status, context);
    }
    for receiver in &status.receivers {
        show_receiver(receiver, status.now, context);
    }
}

fn megabytes(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss)]
    let megabytes = bytes as f64 / 1e6;
    format!("{megabytes:.1} MB")
}

fn show_source(source: &SourceStatus, status: &Status, context: &Context) {
    let out = &context.out;
    let read = match (source.backfill, source.complete_at) {
        (Some((read, expected)), _) => format!("first read: {read} of {expected} pages"),
        (None, Some(at)) => format!("read completely {}", ago(at, status.now)),
        (None, None) => out.paint(Tone::Warn, "not read completely yet"),
    };
    out.line(&format!(
        "source    {} {read}",
        out.paint(Tone::Bold, &plain(&source.name))
    ));
    for (project, known_until) in &source.known_until {
        out.line(&format!(
            "          {} known until {known_until}",
            plain(project)
        ));
    }
    for (project, averages) in &source.averages {
        for line in averages.lines() {
            out.line(&format!("          {} {}", plain(project), plain(&line)));
        }
    }
    for problem in &source.problems {
        out.line(&format!(
            "          {} {}",
            out.paint(Tone::Warn, "problem:"),
            plain(&problem.message)
        ));
    }
}

fn show_receiver(receiver: &ReceiverStatus, now: Timestamp, context: &Context) {
    let out = &context.out;
    let state = match (receiver.failing_since, receiver.delivered_at) {
        (Some(since), _) => {
            let why = receiver.why.as_deref().unwrap_or_default();
            out.paint(
                Tone::Bad,
                &format!(
                    "failing for {}: {}",
                    human_span(now.since(since)),
                    plain(why)
                ),
            )
        }
        (None, Some(at)) => format!("delivered {}", ago(at, now)),
        (None, None) => "nothing delivered yet".to_owned(),
    };
    let waiting = match receiver.waiting {
        0 => String::new(),
        waiting => format!(", {waiting} waiting"),
    };
    let given_up = match receiver.given_up {
        0 => String::new(),
        given_up => format!(", {given_up} given up since the start"),
    };
    let name = out.paint(Tone::Bold, &plain(&receiver.name));
    out.line(&format!(
        "receiver  {name} ({}) {state}{waiting}{given_up}",
        receiver.kind
    ));
}
