//! Method `changepoint`: the level has shifted, since which run, and how sure that is.
//!
//! Each kind of like runs has a detector of its own ([`super::super::super::detect`]), kept in the rule's
//! memory; every run is taken in once, in the order in which runs ended. A run that comes in late, after
//! runs that ended later were judged, is left out. The first look takes in the history there is.

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::super::super::alert::{Alert, Evidence, Verdict};
use super::super::super::baseline::{Baseline, seconds, span};
use super::super::super::detect::{BASE_RUNS, Detector, Direction, Shift};
use super::super::super::notification::Fact;
use super::super::super::observation::{Name, Run};
use super::super::super::time::{Timestamp, human_span};
use super::super::Clock;
use super::super::context::{Context, Judgement, is_scheduled};
use super::message::{around, beside, range, recovery, run_time};
use super::samples::{Sample, is_alike};
use super::{Accepted, Condition, Regression, run_by_id};

/// What is remembered of like runs. Stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// Their job type, and whether the schedule started them; `None`: not known.
    like: Option<(Name, bool)>,
    /// Which time of the run was taken in.
    clock: Clock,
    /// The zone whose hours and weekdays were read.
    zone: Tz,
    detector: Detector,
    /// Runs that ended up to here were taken in.
    taken_until: Timestamp,
    crept: Option<Crept>,
    slower: Option<Slower>,
}

/// A level that is held in mind: the one before rises that were too small to tell, or the usual one after an
/// alert ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Crept {
    /// As a logarithm, less what hour and weekday explain.
    from: f64,
    /// What was usual then.
    baseline: Baseline,
    /// Runs since then.
    runs: usize,
}

/// A level that is told as slower. Levels are logarithms, less what hour and weekday explain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Slower {
    /// When the first slow run was created.
    since: Timestamp,
    /// When the run ended that made it known.
    begun_at: Timestamp,
    /// Runs at the slow level so far, and those of them beyond the middle between it and the usual one.
    runs: u32,
    beyond: u32,
    usual: f64,
    now: f64,
    /// What hour and weekday explained of the run that made it known: by it the level is held against limits in
    /// seconds.
    explained: f64,
    /// The level that people were told, and how often it has risen since the beginning.
    told: f64,
    rises: u32,
    /// Runs since the level last changed.
    settled: u32,
    /// How much likelier the newest runs are at the usual level than at a slow one, as a logarithm; nought again
    /// whenever they are not.
    back: f64,
    /// What was usual.
    baseline: Baseline,
    strength: f64,
    threshold: f64,
    confidence: f64,
    around: Vec<Fact>,
}

/// Kinds of like runs that are watched; of one job they are few.
const MAX_WATCHED: usize = 4;

/// Runs at a level that say it is back, where no second shift does.
const SETTLED_RUNS: u32 = 50;

/// Runs at a level that crept up, before it is held against the one before.
const CREPT_RUNS: usize = 10;

/// So much likelier at the usual level, as a logarithm, have the newest runs to be for the level to be back; and
/// most that one run says: three runs at least.
const BACK_LIKELIHOOD: f64 = 8.0;
const RUN_LIKELIHOOD: f64 = 3.0;

/// What was usual before a shift; its range leaves out one in twenty at either end.
fn usual_of(shift: &Shift) -> Option<Baseline> {
    let baseline = Baseline::of(shift.base.iter().copied())?;
    let (min, max) = shift.range();
    Some(Baseline {
        min,
        max,
        ..baseline
    })
}

/// Local wall clock, in seconds.
fn wall(at: Timestamp, zone: Tz) -> i64 {
    at.in_zone(zone).naive_local().and_utc().timestamp()
}

impl Slower {
    /// Counts a run at the slow level, or one that is not any more; `edge` is the least level that is slow.
    fn count(&mut self, log: f64, edge: f64) {
        self.runs += 1;
        self.beyond += u32::from(log > f64::midpoint(self.usual, self.now));
        self.settled += 1;
        // Of all slow levels, the nearest: a level that fell half way is not back. Spread is what was usual.
        let spread = self.baseline.log_scale;
        let (slow, usual) = ((log - edge) / spread, (log - self.usual) / spread);
        let likelihood = 0.5 * (slow * slow - usual * usual);
        let likelihood = likelihood.clamp(-RUN_LIKELIHOOD, RUN_LIKELIHOOD);
        self.back = (self.back + likelihood).max(0.0);
    }
}

impl Watched {
    fn new(like: Option<(Name, bool)>, clock: Clock, zone: Tz) -> Self {
        Self {
            like,
            clock,
            zone,
            detector: Detector::new(),
            taken_until: Timestamp::MIN,
            crept: None,
            slower: None,
        }
    }

    fn is_about(&self, run: Option<&Run>) -> bool {
        self.like.as_ref().zip(run).is_none_or(|(like, run)| {
            *like.0 == *run.job_type && like.1 == is_scheduled(&run.triggered_by)
        })
    }

    /// Both are about the same kind of runs.
    pub fn is_same(&self, other: &Self) -> bool {
        self.like == other.like
    }

    /// A level of these runs was accepted.
    pub fn accept(&mut self, accepted: &Accepted) {
        let is_it = self
            .like
            .as_ref()
            .zip(accepted.like.as_ref())
            .is_none_or(|(like, known)| *like.0 == *known.0 && like.1 == is_scheduled(&known.1));
        if is_it {
            self.adopt();
        }
    }

    /// The slow level is accepted, or told no more: it is the usual one.
    fn adopt(&mut self) {
        self.slower = None;
        self.crept = None;
    }

    /// The alert about a slow level has ended otherwise, for a pause or another kind of runs: the level is told
    /// again only by a run that is slow.
    fn forget_unless_slow(&mut self, sample: &Sample<'_>) {
        let explained = self.detector.explained(wall(sample.created_at, self.zone));
        let log = sample.seconds.ln() - explained;
        let is_quick = |slower: &Slower| log <= f64::midpoint(slower.usual, slower.now);
        if self.slower.as_ref().is_some_and(is_quick) {
            self.adopt();
        }
    }

    /// Takes in a run, and follows what it says of the level.
    fn take(&mut self, rule: &Regression, clear: f64, sample: &Sample<'_>) {
        let wall = wall(sample.created_at, self.zone);
        self.taken_until = self.taken_until.max(sample.finished_at);
        let shift = self.detector.push(wall, sample.seconds);
        let explained = self.detector.explained(wall);
        if let Some(crept) = &mut self.crept {
            crept.runs += 1;
        }
        self.crept = self.crept.filter(|crept| crept.runs <= BASE_RUNS);
        match &mut self.slower {
            None => self.look_for_slower(rule, shift, explained, sample),
            Some(slower) => {
                let usual = (slower.usual + slower.explained).exp();
                let edge = rule.slow_from(usual).ln() - slower.explained;
                slower.count(sample.seconds.ln() - explained, edge);
                self.follow(rule, clear, shift);
            }
        }
    }

    fn look_for_slower(
        &mut self,
        rule: &Regression,
        shift: Option<Shift>,
        explained: f64,
        sample: &Sample<'_>,
    ) {
        let Some(shift) = shift else {
            self.look_back(rule, explained, sample);
            return;
        };
        if shift.direction == Direction::Down {
            self.crept = None;
            return;
        }
        let usual = usual_of(&shift).map(|baseline| (shift.levels.0, baseline));
        let held = self.crept.map(|crept| (crept.from, crept.baseline));
        let Some((from, baseline)) = held.or(usual) else {
            return;
        };
        if rule.is_slower(from, shift.levels.1, explained) {
            let counts = (shift.runs, shift.beyond);
            self.begin((from, shift.levels.1), counts, baseline, explained, sample);
            if let Some(slower) = &mut self.slower {
                (slower.strength, slower.threshold) = (shift.strength, shift.threshold);
                slower.confidence = shift.confidence();
            }
        } else {
            self.crept = Some(Crept {
                from,
                baseline,
                runs: shift.runs,
            });
        }
    }

    /// Small rises may add up, and an alert may have ended too soon: runs are held against the level that is
    /// held in mind.
    fn look_back(&mut self, rule: &Regression, explained: f64, sample: &Sample<'_>) {
        let Some(crept) = self.crept.filter(|crept| crept.runs >= CREPT_RUNS) else {
            return;
        };
        let runs = crept.runs;
        let level = self.detector.level(runs.min(SETTLED_RUNS as usize));
        if let Some(now) = level.filter(|now| rule.is_slower(crept.from, *now, explained)) {
            let levels = (crept.from, now);
            self.begin(levels, (runs, runs), crept.baseline, explained, sample);
        }
    }

    fn begin(
        &mut self,
        (usual, now): (f64, f64),
        (runs, beyond): (usize, usize),
        baseline: Baseline,
        explained: f64,
        sample: &Sample<'_>,
    ) {
        self.slower = Some(Slower {
            since: sample.created_at,
            begun_at: sample.finished_at,
            runs: u32::try_from(runs).unwrap_or(u32::MAX),
            beyond: u32::try_from(beyond).unwrap_or(u32::MAX),
            usual,
            now,
            explained,
            told: now,
            rises: 0,
            settled: 0,
            back: 0.0,
            baseline: Baseline {
                is_moved: false,
                ..baseline.moved((usual + explained).exp() / baseline.median)
            },
            strength: 0.0,
            threshold: 0.0,
            confidence: 0.0,
            around: Vec::new(),
        });
    }

    /// Follows a slow level: it rises, falls, or is back.
    fn follow(&mut self, rule: &Regression, clear: f64, shift: Option<Shift>) {
        let Some(slower) = &mut self.slower else {
            return;
        };
        let settled = (slower.settled >= SETTLED_RUNS)
            .then(|| self.detector.level(SETTLED_RUNS as usize))
            .flatten();
        if shift.is_some() {
            slower.settled = 0;
        }
        let moved = shift.map(|shift| shift.levels.1).or(settled);
        let is_level_back =
            moved.is_some_and(|now| rule.is_back(slower.usual, now, slower.explained, clear));
        slower.now = moved.unwrap_or(slower.now);
        if slower.now >= slower.told + rule.min_ratio.ln() {
            slower.told = slower.now;
            slower.rises += 1;
        }
        if is_level_back || slower.back >= BACK_LIKELIHOOD {
            let (from, baseline) = (slower.usual, slower.baseline);
            self.slower = None;
            self.crept = Some(Crept {
                from,
                baseline,
                runs: 0,
            });
        }
    }
}

impl Regression {
    /// Judges a job or a model by its level.
    pub(super) fn judge_changepoint(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let opened = ctx.open.iter().find(|alert| alert.is_open());
        let mut kind = opened.and_then(|alert| run_by_id(ctx, alert.evidence.run_id.as_ref()));
        let mut is_open = opened.is_some();
        for sample in &self.new_samples(*ctx) {
            let judged_until = &mut judgement.memory.judged_until;
            *judged_until = (*judged_until).max(sample.finished_at);
            let is_held = is_open && is_alike(kind, sample.run);
            let mut watched = self.watched(ctx, &judgement, sample, is_held);
            if sample.finished_at <= watched.taken_until {
                continue;
            }
            let before = watched.slower.clone();
            watched.take(self, ctx.rule.clear, sample);
            self.date(ctx, &mut watched, before.is_some(), sample);
            if !is_open && before.is_some() {
                watched.forget_unless_slow(sample);
            }
            let held = opened.filter(|_| is_open && is_alike(kind, sample.run));
            let verdict = self.of_level(ctx, &watched, (before.as_ref(), held), sample);
            judgement.memory.keep_watched(watched, MAX_WATCHED);
            // An alert about scheduled runs is not ended, nor taken over, by manual ones.
            if is_open && !is_alike(kind, sample.run) {
                continue;
            }
            match &verdict {
                Verdict::Breach(_) => (is_open, kind) = (true, kind.or(sample.run)),
                Verdict::Ok(_) => (is_open, kind) = (false, None),
                Verdict::Unknown(_) => {}
            }
            judgement.find(sample.finished_at, verdict);
        }
        judgement
    }

    /// What is remembered of runs like `sample`; at the first look, what their history says.
    fn watched(
        &self,
        ctx: &Context<'_>,
        judgement: &Judgement,
        sample: &Sample<'_>,
        is_held: bool,
    ) -> Watched {
        let is_it = |watched: &&Watched| {
            watched.clock == self.clock
                && watched.zone == ctx.schedule_zone
                && watched.is_about(sample.run)
                && watched.detector.seen() > 0
        };
        let known = judgement.memory.watched.iter().find(is_it).cloned();
        known.unwrap_or_else(|| self.learned(ctx, sample, is_held))
    }

    /// A detector that has seen the history before a run. What became slower longer ago than
    /// `baseline_runs` runs is usual by now, unless an alert is open about it.
    fn learned(&self, ctx: &Context<'_>, sample: &Sample<'_>, is_held: bool) -> Watched {
        let like = sample
            .run
            .map(|run| (run.job_type.clone(), is_scheduled(&run.triggered_by)));
        let mut watched = Watched::new(like, self.clock, ctx.schedule_zone);
        let samples = self.samples_up_to(*ctx, sample);
        for (index, earlier) in samples.iter().enumerate() {
            if earlier.finished_at >= sample.finished_at {
                break;
            }
            let was_slower = watched.slower.is_some();
            watched.take(self, ctx.rule.clear, earlier);
            if watched.slower.is_some() && !was_slower {
                date_within(ctx, &mut watched, &samples[..=index]);
            }
        }
        let is_old = watched
            .slower
            .as_ref()
            .is_some_and(|slower| slower.runs > self.baseline_runs);
        let accepted = ctx.memory.accepted.as_ref();
        let is_accepted = watched
            .slower
            .as_ref()
            .zip(accepted)
            .is_some_and(|(slower, known)| {
                known.at >= slower.begun_at && known.is_about(sample.run)
            });
        if (is_old && !is_held) || is_accepted {
            watched.adopt();
        }
        watched
    }

    /// Finds the first slow run of a level that has just begun, and what is around it.
    fn date(&self, ctx: &Context<'_>, watched: &mut Watched, was_slower: bool, last: &Sample<'_>) {
        if watched.slower.is_some() && !was_slower {
            let samples = self.samples_up_to(*ctx, last);
            date_within(ctx, watched, &samples);
        }
    }

    fn of_level(
        &self,
        ctx: &Context<'_>,
        watched: &Watched,
        (before, held): (Option<&Slower>, Option<&Alert>),
        sample: &Sample<'_>,
    ) -> Verdict {
        let seen = watched.detector.seen();
        let wall = wall(sample.created_at, watched.zone);
        match (&watched.slower, before, held.and_then(|alert| alert.frozen)) {
            _ if seen < u64::from(self.min_runs) => {
                Verdict::Unknown(format!("{seen} runs, needs {}", self.min_runs))
            }
            (Some(slower), _, _) => {
                let explained = watched.detector.explained(wall);
                let labels = self.clock_label(ctx);
                Verdict::Breach(Evidence {
                    labels,
                    ..level_evidence(ctx, slower, explained, sample)
                })
            }
            (None, Some(before), _) => recovery(ctx, &[*sample], &before.baseline),
            // Learned anew while an alert is open, as after a change of the method: not known to be back.
            (None, None, Some(frozen)) if sample.seconds > self.clear_at(ctx, &frozen) => {
                Verdict::Unknown("not clearly back yet".into())
            }
            (None, None, Some(frozen)) => recovery(ctx, &[*sample], &frozen),
            (None, None, None) => {
                let level = watched.detector.level(watched.detector.segment_runs());
                let usual = (level.unwrap_or_default() + watched.detector.explained(wall)).exp();
                match Baseline::of([usual]) {
                    Some(baseline) => recovery(ctx, &[*sample], &baseline),
                    None => Verdict::Unknown("no durations yet".into()),
                }
            }
        }
    }

    /// The numbers by which a level is told as slower; `None` with another method, or when none is.
    pub(super) fn level_conditions(
        &self,
        ctx: &Context<'_>,
        run: Option<&Run>,
    ) -> Option<Vec<Condition>> {
        let is_it = |watched: &&Watched| watched.clock == self.clock && watched.is_about(run);
        let watched = ctx.memory.watched.iter().find(is_it)?;
        let slower = watched.slower.as_ref()?;
        let ratio = (slower.now - slower.usual).exp();
        let more = slower.baseline.median * (ratio - 1.0);
        let condition = |key: &str, value: f64, limit: f64| Condition {
            key: key.to_owned(),
            value,
            limit,
            is_seconds: key == "min_delta",
            is_met: value >= limit,
        };
        let mut conditions = vec![
            condition("min_ratio", ratio, self.min_ratio),
            condition("min_delta", more, seconds(self.min_delta)),
        ];
        if slower.threshold > 0.0 {
            let likelihood = condition("log likelihood ratio", slower.strength, slower.threshold);
            conditions.insert(0, likelihood);
        }
        Some(conditions)
    }

    /// A level is so far above another that it is told.
    fn is_slower(&self, usual: f64, now: f64, explained: f64) -> bool {
        let (usual, now) = ((usual + explained).exp(), (now + explained).exp());
        now >= self.slow_from(usual)
    }

    /// A level is back: under `clear` of the threshold, but not nearer to what is usual than half way.
    fn is_back(&self, usual: f64, now: f64, explained: f64, clear: f64) -> bool {
        let (usual, now) = ((usual + explained).exp(), (now + explained).exp());
        let threshold = self.slow_from(usual);
        now <= (threshold * clear).max(f64::midpoint(usual, threshold))
    }

    /// From this level on, in seconds, a job with a usual one is slower.
    pub(super) fn slow_from(&self, usual: f64) -> f64 {
        (usual * self.min_ratio).max(usual + seconds(self.min_delta))
    }
}

/// What a slow level says, as of a run.
fn level_evidence(
    ctx: &Context<'_>,
    slower: &Slower,
    explained: f64,
    sample: &Sample<'_>,
) -> Evidence {
    let ratio = (slower.now - slower.usual).exp();
    let usual = (slower.usual + explained).exp();
    let takes = human_span(span(usual * ratio));
    let usual_text = human_span(span(usual));
    // The range is told for the hour of this run, too.
    let told = slower.baseline.moved(usual / slower.baseline.median);
    let headline = format!(
        "Slower: {} takes {takes}, usual {} (+{:.0} %, since run {}, {} of {}; {} before: {})",
        ctx.title(),
        beside(&takes, &usual_text),
        (ratio - 1.0) * 100.0,
        run_time(ctx, slower.since),
        slower.beyond,
        slower.runs,
        told.count,
        range(&told, &usual_text),
    );
    let mut facts = vec![
        Fact::new("Observed", human_span(span(sample.seconds))),
        Fact::new(
            "Usual",
            format!(
                "{usual_text}; nine of ten of {} runs before: {} to {}",
                told.count,
                human_span(span(told.min)),
                human_span(span(told.max)),
            ),
        ),
    ];
    if slower.threshold > 0.0 {
        facts.push(Fact::new(
            "Confidence",
            format!(
                "{:.2} % (log likelihood ratio {:.1}, needs {:.0})",
                (slower.confidence * 100.0).min(99.99),
                slower.strength,
                slower.threshold
            ),
        ));
    }
    facts.extend(slower.around.iter().cloned());
    Evidence {
        headline,
        facts,
        run_id: sample.run.map(|run| run.id.clone()),
        weight: usual * (ratio - 1.0),
        baseline: Some(slower.baseline),
        since: Some(slower.since),
        change_key: (slower.rises > 0).then(|| slower.rises.to_string()),
        ..Evidence::default()
    }
}

/// Finds the first slow run among runs of which the last one made it known, and what is around it.
fn date_within(ctx: &Context<'_>, watched: &mut Watched, samples: &[Sample<'_>]) {
    let Some(slower) = &mut watched.slower else {
        return;
    };
    let runs = usize::try_from(slower.runs).unwrap_or(usize::MAX);
    let first = samples.len().saturating_sub(runs);
    if let Some(sample) = samples.get(first) {
        slower.since = sample.created_at;
        slower.around = around(ctx, &samples[..first], sample);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::RuleKind;
    use super::super::super::fixture::{Case, at};
    use super::super::Method;
    use super::*;
    use crate::engine::time::Span;

    fn rule() -> Regression {
        Regression::new(Method::Changepoint)
    }

    /// A few percent around 1, the same each time.
    fn noise(n: i64) -> f64 {
        #[allow(clippy::cast_precision_loss)]
        let share = (n * 7_919 % 101) as f64 / 101.0 - 0.5;
        (0.2 * share).exp()
    }

    /// Feeds hourly runs of 10 min times each factor, and says after how many of each stretch a level began,
    /// rose or ended.
    fn story(stretches: &[(i64, f64)]) -> Vec<String> {
        let (rule, mut watched) = (rule(), Watched::new(None, Clock::Run, Tz::UTC));
        let mut n = 0;
        let mut said = Vec::new();
        for (stretch, (count, factor)) in stretches.iter().enumerate() {
            for run in 1..=*count {
                let ended = at("00:00") + Span::hours(1) * i32::try_from(n).unwrap();
                let sample = Sample {
                    seconds: 600.0 * factor * noise(n),
                    created_at: ended,
                    finished_at: ended,
                    run: None,
                };
                let before = watched.slower.as_ref().map(|slower| slower.rises);
                watched.take(&rule, 0.9, &sample);
                let after = watched.slower.as_ref().map(|slower| slower.rises);
                let word = match (before, after) {
                    (None, Some(_)) => "slower",
                    (Some(_), None) => "back",
                    (Some(before), Some(after)) if before != after => "rose",
                    _ => "",
                };
                if !word.is_empty() {
                    said.push(format!("{word} {stretch}:{run}"));
                }
                n += 1;
            }
        }
        said
    }

    #[test]
    fn levels_begin_rise_and_end() {
        for (name, stretches, wanted) in [
            ("nothing", &[(300, 1.0)][..], &[][..]),
            (
                "twice as slow, for good",
                &[(60, 1.0), (900, 2.0)],
                &["slower 1:3"],
            ),
            (
                "and back",
                &[(60, 1.0), (200, 2.0), (60, 1.0)],
                &["slower 1:3", "back 2:3"],
            ),
            (
                "and worse, and better, and back",
                &[(60, 1.0), (100, 1.5), (100, 3.0), (100, 1.5), (60, 1.0)],
                &["slower 1:3", "rose 2:3", "back 4:3"],
            ),
            (
                "too little, twice",
                &[(100, 1.0), (60, 1.15), (60, 1.32)],
                &["slower 2:5"],
            ),
            ("too little", &[(100, 1.0), (600, 1.15)], &[]),
            (
                "three slow runs and back",
                &[(60, 1.0), (3, 3.0), (60, 1.0)],
                &["slower 1:3", "back 2:5"],
            ),
            (
                "two slow runs",
                &[(60, 1.0), (2, 3.0), (60, 1.0), (1, 5.0), (60, 1.0)],
                &[],
            ),
            (
                "quicker is the new usual",
                &[(60, 1.0), (60, 0.5), (60, 1.0)],
                &["slower 2:3"],
            ),
        ] {
            assert_eq!(story(stretches), wanted, "{name}");
        }
    }

    #[test]
    fn a_level_that_grows_without_a_step_is_told_again() {
        let grown = (0..60).map(|n| (5, 1.6 * 1.01_f64.powi(n)));
        let stretches: Vec<_> = [(60, 1.0), (20, 1.6)].into_iter().chain(grown).collect();
        let said = story(&stretches);
        assert_eq!(said[0], "slower 1:3");
        let rises = said.iter().filter(|line| line.starts_with("rose")).count();
        assert_eq!((rises, said.len()), (3, 4), "{said:?}");
    }

    #[test]
    fn a_noisy_level_that_crept_up_does_not_come_and_go() {
        let said = story(&[(100, 1.0), (60, 1.15), (900, 1.4)]);
        assert_eq!(said.len(), 1, "{said:?}");
    }

    fn case(before: i64, slow: &[i64]) -> Case {
        let mut case = Case::new(RuleKind::RunRegression(rule()));
        let start = at("00:30");
        let past = (0..before).map(|n| {
            (
                start - Span::hours(1) * i32::try_from(before - n).unwrap(),
                10,
            )
        });
        let now = (0..)
            .zip(slow)
            .map(|(n, took)| (start + Span::hours(1) * n, *took));
        for (from, took) in past.chain(now).collect::<Vec<_>>() {
            let to = from + Span::minutes(took);
            case = case.run(&from.to_string(), &format!("{from} -> {to} success"));
        }
        case
    }

    #[test]
    fn the_message_stands_alone() {
        let said = case(24, &[20, 20, 20]).judge("23:00");
        assert_eq!(
            said.last().unwrap(),
            "02:50 breach Slower: p1 job takes 20 min, usual 10 (+100 %, since run at 00:30 UTC, 3 of 3; \
             24 before: 10)"
        );
    }

    #[test]
    fn what_is_slow_already_is_told_unless_it_has_become_usual() {
        let words = |case: Case| {
            let said = case.judge("2026-03-12T23:00:00Z");
            let word = |line: &String| line.split(' ').nth(1).unwrap_or_default().to_owned();
            said.iter().map(word).collect::<Vec<_>>()
        };
        let watched_late = |slow: usize| {
            let mut case = case(40, &vec![20; slow]);
            let now = at("2026-03-12T12:00:00Z");
            (case.memory.watching_since, case.memory.judged_until) = (now, now);
            case
        };
        assert_eq!(words(watched_late(6)), ["breach"]);
        assert_eq!(words(watched_late(30)), ["ok"]);
        assert_eq!(words(case(3, &[10, 10])), ["unknown", "unknown"]);
    }

    #[test]
    fn runs_by_hand_have_a_level_of_their_own() {
        let mut case = case(24, &[]);
        for hour in 1..9 {
            case = case.run_by(
                &format!("m{hour}"),
                "alice",
                &format!("0{hour}:35 -> 0{hour}:55 success"),
            );
        }
        assert!(
            case.judge("23:00")
                .iter()
                .all(|line| !line.contains("breach"))
        );
    }

    #[test]
    fn an_accepted_level_is_usual_and_the_next_on_top_is_found() {
        let (rule, mut watched) = (rule(), Watched::new(None, Clock::Run, Tz::UTC));
        let push = |watched: &mut Watched, n: i64, factor: f64| {
            let ended = at("00:00") + Span::hours(1) * i32::try_from(n).unwrap();
            let sample = Sample {
                seconds: 600.0 * factor * noise(n),
                created_at: ended,
                finished_at: ended,
                run: None,
            };
            watched.take(&rule, 0.9, &sample);
        };
        (0..60).for_each(|n| push(&mut watched, n, 1.0));
        (60..66).for_each(|n| push(&mut watched, n, 2.0));
        assert!(watched.slower.is_some());
        watched.adopt();
        (66..69).for_each(|n| push(&mut watched, n, 2.0));
        assert!(watched.slower.is_none());
        (69..73).for_each(|n| push(&mut watched, n, 4.0));
        let slower = watched.slower.unwrap();
        assert!(((slower.now - slower.usual).exp() - 2.0).abs() < 0.2);
    }
}
