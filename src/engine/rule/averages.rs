//! Regressions by daily averages: for projects of which no single runs or model executions can be read.
//!
//! Role: judges the newest complete day of a subject against the days before it, as `percent` does with runs.
//! Guarantees: a day is judged by what was told of it last, and judging it again gives the same answer; days
//! from the one that opened an alert on are in no baseline; what averages cannot tell is Unknown. It says
//! nothing about days without an average: nothing was run then, or it was not told.

use chrono::NaiveDate;

use super::super::alert::{Alert, Evidence, Verdict};
use super::super::baseline::{Baseline, seconds, span};
use super::super::history::{Average, Days};
use super::super::notification::Fact;
use super::super::observation::day_end;
use super::super::subject::SubjectKey;
use super::super::time::{Span, Timestamp, human_span};
use super::context::{Context, Judgement, expired, resolved};
use super::regression::{Method, Regression};
use super::{Clock, Rule, RuleKind, Times};

/// Said of methods that need single runs.
const NEEDS_RUNS: &str = "only daily averages can be read; use method \"percent\"";

/// Without a day for so long, an alert is about nothing that goes on.
const NO_DAY_FOR_LONG: Span = Span::days(35);

/// Where the memory keeps up to when days are closed: they are not judged again.
const CLOSED: &str = "days closed until";

/// The rule may judge daily averages of all jobs together: it is about durations, and does not ask for what
/// they do not tell apart.
pub fn may_judge(rule: &Rule) -> bool {
    let selectors = &rule.selectors;
    regression_of(&rule.kind).is_some()
        && selectors.job.is_any()
        && selectors.triggered_by.is_any()
        && selectors.job_type.is_match("run")
}

/// Why a rule about regressions cannot tell anything from daily averages; `None` when it can, or is about
/// something else.
pub fn blind_spot(rule: &Rule) -> Option<&'static str> {
    unfit(regression_of(&rule.kind)?)
}

fn regression_of(kind: &RuleKind) -> Option<&Regression> {
    match kind {
        RuleKind::RunRegression(regression) | RuleKind::ModelRegression(regression) => {
            Some(regression)
        }
        _ => None,
    }
}

fn unfit(regression: &Regression) -> Option<&'static str> {
    match (regression.method, regression.clock) {
        (Method::Percent, Clock::Run) => None,
        (Method::Percent, Clock::Queue | Clock::Total) => {
            Some("only daily averages can be read; use clock \"run\"")
        }
        (Method::RobustZ | Method::Changepoint | Method::Trend, _) => Some(NEEDS_RUNS),
    }
}

/// A day with its average.
#[derive(Clone, Copy, Debug)]
struct Sample {
    day: NaiveDate,
    ended_at: Timestamp,
    seconds: f64,
    count: Option<u64>,
}

impl Sample {
    fn new((day, average): (&NaiveDate, &Average)) -> Self {
        let millis = i64::try_from(average.millis).unwrap_or(i64::MAX);
        Self {
            day: *day,
            ended_at: day_end(*day),
            seconds: seconds(Span::milliseconds(millis)),
            count: average.count,
        }
    }

    fn took(&self) -> String {
        human_span(span(self.seconds))
    }

    fn on(&self) -> String {
        let day = self.day.format("%-d %b");
        match self.count {
            Some(1) => format!("{day} (1 run)"),
            Some(count) => format!("{day} ({count} runs)"),
            None => day.to_string(),
        }
    }
}

/// What an open alert holds still.
#[derive(Clone, Copy, Debug)]
struct Frozen {
    baseline: Baseline,
    /// Days that ended from then on are in no baseline.
    since: Timestamp,
}

/// Judges the averages of a project's runs or of a model.
pub(super) fn judge(rule: &Regression, ctx: &Context<'_>) -> Judgement {
    let mut judgement = Judgement::start(ctx.memory);
    let Some(days) = ctx.project.averages().of(ctx.subject) else {
        return judgement;
    };
    let Some(newest) = days.last_key_value().map(Sample::new) else {
        return judgement;
    };
    if let Some(ended) = ending(ctx, &newest, &mut judgement) {
        return ended;
    }
    // Nothing else tells that there are no more days.
    if ctx.open.iter().any(Alert::is_open) {
        judgement.wake(day_end(ctx.now.to_utc().date_naive()));
    }
    if let Some(why) = unfit(rule) {
        judgement.find(newest.ended_at, Verdict::Unknown(why.to_owned()));
        return judgement;
    }
    let opened = ctx.open.iter().find(|alert| alert.is_open());
    let mut frozen = opened.and_then(|alert| {
        let (baseline, since) = (alert.frozen?, alert.began_at);
        Some(Frozen { baseline, since })
    });
    for sample in to_judge(ctx, days, &newest) {
        judgement.memory.judged_until = judgement.memory.judged_until.max(sample.ended_at);
        let verdict = verdict(rule, ctx, days, &sample, frozen);
        match &verdict {
            Verdict::Breach(evidence) => {
                let since = sample.ended_at;
                let opened = evidence.baseline.map(|baseline| Frozen { baseline, since });
                frozen = frozen.or(opened);
            }
            Verdict::Ok(_) => frozen = None,
            Verdict::Unknown(_) => {}
        }
        judgement.find(sample.ended_at, verdict);
    }
    judgement
}

/// Days that were completed since the last look, oldest first. The newest one is judged at every look: late
/// rows change its average, and on the first look it is the condition that is true already.
fn to_judge(ctx: &Context<'_>, days: &Days, newest: &Sample) -> Vec<Sample> {
    let samples = days.iter().rev().map(Sample::new);
    let new =
        |sample: &Sample| sample.day == newest.day || sample.ended_at > ctx.memory.judged_until;
    let is_first_look = ctx.memory.judged_until == ctx.memory.watching_since;
    let most = if is_first_look { 1 } else { days.len() };
    let mut found: Vec<Sample> = samples.take_while(new).take(most).collect();
    found.reverse();
    found
}

/// What is open ends when single rows are read instead, or when the others had days for long and it had none.
/// What is closed stays so: the days up to then are not judged again.
fn ending(ctx: &Context<'_>, newest: &Sample, judgement: &mut Judgement) -> Option<Judgement> {
    let averages = ctx.project.averages();
    let (known, told) = match ctx.subject {
        SubjectKey::Model(..) => {
            let known = ctx.project.executions_known_until;
            (known, averages.newest_of_models())
        }
        _ => (ctx.project.coverage, averages.newest_of_runs()),
    };
    let forgotten_at = newest.ended_at + NO_DAY_FOR_LONG;
    let (at, headline) = if known.is_some_and(|known| known >= newest.ended_at) {
        let what = "single runs are read again, and judged instead of daily averages";
        let headline = format!("Closed: {}: {what}", ctx.title());
        (known.unwrap_or(newest.ended_at), headline)
    } else if told.is_some_and(|day| day_end(day) >= forgotten_at) {
        let since = newest.day.format("%-d %b");
        let headline = format!("Closed: {} has no daily average since {since}", ctx.title());
        (forgotten_at, headline)
    } else if judgement.memory.instants.get(CLOSED) >= Some(&newest.ended_at) {
        return Some(judgement.clone());
    } else {
        return None;
    };
    let closed = (CLOSED.into(), newest.ended_at);
    judgement.memory.instants.extend([closed]);
    for alert in ctx.open.iter().filter(|alert| alert.is_open()) {
        judgement.find_occurrence(ctx.occurrence(alert), at, expired(headline.clone()));
    }
    Some(judgement.clone())
}

fn verdict(
    rule: &Regression,
    ctx: &Context<'_>,
    days: &Days,
    newest: &Sample,
    frozen: Option<Frozen>,
) -> Verdict {
    let times = ctx.rule.times.unwrap_or(Times { needed: 1, of: 1 });
    let samples = days.range(..=newest.day).map(Sample::new);
    let samples: Vec<Sample> = samples.collect();
    let (before, window) = samples.split_at(samples.len().saturating_sub(times.of as usize));
    let usual = before
        .iter()
        .filter(|sample| frozen.is_none_or(|frozen| sample.ended_at < frozen.since))
        .map(|sample| sample.seconds)
        .rev()
        .take(rule.baseline_runs as usize);
    let Some(baseline) = frozen
        .map(|frozen| frozen.baseline)
        .or_else(|| Baseline::of(usual))
    else {
        return Verdict::Unknown(format!("no earlier days, needs {}", rule.min_runs));
    };
    if baseline.count < rule.min_runs {
        return Verdict::Unknown(format!("{} days, needs {}", baseline.count, rule.min_runs));
    }
    let threshold = baseline.median * (1.0 + rule.percent);
    let is_slow = |sample: &&Sample| sample.seconds > threshold;
    let slow = window.iter().filter(is_slow).count();
    if slow >= times.needed as usize {
        let shown = window.iter().rev().find(is_slow).unwrap_or(newest);
        return Verdict::Breach(evidence(ctx, shown, &baseline, threshold, slow));
    }
    if frozen.is_some() {
        let clear_at = (threshold * ctx.rule.clear).max(f64::midpoint(baseline.median, threshold));
        let needed = (times.of - times.needed + 1) as usize;
        let mut last = samples.iter().rev().take(needed);
        if !last.all(|sample| sample.seconds <= clear_at) {
            return Verdict::Unknown("not clearly back yet".into());
        }
    }
    recovery(ctx, newest, &baseline)
}

fn median_of(baseline: &Baseline) -> String {
    format!("median of the last {} days", baseline.count)
}

fn evidence(
    ctx: &Context<'_>,
    shown: &Sample,
    baseline: &Baseline,
    threshold: f64,
    slow: usize,
) -> Evidence {
    let usual = human_span(span(baseline.median));
    let more = (shown.seconds / baseline.median - 1.0) * 100.0;
    let headline = format!(
        "Slower: {} took {} on average on {}, usual {usual} (+{more:.0} %; {})",
        ctx.title(),
        shown.took(),
        shown.on(),
        median_of(baseline),
    );
    let range = [baseline.min, baseline.max].map(|bound| human_span(span(bound)));
    let [least, most] = range;
    let mut facts = vec![
        Fact::new("Observed", format!("{} on {}", shown.took(), shown.on())),
        Fact::new(
            "Usual",
            format!("{usual}, range {least} to {most}, {} days", baseline.count),
        ),
        Fact::new("Threshold", human_span(span(threshold))),
        Fact::new(
            "From",
            "daily averages, days in UTC; single runs cannot be read",
        ),
    ];
    if let Some(times) = ctx.rule.times {
        facts.push(Fact::new(
            "Times",
            format!("{slow} of the last {} days", times.of),
        ));
    }
    Evidence {
        headline,
        facts,
        weight: shown.seconds - baseline.median,
        baseline: Some(*baseline),
        ..Evidence::default()
    }
}

fn recovery(ctx: &Context<'_>, newest: &Sample, baseline: &Baseline) -> Verdict {
    let usual = human_span(span(baseline.median));
    resolved(
        format!(
            "Back to usual: {} took {} on average on {}, usual {usual}",
            ctx.title(),
            newest.took(),
            newest.on(),
        ),
        vec![
            Fact::new("Observed", format!("{} on {}", newest.took(), newest.on())),
            Fact::new("Usual", format!("{usual}, {}", median_of(baseline))),
        ],
    )
}
