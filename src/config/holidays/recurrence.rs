//! Yearly rules of iCalendar: the ones that holidays use.

use chrono::{Datelike as _, NaiveDate, Weekday};

use super::Mistake;
use super::lines::Line;

/// `FREQ=YEARLY` with what narrows it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Yearly {
    interval: u16,
    count: Option<usize>,
    until: Option<NaiveDate>,
    months: Vec<u32>,
    /// From 1, or from the end from -1.
    month_days: Vec<i32>,
    /// With 0: every such weekday.
    weekdays: Vec<(i32, Weekday)>,
}

/// The last year for which holidays are worked out.
const LAST_YEAR: i32 = 2099;

impl Yearly {
    /// Reads an `RRULE`.
    pub(super) fn parse(line: &Line<'_>) -> Result<Self, Mistake> {
        let mut rule = Self {
            interval: 1,
            count: None,
            until: None,
            months: Vec::new(),
            month_days: Vec::new(),
            weekdays: Vec::new(),
        };
        let mut is_yearly = false;
        for part in line.value.trim().split(';').filter(|part| !part.is_empty()) {
            let refuse = || {
                Mistake::new(
                    line,
                    format!("`{part}` in this rule is not understood"),
                    "write a yearly rule with BYMONTH, BYMONTHDAY or BYDAY, or one event for each date",
                )
            };
            let (key, value) = part.split_once('=').ok_or_else(refuse)?;
            let value = value.trim().to_ascii_uppercase();
            match key.trim().to_ascii_uppercase().as_str() {
                "FREQ" => is_yearly = value == "YEARLY",
                "INTERVAL" => {
                    let interval = value.parse().ok().filter(|number| *number > 0);
                    rule.interval = interval.ok_or_else(refuse)?;
                }
                "COUNT" => rule.count = Some(value.parse().map_err(|_| refuse())?),
                "UNTIL" => {
                    let date = value.get(..8).unwrap_or_default();
                    let date = NaiveDate::parse_from_str(date, "%Y%m%d");
                    rule.until = Some(date.map_err(|_| refuse())?);
                }
                "BYMONTH" => rule.months = numbers(&value, 1..=12).ok_or_else(refuse)?,
                "BYMONTHDAY" => rule.month_days = numbers(&value, -31..=31).ok_or_else(refuse)?,
                "BYDAY" => rule.weekdays = weekdays(&value).ok_or_else(refuse)?,
                "WKST" => {}
                _ => return Err(refuse()),
            }
        }
        if is_yearly {
            return Ok(rule);
        }
        Err(Mistake::new(
            line,
            "only yearly rules are understood",
            "write FREQ=YEARLY, one event for each date, or leave the weekday out in `days`",
        ))
    }

    /// The dates from `start` on, `start` itself being the first.
    pub(super) fn dates(&self, start: NaiveDate) -> Vec<NaiveDate> {
        let years = (start.year()..=LAST_YEAR).step_by(usize::from(self.interval));
        let later = years
            .flat_map(|year| self.of_year(year, start))
            .filter(|date| *date > start)
            .take_while(|date| self.until.is_none_or(|until| *date <= until));
        std::iter::once(start)
            .chain(later)
            .take(self.count.unwrap_or(usize::MAX))
            .collect()
    }

    fn of_year(&self, year: i32, start: NaiveDate) -> Vec<NaiveDate> {
        let is_bare = self.month_days.is_empty() && self.weekdays.is_empty();
        let months: Vec<u32> = match (self.months.as_slice(), is_bare) {
            ([], true) => vec![start.month()],
            ([], false) => (1..=12).collect(),
            (months, _) => months.to_vec(),
        };
        let days = months.into_iter().flat_map(|month| {
            let first = NaiveDate::from_ymd_opt(year, month, 1);
            first.into_iter().flat_map(move |first| {
                first
                    .iter_days()
                    .take_while(move |day| day.month() == month && day.year() == year)
            })
        });
        let mut found: Vec<NaiveDate> = days
            .filter(|day| {
                if is_bare {
                    return day.day() == start.day();
                }
                self.is_month_day(*day) && self.is_weekday(*day)
            })
            .collect();
        found.sort_unstable();
        found
    }

    fn is_month_day(&self, date: NaiveDate) -> bool {
        let (from_start, from_end) = positions(month_length(date), date.day());
        let mut wanted = self.month_days.iter();
        self.month_days.is_empty() || wanted.any(|day| *day == from_start || *day == from_end)
    }

    fn is_weekday(&self, date: NaiveDate) -> bool {
        // Counted in the month when months are named, else in the year.
        let (day, length) = if self.months.is_empty() {
            (date.ordinal(), 365 + u32::from(date.leap_year()))
        } else {
            (date.day(), month_length(date))
        };
        let week = |day: u32| i32::try_from(day.div_ceil(7)).unwrap_or_default();
        let (nth, nth_last) = (week(day), -week(length - day + 1));
        let mut wanted = self.weekdays.iter();
        self.weekdays.is_empty()
            || wanted.any(|(number, weekday)| {
                *weekday == date.weekday()
                    && (*number == 0 || *number == nth || *number == nth_last)
            })
    }
}

fn month_length(date: NaiveDate) -> u32 {
    (28..=31)
        .rev()
        .find(|day| date.with_day(*day).is_some())
        .unwrap_or(28)
}

/// A day from the start and from the end.
fn positions(length: u32, day: u32) -> (i32, i32) {
    let signed = |number: u32| i32::try_from(number).unwrap_or_default();
    (signed(day), -signed(length - day + 1))
}

fn numbers<T: std::str::FromStr + PartialOrd>(
    text: &str,
    bounds: std::ops::RangeInclusive<T>,
) -> Option<Vec<T>> {
    let read = |word: &str| word.trim().parse().ok().filter(|n| bounds.contains(n));
    text.split(',').map(read).collect()
}

/// `4TH`, `-1MO`, `TU`.
fn weekdays(text: &str) -> Option<Vec<(i32, Weekday)>> {
    let read = |word: &str| {
        let word = word.trim();
        let at = word.len().checked_sub(2)?;
        let (number, day) = (word.get(..at)?, word.get(at..)?);
        let number = match number {
            "" => 0,
            digits => digits
                .parse()
                .ok()
                .filter(|n| (-53..=53).contains(n) && *n != 0)?,
        };
        let day = match day {
            "MO" => Weekday::Mon,
            "TU" => Weekday::Tue,
            "WE" => Weekday::Wed,
            "TH" => Weekday::Thu,
            "FR" => Weekday::Fri,
            "SA" => Weekday::Sat,
            "SU" => Weekday::Sun,
            _ => return None,
        };
        Some((number, day))
    };
    text.split(',').map(read).collect()
}
