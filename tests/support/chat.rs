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
    pub(crate) body: String,
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
    posted: u64,
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

    fn act(&self, method: &Method, uri: &Uri, body: &str) -> Response {
        let path = uri.path();
        let query = uri.query().unwrap_or_default();
        if path.starts_with("/v2/") {
            let mut inside = self.inside.lock().unwrap();
            let is_revoked = inside.is_revoked;
            let (status, answer) = inside.pagerduty.take(path, body, is_revoked);
            return json_reply(status, &answer);
        }
        if path.starts_with("/workflows/") {
            let mut inside = self.inside.lock().unwrap();
            let is_revoked = inside.is_revoked;
            let (status, answer) = inside.workflow.take(query, body, SECRET, is_revoked);
            return answer.map_or_else(|| reply(status, ""), |answer| json_reply(status, &answer));
        }
        if path.starts_with("/services/") {
            return self.slack(body);
        }
        if path.starts_with("/api/webhooks/") {
            return self.discord(method, path, query, body);
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

    fn discord(&self, method: &Method, path: &str, query: &str, body: &str) -> Response {
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
        let message: Value = serde_json::from_str(body).unwrap_or_default();
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
        let mut kept = message;
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

async fn answer(
    State(chat): State<Chat>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let bytes = body;
    let body = String::from_utf8_lossy(&bytes).into_owned();
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let scripted = {
        let mut inside = chat.inside.lock().unwrap();
        inside.seen.push(Seen {
            method: method.to_string(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect(),
            body: body.clone(),
        });
        inside.script.pop_front()
    };
    let is_slack = uri.path().starts_with("/slack/");
    match scripted {
        None | Some(Scripted::Pass) if is_slack => chat.slack.answer(&uri, &headers, &bytes).await,
        None | Some(Scripted::Pass) => chat.act(&method, &uri, &body),
        Some(Scripted::LostAnswer) => {
            if is_slack {
                chat.slack.answer(&uri, &headers, &bytes).await;
            } else {
                chat.act(&method, &uri, &body);
            }
            reply(504, "gateway timeout")
        }
        Some(Scripted::Silence) => {
            if is_slack {
                chat.slack.answer(&uri, &headers, &bytes).await;
            } else {
                chat.act(&method, &uri, &body);
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
