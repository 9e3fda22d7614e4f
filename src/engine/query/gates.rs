//! The gates between a rule and a person, each with the number or the record that decided it.
//!
//! Role: one list of values for every surface. Guarantees: gates are read from what the engine holds and
//! decide nothing; each stands alone as a sentence. It does not know the store: deliveries are handed in.

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::super::Engine;
use super::super::alert::{Alert, AlertState};
use super::super::group::{Group, GroupKey};
use super::super::labels::Fingerprint;
use super::super::notification::{Reason, SuppressionReason};
use super::super::route::Route;
use super::super::rule::{Rule, Selectors};
use super::super::time::{Span, Timestamp, human_span, human_time};
use super::deliveries::{DeliveryRow, DeliveryState};
use super::routes::closes_at;

/// Which gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateKind {
    /// The rule is there, and enabled.
    Rule,
    /// The subject is there, and selected.
    Subject,
    /// Since when it is watched.
    Watched,
    /// How far is known what happened.
    Known,
    /// The subject is held, or put aside.
    Held,
    /// The rule is judged on a schedule of its own.
    Schedule,
    /// The newest run.
    Run,
    /// What the rule finds.
    Verdict,
    /// `for`.
    Hold,
    /// The rule's days and hours.
    Calendar,
    /// The alert fires.
    Firing,
    /// A person's silence.
    Silence,
    /// A person has taken it.
    Acknowledgement,
    /// A routing node handles it.
    Route,
    /// Alerts told together.
    Group,
    /// A mute window.
    Mute,
    /// Another alert keeps it quiet.
    Inhibition,
    /// `group_wait`, `group_interval`.
    Wait,
    /// A receiver was told.
    Told,
    /// What became of a message.
    Delivery,
    /// Who is told when nobody takes it.
    Escalation,
    /// When it is told again.
    Reminder,
    /// What the store recorded.
    Record,
}

impl GateKind {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Subject => "subject",
            Self::Watched => "watched",
            Self::Known => "known",
            Self::Held => "held",
            Self::Schedule => "schedule",
            Self::Run => "run",
            Self::Verdict => "verdict",
            Self::Hold => "for",
            Self::Calendar => "calendar",
            Self::Firing => "firing",
            Self::Silence => "silence",
            Self::Acknowledgement => "taken",
            Self::Route => "route",
            Self::Group => "group",
            Self::Mute => "mute",
            Self::Inhibition => "inhibited",
            Self::Wait => "wait",
            Self::Told => "told",
            Self::Delivery => "delivery",
            Self::Escalation => "escalation",
            Self::Reminder => "reminder",
            Self::Record => "recorded",
        }
    }
}

/// What a gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateState {
    /// It lets through.
    Passed,
    /// It does not.
    Stopped,
    /// Not yet.
    Waiting,
    /// It cannot be told.
    Unknown,
    /// It decides nothing; worth knowing.
    Noted,
}

/// One gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Which.
    pub gate: GateKind,
    /// What it says.
    pub state: GateState,
    /// The routing node, where it is one of several.
    pub route: Option<String>,
    /// The receiver, where it is one of several.
    pub receiver: Option<String>,
    /// In words, with the number or the record that decided it.
    pub says: String,
    /// Since when, or until when.
    pub at: Option<Timestamp>,
    /// The id of what decided it: an alert, a silence, a run, a delivery.
    pub by: Option<String>,
}

impl Gate {
    pub(super) fn new(gate: GateKind, state: GateState, says: impl Into<String>) -> Self {
        Self {
            gate,
            state,
            route: None,
            receiver: None,
            says: says.into(),
            at: None,
            by: None,
        }
    }

    pub(super) fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    pub(super) fn by(mut self, id: impl Into<String>) -> Self {
        self.by = Some(id.into());
        self
    }

    fn on(mut self, route: &str) -> Self {
        self.route = Some(route.to_owned());
        self
    }

    fn to(mut self, receiver: &str) -> Self {
        self.receiver = Some(receiver.to_owned());
        self
    }

    /// It does not let through, not yet, or cannot be told.
    pub fn is_stop(&self) -> bool {
        match self.state {
            GateState::Stopped | GateState::Waiting | GateState::Unknown => true,
            GateState::Passed | GateState::Noted => false,
        }
    }
}

/// Instants for people.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    pub now: Timestamp,
    pub zone: Tz,
}

impl Words {
    /// `07:00 CET`.
    pub(super) fn clock(self, at: Timestamp) -> String {
        human_time(at, self.now, self.zone)
    }

    /// `07:00 CET, 3 h ago`.
    pub(super) fn ago(self, at: Timestamp) -> String {
        format!("{}, {} ago", self.clock(at), human_span(self.now.since(at)))
    }

    /// `07:00 CET, in 3 min`; `now` when it is.
    pub(super) fn ahead(self, at: Timestamp) -> String {
        if at == Timestamp::MAX {
            "never".to_owned()
        } else if at <= self.now {
            "now".to_owned()
        } else {
            format!("{}, in {}", self.clock(at), human_span(at.since(self.now)))
        }
    }
}

/// What selectors ask for: `job = "fin*"`; empty: everything.
pub(super) fn selectors(selectors: &Selectors) -> String {
    let all = [
        ("project", &selectors.project),
        ("environment", &selectors.environment),
        ("job", &selectors.job),
        ("model", &selectors.model),
        ("job_type", &selectors.job_type),
        ("triggered_by", &selectors.triggered_by),
    ];
    let written = all.iter().filter(|(_, patterns)| !patterns.is_any());
    let texts = written.map(|(key, patterns)| {
        let globs = patterns.texts();
        let globs: Vec<String> = globs.iter().map(|glob| format!("{glob:?}")).collect();
        match globs.as_slice() {
            [one] => format!("{key} = {one}"),
            several => format!("{key} = [{}]", several.join(", ")),
        }
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// From the verdict of an alert to its reminders.
pub(super) fn of_alert(engine: &Engine, alert: &Alert, now: Timestamp) -> Vec<Gate> {
    let words = Words {
        now,
        zone: engine.policy().zone,
    };
    let rule = engine.rule(&alert.rule);
    let mut gates = vec![rule_gate(alert, rule), subject_gate(alert, rule)];
    gates.push(verdict_gate(alert, words));
    gates.extend(rule.map(|rule| hold_gate(alert, rule, words)));
    gates.extend(rule.and_then(|rule| calendar_gate(rule, alert.began_at, alert.fired_at, words)));
    gates.push(firing_gate(alert, words));
    gates.extend(of_routes(engine, alert, words));
    gates
}

fn rule_gate(alert: &Alert, rule: Option<&Rule>) -> Gate {
    match rule {
        Some(rule) => Gate::new(
            GateKind::Rule,
            GateState::Passed,
            format!(
                "`{}` ({}) is in force, written in {}",
                rule.name, alert.kind, rule.origin
            ),
        ),
        None => Gate::new(
            GateKind::Rule,
            GateState::Stopped,
            format!("`{}` is not in the configuration any more", alert.rule),
        ),
    }
}

fn subject_gate(alert: &Alert, rule: Option<&Rule>) -> Gate {
    let asked = rule.map_or(String::new(), |rule| selectors(&rule.selectors));
    let says = if asked.is_empty() {
        format!("{}: the rule selects everything", alert.identity)
    } else {
        format!("{}: selected by {asked}", alert.identity)
    };
    Gate::new(GateKind::Subject, GateState::Passed, says)
}

fn verdict_gate(alert: &Alert, words: Words) -> Gate {
    let already = if alert.is_already_so {
        ", and so already when watching began"
    } else {
        ""
    };
    let says = format!(
        "{}; so since {}{already}",
        alert.headline(),
        words.ago(alert.began_at)
    );
    let gate = Gate::new(GateKind::Verdict, GateState::Passed, says).at(alert.began_at);
    match &alert.evidence.run_id {
        Some(run) => gate.by(run.to_string()),
        None => gate,
    }
}

fn hold_gate(alert: &Alert, rule: &Rule, words: Words) -> Gate {
    let over_at = alert.began_at + rule.hold;
    if rule.hold == Span::zero() {
        return Gate::new(
            GateKind::Hold,
            GateState::Passed,
            "no `for`: it fires at once",
        );
    }
    let hold = human_span(rule.hold);
    let (state, says) = match alert.state {
        AlertState::Pending if words.now < over_at => (
            GateState::Waiting,
            format!("`for` = {hold} is over at {}", words.ahead(over_at)),
        ),
        _ => (
            GateState::Passed,
            format!("`for` = {hold} was over at {}", words.clock(over_at)),
        ),
    };
    Gate::new(GateKind::Hold, state, says).at(over_at)
}

/// The rule's days and hours for a breach that began at `began_at`.
pub(super) fn calendar_gate(
    rule: &Rule,
    began_at: Timestamp,
    fired_at: Option<Timestamp>,
    words: Words,
) -> Option<Gate> {
    let calendar = rule.calendar.as_ref()?;
    let name = &calendar.name;
    if rule.kind.counts_by_calendar() {
        let says = format!("`{name}` counts in the verdict: it holds nothing back here");
        return Some(Gate::new(GateKind::Calendar, GateState::Noted, says));
    }
    let opens_at = rule.fires_at(began_at);
    let (state, says, at) = match fired_at {
        Some(at) => (
            GateState::Passed,
            format!("`{name}` was open at {}", words.clock(at)),
            at,
        ),
        None if opens_at > words.now && !calendar.is_open(words.now) => (
            GateState::Waiting,
            format!("`{name}` is closed until {}", words.ahead(opens_at)),
            opens_at,
        ),
        None => {
            let closes_at = closes_at(calendar, words.now);
            let says = format!("`{name}` is open until {}", words.ahead(closes_at));
            (GateState::Passed, says, closes_at)
        }
    };
    Some(Gate::new(GateKind::Calendar, state, says).at(at))
}

fn firing_gate(alert: &Alert, words: Words) -> Gate {
    let (state, says, at) = match (alert.state, alert.fired_at, alert.ended_at) {
        (AlertState::Resolved, _, Some(at)) => (
            GateState::Noted,
            format!(
                "over since {}: {}",
                words.ago(at),
                alert.view(false).headline
            ),
            Some(at),
        ),
        (_, Some(at), _) => {
            let says = format!("firing since {}", words.ago(at));
            (GateState::Passed, says, Some(at))
        }
        (_, None, _) => {
            let says = "pending: nobody is told before it fires".to_owned();
            (GateState::Waiting, says, None)
        }
    };
    let gate = Gate::new(GateKind::Firing, state, says).by(alert.id());
    Gate { at, ..gate }
}

/// Everything after firing.
fn of_routes(engine: &Engine, alert: &Alert, words: Words) -> Vec<Gate> {
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
    match of_alert {
        Some(silence) => Gate::new(
            GateKind::Silence,
            GateState::Stopped,
            format!(
                "silenced by {} until {} ({}): {}",
                silence.by,
                words.ahead(silence.ends_at),
                silence.id,
                silence.comment
            ),
        )
        .at(silence.ends_at)
        .by(silence.id.clone()),
        None => {
            let says = match active().count() {
                0 => "no silence is in force".to_owned(),
                count => format!("none of {count} silences in force matches"),
            };
            Gate::new(GateKind::Silence, GateState::Passed, says)
        }
    }
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
    gates.extend(told_before(alert.fingerprint, &route, group, words));
    gates.extend(escalation_gates(alert, &route, words));
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
    let next = |mute: &super::super::calendar::Calendar| mute.next_open(words.now);
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
    receiver: &super::super::observation::Name,
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
                "told {}; {} messages, last ping {}",
                told.severity.as_str(),
                known.next_sequence,
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

/// Receivers that were told and are not of the route any more: they hear of the end.
fn told_before(
    print: Fingerprint,
    route: &Route,
    group: Option<&Group>,
    words: Words,
) -> Vec<Gate> {
    let known = group.into_iter().flat_map(|group| &group.conversations);
    let told = known.filter(|(receiver, known)| {
        !route.receivers.contains(receiver) && known.told.contains_key(&print)
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

/// What the configuration says of escalation. Which steps ran is in the deliveries.
fn escalation_gates(alert: &Alert, route: &Route, words: Words) -> Vec<Gate> {
    if alert.state != AlertState::Firing {
        return Vec::new();
    }
    let acknowledged = alert.acknowledged.as_ref();
    let is_taken = acknowledged.is_some_and(|known| known.until > words.now);
    let steps = route.escalate.iter().map(|step| {
        let (receivers, after) = (step.receivers.join(", "), human_span(step.after));
        if is_taken {
            let says = format!("{receivers} after {after}: waits, because somebody has taken it");
            Gate::new(GateKind::Escalation, GateState::Stopped, says)
        } else {
            let says = format!("{receivers} {after} after the first message, unless it is taken");
            Gate::new(GateKind::Escalation, GateState::Noted, says)
        }
    });
    steps.collect()
}

fn reminder_gate(
    alert: &Alert,
    route: &Route,
    group: Option<&Group>,
    words: Words,
) -> Option<Gate> {
    let is_firing = alert.state == AlertState::Firing;
    let known = group.filter(|_| is_firing)?.conversations.iter();
    let pinged = known
        .filter(|(receiver, known)| {
            route.receivers.contains(receiver) && known.told.contains_key(&alert.fingerprint)
        })
        .map(|(_, known)| known.pinged_at);
    let at = pinged.min()? + route.repeat_interval;
    let every = human_span(route.repeat_interval);
    let says = format!("`repeat_interval` = {every}: due {}", words.ahead(at));
    Some(Gate::new(GateKind::Reminder, GateState::Noted, says).at(at))
}

/// Messages that are shown beside the gates; the newest count.
const MAX_DELIVERIES: usize = 20;

/// What became of the messages about an alert, oldest first.
pub fn of_deliveries(rows: &[DeliveryRow], now: Timestamp, zone: Tz) -> Vec<Gate> {
    let words = Words { now, zone };
    let newest = rows.iter().take(MAX_DELIVERIES).rev();
    newest.map(|row| delivery_gate(row, words)).collect()
}

fn delivery_gate(row: &DeliveryRow, words: Words) -> Gate {
    let tries = |count: u32| match count {
        1 => "1 try".to_owned(),
        count => format!("{count} tries"),
    };
    let kind = if row.reason == Reason::Escalated {
        GateKind::Escalation
    } else {
        GateKind::Delivery
    };
    let (state, mut says) = match (row.state, row.settled_at) {
        (DeliveryState::Delivered, Some(at)) => {
            let took = human_span(at.since(row.decided_at));
            let says = format!("delivered {took} later, {}", tries(row.attempts));
            (GateState::Passed, says)
        }
        (DeliveryState::Waiting, _) | (_, None) if row.attempts == 0 => (
            GateState::Waiting,
            "waits in the outbox, not tried yet".to_owned(),
        ),
        (DeliveryState::Waiting, _) | (_, None) => {
            let next = row.next_attempt_at;
            let next = next.map_or(String::new(), |at| format!(", next {}", words.ahead(at)));
            (
                GateState::Waiting,
                format!("waits after {}{next}", tries(row.attempts)),
            )
        }
        (DeliveryState::Rejected, Some(at)) => (
            GateState::Stopped,
            format!("refused for good at {}", words.clock(at)),
        ),
        (DeliveryState::Dead, Some(at)) => {
            let says = format!(
                "given up at {} after {}",
                words.clock(at),
                tries(row.attempts)
            );
            (GateState::Stopped, says)
        }
    };
    if let Some(why) = row.why.as_ref().filter(|_| state != GateState::Passed) {
        says = format!("{says}: {why}");
    }
    for told in &row.instead {
        let (at, what) = (words.clock(told.at), told.state.as_str());
        says = format!("{says}; {} was told of it at {at} ({what})", told.receiver);
    }
    let head = format!(
        "message {} ({}) of {}",
        row.sequence + 1,
        row.reason.as_str(),
        words.clock(row.decided_at)
    );
    let gate = Gate::new(kind, state, format!("{head}: {says}"))
        .at(row.settled_at.unwrap_or(row.decided_at))
        .by(row.id.clone())
        .to(&row.receiver);
    if row.route.is_empty() {
        gate
    } else {
        gate.on(&row.route)
    }
}
