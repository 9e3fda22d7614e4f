//! What PagerDuty is told, and what is known of the conversation afterwards.
//!
//! Role: [`plan`] maps one notification to the events that are sent for it. Guarantees: pure; doing a plan
//! twice is harmless, because every event names its incident by a key that depends on nothing but the
//! conversation and what was recorded of it; an ending resolves every incident that could be open. It does
//! not send anything.
//!
//! PagerDuty pages when an incident opens, and its own escalation goes on until somebody acknowledges it
//! there. A repeated trigger of an open incident pages nobody. So an incident is replaced by a new one, which
//! pages, exactly where PagerDuty would be silent and a person must know.

use serde::{Deserialize, Serialize};

use crate::engine::notification::{AlertView, Body, ConversationId, Notification, Reason};
use crate::engine::rule::Severity;

/// Replaced incidents that may wait for their end at the same time. Ours; they must fit a handle.
const STALE: usize = 16;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Opens the incident of this key, or adds to it.
    Trigger {
        /// Deduplication key.
        key: String,
        /// Key of the incident that it replaces.
        replaces: Option<String>,
    },
    /// Somebody has taken it on.
    Acknowledge {
        /// Deduplication key.
        key: String,
    },
    /// It is over.
    Resolve {
        /// Deduplication key.
        key: String,
    },
    /// A line among the service's recent changes, which pages nobody.
    Change,
}

/// What is known of a conversation's incident; kept as its handle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Incident {
    /// How many incidents this one has replaced.
    generation: u32,
    /// Worst severity of what fired when it was last told.
    severity: Severity,
    /// PagerDuty was told that somebody has taken it on.
    is_acknowledged: bool,
    /// Position of the last notification that was delivered.
    sequence: u32,
    /// Keys of replaced incidents that are not resolved yet.
    #[serde(default)]
    pub(super) stale: Vec<String>,
}

impl Incident {
    /// No further replaced incident can wait for its end.
    pub(super) fn is_crowded(&self) -> bool {
        self.stale.len() > STALE
    }
}

/// What to send, in order, and what is known once that has been done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// What to send; all of it, or it is tried again.
    pub(super) events: Vec<Event>,
    /// What is known then; `None` when the conversation is over or has no incident. Its stale incidents are
    /// resolved when possible.
    pub(super) after: Option<Incident>,
}

impl Plan {
    fn of(events: Vec<Event>, after: Option<Incident>) -> Self {
        Self { events, after }
    }
}

/// Decides.
pub(super) fn plan(notification: &Notification, known: Option<&Incident>) -> Plan {
    let alerts = match (&notification.body, notification.reason) {
        (Body::Digest(_), _) | (_, Reason::Digest) => return Plan::of(Vec::new(), known.cloned()),
        (Body::Notice { .. }, reason) => return notice(notification, reason),
        (Body::Alerts(alerts), _) => alerts,
    };
    if notification.is_ending() {
        return ending(notification, known);
    }
    let is_taken = is_taken_on(notification, alerts);
    let Some(known) = known else {
        return opening(notification, is_taken);
    };
    let mut after = Incident {
        severity: notification.severity(),
        sequence: notification.sequence,
        ..known.clone()
    };
    let key = key(notification.conversation, known.generation);
    if pages_anew(notification, alerts, known, is_taken) {
        after.generation = known.generation.saturating_add(1);
        after.is_acknowledged = false;
        let new = Event::Trigger {
            key: self::key(notification.conversation, after.generation),
            replaces: Some(key.clone()),
        };
        after.stale.push(key);
        return Plan::of(vec![new], Some(after));
    }
    let is_newly_taken = is_taken && !known.is_acknowledged;
    after.is_acknowledged |= is_taken;
    let events = if is_newly_taken {
        vec![Event::Acknowledge { key }]
    } else if notification.reason.is_pinging() && !is_taken {
        let replaces = None;
        vec![Event::Trigger { key, replaces }]
    } else {
        // A trigger would page if a person has closed the incident by hand.
        Vec::new()
    };
    Plan::of(events, Some(after))
}

/// The key of a conversation's incident: the conversation itself, and a number for those that replace it.
fn key(conversation: ConversationId, generation: u32) -> String {
    match generation {
        0 => conversation.to_string(),
        number => format!("{conversation}-page{}", number.saturating_add(1)),
    }
}

fn notice(notification: &Notification, reason: Reason) -> Plan {
    let event = if reason == Reason::Undeliverable {
        let key = key(notification.conversation, 0);
        let replaces = None;
        Event::Trigger { key, replaces }
    } else {
        Event::Change
    };
    Plan::of(vec![event], None)
}

fn opening(notification: &Notification, is_taken: bool) -> Plan {
    let key = key(notification.conversation, 0);
    let mut events = vec![Event::Trigger {
        key: key.clone(),
        replaces: None,
    }];
    if is_taken {
        events.push(Event::Acknowledge { key });
    }
    let after = Incident {
        generation: 0,
        severity: notification.severity(),
        is_acknowledged: is_taken,
        sequence: notification.sequence,
        stale: Vec::new(),
    };
    Plan::of(events, Some(after))
}

/// Resolves what is open, what was replaced, and what a message that was given up may have opened. PagerDuty
/// drops the end of what is not open.
fn ending(notification: &Notification, known: Option<&Incident>) -> Plan {
    let generation = known.map_or(0, |known| known.generation);
    let mut keys = vec![key(notification.conversation, generation)];
    if let Some(known) = known {
        keys.extend(known.stale.iter().cloned());
        if known.sequence.saturating_add(1) < notification.sequence {
            keys.push(key(notification.conversation, generation.saturating_add(1)));
        }
    }
    let resolve = |key| Event::Resolve { key };
    Plan::of(keys.into_iter().map(resolve).collect(), None)
}

/// Everything that fires is acknowledged or silenced.
fn is_taken_on(notification: &Notification, alerts: &[AlertView]) -> bool {
    notification.omitted == 0 && loose(alerts).next().is_none()
}

/// What fires and nobody has taken on.
fn loose(alerts: &[AlertView]) -> impl Iterator<Item = &AlertView> {
    alerts.iter().filter(|alert| {
        alert.ended_at.is_none() && alert.acknowledged.is_none() && alert.silenced.is_none()
    })
}

/// PagerDuty would say nothing of what a person must notice.
fn pages_anew(
    notification: &Notification,
    alerts: &[AlertView],
    known: &Incident,
    is_taken: bool,
) -> bool {
    if is_taken {
        return false;
    }
    let reason = notification.reason;
    let is_pinging = reason.is_pinging();
    let is_louder = is_pinging && notification.severity() > known.severity;
    // Taken on by somebody, and now there is something as bad that nobody has.
    let is_given_back = matches!(reason, Reason::Acknowledged | Reason::Silenced);
    let worst = loose(alerts).map(|alert| alert.severity).max();
    let is_loose = known.is_acknowledged && worst >= Some(notification.severity());
    reason == Reason::Escalated || is_louder || (is_loose && (is_pinging || is_given_back))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::labels::{Fingerprint, Labels};
    use crate::engine::notification::{AcknowledgedView, SilencedView};
    use crate::engine::time::Timestamp;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(&format!("2026-03-10T{text}:00Z")).unwrap()
    }

    /// `c` critical, `w` warning; `!` acknowledged, `~` silenced, `.` ended.
    fn alert(text: &str) -> AlertView {
        let is = |c: char| text.contains(c);
        AlertView {
            id: text.to_owned(),
            rule: "nightly".into(),
            kind: "run_failed".into(),
            origin: String::new(),
            severity: if is('c') {
                Severity::Critical
            } else {
                Severity::Warning
            },
            labels: Labels::default(),
            headline: format!("Failed: {text}"),
            facts: Vec::new(),
            error: None,
            run_url: None,
            description: None,
            runbook: None,
            owner: None,
            began_at: at("04:00"),
            fired_at: at("04:05"),
            ended_at: is('.').then(|| at("04:30")),
            is_new: false,
            is_already_so: false,
            acknowledged: is('!').then(|| AcknowledgedView {
                by: "alice".into(),
                until: at("12:00"),
                comment: None,
            }),
            silenced: is('~').then(|| SilencedView {
                id: "s1".to_owned(),
                by: "bob".into(),
                until: at("12:00"),
                comment: String::new(),
            }),
        }
    }

    fn told(sequence: u32, reason: Reason, alerts: &str) -> Notification {
        Notification {
            receiver: "oncall".into(),
            conversation: ConversationId(Fingerprint::of("x", &Labels::default())),
            sequence,
            reason,
            decided_at: at("05:00"),
            group: Labels::default(),
            route: "root".into(),
            body: Body::Alerts(alerts.split(' ').map(alert).collect()),
            omitted: 0,
            rollup: None,
            suppressed: Vec::new(),
        }
    }

    /// What is sent for each of a conversation's notifications: `trigger 1`, `resolve 2`.
    fn story(notifications: &[(Reason, &str)]) -> Vec<String> {
        let mut known: Option<Incident> = None;
        let mut said = Vec::new();
        for (sequence, (reason, alerts)) in (0..).zip(notifications) {
            let plan = plan(&told(sequence, *reason, alerts), known.as_ref());
            said.push(words(&plan));
            known = plan.after;
            if let Some(known) = &mut known {
                known.stale.clear();
            }
        }
        said
    }

    fn words(plan: &Plan) -> String {
        let number = |key: &str| {
            key.split_once("-page")
                .map_or("1".to_owned(), |(_, n)| n.to_owned())
        };
        let word = |event: &Event| match event {
            Event::Trigger { key, .. } => format!("trigger {}", number(key)),
            Event::Acknowledge { key } => format!("acknowledge {}", number(key)),
            Event::Resolve { key } => format!("resolve {}", number(key)),
            Event::Change => "change".to_owned(),
        };
        let replaced = plan.after.iter().flat_map(|after| &after.stale);
        let tidied = replaced.map(|key| format!("resolve {}", number(key)));
        plan.events
            .iter()
            .map(word)
            .chain(tidied)
            .collect::<Vec<_>>()
            .join(", ")
    }

    #[test]
    fn a_page_for_each_cause_and_another_only_where_pagerduty_would_be_silent() {
        use Reason::{
            Acknowledged, AllResolved, Changed, Escalated, First, Flapping, NewAlerts, Reminder,
            Silenced, SomeResolved, Upgraded,
        };
        for (what, notifications, expected) in [
            (
                "one incident from opening to end",
                vec![
                    (First, "c"),
                    (Changed, "c"),
                    (Reminder, "c"),
                    (AllResolved, "c."),
                ],
                vec!["trigger 1", "", "trigger 1", "resolve 1"],
            ),
            (
                "more of the same is added to the incident that pages already",
                vec![(First, "c"), (NewAlerts, "c c"), (SomeResolved, "c c.")],
                vec!["trigger 1", "trigger 1", ""],
            ),
            (
                "worse than what was paged pages again",
                vec![(First, "w"), (Upgraded, "c"), (AllResolved, "c.")],
                vec!["trigger 1", "trigger 2, resolve 1", "resolve 2"],
            ),
            (
                "a critical alert that joins warnings pages again",
                vec![(First, "w"), (NewAlerts, "c w")],
                vec!["trigger 1", "trigger 2, resolve 1"],
            ),
            (
                "bad again after it was only a warning pages again",
                vec![
                    (First, "c w"),
                    (SomeResolved, "w c."),
                    (NewAlerts, "c w c."),
                ],
                vec!["trigger 1", "", "trigger 2, resolve 1"],
            ),
            (
                "acknowledged, once, and quiet afterwards",
                vec![
                    (First, "c"),
                    (Acknowledged, "c!"),
                    (Changed, "c!"),
                    (AllResolved, "c.!"),
                ],
                vec!["trigger 1", "acknowledge 1", "", "resolve 1"],
            ),
            (
                "what somebody has taken on pages nobody, though it flaps",
                vec![(First, "c"), (Acknowledged, "c!"), (Flapping, "c!")],
                vec!["trigger 1", "acknowledge 1", ""],
            ),
            (
                "only one of two is acknowledged: somebody is still needed",
                vec![(First, "c c"), (Acknowledged, "c! c")],
                vec!["trigger 1", ""],
            ),
            (
                "what still fires is acknowledged",
                vec![
                    (First, "c c"),
                    (Acknowledged, "c! c"),
                    (SomeResolved, "c! c."),
                ],
                vec!["trigger 1", "", "acknowledge 1"],
            ),
            (
                "a new critical alert in an acknowledged incident pages again",
                vec![(First, "c"), (Acknowledged, "c!"), (NewAlerts, "c c!")],
                vec!["trigger 1", "acknowledge 1", "trigger 2, resolve 1"],
            ),
            (
                "a warning that joins what is acknowledged and worse wakes nobody",
                vec![(First, "c"), (Acknowledged, "c!"), (NewAlerts, "c! w")],
                vec!["trigger 1", "acknowledge 1", "trigger 1"],
            ),
            (
                "given back: nobody has it any more",
                vec![(First, "c"), (Acknowledged, "c!"), (Acknowledged, "c")],
                vec!["trigger 1", "acknowledge 1", "trigger 2, resolve 1"],
            ),
            (
                "an acknowledgement that has run out is noticed with the next reminder",
                vec![(First, "c"), (Acknowledged, "c!"), (Reminder, "c")],
                vec!["trigger 1", "acknowledge 1", "trigger 2, resolve 1"],
            ),
            (
                "silenced: nobody is paged further; over: somebody is",
                vec![(First, "c"), (Silenced, "c~"), (Silenced, "c")],
                vec!["trigger 1", "acknowledge 1", "trigger 2, resolve 1"],
            ),
            (
                "an escalation pages again, each time",
                vec![
                    (First, "c"),
                    (Escalated, "c"),
                    (Escalated, "c"),
                    (AllResolved, "c."),
                ],
                vec![
                    "trigger 1",
                    "trigger 2, resolve 1",
                    "trigger 3, resolve 2",
                    "resolve 3",
                ],
            ),
            (
                "a step of an escalation that opens it here",
                vec![(Escalated, "c"), (AllResolved, "c.")],
                vec!["trigger 1", "resolve 1"],
            ),
            (
                "over before it is told pages nobody",
                vec![(First, "c.")],
                vec!["resolve 1"],
            ),
            (
                "taken on before it is told",
                vec![(First, "c!")],
                vec!["trigger 1, acknowledge 1"],
            ),
        ] {
            assert_eq!(story(&notifications), expected, "{what}");
        }
    }

    #[test]
    fn an_ending_reaches_what_a_lost_message_may_have_opened() {
        let opened = plan(&told(0, Reason::First, "w"), None).after.unwrap();
        // The second notification was given up after an uncertain try.
        let end = plan(&told(2, Reason::AllResolved, "c."), Some(&opened));
        assert_eq!(words(&end), "resolve 1, resolve 2");
        let mut replaced = opened;
        replaced.stale = vec!["old".to_owned()];
        let end = plan(&told(1, Reason::AllResolved, "c."), Some(&replaced));
        assert_eq!(end.events.len(), 2);
        assert_eq!(end.after, None);
    }

    #[test]
    fn doing_it_again_names_the_same_incidents() {
        let opened = plan(&told(0, Reason::First, "w"), None).after.unwrap();
        let upgraded = told(1, Reason::Upgraded, "c");
        let again = [(); 2].map(|()| plan(&upgraded, Some(&opened)));
        assert_eq!(again[0], again[1]);
        let key = opened_key(&again[0]);
        assert!(key.len() <= 255 && key.ends_with("-page2"), "{key}");
    }

    fn opened_key(plan: &Plan) -> &str {
        match &plan.events[0] {
            Event::Trigger { key, .. } => key,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn digests_and_notices_page_nobody_and_what_was_not_told_does() {
        let mut digest = told(0, Reason::Digest, "c");
        assert_eq!(words(&plan(&digest, None)), "");
        digest.body = Body::Notice {
            headline: "reload refused".to_owned(),
            text: String::new(),
        };
        for (reason, expected) in [
            (Reason::Digest, ""),
            (Reason::Notice, "change"),
            (Reason::Undeliverable, "trigger 1"),
        ] {
            digest.reason = reason;
            assert_eq!(words(&plan(&digest, None)), expected, "{reason:?}");
        }
    }

    #[test]
    fn a_handle_stays_small() {
        let long = "0".repeat(70);
        let incident = Incident {
            generation: u32::MAX,
            severity: Severity::Critical,
            is_acknowledged: true,
            sequence: u32::MAX,
            stale: vec![long; STALE + 1],
        };
        assert!(incident.is_crowded());
        assert!(serde_json::to_vec(&incident).unwrap().len() <= 2_048);
    }
}
