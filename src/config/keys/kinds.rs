//! Keys that only one kind of rule has.

use super::{Key, Type, Variant, key, optional, required};

const CLOCKS: &[&str] = &["queue", "run", "total"];
const METHODS: &[&str] = &["robust_z", "percent", "changepoint", "trend"];
const STATUSES: &[&str] = &["partial", "failed", "error"];

const fn variant(name: &'static str, doc: &'static str, keys: &'static [Key]) -> Variant {
    Variant { name, doc, keys }
}

pub(super) const RUN_FAILED: Variant = variant(
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
pub(super) const SUCCESS_RATE: Variant = variant(
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
pub(super) const MODEL_FAILED: Variant = variant("model_failed", "A model execution failed.", &[]);
pub(super) const MODEL_NOT_RUN: Variant = variant(
    "model_not_run",
    "The run was green, but an expected model did not execute.",
    &[key(
        "consecutive",
        Type::Integer(1, 19),
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
pub(super) const RUN_DURATION: Variant = variant(
    "run_duration",
    "A run takes too long, judged while it is still going, or was too short.",
    &[MAX, MIN, CLOCK],
);
pub(super) const QUEUE_TIME: Variant = variant(
    "queue_time",
    "A run waits too long to start.",
    &[required("max", Type::Limit, "\"10m\"", "Longest wait.")],
);
pub(super) const RUN_STALLED: Variant = variant(
    "run_stalled",
    "A run is running, but no model started or finished for a while.",
    &[required(
        "quiet",
        Type::Duration,
        "\"20m\"",
        "Longest silence.",
    )],
);
pub(super) const MODEL_DURATION: Variant = variant(
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
    "Successes that make the baseline; method trend: 60.",
);
const MIN_RUNS: Key = key(
    "min_runs",
    Type::Integer(2, 200),
    "8",
    "Fewer successes than this are Unknown; method trend: 20.",
);
const HORIZON: Key = key(
    "horizon",
    Type::Duration,
    "\"14d\"",
    "Method trend: how far ahead.",
);
const TREND_LIMIT: Key = optional(
    "limit",
    Type::Duration,
    "\"45m\"",
    "Method trend: what must not be reached; the limits and deadlines of other rules when left out.",
);
pub(super) const RUN_REGRESSION: Variant = variant(
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
        TREND_LIMIT,
        CLOCK,
    ],
);
pub(super) const MODEL_REGRESSION: Variant = variant(
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
        TREND_LIMIT,
    ],
);
pub(super) const DEADLINE: Variant = variant(
    "deadline",
    "A success by a local time on each day of the calendar, or by so long after each tick.",
    &[
        required(
            "by",
            Type::Due,
            "\"07:00\"",
            "Local time (the rule needs a `timezone`; \"26:00\" is the night after), or \"+2h after schedule\".",
        ),
        optional(
            "on",
            Type::MonthDays,
            "\"business day 3\"",
            "Days of the month: \"business day 3\", \"last business day\", \"day 15\", \"last day\"; each day of the calendar when left out.",
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
        optional(
            "upstream",
            Type::Patterns,
            "[\"ingest-*\"]",
            "Jobs of the same project that must be done before; a late message names the one that is not.",
        ),
    ],
);
pub(super) const MISSED_SCHEDULE: Variant = variant(
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
pub(super) const STALENESS: Variant = variant(
    "staleness",
    "The newest success of a job is too old.",
    &[MAX_AGE, WARN_AGE],
);
pub(super) const MODEL_STALENESS: Variant = variant(
    "model_staleness",
    "The newest success of a model is too old.",
    &[MAX_AGE, WARN_AGE],
);
pub(super) const PAUSED: Variant = variant(
    "paused",
    "A job is disabled, or its project suspended or not deployed, for too long.",
    &[required("max", Type::Duration, "\"7d\"", "Longest pause.")],
);
pub(super) const RUN_COUNT: Variant = variant(
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
pub(super) const PLATFORM_INCIDENT: Variant = variant(
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
pub(super) const ROWS: Variant = variant(
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
pub(super) const PLAN_WAITING: Variant = variant(
    "plan_waiting",
    "A plan waits for approval, on the calendar's clock.",
    &[required("max", Type::Duration, "\"4h\"", "Longest wait.")],
);
pub(super) const PLAN_FAILED: Variant = variant("plan_failed", "A plan failed.", &[]);
pub(super) const PROJECT_DRIFT: Variant = variant(
    "project_drift",
    "Commits on the branch are not deployed.",
    &[required(
        "max_commits_behind",
        Type::Integer(0, 100_000),
        "5",
        "Most commits behind.",
    )],
);
pub(super) const PROTECTION_OFF: Variant = variant(
    "protection_off",
    "A protected environment lost its protection.",
    &[],
);
pub(super) const OBJECTIVE: Variant = variant(
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
pub(super) const SOURCE_UNREACHABLE: Variant = variant(
    "source_unreachable",
    "Tardy cannot see, or cannot tell; always on, naming it only changes its values.",
    &[key("max", Type::Duration, "\"5m\"", "Longest blindness.")],
);
