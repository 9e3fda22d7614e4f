//! `tardy run`

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::output::Output;
use super::{Context, ExitCode, state};
use crate::app::clock::SystemClock;
use crate::app::control::{self, ControlError, Request};
use crate::app::start::{self, Bot, Failure, StartError, Surfaces};
use crate::config::Config;
use crate::engine::observation::Name;
use crate::source::Batch;
use crate::store::StoreError;

/// Options of `tardy run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Signals: SIGTERM and SIGINT stop it (deliveries under way come to an end), SIGHUP reads the
configuration and rules again (a bad file leaves the old ones in force and says so).
The log goes to standard error; TARDY_LOG sets its filter, like tardy=debug.

Examples:
  tardy run
  tardy --config /etc/tardy/tardy.toml run --log json")]
pub(super) struct RunArgs {
    /// Form of the log
    #[arg(long, value_enum, default_value_t = LogForm::Text, value_name = "FORM")]
    log: LogForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogForm {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Sets up the log on standard error.
fn set_up_log(form: LogForm, context: &Context) {
    let level = match context.global.verbose {
        0 => "tardy=info,warn",
        1 => "tardy=debug,warn",
        // Not the libraries below: they may log addresses, which are secrets of webhooks.
        _ => "tardy=trace,info",
    };
    let filter = match context.environment.get("TARDY_LOG") {
        Some(text) => EnvFilter::builder().parse_lossy(text),
        None => EnvFilter::builder().parse_lossy(level),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(context.out.is_error_colored);
    // A second initialisation happens only in tests; the first one stays.
    let _ = match form {
        LogForm::Text => builder.try_init(),
        LogForm::Json => builder.json().flatten_event(true).try_init(),
    };
}

pub(super) fn run(args: &RunArgs, context: &Context) -> ExitCode {
    let config = match state::load_config(context) {
        Ok(config) => config,
        Err(code) => return code,
    };
    set_up_log(args.log, context);
    let runtime = match state::runtime(context) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    runtime.block_on(async {
        let surfaces = Surfaces {
            console: Output::console(),
            is_colored: context.out.is_colored,
            progress: Arc::new(progress(context.out)),
        };
        let clock = Arc::new(SystemClock::default());
        let rules = config.policy.rules.len();
        let is_unbuilt = !config.not_built.is_empty();
        let signals = match Signals::receive() {
            Ok(signals) => signals,
            Err(error) => {
                context
                    .out
                    .error(&format!("signals cannot be received: {error}"));
                return ExitCode::Failed;
            }
        };
        let bot = match start(&config, context, &clock, &surfaces).await {
            Ok(bot) => bot,
            Err(error) => {
                context.out.error(&error.to_string());
                return if is_unbuilt {
                    ExitCode::Problems
                } else {
                    ExitCode::Failed
                };
            }
        };
        tracing::info!(
            config.rules = rules,
            "tardy {} is watching",
            env!("CARGO_PKG_VERSION")
        );
        serve(bot, signals, context).await
    })
}

/// How long a start waits for a command that looks into the store.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// Starts the bot. A question that was answered from the store has it locked for a moment: then it is
/// waited for. Another bot, which answers, is not.
async fn start(
    config: &Config,
    context: &Context,
    clock: &Arc<SystemClock>,
    surfaces: &Surfaces,
) -> Result<Bot, StartError> {
    let socket = start::store_path(config).map(|(path, _)| control::socket_path(&path));
    let begun = Instant::now();
    loop {
        let clock = Arc::clone(clock);
        let started = Bot::start(
            config.clone(),
            context.environment.clone(),
            clock,
            surfaces.clone(),
        );
        match (&started, &socket) {
            (Err(StartError::Store(StoreError::Locked { .. })), Some(socket))
                if begun.elapsed() < LOCK_PATIENCE
                    && matches!(
                        control::ask(socket, &Request::Status).await,
                        Err(ControlError::NotRunning)
                    ) =>
            {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            _ => return started,
        }
    }
}

/// Signals that the bot understands. Received before it starts, so that none kills it half way.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn receive() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Runs until a signal says stop, or the bot cannot go on.
async fn serve(mut bot: Bot, mut signals: Signals, context: &Context) -> ExitCode {
    let failure = loop {
        tokio::select! {
            _ = signals.terminate.recv() => break None,
            _ = signals.interrupt.recv() => break None,
            _ = signals.hangup.recv() => bot.reload(),
            failure = bot.failure() => break Some(failure),
        }
    };
    if let Some(failure) = &failure {
        tracing::error!("{failure}");
        context.out.error(&failure.to_string());
    }
    tracing::info!("stopping: deliveries under way come to an end");
    bot.stop().await;
    tracing::info!("stopped");
    match failure {
        None => ExitCode::Fine,
        Some(Failure::Store(_)) => ExitCode::Failed,
        Some(Failure::Ended(_) | Failure::Panicked(_)) => ExitCode::Bug,
    }
}

/// A bar for the first backfill, on a terminal only.
fn progress(out: Output) -> impl Fn(&Name, &Batch) + Send + Sync {
    let bar: Mutex<Option<ProgressBar>> = Mutex::new(None);
    move |name, batch| {
        let mut bar = bar
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match batch.progress.filter(|_| batch.has_more) {
            Some(progress) if out.is_error_terminal => {
                let bar = bar.get_or_insert_with(|| new_bar(name));
                bar.set_length(u64::from(progress.pages_expected));
                bar.set_position(u64::from(progress.pages_read));
            }
            _ => {
                if let Some(bar) = bar.take() {
                    bar.finish_and_clear();
                }
            }
        }
    }
}

fn new_bar(name: &Name) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style =
        ProgressStyle::with_template("reading {msg} {wide_bar} {pos}/{len} pages, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(name.to_string());
    bar
}
