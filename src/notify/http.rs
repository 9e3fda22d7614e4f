//! HTTP as every receiver needs it: bounded, patient with rate limits, silent about secrets.
//!
//! Guarantees: connect and total time-outs; no redirect is followed; at most 64 KiB of an answer are read (more
//! only where a receiver repeats what it was told); an answer 429 is waited for and tried again inside the
//! attempt while [`ATTEMPT_BUDGET`] allows, and the receiver's later requests wait too; where a receiver says how
//! many requests it has left (`X-RateLimit-*`), no more are sent before it has others; no error text holds the
//! address. It does not decide what a status means: that is each receiver's business.

use std::error::Error as _;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use chrono::DateTime;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, Request, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;
use url::{Host, Url};

use super::limits::http as limits;
use super::mask::Known;
use super::{ATTEMPT_BUDGET, BuildContext, BuildError, Outcome, text};
use crate::engine::time::Span;

/// Installs the TLS provider of the process (ring); safe to call often and from anywhere. The first
/// line of `main` calls it, and so does every client built here.
pub fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that one is installed already, which is what we want.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// How long is waited.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For the whole answer to one HTTP request.
    pub total: Duration,
    /// For the answer to one SMTP command.
    pub smtp: Duration,
    /// Between messages to one channel, where a platform wants them spaced out.
    pub spacing: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            total: Duration::from_secs(15),
            smtp: Duration::from_secs(20),
            spacing: Duration::from_secs(1),
        }
    }
}

/// The host is this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Link-local addresses serve cloud metadata, with credentials in it; nothing else is there.
fn is_metadata(url: &Url) -> bool {
    let ip = match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
        Some(Host::Ipv6(ip)) => ip.to_canonical(),
        Some(Host::Domain(name)) => return name.eq_ignore_ascii_case("metadata.google.internal"),
        None => return false,
    };
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.segments()[..3] == [0xfd00, 0xec2, 0],
    }
}

/// A receiver's address, which is a secret.
pub(crate) struct Endpoint {
    url: Url,
    known: Known,
}

impl Endpoint {
    /// Checks an address. `is_public` kinds take only https (http on loopback).
    pub(crate) fn new(
        address: &SecretString,
        receiver: &str,
        is_public: bool,
    ) -> Result<Self, BuildError> {
        let refuse = |why| BuildError::Address {
            receiver: receiver.to_owned(),
            why,
        };
        let url = Url::parse(address.expose_secret().trim())
            .map_err(|_| refuse("it is not a URL; copy it whole, with https://"))?;
        match url.scheme() {
            "https" => {}
            "http" if !is_public || is_loopback(&url) => {}
            "http" => return Err(refuse("it must begin with https://")),
            _ => return Err(refuse("it must begin with https:// or http://")),
        }
        if is_metadata(&url) {
            return Err(refuse(
                "it is a cloud metadata address, which is never called",
            ));
        }
        let known = Known::of_url(&url);
        Ok(Self { url, known })
    }

    /// Hides another secret too in what is shown of the receiver's answers.
    pub(crate) fn hiding(self, secret: &SecretString) -> Self {
        let known = self.known.with(secret.expose_secret());
        Self { known, ..self }
    }

    /// The address.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Text of the receiver made fit to show: cleaned, without secrets, short.
    pub(crate) fn scrub(&self, said: &str) -> String {
        let masked = self.known.mask(&text::line(said, 8 * limits::ECHO));
        text::line(&masked, limits::ECHO)
    }
}

/// One receiver's client: a connection pool, and when it may be called again.
pub(crate) struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    timeouts: Timeouts,
    body_bytes: usize,
    pace: Mutex<Pace>,
}

/// When the receiver may be called again, as far as it has said so.
#[derive(Debug, Default)]
struct Pace {
    /// Not before.
    free_at: Option<Instant>,
    window: Option<Window>,
    /// Requests without an answer so far.
    under_way: u32,
}

/// So many requests within a time, as Discord counts them.
#[derive(Clone, Copy, Debug)]
struct Window {
    limit: u32,
    left: u32,
    ends_at: Instant,
    /// Longest seen.
    length: Duration,
}

impl Pace {
    /// Takes one request from what is left; `Err`: not before that instant.
    fn take(&mut self, now: Instant) -> Result<(), Instant> {
        if let Some(free_at) = self.free_at.filter(|free_at| *free_at > now) {
            return Err(free_at);
        }
        if let Some(window) = &mut self.window {
            if window.ends_at <= now {
                window.left = window.limit;
                window.ends_at = now + window.length;
            }
            if window.left == 0 {
                return Err(window.ends_at);
            }
            window.left -= 1;
        }
        self.under_way += 1;
        Ok(())
    }

    /// Not before `until`, whatever was said before.
    fn hold(&mut self, until: Instant) {
        self.free_at = self.free_at.max(Some(until));
    }

    /// Takes up what an answer says of the limit.
    fn learn(&mut self, reply: &Reply, now: Instant) {
        let count = |name: &str| reply.header(name)?.trim().parse::<u32>().ok();
        let remaining = count("x-ratelimit-remaining");
        let reset = reply.header("x-ratelimit-reset-after").and_then(seconds);
        let (Some(remaining), Some(reset)) = (remaining, reset) else {
            return;
        };
        let ends_at = now + reset.min(MAX_WAIT);
        if remaining == 0 {
            self.hold(ends_at);
        }
        let limit = count("x-ratelimit-limit").filter(|limit| *limit > 0);
        if let Some(limit) = limit {
            let longest = self.window.map_or(Duration::ZERO, |window| window.length);
            self.window = Some(Window {
                limit,
                // Those under way are not counted yet.
                left: remaining.saturating_sub(self.under_way),
                ends_at,
                length: longest.max(ends_at - now),
            });
        }
    }
}

/// Longest wait that is believed.
const MAX_WAIT: Duration = Duration::from_hours(24);

impl Client {
    /// For one address.
    pub(crate) fn new(endpoint: Endpoint, context: &BuildContext) -> Result<Self, BuildError> {
        Ok(Self {
            http: context
                .clients
                .get(is_loopback(&endpoint.url), &context.timeouts)?,
            endpoint,
            timeouts: context.timeouts,
            body_bytes: limits::BODY_BYTES,
            pace: Mutex::default(),
        })
    }

    /// Reads up to `bytes` of an answer, where answers repeat what was said.
    #[must_use]
    pub(crate) fn reading(mut self, bytes: usize) -> Self {
        self.body_bytes = bytes;
        self
    }

    /// The address.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Begins an attempt: everything sent through it shares one budget.
    pub(crate) fn attempt(&self) -> Attempt<'_> {
        Attempt {
            client: self,
            started_at: Instant::now(),
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A JSON request.
pub(crate) fn json(method: Method, url: Url, body: Vec<u8>) -> Request {
    let mut request = Request::new(method, url);
    let json = reqwest::header::HeaderValue::from_static("application/json");
    request
        .headers_mut()
        .insert(reqwest::header::CONTENT_TYPE, json);
    *request.body_mut() = Some(body.into());
    request
}

/// The shared clients: one that goes through the machine's proxy settings, one for loopback that does not.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    direct: std::sync::OnceLock<reqwest::Client>,
    outside: std::sync::OnceLock<reqwest::Client>,
}

impl Clients {
    fn get(&self, is_local: bool, timeouts: &Timeouts) -> Result<reqwest::Client, BuildError> {
        let slot = if is_local {
            &self.direct
        } else {
            &self.outside
        };
        if let Some(client) = slot.get() {
            return Ok(client.clone());
        }
        let client = build(is_local, timeouts)?;
        Ok(slot.get_or_init(|| client).clone())
    }
}

fn build(is_local: bool, timeouts: &Timeouts) -> Result<reqwest::Client, BuildError> {
    install_crypto();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("tardy/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(timeouts.connect)
        .timeout(timeouts.total)
        .pool_idle_timeout(Duration::from_mins(1));
    let builder = if is_local {
        builder.no_proxy()
    } else {
        builder
    };
    builder.build().map_err(|error| BuildError::Client {
        why: error.without_url().to_string(),
    })
}

/// One attempt: a budget shared by its requests.
pub(crate) struct Attempt<'a> {
    client: &'a Client,
    started_at: Instant,
}

impl Attempt<'_> {
    /// Sends, waiting out rate limits. `Err` is the outcome of the whole attempt.
    pub(crate) async fn send(&self, request: Request) -> Result<Reply, Outcome> {
        for _ in 0..limits::LIMITED_TRIES {
            self.take().await?;
            let sent = UnderWay(self.client);
            let reply = self.send_once(clone(&request)?).await;
            drop(sent);
            let reply = reply?;
            let mut pace = self.client.pace();
            pace.learn(&reply, Instant::now());
            if reply.status != StatusCode::TOO_MANY_REQUESTS {
                return Ok(reply);
            }
            pace.hold(Instant::now() + limit_wait(&reply));
        }
        let free_at = self.client.pace().free_at;
        Err(limited(free_at))
    }

    /// What is left of the budget.
    pub(crate) fn left(&self) -> Duration {
        budget().saturating_sub(self.started_at.elapsed())
    }

    /// When a request may begin at the latest, to be answered within the budget.
    pub(crate) fn latest(&self) -> Instant {
        self.started_at + budget().saturating_sub(self.client.timeouts.total)
    }

    /// Waits while the receiver has asked us to, or gives up when that exceeds the budget.
    async fn take(&self) -> Result<(), Outcome> {
        loop {
            let taken = self.client.pace().take(Instant::now());
            let Err(free_at) = taken else {
                return Ok(());
            };
            if free_at > self.latest() {
                return Err(limited(Some(free_at)));
            }
            tokio::time::sleep_until(free_at).await;
        }
    }

    async fn send_once(&self, mut request: Request) -> Result<Reply, Outcome> {
        *request.timeout_mut() = Some(self.client.timeouts.total.min(self.left()));
        let response = self.client.http.execute(request).await;
        let mut response = response.map_err(|error| self.failed(error))?;
        let mut body = Vec::new();
        let mut is_whole = true;
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= self.client.body_bytes => {
                    body.extend_from_slice(&chunk);
                }
                Ok(None) => break,
                Ok(Some(_)) | Err(_) => {
                    is_whole = false;
                    break;
                }
            }
        }
        Ok(Reply {
            status: response.status(),
            headers: response.headers().clone(),
            body,
            is_whole,
        })
    }

    fn failed(&self, error: reqwest::Error) -> Outcome {
        if error.is_builder() {
            return Outcome::Rejected {
                why: "the receiver's address cannot be called; check it".to_owned(),
            };
        }
        Outcome::Retry {
            after: None,
            is_uncertain: !error.is_connect(),
            why: self.client.describe(error),
        }
    }
}

impl Client {
    /// What went wrong, in words, without the address.
    fn describe(&self, error: reqwest::Error) -> String {
        let error = error.without_url();
        if error.is_timeout() && error.is_connect() {
            return format!(
                "no connection within {} s",
                self.timeouts.connect.as_secs_f32()
            );
        }
        if error.is_timeout() {
            return format!("no answer within {} s", self.timeouts.total.as_secs_f32());
        }
        let mut cause = error.source();
        let mut last = error.to_string();
        while let Some(inner) = cause {
            last = inner.to_string();
            cause = inner.source();
        }
        let what = if error.is_connect() {
            "cannot connect"
        } else {
            "the connection broke"
        };
        format!("{what}: {}", self.endpoint.scrub(&last))
    }
}

/// A request that has no answer yet; one that is given up is none any more.
struct UnderWay<'a>(&'a Client);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut pace = self.0.pace();
        pace.under_way = pace.under_way.saturating_sub(1);
    }
}

/// Not before `free_at`.
fn limited(free_at: Option<Instant>) -> Outcome {
    let now = Instant::now();
    let wait = free_at.map(|at| at.saturating_duration_since(now));
    Outcome::Retry {
        after: wait.and_then(|wait| Span::from_std(wait).ok()),
        why: "the receiver limits how often it may be called (429)".to_owned(),
        is_uncertain: false,
    }
}

fn budget() -> Duration {
    ATTEMPT_BUDGET.to_std().unwrap_or_default()
}

fn clone(request: &Request) -> Result<Request, Outcome> {
    request.try_clone().ok_or_else(|| Outcome::Rejected {
        why: "the message cannot be sent twice".to_owned(),
    })
}

/// An answer.
pub(crate) struct Reply {
    /// Its status; never 429.
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    /// As much of the body as was read.
    pub(crate) body: Vec<u8>,
    /// The body was read to its end.
    pub(crate) is_whole: bool,
}

impl Reply {
    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null when it is none.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// What every receiver makes of statuses that are not a success and say nothing of their own:
    /// `said` is what the receiver said, ready to show.
    pub(crate) fn outcome(&self, said: &str) -> Outcome {
        let status = self.status.as_u16();
        let colon = if said.is_empty() { "" } else { ": " };
        if self.status.is_server_error() || self.status == StatusCode::REQUEST_TIMEOUT {
            return Outcome::Retry {
                after: retry_after(&self.headers).and_then(|wait| Span::from_std(wait).ok()),
                why: format!("the receiver answered {status}{colon}{said}"),
                is_uncertain: !matches!(status, 408 | 503),
            };
        }
        let why = if self.status.is_redirection() {
            format!(
                "the receiver answered with a redirect ({status}), which is not followed; \
                 configure the address it leads to"
            )
        } else {
            format!("the receiver refused the message ({status}){colon}{said}")
        };
        Outcome::Rejected { why }
    }
}

/// How long a 429 asks to wait; a second when it does not say.
fn limit_wait(reply: &Reply) -> Duration {
    // Discord's body is more exact than its header, which holds whole seconds.
    let in_body = reply.json()["retry_after"].as_f64();
    in_body
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .or_else(|| retry_after(&reply.headers))
        .unwrap_or(Duration::from_secs(1))
        .min(MAX_WAIT)
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// `Retry-After`: seconds, or an HTTP date. A date is read against the answer's own `Date`, so that
/// neither our clock nor its skew matters.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Some(wait) = seconds(text) {
        return Some(wait);
    }
    let date = |text: &str| DateTime::parse_from_rfc2822(text.trim()).ok();
    let until = date(text)?;
    let now = date(headers.get(reqwest::header::DATE)?.to_str().ok()?)?;
    Some((until - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_against_the_answers_own() {
        const DATE: &str = "Tue, 10 Mar 2026 12:00:00 GMT";
        for (pairs, seconds) in [
            (&[("retry-after", "7")][..], Some(7.0)),
            (&[("retry-after", "0.25")], Some(0.25)),
            (
                &[
                    ("retry-after", "Tue, 10 Mar 2026 12:01:30 GMT"),
                    ("date", DATE),
                ],
                Some(90.0),
            ),
            (
                &[
                    ("retry-after", "Tue, 10 Mar 2026 11:00:00 GMT"),
                    ("date", DATE),
                ],
                Some(0.0),
            ),
            (&[("retry-after", "Tue, 10 Mar 2026 12:01:30 GMT")], None),
            (&[("retry-after", "-3")], None),
            (&[("retry-after", "NaN")], None),
            (&[("retry-after", "soon")], None),
            (&[], None),
        ] {
            let wait = retry_after(&headers(pairs)).map(|wait| wait.as_secs_f64());
            assert_eq!(wait, seconds, "{pairs:?}");
        }
    }

    #[test]
    fn discords_body_is_more_exact_than_its_header() {
        let reply = |body: &str| Reply {
            status: StatusCode::TOO_MANY_REQUESTS,
            headers: headers(&[("retry-after", "2")]),
            body: body.as_bytes().to_vec(),
            is_whole: true,
        };
        let body = r#"{"message":"limited","retry_after":1.125,"global":true}"#;
        assert_eq!(limit_wait(&reply(body)), Duration::from_millis(1_125));
        assert_eq!(limit_wait(&reply("")), Duration::from_secs(2));
        let absurd = r#"{"retry_after":1e15}"#;
        assert_eq!(limit_wait(&reply(absurd)), Duration::from_hours(24));
    }

    #[test]
    fn no_more_is_sent_than_the_receiver_has_left() {
        let reply = |pairs: &[(&'static str, &str)]| Reply {
            status: StatusCode::OK,
            headers: headers(pairs),
            body: Vec::new(),
            is_whole: true,
        };
        let said = |limit: &str, left: &str, reset: &str| {
            reply(&[
                ("x-ratelimit-limit", limit),
                ("x-ratelimit-remaining", left),
                ("x-ratelimit-reset-after", reset),
            ])
        };
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut pace = Pace::default();
        assert_eq!((pace.take(now), pace.take(now)), (Ok(()), Ok(())));
        // The first of two is answered: of the four left the other takes one.
        pace.under_way -= 1;
        pace.learn(&said("5", "4", "2.0"), now);
        let taken = (0..9).filter(|_| pace.take(now).is_ok());
        assert_eq!(taken.count(), 3);
        assert_eq!(pace.take(now + second), Err(now + 2 * second));
        // A new window has as many as there are, and no more.
        let taken = (0..9).filter(|_| pace.take(now + 2 * second).is_ok());
        assert_eq!(taken.count(), 5);
        assert_eq!(pace.take(now + 3 * second), Err(now + 4 * second));
        // A shorter wait does not undo a longer one.
        pace.hold(now + 9 * second);
        pace.learn(&said("5", "0", "1.0"), now + 4 * second);
        assert_eq!(pace.take(now + 6 * second), Err(now + 9 * second));
        // Who says nothing of limits is not paced.
        let mut free = Pace::default();
        free.learn(&reply(&[("x-ratelimit-remaining", "3")]), now);
        assert!((0..99).all(|_| free.take(now).is_ok()));
    }

    #[test]
    fn metadata_addresses_are_refused_and_loopback_is_known() {
        for (url, is_refused) in [
            ("http://169.254.169.254/latest", true),
            ("http://[fe80::1]/", true),
            ("http://[fd00:ec2::254]/", true),
            ("http://[::ffff:169.254.169.254]/", true),
            ("http://metadata.google.internal/", true),
            ("http://10.0.0.1/", false),
            ("https://hooks.slack.com/x", false),
        ] {
            assert_eq!(is_metadata(&Url::parse(url).unwrap()), is_refused, "{url}");
        }
        for (url, is_local) in [
            ("http://127.0.0.1:80/", true),
            ("http://[::1]/", true),
            ("http://localhost/", true),
            ("http://localhost.example.com/", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), is_local, "{url}");
        }
    }

    #[test]
    fn what_a_receiver_says_is_shown_without_its_address() {
        let address =
            SecretString::from("https://chat.example.com/hooks/abcdefghijkl?key=mnopqrstu");
        let endpoint = Endpoint::new(&address, "team", true).unwrap();
        let said = endpoint
            .scrub("\u{1b}[31mCannot POST /hooks/abcdefghijkl\nmnopqrstu @ chat.example.com");
        assert_eq!(said, "Cannot POST *** *** @ ***");
        assert!(endpoint.scrub(&"x".repeat(5_000)).len() <= limits::ECHO + 2);
    }
}
