//! Keys of the service file, `tardy.toml`: its top level, sources, the store, calendars and windows.

use super::extras::{CHAT, DIGEST, HEARTBEAT, OWNER, WEB};
use super::receivers::{RECEIVER, SMTP};
use super::routing::{INHIBIT, ROUTE};
use super::{Key, Section, Type, Variant, key, optional, required, section, sections};

/// Of everything that is referred to.
pub(super) const NAME: Key = required("name", Type::Text, "\"acme\"", "Unique name.");

/// A section without kinds.
pub(super) const fn plain(
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

const DAYS: Key = key(
    "days",
    Type::Weekdays,
    "[\"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"]",
    "Weekdays that count: names, ranges like \"mon-fri\"; with ! left out: [\"!sat\", \"!sun\", \"!2026-12-24\"].",
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
const HOLIDAYS_FILE: Key = optional(
    "holidays_file",
    Type::Text,
    "\"holidays.ics\"",
    "An iCalendar file, relative to this file: the whole days of its events do not count. Read at start and at each reload.",
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
    &[NAME, WINDOW_ZONE, DAYS, HOURS, HOLIDAYS, HOLIDAYS_FILE],
);

/// `[[calendar]]`
pub static CALENDAR: Section = plain(
    "[[calendar]]",
    "calendar",
    "calendar",
    "Days and hours in which rules are judged.",
    &[NAME, WINDOW_ZONE, DAYS, HOURS, HOLIDAYS, HOLIDAYS_FILE],
);
