//! The keys of each kind of rule.

use chrono_tz::Tz;

use crate::engine::observation::Status;
use crate::engine::rule::missed_schedule::MissedSchedule;
use crate::engine::rule::model_duration::ModelDuration;
use crate::engine::rule::model_failed::ModelFailed;
use crate::engine::rule::model_not_run::ModelNotRun;
use crate::engine::rule::objective::Objective;
use crate::engine::rule::paused::Paused;
use crate::engine::rule::plan_failed::PlanFailed;
use crate::engine::rule::plan_waiting::PlanWaiting;
use crate::engine::rule::platform_incident::PlatformIncident;
use crate::engine::rule::project_drift::ProjectDrift;
use crate::engine::rule::protection_off::ProtectionOff;
use crate::engine::rule::queue_time::QueueTime;
use crate::engine::rule::regression::{Method, Regression};
use crate::engine::rule::rows::Rows;
use crate::engine::rule::run_count::RunCount;
use crate::engine::rule::run_duration::RunDuration;
use crate::engine::rule::run_failed::RunFailed;
use crate::engine::rule::run_stalled::RunStalled;
use crate::engine::rule::source_unreachable::SourceUnreachable;
use crate::engine::rule::staleness::Staleness;
use crate::engine::rule::success_rate::SuccessRate;
use crate::engine::rule::{Clock, Limit, RuleKind};
use crate::engine::time::{Span, config_span};

use super::super::context::Draft;
use super::super::cursor::Cursor;
use super::super::tree::Spot;
use super::super::values;
use super::deadline::read_deadline;
use super::objective::References;

/// Reads the keys of a kind that is in the table of keys.
pub(super) fn read(
    cursor: &mut Cursor<'_>,
    kind: &str,
    zone: Option<Tz>,
    references: &mut References,
) -> RuleKind {
    match kind {
        "run_failed" => RuleKind::RunFailed(read_run_failed(cursor)),
        "success_rate" => RuleKind::SuccessRate(read_success_rate(cursor)),
        "model_failed" => RuleKind::ModelFailed(ModelFailed),
        "model_not_run" => RuleKind::ModelNotRun(ModelNotRun {
            consecutive: integer(cursor, "consecutive", 1),
        }),
        "run_duration" => {
            let (max, min) = read_bounds(cursor);
            RuleKind::RunDuration(RunDuration {
                clock: read_clock(cursor),
                max,
                min,
            })
        }
        "queue_time" => {
            let max = cursor.parsed("max", values::limit);
            RuleKind::QueueTime(QueueTime {
                max: max.map_or(FIXED_ZERO, |max| max.value),
            })
        }
        "run_stalled" => RuleKind::RunStalled(RunStalled {
            quiet: limit_span(cursor, "quiet"),
        }),
        "model_duration" => {
            let (max, min) = read_bounds(cursor);
            RuleKind::ModelDuration(ModelDuration { max, min })
        }
        "run_regression" => {
            let clock = read_clock(cursor);
            RuleKind::RunRegression(Regression {
                clock,
                ..read_regression(cursor, true)
            })
        }
        "model_regression" => RuleKind::ModelRegression(read_regression(cursor, true)),
        "rows" => RuleKind::Rows(Rows {
            regression: read_regression(cursor, false),
        }),
        "deadline" => RuleKind::Deadline(read_deadline(cursor, zone)),
        "missed_schedule" => {
            let grace = cursor.parsed("grace", values::span);
            RuleKind::MissedSchedule(MissedSchedule {
                grace: grace.map(|grace| grace.value),
            })
        }
        "staleness" => RuleKind::Staleness(read_staleness(cursor)),
        "model_staleness" => RuleKind::ModelStaleness(read_staleness(cursor)),
        "objective" => RuleKind::Objective(read_objective(cursor, references)),
        _ => read_governance(cursor, kind),
    }
}

/// `times` counts runs that breach; most kinds are not about runs, and have other means to be patient.
pub(super) fn check_times(cursor: &Cursor<'_>, kind: &RuleKind) {
    if matches!(kind, RuleKind::RunFailed(rule) if rule.consecutive > 1) {
        let message = "`times` and `consecutive` are two ways to count";
        cursor.context.push(
            Draft::error("exclusive-keys", cursor.place_of("times"), message)
                .related(cursor.place_of("consecutive"), "`consecutive` is here")
                .help("remove one of them"),
        );
    }
    let (why, remedy) = match kind {
        RuleKind::RunRegression(rule) | RuleKind::ModelRegression(rule)
            if rule.method == Method::Changepoint =>
        {
            (
                "how many slow runs make a level is decided by how clear it is",
                "remove `times`; `min_ratio` and `min_delta` say how much slower is meant",
            )
        }
        RuleKind::RunRegression(rule) | RuleKind::ModelRegression(rule)
            if rule.method == Method::Trend =>
        {
            (
                "growth is judged over many runs, not one run after the other",
                "remove `times`; `min_runs` and `min_ratio` say how much growth is meant",
            )
        }
        RuleKind::RunFailed(_)
        | RuleKind::ModelFailed(_)
        | RuleKind::RunDuration(_)
        | RuleKind::QueueTime(_)
        | RuleKind::ModelDuration(_)
        | RuleKind::RunRegression(_)
        | RuleKind::ModelRegression(_)
        | RuleKind::Rows(_) => return,
        RuleKind::SuccessRate(_) => (
            "a share of runs is judged, not one run after the other",
            "remove `times` and set `runs` or `window`, and `min_runs`",
        ),
        RuleKind::ModelNotRun(_) => (
            "the runs are counted already",
            "remove `times` and set `consecutive`",
        ),
        RuleKind::RunCount(_) => (
            "the number of runs is judged, not one run after the other",
            FOR_REMEDY,
        ),
        RuleKind::RunStalled(_) => ("a run that stands still is no outcome of a run", FOR_REMEDY),
        RuleKind::Deadline(_) | RuleKind::MissedSchedule(_) => (
            "a promised time is judged, not one run after the other",
            "remove `times` and set `grace`, or `for = \"10m\"`",
        ),
        RuleKind::Staleness(_)
        | RuleKind::ModelStaleness(_)
        | RuleKind::Paused(_)
        | RuleKind::PlatformIncident(_)
        | RuleKind::PlanWaiting(_)
        | RuleKind::PlanFailed(_)
        | RuleKind::ProjectDrift(_)
        | RuleKind::ProtectionOff(_)
        | RuleKind::Objective(_)
        | RuleKind::SourceUnreachable(_) => ("it does not judge runs", FOR_REMEDY),
    };
    let message = format!("`times` means nothing here: {why}");
    cursor.context.push(
        Draft::error("meaningless-key", cursor.place_of("times"), message)
            .label(format!("not with kind \"{}\"", kind.name()))
            .help(remedy),
    );
}

/// Instead of counting runs: waiting.
const FOR_REMEDY: &str = "remove `times`; to be told only of what lasts, write `for = \"10m\"`";

fn read_governance(cursor: &mut Cursor<'_>, kind: &str) -> RuleKind {
    match kind {
        "paused" => RuleKind::Paused(Paused {
            max: limit_span(cursor, "max"),
        }),
        "run_count" => RuleKind::RunCount(read_run_count(cursor)),
        "platform_incident" => RuleKind::PlatformIncident(PlatformIncident {
            window: span_above_zero(cursor, "window", Span::minutes(15)),
            min_share: cursor.number("min_share").map_or(0.5, |share| share.value),
            min_jobs: integer(cursor, "min_jobs", 4),
        }),
        "plan_waiting" => RuleKind::PlanWaiting(PlanWaiting {
            max: limit_span(cursor, "max"),
        }),
        "plan_failed" => RuleKind::PlanFailed(PlanFailed),
        "project_drift" => RuleKind::ProjectDrift(ProjectDrift {
            max_commits_behind: integer(cursor, "max_commits_behind", 0),
        }),
        "protection_off" => RuleKind::ProtectionOff(ProtectionOff),
        "source_unreachable" => RuleKind::SourceUnreachable(SourceUnreachable {
            max: span_above_zero(cursor, "max", Span::minutes(5)),
        }),
        other => unreachable!("keys.rs lists a rule kind `{other}` that is not read here"),
    }
}

/// A placeholder after a mistake.
const FIXED_ZERO: Limit = Limit::Fixed(Span::zero());

fn integer(cursor: &mut Cursor<'_>, key: &'static str, default: u32) -> u32 {
    cursor.integer(key).map_or(default, |number| number.value)
}

fn span_above_zero(cursor: &mut Cursor<'_>, key: &'static str, default: Span) -> Span {
    cursor
        .parsed(key, values::positive_span)
        .map_or(default, |span| span.value)
}

/// A required length of time above zero.
fn limit_span(cursor: &mut Cursor<'_>, key: &'static str) -> Span {
    span_above_zero(cursor, key, Span::zero())
}

fn read_run_failed(cursor: &mut Cursor<'_>) -> RunFailed {
    let words = cursor.words("statuses");
    let statuses = match words {
        Some(words) => words.into_iter().map(Status::from_word).collect(),
        None => vec![Status::Failed, Status::Error],
    };
    RunFailed {
        statuses,
        consecutive: integer(cursor, "consecutive", 1),
    }
}

impl Cursor<'_> {
    /// A list of words that the key's type allows, each once.
    fn words(&mut self, name: &'static str) -> Option<Vec<&'static str>> {
        let words = self.key(name).ty.words();
        let found = self.parsed_list(name, |text| values::one_of(text, name, words))?;
        if found.is_empty() && !self.has_items(name) {
            let place = self.place_of(name);
            self.context.push(
                Draft::error("empty", place, format!("`{name}` is an empty list"))
                    .label("nothing would ever count")
                    .help(format!("write {}", self.key(name).example_line())),
            );
        }
        let mut once: Vec<&'static str> = Vec::new();
        for word in found {
            if !once.contains(&word.value) {
                once.push(word.value);
            }
        }
        Some(once)
    }

    /// One of two keys at least.
    fn needs_one_of(&self, first: &str, second: &str, more: &str) {
        if self.has(first) || self.has(second) {
            return;
        }
        let message = format!(
            "{} needs one of the keys `{first}` and `{second}`{more}",
            self.title()
        );
        self.context.push(
            Draft::error("missing-key", self.place, message)
                .label(format!("neither `{first}` nor `{second}`"))
                .help(format!("add {}", self.key(first).example_line())),
        );
    }

    /// `low` must be below `high`.
    pub(super) fn refuse_order(
        &self,
        low: &str,
        high: &str,
        shown: (&str, &str),
        place: super::Place,
    ) {
        let message = format!("`{low}` ({}) must be below `{high}` ({})", shown.0, shown.1);
        self.context.push(
            Draft::error("bad-order", place, message)
                .related(self.place_of(high), format!("`{high}` is here"))
                .help(format!("lower `{low}` or raise `{high}`")),
        );
    }
}

fn read_success_rate(cursor: &mut Cursor<'_>) -> SuccessRate {
    let window = cursor.parsed("window", values::positive_span);
    let runs = cursor.integer("runs");
    if let (Some(_), Some(runs)) = (&window, &runs) {
        cursor.context.push(
            Draft::error(
                "exclusive-keys",
                runs.place,
                "`window` and `runs` are two ways to count",
            )
            .related(cursor.place_of("window"), "`window` is here")
            .help("remove one of them"),
        );
    }
    let min_runs = cursor.integer("min_runs");
    if let (Some(runs), Some(min_runs)) = (&runs, &min_runs)
        && min_runs.value > runs.value
    {
        let shown = (min_runs.value.to_string(), runs.value.to_string());
        let message = format!("`min_runs` ({}) is more than `runs` ({})", shown.0, shown.1);
        cursor.context.push(
            Draft::error("bad-order", min_runs.place, message)
                .label("it would always be Unknown")
                .help(format!("write min_runs = {} or less", runs.value)),
        );
    }
    let window = window.map(|window| window.value);
    SuccessRate {
        window: window.or_else(|| runs.is_none().then(|| Span::days(7))),
        runs: runs.map(|runs| runs.value),
        target: cursor.number("target").map_or(1.0, |target| target.value),
        min_runs: min_runs.map_or(10, |min_runs| min_runs.value),
        is_confident: cursor.boolean("confident").unwrap_or(false),
    }
}

/// `max` and `min` of a duration: at least one of them, in order.
fn read_bounds(cursor: &mut Cursor<'_>) -> (Option<Limit>, Option<Span>) {
    let max = cursor.parsed("max", values::limit);
    let min = cursor.parsed("min", values::positive_span);
    cursor.needs_one_of("max", "min", "");
    if let (
        Some(Spot {
            value: Limit::Fixed(max),
            ..
        }),
        Some(min),
    ) = (&max, &min)
        && min.value >= *max
    {
        let shown = (config_span(min.value), config_span(*max));
        cursor.refuse_order("min", "max", (&shown.0, &shown.1), min.place);
    }
    (max.map(|max| max.value), min.map(|min| min.value))
}

fn read_clock(cursor: &mut Cursor<'_>) -> Clock {
    match cursor.word("clock").map(|word| word.value) {
        Some("queue") => Clock::Queue,
        Some("total") => Clock::Total,
        _ => Clock::Run,
    }
}

fn read_regression(cursor: &mut Cursor<'_>, is_duration: bool) -> Regression {
    let method = match cursor.word("method").map(|word| word.value) {
        Some("percent") => Method::Percent,
        Some("changepoint") => Method::Changepoint,
        Some("trend") => Method::Trend,
        _ => Method::RobustZ,
    };
    let usual = Regression::new(method);
    let baseline_runs = integer(cursor, "baseline_runs", usual.baseline_runs);
    let min_runs = integer(cursor, "min_runs", usual.min_runs);
    if min_runs > baseline_runs {
        let key = if cursor.has("min_runs") {
            "min_runs"
        } else {
            "baseline_runs"
        };
        let message =
            format!("`min_runs` ({min_runs}) is more than `baseline_runs` ({baseline_runs})");
        let (least, most) = (usual.min_runs, usual.baseline_runs);
        cursor.context.push(
            Draft::error("bad-order", cursor.place_of(key), message)
                .label("there would never be enough runs")
                .help(format!(
                    "lower `min_runs` ({least} when left out) or raise `baseline_runs` ({most} when left out)"
                )),
        );
    }
    Regression {
        method,
        percent: cursor
            .number("percent")
            .map_or(usual.percent, |number| number.value),
        z: cursor.number("z").map_or(usual.z, |number| number.value),
        min_ratio: cursor
            .number("min_ratio")
            .map_or(usual.min_ratio, |number| number.value),
        min_delta: if is_duration {
            cursor.span_or("min_delta", usual.min_delta)
        } else {
            Span::zero()
        },
        baseline_runs,
        min_runs,
        horizon: span_above_zero(cursor, "horizon", usual.horizon),
        limit: is_duration
            .then(|| cursor.parsed("limit", values::positive_span))
            .flatten()
            .map(|limit| limit.value),
        ..usual
    }
}

fn read_staleness(cursor: &mut Cursor<'_>) -> Staleness {
    let max_age = cursor.parsed("max_age", values::positive_span);
    let warn_age = cursor.parsed("warn_age", values::positive_span);
    if let (Some(max), Some(warn)) = (&max_age, &warn_age)
        && warn.value >= max.value
    {
        let shown = (config_span(warn.value), config_span(max.value));
        cursor.refuse_order("warn_age", "max_age", (&shown.0, &shown.1), warn.place);
    }
    Staleness {
        max_age: max_age.map_or(Span::zero(), |age| age.value),
        warn_age: warn_age.map(|age| age.value),
    }
}

fn read_run_count(cursor: &mut Cursor<'_>) -> RunCount {
    let window = limit_span(cursor, "window");
    let (min, max) = (cursor.integer("min"), cursor.integer("max"));
    let overlap = cursor.boolean("overlap");
    if !cursor.has("overlap") {
        cursor.needs_one_of("min", "max", " (or `overlap`)");
    }
    if let (Some(min), Some(max)) = (&min, &max)
        && min.value > max.value
    {
        let shown = (min.value.to_string(), max.value.to_string());
        cursor.refuse_order("min", "max", (&shown.0, &shown.1), min.place);
    }
    RunCount {
        window,
        min: min.map(|min| min.value),
        max: max.map(|max| max.value),
        overlap,
    }
}

fn read_objective(cursor: &mut Cursor<'_>, references: &mut References) -> Objective {
    let of = cursor.texts("of").unwrap_or_default();
    if of.is_empty() && cursor.has("of") && !cursor.has_items("of") {
        cursor.context.push(
            Draft::error("empty", cursor.place_of("of"), "`of` is an empty list")
                .help("name the rules whose promises count, like of = [\"finance-by-7\"]"),
        );
    }
    let window = span_above_zero(cursor, "window", Span::days(30));
    let target = cursor.number("target");
    if let Some(target) = &target {
        references.add_objective(&of, window, target);
    }
    Objective {
        of: of.into_iter().map(|name| name.value.into()).collect(),
        window,
        target: target.map_or(1.0, |target| target.value),
    }
}
