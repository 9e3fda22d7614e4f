//! What was told to whom, and what waits to be told: the question and the answer. Values alone; whoever has a
//! store fills them in.

use serde::{Deserialize, Serialize};

use super::super::labels::Labels;
use super::super::notification::Reason;
use super::super::observation::Name;
use super::super::rule::Severity;
use super::super::time::Timestamp;

/// A question about deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryQuestion {
    /// To whom; `None`: to all.
    pub receiver: Option<String>,
    /// About which alert: its short id, or the beginning of it.
    pub alert: Option<String>,
    /// Why.
    pub reason: Option<Reason>,
    /// How they ended.
    pub outcome: Option<DeliveryState>,
    /// Decided within so many milliseconds before now.
    pub within_millis: i64,
    /// Most rows.
    pub limit: usize,
}

/// How a delivery ended, or that it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// The receiver has it.
    Delivered,
    /// The receiver refused it for good.
    Rejected,
    /// Tried for a day, and given up.
    Dead,
    /// In the outbox.
    Waiting,
}

impl DeliveryState {
    /// As written, in the order of help.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("delivered", Self::Delivered),
        ("rejected", Self::Rejected),
        ("dead", Self::Dead),
        ("waiting", Self::Waiting),
    ];

    /// As written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Rejected => "rejected",
            Self::Dead => "dead",
            Self::Waiting => "waiting",
        }
    }
}

/// Deliveries, newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeliveriesAnswer {
    /// When this was asked.
    pub asked_at: Timestamp,
    /// The rows.
    pub rows: Vec<DeliveryRow>,
    /// Rows left out.
    pub more: usize,
    /// There is no receiver of that name, in words with what is near; `None` when there is.
    pub unknown_receiver: Option<String>,
}

/// One notification and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeliveryRow {
    /// Stable id, the same at every try.
    pub id: String,
    /// Who.
    pub receiver: Name,
    /// Why.
    pub reason: Reason,
    /// What became of it.
    pub state: DeliveryState,
    /// The alerts it was about, by short id.
    pub alerts: Vec<String>,
    /// What it said first.
    pub headline: String,
    /// How bad that was; `None` in records of versions that did not keep it.
    pub severity: Option<Severity>,
    /// The routing node; empty in records of versions that did not keep it.
    pub route: Name,
    /// The group's labels.
    pub group: Labels,
    /// Its conversation; empty in records of versions that did not keep it.
    pub conversation: String,
    /// Place in the conversation, from 0.
    pub sequence: u32,
    /// Alerts of the group that were kept quiet then.
    pub suppressed: usize,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// When it was delivered or given up.
    pub settled_at: Option<Timestamp>,
    /// Tries.
    pub attempts: u32,
    /// When it is tried next, while it waits.
    pub next_attempt_at: Option<Timestamp>,
    /// What went wrong last.
    pub why: Option<String>,
    /// The fallback was to be told that it was late, before it ended.
    pub was_late: bool,
    /// Who was told instead, or as well because it was late.
    pub instead: Vec<ToldInstead>,
}

/// The fallback, told of what another receiver could not be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToldInstead {
    /// Who.
    pub receiver: Name,
    /// What became of that.
    pub state: DeliveryState,
    /// When.
    pub at: Timestamp,
}

impl DeliveryRow {
    /// The question is about this row.
    pub fn is_asked(&self, question: &DeliveryQuestion, now: Timestamp) -> bool {
        let is = |wanted: &Option<String>, known: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == known)
        };
        let is_of_alert = question.alert.as_ref().is_none_or(|asked| {
            let asked = asked.trim().trim_start_matches('#').to_lowercase();
            self.alerts.iter().any(|id| id.starts_with(&asked))
        });
        is(&question.receiver, &self.receiver)
            && is_of_alert
            && question.reason.is_none_or(|reason| reason == self.reason)
            && question.outcome.is_none_or(|state| state == self.state)
            && now.since(self.decided_at).num_milliseconds() <= question.within_millis
    }
}

/// A receiver's name that nothing has, with what is near.
pub fn unknown_receiver(names: &[Name], asked: &str) -> Option<String> {
    if names.iter().any(|name| **name == *asked) {
        return None;
    }
    let names = names.iter().map(ToString::to_string).collect();
    let near = super::near_names(names, asked, "`tardy routes` shows all receivers");
    Some(format!("there is no receiver {near}"))
}
