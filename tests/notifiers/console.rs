//! What only the terminal has: a card, then lines.

use tardy::notify::build;

use crate::told;
use crate::world::{Kind, World, deliver, handle_of};

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

#[tokio::test]
async fn who_has_taken_it_on_is_a_line() {
    let world = World::new(Kind::Console).await;
    let notifier = world.notifier();
    for notification in [told::first(), told::acknowledged(1), told::silenced(2)] {
        handle_of(deliver(&*notifier, &notification, None).await);
    }
    let shown = world.received().concat();
    let lines: Vec<&str> = shown.lines().rev().take(2).collect();
    assert!(
        lines[1].contains("k3x9pq  Acknowledged by mia: Late: finance"),
        "{shown}"
    );
    assert!(
        lines[0].contains("k3x9pq  Silenced by mia: Late: finance"),
        "{shown}"
    );
}
