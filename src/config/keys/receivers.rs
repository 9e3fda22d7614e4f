//! Keys of receivers and mail relays.

use super::service::{NAME, plain};
use super::{Section, Type, Variant, key, optional, required, section};

/// `[[receiver]]`
pub static RECEIVER: Section = Section {
    title: "[[receiver]]",
    noun: "receiver",
    path: "receiver",
    doc: "A named destination of messages.",
    keys: &[
        NAME,
        required("kind", Type::Kind, "\"slack_webhook\"", "Kind of receiver."),
        section("template", &RECEIVER_TEMPLATE),
    ],
    variants: &[
        Variant {
            name: "slack",
            doc: "Slack with a bot token: one message about an incident, edited in place, with a thread.",
            keys: &[
                required(
                    "token",
                    Type::Secret,
                    "{ env = \"SLACK_BOT_TOKEN\" }",
                    "Bot token, xoxb-…; docs/slack.md lists its scopes.",
                ),
                required(
                    "channel",
                    Type::Text,
                    "\"C0DATAOPS\"",
                    "Channel id, not its name: C…, G… or D….",
                ),
                key(
                    "api_url",
                    Type::Url,
                    "\"https://slack.com/api\"",
                    "Address of the Web API.",
                ),
            ],
        },
        Variant {
            name: "slack_webhook",
            doc: "Slack incoming webhook.",
            keys: &[required(
                "url",
                Type::SecretUrl,
                "{ env = \"SLACK_WEBHOOK_URL\" }",
                "The webhook's address.",
            )],
        },
        Variant {
            name: "discord",
            doc: "Discord with a bot token.",
            keys: &[
                required(
                    "token",
                    Type::Secret,
                    "{ env = \"DISCORD_BOT_TOKEN\" }",
                    "Bot token.",
                ),
                required(
                    "channel_id",
                    Type::Text,
                    "\"1122334455667788990\"",
                    "Channel id.",
                ),
            ],
        },
        Variant {
            name: "discord_webhook",
            doc: "Discord webhook; messages are edited in place.",
            keys: &[required(
                "url",
                Type::SecretUrl,
                "{ env = \"DISCORD_WEBHOOK_URL\" }",
                "The webhook's address.",
            )],
        },
        Variant {
            name: "email",
            doc: "Mail.",
            keys: &[
                required(
                    "to",
                    Type::Mails,
                    "[\"data-leads@example.com\"]",
                    "Recipients, each told separately.",
                ),
                optional(
                    "smtp",
                    Type::Text,
                    "\"office\"",
                    "Name of the [[smtp]] relay; may be left out when there is only one.",
                ),
            ],
        },
        Variant {
            name: "webhook",
            doc: "JSON over HTTP, signed.",
            keys: &[
                required(
                    "url",
                    Type::SecretUrl,
                    "{ env = \"ARCHIVE_URL\" }",
                    "The address.",
                ),
                optional(
                    "secret",
                    Type::Secret,
                    "{ env = \"ARCHIVE_SECRET\" }",
                    "Key of the HMAC-SHA256 signature; without it bodies are not signed.",
                ),
            ],
        },
        Variant {
            name: "pagerduty",
            doc: "PagerDuty: one incident for each conversation (docs/pagerduty.md).",
            keys: &[
                required(
                    "routing_key",
                    Type::Secret,
                    "{ env = \"PAGERDUTY_ROUTING_KEY\" }",
                    "Integration key of an \"Events API v2\" integration.",
                ),
                key(
                    "api_url",
                    Type::Url,
                    "\"https://events.pagerduty.com\"",
                    "Address of the Events API; https://events.eu.pagerduty.com for accounts in the EU.",
                ),
            ],
        },
        Variant {
            name: "teams",
            doc: "Cards in Microsoft Teams, through a workflow (docs/teams.md).",
            keys: &[required(
                "url",
                Type::SecretUrl,
                "{ env = \"TEAMS_WORKFLOW_URL\" }",
                "The workflow's address.",
            )],
        },
        Variant {
            name: "console",
            doc: "Cards on standard output.",
            keys: &[],
        },
    ],
};

/// `[receiver.template]`
pub static RECEIVER_TEMPLATE: Section = plain(
    "[receiver.template]",
    "template",
    "receiver.template",
    "A receiver's own texts: minijinja templates that replace the built-in ones, described in docs/templates.md.",
    &[
        optional(
            "title",
            Type::Text,
            "\"{{ severity }}: {{ headline }}\"",
            "The first line, which stands alone on a phone.",
        ),
        optional(
            "body",
            Type::Text,
            "\"{% for alert in alerts %}{{ alert.headline }}\\n{% endfor %}\"",
            "What stands below it, in place of what is said of each alert.",
        ),
        optional(
            "body_file",
            Type::Text,
            "\"templates/team.txt\"",
            "A file that holds the body, instead of `body`; relative to the configuration.",
        ),
        optional(
            "subject",
            Type::Text,
            "\"[{{ severity }}] {{ alert.labels.job }}\"",
            "The subject, for receivers of kind \"email\" only; replies keep the first one.",
        ),
    ],
);

/// `[[smtp]]`
pub static SMTP: Section = plain(
    "[[smtp]]",
    "smtp relay",
    "smtp",
    "A mail relay, for receivers of kind \"email\".",
    &[
        NAME,
        required("host", Type::Text, "\"smtp.example.com\"", "Host name."),
        key(
            "port",
            Type::Integer(1, 65_535),
            "587",
            "Port; by `tls` when left out: starttls 587, implicit 465, none 25.",
        ),
        key(
            "tls",
            Type::Word(&["starttls", "implicit", "none"]),
            "\"starttls\"",
            "How the connection is protected; \"none\" only on loopback.",
        ),
        optional(
            "username",
            Type::Text,
            "\"tardy\"",
            "User name; needs `password`.",
        ),
        optional(
            "password",
            Type::Secret,
            "{ env = \"SMTP_PASSWORD\" }",
            "Password.",
        ),
        required(
            "from",
            Type::Mail,
            "\"Tardy <tardy@example.com>\"",
            "Sender.",
        ),
    ],
);
