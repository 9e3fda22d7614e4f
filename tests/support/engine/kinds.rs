//! Rules of the built kinds with their defaults, for the other modules.

use chrono::NaiveTime;
use chrono_tz::Tz;
use tardy::engine::observation::Status;
use tardy::engine::rule::deadline::{By, Deadline, On};
use tardy::engine::rule::missed_schedule::MissedSchedule;
use tardy::engine::rule::model_failed::ModelFailed;
use tardy::engine::rule::objective::Objective;
use tardy::engine::rule::regression::{Method, Regression};
use tardy::engine::rule::run_duration::RunDuration;
use tardy::engine::rule::run_failed::RunFailed;
use tardy::engine::rule::source_unreachable::SourceUnreachable;
use tardy::engine::rule::staleness::Staleness;
use tardy::engine::rule::{Clock, Limit, Rule, RuleKind, Severity, Times};
use tardy::engine::time::{Span, parse_span};

use super::timeline::rule;

pub fn span(text: &str) -> Span {
    parse_span(text).unwrap()
}

pub fn run_failed() -> Rule {
    rule(
        "failed",
        RuleKind::RunFailed(RunFailed {
            statuses: vec![Status::Failed, Status::Error],
            consecutive: 1,
        }),
    )
}

pub fn model_failed() -> Rule {
    rule("model-failed", RuleKind::ModelFailed(ModelFailed))
}

pub fn too_long(clock: Clock, max: &str) -> Rule {
    rule(
        "too-long",
        RuleKind::RunDuration(RunDuration {
            clock,
            max: Some(Limit::Fixed(span(max))),
            min: None,
        }),
    )
}

pub fn missed(grace: Option<&str>) -> Rule {
    let grace = grace.map(span);
    let mut rule = rule("missed", RuleKind::MissedSchedule(MissedSchedule { grace }));
    rule.severity = Severity::Warning;
    rule
}

pub fn stale(max_age: &str, warn_age: Option<&str>) -> Rule {
    rule(
        "stale",
        RuleKind::Staleness(Staleness {
            max_age: span(max_age),
            warn_age: warn_age.map(span),
        }),
    )
}

pub fn blind(max: &str) -> Rule {
    rule(
        "blind",
        RuleKind::SourceUnreachable(SourceUnreachable { max: span(max) }),
    )
}

pub fn deadline(by: &str, zone: Tz) -> Rule {
    deadline_with(by, zone, |_| {})
}

pub fn deadline_with(by: &str, zone: Tz, change: impl FnOnce(&mut Deadline)) -> Rule {
    let mut kind = Deadline {
        by: By::Time(clock(by)),
        on: On::EveryDay,
        opens: None,
        zone,
        grace: Span::zero(),
        warn_before: None,
        at_risk: None,
        upstream: None,
    };
    change(&mut kind);
    let mut rule = rule("deadline", RuleKind::Deadline(kind));
    rule.zone = zone;
    rule
}

/// So long after each tick.
pub fn deadline_after(after: &str, change: impl FnOnce(&mut Deadline)) -> Rule {
    deadline_with("00:00", Tz::UTC, |kind| {
        kind.by = By::AfterTick(span(after));
        change(kind);
    })
}

/// An objective over the promises of other rules.
pub fn objective(of: &[&str], window: &str, target: f64) -> Rule {
    let of = of.iter().map(|name| (*name).into()).collect();
    let window = span(window);
    rule(
        "objective",
        RuleKind::Objective(Objective { of, window, target }),
    )
}

pub fn clock(text: &str) -> NaiveTime {
    NaiveTime::parse_from_str(text, "%H:%M").unwrap()
}

pub fn slower(times: Option<(u32, u32)>) -> Rule {
    let mut rule = rule(
        "slower",
        RuleKind::RunRegression(Regression::new(Method::RobustZ)),
    );
    rule.times = times.map(|(needed, of)| Times { needed, of });
    rule
}

#[test]
fn every_kind_has_the_documented_headings() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/engine/rule");
    let not_a_kind = [
        "mod.rs",
        "context.rs",
        "survey.rs",
        "fixture.rs",
        "limit.rs",
        "season.rs",
        "times.rs",
    ];
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if not_a_kind.contains(&name.as_str()) || path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let docs: Vec<&str> = text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect();
        let headings = [
            "//! ## What it tells",
            "//! ## When to use",
            "//! ## Keys",
            "//! ## No data",
            "//! ## Resolve",
        ];
        let found: Vec<&str> = docs
            .iter()
            .copied()
            .filter(|line| line.starts_with("//! ## "))
            .collect();
        assert_eq!(
            found, headings,
            "the module docs of {name} need these headings in this order"
        );
        assert!(
            docs[0].starts_with("//! # "),
            "{name}: the first line names the kind"
        );
        checked += 1;
    }
    assert!(checked >= 8, "only {checked} kinds found in {folder}");
}
