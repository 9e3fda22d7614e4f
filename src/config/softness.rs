//! Schedules of ours in their zone: ones that never fire, and ones whose wall time some days skip.

use chrono::{DateTime, Offset as _, TimeZone as _, Utc};
use chrono_tz::Tz;

use crate::engine::schedule::{Cron, CronError, Dialect};
use crate::engine::time::{Span, Timestamp};

use super::context::Draft;
use super::cursor::Cursor;
use super::tree::Spot;
use super::values;

impl Cursor<'_> {
    /// The key `schedule`, in its zone. One that never fires is a warning and reads as `None`, as does
    /// one that cannot be read, which is a mistake.
    pub(super) fn schedule(&mut self, zone: Tz) -> Option<Spot<Cron>> {
        let context = self.context;
        let text = self.text("schedule")?;
        if context.cron(&text.value) == Err(CronError::Never) {
            context.push(
                Draft::warning("never-fires", text.place, "this schedule never fires")
                    .label("no date is like this")
                    .help(values::NEVER_FIRES_HELP),
            );
            return None;
        }
        let cron = super::cursor::interpret(context, &text, |text| values::cron(context, text))?;
        let soft = context.soft_once(&cron.value, zone, || first_soft(&cron.value, zone));
        if let Some(at) = soft {
            let when = at.in_zone(zone).format("%-d %B %Y");
            let message =
                format!("this wall time does not exist in {zone} when the clocks go forward");
            context.push(
                Draft::warning("soft-schedule", cron.place, message)
                    .label(format!("as on {when}"))
                    .help("it fires at the end of the gap then; write a time that every day has to be sure"),
            );
        }
        Some(cron)
    }
}

/// A placeholder after a mistake.
pub(super) fn every_day() -> Cron {
    Cron::parse("0 8 * * *", Dialect::Ours)
        .unwrap_or_else(|error| unreachable!("a constant expression that tests parse: {error}"))
}

/// The first of the coming changes of the clock that swallows a tick.
fn first_soft(cron: &Cron, zone: Tz) -> Option<Timestamp> {
    if zone == Tz::UTC {
        return None;
    }
    let fields: Vec<&str> = cron.as_str().split_whitespace().take(6).collect();
    let theirs = Cron::parse(&fields.join(" "), Dialect::Scheduler).ok()?;
    gaps(zone).into_iter().find(|gap| {
        theirs
            .ticks(zone, *gap - Span::milliseconds(1), *gap)
            .any(|tick| tick.is_soft)
    })
}

/// Ends of the gaps in the years after this was written; rules of zones rarely change.
fn gaps(zone: Tz) -> Vec<Timestamp> {
    const STEP: Span = Span::days(7);
    let end = Utc.with_ymd_and_hms(2029, 1, 1, 0, 0, 0).single();
    let mut at: DateTime<Utc> = Utc
        .with_ymd_and_hms(2026, 1, 1, 0, 0, 0)
        .single()
        .unwrap_or_default();
    let offset = |at: DateTime<Utc>| zone.offset_from_utc_datetime(&at.naive_utc()).fix();
    let mut found = Vec::new();
    while Some(at) < end {
        let next = at + STEP;
        if offset(next).local_minus_utc() > offset(at).local_minus_utc() {
            found.push(transition(at.into(), next.into(), zone));
        }
        at = next;
    }
    found
}

/// The instant between two at which the offset changes.
fn transition(mut low: Timestamp, mut high: Timestamp, zone: Tz) -> Timestamp {
    let offset = |at: Timestamp| at.in_zone(zone).offset().fix().local_minus_utc();
    let before = offset(low);
    while high - low > Span::milliseconds(1) {
        let middle = low + (high - low) / 2;
        if offset(middle) == before {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_times_in_a_gap_are_soft() {
        let soft = |text: &str, zone: Tz| {
            first_soft(&Cron::parse(text, Dialect::Ours).unwrap(), zone).map(|at| at.to_string())
        };
        let new_york = chrono_tz::America::New_York;
        assert_eq!(
            soft("30 2 * * *", new_york).as_deref(),
            Some("2026-03-08T07:00:00Z")
        );
        assert_eq!(
            soft("0 30 2 * * *", new_york).as_deref(),
            Some("2026-03-08T07:00:00Z")
        );
        assert_eq!(soft("30 2 * * mon-fri", new_york), None);
        assert_eq!(soft("30 3 * * *", new_york), None);
        assert_eq!(soft("*/15 * * * *", new_york), None);
        assert_eq!(soft("30 2 * * *", Tz::UTC), None);
        assert_eq!(soft("30 2 * * *", chrono_tz::Asia::Tokyo), None);
    }
}
