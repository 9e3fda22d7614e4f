//! Every kind of receiver meets the same cases, against real local servers: success, rate limits, errors that
//! pass and errors that stay, silence after accepting, messages that are gone, texts too long, hostile texts,
//! and no secret in anything it says. A new kind is one row in [`KINDS`].

#[path = "support/chat.rs"]
mod chat;
#[path = "support/exim.rs"]
mod exim;
#[path = "support/platform.rs"]
mod platform;
#[path = "support/smtp.rs"]
mod smtp;
#[path = "support/told.rs"]
mod told;

#[path = "notifiers/console.rs"]
mod console;
#[path = "notifiers/digests.rs"]
mod digests;
#[path = "notifiers/discord_webhook.rs"]
mod discord_webhook;
#[path = "notifiers/email.rs"]
mod email;
#[path = "notifiers/gallery.rs"]
mod gallery;
#[path = "notifiers/mail_real.rs"]
mod mail_real;
#[path = "notifiers/pagerduty.rs"]
mod pagerduty;
#[path = "notifiers/payloads.rs"]
mod payloads;
#[path = "notifiers/slack.rs"]
mod slack;
#[path = "notifiers/slack_webhook.rs"]
mod slack_webhook;
#[path = "notifiers/teams.rs"]
mod teams;
#[path = "notifiers/templates.rs"]
mod templates;
#[path = "notifiers/webhook.rs"]
mod webhook;
#[path = "notifiers/world.rs"]
mod world;

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tardy::engine::time::Span;
use tardy::notify::Smtp as Relay;
use tardy::notify::{
    BuildContext, BuildError, Discord, Email, Outcome, PagerDuty, Receiver, ReceiverKind, Slack,
    SmtpTls, TemplateTexts, build,
};

use chat::SECRET;
use chat::pagerduty::ROUTING_KEY;
use world::{
    KEY, KINDS, Kind, PASSWORD, Trouble, World, deliver, handle_of, why, with_server_kinds,
};

const HTTP_KINDS: [Kind; 6] = [
    Kind::Slack,
    Kind::SlackWebhook,
    Kind::DiscordWebhook,
    Kind::Webhook,
    Kind::PagerDuty,
    Kind::Teams,
];

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
    for kind in HTTP_KINDS {
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
            Kind::SlackWebhook | Kind::DiscordWebhook | Kind::Teams => {
                "create a new one and configure its url"
            }
            Kind::PagerDuty => "create an Events API v2 integration",
            Kind::Slack => "install the app again and configure its new token",
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
        assert!(why(&outcome).contains("0.7 s"), "{outcome:?}");
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
    for kind in HTTP_KINDS {
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
pub(crate) fn check_received(world: &World) {
    for seen in world.chat.said() {
        let body = seen.json();
        match world.kind {
            Kind::Slack => {
                platform::check_slack(&body).unwrap();
                platform::check_slack_metadata(&body["metadata"]).unwrap();
            }
            Kind::SlackWebhook => platform::check_slack(&body).unwrap(),
            Kind::DiscordWebhook => {
                platform::check_discord(&body).unwrap();
                assert!(!seen.body.contains("@everyone"), "{}", seen.body);
            }
            Kind::PagerDuty => assert_eq!(chat::pagerduty::check(&body), Vec::<String>::new()),
            Kind::Teams => chat::teams::check_message(&body).unwrap(),
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
    assert_eq!(world.chat.slack.errors(), [], "taken at the first try");
    assert!(
        world.chat.slack.messages().len() <= 1,
        "the rest is in its thread"
    );
    let taken = match world.kind {
        Kind::SlackWebhook | Kind::Teams => 1,
        // What somebody has taken on is triggered and acknowledged.
        Kind::PagerDuty => {
            let actions = world.chat.said().into_iter();
            let actions = actions.map(|said| said.json()["event_action"].to_string());
            actions.collect::<std::collections::BTreeSet<_>>().len()
        }
        // What does not fit into one goes on in others.
        Kind::DiscordWebhook => world.chat.messages().len(),
        _ => return,
    };
    assert_eq!(world.chat.said().len(), taken, "taken at the first try");
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

#[test]
fn what_cannot_work_is_refused_when_built() {
    let refused = |kind: ReceiverKind| {
        let context = BuildContext::new(chrono_tz::UTC, Arc::new(Mutex::new(Vec::new())), false);
        let receiver = Receiver {
            name: "team".into(),
            kind,
            template: TemplateTexts::default(),
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
    assert!(address(refused(ReceiverKind::Teams {
        url: format!("https://acme.webhook.office.com/webhookb2/{SECRET}").into(),
    })));
    assert!(address(refused(ReceiverKind::PagerDuty(PagerDuty {
        routing_key: SECRET.into(),
        api_url: "http://events.pagerduty.com".parse().unwrap(),
    }))));
    assert!(address(refused(ReceiverKind::Webhook {
        url: "file:///etc/passwd".into(),
        secret: None,
    })));
    let compatible = format!("https://discord.com/api/webhooks/1/{SECRET}/slack");
    assert!(address(refused(ReceiverKind::DiscordWebhook {
        url: compatible.into()
    })));
    let not_built = |error: BuildError| matches!(error, BuildError::NotBuilt { .. });
    let bot = |token: &str, api_url: &str| {
        ReceiverKind::Slack(Slack {
            token: token.into(),
            channel: "C1".to_owned(),
            api_url: api_url.parse().unwrap(),
            buttons: false,
        })
    };
    assert!(address(refused(bot(SECRET, "http://slack.com/api"))));
    for token in ["", "xapp-1-A0-0-abcdef", "two\nlines"] {
        let error = refused(bot(token, "https://slack.com/api"));
        assert!(matches!(error, BuildError::Token { .. }), "{error}");
    }
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
            [SECRET, PASSWORD, KEY, ROUTING_KEY]
                .iter()
                .all(|secret| !shown.contains(secret)),
            "{shown}"
        );
    }
}
