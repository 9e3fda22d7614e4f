//! What only mail has: threads, and recipients who fail one by one.

use serde_json::json;
use tardy::engine::notification::Reason;
use tardy::notify::{Notifier, Outcome, Receiver, TemplateTexts, build};

use crate::smtp::Fault;
use crate::told;
use crate::world::{Kind, Mail, World, chart, deliver, deliver_with, handle_of, why};

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

#[tokio::test]
async fn a_chart_is_part_of_the_mail() {
    let world = World::new(Kind::Email).await;
    let notifier = world.notifier();
    let picture = chart();
    handle_of(deliver_with(&*notifier, &told::first(), None, Some(&picture)).await);
    let mail = &world.mails()[0];
    mail.check();
    let (id, name, bytes) = &mail.inline[0];
    assert_eq!(
        (mail.inline.len(), name.as_str()),
        (1, picture.name.as_str())
    );
    assert_eq!(**bytes, *picture.png);
    assert!(id.ends_with("@example.com"), "{id}");
    let shown = mail.html.split("<img").nth(1).unwrap();
    assert!(
        shown.contains(&format!("alt=\"{}\"", picture.alt)),
        "{shown}"
    );
    assert!(!mail.html.contains("data:image"));
    let words = format!("\nChart: {}\n", picture.alt);
    assert!(mail.text.contains(&words), "{}", mail.text);
    // Those that show no HTML have the words; those that do find the picture beside it.
    let order = [
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
    ];
    let found: Vec<usize> = order
        .iter()
        .map(|kind| mail.raw.find(kind).unwrap())
        .collect();
    assert!(found.is_sorted(), "{found:?}");
}

#[tokio::test]
async fn hostile_words_beside_a_chart_stay_words() {
    for text in told::HOSTILE {
        let world = World::new(Kind::Email).await;
        let mut picture = chart();
        picture.alt = (*text).to_owned();
        picture.name = (*text).to_owned();
        let hostile = told::hostile(text);
        handle_of(deliver_with(&*world.notifier(), &hostile, None, Some(&picture)).await);
        let mail = &world.mails()[0];
        mail.check();
        assert_eq!(mail.inline[0].1, "chart.png");
    }
}

#[tokio::test]
async fn the_same_chart_makes_the_very_same_mail() {
    let world = World::new(Kind::Email).await;
    world.smtp.fail_next(Fault::DropAfterData);
    let (notifier, picture) = (world.notifier(), chart());
    for _ in 0..2 {
        deliver_with(&*notifier, &told::first(), None, Some(&picture)).await;
    }
    let mails = world.smtp.mails();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0], mails[1]);
}

#[tokio::test]
async fn every_change_is_a_reply_in_the_same_thread() {
    let reasons = [
        Reason::First,
        Reason::NewAlerts,
        Reason::Escalated,
        Reason::Upgraded,
        Reason::Changed,
        Reason::SomeResolved,
        Reason::Acknowledged,
        Reason::Silenced,
        Reason::Reminder,
        Reason::Flapping,
        Reason::RuleRemoved,
        Reason::AllResolved,
    ];
    let world = World::new(Kind::Email).await;
    let notifier = world.notifier();
    let mut handle = None;
    for (sequence, reason) in (0..).zip(reasons) {
        let mut alert = told::alert("k3x9pq");
        if reason == Reason::Upgraded {
            alert.headline = "Late: finance nightly-refresh due 07:00 EST, 52 min".to_owned();
        }
        let mut notification = told::notification(sequence, reason, vec![alert]);
        if reason == Reason::AllResolved {
            notification = told::recovered(sequence);
        }
        handle = handle_of(deliver(&*notifier, &notification, handle.as_ref()).await);
    }
    let mails = world.mails();
    assert_eq!(mails.len(), reasons.len());
    let subject = "[critical] finance nightly-refresh: deadline";
    assert_eq!(mails[0].subject, subject);
    for (mail, reason) in mails.iter().zip(reasons).skip(1) {
        mail.check();
        assert_eq!(mail.subject, format!("Re: {subject}"), "{reason:?}");
        assert_eq!(mail.in_reply_to.as_ref(), Some(&mails[0].id), "{reason:?}");
        assert_eq!(mail.references.as_ref(), Some(&mails[0].id), "{reason:?}");
    }
    let ids: std::collections::BTreeSet<&String> = mails.iter().map(|mail| &mail.id).collect();
    assert_eq!(ids.len(), mails.len());
}

#[tokio::test]
async fn filters_can_sort_by_receiver() {
    for (receiver, list) in [
        ("team", "Tardy <team.tardy.example.com>"),
        (
            "Finance on call",
            "Tardy <finance-on-call.tardy.example.com>",
        ),
        (
            "x\r\nBcc: evil@example.com",
            "Tardy <x--bcc--evil-example-com.tardy.example.com>",
        ),
        ("数据", "Tardy <receiver.tardy.example.com>"),
    ] {
        let world = World::new(Kind::Email).await;
        let receiver = Receiver {
            name: receiver.into(),
            ..world.receiver()
        };
        let notifier = build(&receiver, &world.context()).unwrap();
        handle_of(deliver(&*notifier, &told::first(), None).await);
        let mail = &world.mails()[0];
        mail.check();
        let header = format!("\r\nList-Id: {list}\r\n");
        assert!(mail.raw.contains(&header), "{}", mail.raw);
    }
}

#[tokio::test]
async fn who_has_taken_it_on_or_silenced_it_is_shown() {
    for (notification, line, note) in [
        (
            told::acknowledged(1),
            "Acknowledged by mia: Late: finance",
            "acknowledged by mia until 15:20 EDT: looking at it",
        ),
        (
            told::silenced(1),
            "Silenced by mia: Late: finance",
            "silenced by mia until 09:00 EDT: the warehouse moves",
        ),
    ] {
        let world = World::new(Kind::Email).await;
        handle_of(deliver(&*world.notifier(), &notification, None).await);
        let mail = &world.mails()[0];
        mail.check();
        assert!(mail.text.starts_with(line), "{}", mail.text);
        for body in [&mail.text, &mail.html] {
            assert!(body.contains(note), "{body}");
        }
    }
}
