//! Cron against an independent implementation, and against itself.

use chrono::{DateTime, Utc};
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
