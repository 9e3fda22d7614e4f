//! The axis of time: ticks at round hours, days, weeks or months of the wall clock, through daylight saving.

use chrono::{Datelike as _, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeZone as _};
use chrono_tz::Tz;

use crate::engine::time::{Span, Timestamp};

/// A place on the axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    /// When.
    pub at: Timestamp,
    /// As it is written.
    pub label: String,
}

/// A round distance between ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Seconds of wall time, a divisor of a day.
    Seconds(i64),
    /// Days; a multiple of 7 begins on Mondays.
    Days(i32),
    /// Months.
    Months(u32),
}

const STEPS: [Step; 25] = [
    Step::Seconds(1),
    Step::Seconds(5),
    Step::Seconds(15),
    Step::Seconds(30),
    Step::Seconds(60),
    Step::Seconds(5 * 60),
    Step::Seconds(15 * 60),
    Step::Seconds(30 * 60),
    Step::Seconds(3_600),
    Step::Seconds(3 * 3_600),
    Step::Seconds(6 * 3_600),
    Step::Seconds(12 * 3_600),
    Step::Days(1),
    Step::Days(2),
    Step::Days(7),
    Step::Days(14),
    Step::Months(1),
    Step::Months(2),
    Step::Months(3),
    Step::Months(6),
    Step::Months(12),
    Step::Months(24),
    Step::Months(60),
    Step::Months(120),
    Step::Months(1_200),
];

/// Finer steps than this many ticks need not be tried.
const MAX_TICKS: i64 = 40;

/// Ticks from `first` to `last`: the densest round ones that `is_fitting` takes; where there are none, the ends. There
/// is always one.
pub(super) fn ticks(
    first: Timestamp,
    last: Timestamp,
    zone: Tz,
    is_fitting: impl Fn(&[Tick]) -> bool,
) -> Vec<Tick> {
    let span = last.since(first);
    let steps = STEPS.iter().filter(|_| span > Span::zero());
    for step in steps {
        if span > step.length() * i32::try_from(MAX_TICKS).unwrap_or(i32::MAX) {
            continue;
        }
        let ticks = with_date(step.ticks(first, last, zone), first, zone);
        if ticks.len() > 1 && is_fitting(&ticks) {
            return ticks;
        }
    }
    ends(first, last, zone, is_fitting)
}

/// The first and the last instant; where there is no room for both, the first.
fn ends(
    first: Timestamp,
    last: Timestamp,
    zone: Tz,
    is_fitting: impl Fn(&[Tick]) -> bool,
) -> Vec<Tick> {
    let day = |at: Timestamp| at.in_zone(zone).format("%-d %b").to_string();
    let tick = |at: Timestamp, label: String| Tick { at, label };
    let both = if day(first) == day(last) {
        let time = last.in_zone(zone).format("%H:%M").to_string();
        vec![tick(first, moment(first, zone)), tick(last, time)]
    } else {
        vec![tick(first, day(first)), tick(last, day(last))]
    };
    if first < last && is_fitting(&both) {
        return both;
    }
    vec![tick(first, moment(first, zone))]
}

/// `12 Mar 04:15`.
pub(super) fn moment(at: Timestamp, zone: Tz) -> String {
    at.in_zone(zone).format("%-d %b %H:%M").to_string()
}

/// Where no tick tells the date, the first one does.
fn with_date(mut ticks: Vec<Tick>, first: Timestamp, zone: Tz) -> Vec<Tick> {
    let has_date = ticks.iter().any(|tick| !tick.label.contains(':'));
    if let Some(tick) = ticks.first_mut().filter(|_| !has_date) {
        let day = first.in_zone(zone).format("%-d %b");
        tick.label = format!("{day} {}", tick.label);
    }
    ticks
}

impl Step {
    fn length(self) -> Span {
        match self {
            Self::Seconds(seconds) => Span::seconds(seconds),
            Self::Days(days) => Span::days(i64::from(days)),
            Self::Months(months) => Span::days(30 * i64::from(months)),
        }
    }

    fn ticks(self, first: Timestamp, last: Timestamp, zone: Tz) -> Vec<Tick> {
        let mut ticks: Vec<Tick> = Vec::new();
        let mut wall = self.floor(first.in_zone(zone).naive_local());
        // One more for the one before the first, one for a gap.
        for _ in 0..MAX_TICKS + 4 {
            if let Some(at) = instant(wall, zone) {
                if at > last {
                    break;
                }
                let is_new = ticks.last().is_none_or(|before| before.at < at);
                if at >= first && is_new {
                    let label = self.label(wall, ticks.is_empty());
                    ticks.push(Tick { at, label });
                }
            }
            let Some(next) = self.next(wall) else {
                break;
            };
            wall = next;
        }
        ticks
    }

    /// The round wall time at or before `wall`.
    fn floor(self, wall: NaiveDateTime) -> NaiveDateTime {
        let midnight = wall.date().and_time(NaiveTime::MIN);
        match self {
            Self::Seconds(seconds) => {
                let passed = (wall - midnight).num_seconds();
                midnight + Span::seconds(passed - passed % seconds)
            }
            Self::Days(days) => {
                // Day 1 of the calendar was a Monday.
                let over = (wall.date().num_days_from_ce() - 1).rem_euclid(days);
                midnight - Span::days(i64::from(over))
            }
            Self::Months(months) => {
                let month = i64::from(wall.year()) * 12 + i64::from(wall.month0());
                let floor = month - month.rem_euclid(i64::from(months));
                let year = i32::try_from(floor.div_euclid(12)).unwrap_or(1);
                let month = u32::try_from(floor.rem_euclid(12)).unwrap_or(0) + 1;
                NaiveDate::from_ymd_opt(year, month, 1)
                    .map_or(midnight, |date| date.and_time(NaiveTime::MIN))
            }
        }
    }

    fn next(self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        match self {
            Self::Seconds(seconds) => wall.checked_add_signed(Span::seconds(seconds)),
            Self::Days(days) => wall.checked_add_days(Days::new(u64::from(days.unsigned_abs()))),
            Self::Months(months) => wall.checked_add_months(Months::new(months)),
        }
    }

    fn label(self, wall: NaiveDateTime, is_first: bool) -> String {
        let is_midnight = wall.time() == NaiveTime::MIN;
        let format = match self {
            Self::Seconds(_) if is_midnight => "%-d %b",
            Self::Seconds(..60) => "%H:%M:%S",
            Self::Seconds(_) => "%H:%M",
            Self::Days(_) => "%-d %b",
            Self::Months(12..) => "%Y",
            Self::Months(_) if is_first || wall.month() == 1 => "%b %Y",
            Self::Months(_) => "%b",
        };
        wall.format(format).to_string()
    }
}

/// The instant of a wall time. Of two the first; midnight that a clock change leaves out is the first instant after
/// it; another time that does not exist is none.
fn instant(wall: NaiveDateTime, zone: Tz) -> Option<Timestamp> {
    let found = |wall: &NaiveDateTime| {
        let local = zone.from_local_datetime(wall).earliest()?;
        Some(Timestamp::from_millis(local.timestamp_millis()))
    };
    if wall.time() != NaiveTime::MIN {
        return found(&wall);
    }
    (0..=24).find_map(|quarters| found(&(wall + Span::minutes(15 * quarters))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[track_caller]
    fn check(first: &str, last: &str, zone: &str, most: usize, expected: &[(&str, &str)]) {
        let ticks = ticks(at(first), at(last), zone.parse().unwrap(), |ticks| {
            ticks.len() <= most
        });
        let found: Vec<(String, String)> = ticks
            .iter()
            .map(|tick| (tick.at.to_string(), tick.label.clone()))
            .collect();
        let found: Vec<(&str, &str)> = found.iter().map(|(a, b)| (&**a, &**b)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn days_are_days_of_the_zone_through_daylight_saving() {
        check(
            "2026-03-06T12:00:00Z",
            "2026-03-10T12:00:00Z",
            "America/New_York",
            5,
            &[
                ("2026-03-07T05:00:00Z", "7 Mar"),
                ("2026-03-08T05:00:00Z", "8 Mar"),
                ("2026-03-09T04:00:00Z", "9 Mar"),
                ("2026-03-10T04:00:00Z", "10 Mar"),
            ],
        );
    }

    #[test]
    fn hours_that_do_not_exist_are_left_out_and_those_that_are_twice_come_once() {
        check(
            "2026-03-08T05:00:00Z",
            "2026-03-08T09:00:00Z",
            "America/New_York",
            5,
            &[
                ("2026-03-08T05:00:00Z", "8 Mar"),
                ("2026-03-08T06:00:00Z", "01:00"),
                ("2026-03-08T07:00:00Z", "03:00"),
                ("2026-03-08T08:00:00Z", "04:00"),
                ("2026-03-08T09:00:00Z", "05:00"),
            ],
        );
        check(
            "2026-11-01T05:00:00Z",
            "2026-11-01T08:30:00Z",
            "America/New_York",
            4,
            &[
                ("2026-11-01T05:00:00Z", "1 Nov 01:00"),
                ("2026-11-01T07:00:00Z", "02:00"),
                ("2026-11-01T08:00:00Z", "03:00"),
            ],
        );
    }

    #[test]
    fn midnight_that_does_not_exist_is_the_first_instant_of_the_day() {
        check(
            "2018-11-03T12:00:00Z",
            "2018-11-05T12:00:00Z",
            "America/Sao_Paulo",
            2,
            &[
                ("2018-11-04T03:00:00Z", "4 Nov"),
                ("2018-11-05T02:00:00Z", "5 Nov"),
            ],
        );
    }

    #[test]
    fn weeks_begin_on_mondays_and_years_are_told() {
        check(
            "2026-10-01T04:00:00Z",
            "2026-11-11T04:00:00Z",
            "UTC",
            6,
            &[
                ("2026-10-05T00:00:00Z", "5 Oct"),
                ("2026-10-12T00:00:00Z", "12 Oct"),
                ("2026-10-19T00:00:00Z", "19 Oct"),
                ("2026-10-26T00:00:00Z", "26 Oct"),
                ("2026-11-02T00:00:00Z", "2 Nov"),
                ("2026-11-09T00:00:00Z", "9 Nov"),
            ],
        );
        check(
            "2025-11-15T00:00:00Z",
            "2026-03-15T00:00:00Z",
            "Europe/Berlin",
            4,
            &[
                ("2025-11-30T23:00:00Z", "Dec 2025"),
                ("2025-12-31T23:00:00Z", "Jan 2026"),
                ("2026-01-31T23:00:00Z", "Feb"),
                ("2026-02-28T23:00:00Z", "Mar"),
            ],
        );
    }

    #[test]
    fn one_instant_and_centuries_have_a_tick() {
        check(
            "2026-03-12T03:15:07Z",
            "2026-03-12T03:15:07Z",
            "Europe/Berlin",
            0,
            &[("2026-03-12T03:15:07Z", "12 Mar 04:15")],
        );
        let all = ticks(Timestamp::MIN, Timestamp::MAX, Tz::UTC, |_| true);
        assert!(!all.is_empty());
    }
}
