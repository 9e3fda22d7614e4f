//! Questions to the running bot, over a Unix socket beside the store: one JSON line in, one JSON line
//! out. Only the user the bot runs as can open the socket. Questions change nothing; acts are handed to the
//! evaluator, and answered when what came of them is on the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::live::{Event, Shared};
use super::past;
use super::status::Status;
use crate::chat::parse::Command;
use crate::chat::run::{Answer, prepare};
use crate::engine::Engine;
use crate::engine::acting::{Act, ActKind, Acted};
use crate::engine::labels::{Labels, Matcher};
use crate::engine::notification::AlertView;
use crate::engine::observation::Name;
use crate::engine::query::{
    self, AlertRow, DeliveriesAnswer, DeliveryQuestion, PictureAnswer, PictureQuestion, QuietNow,
    SilenceRow, newest_alert, picture, quiet_now,
};
use crate::engine::time::{Span, Timestamp};
use crate::notify::mask;
use crate::store::preview::{self, PastMatches};
use crate::store::{Store, StoreError};

/// What can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The state of the whole program.
    Status,
    /// A question of the chat grammar.
    Command(Command),
    /// Something to be done: by whom, why, and what.
    Act {
        /// Who.
        by: String,
        /// Why, in their words.
        comment: Option<String>,
        /// What.
        what: ActKind,
    },
    /// What a picture of durations shows.
    Picture(PictureQuestion),
    /// What was told to whom.
    Deliveries(DeliveryQuestion),
    /// What keeps alerts with these labels quiet now.
    Quiet(Labels),
    /// Which silences there are.
    Silences,
    /// What a silence with these matchers would keep quiet.
    Preview(Vec<Matcher>),
    /// The newest open alert of a rule.
    Newest(String),
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The state of the whole program.
    Status(Box<Status>),
    /// An answer.
    Answer(Answer),
    /// What came of an act.
    Acted(Box<Acted>),
    /// What a picture of durations shows.
    Picture(Box<PictureAnswer>),
    /// What was told to whom.
    Deliveries(Box<DeliveriesAnswer>),
    /// What keeps alerts with these labels quiet now.
    Quiet(QuietNow),
    /// Which silences there are.
    Silences(SilencesAnswer),
    /// What a silence would keep quiet.
    Preview(Box<SilencePreview>),
    /// The newest open alert of a rule.
    Newest(Option<Box<AlertView>>),
    /// The question could not be read.
    Refused(String),
}

/// Silences, and when they were asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SilencesAnswer {
    /// When.
    pub asked_at: Timestamp,
    /// Those in force first.
    pub rows: Vec<SilenceRow>,
}

impl SilencesAnswer {
    /// As the engine knows them.
    pub fn of(engine: &Engine, now: Timestamp) -> Self {
        Self {
            asked_at: now,
            rows: query::silences(engine, now),
        }
    }
}

/// What a silence would keep quiet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SilencePreview {
    /// Open alerts.
    pub now: Vec<AlertRow>,
    /// Alerts that fired before.
    pub past: PastMatches,
}

/// How far back a preview looks.
const PREVIEW: Span = Span::days(30);

impl SilencePreview {
    /// What fits `matchers`, among what is open and what was recorded.
    pub fn of(
        engine: &Engine,
        store: &dyn Store,
        matchers: &[Matcher],
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let open = query::silence_preview(engine, matchers);
        Self::beside(open, store, matchers, now)
    }

    /// What is open, and what fits `matchers` among what was recorded.
    fn beside(
        open: Vec<AlertRow>,
        store: &dyn Store,
        matchers: &[Matcher],
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            now: open,
            past: preview::past_matches(store, matchers, now - PREVIEW)?,
        })
    }
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

/// Longest wait for an act to be on the disk: shorter than the asker's patience.
const ACT_TIMEOUT: Duration = Duration::from_secs(8);

/// Longest wait for the turn of a question that takes long; what is left of the asker's patience is for the
/// answer.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

const BUSY: &str =
    "another question that takes long is being answered, and one is at a time; ask again";

/// What answers are made from.
#[derive(Clone)]
pub struct Asked {
    /// What the bot knows.
    pub shared: Arc<Shared>,
    /// To the evaluator.
    pub events: mpsc::Sender<Event>,
    /// Of questions that take long, one is answered at a time.
    long: Arc<Semaphore>,
}

impl Asked {
    /// Answers from what is shared, and has the evaluator act.
    pub fn new(shared: &Arc<Shared>, events: &mpsc::Sender<Event>) -> Self {
        Self {
            shared: Arc::clone(shared),
            events: events.clone(),
            long: Arc::new(Semaphore::new(1)),
        }
    }
}

/// On which questions come.
pub type Listener = UnixListener;

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
    asked: Asked,
    cancel: CancellationToken,
) {
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(serve(stream, asked.clone()));
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

async fn serve(stream: UnixStream, asked: Asked) {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(MAX_REQUEST_BYTES));
    let Ok(Ok(_)) = tokio::time::timeout(TIMEOUT, reader.read_line(&mut line)).await else {
        return;
    };
    let response = match serde_json::from_str(&line) {
        Ok(request) => respond(request, &asked).await,
        Err(error) => Response::Refused(error.to_string()),
    };
    let mut text = serde_json::to_string(&response).unwrap_or_default();
    text.push('\n');
    let _ = tokio::time::timeout(TIMEOUT, write.write_all(text.as_bytes())).await;
}

async fn respond(request: Request, asked: &Asked) -> Response {
    let (shared, long) = (&asked.shared, &asked.long);
    match request {
        Request::Status => Response::Status(Box::new(shared.status())),
        Request::Command(command) => {
            let shared = Arc::clone(shared);
            let is_long = command.is_long();
            apart(is_long, long, move || answered(&command, &shared)).await
        }
        Request::Act { by, comment, what } => {
            let comment = comment.as_deref().map(mask::mask);
            let now = shared.clock.now();
            let act = Act::new(&by, now, comment.as_deref(), what);
            match tokio::time::timeout(ACT_TIMEOUT, hand_over(act, asked)).await {
                Ok(Some(mut acted)) => {
                    let store = shared.store();
                    let explain = move || {
                        past::explain(&mut acted, store.as_ref());
                        Response::Acted(Box::new(acted))
                    };
                    apart(false, long, explain).await
                }
                Ok(None) => Response::Refused("the bot is about to stop; try again".into()),
                Err(_) => Response::Refused(
                    "not written to the store within 8 s; it may still be done: look with \
                     `tardy why ALERT`, and at the store with `tardy status`"
                        .into(),
                ),
            }
        }
        Request::Picture(question) => {
            let answer = shared.read(|engine| picture(engine, &question));
            Response::Picture(Box::new(answer))
        }
        Request::Deliveries(question) => {
            let shared = Arc::clone(shared);
            apart(false, long, move || told(&question, &shared)).await
        }
        Request::Silences => {
            let now = shared.clock.now();
            Response::Silences(shared.read(|engine| SilencesAnswer::of(engine, now)))
        }
        Request::Preview(matchers) => {
            let shared = Arc::clone(shared);
            apart(true, long, move || preview_of(&matchers, &shared)).await
        }
        Request::Quiet(labels) => {
            let now = shared.clock.now();
            Response::Quiet(shared.read(|engine| quiet_now(engine, &labels, now)))
        }
        Request::Newest(rule) => {
            let alert = shared.read(|engine| newest_alert(engine, &rule));
            Response::Newest(alert.map(Box::new))
        }
    }
}

/// Answers on a thread of its own: what reads the store, or plays, must keep neither the evaluator nor the
/// deliveries waiting.
async fn apart(
    is_long: bool,
    long: &Arc<Semaphore>,
    make: impl FnOnce() -> Response + Send + 'static,
) -> Response {
    let turn = if is_long {
        let turn = Arc::clone(long).acquire_owned();
        match tokio::time::timeout(TURN_TIMEOUT, turn).await {
            Ok(Ok(turn)) => Some(turn),
            Ok(Err(_)) | Err(_) => return Response::Refused(BUSY.into()),
        }
    } else {
        None
    };
    let task = tokio::task::spawn_blocking(move || {
        // Kept to the end, though the asker may have gone.
        let _turn = turn;
        make()
    });
    match task.await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "a bug: an answer could not be made");
            Response::Refused("a bug of Tardy's keeps this from being answered; see its log".into())
        }
    }
}

/// What is read of the store, and played, is so after the engine was looked at.
fn answered(command: &Command, shared: &Shared) -> Response {
    let now = shared.clock.now();
    let mut answer = shared.read(|engine| prepare(engine, command, now)).answer();
    complete(&mut answer, shared.store().as_ref());
    Response::Answer(answer)
}

fn preview_of(matchers: &[Matcher], shared: &Shared) -> Response {
    let (store, now) = (shared.store(), shared.clock.now());
    let open = shared.read(|engine| query::silence_preview(engine, matchers));
    match SilencePreview::beside(open, store.as_ref(), matchers, now) {
        Ok(preview) => Response::Preview(Box::new(preview)),
        Err(error) => Response::Refused(error.to_string()),
    }
}

fn told(question: &DeliveryQuestion, shared: &Shared) -> Response {
    let receivers = shared.facts().receivers.into_iter();
    let receivers: Vec<Name> = receivers.map(|(name, _)| name).collect();
    let store = shared.store();
    match past::told(question, &receivers, store.as_ref(), shared.clock.now()) {
        Ok(answer) => Response::Deliveries(Box::new(answer)),
        Err(error) => Response::Refused(error.to_string()),
    }
}

/// Fills in what the store has recorded.
pub fn complete(answer: &mut Answer, store: &dyn Store) {
    match answer {
        Answer::Why(why) => past::complete(why, store),
        Answer::WhyNot(why) => past::complete_not(why, store),
        _ => {}
    }
}

/// Has the evaluator do it; `None` when there is none any more.
async fn hand_over(act: Act, asked: &Asked) -> Option<Acted> {
    let (sender, outcome) = oneshot::channel();
    asked.events.send(Event::Act(act, sender)).await.ok()?;
    outcome.await.ok()
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn text(response: Response) -> String {
        match response {
            Response::Refused(why) => why,
            other => format!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn of_questions_that_take_long_one_is_answered_at_a_time() {
        let long = Arc::new(Semaphore::new(1));
        let (begun, begins) = oneshot::channel();
        let (end, ends) = channel::<()>();
        let (own, other) = (Arc::clone(&long), Arc::clone(&long));
        let first = tokio::spawn(async move {
            let make = move || {
                let _ = begun.send(());
                let _ = ends.recv();
                Response::Refused("first".into())
            };
            apart(true, &own, make).await
        });
        begins.await.unwrap();
        assert_eq!(long.available_permits(), 0);
        let second = tokio::spawn(async move {
            apart(true, &other, || Response::Refused("second".into())).await
        });
        let quick = apart(false, &long, || Response::Refused("quick".into())).await;
        assert_eq!(text(quick), "quick");
        assert!(!first.is_finished() && !second.is_finished());
        end.send(()).unwrap();
        assert_eq!(text(first.await.unwrap()), "first");
        assert_eq!(text(second.await.unwrap()), "second");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_in_vain_for_the_turn_is_told_to_ask_again() {
        let long = Arc::new(Semaphore::new(0));
        let refused = apart(true, &long, || Response::Refused("made".into())).await;
        assert_eq!(text(refused), BUSY);
    }
}
