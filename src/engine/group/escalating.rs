//! Escalation: who is told when nobody acknowledges.
//!
//! The clock of a group's escalation runs while some alert that was told fires, is not acknowledged and is not
//! kept quiet. It starts with the first notification of the incident; when all that fires was acknowledged or
//! kept quiet for a while, it starts anew when that is over. Each step is taken once in an incident, in order;
//! steps that are due at once are taken as one. Whoever was told by a step hears all that follows, as if the
//! route named them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::super::alert::{Alert, AlertState};
use super::super::observation::Name;
use super::super::route::Route;
use super::super::time::{Span, Timestamp};
use super::{Flush, Group};

/// How far the escalation of an incident has gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalation {
    /// Since when it counts.
    pub since: Option<Timestamp>,
    /// All that fires is acknowledged or kept quiet.
    pub is_held: bool,
    /// Steps up to this many milliseconds were taken; one that a reload puts before is not taken any more.
    pub taken_millis: Option<i64>,
    /// Who was told by a step.
    pub receivers: BTreeSet<Name>,
}

impl Escalation {
    pub(super) fn is_unused(&self) -> bool {
        *self == Self::default()
    }

    /// Steps that were not taken, in order.
    fn left<'a>(&self, route: &'a Route) -> impl Iterator<Item = (Span, &'a [Name])> {
        let taken = self.taken_millis.unwrap_or(-1);
        let steps = route.escalate.iter();
        let left = steps.filter(move |step| step.after.num_milliseconds() > taken);
        left.map(|step| (step.after, &*step.receivers))
    }
}

impl Group {
    /// Those to whom it has escalated, as far as a step names them still.
    pub(in super::super) fn escalated<'a>(
        &'a self,
        route: &'a Route,
    ) -> impl Iterator<Item = &'a Name> {
        let is_named = |name: &&Name| {
            let mut steps = route.escalate.iter();
            steps.any(|step| step.receivers.contains(name))
        };
        self.escalation.receivers.iter().filter(is_named)
    }

    /// A receiver hears what is new in the group.
    pub(in super::super) fn is_routed(&self, receiver: &Name, route: &Route) -> bool {
        route.receivers.contains(receiver) || self.escalated(route).any(|name| name == receiver)
    }

    /// Members that were told and fire.
    pub(super) fn told_and_firing<'a>(
        &'a self,
        flush: &'a Flush<'_>,
    ) -> impl Iterator<Item = &'a Alert> {
        let is_told = |alert: &&Alert| {
            let mut conversations = self.conversations.iter();
            conversations.any(|(receiver, known)| {
                let told = known.told.get(&alert.fingerprint);
                told.is_some_and(|told| !told.is_ended) && self.is_routed(receiver, flush.route)
            })
        };
        let members = self.members.iter();
        let alerts = members.filter_map(|print| flush.alerts.get(print));
        alerts
            .filter(|alert| alert.state == AlertState::Firing)
            .filter(is_told)
    }

    /// Nobody has taken it on, and it may be told.
    fn is_nobodys(&self, alert: &Alert) -> bool {
        alert.acknowledged.is_none() && !self.reasons.contains_key(&alert.fingerprint)
    }

    /// Starts the clock with the first notification, and anew when all was acknowledged or kept quiet.
    pub(super) fn mind_escalation(&mut self, flush: &Flush<'_>) {
        let Some(told_at) = self.told_at else {
            return;
        };
        let mut firing = self.told_and_firing(flush).peekable();
        let is_held = if firing.peek().is_some() {
            !firing.any(|alert| self.is_nobodys(alert))
        } else {
            // What is over, and not told to be, may go on as the same incident.
            self.escalation.is_held || !self.owes_endings()
        };
        drop(firing);
        let escalation = &mut self.escalation;
        if escalation.is_held && !is_held {
            escalation.since = Some(flush.now);
        }
        escalation.since.get_or_insert(told_at);
        escalation.is_held = is_held;
    }

    /// Some receiver was told of an alert, and not of its end.
    fn owes_endings(&self) -> bool {
        let mut told = self
            .conversations
            .values()
            .flat_map(|known| known.told.values());
        told.any(|told| !told.is_ended)
    }

    /// When the next step is due, unless something holds it back.
    pub(super) fn escalates_at(&self, route: &Route, now: Timestamp) -> Option<Timestamp> {
        let since = self.escalation.since.filter(|_| !self.escalation.is_held)?;
        let (after, _) = self.escalation.left(route).next()?;
        Some(since + after).filter(|at| *at > now)
    }

    /// Takes the steps that are due; returns who is told that nobody acknowledges.
    pub(super) fn escalate(&mut self, flush: &Flush<'_>) -> BTreeSet<Name> {
        let since = self.escalation.since.filter(|_| !self.escalation.is_held);
        // Nobody is woken for what is over and only kept firing for a while, or may have ended during a stop.
        let is_open = |alert: &Alert| {
            self.is_nobodys(alert) && alert.cleared_at.is_none() && !(flush.is_unread)(alert)
        };
        let (Some(since), true) = (since, self.told_and_firing(flush).any(is_open)) else {
            return BTreeSet::new();
        };
        let left = self.escalation.left(flush.route);
        let due: Vec<_> = left
            .take_while(|(after, _)| since + *after <= flush.now)
            .collect();
        let Some((last, _)) = due.last() else {
            return BTreeSet::new();
        };
        let mut told = self.hearing_of_nobodys(flush);
        self.escalation.taken_millis = Some(last.num_milliseconds());
        for (_, receivers) in due {
            self.escalation.receivers.extend(receivers.iter().cloned());
            told.extend(receivers.iter().cloned());
        }
        told
    }

    /// Receivers that know of an alert that nobody has taken on.
    fn hearing_of_nobodys(&self, flush: &Flush<'_>) -> BTreeSet<Name> {
        let firing = self.told_and_firing(flush);
        let open: Vec<&Alert> = firing.filter(|alert| self.is_nobodys(alert)).collect();
        let conversations = self.conversations.iter();
        let knows = conversations.filter(|(receiver, known)| {
            let is_told = |alert: &&Alert| {
                let told = known.told.get(&alert.fingerprint);
                told.is_some_and(|told| !told.is_ended)
            };
            self.is_routed(receiver, flush.route) && open.iter().any(is_told)
        });
        knows.map(|(receiver, _)| receiver.clone()).collect()
    }
}
