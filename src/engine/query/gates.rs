//! The gates between a rule and a person, each with the number or the record that decided it.
//!
//! Role: one list of values for every surface. Guarantees: gates are read from what the engine holds and
//! decide nothing; each stands alone as a sentence. It does not know the store: deliveries are handed in.

mod alert;
mod told;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::super::notification::Reason;
use super::super::rule::Selectors;
use super::super::time::{Span, Timestamp, human_span, human_time};
use super::deliveries::{DeliveryRow, DeliveryState};

pub(super) use alert::{calendar_gate, of_alert, written};

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
    /// Of a step of an escalation: milliseconds after the first message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_millis: Option<i64>,
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
            after_millis: None,
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

/// Gates that a short answer shows.
const MAX_BRIEF: usize = 5;

/// The gates that matter most, for answers that have to be short: what does not let through, and who was told.
pub fn brief(gates: &[Gate]) -> Vec<&Gate> {
    let told = |gate: &&Gate| {
        let is_told = matches!(
            gate.gate,
            GateKind::Firing | GateKind::Told | GateKind::Acknowledgement
        );
        gate.is_stop() || is_told
    };
    gates.iter().filter(told).take(MAX_BRIEF).collect()
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
        if self.now.since(at) < Span::seconds(1) {
            return format!("{}, just now", self.clock(at));
        }
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

/// `1 try`, `2 tries`.
fn counted(count: u32, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
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

/// Messages that are shown beside the gates; the newest count.
const MAX_DELIVERIES: usize = 20;

/// What became of the messages about an alert, oldest first.
pub fn of_deliveries(rows: &[DeliveryRow], now: Timestamp, zone: Tz) -> Vec<Gate> {
    let words = Words { now, zone };
    let newest = rows.iter().take(MAX_DELIVERIES).rev();
    newest.map(|row| delivery_gate(row, words)).collect()
}

fn delivery_gate(row: &DeliveryRow, words: Words) -> Gate {
    let tries = |count: u32| counted(count, "try", "tries");
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
