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
        let mut from = local_at(after, zone);
        // Each round moves past at least one local match; a handful is enough for any transition.
        for _ in 0..64 {
            let local = self.next_local(from)?;
            if let Some(at) = unambiguous(zone, local)
                && at > after
                && is_calm(zone, after)
            {
                return Some(Tick { at, is_soft: false });
            }
            let window_start = local_at(after, zone) - TRANSITION_REACH;
            let ticks = self.ticks_in_window(zone, window_start, local + TRANSITION_REACH);
            if let Some(tick) = ticks.into_iter().find(|tick| tick.at > after) {
                return Some(tick);
            }
            from = local;
        }
        None
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

    /// The last tick at or before `at`, looking back at most four years.
    pub fn previous(&self, zone: Tz, at: Timestamp) -> Option<Tick> {
        let mut width = Span::minutes(2);
        while width <= Span::days(4 * 366) {
            if let Some(tick) = self.ticks(zone, at - width, at).last() {
                return Some(tick);
            }
            width = width * 8;
        }
        None
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

    /// All ticks whose local time lies in `(from, to]`, sorted, one for each instant.
    fn ticks_in_window(&self, zone: Tz, from: NaiveDateTime, to: NaiveDateTime) -> Vec<Tick> {
        let mut ticks = Vec::new();
        let mut local = from;
        while let Some(next) = self.next_local(local).filter(|next| *next <= to) {
            ticks.extend(self.place(zone, next));
            local = next;
        }
        // A hard tick sorts before a soft one at the same instant, and so survives.
        ticks.sort();
        ticks.dedup_by_key(|tick| tick.at);
        ticks
    }

    /// Puts one local match on the real clock.
    fn place(&self, zone: Tz, local: NaiveDateTime) -> Vec<Tick> {
        let is_theirs = self.dialect == Dialect::Scheduler;
        let instants = calendar::instants(zone, local);
        match instants.as_slice() {
            // An interval goes on in real time: the instants around the gap are ticks of their own.
            [] if self.is_interval => Vec::new(),
            [] => vec![Tick {
                at: calendar::after_gap(zone, local),
                is_soft: is_theirs,
            }],
            [first, second] if self.is_interval => {
                vec![
                    Tick {
                        at: *first,
                        is_soft: false,
                    },
                    Tick {
                        at: *second,
                        is_soft: false,
                    },
                ]
            }
            [first, second] if is_theirs => {
                vec![
                    Tick {
                        at: *first,
                        is_soft: false,
                    },
                    Tick {
                        at: *second,
                        is_soft: true,
                    },
                ]
            }
            [first, ..] => vec![Tick {
                at: *first,
                is_soft: false,
            }],
        }
    }
}

/// No zone changes its clock by more than this, apart from date-line moves.
const TRANSITION_REACH: Span = Span::hours(4);

fn local_at(at: Timestamp, zone: Tz) -> NaiveDateTime {
    at.in_zone(zone).naive_local()
}

fn offset_at(zone: Tz, at: Timestamp) -> i32 {
    at.in_zone(zone).offset().fix().local_minus_utc()
}

/// No change of the clock within reach of `at`.
fn is_calm(zone: Tz, at: Timestamp) -> bool {
    zone == Tz::UTC
        || offset_at(zone, at - TRANSITION_REACH) == offset_at(zone, at + TRANSITION_REACH)
}

/// The instant of a local time far from any change of the clock.
fn unambiguous(zone: Tz, local: NaiveDateTime) -> Option<Timestamp> {
    match calendar::instants(zone, local).as_slice() {
        [at] if is_calm(zone, *at) => Some(*at),
        _ => None,
    }
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
    let is_day_free = is_star(&fields[3]) || days.len() == 31;
    let is_weekday_free = is_star(&fields[5]) || weekdays.len() == 7;
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
    matches!(field, "*" | "?")
}

fn join(list: &[u32]) -> String {
    list.iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

/// The numbers a field stands for: `*`, `?`, `a`, `a-b`, `*/n`, `a/n`, `a-b/n`, lists; names where
/// `names` has them (names[0] stands for `low`). Ranges of weekdays may wrap (`fri-mon`).
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
    let number = |word: &str| -> Result<u32, CronError> {
        let lower = word.to_ascii_lowercase();
        if let Some(index) = names
            .iter()
            .position(|name| !name.is_empty() && lower == *name)
        {
            return Ok(low + u32::try_from(index).unwrap_or_default());
        }
        let value: u32 = word.parse().map_err(|_| {
            let hint = if names.is_empty() {
                String::new()
            } else {
                format!(" or {}-{}", names[0], names[names.len() - 1])
            };
            refuse(format!(
                "`{word}` is not a number from {low} to {high}{hint}"
            ))
        })?;
        if (low..=high).contains(&value) {
            Ok(value)
        } else {
            Err(refuse(format!("{value} is not within {low} to {high}")))
        }
    };
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
            _ if is_star(range) => (low, if field == FIELD_NAMES[5] { 6 } else { high }),
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
