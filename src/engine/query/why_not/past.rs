//! The gates as they were at an instant that has passed.
//!
//! The history of runs is cut to what had happened by then and played through the engine once more, with the
//! rules of today. What cannot be put together again is said in the answer.

use std::sync::Arc;

use super::super::super::history::{History, Wanted};
use super::super::super::ledger::Ledger;
use super::super::super::observation::Observation;
use super::super::super::policy::Policy;
use super::super::super::replay::Replay;
use super::super::super::rule::{Rule, RuleKind, Scope};
use super::super::super::silence::Silence;
use super::super::super::subject::SubjectKey;
use super::super::super::time::{Span, Timestamp};
use super::super::super::{Engine, Saved};
use super::super::gates::{Gate, GateKind, GateState};
use super::{WhyNot, judged};

/// How long before the instant playing begins: what is so for longer is found at the first look.
const PLAYED: Span = Span::days(7);

/// More facts than this are looked at in intervals, as a poller would, and not each when it happened.
const MAX_EXACT: usize = 10_000;

/// How often they are looked at then.
const LOOK_EVERY: Span = Span::minutes(1);

/// What has to be played for an answer about an instant that has passed: a copy, which the engine is not needed
/// for any more.
pub struct Playing {
    rule: Rule,
    subject: SubjectKey,
    /// Since when the rule watches the subject.
    since: Option<Timestamp>,
    /// `None` when nothing of it is kept over time.
    known: Option<Known>,
    answer: WhyNot,
}

/// What was known.
struct Known {
    policy: Arc<Policy>,
    history: History,
    facts: Vec<Observation>,
    saved: Saved,
}

impl Playing {
    pub(super) fn new(
        engine: &Engine,
        rule: &Rule,
        subject: SubjectKey,
        mut answer: WhyNot,
    ) -> Self {
        answer.limits = limits(rule);
        let watch = engine.watch_of(rule, &subject);
        let is_kept = rule.kind.scope() != Scope::Health;
        Self {
            since: watch.map(|watch| watch.memory.watching_since),
            known: is_kept.then(|| Known::new(engine, rule, &subject, answer.at)),
            rule: rule.clone(),
            subject,
            answer,
        }
    }

    /// Fills in the gates as of `answer.at`.
    pub(super) fn play(self) -> WhyNot {
        let mut answer = self.answer;
        let Some(known) = self.known else {
            let says =
                "how sources and receivers fared is not kept over time: see what was recorded";
            let gate = Gate::new(GateKind::Verdict, GateState::Unknown, says);
            answer.gates.push(gate);
            return answer;
        };
        let at = answer.at;
        let since = self.since.unwrap_or(Timestamp::MIN);
        let then = known.play(since.max(at - PLAYED).min(at), at);
        judged::explain(&then, &self.rule, &self.subject, self.since, &mut answer);
        for gate in &mut answer.gates {
            if gate.gate == GateKind::Known && gate.state == GateState::Passed {
                gate.state = GateState::Noted;
                gate.says = String::from("taken to have been known up to then");
            }
        }
        let decided = answer.gates.iter_mut().filter(|gate| gate.route.is_some());
        for gate in decided {
            gate.says = format!("as played: {}", gate.says);
        }
        answer
    }
}

impl Known {
    fn new(engine: &Engine, rule: &Rule, subject: &SubjectKey, at: Timestamp) -> Self {
        let (history, facts) = engine.history().as_of(at, &wanted(rule, subject));
        let silences = engine.silences();
        Self {
            policy: Arc::new(policy(engine, rule)),
            history,
            facts,
            saved: Saved {
                silences: silences.filter_map(|known| in_force(known, at)).collect(),
                ledger: promises(engine, rule, at),
                ..Saved::default()
            },
        }
    }

    /// The engine at an instant, as it would have come there from the history that is known today.
    fn play(self, from: Timestamp, at: Timestamp) -> Engine {
        let mut replay = Replay::new();
        let is_much = self.facts.len() > MAX_EXACT;
        replay.add(self.facts);
        if is_much {
            replay = replay.poll_every(LOOK_EVERY);
        }
        let start = (self.history, self.saved);
        replay.play_on(&self.policy, start, from, at).1
    }
}

/// What an objective is about, as far as it was recorded by then.
fn promises(engine: &Engine, rule: &Rule, at: Timestamp) -> Ledger {
    let RuleKind::Objective(objective) = &rule.kind else {
        return Ledger::default();
    };
    let ledger = engine.ledger();
    let rows = objective.of.iter();
    let rows = rows.flat_map(|name| ledger.rows(name, Timestamp::MIN, at));
    Ledger::restore(rows.filter(|row| row.recorded_at <= at))
}

/// A silence as it was at an instant, if it was in force.
fn in_force(silence: &Silence, at: Timestamp) -> Option<Silence> {
    let ended_at = silence.ended.as_ref().map(|ended| ended.at);
    let is_in_force = silence.created_at <= at && at < ended_at.unwrap_or(silence.ends_at);
    is_in_force.then(|| Silence {
        ended: None,
        ..silence.clone()
    })
}

/// What of history a rule looks at.
fn wanted(rule: &Rule, subject: &SubjectKey) -> Wanted {
    // A deadline may wait for other jobs, which are named in it.
    let is_narrow = match &rule.kind {
        RuleKind::Deadline(kind) => kind.upstream.is_none(),
        _ => true,
    };
    let source = match subject {
        SubjectKey::Source(name) => Some(name.clone()),
        _ => subject.project().map(|key| key.source.clone()),
    };
    let (job, model) = match subject {
        SubjectKey::Job(_, job) => (Some(job.clone()), None),
        SubjectKey::Model(_, job, model) => (Some(job.clone()), Some(model.clone())),
        _ => (None, None),
    };
    Wanted {
        source,
        project: subject.project().filter(|_| is_narrow).cloned(),
        job: job.filter(|_| is_narrow),
        model,
        has_models: matches!(
            rule.kind,
            RuleKind::ModelNotRun(_) | RuleKind::RunStalled(_)
        ) || rule.kind.scope() == Scope::Model,
    }
}

/// The policy with the rules that the answer depends on.
fn policy(engine: &Engine, rule: &Rule) -> Policy {
    let policy = engine.policy();
    let is_limit = |other: &Rule| {
        matches!(
            other.kind,
            RuleKind::Deadline(_) | RuleKind::RunDuration(_) | RuleKind::ModelDuration(_)
        )
    };
    let needs = |other: &Rule| match &rule.kind {
        RuleKind::Objective(objective) => objective.of.contains(&other.name),
        RuleKind::RunRegression(_) | RuleKind::ModelRegression(_) => is_limit(other),
        _ => false,
    };
    let rules = policy.rules.iter();
    let rules = rules.filter(|other| other.name == rule.name || needs(other));
    Policy {
        rules: rules.cloned().collect(),
        // None of them is part of the answer, and each tick would look at all history.
        digests: Vec::new(),
        ..(**policy).clone()
    }
}

/// What is told of every answer about the past.
fn limits(rule: &Rule) -> Vec<String> {
    let mut limits = vec![
        "judged by the rules, calendars and routes of today: those of then are not kept".to_owned(),
        "runs count from when they happened: when they were read is not kept".to_owned(),
        "a row that changed later, such as a retried run, is seen as it is today".to_owned(),
        "other rules are not played: whether one of their alerts kept it quiet is only in what was \
         recorded"
            .to_owned(),
    ];
    if matches!(
        rule.kind,
        RuleKind::PlanWaiting(_) | RuleKind::PlanFailed(_)
    ) {
        limits.push("plans that changed later are left out".to_owned());
    }
    if matches!(
        rule.kind,
        RuleKind::ProjectDrift(_) | RuleKind::ProtectionOff(_) | RuleKind::Paused(_)
    ) {
        limits
            .push("of projects only holds are kept over time; the rest is as of today".to_owned());
    }
    limits
}
