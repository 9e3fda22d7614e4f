//! What a regression says: how long, against what is usual, since when.

use super::super::super::alert::{Evidence, Verdict};
use super::super::super::baseline::{Baseline, span};
use super::super::super::labels::Labels;
use super::super::super::notification::Fact;
use super::super::super::subject::SubjectKey;
use super::super::super::time::{Span, Timestamp, human_span};
use super::super::Clock;
use super::super::context::{Context, resolved};
use super::changed::what_changed;
use super::expected::Expected;
use super::samples::Sample;
use super::{MAX_ROW, Method, Regression};

/// Index of the first slow run of the unbroken row that the last one belongs to; single quick ones inside
/// do not end it.
fn first_slow(samples: &[Sample<'_>], is_slow: impl Fn(&Sample<'_>) -> bool) -> usize {
    let mut first = samples.len() - 1;
    let mut quick = 0;
    let row = samples.iter().enumerate().rev().take(MAX_ROW);
    for (index, sample) in row {
        if is_slow(sample) {
            first = index;
            quick = 0;
        } else {
            quick += 1;
            if quick > 1 {
                break;
            }
        }
    }
    first
}

impl Regression {
    pub(super) fn evidence(
        &self,
        ctx: &Context<'_>,
        samples: &[Sample<'_>],
        expected: &Expected,
        breaching: usize,
    ) -> Evidence {
        let newest = &samples[samples.len() - 1];
        let is_slow = |sample: &Sample<'_>| {
            let baseline = expected.of(sample);
            baseline.is_some_and(|baseline| sample.seconds > self.threshold(&baseline))
        };
        let first = first_slow(samples, is_slow);
        let row = &samples[first..];
        let slow = row.iter().filter(|sample| is_slow(sample)).count();
        let shown = row.iter().rev().find(|sample| is_slow(sample));
        let shown = shown.unwrap_or(newest);
        let Some(baseline) = expected.of(shown) else {
            return Evidence::default();
        };
        let mut facts = self.facts(ctx, shown, &baseline, breaching);
        facts.extend(around(ctx, &samples[..first], &samples[first]));
        Evidence {
            headline: headline(ctx, shown, &baseline, row, slow),
            facts,
            run_id: shown.run.map(|run| run.id.clone()),
            weight: shown.seconds - baseline.median,
            baseline: Some(baseline),
            since: Some(samples[first].created_at),
            labels: self.clock_label(ctx),
            ..Evidence::default()
        }
    }

    /// Which time of the run it is about, where that is not the usual one.
    pub(super) fn clock_label(&self, ctx: &Context<'_>) -> Labels {
        let is_usual = self.clock == Clock::Run || !matches!(ctx.subject, SubjectKey::Job(..));
        if is_usual {
            return Labels::default();
        }
        Labels::default().with("clock", self.clock.as_str())
    }

    fn facts(
        &self,
        ctx: &Context<'_>,
        shown: &Sample<'_>,
        baseline: &Baseline,
        breaching: usize,
    ) -> Vec<Fact> {
        let mut facts = vec![
            Fact::new("Observed", human_span(span(shown.seconds))),
            Fact::new(
                "Usual",
                format!(
                    "{}, range {} to {}, {}",
                    human_span(span(baseline.median)),
                    human_span(span(baseline.min)),
                    human_span(span(baseline.max)),
                    baseline.basis()
                ),
            ),
            Fact::new("Threshold", human_span(span(self.threshold(baseline)))),
        ];
        if self.method == Method::RobustZ {
            facts.push(Fact::new(
                "Robust z",
                format!("{:.1} (limit {})", baseline.z(shown.seconds), self.z),
            ));
        }
        if let Some(times) = ctx.rule.times {
            facts.push(Fact::new(
                "Times",
                format!("{breaching} of the last {} runs", times.of),
            ));
        }
        facts
    }
}

/// `Slower: finance orders took 52 min, usual 31 (+68 %, since run on 12 Mar 04:15 UTC, 3 in a row; last 20:
/// 28-36)`.
fn headline(
    ctx: &Context<'_>,
    shown: &Sample<'_>,
    baseline: &Baseline,
    row: &[Sample<'_>],
    slow: usize,
) -> String {
    let took = human_span(span(shown.seconds));
    let median = human_span(span(baseline.median));
    let usual = beside(&took, &median);
    let more = (shown.seconds / baseline.median - 1.0) * 100.0;
    let count = match (slow, row.len()) {
        (_, 0 | 1) => String::new(),
        (slow, all) if slow == all => format!(", {slow} in a row"),
        (slow, all) => format!(", {slow} of {all}"),
    };
    format!(
        "Slower: {} took {took}, usual {usual} (+{more:.0} %, since run {}{count}; {}: {})",
        ctx.title(),
        run_time(ctx, row[0].created_at),
        basis(baseline),
        range(baseline, &median)
    )
}

/// The last good run, the first slow one, and what changed between them.
pub(super) fn around(
    ctx: &Context<'_>,
    before: &[Sample<'_>],
    first_slow: &Sample<'_>,
) -> Vec<Fact> {
    let last_good = before.last();
    let run = |name: &str, sample: &Sample<'_>| Fact::new(name, run_words(ctx, sample));
    let changed =
        last_good.and_then(|good| what_changed(ctx, good.created_at, first_slow.finished_at));
    let facts = [
        last_good.map(|good| run("Last good run", good)),
        Some(run("First slow run", first_slow)),
        changed,
    ];
    facts.into_iter().flatten().collect()
}

/// `12 Mar 04:15 UTC, 31 min, run r17`.
fn run_words(ctx: &Context<'_>, sample: &Sample<'_>) -> String {
    let (at, took) = (ctx.clock(sample.created_at), span(sample.seconds));
    match sample.run {
        Some(run) => format!("{at}, {}, run {}", human_span(took), run.id),
        None => format!("{at}, {}", human_span(took)),
    }
}

/// `at 04:15 UTC` today, `on 12 Mar 04:15 UTC` before.
pub(super) fn run_time(ctx: &Context<'_>, at: Timestamp) -> String {
    let date = |at: Timestamp| at.in_zone(ctx.rule.zone).date_naive();
    let word = if date(at) == date(ctx.now) {
        "at"
    } else {
        "on"
    };
    format!("{word} {}", ctx.clock(at))
}

/// `last 20`, `last 8 Sundays 04:00`.
fn basis(baseline: &Baseline) -> String {
    match baseline.slot {
        Some(_) => baseline.basis(),
        None => format!("last {}", baseline.count),
    }
}

/// The lowest and the highest, as short as they can be said after the middle: `28-36`, `50 s to 1 min 5 s`.
pub(super) fn range(baseline: &Baseline, median: &str) -> String {
    let (low, high) = (
        human_span(span(baseline.min)),
        human_span(span(baseline.max)),
    );
    if low == high {
        return beside(median, &low).to_owned();
    }
    match (unit(&low), unit(&high)) {
        (Some(a), Some(b)) if a == b => {
            format!("{}-{}", without_unit(&low), beside(median, &high))
        }
        _ => format!("{low} to {high}"),
    }
}

/// A span as it is said right after another one: without its unit where that is the same.
pub(super) fn beside<'a>(said: &str, text: &'a str) -> &'a str {
    match (unit(said), unit(text)) {
        (Some(a), Some(b)) if a == b => without_unit(text),
        _ => text,
    }
}

/// The unit of a span that has one: of `52 min`, not of `1 h 5 min`.
fn unit(text: &str) -> Option<&str> {
    let (_, unit) = text.split_once(' ')?;
    (!unit.contains(' ')).then_some(unit)
}

fn without_unit(text: &str) -> &str {
    text.split(' ').next().unwrap_or(text)
}

pub(super) fn recovery(ctx: &Context<'_>, window: &[Sample<'_>], baseline: &Baseline) -> Verdict {
    let now = window
        .last()
        .map_or(Span::zero(), |sample| span(sample.seconds));
    let (now, usual) = (human_span(now), human_span(span(baseline.median)));
    resolved(
        format!(
            "Back to usual: {} took {now}, usual {}",
            ctx.title(),
            beside(&now, &usual)
        ),
        vec![
            Fact::new("Observed", now.clone()),
            Fact::new("Usual", format!("{usual}, {}", baseline.basis())),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(took: f64, runs: &[f64]) -> String {
        let baseline = Baseline::of(runs.iter().copied()).unwrap();
        let (took, median) = (human_span(span(took)), human_span(span(baseline.median)));
        let usual = beside(&took, &median);
        format!(
            "{took}, usual {usual}; {}: {}",
            basis(&baseline),
            range(&baseline, &median)
        )
    }

    #[test]
    fn a_unit_that_is_shared_is_said_once() {
        for (took, runs, wanted) in [
            (
                3_120.0,
                [1_680.0, 1_860.0, 2_160.0],
                "52 min, usual 31; last 3: 28-36",
            ),
            (52.0, [28.0, 31.0, 36.0], "52 s, usual 31; last 3: 28-36"),
            (0.9, [0.3, 0.4, 0.5], "900 ms, usual 400; last 3: 300-500"),
            (
                3_900.0,
                [1_680.0, 1_860.0, 2_160.0],
                "1 h 5 min, usual 31 min; last 3: 28-36",
            ),
            (
                80.0,
                [28.0, 31.0, 36.0],
                "1 min 20 s, usual 31 s; last 3: 28-36",
            ),
            (
                300.0,
                [50.0, 60.0, 65.0],
                "5 min, usual 1; last 3: 50 s to 1 min 5 s",
            ),
            (
                2_400.0,
                [66.0, 66.0, 66.0],
                "40 min, usual 1 min 6 s; last 3: 1 min 6 s",
            ),
            (
                10_800.0,
                [3_600.0, 7_200.0, 7_200.0],
                "3 h, usual 2; last 3: 1-2",
            ),
            (
                10_800.0,
                [5_400.0, 1_800.0, 3_000.0],
                "3 h, usual 50 min; last 3: 30 min to 1 h 30 min",
            ),
            (
                1_200.0,
                [600.0, 600.0, 600.0],
                "20 min, usual 10; last 3: 10",
            ),
        ] {
            assert_eq!(said(took, &runs), wanted);
        }
    }
}
