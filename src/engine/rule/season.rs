//! Seasons: a job whose runs of one tick of the week differ from those of another is compared tick by
//! tick, Sundays with Sundays.
//!
//! A slot is a weekday and time at which runs are created, in the zone of the scheduler. Slots are used
//! only when the data says that they differ; a job that runs alike all week has no season, and more runs
//! to compare with. It does not judge: see [`super::regression`].

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::{Datelike as _, Timelike as _};
use chrono_tz::Tz;

use super::super::baseline::{Baseline, Slot};
use super::super::time::{Span, Timestamp};

/// Runs looked at for a season: five weeks of an hourly job.
pub(super) const SEASON_RUNS: usize = 1_000;

/// How far back they may lie.
pub(super) const SEASON_SPAN: Span = Span::weeks(26);

/// Runs that each slot must have.
const SLOT_RUNS: usize = 5;

/// [`SLOT_RUNS`] runs of one tick of the week span at least this.
pub(super) const SEASON_WEEKS: Span = Span::weeks(4);

/// Of the runs, at most one of so many may lie in slots that have too few: starts that were delayed.
const STRAYS: usize = 10;

/// The spread within slots must be below this share of the spread of all runs together.
const SPREAD_SHARE: f64 = 0.5;

/// Runs of one slot are at most so far apart in the week.
const SLOT_WIDTH: Span = Span::minutes(30);

/// Minutes of a week.
const WEEK: i64 = 7 * 24 * 60;

/// One run, as far as seasons are concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// When it was created.
    pub created_at: Timestamp,
    /// How long it took.
    pub seconds: f64,
}

/// What is usual in each slot.
#[derive(Clone, Debug)]
pub(super) struct Season {
    slots: Vec<(Slot, Baseline)>,
    zone: Tz,
    width: i64,
}

impl Season {
    /// The season that runs show, oldest first; `None` when they show none. Each slot's baseline is made
    /// from its last `baseline_runs`.
    pub(super) fn of(points: &[Point], zone: Tz, baseline_runs: usize) -> Option<Self> {
        let (first, last) = (points.first()?, points.last()?);
        let weeks = last.created_at.since(first.created_at);
        if points.len() < 2 * SLOT_RUNS || weeks < SEASON_WEEKS - SLOT_WIDTH {
            return None;
        }
        let width = width(points);
        let groups = groups(points, zone, width);
        let (kept, strays): (Vec<_>, Vec<_>) = groups
            .into_iter()
            .partition(|(_, group)| group.len() >= SLOT_RUNS);
        let stray: usize = strays.iter().map(|(_, group)| group.len()).sum();
        if kept.len() < 2 || stray * STRAYS > points.len() || !is_seasonal(&kept) {
            return None;
        }
        let baseline = |group: &[f64]| {
            let newest = group[group.len().saturating_sub(baseline_runs)..].iter();
            Baseline::of(newest.copied())
        };
        let slots = kept
            .iter()
            .filter_map(|(slot, group)| {
                let baseline = baseline(group)?;
                let slot = Some(*slot);
                Some((slot?, Baseline { slot, ..baseline }))
            })
            .collect();
        Some(Self { slots, zone, width })
    }

    /// The same at another level: of one slot, or of all.
    #[must_use]
    pub(super) fn moved(mut self, ratio: f64, only: Option<Slot>) -> Self {
        for (slot, baseline) in &mut self.slots {
            if only.is_none_or(|only| only == *slot) {
                *baseline = baseline.moved(ratio);
            }
        }
        self
    }

    /// What is usual for a run created at an instant; `None` when its slot has too few runs.
    pub(super) fn baseline(&self, created_at: Timestamp) -> Option<Baseline> {
        let minute = minute_of_week(created_at, self.zone);
        let near = |slot: &Slot| distance(slot.minute.into(), minute) <= self.width;
        let mut slots = self.slots.iter().filter(|(slot, _)| near(slot));
        slots.next().map(|(_, baseline)| *baseline)
    }
}

/// How far apart runs of one slot may be: a quarter of the usual gap, at most [`SLOT_WIDTH`].
fn width(points: &[Point]) -> i64 {
    let pairs = points.windows(2);
    let mut gaps: Vec<i64> = pairs
        .map(|pair| pair[1].created_at.since(pair[0].created_at).num_minutes())
        .collect();
    gaps.sort_unstable();
    let usual = gaps.get(gaps.len() / 2).copied().unwrap_or(0);
    (usual / 4).min(SLOT_WIDTH.num_minutes())
}

/// Durations by slot, oldest first in each. A slot is named by its most common minute.
fn groups(points: &[Point], zone: Tz, width: i64) -> Vec<(Slot, Vec<f64>)> {
    let mut minutes: Vec<(i64, usize)> = points
        .iter()
        .enumerate()
        .map(|(index, point)| (minute_of_week(point.created_at, zone), index))
        .collect();
    minutes.sort_unstable();
    let mut chains: Vec<Vec<(i64, usize)>> = Vec::new();
    for (minute, index) in minutes {
        match chains.last_mut() {
            Some(chain) if minute - chain[0].0 <= width => chain.push((minute, index)),
            _ => chains.push(vec![(minute, index)]),
        }
    }
    // The week is a ring.
    if chains.len() > 1
        && let (Some(first), Some(last)) = (chains.first(), chains.last())
        && distance(first[0].0, last[0].0) <= width
        && let Some(last) = chains.pop()
    {
        chains[0].extend(last);
    }
    chains
        .into_iter()
        .filter_map(|mut chain| {
            let slot = Slot::new(most_common(&chain)?)?;
            chain.sort_by_key(|(_, index)| *index);
            let seconds = chain.iter().map(|(_, index)| points[*index].seconds);
            Some((slot, seconds.collect()))
        })
        .collect()
}

fn most_common(chain: &[(i64, usize)]) -> Option<i64> {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    for (minute, _) in chain {
        *counts.entry(*minute).or_default() += 1;
    }
    let most = counts
        .into_iter()
        .max_by_key(|(minute, count)| (*count, Reverse(*minute)));
    most.map(|(minute, _)| minute)
}

/// Runs of one slot lie much closer together than all of them do: by the mean distance of logarithms from
/// their median, which a single odd run moves little and a slow Sunday much.
fn is_seasonal(groups: &[(Slot, Vec<f64>)]) -> bool {
    let all: Vec<f64> = groups.iter().flat_map(|(_, group)| group.clone()).collect();
    let total: f64 = deviation(&all);
    let within: f64 = groups.iter().map(|(_, group)| deviation(group)).sum();
    within < SPREAD_SHARE * total
}

/// Sum of the distances of logarithms from their median.
fn deviation(seconds: &[f64]) -> f64 {
    let mut logs: Vec<f64> = seconds.iter().map(|x| x.ln()).collect();
    logs.sort_by(f64::total_cmp);
    let center = logs.get(logs.len() / 2).copied().unwrap_or(0.0);
    logs.iter().map(|x| (x - center).abs()).sum()
}

fn minute_of_week(at: Timestamp, zone: Tz) -> i64 {
    let local = at.in_zone(zone);
    let day = i64::from(local.weekday().num_days_from_monday());
    day * 24 * 60 + i64::from(local.hour() * 60 + local.minute())
}

fn distance(a: i64, b: i64) -> i64 {
    let apart = (a - b).abs();
    apart.min(WEEK - apart)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `weeks` of a daily job at 04:00 UTC from Monday on: minutes by weekday, with a little noise.
    fn points(weeks: i64, minutes: [f64; 7]) -> Vec<Point> {
        let monday = Timestamp::parse("2026-01-05T04:00:00Z").unwrap();
        (0..weeks * 7)
            .map(|day| {
                let noise = [1.0, 1.04, 0.97, 1.02, 0.99][usize::try_from(day * 3 % 5).unwrap()];
                let minutes = minutes[usize::try_from(day % 7).unwrap()];
                Point {
                    created_at: monday + Span::days(day),
                    seconds: minutes * 60.0 * noise,
                }
            })
            .collect()
    }

    fn sunday() -> Timestamp {
        Timestamp::parse("2026-06-07T04:03:00Z").unwrap()
    }

    #[test]
    fn a_season_is_used_only_when_slots_differ_and_have_enough() {
        let (flat, sundays) = ([10.0; 7], [10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 60.0]);
        for (name, points, median) in [
            ("alike all week", points(10, flat), None),
            ("long Sundays", points(10, sundays), Some(60)),
            ("five of each", points(5, sundays), Some(60)),
            ("four of each", points(4, sundays), None),
            ("none", Vec::new(), None),
        ] {
            let season = Season::of(&points, Tz::UTC, 20);
            let found = season.and_then(|season| season.baseline(sunday()));
            #[allow(clippy::cast_possible_truncation)]
            let found = found.map(|baseline| (baseline.median / 60.0).round() as i64);
            assert_eq!(found, median, "{name}");
        }
    }

    #[test]
    fn a_delayed_start_does_not_end_the_season() {
        let mut points = points(6, [10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 60.0]);
        points[8].created_at = points[8].created_at + Span::minutes(50);
        let season = Season::of(&points, Tz::UTC, 20).unwrap();
        assert!(season.baseline(points[8].created_at).is_none(), "a stray");
        let baseline = season.baseline(sunday()).unwrap();
        assert_eq!(
            (baseline.count, baseline.slot.unwrap().name()),
            (6, "Sundays 04:00".into())
        );
    }

    #[test]
    fn the_week_is_a_ring_and_slots_follow_local_time() {
        let zone: Tz = "America/New_York".parse().unwrap();
        // 23:55 or 00:05 in New York around midnight of Sunday, before and after the clocks changed.
        let nights = [
            "2026-02-02T04:55:00Z",
            "2026-02-09T05:05:00Z",
            "2026-03-16T03:55:00Z",
        ];
        let minutes = nights.map(|text| minute_of_week(Timestamp::parse(text).unwrap(), zone));
        assert_eq!(minutes, [WEEK - 5, 5, WEEK - 5]);
        assert_eq!(distance(minutes[0], minutes[1]), 10);
    }
}
