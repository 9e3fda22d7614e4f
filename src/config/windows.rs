//! `[[calendar]]` and `[[mute]]`: days and hours in a zone.

use std::collections::BTreeSet;

use chrono_tz::Tz;

use crate::engine::calendar::Calendar;

use super::context::{Context, Draft};
use super::cursor::Cursor;
use super::keys::{self, Section};
use super::known::{Known, Names, name_or_default};
use super::tree::{Spot, Table};
use super::values;

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
    let window = Calendar {
        name: name_or_default(name.as_ref()),
        zone: cursor.zone("timezone").unwrap_or(Tz::UTC),
        days: read_days(&mut cursor),
        hours: cursor
            .parsed("hours", values::hours)
            .and_then(|hours| hours.value),
        holidays: cursor
            .parsed_list("holidays", values::date)
            .unwrap_or_default()
            .into_iter()
            .map(|date| date.value)
            .collect::<BTreeSet<_>>(),
    };
    if window.days == [false; 7] {
        context.push(
            Draft::error("empty", days_place, "no weekday counts").help(
                "name at least one, like days = [\"mon\", \"tue\"], or remove the key for all",
            ),
        );
    }
    cursor.finish();
    if let Some(name) = name {
        names.add(context, &name, Some(window));
    }
}

fn read_days(cursor: &mut Cursor<'_>) -> [bool; 7] {
    let Some(days) = cursor.parsed_list("days", values::weekday) else {
        return [true; 7];
    };
    let mut counts = [false; 7];
    for day in &days {
        counts[day.value.num_days_from_monday() as usize] = true;
    }
    // A weekday that could not be read has its own mistake.
    if days.is_empty() && cursor.has_items("days") {
        return [true; 7];
    }
    counts
}
