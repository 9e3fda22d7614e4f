//! Where answers come from: the running bot, over its socket, or the store itself when none runs. The
//! answers are the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Context, ExitCode};
use crate::app::clock::{Clock as _, SystemClock};
use crate::app::control::{self, ControlError, Request, Response};
use crate::app::start;
use crate::app::status::{ReceiverStatus, SourceStatus, Status, StoreStatus, of_engine};
use crate::chat::parse::Command;
use crate::chat::run::{Answer, answer};
use crate::config::{self, Config, Diagnostics};
use crate::engine::history::History;
use crate::engine::query::{self, PictureAnswer, PictureQuestion};
use crate::engine::time::Timestamp;
use crate::engine::{Engine, Input, Saved};
use crate::store::Store as _;
use crate::store::records::Loaded;

/// What is asked.
pub(super) enum Question {
    /// A question of the chat grammar.
    Command(Command),
}

/// The configuration file: the one named, or the first that is there.
pub(super) fn config_path(context: &Context) -> Result<PathBuf, ExitCode> {
    if let Some(path) = &context.global.config {
        return Ok(path.clone());
    }
    config::find(Path::new(".")).ok_or_else(|| {
        context.out.error(
            "no configuration: neither tardy.toml nor config/tardy.toml is here; \
             name one with --config FILE, or see how it works with `tardy demo`",
        );
        ExitCode::Problems
    })
}

/// The checked configuration. Mistakes are printed.
pub(super) fn load_config(context: &Context) -> Result<Config, ExitCode> {
    let path = config_path(context)?;
    match config::load(&path, &context.environment) {
        Ok(loaded) => Ok(loaded.config),
        Err(diagnostics) => Err(refuse_config(&path, &diagnostics, context)),
    }
}

fn refuse_config(path: &Path, diagnostics: &Diagnostics, context: &Context) -> ExitCode {
    context
        .out
        .note(&diagnostics.render(context.out.is_error_colored));
    context
        .out
        .error(&format!("{}: {}", path.display(), diagnostics.summary()));
    ExitCode::Problems
}

/// A runtime for commands that talk to somebody.
pub(super) fn runtime(context: &Context) -> Result<tokio::runtime::Runtime, ExitCode> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            context.out.error(&format!(
                "the asynchronous runtime cannot be started: {error}"
            ));
            ExitCode::Failed
        })
}

/// Asks a question of the running bot, or of the store.
pub(super) fn ask(question: &Question, context: &Context) -> Result<Answer, ExitCode> {
    let Question::Command(command) = question;
    match ask_running(&Request::Command(command.clone()), context)? {
        Asked::Answered(Response::Answer(answer)) => Ok(answer),
        Asked::Answered(Response::Refused(why)) => Err(failed(context, &why)),
        Asked::Answered(Response::Status(_) | Response::Picture(_)) => Err(ExitCode::Bug),
        Asked::NotRunning(config) => {
            let (engine, now) = open_engine(&config, context)?;
            Ok(answer(&engine, command, now))
        }
    }
}

/// What a picture of durations shows.
pub(super) fn picture(
    question: &PictureQuestion,
    context: &Context,
) -> Result<PictureAnswer, ExitCode> {
    match ask_running(&Request::Picture(question.clone()), context)? {
        Asked::Answered(Response::Picture(answer)) => Ok(*answer),
        Asked::Answered(Response::Refused(why)) => Err(failed(context, &why)),
        Asked::Answered(Response::Status(_) | Response::Answer(_)) => Err(ExitCode::Bug),
        Asked::NotRunning(config) => {
            let (engine, _) = open_engine(&config, context)?;
            Ok(query::picture(&engine, question))
        }
    }
}

/// The state of the whole program.
pub(super) fn status(context: &Context) -> Result<Status, ExitCode> {
    match ask_running(&Request::Status, context)? {
        Asked::Answered(Response::Status(status)) => Ok(*status),
        Asked::Answered(Response::Refused(why)) => Err(failed(context, &why)),
        Asked::Answered(Response::Answer(_) | Response::Picture(_)) => Err(ExitCode::Bug),
        Asked::NotRunning(config) => stopped_status(&config, context),
    }
}

fn failed(context: &Context, why: &str) -> ExitCode {
    context.out.error(why);
    ExitCode::Failed
}

/// What came of asking the running bot.
enum Asked {
    Answered(Response),
    NotRunning(Box<Config>),
}

/// Asks the running bot. It is found, and answers, also when the configuration has mistakes by now or its
/// secrets are not set here: only without a bot are those in the way.
fn ask_running(request: &Request, context: &Context) -> Result<Asked, ExitCode> {
    let path = config_path(context)?;
    let loaded = config::load(&path, &context.environment);
    let store = match &loaded {
        Ok(loaded) => start::store_path(&loaded.config).map(|(store, _)| store),
        Err(_) => Some(likely_store_path(&path, context)),
    };
    if let Some(store) = store {
        let socket = control::socket_path(&store);
        match runtime(context)?.block_on(control::ask(&socket, request)) {
            Ok(response) => return Ok(Asked::Answered(response)),
            Err(ControlError::NotRunning) => {}
            Err(error) => return Err(failed(context, &error.to_string())),
        }
    }
    match loaded {
        Ok(loaded) => Ok(Asked::NotRunning(Box::new(loaded.config))),
        Err(diagnostics) => Err(refuse_config(&path, &diagnostics, context)),
    }
}

/// Where the store is according to a configuration that has mistakes, as far as can be told.
fn likely_store_path(path: &Path, context: &Context) -> PathBuf {
    let written = || {
        let file: toml::Table = std::fs::read_to_string(path).ok()?.parse().ok()?;
        Some(file.get("store")?.get("path")?.as_str()?.to_owned())
    };
    let laid_over = context
        .environment
        .get("TARDY_STORE__PATH")
        .map(str::to_owned);
    let store = laid_over
        .or_else(written)
        .unwrap_or_else(|| "data".to_owned());
    path.parent().unwrap_or(Path::new("")).join(store)
}

fn load_store(config: &Config, context: &Context) -> Result<(Loaded, u64, Timestamp), ExitCode> {
    let now = SystemClock::default().now();
    let Some((path, _)) = start::store_path(config) else {
        return Err(failed(
            context,
            "[store] kind \"postgres\" is not built yet",
        ));
    };
    if !path.exists() {
        let path = path.display();
        let why = format!("there is no store at {path} yet: start the bot once with `tardy run`");
        return Err(failed(context, &why));
    }
    let opened = start::open(&path, now).map_err(|error| failed(context, &error.to_string()))?;
    let size = opened.store.size_bytes().unwrap_or(0);
    Ok((opened.loaded, size, now))
}

fn open_engine(config: &Config, context: &Context) -> Result<(Engine, Timestamp), ExitCode> {
    let (loaded, _, now) = load_store(config, context)?;
    Ok((engine(config, loaded.history, loaded.saved, now), now))
}

/// The engine as the bot would start with it; nothing of it is stored.
fn engine(config: &Config, history: History, saved: Saved, now: Timestamp) -> Engine {
    let mut engine = Engine::new(Arc::new(config.policy.clone()), history, saved);
    engine.step(Input::default(), now);
    engine
}

fn stopped_status(config: &Config, context: &Context) -> Result<Status, ExitCode> {
    let (loaded, size, now) = load_store(config, context)?;
    let (path, _) = start::store_path(config).unwrap_or_default();
    let outbox = loaded.outbox;
    let waiting = |name: &str| {
        outbox
            .iter()
            .filter(|row| &*row.notification.receiver == name)
            .count()
    };
    let receivers = config.receivers.iter().map(|receiver| ReceiverStatus {
        name: receiver.name.to_string(),
        kind: receiver.kind.name().to_owned(),
        waiting: waiting(&receiver.name),
        ..ReceiverStatus::default()
    });
    let sources = config.sources.iter().map(|source| SourceStatus {
        name: source.name.to_string(),
        poll_interval_millis: source.poll_interval.num_milliseconds(),
        ..SourceStatus::default()
    });
    let mut status = Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: None,
        started_at: None,
        now,
        skew_millis: 0,
        config: config.path.display().to_string(),
        config_refused: None,
        sources: sources.collect(),
        receivers: receivers.collect(),
        store: StoreStatus {
            path: path.display().to_string(),
            size_bytes: Some(size),
            blocked: None,
        },
        rules: 0,
        watches: 0,
        firing: 0,
        pending: 0,
        runs: 0,
        executions: 0,
    };
    let engine = engine(config, loaded.history, loaded.saved, now);
    of_engine(&mut status, &engine);
    Ok(status)
}
