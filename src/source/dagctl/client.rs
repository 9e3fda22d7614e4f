//! HTTP to dagctl: one authenticated GET at a time, with bounds on everything.
//!
//! Guarantees: only GET is ever sent; redirects are not followed, so the token reaches the configured
//! host alone; connecting, answering and waiting have limits; a body is read up to [`MAX_BODY_BYTES`]
//! of decompressed bytes; errors carry neither the address nor the token. Passing failures are tried
//! again a few times within a [`Budget`] that the whole poll shares.
//!
//! It does not know what the bodies mean.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use chrono::DateTime;
use reqwest::header::{ACCEPT, AUTHORIZATION, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::names::clean;
use super::{DagctlSettings, Retry, SettingsError};
use crate::engine::time::Timestamp;
use crate::source::ProblemKind;

/// Largest body read, after decompression.
pub const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of an error's body that are read.
const MAX_ERROR_BODY_BYTES: usize = 64 * 1024;
/// Longest text quoted from an error's body, in characters.
const MAX_DETAIL_CHARS: usize = 500;
/// Longest wait between two tries that is our own choice.
const MAX_BACKOFF: Duration = Duration::from_secs(20);

/// Installs the one TLS provider of the process. May be called any number of times.
pub fn install_crypto() {
    // An error means that one is installed already, which is all that is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Why a GET brought nothing usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchError {
    /// 401.
    #[error(
        "{place}: dagctl refused the token (401){detail}; create a new one under Settings > Authentication > API Tokens"
    )]
    Unauthorized { place: String, detail: Detail },
    /// 403.
    #[error(
        "{place}: the token may not read this (403){detail}; check `organization` and the token's organization"
    )]
    Forbidden { place: String, detail: Detail },
    /// 404 or 405.
    #[error(
        "{place}: not served ({status}){detail}; check `base_url`, `organization` and the project"
    )]
    Absent {
        place: String,
        status: u16,
        detail: Detail,
    },
    /// 429.
    #[error("{place}: too many requests (429){detail}; {}; raise `poll_interval` if this keeps happening", wait_text(*.retry_after))]
    RateLimited {
        place: String,
        retry_after: Option<Duration>,
        detail: Detail,
    },
    /// 5xx.
    #[error("{place}: dagctl failed ({status}){detail}; it is tried again at the next poll")]
    Server {
        place: String,
        status: u16,
        retry_after: Option<Duration>,
        detail: Detail,
    },
    /// Any other status: a redirect, a refused parameter.
    #[error(
        "{place}: unexpected answer ({status}){detail}; check `base_url`, redirects are not followed"
    )]
    Unexpected {
        place: String,
        status: u16,
        detail: Detail,
    },
    /// No answer in time.
    #[error("{place}: no complete answer in time; it is tried again at the next poll")]
    Timeout { place: String },
    /// No connection.
    #[error(
        "{place}: no connection{detail}; check the network, the name and the certificate of `base_url`"
    )]
    Connection { place: String, detail: Detail },
    /// The connection ended inside the body.
    #[error("{place}: the answer was cut short{detail}; it is tried again at the next poll")]
    CutShort { place: String, detail: Detail },
    /// Longer than the bound.
    #[error("{place}: the answer is longer than {} MiB and was not read", MAX_BODY_BYTES / 1024 / 1024)]
    TooLarge { place: String },
    /// Read, but not the JSON it should be.
    #[error("{place}: {detail}; check that `base_url` is a dagctl API")]
    BadBody { place: String, detail: String },
    /// Every reading of a list caught it changing.
    #[error("{place}: the list kept changing while it was read; it is read again at the next poll")]
    Unsettled { place: String },
}

impl FetchError {
    /// The kind, for problems.
    pub(super) fn kind(&self) -> ProblemKind {
        match self {
            Self::Unauthorized { .. } => ProblemKind::Unauthorized,
            Self::Forbidden { .. } => ProblemKind::Forbidden,
            Self::Absent { .. } => ProblemKind::NotFound,
            Self::RateLimited { .. } => ProblemKind::RateLimited,
            Self::Server { .. } | Self::Unexpected { .. } => ProblemKind::ServerError,
            Self::Timeout { .. } => ProblemKind::Timeout,
            Self::Connection { .. } => ProblemKind::Connection,
            Self::CutShort { .. }
            | Self::TooLarge { .. }
            | Self::BadBody { .. }
            | Self::Unsettled { .. } => ProblemKind::BadBody,
        }
    }

    /// The same request may succeed when sent again.
    pub(super) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Server { .. }
                | Self::Timeout { .. }
                | Self::Connection { .. }
                | Self::CutShort { .. }
        )
    }

    /// The server is there and does not know the path.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }

    /// What the server asked to be waited.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Server { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }
}

fn wait_text(wait: Option<Duration>) -> String {
    wait.map_or_else(
        || "it did not say how long to wait".to_owned(),
        |wait| format!("it asked to wait {} s", wait.as_secs()),
    )
}

/// Words of the other side, written after ": " when there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Detail(String);

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(f, ": {}", self.0)
        }
    }
}

/// What a poll may still spend on failed tries and waiting. Shared by its requests.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<AtomicI64>);

impl Budget {
    /// A fresh one.
    pub(super) fn new(total: Duration) -> Self {
        Self(Arc::new(AtomicI64::new(millis(total))))
    }

    /// Takes `wait` if it is there.
    fn take(&self, wait: Duration) -> bool {
        let wait = millis(wait);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                (left > 0 && wait <= left).then_some(left - wait)
            })
            .is_ok()
    }

    /// Takes time that has already passed.
    fn spend(&self, spent: Duration) {
        self.0.fetch_sub(millis(spent), Ordering::Relaxed);
    }
}

fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// The body as UTF-8; invalid bytes are replaced.
    pub(super) body: String,
    /// The server's clock, to the second.
    pub(super) date: Option<Timestamp>,
    /// Halfway between sending the request and the first byte of its answer.
    pub(super) midpoint: Instant,
}

/// What to GET: segments below `/api/v1`, and a query.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    segments: Vec<String>,
    query: Vec<(&'static str, String)>,
}

impl Target {
    /// A path.
    pub(super) fn new(segments: &[&str]) -> Self {
        Self {
            segments: segments.iter().map(|&s| s.to_owned()).collect(),
            query: Vec::new(),
        }
    }

    /// Adds a parameter.
    #[must_use]
    #[allow(clippy::needless_pass_by_value)] // literals and copies
    pub(super) fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// For messages: the path, and the page when there is one.
    pub(super) fn place(&self) -> String {
        let mut place = format!("GET /{}", self.segments.join("/"));
        if let Some((_, page)) = self.query.iter().find(|(name, _)| *name == "page") {
            let _ = write!(place, " page {page}"); // writing to a String cannot fail
        }
        clean(&place, 160, false).into_owned()
    }
}

/// The authenticated API. Cloning shares its connections.
#[derive(Clone)]
pub(super) struct Api {
    http: reqwest::Client,
    base_url: Url,
    token: SecretString,
    retry: Retry,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("host", &self.base_url.host_str())
            .finish_non_exhaustive()
    }
}

impl Api {
    /// From checked settings.
    pub(super) fn new(settings: &DagctlSettings) -> Result<Self, SettingsError> {
        settings.check()?;
        install_crypto();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("tardy/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(settings)?)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(settings.timeouts.connect)
            .timeout(settings.timeouts.total);
        if super::is_loopback(&settings.base_url) {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| SettingsError::Http(causes(&error)))?;
        Ok(Self {
            http,
            base_url: settings.base_url.clone(),
            token: settings.token.clone(),
            retry: settings.retry,
        })
    }

    /// GETs `target`, trying again what may pass.
    pub(super) async fn get(&self, target: &Target, budget: &Budget) -> Result<Answer, FetchError> {
        let mut delays = ExponentialBuilder::new()
            .with_min_delay(self.retry.base_delay)
            .with_max_delay(MAX_BACKOFF)
            .with_max_times(self.retry.max_retries)
            .with_jitter()
            .build();
        loop {
            let begun = Instant::now();
            let error = match self.attempt(target).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            budget.spend(begun.elapsed());
            if !error.is_passing() {
                return Err(error);
            }
            let Some(delay) = delays.next() else {
                return Err(error);
            };
            let wait = error.retry_after().unwrap_or(delay);
            if !budget.take(wait) {
                return Err(error);
            }
            tracing::debug!(%error, wait_ms = millis(wait), "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, target: &Target) -> Result<Answer, FetchError> {
        let place = || target.place();
        let begun = Instant::now();
        let response = self
            .http
            .get(self.url(target))
            .send()
            .await
            .map_err(|error| self.transport_error(place(), error))?;
        let midpoint = begun + begun.elapsed() / 2;
        let date = header_date(response.headers());
        if response.status() != StatusCode::OK {
            return Err(self.refusal(place(), date, response).await);
        }
        let body = match read_body(response, MAX_BODY_BYTES).await {
            Ok(Body {
                is_whole: false, ..
            }) => return Err(FetchError::TooLarge { place: place() }),
            Ok(body) => text(body.bytes),
            Err(error) if error.is_timeout() => return Err(FetchError::Timeout { place: place() }),
            Err(error) => {
                let detail = self.detail(&causes(&error.without_url()));
                return Err(FetchError::CutShort {
                    place: place(),
                    detail,
                });
            }
        };
        Ok(Answer {
            body,
            date,
            midpoint,
        })
    }

    fn url(&self, target: &Target) -> Url {
        let mut url = self.base_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty();
            path.extend(["api", "v1"]).extend(&target.segments);
        }
        if !target.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&target.query);
        }
        url
    }

    fn transport_error(&self, place: String, error: reqwest::Error) -> FetchError {
        if error.is_timeout() {
            return FetchError::Timeout { place };
        }
        let detail = self.detail(&causes(&error.without_url()));
        FetchError::Connection { place, detail }
    }

    async fn refusal(
        &self,
        place: String,
        date: Option<Timestamp>,
        response: Response,
    ) -> FetchError {
        let status = response.status();
        let retry_after = retry_after(response.headers(), date);
        let body = read_body(response, MAX_ERROR_BODY_BYTES)
            .await
            .map(|body| text(body.bytes));
        let detail = self.detail(&error_words(&body.unwrap_or_default()));
        let code = status.as_u16();
        match code {
            401 => FetchError::Unauthorized { place, detail },
            403 => FetchError::Forbidden { place, detail },
            404 | 405 => FetchError::Absent {
                place,
                status: code,
                detail,
            },
            429 => FetchError::RateLimited {
                place,
                retry_after,
                detail,
            },
            500..=599 => FetchError::Server {
                place,
                status: code,
                retry_after,
                detail,
            },
            _ => FetchError::Unexpected {
                place,
                status: code,
                detail,
            },
        }
    }

    /// Cut, cleaned, and without the token even if the other side repeats it.
    fn detail(&self, words: &str) -> Detail {
        let token = self.token.expose_secret();
        // A token of a few letters is none, and replacing it would spoil every word it is in.
        let masked = (token.len() >= 4).then(|| words.replace(token, "[token]"));
        let words = masked.as_deref().unwrap_or(words);
        Detail(clean(words.trim(), MAX_DETAIL_CHARS, false).into_owned())
    }
}

/// Both headers of every request; the token is marked so that nothing prints it.
fn headers(settings: &DagctlSettings) -> Result<HeaderMap, SettingsError> {
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", settings.token.expose_secret()))
        .map_err(|_| SettingsError::Token)?;
    bearer.set_sensitive(true);
    let organization =
        HeaderValue::from_str(&settings.organization).map_err(|_| SettingsError::Organization)?;
    Ok(HeaderMap::from_iter([
        (AUTHORIZATION, bearer),
        (
            reqwest::header::HeaderName::from_static("x-organization-id"),
            organization,
        ),
        (ACCEPT, HeaderValue::from_static("application/json")),
    ]))
}

struct Body {
    bytes: Vec<u8>,
    is_whole: bool,
}

async fn read_body(mut response: Response, max_bytes: usize) -> Result<Body, reqwest::Error> {
    let announced = response
        .content_length()
        .and_then(|length| usize::try_from(length).ok());
    if announced.is_some_and(|length| length > max_bytes) {
        return Ok(Body {
            bytes: Vec::new(),
            is_whole: false,
        });
    }
    let mut bytes = Vec::with_capacity(announced.unwrap_or(0));
    while let Some(chunk) = response.chunk().await? {
        let room = max_bytes - bytes.len();
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok(Body {
                bytes,
                is_whole: false,
            });
        }
    }
    Ok(Body {
        bytes,
        is_whole: true,
    })
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// `message`, else `error` (a text, or an object with a `message`), else the body as it is.
fn error_words(body: &str) -> String {
    let Ok(json) = serde_json::from_str::<serde_json::Value>(body) else {
        return body.to_owned();
    };
    [&json["message"], &json["error"], &json["error"]["message"]]
        .iter()
        .find_map(|value| value.as_str())
        .map_or_else(
            || {
                if json["error"].is_null() {
                    body.to_owned()
                } else {
                    json["error"].to_string()
                }
            },
            str::to_owned,
        )
}

/// An error and its causes in one line, each said once.
fn causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !line.contains(&words) {
            line = format!("{line}: {words}");
        }
        source = cause.source();
    }
    line
}

fn header_date(headers: &HeaderMap) -> Option<Timestamp> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

fn http_date(text: &str) -> Option<Timestamp> {
    let at = DateTime::parse_from_rfc2822(text).ok()?;
    Some(Timestamp::from_millis(at.timestamp_millis()))
}

/// Seconds, or an instant against the server's own clock.
fn retry_after(headers: &HeaderMap, date: Option<Timestamp>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    http_date(text)?.since(date?).to_std().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_bodies_are_read_in_order() {
        for (body, expected) in [
            (r#"{"message":"no","error":"other"}"#, "no"),
            (r#"{"error":"other"}"#, "other"),
            (r#"{"error":{"message":"inner","code":7}}"#, "inner"),
            (r#"{"error":{"code":7}}"#, r#"{"code":7}"#),
            (r#"{"detail":"x"}"#, r#"{"detail":"x"}"#),
            (r#""plain""#, r#""plain""#),
            ("<html>502</html>", "<html>502</html>"),
            ("", ""),
        ] {
            assert_eq!(error_words(body), expected, "{body}");
        }
    }

    #[test]
    fn waiting_is_read_from_seconds_and_dates() {
        let date = http_date("Tue, 10 Mar 2026 04:15:00 GMT");
        assert_eq!(date, Timestamp::parse("2026-03-10T04:15:00Z"));
        for (text, expected) in [
            ("7", Some(7.0)),
            ("0", Some(0.0)),
            ("1.5", Some(1.5)),
            ("Tue, 10 Mar 2026 04:15:30 GMT", Some(30.0)),
            ("Tue, 10 Mar 2026 04:10:00 GMT", Some(0.0)),
            ("-3", None),
            ("soon", None),
            ("1e300", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            assert_eq!(
                retry_after(&headers, date).map(|d| d.as_secs_f64()),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn budgets_run_out() {
        let budget = Budget::new(Duration::from_secs(2));
        assert!(!budget.take(Duration::from_secs(3)));
        assert!(budget.take(Duration::from_secs(2)));
        assert!(!budget.take(Duration::ZERO), "nothing is left");
        budget.spend(Duration::from_secs(5));
        assert!(!budget.take(Duration::ZERO));
    }

    #[test]
    fn places_name_path_and_page() {
        let target = Target::new(&["projects", "p/1", "runs"])
            .with("limit", 500)
            .with("page", 3);
        assert_eq!(target.place(), "GET /projects/p/1/runs page 3");
    }
}
