//! The keys of a deadline: a time of day, or a delay after each tick.

use chrono::{NaiveTime, TimeDelta};
use chrono_tz::Tz;

use crate::engine::rule::deadline::{By, Deadline, On};
use crate::engine::time::{Span, config_span};

use super::super::context::Draft;
use super::super::cursor::Cursor;
use super::super::tree::Spot;
use super::super::values;

/// Reads them.
pub(super) fn read_deadline(cursor: &mut Cursor<'_>, zone: Option<Tz>) -> Deadline {
    let by = cursor.parsed("by", values::due);
    let on = cursor.parsed("on", values::month_days);
    let opens = cursor.parsed("opens", values::time);
    let warn_before = cursor.parsed("warn_before", values::positive_span);
    if let Some(Spot {
        value: By::AfterTick(after),
        ..
    }) = &by
    {
        check_delay(cursor, *after, warn_before.as_ref());
    } else {
        check_zone(cursor, zone);
        check_window(cursor, by.as_ref(), opens.as_ref(), warn_before.as_ref());
    }
    Deadline {
        by: by.map_or(By::Time(NaiveTime::MIN), |by| by.value),
        on: on.map_or(On::EveryDay, |on| on.value),
        opens: opens.map(|opens| opens.value),
        zone: zone.unwrap_or(Tz::UTC),
        grace: cursor.span_or("grace", Span::zero()),
        warn_before: warn_before.map(|span| span.value),
        at_risk: cursor.number("at_risk").map(|number| number.value),
        upstream: cursor.patterns("upstream"),
    }
}

fn check_zone(cursor: &Cursor<'_>, zone: Option<Tz>) {
    if zone.is_some() || cursor.has("timezone") {
        return;
    }
    cursor.context.push(
        Draft::error(
            "missing-zone",
            cursor.place_of("by"),
            "a deadline is a local time and needs a zone",
        )
        .label("07:00 where?")
        .help("add timezone = \"America/New_York\" (an IANA zone) to the rule or to [defaults]"),
    );
}

/// What a delay after the schedule leaves no room for.
fn check_delay(cursor: &Cursor<'_>, after: Span, warn_before: Option<&Spot<Span>>) {
    for key in ["opens", "on"] {
        if cursor.has(key) {
            let message =
                format!("`{key}` belongs to a time of day, not to a delay after the schedule");
            cursor.context.push(
                Draft::error("exclusive-keys", cursor.place_of(key), message)
                    .related(cursor.place_of("by"), "`by` is a delay after each tick")
                    .help(format!(
                        "remove `{key}`: each tick of the schedule has its own promise; or write `by` as a time of day"
                    )),
            );
        }
    }
    check_warning(cursor, after, warn_before, "the tick");
}

/// An early warning falls into the window.
fn check_warning(cursor: &Cursor<'_>, window: Span, warn: Option<&Spot<Span>>, start: &str) {
    if let Some(warn) = warn.filter(|warn| warn.value >= window) {
        let message = format!(
            "`warn_before` ({}) reaches back to {start}, {} before `by`",
            config_span(warn.value),
            config_span(window)
        );
        cursor.context.push(
            Draft::error("warn-too-early", warn.place, message)
                .label("it would warn before any run could start")
                .help(format!("write less than \"{}\"", config_span(window))),
        );
    }
}

/// The window from `opens` to `by` exists, and an early warning falls into it.
fn check_window(
    cursor: &Cursor<'_>,
    by: Option<&Spot<By>>,
    opens: Option<&Spot<NaiveTime>>,
    warn_before: Option<&Spot<Span>>,
) {
    let (Some(by), Some(opens)) = (by, opens) else {
        return;
    };
    let window = match by.value {
        By::Time(by) if by < opens.value => by - opens.value + TimeDelta::days(1),
        By::Time(by) => by - opens.value,
        By::NextDay(by) => by - opens.value + TimeDelta::days(1),
        By::AfterTick(_) => return,
    };
    if window == Span::zero() {
        cursor.context.push(
            Draft::error(
                "bad-order",
                opens.place,
                "`opens` and `by` are the same time",
            )
            .label("no run could start in between")
            .help("write an earlier `opens`; one later than `by` means the evening before"),
        );
        return;
    }
    if window > TimeDelta::days(1) {
        let message = format!("`opens` is {} before `by`", config_span(window));
        cursor.context.push(
            Draft::error("bad-order", opens.place, message)
                .label("the next window opens before this one is due")
                .help("write a later `opens`, at most a day before `by`"),
        );
        return;
    }
    check_warning(cursor, window, warn_before, "`opens`");
}
