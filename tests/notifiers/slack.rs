//! What only Slack's bot has: one message, edited, with a thread.

use std::sync::Arc;

use serde_json::{Value, json};
use tardy::engine::notification::{
    AcknowledgedView, AlertView, Body, Notification, Reason, SilencedView,
};
use tardy::engine::rule::Severity;
use tardy::notify::{Chart, Delivery, Handle, Notifier, Outcome, ReceiverKind, build};

use crate::chat::SECRET;
use crate::chat::slack_api::{Answer, CHANNEL, SlackApi};
use crate::platform;
use crate::told::{self, at};
use crate::world::{Kind, World, deliver, handle_of, owners, why};

/// A receiver, its notifier, and the workspace.
async fn bot() -> (World, Box<dyn Notifier>, SlackApi) {
    let world = World::new(Kind::Slack).await;
    let notifier = world.notifier();
    let slack = world.chat.slack.clone();
    (world, notifier, slack)
}

async fn say(
    notifier: &dyn Notifier,
    notification: &Notification,
    handle: Option<&Handle>,
) -> Handle {
    handle_of(deliver(notifier, notification, handle).await).expect("a message to come back to")
}

/// A try after one of which nobody knows whether it arrived, by a process that remembers nothing.
async fn again(world: &World, notification: &Notification, handle: Option<&Handle>) -> Outcome {
    let delivery = Delivery {
        notification,
        handle,
        attempt: 2,
        is_uncertain: true,
        chart: None,
    };
    world.notifier().deliver(delivery).await
}

async fn with_chart(
    notifier: &dyn Notifier,
    notification: &Notification,
    chart: &Chart,
) -> Outcome {
    let delivery = Delivery {
        notification,
        handle: None,
        attempt: 1,
        is_uncertain: false,
        chart: Some(chart),
    };
    notifier.deliver(delivery).await
}

fn chart() -> Chart {
    Chart {
        name: "finance-nightly.png".to_owned(),
        alt: "Durations of finance nightly-refresh, the last one above its limit".to_owned(),
        png: Arc::from(b"\x89PNG\r\n\x1a\nbytes".as_slice()),
    }
}

fn first_line(message: &Value) -> String {
    let text = message["text"].as_str().unwrap();
    text.lines().next().unwrap().to_owned()
}

fn shown(message: &Value) -> String {
    message["blocks"].to_string()
}

fn edits(message: &Value) -> u64 {
    message["edits"].as_u64().unwrap_or_default()
}

fn softly(mut notification: Notification, reason: Reason) -> Notification {
    notification.reason = reason;
    for alert in alerts(&mut notification) {
        alert.severity = Severity::Warning;
    }
    notification
}

fn alerts(notification: &mut Notification) -> &mut Vec<AlertView> {
    match &mut notification.body {
        Body::Alerts(alerts) => alerts,
        Body::Notice { .. } | Body::Digest(_) => unreachable!(),
    }
}

#[tokio::test]
async fn one_message_is_edited_and_its_thread_tells_the_story() {
    let (_world, notifier, slack) = bot().await;
    let mut handle = None;
    for notification in [
        told::first(),
        told::changed(1),
        told::reminder(2),
        told::recovered(3),
    ] {
        handle = Some(say(&*notifier, &notification, handle.as_ref()).await);
    }
    let messages = slack.messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(edits(&messages[0]), 3);
    assert_eq!(
        first_line(&messages[0]),
        "Recovered: finance nightly-refresh succeeded (lasted 42 min)"
    );
    let thread = slack.thread(&messages[0]["ts"]);
    let lines: Vec<String> = thread.iter().map(first_line).collect();
    assert_eq!(
        lines,
        [
            "Changed: Late: finance nightly-refresh not finished, due 07:00 EST",
            "Still so after 35 min: Late: finance nightly-refresh not finished, due 07:00 EST",
            "Recovered: finance nightly-refresh succeeded (lasted 42 min)",
        ]
    );
    assert!(shown(&thread[0]).contains("another error"), "what changed");
    assert_eq!(slack.errors(), []);
    // An edit comes before its reply, and can be repeated without harm.
    let methods = slack.methods();
    assert_eq!(methods[1..3], ["chat.update", "chat.postMessage"]);
    for call in slack.calls() {
        assert_eq!(call.authorization, format!("Bearer {SECRET}"));
        let is_post = call.method == "chat.postMessage";
        assert_eq!(call.body["ts"].is_string(), !is_post);
        assert_eq!(call.body["unfurl_links"], false);
        assert_eq!(call.body["unfurl_media"], false);
    }
}

#[tokio::test]
async fn a_reminder_is_broadcast_when_critical() {
    let reasons = [
        (Reason::Reminder, true),
        (Reason::Escalated, true),
        (Reason::Upgraded, true),
        (Reason::NewAlerts, true),
        (Reason::Flapping, true),
        (Reason::Changed, false),
        (Reason::SomeResolved, false),
        (Reason::Acknowledged, false),
        (Reason::Silenced, false),
        (Reason::RuleRemoved, false),
    ];
    for (reason, is_pinging) in reasons {
        let (_world, notifier, slack) = bot().await;
        let handle = say(&*notifier, &told::first(), None).await;
        let mut critical = told::changed(1);
        critical.reason = reason;
        say(&*notifier, &critical, Some(&handle)).await;
        say(&*notifier, &softly(told::changed(2), reason), Some(&handle)).await;
        let thread = slack.replies();
        let broadcast: Vec<bool> = thread
            .iter()
            .map(|reply| reply["reply_broadcast"] == true)
            .collect();
        assert_eq!(broadcast, [is_pinging, false], "{reason:?}");
        assert_eq!(slack.channel().len(), 1 + usize::from(is_pinging));
        assert_eq!(edits(&slack.messages()[0]), 2, "{reason:?}: edited too");
    }
}

#[tokio::test]
async fn the_thread_says_who_and_which() {
    let (_world, notifier, slack) = bot().await;
    let handle = say(&*notifier, &told::first(), None).await;
    let mut known = told::changed(1);
    known.reason = Reason::Acknowledged;
    alerts(&mut known)[0].acknowledged = Some(AcknowledgedView {
        by: "ana".into(),
        until: at("19:05"),
        comment: Some("the vendor is late".to_owned()),
    });
    let mut quiet = told::changed(2);
    quiet.reason = Reason::Silenced;
    alerts(&mut quiet)[0].silenced = Some(SilencedView {
        id: "s1".to_owned(),
        by: "bo".into(),
        until: at("15:05"),
        comment: "moved to Sunday".to_owned(),
    });
    let mut some = told::changed(3);
    some.reason = Reason::SomeResolved;
    alerts(&mut some).extend((0..5).map(|index| {
        let mut ended = told::ended(&format!("e{index}"));
        ended.headline = format!("Recovered: job {index}");
        ended
    }));
    let mut joined = told::changed(4);
    joined.reason = Reason::NewAlerts;
    alerts(&mut joined).extend(["n1", "n2"].map(|id| AlertView {
        headline: format!("Failed: {id}"),
        ..told::alert(id)
    }));
    for notification in [&known, &quiet, &some, &joined] {
        say(&*notifier, notification, Some(&handle)).await;
    }
    let said: Vec<String> = slack
        .replies()
        .iter()
        .map(|reply| reply["text"].as_str().unwrap().to_owned())
        .collect();
    insta::assert_snapshot!("Slack_thread", said.join("\n\n"));
}

#[tokio::test]
async fn a_message_deleted_by_people_is_posted_anew() {
    for error in [
        None,
        Some("message_not_found"),
        Some("cant_update_message"),
        Some("thread_not_found"),
    ] {
        let (_world, notifier, slack) = bot().await;
        let old = say(&*notifier, &told::first(), None).await;
        match error {
            None => slack.delete(),
            Some("thread_not_found") => {
                slack.script_next("chat.postMessage", Answer::Error("thread_not_found"));
            }
            Some(error) => slack.script_next("chat.update", Answer::Error(error)),
        }
        let new = say(&*notifier, &told::reminder(1), Some(&old)).await;
        assert_ne!(old, new);
        let newest = slack.messages().pop().unwrap();
        assert!(
            first_line(&newest).starts_with("Still so after"),
            "the whole message, which pings by itself"
        );
        assert!(shown(&newest).contains("31 min, p95 36"));
        let messages = slack.messages().len();
        say(&*notifier, &told::changed(2), Some(&new)).await;
        assert_eq!(slack.messages().len(), messages, "the new one is edited");
        assert_eq!(slack.thread(&newest["ts"]).len(), 1);
    }
}

#[tokio::test]
async fn an_uncertain_post_is_looked_up_and_not_repeated() {
    let (mut world, _, slack) = bot().await;
    world.patience = std::time::Duration::from_millis(700);
    slack.script_next("chat.postMessage", Answer::Silence);
    let outcome = deliver(&*world.notifier(), &told::first(), None).await;
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
    // Others write meanwhile, one even with our metadata, which is not taken for ours.
    let metadata = slack.messages()[0]["metadata"].clone();
    for _ in 0..250 {
        slack.somebody_says("good morning", &Value::Null);
    }
    let handle = handle_of(again(&world, &told::first(), None).await);
    assert_eq!(slack.messages().len(), 251, "found on the second page");
    say(&*world.notifier(), &told::changed(1), handle.as_ref()).await;
    assert_eq!(slack.messages().len(), 251);
    slack.somebody_says("a forgery", &metadata);
    handle_of(again(&world, &told::first(), None).await);
    assert_eq!(
        slack.messages().len(),
        253,
        "what is not ours to edit is not ours"
    );
}

#[tokio::test]
async fn an_uncertain_reply_is_looked_up_and_not_repeated() {
    let (mut world, notifier, slack) = bot().await;
    let handle = say(&*notifier, &told::first(), None).await;
    slack.pass_minutes(15);
    world.patience = std::time::Duration::from_millis(700);
    slack.script_next("chat.postMessage", Answer::Silence);
    let outcome = deliver(&*world.notifier(), &told::reminder(1), Some(&handle)).await;
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
    handle_of(again(&world, &told::reminder(1), Some(&handle)).await);
    assert_eq!(slack.replies().len(), 1);
    // A reply of another delivery is another reply.
    handle_of(again(&world, &told::reminder(2), Some(&handle)).await);
    assert_eq!(slack.replies().len(), 2);
}

#[tokio::test]
async fn a_token_that_may_not_read_says_it_twice_at_most() {
    for answer in [
        None,
        Some(Answer::Error("internal_error")),
        Some(Answer::Http(500, None, "no")),
        Some(Answer::Http(429, Some("3600"), "")),
    ] {
        let (world, notifier, slack) = bot().await;
        handle_of(deliver(&*notifier, &told::first(), None).await);
        match answer {
            None => slack.withdraw("channels:history"),
            Some(answer) => slack.script_next("conversations.history", answer),
        }
        let handle = handle_of(again(&world, &told::first(), None).await);
        assert!(handle.is_some());
        assert_eq!(slack.messages().len(), 2);
    }
}

#[tokio::test]
async fn a_token_that_may_not_read_is_asked_once() {
    let (_world, notifier, slack) = bot().await;
    slack.withdraw("channels:history");
    for sequence in 0..3 {
        let notification = told::reminder(sequence);
        let delivery = Delivery {
            notification: &notification,
            handle: None,
            attempt: 2,
            is_uncertain: true,
            chart: None,
        };
        handle_of(notifier.deliver(delivery).await);
    }
    let asked = slack.methods();
    let asked = asked
        .iter()
        .filter(|method| method.starts_with("conversations"));
    assert_eq!(asked.count(), 1);
}

#[tokio::test]
async fn what_an_attempt_has_done_is_not_done_again() {
    let (_world, notifier, slack) = bot().await;
    // The message and a part of its thread are there; then Slack has a bad moment.
    slack.script_next("chat.postMessage", Answer::Http(503, None, "later"));
    let outcome = deliver(&*notifier, &told::many(), None).await;
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
    assert_eq!(slack.channel().len(), 0);
    slack.script_after("chat.postMessage", 2, Answer::Http(503, None, "later"));
    let outcome = deliver(&*notifier, &told::many(), None).await;
    assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
    assert_eq!((slack.messages().len(), slack.replies().len()), (1, 1));
    handle_of(deliver(&*notifier, &told::many(), None).await);
    let ids: Vec<Value> = slack
        .replies()
        .iter()
        .map(|reply| reply["metadata"]["event_payload"]["part"].clone())
        .collect();
    let expected: Vec<Value> = (1..=ids.len()).map(|part| json!(part)).collect();
    assert_eq!(slack.messages().len(), 1);
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn what_does_not_fit_goes_on_in_the_thread() {
    let (_world, notifier, slack) = bot().await;
    let handle = say(&*notifier, &told::many(), None).await;
    let first = slack.messages().remove(0);
    let thread = slack.thread(&first["ts"]);
    assert!((2..=5).contains(&thread.len()), "{}", thread.len());
    let everything = slack
        .channel()
        .iter()
        .chain(&thread)
        .map(shown)
        .collect::<String>();
    for index in 0..40 {
        let why = format!("tardy why a{index}`");
        assert_eq!(everything.matches(&why).count(), 1, "{why}");
    }
    assert!(
        shown(&first).contains("more in the thread; 3 kept quiet"),
        "{}",
        shown(&first)
    );
    assert!(thread.iter().all(|reply| reply["reply_broadcast"] == false));
    // A change repeats nothing but its line.
    let mut changed = told::many();
    (changed.sequence, changed.reason) = (1, Reason::Reminder);
    say(&*notifier, &changed, Some(&handle)).await;
    assert_eq!(slack.replies().len(), thread.len() + 1);
    // New alerts that do not fit go on there too, and only those.
    let mut joined = told::many();
    (joined.sequence, joined.reason) = (2, Reason::NewAlerts);
    for alert in &mut alerts(&mut joined)[..28] {
        alert.is_new = false;
    }
    say(&*notifier, &joined, Some(&handle)).await;
    let parts = slack.replies().split_off(thread.len() + 1);
    assert_eq!(parts.len(), 2, "its line, and two alerts");
    assert!(
        shown(&parts[1]).contains("tardy why a28`") && shown(&parts[1]).contains("tardy why a29`")
    );
    assert!(!shown(&parts[1]).contains("tardy why a27`"));
}

#[tokio::test]
async fn two_hundred_alerts_are_five_replies_and_a_number() {
    let (_world, notifier, slack) = bot().await;
    let many = (0..300)
        .map(|index| told::alert(&format!("a{index}")))
        .collect();
    let mut notification = told::notification(0, Reason::First, many);
    notification.omitted = 7;
    say(&*notifier, &notification, None).await;
    let everything: String = slack
        .messages()
        .iter()
        .chain(&slack.replies())
        .map(shown)
        .collect();
    let told = everything.matches("tardy why a").count();
    assert_eq!(slack.replies().len(), 5);
    let rest = format!("and {} more", 307 - told);
    assert!(shown(&slack.messages()[0]).contains(&rest), "{rest}");
    let left = format!("and {} more", 200 - told);
    assert!(shown(&slack.replies()[4]).contains(&left), "{left}");
    assert_eq!(slack.errors(), []);
}

#[tokio::test]
async fn what_slack_finds_too_long_is_sent_smaller_and_then_plain() {
    let (_world, notifier, slack) = bot().await;
    let errors = ["msg_blocks_too_long", "invalid_blocks", "msg_too_long"];
    for count in 0..=errors.len() {
        slack.delete();
        for error in &errors[..count] {
            slack.script_next("chat.postMessage", Answer::Error(error));
        }
        let many = told::many();
        handle_of(deliver(&*notifier, &many, None).await);
        let message = slack.messages().remove(0);
        let size = shown(&message).len();
        match count {
            0 => assert!((6_000..12_000).contains(&size), "{size}"),
            1 => assert!((1_000..6_000).contains(&size), "{size}"),
            _ => assert!(message["blocks"].is_null()),
        }
        let text = message["text"].as_str().unwrap();
        assert!(text.contains("Late: finance nightly-refresh"), "{text}");
        assert_eq!(text.contains("31 min, p95 36"), count == 2, "{text}");
        assert_eq!(message["metadata"].is_null(), count == 3);
        assert_eq!(slack.replies().is_empty(), count > 1, "{count}");
    }
    let errors = [errors.as_slice(), &["no_text"]].concat();
    for error in errors {
        slack.script_next("chat.postMessage", Answer::Error(error));
    }
    let outcome = deliver(&*notifier, &told::first(), None).await;
    assert!(
        why(&outcome).contains("report this as a bug"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn edits_and_replies_that_are_too_long_become_plain_too() {
    let (_world, notifier, slack) = bot().await;
    let handle = say(&*notifier, &told::first(), None).await;
    for error in ["msg_blocks_too_long", "invalid_blocks"] {
        slack.script_next("chat.update", Answer::Error(error));
    }
    slack.script_next("chat.postMessage", Answer::Error("invalid_blocks"));
    say(&*notifier, &told::changed(1), Some(&handle)).await;
    let first = &slack.messages()[0];
    assert_eq!(first["blocks"], json!([]), "the old blocks are taken away");
    assert!(first["text"].as_str().unwrap().contains("another error"));
    assert_eq!(slack.replies().len(), 1);
}

#[tokio::test]
async fn what_may_not_be_edited_is_said_in_full_below() {
    let (_world, notifier, slack) = bot().await;
    let handle = say(&*notifier, &told::first(), None).await;
    slack.script_next("chat.update", Answer::Error("edit_window_closed"));
    say(&*notifier, &told::changed(1), Some(&handle)).await;
    assert_eq!(slack.messages().len(), 1);
    assert!(shown(&slack.replies()[0]).contains("31 min, p95 36"));
}

#[tokio::test]
async fn an_edit_that_is_refused_takes_no_ping_away() {
    for error in ["is_inactive", "update_failed", "something_new"] {
        let (_world, notifier, slack) = bot().await;
        let handle = say(&*notifier, &told::first(), None).await;
        slack.script_next("chat.update", Answer::Error(error));
        say(&*notifier, &told::reminder(1), Some(&handle)).await;
        assert_eq!(slack.channel().len(), 2, "{error}");
    }
}

#[tokio::test]
async fn a_thread_that_takes_no_replies_is_left_for_a_new_message() {
    for error in [
        "restricted_action_thread_locked",
        "restricted_action_non_threadable_channel",
    ] {
        let (_world, notifier, slack) = bot().await;
        let handle = say(&*notifier, &told::first(), None).await;
        slack.script_next("chat.postMessage", Answer::Error(error));
        say(&*notifier, &told::reminder(1), Some(&handle)).await;
        assert_eq!((slack.messages().len(), slack.replies().len()), (2, 0));
    }
}

#[tokio::test]
async fn a_channel_that_takes_no_broadcast_has_the_reply() {
    let (_world, notifier, slack) = bot().await;
    let handle = say(&*notifier, &told::first(), None).await;
    slack.script_next("chat.postMessage", Answer::Error("cant_broadcast_message"));
    say(&*notifier, &told::reminder(1), Some(&handle)).await;
    assert_eq!((slack.channel().len(), slack.replies().len()), (1, 1));
    assert!(slack.replies()[0]["blocks"].is_array());
}

#[tokio::test]
async fn a_message_that_was_found_and_cannot_be_edited_now_is_not_posted_again() {
    let (world, notifier, slack) = bot().await;
    say(&*notifier, &told::first(), None).await;
    slack.script_next("chat.update", Answer::Http(503, None, "later"));
    let outcome = again(&world, &told::first(), None).await;
    assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
    handle_of(again(&world, &told::first(), None).await);
    assert_eq!(slack.messages().len(), 1);
}

#[tokio::test]
async fn after_a_restart_the_rest_of_the_thread_is_added() {
    let (world, notifier, slack) = bot().await;
    slack.script_after("chat.postMessage", 3, Answer::Http(503, None, "later"));
    let outcome = deliver(&*notifier, &told::many(), None).await;
    assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
    assert_eq!((slack.messages().len(), slack.replies().len()), (1, 2));
    handle_of(again(&world, &told::many(), None).await);
    let parts: Vec<u64> = slack
        .replies()
        .iter()
        .map(|reply| reply["metadata"]["event_payload"]["part"].as_u64().unwrap())
        .collect();
    let expected: Vec<u64> = (1..).take(parts.len()).collect();
    assert_eq!((slack.messages().len(), &parts), (1, &expected));
    assert!(parts.len() > 2);
}

#[tokio::test]
async fn a_chart_is_in_the_thread() {
    let (_world, notifier, slack) = bot().await;
    handle_of(with_chart(&*notifier, &told::first(), &chart()).await);
    let files = slack.files();
    assert_eq!(files.len(), 1);
    assert_eq!(json!(files[0].thread_ts), slack.messages()[0]["ts"]);
    assert_eq!(files[0].bytes, &*chart().png);
    assert_eq!(
        (&files[0].name, &files[0].alt),
        (&chart().name, &chart().alt)
    );
    assert_eq!(files[0].title, chart().alt);
}

#[tokio::test]
async fn a_chart_that_cannot_be_uploaded_loses_nothing() {
    for (method, answer) in [
        (
            "files.getUploadURLExternal",
            Answer::Error("internal_error"),
        ),
        (
            "files.getUploadURLExternal",
            Answer::Http(200, None, "{\"ok\":true}"),
        ),
        (
            "files.getUploadURLExternal",
            Answer::Http(
                200,
                None,
                "{\"ok\":true,\"file_id\":\"F1\",\"upload_url\":\"http://files.example.com/x\"}",
            ),
        ),
        ("upload", Answer::Http(500, None, "no")),
        ("upload", Answer::Http(302, None, "")),
        (
            "files.completeUploadExternal",
            Answer::Error("internal_error"),
        ),
        (
            "files.completeUploadExternal",
            Answer::Http(429, Some("600"), ""),
        ),
    ] {
        let (_world, notifier, slack) = bot().await;
        slack.script_next(method, answer.clone());
        handle_of(with_chart(&*notifier, &told::first(), &chart()).await);
        assert_eq!(
            (slack.messages().len(), slack.files().len()),
            (1, 0),
            "{answer:?}"
        );
        // A limit on files holds up no message, and the next chart may work.
        handle_of(deliver(&*notifier, &told::first(), None).await);
        assert!(notifier.wants_chart(&told::first()));
    }
}

#[tokio::test]
async fn a_chart_that_takes_too_long_is_left_out() {
    let (mut world, _, slack) = bot().await;
    world.patience = std::time::Duration::from_millis(700);
    for method in [
        "files.getUploadURLExternal",
        "upload",
        "files.completeUploadExternal",
    ] {
        slack.script_next(method, Answer::Silence);
        handle_of(with_chart(&*world.notifier(), &told::first(), &chart()).await);
    }
    assert_eq!(slack.messages().len(), 3);
}

#[tokio::test]
async fn a_token_without_the_scope_for_files_is_asked_once() {
    let (_world, notifier, slack) = bot().await;
    slack.withdraw("files:write");
    assert!(notifier.wants_chart(&told::first()));
    for _ in 0..3 {
        handle_of(with_chart(&*notifier, &told::first(), &chart()).await);
    }
    assert!(!notifier.wants_chart(&told::first()));
    let asked = slack.methods();
    assert_eq!(
        asked
            .iter()
            .filter(|method| method.starts_with("files"))
            .count(),
        1
    );
    assert_eq!(slack.messages().len(), 3);
}

#[tokio::test]
async fn charts_go_with_what_opens_or_worsens_and_fires() {
    let (_world, notifier, _) = bot().await;
    for (reason, is) in [
        (Reason::First, true),
        (Reason::NewAlerts, true),
        (Reason::Escalated, true),
        (Reason::Upgraded, true),
        (Reason::Reminder, false),
        (Reason::Changed, false),
        (Reason::Acknowledged, false),
        (Reason::Digest, false),
    ] {
        let mut notification = told::changed(1);
        notification.reason = reason;
        assert_eq!(notifier.wants_chart(&notification), is, "{reason:?}");
    }
    let mut over = told::recovered(0);
    over.reason = Reason::First;
    assert!(!notifier.wants_chart(&over));
    assert!(!notifier.wants_chart(&told::notice()));
}

#[tokio::test]
async fn each_refusal_says_what_to_do() {
    for (error, remedy) in [
        ("channel_not_found", "check `channel`"),
        ("not_in_channel", "/invite @"),
        ("is_archived", "unarchive it"),
        ("invalid_auth", "copy the one of the installed app again"),
        ("not_authed", "copy the one of the installed app again"),
        ("account_inactive", "install the app again"),
        ("token_revoked", "install the app again"),
        ("token_expired", "copy the one"),
        ("restricted_action", "ask for permission"),
        ("not_allowed_token_type", "xoxb-"),
        ("ekm_access_denied", "ask an administrator"),
        ("something_new", "does not pass by itself"),
    ] {
        let (_world, notifier, slack) = bot().await;
        slack.script_next("chat.postMessage", Answer::Error(error));
        let outcome = deliver(&*notifier, &told::first(), None).await;
        assert!(matches!(outcome, Outcome::Rejected { .. }), "{outcome:?}");
        assert!(
            why(&outcome).contains(error) && why(&outcome).contains(remedy),
            "{outcome:?}"
        );
        assert_eq!(slack.methods().len(), 1, "{error}: final");
    }
    let (_world, notifier, slack) = bot().await;
    slack.withdraw("chat:write");
    let outcome = deliver(&*notifier, &told::first(), None).await;
    assert!(
        why(&outcome).contains("lacks the scope chat:write"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn errors_that_pass_are_tried_again() {
    for (error, uncertain) in [
        ("fatal_error", true),
        ("internal_error", true),
        ("service_unavailable", false),
        ("ratelimited", false),
    ] {
        let (_world, notifier, slack) = bot().await;
        let handle = say(&*notifier, &told::first(), None).await;
        for method in ["chat.update", "chat.postMessage"] {
            slack.script_next(method, Answer::Error(error));
            let outcome = deliver(&*notifier, &told::reminder(1), Some(&handle)).await;
            let Outcome::Retry { is_uncertain, .. } = outcome else {
                panic!("{error}: {outcome:?}");
            };
            assert_eq!(is_uncertain, uncertain, "{error}");
        }
        say(&*notifier, &told::reminder(1), Some(&handle)).await;
        assert_eq!(slack.replies().len(), 1, "{error}");
    }
}

#[tokio::test]
async fn any_address_of_the_api_will_do() {
    for end in ["", "/"] {
        let (slack, addr) = SlackApi::start(SECRET).await;
        let world = World::new(Kind::Slack).await;
        let mut receiver = world.receiver();
        if let ReceiverKind::Slack(bot) = &mut receiver.kind {
            bot.api_url = format!("{}{end}", SlackApi::url(addr)).parse().unwrap();
        }
        let notifier = build(&receiver, &world.context()).unwrap();
        say(&*notifier, &told::first(), None).await;
        assert_eq!(slack.messages().len(), 1);
    }
}

#[tokio::test]
async fn what_is_not_slack_is_told_apart() {
    let (_world, notifier, slack) = bot().await;
    for text in ["<html>welcome</html>", "{}", "ok"] {
        slack.script_next("chat.postMessage", Answer::Http(200, None, text));
        let outcome = deliver(&*notifier, &told::first(), None).await;
        assert!(
            why(&outcome).contains("is its api_url right?"),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_moved_receiver_and_a_strange_handle_open_the_conversation_anew() {
    let (_world, notifier, slack) = bot().await;
    let handle = say(&*notifier, &told::first(), None).await;
    let kept = |name: &str, value: Value| {
        let mut handle = handle.clone();
        handle.0[name] = value;
        handle
    };
    for (count, strange) in [
        (2, Handle(json!(null))),
        (3, kept("ts", json!("../1"))),
        (4, kept("channel", json!("C1/x"))),
        (5, kept("meant_for", json!("C0ELSEWHERE"))),
    ] {
        say(&*notifier, &told::changed(1), Some(&strange)).await;
        assert_eq!(slack.messages().len(), count);
    }
    assert_eq!(handle.0["channel"], CHANNEL);
}

#[tokio::test]
async fn owners_are_mentioned_when_it_opens_and_escalates_and_never_in_edits() {
    let world = World::new(Kind::Slack).await;
    let mut context = world.context();
    context.owners = owners();
    let notifier = build(&world.receiver(), &context).unwrap();
    let handle = say(&*notifier, &told::first(), None).await;
    let mut escalated = told::reminder(1);
    escalated.reason = Reason::Escalated;
    for notification in [escalated, told::reminder(2), told::recovered(3)] {
        say(&*notifier, &notification, Some(&handle)).await;
    }
    let mentioned: Vec<(String, bool)> = world
        .chat
        .slack
        .calls()
        .iter()
        .map(|call| {
            platform::check_slack(&call.body).unwrap();
            let is = call.body.to_string().contains("<!subteam^S0FINANCE>");
            (call.method.clone(), is)
        })
        .filter(|(_, is)| *is)
        .collect();
    let post = ("chat.postMessage".to_owned(), true);
    assert_eq!(mentioned, [post.clone(), post]);
}

#[tokio::test]
async fn buttons_are_there_while_somebody_can_use_them() {
    let (world, notifier, slack) = bot().await;
    let handle = say(&*notifier, &told::first(), None).await;
    let actions = |message: &Value| {
        let blocks = message["blocks"].as_array().unwrap().clone();
        blocks.into_iter().find(|block| block["type"] == "actions")
    };
    let found = actions(&slack.messages()[0]).unwrap();
    let ids: Vec<&str> = found["elements"]
        .as_array()
        .unwrap()
        .iter()
        .map(|button| {
            assert_eq!(button["value"], "k3x9pq");
            button["action_id"].as_str().unwrap()
        })
        .collect();
    let expected = [
        "tardy_ack",
        "tardy_silence_1h",
        "tardy_silence_until_success",
        "tardy_why",
    ];
    assert_eq!(ids, expected);
    say(&*notifier, &told::recovered(1), Some(&handle)).await;
    assert_eq!(actions(&slack.messages()[0]), None, "it is over");
    let mut receiver = world.receiver();
    if let ReceiverKind::Slack(bot) = &mut receiver.kind {
        bot.buttons = false;
    }
    let notifier = build(&receiver, &world.context()).unwrap();
    say(&*notifier, &told::first(), None).await;
    assert_eq!(actions(&slack.messages()[1]), None, "nobody answers");
}

#[tokio::test]
async fn a_long_text_is_laid_out_in_sections() {
    let (_world, notifier, slack) = bot().await;
    for lines in [1, 40, 49, 50, 51, 200] {
        slack.delete();
        let mut notice = told::notice();
        notice.reason = Reason::Digest;
        notice.body = Body::Notice {
            headline: "3 of 41 promises missed".to_owned(),
            text: vec!["finance <nightly> was late & slow <<<<<<<<<<<<<<"; lines].join("\n"),
        };
        say(&*notifier, &notice, None).await;
        let blocks = shown(&slack.messages()[0]);
        assert!(blocks.contains("finance &lt;nightly&gt;"), "{blocks}");
        assert_eq!(slack.errors(), [], "{lines}");
    }
}

#[tokio::test]
async fn the_thread_looks_as_reviewed() {
    let (_world, notifier, slack) = bot().await;
    let handle = say(&*notifier, &told::many(), None).await;
    say(&*notifier, &told::changed(1), Some(&handle)).await;
    let replies = slack.replies();
    insta::assert_json_snapshot!("Slack_part", replies[0]);
    insta::assert_json_snapshot!("Slack_changed", replies.last());
}
