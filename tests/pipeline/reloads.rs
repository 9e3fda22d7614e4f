//! A reload while something is being told: nothing is cut off, nobody is told again.

use std::collections::BTreeMap;

use tardy::app::deliver::{Deliverer, Outgoing, Report};
use tardy::app::pipeline::{Incoming, Pipeline};
use tardy::engine::history::History;
use tardy::engine::time::Span;
use tardy::engine::{Engine, Notice, Saved};
use tardy::sim::PlannedRun;
use tardy::store::records::{DeliveryOutcome, Sequences};

use crate::rig::{FAILED, JOB, Rig, begin, minute};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_under_way_comes_to_its_end_though_its_receiver_is_taken_away() {
    let rig = Rig::new(FAILED).await;
    let (config, store, notifiers) = rig.parts();
    let policy = std::sync::Arc::new(config.policy);
    let engine = Engine::new(policy, History::default(), Saved::default());
    let mut pipeline = Pipeline::new(engine, std::sync::Arc::clone(&store), Sequences::default());
    let mut incoming = Incoming::default();
    incoming.input.notices.push(Notice {
        headline: "something to say".to_owned(),
        text: String::new(),
        is_for_fallback: true,
    });
    let rows = pipeline.activate(incoming, begin()).unwrap().rows;
    let mut deliverer = Deliverer::new(store, notifiers, Outgoing::default());
    deliverer.enqueue(rows);
    let mut report = Report::default();
    deliverer.start_due(begin(), &mut report);
    assert!(deliverer.is_busy());
    deliverer.set_notifiers(BTreeMap::new());
    while deliverer.is_busy() {
        deliverer.finish_some(&begin, &mut report).await;
    }
    let ends: Vec<_> = report
        .settled
        .iter()
        .map(|record| &record.outcome)
        .collect();
    assert_eq!(ends, [&DeliveryOutcome::Delivered]);
    assert_eq!(rig.ops.said().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_a_mail_already_is_not_sent_it_again_after_a_reload() {
    let mut rig = Rig::new(FAILED).await;
    rig.service = rig.service.replace(
        "to = [\"lead@example.com\"]",
        "to = [\"slow@example.com\", \"lead@example.com\"]",
    );
    rig.start();
    rig.run_to(minute(1)).await;
    rig.smtp
        .refuse("slow@example.com", Some("451 4.2.0 greylisted"));
    let failed = PlannedRun::failure("bad", JOB, minute(30), Span::minutes(2), "audit failed");
    rig.add(failed);
    rig.run_to(minute(34)).await;
    let count = |rig: &Rig, who: &str| rig.mails().iter().filter(|mail| mail.to == who).count();
    assert_eq!(count(&rig, "lead@example.com"), 1);
    // Another receiver changes; the one that mails does not.
    rig.service = rig.service.replace("secret = { env = \"HOOK_KEY\" }\n", "");
    rig.reload().unwrap();
    rig.smtp.refuse("slow@example.com", None);
    rig.run_to(minute(60)).await;
    assert_eq!(
        (
            count(&rig, "lead@example.com"),
            count(&rig, "slow@example.com")
        ),
        (1, 1)
    );
}
