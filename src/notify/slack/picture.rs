//! Charts in the thread of a message.
//!
//! Role: an upload in three steps: ask for an address, send the picture there, publish it in the thread.
//! Guarantees: best effort within its own short time: whatever goes wrong is logged once and neither loses nor
//! holds up the message; the token goes to Slack's API alone, never to the upload's address; a token without
//! `files:write` is not asked again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request};
use secrecy::SecretString;
use serde_json::json;

use super::Posted;
use super::api::{Api, Failure};
use crate::notify::http::{Client, Endpoint};
use crate::notify::limits::slack as limits;
use crate::notify::{BuildContext, Chart, Outcome};

/// For all three steps.
const PATIENCE: Duration = Duration::from_secs(10);

/// Uploads charts, as far as the token allows.
pub(super) struct Pictures {
    receiver: String,
    context: BuildContext,
    is_forbidden: AtomicBool,
}

impl Pictures {
    pub(super) fn new(receiver: &str, context: &BuildContext) -> Self {
        Self {
            receiver: receiver.to_owned(),
            context: context.clone(),
            is_forbidden: AtomicBool::new(false),
        }
    }

    /// As far as is known.
    pub(super) fn are_allowed(&self) -> bool {
        !self.is_forbidden.load(Ordering::Relaxed)
    }

    /// Shows the chart in the thread, or gives up.
    pub(super) async fn add(&self, api: &Api, first: &Posted, chart: &Chart, left: Duration) {
        if !self.are_allowed() || chart.png.len() > limits::CHART_BYTES {
            return;
        }
        let uploading = self.upload(api, first, chart);
        let why = match tokio::time::timeout(PATIENCE.min(left), uploading).await {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => {
                let is_forbidden =
                    matches!(&failure, Failure::Refused(refusal) if refusal.is_about_scope());
                self.is_forbidden.fetch_or(is_forbidden, Ordering::Relaxed);
                failure.why()
            }
            Err(_) => "it took too long".to_owned(),
        };
        tracing::warn!(receiver.name = %self.receiver, "a message went out without its chart: {why}");
    }

    async fn upload(&self, api: &Api, first: &Posted, chart: &Chart) -> Result<(), Failure> {
        let attempt = api.files.attempt();
        let length = chart.png.len().to_string();
        let pairs = [
            ("filename", chart.name.as_str()),
            ("length", &length),
            ("alt_txt", &chart.alt),
        ];
        let answer = api.ask(&api.files, &attempt, "files.getUploadURLExternal", &pairs);
        let answer = answer.await?;
        let (address, file) = (answer["upload_url"].as_str(), answer["file_id"].as_str());
        let (Some(address), Some(file)) = (address, file) else {
            return Err(failed("Slack gave no address to upload to"));
        };
        self.send(address, chart).await?;
        let body = json!({
            "files": [{ "id": file, "title": chart.alt }],
            "channel_id": first.channel,
            "thread_ts": first.ts,
        });
        let published = api.call(&api.files, &attempt, "files.completeUploadExternal", &body);
        published.await.map(|_| ())
    }

    /// Sends the picture to the address that Slack gave, without the token.
    async fn send(&self, address: &str, chart: &Chart) -> Result<(), Failure> {
        let endpoint = Endpoint::new(&SecretString::from(address), &self.receiver, true)
            .map_err(|error| failed(&error.to_string()))?;
        let client =
            Client::new(endpoint, &self.context).map_err(|error| failed(&error.to_string()))?;
        let mut request = Request::new(Method::POST, client.endpoint().url().clone());
        let png = HeaderValue::from_static("image/png");
        request.headers_mut().insert(CONTENT_TYPE, png);
        *request.body_mut() = Some(chart.png.to_vec().into());
        let reply = client
            .attempt()
            .send(request)
            .await
            .map_err(Failure::Failed)?;
        if reply.status.is_success() {
            return Ok(());
        }
        Err(Failure::Failed(reply.outcome("the upload")))
    }
}

fn failed(why: &str) -> Failure {
    Failure::Failed(Outcome::Rejected {
        why: why.to_owned(),
    })
}
