//! What only PagerDuty has: incidents that page when they open, are acknowledged, and end.

use serde_json::json;
use tardy::engine::notification::{AcknowledgedView, Body, Notification, Reason};
use tardy::engine::rule::Severity;
use tardy::notify::{Handle, Notifier, Outcome};

use crate::chat::Scripted;
use crate::chat::pagerduty::{Incident, ROUTING_KEY, Service, Status};
use crate::told;
use crate::world::{Kind, Trouble, World, deliver, handle_of, why};

fn of(severity: Severity, mut notification: Notification) -> Notification {
    if let Body::Alerts(alerts) = &mut notification.body {
        for alert in alerts {
            alert.severity = severity;
        }
    }
    notification
}

fn acknowledged(mut notification: Notification) -> Notification {
    notification.reason = Reason::Acknowledged;
    if let Body::Alerts(alerts) = &mut notification.body {
        for alert in alerts {
            alert.acknowledged = Some(AcknowledgedView {
                by: "alice".into(),
                until: told::at("19:00"),
                comment: None,
            });
        }
    }
    notification
}

fn because(reason: Reason, notification: Notification) -> Notification {
    Notification {
        reason,
        ..notification
    }
}

fn incidents(world: &World) -> Vec<Incident> {
    world.chat.in_pagerduty(|service| service.incidents())
}

fn statuses(world: &World) -> Vec<Status> {
    incidents(world)
        .iter()
        .map(|incident| incident.status)
        .collect()
}

/// A conversation with its handle, as the deliverer keeps it.
struct Conversation {
    notifier: Box<dyn Notifier>,
    handle: Option<Handle>,
}

impl Conversation {
    fn at(world: &World) -> Self {
        Self {
            notifier: world.notifier(),
            handle: None,
        }
    }

    async fn try_to_tell(&mut self, notification: &Notification) -> Outcome {
        let outcome = deliver(&*self.notifier, notification, self.handle.as_ref()).await;
        if let Outcome::Delivered { handle } = &outcome {
            self.handle = handle.clone().or(self.handle.take());
        }
        outcome
    }

    async fn tell(&mut self, notification: &Notification) {
        handle_of(self.try_to_tell(notification).await);
    }
}

#[tokio::test]
async fn a_conversation_is_one_incident_that_ends_once() {
    let world = World::new(Kind::PagerDuty).await;
    let mut conversation = Conversation::at(&world);
    for notification in [
        told::first(),
        told::changed(1),
        told::reminder(2),
        told::recovered(3),
    ] {
        conversation.tell(&notification).await;
    }
    let incidents = incidents(&world);
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    let incident = &incidents[0];
    assert_eq!(incident.key, told::first().conversation.to_string());
    assert_eq!(incident.status, Status::Resolved);
    assert_eq!(incident.triggers, 2, "what need not be noticed is not sent");
    assert_eq!(
        incident.title,
        "Late: finance nightly-refresh not finished, due 07:00 EST"
    );
    assert_eq!(world.chat.in_pagerduty(|service| service.dropped()), 0);
}

#[tokio::test]
async fn an_acknowledgement_reaches_pagerduty_and_its_end_pages_again() {
    let world = World::new(Kind::PagerDuty).await;
    let mut conversation = Conversation::at(&world);
    conversation.tell(&told::first()).await;
    conversation.tell(&acknowledged(told::changed(1))).await;
    assert_eq!(statuses(&world), [Status::Acknowledged]);
    let given_back = because(Reason::Acknowledged, told::changed(2));
    conversation.tell(&given_back).await;
    assert_eq!(statuses(&world), [Status::Resolved, Status::Triggered]);
    let second = world.chat.said()[2].json();
    let page = second["payload"]["custom_details"]["page"]
        .as_str()
        .unwrap();
    assert!(
        page.contains(&incidents(&world)[0].key),
        "it names the other: {page}"
    );
    conversation.tell(&told::recovered(3)).await;
    assert_eq!(statuses(&world), [Status::Resolved, Status::Resolved]);
}

#[tokio::test]
async fn what_gets_worse_pages_again_though_a_person_has_acknowledged_in_pagerduty() {
    let world = World::new(Kind::PagerDuty).await;
    let mut conversation = Conversation::at(&world);
    conversation
        .tell(&of(Severity::Warning, told::first()))
        .await;
    world
        .chat
        .in_pagerduty(|service| service.set(0, Status::Acknowledged));
    conversation
        .tell(&because(Reason::Upgraded, told::changed(1)))
        .await;
    let incidents = incidents(&world);
    assert_eq!(incidents.len(), 2);
    assert_eq!(incidents[0].severity, "warning");
    assert_eq!(incidents[1].severity, "critical");
    assert_eq!(statuses(&world), [Status::Resolved, Status::Triggered]);
}

#[tokio::test]
async fn what_a_person_closed_in_pagerduty_is_opened_by_a_reminder_and_by_nothing_smaller() {
    let world = World::new(Kind::PagerDuty).await;
    let mut conversation = Conversation::at(&world);
    conversation.tell(&told::first()).await;
    world
        .chat
        .in_pagerduty(|service| service.set(0, Status::Resolved));
    for reason in [
        Reason::Changed,
        Reason::SomeResolved,
        Reason::RuleRemoved,
        Reason::Silenced,
    ] {
        conversation.tell(&because(reason, told::changed(1))).await;
        assert_eq!(incidents(&world).len(), 1, "{reason:?}");
    }
    conversation.tell(&told::reminder(2)).await;
    assert_eq!(incidents(&world).len(), 2);
}

#[tokio::test]
async fn a_repeated_try_pages_once() {
    let mut world = World::new(Kind::PagerDuty).await;
    world.trouble(Trouble::Silent).await;
    let mut conversation = Conversation::at(&world);
    let outcome = conversation.try_to_tell(&told::first()).await;
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
    conversation.tell(&told::first()).await;
    // The same where an incident is replaced.
    world.chat.script(Scripted::Silence);
    let escalated = because(Reason::Escalated, told::reminder(1));
    conversation.try_to_tell(&escalated).await;
    conversation.tell(&escalated).await;
    assert_eq!(statuses(&world), [Status::Resolved, Status::Triggered]);
}

#[tokio::test]
async fn an_incident_that_could_not_be_closed_when_it_was_replaced_is_closed_later() {
    for is_over in [false, true] {
        let world = World::new(Kind::PagerDuty).await;
        let mut conversation = Conversation::at(&world);
        conversation.tell(&told::first()).await;
        let escalated = because(Reason::Escalated, told::reminder(1));
        // The page gets through, the end of the old one does not.
        world.chat.script(Scripted::Pass);
        world.chat.answer_next(503, &[], "try later");
        conversation.tell(&escalated).await;
        assert_eq!(statuses(&world), [Status::Triggered, Status::Triggered]);
        let (next, expected) = if is_over {
            (told::recovered(2), [Status::Resolved, Status::Resolved])
        } else {
            (told::changed(2), [Status::Resolved, Status::Triggered])
        };
        conversation.tell(&next).await;
        assert_eq!(statuses(&world), expected);
    }
}

#[tokio::test]
async fn an_ending_is_tried_again_until_all_of_it_has_arrived() {
    let world = World::new(Kind::PagerDuty).await;
    let mut conversation = Conversation::at(&world);
    conversation.tell(&told::first()).await;
    world.chat.answer_next(500, &[], "");
    let outcome = conversation.try_to_tell(&told::recovered(1)).await;
    assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
    conversation.tell(&told::recovered(1)).await;
    assert_eq!(statuses(&world), [Status::Resolved]);
}

#[tokio::test]
async fn news_about_tardy_and_digests_page_nobody() {
    let world = World::new(Kind::PagerDuty).await;
    let mut conversation = Conversation::at(&world);
    conversation.tell(&told::notice()).await;
    conversation
        .tell(&because(Reason::Digest, told::many()))
        .await;
    assert_eq!(incidents(&world).len(), 0);
    let changes = world.chat.in_pagerduty(|service| service.changes());
    assert_eq!(changes.len(), 1);
    assert_eq!(
        changes[0]["payload"]["summary"],
        "rules/finance.toml was not reloaded: line 12"
    );
}

#[tokio::test]
async fn what_another_receiver_could_not_be_told_pages_and_says_that_a_person_ends_it() {
    let world = World::new(Kind::PagerDuty).await;
    let missed = because(Reason::Undeliverable, told::notice());
    Conversation::at(&world).tell(&missed).await;
    let incidents = incidents(&world);
    assert_eq!(
        (incidents.len(), incidents[0].severity.as_str()),
        (1, "error")
    );
    let said = world.chat.said()[0].json();
    let end = said["payload"]["custom_details"]["end"].as_str().unwrap();
    assert!(end.contains("resolve it by hand"), "{end}");
}

#[tokio::test]
async fn what_is_not_pagerduty_is_told_apart() {
    let world = World::new(Kind::PagerDuty).await;
    world.chat.answer_next(200, &[], "<html>welcome</html>");
    let outcome = deliver(&*world.notifier(), &told::first(), None).await;
    assert!(why(&outcome).contains("check its api_url"), "{outcome:?}");
}

#[tokio::test]
async fn a_key_that_is_quoted_back_is_not_repeated() {
    let world = World::new(Kind::PagerDuty).await;
    let said = json!({ "errors": [format!("Invalid routing key {ROUTING_KEY}")] }).to_string();
    world.chat.answer_next(400, &[], &said);
    let outcome = deliver(&*world.notifier(), &told::first(), None).await;
    assert!(why(&outcome).contains("routing key ***"), "{outcome:?}");
}

/// The fake itself holds what is sent to the documented limits.
#[test]
fn limits_are_enforced_at_and_over() {
    let event = |summary: usize, key: usize, details: usize| {
        json!({
            "routing_key": ROUTING_KEY,
            "event_action": "trigger",
            "dedup_key": "k".repeat(key),
            "payload": {
                "summary": "s".repeat(summary), "source": "x", "severity": "info",
                "custom_details": { "x": "d".repeat(details) },
            },
        })
        .to_string()
    };
    for (body, status) in [
        (event(1_024, 255, 0), 202),
        (event(1_025, 255, 0), 400),
        (event(1_024, 256, 0), 400),
        (event(0, 10, 0), 400),
        (event(10, 10, 500_000), 202),
        (event(10, 10, 512_000), 413),
    ] {
        let (answer, _) = Service::default().take("/v2/enqueue", &body, false);
        assert_eq!(answer, status);
    }
}
