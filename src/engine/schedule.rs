//! Cron expressions and their ticks, by dialect, through daylight saving.
//!
//! The `cron` crate matches fields in zone-less local time; everything else is decided here, because
//! the scheduler's dialect decides it: how many fields, which number is Sunday, what day-of-month and
//! weekday mean together, and what happens in a gap or a fold.
//!
//! * Weekdays: Sunday is 0 or 7. Names (`mon`, `sun`) and ranges over the week's end work.
//! * Day-of-month and weekday both restricted: either is enough, as cron does.
//! * A *wall* schedule names hours; an *interval* schedule fires in every hour. An interval goes on in
//!   real time through a change of the clocks. A wall schedule inside a gap or on the second pass of a
//!   fold is a **soft** tick for the scheduler's dialect (either behaviour is accepted), and fires once
//!   (after the gap, on the first pass) for ours.

use std::str::FromStr as _;

use chrono::{DateTime, NaiveDateTime, Offset as _, Utc};
use chrono_tz::Tz;

use super::calendar;
use super::time::{Span, Timestamp};

/// Whose expression it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A job's schedule, read by the scheduler: five fields, six with leading seconds, descriptors
    /// (`@daily`), an optional `CRON_TZ=Zone ` (or `TZ=`) prefix.
    Scheduler,
    /// A rule's or digest's schedule, read by Tardy: five fields, or six or seven with seconds first.
    Ours,
}

/// One instant at which a schedule is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick {
    /// When.
    pub at: Timestamp,
    /// Inside a gap or on the second pass of a fold: running and not running are both right.
    pub is_soft: bool,
}

/// A checked cron expression.
#[derive(Clone, Debug)]
pub struct Cron {
    text: String,
    /// One schedule, or two whose union it is (day-of-month OR weekday).
    parts: Vec<cron::Schedule>,
    zone: Option<Tz>,
    is_interval: bool,
    dialect: Dialect,
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, self.dialect) == (&other.text, other.dialect)
    }
}

/// Why an expression was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Not five, six (or seven) fields.
    #[error("a cron expression has {expected} fields, this one has {found}")]
    FieldCount {
        /// What the dialect allows.
        expected: &'static str,
        /// How many there are.
        found: usize,
    },
    /// A field cannot be read.
    #[error("the {field} field `{text}` cannot be read: {reason}")]
    Field {
        /// Which field.
        field: &'static str,
        /// Its text.
        text: String,
        /// What is wrong, and what is allowed.
        reason: String,
    },
    /// `@every 5m`: an interval, which has no ticks.
    #[error("`{0}` has no ticks on the clock; use a staleness rule to watch such a job")]
    Every(String),
    /// An unknown `@descriptor`.
    #[error(
        "unknown descriptor `{0}`; the descriptors are @yearly, @monthly, @weekly, @daily, @hourly"
    )]
    Descriptor(String),
    /// An unknown zone in `CRON_TZ=`.
    #[error("unknown time zone `{0}` in CRON_TZ=")]
    Zone(String),
    /// It matches no instant, like 30 February.
    #[error("it never fires")]
    Never,
}

const FIELD_NAMES: [&str; 7] = [
    "seconds",
    "minutes",
    "hours",
    "day-of-month",
    "month",
    "weekday",
    "year",
];

impl Cron {
    /// Reads an expression.
    pub fn parse(text: &str, dialect: Dialect) -> Result<Self, CronError> {
        let mut rest = text.trim();
        let mut zone = None;
        if dialect == Dialect::Scheduler
            && let Some(tail) = rest
                .strip_prefix("CRON_TZ=")
                .or_else(|| rest.strip_prefix("TZ="))
        {
            let (name, tail) = tail.split_once(' ').unwrap_or((tail, ""));
            zone = Some(
                name.parse::<Tz>()
                    .map_err(|_| CronError::Zone(name.to_owned()))?,
            );
            rest = tail.trim();
        }
        let expanded = expand_descriptor(rest)?;
        let fields = seven_fields(expanded.unwrap_or(rest), dialect)?;
        let parts = union_parts(&fields)?;
        let hours = numbers(&fields[2], "hours", 0, 23, &[])?;
        let cron = Self {
            text: text.trim().to_owned(),
            parts,
            zone,
            is_interval: hours.len() == 24,
            dialect,
        };
        let epoch = Timestamp::from_millis(1_767_225_600_000); // 2026-01-01; leap years follow in 2028
        if cron.next_local(local_at(epoch, Tz::UTC)).is_none() {
            return Err(CronError::Never);
        }
        Ok(cron)
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The zone named by the expression itself.
    pub fn zone(&self) -> Option<Tz> {
        self.zone
    }

    /// The first tick strictly after `after`. `zone` is used unless the expression names its own.
    pub fn next(&self, zone: Tz, after: Timestamp) -> Option<Tick> {
        let zone = self.zone.unwrap_or(zone);
        let mut after = after;
        // Each round finds a tick or moves past a change of the clock.
        for _ in 0..MAX_CHANGES {
            let change = match change_near(zone, after) {
                Some(change) => change,
                None => match calm_instant(zone, self.next_local(local_at(after, zone))?) {
                    Ok(at) => return Some(Tick::hard(at)),
                    Err(change) => change,
                },
            };
            let from = after.max(change.at - TRANSITION_REACH - MOMENT);
            if let Some(tick) = self.next_around(from, change) {
                return Some(tick);
            }
            after = change.at + TRANSITION_REACH;
        }
        None
    }

    /// The first tick after `after` within reach of a change of the clock.
    fn next_around(&self, after: Timestamp, change: ClockChange) -> Option<Tick> {
        let is_theirs = self.dialect == Dialect::Scheduler;
        let [old_wall, new_wall] = change.walls();
        if after < change.at {
            let local = self.next_local(wall(after, change.offset_before));
            let at = local.map(|local| instant(local, change.offset_before));
            if let Some(at) = at.filter(|at| *at < change.at) {
                return Some(Tick::hard(at));
            }
            // An interval goes on in real time: the instants around the gap are ticks of their own.
            let skipped = self.next_local(old_wall - MOMENT)?;
            if skipped < new_wall && !self.is_interval {
                let is_hard = !is_theirs || self.next_local(new_wall - MOMENT) == Some(new_wall);
                return Some(Tick {
                    at: change.at,
                    is_soft: !is_hard,
                });
            }
        }
        let from = wall(after.max(change.at - MOMENT), change.offset_after);
        let mut local = self.next_local(from)?;
        if local < old_wall && !self.is_interval && !is_theirs {
            local = self.next_local(old_wall - MOMENT)?;
        }
        let at = instant(local, change.offset_after);
        (at <= change.at + TRANSITION_REACH).then_some(Tick {
            at,
            is_soft: local < old_wall && !self.is_interval,
        })
    }

    /// Ticks in `(after, until]`, in order.
    pub fn ticks(
        &self,
        zone: Tz,
        after: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = Tick> {
        let mut last = after;
        std::iter::from_fn(move || {
            let tick = self.next(zone, last).filter(|tick| tick.at <= until)?;
            last = tick.at;
            Some(tick)
        })
    }

    /// The last tick at or before `at`, looking back at most eight years (29 February skips 2100).
    pub fn previous(&self, zone: Tz, at: Timestamp) -> Option<Tick> {
        // As wide as the gap between the next two: most schedules are regular.
        let next = self.next(zone, at);
        let gap = next.and_then(|next| Some(self.next(zone, next.at)?.at - next.at));
        let mut width = gap.map_or(Span::minutes(2), |gap| gap.min(MAX_LOOK_BACK));
        loop {
            if let Some(tick) = self.ticks(zone, at - width, at).last() {
                return Some(tick);
            }
            if width >= MAX_LOOK_BACK {
                return None;
            }
            width = (width * 8).min(MAX_LOOK_BACK);
        }
    }

    /// The next local match strictly after `local`.
    fn next_local(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        let as_utc: DateTime<Utc> = local.and_utc();
        self.parts
            .iter()
            .filter_map(|part| part.after(&as_utc).next())
            .min()
            .map(|at| at.naive_utc())
    }
}

/// No zone changes its clock by more than this, apart from date-line moves.
const TRANSITION_REACH: Span = Span::hours(4);

/// A tick further back than this is as good as none.
const MAX_LOOK_BACK: Span = Span::days(8 * 366);

/// The smallest step of a [`Timestamp`].
const MOMENT: Span = Span::milliseconds(1);

/// Changes of the clock passed in the search for one tick; a tick once in four years passes eight.
const MAX_CHANGES: usize = 64;

/// A change of a zone's clock.
#[derive(Clone, Copy, Debug)]
struct ClockChange {
    /// The first instant with the new offset.
    at: Timestamp,
    offset_before: Span,
    offset_after: Span,
}

impl ClockChange {
    /// What the clock would show at the change without it, and what it shows.
    fn walls(self) -> [NaiveDateTime; 2] {
        [self.offset_before, self.offset_after].map(|offset| wall(self.at, offset))
    }
}

impl Tick {
    fn hard(at: Timestamp) -> Self {
        Self { at, is_soft: false }
    }
}

fn wall(at: Timestamp, offset: Span) -> NaiveDateTime {
    (at + offset).to_utc().naive_utc()
}

fn instant(local: NaiveDateTime, offset: Span) -> Timestamp {
    Timestamp::from(local.and_utc()) - offset
}

fn local_at(at: Timestamp, zone: Tz) -> NaiveDateTime {
    at.in_zone(zone).naive_local()
}

fn offset_at(zone: Tz, at: Timestamp) -> Span {
    Span::seconds(at.in_zone(zone).offset().fix().local_minus_utc().into())
}

/// The change of the clock within reach of `at`, if there is one.
fn change_near(zone: Tz, at: Timestamp) -> Option<ClockChange> {
    if zone == Tz::UTC {
        return None;
    }
    let (mut low, mut high) = (at - TRANSITION_REACH, at + TRANSITION_REACH);
    let (offset_before, offset_after) = (offset_at(zone, low), offset_at(zone, high));
    if offset_before == offset_after {
        return None;
    }
    while high - low > MOMENT {
        let middle = low + (high - low) / 2;
        if offset_at(zone, middle) == offset_before {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(ClockChange {
        at: high,
        offset_before,
        offset_after,
    })
}

/// The instant of a local time, unless a change of the clock is near.
fn calm_instant(zone: Tz, local: NaiveDateTime) -> Result<Timestamp, ClockChange> {
    let at = calendar::resolve_late(zone, local);
    change_near(zone, at).map_or(Ok(at), Err)
}

fn expand_descriptor(text: &str) -> Result<Option<&'static str>, CronError> {
    if !text.starts_with('@') {
        return Ok(None);
    }
    Ok(Some(match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        every if every.starts_with("@every") => return Err(CronError::Every(every.to_owned())),
        other => return Err(CronError::Descriptor(other.to_owned())),
    }))
}

/// seconds, minutes, hours, day-of-month, month, weekday, year.
fn seven_fields(text: &str, dialect: Dialect) -> Result<Vec<String>, CronError> {
    let mut fields: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let found = fields.len();
    let is_allowed = match dialect {
        Dialect::Scheduler => matches!(found, 5 | 6),
        Dialect::Ours => matches!(found, 5..=7),
    };
    if !is_allowed {
        let expected = match dialect {
            Dialect::Scheduler => "5 or 6",
            Dialect::Ours => "5, 6 or 7",
        };
        return Err(CronError::FieldCount { expected, found });
    }
    if found == 5 {
        fields.insert(0, "0".to_owned());
    }
    if fields.len() == 6 {
        fields.push("*".to_owned());
    }
    Ok(fields)
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// One schedule, or the two whose union is day-of-month OR weekday.
fn union_parts(fields: &[String]) -> Result<Vec<cron::Schedule>, CronError> {
    let lists = [
        numbers(&fields[0], FIELD_NAMES[0], 0, 59, &[])?,
        numbers(&fields[1], FIELD_NAMES[1], 0, 59, &[])?,
        numbers(&fields[2], FIELD_NAMES[2], 0, 23, &[])?,
        numbers(&fields[3], FIELD_NAMES[3], 1, 31, &[])?,
        numbers(&fields[4], FIELD_NAMES[4], 1, 12, &MONTHS)?,
    ];
    let mut weekdays: Vec<u32> = numbers(&fields[5], FIELD_NAMES[5], 0, 7, &WEEKDAYS)?
        .into_iter()
        .map(|day| day % 7)
        .collect();
    weekdays.sort_unstable();
    weekdays.dedup();
    let years = numbers(&fields[6], FIELD_NAMES[6], 1970, 2100, &[])?;
    let [seconds, minutes, hours, days, months] = lists;
    // Only a star leaves a day field out: `13 * 0-6` is every day, as for cron.
    let is_day_free = is_star(&fields[3]);
    let is_weekday_free = is_star(&fields[5]);
    let build = |days: Option<&[u32]>, weekdays: Option<&[u32]>| {
        let text = format!(
            "{} {} {} {} {} {} {}",
            join(&seconds),
            join(&minutes),
            join(&hours),
            days.map_or("*".to_owned(), join),
            join(&months),
            weekdays.map_or("*".to_owned(), |list| {
                list.iter()
                    .map(|day| WEEKDAYS[*day as usize])
                    .collect::<Vec<_>>()
                    .join(",")
            }),
            if is_star(&fields[6]) {
                "*".to_owned()
            } else {
                join(&years)
            },
        );
        cron::Schedule::from_str(&text).map_err(|error| CronError::Field {
            field: "whole",
            text: text.clone(),
            reason: error.to_string(),
        })
    };
    match (is_day_free, is_weekday_free) {
        (true, true) => Ok(vec![build(None, None)?]),
        (false, true) => Ok(vec![build(Some(&days), None)?]),
        (true, false) => Ok(vec![build(None, Some(&weekdays))?]),
        (false, false) => Ok(vec![
            build(Some(&days), None)?,
            build(None, Some(&weekdays))?,
        ]),
    }
}

fn is_star(field: &str) -> bool {
    matches!(field, "*" | "?" | "*/1")
}

fn join(list: &[u32]) -> String {
    list.iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

/// A number or a name, within bounds.
fn number(word: &str, low: u32, high: u32, names: &[&str]) -> Result<u32, String> {
    let lower = word.to_ascii_lowercase();
    if let Some(index) = names.iter().position(|name| lower == *name) {
        return Ok(low + u32::try_from(index).unwrap_or_default());
    }
    let value: u32 = word.parse().map_err(|_| {
        let hint = match (names.first(), names.last()) {
            (Some(first), Some(last)) => format!(" or {first}-{last}"),
            _ => String::new(),
        };
        format!("`{word}` is not a number from {low} to {high}{hint}")
    })?;
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{value} is not within {low} to {high}"))
    }
}

/// The numbers a field stands for: `*`, `?`, `a`, `a-b`, `*/n`, `a/n`, `a-b/n`, lists; names where
/// `names` has them (the first name stands for `low`). Ranges of weekdays may wrap (`fri-mon`).
fn numbers(
    text: &str,
    field: &'static str,
    low: u32,
    high: u32,
    names: &[&str],
) -> Result<Vec<u32>, CronError> {
    let refuse = |reason: String| CronError::Field {
        field,
        text: text.to_owned(),
        reason,
    };
    let number = |word: &str| number(word, low, high, names).map_err(refuse);
    let mut list = Vec::new();
    for item in text.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => {
                let step: u32 =
                    step.parse().ok().filter(|step| *step > 0).ok_or_else(|| {
                        refuse(format!("the step `{step}` is not a number above 0"))
                    })?;
                (range, step)
            }
            None => (item, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if matches!(range, "*" | "?") => {
                (low, if field == FIELD_NAMES[5] { 6 } else { high })
            }
            Some((from, to)) => (number(from)?, number(to)?),
            None if item.contains('/') => (
                number(range)?,
                if field == FIELD_NAMES[5] { 6 } else { high },
            ),
            None => (number(range)?, number(range)?),
        };
        match (from <= to, field == FIELD_NAMES[5]) {
            (true, _) => list.extend((from..=to).step_by(step as usize)),
            (false, true) => {
                list.extend((from..=to + 7).step_by(step as usize).map(|day| day % 7));
            }
            (false, false) => return Err(refuse(format!("the range {range} runs backwards"))),
        }
    }
    list.sort_unstable();
    list.dedup();
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let seconds = if text.len() == 16 { ":00Z" } else { "Z" };
        Timestamp::parse(&format!("{text}{seconds}")).unwrap()
    }

    fn ours(text: &str) -> Cron {
        Cron::parse(text, Dialect::Ours).unwrap()
    }

    fn theirs(text: &str) -> Cron {
        Cron::parse(text, Dialect::Scheduler).unwrap()
    }

    /// Ticks as text, `~` before soft ones.
    fn ticks(cron: &Cron, zone: Tz, after: &str, until: &str) -> Vec<String> {
        cron.ticks(zone, at(after), at(until))
            .map(|tick| {
                let soft = if tick.is_soft { "~" } else { "" };
                let text = tick.at.to_string();
                format!("{soft}{}", text.strip_suffix(":00Z").unwrap_or(&text))
            })
            .collect()
    }

    const NEW_YORK: Tz = chrono_tz::America::New_York;

    #[test]
    fn weekdays_are_numbered_from_sunday() {
        // 22 Nov 2026 is a Sunday.
        for (weekday, days) in [
            ("0", "22"),
            ("7", "22"),
            ("sun", "22"),
            ("1", "23"),
            ("1-5", "23 24 25 26 27"),
            ("mon-fri", "23 24 25 26 27"),
            ("MON-Fri", "23 24 25 26 27"),
            ("fri-mon", "22 23 27 28"),
            ("sat-sun", "22 28"),
            ("6-7", "22 28"),
            ("0-6", "22 23 24 25 26 27 28"),
            ("*/2", "22 24 26 28"),
            ("1-5/2", "23 25 27"),
            ("sat,tue", "24 28"),
        ] {
            let text = format!("0 12 * * {weekday}");
            for cron in [ours(&text), theirs(&text)] {
                let found = ticks(&cron, Tz::UTC, "2026-11-22T00:00", "2026-11-29T00:00");
                let found: Vec<&str> = found.iter().map(|tick| &tick[8..10]).collect();
                assert_eq!(found.join(" "), days, "{weekday}");
            }
        }
    }

    #[test]
    fn either_day_is_enough_when_both_are_restricted() {
        for (text, days) in [
            ("0 0 13 * 5", "06 13 20 27"),
            ("0 0 13 * *", "13"),
            ("0 0 ? * 5", "06 13 20 27"),
            ("0 0 */1 * 5", "06 13 20 27"),
            (
                "0 0 13,14 * 0-6",
                "01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30",
            ),
        ] {
            let found = ticks(
                &theirs(text),
                Tz::UTC,
                "2026-10-31T12:00",
                "2026-11-30T12:00",
            );
            let found: Vec<&str> = found.iter().map(|tick| &tick[8..10]).collect();
            assert_eq!(found.join(" "), days, "{text}");
        }
    }

    #[test]
    fn six_fields_begin_with_seconds_and_are_never_read_as_five() {
        let found = ticks(
            &theirs("*/20 0 6 * * *"),
            Tz::UTC,
            "2026-03-10T05:59",
            "2026-03-10T07:00",
        );
        assert_eq!(
            found,
            [
                "2026-03-10T06:00",
                "2026-03-10T06:00:20Z",
                "2026-03-10T06:00:40Z"
            ]
        );
        let found = ticks(
            &ours("0 0 6 * * * 2027"),
            Tz::UTC,
            "2026-03-10T05:59",
            "2027-01-02T00:00",
        );
        assert_eq!(found, ["2027-01-01T06:00"]);
        for text in ["* * * *", "0 0 6 * * * 2027 *", ""] {
            let refused = Cron::parse(text, Dialect::Scheduler);
            assert!(
                matches!(refused, Err(CronError::FieldCount { .. })),
                "{text}"
            );
        }
        let seven = Cron::parse("0 0 6 * * * 2027", Dialect::Scheduler);
        assert!(matches!(seven, Err(CronError::FieldCount { found: 7, .. })));
    }

    #[test]
    fn descriptors_stand_for_expressions() {
        for (text, first) in [
            ("@hourly", "2026-03-10T07:00"),
            ("@daily", "2026-03-11T00:00"),
            ("@midnight", "2026-03-11T00:00"),
            ("@weekly", "2026-03-15T00:00"),
            ("@monthly", "2026-04-01T00:00"),
            ("@yearly", "2027-01-01T00:00"),
            ("@annually", "2027-01-01T00:00"),
        ] {
            let next = theirs(text).next(Tz::UTC, at("2026-03-10T06:30")).unwrap();
            assert_eq!(next.at, at(first), "{text}");
        }
        let refused = |text: &str| Cron::parse(text, Dialect::Scheduler).unwrap_err();
        assert_eq!(refused("@every 5m"), CronError::Every("@every 5m".into()));
        assert_eq!(refused("@often"), CronError::Descriptor("@often".into()));
    }

    #[test]
    fn an_expression_may_name_its_zone() {
        let cron = theirs("CRON_TZ=America/New_York 0 7 * * *");
        assert_eq!(cron.zone(), Some(NEW_YORK));
        let found = ticks(&cron, Tz::UTC, "2026-03-06T00:00", "2026-03-10T00:00");
        assert_eq!(
            found,
            [
                "2026-03-06T12:00",
                "2026-03-07T12:00",
                "2026-03-08T11:00",
                "2026-03-09T11:00"
            ]
        );
        assert_eq!(
            theirs("TZ=Asia/Tokyo 0 7 * * *").zone(),
            Some(chrono_tz::Asia::Tokyo)
        );
        let refused = Cron::parse("CRON_TZ=Mars/Base 0 7 * * *", Dialect::Scheduler);
        assert_eq!(refused, Err(CronError::Zone("Mars/Base".into())));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, field) in [
            ("60 * * * *", "minutes"),
            ("* 24 * * *", "hours"),
            ("* * 0 * *", "day-of-month"),
            ("* * * 13 *", "month"),
            ("* * * * 8", "weekday"),
            ("5-1 * * * *", "minutes"),
            ("*/0 * * * *", "minutes"),
            ("a * * * *", "minutes"),
            ("1,,2 * * * *", "minutes"),
            ("* * * jum *", "month"),
            ("-1 * * * *", "minutes"),
            ("99999999999 * * * *", "minutes"),
        ] {
            match Cron::parse(text, Dialect::Ours) {
                Err(CronError::Field { field: found, .. }) => assert_eq!(found, field, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        assert_eq!(
            Cron::parse("0 0 30 2 *", Dialect::Ours),
            Err(CronError::Never)
        );
        assert_eq!(
            Cron::parse("0 0 0 1 1 * 2020", Dialect::Ours),
            Err(CronError::Never)
        );
    }

    #[test]
    fn a_daily_tick_in_the_gap_is_soft_for_the_scheduler_and_moves_for_us() {
        // New York, 8 March 2026: 02:00 EST becomes 03:00 EDT at 07:00Z.
        let soft = ticks(
            &theirs("30 2 * * *"),
            NEW_YORK,
            "2026-03-07T00:00",
            "2026-03-10T00:00",
        );
        assert_eq!(
            soft,
            ["2026-03-07T07:30", "~2026-03-08T07:00", "2026-03-09T06:30"]
        );
        let moved = ticks(
            &ours("30 2 * * *"),
            NEW_YORK,
            "2026-03-07T00:00",
            "2026-03-10T00:00",
        );
        assert_eq!(
            moved,
            ["2026-03-07T07:30", "2026-03-08T07:00", "2026-03-09T06:30"]
        );
        // A tick of its own at the end of the gap is a hard one.
        let both = ticks(
            &theirs("0,30 2,3 * * *"),
            NEW_YORK,
            "2026-03-08T00:00",
            "2026-03-08T12:00",
        );
        assert_eq!(both, ["2026-03-08T07:00", "2026-03-08T07:30"]);
    }

    #[test]
    fn a_daily_tick_in_the_fold_has_a_soft_second_pass_for_the_scheduler() {
        // New York, 1 November 2026: 02:00 EDT becomes 01:00 EST at 06:00Z.
        let twice = ticks(
            &theirs("30 1 * * *"),
            NEW_YORK,
            "2026-10-31T00:00",
            "2026-11-03T00:00",
        );
        assert_eq!(
            twice,
            [
                "2026-10-31T05:30",
                "2026-11-01T05:30",
                "~2026-11-01T06:30",
                "2026-11-02T06:30"
            ]
        );
        let once = ticks(
            &ours("30 1 * * *"),
            NEW_YORK,
            "2026-10-31T00:00",
            "2026-11-03T00:00",
        );
        assert_eq!(
            once,
            ["2026-10-31T05:30", "2026-11-01T05:30", "2026-11-02T06:30"]
        );
    }

    #[test]
    fn intervals_go_on_in_real_time_through_both_changes() {
        for (from, to) in [
            ("2026-03-08T00:00", "2026-03-09T00:00"),
            ("2026-11-01T00:00", "2026-11-02T00:00"),
        ] {
            for (text, minutes) in [
                ("0 * * * *", 60),
                ("*/30 * * * *", 30),
                ("*/15 * * * *", 15),
            ] {
                for cron in [ours(text), theirs(text)] {
                    let found: Vec<Tick> = cron.ticks(NEW_YORK, at(from), at(to)).collect();
                    let wanted: Vec<Tick> = (1..=(24 * 60 / minutes))
                        .map(|n| Tick::hard(at(from) + Span::minutes(n * minutes)))
                        .collect();
                    assert_eq!(found, wanted, "{text} {from}");
                }
            }
        }
    }

    #[test]
    fn half_hour_changes_and_skipped_days_are_survived() {
        // Lord Howe moves by half an hour: 02:00 becomes 01:30 on 5 April 2026 at 15:00Z the day before.
        let zone = chrono_tz::Australia::Lord_Howe;
        let found = ticks(
            &theirs("45 1 * * *"),
            zone,
            "2026-04-04T00:00",
            "2026-04-05T20:00",
        );
        assert_eq!(
            found,
            ["2026-04-04T14:45", "~2026-04-04T15:15", "2026-04-05T15:15"]
        );
        // Samoa had no 30 December 2011.
        let zone = chrono_tz::Pacific::Apia;
        let found = ticks(
            &theirs("0 12 * * *"),
            zone,
            "2011-12-29T00:00",
            "2012-01-01T00:00",
        );
        assert_eq!(found.first().unwrap(), "2011-12-29T22:00");
        assert_eq!(found.last().unwrap(), "2011-12-31T22:00");
    }

    #[test]
    fn previous_is_the_tick_before() {
        for (text, previous) in [
            ("0 7 * * *", "2026-03-09T07:00"),
            ("*/15 * * * *", "2026-03-10T06:45"),
            ("0 0 1 1 *", "2026-01-01T00:00"),
            ("0 0 29 2 *", "2024-02-29T00:00"),
        ] {
            let found = theirs(text)
                .previous(Tz::UTC, at("2026-03-10T06:59"))
                .unwrap();
            assert_eq!(found.at, at(previous), "{text}");
        }
        let exactly = theirs("0 7 * * *").previous(Tz::UTC, at("2026-03-10T07:00"));
        assert_eq!(exactly, Some(Tick::hard(at("2026-03-10T07:00"))));
    }

    #[test]
    fn quarter_minutes_through_a_change_are_counted_exactly() {
        let cron = theirs("*/15 * * * * *");
        let (from, to) = (at("2026-03-01T00:00"), at("2026-03-15T00:00"));
        assert_eq!(cron.ticks(NEW_YORK, from, to).count(), 14 * 24 * 60 * 4);
    }
}
