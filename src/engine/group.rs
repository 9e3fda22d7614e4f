//! Groups of alerts at one routing node, their timers, and the decision to tell.
//!
//! A group lives from its first firing alert until every receiver that was told of it has been told the
//! end: one incident, one [`Conversation`] for each receiver. What was told to whom is part of the
//! group, so that every announced alert gets exactly one ending at each receiver that heard of it,
//! whatever was muted, restarted or reconfigured meanwhile.

mod escalating;
mod holding;
mod news;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use escalating::Escalation;
use news::News;

use super::alert::{Alert, AlertState};
use super::inhibition::Inhibitors;
use super::labels::{Fingerprint, Labels};
use super::notification::{
    AlertView, Body, ConversationId, MAX_ALERTS_TOLD, Notification, Reason, Rollup, Suppressed,
    SuppressionReason,
};
use super::observation::Name;
use super::precedence::Folds;
use super::rollup::Together;
use super::route::Route;
use super::rule::Severity;
use super::silence::{Silence, Silences};
use super::time::{Span, Timestamp};

/// Identity of a group: routing node and group labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupKey {
    /// The routing node's path; `rule:<name>` for rules with receivers of their own.
    pub route: Name,
    /// Values of the labels grouped by.
    pub labels: Labels,
}

/// One incident at one routing node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Identity.
    pub key: GroupKey,
    /// When the incident was first recorded; part of the conversations' identity.
    pub began_at: Timestamp,
    /// Alerts of the group, ended ones until their ending is told.
    pub members: BTreeSet<Fingerprint>,
    /// One for each receiver that was told.
    pub conversations: BTreeMap<Name, Conversation>,
    /// When the group is looked at next.
    pub due_at: Option<Timestamp>,
    /// When it was last told of.
    pub told_at: Option<Timestamp>,
    /// Members kept quiet at the last look: one that ends while kept quiet is never announced.
    pub held_back: BTreeSet<Fingerprint>,
    /// Why, for those that fire.
    #[serde(default)]
    pub reasons: BTreeMap<Fingerprint, SuppressionReason>,
    /// Of those that another alert explains, or did: the run that they told of then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub explained_runs: BTreeMap<Fingerprint, Name>,
    /// Members that another alert keeps quiet no more, and when they may be announced: as if they had fired
    /// then.
    #[serde(default)]
    pub released: BTreeMap<Fingerprint, Timestamp>,
    /// How far nobody's acknowledging it has gone.
    #[serde(default, skip_serializing_if = "Escalation::is_unused")]
    pub escalation: Escalation,
}

/// The one message about an incident at one receiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// Identity.
    pub id: ConversationId,
    /// Sequence number of the next notification.
    pub next_sequence: u32,
    /// What was told of each alert.
    pub told: BTreeMap<Fingerprint, Told>,
    /// When something that pings was last sent; reminders count from here.
    pub pinged_at: Timestamp,
}

/// What a receiver knows of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Severity last told.
    pub severity: Severity,
    /// Change key last told.
    pub change_key: Option<String>,
    /// The ending was told.
    pub is_ended: bool,
    /// It was told that the alert changes too often to tell each time.
    #[serde(default)]
    pub is_flapping: bool,
    /// Who has taken it on, and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<(Name, Timestamp)>,
    /// The silence that keeps it quiet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<String>,
}

/// What flushing a group needs to see.
pub(super) struct Flush<'a> {
    pub alerts: &'a BTreeMap<Fingerprint, Alert>,
    pub silences: &'a Silences,
    pub inhibitors: &'a Inhibitors<'a>,
    pub folds: &'a Folds,
    pub route: &'a Route,
    /// Which alerts of a message are told together.
    pub together: &'a dyn Fn(&[&Alert]) -> Option<Together>,
    /// A receiver hears of an alert in another group already: it is told there.
    pub is_told_elsewhere: &'a dyn Fn(&Name, Fingerprint) -> bool,
    /// What became of an alert while Tardy was stopped is not known yet.
    pub is_unread: &'a dyn Fn(&Alert) -> bool,
    /// The group may speak; otherwise it is only found out whether something is still kept quiet.
    pub is_due: bool,
    pub now: Timestamp,
}

/// What waits for a source to be read after a stop is looked at again after this.
const UNREAD_FOR: Span = Span::seconds(30);

impl Flush<'_> {
    /// The silence that keeps an alert quiet that fires.
    fn silence_of(&self, alert: &Alert) -> Option<&Silence> {
        let is_firing = alert.state == AlertState::Firing;
        is_firing
            .then(|| self.silences.find(&alert.labels))
            .flatten()
    }
}

/// What came of a flush.
#[derive(Debug, Default)]
pub(super) struct Flushed {
    pub notifications: Vec<Notification>,
    /// Something of the group is kept quiet and may be announced later.
    pub is_holding_back: bool,
}

impl Group {
    /// Starts an incident.
    pub(super) fn new(key: GroupKey, began_at: Timestamp) -> Self {
        Self {
            key,
            began_at,
            members: BTreeSet::new(),
            conversations: BTreeMap::new(),
            due_at: None,
            told_at: None,
            held_back: BTreeSet::new(),
            reasons: BTreeMap::new(),
            explained_runs: BTreeMap::new(),
            released: BTreeMap::new(),
            escalation: Escalation::default(),
        }
    }

    /// An alert of the group has changed: the group is due after its wait or interval, unless sooner.
    pub(super) fn touch(&mut self, route: &Route, now: Timestamp) {
        let at = match self.told_at {
            None => now + route.group_wait,
            Some(told_at) => now.max(told_at + route.group_interval),
        };
        // The first wait is not prolonged by later alerts.
        self.due_at = Some(self.due_at.map_or(at, |due| due.min(at)));
    }

    /// Tells every receiver what is new for it.
    pub(super) fn flush(&mut self, flush: &Flush<'_>) -> Flushed {
        let mut flushed = Flushed::default();
        let suppressed = self.suppressed(flush);
        self.hold_back(&suppressed, flush);
        self.mind_escalation(flush);
        flushed.is_holding_back = !self.reasons.is_empty();
        let is_due = flush.is_due || self.released.values().any(|at| *at <= flush.now);
        if !is_due {
            let escalates_at = self.escalates_at(flush.route, flush.now);
            let due_at = self.due_at.into_iter().chain(escalates_at);
            self.due_at = due_at.chain(self.next_release(flush)).min();
            return flushed;
        }
        flushed.notifications = self.tell_all(suppressed, flush);
        if !flushed.notifications.is_empty() {
            self.told_at = Some(flush.now);
        }
        self.mind_escalation(flush);
        self.forget_ended(flush);
        self.released.retain(|_, at| *at > flush.now);
        let release_at = self.next_release(flush);
        self.due_at = self.next_due(flush).into_iter().chain(release_at).min();
        flushed
    }

    /// What each receiver is told, if there is anything.
    fn tell_all(
        &mut self,
        suppressed: Vec<(Fingerprint, SuppressionReason)>,
        flush: &Flush<'_>,
    ) -> Vec<Notification> {
        let escalating = self.escalate(flush);
        let waiting = self.waiting(flush).copied();
        let hushed = suppressed.iter().map(|(print, _)| *print);
        let hushed: BTreeSet<Fingerprint> = hushed.chain(waiting).collect();
        let quiet: Vec<Suppressed> = suppressed
            .into_iter()
            .filter_map(|(print, reason)| {
                let alert = flush.alerts.get(&print)?;
                let headline = alert.headline().to_owned();
                Some(Suppressed {
                    id: alert.id(),
                    headline,
                    reason,
                })
            })
            .collect();
        // Taken before the first is told, or the others would count as told already.
        let told: BTreeSet<Fingerprint> = self
            .conversations
            .values()
            .flat_map(|known| known.told.keys().copied())
            .collect();
        let mut notifications = Vec::new();
        for receiver in self.receivers(flush) {
            let hushed = self.hushed_at(&receiver, flush, &hushed);
            let mut news = self.news(&receiver, flush, &hushed, &told);
            news.is_escalated = escalating.contains(&receiver);
            if let Some(reason) = self.reason(&receiver, flush, &news) {
                let folded = self.folded_at(&receiver, flush, &news);
                let quiet = quiet.iter().cloned().chain(folded).collect();
                let notification = self.tell(&receiver, reason, &news, flush, &hushed, quiet);
                notifications.push(notification);
            }
        }
        notifications
    }

    /// Some receiver was told of it.
    fn is_told(&self, print: Fingerprint) -> bool {
        let mut conversations = self.conversations.values();
        conversations.any(|known| known.told.contains_key(&print))
    }

    fn tell(
        &mut self,
        receiver: &Name,
        reason: Reason,
        news: &News,
        flush: &Flush<'_>,
        hushed: &BTreeSet<Fingerprint>,
        suppressed: Vec<Suppressed>,
    ) -> Notification {
        let id = self.conversation_id(receiver);
        let now = flush.now;
        let conversation = self
            .conversations
            .entry(receiver.clone())
            .or_insert(Conversation {
                id,
                next_sequence: 0,
                told: BTreeMap::new(),
                pinged_at: now,
            });
        let sequence = conversation.next_sequence;
        conversation.next_sequence += 1;
        if reason.is_pinging() {
            conversation.pinged_at = now;
        }
        let (mut views, mut rollup) = conversation.tell(news, flush, hushed);
        let omitted = views.len().saturating_sub(MAX_ALERTS_TOLD);
        views.truncate(MAX_ALERTS_TOLD);
        if let Some(rollup) = &mut rollup {
            rollup.left_out = rollup.left_out.saturating_sub(omitted);
        }
        Notification {
            receiver: receiver.clone(),
            conversation: conversation.id,
            sequence,
            reason,
            decided_at: now,
            group: self.key.labels.clone(),
            route: self.key.route.clone(),
            omitted,
            rollup,
            body: Body::Alerts(views),
            suppressed: suppressed.into_iter().take(MAX_ALERTS_TOLD).collect(),
        }
    }

    fn conversation_id(&self, receiver: &Name) -> ConversationId {
        let labels = Labels::default()
            .with("receiver", receiver.clone())
            .with("route", self.key.route.clone())
            .with("group", self.key.labels.to_string())
            .with("began", self.began_at.to_string());
        ConversationId(Fingerprint::of("conversation", &labels))
    }

    /// Drops members that ended and have nobody left to be told.
    fn forget_ended(&mut self, flush: &Flush<'_>) {
        let is_owed = |print: &Fingerprint| {
            self.conversations
                .values()
                .any(|known| known.told.get(print).is_some_and(|t| !t.is_ended))
        };
        let gone: Vec<Fingerprint> = self
            .members
            .iter()
            .copied()
            .filter(|print| match flush.alerts.get(print) {
                None => true,
                Some(alert) => alert.state == AlertState::Resolved && !is_owed(print),
            })
            .collect();
        for print in gone {
            self.members.remove(&print);
            self.held_back.remove(&print);
            self.released.remove(&print);
            for conversation in self.conversations.values_mut() {
                conversation.told.remove(&print);
            }
        }
    }

    fn next_due(&self, flush: &Flush<'_>) -> Option<Timestamp> {
        if self.members.is_empty() {
            return None;
        }
        let reminders = self
            .conversations
            .iter()
            .filter(|(receiver, known)| {
                self.is_routed(receiver, flush.route) && !known.told.is_empty()
            })
            .map(|(_, known)| known.pinged_at + flush.route.repeat_interval)
            // One that is overdue is kept quiet: it is looked at again when that ends.
            .filter(|at| *at > flush.now);
        let escalates_at = self.escalates_at(flush.route, flush.now);
        let mut told = self.told_and_firing(flush);
        let unread_at = told
            .any(|alert| (flush.is_unread)(alert))
            .then(|| flush.now + UNREAD_FOR);
        // While an escalation is under way it counts when a window opens, too.
        let mutes = flush.route.mute.iter();
        let edges = mutes
            .filter(|calendar| escalates_at.is_some() || calendar.is_open(flush.now))
            .map(|calendar| calendar.next_edge(flush.now));
        let later = reminders.chain(edges).chain(escalates_at);
        later.chain(unread_at).min()
    }

    /// Nothing is left to tell.
    pub(super) fn is_over(&self) -> bool {
        self.members.is_empty()
    }
}

impl Conversation {
    /// What the receiver is told of each alert, worst first; from then on it has been told.
    fn tell(
        &mut self,
        news: &News,
        flush: &Flush<'_>,
        hushed: &BTreeSet<Fingerprint>,
    ) -> (Vec<AlertView>, Option<Rollup>) {
        let mut shown: Vec<&Alert> = Vec::new();
        let mut views: Vec<(AlertView, f64)> = Vec::new();
        for print in self
            .told
            .keys()
            .copied()
            .chain(news.new.iter().copied())
            .collect::<BTreeSet<_>>()
        {
            let Some(alert) = flush.alerts.get(&print) else {
                continue;
            };
            let known = self.told.get(&print);
            let is_ended = alert.state == AlertState::Resolved;
            if is_ended && known.is_some_and(|told| told.is_ended) {
                continue;
            }
            shown.push(alert);
            let silence = flush.silence_of(alert);
            let mut view = alert.view(news.new.contains(&print));
            view.silenced = silence.map(Silence::view);
            views.push((view, alert.evidence.weight));
            let (acknowledged, silence) = (alert.taken_on(), silence.map(|known| known.id.clone()));
            let told = match known {
                // It is shown as it is, but counts as told only when it may be told.
                Some(known) if hushed.contains(&print) && !is_ended => Told {
                    acknowledged,
                    silence,
                    ..known.clone()
                },
                known => Told {
                    acknowledged,
                    silence,
                    // While it flaps, what is as bad as before is no news.
                    severity: known
                        .filter(|known| alert.is_flapping() && known.is_flapping)
                        .map_or(alert.severity, |known| known.severity.max(alert.severity)),
                    change_key: alert.evidence.change_key.clone(),
                    is_ended,
                    is_flapping: alert.is_flapping() && !is_ended,
                },
            };
            self.told.insert(print, told);
        }
        views.sort_by(worst_first);
        let views = views.into_iter().map(|(view, _)| view).collect();
        match (flush.together)(&shown) {
            Some(together) => roll_up(views, together, flush),
            None => (views, None),
        }
    }
}

/// What is told together, with those alerts last that are only counted.
fn roll_up(
    views: Vec<AlertView>,
    together: Together,
    flush: &Flush<'_>,
) -> (Vec<AlertView>, Option<Rollup>) {
    let members = together.members.iter();
    let ids: Vec<String> = members
        .filter_map(|print| Some(flush.alerts.get(print)?.id()))
        .collect();
    let counted = ids.get(together.shown..).unwrap_or_default();
    let is_counted = |view: &AlertView| counted.contains(&view.id);
    let (mut last, mut views): (Vec<_>, Vec<_>) = views.into_iter().partition(is_counted);
    let left_out = last.len();
    views.append(&mut last);
    let rollup = Rollup {
        headline: together.headline,
        left_out,
        more: together.more,
        ids,
    };
    (views, Some(rollup))
}

/// Firing before ended, worst first.
fn worst_first((a, weight_a): &(AlertView, f64), (b, weight_b): &(AlertView, f64)) -> Ordering {
    (a.ended_at.is_some().cmp(&b.ended_at.is_some()))
        .then(b.severity.cmp(&a.severity))
        .then(weight_b.total_cmp(weight_a))
        .then(a.fired_at.cmp(&b.fired_at))
        .then(a.id.cmp(&b.id))
}
