//! What a rule sees when it judges one subject, and what it answers.

use std::collections::{BTreeMap, BTreeSet};

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::super::alert::{Alert, EndReason, Ending, Evidence, Finding, Verdict};
use super::super::baseline::{Baseline, seconds, span};
use super::super::flapping::Changes;
use super::super::history::{JobHistory, ProjectHistory};
use super::super::labels::{Fingerprint, Labels};
use super::super::ledger::{Ledger, LedgerRow, Promise};
use super::super::notification::Fact;
use super::super::observation::{Name, Run};
use super::super::subject::SubjectKey;
use super::super::time::{Span, Timestamp, human_span, human_time};
use super::regression::{Accepted, Watched};
use super::{Clock, Rule};

/// What a rule sees: everything is a value, `now` included.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The instant of the decision, server time.
    pub now: Timestamp,
    /// The rule.
    pub rule: &'a Rule,
    /// All rules of the policy: what one promises, another may watch out for.
    pub rules: &'a [Rule],
    /// The subject.
    pub subject: &'a SubjectKey,
    /// Its project.
    pub project: &'a ProjectHistory,
    /// Zone in which the scheduler reads cron expressions.
    pub schedule_zone: Tz,
    /// The instant up to which the project's runs are known completely; never after `now`.
    pub known_until: Timestamp,
    /// What became of promises.
    pub ledger: &'a Ledger,
    /// What this rule remembers of this subject.
    pub memory: &'a Memory,
    /// Alerts of this rule at this subject that are open, or whose ending is not told yet.
    pub open: &'a [Alert],
}

/// What a rule remembers of a subject between evaluations. Stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// When this rule began to watch this subject: nothing that was over by then is announced.
    pub watching_since: Timestamp,
    /// Events up to here have been judged.
    pub judged_until: Timestamp,
    /// The newest ledger row of a promise that may still be corrected: due instant and outcome.
    pub open_promise: Option<(Timestamp, Promise)>,
    /// Runs judged that settled after `judged_until`: rows that settled before them may still come.
    #[serde(default)]
    pub ahead: BTreeSet<(Timestamp, Name)>,
    /// Names the kind remembers, such as environments seen protected.
    #[serde(default)]
    pub names: BTreeSet<Name>,
    /// Instants the kind remembers by name, such as since when a plan waits.
    #[serde(default)]
    pub instants: BTreeMap<Name, Timestamp>,
    /// Changes in the last 24 hours, by alert; kept by the engine, so that they outlive the alerts.
    #[serde(default)]
    pub changes: BTreeMap<Fingerprint, Changes>,
    /// The level that a person has accepted, of a regression.
    #[serde(default)]
    pub accepted: Option<Accepted>,
    /// Levels of like runs, of a regression with method `changepoint`.
    #[serde(default)]
    pub watched: Vec<Watched>,
}

/// Rows that settled longer ago than this before what is known completely are all there.
const LATE_ROWS: Span = Span::minutes(2);

impl Memory {
    /// The first memory of a subject.
    pub fn new(watching_since: Timestamp, judged_until: Timestamp) -> Self {
        Self {
            watching_since,
            judged_until,
            open_promise: None,
            ahead: BTreeSet::new(),
            names: BTreeSet::new(),
            instants: BTreeMap::new(),
            changes: BTreeMap::new(),
            accepted: None,
            watched: Vec::new(),
        }
    }

    /// Notes that a run was judged; false when it had been already.
    pub fn is_first_judgement(&mut self, run: &Run) -> bool {
        self.ahead.insert((run.settled_at(), run.id.clone()))
    }

    /// A level was accepted: it is usual from now on.
    pub fn accept(&mut self, accepted: Accepted) {
        for watched in &mut self.watched {
            watched.accept(&accepted);
        }
        self.accepted = Some(accepted);
    }

    /// Keeps what is known of like runs; of more than `most` kinds, those that were judged last.
    pub fn keep_watched(&mut self, watched: Watched, most: usize) {
        self.watched.retain(|known| !known.is_same(&watched));
        self.watched.insert(0, watched);
        self.watched.truncate(most);
    }

    /// Moves `judged_until` up to the newest judged run before which no row can come any more.
    pub fn settle(&mut self, known_until: Timestamp) {
        let limit = known_until - LATE_ROWS;
        let settled = self.ahead.iter().take_while(|(at, _)| *at <= limit).last();
        if let Some((at, _)) = settled {
            self.judged_until = self.judged_until.max(*at);
        }
        self.ahead.retain(|(at, _)| *at > self.judged_until);
    }
}

/// What a rule answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Verdicts in the order in which they became true. What is not mentioned does not change.
    pub findings: Vec<Finding>,
    /// Promises decided, or decided differently than before.
    pub ledger: Vec<LedgerRow>,
    /// Judge again at this instant, even without news.
    pub wake_at: Option<Timestamp>,
    /// Judge again when runs are known completely up to this instant.
    pub wake_when_known: Option<Timestamp>,
    /// What to remember.
    pub memory: Memory,
}

impl Judgement {
    /// Nothing to say yet.
    pub fn start(memory: &Memory) -> Self {
        Self {
            findings: Vec::new(),
            ledger: Vec::new(),
            wake_at: None,
            wake_when_known: None,
            memory: memory.clone(),
        }
    }

    /// Adds a verdict about the subject as a whole.
    pub fn find(&mut self, at: Timestamp, verdict: Verdict) {
        self.find_occurrence(Labels::default(), at, verdict);
    }

    /// Adds a verdict about one occurrence.
    pub fn find_occurrence(&mut self, occurrence: Labels, at: Timestamp, verdict: Verdict) {
        self.findings.push(Finding {
            occurrence,
            at,
            verdict,
        });
    }

    /// Wakes at the earlier of the known instant and `at`.
    pub fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }

    /// Wakes when runs are known up to the earlier of the known instant and `at`.
    pub fn wake_known(&mut self, at: Timestamp) {
        self.wake_when_known = Some(self.wake_when_known.map_or(at, |known| known.min(at)));
    }

    /// Wakes when runs and model executions are known up to `at`. When only the executions are not, they are
    /// behind, and asking at once would read a failing list over and over.
    pub fn wake_executions(&mut self, ctx: &Context<'_>, at: Timestamp) {
        let next = ctx.known_until + EXECUTIONS_BEHIND;
        self.wake_known(if at > ctx.known_until { at } else { next });
    }

    /// Records what became of the promise due at `due_at`, unless this very outcome is recorded already. One
    /// that is not final is remembered, so that a later outcome corrects it.
    pub fn decide(
        &mut self,
        ctx: &Context<'_>,
        due_at: Timestamp,
        outcome: Promise,
        is_final: bool,
    ) {
        let before = self
            .memory
            .open_promise
            .take_if(|(due, _)| *due == due_at)
            .map(|known| known.1);
        if !is_final {
            self.memory.open_promise = Some((due_at, outcome.clone()));
        }
        if before.as_ref() == Some(&outcome) {
            return;
        }
        self.promise(ctx, ctx.subject.identity(), due_at, outcome);
        if let Some(row) = self.ledger.last_mut() {
            row.corrected_from = before;
        }
    }

    /// Adds a ledger row.
    pub fn promise(
        &mut self,
        ctx: &Context<'_>,
        labels: Labels,
        due_at: Timestamp,
        outcome: Promise,
    ) {
        self.ledger.push(LedgerRow {
            rule: ctx.rule.name.clone(),
            labels,
            due_at,
            outcome,
            recorded_at: ctx.now,
            corrected_from: None,
            was_recorded_at: None,
        });
    }
}

/// How much further runs must be known before executions that are behind are looked at again.
const EXECUTIONS_BEHIND: Span = Span::seconds(30);

/// How many runs "usual" is made from.
const USUAL_RUNS: usize = 20;

/// Successes among which like ones are sought: a rare kind of run must not cost a walk through history.
pub const MAX_SEARCHED: usize = 2_000;

/// Runs looked at to tell which types of runs a job has.
const TYPED_RUNS: usize = 20_000;

impl<'a> Context<'a> {
    /// The job of the subject.
    pub fn job(&self) -> Option<&'a JobHistory> {
        match self.subject {
            SubjectKey::Job(_, job) | SubjectKey::Model(_, job, _) => self.project.job(job),
            _ => None,
        }
    }

    /// The rule's selectors want some of the job's newest runs (or it has none yet): a job whose runs are all
    /// of another type is not the rule's business.
    pub fn is_concerned(&self) -> bool {
        let Some(job) = self.job() else {
            return true;
        };
        let mut newest = self.project.newest(job).take(TYPED_RUNS).peekable();
        newest.peek().is_none() || newest.any(|run| self.is_judged(run))
    }

    /// Name of the subject for people: `finance nightly-refresh`.
    pub fn title(&self) -> String {
        let project = self.project.display_name();
        match self.subject {
            SubjectKey::Job(_, job) => format!("{project} {job}"),
            SubjectKey::Model(_, _, model) => format!("{project} {model}"),
            SubjectKey::Project(_) => project.to_string(),
            SubjectKey::Source(name) | SubjectKey::Receiver(name) | SubjectKey::Objective(name) => {
                name.to_string()
            }
        }
    }

    /// The rule's selectors want this run.
    pub fn is_judged(&self, run: &Run) -> bool {
        self.rule.selectors.job_type.is_match(&run.job_type)
            && self.rule.selectors.triggered_by.is_match(&run.triggered_by)
    }

    /// Finished runs the rule wants, newest first.
    pub fn finished(&self, job: &'a JobHistory) -> impl Iterator<Item = &'a Run> + use<'a> {
        let this = *self;
        this.project
            .finished(job)
            .filter(move |run| this.is_judged(run))
    }

    /// Finished runs the rule wants that settled after `after`, in order.
    pub fn finished_after(
        &self,
        job: &'a JobHistory,
        after: Timestamp,
    ) -> impl Iterator<Item = &'a Run> + use<'a> {
        let this = *self;
        this.project
            .finished_after(job, after)
            .filter(move |run| this.is_judged(run))
    }

    /// Active runs the rule wants.
    pub fn active(&self, job: &'a JobHistory) -> impl Iterator<Item = &'a Run> + use<'a> {
        let this = *self;
        this.project
            .active(job)
            .filter(move |run| this.is_judged(run))
    }

    /// The newest success the rule wants.
    pub fn last_success(&self, job: &'a JobHistory) -> Option<&'a Run> {
        let mut successes = self.project.successes(job);
        successes.find(|run| self.is_judged(run))
    }

    /// What is usual for runs like `run` (same job, `job_type` and trigger class), from the newest
    /// successes, leaving `run` itself out.
    pub fn usual(&self, job: &'a JobHistory, run: &Run) -> Option<Baseline> {
        let like = self
            .project
            .successes(job)
            .take(MAX_SEARCHED)
            .filter(|other| is_like(other, run) && other.id != run.id)
            .filter_map(Run::run_time)
            .take(USUAL_RUNS);
        Baseline::of(like.map(seconds))
    }

    /// A fact that compares a duration with what is usual: `52 min, usual 31 min, p95 36 min, last 20
    /// runs`.
    pub fn against_usual(&self, observed: Span, usual: Option<&Baseline>) -> String {
        match usual {
            Some(usual) if usual.count >= 3 => format!(
                "{}, usual {}, p95 {}, last {} runs",
                human_span(observed),
                human_span(span(usual.median)),
                human_span(span(usual.p95)),
                usual.count
            ),
            Some(_) | None => human_span(observed),
        }
    }

    /// `07:00 EST`, with the date when it is not today.
    pub fn clock(&self, at: Timestamp) -> String {
        human_time(at, self.now, self.rule.zone)
    }

    /// A fact naming the newest success, if there is one.
    pub fn last_good(&self, job: &'a JobHistory) -> Option<Fact> {
        let run = self.last_success(job)?;
        Some(Fact::new("Last good run", self.clock(run.settled_at())))
    }

    /// The open alert of an occurrence.
    pub fn open_at(&self, occurrence: &Labels) -> Option<&'a Alert> {
        let mut open = self.open.iter().filter(|alert| alert.is_open());
        open.find(|alert| self.occurrence(alert) == *occurrence)
    }

    /// What distinguishes an alert from others at the same subject.
    pub fn occurrence(&self, alert: &Alert) -> Labels {
        let subject = self.subject.identity();
        let own = alert
            .identity
            .iter()
            .filter(|(name, _)| subject.get(name).is_empty());
        own.fold(Labels::default(), |labels, (name, value)| {
            labels.with(name, value)
        })
    }
}

/// Same job type and same trigger class: durations may be compared.
pub fn is_like(a: &Run, b: &Run) -> bool {
    a.job_type == b.job_type && is_scheduled(&a.triggered_by) == is_scheduled(&b.triggered_by)
}

/// Scheduled runs are compared with scheduled ones; everything a person or a hook starts with its like.
pub fn is_scheduled(triggered_by: &str) -> bool {
    triggered_by == "scheduled"
}

/// A run's time on a clock, up to `now` while it goes on. `None` before that clock starts.
pub fn clock_time(run: &Run, clock: Clock, now: Timestamp) -> Option<Span> {
    let (from, to) = clock_bounds(run, clock)?;
    Some(to.unwrap_or(now).since(from))
}

/// When a clock started and stopped. "total" starts at creation, which for a scheduled run is its tick.
pub fn clock_bounds(run: &Run, clock: Clock) -> Option<(Timestamp, Option<Timestamp>)> {
    match clock {
        Clock::Queue => Some((run.created_at, run.started_at.or(run.finished_at))),
        Clock::Run => Some((run.started_at?, run.finished_at)),
        Clock::Total => Some((run.created_at, run.finished_at)),
    }
}

/// An ending with reason resolved.
pub fn resolved(headline: String, facts: Vec<Fact>) -> Verdict {
    Verdict::Ok(Ending {
        reason: EndReason::Resolved,
        headline,
        facts,
    })
}

/// An ending with reason expired.
pub fn expired(headline: String) -> Verdict {
    Verdict::Ok(Ending {
        reason: EndReason::Expired,
        headline,
        facts: Vec::new(),
    })
}

/// Longest error text shown.
const MAX_ERROR_CHARS: usize = 600;

/// The end of an error text, where the cause usually stands, at most 600 characters.
pub fn error_end(error: &str) -> String {
    let text = error.trim();
    let count = text.chars().count();
    if count <= MAX_ERROR_CHARS {
        return text.to_owned();
    }
    let tail: String = text.chars().skip(count - MAX_ERROR_CHARS + 1).collect();
    format!("…{tail}")
}

/// The first line of an error, for headlines: at most 100 characters.
pub fn error_line(error: &str) -> String {
    let line = error.trim().lines().next().unwrap_or_default().trim();
    if line.chars().count() <= 100 {
        return line.to_owned();
    }
    let head: String = line.chars().take(99).collect();
    format!("{head}…")
}

/// An error text with digits, hexadecimal ids and quoted names of runs removed, so that the same kind of
/// error is recognised.
pub fn error_class(error: &str) -> String {
    let line = error_line(error);
    line.split_whitespace()
        .map(|word| {
            if word.chars().any(|c| c.is_ascii_digit()) {
                "#".to_owned()
            } else {
                word.to_lowercase()
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Evidence about a run: its id, error and labels.
pub fn run_evidence(headline: String, run: &Run, facts: Vec<Fact>) -> Evidence {
    let error = run.error.as_deref().map(error_end);
    Evidence {
        headline,
        facts,
        error,
        run_id: Some(run.id.clone()),
        labels: Labels::default()
            .with("job_type", run.job_type.clone())
            .with("triggered_by", run.triggered_by.clone()),
        ..Evidence::default()
    }
}

/// Labels of one run's occurrence.
pub fn run_occurrence(run_id: &Name) -> Labels {
    Labels::default().with("run_id", run_id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_shown_by_their_end_and_named_by_their_first_line() {
        let long = format!("first line\n{}", "x".repeat(700));
        assert_eq!(error_end(&long).chars().count(), 600);
        assert!(error_end(&long).starts_with('…'));
        assert_eq!(error_end("  short \n"), "short");
        assert_eq!(error_line(&long), "first line");
        assert_eq!(error_line(&"é".repeat(150)).chars().count(), 100);
        assert_eq!(error_line(""), "");
    }

    #[test]
    fn a_class_of_errors_leaves_numbers_and_ids_out() {
        for (a, b, is_same) in [
            ("Job 17 lost after 3 s", "Job 99 lost after 12 s", true),
            ("run 3f2a-77 failed", "run 9b1c-01 failed", true),
            ("no disk", "No Disk", true),
            ("no disk", "no memory", false),
        ] {
            assert_eq!(error_class(a) == error_class(b), is_same, "{a} / {b}");
        }
    }

    #[test]
    fn clocks_have_their_own_bounds() {
        let at = |minute: i64| Timestamp::from_millis(minute * 60_000);
        let run = Run {
            id: "a".into(),
            job: None,
            job_type: "run".into(),
            status: super::super::super::observation::Status::Success,
            triggered_by: "manual".into(),
            created_at: at(0),
            started_at: Some(at(5)),
            finished_at: Some(at(35)),
            updated_at: at(35),
            error: None,
        };
        for (clock, minutes) in [(Clock::Queue, 5), (Clock::Run, 30), (Clock::Total, 35)] {
            assert_eq!(
                clock_time(&run, clock, at(99)),
                Some(Span::minutes(minutes))
            );
        }
        let waiting = Run {
            started_at: None,
            finished_at: None,
            ..run
        };
        assert_eq!(
            clock_time(&waiting, Clock::Queue, at(9)),
            Some(Span::minutes(9))
        );
        assert_eq!(clock_time(&waiting, Clock::Run, at(9)), None);
    }
}
