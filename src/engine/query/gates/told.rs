//! From an alert that fires to the people who are told.

use super::super::super::Engine;
use super::super::super::alert::{Alert, AlertState};
use super::super::super::calendar::Calendar;
use super::super::super::group::{Group, GroupKey};
use super::super::super::labels::Fingerprint;
use super::super::super::notification::SuppressionReason;
use super::super::super::observation::Name;
use super::super::super::route::{EscalationStep, Route};
use super::super::super::time::human_span;
use super::super::routes::closes_at;
use super::{Gate, GateKind, GateState, Words, counted};

/// Everything after firing.
pub(super) fn of_routes(engine: &Engine, alert: &Alert, words: Words) -> Vec<Gate> {
    let mut gates = vec![silence_gate(engine, alert, words)];
    gates.extend(acknowledgement_gate(alert, words));
    let mut keys = engine.group_keys(alert);
    let known = engine.memberships.get(&alert.fingerprint);
    keys.extend(known.into_iter().flatten().cloned());
    for key in &keys {
        gates.extend(of_group(engine, alert, key, words));
    }
    gates
}

fn silence_gate(engine: &Engine, alert: &Alert, words: Words) -> Gate {
    let active = || engine.silences().filter(|known| known.is_active(words.now));
    let of_alert = active().find(|silence| silence.is_match(&alert.labels));
    if let Some(silence) = of_alert {
        let says = format!(
            "silenced by {} until {} ({}): {}",
            silence.by,
            words.ahead(silence.ends_at),
            silence.id,
            silence.comment
        );
        let gate = Gate::new(GateKind::Silence, GateState::Stopped, says);
        return gate.at(silence.ends_at).by(silence.id.clone());
    }
    let says = match active().count() {
        0 => "no silence is in force".to_owned(),
        1 => "the silence in force does not match".to_owned(),
        count => format!("none of {count} silences in force matches"),
    };
    Gate::new(GateKind::Silence, GateState::Passed, says)
}

fn acknowledgement_gate(alert: &Alert, words: Words) -> Option<Gate> {
    let known = alert.acknowledged.as_ref()?;
    let comment = known.comment.as_ref();
    let comment = comment.map_or(String::new(), |text| format!(": {text}"));
    let says = format!(
        "taken by {} at {}, until {}{comment}; reminders and escalation wait",
        known.by,
        words.clock(known.at),
        words.ahead(known.until)
    );
    let gate = Gate::new(GateKind::Acknowledgement, GateState::Noted, says);
    Some(gate.at(known.until).by(known.by.to_string()))
}

/// The gates of one group: a routing node and the alerts that are told together there.
fn of_group(engine: &Engine, alert: &Alert, key: &GroupKey, words: Words) -> Vec<Gate> {
    let route = engine.route_of(key);
    let group = engine.groups.get(key);
    let mut gates = vec![
        route_gate(engine, &route),
        group_gate(engine, alert, key, group),
    ];
    gates.extend(mute_gate(&route, words));
    gates.extend(inhibition_gate(engine, alert.fingerprint, group));
    gates.extend(wait_gate(alert, &route, group, words));
    for receiver in &route.receivers {
        gates.push(told_gate(engine, alert, group, receiver, words));
    }
    let escalated = group.into_iter().flat_map(|group| group.escalated(&route));
    for receiver in escalated.filter(|name| !route.receivers.contains(name)) {
        let mut gate = told_gate(engine, alert, group, receiver, words);
        gate.says = format!("{}; hears all since the escalation", gate.says);
        gates.push(gate);
    }
    gates.extend(told_before(alert.fingerprint, &route, group, words));
    gates.extend(escalation_gates(alert, &route, group, words));
    gates.extend(reminder_gate(alert, &route, group, words));
    let place = |gate: Gate| gate.on(&key.route);
    gates.into_iter().map(place).collect()
}

fn route_gate(engine: &Engine, route: &Route) -> Gate {
    let root = &engine.policy().route;
    let (state, how) = if let Some(rule) = route.path.strip_prefix("rule:") {
        let says = format!("rule `{rule}` has receivers of its own");
        (GateState::Passed, says)
    } else if route.path == root.path {
        let says = "no node below the root fits".to_owned();
        (GateState::Passed, says)
    } else {
        let mut matched = Vec::new();
        collect_matchers(root, &route.path, &mut matched);
        if matched.is_empty() {
            let says = "the node is not in the configuration any more".to_owned();
            (GateState::Stopped, says)
        } else {
            matched.reverse();
            (
                GateState::Passed,
                format!("matched by {}", matched.join(", ")),
            )
        }
    };
    let receivers = match route.receivers.as_slice() {
        [] => "nobody is told of what is new".to_owned(),
        names => format!("tells {}", names.join(", ")),
    };
    Gate::new(GateKind::Route, state, format!("{how}; {receivers}"))
}

/// Matchers on the way to a node, the nearest first; true when it is below.
fn collect_matchers(route: &Route, path: &str, matched: &mut Vec<String>) -> bool {
    let mut children = route.children.iter();
    let is_below =
        &*route.path == path || children.any(|child| collect_matchers(child, path, matched));
    if is_below {
        matched.extend(route.matchers.iter().rev().map(ToString::to_string));
        if &*route.path == path && matched.is_empty() {
            matched.push("everything".to_owned());
        }
    }
    is_below
}

fn group_gate(engine: &Engine, alert: &Alert, key: &GroupKey, group: Option<&Group>) -> Gate {
    let labels = if key.labels.iter().next().is_none() {
        "everything together".to_owned()
    } else {
        key.labels.to_string()
    };
    let others = group.map_or(0, |group| {
        let others = group.members.iter();
        let others = others.filter(|print| **print != alert.fingerprint);
        others
            .filter(|print| engine.alerts.contains_key(print))
            .count()
    });
    let others = match others {
        0 => "alone".to_owned(),
        1 => "with 1 other alert".to_owned(),
        count => format!("with {count} other alerts"),
    };
    Gate::new(
        GateKind::Group,
        GateState::Passed,
        format!("{labels}, {others}"),
    )
}

fn mute_gate(route: &Route, words: Words) -> Option<Gate> {
    let open = route.mute.iter().find(|mute| mute.is_open(words.now));
    if let Some(mute) = open {
        let until = closes_at(mute, words.now);
        let says = format!("muted by `{}` until {}", mute.name, words.ahead(until));
        let gate = Gate::new(GateKind::Mute, GateState::Stopped, says);
        return Some(gate.at(until).by(mute.name.to_string()));
    }
    let next = |mute: &Calendar| mute.next_open(words.now);
    let mute = route.mute.iter().min_by_key(|mute| next(mute))?;
    let at = next(mute);
    let says = format!("not muted; `{}` begins {}", mute.name, words.ahead(at));
    Some(Gate::new(GateKind::Mute, GateState::Passed, says).at(at))
}

fn inhibition_gate(engine: &Engine, print: Fingerprint, group: Option<&Group>) -> Option<Gate> {
    let reason = group?.reasons.get(&print)?;
    let SuppressionReason::Inhibited(id) = reason else {
        return None;
    };
    let other = engine.alerts().find(|alert| alert.id() == *id);
    let says = match other {
        Some(other) => format!("kept quiet by {id}, which is told: {}", other.headline()),
        None => format!("kept quiet by {id}"),
    };
    Some(Gate::new(GateKind::Inhibition, GateState::Stopped, says).by(id.clone()))
}

fn wait_gate(alert: &Alert, route: &Route, group: Option<&Group>, words: Words) -> Option<Gate> {
    if alert.state != AlertState::Firing {
        return None;
    }
    let group = group?;
    let is_told = group
        .conversations
        .values()
        .any(|known| known.told.contains_key(&alert.fingerprint));
    let released_at = group.released.get(&alert.fingerprint).copied();
    let due_at = released_at.or(group.due_at);
    let what = match (released_at, group.told_at) {
        (Some(_), _) => "it is quiet no more, and waits as if it had fired then".to_owned(),
        (None, None) => format!("`group_wait` = {}", human_span(route.group_wait)),
        (None, Some(_)) => format!("`group_interval` = {}", human_span(route.group_interval)),
    };
    if is_told {
        let says = format!("{what}, over");
        return Some(Gate::new(GateKind::Wait, GateState::Passed, says));
    }
    let due_at = due_at.filter(|at| *at > words.now)?;
    let says = format!("{what}: until {}", words.ahead(due_at));
    Some(Gate::new(GateKind::Wait, GateState::Waiting, says).at(due_at))
}

fn told_gate(
    engine: &Engine,
    alert: &Alert,
    group: Option<&Group>,
    receiver: &Name,
    words: Words,
) -> Gate {
    let conversation = group.and_then(|group| group.conversations.get(receiver));
    let told = conversation.and_then(|known| Some((known, known.told.get(&alert.fingerprint)?)));
    let gate = match told {
        Some((known, told)) if told.is_ended => Gate::new(
            GateKind::Told,
            GateState::Passed,
            format!(
                "told, and told of its end; {} messages",
                known.next_sequence
            ),
        ),
        Some((known, told)) => Gate::new(
            GateKind::Told,
            GateState::Passed,
            format!(
                "told {}; {}, last ping {}",
                told.severity.as_str(),
                messages(known.next_sequence),
                words.ago(known.pinged_at)
            ),
        )
        .at(known.pinged_at),
        None if alert.identity.get("receiver") == &**receiver => Gate::new(
            GateKind::Told,
            GateState::Stopped,
            "a receiver is not told that it cannot be reached itself",
        ),
        None if engine.is_told_elsewhere(receiver, alert.fingerprint) => Gate::new(
            GateKind::Told,
            GateState::Noted,
            "hears of it in another conversation already",
        ),
        None => Gate::new(GateKind::Told, GateState::Waiting, "not told yet"),
    };
    gate.to(receiver)
}

fn messages(count: u32) -> String {
    counted(count, "message", "messages")
}

/// Receivers that were told, and hear what is new no more, neither by the route nor by its escalation: they
/// hear of the end.
fn told_before(
    print: Fingerprint,
    route: &Route,
    group: Option<&Group>,
    words: Words,
) -> Vec<Gate> {
    let known = group.into_iter().flat_map(|group| &group.conversations);
    let told = known.filter(|(receiver, known)| {
        let is_routed = group.is_some_and(|group| group.is_routed(receiver, route));
        !is_routed && known.told.contains_key(&print)
    });
    let gates = told.map(|(receiver, known)| {
        let says = format!(
            "told, last ping {}; it is not of this route, and hears of the end",
            words.ago(known.pinged_at)
        );
        let gate = Gate::new(GateKind::Told, GateState::Passed, says);
        gate.at(known.pinged_at).to(receiver)
    });
    gates.collect()
}

/// The steps of an escalation: what ran, when the next ones are due, and what holds them.
fn escalation_gates(
    alert: &Alert,
    route: &Route,
    group: Option<&Group>,
    words: Words,
) -> Vec<Gate> {
    if alert.state != AlertState::Firing {
        return Vec::new();
    }
    let steps = route.escalate.iter();
    steps
        .map(|step| escalation_gate(alert, step, group, words))
        .collect()
}

fn escalation_gate(
    alert: &Alert,
    step: &EscalationStep,
    group: Option<&Group>,
    words: Words,
) -> Gate {
    let (receivers, after) = (step.receivers.join(", "), human_span(step.after));
    let millis = step.after.num_milliseconds();
    let known = group.map(|group| &group.escalation);
    let noted = |says: String| Gate {
        after_millis: Some(millis),
        ..Gate::new(GateKind::Escalation, GateState::Noted, says)
    };
    let is_taken = known.is_some_and(|known| known.taken_millis >= Some(millis));
    let Some((known, since)) = known.and_then(|known| Some((known, known.since?))) else {
        return noted(format!(
            "{receivers} {after} after the first message, unless it is taken"
        ));
    };
    if is_taken {
        let mut names = step.receivers.iter();
        return if names.all(|name| known.receivers.contains(name)) {
            let says = format!("{receivers} after {after}: told, because nobody had taken it");
            Gate {
                state: GateState::Passed,
                ..noted(says)
            }
        } else {
            let says = format!("{receivers} after {after}: not told any more, later steps were");
            noted(says)
        };
    }
    if known.is_held {
        return noted(format!(
            "{receivers} after {after}: waits, because all that fires is taken or kept quiet; it counts \
             anew when that is over"
        ));
    }
    let due_at = since + step.after;
    let due = if due_at > words.now {
        format!("due {}", words.ahead(due_at))
    } else {
        format!("was due {}", words.ago(due_at))
    };
    let is_quiet = group.is_some_and(|group| group.reasons.contains_key(&alert.fingerprint));
    let is_own = alert.acknowledged.is_none() && !is_quiet;
    let whom = if is_own {
        "unless it is taken"
    } else {
        "because other alerts of the group fire and are not taken"
    };
    let from = words.clock(since);
    noted(format!("{receivers} {after} after {from}, {whom}: {due}")).at(due_at)
}

fn reminder_gate(
    alert: &Alert,
    route: &Route,
    group: Option<&Group>,
    words: Words,
) -> Option<Gate> {
    let is_firing = alert.state == AlertState::Firing;
    let group = group.filter(|_| is_firing)?;
    let known = group.conversations.iter();
    let pinged = known
        .filter(|(receiver, known)| {
            group.is_routed(receiver, route) && known.told.contains_key(&alert.fingerprint)
        })
        .map(|(_, known)| known.pinged_at);
    let at = pinged.min()? + route.repeat_interval;
    let every = human_span(route.repeat_interval);
    let says = format!("`repeat_interval` = {every}: due {}", words.ahead(at));
    Some(Gate::new(GateKind::Reminder, GateState::Noted, says).at(at))
}
