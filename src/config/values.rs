//! Meanings of single texts: spans, zones, schedules, times, limits.
//!
//! Every refusal says what is wrong and what to write instead.

use std::ops::Range;

use chrono::{NaiveDate, NaiveTime, Weekday};
use chrono_tz::Tz;

use crate::engine::calendar::parse_weekday;
use crate::engine::labels::Matcher;
use crate::engine::rule::deadline::{By, On};
use crate::engine::rule::{Limit, Statistic, Times};
use crate::engine::schedule::{Cron, CronError};
use crate::engine::time::{Span, parse_span};

use super::context::{Context, Draft, did_you_mean, nearest};
use super::place::Place;

/// Why a text was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    message: String,
    help: String,
    label: Option<String>,
    /// The part of the text that is wrong; `None`: all of it.
    pub(super) part: Option<Range<usize>>,
}

impl Refusal {
    /// A refusal of the whole text.
    pub(super) fn new(
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            code,
            message: message.into(),
            help: help.into(),
            label: None,
            part: None,
        }
    }

    /// Words under the caret.
    pub(super) fn label(self, label: impl Into<String>) -> Self {
        Self {
            label: Some(label.into()),
            ..self
        }
    }

    fn part(self, part: Option<Range<usize>>) -> Self {
        Self { part, ..self }
    }

    /// As a mistake at its place.
    pub(super) fn into_draft(self, place: Place) -> Draft {
        let draft = Draft::error(self.code, place, self.message).help(self.help);
        match self.label {
            Some(label) => draft.label(label),
            None => draft,
        }
    }
}

/// `15m`, `1h30m`.
pub(super) fn span(text: &str) -> Result<Span, Refusal> {
    parse_span(text).map_err(|error| {
        Refusal::new(
            "bad-duration",
            format!("bad duration: {error}"),
            "write numbers with units, like \"90s\", \"15m\", \"1h30m\", \"7d\"",
        )
    })
}

/// Above zero.
pub(super) fn positive_span(text: &str) -> Result<Span, Refusal> {
    let span = span(text)?;
    if span > Span::zero() {
        return Ok(span);
    }
    Err(Refusal::new(
        "out-of-range",
        "this duration must be longer than zero",
        "write a duration like \"15m\", or remove the key",
    ))
}

/// At least `least`.
pub(super) fn span_from(least: Span, text: &str) -> Result<Span, Refusal> {
    let span = span(text)?;
    if span >= least {
        return Ok(span);
    }
    let least = crate::engine::time::config_span(least);
    Err(Refusal::new(
        "too-short",
        format!("this duration is too short: the least is {least}"),
        format!("write \"{least}\" or more"),
    ))
}

/// One of the listed words.
pub(super) fn one_of(
    text: &str,
    what: &str,
    words: &'static [&'static str],
) -> Result<&'static str, Refusal> {
    words
        .iter()
        .find(|word| **word == text)
        .copied()
        .ok_or_else(|| {
            Refusal::new(
                "unknown-word",
                format!("unknown value `{text}` of `{what}`"),
                did_you_mean(text, "the values are", words.iter().copied()),
            )
        })
}

/// An IANA zone; fixed offsets and abbreviations, which know no daylight saving, are refused.
pub(super) fn zone(text: &str) -> Result<Tz, Refusal> {
    if is_fixed_offset(text) {
        let help = match usual_zone(text) {
            Some(zone) => format!("use an IANA zone such as {zone}, which knows daylight saving"),
            None => "use an IANA zone such as America/New_York, which knows daylight saving".into(),
        };
        let message = format!("`{text}` is a fixed offset, not a time zone");
        return Err(Refusal::new("fixed-offset", message, help));
    }
    let is_place = text.contains('/') && !text.starts_with("Etc/");
    if (is_place || matches!(text, "UTC" | "Etc/UTC"))
        && let Ok(zone) = text.parse::<Tz>()
    {
        return Ok(zone);
    }
    let names = || chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    let help = match usual_zone(text).or_else(|| nearest_zone(text, names())) {
        Some(zone) => format!("did you mean `{zone}`? use an IANA name of a place, or UTC"),
        None => "use an IANA zone such as America/New_York or Europe/Berlin, or UTC".to_owned(),
    };
    Err(Refusal::new(
        "unknown-zone",
        format!("unknown time zone `{text}`"),
        help,
    ))
}

fn nearest_zone<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let city = |name: &str| {
        name.rsplit('/')
            .next()
            .unwrap_or(name)
            .to_lowercase()
            .replace('_', " ")
    };
    let wanted = text.to_lowercase().replace('_', " ");
    let places: Vec<&str> = names.filter(|name| name.contains('/')).collect();
    places
        .iter()
        .find(|name| city(name) == wanted)
        .copied()
        .or_else(|| nearest(text, places))
}

fn is_fixed_offset(text: &str) -> bool {
    let upper = text.to_uppercase();
    let rest = ["UTC", "GMT", "ETC/GMT", "ETC/UTC", ""]
        .iter()
        .find_map(|prefix| {
            upper
                .strip_prefix(prefix)
                .filter(|rest| rest.starts_with(['+', '-']))
        });
    let is_offset = rest.is_some_and(|rest| {
        rest[1..].chars().all(|c| c.is_ascii_digit() || c == ':') && rest.len() > 1
    });
    // Abbreviations, and POSIX forms like EST5EDT.
    let is_short = upper.len() <= 8
        && upper
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
        && usual_zone(text).is_some();
    is_offset || is_short || upper == "Z"
}

/// The zone that an abbreviation most often stands for.
fn usual_zone(text: &str) -> Option<&'static str> {
    Some(match text.to_uppercase().as_str() {
        "EST" | "EDT" | "EST5EDT" | "ET" => "America/New_York",
        "CST" | "CDT" | "CST6CDT" | "CT" => "America/Chicago",
        "MST" | "MDT" | "MST7MDT" | "MT" => "America/Denver",
        "PST" | "PDT" | "PST8PDT" | "PT" => "America/Los_Angeles",
        "HST" => "Pacific/Honolulu",
        "CET" | "CEST" | "MET" | "MEZ" | "MESZ" => "Europe/Berlin",
        "WET" | "WEST" => "Europe/Lisbon",
        "EET" | "EEST" => "Europe/Athens",
        "GMT" | "BST" | "GB" => "Europe/London",
        "IST" => "Asia/Kolkata",
        "JST" => "Asia/Tokyo",
        "AEST" | "AEDT" => "Australia/Sydney",
        _ => return None,
    })
}

/// The remedy for a date that no year has.
pub(super) const NEVER_FIRES_HELP: &str = "write a day that its month has, like \"0 8 28 2 *\"";

/// A schedule of ours.
pub(super) fn cron(context: &Context<'_>, text: &str) -> Result<Cron, Refusal> {
    context
        .cron(text)
        .map_err(|error| cron_refusal(text, &error))
}

fn cron_refusal(text: &str, error: &CronError) -> Refusal {
    let help = "write five fields (minute hour day month weekday) like \"0 8 * * mon-fri\", \
                or six or seven with seconds first like \"*/15 * * * * *\"";
    if *error == CronError::Never {
        return Refusal::new("never-fires", "this schedule never fires", NEVER_FIRES_HELP);
    }
    let part = match error {
        CronError::Field { text: field, .. } => field_part(text, field),
        _ => None,
    };
    Refusal::new("bad-cron", format!("bad cron expression: {error}"), help).part(part)
}

/// Where a field stands in its expression.
fn field_part(text: &str, field: &str) -> Option<Range<usize>> {
    let mut at = 0;
    for word in text.split_whitespace() {
        let start = at + text.get(at..)?.find(word)?;
        at = start + word.len();
        if word.eq_ignore_ascii_case(field) {
            return Some(start..at);
        }
    }
    text.find(field)
        .filter(|_| !field.is_empty())
        .map(|start| start..start + field.len())
}

/// `07:00`.
pub(super) fn time(text: &str) -> Result<NaiveTime, Refusal> {
    let is_plain = text.len() >= 5 && text.bytes().all(|c| c.is_ascii_digit() || c == b':');
    let parsed = NaiveTime::parse_from_str(text, "%H:%M")
        .or_else(|_| NaiveTime::parse_from_str(text, "%H:%M:%S"));
    match parsed {
        Ok(time) if is_plain => Ok(time),
        _ => Err(Refusal::new(
            "bad-time",
            format!("`{text}` is not a time of day"),
            "write hours and minutes with two digits each, like \"07:00\" or \"18:30\"",
        )),
    }
}

/// `08:00-18:00`; `00:00-24:00` is the whole day.
pub(super) fn hours(text: &str) -> Result<Option<(NaiveTime, NaiveTime)>, Refusal> {
    let form = || {
        Refusal::new(
            "bad-time",
            format!("`{text}` are not hours"),
            "write opening and closing time, like \"08:00-18:00\"",
        )
    };
    let (open, close) = text.split_once('-').ok_or_else(form)?;
    let open = time(open.trim()).map_err(|_| form())?;
    let is_midnight = close.trim() == "24:00";
    let close = if is_midnight {
        Ok(NaiveTime::MIN)
    } else {
        time(close.trim())
    };
    let close = close.map_err(|_| form())?;
    match open == close {
        true if is_midnight => Ok(None),
        true => Err(Refusal::new(
            "bad-time",
            "opening and closing time are the same",
            "leave `hours` out for the whole day, or write two different times",
        )),
        false => Ok(Some((open, close))),
    }
}

const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// `mon`.
pub(super) fn weekday(text: &str) -> Result<Weekday, Refusal> {
    parse_weekday(text).ok_or_else(|| {
        Refusal::new(
            "unknown-word",
            format!("unknown weekday `{text}`"),
            did_you_mean(text, "the weekdays are", WEEKDAYS),
        )
    })
}

/// Days of a calendar: counted, or left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Days {
    /// Written with `!`.
    pub(super) is_left_out: bool,
    /// Which.
    pub(super) which: DaysOf,
}

/// Which days are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DaysOf {
    /// Weekdays, Monday first.
    Week([bool; 7]),
    /// One date.
    Date(NaiveDate),
}

/// `mon`, `mon-fri`, `!sat`, `!2026-12-24`.
pub(super) fn days(text: &str) -> Result<Days, Refusal> {
    let (is_left_out, rest) = match text.strip_prefix('!') {
        Some(rest) => (true, rest.trim()),
        None => (false, text),
    };
    if rest.starts_with(|c: char| c.is_ascii_digit()) {
        let date = date(rest)?;
        return if is_left_out {
            let which = DaysOf::Date(date);
            Ok(Days { is_left_out, which })
        } else {
            Err(Refusal::new(
                "bad-date",
                "a date cannot be added to the weekdays",
                format!("write \"!{rest}\" to leave it out, or remove it"),
            ))
        };
    }
    let mut week = [false; 7];
    let number = |word: &str| weekday(word.trim()).map(|day| day.num_days_from_monday() as usize);
    match rest.split_once('-') {
        None => week[number(rest)?] = true,
        Some((from, to)) => {
            let (from, to) = (number(from)?, number(to)?);
            let length = (to + 7 - from) % 7;
            (0..=length).for_each(|step| week[(from + step) % 7] = true);
        }
    }
    let which = DaysOf::Week(week);
    Ok(Days { is_left_out, which })
}

/// `07:00`, `26:00` or `+2h after schedule`.
pub(super) fn due(text: &str) -> Result<By, Refusal> {
    let form = |message: String| {
        Refusal::new(
            "bad-time",
            message,
            "write a time of day like \"07:00\", one after midnight like \"26:00\" (until \"47:59\"), \
             or a delay like \"+2h after schedule\"",
        )
    };
    if let Some(delay) = text.trim_start().strip_prefix('+') {
        let delay = delay
            .trim_end()
            .strip_suffix("after schedule")
            .ok_or_else(|| form(format!("`{text}` is a delay after nothing")))?;
        return positive_span(delay.trim()).map(By::AfterTick);
    }
    let next_day = text.split_once(':').and_then(|(hour, rest)| {
        let hour: u32 = hour.parse().ok().filter(|hour| (24..48).contains(hour))?;
        time(&format!("{:02}:{rest}", hour - 24)).ok()
    });
    match next_day {
        Some(time) => Ok(By::NextDay(time)),
        None => time(text)
            .map(By::Time)
            .map_err(|_| form(format!("`{text}` is not a time of day"))),
    }
}

/// `business day 3`, `last business day`, `day 15`, `last day`.
pub(super) fn month_days(text: &str) -> Result<On, Refusal> {
    const FORMS: &str =
        "write \"business day 3\", \"last business day\", \"day 15\" or \"last day\"";
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let number = |digits: &str, most: u32, instead: &str| match digits.parse::<u32>() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        Ok(number) => Err(Refusal::new(
            "out-of-range",
            format!("not every month has a {number} here: the numbers are 1 to {most}"),
            format!("write a smaller number, or \"{instead}\""),
        )),
        Err(_) => Err(Refusal::new(
            "bad-day",
            format!("`{digits}` is not the number of a day"),
            FORMS,
        )),
    };
    match words.as_str() {
        "last business day" => Ok(On::LastBusinessDay),
        "last day" => Ok(On::LastDay),
        other => match (
            other.strip_prefix("business day "),
            other.strip_prefix("day "),
        ) {
            (Some(digits), _) => number(digits, 15, "last business day").map(On::BusinessDay),
            (None, Some(digits)) => number(digits, 28, "last day").map(On::Day),
            (None, None) => Err(Refusal::new(
                "bad-day",
                format!("`{text}` are not days of a month"),
                FORMS,
            )),
        },
    }
}

/// `2026-12-25`.
pub(super) fn date(text: &str) -> Result<NaiveDate, Refusal> {
    text.parse().map_err(|_| {
        Refusal::new(
            "bad-date",
            format!("`{text}` is not a date"),
            "write year, month and day of a date that exists, like \"2026-12-25\"",
        )
    })
}

/// `severity = "critical"`.
pub(super) fn matcher(text: &str) -> Result<Matcher, Refusal> {
    Matcher::parse(text).map_err(|error| {
        Refusal::new(
            "bad-matcher",
            format!("bad matcher: {error}"),
            "write a label, one of = != =~ !~, and a value, like 'severity = \"critical\"'",
        )
    })
}

/// A label's name.
pub(super) fn label_name(text: &str) -> Result<String, Refusal> {
    let is_name = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !text.starts_with(|c: char| c.is_ascii_digit());
    if is_name {
        return Ok(text.to_owned());
    }
    Err(Refusal::new(
        "bad-label",
        format!("`{text}` is not a label name"),
        "write letters, digits and underscores, not starting with a digit, like \"project\"",
    ))
}

/// A name of something configured.
pub(super) fn name(text: &str) -> Result<String, Refusal> {
    const MOST: usize = 200;
    if text.chars().any(char::is_control) || text.trim() != text || text.chars().count() > MOST {
        return Err(Refusal::new(
            "bad-name",
            "a name has no line breaks, no spaces around it and at most 200 characters",
            "write a short name like \"nightly-refresh\"",
        ));
    }
    Ok(text.to_owned())
}

/// `45m` or `1.5x p95`.
pub(super) fn limit(text: &str) -> Result<Limit, Refusal> {
    let Some((factor, statistic)) = text.split_once(['x', '×']) else {
        return positive_span(text).map(Limit::Fixed);
    };
    let form = || {
        Refusal::new(
            "bad-limit",
            format!("`{text}` is not a limit"),
            "write a duration like \"45m\", or a factor of median, p90, p95, p99 or max like \"1.5x p95\"",
        )
    };
    let factor: f64 = factor.trim().parse().map_err(|_| form())?;
    let of = match statistic.trim() {
        "median" | "p50" => Statistic::Median,
        "p90" => Statistic::P90,
        "p95" => Statistic::P95,
        "p99" => Statistic::P99,
        "max" => Statistic::Max,
        _ => return Err(form()),
    };
    if factor > 0.0 && factor.is_finite() {
        Ok(Limit::Factor { factor, of })
    } else {
        Err(form())
    }
}

/// `2 of 3`.
pub(super) fn times(text: &str) -> Result<Times, Refusal> {
    const MOST: u32 = 100;
    let form = |why: String| {
        Refusal::new(
            "bad-times",
            why,
            format!("write \"n of m\" with 1 <= n <= m <= {MOST}, like \"2 of 3\""),
        )
    };
    let numbers = text.split_once("of").and_then(|(needed, of)| {
        Some((
            needed.trim().parse::<u32>().ok()?,
            of.trim().parse::<u32>().ok()?,
        ))
    });
    match numbers {
        None => Err(form(format!("`{text}` is not of the form \"n of m\""))),
        Some((needed, of)) if needed >= 1 && needed <= of && of <= MOST => Ok(Times { needed, of }),
        Some((needed, of)) if needed > of => {
            Err(form(format!("{needed} of {of} runs can never breach")))
        }
        Some((needed, of)) => Err(form(format!("{needed} of {of} runs is out of range"))),
    }
}

/// A text whose `{placeholders}` are all known. `{{` and `}}` stand for braces.
pub(super) fn template<'a>(
    text: &str,
    known: impl Fn(&str) -> bool,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Result<String, Refusal> {
    let mut rest = 0;
    while let Some(found) = text[rest..].find('{') {
        let open = rest + found;
        if text[open + 1..].starts_with('{') {
            rest = open + 2;
            continue;
        }
        let Some(len) = text[open + 1..].find('}') else {
            let help = "close it with }, or write {{ for a brace";
            let message = "a placeholder is opened and not closed";
            return Err(Refusal::new("bad-placeholder", message, help).part(Some(open..text.len())));
        };
        let close = open + 1 + len;
        let name = &text[open + 1..close];
        if !known(name.trim()) {
            let message = format!("unknown placeholder `{{{name}}}`");
            let help = did_you_mean(name, "the placeholders are", candidates);
            return Err(Refusal::new("bad-placeholder", message, help).part(Some(open..close + 1)));
        }
        rest = close + 1;
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_places() {
        for name in ["UTC", "Etc/UTC", "Europe/Berlin", "America/New_York"] {
            assert!(zone(name).is_ok(), "{name}");
        }
        for (name, code, hint) in [
            ("+01:00", "fixed-offset", "America/New_York"),
            ("UTC+1", "fixed-offset", "IANA"),
            ("GMT-5", "fixed-offset", "IANA"),
            ("Etc/GMT+5", "fixed-offset", "IANA"),
            ("EST5EDT", "fixed-offset", "America/New_York"),
            ("EST", "fixed-offset", "America/New_York"),
            ("CET", "fixed-offset", "Europe/Berlin"),
            ("Europe/Berln", "unknown-zone", "Europe/Berlin"),
            ("europe/berlin", "unknown-zone", "Europe/Berlin"),
            ("Berlin", "unknown-zone", "Europe/Berlin"),
            ("nowhere at all", "unknown-zone", "IANA"),
        ] {
            let refusal = zone(name).unwrap_err();
            assert_eq!(refusal.code, code, "{name}");
            assert!(refusal.help.contains(hint), "{name}: {}", refusal.help);
        }
    }

    #[test]
    fn limits_are_spans_or_factors() {
        assert_eq!(limit("45m").unwrap(), Limit::Fixed(Span::minutes(45)));
        let factor = Limit::Factor {
            factor: 1.5,
            of: Statistic::P95,
        };
        assert_eq!(limit("1.5x p95").unwrap(), factor);
        assert_eq!(limit("1.5xp95").unwrap(), factor);
        for text in ["1.5x", "x p95", "0x p95", "-1x p95", "1.5x p42", "45", "0s"] {
            assert!(limit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn placeholders_are_known() {
        let check = |text: &str| template(text, |name| name == "job", ["job"]).map_err(|r| r.part);
        assert!(check("{job} is {{late}}").is_ok());
        assert_eq!(check("a {jbo} b"), Err(Some(2..7)));
        assert_eq!(check("a {job"), Err(Some(2..6)));
    }
}
