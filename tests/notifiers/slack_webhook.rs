//! What only Slack's webhook has: messages that name the first one.

use serde_json::Value;
use tardy::engine::notification::{Body, Reason};
use tardy::notify::build;

use crate::chat::Seen;
use crate::platform;
use crate::told;
use crate::world::{Kind, World, deliver, handle_of, owners, why};

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
            "Update on k3x9pq: Recovered: finance nightly-refresh succeeded (lasted 42 min)",
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
    let is_mentioned = |seen: &Seen| {
        platform::check_slack(&seen.json()).unwrap();
        seen.body.contains("<!subteam^S0FINANCE>")
    };
    let mentioned: Vec<bool> = world.chat.said().iter().map(is_mentioned).collect();
    assert_eq!(mentioned, [true, true, false, false]);
}
