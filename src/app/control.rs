//! Questions to the running bot, over a Unix socket beside the store: one JSON line in, one JSON line
//! out. Only the user the bot runs as can open the socket. Questions change nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::live::Shared;
use super::status::Status;
use crate::chat::parse::Command;
use crate::chat::run::{Answer, answer};
use crate::engine::query::{PictureAnswer, PictureQuestion, picture};

/// What can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The state of the whole program.
    Status,
    /// A question of the chat grammar.
    Command(Command),
    /// What a picture of durations shows.
    Picture(PictureQuestion),
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The state of the whole program.
    Status(Box<Status>),
    /// An answer.
    Answer(Answer),
    /// What a picture of durations shows.
    Picture(Box<PictureAnswer>),
    /// The question could not be read.
    Refused(String),
}

/// Why the running bot could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("no bot runs here")]
    NotRunning,
    /// Something is there and does not answer.
    #[error("the running bot does not answer on {}: {why}", path.display())]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// The socket cannot be made.
    #[error("cannot listen on {}: {why}; the path must be at most 107 bytes and its folder writable", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
}

/// Longest question, in bytes.
const MAX_REQUEST_BYTES: u64 = 64 * 1024;

/// Longest answer, in bytes.
const MAX_RESPONSE_BYTES: u64 = 16 * 1024 * 1024;

/// Longest wait for a question or an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where the socket of a store is: beside it, `data` -> `data.sock`.
pub fn socket_path(store: &Path) -> PathBuf {
    store.with_added_extension("sock")
}

/// Makes the socket. One left behind by a killed process is replaced: the store's lock, held by now, shows
/// that it is dead. Only its owner can open it.
pub fn bind(path: &Path) -> Result<UnixListener, ControlError> {
    let refuse = |error: std::io::Error| ControlError::Listen {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).map_err(refuse)?;
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(path, owner_only).map_err(refuse)?;
    Ok(listener)
}

/// Answers until cancelled, then takes the socket away.
pub async fn listen(
    listener: UnixListener,
    path: PathBuf,
    shared: Arc<Shared>,
    cancel: CancellationToken,
) {
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(serve(stream, Arc::clone(&shared)));
                }
                Err(error) => {
                    tracing::warn!(%error, "a question could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    let _ = std::fs::remove_file(&path);
}

async fn serve(stream: UnixStream, shared: Arc<Shared>) {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(MAX_REQUEST_BYTES));
    let Ok(Ok(_)) = tokio::time::timeout(TIMEOUT, reader.read_line(&mut line)).await else {
        return;
    };
    let response = match serde_json::from_str(&line) {
        Ok(request) => respond(&request, &shared),
        Err(error) => Response::Refused(error.to_string()),
    };
    let mut text = serde_json::to_string(&response).unwrap_or_default();
    text.push('\n');
    let _ = tokio::time::timeout(TIMEOUT, write.write_all(text.as_bytes())).await;
}

fn respond(request: &Request, shared: &Shared) -> Response {
    match request {
        Request::Status => Response::Status(Box::new(shared.status())),
        Request::Command(command) => {
            let now = shared.clock.now();
            Response::Answer(shared.read(|engine| answer(engine, command, now)))
        }
        Request::Picture(question) => {
            let answer = shared.read(|engine| picture(engine, question));
            Response::Picture(Box::new(answer))
        }
    }
}

/// Asks the running bot.
pub async fn ask(path: &Path, request: &Request) -> Result<Response, ControlError> {
    let stream = UnixStream::connect(path)
        .await
        .map_err(|_| ControlError::NotRunning)?;
    let no_answer = |why: String| ControlError::NoAnswer {
        path: path.to_owned(),
        why,
    };
    let talk = async {
        let (read, mut write) = stream.into_split();
        let mut text = serde_json::to_string(request).map_err(|error| error.to_string())?;
        text.push('\n');
        write
            .write_all(text.as_bytes())
            .await
            .map_err(|error| error.to_string())?;
        let mut line = String::new();
        let mut reader = BufReader::new(read.take(MAX_RESPONSE_BYTES));
        reader
            .read_line(&mut line)
            .await
            .map_err(|error| error.to_string())?;
        serde_json::from_str(&line).map_err(|error| error.to_string())
    };
    match tokio::time::timeout(TIMEOUT, talk).await {
        Ok(answered) => answered.map_err(no_answer),
        Err(_) => Err(no_answer("no answer within 10 s".into())),
    }
}
