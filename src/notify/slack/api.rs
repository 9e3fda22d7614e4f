//! Slack's Web API: one call, and what its answer means.
//!
//! Role: [`Api`] holds the token and sends it nowhere else than to the configured address. Guarantees: an answer
//! `ok: false` is an error like any other; each error that stays says what to do; no error text holds the token.
//! It does not decide what a missing message means for a conversation.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::super::http::{self, Attempt, Client, Endpoint, Reply};
use super::super::limits::slack as limits;
use super::super::{BuildContext, BuildError, Outcome, Slack};
use crate::engine::time::Span;

/// The Web API with one bot's token.
pub(super) struct Api {
    authorization: HeaderValue,
    /// For messages. Each group of methods has its own client, so that a limit on one does not hold up another.
    pub(super) messages: Client,
    /// For looking messages up.
    pub(super) look_ups: Client,
    /// For files.
    pub(super) files: Client,
}

/// Why a call came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// Slack understood and refused.
    Refused(Refusal),
    /// Anything else: the outcome of the attempt.
    Failed(Outcome),
}

/// An answer `ok: false`.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Slack's word for it, fit to show.
    pub(super) error: String,
    /// Scopes that the method needs.
    needed: Option<String>,
}

impl Api {
    pub(super) fn new(
        receiver: &str,
        slack: &Slack,
        context: &BuildContext,
    ) -> Result<Self, BuildError> {
        let address = SecretString::from(slack.api_url.as_str());
        let token = SecretString::from(slack.token.expose_secret().trim());
        let client = |bytes| {
            let endpoint = Endpoint::new(&address, receiver, true)?.hiding(&token);
            Ok::<_, BuildError>(Client::new(endpoint, context)?.reading(bytes))
        };
        Ok(Self {
            authorization: authorization(&token).map_err(|why| BuildError::Token {
                receiver: receiver.to_owned(),
                why,
            })?,
            messages: client(limits::ANSWER_BYTES)?,
            look_ups: client(limits::LOOK_UP_BYTES)?,
            files: client(limits::ANSWER_BYTES)?,
        })
    }

    /// A call with a JSON body, for methods that write.
    pub(super) async fn call(
        &self,
        client: &Client,
        attempt: &Attempt<'_>,
        method: &str,
        body: &Value,
    ) -> Result<Value, Failure> {
        let body = body.to_string().into_bytes();
        let request = http::json(Method::POST, url(client, method), body);
        self.send(client, attempt, request).await
    }

    /// A call with a form, for methods that take no JSON.
    pub(super) async fn ask(
        &self,
        client: &Client,
        attempt: &Attempt<'_>,
        method: &str,
        pairs: &[(&str, &str)],
    ) -> Result<Value, Failure> {
        let mut request = Request::new(Method::POST, url(client, method));
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, form);
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        *request.body_mut() = Some(body.into());
        self.send(client, attempt, request).await
    }

    async fn send(
        &self,
        client: &Client,
        attempt: &Attempt<'_>,
        mut request: Request,
    ) -> Result<Value, Failure> {
        request
            .headers_mut()
            .insert(AUTHORIZATION, self.authorization.clone());
        let reply = attempt.send(request).await.map_err(Failure::Failed)?;
        read(client.endpoint(), &reply)
    }
}

/// The method's address below that of the API.
fn url(client: &Client, method: &str) -> Url {
    let mut url = client.endpoint().url().clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push(method);
    }
    url
}

fn authorization(token: &SecretString) -> Result<HeaderValue, &'static str> {
    let token = token.expose_secret();
    if token.is_empty() {
        return Err("it is empty");
    }
    if token.starts_with("xapp-") {
        return Err("it is an app-level token; use the bot token, which begins with xoxb-");
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| "it holds characters that no token has; copy it again")?;
    header.set_sensitive(true);
    Ok(header)
}

fn read(endpoint: &Endpoint, reply: &Reply) -> Result<Value, Failure> {
    let json = reply.json();
    let error = json["error"].as_str();
    let is_answer = reply.status.is_success() || reply.status.is_client_error();
    match (json["ok"].as_bool(), error) {
        (Some(true), _) if reply.status.is_success() => Ok(json),
        (Some(false), Some(error)) if is_answer => {
            let text = |value: &Value| value.as_str().map(|text| endpoint.scrub(text));
            Err(passing(reply, error).map_or_else(
                || {
                    Failure::Refused(Refusal {
                        error: endpoint.scrub(error),
                        needed: text(&json["needed"]),
                    })
                },
                Failure::Failed,
            ))
        }
        _ if !reply.status.is_success() => Err(Failure::Failed(
            reply.outcome(&endpoint.scrub(&reply.text())),
        )),
        _ if !reply.is_whole => Err(Failure::Failed(Outcome::Retry {
            after: None,
            why: "the connection broke while Slack answered".to_owned(),
            is_uncertain: true,
        })),
        _ => Err(Failure::Failed(Outcome::Rejected {
            why: "the receiver did not answer as Slack does; is its api_url right?".to_owned(),
        })),
    }
}

/// Errors that pass by themselves.
fn passing(reply: &Reply, error: &str) -> Option<Outcome> {
    let (seconds, is_uncertain) = match error {
        // Slack warns that some of it may have been done.
        "fatal_error" | "internal_error" | "request_timeout" => (None, true),
        "service_unavailable" | "team_added_to_org" | "external_channel_migrating" => (None, false),
        "ratelimited" | "rate_limited" => {
            let wait = reply.header("retry-after");
            (
                Some(wait.and_then(|wait| wait.parse().ok()).unwrap_or(30)),
                false,
            )
        }
        _ => return None,
    };
    Some(Outcome::Retry {
        after: seconds.map(|seconds: u32| Span::seconds(seconds.into())),
        why: format!("Slack cannot do it now ({error})"),
        is_uncertain,
    })
}

impl Refusal {
    #[cfg(test)]
    pub(super) fn of(error: &str) -> Self {
        Self {
            error: error.to_owned(),
            needed: None,
        }
    }

    /// The message is not there, or not ours to edit or answer.
    pub(super) fn is_about_place(&self) -> bool {
        matches!(
            self.error.as_str(),
            "message_not_found"
                | "cant_update_message"
                | "thread_not_found"
                | "cannot_reply_to_message"
                | "parent_is_ephemeral"
                | "restricted_action_non_threadable_channel"
                | "restricted_action_thread_locked"
        )
    }

    /// It may be said in the thread, and not in the channel.
    pub(super) fn is_about_broadcasts(&self) -> bool {
        self.error.contains("broadcast")
    }

    /// A smaller or plainer one may be taken.
    pub(super) fn is_about_content(&self) -> bool {
        let words = [
            "invalid_blocks",
            "too_long",
            "too_many",
            "no_text",
            "invalid_arg",
            "metadata",
        ];
        words.iter().any(|word| self.error.contains(word))
    }

    /// The token has no permission, and will have none until it is installed anew.
    pub(super) fn is_about_scope(&self) -> bool {
        matches!(
            self.error.as_str(),
            "missing_scope"
                | "not_allowed_token_type"
                | "no_permission"
                | "method_not_supported_for_channel_type"
        )
    }

    /// In words, with the remedy.
    pub(super) fn why(&self) -> String {
        let error = &self.error;
        if let ("missing_scope", Some(needed)) = (error.as_str(), &self.needed) {
            return format!(
                "Slack refused it ({error}): the bot lacks the scope {needed}; add it under OAuth & \
                 Permissions and install the app again"
            );
        }
        let remedy =
            remedy(error).unwrap_or("this does not pass by itself; see Slack's documentation");
        format!("Slack refused it ({error}): {remedy}")
    }
}

impl Failure {
    /// In words.
    pub(super) fn why(self) -> String {
        match self.into() {
            Outcome::Retry { why, .. } | Outcome::Rejected { why } => why,
            Outcome::Delivered { .. } => String::new(),
        }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Failed(outcome) => outcome,
            Failure::Refused(refusal) => Self::Rejected { why: refusal.why() },
        }
    }
}

/// What to do about a refusal that stays.
fn remedy(error: &str) -> Option<&'static str> {
    Some(match error {
        "invalid_auth" | "not_authed" | "token_expired" | "invalid_token" => {
            "the bot token is wrong or has expired; copy the one of the installed app again and configure it"
        }
        "account_inactive" | "token_revoked" | "org_login_required" => {
            "the bot token was revoked or its workspace is gone; install the app again and configure its new token"
        }
        "missing_scope" => {
            "the bot lacks a scope; it needs chat:write: add it under OAuth & Permissions and install the app again"
        }
        "not_allowed_token_type" => "this is not a bot token; use the one that begins with xoxb-",
        "channel_not_found" => {
            "no such channel, or a private one that the bot is not in; check `channel` (an id such as C0123ABCD) \
             and invite the bot there with /invite @<its name>"
        }
        "not_in_channel" => "invite the bot into the channel with /invite @<its name>",
        "is_archived" => "its channel is archived; unarchive it or configure another `channel`",
        "restricted_action"
        | "restricted_action_read_only_channel"
        | "restricted_action_thread_only_channel" => {
            "an administrator restricts posting there; ask for permission or configure another `channel`"
        }
        "no_permission"
        | "access_denied"
        | "ekm_access_denied"
        | "team_access_not_granted"
        | "enterprise_is_restricted"
        | "accesslimited" => "the workspace does not let the bot post there; ask an administrator",
        "message_limit_exceeded" => {
            "the workspace may post no more messages this month; ask an administrator"
        }
        "msg_too_long"
        | "msg_blocks_too_long"
        | "invalid_blocks"
        | "invalid_blocks_format"
        | "no_text"
        | "invalid_arguments"
        | "too_many_attachments" => {
            "Slack does not take its form; please report this as a bug of Tardy"
        }
        "method_deprecated" | "deprecated_endpoint" | "unknown_method" => {
            "Slack does not know the method; check api_url, or use a newer version of Tardy"
        }
        _ => return None,
    })
}
