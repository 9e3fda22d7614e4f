//! `tardy demo`

use std::path::PathBuf;

use clap::Args;

use super::output::{Output, Tone, plain};
use super::{Context, ExitCode};
use crate::app::demo::{self, Scene, Summary, Telling};

/// Options of `tardy demo`.
#[derive(Debug, Args)]
#[command(after_help = "\
A simulated organization lives through a bad day: a failure and its recovery, a regression, a missed
schedule, a run that does not end, a deadline warned of, missed, and delivered late. Tardy watches it
with its real parts; only time is virtual. It ends by itself in under a minute.

Examples:
  tardy demo
  tardy demo --speed 100000          as fast as it goes")]
pub(super) struct DemoArgs {
    /// Same seed, same story
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Virtual seconds a second
    #[arg(long, value_name = "X", default_value_t = 1_500.0)]
    speed: f64,
}

pub(super) fn run(args: &DemoArgs, context: &Context) -> ExitCode {
    if !(1.0..=1e9).contains(&args.speed) {
        context.out.error(&format!(
            "--speed {}: it is from 1 to 1000000000",
            args.speed
        ));
        return ExitCode::Problems;
    }
    // One thread: what is told at the same instant is told in the same order every time.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            context.out.error(&format!(
                "the asynchronous runtime cannot be started: {error}"
            ));
            return ExitCode::Failed;
        }
    };
    let out = context.out;
    let temporary = context.environment.get("TMPDIR").unwrap_or("/tmp");
    let narrate = move |scene: &Scene| {
        if !out.is_json {
            show_scene(scene, &out);
        }
    };
    let telling = Telling {
        seed: args.seed,
        speed: Some(args.speed),
        folder: PathBuf::from(temporary).join(format!("tardy-demo-{}", std::process::id())),
        console: if out.is_json {
            std::sync::Arc::new(std::sync::Mutex::new(std::io::sink()))
        } else {
            Output::console()
        },
        is_colored: out.is_colored,
        narrate: &narrate,
    };
    let told = runtime.block_on(async {
        tokio::select! {
            told = demo::tell(&telling) => Some(told),
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    let Some(told) = told else {
        context.out.note("interrupted");
        return ExitCode::Failed;
    };
    match told {
        Ok(summary) if out.is_json => {
            out.json(&json(&summary));
            ExitCode::Fine
        }
        Ok(summary) => {
            show_summary(&summary, &out);
            ExitCode::Fine
        }
        Err(error) => {
            out.error(&error.to_string());
            ExitCode::Failed
        }
    }
}

fn show_scene(scene: &Scene, out: &Output) {
    match scene {
        Scene::Opening {
            from,
            until,
            runs,
            executions,
            announced,
        } => {
            let day = from.to_utc().format("%A %-d %B %Y");
            out.line(&out.paint(Tone::Bold, &format!("A simulated day at Acme: {day}")));
            out.line(&format!(
                "Tardy has read 35 days of history: {runs} runs, {executions} model executions. \
                 All is well, so it has announced {}.",
                if *announced == 0 {
                    "nothing".to_owned()
                } else {
                    format!("{announced} things")
                }
            ));
            let (from, until) = (
                from.to_utc().format("%H:%M"),
                until.to_utc().format("%H:%M"),
            );
            out.line(&format!(
                "It watches from {from} to {until} UTC. What happens is dim; what it tells follows."
            ));
            out.line("");
        }
        Scene::Moment { at, subject, text } => {
            let line = format!("{} UTC  {subject}: {text}", at.to_utc().format("%H:%M"));
            out.line(&out.paint(Tone::Dim, &line));
        }
    }
}

fn show_summary(summary: &Summary, out: &Output) {
    out.line("");
    out.line(&out.paint(Tone::Bold, "The day in short"));
    let rows: Vec<Vec<(Tone, String)>> = summary
        .told
        .iter()
        .map(|record| {
            vec![
                (
                    Tone::Dim,
                    record.decided_at.to_utc().format("%H:%M").to_string(),
                ),
                (Tone::Plain, record.reason.as_str().replace('_', " ")),
                (Tone::Plain, plain(&record.headline)),
            ]
        })
        .collect();
    out.table(&["UTC", "WHY", "TOLD"], &rows);
    out.line("");
    out.line(&format!(
        "{} alerts fired and {} ended, in {} messages; {} still open.",
        summary.fired,
        summary.ended,
        summary.told.len(),
        summary.open
    ));
    for item in &summary.suppressed {
        out.line(&format!(
            "Held back ({}): {}",
            item.reason,
            plain(&item.headline)
        ));
    }
    let [met, late, missed, excused, unknown] = summary.promises;
    out.line(&format!(
        "Promises of the day: {met} met, {late} late, {missed} missed, {excused} excused, {unknown} unknown."
    ));
    out.line("");
    out.line(&out.paint(Tone::Bold, "Next"));
    for line in [
        "tardy rules --explain deadline     what a kind of rule means",
        "tardy sim                          a simulated API to point a configuration at",
        "tardy check                        after writing tardy.toml (config/tardy.toml has every key)",
        "tardy run                          the real thing",
    ] {
        out.line(&format!("  {line}"));
    }
}

fn json(summary: &Summary) -> serde_json::Value {
    let [met, late, missed, excused, unknown] = summary.promises;
    serde_json::json!({
        "told": summary.told,
        "suppressed": summary.suppressed,
        "fired": summary.fired,
        "ended": summary.ended,
        "open": summary.open,
        "polls": summary.polls,
        "promises": {
            "met": met, "late": late, "missed": missed, "excused": excused, "unknown": unknown,
        },
    })
}
