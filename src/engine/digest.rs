//! Digests: a periodic summary of how promises were kept, what is open, and what to look after.
//!
//! Role: [`digest`] makes one from the state, as a value; [`due`] decides when a configured one is
//! told. Guarantees: pure; bounded, every list by a named limit with the number left out; what is not known is
//! said to be unknown and never counted as good; one notification for each receiver and tick of the schedule,
//! whatever is restarted or reloaded, since the tick that was told is stored with it. It renders nothing.

pub mod due;
mod models;
mod near;
mod open;
mod promises;
mod rows;
mod tending;
mod verdict;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

pub(super) use due::DigestClock;
pub use due::{DigestMark, DigestTold};
pub(super) use near::Kept;
pub use rows::{
    BudgetLine, DigestPeriod, EarlierRow, FlappingRow, GapRow, ModelLine, NearRow, OpenRow,
    PausedRow, RuleHabit, RuleNote, SilenceRow, SlaLine, UnreachableRow,
};

use super::Engine;
use super::calendar::resolve_late;
use super::ledger::Tally;
use super::observation::Name;
use super::query::Page;
use super::schedule::Cron;
use super::time::{Span, Timestamp};

/// One configured digest.
#[derive(Clone, Debug, PartialEq)]
pub struct DigestPolicy {
    /// Configured name.
    pub name: Name,
    /// When it is told.
    pub schedule: Cron,
    /// Zone of the schedule, and of its days.
    pub zone: Tz,
    /// What it looks back on.
    pub period: Span,
    /// Who gets it.
    pub receivers: Vec<Name>,
    /// Told also when there is nothing to say.
    pub send_empty: bool,
}

/// Most alerts listed.
pub const MAX_OPEN: usize = 20;
/// Most jobs and objectives in the table of promises.
pub const MAX_SLA: usize = 15;
/// Most rows of every other list.
pub const MAX_ROWS: usize = 10;
/// Most models of a list.
pub const MAX_MODELS: usize = 5;
/// Periods looked back on: the table shows three of them, the picture all.
pub const PERIODS: usize = 7;
/// Most characters of a text.
const MAX_TEXT: usize = 240;

/// Which digest is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    /// Its configured name; `None`: made on demand.
    pub name: Option<Name>,
    /// Zone of days and times.
    pub zone: Tz,
    /// The end of its period.
    pub to: Timestamp,
    /// How long its period is.
    pub period: Span,
    /// The digest told before.
    pub previous: Option<DigestTold>,
    /// Digests that were due in between and are not told any more.
    pub skipped: usize,
}

/// A summary of a period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Digest {
    /// Its configured name; `None`: made on demand.
    pub name: Option<Name>,
    /// One line that stands alone: `3 of 41 promises missed; 2 alerts open`.
    pub verdict: String,
    /// The same for machines.
    pub state: DigestState,
    /// Zone of its days and times.
    pub zone: Tz,
    /// The period: after this instant.
    pub from: Timestamp,
    /// And up to this one, at which it was due.
    pub to: Timestamp,
    /// When it was made.
    pub made_at: Timestamp,
    /// The end of the digest told before; what is new is new since then, or since `from`.
    pub previous_to: Option<Timestamp>,
    /// Digests that were due in between and were not told: Tardy did not run, or waited for what was not known.
    pub skipped: usize,
    /// The period and those before it, newest first.
    pub periods: Vec<DigestPeriod>,
    /// Alerts that fire: worst first, oldest first.
    pub open: Page<OpenRow>,
    /// Promises of before the period that were broken or corrected after the last digest.
    pub decided_since: Page<EarlierRow>,
    /// Promises by job, most damage first.
    pub sla: Page<SlaLine>,
    /// What objectives have left, least first.
    pub budgets: Page<BudgetLine>,
    /// Promises kept at the last moment.
    pub nearly_missed: Page<NearRow>,
    /// Models that took more time than usual, most seconds added first.
    pub growing: Page<ModelLine>,
    /// The slowest models.
    pub slowest: Page<ModelLine>,
    /// Alerts that change too often.
    pub flapping: Page<FlappingRow>,
    /// Jobs that are paused.
    pub paused: Page<PausedRow>,
    /// Silences that end before the next digest.
    pub silences: Page<SilenceRow>,
    /// What is not known up to the end of the period.
    pub gaps: Page<GapRow>,
    /// Sources that cannot be read and receivers that cannot be reached.
    pub unreachable: Page<UnreachableRow>,
    /// Rules that never or always fire, or match nothing.
    pub rules: Page<RuleNote>,
}

/// The verdict in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DigestState {
    /// Promises were broken, or alerts are open.
    Bad,
    /// Nothing bad is known, and not everything is known.
    Unsure,
    /// Everything is known and well.
    Good,
}

impl Digest {
    /// How the promises of the period came out.
    pub fn tally(&self) -> Tally {
        self.periods
            .first()
            .map_or_else(Tally::default, |period| period.tally)
    }

    /// There is nothing to say: everything is known and kept, nothing is open, nothing is new.
    pub fn is_empty(&self) -> bool {
        let is_quiet = [
            self.open.rows.is_empty(),
            self.decided_since.rows.is_empty(),
            self.nearly_missed.rows.is_empty(),
            self.flapping.rows.is_empty(),
            self.silences.rows.is_empty(),
            self.gaps.rows.is_empty(),
            self.unreachable.rows.is_empty(),
            !self.paused.rows.iter().any(|row| row.is_new),
        ];
        let tally = self.tally();
        tally.broken() + tally.unknown == 0 && is_quiet.into_iter().all(|is| is)
    }
}

/// The same time of day so many days before; of a period that is not of whole days, the instant. So a daily
/// digest is about a day on the days on which the clocks change, too.
pub fn back(zone: Tz, at: Timestamp, period: Span) -> Timestamp {
    let days = Span::days(period.num_days());
    if days.is_zero() || days != period {
        return at - period;
    }
    resolve_late(zone, at.in_zone(zone).naive_local() - days)
}

/// Makes a digest of what is known at `now`.
pub fn digest(engine: &Engine, scope: &Scope, now: Timestamp) -> Digest {
    let bounds = bounds(scope);
    let new_since = scope.previous.map_or(bounds[1], |told| told.to);
    let look = Look {
        engine,
        bounds: &bounds,
        to: scope.to,
        new_since,
        previous: scope.previous,
        now,
    };
    let mut digest = Digest {
        name: scope.name.clone(),
        verdict: String::new(),
        state: DigestState::Good,
        zone: scope.zone,
        from: bounds[1],
        to: scope.to,
        made_at: now,
        previous_to: scope.previous.map(|told| told.to),
        skipped: scope.skipped,
        periods: look.periods(),
        open: look.open(),
        decided_since: look.decided_since(),
        sla: look.sla(),
        budgets: look.budgets(),
        nearly_missed: look.nearly_missed(),
        growing: look.growing(),
        slowest: look.slowest(),
        flapping: look.flapping(),
        paused: look.paused(),
        silences: look.silences(scope.period),
        gaps: look.gaps(),
        unreachable: look.unreachable(),
        rules: look.rules(),
    };
    digest.state = verdict::state(&digest);
    digest.verdict = verdict::words(&digest);
    digest
}

/// The ends of the periods, newest first.
fn bounds(scope: &Scope) -> Vec<Timestamp> {
    let mut bounds = vec![scope.to];
    let mut at = scope.to;
    for _ in 0..PERIODS {
        at = back(scope.zone, at, scope.period);
        bounds.push(at);
    }
    bounds
}

/// What a digest is made from.
struct Look<'a> {
    engine: &'a Engine,
    /// Ends of the periods, newest first; one more than periods.
    bounds: &'a [Timestamp],
    to: Timestamp,
    new_since: Timestamp,
    previous: Option<DigestTold>,
    now: Timestamp,
}

impl Look<'_> {
    fn from(&self) -> Timestamp {
        self.bounds[1]
    }
}

/// A text of bounded length.
fn short(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((at, _)) => format!("{}…", text[..at].trim_end()),
        None => text.to_owned(),
    }
}

/// A question for a digest now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestQuestion {
    /// A configured digest, whose period and zone are taken.
    pub name: Option<String>,
    /// Looks back on so many milliseconds instead.
    pub within_millis: Option<i64>,
}

/// A digest now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DigestAnswer {
    /// The digest.
    pub digest: Option<Box<Digest>>,
    /// No digest has the name that was asked for; what is near it.
    pub unknown_name: Option<String>,
}

/// How long a digest on demand looks back.
const ON_DEMAND: Span = Span::hours(24);

/// What is known up to so short a time ago is as good as now.
const AS_GOOD_AS_NOW: Span = Span::minutes(10);

/// A digest of now: up to the instant up to which all is known, when that is a moment ago.
pub fn digest_now(engine: &Engine, question: &DigestQuestion, now: Timestamp) -> DigestAnswer {
    let policies = &engine.policy().digests;
    let wanted = |policy: &&DigestPolicy| question.name.as_deref() == Some(&*policy.name);
    let policy = policies.iter().find(wanted);
    if let Some(name) = question.name.as_deref().filter(|_| policy.is_none()) {
        let names: Vec<String> = policies.iter().map(|p| p.name.to_string()).collect();
        let else_where = match names.as_slice() {
            [] => "none is configured".to_owned(),
            names => format!("there are {}", names.join(", ")),
        };
        let near = super::query::near_names(names, name, &else_where);
        return DigestAnswer {
            digest: None,
            unknown_name: Some(format!("no digest is called {near}")),
        };
    }
    let known = engine.digested_projects().map(|project| project.coverage);
    let known = known.min().flatten();
    let to = known.filter(|known| *known <= now && now.since(*known) <= AS_GOOD_AS_NOW);
    let within = question.within_millis.map(Span::milliseconds);
    let period = within.or(policy.map(|policy| policy.period));
    let mark = policy.and_then(|policy| engine.digest_marks().get(&policy.name));
    let scope = Scope {
        name: policy.map(|policy| policy.name.clone()),
        zone: policy.map_or(engine.policy().zone, |policy| policy.zone),
        to: to.unwrap_or(now),
        period: period.unwrap_or(ON_DEMAND).max(Span::minutes(1)),
        previous: mark.and_then(|mark| mark.told),
        skipped: 0,
    };
    DigestAnswer {
        digest: Some(Box::new(digest(engine, &scope, now))),
        unknown_name: None,
    }
}
