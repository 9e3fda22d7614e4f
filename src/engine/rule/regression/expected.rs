//! What is expected of a run: the baseline of its tick of the week where ticks differ, else of all like
//! runs; held still while an alert is open.

use super::super::super::baseline::Baseline;
use super::super::super::time::Timestamp;
use super::super::context::Context;
use super::super::season::{Point, Season};
use super::Regression;
use super::samples::Sample;

/// What an open alert holds still.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frozen {
    /// What was usual.
    pub(super) baseline: Baseline,
    /// Runs from then on are in no baseline.
    pub(super) since: Timestamp,
}

/// What is expected of runs: of each tick of the week where they differ, else of all alike.
pub(super) struct Expected {
    frozen: Option<Baseline>,
    pub(super) plain: Option<Baseline>,
    pub(super) season: Option<Season>,
}

/// Samples as seasons see them.
pub(super) fn points(samples: &[&Sample<'_>]) -> Vec<Point> {
    let point = |sample: &&Sample<'_>| Point {
        created_at: sample.created_at,
        seconds: sample.seconds,
    };
    samples.iter().map(point).collect()
}

/// What is usual, from the newest samples whatever their tick.
pub(super) fn plain(samples: &[&Sample<'_>], baseline_runs: usize) -> Option<Baseline> {
    let start = samples.len().saturating_sub(baseline_runs);
    Baseline::of(samples[start..].iter().map(|sample| sample.seconds))
}

impl Expected {
    /// What is usual for a run.
    pub(super) fn of(&self, sample: &Sample<'_>) -> Option<Baseline> {
        let own = self
            .season
            .as_ref()
            .and_then(|season| season.baseline(sample.created_at));
        match (self.frozen, own) {
            (Some(frozen), Some(own)) if frozen.slot.is_some() && frozen.slot != own.slot => {
                Some(own)
            }
            (Some(frozen), _) if frozen.slot.is_none() || own.is_some() => Some(frozen),
            (_, own) => own.or(self.plain),
        }
    }
}

impl Regression {
    /// What is expected, from the samples before those that are judged.
    pub(super) fn expected(
        &self,
        ctx: &Context<'_>,
        before: &[Sample<'_>],
        frozen: Option<Frozen>,
    ) -> Expected {
        // The judged runs may be of any tick: what became slow since is usual for none of them.
        let is_usual =
            |sample: &&Sample<'_>| frozen.is_none_or(|frozen| sample.finished_at < frozen.since);
        let usual = before.iter().filter(is_usual);
        let kind = before.last().and_then(|sample| sample.run);
        let accepted = ctx.memory.accepted.as_ref();
        let accepted = accepted.filter(|accepted| accepted.is_about(kind));
        let is_old = |sample: &&Sample<'_>| {
            accepted.is_some_and(|accepted| sample.finished_at < accepted.since)
        };
        let (old, usual): (Vec<_>, Vec<_>) = usual.partition(is_old);
        let baseline_runs = self.baseline_runs as usize;
        let mut expected = Expected {
            frozen: frozen.map(|frozen| frozen.baseline),
            plain: plain(&usual, baseline_runs),
            season: Season::of(&points(&usual), ctx.schedule_zone, baseline_runs),
        };
        if let Some(accepted) = accepted {
            self.bridge(ctx, accepted, (&old, &usual), &mut expected);
        }
        expected
    }
}
