//! Holidays from an iCalendar file (RFC 5545).
//!
//! Read are events: dates, date-times that cover whole local days, `DTEND` (exclusive) or `DURATION`, yearly
//! rules, `RDATE`, `EXDATE` and moved instances (`RECURRENCE-ID`). What could change which days are holidays
//! and is not understood is refused with its line: a holiday that is silently missing wakes somebody.

mod lines;
mod recurrence;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use chrono_tz::Tz;

use crate::engine::calendar::{after_gap, instants};
use crate::engine::time::Timestamp;

use super::context::{Context, Draft};
use super::load::{MAX_FILE_BYTES, io_words, read_bounded};
use super::place::{SourceText, shown};
use super::tree::Spot;
use lines::{Line, lines};
use recurrence::Yearly;

/// How every file begins.
const BEGIN: &str = "BEGIN:VCALENDAR";

/// Most days that one file may name.
const MAX_DAYS: usize = 50_000;

/// Most events in one file.
const MAX_EVENTS: usize = 2_000;

/// Longest event; a longer one is a slip of the pen.
const MAX_EVENT_DAYS: u64 = 366;

/// What is wrong in a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mistake {
    /// The line on which the property begins, from 1.
    line: usize,
    message: String,
    help: String,
}

impl Mistake {
    fn new(line: &Line<'_>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            line: line.number,
            message: message.into(),
            help: help.into(),
        }
    }
}

/// Reads the file that a key names; mistakes are noted.
pub(super) fn read(context: &Context<'_>, file: &Spot<String>, zone: Tz) -> BTreeSet<NaiveDate> {
    let path = context.folder.join(&file.value);
    let name = shown(&path);
    let refuse = |why: String, help: &str| {
        let message = format!("cannot read {name}: {why}");
        context.push(Draft::error("unreadable-file", file.place, message).help(help));
        BTreeSet::new()
    };
    let bytes = match read_bounded(&path) {
        Ok(bytes) if bytes.len() as u64 > MAX_FILE_BYTES => {
            return refuse(
                "it is longer than 1 MiB".into(),
                "keep only the holidays in it",
            );
        }
        Ok(bytes) => bytes,
        Err(error) => {
            return refuse(
                io_words(&error),
                "put an iCalendar file there (paths are relative to this file), or list the dates in `holidays`",
            );
        }
    };
    let Ok(text) = String::from_utf8(bytes) else {
        return refuse("it is not UTF-8 text".into(), "save the file as UTF-8");
    };
    // Nothing of a file that is something else is shown: it may be a secret.
    let head = text.trim_start_matches('\u{feff}').trim_start();
    let is_calendar = head.get(..BEGIN.len());
    if !is_calendar.is_some_and(|head| head.eq_ignore_ascii_case(BEGIN)) {
        return refuse(
            format!("it is no iCalendar file: it does not begin with {BEGIN}"),
            "name an .ics file that a calendar program exported",
        );
    }
    match days(&text, zone) {
        Ok(days) => days,
        Err(mistake) => {
            let range = line_range(&text, mistake.line);
            let place = context.add_text(SourceText::new(name.clone(), name, text));
            context.push(
                Draft::error("bad-ics", place.part(&range), mistake.message)
                    .help(mistake.help)
                    .related(file.place, "the file is named here"),
            );
            BTreeSet::new()
        }
    }
}

/// The bytes of a line, from 1.
fn line_range(text: &str, number: usize) -> std::ops::Range<usize> {
    let mut start = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if index + 1 == number {
            return start..start + line.trim_end().len();
        }
        start += line.len();
    }
    0..0
}

/// An event while it is read.
#[derive(Default)]
struct Event<'t> {
    begins: Option<Line<'t>>,
    uid: String,
    start: Option<(Line<'t>, Moment)>,
    end: Option<(Line<'t>, Moment)>,
    duration: Option<TimeDelta>,
    rule: Option<(Line<'t>, Yearly)>,
    added: Vec<Moment>,
    left_out: Vec<Moment>,
    /// It replaces this instance of the event with the same id.
    replaces: Option<Moment>,
    is_cancelled: bool,
}

/// A date, or a local date and time in the calendar's zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Date(NaiveDate),
    Time(NaiveDateTime),
}

impl Moment {
    fn date(self) -> NaiveDate {
        match self {
            Self::Date(date) => date,
            Self::Time(local) => local.date(),
        }
    }

    fn local(self) -> NaiveDateTime {
        match self {
            Self::Date(date) => date.and_time(NaiveTime::MIN),
            Self::Time(local) => local,
        }
    }
}

/// Every day that an event covers, of midnight to midnight in `zone`.
fn days(text: &str, zone: Tz) -> Result<BTreeSet<NaiveDate>, Mistake> {
    let mut open: Vec<String> = Vec::new();
    let mut event: Option<Event<'_>> = None;
    let mut events = Vec::new();
    let mut is_calendar = false;
    let all = lines(text)?;
    for line in &all {
        match line.name.as_str() {
            "BEGIN" => {
                let what = line.value.trim().to_ascii_uppercase();
                is_calendar |= what == "VCALENDAR";
                if what == "VEVENT" {
                    event = Some(Event {
                        begins: Some(line.clone()),
                        ..Event::default()
                    });
                }
                open.push(what);
            }
            "END" => {
                let what = line.value.trim().to_ascii_uppercase();
                if open.pop().as_deref() != Some(what.as_str()) {
                    let message = format!("END:{what} ends what did not begin");
                    return Err(Mistake::new(line, message, "export the calendar again"));
                }
                if what == "VEVENT" {
                    events.extend(event.take());
                    if events.len() > MAX_EVENTS {
                        let message = format!("more than {MAX_EVENTS} events");
                        return Err(Mistake::new(
                            line,
                            message,
                            "keep only the holidays in the file",
                        ));
                    }
                }
            }
            // Alarms inside an event have times of their own.
            _ if open.last().is_some_and(|what| what == "VEVENT") => {
                if let Some(event) = &mut event {
                    event.take(line, zone)?;
                }
            }
            _ => {}
        }
    }
    let end = Line::at_end(text);
    if !is_calendar {
        return Err(Mistake::new(
            &Line::at_start(),
            "this is no iCalendar file: there is no BEGIN:VCALENDAR",
            "name an .ics file that a calendar program exported",
        ));
    }
    if let Some(what) = open.pop() {
        let message = format!("the file ends inside {what}");
        return Err(Mistake::new(
            &end,
            message,
            "export the calendar again: it is cut off",
        ));
    }
    all_days(&events, &end)
}

fn all_days(events: &[Event<'_>], end: &Line<'_>) -> Result<BTreeSet<NaiveDate>, Mistake> {
    let mut moved: BTreeMap<&str, BTreeSet<NaiveDate>> = BTreeMap::new();
    for event in events {
        if let Some(instance) = event.replaces {
            moved.entry(&event.uid).or_default().insert(instance.date());
        }
    }
    let none = BTreeSet::new();
    let mut days = BTreeSet::new();
    for event in events.iter().filter(|event| !event.is_cancelled) {
        let left_out = match event.replaces {
            None => moved.get(event.uid.as_str()).unwrap_or(&none),
            Some(_) => &none,
        };
        event.add_days(left_out, &mut days)?;
        if days.len() > MAX_DAYS {
            let message = format!("more than {MAX_DAYS} holidays");
            return Err(Mistake::new(
                end,
                message,
                "keep only the holidays in the file",
            ));
        }
    }
    Ok(days)
}

impl<'t> Event<'t> {
    fn take(&mut self, line: &Line<'t>, zone: Tz) -> Result<(), Mistake> {
        match line.name.as_str() {
            "UID" => line.value.trim().clone_into(&mut self.uid),
            "DTSTART" => self.start = Some((line.clone(), moment(line, &line.value, zone)?)),
            "DTEND" => self.end = Some((line.clone(), moment(line, &line.value, zone)?)),
            "DURATION" => self.duration = Some(duration(line)?),
            "RRULE" => {
                if self.rule.is_some() {
                    return Err(Mistake::new(
                        line,
                        "an event with two rules",
                        "split it into two events",
                    ));
                }
                self.rule = Some((line.clone(), Yearly::parse(line)?));
            }
            "EXRULE" => {
                return Err(Mistake::new(
                    line,
                    "EXRULE is not understood",
                    "write the exceptions as EXDATE lines",
                ));
            }
            "RDATE" => self.added.extend(moments(line, zone)?),
            "EXDATE" => self.left_out.extend(moments(line, zone)?),
            "RECURRENCE-ID" => self.replaces = Some(moment(line, &line.value, zone)?),
            "STATUS" => self.is_cancelled = line.value.trim().eq_ignore_ascii_case("CANCELLED"),
            _ => {}
        }
        Ok(())
    }

    /// Adds the days of all its instances.
    fn add_days(
        &self,
        moved: &BTreeSet<NaiveDate>,
        days: &mut BTreeSet<NaiveDate>,
    ) -> Result<(), Mistake> {
        let Some((line, start)) = &self.start else {
            let begins = self.begins.clone().unwrap_or_else(Line::at_start);
            return Err(Mistake::new(
                &begins,
                "this event has no DTSTART",
                "give it a date like DTSTART;VALUE=DATE:20261225, or remove it",
            ));
        };
        let length = self.length(line, *start)?;
        let mut starts: Vec<Moment> = match &self.rule {
            Some((_, rule)) => {
                let dates = rule.dates(start.date());
                dates.into_iter().map(|date| start.on(date)).collect()
            }
            None => vec![*start],
        };
        starts.extend(&self.added);
        let left_out: BTreeSet<NaiveDate> = self.left_out.iter().map(|at| at.date()).collect();
        for start in starts {
            let date = start.date();
            if left_out.contains(&date) || moved.contains(&date) {
                continue;
            }
            let (from, to) = (start.local(), start.local() + length);
            let first = if from.time() == NaiveTime::MIN {
                date
            } else {
                date + Days::new(1)
            };
            // Whole days only: a meeting at ten makes no holiday.
            let covered = first.iter_days().take_while(|day| {
                day.succ_opt()
                    .is_some_and(|next| next.and_time(NaiveTime::MIN) <= to)
            });
            days.extend(covered);
        }
        Ok(())
    }

    fn length(&self, line: &Line<'_>, start: Moment) -> Result<TimeDelta, Mistake> {
        let length = match (&self.end, self.duration) {
            (Some((_, end)), _) => end.local() - start.local(),
            (None, Some(duration)) => duration,
            (None, None) => match start {
                Moment::Date(_) => TimeDelta::days(1),
                Moment::Time(_) => TimeDelta::zero(),
            },
        };
        let line = self.end.as_ref().map_or(line, |(line, _)| line);
        if length < TimeDelta::zero() {
            return Err(Mistake::new(
                line,
                "the event ends before it begins",
                "correct DTSTART or DTEND; DTEND is the day after the last one",
            ));
        }
        if length.num_days().unsigned_abs() > MAX_EVENT_DAYS {
            return Err(Mistake::new(
                line,
                format!("an event of {} days", length.num_days()),
                "correct DTSTART or DTEND: an event is at most a year long",
            ));
        }
        // Some programs end an event of one day on the day itself.
        match start {
            Moment::Date(_) if length == TimeDelta::zero() => Ok(TimeDelta::days(1)),
            _ => Ok(length),
        }
    }
}

impl Moment {
    /// The same time on another date.
    fn on(self, date: NaiveDate) -> Self {
        match self {
            Self::Date(_) => Self::Date(date),
            Self::Time(local) => Self::Time(date.and_time(local.time())),
        }
    }
}

fn moments(line: &Line<'_>, zone: Tz) -> Result<Vec<Moment>, Mistake> {
    line.value
        .split(',')
        .map(|value| moment(line, value, zone))
        .collect()
}

/// `20261225`, `20261225T000000`, `20261225T000000Z`; a time with a zone is put into the calendar's.
fn moment(line: &Line<'_>, value: &str, zone: Tz) -> Result<Moment, Mistake> {
    let value = value.trim();
    let refuse = || {
        Mistake::new(
            line,
            format!("`{value}` is not a date of {}", line.name),
            "write a date like 20261225, with ;VALUE=DATE, or a time like 20261225T000000Z",
        )
    };
    if value.len() == 8 {
        return NaiveDate::parse_from_str(value, "%Y%m%d")
            .map(Moment::Date)
            .map_err(|_| refuse());
    }
    let (text, is_utc) = match value.strip_suffix('Z') {
        Some(text) => (text, true),
        None => (value, false),
    };
    let local = NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%S").map_err(|_| refuse())?;
    let from_zone = match (is_utc, line.parameter("TZID")) {
        (true, _) => Some(Tz::UTC),
        (false, Some(name)) => Some(name.trim_start_matches('/').parse::<Tz>().map_err(|_| {
            Mistake::new(
                line,
                format!("unknown time zone `{name}`"),
                "use whole days (;VALUE=DATE:20261225), or an IANA zone",
            )
        })?),
        (false, None) => None,
    };
    Ok(Moment::Time(match from_zone {
        None => local,
        Some(from) => {
            let at: Timestamp = instants(from, local)
                .first()
                .copied()
                .unwrap_or_else(|| after_gap(from, local));
            at.in_zone(zone).naive_local()
        }
    }))
}

/// `P1D`, `P2W`, `PT24H`.
fn duration(line: &Line<'_>) -> Result<TimeDelta, Mistake> {
    let refuse = || {
        Mistake::new(
            line,
            format!("`{}` is not a duration", line.value.trim()),
            "write days like P1D, or hours like PT24H",
        )
    };
    let text = line.value.trim().trim_start_matches('+');
    let rest = text.strip_prefix('P').ok_or_else(refuse)?;
    let (mut total, mut digits, mut is_time) = (TimeDelta::zero(), String::new(), false);
    for c in rest.chars() {
        if c.is_ascii_digit() && digits.len() < 6 {
            digits.push(c);
            continue;
        }
        if c == 'T' && digits.is_empty() {
            is_time = true;
            continue;
        }
        let number: i64 = digits.parse().map_err(|_| refuse())?;
        digits.clear();
        total += match (c, is_time) {
            ('W', false) => TimeDelta::weeks(number),
            ('D', false) => TimeDelta::days(number),
            ('H', true) => TimeDelta::hours(number),
            ('M', true) => TimeDelta::minutes(number),
            ('S', true) => TimeDelta::seconds(number),
            _ => return Err(refuse()),
        };
        if total > TimeDelta::days(100_000) {
            return Err(refuse());
        }
    }
    if digits.is_empty() {
        Ok(total)
    } else {
        Err(refuse())
    }
}
