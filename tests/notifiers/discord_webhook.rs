//! What only Discord's webhook has: one message, edited.

use serde_json::{Value, json};
use tardy::engine::notification::Reason;
use tardy::engine::notification::{Body, Notification};
use tardy::notify::{Handle, Notifier, Outcome, build};

use crate::told;
use crate::world::{Kind, World, chart, deliver, deliver_with, handle_of, owners};

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

const URL: &str = "https://cdn.discordapp.com/attachments/800000000000000001/";

/// Delivers a story, each part with its own chart or without; returns the last handle.
async fn story(
    notifier: &dyn Notifier,
    parts: &[(Notification, bool)],
    mut handle: Option<Handle>,
) -> Option<Handle> {
    for (notification, has_chart) in parts {
        let picture = chart();
        let picture = has_chart.then_some(&picture);
        let outcome = deliver_with(notifier, notification, handle.as_ref(), picture).await;
        handle = handle_of(outcome);
    }
    handle
}

#[tokio::test]
async fn a_chart_survives_edits() {
    let world = World::new(Kind::DiscordWebhook).await;
    let notifier = world.notifier();
    let first = [(told::first(), true)];
    let handle = story(&*notifier, &first, None).await;
    let uploaded = &world.chat.said()[0];
    assert!(uploaded.headers["content-type"].starts_with("multipart/form-data"));
    assert_eq!(uploaded.files, [(chart().name, chart().png.to_vec())]);
    let described = &uploaded.json()["attachments"][0]["description"];
    assert_eq!(*described, json!(chart().alt));
    let shown = world.chat.messages()[0]["embeds"][0]["image"]["url"].clone();
    assert!(shown.as_str().unwrap().starts_with(URL), "{shown}");
    let edits = [
        (told::changed(1), false),
        (told::reminder(2), false),
        (told::recovered(3), false),
    ];
    story(&*notifier, &edits, handle).await;
    let message = &world.chat.messages()[0];
    assert_eq!(message["embeds"][0]["image"]["url"], shown, "the very same");
    assert_eq!(
        message["attachments"],
        json!([]),
        "shown once, in its place"
    );
    for seen in world
        .chat
        .said()
        .iter()
        .filter(|seen| seen.method == "PATCH")
    {
        assert_eq!(seen.json()["allowed_mentions"], json!({ "parse": [] }));
        assert_eq!(seen.files, [], "not uploaded again");
    }
}

#[tokio::test]
async fn a_newer_chart_replaces_the_one_before() {
    let world = World::new(Kind::DiscordWebhook).await;
    let notifier = world.notifier();
    let mut worse = told::reminder(1);
    worse.reason = Reason::Upgraded;
    let parts = [
        (told::first(), true),
        (worse, true),
        (told::changed(2), false),
    ];
    story(&*notifier, &parts, None).await;
    let message = &world.chat.messages()[0];
    let shown = message["embeds"][0]["image"]["url"].as_str().unwrap();
    assert!(
        shown.starts_with(&format!("{URL}600000000000000002/")),
        "{shown}"
    );
    assert_eq!(world.chat.files(), [chart().name]);
}

#[tokio::test]
async fn a_chart_that_is_refused_is_left_out_in_the_same_attempt() {
    for (status, body) in [
        (413, ""),
        (
            413,
            r#"{"code":40005,"message":"Request entity too large"}"#,
        ),
        (
            400,
            r#"{"code":40005,"message":"Request entity too large"}"#,
        ),
        (400, r#"{"code":50035,"message":"Invalid Form Body"}"#),
    ] {
        let world = World::new(Kind::DiscordWebhook).await;
        world.chat.answer_next(status, &[], body);
        story(&*world.notifier(), &[(told::first(), true)], None).await;
        let messages = world.chat.messages();
        assert_eq!((messages.len(), world.chat.said().len()), (1, 2));
        assert!(
            messages[0]["embeds"][0]["fields"].is_array(),
            "all else is there"
        );
        assert_eq!(messages[0]["embeds"][0]["image"], Value::Null);
    }
}

#[tokio::test]
async fn a_newer_chart_that_is_refused_leaves_the_one_before() {
    let world = World::new(Kind::DiscordWebhook).await;
    let notifier = world.notifier();
    let handle = story(&*notifier, &[(told::first(), true)], None).await;
    world.chat.answer_next(413, &[], "");
    story(&*notifier, &[(told::changed(1), true)], handle).await;
    let message = &world.chat.messages()[0];
    let shown = message["embeds"][0]["image"]["url"].as_str().unwrap();
    assert!(
        shown.starts_with(&format!("{URL}600000000000000001/")),
        "{shown}"
    );
    assert!(
        message["embeds"][0]["description"]
            .as_str()
            .unwrap()
            .contains("another error")
    );
}

#[tokio::test]
async fn a_chart_is_shown_at_the_alert_it_is_about() {
    let world = World::new(Kind::DiscordWebhook).await;
    let mut joined = told::alert("joined");
    joined.severity = tardy::engine::rule::Severity::Warning;
    let mut old = told::alert("old");
    old.is_new = false;
    let both = told::notification(0, Reason::NewAlerts, vec![old, joined]);
    story(&*world.notifier(), &[(both, true)], None).await;
    let embeds = world.chat.messages()[0]["embeds"].clone();
    assert_eq!(embeds[0]["image"], Value::Null);
    assert!(embeds[1]["image"]["url"].is_string());
}

#[tokio::test]
async fn what_does_not_fit_follows_in_further_messages() {
    let world = World::new(Kind::DiscordWebhook).await;
    let notifier = world.notifier();
    let handle = story(&*notifier, &[(told::many(), false)], None).await;
    let messages = world.chat.messages();
    assert_eq!(messages.len(), 4);
    let embeds = |message: &Value| message["embeds"].as_array().unwrap().len();
    let shown: usize = messages.iter().map(embeds).sum();
    let first = messages[0]["content"].as_str().unwrap();
    let counted = format!("and {} more; 3 kept quiet", 40 - shown);
    assert!(
        shown == 40 || first.contains(&counted),
        "{shown} shown: {first}"
    );
    assert!(shown > 30, "{shown} shown");
    for (index, message) in messages.iter().enumerate().skip(1) {
        let content = message["content"].as_str().unwrap();
        assert!(
            content.starts_with(&format!("{} of 4: Late: finance", index + 1)),
            "{content}"
        );
        assert_eq!(message["flags"], json!(1 << 12), "it calls nobody");
        assert_eq!(message["allowed_mentions"], json!({ "parse": [] }));
    }
    assert_eq!(messages[0]["flags"], Value::Null);
    // They are edited with the first, and go when there is less to say.
    let mut fewer = told::many();
    (fewer.sequence, fewer.reason) = (1, Reason::SomeResolved);
    if let Body::Alerts(alerts) = &mut fewer.body {
        alerts.truncate(14);
    }
    let handle = story(&*notifier, &[(fewer, false)], handle).await;
    let messages = world.chat.messages();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages.iter().map(embeds).sum::<usize>(), 14);
    story(&*notifier, &[(told::recovered(2), false)], handle).await;
    assert_eq!(
        world.chat.messages().len(),
        2,
        "the first, and the short one that says so"
    );
}

#[tokio::test]
async fn what_was_posted_is_not_posted_again_when_the_rest_fails() {
    let world = World::new(Kind::DiscordWebhook).await;
    let notifier = world.notifier();
    world
        .chat
        .answer_next(200, &[], r#"{"id":"700000000000000009","channel_id":"8"}"#);
    world.chat.answer_next(503, &[], "");
    let outcome = deliver(&*notifier, &told::many(), None).await;
    assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
    let handle = handle_of(deliver(&*notifier, &told::many(), None).await).unwrap();
    assert_eq!(handle.0["message_id"], "700000000000000009");
    let posts = world
        .chat
        .said()
        .iter()
        .filter(|seen| seen.method == "POST")
        .count();
    assert_eq!(posts, 1 + 1 + 3, "the first once, the second twice");
}

#[tokio::test]
async fn who_has_taken_it_on_is_shown_and_calls_nobody() {
    let world = World::new(Kind::DiscordWebhook).await;
    let notifier = world.notifier();
    let parts = [(told::first(), false), (told::acknowledged(1), false)];
    story(&*notifier, &parts, None).await;
    let messages = world.chat.messages();
    assert_eq!(messages.len(), 1);
    let content = messages[0]["content"].as_str().unwrap();
    assert!(
        content.starts_with("Acknowledged by mia: Late: finance"),
        "{content}"
    );
    let footer = messages[0]["embeds"][0]["footer"]["text"].as_str().unwrap();
    assert!(
        footer.contains("acknowledged by mia until 15:20 EDT: looking at it"),
        "{footer}"
    );
}
