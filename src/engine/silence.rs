//! Silences: a person keeps alerts quiet for a while.
//!
//! A silence has matchers, an end, an author and a reason. It keeps new announcements, reminders and
//! escalations back; never an ending, and never the judgement. It is append-only for people: what is over
//! stays listed until it is forgotten with the retention.

use serde::{Deserialize, Serialize};

use super::labels::{Labels, Matcher};
use super::observation::Name;
use super::time::Timestamp;

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
}
