//! What only mail has: threads, and recipients who fail one by one.

use serde_json::json;
use tardy::notify::{Notifier, Outcome, Receiver, TemplateTexts, build};

use crate::smtp::Fault;
use crate::told;
use crate::world::{Kind, Mail, World, deliver, handle_of, why};

fn notifier_to(world: &World, to: &[&str]) -> Box<dyn Notifier> {
    let receiver = Receiver {
        name: "team".into(),
        kind: world.kind_of(to),
        template: TemplateTexts::default(),
    };
    build(&receiver, &world.context()).unwrap()
}

#[tokio::test]
async fn a_conversation_is_one_thread() {
    let world = World::new(Kind::Email).await;
    let notifier = notifier_to(&world, &["Lead <lead@example.com>", "oncall@example.com"]);
    let mut handle = None;
    for notification in [told::first(), told::reminder(1), told::recovered(2)] {
        handle = handle_of(deliver(&*notifier, &notification, handle.as_ref()).await);
    }
    assert_eq!(
        world.smtp.connections(),
        1,
        "one connection serves them all"
    );
    let mails = world.mails();
    assert_eq!(mails.len(), 6);
    for to in ["lead@example.com", "oncall@example.com"] {
        let thread: Vec<&Mail> = mails.iter().filter(|mail| mail.to == to).collect();
        let subjects: Vec<&str> = thread.iter().map(|mail| mail.subject.as_str()).collect();
        let subject = "[critical] finance nightly-refresh: deadline";
        assert_eq!(
            subjects,
            [
                subject,
                &format!("Re: {subject}"),
                &format!("Re: {subject}")
            ]
        );
        let id = told::first().delivery_id();
        assert!(thread[0].id.starts_with(&id) && thread[0].id.ends_with("@example.com"));
        assert_eq!(
            (&thread[0].in_reply_to, &thread[0].references),
            (&None, &None)
        );
        for reply in &thread[1..] {
            assert_eq!(reply.in_reply_to.as_deref(), Some(thread[0].id.as_str()));
            assert_eq!(reply.references.as_deref(), Some(thread[0].id.as_str()));
            assert_ne!(reply.id, thread[0].id);
        }
        assert!(
            thread[2]
                .text
                .starts_with("Recovered: finance nightly-refresh succeeded (lasted 42 min)\n")
        );
    }
    let ids: std::collections::BTreeSet<&String> = mails.iter().map(|mail| &mail.id).collect();
    assert_eq!(ids.len(), 6);
    for mail in &mails {
        mail.check();
        assert!(mail.raw.contains("\r\nAuto-Submitted: auto-generated\r\n"));
        assert!(mail.html.contains("finance") && mail.html.contains("prefers-color-scheme"));
    }
}

#[tokio::test]
async fn one_refused_recipient_does_not_stop_the_others() {
    let world = World::new(Kind::Email).await;
    world
        .smtp
        .refuse("gone@example.com", Some("550 5.1.1 no such user"));
    let notifier = notifier_to(
        &world,
        &["gone@example.com", "a@example.com", "b@example.com"],
    );
    let handle = handle_of(deliver(&*notifier, &told::first(), None).await).unwrap();
    let to: Vec<String> = world.mails().into_iter().map(|mail| mail.to).collect();
    assert_eq!(to, ["a@example.com", "b@example.com"]);
    assert_eq!(handle.0["refused"], json!(["gone@example.com"]));
    assert_eq!(
        world.smtp.connections(),
        1,
        "the dialogue goes on after a refusal"
    );
}

#[tokio::test]
async fn all_refused_is_rejected() {
    let world = World::new(Kind::Email).await;
    let to = ["gone@example.com", "left@example.com"];
    for to in to {
        world.smtp.refuse(to, Some("550 5.1.1 no such user"));
    }
    let outcome = deliver(&*notifier_to(&world, &to), &told::first(), None).await;
    assert!(matches!(outcome, Outcome::Rejected { .. }), "{outcome:?}");
    assert!(why(&outcome).contains("gone@example.com") && why(&outcome).contains("no such user"));
}

#[tokio::test]
async fn a_relay_that_does_not_let_us_in_is_asked_once() {
    let world = World::new(Kind::Email).await;
    world.smtp.require("another password");
    let notifier = notifier_to(&world, &["a@example.com", "b@example.com", "c@example.com"]);
    let outcome = deliver(&*notifier, &told::first(), None).await;
    assert!(matches!(outcome, Outcome::Rejected { .. }), "{outcome:?}");
    assert_eq!(world.smtp.connections(), 1);
}

#[tokio::test]
async fn those_who_have_it_are_not_mailed_again() {
    let world = World::new(Kind::Email).await;
    world
        .smtp
        .refuse("full@example.com", Some("452 4.2.2 mailbox full"));
    world
        .smtp
        .refuse("gone@example.com", Some("550 no such user"));
    let notifier = notifier_to(
        &world,
        &["a@example.com", "gone@example.com", "full@example.com"],
    );
    for _ in 0..2 {
        let outcome = deliver(&*notifier, &told::first(), None).await;
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
        assert!(why(&outcome).starts_with("1 of 3 recipients have it; full@example.com"));
    }
    world.smtp.refuse("full@example.com", None);
    handle_of(deliver(&*notifier, &told::first(), None).await);
    let to: Vec<String> = world.mails().into_iter().map(|mail| mail.to).collect();
    assert_eq!(to, ["a@example.com", "full@example.com"]);
}

#[tokio::test]
async fn a_lost_answer_repeats_the_very_same_mail() {
    let world = World::new(Kind::Email).await;
    world.smtp.fail_next(Fault::DropAfterData);
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
        "{outcome:?}"
    );
    handle_of(deliver(&*notifier, &told::first(), None).await);
    let mails = world.smtp.mails();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0], mails[1], "same Message-ID, same bytes");
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_is_replaced() {
    let world = World::new(Kind::Email).await;
    world.smtp.fail_next(Fault::CloseAfter);
    let notifier = world.notifier();
    handle_of(deliver(&*notifier, &told::first(), None).await);
    handle_of(deliver(&*notifier, &told::reminder(1), None).await);
    assert_eq!((world.smtp.mails().len(), world.smtp.connections()), (2, 2));
}

#[test]
fn it_may_be_dropped_outside_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let notifier = runtime.block_on(async {
        let world = World::new(Kind::Email).await;
        let notifier = world.notifier();
        handle_of(deliver(&*notifier, &told::first(), None).await);
        notifier
    });
    drop(runtime);
    drop(notifier);
}
