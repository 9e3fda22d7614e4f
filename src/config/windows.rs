//! `[[calendar]]` and `[[mute]]`: days and hours in a zone.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use chrono_tz::Tz;

use crate::engine::calendar::Calendar;

use super::context::{Context, Draft};
use super::cursor::Cursor;
use super::holidays;
use super::keys::{self, Section};
use super::known::{Known, Names, name_or_default};
use super::tree::{Spot, Table};
use super::values::{self, DaysOf};

/// Reads both into what is known.
pub(super) fn read(top: &mut Cursor<'_>, known: &mut Known) {
    let context = top.context;
    for table in top.tables("calendar") {
        read_window(context, &keys::CALENDAR, table, &mut known.calendars);
    }
    for table in top.tables("mute") {
        read_window(context, &keys::MUTE, table, &mut known.mutes);
    }
}

fn read_window(
    context: &Context<'_>,
    section: &'static Section,
    table: Spot<Table>,
    names: &mut Names<Calendar>,
) {
    let mut cursor = Cursor::new(context, section, table);
    let name = cursor.unique_name();
    let days_place = cursor.place_of("days");
    let zone = cursor.zone("timezone").unwrap_or(Tz::UTC);
    let (days, mut holidays) = read_days(&mut cursor);
    holidays.extend(
        cursor
            .parsed_list("holidays", values::date)
            .unwrap_or_default()
            .into_iter()
            .map(|date| date.value),
    );
    if let Some(file) = cursor.text("holidays_file") {
        holidays.extend(holidays::read(context, &file, zone));
    }
    let window = Calendar {
        name: name_or_default(name.as_ref()),
        zone,
        days,
        hours: cursor
            .parsed("hours", values::hours)
            .and_then(|hours| hours.value),
        holidays,
    };
    if window.days == [false; 7] {
        context.push(
            Draft::error("empty", days_place, "no weekday counts")
                .help("name at least one, like days = [\"mon-fri\"], or remove the key for all"),
        );
    }
    cursor.finish();
    if let Some(name) = name {
        names.add(context, &name, Some(window));
    }
}

/// The weekdays that count, and dates left out.
fn read_days(cursor: &mut Cursor<'_>) -> ([bool; 7], BTreeSet<NaiveDate>) {
    let mut dates = BTreeSet::new();
    let Some(days) = cursor.parsed_list("days", values::days) else {
        return ([true; 7], dates);
    };
    let (mut counted, mut left_out) = ([false; 7], [false; 7]);
    let mut has_counted = false;
    for day in days.iter().map(|day| &day.value) {
        match (&day.which, day.is_left_out) {
            (DaysOf::Week(week), is_left_out) => {
                has_counted |= !is_left_out;
                let list = if is_left_out {
                    &mut left_out
                } else {
                    &mut counted
                };
                for (slot, is_named) in list.iter_mut().zip(week) {
                    *slot |= is_named;
                }
            }
            (DaysOf::Date(date), _) => {
                dates.insert(*date);
            }
        }
    }
    // What is only left out leaves the others; a day that could not be read has its own mistake.
    let is_written = !days.is_empty() || cursor.has_items("days");
    if !has_counted && is_written {
        counted = [true; 7];
    }
    for (slot, is_out) in counted.iter_mut().zip(left_out) {
        *slot &= !is_out;
    }
    (counted, dates)
}
