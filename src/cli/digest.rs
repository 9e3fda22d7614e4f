//! `tardy digest`: a summary now, printed or sent.

use clap::Args;

use super::output::{Output, Tone, plain};
use super::state::{self, Question};
use super::{Context, ExitCode};
use crate::app::clock::{Clock as _, SystemClock};
use crate::app::digest_picture;
use crate::chat::parse::Command;
use crate::chat::run::Answer;
use crate::config::Config;
use crate::engine::digest::{Digest, DigestQuestion, due};
use crate::engine::labels::Labels;
use crate::engine::time::parse_span;
use crate::notify::digest::{Mark, Section, Sheet};
use crate::notify::{self, BuildContext, Delivery, Outcome, Receiver, ReceiverKind};

/// Options of `tardy digest`.
#[derive(Debug, Args)]
#[command(after_help = "\
Asks the running bot, or reads the store when none runs. What is not known is said to be unknown.
A digest that is made on demand changes nothing about the scheduled ones.

Examples:
  tardy digest                           the last 24 hours
  tardy digest --period 7d               the last week
  tardy digest --name morning            the period and zone of [[digest]] \"morning\"
  tardy digest --period 7d --to leads    sent to the receiver \"leads\" now
  tardy digest --json                    for machines")]
pub(super) struct DigestArgs {
    /// How far it looks back, like 24h or 7d [default: 24h, or that of --name]
    #[arg(long, value_name = "PERIOD")]
    period: Option<String>,
    /// Send it to this receiver now, instead of printing it
    #[arg(long, value_name = "RECEIVER")]
    to: Option<String>,
    /// A configured digest, whose period and zone are taken
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

pub(super) fn run(args: &DigestArgs, context: &Context) -> ExitCode {
    made(args, context).unwrap_or_else(|code| code)
}

fn made(args: &DigestArgs, context: &Context) -> Result<ExitCode, ExitCode> {
    let question = question(args, context)?;
    // A wrong name is told before anything is made.
    let target = match &args.to {
        Some(name) => Some(receiver(name, context)?),
        None => None,
    };
    let asked = Question::Command(Command::Digest(question));
    let Answer::Digest(answer) = state::ask(&asked, context)? else {
        return Err(ExitCode::Bug);
    };
    if let Some(unknown) = &answer.unknown_name {
        context.out.error(&plain(unknown));
        return Err(ExitCode::Problems);
    }
    let digest = answer.digest.ok_or(ExitCode::Bug)?;
    if let Some((config, receiver)) = target {
        return send(&digest, &receiver, &config, context);
    }
    if context.out.is_json {
        context.out.json(&digest);
    } else {
        show(&digest, context);
    }
    Ok(ExitCode::Fine)
}

fn question(args: &DigestArgs, context: &Context) -> Result<DigestQuestion, ExitCode> {
    let period = match args.period.as_deref().map(parse_span).transpose() {
        Ok(Some(period)) if period.num_milliseconds() < 60_000 => {
            Err("a digest looks back on a minute at least; write --period 24h".to_owned())
        }
        Ok(period) => Ok(period),
        Err(error) => Err(format!("--period: {error}")),
    };
    let period = period.map_err(|why| {
        context.out.error(&why);
        ExitCode::Problems
    })?;
    Ok(DigestQuestion {
        name: args.name.clone(),
        within_millis: period.map(|period| period.num_milliseconds()),
    })
}

fn receiver(name: &str, context: &Context) -> Result<(Config, Receiver), ExitCode> {
    let config = state::load_config(context)?;
    let found = config.receivers.iter().find(|known| &*known.name == name);
    if let Some(receiver) = found.cloned() {
        return Ok((config, receiver));
    }
    let names: Vec<&str> = config.receivers.iter().map(|known| &*known.name).collect();
    let near = names
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .filter(|(distance, known)| *distance <= known.len().max(name.len()) / 2)
        .min();
    let hint = match near {
        Some((_, near)) => format!("; did you mean `{near}`?"),
        None if names.is_empty() => "; none is configured".to_owned(),
        None => format!("; there are {}", names.join(", ")),
    };
    context
        .out
        .error(&format!("there is no receiver `{}`{hint}", plain(name)));
    Err(ExitCode::Problems)
}

fn send(
    digest: &Digest,
    receiver: &Receiver,
    config: &Config,
    context: &Context,
) -> Result<ExitCode, ExitCode> {
    let console = if context.out.is_json {
        Output::error_console()
    } else {
        Output::console()
    };
    let mut build = BuildContext::new(config.timezone, console, context.out.is_colored);
    build.owners = config.policy.owners.clone().into();
    let now = SystemClock::default().now();
    let labels = Labels::default()
        .with("receiver", receiver.name.clone())
        .with("on_demand", now.to_string());
    let notification = due::notification(&receiver.name, &labels, digest.clone(), now);
    let name = &receiver.name;
    if !context.out.is_json {
        context.out.note(&format!("sending to {name} …"));
    }
    if matches!(receiver.kind, ReceiverKind::PagerDuty(_)) {
        context.out.error(&format!(
            "{name} is a pager (kind \"pagerduty\"), which is sent no digests: they wake nobody; name another receiver"
        ));
        return Err(ExitCode::Problems);
    }
    let outcome = state::runtime(context)?.block_on(async {
        let notifier = notify::build(receiver, &build).map_err(|error| error.to_string())?;
        let chart = digest_picture::of(&notification, &*notifier).await;
        let delivery = Delivery {
            notification: &notification,
            handle: None,
            attempt: 1,
            is_uncertain: false,
            chart: chart.as_ref(),
        };
        Ok::<_, String>(notifier.deliver(delivery).await)
    });
    let why = match outcome {
        Ok(Outcome::Delivered { .. }) => None,
        Ok(Outcome::Retry { why, .. } | Outcome::Rejected { why }) | Err(why) => Some(why),
    };
    if context.out.is_json {
        context.out.json(&serde_json::json!({
            "receiver": name,
            "delivered": why.is_none(),
            "why": why,
            "verdict": digest.verdict,
        }));
    } else if let Some(why) = &why {
        context.out.error(&format!("{name}: {why}"));
    } else {
        context
            .out
            .line(&format!("{name}: delivered: {}", plain(&digest.verdict)));
    }
    Ok(match why {
        None => ExitCode::Fine,
        Some(_) => ExitCode::Failed,
    })
}

fn tone(mark: Mark) -> Tone {
    match mark {
        Mark::Plain => Tone::Plain,
        Mark::Dim => Tone::Dim,
        Mark::Good => Tone::Good,
        Mark::Warn => Tone::Warn,
        Mark::Bad => Tone::Bad,
    }
}

/// The digest for people: a table for each section.
pub(super) fn show(digest: &Digest, context: &Context) {
    let (out, sheet) = (&context.out, Sheet::new(digest));
    out.line(&out.paint(tone(sheet.mark), &sheet.verdict));
    out.line(&out.paint(Tone::Dim, &sheet.about));
    for note in &sheet.notes {
        out.line(&out.paint(Tone::Warn, note));
    }
    for section in &sheet.sections {
        out.line("");
        out.line(&out.paint(Tone::Bold, &section.heading()));
        table(section, context);
        if let Some(rest) = section.remainder(section.rows.len()) {
            out.line(&out.paint(Tone::Dim, &rest));
        }
    }
}

fn table(section: &Section, context: &Context) {
    let has_new = section.rows.iter().any(|row| row.is_new);
    let mut head = section.head.to_vec();
    let mut rows: Vec<Vec<(Tone, String)>> = section
        .rows
        .iter()
        .map(|row| {
            let cells = row.cells.iter();
            cells
                .map(|cell| (tone(cell.mark), cell.text.clone()))
                .collect()
        })
        .collect();
    if has_new {
        head.insert(0, "");
        for (cells, row) in rows.iter_mut().zip(&section.rows) {
            let new = if row.is_new { "NEW" } else { "" };
            cells.insert(0, (Tone::Bold, new.to_owned()));
        }
    }
    context.out.table(&head, &rows);
}
