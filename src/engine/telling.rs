//! Decides whom to tell: routes alerts into groups, lets groups speak when they are due, and says what could
//! not be told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono_tz::Tz;

use super::alert::{Alert, AlertState};
use super::group::{Flush, Group, GroupKey};
use super::inhibition::Inhibitors;
use super::labels::{Fingerprint, Labels};
use super::notification::{Body, ConversationId, Notification, Reason, SuppressionReason};
use super::observation::{Name, ProjectKey};
use super::precedence::{Folds, Hearing};
use super::rollup;
use super::route::Route;
use super::rule::{Rule, Severity};
use super::subject::SubjectKey;
use super::time::{Span, Timestamp, human_time};
use super::{Engine, Notice, Step, Undeliverable};

/// Groups that speak in one step; more speak in the next, at once. Keeps thousands of them from taking memory
/// for all in one transaction.
const MAX_GROUPS: usize = 2_000;

impl Engine {
    /// Brings what is firing to the routes it has now, and lets every group be looked at again: mutes,
    /// inhibitions and receivers may be others than before.
    pub(super) fn reroute(&mut self, now: Timestamp, step: &mut Step) {
        let firing = self
            .alerts
            .values()
            .filter(|alert| alert.state == AlertState::Firing);
        let moved: Vec<Fingerprint> = firing
            .filter(|alert| {
                let known = self.memberships.get(&alert.fingerprint);
                self.group_keys(alert)
                    .iter()
                    .any(|key| known.is_none_or(|known| !known.contains(key)))
            })
            .map(|alert| alert.fingerprint)
            .collect();
        for print in moved {
            self.touch_groups(print, now, step);
        }
        for key in self.groups.keys().cloned().collect::<Vec<_>>() {
            // What is all kept quiet waits from when it is not any more.
            let is_quiet = |group: &Group| group.told_at.is_none() && group.due_at.is_none();
            if self.groups.get(&key).is_some_and(is_quiet) {
                self.looked_at.insert(key);
            } else {
                self.touch_group(&key, now, step);
            }
        }
    }

    /// An alert has changed: the groups it belongs to are due.
    pub(super) fn touch_groups(&mut self, print: Fingerprint, now: Timestamp, step: &mut Step) {
        let Some(alert) = self.alerts.get(&print) else {
            return;
        };
        if !matches!(alert.state, AlertState::Firing | AlertState::Resolved) {
            return;
        }
        let mut keys = self.memberships.get(&print).cloned().unwrap_or_default();
        // The end is told where the alert was told of, whatever the routes are now.
        if alert.state == AlertState::Firing || keys.is_empty() {
            keys.extend(self.group_keys(alert));
        }
        self.memberships.insert(print, keys.clone());
        for key in keys {
            let new = || Group::new(key.clone(), now);
            let group = self.groups.entry(key.clone()).or_insert_with(new);
            group.members.insert(print);
            self.touch_group(&key, now, step);
            if self.silences.has_active() {
                // What is silenced is noted at once: it may be over, or the silence may, before the group
                // speaks.
                self.looked_at.insert(key);
            }
        }
    }

    /// A group is due after its wait or its interval.
    pub(super) fn touch_group(&mut self, key: &GroupKey, now: Timestamp, step: &mut Step) {
        let route = self.route_of(key);
        let Some(group) = self.groups.get_mut(key) else {
            return;
        };
        if let Some(due_at) = group.due_at {
            self.due_groups.remove(&(due_at, key.clone()));
        }
        group.touch(&route, now);
        if let Some(due_at) = group.due_at {
            self.due_groups.insert((due_at, key.clone()));
        }
        step.changed.groups.insert(key.clone(), Some(group.clone()));
    }

    /// The groups in which an alert is told now.
    pub(super) fn group_keys(&self, alert: &Alert) -> BTreeSet<GroupKey> {
        let key = |route: Route| GroupKey {
            labels: alert.labels.project(&route.group_by),
            route: route.path,
        };
        self.routes(alert).into_iter().map(key).collect()
    }

    pub(super) fn rule(&self, name: &str) -> Option<&Rule> {
        self.policy.rules.get(*self.rule_index.get(name)?)
    }

    /// The routing nodes that handle an alert. A rule with receivers of its own has a node of its own.
    pub(super) fn routes(&self, alert: &Alert) -> Vec<Route> {
        match self
            .rule(&alert.rule)
            .and_then(|rule| rule.receivers.as_ref())
        {
            Some(receivers) => vec![self.own_route(&alert.rule, receivers.clone())],
            None => self
                .policy
                .route
                .find(&alert.labels)
                .into_iter()
                .cloned()
                .collect(),
        }
    }

    pub(super) fn own_route(&self, rule: &Name, receivers: Vec<Name>) -> Route {
        self.policy.rule_route(rule, receivers)
    }

    /// The routing node of a group, also when the policy does not have it any more: then nobody is told
    /// anything new, and those that were told are told the end.
    pub(super) fn route_of(&self, key: &GroupKey) -> Route {
        if let Some(name) = key.route.strip_prefix("rule:") {
            let receivers = self
                .rule(name)
                .and_then(|rule| rule.receivers.clone())
                .unwrap_or_default();
            return self.own_route(&name.into(), receivers);
        }
        find_route(&self.policy.route, &key.route)
            .cloned()
            .unwrap_or_else(|| Route {
                path: key.route.clone(),
                receivers: Vec::new(),
                children: Vec::new(),
                mute: Vec::new(),
                escalate: Vec::new(),
                ..self.policy.route.clone()
            })
    }

    fn take_due_groups(&mut self, now: Timestamp) -> BTreeSet<GroupKey> {
        let mut due = BTreeSet::new();
        while self.due_groups.first().is_some_and(|(at, _)| *at <= now) && due.len() < MAX_GROUPS {
            due.extend(self.due_groups.pop_first().map(|(_, key)| key));
        }
        due
    }

    /// Tells the groups that are due; returns from whom silences keep something.
    pub(super) fn tell(&mut self, now: Timestamp, step: &mut Step) -> KeptFrom {
        // A change of an alert, or of the policy, may let others, kept quiet, speak.
        let mut looked_at = std::mem::take(&mut self.looked_at);
        if !step.changed.alerts.is_empty() {
            looked_at.extend(self.holding_back.iter().cloned());
        }
        let due = self.take_due_groups(now);
        let mut kept_from = KeptFrom::new();
        if due.is_empty() && looked_at.is_empty() {
            return kept_from;
        }
        let policy = Arc::clone(&self.policy);
        let inhibitors = Inhibitors::new(&policy.inhibitions, &self.alerts.values());
        let hearing = Listeners {
            engine: self,
            inhibitors: &inhibitors,
            now,
        };
        let folds = Folds::new(&self.alerts, &self.history, &hearing);
        let mut ended = BTreeSet::new();
        for key in due.union(&looked_at) {
            let Some(mut group) = self.groups.remove(key) else {
                continue;
            };
            let before = group.clone();
            if let Some(due_at) = group.due_at {
                self.due_groups.remove(&(due_at, key.clone()));
            }
            let look = rollup::Look {
                history: &self.history,
                zone: policy.zone,
                now,
            };
            let route = self.route_of(key);
            let flushed = group.flush(&Flush {
                alerts: &self.alerts,
                silences: &self.silences,
                inhibitors: &inhibitors,
                folds: &folds,
                route: &route,
                together: &|alerts| look.together(alerts),
                is_told_elsewhere: &|receiver, print| self.is_told_elsewhere(receiver, print),
                is_unread: &|alert| self.is_unread(alert, now),
                is_due: due.contains(key),
                now,
            });
            step.notifications.extend(flushed.notifications);
            for (silence, receivers) in group.kept_by_silences(&route) {
                kept_from.entry(silence).or_default().extend(receivers);
            }
            if flushed.is_holding_back {
                self.holding_back.insert(key.clone());
            } else {
                self.holding_back.remove(key);
            }
            for print in before.members.difference(&group.members) {
                ended.insert(*print);
                self.memberships.entry(*print).or_default().remove(key);
            }
            self.put_back(group, &before, step);
        }
        self.forget_alerts(&ended, step);
        kept_from
    }

    /// Keeps a group that was looked at, unless its incident is over.
    fn put_back(&mut self, group: Group, before: &Group, step: &mut Step) {
        let key = group.key.clone();
        let is_over = group.is_over();
        if group != *before {
            let kept = (!is_over).then(|| group.clone());
            step.changed.groups.insert(key.clone(), kept);
        }
        if is_over {
            self.holding_back.remove(&key);
            return;
        }
        if let Some(due_at) = group.due_at {
            self.due_groups.insert((due_at, key.clone()));
        }
        self.groups.insert(key, group);
    }

    /// A receiver was told of an alert, and not of its end, in a group that still tells it.
    pub(super) fn is_told_elsewhere(&self, receiver: &Name, print: Fingerprint) -> bool {
        let keys = self.memberships.get(&print).into_iter().flatten();
        keys.filter_map(|key| self.groups.get(key)).any(|group| {
            let told = group
                .conversations
                .get(receiver)
                .and_then(|known| known.told.get(&print));
            told.is_some_and(|told| !told.is_ended)
                && group.is_routed(receiver, &self.route_of(&group.key))
        })
    }

    /// After a stop: the source was not read yet, and much may have happened to an alert that was open.
    fn is_unread(&self, alert: &Alert, now: Timestamp) -> bool {
        let source: Name = alert.identity.get("source").into();
        let key = ProjectKey {
            project_id: alert.identity.get("project_id").into(),
            source: source.clone(),
        };
        let known_until = self.history.project(&key).and_then(|known| known.coverage);
        known_until.is_some_and(|known_until| now.since(known_until) > LONG_STOP)
            && !self.health.contains_key(&SubjectKey::Source(source))
    }

    /// Forgets ended alerts that no group holds any more.
    pub(super) fn forget_alerts(&mut self, ended: &BTreeSet<Fingerprint>, step: &mut Step) {
        for print in ended {
            let is_held = self
                .memberships
                .get(print)
                .is_some_and(|keys| !keys.is_empty());
            let is_over = self
                .alerts
                .get(print)
                .is_some_and(|alert| alert.state == AlertState::Resolved);
            if is_held || !is_over {
                continue;
            }
            self.alerts.remove(print);
            self.memberships.remove(print);
            self.watches.disown(*print);
            step.changed.alerts.insert(*print, None);
        }
    }

    /// Tells the fallback what another receiver could not be told, one notification for each such receiver.
    pub(super) fn give_up(&mut self, given_up: &[Undeliverable], now: Timestamp, step: &mut Step) {
        let mut by_receiver: BTreeMap<&Name, Vec<&Undeliverable>> = BTreeMap::new();
        for item in given_up {
            // What the fallback itself could not be told ends here; it is shown in `status`.
            if item.notification.reason != Reason::Undeliverable {
                by_receiver
                    .entry(&item.notification.receiver)
                    .or_default()
                    .push(item);
            }
        }
        for (receiver, items) in by_receiver {
            let first = items[0];
            let headline = format!("Could not tell {receiver}: {}", first.why);
            let lines: Vec<String> = items
                .iter()
                .flat_map(|item| missed_lines(&item.notification))
                .collect();
            let key = first.notification.delivery_id();
            for fallback in self.fallbacks(receiver) {
                step.notifications.push(notice(
                    &fallback,
                    &format!("undeliverable/{key}"),
                    Reason::Undeliverable,
                    Body::Notice {
                        headline: headline.clone(),
                        text: missed_text(&lines, receiver),
                    },
                    now,
                ));
            }
        }
    }

    /// Receivers that hear what `failed` could not be told.
    pub(super) fn fallbacks(&self, failed: &Name) -> Vec<Name> {
        let fallback = &self.policy.fallback;
        let all = if fallback.is_empty() {
            &self.policy.route.receivers
        } else {
            fallback
        };
        all.iter().filter(|name| *name != failed).cloned().collect()
    }

    /// Tells something about Tardy itself.
    pub(super) fn announce(&mut self, notices: &[Notice], now: Timestamp, step: &mut Step) {
        for item in notices {
            let fallback = &self.policy.fallback;
            let receivers: BTreeSet<Name> = if item.is_for_fallback && !fallback.is_empty() {
                fallback.iter().cloned().collect()
            } else {
                self.policy
                    .route
                    .receivers
                    .iter()
                    .chain(fallback)
                    .cloned()
                    .collect()
            };
            for receiver in receivers {
                let body = Body::Notice {
                    headline: item.headline.clone(),
                    text: item.text.clone(),
                };
                let key = format!("notice/{}/{now}", item.headline);
                step.notifications
                    .push(notice(&receiver, &key, Reason::Notice, body, now));
            }
        }
    }
}

/// What was read longer ago than this is read again after a start before it escalates.
const LONG_STOP: Span = Span::minutes(15);

/// From whom each silence keeps something, by its id.
pub(super) type KeptFrom = BTreeMap<String, BTreeSet<Name>>;

/// Who hears of what in a step.
struct Listeners<'a> {
    engine: &'a Engine,
    inhibitors: &'a Inhibitors<'a>,
    now: Timestamp,
}

impl Listeners<'_> {
    fn keys(&self, alert: &Alert) -> BTreeSet<GroupKey> {
        let known = self.engine.memberships.get(&alert.fingerprint);
        known.cloned().unwrap_or_default()
    }

    /// What a receiver was told of an alert that has not ended for it, at the worst.
    fn told(&self, receiver: &Name, print: Fingerprint) -> Option<Severity> {
        let keys = self.engine.memberships.get(&print).into_iter().flatten();
        let groups = keys.filter_map(|key| self.engine.groups.get(key));
        let told = groups.filter_map(|group| group.conversations.get(receiver)?.told.get(&print));
        told.filter(|told| !told.is_ended)
            .map(|told| told.severity)
            .max()
    }

    /// A group that speaks in this step may tell a receiver of an alert.
    fn is_about_to_hear(&self, receiver: &Name, cause: &Alert) -> bool {
        let is_due = |key: &&GroupKey| {
            let group = self.engine.groups.get(*key);
            group.is_some_and(|group| group.due_at.is_some_and(|at| at <= self.now))
        };
        let may_speak = |key: &GroupKey| {
            let route = self.engine.route_of(key);
            let is_muted = route.mute.iter().any(|mute| mute.is_open(self.now));
            let group = self.engine.groups.get(key);
            !is_muted && group.is_some_and(|group| group.is_routed(receiver, &route))
        };
        cause.identity.get("receiver") != &**receiver
            && self.engine.silences.find(&cause.labels).is_none()
            && self.inhibitors.find(cause).is_none()
            && self.keys(cause).iter().filter(is_due).any(may_speak)
    }
}

impl Hearing for Listeners<'_> {
    fn receivers(&self, alert: &Alert) -> BTreeSet<Name> {
        let mut receivers = BTreeSet::new();
        for key in self.keys(alert) {
            let route = self.engine.route_of(&key);
            if let Some(group) = self.engine.groups.get(&key) {
                receivers.extend(group.escalated(&route).cloned());
            }
            receivers.extend(route.receivers);
        }
        receivers
    }

    fn is_told(&self, receiver: &Name, print: Fingerprint) -> bool {
        self.told(receiver, print).is_some()
    }

    fn hears(&self, receiver: &Name, cause: &Alert, alert: &Alert) -> bool {
        let told = self.told(receiver, cause.fingerprint);
        told.is_some_and(|severity| severity >= alert.severity)
            || (cause.severity >= alert.severity && self.is_about_to_hear(receiver, cause))
    }

    fn was_explained(&self, alert: &Alert) -> Option<SuppressionReason> {
        let (print, run_id) = (alert.fingerprint, alert.evidence.run_id.as_ref()?);
        let keys = self.engine.memberships.get(&print).into_iter().flatten();
        let groups = keys.filter_map(|key| self.engine.groups.get(key));
        let groups = groups.filter(|group| group.explained_runs.get(&print) == Some(run_id));
        let mut reasons = groups.filter_map(|group| group.reasons.get(&print).cloned());
        reasons.find(|reason| matches!(reason, SuppressionReason::Inhibited(_)))
    }
}

fn find_route<'a>(route: &'a Route, path: &str) -> Option<&'a Route> {
    if &*route.path == path {
        return Some(route);
    }
    route
        .children
        .iter()
        .find_map(|child| find_route(child, path))
}

/// Characters of missed lines: what every receiver shows of a notice. The rest is counted.
const MAX_MISSED: usize = 2_000;

/// What was not told, as far as it can be shown, and how to see the rest.
fn missed_text(lines: &[String], receiver: &Name) -> String {
    let mut left = MAX_MISSED;
    let fitting = lines.iter().take_while(|line| {
        let size = line.chars().count() + 1;
        let fits = size <= left;
        left = left.saturating_sub(size);
        fits
    });
    let mut shown: Vec<String> = fitting.cloned().collect();
    if shown.len() < lines.len() {
        let more = lines.len() - shown.len();
        shown.push(format!(
            "and {more} more: tardy deliveries --receiver {receiver}"
        ));
    }
    shown.join("\n")
}

/// What a notification would have said, a line for each alert.
fn missed_lines(notification: &Notification) -> Vec<String> {
    let at = human_time(notification.decided_at, notification.decided_at, Tz::UTC);
    match &notification.body {
        Body::Alerts(alerts) => alerts
            .iter()
            .map(|alert| format!("{at} {}", alert.headline))
            .collect(),
        Body::Notice { headline, .. } => vec![format!("{at} {headline}")],
        Body::Digest(digest) => vec![format!("{at} Digest: {}", digest.verdict)],
    }
}

/// A notification that is a conversation of its own.
pub(super) fn notice(
    receiver: &Name,
    key: &str,
    reason: Reason,
    body: Body,
    now: Timestamp,
) -> Notification {
    let labels = Labels::default()
        .with("receiver", receiver.clone())
        .with("key", key);
    Notification {
        receiver: receiver.clone(),
        conversation: ConversationId(Fingerprint::of("notice", &labels)),
        sequence: 0,
        reason,
        decided_at: now,
        group: Labels::default(),
        route: "notice".into(),
        body,
        omitted: 0,
        rollup: None,
        suppressed: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_is_shown_as_far_as_it_fits_and_counted() {
        let text = |count: usize| {
            let line = |number| format!("05:10 UTC Failed: finance job-{number:03}");
            let lines: Vec<String> = (0..count).map(line).collect();
            missed_text(&lines, &"team".into())
        };
        assert_eq!(text(2).lines().count(), 2);
        let many = text(300);
        assert!(many.chars().count() <= MAX_MISSED + 80, "{many}");
        let shown = many.lines().count() - 1;
        let rest = format!("and {} more: tardy deliveries --receiver team", 300 - shown);
        assert_eq!(many.lines().last(), Some(&*rest));
    }
}
