//! Every kind of receiver meets the same cases, against real local servers: success, rate limits, errors that
//! pass and errors that stay, silence after accepting, messages that are gone, texts too long, hostile texts,
//! and no secret in anything it says. A new kind is one row in [`KINDS`].

#[path = "support/chat.rs"]
mod chat;
#[path = "support/platform.rs"]
mod platform;
#[path = "support/smtp.rs"]
mod smtp;
#[path = "support/told.rs"]
mod told;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mail_parser::MessageParser;
use serde_json::{Value, json};
use tardy::engine::notification::{Body, Notification, Reason};
use tardy::engine::route::Owner;
use tardy::engine::time::Span;
use tardy::notify::{
    BuildContext, BuildError, Delivery, Discord, Email, Handle, Notifier, Outcome, Receiver,
    ReceiverKind, Slack, Smtp as Relay, SmtpTls, build,
};

use chat::{Chat, SECRET, Scripted};
use smtp::{Fault, Smtp};

/// One row for each kind of receiver.
const KINDS: &[Kind] = &[
    Kind::SlackWebhook,
    Kind::DiscordWebhook,
    Kind::Webhook,
    Kind::Email,
    Kind::Console,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    SlackWebhook,
    DiscordWebhook,
    Webhook,
    Email,
    Console,
}

/// Something goes wrong at the receiver.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// "Later", once.
    Limited,
    /// An error that passes, once.
    Passing,
    /// Refused for good, once.
    Refused,
    /// Accepts the next message and never answers.
    Silent,
    /// Revoked: nothing is taken any more.
    Revoked,
    /// Nobody listens.
    Unreachable,
}

const PASSWORD: &str = "smtp-Passw0rd-secret";
const KEY: &str = "hmac-key-secret-0123";

/// A receiver of one kind with its server.
struct World {
    kind: Kind,
    chat: Chat,
    smtp: Smtp,
    screen: Arc<Mutex<Vec<u8>>>,
    port: Option<u16>,
}

impl World {
    async fn new(kind: Kind) -> Self {
        let smtp = Smtp::start().await;
        smtp.require(PASSWORD);
        Self {
            kind,
            chat: Chat::start().await,
            smtp,
            screen: Arc::default(),
            port: None,
        }
    }

    fn context(&self) -> BuildContext {
        struct Screen(Arc<Mutex<Vec<u8>>>);
        impl Write for Screen {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let screen = Arc::new(Mutex::new(Screen(self.screen.clone())));
        let mut context = BuildContext::new(chrono_tz::America::New_York, screen, false);
        context.timeouts.total = Duration::from_millis(400);
        context.timeouts.smtp = Duration::from_millis(400);
        context
    }

    fn receiver(&self) -> Receiver {
        Receiver {
            name: "team".into(),
            kind: self.kind_of(&["lead@example.com"]),
        }
    }

    fn kind_of(&self, to: &[&str]) -> ReceiverKind {
        let port = self.port.unwrap_or(self.chat.addr.port());
        let url = |path: String| format!("http://127.0.0.1:{port}{path}").into();
        match self.kind {
            Kind::SlackWebhook => ReceiverKind::SlackWebhook {
                url: url(format!("/services/T1/B1/{SECRET}")),
            },
            Kind::DiscordWebhook => ReceiverKind::DiscordWebhook {
                url: url(format!(
                    "/api/webhooks/123456789012345678/{SECRET}?thread_id=42"
                )),
            },
            Kind::Webhook => ReceiverKind::Webhook {
                url: url(format!("/hook/{SECRET}?key={SECRET}")),
                secret: Some(KEY.into()),
            },
            Kind::Email => ReceiverKind::Email(Email {
                to: to.iter().map(|to| (*to).to_owned()).collect(),
                smtp: Relay {
                    name: "office".into(),
                    host: "127.0.0.1".to_owned(),
                    port: self.port.unwrap_or(self.smtp.addr.port()),
                    tls: SmtpTls::None,
                    credentials: Some(("tardy".to_owned(), PASSWORD.into())),
                    from: "Tardy <tardy@example.com>".to_owned(),
                },
            }),
            Kind::Console => ReceiverKind::Console,
        }
    }

    fn notifier(&self) -> Box<dyn Notifier> {
        build(&self.receiver(), &self.context()).unwrap()
    }

    /// Everything the receiver's people can see, one text for each message.
    fn received(&self) -> Vec<String> {
        match self.kind {
            Kind::Email => self.mails().iter().map(|mail| mail.text.clone()).collect(),
            Kind::Console => vec![String::from_utf8(self.screen.lock().unwrap().clone()).unwrap()],
            _ => self.chat.said().into_iter().map(|seen| seen.body).collect(),
        }
    }

    fn mails(&self) -> Vec<Mail> {
        self.smtp
            .mails()
            .iter()
            .map(|(to, bytes)| Mail::parse(to, bytes))
            .collect()
    }

    async fn trouble(&mut self, trouble: Trouble) {
        match (self.kind, trouble) {
            (_, Trouble::Unreachable) => {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                self.port = Some(listener.local_addr().unwrap().port());
            }
            (Kind::Console, _) => unreachable!("a terminal has no such trouble"),
            (Kind::Email, Trouble::Limited) => self.smtp.fail_next(Fault::HangUp),
            (Kind::Email, Trouble::Passing) => self.smtp.fail_next(Fault::Busy),
            (Kind::Email, Trouble::Refused) => self.smtp.fail_next(Fault::RefuseContent),
            (Kind::Email, Trouble::Silent) => self.smtp.fail_next(Fault::SilentAfterData),
            (Kind::Email, Trouble::Revoked) => self.smtp.require("another password"),
            (Kind::DiscordWebhook, Trouble::Limited) => self.chat.answer_next(
                429,
                &[("retry-after", "1"), ("content-type", "application/json")],
                r#"{"message":"You are being rate limited.","retry_after":0.05,"global":false}"#,
            ),
            (_, Trouble::Limited) => {
                self.chat
                    .answer_next(429, &[("retry-after", "0")], "rate_limited");
            }
            (_, Trouble::Passing) => self.chat.answer_next(503, &[], "try later"),
            (_, Trouble::Refused) => {
                self.chat
                    .answer_next(403, &[], &format!("action_prohibited /x/{SECRET}"));
            }
            (_, Trouble::Silent) => self.chat.script(Scripted::Silence),
            (Kind::Webhook, Trouble::Revoked) => self.chat.answer_next(410, &[], "gone"),
            (_, Trouble::Revoked) => self.chat.revoke(),
        }
    }
}

/// Delivers, and looks for secrets in everything that comes back.
async fn deliver(
    notifier: &dyn Notifier,
    notification: &Notification,
    handle: Option<&Handle>,
) -> Outcome {
    let delivery = Delivery {
        notification,
        handle,
        attempt: 1,
    };
    let outcome = notifier.deliver(delivery).await;
    let shown = format!("{outcome:?}");
    for secret in [
        SECRET,
        PASSWORD,
        KEY,
        "/services/",
        "api/webhooks",
        "/hook/",
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }
    if let Outcome::Delivered {
        handle: Some(handle),
    } = &outcome
    {
        assert!(serde_json::to_vec(handle).unwrap().len() <= 2_048);
    }
    outcome
}

fn handle_of(outcome: Outcome) -> Option<Handle> {
    match outcome {
        Outcome::Delivered { handle } => handle,
        other => panic!("not delivered: {other:?}"),
    }
}

fn why(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Retry { why, .. } | Outcome::Rejected { why } => why,
        Outcome::Delivered { .. } => "",
    }
}

async fn with_server_kinds(mut check: impl AsyncFnMut(Kind)) {
    for kind in KINDS.iter().filter(|kind| **kind != Kind::Console) {
        check(*kind).await;
    }
}

#[tokio::test]
async fn a_message_arrives_and_its_first_line_stands_alone() {
    for kind in KINDS {
        let world = World::new(*kind).await;
        let outcome = deliver(&*world.notifier(), &told::first(), None).await;
        handle_of(outcome);
        let received = world.received();
        assert_eq!(received.len(), 1, "{kind:?}");
        for part in [
            "Late: finance nightly-refresh not finished",
            "31 min, p95 36",
            "k3x9pq",
            "does not exist",
        ] {
            assert!(
                received[0].contains(part),
                "{kind:?}: {part} in {}",
                received[0]
            );
        }
    }
}

#[tokio::test]
async fn a_rate_limit_is_waited_for() {
    with_server_kinds(async |kind| {
        let mut world = World::new(kind).await;
        world.trouble(Trouble::Limited).await;
        let notifier = world.notifier();
        let outcome = deliver(&*notifier, &told::first(), None).await;
        if kind == Kind::Email {
            // 421 closes the connection: the next attempt opens another.
            assert!(
                matches!(
                    outcome,
                    Outcome::Retry {
                        is_uncertain: false,
                        ..
                    }
                ),
                "{outcome:?}"
            );
            handle_of(deliver(&*notifier, &told::first(), None).await);
        } else {
            handle_of(outcome);
            assert_eq!(world.chat.seen().len(), 2, "{kind:?}: in the same attempt");
        }
    })
    .await;
}

#[tokio::test]
async fn a_long_rate_limit_is_handed_back_and_kept_for_the_next_attempt() {
    for kind in [Kind::SlackWebhook, Kind::DiscordWebhook, Kind::Webhook] {
        let world = World::new(kind).await;
        world.chat.answer_next(
            429,
            &[
                ("retry-after", "Tue, 10 Mar 2026 12:10:00 GMT"),
                ("date", "Tue, 10 Mar 2026 12:00:00 GMT"),
            ],
            "",
        );
        let notifier = world.notifier();
        for _ in 0..2 {
            let outcome = deliver(&*notifier, &told::first(), None).await;
            let Outcome::Retry {
                after: Some(after),
                is_uncertain: false,
                ..
            } = outcome
            else {
                panic!("{kind:?}: {outcome:?}");
            };
            assert!(
                after > Span::minutes(9) && after <= Span::minutes(10),
                "{after}"
            );
        }
        assert_eq!(
            world.chat.seen().len(),
            1,
            "{kind:?}: not called again before its time"
        );
    }
}

#[tokio::test]
async fn discord_is_not_called_when_it_said_the_next_call_is_one_too_many() {
    let world = World::new(Kind::DiscordWebhook).await;
    world.chat.answer_next(
        200,
        &[
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset-after", "300.5"),
        ],
        r#"{"id":"7","channel_id":"8"}"#,
    );
    let notifier = world.notifier();
    let handle = handle_of(deliver(&*notifier, &told::first(), None).await);
    let outcome = deliver(&*notifier, &told::changed(1), handle.as_ref()).await;
    assert!(
        matches!(outcome, Outcome::Retry { after: Some(_), .. }),
        "{outcome:?}"
    );
    assert_eq!(world.chat.seen().len(), 1);
}

#[tokio::test]
async fn a_limiter_that_never_lets_through_ends_the_attempt() {
    let world = World::new(Kind::SlackWebhook).await;
    for _ in 0..20 {
        world.chat.answer_next(429, &[("retry-after", "0")], "");
    }
    let outcome = deliver(&*world.notifier(), &told::first(), None).await;
    assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
    assert_eq!(world.chat.seen().len(), 5);
}

#[tokio::test]
async fn a_passing_error_is_tried_again_and_then_arrives() {
    with_server_kinds(async |kind| {
        let mut world = World::new(kind).await;
        world.trouble(Trouble::Passing).await;
        let notifier = world.notifier();
        let outcome = deliver(&*notifier, &told::first(), None).await;
        assert!(
            matches!(
                outcome,
                Outcome::Retry {
                    is_uncertain: false,
                    ..
                }
            ),
            "{kind:?}: {outcome:?}"
        );
        handle_of(deliver(&*notifier, &told::first(), None).await);
    })
    .await;
}

#[tokio::test]
async fn a_refusal_is_final_and_says_what_to_do() {
    with_server_kinds(async |kind| {
        let mut world = World::new(kind).await;
        world.trouble(Trouble::Refused).await;
        let outcome = deliver(&*world.notifier(), &told::first(), None).await;
        assert!(
            matches!(outcome, Outcome::Rejected { .. }),
            "{kind:?}: {outcome:?}"
        );
        assert!(
            why(&outcome).contains("40") || why(&outcome).contains("554"),
            "{outcome:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_revoked_receiver_is_rejected_with_the_remedy() {
    with_server_kinds(async |kind| {
        let mut world = World::new(kind).await;
        world.trouble(Trouble::Revoked).await;
        let outcome = deliver(&*world.notifier(), &told::first(), None).await;
        assert!(
            matches!(outcome, Outcome::Rejected { .. }),
            "{kind:?}: {outcome:?}"
        );
        let remedy = match kind {
            Kind::SlackWebhook | Kind::DiscordWebhook => "create a new one and configure its url",
            Kind::Webhook => "check it",
            _ => "check its username and password",
        };
        assert!(why(&outcome).contains(remedy), "{outcome:?}");
    })
    .await;
}

#[tokio::test]
async fn silence_after_accepting_is_uncertain() {
    with_server_kinds(async |kind| {
        let mut world = World::new(kind).await;
        world.trouble(Trouble::Silent).await;
        let notifier = world.notifier();
        let outcome = deliver(&*notifier, &told::first(), None).await;
        assert!(
            matches!(
                outcome,
                Outcome::Retry {
                    is_uncertain: true,
                    ..
                }
            ),
            "{kind:?}: {outcome:?}"
        );
        assert!(why(&outcome).contains("0.4 s"), "{outcome:?}");
        handle_of(deliver(&*notifier, &told::first(), None).await);
        // At most one duplicate, and it can be recognised.
        let received = world.received();
        assert_eq!(received.len(), 2, "{kind:?}");
        assert_eq!(received[0], received[1], "{kind:?}");
    })
    .await;
}

#[tokio::test]
async fn nobody_listening_is_certain_to_be_tried_again() {
    with_server_kinds(async |kind| {
        let mut world = World::new(kind).await;
        world.trouble(Trouble::Unreachable).await;
        let outcome = deliver(&*world.notifier(), &told::first(), None).await;
        assert!(
            matches!(
                outcome,
                Outcome::Retry {
                    is_uncertain: false,
                    ..
                }
            ),
            "{kind:?}: {outcome:?}"
        );
        assert!(why(&outcome).contains("onnection refused"), "{outcome:?}");
    })
    .await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    for kind in [Kind::SlackWebhook, Kind::DiscordWebhook, Kind::Webhook] {
        let world = World::new(kind).await;
        world
            .chat
            .answer_next(307, &[("location", "/elsewhere")], "");
        let outcome = deliver(&*world.notifier(), &told::first(), None).await;
        assert!(
            matches!(outcome, Outcome::Rejected { .. }),
            "{kind:?}: {outcome:?}"
        );
        assert!(why(&outcome).contains("redirect"), "{outcome:?}");
        assert_eq!(world.chat.seen().len(), 1);
    }
}

#[tokio::test]
async fn hostile_texts_stay_texts() {
    for kind in KINDS {
        for text in told::HOSTILE {
            let world = World::new(*kind).await;
            handle_of(deliver(&*world.notifier(), &told::hostile(text), None).await);
            check_received(&world);
        }
    }
}

#[tokio::test]
async fn texts_of_a_megabyte_are_cut_to_the_limits() {
    for kind in KINDS {
        for unit in [
            "x",
            "word ",
            "<&>",
            "**",
            "🚀",
            "`",
            "\u{1b}[31m",
            "\"\\\n",
            "@everyone ",
        ] {
            let world = World::new(*kind).await;
            handle_of(deliver(&*world.notifier(), &told::long(unit), None).await);
            check_received(&world);
        }
    }
}

#[tokio::test]
async fn forty_alerts_are_shown_as_far_as_they_fit_and_counted() {
    for kind in KINDS {
        let world = World::new(*kind).await;
        handle_of(deliver(&*world.notifier(), &told::many(), None).await);
        check_received(&world);
        let received = world.received().concat();
        if *kind == Kind::Webhook {
            assert_eq!(
                world.chat.said()[0].json()["alerts"]
                    .as_array()
                    .unwrap()
                    .len(),
                40
            );
            continue;
        }
        assert!(
            received.contains("and 29 more"),
            "{kind:?}: the headline counts what fires"
        );
        let quiet = "3 kept quiet: 2 silenced by s1, 1 muted by weekend";
        assert!(received.contains(quiet), "{kind:?}");
        assert!(
            received.contains("already so when watching began"),
            "{kind:?}"
        );
    }
}

/// No message was sent twice because of its content, and none holds what no message may hold.
fn check_received(world: &World) {
    for seen in world.chat.said() {
        let body = seen.json();
        match world.kind {
            Kind::SlackWebhook => platform::check_slack(&body).unwrap(),
            Kind::DiscordWebhook => {
                platform::check_discord(&body).unwrap();
                assert!(!seen.body.contains("@everyone"), "{}", seen.body);
            }
            _ => assert_eq!(body["version"], 1),
        }
        if world.kind != Kind::Webhook {
            each_text(&body, &mut check_text);
        }
    }
    for mail in world.mails() {
        mail.check();
    }
    for line in String::from_utf8(world.screen.lock().unwrap().clone())
        .unwrap()
        .lines()
    {
        check_text(line);
        assert!(line.chars().count() <= 100, "{line}");
    }
    if matches!(world.kind, Kind::SlackWebhook | Kind::DiscordWebhook) {
        assert_eq!(world.chat.said().len(), 1, "taken at the first try");
    }
}

fn check_text(text: &str) {
    let bad = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    assert!(!text.contains(bad), "{text:?}");
}

fn each_text(value: &Value, check: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => check(text),
        Value::Array(items) => items.iter().for_each(|item| each_text(item, check)),
        Value::Object(map) => map.values().for_each(|item| each_text(item, check)),
        _ => {}
    }
}

/// A mail as an independent parser reads it.
#[derive(Debug)]
struct Mail {
    to: String,
    subject: String,
    id: String,
    in_reply_to: Option<String>,
    references: Option<String>,
    headers: Vec<String>,
    text: String,
    html: String,
    raw: String,
}

impl Mail {
    fn parse(to: &str, bytes: &[u8]) -> Self {
        let mail = MessageParser::default().parse(bytes).unwrap();
        let own = |value: &mail_parser::HeaderValue| value.as_text().map(str::to_owned);
        Self {
            to: to.to_owned(),
            subject: mail.subject().unwrap().to_owned(),
            id: mail.message_id().unwrap().to_owned(),
            in_reply_to: own(mail.in_reply_to()),
            references: own(mail.references()),
            headers: mail
                .headers()
                .iter()
                .map(|header| header.name().to_owned())
                .collect(),
            text: mail.body_text(0).unwrap().replace("\r\n", "\n"),
            html: mail.body_html(0).unwrap().into_owned(),
            raw: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    fn check(&self) {
        let known = [
            "From",
            "To",
            "Date",
            "Message-ID",
            "Subject",
            "Auto-Submitted",
            "X-Auto-Response-Suppress",
            "In-Reply-To",
            "References",
            "MIME-Version",
            "Content-Type",
            "Content-Transfer-Encoding",
        ];
        for header in &self.headers {
            assert!(known.contains(&header.as_str()), "injected header {header}");
        }
        assert!(self.raw.is_ascii() && self.raw.split("\r\n").all(|line| line.len() <= 998));
        assert!(!self.subject.contains(['\r', '\n']));
        self.text.lines().for_each(|line| {
            assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
        });
        for tag in ["<script", "<img", "onerror=\"", "<html>\n\n<html"] {
            assert!(!self.html.contains(tag), "{tag} in {}", self.html);
        }
        assert!(self.html.len() < 102_000);
    }
}

#[test]
fn what_cannot_work_is_refused_when_built() {
    let refused = |kind: ReceiverKind| {
        let context = BuildContext::new(chrono_tz::UTC, Arc::new(Mutex::new(Vec::new())), false);
        let receiver = Receiver {
            name: "team".into(),
            kind,
        };
        let error = build(&receiver, &context).err().expect("refused");
        let shown = format!("{error} {error:?}");
        assert!(
            !shown.contains(SECRET) && !shown.contains(PASSWORD),
            "{shown}"
        );
        error
    };
    let slack = |url: &str| ReceiverKind::SlackWebhook { url: url.into() };
    let address = |error: BuildError| matches!(error, BuildError::Address { .. });
    assert!(address(refused(slack(&format!(
        "hooks.slack.com/{SECRET}"
    )))));
    assert!(address(refused(slack(&format!(
        "http://hooks.slack.com/{SECRET}"
    )))));
    assert!(address(refused(slack(&format!(
        "https://169.254.169.254/{SECRET}"
    )))));
    assert!(address(refused(ReceiverKind::Webhook {
        url: "file:///etc/passwd".into(),
        secret: None,
    })));
    let compatible = format!("https://discord.com/api/webhooks/1/{SECRET}/slack");
    assert!(address(refused(ReceiverKind::DiscordWebhook {
        url: compatible.into()
    })));
    let not_built = |error: BuildError| matches!(error, BuildError::NotBuilt { .. });
    assert!(not_built(refused(ReceiverKind::Slack(Slack {
        token: SECRET.into(),
        channel: "C1".to_owned(),
        api_url: "https://slack.com/api".parse().unwrap(),
    }))));
    assert!(not_built(refused(ReceiverKind::Discord(Discord {
        token: SECRET.into(),
        channel_id: "1".to_owned(),
    }))));
    for (to, host, from) in [
        ("not an address", "127.0.0.1", "tardy@example.com"),
        (
            "a@b.example\r\nBcc: c@d.example",
            "127.0.0.1",
            "tardy@example.com",
        ),
        ("a@b.example", "mail.example.com", "tardy@example.com"),
        ("a@b.example", "127.0.0.1", "Tardy"),
    ] {
        let error = refused(ReceiverKind::Email(Email {
            to: vec![to.to_owned()],
            smtp: Relay {
                name: "office".into(),
                host: host.to_owned(),
                port: 25,
                tls: SmtpTls::None,
                credentials: Some(("tardy".to_owned(), PASSWORD.into())),
                from: from.to_owned(),
            },
        }));
        assert!(matches!(error, BuildError::Mail { .. }), "{error}");
    }
}

#[test]
fn no_secret_is_shown_when_receivers_are_printed() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for kind in KINDS {
        let receiver = runtime.block_on(World::new(*kind)).receiver();
        let shown = format!("{receiver:?}");
        assert!(
            [SECRET, PASSWORD, KEY]
                .iter()
                .all(|secret| !shown.contains(secret)),
            "{shown}"
        );
    }
}

mod slack_webhook {
    use super::*;

    #[tokio::test]
    async fn later_messages_name_the_first() {
        let world = World::new(Kind::SlackWebhook).await;
        let notifier = world.notifier();
        let handle = handle_of(deliver(&*notifier, &told::first(), None).await);
        let mut joined = told::changed(1);
        let Body::Alerts(alerts) = &mut joined.body else {
            unreachable!()
        };
        alerts.insert(0, told::alert("zz9"));
        let kept = handle_of(deliver(&*notifier, &joined, handle.as_ref()).await);
        assert_eq!(kept, None, "the handle stays");
        handle_of(deliver(&*notifier, &told::recovered(2), handle.as_ref()).await);
        let texts: Vec<String> = world
            .chat
            .said()
            .iter()
            .map(|seen| first_line(&seen.json()))
            .collect();
        assert_eq!(
            texts,
            [
                "Late: finance nightly-refresh not finished, due 07:00 EST",
                "Update on k3x9pq: Changed: Late: finance nightly-refresh not finished, due 07:00 EST and 1 more",
                "Update on k3x9pq: Recovered: finance nightly-refresh after 42 min",
            ]
        );
        assert!(world.chat.said().iter().all(|seen| seen.method == "POST"));
    }

    fn first_line(payload: &Value) -> String {
        payload["text"]
            .as_str()
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .to_owned()
    }

    #[tokio::test]
    async fn a_refused_form_goes_out_as_plain_text() {
        let world = World::new(Kind::SlackWebhook).await;
        world.chat.answer_next(400, &[], "invalid_blocks");
        handle_of(deliver(&*world.notifier(), &told::first(), None).await);
        let said = world.chat.said();
        assert_eq!(said.len(), 2);
        assert!(said[1].json().get("blocks").is_none());
        assert!(said[1].body.contains("Late: finance"));
    }

    #[tokio::test]
    async fn what_is_not_slack_is_told_apart() {
        let world = World::new(Kind::SlackWebhook).await;
        world.chat.answer_next(200, &[], "<html>welcome</html>");
        let outcome = deliver(&*world.notifier(), &told::first(), None).await;
        assert!(why(&outcome).contains("Slack webhook?"), "{outcome:?}");
    }

    #[tokio::test]
    async fn owners_are_mentioned_when_it_opens_and_escalates_only() {
        let world = World::new(Kind::SlackWebhook).await;
        let mut context = world.context();
        context.owners = owners();
        let notifier = build(&world.receiver(), &context).unwrap();
        let mut escalated = told::reminder(1);
        escalated.reason = Reason::Escalated;
        for notification in [
            told::first(),
            escalated,
            told::reminder(2),
            told::recovered(3),
        ] {
            handle_of(deliver(&*notifier, &notification, None).await);
        }
        let is_mentioned = |seen: &chat::Seen| {
            platform::check_slack(&seen.json()).unwrap();
            seen.body.contains("<!subteam^S0FINANCE>")
        };
        let mentioned: Vec<bool> = world.chat.said().iter().map(is_mentioned).collect();
        assert_eq!(mentioned, [true, true, false, false]);
    }
}

fn owners() -> Arc<[Owner]> {
    Arc::new([Owner {
        name: "finance-data".into(),
        slack: Some("<!subteam^S0FINANCE>".to_owned()),
        discord: Some("<@&1234>".to_owned()),
        ..Owner::default()
    }])
}

mod discord_webhook {
    use super::*;

    #[tokio::test]
    async fn one_message_is_edited_and_people_are_pinged_beside_it() {
        let world = World::new(Kind::DiscordWebhook).await;
        let notifier = world.notifier();
        let mut handle = None;
        let story = [
            told::first(),
            told::changed(1),
            told::reminder(2),
            told::recovered(3),
        ];
        let mut shown = Vec::new();
        for notification in &story {
            handle = handle_of(deliver(&*notifier, notification, handle.as_ref()).await);
            shown.push(world.chat.messages().len());
        }
        // A change edits; a reminder and the end add a short message.
        assert_eq!(shown, [1, 1, 2, 3]);
        let messages = world.chat.messages();
        let content = |index: usize| messages[index]["content"].as_str().unwrap().to_owned();
        assert!(content(0).starts_with("Recovered: finance nightly-refresh after 42 min"));
        assert!(
            content(1).starts_with("Still so after 35 min: Late: finance"),
            "{}",
            content(1)
        );
        assert!(content(2).starts_with("Recovered:"));
        let link =
            "https://discord.com/channels/900000000000000001/800000000000000001/700000000000000001";
        assert!(content(1).contains(link) && content(2).contains(link));
        let methods: Vec<String> = world
            .chat
            .seen()
            .iter()
            .map(|seen| seen.method.clone())
            .collect();
        assert_eq!(
            methods,
            ["POST", "PATCH", "PATCH", "GET", "POST", "PATCH", "POST"]
        );
        for seen in world.chat.said() {
            assert!(seen.query.contains("thread_id=42"), "the thread is kept");
            assert_eq!(seen.query.contains("wait=true"), seen.method == "POST");
            let is_edit = seen.path.ends_with("/messages/700000000000000001");
            assert_eq!(is_edit, seen.method == "PATCH", "{}", seen.path);
            assert_eq!(seen.json()["allowed_mentions"], json!({ "parse": [] }));
        }
    }

    #[tokio::test]
    async fn a_deleted_message_is_posted_anew_in_the_same_attempt() {
        let world = World::new(Kind::DiscordWebhook).await;
        let notifier = world.notifier();
        let old = handle_of(deliver(&*notifier, &told::first(), None).await);
        world.chat.delete_messages();
        let new = handle_of(deliver(&*notifier, &told::reminder(1), old.as_ref()).await);
        assert_ne!(old, new);
        let messages = world.chat.messages();
        assert_eq!(
            messages.len(),
            1,
            "the whole message, which pings by itself"
        );
        assert!(messages[0]["embeds"][0]["fields"].is_array());
        handle_of(deliver(&*notifier, &told::changed(2), new.as_ref()).await);
        assert_eq!(world.chat.messages().len(), 1, "the new one is edited");
    }

    #[tokio::test]
    async fn a_half_done_attempt_is_repeated_without_harm() {
        let world = World::new(Kind::DiscordWebhook).await;
        let notifier = world.notifier();
        let handle = handle_of(deliver(&*notifier, &told::first(), None).await);
        let edited = r#"{"id":"700000000000000001"}"#;
        for (status, body) in [(200, edited), (200, "{}"), (500, "{}")] {
            world.chat.answer_next(status, &[], body);
        }
        let outcome = deliver(&*notifier, &told::reminder(1), handle.as_ref()).await;
        assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
        handle_of(deliver(&*notifier, &told::reminder(1), handle.as_ref()).await);
        assert_eq!(world.chat.messages().len(), 2);
    }

    #[tokio::test]
    async fn a_webhook_that_is_gone_is_not_mistaken_for_a_message() {
        let world = World::new(Kind::DiscordWebhook).await;
        let notifier = world.notifier();
        let handle = handle_of(deliver(&*notifier, &told::first(), None).await);
        world.chat.revoke();
        let outcome = deliver(&*notifier, &told::changed(1), handle.as_ref()).await;
        assert!(matches!(outcome, Outcome::Rejected { .. }), "{outcome:?}");
        assert_eq!(
            world.chat.seen().len(),
            2,
            "no second try at a dead webhook"
        );
    }

    #[tokio::test]
    async fn a_refused_form_goes_out_as_plain_text() {
        let world = World::new(Kind::DiscordWebhook).await;
        world
            .chat
            .answer_next(400, &[], r#"{"code":50035,"message":"Invalid Form Body"}"#);
        handle_of(deliver(&*world.notifier(), &told::first(), None).await);
        let messages = world.chat.messages();
        assert_eq!(messages[0]["embeds"], json!([]));
        assert!(
            messages[0]["content"]
                .as_str()
                .unwrap()
                .contains("31 min, p95 36")
        );
    }

    #[tokio::test]
    async fn a_lost_or_strange_handle_opens_the_conversation_again() {
        for strange in [json!(null), json!({ "message_id": "../../1" }), json!([1])] {
            let world = World::new(Kind::DiscordWebhook).await;
            let outcome = deliver(
                &*world.notifier(),
                &told::changed(1),
                Some(&Handle(strange)),
            )
            .await;
            assert!(handle_of(outcome).is_some());
            assert_eq!(world.chat.messages().len(), 1);
        }
    }

    #[tokio::test]
    async fn owners_are_mentioned_in_posts_and_never_in_edits() {
        let world = World::new(Kind::DiscordWebhook).await;
        let mut context = world.context();
        context.owners = owners();
        let notifier = build(&world.receiver(), &context).unwrap();
        let handle = handle_of(deliver(&*notifier, &told::first(), None).await);
        let mut escalated = told::reminder(1);
        escalated.reason = Reason::Escalated;
        handle_of(deliver(&*notifier, &escalated, handle.as_ref()).await);
        let allowed: Vec<Value> = world
            .chat
            .said()
            .iter()
            .map(|seen| seen.json()["allowed_mentions"]["roles"].clone())
            .collect();
        assert_eq!(allowed, [json!(["1234"]), json!(null), json!(["1234"])]);
        assert!(
            !world.chat.messages()[0]["content"]
                .as_str()
                .unwrap()
                .contains("<@&1234>")
        );
    }
}

mod webhook {
    use super::*;
    use hmac::{Hmac, KeyInit as _, Mac as _};

    #[tokio::test]
    async fn the_body_is_signed_and_says_what_happened() {
        let world = World::new(Kind::Webhook).await;
        let notifier = world.notifier();
        let story = [
            (told::first(), "firing"),
            (told::changed(1), "updated"),
            (told::reminder(2), "reminder"),
            (told::recovered(3), "resolved"),
            (told::notice(), "notice"),
        ];
        for (notification, _) in &story {
            handle_of(deliver(&*notifier, notification, None).await);
        }
        for (seen, (notification, event)) in world.chat.said().iter().zip(&story) {
            let body = seen.json();
            assert_eq!(body["event"], *event);
            assert_eq!(seen.headers["content-type"], "application/json");
            assert_eq!(seen.headers["x-tardy-delivery"], notification.delivery_id());
            assert_eq!(body["delivery_id"], json!(notification.delivery_id()));
            let timestamp = &seen.headers["x-tardy-timestamp"];
            assert_eq!(
                *timestamp,
                (notification.decided_at.as_millis() / 1000).to_string()
            );
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
            mac.update(format!("v1:{timestamp}:{}", seen.body).as_bytes());
            let given = seen.headers["x-tardy-signature"]
                .strip_prefix("v1=")
                .unwrap();
            mac.verify_slice(&hex::decode(given).unwrap()).unwrap();
        }
    }

    #[tokio::test]
    async fn every_status_has_its_outcome() {
        for (status, is_retried) in [
            (400, false),
            (401, false),
            (404, false),
            (408, true),
            (410, false),
            (413, false),
            (422, false),
            (500, true),
            (502, true),
            (503, true),
            (504, true),
            (301, false),
        ] {
            let world = World::new(Kind::Webhook).await;
            world
                .chat
                .answer_next(status, &[], &format!("no: {SECRET} password=hunter2"));
            let outcome = deliver(&*world.notifier(), &told::first(), None).await;
            assert_eq!(
                matches!(outcome, Outcome::Retry { .. }),
                is_retried,
                "{status}: {outcome:?}"
            );
            assert!(
                why(&outcome).contains(&status.to_string()) && !why(&outcome).contains("hunter2")
            );
        }
        for status in [200, 201, 202, 204] {
            let world = World::new(Kind::Webhook).await;
            world.chat.answer_next(status, &[], "");
            handle_of(deliver(&*world.notifier(), &told::first(), None).await);
        }
    }

    #[tokio::test]
    async fn a_huge_answer_is_not_read_to_its_end() {
        let world = World::new(Kind::Webhook).await;
        world.chat.answer_next(400, &[], &"x".repeat(8 << 20));
        let outcome = deliver(&*world.notifier(), &told::first(), None).await;
        assert!(why(&outcome).len() < 400, "{outcome:?}");
    }
}

mod email {
    use super::*;

    fn notifier_to(world: &World, to: &[&str]) -> Box<dyn Notifier> {
        let receiver = Receiver {
            name: "team".into(),
            kind: world.kind_of(to),
        };
        build(&receiver, &world.context()).unwrap()
    }

    #[tokio::test]
    async fn a_conversation_is_one_thread() {
        let world = World::new(Kind::Email).await;
        let notifier = notifier_to(&world, &["Lead <lead@example.com>", "oncall@example.com"]);
        let mut handle = None;
        for notification in [told::first(), told::reminder(1), told::recovered(2)] {
            handle = handle_of(deliver(&*notifier, &notification, handle.as_ref()).await);
        }
        assert_eq!(
            world.smtp.connections(),
            1,
            "one connection serves them all"
        );
        let mails = world.mails();
        assert_eq!(mails.len(), 6);
        for to in ["lead@example.com", "oncall@example.com"] {
            let thread: Vec<&Mail> = mails.iter().filter(|mail| mail.to == to).collect();
            let subjects: Vec<&str> = thread.iter().map(|mail| mail.subject.as_str()).collect();
            let subject = "[critical] finance nightly-refresh: deadline";
            assert_eq!(
                subjects,
                [
                    subject,
                    &format!("Re: {subject}"),
                    &format!("Re: {subject}")
                ]
            );
            let id = told::first().delivery_id();
            assert!(thread[0].id.starts_with(&id) && thread[0].id.ends_with("@example.com"));
            assert_eq!(
                (&thread[0].in_reply_to, &thread[0].references),
                (&None, &None)
            );
            for reply in &thread[1..] {
                assert_eq!(reply.in_reply_to.as_deref(), Some(thread[0].id.as_str()));
                assert_eq!(reply.references.as_deref(), Some(thread[0].id.as_str()));
                assert_ne!(reply.id, thread[0].id);
            }
            assert!(
                thread[2]
                    .text
                    .starts_with("Recovered: finance nightly-refresh after 42 min\n")
            );
        }
        let ids: std::collections::BTreeSet<&String> = mails.iter().map(|mail| &mail.id).collect();
        assert_eq!(ids.len(), 6);
        for mail in &mails {
            mail.check();
            assert!(mail.raw.contains("\r\nAuto-Submitted: auto-generated\r\n"));
            assert!(mail.html.contains("finance") && mail.html.contains("prefers-color-scheme"));
        }
    }

    #[tokio::test]
    async fn one_refused_recipient_does_not_stop_the_others() {
        let world = World::new(Kind::Email).await;
        world
            .smtp
            .refuse("gone@example.com", Some("550 5.1.1 no such user"));
        let notifier = notifier_to(
            &world,
            &["gone@example.com", "a@example.com", "b@example.com"],
        );
        let handle = handle_of(deliver(&*notifier, &told::first(), None).await).unwrap();
        let to: Vec<String> = world.mails().into_iter().map(|mail| mail.to).collect();
        assert_eq!(to, ["a@example.com", "b@example.com"]);
        assert_eq!(handle.0["refused"], json!(["gone@example.com"]));
        assert_eq!(
            world.smtp.connections(),
            1,
            "the dialogue goes on after a refusal"
        );
    }

    #[tokio::test]
    async fn all_refused_is_rejected() {
        let world = World::new(Kind::Email).await;
        let to = ["gone@example.com", "left@example.com"];
        to.iter()
            .for_each(|to| world.smtp.refuse(to, Some("550 5.1.1 no such user")));
        let outcome = deliver(&*notifier_to(&world, &to), &told::first(), None).await;
        assert!(matches!(outcome, Outcome::Rejected { .. }), "{outcome:?}");
        assert!(
            why(&outcome).contains("gone@example.com") && why(&outcome).contains("no such user")
        );
    }

    #[tokio::test]
    async fn those_who_have_it_are_not_mailed_again() {
        let world = World::new(Kind::Email).await;
        world
            .smtp
            .refuse("full@example.com", Some("452 4.2.2 mailbox full"));
        world
            .smtp
            .refuse("gone@example.com", Some("550 no such user"));
        let notifier = notifier_to(
            &world,
            &["a@example.com", "gone@example.com", "full@example.com"],
        );
        for _ in 0..2 {
            let outcome = deliver(&*notifier, &told::first(), None).await;
            assert!(
                matches!(
                    outcome,
                    Outcome::Retry {
                        is_uncertain: false,
                        ..
                    }
                ),
                "{outcome:?}"
            );
            assert!(why(&outcome).starts_with("1 of 3 recipients have it; full@example.com"));
        }
        world.smtp.refuse("full@example.com", None);
        handle_of(deliver(&*notifier, &told::first(), None).await);
        let to: Vec<String> = world.mails().into_iter().map(|mail| mail.to).collect();
        assert_eq!(to, ["a@example.com", "full@example.com"]);
    }

    #[tokio::test]
    async fn a_lost_answer_repeats_the_very_same_mail() {
        let world = World::new(Kind::Email).await;
        world.smtp.fail_next(Fault::DropAfterData);
        let notifier = world.notifier();
        let outcome = deliver(&*notifier, &told::first(), None).await;
        assert!(
            matches!(
                outcome,
                Outcome::Retry {
                    is_uncertain: true,
                    ..
                }
            ),
            "{outcome:?}"
        );
        handle_of(deliver(&*notifier, &told::first(), None).await);
        let mails = world.smtp.mails();
        assert_eq!(mails.len(), 2);
        assert_eq!(mails[0], mails[1], "same Message-ID, same bytes");
    }

    #[tokio::test]
    async fn an_idle_connection_that_was_closed_is_replaced() {
        let world = World::new(Kind::Email).await;
        world.smtp.fail_next(Fault::CloseAfter);
        let notifier = world.notifier();
        handle_of(deliver(&*notifier, &told::first(), None).await);
        handle_of(deliver(&*notifier, &told::reminder(1), None).await);
        assert_eq!((world.smtp.mails().len(), world.smtp.connections()), (2, 2));
    }

    #[test]
    fn it_may_be_dropped_outside_a_runtime() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let notifier = runtime.block_on(async {
            let world = World::new(Kind::Email).await;
            let notifier = world.notifier();
            handle_of(deliver(&*notifier, &told::first(), None).await);
            notifier
        });
        drop(runtime);
        drop(notifier);
    }
}

mod console {
    use super::*;

    #[tokio::test]
    async fn a_card_then_a_line_then_a_line() {
        let world = World::new(Kind::Console).await;
        let notifier = world.notifier();
        let mut lines = Vec::new();
        for notification in [told::first(), told::reminder(1), told::recovered(2)] {
            handle_of(deliver(&*notifier, &notification, None).await);
            lines.push(world.received()[0].lines().count());
        }
        assert!(lines[0] > 8, "{lines:?}");
        assert_eq!((lines[1], lines[2]), (lines[0] + 1, lines[0] + 2));
    }

    #[tokio::test]
    async fn colours_come_with_words_and_only_when_asked() {
        let world = World::new(Kind::Console).await;
        let mut context = world.context();
        context.is_colored = true;
        let notifier = build(&world.receiver(), &context).unwrap();
        handle_of(deliver(&*notifier, &told::first(), None).await);
        let shown = world.received().concat();
        assert!(
            shown.contains("\u{1b}[") && shown.contains("CRITICAL"),
            "{shown}"
        );
    }
}

mod payloads {
    use super::*;

    async fn said(kind: Kind, notification: &Notification) -> World {
        let world = World::new(kind).await;
        handle_of(deliver(&*world.notifier(), notification, None).await);
        world
    }

    fn stories() -> Vec<(&'static str, Notification)> {
        let mut flapping = told::changed(3);
        flapping.reason = Reason::Flapping;
        vec![
            ("first", told::first()),
            ("many", told::many()),
            ("flapping", flapping),
            ("recovered", told::recovered(2)),
            ("notice", told::notice()),
            ("hostile", told::hostile(&told::HOSTILE[..10].join(" "))),
        ]
    }

    #[tokio::test]
    async fn look_as_reviewed() {
        for (name, notification) in stories() {
            for kind in KINDS {
                let world = said(*kind, &notification).await;
                let snapshot = format!("{kind:?}_{name}");
                match kind {
                    Kind::Email => {
                        let mail = world.mails().remove(0);
                        let shown = format!(
                            "Subject: {}\nMessage-ID: {}\n\n{}",
                            mail.subject, mail.id, mail.text
                        );
                        insta::assert_snapshot!(snapshot, shown);
                    }
                    Kind::Console => insta::assert_snapshot!(snapshot, world.received().concat()),
                    _ => insta::assert_json_snapshot!(snapshot, world.chat.said()[0].json()),
                }
            }
        }
    }

    #[tokio::test]
    async fn html_mail_looks_as_reviewed() {
        let world = said(Kind::Email, &told::first()).await;
        insta::assert_snapshot!("Email_first_html", world.mails()[0].html);
    }
}
