//! A digest from the configuration to every channel, with everything real but time.

use mail_parser::MessageParser;
use tardy::engine::time::Span;
use tardy::sim::PlannedRun;

use crate::rig::{JOB, Mood, Rig, minute};

const RULES: &str = "
[[rule]]
name = \"run-failed\"
kind = \"run_failed\"

[[rule]]
name = \"quick\"
kind = \"run_duration\"
max = \"10m\"
";

/// Watching begins at 06:30; the digest is due at 07:00.
const DIGEST: &str = "
[[digest]]
name = \"morning\"
schedule = \"0 7 * * *\"
period = \"24h\"
receivers = [\"slack\", \"discord\", \"mail\", \"hook\"]
send_empty = true
";

async fn rig() -> Rig {
    let mut rig = Rig::new(RULES).await;
    rig.service.push_str(DIGEST);
    rig.add(PlannedRun::success(
        "long",
        JOB,
        minute(5),
        Span::minutes(12),
    ));
    rig.start();
    rig
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_told_once_in_every_channel_through_a_restart_at_its_very_tick() {
    let mut rig = rig().await;
    rig.run_to(minute(29)).await;
    let before = rig.counts();
    rig.run_to(minute(30)).await;
    rig.restart();
    rig.run_to(minute(31)).await;
    rig.restart();
    rig.run_to(minute(60)).await;
    let told: Vec<usize> = rig
        .counts()
        .iter()
        .zip(before)
        .map(|(a, b)| a - b)
        .collect();
    assert_eq!(told, [1, 1, 1, 1, 0]);
    let hook = Rig::told(&rig.hook).pop().unwrap();
    assert_eq!(hook["event"], "digest");
    let digest = &hook["digest"];
    assert_eq!(digest["to"], "2026-03-12T07:00:00Z");
    let late = digest["periods"][0]["late"].as_u64().unwrap();
    let counted = digest["periods"][0]["met"].as_u64().unwrap() + late;
    assert_eq!((late, counted >= 1), (1, true), "{digest}");
    let verdict = hook["headline"].as_str().unwrap().to_owned();
    assert!(verdict.contains("1 of "), "{verdict}");
    assert!(rig.slack.said().pop().unwrap().body.contains(&verdict));
    let (_, bytes) = rig.smtp.mails().pop().unwrap();
    let mail = MessageParser::default().parse(&bytes).unwrap();
    assert!(mail.subject().unwrap().contains(&verdict));
    let html = mail.body_html(0).unwrap();
    assert!(html.contains("<img src=\"cid:"), "the chart goes with it");
    assert!(html.contains("alt=\"Promises by day, each up to 07:00."));
    let has_png = mail
        .parts
        .iter()
        .any(|part| part.contents().starts_with(b"\x89PNG"));
    assert!(has_png);
    rig.assert_no_secret();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_before_it_is_written_and_a_late_start_tell_it_late_and_once() {
    let mut rig = rig().await;
    rig.run_to(minute(29)).await;
    let before = rig.counts();
    rig.set_mood(Mood::Full);
    rig.run_to(minute(33)).await;
    assert_eq!(rig.counts(), before, "what is not written is not told");
    rig.crash();
    rig.set_mood(Mood::Well);
    rig.set_time(minute(40));
    rig.start();
    rig.run_to(minute(45)).await;
    rig.restart();
    rig.run_to(minute(90)).await;
    let told: Vec<usize> = rig
        .counts()
        .iter()
        .zip(before)
        .map(|(a, b)| a - b)
        .collect();
    assert_eq!(told, [1, 1, 1, 1, 0]);
    let slack = rig.slack.said().pop().unwrap().body;
    assert!(
        slack.contains("Sent late: due 07:00 UTC, made 07:1"),
        "{slack}"
    );
}
