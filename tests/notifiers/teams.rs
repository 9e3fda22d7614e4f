//! What only Teams has: cards that name the first one, mentions of users, and a workflow that fails unseen.

use serde_json::{Value, json};
use tardy::engine::notification::Reason;
use tardy::notify::build;

use crate::chat::teams::{Workflow, check_message};
use crate::told;
use crate::world::{Kind, World, deliver, handle_of, owners, why};

/// First texts of the cards in the channel.
fn first_lines(world: &World) -> Vec<String> {
    let posts = world.chat.in_teams(Workflow::posts);
    let line = |card: &Value| card["body"][0]["items"][0]["inlines"][0]["text"].clone();
    posts
        .iter()
        .map(|card| line(card).as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn later_cards_name_the_first() {
    let world = World::new(Kind::Teams).await;
    let notifier = world.notifier();
    let handle = handle_of(deliver(&*notifier, &told::first(), None).await);
    let kept = handle_of(deliver(&*notifier, &told::changed(1), handle.as_ref()).await);
    assert_eq!(kept, None, "the handle stays");
    handle_of(deliver(&*notifier, &told::recovered(2), handle.as_ref()).await);
    assert_eq!(
        first_lines(&world),
        [
            "Late: finance nightly-refresh not finished, due 07:00 EST",
            "Update on k3x9pq: Changed: Late: finance nightly-refresh not finished, due 07:00 EST",
            "Update on k3x9pq: Recovered: finance nightly-refresh succeeded (lasted 42 min)",
        ]
    );
    let colours = world.chat.in_teams(Workflow::posts);
    let colours: Vec<&Value> = colours
        .iter()
        .map(|card| &card["body"][0]["style"])
        .collect();
    assert_eq!(colours, ["attention", "attention", "good"]);
}

#[tokio::test]
async fn owners_are_mentioned_when_it_opens_and_escalates_only() {
    let world = World::new(Kind::Teams).await;
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
    let posts = world.chat.in_teams(Workflow::posts);
    let mentioned: Vec<bool> = posts
        .iter()
        .map(|card| {
            let text = card["body"]
                .to_string()
                .contains("<at>alice@example.com</at>");
            let entities = card["msteams"]["entities"].as_array().unwrap();
            assert_eq!(text, entities.len() == 1);
            text
        })
        .collect();
    assert_eq!(mentioned, [true, true, false, false]);
}

#[tokio::test]
async fn data_cannot_mention_and_is_no_markdown() {
    for text in [
        "<at>alice@example.com</at>",
        "[click](http://evil) **bold** # head",
        "line\n- item\n\n1. one",
    ] {
        let world = World::new(Kind::Teams).await;
        let mut context = world.context();
        context.owners = owners();
        let notifier = build(&world.receiver(), &context).unwrap();
        handle_of(deliver(&*notifier, &told::hostile(text), None).await);
        assert_eq!(world.chat.in_teams(Workflow::failed), [""; 0]);
        let card = &world.chat.in_teams(Workflow::posts)[0];
        assert_eq!(card["msteams"]["entities"], json!([]));
    }
}

#[tokio::test]
async fn no_message_is_one_that_the_workflow_could_not_post() {
    let notifications = ["x", "数", "🚀", "\"\\", "\n", "a\n"].map(told::long);
    for notification in notifications.into_iter().chain([told::many()]) {
        let world = World::new(Kind::Teams).await;
        handle_of(deliver(&*world.notifier(), &notification, None).await);
        assert_eq!(world.chat.in_teams(Workflow::failed), [""; 0]);
        assert_eq!(world.chat.in_teams(Workflow::posts).len(), 1);
    }
}

#[tokio::test]
async fn a_workflow_that_is_turned_off_is_rejected_with_the_remedy() {
    let world = World::new(Kind::Teams).await;
    let said = json!({ "error": {
        "code": "WorkflowTriggerIsNotEnabled",
        "message": "Could not execute workflow '0f' trigger 'manual' with state 'Disabled'.",
    } });
    world.chat.answer_next(400, &[], &said.to_string());
    let outcome = deliver(&*world.notifier(), &told::first(), None).await;
    assert!(why(&outcome).contains("turn it on"), "{outcome:?}");
}

/// The fake itself holds what is posted to the documented size.
#[test]
fn the_size_is_enforced_at_and_over() {
    let message = |text: String| {
        json!({ "type": "message", "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "type": "AdaptiveCard", "version": "1.2", "fallbackText": "x",
                "msteams": { "entities": [] },
                "body": [{ "type": "RichTextBlock", "inlines": [{ "type": "TextRun", "text": text }] }],
            },
        }] })
    };
    let frame = message("x".to_owned()).to_string().len() - 1;
    let room = 28 * 1024 / 2 - frame;
    assert_eq!(check_message(&message("x".repeat(room))), Ok(()));
    let over = check_message(&message("x".repeat(room + 1)));
    assert!(over.unwrap_err().contains("TooLarge"));
}
