//! What only the JSON webhook has: its events and signature.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use tardy::notify::Outcome;

use crate::chat::SECRET;
use crate::told;
use crate::world::{KEY, Kind, World, deliver, handle_of, why};

#[tokio::test]
async fn the_body_is_signed_and_says_what_happened() {
    let world = World::new(Kind::Webhook).await;
    let notifier = world.notifier();
    let story = [
        (told::first(), "firing"),
        (told::changed(1), "updated"),
        (told::reminder(2), "reminder"),
        (told::acknowledged(2), "updated"),
        (told::silenced(2), "updated"),
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
        assert!(why(&outcome).contains(&status.to_string()) && !why(&outcome).contains("hunter2"));
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

#[tokio::test]
async fn the_documentation_shows_every_key() {
    let documentation = include_str!("../../docs/webhook.md");
    let example = documentation.split("```json").nth(1).unwrap();
    let example: Value = serde_json::from_str(example.split("```").next().unwrap()).unwrap();
    let world = World::new(Kind::Webhook).await;
    handle_of(deliver(&*world.notifier(), &told::many(), None).await);
    let sent = world.chat.said()[0].json();
    let keys = |value: &Value| -> Vec<String> {
        let map = value.as_object().unwrap();
        map.keys().cloned().collect()
    };
    assert_eq!(keys(&example), keys(&sent));
    assert_eq!(keys(&example["alerts"][0]), keys(&sent["alerts"][0]));
    assert_eq!(
        keys(&example["suppressed"][0]),
        keys(&sent["suppressed"][0])
    );
}

#[tokio::test]
async fn who_has_taken_it_on_or_silenced_it_is_data() {
    let world = World::new(Kind::Webhook).await;
    let notifier = world.notifier();
    for notification in [told::first(), told::acknowledged(1), told::silenced(2)] {
        handle_of(deliver(&*notifier, &notification, None).await);
    }
    let said = world.chat.said();
    let said = |number: usize| said[number].json()["alerts"][0].clone();
    let (first, known, quiet) = (said(0), said(1), said(2));
    assert_eq!(
        (&first["acknowledged"], &first["silenced"]),
        (&Value::Null, &Value::Null)
    );
    let until = "2026-03-10T19:20:00Z";
    let expected = json!({ "by": "mia", "until": until, "comment": "looking at it" });
    assert_eq!(known["acknowledged"], expected);
    let until = "2026-03-10T13:00:00Z";
    let expected =
        json!({ "id": "s1", "by": "mia", "until": until, "comment": "the warehouse moves" });
    assert_eq!(quiet["silenced"], expected);
}
