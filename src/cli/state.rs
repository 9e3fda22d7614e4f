//! Where answers come from: the running bot, over its socket, or the store itself when none runs. The
//! answers are the same.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Context, ExitCode};
use crate::app::clock::{Clock as _, SystemClock};
use crate::app::control::{self, ControlError, Request, Response};
use crate::app::start;
use crate::app::status::{ReceiverStatus, SourceStatus, Status, StoreStatus, of_engine};
use crate::chat::parse::Command;
use crate::chat::run::{Answer, answer};
use crate::config::{self, Config};
use crate::engine::history::History;
use crate::engine::{Engine, Input, Saved};
use crate::engine::time::Timestamp;
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
    config::find(std::path::Path::new(".")).ok_or_else(|| {
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
        Err(diagnostics) => {
            context
                .out
                .note(&diagnostics.render(context.out.is_error_colored));
            context
                .out
                .error(&format!("{}: {}", path.display(), diagnostics.summary()));
            Err(ExitCode::Problems)
        }
    }
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
    let config = load_config(context)?;
    if let Some(response) = ask_running(&Request::Command(command.clone()), &config, context)? {
        return match response {
            Response::Answer(answer) => Ok(answer),
            Response::Refused(why) => Err(failed(context, &why)),
            Response::Status(_) => Err(ExitCode::Bug),
        };
    }
    let (engine, now) = open_engine(&config, context)?;
    Ok(answer(&engine, command, now))
}

/// The state of the whole program.
pub(super) fn status(context: &Context) -> Result<Status, ExitCode> {
    let config = load_config(context)?;
    match ask_running(&Request::Status, &config, context)? {
        Some(Response::Status(status)) => Ok(*status),
        Some(Response::Refused(why)) => Err(failed(context, &why)),
        Some(Response::Answer(_)) => Err(ExitCode::Bug),
        None => stopped_status(&config, context),
    }
}

fn failed(context: &Context, why: &str) -> ExitCode {
    context.out.error(why);
    ExitCode::Failed
}

fn ask_running(
    request: &Request,
    config: &Config,
    context: &Context,
) -> Result<Option<Response>, ExitCode> {
    let Some((store, _)) = start::store_path(config) else {
        return Ok(None);
    };
    let socket = control::socket_path(&store);
    let asked = runtime(context)?.block_on(control::ask(&socket, request));
    match asked {
        Ok(response) => Ok(Some(response)),
        Err(ControlError::NotRunning) => Ok(None),
        Err(error) => Err(failed(context, &error.to_string())),
    }
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
