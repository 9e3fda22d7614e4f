//! Cron against an independent implementation, against a walk over the wall clock, and against itself.
//!
//! Where `croner` and Tardy differ, by design, is near changes of the clocks only:
//!
//! * A list or range of hours with one of them in a gap (`0 2,14 * * *`): croner leaves the hour out; Tardy has
//!   a tick at the end of the gap, soft in the scheduler's dialect, because either behaviour is right.
//! * A fixed time in a fold: croner fires once; Tardy has a soft second pass in the scheduler's dialect, and
//!   fires once in its own.
//! * A list or range of hours in a fold: croner fires on both passes; Tardy calls the second one soft, and
//!   leaves it out in its own dialect.
//! * `sun-sun` is the whole week for croner, and Sunday for Tardy.
//!
//! There the walk over every real minute decides: it knows nothing but what the wall clock shows.

use std::collections::BTreeSet;

use chrono::{
    DateTime, Datelike as _, LocalResult, NaiveDateTime, TimeZone as _, Timelike as _, Utc,
};
use chrono_tz::Tz;
use proptest::prelude::*;
use tardy::engine::schedule::{Cron, Dialect, Tick};
use tardy::engine::time::{Span, Timestamp};

const ZONES: [Tz; 8] = [
    Tz::UTC,
    Tz::America__New_York,
    Tz::Europe__Berlin,
    Tz::Australia__Lord_Howe,
    Tz::Asia__Kolkata,
    Tz::America__Sao_Paulo,
    Tz::Africa__Casablanca,
    Tz::Pacific__Chatham,
];

/// One field: a star, a number, a range, a step or a list of them.
fn field(low: u32, high: u32, names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let word = move |value: u32, is_name: bool| {
        let index = (value - low) as usize;
        match names.get(index) {
            Some(name) if is_name => (*name).to_owned(),
            _ => value.to_string(),
        }
    };
    let number = (low..=high, any::<bool>()).prop_map(move |(value, name)| word(value, name));
    let range =
        (low..=high, low..=high, 1u32..9, any::<bool>()).prop_map(move |(a, b, step, name)| {
            // The oracle reads `sun-sun` as the whole week.
            let name = name && a != b;
            let (from, to) = (word(a.min(b), name), word(a.max(b), name));
            if step == 1 {
                format!("{from}-{to}")
            } else {
                format!("{from}-{to}/{step}")
            }
        });
    let item = prop_oneof![number, range];
    prop_oneof![
        3 => Just("*".to_owned()),
        1 => (2u32..=high.max(3)).prop_map(|step| format!("*/{step}")),
        4 => prop::collection::vec(item, 1..3).prop_map(|items| items.join(",")),
    ]
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

fn expression() -> impl Strategy<Value = String> {
    (
        field(0, 59, &[]),
        field(0, 23, &[]),
        field(1, 31, &[]),
        field(1, 12, &MONTHS),
        field(0, 6, &WEEKDAYS),
    )
        .prop_map(|(a, b, c, d, e)| format!("{a} {b} {c} {d} {e}"))
}

/// Instants all over several years, half of them close to the changes of New York's or Berlin's clocks.
fn start() -> impl Strategy<Value = Timestamp> {
    let anywhere = 1_700_000_000_i64..1_900_000_000;
    let changes = [
        "2026-03-08T07:00:00Z",
        "2026-11-01T06:00:00Z",
        "2026-03-29T01:00:00Z",
        "2026-10-25T01:00:00Z",
        "2027-10-02T15:30:00Z",
    ];
    let near = (prop::sample::select(changes.to_vec()), -200_000_i64..20_000)
        .prop_map(|(at, off)| Timestamp::parse(at).unwrap().as_millis() / 1_000 + off);
    prop_oneof![anywhere, near].prop_map(|seconds| Timestamp::from_millis(seconds * 1_000))
}

fn oracle(text: &str, zone: Tz, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let cron = croner::parser::CronParser::new().parse(text).unwrap();
    let from: DateTime<Tz> = after.to_utc().with_timezone(&zone);
    cron.iter_after(from)
        .map(|at| Timestamp::from(at.with_timezone(&Utc)))
        .take_while(|at| *at <= until)
        .take(60)
        .collect()
}

fn ticks(cron: &Cron, zone: Tz, after: Timestamp, until: Timestamp) -> Vec<Tick> {
    cron.ticks(zone, after, until).take(60).collect()
}

fn is_near_change(zone: Tz, at: Timestamp) -> bool {
    use chrono::Offset as _;
    let offset = |at: Timestamp| at.in_zone(zone).offset().fix().local_minus_utc();
    offset(at - Span::hours(26)) != offset(at + Span::hours(26))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    /// Away from changes of the clock every expression has the oracle's ticks; near them those have that
    /// both programs class alike: a fixed time of day, and every hour.
    #[test]
    fn ours_agrees_with_the_oracle(text in expression(), zone in prop::sample::select(ZONES.to_vec()), after in start()) {
        let Ok(cron) = Cron::parse(&text, Dialect::Ours) else { return Ok(()) };
        let until = after + Span::days(800);
        let fields: Vec<&str> = text.split(' ').collect();
        let is_number = |text: &str| text.parse::<u32>().is_ok();
        let is_alike = fields[1] == "*" || (is_number(fields[0]) && is_number(fields[1]));
        let found: Vec<Timestamp> = ticks(&cron, zone, after, until).iter().map(|tick| tick.at).collect();
        let mut wanted = oracle(&text, zone, after, until);
        if is_alike {
            prop_assert_eq!(found, wanted, "{} {}", text, zone);
        } else {
            let end = found.last().copied().unwrap_or(until).min(wanted.last().copied().unwrap_or(until));
            let calm = |at: &Timestamp| *at <= end && !is_near_change(zone, *at);
            wanted.retain(calm);
            let found: Vec<Timestamp> = found.into_iter().filter(calm).collect();
            prop_assert_eq!(found, wanted, "{} {}", text, zone);
        }
    }

    #[test]
    fn the_schedulers_dialect_agrees_with_the_oracle_in_utc(text in expression(), after in start()) {
        let Ok(cron) = Cron::parse(&text, Dialect::Scheduler) else { return Ok(()) };
        let until = after + Span::days(800);
        let found = ticks(&cron, Tz::UTC, after, until);
        prop_assert!(found.iter().all(|tick| !tick.is_soft));
        let found: Vec<Timestamp> = found.iter().map(|tick| tick.at).collect();
        prop_assert_eq!(found, oracle(&text, Tz::UTC, after, until), "{}", text);
    }

    #[test]
    fn ticks_increase_and_can_be_resumed_anywhere(
        text in expression(),
        zone in prop::sample::select(ZONES.to_vec()),
        after in start(),
        is_ours in any::<bool>(),
        offset in 0_i64..200_000_000,
    ) {
        let dialect = if is_ours { Dialect::Ours } else { Dialect::Scheduler };
        let Ok(cron) = Cron::parse(&text, dialect) else { return Ok(()) };
        let all = ticks(&cron, zone, after, after + Span::days(800));
        prop_assert!(all.windows(2).all(|pair| pair[0].at < pair[1].at), "{} {} {:?}", text, zone, all);
        // From any instant in between the next tick is the same.
        let middle = after + Span::milliseconds(offset);
        let next = all.iter().find(|tick| tick.at > middle).copied();
        if let Some(next) = next {
            prop_assert_eq!(cron.next(zone, middle), Some(next), "{} {} {}", text, zone, middle);
            prop_assert_eq!(cron.previous(zone, next.at), Some(next));
        }
    }
}

// --- a walk over the wall clock ------------------------------------------------------------------

/// The numbers of a field, read without any code of Tardy's.
fn field_set(text: &str, low: u32, high: u32, names: &[&str]) -> BTreeSet<u32> {
    let number = |word: &str| match names.iter().position(|name| *name == word) {
        Some(index) => low + u32::try_from(index).unwrap(),
        None => word.parse().unwrap(),
    };
    let mut set = BTreeSet::new();
    for item in text.split(',') {
        let (range, step) = item.split_once('/').unwrap_or((item, "1"));
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (number(from), number(to)),
            None if range == "*" => (low, high),
            None => (number(range), number(range)),
        };
        set.extend((from..=to).step_by(step.parse().unwrap()));
    }
    set
}

struct Walk {
    minutes: BTreeSet<u32>,
    hours: BTreeSet<u32>,
    days: BTreeSet<u32>,
    months: BTreeSet<u32>,
    weekdays: BTreeSet<u32>,
    is_either: bool,
}

impl Walk {
    fn new(text: &str) -> Self {
        let fields: Vec<&str> = text.split(' ').collect();
        let is_star = |field: &str| matches!(field, "*" | "*/1");
        Self {
            minutes: field_set(fields[0], 0, 59, &[]),
            hours: field_set(fields[1], 0, 23, &[]),
            days: field_set(fields[2], 1, 31, &[]),
            months: field_set(fields[3], 1, 12, &MONTHS),
            weekdays: field_set(fields[4], 0, 6, &WEEKDAYS),
            is_either: !is_star(fields[2]) && !is_star(fields[4]),
        }
    }

    fn is_match(&self, local: NaiveDateTime) -> bool {
        let day = self.days.contains(&local.day());
        let weekday = self
            .weekdays
            .contains(&local.weekday().num_days_from_sunday());
        self.minutes.contains(&local.minute())
            && self.hours.contains(&local.hour())
            && self.months.contains(&local.month())
            && if self.is_either {
                day || weekday
            } else {
                day && weekday
            }
    }

    /// Ticks in `(after, until]`, both whole minutes.
    fn ticks(&self, zone: Tz, dialect: Dialect, after: Timestamp, until: Timestamp) -> Vec<Tick> {
        let minute = Span::minutes(1);
        let is_interval = self.hours.len() == 24;
        let is_theirs = dialect == Dialect::Scheduler;
        let wall = |at: Timestamp| at.in_zone(zone).naive_local();
        let mut found = Vec::new();
        let (mut before, mut at) = (wall(after), after + minute);
        while at <= until {
            let local = wall(at);
            let is_skipped = (before + minute < local && !is_interval)
                .then(|| std::iter::successors(Some(before + minute), |t| Some(*t + minute)))
                .is_some_and(|gap| gap.take_while(|t| *t < local).any(|t| self.is_match(t)));
            let is_second = !is_interval
                && matches!(zone.from_local_datetime(&local), LocalResult::Ambiguous(a, b)
                    if Timestamp::from(a.to_utc().max(b.to_utc())) == at);
            match (self.is_match(local), is_second) {
                (true, false) => found.push(Tick { at, is_soft: false }),
                (true, true) if is_theirs => found.push(Tick { at, is_soft: true }),
                _ if is_skipped => found.push(Tick {
                    at,
                    is_soft: is_theirs,
                }),
                _ => {}
            }
            (before, at) = (local, at + minute);
        }
        found
    }
}

const ODD_ZONES: [Tz; 10] = [
    Tz::America__New_York,
    Tz::Europe__Berlin,
    Tz::Australia__Lord_Howe,
    Tz::America__Sao_Paulo,
    Tz::Africa__Casablanca,
    Tz::Pacific__Chatham,
    Tz::Pacific__Apia,
    Tz::America__St_Johns,
    Tz::Asia__Tehran,
    Tz::Africa__Cairo,
];

/// Whole hours at which the clock of a zone has just changed, from 2007 to 2036.
fn changes(zone: Tz) -> Vec<Timestamp> {
    use chrono::Offset as _;
    let offset = |at: Timestamp| at.in_zone(zone).offset().fix().local_minus_utc();
    let first = Timestamp::parse("2007-01-01T00:00:00Z").unwrap();
    let mut days = (0..30 * 365).map(|day| first + Span::days(day));
    let mut found = Vec::new();
    let mut before = days.next().unwrap();
    for day in days {
        if offset(before) != offset(day) {
            found.push(before);
        }
        before = day;
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    /// Through a change of the clocks every tick, and whether it is soft, is what the wall clock shows.
    #[test]
    fn a_walk_over_the_wall_clock_has_the_same_ticks_through_every_change(
        text in expression(),
        zone in prop::sample::select(ODD_ZONES.to_vec()),
        change in any::<prop::sample::Index>(),
        days_before in 0_i64..3,
        is_ours in any::<bool>(),
    ) {
        let dialect = if is_ours { Dialect::Ours } else { Dialect::Scheduler };
        let Ok(cron) = Cron::parse(&text, dialect) else { return Ok(()) };
        let changes = changes(zone);
        let after = changes[change.index(changes.len())] - Span::days(days_before);
        let until = after + Span::days(4);
        let found: Vec<Tick> = cron.ticks(zone, after, until).collect();
        let wanted = Walk::new(&text).ticks(zone, dialect, after, until);
        prop_assert_eq!(&found, &wanted, "{} {} {:?} after {}", text, zone, dialect, after);
        // Back again: each tick is the previous one of itself and of the instant before the next.
        for pair in found.windows(2) {
            prop_assert_eq!(cron.previous(zone, pair[0].at), Some(pair[0]));
            prop_assert_eq!(cron.previous(zone, pair[1].at - Span::milliseconds(1)), Some(pair[0]));
            prop_assert_eq!(cron.next(zone, pair[0].at), Some(pair[1]));
        }
    }

    /// Six fields begin with seconds, in both dialects.
    #[test]
    fn six_fields_agree_with_the_oracle_in_utc(
        seconds in field(0, 59, &[]),
        text in expression(),
        after in start(),
        is_ours in any::<bool>(),
    ) {
        let dialect = if is_ours { Dialect::Ours } else { Dialect::Scheduler };
        let text = format!("{seconds} {text}");
        let Ok(cron) = Cron::parse(&text, dialect) else { return Ok(()) };
        let until = after + Span::days(800);
        let found: Vec<Timestamp> = ticks(&cron, Tz::UTC, after, until).iter().map(|tick| tick.at).collect();
        let parser = croner::parser::CronParser::builder().seconds(croner::parser::Seconds::Required).build();
        let wanted: Vec<Timestamp> = parser
            .parse(&text)
            .unwrap()
            .iter_after(after.to_utc())
            .map(Timestamp::from)
            .take_while(|at| *at <= until)
            .take(60)
            .collect();
        prop_assert_eq!(found, wanted, "{}", text);
    }
}

#[test]
fn where_the_two_differ_by_design() {
    let utc = |text: &str| Timestamp::parse(text).unwrap();
    let zone = Tz::America__New_York;
    for (text, from, croners, tardys) in [
        // The gap: two o'clock is left out, or soft.
        (
            "0 2,14 * * *",
            "2026-03-08T00:00:00Z",
            vec!["2026-03-08T18:00:00Z"],
            vec![
                ("2026-03-08T07:00:00Z", true),
                ("2026-03-08T18:00:00Z", false),
            ],
        ),
        // The fold, a fixed time: once, or a soft second pass.
        (
            "30 1 * * *",
            "2026-11-01T00:00:00Z",
            vec!["2026-11-01T05:30:00Z"],
            vec![
                ("2026-11-01T05:30:00Z", false),
                ("2026-11-01T06:30:00Z", true),
            ],
        ),
    ] {
        let (after, until) = (utc(from), utc(from) + Span::hours(20));
        let croners: Vec<Timestamp> = croners.into_iter().map(utc).collect();
        assert_eq!(oracle(text, zone, after, until), croners, "{text}");
        let tardys: Vec<Tick> = tardys
            .into_iter()
            .map(|(at, is_soft)| Tick {
                at: utc(at),
                is_soft,
            })
            .collect();
        let cron = Cron::parse(text, Dialect::Scheduler).unwrap();
        assert_eq!(ticks(&cron, zone, after, until), tardys, "{text}");
    }
}

/// A measure, not a test: `cargo test --release --test scenarios cron_speed -- --ignored --nocapture`.
#[test]
#[ignore = "measures speed"]
#[allow(clippy::disallowed_methods, clippy::print_stdout)]
fn cron_speed() {
    let from = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
    for (name, text) in [
        ("daily", "30 4 * * *"),
        ("hourly", "5 * * * *"),
        ("every 15 min", "*/15 * * * *"),
        ("weekdays", "0 7 * * 1-5"),
        ("day or weekday", "0 6 13 * 5"),
    ] {
        let cron = Cron::parse(text, Dialect::Scheduler).unwrap();
        let began = std::time::Instant::now();
        let count = cron
            .ticks(Tz::America__New_York, from, from + Span::days(365))
            .count();
        let took = began.elapsed();
        let began = std::time::Instant::now();
        for day in 0..365 {
            assert!(
                cron.previous(Tz::America__New_York, from + Span::days(day))
                    .is_some()
            );
        }
        println!(
            "{name}: {count} ticks of a year in {took:?}, {:?} each; previous {:?} each",
            took / u32::try_from(count.max(1)).unwrap(),
            began.elapsed() / 365
        );
    }
}
