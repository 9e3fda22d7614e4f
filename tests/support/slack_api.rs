//! A fake of Slack's Web API that really keeps a workspace of one bot: messages, threads, edits, metadata and
//! files. It holds every message to the documented limits, wants the bearer token in its header, and answers
//! errors as Slack does: with 200 and `ok: false`.
//!
//! Use: [`SlackApi::start`] serves it at a loopback address ([`SlackApi::url`] is the `api_url` to configure).
//! [`SlackApi::messages`], [`SlackApi::thread`], [`SlackApi::channel`] and [`SlackApi::files`] are what people see;
//! [`SlackApi::delete`], [`SlackApi::revoke`] and [`SlackApi::withdraw`] are what they do; [`SlackApi::script_next`]
//! lets the next call of one method fail; [`SlackApi::calls`] is what was asked, with what was answered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::super::platform;

/// What the next call of a method meets.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// `ok: false` with this error; the call is not acted on.
    Error(&'static str),
    /// A status with `Retry-After` when there is one; not acted on.
    Http(u16, Option<&'static str>, &'static str),
    /// Acted on, and no answer ever comes.
    Silence,
}

/// A call as it came.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// `chat.postMessage`, or `upload` for the bytes of a file.
    pub(crate) method: String,
    /// JSON; a form as an object of texts.
    pub(crate) body: Value,
    /// With which token.
    pub(crate) authorization: String,
    /// The error that was answered; empty for none.
    pub(crate) error: String,
}

/// A file in a channel or a thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) alt: String,
    pub(crate) bytes: Vec<u8>,
    /// The thread it is in; empty before it is published.
    pub(crate) thread_ts: String,
    expected: usize,
}

/// The bot's only channel.
pub(crate) const CHANNEL: &str = "C0DATAOPS";
/// What the bot may do.
const SCOPES: [&str; 3] = ["chat:write", "channels:history", "files:write"];
/// The first message's `ts` is this many seconds after 1970: 2026-03-10 11:05 UTC.
const BEGAN: u64 = 1_773_140_700;

#[derive(Default)]
struct Inside {
    messages: BTreeMap<String, Value>,
    files: BTreeMap<String, File>,
    calls: Vec<Call>,
    script: BTreeMap<String, VecDeque<Option<Answer>>>,
    withdrawn: BTreeSet<&'static str>,
    counter: u64,
    passed: u64,
    is_revoked: bool,
}

/// The workspace; a clone is the same one.
#[derive(Clone)]
pub(crate) struct SlackApi {
    token: &'static str,
    inside: Arc<Mutex<Inside>>,
}

type Answered = Result<Value, Value>;

impl SlackApi {
    /// A workspace that takes this token, without a server.
    pub(crate) fn new(token: &'static str) -> Self {
        let inside = Arc::default();
        Self { token, inside }
    }

    /// A workspace with a server at a free port, which is gone when the runtime is.
    pub(crate) async fn start(token: &'static str) -> (Self, SocketAddr) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let api = Self::new(token);
        let router = Router::new().fallback(serve).with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (api, addr)
    }

    /// What to configure as `api_url`.
    pub(crate) fn url(addr: SocketAddr) -> String {
        format!("http://{addr}/slack/api")
    }

    /// Messages of the channel but for replies, oldest first.
    pub(crate) fn messages(&self) -> Vec<Value> {
        self.select(|message| message["thread_ts"].is_null())
    }

    /// What the channel shows: messages, and replies that were sent there too.
    pub(crate) fn channel(&self) -> Vec<Value> {
        self.select(|message| message["thread_ts"].is_null() || message["reply_broadcast"] == true)
    }

    /// Replies to a message, oldest first.
    pub(crate) fn thread(&self, ts: &Value) -> Vec<Value> {
        self.select(|message| message["thread_ts"] == *ts)
    }

    /// Replies to anything, oldest first.
    pub(crate) fn replies(&self) -> Vec<Value> {
        self.select(|message| message["thread_ts"].is_string())
    }

    fn select(&self, is_wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let inside = self.inside.lock().unwrap();
        let messages = inside.messages.values();
        messages
            .filter(|message| is_wanted(message))
            .cloned()
            .collect()
    }

    /// Files that were published.
    pub(crate) fn files(&self) -> Vec<File> {
        let inside = self.inside.lock().unwrap();
        let files = inside.files.values();
        files
            .filter(|file| !file.thread_ts.is_empty())
            .cloned()
            .collect()
    }

    /// Every call, oldest first.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.inside.lock().unwrap().calls.clone()
    }

    /// The methods that were called, in order.
    pub(crate) fn methods(&self) -> Vec<String> {
        self.calls().into_iter().map(|call| call.method).collect()
    }

    /// Errors that were answered, with their methods.
    pub(crate) fn errors(&self) -> Vec<(String, String)> {
        let calls = self.calls().into_iter();
        calls
            .filter(|call| !call.error.is_empty())
            .map(|call| (call.method, call.error))
            .collect()
    }

    /// People delete every message; replies go with them.
    pub(crate) fn delete(&self) {
        self.inside.lock().unwrap().messages.clear();
    }

    /// The next call of `method` meets this; several wait in line.
    pub(crate) fn script_next(&self, method: &str, answer: Answer) {
        let mut inside = self.inside.lock().unwrap();
        let line = inside.script.entry(method.to_owned()).or_default();
        line.push_back(Some(answer));
    }

    /// As [`SlackApi::script_next`], after `passing` calls that are answered as usual.
    pub(crate) fn script_after(&self, method: &str, passing: usize, answer: Answer) {
        let mut inside = self.inside.lock().unwrap();
        let line = inside.script.entry(method.to_owned()).or_default();
        line.extend(std::iter::repeat_n(None, passing));
        line.push_back(Some(answer));
    }

    /// Minutes pass on Slack's clock, which otherwise goes on by a second with each message.
    pub(crate) fn pass_minutes(&self, minutes: u64) {
        self.inside.lock().unwrap().passed += 60 * minutes;
    }

    /// The token is revoked.
    pub(crate) fn revoke(&self) {
        self.inside.lock().unwrap().is_revoked = true;
    }

    /// The bot loses a scope.
    pub(crate) fn withdraw(&self, scope: &'static str) {
        assert!(SCOPES.contains(&scope), "{scope}");
        self.inside.lock().unwrap().withdrawn.insert(scope);
    }

    /// Somebody else writes in the channel.
    pub(crate) fn somebody_says(&self, text: &str, metadata: &Value) -> String {
        let mut inside = self.inside.lock().unwrap();
        let ts = inside.next_ts();
        let message = json!({ "ts": ts, "text": text, "metadata": metadata, "user": "U0ALICE" });
        inside.messages.insert(ts.clone(), message);
        ts
    }

    /// Answers a request to `/slack/api/<method>` or `/slack/upload/<file>`.
    pub(crate) async fn answer(&self, uri: &Uri, headers: &HeaderMap, bytes: &[u8]) -> Response {
        let name = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
        let is_upload = uri.path().starts_with("/slack/upload/");
        let method = if is_upload { "upload" } else { &name };
        let scripted = {
            let mut inside = self.inside.lock().unwrap();
            let line = inside.script.get_mut(method);
            line.and_then(VecDeque::pop_front).flatten()
        };
        let authorization = header(headers, "authorization");
        let body = body(headers, bytes);
        let answered = match &scripted {
            Some(Answer::Error(error)) => Err(json!({ "ok": false, "error": error })),
            Some(Answer::Http(..)) => Err(json!({ "error": "http" })),
            _ if is_upload => self.upload(&name, &authorization, bytes),
            _ => self.act(method, &authorization, &body, &header(headers, "host")),
        };
        let error = answered.as_ref().err();
        let error = error.map_or(String::new(), |error| {
            error["error"].as_str().unwrap().into()
        });
        self.inside.lock().unwrap().calls.push(Call {
            method: method.to_owned(),
            body,
            authorization,
            error,
        });
        let json = answered.unwrap_or_else(|error| error);
        match scripted {
            Some(Answer::Silence) => std::future::pending().await,
            Some(Answer::Http(status, wait, text)) => http(status, wait, text),
            _ if is_upload => (StatusCode::OK, "OK").into_response(),
            _ => {
                let json_type = [("content-type", "application/json; charset=utf-8")];
                (json_type, json.to_string()).into_response()
            }
        }
    }

    fn act(&self, method: &str, authorization: &str, body: &Value, host: &str) -> Answered {
        let mut inside = self.inside.lock().unwrap();
        if authorization.is_empty() {
            return refuse("not_authed");
        }
        if authorization != format!("Bearer {}", self.token) {
            return refuse("invalid_auth");
        }
        if inside.is_revoked {
            return refuse("token_revoked");
        }
        let needed = match method {
            "conversations.history" | "conversations.replies" => "channels:history",
            "files.getUploadURLExternal" | "files.completeUploadExternal" => "files:write",
            _ => "chat:write",
        };
        if inside.withdrawn.contains(needed) {
            let provided: Vec<&str> = SCOPES
                .into_iter()
                .filter(|scope| *scope != needed)
                .collect();
            return Err(json!({
                "ok": false,
                "error": "missing_scope",
                "needed": needed,
                "provided": provided.join(","),
            }));
        }
        match method {
            "chat.postMessage" => inside.post(body),
            "chat.update" => inside.update(body),
            "conversations.history" => inside.read(body, &Value::Null),
            "conversations.replies" => inside.read(body, &body["ts"]),
            "files.getUploadURLExternal" => inside.new_file(body, host),
            "files.completeUploadExternal" => inside.publish(body),
            _ => refuse("unknown_method"),
        }
    }

    fn upload(&self, id: &str, authorization: &str, bytes: &[u8]) -> Answered {
        let mut inside = self.inside.lock().unwrap();
        assert!(
            authorization.is_empty(),
            "the token went to the upload's address"
        );
        let Some(file) = inside.files.get_mut(id) else {
            return refuse("file_not_found");
        };
        if bytes.len() != file.expected {
            return refuse("wrong_length");
        }
        file.bytes = bytes.to_vec();
        Ok(json!({}))
    }
}

impl Inside {
    fn next_ts(&mut self) -> String {
        self.counter += 1;
        format!("{}.{:06}", BEGAN + self.passed + self.counter, self.counter)
    }

    fn check(body: &Value) -> Result<(), Value> {
        if body["channel"] != CHANNEL {
            return Err(json!({ "ok": false, "error": "channel_not_found" }));
        }
        let mut shown = body.clone();
        if shown["blocks"] == json!([]) {
            shown.as_object_mut().unwrap().remove("blocks");
        }
        let checked = platform::check_slack(&shown)
            .and_then(|()| platform::check_slack_metadata(&body["metadata"]));
        checked.map_err(|why| {
            let error = match why.as_str() {
                "msg_blocks_too_long" | "metadata_too_large" => why.as_str(),
                "text too long" => "msg_too_long",
                "text missing" => "no_text",
                _ => "invalid_blocks",
            };
            let messages = json!({ "messages": [why] });
            json!({ "ok": false, "error": error, "response_metadata": messages })
        })
    }

    fn post(&mut self, body: &Value) -> Answered {
        Self::check(body)?;
        let parent = &body["thread_ts"];
        if let Some(ts) = parent.as_str() {
            let Some(first) = self.messages.get(ts) else {
                return refuse("thread_not_found");
            };
            if first["thread_ts"].is_string() {
                return refuse("cannot_reply_to_message");
            }
        }
        let ts = self.next_ts();
        let mut message = body.clone();
        message["ts"] = json!(ts);
        message["bot_id"] = json!("B0TARDY");
        self.messages.insert(ts.clone(), message.clone());
        Ok(json!({ "ok": true, "channel": CHANNEL, "ts": ts, "message": message }))
    }

    fn update(&mut self, body: &Value) -> Answered {
        Self::check(body)?;
        let ts = body["ts"].as_str().unwrap_or_default();
        let Some(message) = self.messages.get_mut(ts) else {
            return refuse("message_not_found");
        };
        if message["bot_id"] != "B0TARDY" {
            return refuse("cant_update_message");
        }
        for part in ["text", "blocks", "metadata"] {
            message[part] = body[part].clone();
        }
        message["edits"] = json!(message["edits"].as_u64().unwrap_or_default() + 1);
        Ok(json!({ "ok": true, "channel": CHANNEL, "ts": ts, "text": body["text"] }))
    }

    /// The channel's messages, latest first, or those of a thread, oldest first; in pages of at most 200.
    fn read(&self, body: &Value, parent: &Value) -> Answered {
        if body["channel"] != CHANNEL {
            return refuse("channel_not_found");
        }
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        let number = |name: &str| text(name).parse::<f64>().unwrap_or_default();
        let is_in = |message: &&Value| match parent {
            Value::Null => message["thread_ts"].is_null() || message["reply_broadcast"] == true,
            parent => message["thread_ts"] == *parent || message["ts"] == *parent,
        };
        let ts = |message: &Value| message["ts"].as_str().unwrap().parse::<f64>().unwrap();
        let messages = self.messages.values().filter(is_in);
        let mut messages: Vec<&Value> = messages
            .filter(|message| ts(message) > number("oldest") || message["ts"] == *parent)
            .collect();
        if parent.is_null() {
            messages.reverse();
        }
        let skipped: usize = text("cursor").parse().unwrap_or_default();
        let limit = text("limit").parse().unwrap_or(100_usize).clamp(1, 200);
        let mut page: Vec<Value> = messages
            .iter()
            .skip(skipped)
            .take(limit)
            .map(|message| (*message).clone())
            .collect();
        if text("include_all_metadata") != "true" {
            for message in &mut page {
                message["metadata"] = Value::Null;
            }
        }
        let next = skipped + page.len();
        let cursor = if next < messages.len() {
            next.to_string()
        } else {
            String::new()
        };
        Ok(json!({
            "ok": true,
            "messages": page,
            "has_more": !cursor.is_empty(),
            "response_metadata": { "next_cursor": cursor },
        }))
    }

    fn new_file(&mut self, body: &Value, host: &str) -> Answered {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let expected = text("length").parse().unwrap_or_default();
        if text("filename").is_empty() || expected == 0 {
            return refuse("invalid_arguments");
        }
        self.counter += 1;
        let id = format!("F{:08}", self.counter);
        let file = File {
            name: text("filename"),
            alt: text("alt_txt"),
            expected,
            ..File::default()
        };
        self.files.insert(id.clone(), file);
        let upload_url = format!("http://{host}/slack/upload/{id}");
        Ok(json!({ "ok": true, "upload_url": upload_url, "file_id": id }))
    }

    fn publish(&mut self, body: &Value) -> Answered {
        if body["channel_id"] != CHANNEL {
            return refuse("channel_not_found");
        }
        let thread = body["thread_ts"].as_str().unwrap_or_default();
        if !self.messages.contains_key(thread) {
            return refuse("thread_not_found");
        }
        for wanted in body["files"].as_array().unwrap() {
            let file = self.files.get_mut(wanted["id"].as_str().unwrap());
            let Some(file) = file.filter(|file| !file.bytes.is_empty()) else {
                return refuse("file_not_found");
            };
            let title = wanted["title"].as_str();
            title.unwrap_or_default().clone_into(&mut file.title);
            thread.clone_into(&mut file.thread_ts);
        }
        Ok(json!({ "ok": true, "files": body["files"] }))
    }
}

async fn serve(
    State(api): State<SlackApi>,
    uri: Uri,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    api.answer(&uri, &headers, &bytes).await
}

fn refuse(error: &str) -> Answered {
    Err(json!({ "ok": false, "error": error }))
}

fn header(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn body(headers: &HeaderMap, bytes: &[u8]) -> Value {
    if header(headers, "content-type") == "application/x-www-form-urlencoded" {
        let pairs = url::form_urlencoded::parse(bytes);
        return pairs
            .map(|(name, value)| (name.into_owned(), json!(value)))
            .collect::<serde_json::Map<_, _>>()
            .into();
    }
    serde_json::from_slice(bytes).unwrap_or_default()
}

fn http(status: u16, wait: Option<&str>, text: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    let mut answer = (status, text.to_owned()).into_response();
    if let Some(wait) = wait {
        let wait = wait.parse().unwrap();
        answer.headers_mut().insert("retry-after", wait);
    }
    answer
}
