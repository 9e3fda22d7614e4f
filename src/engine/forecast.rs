//! The probability of missing a deadline, from what like runs have done. Empirical: no distribution is
//! assumed.

use super::time::{Span, Timestamp};

/// Fewer past durations than this say nothing.
pub const MIN_RUNS: usize = 8;

/// For a running run: the share of past durations longer than `elapsed` that also exceed the time left.
/// A run longer than all past ones misses for certain if no time is left for it, and is given the longest
/// overrun seen otherwise: the answer is then 1. `None` with fewer than [`MIN_RUNS`] durations.
pub fn miss_when_running(durations: &[Span], elapsed: Span, left: Span) -> Option<f64> {
    if durations.len() < MIN_RUNS {
        return None;
    }
    let longer: Vec<&Span> = durations
        .iter()
        .filter(|duration| **duration > elapsed)
        .collect();
    if longer.is_empty() {
        return Some(1.0);
    }
    let missing = longer
        .iter()
        .filter(|duration| ***duration > elapsed + left)
        .count();
    Some(share(missing, longer.len()))
}

/// For a run that has not started: start delay convolved with duration. `tick` is when it should start;
/// delays shorter than what has already passed are ruled out. `None` with fewer than [`MIN_RUNS`]
/// durations.
pub fn miss_when_not_started(
    delays: &[Span],
    durations: &[Span],
    tick: Timestamp,
    now: Timestamp,
    by: Timestamp,
) -> Option<f64> {
    if durations.len() < MIN_RUNS {
        return None;
    }
    let waited = now.since(tick);
    let mut possible: Vec<Span> = delays
        .iter()
        .copied()
        .filter(|delay| *delay >= waited)
        .collect();
    if possible.is_empty() {
        // Later than ever: the best that can still happen is that it starts now.
        possible.push(waited);
    }
    let mut missing = 0;
    for delay in &possible {
        missing += durations
            .iter()
            .filter(|duration| tick + *delay + **duration > by)
            .count();
    }
    Some(share(missing, possible.len() * durations.len()))
}

#[allow(clippy::cast_precision_loss)]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(list: &[i64]) -> Vec<Span> {
        list.iter().map(|m| Span::minutes(*m)).collect()
    }

    #[test]
    fn elapsed_time_rules_out_short_runs() {
        let past = minutes(&[20, 22, 24, 26, 28, 30, 32, 60]);
        let ask =
            |elapsed, left| miss_when_running(&past, Span::minutes(elapsed), Span::minutes(left));
        assert_eq!(ask(0, 65), Some(0.0));
        assert_eq!(ask(0, 31), Some(0.25));
        assert_eq!(
            ask(31, 10),
            Some(0.5),
            "of 32 and 60, one is longer than 41"
        );
        assert_eq!(ask(61, 10), Some(1.0));
        assert_eq!(
            miss_when_running(&past[..7], Span::zero(), Span::zero()),
            None
        );
    }

    #[test]
    fn a_late_start_counts() {
        let tick = Timestamp::parse("2026-11-24T04:00:00Z").unwrap();
        let durations = minutes(&[30; 8]);
        let ask = |now_minutes, by_minutes| {
            let by = tick + Span::minutes(by_minutes);
            let now = tick + Span::minutes(now_minutes);
            miss_when_not_started(&minutes(&[0, 0, 0, 10]), &durations, tick, now, by)
        };
        assert_eq!(ask(0, 35), Some(0.25));
        assert_eq!(
            ask(5, 35),
            Some(1.0),
            "only the 10 min delay is still possible"
        );
        assert_eq!(ask(20, 60), Some(0.0));
    }
}
