//! `times = "n of m"`: so many of the last distinct runs must breach.
//!
//! Each run that is counted is an event at the instant at which it began to count: a breach at the
//! instant it became one, all else at its end. What holds at an instant follows from the events up to
//! it, so that looking twice, late rows and restarts count nothing twice. It does not know what a
//! breach is: each kind does.

use super::super::alert::{Alert, Evidence, Verdict};
use super::super::labels::Labels;
use super::super::notification::Fact;
use super::super::observation::Name;
use super::super::time::Timestamp;
use super::Times;
use super::context::{Context, Judgement, Memory, expired, resolved};

/// A run begins to count, or (a retry inside the run) counts differently from here on.
#[derive(Clone, Debug)]
pub(super) struct Event<T> {
    /// When.
    pub at: Timestamp,
    /// Which run.
    pub run: Name,
    /// It breaches.
    pub is_breach: bool,
    /// What there is to tell of it.
    pub about: T,
}

/// The last runs at an instant.
struct Tally<'e, T> {
    counted: usize,
    breaching: usize,
    newest_breach: Option<&'e Event<T>>,
}

/// Runs looked at beyond those that `times` wants: a run that went on for long began to count long
/// before it ended.
const SLACK: usize = 20;

/// How many runs that ended before the last look are needed to say what holds now.
pub(super) fn wanted(times: Times) -> usize {
    times.of as usize + SLACK
}

/// The newest instant that was judged.
pub(super) fn told_until(memory: &Memory) -> Timestamp {
    let ahead = memory.ahead.last().map(|(at, _)| *at);
    memory
        .judged_until
        .max(ahead.unwrap_or(memory.judged_until))
}

/// Says at each event after `told_until` what holds from there on, and at least what holds now.
pub(super) fn judge<T>(
    ctx: &Context<'_>,
    times: Times,
    mut events: Vec<Event<T>>,
    told_until: Timestamp,
    what: &str,
    evidence: impl Fn(&T) -> Evidence,
    judgement: &mut Judgement,
) {
    events.sort_by(|a, b| (a.at, &a.run).cmp(&(b.at, &b.run)));
    let Some(last) = events.len().checked_sub(1) else {
        return;
    };
    let after = told_until.max(ctx.memory.watching_since);
    let new = events.partition_point(|event| event.at <= after);
    let is_breach =
        |index: usize| tally(&events[..=index], times).breaching >= times.needed as usize;
    for index in new.min(last)..=last {
        let tally = tally(&events[..=index], times);
        let mut at = events[index].at;
        let verdict = match tally.newest_breach {
            Some(breach) if tally.breaching >= times.needed as usize => {
                if index < new {
                    // Nothing is new: it has been so since the first of the last events that say so.
                    let began = (0..index).rev().take_while(|i| is_breach(*i)).last();
                    at = events[began.unwrap_or(index)].at;
                }
                Verdict::Breach(counted(evidence(&breach.about), &tally, times))
            }
            // A run that is being retried is not counted for a while: that ends nothing.
            _ if is_before_open(ctx, at) => continue,
            _ => recovery(ctx, &events[..=index], &tally, what),
        };
        judgement.find(at, verdict);
    }
}

fn is_before_open(ctx: &Context<'_>, at: Timestamp) -> bool {
    let mut open = ctx.open.iter().filter(|alert| alert.is_open());
    open.any(|alert| at < alert.began_at)
}

fn tally<T>(events: &[Event<T>], times: Times) -> Tally<'_, T> {
    let mut seen: Vec<&Name> = Vec::new();
    let mut tally = Tally {
        counted: 0,
        breaching: 0,
        newest_breach: None,
    };
    for event in events.iter().rev() {
        if tally.counted == times.of as usize {
            break;
        }
        if seen.contains(&&event.run) {
            continue;
        }
        seen.push(&event.run);
        tally.counted += 1;
        if event.is_breach {
            tally.breaching += 1;
            tally.newest_breach = tally.newest_breach.or(Some(event));
        }
    }
    tally
}

fn counted<T>(mut evidence: Evidence, tally: &Tally<'_, T>, times: Times) -> Evidence {
    let share = format!("{} of the last {} runs", tally.breaching, tally.counted);
    evidence.headline = format!("{} ({share})", evidence.headline);
    let needs = format!("{share} (limit {} of {})", times.needed, times.of);
    evidence.facts.push(Fact::new("Times", needs));
    evidence
}

fn recovery<T>(
    ctx: &Context<'_>,
    events: &[Event<T>],
    tally: &Tally<'_, T>,
    what: &str,
) -> Verdict {
    let share = format!("{} of the last {} runs", tally.breaching, tally.counted);
    // A run that was told of counts otherwise now.
    let is_retried = |alert: &Alert| {
        let mut newest_first = events.iter().rev();
        let newest = newest_first.find(|event| Some(&event.run) == alert.evidence.run_id.as_ref());
        newest.is_some_and(|event| !event.is_breach)
    };
    let how = if ctx.open.iter().any(is_retried) {
        ", superseded by a retry"
    } else {
        ""
    };
    resolved(
        format!("Recovered: {}: {share} {what}{how}", ctx.title()),
        vec![Fact::new("Times", share)],
    )
}

/// The alert was told by another setting of `times`: of a run where now the subject is told, or the other
/// way round.
pub(super) fn is_told_otherwise(ctx: &Context<'_>, alert: &Alert) -> bool {
    let is_of_subject = ctx.occurrence(alert) == Labels::default();
    is_of_subject != ctx.rule.times.is_some()
}

/// Closes an alert that nothing would end any more.
pub(super) fn close_told_otherwise(ctx: &Context<'_>, alert: &Alert, judgement: &mut Judgement) {
    let headline = format!("Closed: {} is counted otherwise now", ctx.title());
    let occurrence = ctx.occurrence(alert);
    judgement.find_occurrence(occurrence, ctx.known_until, expired(headline));
}
