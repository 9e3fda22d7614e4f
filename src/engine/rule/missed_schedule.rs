//! # missed_schedule
//!
//! ## What it tells
//! A tick of the job's schedule passed and no run served it; and when it is served after all, how late.
//!
//! ## When to use
//! For every scheduled job. It is the rule that notices a scheduler that does nothing.
//!
//! ## Keys
//! `grace`: waited after the tick; default a quarter of the gap to the next tick, between 5 and 30 minutes.
//!
//! A tick is served by one run that starts in its window: from a little before the tick (5 minutes, at most a
//! tenth of the gap before it) until the same before the next tick. A run that waits in a queue started when it
//! was created. Of two runs for one tick one serves and the other is extra. Ticks follow the scheduler's dialect
//! and zone (`schedule_timezone` of the source, or `CRON_TZ=` of the job); those of a changed schedule are judged
//! by the schedule of their time. `calendar`: only ticks within its days and hours are owed.
//!
//! ## No data
//! A tick is called missed only when the run list is known completely up to tick + grace; a run that was there
//! while the source could not be read still serves. Ticks are excused (the ledger says why) while the job is
//! disabled or the project suspended, while the previous run is still active under a policy that forbids overlap,
//! outside the rule's calendar, and when the tick is soft: wall time inside a change of the clocks, where running
//! and not running are both right. `@every` has no ticks: use `staleness`.
//!
//! ## Resolve
//! When the tick is served late ("started 23 min late"), or when a later tick is served. Misses in a row are one
//! alert that counts them. It expires when the job is paused, gone, or has no ticks any more.

use super::super::alert::{Alert, Evidence, Verdict};
use super::super::digest::Kept;
use super::super::history::JobHistory;
use super::super::ledger::Promise;
use super::super::notification::Fact;
use super::super::observation::Run;
use super::super::schedule::Tick;
use super::super::time::{Span, Timestamp, human_span};
use super::context::{Context, Judgement, expired, resolved};

/// A tick of the job's schedule that no run serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissedSchedule {
    /// Waited after the tick; default a quarter of the gap between ticks, between 5 and 30 minutes.
    pub grace: Option<Span>,
}

/// A tick with the window in which a start serves it.
#[derive(Clone, Copy, Debug)]
struct Window {
    tick: Tick,
    opens_at: Timestamp,
    /// The next tick's opening; `None` when there is no next tick.
    closes_at: Option<Timestamp>,
    grace: Span,
}

/// What became of a tick.
enum Fate<'a> {
    Served(&'a Run),
    Excused(String),
    /// Not served, and the grace is over.
    Missed,
    /// Cannot be told yet.
    Open,
}

/// Ticks looked at in one evaluation; a longer absence of Tardy is caught up in several.
const MAX_TICKS: usize = 5_000;

/// Ticks longer ago than this are not judged any more.
const MAX_CATCH_UP: Span = Span::days(400);

/// How far "in a row" is counted; beyond it the number says nothing more.
const MAX_COUNTED: usize = 1_000;

impl MissedSchedule {
    /// Judges a job.
    pub fn judge(&self, ctx: &Context<'_>) -> Judgement {
        let mut judgement = Judgement::start(ctx.memory);
        let Some(job) = ctx.job() else {
            return judgement;
        };
        let from = ctx
            .memory
            .judged_until
            .max(job.first_seen_at - Span::milliseconds(1))
            .max(ctx.known_until - MAX_CATCH_UP);
        end_what_is_due_no_more(ctx, job, &mut judgement);
        let windows = self.windows(ctx, job, from);
        for window in &windows {
            if !judge_window(ctx, job, window, &mut judgement) {
                // Later ticks wait until nothing about this one can change any more.
                return judgement;
            }
            judgement.memory.judged_until = window.tick.at;
        }
        self.wake_next(ctx, job, &windows, &mut judgement);
        judgement
    }

    /// Ticks in `(from, to]` that were served, with the time that was left.
    pub(in crate::engine) fn kept(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<Kept> {
        let windows = self.windows(ctx, job, from).into_iter();
        let kept = windows
            .filter(|window| window.tick.at <= to)
            .filter_map(|window| {
                let Fate::Served(run) = fate(ctx, job, &window) else {
                    return None;
                };
                let late = start_of(run) - window.tick.at;
                Some(Kept {
                    due_at: window.tick.at,
                    left: window.grace - late,
                    allowed: window.grace,
                })
            });
        kept.collect()
    }

    /// Ticks after `from` that have begun to be due, each with its window.
    fn windows(&self, ctx: &Context<'_>, job: &JobHistory, from: Timestamp) -> Vec<Window> {
        // A run may start a little early, so the newest tick may lie just ahead of what is known.
        let until = ctx.known_until + MAX_EARLY;
        let zone = ctx.schedule_zone;
        let ticks: Vec<Tick> = job.ticks(zone, from, until).take(MAX_TICKS).collect();
        let (Some(first), Some(last)) = (ticks.first(), ticks.last()) else {
            return Vec::new();
        };
        let before = job.previous_tick(zone, first.at - Span::milliseconds(1));
        let next = job.next_tick(zone, last.at);
        let all: Vec<Tick> = ticks.iter().copied().chain(next).collect();
        let gap_before = |index: usize| match (index, before) {
            (0, Some(before)) => all[0].at - before.at,
            (0, None) => all
                .get(1)
                .map_or(Span::hours(1), |next| next.at - all[0].at),
            (index, _) => all[index].at - all[index - 1].at,
        };
        let opens_at = |index: usize| all[index].at - MAX_EARLY.min(gap_before(index) / 10);
        (0..ticks.len())
            .map(|index| {
                let gap = all
                    .get(index + 1)
                    .map_or_else(|| gap_before(index), |next| next.at - all[index].at);
                Window {
                    tick: ticks[index],
                    opens_at: opens_at(index),
                    closes_at: (index + 1 < all.len()).then(|| opens_at(index + 1)),
                    grace: self.grace.unwrap_or_else(|| default_grace(gap)),
                }
            })
            .filter(|window| window.opens_at <= ctx.known_until)
            .collect()
    }

    /// Wakes for the tick after those looked at.
    fn wake_next(
        &self,
        ctx: &Context<'_>,
        job: &JobHistory,
        windows: &[Window],
        judgement: &mut Judgement,
    ) {
        if windows.len() >= MAX_TICKS {
            judgement.wake(ctx.now);
            return;
        }
        let last = windows
            .last()
            .map_or(ctx.known_until.max(ctx.memory.judged_until), |w| w.tick.at);
        if let Some(next) = job.next_tick(ctx.schedule_zone, last) {
            let after = job.next_tick(ctx.schedule_zone, next.at);
            let gap = after.map_or(Span::hours(1), |after| after.at - next.at);
            judgement.wake_known(next.at + self.grace.unwrap_or_else(|| default_grace(gap)));
        }
    }
}

/// Why the job owes nothing now: it is held, or has no ticks any more.
fn nothing_due(ctx: &Context<'_>, job: &JobHistory) -> Option<&'static str> {
    if ctx.project.is_held(job, ctx.now) {
        return Some("is paused");
    }
    let next = job.next_tick(ctx.schedule_zone, ctx.known_until);
    next.is_none().then_some("has no ticks any more")
}

/// An open alert about a job that owes nothing ends.
fn end_what_is_due_no_more(ctx: &Context<'_>, job: &JobHistory, judgement: &mut Judgement) {
    if let Some(why) = nothing_due(ctx, job)
        && ctx.open.iter().any(Alert::is_open)
    {
        let headline = format!("Not due any more: {} {why}", ctx.title());
        judgement.find(ctx.known_until, expired(headline));
    }
}

/// A run may start this much before its tick.
const MAX_EARLY: Span = Span::minutes(5);

/// A run that has been active for longer than this is not what keeps a tick from starting.
const MAX_BUSY: Span = Span::days(7);

/// Runs that ended after a tick, looked at for the one that kept it from starting: it ended soon after.
const MAX_ENDED_SINCE: usize = 20;

/// A quarter of the gap, between 5 and 30 minutes.
fn default_grace(gap: Span) -> Span {
    (gap / 4).clamp(Span::minutes(5), Span::minutes(30))
}

/// When the scheduler acted: waiting in the queue afterwards is not the schedule's fault.
fn start_of(run: &Run) -> Timestamp {
    run.started_at
        .map_or(run.created_at, |started| started.min(run.created_at))
}

/// A run that started before `at` was still active then.
fn is_busy(ctx: &Context<'_>, job: &JobHistory, at: Timestamp) -> bool {
    let is_going_on = |run: &Run| start_of(run) < at && at.since(run.created_at) < MAX_BUSY;
    let mut ended_since = ctx.project.finished_after(job, at).take(MAX_ENDED_SINCE);
    ctx.project.active(job).any(is_going_on) || ended_since.any(is_going_on)
}

fn served(ctx: &Context<'_>, window: &Window, start: Timestamp) -> Verdict {
    let late = start.since(window.tick.at);
    let how = if late > window.grace {
        format!("started {} late, at {}", human_span(late), ctx.clock(start))
    } else {
        format!("started at {}", ctx.clock(start))
    };
    resolved(
        format!("Recovered: {} {how}", ctx.title()),
        vec![
            Fact::new("Due", ctx.clock(window.tick.at)),
            Fact::new("Started", ctx.clock(start)),
        ],
    )
}

fn excuse(ctx: &Context<'_>, job: &JobHistory, window: &Window) -> Option<String> {
    let at = window.tick.at;
    if window.tick.is_soft {
        return Some("inside a change of the clocks".into());
    }
    // Held soon after the tick, too: a hold is seen a little later than it began.
    if ctx.project.is_held_within(job, at, at + window.grace) {
        return Some("job disabled or project suspended".into());
    }
    if ctx
        .rule
        .calendar
        .as_ref()
        .is_some_and(|calendar| !calendar.is_open(at))
    {
        return Some("outside the calendar".into());
    }
    let policy = ctx
        .project
        .info
        .as_ref()
        .and_then(|info| info.concurrency_policy.as_deref());
    if policy.is_some_and(|policy| policy.eq_ignore_ascii_case("forbid")) && is_busy(ctx, job, at) {
        return Some("the previous run was still active".into());
    }
    None
}

fn fate<'a>(ctx: &Context<'a>, job: &'a JobHistory, window: &Window) -> Fate<'a> {
    let closes_at = window.closes_at.unwrap_or(Timestamp::MAX);
    let candidates = ctx
        .project
        .created_between(job, window.opens_at, closes_at + MAX_EARLY);
    let serving = candidates
        .filter(|run| ctx.is_judged(run))
        .filter(|run| (window.opens_at..closes_at).contains(&start_of(run)))
        .min_by_key(|run| start_of(run));
    if let Some(run) = serving {
        return Fate::Served(run);
    }
    let due_at = window.tick.at + window.grace;
    if ctx.known_until < due_at {
        return Fate::Open;
    }
    match excuse(ctx, job, window) {
        Some(why) => Fate::Excused(why),
        None => Fate::Missed,
    }
}

/// Ticks in a row that were not served, this one included.
fn unserved_count(
    ctx: &Context<'_>,
    job: &JobHistory,
    window: &Window,
    judgement: &Judgement,
) -> usize {
    let since_served = judgement
        .findings
        .iter()
        .rev()
        .take_while(|finding| matches!(finding.verdict, Verdict::Breach(_)))
        .count();
    let is_unbroken = since_served == judgement.findings.len();
    let began = ctx
        .open
        .iter()
        .find(|alert| alert.is_open())
        .map(|alert| alert.began_at);
    match began {
        Some(began_at) if is_unbroken => {
            let first = began_at - window.grace - Span::milliseconds(1);
            job.ticks(ctx.schedule_zone, first, window.tick.at)
                .take(MAX_COUNTED)
                .filter(|tick| {
                    let window = Window {
                        tick: *tick,
                        ..*window
                    };
                    excuse(ctx, job, &window).is_none()
                })
                .count()
        }
        Some(_) | None => since_served + 1,
    }
}

fn breach(ctx: &Context<'_>, job: &JobHistory, window: &Window, judgement: &mut Judgement) {
    let due_at = window.tick.at + window.grace;
    let is_newest = window.closes_at.is_none_or(|at| ctx.known_until < at);
    // Ticks that were over before watching began only make the ledger; the newest one is the
    // condition that is true already.
    let is_over = due_at <= ctx.memory.watching_since && !is_newest;
    if is_over || nothing_due(ctx, job).is_some() {
        return;
    }
    let count = unserved_count(ctx, job, window, judgement);
    let more = if count > 1 {
        format!(" ({count} ticks in a row)")
    } else {
        String::new()
    };
    let headline = format!(
        "Missed: {} did not start at {}{more}",
        ctx.title(),
        ctx.clock(window.tick.at)
    );
    let mut facts = vec![
        Fact::new("Due", ctx.clock(window.tick.at)),
        Fact::new("Grace", human_span(window.grace)),
    ];
    if let Some(version) = job.version_at(window.tick.at)
        && let Some(schedule) = &version.schedule
    {
        facts.push(Fact::new("Schedule", schedule.to_string()));
    }
    facts.extend(ctx.last_good(job));
    let evidence = Evidence {
        headline,
        facts,
        ..Evidence::default()
    };
    judgement.find(due_at, Verdict::Breach(evidence));
}

/// Judges one tick; true when nothing about it can change any more.
fn judge_window(
    ctx: &Context<'_>,
    job: &JobHistory,
    window: &Window,
    judgement: &mut Judgement,
) -> bool {
    let tick_at = window.tick.at;
    match fate(ctx, job, window) {
        Fate::Open => {
            judgement.wake_known(tick_at + window.grace);
            false
        }
        Fate::Missed => {
            let is_closed = window.closes_at.is_some_and(|at| ctx.known_until >= at);
            judgement.decide(ctx, tick_at, Promise::Missed, is_closed);
            breach(ctx, job, window, judgement);
            if let Some(closes_at) = window.closes_at.filter(|_| !is_closed) {
                judgement.wake_known(closes_at);
            }
            is_closed
        }
        Fate::Excused(why) => {
            judgement.decide(ctx, tick_at, Promise::Excused(why), true);
            true
        }
        Fate::Served(run) => {
            let start = start_of(run);
            let late = start.since(tick_at);
            let promise = if late > window.grace {
                Promise::late(late)
            } else {
                Promise::Met
            };
            judgement.decide(ctx, tick_at, promise, true);
            judgement.find(start, served(ctx, window, start));
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RuleKind;
    use super::super::fixture::{Case, at};
    use super::*;

    fn case() -> Case {
        Case::new(RuleKind::MissedSchedule(MissedSchedule { grace: None })).job(
            "00:30",
            "0 * * * *",
            true,
        )
    }

    #[test]
    fn a_tick_is_missed_when_its_grace_is_known_to_be_over() {
        for (known, said) in [
            ("00:59", ""),
            ("01:14", ""),
            (
                "01:15",
                "01:15 breach Missed: p1 job did not start at 01:00 UTC; promise 01:00 missed",
            ),
            (
                "02:20",
                "01:15 breach Missed: p1 job did not start at 01:00 UTC; \
                 02:15 breach Missed: p1 job did not start at 02:00 UTC (2 ticks in a row); \
                 promise 01:00 missed; promise 02:00 missed",
            ),
        ] {
            assert_eq!(case().judge(known).join("; "), said, "{known}");
        }
        assert_eq!(case().judgement("01:05").wake_when_known, Some(at("01:15")));
        assert_eq!(
            case().judgement("01:20").wake_when_known,
            Some(at("01:55")),
            "it may still come"
        );
    }

    #[test]
    fn a_start_serves_the_tick_whose_window_it_lies_in() {
        for (start, said) in [
            (
                "00:54",
                "01:15 breach Missed: p1 job did not start at 01:00 UTC; promise 01:00 missed",
            ),
            (
                "00:55",
                "00:55 ok Recovered: p1 job started at 00:55 UTC; promise 01:00 met",
            ),
            (
                "01:15",
                "01:15 ok Recovered: p1 job started at 01:15 UTC; promise 01:00 met",
            ),
            (
                "01:16",
                "01:16 ok Recovered: p1 job started 16 min late, at 01:16 UTC; promise 01:00 late by 960 s",
            ),
        ] {
            let case = case().run("a", &format!("{start} running"));
            assert_eq!(case.judge("01:50").join("; "), said, "{start}");
        }
    }

    #[test]
    fn what_is_decided_is_not_decided_again() {
        let seen = case().run("a", "01:00 -> 01:10 success").after("02:20");
        assert_eq!(
            seen.judge("02:20"),
            ["02:15 breach Missed: p1 job did not start at 02:00 UTC"],
            "the open tick is judged, its promise is recorded"
        );
        let late = seen.run("b", "02:30 running");
        assert_eq!(
            late.judge("02:40").join("; "),
            "02:30 ok Recovered: p1 job started 30 min late, at 02:30 UTC; promise 02:00 late by 1800 s"
        );
        let done = late.after("02:40");
        assert_eq!(done.judge("02:40"), Vec::<String>::new());
    }

    #[test]
    fn every_has_no_ticks() {
        let every = Case::new(RuleKind::MissedSchedule(MissedSchedule { grace: None })).job(
            "00:30",
            "@every 5m",
            true,
        );
        assert_eq!(every.judge("09:00"), Vec::<String>::new());
    }

    #[test]
    fn grace_is_a_quarter_of_the_gap_within_bounds() {
        for (gap, grace) in [(1, 5), (20, 5), (60, 15), (120, 30), (1_440, 30)] {
            assert_eq!(
                default_grace(Span::minutes(gap)),
                Span::minutes(grace),
                "{gap}"
            );
        }
    }
}
