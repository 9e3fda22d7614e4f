//! Writes JSON straight into a text: pages of 500 rows must cost far less than reading them.

use std::fmt::Write as _;

use super::variant::{InstantStyle, Nulls, Variant};
use crate::engine::time::{Span, Timestamp};

/// Writes one JSON object at the end of a text.
pub(super) struct Object<'a> {
    out: &'a mut String,
    nulls: Nulls,
    instants: InstantStyle,
    is_empty: bool,
}

impl<'a> Object<'a> {
    pub(super) fn new(out: &'a mut String, variant: &Variant) -> Self {
        out.push('{');
        Self {
            out,
            nulls: variant.nulls,
            instants: variant.instants,
            is_empty: true,
        }
    }

    pub(super) fn text(&mut self, key: &str, value: &str) -> &mut Self {
        self.key(key);
        push_text(self.out, value);
        self
    }

    /// A text of two parts without building it first.
    pub(super) fn joined(&mut self, key: &str, first: &str, second: &str) -> &mut Self {
        if first.is_empty() {
            return self.text(key, second);
        }
        self.text(key, &format!("{first}{second}"))
    }

    pub(super) fn optional_text(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(key, value),
            None => self.null(key),
        }
    }

    pub(super) fn whole(&mut self, key: &str, value: usize) -> &mut Self {
        self.raw(key, format_args!("{value}"))
    }

    pub(super) fn flag(&mut self, key: &str, value: bool) -> &mut Self {
        self.raw(key, format_args!("{value}"))
    }

    pub(super) fn instant(&mut self, key: &str, at: Timestamp) -> &mut Self {
        self.key(key);
        self.out.push('"');
        push_instant(self.out, at, self.instants);
        self.out.push('"');
        self
    }

    pub(super) fn optional_instant(&mut self, key: &str, at: Option<Timestamp>) -> &mut Self {
        match at {
            Some(at) => self.instant(key, at),
            None => self.null(key),
        }
    }

    /// Float seconds with milliseconds.
    pub(super) fn seconds(&mut self, key: &str, span: Span) -> &mut Self {
        let millis = span.num_milliseconds().max(0);
        self.raw(
            key,
            format_args!("{}.{:03}", millis / 1_000, millis % 1_000),
        )
    }

    pub(super) fn optional_seconds(&mut self, key: &str, span: Option<Span>) -> &mut Self {
        match span {
            Some(span) => self.seconds(key, span),
            None => self.null(key),
        }
    }

    /// `value` must be JSON already.
    pub(super) fn raw(&mut self, key: &str, value: std::fmt::Arguments<'_>) -> &mut Self {
        self.key(key);
        // Writing to a text cannot fail.
        let _ = self.out.write_fmt(value);
        self
    }

    /// An array whose items `write` appends.
    pub(super) fn list(&mut self, key: &str, write: impl FnOnce(&mut String)) -> &mut Self {
        self.key(key);
        self.out.push('[');
        write(self.out);
        self.out.push(']');
        self
    }

    /// A nested value that `write` appends.
    pub(super) fn nested(&mut self, key: &str, write: impl FnOnce(&mut String)) -> &mut Self {
        self.key(key);
        write(self.out);
        self
    }

    pub(super) fn null(&mut self, key: &str) -> &mut Self {
        if self.nulls == Nulls::Explicit {
            self.raw(key, format_args!("null"));
        }
        self
    }

    pub(super) fn end(&mut self) {
        self.out.push('}');
    }

    fn key(&mut self, key: &str) {
        if !self.is_empty {
            self.out.push(',');
        }
        self.is_empty = false;
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
    }
}

/// Appends `items` separated by commas.
pub(super) fn push_items<T>(
    out: &mut String,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        write(out, item);
    }
}

/// Appends a JSON string.
pub(super) fn push_text(out: &mut String, value: &str) {
    let is_plain = value
        .bytes()
        .all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    if is_plain {
        out.push('"');
        out.push_str(value);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(value).to_string());
    }
}

/// Appends an instant. Calendar arithmetic by hand (days to civil date), because a page of 500 runs
/// writes 2 000 of them.
fn push_instant(out: &mut String, at: Timestamp, style: InstantStyle) {
    let millis = at.as_millis();
    let (days, in_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    push_digits(out, year, 4);
    for (before, value) in [
        ('-', month),
        ('-', day),
        ('T', in_day / 3_600_000),
        (':', in_day / 60_000 % 60),
        (':', in_day / 1_000 % 60),
    ] {
        out.push(before);
        push_digits(out, value, 2);
    }
    let fraction = in_day % 1_000;
    if fraction != 0 || style == InstantStyle::Micros {
        out.push('.');
        push_digits(out, fraction, 3);
    }
    out.push_str(match style {
        InstantStyle::Zulu => "Z",
        InstantStyle::Micros => "000Z",
        InstantStyle::Offset => "+00:00",
    });
}

/// Appends `20260310-041500`, as Kubernetes job names carry it.
pub(super) fn push_stamp(out: &mut String, at: Timestamp) {
    let millis = at.as_millis();
    let (year, month, day) = civil(millis.div_euclid(86_400_000));
    let in_day = millis.rem_euclid(86_400_000);
    push_digits(out, year, 4);
    push_digits(out, month, 2);
    push_digits(out, day, 2);
    out.push('-');
    for value in [
        in_day / 3_600_000,
        in_day / 60_000 % 60,
        in_day / 1_000 % 60,
    ] {
        push_digits(out, value, 2);
    }
}

fn push_digits(out: &mut String, value: i64, width: u32) {
    for place in (0..width).rev() {
        let digit = value / 10_i64.pow(place) % 10;
        out.push(char::from(b'0' + u8::try_from(digit).unwrap_or(0)));
    }
}

/// Year, month and day of the given day since 1970-01-01, in the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468; // days since 0000-03-01
    let era = shifted.div_euclid(146_097);
    let in_era = shifted.rem_euclid(146_097);
    let year_of_era = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_agree_with_the_calendar_library() {
        let mut millis: i64 = -3_000_000_000_000;
        while millis < 6_000_000_000_000 {
            let at = Timestamp::from_millis(millis);
            let mut out = String::new();
            push_instant(&mut out, at, InstantStyle::Zulu);
            assert_eq!(out, at.to_string());
            millis += 7_777_777_777;
        }
    }

    #[test]
    fn nulls_are_left_out_or_written() {
        let write = |number| {
            let mut out = String::new();
            Object::new(&mut out, &Variant::number(number))
                .text("a", "x\"\n")
                .optional_text("b", None)
                .seconds("c", Span::milliseconds(281_402))
                .list("d", |out| {
                    push_items(out, [1, 2], |out, n| out.push_str(&n.to_string()));
                })
                .end();
            out
        };
        assert_eq!(write(0), r#"{"a":"x\"\n","c":281.402,"d":[1,2]}"#);
        assert_eq!(write(2), r#"{"a":"x\"\n","b":null,"c":281.402,"d":[1,2]}"#);
    }

    #[test]
    fn instants_have_three_styles() {
        let at = Timestamp::parse("2026-03-12T06:00:00.25Z").unwrap();
        for (style, expected) in [
            (InstantStyle::Zulu, "2026-03-12T06:00:00.250Z"),
            (InstantStyle::Micros, "2026-03-12T06:00:00.250000Z"),
            (InstantStyle::Offset, "2026-03-12T06:00:00.250+00:00"),
        ] {
            let mut out = String::new();
            push_instant(&mut out, at, style);
            assert_eq!(out, expected);
        }
    }
}
