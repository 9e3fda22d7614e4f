//! Keys of the service file, `tardy.toml`.

use super::{Key, Section, Type, Variant, key, optional, required, section, sections};

const NAME: Key = required("name", Type::Text, "\"acme\"", "Unique name.");
const TIMEZONE: Key = optional(
    "timezone",
    Type::Zone,
    "\"Europe/Berlin\"",
    "IANA time zone; the file's `timezone` when left out.",
);

const fn plain(
    title: &'static str,
    noun: &'static str,
    path: &'static str,
    doc: &'static str,
    keys: &'static [Key],
) -> Section {
    Section {
        title,
        noun,
        path,
        doc,
        keys,
        variants: &[],
    }
}

/// The top level of the service file.
pub static SERVICE_FILE: Section = plain(
    "the configuration file",
    "configuration file",
    "",
    "The service file: sources, receivers, routing, and where the rules are.",
    &[
        key(
            "rules",
            Type::Texts,
            "[\"rules/*.toml\"]",
            "Rule files: globs relative to this file.",
        ),
        key(
            "timezone",
            Type::Zone,
            "\"UTC\"",
            "Zone of rendered times, digests and rule schedules.",
        ),
        section("evaluation", &EVALUATION),
        sections("source", &SOURCE),
        section("store", &STORE),
        sections("receiver", &RECEIVER),
        sections("smtp", &SMTP),
        section("route", &ROUTE),
        sections("inhibit", &INHIBIT),
        sections("mute", &MUTE),
        sections("calendar", &CALENDAR),
        sections("owner", &OWNER),
        sections("digest", &DIGEST),
        section("chat", &CHAT),
        section("web", &WEB),
        section("heartbeat", &HEARTBEAT),
    ],
);

/// `[evaluation]`
pub static EVALUATION: Section = plain(
    "[evaluation]",
    "evaluation",
    "evaluation",
    "When rules are evaluated.",
    &[key(
        "schedule",
        Type::Cron,
        "\"*/15 * * * * *\"",
        "Default of every rule; cron with 5 fields, or 6 or 7 with seconds first.",
    )],
);

/// `[[source]]`
pub static SOURCE: Section = Section {
    title: "[[source]]",
    noun: "source",
    path: "source",
    doc: "Where runs come from.",
    keys: &[
        NAME,
        key("kind", Type::Kind, "\"dagctl\"", "Kind of source."),
    ],
    variants: &[Variant {
        name: "dagctl",
        doc: "The dagctl API.",
        keys: &[
            key(
                "base_url",
                Type::Url,
                "\"https://api.dagctl.io\"",
                "Address of the API.",
            ),
            required(
                "organization",
                Type::Text,
                "\"org-1234abcd\"",
                "Organization id, sent with every request.",
            ),
            required(
                "token",
                Type::Secret,
                "{ env = \"DAGCTL_TOKEN\" }",
                "API token.",
            ),
            key(
                "projects",
                Type::Patterns,
                "[\"*\"]",
                "Projects to watch: ids or names, globs.",
            ),
            key(
                "poll_interval",
                Type::Duration,
                "\"30s\"",
                "Time between polls; at least 1s.",
            ),
            key(
                "backfill",
                Type::Duration,
                "\"30d\"",
                "How far back the first poll reads.",
            ),
            key(
                "schedule_timezone",
                Type::Zone,
                "\"UTC\"",
                "Zone in which the scheduler reads the jobs' cron expressions.",
            ),
            optional(
                "run_url",
                Type::Text,
                "\"https://app.dagctl.io/projects/{project_id}/runs/{run_id}\"",
                "Link to a run; {project_id} and {run_id} are filled in.",
            ),
            optional(
                "job_names",
                Type::Map,
                "{ \"nightly-cron\" = \"nightly-refresh\" }",
                "Job names for cronjob names that do not match by themselves.",
            ),
        ],
    }],
};

const RETENTION: Key = key(
    "retention",
    Type::Duration,
    "\"180d\"",
    "How long history is kept.",
);

/// `[store]`
pub static STORE: Section = Section {
    title: "[store]",
    noun: "store",
    path: "store",
    doc: "Where state is kept.",
    keys: &[
        key("kind", Type::Kind, "\"sled\"", "Kind of store."),
        RETENTION,
    ],
    variants: &[
        Variant {
            name: "sled",
            doc: "Embedded, in a folder.",
            keys: &[key(
                "path",
                Type::Text,
                "\"data\"",
                "Folder, relative to this file.",
            )],
        },
        Variant {
            name: "postgres",
            doc: "PostgreSQL.",
            keys: &[required(
                "url",
                Type::SecretUrl,
                "{ env = \"DATABASE_URL\" }",
                "Connection address, postgres://…",
            )],
        },
    ],
};

/// `[[receiver]]`
pub static RECEIVER: Section = Section {
    title: "[[receiver]]",
    noun: "receiver",
    path: "receiver",
    doc: "A named destination of messages.",
    keys: &[
        NAME,
        required("kind", Type::Kind, "\"slack_webhook\"", "Kind of receiver."),
    ],
    variants: &[
        Variant {
            name: "slack",
            doc: "Slack with a bot token: messages are edited, threaded and carry buttons.",
            keys: &[
                required(
                    "token",
                    Type::Secret,
                    "{ env = \"SLACK_BOT_TOKEN\" }",
                    "Bot token.",
                ),
                required("channel", Type::Text, "\"C0DATAOPS\"", "Channel id."),
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
            name: "console",
            doc: "Cards on standard output.",
            keys: &[],
        },
    ],
};

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

const RECEIVERS: Key = optional(
    "receivers",
    Type::Texts,
    "[\"team-slack\"]",
    "Who is told: names of receivers.",
);
const GROUP_BY: Key = key(
    "group_by",
    Type::Texts,
    "[\"project\", \"job\"]",
    "Labels whose values make a group; one message for each.",
);
const GROUP_WAIT: Key = key(
    "group_wait",
    Type::Duration,
    "\"15s\"",
    "Wait after the first alert of a group.",
);
const GROUP_INTERVAL: Key = key(
    "group_interval",
    Type::Duration,
    "\"2m\"",
    "Least time between two notifications of a group; at least 10s.",
);
const REPEAT_INTERVAL: Key = key(
    "repeat_interval",
    Type::Duration,
    "\"12h\"",
    "Time between reminders while something fires.",
);
const MUTES: Key = optional(
    "mute",
    Type::Texts,
    "[\"weekend\"]",
    "[[mute]] windows in which nothing new is announced.",
);

/// `[route]`
pub static ROUTE: Section = plain(
    "[route]",
    "route",
    "route",
    "The routing tree: which receivers hear of an alert, grouped how, and when.",
    &[
        RECEIVERS,
        GROUP_BY,
        GROUP_WAIT,
        GROUP_INTERVAL,
        REPEAT_INTERVAL,
        MUTES,
        sections("escalate", &ESCALATE),
        optional(
            "fallback",
            Type::Texts,
            "[\"leads\"]",
            "Told when a receiver cannot be reached.",
        ),
        sections("child", &ROUTE_CHILD),
    ],
);

/// `[[route.child]]`
pub static ROUTE_CHILD: Section = plain(
    "[[route.child]]",
    "route",
    "route.child",
    "A branch of the routing tree; keys left out are inherited, except `escalate`.",
    &[
        optional(
            "name",
            Type::Text,
            "\"pages\"",
            "Name of the branch, unique among its siblings.",
        ),
        optional(
            "match",
            Type::Matchers,
            "['severity = \"critical\"']",
            "Matchers of labels (=, !=, =~, !~; anchored); all must fit.",
        ),
        optional(
            "receivers",
            Type::Texts,
            "[\"oncall\"]",
            "Who is told; inherited when left out.",
        ),
        optional(
            "group_by",
            Type::Texts,
            "[\"project\"]",
            "Inherited when left out.",
        ),
        optional(
            "group_wait",
            Type::Duration,
            "\"15s\"",
            "Inherited when left out.",
        ),
        optional(
            "group_interval",
            Type::Duration,
            "\"2m\"",
            "Inherited when left out; at least 10s.",
        ),
        optional(
            "repeat_interval",
            Type::Duration,
            "\"12h\"",
            "Inherited when left out.",
        ),
        MUTES,
        sections("escalate", &ESCALATE),
        key(
            "continue",
            Type::Boolean,
            "false",
            "Go on to later siblings after matching.",
        ),
        // Not through `sections`, which would read the static while it is being made.
        Key {
            name: "child",
            ty: Type::Tables(&ROUTE_CHILD),
            is_required: false,
            default: "",
            example: "",
            doc: "Branches below this one.",
        },
    ],
);

/// A step of `escalate`
pub static ESCALATE: Section = plain(
    "escalate",
    "escalation step",
    "route.escalate",
    "Who is told when nobody acknowledges: { after = \"30m\", receivers = [\"leads\"] }.",
    &[
        required(
            "after",
            Type::Duration,
            "\"30m\"",
            "Time after the first notification.",
        ),
        required("receivers", Type::Texts, "[\"leads\"]", "Who is told then."),
    ],
);

/// `[[inhibit]]`
pub static INHIBIT: Section = plain(
    "[[inhibit]]",
    "inhibition",
    "inhibit",
    "Alerts that keep others quiet while they fire.",
    &[
        required(
            "source",
            Type::Matchers,
            "['kind = \"run_failed\"']",
            "The alert that keeps others quiet.",
        ),
        required(
            "target",
            Type::Matchers,
            "['kind =~ \"staleness|model_failed\"']",
            "The alerts kept quiet.",
        ),
        key(
            "equal",
            Type::Texts,
            "[]",
            "Labels that must have equal values.",
        ),
    ],
);

const DAYS: Key = key(
    "days",
    Type::Weekdays,
    "[\"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"]",
    "Weekdays that count.",
);
const HOURS: Key = optional(
    "hours",
    Type::Hours,
    "\"08:00-18:00\"",
    "Local hours; the whole day when left out. \"22:00-06:00\" wraps past midnight.",
);
const HOLIDAYS: Key = key(
    "holidays",
    Type::Dates,
    "[]",
    "Dates that do not count, [\"2026-12-25\"].",
);
const WINDOW_ZONE: Key = required(
    "timezone",
    Type::Zone,
    "\"Europe/Berlin\"",
    "IANA zone in which days and hours are read.",
);

/// `[[mute]]`
pub static MUTE: Section = plain(
    "[[mute]]",
    "mute window",
    "mute",
    "A recurring window in which routes announce nothing new.",
    &[NAME, WINDOW_ZONE, DAYS, HOURS, HOLIDAYS],
);

/// `[[calendar]]`
pub static CALENDAR: Section = plain(
    "[[calendar]]",
    "calendar",
    "calendar",
    "Days and hours in which rules are judged.",
    &[NAME, WINDOW_ZONE, DAYS, HOURS, HOLIDAYS],
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
