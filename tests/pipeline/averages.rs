//! Where dagctl lets neither runs nor model executions be read: regressions are told from averages of days,
//! once, and nothing else is made up.

use tardy::app::status::{self, SourceStatus, Status, StoreStatus};
use tardy::engine::history::ProjectHistory;
use tardy::engine::time::{Span, Timestamp};
use tardy::sim::{JobPlan, Organization, Outcome, PlannedRun, ProjectKind, ProjectPlan, Variant};

use crate::rig::{JOB, PROJECT, Rig, SERVICE, TOKEN};

const RULES: &str = r#"
[[rule]]
name = "model-slower"
kind = "model_regression"
method = "percent"

[[rule]]
name = "run-slower"
kind = "run_regression"
method = "percent"

[[rule]]
name = "by-z"
kind = "model_regression"

[[rule]]
name = "missed"
kind = "missed_schedule"

[[rule]]
name = "stale"
kind = "staleness"
max_age = "2h"

[[rule]]
name = "model-stale"
kind = "model_staleness"
max_age = "2h"
"#;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// A run at an instant; its model takes a third of it.
fn run(id: &str, at: Timestamp, seconds: i64) -> PlannedRun {
    let (run, model) = (Span::seconds(seconds * 3), Span::seconds(seconds));
    PlannedRun::success(id, JOB, at, run).with_model("marts.orders", model, Outcome::Success, None)
}

/// An hourly job that takes twice as long on 12 and 13 March.
fn organization() -> Organization {
    let mut organization = Organization::new("org-acme", TOKEN);
    organization.project(ProjectPlan::new(PROJECT, "finance", ProjectKind::Sqlmesh));
    organization.job(PROJECT, JobPlan::new(JOB, "0 * * * *"));
    let (first, last) = (at("2026-02-05T00:00:00Z"), at("2026-03-15T12:00:00Z"));
    let slow = at("2026-03-12T00:00:00Z")..at("2026-03-14T00:00:00Z");
    for hour in 0.. {
        let at = first + Span::hours(hour);
        if at > last {
            break;
        }
        let seconds = if slow.contains(&at) { 120 } else { 60 };
        organization.add_run(PROJECT, run(&format!("run_{hour:05}"), at, seconds));
    }
    organization
}

fn project(rig: &Rig) -> &ProjectHistory {
    rig.engine().history().projects().next().unwrap()
}

fn told(rig: &Rig) -> String {
    let said = rig.hook.said();
    let bodies = said.iter().map(|said| said.body.clone());
    bodies.collect::<Vec<_>>().join("\n")
}

async fn rig(variant: Variant) -> Rig {
    let mut rig = Rig::of_variant(organization(), RULES, variant).await;
    rig.service = SERVICE.replace("repeat_interval = \"12h\"", "repeat_interval = \"30d\"");
    rig.poll_every = Span::minutes(30);
    rig.start();
    rig
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slower_days_are_told_once_and_so_is_their_end() {
    let mut rig = rig(Variant::number(8)).await;
    rig.run_to(at("2026-03-13T02:40:00Z")).await;
    // That single runs cannot be seen is an incident of its own.
    assert_eq!(rig.counts(), [1, 1, 1, 1, 0], "{}", told(&rig));
    assert!(told(&rig).contains("Blind: source acme"));
    rig.restart();
    rig.run_to(at("2026-03-13T05:00:00Z")).await;
    let once = rig.counts();
    assert_eq!(once, [2, 2, 2, 2, 0], "{}", told(&rig));
    let text = told(&rig);
    for wanted in [
        "Slower: finance marts.orders took 2 min on average on 12 Mar (24 runs), usual 1 min (+100 %; median of the last 20 days)",
        "Slower: finance (all jobs) took 6 min on average on 12 Mar (24 runs), usual 3 min (+100 %; median of the last 20 days)",
    ] {
        assert!(text.contains(wanted), "{text}");
    }
    for unwanted in ["by-z", "\"missed\"", "\"stale\"", "model-stale"] {
        assert!(!text.contains(unwanted), "{unwanted}: {text}");
    }

    // A late row changes the day; the next one is as slow; and there is another start.
    rig.add(run("late", at("2026-03-12T12:30:00Z"), 124));
    rig.restart();
    rig.run_to(at("2026-03-14T05:00:00Z")).await;
    assert_eq!(rig.counts(), once, "{}", told(&rig));
    let day = "2026-03-12".parse().unwrap();
    let counts = |rig: &Rig| {
        let averages = project(rig).averages().on(day);
        averages.iter().map(|known| known.count).collect::<Vec<_>>()
    };
    assert_eq!(counts(&rig), [Some(25), Some(25)], "read once more");

    rig.run_to(at("2026-03-15T05:00:00Z")).await;
    let text = told(&rig);
    for wanted in [
        "Back to usual: finance marts.orders took 1 min on average on 14 Mar (24 runs)",
        "Back to usual: finance (all jobs) took 3 min on average on 14 Mar (24 runs)",
    ] {
        assert!(text.contains(wanted), "{text}");
    }
    let ended = rig.counts();
    rig.keep_up(at("2026-03-12T00:00:00Z"));
    rig.restart();
    rig.run_to(at("2026-03-15T06:00:00Z")).await;
    assert_eq!(rig.counts(), ended);
    assert_eq!(counts(&rig).len(), 2);
    let averages = project(&rig).averages();
    assert!(averages.on("2026-03-11".parse().unwrap()).is_empty());
    assert_eq!(
        project(&rig).coverage,
        None,
        "nothing is claimed about runs"
    );
}

/// The state of a program with the source of the rig, before the engine fills in what it knows.
fn unfilled() -> Status {
    let source = SourceStatus {
        name: "acme".into(),
        ..SourceStatus::default()
    };
    Status {
        version: String::new(),
        pid: None,
        started_at: None,
        now: at("2026-03-12T14:00:00Z"),
        skew_millis: 0,
        config: String::new(),
        config_refused: None,
        sources: vec![source],
        receivers: Vec::new(),
        store: StoreStatus::default(),
        rules: 0,
        watches: 0,
        firing: 0,
        pending: 0,
        runs: 0,
        executions: 0,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_says_what_is_known_by_averages_alone() {
    let mut rig = rig(Variant::number(9)).await;
    rig.run_to(at("2026-03-12T14:00:00Z")).await;
    let mut status = unfilled();
    status::of_engine(&mut status, rig.engine());
    let known = &status.sources[0].averages[PROJECT];
    assert_eq!(
        known.lines(),
        [
            "model executions: not served; daily averages read up to 2026-03-11",
            "regressions of models: by daily averages (percent only)",
            "rule \"by-z\": unknown: only daily averages can be read; use method \"percent\"",
        ]
    );
    assert!(status.sources[0].known_until.contains_key(PROJECT));
}
