//! Method `trend`: at the pace at which runs grow, a limit will be reached within the horizon.
//!
//! What is compared is one value a day: the run, or, of jobs that run more often, the middle of the day's runs,
//! counted back from the judged one, so that the hours of the day are in each alike. A verdict is made at the
//! first success of a day; whether values grow is decided by [`super::slope`], what they run into by
//! [`super::limits`].

use super::super::super::alert::{Evidence, Verdict};
use super::super::super::baseline::{seconds, span};
use super::super::super::notification::Fact;
use super::super::super::time::{Span, Timestamp, human_span};
use super::super::context::{Context, Judgement, expired, resolved};
use super::limits::Ceiling;
use super::samples::{Sample, is_alike};
use super::slope::{BELIEVE, DOUBT, Proof, Slope, Value, median};
use super::{Regression, run_by_id};

/// Values over a shorter time say nothing about a pace.
const MIN_SPAN: Span = Span::days(14);

/// Runs looked at: two months of a job that runs every five minutes.
const MAX_RUNS: usize = 20_000;

/// Runs of which the usual gap is made.
const GAP_RUNS: usize = 50;

/// Runs further apart than this are values of their own.
const DAILY: Span = Span::hours(20);

/// Runs further apart than this have no weekdays to compare.
const WEEKLY: Span = Span::hours(84);

/// What was looked at.
struct Series {
    /// Oldest first.
    values: Vec<Value>,
    /// One value is the middle of a day's runs.
    is_by_day: bool,
}

/// Where a series goes.
struct Course {
    slope: Slope,
    /// Values that it was made from.
    count: usize,
    /// Days from the judged run until the middle of the runs is at the limit; not above zero: it is.
    days_left: f64,
}

impl Regression {
    /// Judges the first success of each day.
    pub(super) fn judge_trend(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let is_first_look = ctx.memory.judged_until == ctx.memory.watching_since;
        let opened = ctx.open.iter().find(|alert| alert.is_open());
        let mut open = opened.map(|alert| run_by_id(ctx, alert.evidence.run_id.as_ref()));
        let new = self.new_samples(*ctx);
        for sample in &new {
            judgement.memory.judged_until = judgement.memory.judged_until.max(sample.finished_at);
            let is_other = open.is_some_and(|run| !is_alike(run, sample.run));
            let is_found = is_first_look && new.len() == 1;
            if is_other || !(is_found || self.is_first_of_day(ctx, sample)) {
                continue;
            }
            let verdict = self.trend(ctx, sample, open.is_some());
            match &verdict {
                Verdict::Breach(_) => open = open.or(Some(sample.run)),
                Verdict::Ok(_) => open = None,
                Verdict::Unknown(_) => {}
            }
            judgement.find(sample.finished_at, verdict);
        }
        // There is nothing left that they could reach, whether or not there are runs.
        if open.is_some_and(|run| !self.has_ceiling_for(ctx, run)) {
            let headline = format!("Closed: no rule sets a limit for {} any more", ctx.title());
            judgement.find(ctx.known_until, expired(headline));
        }
        judgement
    }

    fn is_first_of_day(&self, ctx: &Context<'_>, sample: &Sample<'_>) -> bool {
        let date = |at: Timestamp| at.in_zone(ctx.schedule_zone).date_naive();
        let before = self.alike(*ctx, sample).nth(1);
        before.is_none_or(|before| date(before.created_at) != date(sample.created_at))
    }

    fn trend(&self, ctx: &Context<'_>, last: &Sample<'_>, is_open: bool) -> Verdict {
        if !self.has_ceiling(ctx.rules, ctx.project, ctx.subject) {
            return Verdict::Unknown("nothing to reach: no rule sets a fixed limit".into());
        }
        let series = self.series(ctx, last);
        if let Some(missing) = self.missing(&series) {
            return Verdict::Unknown(missing);
        }
        let Some(ceiling) = self.ceiling(ctx, last) else {
            return Verdict::Unknown("nothing to reach: no deadline had three runs yet".into());
        };
        let horizon = seconds(self.horizon) / DAY_SECONDS;
        let course = self.course(&series, &ceiling, &BELIEVE, 1.0);
        if let Some(course) = course.filter(|course| course.days_left <= horizon) {
            return Verdict::Breach(Self::growing(ctx, last, &series, &course, &ceiling));
        }
        if !is_open {
            return resolved(format!("Not growing: {}", ctx.title()), Vec::new());
        }
        let clear = ctx.rule.clear;
        let course = self.course(&series, &ceiling, &DOUBT, clear);
        if course
            .as_ref()
            .is_some_and(|course| course.days_left <= horizon / clear)
        {
            return Verdict::Unknown("not clearly over yet".into());
        }
        over(ctx, &series, course.as_ref(), &ceiling)
    }

    /// What is missing to judge, in words.
    fn missing(&self, series: &Series) -> Option<String> {
        let values = &series.values;
        let unit = series.unit();
        if values.len() < self.min_runs as usize {
            return Some(format!("{} {unit}, needs {}", values.len(), self.min_runs));
        }
        let days = values[values.len() - 1].day - values[0].day;
        let needed = seconds(MIN_SPAN) / DAY_SECONDS;
        (days < needed - 0.5).then(|| format!("{unit} of {days:.0} days, needs {needed:.0}"))
    }

    /// The growth of all values, or of the newer half, whichever reaches the limit first: it may have begun late.
    fn course(
        &self,
        series: &Series,
        ceiling: &Ceiling,
        proof: &Proof,
        share: f64,
    ) -> Option<Course> {
        let all = &series.values[..];
        let half = (self.baseline_runs / 2).max(self.min_runs) as usize;
        let newer = &all[all.len().saturating_sub(half)..];
        let windows = [Some(all), (newer.len() < all.len()).then_some(newer)];
        let courses = windows.into_iter().flatten().filter_map(|values| {
            let slope = Slope::of(values, proof)?;
            let grown = slope.last - slope.first;
            let is_enough = grown >= slope.first * (self.min_ratio - 1.0) * share
                && grown >= seconds(self.min_delta) * share;
            is_enough.then(|| Course {
                slope,
                count: values.len(),
                days_left: (ceiling.seconds - slope.last) / slope.per_day,
            })
        });
        courses.min_by(|a, b| a.days_left.total_cmp(&b.days_left))
    }

    /// One value a day that leads up to `last`.
    fn series(&self, ctx: &Context<'_>, last: &Sample<'_>) -> Series {
        let recent: Vec<Sample<'_>> = self.alike(*ctx, last).take(GAP_RUNS).collect();
        let gap = usual_gap(&recent);
        let wanted = self.baseline_runs as usize;
        let is_by_day = gap < DAILY;
        let mut values = if is_by_day {
            by_day(self.alike(*ctx, last).take(MAX_RUNS), last, gap, wanted)
        } else {
            let runs = self.alike(*ctx, last).take(wanted);
            runs.map(|sample| value(&sample, last, gap)).collect()
        };
        values.reverse();
        Series { values, is_by_day }
    }

    /// Successes like `last`, newest first, and it.
    fn alike<'a>(
        &self,
        ctx: Context<'a>,
        last: &Sample<'a>,
    ) -> impl Iterator<Item = Sample<'a>> + use<'a> {
        let last = *last;
        self.newest_first(ctx, Some(last))
            .filter(move |sample| is_alike(sample.run, last.run))
    }

    fn growing(
        ctx: &Context<'_>,
        last: &Sample<'_>,
        series: &Series,
        course: &Course,
        ceiling: &Ceiling,
    ) -> Evidence {
        let slope = &course.slope;
        let basis = format!("last {} {}", course.count, series.unit());
        let now = human_span(span(slope.last));
        let pace = pace(slope.per_day);
        let reached_at = |level: f64| {
            let days = (ceiling.seconds - level) / slope.per_day;
            (days > 0.0).then(|| last.finished_at + span(days * DAY_SECONDS))
        };
        let date = |at: Timestamp| at.in_zone(ctx.rule.zone).format("%-d %b").to_string();
        let when = match reached_at(slope.last) {
            Some(at) => format!(
                "at this pace {} on about {} ({}; {basis})",
                ceiling.beyond,
                date(at),
                in_days(course.days_left)
            ),
            None => format!("already {} ({basis})", ceiling.beyond),
        };
        let tail = match reached_at(slope.last + slope.p95_above) {
            Some(at) => format!("on about {}", date(at)),
            None => "already".to_owned(),
        };
        Evidence {
            headline: format!("Growing: {} takes {now}, {pace}; {when}", ctx.title()),
            facts: vec![
                Fact::new("Observed", human_span(span(last.seconds))),
                Fact::new(
                    "Usual",
                    format!("{now} now, {} at first", human_span(span(slope.first))),
                ),
                Fact::new("Pace", format!("{pace}, {basis}")),
                Fact::new("Limit", ceiling.origin.clone()),
                Fact::new("P95 over limit", tail),
                Fact::new(
                    "Evidence",
                    format!("{:.1} standard deviations beyond chance", slope.z),
                ),
            ],
            run_id: last.run.map(|run| run.id.clone()),
            weight: slope.last - slope.first,
            ..Evidence::default()
        }
    }
}

const DAY_SECONDS: f64 = 86_400.0;

impl Series {
    fn unit(&self) -> &'static str {
        if self.is_by_day { "days" } else { "runs" }
    }
}

/// The growth is over, or has become slower.
fn over(ctx: &Context<'_>, series: &Series, course: Option<&Course>, ceiling: &Ceiling) -> Verdict {
    let newest = series.values.iter().rev().take(7);
    let mut newest: Vec<f64> = newest.map(|value| value.seconds).collect();
    let now = human_span(span(median(&mut newest)));
    let headline = match course {
        Some(course) => format!(
            "Growing slower: {} takes {now}, {}, {} {} at this pace",
            ctx.title(),
            pace(course.slope.per_day),
            ceiling.beyond,
            in_days(course.days_left)
        ),
        None => format!("Not growing any more: {} takes {now}", ctx.title()),
    };
    let facts = vec![
        Fact::new("Usual", format!("{now}, last 7 {}", series.unit())),
        Fact::new("Limit", ceiling.origin.clone()),
    ];
    resolved(headline, facts)
}

/// `+1.2 min a week`.
fn pace(per_day: f64) -> String {
    let per_week = per_day * 7.0;
    let (figure, unit) = if per_week < 60.0 {
        (per_week, "s")
    } else if per_week < 3_600.0 {
        (per_week / 60.0, "min")
    } else {
        (per_week / 3_600.0, "h")
    };
    if figure < 10.0 {
        format!("+{figure:.1} {unit} a week")
    } else {
        format!("+{figure:.0} {unit} a week")
    }
}

/// `in 24 days`.
fn in_days(days: f64) -> String {
    match days.round() {
        days if days < 1.0 => "within a day".to_owned(),
        days if days < 2.0 => "in 1 day".to_owned(),
        days => format!("in {days:.0} days"),
    }
}

/// The middle of the gaps between runs, newest first.
fn usual_gap(newest_first: &[Sample<'_>]) -> Span {
    let pairs = newest_first.windows(2);
    let mut gaps: Vec<f64> = pairs
        .map(|pair| seconds(pair[0].created_at.since(pair[1].created_at)))
        .collect();
    span(median(&mut gaps))
}

/// Whole days between two runs, to the nearest: a start moves by minutes, or by an hour with the clocks.
#[allow(clippy::cast_possible_truncation)]
fn days_before(sample: &Sample<'_>, last: &Sample<'_>, slack: Span) -> i64 {
    let age = seconds(last.created_at.since(sample.created_at) + slack);
    (age / DAY_SECONDS).floor() as i64
}

fn season(days: i64, gap: Span) -> u8 {
    if gap > WEEKLY {
        return 0;
    }
    u8::try_from(days.rem_euclid(7)).unwrap_or(0)
}

/// A run by itself.
fn value(sample: &Sample<'_>, last: &Sample<'_>, gap: Span) -> Value {
    let days = days_before(sample, last, DAY_HALF);
    Value {
        day: -seconds(last.created_at.since(sample.created_at)) / DAY_SECONDS,
        season: season(days, gap),
        seconds: sample.seconds,
    }
}

const DAY_HALF: Span = Span::hours(12);

/// The middle of each day's runs, newest first; days with less than half of the usual number are left out: their
/// hours are not those of the others.
#[allow(clippy::cast_precision_loss)]
fn by_day<'a>(
    newest_first: impl Iterator<Item = Sample<'a>>,
    last: &Sample<'_>,
    gap: Span,
    wanted: usize,
) -> Vec<Value> {
    let mut days: Vec<(i64, Vec<f64>)> = Vec::new();
    for sample in newest_first {
        let day = days_before(&sample, last, gap / 2);
        let is_full = days.len() == wanted;
        match days.last_mut() {
            Some((known, runs)) if *known == day => runs.push(sample.seconds),
            _ if is_full => break,
            _ => days.push((day, vec![sample.seconds])),
        }
    }
    let mut counts: Vec<f64> = days.iter().map(|(_, runs)| runs.len() as f64).collect();
    let usual = median(&mut counts);
    let whole = |(_, runs): &&mut (i64, Vec<f64>)| runs.len() as f64 * 2.0 >= usual;
    let values = days.iter_mut().filter(whole).map(|(day, runs)| Value {
        day: -(*day as f64),
        season: season(*day, gap),
        seconds: median(runs),
    });
    values.collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::{Case, at};
    use super::super::super::run_duration::RunDuration;
    use super::super::super::{Clock, Limit, Rule, RuleKind, Statistic};
    use super::super::Method;
    use super::*;

    fn kind(limit: Option<Span>) -> Regression {
        Regression {
            limit,
            ..Regression::new(Method::Trend)
        }
    }

    /// Steady noise of 5 %.
    fn noise(n: i64) -> f64 {
        [
            1.0, 1.05, 0.96, 1.02, 0.95, 1.03, 0.98, 1.01, 0.99, 1.04, 0.97,
        ][usize::try_from(n * 5 % 11).unwrap()]
    }

    /// Daily runs at 04:00, the last on 10 March; `seconds` by the number of the day from 0.
    fn case(kind: Regression, days: i64, seconds: impl Fn(i64) -> f64) -> Case {
        let mut case = Case::new(RuleKind::RunRegression(kind));
        for day in 0..days {
            let from = at("04:00") - Span::days(days - 1 - day);
            let to = from + span(seconds(day) * noise(day));
            case = case.run(&format!("r{day}"), &format!("{from} -> {to} success"));
        }
        case
    }

    /// 30 minutes, and 15 s more each day.
    fn growing(day: i64) -> f64 {
        1_800.0 + 15.0 * f64::from(i32::try_from(day).unwrap())
    }

    fn verdict(case: &Case) -> String {
        let said = case.judge("23:00").join("; ");
        said.split_once(' ')
            .map_or(said.clone(), |(_, said)| said.to_owned())
    }

    #[test]
    fn growth_is_told_when_it_reaches_the_limit_within_the_horizon() {
        for (name, case, wanted) in [
            (
                "soon",
                case(kind(Some(Span::minutes(47))), 60, growing),
                "breach Growing: p1 job takes 44 min, +1.8 min a week; at this pace over its limit of 47 min on \
                 about 19 Mar (in 9 days; last 60 runs)",
            ),
            (
                "far",
                case(kind(Some(Span::minutes(60))), 60, growing),
                "ok Not growing: p1 job",
            ),
            (
                "already",
                case(kind(Some(Span::minutes(44))), 60, growing),
                "breach Growing: p1 job takes 44 min, +1.8 min a week; already over its limit of 44 min (last 60 runs)",
            ),
            (
                "flat",
                case(kind(Some(Span::minutes(32))), 60, |_| 1_800.0),
                "ok Not growing: p1 job",
            ),
            (
                "a step",
                case(kind(Some(Span::minutes(47))), 60, |day| {
                    if day < 30 { 1_800.0 } else { 2_640.0 }
                }),
                "ok Not growing: p1 job",
            ),
            (
                "slow Sundays",
                case(kind(Some(Span::minutes(47))), 60, |day| {
                    if day % 7 == 6 { 2_760.0 } else { 1_800.0 }
                }),
                "ok Not growing: p1 job",
            ),
            (
                "single slow runs of late",
                case(kind(Some(Span::minutes(47))), 60, |day| {
                    if day > 40 && day % 4 == 0 {
                        9_000.0
                    } else {
                        1_800.0
                    }
                }),
                "ok Not growing: p1 job",
            ),
            (
                "few",
                case(kind(Some(Span::minutes(47))), 15, growing),
                "unknown 15 runs, needs 20",
            ),
            (
                "no limit",
                case(kind(None), 60, growing),
                "unknown nothing to reach: no rule sets a fixed limit",
            ),
        ] {
            assert_eq!(verdict(&case), wanted, "{name}");
        }
    }

    #[test]
    fn the_lowest_limit_of_other_rules_is_what_counts() {
        let rule = |name: &str, minutes: i64, job: &str, clock| {
            let max = Some(Limit::Fixed(Span::minutes(minutes)));
            let kind = RuleKind::RunDuration(RunDuration {
                clock,
                max,
                min: None,
            });
            let mut rule = Rule::new(name, kind, "");
            rule.selectors.job = super::super::super::super::labels::Patterns::new([job]);
            rule
        };
        let mut case = case(kind(None), 60, growing);
        case.others = vec![
            rule("loose", 60, "*", Clock::Run),
            rule("tight", 47, "job", Clock::Run),
            rule("another job", 20, "jobs", Clock::Run),
            rule("another clock", 20, "*", Clock::Total),
        ];
        assert!(verdict(&case).contains("over its limit of 47 min on about 19 Mar"));
        case.others.swap_remove(1);
        assert_eq!(verdict(&case), "ok Not growing: p1 job");
    }

    #[test]
    fn runs_of_a_day_are_one_value_and_each_day_is_judged_once() {
        let mut rule = kind(Some(Span::minutes(47)));
        rule.min_delta = Span::zero();
        let mut case = Case::new(RuleKind::RunRegression(rule));
        for hour in 0..60 * 24_i64 {
            let day = hour / 24;
            // Nights are slow, and longer than what the runs grow by.
            let seconds = growing(day) / if hour % 24 < 6 { 1.0 } else { 2.0 };
            let from = at("23:00") - Span::hours(60 * 24 - 1 - hour);
            let to = from + span(seconds * noise(hour));
            case = case.run(&format!("r{hour}"), &format!("{from} -> {to} success"));
        }
        let said = case.judge("2026-03-11T01:00:00Z");
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].contains("ok Not growing"),
            "the middle is far below: {said:?}"
        );
    }

    #[test]
    fn it_is_closed_when_no_rule_sets_a_limit_for_its_runs_any_more() {
        let limiting = |max, job_type: &str| {
            let max = Some(max);
            let kind = RuleKind::RunDuration(RunDuration {
                clock: Clock::Run,
                max,
                min: None,
            });
            let mut rule = Rule::new("too long", kind, "");
            rule.selectors.job_type = super::super::super::super::labels::Patterns::new([job_type]);
            rule
        };
        let fixed = Limit::Fixed(Span::minutes(47));
        let factor = Limit::Factor {
            factor: 2.0,
            of: Statistic::P95,
        };
        let mut opened = case(kind(None), 60, growing);
        opened.others = vec![limiting(fixed, "*")];
        let mut opened = opened.opened("05:00");
        let closed = ["23:00 ok Closed: no rule sets a limit for p1 job any more"];
        for (name, others, is_closed) in [
            ("none", Vec::new(), true),
            ("no fixed one", vec![limiting(factor, "*")], true),
            ("one for other runs", vec![limiting(fixed, "plan")], true),
            ("still one", vec![limiting(fixed, "*")], false),
        ] {
            opened.others = others;
            // No run since then.
            let said = opened.judge("23:00");
            let said: Vec<String> = said
                .iter()
                .filter(|line| !line.contains(" unknown "))
                .map(|line| line.replace(" expired ", " ok "))
                .collect();
            assert_eq!(said == closed, is_closed, "{name}: {said:?}");
        }
    }

    #[test]
    fn it_is_over_when_runs_are_quick_again_or_the_limit_is_far() {
        let days = |drop: i64| {
            move |day: i64| {
                if day < 60 - drop {
                    growing(day)
                } else {
                    1_800.0
                }
            }
        };
        for (drop, wanted) in [
            (0, "breach"),
            (2, "breach"),
            (7, "ok Not growing any more: p1 job takes 30 min"),
        ] {
            let opened = case(kind(Some(Span::minutes(47))), 60, growing).opened("05:00");
            let alert = case(kind(Some(Span::minutes(47))), 60, days(drop)).with_open_of(&opened);
            let said = verdict(&alert);
            assert!(said.starts_with(wanted), "{drop}: {said}");
        }
        let opened = case(kind(Some(Span::minutes(47))), 60, growing).opened("05:00");
        for (seconds, wanted) in [
            (2_905, "unknown not clearly over yet"),
            (
                3_120,
                "ok Growing slower: p1 job takes 43 min, +1.8 min a week, over its limit of 52 min in 29 days at this pace",
            ),
        ] {
            let later = case(kind(Some(Span::seconds(seconds))), 60, growing).with_open_of(&opened);
            assert_eq!(verdict(&later), wanted, "{seconds}");
        }
    }
}
