//! The routing tree, as it is and as it handles an alert that is described by its labels. Pure.
//!
//! Guarantees: which nodes handle is decided by the very function that routes alerts ([`Route::find`]); the
//! reasons beside it are made from the same matchers. It does not know whether a receiver can be reached.

mod trial;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::super::calendar::Calendar;
use super::super::observation::Name;
use super::super::policy::Policy;
use super::super::route::Route;
use super::super::time::Timestamp;

pub use trial::{
    Hearer, LabelsError, NodeFate, NodeTrial, QuietBy, QuietNow, RouteTrial, WhenTold,
    parse_labels, parse_matchers, quiet_now, route_trial,
};

/// The whole tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoutesAnswer {
    /// When this was asked.
    pub asked_at: Timestamp,
    /// The root, with its children.
    pub root: RouteNode,
    /// Rules with receivers of their own: each is a node beside the tree.
    pub rules: Vec<RouteNode>,
    /// Told what a receiver could not be told. Empty: the receivers of the root are.
    pub fallback: Vec<Name>,
    /// Receivers that are configured and that nothing reaches.
    pub unreached: Vec<Name>,
}

/// A node of the tree, complete after inheritance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteNode {
    /// Path from the root, `root/pages`.
    pub path: Name,
    /// All must match.
    pub matchers: Vec<String>,
    /// Who is told.
    pub receivers: Vec<Name>,
    /// Labels whose values make a group.
    pub group_by: Vec<Name>,
    /// Milliseconds from the first alert of a group to its first message.
    pub group_wait_millis: i64,
    /// Least milliseconds between two messages of a group.
    pub group_interval_millis: i64,
    /// Milliseconds between reminders.
    pub repeat_interval_millis: i64,
    /// Windows in which nothing new is announced.
    pub mute: Vec<WindowNow>,
    /// Who is told when nobody takes it.
    pub escalate: Vec<EscalationWhy>,
    /// Later siblings are asked as well.
    pub is_continue: bool,
    /// Keys that are as in the node above (of the root: as by default).
    pub inherited: Vec<String>,
    /// Nodes below.
    pub children: Vec<RouteNode>,
}

/// A window or calendar, and whether it is open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowNow {
    /// Its name.
    pub name: Name,
    /// It is open now.
    pub is_open: bool,
    /// When that changes; `None`: never.
    pub changes_at: Option<Timestamp>,
}

/// One step of an escalation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EscalationWhy {
    /// Milliseconds after the first message.
    pub after_millis: i64,
    /// Who is told then.
    pub receivers: Vec<Name>,
}

impl WindowNow {
    /// A window at an instant.
    pub fn of(calendar: &Calendar, now: Timestamp) -> Self {
        let is_open = calendar.is_open(now);
        let changes_at = if is_open {
            closes_at(calendar, now)
        } else {
            calendar.next_open(now)
        };
        Self {
            name: calendar.name.clone(),
            is_open,
            changes_at: (changes_at < Timestamp::MAX).then_some(changes_at),
        }
    }
}

/// Edges passed in search of the end of what is open: a window may be open over many days.
const MAX_EDGES: usize = 1_000;

/// When a calendar that is open closes; [`Timestamp::MAX`]: not within the edges that are looked at.
pub(in super::super) fn closes_at(calendar: &Calendar, now: Timestamp) -> Timestamp {
    let mut at = now;
    for _ in 0..MAX_EDGES {
        at = calendar.next_edge(at);
        if at == Timestamp::MAX || !calendar.is_open(at) {
            return at;
        }
    }
    Timestamp::MAX
}

/// Draws the tree of a policy. `receivers` are all that are configured, `elsewhere` those that something else
/// than routing tells.
pub fn routes(
    policy: &Policy,
    receivers: &[Name],
    elsewhere: &[Name],
    now: Timestamp,
) -> RoutesAnswer {
    let default = Route::root(Vec::new());
    let own = policy.rules.iter().filter_map(|rule| {
        let receivers = rule.receivers.clone()?;
        let route = policy.rule_route(&rule.name, receivers);
        Some(node(&route, &policy.route, now))
    });
    let rules: Vec<RouteNode> = own.collect();
    let root = node(&policy.route, &default, now);
    let mut reached: BTreeSet<&Name> = policy.fallback.iter().chain(elsewhere).collect();
    reach(&root, &mut reached);
    for rule in &rules {
        reach(rule, &mut reached);
    }
    let unreached = receivers.iter().filter(|name| !reached.contains(name));
    RoutesAnswer {
        asked_at: now,
        unreached: unreached.cloned().collect(),
        root,
        rules,
        fallback: policy.fallback.clone(),
    }
}

fn reach<'a>(node: &'a RouteNode, reached: &mut BTreeSet<&'a Name>) {
    reached.extend(&node.receivers);
    reached.extend(node.escalate.iter().flat_map(|step| &step.receivers));
    for child in &node.children {
        reach(child, reached);
    }
}

fn node(route: &Route, above: &Route, now: Timestamp) -> RouteNode {
    let keys = [
        ("receivers", route.receivers == above.receivers),
        ("group_by", route.group_by == above.group_by),
        ("group_wait", route.group_wait == above.group_wait),
        (
            "group_interval",
            route.group_interval == above.group_interval,
        ),
        (
            "repeat_interval",
            route.repeat_interval == above.repeat_interval,
        ),
        ("mute", route.mute == above.mute),
    ];
    let inherited = keys.iter().filter(|(_, is_same)| *is_same);
    RouteNode {
        path: route.path.clone(),
        matchers: route.matchers.iter().map(ToString::to_string).collect(),
        receivers: route.receivers.clone(),
        group_by: route.group_by.clone(),
        group_wait_millis: route.group_wait.num_milliseconds(),
        group_interval_millis: route.group_interval.num_milliseconds(),
        repeat_interval_millis: route.repeat_interval.num_milliseconds(),
        mute: windows(route, now),
        escalate: escalation(route),
        is_continue: route.is_continue,
        inherited: inherited.map(|(key, _)| (*key).to_owned()).collect(),
        children: route
            .children
            .iter()
            .map(|child| node(child, route, now))
            .collect(),
    }
}

fn windows(route: &Route, now: Timestamp) -> Vec<WindowNow> {
    let windows = route.mute.iter();
    windows
        .map(|calendar| WindowNow::of(calendar, now))
        .collect()
}

fn escalation(route: &Route) -> Vec<EscalationWhy> {
    let steps = route.escalate.iter().map(|step| EscalationWhy {
        after_millis: step.after.num_milliseconds(),
        receivers: step.receivers.clone(),
    });
    steps.collect()
}
