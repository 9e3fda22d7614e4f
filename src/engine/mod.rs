//! The pure heart of Tardy: values in, values out. No async, no I/O, no clock, no configuration format.
//!
//! [`Engine::step`] is one tick, the whole pipeline on one screen: take in observations, judge what they
//! (or the passing of time) concern, fold verdicts into alerts, group, and decide whom to tell. It is
//! given `now` and reads no clock; the same inputs give the same outputs, whether they come from a live
//! source, a replay or a test. What a step changed is in its [`Step`], to be committed as one
//! transaction; nothing is sent from here.

pub mod acting;
pub mod alert;
pub mod annotate;
mod aside;
pub mod baseline;
pub mod calendar;
pub mod detect;
pub mod digest;
pub mod flapping;
pub mod forecast;
pub mod group;
pub mod health;
pub mod history;
mod inhibition;
mod intake;
mod judging;
pub mod labels;
pub mod ledger;
pub mod notification;
pub mod observation;
pub mod policy;
mod precedence;
mod promising;
pub mod query;
pub mod replay;
mod rollup;
pub mod route;
pub mod rule;
pub mod schedule;
pub mod silence;
pub mod subject;
mod telling;
mod tending;
pub mod time;
mod watch;
mod watching;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use acting::{Act, Acted};
use alert::{Alert, Transition};
use chrono::NaiveDate;
use digest::{DigestClock, DigestMark};
use group::{Group, GroupKey};
use health::Health;
use history::{History, JobRecord, ProjectRecord};
use labels::{Fingerprint, Labels};
use ledger::{Ledger, LedgerRow};
use notification::Notification;
use observation::{DayAverage, Name, Observation, ProjectKey, Run, WaitingPlans};
use policy::Policy;
use rule::context::Memory;
use silence::{Silence, Silences};
use subject::SubjectKey;
use time::Timestamp;
use watch::{WatchId, Watches};

/// What one step is given besides the time.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// Facts, oldest first.
    pub observations: Vec<Observation>,
    /// Projects and the server instant up to which their runs are now known completely.
    pub coverage: BTreeMap<ProjectKey, Timestamp>,
    /// Projects and the server instant up to which their model executions are now known completely.
    pub executions_known: BTreeMap<ProjectKey, Timestamp>,
    /// Projects and which of their plans wait for a person.
    pub plans_waiting: BTreeMap<ProjectKey, WaitingPlans>,
    /// How sources and receivers fared.
    pub health: Vec<HealthReport>,
    /// Deliveries that were given up.
    pub undeliverable: Vec<Undeliverable>,
    /// Things to say about Tardy itself, to everyone a critical alert would reach.
    pub notices: Vec<Notice>,
    /// What people want done.
    pub acts: Vec<Act>,
    /// No bot runs: what people want is done and nothing else. Nothing is judged and nobody is told; all that
    /// is due stays due for the next start.
    pub is_offline: bool,
}

/// How a source or a receiver fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// Which.
    pub subject: SubjectKey,
    /// When.
    pub at: Timestamp,
    /// `Err`: what went wrong, in words for people.
    pub result: Result<(), String>,
}

/// A delivery that was given up.
#[derive(Clone, Debug, PartialEq)]
pub struct Undeliverable {
    /// What was not told.
    pub notification: Notification,
    /// Why, in words for people.
    pub why: String,
}

/// Something about Tardy itself: a refused reload, a restored store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// One line that stands alone.
    pub headline: String,
    /// More.
    pub text: String,
    /// Only the fallback receivers (all receivers of the root when there are none) are told.
    pub is_for_fallback: bool,
}

/// What one step decided and changed.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// State changes of alerts.
    pub transitions: Vec<Transition>,
    /// Whom to tell what.
    pub notifications: Vec<Notification>,
    /// Promises decided.
    pub ledger: Vec<LedgerRow>,
    /// What came of what people wanted done, in the order of the input; of none of them while there is more to
    /// judge than one step does: then it is in the step that completes it.
    pub acts: Vec<Acted>,
    /// The next instant at which something can change without new data.
    pub wake_at: Option<Timestamp>,
    /// A verdict waits for runs to be known up to this instant: polling just after it brings it at once.
    pub poll_at: Option<Timestamp>,
    /// What is to be stored.
    pub changed: Changed,
    /// Pairs of rule and subject that were judged: the cost of the step.
    pub judged: usize,
}

/// Records to be stored with a step; `None` deletes.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// Observations that were news.
    pub observations: Vec<Observation>,
    /// Projects.
    pub projects: BTreeMap<ProjectKey, ProjectRecord>,
    /// Jobs.
    pub jobs: BTreeMap<(ProjectKey, Name), JobRecord>,
    /// Daily averages: all that is known of a day.
    pub averages: BTreeMap<(ProjectKey, NaiveDate), Vec<DayAverage>>,
    /// How far projects are known.
    pub coverage: BTreeMap<ProjectKey, Timestamp>,
    /// When rules and projects began to be watched.
    pub since: BTreeMap<String, Option<Timestamp>>,
    /// Alerts.
    pub alerts: BTreeMap<Fingerprint, Option<Alert>>,
    /// What rules remember.
    pub memories: BTreeMap<Fingerprint, Option<Memory>>,
    /// Groups.
    pub groups: BTreeMap<GroupKey, Option<Group>>,
    /// Silences, by id.
    pub silences: BTreeMap<String, Option<Silence>>,
    /// What was told of digests, by name.
    pub digests: BTreeMap<Name, Option<DigestMark>>,
    /// Rules that fired for the first time, and when.
    pub fired: BTreeMap<Name, Timestamp>,
}

/// State put back from a store; the counterpart of [`Changed`].
#[derive(Clone, Debug, Default)]
pub struct Saved {
    /// How far projects are known.
    pub coverage: BTreeMap<ProjectKey, Timestamp>,
    /// When rules and projects began to be watched.
    pub since: BTreeMap<String, Timestamp>,
    /// Alerts.
    pub alerts: Vec<Alert>,
    /// What rules remember.
    pub memories: BTreeMap<Fingerprint, Memory>,
    /// Groups.
    pub groups: Vec<Group>,
    /// Silences, those that are over too.
    pub silences: Vec<Silence>,
    /// What was told of digests, by name.
    pub digests: BTreeMap<Name, DigestMark>,
    /// Rules that have fired, and when first.
    pub fired: BTreeMap<Name, Timestamp>,
    /// What became of promises.
    pub ledger: Ledger,
}

/// Promises decided in one step; more are decided in the next, at once. Keeps the first look at a long
/// history from taking memory for all of it in one transaction.
const MAX_LEDGER_ROWS: usize = 10_000;

/// Alerts that change in one step; more change in the next, at once, and nobody is told before all have. Keeps
/// thousands of failures at the same instant from taking memory for all of them in one transaction.
const MAX_CHANGED_ALERTS: usize = 2_000;

/// The engine: policy and state.
#[derive(Debug)]
pub struct Engine {
    policy: Arc<Policy>,
    history: History,
    since: BTreeMap<String, Timestamp>,
    memories: BTreeMap<Fingerprint, Memory>,
    watches: Watches,
    alerts: BTreeMap<Fingerprint, Alert>,
    groups: BTreeMap<GroupKey, Group>,
    /// Groups that hold an alert.
    memberships: HashMap<Fingerprint, BTreeSet<GroupKey>>,
    due_groups: BTreeSet<(Timestamp, GroupKey)>,
    /// Groups with members that are kept quiet.
    holding_back: BTreeSet<GroupKey>,
    /// Groups all of which is kept quiet, to be looked at again because routes may be others than before.
    looked_at: BTreeSet<GroupKey>,
    health: BTreeMap<SubjectKey, Health>,
    silences: Silences,
    /// An open alert that each silence in force fits.
    witnesses: tending::Witnesses,
    /// Alerts that somebody has taken on; perhaps some that nobody has any more.
    acknowledged: BTreeSet<Fingerprint>,
    digests: DigestClock,
    /// Rules that have fired, and when first.
    fired: BTreeMap<Name, Timestamp>,
    ledger: Ledger,
    rule_index: HashMap<Name, usize>,
    /// Restored alerts by rule and subject, until their watch is built.
    unowned: HashMap<(Name, Labels), Vec<Fingerprint>>,
    is_policy_new: bool,
    /// Watches are being built for a new policy, not for new subjects.
    is_adopting: bool,
    /// What people want done, until all that is due has been judged. Nobody is answered before, and nothing of
    /// it is stored: whoever waits over a restart has to ask again.
    pending_acts: Vec<Act>,
    /// A project has another name: rules may select its subjects, or not any more.
    is_renamed: bool,
}

impl Engine {
    /// Starts with a policy, a restored history and saved state. Alerts of rules that are not in the policy
    /// any more are closed by the first step.
    pub fn new(policy: Arc<Policy>, mut history: History, saved: Saved) -> Self {
        for (project, known_until) in &saved.coverage {
            history.cover(project, *known_until);
        }
        let mut engine = Self {
            policy,
            history,
            since: saved.since,
            memories: saved.memories,
            watches: Watches::default(),
            alerts: saved
                .alerts
                .into_iter()
                .map(|alert| (alert.fingerprint, alert))
                .collect(),
            groups: BTreeMap::new(),
            memberships: HashMap::new(),
            due_groups: BTreeSet::new(),
            holding_back: BTreeSet::new(),
            health: BTreeMap::new(),
            silences: Silences::new(saved.silences),
            witnesses: tending::Witnesses::new(),
            acknowledged: BTreeSet::new(),
            digests: DigestClock::new(saved.digests),
            fired: saved.fired,
            ledger: saved.ledger,
            rule_index: HashMap::new(),
            unowned: HashMap::new(),
            is_policy_new: true,
            is_adopting: false,
            looked_at: BTreeSet::new(),
            pending_acts: Vec::new(),
            is_renamed: false,
        };
        let known = engine.alerts.values();
        let known = known.filter(|alert| alert.acknowledged.is_some());
        engine.acknowledged = known.map(|alert| alert.fingerprint).collect();
        for group in saved.groups {
            if let Some(due_at) = group.due_at {
                engine.due_groups.insert((due_at, group.key.clone()));
            }
            // Whether something is held back is found at the first look.
            engine.holding_back.insert(group.key.clone());
            for print in &group.members {
                engine
                    .memberships
                    .entry(*print)
                    .or_default()
                    .insert(group.key.clone());
            }
            engine.groups.insert(group.key.clone(), group);
        }
        engine
    }

    /// Replaces the policy; state stays. Takes effect with the next step.
    pub fn set_policy(&mut self, policy: Arc<Policy>) {
        self.forget_watches();
        self.policy = policy;
    }

    /// The policy in force.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// What has been observed.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Open alerts, and ended ones that are still being told.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> + Clone {
        self.alerts.values()
    }

    /// Incidents that are still being told.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// Silences, those that are over too, by id.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.iter()
    }

    /// The silence that keeps an alert quiet, of those that had not ended at the last step.
    pub fn silence_of(&self, alert: &Alert) -> Option<&Silence> {
        let is_open = alert.is_open();
        is_open.then(|| self.silences.find(&alert.labels)).flatten()
    }

    /// What became of promises.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Health of sources and receivers.
    pub fn health(&self) -> &BTreeMap<SubjectKey, Health> {
        &self.health
    }

    /// Pairs of rule and subject that are watched.
    pub fn watch_count(&self) -> usize {
        self.watches.len()
    }

    /// How many subjects each rule of the policy judges, in its order.
    pub fn subjects_by_rule(&self) -> Vec<usize> {
        let mut counts = vec![0; self.policy.rules.len()];
        for id in 0..self.watches.len() {
            counts[self.watches.get(id).rule] += 1;
        }
        counts
    }

    /// Forgets runs created, promises due, and silences that were over, before `cutoff`.
    pub fn forget_before(&mut self, cutoff: Timestamp) {
        self.silences.forget_before(cutoff);
        self.history.forget_before(cutoff);
        self.ledger.forget_before(cutoff);
    }

    /// One tick.
    pub fn step(&mut self, input: Input, now: Timestamp) -> Step {
        if input.is_offline {
            return self.act_offline(input.acts, now);
        }
        let mut step = Step::default();
        for (project, until) in &input.executions_known {
            self.history.cover_executions(project, *until);
        }
        let lost = lost_runs(&input.observations);
        let successes = tending::successes(&input.observations);
        let mut dirty = self.adopt_policy(now, &mut step);
        dirty.extend(self.take_in(input.observations, &input.coverage, now, &mut step));
        dirty.extend(self.take_plans(&input.plans_waiting));
        dirty.extend(self.take_health(&input.health, now, &mut step));
        dirty.extend(self.watches.take_due(now));
        step.judged = dirty.len();
        let is_judged = self.judge_all(dirty, now, &mut step);
        self.decide_lost(&lost, now, &mut step);
        // The first look at a long history takes several steps: half of it is no picture of the whole.
        let is_complete = is_judged && step.ledger.len() < MAX_LEDGER_ROWS;
        self.judge_objectives(is_complete, now, &mut step);
        self.end_silences(&successes, now, &mut step);
        self.expire_acknowledgements(now, &mut step);
        self.pending_acts.extend(input.acts);
        // What is judged next may end what somebody acts on.
        if is_complete {
            self.act_all(now, &mut step);
        }
        self.give_up(&input.undeliverable, now, &mut step);
        self.announce(&input.notices, now, &mut step);
        self.note_fired(now, &mut step);
        step.poll_at = self.watches.next_known_due();
        // What explains an alert may be among what is judged next.
        if is_complete {
            let kept_from = self.tell(now, &mut step);
            self.tend_silences(&kept_from, now, &mut step);
            self.tell_digests(now, &mut step);
        }
        step.wake_at = self.wake_at(now);
        if std::mem::take(&mut self.is_renamed) {
            self.forget_watches();
            step.wake_at = Some(now);
        }
        if !is_complete {
            step.wake_at = Some(now);
        }
        step
    }

    /// Judges what is due, objectives last; what is too much for one step waits for the next. Returns whether
    /// all was judged.
    fn judge_all(&mut self, dirty: BTreeSet<WatchId>, now: Timestamp, step: &mut Step) -> bool {
        let is_objective =
            |id: &WatchId| matches!(self.watches.get(*id).subject, SubjectKey::Objective(_));
        let (objectives, others): (Vec<_>, Vec<_>) = dirty.into_iter().partition(is_objective);
        let mut is_judged = true;
        for id in others.into_iter().chain(objectives) {
            is_judged = step.ledger.len() < MAX_LEDGER_ROWS
                && step.changed.alerts.len() < MAX_CHANGED_ALERTS;
            if is_judged {
                self.judge(id, now, step);
            } else {
                self.watches.postpone(id, now);
            }
        }
        is_judged
    }

    fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let group = self.due_groups.first().map(|(at, _)| *at);
        let people = self.next_silence_at(now).into_iter();
        let people = people.chain(self.next_unacknowledged_at());
        let due = self.watches.next_due().into_iter().chain(group);
        due.chain(people).chain(self.digests.next_at()).min()
    }
}

/// Runs among what was observed of which nothing more will be told.
fn lost_runs(observations: &[Observation]) -> Vec<(ProjectKey, Run)> {
    let runs = observations
        .iter()
        .filter_map(|observation| match observation {
            Observation::Run(project, run) => Some((project, run)),
            _ => None,
        });
    runs.filter(|(_, run)| promising::is_lost(run))
        .map(|(project, run)| (project.clone(), run.clone()))
        .collect()
}
