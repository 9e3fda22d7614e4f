//! A receiver of any kind with a real server behind it, the troubles it can have, and its mails read by an
//! independent parser.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use mail_parser::{MessageParser, MimeHeaders as _};
use tardy::app::illustrate::drawn;
use tardy::chart::{Band, ChartPoint, DurationChart, LimitLine, Mark};
use tardy::engine::notification::Notification;
use tardy::engine::route::Owner;
use tardy::engine::time::Span;
use tardy::notify::{
    BuildContext, Chart, Delivery, Email, Handle, Notifier, Outcome, PagerDuty, Receiver,
    ReceiverKind, Slack, Smtp as Relay, SmtpTls, TemplateTexts, build,
};

use crate::chat::pagerduty::ROUTING_KEY;
use crate::chat::slack_api::CHANNEL;
use crate::chat::{Chat, SECRET, Scripted};
use crate::smtp::{Fault, Smtp};
use crate::told;

/// One row for each kind of receiver.
pub(crate) const KINDS: &[Kind] = &[
    Kind::Slack,
    Kind::SlackWebhook,
    Kind::DiscordWebhook,
    Kind::Webhook,
    Kind::PagerDuty,
    Kind::Teams,
    Kind::Email,
    Kind::Console,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Slack,
    SlackWebhook,
    DiscordWebhook,
    Webhook,
    PagerDuty,
    Teams,
    Email,
    Console,
}

/// Something goes wrong at the receiver.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
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

pub(crate) const PASSWORD: &str = "smtp-Passw0rd-secret";
pub(crate) const KEY: &str = "hmac-key-secret-0123";

/// A receiver of one kind with its server.
pub(crate) struct World {
    pub(crate) kind: Kind,
    pub(crate) chat: Chat,
    pub(crate) smtp: Smtp,
    pub(crate) screen: Arc<Mutex<Vec<u8>>>,
    pub(crate) port: Option<u16>,
    /// Time-out of answers: long, but where silence is what is tested.
    pub(crate) patience: Duration,
}

impl World {
    pub(crate) async fn new(kind: Kind) -> Self {
        let smtp = Smtp::start().await;
        smtp.require(PASSWORD);
        Self {
            kind,
            chat: Chat::start().await,
            smtp,
            screen: Arc::default(),
            port: None,
            patience: Duration::from_secs(30),
        }
    }

    pub(crate) fn context(&self) -> BuildContext {
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
        context.timeouts.total = self.patience;
        context.timeouts.smtp = self.patience;
        context.timeouts.spacing = Duration::from_millis(1);
        context
    }

    pub(crate) fn receiver(&self) -> Receiver {
        Receiver {
            name: "team".into(),
            kind: self.kind_of(&["lead@example.com"]),
            template: TemplateTexts::default(),
        }
    }

    pub(crate) fn kind_of(&self, to: &[&str]) -> ReceiverKind {
        let port = self.port.unwrap_or(self.chat.addr.port());
        let url = |path: String| format!("http://127.0.0.1:{port}{path}").into();
        match self.kind {
            Kind::Slack => ReceiverKind::Slack(Slack {
                token: SECRET.into(),
                channel: CHANNEL.to_owned(),
                api_url: format!("http://127.0.0.1:{port}/slack/api")
                    .parse()
                    .unwrap(),
                buttons: true,
            }),
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
            Kind::PagerDuty => ReceiverKind::PagerDuty(PagerDuty {
                routing_key: ROUTING_KEY.into(),
                api_url: format!("http://127.0.0.1:{port}").parse().unwrap(),
            }),
            Kind::Teams => ReceiverKind::Teams {
                url: url(format!(
                    "/workflows/{SECRET}/triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={SECRET}"
                )),
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

    pub(crate) fn notifier(&self) -> Box<dyn Notifier> {
        build(&self.receiver(), &self.context()).unwrap()
    }

    /// With texts of its own.
    pub(crate) fn with_texts(&self, template: TemplateTexts) -> Box<dyn Notifier> {
        let receiver = Receiver {
            template,
            ..self.receiver()
        };
        build(&receiver, &self.context()).unwrap()
    }

    /// Everything the receiver's people can see, one text for each message.
    pub(crate) fn received(&self) -> Vec<String> {
        match self.kind {
            Kind::Email => self.mails().iter().map(|mail| mail.text.clone()).collect(),
            Kind::Console => vec![String::from_utf8(self.screen.lock().unwrap().clone()).unwrap()],
            _ => self.chat.said().into_iter().map(|seen| seen.body).collect(),
        }
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.smtp
            .mails()
            .iter()
            .map(|(to, bytes)| Mail::parse(to, bytes))
            .collect()
    }

    pub(crate) async fn trouble(&mut self, trouble: Trouble) {
        if matches!(trouble, Trouble::Silent) {
            self.patience = Duration::from_millis(700);
        }
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
            (kind, Trouble::Refused) => {
                let secret = match kind {
                    Kind::PagerDuty => ROUTING_KEY,
                    _ => SECRET,
                };
                self.chat
                    .answer_next(403, &[], &format!("action_prohibited /x/{secret}"));
            }
            (_, Trouble::Silent) => self.chat.script(Scripted::Silence),
            (Kind::Webhook, Trouble::Revoked) => self.chat.answer_next(410, &[], "gone"),
            (_, Trouble::Revoked) => self.chat.revoke(),
        }
    }
}

/// Delivers, and looks for secrets in everything that comes back.
pub(crate) async fn deliver(
    notifier: &dyn Notifier,
    notification: &Notification,
    handle: Option<&Handle>,
) -> Outcome {
    deliver_with(notifier, notification, handle, None).await
}

/// The same with a picture.
pub(crate) async fn deliver_with(
    notifier: &dyn Notifier,
    notification: &Notification,
    handle: Option<&Handle>,
    chart: Option<&Chart>,
) -> Outcome {
    let delivery = Delivery {
        notification,
        handle,
        attempt: 1,
        is_uncertain: false,
        chart,
    };
    let outcome = notifier.deliver(delivery).await;
    let shown = format!("{outcome:?}");
    for secret in [
        SECRET,
        PASSWORD,
        KEY,
        ROUTING_KEY,
        "/workflows/",
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

pub(crate) fn handle_of(outcome: Outcome) -> Option<Handle> {
    match outcome {
        Outcome::Delivered { handle } => handle,
        other => panic!("not delivered: {other:?}"),
    }
}

pub(crate) fn why(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Retry { why, .. } | Outcome::Rejected { why } => why,
        Outcome::Delivered { .. } => "",
    }
}

pub(crate) async fn with_server_kinds(mut check: impl AsyncFnMut(Kind)) {
    for kind in KINDS.iter().filter(|kind| **kind != Kind::Console) {
        check(*kind).await;
    }
}

/// A mail as an independent parser reads it.
#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) to: String,
    pub(crate) subject: String,
    pub(crate) id: String,
    pub(crate) in_reply_to: Option<String>,
    pub(crate) references: Option<String>,
    pub(crate) headers: Vec<String>,
    pub(crate) text: String,
    pub(crate) html: String,
    pub(crate) raw: String,
    /// Content-ID, name and bytes of the parts that the HTML shows.
    pub(crate) inline: Vec<(String, String, Vec<u8>)>,
}

impl Mail {
    pub(crate) fn parse(to: &str, bytes: &[u8]) -> Self {
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
            inline: mail
                .attachments()
                .map(|part| {
                    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
                    let name = text(part.attachment_name());
                    (text(part.content_id()), name, part.contents().to_vec())
                })
                .collect(),
            raw: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    pub(crate) fn check(&self) {
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
            "List-ID",
        ];
        for header in &self.headers {
            assert!(known.contains(&header.as_str()), "injected header {header}");
        }
        assert!(self.raw.is_ascii() && self.raw.split("\r\n").all(|line| line.len() <= 998));
        assert!(!self.subject.contains(['\r', '\n']));
        self.text.lines().for_each(|line| {
            assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
        });
        assert!(
            self.html.contains("prefers-color-scheme"),
            "the HTML part is missing"
        );
        for tag in [
            "<script",
            "src=\"data:",
            "onerror=\"",
            " onmouseover=alert(1) x=\"",
            "{{ card",
            "{{ row",
            "</mj-",
            "<html>\n\n<html",
        ] {
            assert!(!self.html.contains(tag), "{tag} in {}", self.html);
        }
        assert!(self.html.len() < 102_000);
        // Every picture is one of ours, and in the mail.
        assert_eq!(self.html.matches("<img").count(), self.inline.len());
        for (id, name, bytes) in &self.inline {
            assert!(self.html.contains(&format!("src=\"cid:{id}\"")), "{id}");
            assert!(name.strip_suffix(".png").is_some() && bytes.starts_with(b"\x89PNG"));
        }
    }
}

/// A picture as it goes with a message: forty runs, the last too long.
pub(crate) fn chart() -> Chart {
    static DRAWN: OnceLock<Chart> = OnceLock::new();
    let draw = || {
        let at = |run: i32| told::at("11:00") - Span::days(1) * (40 - run);
        let points = (0..40).map(|run| ChartPoint {
            at: at(run),
            seconds: if run == 39 {
                3_120.0
            } else {
                1_800.0 + f64::from(run % 7) * 40.0
            },
            mark: if run == 39 { Mark::Bad } else { Mark::Usual },
        });
        let band = (8..40).map(|run| Band {
            at: at(run),
            low: 1_500.0,
            usual: 1_860.0,
            high: 2_160.0,
        });
        let chart = DurationChart {
            title: "finance nightly-refresh".to_owned(),
            subtitle: "run duration, last 40 runs · usual range of the 20 runs before".to_owned(),
            points: points.collect(),
            band: band.collect(),
            change: None,
            limit: Some(LimitLine {
                seconds: 2_700.0,
                label: "limit 45 min".to_owned(),
            }),
            zone: chrono_tz::America::New_York,
        };
        drawn(&chart).unwrap()
    };
    DRAWN.get_or_init(draw).clone()
}

pub(crate) fn owners() -> Arc<[Owner]> {
    Arc::new([Owner {
        name: "finance-data".into(),
        slack: Some("<!subteam^S0FINANCE>".to_owned()),
        discord: Some("<@&1234>".to_owned()),
        teams: Some("alice@example.com".to_owned()),
        ..Owner::default()
    }])
}
