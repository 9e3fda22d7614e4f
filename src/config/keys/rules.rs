//! Keys of rule files.

use super::{Key, Section, Type, Variant, key, optional, required, section, sections};

/// `{names}` that annotations may use, beside the labels of the rule.
pub const PLACEHOLDERS: [&str; 32] = [
    "age",
    "by",
    "clock",
    "consecutive",
    "count",
    "date",
    "duration",
    "environment",
    "error",
    "expected",
    "instant",
    "job",
    "job_type",
    "kind",
    "limit",
    "max",
    "model",
    "plan",
    "plan_id",
    "project",
    "project_id",
    "rule",
    "run_id",
    "severity",
    "since",
    "source",
    "status",
    "subject",
    "threshold",
    "triggered_by",
    "usual",
    "value",
];

const SEVERITIES: &[&str] = &["info", "warning", "critical"];
const CLOCKS: &[&str] = &["queue", "run", "total"];
const METHODS: &[&str] = &["robust_z", "percent", "changepoint", "trend"];
const STATUSES: &[&str] = &["partial", "failed", "error"];

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
const JOB_TYPE: Key = optional(
    "job_type",
    Type::Patterns,
    "[\"run\"]",
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

const fn variant(name: &'static str, doc: &'static str, keys: &'static [Key]) -> Variant {
    Variant { name, doc, keys }
}

const RUN_FAILED: Variant = variant(
    "run_failed",
    "The last finished runs failed.",
    &[
        key(
            "statuses",
            Type::Words(STATUSES),
            "[\"failed\", \"error\"]",
            "Statuses that count as failed.",
        ),
        key(
            "consecutive",
            Type::Integer(1, 100),
            "1",
            "Finished runs in a row.",
        ),
    ],
);
const SUCCESS_RATE: Variant = variant(
    "success_rate",
    "The share of successes among successes and failures is below the target.",
    &[
        key(
            "window",
            Type::Duration,
            "\"7d\"",
            "Runs that finished within it are counted.",
        ),
        optional(
            "runs",
            Type::Integer(1, 1_000),
            "50",
            "The last so many runs, instead of `window`.",
        ),
        required("target", Type::Share, "0.95", "Promised share."),
        key(
            "min_runs",
            Type::Integer(1, 1_000),
            "10",
            "Fewer runs than this are Unknown.",
        ),
        key(
            "confident",
            Type::Boolean,
            "false",
            "Fire only if the upper end of the 95 % Wilson interval is below the target.",
        ),
    ],
);
const MODEL_FAILED: Variant = variant("model_failed", "A model execution failed.", &[]);
const MODEL_NOT_RUN: Variant = variant(
    "model_not_run",
    "The run was green, but an expected model did not execute.",
    &[key(
        "consecutive",
        Type::Integer(1, 100),
        "1",
        "Due runs in a row without an execution.",
    )],
);
const MAX: Key = optional(
    "max",
    Type::Limit,
    "\"45m\"",
    "Longest duration, or a factor of the baseline like \"1.5x p95\".",
);
const MIN: Key = optional(
    "min",
    Type::Duration,
    "\"30s\"",
    "Shortest duration of a success.",
);
const CLOCK: Key = key(
    "clock",
    Type::Word(CLOCKS),
    "\"run\"",
    "queue: created to started; run: started to finished; total: tick to finished.",
);
const RUN_DURATION: Variant = variant(
    "run_duration",
    "A run takes too long, judged while it is still going, or was too short.",
    &[MAX, MIN, CLOCK],
);
const QUEUE_TIME: Variant = variant(
    "queue_time",
    "A run waits too long to start.",
    &[required("max", Type::Limit, "\"10m\"", "Longest wait.")],
);
const RUN_STALLED: Variant = variant(
    "run_stalled",
    "A run is running, but no model started or finished for a while.",
    &[required(
        "quiet",
        Type::Duration,
        "\"20m\"",
        "Longest silence.",
    )],
);
const MODEL_DURATION: Variant = variant(
    "model_duration",
    "A model takes too long, or was too short.",
    &[MAX, MIN],
);

const METHOD: Key = key(
    "method",
    Type::Word(METHODS),
    "\"robust_z\"",
    "How values are compared with their baseline.",
);
const PERCENT: Key = key(
    "percent",
    Type::Positive,
    "0.5",
    "Method percent: share above the median that breaches.",
);
const Z: Key = key(
    "z",
    Type::Positive,
    "4.0",
    "Method robust_z: z-score that breaches.",
);
const MIN_RATIO: Key = key(
    "min_ratio",
    Type::Ratio,
    "1.2",
    "Smallest ratio to the median that breaches.",
);
const MIN_DELTA: Key = key(
    "min_delta",
    Type::Duration,
    "\"10s\"",
    "Smallest difference to the median that breaches.",
);
const BASELINE_RUNS: Key = key(
    "baseline_runs",
    Type::Integer(2, 200),
    "20",
    "Successes that make the baseline.",
);
const MIN_RUNS: Key = key(
    "min_runs",
    Type::Integer(2, 200),
    "8",
    "Fewer successes than this are Unknown.",
);
const HORIZON: Key = key(
    "horizon",
    Type::Duration,
    "\"14d\"",
    "Method trend: how far ahead.",
);
const RUN_REGRESSION: Variant = variant(
    "run_regression",
    "A job has become slower than its baseline.",
    &[
        METHOD,
        PERCENT,
        Z,
        MIN_RATIO,
        MIN_DELTA,
        BASELINE_RUNS,
        MIN_RUNS,
        HORIZON,
        CLOCK,
    ],
);
const MODEL_REGRESSION: Variant = variant(
    "model_regression",
    "A model has become slower than its baseline.",
    &[
        METHOD,
        PERCENT,
        Z,
        MIN_RATIO,
        MIN_DELTA,
        BASELINE_RUNS,
        MIN_RUNS,
        HORIZON,
    ],
);
const DEADLINE: Variant = variant(
    "deadline",
    "A success by a local time on each day of the calendar.",
    &[
        required(
            "by",
            Type::Time,
            "\"07:00\"",
            "Local time; the rule needs a `timezone`.",
        ),
        optional(
            "opens",
            Type::Time,
            "\"01:00\"",
            "Local time from which a run's start counts; the last tick before `by` when left out.",
        ),
        key(
            "grace",
            Type::Duration,
            "\"0s\"",
            "Waited after `by` before it fires.",
        ),
        optional(
            "warn_before",
            Type::Duration,
            "\"30m\"",
            "Plain early warning, before `by`.",
        ),
        optional(
            "at_risk",
            Type::OpenShare,
            "0.8",
            "Early warning when the probability of missing reaches this.",
        ),
    ],
);
const MISSED_SCHEDULE: Variant = variant(
    "missed_schedule",
    "A tick of the job's schedule that no run serves.",
    &[optional(
        "grace",
        Type::Duration,
        "\"15m\"",
        "Waited after the tick; a quarter of the gap, 5 to 30 minutes, when left out.",
    )],
);
const MAX_AGE: Key = required(
    "max_age",
    Type::Duration,
    "\"3h\"",
    "Oldest that the newest success may be.",
);
const WARN_AGE: Key = optional(
    "warn_age",
    Type::Duration,
    "\"2h\"",
    "Early warning; below `max_age`.",
);
const STALENESS: Variant = variant(
    "staleness",
    "The newest success of a job is too old.",
    &[MAX_AGE, WARN_AGE],
);
const MODEL_STALENESS: Variant = variant(
    "model_staleness",
    "The newest success of a model is too old.",
    &[MAX_AGE, WARN_AGE],
);
const PAUSED: Variant = variant(
    "paused",
    "A job is disabled, or its project suspended or not deployed, for too long.",
    &[required("max", Type::Duration, "\"7d\"", "Longest pause.")],
);
const RUN_COUNT: Variant = variant(
    "run_count",
    "Too few or too many runs in a window.",
    &[
        required("window", Type::Duration, "\"6h\"", "The window."),
        optional("min", Type::Integer(0, 100_000), "5", "Fewest runs."),
        optional("max", Type::Integer(0, 100_000), "8", "Most runs."),
        optional(
            "overlap",
            Type::Boolean,
            "false",
            "false: two runs active at once are a breach.",
        ),
    ],
);
const PLATFORM_INCIDENT: Variant = variant(
    "platform_incident",
    "Many jobs fail together: one alert that keeps the others quiet.",
    &[
        key(
            "window",
            Type::Duration,
            "\"15m\"",
            "Runs that finished within it are looked at.",
        ),
        key(
            "min_share",
            Type::Share,
            "0.5",
            "Share of the jobs that ran.",
        ),
        key(
            "min_jobs",
            Type::Integer(1, 10_000),
            "4",
            "At least so many jobs.",
        ),
    ],
);
const ROWS: Variant = variant(
    "rows",
    "Row counts of a model against their baseline; only where the API carries them.",
    &[
        METHOD,
        PERCENT,
        Z,
        MIN_RATIO,
        BASELINE_RUNS,
        MIN_RUNS,
        HORIZON,
    ],
);
const PLAN_WAITING: Variant = variant(
    "plan_waiting",
    "A plan waits for approval, on the calendar's clock.",
    &[required("max", Type::Duration, "\"4h\"", "Longest wait.")],
);
const PLAN_FAILED: Variant = variant("plan_failed", "A plan failed.", &[]);
const PROJECT_DRIFT: Variant = variant(
    "project_drift",
    "Commits on the branch are not deployed.",
    &[required(
        "max_commits_behind",
        Type::Integer(0, 100_000),
        "5",
        "Most commits behind.",
    )],
);
const PROTECTION_OFF: Variant = variant(
    "protection_off",
    "A protected environment lost its protection.",
    &[],
);
const OBJECTIVE: Variant = variant(
    "objective",
    "A promised share of met promises, counted in events.",
    &[
        required(
            "of",
            Type::Texts,
            "[\"finance-by-7\"]",
            "Rules whose promises count.",
        ),
        key("window", Type::Duration, "\"30d\"", "Rolling window."),
        required("target", Type::Share, "0.95", "Promised share."),
    ],
);
const SOURCE_UNREACHABLE: Variant = variant(
    "source_unreachable",
    "Tardy cannot see, or cannot tell; always on, naming it only changes its values.",
    &[key("max", Type::Duration, "\"5m\"", "Longest blindness.")],
);
