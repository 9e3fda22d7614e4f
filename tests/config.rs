//! Configuration files: what is accepted, what is refused, and how the refusal reads.

use std::path::Path;

use tardy::config::{self, Environment};

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
