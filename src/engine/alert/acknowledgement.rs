//! Who has taken an alert on.

use serde::{Deserialize, Serialize};

use super::super::observation::Name;
use super::super::rule::Severity;
use super::super::time::Timestamp;

/// A person has taken an alert on: reminders and escalation stop until `until`, or until it gets worse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who.
    pub by: Name,
    /// When.
    pub at: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// In their words.
    pub comment: Option<String>,
    /// How bad it was then: a worse severity undoes it.
    pub severity: Severity,
}
