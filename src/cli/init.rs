//! `tardy init`

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use chrono_tz::Tz;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::SecretString;
use serde_json::json;

use super::output::{Tone, plain};
use super::{Context, ExitCode, state};
use crate::app::clock::{Clock as _, SystemClock};
use crate::app::start;
use crate::app::starter::{self, Forecast, Request, SERVICE_FILE, Starter};
use crate::config::{self, SourceConfig};
use crate::engine::labels::Patterns;
use crate::engine::observation::Observation;
use crate::engine::time::{Span, Timestamp};
use crate::source::dagctl::{Dagctl, DagctlSettings, Retry, Timeouts};
use crate::source::{Batch, Source as _};

/// Options of `tardy init`.
#[derive(Debug, Args)]
#[command(after_help = "\
Asks the API what exists, reads its history, and writes tardy.toml and rules/*.toml that fit: limits
from what is usual, deadlines from when runs are done. The rules are played over the history and made
milder until they would have said a bearable number of things, which is printed; that can take a
minute. Nothing is overwritten: files that exist are kept, and a tardy.toml that exists says which API
to ask.

Examples:
  DAGCTL_TOKEN=... tardy init --organization org-1234abcd
  tardy init --organization org-1234abcd --timezone Europe/Berlin --dry-run
  tardy init --dir deploy            with the source of deploy/tardy.toml")]
pub(super) struct InitArgs {
    /// Where to write
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,
    /// The organization, `X-Organization-ID` [env: DAGCTL_ORGANIZATION]
    #[arg(long, value_name = "ID", env = "DAGCTL_ORGANIZATION", hide_env = true)]
    organization: Option<String>,
    /// Address of the API; `https://api.dagctl.io` when left out
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Variable that holds the API token
    #[arg(long, value_name = "NAME", default_value = "DAGCTL_TOKEN")]
    token_env: String,
    /// Name of the source in the configuration
    #[arg(long, value_name = "NAME", default_value = "dagctl")]
    source: String,
    /// Zone of deadlines and of rendered times [default: that of tardy.toml, else UTC]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    timezone: Option<Tz>,
    /// Zone in which the scheduler reads cron expressions
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    schedule_timezone: Tz,
    /// Days of history to learn from
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(14..=365))]
    days: u16,
    /// Print what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

fn zone(text: &str) -> Result<Tz, String> {
    text.parse().map_err(|_| {
        "no time zone is called so; use an IANA name of a place, like Europe/Berlin, or UTC".into()
    })
}

pub(super) fn run(args: &InitArgs, context: &Context) -> ExitCode {
    match make(args, context) {
        Ok(code) | Err(code) => code,
    }
}

fn make(args: &InitArgs, context: &Context) -> Result<ExitCode, ExitCode> {
    let (request, source) = request(args, context)?;
    if !args.dry_run {
        make_folder(&args.dir.join("rules"), context)?;
    }
    let now = SystemClock::default().now();
    let (facts, now) = read_source(&source, now, context)?;
    if context.out.is_error_terminal {
        context
            .out
            .note("playing rules over the history, to see what they would have said");
    }
    let starter = starter::make(&request, &facts, &context.environment, now).map_err(|error| {
        context.out.error(&error.to_string());
        ExitCode::Failed
    })?;
    let kept: Vec<String> = request
        .service
        .iter()
        .chain(&request.kept_rules)
        .map(|(name, _)| name.clone())
        .collect();
    if !args.dry_run {
        for (name, text) in &starter.files {
            write_new(&args.dir.join(name), text, context)?;
        }
    }
    if context.out.is_json {
        context.out.json(&report(&starter, &kept, args.dry_run));
    } else {
        show(&starter, &kept, args, context);
    }
    Ok(ExitCode::Fine)
}

/// What to make, and where to read: from the service file when there is one, else from the arguments.
fn request(args: &InitArgs, context: &Context) -> Result<(Request, SourceConfig), ExitCode> {
    let refuse = |text: &str| {
        context.out.error(text);
        ExitCode::Problems
    };
    let path = args.dir.join(SERVICE_FILE);
    let mut service = None;
    let mut zone = Tz::UTC;
    let source = if path.exists() {
        let loaded = config::load(&path, &context.environment).map_err(|diagnostics| {
            context
                .out
                .note(&diagnostics.render(context.out.is_error_colored));
            refuse(&format!(
                "{} is there and has mistakes: mend it first, or move it away",
                path.display()
            ))
        })?;
        service = Some((SERVICE_FILE.to_owned(), read_text(&path, context)?));
        zone = loaded.config.timezone;
        let first = loaded.config.sources.into_iter().next();
        first.ok_or_else(|| refuse(&format!("{} names no [[source]]", path.display())))?
    } else {
        source_of_arguments(args, context)?
    };
    let backfill = Span::days(args.days.into());
    let request = Request {
        source: source.name.clone(),
        base_url: args.base_url.clone(),
        organization: source.organization.clone(),
        token_variable: args.token_env.clone(),
        zone: args.timezone.unwrap_or(zone),
        schedule_zone: source.schedule_timezone,
        backfill,
        service,
        kept_rules: kept_rules(&args.dir, context)?,
    };
    Ok((request, SourceConfig { backfill, ..source }))
}

fn source_of_arguments(args: &InitArgs, context: &Context) -> Result<SourceConfig, ExitCode> {
    let refuse = |text: String| {
        context.out.error(&text);
        ExitCode::Problems
    };
    let Some(organization) = args.organization.clone() else {
        return Err(refuse(
            "which organization? give --organization org-... (in dagctl: Settings, Organization)"
                .into(),
        ));
    };
    let Some(token) = context.environment.get(&args.token_env) else {
        return Err(refuse(format!(
            "the variable {} is not set: make an API token in dagctl (Settings, Authentication, API Tokens) and \
             set it, or name another variable with --token-env",
            args.token_env
        )));
    };
    let base_url = args.base_url.as_deref().unwrap_or("https://api.dagctl.io");
    let base_url = base_url.parse().map_err(|error| {
        refuse(format!(
            "--base-url {base_url}: {error}; give it like https://api.dagctl.io"
        ))
    })?;
    Ok(SourceConfig {
        name: args.source.as_str().into(),
        base_url,
        organization,
        token: SecretString::from(token.to_owned()),
        projects: Patterns::default(),
        poll_interval: Span::seconds(30),
        backfill: Span::days(args.days.into()),
        schedule_timezone: args.schedule_timezone,
        run_url: None,
        job_names: BTreeMap::new(),
    })
}

fn read_text(path: &Path, context: &Context) -> Result<String, ExitCode> {
    std::fs::read_to_string(path).map_err(|error| {
        context.out.error(&format!("{}: {error}", path.display()));
        ExitCode::Failed
    })
}

/// Rule files that are there already.
fn kept_rules(dir: &Path, context: &Context) -> Result<Vec<(String, String)>, ExitCode> {
    let folder = dir.join("rules");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return Ok(Vec::new());
    };
    let mut kept = Vec::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(name) = name.filter(|_| path.extension().is_some_and(|end| end == "toml")) {
            kept.push((format!("rules/{name}"), read_text(&path, context)?));
        }
    }
    kept.sort();
    Ok(kept)
}

/// Reads everything that the source shows, with a progress bar.
fn read_source(
    source: &SourceConfig,
    now: Timestamp,
    context: &Context,
) -> Result<(Vec<Observation>, Timestamp), ExitCode> {
    let settings = DagctlSettings {
        retry: Retry {
            max_retries: 2,
            ..Retry::default()
        },
        timeouts: Timeouts::default(),
        ..start::settings(source)
    };
    let mut dagctl = Dagctl::resume(settings, BTreeMap::new()).map_err(|error| {
        context
            .out
            .error(&format!("source {}: {error}", source.name));
        ExitCode::Problems
    })?;
    let bar = progress_bar(context);
    let runtime = state::runtime(context)?;
    let mut facts = Vec::new();
    let mut server_now = now;
    for _ in 0..MAX_POLLS {
        let batch = runtime.block_on(dagctl.poll(now));
        if let Some(skew) = batch.skew {
            server_now = now + skew;
        }
        let blinding = batch.problems.iter().find(|p| p.kind.is_blinding());
        if let Some(problem) = blinding {
            bar.finish_and_clear();
            context.out.error(&format!(
                "source {} cannot be read completely: {}",
                source.name,
                plain(&problem.message)
            ));
            return Err(ExitCode::Failed);
        }
        advance(&bar, &batch);
        facts.extend(batch.observations);
        if !batch.has_more {
            bar.finish_and_clear();
            return Ok((facts, server_now));
        }
    }
    bar.finish_and_clear();
    context.out.error(&format!(
        "source {} has more history than can be read at once; give fewer --days",
        source.name
    ));
    Err(ExitCode::Failed)
}

/// Polls of one backfill; each brings many pages.
const MAX_POLLS: usize = 10_000;

fn progress_bar(context: &Context) -> ProgressBar {
    if !context.out.is_error_terminal {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("reading history {bar:30} {pos}/{len} pages") {
        bar.set_style(style);
    }
    bar
}

fn advance(bar: &ProgressBar, batch: &Batch) {
    if let Some(progress) = batch.progress {
        bar.set_length(u64::from(progress.pages_expected));
        bar.set_position(u64::from(progress.pages_read));
    }
}

/// Before anything is read: whoever may not write here need not wait.
fn make_folder(folder: &Path, context: &Context) -> Result<(), ExitCode> {
    let probe = folder.join(".tardy-init");
    let made = std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::File::create(&probe))
        .and_then(|_| std::fs::remove_file(&probe));
    // Only an empty one goes: when nothing can be read, nothing is left behind.
    let _ = std::fs::remove_dir(folder);
    made.map_err(|error| {
        let folder = folder.display();
        context.out.error(&format!(
            "cannot write into {folder}: {error}; name another folder with --dir, or look with --dry-run"
        ));
        ExitCode::Failed
    })
}

/// Writes a file that is not there yet.
fn write_new(path: &Path, text: &str, context: &Context) -> Result<(), ExitCode> {
    let write = || -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = std::fs::File::create_new(path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|error| {
        context
            .out
            .error(&format!("cannot write {}: {error}", path.display()));
        ExitCode::Failed
    })
}

fn report(starter: &Starter, kept: &[String], is_dry: bool) -> serde_json::Value {
    let forecast = &starter.forecast;
    let files: Vec<_> = starter
        .files
        .iter()
        .map(|(name, text)| json!({ "name": name, "text": text }))
        .collect();
    json!({
        "projects": starter.survey.projects,
        "jobs": starter.survey.jobs.len(),
        "runs": starter.survey.runs,
        "models": starter.survey.models.len(),
        "written": !is_dry,
        "files": files,
        "kept": kept,
        "forecast": {
            "from": forecast.from,
            "until": forecast.until,
            "messages": forecast.messages,
            "updates": forecast.updates,
            "alerts_by_rule": forecast.by_rule,
        },
    })
}

fn show(starter: &Starter, kept: &[String], args: &InitArgs, context: &Context) {
    let out = &context.out;
    let survey = &starter.survey;
    out.line(&format!(
        "Found {}, {}, {}, {}.\n",
        counted(survey.projects.len(), "project"),
        counted(survey.jobs.len(), "job"),
        counted(survey.runs, "run"),
        counted(survey.models.len(), "model")
    ));
    for (name, text) in &starter.files {
        if args.dry_run {
            out.line(&out.paint(Tone::Bold, &format!("# --- {name}")));
            out.line(text);
            continue;
        }
        let rules = text.matches("\n[[rule]]\n").count();
        let what = if name == SERVICE_FILE {
            "the source, the store, who is told".to_owned()
        } else {
            counted(rules, "rule")
        };
        let path = path_of(args, name);
        out.line(&format!(
            "{} {}  {}",
            out.paint(Tone::Good, "wrote"),
            path.display(),
            out.paint(Tone::Dim, &what)
        ));
    }
    for name in kept {
        let path = path_of(args, name);
        out.line(&format!(
            "{}  {}  it was there already",
            out.paint(Tone::Dim, "kept"),
            path.display()
        ));
    }
    show_forecast(&starter.forecast, context);
    let left_out = starter.drafts.iter().filter(|d| d.left_out.is_some());
    for draft in left_out {
        out.line(&format!(
            "Left out as a comment: {} in rules/{}.toml",
            draft.name, draft.file
        ));
    }
    if !args.dry_run {
        let given = if args.dir == Path::new(".") {
            String::new()
        } else {
            format!("--config {} ", path_of(args, SERVICE_FILE).display())
        };
        out.line(&format!(
            "\nNext: look through the files, then `tardy {given}check` and `tardy {given}run`."
        ));
    }
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// As people would type it.
fn path_of(args: &InitArgs, name: &str) -> PathBuf {
    let path = args.dir.join(name);
    path.strip_prefix(".").map_or(path.clone(), Path::to_owned)
}

fn show_forecast(forecast: &Forecast, context: &Context) {
    let out = &context.out;
    let days = (forecast.until - forecast.from).num_days().max(1);
    #[allow(clippy::cast_precision_loss)]
    let a_day = forecast.messages as f64 / days as f64;
    out.line(&format!(
        "\nOver the last {} these rules would have sent {} ({a_day:.1} a day), and {} of an end or a \
         change{}",
        counted(usize::try_from(days).unwrap_or_default(), "day"),
        counted(forecast.messages, "message"),
        counted(forecast.updates, "update"),
        if forecast.by_rule.is_empty() { "." } else { ":" }
    ));
    let mut rules: Vec<_> = forecast.by_rule.iter().collect();
    rules.sort_by_key(|(name, jobs)| (std::cmp::Reverse(jobs.values().sum::<usize>()), *name));
    let rows = rules.iter().map(|(name, jobs)| {
        let mut jobs: Vec<_> = jobs.iter().collect();
        jobs.sort_by_key(|(job, count)| (std::cmp::Reverse(**count), *job));
        let total: usize = jobs.iter().map(|(_, count)| **count).sum();
        let list: Vec<String> = jobs
            .iter()
            .take(4)
            .map(|(job, count)| match job.as_str() {
                "" => format!("no single job {count}"),
                job => format!("{} {count}", plain(job)),
            })
            .collect();
        vec![
            (Tone::Plain, plain(name)),
            (Tone::Plain, total.to_string()),
            (Tone::Dim, list.join(", ")),
        ]
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        out.table(&["RULE", "ALERTS", "JOBS"], &rows);
    }
}
