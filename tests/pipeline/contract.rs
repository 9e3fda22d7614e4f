//! The contract, line by line, from end to end.

use tardy::engine::alert::AlertState;
use tardy::engine::time::Span;
use tardy::sim::{Fault, Garbage, Outcome, PlannedRun};
use tardy::source::ProblemKind;
use tardy::store::records::DeliveryOutcome;

use crate::chat::{Chat, Scripted};
use crate::rig::{FAILED, JOB, Mood, PASSWORD, Rig, TOKEN, minute};

fn bad(id: &str, minutes: i64, error: &str) -> PlannedRun {
    PlannedRun::failure(id, JOB, minute(minutes), Span::minutes(5), error)
}

fn good(id: &str, minutes: i64) -> PlannedRun {
    PlannedRun::success(id, JOB, minute(minutes), Span::minutes(5))
}

fn reasons(chat: &Chat) -> Vec<String> {
    Rig::story(chat)
        .into_iter()
        .map(|(reason, _)| reason)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_1_what_a_revoked_receiver_misses_reaches_the_fallback_even_after_a_crash() {
    let mut rig = Rig::watching(FAILED).await;
    rig.slack.revoke();
    rig.add(bad("bad", 30, "audit failed"));
    rig.set_mood(Mood::CrashAfterRecording);
    rig.run_to(minute(40)).await;
    assert_eq!(
        rig.counts()[4],
        0,
        "the crash comes before the fallback is told"
    );
    rig.crash();
    rig.set_mood(Mood::Well);
    rig.start();
    rig.run_to(minute(60)).await;
    let ops = Rig::story(&rig.ops);
    assert_eq!(ops.len(), 1, "{ops:?}");
    assert!(ops[0].1.starts_with("Could not tell slack"), "{ops:?}");
    assert!(rig.ops.said()[0].body.contains("audit failed"));
    rig.restart();
    rig.run_to(minute(70)).await;
    assert_eq!(rig.counts()[4], 1, "once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_2_every_announced_alert_ends_once_whatever_is_reconfigured() {
    let mut rig = Rig::watching(FAILED).await;
    rig.add(bad("bad", 30, "audit failed"));
    rig.run_to(minute(40)).await;
    assert_eq!(rig.counts(), [1, 1, 1, 1, 0]);
    // Slack and mail are not routed to any more, the others are muted: all of them hear the end.
    rig.service = rig.service.replace(
        "receivers = [\"slack\", \"discord\", \"mail\", \"hook\"]",
        "receivers = [\"discord\", \"hook\"]\nmute = [\"always\"]",
    ) + "\n[[mute]]\nname = \"always\"\ntimezone = \"UTC\"\ndays = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"]\n";
    rig.reload().unwrap();
    rig.restart();
    rig.add(good("good", 90));
    rig.run_to(minute(120)).await;
    // At Discord the end is an edit, and a short new message because the first one pinged.
    assert_eq!(rig.counts(), [2, 3, 2, 2, 0]);
    assert_eq!(reasons(&rig.hook), ["first", "all_resolved"]);
    assert_eq!(rig.mails()[1].references.as_ref(), Some(&rig.mails()[0].id));
    // What begins while muted is not announced, and has no ending either.
    rig.add(bad("bad2", 150, "again"));
    rig.add(good("good2", 210));
    rig.run_to(minute(240)).await;
    assert_eq!(rig.counts(), [2, 3, 2, 2, 0]);
    assert_eq!(rig.engine().alerts().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_3_a_crash_between_sending_and_recording_costs_one_duplicate() {
    let mut rig = Rig::watching(FAILED).await;
    rig.add(bad("bad", 30, "audit failed"));
    rig.set_mood(Mood::CrashAfterSending);
    rig.run_to(minute(36)).await;
    rig.all_under_way_has_arrived([1, 1, 1, 1, 0]).await;
    assert_eq!(
        rig.counts(),
        [1, 1, 1, 1, 0],
        "nothing is sent again while the end is not recorded"
    );
    rig.crash();
    rig.set_mood(Mood::Well);
    rig.start();
    rig.run_to(minute(60)).await;
    assert_eq!(rig.counts(), [2, 2, 2, 2, 0]);
    let told = Rig::told(&rig.hook);
    assert_eq!(told[0]["delivery_id"], told[1]["delivery_id"]);
    assert_eq!(rig.mails()[0].id, rig.mails()[1].id, "the same Message-ID");

    rig.add(good("good", 90));
    rig.set_mood(Mood::CrashAfterSending);
    rig.run_to(minute(96)).await;
    rig.all_under_way_has_arrived([3, 4, 3, 3, 0]).await;
    rig.crash();
    rig.set_mood(Mood::Well);
    rig.start();
    rig.run_to(minute(120)).await;
    assert_eq!(rig.counts(), [4, 6, 4, 4, 0]);
    let patches = rig
        .discord
        .said()
        .iter()
        .filter(|said| said.method == "PATCH")
        .count();
    assert_eq!(patches, 2, "an edit may be repeated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_4_blindness_changes_no_alert_and_is_said_once() {
    let rules = format!("{FAILED}\n[[rule]]\nname = \"missed\"\nkind = \"missed_schedule\"\n");
    let mut rig = Rig::watching(&rules).await;
    rig.add(bad("bad", 30, "audit failed"));
    rig.run_to(minute(45)).await;
    let seen = |rig: &Rig| -> Vec<_> {
        let alerts = rig.engine().alerts();
        let alerts = alerts.filter(|alert| &*alert.kind != "source_unreachable");
        alerts
            .map(|alert| (alert.fingerprint, alert.state, alert.evidence.clone()))
            .collect()
    };
    let before = seen(&rig);
    assert_eq!(rig.counts(), [1, 1, 1, 1, 0]);
    rig.sim.faults.inject_always("", Fault::Status(500, None));
    rig.add(good("good", 90));
    rig.run_to(minute(48)).await;
    assert_eq!(rig.counts(), [1, 1, 1, 1, 0], "not said before its limit");
    for minutes in [60, 90, 120] {
        rig.run_to(minute(minutes)).await;
        assert_eq!(seen(&rig), before, "minute {minutes}");
        assert_eq!(
            rig.counts(),
            [2, 2, 2, 2, 0],
            "said once: {:?}",
            Rig::story(&rig.hook)
        );
    }
    assert!(
        Rig::story(&rig.hook)[1].1.starts_with("Blind: source acme"),
        "{:?}",
        Rig::story(&rig.hook)
    );
    rig.sim.faults.calm();
    rig.run_to(minute(125)).await;
    let after: Vec<String> = Rig::story(&rig.hook)
        .into_iter()
        .skip(2)
        .map(|(_, text)| text)
        .collect();
    assert_eq!(after.len(), 2, "{after:?}");
    assert!(
        after.iter().any(|text| text.contains("Seeing again")),
        "{after:?}"
    );
    assert!(
        after
            .iter()
            .any(|text| text.contains("Recovered: finance hourly-orders")),
        "{after:?}"
    );
    assert_eq!(
        rig.engine()
            .alerts()
            .filter(|alert| alert.state == AlertState::Firing)
            .count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_5_a_message_that_is_gone_is_posted_anew_and_reminders_ping() {
    let mut rig = Rig::new(FAILED).await;
    rig.service = rig
        .service
        .replace("repeat_interval = \"12h\"", "repeat_interval = \"1h\"");
    rig.start();
    rig.run_to(minute(1)).await;
    rig.add(bad("bad", 30, "audit failed"));
    rig.run_to(minute(97)).await;
    let methods: Vec<_> = rig
        .discord
        .said()
        .into_iter()
        .map(|said| said.method)
        .collect();
    assert_eq!(
        methods.iter().filter(|method| *method == "POST").count(),
        2,
        "a reminder is new: {methods:?}"
    );
    assert_eq!(reasons(&rig.hook), ["first", "reminder"]);
    rig.discord.delete_messages();
    rig.add(good("good", 100));
    rig.run_to(minute(120)).await;
    assert!(
        rig.discord
            .messages()
            .iter()
            .any(|message| message.to_string().contains("Recovered")),
        "the end is told although the message is gone"
    );
    assert!(
        rig.ends("discord")
            .iter()
            .all(|end| *end == DeliveryOutcome::Delivered)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_6_one_bad_receiver_or_recipient_does_not_stop_the_others() {
    let mut rig = Rig::new(FAILED).await;
    rig.service = rig.service.replace(
        "to = [\"lead@example.com\"]",
        "to = [\"gone@example.com\", \"lead@example.com\"]",
    );
    rig.start();
    rig.run_to(minute(1)).await;
    rig.slack.revoke();
    rig.smtp
        .refuse("gone@example.com", Some("550 5.1.1 no such user"));
    rig.discord.answer_next(
        429,
        &[("retry-after", "1"), ("content-type", "application/json")],
        r#"{"message":"limited","retry_after":0.05,"global":false}"#,
    );
    rig.add(bad("bad", 30, "audit failed"));
    rig.run_to(minute(60)).await;
    let said = |messages: Vec<String>| {
        messages
            .iter()
            .filter(|text| text.contains("audit failed"))
            .count()
    };
    let bodies = |chat: &Chat| chat.said().into_iter().map(|said| said.body).collect();
    let messages = rig
        .discord
        .messages()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(said(messages), 1, "429 is waited for in the same attempt");
    assert_eq!(
        said(rig.mails().into_iter().map(|mail| mail.text).collect()),
        1
    );
    assert!(rig.mails().iter().all(|mail| mail.to == "lead@example.com"));
    assert_eq!(said(bodies(&rig.hook)), 1);
    let ops = Rig::story(&rig.ops);
    let about = |who: &str| ops.iter().filter(|(_, text)| text.contains(who)).count();
    assert_eq!(about("Could not tell slack"), 1, "{ops:?}");
    rig.assert_no_secret();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_7_a_bad_reload_changes_nothing_and_a_good_one_only_what_changed() {
    let two =
        format!("{FAILED}\n[[rule]]\nname = \"other\"\nkind = \"run_failed\"\nconsecutive = 2\n");
    let mut rig = Rig::watching(&two).await;
    rig.add(bad("bad", 30, "audit failed"));
    rig.run_to(minute(40)).await;
    assert_eq!(rig.counts(), [1, 1, 1, 1, 0]);
    rig.rules = two.replace("consecutive = 2", "consecutive = \"many\"");
    let why = rig.reload().unwrap_err();
    assert!(why.contains("rules.toml:9"), "file and line: {why}");
    rig.say("Tardy refused the new configuration tardy.toml", &why)
        .await;
    assert!(
        rig.ops.said()[0].body.contains("rules.toml:9"),
        "{}",
        rig.ops.said()[0].body
    );
    // The old rules are in force: a second failure in a row concerns both.
    rig.rules = two.clone();
    rig.add(bad("bad2", 60, "audit failed"));
    rig.run_to(minute(70)).await;
    let open = |rig: &Rig| {
        rig.engine()
            .alerts()
            .filter(|alert| alert.is_open())
            .count()
    };
    assert_eq!(open(&rig), 2);
    let told = rig.counts();
    rig.reload().unwrap();
    rig.run_to(minute(75)).await;
    assert_eq!(
        (open(&rig), rig.counts()),
        (2, told),
        "an unchanged rule keeps its state, silently"
    );
    rig.rules = FAILED.to_owned();
    rig.reload().unwrap();
    rig.run_to(minute(80)).await;
    assert_eq!(open(&rig), 1, "a removed rule closes its alerts");
    rig.rules = "[[rule]]\nname = \"third\"\nkind = \"staleness\"\nmax_age = \"5h\"\n".to_owned();
    rig.reload().unwrap();
    rig.run_to(minute(85)).await;
    assert_eq!(open(&rig), 0);
    let last = Rig::told(&rig.hook).pop().unwrap();
    assert_eq!(
        (&last["reason"], &last["event"]),
        (&"rule_removed".into(), &"resolved".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_8_repeated_reordered_and_shifted_pages_and_clock_steps_count_nothing_twice() {
    let mut rig = Rig::watching(FAILED).await;
    let faults = vec![
        Fault::RepeatPage,
        Fault::ReorderRows,
        Fault::ShiftPages(3),
        Fault::ShiftPages(-3),
        Fault::HalfBody,
        Fault::ClockSkew(Span::minutes(1)),
    ];
    rig.sim.faults.random(7, 0.3, faults);
    rig.add(bad("bad", 30, "audit failed"));
    rig.run_to(minute(45)).await;
    // Back in time, as after a wrong clock was set right, and a restart.
    rig.set_time(minute(41));
    rig.restart();
    rig.run_to(minute(60)).await;
    rig.add(good("good", 90));
    rig.run_to(minute(120)).await;
    assert!(rig.sim.faults.applied() > 50);
    assert_eq!(reasons(&rig.hook), ["first", "all_resolved"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_9_unknown_words_and_malformed_rows_cost_only_themselves() {
    let mut rig = Rig::watching(FAILED).await;
    let mut odd = good("odd", 20);
    odd.status = Outcome::Other("quantum".to_owned());
    rig.add(odd);
    rig.add(bad("bad", 30, "audit failed"));
    rig.sim
        .faults
        .inject_times("/runs", Fault::GarbageRow(Garbage::WrongTypes), 3);
    rig.run_to(minute(45)).await;
    assert_eq!(reasons(&rig.hook), ["first"]);
    let kinds: Vec<_> = rig.problems.iter().map(|problem| problem.kind).collect();
    assert!(kinds.contains(&ProblemKind::UnknownStatus), "{kinds:?}");
    assert!(kinds.contains(&ProblemKind::BadRow), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_10_hundreds_of_alerts_are_told_in_a_bounded_message() {
    let mut rig = Rig::new(FAILED).await;
    rig.service = rig
        .service
        .replace("group_by = [\"project\", \"job\"]", "group_by = []")
        .replace("group_wait = \"0s\"", "group_wait = \"1m\"");
    for index in 0..300 {
        let job = format!("job-{index:03}");
        let plan = tardy::sim::JobPlan::new(&job, "0 * * * *");
        rig.sim.organization.edit(|organization| {
            organization.job(crate::rig::PROJECT, plan);
        });
        let run = PlannedRun::failure(
            &format!("f{index}"),
            &job,
            minute(10),
            Span::minutes(2),
            "boom",
        );
        rig.add(run);
    }
    rig.start();
    rig.run_to(minute(30)).await;
    // What does not fit into one of Discord's messages goes on in at most three more.
    assert_eq!(rig.counts(), [1, 4, 1, 1, 0], "{:?}", Rig::story(&rig.hook));
    assert!(
        rig.settled
            .iter()
            .all(|record| record.outcome == DeliveryOutcome::Delivered)
    );
    let told = Rig::told(&rig.hook)[0].clone();
    let shown = told["alerts"].as_array().unwrap().len() as u64;
    let omitted = told["omitted_alerts"].as_u64().unwrap();
    assert_eq!(
        (shown + omitted, shown <= 200),
        (300, true),
        "{shown} shown, {omitted} omitted"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_11_no_secret_is_told_or_stored_whatever_fails() {
    let mut rig = Rig::watching(FAILED).await;
    rig.slack.revoke();
    rig.smtp.require("another password");
    rig.discord.script(Scripted::Answer(
        500,
        Vec::new(),
        format!("echo {}", crate::chat::SECRET),
    ));
    rig.hook.script(Scripted::Answer(
        403,
        Vec::new(),
        format!("no: {}", crate::chat::SECRET),
    ));
    rig.sim
        .faults
        .inject_times("/runs", Fault::Status(401, None), 3);
    let error = format!("Authorization: Bearer {TOKEN}\npassword={PASSWORD}\nlogin failed");
    rig.add(bad("bad", 30, &error));
    rig.run_to(minute(60)).await;
    assert!(rig.counts()[4] > 0, "the fallback heard of it");
    rig.crash();
    rig.assert_no_secret();
}

/// A port where nobody listens.
async fn closed_port() -> std::net::SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_receiver_is_told_of_once_and_hears_everything_in_order_when_it_is_back() {
    let addr = closed_port().await;
    let mut rig = Rig::new(FAILED).await;
    rig.slack_at = Some(addr);
    rig.start();
    rig.run_to(minute(1)).await;
    rig.add(bad("bad", 30, "audit failed"));
    rig.run_to(minute(39)).await;
    assert_eq!(
        rig.counts(),
        [0, 1, 1, 1, 0],
        "the others are told at once; the fallback not yet"
    );
    rig.run_to(minute(60)).await;
    let ops = Rig::story(&rig.ops);
    let about = ops
        .iter()
        .filter(|(_, text)| text.starts_with("Could not tell slack"))
        .count();
    assert_eq!(about, 1, "{ops:?}");
    rig.add(good("good", 62));
    rig.run_to(minute(70)).await;
    rig.restart();
    assert_eq!(rig.deliverer().waiting().get("slack"), Some(&2));
    rig.slack = Chat::start_at(addr).await;
    rig.run_to(minute(90)).await;
    let slack = rig.slack.said();
    assert_eq!(slack.len(), 2, "{slack:?}");
    assert!(slack[0].body.contains("audit failed") && !slack[0].body.contains("Recovered"));
    assert!(slack[1].body.contains("Update on"), "in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_day_a_delivery_is_dead_and_that_is_said() {
    let mut rig = Rig::new(FAILED).await;
    rig.slack_at = Some(closed_port().await);
    rig.start();
    rig.run_to(minute(1)).await;
    rig.add(bad("bad", 30, "audit failed"));
    rig.run_to(minute(45)).await;
    rig.poll_every = Span::minutes(20);
    rig.run_to(minute(26 * 60)).await;
    let ends = rig.ends("slack");
    assert!(
        matches!(&ends[..], [DeliveryOutcome::Dead(why)] if why.contains("24 h")),
        "{ends:?}"
    );
    let waiting = rig.deliverer().waiting()["slack"];
    assert!(waiting <= 2, "only later reminders wait: {waiting}");
    let ops = Rig::story(&rig.ops);
    let about: Vec<_> = ops
        .iter()
        .filter(|(_, text)| text.starts_with("Could not tell slack"))
        .collect();
    let given_up = about
        .iter()
        .filter(|(_, text)| text.contains("given up after 24 h"));
    assert_eq!(given_up.count(), 1, "{ops:?}");
    // It was late, and so were the reminders after 12 h and 24 h that waited behind it.
    let late = about
        .iter()
        .filter(|(_, text)| text.contains("not reachable for 5 min"));
    assert_eq!((late.count(), about.len()), (3, 4), "{ops:?}");
}

/// What the fallback has heard that Slack was not told.
fn missed_by_slack(rig: &Rig) -> Vec<String> {
    let told = Rig::told(&rig.ops).into_iter();
    told.filter(|told| {
        told["headline"]
            .to_string()
            .contains("Could not tell slack")
    })
    .map(|told| told.to_string())
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fallback_hears_of_what_waits_behind_a_failing_message() {
    let mut rig = Rig::new(FAILED).await;
    rig.slack_at = Some(closed_port().await);
    rig.start();
    rig.run_to(minute(1)).await;
    rig.add(bad("bad", 30, "audit failed"));
    rig.run_to(minute(55)).await;
    assert_eq!(missed_by_slack(&rig).len(), 1);
    // The end is known at minute 67, and waits behind the first message.
    rig.add(good("good", 62));
    rig.run_to(minute(71)).await;
    assert_eq!(rig.deliverer().waiting()["slack"], 2);
    assert_eq!(missed_by_slack(&rig).len(), 1, "not yet five minutes");
    rig.restart();
    rig.run_to(minute(73)).await;
    let missed = missed_by_slack(&rig);
    assert_eq!(missed.len(), 2, "{missed:?}");
    assert!(missed[1].contains("Recovered"), "{missed:?}");
    assert!(
        missed[1].contains("not reachable for 5 min: "),
        "{missed:?}"
    );
    rig.restart();
    rig.run_to(minute(180)).await;
    assert_eq!(missed_by_slack(&rig).len(), 2, "each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fallback_hears_in_time_though_a_receiver_asks_to_be_left_alone_for_an_hour() {
    let mut rig = Rig::watching(FAILED).await;
    rig.slack.answer_next(429, &[("retry-after", "3600")], "");
    rig.add(bad("bad", 30, "audit failed"));
    // No poll wakes it: the deliverer's own instant does.
    rig.run_to(minute(36)).await;
    assert_eq!(rig.counts(), [1, 1, 1, 1, 0]);
    rig.poll_every = Span::hours(1);
    rig.run_to(minute(39)).await;
    assert_eq!(missed_by_slack(&rig).len(), 0);
    rig.run_to(minute(42)).await;
    let missed = missed_by_slack(&rig);
    assert_eq!(missed.len(), 1, "{:?}", Rig::story(&rig.ops));
    assert!(
        missed[0].contains("not reachable for 5 min: "),
        "{missed:?}"
    );
    // The notifier keeps its peace by a real clock; one built anew does not.
    rig.restart();
    rig.run_to(minute(90)).await;
    assert_eq!(rig.slack.said().len(), 1, "the receiver's wish is kept");
    rig.run_to(minute(110)).await;
    assert_eq!(rig.slack.said().len(), 2, "it is told after the hour");
    assert_eq!(missed_by_slack(&rig).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_refused_message_does_not_make_a_receiver_unreachable() {
    let mut rig = Rig::watching(FAILED).await;
    // With markup, and plain.
    rig.slack.answer_next(400, &[], "invalid_blocks");
    rig.slack.answer_next(400, &[], "invalid_payload");
    rig.add(bad("bad", 30, "audit failed"));
    rig.run_to(minute(11 * 60)).await;
    let ends = rig.ends("slack");
    assert!(
        matches!(&ends[..], [DeliveryOutcome::Rejected(_)]),
        "{ends:?} {:?}",
        Rig::story(&rig.hook)
    );
    assert_eq!(missed_by_slack(&rig).len(), 1, "the fallback heard it");
    let kinds: Vec<String> = rig
        .engine()
        .alerts()
        .map(|alert| alert.kind.to_string())
        .collect();
    assert_eq!(kinds, ["run_failed"]);
    assert_eq!(rig.counts(), [2, 1, 1, 1, 1], "and nobody else anything");
}
