//! # rows
//!
//! ## What it tells
//! A model succeeded, but wrote far fewer or far more rows than it usually does; or it wrote none at all,
//! which it never did before.
//!
//! ## When to use
//! Where the source counts rows (`tardy check` warns when it does not), for models whose size says whether
//! their data is whole. Sizes that follow the day of the week need a wide `min_ratio`, or
//! `times = "2 of 3"`.
//!
//! ## Keys
//! `method` (`robust_z` or `percent`; `changepoint` and `trend` are not built yet), `percent` (0.5),
//! `z` (4), `min_ratio` (1.2), `baseline_runs` (20), `min_runs` (8), `horizon` (`trend` only), and the
//! common `times` and `clear` (0.9). `model` selects the models.
//!
//! * `robust_z`: breach if |z| >= `z` and the count is `min_ratio` times above or below the median, both,
//!   with z on ln(1 + rows), centre the median, scale 1.4826 MAD with a floor.
//! * `percent`: breach if rows > (1 + percent) * median or rows < (1 - percent) * median; from `percent` = 1
//!   on only too many.
//! * Either: 0 rows where every execution of the baseline wrote some.
//!
//! Only successes are judged, each against the `baseline_runs` counts of like runs (same job, job type and
//! trigger class) before it. The judged ones are never in their own baseline.
//!
//! ## No data
//! A count that is missing, or below zero (SQLMesh writes -1 when it does not know), is left out. The
//! counts before the judged one must be usable: at least 8 (and at least `min_runs`), three distinct ones,
//! and not all of them 0 or 1. Otherwise Unknown, "no usable row counts", with the reason: a table that
//! always has the same size, and warehouses that always answer 1, say nothing.
//!
//! ## Resolve
//! The baseline is frozen when the alert opens, so that a new size cannot clear itself by becoming
//! normal. It closes when counts are back within `clear` of the limits (as many as make the breach
//! impossible under `times`).

use super::super::alert::{Evidence, Verdict};
use super::super::baseline::Baseline;
use super::super::history::{ExecutionRecord, ModelHistory, Outcome};
use super::super::notification::Fact;
use super::super::observation::{Name, Run};
use super::super::subject::SubjectKey;
use super::super::time::Timestamp;
use super::Times;
use super::context::{Context, Judgement, MAX_SEARCHED, is_like, resolved};
use super::regression::{Method, Regression};

/// Row counts of a model against their baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// How they are compared.
    pub regression: Regression,
}

/// A success that says how many rows it wrote.
#[derive(Clone, Copy, Debug)]
struct Sample<'a> {
    rows: i64,
    finished_at: Timestamp,
    run: Option<&'a Run>,
}

/// Which counts are usual. On 1 + rows, so that 0 has a logarithm.
#[derive(Clone, Copy, Debug)]
struct Limits {
    low: f64,
    high: f64,
    is_zero_odd: bool,
}

/// Fewer counts than this are no signal.
const MIN_COUNTS: usize = 8;

/// Fewer distinct counts than this are no signal.
const MIN_DISTINCT: usize = 3;

/// Most executions judged in one evaluation: after a long absence the older ones are history.
const MAX_JUDGED: usize = 200;

impl Rows {
    /// What part of the rule this version cannot judge yet, in words.
    pub fn not_built(&self) -> Option<String> {
        let method = match self.regression.method {
            Method::RobustZ | Method::Percent => return None,
            Method::Changepoint => "changepoint",
            Method::Trend => "trend",
        };
        Some(format!("method \"{method}\" on kind \"rows\""))
    }

    /// Judges a model.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let SubjectKey::Model(_, job, model) = ctx.subject else {
            return judgement;
        };
        let Some(history) = ctx.project.model(job, model) else {
            return judgement;
        };
        let opened = ctx.open.iter().find(|alert| alert.is_open());
        let mut frozen = opened.and_then(|alert| alert.frozen);
        let mut kind = opened
            .and_then(|alert| alert.evidence.run_id.as_ref())
            .and_then(|id| ctx.project.run(id));
        for sample in new_samples(ctx, history) {
            judgement.memory.judged_until = judgement.memory.judged_until.max(sample.finished_at);
            // An alert about scheduled runs is not ended by a manual one.
            if frozen.is_some() && !is_alike(kind, sample.run) {
                continue;
            }
            let samples = self.samples_up_to(ctx, history, &sample);
            let verdict = self.verdict(ctx, &samples, frozen);
            match &verdict {
                Verdict::Breach(evidence) => {
                    frozen = frozen.or(evidence.baseline);
                    kind = kind.or(sample.run);
                }
                Verdict::Ok(_) => (frozen, kind) = (None, None),
                Verdict::Unknown(_) => {}
            }
            judgement.find(sample.finished_at, verdict);
        }
        judgement
    }

    /// The samples like `last` that lead up to it, oldest first, and it.
    fn samples_up_to<'a>(
        &self,
        ctx: &Context<'a>,
        history: &'a ModelHistory,
        last: &Sample<'a>,
    ) -> Vec<Sample<'a>> {
        let wanted = self.regression.baseline_runs + times(ctx).of;
        let mut samples: Vec<Sample<'a>> = newest_first(ctx, history)
            .skip_while(|sample| sample.finished_at > last.finished_at)
            .filter(|sample| is_alike(sample.run, last.run))
            .take(wanted as usize)
            .collect();
        samples.reverse();
        samples
    }

    /// Judges the last of `samples`.
    fn verdict(
        &self,
        ctx: &Context<'_>,
        samples: &[Sample<'_>],
        frozen: Option<Baseline>,
    ) -> Verdict {
        let times = times(ctx);
        let window_start = samples.len().saturating_sub(times.of as usize);
        let (before, window) = samples.split_at(window_start);
        let base_start = before
            .len()
            .saturating_sub(self.regression.baseline_runs as usize);
        let baseline = match frozen {
            Some(frozen) => frozen,
            None => match self.baseline(&before[base_start..]) {
                Ok(baseline) => baseline,
                Err(why) => return Verdict::Unknown(format!("no usable row counts ({why})")),
            },
        };
        let limits = self.limits(&baseline);
        let breaching = window.iter().filter(|sample| limits.is_breach(sample.rows));
        let breaching: Vec<_> = breaching.collect();
        if breaching.len() >= times.needed as usize
            && let Some(shown) = breaching.last()
        {
            return Verdict::Breach(self.evidence(ctx, shown, &baseline, limits, breaching.len()));
        }
        let inner = limits.within(ctx.rule.clear, baseline.median);
        let needed = (times.of - times.needed + 1) as usize;
        let newest = samples.iter().rev().take(needed);
        if frozen.is_some() && newest.clone().any(|sample| inner.is_breach(sample.rows)) {
            return Verdict::Unknown("not clearly back yet".into());
        }
        recovery(ctx, window, &baseline)
    }

    /// What is usual, or why the counts do not say.
    fn baseline(&self, samples: &[Sample<'_>]) -> Result<Baseline, String> {
        let needed = MIN_COUNTS.max(self.regression.min_runs as usize);
        if samples.len() < needed {
            return Err(format!("{} counts, needs {needed}", samples.len()));
        }
        let mut distinct: Vec<i64> = samples.iter().map(|sample| sample.rows).collect();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.last().is_some_and(|largest| *largest <= 1) {
            return Err(format!("all {} are 0 or 1", samples.len()));
        }
        if distinct.len() < MIN_DISTINCT {
            return Err(format!(
                "{} distinct counts, needs {MIN_DISTINCT}",
                distinct.len()
            ));
        }
        Baseline::of(samples.iter().map(|sample| shifted(sample.rows)))
            .ok_or_else(|| "none".to_owned())
    }

    fn limits(&self, baseline: &Baseline) -> Limits {
        let rule = &self.regression;
        let (low, high) = match rule.method {
            Method::Percent => (
                baseline.median * (1.0 - rule.percent),
                baseline.median * (1.0 + rule.percent),
            ),
            Method::RobustZ | Method::Changepoint | Method::Trend => (
                baseline.at_z(-rule.z).min(baseline.median / rule.min_ratio),
                baseline.at_z(rule.z).max(baseline.median * rule.min_ratio),
            ),
        };
        Limits {
            low,
            high,
            is_zero_odd: baseline.min > shifted(0),
        }
    }

    fn evidence(
        &self,
        ctx: &Context<'_>,
        sample: &Sample<'_>,
        baseline: &Baseline,
        limits: Limits,
        breaching: usize,
    ) -> Evidence {
        let usual = baseline.median - 1.0;
        let wrote = counted(sample.rows);
        let what = match sample.rows {
            0 => "No rows",
            rows if shifted(rows) < baseline.median => "Too few rows",
            _ => "Too many rows",
        };
        let more = if sample.rows == 0 || usual < 1.0 {
            String::new()
        } else {
            format!(
                " ({:+.0} %)",
                (shifted(sample.rows) / baseline.median - 1.0) * 100.0
            )
        };
        let headline = format!(
            "{what}: {} wrote {wrote} rows, usual {}{more}",
            ctx.title(),
            rounded(usual)
        );
        let range = format!(
            "{} to {}",
            rounded(baseline.min - 1.0),
            rounded(baseline.max - 1.0)
        );
        let bounds = format!(
            "{} to {} rows",
            rounded((limits.low - 1.0).max(0.0)),
            rounded(limits.high - 1.0)
        );
        let mut facts = vec![
            Fact::new("Observed", format!("{wrote} rows")),
            Fact::new(
                "Usual",
                format!("{}, range {range}, {} runs", rounded(usual), baseline.count),
            ),
            Fact::new("Threshold", bounds),
            Fact::new("Finished", ctx.clock(sample.finished_at)),
        ];
        if self.regression.method == Method::RobustZ {
            let z = baseline.z(shifted(sample.rows));
            let limit = self.regression.z;
            facts.push(Fact::new("Robust z", format!("{z:.1} (limit {limit})")));
        }
        if let Some(times) = ctx.rule.times {
            facts.push(Fact::new(
                "Times",
                format!("{breaching} of the last {} runs", times.of),
            ));
        }
        let run_id: Option<Name> = sample.run.map(|run| run.id.clone());
        Evidence {
            headline,
            facts,
            run_id,
            weight: (shifted(sample.rows) / baseline.median).ln().abs(),
            baseline: Some(*baseline),
            ..Evidence::default()
        }
    }
}

impl Limits {
    fn is_breach(&self, rows: i64) -> bool {
        let x = shifted(rows);
        x < self.low || x > self.high || (self.is_zero_odd && rows == 0)
    }

    /// The narrower ones within which an open alert closes.
    fn within(&self, clear: f64, median: f64) -> Self {
        Self {
            low: (self.low / clear).min(f64::midpoint(self.low, median)),
            high: (self.high * clear).max(f64::midpoint(self.high, median)),
            ..*self
        }
    }
}

/// Whether any execution carries a count that says something: neither missing, nor always 0 or 1.
pub fn has_counts(history: &ModelHistory) -> bool {
    let mut counts = history
        .executions()
        .iter()
        .filter_map(ExecutionRecord::rows);
    counts.any(|rows| rows > 1)
}

/// Samples that are to be judged, oldest first: those since the last look, and on the first look the newest
/// one, the condition that is true already.
fn new_samples<'a>(ctx: &Context<'a>, history: &'a ModelHistory) -> Vec<Sample<'a>> {
    let is_first_look = ctx.memory.judged_until == ctx.memory.watching_since;
    let mut new: Vec<Sample<'a>> = newest_first(ctx, history)
        .enumerate()
        .take_while(|(index, sample)| {
            sample.finished_at > ctx.memory.judged_until || (is_first_look && *index == 0)
        })
        .map(|(_, sample)| sample)
        .take(MAX_JUDGED)
        .collect();
    new.reverse();
    new
}

/// Counted successes of the model, newest first. Executions by start: those of one model follow one another.
fn newest_first<'a>(
    ctx: &Context<'a>,
    history: &'a ModelHistory,
) -> impl Iterator<Item = Sample<'a>> {
    let ctx = *ctx;
    let executions = history.executions().iter();
    executions
        .rev()
        .take(MAX_SEARCHED)
        .filter(|execution| execution.outcome() == Outcome::Success)
        .filter_map(move |execution| {
            let run = ctx.project.run_of(execution);
            Some(Sample {
                rows: execution.rows().filter(|rows| *rows >= 0)?,
                finished_at: execution.finished_at()?,
                run,
            })
            .filter(|_| run.is_none_or(|run| ctx.is_judged(run)))
        })
}

/// May be compared. What is not known to differ may.
fn is_alike(a: Option<&Run>, b: Option<&Run>) -> bool {
    a.zip(b).is_none_or(|(a, b)| is_like(a, b))
}

fn times(ctx: &Context<'_>) -> Times {
    ctx.rule.times.unwrap_or(Times { needed: 1, of: 1 })
}

/// 1 + rows.
#[allow(clippy::cast_precision_loss)] // exact up to 2^53 rows
fn shifted(rows: i64) -> f64 {
    rows as f64 + 1.0
}

#[allow(clippy::cast_possible_truncation)] // saturates
fn rounded(rows: f64) -> String {
    counted(rows.round() as i64)
}

/// `12 400`.
fn counted(rows: i64) -> String {
    let digits = rows.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

fn recovery(ctx: &Context<'_>, window: &[Sample<'_>], baseline: &Baseline) -> Verdict {
    let wrote = counted(window.last().map_or(0, |sample| sample.rows));
    let usual = rounded(baseline.median - 1.0);
    resolved(
        format!(
            "Back to usual: {} wrote {wrote} rows, usual {usual}",
            ctx.title()
        ),
        vec![
            Fact::new("Observed", format!("{wrote} rows")),
            Fact::new("Usual", usual),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::super::RuleKind;
    use super::super::fixture::{Case, at};
    use super::*;
    use crate::engine::time::Span;

    fn rule(method: Method) -> Rows {
        Rows {
            regression: Regression {
                min_delta: Span::zero(),
                ..Regression::new(method)
            },
        }
    }

    /// One execution an hour, the last one at 20:00; -9 is one without a count.
    fn case(method: Method, counts: &[i64]) -> Case {
        let mut case = Case::new(RuleKind::Rows(rule(method))).model("m");
        let first = at("20:00") - Span::hours(1) * i32::try_from(counts.len() - 1).unwrap();
        for (hour, rows) in (0..).zip(counts) {
            let from = first + Span::hours(1) * hour;
            let (id, to) = (from.to_string(), from + Span::minutes(10));
            case = case.run(&id, &format!("{from} -> {to} success"));
            let words = match rows {
                -9 => String::new(),
                rows => format!(" rows {rows}"),
            };
            case = case.execution(&id, "m", &format!("{from} -> {to} success{words}"));
        }
        case
    }

    fn said(method: Method, before: &[i64], last: &[i64]) -> String {
        let counts = [before, last].concat();
        case(method, &counts)
            .judge("23:00")
            .pop()
            .unwrap_or_default()
    }

    const USUAL: [i64; 10] = [
        12_400, 12_100, 12_700, 12_300, 12_500, 12_400, 12_200, 12_600, 12_350, 12_450,
    ];

    #[test]
    fn counts_are_held_against_those_before_on_both_sides() {
        let ok =
            |rows: &str| format!("20:10 ok Back to usual: p1 m wrote {rows} rows, usual 12 400");
        let wrote = |what: &str, rows: &str, more: &str| {
            format!("20:10 breach {what}: p1 m wrote {rows} rows, usual 12 400{more}")
        };
        for (method, last, wanted) in [
            (Method::RobustZ, 12_800, ok("12 800")),
            (Method::RobustZ, 14_000, ok("14 000")),
            (
                Method::RobustZ,
                15_600,
                wrote("Too many rows", "15 600", " (+26 %)"),
            ),
            (Method::RobustZ, 11_000, ok("11 000")),
            (
                Method::RobustZ,
                120,
                wrote("Too few rows", "120", " (-99 %)"),
            ),
            (Method::RobustZ, 0, wrote("No rows", "0", "")),
            (Method::Percent, 18_500, ok("18 500")),
            (
                Method::Percent,
                18_700,
                wrote("Too many rows", "18 700", " (+51 %)"),
            ),
            (Method::Percent, 6_300, ok("6 300")),
            (
                Method::Percent,
                6_100,
                wrote("Too few rows", "6 100", " (-51 %)"),
            ),
        ] {
            assert_eq!(said(method, &USUAL, &[last]), wanted, "{method:?} {last}");
        }
    }

    #[test]
    fn no_rows_are_odd_only_where_there_always_were_some() {
        let with_zero = [0, 3, 5, 0, 2, 4, 0, 1, 6, 2];
        let line = said(Method::Percent, &with_zero, &[0]);
        assert!(
            line.contains("Too few") || line.contains("No rows"),
            "{line}"
        );
        let mut wide = rule(Method::Percent);
        wide.regression.percent = 1.0;
        for (before, is_breach) in [(&with_zero[..], false), (&USUAL[..], true)] {
            let mut case = case(Method::Percent, &[before, &[0]].concat());
            case.rule.kind = RuleKind::Rows(wide.clone());
            let line = case.judge("23:00").pop().unwrap();
            assert_eq!(line.contains("breach No rows"), is_breach, "{line}");
        }
    }

    #[test]
    fn counts_that_say_nothing_are_unknown() {
        let unknown = |why: &str| format!("20:10 unknown no usable row counts ({why})");
        for (before, wanted) in [
            (&[1_i64; 12][..], unknown("all 12 are 0 or 1")),
            (&[0, 1, 0, 1, 0, 1, 0, 1, 1], unknown("all 9 are 0 or 1")),
            (&[50; 12], unknown("1 distinct counts, needs 3")),
            (
                &[50, 51, 50, 51, 50, 51, 50, 51],
                unknown("2 distinct counts, needs 3"),
            ),
            (&USUAL[..7], unknown("7 counts, needs 8")),
            (&[-1; 12], unknown("0 counts, needs 8")),
            (&[-9; 12], unknown("0 counts, needs 8")),
        ] {
            assert_eq!(said(Method::RobustZ, before, &[7]), wanted, "{before:?}");
        }
        // Without a count there is nothing to judge.
        assert_eq!(said(Method::RobustZ, &[-1; 12], &[-1]), "");
        let gaps: Vec<i64> = USUAL.iter().flat_map(|rows| [*rows, -1, -9]).collect();
        let line = said(Method::RobustZ, &gaps, &[120]);
        assert!(line.contains("breach Too few rows"), "{line}");
    }

    #[test]
    fn times_wants_several_of_the_last_runs() {
        for (last, wanted) in [
            (&[120][..], "ok"),
            (&[120, 130], "breach"),
            (&[120, 12_400], "ok"),
        ] {
            let mut case = case(Method::RobustZ, &[&USUAL[..], last].concat());
            case.rule.times = Some(Times { needed: 2, of: 3 });
            let line = case.judge("23:00").pop().unwrap();
            assert_eq!(line.split(' ').nth(1), Some(wanted), "{last:?}: {line}");
        }
    }

    #[test]
    fn a_new_size_stays_a_breach_while_it_is_judged_by_the_old_one() {
        let mut all = USUAL.to_vec();
        all.extend([120; 8]);
        let case = case(Method::RobustZ, &all);
        let said = case.judge("23:00");
        let said = &said[said.len() - 8..];
        assert!(
            said.iter().all(|line| line.contains("breach Too few rows")),
            "{said:?}"
        );
    }

    #[test]
    fn the_score_matches_another_implementation() {
        // Python: x = [math.log1p(v) for v in USUAL]; m = statistics.median(x)
        // s = max(1.4826 * statistics.median([abs(a - m) for a in x]), 0.05); (math.log1p(120) - m) / s
        let samples: Vec<Sample<'_>> = USUAL
            .iter()
            .map(|rows| Sample {
                rows: *rows,
                finished_at: Timestamp::MIN,
                run: None,
            })
            .collect();
        let baseline = rule(Method::RobustZ).baseline(&samples).unwrap();
        assert!(
            (baseline.z(shifted(120)) - Z_OF_120).abs() < 1e-6,
            "{}",
            baseline.z(shifted(120))
        );
    }

    const Z_OF_120: f64 = -92.594_836_958;

    #[test]
    fn an_alert_closes_only_when_counts_are_clearly_back() {
        let samples = |last: i64| {
            [&USUAL[..], &[120, last]]
                .concat()
                .into_iter()
                .map(|rows| Sample {
                    rows,
                    finished_at: Timestamp::MIN,
                    run: None,
                })
        };
        let case = case(Method::Percent, &[1]);
        let rows = rule(Method::Percent);
        let frozen = Baseline::of(USUAL.iter().map(|rows| shifted(*rows)));
        for (last, word) in [
            (120, "breach"),
            // Limits 6 200 and 18 600; within them by a tenth or half the way.
            (6_300, "unknown"),
            (6_800, "unknown"),
            (7_000, "ok"),
            (16_700, "ok"),
            (17_000, "unknown"),
        ] {
            let all: Vec<Sample<'_>> = samples(last).collect();
            let word_of = |verdict: &Verdict| match verdict {
                Verdict::Ok(_) => "ok",
                Verdict::Breach(_) => "breach",
                Verdict::Unknown(_) => "unknown",
            };
            let said = case.with_context("23:00", |ctx| word_of(&rows.verdict(ctx, &all, frozen)));
            assert_eq!(said, word, "{last}");
        }
    }

    #[test]
    fn large_counts_are_written_in_groups() {
        for (rows, text) in [
            (0, "0"),
            (120, "120"),
            (12_400, "12 400"),
            (1_234_567, "1 234 567"),
        ] {
            assert_eq!(counted(rows), text);
        }
    }
}
