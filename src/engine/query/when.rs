//! Reads when somebody means: `3h ago`, `yesterday 07:00`, `mon 07:00`, `2026-03-10 07:00`, RFC 3339.
//!
//! Guarantees: wall time is read in the zone that is given, in a gap of daylight saving as the first instant
//! after it and in a fold as the later one; what is meant has passed. It reads no clock.

use chrono::{Datelike as _, Days, NaiveDate, NaiveDateTime, NaiveTime};
use chrono_tz::Tz;

use super::super::calendar::{parse_weekday, resolve_late};
use super::super::time::{SpanError, Timestamp, human_time, parse_span};

/// Why a text names no instant. Each says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    /// None of the forms.
    #[error(
        "`{0}` is no time; write \"3h ago\", \"yesterday 07:00\", \"mon 07:00\", \"2026-03-10 07:00\" or \"2026-03-10T07:00:00Z\""
    )]
    Form(String),
    /// A span before `ago` that is none.
    #[error("`{0}`: {1}")]
    Span(String, SpanError),
    /// It has not come yet.
    #[error("{0} has not come yet; ask about an instant that has passed")]
    Future(String),
}

/// The instant that is meant.
pub fn parse_when(text: &str, now: Timestamp, zone: Tz) -> Result<Timestamp, WhenError> {
    let short: String = text.trim().chars().take(60).collect();
    let words: Vec<String> = short.split_whitespace().map(str::to_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let at = match words.as_slice() {
        ["now"] => now,
        [span @ .., "ago"] if !span.is_empty() => {
            let span = parse_span(&span.concat());
            now - span.map_err(|error| WhenError::Span(short.clone(), error))?
        }
        _ => match Timestamp::parse(&short.to_uppercase()) {
            Some(at) => at,
            None => resolve_late(
                zone,
                wall(&words, now, zone).ok_or_else(|| WhenError::Form(short.clone()))?,
            ),
        },
    };
    if at > now {
        return Err(WhenError::Future(human_time(at, now, zone)));
    }
    Ok(at)
}

/// Wall time in words.
fn wall(words: &[&str], now: Timestamp, zone: Tz) -> Option<NaiveDateTime> {
    let local = now.in_zone(zone).naive_local();
    let (day, clock) = match words {
        [one] => match (time(one), one.split_once('t')) {
            // The newest such time that has passed.
            (Some(clock), _) => {
                let is_ahead = clock > local.time();
                let day = local.date().checked_sub_days(Days::new(is_ahead.into()))?;
                return Some(day.and_time(clock));
            }
            (None, Some((day, clock))) if date(day).is_some() => (date(day)?, time(clock)?),
            (None, _) => (day_of(one, local.date())?, NaiveTime::MIN),
        },
        ["last", day, clock] | [day, clock] => (day_of(day, local.date())?, time(clock)?),
        _ => return None,
    };
    let at = day.and_time(clock);
    // Today's weekday, later than now, is that of last week.
    let is_weekday = words.iter().any(|word| parse_weekday(word).is_some());
    if is_weekday && at > local {
        return at.checked_sub_days(Days::new(7));
    }
    Some(at)
}

fn day_of(word: &str, today: NaiveDate) -> Option<NaiveDate> {
    match word {
        "today" => Some(today),
        "yesterday" => today.pred_opt(),
        _ => match parse_weekday(word) {
            Some(weekday) => {
                let back = (7 + today.weekday().num_days_from_monday()
                    - weekday.num_days_from_monday())
                    % 7;
                today.checked_sub_days(Days::new(back.into()))
            }
            None => date(word),
        },
    }
}

fn date(word: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(word, "%Y-%m-%d").ok()
}

fn time(word: &str) -> Option<NaiveTime> {
    let seconds = NaiveTime::parse_from_str(word, "%H:%M:%S");
    seconds
        .or_else(|_| NaiveTime::parse_from_str(word, "%H:%M"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn instants_are_read_as_people_write_them() {
        // A Tuesday, 10:00 in Berlin.
        let now = at("2026-03-10T09:00:00Z");
        for (text, expected) in [
            ("now", "2026-03-10T09:00:00Z"),
            ("3h ago", "2026-03-10T06:00:00Z"),
            ("1 h 30 m ago", "2026-03-10T07:30:00Z"),
            ("07:00", "2026-03-10T06:00:00Z"),
            ("23:00", "2026-03-09T22:00:00Z"),
            ("today 07:00", "2026-03-10T06:00:00Z"),
            ("Yesterday 07:00", "2026-03-09T06:00:00Z"),
            ("mon 07:00:30", "2026-03-09T06:00:30Z"),
            ("last friday 07:00", "2026-03-06T06:00:00Z"),
            ("tue 23:00", "2026-03-03T22:00:00Z"),
            ("2026-03-01", "2026-02-28T23:00:00Z"),
            ("2026-03-01 07:00", "2026-03-01T06:00:00Z"),
            ("2026-03-01T07:00", "2026-03-01T06:00:00Z"),
            ("2026-03-01t07:00:00z", "2026-03-01T07:00:00Z"),
            ("2026-03-01T07:00:00-05:00", "2026-03-01T12:00:00Z"),
        ] {
            let found = parse_when(text, now, chrono_tz::Europe::Berlin);
            assert_eq!(found, Ok(at(expected)), "{text}");
        }
        // The wall clock shows 02:30 twice: the later one.
        let now = at("2026-11-02T09:00:00Z");
        let zone = chrono_tz::America::New_York;
        let found = parse_when("2026-11-01 01:30", now, zone);
        assert_eq!(found, Ok(at("2026-11-01T06:30:00Z")));
    }

    #[test]
    fn what_is_no_time_says_what_to_write() {
        let now = at("2026-03-10T09:00:00Z");
        for (text, said) in [
            ("", "is no time; write \"3h ago\""),
            ("soon", "`soon` is no time"),
            ("3 ago", "has no unit"),
            ("yesterday", ""),
            ("2026-03-11 07:00", "has not come yet"),
            ("yesterday 25:00", "is no time"),
        ] {
            match parse_when(text, now, Tz::UTC) {
                Ok(_) => assert_eq!(said, "", "{text}"),
                Err(error) => assert!(error.to_string().contains(said), "{text}: {error}"),
            }
        }
    }
}
