//! The pure heart of Tardy: values in, values out. No async, no I/O, no clock, no configuration format.
//!
//! [`Engine::step`] is one tick, the whole pipeline on one screen: take in observations, judge what they
//! (or the passing of time) concern, fold verdicts into alerts, group, and decide whom to tell. It is
//! given `now` and reads no clock; the same inputs give the same outputs, whether they come from a live
//! source, a replay or a test. What a step changed is in its [`Step`], to be committed as one
//! transaction; nothing is sent from here.

pub mod alert;
pub mod annotate;
pub mod baseline;
pub mod calendar;
pub mod forecast;
pub mod group;
pub mod health;
pub mod history;
mod inhibition;
pub mod labels;
pub mod ledger;
pub mod notification;
pub mod observation;
pub mod policy;
pub mod query;
pub mod route;
pub mod rule;
pub mod schedule;
pub mod subject;
pub mod time;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono_tz::Tz;

use alert::{Alert, AlertState, EndReason, Evidence, Finding, Folded, Look, Transition, Verdict};
use group::{Flush, Group, GroupKey};
use health::Health;
use history::{Change, History, JobRecord, ProjectRecord};
use inhibition::Inhibitors;
use labels::{Fingerprint, Labels};
use ledger::LedgerRow;
use notification::{Body, ConversationId, Fact, Notification, Reason};
use observation::{Name, Observation, ProjectKey};
use policy::Policy;
use route::Route;
use rule::context::{Context, Judgement, Memory};
use rule::{Rule, RuleKind, Scope};
use schedule::Cron;
use subject::SubjectKey;
use time::{Timestamp, human_time};
use watch::{Watch, WatchId, Watches};

/// What one step is given besides the time.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// Facts, oldest first.
    pub observations: Vec<Observation>,
    /// Projects and the server instant up to which their runs are now known completely.
    pub coverage: BTreeMap<ProjectKey, Timestamp>,
    /// How sources and receivers fared.
    pub health: Vec<HealthReport>,
    /// Deliveries that were given up.
    pub undeliverable: Vec<Undeliverable>,
    /// Things to say about Tardy itself, to everyone a critical alert would reach.
    pub notices: Vec<Notice>,
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
    /// How far projects are known.
    pub coverage: BTreeMap<ProjectKey, Timestamp>,
    /// When rules and projects began to be watched.
    pub since: BTreeMap<String, Timestamp>,
    /// Alerts.
    pub alerts: BTreeMap<Fingerprint, Option<Alert>>,
    /// What rules remember.
    pub memories: BTreeMap<Fingerprint, Memory>,
    /// Groups.
    pub groups: BTreeMap<GroupKey, Option<Group>>,
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
}

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
    health: BTreeMap<SubjectKey, Health>,
    rule_index: HashMap<Name, usize>,
    /// Restored alerts by rule and subject, until their watch is built.
    unowned: HashMap<(Name, Labels), Vec<Fingerprint>>,
    is_policy_new: bool,
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
            rule_index: HashMap::new(),
            unowned: HashMap::new(),
            is_policy_new: true,
            is_renamed: false,
        };
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

    /// Lets the next step build the watches anew.
    fn forget_watches(&mut self) {
        self.keep_memories();
        self.watches = Watches::default();
        self.is_policy_new = true;
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

    /// Forgets runs created before `cutoff`.
    pub fn forget_before(&mut self, cutoff: Timestamp) {
        self.history.forget_before(cutoff);
    }

    /// One tick.
    pub fn step(&mut self, input: Input, now: Timestamp) -> Step {
        let mut step = Step::default();
        let mut dirty = self.adopt_policy(now, &mut step);
        dirty.extend(self.take_in(input.observations, &input.coverage, now, &mut step));
        dirty.extend(self.take_health(&input.health, now, &mut step));
        dirty.extend(self.watches.take_due(now));
        step.judged = dirty.len();
        for id in dirty {
            self.judge(id, now, &mut step);
        }
        self.give_up(&input.undeliverable, now, &mut step);
        self.announce(&input.notices, now, &mut step);
        self.tell(now, &mut step);
        step.wake_at = self.wake_at();
        step.poll_at = self.watches.next_known_due();
        if std::mem::take(&mut self.is_renamed) {
            self.forget_watches();
            step.wake_at = Some(now);
        }
        step
    }

    /// After a start or a reload: builds the watches anew, and closes the alerts of rules that are gone.
    fn adopt_policy(&mut self, now: Timestamp, step: &mut Step) -> BTreeSet<WatchId> {
        if !std::mem::take(&mut self.is_policy_new) {
            return BTreeSet::new();
        }
        self.index_unowned();
        let policy = Arc::clone(&self.policy);
        self.rule_index = (0..)
            .zip(&policy.rules)
            .map(|(i, rule)| (rule.name.clone(), i))
            .collect();
        for rule in &policy.rules {
            self.begin(
                format!("rule/{}/{}", rule.name, rule.kind.name()),
                now,
                step,
            );
        }
        for source in &policy.sources {
            self.watch(&SubjectKey::Source(source.name.clone()), now, step);
        }
        let projects: Vec<ProjectKey> = self
            .history
            .projects()
            .filter(|project| project.coverage.is_some())
            .map(|project| project.key.clone())
            .collect();
        for project in projects {
            self.watch_project(&project, now, step);
        }
        let receivers = self.alerts.values().filter_map(|alert| {
            let name = alert.identity.get("receiver");
            (!name.is_empty()).then(|| SubjectKey::Receiver(name.into()))
        });
        for subject in self
            .health
            .keys()
            .cloned()
            .chain(receivers)
            .collect::<Vec<_>>()
        {
            self.watch(&subject, now, step);
        }
        self.close_orphans(now, step);
        self.reroute(now, step);
        (0..self.watches.len()).collect()
    }

    /// Brings what is firing to the routes it has now, and lets every group be looked at again: mutes,
    /// inhibitions and receivers may be others than before.
    fn reroute(&mut self, now: Timestamp, step: &mut Step) {
        let firing = self
            .alerts
            .values()
            .filter(|alert| alert.state == AlertState::Firing);
        let moved: Vec<Fingerprint> = firing
            .filter(|alert| {
                let known = self.memberships.get(&alert.fingerprint);
                self.group_keys(alert)
                    .iter()
                    .any(|key| known.is_none_or(|known| !known.contains(key)))
            })
            .map(|alert| alert.fingerprint)
            .collect();
        for print in moved {
            self.touch_groups(print, now, step);
        }
        for key in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.touch_group(&key, now, step);
        }
    }

    /// Closes alerts that no watch owns: their rule was removed, disabled, or selects differently now.
    fn close_orphans(&mut self, now: Timestamp, step: &mut Step) {
        let orphans: Vec<Fingerprint> = self
            .alerts
            .keys()
            .copied()
            .filter(|print| !self.watches.is_owned(*print))
            .collect();
        for print in orphans {
            let mut slot = self.alerts.remove(&print);
            let headline = slot.as_ref().map(|alert| {
                format!(
                    "Closed: rule {} was removed or does not apply any more",
                    alert.rule
                )
            });
            let folded = alert::close(
                &mut slot,
                EndReason::RuleRemoved,
                headline.unwrap_or_default(),
                now,
            );
            step.transitions.extend(folded.transitions);
            if let Some(alert) = slot {
                self.alerts.insert(print, alert);
                self.touch_groups(print, now, step);
            }
            step.changed
                .alerts
                .insert(print, self.alerts.get(&print).cloned());
        }
    }

    /// Remembers when something began to be watched.
    fn begin(&mut self, what: String, now: Timestamp, step: &mut Step) -> Timestamp {
        *self.since.entry(what.clone()).or_insert_with(|| {
            step.changed.since.insert(what, now);
            now
        })
    }

    /// Takes in observations and coverage; returns the watches they concern.
    fn take_in(
        &mut self,
        observations: Vec<Observation>,
        coverage: &BTreeMap<ProjectKey, Timestamp>,
        now: Timestamp,
        step: &mut Step,
    ) -> BTreeSet<WatchId> {
        let mut changed_subjects = BTreeSet::new();
        let mut changed_projects = BTreeSet::new();
        for observation in observations {
            let changes = self.observe(&observation, now, step);
            let is_news = changes.iter().any(|change| *change != Change::None);
            for change in changes {
                match change {
                    Change::None | Change::Noted => {}
                    Change::Subject(subject) => {
                        changed_subjects.insert(subject);
                    }
                    Change::Project(project) => {
                        changed_projects.insert(project);
                    }
                }
            }
            if is_news
                && matches!(
                    observation,
                    Observation::Run(..) | Observation::Execution(..) | Observation::Plan(..)
                )
            {
                step.changed.observations.push(observation);
            }
        }
        for (project, known_until) in coverage {
            let is_first = self
                .history
                .project(project)
                .is_none_or(|p| p.coverage.is_none());
            let known = self.history.cover(project, *known_until);
            step.changed.coverage.insert(project.clone(), known);
            self.begin(
                format!("project/{}/{}", project.source, project.project_id),
                *known_until,
                step,
            );
            if is_first {
                changed_projects.insert(project.clone());
            }
        }
        self.watches_to_judge(&changed_subjects, &changed_projects, coverage, now, step)
    }

    fn watches_to_judge(
        &mut self,
        subjects: &BTreeSet<SubjectKey>,
        projects: &BTreeSet<ProjectKey>,
        coverage: &BTreeMap<ProjectKey, Timestamp>,
        now: Timestamp,
        step: &mut Step,
    ) -> BTreeSet<WatchId> {
        let mut dirty = BTreeSet::new();
        for project in projects {
            self.watch_project(project, now, step);
            dirty.extend(self.watches.of_project(project));
        }
        for subject in subjects {
            self.watch(subject, now, step);
            dirty.extend(self.watches.of(subject));
            // What a model did may explain what its job did.
            if let SubjectKey::Model(project, job, _) = subject {
                dirty.extend(
                    self.watches
                        .of(&SubjectKey::Job(project.clone(), job.clone())),
                );
            }
        }
        for (project, known_until) in coverage {
            dirty.extend(self.watches.take_known(project, *known_until));
        }
        dirty
    }

    fn observe(
        &mut self,
        observation: &Observation,
        now: Timestamp,
        step: &mut Step,
    ) -> Vec<Change> {
        match observation.clone() {
            Observation::Project(project) => {
                let key = project.key.clone();
                let known = self.history.project(&key).filter(|p| p.coverage.is_some());
                self.is_renamed |= known.is_some_and(|p| *p.display_name() != project.name);
                let change = self.history.observe_project(project, now);
                if change != Change::None
                    && let Some(record) = self
                        .history
                        .project(&key)
                        .and_then(history::ProjectHistory::record)
                {
                    step.changed.projects.insert(key, record);
                }
                vec![change]
            }
            Observation::Jobs(key, jobs) => {
                let changes = self.history.observe_jobs(&key, jobs, now);
                for change in &changes {
                    if let Change::Subject(SubjectKey::Job(key, name)) = change
                        && let Some(job) = self.history.project(key).and_then(|p| p.job(name))
                    {
                        step.changed
                            .jobs
                            .insert((key.clone(), name.clone()), job.record());
                    }
                }
                changes
            }
            Observation::Run(key, run) => self.history.observe_run(&key, run),
            Observation::Execution(key, execution) => {
                vec![self.history.observe_execution(&key, execution)]
            }
            Observation::Plan(key, plan) => vec![self.history.observe_plan(&key, plan)],
        }
    }

    /// Makes sure that every subject of a project is watched, once the project is known.
    fn watch_project(&mut self, key: &ProjectKey, now: Timestamp, step: &mut Step) {
        let Some(project) = self.history.project(key).filter(|p| p.coverage.is_some()) else {
            return;
        };
        let jobs = project
            .jobs()
            .map(|job| SubjectKey::Job(key.clone(), job.name.clone()));
        let models = project
            .models()
            .map(|(job, model, _)| SubjectKey::Model(key.clone(), job.clone(), model.clone()));
        let subjects: Vec<SubjectKey> = jobs.chain(models).collect();
        for subject in subjects {
            self.watch(&subject, now, step);
        }
    }

    /// Makes sure that a subject is watched by every rule that selects it.
    fn watch(&mut self, subject: &SubjectKey, now: Timestamp, step: &mut Step) {
        if self.watches.is_watched(subject) {
            return;
        }
        if let Some(project) = subject.project()
            && self
                .history
                .project(project)
                .is_none_or(|p| p.coverage.is_none())
        {
            return;
        }
        self.watches.note(subject.clone());
        let policy = Arc::clone(&self.policy);
        for (index, rule) in policy.rules.iter().enumerate() {
            if self.is_selected(rule, subject) {
                let memory = self.memory(rule, subject, now, step);
                // A tick of the rule's schedule that passed while Tardy did not run is caught up.
                let known_until = self.known_until(subject, now).unwrap_or(now);
                let next = |cron: &Cron| cron.next(rule.zone, known_until);
                let tick_at = rule.schedule.as_ref().and_then(next).map(|tick| tick.at);
                let id = self.watches.add(index, subject.clone(), memory, tick_at);
                self.adopt_alerts(id, rule, subject);
            }
        }
    }

    fn is_selected(&self, rule: &Rule, subject: &SubjectKey) -> bool {
        let selectors = &rule.selectors;
        let is_project = |key: &ProjectKey| {
            let name = self
                .history
                .project(key)
                .map_or("", |project| project.display_name());
            selectors.project.is_match_any(&[&key.project_id, name])
        };
        match (rule.kind.scope(), subject) {
            (Scope::Job, SubjectKey::Job(key, job)) => {
                is_project(key) && selectors.job.is_match(job)
            }
            (Scope::Model, SubjectKey::Model(key, job, model)) => {
                is_project(key) && selectors.job.is_match(job) && selectors.model.is_match(model)
            }
            (Scope::Health, SubjectKey::Source(_) | SubjectKey::Receiver(_)) => true,
            (Scope::Job | Scope::Model | Scope::Health | Scope::NotBuilt, _) => false,
        }
    }

    /// What a rule remembers of a subject, or its first memory. A subject that appears later has been watched
    /// since its project was, so that its first failure is news.
    fn memory(
        &mut self,
        rule: &Rule,
        subject: &SubjectKey,
        now: Timestamp,
        step: &mut Step,
    ) -> Memory {
        let key = Watch::key(rule, subject);
        if let Some(memory) = self.memories.remove(&key) {
            return memory;
        }
        let rule_since = self.begin(
            format!("rule/{}/{}", rule.name, rule.kind.name()),
            now,
            step,
        );
        let subject_since = match subject.project() {
            Some(project) => {
                let known = self
                    .history
                    .project(project)
                    .and_then(|p| p.coverage)
                    .unwrap_or(now);
                self.begin(
                    format!("project/{}/{}", project.source, project.project_id),
                    known,
                    step,
                )
            }
            None => now,
        };
        let watching_since = rule_since.max(subject_since);
        let judged_until = if rule.kind.reads_history() {
            Timestamp::MIN
        } else {
            watching_since
        };
        Memory::new(watching_since, judged_until)
    }

    /// Gives a new watch the open alerts that are its own.
    fn adopt_alerts(&mut self, id: WatchId, rule: &Rule, subject: &SubjectKey) {
        let own = self
            .unowned
            .remove(&(rule.name.clone(), subject.identity()))
            .unwrap_or_default();
        for print in own {
            let is_same_kind = self
                .alerts
                .get(&print)
                .is_some_and(|alert| &*alert.kind == rule.kind.name());
            if is_same_kind {
                self.watches.own(id, print);
            }
        }
    }

    /// Indexes alerts by rule and subject, for the watches that are about to be built.
    fn index_unowned(&mut self) {
        self.unowned.clear();
        let names: Vec<Name> = SUBJECT_LABELS
            .iter()
            .map(|name| Name::from(*name))
            .collect();
        for alert in self.alerts.values() {
            let key = (alert.rule.clone(), alert.identity.project(&names));
            self.unowned.entry(key).or_default().push(alert.fingerprint);
        }
    }

    /// Keeps the memories of watches that are about to be rebuilt.
    fn keep_memories(&mut self) {
        for id in 0..self.watches.len() {
            let watch = self.watches.get(id);
            let rule = &self.policy.rules[watch.rule];
            self.memories
                .insert(Watch::key(rule, &watch.subject), watch.memory.clone());
        }
    }

    fn take_health(
        &mut self,
        reports: &[HealthReport],
        now: Timestamp,
        step: &mut Step,
    ) -> BTreeSet<WatchId> {
        let mut dirty = BTreeSet::new();
        for report in reports {
            // The first report counts as well: an alert from before a restart may be over.
            let is_first = !self.health.contains_key(&report.subject);
            let health = self.health.entry(report.subject.clone()).or_default();
            let was_failing = health.failing_since.is_some() || is_first;
            match &report.result {
                Ok(()) => health.succeed(report.at),
                Err(why) => health.fail(report.at, why.clone()),
            }
            if was_failing || report.result.is_err() {
                self.watch(&report.subject, now, step);
                dirty.extend(self.watches.of(&report.subject));
            }
        }
        dirty
    }

    /// Judges one rule at one subject and folds the verdicts into alerts.
    fn judge(&mut self, id: WatchId, now: Timestamp, step: &mut Step) {
        let policy = Arc::clone(&self.policy);
        let rule = &policy.rules[self.watches.get(id).rule];
        if let Some(at) = self.not_before(rule, id, now) {
            self.watches.schedule(id, Some(at), None);
            return;
        }
        let watch = self.watches.get(id);
        let subject = watch.subject.clone();
        let (Some(judgement), Some(known_until)) = (
            self.judgement(rule, watch, now),
            self.known_until(&subject, now),
        ) else {
            return;
        };
        let look = Look { now, known_until };
        for finding in &judgement.findings {
            self.fold(id, rule, &subject, finding, now, step);
        }
        let alerts_due = self.let_time_pass(id, rule, look, step);
        step.ledger.extend(judgement.ledger);
        let watch = self.watches.get_mut(id);
        if watch.memory != judgement.memory {
            watch.memory = judgement.memory.clone();
            step.changed
                .memories
                .insert(Watch::key(rule, &subject), judgement.memory);
        }
        let (mut at, mut when_known) = (judgement.wake_at, judgement.wake_when_known);
        // What waits for runs to be known wakes with them; health is known at any time.
        let wake = if subject.project().is_some() {
            &mut when_known
        } else {
            &mut at
        };
        *wake = wake.iter().copied().chain(alerts_due).min();
        self.watches.schedule(id, at, when_known);
    }

    /// Fires and ends the alerts of a watch whose `for` or `keep_firing_for` is over; returns when the next
    /// one is.
    fn let_time_pass(
        &mut self,
        id: WatchId,
        rule: &Rule,
        look: Look,
        step: &mut Step,
    ) -> Option<Timestamp> {
        let mut due_at = None;
        for print in self.watches.get(id).alerts.clone() {
            let Some(alert) = self.alerts.get_mut(&print) else {
                continue;
            };
            if let Some(change) = alert::advance(alert, rule, look) {
                step.transitions.push(change);
                self.note_change(print, rule, look.now, step);
            } else if let Some(at) = alert::next_change(alert, rule) {
                due_at = Some(due_at.map_or(at, |known: Timestamp| known.min(at)));
            }
        }
        due_at
    }

    /// The instant up to which what happens to a subject is known completely; never after `now`.
    fn known_until(&self, subject: &SubjectKey, now: Timestamp) -> Option<Timestamp> {
        match subject.project() {
            Some(project) => Some(self.history.project(project)?.coverage?.min(now)),
            None => Some(now),
        }
    }

    /// For rules with a schedule of their own: the next tick, unless one is due.
    fn not_before(&mut self, rule: &Rule, id: WatchId, now: Timestamp) -> Option<Timestamp> {
        let schedule = rule.schedule.as_ref()?;
        let watch = self.watches.get_mut(id);
        let is_unseen = watch.memory.judged_until < watch.memory.watching_since;
        let tick_at = watch.tick_at.unwrap_or(Timestamp::MAX);
        if now < tick_at && !is_unseen {
            return Some(tick_at);
        }
        watch.tick_at = schedule.next(rule.zone, now).map(|tick| tick.at);
        None
    }

    fn judgement(&self, rule: &Rule, watch: &Watch, now: Timestamp) -> Option<Judgement> {
        if let RuleKind::SourceUnreachable(kind) = &rule.kind {
            let health = self.health.get(&watch.subject)?;
            return Some(kind.judge(rule, &watch.subject, health, &watch.memory, now));
        }
        let project = self.history.project(watch.subject.project()?)?;
        let known_until = self.known_until(&watch.subject, now)?;
        let open: Vec<Alert> = watch
            .alerts
            .iter()
            .filter_map(|print| self.alerts.get(print))
            .cloned()
            .collect();
        Some(rule.kind.judge(&Context {
            now,
            rule,
            subject: &watch.subject,
            project,
            schedule_zone: self.schedule_zone(&project.key.source),
            known_until,
            memory: &watch.memory,
            open: &open,
        }))
    }

    fn schedule_zone(&self, source: &Name) -> Tz {
        let source = self
            .policy
            .sources
            .iter()
            .find(|known| known.name == *source);
        source.map_or(Tz::UTC, |source| source.schedule_zone)
    }

    /// Folds one finding.
    fn fold(
        &mut self,
        id: WatchId,
        rule: &Rule,
        subject: &SubjectKey,
        finding: &Finding,
        now: Timestamp,
        step: &mut Step,
    ) {
        let mut identity = subject.identity();
        for (name, value) in finding.occurrence.iter() {
            identity.set(name, value);
        }
        let print = Fingerprint::of(&rule.name, &identity);
        let mut slot = self.alerts.remove(&print);
        if matches!(finding.verdict, Verdict::Breach(_)) {
            // Over before anybody was told: what comes now is an incident of its own.
            slot = slot.filter(|alert| alert.is_open() || self.is_told(print));
        }
        let is_already_so = finding.at <= self.watches.get(id).memory.watching_since;
        let new = |evidence: &Evidence| Alert {
            is_already_so,
            ..self.new_alert(print, rule, subject, identity, evidence, finding.at)
        };
        let Folded {
            transitions,
            is_changed,
        } = alert::fold(&mut slot, finding, rule, new, now);
        step.transitions.extend(transitions);
        match slot {
            Some(alert) => {
                self.alerts.insert(print, alert);
                self.watches.own(id, print);
            }
            None => self.watches.disown(print),
        }
        if is_changed {
            self.note_change(print, rule, now, step);
        }
    }

    /// An alert has changed: its texts, its groups and its record follow.
    fn note_change(&mut self, print: Fingerprint, rule: &Rule, now: Timestamp, step: &mut Step) {
        if let Some(mut alert) = self.alerts.remove(&print) {
            self.annotate(rule, &mut alert);
            self.alerts.insert(print, alert);
        }
        let alert = self.alerts.get(&print).cloned();
        step.changed.alerts.insert(print, alert);
        self.touch_groups(print, now, step);
    }

    /// Some receiver was told of an alert.
    fn is_told(&self, print: Fingerprint) -> bool {
        let keys = self.memberships.get(&print).into_iter().flatten();
        keys.filter_map(|key| self.groups.get(key))
            .flat_map(|group| group.conversations.values())
            .any(|conversation| conversation.told.contains_key(&print))
    }

    fn new_alert(
        &self,
        fingerprint: Fingerprint,
        rule: &Rule,
        subject: &SubjectKey,
        identity: Labels,
        evidence: &Evidence,
        at: Timestamp,
    ) -> Alert {
        let mut labels = rule.labels.clone();
        for (name, value) in identity.iter().chain(evidence.labels.iter()) {
            labels.set(name, value);
        }
        if let Some(project) = subject.project().and_then(|key| self.history.project(key)) {
            labels.set("project", project.display_name().clone());
        }
        let severity = evidence.severity.unwrap_or(rule.severity);
        labels.set("rule", rule.name.clone());
        labels.set("kind", rule.kind.name());
        labels.set("severity", severity.as_str());
        Alert {
            fingerprint,
            rule: rule.name.clone(),
            kind: rule.kind.name().into(),
            origin: rule.origin.clone(),
            identity,
            labels,
            severity,
            state: AlertState::Pending,
            began_at: at,
            fired_at: None,
            cleared_at: None,
            ended_at: None,
            evidence: evidence.clone(),
            frozen: None,
            ending: None,
            is_already_so: false,
            summary: None,
            description: None,
            runbook: None,
            owner: None,
            run_url: None,
        }
    }

    /// Fills in the rule's texts and the link to the run.
    fn annotate(&self, rule: &Rule, alert: &mut Alert) {
        alert.origin.clone_from(&rule.origin);
        alert.run_url = self.run_url(alert);
        let fill = |text: &Option<String>| text.as_ref().map(|text| annotate::fill(text, alert));
        let (summary, description) = (
            fill(&rule.annotations.summary),
            fill(&rule.annotations.description),
        );
        let (runbook, owner) = (
            fill(&rule.annotations.runbook),
            fill(&rule.annotations.owner),
        );
        alert.summary = summary;
        alert.description = description;
        alert.runbook = runbook;
        alert.owner = owner;
    }

    fn run_url(&self, alert: &Alert) -> Option<String> {
        let (source, project_id) = (
            alert.identity.get("source"),
            alert.identity.get("project_id"),
        );
        let key = ProjectKey {
            source: source.into(),
            project_id: project_id.into(),
        };
        self.link(&key, alert.evidence.run_id.as_ref()?)
    }

    /// Link to a run, when the source has a template for it.
    pub fn link(&self, project: &ProjectKey, run_id: &str) -> Option<String> {
        let source = self
            .policy
            .sources
            .iter()
            .find(|known| known.name == project.source)?;
        let template = source.run_url.as_ref()?;
        let project_id = &project.project_id;
        Some(
            template
                .replace("{project_id}", &url_part(project_id))
                .replace("{run_id}", &url_part(run_id)),
        )
    }

    /// An alert has changed: the groups it belongs to are due.
    fn touch_groups(&mut self, print: Fingerprint, now: Timestamp, step: &mut Step) {
        let Some(alert) = self.alerts.get(&print) else {
            return;
        };
        if !matches!(alert.state, AlertState::Firing | AlertState::Resolved) {
            return;
        }
        let mut keys = self.memberships.get(&print).cloned().unwrap_or_default();
        // The end is told where the alert was told of, whatever the routes are now.
        if alert.state == AlertState::Firing || keys.is_empty() {
            keys.extend(self.group_keys(alert));
        }
        self.memberships.insert(print, keys.clone());
        for key in keys {
            let new = || Group::new(key.clone(), now);
            let group = self.groups.entry(key.clone()).or_insert_with(new);
            group.members.insert(print);
            self.touch_group(&key, now, step);
        }
    }

    /// A group is due after its wait or its interval.
    fn touch_group(&mut self, key: &GroupKey, now: Timestamp, step: &mut Step) {
        let route = self.route_of(key);
        let Some(group) = self.groups.get_mut(key) else {
            return;
        };
        if let Some(due_at) = group.due_at {
            self.due_groups.remove(&(due_at, key.clone()));
        }
        group.touch(&route, now);
        if let Some(due_at) = group.due_at {
            self.due_groups.insert((due_at, key.clone()));
        }
        step.changed.groups.insert(key.clone(), Some(group.clone()));
    }

    /// The groups in which an alert is told now.
    fn group_keys(&self, alert: &Alert) -> BTreeSet<GroupKey> {
        let key = |route: Route| GroupKey {
            labels: alert.labels.project(&route.group_by),
            route: route.path,
        };
        self.routes(alert).into_iter().map(key).collect()
    }

    fn rule(&self, name: &str) -> Option<&Rule> {
        self.policy.rules.get(*self.rule_index.get(name)?)
    }

    /// The routing nodes that handle an alert. A rule with receivers of its own has a node of its own.
    fn routes(&self, alert: &Alert) -> Vec<Route> {
        match self
            .rule(&alert.rule)
            .and_then(|rule| rule.receivers.as_ref())
        {
            Some(receivers) => vec![self.own_route(&alert.rule, receivers.clone())],
            None => self
                .policy
                .route
                .find(&alert.labels)
                .into_iter()
                .cloned()
                .collect(),
        }
    }

    fn own_route(&self, rule: &Name, receivers: Vec<Name>) -> Route {
        Route {
            path: format!("rule:{rule}").into(),
            receivers,
            children: Vec::new(),
            escalate: Vec::new(),
            ..self.policy.route.clone()
        }
    }

    /// The routing node of a group, also when the policy does not have it any more: then nobody is told
    /// anything new, and those that were told are told the end.
    fn route_of(&self, key: &GroupKey) -> Route {
        if let Some(name) = key.route.strip_prefix("rule:") {
            let receivers = self
                .rule(name)
                .and_then(|rule| rule.receivers.clone())
                .unwrap_or_default();
            return self.own_route(&name.into(), receivers);
        }
        find_route(&self.policy.route, &key.route)
            .cloned()
            .unwrap_or_else(|| Route {
                path: key.route.clone(),
                receivers: Vec::new(),
                children: Vec::new(),
                mute: Vec::new(),
                ..self.policy.route.clone()
            })
    }

    /// Tells the groups that are due.
    fn tell(&mut self, now: Timestamp, step: &mut Step) {
        // A change of an alert may let others, kept quiet, speak.
        if !step.changed.alerts.is_empty() {
            for key in self.holding_back.clone() {
                self.touch_group(&key, now, step);
            }
        }
        let mut due: BTreeSet<GroupKey> = BTreeSet::new();
        while let Some((at, key)) = self
            .due_groups
            .first()
            .cloned()
            .filter(|(at, _)| *at <= now)
        {
            self.due_groups.remove(&(at, key.clone()));
            due.insert(key);
        }
        if due.is_empty() {
            return;
        }
        let policy = Arc::clone(&self.policy);
        let inhibitors = Inhibitors::new(&policy.inhibitions, &self.alerts.values());
        let mut ended = BTreeSet::new();
        for key in due {
            let Some(mut group) = self.groups.remove(&key) else {
                continue;
            };
            let before = group.clone();
            let flushed = group.flush(&Flush {
                alerts: &self.alerts,
                inhibitors: &inhibitors,
                route: &self.route_of(&key),
                is_told_elsewhere: &|receiver, print| self.is_told_elsewhere(receiver, print),
                now,
            });
            step.notifications.extend(flushed.notifications);
            if flushed.is_holding_back {
                self.holding_back.insert(key.clone());
            } else {
                self.holding_back.remove(&key);
            }
            for print in before.members.difference(&group.members) {
                ended.insert(*print);
                self.memberships.entry(*print).or_default().remove(&key);
            }
            let is_over = group.is_over();
            if group != before {
                let kept = (!is_over).then(|| group.clone());
                step.changed.groups.insert(key.clone(), kept);
            }
            if is_over {
                self.holding_back.remove(&key);
                continue;
            }
            if let Some(due_at) = group.due_at {
                self.due_groups.insert((due_at, key.clone()));
            }
            self.groups.insert(key, group);
        }
        self.forget_alerts(&ended, step);
    }

    /// A receiver was told of an alert, and not of its end, in a group that still tells it.
    fn is_told_elsewhere(&self, receiver: &Name, print: Fingerprint) -> bool {
        let keys = self.memberships.get(&print).into_iter().flatten();
        keys.filter_map(|key| self.groups.get(key)).any(|group| {
            let told = group
                .conversations
                .get(receiver)
                .and_then(|known| known.told.get(&print));
            told.is_some_and(|told| !told.is_ended)
                && self.route_of(&group.key).receivers.contains(receiver)
        })
    }

    /// Forgets ended alerts that no group holds any more.
    fn forget_alerts(&mut self, ended: &BTreeSet<Fingerprint>, step: &mut Step) {
        for print in ended {
            let is_held = self
                .memberships
                .get(print)
                .is_some_and(|keys| !keys.is_empty());
            let is_over = self
                .alerts
                .get(print)
                .is_some_and(|alert| alert.state == AlertState::Resolved);
            if is_held || !is_over {
                continue;
            }
            self.alerts.remove(print);
            self.memberships.remove(print);
            self.watches.disown(*print);
            step.changed.alerts.insert(*print, None);
        }
    }

    /// Tells the fallback what another receiver could not be told, one notification for each such receiver.
    fn give_up(&mut self, given_up: &[Undeliverable], now: Timestamp, step: &mut Step) {
        let mut by_receiver: BTreeMap<&Name, Vec<&Undeliverable>> = BTreeMap::new();
        for item in given_up {
            // What the fallback itself could not be told ends here; it is shown in `status`.
            if item.notification.reason != Reason::Undeliverable {
                by_receiver
                    .entry(&item.notification.receiver)
                    .or_default()
                    .push(item);
            }
        }
        for (receiver, items) in by_receiver {
            let first = items[0];
            let headline = format!("Could not tell {receiver}: {}", first.why);
            let lines: Vec<String> = items
                .iter()
                .flat_map(|item| missed_lines(&item.notification))
                .collect();
            let key = first.notification.delivery_id();
            for fallback in self.fallbacks(receiver) {
                step.notifications.push(notice(
                    &fallback,
                    &format!("undeliverable/{key}"),
                    Reason::Undeliverable,
                    Body::Notice {
                        headline: headline.clone(),
                        text: lines.join("\n"),
                    },
                    now,
                ));
            }
        }
    }

    /// Receivers that hear what `failed` could not be told.
    fn fallbacks(&self, failed: &Name) -> Vec<Name> {
        let fallback = &self.policy.fallback;
        let all = if fallback.is_empty() {
            &self.policy.route.receivers
        } else {
            fallback
        };
        all.iter().filter(|name| *name != failed).cloned().collect()
    }

    /// Tells something about Tardy itself.
    fn announce(&mut self, notices: &[Notice], now: Timestamp, step: &mut Step) {
        for item in notices {
            let fallback = &self.policy.fallback;
            let receivers: BTreeSet<Name> = if item.is_for_fallback && !fallback.is_empty() {
                fallback.iter().cloned().collect()
            } else {
                self.policy
                    .route
                    .receivers
                    .iter()
                    .chain(fallback)
                    .cloned()
                    .collect()
            };
            for receiver in receivers {
                let body = Body::Notice {
                    headline: item.headline.clone(),
                    text: item.text.clone(),
                };
                let key = format!("notice/{}/{now}", item.headline);
                step.notifications
                    .push(notice(&receiver, &key, Reason::Notice, body, now));
            }
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        let group = self.due_groups.first().map(|(at, _)| *at);
        self.watches.next_due().into_iter().chain(group).min()
    }
}

/// Labels that say which subject an alert is about; whatever else its identity has is the occurrence.
const SUBJECT_LABELS: [&str; 5] = ["source", "receiver", "project_id", "job", "model"];

fn find_route<'a>(route: &'a Route, path: &str) -> Option<&'a Route> {
    if &*route.path == path {
        return Some(route);
    }
    route
        .children
        .iter()
        .find_map(|child| find_route(child, path))
}

/// Percent-encodes everything but unreserved characters (RFC 3986 section 2.3).
fn url_part(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// What a notification would have said, a line for each alert.
fn missed_lines(notification: &Notification) -> Vec<String> {
    let at = human_time(notification.decided_at, notification.decided_at, Tz::UTC);
    match &notification.body {
        Body::Alerts(alerts) => alerts
            .iter()
            .map(|alert| format!("{at} {}", alert.headline))
            .collect(),
        Body::Notice { headline, .. } => vec![format!("{at} {headline}")],
    }
}

/// A notification that is a conversation of its own.
fn notice(receiver: &Name, key: &str, reason: Reason, body: Body, now: Timestamp) -> Notification {
    let labels = Labels::default()
        .with("receiver", receiver.clone())
        .with("key", key);
    Notification {
        receiver: receiver.clone(),
        conversation: ConversationId(Fingerprint::of("notice", &labels)),
        sequence: 0,
        reason,
        decided_at: now,
        group: Labels::default(),
        route: "notice".into(),
        body,
        omitted: 0,
        suppressed: Vec::new(),
    }
}
