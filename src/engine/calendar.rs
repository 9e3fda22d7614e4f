//! Business calendars and recurring windows in local time.

use std::collections::BTreeSet;

use chrono::{
    Datelike as _, Days, NaiveDate, NaiveDateTime, NaiveTime, Offset as _, TimeZone as _, Weekday,
};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::observation::Name;
use super::time::{Span, Timestamp};

/// Days and hours in one zone: a business calendar, or a mute window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calendar {
    /// Configured name.
    pub name: Name,
    /// Zone in which days and hours are read.
    pub zone: Tz,
    /// Monday first: the weekdays that count.
    pub days: [bool; 7],
    /// Local opening and closing time; `None` is the whole day. Closing before opening wraps past
    /// midnight (the evening belongs to the day on which it began).
    pub hours: Option<(NaiveTime, NaiveTime)>,
    /// Dates that do not count.
    pub holidays: BTreeSet<NaiveDate>,
}

impl Calendar {
    /// The date counts: its weekday does and it is no holiday.
    pub fn is_day(&self, date: NaiveDate) -> bool {
        self.days[date.weekday().num_days_from_monday() as usize] && !self.holidays.contains(&date)
    }

    /// The instant lies on a counting day, within the hours.
    pub fn is_open(&self, at: Timestamp) -> bool {
        let local = at.in_zone(self.zone).naive_local();
        let (date, time) = (local.date(), local.time());
        match self.hours {
            None => self.is_day(date),
            Some((open, close)) if open <= close => {
                self.is_day(date) && open <= time && time < close
            }
            Some((open, close)) => {
                (time >= open && self.is_day(date))
                    || (time < close && date.pred_opt().is_some_and(|day| self.is_day(day)))
            }
        }
    }

    /// `at` when it is open then, else the next opening; [`Timestamp::MAX`] for a calendar that never opens.
    pub fn next_open(&self, at: Timestamp) -> Timestamp {
        let mut at = at;
        for _ in 0..MAX_EDGES {
            if self.is_open(at) {
                return at;
            }
            at = self.next_edge(at);
        }
        Timestamp::MAX
    }

    /// How long it was open in `(from, to)`.
    pub fn open_time(&self, from: Timestamp, to: Timestamp) -> Span {
        let mut total = Span::zero();
        let mut at = from;
        while at < to {
            let edge = self.next_edge(at).min(to);
            if self.is_open(at) {
                total += edge - at;
            }
            at = edge;
        }
        total
    }

    /// The first instant at which it has been open for `span` since `from`; [`Timestamp::MAX`] for a calendar
    /// that never opens.
    pub fn after_open_time(&self, from: Timestamp, span: Span) -> Timestamp {
        let mut left = span;
        let mut at = self.next_open(from);
        while at < Timestamp::MAX {
            let edge = self.next_edge(at);
            if edge - at >= left {
                return at + left;
            }
            left -= edge - at;
            at = self.next_open(edge);
        }
        at
    }

    /// The next instant after `at` at which [`Self::is_open`] may change: an opening, a closing, a local
    /// midnight or a change of the clocks.
    pub fn next_edge(&self, at: Timestamp) -> Timestamp {
        let date = at.in_zone(self.zone).date_naive();
        let times = match self.hours {
            None => vec![NaiveTime::MIN],
            Some((open, close)) => vec![NaiveTime::MIN, open, close],
        };
        (0..3)
            .filter_map(|days| date.checked_add_days(Days::new(days)))
            .flat_map(|date| times.iter().map(move |time| date.and_time(*time)))
            // The wall clock shows a time inside a fold twice.
            .flat_map(|local| match instants(self.zone, local) {
                none if none.is_empty() => vec![after_gap(self.zone, local)],
                some => some,
            })
            .chain(first_change(self.zone, at, at + Span::days(2)))
            .filter(|edge| *edge > at)
            .min()
            .unwrap_or(Timestamp::MAX)
    }
}

/// The change of the clocks in `(low, high]`, if there is one.
fn first_change(zone: Tz, low: Timestamp, high: Timestamp) -> Option<Timestamp> {
    let offset = |at: Timestamp| at.in_zone(zone).offset().fix().local_minus_utc();
    let before = offset(low);
    if before == offset(high) {
        return None;
    }
    let (mut low, mut high) = (low, high);
    while high - low > Span::milliseconds(1) {
        let middle = low + (high - low) / 2;
        if offset(middle) == before {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high)
}

/// Edges passed in search of an opening: at least five years of them.
const MAX_EDGES: usize = 6_000;

/// A weekday from its English name or first three letters, any case.
pub fn parse_weekday(text: &str) -> Option<Weekday> {
    text.parse().ok()
}

/// The instants at which the wall clock of `zone` shows `local`: none in a gap, two in a fold.
pub fn instants(zone: Tz, local: NaiveDateTime) -> Vec<Timestamp> {
    match zone.from_local_datetime(&local) {
        chrono::LocalResult::None => Vec::new(),
        chrono::LocalResult::Single(at) => vec![at.to_utc().into()],
        chrono::LocalResult::Ambiguous(first, second) => {
            let mut both = vec![first.to_utc().into(), second.to_utc().into()];
            both.sort();
            both
        }
    }
}

/// The instant a promise "by `local`" falls due: in a gap the first instant after it, in a fold the
/// later of the two.
pub fn resolve_late(zone: Tz, local: NaiveDateTime) -> Timestamp {
    instants(zone, local)
        .pop()
        .unwrap_or_else(|| after_gap(zone, local))
}

/// The first instant after the gap that swallowed `local`.
pub fn after_gap(zone: Tz, local: NaiveDateTime) -> Timestamp {
    // The offset before the gap, applied to the local time, gives an instant after the transition;
    // the wall clock there has moved on by the width of the gap. Search the transition itself.
    // Two days: a zone may skip a whole day, as Samoa did.
    let day = Span::days(2);
    let guess = Timestamp::from_millis(local.and_utc().timestamp_millis());
    let (mut low, mut high) = (guess - day, guess + day);
    let offset = |at: Timestamp| at.in_zone(zone).offset().fix().local_minus_utc();
    let wall = |at: Timestamp| at.in_zone(zone).naive_local();
    // Invariant: wall(low) < local < wall(high); the wall clock jumps over `local` exactly once.
    while high - low > Span::milliseconds(1) {
        let middle = low + (high - low) / 2;
        if wall(middle) < local {
            low = middle;
        } else {
            high = middle;
        }
    }
    debug_assert_ne!(offset(low), offset(high));
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn local(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    #[test]
    fn seven_in_new_york_through_the_changes_of_2026() {
        let zone = chrono_tz::America::New_York;
        for (wall, expected) in [
            ("2026-03-06T07:00:00", "2026-03-06T12:00:00Z"),
            ("2026-03-09T07:00:00", "2026-03-09T11:00:00Z"),
            ("2026-10-30T07:00:00", "2026-10-30T11:00:00Z"),
            ("2026-11-02T07:00:00", "2026-11-02T12:00:00Z"),
            // In the gap: the first instant after it. In the fold: the later one.
            ("2026-03-08T02:30:00", "2026-03-08T07:00:00Z"),
            ("2026-11-01T01:30:00", "2026-11-01T06:30:00Z"),
        ] {
            assert_eq!(resolve_late(zone, local(wall)), at(expected), "{wall}");
        }
    }

    #[test]
    fn hours_and_holidays() {
        let calendar = Calendar {
            name: "business".into(),
            zone: chrono_tz::Europe::Berlin,
            days: [true, true, true, true, true, false, false],
            hours: Some((
                NaiveTime::from_hms_opt(8, 0, 0).unwrap(),
                NaiveTime::from_hms_opt(18, 0, 0).unwrap(),
            )),
            holidays: BTreeSet::from([NaiveDate::from_ymd_opt(2026, 12, 25).unwrap()]),
        };
        assert!(calendar.is_open(at("2026-11-23T07:00:00Z")));
        assert!(!calendar.is_open(at("2026-11-23T06:59:59Z")));
        assert!(!calendar.is_open(at("2026-11-23T17:00:00Z")));
        assert!(!calendar.is_open(at("2026-11-22T10:00:00Z")), "Sunday");
        assert!(!calendar.is_open(at("2026-12-25T10:00:00Z")), "holiday");
        assert_eq!(
            calendar.next_edge(at("2026-11-23T07:00:00Z")),
            at("2026-11-23T17:00:00Z")
        );
    }

    #[test]
    fn windows_wrap_past_midnight() {
        let night = Calendar {
            name: "night".into(),
            zone: chrono_tz::UTC,
            days: [false, false, false, false, true, false, false],
            hours: Some((
                NaiveTime::from_hms_opt(22, 0, 0).unwrap(),
                NaiveTime::from_hms_opt(6, 0, 0).unwrap(),
            )),
            holidays: BTreeSet::new(),
        };
        assert!(night.is_open(at("2026-11-27T23:00:00Z")), "Friday evening");
        assert!(
            night.is_open(at("2026-11-28T05:59:00Z")),
            "Saturday morning"
        );
        assert!(
            !night.is_open(at("2026-11-28T23:00:00Z")),
            "Saturday evening"
        );
    }
    #[test]
    fn edges_are_every_change_of_a_window() {
        let night = Calendar {
            name: "night".into(),
            zone: chrono_tz::America::New_York,
            days: [true; 7],
            hours: Some((
                NaiveTime::from_hms_opt(22, 0, 0).unwrap(),
                NaiveTime::from_hms_opt(2, 30, 0).unwrap(),
            )),
            holidays: BTreeSet::new(),
        };
        // Through both changes of the clock: between two edges nothing changes.
        for start in ["2026-03-07T12:00:00Z", "2026-10-31T12:00:00Z"] {
            let mut from = at(start);
            let until = from + Span::days(3);
            while from < until {
                let edge = night.next_edge(from);
                assert!(edge > from);
                let is_open = night.is_open(from);
                let mut between = from;
                while between < edge {
                    assert_eq!(night.is_open(between), is_open, "{between} after {from}");
                    between = between + Span::minutes(10);
                }
                from = edge;
            }
        }
    }

    #[test]
    fn a_skipped_day_does_not_panic() {
        // Samoa had no 30 December 2011.
        let zone = chrono_tz::Pacific::Apia;
        assert_eq!(
            resolve_late(zone, local("2011-12-30T12:00:00")),
            at("2011-12-30T10:00:00Z")
        );
    }

    fn business() -> Calendar {
        Calendar {
            name: "business".into(),
            zone: chrono_tz::Europe::Berlin,
            days: [true, true, true, true, true, false, false],
            hours: NaiveTime::from_hms_opt(8, 0, 0).zip(NaiveTime::from_hms_opt(18, 0, 0)),
            holidays: BTreeSet::from([NaiveDate::from_ymd_opt(2026, 12, 25).unwrap()]),
        }
    }

    #[test]
    fn the_next_opening() {
        for (from, opens) in [
            // Thursday in the hours, at the very opening and at the closing.
            ("2026-12-24T09:00:00Z", "2026-12-24T09:00:00Z"),
            ("2026-12-24T07:00:00Z", "2026-12-24T07:00:00Z"),
            ("2026-12-24T06:59:59.999Z", "2026-12-24T07:00:00Z"),
            // Over the holiday of Friday, and the weekend.
            ("2026-12-24T17:00:00Z", "2026-12-28T07:00:00Z"),
            ("2026-12-26T12:00:00Z", "2026-12-28T07:00:00Z"),
            // Over a change of the clocks: Monday 30 March is in summer time.
            ("2026-03-27T18:00:00Z", "2026-03-30T06:00:00Z"),
        ] {
            assert_eq!(business().next_open(at(from)), at(opens), "{from}");
        }
        let never = Calendar {
            days: [false; 7],
            ..business()
        };
        assert_eq!(never.next_open(at("2026-12-24T09:00:00Z")), Timestamp::MAX);
        let always = Calendar {
            days: [true; 7],
            hours: None,
            holidays: BTreeSet::new(),
            ..business()
        };
        let any = at("2026-12-24T22:22:22Z");
        assert_eq!(always.next_open(any), any);
        assert_eq!(
            always.after_open_time(any, Span::days(10)),
            any + Span::days(10)
        );
    }

    #[test]
    fn open_time_is_what_lies_in_the_hours() {
        for (from, to, minutes) in [
            ("2026-12-24T09:00:00Z", "2026-12-24T10:30:00Z", 90),
            ("2026-12-24T00:00:00Z", "2026-12-25T00:00:00Z", 600),
            ("2026-12-24T16:00:00Z", "2026-12-28T08:00:00Z", 120),
            ("2026-12-25T00:00:00Z", "2026-12-28T07:00:00Z", 0),
            ("2026-12-24T10:00:00Z", "2026-12-24T10:00:00Z", 0),
            // A week with a change of the clocks has as many hours as any.
            ("2026-03-23T00:00:00Z", "2026-03-30T00:00:00Z", 3_000),
        ] {
            let found = business().open_time(at(from), at(to));
            assert_eq!(found, Span::minutes(minutes), "{from} {to}");
        }
        for (from, minutes, until) in [
            ("2026-12-24T09:00:00Z", 90, "2026-12-24T10:30:00Z"),
            ("2026-12-24T16:00:00Z", 60, "2026-12-24T17:00:00Z"),
            ("2026-12-24T16:00:00Z", 61, "2026-12-28T07:01:00Z"),
            ("2026-12-25T16:00:00Z", 0, "2026-12-28T07:00:00Z"),
            ("2026-12-25T16:00:00Z", 600, "2026-12-28T17:00:00Z"),
        ] {
            let found = business().after_open_time(at(from), Span::minutes(minutes));
            assert_eq!(found, at(until), "{from} {minutes}");
        }
    }

    #[test]
    fn open_time_agrees_with_a_walk_over_every_quarter_of_an_hour() {
        let hours =
            |from, to| NaiveTime::from_hms_opt(from, 0, 0).zip(NaiveTime::from_hms_opt(to, 30, 0));
        for (zone, hours, days) in [
            (chrono_tz::America::New_York, hours(22, 2), [true; 7]),
            (
                chrono_tz::America::New_York,
                hours(1, 3),
                [true, false, true, false, true, true, true],
            ),
            (chrono_tz::Australia::Lord_Howe, hours(1, 2), [true; 7]),
            (
                chrono_tz::Europe::Berlin,
                None,
                [true, true, true, true, true, false, true],
            ),
            (chrono_tz::Pacific::Chatham, hours(23, 5), [true; 7]),
        ] {
            let calendar = Calendar {
                zone,
                days,
                hours,
                ..business()
            };
            let step = Span::minutes(15);
            for start in [
                "2026-03-06T12:00:00Z",
                "2026-03-27T12:00:00Z",
                "2026-04-03T12:00:00Z",
                "2026-10-31T12:00:00Z",
            ] {
                let from = at(start);
                let (mut to, mut walked) = (from, Span::zero());
                for _ in 0..4 * 24 * 4 {
                    assert_eq!(calendar.open_time(from, to), walked, "{zone} {from} {to}");
                    if walked > Span::zero() && calendar.is_open(to - step) {
                        assert_eq!(calendar.after_open_time(from, walked), to, "{zone} {from}");
                    }
                    if calendar.is_open(to) {
                        walked += step;
                        assert_eq!(calendar.next_open(to), to);
                    }
                    to = to + step;
                }
            }
        }
    }
}
