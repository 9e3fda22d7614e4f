//! Which rule watches which subject, and when each pair is to be judged next.
//!
//! A tick costs what has changed: pairs are judged when their subject has news, when an instant they
//! named has come, or when runs have become known up to an instant they named. All three are indexed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::labels::{Fingerprint, Labels};
use super::observation::ProjectKey;
use super::rule::Rule;
use super::rule::context::Memory;
use super::subject::SubjectKey;
use super::time::Timestamp;

/// Index of a watch.
pub(super) type WatchId = usize;

/// One rule at one subject.
#[derive(Debug)]
pub(super) struct Watch {
    pub rule: usize,
    pub subject: SubjectKey,
    pub memory: Memory,
    /// Open alerts, and ended ones that are still being told.
    pub alerts: BTreeSet<Fingerprint>,
    /// For rules with a schedule of their own: the next tick at which it is judged.
    pub tick_at: Option<Timestamp>,
    due_at: Option<Timestamp>,
    due_when_known: Option<Timestamp>,
}

/// All watches.
#[derive(Debug, Default)]
pub(super) struct Watches {
    list: Vec<Watch>,
    by_subject: HashMap<SubjectKey, Vec<WatchId>>,
    owners: HashMap<Fingerprint, WatchId>,
    due: BTreeSet<(Timestamp, WatchId)>,
    due_when_known: BTreeMap<ProjectKey, BTreeSet<(Timestamp, WatchId)>>,
}

impl Watch {
    /// Identity of a rule at a subject, for stored memory. A rule that changes its kind starts anew.
    pub(super) fn key(rule: &Rule, subject: &SubjectKey) -> Fingerprint {
        let labels: Labels = subject.identity().with("kind", rule.kind.name());
        Fingerprint::of(&rule.name, &labels)
    }
}

impl Watches {
    /// Adds a watch, to be judged at once.
    pub(super) fn add(
        &mut self,
        rule: usize,
        subject: SubjectKey,
        memory: Memory,
        tick_at: Option<Timestamp>,
    ) -> WatchId {
        let id = self.list.len();
        self.by_subject.entry(subject.clone()).or_default().push(id);
        self.list.push(Watch {
            rule,
            subject,
            memory,
            alerts: BTreeSet::new(),
            tick_at,
            due_at: None,
            due_when_known: None,
        });
        id
    }

    pub(super) fn get(&self, id: WatchId) -> &Watch {
        &self.list[id]
    }

    pub(super) fn get_mut(&mut self, id: WatchId) -> &mut Watch {
        &mut self.list[id]
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The watch has an alert.
    pub(super) fn own(&mut self, id: WatchId, alert: Fingerprint) {
        self.list[id].alerts.insert(alert);
        self.owners.insert(alert, id);
    }

    /// An alert is gone.
    pub(super) fn disown(&mut self, alert: Fingerprint) {
        if let Some(id) = self.owners.remove(&alert) {
            self.list[id].alerts.remove(&alert);
        }
    }

    /// The watch that has an alert.
    pub(super) fn owner(&self, alert: Fingerprint) -> Option<WatchId> {
        self.owners.get(&alert).copied()
    }

    /// All watches.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Watch> {
        self.list.iter()
    }

    /// Some watch has the alert.
    pub(super) fn is_owned(&self, alert: Fingerprint) -> bool {
        self.owners.contains_key(&alert)
    }

    /// Watches of a subject.
    pub(super) fn of(&self, subject: &SubjectKey) -> &[WatchId] {
        self.by_subject.get(subject).map_or(&[], Vec::as_slice)
    }

    /// Watches of all subjects in a project.
    pub(super) fn of_project(&self, project: &ProjectKey) -> Vec<WatchId> {
        (0..self.list.len())
            .filter(|id| self.list[*id].subject.project() == Some(project))
            .collect()
    }

    /// A subject is watched already.
    pub(super) fn is_watched(&self, subject: &SubjectKey) -> bool {
        self.by_subject.contains_key(subject)
    }

    /// Notes that a subject exists although no rule wants it.
    pub(super) fn note(&mut self, subject: SubjectKey) {
        self.by_subject.entry(subject).or_default();
    }

    /// Names the next instants of a watch; earlier ones are forgotten.
    pub(super) fn schedule(
        &mut self,
        id: WatchId,
        at: Option<Timestamp>,
        when_known: Option<Timestamp>,
    ) {
        let watch = &mut self.list[id];
        if let Some(old) = watch.due_at.take() {
            self.due.remove(&(old, id));
        }
        if let Some(at) = at {
            watch.due_at = Some(at);
            self.due.insert((at, id));
        }
        let Some(project) = watch.subject.project() else {
            return;
        };
        if watch.due_when_known.is_none() && when_known.is_none() {
            return;
        }
        let queue = self.due_when_known.entry(project.clone()).or_default();
        if let Some(old) = watch.due_when_known.take() {
            queue.remove(&(old, id));
        }
        if let Some(at) = when_known {
            watch.due_when_known = Some(at);
            queue.insert((at, id));
        }
    }

    /// Has a watch judged at `at`, whatever else it waits for.
    pub(super) fn postpone(&mut self, id: WatchId, at: Timestamp) {
        if let Some(old) = self.list[id].due_at.replace(at) {
            self.due.remove(&(old, id));
        }
        self.due.insert((at, id));
    }

    /// Takes the watches whose instant has come.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Vec<WatchId> {
        let mut taken = Vec::new();
        while let Some((at, id)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, id));
            self.list[id].due_at = None;
            taken.push(id);
        }
        taken
    }

    /// Takes the watches of a project that waited for runs to be known up to an instant at or before
    /// `known_until`.
    pub(super) fn take_known(
        &mut self,
        project: &ProjectKey,
        known_until: Timestamp,
    ) -> Vec<WatchId> {
        let Some(queue) = self.due_when_known.get_mut(project) else {
            return Vec::new();
        };
        let mut taken = Vec::new();
        while let Some((at, id)) = queue.first().copied().filter(|(at, _)| *at <= known_until) {
            queue.remove(&(at, id));
            self.list[id].due_when_known = None;
            taken.push(id);
        }
        taken
    }

    /// The earliest instant at which a watch is due by the clock.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The earliest instant up to which some project must be known for a verdict; polling just after it
    /// brings the verdict at once.
    pub(super) fn next_known_due(&self) -> Option<Timestamp> {
        self.due_when_known
            .values()
            .filter_map(|queue| queue.first())
            .map(|(at, _)| *at)
            .min()
    }
}
