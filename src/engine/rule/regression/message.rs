//! What a regression says: how long, against what is usual, since when.

use super::super::super::alert::{Evidence, Verdict};
use super::super::super::baseline::{Baseline, span};
use super::super::super::notification::Fact;
use super::super::super::time::{Span, human_span};
use super::super::context::{Context, resolved};
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
        let threshold = self.threshold(&baseline);
        let (took, usual) = (span(shown.seconds), span(baseline.median));
        let more = (shown.seconds / baseline.median - 1.0) * 100.0;
        let since = ctx.clock(samples[first].finished_at);
        let headline = format!(
            "Slower: {} took {}, usual {} (+{more:.0} %, {slow} of {} runs since {since})",
            ctx.title(),
            human_span(took),
            human_span(usual),
            samples.len() - first,
        );
        let mut facts = vec![
            Fact::new("Observed", human_span(took)),
            Fact::new(
                "Usual",
                format!(
                    "{}, range {} to {}, {}",
                    human_span(usual),
                    human_span(span(baseline.min)),
                    human_span(span(baseline.max)),
                    baseline.basis()
                ),
            ),
            Fact::new("Threshold", human_span(span(threshold))),
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
        Evidence {
            headline,
            facts,
            run_id: shown.run.map(|run| run.id.clone()),
            weight: shown.seconds - baseline.median,
            baseline: Some(baseline),
            ..Evidence::default()
        }
    }
}

pub(super) fn recovery(ctx: &Context<'_>, window: &[Sample<'_>], baseline: &Baseline) -> Verdict {
    let now = window
        .last()
        .map_or(Span::zero(), |sample| span(sample.seconds));
    resolved(
        format!(
            "Back to usual: {} took {}, usual {}",
            ctx.title(),
            human_span(now),
            human_span(span(baseline.median))
        ),
        vec![
            Fact::new("Observed", human_span(now)),
            Fact::new(
                "Usual",
                format!(
                    "{}, {}",
                    human_span(span(baseline.median)),
                    baseline.basis()
                ),
            ),
        ],
    )
}
