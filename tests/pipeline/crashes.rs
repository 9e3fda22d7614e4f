//! Stores that fail and processes that die.

use std::sync::Arc;
use std::time::Duration;

use tardy::app::evaluate::{Evaluator, InForce};
use tardy::app::live::{self, Facts, Shared};
use tardy::app::pipeline::Pipeline;
use tardy::engine::Engine;
use tardy::engine::history::History;
use tardy::engine::time::{Span, Timestamp};
use tardy::sim::PlannedRun;
use tardy::store::records::{self, DeliveryOutcome, Sequences};
use tardy::store::{StoreError, Table};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::chat::Chat;
use crate::rig::{FAILED, JOB, Mood, Rig, begin, minute};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_cannot_be_written_nothing_is_told_and_then_everything_once() {
    let mut rig = Rig::watching(FAILED).await;
    rig.add(PlannedRun::failure(
        "bad",
        JOB,
        minute(30),
        Span::minutes(5),
        "audit failed",
    ));
    rig.run_to(minute(34)).await;
    rig.set_mood(Mood::Full);
    rig.run_to(minute(40)).await;
    assert_eq!(rig.counts(), [0; 5]);
    rig.set_mood(Mood::Well);
    rig.run_to(minute(50)).await;
    assert_eq!(rig.counts(), [1, 1, 1, 1, 0]);
    // And when it dies instead of healing.
    rig.add(PlannedRun::success(
        "good",
        JOB,
        minute(90),
        Span::minutes(5),
    ));
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
    chat.said()
        .into_iter()
        .map(|said| format!("{} {}", said.method, said.body))
        .collect()
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_broken_for_good_ends_the_evaluator_aloud() {
    let rig = Rig::new(FAILED).await;
    let (config, store, notifiers) = rig.parts();
    rig.set_mood(Mood::Broken);
    let policy = Arc::new(config.policy.clone());
    let engine = Engine::new(
        Arc::clone(&policy),
        History::default(),
        tardy::engine::Saved::default(),
    );
    let pipeline = Pipeline::new(engine, store, Sequences::default());
    let facts = Facts {
        config: "tardy.toml".to_owned(),
        store: "data".to_owned(),
        sources: vec![("acme".into(), Span::seconds(30))],
        receivers: Vec::new(),
        started_at: minute(0),
        retention: Span::days(180),
        schedule: config.evaluation_schedule.clone(),
    };
    let shared = Arc::new(Shared::new(pipeline, Arc::new(rig.wall.clone()), facts));
    let (_events, inbox) = live::channel();
    let (rows, mut row_inbox) = mpsc::channel(8);
    let alarm = vec![("ops".into(), Arc::clone(&notifiers["ops"]))];
    let (_in_force, in_force) = watch::channel(InForce { policy, alarm });
    let (poll_at, _poll_at) = watch::channel(None);
    let evaluator = Evaluator {
        shared: Arc::clone(&shared),
        events: inbox,
        in_force,
        rows,
        poll_at,
        waiting: Vec::new(),
    };
    let running = evaluator.run(CancellationToken::new());
    let ended = tokio::time::timeout(Duration::from_secs(20), running)
        .await
        .expect("it ends by itself");
    assert!(matches!(ended, Err(StoreError::Broken { .. })), "{ended:?}");
    assert!(
        row_inbox.try_recv().is_err(),
        "nothing is told of what is not stored"
    );
    assert!(
        rig.ops.said()[0].body.contains("cannot write its store"),
        "{:?}",
        rig.ops.said()
    );
    assert!(
        shared
            .status()
            .store
            .blocked
            .unwrap()
            .contains("restart Tardy")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_a_notifier_chokes_on_is_given_up_aloud_and_the_others_are_told() {
    let mut rig = Rig::watching(FAILED).await;
    rig.add(PlannedRun::failure(
        "bad",
        JOB,
        minute(30),
        Span::minutes(5),
        "poisonous",
    ));
    rig.run_to(minute(39)).await;
    assert_eq!(rig.counts(), [1, 1, 1, 0, 1]);
    assert!(
        matches!(&rig.ends("hook")[..], [DeliveryOutcome::Rejected(why)] if why.contains("a bug of Tardy's"))
    );
    assert!(Rig::story(&rig.ops)[0].1.starts_with("Could not tell hook"));
}

/// So many days before the beginning; history is forgotten by whole days.
fn midnight(days: i64) -> Timestamp {
    begin() - Span::days(days) - Span::hours(6) - Span::minutes(30)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upkeep_merges_and_forgets_and_a_restart_knows_the_rest() {
    let rules = format!("{FAILED}\n[[rule]]\nname = \"missed\"\nkind = \"missed_schedule\"\n");
    let mut rig = Rig::watching(&rules).await;
    for index in 0..30 {
        let at = minute(2 + 2 * index);
        let run = PlannedRun::success(&format!("r{index}"), JOB, at, Span::seconds(20));
        rig.add(run);
    }
    rig.add(PlannedRun::failure(
        "bad",
        JOB,
        minute(63),
        Span::minutes(1),
        "audit failed",
    ));
    rig.run_to(minute(70)).await;
    let segments = |rig: &Rig| rig.stored().scan(Table::History, b"segment/").count();
    let rows = |rig: &Rig, table| rig.stored().scan(table, b"").count();
    let promises_kept = |rig: &Rig| records::load(rig.stored()).unwrap().saved.ledger.len();
    let (pieces, promises) = (segments(&rig), promises_kept(&rig));
    assert_eq!(promises, rig.engine().ledger().len());
    assert!(
        pieces > 50 && promises > 0,
        "{pieces} pieces, {promises} promises"
    );
    rig.keep_up(midnight(10));
    let kept = rig.engine().history().counts();
    assert!(kept.0 > 200 && kept.0 < 300, "{kept:?}");
    assert!(segments(&rig) < 30, "{} pieces", segments(&rig));
    let left = promises_kept(&rig);
    assert_eq!(left, rig.engine().ledger().len());
    assert!(
        rows(&rig, Table::Ledger) < 40,
        "a piece for each day, and a few new ones"
    );
    assert!(
        left > 200 && left < promises / 2,
        "{left} of {promises} promises"
    );
    let told = rig.counts();
    rig.restart();
    assert_eq!(rig.engine().history().counts(), kept);
    rig.run_to(minute(80)).await;
    assert_eq!(rig.counts(), told, "nothing is told again");
    // Much later all of it is gone, but for what is open.
    rig.keep_up(midnight(-1));
    for table in [Table::Ledger, Table::Transition, Table::Delivery] {
        assert_eq!(rows(&rig, table), 0, "{table:?}");
    }
    assert_eq!(rows(&rig, Table::Alert), 1);
}

#[test]
fn a_damaged_store_is_set_aside_restored_and_said_to_every_receiver() {
    use std::sync::Arc;
    use tardy::app::start;
    use tardy::engine::history::History;
    use tardy::engine::policy::Policy;
    use tardy::engine::time::Timestamp;
    use tardy::engine::{Engine, Input, Saved};
    use tardy::store::sled::{SledOptions, SledStore};
    use tardy::store::{Commit, Store as _, Table};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let now = Timestamp::parse("2026-03-10T06:00:00Z").unwrap();
    let store = SledStore::open(&path, SledOptions::at(now)).unwrap().store;
    let mut commit = Commit::default();
    for number in 0..2_000_u32 {
        commit.put(Table::Handle, number.to_be_bytes().to_vec(), vec![7; 200]);
    }
    store.commit(&commit).unwrap();
    store.snapshot(now).unwrap();
    drop(store);
    let file = path.join("live").join("db");
    let length = std::fs::metadata(&file).unwrap().len();
    std::fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(length / 2)
        .unwrap();

    let opened = start::open(&path, now).unwrap();
    assert_eq!(
        opened.store.scan(Table::Handle, b"").count(),
        2_000,
        "the snapshot is back"
    );
    let aside = std::fs::read_dir(&path).unwrap().filter_map(Result::ok);
    let aside = aside.filter(|entry| entry.file_name().to_string_lossy().starts_with("damaged-"));
    assert_eq!(aside.count(), 1, "the damaged store is kept");
    let policy = Policy {
        fallback: vec!["leads".into()],
        ..Policy::empty(vec!["team".into(), "oncall".into()])
    };
    let mut engine = Engine::new(Arc::new(policy), History::default(), Saved::default());
    let notices = opened
        .notices
        .into_iter()
        .filter(|notice| notice.headline.contains("damaged"));
    let input = Input {
        notices: notices.collect(),
        ..Input::default()
    };
    let told = engine.step(input, now).notifications;
    let receivers: Vec<&str> = told
        .iter()
        .map(|notification| &*notification.receiver)
        .collect();
    assert_eq!(
        receivers,
        ["leads", "oncall", "team"],
        "everybody hears of it, once"
    );
}
