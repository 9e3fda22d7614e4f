//! The command line as people and scripts meet it: help, exit codes, JSON, colours, and what is left behind.

#[path = "support/bot.rs"]
#[allow(dead_code)]
mod bot;
#[path = "support/chat.rs"]
#[allow(dead_code)]
mod chat;
#[path = "support/platform.rs"]
mod platform;
#[path = "support/smtp.rs"]
#[allow(dead_code)]
mod smtp;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tardy::app::clock::{Clock as _, SystemClock};
use tardy::engine::Step;
use tardy::engine::labels::Labels;
use tardy::engine::ledger::{LedgerRow, Promise};
use tardy::engine::observation::{Execution, Name, Observation, ProjectKey, Run, Status};
use tardy::engine::time::{Span, Timestamp};
use tardy::sim::{
    Faults, JobPlan, Organization, Outcome, PlannedRun, ProjectKind, ProjectPlan, Running,
    SimClock, Variant, serve,
};
use tardy::store::records::{Sequences, commit_step};
use tardy::store::sled::{SledOptions, SledStore};
use tardy::store::{Commit, Store as _, Table};

use bot::Home;

const RULES: &str = "[[rule]]\nname = \"run-failed\"\nkind = \"run_failed\"\n";
const SERVICE: &str = r#"
rules = ["rules.toml"]

[[source]]
name = "acme"
kind = "dagctl"
base_url = "http://127.0.0.1:1"
organization = "org-acme"
token = { env = "DAGCTL_TOKEN" }

[store]
path = "data"

[[receiver]]
name = "terminal"
kind = "console"

[route]
receivers = ["terminal"]
"#;

fn home() -> Home {
    Home::new(SERVICE, RULES)
}

/// Every command that is built.
const BUILT: [&str; 28] = [
    "init",
    "test",
    "run",
    "demo",
    "check",
    "schema",
    "sim",
    "status",
    "runs",
    "models",
    "alerts",
    "ask",
    "detect",
    "rules",
    "sla",
    "chart",
    "notify",
    "render",
    "store",
    "completions",
    "accept",
    "why",
    "why-not",
    "routes",
    "deliveries",
    "digest",
    "ack",
    "silence",
];

#[test]
fn every_command_has_help_with_examples() {
    let home = home();
    home.run(&["--help"])
        .assert(0, &["Examples:", "tardy demo", "Exit codes: 0 fine"]);
    home.run(&["--version"])
        .assert(0, &[env!("CARGO_PKG_VERSION")]);
    for command in BUILT {
        home.run(&[command, "--help"])
            .assert(0, &["Example", &format!("tardy {command}")]);
    }
}

#[test]
fn wrong_arguments_are_problems_and_suggest() {
    let home = home();
    let cases: [(&[&str], &str); 20] = [
        (&["chart", "nightly", "-o", "a.gif"], ".svg or .png"),
        (&["chart", "nightly", "--last", "501"], "1..=500"),
        (&["chart", "nightly", "--theme", "blue"], "light, dark"),
        (&["chek"], "check"),
        (&["run", "--logs", "json"], "--log"),
        (&[], "Usage"),
        (&["demo", "--speed", "fast"], "invalid value"),
        (&["demo", "--speed", "0"], "from 1"),
        (&["sim", "--variant", "99"], "variants are"),
        (&["sim", "--listen", "0.0.0.0:1"], "loopback"),
        (&["ask", "/rnus"], "did you mean /runs?"),
        (&["runs", "failed", "slow"], "use it as /runs"),
        (
            &["rules", "--explain", "deadlin"],
            "did you mean `deadline`?",
        ),
        (&["notify", "test", "nobody"], "there are terminal"),
        (&["schema", "rule"], "rules"),
        (&["routes", "test"], "<LABEL=VALUE>"),
        (
            &["routes", "test", "severity=critical", "job=~\"fin.*\""],
            "argument 2: `job=~\"fin.*\"` is a pattern",
        ),
        (&["deliveries", "24"], "has no unit"),
        (&["deliveries", "--reason", "frist"], "all_resolved"),
        (
            &["deliveries", "--outcome", "lost"],
            "delivered, rejected, dead, waiting",
        ),
    ];
    let mut home = home;
    home.set("DAGCTL_TOKEN", "dctl_x");
    for (args, part) in cases {
        home.run(args).assert(2, &[part]);
    }
}

#[test]
fn a_missing_configuration_says_what_to_do() {
    let empty = home();
    std::fs::remove_file(empty.path("tardy.toml")).unwrap();
    for command in ["run", "check", "status", "alerts", "rules"] {
        empty
            .run(&[command])
            .assert(2, &["no configuration", "--config FILE", "tardy demo"]);
    }
    empty
        .run(&["--config", "nowhere.toml", "check"])
        .assert(2, &["nowhere.toml"]);
    let mut unset = home();
    unset.environment.clear();
    unset.run(&["status"]).assert(2, &["DAGCTL_TOKEN"]);
}

fn spec_home() -> Home {
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/spec");
    let mut home = Home::new(
        &std::fs::read_to_string(spec.join("tardy.toml")).unwrap(),
        "",
    );
    std::fs::create_dir(home.path("rules")).unwrap();
    std::fs::copy(
        spec.join("rules/reference.toml"),
        home.path("rules/reference.toml"),
    )
    .unwrap();
    for name in [
        "DAGCTL_TOKEN",
        "SLACK_BOT_TOKEN",
        "ARCHIVE_SECRET",
        "SMTP_PASSWORD",
        "SLACK_SIGNING_SECRET",
        "DISCORD_BOT_TOKEN",
        "TARDY_WEB_TOKEN",
    ] {
        home.set(name, "xoxb-0123456789abcdef0123456789");
    }
    home.set(
        "SLACK_WEBHOOK_URL",
        "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXX",
    );
    home.set(
        "DISCORD_WEBHOOK_URL",
        "https://discord.com/api/webhooks/123456789012345678/abcdefghijklmnop",
    );
    home.set("ARCHIVE_URL", "https://archive.example.com/hook");
    home.set("HEARTBEAT_URL", "https://hc.example.com/ping/1");
    home
}

#[test]
fn check_takes_the_complete_configuration_and_shows_mistakes_with_a_caret() {
    let spec = spec_home();
    spec.run(&["check", "--offline"])
        .assert(0, &["rules are good"]);
    let json = spec
        .run(&["check", "--offline", "--json"])
        .assert(0, &[])
        .json();
    assert!(json["rules"].as_u64().unwrap() > 0, "{json}");
    spec.run(&["run"])
        .assert(2, &["parts that this version does not have", "tardy.toml:"]);

    let mut broken = home();
    broken.set("DAGCTL_TOKEN", "dctl_x");
    broken.write(
        "rules.toml",
        "[[rule]]\nname = \"x\"\nkind = \"run_fialed\"\nmaxx = 1\n",
    );
    let ran = broken.run(&["check", "--offline"]);
    ran.assert(2, &["rules.toml:3", "^^^", "run_failed"]);
    let json = broken
        .run(&["check", "--offline", "--json"])
        .assert(2, &[])
        .json();
    assert!(json.to_string().contains("run_fialed"), "{json}");
    broken
        .run(&["check", "--offline", "rules.toml"])
        .assert(2, &["rules.toml:3"]);
    broken.run(&["run"]).assert(2, &["rules.toml:3"]);
    let mut good = home();
    good.set("DAGCTL_TOKEN", "dctl_x");
    good.run(&["check"])
        .assert(0, &["could not be asked what exists", "--offline"]);
    assert!(!good.path("data").exists(), "check makes no store");
}

#[test]
fn the_tree_is_drawn_and_tried_without_a_bot() {
    let home = spec_home();
    let tree = home.run(&["routes"]);
    tree.assert(
        0,
        &[
            "root  everything",
            "|- pages  severity = \"critical\" (continue)",
            "escalate  to leads 30 min after the first message",
            "`- quiet-weekends  severity = \"warning\", project =~ \"fin.*\"",
            "(as above)",
            "fallback      leads",
            "receiver archive is reached by nothing",
        ],
    );
    assert!(!tree.out.contains('\u{1b}'), "{}", tree.out);
    assert!(
        !tree.out.contains("receiver team-slack is reached"),
        "{}",
        tree.out
    );
    let drawn = home.run(&["routes", "--json"]).assert(0, &[]).json();
    assert_eq!(drawn["root"]["children"][0]["receivers"][0], "oncall");

    home.run(&[
        "routes",
        "test",
        "severity=\"critical\", project=\"finance\"",
    ])
    .assert(
        0,
        &[
            "pages  handles it: severity = \"critical\"",
            "quiet-weekends  does not fit: severity = \"warning\", and the alert's is \"critical\"",
            "oncall        15 s after it fires; by root/pages",
            "if nobody takes it: leads 30 min after the first message",
            "no bot runs and there is no store",
        ],
    );
    let tried = home
        .run(&["routes", "test", "severity=warning", "sevrity=x", "--json"])
        .assert(0, &[])
        .json();
    assert_eq!(tried["hearers"][0]["receiver"], "team-slack");
    assert!(
        tried["notes"]
            .to_string()
            .contains("did you mean `severity`?")
    );
    assert!(
        tried["nodes"].to_string().contains("does_not_fit"),
        "{tried}"
    );
}

#[test]
fn schemas_completions_and_explanations_are_complete() {
    let home = home();
    for which in ["config", "rules"] {
        let schema = home.run(&["schema", which]).assert(0, &[]).json();
        assert!(schema["$schema"].is_string());
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = home.run(&["completions", shell]);
        script.assert(0, &["tardy", "silence", "notify"]);
    }
    for kind in tardy::engine::rule::KIND_NAMES {
        home.run(&["rules", "--explain", kind])
            .assert(0, &["## Keys of this kind"]);
        let json = home
            .run(&["rules", "--explain", kind, "--json"])
            .assert(0, &[])
            .json();
        assert_eq!(json["kind"], *kind);
    }
}

#[test]
fn colours_are_for_terminals_unless_asked_for() {
    let mut broken = home();
    broken.set("DAGCTL_TOKEN", "dctl_x");
    broken.write("rules.toml", "[[rule]]\nname = 1\n");
    let is_colored = |home: &Home, args: &[&str]| home.run(args).out.contains('\u{1b}');
    assert!(
        !is_colored(&broken, &["check", "--offline"]),
        "a pipe is no terminal"
    );
    assert!(is_colored(
        &broken,
        &["check", "--offline", "--color", "always"]
    ));
    assert!(!is_colored(
        &broken,
        &["check", "--offline", "--color", "never"]
    ));
    broken.set("NO_COLOR", "1");
    assert!(!is_colored(&broken, &["check", "--offline"]));
}

#[test]
fn without_a_store_questions_fail_and_create_none() {
    let mut home = home();
    home.set("DAGCTL_TOKEN", "dctl_x");
    let questions: [&[&str]; 10] = [
        &["deliveries"],
        &["why-not", "run-failed", "nightly"],
        &["chart", "nightly"],
        &["status"],
        &["alerts"],
        &["runs"],
        &["models"],
        &["rules"],
        &["store", "verify"],
        &["store", "backup", "b"],
    ];
    for question in questions {
        home.run(question).assert(1, &["data"]);
    }
    home.run(&["store", "compact"]).assert(1, &["data"]);
    home.run(&["store", "restore", "nothing"])
        .assert(1, &["nothing"]);
    let mut left: Vec<_> = std::fs::read_dir(home.folder.path())
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["rules.toml", "tardy.toml"], "nothing is created");
}

/// Thirty days of a daily promise: two late, one missed and corrected, one excused, one unknown.
fn promises(home: &Home, job: &str) {
    let store = SledStore::open(
        &home.path("data"),
        SledOptions::at(SystemClock::default().now()),
    );
    let store = store.unwrap().store;
    let now = SystemClock::default().now();
    let row = |day: i64| {
        let due_at = now - Span::days(day) - Span::hours(1);
        LedgerRow {
            rule: "by-7".into(),
            labels: Labels::default()
                .with("source", "acme")
                .with("project_id", "finance")
                .with("job", job),
            due_at,
            outcome: match day {
                3 | 9 => Promise::LateBy(day * 60_000),
                5 => Promise::Missed,
                7 => Promise::Excused("job disabled".to_owned()),
                8 => Promise::Unknown,
                _ => Promise::Met,
            },
            recorded_at: due_at + Span::minutes(1),
            corrected_from: (day == 5).then_some(Promise::Unknown),
            was_recorded_at: (day == 5).then_some(due_at),
        }
    };
    let step = Step {
        ledger: (0..60).map(row).collect(),
        ..Step::default()
    };
    let mut numbers = Sequences::default();
    let (commit, _) = commit_step(&step, &BTreeMap::new(), &[], &mut numbers, now);
    store.commit(&commit).unwrap();
}

const PROMISING: &str = r#"
[[rule]]
name = "by-7"
kind = "deadline"
by = "07:00"
timezone = "UTC"

[[rule]]
name = "nightly-objective"
kind = "objective"
of = ["by-7"]
target = 0.9
"#;

#[test]
fn promises_are_counted_drawn_and_written_down() {
    let home = Home::new(SERVICE, PROMISING);
    promises(&home, "nightly, \"big\"");
    let shown = home.run(&["sla"]);
    shown.assert(
        0,
        &[
            "SUBJECT",
            "BUDGET",
            "finance nightly",
            "89.2 %",
            "0 of 2 left",
            "3 of 2 misses used, target 90 % in 30 d, of 28 promises; the oldest miss leaves at",
            "= met",
            "X missed",
            "L late",
            "- excused",
            "? unknown",
            "each is one promise",
        ],
    );
    let mut narrow = Home::new(SERVICE, PROMISING);
    promises(&narrow, &"a-very-long-name-of-a-job-".repeat(4));
    narrow.set("COLUMNS", "120");
    let lines = narrow.run(&["sla"]).out;
    assert!(lines.contains("finance a-very-"), "{lines}");
    let is_fitting = |line: &&str| !line.starts_with("finance") || line.chars().count() <= 120;
    assert!(lines.lines().all(|line| is_fitting(&line)), "{lines}");
    assert!(
        shown.out.is_ascii(),
        "no terminal, no blocks: {}",
        shown.out
    );
    assert!(!shown.out.contains('\u{1b}'));
    home.run(&["sla", "--color", "always"])
        .assert(0, &["\u{1b}[", " missed"]);
    let asked = home.run(&["ask", "/sla by-7 30d"]);
    assert_eq!(asked.out, home.run(&["sla", "30d", "by-7"]).out);
    let answer = home.run(&["sla", "nightly-objective", "--json"]).json();
    let rows = answer["summary"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "the objective and what it counts: {answer}");
    let objective = rows.iter().find(|row| row["kind"] == "objective").unwrap();
    assert_eq!(objective["budget"]["used"], 3);
    assert_eq!(objective["budget"]["allowed"], 2);
    for (name, count) in [
        ("met", 25),
        ("late", 2),
        ("missed", 1),
        ("excused", 1),
        ("unknown", 1),
    ] {
        assert_eq!(objective[name], count, "{name}");
    }
    assert_eq!(objective["cells"].as_str().unwrap().len(), 30);
    let week = home.run(&["sla", "7d", "by-7", "--json"]).json();
    assert_eq!(week["summary"]["rows"][0]["missed"], 1);
    assert_eq!(
        week["summary"]["rows"][0]["met_share_before"],
        Value::from(0.8)
    );
}

#[test]
fn promises_are_comma_separated_for_spreadsheets() {
    let home = Home::new(SERVICE, PROMISING);
    promises(&home, "=nightly, \"big\"");
    let csv = home.run(&["sla", "--csv"]).assert(0, &[]).out.clone();
    let lines: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 3, "{csv}");
    assert!(lines[0].starts_with("subject,rule,kind,due,met,"));
    assert!(
        csv.contains("\"finance =nightly, \"\"big\"\"\",by-7,deadline,30,25,2,1,1,1,0.892857,"),
        "{csv}"
    );
    let csv = home
        .run(&["sla", "--csv", "--rows"])
        .assert(0, &[])
        .out
        .clone();
    let lines: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 31);
    assert!(
        csv.contains("\"'=nightly, \"\"big\"\"\""),
        "no formula: {csv}"
    );
    let corrected: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("unknown,20"))
        .collect();
    assert_eq!(corrected.len(), 1, "{csv}");
    assert!(lines[0].ends_with("corrected_from,was_recorded_at"));
    home.run(&["sla", "--csv", "--json"])
        .assert(2, &["take one of them"]);
    home.run(&["sla", "--rows"]).assert(
        0,
        &["excused: job disabled", "late by 9 min", "was unknown"],
    );
}

#[test]
fn questions_about_promises_say_what_is_wrong_with_them() {
    let home = Home::new(SERVICE, PROMISING);
    promises(&home, "nightly");
    home.run(&["sla", "nightly-objectiv"]).assert(
        2,
        &[
            "is called `nightly-objectiv`",
            "did you mean `nightly-objective`",
        ],
    );
    home.run(&["ask", "/sla nightly-objectiv"])
        .assert(2, &["did you mean `nightly-objective`"]);
    home.run(&["sla", "a", "b"])
        .assert(2, &["does not take `b`", "use it as /sla"]);
    let empty = Home::new(SERVICE, RULES);
    promises(&empty, "nightly");
    empty.run(&["sla"]).assert(
        0,
        &["no promises yet: rules of kind deadline, missed_schedule and run_duration"],
    );
}

#[test]
fn a_digest_is_printed_or_sent_now() {
    let digests = "\n[[digest]]\nname = \"weekly\"\nschedule = \"0 8 * * mon\"\nperiod = \"7d\"\n\
                   timezone = \"Europe/Berlin\"\nreceivers = [\"terminal\"]\n";
    let home = Home::new(&format!("{SERVICE}{digests}"), PROMISING);
    promises(&home, "nightly");
    let verdict = "1 of 7 promises missed, 1 late";
    let parts = [
        verdict,
        "Promises by job",
        "finance nightly",
        "5 of 7",
        "by-7",
        "Objectives: what is left",
        "nightly-objective",
        "0 of 2 misses left",
    ];
    home.run(&["digest", "--period", "7d"]).assert(0, &parts);
    let named = home.run(&["digest", "--name", "weekly"]);
    named.assert(0, &parts);
    named.assert(0, &["Digest weekly"]);
    assert!(!named.out.contains('\u{1b}'));
    home.run(&["digest", "--color", "always"])
        .assert(0, &["\u{1b}[", "the one promise kept"]);
    home.run(&["ask", "/digest 7d"]).assert(0, &parts);
    let json = home.run(&["digest", "--period", "7d", "--json"]).json();
    // The budget of the objective is spent: that alert is open.
    let told = json["verdict"].as_str().unwrap();
    assert_eq!(told, format!("{verdict}; 1 alert open"));
    assert_eq!(json["sla"]["rows"][0]["periods"][0]["missed"], 1);
    let sent = home.run(&["digest", "--period", "7d", "--to", "terminal"]);
    sent.assert(
        0,
        &[
            "terminal: delivered",
            verdict,
            "Promises by job",
            "sending to terminal",
        ],
    );
    let sent = home.run(&["digest", "--to", "terminal", "--json"]);
    assert_eq!(sent.json()["delivered"], true, "{sent:?}");
    assert!(
        sent.err.contains("the one promise kept"),
        "the console is the other stream"
    );
    for (args, why) in [
        (
            &["digest", "--to", "termnal"][..],
            "did you mean `terminal`?",
        ),
        (&["digest", "--name", "weekyl"], "did you mean `weekly`?"),
        (&["digest", "--period", "15"], "has no unit"),
        (&["digest", "--period", "1s"], "a minute at least"),
    ] {
        home.run(args).assert(2, &[why]);
    }
    let elsewhere = SERVICE.replace(
        "kind = \"console\"",
        "kind = \"webhook\"\nurl = { env = \"HOOK\" }",
    );
    let mut gone = Home::new(&elsewhere, PROMISING);
    gone.set("HOOK", "http://127.0.0.1:1/");
    promises(&gone, "nightly");
    gone.run(&["digest", "--to", "terminal"])
        .assert(1, &["terminal: ", "onnection refused"]);
}

/// Sixty days of a nightly job of about half an hour, and of a model; the last nine runs are longer.
fn durations(home: &Home) {
    let now = SystemClock::default().now();
    let store = SledStore::open(&home.path("data"), SledOptions::at(now));
    let store = store.unwrap().store;
    let key = ProjectKey {
        source: "acme".into(),
        project_id: "finance".into(),
    };
    let mut step = Step::default();
    for day in 0..60 {
        let started_at = now - Span::days(60 - day);
        let minutes = if day < 51 { 28 + day % 5 } else { 50 + day % 3 };
        let finished_at = Some(started_at + Span::minutes(minutes));
        let id: Name = format!("run-{day}").into();
        let run = Run {
            id: id.clone(),
            job: Some("nightly <b>".into()),
            job_type: "run".into(),
            status: if day == 40 {
                Status::Failed
            } else {
                Status::Success
            },
            triggered_by: "scheduled".into(),
            created_at: started_at,
            started_at: Some(started_at),
            finished_at,
            updated_at: started_at + Span::minutes(minutes),
            error: None,
        };
        let execution = Execution {
            id: format!("e-{day}").into(),
            run_id: Some(id),
            model: "staging.orders".into(),
            status: Status::Success,
            started_at: Some(started_at),
            finished_at,
            updated_at: started_at + Span::minutes(minutes),
            rows: None,
            error: None,
        };
        let observations = &mut step.changed.observations;
        observations.push(Observation::Run(key.clone(), run));
        observations.push(Observation::Execution(key.clone(), execution));
    }
    let mut numbers = Sequences::default();
    let (commit, _) = commit_step(&step, &BTreeMap::new(), &[], &mut numbers, now);
    store.commit(&commit).unwrap();
}

const LIMITED: &str = "[[rule]]\nname = \"sla\"\nkind = \"run_duration\"\nmax = \"45m\"\n";

#[test]
fn durations_are_drawn_to_files_and_to_standard_output() {
    let home = Home::new(SERVICE, LIMITED);
    durations(&home);
    home.run(&["chart", "nightly*", "-o", "a.png"]).assert(
        0,
        &[
            "wrote a.png: 42 runs from ",
            "9 of them over the limit of 45 min; 1 failed.",
        ],
    );
    let png = std::fs::read(home.path("a.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n") && png.len() > 10_000);
    home.run(&["chart", "nightly <b>", "-o", "a.SVG", "--theme", "dark"])
        .assert(0, &["wrote a.SVG"]);
    let shown = home.run(&["chart", "finance nightly <b>", "--theme", "dark"]);
    let file = std::fs::read_to_string(home.path("a.SVG")).unwrap();
    assert_eq!(shown.assert(0, &[]).out, file);
    for part in [
        "<svg ",
        "finance nightly &lt;b&gt;",
        "limit 45 min",
        "</svg>",
    ] {
        assert!(file.contains(part), "{part}: {file}");
    }
    let phone = home.run(&["chart", "staging.orders", "--size", "phone", "--last", "1"]);
    phone.assert(0, &["width=\"360\"", "run duration, one run", "usual "]);
}

#[test]
fn the_figures_of_a_chart_are_json() {
    let home = Home::new(SERVICE, LIMITED);
    durations(&home);
    let answer = home
        .run(&["chart", "nightly*", "--last", "3", "--json"])
        .json();
    let runs = answer["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 3, "{answer}");
    assert_eq!(runs[2]["id"], "run-59");
    assert_eq!(runs[2]["seconds"], 52.0 * 60.0);
    assert_eq!(runs[2]["is_success"], true);
    assert_eq!(runs[2]["usual"]["runs"], 20);
    assert_eq!(answer["limit"]["seconds"], 45.0 * 60.0);
    assert_eq!(answer["limit"]["rule"], "sla");
}

#[test]
fn a_chart_of_nothing_says_what_is_near() {
    let home = Home::new(SERVICE, LIMITED);
    durations(&home);
    home.run(&["chart", "staging.order"]).assert(
        2,
        &[
            "is called `staging.order`",
            "did you mean `staging.orders`?",
        ],
    );
    home.run(&["chart", "nightly*", "-o", "no/such/folder/a.svg"])
        .assert(1, &["no/such/folder/a.svg cannot be written"]);
}

#[test]
fn the_store_is_verified_backed_up_restored_and_compacted() {
    let mut home = home();
    home.set("DAGCTL_TOKEN", "dctl_x");
    let options = SledOptions::at(SystemClock::default().local());
    let store = SledStore::open(&home.path("data"), options).unwrap().store;
    let mut commit = Commit::default();
    commit.put(
        Table::Meta,
        b"since/x".to_vec(),
        b"\x01[\"rule/x\",\"2026-01-01T00:00:00Z\"]".to_vec(),
    );
    store.commit(&commit).unwrap();
    drop(store);
    home.run(&["store", "verify"])
        .assert(0, &["all records are good"]);
    assert_eq!(
        home.run(&["store", "verify", "--json"]).json()["bad_count"],
        0
    );
    home.run(&["store", "backup", "b1"])
        .assert(0, &["records in b1"]);
    home.run(&["store", "compact"]).assert(0, &["bytes before"]);
    home.run(&["store", "compact", "--json"])
        .assert(0, &[])
        .json();
    let json = home
        .run(&["store", "backup", "b2", "--json"])
        .assert(0, &[])
        .json();
    assert!(json["records"].as_u64().unwrap() >= 1);
    home.run(&["store", "restore", "b1"])
        .assert(0, &["are the store", "is kept as"]);
    let json = home
        .run(&["store", "restore", "b2", "--json"])
        .assert(0, &[])
        .json();
    assert!(json["kept"].is_string(), "{json}");
    home.run(&["store", "verify"])
        .assert(0, &["all records are good"]);
    // Questions of a stopped bot are answered from it.
    home.run(&["alerts"]).assert(0, &["no open alerts"]);
    home.run(&["alerts", "--json"]).assert(0, &[]).json();
    home.run(&["status"]).assert(1, &["no bot runs"]);
    let status = home.run(&["status", "--json"]).assert(1, &[]).json();
    assert_eq!(
        (&status["pid"], &status["rules"]),
        (&Value::Null, &2.into()),
        "with the built-in one"
    );

    // A record that is none is found, and the rest is used.
    let store = SledStore::open(&home.path("data"), options).unwrap().store;
    let mut commit = Commit::default();
    commit.put(Table::Alert, vec![7; 16], b"\x01not json".to_vec());
    store.commit(&commit).unwrap();
    drop(store);
    home.run(&["store", "verify"]).assert(2, &["Alert"]);
    home.run(&["alerts"]).assert(0, &["no open alerts"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_receiver_can_be_tried() {
    let chat = chat::Chat::start().await;
    let smtp = smtp::Smtp::start().await;
    smtp.require("secret");
    let receivers = r#"
[[receiver]]
name = "slack"
kind = "slack_webhook"
url = { env = "SLACK_URL" }
[[receiver]]
name = "discord"
kind = "discord_webhook"
url = { env = "DISCORD_URL" }
[[receiver]]
name = "mail"
kind = "email"
to = ["a@example.com"]
smtp = "office"
[[receiver]]
name = "hook"
kind = "webhook"
url = { env = "HOOK_URL" }
[[receiver]]
name = "pager"
kind = "pagerduty"
routing_key = { env = "PAGER_KEY" }
[[receiver]]
name = "teams"
kind = "teams"
url = { env = "TEAMS_URL" }
[[receiver]]
name = "bot"
kind = "slack"
token = { env = "SLACK_BOT_TOKEN" }
channel = "C0DATAOPS"
api_url = "http://localhost/slack/api"
[[smtp]]
name = "office"
host = "127.0.0.1"
port = 2525
tls = "none"
username = "tardy"
password = { env = "SMTP_PASSWORD" }
from = "Tardy <tardy@example.com>"
"#;
    let slack_api = format!("http://{}/slack/api", chat.addr);
    let receivers = receivers.replace("http://localhost/slack/api", &slack_api);
    let mut home = Home::new(&format!("{SERVICE}{receivers}"), RULES);
    home.set("SLACK_BOT_TOKEN", chat::SECRET);
    home.set("DAGCTL_TOKEN", "dctl_x");
    home.set(
        "SLACK_URL",
        &format!("http://{}/services/T1/B1/{}", chat.addr, chat::SECRET),
    );
    home.set(
        "DISCORD_URL",
        &format!(
            "http://{}/api/webhooks/123456789012345678/{}",
            chat.addr,
            chat::SECRET
        ),
    );
    home.set("HOOK_URL", &format!("http://{}/hook", chat.addr));
    home.set("PAGER_KEY", chat::pagerduty::ROUTING_KEY);
    home.set(
        "TARDY_RECEIVER__PAGER__API_URL",
        &format!("http://{}", chat.addr),
    );
    home.set(
        "TEAMS_URL",
        &format!(
            "http://{}/workflows/1/triggers/manual?sig={}",
            chat.addr,
            chat::SECRET
        ),
    );
    home.set("SMTP_PASSWORD", "secret");
    home.set("TARDY_SMTP__OFFICE__PORT", &smtp.addr.port().to_string());
    for receiver in [
        "slack", "discord", "mail", "hook", "pager", "teams", "bot", "terminal",
    ] {
        home.run(&["notify", "test", receiver])
            .assert(0, &[&format!("{receiver}: delivered")]);
        let json = home
            .run(&["notify", "test", receiver, "--json"])
            .assert(0, &[])
            .json();
        assert_eq!(json["delivered"], true, "{json}");
    }
    assert_eq!((chat.said().len(), smtp.mails().len()), (12, 2));
    let (pages, changes) =
        chat.in_pagerduty(|service| (service.incidents().len(), service.changes().len()));
    assert_eq!((pages, changes), (0, 2), "a test wakes nobody");
    chat.revoke();
    home.run(&["notify", "test", "slack"])
        .assert(1, &["slack: "]);
    home.run(&["notify", "test", "bot"])
        .assert(1, &["bot: Slack refused it (token_revoked)"]);
    let json = home
        .run(&["notify", "test", "slack", "--json"])
        .assert(1, &[])
        .json();
    assert_eq!(json["delivered"], false);
    home.run(&["notify", "test", "slakc"])
        .assert(2, &["slack, discord, mail, hook, pager, teams, bot"]);
}

const RENDERED: &str = r#"
[[receiver]]
name = "slack"
kind = "slack_webhook"
url = { env = "SLACK_URL" }
template = { title = "Own: {{ alert.labels.job }}", body = "see {{ alert.run_url }}" }
[[receiver]]
name = "mail"
kind = "email"
to = ["a@example.com"]
template = { subject = "{{ alert.rule }}" }
[[smtp]]
name = "office"
host = "127.0.0.1"
from = "Tardy <tardy@example.com>"
"#;

fn rendering() -> Home {
    let mut home = Home::new(&format!("{SERVICE}{RENDERED}"), RULES);
    home.set("DAGCTL_TOKEN", "dctl_x");
    let url = format!("https://hooks.slack.com/services/T1/B1/{}", chat::SECRET);
    home.set("SLACK_URL", &url);
    home
}

#[test]
fn a_message_is_shown_as_it_would_be_sent_and_no_secret_with_it() {
    let home = rendering();
    let ran = home.run(&["render", "slack", "run-failed"]);
    ran.assert(
        0,
        &[
            "slack (slack_webhook), rule run-failed, reason first: a made-up alert (no alert of the rule is open)",
            "\nOwn: nightly-refresh\nWarning\n\nsee https://app.example.com/runs/r1\n",
            "POST:\n{\n  \"blocks\"",
            "<https://app.example.com/runs/r1|run>",
        ],
    );
    assert!(
        !ran.out.contains(chat::SECRET) && ran.err.is_empty(),
        "{ran:?}"
    );
    assert!(!home.path("data").exists(), "looking makes no store");
    let args = [
        "render",
        "slack",
        "run-failed",
        "--reason",
        "resolved",
        "--json",
    ];
    let json = home.run(&args).assert(0, &[]).json();
    assert_eq!(json["reason"], "all_resolved");
    assert_eq!(json["first_line"], "Own: nightly-refresh");
    assert_eq!(json["sent"][0]["form"], "json");
    let header = &json["sent"][0]["content"]["blocks"][0]["text"]["text"];
    assert_eq!(header, "Update on k3x9pq: Own: nightly-refresh");
}

#[test]
fn a_mail_is_shown_with_its_html_in_a_file() {
    let home = rendering();
    let args = [
        "render",
        "mail",
        "run-failed",
        "--out",
        "mails",
        "--reason",
        "reminder",
    ];
    home.run(&args).assert(
        0,
        &[
            "Subject: Re: run-failed",
            "In-Reply-To: <",
            "mails/mail-run-failed.html",
        ],
    );
    let html = std::fs::read_to_string(home.path("mails/mail-run-failed.html")).unwrap();
    assert!(html.contains("prefers-color-scheme"));
    let out = home.run(&["render", "mail", "run-failed"]).out;
    let path = out.lines().find(|line| line.contains(".html")).unwrap();
    assert!(Path::new(path).starts_with(home.folder.path()) && Path::new(path).exists());
    home.run(&["render", "mail", "run-failed", "--out", "tardy.toml"])
        .assert(1, &["cannot make tardy.toml"]);
}

#[test]
fn what_cannot_be_rendered_says_what_there_is() {
    let home = rendering();
    for ([receiver, rule, reason], part) in [
        (
            ["slak", "run-failed", "first"],
            "did you mean `slack`? The receivers are terminal, slack, mail",
        ),
        (
            ["slack", "run-faild", "first"],
            "did you mean `run-failed`?",
        ),
        (
            ["slack", "run-failed", "remindr"],
            "did you mean `reminder`?",
        ),
        (
            ["zzzzzzzzzzzz", "run-failed", "first"],
            "`zzzzzzzzzzzz`; the receivers are terminal",
        ),
    ] {
        home.run(&["render", receiver, rule, "--reason", reason])
            .assert(2, &[part]);
    }
    let wrong = format!("{SERVICE}{RENDERED}").replace("alert.rule", "alert.rul");
    home.write("tardy.toml", &wrong);
    home.run(&["render", "mail", "run-failed"]).assert(
        2,
        &["nothing is called `alert.rul`", "did you mean `rule`?"],
    );
    home.run(&["check", "--offline"])
        .assert(2, &["bad-template", "tardy.toml:30:28"]);
}

#[test]
fn the_demonstration_is_the_same_for_the_same_seed_and_leaves_nothing_behind() {
    let home = home();
    let first = home.run(&["demo", "--speed", "1000000"]);
    first.assert(
        0,
        &[
            "growth campaign-costs",
            "Promises of the day",
            "; 0 still open",
        ],
    );
    assert!(
        !first.out.contains("already so"),
        "history is not announced"
    );
    assert_eq!(
        home.run(&["demo", "--speed", "1000000"]).out,
        first.out,
        "the same bytes"
    );
    let left: Vec<_> = std::fs::read_dir(home.folder.path())
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn the_simulator_says_how_to_use_it() {
    let home = home();
    home.run(&["sim", "--seconds", "1"]).assert(
        0,
        &["[[source]]", "export DAGCTL_TOKEN=", "http://127.0.0.1:"],
    );
    let json = home
        .run(&["sim", "--seconds", "0", "--json"])
        .assert(0, &[])
        .json();
    assert!(json["base_url"].is_string() && json["organization"].is_string());
}

#[test]
fn a_closed_pipe_is_no_mistake() {
    let home = home();
    for args in [
        &["schema", "rules"][..],
        &["completions", "bash"],
        &["--help"],
        &["demo", "--speed", "1000000"],
    ] {
        let mut child = home
            .command(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut err = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut err)
            .unwrap();
        let status = child.wait().unwrap();
        assert!(
            !err.contains("panicked") && status.code() == Some(0),
            "{args:?}: {status} {err}"
        );
    }
}

/// Two weeks of a nightly job, one on weekdays and one each hour; one night failed, once two hours in a row.
async fn simulated() -> Running {
    let now = SystemClock::default().now();
    let mut organization = Organization::new("org-acme", bot::TOKEN);
    organization.project(ProjectPlan::new(
        "proj_finance",
        "finance",
        ProjectKind::Sqlmesh,
    ));
    for (job, cron) in [
        ("nightly", "0 4 * * *"),
        ("weekday", "0 5 * * 1-5"),
        ("hourly", "0 * * * *"),
    ] {
        organization.job("proj_finance", JobPlan::new(job, cron));
    }
    let hour = Span::hours(1).num_milliseconds();
    let first = Timestamp::from_millis(now.as_millis() / hour * hour) - Span::days(20);
    for number in 0..20 * 24 - 1 {
        let at = first + Span::hours(number);
        let mut add = |job: &str, minutes: i64, is_failed: bool| {
            let id = format!("run_{job}_{number}");
            let took = Span::minutes(minutes) + Span::seconds(number * 7 % 60);
            organization.add_run(
                "proj_finance",
                if is_failed {
                    PlannedRun::failure(&id, job, at, took, "audit failed")
                } else {
                    PlannedRun::success(&id, job, at, took).with_model(
                        "marts.orders",
                        took,
                        Outcome::Success,
                        None,
                    )
                },
            );
        };
        let (days, of_day) = (
            (at.as_millis() / hour).div_euclid(24),
            at.as_millis() / hour % 24,
        );
        add("hourly", 3, number == 400 || number == 401);
        if of_day == 4 {
            add("nightly", 40, number / 24 == 15);
        }
        // The first day of 1970 was a Thursday.
        if of_day == 5 && (days + 3) % 7 < 5 {
            add("weekday", 12, false);
        }
    }
    let listen = "127.0.0.1:0".parse().unwrap();
    let (faults, variant) = (Faults::new(), Variant::number(0));
    serve(organization, SimClock::new(now), faults, variant, listen)
        .await
        .unwrap()
}

/// A folder without a configuration.
fn empty_home() -> Home {
    let home = home();
    std::fs::remove_file(home.path("tardy.toml")).unwrap();
    std::fs::remove_file(home.path("rules.toml")).unwrap();
    home
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_starter_configuration_is_accepted_without_a_warning() {
    let sim = simulated().await;
    let url = sim.base_url();
    let home = empty_home();
    let init = [
        "init",
        "--organization",
        "org-acme",
        "--days",
        "14",
        "--base-url",
        &url,
    ];
    home.run(&[&init[..], &["--dry-run"]].concat()).assert(
        0,
        &["# --- tardy.toml", "[[source]]", "# --- rules/outcome.toml"],
    );
    let left = std::fs::read_dir(home.folder.path()).unwrap().count();
    assert_eq!(left, 0, "a dry run writes nothing");
    let said = home.run(&init);
    said.assert(
        0,
        &[
            "Found 1 project, 3 jobs, ",
            "wrote tardy.toml",
            "wrote rules/timeliness.toml",
            "Over the last 7 days these rules would have sent ",
            "`tardy check`",
        ],
    );
    let text = |name: &str| std::fs::read_to_string(home.path(name)).unwrap();
    assert!(
        !text("tardy.toml").contains(bot::TOKEN),
        "no secret is written"
    );
    let timeliness = text("rules/timeliness.toml");
    assert!(timeliness.contains("by = \"05:00\""), "{timeliness}");
    assert!(
        timeliness.contains("by = \"+30m after schedule\""),
        "weekends owe nothing: {timeliness}"
    );
    let checked = home.run(&["check"]);
    checked.assert(0, &["rules are good: no problems"]);
    assert!(!checked.err.contains("warning"), "{checked:?}");
    let before = home.files();
    let again = home
        .run(&[&init[..], &["--json"]].concat())
        .assert(0, &[])
        .json();
    assert_eq!(again["files"], Value::Array(Vec::new()), "{again}");
    assert!(again["kept"].as_array().unwrap().len() >= 5, "{again}");
    assert!(
        again["forecast"]["messages"].as_u64().unwrap() <= 10,
        "{again}"
    );
    assert_eq!(home.files(), before, "nothing is overwritten");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_there_are_kept_and_gone_along_with() {
    let sim = simulated().await;
    let home = empty_home();
    let service = SERVICE
        .replace("http://127.0.0.1:1", &sim.base_url())
        .replace("rules.toml", "rules/*.toml");
    let service = format!("timezone = \"Asia/Kolkata\"\n{service}");
    home.write("tardy.toml", &service);
    std::fs::create_dir(home.path("rules")).unwrap();
    // Deadlines would come into this file, so that there are none to make an objective of.
    home.write("rules/timeliness.toml", RULES);
    let said = home.run(&["init", "--days", "14"]);
    said.assert(
        0,
        &[
            "kept  tardy.toml  it was there already",
            "kept  rules/timeliness.toml  it was there already",
            "wrote rules/duration.toml",
        ],
    );
    let text = |name: &str| std::fs::read_to_string(home.path(name)).unwrap();
    assert_eq!(text("tardy.toml"), service);
    assert_eq!(text("rules/timeliness.toml"), RULES);
    assert!(
        !text("rules/outcome.toml").contains("name = \"run-failed\""),
        "a name that is taken is not used again"
    );
    assert!(!home.path("rules/objectives.toml").exists(), "{said:?}");
    home.run(&["check"])
        .assert(0, &["rules are good: no problems"]);
    std::fs::remove_file(home.path("rules/timeliness.toml")).unwrap();
    home.run(&["init", "--days", "14"]).assert(
        0,
        &["wrote rules/timeliness.toml", "wrote rules/objectives.toml"],
    );
    let timeliness = text("rules/timeliness.toml");
    let is_local =
        timeliness.contains("timezone = \"Asia/Kolkata\"") && timeliness.contains("by = \"10:30\"");
    assert!(is_local, "the zone of tardy.toml: {timeliness}");
    home.run(&["check"])
        .assert(0, &["rules are good: no problems"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_starter_says_what_is_wrong_with_what_it_was_given() {
    let sim = simulated().await;
    let url = sim.base_url();
    let mut home = empty_home();
    let with = |more: &[&'static str]| -> Vec<String> {
        let given = ["init", "--organization", "org-acme"].iter().chain(more);
        given.map(ToString::to_string).collect()
    };
    let run = |home: &Home, args: &[String]| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        home.run(&args)
    };
    home.run(&["init"]).assert(2, &["--organization org-"]);
    let cases: [(&[&str], i32, &str); 6] = [
        (&["--base-url", "http://127.0.0.1:1"], 1, "no connection"),
        (&["--base-url", "dagctl"], 2, "like https://api.dagctl.io"),
        (&["--timezone", "Europe/Berln"], 2, "like Europe/Berlin"),
        (&["--schedule-timezone", "EDT5"], 2, "like Europe/Berlin"),
        (&["--days", "3"], 2, "14..=365"),
        (&["--token-env", "NO_SUCH"], 2, "NO_SUCH is not set"),
    ];
    for (more, code, part) in cases {
        run(&home, &with(more)).assert(code, &[part]);
    }
    let nobody = ["init", "--organization", "org-nobody", "--base-url", &url];
    home.run(&nobody).assert(1, &["organization not found"]);
    let given = ["init", "--organization", "org-acme", "--base-url", &url];
    home.write("file", "");
    home.run(&[&given[..], &["--dir", "file"]].concat())
        .assert(1, &["cannot write into file/rules", "--dir"]);
    home.set("DAGCTL_TOKEN", "dctl_wrong");
    home.run(&given).assert(1, &["refused the token (401)"]);
    home.write("tardy.toml", "[[source]]\nname = 1\n");
    home.run(&given)
        .assert(2, &["tardy.toml:2", "mend it first, or move it away"]);
    let mut left: Vec<_> = std::fs::read_dir(home.folder.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["file", "tardy.toml"], "nothing is left behind");
}
