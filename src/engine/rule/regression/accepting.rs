//! The level that a person has accepted: what is usual from then on.
//!
//! No run from before the first slow one is in a baseline any more. Until there are enough runs since then,
//! what was usual is moved to the accepted level, so that the next slowdown on top of it is found at once.

use serde::{Deserialize, Serialize};

use super::super::super::acting::Act;
use super::super::super::alert::Alert;
use super::super::super::baseline::{Baseline, Slot};
use super::super::super::observation::{Name, Run};
use super::super::super::time::{Span, Timestamp};
use super::super::context::{Context, is_scheduled};
use super::super::season::{SEASON_WEEKS, Season};
use super::expected::{Expected, Frozen, plain, points};
use super::samples::{Sample, is_alike};
use super::{Method, Regression, Times, run_by_id};

/// A level that a person has accepted as normal. Stored with what the rule remembers of the subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: Name,
    /// Why, in their words.
    pub comment: Option<String>,
    /// The alert that was accepted, by its short id.
    pub alert: String,
    /// When the first slow run ended: no run before it is in a baseline any more.
    pub since: Timestamp,
    /// The accepted level: the median of the slow runs since then.
    pub level_seconds: f64,
    /// What was usual until then.
    pub before: Baseline,
    /// Only runs of this tick of the week were slow.
    #[serde(default)]
    pub slot: Option<Slot>,
    /// Job type of the runs it is about, and what started them; `None`: not known.
    #[serde(default)]
    pub like: Option<(Name, Name)>,
}

/// So long after the acceptance, runs since then alone say whether the job has a season.
const OLD_SEASON: Span = Span::weeks(SEASON_WEEKS.num_weeks() + 2);

impl Accepted {
    /// How much slower than before.
    pub fn ratio(&self) -> f64 {
        self.level_seconds / self.before.median
    }

    /// What was usual before, at the accepted level.
    pub fn moved(&self) -> Baseline {
        self.before.moved(self.ratio())
    }

    /// It is about runs like this one. What is not known to differ may be.
    pub fn is_about(&self, run: Option<&Run>) -> bool {
        let both = self.like.as_ref().zip(run);
        both.is_none_or(|((job_type, triggered_by), run)| {
            *job_type == run.job_type
                && is_scheduled(triggered_by) == is_scheduled(&run.triggered_by)
        })
    }

    /// Takes up an earlier acceptance at another tick of the week: then it is not about one tick alone.
    fn joined(mut self, earlier: Option<&Self>) -> Self {
        let earlier = earlier.filter(|known| {
            known.like == self.like && known.slot.is_some() && known.slot != self.slot
        });
        if let Some(earlier) = earlier.filter(|_| self.slot.is_some()) {
            self.since = self.since.min(earlier.since);
            self.slot = None;
        }
        self
    }
}

impl Regression {
    /// The level of the slow runs that an open alert is about; `None` when none of them is known.
    pub fn level(&self, ctx: &Context<'_>, alert: &Alert, act: &Act) -> Option<Accepted> {
        let told = run_by_id(ctx, alert.evidence.run_id.as_ref());
        let mut newest = self.newest_first(*ctx, None);
        let newest = newest.find(|sample| is_alike(sample.run, told))?;
        let samples = self.samples_up_to(*ctx, &newest);
        let level_since = alert.evidence.since;
        let level_since = level_since.filter(|_| self.method == Method::Changepoint);
        let frozen = alert.frozen.map(|baseline| Frozen {
            baseline,
            since: level_since.unwrap_or(alert.began_at),
        });
        let expected = self.expected(ctx, &samples, frozen);
        let slow = match level_since {
            Some(since) => self.at_level(ctx, told, &samples, &expected, since),
            None => self.slow_since(ctx, &samples, &expected, alert.began_at),
        };
        let since = slow.first()?.0.finished_at;
        let newest_slow = &slow[slow.len().saturating_sub(self.baseline_runs as usize)..];
        let ratios = newest_slow
            .iter()
            .map(|(sample, usual)| sample.seconds / usual.median);
        let ratio = Baseline::of(ratios)?.median;
        let before = alert.frozen.or(expected.of(&slow[0].0))?;
        let is_one_slot = slow.iter().all(|(_, usual)| usual.slot == before.slot);
        let accepted = Accepted {
            at: act.at,
            by: act.by.clone(),
            comment: act.comment.clone(),
            alert: alert.id(),
            since,
            level_seconds: before.median * ratio,
            slot: before.slot.filter(|_| is_one_slot),
            before,
            like: told.map(|run| (run.job_type.clone(), run.triggered_by.clone())),
        };
        Some(accepted.joined(ctx.memory.accepted.as_ref()))
    }

    /// The slow runs of an alert with what was usual for each: from the first of those that made it begin
    /// on. All runs since then, when none is above the threshold.
    fn slow_since<'a>(
        &self,
        ctx: &Context<'_>,
        samples: &[Sample<'a>],
        expected: &Expected,
        began_at: Timestamp,
    ) -> Vec<(Sample<'a>, Baseline)> {
        let began = samples.partition_point(|sample| sample.finished_at < began_at);
        let times = ctx.rule.times.unwrap_or(Times { needed: 1, of: 1 });
        let first = (began + 1).saturating_sub(times.of as usize);
        let with_usual = |sample: &Sample<'a>| Some((*sample, expected.of(sample)?));
        let is_slow =
            |(sample, usual): &(Sample<'a>, Baseline)| sample.seconds > self.threshold(usual);
        let counted = samples.iter().skip(first).filter_map(with_usual);
        let slow: Vec<_> = counted.filter(is_slow).collect();
        if slow.is_empty() {
            return samples.iter().skip(began).filter_map(with_usual).collect();
        }
        slow
    }

    /// The runs of the present level of an alert, with what was usual for each, of those created `since` its first
    /// slow run: a level may have risen since then. All of them, when the present level is not known.
    fn at_level<'a>(
        &self,
        ctx: &Context<'_>,
        told: Option<&Run>,
        samples: &[Sample<'a>],
        expected: &Expected,
        since: Timestamp,
    ) -> Vec<(Sample<'a>, Baseline)> {
        let with_usual = |sample: &Sample<'a>| Some((*sample, expected.of(sample)?));
        let slow = samples.iter().filter(|sample| sample.created_at >= since);
        let mut slow: Vec<_> = slow.filter_map(with_usual).collect();
        let conditions = self.level_conditions(ctx, told).unwrap_or_default();
        let now = conditions.iter().find(|known| known.key == "min_ratio");
        if let Some(now) = now {
            let is_at_it = |(sample, usual): &(Sample<'a>, Baseline)| {
                let distance = (sample.seconds / usual.median / now.value).ln().abs();
                distance < self.min_ratio.ln().max(2.0 * usual.log_scale)
            };
            let is_at_it: Vec<bool> = slow.iter().map(is_at_it).collect();
            slow.drain(..last_stretch(&is_at_it));
        }
        slow
    }

    /// What is expected while there are too few runs since a level was accepted: what was usual before, moved
    /// to that level.
    pub(super) fn bridge(
        &self,
        ctx: &Context<'_>,
        accepted: &Accepted,
        (old, new): (&[&Sample<'_>], &[&Sample<'_>]),
        expected: &mut Expected,
    ) {
        let baseline_runs = self.baseline_runs as usize;
        let covered = new.first().zip(new.last());
        let is_covered = covered
            .is_some_and(|(first, last)| last.created_at.since(first.created_at) >= OLD_SEASON);
        if expected.season.is_none() && !is_covered {
            let season = Season::of(&points(old), ctx.schedule_zone, baseline_runs);
            expected.season = season.map(|season| season.moved(accepted.ratio(), accepted.slot));
        }
        if new.len() < self.min_runs as usize {
            let moved = accepted.moved();
            expected.plain = Some(match moved.slot {
                None => moved,
                Some(_) => plain(old, baseline_runs).map_or(
                    Baseline {
                        slot: None,
                        ..moved
                    },
                    |usual| usual.moved(accepted.slot.map_or(accepted.ratio(), |_| 1.0)),
                ),
            });
        }
    }
}

/// Where the last stretch begins of which most are: the one with the most of them beyond the others. The whole, if
/// there is none.
fn last_stretch(are: &[bool]) -> usize {
    let (mut best, mut begin, mut sum) = (0, 0, 0);
    for (index, is) in are.iter().enumerate().rev() {
        sum += if *is { 1 } else { -1 };
        if sum > best {
            (best, begin) = (sum, index);
        }
    }
    begin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stretch_has_most_of_them() {
        for (runs, wanted) in [
            ("", 0),
            ("....", 0),
            ("xxxx", 0),
            ("....xxx", 4),
            ("..x..xxx.xx", 5),
            ("...xxx..", 3),
            (".x......xxx", 8),
        ] {
            let are: Vec<bool> = runs.chars().map(|run| run == 'x').collect();
            assert_eq!(last_stretch(&are), wanted, "{runs}");
        }
    }
}
