//! An alert that changes too often is told of once, until it is steady again.
//!
//! Role: counts the changes of one alert (it fires, it is over) and decides when they are too many. Six within
//! 24 hours make it flap: people are told so once, and of no change after that, until it has been over, or has
//! been firing, for two hours without a change. Over: it ends, which is told. Firing: that is told, and from
//! then on it is an alert like any other.
//! Guarantees: pure; a change is an instant, so that looking twice, or late, counts it once; what is counted
//! outlives the alert (it is kept in the watch's memory) and is forgotten after 24 hours. An alert about one
//! run or one date is never counted: the next one is another alert. What gets worse while it flaps is told.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::alert::{Alert, Ending};
use super::rule::Rule;
use super::time::{Span, Timestamp, human_time};

/// So many changes make an alert flap.
pub const FLAPPING_CHANGES: usize = 6;

/// Within so long.
pub const FLAPPING_WITHIN: Span = Span::hours(24);

/// Without a change for so long, it is steady again.
pub const STEADY_AFTER: Span = Span::hours(2);

/// How the headline of an alert begins that flaps.
pub const FLAPPING: &str = "Flapping: ";

/// Most changes counted; beyond it "100 or more" is bad enough.
const MAX_COUNTED: usize = 100;

/// Labels that make an alert one of its kind: it cannot come again.
const ONCE: [&str; 2] = ["run_id", "date"];

/// When an alert changed within the last 24 hours, and whether it fired then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Changes(BTreeSet<(Timestamp, bool)>);

/// An alert that changes too often, or did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flapping {
    /// The change that was one too many.
    pub since: Timestamp,
    /// How often it changed, in words for people.
    pub note: String,
    /// It has been firing without a change for long enough: it flaps no more.
    pub is_over: bool,
}

impl Changes {
    /// Nothing is counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Changes counted.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    fn note(&mut self, at: Timestamp, is_firing: bool) {
        self.0.insert((at, is_firing));
        let newest = self.0.last().map_or(at, |(at, _)| *at);
        self.forget_before(newest - FLAPPING_WITHIN);
        while self.0.len() > MAX_COUNTED {
            self.0.pop_first();
        }
    }

    /// `9 changes`.
    fn words(&self) -> String {
        let more = if self.count() < MAX_COUNTED {
            ""
        } else {
            " or more"
        };
        format!("{}{more} changes", self.count())
    }

    fn with(&self, at: Timestamp, is_firing: bool) -> usize {
        let mut all = self.clone();
        all.note(at, is_firing);
        all.count()
    }

    fn last_at(&self) -> Option<Timestamp> {
        self.0.last().map(|(at, _)| *at)
    }

    fn first_at(&self) -> Option<Timestamp> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Forgets what was before an instant.
    pub fn forget_before(&mut self, cutoff: Timestamp) {
        self.0.retain(|(at, _)| *at > cutoff);
    }
}

impl Alert {
    /// It changes too often to tell each time.
    pub fn is_flapping(&self) -> bool {
        self.flapping.as_ref().is_some_and(|known| !known.is_over)
    }

    /// How long it is kept firing after the condition is over.
    pub(super) fn keep_firing_for(&self, rule: &Rule) -> Span {
        if self.is_flapping() {
            rule.keep_firing_for.max(STEADY_AFTER)
        } else {
            rule.keep_firing_for
        }
    }

    /// When an alert that flaps has been firing for long enough to be steady.
    pub(super) fn steady_at(&self) -> Option<Timestamp> {
        let is_firing = self.is_flapping() && self.cleared_at.is_none();
        let since = self.changes.last_at().filter(|_| is_firing)?;
        Some(since + STEADY_AFTER)
    }

    /// Ending at `at` would be one change too many.
    pub(super) fn would_flap(&self, at: Timestamp) -> bool {
        !self.is_flapping()
            && self.can_come_again()
            && self.changes.with(at, false) >= FLAPPING_CHANGES
    }

    /// Counts a change.
    pub(super) fn count_change(&mut self, rule: &Rule, at: Timestamp, now: Timestamp) {
        if !self.can_come_again() {
            return;
        }
        self.changes.note(at, self.cleared_at.is_none());
        if self.changes.count() < FLAPPING_CHANGES && !self.is_flapping() {
            return;
        }
        let since = self
            .flapping
            .as_ref()
            .filter(|known| !known.is_over)
            .map_or(at, |known| known.since);
        let first = self.changes.first_at().unwrap_or(at);
        self.flapping = Some(Flapping {
            since,
            note: format!(
                "{} since {}; told again when it has been steady for 2 h",
                self.changes.words(),
                human_time(first, now, rule.zone)
            ),
            is_over: false,
        });
    }

    /// It has been firing for long enough: an alert like any other from here on.
    pub(super) fn settle(&mut self, rule: &Rule, now: Timestamp) {
        let changes = std::mem::take(&mut self.changes);
        let (Some(since), Some(known)) = (changes.last_at(), &mut self.flapping) else {
            return;
        };
        known.is_over = true;
        known.note = format!(
            "firing steadily since {}, after {} in 24 h",
            human_time(since, now, rule.zone),
            changes.words()
        );
    }

    /// It ends after it flapped: the ending says since when it is over, and how often it changed.
    pub(super) fn steady_ending(&mut self, rule: &Rule, now: Timestamp) {
        let changes = std::mem::take(&mut self.changes).words();
        let (Some(cleared_at), Some(ending)) = (self.cleared_at, self.ending.take()) else {
            return;
        };
        let since = human_time(cleared_at, now, rule.zone);
        let title = self.title();
        self.ending = Some(Ending {
            headline: format!("Steady again: {title} ok since {since}, {changes} in 24 h"),
            ..ending
        });
    }

    /// The subject for people: `finance nightly-refresh`.
    fn title(&self) -> String {
        let label = |name: &&str| {
            let value = self.labels.get(name);
            (!value.is_empty()).then(|| value.to_owned())
        };
        let model: Vec<String> = ["project", "model"].iter().filter_map(label).collect();
        let job: Vec<String> = ["project", "job"].iter().filter_map(label).collect();
        let other = ["source", "receiver", "objective"].iter().find_map(label);
        if model.len() == 2 {
            model.join(" ")
        } else if !job.is_empty() {
            job.join(" ")
        } else {
            other.unwrap_or_else(|| self.rule.to_string())
        }
    }

    /// The next alert of this rule at this subject has the same identity.
    fn can_come_again(&self) -> bool {
        ONCE.iter().all(|label| self.identity.get(label).is_empty())
    }
}
