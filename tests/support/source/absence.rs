//! Random fault schedules of the source, seen by the engine: nothing is called missing, late, stale or too
//! long because Tardy could not see, and what is truly missing is found, once.
//!
//! A few schedules run with every test run; `TARDY_FAULT_SCHEDULES=10000 cargo test --release --test source
//! fault_schedules -- --nocapture` runs as many as wanted and prints what it saw.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono_tz::Tz;
use tardy::app::poll::source_health;
use tardy::config::{Environment, load_rule_texts};
use tardy::engine::alert::{AlertState, Transition};
use tardy::engine::history::History;
use tardy::engine::ledger::{LedgerRow, Promise};
use tardy::engine::policy::{Policy, SourcePolicy};
use tardy::engine::time::{Span, Timestamp};
use tardy::engine::{Engine, Input, Saved};
use tardy::sim::{
    Fault, JobPlan, Organization, PlannedRun, ProjectKind, ProjectPlan, Running, Variant,
};
use tardy::source::dagctl::Dagctl;
use tardy::source::{Batch, Source as _};

use super::{begin, faults, is_deceit, settings, simulate};

const RULES: &str = r#"
[[rule]]
name = "missed"
kind = "missed_schedule"
grace = "10m"

[[rule]]
name = "stale"
kind = "staleness"
max_age = "90m"

[[rule]]
name = "late"
kind = "deadline"
by = "07:20"
opens = "06:10"
timezone = "UTC"

[[rule]]
name = "long"
kind = "run_duration"
max = "20m"
"#;

/// A run every half an hour; each takes five minutes, so that nothing but a missing one is wrong.
const GAP: Span = Span::minutes(30);

const JOB: &str = "half-hourly";

/// Which tick after the beginning has no run; every other schedule has none missing.
fn missing_tick(seed: u64) -> Option<Timestamp> {
    let ticks = [1, 2, 3];
    (seed % 2 == 1).then(|| begin() + GAP * ticks[usize::try_from(seed / 2 % 3).unwrap()])
}

fn organization(seed: u64) -> Organization {
    let mut organization = Organization::new("org-acme", "dctl_absence");
    organization.project(ProjectPlan::new("p1", "finance", ProjectKind::Sqlmesh));
    organization.job("p1", JobPlan::new(JOB, "*/30 * * * *"));
    let first = begin() - Span::hours(12);
    let until = begin() + Span::hours(4);
    let mut at = first;
    while at < until {
        if missing_tick(seed) != Some(at) {
            let id = format!("run-{}", at.as_millis() / 60_000);
            let started_at = at + Span::seconds(4);
            organization.add_run(
                "p1",
                PlannedRun::success(&id, JOB, started_at, Span::minutes(5)),
            );
        }
        at = at + GAP;
    }
    organization
}

fn engine() -> Engine {
    let rules = load_rule_texts(&[("absence.toml", RULES)], &Environment::default()).unwrap();
    let mut policy = Policy::empty(vec!["team".into()]);
    policy.rules = rules.rules;
    policy.sources = vec![SourcePolicy {
        name: "prod".into(),
        schedule_zone: Tz::UTC,
        run_url: None,
    }];
    Engine::new(Arc::new(policy), History::default(), Saved::default())
}

/// What a schedule came to.
#[derive(Default)]
struct Seen {
    transitions: Vec<Transition>,
    ledger: Vec<LedgerRow>,
    polls: usize,
    blind_polls: usize,
}

impl Seen {
    fn look(&mut self, engine: &mut Engine, batch: Batch, now: Timestamp) {
        self.polls += 1;
        self.blind_polls += usize::from(!batch.is_complete);
        let mut input = Input {
            health: source_health(&"prod".into(), &batch, now)
                .into_iter()
                .collect(),
            observations: batch.observations,
            coverage: batch.coverage,
            executions_known: batch.executions_known,
            ..Input::default()
        };
        // Everything that is due at once, as the running bot does.
        loop {
            let step = engine.step(std::mem::take(&mut input), now);
            self.transitions.extend(step.transitions);
            self.ledger.extend(step.ledger);
            if step.wake_at.is_none_or(|at| at > now) {
                break;
            }
        }
    }

    fn fired(&self) -> Vec<&Transition> {
        let fired = |change: &&Transition| change.to == AlertState::Firing;
        let about_runs = |change: &&Transition| &*change.rule != "source-unreachable";
        self.transitions
            .iter()
            .filter(fired)
            .filter(about_runs)
            .collect()
    }
}

/// Plays one schedule of faults: an hour and a half of trouble, then calm.
async fn play(seed: u64) -> Seen {
    let variants: Vec<Variant> = Variant::with_runs().collect();
    let variant = variants[usize::try_from(seed).unwrap() % variants.len()].clone();
    let running = simulate(organization(seed), variant).await;
    let mut client = Dagctl::resume(settings(&running), BTreeMap::new()).unwrap();
    let (mut engine, mut found) = (engine(), Seen::default());
    let first = poll(&mut client, &running, Span::zero()).await;
    found.look(&mut engine, first, running.clock.now());
    let rate = [0.05, 0.15, 0.4, 0.8][usize::try_from(seed / 5 % 4).unwrap()];
    running.faults.random(seed, rate, moderate());
    let mut cursors = BTreeMap::new();
    for step in 0..20_u64 {
        if step == seed % 23 {
            // A while of total darkness.
            running.faults.inject_times("", Fault::ResetConnection, 60);
        }
        let pause = Span::seconds(i64::try_from(120 + (seed * 7 + step * 13) % 360).unwrap());
        let batch = poll(&mut client, &running, pause).await;
        cursors.extend(batch.cursors.clone());
        found.look(&mut engine, batch, running.clock.now());
        if step % 9 == 8 {
            client = Dagctl::resume(settings(&running), cursors.clone()).unwrap();
        }
    }
    running.faults.calm();
    for _ in 0..3 {
        let batch = poll(&mut client, &running, Span::minutes(16)).await;
        found.look(&mut engine, batch, running.clock.now());
    }
    found
}

async fn poll(client: &mut Dagctl, running: &Running, pause: Span) -> Batch {
    let now = running.clock.advance(pause);
    let mut batch = client.poll(now).await;
    while batch.has_more {
        let next = client.poll(now).await;
        let observations = [batch.observations, next.observations.clone()].concat();
        batch = Batch {
            observations,
            ..next
        };
    }
    batch
}

/// All but those that take real time, and those with which an answer is well-formed and untrue (a wrong clock, a
/// row damaged twice over): while they last no client can be right.
fn moderate() -> Vec<Fault> {
    let is_slow = |fault: &Fault| {
        matches!(
            fault,
            Fault::HugeBody(_) | Fault::SlowDrip(..) | Fault::Delay(_)
        )
    };
    let is_left_out = |fault: &Fault| is_slow(fault) || is_deceit(fault);
    faults()
        .into_iter()
        .filter(|fault| !is_left_out(fault))
        .collect()
}

fn check(seed: u64, found: &Seen) {
    let missing = missing_tick(seed);
    let fired: Vec<String> = found
        .fired()
        .iter()
        .map(|change| format!("{} {}: {}", change.at, change.rule, change.reason))
        .collect();
    let wanted = usize::from(missing.is_some());
    assert_eq!(fired.len(), wanted, "seed {seed}: {fired:?}");
    if let (Some(tick), Some(change)) = (missing, found.fired().first()) {
        assert_eq!(&*change.rule, "missed", "seed {seed}: {fired:?}");
        assert_eq!(change.at, tick + Span::minutes(10), "seed {seed}");
    }
    let mut last = BTreeMap::new();
    for row in found.ledger.iter().filter(|row| &*row.rule == "missed") {
        last.insert(row.due_at, &row.outcome);
    }
    for (due_at, outcome) in last.iter().filter(|(due_at, _)| **due_at > begin()) {
        let wanted = if Some(*due_at) == missing {
            Promise::Missed
        } else {
            Promise::Met
        };
        assert_eq!(**outcome, wanted, "seed {seed}: the tick of {due_at}");
    }
    let ticks = last.range(begin() + Span::milliseconds(1)..).count();
    assert!(ticks >= 3, "seed {seed}: {ticks} ticks decided");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_schedules_of_the_source_never_make_anything_absent() {
    #[allow(clippy::disallowed_methods)] // how much is asked for, not how it runs
    let wanted: u64 = std::env::var("TARDY_FAULT_SCHEDULES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(24);
    let (mut polls, mut blind, mut missing) = (0, 0, 0);
    let mut seed = 0;
    while seed < wanted {
        let batch: Vec<u64> = (seed..wanted.min(seed + 4)).collect();
        seed += 4;
        let runs = batch.iter().map(|seed| tokio::spawn(play(*seed)));
        for (seed, run) in batch.iter().zip(runs.collect::<Vec<_>>()) {
            let found = run.await.unwrap();
            check(*seed, &found);
            polls += found.polls;
            blind += found.blind_polls;
            missing += usize::from(missing_tick(*seed).is_some());
        }
    }
    println!(
        "{wanted} fault schedules, {polls} polls, {blind} of them incomplete; {missing} runs were missing, each \
         found once; nothing else was called absent"
    );
    assert!(blind > 0, "the faults were met");
}
