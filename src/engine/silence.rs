//! Silences: a person keeps alerts quiet for a while.
//!
//! A silence has matchers, an end, an author and a reason. It keeps new announcements, reminders and
//! escalations back; never an ending, and never the judgement. It is append-only for people: what is over
//! stays listed until it is forgotten with the retention.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::alert::{Alert, AlertState};
use super::labels::{Labels, Matcher};
use super::notification::SilencedView;
use super::observation::Name;
use super::time::{Span, Timestamp};

/// A person's temporary mute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// Short id, `s` and five characters: `sk3x9q`.
    pub id: String,
    /// All must match. Never empty.
    pub matchers: Vec<Matcher>,
    /// Who.
    pub by: Name,
    /// Why, in their words.
    pub comment: String,
    /// Since when.
    pub created_at: Timestamp,
    /// When it ends, at the latest.
    pub ends_at: Timestamp,
    /// What else ends it.
    pub until: Until,
    /// When and why it ended before `ends_at`, or at it; `None` while it is in force.
    pub ended: Option<SilenceEnd>,
    /// It has kept an alert quiet, or matched one that fires.
    pub has_matched: bool,
    /// Its author was told that it is about to end.
    pub is_end_announced: bool,
    /// Its author was told that it matches nothing any more.
    pub is_idle_announced: bool,
    /// Since when no open alert matches; of one that has matched.
    #[serde(default)]
    pub idle_since: Option<Timestamp>,
    /// Who was not told of something because of it, or was told that it is silenced.
    #[serde(default)]
    pub receivers: BTreeSet<Name>,
}

/// What ends a silence before its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// Nothing.
    #[default]
    Time,
    /// The next success of a job that it names.
    Success,
    /// No alert that it matched is open any more.
    Resolved,
}

/// When and why a silence ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceEnd {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub why: SilenceEnded,
}

/// Why a silence ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SilenceEnded {
    /// Its time was over.
    Expired,
    /// A run of the job succeeded; its id.
    Succeeded(Name),
    /// No alert that it matched is open any more.
    Resolved,
    /// Somebody ended it.
    Lifted(Name),
}

impl Silence {
    /// It is in force at `now`.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.ended.is_none() && now < self.ends_at
    }

    /// It keeps an alert with these labels quiet, while it is in force.
    pub fn is_match(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.is_match(labels))
    }

    /// When it was over, or is at the latest.
    pub fn over_at(&self) -> Timestamp {
        self.ended.as_ref().map_or(self.ends_at, |ended| ended.at)
    }

    /// When its author is told that it is about to end: a tenth of its time before, and at most 15 minutes.
    pub fn warns_at(&self) -> Timestamp {
        let tenth = self.ends_at.since(self.created_at) / 10;
        self.ends_at - tenth.min(WARNS_BEFORE)
    }

    /// As people are told of it.
    pub fn view(&self) -> SilencedView {
        SilencedView {
            id: self.id.clone(),
            by: self.by.clone(),
            until: self.ends_at,
            comment: self.comment.clone(),
        }
    }

    /// Its matchers as they are written, `job = "orders", severity = "critical"`.
    pub fn matchers_text(&self) -> String {
        let texts: Vec<String> = self.matchers.iter().map(ToString::to_string).collect();
        texts.join(", ")
    }
}

/// The author of a silence is told of its end this much before, at most.
const WARNS_BEFORE: Span = Span::minutes(15);

/// All silences, and which are in force. Asking which one keeps an alert quiet costs the number of those in
/// force, which is bounded, and nothing when there are none.
#[derive(Clone, Debug, Default)]
pub(super) struct Silences {
    all: BTreeMap<String, Silence>,
    active: BTreeSet<String>,
}

impl Silences {
    pub(super) fn new(saved: Vec<Silence>) -> Self {
        let mut silences = Self::default();
        for silence in saved {
            silences.put(silence);
        }
        silences
    }

    /// Adds or replaces one.
    pub(super) fn put(&mut self, silence: Silence) {
        if silence.ended.is_none() {
            self.active.insert(silence.id.clone());
        } else {
            self.active.remove(&silence.id);
        }
        self.all.insert(silence.id.clone(), silence);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Silence> {
        self.all.values()
    }

    /// Those that have not ended, by id.
    pub(super) fn active(&self) -> impl Iterator<Item = &Silence> {
        self.active.iter().filter_map(|id| self.all.get(id))
    }

    pub(super) fn has_active(&self) -> bool {
        !self.active.is_empty()
    }

    /// It has not ended.
    pub(super) fn is_in_force(&self, id: &str) -> bool {
        self.active.contains(id)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Silence> {
        self.all.get(id)
    }

    /// The silence that keeps an alert quiet: of several the one that lasts longest.
    pub(super) fn find(&self, labels: &Labels) -> Option<&Silence> {
        let matching = self.active().filter(|silence| silence.is_match(labels));
        matching.max_by_key(|silence| (silence.ends_at, std::cmp::Reverse(&silence.id)))
    }

    /// The silence that keeps an alert quiet now, or, of one that is over, did when it ended: it may have
    /// ended with it.
    pub(super) fn find_for(&self, alert: &Alert) -> Option<&Silence> {
        let ended_at = alert.ended_at;
        self.find(&alert.labels).or_else(|| {
            let ended_at = ended_at.filter(|_| alert.state == AlertState::Resolved)?;
            let is_covering = |silence: &&Silence| {
                silence.created_at <= ended_at
                    && ended_at <= silence.over_at()
                    && silence.is_match(&alert.labels)
            };
            self.all.values().find(is_covering)
        })
    }

    /// A silence that is over has kept an alert quiet since it fired.
    pub(super) fn has_kept(&self, alert: &Alert) -> bool {
        self.all.values().any(|silence| {
            silence.ended.is_some()
                && alert.fired_at.is_some_and(|at| at <= silence.over_at())
                && silence.is_match(&alert.labels)
        })
    }

    /// Forgets what was over before `cutoff`.
    pub(super) fn forget_before(&mut self, cutoff: Timestamp) {
        self.all
            .retain(|_, silence| silence.ended.is_none() || silence.over_at() >= cutoff);
    }
}
