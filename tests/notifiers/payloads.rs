//! What each kind sends, as it was reviewed.

use tardy::engine::notification::{Notification, Reason};

use crate::told;
use crate::world::{KINDS, Kind, World, deliver, handle_of};

async fn said(kind: Kind, notification: &Notification) -> World {
    let world = World::new(kind).await;
    handle_of(deliver(&*world.notifier(), notification, None).await);
    world
}

fn stories() -> Vec<(&'static str, Notification)> {
    let mut flapping = told::changed(3);
    flapping.reason = Reason::Flapping;
    vec![
        ("first", told::first()),
        ("many", told::many()),
        ("flapping", flapping),
        ("recovered", told::recovered(2)),
        ("notice", told::notice()),
        ("hostile", told::hostile(&told::HOSTILE[..10].join(" "))),
    ]
}

#[tokio::test]
async fn look_as_reviewed() {
    for (name, notification) in stories() {
        for kind in KINDS {
            let world = said(*kind, &notification).await;
            let snapshot = format!("{kind:?}_{name}");
            match kind {
                Kind::Email => {
                    let mail = world.mails().remove(0);
                    let shown = format!(
                        "Subject: {}\nMessage-ID: {}\n\n{}",
                        mail.subject, mail.id, mail.text
                    );
                    insta::assert_snapshot!(snapshot, shown);
                }
                Kind::Console => insta::assert_snapshot!(snapshot, world.received().concat()),
                _ => insta::assert_json_snapshot!(snapshot, world.chat.said()[0].json()),
            }
        }
    }
}

#[tokio::test]
async fn html_mail_looks_as_reviewed() {
    let world = said(Kind::Email, &told::first()).await;
    insta::assert_snapshot!("Email_first_html", world.mails()[0].html);
}
