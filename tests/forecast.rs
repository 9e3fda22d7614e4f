//! The deadline's forecast holds what it promises, on runs that it has not seen. The full measure is
//! `cargo bench --bench forecast`.

#[path = "support/forecasting.rs"]
#[allow(dead_code, unreachable_pub)]
mod forecasting;

use forecasting::{Look, Plan, Score, Warnings, same_false_share, simulated, walk};
use tardy::engine::time::Span;

/// The seed is not the benchmark's.
const SEED: u64 = 2026;

/// Looks at the simulator's jobs.
fn looks(plan: Plan<'_>) -> Vec<Look> {
    let mut cases = 0;
    let series = simulated(SEED, 30);
    let walked = series
        .iter()
        .flat_map(|series| walk(series, plan, &mut cases));
    walked.collect()
}

#[test]
fn what_is_foretold_comes_as_often_as_foretold() {
    // One look at each run that is still going on late: looks at one run are no independent witnesses.
    let mut seen = looks(Plan {
        quantiles: &[0.75],
        max_runs: 60,
        every: None,
        left_share: 0.1,
    });
    seen.dedup_by_key(|look| look.case);
    seen.retain(|look| look.is_running);
    assert!(seen.len() > 400, "{}", seen.len());
    // Three standard deviations of a binomial law, and a twentieth for what changes in jobs.
    let wrong = |pick: fn(&Look) -> f64| Score::of(&seen, pick).wrong_bins(3.0, 0.05);
    assert_eq!(wrong(|look| look.forecast), Vec::<String>::new());
    assert_eq!(wrong(|look| look.elapsed), Vec::<String>::new());
    // The measure is sharp enough to tell: without regard to the elapsed time it does not hold.
    assert_ne!(wrong(|look| look.blind), Vec::<String>::new());
}

#[test]
fn it_beats_mean_and_sigma_at_as_many_false_alarms() {
    let looks = looks(Plan {
        quantiles: &[0.5, 0.9, 0.97],
        max_runs: 20,
        every: Some(Span::minutes(1)),
        left_share: 1.0,
    });
    let forecast = Score::of(&looks, |look| look.forecast);
    let elapsed = Score::of(&looks, |look| look.elapsed);
    let counted = Score::of(&looks, |look| look.counted);
    assert!(forecast.skill() > 0.6, "{:.3}", forecast.skill());
    assert!(elapsed.brier() < counted.brier());
    assert!(forecast.brier() < 0.7 * elapsed.brier(), "models tell more");
    let warned = Warnings::of(&looks, |look| look.forecast >= 0.8);
    let k = same_false_share(&looks, warned.false_share());
    let sigmas = Warnings::of(&looks, |look| look.sigmas < k);
    let yes_or_no = Score::of(&looks, |look| f64::from(u8::from(look.sigmas < k)));
    assert!(forecast.brier() < yes_or_no.brier());
    assert!(
        warned.recall() > sigmas.recall() + 0.2,
        "{warned:?} {sigmas:?}"
    );
    assert!(warned.precision() > 0.8, "{:.3}", warned.precision());
}
