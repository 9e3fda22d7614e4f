//! Configuration files: what is accepted, what is refused, and how the refusal reads.

use std::path::Path;

use tardy::config::{self, Diagnostic, DiagnosticSeverity, Diagnostics, Environment};

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
    println!("{}", loaded.warnings);
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
        listing.push_str(&format!("## {}\n\n{}\n\n", wrong.name, found.render(false)));
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
