//! Digests at every kind of receiver: as they were reviewed, within every platform's limits, and with texts
//! that stay texts.

use std::sync::Arc;

use mail_parser::{MessageParser, MimeHeaders as _, PartType};
use tardy::notify::{Chart, Delivery};

use crate::told;
use crate::world::{KINDS, Kind, World, deliver, handle_of};

/// A digest wakes nobody: PagerDuty is not sent any.
fn told_kinds() -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().filter(|kind| **kind != Kind::PagerDuty)
}

#[tokio::test]
async fn look_as_reviewed() {
    for (name, notification) in [("digest", told::digest()), ("quiet", told::quiet_digest())] {
        for kind in told_kinds() {
            let world = World::new(*kind).await;
            handle_of(deliver(&*world.notifier(), &notification, None).await);
            let snapshot = format!("{kind:?}_digest_{name}");
            match kind {
                Kind::Email => {
                    let mail = world.mails().remove(0);
                    let shown = format!("Subject: {}\n\n{}", mail.subject, mail.text);
                    insta::assert_snapshot!(snapshot.clone(), shown);
                    insta::assert_snapshot!(format!("{snapshot}_html"), mail.html);
                }
                Kind::Console => insta::assert_snapshot!(snapshot, world.received().concat()),
                _ => insta::assert_json_snapshot!(snapshot, world.chat.said()[0].json()),
            }
        }
    }
}

#[tokio::test]
async fn the_verdict_stands_alone_and_leads() {
    for kind in told_kinds() {
        let world = World::new(*kind).await;
        handle_of(deliver(&*world.notifier(), &told::digest(), None).await);
        let received = world.received();
        assert_eq!(received.len(), 1, "{kind:?}");
        for part in [
            "3 of 41 promises missed, 2 late",
            "finance nightly-refresh",
            "acknowledged by ada",
            "3 alerts open",
        ] {
            // On the terminal lines are wrapped.
            let said = received[0].replace("\n│ ", " ");
            assert!(said.contains(part), "{kind:?}: {part} in {said}");
        }
    }
}

#[tokio::test]
async fn the_webhook_has_the_whole_structure() {
    let world = World::new(Kind::Webhook).await;
    let notification = told::digest();
    handle_of(deliver(&*world.notifier(), &notification, None).await);
    let body = world.chat.said()[0].json();
    assert_eq!(body["event"], "digest");
    assert_eq!(body["reason"], "digest");
    assert_eq!(body["digest"]["state"], "bad");
    assert_eq!(body["digest"]["open"]["rows"][0]["acknowledged_by"], "ada");
    assert_eq!(body["digest"]["sla"]["rows"][0]["periods"][0]["missed"], 3);
    assert_eq!(body["digest"]["sla"]["more"], 4);
    assert_eq!(body["alerts"], serde_json::json!([]));
}

#[tokio::test]
async fn texts_stay_texts_and_fit_however_hostile_and_many_they_are() {
    let units = ["x", "word ", "<&>", "**", "🚀", "`", "\"\\\n", "@everyone "];
    for kind in told_kinds() {
        for text in told::HOSTILE.iter().copied().chain(units) {
            let all = format!("{text} ");
            let notifications = [
                told::digest_told(told::digest_of(&|_| text.to_owned())),
                told::full_digest(&all),
            ];
            for notification in notifications {
                let world = World::new(*kind).await;
                handle_of(deliver(&*world.notifier(), &notification, None).await);
                crate::check_received(&world);
            }
        }
    }
}

#[tokio::test]
async fn what_finds_no_room_is_counted() {
    for kind in [Kind::SlackWebhook, Kind::DiscordWebhook] {
        let world = World::new(kind).await;
        let full = told::full_digest("a rather long text ");
        handle_of(deliver(&*world.notifier(), &full, None).await);
        let received = world.received().concat();
        assert!(received.contains("No room for"), "{kind:?}: {received}");
        assert!(received.contains("more"), "{kind:?}");
    }
}

#[tokio::test]
async fn a_mail_shows_its_chart_by_content_id_and_says_what_it_shows() {
    let world = World::new(Kind::Email).await;
    let chart = Chart {
        name: "promises.png".to_owned(),
        alt: "Promises by day. Mon 9 Mar: 41 kept".to_owned(),
        png: Arc::from(&b"\x89PNG not really"[..]),
    };
    let notification = told::digest();
    let notifier = world.notifier();
    assert!(notifier.wants_chart(&notification));
    let delivery = Delivery {
        notification: &notification,
        handle: None,
        attempt: 1,
        is_uncertain: false,
        chart: Some(&chart),
    };
    for _ in 0..2 {
        handle_of(notifier.deliver(delivery).await);
    }
    let mails = world.smtp.mails();
    assert_eq!(mails[0].1, mails[1].1, "the same bytes at every attempt");
    let mail = MessageParser::default().parse(&mails[0].1).unwrap();
    let html = mail.body_html(0).unwrap();
    let picture = mail
        .parts
        .iter()
        .find(|part| matches!(part.body, PartType::InlineBinary(_) | PartType::Binary(_)))
        .expect("the picture");
    let id = picture.content_id().unwrap();
    assert!(html.contains(&format!("src=\"cid:{id}\"")), "{id}");
    assert!(html.contains("alt=\"Promises by day. Mon 9 Mar: 41 kept\""));
    assert_eq!(picture.contents(), b"\x89PNG not really");
    assert_eq!(picture.attachment_name(), Some("promises.png"));
    let text = mail.body_text(0).unwrap();
    assert!(text.contains("Still open (3)"), "{text}");
}
