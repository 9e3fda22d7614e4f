//! What the engine decides to tell whom: a [`Notification`] is written to the outbox in the same
//! transaction as the state change that caused it, and is complete: rendering it needs nothing else.

use serde::{Deserialize, Serialize};

use super::digest::{Digest, DigestState};
use super::labels::{Fingerprint, Labels};
use super::observation::Name;
use super::rule::Severity;
use super::time::Timestamp;

/// Identifies the one message (and its thread) about an incident at one receiver. Stable; hash of
/// receiver, route, group labels and the incident's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConversationId(pub Fingerprint);

impl std::fmt::Display for ConversationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The decision to tell a receiver about a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// Who is told.
    pub receiver: Name,
    /// Which conversation it belongs to.
    pub conversation: ConversationId,
    /// Position in the conversation: 0 opens it. With the conversation it identifies the delivery.
    pub sequence: u32,
    /// Why.
    pub reason: Reason,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// The group's labels.
    pub group: Labels,
    /// The routing node.
    pub route: Name,
    /// What is said.
    pub body: Body,
    /// Alerts that belong to it and are not in the body, because there are more than
    /// [`MAX_ALERTS_TOLD`]: only counted.
    #[serde(default)]
    pub omitted: usize,
    /// Alerts of the body that are told together.
    #[serde(default)]
    pub rollup: Option<Rollup>,
    /// Alerts of the group that are kept quiet, and why; shown as a count. At most [`MAX_ALERTS_TOLD`].
    pub suppressed: Vec<Suppressed>,
}

/// Alerts of one message that are told together: models that became slower in one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollup {
    /// One line that stands alone, for all of them.
    pub headline: String,
    /// Their short ids.
    pub ids: Vec<String>,
    /// How many of them are not written out for people: the last alerts of the body.
    pub left_out: usize,
    /// What is said of those: `and 7 more, +3 min together`.
    pub more: Option<String>,
}

/// Most alerts written out in one notification: people read the first ten, and the row must fit the store.
pub const MAX_ALERTS_TOLD: usize = 200;

impl Notification {
    /// Stable id of this delivery: `<conversation>-<sequence>`; the same at every attempt.
    pub fn delivery_id(&self) -> String {
        format!("{}-{}", self.conversation, self.sequence)
    }

    /// Nothing fires any more: the conversation ends with it.
    pub fn is_ending(&self) -> bool {
        match &self.body {
            Body::Alerts(alerts) => alerts.iter().all(|alert| alert.ended_at.is_some()),
            Body::Notice { .. } | Body::Digest(_) => true,
        }
    }

    /// Short ids of the alerts that it is about.
    pub fn alert_ids(&self) -> Vec<String> {
        match &self.body {
            Body::Alerts(alerts) => alerts.iter().map(|alert| alert.id.clone()).collect(),
            Body::Notice { .. } | Body::Digest(_) => Vec::new(),
        }
    }

    /// What it says first.
    pub fn headline(&self) -> &str {
        match &self.body {
            Body::Alerts(alerts) => alerts.first().map_or("", |alert| &alert.headline),
            Body::Notice { headline, .. } => headline,
            Body::Digest(digest) => &digest.verdict,
        }
    }

    /// The worst severity among the alerts that still fire (or among all, when none does).
    pub fn severity(&self) -> Severity {
        let alerts = match &self.body {
            Body::Alerts(alerts) => alerts,
            Body::Notice { .. } => return Severity::Warning,
            Body::Digest(digest) => {
                return match digest.state {
                    DigestState::Good => Severity::Info,
                    DigestState::Bad | DigestState::Unsure => Severity::Warning,
                };
            }
        };
        let firing = alerts.iter().filter(|alert| alert.ended_at.is_none());
        firing
            .map(|alert| alert.severity)
            .max()
            .or_else(|| alerts.iter().map(|alert| alert.severity).max())
            .unwrap_or(Severity::Info)
    }
}

/// What a notification says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// The state of the group's alerts: firing ones first, worst first; then those that ended; last those that
    /// a rollup only counts.
    Alerts(Vec<AlertView>),
    /// Something about Tardy itself: a refused reload, a restored store, missed deliveries.
    Notice {
        /// One line that stands alone.
        headline: String,
        /// More, for those who read on.
        text: String,
    },
    /// A periodic summary.
    Digest(Box<Digest>),
}

/// An alert as people are told of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertView {
    /// Short id, unique among open alerts; what `tardy why` and `/ack` take.
    pub id: String,
    /// The rule.
    pub rule: Name,
    /// Its kind.
    pub kind: Name,
    /// Where the rule was written, `rules/finance.toml:12`.
    pub origin: String,
    /// How bad.
    pub severity: Severity,
    /// All labels.
    pub labels: Labels,
    /// One line that stands alone: `Late: finance nightly-refresh not finished, due 07:00 EST`.
    pub headline: String,
    /// Names and values, in the order to show: observed, expected, since, last good run …
    pub facts: Vec<Fact>,
    /// The end of the error text, secrets masked, at most 600 characters.
    pub error: Option<String>,
    /// Link to the run.
    pub run_url: Option<String>,
    /// Longer text of the rule.
    pub description: Option<String>,
    /// What to do.
    pub runbook: Option<String>,
    /// Who owns it.
    pub owner: Option<String>,
    /// When the condition became true.
    pub began_at: Timestamp,
    /// When it fired.
    pub fired_at: Timestamp,
    /// When it ended; `None` while it fires.
    pub ended_at: Option<Timestamp>,
    /// Announced for the first time by this notification.
    pub is_new: bool,
    /// Was true already when watching began.
    pub is_already_so: bool,
    /// Who has taken it on.
    #[serde(default)]
    pub acknowledged: Option<AcknowledgedView>,
    /// Whose silence keeps it quiet.
    #[serde(default)]
    pub silenced: Option<SilencedView>,
}

/// An acknowledgement as people are told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcknowledgedView {
    /// Who.
    pub by: Name,
    /// Until when.
    pub until: Timestamp,
    /// In their words.
    pub comment: Option<String>,
}

/// A silence as people are told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilencedView {
    /// The silence's id.
    pub id: String,
    /// Who.
    pub by: Name,
    /// When it ends, at the latest.
    pub until: Timestamp,
    /// In their words.
    pub comment: String,
}

/// One line of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What, one or two words: `Observed`, `Usual`, `Since`.
    pub name: String,
    /// The value with its unit.
    pub value: String,
}

impl Fact {
    /// A name and a value.
    pub fn new(name: &str, value: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            value: value.into(),
        }
    }
}

/// An alert that is not told, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppressed {
    /// Short id of the alert.
    pub id: String,
    /// Its headline.
    pub headline: String,
    /// Why it is kept quiet.
    pub reason: SuppressionReason,
}

/// Why an alert is kept quiet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuppressionReason {
    /// A person's silence, by its id.
    Silenced(String),
    /// Another firing alert, by its short id.
    Inhibited(String),
    /// A recurring window, by its name.
    Muted(Name),
}

impl std::fmt::Display for SuppressionReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Silenced(id) => write!(f, "silenced by {id}"),
            Self::Inhibited(id) => write!(f, "inhibited by {id}"),
            Self::Muted(name) => write!(f, "muted by {name}"),
        }
    }
}

/// Why a notification is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Opens the conversation.
    First,
    /// More alerts joined.
    NewAlerts,
    /// Nobody acknowledged.
    Escalated,
    /// A warning became the breach it warned of, or the severity rose.
    Upgraded,
    /// What is wrong has changed (another error).
    Changed,
    /// Some alerts ended, others go on.
    SomeResolved,
    /// The last alert ended.
    AllResolved,
    /// Still firing.
    Reminder,
    /// It changes too often to tell each time.
    Flapping,
    /// The rule was removed from the configuration; its alerts are closed.
    RuleRemoved,
    /// To the fallback: what another receiver could not be told.
    Undeliverable,
    /// About Tardy itself.
    Notice,
    /// A person took it on, or gave it back.
    Acknowledged,
    /// A person silenced what had been told, or the silence is over.
    Silenced,
    /// A periodic summary.
    Digest,
}

impl Reason {
    /// As data: `all_resolved`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::NewAlerts => "new_alerts",
            Self::Escalated => "escalated",
            Self::Upgraded => "upgraded",
            Self::Changed => "changed",
            Self::SomeResolved => "some_resolved",
            Self::AllResolved => "all_resolved",
            Self::Reminder => "reminder",
            Self::Flapping => "flapping",
            Self::RuleRemoved => "rule_removed",
            Self::Undeliverable => "undeliverable",
            Self::Notice => "notice",
            Self::Acknowledged => "acknowledged",
            Self::Silenced => "silenced",
            Self::Digest => "digest",
        }
    }

    /// People must notice it: an edit in place is not enough, something new must appear.
    pub fn is_pinging(self) -> bool {
        match self {
            Self::First
            | Self::NewAlerts
            | Self::Escalated
            | Self::Upgraded
            | Self::Reminder
            | Self::Flapping
            | Self::Undeliverable
            | Self::Notice
            | Self::Digest => true,
            Self::Changed
            | Self::SomeResolved
            | Self::AllResolved
            | Self::RuleRemoved
            | Self::Acknowledged
            | Self::Silenced => false,
        }
    }
}
