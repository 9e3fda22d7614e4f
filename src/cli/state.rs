//! Where answers come from: the running bot, over its socket, or the store itself when none runs. The
//! answers are the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Context, ExitCode};
use crate::app::clock::{Clock as _, SystemClock};
use crate::app::control::{self, ControlError, Request, Response, SilencePreview, SilencesAnswer};
use crate::app::start::{self, Opened};
use crate::app::status::{ReceiverStatus, SourceStatus, Status, StoreStatus, of_engine};
use crate::app::{offline, past};
use crate::chat::parse::Command;
use crate::chat::run::{Answer, answer};
use crate::config::{self, Config, Diagnostics};
use crate::engine::acting::{Act, ActKind, Acted};
use crate::engine::history::History;
use crate::engine::labels::{Labels, Matcher};
use crate::engine::notification::AlertView;
use crate::engine::observation::Name;
use crate::engine::query::{
    self, DeliveriesAnswer, DeliveryQuestion, PictureAnswer, PictureQuestion, QuietNow,
};
use crate::engine::time::Timestamp;
use crate::engine::{Engine, Input, Saved};
use crate::notify::mask;
use crate::store::Store as _;

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
        Asked::Answered(_) => Err(ExitCode::Bug),
        Asked::NotRunning(config) => answer_stopped(&config, command, context),
    }
}

fn answer_stopped(
    config: &Config,
    command: &Command,
    context: &Context,
) -> Result<Answer, ExitCode> {
    let (opened, now) = open_store(config, context)?;
    let engine = engine(config, opened.loaded.history, opened.loaded.saved, now);
    let mut answer = answer(&engine, command, now);
    control::complete(&mut answer, opened.store.as_ref());
    Ok(answer)
}

/// What came of an act, and whether a running bot did it.
pub(super) struct Done {
    pub acted: Acted,
    pub is_bot_running: bool,
}

/// Has something done by the running bot, or in the store when none runs.
pub(super) fn act(
    comment: Option<&str>,
    what: ActKind,
    context: &Context,
) -> Result<Done, ExitCode> {
    let by = caller(context);
    let request = Request::Act {
        by: by.clone(),
        comment: comment.map(str::to_owned),
        what: what.clone(),
    };
    let (acted, is_bot_running) = match ask_running(&request, context)? {
        Asked::Answered(Response::Acted(acted)) => (*acted, true),
        Asked::Answered(Response::Refused(why)) => return Err(failed(context, &why)),
        Asked::Answered(_) => return Err(ExitCode::Bug),
        Asked::NotRunning(config) => {
            let (opened, now) = open_store(&config, context)?;
            let comment = comment.map(mask::mask);
            let act = Act::new(&by, now, comment.as_deref(), what);
            let acted = offline::act(&config.policy, opened, act, now);
            let acted = acted.map_err(|error| failed(context, &error.to_string()))?;
            (acted.ok_or(ExitCode::Bug)?, false)
        }
    };
    Ok(Done {
        acted,
        is_bot_running,
    })
}

/// Who types: the name of the user, else the number.
fn caller(context: &Context) -> String {
    let names = ["USER", "LOGNAME"].into_iter();
    let mut names = names.filter_map(|name| context.environment.get(name));
    let uid = || format!("uid {}", rustix::process::getuid().as_raw());
    names
        .find(|name| !name.is_empty())
        .map_or_else(uid, str::to_owned)
}

/// What a picture of durations shows.
pub(super) fn picture(
    question: &PictureQuestion,
    context: &Context,
) -> Result<PictureAnswer, ExitCode> {
    match ask_running(&Request::Picture(question.clone()), context)? {
        Asked::Answered(Response::Picture(answer)) => Ok(*answer),
        Asked::Answered(Response::Refused(why)) => Err(failed(context, &why)),
        Asked::Answered(_) => Err(ExitCode::Bug),
        Asked::NotRunning(config) => {
            let (opened, now) = open_store(&config, context)?;
            let engine = engine(&config, opened.loaded.history, opened.loaded.saved, now);
            Ok(query::picture(&engine, question))
        }
    }
}

/// Which silences there are.
pub(super) fn silences(context: &Context) -> Result<SilencesAnswer, ExitCode> {
    match ask_running(&Request::Silences, context)? {
        Asked::Answered(Response::Silences(answer)) => Ok(answer),
        Asked::Answered(Response::Refused(why)) => Err(failed(context, &why)),
        Asked::Answered(_) => Err(ExitCode::Bug),
        Asked::NotRunning(config) => {
            let (opened, now) = open_store(&config, context)?;
            let engine = engine(&config, opened.loaded.history, opened.loaded.saved, now);
            Ok(SilencesAnswer::of(&engine, now))
        }
    }
}

/// What a silence with these matchers would keep quiet.
pub(super) fn silence_preview(
    matchers: &[Matcher],
    context: &Context,
) -> Result<SilencePreview, ExitCode> {
    match ask_running(&Request::Preview(matchers.to_vec()), context)? {
        Asked::Answered(Response::Preview(preview)) => Ok(*preview),
        Asked::Answered(Response::Refused(why)) => Err(failed(context, &why)),
        Asked::Answered(_) => Err(ExitCode::Bug),
        Asked::NotRunning(config) => {
            let (opened, now) = open_store(&config, context)?;
            let engine = engine(&config, opened.loaded.history, opened.loaded.saved, now);
            SilencePreview::of(&engine, opened.store.as_ref(), matchers, now)
                .map_err(|error| failed(context, &error.to_string()))
        }
    }
}

/// What was told to whom.
pub(super) fn deliveries(
    question: &DeliveryQuestion,
    context: &Context,
) -> Result<DeliveriesAnswer, ExitCode> {
    match ask_running(&Request::Deliveries(question.clone()), context)? {
        Asked::Answered(Response::Deliveries(answer)) => Ok(*answer),
        Asked::Answered(Response::Refused(why)) => Err(failed(context, &why)),
        Asked::Answered(_) => Err(ExitCode::Bug),
        Asked::NotRunning(config) => {
            let (opened, now) = open_store(&config, context)?;
            let receivers = config.receivers.iter();
            let receivers: Vec<Name> = receivers.map(|known| known.name.clone()).collect();
            past::told(question, &receivers, opened.store.as_ref(), now)
                .map_err(|error| failed(context, &error.to_string()))
        }
    }
}

/// What keeps alerts with these labels quiet now; `None` when there is neither a bot nor a store.
pub(super) fn quiet(labels: &Labels, context: &Context) -> Result<Option<QuietNow>, ExitCode> {
    match ask_running(&Request::Quiet(labels.clone()), context)? {
        Asked::Answered(Response::Quiet(quiet)) => Ok(Some(quiet)),
        Asked::Answered(Response::Refused(why)) => Err(failed(context, &why)),
        Asked::Answered(_) => Err(ExitCode::Bug),
        Asked::NotRunning(config) => {
            let path = start::store_path(&config).map(|(path, _)| path);
            if !path.is_some_and(|path| path.exists()) {
                return Ok(None);
            }
            let (opened, now) = open_store(&config, context)?;
            let engine = engine(&config, opened.loaded.history, opened.loaded.saved, now);
            Ok(Some(query::quiet_now(&engine, labels, now)))
        }
    }
}

/// The newest open alert of a rule. Without a bot and without a store there is none; `Err` says why it cannot be
/// known.
pub(super) fn newest_alert(
    config: &Config,
    rule: &str,
    context: &Context,
) -> Result<Option<AlertView>, String> {
    let Some((path, _)) = start::store_path(config) else {
        return Ok(None);
    };
    let socket = control::socket_path(&path);
    let request = Request::Newest(rule.to_owned());
    let runtime = runtime(context).map_err(|_| "no bot can be asked".to_owned())?;
    match runtime.block_on(control::ask(&socket, &request)) {
        Ok(Response::Newest(alert)) => return Ok(alert.map(|alert| *alert)),
        Ok(Response::Refused(why)) => return Err(why),
        Ok(_) => return Err("the bot gave another answer".to_owned()),
        Err(ControlError::NotRunning) => {}
        Err(error) => return Err(error.to_string()),
    }
    if !path.exists() {
        return Ok(None);
    }
    let now = SystemClock::default().now();
    let loaded = start::open(&path, now)
        .map_err(|error| error.to_string())?
        .loaded;
    let engine = engine(config, loaded.history, loaded.saved, now);
    Ok(query::newest_alert(&engine, rule))
}

/// The state of the whole program.
pub(super) fn status(context: &Context) -> Result<Status, ExitCode> {
    match ask_running(&Request::Status, context)? {
        Asked::Answered(Response::Status(status)) => Ok(*status),
        Asked::Answered(Response::Refused(why)) => Err(failed(context, &why)),
        Asked::Answered(_) => Err(ExitCode::Bug),
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

fn open_store(config: &Config, context: &Context) -> Result<(Opened, Timestamp), ExitCode> {
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
    Ok((opened, now))
}

/// The engine as the bot would start with it; nothing of it is stored.
fn engine(config: &Config, history: History, saved: Saved, now: Timestamp) -> Engine {
    let mut engine = Engine::new(Arc::new(config.policy.clone()), history, saved);
    engine.step(Input::default(), now);
    engine
}

fn stopped_status(config: &Config, context: &Context) -> Result<Status, ExitCode> {
    let (opened, now) = open_store(config, context)?;
    let size = opened.store.size_bytes().unwrap_or(0);
    let loaded = opened.loaded;
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
