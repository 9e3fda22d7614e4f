//! A five-field POSIX cron matcher for the generators.
//!
//! Independent of Tardy's own schedule code on purpose. It reads `* , - /`, names of months and
//! days, and Sunday as 0 or 7; a restricted day of month and a restricted weekday match as OR. It
//! does not read seconds, descriptors or `CRON_TZ=`.

use chrono::{Datelike as _, NaiveDateTime, Timelike as _};
use chrono_tz::Tz;

use crate::engine::time::Timestamp;

const BLOCK_MILLIS: i64 = 15 * 60_000;
const MINUTE_MILLIS: i64 = 60_000;
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A parsed expression: one bit per allowed value of each field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

impl Cron {
    /// `None` if `text` is not five valid fields.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return None;
        };
        let week = field(weekdays, 0, 7, &DAYS, 0)?;
        Some(Self {
            minutes: field(minutes, 0, 59, &[], 0)?,
            hours: field(hours, 0, 23, &[], 0)?,
            days: field(days, 1, 31, &[], 0)?,
            months: field(months, 1, 12, &MONTHS, 1)?,
            weekdays: (week | (week >> 7)) & 0x7f,
            any_day: days.starts_with(['*', '?']),
            any_weekday: weekdays.starts_with(['*', '?']),
        })
    }

    /// Ticks in `from .. to` in order, read as wall time of `zone`.
    ///
    /// Scans quarter hours, because every zone's offset today is a multiple of 15 minutes, so hour
    /// and date are the same within one.
    pub(super) fn ticks(&self, from: Timestamp, to: Timestamp, zone: Tz) -> Vec<Timestamp> {
        let mut ticks = Vec::new();
        let mut block = from.as_millis().div_euclid(BLOCK_MILLIS) * BLOCK_MILLIS;
        while block < to.as_millis() {
            let local = Timestamp::from_millis(block).in_zone(zone).naive_local();
            if self.has_hour(local) {
                for offset in 0..15 {
                    let at = Timestamp::from_millis(block + i64::from(offset) * MINUTE_MILLIS);
                    if bit(self.minutes, local.minute() + offset) && at >= from && at < to {
                        ticks.push(at);
                    }
                }
            }
            block += BLOCK_MILLIS;
        }
        ticks
    }

    fn has_hour(&self, local: NaiveDateTime) -> bool {
        bit(self.hours, local.hour()) && bit(self.months, local.month()) && self.has_day(local)
    }

    fn has_day(&self, local: NaiveDateTime) -> bool {
        let day = bit(self.days, local.day());
        let weekday = bit(self.weekdays, local.weekday().num_days_from_sunday());
        if self.any_day || self.any_weekday {
            day && weekday
        } else {
            day || weekday
        }
    }
}

fn bit(mask: u64, value: u32) -> bool {
    mask & (1 << value) != 0
}

fn field(text: &str, low: u32, high: u32, names: &[&str], first: u32) -> Option<u64> {
    text.split(',').try_fold(0, |mask, part| {
        Some(mask | range(part, low, high, names, first)?)
    })
}

fn range(part: &str, low: u32, high: u32, names: &[&str], first: u32) -> Option<u64> {
    let (span, step) = match part.split_once('/') {
        Some((span, step)) => (span, step.parse().ok().filter(|step| *step > 0)?),
        None => (part, 1),
    };
    let (start, end) = if span == "*" || span == "?" {
        (low, high)
    } else if let Some((start, end)) = span.split_once('-') {
        (value(start, names, first)?, value(end, names, first)?)
    } else {
        let start = value(span, names, first)?;
        (start, if part.contains('/') { high } else { start })
    };
    if start < low || end > high || start > end {
        return None;
    }
    let ends = (start..=end).step_by(usize::try_from(step).ok()?);
    Some(ends.fold(0, |mask, value: u32| mask | (1 << value)))
}

fn value(text: &str, names: &[&str], first: u32) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    match names.iter().position(|name| *name == lower) {
        Some(index) => Some(u32::try_from(index).ok()? + first),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn ticks(cron: &str, from: &str, to: &str, zone: Tz) -> Vec<String> {
        let cron = Cron::parse(cron).unwrap();
        cron.ticks(at(from), at(to), zone)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn ticks_are_those_of_cron() {
        for (cron, from, to, expected) in [
            (
                "0 * * * *",
                "2026-03-12T00:00:00Z",
                "2026-03-12T02:00:00Z",
                vec!["2026-03-12T00:00:00Z", "2026-03-12T01:00:00Z"],
            ),
            (
                "*/20 5 * * *",
                "2026-03-12T05:01:00Z",
                "2026-03-13T00:00:00Z",
                vec!["2026-03-12T05:20:00Z", "2026-03-12T05:40:00Z"],
            ),
            (
                "30 13 * * mon-fri",
                "2026-03-13T00:00:00Z",
                "2026-03-17T00:00:00Z",
                vec!["2026-03-13T13:30:00Z", "2026-03-16T13:30:00Z"],
            ),
            (
                "0 0 * * 7",
                "2026-03-09T00:00:00Z",
                "2026-03-16T00:00:00Z",
                vec!["2026-03-15T00:00:00Z"],
            ),
            // Day of month and weekday restricted: either.
            (
                "0 0 10 * 0",
                "2026-03-09T00:00:00Z",
                "2026-03-16T00:00:00Z",
                vec!["2026-03-10T00:00:00Z", "2026-03-15T00:00:00Z"],
            ),
            (
                "5 4 1 jan,mar *",
                "2026-01-01T00:00:00Z",
                "2026-04-01T00:00:00Z",
                vec!["2026-01-01T04:05:00Z", "2026-03-01T04:05:00Z"],
            ),
        ] {
            assert_eq!(ticks(cron, from, to, Tz::UTC), expected, "{cron}");
        }
    }

    #[test]
    fn wall_time_follows_the_zone() {
        let zone = Tz::America__New_York;
        assert_eq!(
            ticks(
                "0 7 * * *",
                "2026-03-07T00:00:00Z",
                "2026-03-10T00:00:00Z",
                zone
            ),
            [
                "2026-03-07T12:00:00Z",
                "2026-03-08T11:00:00Z",
                "2026-03-09T11:00:00Z"
            ]
        );
        assert_eq!(
            ticks(
                "0 9 * * *",
                "2026-03-12T00:00:00Z",
                "2026-03-13T00:00:00Z",
                Tz::Asia__Kathmandu
            ),
            ["2026-03-12T03:15:00Z"]
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for cron in [
            "",
            "* * * *",
            "60 * * * *",
            "* * 0 * *",
            "*/0 * * * *",
            "5-1 * * * *",
            "0 0 * * mun",
        ] {
            assert_eq!(Cron::parse(cron), None, "{cron}");
        }
    }
}
