//! Instants and spans, and how they are written.
//!
//! Every instant in Tardy is a [`Timestamp`]: milliseconds since the Unix epoch, UTC. Eight bytes,
//! `Copy`, totally ordered, so that history stays small and comparisons stay exact. Wall time exists
//! only where a zone is named (calendars, schedules, rendering).

use std::fmt;
use std::ops::{Add, Sub};

use chrono::{DateTime, SecondsFormat, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// An instant: milliseconds since 1970-01-01T00:00:00Z. Valid range: years 0001 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// A signed length of time.
pub type Span = TimeDelta;

const MIN_MILLIS: i64 = -62_135_596_800_000;
const MAX_MILLIS: i64 = 253_402_300_799_999;

impl Timestamp {
    /// The earliest instant.
    pub const MIN: Self = Self(MIN_MILLIS);
    /// The latest instant; stands for "never" in due queues.
    pub const MAX: Self = Self(MAX_MILLIS);

    /// From milliseconds since the epoch, clamped to the valid range.
    pub const fn from_millis(millis: i64) -> Self {
        if millis < MIN_MILLIS {
            Self::MIN
        } else if millis > MAX_MILLIS {
            Self::MAX
        } else {
            Self(millis)
        }
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// From an RFC 3339 text with any offset. `None` if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|at| Self::from_millis(at.timestamp_millis()))
    }

    /// As a chrono value, for calendars and rendering.
    pub fn to_utc(self) -> DateTime<Utc> {
        Utc.timestamp_millis_opt(self.0)
            .single()
            .unwrap_or_default()
    }

    /// As wall time in `zone`.
    pub fn in_zone(self, zone: Tz) -> DateTime<Tz> {
        self.to_utc().with_timezone(&zone)
    }

    /// `self - earlier`, never negative.
    pub fn since(self, earlier: Self) -> Span {
        (self - earlier).max(Span::zero())
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(at: DateTime<Utc>) -> Self {
        Self::from_millis(at.timestamp_millis())
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self::from_millis(self.0.saturating_add(span.num_milliseconds()))
    }
}

impl Sub<Span> for Timestamp {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self::from_millis(self.0.saturating_sub(span.num_milliseconds()))
    }
}

impl Sub for Timestamp {
    type Output = Span;
    fn sub(self, earlier: Self) -> Span {
        Span::milliseconds(self.0 - earlier.0)
    }
}

/// RFC 3339 in UTC, with milliseconds only when they are not zero.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

/// Text (RFC 3339) for people and JSON, a plain integer in binary formats.
impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 instant"))
        } else {
            i64::deserialize(deserializer).map(Self::from_millis)
        }
    }
}

/// Why a span text was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// Nothing was written.
    #[error("a duration is a number and a unit, like \"90s\", \"15m\", \"2h\", \"7d\"")]
    Empty,
    /// A number without a unit.
    #[error("`{0}` has no unit; write \"{0}s\", \"{0}m\", \"{0}h\" or \"{0}d\"")]
    NoUnit(String),
    /// A unit that is not one of ms, s, m, h, d, w.
    #[error("unknown unit `{0}`; the units are ms, s, m, h, d, w")]
    Unit(String),
    /// Larger than 100 years.
    #[error("a duration is at most 100 years")]
    TooLarge,
}

/// Reads `90s`, `15m`, `1h30m`, `7d`, `2w`, `250ms` (units ms, s, m, h, d = 24 h, w = 7 d), at most
/// 100 years. Zero is a valid span (`0s`).
pub fn parse_span(text: &str) -> Result<Span, SpanError> {
    const LIMIT_MILLIS: i64 = 100 * 365 * 86_400_000;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(SpanError::Empty);
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let unit_len = tail.len() - tail.trim_start_matches(|c: char| c.is_alphabetic()).len();
        let (unit, after) = tail.split_at(unit_len);
        if number.is_empty() {
            return Err(SpanError::Empty);
        }
        if unit.is_empty() {
            return Err(SpanError::NoUnit(number.to_owned()));
        }
        let millis = unit_millis(unit).ok_or_else(|| SpanError::Unit(unit.to_owned()))?;
        let number: i64 = number.parse().map_err(|_| SpanError::TooLarge)?;
        total = number
            .checked_mul(millis)
            .and_then(|part| total.checked_add(part))
            .filter(|sum| *sum <= LIMIT_MILLIS)
            .ok_or(SpanError::TooLarge)?;
        rest = after.trim_start();
    }
    Ok(Span::milliseconds(total))
}

fn unit_millis(unit: &str) -> Option<i64> {
    Some(match unit {
        "ms" => 1,
        "s" | "sec" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 7 * 86_400_000,
        _ => return None,
    })
}

/// A span for people: two units at most, `52 min`, `1 h 5 min`, `42 s`, `3 d 2 h`, `0.4 s`.
pub fn human_span(span: Span) -> String {
    let millis = span.num_milliseconds();
    if millis < 0 {
        return format!("-{}", human_span(Span::milliseconds(-millis)));
    }
    if millis < 1_000 && millis > 0 {
        return format!("{millis} ms");
    }
    let seconds = (millis + 500) / 1_000;
    let (days, hours, minutes, secs) = (
        seconds / 86_400,
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    );
    let two = |a: i64, unit_a: &str, b: i64, unit_b: &str| {
        if b == 0 {
            format!("{a} {unit_a}")
        } else {
            format!("{a} {unit_a} {b} {unit_b}")
        }
    };
    if days > 0 {
        two(days, "d", hours, "h")
    } else if hours > 0 {
        two(hours, "h", minutes, "min")
    } else if minutes >= 10 {
        format!("{minutes} min")
    } else if minutes > 0 {
        two(minutes, "min", secs, "s")
    } else {
        format!("{secs} s")
    }
}

/// A span as configuration writes it: `1h30m`, `45s`, `0s`.
pub fn config_span(span: Span) -> String {
    let mut millis = span.num_milliseconds();
    if millis <= 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, size) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ] {
        if millis >= size {
            text.push_str(&(millis / size).to_string());
            text.push_str(unit);
            millis %= size;
        }
    }
    text
}

/// Wall time for people, `07:00 EST`; with the date, `12 Mar 04:15 UTC`, when it is not the day of
/// `reference` in that zone.
pub fn human_time(at: Timestamp, reference: Timestamp, zone: Tz) -> String {
    let (local, today) = (at.in_zone(zone), reference.in_zone(zone));
    if local.date_naive() == today.date_naive() {
        local.format("%H:%M %Z").to_string()
    } else {
        local.format("%-d %b %H:%M %Z").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written() {
        for (text, millis, config, human) in [
            ("90s", 90_000, "1m30s", "1 min 30 s"),
            ("15m", 900_000, "15m", "15 min"),
            ("1h30m", 5_400_000, "1h30m", "1 h 30 min"),
            ("7d", 604_800_000, "7d", "7 d"),
            ("2w", 1_209_600_000, "14d", "14 d"),
            ("250ms", 250, "250ms", "250 ms"),
            ("0s", 0, "0s", "0 s"),
        ] {
            let span = parse_span(text).unwrap();
            assert_eq!(span.num_milliseconds(), millis, "{text}");
            assert_eq!(config_span(span), config, "{text}");
            assert_eq!(human_span(span), human, "{text}");
        }
    }

    #[test]
    fn bad_spans_name_the_remedy() {
        assert_eq!(parse_span(""), Err(SpanError::Empty));
        assert_eq!(parse_span("15"), Err(SpanError::NoUnit("15".into())));
        assert_eq!(
            parse_span("15 minutes"),
            Err(SpanError::NoUnit("15".into()))
        );
        assert_eq!(parse_span("3y"), Err(SpanError::Unit("y".into())));
        assert_eq!(parse_span("99999999999d"), Err(SpanError::TooLarge));
    }

    #[test]
    fn instants_are_text_in_json_and_numbers_in_chunks() {
        let at = Timestamp::parse("2026-03-10T04:15:00Z").unwrap();
        assert_eq!(
            serde_json::to_string(&at).unwrap(),
            "\"2026-03-10T04:15:00Z\""
        );
        assert_eq!(
            serde_json::from_str::<Timestamp>("\"2026-03-10T05:15:00+01:00\"").unwrap(),
            at
        );
        let bytes = postcard::to_stdvec(&at).unwrap();
        assert_eq!(postcard::from_bytes::<Timestamp>(&bytes).unwrap(), at);
    }
}
