//! Configuration files: what is accepted, what is refused, and how the refusal reads.

// How many mutations are tried is said by a variable.
#![allow(clippy::disallowed_methods)]

use std::path::Path;

use chrono::NaiveTime;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tardy::config::keys::{Key, Section, Type};
use tardy::config::{
    self, Diagnostic, DiagnosticSeverity, Diagnostics, Environment, FileKind, StoreConfig,
};
use tardy::engine::route::Route;
use tardy::engine::rule::deadline::{By, Deadline, On};
use tardy::engine::rule::regression::Method;
use tardy::engine::rule::source_unreachable::SourceUnreachable;
use tardy::engine::rule::{RuleKind, SettingFrom, Severity};
use tardy::engine::time::Span;
use tardy::notify::{ReceiverKind, SmtpTls};

const SERVICE: &str = include_str!("fixtures/spec/tardy.toml");
const RULES: &str = include_str!("fixtures/spec/rules/reference.toml");

fn variables() -> Vec<(&'static str, &'static str)> {
    vec![
        ("DAGCTL_TOKEN", "secret-dagctl-0001"),
        ("SLACK_BOT_TOKEN", "secret-xoxb-0002"),
        (
            "SLACK_WEBHOOK_URL",
            "https://hooks.slack.example/secret-0003",
        ),
        (
            "DISCORD_WEBHOOK_URL",
            "https://discord.example/api/webhooks/1/secret-0004",
        ),
        ("DISCORD_BOT_TOKEN", "secret-discord-0005"),
        ("PAGERDUTY_ROUTING_KEY", "secretsecretsecretsecretsecret13"),
        (
            "TEAMS_WORKFLOW_URL",
            "https://flow.example/workflows/secret-0014?sig=secret-0014",
        ),
        ("ARCHIVE_URL", "https://archive.example/secret-0006"),
        ("ARCHIVE_SECRET", "secret-archive-0007"),
        ("SMTP_PASSWORD", "secret-smtp-0008"),
        ("SLACK_SIGNING_SECRET", "secret-signing-0009"),
        ("TARDY_WEB_TOKEN", "secret-web-0010"),
        ("HEARTBEAT_URL", "https://beat.example/secret-0011"),
    ]
}

fn environment() -> Environment {
    Environment::from_pairs(variables())
}

#[test]
fn the_specification_is_accepted_as_it_stands() {
    let path = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/spec/tardy.toml"
    ));
    let loaded = config::load(path, &environment()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let odd: Vec<_> = loaded
        .warnings
        .iter()
        .filter(|warning| warning.code != "not-built")
        .collect();
    assert!(odd.is_empty(), "{odd:#?}");
    assert_eq!(loaded.config.policy.rules.len(), 24);
}

/// One entry of `fixtures/wrong.toml`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrong {
    name: String,
    #[serde(default)]
    file: String,
    #[serde(default)]
    find: String,
    #[serde(default)]
    replace: String,
    /// A further edit of the service file.
    service: Option<Edit>,
    #[serde(default)]
    variables: std::collections::BTreeMap<String, String>,
    codes: Vec<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    find: String,
    replace: String,
}

fn edited(text: &str, find: &str, replace: &str, name: &str) -> String {
    assert_eq!(
        text.matches(find).count(),
        1,
        "{name}: `{find}` must occur once"
    );
    text.replacen(find, replace, 1)
}

fn wrong_variants() -> Vec<Wrong> {
    #[derive(serde::Deserialize)]
    struct All {
        wrong: Vec<Wrong>,
    }
    toml::from_str::<All>(include_str!("fixtures/wrong.toml"))
        .unwrap()
        .wrong
}

fn diagnose(wrong: &Wrong) -> Diagnostics {
    let (mut service, mut rules) = (SERVICE.to_owned(), RULES.to_owned());
    match wrong.file.as_str() {
        "service" => service = edited(SERVICE, &wrong.find, &wrong.replace, &wrong.name),
        "rules" => rules = edited(RULES, &wrong.find, &wrong.replace, &wrong.name),
        _ => {}
    }
    if let Some(edit) = &wrong.service {
        service = edited(&service, &edit.find, &edit.replace, &wrong.name);
    }
    let pairs = variables()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let plain = (
        "PLAIN_URL".to_owned(),
        "http://beat.example/secret-0012".to_owned(),
    );
    let environment = Environment::from_pairs(pairs.chain([plain]).chain(wrong.variables.clone()));
    let files = [("rules/reference.toml", rules.as_str())];
    match config::load_texts(("tardy.toml", &service), &files, &environment) {
        Ok(loaded) => loaded.warnings,
        Err(mistakes) => mistakes,
    }
}

/// All but the warnings that every variant has.
fn notable(all: Diagnostics) -> Diagnostics {
    let is_notable = |diagnostic: &Diagnostic| {
        diagnostic.code != "not-built" || diagnostic.severity == DiagnosticSeverity::Error
    };
    Diagnostics(all.0.into_iter().filter(is_notable).collect())
}

#[test]
fn every_wrong_variant_is_explained() {
    let variants = wrong_variants();
    assert!(variants.len() >= 60, "{} variants", variants.len());
    let mut listing = String::new();
    let mut failures = Vec::new();
    for wrong in &variants {
        let found = notable(diagnose(wrong));
        let codes: Vec<&str> = found.iter().map(|diagnostic| diagnostic.code).collect();
        if codes != wrong.codes {
            failures.push(format!(
                "{}: expected {:?}, found {codes:?}",
                wrong.name, wrong.codes
            ));
        }
        for diagnostic in found.iter() {
            assert_explained(diagnostic);
        }
        listing.extend(["## ", &wrong.name, "\n\n", &found.render(false), "\n\n"]);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    insta::assert_snapshot!("wrong", listing);
}

/// A mistake has a place and a remedy, and no part of it holds a secret.
fn assert_explained(diagnostic: &Diagnostic) {
    let text = format!(
        "{}{}",
        Diagnostics(vec![diagnostic.clone()]).render(true),
        diagnostic.to_json()
    );
    assert!(
        !diagnostic.file.is_empty() && diagnostic.line >= 1 && diagnostic.column >= 1,
        "{text}"
    );
    assert!(
        diagnostic
            .help
            .as_ref()
            .is_some_and(|help| !help.is_empty()),
        "no remedy: {text}"
    );
    assert!(
        !text.contains("secret-") && !text.contains("98989898"),
        "a secret is shown: {text}"
    );
}

fn load(service: &str, rules: &str) -> config::Loaded {
    load_with(service, rules, &environment())
}

fn load_with(service: &str, rules: &str, environment: &Environment) -> config::Loaded {
    config::load_texts(
        ("tardy.toml", service),
        &[("rules/a.toml", rules)],
        environment,
    )
    .unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

const SMALL: &str = r#"
[[source]]
name = "acme"
organization = "org-1"
token = { env = "DAGCTL_TOKEN" }
"#;

#[test]
fn defaults_are_the_documented_ones() {
    let config = load(SMALL, "").config;
    let source = &config.sources[0];
    assert_eq!(source.base_url.as_str(), "https://api.dagctl.io/");
    assert_eq!(
        (source.poll_interval, source.backfill),
        (Span::seconds(30), Span::days(30))
    );
    assert!(source.projects.is_any() && source.run_url.is_none());
    assert_eq!(source.schedule_timezone, chrono_tz::UTC);
    assert!(
        matches!(&config.store, StoreConfig::Sled { path, retention }
        if path == Path::new("data") && *retention == Span::days(180))
    );
    assert_eq!(config.evaluation_schedule.as_str(), "*/15 * * * * *");
    assert_eq!(config.receivers.len(), 1);
    assert_eq!(
        (&*config.receivers[0].name, config.receivers[0].kind.name()),
        ("console", "console")
    );
    let route = &config.policy.route;
    assert_eq!(*route, Route::root(vec!["console".into()]));
    let [rule] = config.policy.rules.as_slice() else {
        panic!("one rule is built in")
    };
    assert_eq!(
        (&*rule.name, rule.origin.as_str()),
        ("source-unreachable", "built in")
    );
    assert_eq!(
        rule.kind,
        RuleKind::SourceUnreachable(SourceUnreachable {
            max: Span::minutes(5)
        })
    );
    assert_eq!(rule.severity, Severity::Critical);
}

const WITH_DEFAULTS: &str = r#"
[defaults]
severity = "critical"
labels = { team = "data", tier = "1" }
annotations = { runbook = "https://wiki.example.com/{job}", owner = "data" }
calendar = "work"
receivers = ["console"]
for = "5m"
keep_firing_for = "1m"
schedule = "0 * * * *"
timezone = "America/New_York"
job_type = "run"

[[rule]]
name = "late"
kind = "deadline"
by = "07:00"

[[rule]]
name = "failed"
kind = "run_failed"
labels = { tier = "2" }
severity = "info"
job = ["nightly-*", "!nightly-test"]
annotations = { owner = "ops" }
for = "0s"
schedule = "30 * * * *"
timezone = "UTC"

[[rule]]
name = "off"
kind = "run_failed"
enabled = false
"#;

#[test]
fn defaults_of_a_rule_file_are_laid_under_its_rules() {
    let service = format!(
        "timezone = \"Europe/Berlin\"\n{SMALL}\n[[calendar]]\nname = \"work\"\ntimezone = \"UTC\"\ndays = [\"mon\"]\n"
    );
    let policy = load(&service, WITH_DEFAULTS).config.policy;
    let names: Vec<&str> = policy.rules.iter().map(|rule| &*rule.name).collect();
    assert_eq!(names, ["late", "failed", "source-unreachable"]);
    let [late, failed, built_in] = policy.rules.as_slice() else {
        unreachable!()
    };
    assert_eq!(late.origin, "rules/a.toml:15");
    assert_eq!(
        (late.severity, late.hold),
        (Severity::Critical, Span::minutes(5))
    );
    assert_eq!(late.zone, chrono_tz::America::New_York);
    assert_eq!(late.labels.to_string(), "team=\"data\", tier=\"1\"");
    assert_eq!(late.schedule.as_ref().unwrap().as_str(), "0 * * * *");
    assert_eq!(late.receivers.as_ref().unwrap().len(), 1);
    assert_eq!(&*late.calendar.as_ref().unwrap().name, "work");
    assert!(matches!(&late.kind, RuleKind::Deadline(deadline)
        if deadline.zone == chrono_tz::America::New_York && deadline.opens.is_none()));
    assert_eq!(failed.labels.to_string(), "team=\"data\", tier=\"2\"");
    assert_eq!(
        (failed.severity, failed.hold),
        (Severity::Info, Span::zero())
    );
    assert_eq!(failed.keep_firing_for, Span::minutes(1));
    assert_eq!(failed.annotations.owner.as_deref(), Some("ops"));
    assert_eq!(
        failed.annotations.runbook.as_deref(),
        Some("https://wiki.example.com/{job}")
    );
    assert_eq!(failed.schedule.as_ref().unwrap().as_str(), "30 * * * *");
    assert_eq!(failed.zone, chrono_tz::UTC);
    assert!(
        failed.selectors.job.is_match("nightly-1")
            && !failed.selectors.job.is_match("nightly-test")
    );
    assert!(
        failed.selectors.job_type.is_match("run") && !failed.selectors.job_type.is_match("plan")
    );
    assert_eq!(built_in.zone, chrono_tz::Europe::Berlin);
    assert!((late.clear - 0.9).abs() < 1e-9);
}

#[test]
fn the_specification_resolves_to_what_it_says() {
    let config = load(SERVICE, RULES).config;
    let rule = |name: &str| {
        config
            .policy
            .rules
            .iter()
            .find(|rule| &*rule.name == name)
            .unwrap()
    };
    assert_eq!(
        rule("run-regression")
            .times
            .map(|times| (times.needed, times.of)),
        Some((2, 3))
    );
    assert_eq!(
        rule("finance-by-7").kind,
        RuleKind::Deadline(Deadline {
            by: By::Time(NaiveTime::from_hms_opt(7, 0, 0).unwrap()),
            on: On::EveryDay,
            opens: NaiveTime::from_hms_opt(1, 0, 0),
            zone: chrono_tz::America::New_York,
            grace: Span::zero(),
            warn_before: Some(Span::minutes(30)),
            at_risk: Some(0.8),
            upstream: None,
        })
    );
    assert!(
        matches!(&rule("model-regression").kind, RuleKind::ModelRegression(regression)
        if regression.method == Method::Changepoint && regression.min_delta == Span::seconds(20))
    );
    assert_eq!(rule("project-drift").hold, Span::hours(2));
    assert_eq!(rule("stale").origin, "rules/a.toml:104");
    let route = &config.policy.route;
    let paths: Vec<&str> = route.children.iter().map(|child| &*child.path).collect();
    assert_eq!(paths, ["root/pages", "root/quiet-weekends"]);
    let [pages, quiet] = route.children.as_slice() else {
        unreachable!()
    };
    assert!(pages.is_continue && !quiet.is_continue && pages.escalate.len() == 1);
    assert_eq!(
        (quiet.group_wait, quiet.repeat_interval),
        (Span::seconds(15), Span::hours(12))
    );
    assert_eq!(
        (&*quiet.mute[0].name, quiet.mute[0].days),
        ("weekend", [false, false, false, false, false, true, true])
    );
    assert_eq!(config.policy.fallback, ["leads".into()]);
    let parts: Vec<String> = config
        .not_built
        .iter()
        .map(|missing| format!("{} {}", missing.place, missing.part))
        .collect();
    insta::assert_snapshot!("not_built", parts.join("\n"));
}

#[test]
fn secrets_and_relays_of_the_specification_are_resolved() {
    let config = load(SERVICE, RULES).config;
    let smtp = config
        .receivers
        .iter()
        .find_map(|receiver| match &receiver.kind {
            ReceiverKind::Email(email) => Some(email.smtp.clone()),
            _ => None,
        });
    let smtp = smtp.unwrap();
    assert_eq!(
        (smtp.port, smtp.tls, smtp.host.as_str()),
        (587, SmtpTls::StartTls, "smtp.example.com")
    );
    assert_eq!(
        smtp.credentials.unwrap().1.expose_secret(),
        "secret-smtp-0008"
    );
    assert!(!format!("{config:?}", config = load(SERVICE, RULES)).contains("secret-"));
}

#[test]
fn variables_are_laid_over_the_file() {
    let extra = [
        ("TARDY_STORE__PATH", "/var/lib/tardy"),
        ("TARDY_SOURCE__ACME__BASE_URL", "http://127.0.0.1:9"),
        ("TARDY_SOURCE__ACME__TOKEN", "12345678901234567890"),
        ("TARDY_SOURCE__ACME__PROJECTS", "finance, growth"),
        ("TARDY_SMTP__OFFICE__PORT", "2525"),
        (
            "TARDY_RECEIVER__TEAM_SLACK__URL",
            "https://hooks.slack.example/secret-9",
        ),
        ("TARDY_ROUTE__GROUP_BY", "[\"job\"]"),
        ("TARDY_ROUTE__CHILD__PAGES__CONTINUE", "false"),
        ("TARDY_TIMEZONE", "Europe/Berlin"),
        ("TARDY_LOG", "debug"),
        ("TARDY_CONFIG", "x.toml"),
    ];
    let environment = Environment::from_pairs(variables().into_iter().chain(extra));
    let config = load_with(SERVICE, RULES, &environment).config;
    assert!(
        matches!(&config.store, StoreConfig::Sled { path, .. } if path == Path::new("/var/lib/tardy"))
    );
    let source = &config.sources[0];
    assert_eq!(source.base_url.as_str(), "http://127.0.0.1:9/");
    assert_eq!(source.token.expose_secret(), "12345678901234567890");
    assert!(source.projects.is_match("growth") && !source.projects.is_match("other"));
    assert_eq!(config.policy.route.group_by, ["job".into()]);
    assert!(!config.policy.route.children[0].is_continue);
    assert_eq!(config.timezone, chrono_tz::Europe::Berlin);
    let is_laid = config.receivers.iter().any(|receiver| {
        matches!(&receiver.kind, ReceiverKind::SlackWebhook { url } if url.expose_secret().ends_with("secret-9"))
    });
    assert!(is_laid);
}

#[test]
fn secrets_come_from_files_without_their_newline() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "from-a-file\n").unwrap();
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    let path = folder.path().join("tardy.toml");
    let write = |file: &str| {
        let text = SMALL.replace(
            "{ env = \"DAGCTL_TOKEN\" }",
            &format!("{{ file = \"{file}\" }}"),
        );
        std::fs::write(&path, format!("rules = []\n{text}")).unwrap();
    };
    write("token");
    let config = config::load(&path, &Environment::default()).unwrap().config;
    assert_eq!(config.sources[0].token.expose_secret(), "from-a-file");
    assert!(
        matches!(&config.store, StoreConfig::Sled { path, .. } if *path == folder.path().join("data"))
    );
    write("empty");
    let mistakes = config::load(&path, &Environment::default()).unwrap_err();
    assert_eq!(mistakes.0[0].code, "missing-secret");
}

#[test]
fn rule_files_are_found_by_globs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("rules")).unwrap();
    let rule = |name: &str| format!("[[rule]]\nname = \"{name}\"\nkind = \"run_failed\"\n");
    std::fs::write(at("rules/b.toml"), rule("b")).unwrap();
    std::fs::write(at("rules/a.toml"), rule("a")).unwrap();
    let write = |rules: &str| {
        std::fs::write(at("tardy.toml"), format!("rules = {rules}\n{SMALL}")).unwrap();
    };
    let environment = Environment::from_pairs([("DAGCTL_TOKEN", "x")]);
    let load = || config::load(&at("tardy.toml"), &environment);
    write("[\"rules/*.toml\", \"rules/b.toml\"]");
    let loaded = load().unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let origins: Vec<&str> = loaded
        .config
        .policy
        .rules
        .iter()
        .map(|rule| rule.origin.as_str())
        .collect();
    assert_eq!(origins, ["rules/a.toml:2", "rules/b.toml:2", "built in"]);
    write("[\"other/*.toml\"]");
    assert_eq!(load().unwrap().warnings.0[0].code, "no-rule-files");
    write("[\"rules/c.toml\"]");
    assert_eq!(load().unwrap_err().0[0].code, "unreadable-file");
    std::fs::write(at("rules/c.toml"), rule("a")).unwrap();
    write("[\"rules/*.toml\"]");
    let mistakes = load().unwrap_err();
    let related = mistakes.0[0].related.as_ref().unwrap();
    assert_eq!(mistakes.0[0].code, "duplicate-name");
    assert!(mistakes.0[0].file.ends_with("c.toml") && related.file.ends_with("a.toml"));
    std::fs::write(at("rules/c.toml"), vec![b'#'; 1024 * 1024 + 1]).unwrap();
    assert!(
        load().unwrap_err().0[0]
            .message
            .contains("longer than 1 MiB")
    );
    std::fs::write(at("rules/c.toml"), b"# \xff").unwrap();
    assert_eq!(load().unwrap_err().0[0].code, "not-utf8");
    let mistakes = config::load(&at("none.toml"), &environment).unwrap_err();
    assert_eq!(
        (mistakes.0[0].code, mistakes.0[0].line),
        ("unreadable-file", 1)
    );
    assert_explained(&mistakes.0[0]);
    assert_eq!(config::find(folder.path()), Some(at("tardy.toml")));
    assert_eq!(config::find(&at("rules")), None);
}

#[test]
fn rule_files_are_checked_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.toml");
    std::fs::write(&path, RULES).unwrap();
    assert_eq!(config::kind_of_file(&path).unwrap(), FileKind::Rules);
    let environment = Environment::default();
    let loaded = config::load_rules_only(std::slice::from_ref(&path), &environment).unwrap();
    assert_eq!(loaded.rules.len(), 24);
    assert_eq!(loaded.not_built.len(), loaded.warnings.0.len());
    std::fs::write(&path, RULES.replace("quiet =", "quit =")).unwrap();
    let mistakes = config::load_rules_only(std::slice::from_ref(&path), &environment).unwrap_err();
    assert_eq!(mistakes.count(DiagnosticSeverity::Error), 2, "{mistakes}");
    for (text, kind) in [
        (SERVICE, FileKind::Service),
        ("", FileKind::Service),
        ("[defaults]", FileKind::Rules),
    ] {
        assert_eq!(config::kind_of_text(text), kind);
    }
}

#[test]
fn mistakes_of_all_files_are_told_at_once() {
    let service = SERVICE.replace("poll_interval = \"30s\"", "poll_interval = \"30\"");
    let rules = RULES
        .replace("max_age = \"26h\"", "max_age = 26")
        .replace("grace = \"15m\"", "grce = \"15m\"");
    let more = "[[rule]]\nname = \"stale\"\nkind = \"nothing\"\n";
    let files = [("rules/a.toml", rules.as_str()), ("rules/b.toml", more)];
    let mistakes =
        config::load_texts(("tardy.toml", &service), &files, &environment()).unwrap_err();
    let found: Vec<_> = notable(mistakes)
        .iter()
        .map(|mistake| {
            (
                mistake.file.clone(),
                mistake.line,
                mistake.column,
                mistake.code,
            )
        })
        .collect();
    let expected = [
        ("tardy.toml", 17, 17, "bad-duration"),
        ("rules/a.toml", 101, 1, "unknown-key"),
        ("rules/a.toml", 114, 11, "wrong-type"),
        ("rules/b.toml", 2, 8, "duplicate-name"),
        ("rules/b.toml", 3, 8, "unknown-kind"),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(file, line, column, code)| ((*file).to_owned(), *line, *column, *code))
        .collect();
    assert_eq!(found, expected);
    let broken = SERVICE.replace("[store]", "[store");
    let mistakes = config::load_texts(("tardy.toml", &broken), &files, &environment()).unwrap_err();
    let codes: Vec<&str> = mistakes.iter().map(|mistake| mistake.code).collect();
    assert!(
        codes.starts_with(&["syntax"]) && codes.contains(&"unknown-kind"),
        "{codes:?}"
    );
}

#[test]
fn mistakes_are_told_to_machines() {
    let service = SERVICE
        .replace("retention = \"180d\"", "retention = \"7d\"")
        .replace("port = 587", "prt = 587");
    let mistakes =
        notable(config::load_texts(("tardy.toml", &service), &[], &environment()).unwrap_err());
    assert_eq!(mistakes.summary(), "1 error, 1 warning");
    insta::assert_json_snapshot!("machines", mistakes.to_json());
}

/// The uncommented parts of `config/tardy.toml` run; the commented ones are examples of every key.
const ANNOTATED: &str = include_str!("../config/tardy.toml");

#[test]
fn the_annotated_configuration_runs_as_it_stands() {
    let environment = Environment::from_pairs([("DAGCTL_TOKEN", "x")]);
    let loaded = config::load_texts(("config/tardy.toml", ANNOTATED), &[], &environment).unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert!(loaded.config.not_built.is_empty());
}

/// Keys that have a commented default above the line in force, or that belong to another kind.
const ALTERNATIVES: [&str; 5] = [
    "body_file = ",
    "rules = ",
    "path = ",
    "url = { env = \"DATABASE_URL\" }",
    "holidays_file = ",
];

fn uncommented() -> String {
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if ALTERNATIVES.iter().any(|key| rest.starts_with(key)) => String::new(),
        Some(rest) if rest.starts_with('[') => rest.to_owned(),
        Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| is_key(key)) => rest.to_owned(),
        _ => line.to_owned(),
    };
    ANNOTATED.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn is_key(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

#[test]
fn every_example_of_the_annotated_configuration_is_right() {
    let mut pairs = variables();
    pairs.push(("SLACK_APP_TOKEN", "x"));
    let environment = Environment::from_pairs(pairs);
    let text = uncommented();
    let loaded = config::load_texts(("config/tardy.toml", &text), &[], &environment)
        .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let odd = notable(loaded.warnings);
    assert!(odd.is_empty(), "{odd}");
    assert_eq!(loaded.config.receivers.len(), 9);
}

#[test]
fn the_annotated_configuration_has_every_key() {
    let mut section = String::new();
    let mut keys = std::collections::BTreeSet::new();
    for line in ANNOTATED.lines().map(|line| line.trim_start_matches("# ")) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_start_matches('[');
            section = header[..header.find(']').unwrap()].to_owned();
            keys.insert((section.clone(), String::new()));
        } else if let Some((key, _)) = line.split_once(" = ") {
            keys.insert((section.clone(), key.to_owned()));
        }
    }
    for section in config::keys::service_sections() {
        let own = section.variants.iter().flat_map(|variant| variant.keys);
        for key in section.keys.iter().chain(own) {
            let is_there = match key.ty {
                Type::Table(inner) if inner.path == "chat" => true,
                Type::Table(inner) | Type::Tables(inner) if !inner.path.ends_with("escalate") => {
                    keys.contains(&(inner.path.to_owned(), String::new()))
                }
                _ if section.path == "route.escalate" => {
                    ANNOTATED.contains(&format!("{} = ", key.name))
                }
                _ => keys.contains(&(section.path.to_owned(), key.name.to_owned())),
            };
            assert!(
                is_there,
                "config/tardy.toml lacks `{}` of {}",
                key.name, section.title
            );
        }
    }
}

#[test]
fn keys_are_documented_and_their_examples_are_toml() {
    for section in config::keys::service_sections()
        .into_iter()
        .chain(config::keys::rule_sections())
    {
        let own = section.variants.iter().flat_map(|variant| variant.keys);
        for key in section.keys.iter().chain(own) {
            assert!(
                key.doc.ends_with('.') || key.doc.ends_with('…'),
                "{}: {}",
                section.title,
                key.name
            );
            if !matches!(key.ty, Type::Table(_) | Type::Tables(_)) {
                let line = key.example_line();
                assert!(
                    line.parse::<toml::Table>().is_ok(),
                    "{}: {line}",
                    section.title
                );
            }
        }
    }
    let kinds: Vec<&str> = config::keys::RULE
        .variants
        .iter()
        .map(|variant| variant.name)
        .collect();
    assert_eq!(kinds, tardy::engine::rule::KIND_NAMES);
}

#[test]
fn a_rule_shows_where_each_of_its_values_comes_from() {
    let text = "[defaults]\nfor = \"5m\"\nseverity = \"info\"\n[[rule]]\nname = \"r\"\n\
                kind = \"run_regression\"\njob = \"a*\"\nseverity   =  \"critical\"\nz = 3\n";
    let rule = load(SERVICE, text).config.policy.rules[0].clone();
    let shown = |from: SettingFrom| {
        let own = rule.settings.iter().filter(|setting| setting.from == from);
        let lines = own.map(|setting| format!("{} = {}", setting.key, setting.value));
        lines.collect::<Vec<_>>().join("; ")
    };
    assert_eq!(
        shown(SettingFrom::Rule),
        "z = 3; job = \"a*\"; severity = \"critical\""
    );
    assert_eq!(shown(SettingFrom::Defaults), "for = \"5m\"");
    let built_in = shown(SettingFrom::BuiltIn);
    assert!(
        built_in.starts_with("method = \"robust_z\"; percent = 0.5"),
        "{built_in}"
    );
    assert!(!built_in.contains("severity"), "{built_in}");
}

/// `key = default` lines of the keys that have one.
fn default_lines<'k>(keys: impl Iterator<Item = &'k Key>) -> String {
    let lines: Vec<String> = keys
        .filter(|key| !key.default.is_empty() && !matches!(key.ty, Type::Kind))
        .map(|key| format!("{} = {}\n", key.name, key.default))
        .collect();
    lines.concat()
}

#[test]
fn documented_defaults_are_in_force() {
    for variant in config::keys::RULE.variants {
        let needed: Vec<String> = variant
            .keys
            .iter()
            .filter(|key| {
                key.is_required || ["max", "window"].contains(&key.name) && key.default.is_empty()
            })
            .map(|key| format!("{}\n", key.example_line()))
            .collect();
        let needed = needed.concat().replace("finance-by-7", "r");
        let more = if variant.name == "run_count" {
            "min = 1\n"
        } else {
            ""
        };
        let head = format!(
            "[[rule]]\nname = \"r\"\nkind = \"{}\"\ntimezone = \"UTC\"\n",
            variant.name
        );
        let short = format!("{head}{needed}{more}");
        let keys = config::keys::RULE.keys.iter().chain(variant.keys);
        let long = format!("{short}{}", default_lines(keys));
        let rule = |text: &str| load(SERVICE, text).config.policy.rules[0].clone();
        let (short, mut long) = (rule(&short), rule(&long));
        assert!(long.selectors.project.is_any() && long.selectors.triggered_by.is_any());
        long.selectors = short.selectors.clone();
        // Where a value comes from is all that differs of what is shown.
        for shown in &short.settings {
            let written = long.settings.iter().find(|other| other.key == shown.key);
            let written = written.map(|other| (other.value.as_str(), other.from));
            let expected = (shown.value.as_str(), SettingFrom::Rule);
            assert_eq!(written, Some(expected), "{}", variant.name);
        }
        long.settings.clone_from(&short.settings);
        assert_eq!(short, long, "{}", variant.name);
    }
    let top = |sections: &[&Section]| -> String {
        let own = |section: &&Section| {
            let own = section
                .variants
                .iter()
                .take(1)
                .flat_map(|variant| variant.keys);
            let lines = default_lines(section.keys.iter().chain(own));
            format!("[{}]\n{lines}", section.path)
        };
        sections.iter().map(own).collect()
    };
    let tables = top(&[
        &config::keys::EVALUATION,
        &config::keys::STORE,
        &config::keys::ROUTE,
    ]);
    let source = default_lines(config::keys::SOURCE.variants[0].keys.iter());
    let file = default_lines(config::keys::SERVICE_FILE.keys.iter());
    let long = format!("{file}{tables}{SMALL}{source}");
    let shown = |text: &str| {
        let environment = Environment::from_pairs([("DAGCTL_TOKEN", "x")]);
        let config = load_with(text, "", &environment).config;
        format!("{config:#?}")
    };
    let any = "projects: Patterns {\n                positive: [\n                    Glob(\n                        \"*\",\n                    ),\n                ],";
    assert_eq!(
        shown(&long).replace(any, "projects: Patterns {\n                positive: [],"),
        shown(SMALL)
    );
}

mod mutation {
    use super::{DiagnosticSeverity, RULES, SERVICE, assert_explained, config, environment};
    use proptest::prelude::*;
    use proptest::sample::select;

    /// One change of a text.
    #[derive(Clone, Debug)]
    enum Change {
        DropLine(usize),
        RepeatLine(usize),
        SwapLines(usize, usize),
        DropCharacters(usize, usize),
        Insert(usize, String),
        Value(usize, &'static str),
        Key(usize, &'static str),
    }

    fn change() -> impl Strategy<Value = Change> {
        let value = select(vec![
            "1",
            "-1",
            "0",
            "1e308",
            "nan",
            "true",
            "\"\"",
            "\"x\"",
            "\"é\\u0000\"",
            "[]",
            "[1]",
            "{}",
            "[[\"a\"]]",
            "{ env = \"DAGCTL_TOKEN\" }",
            "{ env = 1 }",
            "{ file = \"/\" }",
            "2026-01-01",
            "99999999999999999999",
            "\"UTC\"",
            "\"99999999999d\"",
            "\"{\"",
            "\"* * * * *\"",
            "'''\na\n'''",
            "\"1x max\"",
            "\"!\"",
            "[\"*\", \"\"]",
            "\"0 of 0\"",
            "\"=\"",
        ]);
        let key = select(vec![
            "name", "kind", "max", "url", "token", "child", "rule", "", "a.b", "\"a b\"", "é",
        ]);
        let at = || any::<prop::sample::Index>().prop_map(|index| index.index(1 << 20));
        prop_oneof![
            at().prop_map(Change::DropLine),
            at().prop_map(Change::RepeatLine),
            (at(), at()).prop_map(|(a, b)| Change::SwapLines(a, b)),
            (at(), 1..20_usize).prop_map(|(start, len)| Change::DropCharacters(start, len)),
            (at(), "[\\PC\n\t\"'\\[\\]{}=#]{1,6}").prop_map(|(at, text)| Change::Insert(at, text)),
            (at(), value).prop_map(|(at, value)| Change::Value(at, value)),
            (at(), key).prop_map(|(at, key)| Change::Key(at, key)),
        ]
    }

    fn apply(text: &str, change: &Change) -> String {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let count = lines.len().max(1);
        let assignments: Vec<usize> = (0..lines.len())
            .filter(|at| lines[*at].contains(" = "))
            .collect();
        let mut characters: Vec<char> = text.chars().collect();
        match change {
            Change::DropLine(at) if !lines.is_empty() => drop(lines.remove(at % count)),
            Change::RepeatLine(at) if !lines.is_empty() => {
                lines.insert(at % count, lines[at % count].clone());
            }
            Change::SwapLines(a, b) if !lines.is_empty() => lines.swap(a % count, b % count),
            Change::Value(at, value) if !assignments.is_empty() => {
                let line = &mut lines[assignments[at % assignments.len()]];
                let key = line.split(" = ").next().unwrap_or_default();
                *line = format!("{key} = {value}");
            }
            Change::Key(at, key) if !assignments.is_empty() => {
                let line = &mut lines[assignments[at % assignments.len()]];
                let value = line.split_once(" = ").map_or("", |(_, value)| value);
                *line = format!("{key} = {value}");
            }
            Change::DropCharacters(at, len) => {
                let start = at % characters.len().max(1);
                characters.drain(start..(start + len).min(characters.len()));
                return characters.into_iter().collect();
            }
            Change::Insert(at, text) => {
                let at = at % characters.len().max(1);
                characters.splice(at..at, text.chars());
                return characters.into_iter().collect();
            }
            _ => {}
        }
        lines.join("\n")
    }

    fn cases() -> u32 {
        std::env::var("PROPTEST_CASES")
            .ok()
            .and_then(|cases| cases.parse().ok())
            .unwrap_or(150)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is done to the files: no panic, a place and a remedy for everything, no secret.
        #[test]
        fn mutated_files_are_explained(
            in_service in prop::collection::vec(change(), 0..4),
            in_rules in prop::collection::vec(change(), 0..4),
        ) {
            let mutated = |text: &str, changes: &[Change]| {
                changes.iter().fold(text.to_owned(), |text, change| apply(&text, change))
            };
            let (service, rules) = (mutated(SERVICE, &in_service), mutated(RULES, &in_rules));
            let files = [("rules/reference.toml", rules.as_str())];
            match config::load_texts(("tardy.toml", &service), &files, &environment()) {
                Ok(loaded) => {
                    prop_assert!(!loaded.warnings.has_errors());
                    loaded.warnings.iter().for_each(assert_explained);
                }
                Err(mistakes) => {
                    prop_assert!(mistakes.count(DiagnosticSeverity::Error) > 0);
                    mistakes.iter().for_each(assert_explained);
                    for mistake in mistakes.iter() {
                        let lines = match mistake.file.as_str() {
                            "tardy.toml" => service.lines().count(),
                            "rules/reference.toml" => rules.lines().count(),
                            _ => 1,
                        };
                        prop_assert!(mistake.line <= lines + 1, "{mistake:?}");
                    }
                }
            }
        }

        /// A secret written where a secret belongs, however the line is broken, is never shown.
        #[test]
        fn bare_secrets_are_never_shown(
            key in select(vec!["token", "password", "secret", "url", "bot_token", "signing_secret"]),
            broken in select(vec!["\"S\"", "'S'", "S", "\"S", "'S", "[\"S\"]", "{ env = \"S\" }", "{ evn = \"S\" }",
                "{ env = \"S }", "\"\"\"S\"\"\"", "\"\"\"\nS\n\"\"\"", "{ file = 1, env = \"S\" }", "\"S\" x", "\"S\"\"",
                "{ \"S\" }", "[\"S", "{ env = [\"S\"] }", "\"a\\\"S\""]),
        ) {
            let secret = "secret-bare-4711";
            let line = format!("{key} = {}", broken.replace('S', secret));
            let mut service = String::new();
            for original in SERVICE.lines() {
                let is_same = original.starts_with(&format!("{key} = "));
                service.push_str(if is_same { &line } else { original });
                service.push('\n');
            }
            if let Err(mistakes) = config::load_texts(("tardy.toml", &service), &[], &environment()) {
                mistakes.iter().for_each(assert_explained);
            }
        }
    }
}

/// As much of JSON Schema as ours uses: is `value` valid?
fn is_valid(schema: &Value, root: &Value, value: &Value) -> bool {
    let all = |key: &str| schema[key].as_array().cloned().unwrap_or_default();
    if let Some(reference) = schema["$ref"].as_str() {
        return is_valid(root.pointer(&reference[1..]).unwrap(), root, value);
    }
    let number = |key: &str| schema[key].as_f64();
    let is_type = match schema["type"].as_str() {
        None => true,
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some(other) => panic!("unknown type {other}"),
    };
    let text_fits = value.as_str().is_none_or(|text| {
        let pattern = schema["pattern"].as_str().unwrap_or("");
        regex::Regex::new(pattern).unwrap().is_match(text)
            && text.len() as u64 >= schema["minLength"].as_u64().unwrap_or(0)
    });
    let number_fits = value.as_f64().is_none_or(|found| {
        number("minimum").is_none_or(|least| found >= least)
            && number("maximum").is_none_or(|most| found <= most)
            && number("exclusiveMinimum").is_none_or(|least| found > least)
            && number("exclusiveMaximum").is_none_or(|most| found < most)
    });
    let count = |key: &str| {
        all(key)
            .iter()
            .filter(|choice| is_valid(choice, root, value))
            .count()
    };
    let has = |key: &str| schema.get(key).is_some();
    let items_fit = value.as_array().is_none_or(|items| {
        !has("items")
            || items
                .iter()
                .all(|item| is_valid(&schema["items"], root, item))
    });
    let members_fit = value.as_object().is_none_or(|members| {
        all("required")
            .iter()
            .all(|key| members.contains_key(key.as_str().unwrap()))
            && members
                .iter()
                .all(|(key, member)| match schema["properties"].get(key) {
                    Some(property) => is_valid(property, root, member),
                    None if schema["additionalProperties"].is_object() => {
                        is_valid(&schema["additionalProperties"], root, member)
                    }
                    None => schema["additionalProperties"] != Value::Bool(false),
                })
    });
    is_type
        && text_fits
        && number_fits
        && (!has("const") || schema["const"] == *value)
        && (!has("enum") || all("enum").contains(value))
        && (!has("oneOf") || count("oneOf") == 1)
        && (!has("anyOf") || count("anyOf") >= 1)
        && items_fit
        && members_fit
}

fn json_of(text: &str) -> Value {
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

#[test]
fn schemas_accept_what_is_right_and_refuse_unknown_keys() {
    let (service, rules) = (config::schema_config(), config::schema_rules());
    for (schema, text) in [
        (&service, SERVICE),
        (&rules, RULES),
        (&service, ANNOTATED),
        (&service, &uncommented()),
    ] {
        assert!(is_valid(schema, schema, &json_of(text)));
    }
    assert!(!is_valid(&service, &service, &json_of(RULES)));
    let mut checked = 0;
    for wrong in wrong_variants() {
        let (schema, text) = match wrong.file.as_str() {
            "service" => (&service, SERVICE),
            "rules" => (&rules, RULES),
            _ => continue,
        };
        let text = text.replacen(&wrong.find, &wrong.replace, 1);
        let found = wrong.codes.first().map_or("", String::as_str);
        if matches!(
            found,
            "unknown-key" | "unknown-kind" | "wrong-type" | "out-of-range" | "bare-secret"
        ) && let Ok(table) = text.parse::<toml::Table>()
            && wrong.name != "duration of zero"
            && wrong.name != "deadline at once"
            && wrong.name != "credentials in an address"
        {
            let value = serde_json::to_value(table).unwrap();
            assert!(!is_valid(schema, schema, &value), "{}", wrong.name);
            checked += 1;
        }
    }
    assert!(checked >= 20, "{checked}");
    insta::assert_json_snapshot!("schema_rules", rules);
    insta::assert_json_snapshot!("schema_config", service);
}

#[test]
fn many_rules_take_no_longer_than_their_number() {
    let file = |count: usize| -> String {
        let rule = |at: usize| {
            format!(
                "[[rule]]\nname = \"rule-{at}\"\nkind = \"deadline\"\njob = [\"job-{at}\", \"!test-*\"]\nby = \"07:00\"\n\
                 opens = \"01:00\"\ntimezone = \"America/New_York\"\nwarn_before = \"30m\"\nseverity = \"critical\"\n\
                 schedule = \"*/5 * * * *\"\nlabels = {{ team = \"t{at}\" }}\n\n"
            )
        };
        (0..count).map(rule).collect()
    };
    let time = |count: usize| {
        let text = file(count);
        let began = std::time::Instant::now();
        assert_eq!(load(SERVICE, &text).config.policy.rules.len(), count + 1);
        began.elapsed()
    };
    time(10);
    let (few, many) = (time(500), time(5_000));
    assert!(many < few * 30, "500 rules: {few:?}, 5000 rules: {many:?}");
}

#[test]
fn hostile_files_are_refused_and_not_crashed_on() {
    let deep_header = format!("[{}a]\n", "a.".repeat(100_000));
    let deep_value = format!("x = {}\n", "[".repeat(100_000));
    let closed = format!("x = {}{}\n", "[".repeat(50_000), "]".repeat(50_000));
    let long = format!("timezone = \"{}\"\n", "x".repeat(500_000));
    let many = "unknown = 1\n".repeat(20_000);
    let inline = format!("x = {}1{}\n", "{ a = ".repeat(20_000), " }".repeat(20_000));
    let moving = "timezone = \"\u{202e}\u{1b}[2J\"\n".to_owned();
    for text in [
        deep_header,
        deep_value,
        closed,
        long,
        many,
        inline,
        moving,
        "\u{0}".to_owned(),
    ] {
        let mistakes = config::load_texts(("a.toml", &text), &[("b.toml", &text)], &environment());
        let mistakes = mistakes.unwrap_err();
        mistakes.iter().for_each(assert_explained);
        assert!(!mistakes.render(false).contains('\u{1b}'));
    }
}

#[test]
fn files_of_other_systems_are_read() {
    let windows = format!("\u{feff}{}", SERVICE.replace('\n', "\r\n"));
    let rules = RULES
        .replace('\n', "\r\n")
        .replace("max_age = \"26h\"", "max_age = 26");
    let files = [("rules/reference.toml", rules.as_str())];
    let mistakes =
        config::load_texts(("tardy.toml", &windows), &files, &environment()).unwrap_err();
    let found = notable(mistakes);
    assert_eq!(
        (found.0.len(), found.0[0].line, found.0[0].column),
        (1, 114, 11),
        "{found}"
    );
}

/// A receiver's own texts, after a relay and a receiver that can have all of them.
fn with_template(kind: &str, template: &str) -> Result<config::Loaded, Diagnostics> {
    let relay = "[[smtp]]\nname = \"o\"\nhost = \"smtp.example.com\"\nfrom = \"t@example.com\"\n";
    let receiver = format!("[[receiver]]\nname = \"r\"\nkind = {kind}\n");
    let text = format!("{SMALL}{relay}{receiver}[receiver.template]\n{template}\n");
    config::load_texts(("tardy.toml", &text), &[], &small_environment())
}

/// No more than [`SMALL`] needs.
fn small_environment() -> Environment {
    Environment::from_pairs([("DAGCTL_TOKEN", "secret-dagctl-0001")])
}

const MAIL: &str = "\"email\"\nto = [\"a@example.com\"]";

#[test]
fn own_texts_of_a_receiver_are_read() {
    let template = r#"
title = "{{ headline }}"
subject = 'x {{ alert.id }}'
body = """
{% if alert.error %}
{{ alert.error }}{% endif %}"""
"#;
    let loaded = with_template(MAIL, template).unwrap();
    let texts = &loaded.config.receivers[0].template;
    assert_eq!(texts.title.as_deref(), Some("{{ headline }}"));
    assert_eq!(texts.subject.as_deref(), Some("x {{ alert.id }}"));
    assert!(texts.body.as_deref().unwrap().starts_with("{% if"));
}

/// Kind, template, part of the message, line and column within the template's table, part of the remedy.
type WrongTemplate = (
    &'static str,
    &'static str,
    &'static str,
    (usize, usize),
    &'static str,
);

const WRONG_TEMPLATES: [WrongTemplate; 9] = [
    (
        MAIL,
        r#"title = "{{ hedline }}""#,
        "nothing is called `hedline`",
        (0, 13),
        "did you mean `headline`?",
    ),
    (
        MAIL,
        "body = '''\n\n{{ alert.id }}\n  {{ alert.ownr }}'''",
        "nothing is called `alert.ownr`",
        (3, 6),
        "did you mean `owner`?",
    ),
    (
        MAIL,
        r#"body = "{% for a in alerts %}\n{{ a.id }}""#,
        "template `body`, line 2 of it: this is not a template",
        (0, 8),
        "{% endfor %}",
    ),
    (
        MAIL,
        "body = '''\n{% if reason == \"reminder\" %}\n{{ alert.fact.usul }}{% endif %}'''",
        "reason reminder): `alert.fact.usul` is undefined",
        (2, 4),
        "did you mean `usual`?",
    ),
    (
        MAIL,
        r#"title = "{{ alert.silenced.by }}""#,
        "`alert.silenced.by` is undefined",
        (0, 13),
        "ask first whether anybody did",
    ),
    (
        "\"console\"",
        r#"subject = "x""#,
        "has no subject",
        (0, 1),
        "write `title`",
    ),
    (
        MAIL,
        "body = \"x\"\nbody_file = \"y\"",
        "both",
        (1, 13),
        "keep one of them",
    ),
    (
        MAIL,
        r#"body_file = "no/such/file.txt""#,
        "cannot read no/such/file.txt",
        (0, 13),
        "correct its path",
    ),
    (
        MAIL,
        r#"titel = "x""#,
        "unknown key `titel`",
        (0, 1),
        "did you mean `title`?",
    ),
];

#[test]
fn mistakes_in_own_texts_have_their_place_and_a_remedy() {
    for (kind, template, message, (line, column), help) in WRONG_TEMPLATES {
        let mistakes = with_template(kind, template).unwrap_err();
        assert_eq!(mistakes.0.len(), 1, "{template}: {mistakes}");
        let found = &mistakes.0[0];
        assert!(found.message.contains(message), "{template}: {mistakes}");
        let first = if kind == MAIL { 15 } else { 14 };
        let place = (found.line, found.column);
        assert_eq!(place, (first + line, column), "{template}: {mistakes}");
        let remedy = found.help.as_ref().unwrap();
        assert!(remedy.contains(help), "{template}: {mistakes}");
        assert_explained(found);
    }
}

#[test]
fn templates_that_never_end_are_refused_at_once() {
    let bomb = r#"body = "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}""#;
    let begun = std::time::Instant::now();
    let mistakes = with_template(MAIL, bomb).unwrap_err().to_string();
    assert!(begun.elapsed().as_secs() < 5);
    assert!(mistakes.contains("too much work"), "{mistakes}");
}

#[test]
fn a_body_may_stand_in_a_file_of_its_own_and_mistakes_show_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tardy.toml");
    let receiver =
        "[[receiver]]\nname = \"r\"\nkind = \"console\"\ntemplate = { body_file = \"body.txt\" }\n";
    std::fs::write(&path, format!("{SMALL}{receiver}")).unwrap();
    let body = folder.path().join("body.txt");
    std::fs::write(&body, "{{ headline }}\n").unwrap();
    let loaded = config::load(&path, &small_environment()).unwrap();
    let texts = &loaded.config.receivers[0].template;
    assert_eq!(texts.body.as_deref(), Some("{{ headline }}\n"));
    std::fs::write(&body, "a\n\n  {{ hedline }}\n").unwrap();
    let mistakes = config::load(&path, &small_environment()).unwrap_err();
    let found = mistakes
        .iter()
        .find(|found| found.code == "bad-template")
        .unwrap();
    assert!(found.file.ends_with("body.txt"), "{mistakes}");
    assert_eq!((found.line, found.column), (3, 6), "{mistakes}");
    std::fs::write(&body, " \n").unwrap();
    let mistakes = config::load(&path, &small_environment()).unwrap_err();
    assert!(
        mistakes.to_string().contains("body.txt is empty"),
        "{mistakes}"
    );
}

#[test]
fn days_of_a_calendar_are_counted_or_left_out() {
    let day = |text: &str| text.parse::<chrono::NaiveDate>().unwrap();
    let calendar = |keys: &str| {
        let service =
            format!("{SMALL}\n[[calendar]]\nname = \"work\"\ntimezone = \"UTC\"\n{keys}\n");
        let rules = "[[rule]]\nname = \"a\"\nkind = \"run_failed\"\ncalendar = \"work\"\n";
        let config = load(&service, rules).config;
        config.policy.rules[0].calendar.clone().unwrap()
    };
    for (keys, letters) in [
        ("", "MTWTFSS"),
        ("days = \"mon\"", "M------"),
        ("days = [\"mon-fri\"]", "MTWTF--"),
        ("days = [\"fri-mon\"]", "M---FSS"),
        ("days = [\"!sat\", \"!sun\"]", "MTWTF--"),
        ("days = \"!sat-sun\"", "MTWTF--"),
        ("days = [\"mon-sat\", \"!wed\"]", "MT-TFS-"),
        ("days = [\"!2026-12-24\"]", "MTWTFSS"),
    ] {
        let days = calendar(keys).days;
        let shown: String = days
            .iter()
            .zip("MTWTFSS".chars())
            .map(|(is_counted, letter)| if *is_counted { letter } else { '-' })
            .collect();
        assert_eq!(shown, letters, "{keys}");
    }
    let left_out = calendar("days = [\"mon-fri\", \"!2026-12-24\"]\nholidays = [\"2026-12-25\"]");
    assert!(left_out.is_day(day("2026-12-23")));
    assert!(!left_out.is_day(day("2026-12-24")) && !left_out.is_day(day("2026-12-25")));
}

#[test]
fn holidays_come_from_a_file_beside_the_configuration_and_a_reload_reads_it_again() {
    let day = |text: &str| text.parse::<chrono::NaiveDate>().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tardy.toml");
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    std::fs::create_dir(folder.path().join("days")).unwrap();
    let rules = "[[rule]]\nname = \"a\"\nkind = \"run_failed\"\ncalendar = \"work\"\n";
    std::fs::write(folder.path().join("rules/a.toml"), rules).unwrap();
    let service = format!(
        "{SMALL}\n[[calendar]]\nname = \"work\"\ntimezone = \"UTC\"\nholidays = [\"2026-07-03\"]\nholidays_file = \"days/us.ics\"\n\
         [[mute]]\nname = \"feasts\"\ntimezone = \"UTC\"\nholidays_file = \"days/us.ics\"\n"
    );
    std::fs::write(&path, service).unwrap();
    let ics = include_str!("fixtures/holidays.ics");
    let file = folder.path().join("days/us.ics");
    let calendar = || {
        let loaded = config::load(&path, &environment()).unwrap_or_else(|e| panic!("{e}"));
        loaded.config.policy.rules[0].calendar.clone().unwrap()
    };
    std::fs::write(&file, ics).unwrap();
    let first = calendar();
    for holiday in ["2026-07-03", "2026-12-25", "2027-12-26", "2026-11-26"] {
        assert!(!first.is_day(day(holiday)), "{holiday}");
    }
    assert!(first.is_day(day("2026-12-24")));
    std::fs::write(&file, ics.replace("DATE:20201225", "DATE:20201224")).unwrap();
    assert!(!calendar().is_day(day("2026-12-24")));
    // A mistake names the file of holidays, its line, and the key that names it.
    std::fs::write(&file, ics.replace("BYDAY=4TH", "BYDAY=4XX")).unwrap();
    let mistakes = config::load(&path, &environment()).unwrap_err();
    let mistake = mistakes.iter().find(|mistake| mistake.code == "bad-ics");
    let mistake = mistake.unwrap_or_else(|| panic!("{mistakes}"));
    assert!(mistake.file.ends_with("days/us.ics"), "{}", mistake.file);
    assert_eq!(mistake.line, 15);
}

#[test]
fn deadlines_say_when_in_several_ways() {
    let deadline = |keys: &str| {
        let rules = format!("[[rule]]\nname = \"a\"\nkind = \"deadline\"\n{keys}\n");
        match &load(SMALL, &rules).config.policy.rules[0].kind {
            RuleKind::Deadline(deadline) => deadline.clone(),
            other => panic!("{other:?}"),
        }
    };
    let time = |hour| NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
    for (by, expected) in [
        ("by = \"07:00\"", By::Time(time(7))),
        ("by = \"24:00\"", By::NextDay(time(0))),
        ("by = \"26:00\"\nopens = \"22:00\"", By::NextDay(time(2))),
    ] {
        assert_eq!(deadline(&format!("{by}\ntimezone = \"UTC\"")).by, expected);
    }
    // No zone is needed after the schedule.
    let after = deadline("by = \"+1h30m after schedule\"\nupstream = \"ingest-*\"");
    assert_eq!(after.by, By::AfterTick(Span::minutes(90)));
    assert!(after.upstream.unwrap().is_match("ingest-orders"));
    for (on, expected) in [
        ("business day 3", On::BusinessDay(3)),
        ("last business day", On::LastBusinessDay),
        ("day 15", On::Day(15)),
        ("last day", On::LastDay),
    ] {
        let keys = format!("by = \"07:00\"\ntimezone = \"UTC\"\non = \"{on}\"");
        assert_eq!(deadline(&keys).on, expected);
    }
}
