//! The promises of a deadline: days or ticks, each with its window.

use chrono::{Datelike as _, Days, NaiveDate, NaiveDateTime, Weekday};

use super::super::super::calendar::{Calendar, after_gap, instants, resolve_late};
use super::super::super::history::JobHistory;
use super::super::super::observation::{Run, Status};
use super::super::super::schedule::Tick;
use super::super::super::time::{Span, Timestamp};
use super::super::context::Context;
use super::{By, Deadline, On};

/// One promise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) occurrence: Occurrence,
    /// The tick that is to start the run, if the job has one.
    pub(super) tick: Option<Tick>,
    /// A run that starts from here on counts.
    pub(super) opens_at: Timestamp,
    /// A run that starts from here on belongs to the next promise.
    pub(super) closes_at: Timestamp,
    /// It is open, and the promise before is over.
    pub(super) begins_at: Timestamp,
    pub(super) by_at: Timestamp,
    /// It is given up.
    pub(super) expires_at: Timestamp,
}

/// What a promise is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Occurrence {
    Day(NaiveDate),
    Tick(Tick),
}

/// Promises looked at in one evaluation; a longer absence of Tardy is caught up in several.
pub(super) const MAX_WINDOWS: usize = 2_000;

/// A calendar without any day in so many is one that never comes.
const MAX_CALENDAR_DAYS: usize = 4_000;

/// A run that waited longer than this in the queue before the window opened is not looked for.
const MAX_QUEUED: Span = Span::days(1);

/// No fold is longer.
const MAX_FOLD: Span = Span::hours(4);

/// A run may start a little before its tick: at most this, and a tenth of the gap between ticks.
pub(super) const EARLY: Span = Span::minutes(5);

/// The smallest step of a [`Timestamp`].
const MOMENT: Span = Span::milliseconds(1);

fn early(gap: Span) -> Span {
    EARLY.min(gap / 10)
}

impl On {
    /// The promise is owed on this date.
    pub(super) fn is_due(self, date: NaiveDate, calendar: Option<&Calendar>) -> bool {
        let is_business = |day: NaiveDate| match calendar {
            Some(calendar) => calendar.is_day(day),
            None => !matches!(day.weekday(), Weekday::Sat | Weekday::Sun),
        };
        let is_counted = |day: NaiveDate| calendar.is_none_or(|calendar| calendar.is_day(day));
        let in_month = |day: &NaiveDate| (day.year(), day.month()) == (date.year(), date.month());
        match self {
            Self::EveryDay => is_counted(date),
            Self::BusinessDay(number) => {
                let first = date.with_day(1).unwrap_or(date);
                let days = first.iter_days().take_while(|day| *day <= date);
                let count = days.filter(|day| is_business(*day)).count();
                is_business(date) && count == number as usize
            }
            Self::LastBusinessDay => {
                let mut later = date.iter_days().skip(1).take_while(in_month);
                is_business(date) && !later.any(is_business)
            }
            Self::Day(_) | Self::LastDay => {
                let is_named = |day: NaiveDate| match self {
                    Self::Day(number) => day.day() == number,
                    _ => day.succ_opt().is_none_or(|next| next.day() == 1),
                };
                // Named itself, or the first that counts after a named one that does not.
                let mut before = std::iter::successors(Some(date), NaiveDate::pred_opt)
                    .take(MAX_CALENDAR_DAYS)
                    .take_while(|day| *day == date || !is_counted(*day));
                is_counted(date) && before.any(is_named)
            }
        }
    }
}

impl Deadline {
    /// Promises whose `by` lies after `from`, up to the first whose window has not opened yet.
    pub(super) fn windows(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        from: Timestamp,
    ) -> Vec<Window> {
        let windows = match self.by {
            By::AfterTick(after) => self.tick_windows(ctx, job, after, from),
            By::Time(_) | By::NextDay(_) => self.day_windows(ctx, job, from),
        };
        let mut found = Vec::new();
        for window in windows {
            // Of a window that opened before the job was first seen nothing can be told; one that has not begun is
            // waited for all the same, or nothing would wake for those after it.
            let is_ahead = window.begins_at > ctx.known_until;
            if window.by_at > from && (is_ahead || window.opens_at >= job.first_seen_at) {
                found.push(window);
            }
            if is_ahead || found.len() >= MAX_WINDOWS {
                break;
            }
        }
        found
    }

    /// Each day on which it is owed, without end.
    fn day_windows<'a>(
        &'a self,
        ctx: &'a Context<'_>,
        job: &'a JobHistory,
        from: Timestamp,
    ) -> Box<dyn Iterator<Item = Window> + 'a> {
        let calendar = ctx.rule.calendar.as_ref();
        let first = from.in_zone(self.zone).date_naive() - Days::new(2);
        let mut dates = first
            .iter_days()
            .take(MAX_CALENDAR_DAYS)
            .filter(move |date| self.on.is_due(*date, calendar))
            .peekable();
        let mut last_by_at = Timestamp::MIN;
        while let Some(date) = dates.next_if(|date| self.by_at(*date) <= from) {
            last_by_at = self.by_at(date);
        }
        let mut opening = None;
        Box::new(std::iter::from_fn(move || {
            let date = dates.next()?;
            let next = dates.peek().copied()?;
            let (opens_at, tick) = opening.unwrap_or_else(|| self.opening(ctx, job, date));
            let next_opening = self.opening(ctx, job, next);
            opening = Some(next_opening);
            let expires_at = self.expires_at((date, opens_at), (next, next_opening.0));
            let window = Window {
                occurrence: Occurrence::Day(date),
                tick,
                opens_at,
                closes_at: expires_at,
                begins_at: opens_at.max(last_by_at),
                by_at: self.by_at(date),
                expires_at,
            };
            last_by_at = window.by_at;
            Some(window)
        }))
    }

    /// When a day's promise is given up: the next window opens.
    fn expires_at(
        &self,
        (date, opens_at): (NaiveDate, Timestamp),
        (next, next_opens_at): (NaiveDate, Timestamp),
    ) -> Timestamp {
        // Without a tick in between, or while the grace lasts, the run that serves the next day serves this one,
        // too.
        let due_at = self.by_at(date) + self.grace;
        if next_opens_at > opens_at && next_opens_at > due_at {
            next_opens_at
        } else {
            self.by_at(next) + self.grace
        }
    }

    /// The local time of `by` for a day.
    fn by_local(&self, date: NaiveDate) -> NaiveDateTime {
        match self.by {
            By::Time(time) => date.and_time(time),
            By::NextDay(time) => (date + Days::new(1)).and_time(time),
            By::AfterTick(_) => date.and_hms_opt(0, 0, 0).unwrap_or_default(),
        }
    }

    fn by_at(&self, date: NaiveDate) -> Timestamp {
        resolve_late(self.zone, self.by_local(date))
    }

    /// From when a start counts for a day, and the tick that is to start the run.
    fn opening(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        date: NaiveDate,
    ) -> (Timestamp, Option<Tick>) {
        let by_at = self.by_at(date);
        let owed = last_owed_tick(ctx, job, by_at);
        let Some(opens) = self.opens else {
            let opens_at = owed.map_or(by_at - Span::days(1), |(tick, early)| tick.at - early);
            return (opens_at, owed.map(|(tick, _)| tick));
        };
        let is_evening_before = matches!(self.by, By::Time(by) if opens > by);
        let day = if is_evening_before {
            date - Days::new(1)
        } else {
            date
        };
        let local = day.and_time(opens);
        let first = instants(self.zone, local).first().copied();
        let opens_at = first.unwrap_or_else(|| after_gap(self.zone, local));
        let tick = owed.map(|(tick, _)| tick);
        (opens_at, tick.filter(|tick| tick.at >= opens_at))
    }

    /// Each tick whose promise falls due after `from`, without end.
    fn tick_windows<'a>(
        &'a self,
        ctx: &Context<'_>,
        job: &'a JobHistory,
        after: Span,
        from: Timestamp,
    ) -> Box<dyn Iterator<Item = Window> + 'a> {
        let zone = ctx.schedule_zone;
        let mut ticks = job.ticks(zone, from - after, Timestamp::MAX).peekable();
        let first_before = ticks
            .peek()
            .and_then(|tick| job.previous_tick(zone, tick.at - MOMENT));
        let mut before = first_before.map(|tick| tick.at);
        Box::new(std::iter::from_fn(move || {
            let tick = ticks.next()?;
            let next = ticks.peek().copied();
            let window = self.tick_window(before, tick, next, after);
            before = Some(tick.at);
            Some(window)
        }))
    }

    fn tick_window(
        &self,
        before: Option<Timestamp>,
        tick: Tick,
        next: Option<Tick>,
        after: Span,
    ) -> Window {
        let gap = |from: Timestamp, to: Timestamp| early(to - from);
        let first_gap = || next.map_or(Span::zero(), |next| gap(tick.at, next.at));
        let opens_at = tick.at - before.map_or_else(first_gap, |before| gap(before, tick.at));
        let closes_at = next.map_or(Timestamp::MAX, |next| next.at - gap(tick.at, next.at));
        Window {
            occurrence: Occurrence::Tick(tick),
            tick: Some(tick),
            opens_at,
            closes_at,
            begins_at: opens_at,
            by_at: tick.at + after,
            expires_at: next.map_or(Timestamp::MAX, |next| next.at + after + self.grace),
        }
    }

    /// When a promise that was not kept is given up: when the next one falls due, or a later run has
    /// delivered.
    pub(super) fn given_up_at(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        window: &Window,
    ) -> Timestamp {
        if matches!(window.occurrence, Occurrence::Day(_)) {
            return window.expires_at;
        }
        let due_at = window.by_at + self.grace;
        let later =
            ctx.project
                .created_between(job, window.closes_at - MAX_QUEUED, window.expires_at);
        later
            .filter(|run| run.status == Status::Success && ctx.is_judged(run))
            .filter(|run| start_of(run) >= window.closes_at)
            .map(|run| run.settled_at().max(due_at))
            .fold(window.expires_at, Timestamp::min)
    }
}

/// Why nothing is owed, as far as is known.
pub(super) fn excuse(ctx: &Context<'_>, job: &JobHistory, window: &Window) -> Option<&'static str> {
    const HELD: &str = "job disabled or project suspended";
    if let Occurrence::Tick(tick) = window.occurrence {
        let calendar = ctx.rule.calendar.as_ref();
        return if tick.is_soft {
            Some("inside a change of the clocks")
        } else if calendar.is_some_and(|calendar| !calendar.is_open(tick.at)) {
            Some("outside the calendar")
        } else {
            // Held soon after the tick, too: a hold is seen a little later than it began.
            ctx.project
                .is_held_within(job, tick.at, tick.at + EARLY)
                .then_some(HELD)
        };
    }
    let starts_at = window.tick.map_or(window.opens_at, |tick| tick.at);
    let until = window.by_at.min(ctx.known_until);
    let since = (starts_at + EARLY).min(until);
    let is_held = ctx.project.is_held(job, until)
        && ctx.project.held_time(job, since, until) == until - since;
    (is_held && attempts(ctx, job, window).next().is_none()).then_some(HELD)
}

/// The last tick before `by_at`, and how early its run may start. The second pass of a fold is soft and need
/// not run: then it is the first.
fn last_owed_tick(ctx: &Context<'_>, job: &JobHistory, by_at: Timestamp) -> Option<(Tick, Span)> {
    let before = |at| job.previous_tick(ctx.schedule_zone, at - MOMENT);
    let last = before(by_at)?;
    let mut previous = before(last.at);
    let first_pass =
        previous.filter(|first| last.is_soft && !first.is_soft && last.at - first.at <= MAX_FOLD);
    let tick = first_pass.unwrap_or(last);
    if first_pass.is_some() {
        previous = before(tick.at);
    }
    let early = previous.map_or(EARLY, |previous| early(tick.at - previous.at));
    Some((tick, early))
}

/// When a run started, or was created if it has not.
pub(super) fn start_of(run: &Run) -> Timestamp {
    run.started_at.unwrap_or(run.created_at)
}

/// The first success that counts for the promise.
pub(super) fn qualifying<'a>(
    ctx: &Context<'a>,
    job: &'a JobHistory,
    window: &Window,
) -> Option<&'a Run> {
    attempts(ctx, job, window)
        .filter(|run| run.status == Status::Success)
        .min_by_key(|run| (run.settled_at(), &run.id))
}

/// Runs that started (or wait to start) within the window, in order of creation.
pub(super) fn attempts<'a>(
    ctx: &Context<'a>,
    job: &'a JobHistory,
    window: &Window,
) -> impl Iterator<Item = &'a Run> + use<'a> {
    let (this, window) = (*ctx, *window);
    ctx.project
        .created_between(job, window.opens_at - MAX_QUEUED, window.closes_at)
        .filter(move |run| this.is_judged(run))
        .filter(move |run| (window.opens_at..window.closes_at).contains(&start_of(run)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn days(on: On, calendar: Option<&Calendar>, month: u32) -> Vec<u32> {
        let first = NaiveDate::from_ymd_opt(2026, month, 1).unwrap();
        let days = first.iter_days().take_while(|day| day.month() == month);
        days.filter(|day| on.is_due(*day, calendar))
            .map(|day| day.day())
            .collect()
    }

    #[test]
    fn days_of_the_month_with_and_without_a_calendar() {
        let calendar = Calendar {
            name: "bank".into(),
            zone: chrono_tz::Europe::Berlin,
            days: [true, true, true, true, true, false, false],
            hours: None,
            holidays: BTreeSet::from([
                NaiveDate::from_ymd_opt(2026, 1, 1).unwrap(),
                NaiveDate::from_ymd_opt(2026, 5, 1).unwrap(),
                NaiveDate::from_ymd_opt(2026, 12, 31).unwrap(),
            ]),
        };
        let bank = Some(&calendar);
        // 1 January 2026 is a Thursday, 1 May a Friday, 15 August a Saturday, 31 December a Thursday.
        for (on, calendar, month, expected) in [
            (On::BusinessDay(1), None, 1, vec![1]),
            (On::BusinessDay(1), bank, 1, vec![2]),
            (On::BusinessDay(3), None, 1, vec![5]),
            (On::BusinessDay(3), bank, 1, vec![6]),
            (On::BusinessDay(1), bank, 5, vec![4]),
            (On::BusinessDay(21), bank, 2, vec![]),
            (On::LastBusinessDay, None, 1, vec![30]),
            (On::LastBusinessDay, None, 5, vec![29]),
            (On::LastBusinessDay, bank, 12, vec![30]),
            (On::Day(15), None, 8, vec![15]),
            (On::Day(15), bank, 8, vec![17]),
            (On::Day(15), bank, 9, vec![15]),
            (On::Day(1), bank, 1, vec![2]),
            (On::LastDay, None, 2, vec![28]),
            // 31 January 2026 is a Saturday: it moves to Monday. 28 February is one, too.
            (On::LastDay, bank, 2, vec![2]),
            (On::LastDay, bank, 3, vec![2, 31]),
        ] {
            assert_eq!(days(on, calendar, month), expected, "{on:?} in {month}");
        }
        assert_eq!(days(On::EveryDay, bank, 5).len(), 20);
        assert_eq!(days(On::EveryDay, None, 5).len(), 31);
    }
}
