//! Regressions by daily averages: for projects of which no single runs or model executions can be read.
//!
//! Role: judges the newest complete day of a subject against the days before it, as `percent` does with runs.
//! Guarantees: a day is judged by what was told of it last, and judging it again gives the same answer; days
//! from the one that opened an alert on are in no baseline; what averages cannot tell is Unknown. It says
//! nothing about days without an average: nothing was run then, or it was not told.

use chrono::{Datelike as _, NaiveDate, Weekday};

use super::super::super::alert::{Alert, Evidence, Verdict};
use super::super::super::baseline::{Baseline, seconds, span};
use super::super::super::history::{Average, Days};
use super::super::super::notification::Fact;
use super::super::super::observation::day_end;
use super::super::super::subject::SubjectKey;
use super::super::super::time::{Span, Timestamp, human_span};
use super::super::context::{Context, Judgement, expired, resolved};
use super::super::season::SEASON_SPAN;
use super::super::{Clock, Rule, RuleKind, Times};
use super::{Method, Regression};

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
        let verdict = rule.day_verdict(ctx, days, &sample, frozen);
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

/// What is usual for a day.
#[derive(Clone, Copy, Debug)]
struct Usual {
    baseline: Baseline,
    /// Days of this weekday alone: they take longer than the others.
    weekday: Option<Weekday>,
}

impl Usual {
    fn median(&self) -> String {
        human_span(span(self.baseline.median))
    }

    fn basis(&self) -> String {
        let count = self.baseline.count;
        match self.weekday {
            Some(weekday) => format!("median of the last {count} {}", plural(weekday)),
            None => format!("median of the last {count} days"),
        }
    }
}

/// What days are held against: all before them, or those of the same weekday where these take longer. Weekly
/// work, a long Sunday, is no regression.
struct Expected<'a> {
    plain: Baseline,
    /// Days that are no part of what is judged.
    before: &'a [Sample],
}

impl Expected<'_> {
    fn of(&self, sample: &Sample) -> Usual {
        let weekday = sample.day.weekday();
        let since = sample.ended_at - SEASON_SPAN;
        let like = self.before.iter().rev();
        let like = like.filter(|day| day.day.weekday() == weekday && day.ended_at > since);
        let like = Baseline::of(like.take(WEEKDAYS_MOST).map(|day| day.seconds));
        let is_longer =
            |own: &Baseline| own.count >= WEEKDAYS_NEEDED && own.median > self.plain.median;
        match like.filter(is_longer) {
            Some(baseline) => Usual {
                baseline,
                weekday: Some(weekday),
            },
            None => Usual {
                baseline: self.plain,
                weekday: None,
            },
        }
    }
}

/// Days of a weekday that make what is usual for it.
const WEEKDAYS_NEEDED: u32 = 3;

/// Most of them.
const WEEKDAYS_MOST: usize = 8;

fn plural(weekday: Weekday) -> &'static str {
    match weekday {
        Weekday::Mon => "Mondays",
        Weekday::Tue => "Tuesdays",
        Weekday::Wed => "Wednesdays",
        Weekday::Thu => "Thursdays",
        Weekday::Fri => "Fridays",
        Weekday::Sat => "Saturdays",
        Weekday::Sun => "Sundays",
    }
}

impl Regression {
    fn day_limit(&self, usual: &Usual) -> f64 {
        usual.baseline.median * (1.0 + self.percent)
    }

    /// Judges the day `newest`.
    fn day_verdict(
        &self,
        ctx: &Context<'_>,
        days: &Days,
        newest: &Sample,
        frozen: Option<Frozen>,
    ) -> Verdict {
        let times = ctx.rule.times.unwrap_or(Times { needed: 1, of: 1 });
        let samples: Vec<Sample> = days.range(..=newest.day).map(Sample::new).collect();
        let (before, window) = samples.split_at(samples.len().saturating_sub(times.of as usize));
        let open_since = frozen.map_or(Timestamp::MAX, |frozen| frozen.since);
        let before = &before[..before.partition_point(|sample| sample.ended_at < open_since)];
        let last = before.iter().rev().take(self.baseline_runs as usize);
        let plain = match frozen {
            Some(frozen) => Some(frozen.baseline),
            None => Baseline::of(last.map(|sample| sample.seconds)),
        };
        let Some(plain) = plain.filter(|plain| plain.count >= self.min_runs) else {
            let count = plain.map_or(0, |plain| plain.count);
            return Verdict::Unknown(format!("{count} days, needs {}", self.min_runs));
        };
        let expected = Expected { plain, before };
        let is_slow = |sample: &&Sample| sample.seconds > self.day_limit(&expected.of(sample));
        let slow = window.iter().filter(is_slow).count();
        if slow >= times.needed as usize {
            let shown = window.iter().rev().find(is_slow).unwrap_or(newest);
            return Verdict::Breach(self.day_evidence(ctx, shown, &expected, slow));
        }
        let needed = (times.of - times.needed + 1) as usize;
        let mut last = samples.iter().rev().take(needed);
        let is_back = |sample: &Sample| {
            let usual = expected.of(sample);
            let limit = self.day_limit(&usual);
            let clear_at = limit * ctx.rule.clear;
            sample.seconds <= clear_at.max(f64::midpoint(usual.baseline.median, limit))
        };
        if frozen.is_some() && !last.all(is_back) {
            return Verdict::Unknown("not clearly back yet".into());
        }
        recovery(ctx, newest, &expected.of(newest))
    }

    fn day_evidence(
        &self,
        ctx: &Context<'_>,
        shown: &Sample,
        expected: &Expected<'_>,
        slow: usize,
    ) -> Evidence {
        let usual = expected.of(shown);
        let Baseline {
            median, min, max, ..
        } = usual.baseline;
        let [least, most] = [min, max].map(|bound| human_span(span(bound)));
        let headline = format!(
            "Slower: {} took {} on average on {}, usual {} (+{:.0} %; {})",
            ctx.title(),
            shown.took(),
            shown.on(),
            usual.median(),
            (shown.seconds / median - 1.0) * 100.0,
            usual.basis(),
        );
        let range = format!("range {least} to {most}");
        let mut facts = vec![
            Fact::new("Observed", format!("{} on {}", shown.took(), shown.on())),
            Fact::new(
                "Usual",
                format!(
                    "{}, {range}, {}, of daily averages (UTC)",
                    usual.median(),
                    usual.basis()
                ),
            ),
            Fact::new("Threshold", human_span(span(self.day_limit(&usual)))),
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
            weight: shown.seconds - median,
            baseline: Some(expected.plain),
            ..Evidence::default()
        }
    }
}

fn recovery(ctx: &Context<'_>, newest: &Sample, usual: &Usual) -> Verdict {
    resolved(
        format!(
            "Back to usual: {} took {} on average on {}, usual {}",
            ctx.title(),
            newest.took(),
            newest.on(),
            usual.median(),
        ),
        vec![
            Fact::new("Observed", format!("{} on {}", newest.took(), newest.on())),
            Fact::new("Usual", format!("{}, {}", usual.median(), usual.basis())),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::super::labels::Patterns;
    use super::super::super::fixture::{Case, at};
    use super::*;

    fn kind(method: Method) -> Regression {
        Regression::new(method)
    }

    /// The model `orders` on the days up to 9 March, one after another; looked at on the tenth.
    fn model(method: Method, seconds: &[u64]) -> Case {
        let case = Case::new(RuleKind::ModelRegression(kind(method))).averaged(Some("orders"));
        let days = (0_i64..).zip(seconds.iter().rev());
        days.fold(case, |case, (back, seconds)| {
            case.average(9 - back, Some(24), *seconds)
        })
    }

    fn usual_then(count: usize, last: &[u64]) -> Vec<u64> {
        let usual = std::iter::repeat_n(12, count);
        usual.chain(last.iter().copied()).collect()
    }

    /// What is said first of each finding.
    fn words(case: &Case, now: &str) -> String {
        let said = case.judge(now);
        let words = said.iter().map(|line| line.split(' ').nth(1).unwrap());
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_newest_day_is_held_against_those_before_it() {
        for (name, days, wanted) in [
            ("usual", usual_then(20, &[12]), "ok"),
            ("at the limit", usual_then(20, &[18]), "ok"),
            ("above it", usual_then(20, &[19]), "breach"),
            ("faster", usual_then(20, &[2]), "ok"),
            ("too few", usual_then(7, &[40]), "unknown"),
            ("just enough", usual_then(8, &[40]), "breach"),
            ("an old slow day", usual_then(20, &[40, 12]), "ok"),
        ] {
            let case = model(Method::Percent, &days);
            assert_eq!(words(&case, "04:00"), wanted, "{name}");
        }
    }

    #[test]
    fn the_message_says_day_count_and_basis() {
        let case = model(Method::Percent, &usual_then(25, &[19]));
        assert_eq!(
            case.judge("04:00"),
            [
                "00:00 breach Slower: p1 orders took 19 s on average on 9 Mar (24 runs), usual 12 s (+58 %; median of the last 20 days)"
            ]
        );
        let runs = Case::new(RuleKind::RunRegression(kind(Method::Percent))).averaged(None);
        let runs = (0..12).fold(runs, |case, day| case.average(day - 3, None, 600));
        let runs = runs.average(9, Some(1), 1_200);
        assert_eq!(
            runs.judge("04:00"),
            [
                "00:00 breach Slower: p1 (all jobs) took 20 min on average on 9 Mar (1 run), usual 10 min (+100 %; median of the last 12 days)"
            ]
        );
    }

    #[test]
    fn other_methods_say_what_they_lack() {
        for method in [Method::RobustZ, Method::Changepoint, Method::Trend] {
            let case = model(method, &usual_then(20, &[90]));
            let said = format!("00:00 unknown {NEEDS_RUNS}");
            assert_eq!(case.judge("04:00"), [said], "{method:?}");
        }
        let queue = Regression {
            clock: Clock::Queue,
            ..kind(Method::Percent)
        };
        assert!(unfit(&queue).is_some_and(|why| why.contains("clock")));
    }

    #[test]
    fn while_it_is_open_slow_days_do_not_become_usual() {
        let mut case = model(Method::Percent, &usual_then(20, &[30])).opened("04:00");
        for day in 10..31 {
            case = case.average(day, Some(24), 30);
        }
        let slow = words(&case, "2026-03-31T04:00:00Z");
        assert!(slow.split(' ').all(|word| word == "breach"), "{slow}");
        let near = case.average(31, Some(24), 17);
        assert!(words(&near, "2026-04-01T04:00:00Z").ends_with("unknown"));
        let back = near.average(32, Some(24), 13);
        assert!(words(&back, "2026-04-02T04:00:00Z").ends_with("ok"));
    }

    #[test]
    fn late_rows_change_a_day_and_are_no_news_of_another() {
        let case = model(Method::Percent, &usual_then(20, &[30])).opened("04:00");
        let later = case.average(9, Some(25), 29);
        assert_eq!(words(&later, "05:00"), "breach", "the same instant");
        let ended = later.average(9, Some(40), 13);
        assert_eq!(words(&ended, "06:00"), "ok");
    }

    #[test]
    fn a_weekday_that_is_always_long_is_held_against_its_like() {
        // 8 March is a Sunday.
        let sunday = |day: i64| (day - 8).rem_euclid(7) == 0;
        let days = (0..34).map(|back| 8 - back);
        let case = Case::new(RuleKind::ModelRegression(kind(Method::Percent)));
        let case = days.fold(case.averaged(Some("orders")), |case, day| {
            case.average(day, None, if sunday(day) { 60 } else { 12 })
        });
        assert_eq!(words(&case, "04:00"), "ok", "a Sunday like the others");
        let longer = case.average(8, None, 95);
        assert_eq!(
            longer.judge("04:00"),
            [
                "03-09T00:00 breach Slower: p1 orders took 1 min 35 s on average on 8 Mar, usual 1 min (+58 %; median of the last 4 Sundays)"
            ]
        );
        let monday = longer.average(9, None, 60);
        assert_eq!(words(&monday, "04:00"), "breach", "long for a Monday");
    }

    #[test]
    fn times_wants_several_days() {
        for (last, wanted) in [(&[30, 12, 12][..], "ok"), (&[30, 12, 30], "breach")] {
            let mut case = model(Method::Percent, &usual_then(20, last));
            case.rule.times = Some(Times { needed: 2, of: 3 });
            assert_eq!(words(&case, "04:00"), wanted, "{last:?}");
        }
    }

    #[test]
    fn single_rows_take_the_place_of_averages() {
        let case = model(Method::Percent, &usual_then(20, &[30])).opened("04:00");
        let known = case.executions_known("05:00");
        assert_eq!(words(&known, "05:00"), "expired");
        let closed = known.after("05:00");
        assert!(closed.memory.instants.contains_key(CLOSED));
        let mut unread = model(Method::Percent, &usual_then(20, &[30]));
        unread.memory = closed.memory;
        assert_eq!(words(&unread, "06:00"), "", "after a start it stays closed");
        let next = unread.average(10, Some(24), 30);
        assert_eq!(words(&next, "2026-03-11T04:00:00Z"), "breach");
    }

    #[test]
    fn a_model_that_others_have_outlived_is_closed() {
        let case = model(Method::Percent, &usual_then(20, &[30])).opened("04:00");
        let others = case.average_of("customers", 43, Some(3), 5);
        let said = others.judge("2026-04-15T04:00:00Z");
        assert_eq!(words(&others, "2026-04-15T04:00:00Z"), "breach", "{said:?}");
        let others = others.average_of("customers", 44, Some(3), 5);
        assert_eq!(words(&others, "2026-04-15T04:00:00Z"), "expired");
        assert_eq!(at("00:00"), day_end("2026-03-09".parse().unwrap()));
    }

    #[test]
    fn only_rules_that_ask_for_no_more_judge_them() {
        let rule = |change: &dyn Fn(&mut Rule)| {
            let kind = RuleKind::ModelRegression(kind(Method::Percent));
            let mut rule = Rule::new("rule", kind, "a.toml:1");
            rule.selectors.job_type = Patterns::new(["!janitor"]);
            change(&mut rule);
            may_judge(&rule)
        };
        assert!(rule(&|_| {}));
        assert!(!rule(
            &|rule| rule.selectors.job = Patterns::new(["nightly"])
        ));
        assert!(!rule(
            &|rule| rule.selectors.job = Patterns::new(["!nightly"])
        ));
        assert!(!rule(
            &|rule| rule.selectors.job_type = Patterns::new(["plan"])
        ));
        assert!(!rule(
            &|rule| rule.selectors.triggered_by = Patterns::new(["scheduled"])
        ));
    }
}
