//! Keys of rule files.

use super::kinds::{
    DEADLINE, MISSED_SCHEDULE, MODEL_DURATION, MODEL_FAILED, MODEL_NOT_RUN, MODEL_REGRESSION,
    MODEL_STALENESS, OBJECTIVE, PAUSED, PLAN_FAILED, PLAN_WAITING, PLATFORM_INCIDENT,
    PROJECT_DRIFT, PROTECTION_OFF, QUEUE_TIME, ROWS, RUN_COUNT, RUN_DURATION, RUN_FAILED,
    RUN_REGRESSION, RUN_STALLED, SOURCE_UNREACHABLE, STALENESS, SUCCESS_RATE,
};
use super::{Key, Section, Type, key, optional, required, section, sections};

const SEVERITIES: &[&str] = &["info", "warning", "critical"];

/// The top level of a rule file.
pub static RULES_FILE: Section = Section {
    title: "the rule file",
    noun: "rule file",
    path: "",
    doc: "A rule file: rules and what they share.",
    keys: &[section("defaults", &DEFAULTS), sections("rule", &RULE)],
    variants: &[],
};

const SEVERITY: Key = key(
    "severity",
    Type::Word(SEVERITIES),
    "\"warning\"",
    "How bad a breach is.",
);
const LABELS: Key = optional(
    "labels",
    Type::Map,
    "{ team = \"analytics\" }",
    "Extra labels for routing; those of [defaults] are added.",
);
const ANNOTATION_TABLE: Key = section("annotations", &ANNOTATIONS);
const SCHEDULE: Key = optional(
    "schedule",
    Type::Cron,
    "\"*/15 * * * * *\"",
    "When it is evaluated; whenever its verdict can change when left out.",
);
const TIMEZONE: Key = optional(
    "timezone",
    Type::Zone,
    "\"America/New_York\"",
    "IANA zone of its times; the configuration's `timezone` when left out.",
);
const FOR: Key = key(
    "for",
    Type::Duration,
    "\"0s\"",
    "How long a breach must last before it fires.",
);
const KEEP_FIRING_FOR: Key = key(
    "keep_firing_for",
    Type::Duration,
    "\"0s\"",
    "How long it must be over before it resolves.",
);
const CALENDAR: Key = optional(
    "calendar",
    Type::Text,
    "\"eu-business\"",
    "Name of the [[calendar]] whose days and hours count.",
);
const RECEIVERS: Key = optional(
    "receivers",
    Type::Texts,
    "[\"oncall\"]",
    "Receivers that replace routing.",
);
const JOB_TYPE: Key = key(
    "job_type",
    Type::Patterns,
    "[\"!janitor\"]",
    "Run types: run, plan, janitor; runs of other types are not judged.",
);

/// `[defaults]`
pub static DEFAULTS: Section = Section {
    title: "[defaults]",
    noun: "defaults",
    path: "defaults",
    doc: "What every rule of the file has unless it says otherwise.",
    keys: &[
        SEVERITY,
        LABELS,
        ANNOTATION_TABLE,
        SCHEDULE,
        TIMEZONE,
        FOR,
        KEEP_FIRING_FOR,
        CALENDAR,
        RECEIVERS,
        JOB_TYPE,
    ],
    variants: &[],
};

/// `annotations`
pub static ANNOTATIONS: Section = Section {
    title: "annotations",
    noun: "annotations",
    path: "rule.annotations",
    doc: "Texts for people; {job} and the like are filled in from the alert's labels and values.",
    keys: &[
        optional(
            "summary",
            Type::Text,
            "\"{job} is late\"",
            "Replaces the headline.",
        ),
        optional(
            "description",
            Type::Text,
            "\"Ask finance first.\"",
            "A paragraph below it.",
        ),
        optional(
            "runbook",
            Type::Text,
            "\"https://wiki.example.com/runs\"",
            "Link to what to do.",
        ),
        optional("owner", Type::Text, "\"finance-data\"", "Who owns it."),
    ],
    variants: &[],
};

/// `[[rule]]`
pub static RULE: Section = Section {
    title: "[[rule]]",
    noun: "rule",
    path: "rule",
    doc: "A condition, judged for every subject that its selectors fit.",
    keys: &[
        required("name", Type::Text, "\"finance-by-7\"", "Unique name."),
        required("kind", Type::Kind, "\"run_failed\"", "What is judged."),
        key(
            "project",
            Type::Patterns,
            "\"*\"",
            "Project id or name: a glob or a list; ! negates.",
        ),
        key(
            "job",
            Type::Patterns,
            "\"*\"",
            "Job name: a glob or a list; ! negates.",
        ),
        key(
            "model",
            Type::Patterns,
            "\"*\"",
            "Model name: a glob or a list; ! negates.",
        ),
        key(
            "environment",
            Type::Patterns,
            "\"*\"",
            "Environment: a glob or a list; ! negates.",
        ),
        JOB_TYPE,
        key(
            "triggered_by",
            Type::Patterns,
            "\"*\"",
            "What started the run: a glob or a list.",
        ),
        SEVERITY,
        LABELS,
        ANNOTATION_TABLE,
        SCHEDULE,
        TIMEZONE,
        FOR,
        KEEP_FIRING_FOR,
        optional(
            "times",
            Type::Times,
            "\"2 of 3\"",
            "\"n of m\": n breaching of the last m distinct runs.",
        ),
        key(
            "clear",
            Type::Share,
            "0.9",
            "Share of the threshold at which it resolves.",
        ),
        key(
            "enabled",
            Type::Boolean,
            "true",
            "false: checked, but not judged.",
        ),
        CALENDAR,
        RECEIVERS,
    ],
    variants: &[
        RUN_FAILED,
        SUCCESS_RATE,
        MODEL_FAILED,
        MODEL_NOT_RUN,
        RUN_DURATION,
        QUEUE_TIME,
        RUN_STALLED,
        MODEL_DURATION,
        RUN_REGRESSION,
        MODEL_REGRESSION,
        DEADLINE,
        MISSED_SCHEDULE,
        STALENESS,
        MODEL_STALENESS,
        PAUSED,
        RUN_COUNT,
        PLATFORM_INCIDENT,
        ROWS,
        PLAN_WAITING,
        PLAN_FAILED,
        PROJECT_DRIFT,
        PROTECTION_OFF,
        OBJECTIVE,
        SOURCE_UNREACHABLE,
    ],
};
