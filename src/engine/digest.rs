//! Digests: a periodic summary of how promises were kept, what is open, and what to look after.
//!
//! Role: [`digest`] makes one from the state, as a value; [`due`](self::due) decides when a configured one is
//! told. Guarantees: pure; bounded, every list by a named limit with the number left out; what is not known is
//! said to be unknown and never counted as good; one notification for each receiver and tick of the schedule,
//! whatever is restarted or reloaded, since the tick that was told is stored with it. It renders nothing.

pub mod due;
mod models;
mod near;
mod open;
mod promises;
mod tending;
mod verdict;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

pub(super) use due::DigestClock;
pub use due::{DigestMark, DigestTold};
pub(super) use near::Kept;

use super::Engine;
use super::calendar::resolve_late;
use super::ledger::Tally;
use super::observation::Name;
use super::query::{BudgetRow, Page};
use super::rule::Severity;
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
    /// Digests that were due in between and were not told, since Tardy did not run.
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

/// How the promises of a stretch of time came out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DigestPeriod {
    /// Promises due after this instant.
    pub from: Timestamp,
    /// And up to this one.
    pub to: Timestamp,
    /// How they came out.
    #[serde(flatten)]
    pub tally: Tally,
}

/// An alert that fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenRow {
    /// Short id.
    pub id: String,
    /// One line that stands alone.
    pub headline: String,
    /// How bad.
    pub severity: Severity,
    /// Since when.
    pub began_at: Timestamp,
    /// Who owns it.
    pub owner: Option<String>,
    /// Who has taken it on.
    pub acknowledged_by: Option<String>,
    /// Until when.
    pub acknowledged_until: Option<Timestamp>,
    /// Why it is kept quiet.
    pub quiet: Option<String>,
    /// Link to the run.
    pub run_url: Option<String>,
    /// Not part of the last digest.
    pub is_new: bool,
}

/// A promise of before the period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlierRow {
    /// The job or model.
    pub subject: String,
    /// The rule that promised.
    pub rule: String,
    /// When it was due.
    pub due_at: Timestamp,
    /// `missed`, `late`, `met`, `excused` or `unknown`.
    pub outcome: String,
    /// How late.
    pub late_millis: Option<i64>,
    /// What was recorded before.
    pub corrected_from: Option<String>,
}

/// The promises of one job (or model), of all rules together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlaLine {
    /// `finance nightly`.
    pub subject: String,
    /// The rules whose promises were broken; of a job that kept all, none.
    pub broken_rules: Vec<String>,
    /// In this period and the two before it.
    pub periods: [Tally; 3],
    /// How late the latest was.
    pub worst_late_millis: Option<i64>,
    /// It broke promises and had broken none in the period before.
    pub is_new: bool,
}

/// What an objective has left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetLine {
    /// The objective.
    pub objective: String,
    /// The rules it counts.
    pub of: String,
    /// Its promises in this period and the two before it.
    pub periods: [Tally; 3],
    /// What is left.
    #[serde(flatten)]
    pub budget: BudgetRow,
}

/// A promise that was kept at the last moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearRow {
    /// The job or model.
    pub subject: String,
    /// The rule that promised.
    pub rule: String,
    /// When it was due.
    pub due_at: Timestamp,
    /// Time that was left; below zero: within the grace.
    pub left_millis: i64,
    /// The whole time there was.
    pub allowed_millis: i64,
    /// How often in the period.
    pub count: usize,
}

/// A model's time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelLine {
    /// Project name.
    pub project: String,
    /// Job name.
    pub job: String,
    /// Model name.
    pub model: String,
    /// Successes in the period.
    pub count: usize,
    /// Their median.
    pub median_millis: i64,
    /// The median of the successes before; `None` with too few of them.
    pub usual_millis: Option<i64>,
    /// What that is made from.
    pub usual_count: usize,
    /// Added in all against usual.
    pub added_millis: Option<i64>,
}

/// An alert that changes too often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlappingRow {
    /// Short id.
    pub id: String,
    /// One line.
    pub headline: String,
    /// How often.
    pub note: String,
    /// Since when.
    pub since: Timestamp,
    /// Not part of the last digest.
    pub is_new: bool,
}

/// A job that is paused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PausedRow {
    /// `finance nightly`, or `finance` when the whole project is.
    pub subject: String,
    /// Since when, when known.
    pub since: Option<Timestamp>,
    /// It may have been before.
    pub is_since_or_before: bool,
    /// Not part of the last digest.
    pub is_new: bool,
}

/// A silence that ends soon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SilenceRow {
    /// Its id.
    pub id: String,
    /// What it keeps quiet.
    pub matchers: String,
    /// Who.
    pub by: String,
    /// When it ends.
    pub ends_at: Timestamp,
    /// Why, in their words.
    pub comment: String,
}

/// What is not known up to the end of the period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GapRow {
    /// Project name.
    pub project: String,
    /// `runs` or `model executions`.
    pub what: String,
    /// Known up to here; `None`: nothing is known.
    pub known_until: Option<Timestamp>,
}

/// A source that cannot be read, or a receiver that cannot be reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnreachableRow {
    /// `source acme`, `receiver leads`.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
    /// What went wrong last.
    pub why: Option<String>,
    /// Not part of the last digest.
    pub is_new: bool,
}

/// A rule that says too little or too much.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleNote {
    /// The rule.
    pub rule: String,
    /// Its kind.
    pub kind: String,
    /// What is noticed.
    pub habit: RuleHabit,
    /// Since when it is so.
    pub since: Timestamp,
    /// Alerts, where it always fires.
    pub alerts: usize,
}

/// What is noticed about a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleHabit {
    /// Fired the whole period.
    AlwaysFires,
    /// Watches no subject.
    MatchesNothing,
    /// Never fired since it is watched.
    NeverFired,
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
