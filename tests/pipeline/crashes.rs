//! Stores that fail and processes that die.

use tardy::engine::time::Span;
use tardy::sim::PlannedRun;

use crate::chat::Chat;
use crate::rig::{FAILED, JOB, Mood, Rig, minute};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_cannot_be_written_nothing_is_told_and_then_everything_once() {
    let mut rig = Rig::watching(FAILED).await;
    rig.add(PlannedRun::failure("bad", JOB, minute(30), Span::minutes(5), "audit failed"));
    rig.run_to(minute(34)).await;
    rig.set_mood(Mood::Full);
    rig.run_to(minute(40)).await;
    assert_eq!(rig.counts(), [0; 5]);
    rig.set_mood(Mood::Well);
    rig.run_to(minute(50)).await;
    assert_eq!(rig.counts(), [1, 1, 1, 1, 0]);
    // And when it dies instead of healing.
    rig.add(PlannedRun::success("good", JOB, minute(90), Span::minutes(5)));
    rig.run_to(minute(94)).await;
    rig.set_mood(Mood::Full);
    rig.run_to(minute(100)).await;
    rig.crash();
    rig.set_mood(Mood::Well);
    rig.start();
    rig.run_to(minute(110)).await;
    assert_eq!(rig.counts(), [2, 3, 2, 2, 0]);
}

/// An hour in which runs fail, recover, fail otherwise and are retried.
fn script(rig: &Rig) {
    let run = |id: &str, at, minutes, error: Option<&str>| {
        let (at, duration) = (minute(at), Span::minutes(minutes));
        match error {
            Some(error) => PlannedRun::failure(id, JOB, at, duration, error),
            None => PlannedRun::success(id, JOB, at, duration),
        }
    };
    rig.add(run("r1", 3, 2, Some("audit failed")));
    rig.add(run("r2", 10, 3, Some("deadlock")));
    rig.add(run("r3", 18, 4, None));
    rig.add(run("r4", 30, 1, Some("timeout")));
    rig.add(run("r5", 32, 1, None));
    rig.add(run("r6", 40, 12, Some("out of memory")));
    rig.add(run("r7", 55, 2, None));
}

fn told(chat: &Chat) -> Vec<String> {
    chat.said().into_iter().map(|said| format!("{} {}", said.method, said.body)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_at_every_step_gives_the_same_messages() {
    let rules = format!(
        "{FAILED}\n[[rule]]\nname = \"too-long\"\nkind = \"run_duration\"\nmax = \"10m\"\n\
         [[rule]]\nname = \"missed\"\nkind = \"missed_schedule\"\n"
    );
    let mut whole = Rig::watching(&rules).await;
    let mut cut = Rig::watching(&rules).await;
    script(&whole);
    script(&cut);
    for minutes in 2..65 {
        whole.run_to(minute(minutes)).await;
        cut.run_to(minute(minutes)).await;
        cut.restart();
    }
    let expected = told(&whole.hook);
    assert!(expected.len() >= 6, "{expected:#?}");
    assert_eq!(told(&cut.hook), expected);
    assert_eq!(told(&cut.slack), told(&whole.slack));
    assert_eq!(cut.counts(), whole.counts());
}
