//! What people are told of an ordinary day.

use tardy::engine::time::Span;
use tardy::sim::PlannedRun;

use crate::rig::{FAILED, JOB, Rig, minute};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_not_announced_and_a_failure_is_told_once_and_ends() {
    let mut rig = Rig::new(FAILED).await;
    rig.start();
    rig.run_to(minute(10)).await;
    let (runs, _) = rig.engine().history().counts();
    assert!(runs > 700, "{runs} runs of history");
    assert_eq!(rig.counts(), [0; 5], "nothing is announced at first start");

    rig.add(PlannedRun::failure(
        "bad",
        JOB,
        minute(30),
        Span::minutes(5),
        "audit not_null failed",
    ));
    rig.run_to(minute(45)).await;
    assert_eq!(rig.counts(), [1, 1, 1, 1, 0]);
    rig.restart();
    rig.run_to(minute(60)).await;
    assert_eq!(
        rig.counts(),
        [1, 1, 1, 1, 0],
        "told once, across polls and a restart"
    );
    let first = Rig::told(&rig.hook)[0].clone();
    let id = first["alerts"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(first["event"], "firing");
    assert!(rig.slack.said()[0].body.contains("audit not_null failed"));

    rig.add(PlannedRun::success(
        "good",
        JOB,
        minute(90),
        Span::minutes(9),
    ));
    rig.run_to(minute(110)).await;
    let slack = rig.slack.said();
    assert_eq!(slack.len(), 2);
    assert!(
        slack[1].body.contains(&format!("Update on {id}")),
        "{}",
        slack[1].body
    );
    let discord = rig.discord.said();
    assert_eq!(discord[1].method, "PATCH", "the message is edited in place");
    assert!(rig.discord.messages()[0].to_string().contains("Recovered"));
    let mails = rig.mails();
    assert_eq!(mails.len(), 2);
    assert_eq!(
        mails[1].references.as_ref(),
        Some(&mails[0].id),
        "a reply in the thread"
    );
    assert_eq!(mails[1].subject, format!("Re: {}", mails[0].subject));
    let hook = Rig::told(&rig.hook);
    assert_eq!((hook.len(), &hook[1]["event"]), (2, &"resolved".into()));
    assert_eq!(hook[0]["conversation"], hook[1]["conversation"]);
    rig.run_to(minute(180)).await;
    assert_eq!(rig.hook.said().len(), 2, "and that is all");
    rig.assert_no_secret();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_and_its_success_between_two_polls_are_one_message_that_says_both() {
    let mut rig = Rig::watching(FAILED).await;
    let at = minute(30) + Span::seconds(1);
    rig.add(PlannedRun::failure(
        "bad",
        JOB,
        at,
        Span::seconds(5),
        "deadlock detected",
    ));
    rig.add(PlannedRun::success(
        "good",
        JOB,
        at + Span::seconds(8),
        Span::seconds(10),
    ));
    rig.run_to(minute(40)).await;
    assert_eq!(rig.counts(), [1, 1, 1, 1, 0]);
    let told = Rig::told(&rig.hook)[0].clone();
    assert_eq!(told["event"], "resolved", "{told}");
    let text = told.to_string();
    for part in ["Failed", "deadlock detected", "Recovered"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(rig.slack.said()[0].body.contains("deadlock detected"));
    rig.run_to(minute(60)).await;
    assert_eq!(rig.counts(), [1, 1, 1, 1, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_succeeds_ends_the_alert() {
    let mut rig = Rig::watching(FAILED).await;
    let mut run = PlannedRun::failure("bad", JOB, minute(30), Span::minutes(5), "timeout");
    run.later.push(tardy::sim::Amendment {
        at: minute(50),
        status: tardy::sim::Outcome::Success,
        error: None,
    });
    rig.add(run);
    rig.run_to(minute(60)).await;
    let story = Rig::story(&rig.hook);
    assert_eq!(story.len(), 2, "{story:?}");
    assert!(story[1].1.contains("superseded by a retry"), "{story:?}");
}
