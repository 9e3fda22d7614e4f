//! Which rule watches which subject: built when a policy comes into force, grown with what is observed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::alert::{self, Alert, EndReason, Ending};
use super::labels::Fingerprint;
use super::observation::{Name, ProjectKey};
use super::rule::context::Memory;
use super::rule::regression::averages;
use super::rule::{Rule, Scope};
use super::schedule::Cron;
use super::subject::SubjectKey;
use super::time::Timestamp;
use super::watch::{Watch, WatchId, Watches};
use super::{Engine, Step};

impl Engine {
    /// Lets the next step build the watches anew.
    pub(super) fn forget_watches(&mut self) {
        self.keep_memories();
        self.watches = Watches::default();
        self.is_policy_new = true;
    }

    /// After a start or a reload: builds the watches anew, and closes the alerts of rules that are gone.
    pub(super) fn adopt_policy(&mut self, now: Timestamp, step: &mut Step) -> BTreeSet<WatchId> {
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
            self.begin(rule_key(rule), now, step);
        }
        self.is_adopting = true;
        self.health.retain(|subject, _| policy.is_served(subject));
        for source in &policy.sources {
            self.watch(&SubjectKey::Source(source.name.clone()), now, step);
        }
        for rule in &policy.rules {
            if rule.kind.scope() == Scope::Objective {
                self.watch(&SubjectKey::Objective(rule.name.clone()), now, step);
            }
        }
        let projects: Vec<ProjectKey> = self
            .history
            .projects()
            .filter(|project| project.is_read())
            .filter(|project| policy.has_source(&project.key.source))
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
            .filter(|subject| policy.is_served(subject))
            .collect::<Vec<_>>()
        {
            self.watch(&subject, now, step);
        }
        self.is_adopting = false;
        self.forget_memories(step);
        self.close_orphans(now, step);
        self.renew_owners(step);
        self.reroute(now, step);
        (0..self.watches.len()).collect()
    }

    /// Closes alerts that no watch owns: their rule was removed, disabled, or selects differently now.
    pub(super) fn close_orphans(&mut self, now: Timestamp, step: &mut Step) {
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
            let ending = Ending {
                reason: EndReason::RuleRemoved,
                headline: headline.unwrap_or_default(),
                facts: Vec::new(),
            };
            let folded = alert::close(&mut slot, ending, now);
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

    /// Gives what is open the owner it has now, for routes and mentions.
    fn renew_owners(&mut self, step: &mut Step) {
        let owner_now = |alert: &Alert| {
            let owner = self.owner(self.rule(&alert.rule)?, alert);
            (alert.is_open() && owner != alert.owner).then_some((alert.fingerprint, owner))
        };
        let renewed: Vec<_> = self.alerts.values().filter_map(owner_now).collect();
        for (print, owner) in renewed {
            if let Some(alert) = self.alerts.get_mut(&print) {
                alert.labels.set("owner", owner.clone().unwrap_or_default());
                alert.owner = owner;
                step.changed.alerts.insert(print, Some(alert.clone()));
            }
        }
    }

    /// Remembers when something began to be watched.
    pub(super) fn begin(&mut self, what: String, now: Timestamp, step: &mut Step) -> Timestamp {
        *self.since.entry(what.clone()).or_insert_with(|| {
            step.changed.since.insert(what, Some(now));
            now
        })
    }

    /// Makes sure that every subject of a project is watched, once the project is known.
    pub(super) fn watch_project(&mut self, key: &ProjectKey, now: Timestamp, step: &mut Step) {
        let Some(project) = self.history.project(key) else {
            return;
        };
        let averaged: Vec<SubjectKey> = project.averaged_subjects().collect();
        for subject in averaged {
            self.watch(&subject, now, step);
        }
        let Some(project) = self.history.project(key).filter(|p| p.coverage.is_some()) else {
            return;
        };
        let jobs = project
            .jobs()
            .map(|job| SubjectKey::Job(key.clone(), job.name.clone()));
        let models = project
            .models()
            .map(|(job, model, _)| SubjectKey::Model(key.clone(), job.clone(), model.clone()));
        let itself = std::iter::once(SubjectKey::Project(key.clone()));
        let subjects: Vec<SubjectKey> = itself.chain(jobs).chain(models).collect();
        for subject in subjects {
            self.watch(&subject, now, step);
        }
    }

    /// Makes sure that a subject is watched by every rule that selects it.
    pub(super) fn watch(&mut self, subject: &SubjectKey, now: Timestamp, step: &mut Step) {
        if self.watches.is_watched(subject) {
            return;
        }
        if let Some(project) = subject.project()
            && self
                .history
                .project(project)
                .is_none_or(|p| p.coverage.is_none())
            && !subject.is_averaged()
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

    pub(super) fn is_selected(&self, rule: &Rule, subject: &SubjectKey) -> bool {
        let selectors = &rule.selectors;
        let project = subject.project().and_then(|key| self.history.project(key));
        let is_project = project.is_some_and(|project| selectors.is_project(project));
        if subject.is_averaged() && !averages::may_judge(rule) {
            return false;
        }
        match (rule.kind.scope(), subject) {
            (Scope::Job | Scope::ProjectAndJob, SubjectKey::Job(_, job)) => {
                is_project && selectors.job.is_match(job)
            }
            (Scope::Model, SubjectKey::Model(_, job, model)) => {
                is_project && selectors.job.is_match(job) && selectors.model.is_match(model)
            }
            (Scope::Project, SubjectKey::Project(_)) => is_project,
            // A rule for some jobs does not speak of projects.
            (Scope::ProjectAndJob, SubjectKey::Project(_)) => is_project && selectors.job.is_any(),
            (Scope::Health, SubjectKey::Source(_) | SubjectKey::Receiver(_))
            | (Scope::Source, SubjectKey::Source(_)) => true,
            (Scope::Objective, SubjectKey::Objective(name)) => *name == rule.name,
            (
                Scope::Job
                | Scope::Model
                | Scope::Project
                | Scope::ProjectAndJob
                | Scope::Source
                | Scope::Health
                | Scope::Objective,
                _,
            ) => false,
        }
    }

    /// What a rule remembers of a subject, or its first memory, which is stored at once: a pair without one is
    /// new.
    pub(super) fn memory(
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
        let watching_since = self.watching_since(rule, subject, now, step);
        let judged_until = if rule.kind.reads_history() {
            Timestamp::MIN
        } else {
            watching_since
        };
        let memory = Memory::new(watching_since, judged_until);
        step.changed.memories.insert(key, Some(memory.clone()));
        memory
    }

    /// Since when a new pair is watched. A subject that appears has been watched since its project and the
    /// rule were, so that its first failure is news. A rule that selects a subject only from a start or a
    /// reload on watches it from then on: what it was told nothing of before is no news.
    fn watching_since(
        &mut self,
        rule: &Rule,
        subject: &SubjectKey,
        now: Timestamp,
        step: &mut Step,
    ) -> Timestamp {
        let rule_since = self.begin(rule_key(rule), now, step);
        let Some(project) = subject.project() else {
            return now;
        };
        let known = self
            .history
            .project(project)
            .and_then(|p| p.coverage)
            .unwrap_or(now);
        let what = format!("project/{}/{}", project.source, project.project_id);
        let project_since = self.begin(what, known, step);
        if self.is_adopting {
            known.max(project_since)
        } else {
            rule_since.max(project_since)
        }
    }

    /// Forgets what rules remember that are not in the policy any more, or do not select the subject: one that
    /// comes back begins anew.
    fn forget_memories(&mut self, step: &mut Step) {
        for key in std::mem::take(&mut self.memories).into_keys() {
            step.changed.memories.insert(key, None);
        }
        let known: BTreeSet<String> = self.policy.rules.iter().map(rule_key).collect();
        let gone: Vec<String> = self
            .since
            .keys()
            .filter(|what| what.starts_with("rule/") && !known.contains(*what))
            .cloned()
            .collect();
        for what in gone {
            self.since.remove(&what);
            step.changed.since.insert(what, None);
        }
    }

    /// Gives a new watch the open alerts that are its own.
    pub(super) fn adopt_alerts(&mut self, id: WatchId, rule: &Rule, subject: &SubjectKey) {
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
    pub(super) fn index_unowned(&mut self) {
        self.unowned.clear();
        let names: Vec<Name> = SUBJECT_LABELS
            .iter()
            .map(|name| Name::from(*name))
            .collect();
        // Where a job is judged, a model is the occurrence.
        let without_model: Vec<Name> = names
            .iter()
            .filter(|name| &***name != "model")
            .cloned()
            .collect();
        let policy = Arc::clone(&self.policy);
        let of_jobs = policy.rules.iter().filter(|r| r.kind.scope() == Scope::Job);
        let of_jobs: BTreeSet<&Name> = of_jobs.map(|rule| &rule.name).collect();
        for alert in self.alerts.values() {
            let names = if of_jobs.contains(&alert.rule) {
                &without_model
            } else {
                &names
            };
            let key = (alert.rule.clone(), alert.identity.project(names));
            self.unowned.entry(key).or_default().push(alert.fingerprint);
        }
    }

    /// Keeps the memories of watches that are about to be rebuilt.
    pub(super) fn keep_memories(&mut self) {
        for id in 0..self.watches.len() {
            let watch = self.watches.get(id);
            let rule = &self.policy.rules[watch.rule];
            self.memories
                .insert(Watch::key(rule, &watch.subject), watch.memory.clone());
        }
    }
}

/// Labels that say which subject an alert is about; whatever else its identity has is the occurrence.
const SUBJECT_LABELS: [&str; 6] = [
    "source",
    "receiver",
    "objective",
    "project_id",
    "job",
    "model",
];

/// What is remembered of the instant a rule began to be watched.
pub(super) fn rule_key(rule: &Rule) -> String {
    format!("rule/{}/{}", rule.name, rule.kind.name())
}
