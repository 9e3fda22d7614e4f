//! Why a rule says nothing about a subject, now or at an instant that has passed: every gate between them.
//!
//! Role: names what is meant, then reads the gates in order; the first that does not let through is the
//! answer, and those after it are shown as far as they are known. Guarantees: pure; the verdict is that of the
//! rule itself, which looks at the last weeks anew. Of the past only what the history of runs shows can be
//! told; what cannot be put together again is said in the answer. Records of the store are filled in by
//! whoever asks.

mod judged;
mod past;
mod subjects;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::super::Engine;
use super::super::acting::Near;
use super::super::alert::{AlertState, Transition};
use super::super::labels::Labels;
use super::super::rule::{Rule, Setting};
use super::super::subject::SubjectKey;
use super::super::time::{Timestamp, human_span};
use super::deliveries::{DeliveryRow, DeliveryState};
use super::gates::{Gate, GateKind, GateState, Words};
use super::near_names;
use super::when::parse_when;
pub use past::Playing;
use subjects::Found;

/// A question: why did this rule not tell of this subject?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyNotQuestion {
    /// The rule's name.
    pub rule: String,
    /// `job`, `project/job`, `project/job/model`, or a glob.
    pub subject: String,
    /// An instant that has passed, as [`parse_when`] reads it; `None`: now.
    pub at: Option<String>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyNotAnswer {
    /// Gate by gate.
    Explained(Box<WhyNot>),
    /// Several subjects are meant.
    Several {
        /// The rule.
        rule: String,
        /// Some of them.
        subjects: Vec<WhyNotSubject>,
        /// How many more there are.
        more: usize,
    },
    /// There is no such rule, subject or time; says what to write instead.
    Unknown(String),
}

/// A subject that may be meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyNotSubject {
    /// How to name it.
    pub name: String,
    /// The rule selects it.
    pub is_selected: bool,
    /// The rule has an open alert about it.
    pub is_open: bool,
}

/// Why a rule says nothing about a subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhyNot {
    /// The rule.
    pub rule: String,
    /// Its kind.
    pub kind: String,
    /// Where it is written.
    pub origin: String,
    /// Its keys, and where each value comes from.
    pub settings: Vec<Setting>,
    /// The subject, for people.
    pub name: String,
    /// The subject's labels.
    pub subject: Labels,
    /// When this was asked.
    pub asked_at: Timestamp,
    /// As of when it is answered.
    pub at: Timestamp,
    /// It is about an instant that has passed.
    pub is_past: bool,
    /// The answer in one line.
    pub headline: String,
    /// Every gate, in order.
    pub gates: Vec<Gate>,
    /// Alerts of the rule about the subject that are open.
    pub alerts: Vec<Near>,
    /// Changes of state that are recorded around that instant, oldest first.
    pub recorded: Vec<Transition>,
    /// Messages about those alerts, newest first.
    pub deliveries: Vec<DeliveryRow>,
    /// What cannot be told.
    pub limits: Vec<String>,
    /// Zone of times in words.
    pub zone: Tz,
}

impl WhyNot {
    /// The first gate that does not let through.
    pub fn stop(&self) -> Option<&Gate> {
        self.gates.iter().find(|gate| gate.is_stop())
    }

    /// Says the answer in one line, from the gates as they are.
    pub fn sum_up(&mut self) {
        let words = Words {
            now: self.asked_at,
            zone: self.zone,
        };
        let mut told = self.deliveries.iter().filter(|row| {
            row.settled_at.is_some_and(|at| at <= self.at) && row.state == DeliveryState::Delivered
        });
        let told = told.next().map(|row| {
            let at = words.clock(row.settled_at.unwrap_or(row.decided_at));
            format!("{} was told at {at}: {}", row.receiver, row.headline)
        });
        let stop = self.stop().map(|gate| {
            let route = gate.route.as_ref();
            let route = route.map_or(String::new(), |route| format!(" ({route})"));
            format!("stops at {}{route}: {}", gate.gate.as_str(), gate.says)
        });
        self.headline = match (stop, told, self.alerts.first()) {
            (Some(stop), None, _) => stop,
            (Some(stop), Some(told), _) => format!("{stop}; the newest message before: {told}"),
            (None, Some(told), _) => format!("nothing stops it: {told}"),
            (None, None, Some(alert)) => format!("nothing stops it: alert {} is open", alert.id),
            (None, None, None) => "nothing stops it".to_owned(),
        };
    }
}

/// Subjects listed when several are meant.
const MAX_SUBJECTS: usize = 10;

/// An answer, as far as the engine is needed for it.
pub enum PreparedWhyNot {
    /// It is whole.
    Answered(WhyNotAnswer),
    /// The time before the instant is still to be played, from a copy of what was known.
    Played(Box<Playing>),
}

impl PreparedWhyNot {
    /// The answer; of an instant that has passed after a while, in which the engine is not needed.
    pub fn answer(self) -> WhyNotAnswer {
        match self {
            Self::Answered(answer) => answer,
            Self::Played(playing) => explained(playing.play()),
        }
    }
}

/// Explains why a rule says nothing about a subject.
pub fn why_not(engine: &Engine, question: &WhyNotQuestion, now: Timestamp) -> WhyNotAnswer {
    prepare_why_not(engine, question, now).answer()
}

/// Copies what the answer needs from the engine, which goes on meanwhile; plays nothing.
pub fn prepare_why_not(
    engine: &Engine,
    question: &WhyNotQuestion,
    now: Timestamp,
) -> PreparedWhyNot {
    match asked(engine, question, now) {
        Err(answer) => PreparedWhyNot::Answered(answer),
        Ok((rule, subject, answer)) if answer.is_past => {
            PreparedWhyNot::Played(Box::new(Playing::new(engine, rule, subject, answer)))
        }
        Ok((rule, subject, mut answer)) => {
            judged::explain(engine, rule, &subject, None, &mut answer);
            PreparedWhyNot::Answered(explained(answer))
        }
    }
}

fn explained(mut answer: WhyNot) -> WhyNotAnswer {
    answer.sum_up();
    WhyNotAnswer::Explained(Box::new(answer))
}

/// What is meant, and the answer as far as names alone make it.
fn asked<'a>(
    engine: &'a Engine,
    question: &WhyNotQuestion,
    now: Timestamp,
) -> Result<(&'a Rule, SubjectKey, WhyNot), WhyNotAnswer> {
    let zone = engine.policy().zone;
    let at = match question.at.as_ref().map(|text| parse_when(text, now, zone)) {
        None => now,
        Some(Ok(at)) => at,
        Some(Err(error)) => return Err(WhyNotAnswer::Unknown(error.to_string())),
    };
    let rule = find_rule(engine, &question.rule).map_err(WhyNotAnswer::Unknown)?;
    let subject = match subjects::find(engine, rule, &question.subject) {
        Found::One(subject) => subject,
        Found::Several(all) => {
            let more = all.len().saturating_sub(MAX_SUBJECTS);
            let shown = all.iter().take(MAX_SUBJECTS);
            return Err(WhyNotAnswer::Several {
                rule: rule.name.to_string(),
                subjects: shown
                    .map(|key| subjects::listed(engine, rule, key))
                    .collect(),
                more,
            });
        }
        Found::Unknown(why) => return Err(WhyNotAnswer::Unknown(why)),
    };
    let answer = WhyNot {
        rule: rule.name.to_string(),
        kind: rule.kind.name().to_owned(),
        origin: rule.origin.clone(),
        settings: rule.settings.clone(),
        name: subjects::name(engine, &subject),
        subject: subject.identity(),
        asked_at: now,
        at,
        is_past: question.at.is_some() && at < now,
        headline: String::new(),
        gates: Vec::new(),
        alerts: Vec::new(),
        recorded: Vec::new(),
        deliveries: Vec::new(),
        limits: Vec::new(),
        zone,
    };
    Ok((rule, subject, answer))
}

fn find_rule<'a>(engine: &'a Engine, asked: &str) -> Result<&'a Rule, String> {
    let asked = asked.trim();
    let rules = &engine.policy().rules;
    let exact = rules.iter().find(|rule| *rule.name == *asked);
    let loose = || {
        rules
            .iter()
            .find(|rule| rule.name.eq_ignore_ascii_case(asked))
    };
    if let Some(rule) = exact.or_else(loose) {
        return Ok(rule);
    }
    let mut disabled = engine.policy().disabled.iter();
    if let Some(rule) = disabled.find(|rule| rule.name.eq_ignore_ascii_case(asked)) {
        return Err(format!(
            "rule `{}` is not judged: {} ({})",
            rule.name, rule.why, rule.origin
        ));
    }
    let names = rules.iter().map(|rule| rule.name.to_string()).collect();
    let near = near_names(names, asked, "`tardy rules` lists all");
    Err(format!("there is no rule {near}"))
}

/// What the store recorded of alerts around an instant, in words.
pub fn of_transitions(transitions: &[Transition], now: Timestamp, zone: Tz) -> Vec<Gate> {
    let words = Words { now, zone };
    let gates = transitions.iter().map(|change| {
        let to = match change.to {
            AlertState::Inactive => "inactive",
            AlertState::Pending => "pending",
            AlertState::Firing => "firing",
            AlertState::Resolved => "over",
        };
        let late = change.recorded_at.since(change.at);
        let says = format!(
            "alert {} {to} as of {}, recorded {} later: {}",
            change.id,
            words.clock(change.at),
            human_span(late),
            change.reason
        );
        let gate = Gate::new(GateKind::Record, GateState::Noted, says);
        gate.at(change.recorded_at).by(change.id.clone())
    });
    gates.collect()
}
