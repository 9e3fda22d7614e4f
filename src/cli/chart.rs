//! `tardy chart`: how long the runs of a job or model took, drawn.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::output::plain;
use super::state;
use super::{Context, ExitCode};
use crate::app::picture::duration_chart;
use crate::chart::{self, DurationChart, Size, Theme};
use crate::engine::query::{PictureAnswer, PictureQuestion};

/// Options of `tardy chart`.
#[derive(Debug, Args)]
#[command(after_help = "\
Runs are compared with what was usual for the 20 like runs before them; while an alert about a regression is
open, with what was usual before it. The limit is that of a rule of kind run_duration, queue_time or
model_duration with a fixed `max`.

Examples:
  tardy chart nightly -o nightly.png               the last 42 runs of a job
  tardy chart 'finance nightly' -o nightly.svg     of the one in this project
  tardy chart staging.orders -o orders.png         a model
  tardy chart K7Q2MX -o slower.png --theme dark    what an alert is about
  tardy chart nightly --size phone > nightly.svg
  tardy chart nightly --last 200 --json            the figures")]
pub(super) struct ChartArgs {
    /// A job, a model or the id of an open alert (* is any text)
    #[arg(value_name = "JOB|MODEL|ALERT")]
    subject: String,
    /// Where to write it: a name that ends in .svg or .png
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// On what it is shown
    #[arg(long, value_enum, default_value_t = ThemeName::Light, value_name = "THEME")]
    theme: ThemeName,
    /// Where it is looked at
    #[arg(long, value_enum, default_value_t = SizeName::Wide, value_name = "SIZE")]
    size: SizeName,
    /// So many of the newest runs
    #[arg(long, value_name = "N", default_value_t = 42, value_parser = clap::value_parser!(u16).range(1..=500))]
    last: u16,
}

/// A theme, as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ThemeName {
    /// On white.
    Light,
    /// On nearly black.
    Dark,
}

/// A size, as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SizeName {
    /// 800 x 320, as PNG twice as many pixels.
    Wide,
    /// 360 x 320, as PNG three times as many pixels.
    Phone,
}

/// What a file's name asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Svg,
    Png,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_lowercase();
        match extension.as_str() {
            "svg" => Some(Self::Svg),
            "png" => Some(Self::Png),
            _ => None,
        }
    }
}

pub(super) fn run(args: &ChartArgs, context: &Context) -> ExitCode {
    if let Some(why) = mistake(args, context) {
        context.out.error(&why);
        return ExitCode::Problems;
    }
    let question = PictureQuestion {
        subject: args.subject.clone(),
        last: usize::from(args.last),
    };
    let picture = match state::picture(&question, context) {
        Ok(PictureAnswer::Picture(picture)) => picture,
        Ok(PictureAnswer::Unknown(why)) => {
            context.out.error(&plain(&why));
            return ExitCode::Problems;
        }
        Err(code) => return code,
    };
    let chart = duration_chart(&picture);
    if let Some(path) = &args.output
        && let Err(why) = write(path, &chart, args)
    {
        context.out.error(&why);
        return ExitCode::Failed;
    }
    match &args.output {
        _ if context.out.is_json => context.out.json(&picture),
        Some(path) => {
            let what = plain(&chart::describe(&chart));
            context
                .out
                .line(&format!("wrote {}: {what}", path.display()));
        }
        None => context.out.text(&draw(&chart, args)),
    }
    ExitCode::Fine
}

/// What is wrong with the arguments.
fn mistake(args: &ChartArgs, context: &Context) -> Option<String> {
    match &args.output {
        Some(path) if Format::of(path).is_none() => Some(format!(
            "{}: a chart is written as SVG or PNG; end the name in .svg or .png",
            path.display()
        )),
        None if !context.out.is_json && std::io::stdout().is_terminal() => Some(
            "a terminal shows no pictures: name a file with -o chart.png, or take the figures with --json"
                .to_owned(),
        ),
        Some(_) | None => None,
    }
}

fn look(args: &ChartArgs) -> (Theme, Size) {
    let theme = match args.theme {
        ThemeName::Light => Theme::Light,
        ThemeName::Dark => Theme::Dark,
    };
    let size = match args.size {
        SizeName::Wide => Size::Wide,
        SizeName::Phone => Size::Phone,
    };
    (theme, size)
}

fn draw(chart: &DurationChart, args: &ChartArgs) -> String {
    let (theme, size) = look(args);
    chart::svg(chart, theme, size)
}

fn write(path: &Path, chart: &DurationChart, args: &ChartArgs) -> Result<(), String> {
    let (theme, size) = look(args);
    let bytes = match Format::of(path) {
        Some(Format::Png) => chart::png(chart, theme, size).map_err(|error| error.to_string())?,
        Some(Format::Svg) | None => draw(chart, args).into_bytes(),
    };
    std::fs::write(path, bytes)
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))
}
