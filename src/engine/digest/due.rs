//! When a digest is told: at each tick of its schedule, once.
//!
//! The newest tick that lies after what was told is told, as soon as everything up to it is known, or after
//! [`PATIENCE`]. What is remembered of a digest is stored in the commit that has its notifications: neither a
//! crash nor a restart repeats or forgets one. A digest that was never seen before, and one whose schedule has
//! changed, begins with its next tick.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::history::ProjectHistory;
use super::super::labels::{Fingerprint, Labels};
use super::super::notification::{Body, ConversationId, Notification, Reason};
use super::super::observation::Name;
use super::super::time::{Span, Timestamp};
use super::super::{Engine, Step};
use super::{Digest, DigestPolicy, Scope, digest};

/// How long a digest waits for what happened up to its tick to be known.
pub const PATIENCE: Span = Span::minutes(5);

/// So long after its tick a digest that waits asks for a poll; a poll after that has not brought it.
const HINTED_FOR: Span = Span::seconds(5);

/// Ticks in between that are counted.
const MAX_SKIPPED: usize = 1_000;

/// What is remembered of a digest. Stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestMark {
    /// Ticks after this instant are to be told.
    pub since: Timestamp,
    /// The schedule, with its zone: a tick of another schedule is not made up for.
    pub schedule: String,
    /// The last one that was told, or had nothing to say.
    pub told: Option<DigestTold>,
}

/// A digest that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestTold {
    /// Its tick, the end of its period.
    pub to: Timestamp,
    /// When it was made.
    pub made_at: Timestamp,
}

/// What is remembered of all digests, and when each is looked at next.
#[derive(Debug, Default)]
pub(in crate::engine) struct DigestClock {
    marks: BTreeMap<Name, DigestMark>,
    /// When each is looked at next.
    next: BTreeMap<Name, Timestamp>,
    /// Ticks that wait to be known, since when.
    waiting: BTreeMap<Name, Timestamp>,
}

impl DigestClock {
    /// Goes on with what was stored.
    pub(in crate::engine) fn new(marks: BTreeMap<Name, DigestMark>) -> Self {
        Self {
            marks,
            ..Self::default()
        }
    }

    /// When a digest is looked at next.
    pub(in crate::engine) fn next_at(&self) -> Option<Timestamp> {
        self.next.values().min().copied()
    }
}

impl DigestPolicy {
    fn schedule_text(&self) -> String {
        format!("{} {}", self.schedule.as_str(), self.zone.name())
    }

    /// Ticks after `since` and before `tick`, which it makes up for.
    fn skipped(&self, since: Timestamp, tick: Timestamp) -> usize {
        let ticks = self.schedule.ticks(self.zone, since, tick);
        ticks.take(MAX_SKIPPED).count().saturating_sub(1)
    }

    fn notification(&self, receiver: &Name, digest: &Digest, now: Timestamp) -> Notification {
        let labels = Labels::default()
            .with("digest", self.name.clone())
            .with("receiver", receiver.clone())
            .with("to", digest.to.to_string());
        notification(receiver, &labels, digest.clone(), now)
    }
}

/// A digest for one receiver, as a conversation of its own that `labels` tell apart.
pub fn notification(
    receiver: &Name,
    labels: &Labels,
    digest: Digest,
    now: Timestamp,
) -> Notification {
    Notification {
        receiver: receiver.clone(),
        conversation: ConversationId(Fingerprint::of("digest", labels)),
        sequence: 0,
        reason: Reason::Digest,
        decided_at: now,
        group: Labels::default(),
        route: "digest".into(),
        body: Body::Digest(Box::new(digest)),
        omitted: 0,
        rollup: None,
        suppressed: Vec::new(),
    }
}

impl Engine {
    /// What was told of each digest, by name.
    pub fn digest_marks(&self) -> &BTreeMap<Name, DigestMark> {
        &self.digests.marks
    }

    /// Tells the digests that are due.
    pub(in crate::engine) fn tell_digests(&mut self, now: Timestamp, step: &mut Step) {
        let policy = Arc::clone(&self.policy);
        self.forget_digests(step);
        for digest in &policy.digests {
            self.meet_digest(digest, now, step);
            let next = self.digests.next.get(&digest.name);
            // What waits is looked at with all news: they may be what it waits for.
            let is_waiting = self.digests.waiting.contains_key(&digest.name);
            if is_waiting || next.is_none_or(|at| *at <= now) {
                self.tell_digest(digest, now, step);
            }
        }
    }

    /// Forgets digests that are not configured any more.
    fn forget_digests(&mut self, step: &mut Step) {
        let configured: BTreeSet<&Name> = self.policy.digests.iter().map(|d| &d.name).collect();
        let gone: Vec<Name> = self
            .digests
            .marks
            .keys()
            .filter(|name| !configured.contains(name))
            .cloned()
            .collect();
        for name in gone {
            self.digests.marks.remove(&name);
            self.digests.next.remove(&name);
            self.digests.waiting.remove(&name);
            step.changed.digests.insert(name, None);
        }
    }

    /// A digest that is new, or has another schedule, begins with its next tick.
    fn meet_digest(&mut self, digest: &DigestPolicy, now: Timestamp, step: &mut Step) {
        let schedule = digest.schedule_text();
        let known = self.digests.marks.get(&digest.name);
        if known.is_some_and(|mark| mark.schedule == schedule) {
            return;
        }
        let told = known.and_then(|mark| mark.told);
        // A clock that was set back must not bring back what was told.
        let since = known.map_or(now, |mark| mark.since.max(now));
        let mark = DigestMark {
            since,
            schedule,
            told,
        };
        self.digests.next.remove(&digest.name);
        self.digests.waiting.remove(&digest.name);
        self.remember_digest(digest, mark, step);
    }

    fn remember_digest(&mut self, digest: &DigestPolicy, mark: DigestMark, step: &mut Step) {
        let name = digest.name.clone();
        step.changed
            .digests
            .insert(name.clone(), Some(mark.clone()));
        self.digests.marks.insert(name, mark);
    }

    fn tell_digest(&mut self, policy: &DigestPolicy, now: Timestamp, step: &mut Step) {
        let Some(mark) = self.digests.marks.get(&policy.name).cloned() else {
            return;
        };
        let newest = policy.schedule.previous(policy.zone, now);
        let Some(tick) = newest.map(|tick| tick.at).filter(|at| *at > mark.since) else {
            self.look_at_next(policy, now);
            return;
        };
        let waits_since = *self
            .digests
            .waiting
            .entry(policy.name.clone())
            .or_insert(now);
        let until = waits_since + PATIENCE;
        if now < until && !self.is_known(tick, now) {
            // What is hinted at in vain would hide what others wait for.
            let hinted_until = tick + HINTED_FOR;
            let is_hinted = now < hinted_until;
            if is_hinted {
                let others = step.poll_at.filter(|at| now < *at + HINTED_FOR);
                step.poll_at = others.into_iter().chain([tick]).min();
            }
            let next = if is_hinted {
                until.min(hinted_until)
            } else {
                until
            };
            self.digests.next.insert(policy.name.clone(), next);
            return;
        }
        let scope = Scope {
            name: Some(policy.name.clone()),
            zone: policy.zone,
            to: tick,
            period: policy.period,
            previous: mark.told,
            skipped: policy.skipped(mark.since, tick),
        };
        let made = digest(self, &scope, now);
        if policy.send_empty || !made.is_empty() {
            let receivers: BTreeSet<&Name> = policy.receivers.iter().collect();
            let told = receivers
                .into_iter()
                .map(|name| policy.notification(name, &made, now));
            step.notifications.extend(told);
        }
        let mark = DigestMark {
            since: tick,
            told: Some(DigestTold {
                to: tick,
                made_at: now,
            }),
            ..mark
        };
        self.remember_digest(policy, mark, step);
        self.look_at_next(policy, now);
    }

    fn look_at_next(&mut self, policy: &DigestPolicy, now: Timestamp) {
        self.digests.waiting.remove(&policy.name);
        let next = policy.schedule.next(policy.zone, now);
        let at = next.map_or(Timestamp::MAX, |tick| tick.at);
        self.digests.next.insert(policy.name.clone(), at);
    }

    /// The runs of all projects are known up to an instant.
    fn is_known(&self, until: Timestamp, now: Timestamp) -> bool {
        self.digested_projects().all(|project| {
            project
                .coverage
                .is_some_and(|known| known.min(now) >= until)
        })
    }

    /// Projects whose runs are read: not those that are gone, or of sources that are not configured any more,
    /// or of which only averages are told.
    pub(super) fn digested_projects(&self) -> impl Iterator<Item = &ProjectHistory> {
        self.history
            .projects()
            .filter(|project| !project.is_gone && self.policy.has_source(&project.key.source))
            .filter(|project| project.coverage.is_some() || project.averages().is_empty())
    }
}
