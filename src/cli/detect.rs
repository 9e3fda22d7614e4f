//! `tardy detect`

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal as _, Write as _};
use std::path::PathBuf;

use chrono_tz::Tz;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use serde::Serialize;

use super::output::{Tone, plain};
use super::{Context, ExitCode};
use crate::app::detection::{Detection, Told, duration, range};
use crate::app::series::{Id, Problem, Reader};
use crate::engine::detect::Direction;

/// Options of `tardy detect`.
#[derive(Debug, Args)]
#[command(after_help = "\
Reads JSON lines, a series each, {\"id\": \"orders\", \"t\": [unix seconds], \"v\": [seconds]}, or CSV, a point
each: t,v or t,v,id, or columns in any order with a head. Tells each lasting change of the level at
the point that shows it, by the rules of the regression rules. docs/detect.md says how it decides.

On a terminal it prints a table, otherwise one JSON line for each change: id, i (index of the point,
from 0), t (its time), ratio (new level by old), reason, dir (up or down).

Examples:
  tardy detect durations.csv                    what has become slower or quicker, and since when
  tardy detect --slower series.jsonl > out.jsonl
  psql -At -F, -c \"select extract(epoch from started_at), seconds, job from runs order by 1\" \\
    | tardy detect - --timezone Europe/Berlin")]
pub(super) struct DetectArgs {
    /// File with series; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only what has become slower
    #[arg(long)]
    slower: bool,
    /// Print a table also when the output is not a terminal
    #[arg(long, conflicts_with = "json")]
    text: bool,
    /// Zone whose hours and weekdays the series follow
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    timezone: Tz,
}

fn zone(text: &str) -> Result<Tz, String> {
    text.parse().map_err(|_| {
        "no time zone is called so; use an IANA name of a place, like Europe/Berlin, or UTC".into()
    })
}

/// A change as a line.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a Id,
    i: usize,
    t: i64,
    ratio: f64,
    reason: String,
    dir: Direction,
}

/// Why it ended early.
enum End {
    /// Whoever read the output has enough.
    Closed,
    /// It failed, or what was given is wrong.
    Error(String, ExitCode),
}

pub(super) fn run(args: &DetectArgs, context: &Context) -> ExitCode {
    let is_table = args.text || (!context.out.is_json && std::io::stdout().is_terminal());
    let end = open(args).and_then(|(name, input)| {
        if is_table {
            table(args, context, &name, input)
        } else {
            lines(args, context, &name, input)
        }
    });
    match end {
        Ok(()) | Err(End::Closed) => ExitCode::Fine,
        Err(End::Error(why, code)) => {
            context.out.error(&why);
            code
        }
    }
}

fn open(args: &DetectArgs) -> Result<(String, Box<dyn BufRead>), End> {
    if args.file.as_os_str() == "-" {
        return Ok(("stdin".to_owned(), Box::new(std::io::stdin().lock())));
    }
    let name = args.file.display().to_string();
    let file = File::open(&args.file).map_err(|error| {
        let why = format!("{name}: {error}; name a file, or - for standard input");
        End::Error(why, ExitCode::Problems)
    })?;
    Ok((name, Box::new(BufReader::with_capacity(1 << 16, file))))
}

/// Reads everything and hands on what is told, record by record.
fn watch(
    args: &DetectArgs,
    context: &Context,
    (name, input): (&str, Box<dyn BufRead>),
    mut tell: impl FnMut(Vec<Told>) -> Result<(), End>,
) -> Result<Detection, End> {
    let bar = context.out.is_error_terminal.then(progress);
    let mut detection = Detection::new(args.timezone);
    for record in Reader::new(input, name) {
        let record = record.map_err(|error| {
            let code = match error.problem {
                Problem::Unreadable(_) => ExitCode::Failed,
                _ => ExitCode::Problems,
            };
            End::Error(error.to_string(), code)
        })?;
        let mut all = Vec::new();
        detection.take(record, |told| {
            if !args.slower || told.shift.direction == Direction::Up {
                all.push(told);
            }
        });
        if let Some(bar) = &bar {
            bar.set_position(detection.points);
        }
        if !all.is_empty() {
            match &bar {
                Some(bar) => bar.suspend(|| tell(all))?,
                None => tell(all)?,
            }
        }
    }
    drop(bar);
    if detection.points == 0 {
        context
            .out
            .note(&format!("{name}: there are no points in it"));
    }
    Ok(detection)
}

fn progress() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{spinner} {human_pos} points, {per_sec}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        .with_finish(ProgressFinish::AndClear)
}

/// JSON lines; those of a record are written at once.
fn lines(
    args: &DetectArgs,
    context: &Context,
    name: &str,
    input: Box<dyn BufRead>,
) -> Result<(), End> {
    watch(args, context, (name, input), |all| {
        let mut text = String::new();
        for told in &all {
            let line = Line {
                id: &told.id,
                i: told.index,
                t: told.at,
                ratio: (told.shift.ratio * 1e4).round() / 1e4,
                reason: told.reason(args.timezone),
                dir: told.shift.direction,
            };
            text.push_str(&serde_json::to_string(&line).unwrap_or_default());
            text.push('\n');
        }
        write(&text)
    })?;
    Ok(())
}

fn write(text: &str) -> Result<(), End> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return End::Closed;
        }
        let why = format!("the output cannot be written: {error}");
        End::Error(why, ExitCode::Failed)
    })
}

/// A table for people, and a line that sums up.
fn table(
    args: &DetectArgs,
    context: &Context,
    name: &str,
    input: Box<dyn BufRead>,
) -> Result<(), End> {
    let (mut rows, mut slower) = (Vec::new(), 0);
    let detection = watch(args, context, (name, input), |all| {
        slower += all
            .iter()
            .filter(|told| told.shift.direction == Direction::Up)
            .count();
        rows.extend(all.iter().map(|told| row(told, args.timezone)));
        Ok(())
    })?;
    let out = &context.out;
    if !rows.is_empty() {
        let head = ["series", "since", "change", "now", "usual", "runs"];
        out.table(&head, &rows);
        out.line("");
    }
    let quicker = if args.slower {
        String::new()
    } else {
        format!(", {} quicker", grouped((rows.len() - slower) as u64))
    };
    let tone = if slower > 0 { Tone::Bad } else { Tone::Good };
    let changes = format!("{} slower{quicker}", grouped(slower as u64));
    out.line(&format!(
        "{} in {} series, {} points",
        out.paint(tone, &changes),
        grouped(detection.series as u64),
        grouped(detection.points),
    ));
    Ok(())
}

fn row(told: &Told, zone: Tz) -> Vec<(Tone, String)> {
    let shift = &told.shift;
    let tone = match shift.direction {
        Direction::Up => Tone::Bad,
        Direction::Down => Tone::Good,
    };
    let (low, high) = shift.range();
    vec![
        (Tone::Bold, plain(&told.id.to_string())),
        (Tone::Plain, told.began(zone)),
        (tone, told.change()),
        (Tone::Plain, duration(shift.after)),
        (
            Tone::Plain,
            format!("{} ({})", duration(shift.before), range(low, high)),
        ),
        (Tone::Dim, format!("{} of {}", shift.beyond, shift.runs)),
    ]
}

/// `1 200`: thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_200, "1 200"),
            (10_000_000, "10 000 000"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
