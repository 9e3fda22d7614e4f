//! What is new in a group for one receiver, and why it is told.

use std::collections::BTreeSet;

use super::super::alert::{Alert, AlertState, EndReason};
use super::super::labels::Fingerprint;
use super::super::notification::Reason;
use super::super::observation::Name;
use super::super::precedence::goes_on;
use super::super::rule::Severity;
use super::{Conversation, Flush, Group, Told};

/// What is new for one receiver.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is news of its own")]
pub(super) struct News {
    pub(super) new: Vec<Fingerprint>,
    ended: Vec<Fingerprint>,
    /// Nobody has acknowledged it.
    pub(super) is_escalated: bool,
    is_upgraded: bool,
    is_reminder_due: bool,
    /// Somebody has taken it on, or given it back.
    is_acknowledgement: bool,
    /// Somebody has silenced it, or the silence is over.
    is_silence: bool,
    /// Flapping, or changed.
    change: Option<Reason>,
}

impl Group {
    /// Receivers of the route, those that were told before, and those to whom it has escalated.
    pub(super) fn receivers(&self, flush: &Flush<'_>) -> BTreeSet<Name> {
        let told = self.conversations.keys();
        let routed = flush.route.receivers.iter();
        let escalated = self.escalated(flush.route);
        routed.chain(told).chain(escalated).cloned().collect()
    }

    pub(super) fn news(
        &self,
        receiver: &Name,
        flush: &Flush<'_>,
        hushed: &BTreeSet<Fingerprint>,
        told_before: &BTreeSet<Fingerprint>,
    ) -> News {
        let conversation = self.conversations.get(receiver);
        let told = |print: &Fingerprint| conversation.and_then(|known| known.told.get(print));
        let is_routed = self.is_routed(receiver, flush.route);
        let mut is_nobodys = false;
        let mut news = News::default();
        for print in &self.members {
            let Some(alert) = flush.alerts.get(print) else {
                continue;
            };
            // A receiver is not told that it cannot be reached.
            if alert.identity.get("receiver") == &**receiver {
                continue;
            }
            // Who hears nothing new here any more is told the endings alone.
            if let Some(told) = told(print).filter(|_| is_routed) {
                news.note_people(alert, told, flush, hushed.contains(print));
            }
            match (told(print), alert.state) {
                (None, AlertState::Firing | AlertState::Resolved) => {
                    // The end of what this receiver never heard of is not its business.
                    let is_quiet = hushed.contains(print)
                        || (alert.state == AlertState::Resolved
                            && (self.held_back.contains(print) || told_before.contains(print)));
                    let is_wanted = is_routed && !is_quiet && !is_never_told(alert);
                    if is_wanted && !(flush.is_told_elsewhere)(receiver, *print) {
                        news.new.push(*print);
                    }
                }
                (Some(told), AlertState::Resolved) if !told.is_ended => news.ended.push(*print),
                // Kept quiet, or nobody's business here any more: only the end is told.
                (Some(_), _) if !is_routed || hushed.contains(print) => {}
                (Some(told), AlertState::Firing) if told.is_ended => news.new.push(*print),
                (Some(told), AlertState::Firing) => {
                    news.is_upgraded |= alert.severity > told.severity;
                    news.change = news.change.max(change(alert, told));
                    is_nobodys |= alert.acknowledged.is_none();
                }
                (None | Some(_), _) => {}
            }
        }
        let remind_at = conversation.map(|known| known.pinged_at + flush.route.repeat_interval);
        news.is_reminder_due = is_nobodys && remind_at.is_some_and(|at| flush.now >= at);
        news
    }

    pub(super) fn reason(&self, receiver: &Name, flush: &Flush<'_>, news: &News) -> Option<Reason> {
        let conversation = self.conversations.get(receiver);
        let is_firing = conversation.is_some_and(|known| known.is_firing(flush));
        if news.is_escalated && (is_firing || !news.new.is_empty()) {
            return Some(Reason::Escalated);
        }
        if !news.new.is_empty() {
            return Some(reason_of_new(conversation, flush, news));
        }
        if news.is_upgraded {
            return Some(Reason::Upgraded);
        }
        if news.change == Some(Reason::Flapping) {
            return news.change;
        }
        if news.is_reminder_due {
            return Some(Reason::Reminder);
        }
        if !news.ended.is_empty() {
            return Some(reason_of_ended(is_firing, flush, news));
        }
        if news.is_acknowledgement {
            return Some(Reason::Acknowledged);
        }
        if news.is_silence {
            return Some(Reason::Silenced);
        }
        news.change
    }
}

impl News {
    /// What people did to an alert that the receiver knows. That it is silent no more is told when it may be
    /// told.
    fn note_people(&mut self, alert: &Alert, told: &Told, flush: &Flush<'_>, is_hushed: bool) {
        if alert.state != AlertState::Firing || told.is_ended {
            return;
        }
        self.is_acknowledgement |= alert.taken_on() != told.acknowledged;
        let silence = flush.silence_of(alert).map(|silence| &silence.id);
        self.is_silence |= silence != told.silence.as_ref() && (silence.is_some() || !is_hushed);
    }
}

impl Conversation {
    /// Something that the receiver knows of fires.
    fn is_firing(&self, flush: &Flush<'_>) -> bool {
        self.told.keys().any(|print| {
            let alert = flush.alerts.get(print);
            alert.is_some_and(|alert| alert.state == AlertState::Firing)
        })
    }
}

/// Why a receiver is told when alerts have ended.
fn reason_of_ended(is_firing: bool, flush: &Flush<'_>, news: &News) -> Reason {
    let is_rule_gone = news.ended.iter().all(|print| {
        flush
            .alerts
            .get(print)
            .and_then(|alert| alert.ending.as_ref())
            .is_some_and(|ending| ending.reason == EndReason::RuleRemoved)
    });
    match (is_firing, is_rule_gone) {
        (_, true) => Reason::RuleRemoved,
        (true, false) => Reason::SomeResolved,
        (false, false) => Reason::AllResolved,
    }
}

/// Why a receiver is told when alerts are new to it.
fn reason_of_new(conversation: Option<&Conversation>, flush: &Flush<'_>, news: &News) -> Reason {
    let new = || news.new.iter().filter_map(|print| flush.alerts.get(print));
    if new().all(Alert::is_flapping) {
        return Reason::Flapping;
    }
    let Some(conversation) = conversation else {
        return Reason::First;
    };
    let is_worse = |later: &Alert| {
        let mut told = conversation.told.iter();
        told.any(|(print, told)| {
            let earlier = flush.alerts.get(print);
            !told.is_ended
                && told.severity < later.severity
                && earlier.is_some_and(|earlier| goes_on(earlier, later))
        })
    };
    if new().all(is_worse) {
        Reason::Upgraded
    } else {
        Reason::NewAlerts
    }
}

/// What is new about a firing alert that a receiver knows. Of one that flaps only that it does, and that it is
/// steady again.
fn change(alert: &Alert, told: &Told) -> Option<Reason> {
    match (alert.is_flapping(), told.is_flapping) {
        (true, false) => Some(Reason::Flapping),
        (true, true) => None,
        (false, true) => Some(Reason::Changed),
        (false, false) => {
            let is_other = alert.evidence.change_key != told.change_key;
            is_other.then_some(Reason::Changed)
        }
    }
}

/// A warning that ended before anybody was told is not worth a message of its own; a breach is, unless
/// its rule is gone.
fn is_never_told(alert: &Alert) -> bool {
    let is_rule_gone =
        |alert: &Alert| matches!(&alert.ending, Some(end) if end.reason == EndReason::RuleRemoved);
    alert.state == AlertState::Resolved && (alert.severity == Severity::Info || is_rule_gone(alert))
}
