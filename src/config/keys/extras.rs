//! Keys of owners, digests, chat, pages and the heartbeat.

use super::service::{NAME, plain};
use super::{Key, Section, Type, key, optional, required, section};

const TIMEZONE: Key = optional(
    "timezone",
    Type::Zone,
    "\"Europe/Berlin\"",
    "IANA time zone; the file's `timezone` when left out.",
);

/// `[[owner]]`
pub static OWNER: Section = plain(
    "[[owner]]",
    "owner",
    "owner",
    "Whom to mention; the most specific owner of a model, job or project.",
    &[
        NAME,
        optional(
            "slack",
            Type::Text,
            "\"<!subteam^S0FINANCE>\"",
            "Slack mention: <@U…> or <!subteam^S…>.",
        ),
        optional(
            "discord",
            Type::Text,
            "\"<@&1234567890>\"",
            "Discord mention: <@id> or <@&role>.",
        ),
        optional(
            "teams",
            Type::Text,
            "\"alice@example.com\"",
            "Microsoft Teams user: the address the person signs in with.",
        ),
        optional(
            "email",
            Type::Mail,
            "\"finance-data@example.com\"",
            "Mail address.",
        ),
        key(
            "projects",
            Type::Patterns,
            "[]",
            "Project ids or names owned.",
        ),
        key("jobs", Type::Patterns, "[]", "Job names owned."),
        key("models", Type::Patterns, "[]", "Model names owned."),
    ],
);

/// `[[digest]]`
pub static DIGEST: Section = plain(
    "[[digest]]",
    "digest",
    "digest",
    "A periodic summary.",
    &[
        NAME,
        required(
            "schedule",
            Type::Cron,
            "\"0 8 * * mon-fri\"",
            "When it is sent.",
        ),
        TIMEZONE,
        key(
            "period",
            Type::Duration,
            "\"24h\"",
            "What it looks back on.",
        ),
        required("receivers", Type::Texts, "[\"leads\"]", "Who gets it."),
        key(
            "send_empty",
            Type::Boolean,
            "false",
            "Sent also when nothing happened.",
        ),
    ],
);

/// `[chat]`
pub static CHAT: Section = plain(
    "[chat]",
    "chat",
    "chat",
    "Commands from chat.",
    &[
        section("slack", &CHAT_SLACK),
        section("discord", &CHAT_DISCORD),
        section("permissions", &CHAT_PERMISSIONS),
    ],
);

/// `[chat.slack]`
pub static CHAT_SLACK: Section = plain(
    "[chat.slack]",
    "Slack chat",
    "chat.slack",
    "Commands from Slack.",
    &[
        required(
            "bot_token",
            Type::Secret,
            "{ env = \"SLACK_BOT_TOKEN\" }",
            "Bot token.",
        ),
        optional(
            "signing_secret",
            Type::Secret,
            "{ env = \"SLACK_SIGNING_SECRET\" }",
            "HTTP mode: verifies requests.",
        ),
        optional(
            "app_token",
            Type::Secret,
            "{ env = \"SLACK_APP_TOKEN\" }",
            "Socket Mode: no public address is needed.",
        ),
    ],
);

/// `[chat.discord]`
pub static CHAT_DISCORD: Section = plain(
    "[chat.discord]",
    "Discord chat",
    "chat.discord",
    "Commands from Discord.",
    &[
        required(
            "token",
            Type::Secret,
            "{ env = \"DISCORD_BOT_TOKEN\" }",
            "Bot token.",
        ),
        required(
            "application_id",
            Type::Text,
            "\"998877665544332211\"",
            "Application id.",
        ),
        optional(
            "public_key",
            Type::Text,
            "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"",
            "Key of HTTP interactions, 64 hexadecimal digits; without it the gateway is used.",
        ),
        key(
            "guild_ids",
            Type::Texts,
            "[]",
            "Guilds in which commands are registered; none: globally.",
        ),
    ],
);

/// `[chat.permissions]`
pub static CHAT_PERMISSIONS: Section = plain(
    "[chat.permissions]",
    "chat permissions",
    "chat.permissions",
    "Reading is open to everyone in the workspace; these may act.",
    &[key(
        "act",
        Type::Texts,
        "[]",
        "slack:U…, slack:S…, discord:<user id> or discord:role:<role id>.",
    )],
);

/// `[web]`
pub static WEB: Section = plain(
    "[web]",
    "web",
    "web",
    "Pages and API.",
    &[
        key(
            "listen",
            Type::Socket,
            "\"127.0.0.1:8090\"",
            "Address to listen on.",
        ),
        optional(
            "public_url",
            Type::Url,
            "\"https://tardy.example.com\"",
            "Address for links in messages.",
        ),
        optional(
            "token",
            Type::Secret,
            "{ env = \"TARDY_WEB_TOKEN\" }",
            "Bearer token; needed unless listening on loopback.",
        ),
    ],
);

/// `[heartbeat]`
pub static HEARTBEAT: Section = plain(
    "[heartbeat]",
    "heartbeat",
    "heartbeat",
    "An address called after every complete evaluation cycle.",
    &[
        required(
            "url",
            Type::SecretUrl,
            "{ env = \"HEARTBEAT_URL\" }",
            "Called with GET.",
        ),
        key(
            "interval",
            Type::Duration,
            "\"1m\"",
            "Least time between calls.",
        ),
    ],
);
