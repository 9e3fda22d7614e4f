//! A fake of the HTTP receivers: Slack's and Discord's webhooks, PagerDuty, a Teams workflow and a plain one. The Discord part really
//! keeps messages, holds bodies to the documented limits, and answers edits, deletions and limits as the real
//! one does. Slack's Web API is beside it, at the same address.

#[path = "slack_api.rs"]
pub(crate) mod slack_api;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use self::slack_api::SlackApi;
use super::platform;

#[path = "pagerduty.rs"]
pub(crate) mod pagerduty;
#[path = "teams.rs"]
pub(crate) mod teams;

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: BTreeMap<String, String>,
    /// Of a request with files, its `payload_json`.
    pub(crate) body: String,
    /// Names and contents.
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// What the next request meets instead of the usual behaviour.
#[derive(Clone, Debug)]
pub(crate) enum Scripted {
    /// This answer; the request is not acted on.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The request is acted on, and its answer lost on the way: a gateway says that it timed out.
    #[allow(dead_code, reason = "not every test needs it")]
    LostAnswer,
    /// The request is acted on, and no answer ever comes.
    Silence,
    /// Nothing: the usual behaviour, before what is next.
    Pass,
}

#[derive(Default)]
struct Inside {
    seen: Vec<Seen>,
    script: VecDeque<Scripted>,
    messages: BTreeMap<String, Value>,
    /// Files of a message: id and name.
    files: BTreeMap<String, Vec<(String, String)>>,
    posted: u64,
    uploaded: u64,
    is_revoked: bool,
    pagerduty: pagerduty::Service,
    workflow: teams::Workflow,
}

/// The server; gone when the runtime is.
#[derive(Clone)]
pub(crate) struct Chat {
    pub(crate) addr: SocketAddr,
    /// Slack as bots see it, below `/slack/api`.
    pub(crate) slack: SlackApi,
    inside: Arc<Mutex<Inside>>,
}

pub(crate) const SECRET: &str = "T0tally-Secret_token-0123456789";
const GUILD: &str = "900000000000000001";
const CHANNEL: &str = "800000000000000001";

impl Chat {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_at(addr: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind(addr).await.unwrap();
        let chat = Self {
            addr: listener.local_addr().unwrap(),
            slack: SlackApi::new(SECRET),
            inside: Arc::default(),
        };
        let router = Router::new().fallback(answer).with_state(chat.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        chat
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.inside.lock().unwrap().seen.clone()
    }

    /// Requests that say something: not Discord's question for the server's id.
    pub(crate) fn said(&self) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|seen| seen.method != "GET");
        seen
    }

    pub(crate) fn script(&self, scripted: Scripted) {
        self.inside.lock().unwrap().script.push_back(scripted);
    }

    pub(crate) fn answer_next(&self, status: u16, headers: &[(&'static str, &str)], body: &str) {
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        self.script(Scripted::Answer(status, headers.collect(), body.to_owned()));
    }

    /// Names of the files that the messages of a Discord channel have.
    pub(crate) fn files(&self) -> Vec<String> {
        let inside = self.inside.lock().unwrap();
        let files = inside.files.values().flatten();
        files.map(|(_, name)| name.clone()).collect()
    }

    /// Messages a Discord channel shows, oldest first.
    pub(crate) fn messages(&self) -> Vec<Value> {
        self.inside
            .lock()
            .unwrap()
            .messages
            .values()
            .cloned()
            .collect()
    }

    pub(crate) fn delete_messages(&self) {
        self.inside.lock().unwrap().messages.clear();
    }

    pub(crate) fn revoke(&self) {
        self.inside.lock().unwrap().is_revoked = true;
        self.slack.revoke();
    }

    /// Looks at PagerDuty's service, or acts in it.
    pub(crate) fn in_pagerduty<T>(&self, act: impl FnOnce(&mut pagerduty::Service) -> T) -> T {
        act(&mut self.inside.lock().unwrap().pagerduty)
    }

    /// Looks at the workflow that posts to Teams.
    pub(crate) fn in_teams<T>(&self, act: impl FnOnce(&teams::Workflow) -> T) -> T {
        act(&self.inside.lock().unwrap().workflow)
    }

    fn act(&self, method: &Method, uri: &Uri, seen: &Seen) -> Response {
        let path = uri.path();
        let query = uri.query().unwrap_or_default();
        if path.starts_with("/v2/") {
            let mut inside = self.inside.lock().unwrap();
            let is_revoked = inside.is_revoked;
            let (status, answer) = inside.pagerduty.take(path, &seen.body, is_revoked);
            return json_reply(status, &answer);
        }
        if path.starts_with("/workflows/") {
            let mut inside = self.inside.lock().unwrap();
            let is_revoked = inside.is_revoked;
            let (status, answer) = inside.workflow.take(query, &seen.body, SECRET, is_revoked);
            return answer.map_or_else(|| reply(status, ""), |answer| json_reply(status, &answer));
        }
        if path.starts_with("/services/") {
            return self.slack(&seen.body);
        }
        if path.starts_with("/api/webhooks/") {
            return self.discord(method, path, query, seen);
        }
        (axum::http::StatusCode::OK, "thanks").into_response()
    }

    fn slack(&self, body: &str) -> Response {
        if self.inside.lock().unwrap().is_revoked {
            return reply(404, "no_service");
        }
        match platform::check_slack(&serde_json::from_str(body).unwrap_or_default()) {
            Ok(()) => reply(200, "ok"),
            Err(why) => reply(400, &format!("invalid_blocks {why}")),
        }
    }

    fn discord(&self, method: &Method, path: &str, query: &str, seen: &Seen) -> Response {
        let mut inside = self.inside.lock().unwrap();
        if inside.is_revoked || !path.contains(SECRET) {
            return json_reply(
                404,
                &json!({ "message": "Unknown Webhook", "code": 10_015 }),
            );
        }
        if method == Method::GET {
            return json_reply(200, &json!({ "guild_id": GUILD, "channel_id": CHANNEL }));
        }
        if *method == Method::DELETE {
            let id = path.rsplit('/').next().unwrap_or_default();
            return match inside.messages.remove(id) {
                Some(_) => reply(204, ""),
                None => json_reply(
                    404,
                    &json!({ "message": "Unknown Message", "code": 10_008 }),
                ),
            };
        }
        let message = seen.json();
        if let Err(why) = platform::check_discord(&message) {
            let error = json!({ "message": "Invalid Form Body", "code": 50_035, "errors": why });
            return json_reply(400, &error);
        }
        let id = match path.rsplit_once("/messages/") {
            Some((_, id)) if inside.messages.contains_key(id) => id.to_owned(),
            Some(_) => {
                return json_reply(
                    404,
                    &json!({ "message": "Unknown Message", "code": 10_008 }),
                );
            }
            None => {
                inside.posted += 1;
                format!("{}", 700_000_000_000_000_000 + inside.posted)
            }
        };
        let Some(mut kept) = inside.with_files(message, &id, seen) else {
            let error =
                json!({ "message": "Invalid Form Body", "code": 50_035, "errors": "attachments" });
            return json_reply(400, &error);
        };
        kept["id"] = json!(id);
        kept["channel_id"] = json!(CHANNEL);
        inside.messages.insert(id, kept.clone());
        if path.contains("/messages/") || query.contains("wait=true") {
            json_reply(200, &kept)
        } else {
            reply(204, "")
        }
    }
}

impl Inside {
    /// The message as people see it: an edit keeps the files that are listed, or all when none are; one that an
    /// embed shows has an address and is not listed. `None`: a file that is listed is not there.
    fn with_files(&mut self, mut message: Value, id: &str, seen: &Seen) -> Option<Value> {
        let old = self.files.remove(id).unwrap_or_default();
        let mut files = Vec::new();
        match message["attachments"].as_array() {
            None => files = old,
            Some(listed) => {
                for file in listed {
                    let file_id = file["id"].as_str()?;
                    let number = file_id.parse::<usize>().ok()?;
                    if let Some((name, _)) = seen.files.get(number) {
                        self.uploaded += 1;
                        let new = format!("{}", 600_000_000_000_000_000 + self.uploaded);
                        files.push((new, name.clone()));
                    } else {
                        files.push(old.iter().find(|(old, _)| old == file_id)?.clone());
                    }
                }
            }
        }
        let mut shown = Vec::new();
        for embed in message["embeds"].as_array_mut().into_iter().flatten() {
            let Some(name) = embed["image"]["url"].as_str() else {
                embed.as_object_mut()?.remove("image");
                continue;
            };
            let name = name.strip_prefix("attachment://")?.to_owned();
            let (file_id, _) = files.iter().find(|(_, file)| *file == name)?;
            let url =
                format!("https://cdn.discordapp.com/attachments/{CHANNEL}/{file_id}/{name}?ex=1");
            embed["image"]["url"] = json!(url);
            shown.push(file_id.clone());
        }
        let listed = files.iter().filter(|(file_id, _)| !shown.contains(file_id));
        let listed = listed.map(|(file_id, name)| json!({ "id": file_id, "filename": name }));
        message["attachments"] = listed.collect();
        self.files.insert(id.to_owned(), files);
        Some(message)
    }
}

/// Parts of a form: their headers and contents.
fn parts(headers: &HeaderMap, body: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let kind = headers.get("content-type")?.to_str().ok()?;
    let boundary = kind.strip_prefix("multipart/form-data; boundary=")?;
    let find = |text: &[u8], what: &[u8]| text.windows(what.len()).position(|at| at == what);
    let delimiter = format!("--{boundary}");
    let mut rest = body.strip_prefix(delimiter.as_bytes())?;
    let mut parts = Vec::new();
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let head = find(part, b"\r\n\r\n")?;
        let content = &part[head + 4..];
        let end = find(content, format!("\r\n{delimiter}").as_bytes())?;
        let name = String::from_utf8(part[..head].to_vec()).ok()?;
        parts.push((name, content[..end].to_vec()));
        rest = &content[end + 2 + delimiter.len()..];
    }
    (rest == b"--\r\n").then_some(parts)
}

/// What was said, and the files that came with it.
fn read(headers: &HeaderMap, body: &[u8]) -> (String, Vec<(String, Vec<u8>)>) {
    let Some(parts) = parts(headers, body) else {
        return (String::from_utf8_lossy(body).into_owned(), Vec::new());
    };
    let mut said = String::new();
    let mut files = Vec::new();
    for (head, content) in parts {
        if head.contains("name=\"payload_json\"") {
            said = String::from_utf8(content).unwrap();
        } else {
            let number = format!("name=\"files[{}]\"; filename=\"", files.len());
            let (_, name) = head.split_once(&number).expect("files are numbered");
            files.push((name.split('"').next().unwrap().to_owned(), content));
        }
    }
    (said, files)
}

async fn answer(
    State(chat): State<Chat>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let bytes = body.clone();
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let (body, files) = read(&headers, &body);
    let seen = Seen {
        method: method.to_string(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        body,
        files,
    };
    let scripted = {
        let mut inside = chat.inside.lock().unwrap();
        inside.seen.push(seen.clone());
        inside.script.pop_front()
    };
    let is_slack = uri.path().starts_with("/slack/");
    match scripted {
        None | Some(Scripted::Pass) if is_slack => chat.slack.answer(&uri, &headers, &bytes).await,
        None | Some(Scripted::Pass) => chat.act(&method, &uri, &seen),
        Some(Scripted::LostAnswer) => {
            if is_slack {
                chat.slack.answer(&uri, &headers, &bytes).await;
            } else {
                chat.act(&method, &uri, &seen);
            }
            reply(504, "gateway timeout")
        }
        Some(Scripted::Silence) => {
            if is_slack {
                chat.slack.answer(&uri, &headers, &bytes).await;
            } else {
                chat.act(&method, &uri, &seen);
            }
            std::future::pending().await
        }
        Some(Scripted::Answer(status, headers, body)) => {
            let mut answer = reply(status, &body);
            for (name, value) in headers {
                answer.headers_mut().insert(name, value.parse().unwrap());
            }
            answer
        }
    }
}

fn reply(status: u16, body: &str) -> Response {
    let status = axum::http::StatusCode::from_u16(status).unwrap();
    (status, body.to_owned()).into_response()
}

fn json_reply(status: u16, body: &Value) -> Response {
    let mut answer = reply(status, &body.to_string());
    let json = "application/json".parse().unwrap();
    answer.headers_mut().insert("content-type", json);
    answer
}
