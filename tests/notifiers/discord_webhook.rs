//! What only Discord's webhook has: one message, edited.

use serde_json::{Value, json};
use tardy::engine::notification::Reason;
use tardy::notify::{Handle, Outcome, build};

use crate::told;
use crate::world::{Kind, World, deliver, handle_of, owners};

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
    assert!(
        content(0).starts_with("Recovered: finance nightly-refresh succeeded \\(lasted 42 min\\)")
    );
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
