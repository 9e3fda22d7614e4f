//! Texts of a receiver's own: shown by every kind, escaped like every other text, and never the reason for a lost
//! message.

use tardy::engine::notification::{Body, Notification};
use tardy::notify::{Delivery, PreviewForm, TemplateTexts};

use crate::chat::SECRET;
use crate::check_received;
use crate::told;
use crate::world::{KEY, KINDS, Kind, PASSWORD, World, deliver, handle_of};

fn texts(title: &str, body: &str) -> TemplateTexts {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    TemplateTexts {
        subject: None,
        title: some(title),
        body: some(body),
    }
}

async fn told_with(kind: Kind, texts: TemplateTexts, notification: &Notification) -> World {
    let world = World::new(kind).await;
    handle_of(deliver(&*world.with_texts(texts), notification, None).await);
    check_received(&world);
    world
}

/// Everything an alert has, in one body.
const EVERYTHING: &str = "\
{% for alert in alerts %}{{ alert.id }} {{ alert.rule }} {{ alert.kind }} {{ alert.origin }} {{ alert.headline }}
{% for fact in alert.facts %}{{ fact.name }}: {{ fact.value }}
{% endfor %}{% for name, value in alert.labels|items %}{{ name }}={{ value }} {% endfor %}
{{ alert.error }} {{ alert.run_url }} {{ alert.runbook }} {{ alert.owner }} {{ alert.description }}
{% endfor %}";

#[tokio::test]
async fn every_kind_shows_its_own_title_and_body() {
    for kind in KINDS {
        let own = texts(
            "Own: {{ alert.labels.job }}",
            "Usual {{ alert.fact.usual }}\n\nSee {{ alert.run_url }}",
        );
        let world = told_with(*kind, own, &told::first()).await;
        let received = world.received().concat();
        for part in ["Own: nightly-refresh", "Usual 31 min, p95 36"] {
            assert!(received.contains(part), "{kind:?}: {part} in {received}");
        }
        let has_cards = received.contains("Last good run");
        assert_eq!(has_cards, *kind == Kind::Webhook, "{kind:?}: {received}");
    }
}

#[tokio::test]
async fn hostile_texts_in_own_texts_stay_texts() {
    for kind in KINDS {
        for text in told::HOSTILE {
            let own = || texts("{{ alert.labels.job }} {{ headline }}", EVERYTHING);
            told_with(*kind, own(), &told::hostile(text)).await;
            // What the template itself says is a text too.
            let own = texts(
                &format!("{{% raw %}}{}{{% endraw %}}", text.replace("{% raw %}", "")),
                &format!("{{% raw %}}{}{{% endraw %}}", text.replace("{% raw %}", "")),
            );
            told_with(*kind, own, &told::first()).await;
        }
    }
}

#[tokio::test]
async fn own_texts_of_any_length_fit_the_limits() {
    for kind in KINDS {
        told_with(
            *kind,
            texts("{{ headline }}", EVERYTHING),
            &told::long("<&>"),
        )
        .await;
        for unit in ["word ", "<&>", "🚀", "`", "\"\\\n", "@everyone ", "a\n\n"] {
            told_with(*kind, texts("t", &unit.repeat(3_000)), &told::first()).await;
        }
    }
}

#[tokio::test]
async fn only_checked_links_are_links() {
    let body = "{{ alert.run_url }} https://evil.example/x {{ alert.runbook }}";
    let world = told_with(Kind::SlackWebhook, texts("", body), &told::first()).await;
    let received = world.received().concat();
    assert!(
        received.contains("<https://app.dagctl.io/projects/p1/runs/r1?tab=a&amp;b=c|run>"),
        "{received}"
    );
    assert!(received.contains("nightly|runbook>"), "{received}");
    assert!(!received.contains("<https://evil"), "{received}");
    let world = told_with(Kind::DiscordWebhook, texts("", body), &told::first()).await;
    let received = world.received().concat();
    assert!(received.contains("<https://app.dagctl.io/projects/p1/runs/r1?tab=a&b=c>"));
    assert!(!received.contains("https://evil"), "{received}");
    let world = told_with(Kind::Email, texts("", body), &told::first()).await;
    let html = &world.mails()[0].html;
    assert!(!html.contains("href=\"https://evil"), "{html}");
    assert!(
        html.contains("href=\"https:&#x2f;&#x2f;app.dagctl.io"),
        "{html}"
    );
}

#[tokio::test]
async fn a_template_that_fails_is_replaced_and_the_message_says_so() {
    for kind in KINDS {
        let mut first = told::first();
        if let Body::Alerts(alerts) = &mut first.body {
            alerts[0].owner = Some("hunter2".to_owned());
        }
        let own = texts("{{ alert.owner - 1 }}", "a\n{{ alert.nothing }}");
        let world = told_with(*kind, own, &first).await;
        let received = world.received().concat().replace("\n│ ", " ");
        for part in [
            "Late: finance nightly-refresh not finished",
            "Last good run",
            "the template `title` of receiver team failed at line 1",
        ] {
            let part = match kind {
                Kind::DiscordWebhook => part.replace('`', "\\\\`"),
                _ => part.to_owned(),
            };
            assert!(received.contains(&part), "{kind:?}: {part} in {received}");
        }
    }
}

#[tokio::test]
async fn a_bomb_costs_little_and_loses_nothing() {
    let bomb = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{{ 'x' * 99999 }}{% endfor %}{% endfor %}{% endfor %}";
    let started = std::time::Instant::now();
    let world = told_with(Kind::Console, texts(bomb, bomb), &told::first()).await;
    assert!(started.elapsed().as_secs() < 5);
    assert!(world.received().concat().contains("too much work"));
}

#[tokio::test]
async fn a_mail_has_its_own_subject_and_replies_keep_the_first() {
    let world = World::new(Kind::Email).await;
    let own = TemplateTexts {
        subject: Some("{{ reason }} {{ alert.labels.job }}\r\nBcc: x@example.com".to_owned()),
        ..TemplateTexts::default()
    };
    let notifier = world.with_texts(own);
    let handle = handle_of(deliver(&*notifier, &told::first(), None).await);
    handle_of(deliver(&*notifier, &told::reminder(1), handle.as_ref()).await);
    let mails = world.mails();
    assert_eq!(mails[0].subject, "first nightly-refresh Bcc: x@example.com");
    assert_eq!(
        mails[1].subject,
        "Re: first nightly-refresh Bcc: x@example.com"
    );
    assert!(
        mails
            .iter()
            .all(|mail| !mail.headers.contains(&"Bcc".to_owned()))
    );
    assert_eq!(mails[1].in_reply_to.as_deref(), Some(mails[0].id.as_str()));
}

#[tokio::test]
async fn notices_are_built_in() {
    for kind in KINDS {
        let world = told_with(*kind, texts("own", "own"), &told::notice()).await;
        let received = world.received().concat();
        assert!(
            received.contains("was not reloaded"),
            "{kind:?}: {received}"
        );
    }
}

#[tokio::test]
async fn a_preview_is_what_is_sent_and_holds_no_secret() {
    for kind in KINDS {
        for notification in [told::first(), told::many(), told::recovered(0)] {
            let world = World::new(*kind).await;
            let notifier = world.with_texts(texts("{{ headline }}", "{{ alert.error }}"));
            let parts = notifier.preview(Delivery {
                notification: &notification,
                handle: None,
                attempt: 1,
                is_uncertain: false,
                chart: None,
            });
            handle_of(deliver(&*notifier, &notification, None).await);
            let shown = format!("{parts:?}");
            for secret in [
                SECRET,
                PASSWORD,
                KEY,
                "/services/",
                "/api/webhooks",
                "/hook/",
            ] {
                assert!(!shown.contains(secret), "{kind:?}: {shown}");
            }
            let sent = world.received().concat();
            let part = |form| {
                parts
                    .iter()
                    .find(|part| part.form == form)
                    .map(|part| part.text.clone())
            };
            match kind {
                Kind::Console => assert_eq!(part(PreviewForm::Text).unwrap(), sent),
                Kind::Email => {
                    assert_eq!(part(PreviewForm::Text).unwrap().trim_end(), sent.trim_end());
                    let html = part(PreviewForm::Html).unwrap();
                    assert_eq!(
                        html.trim_end(),
                        world.mails()[0].html.replace("\r\n", "\n").trim_end()
                    );
                }
                _ => {
                    let without_key = |text: &str| {
                        let mut json: serde_json::Value = serde_json::from_str(text).unwrap();
                        json.as_object_mut().unwrap().remove("routing_key");
                        json
                    };
                    let previewed = part(PreviewForm::Json).unwrap();
                    assert_eq!(without_key(&previewed), without_key(&sent), "{kind:?}");
                }
            }
        }
    }
}
