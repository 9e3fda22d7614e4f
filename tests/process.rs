//! The real program against a simulated API in real time: signals, the socket, a second instance, and death
//! at any instant. `TARDY_PROCESS_KILLS=200` kills it two hundred times, `TARDY_LEDGER_KILLS=200` while
//! promises fall due.

#[path = "support/bot.rs"]
mod bot;
#[path = "support/chat.rs"]
#[allow(dead_code)]
mod chat;
#[path = "support/platform.rs"]
mod platform;
#[path = "support/promises.rs"]
mod promises;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tardy::app::clock::{Clock as _, SystemClock};
use tardy::engine::time::{Span, Timestamp};
use tardy::sim::{
    Fault, Faults, JobPlan, Organization, PlannedRun, ProjectKind, ProjectPlan, Running, SimClock,
    Variant, serve,
};

use bot::{Home, TOKEN, until};
use chat::{Chat, SECRET};

const PROJECT: &str = "proj_finance";
const RULES: &str =
    "[[rule]]\nname = \"run-failed\"\nkind = \"run_failed\"\nseverity = \"critical\"\n";
const SERVICE: &str = r#"
rules = ["rules.toml"]

[[source]]
name = "acme"
kind = "dagctl"
base_url = "http://127.0.0.1:1"
organization = "org-acme"
token = { env = "DAGCTL_TOKEN" }
poll_interval = "1s"
backfill = "2d"

[store]
path = "data"

[[receiver]]
name = "hook"
kind = "webhook"
url = { env = "HOOK_URL" }
secret = { env = "HOOK_KEY" }

[[receiver]]
name = "ops"
kind = "webhook"
url = { env = "OPS_URL" }

[route]
receivers = ["hook"]
group_by = ["project", "job"]
group_wait = "0s"
group_interval = "10s"
fallback = ["ops"]
"#;
const KEY: &str = "hmac-key-proc-0123456789";

fn now() -> Timestamp {
    SystemClock::default().local()
}

/// A simulated API whose time is the real one, two sinks, and a home for the program.
struct World {
    sim: Running,
    hook: Chat,
    ops: Chat,
    home: Home,
}

impl World {
    async fn new(jobs: usize) -> Self {
        Self::with(jobs, "0 0 1 1 *", RULES).await
    }

    async fn with(jobs: usize, cron: &str, rules: &str) -> Self {
        let mut organization = Organization::new("org-acme", TOKEN);
        organization.project(ProjectPlan::new(PROJECT, "finance", ProjectKind::Sqlmesh));
        for index in 0..jobs {
            organization.job(PROJECT, JobPlan::new(&job(index), cron));
            let at = now() - Span::hours(20);
            let run =
                PlannedRun::success(&format!("old_{index}"), &job(index), at, Span::minutes(3));
            organization.add_run(PROJECT, run);
        }
        let clock = SimClock::new(now());
        let listen = "127.0.0.1:0".parse().unwrap();
        let sim = serve(
            organization,
            clock.clone(),
            Faults::new(),
            Variant::number(0),
            listen,
        )
        .await
        .unwrap();
        tokio::spawn(async move {
            loop {
                clock.set(now());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let (hook, ops) = (Chat::start().await, Chat::start().await);
        let mut home = Home::new(SERVICE, rules);
        home.set("TARDY_SOURCE__ACME__BASE_URL", &sim.base_url());
        home.set("HOOK_URL", &format!("http://{}/hook/{SECRET}", hook.addr));
        home.set("HOOK_KEY", KEY);
        home.set("OPS_URL", &format!("http://{}/ops/{SECRET}", ops.addr));
        Self {
            sim,
            hook,
            ops,
            home,
        }
    }

    fn add(&self, run: PlannedRun) {
        self.sim.organization.edit(|organization| {
            organization.add_run(PROJECT, run);
        });
    }

    fn fail(&self, id: &str, index: usize) {
        self.add(PlannedRun::failure(
            id,
            &job(index),
            now(),
            Span::milliseconds(100),
            "audit failed",
        ));
    }

    fn succeed(&self, id: &str, index: usize) {
        self.add(PlannedRun::success(
            id,
            &job(index),
            now(),
            Span::milliseconds(100),
        ));
    }

    /// Waits until a bot has read everything once.
    async fn is_watching(&self) {
        let since = now();
        until(20, "a bot watches", || {
            let status = self.home.run(&["status", "--json"]);
            let Ok(status) = serde_json::from_str::<Value>(&status.out) else {
                return false;
            };
            let at = status["sources"][0]["complete_at"]
                .as_str()
                .and_then(Timestamp::parse);
            at.is_some_and(|at| at >= since)
        })
        .await;
    }
}

fn job(index: usize) -> String {
    format!("job-{index:03}")
}

/// Names of the rules in force.
fn rules(home: &Home) -> Vec<String> {
    let rows = home.run(&["rules", "--json"]).json();
    let rows = rows.as_array().cloned().unwrap_or_default();
    rows.iter()
        .map(|row| row["name"].as_str().unwrap_or_default().to_owned())
        .collect()
}

fn told(chat: &Chat) -> Vec<Value> {
    chat.said().iter().map(chat::Seen::json).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_failing_run_is_told_within_seconds_and_answers_are_the_same_running_or_not() {
    let world = World::new(3).await;
    let home = &world.home;
    let mut bot = home.start();
    world.is_watching().await;
    assert!(world.hook.said().is_empty());
    let begun = Instant::now();
    world.fail("bad", 1);
    until(5, "the failure is told", || !world.hook.said().is_empty()).await;
    println!("told after {:?}", begun.elapsed());
    assert!(
        world.hook.said()[0]
            .headers
            .keys()
            .any(|name| name.contains("signature"))
    );

    home.run(&["status"])
        .assert(0, &["running tardy", "acme", "hook"]);
    let questions: [&[&str]; 6] = [
        &["alerts", "--json"],
        &["runs", "failed", "--json"],
        &["ask", "/runs failed 24h", "--json"],
        &["rules", "--json"],
        &["models", "--json"],
        &["chart", "job-000", "--json"],
    ];
    let answers = questions.map(|question| home.run(question).assert(0, &[]).json());
    assert!(
        answers[0].to_string().contains("run-failed") && answers[1].to_string().contains("\"bad\"")
    );
    assert_eq!(answers[3][0]["subjects"], 3, "{}", answers[3]);

    let rendered = ["render", "ops", "run-failed", "--json"];
    let shown = home.run(&rendered).assert(0, &[]).json();
    assert_eq!(shown["alert"], answers[0]["alerts"]["rows"][0]["id"]);
    assert_eq!(shown["sample"], Value::Null, "a real alert is shown");

    let second = home.run(&["run"]);
    second.assert(
        1,
        &["is open in another process", &format!("pid {}", bot.pid())],
    );
    assert!(bot.is_alive());

    bot.signal(Signal::TERM);
    assert_eq!(bot.end().await, 0);
    assert!(!home.path("data.sock").exists(), "the socket is taken away");
    home.run(&["status"])
        .assert(1, &["no bot runs on this store"]);
    let files = |home: &Home| {
        home.files()
            .into_iter()
            .map(|(path, _)| path)
            .collect::<Vec<_>>()
    };
    let before = files(home);
    for (question, answer) in questions.iter().zip(answers) {
        assert_eq!(
            home.run(question).assert(0, &[]).json(),
            answer,
            "{question:?}"
        );
    }
    let stopped = home.run(&rendered).assert(0, &[]).json();
    let alert = |json: &Value| json["sent"][1]["content"]["alerts"].clone();
    assert_eq!(alert(&stopped), alert(&shown), "{stopped}");
    assert_eq!(files(home), before, "questions leave nothing behind");
    for line in home.log().lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
}

/// Gate by gate, without the words: instants are told relative to when it is asked.
fn gates(answer: &Value) -> Vec<String> {
    let gates = answer["gates"].as_array().cloned().unwrap_or_default();
    let words = |gate: &Value| {
        let parts = ["gate", "state", "route", "receiver", "by"];
        parts.map(|part| gate[part].to_string()).join(" ")
    };
    gates.iter().map(words).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn who_was_told_what_and_why_not_is_answered_the_same_running_or_not() {
    let world = World::new(3).await;
    let home = &world.home;
    let mut bot = home.start();
    world.is_watching().await;
    let before = now() - Span::milliseconds(1);
    world.hook.answer_next(410, &[], "gone");
    world.fail("bad", 1);
    until(10, "the fallback hears what was refused", || {
        !world.ops.said().is_empty()
    })
    .await;
    world.fail("bad2", 2);
    until(10, "the next is told", || told(&world.hook).len() == 2).await;
    until(5, "it is recorded", || {
        let all = home.run(&["deliveries", "--json"]).json();
        let all = all["rows"].as_array().cloned().unwrap_or_default();
        all.iter().filter(|row| row["state"] == "delivered").count() == 2
    })
    .await;

    let all = home.run(&["deliveries", "--json"]).json();
    let rows = all["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3, "{all}");
    let refused = rows.iter().find(|row| row["state"] == "rejected").unwrap();
    assert_eq!(refused["receiver"], "hook");
    assert_eq!(refused["route"], "root");
    assert_eq!(refused["group"]["job"], job(1));
    assert_eq!(refused["severity"], "critical");
    assert_eq!(refused["instead"][0]["receiver"], "ops", "{refused}");
    assert_eq!(refused["instead"][0]["state"], "delivered");
    let id = refused["alerts"][0].as_str().unwrap().to_owned();
    for (filter, count) in [
        (&["--receiver", "ops"][..], 1),
        (&["--alert", &id[..4]], 1),
        (&["--reason", "undeliverable"], 1),
        (&["--outcome", "delivered"], 2),
        (&["--outcome", "waiting"], 0),
        (&["--limit", "1"], 1),
    ] {
        let args: Vec<&str> = ["deliveries", "--json"]
            .iter()
            .chain(filter)
            .copied()
            .collect();
        let found = home.run(&args).json();
        assert_eq!(found["rows"].as_array().unwrap().len(), count, "{filter:?}");
    }
    home.run(&["deliveries", "--limit", "1"])
        .assert(0, &["and 2 more; show them with --limit 3"]);
    home.run(&["deliveries", "--receiver", "hok"])
        .assert(2, &["there is no receiver `hok`; did you mean `hook`?"]);

    home.run(&["why", &id]).assert(
        0,
        &[
            "From the rule to people",
            "no node below the root fits; tells hook",
            "refused for good",
            "ops was told of it at",
        ],
    );
    let subject = format!("finance/{}", job(1));
    home.run(&["why-not", "run-failed", &subject])
        .assert(0, &["is open", "refused for good"]);
    home.run(&["why-not", "run-failed", "finance/job-000"])
        .assert(0, &["answer", "stops at verdict", "all is well"]);
    home.run(&["why-not", "run-failed", "job-*"])
        .assert(2, &["several subjects are meant", "finance/job-002"]);
    home.run(&["why-not", "run-faild", "job-000"])
        .assert(2, &["did you mean `run-failed`?"]);
    home.run(&["ask", "/why-not run-failed job-000"])
        .assert(0, &["stops at verdict"]);
    let at = before.to_string();
    home.run(&["why-not", "run-failed", &subject, "--at", &at])
        .assert(
            0,
            &[
                "as of",
                "What cannot be told",
                "rules, calendars and routes of today",
            ],
        );
    home.run(&["routes", "test", "severity=critical"])
        .assert(0, &["no silence and no inhibition"]);

    let questions: [&[&str]; 4] = [
        &["why", &id, "--json"],
        &["why-not", "run-failed", &subject, "--json"],
        &["why-not", "run-failed", "finance/job-000", "--json"],
        &["why-not", "run-failed", &subject, "--at", &at, "--json"],
    ];
    let ask = |question: &&[&str]| {
        let answer = home.run(question).assert(0, &[]).json();
        let answer = answer.as_object().unwrap().values().next().unwrap().clone();
        gates(&answer)
    };
    let answers: Vec<Vec<String>> = questions.iter().map(ask).collect();
    assert!(answers.iter().all(|gates| gates.len() > 5), "{answers:?}");
    let list = home.run(&["deliveries"]).out;
    assert!(!list.contains(SECRET), "{list}");
    bot.signal(Signal::TERM);
    assert_eq!(bot.end().await, 0);
    assert_eq!(home.run(&["deliveries"]).out, list);
    for (question, answer) in questions.iter().zip(answers) {
        assert_eq!(ask(question), answer, "{question:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn contract_7_a_hangup_takes_good_files_and_refuses_bad_ones_aloud() {
    let world = World::new(2).await;
    let home = &world.home;
    let mut bot = home.start();
    world.is_watching().await;
    world.fail("bad", 0);
    until(5, "the failure is told", || world.hook.said().len() == 1).await;

    home.write(
        "rules.toml",
        &format!("{RULES}\n[[rule]]\nname = \"x\"\nkind = \"run_fialed\"\n"),
    );
    bot.signal(Signal::HUP);
    until(10, "the fallback hears of it", || {
        !world.ops.said().is_empty()
    })
    .await;
    let said = world.ops.said()[0].body.clone();
    assert!(said.contains("rules.toml:8"), "file and line: {said}");
    let status = home.run(&["status", "--json"]).json();
    assert!(
        status["config_refused"]
            .as_str()
            .unwrap()
            .contains("rules.toml:8"),
        "{status}"
    );
    home.run(&["status"])
        .assert(0, &["refused", "rules.toml:8"]);
    let mut stranger = home.command(&["status"]);
    let answered = stranger
        .env_remove("DAGCTL_TOKEN")
        .env_remove("HOOK_URL")
        .output()
        .unwrap();
    assert!(
        answered.status.success(),
        "no secret is needed to ask a running bot"
    );
    assert_eq!(rules(home), ["run-failed", "source-unreachable"]);

    home.write(
        "rules.toml",
        &format!("{RULES}\n[[rule]]\nname = \"slow\"\nkind = \"run_duration\"\nmax = \"1h\"\n"),
    );
    home.write(
        "tardy.toml",
        &SERVICE.replace("poll_interval = \"1s\"", "poll_interval = \"2s\""),
    );
    bot.signal(Signal::HUP);
    until(10, "the new rule is in force", || {
        rules(home).contains(&"slow".to_owned())
    })
    .await;
    let status = home.run(&["status", "--json"]).json();
    assert_eq!(status["config_refused"], Value::Null);
    assert_eq!(status["sources"][0]["poll_interval_millis"], 2_000);
    assert_eq!(status["firing"], 1, "the alert of an unchanged rule stays");
    world.is_watching().await;
    world.fail("bad2", 1);
    until(10, "polling goes on", || world.hook.said().len() == 2).await;

    home.write(
        "rules.toml",
        "[[rule]]\nname = \"slow\"\nkind = \"run_duration\"\nmax = \"1h\"\n",
    );
    bot.signal(Signal::HUP);
    until(25, "alerts of a removed rule are closed", || {
        told(&world.hook)
            .iter()
            .filter(|told| told["reason"] == "rule_removed")
            .count()
            == 2
    })
    .await;
    bot.signal(Signal::INT);
    assert_eq!(bot.end().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn contract_11_no_secret_is_in_a_log_a_status_a_message_or_the_store() {
    let world = World::new(2).await;
    let home = &world.home;
    home.write("secret.toml", "");
    let mut bot = home.start();
    world.is_watching().await;
    world.hook.answer_next(403, &[], &format!("no: {SECRET}"));
    world
        .sim
        .faults
        .inject_times("/runs", Fault::Status(401, None), 2);
    world.add(PlannedRun::failure(
        "bad",
        &job(0),
        now(),
        Span::milliseconds(100),
        &format!("401 Unauthorized: Bearer {TOKEN}"),
    ));
    until(20, "the fallback hears of the refusal", || {
        !world.ops.said().is_empty()
    })
    .await;
    // A secret written into the file is refused without being repeated.
    home.write(
        "tardy.toml",
        &SERVICE.replace(
            "token = { env = \"DAGCTL_TOKEN\" }",
            &format!("token = \"{TOKEN}\""),
        ),
    );
    bot.signal(Signal::HUP);
    until(10, "the reload is refused", || world.ops.said().len() >= 2).await;
    let status = home.run(&["status", "--json"]).out + &home.run(&["status"]).out;
    bot.signal(Signal::TERM);
    assert_eq!(bot.end().await, 0);
    home.write("tardy.toml", "");
    let mut seen = vec![("status".to_owned(), status.into_bytes())];
    seen.extend(
        home.files()
            .into_iter()
            .map(|(path, bytes)| (path.display().to_string(), bytes)),
    );
    for chat in [&world.hook, &world.ops] {
        seen.extend(
            chat.said()
                .into_iter()
                .map(|said| ("message".to_owned(), said.body.into_bytes())),
        );
    }
    for (place, bytes) in seen {
        for secret in [TOKEN, SECRET, KEY] {
            let is_there = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!is_there, "{secret} is in {place}");
        }
    }
}

const SLOWER: &str = "[[rule]]\nname = \"slower\"\nkind = \"run_regression\"\nmethod = \"percent\"\n\
                      min_runs = 3\nseverity = \"warning\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_acceptance_that_was_acknowledged_is_there_after_a_kill_and_told_once() {
    let mut world = World::with(1, "0 0 1 1 *", SLOWER).await;
    world.home.set("USER", "ada");
    for index in 1..=4 {
        let at = now() - Span::hours(index);
        let id = format!("usual_{index}");
        world.add(PlannedRun::success(&id, &job(0), at, Span::minutes(3)));
    }
    let home = &world.home;
    let bot = home.start();
    world.is_watching().await;
    let begun = now() - Span::minutes(6);
    world.add(PlannedRun::success(
        "slow",
        &job(0),
        begun,
        Span::minutes(6),
    ));
    until(20, "the slowdown is told", || world.hook.said().len() == 1).await;
    let alerts = home.run(&["alerts", "--json"]).assert(0, &[]).json();
    let id = alerts["alerts"]["rows"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    home.run(&["why", &id]).assert(
        0,
        &[
            "slower (run_regression)",
            "rules.toml:2",
            "min_runs = 3",
            "percent",
        ],
    );
    let narrow = home
        .command(&["why", &id, "--color", "never"])
        .env("COLUMNS", "60")
        .output();
    let narrow = String::from_utf8(narrow.unwrap().stdout).unwrap();
    assert!(
        narrow.lines().all(|line| line.chars().count() <= 60),
        "{narrow}"
    );
    home.run(&["accept", "zzzzzz"])
        .assert(2, &["there is no alert `zzzzzz`", &id]);
    home.run(&["why", "zzzzzz"])
        .assert(2, &["there is no alert `zzzzzz`", &id]);
    let accept = ["accept", &id, "--comment", "bigger tables"];
    home.run(&accept).assert(
        0,
        &["Accepted: finance job-000 now takes 6 min (was 3 min), by ada: bigger tables"],
    );
    bot.kill();

    let mut bot = home.start();
    world.is_watching().await;
    until(30, "the end is told", || world.hook.said().len() >= 2).await;
    let alerts = home.run(&["alerts", "--json"]).assert(0, &[]).json();
    assert_eq!(alerts["alerts"]["rows"], serde_json::json!([]), "{alerts}");
    home.run(&accept).assert(1, &["by ada"]);
    home.run(&["why", &id])
        .assert(0, &["bigger tables", "by ada", "done", "refused"]);
    world.add(PlannedRun::success(
        "same",
        &job(0),
        now() - Span::minutes(6),
        Span::minutes(6),
    ));
    world.is_watching().await;
    bot.signal(Signal::TERM);
    assert_eq!(bot.end().await, 0);
    // The kill may have come between sending and recording: that one delivery is repeated, by the same id.
    let mut seen = std::collections::BTreeSet::new();
    let events: Vec<Value> = told(&world.hook)
        .iter()
        .filter(|told| seen.insert(told["delivery_id"].to_string()))
        .map(|told| told["event"].clone())
        .collect();
    assert_eq!(events, ["firing", "resolved"]);
    assert!(world.hook.said().len() <= 3, "one delivery was under way");
    home.run(&["store", "verify"])
        .assert(0, &["all records are good"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn without_a_bot_an_acceptance_is_stored_and_told_at_the_next_start() {
    let world = World::with(1, "0 0 1 1 *", SLOWER).await;
    let home = &world.home;
    for index in 1..=4 {
        let at = now() - Span::hours(index);
        let id = format!("usual_{index}");
        world.add(PlannedRun::success(&id, &job(0), at, Span::minutes(3)));
    }
    let mut bot = home.start();
    world.is_watching().await;
    let begun = now() - Span::minutes(6);
    world.add(PlannedRun::success(
        "slow",
        &job(0),
        begun,
        Span::minutes(6),
    ));
    until(20, "the slowdown is told", || world.hook.said().len() == 1).await;
    let alerts = home.run(&["alerts", "--json"]).assert(0, &[]).json();
    let id = alerts["alerts"]["rows"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let running = home.run(&["why", &id, "--json"]).assert(0, &[]).json();
    bot.signal(Signal::TERM);
    assert_eq!(bot.end().await, 0);
    let stopped = home.run(&["why", &id, "--json"]).assert(0, &[]).json();
    for part in [
        "regression",
        "transitions",
        "told",
        "rule",
        "history",
        "facts",
    ] {
        assert_eq!(running["alert"][part], stopped["alert"][part], "{part}");
    }
    let acted = home
        .run(&["accept", &id[..4], "--json"])
        .assert(0, &[])
        .json();
    assert!(
        acted["outcome"]["done"]
            .as_str()
            .unwrap()
            .contains(", by uid "),
        "{acted}"
    );
    home.run(&["accept", &id])
        .assert(1, &["is over", "Accepted:", "by uid"]);
    home.run(&["ask", &format!("/why {id}")])
        .assert(0, &["What people did"]);
    let mut bot = home.start();
    until(30, "the end is told", || world.hook.said().len() >= 2).await;
    bot.signal(Signal::TERM);
    assert_eq!(bot.end().await, 0);
    let events: Vec<Value> = told(&world.hook)
        .iter()
        .map(|told| told["event"].clone())
        .collect();
    assert_eq!(events, ["firing", "resolved"]);
}

/// The environment is asked here and nowhere else in the tests of the program.
#[allow(clippy::disallowed_methods)]
fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(default)
}

/// Jobs that fail before each kill.
const BATCH: usize = 6;

/// Deliveries that may be under way at a kill.
const IN_FLIGHT: usize = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn killed_at_any_instant_it_tells_every_alert_and_every_ending() {
    let kills = number("TARDY_PROCESS_KILLS", 12);
    let world = World::new(kills * BATCH).await;
    let bot = world.home.start();
    world.is_watching().await;
    bot.kill();
    // The seed is printed, so that a failure can be repeated as far as time allows.
    let mut random = u64::from(std::process::id());
    println!("seed {random}");
    for round in 0..kills {
        let bot = world.home.start();
        for index in round * BATCH..(round + 1) * BATCH {
            world.fail(&format!("bad_{index}"), index);
        }
        for index in (round.saturating_sub(1) * BATCH)..round * BATCH {
            world.succeed(&format!("good_{index}"), index);
        }
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // From within the opening of the store to well after the next deliveries.
        let life = Duration::from_millis(20 + (random >> 33) % 1_800);
        tokio::time::sleep(life).await;
        bot.kill();
    }
    let mut bot = world.home.start();
    for index in kills.saturating_sub(1) * BATCH..kills * BATCH {
        world.succeed(&format!("good_{index}"), index);
    }
    until(60, "every alert is told and ended", || {
        assert!(bot.is_alive(), "{}", world.home.log());
        endings(&world.hook)
            .values()
            .filter(|ended| **ended)
            .count()
            == kills * BATCH
    })
    .await;
    bot.signal(Signal::TERM);
    assert_eq!(bot.end().await, 0);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for told in told(&world.hook) {
        *counts
            .entry(told["delivery_id"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    let duplicates: usize = counts.values().map(|count| count - 1).sum();
    println!(
        "{kills} kills, {} deliveries, {duplicates} duplicates",
        counts.len()
    );
    assert!(counts.values().all(|count| *count <= 2), "{counts:?}");
    assert!(duplicates <= kills * IN_FLIGHT);
    assert!(world.ops.said().is_empty(), "{:?}", told(&world.ops));
    world
        .home
        .run(&["store", "verify"])
        .assert(0, &["all records are good"]);
}

/// Jobs whose promises fall due while the program is killed.
const PROMISING: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn killed_at_any_instant_every_promise_has_exactly_one_row_that_is_right() {
    let kills = number("TARDY_LEDGER_KILLS", 8);
    let world = World::with(PROMISING, "*/5 * * * * *", promises::RULES).await;
    let bot = world.home.start();
    world.is_watching().await;
    bot.kill();
    let mut random = u64::from(std::process::id());
    println!("seed {random}");
    // The first tick after everything is known, and about a second and a half for each kill.
    let gap = promises::GAP.num_milliseconds();
    let first = Timestamp::from_millis((now().as_millis() / gap + 1) * gap);
    let ticks = i32::try_from(kills).unwrap() * 3 / 10 + 3;
    let mut owed = promises::Fates::new();
    for index in 0..PROMISING {
        let (runs, fates) = promises::plan(&job(index), first, ticks, random ^ index as u64);
        owed.extend(fates);
        for run in runs {
            world.add(run);
        }
    }
    for _ in 0..kills {
        let bot = world.home.start();
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_millis(100 + (random >> 33) % 2_500)).await;
        bot.kill();
    }
    let last = first + promises::GAP * (ticks - 1);
    let mut bot = world.home.start();
    let told = || {
        let answer = world.home.run(&["sla", "1h", "--rows", "--json"]);
        let answer = answer.assert(0, &[]).json();
        promises::told(&answer, first, last)
    };
    // Until well after the tick after the last one: then nothing about these can change.
    let settled_at = last + promises::GAP * 2 + Span::seconds(4);
    until(90, "every promise is decided", || {
        assert!(bot.is_alive(), "{}", world.home.log());
        now() > settled_at && told().len() >= owed.len()
    })
    .await;
    bot.signal(Signal::TERM);
    assert_eq!(bot.end().await, 0);
    assert_eq!(told(), owed);
    println!("{kills} kills, {} promises", owed.len());
    let verified = world.home.run(&["store", "verify"]);
    verified.assert(0, &["all records are good"]);
}

/// Whether the conversation about each job has come to its end: one conversation for each.
fn endings(hook: &Chat) -> BTreeMap<String, bool> {
    let mut endings = BTreeMap::new();
    let mut conversations: BTreeMap<String, String> = BTreeMap::new();
    for told in told(hook) {
        let job = told["group"]["job"].as_str().unwrap().to_owned();
        let conversation = told["conversation"].as_str().unwrap().to_owned();
        let known = conversations
            .entry(job.clone())
            .or_insert(conversation.clone());
        assert_eq!(*known, conversation, "{job} is told of twice");
        endings.insert(job, told["event"] == "resolved");
    }
    endings
}

const BROKEN: &str = "[[rule]]\nname = \"broken\"\nkind = \"run_failed\"\nseverity = \"warning\"\n";

/// The only open alert.
fn open_alert(home: &Home) -> String {
    let alerts = home.run(&["alerts", "--json"]).assert(0, &[]).json();
    let id = alerts["alerts"]["rows"][0]["id"].as_str().unwrap();
    id.to_owned()
}

fn reasons(chat: &Chat) -> Vec<String> {
    let told = told(chat).into_iter();
    // A kill between sending and recording repeats one delivery, by the same id.
    let mut seen = std::collections::BTreeSet::new();
    told.filter(|told| seen.insert(told["delivery_id"].to_string()))
        .map(|told| told["reason"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_people_take_on_and_silence_outlives_a_kill_and_its_end_is_told() {
    let mut world = World::with(1, "0 0 1 1 *", BROKEN).await;
    world.home.set("USER", "ada");
    let home = &world.home;
    let bot = home.start();
    world.is_watching().await;
    let begun = now() - Span::minutes(2);
    world.add(PlannedRun::failure(
        "bad",
        &job(0),
        begun,
        Span::minutes(1),
        "audit failed",
    ));
    until(20, "the failure is told", || world.hook.said().len() == 1).await;
    let id = open_alert(home);
    home.run(&["ack", "zzzzzz"])
        .assert(2, &["there is no alert `zzzzzz`", &id]);
    home.run(&["ack", &id, "--for", "3x"]).assert(2, &["--for"]);
    home.run(&["ack", &id, "--for", "2h", "--comment", "on it"])
        .assert(0, &["by ada"]);
    home.run(&["ack", &id, "--for", "1h"])
        .assert(1, &["acknowledged already by ada"]);
    until(20, "it is told who has it", || world.hook.said().len() == 2).await;
    // Silences.
    let add = [
        "silence",
        "add",
        "job=job-000",
        "--for",
        "1h",
        "--comment",
        "migration",
    ];
    home.run(&["silence", "add", "job=job-000", "--for", "1h"])
        .assert(2, &["--comment"]);
    home.run(&["silence", "add", "job ~ x", "--for", "1h", "--comment", "x"])
        .assert(2, &["job ~ x"]);
    home.run(&["silence", "add", "job=job-000", "--preview"])
        .assert(0, &["Fits 1 alert now:", &id, "1 of broken"]);
    home.run(&["silence", "list"])
        .assert(0, &["No silence is in force"]);
    home.run(&add)
        .assert(0, &["Fits 1 alert now:", "tardy silence expire s"]);
    home.run(&add).assert(1, &["silenced already"]);
    bot.kill();

    // Without a bot the store answers, and takes what is done.
    home.run(&["alerts"]).assert(0, &[&id, "silenced by s"]);
    home.run(&["silence", "list"])
        .assert(0, &["ada", "migration", "job = \"job-000\""]);
    let listed = home
        .run(&["silence", "list", "--json"])
        .assert(0, &[])
        .json();
    let silence = listed[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        (&listed[0]["quiet"], &listed[0]["is_active"]),
        (&1.into(), &true.into())
    );
    let mut bot = home.start();
    world.is_watching().await;
    let begun = now() - Span::minutes(1);
    world.add(PlannedRun::success(
        "good",
        &job(0),
        begun,
        Span::seconds(30),
    ));
    until(30, "the end is told, silenced or not", || {
        reasons(&world.hook)
            .last()
            .is_some_and(|last| last == "all_resolved")
    })
    .await;
    home.run(&["silence", "expire", "sqqqqq"])
        .assert(2, &["there is no silence `sqqqqq`", &silence]);
    home.run(&["silence", "expire", &silence[..4]])
        .assert(0, &[]);
    home.run(&["silence", "expire", &silence])
        .assert(1, &["over already"]);
    home.run(&["silence", "list", "--all"])
        .assert(0, &[&silence, "ended by ada"]);
    home.run(&["ack", &id]).assert(1, &["over"]);
    bot.signal(Signal::TERM);
    assert_eq!(bot.end().await, 0);
    let heard = reasons(&world.hook);
    let count = |reason: &str| heard.iter().filter(|heard| *heard == reason).count();
    assert_eq!((count("first"), count("all_resolved")), (1, 1), "{heard:?}");
    home.run(&["store", "verify"])
        .assert(0, &["all records are good"]);
}
