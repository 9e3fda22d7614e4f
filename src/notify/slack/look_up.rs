//! Whether a message is there already.
//!
//! Role: after an attempt of which nobody knows whether it arrived, the delivery's id is looked for in the
//! metadata of the channel's or the thread's latest messages. Guarantees: bounded in pages and time; a token that
//! may not read is not asked again. When nothing can be found out, the answer is "not there": a message said twice
//! is better than one not said.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::Posted;
use super::api::{Api, Failure};
use super::payload::{EVENT, Part};
use crate::engine::time::{Span, Timestamp};
use crate::notify::limits::slack as limits;

/// For all pages together.
const PATIENCE: Duration = Duration::from_secs(10);

/// Slack's clock may be behind ours.
const SKEW: Span = Span::minutes(5);

/// Looks messages up, as far as the token allows.
#[derive(Debug)]
pub(super) struct LookUp {
    receiver: String,
    is_forbidden: AtomicBool,
}

impl LookUp {
    pub(super) fn new(receiver: &str) -> Self {
        Self {
            receiver: receiver.to_owned(),
            is_forbidden: AtomicBool::new(false),
        }
    }

    /// The `ts` of the message that this delivery has posted in the channel.
    pub(super) async fn message(
        &self,
        api: &Api,
        channel: &str,
        from: Timestamp,
        delivery_id: &str,
        left: Duration,
    ) -> Option<String> {
        let pairs = [("channel", channel)];
        let found = self.find(
            api,
            "conversations.history",
            &pairs,
            from,
            left,
            |message| {
                let payload = payload(message, delivery_id)?;
                let is_reply =
                    message["thread_ts"].is_string() && message["thread_ts"] != message["ts"];
                let ts = message["ts"].as_str().filter(|ts| super::is_ts(ts))?;
                (payload["part"].is_null() && !is_reply).then(|| ts.to_owned())
            },
        );
        found.await.into_iter().next()
    }

    /// The replies of this delivery in the thread.
    pub(super) async fn replies(
        &self,
        api: &Api,
        first: &Posted,
        from: Timestamp,
        delivery_id: &str,
        left: Duration,
    ) -> BTreeSet<Part> {
        let pairs = [("channel", first.channel.as_str()), ("ts", &first.ts)];
        let found = self.find(
            api,
            "conversations.replies",
            &pairs,
            from,
            left,
            |message| payload(message, delivery_id)?["part"].as_u64(),
        );
        found.await.into_iter().collect()
    }

    /// What `wanted` makes of the messages since `from`.
    async fn find<T>(
        &self,
        api: &Api,
        method: &str,
        place: &[(&str, &str)],
        from: Timestamp,
        left: Duration,
        wanted: impl Fn(&Value) -> Option<T>,
    ) -> Vec<T> {
        if self.is_forbidden.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut found = Vec::new();
        let looking = async {
            let mut cursor = String::new();
            for _ in 0..limits::LOOK_UP_PAGES {
                let page = page(api, method, place, from, &cursor).await?;
                let messages = page["messages"].as_array();
                found.extend(messages.into_iter().flatten().filter_map(&wanted));
                let next = page["response_metadata"]["next_cursor"].as_str();
                next.unwrap_or_default().clone_into(&mut cursor);
                if cursor.is_empty() {
                    break;
                }
            }
            Ok(())
        };
        let why = match tokio::time::timeout(PATIENCE.min(left), looking).await {
            Ok(Ok(())) => return found,
            Ok(Err(failure)) => self.forbidden(&failure).unwrap_or_else(|| failure.why()),
            Err(_) => "it took too long".to_owned(),
        };
        tracing::warn!(
            receiver.name = %self.receiver,
            "a message that may have arrived cannot be looked up, and may be said twice: {why}"
        );
        found
    }

    /// The token may not read: it is not asked again.
    fn forbidden(&self, failure: &Failure) -> Option<String> {
        let Failure::Refused(refusal) = failure else {
            return None;
        };
        let is_forbidden = refusal.is_about_scope();
        self.is_forbidden.fetch_or(is_forbidden, Ordering::Relaxed);
        is_forbidden.then(|| {
            format!(
                "Slack refused it ({}); the scope channels:history, or groups:history for a private channel, \
                 allows it",
                refusal.error
            )
        })
    }
}

/// One page of messages with their metadata.
async fn page(
    api: &Api,
    method: &str,
    place: &[(&str, &str)],
    from: Timestamp,
    cursor: &str,
) -> Result<Value, Failure> {
    let oldest = (from - SKEW).as_millis().div_euclid(1_000).to_string();
    let limit = limits::LOOK_UP_PAGE.to_string();
    let mut pairs = place.to_vec();
    pairs.extend([
        ("oldest", oldest.as_str()),
        ("limit", &limit),
        ("include_all_metadata", "true"),
    ]);
    if !cursor.is_empty() {
        pairs.push(("cursor", cursor));
    }
    let attempt = api.look_ups.attempt();
    api.ask(&api.look_ups, &attempt, method, &pairs).await
}

/// Our metadata, when it is that of this delivery.
fn payload<'a>(message: &'a Value, delivery_id: &str) -> Option<&'a Value> {
    let metadata = &message["metadata"];
    let payload = &metadata["event_payload"];
    let is_ours = metadata["event_type"] == EVENT && payload["delivery_id"] == delivery_id;
    is_ours.then_some(payload)
}
